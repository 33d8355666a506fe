"""`course lint`: each kind of problem is found, and a sound chapter has none."""

import dataclasses
import json
import re
import shutil

import pytest
from typer.testing import CliRunner

from coursekit import CHAPTERS, chapter, get_exercise
from coursekit.authoring import lint as lint_module
from coursekit.authoring.lint import (
    catalogue_problems,
    exercise_problems,
    link_problems,
    lint,
    prose_problems,
)
from coursekit.commands.cli import app
from coursekit.folders import ROOT
from coursekit.prose import parse, prose_in

runner = CliRunner()
CHAPTER = chapter("00")
LEARNER, SOLVED = (f"{folder}/00_start_here/00_start_here.ipynb" for folder in ("chapters", "solutions"))
TEXT = "solutions/00_start_here/00_start_here.md"


@pytest.fixture
def root(tmp_path):
    """A checkout with chapter 0 alone, whose links to other chapters and to images hold."""
    for path in (LEARNER, SOLVED, TEXT):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    for folder in ("chapters", "solutions"):
        for other in CHAPTERS[1:]:
            (tmp_path / folder / other.slug).mkdir()
            (tmp_path / folder / other.slug / f"{other.slug}.ipynb").write_text(
                json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
            )
    shutil.copytree(ROOT / "images", tmp_path / "images")
    return tmp_path


def change(root, path, how):
    notebook = json.loads((root / path).read_text())
    how({cell["id"]: cell for cell in notebook["cells"]}, notebook)
    (root / path).write_text(json.dumps(notebook))


def problems(root, run=False):
    return list(lint(root, [CHAPTER], run))


def test_a_sound_chapter_has_no_problems(root):
    assert problems(root, run=True) == []


def test_the_catalogue_has_no_problems():
    assert list(catalogue_problems(CHAPTERS)) == []


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"check": None}, "it has no check"),
        ({"points": 0}, "it has no points"),
        ({"minutes": 0}, "it has no minutes"),
        ({"difficulty": 6}, "its difficulty is 6; expected 1 to 5"),
        ({"reference": "tensors.nothing_there"}, "it has no reference"),
        ({"reference": "no_module.f"}, "it has no reference"),
        ({"reference": "toy_model.ToyModel.no_method"}, "it has no reference"),
    ],
)
def test_what_an_exercise_lacks(facts, sentence):
    broken = dataclasses.replace(get_exercise("0.1"), **facts)
    [problem] = exercise_problems(broken)
    assert problem.startswith(sentence)


@pytest.mark.parametrize(
    ("directive", "sentence"),
    [
        ("0.1 A title\nDo it.\n\nHint: one", "exercise 0.1: it has 1 hints; at least 2 are needed"),
        ("0.1 A title\nDo it.\n\nHint: one\n\nHint: one", "exercise 0.1: a hint stands twice"),
        ("0.1\nDo it.\n\nHint: one\n\nHint: two", "exercise 0.1: it has no title"),
        ("0.1 A title\n\nHint: one\n\nHint: two", "exercise 0.1: it has no statement"),
        (
            "0.9 A title\nDo it.\n\nHint: one\n\nHint: two",
            "exercise 0.9: it has words in the chapter's text, but no",
        ),
        ("", "exercise 0.1: its words are missing; write {exercise} 0.1 in the text"),
        (
            "0.1 A title\nDo it.\n\nHint: one\n\nHint: two\n\n```python\nx = 1",
            "exercise 0.1: a fence is open at the end of its statement or of a hint",
        ),
    ],
)
def test_what_the_words_of_an_exercise_lack(directive, sentence):
    words = dict(prose_in(ROOT / TEXT))
    if directive:
        words |= parse(f"```{{exercise}} {directive}\n```\n")
    else:
        del words["0.1"]
    [problem] = prose_problems(CHAPTER, words)
    assert problem.startswith(sentence)


def test_words_that_stand_twice_are_refused():
    with pytest.raises(ValueError, match=r"two exercises 0\.1"):
        parse("```{exercise} 0.1 A\nb\n```\n\n```{exercise} 0.1 A\nb\n```\n")


def test_words_are_looked_for_in_the_text_of_this_checkout(root):
    text = (root / TEXT).read_text()
    (root / TEXT).write_text(text.replace("Hint:", "A hint:"))
    assert sum("it has 0 hints" in problem for problem in problems(root)) == len(CHAPTER.exercises)
    (root / TEXT).write_text(text + "\n:::{exercise} 0.1 Once more\nDo it.\n:::\n")
    assert f"{TEXT}: The text has two exercises 0.1." in problems(root)
    (root / TEXT).write_text(re.sub(r"^([`:]+)(?={exercise} 0\.1)", r"\1\1", text, flags=re.MULTILINE))
    assert any(problem.startswith("exercise 0.1: its words are missing") for problem in problems(root))


def test_words_are_read_as_they_stand():
    [(exercise_id, prose)] = parse(
        "````{exercise} 2.3 The *title*\n$\\mathrm{ReLU}$\n\n```python\nx = 1\n```\n\nHint: one\nand more\n\n"
        "Hint: `two`\n````\n"
    ).items()
    assert (exercise_id, prose.title, prose.hints) == ("2.3", "The *title*", ("one\nand more", "`two`"))
    assert prose.statement == "$\\mathrm{ReLU}$\n\n```python\nx = 1\n```"


def test_between_colons_a_block_of_code_needs_nothing():
    body = "Write\n\n```python\nx = 1\n```\n\nHint: one\n\nHint:\n```python\ny\n```\n"
    prose = parse(f"Before.\n\n:::{{exercise}} 2.3 Title\n{body}:::\n\nAfter.")["2.3"]
    assert prose.statement == "Write\n\n```python\nx = 1\n```"
    assert prose.hints == ("one", "```python\ny\n```")


def test_two_exercises_of_one_id(monkeypatch):
    twice = dataclasses.replace(get_exercise("0.2"), id="0.1")
    monkeypatch.setattr(type(CHAPTER), "exercises", property(lambda _: (get_exercise("0.1"), twice)))
    assert list(catalogue_problems([CHAPTER])) == ["exercise 0.1: there are two of this id"]


def test_an_output_in_the_learners_notebook(root):
    change(root, LEARNER, lambda cells, _: cells["exercise-0-1"].update(execution_count=1))
    [problem] = problems(root)
    assert problem.startswith(f"{LEARNER}: cell ")
    assert problem.endswith("has an output")


def test_a_solved_notebook_whose_saved_check_failed(root):
    def fail(cells, notebook):
        (output,) = cells["check-0-2"]["outputs"]
        output["data"]["text/plain"] = ["0.0"]
        cells["check-0-3"]["outputs"] = []

    change(root, SOLVED, fail)
    assert problems(root) == [
        f"{SOLVED}: the saved output of check {number} is not full marks; build it again"
        for number in ("0.2", "0.3")
    ]


def test_an_untouched_exercise_that_passes(root):
    solution = json.loads((root / SOLVED).read_text())
    source = next(cell["source"] for cell in solution["cells"] if cell["id"] == "exercise-0-2")
    change(root, LEARNER, lambda cells, _: cells["exercise-0-2"].update(source=source))
    assert problems(root, run=True) == [f"{LEARNER}: the untouched exercise 0.2 is passed"]


def test_a_solution_that_fails(root):
    source = "def reconstruct(acts, W_dec):\n    return acts"
    change(root, SOLVED, lambda cells, _: cells["exercise-0-2"].update(source=source))
    [problem] = problems(root, run=True)
    assert problem.startswith(f"{SOLVED}: the solved exercise 0.2 is failed")


def test_exercises_missing_from_the_text_and_the_notebooks(root):
    text = (root / TEXT).read_text()
    (root / TEXT).write_text(text.replace("{exercise} 0.2", "{exercise} 0.9"))

    def without(cells, notebook):
        notebook["cells"] = [cell for cell in notebook["cells"] if not cell["id"].endswith("-0-3")]

    change(root, LEARNER, without)
    found = problems(root)
    assert f"{TEXT}: exercise 0.2 is missing" in found
    assert f"{TEXT}: exercise 0.9 is not in the catalogue of this chapter" in found
    assert f"{LEARNER}: exercise 0.3 is missing" in found
    assert f"{LEARNER}, check cells: exercise 0.3 is missing" in found


def test_an_exercise_that_the_catalogue_does_not_have(root, monkeypatch):
    known = tuple(e for e in CHAPTER.exercises if e.id != "0.3")
    monkeypatch.setattr(type(CHAPTER), "exercises", property(lambda self: known if self is CHAPTER else ()))
    found = problems(root)
    assert f"{LEARNER}: exercise 0.3 is not in the catalogue of this chapter" in found
    assert any("checks 0.3, which is no exercise of this chapter" in problem for problem in found)


def test_other_points_than_in_the_catalogue(root):
    change(root, SOLVED, lambda cells, _: cells["check-0-1"]["metadata"]["nbgrader"].update(points=7))
    [problem] = problems(root)
    assert "gives 7 points; the catalogue 1" in problem


def test_a_chapter_that_is_missing_or_unknown(root):
    (root / LEARNER).unlink()
    (root / "chapters" / "99_odd").mkdir()
    shutil.copy(ROOT / LEARNER, root / "chapters" / "99_odd" / "99_odd.ipynb")
    found = problems(root)
    assert any(problem.startswith("There is no notebook") for problem in found)
    assert "chapters/99_odd/99_odd.ipynb: the catalogue has no such chapter" in found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](other.md)", ""),
        ("[a](other.md#a-heading-here)", ""),
        ("[a](other.md#A-Heading,-here!)", ""),
        ("[a](#here)\n\n## Here", ""),
        ('<a id="spot"></a>[a](#spot)', ""),
        ("![a](picture%20one.png)", ""),
        ('[![badge](https://example.org/x.svg)](https://example.org/a "title")', ""),
        ("`[a](nowhere.md)` and\n```\n[a](nowhere.md)\n```", ""),
        ("$f[i](x)$ and [a](mailto:a@example.org)", ""),
        ("[a](nowhere.md)", "the link nowhere.md leads to a file that does not exist"),
        ("![a](nowhere.png)", "the link nowhere.png leads to a file that does not exist"),
        ('<img src="nowhere.png" alt="x">', "the link nowhere.png leads to a file that does not exist"),
        ("[a]: nowhere.md", "the link nowhere.md leads to a file that does not exist"),
        ("[a](other.md#no-such)", "the link other.md#no-such leads to a heading that does not exist"),
        ("[a](https://)", "the link https:// has no host"),
        ("[a](https://localhost:8888/x)", "the link https://localhost:8888/x has no host"),
        ("[a](/home/me/x.md)", "the link /home/me/x.md is an absolute path"),
        ("[a](file:///x)", "the link file:///x begins with file:, which no browser follows"),
        ("[![a](nowhere.svg)](other.md)", "the link nowhere.svg leads to a file that does not exist"),
        ("![a](attachment:x.png)", "the link attachment:x.png is no attachment of the notebook"),
    ],
)
def test_links(tmp_path, text, problem):
    (tmp_path / "other.md").write_text("# Other\n\n## A heading, here!\n")
    (tmp_path / "picture one.png").write_bytes(b"")
    (tmp_path / "page.md").write_text(text)
    found = list(link_problems(tmp_path / "page.md", tmp_path))
    assert found == ([f"page.md: {problem}"] if problem else [])
    cell = {"cell_type": "markdown", "source": text, "metadata": {}}
    (tmp_path / "page.ipynb").write_text(json.dumps({"cells": [cell], "nbformat": 4}))
    found = list(link_problems(tmp_path / "page.ipynb", tmp_path))
    assert found == ([f"page.ipynb: {problem}"] if problem else [])


def test_an_attachment(tmp_path):
    cell = {"cell_type": "markdown", "source": "![a](attachment:x.png)", "attachments": {"x.png": {}}}
    (tmp_path / "page.ipynb").write_text(json.dumps({"cells": [cell], "nbformat": 4}))
    assert list(link_problems(tmp_path / "page.ipynb", tmp_path)) == []


def test_on_the_command_line(monkeypatch):
    monkeypatch.setattr(lint_module, "lint", lambda *_: iter(["a: [b] is wrong"]))
    result = runner.invoke(app, ["lint"])
    assert result.exit_code == 1
    assert result.stderr == "a: [b] is wrong\n"
    monkeypatch.setattr(lint_module, "lint", lambda *_: iter([]))
    result = runner.invoke(app, ["lint", "00"])
    assert (result.exit_code, result.stdout) == (0, "1 chapters: nothing to complain about.\n")
