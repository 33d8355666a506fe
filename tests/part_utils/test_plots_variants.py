"""Figures of shrinkage, absorption, the wrong L0 and the frontier, and the explorer of absorption."""

import pytest
import torch

from part_utils.absorption import Absorption
from part_utils.frontier import FrontierPoint, load_frontier
from part_utils.l0_sweep import L0Result
from part_utils.plots import variants as plots
from part_utils.widgets import absorption as widget


def result(name: str = "a kind") -> Absorption:
    return Absorption(
        name,
        absorbed=torch.tensor([1.0, 0.0]),
        recall_alone=torch.tensor([1.0, 0.9]),
        recall_with_child=torch.tensor([0.0, 0.8]),
        child_row=torch.tensor([[0.7, 0.6], [0.1, 0.99]]),
        parent_row=torch.tensor([[1.0, 0.0], [0.9, 0.3]]),
        fvu=torch.tensor([0.01, 0.02]),
        l0=0.7,
    )


def test_the_plane_has_an_arrow_for_each_world_and_a_panel_for_each_kind() -> None:
    fig = plots.plot_absorption_plane([result("one"), result("two"), result("three")], columns=2)
    child = fig.data[0]
    assert child.x == (0.0, 0.6, None, 0.0, 0.99, None)
    assert child.y == (0.0, 0.7, None, 0.0, 0.1, None)
    assert [a.text for a in fig.layout.annotations] == ["one", "two", "three"]
    assert "0.10 along the parent" in fig.layout.meta["alt"]


def test_recall_has_a_dot_for_each_world() -> None:
    fig = plots.plot_recall([result()])
    assert [list(trace.y) for trace in fig.data] == [[1.0, 0.9], [0.0, 0.8]]
    assert "0.95 without and 0.40 with" in fig.layout.meta["alt"]


def test_the_kernel_has_the_area_one() -> None:
    kernel = plots.plot_jumprelu(threshold=0.5, bandwidth=0.4).data[2]
    step = kernel.x[1] - kernel.x[0]
    assert sum(kernel.y) * step == pytest.approx(1, abs=0.03)


def test_shrinkage_and_sweep_show_what_was_measured() -> None:
    fig = plots.plot_shrinkage_line((0.1, 0.2), [[0.9, 0.8], [0.7, 0.6]], {"formula": (0.85, 0.65)})
    assert list(fig.data[1].x) == [0.1, 0.1, 0.2, 0.2]
    assert "0.85 at 0.1" in fig.layout.meta["alt"]
    sweep = L0Result(1, 1.6, torch.tensor([0.6, 0.8]), torch.tensor([0.9, 0.9]), torch.tensor([0.1, 0.3]))
    fig = plots.plot_l0_sweep([sweep])
    assert fig.data[0].y[0] == pytest.approx(0.7)
    assert fig.data[0].error_y.array[0] == pytest.approx(0.1)


@pytest.mark.parametrize("value", ["fvu", "recovered"])
def test_the_frontier_has_a_line_for_each_kind_in_the_order_of_l0(value: str) -> None:
    points = [FrontierPoint("TopK", 8, 8.0, 0.3, 0.8, 0.0), FrontierPoint("TopK", 4, 4.0, 0.4, 0.7, 0.0)]
    points += [FrontierPoint("neurons", 4, 4.0, 0.5, 0.6, 0.0)]
    fig = plots.plot_frontier(points, value=value)
    assert list(fig.data[0].x) == [4.0, 8.0]
    assert fig.data[1].name == "neurons, no autoencoder"
    budget, shipped = load_frontier()
    assert budget.steps > 0
    assert {"TopK", "neurons"} <= {point.kind for point in shipped}


def test_the_explorer_trains_once_for_each_value(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def train(name: str, world: object, l1_coeff: float) -> tuple[Absorption, None, None]:
        asked.append(world.child)  # type: ignore[attr-defined]
        return result(name), None, None

    monkeypatch.setattr(widget, "train_on_hierarchy", train)
    widget.absorption_at.cache_clear()
    monkeypatch.setenv("COURSE_STATIC", "1")
    assert widget.absorption_explorer(0.4).layout.title.text == "absorbed in 1 of 2 worlds"
    monkeypatch.delenv("COURSE_STATIC")
    slider = widget.absorption_explorer(0.4).children[0]
    slider.value = 0.1
    slider.value = 0.4
    assert asked == [0.4, 0.1]
    widget.absorption_at.cache_clear()
