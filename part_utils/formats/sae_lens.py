"""SAELens: `sae_weights.safetensors` and `cfg.json` in one folder."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from part_utils.activations import MLP_HOOK
from part_utils.autoencoder import AutoEncoder
from part_utils.files import write_atomically
from part_utils.formats.reading import (
    as_floats,
    check_spelling,
    read_json,
    read_safetensors,
    same_size,
    shown,
    whole_number,
)
from part_utils.formats.weights import (
    Weights,
    check_sizes,
    fold_decoder_norm,
    from_autoencoder,
    to_autoencoder,
    without_subtraction,
)

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
FORMAT_VERSION = "6.54.12"
"""The version of SAELens whose files these are; it reads files without a version as if they were older than 6."""
SHARED = ("W_enc", "W_dec", "b_dec")
TENSORS = {
    "standard": (*SHARED, "b_enc"),
    "topk": (*SHARED, "b_enc"),
    "jumprelu": (*SHARED, "b_enc", "threshold"),
    "gated": (*SHARED, "b_gate", "r_mag", "b_mag"),
    # While they are trained. What SAELens saves at the end is a jumprelu, with this threshold.
    "batchtopk": (*SHARED, "b_enc", "topk_threshold"),
    "matryoshka_batchtopk": (*SHARED, "b_enc", "topk_threshold"),
}
"""What each architecture that can be loaded has in its file."""
SETTINGS = (
    *("architecture", "activation_fn", "activation_fn_str", "activation_fn_kwargs", "k", "d_in", "d_sae"),
    *("apply_b_dec_to_input", "normalize_activations", "reshape_activations", "rescale_acts_by_decoder_norm"),
    *("finetuning_scaling_factor", "metadata", "sae_lens_version"),
)
"""The settings that change what is computed, in any version."""


def save_sae_lens(
    autoencoder: AutoEncoder,
    instance: int,
    folder: str | Path,
    model_name: str = "superposition-course",
    hook_name: str | None = None,
    context_size: int = 128,
) -> None:
    """Write one instance so that `SAE.load_from_disk(folder)` of SAELens (version 6) loads it.

    Tied autoencoders are written with the decoder that they use.

    Args:
        autoencoder: an AutoEncoder (their "standard"), TopK, JumpReLU or Gated one; BatchTopK and Matryoshka ones
            become JumpReLU, as SAELens's own do when their training ends.
        instance: which of its instances.
        folder: made if it is not there.
        model_name, hook_name, context_size: what the autoencoder was trained on, for the record. If no hook is named
            it is the autoencoder's own, or that of a one-layer model's MLP.

    Raises:
        TypeError: the autoencoder is of another class.
        ValueError: there is no such instance.
    """
    weights = from_autoencoder(autoencoder, instance)
    tensors = weights.tensors()
    if weights.architecture == "gated":
        tensors["b_gate"] = tensors.pop("b_enc")
    d_in, d_sae = weights.W_enc.shape
    cfg: dict[str, Any] = {
        "architecture": "standard" if weights.architecture == "relu" else weights.architecture,
        "dtype": "float32",
        "device": "cpu",
        "d_in": d_in,
        "d_sae": d_sae,
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": FORMAT_VERSION,
            "model_name": model_name,
            "hook_name": hook_name or weights.hook or MLP_HOOK,
            "context_size": context_size,
            "prepend_bos": True,
        },
    }
    if weights.k is not None:
        cfg |= {"k": weights.k, "rescale_acts_by_decoder_norm": False}
    folder = Path(folder)
    write_atomically(folder / WEIGHTS, save(tensors))
    write_atomically(folder / CONFIG, json.dumps(cfg, indent=2) + "\n")


def load_sae_lens(folder: str | Path) -> AutoEncoder:
    """Load an autoencoder that SAELens saved, with one instance.

    Decoder rows become unit vectors, with their length moved to the encoder; where SAELens does not
    subtract `b_dec` from the input, `b_enc` makes up for it. The reconstruction stays the same; latents
    are as many times larger as their decoder rows were long.

    Raises:
        ValueError: a file is missing or damaged, or the autoencoder is of a kind that cannot be loaded.
    """
    return to_autoencoder(read(Path(folder)), Path(folder))


def read(folder: Path) -> Weights:
    """Read the weights, and whatever the settings of any version of SAELens say about them.

    An autoencoder of attention heads ("hook_z") takes the outputs of all heads side by side.

    Raises:
        ValueError: a file is missing or damaged, or the autoencoder is of a kind that cannot be loaded.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).exists():
            raise ValueError(f"{folder} has no {name}: give the folder that SAELens's save_model wrote.")
    path = folder / CONFIG
    cfg = _as_version_6(read_json(path), path)
    architecture = cfg["architecture"]
    if not isinstance(architecture, str) or architecture not in TENSORS:
        raise ValueError(
            f"{path} has architecture = {shown(architecture)}, but only {', '.join(TENSORS)} can be loaded."
        )
    accepted = {
        # What SAELens calls "expected_average_only_in" needs a factor that its file does not hold.
        "normalize_activations": ("none", None, False),
        "reshape_activations": ("none", "hook_z", None),
        "apply_b_dec_to_input": (True, False),
        "rescale_acts_by_decoder_norm": (False, True),
    }
    for name, values in accepted.items():
        if cfg.setdefault(name, values[0]) not in values:
            raise ValueError(f"{path} has {name} = {shown(cfg[name])}, but only {values[0]!r} can be loaded.")
    tensors = read_safetensors(folder / WEIGHTS)
    _drop_factors_of_one(tensors, folder / WEIGHTS)
    if architecture == "jumprelu" and "log_threshold" in tensors:
        # As they were saved during training by older versions.
        tensors["threshold"] = tensors.pop("log_threshold").float().exp()
    found = as_floats(tensors, TENSORS[architecture], folder / WEIGHTS)
    if architecture == "gated":
        found["b_enc"] = found.pop("b_gate")
    threshold = found.pop("topk_threshold", None)
    kinds = {"standard": "relu", "topk": "topk", "gated": "gated"}
    weights = Weights(kinds.get(architecture, "jumprelu"), **found)  # type: ignore[arg-type]
    weights.hook = _hook_of(cfg)
    if architecture == "topk":
        weights.k = whole_number(cfg, "k", path)
    if threshold is not None:
        if threshold.numel() != 1:
            raise ValueError(f"topk_threshold in {folder / WEIGHTS} has {threshold.numel()} values, not one.")
        weights.threshold = threshold.reshape(1).expand(len(weights.b_enc))
    check_sizes(weights, folder / WEIGHTS)
    for name, size in zip(("d_in", "d_sae"), weights.W_enc.shape, strict=True):
        same_size(cfg, name, size, path)
    if not cfg["apply_b_dec_to_input"]:
        weights = without_subtraction(weights)
    if cfg["rescale_acts_by_decoder_norm"] and (weights.k is not None or threshold is not None):
        thresholds = weights.threshold
        weights = fold_decoder_norm(weights)
        # It is compared with the latents after they were rescaled.
        weights.threshold = thresholds
    return weights


def _hook_of(cfg: dict[str, Any]) -> str | None:
    """Return the hook that the settings name, before version 6 outside of `metadata`, if it is in a block."""
    named = (cfg.get("metadata") or {}).get("hook_name", cfg.get("hook_name"))
    return named if isinstance(named, str) and re.fullmatch(r"blocks\.\d+\.[\w.]+", named) else None


def _as_version_6(cfg: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the settings as SAELens since version 6 writes them.

    Raises:
        ValueError: the version or the activation function cannot be understood.
    """
    check_spelling(cfg, SETTINGS, path)
    metadata = cfg.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise ValueError(
            f"{path} has metadata = {shown(metadata)}, but it must be a JSON object; fetch it again."
        )
    check_spelling(metadata, ("sae_lens_version", "sae_lens_training_version"), path)
    version = cfg.get("sae_lens_version") or metadata.get("sae_lens_version") or "0"
    major = re.match(r"(\d{1,3})(\.|$)", version) if isinstance(version, str) else None
    if major is None:
        raise ValueError(
            f"{path} has sae_lens_version = {shown(version)}, which is no version; fetch it again."
        )
    cfg = {"architecture": "standard"} | cfg if int(major[1]) < 6 else {"architecture": None} | cfg
    if int(major[1]) >= 6:
        return cfg
    activation = cfg.get("activation_fn_str", cfg.get("activation_fn", "relu"))
    if cfg.get("activation_fn", activation) != activation:
        raise ValueError(f"{path} has two activation functions that differ; fetch it again.")
    settings = cfg.get("activation_fn_kwargs") or {}
    if (
        isinstance(settings, dict)
        and "k" in settings
        and not {"activation_fn", "activation_fn_str"} & set(cfg)
    ):
        # SAELens would take it for a ReLU.
        raise ValueError(f"{path} has a k, but no activation function that uses it; fetch it again.")
    if activation not in ("relu", "topk") or not isinstance(settings, dict) or settings.get("signed"):
        raise ValueError(
            f"{path} has the activation function {shown(activation)} with {shown(settings)}, but only relu and topk can"
            " be loaded."
        )
    if activation == "topk" or cfg["architecture"] == "topk":
        check_spelling(settings, ("k", "signed"), path)
        cfg = cfg | {"architecture": "topk", "k": settings.get("k", cfg.get("k"))}
    return cfg


def _drop_factors_of_one(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Take out the factors of finetuning that older versions always saved, if they change nothing.

    Raises:
        ValueError: they do: SAELens has not used them since version 6, and refuses such a file, too.
    """
    factors = tensors.pop("scaling_factor", None)
    if factors is not None and not torch.allclose(factors.double(), torch.ones((), dtype=torch.double)):
        raise ValueError(
            f"{path} holds a scaling_factor of finetuning, which SAELens itself no longer applies: load the version "
            "without it."
        )
