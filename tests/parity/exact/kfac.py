"""K-FAC as the originals have it (tests/golden/README.md, section 6): factors, their averages, the preconditioned step.

A factor is a symmetric matrix; those of a variable come from its uses (input, d output) in the backward pass of the
sampled loss, d being the gradient of the batch mean.
"""
from dataclasses import dataclass, field

import numpy as np

from exact.arithmetic import cross, flat, mean, named
from exact.networks import Pass, elu, mlp


def homogeneous(x: np.ndarray) -> np.ndarray:
    """With a column of ones for the bias."""
    return np.concatenate([x, np.ones_like(x[:, :1])], axis=1)


def dense_factors(uses: list[tuple]) -> list[np.ndarray]:
    """Of inputs and of gradients; uses of one layer in one pass count as more samples, and as released make its
    gradients larger by their number."""
    rows = sum(len(x) for x, _ in uses)
    inputs, grads = [homogeneous(x) for x, _ in uses], [rows * d for _, d in uses]
    return [sum(cross(x, x) for x in of_uses) / rows for of_uses in (inputs, grads)]


def vector_factor(rows: list[np.ndarray]) -> np.ndarray:
    """Of a vector without input: the mean outer product of its gradients, one row per sample."""
    count = sum(map(len, rows))
    return sum(cross(d, d) for d in (count * d for d in rows)) / count


@dataclass
class Block:
    """A layer, or a vector: its weights (or itself), its bias if any, its damping, and where its factors are."""

    weight: str
    bias: str | None
    damping: float
    factors: list[int]


def blocks_of(names, optype, bias_index, weight_decay, fprop, bprop, epsilon: float) -> list[Block]:
    """From the arrays of a trace, by variable: -1 is none."""
    out = []
    for i, name in enumerate(map(str, names)):
        if optype[i] == 'MatMul':
            out.append(Block(name, str(names[bias_index[i]]), epsilon + float(weight_decay[i]),
                             [int(fprop[i]), int(bprop[i])]))
        elif optype[i] == 'None':
            out.append(Block(name, None, epsilon + float(weight_decay[i]), [int(bprop[i])]))
    return out


def eigh(factor: np.ndarray) -> tuple:
    """Eigenvalues, ascending, and eigenvectors."""
    return np.linalg.eigh(factor)


def damped_inverse(block: Block, eigen: list, pieces: dict) -> dict:
    """The block of (F + damping)^-1 g; eigenvalues up to 1e-6 count as 0."""
    *left, (e_right, q_right) = [(np.where(e > 1e-6, e, 0), q) for e, q in (eigen[i] for i in block.factors)]
    grad = pieces[block.weight]
    if not left:
        rotated = grad.ravel() @ q_right / (e_right + block.damping)
        return {block.weight: (q_right @ rotated).reshape(grad.shape)}
    (e_left, q_left), = left
    rows = np.concatenate([grad, pieces[block.bias].reshape(1, -1)])
    rotated = q_left.T @ rows @ q_right / (e_left[:, np.newaxis] * e_right + block.damping)
    solved = q_left @ rotated @ q_right.T
    return {block.weight: solved[:-1], block.bias: solved[-1].reshape(pieces[block.bias].shape)}


@dataclass
class Kfac:
    """The optimizer's state, and its update; hyperparameters as the traces name them."""

    names: list
    shapes: np.ndarray
    blocks: list[Block]
    lr: float
    cold_lr: float
    momentum: float
    clip_kl: float
    stats_decay: float
    kfac_update: int
    accum_iter: int
    stats: list = field(default_factory=list)
    eigen: list = field(default_factory=list)
    kfac_momentum: np.ndarray = 0
    cold_momentum: np.ndarray = 0
    stats_step: int = 0

    def update(self, theta, grad, factors, cold: bool, warm: bool) -> dict:
        """One update of theta; cold, warm: which of the two steps it takes. All it went through, by name."""
        self.gather(factors)
        if self.stats_step % self.kfac_update == 0 and self.stats_step >= self.accum_iter:
            self.eigen = [eigh(factor) for factor in self.stats]
        precond, vFv, clip = self.precondition(grad) if self.eigen else (grad, 0 * grad[0], 1)
        step = 0 * theta
        if cold:
            self.cold_momentum = self.momentum * self.cold_momentum + grad
            step = self.cold_lr * self.cold_momentum
        if warm:
            self.kfac_momentum = self.momentum * self.kfac_momentum + clip * precond
            step = step + self.lr * (1 - self.momentum) * self.kfac_momentum
        eigvals = [e for e, _ in self.eigen] or [np.ones_like(factor[0]) for factor in factors]
        return {'theta': theta - step, 'grad': grad, 'cov': joined(factors), 'stats': joined(self.stats),
                'eigvals': joined(eigvals), 'precond': precond, 'clipped': clip * precond, 'vFv': vFv,
                'kfac_momentum': self.kfac_momentum + 0 * theta, 'cold_momentum': self.cold_momentum + 0 * theta}

    def gather(self, factors):
        """Averages: evenly at first, then with exponential decay."""
        if self.stats_step < self.accum_iter:
            before = self.stats or [0 * factor for factor in factors]
            self.stats = [old + new / self.accum_iter for old, new in zip(before, factors, strict=True)]
        else:
            decay = self.stats_decay
            self.stats = [decay * old + (1 - decay) * new for old, new in zip(self.stats, factors, strict=True)]
        self.stats_step += 1

    def precondition(self, grad) -> tuple:
        """(before the clip, v'Fv, what it is clipped by)."""
        pieces = named(grad, self.names, self.shapes)
        solved = {}
        for block in self.blocks:
            solved |= damped_inverse(block, self.eigen, pieces)
        solved = flat(solved, self.names)
        vFv = (solved * grad).sum() * self.lr ** 2
        return solved, vFv, float(min(1, np.sqrt(self.clip_kl / vFv))) if vFv > 0 else 1.


def joined(factors) -> np.ndarray:
    """As one vector."""
    return np.concatenate([np.ravel(factor) for factor in factors])


# ---------------------------------------------------------------- what it is applied to

def dense_and_vector_factors(layers, blocks, vectors: dict) -> list:
    """In the order of the blocks; vectors: {name: rows of gradients}."""
    out = []
    for block in blocks:
        out += dense_factors(layers.uses[block.weight]) if block.bias else [vector_factor(vectors[block.weight])]
    return out


def gaussian_update(policy, blocks, theta, ob, ac, adv) -> dict:
    """Loss, its gradient, sampled loss and the factors of ACKTR's Gaussian policy.

    The log standard deviation has one factor, of the gradient of the batch mean by the standard deviation.
    """
    layers, sampled = policy.layers(theta), policy.layers(theta)
    logp, back = policy.log_prob(layers, ob, ac)
    back(-adv / len(adv))
    _, back = policy.log_prob(sampled, ob, ac)
    back(np.full_like(adv, -1 / len(adv)))
    d_std = (sampled.grads[policy.logstd] / np.exp(sampled.params[policy.logstd])).reshape(1, -1)
    return {'loss': -mean(adv * logp), 'loss_sampled': -mean(logp), 'grad': flat(layers.grads, policy.names),
            'factors': dense_and_vector_factors(sampled, blocks, {policy.logstd: [d_std]})}


def flow_update(policy, blocks, theta, ob, ac, adv) -> dict:
    """The same of the released flow; scales and shifts of layer norms have factors of their own."""
    layers, sampled = policy.layers(theta), policy.layers(theta)
    logp, back = policy.log_prob(layers, ob, ac)
    back(-adv / len(adv))
    _, back = policy.log_prob(sampled, ob, ac)
    back(np.full_like(adv, -1 / len(adv)))
    vectors = {block.weight: [d for _, d in sampled.uses[block.weight]] for block in blocks if not block.bias}
    return {'loss': -mean(adv * logp), 'loss_sampled': -mean(logp), 'grad': flat(layers.grads, policy.names),
            'factors': dense_and_vector_factors(sampled, blocks, vectors)}


def critic_update(weight_decay: dict, blocks, names, shapes, theta, X, target, noise) -> dict:
    """The same of the critic, elu layers: squared errors, the sampled ones to its own prediction with noise."""
    layers, sampled = (Pass(named(theta, names, shapes)) for _ in range(2))
    out, back = mlp(layers, X, elu)
    error = out[:, 0] - target
    back((2 * error / len(error))[:, np.newaxis])
    decay = {name: layers.params[name] * coefficient for name, coefficient in weight_decay.items()}
    grads = {name: grad + decay.get(name, 0) for name, grad in layers.grads.items()}
    penalty = sum((layers.params[name] * d).sum() / 2 for name, d in decay.items())
    out, back = mlp(sampled, X, elu)
    difference = out[:, 0] - (out[:, 0] + noise)
    back((2 * difference / len(error))[:, np.newaxis])
    return {'loss': mean(error * error) + penalty, 'loss_sampled': mean(difference * difference),
            'grad': flat(grads, names), 'factors': dense_and_vector_factors(sampled, blocks, {})}
