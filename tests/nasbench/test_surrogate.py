"""The surrogate of our own in place of NAS-Bench-301's."""

import numpy as np
import pytest

from darts_jax.baselines import BASELINES, Budget
from darts_jax.errors import InputError
from darts_jax.nasbench import load_table
from darts_jax.nasbench.convert import convert
from darts_jax.spaces import get_space
from darts_jax.spaces.moves import sample_genotype
from darts_jax.workflows.oracles import make_table_oracle
from tests.support.paths import SHARED

CELLS = SHARED / "data" / "nb301_darts_725.csv"
HEAD = '"compact_[(from,op)x8 normal, x8 reduce]",val_accuracy,params_M\n'
RNG = np.random.default_rng(0)


def drawn():
    """A cell in the compact form, and how many of its operations convolve."""
    cell = [
        (int(source), int(op))
        for _ in range(2)
        for node in (2, 3, 4, 5)
        for source, op in zip(
            RNG.choice(node, 2, replace=False), RNG.integers(7, size=2), strict=True
        )
    ]
    return [cell[:8], cell[8:]], sum(op >= 3 for _, op in cell)


def write(path, rows):
    lines = [f'"{cell}",{score},1.0\n' for cell, score in rows]
    path.write_text(HEAD + "".join(lines))
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    place = tmp_path_factory.mktemp("cells")
    rows = [
        (cell, 90 + convolutions / 4)
        for cell, convolutions in (drawn() for _ in range(300))
    ]
    arrays = convert("nasbench301", write(place / "cells.csv", rows))
    np.savez(place / "nasbench301_table.npz", **arrays)
    return load_table(place / "nasbench301_table.npz")


def test_it_predicts_what_its_cells_teach(table):
    rng = np.random.default_rng(1)
    space = get_space("darts")
    cells = [sample_genotype(space, rng) for _ in range(100)]
    wanted = [
        90
        + sum("conv" in c.operation for cell in g.cells.values() for c in cell.choices)
        / 4
        for g in cells
    ]
    got = [table.accuracy(genotype, split="valid") for genotype in cells]
    assert np.corrcoef(wanted, got)[0, 1] > 0.8
    assert table.accuracy(table.genotype(3), split="valid") == pytest.approx(
        table.column(split="valid")[3], abs=0.3
    )
    assert "our own surrogate" in table.title


def test_a_row_is_the_cell_of_the_file(table):
    for row in (0, 7):
        assert table.row(table.genotype(row)) == row
    with pytest.raises(InputError, match="its accuracy is predicted"):
        table.row(sample_genotype(get_space("darts"), np.random.default_rng(5)))


@pytest.mark.parametrize("by", ["random_search", "evolution"])
def test_baselines_search_it(table, by):
    evaluate = make_table_oracle(table)
    rng = np.random.default_rng(0)
    trace = BASELINES[by](get_space("darts"), evaluate, Budget(evaluations=15), rng)
    best = table.accuracy(trace.best.genotype, split="valid")
    assert best == trace.best.score == max(asked.score for asked in trace.asked)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("[[(0, 0)]]", 90.0)], "line 2 of .* is no cell"),
        ([("__import__('os').system('touch ran')", 90.0)], "line 2 of .* is no cell"),
        (
            [(str([[(0, 0), (0, 1)] * 4] * 2), 90.0)],
            "cell 0 of .* is none of the DARTS",
        ),
        (
            [(str([[(0, 0), (1, 7)] * 4] * 2), 90.0)],
            "cell 0 of .* is none of the DARTS",
        ),
        ([], "has no cells"),
    ],
)
def test_bad_files_get_one_line(tmp_path, rows, told, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=told) as caught:
        convert("nasbench301", write(tmp_path / "cells.csv", rows))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(InputError, match="cannot read a table of cells"):
        convert("nasbench301", tmp_path / "absent.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has columns a, b; want one"):
        convert("nasbench301", tmp_path / "other.csv")


@pytest.mark.slow
@pytest.mark.skipif(not CELLS.is_file(), reason=f"{CELLS} is not there")
def test_it_ranks_cells_that_it_has_not_seen(tmp_path):
    """Fitted to nine tenths of a sample, it ranks the rest."""
    from scipy.stats import kendalltau

    arrays = convert("nasbench301", CELLS)
    held_out = np.arange(len(arrays["sources"])) % 10 == 0
    coded = ("ops", "benchmark", "source")
    for name, part in (("seen", ~held_out), ("rest", held_out)):
        rows = {k: a if k in coded else a[part] for k, a in arrays.items()}
        np.savez(tmp_path / f"{name}.npz", **rows)
    seen, rest = (load_table(tmp_path / f"{n}.npz") for n in ("seen", "rest"))
    got = [
        seen.accuracy(rest.genotype(i), split="valid")
        for i in range(len(rest.column(split="valid")))
    ]
    tau = kendalltau(got, rest.column(split="valid")).statistic
    print(f"Kendall's tau {tau:.2f} on {held_out.sum()} cells")
    assert tau > 0.5
