"""Wrong answers that every check must catch and name, and unusual right ones that it must accept.

`chapter_NN/eMM_name.py` holds both for the exercise of this name, as code that a learner might write:

    @mutant("0.1", says="instance 0")      # the message must contain these words
    def first_matrix_for_all(features, W):
        return torch.einsum("bif,hf->bih", features, W[0])

    @variant("0.1")
    def matmul(features, W): ...

    equivalent("0.1", "why it makes no difference", "before -> after")    # of the mechanical mutants

For a method exercise, such as 1.1, the function is the method, and the class around it is made here. A class is
taken as it is; it derives from the reference class. `python -m tests.mutants` prints a table of all.
"""

from __future__ import annotations

import functools
import importlib.util
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from coursekit import CheckResult, Exercise, all_exercises, get_exercise, run_check
from coursekit.checking.door import DirectLearner
from coursekit.checking.running import cell_names


@dataclass(frozen=True)
class Answer:
    """A learner's answer to an exercise; a wrong one if the check's message has to contain `says`.

    `function` is what it answers, where a cell holds several functions; the others are then the reference's.
    """

    exercise_id: str
    name: str
    code: Any
    says: str | None
    function: str = ""

    @property
    def wrong(self) -> bool:
        return self.says is not None

    def check(self, seed: int) -> CheckResult:
        """What the exercise's check finds."""
        # No answer here is endless, and a busy machine is no mistake of theirs.
        exercise = replace(get_exercise(self.exercise_id), seconds=600)
        namespace = {name: exercise.load_reference(name) for name in exercise.also}
        namespace[self.function or exercise.cell_name] = self.code
        namespace.setdefault(exercise.cell_name, exercise.load_reference())
        return run_check(exercise, DirectLearner(namespace, cell_names()), seed)

    def caught(self, result: CheckResult) -> bool:
        """Whether the check rejects it. A wrong answer that counts as not attempted is not caught."""
        return result.status in ("failed", "error")

    def named(self, result: CheckResult) -> bool:
        """Whether the message says what the mistake is."""
        return self.caught(result) and (self.says or "").lower() in result.message.lower()


_ANSWERS: list[Answer] = []
_EQUIVALENT: defaultdict[str, dict[str, str]] = defaultdict(dict)


def mutant(exercise_id: str, *, says: str, function: str = "") -> Callable[[Any], Any]:
    """A wrong answer. The message of the check must contain `says`, in capital or small letters."""
    return _remember(exercise_id, says, function)


def variant(exercise_id: str, *, function: str = "") -> Callable[[Any], Any]:
    """A right answer, written in another way than the reference."""
    return _remember(exercise_id, None, function)


def equivalent(exercise_id: str, why: str, *changes: str) -> None:
    """Mechanical changes of the reference that a check may accept, and why (see `mechanical.py`)."""
    _EQUIVALENT[exercise_id] |= dict.fromkeys(changes, why)


def all_equivalents() -> dict[str, dict[str, str]]:
    """By exercise, the mechanical changes that make no difference, each with the reason."""
    _load()
    return _EQUIVALENT


def all_answers() -> list[Answer]:
    """Every answer of every chapter, in the order of the exercises."""
    _load()
    return list(_ANSWERS)


@functools.cache
def _load() -> None:
    for exercise in all_exercises():
        module = f"{__name__}.chapter_{exercise.chapter.number}.{exercise.slug}"
        if importlib.util.find_spec(module):
            importlib.import_module(module)


def _remember(exercise_id: str, says: str | None, function: str) -> Callable[[Any], Any]:
    def decorate(code: Any) -> Any:
        answer = _as_answer(get_exercise(exercise_id), code)
        _ANSWERS.append(Answer(exercise_id, code.__name__, answer, says, function))
        return code

    return decorate


def _as_answer(exercise: Exercise, code: Any) -> Any:
    """The function or class that a notebook would define."""
    if isinstance(code, type):
        return code
    if exercise.class_name is not None:
        method = exercise.name.rpartition(".")[2]
    elif len(exercise.methods) == 1:
        (method,) = exercise.methods
    else:
        return code
    return type(exercise.cell_name, (exercise.load_reference(),), {method: code})
