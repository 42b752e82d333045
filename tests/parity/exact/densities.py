"""Log-densities, divergences, entropies of families, and their gradients by the parameters. Sums over the last axis."""
import numpy as np

LOG_2PI = float(np.log(2 * np.pi))


class Gaussian:
    """Diagonal; flat = [mean | log standard deviation]."""

    def __init__(self, flat):
        self.mean, self.logstd = np.split(flat, 2, axis=-1)
        self.std, self.var = np.exp(self.logstd), np.exp(2 * self.logstd)

    def neglogp(self, x):
        return (0.5 * ((x - self.mean) / self.std) ** 2 + 0.5 * LOG_2PI + self.logstd).sum(axis=-1)

    def kl(self, q):
        return (q.logstd - self.logstd + (self.var + (self.mean - q.mean) ** 2) / (2 * q.var) - 0.5).sum(axis=-1)

    def entropy(self):
        return (self.logstd + 0.5 * (LOG_2PI + 1)).sum(axis=-1)

    def neglogp_grad(self, x):
        z = (x - self.mean) / self.std
        return np.concatenate([-z / self.std, 1 - z * z + 0 * self.logstd], axis=-1)

    def entropy_grad(self):
        return np.concatenate([0 * self.mean, 0 * self.logstd + 1], axis=-1)

    def kl_grad(self, q):
        """By the parameters of q."""
        d = q.mean - self.mean
        return np.concatenate([d / q.var, 1 - (self.var + d * d) / q.var], axis=-1)


class Categorical:
    """flat = logits."""

    def __init__(self, flat):
        self.logits = flat - flat.max(axis=-1, keepdims=True)
        self.logsum = np.log(np.exp(self.logits).sum(axis=-1, keepdims=True))
        self.logp = self.logits - self.logsum
        self.mean = np.exp(self.logp)

    def one_hot(self, x):
        return (x[..., np.newaxis] == np.arange(self.logp.shape[-1])).astype(self.logp.dtype)

    def neglogp(self, x):
        return -np.take_along_axis(self.logp, x[..., np.newaxis], axis=-1)[..., 0]

    def kl(self, q):
        return (self.mean * (self.logits - self.logsum - q.logits + q.logsum)).sum(axis=-1)

    def entropy(self):
        return -(self.mean * self.logp).sum(axis=-1)

    def neglogp_grad(self, x):
        return self.mean - self.one_hot(x)

    def entropy_grad(self):
        return -self.mean * (self.logp + self.entropy()[..., np.newaxis])

    def kl_grad(self, q):
        return q.mean - self.mean


class MultiCategorical:
    """Independent ones, their logits side by side."""

    def __init__(self, flat, sizes):
        self.parts = [Categorical(part) for part in np.split(flat, np.cumsum(sizes)[:-1], axis=-1)]

    def neglogp(self, x):
        return sum(p.neglogp(x[..., i]) for i, p in enumerate(self.parts))

    def kl(self, q):
        return sum(map(Categorical.kl, self.parts, q.parts))

    def entropy(self):
        return sum(p.entropy() for p in self.parts)

    def neglogp_grad(self, x):
        return np.concatenate([p.neglogp_grad(x[..., i]) for i, p in enumerate(self.parts)], axis=-1)

    def entropy_grad(self):
        return np.concatenate([p.entropy_grad() for p in self.parts], axis=-1)

    def kl_grad(self, q):
        return np.concatenate([p.kl_grad(r) for p, r in zip(self.parts, q.parts, strict=True)], axis=-1)


class Bernoulli:
    """Independent coins; flat = logits."""

    def __init__(self, flat):
        self.logits = flat
        self.mean = 1 / (1 + np.exp(-flat))

    def log_terms(self):
        """log p(1), log p(0)."""
        return -np.logaddexp(0, -self.logits), -np.logaddexp(0, self.logits)

    def neglogp(self, x):
        one, zero = self.log_terms()
        return -np.where(x == 1, one, zero).sum(axis=-1)

    def kl(self, q):
        (one, zero), (qone, qzero) = self.log_terms(), q.log_terms()
        return (self.mean * (one - qone) + (1 - self.mean) * (zero - qzero)).sum(axis=-1)

    def entropy(self):
        one, zero = self.log_terms()
        return -(self.mean * one + (1 - self.mean) * zero).sum(axis=-1)

    def neglogp_grad(self, x):
        return self.mean - x

    def entropy_grad(self):
        return -self.logits * self.mean * (1 - self.mean)

    def kl_grad(self, q):
        return q.mean - self.mean


def mixture(component_logp):
    """log of the mean of densities [B, K]."""
    top = component_logp.max(axis=-1, keepdims=True)
    return (top + np.log(np.exp(component_logp - top).mean(axis=-1, keepdims=True)))[..., 0]
