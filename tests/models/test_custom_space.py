"""A user's own operation and space: under 20 lines, and the trainer as it is."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import darts_jax
from darts_jax.models.functional import initialize_supernet, supernet_apply
from darts_jax.models.supernet import Supernet
from darts_jax.spaces.darts import darts_space
from darts_jax.types import Mixture


def register():
    class Gate(nn.Module):
        """Multiplies every channel by a learned gate."""

        stride: int

        @nn.compact
        def __call__(self, x, train):
            gate = self.param("gate", nn.initializers.ones, x.shape[-1:])
            return x[:, :: self.stride, :: self.stride] * nn.sigmoid(gate)

    darts_jax.OPERATIONS["gate"] = lambda channels, stride, discrete: Gate(stride)
    names = ("none", "gate", "skip_connect")
    darts_jax.SPACES["gated"] = darts_space("gated", names, names)


@pytest.mark.slow
def test_own_operation_in_an_own_space_is_searched_and_retrained(tmp_path):
    assert len(inspect.getsource(register).splitlines()) < 20
    register()
    config = darts_jax.default_config()
    config.space = "gated"
    config.supernet.update(cells=1, channels=2)
    config.search.update(epochs=2, batch_size=16)
    config.retrain.update(cells=1, channels=4, epochs=1, batch_size=16, pad=0)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (96, 8, 8), dtype=np.uint8)
    labels = rng.integers(0, 3, 96)
    data = darts_jax.from_arrays(images[:64], labels[:64], images[64:], labels[64:])
    found = darts_jax.search(config, tmp_path / "run", data)
    used = {c.operation for cell in found.genotype.cells.values() for c in cell.choices}
    assert used <= {"gate", "skip_connect"}
    assert found.alpha["reduce"].shape == (2, 14, 3)
    assert not np.array_equal(found.alpha["reduce"][0], found.alpha["reduce"][1])
    assert 0 <= darts_jax.retrain(config, tmp_path / "run", None, data).accuracy <= 1
    assert jnp.isfinite(found.records[-1]["loss"])


def test_a_name_given_to_another_operation_is_the_new_one(monkeypatch):
    """Cells of one shape share a trace: of one operation, not of one name."""

    class Scale(nn.Module):
        factor: float

        @nn.compact
        def __call__(self, x, train):
            return x * self.factor

    space = darts_space("scaled", ("scaled",), ("skip_connect",))
    net = Supernet(space, 10, 3, 4)
    images = jnp.ones((2, 8, 8, 3))
    logits = []
    for factor in (1.0, 0.0):
        monkeypatch.setitem(
            darts_jax.OPERATIONS,
            "scaled",
            lambda channels, stride, discrete, f=factor: Scale(f),
        )
        key = jax.random.key(0)
        ones = {kind: jnp.ones(cell.shape) for kind, cell in space.cells.items()}
        params, stats = initialize_supernet(net, key, (8, 8, 3))
        apply = supernet_apply(net)
        logits.append(apply(params, stats, Mixture(ones), images, key, train=False)[0])
    assert not np.allclose(*logits)
