"""An interactive graph of a prompt: write a text, see what its next token is made of."""

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor

from part_utils.dashboard import framed
from part_utils.graph_page import graph_page
from part_utils.plots.circuits import plot_graph
from part_utils.prompt_graph import Graph, prompt_graph
from part_utils.transcoder import Transcoder

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def graph_of(
    prompt: str,
    model: "TransformerBridge",
    transcoder: Transcoder,
    text: Int[Tensor, "rows seq"] | None = None,
    share: float = 0.95,
) -> Graph:
    """Return the graph of the most likely next token after a prompt, with the edges that carry a share.

    Raises:
        ValueError: the prompt is empty, or longer than the model can read.
    """
    tokens = torch.tensor(model.tokenizer(prompt, add_special_tokens=False)["input_ids"], dtype=torch.long)
    if not 0 < len(tokens) < model.cfg.n_ctx:
        raise ValueError(
            f"The prompt has {len(tokens)} tokens, but must have 1 to {model.cfg.n_ctx - 1}; write another one."
        )
    tokens = torch.cat([torch.tensor([model.tokenizer.bos_token_id]), tokens])
    return prompt_graph(tokens, model, transcoder, share=share, text=text)


def graph_explorer(
    prompt: str,
    model: "TransformerBridge",
    transcoder: Transcoder,
    text: Int[Tensor, "rows seq"] | None = None,
) -> Any:
    """Return a field for a prompt above the graph of its most likely next token.

    Args:
        prompt: what stands there at first.
        model: a one-layer language model with its tokenizer.
        transcoder: stands in for the MLP.
        text: where to look up on which tokens the latents fire most.

    Returns:
        A widget, or, where the environment variable COURSE_STATIC is 1, the figure of the first prompt.
    """
    make = partial(graph_of, model=model, transcoder=transcoder, text=text)
    if os.environ.get("COURSE_STATIC") == "1":
        return plot_graph(make(prompt))
    import ipywidgets as widgets

    field = widgets.Text(
        value=prompt, description="prompt", continuous_update=False, layout={"width": "640px"}
    )
    picture = widgets.HTML()

    def redraw(change: Any = None) -> None:
        try:
            picture.value = framed(graph_page(make(field.value)), "the graph of the prompt")
        except ValueError as error:
            picture.value = f"<p>{error}</p>"

    field.observe(redraw, names="value")
    redraw()
    return widgets.VBox([field, picture])
