"""`course update`: a newer text around the learner's work, and nothing of it ever lost."""

import contextlib
import hashlib
import json
import random
import shutil
import subprocess
import tarfile
import zipfile

import nbformat
import pytest
from typer.testing import CliRunner

from coursekit import get_exercise
from coursekit.commands.cli import app
from coursekit.errors import CourseError
from coursekit.notebooks.merge import merge, source_of
from coursekit.notebooks.reading import digest_of
from coursekit.work.backups import all_backups, content
from coursekit.work.check import check_notebook
from coursekit.work.update import update
from tests.faults import Stopped, in_another_process, interrupt, refuse, stopped_at

runner = CliRunner()
PATH = "chapters/00_start_here/00_start_here.ipynb"
STUBS = {
    "0.1": "def project_features(features, W):\n    '''Old words.'''\n    raise NotImplementedError('Exercise 0.1')",
    "0.2": "def reconstruct(acts, W_dec):\n    raise NotImplementedError('Exercise 0.2')",
    "0.3": "def decoder_as_matrix(W_dec, instance):\n    raise NotImplementedError('Exercise 0.3')",
}
NEW_STUBS = {
    "0.1": STUBS["0.1"].replace("Old words", "New words, better ones"),
    "0.2": STUBS["0.2"].replace("(acts, W_dec)", "(acts, W_dec, b_dec)"),
    "0.3": STUBS["0.3"],
}
SOLVED = {
    "0.1": "import torch\n\ndef project_features(features, W):\n    return torch.einsum('bif,ihf->bih', features, W)",
    "0.2": "def reconstruct(acts, W_dec):\n    return torch.einsum('bil,ilx->bix', acts, W_dec)",
    "0.3": "def decoder_as_matrix(W_dec, instance):\n    return W_dec[instance].T",
}


def shipped(kind, source, name=None, **more):
    name = (
        name
        or f"{'text' if kind == 'markdown' else 'code'}-{hashlib.sha256(source.encode()).hexdigest()[:10]}"
    )
    metadata = {"course": {"cell": name, "digest": digest_of(source)}, **more}
    cell = {"cell_type": kind, "id": name, "metadata": metadata, "source": source}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def own(source, kind="code", identity="x1"):
    cell = {"cell_type": kind, "id": identity, "metadata": {}, "source": source}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def exercise(number, stub, statement="Do it."):
    key = number.replace(".", "-")
    grade = {"nbgrader": {"grade_id": f"exercise_{number.replace('.', '_')}", "solution": True}}
    return [
        shipped("markdown", f"### Exercise {number}\n{statement}", f"statement-{key}"),
        shipped("code", stub, f"exercise-{key}", **grade),
        shipped("code", f'check("{number}")', f"check-{key}"),
        shipped("markdown", f"hint for {number}", f"hints-{key}"),
    ]


def release(stubs, words):
    cells = [
        shipped("markdown", "# Chapter 0"),
        shipped("code", "import torch"),
        shipped("markdown", f"Text: {words}"),
    ]
    for number, stub in stubs.items():
        cells += exercise(number, stub, statement=words)
        cells.append(shipped("code", f"plot({number})  # {words}" if number == "0.1" else f"plot({number})"))
    return {
        "cells": cells,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def old():
    return json.loads(json.dumps(release(STUBS, "first words")))


def new():
    return json.loads(json.dumps(release(NEW_STUBS, "second words")))


def cell(notebook, name):
    return next(c for c in notebook["cells"] if c.get("id") == name)


def sources(notebook):
    return [source_of(c) for c in notebook["cells"]]


def test_an_untouched_notebook_becomes_the_new_one():
    merged = merge(old(), new())
    assert merged.notebook == new()
    assert (merged.carried, merged.conflicts) == ([], [])


def test_solved_cells_are_carried_into_the_new_text():
    mine = old()
    for number in ("0.1", "0.3"):
        cell(mine, f"exercise-{number.replace('.', '-')}").update(
            source=SOLVED[number],
            execution_count=7,
            outputs=[{"output_type": "stream", "name": "stdout", "text": "hello"}],
        )
    merged = merge(mine, new())
    assert merged.carried == ["0.1", "0.3"]
    assert merged.conflicts == []
    wanted = new()
    for number in ("0.1", "0.3"):
        name = f"exercise-{number.replace('.', '-')}"
        got = cell(merged.notebook, name)
        assert (got["source"], got["execution_count"]) == (SOLVED[number], 7)
        assert got["metadata"] == cell(wanted, name)["metadata"]
        cell(wanted, name).update(source=got["source"], outputs=got["outputs"], execution_count=7)
    assert merged.notebook == wanted
    nbformat.validate(merged.notebook)


def test_a_changed_signature_leaves_both_and_says_where():
    mine = old()
    cell(mine, "exercise-0-2")["source"] = SOLVED["0.2"]
    merged = merge(mine, new())
    numbered = sources(merged.notebook)
    where = numbered.index(SOLVED["0.2"])
    assert numbered[where - 1] == NEW_STUBS["0.2"]
    assert "After an update" in numbered[where - 2]
    assert merged.conflicts == [
        f"exercise 0.2: its cell is different in the new release; yours is cell {where + 1}"
    ]
    # Exactly one of them keeps the name by which it is graded, and it is the learner's.
    graded = [
        c
        for c in merged.notebook["cells"]
        if c["metadata"].get("nbgrader", {}).get("grade_id") == "exercise_0_2"
    ]
    assert [c["source"] for c in graded] == [SOLVED["0.2"]]
    nbformat.validate(merged.notebook)


def test_a_signature_that_the_learner_extended_is_no_conflict():
    mine = old()
    source = SOLVED["0.3"].replace("instance)", "instance, transpose=True)")
    cell(mine, "exercise-0-3")["source"] = source
    merged = merge(mine, new())
    assert cell(merged.notebook, "exercise-0-3")["source"] == source
    assert merged.conflicts == []


def test_own_cells_stay_where_they_were():
    mine = old()
    position = [c["id"] for c in mine["cells"]].index("check-0-2")
    mine["cells"][position:position] = [own("helper = 1"), own("my notes", "markdown", "x2")]
    mine["cells"].insert(0, own("# before everything", identity="x3"))
    merged = merge(mine, new()).notebook
    numbered = sources(merged)
    assert numbered[0] == "# before everything"
    where = numbered.index("helper = 1")
    assert numbered[where - 1 : where + 3] == [NEW_STUBS["0.2"], "helper = 1", "my notes", 'check("0.2")']


def test_a_changed_text_is_kept_beside_the_new_one():
    mine = old()
    mine["cells"][2]["source"] += "\n\nMy remark."
    cell(mine, "statement-0-1")["source"] += "\n\nAnother remark."
    cell(mine, "hints-0-3")["source"] += " I did not need it."
    merged = merge(mine, new())
    numbered = sources(merged.notebook)
    for kept in ("Text: first words\n\nMy remark.", "### Exercise 0.1\nfirst words\n\nAnother remark."):
        assert kept in numbered
    assert "Text: second words" in numbered
    # The release did not change this one, so the learner's stands in its place.
    assert cell(merged.notebook, "hints-0-3")["source"] == "hint for 0.3 I did not need it."
    assert len(merged.conflicts) == 2
    for sentence in merged.conflicts:
        assert "remark" in numbered[int(sentence.split()[-1]) - 1]


def test_an_exercise_that_is_gone_is_kept():
    mine = old()
    mine["cells"] += exercise("0.9", "def gone():\n    return 1")
    cell(mine, "exercise-0-9")["source"] = "def gone():\n    return 'my work'"
    merged = merge(mine, new())
    assert "def gone():\n    return 'my work'" in sources(merged.notebook)
    assert len(merged.conflicts) == 1
    assert "hint for 0.9" not in sources(merged.notebook)


def test_copies_of_an_exercise():
    mine = old()
    where = [c["id"] for c in mine["cells"]].index("exercise-0-1")
    stub = mine["cells"][where]
    mine["cells"][where + 1 : where + 1] = [
        {**stub, "id": "c1", "source": "# first try"},
        {**stub, "id": "c2", "source": SOLVED["0.1"]},
        {**stub, "id": "c3"},
    ]
    numbered = sources(merge(mine, new()).notebook)
    assert numbered.index("# first try") < numbered.index(SOLVED["0.1"])
    assert NEW_STUBS["0.1"] not in numbered


def test_deleted_cells_come_back():
    mine = old()
    mine["cells"] = [c for c in mine["cells"] if not c["id"].endswith("-0-2")]
    cell(mine, "exercise-0-1")["source"] = SOLVED["0.1"]
    merged = merge(mine, new()).notebook
    assert cell(merged, "exercise-0-2")["source"] == NEW_STUBS["0.2"]


@pytest.mark.parametrize("keep_names", [True, False])
def test_ids_and_metadata_that_an_editor_dropped(keep_names):
    mine = old()
    cell(mine, "exercise-0-1")["source"] = SOLVED["0.1"]
    for c in mine["cells"]:
        c.pop("id")
        if not keep_names:
            c.pop("metadata")
    mine["nbformat_minor"] = 0
    merged = merge(mine, new())
    assert merged.carried == ["0.1"]
    assert cell(merged.notebook, "exercise-0-1")["source"] == SOLVED["0.1"]
    assert sources(merged.notebook).count(SOLVED["0.1"]) == 1
    assert NEW_STUBS["0.3"] in sources(merged.notebook)
    nbformat.validate(merged.notebook)


def disturbed(seed):
    """An old notebook after a learner's random edits, and all that the learner wrote."""
    rng = random.Random(seed)
    mine, written = old(), []
    for step in range(rng.randint(1, 12)):
        cells = mine["cells"]
        where, text = rng.randrange(len(cells)), f"written {seed} {step}"
        action = rng.choice(["edit", "solve", "add", "copy", "delete", "move", "markdown", "drop"])
        if action == "edit":
            cells[where]["source"] = text
        elif action == "solve":
            number = rng.choice(list(SOLVED))
            for c in cells:
                if c.get("id") == f"exercise-{number.replace('.', '-')}":
                    c["source"] = f"{SOLVED[number]}  # {text}"
        elif action == "add":
            cells.insert(where, own(text, rng.choice(["code", "markdown"]), f"y{step}"))
        elif action == "copy":
            cells.insert(
                rng.randrange(len(cells)), {**json.loads(json.dumps(cells[where])), "id": f"z{step}"}
            )
        elif action == "delete":
            del cells[where]
        elif action == "move":
            cells.insert(rng.randrange(len(cells)), cells.pop(where))
        elif action == "markdown":
            cells[where]["cell_type"] = "markdown"
            cells[where].pop("outputs", None)
            cells[where].pop("execution_count", None)
        elif action == "drop":
            cells[where]["metadata"] = {}
    shipped_before = set(sources(old()))
    written = {source for source in sources(mine) if source not in shipped_before}
    return mine, written


@pytest.mark.parametrize("seed", range(150))
def test_nothing_that_was_written_is_ever_left_out(seed):
    mine, written = disturbed(seed)
    before = json.dumps(mine)
    merged = merge(mine, new())
    assert json.dumps(mine) == before
    assert written <= set(sources(merged.notebook))
    names = [c["metadata"]["course"]["cell"] for c in merged.notebook["cells"] if "course" in c["metadata"]]
    assert names == [c["id"] for c in new()["cells"]]
    nbformat.validate(merged.notebook)
    # Once more with the same release: nothing changes, and nobody is told of a conflict again.
    again = merge(merged.notebook, new())
    assert again.notebook == merged.notebook
    assert again.conflicts == []


# The command


def lay_out(folder, notebook, version, code):
    for path, text in {
        PATH: json.dumps(notebook, indent=1, ensure_ascii=False) + "\n",
        "chapters/01_toy_model/01_toy_model.ipynb": json.dumps(notebook),
        "pyproject.toml": f'[project]\nname = "x"\nversion = "{version}"\n',
        "part_utils/code.py": code,
        "make.sh": "#!/bin/sh\n",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "make.sh").chmod(0o755)
    return folder


def solved_old():
    mine = old()
    cell(mine, "exercise-0-1")["source"] = SOLVED["0.1"]
    return mine


@pytest.fixture
def newer(tmp_path):
    folder = lay_out(tmp_path / "newer" / "course-2", new(), "0.2.0", "new = 2\n")
    (folder / "chapters/02_more").mkdir()
    (folder / "chapters/02_more/02_more.ipynb").write_text(json.dumps(new()))
    return folder


@pytest.fixture
def course(tmp_path, monkeypatch):
    folder = fresh(tmp_path)
    monkeypatch.chdir(folder)
    return folder


def fresh(tmp_path):
    folder = tmp_path / "course"
    shutil.rmtree(folder, ignore_errors=True)
    lay_out(folder, old(), "0.1.0", "old = 1\n")
    (folder / PATH).write_text(json.dumps(solved_old()))
    return folder


def read(folder, path=PATH):
    return json.loads((folder / path).read_text())


def check_updated(course, newer):
    assert read(course)["cells"] == merge(solved_old(), new()).notebook["cells"]
    for path in (
        "chapters/01_toy_model/01_toy_model.ipynb",
        "chapters/02_more/02_more.ipynb",
        "part_utils/code.py",
    ):
        assert (course / path).read_bytes() == (newer / path).read_bytes()


def test_from_a_folder(course, newer):
    (course / "my_notes.txt").write_text("mine")
    result = runner.invoke(app, ["update", str(newer)])
    assert result.exit_code == 0, result.output
    check_updated(course, newer)
    for part in (
        "From release 0.1.0 to 0.2.0",
        "your code of 0.1 is carried over",
        "replaced (you had not",
        "make course",
    ):
        assert part in result.stdout
    assert (course / "my_notes.txt").read_text() == "mine"
    [backup] = all_backups(course)
    assert json.loads(content(course, backup, PATH)) == solved_old()
    assert content(course, backup, "part_utils/code.py") == b"old = 1\n"
    assert "Nothing to do" in runner.invoke(app, ["update", str(newer)]).stdout
    assert len(all_backups(course)) == 1
    assert runner.invoke(app, ["restore", "last"]).exit_code == 0
    assert read(course) == solved_old()


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_from_an_archive(course, newer, tmp_path, kind):
    archive = shutil.make_archive(str(tmp_path / "release"), kind, newer.parent)
    assert runner.invoke(app, ["update", archive]).exit_code == 0
    check_updated(course, newer)
    assert (course / "make.sh").stat().st_mode & 0o100


def test_from_the_git_remote(course, newer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def git(folder, *arguments):
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
        done = subprocess.run(
            ["git", *who, "-C", folder, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout

    remote = lay_out(tmp_path / "remote", old(), "0.1.0", "old = 1\n")
    git(remote, "init", "-q")
    git(remote, "add", "-A")
    git(remote, "commit", "-qm", "one")
    shutil.rmtree(course)
    git(tmp_path, "clone", "-q", str(remote), str(course))
    (course / PATH).write_text(json.dumps(solved_old()))
    shutil.copytree(newer, remote, dirs_exist_ok=True)
    git(remote, "add", "-A")
    git(remote, "commit", "-qm", "two")
    conflicts = update(course, None, False, lambda _: None)
    assert conflicts == []
    check_updated(course, newer)
    assert git(course, "status", "--short").split() == ["M", PATH, "??", ".course/"]
    assert git(course, "log", "-1", "--format=%s").strip() == "two"


def test_dry_run_changes_nothing(course, newer):
    before = {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}
    result = runner.invoke(app, ["update", "--dry-run", str(newer)])
    assert "Without --dry-run, 3 notebooks and 2 other files are written." in result.stdout
    assert {path: path.read_bytes() for path in course.rglob("*") if path.is_file()} == before


def test_a_conflict_is_told_and_the_exit_code_is_1(course, newer):
    mine = solved_old()
    cell(mine, "exercise-0-2")["source"] = SOLVED["0.2"]
    (course / PATH).write_text(json.dumps(mine))
    result = runner.invoke(app, ["update", str(newer)])
    assert result.exit_code == 1
    assert f"{PATH}: exercise 0.2: its cell is different in the new release; yours is cell" in result.stderr
    statuses = {r.id: r.status for r in check_notebook(course / PATH)}
    assert statuses == {"0.1": "passed", "0.2": "passed", "0.3": "not_attempted"}


def test_a_damaged_notebook_is_kept_in_the_backup(course, newer):
    (course / PATH).write_text('{"cells": [')
    result = runner.invoke(app, ["update", str(newer)])
    assert result.exit_code == 1
    assert "the damaged file is in the backup" in result.stderr
    assert read(course) == new()
    assert content(course, all_backups(course)[0], PATH) == b'{"cells": ['


def test_a_renamed_chapter_takes_the_work_along(course, newer):
    (newer / "chapters/00_start_here").rename(newer / "chapters/00_welcome")
    assert runner.invoke(app, ["update", str(newer)]).exit_code == 0
    assert SOLVED["0.1"] in sources(read(course, "chapters/00_welcome/00_start_here.ipynb"))
    assert read(course) == solved_old()


def test_beside_notebooks_alone_only_notebooks_are_updated(course, newer):
    (course / "pyproject.toml").unlink()
    assert runner.invoke(app, ["update", str(newer)]).exit_code == 0
    assert (course / "part_utils/code.py").read_text() == "old = 1\n"
    assert not (course / "pyproject.toml").exists()


def test_an_exercise_that_the_release_has_renamed_does_not_stay_a_second_time(course, newer):
    old, new = (f"coursekit/exercises/chapter_00/e01_{name}.py" for name in ("before", "after"))
    for folder, path in ((course, old), (newer, new)):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(f"# {path}")
    (course / "part_utils" / "mine.py").write_text("# the learner's own")
    dry = runner.invoke(app, ["update", "--dry-run", str(newer)])
    assert (course / old).exists()
    result = runner.invoke(app, ["update", str(newer)])
    assert result.exit_code == 0, result.output
    for output in (dry.stdout, result.stdout):
        assert f"kept in the backup: {old}." in output
    assert [path.name for path in (course / "coursekit").rglob("*.py")] == ["e01_after.py"]
    assert (course / "part_utils" / "mine.py").exists()
    assert content(course, all_backups(course)[-1], old) == f"# {old}".encode()
    assert "Nothing to do" in runner.invoke(app, ["update", str(newer)]).stdout
    assert runner.invoke(app, ["restore", "last"]).exit_code == 0
    assert (course / old).read_text() == f"# {old}"


def test_bad_releases_get_one_sentence(course, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 broken")
    for source, sentence in {
        str(tmp_path / "nowhere"): "Give the folder, .zip or .tar.gz",
        str(tmp_path / "empty"): "holds no chapters/",
        str(tmp_path / "broken.zip"): "cannot be unpacked",
        str(course): "is the course folder itself",
    }.items():
        result = runner.invoke(app, ["update", source])
        assert result.exit_code == 2
        assert sentence in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
    assert "no git checkout" in runner.invoke(app, ["update"]).stderr
    monkeypatch.chdir(tmp_path)
    assert "There is no course here" in runner.invoke(app, ["update"]).stderr


def test_an_archive_cannot_write_outside(course, tmp_path):
    (tmp_path / "x.txt").write_text("evil")
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "x.txt", "../../outside.txt")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../../outside.txt", "evil")
    for name in ("evil.tar.gz", "evil.zip"):
        assert runner.invoke(app, ["update", str(tmp_path / name)]).exit_code == 2
    assert not list(tmp_path.rglob("outside.txt"))


def check_that_nothing_is_lost(course, newer):
    """Every notebook is whole, old or new, and what was replaced is in a backup."""
    for path in (PATH, "chapters/01_toy_model/01_toy_model.ipynb"):
        now = read(course, path)
        before = solved_old() if path == PATH else old()
        after = merge(solved_old(), new()).notebook if path == PATH else new()
        assert now["cells"] in (before["cells"], after["cells"])
        if now["cells"] != before["cells"]:
            assert json.loads(content(course, all_backups(course)[0], path)) == before


@pytest.mark.parametrize("stop", [refuse, interrupt])
def test_stopped_at_any_write(course, newer, tmp_path, stop):
    with stopped_at(0, refuse) as count:
        update(course, str(newer), False, lambda _: None)
    assert count[0] > 40
    for number in range(1, count[0] + 1, 1 if stop is refuse else 3):
        fresh(tmp_path)
        with contextlib.suppress(Stopped, CourseError, KeyboardInterrupt), stopped_at(number, stop):
            update(course, str(newer), False, lambda _: None)
        check_that_nothing_is_lost(course, newer)
        if number % 8 == 0:
            update(course, str(newer), False, lambda _: None)
            check_updated(course, newer)


def test_killed_at_any_write(course, newer, tmp_path):
    number = 1
    while in_another_process(lambda: update(course, str(newer), False, lambda _: None), number):
        check_that_nothing_is_lost(course, newer)
        if number % 8 == 0:
            update(course, str(newer), False, lambda _: None)
            check_updated(course, newer)
        fresh(tmp_path)
        number += 1
    assert number > 40


def test_the_real_chapter_survives_an_update_to_itself(tmp_path):
    from coursekit.folders import learner_path

    shipped_notebook = json.loads(learner_path(get_exercise("0.1").chapter).read_text())
    mine = json.loads(json.dumps(shipped_notebook))
    next(c for c in mine["cells"] if c["id"] == "exercise-0-1")["source"] = SOLVED["0.1"]
    merged = merge(mine, shipped_notebook)
    assert merged.notebook == mine
    assert merged.conflicts == []
