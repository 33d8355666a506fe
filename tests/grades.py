"""Reading what grading a class has written."""

import csv
from pathlib import Path


def scores_in(path: Path) -> dict[str, float]:
    """The scores in a grades.csv, by learner."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["student"]: float(row["score"]) for row in csv.DictReader(file)}
