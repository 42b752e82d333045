"""Makes one test of every trace, stage and part; `closing` prints the table of what they measured."""
import pytest
from closing import folder_of
from harness import golden_in

from onpolicybaselines import logger


def pytest_generate_tests(metafunc):
    if 'case' not in metafunc.fixturenames:
        return
    golden = golden_in(folder_of(metafunc.config))
    cases = [pytest.param((number, trace, stage, label),
                          id='-'.join(filter(None, (trace.name, stage.name.replace(' ', '_'), label))))
             for number, (trace, stage, label) in enumerate(golden.cases())]
    cases += [pytest.param(None, id=name, marks=pytest.mark.skip(reason=f'no {name}.npz in {golden.path}'))
              for name in golden.missing]
    metafunc.parametrize('case', cases)


@pytest.fixture(autouse=True, scope='session')
def quiet_logger(tmp_path_factory):
    with logger.scoped_configure(str(tmp_path_factory.mktemp('log')), []):
        yield
