"""Every kernel of the project against the plain form of what it computes.

A case is a function of `darts_jax.kernels`, over all edges that leave a state, and the
same in operations of JAX alone, differentiated by JAX alone. Four programs of each are
compared: the values, the backward pass, the tangent, and the tangent of the backward
pass, which exact second order takes.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from contenders import PRECISIONS
from jax import lax
from jax.nn import relu
from measuring import Row, Turn, repeat, seconds_of

from darts_jax import kernels

TOLERANCES = {"float32": 2e-5, "tf32": 5e-3, "bfloat16": 2e-2}
"""Numbers -> largest error, of the largest value; the last is 5 units of rounding."""

Arrays = tuple[jax.Array, ...]
Function = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """A function of an image and kernels of one edge.

    Attributes:
      name: of the row.
      ours: (image, *kernels) -> image, or (image, moments).
      plain: the same.
      image: height or width of the image, relative to the largest; and channels.
      kernels: shapes of the kernels.
      shared: whether edges read one image.
    """

    name: str
    ours: Function
    plain: Function
    image: tuple[int, int]
    kernels: tuple[tuple[int, ...], ...] = ()
    shared: bool = True


@dataclasses.dataclass(frozen=True)
class Size:
    """Sizes of the cases: the published search's, or a test's."""

    edges: int = 4
    batch: int = 64
    side: int = 32
    channels: int = 16


def cases(channels: int) -> list[Case]:
    """All cases, of the channels of a search's first cells."""
    c = channels
    shapes = [(3, 1, 1, 1), (5, 1, 1, 1), (3, 1, 2, 1), (5, 1, 2, 1), (5, 2, 1, 1)]
    found = [separable_case(*shape, channels=c) for shape in shapes]
    found.append(separable_case(3, 1, 1, 4, channels=4 * c))
    found.append(joined_case(c))
    found += [
        conv_case(3, 1, 1, c, c),
        conv_case(3, 1, 4, 4 * c, 4 * c),
        conv_case(3, 2, 1, c, 2 * c),
        conv_case(1, 1, 1, 3 * c, c),
    ]
    pools = [("max_pool", kernels.max_pool, plain_max_pool)]
    pools += [("avg_pool", kernels.avg_pool, plain_avg_pool)]
    for name, ours, plain in pools:
        for stride in (1, 2):
            found.append(
                Case(
                    f"{name} 3x3, stride {stride}",
                    functools.partial(ours, size=(3, 3), stride=stride),
                    functools.partial(plain, size=3, stride=stride),
                    (1, c),
                    shared=False,
                )
            )
    depthwise = Case(
        f"depthwise 3x3, {c} channels",
        kernels.depthwise_conv,
        plain_depthwise,
        (1, c),
        ((3, 3, c),),
        shared=False,
    )
    norm = Case(
        f"batch norm, {c} channels", batch_norm, plain_norm, (1, c), ((c,),), False
    )
    return [*found, depthwise, norm]


def separable_case(
    size: int, stride: int, dilation: int, part: int, *, channels: int
) -> Case:
    """ReLU, depthwise and pointwise convolution, and moments."""

    def ours(x: jax.Array, depthwise: jax.Array, pointwise: jax.Array) -> Any:
        return kernels.relu_separable(
            x,
            depthwise,
            pointwise,
            jnp.zeros((2, channels), x.dtype),
            stride=stride,
            dilation=dilation,
        )

    def plain(x: jax.Array, depthwise: jax.Array, pointwise: jax.Array) -> Any:
        how = {"stride": stride, "dilation": dilation}
        between = plain_depthwise(relu(x), depthwise, **how)
        return with_moments(between @ pointwise[0, 0])

    name = f"separable {size}x{size}, {channels} channels"
    name += f", stride {stride}" * (stride > 1) + f", dilation {dilation}" * (
        dilation > 1
    )
    shapes = ((size, size, channels), (1, 1, channels, channels))
    return Case(name, ours, plain, (part, channels), shapes)


def joined_case(channels: int) -> Case:
    """Makes the separable convolutions of an edge of DARTS's space, in one call."""
    parts = [
        separable_case(3, 1, dilation, 1, channels=channels) for dilation in (1, 2)
    ]
    parts += [
        separable_case(5, 1, dilation, 1, channels=channels) for dilation in (1, 2)
    ]

    def of(forms: Sequence[Function]) -> Function:
        def together(x: jax.Array, *arrays: jax.Array) -> Any:
            pairs = zip(arrays[::2], arrays[1::2], strict=True)
            results = [f(x, *pair) for f, pair in zip(forms, pairs, strict=True)]
            images, moments = zip(*results, strict=True)
            return jnp.concatenate(images, -1), jnp.concatenate(moments, -1)

        return together

    return Case(
        f"four separable, {channels} channels",
        kernels.join(of([part.ours for part in parts])),
        of([part.plain for part in parts]),
        (1, channels),
        tuple(shape for part in parts for shape in part.kernels),
    )


def conv_case(size: int, stride: int, part: int, inward: int, outward: int) -> Case:
    """ReLU, a dense convolution, and moments."""

    def ours(x: jax.Array, kernel: jax.Array) -> Any:
        guess = jnp.zeros((2, outward), x.dtype)
        return kernels.relu_conv(x, kernel, guess, stride=(stride, stride))

    def plain(x: jax.Array, kernel: jax.Array) -> Any:
        return with_moments(plain_conv(relu(x), kernel, stride=stride))

    name = f"conv {size}x{size}, {inward} to {outward} channels"
    name += f", stride {stride}" * (stride > 1)
    return Case(name, ours, plain, (part, inward), ((size, size, inward, outward),))


# --- Plain forms ---------------------------------------------------------------------


def plain_conv(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, dilation: int = 1
) -> jax.Array:
    size, _, inward, _ = kernel.shape
    pad = dilation * (size // 2)
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(pad, pad)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // inward,
    )


def plain_depthwise(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, dilation: int = 1
) -> jax.Array:
    return plain_conv(x, kernel[:, :, None], stride=stride, dilation=dilation)


def with_moments(y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """An image and its moments, which are constants to differentiation."""
    wide = lax.stop_gradient(y).astype(jnp.float32)
    pair = [jnp.mean(wide, (0, 1, 2)), jnp.var(wide, (0, 1, 2))]
    return y, jnp.stack(pair).astype(y.dtype)


def windows_of(x: jax.Array, size: int, stride: int, fill: float) -> jax.Array:
    """[size * size, batch, height, width, channel], padded to "same"."""
    half = size // 2
    pad = [(0, 0), (half, half), (half, half), (0, 0)]
    wide = jnp.pad(x, pad, constant_values=fill)
    height, width = x.shape[1:3]
    taps = [(i, j) for i in range(size) for j in range(size)]
    return jnp.stack(
        [wide[:, i : i + height : stride, j : j + width : stride] for i, j in taps]
    )


def plain_max_pool(x: jax.Array, *, size: int, stride: int) -> jax.Array:
    seen = windows_of(x, size, stride, -jnp.inf)
    first = jnp.argmax(seen, 0)[None]  # of equal ones
    return jnp.take_along_axis(seen, first, 0)[0]


def plain_avg_pool(x: jax.Array, *, size: int, stride: int) -> jax.Array:
    inside = windows_of(jnp.ones_like(x[:1, :, :, :1]), size, stride, 0)
    return windows_of(x, size, stride, 0).sum(0) / inside.sum(0)


def batch_norm(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Normalizes in float32, as the supernet does for any kind of numbers."""
    wide = x.astype(jnp.float32)
    guess = jnp.zeros((2, x.shape[-1]), wide.dtype)
    moments = kernels.moments(wide, guess)
    y = kernels.standardize(wide, moments, weight.astype(wide.dtype))
    return y.astype(x.dtype)


def plain_norm(x: jax.Array, weight: jax.Array) -> jax.Array:
    wide = x.astype(jnp.float32)
    mean = jnp.mean(wide, (0, 1, 2))
    var = jnp.var(wide, (0, 1, 2))
    y = (wide - mean) * lax.rsqrt(var + kernels.BN_EPSILON) * weight
    return y.astype(x.dtype)


# --- Programs ------------------------------------------------------------------------


def image_of(function: Function) -> Function:
    """The function without moments."""

    def image(*primals: jax.Array) -> jax.Array:
        result = function(*primals)
        return result[0] if isinstance(result, tuple) else result

    return image


def derivatives(function: Function) -> dict[str, Function]:
    """Name -> function of (primals, tangents, cotangent, its tangent)."""
    image = image_of(function)

    def back(primals: Arrays, cotangent: jax.Array) -> Arrays:
        return jax.vjp(image, *primals)[1](cotangent)

    def back_change(
        primals: Arrays, tangents: Arrays, cotangent: jax.Array, change: jax.Array
    ) -> Arrays:
        return jax.jvp(back, (primals, cotangent), (tangents, change))[1]

    return {
        "forward": lambda primals, tangents, cotangent, change: function(*primals),
        "backward": lambda primals, tangents, cotangent, change: back(
            primals, cotangent
        ),
        "tangent": lambda primals, tangents, cotangent, change: jax.jvp(
            image, primals, tangents
        )[1],
        "tangent of backward": back_change,
    }


def over_edges(case: Case, function: Function) -> Function:
    """The function of arrays with an edge axis; an image that is shared has none."""
    axes = (None if case.shared else 0, *[0] * len(case.kernels))
    return jax.vmap(function, axes)


def draw(case: Case, size: Size, dtype: Any) -> tuple[Any, ...]:
    """Random arguments of `derivatives`; kernels keep the size of an image's values."""
    rng = np.random.default_rng(0)
    part, channels = case.image
    side = max(1, size.side // part)
    edges = () if case.shared else (size.edges,)
    shapes = [(*edges, size.batch, side, side, channels)]
    shapes += [(size.edges, *shape) for shape in case.kernels]
    scales = [1.0, *(kernel_scale(shape) for shape in case.kernels)]

    def numbers() -> Arrays:
        pairs = zip(shapes, scales, strict=True)
        return tuple(jnp.asarray(s * rng.normal(size=n), dtype) for n, s in pairs)

    primals = numbers()
    result = jax.eval_shape(over_edges(case, image_of(case.plain)), *primals)
    cotangents = (jnp.asarray(rng.normal(size=result.shape), dtype) for _ in range(2))
    return (primals, numbers(), *cotangents)


def kernel_scale(shape: Sequence[int]) -> float:
    """Scale of weights that keep the size of values: the fan-in's root, inverse."""
    fan_in = {1: 1, 3: shape[0] ** 2, 4: int(np.prod(shape[:3]))}[len(shape)]
    return float(fan_in**-0.5)


@dataclasses.dataclass(frozen=True)
class Check:
    """Derivative of a case, compiled: ours, the plain form, and exact values."""

    row: Row
    numbers: str
    turns: dict[str, Turn]

    def measure(self, calls: int) -> Row:
        """Errors, and microseconds of a call among others."""
        wanted = self.turns["exact"]()
        errors = {name: error(self.turns[name](), wanted) for name in ("ours", "plain")}
        seconds = {
            name: min(seconds_of(repeat(self.turns[name], calls)) for _ in range(3))
            for name in ("ours", "plain")
        }
        tolerance = TOLERANCES[self.numbers]
        return self.row | {
            "error": errors["ours"],
            "plain_error": errors["plain"],
            "agrees": "yes" if errors["ours"] <= tolerance else "NO",
            "ours_us": 1e6 * seconds["ours"] / calls,
            "plain_us": 1e6 * seconds["plain"] / calls,
            "of_plain": seconds["ours"] / seconds["plain"],
        }


def error(found: Any, wanted: Any) -> float:
    """The largest difference, of the largest value of its array; nan counts as inf."""
    worst = 0.0
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        exact = np.asarray(b, np.float64)
        difference = np.abs(np.asarray(a, np.float64) - exact).max()
        relative = difference / max(np.abs(exact).max(), 1e-30)
        worst = max(worst, float(np.nan_to_num(relative, nan=np.inf)))
    return worst


def prepare(
    numbers: str, size: Size, chosen: Sequence[Case], workers: int = 1
) -> list[Check]:
    """Compiles cases, some at the same time.

    The exact values are the plain form's in float32, products in full precision, from
    the numbers that the other two are given.
    """
    dtype = jnp.bfloat16 if numbers == "bfloat16" else jnp.float32

    def compile_case(case: Case) -> list[Check]:
        arguments = draw(case, size, dtype)
        wide = jax.tree.map(lambda x: x.astype(jnp.float32), arguments)
        precision = PRECISIONS.get(numbers, "default")
        compiled = {
            "ours": compile_form(case, case.ours, arguments, precision),
            "plain": compile_form(case, case.plain, arguments, precision),
        }
        compiled["exact"] = (
            compiled["plain"]
            if numbers == "float32"
            else compile_form(case, case.plain, wide, "highest")
        )
        return [
            Check(
                {"case": case.name, "derivative": derivative},
                numbers,
                {name: turns[derivative] for name, turns in compiled.items()},
            )
            for derivative in compiled["ours"]
        ]

    with ThreadPoolExecutor(workers) as pool:
        return [check for checks in pool.map(compile_case, chosen) for check in checks]


def compile_form(
    case: Case, function: Function, arguments: Any, precision: str
) -> dict[str, Turn]:
    """Derivative -> a call of its program."""
    turns = {}
    with kernels.use_precision(precision):
        for name, derivative in derivatives(over_edges(case, function)).items():
            program = jax.jit(derivative, keep_unused=True).lower(*arguments).compile()
            turns[name] = functools.partial(program, *arguments)
    return turns
