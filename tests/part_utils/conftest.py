"""What several tests of the library look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from part_utils.prompt_graph import Edge, Graph
from tests.small_language_model import small_model, small_tokens

if TYPE_CHECKING:
    import torch
    from transformer_lens.model_bridge import TransformerBridge


@pytest.fixture(scope="module")
def model() -> TransformerBridge:
    """A one-layer language model with random weights."""
    return small_model()


@pytest.fixture
def tokens() -> torch.Tensor:
    """Some text for it."""
    return small_tokens()


@pytest.fixture
def graph() -> Graph:
    """A prompt's graph with an edge of every kind, and with words that a page must not take for tags."""
    return Graph(
        words=["<s>", " a", "</script>", ' "b"'],
        position=3,
        prediction=" <i>",
        probability=0.25,
        logit=4.0,
        edges=[
            Edge("token 3", "logit", "direct", 3.0),
            Edge("token 3", "logit", "attention", 1.0),
            Edge("latent 17", "logit", "", -0.5),
            Edge("error", "logit", "", 0.4),
            Edge("token 1", "latent 17", "attention", -0.3),
        ],
        n_into_logit=9,
        share=0.8,
        latents={17: "fires on ' a'; raises '<b>'"},
    )
