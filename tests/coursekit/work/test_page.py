"""`course page`: whatever is in a notebook. In a browser: no request, figures, formulas, light and dark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import plotly.graph_objects as go
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from typer.testing import CliRunner

from coursekit.commands.cli import app
from coursekit.errors import CourseError
from coursekit.work.page import PLOTLY, WIDGET, page_html, write_page
from tests.browser import launched_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser

runner = CliRunner()
FIGURE = json.loads(
    go.Figure(
        go.Scatter(x=[1, 2, 3], y=[2, 1, 3], name="</script><b>x"),
        layout={"meta": {"alt": "Three <points>"}, "height": 300},
    ).to_json()
)
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def shown(data: dict[str, Any], **metadata: Any) -> Any:
    return new_output("display_data", data=data, metadata=metadata)


def cell(*outputs: Any, source: str = "x = 1  # <b>") -> Any:
    return new_code_cell(source, outputs=list(outputs))


def page_of(tmp_path: Path, *cells: Any, **metadata: Any) -> str:
    path = tmp_path / "some.ipynb"
    nbformat.write(new_notebook(cells=list(cells), metadata=metadata), path)
    return body(page_html(path))


def body(page: str) -> str:
    return page[page.index("<main>") : page.index("</main>")]


@pytest.mark.parametrize(
    ("text", "formulas", "kept"),
    [
        ("a $x_1 * y * z$ b", 1, ""),
        ("$$\n\\hat h = \\underbrace{a_f}_{\\text{one } f}\n= b\n$$", 1, ""),
        ("<details><summary>why $x$?</summary>\n\nas $y$\n\n</details>", 2, "<summary>why <math"),
        ("it costs $5 and $6", 0, "$5 and $6"),
        ("`$x$` and ``a ` $y$``", 0, "<code>$x$</code>"),
        ("```python\nf'$x$ and $y$'\n```", 0, "$x$ and $y$"),
        ("<code>$x$</code>", 0, "<code>$x$</code>"),
        (r"\$x\$", 0, "$x$"),
        ("![of $x$](gone.png)", 1, "<span>of <math"),
        ("$\\frac{$ and", 1, "<code>\\frac{</code>"),
    ],
)
def test_formulas(tmp_path, text, formulas, kept):
    page = page_of(tmp_path, new_markdown_cell(text))
    assert page.count("<math") + page.count("<code>\\") == formulas
    assert kept in page
    assert "\ue000" not in page


def test_pictures_of_a_text_are_in_the_page_and_nothing_is_asked_of_others(tmp_path):
    (tmp_path / "a picture.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    attached = new_markdown_cell("![c](attachment:c.png)", attachments={"c.png": {"image/png": PNG}})
    page = page_of(
        tmp_path,
        new_markdown_cell("![one](a%20picture.svg) ![two](https://example.org/b.png) ![three](no/such.png)"),
        new_markdown_cell("[![badge](https://example.org/badge.svg)](https://example.org/open)"),
        attached,
    )
    assert page.count("<img") == 2
    assert "data:image/svg+xml;base64," in page
    assert f"data:image/png;base64,{PNG}" in page
    assert "two" in page
    assert "three" in page
    assert '<a href="https://example.org/open"><span>badge</span></a>' in page


def test_links(tmp_path):
    page = page_of(
        tmp_path, new_markdown_cell("# A *fine* title\n\n[up](#A-fine-title) [next](../02/02.ipynb)")
    )
    assert '<h1 id="A-fine-title">' in page
    assert '<a href="#A-fine-title">up</a> next' in page


def test_outputs(tmp_path):
    page = page_of(
        tmp_path,
        cell(new_output("stream", name="stdout", text="\x1b[31mred\x1b[0m <b>\n 10%\r100%\n")),
        cell(new_output("error", ename="E", evalue="v", traceback=["\x1b[0;31mE\x1b[0m: v<"])),
        cell(shown({"text/html": "<i>it</i>", "text/plain": "no"})),
        cell(shown({"image/png": PNG, "text/plain": "no"}, **{"image/png": {"alt": 'a "dot"'}})),
        cell(shown({"text/markdown": "*so* $x$"}), shown({"text/latex": "$$x^2$$"})),
        cell(shown({"text/plain": "<plain>"}), shown({"application/x+json": 3})),
    )
    assert "red &lt;b&gt;\n100%" in page
    assert "E: v&lt;" in page
    assert "<i>it</i>" in page
    assert 'alt="a &quot;dot&quot;"' in page
    assert page.count("<math") == 2
    assert "&lt;plain&gt;" in page
    assert ">no<" not in page


def test_a_figure_stands_in_the_page_once(tmp_path):
    page = page_of(tmp_path, cell(shown({PLOTLY: FIGURE, "image/png": PNG, "text/html": "again"})))
    assert page.count('<figure class="plotly"') == 1
    assert 'aria-label="Three &lt;points&gt;"' in page
    assert "again" not in page
    inside = re.search(r'<script type="application/json">(.*?)</script>', page, re.S)
    assert json.loads(inside[1]) == FIGURE


def test_plotly_is_there_once_and_only_for_figures(tmp_path):
    path = tmp_path / "some.ipynb"
    nbformat.write(new_notebook(cells=[cell()]), path)
    assert len(page_html(path)) < 50_000
    nbformat.write(new_notebook(cells=[cell(shown({PLOTLY: FIGURE})) for _ in range(3)]), path)
    assert page_html(path).count("plotly.js v") == 1


def test_a_widget_is_what_was_saved_of_it(tmp_path):
    view = cell(shown({WIDGET: {"model_id": "box"}, "text/plain": "VBox()"}))
    assert "in the notebook only" in page_of(tmp_path, view)
    states = {
        "box": {"state": {"children": ["IPY_MODEL_html", "IPY_MODEL_out", "IPY_MODEL_box"]}},
        "html": {"state": {"_model_name": "HTMLModel", "value": "<b>found</b>"}},
        "out": {"state": {"outputs": [{"output_type": "stream", "name": "stdout", "text": "printed"}]}},
    }
    saved = {"application/vnd.jupyter.widget-state+json": {"state": states}}
    page = page_of(tmp_path, view, widgets=saved)
    assert "<b>found</b>" in page
    assert "printed" in page


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "layout", "text/html", "text/plain", PLOTLY, WIDGET, "image/png", "model_id", "text"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
OUTPUTS = st.lists(
    st.fixed_dictionaries(
        {"output_type": st.sampled_from(["display_data", "stream", "error", "execute_result"])},
        optional={"data": JSON, "metadata": JSON, "text": JSON, "traceback": JSON},
    )
    | JSON,
    max_size=3,
)


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    source=st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("$`\\<>_{}"), max_size=30),
    outputs=OUTPUTS,
)
def test_strange_cells_are_written_too(tmp_path_factory, source, outputs):
    path = tmp_path_factory.mktemp("page") / "n.ipynb"
    cells = [
        {"cell_type": "markdown", "source": source, "metadata": {}, "attachments": outputs},
        {"cell_type": "code", "source": source, "outputs": outputs, "metadata": {}},
    ]
    path.write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {"widgets": outputs}, "cells": cells})
    )
    assert page_html(path).startswith("<!doctype html>")


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = tmp_path / "notebooks" / "my.ipynb"
    notebook.parent.mkdir()
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Mine & yours")]), notebook)
    before = notebook.read_bytes()
    for _ in range(2):  # a page may be written again
        outcome = runner.invoke(app, ["page", str(notebook)])
        assert outcome.exit_code == 0
    assert "<title>Mine &amp; yours</title>" in (tmp_path / "my.html").read_text()
    assert notebook.read_bytes() == before


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (".", "is a folder"),
        ("no/where.html", "no folder"),
        ("n.ipynb", "the notebook itself"),
        ("a.txt", "Name another"),
    ],
)
def test_where_no_page_may_be_written(tmp_path, monkeypatch, output, reason):
    monkeypatch.chdir(tmp_path)
    nbformat.write(new_notebook(), tmp_path / "n.ipynb")
    (tmp_path / "a.txt").write_text("dear diary")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CourseError, match=reason):
        write_page(Path("n.ipynb"), Path(output))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched_browser() as browser:
        yield browser


@pytest.mark.parametrize("color", ["light", "dark"])
def test_in_a_browser(browser, tmp_path, color):
    """A page that tries to ask others for something does not get to."""
    nosy = '<img src="https://example.org/i.png"><script src="https://example.org/s.js"></script>'
    reach = "<script>fetch('https://example.org/f').catch(() => { window.refused = true })</script>"
    frame = '<iframe srcdoc="<p>inside</p><script>document.body.append(1 + 1)</script>"></iframe>'
    page_of(
        tmp_path,
        new_markdown_cell("# T\n\n$$\\hat h = \\frac{a}{b}$$\n\n" + nosy),
        cell(shown({PLOTLY: FIGURE})),
        cell(shown({PLOTLY: FIGURE}), shown({"text/html": nosy + reach + frame})),
    )
    page = browser.new_page(color_scheme=color)
    asked, errors = [], []
    # What the page's own policy refuses never comes this far.
    page.route(re.compile("^(https?|wss?):"), lambda route: [asked.append(route.request.url), route.abort()])
    page.on("pageerror", lambda error: errors.append(str(error)))
    written = write_page(tmp_path / "some.ipynb", tmp_path / "some.html")
    page.goto(written.as_uri())
    page.wait_for_function(
        "document.querySelectorAll('figure.plotly .main-svg .scatterlayer path').length >= 2"
    )
    page.wait_for_function("window.refused")
    assert asked == []
    assert errors == []
    assert page.locator("math mfrac").first.bounding_box()["height"] > 15
    assert page.frame_locator("iframe").locator("body").inner_text().split() == ["inside", "2"]
    text, background = page.evaluate(
        "() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor] }"
    )
    brightness = [sum(map(int, re.findall(r"\d+", value)[:3])) for value in (text, background)]
    assert (brightness[0] < brightness[1]) == (color == "light")
    page.close()
