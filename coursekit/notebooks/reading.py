"""Reading a notebook's file, forgiving about what editors leave out or add, and being where its kernel would be."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat

from coursekit.errors import CourseError


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Return a notebook in format 4. Raises CourseError if it is not there, not JSON or not a notebook.

    Forgiving about everything that editors leave out or add: ids, metadata, outputs, unknown keys.
    """
    if not path.exists():
        raise CourseError(f"There is no notebook {path}. Give the path of an .ipynb file.")
    if path.is_dir():
        raise CourseError(f"{path} is a folder. Give the path of an .ipynb file in it.")
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
        if content.get("nbformat") != 4:
            raise CourseError(
                f"{path} is in version {content.get('nbformat')} of the notebook format; expected version 4. Open it "
                "in Jupyter and save it again."
            )
        cells = [_tidy_cell(cell) for cell in content["cells"]]
        metadata = content.get("metadata")
        return nbformat.from_dict(
            {
                **content,
                "cells": cells,
                "metadata": metadata if isinstance(metadata, dict) else {},
                "nbformat_minor": content.get("nbformat_minor", 0),
            }
        )
    except (OSError, UnicodeError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CourseError(
            f"{path} is not a readable notebook ({reason[:120]}). Restore it from a backup or open it in Jupyter and "
            "save it again."
        ) from None


def joined(source: Any) -> str:
    """Return a cell's source, which a file holds as one string or as a list of lines."""
    text = source if isinstance(source, str) else "".join(source)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def digest_of(source: str) -> str:
    """Name a cell's text in short. Line ends and empty lines at its end, which editors change, do not count."""
    return hashlib.sha256(joined(source).rstrip().encode()).hexdigest()[:16]


@contextlib.contextmanager
def beside(path: Path) -> Iterator[None]:
    """Be where a notebook's kernel would be, in its folder, whose modules it can import; nothing is asked or shown."""
    folder = path.resolve().parent
    before, modules = list(sys.path), set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
            _no_input(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.path[:] = before
        for name in set(sys.modules) - modules:
            file = getattr(sys.modules[name], "__file__", None)
            # A learner's helper module is read anew each time: it may have been edited.
            if file and Path(file).resolve().parent == folder:
                del sys.modules[name]


@contextlib.contextmanager
def _no_input() -> Iterator[None]:
    previous, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = previous


def _tidy_cell(cell: dict[str, Any]) -> dict[str, Any]:
    kind = cell["cell_type"]
    if kind not in ("code", "markdown", "raw"):
        raise ValueError(f"a cell of the type {kind!r}")
    metadata = cell.get("metadata")
    tidy = {
        **cell,
        "source": joined(cell.get("source", "")),
        "metadata": metadata if isinstance(metadata, dict) else {},
    }
    if kind == "code":
        outputs = cell.get("outputs")
        tidy |= {
            "outputs": outputs if isinstance(outputs, list) else [],
            "execution_count": cell.get("execution_count"),
        }
    return tidy
