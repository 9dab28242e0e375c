"""HW-NAS-Bench: its official file, and its numbers as the cost of a search."""

import itertools
import pickle

import numpy as np
import pytest

import darts_jax
from darts_jax.cost.measured import (
    main_effects,
    measured_column,
    read_measured_cost,
)
from darts_jax.errors import InputError
from darts_jax.nasbench.convert import convert
from darts_jax.spaces import get_space
from darts_jax.spaces.moves import sample_genotype
from darts_jax.tasks.cost_limits import Pricing
from tests.nasbench.test_nasbench201 import Runs
from tests.support.tables import text_of

SPACE = get_space("nasbench201")
CELLS = list(itertools.product(range(5), repeat=6))
# Rows in another order than the codes', as the benchmark's are.
ORDER = np.random.default_rng(0).permutation(len(CELLS))
LATENCY = np.random.default_rng(1).uniform(1, 9, len(CELLS))


def official(path, **changed):
    texts = [text_of(CELLS[i]) for i in ORDER]
    measured = {
        "edgegpu_latency": LATENCY[ORDER].tolist(),
        "eyeriss_energy": list(np.float64(2) * LATENCY[ORDER]),
        "eyeriss_arithmetic_intensity": [0.5] * len(texts),
        "config": [{"name": "infer.tiny", "C": 16, "arch_str": text} for text in texts],
    }
    tree = {"nasbench201": {"cifar10": measured | changed}, "fbnet": {}}
    path.write_bytes(pickle.dumps(tree))
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    place = tmp_path_factory.mktemp("hardware")
    path = official(place / "HW-NAS-Bench-v1_0.pickle")
    np.savez(place / "hwnasbench_table.npz", **convert("hwnasbench", path))
    return f"{place / 'hwnasbench_table.npz'}"


def test_a_genotypes_cost_is_the_official_number(table):
    for column, factor, unit in (
        ("cifar10_edgegpu_latency", 1, "ms"),
        ("cifar10_eyeriss_energy", 2, "mJ"),
    ):
        cost = read_measured_cost(measured_column(f"{table}:{column}"), SPACE)
        assert cost.unit == unit
        again = type(cost).from_json(cost.to_json())
        rng = np.random.default_rng(0)
        for genotype in (sample_genotype(SPACE, rng) for _ in range(20)):
            text = genotype.to_nasbench201()
            code = next(i for i, cell in enumerate(CELLS) if text_of(cell) == text)
            for price in (cost, again):
                got = Pricing(SPACE, price).cost(genotype)
                assert got == pytest.approx(factor * LATENCY[code], rel=1e-12)


def test_the_expectation_is_the_sum_over_all_cells(table):
    cost = read_measured_cost(
        measured_column(f"{table}:cifar10_edgegpu_latency"), SPACE
    )
    p = np.random.default_rng(2).dirichlet(np.ones(5), 6)
    by_hand = sum(
        np.prod([p[e, o] for e, o in enumerate(cell)]) * latency
        for cell, latency in zip(CELLS, LATENCY, strict=True)
    )
    assert cost({"normal": p}) == pytest.approx(by_hand, rel=1e-10)
    # Means over the cells that have an operation, as least squares gives them.
    effects = main_effects(cost)["normal"]
    ones = np.array([[o == c for o in range(5)] for cell in CELLS for c in cell])
    design = ones.reshape(len(CELLS), 30).astype(float)
    fitted, *_ = np.linalg.lstsq(design, LATENCY, rcond=None)
    rows = fitted.reshape(6, 5)
    np.testing.assert_allclose(effects, rows - rows.min(1, keepdims=True), atol=1e-9)


def test_bad_files_get_one_line(tmp_path, table):
    path = official(tmp_path / "a.pickle", edgegpu_latency=[1.0])
    cases = [(path, "has 1 numbers")]
    runs = tmp_path / "b.pickle"
    runs.write_bytes(pickle.dumps({"nasbench201": Runs()}))
    cases.append((runs, "posix.system, which is no number"))
    cut = tmp_path / "c.pickle"
    cut.write_bytes(path.read_bytes()[:100])
    cases.append((cut, "is damaged"))
    other = tmp_path / "d.pickle"
    other.write_bytes(pickle.dumps([1, 2]))
    cases += [
        (other, "knows no NAS-Bench-201"),
        (tmp_path / "e", "lacks: No such file"),
    ]
    cases.append((official(tmp_path / "f.pickle", config=[1]), "which cells it knows"))
    for place, told in cases:
        with pytest.raises(InputError, match=told) as caught:
            convert("hwnasbench", place)
        assert "\n" not in str(caught.value)
    for costs, told in (
        (f"{table}:cifar10_edgegpu_latenc", "did you mean 'cifar10_edgegpu_latency'"),
        (table, "unknown column of"),
        (f"{tmp_path}/none.npz:x", "no table of costs at"),
    ):
        with pytest.raises(InputError, match=told) as caught:
            read_measured_cost(measured_column(costs), SPACE)
        assert "\n" not in str(caught.value)
    column = measured_column(f"{table}:cifar10_edgegpu_latency")
    with pytest.raises(InputError, match="those of space 'darts' are others"):
        read_measured_cost(column, get_space("darts"))


@pytest.mark.slow
def test_a_search_keeps_to_a_budget_of_measured_latency(table, tmp_path):
    config = darts_jax.default_config()
    config.space = "nasbench201"
    config.supernet.update(cells=1, channels=4)
    config.search.update(
        epochs=2, batch_size=8, costs=f"{table}:cifar10_edgegpu_latency"
    )
    config.search.budget.update(rule="dual_ascent", target=2.0)
    config.search.terms.expected_cost = "0.1"
    config.data.images = 32
    found = darts_jax.search(config, tmp_path / "run")
    cost = read_measured_cost(measured_column(config.search.costs), SPACE)
    assert Pricing(SPACE, cost).cost(found.genotype) <= 2.0
