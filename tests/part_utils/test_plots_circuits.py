"""The figures of chapter 7, the graph's page and its widget, on a small graph."""

from html.parser import HTMLParser
from pathlib import Path

from part_utils.graph_page import graph_page, save_graph
from part_utils.plots import circuits as plots
from part_utils.prompt_graph import Graph


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_the_page_has_each_edge_and_node_once_and_runs_no_text(graph: Graph, tmp_path: Path) -> None:
    page = save_graph(graph, tmp_path / "graph.html").read_text(encoding="utf-8")
    assert page == graph_page(graph)
    seen = Tags(page).seen
    assert sum(tag == "path" for tag, _ in seen) == 5
    names = [attrs["data-name"] for tag, attrs in seen if tag == "g"]
    assert sorted(names) == sorted(["logit", "latent 17", "error", *(f"token {i}" for i in range(4))])
    assert [tag for tag, _ in seen].count("script") == 1
    assert not {"i", "b", "s"} & {tag for tag, _ in seen}
    assert "http" not in page


def test_an_edge_of_what_is_missed_is_gray(graph: Graph) -> None:
    kinds = {a["data-source"]: a["class"] for tag, a in Tags(graph_page(graph)).seen if tag == "path"}
    assert kinds["error"] == "edge missed"
    assert kinds["latent 17"] == "edge takes"


def test_the_figure_says_what_is_largest(graph: Graph) -> None:
    fig = plots.plot_graph(graph)
    widths = sorted((t.line.width for t in fig.data if t.mode == "lines"), reverse=True)
    assert widths[0] == 10
    assert "directly: +3.00" in fig.layout.meta["alt"]
    assert "3 of 9" not in fig.layout.meta["alt"]
    assert fig.layout.meta["alt"].startswith("4 of 9 edges carry 80%")


def test_predicted_and_measured_and_spread() -> None:
    fig = plots.plot_predicted_and_measured([1.0, 2.0], [1.5, 2.0], ["one", "two"])
    assert "largest difference is 0.50" in fig.layout.meta["alt"]
    fig = plots.plot_spread({"a": [0.1, 0.3], "b": [0.2]}, "title", "F1")
    assert "a 0.100 to 0.300" in fig.layout.meta["alt"]
