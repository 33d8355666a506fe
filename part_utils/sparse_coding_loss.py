"""Hands a name on to notebooks of release 0.1.0; it is in `part_utils.tensors` now."""

from part_utils.tensors import SMALLEST_NORM

__all__ = ["SMALLEST_NORM"]
