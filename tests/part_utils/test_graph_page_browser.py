"""The graph's page in a real browser: pointing, clicking, keys, a phone, the dark, accessibility."""

from __future__ import annotations

import pytest

from part_utils.graph_page import save_graph
from tests.browser import launched_browser

pytestmark = pytest.mark.slow


@pytest.fixture
def page_at(tmp_path, graph):
    address = save_graph(graph, tmp_path / "graph.html").as_uri()
    with launched_browser() as browser:

        def opened(width: int = 1000, color: str = "light"):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=color)
            page.on("pageerror", lambda error: pytest.fail(str(error)))
            page.goto(address)
            return page

        yield opened


def test_a_click_follows_a_node_and_a_second_one_leaves_it(page_at):
    page = page_at()
    said, picture = page.locator("#said"), page.locator("svg")
    nothing = said.inner_text()
    latent = page.locator('[data-name="latent 17"]')
    latent.hover()
    assert "fires on ' a'" in said.inner_text()
    page.mouse.move(5, 5)
    assert said.inner_text() == nothing

    latent.click()
    page.mouse.move(5, 5)
    assert "fires on ' a'" in said.inner_text()
    assert latent.get_attribute("aria-pressed") == "true"
    # It, its two edges, and what is at their other ends; the rest is pale.
    on = page.locator(".on").evaluate_all("all => all.map(one => one.dataset.name).sort()")
    assert on == ["", "", "latent 17", "logit", "token 1"]
    pale = page.locator('[data-name="token 3"]').evaluate("one => Number(getComputedStyle(one).opacity)")
    assert pale < 0.5

    latent.click()
    page.mouse.move(5, 5)
    assert page.locator(".on").count() == 0
    assert picture.get_attribute("class") in ("", None)
    assert said.inner_text() == nothing

    page.locator(".edge.takes").first.click(force=True)
    assert "-0." in said.inner_text() or "−0." in said.inner_text()


def test_keys_do_what_the_pointer_does(page_at):
    page = page_at()
    latent = page.locator('[data-name="latent 17"]')
    latent.focus()
    assert "fires on" in page.locator("#said").inner_text()
    for key in ("Enter", "Space"):
        page.keyboard.press(key)
        assert page.locator(".node.on").count() == (3 if key == "Enter" else 0)


@pytest.mark.parametrize("color", ["light", "dark"])
def test_phone_and_accessibility(page_at, color):
    sync = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = page_at(360, color)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    results = sync.Axe().run(page, None, {"resultTypes": ["violations"]})
    serious = [
        fault for fault in results.response["violations"] if fault["impact"] in ("serious", "critical")
    ]
    assert [(fault["id"], fault["nodes"][0]["html"]) for fault in serious] == []
