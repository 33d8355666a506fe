"""What all commands of `course` share."""

import codecs
import contextlib
import functools
import io
import sys
import unicodedata
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

from coursekit.catalogue import UnknownExercise
from coursekit.errors import CourseError

console = Console()
complaints = Console(stderr=True)

# For a console or a pipe that has no such character, as on Windows.
_INSTEAD = {
    "✓": "+", "✗": "x", "○": "o", "●": "*", "…": "...", "·": "-", "→": "->", "←": "<-", "−": "-", "–": "-", "—": "-",
    "×": "x", "≥": ">=", "≤": "<=", "≈": "~", "“": '"', "”": '"', "‘": "'", "’": "'", "•": "*", "█": "#", "░": ".",
}  # fmt: skip


def show_everywhere() -> None:
    """Let nothing that is printed fail because the console or the pipe cannot show a character."""
    codecs.register_error("course.instead", _instead)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors="course.instead")


def _instead(error: UnicodeError) -> tuple[str, int]:
    """Another character for one that the encoding does not have: ours, or the letter without its accent."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = ""
    for character in error.object[error.start : error.end]:
        plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
        shown += _INSTEAD.get(character) or plain or ("-" if 0x2500 <= ord(character) < 0x2580 else "?")
    return shown, error.end


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        # A name that is too long for the file system is too long for a sentence, too.
        name = str(error.filename or "")
        return f"{name[:200]}{'…' * (len(name) > 200)}: {error.strerror}." if name else f"{error.strerror}."
    return str(error)


def sentences_for(*errors: type[Exception]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a command answer these errors with their sentence and exit code 2, not with a traceback.

    So are errors of the file system: a missing file, a folder where a file should be, a full disk.
    """

    answered: tuple[type[Exception], ...] = (*errors, OSError)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                return command(*args, **kwargs)
            except answered as error:
                complaints.print(escape(_sentence(error)), style="red", highlight=False, soft_wrap=True)
                raise typer.Exit(2) from None

        return wrapped

    return decorate


sentences_for_errors = sentences_for(CourseError, UnknownExercise)
