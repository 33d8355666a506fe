"""An interactive toy model: move a slider, and it is trained again in about a second."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import torch

from part_utils.plots.toy_model import plot_features_in_2d
from part_utils.toy_model import ToyModel, ToyModelConfig


def toy_model_figure(
    feature_probability: float = 0.05, importance_decay: float = 0.9, n_features: int = 5, seed: int = 0
) -> go.Figure:
    """Train four small models with these settings, from different initial weights, and draw their features."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ToyModel(
            ToyModelConfig(n_instances=4, n_features=n_features, n_hidden=2),
            feature_probability,
            importance_decay ** torch.arange(n_features),
        )
    model.optimize(batch_size=512, steps=800, lr=2e-2, seed=seed, progress=False)
    return plot_features_in_2d(
        model.W,
        importance=model.importance,
        titles=[f"start {i + 1}" for i in range(4)],
        title=f"{n_features} features, each present with probability {feature_probability:.2g}",
    )


def toy_model_explorer() -> Any:
    """Return sliders for sparsity, importance and number of features above the directions that a toy model learns.

    Returns a widget, or, where the environment variable COURSE_STATIC is 1, the figure for the initial settings.
    """
    if os.environ.get("COURSE_STATIC") == "1":
        return toy_model_figure()
    import ipywidgets as widgets

    style = {"style": {"description_width": "190px"}, "layout": widgets.Layout(width="520px")}
    probability = widgets.FloatLogSlider(
        value=0.05,
        base=10,
        min=-2,
        max=0,
        step=0.05,
        description="feature probability",
        readout_format=".3f",
        **style,
    )
    decay = widgets.FloatSlider(
        value=0.9, min=0.3, max=1.0, step=0.05, description="importance of each next one", **style
    )
    n_features = widgets.IntSlider(value=5, min=2, max=12, description="number of features", **style)
    picture = widgets.Output()

    def redraw() -> None:
        figure = toy_model_figure(probability.value, decay.value, n_features.value)
        # Not `with picture: display(figure)`: output that comes from a timer would not find its way into the picture.
        picture.outputs = (
            {"output_type": "display_data", "data": figure._repr_mimebundle_(), "metadata": {}},
        )

    redraw_soon = debounced(redraw)
    for slider in (probability, decay, n_features):
        slider.observe(redraw_soon, names="value")
    redraw()
    return widgets.VBox([probability, decay, n_features, picture])


def debounced(action: Callable[[], None], wait: float = 0.3) -> Callable[..., None]:
    """Run `action` once, `wait` seconds after the last of many calls; at once where no event loop runs.

    A slider reports every position it passes. Training for each of them would leave the reader waiting.
    """
    timer: asyncio.TimerHandle | None = None

    def call(*_: Any) -> None:
        nonlocal timer
        if timer is not None:
            timer.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            action()
        else:
            timer = loop.call_later(wait, action)

    return call
