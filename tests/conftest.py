"""Options for the tests, known whichever folder of tests pytest is started on."""

import os
from pathlib import Path

import pytest
import torch

from part_utils.course.errors import CourseError
from part_utils.course.notebooks import NotebookCode, read_notebook_code

# What the tests solve is nobody's progress.
os.environ["COURSE_PROGRESS"] = "off"

NOTEBOOK = pytest.StashKey[NotebookCode | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--notebook",
        metavar="PATH",
        help="check the exercises of this notebook in tests/exercises, instead of the reference implementations",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the notebook, so that a wrong path is one sentence and not a failing test."""
    path = config.getoption("notebook")
    config.stash[NOTEBOOK] = None
    if path is not None:
        try:
            # Relative to where pytest was started, which need not be the repository.
            config.stash[NOTEBOOK] = read_notebook_code(
                config.invocation_params.dir / Path(path).expanduser()
            )
        except CourseError as error:
            raise pytest.UsageError(str(error)) from None


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """The tensors here are small, and several threads only get into each other's way."""
    torch.set_num_threads(1)
