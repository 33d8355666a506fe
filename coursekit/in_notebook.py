"""What a learner calls in a notebook: `check`, on the code that stands there."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from coursekit.catalogue import Exercise, all_exercises, get_exercise
from coursekit.checking.door import DirectLearner
from coursekit.checking.results import CheckResult
from coursekit.checking.running import cell_names, run_check
from coursekit.progress.store import remember


def check(exercise_id: str, answer: Any = None) -> CheckResult:
    """Check an exercise in a notebook: run this under the exercise's cell.

    Args:
        exercise_id: for example "1.1".
        answer: the function or class to check; by default the one that the notebook defines under the
            exercise's name.

    Returns:
        The result, which shows itself as a card.
    """
    exercise = get_exercise(exercise_id)
    namespace = _callers_namespace()
    if answer is not None:
        beside = {name: namespace[name] for name in exercise.also if name in namespace}
        return run_check(exercise, DirectLearner({**beside, exercise.cell_name: answer}, cell_names()))
    with _others_lent(exercise, namespace) as lent:
        result = run_check(exercise, DirectLearner(namespace, cell_names()))
    if lent and not result.passed:
        # It may rely on something that the learner's own version of another exercise does.
        with_own = run_check(exercise, DirectLearner(namespace, cell_names()))
        result = with_own if with_own.passed else result
    remember(result)
    return result


@contextlib.contextmanager
def _others_lent(exercise: Exercise, namespace: dict[str, Any]) -> Iterator[list[str]]:
    """While an exercise is checked, calls of another exercise's function reach the reference.

    So neither a mistake in an earlier exercise nor its stub fails a later one.
    """
    others = {
        name: other
        for other in all_exercises()
        if other.id != exercise.id and other.class_name is None
        for name in other.targets.values()
        if inspect.isfunction(namespace.get(name))
    }
    kept = {name: namespace[name] for name in others}
    namespace.update({name: other.load_reference(name) for name, other in others.items()})
    try:
        yield list(kept)
    finally:
        namespace.update(kept)


def _callers_namespace() -> dict[str, Any]:
    """The notebook's variables, or outside a notebook those of the module that called `check`."""
    if "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
        if shell is not None:
            return shell.user_ns
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return {} if frame is None else {**frame.f_globals, **frame.f_locals}
