"""What the checks accept of the reference with one change is known to make no difference, each with a reason."""

import pytest

from coursekit import all_exercises
from tests.mutants import all_equivalents
from tests.mutants.mechanical import mechanical_mutants


@pytest.mark.slow
@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda e: f"{e.id} {e.name}")
def test_what_survives_makes_no_difference(exercise):
    survivors = {mutant.change for mutant in mechanical_mutants(exercise) if not mutant.caught()}
    known = all_equivalents()[exercise.id]
    assert survivors - set(known) == set(), "accepted, though something is wrong, or not listed with a reason"
    assert set(known) - survivors == set(), "listed as making no difference, but caught or gone"


def test_changes_are_named_the_same_in_every_run():
    exercise = all_exercises()[3]
    first, second = ([m.change for m in mechanical_mutants(exercise)] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first) > 20
