"""What crosses between the checker and a jail: frames of bounded size, plain data, tensors as safetensors.

Whatever comes out of a jail was written by a stranger. It is read as data, against a whitelist of types, shapes
and sizes; nothing in it is ever unpickled, imported or executed.

A frame is two lengths (32 bits each, little-endian), a JSON text and a blob. In the JSON, plain values stand for
themselves and everything else is an object with one key: list, tuple, dict, tensor (a number in the blob), handle,
or one of the configurations.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import os
import re
import struct
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from coursekit.checking.door import Handle

LARGEST_JSON = 1 << 20
LARGEST_BLOB = 256 << 20
# What a job may answer with. No right answer has a tenth of it, and a check computes with it in float64.
LARGEST_ANSWER = 32 << 20
MOST_NUMBERS = 8 << 20
LARGEST_HEADER = 1 << 17
LARGEST_TEXT = 20_000
MOST_NODES = 20_000
MOST_TENSORS = 256
MOST_AXES = 8
DEEPEST = 12

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.bool,
    )
}
# The same as safetensors writes them.
_DTYPE_NAMES = {"F16", "BF16", "F32", "F64", "I8", "I16", "I32", "I64", "U8", "BOOL"}
# The only classes that are ever made on the other side, by name.
CONFIGURATIONS = {"ToyModelConfig": "part_utils.toy_model", "AutoEncoderConfig": "part_utils.autoencoder"}

_HEADER = struct.Struct("<II")
# Everything below a space except tab and newline, and what a terminal or a page might obey.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Malformed(Exception):
    """What arrived is not data of the agreed form."""


class Closed(Exception):
    """The other side is gone."""


class Channel:
    """Frames over a pair of file descriptors (of one socket, or of two pipes)."""

    def __init__(self, reads_from: int, writes_to: int, largest_blob: int = LARGEST_BLOB) -> None:
        self._reads_from = reads_from
        self._writes_to = writes_to
        self._largest_blob = largest_blob

    def send(self, message: dict[str, Any], blob: bytes = b"") -> None:
        """Write one frame. Raises Closed if nobody reads, Malformed if it is too large."""
        text = json.dumps(message, ensure_ascii=True).encode()
        if len(text) > LARGEST_JSON or len(blob) > LARGEST_BLOB:
            raise Malformed(
                f"more than {LARGEST_BLOB >> 20} MB of tensors or {LARGEST_JSON >> 20} MB of other data"
            )
        view = memoryview(b"".join((_HEADER.pack(len(text), len(blob)), text, blob)))
        try:
            while view:
                view = view[os.write(self._writes_to, view[: 1 << 20]) :]
        except OSError:
            raise Closed from None

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """Read one frame. Raises Closed at the end of the stream, Malformed where it is not a frame.

        The lengths are looked at before anything is read.
        """
        text_length, blob_length = _HEADER.unpack(self._read(_HEADER.size))
        if text_length > LARGEST_JSON or blob_length > self._largest_blob:
            raise Malformed("a frame is too long")
        text, blob = self._read(text_length), self._read(blob_length)
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            raise Malformed("a frame is not JSON") from None
        if not isinstance(message, dict):
            raise Malformed("a frame is not an object")
        return message, blob

    def _read(self, length: int) -> bytes:
        # One buffer: a sender that writes byte by byte would fill the memory with pieces.
        found = bytearray()
        while len(found) < length:
            try:
                piece = os.read(self._reads_from, min(length - len(found), 1 << 20))
            except OSError:
                raise Closed from None
            if not piece:
                raise Closed
            found += piece
        return bytes(found)


def encode(value: Any, answer: bool = False) -> tuple[Any, bytes]:
    """Return the value as JSON, and its tensors as safetensors. Raises Malformed for what may not cross.

    The `answer` of a job has to be smaller than what a checker may send.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    tree = _encode(value, tensors, 0)
    if answer and (
        sum(tensor.numel() for tensor in tensors.values()) > MOST_NUMBERS
        or sum(tensor.nbytes for tensor in tensors.values()) > LARGEST_ANSWER - LARGEST_HEADER
    ):
        raise Malformed(f"more than {MOST_NUMBERS >> 20} million numbers")
    return tree, save(tensors) if tensors else b""


def _encode(value: Any, tensors: dict[str, Tensor], depth: int) -> Any:
    if depth > DEEPEST:
        raise Malformed("nested too deeply")
    if isinstance(value, Tensor):
        if (
            value.dtype not in DTYPES.values()
            or value.layout is not torch.strided
            or value.device.type != "cpu"
        ):
            return {"handle": [-1, f"tensor of {value.dtype}, {value.layout}, on {value.device.type}"[:200]]}
        if len(tensors) >= MOST_TENSORS or value.ndim > MOST_AXES:
            raise Malformed(f"more than {MOST_TENSORS} tensors, or one with more than {MOST_AXES} axes")
        key = str(len(tensors))
        tensors[key] = value.detach().clone(memory_format=torch.contiguous_format)
        return {"tensor": len(tensors) - 1}
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        if abs(value) >= 1 << 63:
            raise Malformed("an integer of more than 64 bits")
        return int(value)
    if isinstance(value, str):
        return str(value)[:LARGEST_TEXT]
    if isinstance(value, Handle):
        return {"handle": [value.number, value.type_name[:200]]}
    if isinstance(value, list | tuple):
        return {
            "list" if isinstance(value, list) else "tuple": [_encode(v, tensors, depth + 1) for v in value]
        }
    if isinstance(value, dict):
        return {"dict": [[_encode(v, tensors, depth + 1) for v in pair] for pair in value.items()]}
    name = type(value).__name__
    if CONFIGURATIONS.get(name) == type(value).__module__:
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"configuration": [name, _encode(fields, tensors, depth + 1)]}
    raise Malformed(f"a value of type {name} cannot cross")


def decode(tree: Any, blob: bytes, trusted: bool = False) -> Any:
    """Return the value that `encode` was given. Raises Malformed for anything that `encode` would not have written.

    Configurations are made only from a trusted sender, which is the checker, and only its tensors may be large.
    Each tensor stands in the value once: thousands of references to one would be thousands of comparisons.
    """
    tensors = _tensors(blob, trusted)
    nodes = 0

    def read(node: Any, depth: int) -> Any:
        nonlocal nodes
        nodes += 1
        if nodes > MOST_NODES or depth > DEEPEST:
            raise Malformed("too many values")
        if node is None or isinstance(node, bool | float):
            return node
        if isinstance(node, int):
            if abs(node) >= 1 << 63:
                raise Malformed("an integer of more than 64 bits")
            return node
        if isinstance(node, str):
            return plain_text(node)
        if not isinstance(node, dict) or len(node) != 1:
            raise Malformed("an unknown kind of value")
        ((kind, content),) = node.items()
        if kind == "tensor":
            if not is_whole(content, 0, MOST_TENSORS) or str(content) not in tensors:
                raise Malformed("a tensor is missing, or stands there twice")
            return tensors.pop(str(content))
        if not isinstance(content, list):
            raise Malformed("an unknown kind of value")
        if kind == "list":
            return [read(item, depth + 1) for item in content]
        if kind == "tuple":
            return tuple(read(item, depth + 1) for item in content)
        if kind == "dict":
            return _dictionary(content, lambda item: read(item, depth + 1))
        if (
            kind == "handle"
            and len(content) == 2
            and is_whole(content[0], -1, 1 << 31)
            and isinstance(content[1], str)
        ):
            return Handle(content[0], plain_text(content[1], 200))
        if kind == "configuration" and trusted:
            name, fields = content
            return getattr(importlib.import_module(CONFIGURATIONS[name]), name)(**read(fields, depth + 1))
        raise Malformed("an unknown kind of value")

    value = read(tree, 0)
    if tensors:
        raise Malformed("a tensor that belongs nowhere")
    return value


def is_whole(value: Any, least: int, most: int) -> bool:
    """Return whether it is an integer in this range, and no truth value."""
    return type(value) is int and least <= value <= most


def _dictionary(pairs: list[Any], read: Callable[[Any], Any]) -> dict[Any, Any]:
    result = {}
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise Malformed("an unknown kind of value")
        key = read(pair[0])
        if not (key is None or isinstance(key, bool | int | float | str)):
            raise Malformed("a key that is not a plain value")
        result[key] = read(pair[1])
    return result


def _tensors(blob: bytes, trusted: bool) -> dict[str, Tensor]:
    """The tensors by number. What the header claims is checked before one is made."""
    if not blob:
        return {}
    from safetensors import SafetensorError
    from safetensors.torch import load

    _check_header(blob, MOST_TENSORS, LARGEST_BLOB if trusted else MOST_NUMBERS)
    try:
        return load(blob)
    except (SafetensorError, ValueError, RuntimeError, KeyError, TypeError, OverflowError, AttributeError):
        raise Malformed("the tensors are not in safetensors format") from None


def _check_header(blob: bytes, most_tensors: int, most_numbers: int) -> None:
    """Raise Malformed unless the blob begins with a small header of few tensors of allowed kinds and sizes."""
    length = int.from_bytes(blob[:8], "little")
    if len(blob) < 8 or length > min(LARGEST_HEADER, len(blob) - 8):
        raise Malformed("the tensors are not in safetensors format")
    try:
        header = json.loads(blob[8 : 8 + length])
    except (ValueError, RecursionError):
        raise Malformed("the tensors are not in safetensors format") from None
    if not isinstance(header, dict) or len(header) > most_tensors:
        raise Malformed("too many tensors")
    numbers = 0
    for facts in header.values():
        shape = facts.get("shape") if isinstance(facts, dict) else None
        if not isinstance(shape, list) or len(shape) > MOST_AXES or facts.get("dtype") not in _DTYPE_NAMES:
            raise Malformed("a tensor of a kind that may not cross")
        if not all(is_whole(size, 0, most_numbers) for size in shape):
            raise Malformed("a tensor is too large")
        numbers += math.prod(shape)
        # A tensor without numbers may still have axes that are long.
        if numbers > most_numbers or math.prod(max(size, 1) for size in shape) > most_numbers:
            raise Malformed("a tensor is too large")


def plain_text(text: Any, longest: int = LARGEST_TEXT) -> str:
    """Return a stranger's text without control characters, which a terminal would obey, and cut at its longest."""
    if not isinstance(text, str):
        return ""
    return _UNPRINTABLE.sub("�", text[:longest])
