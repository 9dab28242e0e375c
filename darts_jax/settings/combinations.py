"""Choices that exclude each other, in one table with the reason for each.

To add one: append an `Exclusion` to `EXCLUSIONS`.
"""

import dataclasses
from collections.abc import Callable

from ml_collections import ConfigDict

from darts_jax.bilevel.architecture import ARCHITECTURE_UPDATES, ArchitectureUpdate
from darts_jax.bilevel.elastic import AXES
from darts_jax.bilevel.paths import PATH_RULES
from darts_jax.bilevel.relaxation import RELAXATIONS, Relaxation
from darts_jax.bilevel.selection import SELECTIONS
from darts_jax.errors import InputError
from darts_jax.models.entanglement import find_entangled
from darts_jax.settings.schedules import FLAT_EPOCHS, FLATTENED, Schedule
from darts_jax.spaces import get_space
from darts_jax.spaces.graph import Space
from darts_jax.spaces.sizes import rank_operations

_SAMPLING = ("best_sampled", "best_of_policy", "most_probable", "evolution")


@dataclasses.dataclass(frozen=True)
class Choices:
    """A config as the table of exclusions asks for it.

    Attributes:
      config: all settings.
      space: the one that ``config.space`` names.
    """

    config: ConfigDict
    space: Space

    @property
    def search(self) -> ConfigDict:
        """The settings of the search."""
        return self.config.search

    @property
    def relaxation(self) -> Relaxation:
        """The relaxation that is chosen."""
        return RELAXATIONS[self.search.relaxation]

    @property
    def update(self) -> ArchitectureUpdate:
        """The update of the architecture that is chosen."""
        return ARCHITECTURE_UPDATES[self.search.architecture.rule]

    @property
    def operations(self) -> str:
        """The names of the space's operations, sorted."""
        cells = self.space.cells.values()
        return ", ".join(sorted({op for cell in cells for op in cell.operations}))

    @property
    def policies(self) -> str:
        """The names of the relaxations that draw an architecture."""
        return " or ".join(name for name, r in RELAXATIONS.items() if r.policy)

    @property
    def unknown_corrupted(self) -> list[str]:
        """The operations to corrupt that the space has not."""
        return [op for op in corruption_operations(self.config) if not self.has(op)]

    @property
    def hooked(self) -> tuple[str, int]:
        """The kind of cell that a hook compares, and how many there are."""
        return hooked_cells(self.config, self.space)

    @property
    def returns_to_checkpoint(self) -> bool:
        """Says whether a stop by eigenvalues needs the supernet of an earlier epoch."""
        return (
            self.search.stop == "eigenvalue_ratio"
            and bool(self.search.diagnostics.eigenvalue_every)
            and bool(
                self.search.stopping.restarts
                or self.search.discretization in SELECTIONS
            )
        )

    @property
    def least_kept(self) -> int:
        """Checkpoints that reach back to the epoch that such a stop returns to."""
        stopping = self.search.stopping
        epochs = (stopping.window // 2 + stopping.delta) * (
            self.search.diagnostics.eigenvalue_every
        )
        return epochs // self.config.checkpoint.every_epochs + 1

    @property
    def has_contests(self) -> bool:
        """Says whether some cell of the space says itself which edges compete."""
        return any(cell.contests for cell in self.space.cells.values())

    @property
    def entangled(self) -> dict[str, str]:
        """Operations that are part of another, and those."""
        return self._find_entangled(kernels=True, expansions=False)

    @property
    def entangled_expansions(self) -> dict[str, str]:
        """Mobile blocks that are part of one of a larger expansion, and those."""
        return self._find_entangled(kernels=False, expansions=True)

    def _find_entangled(self, *, kernels: bool, expansions: bool) -> dict[str, str]:
        return {
            name: large
            for cell in self.space.cells.values()
            for name, large in find_entangled(
                cell.operations, kernels=kernels, expansions=expansions
            ).items()
        }

    @property
    def rigid(self) -> list[str]:
        """Axes that are to shrink, on which the space has one choice."""
        return [
            axis
            for axis in AXES
            if self.search.elastic[axis]
            and not any(
                any(map(any, rank_operations(cell, axis)))
                for cell in self.space.cells.values()
            )
        ]

    def all_have(self, operation: str) -> bool:
        """Returns whether every edge of the space has an operation."""
        return all(
            operation in edge.operations
            for cell in self.space.cells.values()
            for edge in cell.edges
        )

    def has(self, operation: str) -> bool:
        """Returns whether some cell of the space has an operation."""
        return any(operation in cell.operations for cell in self.space.cells.values())


@dataclasses.dataclass(frozen=True)
class Exclusion:
    """Settings some of whose values exclude each other.

    Attributes:
      settings: dotted names.
      holds: whether they exclude each other in a config.
      reason: the refusal, in which ``{search.stop}`` stands for a setting's value and
        ``{choices.NAME}`` for an attribute of `Choices`.
    """

    settings: tuple[str, ...]
    holds: Callable[[Choices], bool]
    reason: str


EXCLUSIONS: list[Exclusion] = [
    Exclusion(
        ("search.microbatches", "search.batch_size"),
        lambda c: c.config.search.batch_size % c.config.search.microbatches != 0,
        "setting search.microbatches is {search.microbatches}; want a divisor of "
        "search.batch_size, {search.batch_size}",
    ),
    Exclusion(
        ("retrain.microbatches", "retrain.batch_size"),
        lambda c: c.config.retrain.batch_size % c.config.retrain.microbatches != 0,
        "setting retrain.microbatches is {retrain.microbatches}; want a divisor of "
        "retrain.batch_size, {retrain.batch_size}",
    ),
    Exclusion(
        ("retrain.schedule", "retrain.epochs"),
        lambda c: (
            c.config.retrain.schedule == FLATTENED
            and c.config.retrain.epochs <= FLAT_EPOCHS
        ),
        "retrain.schedule=flattened ends with 5 flat epochs, and retrain.epochs is "
        "{retrain.epochs}; want more than 5",
    ),
    Exclusion(
        ("supernet.partial_channels", "supernet.channels"),
        lambda c: (
            c.config.supernet.channels % c.config.supernet.partial_channels != 0
            and c.space.family != "module"
        ),
        "setting supernet.partial_channels is {supernet.partial_channels}; want a "
        "divisor of supernet.channels, {supernet.channels}",
    ),
    Exclusion(
        ("search.relaxation", "search.architecture.rule"),
        lambda c: c.relaxation.simplex and not c.update.simplex,
        "search.relaxation={search.relaxation} takes weights on the simplex, which "
        "search.architecture.rule={search.architecture.rule} leaves; want "
        "exponentiated_gradient",
    ),
    Exclusion(
        ("search.architecture.rule", "search.relaxation"),
        lambda c: c.update.simplex and not c.relaxation.simplex,
        "search.architecture.rule={search.architecture.rule} updates weights on the "
        "simplex, and search.relaxation={search.relaxation} takes logits; want simplex",
    ),
    Exclusion(
        ("search.relaxation", "search.hypergradient"),
        lambda c: c.relaxation.hard and c.search.hypergradient != "first_order",
        "search.relaxation={search.relaxation} draws one operation, whose slope is a "
        "surrogate without a derivative; search.hypergradient={search.hypergradient} "
        "needs one: want first_order",
    ),
    Exclusion(
        (
            "search.relaxation",
            "search.stop",
            "search.diagnostics.eigenvalue_every",
            "search.diagnostics.cosine_every",
        ),
        lambda c: (
            c.relaxation.hard
            and bool(
                c.search.diagnostics.eigenvalue_every
                or c.search.diagnostics.cosine_every
            )
        ),
        "search.relaxation={search.relaxation} draws one operation, so the loss has no "
        "curvature by the architecture: want no search.stop=eigenvalue_ratio and "
        "search.diagnostics of 0",
    ),
    Exclusion(
        ("search.architecture.rule", "search.relaxation"),
        lambda c: c.update.rewards and not c.relaxation.policy,
        "search.architecture.rule={search.architecture.rule} learns by rewards of "
        "architectures drawn from softmax(alpha), and search.relaxation="
        "{search.relaxation} draws none; want {choices.policies}",
    ),
    Exclusion(
        ("search.architecture.rule", "search.hypergradient"),
        lambda c: c.update.rewards and c.search.hypergradient != "first_order",
        "search.architecture.rule={search.architecture.rule} learns by rewards, not by "
        "search.hypergradient={search.hypergradient}: want first_order, which it "
        "leaves unused",
    ),
    Exclusion(
        ("search.architecture.rule", "search.regime"),
        lambda c: c.update.rewards and c.search.regime != "split",
        "search.architecture.rule={search.architecture.rule} learns by rewards of the "
        "validation half alone: want search.regime=split",
    ),
    Exclusion(
        ("search.architecture.rule", "search.edge_weights"),
        lambda c: c.update.rewards and c.search.edge_weights,
        "search.architecture.rule={search.architecture.rule} learns by rewards, which "
        "say nothing of search.edge_weights: want false",
    ),
    Exclusion(
        ("search.relaxation", "search.perturbation"),
        lambda c: c.relaxation.sampled and c.search.perturbation == "adversarial",
        "search.relaxation={search.relaxation} computes the drawn operation alone, so "
        "search.perturbation=adversarial is blind to the others; want random, or "
        "hard_gumbel",
    ),
    Exclusion(
        ("supernet.entangled", "space"),
        lambda c: c.config.supernet.entangled and c.space.macro.axes == 1,
        "supernet.entangled takes the middle of square kernels, and those of space "
        "{space!r} are windows along one axis: want false",
    ),
    Exclusion(
        ("supernet.entangled", "space"),
        lambda c: c.config.supernet.entangled and not c.entangled,
        "supernet.entangled is for operations that differ in the size of their kernels "
        "alone, as sep_conv_3x3 and sep_conv_5x5, and space {space!r} has none: want "
        "false",
    ),
    Exclusion(
        ("supernet.entangled_expansions", "space"),
        lambda c: c.config.supernet.entangled_expansions and not c.entangled_expansions,
        "supernet.entangled_expansions is for mobile blocks that differ in their "
        "expansion, as mb3_3x3 and mb6_3x3, and space {space!r} has none: want false",
    ),
    Exclusion(
        ("search.paths.rule", "task"),
        lambda c: (
            c.search.paths.rule != "none"
            and PATH_RULES[c.search.paths.rule].distils
            and c.config.task != "classification"
        ),
        "search.paths.rule={search.paths.rule} teaches smaller paths the logits of the "
        "largest, and task={task} has none; want fair",
    ),
    Exclusion(
        ("search.paths.rule", "search.perturbation"),
        lambda c: c.search.paths.rule != "none" and c.search.perturbation != "none",
        "search.paths.rule={search.paths.rule} trains the weights on paths, which "
        "search.perturbation={search.perturbation} would mix; want none",
    ),
    Exclusion(
        ("search.paths.rule", "search.flood"),
        lambda c: (
            c.search.paths.rule != "none" and not Schedule.parse(c.search.flood).is_zero
        ),
        "search.flood looks at one loss, and search.paths.rule={search.paths.rule} has "
        "several in a step; want 0",
    ),
    Exclusion(
        ("search.paths.rule", "search.hook"),
        lambda c: c.search.paths.rule != "none" and c.search.hook != "none",
        "search.hook={search.hook} compares cells of one mixture, and "
        "search.paths.rule={search.paths.rule} has several in a step; want none",
    ),
    Exclusion(
        (*(f"search.elastic.{axis}" for axis in AXES), "space"),
        lambda c: bool(c.rigid),
        "search.elastic.{choices.rigid[0]} is for a space with several sizes of it on "
        "an edge, and space {space!r} has one: want 0",
    ),
    Exclusion(
        ("search.decisions.every", "space"),
        lambda c: bool(c.search.decisions.every) and not c.all_have("none"),
        "search.decisions.every closes edges by their operation none, which space "
        "{space!r} has not everywhere; want 0",
    ),
    Exclusion(
        ("search.decisions.every", "search.discretization"),
        lambda c: (
            bool(c.search.decisions.every) and c.search.discretization in SELECTIONS
        ),
        "search.decisions.every decides while the search goes on, and "
        "search.discretization={search.discretization} on the supernet behind it; want "
        "0, or auto",
    ),
    Exclusion(
        ("search.auxiliary_skip", "space"),
        lambda c: (
            not Schedule.parse(c.search.auxiliary_skip).is_zero
            and not c.has("skip_connect")
        ),
        "search.auxiliary_skip joins skip_connect, which space {space!r} has not; "
        "want 0",
    ),
    Exclusion(
        ("search.corruption.operations", "space"),
        lambda c: bool(c.unknown_corrupted),
        "search.corruption.operations has {choices.unknown_corrupted[0]!r}; space "
        "{space!r} has {choices.operations}",
    ),
    Exclusion(
        ("search.corruption.kind", "search.corruption.strength"),
        lambda c: (
            c.search.corruption.kind == "dropout"
            and Schedule.parse(c.search.corruption.strength).high >= 1
        ),
        "search.corruption.strength is {search.corruption.strength}; dropout wants a "
        "rate below 1",
    ),
    Exclusion(
        ("search.hook", "supernet.cells"),
        lambda c: c.search.hook != "none" and c.hooked[1] < 2,
        "search.hook={search.hook} compares {choices.hooked[0]} cells, and "
        "supernet.cells={supernet.cells} gives {choices.hooked[1]}; want at least 2",
    ),
    Exclusion(
        ("search.discretization", "search.edge_weights"),
        lambda c: (
            c.search.discretization == "edge_weighted" and not c.search.edge_weights
        ),
        "search.discretization=edge_weighted reads search.edge_weights: want true",
    ),
    Exclusion(
        ("space", "search.edge_weights"),
        lambda c: c.has_contests and not c.search.edge_weights,
        "space {space!r} is searched by weights of its edges: want "
        "search.edge_weights=true",
    ),
    Exclusion(
        ("space", "search.discretization"),
        lambda c: (
            c.has_contests
            and c.search.discretization not in ("auto", "edge_weighted", *SELECTIONS)
        ),
        "space {space!r} says how many edges compete for how many places, which "
        "search.discretization={search.discretization} does not know: want auto",
    ),
    Exclusion(
        ("space", "search.edges_per_node"),
        lambda c: c.has_contests and bool(c.search.edges_per_node),
        "space {space!r} says how many edges a node keeps, and "
        "search.edges_per_node={search.edges_per_node} another number: want 0",
    ),
    Exclusion(
        ("search.selection.proxy", "search.discretization"),
        lambda c: (
            c.search.selection.proxy != "none"
            and c.search.discretization not in _SAMPLING
        ),
        "search.selection.proxy={search.selection.proxy} ranks sampled genotypes, and "
        "search.discretization={search.discretization} samples none: want "
        f"{' or '.join(_SAMPLING)}",
    ),
    Exclusion(
        ("search.selection.proxy", "task", "space", "retrain.network"),
        lambda c: (
            c.search.selection.proxy != "none"
            and (
                c.config.task != "classification"
                or c.config.retrain.network != "cifar"
                or c.space.family != "cells"
                or any(cell.width_edge is not None for cell in c.space.cells.values())
            )
        ),
        "search.selection.proxy={search.selection.proxy} scores networks of image "
        "cells without a choice of widths, of retrain.network=cifar: not task={task} "
        "with space={space}; want none",
    ),
    Exclusion(
        ("search.selection.statistics", "task"),
        lambda c: (
            c.search.selection.statistics == "batch"
            and c.config.task not in ("classification", "regression", "detection")
        ),
        "search.selection.statistics=batch is of images, and task={task}; want running",
    ),
    Exclusion(
        ("search.selection.statistics", "task", "data.name"),
        lambda c: (
            c.search.selection.statistics == "recalibrated"
            and (
                c.config.task != "classification"
                or c.config.data.name.startswith("stream:")
            )
        ),
        "search.selection.statistics=recalibrated is of images in memory by class, and "
        "here are task={task}, data.name={data.name}; want running",
    ),
    Exclusion(
        ("search.stop", "search.diagnostics.eigenvalue_every"),
        lambda c: (
            c.search.stop == "eigenvalue_ratio"
            and not c.search.diagnostics.eigenvalue_every
        ),
        "search.stop=eigenvalue_ratio needs eigenvalues: want "
        "search.diagnostics.eigenvalue_every of 1 or more",
    ),
    Exclusion(
        ("search.stopping.window",),
        lambda c: c.search.stopping.window % 2 == 0,
        "search.stopping.window is {search.stopping.window}; want an odd number",
    ),
    # A supernet that a stop rule returns to has to be there still.
    Exclusion(
        (
            "search.stop",
            "search.diagnostics.eigenvalue_every",
            "checkpoint.every_epochs",
        ),
        lambda c: (
            c.returns_to_checkpoint
            and c.search.diagnostics.eigenvalue_every % c.config.checkpoint.every_epochs
            != 0
        ),
        "search.stop=eigenvalue_ratio returns to an epoch that was measured, and "
        "checkpoint.every_epochs={checkpoint.every_epochs} saves others; want 1",
    ),
    Exclusion(
        ("search.stop", "search.stopping.delta", "checkpoint.keep"),
        lambda c: c.returns_to_checkpoint and c.config.checkpoint.keep < c.least_kept,
        "search.stop=eigenvalue_ratio returns to an earlier supernet, of which "
        "checkpoint.keep={checkpoint.keep} leaves too few; want at least "
        "{choices.least_kept}",
    ),
    Exclusion(
        ("search.budget.rule", "search.discretization"),
        lambda c: (
            c.search.budget.rule != "none" and c.search.discretization == "threshold"
        ),
        "search.budget repairs genotypes of a fixed number of edges, and "
        "search.discretization=threshold keeps as many as it likes; want auto",
    ),
    Exclusion(
        ("supernet.partial_channels", "space"),
        lambda c: bool(c.space.macro.widths) and c.config.supernet.partial_channels > 1,
        "supernet.partial_channels={supernet.partial_channels} passes channels by, "
        "which space {space!r} widens; want 1",
    ),
]


def refuse_illegal(config: ConfigDict) -> None:
    """Raises InputError with the reason if choices exclude each other.

    Args:
      config: settings each of which may have its value.
    """
    choices = Choices(config, get_space(config.space))
    for exclusion in EXCLUSIONS:
        if exclusion.holds(choices):
            raise InputError(exclusion.reason.format(choices=choices, **config))


def corruption_operations(config: ConfigDict) -> tuple[str, ...]:
    """Returns the operations whose outputs are corrupted in training.

    Args:
      config: of which ``search.corruption`` and ``space`` are read. A list that begins
        with ``!`` is of those that are not corrupted, beside ``none``.
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


def hooked_cells(config: ConfigDict, space: Space) -> tuple[str, int]:
    """Returns the first kind of cell that does not reduce, and how many there are.

    Args:
      config: of which ``supernet.cells`` is read.
      space: of the supernet.
    """
    blocks = space.macro.layout(config.supernet.cells)
    kind = next(k for k in space.cells if k not in space.macro.reductions)
    return kind, blocks.count(kind)
