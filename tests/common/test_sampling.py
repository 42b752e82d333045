"""Noise from the host, and entropies, in closed form or sampled."""
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from onpolicybaselines.common import sampling
from onpolicybaselines.common.distributions import make_pdtype


def test_entropy_in_closed_form_needs_no_noise():
    pdtype, rng = make_pdtype(spaces.Discrete(3)), np.random.default_rng(0)
    noise = sampling.entropy_noise(pdtype, rng, 5)
    assert noise.shape == (0, 3)
    assert rng.random() == np.random.default_rng(0).random()  # none was used up
    pd = pdtype.pdfromflat(tf.constant([[0., 0., 0.], [9., 0., 0.]]))
    np.testing.assert_allclose(sampling.entropy_of(pd, tf.constant(noise)), pd.entropy())


def test_sampled_entropy():
    """Of a mixture of two far apart, log 2 more than that of one. The error of the mean of 1000 states x 10 samples is
    normal with standard deviation sqrt(2 / 2) / 100 (two dimensions): 4 of these are exceeded once in 16,000 seeds."""
    pdtype, rng = make_pdtype(spaces.Box(-1, 1, (2,)), 'gmm'), np.random.default_rng(0)
    noise = sampling.entropy_noise(pdtype, rng, 1000)
    assert noise.shape == (10_000, 3)
    pd = pdtype.pdfromflat(tf.tile([[-50., 0., 50., 0., 0., 0., 0., 0.]], [1000, 1]))
    entropy = sampling.entropy_of(pd, tf.constant(noise))
    assert entropy.shape == (1000,)
    assert abs(np.mean(entropy) - (1 + np.log(2 * np.pi) + np.log(2))) < 0.04


@pytest.mark.parametrize('space, params, sample', [
    (spaces.Box(-1, 1, (3,)), [6], [3]), (spaces.Discrete(3), [3], []), (spaces.MultiDiscrete([2, 3]), [5], [2]),
    (spaces.MultiBinary(4), [4], [4])], ids=str)
def test_placeholders(space, params, sample):
    pdtype = make_pdtype(space)
    param, action = pdtype.param_placeholder([None]), pdtype.sample_placeholder([7], name='ac')
    assert param.shape.as_list() == [None, *params] and param.dtype == 'float32'
    assert action.shape.as_list() == [7, *sample] and action.dtype == pdtype.sample_dtype() and action.name == 'ac'
