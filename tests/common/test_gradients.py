"""What optimizers do to a flat gradient first."""
import doctest

import numpy as np
import pytest
import tensorflow as tf

from onpolicybaselines.common import gradients
from onpolicybaselines.common.gradients import check_finite_parts, clip_by_global_norm


def test_examples():
    assert doctest.testmod(gradients).failed == 0


@pytest.mark.parametrize('clip_norm, scale', [(None, 1.), (10., 1.), (2.5, 0.5)])
def test_clip_by_global_norm(clip_norm, scale):
    clipped = clip_by_global_norm(np.array([3., -4.], 'f'), clip_norm)
    assert clipped.dtype == 'float32'
    np.testing.assert_allclose(clipped, [3. * scale, -4. * scale])


def test_a_gradient_of_zeros_is_no_fault():
    assert not clip_by_global_norm(np.zeros(2), 1.).any()


def test_the_first_fault_is_named():
    variables = [tf.Variable([0.], name=name) for name in ('a', 'b')]
    check_finite_parts('the gradient of {!r} is', zip(variables, [np.ones(1), np.ones(1)], strict=True))
    with pytest.raises(FloatingPointError, match="^the gradient of 'b' is not finite; parameters unchanged$"):
        check_finite_parts('the gradient of {!r} is', zip(variables, [np.ones(1), np.full(1, np.nan)], strict=True))
