"""Runs a check so that attempting is safe: nothing of the learner's, and nothing global, is changed by it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import torch

from coursekit.catalogue import Exercise, all_exercises
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import (
    DirectLearner,
    Learner,
    LearnerError,
    NotAttempted,
    describe_exception,
    learners_line,
)
from coursekit.checking.limits import OutOfTime, Printed, silenced, time_limit, undisturbed
from coursekit.checking.results import CheckResult, Status

DEFAULT_SEED = 0


def run_check(exercise: Exercise, learner: Learner, seed: int = DEFAULT_SEED) -> CheckResult:
    """Run one exercise's check through the door `learner`. Never raises because of the learner's code."""
    load_needs(exercise)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + _stable_number(exercise.id))
    run = Check(learner, exercise.id, generator, reference=exercise.load_reference)
    status: Status = "passed"
    message, picture = "", ""
    details: tuple[str, ...] = ()
    printed = Printed()
    try:
        with undisturbed(seed), silenced(printed), time_limit(exercise.seconds), run.illustrated():
            exercise.check(run)
    except NotAttempted as error:
        status, message = "not_attempted", str(error)
    except Mistake as mistake:
        status, message, details = "failed", mistake.message, mistake.details
        picture = mistake.picture
    except LearnerError as error:
        status, message = "error", f"Your code raised {error}"
    except OutOfTime as error:
        status = "error"
        message = (
            f"Your code was stopped after {exercise.seconds:g} seconds. Is there a loop that never ends?"
        )
        if place := learners_line(error):
            message += f"\n{place}"
    except KeyboardInterrupt:
        # The learner has interrupted the kernel.
        raise
    except SystemExit:
        status, message = (
            "error",
            "Your code ends the program (SystemExit). Leave out `exit()`, or return a value.",
        )
    except Exception as error:
        # Something came back that no check foresaw. A learner is not to see the course's own traceback.
        status = "error"
        got = f", {run.last}," if run.last else ""
        message = f"The check could not make sense of your result{got} ({describe_exception(error)})."
    except BaseException as error:
        status, message = "error", f"Your code raised {describe_exception(error)}"
    return CheckResult(
        id=exercise.id,
        name=exercise.name,
        title=exercise.title,
        status=status,
        points=exercise.points if status == "passed" else 0,
        max_points=exercise.points,
        message=message,
        details=details,
        claims=tuple(run.claims),
        printed=printed.text(),
        picture=picture,
    )


def load_needs(exercise: Exercise) -> None:
    """Import what the exercise's check uses and takes long to import, so that no clock runs meanwhile."""
    for module in exercise.needs:
        importlib.import_module(module)


def reference_learner() -> DirectLearner:
    """Return the door to the reference implementations, as if a learner had written them."""
    namespace = {
        name: exercise.load_reference(name)
        for exercise in all_exercises()
        for name in exercise.targets.values()
    }
    return DirectLearner(namespace, cell_names())


def cell_names() -> Mapping[str, str]:
    """Return which name each exercise's cell defines, by what a check calls (`Exercise.targets`)."""
    return {target: name for exercise in all_exercises() for target, name in exercise.targets.items()}


def _stable_number(text: str) -> int:
    return sum(ord(letter) * 131**place for place, letter in enumerate(text)) % 1_000_000
