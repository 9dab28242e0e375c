"""The reader of the NAS-Bench-201 table, and the table made of the official files."""

import dataclasses
import itertools
import os

import numpy as np
import pytest

import darts_jax
from darts_jax.errors import InputError
from darts_jax.nasbench import find_table, load_table
from darts_jax.nasbench.convert import convert
from darts_jax.spaces.graph import CellGenotype, Genotype, KeptEdge
from darts_jax.spaces.nasbench201 import MACRO, NASBENCH201, OPERATIONS
from darts_jax.spaces.published import get_genotype
from tests.support.official import (
    assert_nats_accuracies,
    nats_results,
    write_nats,
    write_nats_benchmark,
)
from tests.support.paths import SHARED
from tests.support.tables import EDGES, small_table, text_of

DATA = SHARED / "data"
TABLE = DATA / "nasbench201_table.npz"


@pytest.mark.skipif(not TABLE.is_file(), reason=f"{TABLE} is not there")
def test_the_reader_gives_the_table():
    table = load_table(TABLE)
    assert len(table) == 5**6 == 15625
    with np.load(TABLE) as stored:
        raw = {name: stored[name] for name in stored.files}
    names, order = raw["ops"].tolist(), raw["edges"].tolist()
    random = np.random.default_rng(0).choice(15625, 20, replace=False)
    best = np.argsort(-raw["cifar10_test_200"])[:5]
    for row in (*random, *best):
        op = {e: names[code] for e, code in zip(order, raw["arch"][row], strict=True)}
        text = text_of([OPERATIONS.index(op[e]) for e in EDGES])
        genotype = Genotype.from_nasbench201(text)
        assert table.row(genotype) == row
        assert table.genotype(int(row)) == genotype
        for dataset in ("cifar10", "cifar100", "imagenet16_120"):
            for split, epochs in (("test", 12), ("test", 200), ("valid", 12)):
                got = table.accuracy(genotype, dataset, split, epochs)
                assert got == raw[f"{dataset}_{split}_{epochs}"][row]
        got = table.accuracy(genotype, "cifar10", "valid", 200)
        assert got == raw["cifar10_valid_200"][row]
    # What the benchmark's authors print of the best cell and of the collapsed one.
    assert table.column().argmax() == 6111
    assert table.column().max() == pytest.approx(94.37, abs=0.005)
    skips = Genotype.from_nasbench201(text_of([1] * 6))
    assert table.row(skips) == 1835
    assert table.accuracy(skips) == pytest.approx(54.30, abs=0.005)
    with pytest.raises(InputError, match=r"unknown column 'cifar100_valid_200'"):
        table.accuracy(skips, "cifar100", "valid")


def test_an_edge_that_a_genotype_drops_is_none(tmp_path):
    path = small_table(tmp_path / "table.npz")
    table = load_table(path)
    kept = (KeptEdge(1, 0, "skip_connect"), KeptEdge(3, 1, "nor_conv_3x3"))
    cell = Genotype("nasbench201", {"normal": CellGenotype(1, kept, (3,))})
    assert table.accuracy(cell) == 50
    with pytest.raises(InputError, match="no NAS-Bench-201 cell"):
        table.row(get_genotype("DARTS_V2"))
    other = (KeptEdge(1, 0, "sep_conv_3x3"), KeptEdge(3, 1, "nor_conv_3x3"))
    wrong = Genotype("nasbench201", {"normal": CellGenotype(1, other, (3,))})
    with pytest.raises(InputError, match="NAS-Bench-201 has no sep_conv_3x3"):
        table.row(wrong)
    absent = Genotype.from_nasbench201(text_of([4] * 6))
    with pytest.raises(InputError, match="the table has no cell"):
        table.row(absent)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"ops": None}, "lacks ops"),
        ({"edges": np.array(["0-1"] * 6)}, "not like '0->1'"),
        ({"arch": np.full((2, 6), 7)}, "want integers below 5"),
        ({"arch": np.ones((2, 6), int)}, "has a cell twice"),
        ({"cifar10_test_200": np.zeros(3)}, r"has shape \(3,\); want \(2,\)"),
        ({"cifar10_test_200": None}, "no accuracies"),
        ({"ops": np.array([object()] * 5, object)}, "cannot be read"),
    ],
)
def test_a_table_that_is_wrong_is_refused_in_one_line(tmp_path, changed, told):
    path = small_table(tmp_path / "table.npz", **changed)
    with pytest.raises(InputError, match=told) as caught:
        load_table(path)
    assert "\n" not in str(caught.value)


def test_a_table_is_found_where_the_data_lie(tmp_path, monkeypatch):
    monkeypatch.delenv("DARTS_JAX_DATA_DIR", raising=False)
    assert find_table() is None
    path = small_table(tmp_path / "nasbench201_table.npz")
    assert find_table(directory=str(tmp_path)) == path
    monkeypatch.setenv("DARTS_JAX_DATA_DIR", str(tmp_path))
    assert find_table() == path
    with pytest.raises(InputError, match="no table of a benchmark at"):
        find_table(str(tmp_path / "absent.npz"))


# The official format, written by the package that defines it.

CELLS = [[1] * 6, [1, 0, 0, 0, 3, 0], [4, 3, 2, 1, 0, 1]]


@pytest.fixture(scope="module", params=["", "NATS-tss-v1_0-3ffb9.pickle.pbz2"])
def official(request, tmp_path_factory):
    utils = pytest.importorskip(
        "nats_bench.api_utils",
        reason="nats_bench, whose format is written, is not installed",
    )
    place = tmp_path_factory.mktemp("official")
    texts = [text_of(cell) for cell in CELLS]
    infos = {
        i: {str(n): nats_results(utils, i, text, n) for n in (12, 200)}
        for i, text in enumerate(texts)
    }
    return write_nats_benchmark(place, infos, texts, request.param)


def test_official_files_become_a_table(official, tmp_path):
    arrays = convert("nasbench201", official)
    np.savez(tmp_path / "table.npz", **arrays)
    table = load_table(tmp_path / "table.npz")
    both = (777, 888)
    for i, cell in enumerate(CELLS):
        genotype = Genotype.from_nasbench201(text_of(cell))
        assert table.row(genotype) == i
        columns = (
            (("cifar10", "test", 200), ("cifar10", "ori-test"), both),
            (("cifar10", "valid", 200), ("cifar10-valid", "x-valid"), both),
            (("cifar10", "valid", 12), ("cifar10-valid", "x-valid"), (777,)),
            (("cifar100", "valid", 200), ("cifar100", "x-valid"), both),
            (("cifar100", "test", 12), ("cifar100", "x-test"), (777,)),
            (("imagenet16_120", "test", 200), ("ImageNet16-120", "x-test"), both),
            (("imagenet16_120", "valtest", 200), ("ImageNet16-120", "ori-test"), both),
        )
        assert_nats_accuracies(table, i, genotype, columns)
        assert table.columns["n_seeds_200"][i] == 2
    seconds = table.columns["train_seconds_200_cifar10"]
    np.testing.assert_allclose(seconds, [200 * (2.0 + i) for i in range(3)])


class Runs:
    """An example of what a pickle can do when it is opened."""

    def __reduce__(self):
        return os.system, ("touch ran",)


def test_a_file_that_would_run_something_is_not_opened(tmp_path, monkeypatch):
    pytest.importorskip(
        "nats_bench",
        reason="nats_bench, whose results are compared with, is not installed",
    )
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    write_nats(path, {"meta_archs": [Runs()]})
    with pytest.raises(InputError, match=r"posix.system, which is no number"):
        convert("nasbench201", path)
    assert not (tmp_path / "ran").exists()
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match="is damaged"):
        convert("nasbench201", path)
    with pytest.raises(InputError, match="no NATS-Bench data at"):
        convert("nasbench201", tmp_path)


@pytest.mark.slow
def test_every_epoch_of_a_search_is_scored(tmp_path, capsys, monkeypatch):
    one_cell = dataclasses.replace(MACRO, layout=lambda cells: ("normal",) * cells)
    small = dataclasses.replace(NASBENCH201, macro=one_cell)
    monkeypatch.setitem(darts_jax.SPACES, "nasbench201", small)
    everything = np.array(list(itertools.product(range(5), repeat=6)), np.uint8)
    scores = np.random.default_rng(0).permutation(len(everything)).astype(np.float32)
    path = small_table(
        tmp_path / "table.npz",
        arch=everything,
        cifar10_test_200=None,
        cifar100_valid_12=scores,
    )
    config = darts_jax.default_config()
    config.space = "nasbench201"
    config.supernet.update(cells=1, channels=2)
    config.search.update(epochs=2, batch_size=8)
    config.data.images = 32
    config.benchmark.update(
        table=str(path), dataset="cifar100", split="valid", epochs=12
    )
    found = darts_jax.search(config, tmp_path / "run")
    for record, alpha in zip(found.records, found.alpha["normal"], strict=True):
        # In this space argmax includes none; edges by (target, source), as in EDGES.
        row = int(np.dot(alpha.argmax(-1), 5 ** np.arange(5, -1, -1)))
        assert record["benchmark_accuracy"] == scores[row]
    told = f"{scores[row]:.2f} % by NAS-Bench-201, cifar100 valid after 12 epochs"
    assert told in capsys.readouterr().err
    config.benchmark.dataset = "cifar10"
    with pytest.raises(InputError, match=r"unknown benchmark\.dataset 'cifar10'"):
        darts_jax.search(config, tmp_path / "other")
    assert not (tmp_path / "other").exists()
