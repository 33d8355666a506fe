"""Our measures against those of SAELens on the same weights and tokens (`tests/golden/make_metrics.py`)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformer_lens.model_bridge import TransformerBridge

from part_utils.evaluation import (
    evaluate,
    get_feature_probability,
    get_reconstruction_loss,
    get_substitution_loss,
)
from part_utils.formats.sae_lens import load_sae_lens
from tests.small_language_model import CFG

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"


def test_measures_agree_with_sae_lens() -> None:
    golden = json.loads((GOLDEN / "metrics.json").read_text())
    tokens = load_file(GOLDEN / "tokens.safetensors")["tokens"]
    model = TransformerBridge.boot_native(CFG)
    model.load_state_dict(load_file(GOLDEN / "model.safetensors"))
    autoencoder = load_sae_lens(GOLDEN)

    found = evaluate(tokens, model, autoencoder, batch_rows=5)
    loss = get_reconstruction_loss(tokens, model, autoencoder)
    substitution = get_substitution_loss(tokens, model, autoencoder)
    d_mlp = autoencoder.cfg.n_input_ae
    pairs = {
        "explained_variance": 1 - found.fvu[0],
        "l0": found.l0[0],
        "mse": found.mse[0] * d_mlp,  # theirs is the sum over neurons, ours the mean
        "cossim": loss.cosine_similarity.item(),
        "ce_loss_without_sae": found.loss_clean,
        "ce_loss_with_sae": found.loss_reconstructed[0],
        "ce_loss_with_ablation": found.loss_zero_ablated,
        "ce_loss_score": found.recovered[0],
    }
    for name, value in pairs.items():
        assert value == pytest.approx(golden[name], rel=1e-5, abs=1e-5), name
    assert loss.loss.item() * d_mlp == pytest.approx(golden["mse"], rel=1e-5)
    assert substitution.recovered.item() == pytest.approx(golden["ce_loss_score"], rel=1e-4)
    torch.testing.assert_close(
        get_feature_probability(tokens, model, autoencoder)[0],
        torch.tensor(golden["feature_density"]),
        atol=1e-5,
        rtol=0,
    )
    assert 0.01 < golden["feature_density"][0] < 0.99
    assert golden["ce_loss_with_sae"] != pytest.approx(golden["ce_loss_without_sae"], rel=1e-3)
