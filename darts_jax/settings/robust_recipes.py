"""Recipes of searches in S1 to S4, by a proxy, and what RobustDARTS's cells kept.

Zela et al. (2020) show that DARTS collapses in these spaces. Their code lists the cells
that were found; what is compared is how often the normal cell kept the operation
without weights: ``skip_connect``, in S4 ``noise``.
"""

from darts_jax.settings.darts_recipes import DARTS_NUMBERS
from darts_jax.settings.recipe import Published, Recipe, Settings

NORMAL_EDGES = 8
"""Operations of a normal cell of DARTS's shape: two into each of four nodes."""

_CODE = "automl/RobustDARTS"
_LOGGED = f"{_CODE}, experiments/search_logs/results_arch.yaml"
_LISTED = f"{_CODE}, src/genotypes.py"
_NUMBERS: dict[str, Settings] = {
    f"{_CODE}, src/search/args.py": {"data.images": 0, **DARTS_NUMBERS},
    f"{_CODE}, scripts/DARTS_search.sh": {"search.hypergradient": "finite_difference"},
}
_PROXY: Settings = {
    "data.images": 4000,
    "supernet.cells": 5,
    "supernet.channels": 8,
    "search.epochs": 20,
    "search.batch_size": 32,
    "search.architecture.learning_rate": 0.005,
    "search.hypergradient": "first_order",
}
_IMAGES = "CIFAR-10 itself was published, ours is a copy as JPEG where that is at hand"
_JOB = (
    "that the listed cells of jobs {jobs} are those without regularization is read "
    "off their numbers, one job for each space and data set"
)


def _darts(counts: tuple[int, ...], source: str, *said: str) -> Recipe:
    """Returns the recipe of first-order DARTS beside the counts of published cells."""
    mean = sum(counts) / len(counts)
    return Recipe(
        Published(mean, None, f"{source}: {', '.join(map(str, counts))}"),
        _NUMBERS,
        (_IMAGES, *said),
        departures=_PROXY,
    )


_L2: dict[str, Settings] = {
    **_NUMBERS,
    f"{_CODE}, experiments/search_logs, 0.0_0.0081": {"search.weights.decay": 0.0081},
}
_JOBS = _JOB.format(jobs="1127861, 1127864 and 1127865")
ROBUST_RECIPES: dict[str, dict[str, Recipe]] = {
    "s1": {
        "darts": _darts((7, 7, 7), f"{_LOGGED}, 0.0_0.0003"),
        "r_darts_l2": Recipe(
            Published(2.0, None, f"{_LOGGED}, 0.0_0.0081: 2, 2, 2"),
            _L2,
            (_IMAGES,),
            departures=_PROXY,
        ),
    },
    "s2": {
        "darts": _darts((6, 8), f"{_LISTED}, job 1127861", _JOBS),
        "r_darts_l2": Recipe(numbers=_L2, departures=_PROXY),
    },
    "s3": {
        "darts": _darts((8, 8), f"{_LISTED}, job 1127864", _JOBS),
        "r_darts_l2": Recipe(numbers=_L2, departures=_PROXY),
    },
    "s4": {
        "darts": _darts((3, 5), f"{_LISTED}, job 1127865", _JOBS),
        "r_darts_l2": Recipe(numbers=_L2, departures=_PROXY),
    },
}
"""Space -> name of a method -> its recipe, with the counts of published cells."""
