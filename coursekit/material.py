"""Where the chapters are: their text, the learners' notebooks and the pictures these show.

In a checkout that is the repository itself. An installed package carries a copy (made by setup.py when it is built).
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_IN_PACKAGE = _PACKAGE / "material"


def material() -> Path:
    """Return the folder that holds `chapters/`, `images/` and the texts in `solutions/`."""
    return _IN_PACKAGE if _IN_PACKAGE.is_dir() else _PACKAGE.parent


def is_installed() -> bool:
    """Tell whether this is an installed package with material of its own, and not a checkout."""
    return _IN_PACKAGE.is_dir()


def learner_notebook(slug: str) -> Path:
    """Return a chapter's notebook as it is handed out."""
    return material() / "chapters" / slug / f"{slug}.ipynb"


def chapter_text(slug: str) -> Path:
    """Return a chapter's text, in MyST Markdown."""
    return material() / "solutions" / slug / f"{slug}.md"
