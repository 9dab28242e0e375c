"""Pallas kernels of separable convolutions, interpreted, against the plain forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax.kernels import relu_separable
from darts_jax.kernels.gpu import GPU_KERNELS, separable
from darts_jax.kernels.rectified import SEPARABLES
from darts_jax.kernels.windows import Window, Windows


@pytest.fixture(autouse=True)
def few_programs(monkeypatch):
    """Programs so few that each makes sums of several tiles."""
    monkeypatch.setattr(separable, "_PROGRAMS", 4)


SIGNAL = -1
"""In place of the height: images of one row, and kernels of one."""

# Height and width, taps, stride, dilation, channels in and out, edges.
CASES = {
    "small": ((4, 4), 3, 1, 1, 16, 16, 2),
    "odd, by two": ((5, 7), 3, 2, 1, 3, 5, 1),
    "five taps": ((6, 5), 5, 1, 1, 20, 17, 3),
    "dilated": ((7, 4), 3, 1, 2, 4, 4, 2),
    "dilated, by two": ((5, 6), 5, 2, 2, 6, 12, 2),
    "signal, by two": ((SIGNAL, 9), 5, 2, 1, 4, 6, 2),
    "signal, dilated": ((SIGNAL, 11), 3, 1, 2, 5, 4, 2),
    "smaller than taps": ((1, 2), 7, 1, 1, 2, 3, 1),
}
MANY_TILES = ((17, 9), 3, 1, 1, 40, 24, 2)


def drawn(case, dtype=jnp.float32):
    """The map of a case, for edges that share an image, its arrays and tangents."""
    plane, taps, stride, dilation, channels, features, edges = case
    rng = np.random.default_rng(0)
    shapes = (
        (3, *(abs(side) for side in plane), channels),
        (edges, 1 if plane[0] == SIGNAL else taps, taps, channels),
        (edges, 1, 1, channels, features),
    )
    arrays = [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]
    guess = jnp.asarray(rng.normal(size=(2, features)), dtype)

    def form(x, depthwise, pointwise):
        def one(x, depthwise, pointwise):
            return relu_separable(
                x, depthwise, pointwise, guess, stride=stride, dilation=dilation
            )

        return jax.vmap(one, (None, 0, 0))(x, depthwise, pointwise)

    return form, arrays


def derivatives(form, arrays, bend=jnp.sin):
    """Value, moments, gradients by all and by the image alone, and their changes."""

    def loss(*arrays):
        y, _ = form(*arrays)
        return jnp.sum(bend(y.astype(jnp.float32)))

    along = tuple(jnp.cos(array) for array in arrays)
    by_all = jax.grad(loss, (0, 1, 2))
    return (
        form(*arrays),
        jax.jvp(by_all, arrays, along),
        jax.jvp(jax.grad(loss), arrays, along),
    )


def computed(choice, form, arrays, bend=jnp.sin):
    with GPU_KERNELS(choice):
        return jax.jit(lambda *arrays: derivatives(form, arrays, bend))(*arrays)


def assert_equal(got, want, share):
    """Asserts that arrays differ by no more than a share of the largest number."""
    for a, b in zip(*map(jax.tree.leaves, (got, want)), strict=True):
        b = np.asarray(b, np.float64)
        assert np.abs(np.asarray(a, np.float64) - b).max() <= share * np.abs(b).max()


_QUICK = ("odd, by two", "dilated")


@pytest.mark.parametrize(
    "case",
    [c if c in _QUICK else pytest.param(c, marks=pytest.mark.slow) for c in CASES],
)
def test_every_derivative_is_that_of_the_plain_form(case):
    form, arrays = drawn(CASES[case])
    got = computed("interpret", form, arrays)
    with jax.enable_x64(True):
        exact = [jnp.asarray(array, jnp.float64) for array in arrays]
        want = computed("auto", *_exact(CASES[case], exact))
    assert_equal(got, want, 3e-6)


def _exact(case, arrays):
    form, _ = drawn(case, jnp.float64)
    return form, arrays


def test_edges_of_several_windows_compute_what_they_do_alone():
    parts = [
        Window((6, 5), (taps, taps), (2, 2), dilation, (dilation * (taps // 2),) * 2)
        for taps, dilation in ((3, 1), (5, 1), (3, 2))
    ]
    window = Windows(tuple(parts))
    rng = np.random.default_rng(1)
    shapes = ((2, 3, 6, 5, 4), (6, 5, 5, 4), (6, 1, 1, 4, 7))
    x, taps, matrix = (
        jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes
    )
    used = np.array([np.arange(5) < part.kernel[0] for part in parts * 2])
    taps = jnp.where((used[:, :, None] & used[:, None])[..., None], taps, 0)
    guess = jnp.zeros((6, 2, 7))

    def form(*arrays):
        return SEPARABLES.map_p.bind(*arrays, guess, window=window)

    got, want = (computed(c, form, [x, taps, matrix]) for c in ("interpret", "auto"))
    assert_equal(got, want, 3e-6)


def test_members_of_a_population_compute_what_they_do_alone():
    form, arrays = drawn(MANY_TILES)
    members = [jnp.stack([array, -array]) for array in arrays]
    with GPU_KERNELS("interpret"):
        gradient = jax.grad(lambda *a: jnp.sum(jnp.sin(form(*a)[0])), (0, 1, 2))
        got = jax.jit(jax.vmap(gradient))(*members)
    want = [jax.jit(gradient)(*(m[i] for m in members)) for i in range(2)]
    assert_equal(got, jax.tree.map(lambda *rows: jnp.stack(rows), *want), 3e-6)


def test_sums_of_bfloat16_are_float32():
    form, arrays = drawn(MANY_TILES, jnp.bfloat16)
    got = computed("interpret", form, arrays, jnp.square)
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(got))
    wide = [array.astype(jnp.float32) for array in arrays]
    form, _ = drawn(MANY_TILES)
    want = computed("auto", form, wide, jnp.square)
    assert_equal(got, want, 2e-2)


def test_the_interpreter_runs_every_kernel():
    """Else a form would be compared with itself."""
    form, arrays = drawn(CASES["small"])
    with GPU_KERNELS("interpret"):
        lowered = jax.jit(lambda *a: derivatives(form, a)).lower(*arrays)
    assert "ffi" not in lowered.as_text()


def test_nothing_is_hidden_of_a_number_that_is_none():
    form, arrays = drawn(CASES["small"])
    arrays[0] = arrays[0].at[0, 0, 0, 0].set(jnp.nan)
    with GPU_KERNELS("interpret"):
        y, moments = jax.jit(form)(*arrays)
    assert jnp.isnan(y).any()
    assert jnp.isnan(moments).any()
