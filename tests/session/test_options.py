"""Options, found by signature: of every algorithm, network and policy."""
import argparse
import contextlib
import inspect

import gymnasium as gym
import numpy as np
import pytest

from onpolicybaselines import run
from onpolicybaselines.common.cmd_util import common_arg_parser
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import write_arrays
from onpolicybaselines.common.keywords import sentences
from onpolicybaselines.common.vec_env import DummyVecEnv
from onpolicybaselines.session import options
from onpolicybaselines.session.help import are_discrete, networks_for, print_help
from onpolicybaselines.session.start import ALGORITHMS


def owners():
    """Everything that has options."""
    from onpolicybaselines.common.distributions import POLICIES
    from onpolicybaselines.common.models import mapping
    for alg in ALGORITHMS:
        learn = run.get_learn_function(alg)
        yield f'{alg}.learn', learn, options.learn_keywords(learn)
    for name, builder in mapping.items():
        yield f'--network={name}', builder, options.network_keywords(name)
    for name, family in POLICIES.items():
        yield f'--policy={name}', family, options.policy_keywords(name)


def test_every_option_has_a_sentence():
    missing = [f'{owner} --{name}' for owner, function, parameters in owners() for name in parameters
               if name not in sentences(function)]
    assert not missing


def help_lines(capsys, *words, learn=None, env_type='mujoco', columns='112', defaults=None):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('COLUMNS', columns)
        args = arguments(*words)
        learn = learn or options.declared_learn(args.alg)
        print_help(common_arg_parser(), args, learn, defaults or {}, 'mlp', env_type)
    return capsys.readouterr().out.splitlines()


def test_help_has_the_sentences(capsys):
    def learn(*, network='mlp', gamma: float = .5, coef: int = 1):
        """Learns.

        network   the network
        gamma     of the discount, said at such length that it does not fit in one line of a terminal of the usual
                  width, and so goes on in the next
        """
    lines = help_lines(capsys, learn=learn, defaults={'gamma': .9})
    start = lines.index('trpo_mpi.learn, defaults for Hopper-v5 (mujoco):')
    assert lines[start + 1] == '  --gamma=0.9  (a number)' and lines[start + 4] == '  --coef=1  (an integer)'
    sentence = ' '.join(line.strip() for line in lines[start + 2:start + 4])
    assert sentence.startswith('of the discount, said at such length') and sentence.endswith('goes on in the next')
    assert '--network=mlp:' in lines and '<function' not in '\n'.join(lines)


def test_help_has_what_applies(capsys):
    def titles(*words, env_type='mujoco'):
        return [line.split()[0].strip(':') for line in help_lines(capsys, *words, env_type=env_type)
                if line.startswith('--')]
    policies = ['--policy=gaussian', '--policy=gmm', '--policy=flow']
    assert titles() == [*policies, '--network=mlp', '--network=conv_only']
    assert titles('--alg=acktr_cont', '--policy=flow') == ['--policy=flow']
    assert titles('--alg=a2c', '--env=CartPole-v1', '--network=lstm', env_type='classic_control') == ['--network=lstm']
    assert titles('--env=Pendulum-v1', '--network=cnn', env_type='classic_control') == policies
    assert '--network=lnlstm' in titles('--alg=ppo2', env_type='atari') and policies[0] not in titles(env_type='atari')


@pytest.mark.parametrize('columns', [80, 112])
def test_help_is_as_wide_as_the_terminal(columns, capsys):
    lines = help_lines(capsys, columns=str(columns))
    assert columns - 10 < max(map(len, lines)) <= columns
    assert '  --alg=trpo_mpi  (one of a2c, acktr, acktr_cont, ppo2, trpo_mpi)' in lines
    assert '  --num_env=1  (a whole number from 1 to 10000)' in lines
    assert '  --seed  (a whole number of at least 0)' in lines


def test_every_flag_has_a_sentence():
    assert [action.dest for action in common_arg_parser()._actions if not action.help] == []


@pytest.mark.parametrize('env_id, space', [
    ('CartPole-v1', gym.spaces.Discrete), ('Taxi-v4', gym.spaces.Discrete), ('Pendulum-v1', gym.spaces.Box),
    ('Hopper-v5', gym.spaces.Box), ('rllab/Hopper-v0', gym.spaces.Box)])
def test_kinds_of_actions_are_known(env_id, space):
    env_type, _ = run.get_env_type(arguments(f'--env={env_id}'))
    assert are_discrete(env_id, env_type) is (space is gym.spaces.Discrete)
    assert isinstance(gym.make(env_id).action_space, space)


def arguments(*words):
    return common_arg_parser().parse_args(words)


def complete(learn, space, **alg_kwargs):
    options.complete(alg_kwargs, learn, space)
    return alg_kwargs


def test_what_is_not_used_is_left_out():
    trpo, cont = run.get_learn_function('trpo_mpi'), run.get_learn_function('acktr_cont')
    box, discrete = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)
    assert complete(trpo, box, network='mlp', num_hidden=3, gamma=.9) == {
        'network': 'mlp', 'num_hidden': 3, 'gamma': .9, 'policy': 'gaussian'}
    assert complete(trpo, discrete, network='mlp', num_hidden=3) == {'network': 'mlp', 'num_hidden': 3}
    assert complete(trpo, box, network='cnn', num_hidden=3, policy='gmm', gmm_components=2, flow_layers=1) == {
        'network': 'cnn', 'policy': 'gmm', 'gmm_components': 2}
    assert complete(cont, box, network='mlp', policy='flow', flow_layers=1) == {'policy': 'flow', 'flow_layers': 1}
    assert complete(trpo, box, network='cnn', pad='SAME')['pad'] == 'SAME'  # what no one names goes through


def test_options_of_a_run_are_those_of_its_network_and_policy():
    learn = run.get_learn_function('trpo_mpi')
    some = options.of_command_line(arguments('--policy=flow'), learn, {'network': 'mlp'}, 'cnn')
    assert {'gamma', 'num_hidden', 'flow_layers'} <= some.keys() and not {'gmm_components', 'nlstm'} & some.keys()
    assert all(isinstance(p, inspect.Parameter) for p in some.values())
    assert 'num_hidden' not in options.of_command_line(arguments(), learn, {}, 'cnn')
    assert 'num_hidden' in options.of_command_line(arguments('--network=mlp'), learn, {'network': 'cnn'}, 'cnn')


def test_a_loaded_model_says_what_it_is(tmp_path):
    path = str(tmp_path / 'model.npz')
    write_arrays(path, {}, {'spec': {'network': 'custom', 'policy': 'gmm', 'gmm_components': 3, 'num_layers': None}})
    assert options.chosen(arguments(f'--load_path={path}')) == {'policy': 'gmm', 'gmm_components': 3}
    assert options.chosen(arguments(f'--load_path={path}', '--policy=flow'))['policy'] == 'flow'
    assert options.chosen(argparse.Namespace(load_path=None, policy=None)) == {}


@pytest.mark.parametrize('alg', ALGORITHMS)
def test_get_learn_function(alg):
    assert run.get_learn_function(alg).__module__.endswith(f'.{alg}')
    assert bool(run.get_learn_function_defaults(alg, 'mujoco')) == (alg in ('acktr', 'ppo2', 'trpo_mpi'))
    assert run.get_learn_function_defaults(alg, 'no such type') == {}


def test_options_that_contradict_a_model_are_refused(tmp_path):
    path = str(tmp_path / 'model.npz')
    write_arrays(path, {'w': np.ones(1)}, {'spec': {'network': 'mlp', 'value_network': 'copy', 'policy': 'gaussian',
                                                    'normalize_observations': True, 'activation': 'relu'}})

    def check(*words, **extra):
        options.check(arguments(f'--load_path={path}', *words), options.declared_learn('trpo_mpi'), {}, 'mlp', extra)
    check()
    check('--network=mlp', activation='relu', num_hidden=64, value_network='copy', gamma=0.9)
    for words, extra, fault in [((), {'activation': 'tanh'}, 'activation is relu'), ((), {'num_hidden': 32}, 'is 64'),
                                (('--network=lstm',), {}, 'network is mlp'), (('--policy=flow',), {}, 'is gaussian'),
                                ((), {'value_network': 'shared'}, 'is copy'), ((), {'init_logstd': -1.}, 'is 0.0')]:
        with pytest.raises(UsageError, match=fault):
            check(*words, **extra)


@pytest.mark.parametrize('spec', [{'network': 3}, {'network': ['mlp']}, {'policy': {}}, {'num_hidden': 'many'},
                                  {'num_hidden': 2.5}, {'layer_norm': 1}, {'activation': 'conv2d'},
                                  {'num_layers': -1}, {'num_layers': True}, {'num_hidden': 10**9}])
def test_models_whose_description_is_damaged_are_refused(spec, tmp_path):
    path = str(tmp_path / 'model.npz')
    write_arrays(path, {'w': np.ones(1)}, {'spec': {'network': 'mlp', 'policy': 'gaussian', **spec}})
    with pytest.raises(UsageError) as e:
        options.check(arguments(f'--load_path={path}'), options.declared_learn('trpo_mpi'), {}, 'mlp', {})
    assert '\n' not in str(e.value)


@pytest.mark.parametrize('alg', ['trpo_mpi', 'acktr', 'a2c', 'ppo2'])
def test_networks_of_the_help_are_those_that_learn_takes(alg):
    env = DummyVecEnv([lambda: gym.make('CartPole-v1')])
    learn = run.get_learn_function(alg)
    refused = pytest.raises(UsageError, match='recurrent')
    with contextlib.nullcontext() if 'lstm' in networks_for(alg, learn) else refused:
        learn(network='lstm', env=env, total_timesteps=0, nlstm=2, **({'nminibatches': 1} if alg == 'ppo2' else {}))
    assert 'mlp' in networks_for(alg, learn)
