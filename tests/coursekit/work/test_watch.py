"""`course check --watch`: a notebook is checked again once it was saved, and only then."""

import contextlib
import json
import os

from typer.testing import CliRunner

from coursekit import get_exercise
from coursekit.commands.cli import app
from coursekit.notebooks.stubs import stub_cells
from coursekit.work import watch

runner = CliRunner()
ONE = "import torch\n\ndef project_features(x, W):\n    return torch.einsum('bif,ihf->bih', x, W)"


def save(path, source=None, size=0):
    cells = json.loads(json.dumps(stub_cells(get_exercise("0.1"))))
    if source is not None:
        cells[1]["source"] = source
    cells[0]["source"] += " " * size
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5}))


def happenings(monkeypatch, *events):
    """Let one thing happen at each pause; the last one is Ctrl-C."""
    rest = iter(events)

    def pause(*_):
        for event in rest:
            return event()
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", pause)


def nothing():
    """A pause in which nobody saves."""


def collected(path):
    found = []
    with contextlib.suppress(KeyboardInterrupt):
        for saved in watch.saves(path):
            found.append(saved.name)
    return found


def test_a_notebook_is_yielded_at_the_beginning_and_after_each_save(tmp_path, monkeypatch):
    path = tmp_path / "a.ipynb"
    save(path)
    happenings(
        monkeypatch,
        nothing,
        lambda: save(path, "x = 1"),
        nothing,
        nothing,
        lambda: save(path, "x = 23"),
        nothing,
    )
    assert collected(path) == ["a.ipynb"] * 3


def test_a_save_in_several_steps_counts_once(tmp_path, monkeypatch):
    path = tmp_path / "a.ipynb"
    save(path)
    steps = [lambda size=size: save(path, "x = 1", size) for size in range(4)]
    happenings(monkeypatch, *steps, nothing, nothing)
    assert collected(path) == ["a.ipynb"] * 2


def test_a_notebook_that_is_replaced_or_gone_for_a_moment(tmp_path, monkeypatch):
    path, other = tmp_path / "a.ipynb", tmp_path / "b.tmp"
    save(path)
    save(other)
    happenings(monkeypatch, path.unlink, nothing, lambda: os.replace(other, path), nothing)
    assert collected(path) == ["a.ipynb"] * 2


def test_a_folder_waits_for_the_first_save(tmp_path, monkeypatch):
    (tmp_path / "x" / ".ipynb_checkpoints").mkdir(parents=True)
    first, second, hidden = (tmp_path / "x" / n for n in ("a.ipynb", "b.ipynb", ".ipynb_checkpoints/a.ipynb"))
    for path in (first, hidden):
        save(path)
    happenings(
        monkeypatch,
        nothing,
        lambda: save(hidden, "y"),
        lambda: save(second),
        nothing,
        lambda: save(first, "z"),
        nothing,
    )
    assert collected(tmp_path) == ["b.ipynb", "a.ipynb"]


def test_on_the_command_line(tmp_path, monkeypatch):
    path = tmp_path / "a.ipynb"
    save(path)
    happenings(monkeypatch, lambda: save(path, ONE), nothing, lambda: path.write_text("{"), nothing)
    result = runner.invoke(app, ["check", "--watch", str(path)])
    assert result.exit_code == 0
    assert result.stdout.index("not attempted") < result.stdout.index("✓ passed")
    assert "not a readable notebook" in result.stdout
    assert result.stdout.rstrip().endswith("Stopped watching.")


def test_ctrl_c_in_the_middle_of_a_check_ends_cleanly(tmp_path, monkeypatch):
    from coursekit.work import check

    path = tmp_path / "a.ipynb"
    save(path)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "check_in_notebook", interrupted)
    result = runner.invoke(app, ["check", "--watch", str(path)])
    assert result.exit_code == 0
    assert "Stopped watching." in result.stdout


def test_what_is_not_there_gets_one_sentence(tmp_path):
    result = runner.invoke(app, ["check", "--watch", str(tmp_path / "nowhere")])
    assert result.exit_code == 2
    assert "Give a notebook or a folder with notebooks." in result.stderr
