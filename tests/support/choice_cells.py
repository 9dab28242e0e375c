"""NAS-Bench-201's network as a user writes it: Flax's own layers and choices."""

import functools

import jax.numpy as jnp
from flax import linen as nn

from darts_jax import Choice

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


def norm(train, affine=False):
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        use_scale=affine,
        use_bias=affine,
    )


class ReLUConvBN(nn.Module):
    channels: int
    kernel: int
    stride: int = 1
    affine: bool = False

    @nn.compact
    def __call__(self, x, train):
        pad = self.kernel // 2
        x = nn.Conv(
            self.channels,
            (self.kernel, self.kernel),
            (self.stride, self.stride),
            padding=((pad, pad), (pad, pad)),
            use_bias=False,
            name="conv",
        )(nn.relu(x))
        return norm(train, self.affine)(x)


def pool(x):
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


class ChoiceCell(nn.Module):
    """Four states; every edge is a choice, one decision for all cells."""

    channels: int

    @nn.compact
    def __call__(self, x, train):
        states = [x]
        for target in (1, 2, 3):
            terms = []
            for source in range(target):
                name = f"edge_{source}_{target}"
                options = {
                    "none": jnp.zeros_like,
                    "skip_connect": lambda x: x,
                    "nor_conv_1x1": ReLUConvBN(self.channels, 1, name=f"{name}_1x1"),
                    "nor_conv_3x3": ReLUConvBN(self.channels, 3, name=f"{name}_3x3"),
                    "avg_pool_3x3": pool,
                }
                options = {
                    key: functools.partial(option, train=train)
                    if isinstance(option, nn.Module)
                    else option
                    for key, option in options.items()
                }
                edge = Choice(name, options, shared=True)
                terms.append(edge(states[source]))
            states.append(sum(terms))
        return states[-1]


class Residual(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x, train):
        y = ReLUConvBN(self.channels, 3, 2, affine=True, name="first")(x, train)
        y = ReLUConvBN(self.channels, 3, affine=True, name="second")(y, train)
        pooled = nn.avg_pool(x, (2, 2), (2, 2))
        return y + nn.Conv(self.channels, (1, 1), use_bias=False, name="project")(
            pooled
        )


class ChoiceNetwork(nn.Module):
    """Stem, then stages of cells with reductions between, then the classifier."""

    classes: int
    cells: int
    channels: int

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(self.channels, (3, 3), use_bias=False, name="stem")(x)
        x = norm(train, affine=True)(x)
        channels = self.channels
        for stage in range(3):
            if stage:
                channels *= 2
                x = Residual(channels, name=f"reduce_{stage}")(x, train)
            for i in range(self.cells):
                x = ChoiceCell(channels, name=f"cell_{stage}_{i}")(x, train)
        x = nn.relu(norm(train, affine=True)(x))
        return nn.Dense(self.classes, name="head")(x.mean((1, 2)))


def as_choices(params, cells):
    """Returns the built-in supernet's parameters under the names of `ChoiceNetwork`."""
    mine = {
        "stem": {"kernel": params["stem"]["Conv_0"]["kernel"]},
        "BatchNorm_0": params["stem"]["BatchNorm_0"],
        "BatchNorm_1": params["head"]["BatchNorm_0"],
        "head": params["head"]["Linear_0"],
    }
    blocks = iter(sorted(k for k in params if k.startswith("blocks")))
    for stage in range(3):
        if stage:
            mine[f"reduce_{stage}"] = _reduction(params[next(blocks)])
        edges = params[next(blocks)]["edges"]
        for i in range(cells):
            mine[f"cell_{stage}_{i}"] = _cell(edges, i)
    return mine


def _reduction(block):
    def one(layer):
        norm = {name: leaf[0] for name, leaf in layer["BatchNorm_0"].items()}
        return {"conv": {"kernel": layer["Conv_0"]["kernel"][0]}, "BatchNorm_0": norm}

    return {
        "project": {"kernel": block["project"]["kernel"][0]},
        "first": one(block["ReLUConvBN_0"]),
        "second": one(block["ReLUConvBN_1"]),
    }


def _cell(edges, i):
    # The stack's order is by source, then target.
    order = sorted(EDGES)
    return {
        f"edge_{s}_{t}_{size}": {
            "conv": {
                "kernel": edges[f"nor_conv_{size}"]["Conv_0"]["kernel"][
                    i, order.index((s, t))
                ]
            }
        }
        for s, t in EDGES
        for size in ("1x1", "3x3")
    }
