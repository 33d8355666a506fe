"""nbgrader's own commands work on what the build makes, with the committed configuration, and give the same scores."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coursekit import CHAPTERS, chapter
from coursekit.catalogue import Chapter
from coursekit.folders import ROOT, learner_path, solved_path
from coursekit.grading.classroom import grade_class
from coursekit.grading.gradebook import Gradebook
from coursekit.grading.machine import available_layers, tier_of
from coursekit.notebooks.names import solution_grade_id

pytestmark = pytest.mark.slow
TIER = tier_of(available_layers())


def nbgrader(folder: Path, *arguments: str) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path, "COURSE_STATIC": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def release(item: Chapter, folder: Path) -> Path:
    """The learner's notebook, made by nbgrader in a folder with the committed configuration."""
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    (folder / "solutions" / item.slug).mkdir(parents=True)
    shutil.copy(solved_path(item), folder / "solutions" / item.slug)
    nbgrader(folder, "generate_assignment", item.slug, "--create")
    return folder / "chapters" / item.slug / f"{item.slug}.ipynb"


def test_release_and_autograde(tmp_path: Path) -> None:
    item = chapter("00")
    released = release(item, tmp_path)
    assert released.read_text() == learner_path(item).read_text()
    for student, notebook in (("solved", solved_path(item)), ("untouched", released)):
        folder = tmp_path / "submitted" / student / item.slug
        folder.mkdir(parents=True)
        shutil.copy(notebook, folder)
    nbgrader(tmp_path, "autograde", item.slug)
    nbgrader(tmp_path, "export")
    with (tmp_path / "grades.csv").open() as file:
        scores = {
            row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(file)
        }
    total = float(sum(exercise.points for exercise in item.exercises))
    assert scores == {"solved": (total, total), "untouched": (0.0, total)}


def grade_id(cell: dict[str, Any]) -> str:
    return cell["metadata"].get("nbgrader", {}).get("grade_id", "")


def submission(item: Chapter, is_solved: Callable[[int], bool]) -> str:
    """A learner's notebook in which the exercises of these positions are solved.

    From chapter 1 on without the cells that train and plot, which take nbgrader minutes and bring no points.
    """
    book = json.loads(learner_path(item).read_text())
    answers = {grade_id(cell): cell["source"] for cell in json.loads(solved_path(item).read_text())["cells"]}
    for position, exercise in enumerate(item.exercises):
        name = solution_grade_id(exercise.id)
        for cell in book["cells"]:
            if grade_id(cell) == name and is_solved(position):
                cell["source"] = answers[name]
    if item.number != "00":
        imports = next(cell for cell in book["cells"] if "import check\n" in "".join(cell["source"]))
        book["cells"] = [imports, *(cell for cell in book["cells"] if grade_id(cell))]
    return json.dumps(book)


@pytest.mark.skipif(TIER == "none", reason="this machine cannot jail")
@pytest.mark.parametrize("number", [item.number for item in CHAPTERS])
def test_honest_submissions_get_the_same_from_both(number: str, tmp_path: Path) -> None:
    """Exercise by exercise the same scores from `nbgrader autograde` and from `course grade`."""
    item = chapter(number)
    kinds: dict[str, Callable[[int], bool]] = {
        "solved": lambda position: True,
        "half": lambda position: position % 2 == 0,
        "untouched": lambda position: False,
    }
    release(item, tmp_path)
    for student, is_solved in kinds.items():
        folder = tmp_path / "submitted" / student / item.slug
        folder.mkdir(parents=True)
        (folder / f"{item.slug}.ipynb").write_text(submission(item, is_solved))
    nbgrader(tmp_path, "autograde", item.slug)
    ours = tmp_path / "ours"
    grade_class(tmp_path / "submitted", item, ours, tier=TIER, workers=2)
    expected = {
        student: {e.id: float(e.points) * is_solved(n) for n, e in enumerate(item.exercises)}
        for student, is_solved in kinds.items()
    }
    for folder in (tmp_path, ours):
        with Gradebook(folder) as book:
            found = {marks.student: marks for marks in book.marks(item)}
        assert {student: marks.by_exercise for student, marks in found.items()} == expected
        assert {student: marks.score for student, marks in found.items()} == {
            student: sum(points.values()) for student, points in expected.items()
        }
