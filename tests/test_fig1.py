"""Figure 1: fits that are known in closed form, the whole figure at a tiny scale."""
import math
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

from run import fig1
from run.experiments import spread
from run.experiments.measured import already_measured, write_rows

TINY = '--scale=0.0005'


@pytest.fixture(scope='module')
def gaussian():
    """(toy, fit) of the KL ball."""
    toy, fit, _ = spread.on_kl_ball(spread.families()['gaussian'], scale=0.09)
    return toy, fit


def set_gaussian(toy, mean, logstd):
    """The head's weights (two times two, of the constant 1), then log standard deviations."""
    toy.theta = np.concatenate([mean, np.zeros(2), logstd]).astype('float32')


def test_kl_from_the_original(gaussian):
    """Mean over 100000 samples against the closed form; within 5 standard errors (fails once in two million)."""
    toy, _ = gaussian
    mean, std = np.array([0.02, -0.05]), np.array([0.12, 0.3])
    set_gaussian(toy, mean, np.log(std))
    x = spread.originals(1, 100_000)
    terms = spread.log_original(x) - toy.logp(x)
    expected = np.sum(np.log(std / spread.STD) + (spread.STD**2 + mean**2) / (2 * std**2) - 0.5)
    assert abs(spread.kl_from(x, toy) - expected) < 5 * terms.std() / np.sqrt(len(x))


def test_a_gaussian_stops_on_the_boundary(gaussian):
    toy, fit = gaussian
    np_random = np.random.default_rng(0)
    toy.restart(np_random, 0.3)
    x = spread.originals(0)
    assert spread.kl_from(x, toy) > 1
    fit(np_random)
    assert spread.kl_from(x, toy) == pytest.approx(spread.KL, abs=1e-5)


def test_a_start_inside_the_ball_moves_to_no_boundary_beyond(gaussian):
    """The crossing is searched between the last two chunks of steps."""
    toy, fit = gaussian
    set_gaussian(toy, np.zeros(2), np.log([spread.STD, spread.STD]))
    before = spread.kl_from(spread.originals(0), toy)
    assert before < spread.KL
    fit(np.random.default_rng(0))
    assert spread.kl_from(spread.originals(0), toy) <= spread.KL


@pytest.mark.parametrize('entropy', spread.ENTROPIES)
def test_a_gaussian_of_given_entropy(entropy):
    """The geometric mean of its standard deviations is exp(H/2) / sqrt(2 pi e)."""
    toy, fit, measurements = spread.at_entropy(spread.families()['gaussian'], 1., entropy)
    np_random = np.random.default_rng(0)
    toy.restart(np_random, 0.)
    fit(np_random)
    expected = math.exp(entropy / 2) / math.sqrt(2 * math.pi * math.e)
    assert np.exp(toy.theta[-2:].mean()) == pytest.approx(expected, rel=1e-3)
    # a mean over 100000 samples, the variance of log p of a Gaussian in R^2 being 1: 5 standard errors
    assert measurements(toy.sample(np_random, 100_000))['reached'] == pytest.approx(entropy, abs=5 / math.sqrt(1e5))


def test_restart_depends_on_generator_and_spread_only(gaussian):
    toy, _ = gaussian
    def start(seed, spread):
        toy.restart(np.random.default_rng(seed), spread)
        return toy.theta
    first = start(0, 0.)
    assert np.array_equal(start(0, 0.), first)
    assert not np.array_equal(start(1, 0.), first)
    assert np.std(start(0, 1.) - first) > 0.2  # six numbers N(0, 1): smaller once in 30000
    assert np.abs(first[2:]).max() == 0  # bias and log standard deviation, as the package has them


def test_spread_of():
    angle = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    x = 3 + 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert spread.spread_of(x) == pytest.approx({'std': math.sqrt(2), 'radius_99': 2, 'radius_9999': 2,
                                                 'radius_max': 2})


@pytest.mark.slow
def test_every_path_at_a_tiny_scale_and_again_without_tensorflow(tmp_path, monkeypatch):
    fig1.main([TINY, '--seeds=1', f'--folder={tmp_path}'])
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(made) == {'fig1.json', 'fig1.npz', 'fig1.md', 'fig1.png'}
    table = made['fig1.md'].decode()
    assert table.count('\n') == 2 + len(spread.PANELS) * 2 * len(spread.SPREADS) and 'nan' not in table
    for name in ('fig1.md', 'fig1.png'):
        (tmp_path / name).unlink()
    subprocess.run([sys.executable, '-c', 'import sys; sys.modules["tensorflow"] = None; from run import fig1; '
                    f'fig1.main(["--plot-only", "--folder={tmp_path}"])'], check=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == made
    figures = []
    monkeypatch.setattr(plt, 'close', figures.append)
    fig1.main(['--plot-only', TINY, f'--folder={tmp_path}'])
    figure, = figures
    assert figure.get_suptitle().endswith(' (smoke scale: 1 of 10 seeds, 0.05% of the steps)')


def test_what_is_measured_at_that_scale_with_as_many_seeds_is_kept(tmp_path):
    results, rows = str(tmp_path / 'fig1.json'), [{'scale': 0.01, 'seed': seed} for seed in range(2)]
    write_rows(results, rows)
    assert already_measured(results, 0.01, 2) and already_measured(results, 0.01, 1)
    assert not already_measured(results, 0.01, 3) and not already_measured(results, 1., 2)
    assert not already_measured(str(tmp_path / 'other.json'), 0.01, 1)


def test_dry_run_makes_nothing(tmp_path, capsys):
    folder = tmp_path / 'fig1'
    fig1.main(['--dry-run', '--scale=smoke', f'--folder={folder}'])
    assert '1 seeds' in capsys.readouterr().out and not folder.exists()


@pytest.mark.parametrize('scale', ['0', '-1', 'large'])
def test_a_wrong_scale_is_named(scale, capsys):
    with pytest.raises(SystemExit):
        fig1.main([f'--scale={scale}'])
    assert f'--scale: {scale} is neither' in capsys.readouterr().err
