"""Choices of a search that exclude each other, each refused with its reason.

A rule looks at the settings and the space and yields what it will not have. To add
one: append it to `RULES`.
"""

from collections.abc import Callable, Iterator

from ml_collections import ConfigDict

from darts_jax.bilevel.architecture import ARCHITECTURE_UPDATES
from darts_jax.bilevel.relaxation import RELAXATIONS
from darts_jax.bilevel.selection import SELECTIONS
from darts_jax.errors import InputError
from darts_jax.settings.schedules import Schedule
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Space

Rule = Callable[[ConfigDict, Space], Iterator[str]]
"""(config, space) -> reasons against it, in one line each."""


def refuse_illegal(config: ConfigDict) -> None:
    """Raises InputError with the reason if two choices exclude each other."""
    space = get_space(config.space)
    for rule in RULES:
        for reason in rule(config, space):
            raise InputError(reason)


def _simplex(config: ConfigDict, space: Space) -> Iterator[str]:
    settings = config.search
    shares = RELAXATIONS[settings.relaxation].simplex
    update = settings.architecture.rule
    keeps = ARCHITECTURE_UPDATES[update].simplex
    if shares and not keeps:
        yield (
            f"search.relaxation={settings.relaxation} takes weights on the simplex, "
            f"which search.architecture.rule={update} leaves; want "
            "exponentiated_gradient"
        )
    if keeps and not shares:
        yield (
            f"search.architecture.rule={update} updates weights on the simplex, and "
            f"search.relaxation={settings.relaxation} takes logits; want simplex"
        )
    if shares and settings.edge_weights:
        yield (
            "search.edge_weights are logits, which the update of search.relaxation="
            f"{settings.relaxation} would take for weights; want edge_weights=false"
        )


def _second_order(config: ConfigDict, space: Space) -> Iterator[str]:
    settings = config.search
    hard = RELAXATIONS[settings.relaxation].hard
    if hard and settings.hypergradient != "first_order":
        yield (
            f"search.relaxation={settings.relaxation} draws one operation, whose slope "
            f"is a surrogate without a derivative; search.hypergradient="
            f"{settings.hypergradient} needs one: want first_order"
        )
    if hard and _measures(settings):
        yield (
            f"search.relaxation={settings.relaxation} draws one operation, so the loss "
            "has no curvature by the architecture: want no search.stop="
            "eigenvalue_ratio and search.diagnostics of 0"
        )


def _rewards(config: ConfigDict, space: Space) -> Iterator[str]:
    settings = config.search
    update = settings.architecture.rule
    if not ARCHITECTURE_UPDATES[update].rewards:
        return
    told = f"search.architecture.rule={update} learns by rewards"
    if not RELAXATIONS[settings.relaxation].policy:
        known = [name for name, r in RELAXATIONS.items() if r.policy]
        yield (
            f"{told} of architectures drawn from softmax(alpha), and search.relaxation="
            f"{settings.relaxation} draws none; want {' or '.join(known)}"
        )
    if settings.hypergradient != "first_order":
        yield (
            f"{told}, not by search.hypergradient={settings.hypergradient}: want "
            "first_order, which it leaves unused"
        )
    if settings.regime != "split":
        yield f"{told} of the validation half alone: want search.regime=split"
    if settings.edge_weights:
        yield f"{told}, which say nothing of search.edge_weights: want false"


def _perturbation(config: ConfigDict, space: Space) -> Iterator[str]:
    settings = config.search
    relaxation = RELAXATIONS[settings.relaxation]
    if settings.perturbation == "adversarial" and relaxation.sampled:
        yield (
            f"search.relaxation={settings.relaxation} computes the drawn operation "
            "alone, so search.perturbation=adversarial is blind to the others; want "
            "random, or hard_gumbel"
        )


def _skips(config: ConfigDict, space: Space) -> Iterator[str]:
    known = {op for cell in space.cells.values() for op in cell.operations}
    settings = config.search
    auxiliary = not Schedule.parse(settings.auxiliary_skip).is_zero
    if auxiliary and "skip_connect" not in known:
        yield (
            f"search.auxiliary_skip joins skip_connect, which space {space.name!r} has "
            "not; want 0"
        )
    corruption = settings.corruption
    for name in corruption_operations(config):
        if name not in known:
            yield (
                f"search.corruption.operations has {name!r}; space {space.name!r} has "
                f"{', '.join(sorted(known))}"
            )
    if corruption.kind == "dropout" and Schedule.parse(corruption.strength).high >= 1:
        yield (
            f"search.corruption.strength is {corruption.strength}; dropout wants a "
            "rate below 1"
        )


def corruption_operations(config: ConfigDict) -> tuple[str, ...]:
    """The operations whose outputs are corrupted in training.

    A list that begins with ``!`` is of those that are not, beside ``none``.
    """
    corruption = config.search.corruption
    if corruption.kind == "none":
        return ()
    names = tuple(name for name in corruption.operations.split(",") if name)
    if not corruption.operations.startswith("!"):
        return names
    spared = {"none", *names[1:], names[0].removeprefix("!")}
    cells = get_space(config.space).cells.values()
    known = dict.fromkeys(op for cell in cells for op in cell.operations)
    return tuple(name for name in known if name not in spared)


def _alignment(config: ConfigDict, space: Space) -> Iterator[str]:
    if config.search.hook == "none":
        return
    kind, cells = hooked_cells(config, space)
    if cells < 2:
        yield (
            f"search.hook={config.search.hook} compares {kind} cells, and "
            f"supernet.cells={config.supernet.cells} gives {cells}; want at least 2"
        )


def hooked_cells(config: ConfigDict, space: Space) -> tuple[str, int]:
    """The first kind of cell that does not reduce, and how many the supernet has."""
    blocks = space.macro.layout(config.supernet.cells)
    kind = next(k for k in space.cells if k not in space.macro.reductions)
    return kind, blocks.count(kind)


def _selection(config: ConfigDict, space: Space) -> Iterator[str]:
    settings = config.search
    if settings.discretization == "edge_weighted" and not settings.edge_weights:
        yield "search.discretization=edge_weighted reads search.edge_weights: want true"
    if settings.stop == "eigenvalue_ratio" and not (
        settings.diagnostics.eigenvalue_every
    ):
        yield (
            "search.stop=eigenvalue_ratio needs eigenvalues: want "
            "search.diagnostics.eigenvalue_every of 1 or more"
        )
    if settings.stopping.window % 2 == 0:
        yield (
            f"search.stopping.window is {settings.stopping.window}; want an odd number"
        )
    yield from _checkpoints(config)


def _checkpoints(config: ConfigDict) -> Iterator[str]:
    """A supernet that a stop rule returns to has to be there still."""
    settings, stopping = config.search, config.search.stopping
    wanted = stopping.restarts or settings.discretization in SELECTIONS
    every = settings.diagnostics.eigenvalue_every
    if settings.stop != "eigenvalue_ratio" or not wanted or not every:
        return
    kept = config.checkpoint
    if every % kept.every_epochs:
        yield (
            f"search.stop=eigenvalue_ratio returns to an epoch that was measured, and "
            f"checkpoint.every_epochs={kept.every_epochs} saves others; want 1"
        )
    least = (stopping.window // 2 + stopping.delta) * every // kept.every_epochs + 1
    if kept.keep < least:
        yield (
            f"search.stop=eigenvalue_ratio returns to an earlier supernet, of which "
            f"checkpoint.keep={kept.keep} leaves too few; want at least {least}"
        )


def _budget(config: ConfigDict, space: Space) -> Iterator[str]:
    settings = config.search
    if settings.budget.rule != "none" and settings.discretization == "threshold":
        yield (
            "search.budget repairs genotypes of a fixed number of edges, and "
            "search.discretization=threshold keeps as many as it likes; want auto"
        )


def _widths(config: ConfigDict, space: Space) -> Iterator[str]:
    if space.macro.widths and config.supernet.partial_channels > 1:
        yield (
            f"supernet.partial_channels={config.supernet.partial_channels} passes "
            f"channels by, which space {space.name!r} widens; want 1"
        )


def _measures(settings: ConfigDict) -> bool:
    """Whether something is asked about second derivatives by the architecture."""
    measured = settings.diagnostics
    return bool(measured.eigenvalue_every or measured.cosine_every)


RULES: list[Rule] = [
    _simplex,
    _second_order,
    _rewards,
    _perturbation,
    _skips,
    _alignment,
    _selection,
    _budget,
    _widths,
]
