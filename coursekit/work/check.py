"""Checks every exercise of a notebook from outside Jupyter: `course check`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from coursekit.catalogue import Exercise
from coursekit.checking.door import DirectLearner, LearnerError, NotAttempted, Unloadable
from coursekit.checking.limits import OutOfTime, time_limit, undisturbed
from coursekit.checking.results import CheckResult
from coursekit.checking.running import DEFAULT_SEED, cell_names, run_check
from coursekit.notebooks.learners_code import NotebookCode, read_notebook_code
from coursekit.notebooks.reading import beside

_STYLES = {"passed": "green", "failed": "red", "error": "red", "not_attempted": "dim"}
_SIGNS = {"passed": "✓ passed", "failed": "✗ failed", "error": "! error", "not_attempted": "○ not attempted"}


def check_notebook(path: Path, seed: int = DEFAULT_SEED) -> list[CheckResult]:
    """Return the result of every exercise in a notebook. Raises CourseError where there is nothing to check."""
    code = read_notebook_code(path)
    return [check_in_notebook(code, exercise, seed) for exercise in code.exercises()]


def check_in_notebook(code: NotebookCode, exercise: Exercise, seed: int = DEFAULT_SEED) -> CheckResult:
    """Return the result of one exercise of a notebook, from only the code that it needs.

    Code that uses another exercise gets the reference for it, and the learner's own only where it does not pass
    with that: neither a mistake nor an extension of an earlier exercise fails a later one.
    """
    with beside(code.path):
        result = _attempt(code, exercise, seed, own=False)
        if not result.passed and code.borrowed.get(exercise.id):
            second = _attempt(code, exercise, seed, own=True)
            result = second if second.passed else result
    return result


def _attempt(code: NotebookCode, exercise: Exercise, seed: int, own: bool) -> CheckResult:
    try:
        with undisturbed(seed), time_limit(exercise.seconds):
            namespace: Mapping[str, Any] = code.namespace_for(exercise, own=own)
    except (NotAttempted, LearnerError, OutOfTime, SystemExit) as error:
        # Loading failed: the check reports it as it reports what happens inside a call.
        return run_check(exercise, Unloadable(error), seed)
    result = run_check(exercise, DirectLearner(namespace, cell_names()), seed)
    problem = code.unloadable.get(exercise.id)
    if result.status == "error" and problem:
        result = replace(result, message=f"{result.message}\n{problem}")
    return result


def print_results(path: Path, results: list[CheckResult], as_json: bool, console: Console) -> None:
    """Print a table for people, or one JSON object for programs."""
    if as_json:
        # Not Rich's print: it would wrap and color the JSON.
        console.file.write(
            json.dumps({"notebook": str(path), "exercises": [result.summary() for result in results]}) + "\n"
        )
        return
    table = Table(title=str(path), title_justify="left", show_lines=False)
    table.add_column("Exercise", no_wrap=True)
    table.add_column("Name")
    table.add_column("Status", no_wrap=True)
    table.add_column("Points", justify="right", no_wrap=True)
    table.add_column("What was found")
    for result in results:
        message = result.message if result.status in ("failed", "error") else ""
        if result.details and message:
            message += "\n" + "\n".join(f"  {line}" for line in result.details)
        table.add_row(
            result.id,
            escape(result.name),
            f"[{_STYLES[result.status]}]{_SIGNS[result.status]}[/]",
            f"{result.points:g}/{result.max_points:g}",
            escape(message),
        )
    console.print(table)
    solved, points = sum(r.passed for r in results), sum(r.points for r in results)
    total = sum(r.max_points for r in results)
    console.print(f"{solved} of {len(results)} exercises solved, {points:g} of {total:g} points.")
