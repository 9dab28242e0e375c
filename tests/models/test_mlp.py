"""Perceptrons on tables: chosen columns, their cost, and a genotype's network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import darts_jax
from darts_jax.bilevel.discretization import DISCRETIZATIONS
from darts_jax.cost.expected import get_price, make_empty_network, make_expected_cost
from darts_jax.cost.networks import network_cost
from darts_jax.errors import InputError
from darts_jax.models.functional import (
    count_parameters,
    initialize_network,
    initialize_supernet,
    network_apply,
    supernet_apply,
)
from darts_jax.models.network import Network
from darts_jax.models.supernet import Supernet
from darts_jax.settings.config import default_config
from darts_jax.spaces import SPACES, get_space
from darts_jax.spaces.moves import sample_genotype
from darts_jax.spaces.reading import read_genotype
from darts_jax.tasks.image_networks import make_network, make_supernet
from darts_jax.types import Mixture

KEY = jax.random.key(0)
COLUMNS = 5
SHAPE = (1, 1, COLUMNS)


def space():
    return get_space(f"mlp_{COLUMNS}")


def one_hot(genotype):
    """Weights of 1 at the choices of a genotype."""
    weights = {}
    for kind, cell in space().cells.items():
        rows = np.zeros(cell.shape, np.float32)
        for e, choice in enumerate(genotype.cells[kind].choices):
            rows[e, cell.edges[e].operations.index(choice.operation)] = 1
        weights[kind] = rows
    return weights


def test_a_space_is_made_for_each_number_of_columns():
    assert len(SPACES["mlp_30"].cells["columns"].edges) == 30
    assert get_space("mlp_30") is get_space("mlp_30")
    assert "mlp_30" in SPACES
    assert SPACES.get("mlp_x") is None
    for name in ("mlp_0", "mlp_", "mlp_x", "mlp_99999"):
        assert name not in SPACES
        with pytest.raises(InputError, match="unknown space"):
            get_space(name)


def test_a_genotype_names_its_columns_and_is_read_again():
    genotype = sample_genotype(space(), np.random.default_rng(3))
    assert read_genotype(genotype.to_json()) == genotype
    taken = [
        choice.source + 1
        for choice in genotype.cells["columns"].choices
        if choice.operation == "take"
    ]
    assert [column + 1 for column in genotype.columns] == taken
    first, *_ = str(genotype).splitlines()
    assert first == f"columns = {', '.join(map(str, taken))} of {COLUMNS}"


def test_a_column_enters_by_its_weight():
    net = Supernet(space(), 3, 1, 16)
    params, stats = initialize_supernet(net, KEY, SHAPE)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(6, *SHAPE)).astype(np.float32)
    weights = {
        kind: jnp.asarray(rng.uniform(size=cell.shape), jnp.float32)
        for kind, cell in space().cells.items()
    }
    gates = np.asarray(weights["columns"][:, 0])
    apply = supernet_apply(net)

    def run(rows, columns):
        mixture = Mixture({**weights, "columns": columns})
        return apply(params, stats, mixture, rows, KEY, train=True)[0]

    found = run(rows, weights["columns"])
    np.testing.assert_allclose(
        found, run(rows * gates, jnp.ones((COLUMNS, 2))), rtol=1e-6
    )
    assert np.abs(found - run(rows, jnp.ones((COLUMNS, 2)))).max() > 1e-3


def test_the_expected_cost_of_a_genotype_is_that_of_its_network():
    rng = np.random.default_rng(0)
    empty = make_empty_network(space(), 3, 1, 32)
    for price, read in (("macs", "macs"), ("parameters", "parameters")):
        expected = make_expected_cost(space(), empty, SHAPE, get_price(price))
        for _ in range(6):
            genotype = sample_genotype(space(), rng)
            if not genotype.columns:
                continue
            net = Network(genotype, space().macro, 3, 1, 32)
            shapes = jax.eval_shape(lambda net=net: initialize_network(net, KEY, SHAPE))
            exact = getattr(network_cost(net, SHAPE), read)
            if read == "parameters":
                assert exact == count_parameters(shapes.params)
            found = float(expected(one_hot(genotype))) * 1e6
            assert found == pytest.approx(exact, rel=1e-5)


def test_a_network_reads_its_columns_alone():
    genotype = sample_genotype(space(), np.random.default_rng(3))
    net = Network(genotype, space().macro, 3, 1, 16)
    params, stats = initialize_network(net, KEY, SHAPE)
    kept = set(genotype.columns)
    assert 0 < len(kept) < COLUMNS
    assert params["stem"]["Conv_0"]["kernel"].shape == (1, 1, len(kept), 16)

    def loss(rows):
        logits, _ = network_apply(net)(params, stats, rows, 0.0, KEY, train=False)
        return jnp.sum(jnp.sin(logits.main))

    slopes = jax.grad(loss)(jnp.ones((2, *SHAPE)))
    used = set(np.flatnonzero(np.abs(slopes).sum((0, 1, 2))).tolist())
    assert used == kept


def test_data_that_do_not_fit_are_told():
    config = default_config()
    config.space = "mlp_5"
    wine = darts_jax.load_dataset("wine")
    with pytest.raises(InputError, match="want space=mlp_13, or mlp, which reads all"):
        make_supernet(config, wine)
    config.space = "darts"
    with pytest.raises(InputError, match="data 'wine' are tables, and the space has"):
        make_supernet(config, wine)
    config.space = "mlp"
    with pytest.raises(InputError, match="'digits' are images"):
        make_supernet(config, darts_jax.load_dataset("digits"))
    config.space = "mlp_13"
    alpha = {
        kind: np.zeros(cell.shape) for kind, cell in SPACES["mlp_13"].cells.items()
    }
    alpha["columns"][:, 1] = 1
    nothing = DISCRETIZATIONS["argmax"](SPACES["mlp_13"], alpha)
    with pytest.raises(InputError, match="takes no column"):
        make_network(config, wine, nothing)
