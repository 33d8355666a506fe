"""The quick twin of a plain toy model's training: its batches, its loss, and its gradients written out.

The readable original is `ToyModel.generate_batch`, `forward`, `calculate_loss` and autograd.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from part_utils.toy_model import ToyModel


def loss_function(model: ToyModel, batch_size: int, seed: int | None, pool: Executor) -> Callable[[], Tensor]:
    """Return a function that draws a batch, fills the gradients of W and b_final, and returns the loss.

    A large model is cut into pieces of a few instances: they fit into the cache of a processor and can be
    worked on at the same time. Each has a random generator of its own, so that the result is always the same.

    Args:
        model: a plain toy model (`ToyModel.is_plain`).
        batch_size: inputs in each batch, for each instance.
        seed: where the random batches come from; None takes torch's own generator.
        pool: threads that draw and compute.
    """
    per_piece = max(1, 2**18 // (batch_size * model.cfg.n_features))
    model.W.grad, model.b_final.grad = torch.zeros_like(model.W), torch.zeros_like(model.b_final)
    tensors = (
        model.feature_probability,
        model.W,
        model.b_final,
        model.importance,
        model.W.grad,
        model.b_final.grad,
    )
    pieces = list(zip(*(tensor.detach().split(per_piece) for tensor in tensors), strict=True))
    root = None if seed is None else torch.Generator().manual_seed(seed)
    seeds = torch.randint(2**62, (len(pieces),), generator=root).tolist()
    generators = [torch.Generator(model.W.device).manual_seed(s) for s in seeds]

    if len(pieces) == 1:
        batches = _drawn_ahead(model.feature_probability, batch_size, generators[0], pool)
        weights = pieces[0][1:]
        return torch.no_grad()(lambda: loss_and_gradients(next(batches), *weights))

    @torch.no_grad()  # which holds for one thread only
    def work(piece: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        probability, *weights = piece
        return loss_and_gradients(draw_features(probability, batch_size, generator), *weights)

    return lambda: torch.stack(list(pool.map(work, pieces, generators))).sum()


def _drawn_ahead(
    probability: Float[Tensor, "instances features"],
    batch_size: int,
    generator: torch.Generator,
    pool: Executor,
) -> Iterator[Float[Tensor, "instances features batch"]]:
    """Draw batch after batch of a small model in another thread, several at once, while the last are used.

    Random numbers are nearly half of the work of a step. The batches are the same as if drawn one by one.
    """
    at_once = min(16, max(1, 2**19 // (batch_size * probability.numel())))
    slope = -1 / probability.clamp(min=1e-12).repeat(at_once, 1)
    draw = functools.partial(_draw, slope, batch_size, generator)
    upcoming = pool.submit(draw)
    while True:
        batches, upcoming = upcoming.result(), pool.submit(draw)
        yield from batches.chunk(at_once)


def draw_features(
    probability: Float[Tensor, "instances features"],
    batch_size: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "instances features batch"]:
    """Draw sparse features with one random number each, with the batch as the last axis.

    One draw u serves for both presence and value. The feature is present if u < p, and 1 - u / p is then uniform
    between 0 and 1. Where the feature is absent 1 - u / p is negative, and a ReLU makes it zero.
    """
    return _draw(-1 / probability.clamp(min=1e-12), batch_size, generator)


def _draw(
    slope: Float[Tensor, "instances features"], batch_size: int, generator: torch.Generator | None
) -> Float[Tensor, "instances features batch"]:
    """ReLU(1 + slope u), with u uniform between 0 and 1.

    `torch.rand` spends most of its time on one call of the generator for each number. Here one call makes a 64-bit
    integer, and the low 24 bits of either half make two numbers, as fine as those of `torch.rand`.
    """
    shape = (*slope.shape, batch_size)
    n = math.prod(shape)
    pairs = torch.empty(-(-n // 2), dtype=torch.int64, device=slope.device).random_(generator=generator)
    u = pairs.view(torch.int32).bitwise_and_(0xFFFFFF)[:n].view(shape).float()  # times 2^24
    return u.mul_(slope.unsqueeze(2) * 2**-24).add_(1).relu_()


# In place, where the public function makes a new tensor.
_threshold_backward = torch.ops.aten.threshold_backward.grad_input


def loss_and_gradients(
    batch: Float[Tensor, "instances features batch"],
    W: Float[Tensor, "instances hidden features"],
    b_final: Float[Tensor, "instances features"],
    importance: Float[Tensor, "instances features"],
    W_grad: Float[Tensor, "instances hidden features"],
    b_grad: Float[Tensor, "instances features"],
) -> Float[Tensor, ""]:
    """Return the loss of the plain toy model, with its gradients written out.

    The same as `calculate_loss(forward(batch), batch)` and its `backward()`, in fewer operations. The batch is the
    last axis, so that each step reads as in the papers: `hidden = W x`. Call it under `torch.no_grad()`.

    Args:
        batch: the inputs.
        W, b_final, importance: those of the model.
        W_grad, b_grad: where the gradients are written to.

    Returns:
        The loss.
    """
    hidden = torch.bmm(W, batch)
    out = torch.baddbmm(b_final.unsqueeze(2), W.mT, hidden).relu_()
    error = out - batch
    out_grad = error * (importance * (2 / (batch.shape[1] * batch.shape[2]))).unsqueeze(2)
    loss = torch.dot(out_grad.view(-1), error.view(-1)) / 2
    _threshold_backward(out_grad, out, 0, grad_input=out_grad)  # zero where the ReLU is
    torch.bmm(hidden, out_grad.mT, out=W_grad).baddbmm_(torch.bmm(W, out_grad), batch.mT)
    torch.sum(out_grad, dim=2, out=b_grad)
    return loss
