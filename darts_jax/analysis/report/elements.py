"""Pieces of a page. Each takes plain text, and makes it safe; none takes markup."""

import html
import io
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from matplotlib.figure import Figure

from darts_jax.analysis.style import svg_text

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

_HALF = 7.0  # inches: a wider picture takes the whole width of the page


def text(value: Any) -> str:
    """Any value as text that is no markup, between tags and in attributes."""
    return html.escape(str(value), quote=True)


def paragraph(sentence: str, kind: str = "") -> str:
    return f"<p{_class(kind)}>{text(sentence)}</p>"


def heading(words: str) -> str:
    """Within a section."""
    return f"<h3>{text(words)}</h3>"


def code(lines: str, label: str) -> str:
    """Lines to copy: one click selects them all.

    Args:
      label: what they are, for those who hear the page.
    """
    return (
        f'<pre tabindex="0" role="group" aria-label="{text(label)}">'
        f"<code>{text(lines)}</code></pre>"
    )


def facts(named: Mapping[str, Any]) -> str:
    """Names and values, side by side."""
    rows = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(written(value))}</dd></div>"
        for name, value in named.items()
    )
    return f"<dl>{rows}</dl>"


def details(summary: str, body: str) -> str:
    """What is shown when asked for. ``body`` is made of these pieces."""
    return f"<details><summary>{text(summary)}</summary>{body}</details>"


def table(
    rows: Sequence[Mapping[str, Any]],
    label: str,
    cell: Callable[[Any], str] | None = None,
) -> str:
    """A table with a heading for every column and, first in it, for every row.

    Columns are those of all rows; numbers stand at the right. It scrolls by itself
    where a screen is narrow.

    Args:
      label: what it shows.
      cell: a value to markup, in place of its text.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    kinds = {c: _column_kind([row.get(c) for row in rows]) for c in columns}
    shown = cell or _breakable
    head = "".join(f'<th scope="col"{_class(kinds[c])}>{text(c)}</th>' for c in columns)
    rounded = ({c: _rounded(c, row.get(c)) for c in columns} for row in rows)
    body = "".join(f"<tr>{_row(row, kinds, shown)}</tr>" for row in rounded)
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{text(label)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def written(value: Any) -> str:
    """A value as a person reads it."""
    if value is None or value != value:  # NaN is not itself
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class Figures:
    """Pictures of one page, whose ids stay apart."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, figure: Figure, caption: str) -> str:
        """A picture in the page itself, with its text alternative and a caption.

        Args:
          figure: its label is the text alternative; else the caption is.
        """
        told = str(figure.get_label()) or caption
        svg = _inline(svg_text(figure), f"figure-{next(self._numbers)}", told)
        kind = "wide" if figure.get_figwidth() > _HALF else ""
        return (
            f'<figure{_class(kind)}><div class="scroll paper" tabindex="0" '
            f'role="group" aria-label="{text(caption)}">{svg}</div>'
            f"<figcaption>{text(caption)}</figcaption></figure>"
        )


def _inline(svg: str, prefix: str, alternative: str) -> str:
    """A drawing as a part of a page: ids of its own, no style sheet, named."""
    tree = ElementTree.parse(io.StringIO(svg))
    root = tree.getroot()
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, f"{prefix}-{value}")
            elif name.endswith("href"):
                element.set(name, value.replace("#", f"#{prefix}-", 1))
            else:
                element.set(name, value.replace("url(#", f"url(#{prefix}-"))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    # The style sheet of Matplotlib's drawings would hold for the whole page.
    root.attrib |= {"stroke-linejoin": "round", "stroke-linecap": "butt"}
    # Points to pixels.
    root.set("style", f"--width: {width * 4 / 3:.0f}px; --ratio: {width / height:.4f}")
    root.attrib |= {"role": "img", "aria-label": alternative}
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _row(
    row: Mapping[str, Any], kinds: Mapping[str, str], shown: Callable[[Any], str]
) -> str:
    first, *others = row
    head = f'<th scope="row">{shown(row[first])}</th>'
    return head + "".join(f"<td{_class(kinds[c])}>{shown(row[c])}</td>" for c in others)


def _rounded(column: str, value: Any) -> Any:
    is_share = "%" in column and isinstance(value, float) and math.isfinite(value)
    return f"{value:.2f}" if is_share else value


def _breakable(value: Any) -> str:
    """Text in which a name with dots may go on in the next line."""
    return re.sub(r"(?<=[a-z])(\.)(?=[a-z])", r"\1<wbr>", text(written(value)))


def _column_kind(values: Sequence[Any]) -> str:
    numbers = all(isinstance(value, int | float | None) for value in values)
    return "number" if numbers else ""


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
