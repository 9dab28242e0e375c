"""NATS-Bench's sizes: official files, the space, and a search in it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import darts_jax
from darts_jax.baselines import BASELINES, Budget
from darts_jax.bilevel.discretization import one_hot
from darts_jax.cost.expected import get_price, make_empty_network, make_expected_cost
from darts_jax.errors import InputError
from darts_jax.models.functional import count_parameters
from darts_jax.models.network import Network
from darts_jax.models.supernet import Supernet
from darts_jax.nasbench import load_table
from darts_jax.nasbench.convert import convert
from darts_jax.spaces import get_space
from darts_jax.spaces.fit import check_genotype
from darts_jax.spaces.moves import sample_genotype
from darts_jax.workflows.oracles import make_table_oracle
from tests.support.official import (
    assert_nats_accuracies,
    nats_results,
    write_nats,
    write_nats_benchmark,
)

NETWORKS = ["8:16:24:32:40", "64:64:64:64:64", "64:8:64:8:16"]
LENGTHS = {1: "01", 12: "12", 90: "90"}
SPACE = get_space("nats_size")


@pytest.fixture(scope="module", params=["", "NATS-sss-v1_0-50262.pickle.pbz2"])
def official(request, tmp_path_factory):
    utils = pytest.importorskip(
        "nats_bench.api_utils",
        reason="nats_bench, whose format is written, is not installed",
    )
    place = tmp_path_factory.mktemp("official")
    infos = {
        i: {name: nats_results(utils, i, text, n) for n, name in LENGTHS.items()}
        for i, text in enumerate(NETWORKS)
    }
    return write_nats_benchmark(place, infos, NETWORKS, request.param)


def test_official_files_become_a_table(official, tmp_path):
    np.savez(tmp_path / "table.npz", **convert("nats_size", official))
    table = load_table(tmp_path / "table.npz")
    for i, text in enumerate(NETWORKS):
        genotype = check_genotype(table.genotype(i))
        widths = genotype.widths_in(SPACE.macro, 64)
        assert ":".join(str(w) for k, w in widths.items() if k != "stem") == text
        assert widths["stem"] == int(text.partition(":")[0])
        assert table.row(genotype) == i
        columns = (
            (("cifar10", "test", 90), ("cifar10", "ori-test"), (777, 888)),
            (("cifar10", "valid", 12), ("cifar10-valid", "x-valid"), (777,)),
            (("cifar100", "test", 1), ("cifar100", "x-test"), (777, 888)),
            (
                ("imagenet16_120", "valid", 90),
                ("ImageNet16-120", "x-valid"),
                (777, 888),
            ),
        )
        assert_nats_accuracies(table, i, genotype, columns)
    assert table.longest("cifar10") == 90


def test_bad_files_get_one_line(tmp_path):
    pytest.importorskip(
        "nats_bench",
        reason="nats_bench, whose results are compared with, is not installed",
    )
    path = tmp_path / "NATS-sss-v1_0-50262.pickle.pbz2"
    write_nats(path, {"meta_archs": NETWORKS, "arch2infos": {}})
    with pytest.raises(InputError, match="lack architecture 0"):
        convert("nats_size", path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InputError, match="is damaged") as caught:
        convert("nats_size", path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="want the folder NATS-sss-v1_0-50262-simple"):
        convert("nats_size", tmp_path)


def parameters_by_hand(widths, classes=10):
    """Counts the benchmark's network: stem, layers, last BN, classifier."""

    def conv(inputs, outputs, kernel):
        return kernel**2 * inputs * outputs

    def conv_bn(inputs, outputs, kernel=3):
        return conv(inputs, outputs, kernel) + 2 * outputs

    total = conv_bn(3, widths[0])
    before = widths[0]
    for layer, width in enumerate(widths):
        if layer % 2:
            total += conv_bn(before, width) + conv_bn(width, width)
            total += conv(before, width, 1)
        else:
            total += 2 * conv_bn(before, width) + 3 * conv_bn(width, width)
            total += conv_bn(before, width, 1) if before != width else 0
        before = width
    return total + 2 * before + (before + 1) * classes


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_network_has_the_benchmarks_parameters_and_its_expected_cost(seed):
    genotype = sample_genotype(SPACE, np.random.default_rng(seed))
    net = Network(genotype, SPACE.macro, 10, 1, 64)
    key = jax.random.key(0)
    shapes = jax.eval_shape(
        lambda: net.init(
            {"params": key, "drop_path": key},
            jnp.zeros((2, 16, 16, 3)),
            jnp.zeros(()),
            False,
        )
    )
    widths = genotype.widths_in(SPACE.macro, 64)
    by_hand = parameters_by_hand([widths[kind] for kind in SPACE.cells])
    assert count_parameters(shapes["params"]) == by_hand
    empty = make_empty_network(SPACE, 10, 1, 64)
    expected = make_expected_cost(SPACE, empty, (16, 16, 3), get_price("parameters"))
    weights = one_hot(SPACE, genotype).weights
    cost = expected({k: w.astype(np.float64) for k, w in weights.items()})
    assert cost == pytest.approx(by_hand / 1e6, rel=1e-9)


def test_the_supernets_stem_is_as_narrow_as_its_first_layer():
    net = Supernet(SPACE, 10, 1, 64)
    key = jax.random.key(0)
    images = jax.random.normal(key, (2, 8, 8, 3))
    weights = {k: jnp.asarray(c.mask, jnp.float32) for k, c in SPACE.cells.items()}
    for kind, cell in SPACE.cells.items():
        narrowest = jnp.arange(8) == (0 if kind == "stage_1" else 7)
        weights[kind] = (
            weights[kind].at[cell.width_edge].set(narrowest.astype(jnp.float32))
        )
    mixture = darts_jax.Mixture(weights)
    made = darts_jax.initialize_supernet(net, key, (8, 8, 3))

    def logits(params):
        variables = {"params": params, "batch_stats": made.stats}
        return net.apply(variables, images, mixture, False)

    before = logits(made.params)
    for first, same in ((8, True), (7, False)):
        params = jax.tree.map(jnp.asarray, made.params)
        stem = params["stem"]["Conv_0"]
        stem["kernel"] = stem["kernel"].at[..., first:].set(9)
        assert np.array_equal(before, logits(params)) == same


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("sizes") / "nats_size_table.npz"
    channels = np.array(list(itertools.product(range(8, 72, 8), repeat=5)), np.uint8)
    scores = np.random.default_rng(0).permutation(len(channels)).astype(np.float32)
    np.savez(
        path,
        benchmark="nats_size",
        channels=channels,
        cifar10_test_90=scores,
        cifar10_valid_12=scores / 2,
        train_seconds_12_cifar10=np.full(len(channels), 3, np.float32),
    )
    return path


@pytest.mark.parametrize("by", ["random_search", "evolution"])
def test_baselines_search_the_table(table, by):
    known = load_table(table)
    evaluate = make_table_oracle(known)
    rng = np.random.default_rng(0)
    trace = BASELINES[by](SPACE, evaluate, Budget(evaluations=30), rng)
    assert trace.cost == 90
    best = known.accuracy(trace.best.genotype, "cifar10", "valid", 12)
    assert best == max(asked.score for asked in trace.asked)


@pytest.mark.slow
def test_every_epoch_of_a_search_is_scored(table, tmp_path):
    config = darts_jax.default_config()
    config.space = "nats_size"
    config.supernet.update(cells=1, channels=64)
    config.search.update(epochs=2, batch_size=8)
    config.data.images = 32
    config.benchmark.table = str(table)
    found = darts_jax.search(config, tmp_path / "run")
    scores = load_table(table).column()
    for epoch, record in enumerate(found.records):
        row = 0
        for kind, cell in SPACE.cells.items():
            row = 8 * row + found.alpha[kind][epoch][cell.width_edge].argmax()
        assert record["benchmark_accuracy"] == scores[row]
