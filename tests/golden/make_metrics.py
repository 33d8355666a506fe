"""Makes `tests/golden/metrics`: the measures that SAELens computes on a small random model and autoencoder.

    python -m venv /tmp/sae-lens && /tmp/sae-lens/bin/pip install "sae-lens>=6.54.12"
    python tests/golden/make_metrics.py ours          # with the course installed
    /tmp/sae-lens/bin/python tests/golden/make_metrics.py theirs

`ours` writes the weights of both, and tokens. `theirs` builds the same model with the TransformerLens that SAELens
asks for, and notes what `run_evals` of SAELens finds on these tokens.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors.torch import load_file, save_file

FOLDER = Path(__file__).parent / "metrics"
SIZES = {"d_model": 10, "n_heads": 2, "d_head": 5, "d_mlp": 14, "d_vocab": 31, "n_ctx": 9, "n_layers": 1}
MLP_HOOK = "blocks.0.mlp.hook_post"
ROWS = 24


def ours() -> None:
    from transformer_lens.model_bridge import TransformerBridge

    from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
    from part_utils.formats.sae_lens import save_sae_lens

    torch.manual_seed(0)
    model = TransformerBridge.boot_native({**SIZES, "act_fn": "gelu", "normalization_type": "LN", "seed": 0})
    autoencoder = AutoEncoder(AutoEncoderConfig(1, 14, 29))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
        autoencoder.b_enc.normal_(std=0.1)
        autoencoder.b_dec.normal_(std=0.1)
    save_sae_lens(autoencoder, 0, FOLDER, hook_name=MLP_HOOK)
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()}, FOLDER / "model.safetensors"
    )
    tokens = torch.randint(31, (ROWS, 7), generator=torch.Generator().manual_seed(0))
    save_file({"tokens": tokens}, FOLDER / "tokens.safetensors")


def hooked_transformer_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of a native bridge under the names, and in the shapes, of a HookedTransformer."""
    heads, d_head = SIZES["n_heads"], SIZES["d_head"]
    result = {
        "embed.W_E": weights["embed.weight"],
        "pos_embed.W_pos": weights["pos_embed.weight"],
        "unembed.W_U": weights["unembed.weight"].mT,
        "unembed.b_U": weights["unembed.bias"],
        "blocks.0.attn.W_O": weights["blocks.0.attn.o.weight"].mT.unflatten(0, (heads, d_head)),
        "blocks.0.attn.b_O": weights["blocks.0.attn.o.bias"],
    }
    for letter in "QKV":
        weight = weights[f"blocks.0.attn.{letter.lower()}.weight"]
        result[f"blocks.0.attn.W_{letter}"] = weight.unflatten(0, (heads, d_head)).transpose(1, 2)
        result[f"blocks.0.attn.b_{letter}"] = weights[f"blocks.0.attn.{letter.lower()}.bias"].view(
            heads, d_head
        )
    for layer in ("in", "out"):
        result[f"blocks.0.mlp.W_{layer}"] = weights[f"blocks.0.mlp.{layer}.weight"].mT
        result[f"blocks.0.mlp.b_{layer}"] = weights[f"blocks.0.mlp.{layer}.bias"]
    for norm in ("blocks.0.ln1", "blocks.0.ln2", "ln_final"):
        result[f"{norm}.w"], result[f"{norm}.b"] = weights[f"{norm}.weight"], weights[f"{norm}.bias"]
    return {key: value.contiguous() for key, value in result.items()}


def theirs() -> None:
    from sae_lens import SAE
    from sae_lens.evals import EvalConfig, run_evals
    from sae_lens.training.activation_scaler import ActivationScaler
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    tokens = load_file(FOLDER / "tokens.safetensors")["tokens"]
    model = HookedTransformer(HookedTransformerConfig(**SIZES, act_fn="gelu", normalization_type="LN"))
    model.load_state_dict(hooked_transformer_weights(load_file(FOLDER / "model.safetensors")), strict=False)
    store = SimpleNamespace(
        get_batch_tokens=lambda rows: tokens[:rows],
        reset_input_dataset=lambda: None,
        context_size=tokens.shape[1],
        store_batch_size_prompts=len(tokens),
    )
    metrics, features = run_evals(
        SAE.load_from_disk(FOLDER),
        store,
        model,
        ActivationScaler(),
        EvalConfig(
            n_eval_reconstruction_batches=1,
            compute_ce_loss=True,
            compute_sparsity_metrics=True,
            compute_variance_metrics=True,
            compute_featurewise_density_statistics=True,
        ),
        exclude_special_tokens=False,
    )
    found = {name: value for group in metrics.values() for name, value in group.items()}
    found["feature_density"] = features["feature_density"]
    (FOLDER / "metrics.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    {"ours": ours, "theirs": theirs}[sys.argv[1]]()
