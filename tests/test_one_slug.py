"""An exercise has one name: of its file, and of the file of its wrong answers; and a file that one can read at once."""

from coursekit import all_exercises
from coursekit.folders import ROOT

MOST_LINES = 450


def slugs(folder):
    return {f"{path.parent.name}/{path.stem}" for path in (ROOT / folder).glob("chapter_*/e*.py")}


def test_every_exercise_has_a_file_of_its_name_and_answers_of_the_same_name():
    named = {f"chapter_{exercise.chapter.number}/{exercise.slug}" for exercise in all_exercises()}
    assert slugs("coursekit/exercises") == named
    assert slugs("tests/mutants") == named


def test_the_number_in_the_name_is_the_exercises():
    for exercise in all_exercises():
        assert int(exercise.slug[1:3]) == int(exercise.id.partition(".")[2])


def test_no_exercise_is_longer_than_a_person_reads_at_once():
    files = (ROOT / "coursekit/exercises").rglob("*.py")
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {str(path): length for path, length in lengths.items() if length > MOST_LINES} == {}
