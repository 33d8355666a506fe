"""Exercise 2.4: `cheat_on_l1`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, agree, shape_text
from coursekit.checking.phrases import explained, unit_rows
from coursekit.exercises.chapter_02.autoencoders import (
    AXES,
    FIELDS,
    SMALL,
    TIED,
    WIDE,
    changed_weights,
    decoder_of,
    make_autoencoder,
    random_weights,
    right_acts,
    right_reconstruction,
)
from part_utils.autoencoder import AutoEncoderConfig


@exercise(
    id="2.4",
    reference="autoencoder.cheat_on_l1",
    also=("l1_and_l2",),
    difficulty=2,
    importance=4,
    minutes=18,
    points=3,
)
def cheat_on_l1(check: Check) -> None:
    for cfg, factor in ((SMALL, 6.5), (WIDE, 0.25), (TIED, 3)):
        weights = random_weights(check, cfg)
        autoencoder = make_autoencoder(check, cfg, weights)
        with explained(
            {
                "no attribute 'W_dec'": "With tied weights there is no `W_dec`: use "
                "`autoencoder.normalize_and_return_W_dec()`, which works for both."
            }
            if cfg.tied_weights
            else {}
        ):
            returned = check.call(autoencoder, factor)
        if not isinstance(returned, tuple | list) or len(returned) < 3:
            raise Mistake("Return three tensors: `(W_enc, b_enc, W_dec)`.")
        changed = changed_weights(check, autoencoder, cfg, weights)
        if changed:
            raise Mistake(
                f"The autoencoder itself was changed ({', '.join(f'`{name}`' for name in changed)}). Compute new "
                "tensors and leave its parameters alone."
            )
        W_enc, b_enc, W_dec = (
            check.tensor(value, f"`{name}`")
            for name, value in zip(("W_enc", "b_enc", "W_dec"), returned, strict=False)
        )
        _check_cheat(check, cfg, factor, weights, W_enc.float(), b_enc.float(), W_dec.float())
    for cfg in (SMALL, WIDE, AutoEncoderConfig(n_instances=1, n_input_ae=5, n_hidden_ae=7)):
        _check_measurement(check, cfg)


def _check_measurement(check: Check, cfg: AutoEncoderConfig) -> None:
    """`l1_and_l2` on weights whose decoder rows have any length."""
    weights = random_weights(check, cfg)
    W_enc, b_enc, W_dec, b_dec = (weights[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
    W_dec = unit_rows(W_dec) * check.uniform(cfg.n_instances, cfg.n_hidden_ae, 1, low=1.5, high=4.0)
    h = check.normal(31, cfg.n_instances, cfg.n_input_ae)
    # On the first input no latent fires, and hardly any on others.
    b_enc = b_enc - torch.relu(torch.einsum("ix,ixl->il", h[0] - b_dec, W_enc) + b_enc) - 0.01
    acts = torch.relu(torch.einsum("bix,ixl->bil", h - b_dec, W_enc) + b_enc)
    error = h - torch.einsum("bil,ilx->bix", acts, W_dec) - b_dec
    returned = check.call_also("l1_and_l2", h, W_enc, b_enc, W_dec, b_dec)
    if not isinstance(returned, tuple | list) or len(returned) != 2:
        raise Mistake("`l1_and_l2`: return two tensors, `(l1, l2)`.")
    no_bias = torch.relu(torch.einsum("bix,ixl->bil", h - b_dec, W_enc))
    not_centered = torch.relu(torch.einsum("bix,ixl->bil", h, W_enc) + b_enc)
    plain = torch.einsum("bix,ixl->bil", h - b_dec, W_enc) + b_enc
    normalized = h - torch.einsum("bil,ilx->bix", acts, unit_rows(W_dec)) - b_dec
    check.equal(
        returned[0],
        acts.sum(-1).mean(0),
        "n_instances",
        "`l1_and_l2` measures the L1 with any decoder",
        {
            "the mean over the latents is taken instead of the sum": acts.mean((0, 2)),
            "the sum over the batch is taken instead of the mean": acts.sum((0, 2)),
            "`b_enc` is left out": no_bias.sum(-1).mean(0),
            "`b_dec` is not subtracted from the input": not_centered.sum(-1).mean(0),
            "the ReLU is missing": [plain.sum(-1).mean(0), plain.abs().sum(-1).mean(0)],
            "the latents are squared": (acts**2).sum(-1).mean(0),
            "the latents that fire are counted, not summed": (acts > 0).float().sum(-1).mean(0),
            "the two are exchanged": (error**2).mean((0, 2)),
            "the instances are averaged": acts.sum(-1).mean(),
            "the mean is taken over the inputs on which something fires": (
                acts.sum((0, 2)) / (acts > 0).any(-1).sum(0).clamp(min=1)
            ),
            "the mean is taken over the latents that fire": acts.sum((0, 2))
            / (acts > 0).sum((0, 2)).clamp(min=1),
            "the batch is left: each input has its own number": acts.sum(-1),
            "the latents are multiplied by the length of their decoder rows": (acts * W_dec.norm(dim=-1))
            .sum(-1)
            .mean(0),
        },
        what="`l1`",
    )
    check.equal(
        returned[1],
        (error**2).mean((0, 2)),
        "n_instances",
        "and the L2, with the decoder rows as long as they are",
        {
            "the decoder is brought to unit length: then the cheat cannot be seen": (normalized**2).mean(
                (0, 2)
            ),
            "the sum over the dimensions is taken instead of the mean": (error**2).sum(-1).mean(0),
            "the sum over the batch is taken instead of the mean": (error**2).mean(-1).sum(0),
            "`b_dec` is not added to the reconstruction": ((error + b_dec) ** 2).mean((0, 2)),
            "the error is not squared": error.mean((0, 2)),
            "the absolute error is taken instead of the squared one": error.abs().mean((0, 2)),
            "the instances are averaged": (error**2).mean(),
            "the error is divided by the variance of the inputs": [
                (error**2).mean((0, 2)) / h.var(0, unbiased=unbiased).mean(-1) for unbiased in (False, True)
            ],
            "the error is divided by the mean square of the inputs": (error**2).mean((0, 2))
            / (h**2).mean((0, 2)),
            "the error is averaged over the batch before it is squared": error.mean(0).pow(2).mean(-1),
            "the error is averaged over the dimensions before it is squared": error.mean(-1).pow(2).mean(0),
            "the error is halved": (error**2).mean((0, 2)) / 2,
            "the root is taken": [
                (error**2).mean((0, 2)).sqrt(),
                (error**2).mean(-1).sqrt().mean(0),
                error.norm(dim=-1).mean(0),
            ],
        },
        what="`l2`",
    )
    check.leaves_inputs(h, W_enc, b_enc, W_dec, b_dec, also="l1_and_l2")


def _refuse_another_factor(factor: float, ratio: Tensor, details: list[str]) -> None:
    """Raise a mistake if the encoder is divided by a number that somebody may have in the place of `factor`."""
    others = {
        "is taken as 1 where it is below 1": max(factor, 1.0),
        "is cut down to a whole number (`int` or `//`)": float(int(factor)),
        "is replaced by its logarithm": math.log(factor),
        "is replaced by its logarithm, that of `factor + 1`": math.log1p(factor),
        **{f"is not used: everything is divided by {fixed}": float(fixed) for fixed in (2, 5, 10, 100, 1000)},
    }
    for phrase, other in others.items():
        if other not in (0.0, factor) and agree(ratio, torch.full_like(ratio, 1 / other)):
            raise Mistake(f"`factor` {phrase}.", details)


def _check_cheat(
    check: Check,
    cfg: AutoEncoderConfig,
    factor: float,
    weights: Mapping[str, Tensor],
    W_enc: Tensor,
    b_enc: Tensor,
    W_dec: Tensor,
) -> None:
    stored = decoder_of(weights)
    for name, tensor, shape in (
        ("W_enc", W_enc, weights["W_enc"].shape),
        ("b_enc", b_enc, weights["b_enc"].shape),
        ("W_dec", W_dec, stored.shape),
    ):
        if tensor.shape != shape:
            raise Mistake(
                f"`{name}` has the wrong shape: expected {shape_text(torch.empty(shape), AXES[name])}, got "
                f"{shape_text(tensor)}. The order is `(W_enc, b_enc, W_dec)`."
            )
    details = [f"factor {factor}" + (", tied weights" if cfg.tied_weights else "")]
    _refuse_another_factor(factor, W_enc / weights["W_enc"], details)
    if agree(W_enc, weights["W_enc"] * factor) and not agree(W_enc, weights["W_enc"] / factor):
        raise Mistake("The encoder was made larger and the decoder smaller: the L1 penalty grows.", details)
    if agree(W_enc, weights["W_enc"] / factor) and agree(b_enc, weights["b_enc"]):
        raise Mistake(
            "`b_enc` was forgotten: it is as large as before, although everything else inside the ReLU is `factor` "
            "times smaller. The latents change, and the reconstruction with them.",
            details,
        )
    if agree(b_enc, weights["b_enc"] * factor) and agree(W_enc, weights["W_enc"] / factor):
        raise Mistake("`b_enc` was multiplied with `factor`; inside the ReLU everything is divided.", details)
    if agree(W_enc, weights["W_enc"]):
        raise Mistake("`W_enc` is unchanged, so the latents do not become smaller.", details)
    if agree(W_enc, weights["W_enc"] / factor) and agree(b_enc, weights["b_enc"] / factor):
        for phrase, wrong in {
            "is not made longer in return, so the reconstruction shrinks": unit_rows(stored),
            "is as it is stored, without normalizing and without `factor`": stored,
            "was scaled from the stored `W_dec`, which the autoencoder uses at unit length": stored * factor,
            "was divided by `factor`; it has to grow": unit_rows(stored) / factor,
            "was multiplied with the square of `factor`": unit_rows(stored) * factor**2,
            "was multiplied with the root of `factor`": unit_rows(stored) * factor**0.5,
            "of instance 0 was used for every instance": unit_rows(stored)[:1].expand_as(stored) * factor,
            "is the transpose of the encoder, although the weights are not tied": unit_rows(
                weights["W_enc"].mT
            )
            * factor,
            "was made from the encoder's transpose as it is, although the weights are not tied": weights[
                "W_enc"
            ].mT
            * factor,
        }.items():
            if agree(W_dec, wrong) and not agree(wrong, unit_rows(stored) * factor):
                raise Mistake(f"The encoder is right, but the decoder {phrase}.", details)
    for name, tensor in (("W_enc", W_enc), ("b_enc", b_enc)):
        if agree(tensor, weights[name] // factor) and not agree(tensor, weights[name] / factor):
            raise Mistake(f"`{name}` is rounded down to whole numbers: `//` does that, `/` divides.", details)
        if agree(tensor, weights[name] - factor):
            raise Mistake(
                f"`factor` is subtracted from `{name}`; everything inside the ReLU is divided.", details
            )
    if agree(W_enc, unit_rows(weights["W_enc"], 1) / factor):
        raise Mistake(
            "The columns of the encoder are brought to unit length; they are only divided by `factor`.",
            details,
        )
    shift = torch.einsum("ix,ixl->il", weights["b_dec"], weights["W_enc"])
    if any(agree(b_enc, (weights["b_enc"] + sign * shift) / factor) for sign in (1, -1)):
        raise Mistake(
            "`b_dec` is put into `b_enc`. It stays where it is: what is encoded is still `h - b_dec`.",
            details,
        )
    if agree(W_enc, weights["W_enc"] / factor) and not agree(b_enc, weights["b_enc"] / factor):
        raise Mistake(
            "`W_enc` is right, but `b_enc` is not: it has to become `factor` times smaller too, no more and no less.",
            details,
        )
    h = check.normal(31, cfg.n_instances, cfg.n_input_ae)
    before = right_acts(h, weights)
    centered = h - weights["b_dec"]
    acts = torch.relu(torch.einsum("bix,ixl->bil", centered, W_enc) + b_enc)
    check.equal(
        acts,
        before / factor,
        FIELDS["acts"],
        "every latent is `factor` times smaller, and the L1 with it",
        {
            "they are `factor` times *larger*": before * factor,
            "they are divided by the square of `factor`": before / factor**2,
            "they are divided by the root of `factor`": before / factor**0.5,
            "`factor` is subtracted": torch.relu(
                torch.einsum("bix,ixl->bil", centered, weights["W_enc"]) + weights["b_enc"] - factor
            ),
        },
        what="the result for `acts` with your weights",
    )
    check.equal(
        torch.einsum("bil,ilx->bix", acts, W_dec) + weights["b_dec"],
        right_reconstruction(h, weights),
        FIELDS["h_reconstructed"],
        "the reconstruction is the same, with untied and with tied weights",
        what="the reconstruction with your weights",
    )
