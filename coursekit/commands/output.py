"""What all commands of `course` share."""

import functools
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

complaints = Console(stderr=True)


def sentences_for(*errors: type[Exception]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a command answer these errors with their sentence and exit code 2, not with a traceback."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                return command(*args, **kwargs)
            except errors as error:
                complaints.print(escape(str(error)), style="red", highlight=False, soft_wrap=True)
                raise typer.Exit(2) from None

        return wrapped

    return decorate
