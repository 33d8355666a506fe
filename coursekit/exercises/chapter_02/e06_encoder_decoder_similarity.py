"""Exercise 2.6: `encoder_decoder_similarity`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes, agree, variations
from coursekit.checking.general_mistakes import mistakes_in_inputs
from coursekit.checking.phrases import explained, unit_rows
from coursekit.exercises.chapter_02.autoencoders import (
    SMALL,
    TIED,
    WIDE,
    changed_weights,
    decoder_of,
    make_autoencoder,
    random_weights,
)
from part_utils.autoencoder import AutoEncoderConfig


@exercise(
    id="2.6",
    reference="autoencoder.encoder_decoder_similarity",
    difficulty=2,
    importance=3,
    minutes=10,
    points=2,
)
def encoder_decoder_similarity(check: Check) -> None:
    square = AutoEncoderConfig(n_instances=2, n_input_ae=5, n_hidden_ae=5)
    for cfg in (SMALL, WIDE, square):
        weights = random_weights(check, cfg)
        _check_similarity(
            check, cfg, weights, f"right for {cfg.n_hidden_ae} latents and {cfg.n_input_ae} inputs"
        )
    with explained(
        {
            "no attribute 'W_dec'": "With tied weights there is no `W_dec`: use "
            "`autoencoder.normalize_and_return_W_dec()`, which works for both."
        }
    ):
        _check_similarity(
            check, TIED, random_weights(check, TIED), "1 for every latent when the weights are tied"
        )
    for instances, latents in ((1, 7), (3, 1), (1, 1)):
        cfg = AutoEncoderConfig(n_instances=instances, n_input_ae=3, n_hidden_ae=latents)
        _check_similarity(check, cfg, random_weights(check, cfg), "right for one instance or one latent")
    weights = random_weights(check, SMALL)
    weights["W_enc"][1, :, 2] = 0.0
    weights["W_dec"][2, 3] = 0.0
    found = check.tensor(check.call(make_autoencoder(check, SMALL, weights)))
    if not torch.isfinite(found).all():
        raise Mistake(
            "A latent whose encoder column or decoder row is zero gets NaN. It has no direction: its similarity is 0. "
            "Keep the length away from zero before you divide."
        )
    _check_similarity(check, SMALL, weights, "0 where a direction has no length")
    weights = random_weights(check, TIED)
    weights["W_enc"][1, :, 2] = 0.0
    _check_similarity(
        check,
        TIED,
        weights,
        "also with tied weights",
        {
            "it is 1 for every latent; with tied weights, too, a direction without length has 0": torch.ones(
                3, 7
            )
        },
    )
    weights = random_weights(check, SMALL)
    short = {**weights, "W_enc": 1e-2 * weights["W_enc"], "W_dec": 1e-2 * weights["W_dec"]}
    found = check.tensor(check.call(make_autoencoder(check, SMALL, short)))
    expected = (unit_rows(weights["W_enc"].mT) * unit_rows(weights["W_dec"])).sum(-1)
    check.holds(
        agree(found, expected, 2e-3, 1e-3),
        "however short the directions are",
        "With directions of a length of about 0.01 the similarities are not the same as with long ones. What keeps "
        "the length away from 0 is too large (`eps`): a cosine does not depend on lengths.",
    )


def _check_similarity(
    check: Check,
    cfg: AutoEncoderConfig,
    weights: Mapping[str, Tensor],
    claim: str,
    only: Mistakes | None = None,
) -> None:
    autoencoder = make_autoencoder(check, cfg, weights)
    W_enc, stored = weights["W_enc"], decoder_of(weights)
    reads, writes = unit_rows(W_enc, 1), unit_rows(stored)

    def similarity(encoder: Tensor, decoder: Tensor) -> Tensor:
        return torch.einsum("ixl,ilx->il", encoder, decoder)

    encoders: dict[str, Tensor] = {
        "": reads,
        "the encoder is not brought to unit length": W_enc,
        "the encoder's length is taken along the wrong axis (over the latents)": unit_rows(W_enc, 2),
        "the encoder's length is taken over its whole matrix": unit_rows(W_enc, (1, 2)),
        "the encoder of instance 0 is used for every instance": reads[:1].expand_as(reads),
    }
    decoders: dict[str, Tensor] = {
        "": writes,
        "the decoder is not brought to unit length": stored,
        "the decoder's length is taken along the wrong axis (over the latents)": unit_rows(stored, 1),
        "the decoder's length is taken over its whole matrix": unit_rows(stored, (1, 2)),
        "the decoder of instance 0 is used for every instance": writes[:1].expand_as(writes),
    }
    mistakes: dict = variations(similarity, encoders, decoders)
    expected = similarity(reads, writes)
    pairs = torch.einsum("ixl,imx->ilm", reads, writes)
    mistakes |= {
        "the similarity is taken for each *input dimension*, along the latents (the wrong axis)": torch.einsum(
            "ixl,ilx->ix", unit_rows(W_enc, 2), unit_rows(stored, 1)
        ),
        "the similarity is taken along the latents (the wrong axis), for each input dimension": torch.einsum(
            "ixl,ilx->ix", unit_rows(W_enc, 2), unit_rows(writes, 1)
        ),
        "it is summed over the latents instead of the input dimensions": torch.einsum(
            "ixl,ilx->ix", reads, writes
        ),
        "every latent's encoder is compared with every latent's decoder": pairs,
        "every latent's decoder is compared with every latent's encoder": pairs.mT,
        "the absolute value is taken: opposite directions are not the same direction": expected.abs(),
        "the similarity is squared": expected.square(),
        "the *angle* is returned instead of its cosine": torch.acos(expected.clamp(-1, 1)),
        "the axes are left in the order `n_hidden_ae n_instances`": expected.mT,
        "the mean over the latents is returned": expected.mean(-1),
        "the mean over the instances is returned": expected.mean(0),
        "the instances are added up": expected.sum(0),
        "it is 1 for every latent, which holds only for tied weights": torch.ones_like(expected),
        "the distance of the two unit vectors is returned": (reads.mT - writes).norm(dim=-1),
        "the *angle* is returned instead of its cosine, in degrees": torch.acos(
            expected.clamp(-1, 1)
        ).rad2deg(),
        "the mean over the input dimensions is taken instead of the sum": expected / W_enc.shape[1],
        "the encoder's length is kept from being below 1: shorter columns stay as they are": torch.einsum(
            "ixl,ilx->il", W_enc / W_enc.norm(dim=1, keepdim=True).clamp(min=1), writes
        ),
        "the encoder's length is taken over all instances": torch.einsum(
            "ixl,ilx->il", W_enc / W_enc.norm(dim=(0, 1)).clamp_min(1e-8), writes
        ),
        "`b_dec` is subtracted from the decoder's rows": [
            (reads.mT * unit_rows(decoder - weights["b_dec"][:, None])).sum(-1)
            for decoder in (writes, stored)
        ],
        "a latent counts only where `b_enc` is above 0": expected * (weights["b_enc"] > 0),
        "`b_enc` is added": expected + weights["b_enc"],
        "it is 1 for a direction without length too": lambda: torch.where(expected == 0, 1.0, expected),
        "the encoder is compared with the decoder row that fits it best, not with its own": pairs.amax(-1),
        "the decoder is compared with the encoder that fits it best, not with its own": pairs.amax(1),
        "`b_dec` is subtracted from the encoder's columns": (
            unit_rows(W_enc - weights["b_dec"][..., None], 1).mT * writes
        ).sum(-1),
        "the mean of every direction is subtracted first (a correlation)": torch.einsum(
            "ixl,ilx->il",
            unit_rows(W_enc - W_enc.mean(1, keepdim=True), 1),
            unit_rows(stored - stored.mean(-1, keepdim=True)),
        ),
    }
    misread = mistakes_in_inputs(
        lambda W_enc, W_dec: similarity(unit_rows(W_enc, 1), unit_rows(W_dec)),
        {
            "W_enc": (W_enc, "n_instances n_input_ae n_hidden_ae"),
            "W_dec": (stored, "n_instances n_hidden_ae n_input_ae"),
        },
    )
    if W_enc.shape == stored.shape:
        rows = unit_rows(W_enc)
        mistakes["the *rows* of the encoder are compared with the rows of the decoder"] = (rows * writes).sum(
            -1
        )
        columns = unit_rows(stored, 1)
        mistakes["the columns of the encoder are compared with the *columns* of the decoder"] = (
            reads * columns
        ).sum(1)
        mistakes["the rows of the encoder are compared with the columns of the decoder"] = torch.einsum(
            "ixl,ilx->ix", rows, columns
        )
    else:
        mistakes["the encoder is reshaped instead of transposed"] = [
            (rows * writes).sum(-1)
            for rows in (unit_rows(W_enc.reshape(stored.shape)), reads.reshape(stored.shape))
        ]
        mistakes["the decoder is reshaped instead of transposed"] = (
            reads * unit_rows(stored.reshape(W_enc.shape), 1)
        ).sum(1)
    if 1 in expected.shape:
        # A mean or a sum over one instance looks the same.
        only = {}
    check.equal(
        check.call(autoencoder),
        expected,
        "n_instances n_hidden_ae",
        claim,
        mistakes if only is None else only,
        misread=misread if only is None else None,
    )
    changed = changed_weights(check, autoencoder, cfg, weights)
    if changed:
        raise Mistake(
            f"The autoencoder itself was changed ({', '.join(f'`{name}`' for name in changed)}). Compute new tensors "
            "and leave its parameters alone."
        )
