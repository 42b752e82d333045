"""Figure 2: the bandits' optima, what is measured of policies, trajectories, the figure at a tiny scale."""
import shutil
import subprocess
import sys

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import pytest

from onpolicybaselines.common.policies import build_policy
from run import fig2
from run.experiments import ants, bandits
from run.experiments.jobs import Job
from run.experiments.measured import lattice

TINY = '--scale=0.0003'


def normal_logpdf(x, mean, covariance):
    """log N(x; mean, covariance) at points [n, 2]."""
    d = x - mean
    quadratic = np.einsum('ni,ij,nj->n', d, np.linalg.inv(covariance), d)
    return -0.5 * quadratic - 0.5 * np.log(np.linalg.det(2 * np.pi * covariance))


def test_the_optimum_has_half_the_covariance_that_the_paper_says():
    """exp(-a' Sigma^-1 a / c) is N(0, c/2 Sigma) up to its integral, not Sigma / c."""
    bandit = bandits.BANDITS['correlated']
    points, _ = lattice(1., 11)
    assert bandits.SIGMA[0, 1] == 0.9
    np.testing.assert_allclose(bandit.log_optimum(points), normal_logpdf(points, 0, bandit.c / 2 * bandits.SIGMA),
                               atol=1e-3)


@pytest.mark.parametrize('name', ['two modes', 'two modes, far apart'])
def test_two_modes_are_two_normals(name):
    """Near its centre each is half of N(centre, c/2 precision^-1): what they share between them is cut off."""
    bandit = bandits.BANDITS[name]
    for centre, precision in zip(bandit.centres, bandit.precisions, strict=True):
        covariance = bandit.c / 2 * np.linalg.inv(precision)
        points = centre + lattice(0.1, 5)[0]
        np.testing.assert_allclose(bandit.log_optimum(points.astype('float32')),
                                   np.log(0.5) + normal_logpdf(points, centre, covariance), atol=0.03)


@pytest.fixture(scope='module')
def gaussian():
    """A Gaussian on the correlated bandit."""
    return bandits.learner(bandits.BANDITS['correlated'], bandits.families()['Gaussian'], xla=False)


def test_kl_of_a_gaussian_is_that_of_the_closed_form(gaussian):
    """100000 samples; within 5 standard errors (fails once in two million)."""
    bandit, std, mean = bandits.BANDITS['correlated'], np.array([0.2, 0.3]), np.array([0.1, -0.2])
    gaussian.theta = np.concatenate([mean, np.zeros(2), np.log(std)]).astype('float32')
    found = bandits.evaluate(bandit, gaussian, gaussian.sample(np.random.default_rng(0), 100_000))
    target = np.linalg.inv(bandit.c / 2 * bandits.SIGMA)
    expected = 0.5 * (np.trace(target @ np.diag(std**2)) + mean @ target @ mean - 2
                      - np.log(np.linalg.det(target) * np.prod(std**2)))
    assert abs(found['kl'] - expected) < 5 * found['kl_error']
    assert abs(found['correlation']) < 5 / np.sqrt(1e5)


def test_a_gaussian_learns_the_best_there_is_without_correlation(gaussian):
    """Its variances are the inverse diagonal of the precision, and KL is -log(1 - rho^2) / 2."""
    np_random = np.random.default_rng(0)
    gaussian.restart(np_random)
    gaussian.fit(np_random, 1000, batch=256, stepsize=1e-2)
    found = bandits.evaluate(bandits.BANDITS['correlated'], gaussian, gaussian.sample(np_random, 100_000))
    assert found['kl'] == pytest.approx(-0.5 * np.log(1 - 0.9**2), abs=0.02)


def test_lesser_mode():
    bandit = bandits.BANDITS['two modes']
    a = np.repeat(bandit.centres, [75, 25], axis=0).astype('float32')

    class AsItIs:
        logp = staticmethod(bandit.log_optimum)
    found = bandits.evaluate(bandit, AsItIs, a)
    assert found['lesser_mode'] == 0.25 and found['kl'] == 0 and found['correlation'] == pytest.approx(1)


def test_families_are_those_named():
    families = bandits.families()
    assert list(families) == list(bandits.POLICIES)
    assert families['GMM, K=5'].gmm_log_prob == 'mixture'
    assert families['GMM, K=5, released density'].gmm_log_prob == 'released'
    assert [families[f'GMM, K={k}'].gmm_components for k in (2, 5)] == [2, 5]


# ================================================================
# Ant
# ================================================================

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Of results, with untrained models in the place of trained ones."""
    folder = tmp_path_factory.mktemp('fig2')
    env = gym.make(ants.ANT)
    for i, (name, job) in enumerate(ants.ant_jobs(str(folder), 0.001).items()):
        make = build_policy(env, 'mlp', 'copy', normalize_observations=True, num_hidden=8,
                            policy=name.removesuffix('-frozen'))
        make(np.random.default_rng(i)).save(job.path('model.npz'))
        (folder / 'ant' / name / 'config.json').write_text(f'{{"args": {{"num_timesteps": {job.steps}}}}}')
    env.close()
    return folder


def test_commands_train_what_the_paper_says(folder, capsys):
    fig2.main(['--dry-run', f'--folder={folder}/elsewhere'])
    _, *commands = capsys.readouterr().out.strip().split('\n')
    options = {'gaussian': '--policy=gaussian', 'gaussian-frozen': '--policy=gaussian --fixed_logstd=True',
               'flow': '--policy=flow --fisher=hessian'}
    for command, (name, words) in zip(commands, options.items(), strict=True):
        for word in ('--alg=trpo_mpi', '--env=Ant-v5', '--num_timesteps=2000000', '--num_hidden=64', words,
                     f'--save_path={folder}/elsewhere/ant/{name}/model.npz'):
            assert f' {word} ' in command
    assert not (folder / 'elsewhere').exists()


def test_ants_of_fewer_steps_are_not_finished(folder):
    assert not ants.unfinished(ants.ant_jobs(str(folder), 0.001))
    assert list(ants.unfinished(ants.ant_jobs(str(folder), 0.01))) == list(ants.ANT_METHODS)


def test_a_run_that_fails_leaves_the_others_their_trajectories(folder, tmp_path):
    made = folder / 'ant' / 'flow'
    good = Job(str(tmp_path / 'good'), 4096, ())
    wrong = Job(str(tmp_path / 'wrong'), 4096, (f'--env={ants.ANT}', '--max_kl=-1'))
    shutil.copytree(made, good.folder)
    assert ants.walk({'wrong': wrong, 'good': good}, 1, 1) == [wrong]
    assert 'max_kl' in wrong.error() and (tmp_path / 'good' / 'trajectories.npz').exists()


def test_roll_out(folder):
    model = folder / 'ant' / 'flow' / 'model.npz'
    result = ants.roll_out(str(model), 2)
    recorded = np.isfinite(result['xy'][..., 0]).sum(axis=1)
    np.testing.assert_array_equal(recorded, result['lengths'] + 1)
    assert np.abs(result['xy'][:, 0]).max() < 0.2  # Ant starts within 0.1 of the origin
    assert not np.array_equal(result['xy'][0], result['xy'][1])
    np.testing.assert_equal(ants.roll_out(str(model), 2), result)


@pytest.mark.slow
def test_every_path_at_a_tiny_scale_and_again_without_tensorflow(folder, monkeypatch):
    fig2.main([TINY, '--seeds=1', f'--folder={folder}'])
    for name in ants.ANT_METHODS:
        assert {path.name for path in (folder / 'ant' / name).iterdir()} == {'config.json', 'trajectories.npz'}
    made = {path.name: path.read_bytes() for path in folder.glob('fig2.*')}
    assert set(made) == {'fig2.json', 'fig2.npz', 'fig2.md', 'fig2.png'}
    lines = made['fig2.md'].decode().strip().split('\n')
    assert len(lines) == 2 + len(bandits.BANDITS) * len(bandits.POLICIES) * len(bandits.SPREADS) + 1 + 2 + 3
    for name in ('fig2.md', 'fig2.png'):
        (folder / name).unlink()
    subprocess.run([sys.executable, '-c', 'import sys; sys.modules["tensorflow"] = None; from run import fig2; '
                    f'fig2.main(["--plot-only", "{TINY}", "--folder={folder}"])'], check=True)
    assert {path.name: path.read_bytes() for path in folder.glob('fig2.*')} == made
    figures = []
    monkeypatch.setattr(plt, 'close', figures.append)
    fig2.main(['--plot-only', TINY, f'--folder={folder}'])
    figure, = figures
    assert figure.subfigs[0].get_suptitle().endswith('median of 1 seed (smoke scale: 1 of 5 seeds, 0.03% of the steps)')
    assert figure.axes[-1].get_title().endswith('each\n (smoke scale: 2 of 20 episodes, 0.2% of the steps)')
