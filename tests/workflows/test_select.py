"""Selection by a supernet: DARTS-PT's as its released code does it."""

import jax
import numpy as np
import pytest

import darts_jax
from darts_jax.bilevel.discretization import random_genotype
from darts_jax.bilevel.selection import TrainedSupernet, perturbation
from darts_jax.cli.main import main
from darts_jax.errors import InputError
from darts_jax.models.functional import supernet_apply
from darts_jax.settings.config import validate_config, with_overrides
from darts_jax.tasks.image_networks import make_supernet
from darts_jax.tasks.search_job import full_mask
from darts_jax.training.directory import load_architecture
from darts_jax.training.restore import SavedSearch
from darts_jax.training.shared_job import count_network_parameters
from darts_jax.types import Mixture
from darts_jax.workflows import select as selecting
from tests.support.small_runs import config, images


class Fake:
    """A supernet whose score is what the weights of its mixture are worth."""

    def __init__(self, space):
        rng = np.random.default_rng(0)
        self.worths = {
            k: rng.uniform(size=m.shape) for k, m in full_mask(space).items()
        }
        for kind, cell in space.cells.items():
            if "none" in cell.operations:
                self.worths[kind][0, cell.operations.index("none")] = 2
        self.tuned = []
        self.trained = TrainedSupernet(
            alpha={},
            mask=full_mask(space),
            mixture=lambda mask: Mixture({k: np.float64(m) for k, m in mask.items()}),
            score=lambda mixture: sum(
                float(np.sum(mixture.weights[k] * worth))
                for k, worth in self.worths.items()
            ),
            tune=lambda mask: self.tuned.append({k: m.copy() for k, m in mask.items()}),
        )


@pytest.mark.parametrize("name", ["darts_no_none", "darts", "nasbench201"])
@pytest.mark.parametrize("keeps_none", [False, True])
def test_an_edge_of_every_kind_is_decided_at_once(name, keeps_none):
    space = darts_jax.get_space(name)
    fake = Fake(space)
    found = perturbation(space, fake.trained, np.random.default_rng(3), keeps_none)
    cells = space.cells
    edges = len(next(iter(cells.values())).edges)
    # In the DARTS space 14 decisions about edges and 3 about nodes, tuned between.
    assert len(fake.tuned) == edges + (0 if name == "nasbench201" else 3) - 1
    for number, mask in enumerate(fake.tuned, start=1):
        for own in mask.values():
            decided = np.sum(np.sum(own, -1) <= 1)
            assert decided == min(number, edges)
    may_be_none = keeps_none and name == "nasbench201"
    for kind, cell in cells.items():
        worths = fake.worths[kind].copy()
        if "none" in cell.operations and not may_be_none:
            worths[:, cell.operations.index("none")] = -1
        # What is worth most hurts most to lose.
        best = worths.argmax(-1)
        want = set()
        for target in range(cell.inputs, cell.states):
            into = cell.incoming(target)
            most = sorted(into, key=lambda e: -worths[e, best[e]])
            for e in into if name == "nasbench201" else most[:2]:
                edge = cell.edges[e]
                want.add((target, edge.source, edge.operations[best[e]]))
        got = {(c.target, c.source, c.operation) for c in found.cells[kind].choices}
        assert got == want
    if may_be_none:
        assert any(c.operation == "none" for c in found.cells["normal"].choices)


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    del tiny
    run = tmp_path_factory.mktemp("runs") / "run"
    settings = {"search.selection.tune_epochs": 1, "search.weights.learning_rate": 0.2}
    darts_jax.search(config(1, **settings), run, images())
    return run


def trained(run, *overrides):
    saved = SavedSearch(run, [f"search.selection.{text}" for text in overrides])
    job, state = saved.restore(dataset=images())
    # Running statistics that no batch has.
    state = state.replace(stats=jax.tree.map(lambda leaf: 9 * leaf + 3, state.stats))
    return saved, state, selecting._make_trained(saved.config, job, state, images())


@pytest.mark.slow
def test_a_selection_may_score_by_the_statistics_of_the_batch(finished):
    saved, state, supernet = trained(finished, "statistics=batch")
    mixture = supernet.mixture(full_mask(saved.space))
    dataset = images()
    levels = dataset.train_images / 255
    pixels = (levels - levels.mean((0, 1, 2))) / levels.std((0, 1, 2))
    size = saved.config.search.batch_size
    half = len(levels) // 2
    apply = supernet_apply(make_supernet(saved.config, dataset))
    right = {True: 0, False: 0}
    for start in range(half, len(levels), size):
        part = slice(start, start + size)
        for train in right:
            logits, _ = apply(
                state.params,
                state.stats,
                mixture,
                np.float32(pixels[part]),
                jax.random.key(0),
                train=train,
            )
            right[train] += np.sum(logits.argmax(-1) == dataset.train_labels[part])
    assert supernet.score(mixture) == pytest.approx(right[True] / (len(levels) - half))
    *_, usual = trained(finished)
    assert usual.score(mixture) == pytest.approx(right[False] / (len(levels) - half))
    assert right[True] != right[False]


@pytest.mark.slow
@pytest.mark.parametrize("tunes_alpha", [False, True])
def test_the_architecture_may_learn_until_all_edges_are_decided(
    finished, tunes_alpha, monkeypatch
):
    saved, state, supernet = trained(finished, f"tunes_alpha={tunes_alpha}")
    before = jax.tree.map(np.array, (state.alpha, state.params, state.weight_optimizer))
    seen = []
    run_epoch = selecting._Tuner._run_epoch

    def watch(tuner, state, learns):
        seen.append(jax.tree.map(np.array, state.weight_optimizer))
        state = run_epoch(tuner, state, learns)
        seen.append(jax.tree.map(np.array, (state.alpha, state.params)))
        return state

    monkeypatch.setattr(selecting._Tuner, "_run_epoch", watch)
    mask = full_mask(saved.space)
    supernet.tune(mask)
    momentum, (alpha, params) = seen
    # The search's momentum is forgotten, its architecture rests or learns on.
    assert all(not leaf.any() for leaf in jax.tree.leaves(momentum))
    assert any(leaf.any() for leaf in jax.tree.leaves(before[2]))
    assert np.array_equal(alpha["normal"], before[0]["normal"]) != tunes_alpha
    dropped = {"normal": np.zeros_like(mask["normal"])}
    dropped["normal"][1:, 1] = True
    supernet.tune(dropped)
    # With an edge dropped and the others decided, only weights learn, and are numbers.
    last, weights = seen[-1]
    np.testing.assert_array_equal(last["normal"], alpha["normal"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(weights))
    assert not any(
        np.array_equal(a, b)
        for a, b in zip(
            jax.tree.leaves(weights)[:1], jax.tree.leaves(params)[:1], strict=True
        )
    )
    score = supernet.score(supernet.mixture(dropped))
    assert 0 <= score <= 1


def test_batch_statistics_are_of_images():
    asked = ["task=language", "space=recurrent", "search.selection.statistics=batch"]
    with pytest.raises(
        InputError, match="is of images, and task=language; want running"
    ):
        validate_config(with_overrides(darts_jax.default_config(), asked))


def test_ranks_by_a_proxy_count_beside_accuracies(tiny, found):
    path, dataset = found.run.path, images()
    asked = ["search.selection.samples=8", "search.selection.proxy=params"]
    asked += ["proxies.batch_size=8"]
    sampled = "search.discretization=best_sampled"
    settings = SavedSearch(path, [sampled, *asked]).config
    rng = np.random.default_rng(settings.seed)
    space = darts_jax.get_space(settings.space)
    drawn = [random_genotype(space, rng) for _ in range(8)]
    sizes = [count_network_parameters(settings, dataset, one) for one in drawn]
    for share in (1, 0):
        also = [*asked, f"search.selection.proxy_share={share}"]
        chosen = darts_jax.select(path, "best_sampled", 0, dataset, also)
        alone = darts_jax.select(path, "best_sampled", 0, dataset, asked[:1])
        assert chosen == (drawn[int(np.argmax(sizes))] if share else alone)
    assert len(set(sizes)) > 1


def test_a_proxy_ranks_sampled_genotypes_of_images():
    proxy = "search.selection.proxy=naswot"
    for asked, said in (
        ([proxy], "samples none: want best_sampled or"),
        (
            [proxy, "search.discretization=best_sampled", "space=mobile_small"],
            "not task=classification with space=mobile_small; want none",
        ),
    ):
        with pytest.raises(InputError, match=said):
            validate_config(with_overrides(darts_jax.default_config(), asked))


def test_select_takes_any_rule_of_any_epoch(tiny, found, tmp_path, capsys):
    path = found.run.path
    saved = load_architecture(path / "architecture" / "epoch_0001.npz")["normal"]
    out = tmp_path / "g.json"
    given = ["select", str(path), "--rule", "argmax", "--epoch", "1"]
    assert main([*given, "--out", str(out)]) == 0
    chosen = darts_jax.Genotype.from_json(out.read_text()).cells["normal"].choices
    names = ("none", "skip_connect", "nor_conv_1x1")
    assert [c.operation for c in chosen] == [names[o] for o in saved.argmax(-1)]
    for rule in ("perturbation", "best_sampled", "best_of_policy"):
        chosen = darts_jax.select(path, rule, dataset=images())
        assert len(chosen.cells["normal"].choices) == 2
    for rule, epoch, told in (
        ("argmx", "0", "did you mean 'argmax'?"),
        ("argmax", "7", "no architecture parameters at"),
    ):
        given = ["select", str(path), "--rule", rule, "--epoch", epoch]
        assert main(given) == 2
        assert told in capsys.readouterr().err
    with pytest.raises(InputError, match=r"checkpoint.keep"):
        darts_jax.select(path, "perturbation", 9, images())
