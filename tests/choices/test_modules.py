"""Choices in networks: what is found, mixed and taken, in networks of all kinds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import darts_jax
from darts_jax import Choice, Functions, InputChoice, ValueChoice, decide, space_of
from darts_jax.types import Mixture

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def _leaves_no_spaces():
    known = dict(darts_jax.SPACES)
    yield
    for name in darts_jax.SPACES.keys() - known.keys():
        del darts_jax.SPACES[name]


class Block(nn.Module):
    """A block with choices of its own."""

    @nn.compact
    def __call__(self, x, train):
        width = ValueChoice("width", (2, 4))
        kernel = ValueChoice("kernel", (1, 3))
        h = kernel.conv(width.size)(x)
        h = nn.BatchNorm(use_running_average=not train)(h)
        return nn.Conv(3, (1, 1), use_bias=False)(width.mask(nn.relu(h)))


class Net(nn.Module):
    """All kinds of choices, nested and not."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        options = {
            "block": lambda x: Block()(x, train),
            "skip_connect": lambda x: x,
            "conv": nn.Conv(3, (3, 3)),
        }
        y = Choice("first", options)(x)
        y = InputChoice("inputs", choose=2)({"x": x, "y": y, "zero": lambda: 0 * x})
        y = ValueChoice("depth", (0, 2)).layers([nn.Dense(3), nn.Dense(3)], y)
        rate = ValueChoice("rate", (0.0, 0.5))
        y = rate(lambda r: nn.Dropout(r, deterministic=not train)(y))
        return nn.Dense(5)(y.mean((1, 2)))


CHOICES = {
    "first": "block",
    "width": 2,
    "kernel": 1,
    "inputs": "x+y",
    "depth": 2,
    "rate": 0.0,
}


def one_hot(space, choices):
    named = space.named(choices)
    return Mixture(
        {
            d.name: jnp.eye(len(d.options))[None, d.options.index(named[d.name])]
            for d in space.decisions
        }
    )


def run(network, *args, train):
    """Runs a network in one program."""
    return jax.jit(lambda *args: network.apply(*args, train=train))(*args)


def soft(space):
    rng = np.random.default_rng(1)
    logits = {d.name: rng.normal(size=(1, len(d.options))) for d in space.decisions}
    return Mixture({k: jax.nn.softmax(jnp.asarray(v)) for k, v in logits.items()})


def test_the_choices_are_found_in_order_with_conditions():
    space = space_of(Net(), IMAGES)
    assert {d.name: d.options for d in space.decisions} == {
        "first": ("block", "skip_connect", "conv"),
        "width": ("2", "4"),
        "kernel": ("1", "3"),
        "inputs": ("x+y", "x+zero", "y+zero"),
        "depth": ("0", "2"),
        "rate": ("0.0", "0.5"),
    }
    assert list(space.reached(CHOICES)) == list(CHOICES)
    skipped = space.reached({**CHOICES, "first": "skip_connect"})
    assert list(skipped) == ["first", "inputs", "depth", "rate"]
    assert darts_jax.get_space("Net") is space.space


def test_a_result_is_readable_json():
    space = space_of(Net(), IMAGES)
    genotype = space.genotype(CHOICES)
    text = genotype.to_json()
    assert '"first": "block"' in text
    assert darts_jax.Genotype.from_json(text) == genotype
    assert str(genotype).splitlines()[:2] == ["first = block", "width = 2"]
    with pytest.raises(darts_jax.InputError, match="option of choice 'depth'"):
        space.genotype({**CHOICES, "depth": 3})
    del darts_jax.SPACES["Net"]
    with pytest.raises(darts_jax.InputError, match="want darts_jax"):
        darts_jax.Genotype.from_json(text)


def test_one_hot_weights_give_the_chosen_network():
    """Only what is chosen has parameters; with the supernet's it computes the same."""
    space = space_of(Net(), IMAGES)
    params, stats = space.init(KEY)
    moved = jax.tree.map(lambda x: x + 0.1, stats)
    others = (
        *({"first": "conv"}, {"first": "skip_connect", "inputs": "y+zero"}),
        *({"kernel": 3}, {"width": 4, "depth": 0}),
    )
    for other in ({}, *others):
        choices = CHOICES | other
        taken = space.take(choices, params, moved)
        net = space.decide(choices)
        make = functools.partial(net.init, train=False)
        fresh = jax.eval_shape(make, KEY, IMAGES)
        assert jax.tree.map(jnp.shape, taken.params) == jax.tree.map(
            jnp.shape, fresh["params"]
        )
        variables = {"params": taken.params, **taken.stats}
        found = run(net, variables, IMAGES, train=False)
        mixture = one_hot(space, choices)
        wanted, _ = run(space, params, moved, mixture, IMAGES, KEY, train=False)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_the_mixture_is_the_weighted_sum():
    """Against a network written out by hand."""

    class Small(nn.Module):
        @nn.compact
        def __call__(self, x):
            width = ValueChoice("width", (1, 3))
            h = width.mask(nn.Dense(width.size, name="dense")(x))
            h = Choice("act", {"tanh": jnp.tanh, "skip_connect": lambda x: x})(h)
            return InputChoice("ends", reduce="mean", choose=2)([h, 2 * h, x])

    space = space_of(Small(), IMAGES)
    params, stats = space.init(KEY)
    mixture = soft(space)
    found, _ = space.apply(params, stats, mixture, IMAGES, KEY, train=True)
    width, act, ends = (
        np.asarray(mixture.weights[name][0]) for name in ("width", "act", "ends")
    )
    kernel, bias = (np.asarray(params["dense"][name]) for name in ("kernel", "bias"))
    h = (IMAGES @ kernel + bias) * np.array([1, width[1], width[1]])
    h = act[0] * np.tanh(h) + act[1] * h
    # Pairs 0+1, 0+2 and 1+2, each by half.
    parts = (ends[0] + ends[1]) * h + (ends[0] + ends[2]) * 2 * h
    wanted = (parts + (ends[1] + ends[2]) * IMAGES) / 2
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_depth_is_the_mixture_of_prefixes():
    apply = Functions(
        lambda key: jnp.float32(3),
        lambda params, x: ValueChoice("depth", (0, 1, 3)).layers(
            [lambda x: params * x] * 3, x
        ),
    )
    space = space_of(apply, np.ones((2, 1), np.float32), "powers")
    params, stats = space.init(KEY)
    weights = Mixture({"depth": jnp.array([[0.5, 0.25, 0.25]])})
    found, _ = space.apply(params, stats, weights, np.ones((2, 1)), KEY, train=True)
    np.testing.assert_allclose(found, 0.5 + 0.25 * 3 + 0.25 * 27)


def test_setup_and_options_that_are_modules():
    class Deep(nn.Module):
        def setup(self):
            self.width = ValueChoice("width", (2, 4))
            size = self.width.size
            self.choice = Choice("layer", {"b": nn.Dense(size), "a": nn.Dense(size)})
            self.out = nn.Dense(2)

        def __call__(self, x):
            return self.out(self.width.mask(self.choice(x)))

    space = space_of(Deep(), IMAGES)
    assert space.decisions[1].options == ("b", "a")
    params, stats = space.init(KEY)
    assert set(params) == {"choice_a", "choice_b", "out"}
    taken = space.take({"width": 2, "layer": "a"}, params, stats)
    assert set(taken.params) == {"choice_a", "out"}
    np.testing.assert_array_equal(
        taken.params["choice_a"]["kernel"], params["choice_a"]["kernel"][:, :2]
    )


def test_loops_and_programs_within_a_network():
    """`nn.scan`, `nn.remat` and a jitted function trace their bodies apart."""

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            options = {"tanh": lambda x: jnp.tanh(nn.Dense(3)(x)), "skip": lambda x: x}
            return Choice("layer", options)(x), None

    @jax.jit
    def last(x):
        return Choice("last", {"double": lambda x: 2 * x, "same": lambda x: x})(x)

    class Lifted(nn.Module):
        @nn.compact
        def __call__(self, x):
            scanned = nn.scan(
                nn.remat(Layer),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=3,
            )
            x, _ = scanned()(x, None)
            return last(x)

    space = space_of(Lifted(), IMAGES)
    params, stats = space.init(KEY)

    def run(weights):
        mixture = Mixture(weights)
        return space.apply(params, stats, mixture, IMAGES, KEY, train=True)[0]

    skip = {"layer": jnp.array([[0.0, 1.0]]), "last": jnp.array([[0.0, 1.0]])}
    np.testing.assert_allclose(run(skip), IMAGES)
    double = skip | {"last": jnp.array([[1.0, 0.0]])}
    np.testing.assert_allclose(run(double), 2 * IMAGES)
    np.testing.assert_allclose(jax.jit(run)(double), 2 * IMAGES)
    slope = jax.grad(lambda w: run({**skip, "last": w}).sum())(skip["last"])
    np.testing.assert_allclose(slope[0, 0], 2 * IMAGES.sum(), rtol=1e-4)


class Refused(nn.Module):
    """A network whose choices are made by a function."""

    make: object

    @nn.compact
    def __call__(self, x):
        return self.make(x)


def twice(x):
    for _ in range(2):
        x = Choice("op", {"a": jnp.tanh, "b": lambda x: x})(x)
    return x


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: x, "no choices"),
        (lambda x: Choice("op", {})(x), "between nothing"),
        (lambda x: Choice("op.edges", {"a": jnp.tanh})(x), "is named 'op.edges'"),
        (twice, "choice 'op' is there twice"),
        (lambda x: ValueChoice("n", (1, 1)).mask(x), "option '1' twice"),
        (
            lambda x: Choice("op", {"a": nn.Dense(2), "b": nn.Dense(3)})(x),
            r"choice 'op': option 'b' gives float32 \[4, 6, 6, 3\], and 'a' gives",
        ),
        (lambda x: InputChoice("in", choose=3)([x, x]), "keeps 3 of 2 inputs"),
        (lambda x: InputChoice("in", choose=0)([x, x]), "keeps 0 of 2 inputs"),
        (lambda x: InputChoice("in")([x, x[:, :2]]), "choice 'in': option '1' gives"),
        (lambda x: InputChoice("in", reduce="max")([x, x]), "want sum or mean"),
        (lambda x: ValueChoice("k", (2, 3)).conv(3)(x), "all odd or all even"),
        (lambda x: ValueChoice("w", (2, 4)).mask(x), "masks 3 channels; want 4"),
        (lambda x: ValueChoice("w", (0.5, 4)).mask(x), "want whole numbers"),
        (lambda x: ValueChoice("d", (0, 2)).layers([jnp.tanh], x), "want 2 blocks"),
        (lambda x: Choice("op", {"a": jnp.argmax, "b": jnp.argmin})(x), "can be mixed"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, words):
    with pytest.raises(darts_jax.InputError, match=words) as caught:
        space_of(Refused(make), IMAGES)
    assert "\n" not in str(caught.value)


def test_a_shared_decision_is_one():
    def shared(x):
        for _ in range(3):
            options = {"tanh": lambda x: jnp.tanh(nn.Dense(3)(x)), "skip": lambda x: x}
            x = Choice("op", options, shared=True)(x)
        return x

    space = space_of(Refused(shared), IMAGES)
    assert [d.name for d in space.decisions] == ["op"]
    params, stats = space.init(KEY)
    assert set(params) == {"op_tanh", "op_tanh_1", "op_tanh_2"}
    assert set(space.take({"op": "tanh"}, params, stats).params) == set(params)


def test_an_open_choice_says_what_to_do():
    with pytest.raises(darts_jax.InputError, match="choice 'first' is open"):
        Net().init(KEY, IMAGES)
    with pytest.raises(darts_jax.InputError, match="choice 'width' is not made"):
        decide(Net(), {"first": "block"}).init(KEY, IMAGES)
    with pytest.raises(darts_jax.InputError, match="'cone'; did you mean 'conv'"):
        decide(Net(), {"first": "cone"}).init(KEY, IMAGES)


def test_weights_that_do_not_fit_are_refused():
    """A layer norm over masked channels is not that of a narrow layer."""

    def normed(x):
        width = ValueChoice("width", (2, 4))
        return nn.Dense(1)(nn.LayerNorm()(width.mask(nn.Dense(width.size)(x))))

    space = space_of(Refused(normed), IMAGES)
    params, stats = space.init(KEY)
    with pytest.raises(darts_jax.InputError, match="other outputs"):
        space.take({"width": 2}, params, stats)
    assert set(space.take({"width": 4}, params, stats).params) == set(params)


@pytest.mark.parametrize("network", ["linen", "nnx"])
def test_statistics_dropout_and_recurrent_state(network):
    """Train mode moves statistics and drops, eval mode does neither; only what is taken
    has statistics."""

    class Linen(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            norm = nn.BatchNorm(use_running_average=not train, momentum=0.5)
            drop = nn.Dropout(0.5, deterministic=not train)
            scan = nn.RNN(nn.GRUCell(3))
            return Choice("op", {"norm": norm, "drop": drop, "scan": scan})(x)

    class Nnx(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(3, momentum=0.5, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.scan = nnx.RNN(nnx.GRUCell(3, 3, rngs=rngs), rngs=rngs)

        def __call__(self, x):
            options = {"norm": self.norm, "drop": self.drop, "scan": self.scan}
            return Choice("op", options)(x)

    text = IMAGES.reshape(4, 36, 3)[:, :9] + 1
    space = space_of(Linen() if network == "linen" else Nnx, text)
    params, stats = space.init(KEY)
    path = ("batch_stats", "BatchNorm_0") if network == "linen" else ("norm",)

    def mean(stats):
        for name in path:
            stats = stats[name]
        return np.asarray(stats["mean"])

    for option in ("norm", "drop", "scan"):
        mixture = one_hot(space, {"op": option})
        rest, same = run(space, params, stats, mixture, text, KEY, train=False)
        jax.tree.map(np.testing.assert_array_equal, same, stats)
        other = jax.random.key(1)
        again, _ = run(space, params, stats, mixture, text, other, train=False)
        np.testing.assert_array_equal(rest, again)
        alone = space.discrete({"op": option})
        taken = space.take({"op": option}, params, stats)
        found, moved = run(alone, *taken, text, KEY, train=True)
        if option == "norm":
            np.testing.assert_allclose(mean(moved), text.mean((0, 1)) / 2, rtol=1e-5)
            np.testing.assert_allclose(found.mean((0, 1)), 0, atol=1e-5)
        elif option == "drop":
            kept = np.asarray(found) != 0
            assert 0.3 < kept.mean() < 0.7
            np.testing.assert_allclose(np.asarray(found)[kept], 2 * text[kept])
            np.testing.assert_array_equal(rest, text)
        else:
            np.testing.assert_allclose(found, rest, rtol=1e-4, atol=1e-5)

            # The state goes through time: the last output depends on the first input.
            def last(x, mixture=mixture):
                found, _ = space.apply(params, stats, mixture, x, KEY, train=False)
                return found[:, -1].sum()

            slope = jax.jit(jax.grad(last))(jnp.asarray(text))
            assert float(jnp.abs(slope[:, 0]).max()) > 0


def test_nnx_parameters_of_what_is_not_taken_are_gone():
    class Both(nnx.Module):
        def __init__(self, rngs):
            options = {"dense": nnx.Linear(3, 3, rngs=rngs), "skip": lambda x: x}
            self.choice = Choice("op", options)
            self.out = nnx.Linear(3, 2, rngs=rngs)

        def __call__(self, x):
            return self.out(self.choice(x))

    made = Both(nnx.Rngs(0))
    for module in (Both, made):
        space = space_of(module, IMAGES)
        params, stats = space.init(KEY)
        assert set(params) == {"choice", "out"}
        taken = space.take({"op": "skip"}, params, stats)
        assert set(taken.params) == {"out"}
    net = decide(made, {"op": "skip"})
    np.testing.assert_allclose(net(IMAGES), made.out(IMAGES), rtol=1e-6)


def test_seeds_make_other_first_weights():
    space = space_of(Net(), IMAGES)
    first, again, other = (
        space.init(jax.random.key(seed)).params for seed in (0, 0, 1)
    )
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert float(optax.tree.norm(optax.tree.sub(first, other))) > 0.1


class Partial(nn.Module):
    """A choice whose options keep the shape of their input."""

    @nn.compact
    def __call__(self, x):
        options = {"dense": lambda x: nn.Dense(x.shape[-1])(x), "tanh": jnp.tanh}
        return Choice("first", options)(x)


def test_partial_channels_enter_the_options_and_the_rest_pass_by():
    x = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    space = space_of(Partial(), x).with_parts(4)
    params, stats = space.init(KEY)
    (dense,) = params.values()
    kernel = np.asarray(dense["Dense_0"]["kernel"])
    assert kernel.shape == (2, 2)
    found, _ = space.apply(
        params,
        stats,
        Mixture({"first": jnp.array([[0.25, 0.75]])}),
        x,
        KEY,
        train=False,
    )
    mixed = 0.25 * x[:, :2] @ kernel + 0.75 * np.tanh(x[:, :2])
    joined = np.concatenate([mixed, x[:, 2:]], -1)
    # The channels of four blocks of two, one of each block after another.
    np.testing.assert_allclose(found, joined[:, [0, 2, 4, 6, 1, 3, 5, 7]], rtol=1e-5)
    whole = jax.eval_shape(lambda: space.discrete({"first": "dense"}).init(KEY, x))
    assert [leaf.shape for leaf in jax.tree.leaves(whole.params)] == [(8,), (8, 8)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"wide": lambda x: nn.Dense(8)(x)}, "keep the shape of their input"),
        ({"whole": lambda x: x @ jnp.ones((8, 8))}, "does not run with 1/4"),
        ({"mean": lambda x: x.mean()}, "keep the shape of their input"),
    ],
)
def test_partial_channels_are_refused_by_name(options, words):
    class Other(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Choice("only", options)(x)

    space = space_of(Other(), np.zeros((3, 8), np.float32))
    with pytest.raises(darts_jax.InputError, match=words) as caught:
        space.with_parts(4)
    assert "'only'" in str(caught.value) or "'Other'" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(darts_jax.InputError, match="whose channels 3 divides"):
        space.with_parts(3)
