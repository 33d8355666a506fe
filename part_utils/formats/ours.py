"""Our own format: one safetensors file with all instances, whose metadata says what it is and has a checksum."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.files import write_atomically
from part_utils.formats.reading import as_floats, read_safetensors, shown
from part_utils.formats.weights import CLASSES, architecture_of, in_use
from part_utils.tensors import SMALLEST_NORM
from part_utils.variants import TopKAutoEncoder

FORMAT = "superposition-course autoencoder 1"
"""What the metadata calls this format, with its version."""


SCALE = ".scale"
"""Behind a matrix's name: what each latent's eight-bit integers are multiplied by."""


def save_autoencoder(autoencoder: AutoEncoder, path: str | Path, eight_bits: bool = False) -> None:
    """Write an autoencoder with all its instances to one file, which `load_autoencoder(path)` loads.

    Weights are written as float32. The file is replaced in one step. A BatchTopK autoencoder, Matryoshka or not, is
    written as the JumpReLU one that it is once it is trained.

    Args:
        autoencoder: the autoencoder.
        path: where to.
        eight_bits: round `W_enc` and `W_dec` to 255 steps, from the largest weight of a latent down to its negative,
            which makes the file a quarter as large. Every row keeps its length.

    Raises:
        TypeError: the autoencoder is of a class of its own.
    """
    hook = autoencoder.hook
    autoencoder = in_use(autoencoder)
    settings: dict[str, Any] = {"architecture": architecture_of(autoencoder), **asdict(autoencoder.cfg)}
    if isinstance(autoencoder, TopKAutoEncoder):
        settings["k"] = autoencoder.k
    if hook is not None:
        settings["hook"] = hook
    tensors = {
        name: tensor.detach().float().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in autoencoder.state_dict().items()
    }
    if eight_bits:
        for name, axis in (("W_enc", 1), ("W_dec", 2)):
            if name in tensors:  # Where weights are tied there is one matrix.
                tensors |= _rounded(name, tensors[name], axis)
    text = json.dumps(settings)
    metadata = {"format": FORMAT, "settings": text, "sha256": _digest(text, tensors)}
    write_atomically(Path(path), save(tensors, metadata))


def load(path: Path, instance: int | None = None) -> AutoEncoder:
    """Load what `save_autoencoder` wrote, or only one of its instances, without room for the others.

    Raises:
        ValueError: the file is another one, damaged or altered: every changed bit of a weight or setting is noticed.
    """
    tensors = read_safetensors(path)
    metadata = metadata_of(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format = {shown(metadata.get('format'))}, but only {FORMAT!r} can be loaded; a newer release "
            "of the course may know it."
        )
    text = metadata.get("settings", "")
    if metadata.get("sha256") != _digest(text, tensors):
        raise ValueError(f"{path} is damaged or altered (its SHA-256 does not fit); fetch or make it again.")
    try:
        settings = json.loads(text)
        architecture, k, hook = (settings.pop(name, None) for name in ("architecture", "k", "hook"))
        if not isinstance(hook, str | None):
            raise TypeError("A hook has a name.")
        cfg = AutoEncoderConfig(**settings)
        if instance is not None:
            tensors = _only(instance, cfg, tensors)
            cfg = replace(cfg, n_instances=1)
        # Without memory: what the settings say may be larger than what is there.
        empty = (
            TopKAutoEncoder(cfg, k, "meta") if architecture == "topk" else CLASSES[architecture](cfg, "meta")
        )
    except IndexError as error:
        raise ValueError(str(error)) from None
    except Exception as error:
        raise ValueError(f"{path} has settings that make no autoencoder: {shown(text)}.") from error
    floats = as_floats(_unrounded(tensors, path), empty.state_dict().keys(), path)
    for name, tensor in empty.state_dict().items():
        if floats[name].shape != tensor.shape:
            raise ValueError(
                f"{name} in {path} has the shape {tuple(floats[name].shape)}, but its settings say"
                f" {tuple(tensor.shape)}."
            )
    empty.load_state_dict(floats, assign=True)
    empty.hook = hook
    return empty


def _rounded(name: str, matrix: Tensor, axis: int) -> dict[str, Tensor]:
    """Round every latent's row, which lies along an axis, to eight bits, with a factor that keeps its length."""
    largest = matrix.abs().amax(axis, keepdim=True).clamp_min(SMALLEST_NORM)
    integers = (matrix / largest * 127).round()
    lengths = integers.norm(dim=axis, keepdim=True).clamp_min(SMALLEST_NORM)
    return {name: integers.to(torch.int8), name + SCALE: matrix.norm(dim=axis, keepdim=True) / lengths}


def _only(instance: int, cfg: AutoEncoderConfig, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    if not 0 <= instance < cfg.n_instances:
        raise IndexError(f"There is no instance {instance}: choose one from 0 to {cfg.n_instances - 1}.")
    return {name: tensor[instance : instance + 1].clone() for name, tensor in tensors.items()}


def _unrounded(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Multiply what is in eight bits by its factors."""
    found = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE):
            continue
        scale = tensors.get(name + SCALE)
        if scale is not None and (
            scale.ndim != tensor.ndim
            or any(factors not in (1, size) for factors, size in zip(scale.shape, tensor.shape, strict=True))
        ):
            raise ValueError(
                f"{name}{SCALE} in {path} has the shape {tuple(scale.shape)}, which does not fit {name} with "
                f"{tuple(tensor.shape)}."
            )
        found[name] = tensor if scale is None else tensor * scale
    return found


@torch.no_grad()
def autoencoder_from_weights(weights: dict[str, Tensor]) -> AutoEncoder:
    """Return an autoencoder from `W_enc`, `W_dec`, `b_enc`, `b_dec` with a leading instance axis, of any precision.

    Decoder rows of another length than 1 are rescaled, with the inverse on the encoder's side, so that
    the reconstruction stays the same.
    """
    weights = {name: weight.float() for name, weight in weights.items()}
    autoencoder = AutoEncoder(AutoEncoderConfig(*weights["W_enc"].shape))
    lengths = weights["W_dec"].norm(dim=-1).clamp_min(SMALLEST_NORM)
    autoencoder.W_enc.copy_(weights["W_enc"] * lengths[:, None, :])
    autoencoder.b_enc.copy_(weights["b_enc"] * lengths)
    autoencoder.W_dec.copy_(weights["W_dec"] / lengths[:, :, None])
    autoencoder.b_dec.copy_(weights["b_dec"])
    return autoencoder


def metadata_of(path: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file.

    Raises:
        ValueError: the file cannot be read as such.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except Exception as error:
        raise ValueError(f"{path} is not readable as a safetensors file; fetch it again.") from error


def _digest(settings: str, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of the settings and of every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(settings.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
