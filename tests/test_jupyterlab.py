"""A chapter in a real JupyterLab, in a browser: its first cells, an exercise with its check, and a widget."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest

from coursekit.work.start import jupyter_environment
from tests.browser import launched_browser

ROOT = Path(__file__).parents[1]
CHAPTER = "05_interpretation"
EXERCISE = "feature_in_neuron_basis"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def jupyterlab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab on a copy of the learner's chapter."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copy(ROOT / "chapters" / CHAPTER / f"{CHAPTER}.ipynb", folder)
    settings = {
        # All cells stand in the page, also those that are scrolled out of sight.
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }
    for name, values in settings.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    runtime = folder / "runtime"
    environment = jupyter_environment() | {
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    environment.pop("COURSE_STATIC", None)
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--port=0"]
    command += ["--IdentityProvider.token=course", f"--ServerApp.root_dir={folder}"]
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 120
        while not (files := list(runtime.glob("jpserver-*.json"))):
            assert server.poll() is None, (folder / "log.txt").read_text()
            assert time.monotonic() < until, (folder / "log.txt").read_text()
            time.sleep(0.2)
        address = json.loads(files[0].read_text())["url"]
        yield f"{address}lab/tree/{CHAPTER}.ipynb?token=course"
    finally:
        server.terminate()
        server.wait(30)


def solution_of(function: str) -> str:
    """The code of the cell that defines a function in the solved notebook."""
    notebook = nbformat.read(ROOT / "solutions" / CHAPTER / f"{CHAPTER}.ipynb", as_version=4)
    return next(cell.source for cell in notebook.cells if f"def {function}(" in cell.source)


def test_first_cells_an_exercise_and_the_browser_of_features(jupyterlab: str) -> None:
    with launched_browser() as browser:
        from playwright.sync_api import expect

        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(180_000)
        page.goto(jupyterlab)
        code_cells = page.locator(".jp-Notebook .jp-CodeCell")
        code_cells.first.wait_for()
        page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()

        # nbgrader is installed, and its buttons are for those who write assignments.
        page.locator(".lm-MenuBar-item", has_text="Kernel").wait_for()
        assert page.locator(".lm-MenuBar-item", has_text="Nbgrader").count() == 0
        assert page.locator(".jp-Toolbar", has_text="Validate").count() == 0

        def run(cell):  # type: ignore[no-untyped-def]
            """Run a cell as a learner does, wait until it is finished, and return its outputs."""
            prompt = cell.locator(".jp-InputPrompt")
            before = prompt.inner_text()
            for _ in range(10):  # a click is lost where the page still moves
                cell.locator(".jp-InputArea-editor").click()
                page.keyboard.press("Shift+Enter")
                with suppress(AssertionError):
                    expect(prompt).not_to_have_text(before, timeout=5_000)
                    break
            expect(prompt).to_have_text(re.compile(r"\[\d+\]"), timeout=180_000)
            return cell.locator(".jp-OutputArea")

        # JupyterLab draws the cells below the window when it has time.
        for text in (f"def {EXERCISE}(", "feature_browser("):
            code_cells.filter(has_text=text).last.wait_for(state="attached")
        names = code_cells.all_inner_texts()
        definition = next(i for i, text in enumerate(names) if f"def {EXERCISE}(" in text)
        check = next(i for i in range(definition, len(names)) if "check(" in names[i])
        widget = next(i for i, text in enumerate(names) if "feature_browser(" in text)
        first_exercise = next(i for i, text in enumerate(names) if "raise NotImplementedError" in text)
        for index in range(first_exercise):
            output = run(code_cells.nth(index))
            assert "Traceback" not in " ".join(output.all_inner_texts())

        assert "not attempted" in run(code_cells.nth(check)).first.inner_text().lower()
        code_cells.nth(definition).locator(".jp-InputArea-editor").click()
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(solution_of(EXERCISE))
        run(code_cells.nth(definition))
        assert "correct" in run(code_cells.nth(check)).first.inner_text().lower()

        output = run(code_cells.nth(widget))
        output.locator(".jupyter-widgets").first.wait_for()
