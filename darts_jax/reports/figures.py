"""Pictures in a page: drawings as a part of it, each with its text alternative."""

import io
import itertools
from xml.etree import ElementTree

from matplotlib.figure import Figure

from darts_jax.html import class_, text
from darts_jax.plots.style import svg_text

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_HALF = 7.0  # inches: a wider picture takes the whole width of the page


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
            f'<figure{class_(kind)}><div class="scroll paper" tabindex="0" '
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
