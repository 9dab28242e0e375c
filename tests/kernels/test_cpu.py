"""Kernels of our own against the definitions in NumPy, and when they serve."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import darts_jax
from darts_jax.errors import InputError
from darts_jax.kernels import channelwise, convolution, rectified, sums
from darts_jax.kernels.cpu import library
from darts_jax.kernels.windows import Window
from darts_jax.tasks.image_networks import make_supernet

pytestmark = pytest.mark.skipif(
    library.describe_kernels() != "native kernels", reason=library.describe_kernels()
)

# Height and width, kernel, stride, dilation.
WINDOWS = [
    ((8, 8), 1, 1, 1),
    ((8, 8), 3, 1, 1),
    ((7, 9), 3, 2, 1),
    ((5, 6), 5, 1, 1),
    ((9, 5), 5, 2, 1),
    ((8, 7), 3, 1, 2),
    ((6, 9), 5, 2, 2),
    ((1, 1), 3, 1, 1),
    ((2, 3), 7, 1, 1),
]
CHANNELS = [1, 4, 12, 16, 20]  # below, at, above and beside a vector's width
# One template makes the kernels of both.
DTYPES = ["float32", pytest.param("float64", marks=pytest.mark.slow)]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


def window_of(size, kernel, stride, dilation):
    padding = (dilation * (kernel // 2),) * 2
    return Window(size, (kernel, kernel), (stride, stride), dilation, padding)


def views(x, window):
    """Returns what every tap sees: [tap, edge, batch, *output, channel]."""
    (ph, pw), (sh, sw), d = window.padding, window.stride, window.dilation
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw), (0, 0)))
    height, width = window.output
    return np.stack([
        padded[:, :, i * d : i * d + sh * (height - 1) + 1 : sh,
               j * d : j * d + sw * (width - 1) + 1 : sw]
        for i, j in window.taps
    ])  # fmt: skip


def scattered(seen, window, channels):
    """The transpose of `views`."""
    (ph, pw), (sh, sw), d = window.padding, window.stride, window.dilation
    (height, width), out = window.image, window.output
    padded = np.zeros((*seen.shape[1:3], height + 2 * ph, width + 2 * pw, channels))
    for (i, j), part in zip(window.taps, seen, strict=True):
        rows = slice(i * d, i * d + sh * (out[0] - 1) + 1, sh)
        columns = slice(j * d, j * d + sw * (out[1] - 1) + 1, sw)
        padded[:, :, rows, columns] += part
    return padded[:, :, ph : ph + height, pw : pw + width]


def close(got, want, dtype):
    scale = max(np.abs(want).max(), 1e-30)
    assert got.dtype == dtype
    assert np.abs(np.asarray(got, np.float64) - want).max() / scale < TOLERANCE[dtype]


def drawn(rng, *shape):
    return rng.normal(size=shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS)
def test_depthwise_by_its_definition(window, dtype):
    window, rng = window_of(*window), np.random.default_rng(0)
    with jax.enable_x64(dtype == "float64"):
        for channels in CHANNELS:
            x = drawn(rng, 2, 3, *window.image, channels)
            kernel = drawn(rng, 2, *window.kernel, channels)
            y = drawn(rng, 2, 3, *window.output, channels)
            taps = kernel.reshape(2, -1, channels).swapaxes(0, 1)
            by_tap = taps[:, :, None, None, None]
            arrays = (jnp.asarray(a, dtype) for a in (x, kernel, y))
            a, k, b = arrays
            got = channelwise.output_p.bind(a, k, window=window)
            close(got, (views(x, window) * by_tap).sum(0), dtype)
            got = channelwise.input_p.bind(b, k, window=window)
            close(got, scattered(y * by_tap, window, channels), dtype)
            got = channelwise.kernel_p.bind(a, b, window=window)
            want = np.einsum("tenhwc,enhwc->etc", views(x, window), y)
            close(got, want.reshape(kernel.shape), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS[:5])
@pytest.mark.parametrize("features", [2, 16, 40])
def test_dense_by_its_definition(window, features, dtype):
    window, rng = window_of(*window), np.random.default_rng(1)
    with jax.enable_x64(dtype == "float64"):
        for channels in (3, 16, 20):
            x = drawn(rng, 2, 3, *window.image, channels)
            kernel = drawn(rng, 2, *window.kernel, channels, features)
            y = drawn(rng, 2, 3, *window.output, features)
            taps = kernel.reshape(2, -1, channels, features)
            a, k, b = (jnp.asarray(array, dtype) for array in (x, kernel, y))
            got = convolution.output_p.bind(a, k, window=window)
            want = np.einsum("tenhwc,etcf->enhwf", views(x, window), taps)
            close(got, want, dtype)
            got = convolution.input_p.bind(b, k, window=window)
            seen = np.einsum("enhwf,etcf->tenhwc", y, taps)
            close(got, scattered(seen, window, channels), dtype)
            got = convolution.kernel_p.bind(a, b, window=window)
            want = np.einsum("tenhwc,enhwf->etcf", views(x, window), y)
            close(got, want.reshape(kernel.shape), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pixels", [1, 5, 77, 6000])
def test_sums_by_their_definition(pixels, dtype):
    rng = np.random.default_rng(2)
    with jax.enable_x64(dtype == "float64"):
        for channels in (3, 16, 20):
            shape = 2, pixels, 1, 1, channels
            x, y = 3 + drawn(rng, *shape), drawn(rng, *shape)
            scale = drawn(rng, 2, channels)
            guess = drawn(rng, 2, 2, channels)
            a, b, by, near = (jnp.asarray(u, dtype) for u in (x, y, scale, guess))
            x, y = x[:, :, 0, 0], y[:, :, 0, 0]
            want = np.stack([x.mean(1), x.var(1)], 1)
            close(sums.moments_p.bind(a, near), want, dtype)
            want = (x - x.mean(1, keepdims=True)) * scale[:, None]
            along = (x * y).mean(1, keepdims=True)
            got = sums.project_p.bind(a, b, by)[:, :, 0, 0]
            close(got, want - y * along * scale[:, None], dtype)
            want = np.stack([x.sum(1), (x * y).sum(1)], 1)
            close(sums.sums_p.bind(a, b), want, dtype)
            for i in range(2):  # an edge that stands alone has no axis
                close(sums.sums_p.bind(a[i], b[i]), want[i], dtype)


def normal(x):
    """Standardised over all axes but the first and the last, and the deviations."""
    axes = tuple(range(1, x.ndim - 1))
    deviation = np.sqrt(x.var(axes, keepdims=True) + sums.BN_EPSILON)
    return (x - x.mean(axes, keepdims=True)) / deviation, deviation


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pixels", [1, 5, 77, 6000])
def test_weighted_numbers_by_their_definition(pixels, dtype):
    rng = np.random.default_rng(7)
    with jax.enable_x64(dtype == "float64"):
        for channels in (3, 16, 20):
            x = 3 + drawn(rng, 2, pixels, 1, 1, channels)
            g = drawn(rng, *x.shape)
            weight = drawn(rng, 2, 1, 1, 1, channels)
            y, deviation = normal(x)
            axes = (1, 2, 3)
            pair = np.stack([x.mean(axes), x.var(axes)], 1)
            flat = weight.reshape(2, channels)
            a, b, m, w = (jnp.asarray(u, dtype) for u in (g, x, pair, flat))
            close(sums.weighted_p.bind(b, m, w), y * weight, dtype)
            means = [t.mean(axes, keepdims=True) for t in (g, g * y)]
            by_x = (g - means[0] - y * means[1]) * weight / deviation
            got = sums.WEIGHTED.back_p.bind(a, b, m, w)
            close(got[0], by_x, dtype)
            assert not np.any(got[1])
            close(got[2], (g * y).sum(axes), dtype)
            for i in range(2):  # an edge that stands alone has no axis
                alone = sums.WEIGHTED.back_p.bind(a[i], b[i], m[i], w[i])
                close(alone[0], by_x[i], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "pixels", [77, *(pytest.param(n, marks=pytest.mark.slow) for n in (5, 6000))]
)
def test_changes_of_weighted_numbers_are_those_of_their_definition(pixels, dtype):
    rng = np.random.default_rng(9)

    def define(x, weight):
        axes = (1, 2, 3)
        centred = x - jnp.mean(x, axes, keepdims=True)
        variance = jnp.mean(jnp.square(centred), axes, keepdims=True)
        y = centred / jnp.sqrt(variance + sums.BN_EPSILON)
        return y * weight[:, None, None, None]

    def define_back(g, x, weight):
        return jax.vjp(define, x, weight)[1](g)

    with jax.enable_x64(True):
        for channels in (3, 16, 20):
            shape = 2, pixels, 1, 1, channels
            g, x, dg, dx = (jnp.asarray(drawn(rng, *shape)) for _ in range(4))
            w, dw = (jnp.asarray(drawn(rng, 2, channels)) for _ in range(2))
            pair = jnp.stack([jnp.mean(x, (1, 2, 3)), jnp.var(x, (1, 2, 3))], 1)
            _, change = jax.jvp(define, (x, w), (dx, dw))
            _, back = jax.jvp(define_back, (g, x, w), (dg, dx, dw))
            g, x, dg, dx, w, dw, pair = (
                jnp.asarray(u, dtype) for u in (g, x, dg, dx, w, dw, pair)
            )
            still = jnp.zeros_like(pair)
            (got,) = sums.WEIGHTED.change_p.bind(dx, still, dw, x, pair, w)
            close(got, change, dtype)
            got = sums.WEIGHTED.back_change_p.bind(dg, dx, still, dw, g, x, pair, w)
            close(got[0], back[0], dtype)
            assert not np.any(got[1])
            close(got[2], back[1], dtype)


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_weighted_numbers_have_second_derivatives(mode):
    rng = np.random.default_rng(8)
    with jax.enable_x64(True):
        x = jnp.asarray(drawn(rng, 3, 5, 4, 2))
        weight = jnp.asarray(drawn(rng, 2))

        def f(x, weight):
            moments = sums.moments(x, jnp.zeros((2, 2)))
            return jnp.sum(jnp.sin(sums.standardize(x, moments, weight)))

        check_grads(f, (x, weight), order=2, modes=(mode,))


def separable_of(x, depthwise, pointwise, window):
    taps = depthwise.reshape(2, -1, x.shape[-1]).swapaxes(0, 1)[:, :, None, None, None]
    between = (views(x, window) * taps).sum(0)
    return np.einsum("enhwc,ecf->enhwf", between, pointwise[:, 0, 0])


def separable_back(x, depthwise, pointwise, g, window):
    taps = depthwise.reshape(2, -1, x.shape[-1]).swapaxes(0, 1)[:, :, None, None, None]
    seen, matrix = views(x, window), pointwise[:, 0, 0]
    back = np.einsum("enhwf,ecf->enhwc", g, matrix)
    return (
        scattered(back * taps, window, x.shape[-1]),
        np.einsum("tenhwc,enhwc->etc", seen, back).reshape(depthwise.shape),
        np.einsum("enhwc,enhwf->ecf", (seen * taps).sum(0), g)[:, None, None],
    )


def dense_of(x, kernel, window):
    taps = kernel.reshape(2, -1, *kernel.shape[3:])
    return np.einsum("tenhwc,etcf->enhwf", views(x, window), taps)


def dense_back(x, kernel, g, window):
    taps = kernel.reshape(2, -1, *kernel.shape[3:])
    seen = np.einsum("enhwf,etcf->tenhwc", g, taps)
    by_kernel = np.einsum("tenhwc,enhwf->etcf", views(x, window), g)
    return scattered(seen, window, x.shape[-1]), by_kernel.reshape(kernel.shape)


SEPARABLE = rectified.SEPARABLE
DENSE = rectified.DENSE
DEFINITIONS = {SEPARABLE: (separable_of, separable_back), DENSE: (dense_of, dense_back)}


def sizes_of(kind, size, channels, features):
    """Returns the sizes of the kernels of an edge."""
    if kind is DENSE:
        return [(*size, channels, features)]
    return [(*size, channels), (1, 1, channels, features)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", DEFINITIONS, ids=lambda kind: kind.name)
def test_rectified_maps_by_their_definition(kind, window, dtype):
    window, rng = window_of(*window), np.random.default_rng(3)
    if kind is DENSE and window.dilation > 1:
        pytest.skip("no dense convolution is dilated")
    forward, back = DEFINITIONS[kind]
    with jax.enable_x64(dtype == "float64"):
        for channels, features in ((3, 5), (20, 48)):
            sizes = sizes_of(kind, window.kernel, channels, features)
            x = drawn(rng, 2, 3, *window.image, channels)
            kernels = [drawn(rng, 2, *size) for size in sizes]
            guess = drawn(rng, 2, 2, features)
            g = drawn(rng, 2, 3, *window.output, features)
            given = [jnp.asarray(a, dtype) for a in (x, *kernels)]

            y = forward(np.maximum(x, 0), *kernels, window)
            near = jnp.asarray(guess, dtype)
            got, moments = kind.map_p.bind(*given, near, window=window)
            close(got, y, dtype)
            flat = y.reshape(2, -1, features)
            close(moments, np.stack([flat.mean(1), flat.var(1)], 1), dtype)

            by_x, *by_kernels = back(np.maximum(x, 0), *kernels, g, window)
            want = [by_x * (x > 0), *by_kernels]
            ct = jnp.asarray(g, dtype)
            got = kind.back_p.bind(ct, *given, window=window)
            for ours, theirs in zip(got, want, strict=True):
                close(ours, theirs, dtype)
            (got,) = kind.of_image.back_p.bind(ct, *given, window=window)
            close(got, want[0], dtype)

            # The adjoint: <g, change of y> = <cotangents, changes>.
            changes = [drawn(rng, *a.shape) for a in (x, *kernels)]
            along = sum(np.vdot(a, b) for a, b in zip(want, changes, strict=True))
            tangents = [jnp.asarray(a, dtype) for a in changes]
            (got,) = kind.change_p.bind(*tangents, *given, window=window)
            paired = np.vdot(np.asarray(got, np.float64), g)
            size = np.linalg.norm(got) * np.linalg.norm(g)
            assert abs(paired - along) < TOLERANCE[dtype] * size


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("kind", DEFINITIONS, ids=lambda kind: kind.name)
def test_change_of_the_way_back_by_its_definition(kind, window, dtype):
    window, rng = window_of(*window), np.random.default_rng(6)
    if kind is DENSE and window.dilation > 1:
        pytest.skip("no dense convolution is dilated")
    _, back = DEFINITIONS[kind]
    with jax.enable_x64(dtype == "float64"):
        for channels, features in ((3, 5), (20, 48)):
            sizes = sizes_of(kind, window.kernel, channels, features)
            x, x_moved = (drawn(rng, 2, 3, *window.image, channels) for _ in range(2))
            kernels = [drawn(rng, 2, *size) for size in sizes]
            moved = [drawn(rng, 2, *size) for size in sizes]
            g, g_moved = (drawn(rng, 2, 3, *window.output, features) for _ in range(2))
            sign, h = x > 0, np.maximum(x, 0)

            # Linear in each argument: the change is a sum over which of them moves.
            def added(terms):
                return [sum(each) for each in zip(*terms, strict=True)]

            by_g = back(h, *kernels, g_moved, window)
            by_x = back(x_moved * sign, *kernels, g, window)
            by_kernels = [
                back(h, *kernels[:k], moved[k], *kernels[k + 1 :], g, window)
                for k in range(len(kernels))
            ]
            want = added([by_g, (0, *by_x[1:])])
            for k, term in enumerate(by_kernels):
                # A kernel's own cotangent does not see it move.
                parts = [0 if k == j - 1 else part for j, part in enumerate(term)]
                want = added([want, parts])
            want[0] = want[0] * sign

            arrays = [
                jnp.asarray(a, dtype)
                for a in (g_moved, x_moved, *moved, g, x, *kernels)
            ]
            got = kind.back_change_p.bind(*arrays, window=window)
            for ours, theirs in zip(got, want, strict=True):
                close(ours, theirs, dtype)
            (got,) = kind.of_image.back_change_p.bind(*arrays, window=window)
            close(got, want[0], dtype)


@pytest.mark.parametrize("mode", ["fwd", "rev"])
@pytest.mark.parametrize("kind", DEFINITIONS, ids=lambda kind: kind.name)
def test_rectified_maps_have_second_derivatives(kind, mode):
    rng = np.random.default_rng(5)
    with jax.enable_x64(True):
        x = jnp.asarray(drawn(rng, 2, 5, 4, 3))
        sizes = sizes_of(kind, (3, 3), 3, 2)
        kernels = [jnp.asarray(drawn(rng, *size)) for size in sizes]
        ours = {SEPARABLE: rectified.relu_separable, DENSE: rectified.relu_conv}[kind]

        def f(x, *kernels):
            return jnp.sum(jnp.sin(ours(x, *kernels, jnp.zeros((2, 2)))[0]))

        check_grads(f, (x, *kernels), order=2, modes=(mode,))


@pytest.mark.parametrize("mode", ["fwd", "rev"])
@pytest.mark.parametrize("kind", DEFINITIONS, ids=lambda kind: kind.name)
def test_second_derivatives_are_right_where_only_the_image_moves(kind, mode):
    rng = np.random.default_rng(9)
    ours = {SEPARABLE: rectified.relu_separable, DENSE: rectified.relu_conv}[kind]
    with jax.enable_x64(True):
        x = jnp.asarray(drawn(rng, 2, 5, 4, 3))
        sizes = sizes_of(kind, (3, 3), 3, 2)
        kernels = [jnp.asarray(drawn(rng, *size)) for size in sizes]

        def loss(x, *kernels):
            return jnp.sum(jnp.sin(ours(x, *kernels, jnp.zeros((2, 2)))[0]))

        def of_gradient(x, *kernels):  # taken with kernels at rest; here they move
            return jnp.sum(jnp.sin(jax.grad(loss)(x, *kernels)))

        text = str(jax.make_jaxpr(jax.grad(loss))(x, *kernels))
        assert f"{kind.name}_image_back[" in text
        assert f"{kind.name}_back[" not in text
        check_grads(lambda x: loss(x, *kernels), (x,), order=2, modes=(mode,))
        check_grads(of_gradient, (x, *kernels), order=1, modes=(mode,))


@pytest.mark.parametrize("kind", DEFINITIONS, ids=lambda kind: kind.name)
def test_what_is_not_a_number_is_not_hidden_by_relu(kind):
    window = window_of((8, 8), 3, 1, 1)
    x = jnp.ones((1, 1, 8, 8, 20)).at[0, 0, 4, 4, 17].set(jnp.nan)
    kernels = {
        SEPARABLE: (jnp.ones((1, 3, 3, 20)), jnp.ones((1, 1, 1, 20, 8))),
        DENSE: (jnp.ones((1, 3, 3, 20, 8)),),
    }[kind]
    y, moments = kind.map_p.bind(x, *kernels, jnp.zeros((1, 2, 8)), window=window)
    assert jnp.isnan(y[0, 0, 3:6, 3:6]).all()
    assert not jnp.isnan(y[0, 0, :3]).any()
    assert jnp.isnan(moments).all()


def test_two_runs_agree_to_the_bit():
    rng = np.random.default_rng(4)
    window = window_of((16, 16), 5, 1, 1)
    arrays = ((1, 16, 16, 16, 16), (1, 5, 5, 16), (1, 1, 1, 16, 16))
    given = [jnp.asarray(drawn(rng, *shape), jnp.float32) for shape in arrays]
    g = jnp.asarray(drawn(rng, 1, 16, 16, 16, 16), jnp.float32)
    first = SEPARABLE.back_p.bind(g, *given, window=window)
    for _ in range(5):
        again = SEPARABLE.back_p.bind(g, *given, window=window)
        assert all(map(np.array_equal, first, again))


def test_what_is_lowered_for_one_cpu_calls_a_kernel():
    x, k = jnp.ones((2, 4, 4, 8)), jnp.ones((3, 3, 8))
    text = jax.jit(channelwise.depthwise_conv).lower(x, k).as_text()
    assert "@darts_depthwise_float32" in text


def test_low_precision_is_left_to_xla():
    low = jnp.ones((2, 4, 4, 8), jnp.bfloat16), jnp.ones((3, 3, 8), jnp.bfloat16)
    text = jax.jit(channelwise.depthwise_conv).lower(*low).as_text()
    assert "@darts_" not in text


def test_an_exported_program_calls_no_kernel():
    x, k = jnp.ones((2, 4, 4, 8)), jnp.ones((3, 3, 8))
    exported = jax.export.export(jax.jit(channelwise.depthwise_conv))(x, k)
    assert "@darts_" not in exported.mlir_module()


def told(program, **environment):
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}
    )
    return done.stdout.strip(), done.stderr


STATE = "from darts_jax.kernels import describe_kernels; print(describe_kernels())"


def test_without_a_compiler_one_line_says_what_is_lost(tmp_path):
    nothing = str(tmp_path / "no-compiler")
    out, log = told(STATE, CXX=nothing)
    assert out.startswith("XLA's kernels:")
    assert nothing in out
    assert len(log.splitlines()) == 1
    assert "twice as long" in log


def test_kernels_can_be_switched_off_or_asked_for(tmp_path):
    assert told(STATE, DARTS_JAX_KERNELS="off")[0] == (
        "XLA's kernels: DARTS_JAX_KERNELS is off"
    )
    _, log = told(STATE, DARTS_JAX_KERNELS="native", CXX=str(tmp_path / "none"))
    assert "InputError: no native kernels" in log
    _, log = told(STATE, DARTS_JAX_KERNELS="yes")
    assert "it may be auto, off or native" in log


def test_a_compiler_that_fails_is_quoted(tmp_path):
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\necho 'x.cc: fatal error: no luck' >&2\nexit 1\n")
    failing.chmod(0o755)
    out, _ = told(STATE, CXX=str(failing))
    assert out == f"XLA's kernels: {failing}: x.cc: fatal error: no luck"


def test_a_batch_that_devices_share_calls_no_kernel():
    program = """
import jax, jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from darts_jax.kernels.channelwise import depthwise_conv
x, k = jnp.ones((2, 4, 4, 8)), jnp.ones((3, 3, 8))
shared = NamedSharding(Mesh(jax.devices(), "device"), PartitionSpec("device"))
text = jax.jit(depthwise_conv).lower(jax.device_put(x, shared), k).as_text()
print("@darts_" in text)
"""
    out, _ = told(program, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert out == "False"


def test_an_unknown_switch_is_refused(monkeypatch):
    monkeypatch.setenv(library.SWITCH, "perhaps")
    library._registered.cache_clear()
    try:
        with pytest.raises(InputError, match="auto, off or native"):
            library.has_kernels("float32")
    finally:
        library._registered.cache_clear()


@pytest.mark.parametrize(
    ("settings", "execution"),
    [
        ({"space": "nasbench201"}, "batch"),
        ({"space": "nasbench201", "search.relaxation": "sampled_gumbel"}, "scan"),
        ({"space": "nasbench201", "supernet.dtype": "bfloat16"}, "scan"),
        ({"space": "nasbench201", "supernet.execution": "scan"}, "scan"),
        ({"space": "darts"}, "scan"),
        ({"space": "mobile"}, "scan"),
    ],
)
def test_few_edges_that_share_states_are_walked_together(settings, execution):
    overrides = [f"{name}={value}" for name, value in settings.items()]
    config = darts_jax.load_config(overrides=["supernet.cells=1", *overrides])
    images = np.zeros((2, 64, 64, 3), np.uint8)
    labels = np.arange(2)
    data = darts_jax.from_arrays(images, labels, images, labels)
    assert make_supernet(config, data).execution == execution
