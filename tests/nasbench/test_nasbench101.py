"""NAS-Bench-101: its official files, its graphs, and the 1Shot1 spaces in it."""

import itertools

import jax
import numpy as np
import pytest

import darts_jax
from darts_jax.baselines import BASELINES, Budget
from darts_jax.errors import InputError
from darts_jax.models.functional import count_parameters
from darts_jax.models.supernet import Supernet
from darts_jax.nasbench import load_table
from darts_jax.nasbench.convert import convert
from darts_jax.nasbench.nasbench101 import EDGES, graph_keys
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import KeptEdge
from darts_jax.spaces.moves import assemble_genotype, sample_genotype
from darts_jax.spaces.nasbench1shot1 import BLOCKS, PARENTS, PROJECTION
from darts_jax.workflows.oracles import make_table_oracle
from tests.support.official import training_record, write_tfrecord

INPUT, OUTPUT = "input", "output"
POOL, ONE, THREE = "maxpool3x3", "conv1x1-bn-relu", "conv3x3-bn-relu"
# A cell of 1Shot1's space 1, one of five vertices, and the input alone.
CELLS = [
    (
        [
            [0, 1, 1, 1, 0, 0],
            [0, 0, 1, 1, 0, 1],
            [0, 0, 0, 0, 0, 1],
            [0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0],
        ],
        (INPUT, THREE, ONE, POOL, POOL, OUTPUT),
    ),
    (
        [
            [0, 1, 1, 0, 0],
            [0, 0, 0, 1, 0],
            [0, 0, 0, 0, 1],
            [0, 0, 0, 0, 1],
            [0, 0, 0, 0, 0],
        ],
        (INPUT, POOL, THREE, ONE, OUTPUT),
    ),
    ([[0, 1], [0, 0]], (INPUT, OUTPUT)),
]


def pruned(matrix, operations):
    """Leaves out the vertices on no path from input to output."""
    matrix = np.array(matrix)
    size = len(matrix)
    reach = np.linalg.matrix_power(matrix + np.eye(size, dtype=int), size) > 0
    kept = [v for v in range(size) if reach[0, v] and reach[v, size - 1]]
    return matrix[np.ix_(kept, kept)], tuple(operations[v] for v in kept)


def accuracy_of(cell, epochs, repeat, part):
    rng = np.random.default_rng([cell, epochs, repeat, part])
    return float(rng.uniform(0.1, 0.95))


def official(path, cells=CELLS, lengths=(36, 108)):
    records = [
        training_record(
            *pruned(*cell),
            epochs,
            1000 + i,
            100.0 * i + epochs + repeat,
            accuracy_of(i, epochs, repeat, 0),
            accuracy_of(i, epochs, repeat, 1),
        )
        for i, cell in enumerate(cells)
        for epochs in lengths
        for repeat in range(3)
    ]
    return write_tfrecord(path, records)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    place = tmp_path_factory.mktemp("official")
    arrays = convert("nasbench101", official(place / "nasbench_full.tfrecord"))
    np.savez(place / "nasbench101_table.npz", **arrays)
    return load_table(place / "nasbench101_table.npz")


def test_a_table_has_the_means_of_the_official_file(table):
    assert len(table) == 3
    for i, epochs in itertools.product(range(3), (36, 108)):
        for part, split in enumerate(("valid", "test")):
            each = [accuracy_of(i, epochs, r, part) for r in range(3)]
            got = table.column("cifar10", split, epochs)[i]
            assert got == pytest.approx(100 * np.mean(each), rel=1e-6)
        seconds = table.columns[f"train_seconds_{epochs}_cifar10"][i]
        assert seconds == 100 * i + epochs + 1
        assert table.columns[f"n_seeds_{epochs}"][i] == 3
    assert table.columns["parameters"].tolist() == [1000, 1001, 1002]
    np.testing.assert_array_equal(table.column(), table.column(epochs=108))


def test_every_row_is_a_genotype_that_is_found_again(table):
    for row in range(len(table)):
        genotype = table.genotype(row)
        assert genotype.space == "nasbench101"
        assert table.row(genotype) == row


def one_shot(parents, operations, space="nasbench1shot1_1"):
    """The genotype of a 1Shot1 cell: parents of the blocks and the output."""
    last = len(parents)
    choices = [
        KeptEdge(2 * b, 2 * b - 1, op) for b, op in enumerate(operations, start=1)
    ]
    for vertex, of in enumerate(parents, start=1):
        for parent in of:
            end = 2 * last - 1 + parent if vertex == last else 2 * vertex - 1
            operation = "skip_connect" if parent else PROJECTION
            choices.append(KeptEdge(end, 2 * parent, operation))
    return assemble_genotype(get_space(space), [("normal", c) for c in choices])


def test_a_one_shot_genotype_is_the_graph_that_its_parents_say(table):
    # Block 3 and 4 lead nowhere, whatever they are.
    for loose in BLOCKS:
        genotype = one_shot(
            [(0,), (0, 1), (0, 1), (1, 3), (1, 2)],
            ["conv_bn_relu_3x3", "conv_bn_relu_1x1", "max_pool_3x3", loose],
        )
        assert table.row(genotype) == 0
    # The same with the blocks' numbers exchanged where that is possible.
    swapped = one_shot(
        [(0,), (0, 1), (0, 1), (1, 3), (1, 3)],
        ["conv_bn_relu_3x3", "max_pool_3x3", "conv_bn_relu_1x1", "max_pool_3x3"],
    )
    assert table.row(swapped) == 0
    other = one_shot(
        [(0,), (0, 1), (0, 1), (1, 3), (1, 3)],
        ["conv_bn_relu_3x3", "max_pool_3x3", "conv_bn_relu_3x3", "max_pool_3x3"],
    )
    with pytest.raises(InputError, match="the table has no cell of 5 edges"):
        table.row(other)


def matrix_of(graph):
    matrix = np.zeros((7, 7), int)
    for on, edge in zip(graph, EDGES, strict=True):
        matrix[edge] = on
    return matrix


def test_keys_agree_if_and_only_if_graphs_are_isomorphic(table):
    rng = np.random.default_rng(0)
    space = get_space("nasbench101")
    seen = [table._graph_of(sample_genotype(space, rng)) for _ in range(40)]
    # Near relatives, of which some are the same graph.
    seen += [
        table._graph_of(sample_genotype(get_space("nasbench1shot1_1"), rng))
        for _ in range(60)
    ]
    keys = [int(graph_keys(g[None], b[None], 3)[0]) for g, b in seen]
    brute = []
    for graph, blocks in seen:
        matrix = matrix_of(graph)
        forms = set()
        for order in itertools.permutations(range(1, 6)):
            place = [0, *order, 6]
            forms.add(
                (
                    matrix[np.ix_(place, place)].tobytes(),
                    tuple(blocks[np.array(order) - 1]),
                )
            )
        brute.append(min(forms))
    for i, j in itertools.combinations(range(len(seen)), 2):
        assert (keys[i] == keys[j]) == (brute[i] == brute[j])
    assert len(set(keys)) < len(seen)


def test_the_spaces_have_the_counts_of_their_parents():
    count = {}
    for name, parents in PARENTS.items():
        (cell,) = get_space(name).cells.values()
        assert sum(parents) <= 9
        count[name] = 3 ** (len(parents) - 1)
        for contest in cell.contests:
            pairs = itertools.combinations(contest.edges, contest.keeps)
            count[name] *= len(list(pairs))
    assert list(count.values()) == [14_580, 29_160, 1_312_200]


@pytest.mark.parametrize(
    "damage", ["cut", "cut in a length", "flipped", "text", "other"]
)
def test_a_bad_official_file_gets_one_line(tmp_path, damage):
    path = official(tmp_path / "nasbench_only108.tfrecord", lengths=(108,))
    data = bytearray(path.read_bytes())
    told = "is truncated"
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "cut in a length":
        data = data[:-1] + data[:5]
    elif damage == "flipped":
        data[len(data) // 2] ^= 4
        told = "is damaged before byte"
    elif damage == "text":
        data, told = b"not a record at all, but a page", "is no TFRecord file"
    else:
        write_tfrecord(path, [b"{}"])
        data = path.read_bytes()
        told = "record 0 of .* is no training"
    path.write_bytes(bytes(data))
    if damage == "cut in a length":
        told = "truncated|damaged"
    with pytest.raises(InputError, match=told) as caught:
        convert("nasbench101", path)
    assert "\n" not in str(caught.value)


def test_what_official_files_or_tables_lack_is_said(tmp_path):
    with pytest.raises(InputError, match="no NAS-Bench-101 data at"):
        convert("nasbench101", tmp_path / "absent.tfrecord")
    path = official(tmp_path / "cells.tfrecord", lengths=(108,))
    one = training_record(*pruned(*CELLS[1]), 36, 5, 1.0, 0.5, 0.5)
    write_tfrecord(tmp_path / "one.tfrecord", [one])
    both = path.read_bytes() + (tmp_path / "one.tfrecord").read_bytes()
    path.write_bytes(both)
    with pytest.raises(InputError, match="lacks trainings of 36 epochs of cell 0"):
        convert("nasbench101", path)
    arrays = convert("nasbench101", official(path))
    for name, value, told in (
        ("graph", None, "lacks graph"),
        ("graph", arrays["graph"].astype(int), "want bool"),
        ("blocks", arrays["blocks"] + 9, "whole numbers up to 3"),
        ("benchmark", np.array("nasbench100"), "nearest|unknown benchmark"),
    ):
        changed = {**arrays, name: value}
        place = tmp_path / f"{name}_{told[:4]}.npz"
        np.savez(place, **{k: v for k, v in changed.items() if v is not None})
        with pytest.raises(InputError, match=told) as caught:
            load_table(place)
        assert "\n" not in str(caught.value)


def graphs_of_space_1(path):
    """An official file of all cells of 1Shot1's space 1, each with its own accuracy."""
    found = {}
    for parents in itertools.product(
        [(0,)],
        [(0, 1)],
        itertools.combinations(range(3), 2),
        itertools.combinations(range(4), 2),
        itertools.combinations(range(5), 2),
    ):
        matrix = np.zeros((6, 6), int)
        for vertex, of in enumerate(parents, start=1):
            matrix[list(of), vertex] = 1
        for operations in itertools.product((POOL, ONE, THREE), repeat=4):
            small, names = pruned(matrix, (INPUT, *operations, OUTPUT))
            found[small.tobytes(), names] = small
    unique = {}
    for (_, names), matrix in found.items():
        unique.setdefault(form(matrix, names), (matrix, names))
    records = [
        training_record(matrix, names, 108, i, 10.0, 0.5, i / 10_000)
        for i, (matrix, names) in enumerate(unique.values())
    ]
    return write_tfrecord(path, records)


def form(matrix, names):
    """The least of a graph's forms under exchange of its blocks."""
    inner = range(1, len(names) - 1)
    return min(
        (
            len(names),
            tuple(names[v] for v in order),
            matrix[
                np.ix_([0, *order, len(names) - 1], [0, *order, len(names) - 1])
            ].tobytes(),
        )
        for order in itertools.permutations(inner)
    )


@pytest.fixture(scope="module")
def space_1(tmp_path_factory):
    place = tmp_path_factory.mktemp("space_1")
    arrays = convert("nasbench101", graphs_of_space_1(place / "all.tfrecord"))
    np.savez(place / "nasbench101_table.npz", **arrays)
    return place / "nasbench101_table.npz"


@pytest.mark.parametrize("by", ["random_search", "evolution", "local_search"])
def test_baselines_search_the_table(space_1, by):
    known = load_table(space_1)
    evaluate = make_table_oracle(known)
    budget = Budget(evaluations=30)
    rng = np.random.default_rng(0)
    trace = BASELINES[by](get_space("nasbench1shot1_1"), evaluate, budget, rng)
    assert trace.cost == 300
    for asked in trace.asked:
        row = known.row(asked.genotype)
        assert asked.score == known.column(split="valid")[row]


@pytest.mark.slow
def test_every_epoch_of_a_search_in_space_1_is_scored(space_1, tmp_path):
    config = darts_jax.default_config()
    config.space = "nasbench1shot1_1"
    config.supernet.update(cells=1, channels=4)
    config.search.update(epochs=2, batch_size=8, edge_weights=True)
    config.data.images = 32
    config.benchmark.table = str(space_1)
    found = darts_jax.search(config, tmp_path / "run")
    known = load_table(space_1)
    last = known.accuracy(found.genotype)
    assert found.records[-1]["benchmark_accuracy"] == last
    assert len({record["epoch"] for record in found.records}) == 2
    assert all("benchmark_accuracy" in record for record in found.records)


@pytest.mark.parametrize("space", ["nasbench1shot1_1", "nasbench1shot1_3"])
def test_a_supernet_has_the_parameters_of_its_layers(space):
    """A projection for each edge from the input, three operations for each block."""
    blocks = len(PARENTS[space]) - 1
    net = Supernet(get_space(space), 10, 3, 16)
    key = jax.random.key(0)
    made = jax.eval_shape(lambda: darts_jax.initialize_supernet(net, key, (32, 32, 3)))
    total = 27 * 16 + 2 * 16
    before = 16
    for width in (16, 32, 64):
        for _ in range(3):
            total += (blocks + 1) * before * width + blocks * (1 + 9) * width**2
            before = (blocks + 1) * width
    total += (before + 1) * 10
    assert count_parameters(made.params) == total
    assert total == {4: 982_874, 5: 1_291_482}[blocks]
