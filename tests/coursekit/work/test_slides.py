"""`course slides`: what is on a slide and what is in its notes. In a browser: keys, figures, notes, no request."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import nbformat
import plotly.graph_objects as go
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from typer.testing import CliRunner

from coursekit import CHAPTERS, chapter, folders
from coursekit.commands.cli import app
from coursekit.errors import CourseError
from coursekit.work.page import PLOTLY
from coursekit.work.slides import write_slides
from tests.browser import launched_browser

if TYPE_CHECKING:
    from pathlib import Path

FIGURE = json.loads(go.Figure(go.Scatter(x=[1, 2], y=[2, 1]), layout={"width": 400, "height": 300}).to_json())
CELLS = (
    new_markdown_cell("# Chapter 2\n\n**After this chapter you will be able to**\n\n- do it"),
    new_markdown_cell(
        "## Why $x_1$ is *rare*\n\n$$y = x$$\n\nMost features are absent. The rest is said aloud.\n\n"
        "<details><summary>Q</summary>\n\nhidden answer\n\n</details>"
    ),
    new_markdown_cell("Look at this picture."),
    new_code_cell("plot()", outputs=[new_output("display_data", data={PLOTLY: FIGURE})]),
    new_markdown_cell("### Exercise 2.1 · The parameters\n\nWrite it.", id="statement-2-1"),
    new_code_cell("def f(): ...", id="exercise-2-1"),
    new_markdown_cell("## The end\n\n- a list first\n\nIt is over."),
)


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """A checkout with a solved chapter 2 of a few cells."""
    monkeypatch.setattr(folders, "ROOT", tmp_path)
    path = folders.solved_path(chapter("02"))
    path.parent.mkdir(parents=True)
    nbformat.write(new_notebook(cells=list(CELLS)), path)
    return tmp_path


def slides_of(text: str) -> list[tuple[str, str]]:
    """What each slide shows, and its notes."""
    return re.findall(
        r'<section class="slide.*?<div class="shown">(.*?)</div><aside.*?>(.*?)</aside>', text, re.S
    )


def test_a_section_is_its_title_and_first_sentence_and_a_figure_has_a_slide(small):
    target, count = write_slides(chapter("02"), small / "s.html")
    text = target.read_text()
    title, why, figure, end = slides_of(text)
    assert count == 4
    assert "A sparse autoencoder on the toy model" in title[0]
    assert "<math" in why[0]
    assert "<em>rare</em>" in why[0]
    assert "Most features are absent." in why[0]
    assert "said aloud" not in why[0]
    assert "said aloud" in why[1]
    assert "Exercise 2.1 is here." in why[1]
    assert '<figure class="plotly"' in figure[0]
    assert "Look at this picture." in figure[1]
    assert "It is over." in end[0]
    assert "hidden answer" not in text
    assert text.count("plotly.js v") == 1


@pytest.mark.parametrize("item", CHAPTERS, ids=[item.slug for item in CHAPTERS])
def test_every_chapter_has_slides(item, tmp_path):
    target, count = write_slides(item, tmp_path / "s.html")
    shown = [shown for shown, _ in slides_of(target.read_text())]
    assert count == len(shown) >= 4
    assert all(re.search(r"<h[12]>[^<\s]", slide) or "<math" in slide for slide in shown)


def test_where_none_can_be_made(small):
    (small / "mine.html").write_text("dear diary")
    with pytest.raises(CourseError, match="is not a page that this command wrote"):
        write_slides(chapter("02"), small / "mine.html")
    assert (small / "mine.html").read_text() == "dear diary"
    with pytest.raises(CourseError, match="only a checkout"):
        write_slides(chapter("03"), small / "s.html")


def test_the_command(small, monkeypatch):
    monkeypatch.chdir(small)
    for _ in range(2):  # they may be made again
        outcome = CliRunner().invoke(app, ["slides", "2"])
        assert outcome.exit_code == 0, outcome.output
    assert (small / "02_sparse_autoencoder_slides.html").exists()
    assert CliRunner().invoke(app, ["slides", "99"]).exit_code == 2


def test_in_a_browser(small):
    target, _ = write_slides(chapter("02"), small / "s.html")
    with launched_browser() as browser:
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        errors, asked = [], []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(target.as_uri())
        assert page.locator(".slide:visible h1").inner_text() == "A sparse autoencoder on the toy model"
        for key in ("ArrowRight", "PageDown"):
            page.keyboard.press(key)
        figure = page.locator(".slide:visible figure .main-svg").first
        figure.wait_for()
        page.wait_for_function("document.querySelector('.slide.now figure').style.transform !== ''")
        assert figure.bounding_box()["width"] > 600  # 400 by itself
        assert not page.locator(".notes:visible").count()
        page.keyboard.press("n")
        assert "Look at this picture." in page.locator(".notes:visible").inner_text()
        page.get_by_label("On", exact=True).click()
        assert "It is over." in page.locator(".slide:visible").inner_text()
        page.reload()
        assert page.locator("#place").inner_text() == "4 / 4"
        page.keyboard.press("ArrowRight")
        assert page.locator("#place").inner_text() == "4 / 4"
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
