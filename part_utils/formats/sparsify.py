"""sparsify (EleutherAI): `sae.safetensors` and `cfg.json` in one folder."""

import json
from pathlib import Path

from safetensors.torch import save

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
from part_utils.formats.weights import Weights, check_sizes, from_autoencoder

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
TENSORS = ("encoder.weight", "encoder.bias", "W_dec", "b_dec")
NOT_LOADED = {
    "activation": ("topk", "only a TopK can be loaded"),
    "signed": (False, "only latents that are never negative can be loaded"),
    "transcode": (False, "a transcoder's outputs are not its inputs"),
    "skip_connection": (False, "an autoencoder here has no path around its latents"),
}
"""The settings that make something else than a TopK autoencoder: the value that can be loaded, and why no other."""


def save_sparsify(autoencoder: AutoEncoder, instance: int, folder: str | Path) -> None:
    """Write one instance of a TopK autoencoder so that sparsify's `SparseCoder.load_from_disk(folder)` loads it.

    Raises:
        TypeError: the autoencoder is of a class of its own.
        ValueError: it is no TopK, which is all that sparsify knows, or there is no such instance.
    """
    weights = from_autoencoder(autoencoder, instance)
    if weights.k is None:
        raise ValueError(
            f"sparsify knows TopK autoencoders only, and this one is of the class {type(autoencoder).__name__}: "
            "use another format."
        )
    tensors = {
        "encoder.weight": weights.W_enc.mT.contiguous(),
        "encoder.bias": weights.b_enc,
        "W_dec": weights.W_dec,
        "b_dec": weights.b_dec,
    }
    cfg = {
        "activation": "topk",
        "expansion_factor": 1,
        "normalize_decoder": True,
        "num_latents": weights.W_enc.shape[1],
        "k": weights.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": weights.W_enc.shape[0],
    }
    folder = Path(folder)
    write_atomically(folder / WEIGHTS, save(tensors))
    write_atomically(folder / CONFIG, json.dumps(cfg, indent=2) + "\n")


def read(folder: Path) -> Weights:
    """Read the weights of a TopK autoencoder.

    Raises:
        ValueError: a file is missing or damaged, or it is a transcoder or has another activation.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).exists():
            raise ValueError(f"{folder} has no {name}: give the folder of one layer that sparsify wrote.")
    path = folder / CONFIG
    cfg = read_json(path)
    check_spelling(cfg, (*NOT_LOADED, "k", "d_in", "num_latents", "expansion_factor"), path)
    for name, (value, why) in NOT_LOADED.items():
        if cfg.get(name, value) != value:
            raise ValueError(f"{path} has {name} = {shown(cfg[name])}, but {why}.")
    found = as_floats(read_safetensors(folder / WEIGHTS), TENSORS, folder / WEIGHTS)
    if found["encoder.weight"].ndim != 2:
        raise ValueError(f"encoder.weight in {folder / WEIGHTS} is no matrix; fetch it again.")
    weights = Weights(
        "topk",
        W_enc=found["encoder.weight"].mT,
        b_enc=found["encoder.bias"],
        W_dec=found["W_dec"],
        b_dec=found["b_dec"],
        k=whole_number(cfg, "k", path),
    )
    check_sizes(weights, folder / WEIGHTS)
    d_in, d_sae = weights.W_enc.shape
    same_size(cfg, "d_in", d_in, path)
    if cfg.get("num_latents"):
        same_size(cfg, "num_latents", d_sae, path)
    elif whole_number(cfg, "expansion_factor", path) * d_in != d_sae:
        raise ValueError(
            f"{path} says {cfg['expansion_factor']} latents for each of {d_in} inputs, but the weights beside it have "
            f"{d_sae}: they do not belong together."
        )
    return weights
