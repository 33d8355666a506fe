"""From finished runs to the files in `part_utils/data`, and their manifest."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from part_utils.autoencoder import AutoEncoderConfig
from part_utils.formats.ours import save_autoencoder
from part_utils.language_models import BUNDLED_AUTOENCODERS, PLACES
from part_utils.one_layer_model import LanguageModelConfig, bridge_name
from part_utils.variants import JumpReLUAutoEncoder
from pretraining.autoencoders import load_weights
from pretraining.own_text import HELD_OUT_ROWS
from pretraining.sparse_training import Weights


def ship_language_model(run_dir: Path, corpus: Path, data: Path) -> None:
    """Write weights in float16 under TransformerLens's names, its configuration, and the tokenizer."""
    weights = load_file(run_dir / "model.safetensors")
    settings = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))["settings"]
    cfg = LanguageModelConfig(**{field.name: settings[field.name] for field in fields(LanguageModelConfig)})
    data.mkdir(parents=True, exist_ok=True)
    save_file(
        {bridge_name(name): value.half().contiguous() for name, value in weights.items()},
        data / "language_model.safetensors",
    )
    (data / "language_model.json").write_text(json.dumps(cfg.as_bridge_config(), indent=2) + "\n")
    shutil.copytree(corpus / "tokenizer", data / "tokenizer", dirs_exist_ok=True)


def ship_text(corpus: Path, data: Path, train_rows: int) -> None:
    """Write the validation and held-out shards, and the first `train_rows` rows of the training shard."""
    data.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation", "held_out"):
        path = corpus / f"{split}.safetensors"
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        tensors = load_file(path)
        if split == "train":
            tensors = {name: tensor[:train_rows].clone() for name, tensor in tensors.items()}
        save_file(tensors, data / f"tokens_{split}.safetensors", metadata=metadata)
    shutil.copy(corpus / "corpus.json", data / "corpus.json")


def as_autoencoder(parts: list[Weights]) -> JumpReLUAutoEncoder:
    """Return several autoencoders as the instances of one."""
    cfg = AutoEncoderConfig(len(parts), parts[0].encoder.shape[1], parts[0].encoder.shape[0])
    autoencoder = JumpReLUAutoEncoder(cfg)
    autoencoder.load_state_dict(
        {
            "W_enc": torch.stack([part.encoder.mT for part in parts]),
            "W_dec": torch.stack([part.decoder for part in parts]),
            "b_enc": torch.stack([part.b_enc for part in parts]),
            "b_dec": torch.stack([part.b_dec for part in parts]),
            "threshold": torch.stack([part.threshold for part in parts]),
        }
    )
    return autoencoder


def ship_autoencoders(run_dir: Path, data: Path) -> None:
    """Write encoder-A and encoder-B as one file."""
    data.mkdir(parents=True, exist_ok=True)
    parts = [load_weights(run_dir / f"result_{instance}.safetensors") for instance in (0, 1)]
    save_autoencoder(as_autoencoder(parts), data / "autoencoders.safetensors")


def ship_deep_autoencoder(name: str, hook: str, autoencoder: JumpReLUAutoEncoder, data: Path) -> None:
    """Write the autoencoder of one place of another model under the name by which it is loaded, in eight bits.

    Raises:
        ValueError: no autoencoder of this place is loaded by name.
    """
    known = [key for key, place in PLACES.items() if key.startswith(name) and place == hook]
    if not known:
        raise ValueError(
            f"No autoencoder of {hook} in {name} is loaded by name; PLACES lists those that are."
        )
    save_autoencoder(autoencoder, data / BUNDLED_AUTOENCODERS[known[0]], eight_bits=True)


def ship_written_text(name: str, tokens: Int[Tensor, "rows length"], data: Path) -> None:
    """Write the rows of a model's own text that nothing is trained on."""
    save_file({"tokens": tokens[-HELD_OUT_ROWS:].contiguous()}, data / f"{name}_text.safetensors")


def write_manifest(data: Path) -> dict[str, Any]:
    """SHA-256 of every file in the data folder but the manifest itself and the descriptions."""
    paths = [
        path
        for path in sorted(data.rglob("*"))
        if path.is_file()
        and path.name not in {"manifest.json", "metrics.json"}
        and path.suffix not in {".md", ".txt", ".png", ".pyc"}
    ]
    manifest = {
        "sha256": {
            path.relative_to(data).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
        }
    }
    for path in paths:
        path.chmod(0o644)
    (data / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest
