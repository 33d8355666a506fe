"""Reading files that may be anything: what comes back is what it should be, or there is a ValueError."""

import difflib
import json
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: the file cannot be read, is no JSON, or holds something else than an object with entries.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable as JSON ({_first_line(error)}); fetch it again.") from error
    if not isinstance(value, dict) or not value:
        raise ValueError(
            f"{path} holds no settings (it should be a JSON object with entries); fetch it again."
        )
    return value


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a safetensors file.

    Raises:
        ValueError: the file cannot be read as such.
    """
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # Which of a dozen it is depends on where the file is damaged.
        raise ValueError(
            f"{path} is not readable as a safetensors file ({_first_line(error)}); it may be cut off or a Git LFS "
            "pointer: fetch it again."
        ) from error


def read_torch(path: Path) -> dict[str, Tensor]:
    """Read a state dict that `torch.save` wrote, without running any code in it, after comparing its checksums.

    Raises:
        ValueError: the file is no such thing, damaged, or holds anything else than named tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # Torch does not look at the checksums.
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
        value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} is not readable as a file of torch.save ({_first_line(error)}); it may be cut off, a Git LFS "
            "pointer, or hold more than weights: fetch it again."
        ) from error
    if not isinstance(value, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) and _is_plain(tensor)
        for name, tensor in value.items()
    ):
        raise ValueError(f"{path} holds no state dict (names with their tensors); fetch it again.")
    return value


def _is_plain(tensor: Tensor) -> bool:
    """Say whether every element of a tensor is stored: not sparse, quantized, or one number shown as many."""
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def as_floats(tensors: dict[str, Tensor], names: Collection[str], where: Path) -> dict[str, Tensor]:
    """Return the tensors with exactly these names, as float32.

    Raises:
        ValueError: one is missing, there is another one, or one holds anything but finite floating point numbers.
    """
    missing = sorted(set(names) - set(tensors))
    unknown = sorted(set(tensors) - set(names))
    if missing or unknown:
        raise ValueError(
            f"{where} should hold {listed(sorted(names))}, but"
            + (f" {listed(missing)} is missing" if missing else "")
            + (" and" if missing and unknown else "")
            + (f" it also holds {listed(unknown)}" if unknown else "")
            + ": it is damaged, or not what its settings say."
        )
    floats = {}
    for name in names:
        tensor = tensors[name]
        if tensor.dtype not in FLOATING:
            raise ValueError(
                f"{name} in {where} is of type {tensor.dtype}, but weights must be float16, bfloat16, float32 or "
                "float64; convert or fetch them again."
            )
        floats[name] = tensor.float()
        if not floats[name].isfinite().all():
            raise ValueError(f"{name} in {where} has values that are NaN or infinite; fetch it again.")
    return floats


def listed(names: Collection[str]) -> str:
    """Return names for a sentence, shortened if they are many."""
    shown = [name[:40] for name in list(names)[:8]]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(names) > len(shown) else "")


def whole_number(cfg: dict[str, Any], name: str, where: Path) -> int:
    """Return a setting that must be a whole number of at least 1.

    Raises:
        ValueError: it is missing or something else.
    """
    value = cfg.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{where} has {name} = {shown(value)}, but it must be a whole number above 0.")
    return value


def same_size(cfg: dict[str, Any], name: str, size: int, where: Path) -> None:
    """Raise a ValueError unless a setting is the size that the weights have."""
    if whole_number(cfg, name, where) != size:
        raise ValueError(
            f"{where} has {name} = {shown(cfg[name])}, but the weights beside it have {size}: they do not belong"
            " together."
        )


def check_spelling(cfg: dict[str, Any], known: Collection[str], where: Path) -> None:
    """Raise a ValueError if a setting is called almost, but not quite, like one that changes what is computed."""
    for name in cfg:
        if name not in known and (close := difflib.get_close_matches(name, known, n=1, cutoff=0.85)):
            raise ValueError(
                f"{where} has a setting {name!r}, which should perhaps be {close[0]!r}; fetch it again."
            )


def shown(value: object) -> str:
    """Return a value from a file for a sentence."""
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else type(error).__name__
