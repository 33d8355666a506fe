"""Grading without hostile code: what crosses the wire, which submissions are found, what is kept and repeated."""

from __future__ import annotations

import csv
import gc
import io
import itertools
import json
import shutil
import struct
import sys
import weakref
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from coursekit import chapter
from coursekit.checking.door import Handle
from coursekit.errors import CourseError
from coursekit.grading import batches, wire
from coursekit.grading.classroom import collect, export, grade_class, results_of
from coursekit.grading.grade import Graded, nothing_for, seed_for
from coursekit.grading.gradebook import Gradebook, autograded_path, write_autograded
from coursekit.grading.machine import LAYERS, available_layers, require, tier_of
from coursekit.grading.report import feedback, statistics, write_grades
from coursekit.grading.submissions import Submission, find_submissions, safe_name
from tests.grades import scores_in

ROOT = Path(__file__).resolve().parents[3]
ZERO = chapter("00")
SOLVED = (ROOT / "solutions" / ZERO.slug / f"{ZERO.slug}.ipynb").read_bytes()
UNTOUCHED = (ROOT / "chapters" / ZERO.slug / f"{ZERO.slug}.ipynb").read_bytes()


def round_trip(value: Any) -> Any:
    tree, blob = wire.encode(value)
    return wire.decode(json.loads(json.dumps(tree)), blob)


# The wire


def test_values_survive_the_wire() -> None:
    value = (
        torch.randn(2, 3),
        [1, True, None, 2.5, "text"],
        {"a": torch.zeros(0), 3: ()},
        Handle(4, "module.Kind"),
    )
    back = round_trip(value)
    assert torch.equal(back[0], value[0])
    assert back[1] == value[1]
    assert list(back[2]) == ["a", 3]
    assert back[3] == value[3]


@pytest.mark.parametrize("dtype", wire.DTYPES.values(), ids=str)
def test_every_allowed_dtype_survives(dtype: torch.dtype) -> None:
    value = torch.tensor([[0, 1], [1, 1]]).to(dtype)
    back = round_trip(value)
    assert back.dtype == dtype
    assert torch.equal(back, value)


def test_other_tensors_become_handles() -> None:
    for value in (
        torch.zeros(2).to(torch.complex64),
        torch.eye(2).to_sparse(),
        torch.zeros(2, device="meta"),
    ):
        assert isinstance(round_trip(value), Handle)


@pytest.mark.parametrize(
    "tree",
    [
        {"configuration": ["ToyModelConfig", {"dict": []}]},
        {"tensor": 0},
        {"tensor": "0"},
        {"tensor": [0]},
        {"handle": [1]},
        {"handle": ["1", "x"]},
        {"dict": [[{"list": []}, 1]]},
        {"dict": [[1]]},
        {"list": {}},
        {"object": "os.system"},
        {"list": [], "tuple": []},
        [1],
        {},
        1 << 70,
        {"list": [0] * 30_000},
    ],
)
def test_what_is_not_on_the_whitelist_is_malformed(tree: Any) -> None:
    with pytest.raises(wire.Malformed):
        wire.decode(tree, b"")


def test_deep_nesting_is_malformed() -> None:
    tree: Any = 1
    for _ in range(100):
        tree = {"list": [tree]}
    with pytest.raises(wire.Malformed):
        wire.decode(tree, b"")


@pytest.mark.parametrize(
    "blob", [b"x", b"\xff" * 100, struct.pack("<Q", 1 << 60) + b"{}", struct.pack("<Q", 2) + b"[]"]
)
def test_bad_tensors_are_malformed(blob: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.decode({"tensor": 0}, blob)


def test_tensors_of_other_kinds_are_malformed() -> None:
    with pytest.raises(wire.Malformed):
        wire.decode({"tensor": 0}, save({"0": torch.zeros(2, dtype=torch.complex64)}))
    with pytest.raises(wire.Malformed):
        wire.decode({"tensor": 0}, save({"0": torch.zeros([1] * 12)}))


def test_text_loses_what_a_terminal_would_obey() -> None:
    assert wire.decode("a\x1b[2J\x07\u202eb\n\tc", b"") == "a�[2J��b\n\tc"


def test_only_the_checker_makes_configurations() -> None:
    from part_utils.toy_model import ToyModelConfig

    config = ToyModelConfig(n_instances=2)
    tree, blob = wire.encode(config)
    assert wire.decode(tree, blob, trusted=True) == config


# Submissions


def names(place: Path) -> list[str]:
    return [submission.student for submission in find_submissions(place, ZERO)]


def put(path: Path, content: bytes = SOLVED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_layouts(tmp_path: Path) -> None:
    slug = ZERO.slug
    put(tmp_path / "a" / "anna" / slug / f"{slug}.ipynb")
    put(tmp_path / "a" / "anna" / "01_toy_model" / "01_toy_model.ipynb")
    put(tmp_path / "a" / "ben" / slug / "renamed.ipynb")
    put(tmp_path / "a" / "ben" / slug / ".ipynb_checkpoints" / "renamed-checkpoint.ipynb")
    assert names(tmp_path / "a") == ["anna", "ben"]
    put(tmp_path / "b" / "anna.ipynb")
    put(tmp_path / "b" / "lovelaceada_LATE_123_4567_00_start_here-2.ipynb")
    assert names(tmp_path / "b") == ["anna", "lovelaceada_123"]
    put(tmp_path / "c" / "Ada Lovelace_123_assignsubmission_file" / "my work.ipynb")
    assert names(tmp_path / "c") == ["Ada-Lovelace_123"]


def test_two_notebooks_are_a_problem(tmp_path: Path) -> None:
    put(tmp_path / "anna" / ZERO.slug / "one.ipynb")
    put(tmp_path / "anna" / ZERO.slug / "two.ipynb")
    (submission,) = find_submissions(tmp_path, ZERO)
    assert "hand in one" in submission.read()[1]


def test_a_zip_is_read_and_never_unpacked(tmp_path: Path) -> None:
    place = tmp_path / "class.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("anna_1_2_work.ipynb", SOLVED)
        archive.writestr("../../evil_1_2_x.ipynb", SOLVED)
        archive.writestr("/etc/evil_1_2_x.ipynb", SOLVED)
        archive.writestr("bomb_3_4_x.ipynb", b" " * 30_000_000)
        link = zipfile.ZipInfo("link_5_6_x.ipynb")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    found = {submission.student: submission.read() for submission in find_submissions(place, ZERO)}
    assert list(found) == ["anna_1", "bomb_3"]
    assert found["anna_1"] == (SOLVED, "")
    assert "MB" in found["bomb_3"][1]
    assert [path.name for path in tmp_path.iterdir()] == ["class.zip"]


def test_nothing_to_grade_is_a_sentence(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "missing", put(tmp_path / "x.txt")):
        with pytest.raises(CourseError):
            find_submissions(place, ZERO)


def test_names_are_safe() -> None:
    for name in ("../x", "/etc/passwd", "a/b\\c", "..", ".hidden", "x" * 500, "a\0b"):
        safe = safe_name(name)
        assert "/" not in safe
        assert not safe.startswith(".")
        assert len(safe) <= 80


# Tiers


def test_tiers() -> None:
    assert tier_of(LAYERS) == "full"
    assert tier_of(LAYERS[1:]) == "reduced"
    assert tier_of(["namespaces", "seccomp", "rlimits"]) == "none"
    require("reduced", LAYERS)
    with pytest.raises(CourseError, match="bubblewrap"):
        require("full", LAYERS[1:])
    with pytest.raises(CourseError, match="libseccomp"):
        require("reduced", ["landlock", "rlimits"])
    with pytest.raises(CourseError, match="no tier"):
        require("complete", LAYERS)


# Reports


def some_result(student: str, points: float = 0, message: str = "") -> Graded:
    results = tuple(replace(nothing_for(e, "failed", message), points=points) for e in ZERO.exercises)
    return Graded(student, ZERO.slug, "key", "", "full", LAYERS, {"0.1": 3}, results)


def test_results_survive_json() -> None:
    graded = some_result("anna", 1, "why")
    assert Graded.from_json(graded.to_json()) == graded


def test_feedback_shows_text_as_text() -> None:
    page = feedback(some_result("<b>anna", 0, "<script>alert(1)</script>"), ZERO)
    assert "<script" not in page
    assert "<b>anna" not in page
    assert "seed" not in page


def test_statistics_name_the_most_frequent_mistake() -> None:
    class_ = [
        some_result("a", 0, "It is 3 times too large."),
        some_result("b", 0, "It is 4 times too large."),
    ]
    row = statistics([*class_, some_result("c", 0, "Another.")], ZERO)[0]
    assert (row.learners, row.solved, row.mistake_count) == (3, 0, 2)
    assert "times too large" in row.mistake


def test_a_mistake_keeps_the_names_in_it() -> None:
    row = statistics([some_result("a", 0, "`l1_loss` is 0.5 times too small.")], ZERO)[0]
    assert row.mistake == "`l1_loss` is … times too small."


def test_no_formula_reaches_a_spreadsheet(tmp_path: Path) -> None:
    write_grades(tmp_path / "x.csv", [["=cmd()", "+1", "-1", "@x", 5]])
    assert (tmp_path / "x.csv").read_text() == "'=cmd(),'+1,'-1,'@x,5\n"


def test_every_learner_has_other_inputs() -> None:
    assert seed_for(1, "anna", "0.1") == seed_for(1, "anna", "0.1")
    assert len({seed_for(s, who, e) for s in (1, 2) for who in ("anna", "ben") for e in ("0.1", "0.2")}) == 8


# A batch


@pytest.fixture(scope="module")
def class_of_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("class")
    put(place / "anna.ipynb")
    put(place / "ben.ipynb", UNTOUCHED)
    put(place / "carl.ipynb", b"{")
    return place


@pytest.fixture(scope="module")
def tier() -> str:
    tier = tier_of(available_layers())
    if tier == "none":
        pytest.skip("this machine cannot jail")
    return tier


@pytest.fixture(scope="module")
def course(class_of_three: Path, tier: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    course = tmp_path_factory.mktemp("course")
    report = grade_class(class_of_three, ZERO, course, tier=tier, course_seed=7)
    assert (report.graded_now, report.kept) == (3, 0)
    assert list(report.problems) == ["carl"]
    return course


def test_scores_and_pages(course: Path) -> None:
    assert scores_in(course / "graded" / ZERO.slug / "grades.csv") == {"anna": 3, "ben": 0, "carl": 0}
    with Gradebook(course) as book:
        assert {marks.student: marks.score for marks in book.marks(ZERO)} == {"anna": 3, "ben": 0, "carl": 0}
    for student in ("anna", "ben", "carl"):
        page = (course / "feedback" / student / ZERO.slug / f"{ZERO.slug}.html").read_text()
        assert student in page
        assert not any(other in page for other in {"anna", "ben", "carl"} - {student})


def test_graded_twice_the_same(class_of_three: Path, course: Path, tier: str, tmp_path: Path) -> None:
    grade_class(class_of_three, ZERO, tmp_path, tier=tier, course_seed=7)
    assert [g.results for g in results_of(tmp_path, ZERO)] == [g.results for g in results_of(course, ZERO)]
    assert [g.seeds for g in results_of(tmp_path, ZERO)] == [g.seeds for g in results_of(course, ZERO)]


def test_a_killed_batch_goes_on(class_of_three: Path, course: Path, tier: str, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(graded: Graded) -> None:
        raise Killed

    with pytest.raises(Killed):
        grade_class(class_of_three, ZERO, tmp_path, tier=tier, course_seed=7, heard=kill)
    report = grade_class(class_of_three, ZERO, tmp_path, tier=tier)
    assert (report.graded_now, report.kept) == (2, 1)
    expected = (course / "graded" / ZERO.slug / "grades.csv").read_text()
    assert (tmp_path / "graded" / ZERO.slug / "grades.csv").read_text() == expected


def test_a_regrade_keeps_what_people_wrote(class_of_three: Path, tier: str, tmp_path: Path) -> None:
    from nbgrader.api import Gradebook as NbgraderGradebook

    grade_class(class_of_three, ZERO, tmp_path, tier=tier, course_seed=7)
    url = f"sqlite:///{tmp_path / 'gradebook.db'}"
    with NbgraderGradebook(url, "superposition") as book:
        book.find_grade("check_0_1", ZERO.slug, ZERO.slug, "ben").manual_score = 0.5
        book.find_comment("exercise_0_1", ZERO.slug, ZERO.slug, "ben").manual_comment = "Nearly."
        book.db.commit()
    grade_class(class_of_three, ZERO, tmp_path, tier=tier, again=True)
    with NbgraderGradebook(url, "superposition") as book:
        assert book.find_grade("check_0_1", ZERO.slug, ZERO.slug, "ben").manual_score == 0.5
        assert book.find_comment("exercise_0_1", ZERO.slug, ZERO.slug, "ben").comment == "Nearly."
        assert book.find_submission(ZERO.slug, "ben").score == 0.5
    assert scores_in(tmp_path / "graded" / ZERO.slug / "grades.csv")["ben"] == 0.5


def test_a_changed_verdict_asks_for_a_second_look(tier: str, tmp_path: Path) -> None:
    """Until the instructor has looked, however often the batch is graded."""
    from nbgrader.api import Gradebook as NbgraderGradebook

    put(tmp_path / "in" / "ben.ipynb", UNTOUCHED)
    grade_class(tmp_path / "in", ZERO, tmp_path, tier=tier, course_seed=7)
    url = f"sqlite:///{tmp_path / 'gradebook.db'}"
    with NbgraderGradebook(url, "superposition") as book:
        book.find_grade("check_0_1", ZERO.slug, ZERO.slug, "ben").manual_score = 0.5
        book.db.commit()
    put(tmp_path / "in" / "ben.ipynb")
    for again in (False, False, True):
        grade_class(tmp_path / "in", ZERO, tmp_path, tier=tier, again=again)
        with NbgraderGradebook(url, "superposition") as book:
            needs = {
                grade.name: grade.needs_manual_grade
                for grade in book.find_submission(ZERO.slug, "ben").notebooks[0].grades
            }
        assert needs == {"check_0_1": True, "check_0_2": False, "check_0_3": False}


def test_what_people_wrote_reaches_the_learner(
    class_of_three: Path, course: Path, tier: str, tmp_path: Path
) -> None:
    from nbgrader.api import Gradebook as NbgraderGradebook

    shutil.copytree(course, tmp_path, dirs_exist_ok=True)
    page = tmp_path / "feedback" / "ben" / ZERO.slug / f"{ZERO.slug}.html"
    assert "instructor" not in page.read_text()
    with NbgraderGradebook(f"sqlite:///{tmp_path / 'gradebook.db'}", "superposition") as book:
        book.find_grade("check_0_1", ZERO.slug, ZERO.slug, "ben").manual_score = 0.5
        book.find_comment("exercise_0_1", ZERO.slug, ZERO.slug, "ben").manual_comment = "<i>Nearly.</i>"
        book.update_or_create_student("ben", first_name="Ben", last_name="<Okri>")
        book.update_or_create_student("dora")
        book.db.commit()
    report = grade_class(class_of_three, ZERO, tmp_path, tier=tier)
    assert (report.graded_now, report.kept, report.missing) == (0, 3, ["dora"])
    assert "Ben &lt;Okri&gt; (ben)" in page.read_text()
    assert "Your instructor gave 0.5 of 1 points." in page.read_text()
    assert "&lt;i&gt;Nearly.&lt;/i&gt;" in page.read_text()
    assert "0.5 of 3 points" in page.read_text()
    others = (tmp_path / "feedback" / "anna" / ZERO.slug / f"{ZERO.slug}.html").read_text()
    assert "instructor" not in others


# Formgrader


@pytest.fixture
def formgrader(course: Path) -> Any:
    """What formgrader's pages ask nbgrader for, in the course's folder with the settings that the course made."""
    from nbgrader.apps.api import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import PyFileConfigLoader

    config = PyFileConfigLoader("nbgrader_config.py", str(course)).load_config()
    config.CourseDirectory.root = str(course)
    config.Exchange.root = str(course / "no-exchange")
    return NbGraderAPI(CourseDirectory(config=config), config=config)


def test_formgrader_lists_the_chapter_and_its_submissions(formgrader: Any) -> None:
    (assignment,) = formgrader.get_assignments()
    assert (assignment["name"], assignment["num_submissions"]) == (ZERO.slug, 3)
    assert (assignment["average_score"], assignment["max_score"]) == (1, 3)
    submissions = {s["student"]: s for s in formgrader.get_submissions(ZERO.slug)}
    assert {name: (s["score"], s["max_score"]) for name, s in submissions.items()} == {
        "anna": (3, 3),
        "ben": (0, 3),
        "carl": (0, 3),
    }
    for submission in submissions.values():
        assert submission["autograded"]
        assert not submission["needs_manual_grade"]
        assert submission["timestamp"]
    # Those that can be opened, for there is a notebook to show.
    assert len(formgrader.get_notebook_submissions(ZERO.slug, ZERO.slug)) == 3


def test_formgrader_does_not_run_learners_code(formgrader: Any, course: Path) -> None:
    notebook = autograded_path(course, "anna", ZERO.slug)
    before = notebook.read_bytes()
    said = formgrader.autograde(ZERO.slug, "anna")
    assert not said["success"]
    assert "course grade" in said["error"]
    assert not formgrader.generate_assignment(ZERO.slug)["success"]
    assert notebook.read_bytes() == before
    with Gradebook(course) as book:
        assert book.marks_of(ZERO, "anna").score == 3


def shown(course: Path, student: str) -> list[Any]:
    import nbformat

    path = autograded_path(course, student, ZERO.slug)
    return nbformat.read(path, as_version=4).cells


def test_each_answer_stands_beside_its_check(course: Path) -> None:
    for student in ("anna", "ben", "carl"):
        cells = shown(course, student)
        names = [cell.metadata.nbgrader.grade_id for cell in cells if "nbgrader" in cell.metadata]
        assert names == [f"{kind}_0_{n}" for n in (1, 2, 3) for kind in ("exercise", "check")]
        for above, below in itertools.pairwise(cells):
            if "nbgrader" in below.metadata and below.metadata.nbgrader.grade:
                assert above.metadata.nbgrader.grade_id == below.metadata.nbgrader.grade_id.replace(
                    "check", "exercise"
                )
    answers = [cell.source for cell in shown(course, "anna") if "nbgrader" in cell.metadata]
    for exercise, answer in zip(ZERO.exercises, answers[::2], strict=True):
        assert f"def {exercise.cell_name}" in answer


def test_the_answer_shown_is_the_one_that_counts(tmp_path: Path) -> None:
    """The last solved one, wherever it stands, in whatever state the notebook's metadata is."""
    cells = [
        {"cell_type": "code", "source": "def reconstruct(acts, W_dec):\n    return 1", "metadata": None},
        {"cell_type": "code", "source": ["def reconstruct(acts, W_dec):\n", "    return 2"]},
        {"cell_type": "code", "source": "def reconstruct(acts, W_dec):\n    raise NotImplementedError()"},
        {"cell_type": "markdown", "source": "<script>alert(1)</script> ![x](https://example.org/x.png)"},
        7,
    ]
    write_autograded(tmp_path, some_result("anna"), json.dumps({"cells": cells}).encode())
    answer = next(cell for cell in shown(tmp_path, "anna") if "check_0_2" in str(cell.metadata))
    cells = shown(tmp_path, "anna")
    assert cells[cells.index(answer) - 1].source.endswith("return 2")
    (text,) = (cell.source for cell in cells if cell.cell_type == "markdown")
    assert text.startswith("<pre")
    assert "<script" not in text


def test_a_notebook_with_very_many_cells_is_cut(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": "1"}] * 2000
    write_autograded(tmp_path, some_result("anna"), json.dumps({"cells": cells}).encode())
    cells = shown(tmp_path, "anna")
    assert len(cells) < 1010
    assert any("more cells" in cell.source for cell in cells)


def test_the_courses_own_text_looks_as_it_does_in_the_chapter(course: Path) -> None:
    texts = [cell.source for cell in shown(course, "ben") if cell.cell_type == "markdown"]
    assert any("<details>" in text for text in texts)
    assert not any("&lt;details&gt;" in text for text in texts)
    assert not any("](../" in text for text in texts if "![" in text)


def test_a_lost_notebook_comes_back(class_of_three: Path, course: Path, tier: str, tmp_path: Path) -> None:
    shutil.copytree(course, tmp_path, dirs_exist_ok=True)
    path = autograded_path(tmp_path, "anna", ZERO.slug)
    before = path.read_bytes()
    path.unlink()
    (tmp_path / "gradebook.db").unlink()
    assert grade_class(class_of_three, ZERO, tmp_path, tier=tier).kept == 3
    assert path.read_bytes() == before
    with Gradebook(tmp_path) as book:
        assert book.marks_of(ZERO, "anna").score == 3


def test_a_lost_gradebook_comes_back_from_a_part_of_the_class(
    course: Path, tier: str, tmp_path: Path
) -> None:
    shutil.copytree(course, tmp_path, dirs_exist_ok=True)
    (tmp_path / "gradebook.db").unlink()
    shutil.rmtree(tmp_path / "submitted" / "anna")
    # The course's folder itself: what is in submitted/ is meant, and not what was made of it.
    report = grade_class(tmp_path, ZERO, tmp_path, tier=tier)
    assert (report.graded_now, report.kept) == (0, 2)
    assert scores_in(report.grades) == {"anna": 3, "ben": 0, "carl": 0}


# Platforms


def table(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_collect(class_of_three: Path, tmp_path: Path) -> None:
    assert collect(class_of_three, ZERO, tmp_path) == (3, {})
    assert (tmp_path / "submitted" / "anna" / ZERO.slug / "timestamp.txt").is_file()
    assert names(tmp_path / "submitted") == ["anna", "ben", "carl"]


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    """A gradebook with learners as Canvas and Moodle name them, and two from a class list."""
    with Gradebook(tmp_path) as book:
        book.add_chapter(ZERO)
        for student, points in (
            ("lovelaceada_123", 1),
            ("Jörg-Meier_7", 0),
            ("kim", 1),
            ("lee", 0),
            ("x", 0),
        ):
            book.save(some_result(student, points))
        for student, facts in (
            ("kim", {"first_name": "Kim", "last_name": "Jung", "email": "kim@u.edu", "lms_user_id": "44"}),
            ("lee", {"first_name": "Lee", "last_name": "O", "lms_user_id": "s-9"}),
        ):
            book._book.update_or_create_student(student, **facts)
    return tmp_path


def test_canvas(platform: Path) -> None:
    """The columns and their order are those that Canvas' gradebook import reads the header by."""
    out = platform / "out.csv"
    exported = export(ZERO, platform, "canvas", out, "Homework 0 (4711)")
    assert (exported.learners, exported.without_id) == (5, ["x"])
    header, possible, *rows = table(out)
    assert header == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Homework 0 (4711)"]
    assert possible == ["    Points Possible", "", "", "", "", "3"]
    assert rows == [
        ["Jörg Meier", "7", "", "", "", "0"],
        ["Jung, Kim", "44", "", "", "", "3"],
        ["O, Lee", "", "s-9", "", "", "0"],
        ["lovelaceada", "123", "", "", "", "3"],
        ["x", "", "", "x", "", "0"],
    ]
    export(ZERO, platform, "canvas", out)
    assert table(out)[0][-1] == f"Chapter 0 {ZERO.title}"


def test_moodle(platform: Path) -> None:
    """Moodle's worksheet import refuses a table without `Identifier`, `Grade` and `Last modified (grade)`."""
    import datetime

    out = platform / "out.csv"
    exported = export(ZERO, platform, "moodle", out)
    assert (exported.learners, exported.without_id) == (5, ["x"])
    header, *rows = table(out)
    assert {"Identifier", "Email address", "Grade", "Last modified (grade)"} <= set(header)
    by_name = {row[1]: dict(zip(header, row, strict=True)) for row in rows}
    assert by_name["Jörg Meier"]["Identifier"] == "Participant 7"
    assert by_name["Kim Jung"]["Identifier"] == "Participant 44"
    assert by_name["Kim Jung"]["Email address"] == "kim@u.edu"
    assert by_name["Kim Jung"]["Grade"] == by_name["Kim Jung"]["Maximum Grade"] == "3"
    for row in by_name.values():
        when = datetime.datetime.fromisoformat(row["Last modified (grade)"])
        assert abs((datetime.datetime.now(datetime.UTC) - when).total_seconds()) < 600


def test_csv(platform: Path) -> None:
    assert export(ZERO, platform, "csv", platform / "out.csv").without_id == []
    header, *rows = table(platform / "out.csv")
    assert header == ["student", "score", "max_score", *(exercise.id for exercise in ZERO.exercises)]
    assert ["kim", "3", "3", "1", "1", "1"] in rows


def test_nothing_to_export_is_a_sentence(platform: Path) -> None:
    with pytest.raises(CourseError, match="formats"):
        export(ZERO, platform, "xml", platform / "out.csv")
    with pytest.raises(CourseError, match="Nothing of chapter 01"):
        export(chapter("01"), platform, "csv", platform / "out.csv")


# Memory


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_does_not_grow_with_the_class(
    workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notebooks and results come and go one by one, and the gradebook keeps no learner in memory."""

    class Notebook(bytes):
        """Bytes that say when they are gone."""

        def __del__(self) -> None:
            gone.append(1)

    read_ones: list[int] = []
    gone: list[int] = []
    results: list[weakref.ref[Graded]] = []
    tracked: list[int] = []

    def read(submission: Submission) -> tuple[bytes, str]:
        read_ones.append(1)
        return Notebook(UNTOUCHED), ""

    def heard(graded: Graded) -> None:
        results.append(weakref.ref(graded))
        assert sum(result() is not None for result in results) <= 2 * workers + 1
        assert len(read_ones) - len(gone) <= 2 * workers + 2
        if len(results) in (8, 24):
            gc.collect()
            tracked.append(len(gc.get_objects()))

    def grade(task: Any, settings: Any) -> Graded:
        return replace(some_result(task[0]), key="")

    monkeypatch.setattr(Submission, "read", read)
    monkeypatch.setattr(batches, "grade_task", grade)
    monkeypatch.setattr(batches, "grade_submission", lambda jail, *task: grade(task[:3], task[3]))
    monkeypatch.setattr(batches, "ProcessPoolExecutor", lambda workers, **_: ThreadPoolExecutor(workers))
    for number in range(24):
        put(tmp_path / "in" / f"learner{number:02}.ipynb", b"{}")
    report = grade_class(tmp_path / "in", ZERO, tmp_path, tier="none", workers=workers, heard=heard)
    assert report.graded_now == 24
    # A submission's rows in the gradebook are more than ten objects for each of its three exercises.
    assert tracked[1] - tracked[0] < 16 * 10


def test_grading_stays_out_of_other_commands() -> None:
    import subprocess

    code = "import sys, coursekit.commands.cli; print([m for m in ('nbgrader', 'distributed') if m in sys.modules])"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert said.stdout.strip() == "[]"
