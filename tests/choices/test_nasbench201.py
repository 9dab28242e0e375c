"""NAS-Bench-201's cell, written with choices, against the built-in space."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import darts_jax
from darts_jax.bilevel.hypergradient import exact
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.step import Search
from darts_jax.models.functional import supernet_apply
from darts_jax.spaces import get_space
from tests.support.choice_cells import EDGES, ChoiceNetwork, as_choices
from tests.support.supernets import (
    KEY,
    SCALARS,
    examples,
    masks,
    random_alpha,
    small,
    to64,
)

SPACE = get_space("nasbench201")
CELLS, CHANNELS = 1, 2


def by_edge(alpha):
    """Returns the parameters of the built-in cell's edges, one row for each choice."""
    rows = {(e.source, e.target): i for i, e in enumerate(SPACE.cells["normal"].edges)}
    return {f"edge_{s}_{t}": alpha["normal"][rows[s, t]][None] for s, t in EDGES}


def close(found, wanted):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9),
        found,
        wanted,
    )


@pytest.fixture(autouse=True)
def _mixed_types():
    """Flax's layers mix types, which all other tests refuse."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.slow  # Two programs of second order are compiled, a minute each.
def test_the_users_cell_is_the_built_in_one():
    """Loss, gradients by weights and architecture, and the hypergradient, to 1e-9."""
    images = np.zeros((2, 8, 8, 2), np.float32)
    own = darts_jax.space_of(ChoiceNetwork(3, CELLS, CHANNELS), images, "user201")
    del darts_jax.SPACES["user201"]
    own_stats = own.init(KEY).stats
    with jax.enable_x64(True):
        net, params, stats = small(SPACE, cells=CELLS, channels=CHANNELS)
        scalars = to64(SCALARS)
        train, valid = examples(1), examples(2)
        alpha = to64(random_alpha(SPACE))
        mine = as_choices(params, CELLS)
        own_stats = to64(own_stats)

        def search(apply, mask):
            return Search(apply, RELAXATIONS["softmax"], exact, mask)

        built = search(supernet_apply(net), masks(SPACE))
        user = search(own.apply, own.mask)
        key = jax.random.key_data(KEY)
        states = [
            built.init(key, params, stats, alpha),
            user.init(key, mine, own_stats, by_edge(alpha)),
        ]
        slopes, hypergradients = [], []
        for method, state in zip((built, user), states, strict=True):
            losses = [
                method.loss_on(state, batch, KEY, scalars) for batch in (train, valid)
            ]
            step = method.inner_step(state, scalars)
            slopes.append(
                jax.jit(jax.value_and_grad(losses[0], (0, 1)))(
                    state.params, state.alpha
                )
            )
            hypergradients.append(
                jax.jit(lambda p, a, m=losses, s=step: exact(m[0], m[1], p, a, s))(
                    state.params, state.alpha
                )
            )
        (loss, (by_params, by_alpha)), (own_loss, (own_params, own_alpha)) = slopes
        assert float(own_loss) == pytest.approx(float(loss), rel=1e-9)
        close(own_params, as_choices(by_params, CELLS))
        close(own_alpha, by_edge(by_alpha))
        close(hypergradients[1], by_edge(hypergradients[0]))
        assert float(jnp.abs(hypergradients[0]["normal"]).max()) > 1e-4
