"""A chapter as slides in one file: `course slides`. Each section's title and first sentence, and its figures.

What stands around them in the chapter is in the speaker's notes. The file needs nothing but itself.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coursekit.catalogue import Chapter
from coursekit.errors import CourseError
from coursekit.folders import solved_path
from coursekit.notebooks.names import cell_name, exercise_of
from coursekit.notebooks.reading import read_notebook
from coursekit.work.page import PLOTLY, Writer, html_page, require_writable, static, widgets_of, write_text

GENERATOR = "course slides"
_BUTTONS = (
    '<nav><button id="back" aria-label="Back">‹</button><output id="place"></output>'
    '<button id="on" aria-label="On">›</button></nav>'
)
_PICTURES = (PLOTLY, "image/png", "image/svg+xml")
_NO_SENTENCE = re.compile(r"[-*|>#<!:]|\d+\. |\$\$|```|\*\*(After|What|Next)|\[!\[")
_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z*`$\"“])")


@dataclass
class Slide:
    """One slide: what is seen, as HTML, and the speaker's notes, as Markdown."""

    title: str
    shown: str = ""
    notes: list[str] = field(default_factory=list)
    figure: bool = False


def write_slides(chapter: Chapter, output: Path | None = None) -> tuple[Path, int]:
    """Write a chapter's slides.

    Args:
        chapter: which one; its solved notebook is read, with the figures that are saved in it.
        output: the file; by default `NN_name_slides.html` in the current folder.

    Returns:
        The file, and how many slides are in it.

    Raises:
        CourseError: there is no solved notebook, or the file cannot or must not be written.
    """
    from plotly.offline import get_plotlyjs

    path = solved_path(chapter)
    if not path.exists():
        raise CourseError(
            "Slides are made from the solved notebooks, which only a checkout of the repository has. Clone it, and run "
            "this there."
        )
    target = output or Path(f"{chapter.slug}_slides.html")
    require_writable(target, path, GENERATOR)
    notebook = read_notebook(path)
    writer = Writer(path.parent, widgets_of(notebook))
    slides = list(_slides(chapter, notebook.cells, writer))
    scripts = [*([get_plotlyjs()] if writer.figures else []), static("slides.js")]
    page = html_page(
        GENERATOR,
        f"Chapter {int(chapter.number)}: {chapter.title}",
        static("slides.css"),
        "\n".join(_written(slide, writer) for slide in slides),
        "\n".join([_BUTTONS, *(f"<script>{script}</script>" for script in scripts)]),
    )
    write_text(target, page)
    return target, len(slides)


def _slides(chapter: Chapter, cells: list[Any], writer: Writer) -> Iterator[Slide]:
    """The title, and for each section a slide with its first sentence and one for each of its figures."""
    yield Slide(
        chapter.title,
        f"<p class=over>Chapter {int(chapter.number)}</p><h1>{html.escape(chapter.title)}</h1>",
        ["Arrow keys go on and back, N shows these notes, F fills the screen."],
    )
    section: Slide | None = None
    figures: list[Slide] = []
    before = ""
    for cell in cells:
        if cell.cell_type == "markdown" and not exercise_of(cell_name(cell)):
            for title, text in _parts(cell.source):
                if title is not None:
                    if section is not None:
                        yield from (section, *figures)
                    section, figures = _opening(title, text, writer), []
                elif section is not None:
                    section.notes.append(text)
                before = text
        elif cell.cell_type == "code" and section is not None:
            for output in cell.get("outputs", []):
                if any(kind in output.get("data", {}) for kind in _PICTURES):
                    shown = f"<h2>{_inline(section.title, writer)}</h2>{writer.output(output)}"
                    figures.append(Slide(section.title, shown, [_last_paragraphs(before)], figure=True))
        if section is not None and (number := exercise_of(cell_name(cell), "exercise")):
            section.notes.append(f"Exercise {number} is here.")
    if section is not None:
        yield from (section, *figures)


def _parts(source: str) -> Iterator[tuple[str | None, str]]:
    """Pieces of a text with the heading of the second level that each begins with, None before the first."""
    pieces = re.split(r"^## +(.+)$", re.sub(r"<details>[\s\S]*?</details>", "", source), flags=re.M)
    if pieces[0].strip():
        yield None, pieces[0].strip()
    for title, text in zip(pieces[1::2], pieces[2::2], strict=True):
        yield title.strip(), text.strip()


def _opening(title: str, text: str, writer: Writer) -> Slide:
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if not _NO_SENTENCE.match(part)]
    lead = _END.split(paragraphs[0], maxsplit=1)[0] if paragraphs else ""
    return Slide(
        title, f"<h2>{_inline(title, writer)}</h2><div class=lead>{writer.markdown(lead)}</div>", [text]
    )


def _last_paragraphs(text: str) -> str:
    return "\n\n".join(re.split(r"\n\s*\n", text)[-2:])


def _inline(text: str, writer: Writer) -> str:
    return re.sub(r"^<p>|</p>\s*$", "", writer.markdown(text))


def _written(slide: Slide, writer: Writer) -> str:
    label = html.escape(json.dumps(slide.title)[1:-1])
    notes = writer.markdown("\n\n".join(filter(None, slide.notes)))
    kind = " figure" if slide.figure else ""
    return (
        f'<section class="slide{kind}" aria-label="{label}"><div class="shown">{slide.shown}</div>'
        f'<aside class="notes" aria-label="Notes">{notes}</aside></section>'
    )
