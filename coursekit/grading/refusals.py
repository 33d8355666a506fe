"""What nbgrader gets in a class's folder in place of an exporter, where its command would do harm.

nbgrader makes the exporter before it touches a file, and so nothing is lost when that refuses.
"""

from __future__ import annotations

from typing import Any

from nbconvert.exporters import NotebookExporter
from nbgrader.converters.base import NbGraderException

MESSAGE = (
    "nbgrader's autograde would run learners' code in your own account, where they can decide their points. "
    "Nothing was changed. Grade with: course grade submitted --chapter NUMBER"
)


class NoUnjailedGrading(NotebookExporter):
    """Refuses `nbgrader autograde`, and formgrader's button for it. Raises NbGraderException."""

    def __init__(self, parent: Any = None, **_: Any) -> None:
        # Formgrader shows the exception, and the command line what was logged before it.
        if parent is not None:
            parent.log.error(MESSAGE)
        raise NbGraderException(MESSAGE)
