"""Standard autoencoders in the files of SAELens: `sae_weights.safetensors` and `cfg.json` in one folder."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.sparse_coding_loss import SMALLEST_NORM

FORMAT_VERSION = "6.54.12"
"""The version of SAELens whose files these are; it reads files without a version as if they were older than 6."""


@torch.no_grad()
def save_sae_lens(
    autoencoder: AutoEncoder,
    instance: int,
    folder: str | Path,
    model_name: str = "superposition-course",
    hook_name: str = "blocks.0.mlp.hook_post",
    context_size: int = 128,
) -> None:
    """Writes one instance so that `SAE.load_from_disk(folder)` of SAELens (version 6) loads it.

    Tied autoencoders are written with the decoder that they use.

    Args:
        autoencoder: a ReLU autoencoder.
        instance: which of its instances.
        folder: made if it is not there.
        model_name, hook_name, context_size: what the autoencoder was trained on, for the record.

    Raises:
        TypeError: the autoencoder is of another kind, such as TopK.
        ValueError: there is no such instance.
    """
    if type(autoencoder) is not AutoEncoder:
        raise TypeError(
            f"A {type(autoencoder).__name__} is not a standard autoencoder; only AutoEncoder can be saved."
        )
    n_instances = autoencoder.cfg.n_instances
    if not 0 <= instance < n_instances:
        raise ValueError(f"There is no instance {instance}: choose one from 0 to {n_instances - 1}.")
    weights = {
        "W_enc": autoencoder.W_enc[instance],
        "b_enc": autoencoder.b_enc[instance],
        "W_dec": autoencoder.normalize_and_return_W_dec()[instance],
        "b_dec": autoencoder.b_dec[instance],
    }
    cfg = {
        "architecture": "standard",
        "dtype": "float32",
        "device": "cpu",
        "d_in": autoencoder.cfg.n_input_ae,
        "d_sae": autoencoder.cfg.n_hidden_ae,
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": FORMAT_VERSION,
            "model_name": model_name,
            "hook_name": hook_name,
            "context_size": context_size,
            "prepend_bos": True,
        },
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {
            name: tensor.float().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in weights.items()
        },
        folder / "sae_weights.safetensors",
    )
    (folder / "cfg.json").write_text(json.dumps(cfg, indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def load_sae_lens(folder: str | Path) -> AutoEncoder:
    """Loads a standard autoencoder that SAELens saved, as an `AutoEncoder` with one instance.

    Decoder rows become unit vectors, with their length moved to the encoder; where SAELens does not
    subtract `b_dec` from the input, `b_enc` makes up for it. The reconstruction stays the same; latents
    are as many times larger as their decoder rows were long.

    Raises:
        ValueError: a file is missing, or the autoencoder is of another kind.
    """
    folder = Path(folder)
    for name in ("cfg.json", "sae_weights.safetensors"):
        if not (folder / name).exists():
            raise ValueError(f"{folder} has no {name}: give the folder that SAELens's save_model wrote.")
    cfg: dict[str, Any] = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    wanted = {"architecture": ("standard",), "normalize_activations": ("none", None)}
    for name, accepted in wanted.items():
        value = cfg.get(name, accepted[0])
        if value not in accepted:
            raise ValueError(
                f"The autoencoder in {folder} has {name} = {value!r}, but only {accepted[0]!r} can be loaded."
            )
    weights = {name: tensor.float() for name, tensor in load_file(folder / "sae_weights.safetensors").items()}
    n_input_ae, n_hidden_ae = weights["W_enc"].shape
    b_enc = weights["b_enc"]
    if not cfg.get("apply_b_dec_to_input", False):
        b_enc = b_enc + weights["b_dec"] @ weights["W_enc"]
    lengths = weights["W_dec"].norm(dim=1)
    # A row of zeros cannot become a unit vector: its latent is switched off, which changes nothing.
    empty = lengths < SMALLEST_NORM
    autoencoder = AutoEncoder(AutoEncoderConfig(1, n_input_ae, n_hidden_ae))
    autoencoder.W_enc[0] = (weights["W_enc"] * lengths).masked_fill(empty, 0)
    autoencoder.b_enc[0] = (b_enc * lengths).masked_fill(empty, 0)
    unit = torch.zeros(n_input_ae)
    unit[0] = 1
    autoencoder.W_dec[0] = torch.where(
        empty[:, None], unit, weights["W_dec"] / lengths.clamp_min(SMALLEST_NORM)[:, None]
    )
    autoencoder.b_dec[0] = weights["b_dec"]
    return autoencoder
