"""Several processes, several machines, and nbgrader itself: all give the grades that the serial run gives."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coursekit import CHAPTERS, chapter
from coursekit.commands.cli import app
from coursekit.errors import CourseError
from coursekit.grading.classroom import grade_class, results_of
from coursekit.grading.grade import Graded, Settings, grade_submission, modules_of
from coursekit.grading.gradebook import Gradebook
from coursekit.grading.jail import Jail
from coursekit.grading.machine import available_layers, tier_of
from coursekit.notebooks.learners_code import read_notebook_code
from coursekit.work.check import check_in_notebook
from tests.grades import scores_in

ROOT = Path(__file__).resolve().parents[3]
ZERO = chapter("00")
WRONG = "def reconstruct(acts, W_dec):\n    return acts"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(tier_of(available_layers()) == "none", reason="this machine cannot jail"),
]
TIER = tier_of(available_layers())


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve learners, of whom every third has one exercise wrong."""
    place = tmp_path_factory.mktemp("submitted")
    solved = json.loads((ROOT / "solutions" / ZERO.slug / f"{ZERO.slug}.ipynb").read_text())
    for number in range(12):
        book = json.loads(json.dumps(solved))
        for cell in book["cells"]:
            if number % 3 == 0 and cell["metadata"].get("nbgrader", {}).get("grade_id") == "exercise_0_2":
                cell["source"] = WRONG
        folder = place / f"learner{number:02}" / ZERO.slug
        folder.mkdir(parents=True)
        (folder / f"{ZERO.slug}.ipynb").write_text(json.dumps(book))
    return place


@pytest.fixture(scope="module")
def serial(submitted: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Graded]:
    course = tmp_path_factory.mktemp("serial")
    grade_class(submitted, ZERO, course, tier=TIER, course_seed=3)
    return {graded.student: graded for graded in results_of(course, ZERO)}


def same(course: Path, serial: dict[str, Graded]) -> bool:
    found = {graded.student: graded for graded in results_of(course, ZERO)}
    return {s: (g.results, g.seeds) for s, g in found.items()} == {
        s: (g.results, g.seeds) for s, g in serial.items()
    }


def test_serial(serial: dict[str, Graded]) -> None:
    assert [graded.points for graded in serial.values()] == [2, 3, 3] * 4


def test_two_processes(submitted: Path, serial: dict[str, Graded], tmp_path: Path) -> None:
    grade_class(submitted, ZERO, tmp_path, tier=TIER, course_seed=3, workers=2)
    assert same(tmp_path, serial)


def test_killed_without_a_word_and_started_again(
    submitted: Path, serial: dict[str, Graded], tmp_path: Path
) -> None:
    """The process kills itself after the third result, as `kill -9` would; the second run ends with the same grades."""
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from coursekit.grading.classroom import grade_class\n"
        "from coursekit import chapter\n"
        "done = []\n"
        "def heard(graded):\n    done.append(graded)\n    len(done) == 3 and os.kill(os.getpid(), 9)\n"
        "place, course, tier = sys.argv[1:]\n"
        "grade_class(Path(place), chapter('00'), Path(course), tier=tier, course_seed=3, heard=heard)\n"
    )
    command = [sys.executable, "-c", code, str(submitted), str(tmp_path), TIER]
    assert subprocess.run(command, capture_output=True, timeout=300).returncode == -9
    assert len(list(results_of(tmp_path, ZERO))) == 3
    report = grade_class(submitted, ZERO, tmp_path, tier=TIER)
    assert (report.graded_now, report.kept) == (9, 3)
    assert same(tmp_path, serial)


def test_two_machines_one_of_which_dies(submitted: Path, serial: dict[str, Graded], tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
    )
    done: list[str] = []

    def heard(graded: Graded) -> None:
        done.append(graded.student)
        if len(done) == 4:
            # Without a word, as a machine that loses its power.
            cluster.workers[0].process.process._process.kill()

    with cluster:
        grade_class(
            submitted,
            ZERO,
            tmp_path,
            tier=TIER,
            course_seed=3,
            scheduler=cluster.scheduler_address,
            heard=heard,
        )
    assert sorted(set(done)) == sorted(serial)
    assert same(tmp_path, serial)


@contextmanager
def scheduler_with_a_worker(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start a scheduler and a worker as processes of their own; yields the scheduler's address, and itself."""
    dask = [sys.executable, "-m", "dask"]
    command = [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as scheduler:
        assert scheduler.stderr is not None
        address = next(found[0] for line in scheduler.stderr if (found := re.search(r"tcp://\S+", line)))
        command = [
            *dask,
            "worker",
            address,
            "--nthreads",
            "1",
            "--no-nanny",
            "--local-directory",
            str(folder),
        ]
        with subprocess.Popen([*command, "--no-dashboard"], stderr=subprocess.DEVNULL) as worker:
            try:
                yield address, scheduler
            finally:
                worker.kill()
                scheduler.kill()


def test_a_scheduler_that_is_gone_is_a_sentence_and_a_restart_goes_on(
    submitted: Path, serial: dict[str, Graded], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("distributed")
    course = tmp_path / "course"
    done: list[str] = []

    with scheduler_with_a_worker(tmp_path) as (address, scheduler):

        def heard(graded: Graded) -> None:
            done.append(graded.student)
            if len(done) == 3:
                scheduler.kill()
                scheduler.wait()

        with pytest.raises(CourseError, match=r"is gone\. What was graded is kept; .* to go on\.$"):
            grade_class(submitted, ZERO, course, tier=TIER, course_seed=3, scheduler=address, heard=heard)
    assert "Traceback" not in capfd.readouterr().err
    kept = len(done)
    assert 3 <= kept < len(serial)
    report = grade_class(submitted, ZERO, course, tier=TIER)
    assert (report.graded_now, report.kept) == (len(serial) - kept, kept)
    assert same(course, serial)


@pytest.mark.parametrize("number", [one.number for one in CHAPTERS])
def test_the_jail_finds_what_the_notebook_finds(number: str, tmp_path: Path) -> None:
    """Each exercise's result through the jail is the one that `course check` gives, claims and all."""
    this = chapter(number)
    solved = ROOT / "solutions" / this.slug / f"{this.slug}.ipynb"
    if not solved.is_file():
        pytest.skip(f"chapter {number} is not built")
    settings = Settings(number, 1, TIER)
    with Jail(TIER, modules=modules_of(number)) as jail:
        graded = grade_submission(jail, "anna", solved.read_bytes(), "", settings)
    code = read_notebook_code(solved)
    for exercise, result in zip(this.exercises, graded.results, strict=True):
        assert result.passed, result.text()
        assert result == check_in_notebook(code, exercise, graded.seeds[exercise.id])


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


def test_the_round_of_an_assignment_as_commands(submitted: Path, tmp_path: Path) -> None:
    course = str(tmp_path)
    run("release", "00", "--course", course)
    assert (tmp_path / "release" / ZERO.slug / f"{ZERO.slug}.ipynb").is_file()
    archive = shutil.make_archive(str(tmp_path / "download"), "zip", submitted)
    run("collect", archive, "--chapter", "00", "--course", course)
    said = run("grade", str(tmp_path / "submitted"), "--chapter", "00", "--course", course, "--require", TIER)
    assert "8 of 12" in said
    run("export", "--chapter", "00", "--course", course, "--format", "canvas")
    assert (tmp_path / "graded" / ZERO.slug / f"{ZERO.slug}-canvas.csv").read_text().count("\n") == 14
    assert "full" in run("doctor", "--grading", code=0 if TIER == "full" else 1)


def test_bad_input_is_a_sentence(tmp_path: Path) -> None:
    run("grade", str(tmp_path / "missing"), "--chapter", "00", "--course", str(tmp_path), code=2)
    run("grade", str(tmp_path), "--chapter", "77", "--course", str(tmp_path), code=2)
    run("export", "--chapter", "00", "--course", str(tmp_path), code=2)


def test_nbgrader_itself_gives_the_same_scores(
    submitted: Path, serial: dict[str, Graded], tmp_path: Path
) -> None:
    """Point by point the same for honest submissions, with nbgrader's own `autograde`."""
    folder = tmp_path / "solutions" / ZERO.slug
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "solutions" / ZERO.slug / f"{ZERO.slug}.ipynb", folder)
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    honest = ("learner00", "learner01")
    for student in honest:
        shutil.copytree(submitted / student, tmp_path / "submitted" / student)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in (["generate_assignment", "--create", "--force"], ["autograde", "--create"]):
        done = subprocess.run(
            ["nbgrader", *command, ZERO.slug],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    with Gradebook(tmp_path) as book:
        for student in honest:
            marks = book.marks_of(ZERO, student)
            assert marks.score == serial[student].points
            assert marks.by_exercise == {result.id: result.points for result in serial[student].results}


def test_grades_are_the_same_in_both_tables(submitted: Path, tmp_path: Path) -> None:
    report = grade_class(submitted, ZERO, tmp_path, tier=TIER, course_seed=3, workers=2)
    with Gradebook(tmp_path) as book:
        assert scores_in(report.grades) == {marks.student: marks.score for marks in book.marks(ZERO)}
