"""Times `course grade` against `nbgrader autograde` on the same notebooks, in the same run.

    python benchmarks/grading.py [--chapter 02] [--submissions 100] [--nbgrader 5] [--workers 2]
    python benchmarks/grading.py --memory 10 50 200 [--chapter 02] [--workers 2]

nbgrader is serial and slow, so it gets the first few submissions only; its time for one is compared with ours. With
`--memory` nothing is compared: classes of these sizes are graded, and the peak memory of each run is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def make_class(place: Path, slug: str, number: int) -> None:
    """So many learners: a third have everything right, a third one exercise wrong, a third one untouched."""
    solved = json.loads((ROOT / "solutions" / slug / f"{slug}.ipynb").read_text())
    released = json.loads((ROOT / "chapters" / slug / f"{slug}.ipynb").read_text())
    stubs = {name(cell): cell["source"] for cell in released["cells"] if name(cell).startswith("exercise_")}
    for cell in solved["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = []
    for learner in range(number):
        book = json.loads(json.dumps(solved))
        exercises = [cell for cell in book["cells"] if name(cell) in stubs]
        chosen = exercises[learner % len(exercises)]
        if learner % 3 == 1:
            chosen["source"] = "".join(chosen["source"]).replace("+", "-").replace("* ", "+ ")
        if learner % 3 == 2:
            chosen["source"] = stubs[name(chosen)]
        folder = place / f"learner{learner:04}" / slug
        folder.mkdir(parents=True)
        (folder / f"{slug}.ipynb").write_text(json.dumps(book))


def name(cell: dict) -> str:
    return cell["metadata"].get("nbgrader", {}).get("grade_id", "")


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds, and the largest memory of any one process in MB."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


# Runs a command of the course, and then says how much memory it and the largest of its processes have used at most.
MEASURED = """
import resource, sys
from coursekit.commands.cli import app
code = app(sys.argv[1:], standalone_mode=False)
own, below = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(f"\\n{own:.1f} {below:.1f}")
sys.exit(code or 0)
"""


def peak_memory(place: Path, chapter: str, workers: int) -> tuple[float, float]:
    """The most memory in MB that `course grade` has used itself, and that the largest process below it has used."""
    command = [sys.executable, "-c", MEASURED, "grade", "submitted", "--chapter", chapter, "--seed", "1"]
    done = subprocess.run(
        [*command, "--workers", str(workers)], cwd=place, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"course grade failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    own, below = done.stdout.split()[-2:]
    return float(own), float(below)


def report_memory(sizes: list[int], chapter: str, slug: str, workers: int) -> None:
    print(f"course grade --workers {workers}: peak memory of the grader, and of the largest process below it")
    for size in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            make_class(Path(scratch, "submitted"), slug, size)
            own, below = peak_memory(Path(scratch), chapter, workers)
            print(f"{size:6} submissions  {own:6.1f} MB  {below:6.1f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chapter", default="02")
    parser.add_argument("--submissions", type=int, default=100)
    parser.add_argument("--nbgrader", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", type=int, nargs="+", metavar="SUBMISSIONS")
    arguments = parser.parse_args()
    from coursekit import chapter

    slug = chapter(arguments.chapter).slug
    if arguments.memory:
        report_memory(arguments.memory, arguments.chapter, slug, arguments.workers)
        return
    with tempfile.TemporaryDirectory() as scratch:
        ours, theirs = Path(scratch, "ours"), Path(scratch, "theirs")
        make_class(ours / "submitted", slug, arguments.submissions)
        grade = [
            sys.executable,
            "-m",
            "coursekit.commands.cli",
            "grade",
            "submitted",
            "--chapter",
            arguments.chapter,
        ]
        seconds, memory = timed([*grade, "--workers", str(arguments.workers), "--seed", "1"], ours)
        each = seconds / arguments.submissions
        print(
            f"course grade        {arguments.submissions} submissions in {seconds:.1f} s, {each:.2f} s each"
        )
        print(f"                    largest process {memory:.0f} MB")
        if not arguments.nbgrader:
            return
        make_class(theirs / "submitted", slug, arguments.nbgrader)
        (theirs / "solutions" / slug).mkdir(parents=True)
        shutil.copy(ROOT / "solutions" / slug / f"{slug}.ipynb", theirs / "solutions" / slug)
        shutil.copy(ROOT / "nbgrader_config.py", theirs)
        timed(["nbgrader", "generate_assignment", "--create", "--force", slug], theirs)
        seconds, _ = timed(["nbgrader", "autograde", "--create", slug], theirs)
        nbgrader = seconds / arguments.nbgrader
        print(
            f"nbgrader autograde  {arguments.nbgrader} submissions in {seconds:.1f} s, {nbgrader:.2f} s each"
        )
        print(f"course grade is {nbgrader / each:.1f} times as fast")


if __name__ == "__main__":
    main()
