"""Makes one test of every trace, stage and part, and prints the closing table."""
import pathlib

import pytest
from harness import NOTE, Golden, table, to_markdown, to_text

from onpolicybaselines import logger

DEFAULT = pathlib.Path(__file__).parents[1] / 'golden'
GOLDEN = pytest.StashKey[Golden]()
RESULTS = pytest.StashKey[list]()


def golden_of(config):
    """The folder of traces of this run of pytest."""
    if GOLDEN not in config.stash:
        config.stash[GOLDEN] = Golden(pathlib.Path(config.getoption('golden') or DEFAULT))
        config.stash[RESULTS] = []
    return config.stash[GOLDEN]


def pytest_generate_tests(metafunc):
    if 'case' not in metafunc.fixturenames:
        return
    golden = golden_of(metafunc.config)
    cases = [pytest.param(case, id='-'.join(filter(None, (case[0].name, case[1].name.replace(' ', '_'), case[2]))))
             for case in golden.cases()]
    cases += [pytest.param(None, id=name, marks=pytest.mark.skip(reason=f'no {name}.npz in {golden.path}'))
              for name in golden.missing]
    metafunc.parametrize('case', cases)


@pytest.fixture(scope='session')
def parity_results(request):
    """The list that the closing table is made of."""
    return request.config.stash[RESULTS]


@pytest.fixture(autouse=True, scope='session')
def quiet_logger(tmp_path_factory):
    with logger.scoped_configure(str(tmp_path_factory.mktemp('log')), []):
        yield


def pytest_terminal_summary(terminalreporter, config):
    if GOLDEN not in config.stash:
        return
    golden, rows = config.stash[GOLDEN], table(config.stash[RESULTS])
    terminalreporter.section('parity with the TF1 originals')
    for line in [*to_text(rows), '', NOTE]:
        terminalreporter.write_line(line)
    if golden.without_stages:
        terminalreporter.write_line(f'Traces without stages yet: {", ".join(golden.without_stages)}')
    report = config.getoption('parity_report')
    if report:
        pathlib.Path(report).write_text(f'# Parity with the TF1 originals\n\n{NOTE}\n\n{to_markdown(rows)}')
