"""What the checks of chapter 3 share: autoencoders with dead latents, before and after resampling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from coursekit.checking.claims import Check, Mistake, agree
from coursekit.checking.phrases import explained, unit_rows
from coursekit.checking.pictures import side_by_side
from coursekit.exercises.chapter_02.autoencoders import (
    changed_weights,
    decoder_of,
    held_parameters,
    make_autoencoder,
    moved,
    random_weights,
    read_weights,
)
from part_utils.autoencoder import AutoEncoderConfig

SMALL = AutoEncoderConfig(n_instances=3, n_input_ae=5, n_hidden_ae=11, l1_coeff=0.4)


TIED = replace(SMALL, tied_weights=True)


# Which latents of SMALL are dead, in each instance: some, more than there are inputs in a batch of 7, and none.
DEAD = ((1, 4, 6), (0, 2, 3, 4, 6, 7, 8, 9), ())


# The instance without dead latents stands between others, so that nobody may stop at it.
WITH_A_GAP = ((1, 4, 6), (), (0, 2, 3, 4, 6, 7, 8, 9))


WITHOUT_W_DEC = {
    "no attribute 'W_dec'": "With tied weights there is no `W_dec`, and only the encoder is to be changed. Ask "
    "`autoencoder.cfg.tied_weights`."
}


LEAF = {
    "leaf Variable": "The parameters take gradients, so they can be changed in place only under `torch.no_grad()`.",
    "expanded size of the tensor": "What is written does not have the shape of the place. A latent's encoder is a "
    "*column*, `W_enc[instance, :, latent]`, and its decoder a row, `W_dec[instance, latent]`.",
    "cannot assign": "A parameter cannot be replaced by a plain tensor. Change its values in place.",
}


def dead_mask(cfg: AutoEncoderConfig, dead: tuple[tuple[int, ...], ...]) -> Tensor:
    mask = torch.zeros(cfg.n_instances, cfg.n_hidden_ae, dtype=torch.bool)
    for instance, latents in enumerate(dead):
        mask[instance, list(latents)] = True
    return mask


def firing_rates(check: Check, dead: Tensor, window: int = 13) -> Tensor:
    """Return rates over a window in which just these latents never fire.

    Of the others some fire in every step, some are silent in the first or the last, some fire only once, and one
    hardly at all.
    """
    always = check.uniform(window, *dead.shape, low=0.1)
    sometimes = check.sparse(window, *dead.shape, probability=0.4)
    # Neither in the first step nor in the last, so that nobody who looks at only these sees it.
    step = torch.randint(1, window - 1, dead.shape, generator=check.generator)
    sometimes.scatter_(0, step.unsqueeze(0), check.uniform(1, *dead.shape, low=0.1))
    rates = torch.where(check.uniform(*dead.shape) < 0.5, always, sometimes)
    # At least one of each kind, where there are enough living latents.
    alive = (~dead).nonzero().tolist()
    for kind, (instance, latent) in enumerate(alive[:5]):
        if kind == 0:
            rates[:, instance, latent] = always[:, instance, latent]
        elif kind == 4:
            # One input in 100,000, once.
            rates[:, instance, latent] = 0.0
            rates[1, instance, latent] = 1e-5
        else:
            rates[:, instance, latent] = 0.0
            rates[[1, 0, -1][kind - 1], instance, latent] = 0.5
    rates[:, dead] = 0.0
    return rates


def wrong_ideas_of_dead(rates: Tensor) -> dict[str, Tensor]:
    """Return which latents count as dead when … (known mistakes)."""
    silent = rates == 0
    dead = silent.all(0)
    return {
        "a latent counts as dead that is silent in *any* step of the window; it has to be silent in all": silent.any(
            0
        ),
        "only the last step of the window is looked at": silent[-1],
        "only the first step of the window is looked at": silent[0],
        "the latents that are *alive* are taken for the dead ones (the mask is upside down)": ~dead,
        "a latent counts as dead only if it is so in every instance": dead.all(0).expand_as(dead),
        "a latent that is dead in one instance counts as dead in every instance": dead.any(0).expand_as(dead),
        "the dead latents of instance 0 are taken for those of every instance": dead[:1].expand_as(dead),
        "the latents that fire in every step are taken": ~silent.any(0),
        "the latents that fire in the last step are taken": ~silent[-1],
        "a latent counts as dead when it is silent in most steps": silent.double().mean(0) > 0.5,
        "all latents are taken": torch.ones_like(dead),
        "an instance without a living latent has no dead ones": dead & ~dead.all(-1, keepdim=True),
    }


# What both ways of resampling have in common


def after_resampling(
    check: Check,
    cfg: AutoEncoderConfig,
    weights: Mapping[str, Tensor],
    rates: Tensor,
    *args: Any,
    errors: Mapping[str, str] | None = None,
) -> dict[str, Tensor]:
    """Return the weights after the learner's function has resampled an autoencoder."""
    autoencoder = make_autoencoder(check, cfg, weights)
    optimizer = held_parameters(check, autoencoder)
    with explained({**LEAF, **(WITHOUT_W_DEC if cfg.tied_weights else {}), **(errors or {})}):
        check.call(autoencoder, rates, *args)
    after = read_weights(check, autoencoder, cfg)
    held = moved(check, optimizer, autoencoder, cfg)
    if lost := [name for name in weights if name not in held]:
        if lost[0] in moved(check, held_parameters(check, autoencoder), autoencoder, cfg):
            raise Mistake(
                f"`{lost[0]}` is another parameter now. The optimizer holds the old one: change values in place."
            )
        raise Mistake(f"`{lost[0]}` takes no gradients any more after resampling.")
    check.show(
        lambda: side_by_side(
            decoder_of(after),
            decoder_of(weights),
            "n_instances n_hidden_ae n_input_ae",
            ("directions before", "after", "what has changed"),
        )
    )
    return after


def check_touched(
    check: Check, before: Mapping[str, Tensor], after: Mapping[str, Tensor], dead: Tensor, rates: Tensor
) -> None:
    """Only what belongs to dead latents was changed, and all of it."""
    for name, value in after.items():
        if not torch.isfinite(value).all():
            raise Mistake(f"After resampling `{name}` has values that are NaN or infinite.")
    touched = {
        "W_enc": (after["W_enc"] != before["W_enc"]).any(1),
        "b_enc": after["b_enc"] != before["b_enc"],
    }
    if "W_dec" in before:
        touched["W_dec"] = (after["W_dec"] != before["W_dec"]).any(-1)
    if not torch.equal(after["b_dec"], before["b_dec"]):
        raise Mistake("`b_dec` was changed. It belongs to no single latent, and stays as it is.")
    if not any(mask.any() for mask in touched.values()):
        raise Mistake(
            "Nothing was changed: the dead latents have the same weights as before. Were the new values written into "
            "a copy, or is the mask of the dead latents empty (here some are dead in one instance and alive in "
            "another)?"
        )
    for phrase, mask in wrong_ideas_of_dead(rates).items():
        if torch.equal(mask, dead) or not mask.any():
            continue
        # A change of all latents, or of none, may have many reasons, if it is not a change of everything.
        found = [torch.equal(changed, mask) for name, changed in touched.items() if name != "b_enc"]
        if all(found) if mask.all() else any(found):
            raise Mistake(f"The wrong latents were replaced. This is what comes out when {phrase}.")
    rare = ~dead & (rates.mean(0) < 0.05)
    wrongly = touched["W_enc"] & ~dead
    if wrongly.any() and not (wrongly & ~rare).any():
        raise Mistake(
            "The wrong latents were replaced: one that fires rarely counts as dead. Dead is only what does not fire a "
            "single time in the window."
        )
    if bool((after["b_enc"] == 0).all()) and not dead.all():
        raise Mistake("`b_enc` was set to 0 for all latents. Those that are alive keep theirs.")
    idle = ~dead.any(-1)
    reached = dead & (idle.int().cumsum(0) == 0).unsqueeze(-1)
    stopped = reached.any() and not torch.equal(reached, dead)
    if stopped and all(torch.equal(mask, reached) for mask in touched.values()):
        raise Mistake(
            f"The instances after instance {int(idle.int().argmax())}, in which nothing is to be replaced, were left "
            "as they were. `return` or `break` ends the loop there; the next instance still has its turn (`continue`)."
        )
    whole = {"W_enc": "column", "b_enc": "entry", "W_dec": "row"}
    for name, mask in touched.items():
        if (mask & ~dead).any():
            instance, latent = (mask & ~dead).nonzero()[0].tolist()
            changed = ""
            if name == "W_dec" and agree(after[name][~dead], unit_rows(before[name])[~dead]):
                changed = " They were brought to unit length."
            raise Mistake(
                f"`{name}` was changed for latents that are alive. Only the {whole[name]} of a dead latent is replaced."
                f"{changed}",
                [f"for instance latent {latent} of instance {instance}"],
            )
    check.holds(True, "only dead latents are replaced; those that are alive and `b_dec` are not touched", "")
    for name, mask in touched.items():
        missed = dead & ~mask
        if not missed.any():
            continue
        if name == "b_enc":
            raise Mistake(
                "The encoder bias of the dead latents was kept. A latent whose bias is very negative would stay dead "
                "in its new direction: set it to 0."
            )
        if torch.equal(missed, dead):
            raise Mistake(
                f"The dead latents have the same {'encoder columns' if name == 'W_enc' else 'decoder rows'} as before: "
                f"`{name}` was not changed."
            )
        instance, latent = missed.nonzero()[0].tolist()
        count = int(mask[dead].sum())
        raise Mistake(
            f"Only {count} of {int(dead.sum())} dead latents got a new {whole[name]} of `{name}`.",
            [f"missing for instance latent {latent} of instance {instance}"],
        )
    bias = after["b_enc"][dead]
    if not (bias == 0).all():
        raise Mistake(
            "The encoder bias of the new latents is not 0.",
            [f"got {[round(value, 4) for value in bias[:5].tolist()]}"],
        )
    check.holds(True, "a new latent's encoder bias is 0", "")


def check_unit_length(
    check: Check, before: Mapping[str, Tensor], after: Mapping[str, Tensor], dead: Tensor, scale: float
) -> None:
    """Check that the new decoder rows have length 1."""
    if "W_dec" not in after:
        return
    rows = after["W_dec"][dead]
    lengths = rows.double().norm(dim=-1)
    if (lengths - 1).abs().max() < 1e-4:
        check.holds(True, "the new decoder rows have unit length", "")
        return
    details = [f"their lengths are {[round(value, 4) for value in lengths[:5].tolist()]}"]
    if (lengths - scale).abs().max() < 1e-4:
        raise Mistake(
            "The new decoder rows have the length `neuron_resample_scale`. Only the encoder is scaled; the decoder's "
            "rows are unit vectors.",
            details,
        )
    if torch.allclose(lengths, decoder_of(before)[dead].double().norm(dim=-1), rtol=1e-4):
        raise Mistake(
            "The new decoder rows have the lengths of the old ones; they are unit vectors.", details
        )
    columns = after["W_enc"].mT[dead].double().norm(dim=-1)
    if torch.allclose(lengths, columns, rtol=1e-4):
        raise Mistake(
            "The new decoder rows are as long as the new encoder columns. Only the encoder is scaled; the decoder's "
            "rows are unit vectors.",
            details,
        )
    if (rows.double().abs().sum(-1) - 1).abs().max() < 1e-4:
        raise Mistake(
            "In the new decoder rows the *absolute values* add up to 1. Unit length means that the squares do.",
            details,
        )
    several = [after["W_dec"][instance][mask] for instance, mask in enumerate(dead) if mask.sum() > 1]
    one = torch.ones(rows.shape[-1])
    if all(agree(part.square().sum(0), one) for part in several) or agree(rows.square().sum(0), one):
        raise Mistake(
            "The new decoder rows were normalized along the wrong axis: each input dimension has length 1 over the "
            "dead latents, where each latent should have length 1 over the input dimensions.",
            details,
        )
    if all(abs(part.norm().item() - 1) < 1e-4 for part in several) or abs(rows.norm().item() - 1) < 1e-4:
        raise Mistake(
            "The new decoder rows were divided by one common length; each of them shall have unit length.",
            details,
        )
    raise Mistake("The new decoder rows do not have unit length.", details)


def check_inputs_stay(check: Check, *args: Any) -> None:
    """Check that the record of firing, and the inputs if there are any, are as they were afterwards."""
    rates = firing_rates(check, dead_mask(SMALL, DEAD))
    check.leaves_inputs(make_autoencoder(check, SMALL, random_weights(check, SMALL)), rates, *args)


def check_none_dead(check: Check, *args: Any) -> None:
    """Nothing happens where all latents are alive."""
    weights = random_weights(check, SMALL)
    rates = firing_rates(check, torch.zeros(SMALL.n_instances, SMALL.n_hidden_ae, dtype=torch.bool))
    autoencoder = make_autoencoder(check, SMALL, weights)
    with explained(
        {**LEAF, "": "Where no latent is dead there is nothing to do, but your code raised an error."}
    ):
        check.call(autoencoder, rates, *args)
    changed = changed_weights(check, autoencoder, SMALL, weights)
    check.holds(
        not changed,
        "where no latent is dead nothing happens",
        f"No latent was dead, and yet {' and '.join(f'`{name}`' for name in changed)} changed.",
    )
