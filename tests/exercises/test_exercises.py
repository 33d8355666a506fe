"""Every exercise's check, one test each: `pytest tests/exercises --notebook PATH` checks a notebook.

Without --notebook the reference implementations are checked, which have to pass.
"""

import pytest

from conftest import NOTEBOOK
from coursekit import Exercise, all_exercises, reference_learner, run_check
from coursekit.work.check import check_in_notebook


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    code = metafunc.config.stash[NOTEBOOK]
    exercises = list(all_exercises()) if code is None else code.exercises()
    metafunc.parametrize("exercise", exercises, ids=[e.label for e in exercises])


def test_exercise(exercise: Exercise, pytestconfig: pytest.Config) -> None:
    code = pytestconfig.stash[NOTEBOOK]
    result = run_check(exercise, reference_learner()) if code is None else check_in_notebook(code, exercise)
    if not result.passed:
        # The card as text is all there is to say; a traceback would lead into the course's own code.
        pytest.fail(result.text(), pytrace=False)
