"""Depthwise convolution and pooling against XLA's own, in every derivative; and edges
that share an image, against each alone.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from darts_jax.kernels import channelwise, rectified
from darts_jax.kernels.convolution import conv
from darts_jax.kernels.cpu import library


@pytest.fixture(
    autouse=True, params=["native", pytest.param("xla", marks=pytest.mark.slow)]
)
def kernels(request, monkeypatch):
    """Both forms that a CPU has: where there is no compiler, XLA's alone serve."""
    if request.param == "xla":
        monkeypatch.setattr(library, "has_kernels", lambda dtype: False)
        jax.clear_caches()
    yield
    if request.param == "xla":
        jax.clear_caches()


GEOMETRIES = [  # size of the kernel, stride, dilation: all that the spaces use
    ((3, 3), 1, 1),
    ((3, 3), 2, 1),
    ((5, 5), 1, 1),
    ((5, 5), 2, 1),
    ((7, 7), 1, 1),
    ((7, 7), 2, 1),
    ((3, 3), 1, 2),
    ((3, 3), 2, 2),
    ((5, 5), 1, 2),
    ((5, 5), 2, 2),
]


def reference_conv(x, kernel, stride, dilation):
    kh, kw = kernel.shape[:2]
    return lax.conv_general_dilated(
        x,
        kernel[:, :, None, :],
        (stride, stride),
        [(dilation * (kh // 2),) * 2, (dilation * (kw // 2),) * 2],
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def arrays(shape, kernel, dtype=jnp.float64, seed=0):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=shape), dtype)
    return x, jnp.asarray(rng.normal(size=(*kernel, shape[-1])), dtype)


@pytest.mark.parametrize(("kernel", "stride", "dilation"), GEOMETRIES)
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (2, 3)])
def test_depthwise_equals_xla_with_both_gradients(kernel, stride, dilation, size):
    with jax.enable_x64(True):
        x, k = arrays((2, *size, 3), kernel)

        def ours(x, k):
            return channelwise.depthwise_conv(x, k, stride=stride, dilation=dilation)

        def theirs(x, k):
            return reference_conv(x, k, stride, dilation)

        y, pull = jax.vjp(ours, x, k)
        want, pull_want = jax.vjp(theirs, x, k)
        np.testing.assert_allclose(y, want, rtol=1e-12, atol=1e-12)
        cotangent = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        for got, ref in zip(pull(cotangent), pull_want(cotangent), strict=True):
            np.testing.assert_allclose(got, ref, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [GEOMETRIES[i] for i in (0, 3, 9)]
)
def test_depthwise_derivatives_to_second_order_in_both_modes(kernel, stride, dilation):
    with jax.enable_x64(True):
        x, k = arrays((2, 6, 5, 2), kernel)

        def f(x, k):
            y = channelwise.depthwise_conv(x, k, stride=stride, dilation=dilation)
            return jnp.sum(jnp.sin(y))

        check_grads(f, (x, k), order=2, modes=("fwd", "rev"))


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0), (1, 2)])
def test_depthwise_under_vmap_equals_a_loop(axes):
    x, k = arrays((2, 6, 6, 3), (3, 3), jnp.float32)
    xs = jnp.stack([x, 2 * x, -x], axes[0]) if axes[0] is not None else x
    ks = jnp.stack([k, k + 1, 3 * k], axes[1]) if axes[1] is not None else k

    def f(x, k):
        return jax.grad(
            lambda x, k: jnp.sum(channelwise.depthwise_conv(x, k, stride=2) ** 2),
            (0, 1),
        )(x, k)

    got = jax.vmap(f, axes)(xs, ks)
    for i in range(3):
        one = f(
            xs if axes[0] is None else jnp.take(xs, i, axes[0]),
            ks if axes[1] is None else jnp.take(ks, i, axes[1]),
        )
        jax.tree.map(
            lambda g, o, i=i: np.testing.assert_allclose(g[i], o, rtol=1e-5, atol=1e-4),
            got,
            one,
        )


def test_bfloat16_stays_bfloat16():
    x, k = arrays((2, 6, 6, 4), (3, 3), jnp.bfloat16)
    y, pull = jax.vjp(channelwise.depthwise_conv, x, k)
    assert y.dtype == jnp.bfloat16
    assert all(g.dtype == jnp.bfloat16 for g in pull(y))
    wide = reference_conv(x.astype(jnp.float32), k.astype(jnp.float32), 1, 1)
    np.testing.assert_allclose(y.astype(jnp.float32), wide, rtol=0.05, atol=0.1)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (2, 3)])
def test_max_pool_equals_reduce_window_with_gradient(stride, size):
    with jax.enable_x64(True):
        # Few distinct values: ties are common, and go to the first of a window.
        rng = np.random.default_rng(1)
        x = jnp.asarray(rng.integers(0, 3, size=(2, *size, 3)), jnp.float64)

        def theirs(x):
            return lax.reduce_window(
                x,
                -jnp.inf,
                lax.max,
                (1, 3, 3, 1),
                (1, stride, stride, 1),
                [(0, 0), (1, 1), (1, 1), (0, 0)],
            )

        y, pull = jax.vjp(
            lambda x: channelwise.max_pool(x, size=(3, 3), stride=stride), x
        )
        want, pull_want = jax.vjp(theirs, x)
        np.testing.assert_array_equal(y, want)
        cotangent = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        np.testing.assert_allclose(pull(cotangent)[0], pull_want(cotangent)[0])


@pytest.mark.slow
@pytest.mark.parametrize("stride", [1, 2])
def test_pooling_derivatives_to_second_order_in_both_modes(stride):
    with jax.enable_x64(True):
        x, _ = arrays((2, 6, 5, 2), (1, 1), seed=3)
        for pool in (channelwise.max_pool, channelwise.avg_pool):

            def f(x, pool=pool):
                return jnp.sum(jnp.sin(pool(x, size=(3, 3), stride=stride)))

            check_grads(f, (x,), order=2, modes=("fwd", "rev"), eps=1e-6)
            batched = jax.vmap(jax.grad(f))(jnp.stack([x, -x]))
            np.testing.assert_allclose(batched[1], jax.grad(f)(-x), rtol=1e-12)


def test_avg_pool_does_not_count_padding():
    y = channelwise.avg_pool(jnp.ones((1, 4, 4, 1)), size=(3, 3), stride=1)
    np.testing.assert_allclose(y, 1.0)


def test_every_derivative_lowers_for_accelerators():
    x, k = arrays((2, 8, 8, 4), (5, 5), jnp.float32)

    def f(x, k):
        y = channelwise.depthwise_conv(x, k, stride=2, dilation=2)
        return jnp.sum(channelwise.max_pool(jnp.tanh(y), size=(3, 3), stride=1))

    hessian_product = jax.jit(
        lambda x, k: jax.jvp(jax.grad(f, (0, 1)), (x, k), (x, k))[1]
    )
    text = jax.export.export(hessian_product, platforms=["tpu", "cuda"])(x, k)
    assert "convolution" in str(text.mlir_module())


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("image", "size", "channels"),
    [
        ((7, 6), (3, 3), (3, 4)),
        ((7, 6), (1, 7), (3, 4)),
        ((7, 6), (7, 1), (3, 4)),
        # So many that kernels work by tiles: of whole ones, and of parts.
        ((8, 8), (3, 3), (32, 32)),
        ((7, 5), (3, 3), (33, 35)),
        ((1, 40), (3, 3), (32, 33)),
    ],
)
def test_dense_convolution_equals_xla_in_every_derivative(
    stride, image, size, channels
):
    with jax.enable_x64(True):
        rng = np.random.default_rng(4)
        x = jnp.asarray(rng.normal(size=(2, *image, channels[0])))
        k = jnp.asarray(rng.normal(size=(*size, *channels)))

        def theirs(x, k):
            return lax.conv_general_dilated(
                x,
                k,
                (stride, stride),
                [(n // 2, n // 2) for n in size],
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )

        def ours(x, k):
            return conv(x, k, stride=(stride, stride))

        def second(f):
            def scalar(x, k):
                return jnp.sum(jnp.sin(f(x, k)))

            gradient = jax.grad(scalar, (0, 1))
            return jax.jit(lambda x, k: jax.jvp(gradient, (x, k), (jnp.cos(x), k)))

        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10),
            (ours(x, k), second(ours)(x, k)),
            (theirs(x, k), second(theirs)(x, k)),
        )
        batched = jax.vmap(ours)(jnp.stack([x, -x]), jnp.stack([k, 2 * k]))
        np.testing.assert_allclose(batched[1], -2 * batched[0], rtol=1e-10)


def test_primitives_run_with_jit_disabled():
    """Whoever looks for a mistake runs them so."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 6, 6, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 3, 4)), jnp.float32)
    want = conv(x, kernel, stride=(1, 1))
    with jax.disable_jit():
        got = conv(x, kernel, stride=(1, 1))
    np.testing.assert_allclose(got, want, rtol=1e-6)


# Maps, the shapes of their kernels, and channels of their images and results.
RECTIFIED = {
    "dense": (rectified.relu_conv, [(3, 3, 3, 2)]),
    "dense by tiles": (rectified.relu_conv, [(3, 3, 32, 33)]),
    "separable": (rectified.relu_separable, [(3, 3, 3), (1, 1, 3, 2)]),
}


def edges_of_an_image(kind, edges):
    """The map of a batch of edges that leave a state, one by one, and its arrays."""
    ours, sizes = RECTIFIED[kind]
    *_, channels, features = sizes[-1]
    rng = np.random.default_rng(3)
    x = jnp.asarray(rng.normal(size=(4, 5, 3, channels)))
    kernels = [jnp.asarray(rng.normal(size=(edges, *size))) for size in sizes]
    guess = jnp.zeros((2, features))

    def together(x, *kernels):
        axes = (None, *[0] * len(kernels), None)
        return jax.vmap(ours, in_axes=axes)(x, *kernels, guess)

    def apart(x, *kernels):
        each = [ours(x, *[k[e] for k in kernels], guess) for e in range(edges)]
        return jax.tree.map(lambda *rows: jnp.stack(rows), *each)

    return together, apart, x, kernels


def derivatives_of(form, x, kernels):
    """The value, the gradient by the image and by all, and how that one changes."""

    def loss(x, *kernels):
        y, _ = form(x, *kernels)
        return jnp.sum(jnp.sin(y) * jnp.linspace(-1.0, 1.0, y.size).reshape(y.shape))

    everything = tuple(range(1 + len(kernels)))
    gradient = jax.grad(loss, everything)
    along = jax.tree.map(jnp.cos, (x, *kernels))
    of_image = jax.grad(loss)
    return (
        form(x, *kernels),
        of_image(x, *kernels),
        jax.jvp(of_image, (x, *kernels), along)[1],
        jax.jvp(gradient, (x, *kernels), along),
        jax.grad(lambda *a: sum(jnp.sum(jnp.sin(g)) for g in gradient(*a)), everything)(
            x, *kernels
        ),
    )


@pytest.mark.parametrize("kind", RECTIFIED)
def test_edges_that_share_an_image_compute_what_they_do_alone(kind):
    with jax.enable_x64(True):
        together, apart, x, kernels = edges_of_an_image(kind, 3)
        got = jax.jit(lambda *a: derivatives_of(together, a[0], a[1:]))(x, *kernels)
        want = derivatives_of(apart, x, kernels)
        chex.assert_trees_all_close(got, want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", RECTIFIED)
def test_members_whose_edges_share_an_image_compute_what_they_do_alone(kind):
    with jax.enable_x64(True):
        together, apart, x, kernels = edges_of_an_image(kind, 3)
        own = jax.tree.map(lambda a: jnp.stack([a, -a]), (x, *kernels))

        def of_members(form):
            return jax.vmap(lambda *a: derivatives_of(form, a[0], a[1:]))(*own)

        chex.assert_trees_all_close(
            of_members(together), of_members(apart), rtol=1e-11, atol=1e-12
        )


@pytest.mark.parametrize("kind", RECTIFIED)
def test_an_image_that_edges_share_is_not_copied(kind):
    with jax.enable_x64(True):
        together, _, x, kernels = edges_of_an_image(kind, 5)
        by_all = tuple(range(1 + len(kernels)))
        gradient = jax.grad(lambda *a: jnp.sum(jnp.sin(together(*a)[0])), by_all)
        text = str(jax.make_jaxpr(gradient)(x, *kernels))
        shape = ",".join(map(str, x.shape))
        assert f"f64[1,{shape}]" in text
        assert f"f64[5,{shape}]" not in text
