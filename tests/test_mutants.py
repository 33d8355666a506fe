"""The checks catch and name wrong answers and accept right ones; `python -m tests.mutants --seeds 51` goes further."""

from collections import Counter

import pytest

from coursekit import all_exercises, reference_learner, run_check
from tests.mutants import all_answers

# What a message must not reveal. An error quotes the learner's own line.
SOLUTIONS = ("einsum(", "torch.where(", "->")
WRONG = [answer for answer in all_answers() if answer.wrong]
RIGHT = [answer for answer in all_answers() if not answer.wrong]


def name(answer):
    return f"{answer.exercise_id} {answer.name}"


@pytest.mark.parametrize("answer", WRONG, ids=name)
def test_wrong_answer_is_caught_and_named(answer):
    result = answer.check(seed=0)
    assert answer.caught(result), f"{result.status}: {result.message}"
    assert answer.named(result), result.message
    assert not any(code in result.message for code in SOLUTIONS) or result.status == "error", result.message


@pytest.mark.parametrize("answer", RIGHT, ids=name)
def test_right_answer_is_accepted(answer):
    result = answer.check(seed=0)
    assert result.passed, result.text()


def test_every_exercise_of_these_chapters_has_enough_of_both():
    wrong, right = (Counter(a.exercise_id for a in answers) for answers in (WRONG, RIGHT))
    chapters = {exercise_id.partition(".")[0] for exercise_id in wrong}
    exercises = [e.id for e in all_exercises() if e.id.partition(".")[0] in chapters]
    assert {key for key in exercises if wrong[key] < 4 or right[key] < 2} == set()


@pytest.mark.slow
@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda e: e.label)
def test_reference_passes_whatever_the_seed(exercise):
    learner = reference_learner()
    # From chapter 4 on a check runs a language model, and takes a second. That of 5.8 draws nothing.
    # `python -m tests.mutants --seeds 51` goes further.
    seeds = 1 if exercise.id == "5.8" else 100 if exercise.id < "4" else 20
    failures = [
        (seed, r.message) for seed in range(seeds) if not (r := run_check(exercise, learner, seed)).passed
    ]
    assert failures == []
