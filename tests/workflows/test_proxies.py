"""`proxies`: scores of a space's networks, resumed, beside the truth of a table."""

import csv
import dataclasses
import json

import numpy as np
import pytest

import darts_jax
from darts_jax.analysis.ranking import rank_agreement
from darts_jax.cli.main import main
from darts_jax.cost.networks import network_cost
from darts_jax.errors import InputError
from darts_jax.models.network import Network
from darts_jax.settings.config import flatten
from darts_jax.spaces.graph import Cell, dense_edges
from darts_jax.spaces.nasbench201 import MACRO, NASBENCH201, OPERATIONS
from darts_jax.training import proxy_scores
from darts_jax.workflows import proxies as workflow
from darts_jax.workflows.score import list_paths
from tests.support.tables import EDGES

NAMES = ("params", "flops", "l2_norm")


@pytest.fixture(scope="module")
def small():
    """The space with one stage, whose edges have two operations: 64 cells."""
    one_stage = dataclasses.replace(MACRO, layout=lambda cells: ("normal",) * cells)
    cell = Cell(1, 3, dense_edges(1, 3, ("skip_connect", "nor_conv_1x1")), output=(3,))
    space = dataclasses.replace(
        NASBENCH201, cells={"normal": cell}, macro=one_stage, supernet_variants={}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(darts_jax.SPACES, "nasbench201", space)
        patch.setattr(workflow, "_AT_ONCE", 4)
        yield space


@pytest.fixture
def config(small, tmp_path):
    settings = darts_jax.default_config()
    settings.space = "nasbench201"
    settings.proxies.batch_size = 8
    settings.retrain.update(cells=1, channels=4)
    settings.benchmark.table = str(make_table(small, tmp_path))
    settings.benchmark.dataset = "cifar10"
    return settings


def make_table(space, place):
    """Makes up an accuracy of every cell."""
    genotypes = list_paths(space, 0, 0)
    codes = [
        [OPERATIONS.index(choice.operation) for choice in g.cells["normal"].choices]
        for g in genotypes
    ]
    path = place / "table.npz"
    accuracy = np.random.default_rng(0).uniform(50, 90, len(codes)).astype(np.float32)
    arrays = {"ops": np.array(OPERATIONS), "edges": np.array(EDGES)}
    arrays |= {"arch": np.array(codes, np.uint8), "cifar10_test_200": accuracy}
    arrays |= {"cifar10_valid_12": accuracy, "train_seconds_200_cifar10": accuracy}
    np.savez(path, **arrays)
    return path


def test_scores_beside_the_truth_and_on_after_a_stop(
    config, small, tmp_path, monkeypatch
):
    whole = darts_jax.score_untrained(
        config, tmp_path / "whole", NAMES, sample=10, fit=5
    )
    assert [len(whole.scores[name]) for name in NAMES] == [10, 10, 10]
    for genotype, parameters, macs in zip(
        whole.genotypes, whole.scores["params"], whole.scores["flops"], strict=True
    ):
        cost = network_cost(Network(genotype, small.macro, 10, 1, 4), (8, 8, 1))
        assert (parameters, macs) == (cost.parameters, cost.macs)
    expected = rank_agreement(whole.scores["l2_norm"], whole.truth)
    assert whole.agreement["l2_norm"] == expected
    assert {"mean of ranks", "ridge on 5"} < set(whole.agreement)
    summary = json.loads((tmp_path / "whole" / "proxies.json").read_text())
    assert summary["correlations"][2]["spearman"] == pytest.approx(expected[0].value)
    with (tmp_path / "whole" / "proxies.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["truth"]) for row in rows] == whole.truth.tolist()
    assert darts_jax.read_genotype(rows[3]["genotype"]) == whole.genotypes[3]

    calls = []

    class Stopped(Exception):
        pass

    def stop_at_second(*arguments):
        score = proxy_scores.make_proxy_scores(*arguments)

        def counted(genotypes):
            calls.append(len(genotypes))
            if len(calls) == 2:
                raise Stopped
            return score(genotypes)

        return counted

    monkeypatch.setattr(workflow, "make_proxy_scores", stop_at_second)
    part = tmp_path / "part"
    with pytest.raises(Stopped):
        darts_jax.score_untrained(config, part, NAMES[:2], sample=10)
    darts_jax.score_untrained(config, part, NAMES[:2], sample=10)
    again = darts_jax.score_untrained(config, part, NAMES, sample=10)
    assert calls == [4] * 7  # 1 and a stop, 2 to its end, 3 of the third proxy
    for name in NAMES:
        assert again.scores[name].tobytes() == whole.scores[name].tobytes()
    with pytest.raises(InputError, match="another sample"):
        darts_jax.score_untrained(config, part, NAMES, sample=9)


def test_scores_begin_a_baseline(config, tmp_path, capsys):
    place, part = tmp_path / "all", tmp_path / "part"
    whole = darts_jax.score_untrained(config, place, NAMES[:2])
    assert len(whole.genotypes) == 64
    best = whole.genotypes[int(np.argmax(whole.scores["params"]))]
    for given in (f"{place}:params", "params"):
        settings = [f"--config.{key}={value}" for key, value in flatten(config)]
        command = ["baseline", "--by", "random_search", "--on", "table", *settings]
        run = tmp_path / given.replace("/", "_")
        ended = ["--evaluations", "2", "--run", str(run), "--proxies", given]
        assert main([*command, *ended]) == 0
        trace = json.loads((run / "trace.json").read_text())
        first = darts_jax.read_genotype(json.dumps(trace["asked"][0]["genotype"]))
        assert first == best
    darts_jax.score_untrained(config, part, NAMES[:2], sample=10)
    capsys.readouterr()
    for given, said in (
        (f"{part}", "does not have the scores of every genotype"),
        (f"{place}:naswot", "has no scores by naswot; it has params, flops"),
        ("naswott", "naswot"),
    ):
        refused = [
            "--evaluations",
            "2",
            "--run",
            str(tmp_path / "r"),
            "--proxies",
            given,
        ]
        assert main([*command, *refused]) == 2
        assert said in capsys.readouterr().err


def test_user_finds_what_is_wrong(config, tmp_path, capsys):
    with pytest.raises(InputError, match="naswot"):
        darts_jax.score_untrained(config, tmp_path / "a", ["nas_wot"])
    with pytest.raises(InputError, match="fit is 9; want 3 to 7"):
        darts_jax.score_untrained(config, tmp_path / "b", NAMES, sample=10, fit=9)
    config.proxies.batch_size = 10**6
    with pytest.raises(InputError, match="training images"):
        darts_jax.score_untrained(config, tmp_path / "c", NAMES, sample=10)
    run = ["--run", str(tmp_path / "d"), "--proxies", "params"]
    assert main(["proxies", "--config.task=language", *run]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_proxy_of_the_users_own_joins_the_others(config, tmp_path, monkeypatch):
    def mean_image(network, batch):
        return (
            batch.images.mean()
            + 0
            * network.apply(
                network.params, network.stats, batch.images, train=True
            ).sum()
        )

    monkeypatch.setitem(darts_jax.PROXIES, "mean_image", mean_image)
    found = darts_jax.score_untrained(
        config, tmp_path / "own", ["mean_image"], sample=4
    )
    assert np.ptp(found.scores["mean_image"]) < 1e-6
    assert np.isnan(found.agreement["mean_image"].spearman.value)
