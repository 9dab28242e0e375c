"""Mobile networks: their blocks, the chains that are searched, published counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from darts_jax.bilevel.discretization import one_hot, random_genotype
from darts_jax.cost.networks import network_cost
from darts_jax.errors import InputError
from darts_jax.models.functional import (
    count_parameters,
    initialize,
    initialize_supernet,
    network_apply,
    supernet_apply,
)
from darts_jax.models.network import Network
from darts_jax.models.operations.image import make_operation
from darts_jax.models.operations.mobile import make_block
from darts_jax.models.operations.operation import add_residual
from darts_jax.models.supernet import Supernet
from darts_jax.spaces import SPACES, get_space, moves
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.mobile import BlockStage, block_names, mobile_space
from darts_jax.spaces.published import get_genotype
from darts_jax.spaces.published_mobile import MOBILE_NETWORKS
from darts_jax.spaces.scaling import scaled
from darts_jax.spaces.widths import rounded
from darts_jax.types import Mixture
from tests.support.tiny import quick_jit

# With 1000 classes: as torchvision has the first and EfficientNet's authors theirs, and
# as pytorchcv counts the networks that the others' authors released.
COUNTS = {
    "MobileNetV2": 3_504_872,
    "ProxylessNAS_GPU": 7_119_848,
    "ProxylessNAS_CPU": 4_361_648,
    "ProxylessNAS_Mobile": 4_080_512,
    "FBNet_C": 5_572_200,
    "EfficientNet_B0": 5_288_548,
    "EfficientNet_B1": 7_794_184,
    "EfficientNet_B2": 9_109_994,
    "EfficientNet_B3": 12_233_232,
    "EfficientNet_B4": 19_341_616,
    "EfficientNet_B5": 30_389_784,
    "EfficientNet_B6": 43_040_704,
    "EfficientNet_B7": 66_347_960,
}


def named(name, classes=1000):
    genotype = get_genotype(name)
    return Network(genotype, get_space(genotype.space).macro, classes, 1, 16)


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_published_networks_have_their_parameters(name, count):
    net = named(name)
    shapes = jax.eval_shape(
        lambda key: net.init(
            {"params": key, "drop_path": key},
            jnp.zeros((2, 64, 64, 3)),
            jnp.zeros(()),
            False,
        ),
        jax.random.key(0),
    )
    assert count_parameters(shapes["params"]) == count


def test_every_published_network_is_counted_and_comes_back_from_json():
    assert set(COUNTS) == set(MOBILE_NETWORKS)
    for name in COUNTS:
        genotype = get_genotype(name)
        assert Genotype.from_json(genotype.to_json()) == genotype
        kinds = get_space(genotype.space).cells
        assert set(genotype.widths) == {"stem", *kinds, "features"}


def test_multiply_accumulates_are_those_of_the_papers():
    # MobileNetV2's 300 million (table 4), EfficientNet-B0's 390 million (table 2).
    for name, millions in {"MobileNetV2": 300, "EfficientNet_B0": 390}.items():
        assert network_cost(named(name), (224, 224, 3)).macs / 1e6 == pytest.approx(
            millions, rel=0.02
        )


def reference_block(params, x, stride, act, excites):
    """The equations of a block in `lax`, in train mode, without the input added."""

    def conv(x, kernel, stride=1, groups=1):
        side = kernel.shape[0] // 2
        return lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            [(side, side)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    def norm(x):
        return (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)

    if "expand" in params:
        x = act(norm(conv(x, params["expand"]["kernel"])))
    kernel = params["depthwise"]["kernel"][:, :, None]
    x = act(norm(conv(x, kernel, stride, x.shape[-1])))
    if excites:
        inner, outer = (params["excite"][f"Conv_{i}"] for i in (0, 1))
        pooled = x.mean((1, 2))
        inner = act(pooled @ inner["kernel"][0, 0] + inner["bias"])
        scale = inner @ outer["kernel"][0, 0] + outer["bias"]
        x = x / (1 + np.exp(-scale))[:, None, None]
    return norm(conv(x, params["project"]["kernel"]))


@pytest.mark.parametrize(
    ("name", "channels", "stride", "act", "hidden"),
    [
        ("mb1_3x3", 6, 1, lambda x: np.clip(x, 0, 6), 6),
        ("mb6_5x5_se_swish", 6, 1, lambda x: x / (1 + np.exp(-x)), 36),
        ("mb3_7x7_se", 10, 2, lambda x: np.clip(x, 0, 6), 18),
        ("ir1_5x5", 6, 1, lambda x: np.maximum(x, 0), 6),
    ],
)
def test_a_block_is_its_equations(name, channels, stride, act, hidden):
    module = make_operation(name, channels, stride, discrete=True)
    x = jax.random.normal(jax.random.key(0), (3, 9, 8, 6))
    params, stats = initialize(module, jax.random.key(1), x)
    assert params["depthwise"]["kernel"].shape[-1] == hidden
    assert ("expand" in params) == (name != "mb1_3x3")

    @quick_jit
    def run(params, x):
        variables = {"params": params, "batch_stats": stats}
        y, _ = module.apply(variables, x, True, mutable=["batch_stats"])
        return add_residual(module, x, y)

    found = run(params, x)
    wanted = reference_block(params, x, stride, act, "_se" in name)
    assert found.shape == (3, *((9, 8) if stride == 1 else (5, 4)), channels)
    if (stride, channels) == (1, 6):
        wanted = wanted + x
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_names_outside_the_grammar_are_refused():
    for name in ("mb3_3x5", "xx3_3x3", "mb3_3x3_swish_se"):
        with pytest.raises(InputError, match="mb6_5x5_se_swish"):
            make_block(name)


@pytest.mark.parametrize(
    ("width", "expected"), [(22.4, 24), (35.2, 32), (11.0, 16), (3.0, 8), (352.0, 352)]
)
def test_widths_are_rounded_as_mobilenets_are(width, expected):
    # 11 to 8 would take more than a tenth away.
    assert rounded(width) == expected


def tiny(shares=()):
    stages = [
        BlockStage(8, 1, 1, ("mb1_3x3",)),
        BlockStage(16, 3, 2, block_names((3,), (3, 5)), shares),
    ]
    return mobile_space("tiny_mobile", stages, stem=8, features=16, stem_stride=1)


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["scan", "batch"])
def test_a_path_of_the_supernet_is_the_genotypes_network(execution):
    space = tiny()
    drawn = random_genotype(space, np.random.default_rng(3))
    operations = [c.operation for c in drawn.cells["stage_2"].choices]
    assert operations[0].startswith("mb3")
    assert "skip_connect" in operations[1:]
    net = Supernet(space, 3, 1, 8, execution=execution)
    network = Network(drawn, space.macro, 3, 1, 8)
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    key = jax.random.key(1)
    params, stats = initialize_supernet(net, key, (8, 8, 3))
    own, own_stats = initialize(network, key, images, jnp.zeros(()))
    # Of every block of the path, the element of its stack.
    edges = params["blocks_1_1"]["edges"]
    moved = {}
    for i, operation in enumerate(operations):
        stack = f"{operation}_stride2_widening" if i == 0 else operation
        if operation != "skip_connect":
            moved[f"edge_{i}_{i + 1}_{i}"] = element(edges[stack], max(0, i - 1))
    fixed = params["blocks_0_0"]["edges"]["mb1_3x3"]
    merged = dict(own) | {"stem": params["stem"], "head": params["head"]}
    only = {"edge_0_1_0": element(fixed, 0)}
    merged["blocks_0_0"] = graft(own["blocks_0_0"], only)
    merged["blocks_1_1"] = graft(own["blocks_1_1"], moved)
    logits, _ = network_apply(network)(
        merged, own_stats, images, jnp.zeros(()), key, train=True
    )
    path, _ = supernet_apply(net)(
        params, stats, one_hot(space, drawn), images, key, train=True
    )
    np.testing.assert_allclose(logits.main, path, atol=1e-4)


def element(stack, at):
    """Returns one edge's parameters out of those of a cell that stands alone."""
    return jax.tree.map(lambda leaf: leaf[0, at], stack)


def graft(own, moved):
    """A block's parameters with convolutions of others; the affine BN stays at 1, 0."""
    result = {}
    for name, module in own.items():
        result[name] = dict(module)
        for layer, leaves in moved[name].items():
            result[name][layer] = jax.tree.map(lambda leaf: leaf[None], leaves)
    return result


def test_narrow_widths_close_the_last_channels():
    space = tiny((0.5, 1.0))
    net = Supernet(space, 3, 1, 8)
    cell = space.cells["stage_2"]
    assert (cell.width_edge, cell.width_shares) == (3, (0.5, 1.0))
    params, stats = initialize_supernet(net, jax.random.key(0), (8, 8, 3))
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    equal = {k: jnp.ones(c.shape) / c.shape[1] for k, c in space.cells.items()}

    @quick_jit
    def slope(weights):
        def logits(kernel):
            head = params["head"] | {"Conv_0": {"kernel": kernel}}
            tree = params | {"head": head}
            key = jax.random.key(0)
            apply = supernet_apply(net)
            return apply(tree, stats, Mixture(weights), images, key, train=True)[0][
                0, 0
            ]

        return jax.grad(logits)(params["head"]["Conv_0"]["kernel"])[0, 0]

    for weights, closed in (((1.0, 0.0, 0.0), 8), ((0.5, 0.5, 0.0), 16)):
        stage = equal["stage_2"].at[3].set(jnp.array(weights))
        open_channels = np.any(np.asarray(slope({**equal, "stage_2": stage})), -1)
        assert open_channels.tolist() == [i < closed for i in range(16)]


def test_a_genotype_of_narrow_stages_is_a_narrow_network(monkeypatch):
    space = tiny((0.5, 1.0))
    monkeypatch.setitem(SPACES, space.name, space)
    rng = np.random.default_rng(0)
    found = {random_genotype(space, rng).cells["stage_2"].width_share for _ in range(9)}
    assert found == {0.5, 1.0}
    narrow = next(
        g
        for g in iter(lambda: random_genotype(space, rng), None)
        if g.cells["stage_2"].width_share == 0.5
    )
    net = Network(narrow, space.macro, 3, 1, 8)
    assert [block.channels for block in net.blocks()] == [8, 8]
    assert Genotype.from_json(narrow.to_json()) == narrow
    assert len(moves.list_neighbours(space, narrow)) > 4


def test_scaling_a_found_genotype(monkeypatch):
    space = tiny((0.5, 1.0))
    monkeypatch.setitem(SPACES, space.name, space)
    rng = np.random.default_rng(3)
    genotype = random_genotype(space, rng)
    larger, side = scaled(
        genotype, space.macro, depth=2, width=1.5, resolution=1.5, side=32, channels=16
    )
    kept = [
        c.operation
        for c in genotype.cells["stage_2"].choices
        if c.operation.startswith("mb")
    ]
    assert side == 48
    assert larger.widths["stem"] == 24
    assert [c.operation for c in larger.cells["stage_2"].choices] == [
        operation for operation in kept for _ in range(2)
    ]
    share = genotype.cells["stage_2"].width_share
    assert larger.widths["stage_2"] == rounded(1.5 * rounded(32 * share))
    assert Genotype.from_json(larger.to_json()) == larger
    with pytest.raises(InputError, match="above 0"):
        scaled(genotype, space.macro, depth=0)
    with pytest.raises(InputError, match="no chain"):
        scaled(get_genotype("DARTS_V2"), get_space("darts").macro)
