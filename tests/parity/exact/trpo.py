"""TRPO's losses, their gradient, Fisher-vector products, step and value fit, of Gaussian and of flow policies.

obz: observations as the networks get them [B, ...]; params: {name: array}; theta: the flat vector of these.
"""
import functools
from collections.abc import Callable

import numpy as np

from exact.arithmetic import directional, dot, flat, kept, mean, named
from exact.densities import LOG_2PI, Gaussian
from exact.flow import log_prob
from exact.networks import Pass, dense_names, mlp, tanh
from exact.returns import adam, conjugate_gradients


class GaussianPolicy:
    """Tanh layers to the mean; one log standard deviation for all states."""

    has_kl = True

    def __init__(self, names, shapes):
        self.names, self.shapes = names, shapes
        self.logstd = next(str(name) for name in names if name.endswith('logstd'))

    def layers(self, theta):
        return Pass(named(theta, self.names, self.shapes))

    def distribution(self, layers, obz):
        mean_, back = mlp(layers, obz, tanh, dense_names(self.names))
        logstd = layers.params[self.logstd].ravel()

        def back_flat(d_flat):
            d_mean, d_logstd = np.split(d_flat, 2, axis=1)
            back(d_mean)
            layers.grads[self.logstd] = d_logstd.sum(axis=0).reshape(layers.params[self.logstd].shape)
        return Gaussian(np.concatenate([mean_, np.broadcast_to(logstd, mean_.shape)], axis=1)), back_flat

    def log_prob(self, layers, obz, ac):
        mean_, mean_back = mlp(layers, obz, tanh, dense_names(self.names))
        logstd = layers.params[self.logstd].ravel()
        z = (ac - mean_) / np.exp(logstd)

        def back(d):
            d = d[:, np.newaxis]
            mean_back(d * z / np.exp(logstd))
            # of exponent and normaliser, each summed by itself: where they cancel, that is how float32 loses digits
            grad = (d * z * z).sum(axis=0) - d.sum(axis=0)
            layers.grads[self.logstd] = grad.reshape(layers.params[self.logstd].shape)
        return kept(-(0.5 * z * z + 0.5 * LOG_2PI + logstd).sum(axis=1)), back

    def divergence_gradient(self, theta, old, obz, ac):
        """Of the mean KL(old || new)."""
        layers = self.layers(theta)
        pd, back = self.distribution(layers, obz)
        back(self.distribution(self.layers(old), obz)[0].kl_grad(pd) / len(obz))
        return flat(layers.grads, self.names)

    def divergence_and_entropy(self, theta, old, obz, ac):
        new, old = (self.distribution(self.layers(th), obz)[0] for th in (theta, old))
        return mean(old.kl(new)), mean(new.entropy())


class FlowPolicy:
    """The divergence is the mean of log p_old - log p_new at the actions taken; no entropy in closed form."""

    has_kl = False

    def __init__(self, names, shapes, masks):
        self.names, self.shapes, self.masks = names, shapes, masks

    def layers(self, theta):
        return Pass(named(theta, self.names, self.shapes))

    def log_prob(self, layers, obz, ac):
        logp, back = log_prob(layers, self.masks.astype(obz.dtype), obz, ac)
        return kept(logp), back

    def divergence_gradient(self, theta, old, obz, ac):
        layers = self.layers(theta)
        _, back = self.log_prob(layers, obz, ac)
        back(np.full(len(obz), -1 / len(obz), obz.dtype))
        return flat(layers.grads, self.names)

    def divergence_and_entropy(self, theta, old, obz, ac):
        new, old = (self.log_prob(self.layers(th), obz, ac)[0] for th in (theta, old))
        return mean(old - new), mean(new) * np.nan


def losses(policy, theta, old, obz, ac, atarg, ent_coef: float = 0.) -> np.ndarray:
    """optimgain, meankl, entloss, surrgain, entropy (NaN where it has no closed form)."""
    new, before = (policy.log_prob(policy.layers(th), obz, ac)[0] for th in (theta, old))
    surrogate = mean(np.exp(new - before) * atarg)
    divergence, entropy = policy.divergence_and_entropy(theta, old, obz, ac)
    bonus = ent_coef * entropy if ent_coef else 0 * surrogate
    return np.array([surrogate + bonus, divergence, bonus, surrogate, entropy])


def gradient(policy, theta, obz, ac, atarg) -> np.ndarray:
    """Of the surrogate at the old policy, where every ratio is 1; without entropy bonus."""
    layers = policy.layers(theta)
    _, back = policy.log_prob(layers, obz, ac)
    back(atarg / len(atarg))
    return flat(layers.grads, policy.names)


def fisher_product(policy, theta, obz, ac, damping: float = 0.) -> Callable:
    """v -> (F + damping) v: the Hessian of the divergence at the old policy itself."""
    gradient_at = functools.partial(policy.divergence_gradient, old=theta, obz=obz, ac=ac)
    return lambda v: directional(gradient_at, theta, v) + damping * v


def step(product: Callable, g: np.ndarray, stepdir: np.ndarray, max_kl: float) -> dict:
    """The step of the largest divergence allowed along a direction, and what it should gain."""
    shs = dot(stepdir, product(stepdir)) / 2
    if not shs > 0:  # the step is given up
        return {'shs': shs, 'lm': shs * np.nan, 'fullstep': 0 * stepdir, 'expectedimprove': 0 * shs}
    lm = np.sqrt(shs / max_kl)
    return {'shs': shs, 'lm': lm, 'fullstep': stepdir / lm, 'expectedimprove': dot(g, stepdir / lm)}


def natural_step(product: Callable, g: np.ndarray, iterations: int, max_kl: float, recorded=None) -> dict:
    """CG and `step`; recorded: products [iterations, n] that CG gets in place of its own."""
    found = conjugate_gradients((lambda p, i: product(p)) if recorded is None else (lambda p, i: recorded[i]), g,
                                iterations)
    return {**found, **step(product, g, found['x'], max_kl)}


def value(theta, names, shapes, obz) -> np.ndarray:
    return mlp(Pass(named(theta, names, shapes)), obz, tanh)[0][:, 0]


def value_gradient(theta, names, shapes, obz, target) -> np.ndarray:
    """Of the mean squared error."""
    layers = Pass(named(theta, names, shapes))
    out, back = mlp(layers, obz, tanh)
    back(2 * (out - target[:, np.newaxis]) / len(target))
    return flat(layers.grads, names)


def value_fit(theta, m, v, obz, target, *, t: int, minibatches, names, shapes, stepsize: float) -> dict:
    """Adam on each minibatch; t: updates before."""
    grads = []
    for number, rows in enumerate(minibatches):
        grad = value_gradient(theta, names, shapes, obz[rows], target[rows])
        grads = [*grads[:1], grad]  # the first and the last
        theta, m, v = adam(theta, m, v, t + number + 1, grad, stepsize)
    return {'theta': theta, 'm': m, 'v': v, 'first': grads[0], 'last': grads[-1]}
