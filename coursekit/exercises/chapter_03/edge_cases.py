"""Where exercise 3.3 has nothing to measure: no living latent, no loss, no direction."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from coursekit.checking.claims import Check, Mistake, agree
from coursekit.checking.phrases import unit_rows
from coursekit.exercises.chapter_02.autoencoders import random_weights
from coursekit.exercises.chapter_03.dead_latents import (
    DEAD,
    SMALL,
    after_resampling,
    check_touched,
    dead_mask,
    firing_rates,
)
from part_utils.autoencoder import AutoEncoderConfig

BATCH = 7


def check_none_alive(check: Check, scale: float, errors: Mapping[str, str]) -> None:
    """Check an instance in which every latent is dead."""
    cfg = AutoEncoderConfig(n_instances=2, n_input_ae=5, n_hidden_ae=3)
    dead = dead_mask(cfg, ((0, 1, 2), (1,)))
    weights, rates = random_weights(check, cfg), firing_rates(check, dead)
    h = check.normal(BATCH, cfg.n_instances, cfg.n_input_ae)
    errors = {**errors, "": "Where every latent of an instance is dead your code raised an error."}
    after = after_resampling(check, cfg, weights, rates, h, scale, errors=errors)
    if not all(torch.isfinite(value).all() for value in after.values()):
        raise Mistake(
            "Where every latent of an instance is dead there are NaN values now: the mean length of no living latents "
            "is not a number. Use 1 in its place."
        )
    if (after["W_enc"][0].norm(dim=0) == 0).any():
        raise Mistake(
            "Where every latent of an instance is dead the new encoder columns are zero. Use 1 for the mean length."
        )
    lengths = after["W_enc"][0].norm(dim=0)
    check.holds(
        agree(lengths, torch.full_like(lengths, scale), 1e-3),
        "",
        "Where every latent of an instance is dead the new encoder columns do not have the length "
        "`neuron_resample_scale`: 1 stands for the mean length there.",
        [f"scale {scale}, lengths {[round(value, 4) for value in lengths.tolist()]}"],
    )
    check_touched(check, weights, after, dead, rates)
    check.holds(True, "right where every latent of an instance is dead", "")


def check_no_loss(check: Check, scale: float) -> None:
    """Check inputs that all equal b_dec in one instance, where no latent fires: there is no error at all."""
    dead = dead_mask(SMALL, ((1, 4, 6), (0, 2, 3), (5, 7)))
    weights, rates = random_weights(check, SMALL), firing_rates(check, dead)
    weights["b_enc"][1] = -weights["b_enc"][1].abs() - 0.1
    h = check.normal(BATCH, SMALL.n_instances, SMALL.n_input_ae)
    h[:, 1] = weights["b_dec"][1]
    errors = {
        "": "Where an instance rebuilds every input without error there is nothing to draw from, and your code fails."
    }
    after = after_resampling(check, SMALL, weights, rates, h, scale, errors=errors)
    check.holds(
        all(bool(torch.isfinite(value).all()) for value in after.values()),
        "no NaN where an instance rebuilds every input without error",
        "Where an instance rebuilds every input without error there are NaN values now (0 divided by 0). Leave such an "
        "instance as it is.",
    )
    changed = [name for name, value in after.items() if not torch.equal(value[1], weights[name][1])]
    if changed:
        raise Mistake(
            f"An instance that rebuilds every input without error has another `{changed[0]}` now. There is no input "
            "with a loss to draw: leave such an instance as it is."
        )
    if all(torch.equal(after[name], weights[name]) for name in after):
        raise Mistake(
            "Where one instance rebuilds every input without error all the others are left as they are, too. Leave "
            "only that instance out; `return` or `break` ends the loop for all."
        )
    dead[1] = False
    check_touched(check, weights, after, dead, rates)
    check.holds(True, "an instance that rebuilds every input without error stays as it is", "")


def check_inputs_without_direction(check: Check, scale: float) -> None:
    """Check inputs that all equal b_dec in one instance, where latents fire all the same: a loss, but no direction."""
    dead = dead_mask(SMALL, DEAD)
    weights, rates = random_weights(check, SMALL), firing_rates(check, dead)
    weights["b_enc"][1] = weights["b_enc"][1].abs() + 0.1
    h = check.normal(BATCH, SMALL.n_instances, SMALL.n_input_ae)
    h[:, 1] = weights["b_dec"][1]
    errors = {"": "Where an input equals `b_dec` there is no direction, and your code raised an error."}
    after = after_resampling(check, SMALL, weights, rates, h, scale, errors=errors)
    check.holds(
        all(bool(torch.isfinite(value).all()) for value in after.values()),
        "no NaN where an input equals `b_dec`",
        "Where an input equals `b_dec` there are NaN values now: `h - b_dec` has length 0 there. Keep the length away "
        "from zero before you divide.",
    )


def check_small_losses(check: Check, scale: float) -> None:
    """Check inputs near `b_dec`: one that is rebuilt without error among others, small losses, short directions."""
    dead = dead_mask(SMALL, ((0, 2, 3), (1, 4, 6), (5, 7)))
    weights, rates = random_weights(check, SMALL), firing_rates(check, dead)
    b_dec = weights["b_dec"]
    directions = unit_rows(check.normal(BATCH, SMALL.n_instances, SMALL.n_input_ae))
    # In instances 0 and 1 no latent fires near `b_dec`, so the loss is the distance; in 2 all of them do.
    weights["b_enc"] = -weights["b_enc"].abs() - 2.0
    weights["b_enc"][2] *= -1
    h = b_dec + torch.tensor([0.03, 0.03, 0.005])[:, None] * directions
    h[0, 1] = b_dec[1]
    after = after_resampling(check, SMALL, weights, rates, h, scale)
    for instance, otherwise in (
        (
            0,
            "An instance whose losses are all small was left as it is. Only one without any loss is left out.",
        ),
        (
            1,
            "An instance that rebuilds one of its inputs without error was left as it is. Only one that rebuilds "
            "every input is left out (`all`, not `any`).",
        ),
    ):
        check.holds(not torch.equal(after["W_enc"][instance], weights["W_enc"][instance]), "", otherwise)
    check_touched(check, weights, after, dead, rates)
    lengths = after["W_dec"][2][dead[2]].norm(dim=-1)
    check.holds(
        agree(lengths, torch.ones_like(lengths), 1e-3),
        "right for small losses, and for inputs near `b_dec`",
        "Where an input is near `b_dec` the new decoder row does not have unit length. What keeps the length away from "
        "0 is too large.",
        [f"lengths {[round(value, 4) for value in lengths.tolist()]}"],
    )


def check_a_late_input(check: Check, scale: float, batch: int = 137) -> None:
    """Check a large batch in which a single input, near its end, is not rebuilt: every dead latent has to draw it."""
    dead = dead_mask(SMALL, ((1, 4), (0,), (2, 7)))
    weights, rates = random_weights(check, SMALL), firing_rates(check, dead)
    weights["b_enc"] = -weights["b_enc"].abs() - 0.1
    h = weights["b_dec"].expand(batch, -1, -1).clone()
    # So near that no latent fires on it.
    h[batch - 5] += 0.01 * unit_rows(check.normal(SMALL.n_instances, SMALL.n_input_ae))
    errors = {
        "": "Where a single input of a large batch is not rebuilt your code raised an error. Are all inputs looked at?"
    }
    after = after_resampling(check, SMALL, weights, rates, h, scale, errors=errors)
    rows = unit_rows(h[batch - 5] - weights["b_dec"])
    found = torch.einsum("ilx,ix->il", after["W_dec"], rows)[dead]
    check.holds(
        bool((found > 0.99).all()),
        "all inputs of a large batch are looked at",
        f"In a batch of {batch} inputs all but the fifth from the end were rebuilt without error, and it was not the "
        "one that the dead latents were pointed at. Are all inputs looked at?",
    )
