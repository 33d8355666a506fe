"""What checks need on the learner's side of the door: it looks at objects that stay there, or makes them.

A check reaches these by their dotted names, with handles. Tensors and plain values come back.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq")


class Parameters:
    """Remembers the parameter objects of a module, as an optimizer does."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._remembered = self._current()

    def _current(self) -> dict[str, nn.Parameter]:
        return dict(self._module.named_parameters()) if isinstance(self._module, nn.Module) else {}

    def trainable(self) -> list[str]:
        """The names of the parameters that take gradients."""
        return [name for name, parameter in self._current().items() if parameter.requires_grad]

    def replaced(self) -> list[str]:
        """The names under which there is another object now, or none."""
        now = self._current()
        return [name for name, parameter in self._remembered.items() if now.get(name) is not parameter]


def adam(module: nn.Module, seed: int | None) -> torch.optim.Adam:
    """An optimizer for the module: after some steps, with random moments, or before the first (seed None)."""
    # Made as unpickling would make it: the constructor loads torch's compiler, which takes seconds.
    optimizer = torch.optim.Adam.__new__(torch.optim.Adam)
    settings = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    groups = [{"params": list(module.parameters()), **settings}]
    optimizer.__setstate__({"defaults": settings, "state": defaultdict(dict), "param_groups": groups})
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        for parameter in module.parameters():
            optimizer.state[parameter] = {
                "step": torch.tensor(100.0),
                "exp_avg": torch.randn(parameter.shape, generator=generator),
                "exp_avg_sq": torch.rand(parameter.shape, generator=generator) + 0.1,
            }
    return optimizer


def adam_state(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, dict[str, Tensor]]:
    """What the optimizer remembers of every parameter, by the parameter's name."""
    return {
        name: {key: torch.as_tensor(value) for key, value in optimizer.state.get(parameter, {}).items()}
        for name, parameter in module.named_parameters()
    }
