"""What the command line does with progress: remembers it after `course check`, shows it in `course progress`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from coursekit.catalogue import CHAPTERS
from coursekit.checking.results import CheckResult
from coursekit.folders import course_folder
from coursekit.progress.store import (
    Entries,
    load_progress,
    next_exercise,
    progress_of,
    record,
)


def record_check(notebook: Path, results: list[CheckResult]) -> None:
    """Remember what `course check` found in a chapter of this course folder; never fails."""
    with contextlib.suppress(Exception):
        folder = course_folder(notebook)
        if folder and notebook.resolve().relative_to(folder).parts[0] == "chapters":
            record(results, folder)


def print_progress(as_json: bool, console: Console, start: Path | None = None) -> None:
    """Print what is solved in each chapter, the points and what comes next."""
    entries = load_progress(start)
    if as_json:
        console.file.write(json.dumps(summary(entries)) + "\n")
        return
    table = Table(show_lines=False)
    for title in ("Chapter", "", "Solved", "Points"):
        table.add_column(title, justify="left" if title in ("Chapter", "") else "right", no_wrap=bool(title))
    for chapter in CHAPTERS:
        progress = progress_of(chapter, entries)
        signs = "  ".join(
            f"[green]✓{e.id}[/]" if e.id in progress.solved else f"○{e.id}" for e in chapter.exercises
        )
        table.add_row(
            f"{int(chapter.number)} {escape(chapter.title)}",
            signs,
            f"{len(progress.solved)}/{len(chapter.exercises)}",
            f"{progress.points}/{progress.max_points}",
        )
    console.print(table)
    coming = next_exercise(entries)
    if coming is None:
        console.print("Everything is solved.")
        return
    notebook = f"chapters/{coming.chapter.slug}/{coming.chapter.slug}.ipynb"
    console.print(
        f"Next: {coming.id} {escape(coming.title)}, about {coming.minutes} minutes, in {notebook}",
        soft_wrap=True,
    )


def summary(entries: Entries) -> dict[str, Any]:
    """Return the machine-readable form."""
    chapters = [progress_of(chapter, entries) for chapter in CHAPTERS]
    coming = next_exercise(entries)
    return {
        "chapters": [
            {
                "chapter": progress.chapter.number,
                "solved": [e.id for e in progress.chapter.exercises if e.id in progress.solved],
                "exercises": len(progress.chapter.exercises),
                "points": progress.points,
                "max_points": progress.max_points,
            }
            for progress in chapters
        ],
        "next": coming.id if coming else None,
    }
