"""A chapter's interactive pieces for the front of a room: `course demo`, served by Voilà with a kernel behind it.

A notebook of one cell for each piece is written into a scratch folder. Voilà runs it and shows what comes out, without
code; the template in `static/demo` makes one screen of each piece.
"""

from __future__ import annotations

import html
import importlib.util
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from coursekit.catalogue import CHAPTERS, Chapter
from coursekit.errors import CourseError
from coursekit.folders import solved_path
from coursekit.work.demo_pieces import pieces_of
from coursekit.work.page import static
from part_utils.palette import page_colors

TEMPLATE = "course_demo"
_SECONDS = 120
"""How long Voilà may take to start on a slow machine."""


def chapters_with_pieces() -> list[Chapter]:
    """Return the chapters of which there is something to show."""
    return [chapter for chapter in CHAPTERS if pieces_of(chapter.number)]


def write_notebooks(folder: Path) -> None:
    """Write a notebook for each chapter, and a page with links to them."""
    for chapter in chapters_with_pieces():
        cells = [
            new_code_cell(
                f"from coursekit.work.demo_pieces import show\n\nshow({chapter.number!r}, {place})",
                metadata={"piece": {"title": piece.title, "question": piece.question}},
            )
            for place, piece in enumerate(pieces_of(chapter.number))
        ]
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        title = f"Chapter {int(chapter.number)}: {chapter.title}"
        notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel, "title": title})
        nbformat.write(notebook, folder / f"{chapter.slug}.ipynb")
    (folder / "index.html").write_text(_contents(), encoding="utf-8")


def _contents() -> str:
    items = "\n".join(
        f'<li><a href="../render/{chapter.slug}.ipynb"><b>{int(chapter.number)}</b> {html.escape(chapter.title)}</a>'
        "<ol>"
        + "".join(
            f'<li><a href="../render/{chapter.slug}.ipynb#{place}">{html.escape(piece.title)}</a></li>'
            for place, piece in enumerate(pieces_of(chapter.number), start=1)
        )
        + "</ol></li>"
        for chapter in chapters_with_pieces()
    )
    return Template(static("demo/index.html")).substitute(style=page_colors(":root"), chapters=items)


def _template(folder: Path) -> None:
    """Put the template where Voilà looks for it: below a folder of Jupyter's data."""
    place = folder / "voila" / "templates" / TEMPLATE
    place.mkdir(parents=True)
    (place / "conf.json").write_text(json.dumps({"base_template": "lab"}))
    for name in ("index.html.j2", "demo.css", "demo.js"):
        (place / name).write_text(static(f"demo/{name}"), encoding="utf-8")
    (place / "colors.css").write_text(page_colors(":root"), encoding="utf-8")


@contextmanager
def served(chapter: Chapter | None = None, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve the pieces while the block runs.

    Args:
        chapter: what the address leads to; the list of all chapters if left out.
        port: where to serve; any free one if 0.

    Yields:
        The address, and the process.

    Raises:
        CourseError: Voilà is missing, the chapter has no pieces, there is no checkout, or the server does not start.
    """
    _require(chapter)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder, data = Path(scratch) / "pieces", Path(scratch) / "jupyter"
        folder.mkdir()
        write_notebooks(folder)
        _template(data)
        port = port or _free_port()
        token = secrets.token_hex(16)
        settings = {
            "VoilaConfiguration": {
                "template": TEMPLATE,
                "allow_theme_override": "YES",
                "file_allowlist": [r"index\.html"],
                "extension_allowlist": [
                    "jupyterlab-plotly",
                    "@jupyter-widgets/jupyterlab-manager",
                    "@voila-dashboards/widgets-manager7",
                    "@voila-dashboards/widgets-manager8",
                ],
            },
            "Voila": {
                "ip": "127.0.0.1",
                "port": port,
                "port_retries": 0,
                "open_browser": False,
                "token": token,
            },
        }
        (data / "voila.json").write_text(json.dumps(settings))
        environment = os.environ | {
            "JUPYTER_PATH": os.pathsep.join(filter(None, (str(data), os.environ.get("JUPYTER_PATH")))),
            # Widgets, and figures as numbers: the page has plotly.js from this machine.
            "COURSE_STATIC": "0",
            "PLOTLY_RENDERER": "plotly_mimetype",
            "COURSE_PROGRESS": "off",
        }
        command = [sys.executable, "-m", "voila", str(folder), f"--Voila.config_file_paths={data}"]
        with (data / "log.txt").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        start = f"http://127.0.0.1:{port}/voila/"
        try:
            _wait(f"{start}files/index.html?token={token}", process, data / "log.txt")
            yield f"{start}files/index.html?token={token}" + (f"#{chapter.slug}" if chapter else ""), process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _require(chapter: Chapter | None) -> None:
    known = chapters_with_pieces()
    if chapter is not None and chapter not in known:
        numbers = ", ".join(item.number for item in known)
        raise CourseError(
            f"Chapter {int(chapter.number)} has nothing interactive to show. These have: {numbers}. "
            f"`course slides {chapter.number}` makes slides of any chapter."
        )
    if importlib.util.find_spec("voila") is None:
        raise CourseError("Voilà is not installed. Run `pip install -e '.[demo]'` and this command again.")
    if not all(solved_path(item).exists() for item in known):
        raise CourseError(
            "Some pieces are figures of the solved notebooks, which only a checkout of the repository has. Clone it, "
            "and run this there."
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _SECONDS
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except urllib.error.HTTPError as error:
            raise CourseError(f"Voilà answers with {error.code}. {_end(log)}") from None
        except OSError:
            if process.poll() is not None:
                raise CourseError(f"Voilà does not start. {_end(log)}") from None
            if time.monotonic() > until:
                raise CourseError(f"Voilà has not started in {_SECONDS} seconds. {_end(log)}") from None
            time.sleep(0.2)


def _end(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"Its last line: {lines[-1]}" if lines else "It said nothing."
