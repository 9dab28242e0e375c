"""Models of scores, each beside an independent number."""

import functools

import jax
import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from darts_jax.baselines import BASELINES, PREDICTORS, Budget, Question
from darts_jax.baselines.encodings import Graphs, encode, encode_graphs
from darts_jax.baselines.networks import GraphNetwork
from darts_jax.baselines.predictors import boosted_trees, ensemble, fit_process
from darts_jax.errors import InputError
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.moves import sample_genotype
from tests.support.genotypes import additive, differences, draws

QUICK = {
    "ensemble": {"members": 2, "widths": (32,), "steps": 60},
    "graph_network": {"members": 2, "widths": (16, 16), "steps": 100},
    "boosted_trees": {"members": 2},
}


def question(count=60, asked=40, space="nasbench201", **given):
    space = get_space(space)
    rng = np.random.default_rng(0)
    drawn = [sample_genotype(space, rng) for _ in range(count + asked)]
    evaluate, _ = additive(space)
    scores = np.array([evaluate(genotype).score for genotype in drawn])
    found = Question(space, drawn[:count], scores[:count], drawn[count:], **given)
    return found, scores[count:]


def test_encoding_tells_genotypes_apart():
    space, drawn = draws("darts", 40)
    features = encode(space, drawn)
    assert features.shape == (40, 2 * 14 * 7)
    assert (features.sum(1) == 16).all()
    alike = [differences(a, b) == (0, 0) for a in drawn for b in drawn]
    same = (features[:, None] == features).all(-1).ravel()
    assert same.tolist() == alike


def test_a_graph_has_the_paths_of_its_cell():
    """Vertices are 4 states and 6 operations; powers of the matrix count paths."""
    space = get_space("nasbench201")
    cell = Genotype.from_nasbench201(
        "|nor_conv_3x3~0|+|none~0|skip_connect~1|+"
        "|none~0|avg_pool_3x3~1|nor_conv_1x1~2|"
    )
    (labels,), (edges,), extra = encode_graphs(space, [cell])
    assert labels.shape == (10, 3 + 5)
    assert extra.shape == (1, 0)
    assert edges.sum() == 12
    assert np.trace(edges) == 0
    # From the input to the output: through 1, 2, 3 states between, in 1, 2, 1 ways.
    paths = [np.linalg.matrix_power(edges, 2 * k)[0, 3] for k in (1, 2, 3, 4)]
    assert paths == [1, 2, 1, 0]
    several = encode_graphs(get_space("darts"), draws("darts", 3)[1])
    assert several.labels.shape[1:] == (2 * (6 + 8), 3 + 8 + 2)
    assert (several.edges.sum((1, 2)) == 2 * 16).all()


def test_a_graph_network_does_not_see_the_order_of_vertices():
    space, drawn = draws("nasbench201", 8)
    graphs = encode_graphs(space, drawn, np.ones((8, 2), np.float32))
    network = GraphNetwork((8, 8))
    params = network.init(jax.random.key(0), graphs)
    order = np.random.default_rng(0).permutation(10)
    mixed = Graphs(
        graphs.labels[:, order], graphs.edges[:, order][:, :, order], graphs.extra
    )
    wider = Graphs(
        np.pad(mixed.labels, [(0, 0), (0, 3), (0, 0)]),
        np.pad(mixed.edges, [(0, 0), (0, 3), (0, 3)]),
        graphs.extra,
    )
    found = network.apply(params, graphs)
    assert np.ptp(found) > 1e-3
    for other in (mixed, wider):
        np.testing.assert_allclose(network.apply(params, other), found, atol=1e-5)
    turned = graphs._replace(edges=graphs.edges.swapaxes(1, 2))
    assert np.abs(network.apply(params, turned) - found).max() > 1e-4


def test_a_gaussian_process_has_the_posterior_of_its_formula():
    asked, _ = question()
    found = PREDICTORS["gaussian_process"](asked)
    center, scale = asked.scores.mean(), asked.scores.std()
    features = asked.features.astype(np.float64)
    known, others = features[:60], features[60:]
    y = (asked.scores - center) / scale
    kernel = fit_process(known, y).kernel_
    worth, length = kernel.k1.k1.constant_value, kernel.k1.k2.length_scale
    noise = kernel.k2.noise_level

    def covariance(a, b):
        r = np.sqrt(5) * np.linalg.norm(a[:, None] - b, axis=-1) / length
        return worth * (1 + r + r**2 / 3) * np.exp(-r)

    inverse = np.linalg.inv(covariance(known, known) + noise * np.eye(60))
    across = covariance(others, known)
    mean = center + scale * across @ inverse @ y
    variance = worth - np.einsum("ak,kl,al->a", across, inverse, across)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.deviation, scale * variance**0.5, rtol=1e-4)


def test_boosted_trees_are_those_of_scikit_learn():
    asked, _ = question()
    found = boosted_trees(asked, members=2, trees=20)
    predicted = []
    for seed in np.random.default_rng(0).integers(2**31, size=2):
        model = GradientBoostingRegressor(
            n_estimators=20, subsample=0.8, random_state=int(seed)
        )
        model.fit(asked.features[:60], asked.scores)
        predicted.append(model.predict(asked.features[60:]))
    np.testing.assert_allclose(found.mean, np.mean(predicted, 0), rtol=1e-12)
    half = np.abs(predicted[0] - predicted[1]) / 2
    np.testing.assert_allclose(found.deviation, half, atol=1e-12)


@pytest.mark.parametrize("name", list(PREDICTORS))
def test_a_predictor_ranks_what_adds_up_and_two_calls_agree(name):
    rng = np.random.default_rng(1)
    asked, truth = question(extra=rng.normal(size=(100, 1)), most=64)
    predict = functools.partial(PREDICTORS[name], **QUICK.get(name, {}))
    found = predict(asked)
    assert np.corrcoef(found.mean, truth)[0, 1] > 0.6
    assert found.mean.shape == found.deviation.shape == (40,)
    assert (found.deviation >= 0).all()
    again = predict(question(extra=asked.extra, most=64)[0])
    assert again.mean.tobytes() == found.mean.tobytes()
    # A feature that is the truth itself is of use.
    evaluate, _ = additive(asked.space)
    told = [evaluate(g).score for g in (*asked.known, *asked.asked)]
    told = predict(question(extra=np.array(told)[:, None], most=64)[0])
    assert np.corrcoef(told.mean, truth)[0, 1] > np.corrcoef(found.mean, truth)[0, 1]


@pytest.mark.parametrize("name", ["gaussian_process", "boosted_trees"])
def test_a_search_takes_a_predictor_by_its_name(name):
    space = get_space("nasbench201")
    evaluate, best = additive(space)
    search = functools.partial(BASELINES["predictor_search"], predictor=name)
    trace = search(space, evaluate, Budget(40), np.random.default_rng(0))
    plain = BASELINES["random_search"]
    random = plain(space, evaluate, Budget(40), np.random.default_rng(0))
    assert random.best.score < trace.best.score <= best + 1e-9


def test_mistakes_are_told_in_one_line():
    asked, _ = question()
    with pytest.raises(InputError, match="members or more, got 1"):
        ensemble(asked, members=1)
    with pytest.raises(InputError, match="did you mean 'ensemble'"):
        BASELINES["predictor_search"](
            asked.space,
            additive(asked.space)[0],
            Budget(evaluations=5),
            np.random.default_rng(0),
            predictor="ensembel",
        )
