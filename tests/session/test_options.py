"""Options, found by signature: of every algorithm, network and policy."""
import argparse
import inspect

import gymnasium as gym
import numpy as np
import pytest

from onpolicybaselines import run
from onpolicybaselines.common.cmd_util import common_arg_parser
from onpolicybaselines.common.errors import UsageError
from onpolicybaselines.common.files import write_arrays
from onpolicybaselines.common.keywords import sentences
from onpolicybaselines.session import options
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


def test_help_has_the_sentences(capsys):
    def learn(*, network='mlp', gamma: float = .5, coef: int = 1):
        """Learns.

        network   the network
        gamma     of the discount, said at such length that it does not fit in one line of a terminal of the usual
                  width, and so goes on in the next
        """
    options.print_help(common_arg_parser(), 'alg', learn, {'gamma': .9})
    text = capsys.readouterr().out
    lines = text.splitlines()
    start = lines.index('alg.learn (defaults for MuJoCo):')
    assert lines[start + 1] == '  --gamma=0.9  (a number)' and lines[start + 4] == '  --coef=1  (an integer)'
    sentence = ' '.join(line.strip() for line in lines[start + 2:start + 4])
    assert sentence.startswith('of the discount, said at such length') and sentence.endswith('goes on in the next')
    assert max(map(len, lines)) <= 120 and '--network=mlp:' in text and '<function' not in text


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
