"""Recipes of the figures in the DARTS space on CIFAR-10: a search for each paper."""

from darts_jax.settings.methods import METHODS
from darts_jax.settings.recipe import Published, Recipe

_ON_CIFAR10 = {
    "darts": (3.00, 0.14),
    "darts_second_order": (2.76, 0.09),
    "snas": (2.85, 0.02),
    "gdas": (2.93, None),
    "p_darts": (2.50, None),
    "pc_darts": (2.57, 0.07),
    "r_darts_l2": (2.95, 0.21),
    "sdarts_rs": (2.67, 0.03),
    "sdarts_adv": (2.61, 0.02),
    "fair_darts": (2.54, 0.05),
    "drnas_progressive": (2.46, 0.03),
    "darts_pt": (2.61, 0.08),
    "darts_minus": (2.59, 0.08),
    "beta_darts": (2.53, 0.08),
    "lambda_darts": (2.52, 0.11),
    "darts_plus": (2.50, 0.11),
}

DARTS_RECIPES: dict[str, Recipe] = {
    name: Recipe(Published(mean, spread, METHODS[name].source))
    for name, (mean, spread) in _ON_CIFAR10.items()
}
"""Name of a method -> the recipe of its figure in the DARTS space, CIFAR-10."""
