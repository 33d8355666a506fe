"""Makes the stored working copy of release 0.1.0 that `test_working_copy.py` updates.

    git worktree add /tmp/0.1.0 4cfdce0
    python tests/releases/make_working_copy.py /tmp/0.1.0

The copy is what a learner has after some weeks: exercises solved, tried and untouched, texts edited, cells added,
notebooks run and checked by that release itself. Of the release's own files only some are kept.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

STORED = Path(__file__).with_name("working_copy_0_1_0.tar.gz")
CHAPTERS = ("00_start_here", "01_toy_model")
KEPT = (
    "pyproject.toml",
    "requirements.txt",
    "part_utils/__init__.py",
    "part_utils/exercises/__init__.py",
    "part_utils/course/cli.py",
)
SOLVED = ("0.1", "0.3", "1.1", "1.2", "1.3", "1.5", "1.8", "1.9", "1.10")
WRONG = {
    "0.2": '    return einops.einsum(acts, W_dec, "b i l, i l x -> b i l x").sum(2) / 2',
    "1.4": "    unit = W / W.norm(dim=1, keepdim=True)\n    return unit @ unit.mT",
}
COMMENT = "# TODO: something with torch.where?"


def solution_of(release: Path, slug: str, name: str) -> str:
    """The release's own solution of an exercise, as a person would write it."""
    notebook = json.loads((release / "solutions" / slug / f"{slug}.ipynb").read_text(encoding="utf-8"))
    source = next("".join(cell["source"]) for cell in notebook["cells"] if cell["id"] == name)
    return "\n".join(line for line in source.split("\n") if "### " not in line)


def worked_on(release: Path, slug: str) -> dict[str, Any]:
    """A chapter as the learner left it."""
    notebook = json.loads((release / "chapters" / slug / f"{slug}.ipynb").read_text(encoding="utf-8"))
    cells = []
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        exercise = cell["id"].removeprefix("exercise-").replace("-", ".")
        stub = f'raise NotImplementedError("Exercise {exercise} is still to be solved.")'
        if cell["id"].startswith("exercise-"):
            if exercise in SOLVED:
                source = solution_of(release, slug, cell["id"]) + f"\n\n# mine, exercise {exercise}"
            elif exercise in WRONG:
                source = source.replace(f"    {stub}", WRONG[exercise])
            elif exercise == "1.6":
                source = source.replace(f"        {stub}", f"        {COMMENT}\n        {stub}")
        if "from part_utils.exercises import check" in source and slug == "01_toy_model":
            source += "\nimport math"
        if cell["id"].startswith("statement-0-2"):
            source += "\n\nNote to myself: the latents are summed over."
        cell["source"] = source.splitlines(keepends=True)
        if cell["cell_type"] == "code" and number < 40:
            cell["execution_count"] = number
            cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": [f"output {number}\n"]}]
        cells.append(cell)
        if cell["id"] in ("exercise-0-1", "exercise-1-3"):
            cells += own_cells(cell["id"])
    return notebook | {"cells": cells}


def own_cells(below: str) -> list[dict[str, Any]]:
    """A note and a trial of the learner's, with names as Jupyter gives them."""
    return [
        {
            "cell_type": "markdown",
            "id": f"a1b2c3d{below[-1]}",
            "metadata": {},
            "source": [f"My notes on {below}:\n", "ask *why* the sum is over features."],
        },
        {
            "cell_type": "code",
            "execution_count": 99,
            "id": f"0f9e8d7{below[-1]}",
            "metadata": {},
            "outputs": [],
            "source": [f"trial_{below[-1]} = torch.rand(3)  # my own cell below {below}"],
        },
    ]


def main(release: Path) -> None:
    """Lay the copy out, let the release check it, which records progress, and store it."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "course"
        for slug in CHAPTERS:
            folder = copy / "chapters" / slug
            folder.mkdir(parents=True)
            text = json.dumps(worked_on(release, slug), indent=1, ensure_ascii=False) + "\n"
            (folder / f"{slug}.ipynb").write_text(text, encoding="utf-8")
            command = "from part_utils.course.cli import app; app()"
            subprocess.run(
                [sys.executable, "-c", command, "check", str(folder / f"{slug}.ipynb")],
                env={**os.environ, "PYTHONPATH": str(release)},
                cwd=copy,
                check=False,
            )
        for path in KEPT:
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(release / path, copy / path)
        (copy / "my_notes.txt").write_text("Superposition: more features than dimensions.\n")
        with tarfile.open(STORED, "w:gz") as archive:
            for path in sorted(copy.rglob("*")):
                if path.is_file() and path.suffix != ".lock":
                    facts = tarfile.TarInfo(path.relative_to(copy).as_posix())
                    facts.size = path.stat().st_size
                    archive.addfile(facts, io.BytesIO(path.read_bytes()))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
