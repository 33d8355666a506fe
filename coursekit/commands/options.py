"""Values of options that are refused at once, in one sentence, and not after minutes of work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from coursekit.commands.output import complaints
from coursekit.errors import CourseError

LARGEST_SEED = 2**32 - 1  # numpy takes no larger one
DEVICES = ("cpu", "cuda", "mps", "xpu")


def _refusing(check: Callable[[Any], None]) -> Callable[[Any], Any]:
    """Make a callback of a check: what it refuses ends the command with its sentence and exit code 2."""

    def callback(value: Any) -> Any:
        try:
            if value is not None:
                check(value)
        except CourseError as error:
            complaints.print(escape(str(error)), style="red", highlight=False, soft_wrap=True)
            raise typer.Exit(2) from None
        return value

    return callback


def _check_device(name: str) -> None:
    if name == "cpu":
        return
    import torch

    try:
        known = torch.device(name).type in DEVICES
    except RuntimeError:
        known = False
    if not known:
        raise CourseError(f"There is no device {name!r}: choose cpu, cuda or mps.")
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError):
        # Which of them it is differs between versions of torch and how it was built.
        raise CourseError(f"Torch finds no device {name} on this machine: choose cpu.") from None


def _check_output(path: Path) -> None:
    try:
        if path.is_dir():
            raise CourseError(f"{path} is a folder. Name a file in it.")
        above = next(folder for folder in path.absolute().parents if folder.exists())
    except OSError as error:
        raise CourseError(
            f"{str(path)[:80]} cannot be written ({error.strerror}). Name another file."
        ) from None
    if not above.is_dir():
        raise CourseError(f"{path} cannot be written, since {above} is not a folder. Name another file.")
    if not os.access(path if path.exists() else above, os.W_OK):
        raise CourseError(f"{path} cannot be written (permission denied). Name another file.")


def _check_positive(value: float) -> None:
    if not 0 < value < float("inf"):
        raise CourseError(f"{value} is not a number above 0. Give one, such as 0.001.")


device_here = _refusing(_check_device)
"""Callback of an option that names a torch device: it must be one that this machine has."""
file_to_write = _refusing(_check_output)
"""Callback of an option that names a file to write: not a folder, and in a place that can be written."""
positive = _refusing(_check_positive)
"""Callback of an option that is a finite number above 0."""
