"""Parameter counts of supernets and networks against the published ones."""

import json

import jax
import jax.numpy as jnp
import pytest

from darts_jax.models.functional import count_parameters, zero_mixture
from darts_jax.models.network import Network
from darts_jax.models.supernet import Supernet
from darts_jax.spaces import get_space
from darts_jax.spaces.darts import MACRO
from darts_jax.spaces.graph import Genotype
from darts_jax.spaces.published import PUBLISHED
from darts_jax.spaces.reading import read_genotype


def shapes_of(module, *example):
    return jax.eval_shape(
        lambda key: module.init({"params": key, "drop_path": key}, *example, False),
        jax.random.key(0),
    )["params"]


# space, classes, cells, channels, partial -> trainable scalars without alpha.
SUPERNETS = {
    ("darts", 10, 8, 16, 1): 1_930_618,
    ("darts", 100, 8, 16, 1): 1_953_748,
    ("darts", 10, 8, 16, 4): 299_578,
    ("darts", 10, 5, 16, 1): 1_275_834,
    ("darts_no_none", 10, 20, 36, 6): 2_221_750,
    ("s1", 10, 8, 16, 1): 405_146,
    ("s2", 10, 8, 16, 1): 665_466,
    ("s3", 10, 8, 16, 1): 665_466,
    ("s4", 10, 8, 16, 1): 624_506,
    ("nasbench201", 10, 5, 16, 1): 1_686_106,
    ("nasbench201_no_none", 10, 5, 16, 1): 1_686_106,
    ("nasbench201_biased", 10, 5, 16, 1): 1_692_826,
}


@pytest.mark.parametrize(("setting", "count"), SUPERNETS.items())
def test_supernet_has_the_published_count(setting, count):
    name, classes, cells, channels, partial = setting
    space = get_space(name)
    net = Supernet(space, classes, cells, channels, partial)
    shapes = shapes_of(net, jnp.zeros((2, 32, 32, 3)), zero_mixture(space))
    assert count_parameters(shapes) == count


def test_a_supernet_with_the_stem_of_imagenet_has_its_layers_more():
    """Three convolutions stand for one, a classifier of 1000 classes for one of 10."""
    space = get_space("darts")
    net = Supernet(space, 1000, 8, 16, imagenet=True)
    shapes = shapes_of(net, jnp.zeros((2, 64, 64, 3)), zero_mixture(space))
    stem = 9 * (3 * 24 + 24 * 48 + 48 * 48) + 2 * (24 + 48 + 48)
    plain = SUPERNETS["darts", 10, 8, 16, 1] - 9 * 3 * 48 - 2 * 48
    assert count_parameters(shapes) == plain + stem + (256 + 1) * 990


def test_supernet_counts_are_those_of_the_shared_table(shared):
    table = json.loads((shared / "genotypes.json").read_text())
    rows = table["supernets_without_alphas"]
    published = {row["params"] for row in rows.values()}
    assert published <= set(SUPERNETS.values())
    biased = rows["nb201_autodl_C16_N5_affineFalse"]
    (cell,) = get_space("nasbench201").cells.values()
    edges, operations = cell.shape
    assert biased["params"] + edges * operations == biased["params_incl_alpha"]


def discrete(genotype, imagenet):
    """Counts without and with the auxiliary head."""
    classes, cells, channels = (1000, 14, 48) if imagenet else (10, 20, 36)
    size = 224 if imagenet else 32
    net = Network(genotype, MACRO, classes, cells, channels, imagenet, auxiliary=True)
    shapes = shapes_of(net, jnp.zeros((2, size, size, 3)), jnp.zeros(()))
    head = count_parameters(shapes["auxiliary"])
    return count_parameters(shapes) - head, count_parameters(shapes)


@pytest.mark.slow
@pytest.mark.parametrize("imagenet", [False, True])
def test_networks_of_all_published_genotypes(shared, imagenet):
    table = json.loads((shared / "genotypes.json").read_text())["genotypes"]
    setting = "imagenet_C48_L14" if imagenet else "cifar10_C36_L20"
    for name, row in table.items():
        genotype = Genotype.from_pairs(row["genotype"])
        count, with_head = discrete(genotype, imagenet)
        if setting in row:
            assert count == row[setting]["params"], name
            assert with_head == row[setting]["params_with_aux"], name
        else:
            millions = row[f"{setting}_params_millions"]
            assert round(count / 1e6, 3) == millions, name


def test_darts_v2_without_the_shared_table():
    pairs = {
        "normal": [["sep_conv_3x3", i] for i in (0, 1, 0, 1, 1)]
        + [["skip_connect", 0], ["skip_connect", 0], ["dil_conv_3x3", 2]],
        "normal_concat": [2, 3, 4, 5],
        "reduce": [
            *([f"{op}_pool_3x3", i] for op, i in (("max", 0), ("max", 1))),
            *(["skip_connect", 2], ["max_pool_3x3", 1], ["max_pool_3x3", 0]),
            *(["skip_connect", 2], ["skip_connect", 2], ["max_pool_3x3", 1]),
        ],
        "reduce_concat": [2, 3, 4, 5],
    }
    assert discrete(Genotype.from_pairs(pairs), False) == (3_349_342, 3_825_768)


FAIR = {
    # As the released code prints them: operation, node, source. No edge leads to state
    # 3 of a normal cell; in g, one leads from there, which that code passes over.
    "a": (
        "Genotype(normal=[('sep_conv_3x3', 2, 0), ('sep_conv_5x5', 2, 1), "
        "('max_pool_3x3', 4, 0), ('sep_conv_3x3', 5, 0)], normal_concat=range(2, 6), "
        "reduce=[('max_pool_3x3', 2, 0), ('avg_pool_3x3', 2, 1), "
        "('avg_pool_3x3', 3, 0), ('dil_conv_5x5', 3, 1), ('avg_pool_3x3', 4, 0), "
        "('sep_conv_5x5', 4, 1), ('skip_connect', 5, 0), ('skip_connect', 5, 1)], "
        "reduce_concat=range(2, 6))",
        2.83,
    ),
    "g": (
        "Genotype(normal=[('sep_conv_3x3', 2, 0), ('sep_conv_3x3', 2, 1), "
        "('skip_connect', 4, 3), ('sep_conv_5x5', 4, 1), ('dil_conv_3x3', 5, 0), "
        "('sep_conv_3x3', 5, 1)], normal_concat=range(2, 6), "
        "reduce=[('avg_pool_3x3', 2, 1), ('skip_connect', 2, 0), "
        "('skip_connect', 3, 2), ('max_pool_3x3', 3, 1), ('sep_conv_5x5', 4, 3), "
        "('max_pool_3x3', 4, 0), ('dil_conv_3x3', 5, 1), ('dil_conv_3x3', 5, 4)], "
        "reduce_concat=range(2, 6))",
        3.375,
    ),
}


@pytest.mark.parametrize(("text", "millions"), FAIR.values(), ids=[*FAIR])
def test_fairdarts_cells_have_the_published_counts(text, millions):
    """Chu et al. (2020): in millions, auxiliary head included, cut off or rounded."""
    _, with_head = discrete(read_genotype(text, lambda note: None), False)
    assert millions <= with_head / 1e6 < millions + 0.01


def test_published_cells_are_those_of_the_shared_table_as_they_are_printed(shared):
    table = json.loads((shared / "genotypes.json").read_text())["genotypes"]
    assert len(table) == 14
    for name, row in table.items():
        pairs = row["genotype"]
        fields = [
            f"{key}={list(map(tuple, rows)) if 'concat' not in key else rows}"
            for key, rows in pairs.items()
        ]
        text = f"Genotype({', '.join(fields)})"
        assert read_genotype(text) == Genotype.from_pairs(pairs) == PUBLISHED[name]
