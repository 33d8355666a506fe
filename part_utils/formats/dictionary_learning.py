"""dictionary_learning: `ae.pt` and `config.json` in one folder."""

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from part_utils.autoencoder import AutoEncoder
from part_utils.files import write_atomically
from part_utils.formats.reading import (
    as_floats,
    check_spelling,
    read_json,
    read_torch,
    same_size,
    shown,
    whole_number,
)
from part_utils.formats.weights import (
    Architecture,
    Weights,
    check_sizes,
    from_autoencoder,
    with_subtraction_undone,
    without_subtraction,
)

CONFIG, WEIGHTS = "config.json", "ae.pt"
CLASSES: dict[str, tuple[Architecture, dict[str, str]]] = {
    "AutoEncoder": (
        "relu",
        {"W_enc": "encoder.weight", "b_enc": "encoder.bias", "W_dec": "decoder.weight", "b_dec": "bias"},
    ),
    "AutoEncoderNew": (
        "relu",
        {
            "W_enc": "encoder.weight",
            "b_enc": "encoder.bias",
            "W_dec": "decoder.weight",
            "b_dec": "decoder.bias",
        },
    ),
    "GatedAutoEncoder": (
        "gated",
        {
            "W_enc": "encoder.weight",
            "b_enc": "gate_bias",
            "W_dec": "decoder.weight",
            "b_dec": "decoder_bias",
            "r_mag": "r_mag",
            "b_mag": "mag_bias",
        },
    ),
    "JumpReluAutoEncoder": (
        "jumprelu",
        {name: name for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")},
    ),
    "AutoEncoderTopK": (
        "topk",
        {"W_enc": "encoder.weight", "b_enc": "encoder.bias", "W_dec": "decoder.weight", "b_dec": "b_dec"},
    ),
    # These two are used with one threshold for all latents, at which k fire on average.
    "BatchTopKSAE": (
        "jumprelu",
        {
            "W_enc": "encoder.weight",
            "b_enc": "encoder.bias",
            "W_dec": "decoder.weight",
            "b_dec": "b_dec",
            "threshold": "threshold",
        },
    ),
    "MatryoshkaBatchTopKSAE": (
        "jumprelu",
        {name: name for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")},
    ),
}
"""For every class of theirs: our architecture, and what our weights are called there."""
WITHOUT_SUBTRACTION = ("AutoEncoderNew", "JumpReluAutoEncoder")
"""The classes that do not subtract the decoder's bias from the input."""
WITH_K = ("AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE")
WRITTEN_AS: dict[Architecture, str] = {
    "relu": "AutoEncoder",
    "topk": "AutoEncoderTopK",
    "jumprelu": "JumpReluAutoEncoder",
    "gated": "GatedAutoEncoder",
}


def save_dictionary_learning(
    autoencoder: AutoEncoder,
    instance: int,
    folder: str | Path,
    lm_name: str = "superposition-course",
    layer: int = 0,
) -> None:
    """Write one instance so that dictionary_learning's `load_dictionary(folder, device)` loads it.

    Args:
        autoencoder: an AutoEncoder, TopK, JumpReLU or Gated one.
        instance: which of its instances.
        folder: made if it is not there.
        lm_name, layer: what the autoencoder was trained on, for the record.

    Raises:
        TypeError: the autoencoder is of another class.
        ValueError: there is no such instance.
    """
    weights = from_autoencoder(autoencoder, instance)
    dict_class = WRITTEN_AS[weights.architecture]
    if dict_class in WITHOUT_SUBTRACTION:
        weights = with_subtraction_undone(weights)
    d_in, d_sae = weights.W_enc.shape
    ours = weights.tensors()
    theirs = {
        name: (ours[own].mT if _is_linear(name) else ours[own]).contiguous()
        for own, name in CLASSES[dict_class][1].items()
    }
    trainer: dict[str, Any] = {
        "dict_class": dict_class,
        "activation_dim": d_in,
        "dict_size": d_sae,
        "layer": layer,
        "lm_name": lm_name,
    }
    if weights.k is not None:
        # The threshold is another way to use it, which is off where it is negative.
        theirs |= {"k": torch.tensor(weights.k, dtype=torch.int), "threshold": torch.tensor(-1.0)}
        trainer["k"] = weights.k
    buffer = io.BytesIO()
    torch.save(theirs, buffer)
    folder = Path(folder)
    write_atomically(folder / WEIGHTS, buffer.getvalue())
    write_atomically(folder / CONFIG, json.dumps({"trainer": trainer}, indent=2) + "\n")


def read(folder: Path) -> Weights:
    """Read the weights of the class that the configuration names.

    Raises:
        ValueError: a file is missing or damaged, or the class is one that cannot be loaded.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).exists():
            raise ValueError(
                f"{folder} has no {name}: give the folder that dictionary_learning's training wrote."
            )
    path = folder / CONFIG
    trainer = read_json(path).get("trainer")
    if not isinstance(trainer, dict):
        raise ValueError(f'{path} does not say how the autoencoder was trained (it has no "trainer").')
    check_spelling(trainer, ("dict_class", "activation_dim", "dict_size", "k"), path)
    dict_class = trainer.get("dict_class")
    if not isinstance(dict_class, str) or dict_class not in CLASSES:
        raise ValueError(
            f"{path} has dict_class = {shown(dict_class)}, but only {', '.join(CLASSES)} can be loaded."
        )
    architecture, names = CLASSES[dict_class]
    tensors = read_torch(folder / WEIGHTS)
    k = _k(trainer, tensors, path) if dict_class in WITH_K else None
    if architecture == "topk":
        # Their other way to use a TopK; which of the two is said when it is called, and this one is off by default.
        tensors.pop("threshold", None)
    if dict_class == "MatryoshkaBatchTopKSAE":
        # How it was trained: all groups are used.
        tensors.pop("group_sizes", None)
    floats = as_floats(tensors, names.values(), folder / WEIGHTS)
    found = {
        own: floats[name].mT if _is_linear(name) and floats[name].ndim == 2 else floats[name]
        for own, name in names.items()
    }
    weights = Weights(architecture, **found)  # type: ignore[arg-type]
    weights.k = k if architecture == "topk" else None
    if weights.threshold is not None and weights.threshold.ndim == 0:
        weights.threshold = weights.threshold.expand(len(weights.b_enc) if weights.b_enc.ndim else 1)
    check_sizes(weights, folder / WEIGHTS)
    for name, size in zip(("activation_dim", "dict_size"), weights.W_enc.shape, strict=True):
        if name in trainer:
            same_size(trainer, name, size, path)
    return without_subtraction(weights) if dict_class in WITHOUT_SUBTRACTION else weights


def _is_linear(name: str) -> bool:
    """Say whether a weight is that of a torch Linear, `[out in]`, and not a matrix `[in out]`."""
    return name.endswith(".weight")


def _k(trainer: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> int:
    """Return how many latents fire, which both files say; take it out of the tensors.

    Raises:
        ValueError: the two disagree.
    """
    k = whole_number(trainer, "k", path)
    stored = tensors.pop("k", torch.tensor(k))
    if stored.numel() != 1 or stored.item() != k:
        raise ValueError(
            f"{path} says k = {k}, but the weights beside it {shown(stored.tolist())}: they do not belong together."
        )
    return k
