"""`course reset` and `course restore`: the stub comes back, and no code is ever lost, whatever stops them."""

import contextlib
import json

import pytest
from typer.testing import CliRunner

from coursekit import get_exercise
from coursekit.commands.cli import app
from coursekit.errors import CourseError
from coursekit.notebooks.stubs import stub_cells, stub_source
from coursekit.work import reset as reset_module
from coursekit.work.backups import all_backups, content, folder_of
from coursekit.work.check import check_notebook
from coursekit.work.reset import reset, restore
from tests.faults import Stopped, in_another_process, interrupt, refuse, stopped_at

runner = CliRunner()
ONE = (
    "# my attempt\nimport torch\n\ndef project_features(x, W):\n    return torch.einsum('bif,ihf->bih', x, W)"
)
PATH = "chapters/00_start_here/00_start_here.ipynb"


def notebook(one=ONE):
    cells = [cell for number in ("0.1", "0.2", "0.3") for cell in stub_cells(get_exercise(number))]
    cells = json.loads(json.dumps(cells))
    cells[1] |= {"source": one, "outputs": [{"output_type": "stream", "name": "stdout", "text": "x"}]}
    cells[1]["execution_count"] = 3
    return {"cells": cells, "metadata": {"mine": {"ä": 1}}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def course(tmp_path, monkeypatch):
    path = tmp_path / PATH
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(notebook(), indent=1, ensure_ascii=False) + "\n")
    monkeypatch.chdir(path.parent)
    return tmp_path


def source(course, name="exercise-0-1"):
    cells = json.loads((course / PATH).read_text())["cells"]
    return next(cell["source"] for cell in cells if cell.get("id") == name)


def statuses(course):
    return [result.status for result in check_notebook(course / PATH)]


def test_puts_the_stub_back_and_changes_nothing_else(course):
    before = notebook()
    said = reset(get_exercise("0.1"))
    assert source(course) == stub_source(get_exercise("0.1"))
    assert statuses(course) == ["not_attempted"] * 3
    after = json.loads((course / PATH).read_text())
    before["cells"][1] |= {"source": source(course), "outputs": [], "execution_count": None}
    assert after == before
    [backup] = all_backups(course)
    assert backup.name in said
    assert backup.code == (ONE,)
    assert json.loads(content(course, backup, PATH)) == notebook()


def test_restore_brings_the_code_back_and_keeps_what_is_there(course):
    reset(get_exercise("0.1"))
    raw = json.loads((course / PATH).read_text())
    raw["cells"][1]["source"] = "# second attempt"
    raw["cells"][5]["source"] = "# work on another exercise"
    (course / PATH).write_text(json.dumps(raw))
    restore("last")
    assert source(course) == ONE
    assert source(course, "exercise-0-2") == "# work on another exercise"
    assert statuses(course)[0] == "passed"
    restore("last")
    assert source(course) == "# second attempt"


def test_an_untouched_cell_is_left_alone(course):
    before = (course / PATH).read_bytes()
    assert "as it was shipped" in reset(get_exercise("0.2"))
    assert (course / PATH).read_bytes() == before
    assert all_backups(course) == []


def edited(course, change):
    raw = notebook()
    raw["cells"] = change(raw["cells"])
    (course / PATH).write_text(json.dumps(raw))


def test_a_deleted_cell_comes_back_above_its_check(course):
    edited(course, lambda cells: [cell for cell in cells if cell["id"] != "exercise-0-2"])
    reset(get_exercise("0.2"))
    names = [cell["id"] for cell in json.loads((course / PATH).read_text())["cells"]]
    assert names.index("exercise-0-2") == names.index("check-0-2") - 1


def test_a_markdown_cell_becomes_code_again(course):
    def change(cells):
        return [{**cell, "cell_type": "markdown"} if cell["id"] == "exercise-0-1" else cell for cell in cells]

    edited(course, change)
    reset(get_exercise("0.1"))
    assert statuses(course) == ["not_attempted"] * 3


def test_copies_are_reset_too_and_other_cells_are_named(course):
    other = {
        "cell_type": "code",
        "metadata": {},
        "id": "mine",
        "outputs": [],
        "execution_count": None,
        "source": ONE,
    }
    edited(course, lambda cells: [*cells, {**cells[1], "id": "copy"}, other])
    said = reset(get_exercise("0.1"))
    assert "defined in cell 14 of the notebook too" in said
    assert source(course, "copy") == stub_source(get_exercise("0.1"))
    assert source(course, "mine") == ONE


def test_a_notebook_without_metadata(course):
    path = course / "plain.ipynb"
    cells = [
        {"cell_type": "code", "source": ["import torch\n", "x = 1"]},
        {"cell_type": "code", "source": [ONE]},
    ]
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 2}))
    reset(get_exercise("0.1"), path)
    raw = json.loads(path.read_text())
    assert raw["nbformat_minor"] == 2
    assert "".join(raw["cells"][1]["source"]) == stub_source(get_exercise("0.1"))
    reset(get_exercise("0.3"), path)
    assert "id" not in json.loads(path.read_text())["cells"][2]


def test_progress_forgets_the_exercise(course, monkeypatch):
    from coursekit.progress.store import load_progress

    monkeypatch.delenv("COURSE_PROGRESS")
    monkeypatch.setenv("XDG_DATA_HOME", str(course / "home"))
    runner.invoke(app, ["check", str(course / PATH)])
    assert "solved" in load_progress()["0.1"]
    reset(get_exercise("0.1"))
    assert "0.1" not in load_progress()


def check_that_nothing_is_lost(course):
    """The notebook is whole, and the learner's code stands in it or in a backup that is whole."""
    raw = json.loads((course / PATH).read_text())
    assert raw in (notebook(), expected_after_reset())
    if raw != notebook():
        [backup] = all_backups(course)
        assert backup.code == (ONE,)
        assert json.loads(content(course, backup, PATH)) == notebook()
    leftovers = {entry.name for entry in (course / PATH).parent.iterdir()} - {"00_start_here.ipynb"}
    assert all(name.startswith(".") for name in leftovers)


def expected_after_reset():
    raw = notebook()
    raw["cells"][1] |= {"source": stub_source(get_exercise("0.1")), "outputs": [], "execution_count": None}
    return raw


def writes_of(action):
    with stopped_at(0, refuse) as count:
        action()
    return count[0]


@pytest.mark.parametrize("stop", [refuse, interrupt])
def test_stopped_at_any_write(course, stop):
    total = writes_of(lambda: reset(get_exercise("0.1")))
    assert total >= 12
    for number in range(1, total + 1, 1 if stop is refuse else 3):
        fresh(course)
        with contextlib.suppress(Stopped, CourseError, KeyboardInterrupt), stopped_at(number, stop):
            reset(get_exercise("0.1"))
        check_that_nothing_is_lost(course)
        if number % 4 == 0:
            reset(get_exercise("0.1"))
            assert source(course) == stub_source(get_exercise("0.1"))
            restore(all_backups(course)[0].name)
            assert source(course) == ONE


def fresh(course):
    import shutil

    shutil.rmtree(folder_of(course), ignore_errors=True)
    (course / PATH).write_text(json.dumps(notebook()))


def test_killed_at_any_write(course):
    number = 1
    while True:
        fresh(course)
        killed = in_another_process(lambda: reset(get_exercise("0.1")), number)
        check_that_nothing_is_lost(course)
        if not killed:
            break
        number += 1
    assert number >= 12


def test_without_room_for_a_backup_nothing_is_changed(course, monkeypatch):
    monkeypatch.setattr(reset_module.backups.tempfile, "mkdtemp", lambda **_: refuse())
    with pytest.raises(CourseError, match="so nothing was changed"):
        reset(get_exercise("0.1"))
    assert source(course) == ONE


def test_from_the_command_line(course):
    assert "There are no backups" in runner.invoke(app, ["restore"]).stdout
    assert runner.invoke(app, ["reset", "0.1"]).exit_code == 0
    listed = runner.invoke(app, ["restore"]).stdout
    assert "before `course reset`" in listed
    assert "exercise 0.1 in chapters/00_start_here/00_start_here.ipynb" in listed
    assert runner.invoke(app, ["restore", "last"]).exit_code == 0
    assert source(course) == ONE


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["reset", "7.77"], "There is no exercise '7.77'"),
        (["reset", "1.1"], "Give the notebook with --notebook PATH"),
        (["reset", "0.1", "--notebook", "nowhere.ipynb"], "There is no notebook nowhere.ipynb"),
        (["restore", "2020"], "There are no backups"),
    ],
)
def test_bad_input_gets_one_sentence(course, arguments, sentence):
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_unknown_backup_gets_one_sentence(course):
    reset(get_exercise("0.1"))
    result = runner.invoke(app, ["restore", "1999"])
    assert result.exit_code == 2
    assert "No backup begins with '1999'" in result.stderr
