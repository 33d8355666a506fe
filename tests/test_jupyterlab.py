"""A chapter in a real JupyterLab, in a browser: its first cells, an exercise with its check, and a widget."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from tests.browser import launched_browser
from tests.lab import TOKEN, code_cells, jupyterlab_on, run_cell, write_in

ROOT = Path(__file__).parents[1]
CHAPTER = "05_interpretation"
EXERCISE = "feature_in_neuron_basis"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def jupyterlab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab on a copy of the learner's chapter."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copy(ROOT / "chapters" / CHAPTER / f"{CHAPTER}.ipynb", folder)
    with jupyterlab_on(folder, tmp_path_factory.mktemp("scratch")) as address:
        yield f"{address}{CHAPTER}.ipynb?token={TOKEN}"


def solution_of(function: str) -> str:
    """The code of the cell that defines a function in the solved notebook."""
    notebook = nbformat.read(ROOT / "solutions" / CHAPTER / f"{CHAPTER}.ipynb", as_version=4)
    return next(cell.source for cell in notebook.cells if f"def {function}(" in cell.source)


def test_first_cells_an_exercise_and_the_browser_of_features(jupyterlab: str) -> None:
    with launched_browser() as browser:
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(180_000)
        page.goto(jupyterlab)
        cells = code_cells(page)

        # nbgrader is installed, and its buttons are for those who write assignments.
        page.locator(".lm-MenuBar-item", has_text="Kernel").wait_for()
        assert page.locator(".lm-MenuBar-item", has_text="Nbgrader").count() == 0
        assert page.locator(".jp-Toolbar", has_text="Validate").count() == 0

        # JupyterLab draws the cells below the window when it has time.
        for text in (f"def {EXERCISE}(", "feature_browser("):
            cells.filter(has_text=text).last.wait_for(state="attached")
        names = cells.all_inner_texts()
        definition = next(i for i, text in enumerate(names) if f"def {EXERCISE}(" in text)
        check = next(i for i in range(definition, len(names)) if "check(" in names[i])
        widget = next(i for i, text in enumerate(names) if "feature_browser(" in text)
        first_exercise = next(i for i, text in enumerate(names) if "raise NotImplementedError" in text)
        for index in range(first_exercise):
            output = run_cell(page, cells.nth(index))
            assert "Traceback" not in " ".join(output.all_inner_texts())

        assert "not attempted" in run_cell(page, cells.nth(check)).first.inner_text().lower()
        write_in(page, cells.nth(definition), solution_of(EXERCISE))
        run_cell(page, cells.nth(definition))
        assert "correct" in run_cell(page, cells.nth(check)).first.inner_text().lower()

        output = run_cell(page, cells.nth(widget))
        output.locator(".jupyter-widgets").first.wait_for()
