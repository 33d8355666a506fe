"""`course start`: a folder for somebody who has no checkout, and nothing of theirs is ever overwritten."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from coursekit import CHAPTERS
from coursekit.commands.cli import app
from coursekit.errors import CourseError
from coursekit.folders import course_folder
from coursekit.work import start
from coursekit.work.start import fill, jupyter_environment, open_jupyterlab

runner = CliRunner()


@pytest.fixture
def said():
    return []


def test_notebooks_and_the_images_that_they_show(tmp_path, said):
    folder = tmp_path / "new" / "course"
    first = fill(folder, said.append)
    assert first == folder / "chapters/00_start_here/00_start_here.ipynb"
    assert first.exists()
    assert {path.stem for path in folder.glob("chapters/*/*.ipynb")} == {chapter.slug for chapter in CHAPTERS}
    for notebook in folder.glob("chapters/*/*.ipynb"):
        text = notebook.read_text(encoding="utf-8")
        for image in (folder / "images").iterdir():
            assert image.stat().st_size > 0
        assert "../../images/" not in text or (folder / "images").is_dir()
    assert course_folder(first.parent) == folder.resolve()
    assert said == [f"{len(CHAPTERS)} notebooks are in {folder / 'chapters'}."]


def test_what_is_there_stays(tmp_path, said):
    mine = tmp_path / "chapters/00_start_here/00_start_here.ipynb"
    mine.parent.mkdir(parents=True)
    mine.write_text("my work", encoding="utf-8")
    fill(tmp_path, said.append)
    assert mine.read_text(encoding="utf-8") == "my work"
    assert "1 were there already" in said[1]
    said.clear()
    fill(tmp_path, said.append)
    assert said == []


def test_a_file_in_the_way(tmp_path, said):
    (tmp_path / "notes").write_text("", encoding="utf-8")
    with pytest.raises(CourseError, match="is a file"):
        fill(tmp_path / "notes", said.append)
    result = runner.invoke(app, ["start", str(tmp_path / "notes")])
    assert result.exit_code == 2


def test_without_jupyterlab_there_is_a_sentence(tmp_path, said, monkeypatch):
    first = fill(tmp_path, said.append)
    monkeypatch.setattr(start.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match="pip install jupyterlab"):
        open_jupyterlab(tmp_path, first)


def test_a_learners_jupyterlab_has_no_buttons_for_instructors():
    """What JupyterLab itself reads of its settings, as `course start` starts it."""
    code = (
        "from jupyterlab_server.config import get_page_config; from jupyter_core.paths import jupyter_path;"
        "print(*get_page_config(jupyter_path('labextensions'))['disabledExtensions'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=jupyter_environment(), capture_output=True, text=True
    )
    assert "@jupyter/nbgrader" in done.stdout.split(), done.stderr


def test_start_looks_at_the_machine(tmp_path):
    result = runner.invoke(app, ["start", str(tmp_path / "here"), "--no-open"])
    assert result.exit_code == 0, result.output
    assert "Everything is ready." in result.output
