"""Figures of the phase diagram, of learning, and of shrinkage, and which frames an animation takes."""

import itertools

import pytest
import torch

from part_utils import recovery
from part_utils.phase_diagram import STATES, PhaseDiagram
from part_utils.plots.autoencoder import frame_records
from part_utils.plots.experiments import animate_learning, plot_phase_diagrams, plot_shrinkage
from part_utils.plots.toy_model import plot_features_in_2d, plot_hidden_states
from part_utils.shrinkage import Shrinkage
from part_utils.toy_model import ToyModel, ToyModelConfig
from part_utils.training import TrainingLog


def test_a_phase_diagram_names_each_cell_and_has_a_legend() -> None:
    diagram = PhaseDiagram((1.0, 0.1), (0.1, 1.0, 10.0), torch.tensor([[0, 0, 2], [1, 1, 1]]))
    fig = plot_phase_diagrams(diagram, diagram, titles=["a", "b"])
    heat = [trace for trace in fig.data if trace.type == "heatmap"]
    assert len(heat) == 2
    assert heat[0].text[0][2] == "own dimension"
    assert [trace.name for trace in fig.data if trace.type == "scatter"] == list(STATES)
    assert "1 own dimension" in fig.layout.meta["alt"]
    with pytest.raises(ValueError, match="at least one"):
        plot_phase_diagrams()


def test_learning_is_played_from_the_start_and_stands_at_the_end() -> None:
    torch.manual_seed(0)
    model = ToyModel(ToyModelConfig(2, n_features=3), feature_probability=0.1)
    log = model.optimize(steps=40, batch_size=16, record_weights=True, progress=False)
    fig = animate_learning(log, instance=1, max_frames=10)
    assert len(fig.frames) == 10
    assert (fig.frames[0].name, fig.frames[-1].name) == ("0", "39")
    assert fig.frames[0].traces == tuple(range(2, 6))
    arrow = fig.data[2]
    torch.testing.assert_close(
        torch.tensor([arrow.x[1], arrow.y[1]]), log["W"][-1][1, :, 0], atol=1e-3, rtol=0
    )
    assert fig.data[5].x == (39,)


def test_shrinkage_shows_each_model_beside_the_formula() -> None:
    sweep = [Shrinkage(0.1, 0.1, 0.12, 0.1, 0.8), Shrinkage(0.2, 0.2, 0.22, 0.2, 0.6)]
    fig = plot_shrinkage({"one": sweep, "other": sweep})
    assert fig.data[0].y == (0.1, 0.2)
    assert [trace.name for trace in fig.data[1:]] == ["one", "one", "other", "other"]
    assert "0.12 against 0.10 at 0.1" in fig.layout.meta["alt"]


def test_hidden_states_have_a_legend_and_leave_out_empty_inputs() -> None:
    features = torch.zeros(50, 2, 3)
    features[:20, :, 1] = 0.5
    features[:5, :, 2] = 0.5
    hidden = torch.randn(50, 2, 2)
    fig = plot_hidden_states(hidden, features=features, max_points=12)
    legend = [trace.name for trace in fig.data if trace.showlegend]
    assert legend == ["only feature 0", "only feature 1", "only feature 2", "several features"]
    points = [trace for trace in fig.data if trace.mode == "markers" and trace.x[0] is not None]
    assert [len(trace.x) for trace in points] == [12, 12]
    assert len(set(points[0].marker.color)) == 2


def test_one_importance_for_all_needs_no_color_bar() -> None:
    W = torch.randn(2, 2, 3)
    for importance, bars in ((torch.ones(3), 0), (torch.tensor([1.0, 0.5, 0.2]), 1)):
        fig = plot_features_in_2d(W, importance=importance)
        assert sum(bool(trace.marker.showscale) for trace in fig.data) == bars


def test_frames_stand_where_something_happens() -> None:
    log = TrainingLog()
    for step in range(100):
        angle = torch.tensor(min(step, 10) * 0.1)  # turns for ten steps, then rests
        W_dec = torch.stack([angle.cos(), angle.sin()]).view(1, 1, 2)
        log.add(step, loss=0.0, W_dec=W_dec, n_resampled=torch.tensor([[int(step >= 60)]]))
    frames = frame_records(log, 12)
    assert frames[0] == 0
    assert frames[-1] == 99
    assert len(frames) <= 12
    assert sum(frame <= 10 for frame in frames) >= 4
    assert any(57 <= frame <= 63 for frame in frames)
    assert frame_records(log, 12, until=30)[-1] == 30


def test_frames_of_a_run_at_rest_are_spread_evenly() -> None:
    model = recovery.model_with_directions([0, 90], feature_probability=0.1)
    log = TrainingLog()
    for step in range(50):
        log.add(step, loss=0.0, W_dec=model.W.detach().mT, n_resampled=torch.zeros(1, 2))
    frames = frame_records(log, 5)
    assert frames[0] == 0
    assert frames[-1] == 49
    assert max(b - a for a, b in itertools.pairwise(frames)) <= 14
