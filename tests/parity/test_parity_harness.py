"""The machinery of the parity tests: it finds differences, and says what is missing."""
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from harness import Golden, Stage, Trace, table, to_markdown
from registry import STAGES_OF

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / 'golden'


def result_of(got, want, tmp_path, **kwargs):
    """The result of a stage that gives `got` where the trace has `want`."""
    np.savez(tmp_path / 'made_up.npz', it0_x=want)
    stage = Stage('x', lambda trace, part: [(got, part['x'])], reason='made up', each='(it0)_x', **kwargs)
    trace = Trace(tmp_path / 'made_up.npz')
    assert stage.parts(trace) == ['it0']
    return stage.run(trace, 'it0')


@pytest.mark.parametrize('got, want, kwargs, passed', [
    ([1.0, 1e-8], [1.00009, 0.0], {}, True),  # the absolute tolerance serves small values
    ([1.0, 1e-8], [1.00011, 0.0], {}, False),
    ([0.0], [1.1e-6], {}, False),
    ([1.0, np.nan], [1.0, np.nan], {}, True),
    ([1.0, np.nan], [1.0, 2.0], {}, False),
    ([1.0, 2.0], [1.0, np.nan], {}, False),
    ([np.inf], [1.0], {}, False),
    ([1.0, 0.0], [1.0, 9e-5], {'norm': True}, True),
    ([[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 2e-4]], {'norm': True}, False),  # every row counts
    ([3], [3], {'rtol': 0, 'atol': 0}, True),
    ([3], [4], {'rtol': 0, 'atol': 0}, False),
    ([0], [1e-12], {'rtol': 0, 'atol': 0}, False),
    ([5.0], [1.0], {'rtol': None}, True),
    ([np.nan], [1.0], {'rtol': None}, False),
    ([1.0], [1.05], {'rtol': lambda part: 0.1 * part['x'].size}, True),
])
def test_tolerances(got, want, kwargs, passed, tmp_path):
    assert result_of(np.array(got), np.array(want), tmp_path, **kwargs).passed == passed


def test_errors_are_recorded(tmp_path):
    result = result_of(np.array([1.0, 4.0]), np.array([2.0, 5.0]), tmp_path)
    assert (result.max_abs, result.max_rel) == (1.0, 0.5)
    assert table([result]) == [('made_up', 'x', 'it0', '1.0e+00', '5.0e-01', '0.0001, abs 1e-06 FAILED', 'made up')]
    assert '| made_up | x | it0 |' in to_markdown(table([result]))


def test_shapes_must_agree(tmp_path):
    with pytest.raises(ValueError, match=r'the port gives shape \(2, 1\), the trace has \(2,\)'):
        result_of(np.zeros((2, 1)), np.zeros(2), tmp_path)


def test_a_stage_that_compares_nothing_is_an_error(tmp_path):
    np.savez(tmp_path / 'empty.npz', it0_x=np.zeros(1))
    with pytest.raises(ValueError, match='compared nothing'):
        Stage('x', lambda trace, part: [], reason='').run(Trace(tmp_path / 'empty.npz'), '')


def test_every_registered_trace_has_stages_and_is_in_the_default_folder():
    golden = Golden(GOLDEN)
    assert not golden.missing
    assert {trace.name for trace, _, label in golden.cases() if label is not None} == set(STAGES_OF)


def run_parity(*options):
    """The parity tests in a process of their own."""
    command = [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', '-rs', str(HERE / 'test_parity.py'), *options]
    return subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, timeout=100)


def test_a_changed_number_fails_and_is_in_the_report(tmp_path):
    arrays = dict(np.load(GOLDEN / 'cg.npz'))
    arrays['f32_tol_x'] = arrays['f32_tol_x'] * 1.001
    np.savez(tmp_path / 'cg.npz', **arrays)
    shutil.copy(GOLDEN / 'math_util.npz', tmp_path)
    np.savez(tmp_path / 'something_new.npz', x=np.zeros(1))
    run = run_parity(f'--golden={tmp_path}', f'--parity-report={tmp_path / "report.md"}')
    assert run.returncode == 1, run.stdout + run.stderr
    assert 'no gmm.npz in' in run.stdout
    assert 'Traces without stages yet: something_new' in run.stdout
    failed = [line for line in (tmp_path / 'report.md').read_text().splitlines() if 'FAILED' in line]
    assert [line.split(' | ')[1] for line in failed] == ['iterates and solution']
    assert '| math_util | discount |' in (tmp_path / 'report.md').read_text()


def test_the_table_is_the_same_from_two_processes(tmp_path):
    for name in ('cg', 'math_util'):
        shutil.copy(GOLDEN / f'{name}.npz', tmp_path)
    reports = []
    for options in ((), ('-n', '2')):
        reports.append(tmp_path / f'report{len(reports)}.md')
        run = run_parity(f'--golden={tmp_path}', f'--parity-report={reports[-1]}', *options)
        assert run.returncode == 0, run.stdout + run.stderr
    assert reports[0].read_text() == reports[1].read_text() and '| math_util | discount |' in reports[0].read_text()


def test_a_folder_without_traces_is_one_line(tmp_path):
    run = run_parity(f'--golden={tmp_path}')
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert run.stderr.strip() == f'ERROR: --golden={tmp_path}: no trace (*.npz) in that folder'
