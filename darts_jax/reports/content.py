"""Content of a page: sections, and the blocks of which they are made.

Blocks hold plain text and values, never markup; the template "blocks.html" has a macro
for each kind.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from matplotlib.figure import Figure

from darts_jax.html import Table
from darts_jax.reports.verdict import Answer

_HALF = 7.0  # inches: a wider picture takes the whole width of the page


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph.

    Attributes:
      text: its sentences.
      style: "lead" for a soft colour; empty: as usual.
    """

    text: str
    style: str = ""
    kind: ClassVar[str] = "paragraph"


@dataclasses.dataclass(frozen=True)
class Heading:
    """A heading within a section.

    Attributes:
      text: its words.
    """

    text: str
    kind: ClassVar[str] = "heading"


@dataclasses.dataclass(frozen=True)
class Facts:
    """Names and values, side by side.

    Attributes:
      values: name -> value.
    """

    values: Mapping[str, Any]
    kind: ClassVar[str] = "facts"


@dataclasses.dataclass(frozen=True)
class Code:
    """Lines to copy.

    Attributes:
      text: the lines.
      label: says what they are, for those who hear the page.
    """

    text: str
    label: str
    kind: ClassVar[str] = "code"


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure with a caption.

    Attributes:
      figure: the figure; its label is the text alternative, else the caption is.
      caption: says what it shows and how to read it.
    """

    figure: Figure
    caption: str

    @property
    def is_wide(self) -> bool:
        """True if it takes the whole width of the page."""
        return bool(self.figure.get_figwidth() > _HALF)


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Pictures, side by side where there is room.

    Attributes:
      pictures: the pictures.
    """

    pictures: Sequence[Picture]
    kind: ClassVar[str] = "gallery"


@dataclasses.dataclass(frozen=True)
class Answers:
    """Answers to a reader's questions, each with its evidence.

    Attributes:
      answers: the answers.
    """

    answers: Sequence[Answer]
    kind: ClassVar[str] = "answers"


@dataclasses.dataclass(frozen=True)
class Details:
    """Blocks that are shown when asked for.

    Attributes:
      summary: the line that is always shown.
      blocks: the blocks.
    """

    summary: str
    blocks: "Sequence[Block]"
    kind: ClassVar[str] = "details"


Block = Paragraph | Heading | Facts | Code | Table | Gallery | Answers | Details


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of a page.

    Attributes:
      title: its heading; the titles of a page differ.
      blocks: what stands under it.
      lead: a sentence or two between the heading and the blocks.
    """

    title: str
    blocks: Sequence[Block]
    lead: str = ""

    @property
    def anchor(self) -> str:
        """Target of links to the section."""
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")
