"""What exercise 2.3 says of the three losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from coursekit.checking.claims import Check, variations
from coursekit.exercises.chapter_02.autoencoders import (
    CENTERED,
    ENCODER,
    FIELDS,
    decoder_of,
    encoded_by,
    right_acts,
    right_reconstruction,
)
from part_utils.autoencoder import AutoEncoderConfig


def check_losses(
    check: Check,
    output: Mapping[str, Any],
    h: Tensor,
    weights: Mapping[str, Tensor],
    cfg: AutoEncoderConfig,
    suffix: str,
) -> None:
    acts, error = right_acts(h, weights), h - right_reconstruction(h, weights)
    l1, l2 = acts.sum(-1), error.pow(2).mean(-1)
    before = encoded_by(h, weights, ENCODER[""], CENTERED[""], "added", lambda x: x)
    check.equal(
        output["l1_loss"],
        l1,
        FIELDS["l1_loss"],
        f"`l1_loss` is a sum over the latents{suffix}",
        {
            "the *mean* over the latents is taken instead of the sum": acts.mean(-1),
            "the latents are squared": acts.pow(2).sum(-1),
            "the latents are squared and averaged": acts.pow(2).mean(-1),
            "their length (the L2 norm) is taken": acts.norm(dim=-1),
            "it is already multiplied with `l1_coeff`, which belongs into `loss` only": cfg.l1_coeff * l1,
            "`l1_loss` and `l2_loss` are exchanged": l2,
            "it counts the latents that fire instead of adding them up": (acts > 0).double().sum(-1),
            "the largest latent is taken": acts.amax(-1),
            "the mean over the batch is taken already": l1.mean(0),
            "the sum over the batch is taken already": l1.sum(0),
            "the instances are added up already": l1.sum(1),
            "the sum is taken over the instances instead of the latents": acts.sum(1),
            "the sum is taken over the batch instead of the latents": acts.sum(0),
            "the absolute values are not summed over the latents": acts,
            "it is one number already; it has one for each input and instance": l1.mean(0).sum(),
            "one mean over everything is taken": acts.mean(),
            "one sum over everything is taken": acts.sum(),
            "it is taken before the ReLU, of what the latents are made from": [
                before.abs().sum(-1),
                before.sum(-1),
            ],
            "it is halved": l1 / 2,
            "each latent is multiplied by the length of its decoder row as it is stored": (
                acts * decoder_of(weights).norm(dim=-1)
            ).sum(-1),
        },
        what="`l1_loss`",
    )
    centered = error + weights["b_dec"]
    check.equal(
        output["l2_loss"],
        l2,
        FIELDS["l2_loss"],
        f"`l2_loss` is a mean over the input's dimensions{suffix}",
        {
            "the *sum* over the input's dimensions is taken instead of the mean": error.pow(2).sum(-1),
            "the error is not squared": error.mean(-1),
            "the absolute error is taken instead of the squared one": error.abs().mean(-1),
            "the root of the mean squared error is taken": l2.sqrt(),
            "the length of the error is taken, not its mean square": error.norm(dim=-1),
            "it is halved": l2 / 2,
            "the mean over the batch is taken already": l2.mean(0),
            "the sum over the batch is taken already": l2.sum(0),
            "the mean over the input's dimensions is taken and the instances are added up": l2.sum(1),
            "the mean is taken over the instances instead of the input's dimensions": error.pow(2).mean(1),
            "the mean is taken over the batch instead of the input's dimensions": error.pow(2).mean(0),
            "the mean over the input's dimensions is not taken": error.pow(2),
            "it is one number already; it has one for each input and instance": l2.mean(0).sum(),
            "one mean over everything is taken": error.pow(2).mean(),
            "one sum over everything is taken": error.pow(2).sum(),
            "the reconstruction is compared without its `b_dec`": centered.pow(2).mean(-1),
            "the reconstruction is compared with `h - b_dec`": (error - weights["b_dec"]).pow(2).mean(-1),
            "the squared error is divided by the number of latents": error.pow(2).sum(-1) / acts.shape[-1],
            "the *squared input* is measured instead of the error": h.pow(2).mean(-1),
            "the reconstruction is measured instead of the error": (h - error).pow(2).mean(-1),
            "the reconstruction is added to the input instead of compared with it": (2 * h - error)
            .pow(2)
            .mean(-1),
            "the error is raised to the third power": error.pow(3).mean(-1),
            "the error is divided by the input's own size": l2 / h.pow(2).mean(-1),
            "the error is divided by the input's variance": l2 / h.var(-1, unbiased=False),
        },
        what="`l2_loss`",
    )
    _check_loss(check, output["loss"], l1, l2, cfg.l1_coeff, suffix)


def _check_loss(check: Check, loss: Any, l1: Tensor, l2: Tensor, l1_coeff: float, suffix: str) -> None:
    def total(terms: Callable[[], Tensor], over_batch: str, over_instances: str) -> Tensor:
        value = getattr(terms(), over_batch)(dim=0) if over_batch else terms()
        return getattr(value, over_instances)(dim=-1) if over_instances else value

    terms: dict[str, Callable[[], Tensor]] = {
        "": lambda: l2 + l1_coeff * l1,
        "`l1_coeff` is ignored": lambda: l2 + l1,
        "the L1 term is missing": lambda: l2,
        "the L2 term is missing": lambda: l1_coeff * l1,
        "`l1_coeff` is multiplied with the L2 term instead of the L1 term": lambda: l1_coeff * l2 + l1,
        "`l1_coeff` is multiplied with both terms": lambda: l1_coeff * (l1 + l2),
        "`l1_coeff` is added instead of multiplied with the L1 term": lambda: l2 + l1_coeff + 0 * l1,
        "`l1_coeff` and the L1 term are added up": lambda: l2 + l1_coeff + l1,
        "`l1_coeff` is multiplied twice": lambda: l2 + l1_coeff**2 * l1,
        "the L1 term is subtracted": lambda: l2 - l1_coeff * l1,
        "the L1 term is divided by `l1_coeff`": lambda: l2 + l1 / l1_coeff,
        "the weights are `1 - l1_coeff` and `l1_coeff`": lambda: (1 - l1_coeff) * l2 + l1_coeff * l1,
    }
    for fixed in (0.5, 0.25, 0.1, 0.05, 0.01, 0.005, 0.001, 0.0003, 0.0001):
        phrase = f"`l1_coeff` is a fixed {fixed:g} instead of `self.cfg.l1_coeff`"
        terms[phrase] = partial(torch.add, l2, l1, alpha=fixed)
    over_batch = {
        "": "mean",
        "the batch is summed over instead of averaged": "sum",
        "the batch axis is kept: the mean over it is missing": "",
    }
    over_instances = {
        "": "sum",
        "the *mean* over the instances is taken instead of the sum": "mean",
        "the instances are kept apart: the sum over them is missing": "",
    }
    check.equal(
        loss,
        total(terms[""], "mean", "sum"),
        "",
        f"`loss` is right{suffix}",
        variations(total, terms, over_batch, over_instances)
        | {
            **{
                f"it is multiplied by {size}, as if there were always {size} instances": size
                * (l2 + l1_coeff * l1).mean()
                for size in (4, 8, 16)
            },
            "the L2 term is averaged over the instances, and only the L1 term is summed": (
                l2.mean() + l1_coeff * l1.mean(0).sum()
            ),
            "the L1 term is averaged over the instances, and only the L2 term is summed": (
                l2.mean(0).sum() + l1_coeff * l1.mean()
            ),
            "the L2 term is summed over the batch, and only the L1 term is averaged": (
                l2.sum() + l1_coeff * l1.mean(0).sum()
            ),
            "the L1 term is summed over the batch, and only the L2 term is averaged": (
                l2.mean(0).sum() + l1_coeff * l1.sum()
            ),
            "only the loss of instance 0 counts": (l2 + l1_coeff * l1)[:, 0].mean(),
            "only the first input of the batch counts": (l2 + l1_coeff * l1)[0].sum(),
            "the median over the batch is taken instead of the mean": (
                (l2 + l1_coeff * l1).median(dim=0).values.sum()
            ),
            "the largest loss of the batch is taken instead of the mean": (l2 + l1_coeff * l1).amax(0).sum(),
            "it is divided by the size of the batch once more": (
                (l2 + l1_coeff * l1).mean(0).sum() / len(l1)
            ),
        },
        what="`loss`",
    )
