"""Genotypes as one-hot mixtures of one network score as their own networks do."""

import jax
import numpy as np
import pytest

from darts_jax.bilevel.discretization import one_hot
from darts_jax.cost.networks import network_cost
from darts_jax.models.network import Network
from darts_jax.proxies import PROXIES
from darts_jax.proxies.shared import score_network
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.moves import sample_genotype
from tests.support.untrained import IMAGE, batch, own_network, shared_network

SPACE = get_space("nasbench201")
TEXTS = (
    "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+"
    "|avg_pool_3x3~0|nor_conv_3x3~1|avg_pool_3x3~2|",
    "|avg_pool_3x3~0|+|avg_pool_3x3~0|nor_conv_3x3~1|+"
    "|none~0|skip_connect~1|nor_conv_1x1~2|",
    "|none~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|skip_connect~2|",
)
QUICK = ("params", "flops", "l2_norm", "snip", "naswot", "synflow")


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def shared():
    return shared_network(SPACE)


@pytest.fixture(scope="module", params=[0, pytest.param(1, marks=pytest.mark.slow), 2])
def genotype(request):
    return Genotype.from_nasbench201(TEXTS[request.param])


def compare(space, genotype, shared, names):
    proxies = {name: PROXIES[name] for name in names}
    mixture, examples = one_hot(space, genotype), batch()
    together = jax.jit(lambda m, b: score_network(shared, proxies, m, b))
    found = together(mixture, examples)
    own = own_network(space, genotype, shared)
    alone = jax.jit(lambda b: {n: proxy(own, b) for n, proxy in proxies.items()})
    for name, value in alone(examples).items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, err_msg=name)
    return found


def test_scores_are_those_of_the_network_itself(shared, genotype):
    found = compare(SPACE, genotype, shared, QUICK)
    cost = network_cost(Network(genotype, SPACE.macro, 3, 1, 2), IMAGE)
    assert (found["params"], found["flops"]) == (cost.parameters, cost.macs)


@pytest.mark.slow
def test_every_proxy_is_that_of_the_network_itself(shared, genotype):
    compare(SPACE, genotype, shared, list(PROXIES))


@pytest.mark.slow
def test_cells_with_projections_and_strides():
    space = get_space("darts")
    genotype = sample_genotype(space, np.random.default_rng(2))
    names = ("params", "snip", "naswot", "synflow", "fisher", "zico", "trainability")
    compare(space, genotype, shared_network(space, cells=3), names)
