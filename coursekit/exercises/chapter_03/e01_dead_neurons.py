"""Exercise 3.1: `dead_neurons`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes, shape_text
from coursekit.exercises.chapter_02.autoencoders import (
    AXES,
)
from coursekit.exercises.chapter_03.dead_latents import dead_mask, firing_rates, wrong_ideas_of_dead
from part_utils.autoencoder import AutoEncoderConfig


@exercise(
    id="3.1",
    reference="resampling.dead_neurons",
    also=("dead_share",),
    difficulty=2,
    importance=3,
    minutes=15,
    points=2,
)
def dead_neurons(check: Check) -> None:
    for window, instances, latents in ((13, 3, 7), (5, 2, 11)):
        dead = check.uniform(instances, latents) < 0.4
        dead[:, 0], dead[:, 1] = True, False
        dead[0, 2], dead[1, 2] = True, False
        dead[0, 3], dead[1, 3] = False, True
        rates = firing_rates(check, dead, window)
        # Alive in the last step, alive in the first, and silent in both.
        rates[:, :, 1] = check.uniform(window, instances, low=0.1)
        rates[-1, 0, 1], rates[0, 1, 1] = 0.0, 0.0
        rates[-1, 1, 2], rates[0, 0, 3] = 0.5, 0.5
        # Alive in the middle only.
        dead[:, 4] = False
        rates[:, :, 4] = 0.0
        rates[2, :, 4] = 0.5
        mistakes: dict[str, Tensor | list[Tensor]] = {
            "a share that is small but not zero counts as dead": [
                rates.mean(0) < 1e-4,
                rates.mean(0) < 1e-3,
                rates.mean(0) < 1e-2,
            ],
            **wrong_ideas_of_dead(rates),
        }
        mistakes |= {
            "the axis of the instances is lost": dead.all(0),
            "the axis of the instances is lost and a latent counts as dead if it is so in any": dead.any(0),
            "the axis of the latents is lost": dead.all(-1),
            "it is asked along the axis of the instances, and the window is left": [
                (rates == 0).all(1),
                (rates == 0).any(1),
            ],
            "it is asked along the axis of the latents, and the window is left": [
                (rates == 0).all(-1),
                (rates == 0).any(-1),
            ],
            "it is asked of all steps, instances and latents at once (`dim` is missing)": (rates == 0).all(),
            "the numbers of the dead latents are returned (`nonzero`), and no mask": dead.nonzero(),
            "the *places* of the largest shares are compared with 0 (`max` returns values and indices)": rates.max(
                0
            ).indices
            == 0,
            "a latent counts as dead whose share does not change, whatever it is": (
                rates.diff(dim=0) == 0
            ).all(0),
            "the axis of the window is kept: each step is looked at on its own": rates == 0,
            "the two axes are exchanged": dead.mT,
            "a latent counts as dead that fires less often than the average one": rates.mean(0)
            < rates.mean(),
            "only the first and the last step of the window are looked at": (rates[0] == 0)
            & (rates[-1] == 0),
        }
        parts = range(2, window)
        mistakes |= {
            "only the end of the window is looked at": [(rates[-n:] == 0).all(0) for n in parts],
            "only the beginning of the window is looked at": [(rates[:n] == 0).all(0) for n in parts],
        }
        _check_mask(
            check, rates, dead, mistakes, "dead is what is silent in every step, alive what fires in one"
        )
    rates = check.uniform(101, 2, 5, low=0.1)
    dead = dead_mask(AutoEncoderConfig(2, 3, 5), ((0, 3), (2,)))
    rates[:, dead] = 0.0
    rates[:, 0, 1], rates[40, 0, 1] = 0.0, 1e-6
    rates[:, 1, 4] = 1e-5
    small = (rates.amax(0) < 1e-3) | dead
    _check_mask(
        check,
        rates,
        dead,
        {
            "a share that is small but not zero counts as dead": small,
            "a small share counts as dead": rates.mean(0) < 1e-3,
            "a latent counts as dead whose share does not change, whatever it is": (
                rates.diff(dim=0) == 0
            ).all(0),
        },
        "a latent that fires on one input in a million is alive",
        nearly="A share that is small but not zero counts as dead. A latent that fires at all is alive.",
    )
    rates = check.sparse(1, 3, 5, probability=0.5)
    _check_mask(check, rates, rates[0] == 0, {}, "right for a window of one step")
    for window, instances, latents in ((3, 1, 5), (5, 3, 1), (2, 1, 1)):
        rates = check.sparse(window, instances, latents, probability=0.3)
        dead = (rates == 0).all(0)
        lost = {"an axis of size 1 is lost (`squeeze` removes all of them)": dead.squeeze()}
        _check_mask(check, rates, dead, lost, "right for one instance, and for one latent")
    check.leaves_inputs(check.sparse(5, 2, 3))
    check.leaves_inputs(check.sparse(5, 2, 3), 2, also="dead_share")
    for steps, instances, latents, window in ((11, 2, 5, 3), (7, 3, 2, 1), (13, 2, 3, 13)):
        rates = check.sparse(steps, instances, latents, probability=0.4)
        rates[:, 0, 0] = 0.0
        # One latent hardly fires, and in one step only.
        rates[:, 1, 0] = 0.0
        rates[steps // 2, 1, 0] = 1e-5
        check.equal(
            check.call_also("dead_share", rates, window),
            _share(rates, window),
            "windows",
            f"`dead_share` follows {steps} steps with a window of {window}",
            lambda rates=rates, window=window: _wrong_shares(rates, window),  # type: ignore[misc]
            what="the result of `dead_share`",
        )


def _windows(rates: Tensor, window: int) -> Tensor:
    """`windows window n_instances n_hidden_ae`"""
    return rates.unfold(0, window, 1).movedim(-1, 1)


def _share(rates: Tensor, window: int) -> Tensor:
    return (_windows(rates, window) == 0).all(1).float().mean((1, 2))


def _stretches(rates: Tensor, stretches: list[tuple[int, int]]) -> Tensor:
    """The share of the latents that are dead in each of these stretches of steps."""
    return torch.stack([(rates[start:end] == 0).all(0).float().mean() for start, end in stretches])


def _wrong_shares(rates: Tensor, window: int) -> Mistakes:
    silent = _windows(rates, window) == 0
    dead = silent.all(1)
    return {
        "the last window is missing: the last `window` steps are a window, too": _share(rates, window)[:-1],
        "a window is one step too long": [
            lambda: _share(rates, window + 1),
            lambda: torch.cat([_share(rates, window + 1), _share(rates, window)[-1:]]),
        ],
        "a latent counts as dead only if it is so in every instance": dead.all(1).float().mean(1),
        "a latent that is dead in one instance counts as dead in every instance": dead.any(1).float().mean(1),
        "a window is one step too short": [
            lambda: _share(rates, window - 1),
            lambda: _share(rates, window - 1)[:-1],
        ],
        "every window begins at step 0": lambda: _stretches(
            rates, [(0, i + window) for i in range(len(dead))]
        ),
        "every window reaches to the last step": lambda: _stretches(
            rates, [(i, len(rates)) for i in range(len(dead))]
        ),
        **{
            f"a window has {steps} steps, whatever `window` is": [
                lambda steps=steps: _share(rates, steps),  # type: ignore[misc]
                lambda steps=steps: _share(rates, steps)[: len(rates) - window + 1],  # type: ignore[misc]
                lambda steps=steps: _stretches(  # type: ignore[misc]
                    rates, [(i, i + steps) for i in range(len(rates) - window + 1)]
                ),
            ]
            for steps in (2, 3, 4, 5, 8, 10, 20, 50, 100)
            if steps != window
        },
        "the last windows are shorter than `window`: there are only `steps - window + 1` full ones": lambda: (
            _stretches(rates, [(i, i + window) for i in range(len(rates))])
        ),
        "there is a window too many, and it is shorter than `window`": lambda: _stretches(
            rates, [(i, i + window) for i in range(len(dead) + 1)]
        ),
        "the shares of the instances are added up": dead.float().mean(2).sum(1),
        "the largest share of an instance is taken": dead.float().mean(2).amax(1),
        "the shares are in percent": 100 * _share(rates, window),
        "the windows begin at step 1 instead of 0": torch.cat(
            [
                _share(rates, window)[1:],
                (rates[len(rates) - window + 1 :] == 0).all(0).float().mean().reshape(1),
            ]
        ),
        "the windows do not overlap: each begins where the last one ended": [
            _share(rates, window)[::window],
            lambda: _stretches(rates, [(i, i + window) for i in range(0, len(rates), window)]),
        ],
        "the first window is missing, which begins at step 0": lambda: _share(rates, window)[1:],
        "there is a number for each step, and the first windows are shorter than `window`": lambda: (
            _stretches(rates, [(max(0, i + 1 - window), i + 1) for i in range(len(rates))])
        ),
        "the mean share of the inputs is taken on which a latent fires": _windows(rates, window).mean(
            (1, 2, 3)
        ),
        "it is asked along the axis of the windows, not of the steps in one": silent.all(0)
        .float()
        .mean((1, 2)),
        "it is asked along the axis of the instances, and each step counts": silent.all(2)
        .float()
        .mean((1, 2)),
        "it is asked along the axis of the latents, and each step counts": silent.all(3).float().mean((1, 2)),
        "a latent counts as dead that is silent in *any* step of the window": silent.any(1)
        .float()
        .mean((1, 2)),
        "each step is looked at on its own": (rates == 0).float().mean((1, 2)),
        "a latent counts as dead if it was silent since the first step: the window grows": torch.stack(
            [(rates[: end + 1] == 0).all(0).float().mean() for end in range(len(rates))]
        ),
        "the share of the silent steps is taken, not of the dead latents": silent.float().mean((1, 2, 3)),
        "the share of the latents that are *alive* is taken": 1 - dead.float().mean((1, 2)),
        "the dead latents are counted; a share is asked for": dead.float().sum((1, 2)),
        "each instance has its own number": dead.float().mean(2),
        "each latent has its own number": dead.float().mean(1),
        "the masks are returned, not their share": dead.float(),
        "a share that is small but not zero counts as dead": [
            (_windows(rates, window).mean(1) < limit).float().mean((1, 2)) for limit in (1e-4, 1e-3, 1e-2)
        ],
        "only the last window is looked at": _share(rates, window)[-1],
        "only instance 0 is counted": dead[:, 0].float().mean(1),
        "there is one number for the whole run": (rates == 0).all(0).float().mean(),
    }


def _check_mask(
    check: Check,
    rates: Tensor,
    dead: Tensor,
    mistakes: Mapping[str, Tensor | list[Tensor]],
    claim: str,
    nearly: str = "",
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
    fitting = [
        phrase
        for phrase, masks in mistakes.items()
        if any(torch.equal(found, mask) for mask in ([masks] if isinstance(masks, Tensor) else masks))
    ]
    if fitting:
        raise Mistake(f"Your mask is what comes out when {', or when '.join(fitting[:2])}.")
    if found.shape != dead.shape:
        raise Mistake(
            "Your mask has the wrong shape: expected "
            f"{shape_text(dead, AXES['b_enc'])}, got {shape_text(found)}."
        )
    wrong = (found != dead).nonzero()
    alive_called_dead = int((found & ~dead).sum())
    if nearly and alive_called_dead and rates.amax(0)[found & ~dead].max() < 0.01:
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
