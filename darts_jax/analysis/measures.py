"""Measures that a search records of its epochs: names, units, formats and ranges."""

import dataclasses
from collections.abc import Collection, Iterable

from darts_jax.analysis.intervals import ANY, PERCENT, SHARE, MeasureRange
from darts_jax.spaces import SPACES
from darts_jax.spaces.graph import Genotype


@dataclasses.dataclass(frozen=True)
class Measure:
    """A column of a history.

    Attributes:
      name: name in titles and sentences.
      short: label beside its line.
      unit: unit, written after the number.
      scale: factor from the recorded value to that unit.
      form: format of a number, for `format`.
      source: says in an error message what makes a search record it.
      low: lower end of an axis; the axis reaches at least so far.
      high: upper end of an axis; the axis reaches at least so far.
      is_count: whether an axis shows only whole numbers.
    """

    name: str
    short: str = ""
    unit: str = ""
    scale: float = 1.0
    form: str = ".2f"
    source: str = "every search records it"
    low: float | None = None
    high: float | None = None
    is_count: bool = False

    @property
    def title(self) -> str:
        """Name and unit, as a title."""
        words = self.name[0].upper() + self.name[1:]
        return f"{words}, {self.unit}" if self.unit else words

    def format(self, value: float) -> str:
        """Formats a value without its unit.

        Args:
          value: the value, in the unit of the measure.
        """
        return format(value, self.form)

    def format_with_unit(self, value: float) -> str:
        """Formats a value with its unit.

        Args:
          value: the value, in the unit of the measure.
        """
        return f"{self.format(value)} {self.unit}".rstrip()


MEASURES = {
    "loss": Measure("training loss", "training"),
    "valid_loss": Measure("held-out loss", "held out"),
    "accuracy": Measure("training accuracy", "training", "%", 100.0, ".1f"),
    "held_out_accuracy": Measure("held-out accuracy", "held out", "%", 100.0, ".1f"),
    "discretized_accuracy": Measure(
        "discretised accuracy", "discretised", "%", 100.0, ".1f"
    ),
    "held_out_balanced_accuracy": Measure(
        "held-out mean recall",
        "held out",
        "%",
        100.0,
        ".1f",
        source="data.metric=balanced_accuracy records it",
    ),
    "discretized_balanced_accuracy": Measure(
        "discretised mean recall",
        "discretised",
        "%",
        100.0,
        ".1f",
        source="data.metric=balanced_accuracy records it",
    ),
    "held_out_rmse": Measure("held-out RMSE", "held out", form=".4g"),
    "discretized_rmse": Measure("discretised RMSE", "discretised", form=".4g"),
    "held_out_mae": Measure("held-out MAE", "held out", form=".4g"),
    "discretized_mae": Measure("discretised MAE", "discretised", form=".4g"),
    "held_out_r2": Measure("held-out R²", "held out", form=".3f"),
    "discretized_r2": Measure("discretised R²", "discretised", form=".3f"),
    "held_out_perplexity": Measure("held-out perplexity", "held out", form=".1f"),
    "discretized_perplexity": Measure(
        "discretised perplexity", "discretised", form=".1f"
    ),
    "discretization_gap": Measure(
        "discretisation gap", unit="points", scale=100.0, form=".1f", low=0.0, high=0.0
    ),
    "entropy": Measure("entropy", low=0.0, high=1.0),
    "ranking_changes": Measure(
        "number of ranking changes", low=0, form=".3g", is_count=True
    ),
    "skips": Measure("number of skips", form=".3g", low=0.0, high=1.0, is_count=True),
    "skip_share": Measure(
        "weight of skips", unit="%", scale=100.0, form=".1f", low=0.0
    ),
    "eigenvalue": Measure(
        "top eigenvalue",
        source="search.diagnostics.eigenvalue_every=1 records it at every epoch",
        form=".3f",
    ),
    "hypergradient_cosine": Measure(
        "cosine of hypergradients",
        source="search.diagnostics.cosine_every=1 records it at every epoch",
        high=1.0,
    ),
    "benchmark_accuracy": Measure(
        "true accuracy",
        unit="%",
        source="a search in nasbench201 records it where benchmark.table names a table",
    ),
    "gradient_norm": Measure("norm of the hypergradient", low=0.0, form=".2g"),
    "learning_rate": Measure("learning rate", low=0.0, form=".2g"),
}
"""Column of a history -> its measure, in the order of an overview."""


def find_measure(column: str, columns: Collection[str] = ()) -> Measure:
    """Returns the measure of a column; one of a user's own has its name.

    Args:
      column: name of the column.
      columns: names of all recorded columns: they say whether a discretisation gap is
        one of accuracies, in points, or in the unit of another score.
    """
    if column == "discretization_gap" and not _are_shares(_score_columns(columns)):
        return dataclasses.replace(MEASURES[column], unit="", scale=1.0, form=".4g")
    for begin, words in (("held_out_", "held out"), ("discretized_", "discretised")):
        if column.startswith(begin) and column not in MEASURES:
            own = column.removeprefix(begin).replace("_", " ")
            return Measure(f"{words.replace(' ', '-')} {own}", words, form=".4g")
    return MEASURES[column]


def column_range(
    column: str,
    columns: Collection[str] = (),
    genotypes: Iterable[Genotype | None] = (),
) -> MeasureRange:
    """Returns the range of a column of a history; `ANY` for an unknown one.

    Args:
      column: name of the column.
      columns: names of all recorded columns: they say whether a discretisation gap is
        one of accuracies.
      genotypes: genotypes that were found: none has more skips than it keeps edges.
    """
    if column == "discretization_gap":
        scores = _score_columns(columns)
        return SHARE.difference_range if scores and _are_shares(scores) else ANY
    if column == "benchmark_accuracy":
        return PERCENT
    if column in ("entropy", "skip_share"):
        return SHARE
    if column == "skips":
        kept = [
            _count_kept_edges(genotype)
            for genotype in genotypes
            if genotype is not None
        ]
        return MeasureRange(0.0, max(kept)) if kept else MeasureRange(low=0.0)
    score = column
    for begin in ("held_out_", "discretized_", "test_"):
        score = score.removeprefix(begin)
    if score.endswith("accuracy") or score in ("ap", "ap_50"):
        return SHARE
    if score in ("rmse", "mae"):
        return MeasureRange(low=0.0)
    if score == "r2":
        return MeasureRange(high=1.0)
    return MeasureRange(low=1.0) if score == "perplexity" else ANY


def _score_columns(columns: Iterable[str]) -> list[str]:
    return [c for c in columns if str(c).startswith(("held_out_", "discretized_"))]


def _are_shares(scores: Iterable[str]) -> bool:
    return all(column_range(score) == SHARE for score in scores)


def _count_kept_edges(genotype: Genotype) -> int:
    """Counts the kept edges of the cells whose skips are counted."""
    space = SPACES.get(genotype.space)
    reductions = space.macro.reductions if space else ()
    cells = genotype.cells.items()
    return sum(len(cell.choices) for kind, cell in cells if kind not in reductions)
