"""A chapter as a page of the site: the solved notebook with what it shows, and the exercises as a learner gets them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import nbformat
from nbformat.v4 import new_markdown_cell, new_output

from coursekit.authoring.build import card_cell, colab, installation_cell
from coursekit.catalogue import Chapter
from coursekit.folders import learner_path, solved_path
from coursekit.notebooks.names import cell_name, exercise_of
from coursekit.notebooks.reading import joined
from coursekit.notebooks.source import without_markers
from coursekit.work.formulas import formulas_aside, formulas_back
from coursekit.work.page import PLOTLY

Linked = Callable[[str, str, str], str]
"""Turns the links of a text, given where it stands and on which page it will."""


def chapter_page(chapter: Chapter, linked: Linked) -> str:
    """Return the notebook that Sphinx makes the chapter's page of. The solutions are in it, folded and out of sight."""
    from coursekit import folders

    path = solved_path(chapter)
    notebook = nbformat.read(path, as_version=4)
    stubs = {
        cell_name(cell): cell.source for cell in nbformat.read(learner_path(chapter), as_version=4).cells
    }
    left_out = {installation_cell().source, card_cell(chapter).source}
    cells: list[nbformat.NotebookNode] = []
    for cell in notebook.cells:
        if cell.source in left_out:
            continue
        cells += _on_page(cell, chapter, stubs)
    repository_path = path.relative_to(folders.ROOT).as_posix()
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = linked(_summaries(cell.source), repository_path, f"chapters/{chapter.slug}")
    notebook.cells = cells
    return nbformat.writes(notebook)


def _on_page(cell: Any, chapter: Chapter, stubs: dict[str, str]) -> Iterator[nbformat.NotebookNode]:
    """The cells that a cell of the notebook becomes."""
    name = cell_name(cell)
    if cell.cell_type == "markdown":
        cell.source = re.sub(
            r"^\[!\[Open in Colab\].*$", lambda _: _buttons(chapter), cell.source, flags=re.M
        )
        yield cell
    elif number := exercise_of(name, "exercise"):
        solution = without_markers(cell.source)
        cell.source, cell.outputs = stubs[name], []
        yield cell
        yield new_markdown_cell(_do_it(chapter, number))
        yield new_markdown_cell(
            f'<details class="solution" id="solution-{number}">\n<summary>Solution of {number}</summary>\n\n'
            f"```python\n{solution}\n```\n\n</details>"
        )
    elif not exercise_of(name, "check"):
        cell.outputs = [_shown(output) for output in cell.outputs]
        yield cell


def _buttons(chapter: Chapter) -> str:
    return (
        f'<p class="buttons"><a class="button first" href="{colab(chapter)}">Open in Colab</a> '
        '<a class="button" href="../index.html#start">On your machine</a> '
        f'<a class="button" href="../notebooks/{chapter.slug}.ipynb" download>The notebook</a></p>\n'
        '<p class="switch" hidden><label><input type="checkbox" role="switch" id="show-solutions"> '
        "Show the solutions</label></p>"
    )


def _do_it(chapter: Chapter, number: str) -> str:
    return (
        f'<div class="do-it"><b>Do it</b> <a href="{colab(chapter)}">in Colab</a> or '
        '<a href="../index.html#start">on your machine</a>: write what is missing, and run '
        f'<code>check("{number}")</code>.</div>'
    )


def _shown(output: Any) -> Any:
    """An output as the page shows it: a figure by its numbers, with its picture until they are drawn."""
    data = output.get("data", {})
    if PLOTLY not in data:
        return output
    figure = data[PLOTLY]
    layout = figure.get("layout", {})
    alt = html.escape(str((layout.get("meta") or {}).get("alt") or "A figure."))
    width, height = layout.get("width", 700), layout.get("height", 450)
    # "</script>" in a label would end the script in the middle of a string.
    numbers = json.dumps(
        {key: figure.get(key) for key in ("data", "layout", "frames")}, separators=(",", ":")
    )
    picture = "".join(joined(data.get("image/png", "")).split())
    return new_output(
        "display_data",
        data={
            "text/html": f'<figure class="plotly" data-width="{width:g}" style="--height:{height:g}px">'
            f'<img src="data:image/png;base64,{picture}" alt="{alt}" width="{width:g}" height="{height:g}">'
            f'<script type="application/json">{numbers.replace("<", chr(92) + "u003c")}</script></figure>'
        },
    )


def _summaries(text: str) -> str:
    """Formulas in the line of a fold, which Sphinx takes as HTML, as MathML."""

    def written(match: re.Match[str]) -> str:
        source, formulas = formulas_aside(match[0])
        return formulas_back(source, formulas)

    return re.sub(r"<summary>.*?</summary>", written, text)
