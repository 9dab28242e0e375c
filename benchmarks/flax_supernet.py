"""DARTS search (Liu et al., 2019) in plain Flax, a module per edge and operation."""

import time
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import Array
from optax import add_decayed_weights, clip_by_global_norm
from optax.tree import add_scale

RATE, MOMENTUM, DECAY, CLIP = 0.025, 0.9, 3e-4, 5.0
ALPHA_RATE, ALPHA_BETAS, ALPHA_DECAY = 3e-4, (0.5, 0.999), 1e-3
CLASSES, RADIUS = 10, 0.01

Tree = Any
Batch = tuple[Array, Array]
Op = Callable[[Array], Array]
Operations = dict[str, Callable[[int, int], Op]]
Loss = tuple[Array, Tree]

plain_conv = partial(nn.Conv, use_bias=False)
total = partial(reduce, jnp.add)
average = partial(nn.avg_pool, count_include_pad=False)


def conv(c: int, kernel: int, stride: int = 1) -> Op:
    return plain_conv(c, (kernel, kernel), stride, kernel // 2)


def norm(affine: bool = False) -> Op:
    """BN by the statistics of the batch, which is all that the search uses."""
    return nn.BatchNorm(False, momentum=0.9, use_scale=affine, use_bias=affine)


def relu_conv_bn(c: int, kernel: int = 1, stride: int = 1, affine: bool = False) -> Op:
    return nn.Sequential([nn.relu, conv(c, kernel, stride), norm(affine)])


def separable(c: int, kernel: int, stride: int = 1, dilation: int = 1) -> Op:
    """ReLU, depthwise convolution, pointwise convolution, BN."""
    size, pad = (kernel, kernel), dilation * (kernel // 2)
    depthwise = plain_conv(
        c, size, stride, pad, kernel_dilation=dilation, feature_group_count=c
    )
    return nn.Sequential([nn.relu, depthwise, conv(c, 1), norm()])


def pool(function: Callable[..., Array], stride: int) -> Op:
    return lambda x: function(x, (3, 3), (stride, stride), [(1, 1)] * 2)


class FactorizedReduce(nn.Module):
    """Halves the image by two strided 1x1 convolutions, one of them shifted."""

    c: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = nn.relu(x)
        even = conv(self.c // 2, 1, stride=2)(x)
        odd = conv(self.c - self.c // 2, 1, stride=2)(x[:, 1:, 1:])
        return norm()(jnp.concatenate([even, odd], axis=-1))


# Channels and stride -> the operation as it is in the supernet.
DARTS: Operations = {
    "none": lambda c, s: lambda x: jnp.zeros_like(x[:, ::s, ::s]),
    "max_pool_3x3": lambda c, s: nn.Sequential([pool(nn.max_pool, s), norm()]),
    "avg_pool_3x3": lambda c, s: nn.Sequential([pool(average, s), norm()]),
    "skip_connect": lambda c, s: FactorizedReduce(c) if s > 1 else lambda x: x,
    "sep_conv_3x3": lambda c, s: nn.Sequential([separable(c, 3, s), separable(c, 3)]),
    "sep_conv_5x5": lambda c, s: nn.Sequential([separable(c, 5, s), separable(c, 5)]),
    "dil_conv_3x3": lambda c, s: separable(c, 3, s, dilation=2),
    "dil_conv_5x5": lambda c, s: separable(c, 5, s, dilation=2),
}
NASBENCH201: Operations = {
    "none": lambda c, s: jnp.zeros_like,
    "skip_connect": lambda c, s: lambda x: x,
    "nor_conv_1x1": lambda c, s: relu_conv_bn(c, 1, s),
    "nor_conv_3x3": lambda c, s: relu_conv_bn(c, 3, s),
    "avg_pool_3x3": lambda c, s: pool(average, s),
}
OPERATIONS = {"darts": DARTS, "nasbench201": NASBENCH201}


class MixedOp(nn.Module):
    """Edge: the weighted sum of all operations."""

    space: str
    c: int
    stride: int

    @nn.compact
    def __call__(self, x: Array, weights: Array) -> Array:
        ops = [make(self.c, self.stride) for make in OPERATIONS[self.space].values()]
        return total([w * op(x) for w, op in zip(weights, ops, strict=True)])


class Cell(nn.Module):
    """The states and the nodes, each of which sums an edge from every one before."""

    space: str
    c: int
    nodes: int
    reduces: bool = False

    @nn.compact
    def __call__(self, states: list[Array], weights: Array) -> list[Array]:
        inputs, rows = len(states), iter(weights)
        for _ in range(self.nodes):
            edges = []
            for i, x in enumerate(states):
                stride = 2 if self.reduces and i < inputs else 1
                edges.append(MixedOp(self.space, self.c, stride)(x, next(rows)))
            states = [*states, total(edges)]
        return states


class DartsNet(nn.Module):
    """`cells` cells, of which those at one and two thirds reduce."""

    cells: int
    channels: int

    @nn.compact
    def __call__(self, images: Array, normal: Array, reduce: Array) -> Array:
        c = self.channels
        earlier = last = norm(affine=True)(conv(3 * c, 3)(images))
        after_reduction = False
        for i in range(self.cells):
            reduces = i in (self.cells // 3, 2 * self.cells // 3)
            c = 2 * c if reduces else c
            project = FactorizedReduce(c) if after_reduction else relu_conv_bn(c)
            states = [project(earlier), relu_conv_bn(c)(last)]
            weights = reduce if reduces else normal
            nodes = Cell("darts", c, 4, reduces)(states, weights)[2:]
            earlier, last = last, jnp.concatenate(nodes, axis=-1)
            after_reduction = reduces
        return nn.Dense(CLASSES)(last.mean((1, 2)))


class Residual(nn.Module):
    """Halves the image."""

    c: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        y = relu_conv_bn(self.c, 3, stride=2, affine=True)(x)
        y = relu_conv_bn(self.c, 3, affine=True)(y)
        return y + conv(self.c, 1)(nn.avg_pool(x, (2, 2), (2, 2)))


class NasBench201Net(nn.Module):
    """Three stages of `cells` cells with residual blocks between."""

    cells: int
    channels: int

    @nn.compact
    def __call__(self, images: Array, normal: Array) -> Array:
        x = norm(affine=True)(conv(self.channels, 3)(images))
        for stage in range(3):
            c = self.channels * 2**stage
            x = Residual(c)(x) if stage > 0 else x
            for _ in range(self.cells):
                x = Cell("nasbench201", c, 3)([x], normal)[-1]
        return nn.Dense(CLASSES)(nn.relu(norm(affine=True)(x)).mean((1, 2)))


# The network and the shape of its alphas [kind of cell, edge, operation].
NETS = {"darts": (DartsNet, (2, 14, 8)), "nasbench201": (NasBench201Net, (1, 6, 5))}
SGD = optax.chain(
    clip_by_global_norm(CLIP), add_decayed_weights(DECAY), optax.sgd(RATE, MOMENTUM)
)
ADAM = optax.chain(
    add_decayed_weights(ALPHA_DECAY), optax.adam(ALPHA_RATE, *ALPHA_BETAS)
)


class State(NamedTuple):
    weights: Tree
    alphas: list[Array]
    stats: Tree
    sgd: Tree
    adam: Tree


class FlaxSearch:
    """A supernet, its alphas, both optimizers, and a fixed batch of either half.

    `cells` counts those of the network; in NAS-Bench-201, those of each stage.
    """

    def __init__(
        self,
        space: str,
        cells: int,
        channels: int,
        batch: int,
        size: int = 32,
        seed: int = 0,
    ) -> None:
        net, shape = NETS[space]
        self.model = net(cells, channels)
        keys = jax.random.split(jax.random.key(seed, impl="rbg"), 3)
        images = jax.random.normal(keys[0], (2, batch, size, size, 3))
        labels = jnp.arange(batch) % CLASSES
        self.train, self.valid = ((x, labels) for x in images)
        alphas = list(1e-3 * jax.random.normal(keys[2], shape))
        # Draws the parameters without running the network.
        example = jax.ShapeDtypeStruct(images.shape[1:], images.dtype)
        made = self.model.lazy_init(keys[1], example, *alphas)
        weights, stats = made["params"], made["batch_stats"]
        self.state = State(weights, alphas, stats, SGD.init(weights), ADAM.init(alphas))

    def parameters(self) -> int:
        """Counts the weights, without alphas."""
        return sum(w.size for w in jax.tree.leaves(self.state.weights))

    def compile(self, hypergradient: str) -> tuple[float, float, int]:
        """Seconds to trace, seconds to lower and compile, bytes of temporaries."""
        step = jax.jit(partial(self.search_step, hypergradient), donate_argnums=0)
        times = [time.perf_counter()]
        traced = step.trace(self.state, self.train, self.valid)
        times.append(time.perf_counter())
        self.program = traced.lower().compile()
        times.append(time.perf_counter())
        temporaries = self.program.memory_analysis().temp_size_in_bytes
        return times[1] - times[0], times[2] - times[1], temporaries

    def step(self) -> float:
        """Runs what `compile` made; the training loss."""
        self.state, loss = self.program(self.state, self.train, self.valid)
        jax.block_until_ready(self.state)
        return float(loss)

    def search_step(
        self, hypergradient: str, state: State, train: Batch, valid: Batch
    ) -> tuple[State, Array]:
        """Steps the alphas, by the method of that name, then the weights."""
        gradient = getattr(self, hypergradient)(state, train, valid)
        updates, adam = ADAM.update(gradient, state.adam, state.alphas)
        alphas = optax.apply_updates(state.alphas, updates)
        by_weights = jax.value_and_grad(self.loss, has_aux=True)
        (loss, stats), gradient = by_weights(state.weights, alphas, state.stats, train)
        updates, sgd = SGD.update(gradient, state.sgd, state.weights)
        weights = optax.apply_updates(state.weights, updates)
        return State(weights, alphas, stats, sgd, adam), loss

    def loss(self, weights: Tree, alphas: Tree, stats: Tree, batch: Batch) -> Loss:
        """The loss and the new statistics of BN."""
        variables = {"params": weights, "batch_stats": stats}
        rows = [jax.nn.softmax(alpha) for alpha in alphas]
        images, labels = batch
        logits, new = self.model.apply(variables, images, *rows, mutable="batch_stats")
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), new["batch_stats"]

    def gradient(self, by: Any, weights: Tree, state: State, batch: Batch) -> Tree:
        """Returns the gradient by the weights (0), the alphas (1), or both."""
        by_arguments = jax.grad(self.loss, argnums=by, has_aux=True)
        return by_arguments(weights, state.alphas, state.stats, batch)[0]

    def first_order(self, state: State, train: Batch, valid: Batch) -> Tree:
        """The validation gradient at the present weights."""
        return self.gradient(1, state.weights, state, valid)

    def at_unrolled(self, state: State, train: Batch, valid: Batch) -> Tree:
        """Validation gradients, by weights and alphas, after one unclipped step."""
        moved = jax.tree.map(
            lambda w, g, buffer: w - RATE * (MOMENTUM * buffer + g + DECAY * w),
            state.weights,
            self.gradient(0, state.weights, state, train),
            optax.tree.get(state.sgd, "trace"),
        )
        return self.gradient((0, 1), moved, state, valid)

    def finite_difference(self, state: State, train: Batch, valid: Batch) -> Tree:
        """The gradient through the unrolled step by a central difference."""
        vector, direct = self.at_unrolled(state, train, valid)
        by_alphas = partial(self.gradient, 1, state=state, batch=train)
        epsilon = RADIUS / optax.global_norm(vector)
        moved = [add_scale(state.weights, e, vector) for e in (epsilon, -epsilon)]
        ahead, behind = map(by_alphas, moved)
        mixed = jax.tree.map(lambda a, b: (a - b) / (2 * epsilon), ahead, behind)
        return add_scale(direct, -RATE, mixed)

    def exact(self, state: State, train: Batch, valid: Batch) -> Tree:
        """The gradient through the unrolled step by forward over reverse."""
        vector, direct = self.at_unrolled(state, train, valid)
        by_alphas = partial(self.gradient, 1, state=state, batch=train)
        _, mixed = jax.jvp(by_alphas, (state.weights,), (vector,))
        return add_scale(direct, -RATE, mixed)
