"""Operation-level early stopping (OLES) against NumPy, and in whole searches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import darts_jax
from darts_jax.bilevel.hypergradient import HYPERGRADIENTS, first_order
from darts_jax.bilevel.losses import flood, flooded
from darts_jax.bilevel.operation_stop import OperationStop, stopped_share
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.step import Search
from darts_jax.bilevel.weight_training import make_sgd
from darts_jax.errors import InputError
from darts_jax.models.functional import label_operations, supernet_apply
from darts_jax.tasks.registry import load_data
from tests.support.killed import assert_same_end, search_with_and_without_a_kill
from tests.support.supernets import (
    KEY,
    SCALARS,
    examples,
    masks,
    random_alpha,
    small,
    to64,
)
from tests.support.tiny import quick_jit, tiny_space

WINDOW, LEAST = 3, 0.4
RNG = np.random.default_rng(0)
RULE = OperationStop(label_operations, WINDOW)


def trees(steps):
    """Gradients of two operations, one of two leaves, and of a stem."""
    shapes = {"small": [(2, 3, 4)], "large": [(2, 3, 2, 2), (2, 3, 5)]}
    return [
        {
            "blocks_0_1": {
                "edges": {
                    name: {f"layer_{i}": RNG.normal(size=s) for i, s in enumerate(own)}
                    for name, own in shapes.items()
                }
            },
            "stem": {"kernel": RNG.normal(size=(3, 4))},
        }
        for _ in range(steps)
    ]


def flat(tree, name, cell, edge):
    leaves = tree["blocks_0_1"]["edges"][name].values()
    return np.concatenate([leaf[cell, edge].ravel() for leaf in leaves])


def test_weights_rest_from_the_first_window_on_whose_mean_cosine_is_low():
    steps = 4 * WINDOW
    train, noise = trees(steps), trees(steps)
    valid = [
        jax.tree.map(lambda g, n: g + 1.2 * n, *both)
        for both in zip(train, noise, strict=True)
    ]
    for m in (1, 4, 5):  # not drawn, so that its window ends later than others'
        valid[m]["blocks_0_1"]["edges"]["small"]["layer_0"][1, 2] = 0
    with jax.enable_x64(True):
        matching = RULE.init(train[0])
        found = []
        for pair in zip(train, valid, strict=True):
            matching = jax.jit(RULE.observe)(matching, *pair, LEAST)
            found.append(jax.tree.map(np.asarray, matching.stopped))
    seen = set()
    for name in ("small", "large"):
        for place in np.ndindex(2, 3):
            window, rests = [], False
            for m in range(steps):
                g, h = (flat(t[m], name, *place) for t in (train, valid))
                if h.any():
                    window.append(g @ h / np.linalg.norm(g) / np.linalg.norm(h))
                if len(window) == WINDOW:
                    rests, window = rests or np.mean(window) < LEAST, []
                assert found[m][f"blocks_0_1/{name}"][place] == rests
            seen.add(rests)
    assert seen == {True, False}
    want = np.mean([v for own in found[-1].values() for v in own.ravel()])
    assert float(stopped_share(matching)) == pytest.approx(want)


def test_what_rests_keeps_its_weights_and_counts_in_no_norm():
    old, new = (jax.tree.map(np.float32, tree) for tree in trees(2))
    matching = RULE.init(jax.tree.map(jnp.asarray, old))
    name = "blocks_0_1/large"
    rests = jnp.asarray([[True, False, False], [False, True, False]])
    matching = matching.replace(stopped=matching.stopped | {name: rests})
    kept = RULE.keep(matching, old, new)
    silent = RULE.silence(matching, new)
    for layer in ("layer_0", "layer_1"):
        before, after, got, gradient = (
            np.asarray(t["blocks_0_1"]["edges"]["large"][layer])
            for t in (old, new, kept, silent)
        )
        np.testing.assert_array_equal(got[rests], before[rests])
        np.testing.assert_array_equal(got[~rests], after[~rests])
        np.testing.assert_array_equal(gradient[rests], 0)
    small = ("blocks_0_1", "edges", "small")
    for place in (small, ("stem",)):
        jax.tree.map(
            np.testing.assert_array_equal, *(dig(t, place) for t in (kept, new))
        )


def dig(tree, place):
    for name in place:
        tree = tree[name]
    return tree


def test_without_weights_of_operations_there_is_nothing_to_stop(tmp_path):
    with pytest.raises(InputError, match="this network has none: want 0"):
        RULE.init({"stem": {"kernel": jnp.ones((3, 4))}})
    (tmp_path / "text").write_text("one two three " * 2000)
    settings = ["task=language", "space=recurrent", f"data.name=text:{tmp_path}/text"]
    made = darts_jax.load_config(None, [*settings, "search.operation_stop.window=2"])
    with pytest.raises(InputError, match="operation_stop"):
        darts_jax.search(made, tmp_path / "run")


def test_a_step_leaves_what_rests_and_is_the_usual_one_for_the_others():
    space = tiny_space(("skip_connect", "nor_conv_1x1"))
    with jax.enable_x64(True):
        net, params, stats = small(space, cells=1)
        search = Search(
            supernet_apply(net),
            RELAXATIONS["softmax"],
            first_order,
            masks(space),
            operation_stop=OperationStop(label_operations, window=1),
        )
        state = search.init(
            jax.random.key_data(KEY), params, stats, random_alpha(space)
        )
        train, valid = examples(1, batch=4), examples(2, batch=4)
        # No cosine is 2, so all operations rest after one look.
        scalars = to64(SCALARS) | {"operation_stop": {"least": jnp.asarray(2.0)}}
        new, metrics = quick_jit(search.step)(state, train, valid, scalars)

        # Independently: the gradient of all others, whose norm alone is cut.
        mixture = search.mixture(KEY, new.alpha, state.mask, scalars)
        gradient = quick_jit(jax.grad(search.loss, has_aux=True))(
            params, mixture, stats, train, KEY, scalars
        )[0]
        silent = {
            "edges": jax.tree.map(jnp.zeros_like, gradient["blocks_0_0"]["edges"])
        }
        others = {**gradient, "blocks_0_0": gradient["blocks_0_0"] | silent}
        sgd = make_sgd(scalars)
        updates, _ = sgd.update(others, sgd.init(params), params)
        want = optax.apply_updates(params, updates)
        want["blocks_0_0"] = params["blocks_0_0"]
    assert float(metrics["stopped"]) == 4.0  # a share of 1, for each of 4 examples
    assert all(rests.all() for rests in new.matching.stopped.values())
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), new.params, want
    )


def test_a_flooded_loss_is_ascended_below_its_level():
    losses = np.array([0.0, 0.3, 2.0])
    with jax.enable_x64(True):
        values, slopes = jax.vmap(jax.value_and_grad(flood), (0, None))(
            jnp.asarray(losses), 0.5
        )
        loss = flooded(lambda w, a: w**2 + a, jnp.asarray(9.0))
        by_weights = jax.grad(loss)(jnp.asarray(2.0), jnp.asarray(1.0))
    np.testing.assert_allclose(values, [1.0, 0.7, 2.0], rtol=1e-12)
    np.testing.assert_array_equal(slopes, [-1, -1, 1])
    assert by_weights == -4.0


@pytest.mark.parametrize("hypergradient", ["first_order", "exact"])
def test_weights_ascend_below_the_flood_and_the_architecture_does_not(hypergradient):
    rng = np.random.default_rng(0)
    alpha = {"normal": jnp.asarray(rng.normal(size=(1, 2)), "f4")}
    params = jnp.asarray(rng.normal(size=(1, 2, 2, 3)), "f4")
    train, valid = examples(1, batch=4), examples(2, batch=4)
    steps = {}
    for level in (0.0, 100.0):
        search = Search(
            one_layer,
            RELAXATIONS["softmax"],
            HYPERGRADIENTS[hypergradient],
            {"normal": np.ones((1, 2), bool)},
            floods=level > 0,
        )
        state = search.init(jax.random.key_data(KEY), params, {}, alpha)
        weights = SCALARS["weights"] | {"decay": 0.0}
        scalars = SCALARS | {"flood": level, "weights": weights}
        slope = search.inner_step(state, scalars)
        gradient = jax.grad(search.loss_on(state, train, KEY, scalars))(params, alpha)
        new, _ = quick_jit(search.step)(state, train, valid, scalars)
        steps[level] = new, slope(gradient, params) - params
    (usual, down), (ascended, _) = steps[0.0], steps[100.0]
    if hypergradient == "first_order":
        np.testing.assert_array_equal(ascended.alpha["normal"], usual.alpha["normal"])
        moved = ascended.params - params
        np.testing.assert_allclose(moved, params - usual.params, rtol=1e-4, atol=1e-7)
        assert float(jnp.vdot(moved, down)) < 0
    else:  # It looks through the step that the weights take, up and not down.
        moments = [jax.tree.leaves(s.alpha_optimizer)[1] for s in (usual, ascended)]
        assert np.abs(moments[0] - moments[1]).max() > 1e-6


def one_layer(params, stats, mixture, images, key, *, train):
    """Logits of a network in which weights and mixture meet."""
    each = jnp.tanh(jnp.einsum("bhwc,eocd->eobd", images, params))
    return jnp.einsum("eo,eobd->bd", mixture.weights["normal"], each), stats


@pytest.mark.slow
@pytest.mark.parametrize("method", ["oles", "beta_darts_pp"])
def test_three_epochs_on_the_digits_end_with_the_same_bits_after_a_kill(
    method, tiny, tmp_path, monkeypatch
):
    made = darts_jax.load_config("digits", ["space=tiny", "search.epochs=3"])
    made.supernet.update(cells=2, channels=4)
    # In 33 steps no mean falls to the paper's 0.4.
    made = darts_jax.apply_method(made, method, ["search.operation_stop.least=0.9"])
    data = load_data(made)
    whole, again = search_with_and_without_a_kill(made, tmp_path, data, monkeypatch)
    assert_same_end(whole, again)
    if method == "oles":
        shares = [record["stopped"] for record in whole.records]
        assert shares == sorted(shares)
        assert 0 < shares[-1] <= 1
        assert [record["stopped"] for record in again.records] == shares
