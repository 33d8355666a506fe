"""Chapter 3: neuron resampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, agree, shape_text
from coursekit.checking.door import Handle
from coursekit.checking.fixtures import MOMENTS
from coursekit.checking.pictures import side_by_side
from coursekit.exercises.chapter_02 import (
    AXES,
    PARAMETERS,
    changed_weights,
    decoder_of,
    explained,
    make_autoencoder,
    random_weights,
    read_weights,
    unit_rows,
)
from part_utils.autoencoder import AutoEncoderConfig

SMALL = AutoEncoderConfig(n_instances=3, n_input_ae=5, n_hidden_ae=11, l1_coeff=0.4)
TIED = replace(SMALL, tied_weights=True)
# Which latents of SMALL are dead, in each instance: some, more than there are inputs in a batch of 7, and none.
DEAD = ((1, 4, 6), (0, 2, 3, 4, 6, 7, 8, 9), ())
BATCH = 7
WITHOUT_W_DEC = {
    "no attribute 'W_dec'": "With tied weights there is no `W_dec`, and only the encoder is to be changed. Ask "
    "`autoencoder.cfg.tied_weights`."
}
LEAF = {
    "leaf Variable": "The parameters take gradients, so they can be changed in place only under `torch.no_grad()`.",
    "cannot assign": "A parameter cannot be replaced by a plain tensor. Change its values in place.",
}


def _dead_mask(cfg: AutoEncoderConfig, dead: tuple[tuple[int, ...], ...]) -> Tensor:
    mask = torch.zeros(cfg.n_instances, cfg.n_hidden_ae, dtype=torch.bool)
    for instance, latents in enumerate(dead):
        mask[instance, list(latents)] = True
    return mask


def _firing_rates(check: Check, dead: Tensor, window: int = 13) -> Tensor:
    """Rates over a window in which just these latents never fire.

    Of the others some fire in every step, some are silent in the first or the last, and some fire only once.
    """
    always = check.uniform(window, *dead.shape, low=0.1)
    sometimes = check.sparse(window, *dead.shape, probability=0.4)
    # Neither in the first step nor in the last, so that nobody who looks at only these sees it.
    step = torch.randint(1, window - 1, dead.shape, generator=check.generator)
    sometimes.scatter_(0, step.unsqueeze(0), check.uniform(1, *dead.shape, low=0.1))
    rates = torch.where(check.uniform(*dead.shape) < 0.5, always, sometimes)
    # At least one of each kind, where there are enough living latents.
    alive = (~dead).nonzero().tolist()
    for kind, (instance, latent) in enumerate(alive[:4]):
        if kind == 0:
            rates[:, instance, latent] = always[:, instance, latent]
        else:
            rates[:, instance, latent] = 0.0
            rates[[1, 0, -1][kind - 1], instance, latent] = 0.5
    rates[:, dead] = 0.0
    return rates


def _wrong_ideas_of_dead(rates: Tensor) -> dict[str, Tensor]:
    """Which latents count as dead when … (known mistakes)."""
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


# Exercise 3.1


@exercise(
    id="3.1",
    reference="resampling.dead_neurons",
    title="Which latents are dead?",
    statement="""
During training we note for each step on what share of the batch each latent fired. A latent is **dead** if it did not
fire *once* in a whole window of steps. One quiet step does not make it dead: a latent for a rare feature may be silent
for many batches.

Return a boolean mask of the dead latents, `n_instances n_hidden_ae`.
""",
    hints=(
        "The share is never negative, so a latent that never fired has a share of exactly 0 in every step.",
        "Compare with 0 first, which gives booleans of the same shape. Then ask along the axis `window` whether they "
        "are true in *all* steps.",
    ),
    difficulty=1,
    importance=3,
    minutes=5,
    points=1,
)
def dead_neurons(check: Check) -> None:
    for window, instances, latents in ((13, 3, 7), (5, 2, 11)):
        dead = check.uniform(instances, latents) < 0.4
        dead[:, 0], dead[:, 1] = True, False
        dead[0, 2], dead[1, 2] = True, False
        dead[0, 3], dead[1, 3] = False, True
        rates = _firing_rates(check, dead, window)
        # Alive in the last step, alive in the first, and silent in both.
        rates[:, :, 1] = check.uniform(window, instances, low=0.1)
        rates[-1, 0, 1], rates[0, 1, 1] = 0.0, 0.0
        rates[-1, 1, 2], rates[0, 0, 3] = 0.5, 0.5
        mistakes = _wrong_ideas_of_dead(rates)
        mistakes |= {
            "the axis of the instances is lost": dead.all(0),
            "the axis of the instances is lost and a latent counts as dead if it is so in any": dead.any(0),
            "the axis of the latents is lost": dead.all(-1),
            "the axis of the window is kept: each step is looked at on its own": rates == 0,
            "the two axes are exchanged": dead.mT,
        }
        _check_mask(
            check, rates, dead, mistakes, "dead is what is silent in every step, alive what fires in one"
        )
    rates = check.uniform(101, 2, 5, low=0.1)
    dead = _dead_mask(AutoEncoderConfig(2, 3, 5), ((0, 3), (2,)))
    rates[:, dead] = 0.0
    rates[:, 0, 1], rates[40, 0, 1] = 0.0, 1e-6
    rates[:, 1, 4] = 1e-5
    small = (rates.amax(0) < 1e-3) | dead
    _check_mask(
        check,
        rates,
        dead,
        {"a share that is small but not zero counts as dead": small}
        | {"a small share counts as dead ": rates.mean(0) < 1e-3},
        "a latent that fires on one input in a million is alive",
        nearly="A share that is small but not zero counts as dead. A latent that fires at all is alive.",
    )
    rates = check.sparse(1, 3, 5, probability=0.5)
    _check_mask(check, rates, rates[0] == 0, {}, "right for a window of one step")


def _check_mask(
    check: Check, rates: Tensor, dead: Tensor, mistakes: Mapping[str, Tensor], claim: str, nearly: str = ""
) -> None:
    found = check.call(rates)
    if not isinstance(found, Tensor):
        check.tensor(found)
    if found.dtype != torch.bool and found.shape == dead.shape:
        hint = " (its values would be right)" if torch.equal(found != 0, dead) else ""
        raise Mistake(
            f"The mask holds {found.dtype} values{hint}; expected torch.bool, so that it can be used as an index."
        )
    if found.shape == dead.shape and torch.equal(found, dead):
        check.holds(True, claim, "")
        return
    for phrase, mask in mistakes.items():
        if found.shape == mask.shape and torch.equal(found, mask) and found.dtype == torch.bool:
            raise Mistake(f"Your mask is what comes out when {phrase.strip()}.")
    if found.shape != dead.shape:
        raise Mistake(
            "Your mask has the wrong shape: expected "
            f"{shape_text(dead, AXES['b_enc'])}, got {shape_text(found)}."
        )
    wrong = (found != dead).nonzero()
    alive_called_dead = int((found & ~dead).sum())
    if nearly and alive_called_dead:
        raise Mistake(nearly)
    raise Mistake(
        f"{len(wrong)} of {dead.numel()} latents are judged wrongly.",
        [
            f"called dead, but alive: {alive_called_dead}",
            f"called alive, but dead: {int((dead & ~found).sum())}",
            f"for instance latent {int(wrong[0, 1])} of instance {int(wrong[0, 0])}, whose shares are "
            f"{[round(value, 3) for value in rates[:8, int(wrong[0, 0]), int(wrong[0, 1])].tolist()]} …",
        ],
    )


# What both ways of resampling have in common


def _resampled(
    check: Check,
    cfg: AutoEncoderConfig,
    weights: Mapping[str, Tensor],
    rates: Tensor,
    *args: Any,
    errors: Mapping[str, str] | None = None,
) -> dict[str, Tensor]:
    """The weights after the learner's function has resampled an autoencoder."""
    autoencoder = make_autoencoder(check, cfg, weights)
    optimizer = check.create(autoencoder, target=PARAMETERS)
    with explained({**LEAF, **(WITHOUT_W_DEC if cfg.tied_weights else {}), **(errors or {})}):
        check.call(autoencoder, rates, *args)
    replaced = check.learner.call((optimizer, "replaced"))
    if replaced:
        raise Mistake(
            f"`{replaced[0]}` is another parameter now. The optimizer holds the old one: change values in place."
        )
    trainable = check.learner.call((optimizer, "trainable"))
    for name in weights:
        if name not in trainable:
            raise Mistake(f"`{name}` takes no gradients any more after resampling.")
    after = read_weights(check, autoencoder, cfg)
    check.show(
        lambda: side_by_side(
            decoder_of(after),
            decoder_of(weights),
            "n_instances n_hidden_ae n_input_ae",
            ("directions before", "after", "what has changed"),
        )
    )
    return after


def _check_touched(
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
            "a copy?"
        )
    for phrase, mask in _wrong_ideas_of_dead(rates).items():
        if torch.equal(mask, dead) or not mask.any():
            continue
        # A change of all latents, or of none, may have many reasons, if it is not a change of everything.
        found = [torch.equal(changed, mask) for name, changed in touched.items() if name != "b_enc"]
        if all(found) if mask.all() else any(found):
            raise Mistake(f"The wrong latents were replaced. This is what comes out when {phrase}.")
    if bool((after["b_enc"] == 0).all()) and not dead.all():
        raise Mistake("`b_enc` was set to 0 for all latents. Those that are alive keep theirs.")
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


def _check_unit_length(
    check: Check, before: Mapping[str, Tensor], after: Mapping[str, Tensor], dead: Tensor, scale: float
) -> None:
    """The new decoder rows have length 1."""
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


def _check_none_dead(check: Check, *args: Any) -> None:
    """Nothing happens where all latents are alive."""
    weights = random_weights(check, SMALL)
    rates = _firing_rates(check, torch.zeros(SMALL.n_instances, SMALL.n_hidden_ae, dtype=torch.bool))
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


# Exercise 3.2


@exercise(
    id="3.2",
    reference="resampling.resample_simple",
    title="Resample in random directions",
    statement="""
A dead latent gets no gradient and stays dead. So we give it a new start, in place:

- Draw a random unit vector $v$ for each dead latent, each its own, with every direction equally likely.
- Its decoder row `W_dec[i, j, :]` becomes $v$ (with tied weights there is none).
- Its encoder column `W_enc[i, :, j]` becomes `neuron_resample_scale` times $v$. It is short, so that the new latent
  disturbs little at first.
- Its encoder bias becomes 0.

Nothing else changes, and where no latent is dead nothing happens. What you return does not matter.
""",
    hints=(
        "`dead_neurons(frac_active_in_window)` gives the mask. How many vectors do you need, and of what length?",
        "A normal distribution looks the same from every direction: `torch.randn`, then divide each vector by its "
        "length. `torch.rand` is never negative and would fill one quadrant only.",
        "`W_dec[dead] = vectors` works with a mask of the first two axes. `W_enc` has the latents on its last axis, "
        "but `W_enc.mT` has them where you need them, and writing into it changes `W_enc`.",
    ),
    difficulty=3,
    importance=4,
    minutes=15,
    points=3,
)
def resample_simple(check: Check) -> None:
    scale = 0.35
    for cfg in (SMALL, TIED):
        dead = _dead_mask(cfg, DEAD)
        rates = _firing_rates(check, dead)
        weights = random_weights(check, cfg)
        after = _resampled(check, cfg, weights, rates, scale)
        _check_touched(check, weights, after, dead, rates)
        _check_unit_length(check, weights, after, dead, scale)
        _check_simple_encoder(check, weights, after, dead, scale)
        _check_all_different(after, dead)
        again = _resampled(check, cfg, weights, rates, scale)
        check.holds(
            not torch.equal(after["W_enc"], again["W_enc"]),
            "each call draws new directions",
            "Two calls gave the same directions. Draw new ones each time, without setting a seed.",
        )
    _check_none_dead(check, scale)
    _check_every_direction(check, scale)
    everything = AutoEncoderConfig(2, 3, 5)
    dead = _dead_mask(everything, ((0, 1, 2, 3, 4), (3,)))
    weights, rates = random_weights(check, everything), _firing_rates(check, dead)
    after = _resampled(check, everything, weights, rates, scale)
    _check_touched(check, weights, after, dead, rates)
    check.holds(True, "right where every latent of an instance is dead", "")


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
            "The new encoder columns have unit length: `neuron_resample_scale` is not used.", details
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
    if ((chosen @ chosen[0]).abs() > 0.9999).all():
        raise Mistake("One and the same vector is used for all dead latents. Draw one for each of them.")
    groups = [directions[instance][mask] for instance, mask in enumerate(dead) if mask.sum() > 1]
    if all(((group @ group[0]).abs() > 0.9999).all() for group in groups):
        raise Mistake("All dead latents of an instance got the same vector. Draw one for each of them.")
    similar = (chosen @ chosen.T).triu(diagonal=1) > 0.99999
    if similar.any():
        raise Mistake(
            "Some dead latents got the same vector (latents of the same number in different instances, or of different "
            "numbers). Draw one for each dead latent."
        )


def _check_every_direction(check: Check, scale: float) -> None:
    """In two dimensions the angles of many new directions are spread evenly."""
    cfg = AutoEncoderConfig(n_instances=2, n_input_ae=2, n_hidden_ae=2503)
    weights = random_weights(check, cfg)
    rates = torch.zeros(2, cfg.n_instances, cfg.n_hidden_ae)
    directions = _resampled(check, cfg, weights, rates, scale)["W_dec"].flatten(0, 1).double()
    if ((unit_rows(weights["W_dec"]).flatten(0, 1) * directions).sum(-1) > 0.9999).all():
        raise Mistake(
            "The dead latents keep their old direction, and only its length is changed. Draw a new one."
        )
    if (directions >= 0).all():
        raise Mistake(
            "All numbers in the new directions are positive: that is one quadrant only. `torch.rand` is never negative."
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


# Exercise 3.3


@exercise(
    id="3.3",
    reference="resampling.resample_advanced",
    title="Resample where the loss is large",
    statement="""
A random direction may point at nothing. Better: look where the autoencoder rebuilds badly, and put the dead latent
there. This is the recipe of Bricken et al. (2023), for each dead latent $j$ of an instance $i$:

- Pass `h` through the autoencoder, as it is now. Draw one input $b$ of the batch with a probability proportional to
  the **square** of its loss in this instance, $p_b \\propto (\\texttt{l2\\_loss}[b, i])^2$. Each dead latent draws on
  its own, so two of them may get the same input.
- $v$ is that input minus `b_dec[i]`, at unit length. The decoder starts from `b_dec`, so what it has to add is
  `h - b_dec`.
- Its decoder row becomes $v$ (with tied weights there is none), and its encoder bias 0.
- Its encoder column becomes `neuron_resample_scale` times the mean length of the encoder columns that are alive in this
  instance, times $v$. Where none is alive, use 1 for the mean length.

Nothing else changes, and NaN must not get in: if an instance rebuilds every input perfectly, leave it as it is. What
you return does not matter.
""",
    hints=(
        "`autoencoder(h).l2_loss` has the shape `batch n_instances`. Go through the instances one at a time: each has "
        "its own losses, its own dead latents and its own mean length.",
        "`torch.multinomial(weights, count, replacement=True)` draws row numbers. The weights need not add up to 1, "
        "but they must not all be zero. Draw as many as there are dead latents in the instance.",
        "`(h[rows, instance] - autoencoder.b_dec[instance])` has one row for each dead latent; divide each row by its "
        "length (`dim=-1`).",
        "A latent's encoder is a *column*: `W_enc[instance][:, alive].norm(dim=0).mean()`. The mean of no numbers at "
        "all is NaN.",
    ),
    difficulty=4,
    importance=4,
    minutes=30,
    points=5,
    # One latent at a time, on a busy machine, is slow and no mistake.
    seconds=60,
)
def resample_advanced(check: Check) -> None:
    scale = 0.35
    errors = {
        "without replacement": "With more dead latents than inputs your code raised an error. Each dead latent draws "
        "on its own, so an input may be drawn more than once (`replacement=True`).",
    }
    for cfg in (SMALL, TIED):
        dead = _dead_mask(cfg, DEAD)
        rates = _firing_rates(check, dead)
        weights = random_weights(check, cfg)
        h = check.normal(BATCH, cfg.n_instances, cfg.n_input_ae) + check.normal(
            1, cfg.n_instances, cfg.n_input_ae
        )
        after = _resampled(check, cfg, weights, rates, h, scale, errors=errors)
        _check_touched(check, weights, after, dead, rates)
        _check_rows(check, h, weights, after, dead, scale)
        _check_advanced_encoder(check, weights, after, dead, scale)
    _check_none_dead(check, check.normal(BATCH, SMALL.n_instances, SMALL.n_input_ae), scale)
    _check_drawn_by_loss(check, scale, errors)
    _check_none_alive(check, scale, errors)
    _check_no_loss(check, scale)


def _forward(h: Tensor, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """l1_loss, l2_loss and the reconstruction of an autoencoder with these weights."""
    b_dec = weights["b_dec"]
    acts = torch.relu(torch.einsum("bix,ixl->bil", h - b_dec, weights["W_enc"]) + weights["b_enc"])
    rebuilt = torch.einsum("bil,ilx->bix", acts, unit_rows(decoder_of(weights))) + b_dec
    return acts.sum(-1), (h - rebuilt).pow(2).mean(-1), rebuilt


def _nearest(directions: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine with the nearest row, and its number, for directions of one instance."""
    return (unit_rows(directions) @ unit_rows(rows).mT).max(dim=-1)


def _check_rows(
    check: Check,
    h: Tensor,
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    dead: Tensor,
    scale: float,
) -> None:
    """The new directions are rows of h - b_dec of the latent's own instance, at unit length."""
    new = after["W_dec"] if "W_dec" in after else after["W_enc"].mT
    b_dec = before["b_dec"]
    rebuilt = _forward(h, before)[2]

    def found_in(rows: Callable[[int], Tensor]) -> bool:
        return all(
            bool((_nearest(new[i][mask], rows(i))[0] > 0.9999).all())
            for i, mask in enumerate(dead)
            if mask.any()
        )

    if not found_in(lambda i: h[:, i] - b_dec[i]):
        everything = torch.cat([h[:, i] - b_dec[i] for i in range(len(dead))])
        for phrase, rows in {
            "rows of `h`: `b_dec` was not subtracted": lambda i: h[:, i],
            "rows of `h + b_dec`: `b_dec` was added instead of subtracted": lambda i: h[:, i] + b_dec[i],
            "rows of `b_dec - h`: the sign is turned round": lambda i: b_dec[i] - h[:, i],
            "rows of `h` minus the `b_dec` of instance 0; each instance has its own": lambda i: (
                h[:, i] - b_dec[0]
            ),
            "rows of instance 0, whatever the latent's instance": lambda i: h[:, 0] - b_dec[0],
            "rows of instance 0 minus each instance's `b_dec`": lambda i: h[:, 0] - b_dec[i],
            "rows of instance 0, and `b_dec` was not subtracted": lambda i: h[:, 0],
            "rows of other instances": lambda i: everything,
            "rows of the *error* `h - h_reconstructed`, not of the input": lambda i: h[:, i] - rebuilt[:, i],
            "rows of the *reconstruction*, not of the input": lambda i: rebuilt[:, i] - b_dec[i],
            "rows of the reconstruction, and `b_dec` was not subtracted": lambda i: rebuilt[:, i],
            "rows of `h` minus the mean of the batch, not minus `b_dec`": lambda i: h[:, i] - h[:, i].mean(0),
            "a mean of the inputs, not single ones": lambda i: (h[:, i] - b_dec[i]).mean(0, keepdim=True),
        }.items():
            if found_in(rows):
                raise Mistake(f"The new directions are {phrase}.")
        _check_unit_length(check, before, after, dead, scale)
        if "W_dec" in after and _encoder_points_at(after, dead, h - b_dec):
            raise Mistake("The encoder columns point at inputs, but the decoder rows do not.")
        raise Mistake(
            "The new directions are no rows of `h - b_dec`. Each dead latent takes one input of its own instance, "
            "minus `b_dec`, at unit length."
        )
    if "W_dec" in after:
        centered = h - b_dec
        as_they_are = torch.cat(
            [centered[:, i][_nearest(new[i][mask], centered[:, i])[1]] for i, mask in enumerate(dead)]
        )
        if agree(after["W_dec"][dead], as_they_are):
            raise Mistake("The new decoder rows are as long as the inputs; they shall have unit length.")
    _check_unit_length(check, before, after, dead, scale)
    check.holds(
        True, "the new directions are inputs of the latent's own instance, minus `b_dec`, at unit length", ""
    )


def _encoder_points_at(after: Mapping[str, Tensor], dead: Tensor, rows: Tensor) -> bool:
    """Whether the encoder columns of the dead latents point at rows of their instance."""
    columns = after["W_enc"].mT
    return all(
        bool((_nearest(columns[i][mask], rows[:, i])[0] > 0.9999).all())
        for i, mask in enumerate(dead)
        if mask.any()
    )


def _check_advanced_encoder(
    check: Check, before: Mapping[str, Tensor], after: Mapping[str, Tensor], dead: Tensor, scale: float
) -> None:
    columns, W_enc = after["W_enc"].mT, before["W_enc"]
    if "W_dec" in after:
        cosines = (unit_rows(columns[dead]) * unit_rows(after["W_dec"][dead])).sum(-1)
        if (cosines < -0.999).all():
            raise Mistake("The new encoder columns point the opposite way of the decoder rows.")
        if not (cosines > 0.999).all():
            raise Mistake(
                "A new latent's encoder column does not point where its decoder row points. Both come from the *same* "
                "input: was a second one drawn?",
                [f"cosine similarities: {[round(value, 3) for value in cosines[:5].tolist()]}"],
            )
    lengths = columns[dead].double().norm(dim=-1)
    norms = W_enc.double().norm(dim=1)
    alive = ~dead
    mean_alive = torch.stack([norms[i][mask].mean() for i, mask in enumerate(alive)])

    def spread(per_instance: Tensor) -> Tensor:
        return per_instance.unsqueeze(-1).expand_as(norms)[dead]

    def each(compute: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """A number for each instance, from its encoder and its mask of living latents."""
        return torch.stack([compute(W.double(), mask) for W, mask in zip(W_enc, alive, strict=True)])

    expected = spread(scale * mean_alive)
    details = [
        f"expected lengths {[round(value, 4) for value in expected[:4].tolist()]}, "
        f"got {[round(value, 4) for value in lengths[:4].tolist()]}"
    ]

    def fits(candidate: Tensor) -> bool:
        return torch.allclose(lengths, candidate.expand_as(lengths), rtol=1e-3)

    if fits(expected):
        check.holds(True, "the new encoder columns have the scaled mean length of the living ones", "")
        return
    one = torch.ones((), dtype=torch.float64)
    for sentence, candidate in {
        "`neuron_resample_scale` is missing: they are as long as the mean of the living ones": spread(
            mean_alive
        ),
        "the mean length of the living columns is missing: they have the length `neuron_resample_scale`": scale
        * one,
        "both `neuron_resample_scale` and the mean length of the living columns are missing: they have length 1": one,
        "the scale is 0.2 whatever `neuron_resample_scale` is": spread(0.2 * mean_alive),
        "the mean is taken over all latents, the dead ones included": spread(scale * norms.mean(-1)),
        "the mean is taken over the *dead* latents": spread(
            scale * each(lambda W, mask: W[:, ~mask].norm(dim=0).sum() / (~mask).sum().clamp_min(1))
        ),
        "the mean is taken over the living latents of all instances, not of their own": scale
        * norms[alive].mean(),
        "the mean is taken over all latents of all instances": scale * norms.mean(),
        "the mean length of instance 0 is used for every instance": scale * mean_alive[0],
        "the lengths are taken along the wrong axis (over the latents, not over the input dimensions)": spread(
            scale * each(lambda W, mask: W[:, mask].norm(dim=1).mean())
        ),
        "the lengths are taken along the wrong axis, and over all latents": spread(
            scale * each(lambda W, mask: W.norm(dim=1).mean())
        ),
        "the length of all living columns together is taken instead of their mean": spread(
            scale * each(lambda W, mask: W[:, mask].norm())
        ),
        "the *sum* of the living columns' lengths is taken instead of their mean": spread(
            scale * each(lambda W, mask: W[:, mask].norm(dim=0).sum())
        ),
        "the mean of the *squared* lengths is taken": spread(
            scale * each(lambda W, mask: W[:, mask].square().sum(0).mean())
        ),
        "the length of the *mean column* is taken instead of the mean of the lengths": spread(
            scale * each(lambda W, mask: W[:, mask].mean(1).norm())
        ),
        "the root of the mean squared length is taken instead of the mean length": spread(
            scale * each(lambda W, mask: W[:, mask].square().sum(0).mean().sqrt())
        ),
        "the largest length of the living columns is taken instead of their mean": spread(
            scale * each(lambda W, mask: W[:, mask].norm(dim=0).max())
        ),
        "the decoder's lengths are used instead of the encoder's": spread(
            scale
            * torch.stack(
                [
                    D.double().norm(dim=-1)[mask].mean()
                    for D, mask in zip(decoder_of(before), alive, strict=True)
                ]
            )
        ),
        "`neuron_resample_scale` is applied twice": spread(scale**2 * mean_alive),
        "the mean length is divided by `neuron_resample_scale`": spread(mean_alive / scale),
        "the scale is divided by the mean length": spread(scale / mean_alive),
    }.items():
        if fits(candidate):
            raise Mistake(f"The new encoder columns have the wrong length: {sentence}.", details)
    if lengths.std() > 0.01 and "W_dec" in after:
        raise Mistake(
            "The new encoder columns have different lengths within an instance. Bring the input to unit length before "
            "it is scaled.",
            details,
        )
    raise Mistake("The new encoder columns have the wrong length.", details)


def _check_drawn_by_loss(check: Check, scale: float, errors: Mapping[str, str]) -> None:
    """Inputs are drawn in proportion to the squared loss, by each dead latent of each instance for itself.

    Instances 0 and 2 are equal, and so are 1 and 3. Their losses on the seven inputs are made to measure.
    """
    alive, inputs, dead_count, calls = 3, 3, 301, 4
    cfg = AutoEncoderConfig(n_instances=4, n_input_ae=inputs, n_hidden_ae=alive + dead_count)
    weights, h = _measured_losses(check, cfg, alive)
    l1, l2, _ = _forward(h, weights)
    dead = torch.zeros(cfg.n_instances, cfg.n_hidden_ae, dtype=torch.bool)
    dead[:, alive:] = True
    rates = _firing_rates(check, dead, window=3)
    drawn = []
    for _ in range(calls):
        after = _resampled(check, cfg, weights, rates, h, scale, errors=errors)
        numbers = []
        for instance in range(cfg.n_instances):
            rows = h[:, instance] - weights["b_dec"][instance]
            cosine, number = _nearest(after["W_dec"][instance, alive:], rows)
            if not (cosine > 0.999).all():
                raise Mistake("With many dead latents some of the new directions are no rows of `h - b_dec`.")
            numbers.append(number)
        drawn.append(torch.stack(numbers))
    draws = torch.stack(drawn, dim=1)  # instance call latent

    if (draws == draws[:, :, :1]).all():
        best = l2.argmax(0)
        if (draws == best[:, None, None]).all():
            raise Mistake(
                "Always the input with the largest loss is taken. Draw it at random, with a probability proportional "
                "to the squared loss, or all dead latents get the same direction."
            )
        raise Mistake("One draw is used for all dead latents of an instance. Each of them draws on its own.")
    if (draws == draws[:, :1]).all():
        raise Mistake("Every call draws the same inputs. Draw anew each time, without setting a seed.")
    if (draws[0] == draws[2]).all():
        raise Mistake("The instances share their draws. Each instance draws from its own losses, on its own.")
    uniform = torch.ones_like(l2)
    length = (h - weights["b_dec"]).norm(dim=-1)
    candidates = {
        "all inputs are equally likely (the loss is not used)": uniform,
        "it is proportional to the loss itself, not to its square": l2,
        "it is proportional to the root of the loss": l2.sqrt(),
        "it is proportional to the fourth power of the loss (squared twice)": l2**4,
        "it is proportional to the third power of the loss": l2**3,
        "a softmax of the loss is taken": torch.softmax(l2, 0),
        "a softmax of the squared loss is taken": torch.softmax(l2**2, 0),
        "a softmax of minus the loss is taken": torch.softmax(-l2, 0),
        "it is proportional to 1 over the loss, so that well rebuilt inputs are drawn": 1 / l2,
        "it is proportional to 1 over the squared loss, so that well rebuilt inputs are drawn": l2**-2,
        "the losses of instance 0 are used for every instance": (l2**2)[:, :1].expand_as(l2),
        "the loss is divided by its sum over the instances instead of the sum over the batch": (
            l2 / l2.sum(1, keepdim=True)
        )
        ** 2,
        "the losses of instance 0 are used for every instance, without squaring them": l2[:, :1].expand_as(
            l2
        ),
        "the loss is averaged over the instances": l2.mean(1, keepdim=True).expand_as(l2) ** 2,
        "the squared loss is averaged over the instances": (l2**2).mean(1, keepdim=True).expand_as(l2),
        "the loss includes the L1 term; the square of `l2_loss` alone is meant": (l2 + cfg.l1_coeff * l1)
        ** 2,
        "it is proportional to the squared L1 loss": l1**2,
        "it is proportional to the L1 loss": l1,
        "it is proportional to the squared length of the input, not to the loss": length**2,
        "it is proportional to the length of the input, not to the loss": length,
        "only the worst half of the inputs is drawn from": torch.where(l2 >= l2.median(0).values, 1.0, 0.0),
    }
    _check_distribution(check, draws.flatten(1), l2**2, candidates)
    # Afterwards: losses that change from draw to draw make the instances agree as well.
    for first, second in ((0, 2), (1, 3)):
        _check_independent(check, draws[first].flatten(), draws[second].flatten(), l2[:, first])
    check.holds(True, "each dead latent draws an input on its own", "")


def _measured_losses(check: Check, cfg: AutoEncoderConfig, alive: int) -> tuple[dict[str, Tensor], Tensor]:
    """Weights and inputs with losses that differ by a factor of four; the dead latents never fire.

    The latents have no bias here, so an input (minus b_dec) that is s times longer has a loss that is s² times
    larger, and each input's loss can be chosen.
    """
    weights = random_weights(check, cfg)
    weights["b_enc"] = torch.zeros_like(weights["b_enc"])
    weights["b_enc"][:, alive:] = -1_000.0
    ascending = torch.linspace(0.5, 2.0, BATCH)
    goals = torch.stack([ascending, ascending.roll(3).flip(0)], dim=1).repeat(1, cfg.n_instances // 2)
    while True:
        fresh = random_weights(check, cfg)
        for name in ("W_enc", "W_dec", "b_dec"):
            # Two different instances, each of them twice.
            weights[name] = fresh[name][:2].repeat(cfg.n_instances // 2, 1, *(1,) * (fresh[name].ndim - 2))
        rows = unit_rows(check.normal(BATCH, 2, cfg.n_input_ae)).repeat(1, cfg.n_instances // 2, 1)
        loss = _forward(rows + weights["b_dec"], weights)[1]
        scaled = rows * (goals / loss.clamp_min(1e-9)).sqrt().unsqueeze(-1)
        cosines = torch.einsum("bix,cix->ibc", rows, rows).triu(diagonal=1)
        # No two inputs in nearly the same direction, and none of extreme length.
        if loss.min() > 0.02 and loss.max() < 2 and cosines.max() < 0.98:
            return weights, scaled + weights["b_dec"]


def _check_independent(check: Check, left: Tensor, right: Tensor, l2: Tensor) -> None:
    """Two instances with the same losses agree in their draws as often as chance would have it."""
    found = torch.bincount(torch.cat([left, right]), minlength=len(l2)).double()
    share = (found / found.sum()).square().sum().item()
    count = int((left == right).sum())
    deviation = math.sqrt(len(left) * share * (1 - share))
    check.holds(
        abs(count - len(left) * share) < 7 * deviation + 0.1 * len(left),
        "the instances draw independently",
        "The instances share their draws. Each instance draws from its own losses, on its own.",
    )


def _check_distribution(
    check: Check, draws: Tensor, expected: Tensor, candidates: Mapping[str, Tensor]
) -> None:
    """The inputs are drawn with the expected probabilities (chi-square over all inputs of both kinds of instance)."""
    counts = torch.stack([torch.bincount(row, minlength=BATCH) for row in draws], dim=1).double()
    counts = counts[:, :2] + counts[:, 2:]
    total = counts.sum(0)

    def improbable(weights: Tensor) -> tuple[float, float]:
        """The chance of counts like these or further off, and their distance from the expected ones."""
        p = (weights / weights.sum(0))[:, :2].double()
        distance = ((counts - p * total).square() / (p * total).clamp_min(1e-9)).sum()
        freedom = torch.tensor(2 * (BATCH - 1) / 2, dtype=torch.float64)
        return torch.special.gammaincc(freedom, distance / 2).item(), distance.item()

    if improbable(expected)[0] > 1e-11:
        check.holds(True, "the probability of an input is proportional to its squared `l2_loss`", "")
        return
    p = (expected / expected.sum(0))[:, 0]
    details = [
        f"expected shares {[round(value, 3) for value in p.tolist()]}",
        f"yours           {[round(value, 3) for value in (counts[:, 0] / total[0]).tolist()]}",
    ]
    fitting = {phrase: improbable(weights) for phrase, weights in candidates.items()}
    phrase = min(fitting, key=lambda phrase: fitting[phrase][1])
    if fitting[phrase][0] > 1e-11:
        raise Mistake(f"The inputs are drawn with the wrong probabilities: {phrase}.", details)
    raise Mistake(
        "The inputs are drawn with the wrong probabilities. They shall be proportional to the squared `l2_loss` of the "
        "latent's own instance, computed once, before any latent is replaced.",
        details,
    )


def _check_none_alive(check: Check, scale: float, errors: Mapping[str, str]) -> None:
    cfg = AutoEncoderConfig(n_instances=2, n_input_ae=5, n_hidden_ae=3)
    dead = _dead_mask(cfg, ((0, 1, 2), (1,)))
    weights, rates = random_weights(check, cfg), _firing_rates(check, dead)
    h = check.normal(BATCH, cfg.n_instances, cfg.n_input_ae)
    errors = {**errors, "": "Where every latent of an instance is dead your code raised an error."}
    after = _resampled(check, cfg, weights, rates, h, scale, errors=errors)
    if not all(torch.isfinite(value).all() for value in after.values()):
        raise Mistake(
            "Where every latent of an instance is dead there are NaN values now: the mean length of no living latents "
            "is not a number. Use 1 in its place."
        )
    if (after["W_enc"][0].norm(dim=0) == 0).any():
        raise Mistake(
            "Where every latent of an instance is dead the new encoder columns are zero. Use 1 for the mean length."
        )
    _check_touched(check, weights, after, dead, rates)
    check.holds(True, "right where every latent of an instance is dead", "")


def _check_no_loss(check: Check, scale: float) -> None:
    """All inputs equal b_dec in one instance, and no latent fires: there is no error at all."""
    dead = _dead_mask(SMALL, DEAD)
    weights, rates = random_weights(check, SMALL), _firing_rates(check, dead)
    weights["b_enc"][1] = -weights["b_enc"][1].abs() - 0.1
    h = check.normal(BATCH, SMALL.n_instances, SMALL.n_input_ae)
    h[:, 1] = weights["b_dec"][1]
    errors = {
        "": "Where an instance rebuilds every input without error there is nothing to draw from, and your code fails."
    }
    after = _resampled(check, SMALL, weights, rates, h, scale, errors=errors)
    check.holds(
        all(bool(torch.isfinite(value).all()) for value in after.values()),
        "no NaN where an instance rebuilds every input without error",
        "Where an instance rebuilds every input without error there are NaN values now (0 divided by 0). Leave such an "
        "instance as it is.",
    )


# Exercise 3.4


@exercise(
    id="3.4",
    reference="resampling.reset_adam_state",
    title="Make Adam forget",
    statement="""
Adam keeps two running means for each weight: `exp_avg`, of its gradient, and `exp_avg_sq`, of the gradient's square.
What they hold of a latent that was just replaced describes its old direction, and `exp_avg`, the momentum, may carry
the new one away from where it was put. Bricken et al. (2023) clear both. Whether that helps here is measured below.

Set both to 0 for the resampled latents: in `W_enc`, in `b_enc`, and in `W_dec` unless the weights are tied. Everything
else keeps its state: the other latents, `b_dec`, and `step`, which counts for a whole parameter at once. Before the
optimizer's first step it has no state, and nothing happens.
""",
    hints=(
        "`optimizer.state[parameter]` is a dictionary for each parameter. `exp_avg` and `exp_avg_sq` in it have the "
        "shape of the parameter.",
        "`resampled` has the shape of `b_enc`. A latent is a *column* of `W_enc` and a *row* of `W_dec`: where does "
        "the missing axis have to go so that the mask fits? (`unsqueeze`)",
        "`tensor.masked_fill_(mask, 0.0)` works in place, and the mask is broadcast: `resampled.unsqueeze(1)` fits "
        "`W_enc`, and `resampled.unsqueeze(2)` fits `W_dec`.",
    ),
    difficulty=3,
    importance=2,
    minutes=15,
    points=3,
)
def reset_adam_state(check: Check) -> None:
    square = AutoEncoderConfig(n_instances=2, n_input_ae=5, n_hidden_ae=5)
    for cfg, dead in (
        (SMALL, DEAD),
        (TIED, DEAD),
        (square, ((1, 3), (0, 3, 4))),
        (SMALL, ((), (), ())),
    ):
        _check_reset(check, cfg, _dead_mask(cfg, dead))
    weights = random_weights(check, SMALL)
    autoencoder = make_autoencoder(check, SMALL, weights)
    optimizer = check.create(autoencoder, None, target="coursekit.checking.fixtures.adam")
    with explained(
        {
            "": "Before the optimizer's first step it has no state yet, and there is nothing to reset, but your code "
            "raised an error."
        }
    ):
        check.call(optimizer, autoencoder, _dead_mask(SMALL, DEAD))
    check.holds(True, "nothing happens before the optimizer's first step", "")


def _adam_state(check: Check, optimizer: Handle, autoencoder: Handle) -> dict[str, dict[str, Tensor]]:
    return check.learner.call("coursekit.checking.fixtures.adam_state", optimizer, autoencoder)


def _per_latent(name: str, mask: Tensor) -> Tensor:
    """The mask of the latents, with the axes of this parameter."""
    return {"W_enc": mask.unsqueeze(1), "W_dec": mask.unsqueeze(2), "b_enc": mask}[name]


def _check_reset(check: Check, cfg: AutoEncoderConfig, resampled: Tensor) -> None:
    weights = random_weights(check, cfg)
    autoencoder = make_autoencoder(check, cfg, weights)
    seed = int(torch.randint(2**31, (), generator=check.generator))
    optimizer = check.create(autoencoder, seed, target="coursekit.checking.fixtures.adam")
    before = _adam_state(check, optimizer, autoencoder)
    with explained(WITHOUT_W_DEC if cfg.tied_weights else {}):
        check.call(optimizer, autoencoder, resampled)
    after = _adam_state(check, optimizer, autoencoder)
    changed = changed_weights(check, autoencoder, cfg, weights)
    if changed:
        raise Mistake(
            f"`{changed[0]}` itself was changed. Only what the optimizer remembers is reset, not the weights."
        )
    for name in before:
        if set(after[name]) != set(before[name]):
            raise Mistake(
                f"The optimizer's state of `{name}` was thrown away as a whole. Set the entries of the resampled "
                "latents to 0, and keep the rest."
            )
        if not torch.equal(after[name]["step"], before[name]["step"]):
            raise Mistake(
                f"`step` of `{name}` was changed. It counts for the whole parameter, the living latents included."
            )
        for moment in MOMENTS:
            if after[name][moment].shape != before[name][moment].shape:
                raise Mistake(f"`{moment}` of `{name}` has another shape now.")
    same = {
        (name, moment): torch.equal(after[name][moment], before[name][moment])
        for name in before
        for moment in MOMENTS
    }
    cleared = {
        (name, moment): bool((after[name][moment] == 0).all()) for name in before for moment in MOMENTS
    }
    if all(cleared.values()):
        raise Mistake("The whole state was cleared. Only that of the resampled latents is set to 0.")
    if not all(same["b_dec", moment] for moment in MOMENTS):
        raise Mistake(
            "The state of `b_dec` was changed. It belongs to no single latent, and keeps its state."
        )
    names = [name for name in ("W_enc", "b_enc", "W_dec") if name in before]
    if not resampled.any():
        check.holds(
            all(same.values()),
            "nothing happens where no latent was resampled",
            "No latent was resampled, and yet the optimizer's state changed.",
        )
        return
    if all(same.values()):
        raise Mistake(
            "The optimizer's state is as it was. Was it changed in a copy? `state[mask]` makes one unless it stands on "
            "the left of an assignment."
        )
    for name in names:
        if all(cleared[name, moment] for moment in MOMENTS):
            raise Mistake(
                f"The whole state of `{name}` was cleared. Only that of the resampled latents is set to 0."
            )
    kept = {moment: all(same[name, moment] for name in names) for moment in MOMENTS}
    if kept["exp_avg_sq"]:
        raise Mistake("The second moment, `exp_avg_sq`, was kept. It has to be reset too.")
    if kept["exp_avg"]:
        raise Mistake("The first moment, `exp_avg`, was kept. It has to be reset too.")
    for name in names:
        if all(same[name, moment] for moment in MOMENTS):
            raise Mistake(
                f"The state of `{name}` was kept. The resampled latents' part of it has to be reset too."
            )
    for name in names:
        for moment in MOMENTS:
            _check_moment(name, moment, before[name][moment], after[name][moment], resampled)
    check.holds(
        True,
        "with tied weights there is only the encoder to reset"
        if cfg.tied_weights
        else "both moments of the resampled latents are 0, and everything else keeps its state",
        "",
    )


def _check_moment(name: str, moment: str, before: Tensor, after: Tensor, resampled: Tensor) -> None:
    what = f"`{moment}` of `{name}`"
    expected = before.masked_fill(_per_latent(name, resampled), 0.0)
    if torch.equal(after, expected):
        return
    wrong_masks = {
        "that of the latents that were *not* resampled was set to 0 (the mask is upside down)": ~resampled,
        "a latent that was resampled in one instance was reset in every instance": resampled.any(0).expand_as(
            resampled
        ),
        "instance 0's latents were reset in every instance": resampled[:1].expand_as(resampled),
        "all latents of an instance were reset if one was resampled": resampled.any(
            -1, keepdim=True
        ).expand_as(resampled),
    }
    for phrase, mask in wrong_masks.items():
        if torch.equal(after, before.masked_fill(_per_latent(name, mask), 0.0)):
            raise Mistake(f"{what}: {phrase}.")
    exchanged = {"W_enc": 2, "W_dec": 1}.get(name)
    if exchanged is not None and before.shape[1] == before.shape[2]:
        wrong_axis = before.masked_fill(resampled.unsqueeze(exchanged), 0.0)
        if torch.equal(after, wrong_axis):
            kind = ("*rows*", "columns") if name == "W_enc" else ("*columns*", "rows")
            raise Mistake(f"{what}: the {kind[0]} were reset. The latents are its {kind[1]}.")
    if torch.equal(after, before):
        raise Mistake(f"{what} was kept. The resampled latents' part of it has to be reset too.")
    where = _per_latent(name, resampled).expand_as(before)
    if not torch.equal(after[~where], before[~where]):
        raise Mistake(f"{what} was changed for latents that were not resampled.")
    left = int((after[where] != 0).sum())
    values = after[where]
    if left == len(values) and bool((values == values[0]).all()):
        raise Mistake(f"{what} was set to {values[0].item():.4g} for the resampled latents, not to 0.")
    raise Mistake(
        f"{what} is not 0 everywhere for the resampled latents: {left} of {len(values)} numbers were left."
    )
