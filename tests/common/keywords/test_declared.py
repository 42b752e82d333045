"""What functions take, read from their source: the same as of the functions themselves."""
import inspect
import subprocess
import sys
import typing
from collections.abc import Callable

import pytest

from onpolicybaselines import run
from onpolicybaselines.common import distributions, models
from onpolicybaselines.common.keywords import declared, is_expressible, keywords_of, sentences
from onpolicybaselines.common.keywords.declared import constant, registered, table
from onpolicybaselines.session import options
from onpolicybaselines.session.start import ALGORITHMS

ALIKE = {
    **{alg: (lambda alg=alg: options.declared_learn(alg), lambda alg=alg: run.get_learn_function(alg))
       for alg in ALGORITHMS},
    **{name: (lambda name=name: registered('common.models')[name], lambda name=name: models.mapping[name])
       for name in models.mapping},
    **{name: (lambda name=name: table('common.distributions', 'POLICIES')[name],
              lambda name=name: distributions.POLICIES[name]) for name in distributions.POLICIES},
}


def hints(function):
    return typing.get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)


@pytest.mark.parametrize('stand_in, real', ALIKE.values(), ids=ALIKE)
def test_stand_ins_agree_with_what_they_stand_for(stand_in, real):
    stand_in, real = stand_in(), real()
    assert stand_in is not real and stand_in.__name__ == real.__name__
    here, there = (inspect.signature(function).parameters for function in (stand_in, real))
    assert [(p.name, p.kind) for p in here.values()] == [(p.name, p.kind) for p in there.values()]
    assert sentences(stand_in) == sentences(real) and inspect.getdoc(stand_in) == inspect.getdoc(real)
    for name, p in keywords_of(real).items():
        assert is_expressible(keywords_of(stand_in)[name].annotation) is is_expressible(p.annotation), name
        if is_expressible(p.annotation):
            assert keywords_of(stand_in)[name] == p and hints(stand_in)[name] == hints(real)[name], name


def test_tables_have_the_names_of_the_real_ones():
    assert list(registered('common.models')) == list(models.mapping)
    assert list(table('common.distributions', 'POLICIES')) == list(distributions.POLICIES)
    assert constant('common.distributions', 'FAMILY_SIZES') == distributions.FAMILY_SIZES


def test_without_tensorflow_they_are_the_same():
    """Here it is imported; what only it can resolve must make no difference to what text can give."""
    program = ('import sys; from onpolicybaselines.session import options as o\n'
               'from onpolicybaselines.session.start import ALGORITHMS\n'
               'takers = {**{a: o.learn_keywords(o.declared_learn(a)) for a in ALGORITHMS},\n'
               '          **{n: o.network_keywords(n) for n in o.networks()},\n'
               '          **{p: o.policy_keywords(p) for p in o.policies()}}\n'
               'print({taker: {name: str(p) for name, p in ps.items()} for taker, ps in takers.items()})\n'
               'assert "tensorflow" not in sys.modules')
    result = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=True)
    takers = {**{alg: options.learn_keywords(run.get_learn_function(alg)) for alg in ALGORITHMS},
              **{name: options.network_keywords(name) for name in models.mapping},
              **{name: options.policy_keywords(name) for name in distributions.POLICIES}}
    assert result.stdout.strip() == str({t: {name: str(p) for name, p in ps.items()} for t, ps in takers.items()})


def test_a_stand_in_is_not_to_be_called():
    with pytest.raises(NotImplementedError, match='learn is only declared'):
        declared('trpo_mpi.trpo_mpi', 'learn')()


def test_what_no_text_can_give():
    conv_fn = inspect.signature(registered('common.models')['cnn_lstm']).parameters['conv_fn']
    assert conv_fn.annotation is Callable and conv_fn.default == 'nature_cnn'
    tensor = inspect.signature(declared('common.distributions', 'DiagGaussianPd')).parameters['flat']
    assert tensor.name == 'flat' and tensor.default is tensor.empty


def test_constructors_may_be_inherited():
    assert list(inspect.signature(declared('common.vec_env.vec_env', 'VecEnvWrapper')).parameters)[0] == 'venv'
    inherited = inspect.signature(declared('common.vec_env.vec_env', 'VecEnvObservationWrapper'))
    assert inherited == inspect.signature(declared('common.vec_env.vec_env', 'VecEnvWrapper'))
    assert not inspect.signature(declared('acktr.families', 'BatchStdMixturePdType')).parameters  # bases from elsewhere
