"""Where things are: the checkout's own files, a learner's copy of the course, and a user's data."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from coursekit.catalogue import CHAPTERS, Chapter

ROOT = Path(__file__).resolve().parents[1]
"""The checkout that this code stands in. Where the course is installed without one, a folder without chapters."""


def source_path(chapter: Chapter, root: Path | None = None) -> Path:
    """Return the text of a chapter, from which its notebooks are made."""
    return (root or ROOT) / "solutions" / chapter.slug / f"{chapter.slug}.md"


def solved_path(chapter: Chapter, root: Path | None = None) -> Path:
    """Return the solved notebook."""
    return source_path(chapter, root).with_suffix(".ipynb")


def learner_path(chapter: Chapter, root: Path | None = None) -> Path:
    """Return the learner's notebook."""
    return (root or ROOT) / "chapters" / chapter.slug / f"{chapter.slug}.ipynb"


def repository() -> str:
    """Return the address of the repository, from the one place where it stands."""
    # Nothing that a notebook needs does.
    import tomllib

    facts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return facts["project"]["urls"]["Repository"]


def course_folder(start: Path | None = None) -> Path | None:
    """Find the course's folder: the nearest with chapters in it, from `start` (by default the current one) upward."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "chapters").is_dir() and (
            (folder / ".course").is_dir() or any((folder / "chapters" / c.slug).is_dir() for c in CHAPTERS)
        ):
            return folder
    return None


def data_folder() -> Path:
    """Find where programs keep a user's data on this system."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
