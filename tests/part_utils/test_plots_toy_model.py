import asyncio
import json
from collections.abc import Callable

import plotly.graph_objects as go
import pytest
import torch

from part_utils.plots import toy_model as plots
from part_utils.plots.theme import MAX_WIDTH, rounded, styled, with_alt
from part_utils.toy_model import ToyModel, ToyModelConfig
from part_utils.training import TrainingLog
from part_utils.widgets.toy_model import debounced, toy_model_explorer, toy_model_figure


def figures() -> dict[str, tuple[Callable[..., go.Figure], list[torch.Tensor], dict]]:
    """Every plot with the tensors it draws."""
    torch.manual_seed(0)
    W, batch = torch.randn(8, 2, 5), torch.rand(20, 8, 5) * (torch.rand(20, 8, 5) < 0.3)
    hidden = torch.einsum("bif,ihf->bih", batch, W)
    big = torch.randn(6, 20, 100) / 5
    titles = {"titles": [f"p = {i}" for i in range(8)], "title": "A title"}
    return {
        "2d": (plots.plot_features_in_2d, [W], {"importance": torch.rand(5), "hidden": hidden, **titles}),
        "2d groups": (plots.plot_features_in_2d, [W[:2]], {"groups": [0, 0, 1, 1, 2]}),
        "2d one": (plots.plot_features_in_2d, [W[:1]], {}),
        "hidden": (plots.plot_hidden_states, [hidden], {"features": batch, "W": W, **titles}),
        "Nd": (plots.plot_features_in_Nd, [big], {}),
        "cosines": (plots.plot_cosine_similarities, [W], titles),
        "matrices": (plots.plot_matrices, [torch.randn(3, 10, 5)], {"bar_title": "weight"}),
        "pairs": (plots.plot_correlated_features, [batch[:, 0, :4]], {}),
        "dimensionality": (plots.plot_dimensionality, [big, torch.linspace(1, 0.1, 6).unsqueeze(1)], {}),
        "double descent": (
            plots.plot_double_descent,
            [torch.tensor([3, 10, 100]), torch.rand(3), torch.rand(3)],
            {"feature_dimensionality": [torch.rand(5)] * 3, "datapoint_dimensionality": [torch.rand(4)] * 3},
        ),
        "double descent geometry": (
            lambda a, b, **kwargs: plots.plot_double_descent_geometry([a, a], [b, b], [4, 4], **kwargs),
            [torch.randn(2, 6), torch.randn(4, 2)],
            {},
        ),
    }


@pytest.mark.parametrize("name", figures())
def test_plots_return_a_small_described_figure_and_leave_their_input_alone(name: str) -> None:
    plot, tensors, options = figures()[name]
    before = [tensor.clone() for tensor in tensors]
    for tensor in tensors:
        if tensor.is_floating_point():
            tensor.requires_grad_()  # weights come straight from a model
    fig = plot(*tensors, **options)
    assert isinstance(fig, go.Figure)
    assert len(fig.layout.meta["alt"]) > 40
    assert fig.layout.width <= MAX_WIDTH
    assert len(fig.to_json()) < 400_000
    assert "bdata" not in fig.to_json()
    for tensor, old in zip(tensors, before, strict=True):
        assert torch.equal(tensor, old)


def test_training_loss_plot() -> None:
    log = TrainingLog()
    for step in range(10):
        log.add(step, loss=1.0 / (step + 1))
    fig = plots.plot_training_loss(log, log, names=["a", "b"])
    assert [trace.name for trace in fig.data] == ["a", "b"]
    assert "over 10 steps" in fig.layout.meta["alt"]


def test_arrows_end_at_the_columns_of_W() -> None:
    W = torch.tensor([[[0.5, -1.0], [0.25, 0.0]]])
    arrows = [trace for trace in plots.plot_features_in_2d(W).data if trace.mode == "lines+markers"]
    assert [(trace.x[1], trace.y[1]) for trace in arrows] == [(0.5, 0.25), (-1.0, 0.0)]


def test_heat_maps_have_a_frame_and_room_for_the_title_of_their_colors() -> None:
    W = torch.zeros(2, 4, 10)
    for fig, bar_title in (
        (plots.plot_matrices(W, bar_title="W"), "W<br>&nbsp;"),
        (plots.plot_features_in_Nd(W), "WᵀW<br>&nbsp;"),
    ):
        heat_maps = [trace for trace in fig.data if trace.type == "heatmap"]
        assert len(heat_maps) == 2
        for trace in heat_maps:
            for axis, name in ((trace.xaxis, "xaxis"), (trace.yaxis, "yaxis")):
                line = fig.layout[name + (axis or "x")[1:]]
                assert line.showline
                assert line.mirror
        assert fig.layout.coloraxis.colorbar.title.text == bar_title


def test_probability_titles() -> None:
    assert plots.probability_titles(torch.tensor([[1.0, 1.0], [0.0204, 0.5]])) == ["p = 1", "p = 0.02"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: plots.plot_features_in_2d(torch.rand(2, 3, 5)),
            "2 dimensions, got 3; try plot_features_in_Nd",
        ),
        (lambda: plots.plot_features_in_2d(torch.rand(2, 5)), r"W must have 3 axes"),
        (lambda: plots.plot_features_in_2d(torch.rand(2, 2, 5), titles=["a"]), "1 titles for 2 instances"),
        (
            lambda: plots.plot_features_in_2d(torch.rand(2, 2, 5), importance=[1.0]),
            "1 entries for 5 features",
        ),
        (lambda: plots.plot_features_in_2d(torch.rand(2, 2, 5), groups=[1]), "1 entries for 5 features"),
        (lambda: plots.plot_features_in_Nd(torch.rand(9, 2, 5)), "room for 8 instances, got 9"),
        (lambda: plots.plot_correlated_features(torch.rand(9, 5)), "even number of features, got 5"),
        (lambda: plots.plot_double_descent([1, 2], [0.1], [0.1, 0.2]), "train_loss has 1 values for 2"),
        (lambda: plots.plot_double_descent_geometry([], [], [3]), "each of the 1 dataset sizes"),
        (lambda: plots.plot_training_loss(), "at least one training log"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(call: Callable[[], go.Figure], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_theme() -> None:
    assert rounded(torch.tensor([[0.12345, -0.0001]])) == [[0.123, 0.0]]
    fig = with_alt(styled(go.Figure(), title="x", width=5000, height=100), "a description")
    assert json.loads(fig.to_json())["layout"]["meta"] == {"alt": "a description"}
    assert fig.layout.width == MAX_WIDTH


# The widget


def test_explorer_is_a_plain_figure_where_no_kernel_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_STATIC", "1")
    fig = toy_model_explorer()
    assert isinstance(fig, go.Figure)
    assert fig.to_json() == toy_model_figure().to_json()


def test_moving_a_slider_trains_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COURSE_STATIC", raising=False)
    seen = []
    monkeypatch.setattr(
        "part_utils.widgets.toy_model.toy_model_figure", lambda *args: seen.append(args) or go.Figure()
    )
    widget = toy_model_explorer()
    assert seen == [(0.05, 0.9, 5)]
    assert len(widget.children[-1].outputs) == 1
    widget.children[2].value = 7
    widget.children[1].value = 0.5
    assert seen[1:] == [(0.05, 0.9, 7), (0.05, 0.5, 7)]
    assert len(widget.children[-1].outputs) == 1


def test_many_quick_changes_cause_one_training() -> None:
    calls = []

    async def drag() -> None:
        call = debounced(lambda: calls.append(1), wait=0.01)
        for _ in range(50):
            call({"new": 1})
        assert calls == []
        while not calls:
            await asyncio.sleep(0.01)

    asyncio.run(drag())
    assert calls == [1]


def test_features_of_more_than_the_hidden_dimensions_can_be_drawn_from_a_model() -> None:
    model = ToyModel(ToyModelConfig(2, 12, 2), 0.1)
    assert len(plots.plot_features_in_2d(model.W, importance=model.importance).data) > 24
