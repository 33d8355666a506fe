"""`course demo`: what there is to show, and the pieces in a browser, with a kernel behind them."""

from __future__ import annotations

import importlib.util
import re

import nbformat
import pytest

from coursekit.catalogue import chapter
from coursekit.errors import CourseError
from coursekit.work import demo
from coursekit.work.demo_pieces import PIECES, pieces_of, saved_figure, show
from tests.browser import launched_browser


def test_every_piece_belongs_to_a_chapter_and_every_chapter_gets_its_notebook(tmp_path):
    assert {piece.chapter for piece in PIECES} == {item.number for item in demo.chapters_with_pieces()}
    demo.write_notebooks(tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    for item in demo.chapters_with_pieces():
        notebook = nbformat.read(tmp_path / f"{item.slug}.ipynb", as_version=4)
        nbformat.validate(notebook)
        titles = [cell.metadata["piece"]["title"] for cell in notebook.cells]
        assert titles == [piece.title for piece in pieces_of(item.number)]
        assert all(title in page for title in titles)
        assert f"{item.slug}.ipynb#{len(titles)}" in page


@pytest.mark.parametrize(
    ("number", "place", "frames"), [("01", 1, True), ("01", 2, False), ("03", 0, False), ("03", 1, True)]
)
def test_saved_figures_come_from_the_solved_notebooks(number, place, frames):
    figure = show(number, place)
    assert len(figure.data) > 1
    assert bool(figure.frames) == frames


def test_a_figure_that_is_not_there_is_named():
    with pytest.raises(CourseError, match=r"no figure of 'plot_nothing\(' *\. Run `course build 01`"):
        saved_figure("01", "plot_nothing(")


def test_a_chapter_without_pieces_says_which_have_some():
    with pytest.raises(CourseError, match="Chapter 0 has nothing interactive to show"):
        demo._require(chapter("00"))


def test_without_voila_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match=r"pip install -e '\.\[demo\]'"), demo.served():
        pass


def test_without_the_solved_notebooks_a_sentence_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "solved_path", lambda item: tmp_path / item.slug)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(CourseError, match="only a checkout of the repository has"):
        demo._require(None)


@pytest.fixture
def open_page():
    """Opens an address; the page, and what went wrong on it or was asked of others."""
    with launched_browser() as browser:
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.set_default_timeout(300_000)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda m: m.type == "error" and faults.append(m.text))
        page.on("request", lambda r: re.match(r"https?://(?!127\.0\.0\.1:)", r.url) and faults.append(r.url))

        def opened(address: str):
            page.goto(address, wait_until="commit")
            page.locator(".steps.ready").wait_for()
            page.locator("#loading").wait_for(state="detached")
            return page, faults

        yield opened


@pytest.mark.slow
def test_a_slider_and_a_figure_in_front_of_a_room(open_page):
    pytest.importorskip("voila")
    with demo.served(chapter("06")) as (address, _):
        page, faults = open_page(address)
        first, second = page.locator(".piece").all()
        first.get_by_text(re.compile("absorbed in .* worlds")).wait_for()
        assert not second.is_visible()
        assert not page.get_by_text("from coursekit").count()
        # Large: what is shown fills the height or the width of the window.
        box = first.locator(".fitted").bounding_box()
        assert box["height"] > 600 or box["width"] > 1400

        # Arrow keys on the slider move the slider: the kernel trains anew and the figure changes.
        first.get_by_role("slider").focus()
        page.keyboard.press("ArrowLeft")
        first.get_by_text("child where the parent is: 30%").wait_for()
        assert first.is_visible()

        page.keyboard.press("PageDown")
        second.locator(".main-svg").first.wait_for()
        assert not first.is_visible()
        assert "2 of 2" in page.locator("#place").inner_text()
        page.keyboard.press("PageUp")
        assert first.is_visible()
        assert faults == []


@pytest.mark.slow
def test_a_sentence_of_ones_own_and_steering(open_page):
    pytest.importorskip("voila")
    with demo.served(chapter("05")) as (address, _):
        page, faults = open_page(address)
        own = page.get_by_placeholder("your own text")
        own.fill("She said that he had never been there.")
        own.blur()
        page.get_by_text("of its largest, on").first.wait_for(state="attached")

        # Keys that are pressed inside the panels' frame count, too.
        page.frame_locator(".piece.now iframe").locator("h2").first.click()
        page.keyboard.press("PageDown")
        steered = page.locator(".piece.now")
        steered.get_by_text("of the probability has moved").wait_for()
        before = steered.locator("table").inner_text()
        steered.get_by_role("slider").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "text => document.querySelector('.piece.now table').innerText !== text", arg=before
        )
        assert faults == []
