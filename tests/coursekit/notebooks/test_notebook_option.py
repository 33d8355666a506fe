"""`pytest --notebook PATH` checks that notebook, in whichever order and with or without tests/exercises."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PATH = "solutions/00_start_here/00_start_here.ipynb"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--notebook", PATH],
        [f"--notebook={PATH}", "tests/exercises"],
        ["tests/exercises", "--notebook", PATH],
    ],
    ids=" ".join,
)
def test_only_the_exercises_of_the_notebook_are_checked(arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_a_wrong_path_is_one_sentence():
    command = [sys.executable, "-m", "pytest", "--notebook", "nowhere.ipynb"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "There is no notebook" in done.stderr
