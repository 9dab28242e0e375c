"""Rendering of a page: one file that needs no server and runs no script."""

import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from darts_jax.html import make_environment
from darts_jax.plots.style import svg_text
from darts_jax.reports.content import Facts, Picture, Section
from darts_jax.reports.verdict import BAD, FACT, GOOD, UNKNOWN, UNSURE

if TYPE_CHECKING:
    from markupsafe import Markup

MARKS = {GOOD: "✓", BAD: "✗", UNSURE: "~", UNKNOWN: "?", FACT: "="}
"""Tone of an answer -> the sign before it."""

_TEMPLATES = Path(__file__).with_name("templates")
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"


def render_page(
    title: str, subtitle: str, about: Mapping[str, Any], sections: Sequence[Section]
) -> str:
    """Renders a page.

    Args:
      title: subject of the page, such as a run's name.
      subtitle: kind of the page.
      about: name -> value of what a reader should know first.
      sections: sections in order; their titles differ.

    Returns:
      The HTML of the whole page, with all its pictures.
    """
    template = make_environment(_TEMPLATES).get_template("page.html")
    return template.render(
        title=title,
        subtitle=subtitle,
        about=Facts(about),
        sections=sections,
        marks=MARKS,
        embed_picture=_PictureEmbedder().embed,
    )


class _PictureEmbedder:
    """Turns the pictures of one page into parts of it, with ids of their own."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def embed(self, picture: Picture) -> "Markup":
        """Returns a picture as an SVG element with its text alternative."""
        from markupsafe import Markup

        alternative = str(picture.figure.get_label()) or picture.caption
        prefix = f"figure-{next(self._numbers)}"
        return Markup(_embed_svg(svg_text(picture.figure), prefix, alternative))


def _embed_svg(svg: str, prefix: str, alternative: str) -> str:
    """Rewrites a drawing as a part of a page: ids of its own, no style sheet, named."""
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
