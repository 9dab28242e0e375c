"""The page itself: one file that asks nothing of any server, and runs no script."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from darts_jax.html import facts, paragraph, text

# Nothing is loaded and nothing runs, whatever a run directory held.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading and what stands under it.

    Attributes:
      body: made of the pieces in `elements`.
      lead: a sentence or two under the heading, as plain text.
    """

    title: str
    body: str
    lead: str = ""

    @property
    def anchor(self) -> str:
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


def page(
    title: str, subtitle: str, about: Mapping[str, Any], sections: Sequence[Section]
) -> str:
    """A whole page.

    Args:
      title: what the page is about, such as a run's name.
      subtitle: what kind of thing that is.
      about: what to know of it before anything else.
      sections: in order; their titles differ.
    """
    style = Path(__file__).with_name("page.css").read_text()
    links = "".join(
        f'<li><a href="#{s.anchor}">{text(s.title)}</a></li>' for s in sections
    )
    return (
        "<!doctype html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{text(title)} · {text(subtitle)}</title>"
        f"<style>{style}</style></head>\n"
        f'<body><header><p class="kind">{text(subtitle)}</p><h1>{text(title)}</h1>'
        f"{facts(about)}</header>\n"
        f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n'
        f"<main>{''.join(map(_section, sections))}</main>\n"
        "<footer><p>Written by darts-jax report.</p></footer></body></html>\n"
    )


def _section(section: Section) -> str:
    lead = paragraph(section.lead, "lead") if section.lead else ""
    return (
        f'<section aria-labelledby="{section.anchor}">'
        f'<h2 id="{section.anchor}">{text(section.title)}</h2>{lead}{section.body}'
        "</section>\n"
    )
