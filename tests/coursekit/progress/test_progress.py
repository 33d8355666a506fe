"""Progress: what is remembered, that two kernels do not lose each other's news, and that nothing depends on it."""

import json
import multiprocessing
import os
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import pytest
from typer.testing import CliRunner

from coursekit import CHAPTERS, all_exercises, chapter, chapter_card, check, get_exercise
from coursekit.checking.results import CheckResult
from coursekit.commands.cli import app
from coursekit.notebooks.stubs import stub_cells
from coursekit.progress import store as progress
from coursekit.progress.store import forget, load_progress, next_exercise, progress_of, record

runner = CliRunner()


def result(number, status="passed"):
    exercise = get_exercise(number)
    points = exercise.points if status == "passed" else 0
    return CheckResult(number, exercise.name, exercise.title, status, points, exercise.points, "")


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course folder, with the current folder where a notebook's kernel would have it."""
    monkeypatch.delenv("COURSE_PROGRESS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    folder = tmp_path / "course"
    (folder / "chapters" / "00_start_here").mkdir(parents=True)
    monkeypatch.chdir(folder / "chapters" / "00_start_here")
    return folder


def test_is_kept_in_the_course_folder(course):
    record([result("0.1"), result("0.2", "failed"), result("0.3", "not_attempted")])
    entries = json.loads((course / ".course" / "progress.json").read_text())["exercises"]
    assert set(entries) == {"0.1", "0.2"}
    assert "solved" in entries["0.1"]
    assert "solved" not in entries["0.2"]
    assert load_progress() == load_progress(course) == entries
    of = progress_of(chapter("00"), entries)
    assert (of.solved, of.points, of.max_points, of.next.id) == ({"0.1"}, 1, 3, "0.2")


def test_solved_stays_solved_until_it_is_forgotten(course):
    record([result("0.1")])
    first = load_progress()["0.1"]["solved"]
    record([result("0.1", "failed")])
    record([result("0.1", "not_attempted")])
    assert load_progress()["0.1"]["solved"] == first
    assert load_progress()["0.1"]["status"] == "failed"
    forget("0.1")
    assert load_progress() == {}


def test_next_is_what_follows_the_last_success(course):
    assert next_exercise({}).id == "0.1"
    record([result("0.2")])
    assert next_exercise(load_progress()).id == "0.3"
    record([result("0.3")])
    assert next_exercise(load_progress()).id == "0.1"
    record([result(e.id) for e in all_exercises()])
    assert next_exercise(load_progress()) is None


def _record_many(numbers):
    for _ in range(5):
        for number in numbers:
            record([result(number)])


def test_two_kernels_at_once_lose_nothing(course):
    context = multiprocessing.get_context("fork")
    numbers = [e.id for e in all_exercises()]
    workers = [context.Process(target=_record_many, args=(numbers[start::3],)) for start in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {key for key, entry in load_progress().items() if entry["solved"]} == set(numbers)


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "null", '{"exercises": 3}', '{"exercises": {"0.1": []}}', "\x00\xff"]
)
def test_a_damaged_file_counts_as_empty(course, damage):
    path = course / ".course" / "progress.json"
    path.parent.mkdir()
    path.write_text(damage)
    assert load_progress() == {}
    assert repr(chapter_card("00")).startswith("0 of 3")
    record([result("0.2")])
    assert set(load_progress()) == {"0.2"}


def test_deleting_it_loses_only_the_display(course):
    record([result("0.1")])
    (course / ".course" / "progress.json").unlink()
    assert repr(chapter_card("00")).startswith("0 of 3")


def refuse(*_, **__):
    raise OSError(30, "Read-only file system")


def test_falls_back_to_the_users_folder(course, tmp_path, monkeypatch):
    from part_utils import files

    write = files.write_atomically
    monkeypatch.setattr(
        files,
        "write_atomically",
        lambda path, data: refuse() if course in path.parents else write(path, data),
    )
    record([result("0.1")])
    assert len(list((tmp_path / "home" / "superposition-course").glob("progress-*.json"))) == 1
    assert "solved" in load_progress()["0.1"]


def test_outside_a_course_it_is_kept_in_the_users_folder(course, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record([result("0.1")])
    assert len(list((tmp_path / "home" / "superposition-course").glob("progress-*.json"))) == 1


def another_course(folder):
    (folder / "chapters" / "00_start_here").mkdir(parents=True)
    return folder


def test_a_copy_knows_nothing_of_another(course, tmp_path):
    record([result("0.1")])
    other = another_course(tmp_path / "another")
    assert load_progress(other) == {}
    record([result("0.2")], other)
    forget("0.1", other)
    assert set(load_progress()) == {"0.1"}
    assert set(load_progress(other)) == {"0.2"}


def test_copies_that_cannot_be_written_know_nothing_of_each_other(course, tmp_path, monkeypatch):
    from part_utils import files

    write = files.write_atomically
    read_only = [course, another_course(tmp_path / "another")]
    monkeypatch.setattr(
        files,
        "write_atomically",
        lambda path, data: refuse() if path.parent.parent in read_only else write(path, data),
    )
    for number, folder in zip(("0.1", "0.2"), read_only, strict=True):
        record([result(number)], folder)
    assert [set(load_progress(folder)) for folder in read_only] == [{"0.1"}, {"0.2"}]
    assert load_progress(another_course(tmp_path / "third")) == {}


def test_a_folder_made_anew_under_the_same_name_starts_from_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_PROGRESS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    place = tmp_path / "notebooks"
    place.mkdir()
    record([result("0.1")], place)
    place.rename(tmp_path / "old")
    place.mkdir()
    assert load_progress(place) == {}


def test_what_an_earlier_version_kept_for_all_copies_together_is_left_alone(course, tmp_path):
    """Nothing in that file says to which copy it belongs."""
    old = tmp_path / "home" / "superposition-course" / "progress.json"
    old.parent.mkdir(parents=True)
    old.write_text(json.dumps({"exercises": {"0.1": {"status": "passed", "when": "2026", "solved": "2026"}}}))
    before = old.read_bytes()
    assert load_progress() == {}
    forget("0.1")
    assert old.read_bytes() == before


@pytest.fixture
def shell(monkeypatch):
    """As in a notebook."""
    import IPython

    shell = SimpleNamespace(user_ns={"project_features": get_exercise("0.1").load_reference()})
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)


def test_a_check_in_a_notebook_is_remembered(course, shell, capfd):
    assert check("0.1").passed
    assert "solved" in load_progress()["0.1"]
    check("0.2", lambda acts, W_dec: acts)
    assert "0.2" not in load_progress()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("variable", ["COURSE_STATIC", "NBGRADER_EXECUTION"])
def test_builds_and_grading_leave_no_trace(course, shell, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    assert check("0.1").passed
    assert load_progress() == {}


def test_solved_notebooks_leave_no_trace(course, shell, monkeypatch):
    (course / "solutions" / "00_start_here").mkdir(parents=True)
    monkeypatch.chdir(course / "solutions" / "00_start_here")
    assert check("0.1").passed
    assert load_progress() == {}


@pytest.mark.parametrize("failing", ["progress_files", "_read", "data_folder", "record", "is_learners"])
def test_a_check_does_not_fail_because_of_progress(course, shell, monkeypatch, capfd, failing):
    monkeypatch.setattr(progress, failing, refuse)
    assert check("0.1").passed
    assert capfd.readouterr() == ("", "")


def test_a_check_does_not_fail_on_a_read_only_disk(course, shell, monkeypatch, capfd):
    with monkeypatch.context() as disk:
        for name in ("open", "mkdir", "replace"):
            disk.setattr(os, name, refuse)
        outcome = check("0.1")
    assert outcome.passed
    assert capfd.readouterr() == ("", "")


def test_a_check_waits_only_a_moment_for_a_lock(course, shell, tmp_path, monkeypatch):
    from filelock import FileLock

    monkeypatch.setattr(progress, "LOCK_SECONDS", 0.05)
    (course / ".course").mkdir()
    with FileLock(course / ".course" / "progress.lock"):
        assert check("0.1").passed
    assert len(list((tmp_path / "home" / "superposition-course").glob("progress-*.json"))) == 1


def test_the_card(course):
    record([result("0.1"), result("0.2", "failed")])
    card = chapter_card("00")
    text = card._repr_mimebundle_()["text/plain"]
    assert text.splitlines()[0] == "1 of 3 exercises solved, 1 of 3 points"
    assert text.splitlines()[1].startswith("Next: 0.2 · Reconstruct from a decoder (about 5 minutes)")
    assert text.splitlines()[2] == "✓ 0.1 ○ 0.2 ○ 0.3"
    assert card.html().count("✓") == 1
    record([result("0.2"), result("0.3")])
    assert "Everything in this chapter is solved." in chapter_card("00").html()


def test_the_static_card_is_the_same_for_everybody(course, monkeypatch):
    monkeypatch.setenv("COURSE_STATIC", "1")
    before = chapter_card("00").html()
    record([result("0.1")])
    assert chapter_card("00").html() == before
    assert "3 exercises, 3 points" in before


def test_course_progress(course):
    record([result("0.1")])
    shown = runner.invoke(app, ["progress"])
    assert shown.exit_code == 0
    assert "1/3" in shown.stdout
    assert "Next: 0.2" in shown.stdout
    report = json.loads(runner.invoke(app, ["progress", "--json"]).stdout)
    assert report["next"] == "0.2"
    assert report["chapters"][0] == {
        "chapter": "00",
        "solved": ["0.1"],
        "exercises": 3,
        "points": 1,
        "max_points": 3,
    }
    assert len(report["chapters"]) == len(CHAPTERS)


def test_course_check_updates_it(course):
    cells = [cell for number in ("0.1", "0.2") for cell in stub_cells(get_exercise(number))]
    cells[1]["source"] = (
        "import torch\n\ndef project_features(x, W):\n    return torch.einsum('bif,ihf->bih', x, W)"
    )
    path = course / "chapters" / "00_start_here" / "00_start_here.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.from_dict(cell) for cell in cells]), path)
    runner.invoke(app, ["check", str(path)])
    assert set(load_progress()) == {"0.1"}
    elsewhere = course / "copy.ipynb"
    elsewhere.write_bytes(path.read_bytes())
    forget("0.1")
    runner.invoke(app, ["check", str(elsewhere)])
    assert load_progress() == {}


def test_importing_the_course_writes_nothing(tmp_path):
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", "import coursekit"], check=True, env=environment, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
