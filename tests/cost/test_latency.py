"""Measured latencies and tables of costs, by a clock that tells what it is told."""

import functools
import json
import statistics

import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax.bilevel.regularization import TERMS, penalty
from darts_jax.cost.latency import (
    Measurement,
    measure_latency,
    network_latency,
    operation_latencies,
)
from darts_jax.cost.sites import Site, operation_costs, supernet_sites
from darts_jax.cost.tables import read_cost_table
from darts_jax.errors import InputError
from darts_jax.models.network import Network
from darts_jax.models.supernet import Supernet
from darts_jax.spaces.graph import Cell, Macro, Space, dense_edges
from darts_jax.training.directory import atomic_write
from darts_jax.types import Mixture
from tests.support.tiny import tiny_genotype, tiny_space

# --- Measured latency --------------------------------------------------------------


class Clock:
    """Stands still but for the seconds that it is told: one after each call."""

    def __init__(self, seconds):
        self.readings = 0
        self._seconds = iter(seconds)
        self._now = 100.0

    def __call__(self):
        self.readings += 1
        if self.readings % 2 == 0:
            self._now += next(self._seconds)
        return self._now


def test_a_latency_is_the_median_between_its_quartiles():
    calls = []
    seconds = [0.009, 0.001, 0.004, 0.002, 0.100]
    how = Measurement(batch=3, warmups=4, runs=5, clock=Clock(seconds))
    found = measure_latency(calls.append, ["argument"], how)
    assert calls == ["argument"] * 9
    assert how.clock.readings == 10  # none while it warms up
    quartiles = statistics.quantiles(seconds, n=4, method="inclusive")
    assert found[1::-1] + found[2:3] == pytest.approx([1e3 * q for q in quartiles])
    assert (found.batch, found.runs) == (3, 5)
    assert "4.000 ms" in str(found)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_latency_of_a_network_runs_it_compiled(dtype):
    net = Network(tiny_genotype(), tiny_space().macro, 10, 2, 4, auxiliary=True)
    how = Measurement(2, dtype, warmups=1, runs=3, clock=Clock([0.25] * 3))
    found = network_latency(net, (8, 8, 3), how)
    assert found[:3] == (250.0, 250.0, 250.0)
    assert (found.batch, found.dtype, found.runs) == (2, dtype, 3)
    real = network_latency(net, (8, 8, 3), Measurement(warmups=0, runs=3))
    assert 0 < real.first_quartile_ms <= real.median_ms <= real.third_quartile_ms


@pytest.mark.parametrize(
    "bad", [{"batch": 0}, {"runs": 0}, {"warmups": -1}, {"dtype": "float16"}]
)
def test_a_measurement_that_makes_no_sense_is_refused(bad):
    net = Network(tiny_genotype(), tiny_space().macro, 10, 1, 4)
    with pytest.raises(InputError, match="want"):
        network_latency(net, (8, 8, 3), Measurement(**bad))


def reducing_space():
    """A cell that halves between two that do not, of two inputs and one node."""
    operations = ("skip_connect", "nor_conv_1x1")
    cells = {
        kind: Cell(2, 1, dense_edges(2, 1, operations, stride), (2,))
        for kind, stride in (("normal", 1), ("reduce", 2))
    }
    macro = Macro(
        lambda cells: ("normal", "reduce", *["normal"] * (cells - 2)),
        ("reduce",),
        1,
        True,
        False,
    )
    return Space("reducing", cells, macro, "argmax")


@functools.cache
def measured_table():
    """Site number i of the sorted ones takes i + 1 ms, a call of nothing 0.5 ms."""
    net = Supernet(reducing_space(), 10, 4, 4)
    clock = Clock([0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.0005])
    how = Measurement(warmups=0, runs=1, clock=clock)
    return net, operation_latencies(
        [choice.site for choice in supernet_sites(net, (6, 6))], how
    )


def test_latencies_of_operations_are_taken_once_for_each_place():
    _, table = measured_table()
    assert table.costs == pytest.approx(
        {
            Site("nor_conv_1x1", 4, 4, 1, 6, 6): 0.5,
            Site("nor_conv_1x1", 8, 8, 1, 3, 3): 1.5,
            Site("nor_conv_1x1", 8, 8, 2, 6, 6): 2.5,
            Site("skip_connect", 4, 4, 1, 6, 6): 3.5,
            Site("skip_connect", 8, 8, 1, 3, 3): 4.5,
            Site("skip_connect", 8, 8, 2, 6, 6): 5.5,
        }
    )
    assert (table.unit, table.conditions["batch"]) == ("ms", 1)


def test_a_table_of_latencies_is_what_the_loss_term_takes():
    net, table = measured_table()
    costs = operation_costs(net, (6, 6), table.look_up)
    assert set(costs) == set(net.space.cells)
    # One normal cell of 4 channels and two of 8, on both edges; then the reduction.
    np.testing.assert_allclose(costs["normal"], [[12.5, 3.5]] * 2)
    np.testing.assert_allclose(costs["reduce"], [[5.5, 2.5]] * 2)
    share = jnp.asarray([[0.25, 0.75], [1.0, 0.0]])
    kinds = dict.fromkeys(costs, share)
    mask = {kind: jnp.ones((2, 2), bool) for kind in costs}
    found = penalty(TERMS["expected_cost"], kinds, mask, Mixture(kinds), costs)
    by_hand = 0.25 * 12.5 + 0.75 * 3.5 + 12.5 + 0.25 * 5.5 + 0.75 * 2.5 + 5.5
    assert float(found) == pytest.approx(by_hand)


# --- The file of a table -----------------------------------------------------------


def test_a_table_comes_back_from_its_file(tmp_path):
    net, table = measured_table()
    path = tmp_path / "table.json"
    atomic_write(path, table.to_json())
    assert read_cost_table(path) == table
    with pytest.raises(InputError, match="lacks skip_connect of 4 to 4 channels"):
        operation_costs(net, (8, 8), table.look_up)
    with pytest.raises(InputError, match="cannot read"):
        read_cost_table(tmp_path / "none.json")


ROW = {
    **{"operation": "skip_connect", "inputs": 4, "channels": 4},
    **{"stride": 1, "height": 8, "width": 8},
}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"cost": -1.0}, "at least 0"),
        ({"cost": float("nan")}, "at least 0"),
        ({"cost": True}, "at least 0"),
        ({"cost": "1"}, "at least 0"),
        ({"cost": 1, "channels": 0}, "above 0"),
        ({"cost": 1, "stride": 1.0}, "above 0"),
        ({"cost": 1, "operation": None}, "name of an operation"),
        ({}, "'cost'"),
        ({"cost": 1, "copies": 2}, "twice"),
    ],
)
def test_a_damaged_row_is_refused(tmp_path, row, reason):
    rows = [ROW | row] * row.get("copies", 1)
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"unit": "ms", "conditions": {}, "costs": rows}))
    with pytest.raises(InputError, match=reason) as refused:
        read_cost_table(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_cut_short_is_refused(tmp_path, share):
    text = measured_table()[1].to_json()
    path = tmp_path / "table.json"
    path.write_text(text[: int(share * len(text))])
    with pytest.raises(InputError, match="not a table of costs"):
        read_cost_table(path)
    path.write_bytes(b"\x80\x00" + text.encode())
    with pytest.raises(InputError, match="cannot read"):
        read_cost_table(path)
