"""Reading a GGUF file, the format of llama.cpp: metadata, and tensors in float32, Q8_0 or Q4_1.

The file is trusted: whoever reads one has compared its SHA-256 before. So only what such a file holds is read, and
nothing is executed.

    "GGUF", version, number of tensors, number of entries
    entries: name, type, value
    tensors: name, number of axes, sizes (the last axis first), kind, offset
    padding to a multiple of 32 bytes, then the tensors' bytes

Quantized tensors are rows of blocks of 32 numbers. Q8_0: a float16 scale and 32 signed bytes. Q4_1: a float16 scale, a
float16 minimum and 16 bytes, whose lower halves are the first 16 numbers and whose upper halves the others.
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)
"""

from __future__ import annotations

import struct
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

BLOCK = 32
FLOAT32, Q4_1, Q8_0 = 0, 3, 8
_BYTES_OF_A_BLOCK = {FLOAT32: 4 * BLOCK, Q4_1: 4 + BLOCK // 2, Q8_0: 2 + BLOCK}
_STRING, _ARRAY = 8, 9
# How `struct` calls the types of the entries, by their numbers.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class GGUFFile:
    """A GGUF file; a tensor is read when it is asked for.

    `metadata` is a dictionary of numbers, strings and lists. `names` are the tensors' names, and `file[name]` is a
    tensor as a float32 array.
    """

    def __init__(self, path: Path) -> None:
        """Read metadata and the list of tensors.

        Raises:
            ValueError: the file is no GGUF file of version 3, or a tensor in it is of another kind.
        """
        self._bytes = np.memmap(path, mode="r")
        self._at = 0
        if bytes(self._bytes[:4]) != b"GGUF" or self._skip(4)._scalar("I") != 3:
            raise ValueError(f"{path} is not a GGUF file of version 3; fetch it again.")
        n_tensors, n_entries = self._scalar("Q"), self._scalar("Q")
        self.metadata = {self._string(): self._value(self._scalar("I")) for _ in range(n_entries)}
        self._tensors = {}
        for _ in range(n_tensors):
            name = self._string()
            shape = tuple(self._scalar("Q") for _ in range(self._scalar("I")))[::-1]
            kind, offset = self._scalar("I"), self._scalar("Q")
            if kind not in _BYTES_OF_A_BLOCK:
                raise ValueError(
                    f"{name} in {path} is of kind {kind}, but only float32, Q8_0 and Q4_1 are read."
                )
            self._tensors[name] = shape, kind, offset
        alignment = self.metadata.get("general.alignment", 32)
        self._data = -(-self._at // alignment) * alignment

    @property
    def names(self) -> list[str]:
        """The tensors' names."""
        return list(self._tensors)

    def __getitem__(self, name: str) -> Float[np.ndarray, ...]:
        shape, kind, offset = self._tensors[name]
        start = self._data + offset
        raw = self._bytes[start : start + prod(shape) * _BYTES_OF_A_BLOCK[kind] // BLOCK]
        if kind == FLOAT32:
            return raw.view("<f4").reshape(shape).astype(np.float32)
        blocks = raw.reshape(-1, _BYTES_OF_A_BLOCK[kind])
        scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
        if kind == Q8_0:
            return (scale * blocks[:, 2:].view(np.int8)).reshape(shape)
        minimum = blocks[:, 2:4].copy().view("<f2").astype(np.float32)
        halves = blocks[:, 4:]
        return (scale * np.concatenate([halves & 15, halves >> 4], axis=1) + minimum).reshape(shape)

    def _skip(self, size: int) -> GGUFFile:
        self._at += size
        return self

    def _take(self, size: int) -> bytes:
        self._at += size
        return bytes(self._bytes[self._at - size : self._at])

    def _scalar(self, kind: str) -> Any:
        return struct.unpack(f"<{kind}", self._take(struct.calcsize(f"<{kind}")))[0]

    def _string(self) -> str:
        return self._take(self._scalar("Q")).decode("utf-8")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            inner, length = self._scalar("I"), self._scalar("Q")
            return [self._value(inner) for _ in range(length)]
        return self._scalar(_SCALARS[kind])
