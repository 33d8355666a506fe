"""A learner's folder: `course start` puts the notebooks and their pictures there, and opens JupyterLab on them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from coursekit.catalogue import CHAPTERS
from coursekit.errors import CourseError
from coursekit.material import material

# Learners need none of nbgrader's menus and buttons, which are for those who write assignments.
JUPYTER_CONFIG = Path(__file__).parent / "jupyter_config"


def fill(folder: Path, say: Callable[[str], None]) -> Path:
    """Put the learner's notebooks and the images that they show into a folder. What is there already stays as it is.

    Args:
        folder: made if it is not there.
        say: receives a line about what was done.

    Returns:
        The first chapter's notebook in it.

    Raises:
        CourseError: the folder is a file, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise CourseError(f"{folder} is a file. Give the name of a folder for your notebooks.")
    source = material()
    new = kept = 0
    for pattern in ("chapters/*/*.ipynb", "images/*.*"):
        for path in sorted(source.glob(pattern)):
            target = folder / path.relative_to(source)
            if path.suffix == ".py" or target.exists():
                kept += path.suffix == ".ipynb"
                continue
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            except OSError as error:
                raise CourseError(
                    f"{target} cannot be written ({error.strerror}). Choose another folder."
                ) from None
            new += path.suffix == ".ipynb"
    if new:
        say(f"{new} notebooks are in {folder / 'chapters'}.")
    if kept and new:
        say(f"{kept} were there already and are as they were; `course update` brings them up to date.")
    first = CHAPTERS[0].slug
    return folder / "chapters" / first / f"{first}.ipynb"


def open_jupyterlab(folder: Path, notebook: Path) -> None:
    """Run JupyterLab in the folder, opened on a notebook, until it is stopped. Raises CourseError if it is missing."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise CourseError(
            f"JupyterLab is not installed. Run `pip install jupyterlab` and this command again, or open {notebook} in "
            "VS Code."
        )
    command = [sys.executable, "-m", "jupyter", "lab", str(notebook.resolve().relative_to(folder.resolve()))]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with contextlib.suppress(KeyboardInterrupt):
        subprocess.run(command, cwd=folder, env=jupyter_environment(), check=False)


def jupyter_environment() -> dict[str, str]:
    """Return the environment of a learner's JupyterLab: this Python's programs, and no instructor's buttons."""
    paths = [str(JUPYTER_CONFIG), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    programs = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    return os.environ | {
        "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths)),
        "PATH": os.pathsep.join(filter(None, programs)),
    }
