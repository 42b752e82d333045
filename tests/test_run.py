"""The command line, run for real: in this process, as a process of its own, and under mpirun."""
import csv
import json
import os
import pathlib
import re
import resource
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from onpolicybaselines import logger, run
from onpolicybaselines.common.files import write_arrays
from onpolicybaselines.common.tf_util import load_variables
from onpolicybaselines.session import options
from onpolicybaselines.session.play import play
from onpolicybaselines.session.start import ALGORITHMS

# two updates of 200 steps: each ends with the time limit of an episode
BASE = {'env': 'Pendulum-v1', 'env_type': 'mujoco', 'seed': 1, 'num_timesteps': 400, 'timesteps_per_batch': 200,
        'num_hidden': 8}


@pytest.fixture(autouse=True)
def own_logger(tmp_path_factory):
    with logger.scoped_configure(str(tmp_path_factory.mktemp('scoped')), ['log']):
        yield


def words(flags):
    return [f'--{name}' if value is True else f'--{name}={value}' for name, value in flags.items()]


def train(folder, **options):
    """Run the command line here; the model's arrays and the rows of progress.csv without their times."""
    options = {**BASE, 'log_path': folder, 'save_path': folder / 'model.npz', **options}
    run.main(['run', *words({k: v for k, v in options.items() if v is not None})])
    arrays, _ = load_variables(str(folder / 'model.npz'))
    with open(folder / 'progress.csv', newline='') as fh:
        rows = [{k: v for k, v in row.items() if k != 'TimeElapsed'} for row in csv.DictReader(fh)]
    return arrays, rows


def same(one, other):
    (arrays, rows), (other_arrays, other_rows) = one, other
    return (arrays.keys() == other_arrays.keys() and rows == other_rows
            and all(np.array_equal(arrays[k], other_arrays[k]) for k in arrays))


@pytest.fixture(scope='module')
def baseline(tmp_path_factory):
    """Runs by their options, made once."""
    runs = {}

    def get(**options):
        key = tuple(sorted(options.items()))
        if key not in runs:
            runs[key] = train(tmp_path_factory.mktemp('baseline'), **options)
        return runs[key]
    return get


def test_same_command_same_numbers(baseline, tmp_path):
    assert same(train(tmp_path), baseline())


SEARCH = {'kl_margin': 0.01}  # the full step breaks this constraint, a shorter one does not
FLAGS = [
    # flag, value, options under which it matters
    ('env', 'Hopper-v5', {}),
    ('env_type', 'classic_control', {}),
    ('seed', 2, {}),
    ('num_timesteps', 600, {}),
    ('policy', 'gmm', {}),
    ('policy', 'flow', {'num_hidden': None}),
    ('num_env', 2, {}),
    ('reward_scale', 0.1, {}),
    ('timesteps_per_batch', 100, {}),
    ('max_kl', 0.1, {}),
    ('cg_iters', 2, {}),
    ('cg_damping', 1.0, {}),
    ('gamma', 0.9, {}),
    ('lam', 0.5, {}),
    ('ent_coef', 0.1, {}),
    ('vf_stepsize', 1e-4, {}),
    ('vf_iters', 1, {}),
    ('vf_batchsize', 32, {}),
    ('max_iters', 1, {'num_timesteps': 0}),
    ('max_episodes', 3, {'num_timesteps': 0}),
    ('value_network', 'shared', {}),
    ('normalize_observations', False, {}),
    ('filter_update', 'after', {}),
    ('fisher', 'gauss_newton', {}),
    ('fisher', 'hessian', {'policy': 'gmm'}),
    ('fvp_subsample', 1, {}),
    ('kl_margin', 0.01, {}),
    ('backtrack_iters', 1, SEARCH),
    ('backtrack_coeff', 0.3, SEARCH),
    ('ent_samples', 2, {'policy': 'gmm', 'ent_coef': 0.1}),
    ('bootstrap_truncated', True, {}),
    ('ep_window', 1, {}),
    ('num_layers', 1, {}),
    ('num_hidden', 4, {}),
    ('activation', 'elu', {}),
    ('layer_norm', True, {}),
    ('fixed_logstd', True, {}),
    ('init_logstd', -1, {}),
    ('state_dependent_std', True, {}),
    ('init_logstd', -1, {'policy': 'gmm'}),
    ('gmm_components', 3, {'policy': 'gmm'}),
    ('gmm_log_prob', 'released', {'policy': 'gmm'}),
    ('flow_layers', 1, {'policy': 'flow', 'flow_state_units': 8}),
    ('flow_units', 4, {'policy': 'flow', 'env': 'Reacher-v5', 'flow_layers': 1}),
    ('flow_eps', 1e-2, {'policy': 'flow', 'flow_layers': 1}),
    ('flow_state_units', 4, {'policy': 'flow', 'flow_layers': 1}),
    ('flow_state_net', 'network', {'policy': 'flow', 'flow_layers': 1}),
    ('flow_base_logstd', -1, {'policy': 'flow', 'flow_layers': 1}),
]
# tested elsewhere: what they do is not in the parameters, or needs several ranks
OTHERS = {'help', 'alg', 'network', 'save_path', 'load_path', 'log_path', 'play', 'play_episodes', 'deterministic',
          'rank_timeout', 'save_video_interval', 'save_video_length', 'check_every', 'xla', 'native', 'resume',
          'overwrite', 'checkpoint_interval', 'config', 'progress', 'track', 'eval_interval', 'eval_episodes',
          'save_best'}


@pytest.mark.parametrize('flag, value, under', FLAGS, ids=[f'{flag}={value}' for flag, value, _ in FLAGS])
def test_flag_has_an_effect(baseline, tmp_path, flag, value, under):
    if (flag, value) in (('max_iters', 1), ('max_episodes', 3)):
        reference = baseline()  # without a limit there is nothing to compare with
    else:
        reference = baseline(**under)
    assert not same(train(tmp_path, **{**under, flag: value}), reference)


def test_every_flag_is_in_the_table():
    learn = run.get_learn_function('trpo_mpi')
    parameters = {**options.learn_keywords(learn), **options.network_keywords('mlp')}
    for policy in ('gaussian', 'gmm', 'flow'):
        parameters.update(options.policy_keywords(policy))
    flags = {action.dest for action in run.common_arg_parser()._actions} | set(parameters)
    assert flags == {flag for flag, _, _ in FLAGS} | OTHERS


def test_defaults_are_keywords():
    """Upstream's `entcoeff` was none, and no one noticed."""
    from onpolicybaselines.trpo_mpi import defaults
    for kwargs in (defaults.mujoco(), defaults.atari()):
        known = {**options.learn_keywords(run.get_learn_function('trpo_mpi')),
                 **options.network_keywords(kwargs['network'])}
        assert set(kwargs) - {'network'} <= set(known)


BAD_INPUT = [
    (['--env=Hopper-v2'], "no environment 'Hopper-v2'; use --env=Hopper-v5"),
    (['--env=Walker2d-v1'], "no environment 'Walker2d-v1'; use --env=Walker2d-v5"),
    (['--env=Hoper-v5'], 'did you mean Hopper-v5?'),
    (['--env=no_such_module:Env-v0'], 'no_such_module'),
    (['--alg=trpo'], "unknown algorithm 'trpo'; did you mean trpo_mpi?"),
    (['--policy=flwo'], "unknown policy 'flwo'; did you mean flow?"),
    (['--network=mpl'], "unknown network 'mpl'; did you mean mlp?"),
    (['--polcy=flow'], 'unknown option --polcy; did you mean --policy?'),
    (['--gama=0.9'], 'unknown option --gama; did you mean --gamma?'),
    (['--flow_layers=3'], 'unknown option --flow_layers here: it goes with --policy=flow'),
    (['--nlstm=3'], 'it goes with --network=lstm'),
    (['--policy=flow', '--flow_layers=x'], '--flow_layers=x: expected an integer'),
    (['--policy=flow', '--flow_layers=0'], 'flow_layers=0 must be positive'),
    (['--policy=flow', '--flow_units=2'], 'flow_units=2 must be at least 3'),
    (['--filter_update=x'], '--filter_update=x: expected one of before, after'),
    (['--value_network=x'], '--value_network=x: expected one of copy, shared or None'),
    (['--num_hidden=0'], 'num_hidden=0 must be positive'),
    (['--alg=a2c', '--lrschedule=fast'], '--lrschedule=fast: expected one of linear'),
    (['--alg=acktr_cont', '--kfac_update=0'], 'kfac_update=0 must be positive'),
    (['--alg=acktr_cont', '--num_env=2'], 'one environment per rank, not 2'),
    (['--policy=gmm', '--gmm_components=1.5'], '--gmm_components=1.5: expected an integer'),
    (['--policy=gmm', '--gmm_components=0'], 'gmm_components=0'),
    (['--fisher=hesse'], '--fisher=hesse: expected one of hessian, gauss_newton'),
    (['--gamma=high'], '--gamma=high: expected a number'),
    (['--gamma=2'], 'gamma=2.0 must lie between 0 and 1'),
    (['--max_kl=0'], 'max_kl=0.0 must be positive'),
    (['--normalize_observations=maybe'], 'expected True or False'),
    (['--native=maybe'], "--native: expected True or False, got 'maybe'"),
    (['--timesteps_per_batch=1000', '--num_env=3'], 'multiple of the number of environments, 3'),
    (['--activation=tanhh'], '--activation=tanhh: expected one of tanh, relu'),
    (["--activation=__import__('os').getcwd()"], 'expected one of tanh, relu'),
    (['--gamma=__import__("os").getpid()'], 'expected a number'),
    (['--seed=-1'], '--seed'),
    (['--seed=one'], '--seed'),
    (['--num_timesteps=-5'], '--num_timesteps'),
    (['--num_timesteps=1e30'], 'expected a whole number from 0 to 1000000000000'),
    (['--max_episodes=1e30'], 'must not be negative, and at most 1e12'),
    (['--num_env=0'], '--num_env'),
    (['--reward_scale=big'], '--reward_scale'),
    (['--init_logstd=nan'], 'init_logstd=nan must lie between -20 and 20'),
    (['--init_logstd=1000'], 'init_logstd=1000.0 must lie between -20 and 20'),
    (['--policy=flow', '--flow_base_logstd=-1000'], 'flow_base_logstd=-1000.0 must lie between -20 and 20'),
    (['--gamma'], 'option --gamma needs a value: --gamma=value'),
    (['steps'], "unexpected argument 'steps'"),
    (['--load_path=/no/such/model.npz'], "no model file at '/no/such/model.npz'"),
    (['--max_iters=3', '--num_timesteps=10'], 'num_timesteps=10 and max_iters=3: a run has one limit'),
]
UNKNOWN_BEFORE = [  # the environment or the network is there
    (['--network=lstm'], 'recurrent'),
    (['--fixed_logstd', '--state_dependent_std'], 'exclude each other'),
    (['--env=CartPole-v1', '--policy=flow'], 'policy=flow is for continuous (Box) actions, not for Discrete(2)'),
    (['--env=CartPole-v1', '--fixed_logstd=True'], 'fixed_logstd'),
    (['--env=Blackjack-v1'], 'observation space'),
]


@pytest.mark.parametrize('arguments, line', BAD_INPUT + UNKNOWN_BEFORE,
                         ids=[' '.join(a) for a, _ in BAD_INPUT + UNKNOWN_BEFORE])
def test_bad_input_is_one_line_and_exit_2(arguments, line, tmp_path, capfd):
    with pytest.raises(SystemExit) as e:
        run.main(['run', f'--log_path={tmp_path}', *arguments])
    assert e.value.code == 2
    errors = [text for text in capfd.readouterr().err.splitlines() if text.startswith('error: ')]
    assert len(errors) == 1 and line in errors[0]


def test_file_that_is_no_model(tmp_path, capfd):
    path = tmp_path / 'model.npz'
    path.write_bytes(b'cposix\nsystem\n')
    with pytest.raises(SystemExit):
        run.main(['run', f'--load_path={path}', f'--log_path={tmp_path}/log'])
    assert 'is not a model file' in capfd.readouterr().err


ANSWERS = """
import contextlib, io, json, sys
sys.argv = ['run']
from onpolicybaselines import run
for words in json.loads(sys.stdin.read()):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            run.main(['run', *words])
        except SystemExit as e:
            assert e.code == 2
    print(json.dumps([out.getvalue(), err.getvalue()]))
assert not any(name.partition('.')[0] in ('tensorflow', 'tensorflow_probability') for name in sys.modules)
"""


def test_help_and_bad_input_need_no_tensorflow(tmp_path):
    """So they come within a second. A run's folder and log are not begun either."""
    foreign, other = tmp_path / 'foreign.npz', tmp_path / 'other.npz'
    np.savez(foreign, x=np.zeros(3))
    write_arrays(other, {}, {'spec': {'policy': 'flow'}})  # of acktr_cont, which takes no network
    damaged = tmp_path / 'damaged.npz'
    damaged.write_bytes(other.read_bytes()[:-30])
    cases = [*BAD_INPUT, *(([f'--load_path={path}'], 'is not a model file') for path in (foreign, damaged)),
             ([f'--load_path={other}'], 'does not fit --alg=trpo_mpi')]
    helps = [['--help', f'--alg={alg}'] for alg in ALGORITHMS]
    commands = [[*words, f'--log_path={tmp_path}/log'] for words, _ in cases] + helps
    result = subprocess.run([sys.executable, '-c', ANSWERS], input=json.dumps(commands), text=True, capture_output=True)
    assert result.returncode == 0, result.stderr
    answers = list(map(json.loads, result.stdout.splitlines()))
    for (words, line), (out, err) in zip(cases, answers, strict=False):
        assert not out and err.startswith('error: ') and err.count('\n') == 1 and line in err, (words, out, err)
    for words, (out, err) in zip(helps, answers[len(cases):], strict=True):
        assert f'{words[1][6:]}.learn' in out and '--policy=flow' in out and not err
    assert not (tmp_path / 'log').exists()


@pytest.mark.parametrize('words', [['--help'], ['--gama=1'], ['--activation=tanhh'], ['--num_env=3']], ids=' '.join)
def test_answers_take_little_time(words):
    """0.5 s of CPU on its own, 8 with TensorFlow; the limit is for a machine that does other things, too."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command_line(*words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


def test_help_lists_everything_by_origin():
    result = command_line('--help')
    text = result.stdout
    assert result.returncode == 0 and not result.stderr
    for line in ['--save_video_interval', 'trpo_mpi.learn', '--max_kl=0.01', '--cg_iters=10', '--policy=flow',
                 '--flow_layers=4', '--policy=gmm', '--gmm_components=2', '--network=mlp', '--num_hidden=32',
                 '--network=cnn_small', '--fisher=None  (one of hessian, gauss_newton or None)']:
        assert line in text
    assert text.index('trpo_mpi.learn') < text.index('--policy=flow (') < text.index('--network=mlp:')
    assert '<function' not in text


def test_run_folder_describes_itself(baseline, tmp_path, monkeypatch):
    monkeypatch.setenv('OPENAI_LOG_FORMAT', 'log,csv,json,tensorboard')
    train(tmp_path, policy='gmm', fisher='gauss_newton')
    assert {'config.json', 'progress.csv', 'progress.json', 'log.txt', '0.monitor.csv',
            'tb'} <= set(os.listdir(tmp_path))
    config = json.loads((tmp_path / 'config.json').read_text())
    assert config['env_type'] == 'mujoco' and config['args']['env'] == 'Pendulum-v1' and config['args']['seed'] == 1
    assert config['alg_kwargs']['fisher'] == 'gauss_newton' and config['alg_kwargs']['policy'] == 'gmm'  # given
    assert config['alg_kwargs']['gamma'] == 0.99 and config['alg_kwargs']['max_kl'] == 0.01  # learn's, the type's
    assert config['alg_kwargs']['gmm_components'] == 2 and config['alg_kwargs']['activation'] == 'tanh'
    assert config['versions']['mujoco'] and config['versions']['tensorflow'] and config['ranks'] == 1
    checkout = pathlib.Path(run.__file__).parents[1] / '.git'
    assert (config['git'] is not None) == checkout.exists()
    monitor = (tmp_path / '0.monitor.csv').read_text().splitlines()
    assert len(monitor) == 2 + 2  # two episodes of 200 steps
    with open(tmp_path / 'progress.csv') as fh:
        rows = list(csv.DictReader(fh))
    upstream = {'optimgain', 'meankl', 'entloss', 'surrgain', 'entropy', 'ev_tdlam_before', 'EpLenMean', 'EpRewMean',
                'EpThisIter', 'EpisodesSoFar', 'TimestepsSoFar', 'TimeElapsed'}
    assert upstream <= rows[0].keys() and [row['TimestepsSoFar'] for row in rows] == ['200', '400']
    returns = [float(line.split(',')[0]) for line in monitor[2:]]
    assert float(rows[-1]['EpRewMean']) == pytest.approx(np.mean(returns))


def test_reported_returns_are_raw(tmp_path):
    _, scaled = train(tmp_path, reward_scale=0.01, num_timesteps=200)
    monitor = (tmp_path / '0.monitor.csv').read_text().splitlines()
    assert float(scaled[0]['EpRewMean']) == pytest.approx(float(monitor[2].split(',')[0]))


def test_openai_logdir(tmp_path, monkeypatch):
    monkeypatch.setenv('OPENAI_LOGDIR', str(tmp_path / 'there'))
    run.main(['run', *words({**BASE, 'num_timesteps': 200})])
    assert (tmp_path / 'there' / 'progress.csv').exists()


def test_explicit_network_drops_the_keywords_of_the_default_one(tmp_path):
    arrays, _ = train(tmp_path, network='mlp', num_hidden=None, num_timesteps=200)
    assert arrays['pi/mlp_fc0/w'].shape == (3, 32)
    with pytest.raises(SystemExit):
        train(tmp_path / 'cnn', network='cnn')  # num_hidden is not the cnn's


def test_atari_defaults_learn_from_pixels(tmp_path):
    """The convolutional network and its defaults, on images of a small environment."""
    gym.register('Pixels-v0', entry_point=Pixels)
    try:
        arrays, rows = train(tmp_path, env='Pixels-v0', env_type=None, network='cnn_small', num_hidden=None,
                             num_timesteps=64, timesteps_per_batch=64)
    finally:
        del gym.registry['Pixels-v0']
    assert arrays['pi/c1/w'].shape == (8, 8, 4, 8) and len(rows) == 1


def test_images_in_a_network_for_vectors_are_said(tmp_path, capfd):
    gym.register('Pixels-v0', entry_point=Pixels)
    try:
        run.main(['run', *words({'alg': 'a2c', 'env': 'Pixels-v0', 'num_timesteps': 0, 'log_path': tmp_path / 'mlp'})])
        assert 'Observations are images (42, 42, 4), and mlp takes them for vectors' in capfd.readouterr().out
    finally:
        del gym.registry['Pixels-v0']
    for words_of, network in ((['--network=mlp'], 'mlp'), ([], 'cnn')):
        args = run.common_arg_parser().parse_args(words_of)
        with logger.scoped_configure(str(tmp_path), ['stdout']):
            options.say_images(args, {'network': network}, Pixels.observation_space)
    assert 'Observations are images' not in capfd.readouterr().out


class Pixels(gym.Env):
    observation_space = gym.spaces.Box(0, 255, (42, 42, 4), np.uint8)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.t += 1
        return self.observation_space.sample(), float(action == 1), self.t == 10, False, {}


# ---------------------------------------------------------------- saving, playing, filming

@pytest.fixture(scope='module')
def hopper_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp('hopper')
    train(folder, env='Hopper-v5', env_type=None, policy='flow', num_hidden=None, flow_layers=1)
    return folder / 'model.npz'


def played(capsys):
    return returns_in(capsys.readouterr().out)


def returns_in(text):
    return [float(line.split('=')[1]) for line in text.splitlines() if line.startswith('episode_rew=')]


def test_saved_model_plays_without_being_described_again(hopper_model, tmp_path, capsys):
    command = ['run', '--env=Hopper-v5', f'--load_path={hopper_model}', '--num_timesteps=0', '--play',
               '--play_episodes=3', '--seed=5', f'--log_path={tmp_path}', '--overwrite']
    run.main(command)
    text = capsys.readouterr().out
    assert 'Playing Hopper-v5, 3 episodes\n' in text and 'Training' not in text
    first = returns_in(text)
    assert re.search(rf'^Played 3 episodes: return {np.mean(first):.6g} ± {np.std(first):.3g} ', text, re.M)
    run.main(command)
    second = played(capsys)
    assert len(first) == 3 and first == second
    run.main([*command, '--deterministic'])
    third = played(capsys)
    assert len(third) == 3 and third != first


def test_loaded_model_goes_on_training(hopper_model, tmp_path):
    arrays, _ = train(tmp_path, env='Hopper-v5', env_type=None, num_hidden=None, load_path=hopper_model,
                      num_timesteps=200)
    before, _ = load_variables(str(hopper_model))
    assert arrays['ob_rms/count'] == before['ob_rms/count'] + 200
    assert not np.array_equal(arrays['vf/w'], before['vf/w'])


@pytest.mark.parametrize('arguments, line', [
    (['--policy=gaussian'], 'whose policy is flow: leave it out'),
    (['--env=Reacher-v5'], 'does not fit this policy'),
    (['--flow_units=5'], 'whose flow_units is 3: leave it out'),
])
def test_model_of_another_policy(hopper_model, tmp_path, arguments, line, capfd):
    with pytest.raises(SystemExit) as e:
        run.main(['run', '--env=Hopper-v5', f'--load_path={hopper_model}', '--num_timesteps=0',
                  f'--log_path={tmp_path}', *arguments])
    assert e.value.code == 2 and line in capfd.readouterr().err


def test_playing_hands_on_the_state(tmp_path):
    """Two episodes of a policy that remembers, against a loop written out, with and without its memory."""
    from onpolicybaselines.common.policies import build_policy
    args = run.common_arg_parser().parse_args(['--env=Pendulum-v1', '--play_episodes=2', '--deterministic', '--seed=1'])
    model = build_policy(gym.make('Pendulum-v1'), 'lstm', nlstm=4)(np.random.default_rng(0))
    for i, v in enumerate(model.var_list):
        v.assign_add(np.random.default_rng(i).standard_normal(v.shape))

    def returns_of(remember):
        env, returns, rewards, state, dones = run.build_env(args), [], [], None, np.zeros(1)
        obs = env.reset()
        while len(returns) < 2:
            action, _, state, _ = model.step(obs, state if remember else None, dones, stochastic=False)
            obs, reward, dones, _ = env.step(action)
            rewards.append(float(reward[0]))
            if dones[0]:
                returns.append(sum(rewards))  # from Python 3.12 on not the sum of additions one by one
                rewards = []
        env.close()
        return returns

    with logger.scoped_configure(str(tmp_path), []):
        assert play(model, args, run.build_env) == returns_of(remember=True) != returns_of(remember=False)


@pytest.mark.parametrize(('alg', 'env', 'options'), [
    ('a2c', 'ALE/Breakout-v5', {'num_env': 2, 'nsteps': 8, 'network': 'cnn_small'}),
    pytest.param('acktr', 'BreakoutNoFrameskip-v4', {'nsteps': 16, 'network': 'cnn_small'}, marks=pytest.mark.slow),
    pytest.param('trpo_mpi', 'ALE/Breakout-v5', {'num_env': 2, 'timesteps_per_batch': 16}, marks=pytest.mark.slow),
])
def test_games_train_and_play(alg, env, options, tmp_path, capfd):
    """One update; then a whole game, of five lives."""
    pytest.importorskip('ale_py', reason="pip install 'onpolicybaselines[atari]'")
    run.main(['run', *words({'alg': alg, 'env': env, 'seed': 1, 'num_timesteps': 16, 'play': True, 'play_episodes': 1,
                             'log_path': tmp_path, **options})])
    played = [line for line in capfd.readouterr().out.splitlines() if line.startswith('episode_rew=')]
    with open(tmp_path / 'play' / '0.monitor.csv') as fh:
        _, _, *games = fh.read().splitlines()
    assert len(games) == len(played) == 1 and played[0] == f'episode_rew={games[0].split(",")[0]}'


def test_films_of_training_and_playing(hopper_model, tmp_path, capsys):
    pytest.importorskip('imageio')
    if not has_opengl():
        pytest.skip('no OpenGL here')
    run.main(['run', '--env=Hopper-v5', f'--load_path={hopper_model}', '--num_timesteps=0', '--play',
              '--play_episodes=1', '--save_video_interval=1000', '--save_video_length=5',
              f'--log_path={tmp_path / "play"}'])
    run.main(['run', *words({**BASE, 'env': 'Hopper-v5', 'save_video_interval': 300, 'save_video_length': 5,
                             'log_path': tmp_path / 'train'})])
    films = tmp_path / 'play' / 'play' / 'videos'
    assert len(list(films.glob('*.mp4'))) == 1 and f'1 episodes, filmed into {films}\n' in capsys.readouterr().out
    assert not (tmp_path / 'play' / 'videos').exists()
    assert len(list((tmp_path / 'train' / 'videos').glob('*.mp4'))) == 2  # at the start and after 300 steps


# ---------------------------------------------------------------- processes

def has_opengl():
    """Whether MuJoCo can draw, tried in another process: Mesa and TensorFlow do not get along in one."""
    code = ("import gymnasium; from onpolicybaselines.common.vec_env.rendering import render_env; "
            "env = gymnasium.make('Hopper-v5', render_mode='rgb_array'); env.reset(); render_env(env)")
    return subprocess.run([sys.executable, '-c', code], capture_output=True, timeout=100, check=False).returncode == 0


def command_line(*arguments, **kwargs):
    environment = {**os.environ, **kwargs}
    return subprocess.run([sys.executable, '-m', 'onpolicybaselines.run', *arguments], capture_output=True, text=True,
                          timeout=200, env=environment, check=False)


@pytest.mark.parametrize('options, unknown', [
    ({'alg': 'acktr_cont', 'env': 'Reacher-v5', 'policy': 'flow', 'flow_layers': 1, 'timesteps_per_batch': 100},
     ['network=mlp', 'num_env=2', 'flow_unit=3', 'kfac_update=0']),
    ({'alg': 'acktr', 'env': 'CartPole-v1', 'nsteps': 10, 'num_env': 2}, ['max_kl=1', 'policy=flow', 'network=lstm']),
    ({'alg': 'a2c', 'env': 'CartPole-v1', 'network': 'lstm', 'nlstm': 8}, ['max_kl=1', 'lrschedule=fast']),
    ({'alg': 'ppo2', 'env': 'CartPole-v1', 'nsteps': 48, 'num_env': 2, 'lrschedule': 'linear'},
     ['max_kl=1', 'policy=flow', 'clipschedule=fast', 'nminibatches=5', 'comm=None'])],
    ids=['acktr_cont', 'acktr', 'a2c', 'ppo2'])
def test_other_algorithms(options, unknown, tmp_path, capfd):
    """Train, save, play without being told of the policy again; what they do not take is one line."""
    model, log = tmp_path / 'model.npz', tmp_path / 'log'
    run.main(['run', *words({**options, 'num_timesteps': 200, 'seed': 1, 'log_path': log, 'save_path': model})])
    assert json.loads((log / 'config.json').read_text())['args']['alg'] == options['alg']
    capfd.readouterr()
    run.main(['run', *words({'alg': options['alg'], 'env': options['env'], 'seed': 1, 'num_timesteps': 0,
                             'load_path': model, 'play_episodes': 2, 'log_path': tmp_path / 'play'}), '--play'])
    assert capfd.readouterr().out.count('episode_rew=') == 2
    for option in unknown:
        with pytest.raises(SystemExit) as e:
            run.main(['run', *words({**options, 'num_timesteps': 200, 'log_path': tmp_path / 'bad'}), f'--{option}'])
        err = capfd.readouterr().err
        assert e.value.code == 2 and err.startswith('error: ') and err.count('\n') == 1, (option, err)


@pytest.mark.slow
def test_what_xla_compiles_is_kept_for_the_next_run(tmp_path):
    """In the user's cache folder; without a folder to write to a run compiles again."""
    tables = []
    for home, folder in [('home', 'first'), ('home', 'second'), ('file', 'third')]:
        (tmp_path / 'file').touch()
        result = command_line(*words({**BASE, 'xla': True, 'log_path': tmp_path / folder}),
                              XDG_CACHE_HOME=str(tmp_path / home))
        assert result.returncode == 0, result.stderr
        kept = {f.name: f.stat().st_mtime_ns for f in (tmp_path / 'home').glob('onpolicybaselines/xla/*/*')}
        with open(tmp_path / folder / 'progress.csv', newline='') as fh:
            tables.append((kept, [{k: v for k, v in row.items() if k != 'TimeElapsed'} for row in csv.DictReader(fh)]))
    assert tables[0] == tables[1] == tables[2] and len(tables[0][0]) >= 2


def test_as_a_process_output_is_plain_and_quiet(tmp_path):
    result = command_line(*words({**BASE, 'log_path': tmp_path}))
    assert result.returncode == 0
    errors = [line for line in result.stderr.splitlines() if 'MUJOCO' not in line]
    assert all('steps' in line and 'EpRewMean' in line for line in errors), errors  # and nothing of TensorFlow's
    assert '400/400 steps (100%)' in errors[-1]
    assert '\x1b' not in result.stdout + result.stderr and '| EpRewMean' in result.stdout


def test_as_a_process_bad_input(tmp_path):
    result = command_line('--policy=flwo', f'--log_path={tmp_path}')
    assert result.returncode == 2 and result.stdout == ''
    assert result.stderr == "error: unknown policy 'flwo'; did you mean flow?\n"
