"""Settings of supernets that are trained path by path, and of evolution over them."""

from darts_jax.bilevel.elastic import AXES
from darts_jax.bilevel.paths import PATH_RULES
from darts_jax.settings.setting import COUNT, POSITIVE, SHARE, Registered, Setting

PATHS_SCHEMA: dict[str, Setting] = {
    "search.paths.rule": Setting(
        "none",
        "Paths whose gradients are summed in a step of the weights (FairNAS, BigNAS); "
        "none: one mixture by the relaxation.",
        Registered(PATH_RULES, besides=("none",)),
    ),
    "search.paths.drawn": Setting(
        2, "Paths of a step that the rule sandwich draws at random.", COUNT, "paths"
    ),
    **{
        f"search.elastic.{axis}": Setting(
            0,
            f"Epochs before smaller choices of {axis} take part (once-for-all); 0: "
            "all do from the first.",
            COUNT,
            "epochs",
        )
        for axis in AXES
    },
    "search.elastic.every": Setting(
        0,
        "Epochs between one smaller choice of an axis and the next; 0: all join at "
        "once.",
        COUNT,
        "epochs",
    ),
    "search.selection.population": Setting(
        50, "Genotypes of a generation of evolution.", POSITIVE
    ),
    "search.selection.generations": Setting(20, "Generations of evolution.", POSITIVE),
    "search.selection.parents": Setting(
        10, "Best genotypes that evolution keeps as parents.", POSITIVE
    ),
    "search.selection.mutation": Setting(
        0.1, "Share of a genotype's decisions that evolution draws anew.", SHARE
    ),
}
"""Dotted name of a setting -> its entry, a part of `schema.SCHEMA`."""
