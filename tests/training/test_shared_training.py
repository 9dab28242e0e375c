"""Networks that share one program, against the genotypes' own networks."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from darts_jax.bilevel.discretization import one_hot
from darts_jax.bilevel.weight_training import (
    AUXILIARY_CLASSIFICATION,
    Training,
    make_sgd,
)
from darts_jax.data.sources import load_dataset
from darts_jax.errors import InputError
from darts_jax.models.functional import (
    initialize,
    initialize_supernet,
    network_apply,
    supernet_apply,
)
from darts_jax.models.network import Network
from darts_jax.models.supernet import Supernet
from darts_jax.settings.config import default_config, with_overrides
from darts_jax.spaces.graph import Genotype
from darts_jax.training.shared_job import SharedTraining, make_shared_training
from darts_jax.workflows.retrain import retrain
from darts_jax.workflows.retrain_result import read_retrained
from tests.support.supernets import KEY, examples, to64
from tests.support.tiny import quick_jit, tiny_genotype, tiny_space

GENOTYPE = Genotype.from_nasbench201(
    "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|"
    "nor_conv_3x3~2|"
)
SCALARS = {
    "weights": {"learning_rate": 0.1, "momentum": 0.9, "decay": 3e-3, "clip": 0.5},
    "label_smoothing": 0.0,
    "auxiliary_weight": 0.0,
    "drop_path": 0.0,
}


def grafted(tree, own, space, genotype):
    """The supernet's leaves of the genotype's operations, in its network's tree."""
    cell = space.cells["normal"]
    order = sorted((edge.source, edge.target) for edge in cell.edges)
    result = {}
    for block, inner in own.items():
        result[block] = tree[block]
        if "edges" in tree[block]:
            result[block] = {}
            for name in inner:
                _, source, target, i = name.split("_")
                op = genotype.cells["normal"].choices[int(i)].operation
                place = order.index((int(source), int(target)))
                stack = tree[block]["edges"][op]
                result[block][name] = jax.tree.map(lambda x, p=place: x[:, p], stack)
    return result


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.usefixtures("double")
def test_a_step_at_a_one_hot_mixture_is_a_step_of_the_network():
    space, genotype = tiny_space(), tiny_genotype()
    shared = Supernet(space, 3, 1, 4, remat="none", sampled=True, discrete=True)
    network = Network(genotype, space.macro, 3, 1, 4)
    params, stats = map(to64, initialize_supernet(shared, KEY, (8, 8, 2)))
    rng = np.random.default_rng(0)
    # Other than its first values, so that affine BN is seen.
    params = jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape), params)
    batches = [examples(seed, batch=6) for seed in (0, 1, 2)]
    own, own_stats = initialize(network, KEY, batches[0].images, jnp.zeros(()))
    mixture = to64(one_hot(space, genotype))
    key = jax.random.key_data(KEY)

    apply, of_network = supernet_apply(shared), network_apply(network)
    trainings = (
        (
            SharedTraining(apply, 1, AUXILIARY_CLASSIFICATION, make_sgd).at_mixture(
                mixture
            ),
            params,
            stats,
        ),
        (
            Training(of_network),
            grafted(params, own, space, genotype),
            grafted(stats, own_stats, space, genotype),
        ),
    )
    states, losses = [], []
    for training, first, statistics in trainings:
        state = training.init(key, first, statistics)
        step = quick_jit(training.step)
        for batch in batches[:2]:
            state, metrics = step(state, batch, SCALARS)
        states.append(state)
        losses.append(metrics["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
    images = batches[2].images
    ours, _ = apply(
        states[0].params, states[0].stats, mixture, images, KEY, train=False
    )
    theirs, _ = of_network(
        states[1].params, states[1].stats, images, jnp.zeros(()), KEY, train=False
    )
    np.testing.assert_allclose(ours, theirs.main, rtol=1e-9)


@pytest.fixture(scope="module")
def config():
    config = default_config()
    config.space, config.data.images = "nasbench201", 64
    config.retrain.update(cells=1, channels=2, epochs=2, batch_size=16, pad=1)
    config.retrain.update(flip=False, cutout=0, drop_path=0.0, auxiliary_weight=0.0)
    config.baseline.update(random_genotypes=2, repeats=1, execution="shared")
    return config


@pytest.mark.slow
def test_random_networks_and_repeats_stand_beside_the_network(config, tmp_path):
    result = retrain(config, tmp_path / "run", GENOTYPE)
    assert [r.name for r in result.repeats] == ["retrain_1"]
    assert [b.name for b in result.baselines] == ["random_0", "random_1"]
    again = read_retrained(tmp_path / "run")
    assert again.scores == result.scores == [result.score, result.repeats[0].score]
    assert again.random_mean == result.random_mean
    assert "95 % interval" in str(again)
    assert result.repeats[0].parameters == result.network.parameters
    # A finished run is read, not trained again; a member's genotype is beside it.
    found = json.loads((tmp_path / "run" / "random_1.json").read_text())
    assert Genotype.from_json(json.dumps(found)) == result.baselines[1].genotype
    assert str(retrain(config, tmp_path / "run", GENOTYPE)) == str(result)


def test_repeats_differ_by_their_seed_alone(config):
    dataset = load_dataset("digits")
    job = make_shared_training(config, dataset, [GENOTYPE] * 3)
    other = make_shared_training(
        with_overrides(config, ["seed=1"]), dataset, [GENOTYPE] * 2
    )
    assert job.start.tolist() == [0, 1, 2]
    states = [jax.jit(j.init)(j.start) for j in (job, other)]
    leaf = [np.asarray(s.params["head"]["Linear_0"]["kernel"]) for s in states]
    np.testing.assert_array_equal(leaf[0][1], leaf[1][0])
    assert (leaf[0][0] != leaf[0][1]).any()


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("retrain.drop_path=0.1", "retrain.drop_path"),
        ("retrain.auxiliary_weight=0.4", "retrain.auxiliary_weight"),
        ("retrain.network=imagenet", "retrain.network=imagenet"),
    ],
)
def test_what_the_shared_network_lacks_is_refused(config, setting, told):
    changed = with_overrides(config, [setting])
    with pytest.raises(InputError, match=told):
        make_shared_training(changed, load_dataset("digits"), [GENOTYPE])
