"""A headless Chromium for tests of pages: the system's own, since nothing may be downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@contextmanager
def launched_browser() -> Iterator[Browser]:
    """Chromium; a test is skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    found = (
        os.environ.get("BROWSER_PATH"),
        *map(shutil.which, ("chromium", "chromium-browser", "google-chrome")),
    )
    path = next((path for path in found if path), None)
    if path is None:
        pytest.skip("needs Chromium (Debian, Ubuntu: apt-get install chromium)")
    arguments = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
