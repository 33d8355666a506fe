"""The command line: exit codes, sentences for bad input, machine-readable output."""

import json

import nbformat
import pytest
from typer.testing import CliRunner

from coursekit import CHAPTERS, chapter
from coursekit.commands.cli import app
from coursekit.folders import ROOT, learner_path, solved_path

runner = CliRunner()


def test_solved_notebook_passes_and_says_so_in_json():
    path = solved_path(chapter("00"))
    result = runner.invoke(app, ["check", str(path), "--json"])
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["notebook"] == str(path)
    assert [row["id"] for row in report["exercises"]] == ["0.1", "0.2", "0.3"]
    for row in report["exercises"]:
        assert set(row) == {"id", "name", "status", "points", "max_points", "message"}
        assert row["status"] == "passed"
        assert row["points"] == row["max_points"] > 0


@pytest.mark.parametrize("item", CHAPTERS, ids=lambda item: item.number)
def test_untouched_notebook_has_attempted_nothing(item):
    result = runner.invoke(app, ["check", str(learner_path(item)), "--json"])
    assert result.exit_code == 1
    rows = json.loads(result.stdout)["exercises"]
    assert [row["id"] for row in rows] == [exercise.id for exercise in item.exercises]
    assert {row["status"] for row in rows} == {"not_attempted"}
    assert {row["points"] for row in rows} == {0}


def test_the_table_shows_each_exercise():
    result = runner.invoke(app, ["check", str(learner_path(chapter("00")))])
    assert "not attempted" in result.stdout
    assert "0 of 3 exercises solved, 0 of 3 points." in result.stdout


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "There is no notebook"),
        ("", "not a readable notebook"),
        ("{broken", "not a readable notebook"),
        ("[1, 2]", "not a readable notebook"),
        ('{"cells": 3, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "not a readable notebook"),
        (nbformat.writes(nbformat.v4.new_notebook()), "holds no exercise"),
    ],
)
def test_bad_notebooks_get_one_sentence_and_exit_code_2(tmp_path, content, sentence):
    path = tmp_path / "notebook.ipynb"
    if content is not None:
        path.write_text(content)
    result = runner.invoke(app, ["check", str(path)])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_folder_is_not_a_notebook():
    result = runner.invoke(app, ["check", str(ROOT)])
    assert result.exit_code == 2
    assert "is a folder" in result.stderr


def test_unknown_chapter_is_one_sentence():
    result = runner.invoke(app, ["build", "--check", "77"])
    assert result.exit_code == 2
    assert "There is no chapter '77'" in result.stderr


def test_doctor_finds_this_machine_ready():
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 0, result.stdout
    assert "Everything is ready." in result.stdout


def test_doctor_says_what_to_do(monkeypatch):
    from coursekit.work import doctor

    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 1))
    monkeypatch.setitem(doctor.MODULES, "no_such_module", "no-such-package")
    result = runner.invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "Install Python 3.11 or newer" in result.stdout
    assert "pip install --force-reinstall no-such-package" in result.stdout
