"""A stored class folder of an earlier release is gone on with: its settings, its scores, and what was given by hand."""

import csv
import shutil
import tarfile

import pytest
from traitlets.config.loader import PyFileConfigLoader
from traitlets.utils.importstring import import_item

from coursekit import chapter
from coursekit.folders import learner_path, solved_path
from coursekit.grading.classroom import export, grade_class, release, results_of
from coursekit.grading.gradebook import Gradebook
from coursekit.grading.machine import available_layers, tier_of
from coursekit.grading.refusals import NoUnjailedGrading
from tests.releases.make_class_folder import STORED

ZERO = chapter("00")


@pytest.fixture
def course(tmp_path):
    folder = tmp_path / "class"
    with tarfile.open(STORED) as archive:
        archive.extractall(folder, filter="data")
    return folder


def scores(course):
    export(ZERO, course, "csv", course / "out.csv")
    with (course / "out.csv").open(newline="", encoding="utf-8") as file:
        return {row["student"]: float(row["score"]) for row in csv.DictReader(file)}


def test_its_settings_still_refuse_unjailed_grading(course):
    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    assert import_item(config.Autograde.exporter_class) is NoUnjailedGrading


def test_its_scores_and_results_are_read(course):
    assert scores(course) == {"anna": 3.0, "ben": 0.5}
    points = {graded.student: [r.points for r in graded.results] for graded in results_of(course, ZERO)}
    assert points == {"anna": [1, 1, 1], "ben": [0, 0, 0]}


def test_a_new_release_of_the_chapter_changes_no_score(course):
    settings = (course / "nbgrader_config.py").read_bytes()
    release(ZERO, course)
    assert (course / "release" / ZERO.slug / f"{ZERO.slug}.ipynb").is_file()
    assert (course / "nbgrader_config.py").read_bytes() == settings
    assert scores(course) == {"anna": 3.0, "ben": 0.5}


def test_grading_goes_on_with_the_same_seeds_and_keeps_what_was_given_by_hand(course, tmp_path):
    seed = (course / "graded" / "seed.txt").read_bytes()
    [before] = [graded.seeds for graded in results_of(course, ZERO) if graded.student == "anna"]
    (tmp_path / "in").mkdir()
    shutil.copy(solved_path(ZERO), tmp_path / "in" / "anna.ipynb")
    shutil.copy(learner_path(ZERO), tmp_path / "in" / "ben.ipynb")
    report = grade_class(tmp_path / "in", ZERO, course, tier=tier_of(available_layers()))
    assert report.problems == {}
    assert (course / "graded" / "seed.txt").read_bytes() == seed
    [after] = [graded.seeds for graded in results_of(course, ZERO) if graded.student == "anna"]
    assert after == before
    assert scores(course) == {"anna": 3.0, "ben": 0.5}
    with Gradebook(course) as book:
        comment = book._book.find_comment("exercise_0_1", ZERO.slug, ZERO.slug, "ben")
        assert comment.manual_comment == "Nearly."
