"""Searches and trainings that find objects, on a dozen generated scenes."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import darts_jax
from darts_jax.bilevel.discretization import one_hot, random_genotype
from darts_jax.cli.main import main
from darts_jax.data.pipeline import mirror
from darts_jax.errors import InputError
from darts_jax.models.functional import count_parameters
from darts_jax.settings.config_files import load_config
from darts_jax.spaces.graph import Genotype
from darts_jax.tasks.detection import boxes
from darts_jax.tasks.detection.average_precision import Found, Truth, average_precision
from darts_jax.tasks.detection.criterion import make_detection_criterion
from darts_jax.tasks.detection.head import Located, Reading, detect
from darts_jax.tasks.detection.task import make_detector
from darts_jax.tasks.registry import get_task, load_data, make_search, make_training
from darts_jax.training import loop
from darts_jax.training.directory import RunDirectory
from darts_jax.training.metrics import read_metrics
from darts_jax.training.restore import restore_network
from darts_jax.workflows.retrain_result import read_retrained
from tests.support.commands import cut, flags
from tests.support.reference import slow_overlap
from tests.support.tiny import quick_jit, tiny_space

SIZE = 16
SETTINGS = [
    *("task=detection", "space=tiny", "data.name=generated:digits"),
    *(f"detection.side={SIZE}", "detection.scenes=12", "detection.test_scenes=5"),
    *("detection.boxes=2", "detection.channels=4", "detection.candidates=20"),
    *("supernet.cells=1", "supernet.channels=4", "data.flip=true"),
    *("search.epochs=1", "search.batch_size=2"),
    *("retrain.cells=1", "retrain.channels=4", "retrain.epochs=2"),
    *("retrain.batch_size=4", "retrain.pad=0", "retrain.cutout=0"),
    *("retrain.auxiliary_weight=0", "baseline.random_genotypes=1"),
    "baseline.equal_cost=macs",
]


@pytest.fixture(scope="module", autouse=True)
def small_space():
    with pytest.MonkeyPatch.context() as patch:
        space = tiny_space(("skip_connect", "nor_conv_3x3"))
        patch.setitem(darts_jax.SPACES, "tiny", space)
        yield


def made(settings=()):
    config = load_config(None, [*SETTINGS, *settings])
    return config, load_data(config)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main(["run", "--run", str(run), *flags(SETTINGS)]) == 0
    return run


def test_a_run_searches_trains_and_tests(finished, capsys):
    summary = json.loads((finished / "summary.json").read_text())
    assert [n["name"] for n in summary["networks"]] == ["retrain", "random_0"]
    for network in summary["networks"]:
        assert 0 <= network["test_ap"] <= network["test_ap_50"] <= 1
    searched, other = (network["cost"] for network in summary["networks"])
    assert other == searched > 0
    assert summary["cost"] == "million multiply-accumulates"
    read = read_retrained(finished)
    assert str(read) == (finished / "summary.txt").read_text()
    assert read.network.cost == searched
    assert "Scenes are generated" in summary["note"]
    records = read_metrics(finished / "metrics.jsonl")
    for record in records:
        assert np.isfinite(record["loss"])
        assert 0 <= record["held_out_ap"] <= record["held_out_ap_50"] <= 1
        assert record["images_per_second"] > 0
        assert "accuracy" not in record
    losses = [r["loss"] for r in records if r["verb"] == "retrain"]
    assert losses[1] < losses[0]
    capsys.readouterr()
    assert main(["evaluate", "--run", str(finished), *flags(SETTINGS)]) == 0
    told = 100 * summary["networks"][0]["test_ap"]
    assert capsys.readouterr().out == f"test ap {told:.2f} %\n"


def test_a_detector_finds_what_the_test_found(finished):
    config, dataset = made()
    genotype = Genotype.from_json((finished / "genotype.json").read_text())
    job = make_training(config, dataset, genotype)
    state = restore_network(RunDirectory(finished), job)
    find = make_detector(config, dataset, genotype)
    test = dataset.test
    boxes_, labels, scores = map(np.asarray, jax.jit(find)(state, test.images))
    assert boxes_.shape == (5, 20, 4)
    assert (boxes_ >= 0).all()
    assert (boxes_ <= SIZE).all()
    summary = json.loads((finished / "summary.json").read_text())
    truth = Truth(test.boxes, test.labels, test.present, test.crowd)
    score = average_precision(Found(boxes_, labels, scores), truth)
    assert score == pytest.approx(summary["networks"][0]["test_ap"], abs=1e-3)


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_with_the_same_bits(
    finished, tmp_path, monkeypatch
):
    run = tmp_path / "cut"
    search, retrain = (
        [verb, "--run", str(run), *flags(SETTINGS)] for verb in ("search", "retrain")
    )
    cut(monkeypatch, 1, search)
    assert main(search) == 0
    cut(monkeypatch, 4, retrain)
    assert main(retrain) == 0
    one, other = ((path / "summary.json").read_text() for path in (run, finished))
    assert one == other


def steps(job, count=2):
    """A job's first state, and the state and sums after some steps."""
    state = loop.initial_tree(job)["state"]
    ((_, data),) = job.feed.open(job.layout)(0, 0)
    bounds = (np.int32(n) for n in (0, 0, count))
    after = quick_jit(job.run)(state, job.empty_totals(), data, job.scalars(0), *bounds)
    return state, *after


CHOICES = {
    "exact": ["search.hypergradient=exact"],
    "rewards": [
        "search.architecture.rule=reinforce",
        "search.microbatches=2",
        "search.relaxation=sampled_gumbel",
    ],
    "perturbed": [
        "search.relaxation=dirichlet",
        "search.perturbation=random",
        "search.radius=0.1",
        "search.terms.expected_cost=0.1",
        "search.terms.entropy=0.1",
        "supernet.dtype=bfloat16",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOICES)
def test_the_choices_of_a_search_are_those_of_classification(name):
    before, after, totals = steps(make_search(*made(CHOICES[name])))
    assert np.isfinite(float(totals["loss"]))
    assert float(totals["count"]) == 4
    assert np.isfinite(after.alpha["normal"]).all()
    assert not np.array_equal(after.alpha["normal"], before.alpha["normal"])
    assert (float(after.baseline) > 0) == (name == "rewards")


def scenes(count=3, side=24, max_boxes=3):
    settings = {"scenes": count, "side": side, "boxes": max_boxes}
    changed = [f"detection.{key}={value}" for key, value in settings.items()]
    return made(changed)[1].train


def test_what_is_said_rightly_of_every_location_is_found_rightly():
    """A head that says what `assign` asks of it has precision 1 at all thresholds."""
    config, dataset = made(["detection.boxes=3", "detection.scenes=6"])
    train, (rows, columns) = dataset.train, (SIZE // 2, SIZE // 2)
    grid = boxes.make_grid((SIZE, SIZE), (rows, columns))

    def say(*marks):
        wanted = boxes.assign(grid, *marks, radius=1.5)
        hot = jax.nn.one_hot(wanted.labels, 10)
        hot = jnp.where(wanted.positive[:, None], hot, 0)
        sides = boxes.encode(grid, wanted.boxes)
        centre = jnp.where(wanted.positive, wanted.centreness, 0.01)
        logit = jnp.log(centre + 1e-6) - jnp.log1p(1e-6 - centre)
        said = 40 * hot - 20, sides, logit[:, None]
        return [x.reshape(rows, columns, -1) for x in said]

    marks = train.boxes, train.labels, train.present, train.crowd
    said = Located(*jax.jit(jax.vmap(say))(*marks))
    reading = Reading(40, 0.05, 0.6)
    found = jax.jit(detect, static_argnums=(1, 2))(said, (SIZE, SIZE), reading)
    assert found.scores.shape == (6, 40)
    score = get_task(config).scores[0]
    assert score.compute((found, marks), 6) == 1
    # Of what stands behind the images nothing counts.
    more = jax.tree.map(lambda x: np.concatenate([x, x[::-1]]), (found, marks))
    more[1][2][6:] = False
    assert score.compute(more, 6) == 1
    assert score.compute(more, 12) < 1


def some_genotype():
    return random_genotype(darts_jax.SPACES["tiny"], np.random.default_rng(0))


def test_the_loss_is_that_of_a_slow_account():
    config, dataset = made()
    criterion = make_detection_criterion(config.detection)
    rng = np.random.default_rng(0)
    part = jax.tree.map(lambda x: x[:3], dataset.train)
    said = Located(
        rng.normal(-2, 1, (3, 4, 4, 10)).astype(np.float32),
        rng.uniform(0.2, 2, (3, 4, 4, 4)).astype(np.float32),
        rng.normal(0, 1, (3, 4, 4, 1)).astype(np.float32),
    )
    grid = boxes.make_grid((SIZE, SIZE), (4, 4))
    assign = jax.jit(functools.partial(boxes.assign, radius=1.5))
    total, count, rewards = 0.0, 0, []
    for i in range(3):
        marks = (x[i] for x in (part.boxes, part.labels, part.present, part.crowd))
        wanted = jax.tree.map(np.asarray, assign(grid, *marks))
        found = np.asarray(boxes.decode(grid, said.sides[i].reshape(16, 4)))
        own = []
        for j in range(16):
            p = 1 / (1 + np.exp(-said.classes[i].reshape(16, 10)[j].astype(float)))
            asked = np.arange(10) == wanted.labels[j]
            asked &= bool(wanted.positive[j])
            yes = -0.25 * (1 - p) ** 2 * np.log(p)
            no = -0.75 * p**2 * np.log(1 - p)
            total += np.where(asked, yes, no).sum()
            if wanted.positive[j]:
                overlap, generalized = slow_overlap(found[j], wanted.boxes[j])
                total += 2 * (1 - generalized)
                q = 1 / (1 + np.exp(-float(said.centreness[i].reshape(16)[j])))
                c = wanted.centreness[j]
                total -= c * np.log(q) + (1 - c) * np.log(1 - q)
                count += 1
                own.append(float(p[asked][0]) * overlap)
        rewards.append(np.mean(own) if own else 0.0)
    assert count > 3
    assert criterion.loss(said, part, {}) == pytest.approx(total / count, rel=1e-4)
    np.testing.assert_allclose(criterion.rewards(said, part), rewards, rtol=1e-4)
    # Without any box nothing is divided by nothing.
    empty = part.replace(present=np.zeros_like(part.present))
    assert np.isfinite(criterion.loss(said, empty, {}))
    np.testing.assert_array_equal(criterion.rewards(said, empty), 0)


def test_boxes_are_mirrored_with_their_images():
    given = scenes(16)
    # What is drawn is brighter than any ground.
    turned = jax.jit(mirror)(jax.random.key(0), given)
    changed = np.asarray(turned.images != given.images).any((1, 2, 3))
    assert 2 < changed.sum() < 14
    np.testing.assert_array_equal(
        np.asarray(turned.images)[changed], given.images[changed][:, :, ::-1]
    )
    np.testing.assert_array_equal(turned.boxes[~changed], given.boxes[~changed])
    for i, j in zip(*np.nonzero(given.present & changed[:, None]), strict=True):
        one, other = np.zeros((2, 24, 24), bool)
        for canvas, box in ((one, given.boxes[i, j]), (other, turned.boxes[i, j])):
            left, top, right, bottom = (int(x) for x in box)
            canvas[top:bottom, left:right] = True
        np.testing.assert_array_equal(other, one[:, ::-1])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["space=recurrent"], "space 'recurrent' makes networks of recurrent"),
        (["search.batch_size=20"], "larger than the training half, 6 images"),
        (["data.pad=2"], "setting data.pad is 2; detection wants 0"),
        (["search.validation=test"], "search.validation is test; detection wants"),
        (["baseline.equal_cost=mac"], "costs are macs, parameters or in a table's"),
        (["data.name=generated:digit"], "did you mean 'digits'"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, settings, told):
    config = load_config(None, [*SETTINGS, *settings])
    with pytest.raises(InputError, match=told) as raised:
        darts_jax.search(config, tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_cost_is_that_of_backbone_and_head():
    config, dataset = made()
    task, space = get_task(config), darts_jax.SPACES["tiny"]
    genotype = random_genotype(space, np.random.default_rng(0))
    chosen = one_hot(space, genotype).weights
    job = make_training(config, dataset, genotype)
    params = jax.eval_shape(job.init, job.start).params
    expected = task.expected_cost(config, dataset, "parameters")
    told = expected({kind: w.astype(float) for kind, w in chosen.items()})
    assert 1e6 * told == pytest.approx(count_parameters(params), abs=1e-6)
    macs = {
        channels: task.expected_cost(
            made([f"detection.channels={channels}"])[0], dataset, "macs"
        ).around["normal"]
        for channels in (4, 6)
    }
    # At 16x16 locations: a projection of the cell's 4 channels, two 3x3 convolutions,
    # and 3x3 ones to ten classes, four sides and centreness.
    heads = [256 * (4 * c + 18 * c * c + 135 * c) / 1e6 for c in (4, 6)]
    assert (macs[6] - macs[4]).item() == pytest.approx(heads[1] - heads[0])


def test_an_auxiliary_head_is_refused(tmp_path):
    config, dataset = made(["retrain.auxiliary_weight=0.4"])
    with pytest.raises(InputError, match=r"auxiliary_weight is 0\.4; detection"):
        darts_jax.retrain(config, tmp_path / "run", some_genotype(), dataset)


def test_what_is_of_classes_alone_says_so():
    with pytest.raises(InputError, match="an estimate is of images with labels"):
        darts_jax.estimate(load_config(None, SETTINGS))
