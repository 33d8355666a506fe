"""`python -m tests.mutants`: which wrong answers the checks catch and name, and which right ones they accept.

The last three columns are of the mechanical mutants (`mechanical.py`): how many there are, how many of them the check
accepts, and how many of these are known to make no difference.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from coursekit import Exercise, all_exercises, reference_learner, run_check
from tests.mutants import Answer, all_answers, all_equivalents
from tests.mutants.mechanical import mechanical_mutants

NAMED_SHARE = 0.95
COUNTED = ("mutants", "caught", "named", "variants", "accepted", "mechanical", "survive", "explained")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="check with so many seeds, from --first-seed on")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument(
        "--exercise", action="append", help="only this exercise, such as 1.2; may be repeated"
    )
    parser.add_argument(
        "--reference-seeds", type=int, default=0, help="check the reference with so many seeds"
    )
    parser.add_argument(
        "--no-mechanical", action="store_true", help="leave out the mechanical changes of the reference"
    )
    arguments = parser.parse_args()
    # The tensors are small, and several threads only get into each other's way.
    torch.set_num_threads(1)
    exercises = [e for e in all_exercises() if not arguments.exercise or e.id in arguments.exercise]
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    console = Console()
    # In a file, too, a row is a line.
    console = console if console.is_terminal else Console(width=120)
    if arguments.reference_seeds:
        return _check_references(exercises, range(arguments.reference_seeds), console)
    return _check_answers(exercises, seeds, not arguments.no_mechanical, console)


def _check_answers(exercises: list[Exercise], seeds: range, mechanical: bool, console: Console) -> int:
    answers = [a for a in all_answers() if a.exercise_id in {e.id for e in exercises}]
    count: Counter[tuple[str, str]] = Counter()
    complaints: dict[tuple[str, str], tuple[int, str]] = {}
    for seed in seeds if len(seeds) == 1 else track(seeds, "Checking", console=console, transient=True):
        for answer in answers:
            _judge(answer, seed, count, complaints)
    for (_, name), (first_seed, complaint) in complaints.items():
        console.print(f"{name} (seed {first_seed}): {complaint}", highlight=False, markup=False)
    if mechanical:
        for exercise in track(exercises, "Changing", console=console, transient=True):
            _judge_mechanical(exercise, count, console)
    table = Table("Exercise", "Wrong", "caught", "named", "Right", "accepted")
    for column in ("Mechanical", "survive", "explained") if mechanical else ():
        table.add_column(column)
    for exercise in exercises:
        of = {what: count[exercise.id, what] for what in COUNTED}
        table.add_row(exercise.label, *_columns(of, mechanical))
    of = {what: sum(count[e.id, what] for e in exercises) for what in COUNTED}
    table.add_section()
    seeds_text = f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
    table.add_row(f"all, {seeds_text}", *_columns(of, mechanical))
    console.print(table)
    good = of["caught"] == of["mutants"] and of["accepted"] == of["variants"]
    good &= of["explained"] == of["survive"]
    good &= of["named"] >= NAMED_SHARE * of["mutants"]
    return 0 if good else 1


def _judge(
    answer: Answer,
    seed: int,
    count: Counter[tuple[str, str]],
    complaints: dict[tuple[str, str], tuple[int, str]],
) -> None:
    result = answer.check(seed)
    key = answer.exercise_id
    complaint = ""
    if answer.wrong:
        count[key, "mutants"] += 1
        count[key, "caught"] += answer.caught(result)
        count[key, "named"] += answer.named(result)
        if not answer.caught(result):
            complaint = f"not caught: {result.status} {result.message}"
        elif not answer.named(result):
            complaint = f"not named ({answer.says!r}): {result.message}"
    else:
        count[key, "variants"] += 1
        count[key, "accepted"] += result.passed
        if not result.passed:
            complaint = f"not accepted: {result.message} {' | '.join(result.details)}"
    if complaint:
        complaints.setdefault((key, f"{key} {answer.name}"), (seed, complaint))


def _judge_mechanical(exercise: Exercise, count: Counter[tuple[str, str]], console: Console) -> None:
    known = all_equivalents()[exercise.id]
    for mutant in mechanical_mutants(exercise):
        count[exercise.id, "mechanical"] += 1
        if mutant.caught():
            continue
        count[exercise.id, "survive"] += 1
        count[exercise.id, "explained"] += mutant.change in known
        if mutant.change not in known:
            console.print(f"{exercise.id} survives: {mutant.change}", highlight=False, markup=False)


def _columns(of: dict[str, int], mechanical: bool) -> list[str]:
    def share(part: str, whole: str) -> str:
        style = "green" if of[part] == of[whole] else "yellow" if part == "named" else "red"
        return f"[{style}]{of[part]}[/]"

    by_hand = [
        str(of["mutants"]),
        share("caught", "mutants"),
        share("named", "mutants"),
        str(of["variants"]),
        share("accepted", "variants"),
    ]
    return by_hand + [str(of["mechanical"]), str(of["survive"]), share("explained", "survive")] * mechanical


def _check_references(exercises: list[Exercise], seeds: range, console: Console) -> int:
    """Each check on the reference, which has to pass whatever the seed."""
    learner, failures = reference_learner(), 0
    for exercise in track(exercises, "Checking", console=console, transient=True):
        for seed in seeds:
            result = run_check(exercise, learner, seed)
            if not result.passed:
                failures += 1
                console.print(
                    f"{exercise.id} with seed {seed}: {result.message}", highlight=False, markup=False
                )
    console.print(
        f"{len(exercises)} checks with {len(seeds)} seeds each on the reference: {failures} failures."
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
