"""What the checks of chapter 8 share: activations with sinks, and what comes back as a mask."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import Handle

NEEDS = ("transformer_lens.model_bridge",)
FIXTURES = "coursekit.checking.fixtures"
SINKS = "batch seq"


def residual_of(check: Check, lengths: Tensor, size: int) -> Tensor:
    """Return vectors of random directions and these lengths: `batch seq size`."""
    vectors = check.normal(*lengths.shape, size)
    return vectors / vectors.norm(dim=-1, keepdim=True) * lengths[..., None]


def random_mask(check: Check, *shape: int) -> Tensor:
    """Return a mask with both answers in it, on the diagonal and off it."""
    mask = check.uniform(*shape) < 0.7
    mask.view(-1)[0], mask.view(-1)[-1] = False, True
    return mask


def as_mask(found: Any) -> Tensor:
    """Return a mask as numbers, so that it can be compared."""
    if isinstance(found, Tensor) and found.dtype == torch.bool:
        return found.float()
    if isinstance(found, Tensor) and found.numel() and bool(((found == 0) | (found == 1)).all()):
        return found.float()
    if found is None:
        raise Mistake("Your function returns nothing. Does it end with a `return`?")
    if isinstance(found, Tensor):
        raise Mistake(
            f"Your function returns numbers of type {found.dtype}; expected True or False for each position. Compare "
            "the norms with a threshold."
        )
    kind = found.type_name if isinstance(found, Handle) else type(found).__name__
    raise Mistake(
        f"Your function returns something of type {kind}; expected a torch.Tensor of True and False."
    )
