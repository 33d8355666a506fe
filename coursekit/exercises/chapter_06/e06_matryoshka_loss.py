"""Exercise 6.6: `matryoshka_loss`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

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
        (11, 5, 7, 3, (2, 5, 7)),
        (5, 2, 13, 3, (1, 4, 6, 13)),
        (7, 1, 5, 11, (5,)),
        (1, 2, 3, 1, (1, 3)),
        (6, 2, 11, 5, [3, 11]),
        (131, 3, 17, 5, (1, 2, 3, 5, 8, 13)),
        (5, 2, 7, 3, (4, 6)),
    ):
        acts = check.sparse(batch, instances, latents, probability=0.6)
        W_dec = check.normal(instances, latents, inputs)
        b_dec, h = check.normal(instances, inputs), check.normal(batch, instances, inputs)
        check.equal(
            check.call(acts, W_dec, b_dec, h, prefixes),
            sum(_errors(acts, W_dec, b_dec, h, prefixes), torch.zeros(())),
            AXES,
            f"{len(prefixes)} {'prefix' if len(prefixes) == 1 else 'prefixes'} of {latents} latents",
            partial(_wrong, acts, W_dec, b_dec, h, prefixes),
        )
    _check_gradient(check)
    check.leaves_inputs(acts, W_dec, b_dec, h, prefixes)


def _errors(acts: Tensor, W_dec: Tensor, b_dec: Tensor, h: Tensor, prefixes: Sequence[int]) -> list[Tensor]:
    return [(h - b_dec - _rebuilt(acts, W_dec, m)).pow(2).mean(-1) for m in prefixes]


def _rebuilt(acts: Tensor, W_dec: Tensor, m: int) -> Tensor:
    return torch.einsum("bil,ilx->bix", acts[..., :m], W_dec[:, :m])


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

    def all_of(
        sizes: Sequence[int], acts: Tensor = acts, W_dec: Tensor = W_dec, b_dec: Tensor = b_dec
    ) -> Tensor:
        return sum(_errors(acts, W_dec, b_dec, h, sizes), torch.zeros(()))

    def with_biases(*times: int) -> Tensor:
        """The bias so often in each prefix."""
        return sum(
            (_errors(acts, W_dec, n * b_dec, h, [m])[0] for n, m in zip(times, prefixes, strict=True)),
            torch.zeros(()),
        )

    def left_over() -> Tensor:
        found, left = torch.zeros(()), h
        for m in prefixes:
            left = left - (_rebuilt(acts, W_dec, m) + b_dec)
            found = found + left.pow(2).mean(-1)
        return found

    def strongest(m: int) -> Tensor:
        values, places = acts.topk(m, dim=-1)
        kept = torch.zeros_like(acts).scatter(-1, places, values)
        return _errors(kept, W_dec, b_dec, h, [latents])[0]

    latents, count = acts.shape[-1], len(prefixes)
    none = [0] * (count - 1)
    rebuilt = torch.stack([_rebuilt(acts, W_dec, m) + b_dec for m in prefixes])
    return {
        "each prefix has only the latents that the one before it lacks: a prefix starts at latent 0": [
            slices(True),
            slices(False),
        ],
        "`b_dec` is left out of all prefixes": all_of(prefixes, b_dec=zero),
        "`b_dec` is added in the last prefix only, and left out of the shorter ones": with_biases(*none, 1),
        "`b_dec` is added in the first prefix only, and left out of the longer ones": with_biases(1, *none),
        "`b_dec` is added once more for every prefix: twice in the second, three times in the third": with_biases(
            *range(1, count + 1)
        ),
        "the mean over the prefixes is taken instead of the sum": total / count,
        "the last prefix is missing": all_of(prefixes[:-1]) if count > 1 else None,
        "only the last prefix counts": errors[-1],
        "the first prefix is missing": all_of(prefixes[1:]) if count > 1 else None,
        "only the first prefix counts": errors[0],
        # With one more than these it is the last that is missing.
        "only the first 3 prefixes count": all_of(prefixes[:3]) if count > 4 else None,
        "only the first 2 prefixes count": all_of(prefixes[:2]) if count > 3 else None,
        "the whole dictionary is added to the prefixes; it counts only where it is one of them": all_of(
            [*prefixes, latents]
        ),
        "the whole dictionary takes the place of the last prefix; that one need not have all of it": all_of(
            [*prefixes[:-1], latents]
        ),
        "the latents from `m` on are taken, not the first `m`": sum(
            (
                (h - b_dec - _rebuilt(acts, W_dec, latents) + _rebuilt(acts, W_dec, m)).pow(2).mean(-1)
                for m in prefixes
            ),
            torch.zeros(()),
        ),
        "only the first, the middle and the last prefix count": all_of(
            [prefixes[0], prefixes[count // 2], prefixes[-1]]
        ),
        "the errors of the prefixes are added up before they are squared": (h - rebuilt)
        .sum(0)
        .pow(2)
        .mean(-1),
        "every prefix has all latents": all_of([latents] * count),
        "the sizes are a quarter, a half and all of the dictionary, whatever `prefixes` says": all_of(
            [latents // 4, latents // 2, latents]
        ),
        "the sizes are a half and all of the dictionary, whatever `prefixes` says": all_of(
            [latents // 2, latents]
        ),
        "the largest error of a prefix is taken instead of the sum": torch.stack(errors).amax(0),
        "the errors are weighted with the sizes of the prefixes": [
            sum((e / m for e, m in zip(errors, prefixes, strict=True)), torch.zeros(())),
            sum((e * m for e, m in zip(errors, prefixes, strict=True)), torch.zeros(())),
            sum((e * m / latents for e, m in zip(errors, prefixes, strict=True)), torch.zeros(())),
        ],
        "the squared error is summed over the input's dimensions instead of averaged": total * h.shape[-1],
        "absolute errors are taken, not squared ones": (h - rebuilt).abs().mean(-1).sum(0),
        "the length of the error is taken (a root), not the mean of its squares": [
            (h - rebuilt).norm(dim=-1).sum(0),
            torch.stack(errors).sqrt().sum(0),
        ],
        "the reconstructions of the prefixes are added up before the error is taken": (h - rebuilt.sum(0))
        .pow(2)
        .mean(-1),
        "the reconstructions of the prefixes are averaged before the error is taken": (h - rebuilt.mean(0))
        .pow(2)
        .mean(-1),
        "the decoder is normalized here; it is used as it is": all_of(prefixes, W_dec=unit_rows(W_dec)),
        "a prefix has one latent too few": lambda: all_of([m - 1 for m in prefixes]),
        "a prefix has one latent too many": lambda: all_of([m + 1 for m in prefixes]),
        "the *last* latents of the dictionary are taken, not the first": [
            all_of(prefixes, acts=acts.flip(-1), W_dec=W_dec.flip(1)),
        ],
        "the strongest latents of every input are taken, not the first": lambda: sum(
            (strongest(m) for m in prefixes), torch.zeros(())
        ),
        "the errors of the prefixes are multiplied": torch.stack(errors).prod(0),
        "each prefix has to explain what the one before it left over": left_over,
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

    def gradients(cut: str = "") -> tuple[Tensor, ...]:
        given = [value.clone().requires_grad_() for value in (acts, W_dec, b_dec)]
        total, before = torch.zeros(()), torch.zeros(())
        for m in prefixes:
            latents, decoder, bias = (
                value.detach() if m < 7 and cut == name else value
                for value, name in zip(given, ("acts", "W_dec", "b_dec"), strict=True)
            )
            rebuilt = _rebuilt(latents, decoder, m)
            if cut == "before":
                rebuilt = rebuilt - before + before.detach()
                before = _rebuilt(latents, decoder, m)
            total = total + (h - bias - rebuilt).pow(2).mean(-1)
        return torch.autograd.grad((total * cotangent).sum(), given)

    phrases = {
        "acts": "the latents are detached in the shorter prefixes",
        "W_dec": "the decoder is detached in the shorter prefixes",
        "b_dec": "`b_dec` is detached in the shorter prefixes",
        "before": "what a shorter prefix rebuilds is detached in the longer ones",
    }
    check.gradient(
        check.exercise_id,
        acts,
        W_dec,
        b_dec,
        h,
        prefixes,
        wrt=dict(enumerate(gradients())),
        axes={
            0: "batch n_instances n_hidden_ae",
            1: "n_instances n_hidden_ae n_input_ae",
            2: "n_instances n_input_ae",
        },
        claim="the gradients reach latents, decoder and `b_dec`",
        cotangent=cotangent,
        mistakes=lambda: {phrase: list(gradients(cut)) for cut, phrase in phrases.items()},
    )
