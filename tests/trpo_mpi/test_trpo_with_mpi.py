"""TRPO over real MPI ranks."""
import json

import numpy as np
import pytest

# one policy step and one value step from a fixed batch, of which each rank holds its share
UPDATE = '''
    import json, sys
    import gymnasium as gym
    import numpy as np
    import tensorflow as tf
    import onpolicybaselines.common.tf_util as U
    from onpolicybaselines import logger
    from onpolicybaselines.common.mpi_adam import MpiAdam
    from onpolicybaselines.common.mpi_fit import minimize
    from onpolicybaselines.common.mpi_moments import mpi_moments
    from onpolicybaselines.common.mpi_world import check_synced, rank, size
    from onpolicybaselines.common.policies import build_policy
    from onpolicybaselines.trpo_mpi.losses import make_functions
    from onpolicybaselines.trpo_mpi.trust_region import trust_region_step

    logger.configure(sys.argv[1], [])
    policy, fisher = sys.argv[2:4]
    options = {'flow_layers': 1} if policy == 'flow' else {'num_hidden': 8}
    env = gym.make('Hopper-v5')
    pi = build_policy(env, 'mlp', value_network='copy', policy=policy, normalize_observations=True, **options)(
        np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for v in pi.var_list:
        v.assign_add(0.2 * rng.standard_normal(v.shape))
    n = 400
    ob = rng.standard_normal((n, 11)) * [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    ac, adv, ret = rng.standard_normal((n, 3)), rng.standard_normal(n), rng.standard_normal(n)
    noise = pi.pdtype.noise(rng, n)
    share = slice(rank() * n // size(), (rank() + 1) * n // size())
    ob, ac, adv, ret, noise = (x[share] for x in (ob, ac, adv, ret, noise))

    pi.ob_rms.update(ob)
    mean, std, _ = mpi_moments(adv)
    functions = make_functions(pi, fisher=fisher)
    th, losses, info = trust_region_step(
        functions, U.GetFlat(pi.var_list)(), (ob, ac, (adv - mean) / std), noise,
        max_kl=0.01, cg_iters=4, cg_damping=0.1)
    check_synced(th, 'policy')
    adam = MpiAdam(pi.vf_var_list)
    fit = minimize(adam, functions.compute_vflossandgrad, pi.X, tf.TensorSpec([None]))
    fit((ob, ret), [np.arange(len(ob))] * 3, 1e-3)
    adam.check_synced()
    if rank() == 0:
        print(json.dumps({'th': th.tolist(), 'losses': losses.tolist(), 'stepsize': info['stepsize'],
                          'vf': adam.getflat().tolist(), 'mean': pi.ob_rms.mean.numpy().tolist()}))
'''


def result_of(process):
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads([line for line in process.stdout.splitlines() if line.startswith('{')][-1])


@pytest.mark.parametrize('policy, fisher', [
    ('gaussian', 'hessian'), pytest.param('flow', 'gauss_newton', marks=pytest.mark.slow),
    pytest.param('gmm', 'gauss_newton', marks=pytest.mark.slow)])
def test_two_ranks_with_half_the_batch_make_the_update_of_one_with_all(mpirun, tmp_path, policy, fisher):
    """Up to float32 sums in another order, which is 6e-8 here."""
    one, two = (result_of(mpirun(n, UPDATE, tmp_path, policy, fisher)) for n in (1, 2))
    assert one['stepsize'] == two['stepsize'] > 0
    np.testing.assert_allclose(two['mean'], one['mean'], rtol=1e-6)
    np.testing.assert_allclose(two['losses'], one['losses'], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(two['th'], one['th'], rtol=0, atol=1e-6)
    np.testing.assert_allclose(two['vf'], one['vf'], rtol=0, atol=1e-6)


LEARN = '''
    import json, sys
    import gymnasium as gym
    import numpy as np
    import onpolicybaselines.common.tf_util as U
    from onpolicybaselines import logger
    from onpolicybaselines.common.mpi_world import allgather, rank
    from onpolicybaselines.trpo_mpi import trpo_mpi

    logger.configure(sys.argv[1], [])
    check_every, fault_at = int(sys.argv[2]), int(sys.argv[3])
    actions = []

    def callback(values, _):
        pi = values['pi']
        if values['iters_so_far'] == 0:
            actions.append(pi.act(np.zeros((4, 11))).ravel().tolist())
        if rank() == 1 and values['iters_so_far'] == fault_at:
            pi.var_list[0].assign_add(np.full(pi.var_list[0].shape, 1e-3))

    pi = trpo_mpi.learn(network='mlp', env=gym.make('Hopper-v5'), total_timesteps=600, timesteps_per_batch=100, seed=7,
                        num_hidden=8, normalize_observations=True, check_every=check_every, callback=callback)
    theta = np.concatenate([U.GetFlat(pi.var_list)(), U.GetFlat(pi.vf_var_list)(), pi.ob_rms.mean.numpy()])
    everyone = allgather((theta.tobytes().hex(), actions[0], float(pi.ob_rms.state()['count'])))
    if rank() == 0:
        print(json.dumps(everyone))
'''


@pytest.mark.slow
def test_ranks_explore_apart_and_hold_the_same_policy(mpirun, tmp_path):
    process = mpirun(3, LEARN, tmp_path, 1, -1)
    assert process.returncode == 0, process.stderr[-3000:]
    everyone = json.loads([line for line in process.stdout.splitlines() if line.startswith('[[')][-1])
    parameters, actions, counts = zip(*everyone, strict=True)
    assert len(set(parameters)) == 1
    assert len({tuple(a) for a in actions}) == 3
    assert counts[0] == pytest.approx(600 + 1e-2)  # two updates with 100 steps of each of three ranks


def test_ranks_that_differ_are_found_at_the_next_check(mpirun, tmp_path):
    assert mpirun(2, LEARN, tmp_path, 100, 1).returncode == 0  # no check falls due after the fault
    process = mpirun(2, LEARN, tmp_path, 1, 1)
    assert process.returncode != 0
    assert 'policy: the parameters are not those of rank 0 on rank 1' in process.stderr


def run(mpirun, ranks, *words):
    code = "import sys; from onpolicybaselines import run; run.main(['run', *sys.argv[1:]])"
    return mpirun(ranks, code, *words, timeout=300)


@pytest.mark.slow  # nine times the start of TensorFlow
def test_the_command_line_on_eight_ranks(mpirun, tmp_path):
    process = run(mpirun, 8, '--env=Hopper-v5', '--num_timesteps=1600', '--timesteps_per_batch=100', '--seed=0',
                  f'--log_path={tmp_path}', f'--save_path={tmp_path / "model.npz"}')
    assert process.returncode == 0, process.stderr[-3000:]
    assert '1600/1600 steps (100%)' in process.stderr
    assert {f'{rank}.monitor.csv' for rank in range(8)} <= {p.name for p in tmp_path.iterdir()}
    assert process.stdout.count('| TimestepsSoFar') == 2  # rank 0 alone speaks
    assert json.loads((tmp_path / 'config.json').read_text())['ranks'] == 8
    starts = {(tmp_path / f'{rank}.monitor.csv').read_text().splitlines()[2].split(',')[0] for rank in range(8)}
    assert len(starts) == 8  # every rank has environments of its own


def test_bad_input_on_two_ranks_is_one_line(mpirun, tmp_path):
    process = run(mpirun, 2, '--policy=flwo', f'--log_path={tmp_path}')
    assert process.returncode == 2
    assert process.stderr.count("error: unknown policy 'flwo'; did you mean flow?") == 1
