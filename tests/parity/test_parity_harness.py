"""The machinery of the parity tests: it finds differences, and says what is missing."""
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from exact.arithmetic import flat, one_by_one, total
from exact.trpo import FlowPolicy
from harness import Golden, Stage, Trace, summary, table, to_markdown
from noise import Exact, measured
from registry import OPTIONAL, STAGES_OF

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / 'golden'


def exactly(value, noise=0.):
    """An exact answer, and one other, `noise` away."""
    value = np.asarray(value, 'float64')
    other = value.copy()
    other.flat[0] += noise
    return Exact(value, [other])


def result_of(tmp_path, got, want, *exact, **kwargs):
    """The result of a stage that gives `got` where the trace has `want`."""
    np.savez(tmp_path / 'made_up.npz', it0_x=want)
    stage = Stage('x', lambda trace, part: [(got, part['x'], *exact)], each='(it0)_x', **kwargs)
    trace = Trace(tmp_path / 'made_up.npz')
    assert stage.parts(trace) == ['it0']
    return stage.run(trace, 'it0')


@pytest.mark.parametrize('got, want, exact, passed', [
    ([1.2, 0.], [1.1, 0.], exactly([1., 0.], 1e-2), True),  # twice as far as the original
    ([1.4, 0.], [1.1, 0.], exactly([1., 0.], 1e-2), False),
    ([1., 0.4], [1.1, 0.], exactly([1., 0.], 1e-2), False),  # distances are Euclidean
    ([1.1, 0.], [1., 0.], exactly([1., 0.], 0.06), True),  # within twice what rounding makes
    ([1.2, 0.], [1., 0.], exactly([1., 0.], 0.06), False),
    ([1., np.nan], [1., np.nan], exactly([1., np.nan]), True),
    ([1., np.nan], [1., 2.], exactly([1., 2.], 0.1), False),
    ([1., 2.], [1., 2.], exactly([1., np.nan]), False),
    ([np.inf], [1.], exactly([1.], 0.1), False),
    ([1.], [3.9], exactly([1.], 0.01), True),
    ([1.], [4.1], exactly([1.], 0.01), False),  # the original computed something else
])
def test_the_rule(got, want, exact, passed, tmp_path):
    assert result_of(tmp_path, np.array(got), np.array(want), exact).passed == passed


@pytest.mark.parametrize('got, want, passed', [([3], [3], True), ([3], [4], False), ([0], [1e-12], False),
                                               ([np.nan], [np.nan], True), ([np.nan], [1.], False)])
def test_without_an_exact_answer_all_has_to_be_equal(got, want, passed, tmp_path):
    assert result_of(tmp_path, np.array(got), np.array(want)).passed == passed


def test_information_is_not_judged_but_has_to_be_finite(tmp_path):
    assert result_of(tmp_path, np.array([5.]), np.array([1.]), exactly([1.]), information=True).passed
    assert not result_of(tmp_path, np.array([np.nan]), np.array([1.]), exactly([1.]), information=True).passed


def test_errors_are_recorded(tmp_path):
    result = result_of(tmp_path, np.array([2.5, 0.]), np.array([2.25, 0.]), exactly([2., 0.], 0.1), what='made up')
    assert (result.trace_error, result.port_error, result.size) == (0.25, 0.5, 2.) and result.margin == 1.5
    assert table([result]) == [('made_up', 'x', 'it0', '1', '1.2e-01', '2.5e-01', '5.0e-02', '1.5', '')]
    assert summary([result]) == [('made up', '1', '1.2e-01', '2.5e-01', '5.0e-02', '1.5')]
    assert '| made_up | x | it0 |' in to_markdown([result])


def test_shapes_must_agree(tmp_path):
    with pytest.raises(ValueError, match=r'the port gives shape \(2, 1\), the trace has \(2,\)'):
        result_of(tmp_path, np.zeros((2, 1)), np.zeros(2))


# ---------------------------------------------------------------- what is measured

def test_noise_is_what_an_ulp_and_other_orders_make():
    x = np.random.default_rng(0).uniform(1, 2, 1_000_000).astype('float32')
    found = measured(lambda x: {'sum': total(x)}, {'x': x}, rows=('x',), draws=0)['sum']
    assert found.value == x.astype('float64').sum() and found.value.dtype == 'float64'
    with one_by_one():
        shuffled_alike = abs(float(total(x)) - float(found.value))
    pairwise = abs(float(x.sum()) - float(found.value))
    assert found.noise > 3 * pairwise and 0.1 < found.noise / shuffled_alike < 10

    same = measured(lambda x: {'x': x}, {'x': x})['x']
    assert 0.5 < same.noise / np.linalg.norm(np.spacing(x)) < 1.1  # one ulp, up or down


def test_cancellation_is_noise():
    x = np.array([1., -1. + 1e-6], 'float32')
    found = measured(lambda x: {'sum': total(x)}, {'x': x})['sum']
    assert found.noise / abs(found.value) > 0.05


def test_shuffled_rows_stay_together():
    a, b = np.arange(5), np.arange(5) ** 2  # integers are not off by anything
    found = measured(lambda a, b: {'same': np.square(a) - b}, {'a': a, 'b': b[:, np.newaxis].T}, rows={'a': 0, 'b': 1},
                     draws=0)
    assert found['same'].noise == 0


def test_derivatives_are_those_of_differences():
    """Of the flow in float64: its gradient by hand, and second derivatives by complex steps through it."""
    trace = Trace(GOLDEN / 'trpo_flow.npz')
    policy = FlowPolicy(trace['pi_var_names'], trace['pi_var_shapes'], trace['flow_masks'])
    theta = trace['pi_init_flat'].astype('float64')
    rng = np.random.default_rng(0)
    obz, ac, v = rng.normal(size=(4, trace['init_obz'].shape[1])), rng.normal(size=(4, 3)), rng.normal(size=len(theta))
    weights = rng.normal(size=4)

    def weighted(theta):
        return policy.log_prob(policy.layers(theta), obz, ac)[0] @ weights

    layers = policy.layers(theta)
    policy.log_prob(layers, obz, ac)[1](weights)
    h = 1e-6
    difference = (weighted(theta + h * v) - weighted(theta - h * v)) / (2 * h)
    assert np.isclose(flat(layers.grads, policy.names) @ v, difference, rtol=1e-6)


def test_a_stage_that_compares_nothing_is_an_error(tmp_path):
    np.savez(tmp_path / 'empty.npz', it0_x=np.zeros(1))
    with pytest.raises(ValueError, match='compared nothing'):
        Stage('x', lambda trace, part: []).run(Trace(tmp_path / 'empty.npz'), '')


def test_every_registered_trace_has_stages_and_is_in_the_default_folder():
    golden = Golden(GOLDEN)
    assert not golden.missing
    assert {trace.name for trace, _, label in golden.cases() if label is not None} == set(STAGES_OF) - set(OPTIONAL)


def run_parity(*options):
    """The parity tests in a process of their own."""
    command = [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', '-rs', str(HERE / 'test_parity.py'), *options]
    return subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, timeout=100)


def test_a_changed_number_fails_and_is_in_the_report(tmp_path):
    arrays = dict(np.load(GOLDEN / 'cg.npz'))
    arrays['f32_tol_x'] = arrays['f32_tol_x'] * 1.1
    np.savez(tmp_path / 'cg.npz', **arrays)
    shutil.copy(GOLDEN / 'math_util.npz', tmp_path)
    np.savez(tmp_path / 'something_new.npz', x=np.zeros(1))
    run = run_parity(f'--golden={tmp_path}', f'--parity-report={tmp_path / "report.md"}')
    assert run.returncode == 1, run.stdout + run.stderr
    assert 'no gmm.npz in' in run.stdout
    assert 'Traces without stages yet: something_new' in run.stdout
    failed = [line for line in (tmp_path / 'report.md').read_text().splitlines() if 'FAILED' in line]
    assert [line.split(' | ')[:2] for line in failed[1:]] == [['| cg', 'iterates and solution']]
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
