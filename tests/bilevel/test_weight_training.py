"""Training of a fixed network: moving averages against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax.bilevel.losses import Criterion
from darts_jax.bilevel.weight_training import Training, move_averages


def slope(params, stats, inputs, drop_rate, key, *, train):
    """A network whose gradient by its weight is its input, and that counts calls."""
    del drop_rate, key, train
    return params["w"] * inputs.mean(), {"calls": stats["calls"] + 1}


CRITERION = Criterion(
    inputs=lambda batch: batch,
    loss=lambda outputs, batch, scalars: outputs,
    metrics=lambda loss, outputs, batch: {"loss": loss},
    rewards=lambda outputs, batch: outputs,
)


def trained(steps, ema, decay=0.5):
    weights = {"learning_rate": 0.1, "momentum": 0.0, "decay": 0.0, "clip": 1e9}
    scalars = {"weights": weights, "drop_path": 0.0, "ema_decay": jnp.float32(decay)}
    method = Training(slope, criterion=CRITERION, ema=ema)
    key = jax.random.key_data(jax.random.key(0))
    state = method.init(key, {"w": jnp.float32(2.0)}, {"calls": jnp.float32(0)})
    for i in range(steps):
        state, _ = method.step(state, jnp.full(3, float(i)), scalars)
    return state


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_averages_of_weights_and_statistics_are_those_of_the_formula(decay):
    state = trained(6, ema=True, decay=decay)
    weight, average, calls = 2.0, 2.0, 0.0
    for i in range(6):
        weight -= 0.1 * i
        rate = min(decay, (1 + i + 1) / (10 + i + 1))
        average = rate * average + (1 - rate) * weight
        calls = rate * calls + (1 - rate) * (i + 1)
    params, stats = state.tested
    assert params["w"] == pytest.approx(average, rel=1e-6)
    assert stats["calls"] == pytest.approx(calls, rel=1e-6)
    assert state.params["w"] == pytest.approx(weight, rel=1e-6)
    np.testing.assert_array_equal(state.params["w"], trained(6, ema=False).params["w"])


def test_without_averages_the_weights_are_tested_and_the_state_has_no_more_leaves():
    state = trained(1, ema=False)
    assert state.tested == (state.params, state.stats)
    assert len(jax.tree.leaves(trained(1, ema=True))) == len(jax.tree.leaves(state)) + 2


def test_a_decay_of_0_keeps_the_last_weights():
    state = trained(2, ema=True)
    moved = move_averages(state, jnp.float32(0))
    np.testing.assert_array_equal(moved.ema[0]["w"], state.params["w"])
