"""A stored working copy of an earlier release is carried over with everything that was solved and written."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from coursekit.folders import ROOT
from coursekit.notebooks.merge import is_changed, source_of
from coursekit.notebooks.names import cell_name
from coursekit.progress.store import load_progress
from coursekit.work.backups import all_backups, content
from coursekit.work.check import check_notebook
from coursekit.work.update import update
from tests.releases.make_working_copy import CHAPTERS, SOLVED, STORED, WRONG

NOTEBOOKS = [f"chapters/{slug}/{slug}.ipynb" for slug in CHAPTERS]
OLD_IMPORT = re.compile(r"from part_utils\.(exercises|course)\b")


def cells_of(folder, notebook):
    return json.loads((folder / notebook).read_text(encoding="utf-8"))["cells"]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """What of this release an update brings, without the large data."""
    folder = tmp_path_factory.mktemp("release")
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    leave_out = shutil.ignore_patterns("data", "__pycache__", "*.pyc")
    for name in ("chapters", "coursekit", "part_utils"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave_out)
    return folder


@pytest.fixture(scope="module")
def updated(tmp_path_factory, release):
    """The copy as it was, the copy after an update, and the conflicts that were told."""
    folder = tmp_path_factory.mktemp("copies")
    for name in ("before", "after"):
        with tarfile.open(STORED) as archive:
            archive.extractall(folder / name, filter="data")
    conflicts = update(folder / "after", str(release), False, lambda _: None)
    return folder / "before", folder / "after", conflicts


# Exercises that ask for something else than they did in the stored release.
REPLACED = ("1.10",)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_what_was_solved_passes_and_what_was_not_does_not(updated, notebook):
    for result in check_notebook(updated[1] / notebook):
        if result.id in REPLACED:
            assert not result.passed
            continue
        wanted = "passed" if result.id in SOLVED else "failed" if result.id in WRONG else "not_attempted"
        assert (result.id, result.status) == (result.id, wanted), result.message


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_nothing_that_was_written_is_left_out(updated, notebook):
    before, after = cells_of(updated[0], notebook), cells_of(updated[1], notebook)
    wanted = [source_of(cell) for cell in before if not cell_name(cell) or is_changed(cell)]
    got = [source_of(cell) for cell in after]
    assert len(wanted) >= 5
    assert [source for source in wanted if source not in got] == []
    # The learner's own cells come below the cell that they stood under.
    own = [cell["id"] for cell in before if not cell_name(cell)]
    assert [cell["id"] for cell in after if cell["id"] in own] == own


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_the_text_is_the_new_one_and_imports_from_where_check_is_now(updated, release, notebook):
    after = cells_of(updated[1], notebook)
    sources = [source_of(cell) for cell in after]
    edited = {cell_name(cell) for cell in cells_of(updated[0], notebook) if is_changed(cell)}
    shipped = [source_of(c) for c in cells_of(release, notebook) if cell_name(c) not in edited]
    assert [source for source in shipped if source not in sources] == []
    # The old import stands where the learner has edited its cell, and nowhere else.
    old = [cell for cell in after if OLD_IMPORT.search(source_of(cell))]
    assert all(source_of(cell).endswith("\nimport math") for cell in old)
    assert sum("from coursekit import" in source for source in sources) >= 2


def test_conflicts_are_the_cells_that_both_have_changed(updated):
    assert sum(sentence.startswith(f"{NOTEBOOKS[1]}: a cell of code") for sentence in updated[2]) == 1
    others = [sentence for sentence in updated[2] if "a cell of code" not in sentence]
    # The statement that the learner has written a note into conflicts as soon as a release words it anew.
    # So does the answer to an exercise that is another one now: it is kept, below the new one.
    expected = (f"{NOTEBOOKS[0]}: the statement of 0.2", *(f"{NOTEBOOKS[1]}: exercise {i}" for i in REPLACED))
    assert all(sentence.startswith(expected) for sentence in others)


def test_progress_notes_and_a_backup_of_everything_replaced(updated, monkeypatch):
    monkeypatch.delenv("COURSE_PROGRESS", raising=False)
    before, after, _ = updated
    entries = load_progress(after)
    assert {key for key, entry in entries.items() if entry.get("solved")} == set(SOLVED)
    assert (after / "my_notes.txt").read_bytes() == (before / "my_notes.txt").read_bytes()
    [backup] = all_backups(after)
    for path in (*NOTEBOOKS, "part_utils/exercises/__init__.py", "pyproject.toml"):
        assert content(after, backup, path) == (before / path).read_bytes()


def test_a_second_update_has_nothing_to_do(updated, release):
    said = []
    assert update(updated[1], str(release), False, said.append) == []
    assert said == ["Nothing to do: the course is up to date."]


@pytest.mark.parametrize(
    "program",
    [
        "from part_utils.exercises import check, chapter_card; print(chapter_card('00'))",
        "from part_utils.course.cli import app; app(['progress'])",
    ],
    ids=["import", "command"],
)
def test_an_environment_of_that_release_still_finds_its_way(tmp_path, program):
    """It knows where `part_utils` is, and nothing of `coursekit`."""
    (tmp_path / "part_utils").symlink_to(ROOT / "part_utils")
    forget = "import sys; sys.meta_path = [f for f in sys.meta_path if '__editable__' not in repr(f)]; "
    done = subprocess.run(
        [sys.executable, "-c", f"{forget}sys.path.insert(0, {str(tmp_path)!r}); {program}"],
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, "COURSE_PROGRESS": "off"},
        cwd=Path(tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "exercises solved" in done.stdout or "0/3" in done.stdout
