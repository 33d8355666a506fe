"""Whatever is typed: each option and argument of each command is given junk, and the answer is a sentence.

The commands and their parameters are found by walking through the app. What takes long begins by reading weights, by
starting another program, by asking the network, or is stopped after a moment: then the input was accepted.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import safetensors
import safetensors.torch
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coursekit import folders, get_exercise
from coursekit.commands.cli import app
from coursekit.notebooks.stubs import stub_cells

NOTEBOOK = "chapters/00_start_here/00_start_here.ipynb"
FILES = {
    "strange": b"\x00\xff\xfe\x80 strange",
    "strange.ipynb": b'{"cells": 3, "nbformat": 4}',
    "strange.zip": b"PK\x03\x04 no zip",
    "list.json": b"[1, 2]",
}
JUNK = (
    *("", " ", ".", "..", "no/such/file", "chapters", "strange/inside", NOTEBOOK, *FILES),
    *("-1", "0", "00", "0.1", "3", "99999999999999999999", "1e400", "nan", "-inf", "44:40", "0:0:0", "7,,7"),
    *(
        "cuda",
        "cuda:99",
        "meta",
        "tcp://",
        "last",
        "\U0001f4a5 ü",
        "[red]x[/] [/]",
        "%s {0}",
        "--help",
        "x" * 300,
    ),
)
# No slashes: what is drawn names nothing outside the folder of the test.
DRAWN = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    st.lists(st.sampled_from([*JUNK, ":", ","]), max_size=3)
    .map("".join)
    .filter(lambda text: ".." not in text),
).filter(lambda text: not text.startswith("/"))
COURSE = typer.main.get_command(app)


class Began(BaseException):
    """The command accepted its input, and its work began."""


def begin(*_: Any, **__: Any) -> None:
    raise Began


def commands(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command under this one."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*names, name))
    if not hasattr(command, "commands"):
        yield names, command


PARAMETERS = [
    pytest.param(names, command, parameter, id=f"{' '.join(names)} {parameter.name}")
    for names, command in commands(COURSE)
    for parameter in command.params
]


@pytest.fixture(scope="module")
def doors() -> Iterator[None]:
    """What takes long only says that it was begun."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (safetensors, "safe_open"),
            (safetensors.torch, "load_file"),
            (subprocess.Popen, "__init__"),
            (socket.socket, "connect"),
        ):
            patch.setattr(owner, name, begin)
        before = signal.signal(signal.SIGALRM, begin)
        yield
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, doors: None) -> Path:
    """A small course to be in, with a home of its own."""
    home, course = tmp_path / "home", tmp_path / "above" / "course"
    (course / NOTEBOOK).parent.mkdir(parents=True)
    home.mkdir()
    for variable in ("HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "HF_HOME"):
        monkeypatch.setenv(variable, str(home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(folders, "ROOT", tmp_path / "no checkout")
    monkeypatch.chdir(course)
    cells = [nbformat.from_dict(cell) for cell in stub_cells(get_exercise("0.1"))]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), course / NOTEBOOK)
    for name, content in FILES.items():
        (course / name).write_bytes(content)
    return course


def answer(names: tuple[str, ...], command: Any, parameter: Any, junk: str, chapter: str) -> None:
    """Call a command with junk for one parameter and something sensible for the others that it needs."""
    options, arguments = [], []
    for other in command.params:
        if other.param_type_name == "option":
            if other is parameter:
                options.append(f"{other.opts[0]}={junk}")
            elif other.required:
                options.append(f"{other.opts[0]}={chapter}")
        elif other is parameter:
            arguments.append(junk)
        elif other.required:
            # Typer kept the type in another place before it was a program of its own.
            kind = getattr(other, "type_descriptor", None) or other.type
            arguments.append(NOTEBOOK if "path" in repr(kind).lower() else chapter)
    line = [*names, *options, *(["--", *arguments] if arguments else [])]
    printed = io.StringIO()
    signal.setitimer(signal.ITIMER_REAL, 3)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            COURSE.main(line, prog_name="course")
    except Began:
        return
    except SystemExit as end:
        code = end.code
    except Exception as error:
        raise AssertionError(f"course {line} ends with a traceback") from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert code in (0, 1, 2), line
    assert "Traceback" not in printed.getvalue(), line
    assert code == 0 or printed.getvalue().strip(), f"{line} says nothing"


@pytest.mark.parametrize(("names", "command", "parameter"), PARAMETERS)
def test_known_junk(folder, names, command, parameter):
    for junk, chapter in zip(JUNK, itertools.cycle(["00", "0.1"])):
        answer(names, command, parameter, junk, chapter)


@pytest.mark.parametrize(("names", "command", "parameter"), PARAMETERS)
def test_drawn_junk(folder, names, command, parameter):
    @settings(
        derandomize=True,
        max_examples=8,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(junk=DRAWN, chapter=st.sampled_from(["00", "0.1"]))
    def draw(junk: str, chapter: str) -> None:
        answer(names, command, parameter, junk, chapter)

    draw()
