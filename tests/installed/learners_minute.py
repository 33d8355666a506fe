"""How long it takes from a clone to the first green check, walked in a browser as a learner would:

    python -m tests.installed.learners_minute

Clones the repository's last commit into a scratch folder, runs `make course LAUNCH=0` there, opens chapter 0 in
JupyterLab, runs its cells, solves the first exercise and runs its check. Prints the seconds of each step. Reading is
not in them. The installation is as fast as the network and pip's cache.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import nbformat

from coursekit.catalogue import CHAPTERS
from tests.browser import launched_browser
from tests.lab import TOKEN, code_cells, jupyterlab_on, run_cell, write_in

ROOT = Path(__file__).parents[2]
LIMIT = 300
"""Seconds: what a learner is promised."""


@contextmanager
def step(name: str, seconds: dict[str, float]) -> Iterator[None]:
    start = time.monotonic()
    yield
    seconds[name] = time.monotonic() - start
    print(f"{name:42} {seconds[name]:6.1f} s", flush=True)


def main() -> int:
    seconds: dict[str, float] = {}
    chapter = CHAPTERS[0].slug
    exercise = CHAPTERS[0].exercises[0]
    function = exercise.reference.rsplit(".", 1)[-1]
    solved = nbformat.read(ROOT / "solutions" / chapter / f"{chapter}.ipynb", as_version=4)
    solution = next(
        cell.source for cell in solved.cells if cell.cell_type == "code" and f"def {function}(" in cell.source
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        scratch, clone = Path(name, "lab"), Path(name, "course")
        scratch.mkdir()
        # Nothing of the environment that this runs in.
        environment = {
            key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        with step("clone", seconds):
            subprocess.run(["git", "clone", "--quiet", "--depth=1", ROOT.as_uri(), str(clone)], check=True)
        with step("install (make course LAUNCH=0)", seconds):
            command = ["make", "course", "LAUNCH=0", f"PYTHON={os.environ.get('PYTHON', 'python3')}"]
            subprocess.run(command, cwd=clone, env=environment, check=True, stdout=subprocess.DEVNULL)
        os.environ.pop("PYTHONPATH", None)
        python = str(clone / ".venv" / "bin" / "python")
        with ExitStack() as open_things:
            with step("start JupyterLab", seconds):
                address = open_things.enter_context(jupyterlab_on(clone, scratch, python))
            browser = open_things.enter_context(launched_browser())
            page = browser.new_page(viewport={"width": 1300, "height": 1000})
            page.set_default_timeout(180_000)
            with step("open chapter 0", seconds):
                page.goto(f"{address}chapters/{chapter}/{chapter}.ipynb?token={TOKEN}")
                cells = code_cells(page)
                cells.filter(has_text=f"def {function}(").first.wait_for(state="attached")
            texts = cells.all_inner_texts()
            place = next(i for i, text in enumerate(texts) if f"def {function}(" in text)
            check = next(i for i in range(place, len(texts)) if "check(" in texts[i])
            with step("first cell", seconds):
                run_cell(page, cells.first)
            with step(f"cells before exercise {exercise.id}", seconds):
                for number in range(1, place):
                    run_cell(page, cells.nth(number))
            with step(f"write {exercise.id}, run its check", seconds):
                write_in(page, cells.nth(place), solution)
                run_cell(page, cells.nth(place))
                said = run_cell(page, cells.nth(check)).first.inner_text()
    total = sum(seconds.values())
    green = "correct" in said.lower()
    print(f"{'in all':42} {total:6.1f} s of {LIMIT}, {'green' if green else 'not green: ' + said}")
    return 0 if green and total < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
