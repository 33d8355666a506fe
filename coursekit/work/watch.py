"""Notices that a notebook was saved: `course check --watch`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

PAUSE_SECONDS = 0.4

Stamp = tuple[int, int, int]


def saves(path: Path, pause: Callable[[], object] = lambda: time.sleep(PAUSE_SECONDS)) -> Iterator[Path]:
    """Yield a notebook each time it was saved, for ever; a single notebook at the beginning too.

    Editors write a file in several steps, or another one that they rename. So a change counts once the file has
    stayed the same for one pause.

    Args:
        path: a notebook, or a folder with notebooks.
        pause: called between two looks.
    """
    known = {} if path.is_file() else _stamps(path)
    seen = dict(known)
    if path.is_file():
        seen = _stamps(path)
    while True:
        now = _stamps(path)
        for notebook, stamp in now.items():
            if seen.get(notebook) == stamp != known.get(notebook):
                known[notebook] = stamp
                yield notebook
        seen = now
        pause()


def _stamps(path: Path) -> dict[Path, Stamp]:
    """Time, size and identity of each notebook. One that is just being replaced is missing for a moment."""
    notebooks = [path] if path.suffix == ".ipynb" else sorted(path.rglob("*.ipynb"))
    stamps = {}
    for notebook in notebooks:
        if ".ipynb_checkpoints" in notebook.parts:
            continue
        try:
            facts = notebook.stat()
        except OSError:
            continue
        stamps[notebook] = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
    return stamps
