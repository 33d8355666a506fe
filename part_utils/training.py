"""The one training loop that toy models and autoencoders share."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from part_utils.fast.adam import adam_step
from part_utils.progress_bar import progress_bar

Schedule = Callable[[int, int], float]


def constant_lr(step: int, steps: int) -> float:
    """Return the same learning rate throughout."""
    return 1.0


def linear_lr(step: int, steps: int) -> float:
    """From the full learning rate down to zero in a straight line."""
    return 1 - step / steps


def cosine_decay_lr(step: int, steps: int) -> float:
    """From the full learning rate down to zero along half a cosine: slow, fast, slow."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass
class TrainingLog:
    """What happened during a training run, in bounded memory.

    At first every step is kept. When there are `max_records` of them, every second record is dropped and from
    then on half as many are kept, and so on. So the records stay evenly spaced and at most `max_records`
    many, whatever the number of steps. The last step is always there.

    `log.steps` holds the numbers of the recorded steps, `log["loss"]` the losses at these steps, and any
    other name that was recorded works the same way.
    """

    max_records: int = 200
    every: int = 1
    steps: list[int] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.max_records < 2:
            raise ValueError(
                f"A TrainingLog needs room for at least 2 records, got max_records={self.max_records}."
            )

    def __getitem__(self, name: str) -> list[Any]:
        return [record[name] for record in self.records]

    def wants(self, step: int) -> bool:
        """Tell whether this step is due for a record."""
        return step % self.every == 0

    def add(self, step: int, **values: Any) -> None:
        """Record `values` for `step`, making room first when the log is full."""
        if len(self.steps) >= self.max_records:
            self.every *= 2
            kept = [i for i, old in enumerate(self.steps) if self.wants(old)]
            self.steps = [self.steps[i] for i in kept]
            self.records = [self.records[i] for i in kept]
        self.steps.append(step)
        self.records.append(values)

    @property
    def final_loss(self) -> float:
        """The mean loss over the last tenth of the records: one batch alone is noisy."""
        losses = self["loss"]
        tail = losses[-max(1, len(losses) // 10) :]
        return sum(tail) / len(tail)


def train(
    compute_loss: Callable[[], Tensor],
    parameters: Iterable[nn.Parameter],
    steps: int,
    *,
    lr: float = 1e-3,
    lr_schedule: Schedule = constant_lr,
    weight_decay: float = 0.0,
    after_step: Callable[[int, torch.optim.Optimizer], None] | None = None,
    record: Callable[[], dict[str, Any]] | None = None,
    max_records: int = 200,
    seed: int | None = 0,
    progress: bool = True,
    threads: int | None = None,
) -> TrainingLog:
    """Minimize a loss with Adam.

    Args:
        compute_loss: draws a batch and returns its loss, a scalar with a gradient. It may also fill the `grad` of
            every parameter itself and return a loss without a gradient.
        parameters: what to train.
        steps: how many steps of the optimizer.
        lr: learning rate, before the schedule.
        lr_schedule: `(step, steps) -> factor`, with which the learning rate of each step is multiplied.
        weight_decay: decoupled weight decay (Loshchilov & Hutter 2019); 0 is plain Adam.
        after_step: called as `after_step(step, optimizer)` after each step, for instance to put the decoder
            back to unit norm or to resample dead neurons; it must change parameters in place, under
            `torch.no_grad()`.
        record: called at each recorded step; what it returns is kept in the log beside loss and lr.
        max_records: the most records that the log keeps.
        seed: everything random in the run follows from it, and the state of the global random number
            generator is the same after the run as before. None draws from the global generator instead.
        progress: show a progress bar (on stdout; a notebook's test cells must not write to stderr).
        threads: how many CPU threads to use during the run; None leaves the setting alone.

    Returns:
        The log, with steps, "loss" and "lr".

    Raises:
        ValueError: steps or lr is not positive, or the loss is not finite or has no gradient.
    """
    if steps < 1 or int(steps) != steps:
        raise ValueError(f"The number of steps must be a positive whole number, got {steps}.")
    if not lr > 0:
        raise ValueError(f"The learning rate must be positive, got {lr}.")
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=True)
    log = TrainingLog(max_records=max_records)
    with _seeded(seed, parameters), _threads(threads):
        bar = progress_bar(show=progress, iterable=range(steps))
        for step in bar:
            step_lr = lr * lr_schedule(step, steps)
            for group in optimizer.param_groups:
                group["lr"] = step_lr
            loss = compute_loss()
            if loss.requires_grad:
                optimizer.zero_grad()
                loss.backward()
            elif any(p.grad is None for p in parameters):
                raise ValueError("The loss has no gradient: was it detached, or made into a new tensor?")
            adam_step(optimizer)
            if after_step is not None:
                after_step(step, optimizer)
            if log.wants(step) or step == steps - 1:
                value = loss.item()
                if not math.isfinite(value):
                    raise ValueError(
                        f"The loss became {value} at step {step}; try a smaller learning rate than {lr}."
                    )
                log.add(step, loss=value, lr=step_lr, **(record() if record is not None else {}))
                if progress:
                    bar.set_postfix(loss=f"{value:.4g}", refresh=False)
    return log


@contextmanager
def _seeded(seed: int | None, parameters: list[nn.Parameter]) -> Iterator[None]:
    """Seed torch inside the block and put its random state back afterwards."""
    if seed is None:
        yield
        return
    cuda = {p.device for p in parameters if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=[d.index or 0 for d in cuda]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    """Use so many CPU threads inside the block."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
