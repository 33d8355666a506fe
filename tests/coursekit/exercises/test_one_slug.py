"""An exercise has one name: of its file, of the file of its wrong answers, of its tests and its row in their table.

It is made of the exercise's number and what its cell defines. And its file is one that a person reads at once.
"""

import re

import pytest

from coursekit import CHAPTERS, all_exercises
from coursekit.folders import ROOT
from coursekit.material import chapter_text
from coursekit.notebooks.cells import exercise_cells
from coursekit.prose import prose_in

MOST_LINES = 450


def slugs(folder):
    return {f"{path.parent.name}/{path.stem}" for path in (ROOT / folder).glob("chapter_*/e[0-9][0-9]_*.py")}


def test_every_exercise_has_a_file_of_its_name_and_answers_of_the_same_name():
    named = {f"chapter_{exercise.chapter.number}/{exercise.slug}" for exercise in all_exercises()}
    assert slugs("coursekit/exercises") == named
    assert slugs("tests/mutants") == named


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.slug)
def test_exercises_are_numbered_in_the_order_of_the_text(chapter):
    ids = [exercise.id for exercise in chapter.exercises]
    assert ids == list(prose_in(chapter_text(chapter.slug)))
    assert ids == [f"{int(chapter.number)}.{number}" for number in range(1, len(ids) + 1)]
    assert all(len(exercise.prose.hints) >= 2 for exercise in chapter.exercises)


@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda e: e.label)
def test_the_name_is_the_number_and_what_the_cell_defines(exercise):
    number, _, name = exercise.slug.partition("_")
    assert number == f"e{int(exercise.id.partition('.')[2]):02}"
    defined = exercise.name.rpartition(".")[2]
    assert name == re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", defined).lower().strip("_")
    cell = next(cell for cell in exercise_cells(exercise) if cell.cell_type == "code")
    assert re.search(rf"^ *(def|class) {defined}\b", cell.source, re.MULTILINE)


def test_no_exercise_is_longer_than_a_person_reads_at_once():
    files = (ROOT / "coursekit/exercises").rglob("*.py")
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {str(path): length for path, length in lengths.items() if length > MOST_LINES} == {}
