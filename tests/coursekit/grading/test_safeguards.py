"""What keeps grading going and its results harmless: files in the way, comments, tables, fingerprints, limits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coursekit import chapter
from coursekit.catalogue import get_exercise
from coursekit.errors import CourseError
from coursekit.folders import learner_path, solved_path
from coursekit.grading import confine, grade, machine
from coursekit.grading.classroom import at_work, collect, grade_class
from coursekit.grading.gradebook import as_plain_markdown
from coursekit.grading.machine import LAYERS, tier_of
from coursekit.grading.report import write_grades
from coursekit.notebooks.learners_code import MOST_WORK, read_notebook_code
from coursekit.notebooks.statements import reading_work

ZERO = chapter("00")
HOSTILE_TEXTS = (
    "<script>alert(1)</script>",
    "~~~~~~\n<img src=x onerror=alert(1)>",
    "$$<svg onload=alert(1)>$$",
    "[x](javascript:alert(1)) ![y](https://example.org/z.png)",
    "\n\n    </code></pre><script>alert(1)</script>",
    "\\begin{equation}<script>\\end{equation} `<b>` &lt;script&gt;",
)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, object]] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append((tag, attrs))


def tags_of_comment(text: str) -> list[tuple[str, object]]:
    from nbconvert.filters import markdown2html

    parser = Tags()
    parser.feed(markdown2html(as_plain_markdown(text)))
    return parser.found


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_a_comment_is_text_in_nbgraders_pages(text: str) -> None:
    assert tags_of_comment(text) == [("pre", []), ("code", [])]


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("~`<>/&$\\[]()!\n *#-=ab\"'"), max_size=60))
def test_no_text_of_a_comment_becomes_markup(text: str) -> None:
    assert tags_of_comment(text) == [("pre", []), ("code", [])]


@pytest.mark.parametrize("start", ["", "\n", " \n\t", "\u2028", "\r\n ", "\x0b"])
@pytest.mark.parametrize("formula", ['=HYPERLINK("x")', "+1", "-1", "@SUM(1)", "\uff1d1"])
def test_no_formula_behind_a_line_end(start: str, formula: str, tmp_path: Path) -> None:
    write_grades(tmp_path / "x.csv", [[f"{start}{formula}", f"text\n{formula}"]])
    text = (tmp_path / "x.csv").read_text(encoding="utf-8")
    assert text.count("\n") == 1
    assert text.strip('"').startswith("'")


# What a grade depends on


def test_a_changed_check_regrades_its_chapter_only_and_no_text_does() -> None:
    files = {number: set(grade.decisive_files(number)) for number in ("00", "02", "03")}
    of_exercises = {number: {p for p in found if "exercises" in p.parts} for number, found in files.items()}
    assert any(path.name == "e03_forward.py" for path in files["02"])
    assert not of_exercises["00"] & of_exercises["02"]
    # Chapter 3 borrows one file of chapter 2, and none of its checks.
    assert {path.name for path in of_exercises["02"] & of_exercises["03"]} <= {
        "autoencoders.py",
        "__init__.py",
    }
    assert {path.suffix for found in files.values() for path in found} == {".py"}
    names = {path.name for path in files["00"]}
    assert {"claims.py", "wire.py", "confine.py", "learners_code.py", "toy_model.py"} <= names
    assert not names & {"prose.py", "report.py", "classroom.py", "cli.py", "build.py"}


# The machine


def test_an_old_landlock_alone_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confine, "landlock_version", lambda: 2)
    assert tier_of(LAYERS) == "full"
    assert tier_of(LAYERS[1:]) == "none"
    with pytest.raises(CourseError, match="landlock has version 2"):
        machine.require("reduced", LAYERS[1:])


# Files in the way


def class_with(tmp_path: Path) -> tuple[Path, Path]:
    place, course = tmp_path / "in", tmp_path / "course"
    place.mkdir()
    (place / "anna.ipynb").write_bytes(learner_path(ZERO).read_bytes())
    return place, course


def test_two_commands_in_one_folder(tmp_path: Path) -> None:
    place, course = class_with(tmp_path)
    with at_work(course), pytest.raises(CourseError, match="Another command is at work"):
        collect(place, ZERO, course)
    assert collect(place, ZERO, course) == (1, {})


def test_an_empty_seed_is_a_sentence(tmp_path: Path) -> None:
    place, course = class_with(tmp_path)
    (course / "graded").mkdir(parents=True)
    (course / "graded" / "seed.txt").write_text("")
    with pytest.raises(CourseError, match="holds no number"):
        grade_class(place, ZERO, course, tier="none")


@pytest.mark.parametrize("content", [b"no database" * 200, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_gradebook_is_a_sentence(content: bytes, tmp_path: Path) -> None:
    place, course = class_with(tmp_path)
    course.mkdir()
    (course / "gradebook.db").write_bytes(content)
    with pytest.raises(CourseError, match="cannot be used"):
        grade_class(place, ZERO, course, tier="none")
    assert (course / "gradebook.db").read_bytes() == content


@pytest.mark.parametrize("number", [28, 30])
def test_a_disk_that_refuses_is_a_sentence(number: int, tmp_path: Path) -> None:
    with pytest.raises(CourseError, match="Nothing that was graded is lost"), at_work(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path / "x"))


def test_a_truncated_zip_is_a_sentence(tmp_path: Path) -> None:
    place, _ = class_with(tmp_path)
    archive = Path(shutil.make_archive(str(tmp_path / "x"), "zip", place))
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(CourseError):
        collect(archive, ZERO, tmp_path / "course")


def test_a_worker_ends_with_what_started_it() -> None:
    """Killed without a word, the parent leaves no process behind."""
    code = (
        "import multiprocessing, os, time\n"
        "from coursekit.grading.batches import _end_with_parent\n"
        "def work(pipe):\n    _end_with_parent()\n    pipe.send(os.getpid())\n    time.sleep(300)\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('fork')\n"
        "    ours, theirs = context.Pipe()\n"
        "    context.Process(target=work, args=(theirs,)).start()\n"
        "    print(ours.recv(), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
    for _ in range(200):
        if not Path(f"/proc/{worker}").exists() or " Z " in Path(f"/proc/{worker}/stat").read_text():
            return
        time.sleep(0.05)
    pytest.fail("the worker lives on")


# Cells that have nothing to do with an exercise


@pytest.mark.parametrize(
    ("source", "count"),
    [("x = %who\n" * 600, 1), ("y = 1\nz = y", 1_000), ("(" * 100_000, 1), ("x = 1\n" * 10_000, 4)],
)
def test_other_cells_take_no_exercises_time(source: str, count: int, tmp_path: Path) -> None:
    book = json.loads(solved_path(ZERO).read_text(encoding="utf-8"))
    more = {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
    book["cells"] = [*([more] * count), *book["cells"], *([more] * count)]
    path = tmp_path / "x.ipynb"
    path.write_text(json.dumps(book))
    code = read_notebook_code(path)
    assert (
        sum(reading_work(cell.source) for cell in code.cells if cell.number not in code.broken)
        < 2 * MOST_WORK
    )
    for exercise in ("0.1", "0.2", "0.3"):
        assert get_exercise(exercise).cell_name in code.namespace_for(get_exercise(exercise))
