"""Exercise 6.6: `matryoshka_loss`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistakes
from coursekit.checking.phrases import unit_rows

AXES = "batch n_instances"


@exercise(
    id="6.6",
    reference="variants/matryoshka.matryoshka_loss",
    difficulty=3,
    importance=4,
    minutes=20,
    points=3,
)
def matryoshka_loss(check: Check) -> None:
    for batch, instances, latents, inputs, prefixes in (
        (11, 3, 7, 5, (2, 5, 7)),
        (5, 2, 13, 3, (1, 4, 6, 13)),
        (7, 1, 5, 11, (5,)),
        (1, 2, 3, 1, (1, 3)),
        (6, 2, 11, 5, [3, 11]),
    ):
        acts = check.sparse(batch, instances, latents, probability=0.6)
        W_dec = check.normal(instances, latents, inputs)
        b_dec, h = check.normal(instances, inputs), check.normal(batch, instances, inputs)
        check.equal(
            check.call(acts, W_dec, b_dec, h, prefixes),
            sum(_errors(acts, W_dec, b_dec, h, prefixes), torch.zeros(())),
            AXES,
            f"{len(prefixes)} {'prefix' if len(prefixes) == 1 else 'prefixes'} of {latents} latents",
            _wrong(acts, W_dec, b_dec, h, prefixes),
        )
    _check_gradient(check)


def _errors(acts: Tensor, W_dec: Tensor, b_dec: Tensor, h: Tensor, prefixes: Sequence[int]) -> list[Tensor]:
    rebuilt = [torch.einsum("bil,ilx->bix", acts[..., :m], W_dec[:, :m]) + b_dec for m in prefixes]
    return [(h - each).pow(2).mean(-1) for each in rebuilt]


def _wrong(acts: Tensor, W_dec: Tensor, b_dec: Tensor, h: Tensor, prefixes: Sequence[int]) -> Mistakes:
    errors = _errors(acts, W_dec, b_dec, h, prefixes)
    total = sum(errors, torch.zeros(()))
    ends = [0, *prefixes]
    zero = torch.zeros_like(b_dec)

    def slices(bias_each: bool) -> Tensor:
        found = torch.zeros(())
        for index, (start, end) in enumerate(itertools.pairwise(ends)):
            part = torch.einsum("bil,ilx->bix", acts[..., start:end], W_dec[:, start:end])
            bias = b_dec if bias_each or index == len(prefixes) - 1 else zero
            found = found + (h - part - bias).pow(2).mean(-1)
        return found

    return {
        "each prefix has only the latents that the one before it lacks: a prefix starts at latent 0": [
            slices(True),
            slices(False),
        ],
        "`b_dec` is left out of all prefixes": sum(_errors(acts, W_dec, zero, h, prefixes), torch.zeros(())),
        "`b_dec` is added to the whole dictionary only, and left out of the shorter prefixes": (
            sum(_errors(acts, W_dec, zero, h, prefixes[:-1]), torch.zeros(())) + errors[-1]
        ),
        "the mean over the prefixes is taken instead of the sum": total / len(prefixes),
        "the last prefix, the whole dictionary, is missing": sum(errors[:-1], torch.zeros(())),
        "only the whole dictionary counts": errors[-1],
        "the first prefix is missing": sum(errors[1:], torch.zeros(())),
        "only the first prefix counts": errors[0],
        "the squared error is summed over the input's dimensions instead of averaged": total * h.shape[-1],
        "the decoder is normalized here; it is used as it is": sum(
            _errors(acts, unit_rows(W_dec), b_dec, h, prefixes), torch.zeros(())
        ),
        "a prefix has one latent too few": lambda: sum(
            _errors(acts, W_dec, b_dec, h, [m - 1 for m in prefixes]), torch.zeros(())
        ),
        "a prefix has one latent too many": lambda: sum(
            _errors(acts, W_dec, b_dec, h, [m + 1 for m in prefixes]), torch.zeros(())
        ),
        "the *last* latents of the dictionary are taken, not the first": sum(
            (
                (h - b_dec - torch.einsum("bil,ilx->bix", acts[..., -m:], W_dec[:, -m:])).pow(2).mean(-1)
                for m in prefixes
            ),
            torch.zeros(()),
        ),
        "the errors of the prefixes are multiplied": torch.stack(errors).prod(0),
        "each prefix has to explain what the one before it left over": lambda: sum(
            (
                (h - b_dec - torch.einsum("bil,ilx->bix", acts[..., :m], W_dec[:, :m])).abs().mean(-1)
                for m in prefixes
            ),
            torch.zeros(()),
        ),
        "the errors are kept apart: the sum over the prefixes is missing": [
            torch.stack(errors),
            torch.stack(errors, -1),
        ],
        "the mean over the batch is taken; every input has a number of its own": total.mean(0),
        "it is one number; every input and instance has its own": [
            total.mean(0).sum(),
            total.mean(),
            total.sum(),
        ],
    }


def _check_gradient(check: Check) -> None:
    acts = check.sparse(11, 2, 7, probability=0.6)
    W_dec, b_dec, h = check.normal(2, 7, 5), check.normal(2, 5), check.normal(11, 2, 5)
    cotangent = check.normal(11, 2)
    prefixes = (2, 4, 7)
    given = [value.clone().requires_grad_() for value in (acts, W_dec, b_dec)]
    total = sum(_errors(given[0], given[1], given[2], h, prefixes), torch.zeros(()))
    wanted = torch.autograd.grad((total * cotangent).sum(), given)
    for place, (axes, gradient) in enumerate(
        zip(
            ("batch n_instances n_hidden_ae", "n_instances n_hidden_ae n_input_ae", "n_instances n_input_ae"),
            wanted,
            strict=True,
        )
    ):
        check.gradient(
            check.exercise_id,
            acts,
            W_dec,
            b_dec,
            h,
            prefixes,
            wrt={place: gradient},
            axes=axes,
            claim="the gradients reach latents, decoder and `b_dec`",
            cotangent=cotangent,
        )
