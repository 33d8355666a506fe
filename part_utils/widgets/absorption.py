"""An interactive view of absorption: choose how often the child is present, train, and see where its latent points."""

import os
from functools import cache
from typing import Any

import plotly.graph_objects as go
from IPython.display import display

from part_utils.absorption import Absorption, train_on_hierarchy
from part_utils.plots.variants import plot_absorption_plane
from part_utils.toy_hierarchy import ToyHierarchy

FREQUENCIES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@cache
def absorption_at(child: float, l1_coeff: float = 0.03, n_instances: int = 8) -> Absorption:
    """Train on worlds whose child is there this often where its parent is, and measure; kept once it was computed."""
    world = ToyHierarchy(n_instances=n_instances, child=child)
    return train_on_hierarchy(f"child where the parent is: {child:.0%}", world, l1_coeff=l1_coeff)[0]


def absorption_figure(child: float, l1_coeff: float = 0.03) -> go.Figure:
    """Draw the decoder rows for one frequency of the child, with what became of the parent's latent as the title."""
    result = absorption_at(child, l1_coeff)
    absorbed = int((result.absorbed > 0.5).sum())
    return plot_absorption_plane([result], title=f"absorbed in {absorbed} of {len(result.absorbed)} worlds")


def absorption_explorer(child: float = 0.4) -> Any:
    """Return a slider for the child's frequency above the plane of parent and child.

    Each new value takes some seconds of training, the same value no time.

    Args:
        child: where the slider starts.

    Returns:
        A widget, or, where the environment variable COURSE_STATIC is 1, the figure of the first value.
    """
    if os.environ.get("COURSE_STATIC") == "1":
        return absorption_figure(child)
    import ipywidgets as widgets

    start = min(FREQUENCIES, key=lambda value: abs(value - child))
    slider = widgets.SelectionSlider(
        options=[(f"{value:.0%}", value) for value in FREQUENCIES],
        value=start,
        description="child",
        continuous_update=False,
        style={"description_width": "60px"},
        layout=widgets.Layout(width="460px"),
    )
    picture = widgets.Output()

    def redraw(change: Any = None) -> None:
        figure = absorption_figure(slider.value)
        with picture:
            picture.clear_output(wait=True)
            display(figure)

    slider.observe(redraw, names="value")
    redraw()
    return widgets.VBox([slider, picture])
