"""What the sections of a page say, from plain facts."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from darts_jax.html import code, details, paragraph, table, text
from darts_jax.reports.figures import Figures
from darts_jax.reports.page import Section
from darts_jax.reports.verdict import BAD, FACT, GOOD, UNKNOWN, UNSURE, Answer

MARKS = {GOOD: "✓", BAD: "✗", UNSURE: "~", UNKNOWN: "?", FACT: "="}


@dataclasses.dataclass(frozen=True)
class Picture:
    """Attributes:
    caption: what it shows and how to read it.
    """

    figure: Figure
    caption: str


def verdict(answers: Sequence[Answer]) -> Section:
    """The answers, each with its evidence."""
    return Section("Verdict", _cards(answers))


def verdicts(
    of_groups: Sequence[Answer], named: Mapping[str, Sequence[Answer]], lead: str
) -> Section:
    """Of several searches.

    Args:
      of_groups: of searches that differ in nothing but their seed.
      named: the answers about each search alone.
    """
    rows = [
        {"search": name, **{answer.question: answer for answer in answers}}
        for name, answers in named.items()
    ]
    every = table(rows, "The verdict on every search", _brief)
    evidence = "".join(
        details(f"The evidence for {name}", _cards(answers))
        for name, answers in named.items()
    )
    cards = _cards(of_groups) if of_groups else ""
    return Section("Verdict", f"{cards}{every}{evidence}", lead)


def gallery(shown: Sequence[Picture], figures: Figures) -> str:
    """Pictures side by side, where there is room."""
    drawn = "".join(figures(p.figure, p.caption) for p in shown)
    return f'<div class="gallery">{drawn}</div>'


def pictures(
    title: str, shown: Sequence[Picture], figures: Figures, lead: str = ""
) -> Section:
    """Nothing but pictures."""
    return Section(title, gallery(shown, figures), lead)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting of a run beside its default."""

    name: str
    value: Any
    default: Any

    @property
    def differs(self) -> bool:
        return bool(self.value != self.default)


def settings(every: Sequence[Setting]) -> Section:
    """Those that differ from the defaults, and on demand all of them."""
    changed = [
        {"setting": s.name, "value": _literal(s.value), "default": _literal(s.default)}
        for s in every
        if s.differs
    ]
    rows = [{"setting": s.name, "value": _literal(s.value)} for s in every]
    first = (
        table(changed, "Settings that differ from the defaults")
        if changed
        else paragraph("Every setting is the default.")
    )
    whole = details(f"All {len(rows)} settings", table(rows, "All settings"))
    lead = f"{len(changed)} of {len(rows)} differ from the defaults."
    return Section("Settings", first + whole, lead)


def environment(verbs: Mapping[str, Mapping[str, Any]]) -> Section:
    """What each verb ran on, from ``versions.json``."""
    names = dict.fromkeys(name for of_verb in verbs.values() for name in of_verb)
    rows = [
        {"": name, **{verb: str(of.get(name, "-")) for verb, of in verbs.items()}}
        for name in names
    ]
    return Section("Environment", table(rows, "What each verb ran on"))


def reproduction(commands: Mapping[str, str]) -> Section:
    """Command lines: what each does -> itself."""
    body = "".join(
        paragraph(f"{what}:") + code(command, what)
        for what, command in commands.items()
    )
    lead = (
        "The same settings and versions on the same kind of device give the same bits."
    )
    return Section("How to reproduce", body, lead)


def genotype(text_of: Mapping[str, str]) -> Section:
    """Genotypes as JSON: name -> text."""
    shown = {name: code(json, f"JSON: {name}") for name, json in text_of.items()}
    if len(shown) > 1:
        shown = {name: details(name, json) for name, json in shown.items()}
    lead = "As JSON: retrain, draw and cost take a file of it. One click selects all."
    return Section("Genotype", "".join(shown.values()), lead)


def _cards(answers: Sequence[Answer]) -> str:
    return f'<ul class="verdict">{"".join(map(_card, answers))}</ul>'


def _card(answer: Answer) -> str:
    command = ""
    if answer.command:
        command = paragraph("To know, run") + code(answer.command, "Command to know it")
    return (
        f'<li class="{answer.tone}"><h3>{text(answer.question)}</h3>'
        f"{_mark(answer)}{paragraph(answer.evidence)}{command}</li>"
    )


def _mark(answer: Answer) -> str:
    mark = f'<span class="mark" aria-hidden="true">{MARKS[answer.tone]}</span>'
    return f'<p class="answer">{mark} {text(answer.words)}</p>'


def _brief(value: Any) -> str:
    if isinstance(value, Answer):
        figure = paragraph(value.figure, "lead") if value.figure else ""
        return f'<div class="{value.tone}">{_mark(value)}{figure}</div>'
    return text(value)


def _literal(value: Any) -> str:
    """As a command line has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else "(empty)"
