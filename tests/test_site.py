"""The site, built and then read in a browser: links, figures, formulas, search, phones, accessibility."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from coursekit import CHAPTERS, folders
from coursekit.authoring import site
from coursekit.authoring.site import Sources, build_site, landing_page
from coursekit.errors import CourseError
from tests.browser import launched_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PHONE = {"width": 360, "height": 760}
DESKTOP = {"width": 1300, "height": 900}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[a](../01_toy_model/01_toy_model.ipynb)", "[a](/chapters/01_toy_model.ipynb)"),
        ("[a](../01_toy_model/01_toy_model.ipynb#The-loss)", "[a](/chapters/01_toy_model.ipynb#the-loss)"),
        ('<a href="../../README.md">a</a>', '<a href="../index.html">a</a>'),
        ("[a](#The-loss)", "[a](#the-loss)"),
        ("![a](../../images/bottleneck.svg)", "![a](../images/bottleneck.svg)"),
        ("[a](../../part_utils/toy_model.py)", "[a](REPOSITORY/blob/main/part_utils/toy_model.py)"),
        ("[a](../../benchmarks)", "[a](REPOSITORY/tree/main/benchmarks)"),
        ("[a](https://example.org/b.md)", "[a](https://example.org/b.md)"),
        ("`[a](../../README.md)`", "`[a](../../README.md)`"),
        ("```\n[a](../../README.md)\n```", "```\n[a](../../README.md)\n```"),
    ],
)
def test_links(tmp_path, text, wanted):
    sources = Sources(tmp_path / "source", tmp_path / "extra")
    linked = sources.linked(
        text, "solutions/02_sparse_autoencoder/02_sparse_autoencoder.ipynb", "chapters/02"
    )
    assert linked == wanted.replace("REPOSITORY", folders.repository())


def test_the_landing_page_has_every_chapter_and_the_commands():
    page = landing_page()
    for chapter in CHAPTERS:
        assert f'href="chapters/{chapter.slug}.html"' in page
        assert f"/chapters/{chapter.slug}/{chapter.slug}.ipynb" in page
    assert "make course" in page
    assert not re.search(r"^[A-Z]+$", page, re.M)


@pytest.mark.parametrize("name", ["a.txt", "folder"])
def test_a_folder_with_something_else_stays_as_it_is(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.html").write_text("dear")
    (tmp_path / "a.txt").write_text("dear")
    pytest.importorskip("sphinx")
    with pytest.raises(CourseError, match="Name a"):
        build_site(tmp_path / name, lambda line: None)
    assert (tmp_path / "folder" / "thesis.html").read_text() == "dear"


def test_the_library_is_there_without_what_old_notebooks_import():
    modules = site.library()
    assert {"part_utils.autoencoder", "part_utils.variants.topk"} <= set(modules)
    assert not any(name.startswith(site.OLD_NAMES) for name in modules)
    assert all(about.endswith((".", ":")) for about in modules.values())


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("site") / "site"
    remarks = build_site(folder, lambda line: None, dashboards=False)
    # It is made anew over an earlier one, and of docstrings there is nothing to say.
    assert remarks == []
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched_browser() as browser:
        yield browser


class Visit:
    """A page in the browser, and what it complained about and asked for."""

    def __init__(self, browser: Browser, size: dict[str, int] = DESKTOP, color: str = "light") -> None:
        context = browser.new_context(viewport=size, color_scheme=color, reduced_motion="reduce")
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        self.page.on("requestfailed", lambda request: self.errors.append(f"{request.url} failed"))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def outside(self) -> list[str]:
        return [url for url in self.asked if not url.startswith(("file:", "data:", "blob:", "about:"))]


def addresses(page: str) -> list[str]:
    return re.findall(r'<(?:a|link|script|img|iframe)\b[^>]*?\s(?:href|src)="([^"]+)"', page)


@pytest.mark.slow
def test_every_link_leads_somewhere(built):
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(built.rglob("*.html"))}
    names = {path: set(re.findall(r'\s(?:id|name)="([^"]+)"', text)) for path, text in pages.items()}
    dead = []
    for path, text in pages.items():
        for address in addresses(text):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            lost = parts.fragment and target in names and unquote(parts.fragment) not in names[target]
            if not target.is_file() or lost:
                dead.append(f"{path.relative_to(built)}: {address}")
    assert dead == []
    assert {f"{chapter.slug}.html" for chapter in CHAPTERS} <= {path.name for path in pages}
    assert max(path.stat().st_size for path in pages) < 3_000_000
    assert len(list(built.rglob("plotly*.js"))) == 1


@pytest.mark.slow
def test_pages_on_a_phone_and_in_the_dark(built, browser):
    """On a phone, in the dark: nothing is wider than the page, no error, no request to anybody else."""
    visit = Visit(browser, PHONE, "dark")
    wide = []
    for path in sorted(built.rglob("*.html")):
        if path.parent.name == "reference" and path.name not in ("index.html", "part_utils.autoencoder.html"):
            continue
        visit.page.goto(path.as_uri())
        if visit.page.evaluate("document.documentElement.scrollWidth") > PHONE["width"]:
            wide.append(path.name)
    assert wide == []
    assert visit.errors == []
    assert visit.outside() == []


@pytest.mark.slow
def test_figures_are_drawn_and_formulas_shown(built, browser):
    visit = Visit(browser)
    page = visit.page
    page.goto((built / "chapters" / "02_sparse_autoencoder.html").as_uri())
    # As somebody who reads on: each figure is drawn when it comes into sight.
    figures = page.locator("figure.plotly")
    assert figures.count() >= 10
    for number in range(figures.count()):
        figure = figures.nth(number)
        figure.scroll_into_view_if_needed()
        figure.locator(".main-svg").first.wait_for()
        assert figure.locator("img").get_attribute("alt") not in ("", "A figure.")
    assert (
        page.evaluate(
            "performance.getEntriesByName(document.querySelector('script[src*=plotly]').src).length"
        )
        <= 1
    )
    formula = page.locator("div.math math").first
    assert formula.bounding_box()["height"] > 20
    page.evaluate("document.fonts.ready")
    assert page.evaluate("[...document.fonts].some(f => f.family.includes('STIX') && f.status === 'loaded')")
    assert visit.errors == []
    assert visit.outside() == []


@pytest.mark.slow
def test_solutions_are_out_of_sight_until_they_are_asked_for(built, browser):
    page = Visit(browser).page
    page.goto((built / "chapters" / "00_start_here.html").as_uri())
    solution = page.locator("details.solution").first
    assert not solution.is_visible()
    assert "raise NotImplementedError" in page.locator("article").inner_text()
    assert "BEGIN SOLUTION" not in page.content()
    page.get_by_label("Show the solutions").press("Space")
    assert "einsum" in solution.inner_text()
    page.reload()
    assert solution.is_visible()
    assert page.locator(".do-it", has_text='check("0.1")').count() == 1


@pytest.mark.slow
def test_the_search_works_without_a_server(built, browser):
    visit = Visit(browser)
    visit.page.goto((built / "index.html").as_uri())
    visit.page.get_by_placeholder("Search").first.fill("resampling")
    visit.page.keyboard.press("Enter")
    visit.page.locator("#search-results li", has_text="Neuron resampling").first.wait_for()
    visit.page.locator("#search-results li a", has_text="Neuron resampling").first.click()
    assert "03_resampling" in visit.page.url
    assert visit.errors == []


CHAPTER_PAGES = tuple(f"chapters/{chapter.slug}.html" for chapter in CHAPTERS)
# One page of each kind, and of the chapters those with the most kinds of cells: formulas, code, figures; colored text.
KINDS = (
    "index.html",
    "six_weeks.html",
    "reference/part_utils.autoencoder.html",
    "search.html",
    CHAPTER_PAGES[0],
    CHAPTER_PAGES[5],
)


@pytest.mark.slow
@pytest.mark.parametrize("color", ["light", "dark"])
def test_accessibility(built, browser, color):
    sync = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    visit = Visit(browser, color=color)
    found = {}
    for name in KINDS:
        visit.page.goto((built / name).as_uri())
        # The colors of code are the same on every page, and looking at each word of it takes most of the time.
        context = None if name == CHAPTER_PAGES[0] else {"exclude": [[".highlight"]]}
        results = sync.Axe().run(visit.page, context, {"resultTypes": ["violations"]})
        for fault in results.response["violations"]:
            if fault["impact"] in ("serious", "critical"):
                found[f"{name}: {fault['id']}"] = [node["html"][:200] for node in fault["nodes"][:3]]
    assert found == {}


def test_six_weeks_names_exercises_that_there_are():
    known = {exercise.id for chapter in CHAPTERS for exercise in chapter.exercises}
    text = (folders.ROOT / "docs" / "six_weeks.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\b\d\.\d+\b", text)) <= known
