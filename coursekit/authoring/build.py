"""Makes both notebooks of a chapter from one source: `course build`.

solutions/NN_name/NN_name.md      the text, in MyST notebook format, with the words of each exercise (`prose.py`)
+ part_utils                      the solutions
+ coursekit/exercises             checks, points
-> solutions/NN_name/NN_name.ipynb  solved and executed, with pictures that show where nothing runs
-> chapters/NN_name/NN_name.ipynb   the learner's, through nbgrader's release step
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jupytext
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from coursekit import folders
from coursekit.authoring.six_weeks import with_week_table
from coursekit.authoring.tables import duration, with_table
from coursekit.catalogue import CHAPTERS, Chapter, get_exercise
from coursekit.errors import CourseError
from coursekit.folders import learner_path, repository, solved_path, source_path
from coursekit.notebooks.cells import METADATA, exercise_cells, fold
from coursekit.notebooks.names import exercise_of, exercises_with, name_by_text
from coursekit.prose import DIRECTIVE
from part_utils.files import write_atomically

LARGEST_NOTEBOOK = 3_000_000
CELL_SECONDS = 300

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def build(chapters: Sequence[Chapter], execute: bool, say: Callable[[str], None]) -> None:
    """Write the solved and the learner's notebook of each chapter, and the tables made from the catalogue.

    Args:
        chapters: which ones.
        execute: run the solved notebook. Otherwise the outputs of cells that have not changed are kept.
        say: receives a line about each step.
    """
    _require_checkout()
    for chapter in chapters:
        notebook = compose(chapter)
        if execute:
            say(f"executing {chapter.slug} …")
            _execute(notebook, chapter)
        else:
            _keep_outputs(notebook, solved_path(chapter))
        text = _serialized(notebook)
        if len(text) > LARGEST_NOTEBOOK:
            raise CourseError(
                f"{solved_path(chapter)} would have {len(text):,} bytes, more than {LARGEST_NOTEBOOK:,}. "
                "Show fewer or smaller figures."
            )
        write_atomically(solved_path(chapter), text)
        say(f"wrote {solved_path(chapter).relative_to(folders.ROOT)} ({len(text) / 1e6:.1f} MB)")
    with tempfile.TemporaryDirectory() as scratch:
        for chapter, text in _released(chapters, Path(scratch)):
            write_atomically(learner_path(chapter), text)
            say(f"wrote {learner_path(chapter).relative_to(folders.ROOT)}")
    for name, renewed in TABLES.items():
        if (page := folders.ROOT / name).exists():
            write_atomically(page, renewed(page.read_text(encoding="utf-8")))


def out_of_date(chapters: Sequence[Chapter]) -> list[str]:
    """Return what `build` would change, a sentence each; empty when everything is up to date."""
    _require_checkout()
    problems = []
    for chapter in chapters:
        path = solved_path(chapter)
        if not path.exists():
            problems.append(f"{path.relative_to(folders.ROOT)} does not exist")
            continue
        current, wanted = nbformat.read(path, as_version=4), compose(chapter)
        if [_essence(cell) for cell in current.cells] != [_essence(cell) for cell in wanted.cells]:
            problems.append(f"{path.relative_to(folders.ROOT)} differs from its source")
        for number, cell in enumerate(current.cells):
            if cell.cell_type == "code":
                if cell.execution_count is None:
                    problems.append(f"{path.relative_to(folders.ROOT)}: cell {number} was not executed")
                if any(output.output_type == "error" for output in cell.outputs):
                    problems.append(f"{path.relative_to(folders.ROOT)}: cell {number} shows an error")
        if path.stat().st_size > LARGEST_NOTEBOOK:
            problems.append(f"{path.relative_to(folders.ROOT)} is larger than {LARGEST_NOTEBOOK:,} bytes")
    present = [chapter for chapter in chapters if solved_path(chapter).exists()]
    with tempfile.TemporaryDirectory() as scratch:
        for chapter, text in _released(present, Path(scratch)):
            path = learner_path(chapter)
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                problems.append(f"{path.relative_to(folders.ROOT)} is not what nbgrader's release step makes")
    for name, renewed in TABLES.items():
        if (page := folders.ROOT / name).exists():
            text = page.read_text(encoding="utf-8")
            if renewed(text) != text:
                problems.append(f"{name}: its table is out of date")
    return problems


def compose(chapter: Chapter) -> nbformat.NotebookNode:
    """Return the solved notebook, not yet executed."""
    source = source_path(chapter)
    if not source.exists():
        raise CourseError(f"There is no {source}. Write the chapter's text there.")
    text = jupytext.read(source, fmt="md:myst")
    cells = [_opening(chapter), installation_cell(), card_cell(chapter)]
    for cell in text.cells:
        if cell.cell_type == "markdown":
            if "{code-cell}" in cell.source:
                line = next(line for line in cell.source.splitlines() if line.startswith("```{"))
                raise CourseError(
                    f"{source}: a code cell was taken for text. Is there a backtick in the line {line!r} above it?"
                )
            cells += _expanded(cell.source, source)
        else:
            cells.append(new_code_cell(cell.source))
    following = CHAPTERS[CHAPTERS.index(chapter) + 1 :]
    if following:
        after = following[0]
        cells.append(
            new_markdown_cell(
                f"**Next:** [Chapter {int(after.number)} · {after.title}](../{after.slug}/{after.slug}.ipynb)"
            )
        )
    _name_cells(cells)
    named = [e.id for e in chapter.exercises]
    standing = exercises_with(cells, "exercise")
    if standing != named:
        raise CourseError(
            f"{source} holds the exercises {standing}; the catalogue has {named}, in this order."
        )
    notebook = nbformat.v4.new_notebook(
        cells=cells,
        metadata=METADATA,
    )
    notebook.nbformat_minor = 5
    return notebook


def colab(chapter: Chapter) -> str:
    """Return the address that opens the learner's notebook in Colab."""
    path = repository().removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{path}/blob/main/chapters/{chapter.slug}/{chapter.slug}.ipynb"


def badge(chapter: Chapter) -> str:
    """Markdown for the button that opens the learner's notebook in Colab."""
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab(chapter)})"


def with_chapter_table(readme: str) -> str:
    """README.md with its table of chapters made anew, between the two marks."""
    rows = ["| | Chapter | Exercises | Time | |", "|---|---|---|---|---|"]
    for chapter in CHAPTERS:
        link = f"[{chapter.title}](chapters/{chapter.slug}/{chapter.slug}.ipynb)"
        solved = f"[solved](solutions/{chapter.slug}/{chapter.slug}.ipynb)"
        rows.append(
            f"| {int(chapter.number)} | {link} ({solved}) | {len(chapter.exercises)} | "
            f"{duration(chapter.minutes)} | {badge(chapter)} |"
        )
    return with_table(readme, "chapters", rows)


# The pages with a table that is made from the catalogue.
TABLES: dict[str, Callable[[str], str]] = {
    "README.md": with_chapter_table,
    "docs/six_weeks.md": with_week_table,
}


def _opening(chapter: Chapter) -> nbformat.NotebookNode:
    count = len(chapter.exercises)
    points = sum(e.points for e in chapter.exercises)
    return new_markdown_cell(
        f"# Chapter {int(chapter.number)} · {chapter.title}\n\n{badge(chapter)}\n\n"
        f"About {duration(chapter.minutes)}: {duration(chapter.reading_minutes)} for reading and running, "
        f"{duration(chapter.minutes - chapter.reading_minutes)} for {count} exercises ({points} points)."
    )


def installation_cell() -> nbformat.NotebookNode:
    return new_code_cell(
        "# Installs the course where it is missing, as on Colab (the torch that is there stays). "
        "Elsewhere this does nothing.\n"
        "import importlib.util\n\n"
        'if importlib.util.find_spec("coursekit") is None:\n'
        f'    %pip install --quiet "git+{repository()}"\n'
        "    from part_utils.installation import advice\n\n"
        "    print(advice())"
    )


def card_cell(chapter: Chapter) -> nbformat.NotebookNode:
    return new_code_cell(
        f'from coursekit import chapter_card\n\nchapter_card("{chapter.number}")  # what you have solved'
    )


def _expanded(text: str, source: Path) -> list[nbformat.NotebookNode]:
    """The cells of a piece of text: exercises and folded questions put in where their directives stand."""
    cells: list[nbformat.NotebookNode] = []
    end, pending = 0, ""
    for match in DIRECTIVE.finditer(text):
        pending += text[end : match.start()]
        end = match.end()
        if match["kind"] == "question":
            pending += fold(match["argument"], match["body"].strip())
            continue
        if pending.strip():
            cells.append(new_markdown_cell(pending.strip()))
        pending = ""
        try:
            cells += exercise_cells(get_exercise(match["argument"].partition(" ")[0]))
        except ValueError as error:
            raise CourseError(f"{source}: {error}") from None
    pending += text[end:]
    if pending.strip():
        cells.append(new_markdown_cell(pending.strip()))
    return cells


def _name_cells(cells: list[nbformat.NotebookNode]) -> None:
    """Give each cell an id that depends on its content only, so that a build is repeatable."""
    used: set[str] = set()
    for cell in cells:
        if exercise_of(cell.id):
            continue
        digest = hashlib.sha256(cell.source.encode()).hexdigest()
        name = next(
            digest[start : start + 10] for start in range(50) if digest[start : start + 10] not in used
        )
        used.add(name)
        cell.id = name_by_text(cell.cell_type, name)


def _execute(notebook: nbformat.NotebookNode, chapter: Chapter) -> None:
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError

    previous = dict(os.environ)
    os.environ.update(
        # Both forms of a figure: interactive in JupyterLab, a picture where nothing runs.
        PLOTLY_RENDERER="plotly_mimetype+png",
        COURSE_STATIC="1",
        TQDM_DISABLE="1",
        BROWSER_PATH=os.environ.get("BROWSER_PATH") or _browser(),
    )
    try:
        NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            # Without it the kernel warns that a connection on this very machine is not encrypted.
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            record_timing=False,
            # Else what a cell prints is cut into pieces wherever the kernel happened to pause.
            coalesce_streams=True,
            resources={"metadata": {"path": str(solved_path(chapter).parent)}},
        ).execute()
    except CellExecutionError as error:
        raise CourseError(
            f"{chapter.slug} does not run: {error.ename}: {error.evalue}\n{error.traceback}"
        ) from None
    except CellTimeoutError as error:
        raise CourseError(
            f"{chapter.slug}: a cell takes more than {CELL_SECONDS} seconds.\n{error}"
        ) from None
    finally:
        os.environ.clear()
        os.environ.update(previous)
    _tidy_outputs(notebook, chapter)


def _tidy_outputs(notebook: nbformat.NotebookNode, chapter: Chapter) -> None:
    """Outputs as they are kept. Raises a CourseError where one is a warning that no learner should see."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            for output in cell.outputs:
                if output.output_type == "stream" and output.name == "stderr":
                    last = output.text.strip().rpartition("\n")[2]
                    raise CourseError(
                        f"{chapter.slug}: the cell {cell.id} writes to the error stream ({last}). If it was the "
                        "browser that draws the pictures, build again when the machine is less busy."
                    )
                _add_alternative_text(output)
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = _in_few_colors(output.data["image/png"])


def _in_few_colors(picture: str) -> str:
    """The same PNG (in base64) with a palette of 256 colors: a figure has few, and takes a fifth of the room."""
    from PIL import Image

    small = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        image.quantize(256).save(small, "png", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def _add_alternative_text(output: nbformat.NotebookNode) -> None:
    figure = output.get("data", {}).get("application/vnd.plotly.v1+json")
    if figure and "image/png" in output.data:
        alt = (figure["layout"].get("meta") or {}).get("alt")
        if alt:
            output.metadata["image/png"] = {"alt": alt}
        # The address of a picture server that nobody here uses.
        figure.get("config", {}).pop("plotlyServerURL", None)


def _browser() -> str:
    for name in _BROWSERS:
        if path := shutil.which(name):
            return path
    raise CourseError(
        "Pictures of figures need a Chromium or Chrome browser. Install one (Debian: apt-get install chromium), or "
        "set BROWSER_PATH to it."
    )


def _keep_outputs(notebook: nbformat.NotebookNode, path: Path) -> None:
    if not path.exists():
        return
    old = {cell.id: cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.id in old and old[cell.id].source == cell.source:
            cell.outputs, cell.execution_count = old[cell.id].outputs, old[cell.id].execution_count


def _essence(cell: nbformat.NotebookNode) -> tuple:
    return cell.cell_type, cell.id, cell.source, cell.metadata.get("nbgrader")


def _serialized(notebook: nbformat.NotebookNode) -> str:
    return nbformat.writes(notebook, indent=1, ensure_ascii=False) + "\n"


def _released(chapters: Sequence[Chapter], scratch: Path) -> Iterator[tuple[Chapter, str]]:
    """The learner's notebooks, made by nbgrader from the solved ones, in a course of its own in `scratch`."""
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config
    from traitlets.config.loader import PyFileConfigLoader

    config = Config(PyFileConfigLoader("nbgrader_config.py", path=str(folders.ROOT)).load_config())
    config.CourseDirectory.root = str(scratch)
    config.CourseDirectory.db_url = f"sqlite:///{scratch / 'gradebook.db'}"
    # nbgrader starts `alembic` by name to make its database.
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"
    log = logging.getLogger("nbgrader")
    log.setLevel(logging.ERROR)
    try:
        api = NbGraderAPI(config=config)
        api.log = log
        for chapter in chapters:
            folder = scratch / "solutions" / chapter.slug
            folder.mkdir(parents=True)
            shutil.copy(solved_path(chapter), folder)
            outcome = api.generate_assignment(chapter.slug, force=True, create=True)
            if not outcome["success"]:
                raise CourseError(
                    f"nbgrader could not release {chapter.slug}:\n{outcome.get('error') or outcome['log']}"
                )
            released = nbformat.read(
                scratch / "chapters" / chapter.slug / f"{chapter.slug}.ipynb", as_version=4
            )
            yield chapter, _serialized(released)
    finally:
        os.environ["PATH"] = path


def _require_checkout() -> None:
    if not (folders.ROOT / "pyproject.toml").exists():
        raise CourseError(
            "This command works in a checkout of the repository, where solutions/ and chapters/ are. "
            "Clone the repository and install it with `pip install -e .`."
        )
