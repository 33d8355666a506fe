"""nbgrader's own commands work on what the build makes, with the committed configuration."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from part_utils.course.build import ROOT, learner_path, solved_path
from part_utils.exercises import chapter

pytestmark = pytest.mark.slow


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


def test_release_and_autograde(tmp_path):
    item = chapter("00")
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    (tmp_path / "solutions" / item.slug).mkdir(parents=True)
    shutil.copy(solved_path(item), tmp_path / "solutions" / item.slug)
    nbgrader(tmp_path, "generate_assignment", item.slug, "--create")
    released = tmp_path / "chapters" / item.slug / f"{item.slug}.ipynb"
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
