"""`course check` on notebooks in the state in which people leave them: the right result on each."""

import json
import os
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch

from coursekit import catalogue, get_exercise
from coursekit.catalogue import UnknownExercise
from coursekit.errors import CourseError
from coursekit.work.check import check_notebook
from tests.field_notebooks.cases import CASES, chapter, notebook

# Loads what torch needs for it, which can take longer than the time limit in these tests.
torch.unravel_index(torch.tensor(1), (2, 2))


def saved(tmp_path, content):
    path = tmp_path / "notebook.ipynb"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.fixture
def impatient(monkeypatch):
    """A check that stops an endless loop after a second."""
    for number in ("0.1", "0.2", "0.3"):
        monkeypatch.setitem(vars(get_exercise(number)), "seconds", 1.0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_right_result(case, tmp_path, impatient, capfd):
    try:
        get_exercise(case.needs)
    except UnknownExercise:
        pytest.skip(f"the catalogue has no {case.needs} yet")
    for name, content in case.files.items():
        (tmp_path / name).write_text(content)
    path = saved(tmp_path, case.build())
    before = (os.getcwd(), list(sys.path), set(threading.enumerate()), sys.stdin)
    content = path.read_bytes()
    results = {result.id: result for result in check_notebook(path)}
    found = {number: result.status for number, result in results.items() if number in case.expected}
    assert found == case.expected, {number: result.message for number, result in results.items()}
    assert path.read_bytes() == content
    assert (os.getcwd(), list(sys.path), set(threading.enumerate()), sys.stdin) == before
    assert not {Path(name).stem for name in case.files} & set(sys.modules)
    assert capfd.readouterr() == ("", "")


def test_there_are_enough_of_them():
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


def test_nothing_is_said_on_stderr_about_a_notebook_without_ids(tmp_path, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_notebook(saved(tmp_path, {**notebook(chapter(), minor=4), "nbformat_minor": 5}))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b'{"worksheets": [{"cells": []}], "metadata": {}, "nbformat": 3, "nbformat_minor": 0}',
            "version 3 of the",
        ),
        (b'{"cells": [], "metadata": {}, "nbformat": 5, "nbformat_minor": 0}', "version 5 of the"),
        (b"", "not a readable notebook"),
        (b"\xff\xfe{\x00}\x00", "not a readable notebook"),
        (b'{"cells": [{"cell_type": "code", "source"', "not a readable notebook"),
        (b'<<<<<<< HEAD\n{"cells": []}\n=======\n', "not a readable notebook"),
        (b'{"cells": [3], "metadata": {}, "nbformat": 4}', "not a readable notebook"),
        (b'{"cells": [{"cell_type": "heading", "source": "x"}], "nbformat": 4}', "not a readable notebook"),
        (b'{"cells": [{"cell_type": "code", "source": 3}], "nbformat": 4}', "not a readable notebook"),
        (b"# %%\nprint('a script')\n", "not a readable notebook"),
        (b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "holds no exercise"),
    ],
)
def test_what_cannot_be_read_gets_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "notebook.ipynb"
    path.write_bytes(content)
    with pytest.raises(CourseError, match=sentence) as caught:
        check_notebook(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_starts_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "notebook.ipynb"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(notebook(chapter())).encode())
    assert [result.id for result in check_notebook(path)] == ["0.1", "0.2", "0.3"]


def message_of(tmp_path, name, number="0.1"):
    case = next(case for case in CASES if case.name == name)
    return next(r.message for r in check_notebook(saved(tmp_path, case.build())) if r.id == number)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cell_turned_into_markdown", "has become a Markdown cell"),
        ("exercise_cell_deleted", "`course reset 0.1` puts its cell back"),
        ("a_syntax_error_in_the_solution", "SyntaxError"),
        ("solution_uses_a_package_that_is_missing", "no_such_package_here"),
        ("name_error_in_the_solution", "weights"),
    ],
)
def test_the_message_says_what_to_do(tmp_path, name, sentence):
    assert sentence in message_of(tmp_path, name)


def test_chapter_notebooks_list_their_own_exercises_only(tmp_path):
    others = [c for c in catalogue.CHAPTERS if c.number != "00" and c.exercises]
    results = check_notebook(saved(tmp_path, notebook(chapter())))
    assert {result.id.partition(".")[0] for result in results} == {"0"}, others
