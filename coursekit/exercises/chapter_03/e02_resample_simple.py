"""Exercise 3.2: `resample_simple`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, agree
from coursekit.checking.phrases import unit_rows
from coursekit.exercises.chapter_02.autoencoders import (
    random_weights,
)
from coursekit.exercises.chapter_03.dead_latents import (
    DEAD,
    SMALL,
    TIED,
    WITH_A_GAP,
    after_resampling,
    check_inputs_stay,
    check_none_dead,
    check_touched,
    check_unit_length,
    dead_mask,
    firing_rates,
)
from part_utils.autoencoder import AutoEncoderConfig


@exercise(
    id="3.2",
    reference="resampling.resample_simple",
    difficulty=3,
    importance=4,
    minutes=15,
    points=3,
)
def resample_simple(check: Check) -> None:
    scale = 0.35
    for cfg, latents in ((SMALL, DEAD), (TIED, DEAD), (SMALL, WITH_A_GAP)):
        dead = dead_mask(cfg, latents)
        rates = firing_rates(check, dead)
        weights = random_weights(check, cfg)
        after = after_resampling(check, cfg, weights, rates, scale)
        check_touched(check, weights, after, dead, rates)
        check_unit_length(check, weights, after, dead, scale)
        _check_simple_encoder(check, weights, after, dead, scale)
        _check_all_different(after, dead)
        again = after_resampling(check, cfg, weights, rates, scale)
        check.holds(
            not torch.equal(after["W_enc"], again["W_enc"]),
            "each call draws new directions",
            "Two calls gave the same directions. Draw new ones each time, without setting a seed.",
        )
    check_none_dead(check, scale)
    check_inputs_stay(check, scale)
    _check_every_direction(check, scale)
    everything = AutoEncoderConfig(2, 3, 5)
    dead = dead_mask(everything, ((0, 1, 2, 3, 4), (3,)))
    weights, rates = random_weights(check, everything), firing_rates(check, dead)
    after = after_resampling(check, everything, weights, rates, scale)
    check_touched(check, weights, after, dead, rates)
    check.holds(True, "right where every latent of an instance is dead", "")
    few = (
        (AutoEncoderConfig(1, 5, 7), ((1, 4),)),
        (AutoEncoderConfig(2, 3, 5), ((), (2,))),
    )
    for single, chosen in few:
        dead = dead_mask(single, chosen)
        weights, rates = random_weights(check, single), firing_rates(check, dead)
        after = after_resampling(check, single, weights, rates, scale)
        check_touched(check, weights, after, dead, rates)
        check_unit_length(check, weights, after, dead, scale)
        _check_simple_encoder(check, weights, after, dead, scale)


def _check_simple_encoder(
    check: Check, before: Mapping[str, Tensor], after: Mapping[str, Tensor], dead: Tensor, scale: float
) -> None:
    columns = after["W_enc"].mT[dead]
    lengths = columns.double().norm(dim=-1)
    details = [
        f"lengths of encoder columns: {[round(value, 4) for value in lengths[:5].tolist()]}, scale {scale}"
    ]
    if "W_dec" in after:
        rows = after["W_dec"][dead]
        if agree(columns, scale * rows):
            check.holds(
                True, "the new encoder columns are the decoder rows times `neuron_resample_scale`", ""
            )
            return
        if agree(columns, -scale * rows):
            raise Mistake("The new encoder columns point the opposite way of the decoder rows.")
        if agree(columns, rows):
            raise Mistake(
                "The new encoder columns are as long as the decoder rows: `neuron_resample_scale` is not used.",
                details,
            )
        old_columns = before["W_enc"].mT[dead]
        if agree(columns - old_columns, scale * rows) or agree(columns - old_columns, rows):
            raise Mistake("The new directions are *added* to the old encoder columns; they take their place.")
        if agree(unit_rows(columns), unit_rows(old_columns)):
            raise Mistake(
                "The encoder columns keep their old direction: only the decoder rows were drawn anew."
            )
        cosines = (unit_rows(columns) * unit_rows(rows)).sum(-1)
        if not (cosines > 0.999).all():
            raise Mistake(
                "A new latent's encoder column does not point where its decoder row points. Both come from the *same* "
                "random vector.",
                [f"cosine similarities: {[round(value, 3) for value in cosines[:5].tolist()]}"],
            )
    elif torch.allclose(lengths, torch.full_like(lengths, scale), rtol=1e-3):
        check.holds(True, "with tied weights the encoder columns get the length `neuron_resample_scale`", "")
        return
    if torch.allclose(lengths, torch.full_like(lengths, 0.2), rtol=1e-3):
        raise Mistake(
            "The new encoder columns have the length 0.2 whatever `neuron_resample_scale` is.", details
        )
    if torch.allclose(lengths, torch.ones_like(lengths), rtol=1e-3):
        raise Mistake(
            "The new encoder columns have unit length: `neuron_resample_scale` is not used."
            if "W_dec" in after
            else "With tied weights the new encoder columns have unit length. There, too, they are "
            "`neuron_resample_scale` long: the decoder's rows are brought to unit length where they are used.",
            details,
        )
    if torch.allclose(lengths, torch.full_like(lengths, scale**2), rtol=1e-3):
        raise Mistake("`neuron_resample_scale` was applied twice.", details)
    if torch.allclose(lengths, torch.full_like(lengths, 1 / scale), rtol=1e-3):
        raise Mistake(
            "The new encoder columns were divided by `neuron_resample_scale` instead of multiplied.", details
        )
    if lengths.std() > 0.01:
        raise Mistake(
            "The new encoder columns have different lengths. Scale the unit vector, not the one before it was "
            "normalized.",
            details,
        )
    old = before["W_enc"].norm(dim=1)
    if any(abs(lengths[0] - scale * norm.mean()) < 1e-3 for norm in (old, old[~dead], old[dead])):
        raise Mistake(
            "The new encoder columns were scaled with a mean length of encoder columns as well. That belongs to the "
            "advanced way; here they have the length `neuron_resample_scale`.",
            details,
        )
    raise Mistake("The new encoder columns do not have the length `neuron_resample_scale`.", details)


def _check_all_different(after: Mapping[str, Tensor], dead: Tensor) -> None:
    directions = unit_rows(after["W_enc"].mT)
    chosen = directions[dead]
    if ((chosen != 0).sum(-1) == 1).all():
        raise Mistake(
            "Every new direction lies along an axis: only one of its numbers is not 0. Every direction should be "
            "equally likely, as that of `torch.randn` is."
        )
    if chosen.shape[-1] > 1 and agree(chosen.abs(), chosen.abs()[:1, :1].expand_as(chosen)):
        raise Mistake(
            "In every new direction all numbers are equally large, and only their signs differ. Every direction should "
            "be equally likely, as that of `torch.randn` is."
        )
    if ((chosen @ chosen[0]).abs() > 0.9999).all():
        raise Mistake("One and the same vector is used for all dead latents. Draw one for each of them.")
    groups = [directions[instance][mask] for instance, mask in enumerate(dead) if mask.sum() > 1]
    if all(((group @ group[0]).abs() > 0.9999).all() for group in groups):
        raise Mistake("All dead latents of an instance got the same vector. Draw one for each of them.")
    # So near that not even in two dimensions two draws would be.
    pairs = torch.ones(len(chosen), len(chosen), dtype=torch.bool).triu(diagonal=1)
    if (torch.cdist(chosen.double(), -chosen.double())[pairs] < 1e-5).any():
        raise Mistake(
            "Some dead latents got opposite vectors: one draw is used for two of them. Draw one for each dead latent."
        )
    if (torch.cdist(chosen.double(), chosen.double())[pairs] < 1e-5).any():
        raise Mistake(
            "Some dead latents got the same vector (latents of the same number in different instances, or of different "
            "numbers). Draw one for each dead latent."
        )


def _check_every_direction(check: Check, scale: float) -> None:
    """In two dimensions the angles of many new directions are spread evenly."""
    cfg = AutoEncoderConfig(n_instances=2, n_input_ae=2, n_hidden_ae=2503)
    weights = random_weights(check, cfg)
    rates = torch.zeros(2, cfg.n_instances, cfg.n_hidden_ae)
    after = after_resampling(check, cfg, weights, rates, scale)
    directions = after["W_dec"].flatten(0, 1).double()
    if ((unit_rows(weights["W_dec"]).flatten(0, 1) * directions).sum(-1) > 0.9999).all():
        raise Mistake(
            "The dead latents keep their old direction, and only its length is changed. Draw a new one."
        )
    if (directions >= 0).all():
        raise Mistake(
            "All numbers in the new directions are positive: that is one quadrant only. `torch.rand` is never negative."
        )
    for old in (weights["W_dec"], weights["W_enc"].mT):
        nearness = (unit_rows(old).flatten(0, 1) * directions).sum(-1).mean().item()
        check.holds(
            abs(nearness) < 7 * math.sqrt(0.5 / len(directions)),
            "",
            "The new directions lie near the old ones. Draw each anew, whatever the latent's direction was.",
        )
    angle = torch.atan2(directions[:, 1], directions[:, 0])
    count = len(angle)
    for wave, otherwise in (
        (1, "The new directions favor one side: not every direction is equally likely."),
        (2, "The new directions favor one line: not every direction is equally likely."),
        (
            4,
            "The new directions favor the diagonals or the axes. A square (`torch.rand(...) * 2 - 1`) reaches further "
            "into its corners, so it has more directions there; a normal distribution looks the same from all sides.",
        ),
    ):
        for waves in (torch.cos(wave * angle), torch.sin(wave * angle)):
            # The mean of a cosine of an even angle has variance 1/2 over the count; seven standard deviations.
            check.holds(
                abs(waves.mean().item()) < 7 * math.sqrt(0.5 / count),
                "every direction is equally likely",
                otherwise,
            )
    _check_every_direction_in_space(check, scale)


def _check_every_direction_in_space(check: Check, scale: float) -> None:
    """In three dimensions no axis is more likely than another, and none goes along with another."""
    cfg = AutoEncoderConfig(n_instances=1, n_input_ae=3, n_hidden_ae=2003)
    rates = torch.zeros(2, cfg.n_instances, cfg.n_hidden_ae)
    after = after_resampling(check, cfg, random_weights(check, cfg), rates, scale)
    directions = after["W_dec"][0].double()
    moments = directions.mT @ directions / len(directions)
    # Of a direction that is drawn evenly x² has variance 4/45 and x y has 1/15; seven standard deviations.
    far = (moments - torch.eye(3) / 3).abs().max().item()
    check.holds(
        far < 7 * math.sqrt(4 / 45 / len(directions)),
        "every direction is equally likely",
        "In three dimensions some directions are drawn more often than others. Draw each number of a vector in the "
        "same way, from a normal distribution.",
        [f"the means of the squares along the axes are {[round(x, 3) for x in moments.diagonal().tolist()]}"],
    )
    check.holds(
        directions.mean(0).abs().max().item() < 7 * math.sqrt(1 / 3 / len(directions)),
        "",
        "The new directions favor one side: not every direction is equally likely.",
    )
