"""What both trainings share: precision and threads chosen at run time, checkpoints, the log, several processes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from part_utils.progress_bar import progress_bar


def matmul_rate(
    dtype: torch.dtype, device: str | torch.device, size: int = 1024, seconds: float = 0.3
) -> float:
    """Floating-point operations per second of square matrix products in `dtype`, measured now."""
    a = torch.randn(size, size, device=device).to(dtype)
    a @ a
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds or count < 3:
        result = a @ a
        count += 1
    result.sum().item()
    return 2 * size**3 * count / (time.perf_counter() - start)


def fastest_dtype(device: str | torch.device) -> torch.dtype:
    """bfloat16 where its matrix products are at least 1.3 times as fast as float32's, float32 otherwise."""
    rates = {dtype: matmul_rate(dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    return torch.bfloat16 if rates[torch.bfloat16] > 1.3 * rates[torch.float32] else torch.float32


class ThreadChooser:
    """Uses one thread or all, whichever ran the last steps faster.

    Where other programs use the cores, a step that waits for its slowest thread is slower with
    several threads than with one. Every `period` steps each count is tried once.
    """

    def __init__(self, period: int = 30) -> None:
        self.counts = sorted({1, torch.get_num_threads()})
        self.period = period
        self.seconds: dict[int, float] = {}
        self.step = 0
        self.started = 0.0

    def __enter__(self) -> None:
        phase = self.step % self.period
        if phase < len(self.counts):
            torch.set_num_threads(self.counts[phase])
        elif phase == len(self.counts):
            torch.set_num_threads(min(self.counts, key=lambda count: self.seconds[count]))
        self.started = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self.seconds[torch.get_num_threads()] = time.perf_counter() - self.started
        self.step += 1


class Processes:
    """The processes that `torchrun` started, or the only one."""

    def __init__(self, device: str) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if self.count > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        if self.count > 1 and device.startswith("cuda"):
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))

    def average(self, *values: Tensor) -> None:
        """Replace tensors by their means over the processes, in one message."""
        if self.count == 1:
            return
        flat = torch.cat([value.detach().flatten() for value in values])
        dist.all_reduce(flat)
        flat /= self.count
        for value, part in zip(values, flat.split([value.numel() for value in values]), strict=True):
            value.copy_(part.view_as(value))

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def close(self) -> None:
        """Leave the group, so that the program ends without a warning."""
        if self.count > 1 and dist.is_initialized():
            dist.destroy_process_group()


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint in one step, so that a kill leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".partial")
    torch.save(state, scratch)
    scratch.replace(path)


def load_checkpoint(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the checkpoint at `path`, or None; a ValueError where it was made with other settings."""
    if not path.exists():
        return None
    state = torch.load(path, weights_only=True)
    different = [key for key, value in settings.items() if state["settings"].get(key) != value]
    if different:
        raise ValueError(
            f"{path} was made with other settings ({', '.join(different)}): use the same ones to go on from it, "
            "or give another --run-dir."
        )
    return state


class ProgressLog:
    """A progress bar, and a line of JSON in `log.jsonl` every `every` steps: loss, tokens per second, time left."""

    def __init__(
        self,
        path: Path,
        first_step: int,
        steps: int,
        tokens_per_step: int,
        every: int,
        show: bool,
        write: bool,
    ) -> None:
        self.path, self.steps, self.every, self.tokens_per_step = path, steps, every, tokens_per_step
        self.bar = progress_bar(steps, show=show, initial=first_step)
        self.since, self.since_step = time.perf_counter(), first_step
        self.write = write

    def update(self, step: int, **values: float) -> None:
        """Note the values of step number `step` (from 1)."""
        self.bar.update(1)
        if step % self.every and step != self.steps:
            return
        now = time.perf_counter()
        seconds = (now - self.since) / max(1, step - self.since_step)
        self.since, self.since_step = now, step
        entry = {
            "step": step,
            **{name: round(float(value), 5) for name, value in values.items()},
            "tokens": step * self.tokens_per_step,
            "tokens_per_second": round(self.tokens_per_step / seconds),
            "minutes_left": round(seconds * (self.steps - step) / 60, 1),
        }
        self.bar.set_postfix_str(" ".join(f"{name} {value:.4g}" for name, value in values.items()))
        if self.write:
            with self.path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
