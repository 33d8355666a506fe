"""The option `--notebook`, known whether or not tests/exercises is named on the command line."""

from pathlib import Path

import pytest

from coursekit.errors import CourseError
from coursekit.notebooks.learners_code import NotebookCode, read_notebook_code

NOTEBOOK = pytest.StashKey[NotebookCode | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--notebook",
        metavar="PATH",
        help="check the exercises of this notebook (tests/exercises), instead of the reference implementations",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the notebook, so that a wrong path is one sentence and not a failing test."""
    path = config.getoption("notebook")
    config.stash[NOTEBOOK] = None
    if path is None:
        return
    try:
        # Relative to where pytest was started, which need not be the repository.
        config.stash[NOTEBOOK] = read_notebook_code(config.invocation_params.dir / Path(path).expanduser())
    except CourseError as error:
        raise pytest.UsageError(str(error)) from None
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        # No tests are named: those of the notebook are meant, and not all of the course's own.
        config.args = [str(Path(__file__).parent / "tests" / "exercises")]
