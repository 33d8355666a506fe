"""An interactive view of an autoencoder's training: choose an instance and a step, and see where it stands."""

import os
from typing import Any

import plotly.graph_objects as go
import torch
from IPython.display import display
from jaxtyping import Float
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.hidden_states import hidden_states
from part_utils.plots.autoencoder import plot_directions_2d, silent_latents
from part_utils.toy_model import ToyModel
from part_utils.training import TrainingLog
from part_utils.widgets.toy_model import debounced


def autoencoder_at(log: TrainingLog, record: int) -> AutoEncoder:
    """Return the (untied) autoencoder that computed what the trained one did at a record of its log."""
    n_instances, n_hidden_ae, n_input_ae = log["W_dec"][record].shape
    autoencoder = AutoEncoder(AutoEncoderConfig(n_instances, n_input_ae, n_hidden_ae))
    autoencoder.load_state_dict({name: log[name][record] for name in ("W_enc", "W_dec", "b_enc", "b_dec")})
    return autoencoder


def autoencoder_figure(
    model: ToyModel,
    log: TrainingLog,
    instance: int = 0,
    record: int = -1,
    h: Float[Tensor, "batch n_instances n_input_ae"] | None = None,
) -> go.Figure:
    """Data, features, encoder and decoder directions of one instance at one record of the log."""
    autoencoder = autoencoder_at(log, record)
    silent = log["frac_active"][record] == 0 if h is None else silent_latents(autoencoder, h)
    title = (
        f"instance {instance}, step {log.steps[record]}: {int(silent[instance].sum())} of"
        f" {autoencoder.cfg.n_hidden_ae} latents silent"
    )
    figure = plot_directions_2d(autoencoder, model=model, h=h, instances=[instance], titles=[""], title=title)
    figure.update_layout(width=520, height=520, title_font_size=15)
    return figure


def autoencoder_explorer(
    model: ToyModel,
    log: TrainingLog,
    h: Float[Tensor, "batch n_instances n_input_ae"] | None = None,
) -> Any:
    """Return sliders for the instance and the training step above the data, encoder and decoder directions.

    Args:
        model: the toy model, with n_hidden = 2.
        log: what `AutoEncoder.optimize` returned.
        h: hidden states to draw; fresh ones when left out.

    Returns:
        A widget, or, where the environment variable COURSE_STATIC is 1, the figure of the last step.
    """
    if model.cfg.n_instances != len(log["W_dec"][0]):
        raise ValueError(
            f"The toy model has {model.cfg.n_instances} instances, but the log has {len(log['W_dec'][0])};"
            " pass the model that the autoencoder was trained on."
        )
    if h is None:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            h = hidden_states(model, model.training_batch(5_000))
    if os.environ.get("COURSE_STATIC") == "1":
        return autoencoder_figure(model, log, h=h)
    import ipywidgets as widgets

    style = {"style": {"description_width": "80px"}, "layout": widgets.Layout(width="520px")}
    instance = widgets.IntSlider(
        value=0, min=0, max=model.cfg.n_instances - 1, description="instance", **style
    )
    step = widgets.SelectionSlider(
        options=[(str(step), record) for record, step in enumerate(log.steps)],
        value=len(log.steps) - 1,
        description="step",
        **style,
    )
    picture = widgets.Output()

    def redraw() -> None:
        figure = autoencoder_figure(model, log, instance.value, step.value, h)
        with picture:
            picture.clear_output(wait=True)
            display(figure)

    redraw_soon = debounced(redraw, wait=0.1)
    for slider in (instance, step):
        slider.observe(redraw_soon, names="value")
    redraw()
    return widgets.VBox([instance, step, picture])
