"""Figures of a notebook that ran without a front end, on the page that nbconvert makes of it."""

import re

import nbformat
import plotly.graph_objects as go
import plotly.io as pio
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from plotly.offline import get_plotlyjs

from part_utils.plots.on_pages import NAME, OnPages, show_on_pages
from tests.browser import launched_browser

SOURCE = """import torch
from part_utils.plots.toy_model import plot_features_in_2d
plot_features_in_2d(torch.eye(2)[None], titles=["</script><b>one"])"""


def test_a_choice_of_renderer_is_kept(monkeypatch):
    before = pio.renderers.default
    try:
        monkeypatch.delenv("PLOTLY_RENDERER", raising=False)
        for chosen in ("png", "plotly_mimetype+png"):
            pio.renderers.default = chosen
            show_on_pages()
            assert pio.renderers.default == chosen
        pio.renderers.default = "plotly_mimetype"
        monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
        show_on_pages()
        assert pio.renderers.default == "plotly_mimetype"
        monkeypatch.delenv("PLOTLY_RENDERER")
        show_on_pages()
        assert pio.renderers.default == NAME
    finally:
        pio.renderers.default = before


def test_a_figure_stays_small():
    figure = go.Figure(go.Scatter(y=list(range(5000))), layout={"meta": {"alt": "A <line>"}})
    bundle = OnPages().to_mimebundle(figure.to_dict())
    assert set(bundle) == {"application/vnd.plotly.v1+json", "text/html"}
    assert len(bundle["text/html"]) < len(figure.to_json()) * 0.7
    assert "A &lt;line&gt;" in bundle["text/html"]


@pytest.mark.slow
@pytest.mark.parametrize("network", [True, False])
def test_on_a_page_of_nbconvert(tmp_path, monkeypatch, network):
    exporters = pytest.importorskip("nbconvert.exporters")
    for variable in ("PLOTLY_RENDERER", "VSCODE_PID", "COURSE_STATIC"):
        monkeypatch.delenv(variable, raising=False)
    notebook = new_notebook(cells=[new_code_cell(SOURCE), new_code_cell(SOURCE)])
    NotebookClient(notebook, kernel_name="python3", timeout=100).execute()
    page = tmp_path / "page.html"
    page.write_text(exporters.HTMLExporter().from_notebook_node(nbformat.from_dict(notebook))[0])
    assert page.stat().st_size < 1_500_000
    asked = []

    def serve(route):
        asked.append(route.request.url)
        if network and "plot.ly" in route.request.url:
            route.fulfill(
                body=get_plotlyjs(),
                content_type="text/javascript; charset=utf-8",
                headers={"Access-Control-Allow-Origin": "*"},
            )
        else:
            route.abort()

    with launched_browser() as browser:
        opened = browser.new_page()
        opened.route(re.compile("^https:"), serve)
        opened.goto(page.as_uri())
        if network:
            opened.wait_for_function("document.querySelectorAll('.js-plotly-plot .main-svg').length >= 4")
            assert "loaded from the internet" not in opened.inner_text("body")
        else:
            opened.wait_for_load_state("networkidle")
            assert opened.get_by_text("loaded from the internet").count() == 2
    assert len([url for url in asked if "plot.ly" in url]) == 1
