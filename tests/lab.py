"""A real JupyterLab for a browser to work in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from coursekit.work.start import jupyter_environment

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TOKEN = "course"


@contextmanager
def jupyterlab_on(folder: Path, scratch: Path, python: str = sys.executable) -> Iterator[str]:
    """Run JupyterLab in a folder, as `course start` does, with a configuration of its own.

    Args:
        folder: what it shows.
        scratch: an empty folder for its files.
        python: the interpreter that has it.

    Yields:
        The address that a notebook's path in the folder is put behind, and then `?token=course`.
    """
    settings = {
        # All cells stand in the page, also those that are scrolled out of sight.
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }
    for name, values in settings.items():
        path = scratch / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    runtime = scratch / "runtime"
    environment = jupyter_environment() | {
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTER_CONFIG_DIR": str(scratch / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(scratch / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(scratch / "workspaces"),
    }
    environment["PATH"] = os.pathsep.join([str(Path(python).parent), environment["PATH"]])
    environment.pop("COURSE_STATIC", None)
    command = [python, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--port=0"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"]
    with (scratch / "log.txt").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 120
        while not (files := list(runtime.glob("jpserver-*.json"))):
            assert server.poll() is None, (scratch / "log.txt").read_text()
            assert time.monotonic() < until, (scratch / "log.txt").read_text()
            time.sleep(0.2)
        yield json.loads(files[0].read_text())["url"] + "lab/tree/"
    finally:
        server.terminate()
        server.wait(30)


def code_cells(page: Page) -> Locator:
    """The code cells of the notebook that is open, once its kernel waits."""
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    cells.first.wait_for()
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
    return cells


def run_cell(page: Page, cell: Locator) -> Locator:
    """Run a cell as a learner does, wait until it is finished, and return its outputs."""
    from playwright.sync_api import expect

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


def write_in(page: Page, cell: Locator, source: str) -> None:
    """Put other code into a cell."""
    cell.locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(source)
