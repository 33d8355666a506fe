"""A one-layer model with random weights and a few tokens, for tests that need no trained one."""

import torch
from transformer_lens.model_bridge import TransformerBridge

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig

CFG = {
    "n_layers": 1,
    "d_model": 10,
    "n_heads": 2,
    "d_head": 5,
    "d_mlp": 14,
    "d_vocab": 31,
    "n_ctx": 9,
    "act_fn": "gelu",
    "normalization_type": "LN",
    "seed": 0,
}


def small_model() -> TransformerBridge:
    """Always the same weights."""
    return TransformerBridge.boot_native(CFG)


def small_tokens() -> torch.Tensor:
    """24 rows of 7 tokens."""
    return torch.randint(31, (24, 7), generator=torch.Generator().manual_seed(0))


def small_autoencoder(mean_b_enc: float) -> AutoEncoder:
    """Two instances with random biases on the model's MLP; always the same for the same mean of the encoder's."""
    torch.manual_seed(3)
    autoencoder = AutoEncoder(AutoEncoderConfig(2, CFG["d_mlp"], 23))
    with torch.no_grad():
        autoencoder.b_enc.normal_(mean_b_enc, 0.3)
        autoencoder.b_dec.normal_(std=0.3)
    return autoencoder
