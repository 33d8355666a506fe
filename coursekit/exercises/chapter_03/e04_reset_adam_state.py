"""Exercise 3.4: `reset_adam_state`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import Handle
from coursekit.checking.fixtures import MOMENTS
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_02.autoencoders import (
    changed_weights,
    make_autoencoder,
    random_weights,
)
from coursekit.exercises.chapter_03.dead_latents import (
    DEAD,
    SMALL,
    TIED,
    WITH_A_GAP,
    WITHOUT_W_DEC,
    dead_mask,
)
from part_utils.autoencoder import AutoEncoderConfig

GRADIENT = {
    ".grad": "`.grad` holds the gradient of one step, and there may be none. What Adam remembers stands in "
    "`optimizer.state[parameter]`.",
    "must match the size of tensor": "A mask does not fit its parameter. `resampled` has the axes of `b_enc`; a latent "
    "is a *column* of `W_enc` (`resampled.unsqueeze(1)`) and a *row* of `W_dec` (`resampled.unsqueeze(2)`).",
}


# Without tied weights, which comes first, the same masks fit.
TIED_CLASH = {
    "must match the size of tensor": "With tied weights a mask does not fit its parameter, although all fit "
    "without. There "
    "is no `W_dec` then, so a parameter's place in a list is another one: look its state up by the parameter itself, "
    "`optimizer.state[autoencoder.b_enc]`.",
}


@exercise(
    id="3.4",
    reference="resampling.reset_adam_state",
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
        (SMALL, WITH_A_GAP),
        (AutoEncoderConfig(n_instances=1, n_input_ae=3, n_hidden_ae=5), ((1, 3),)),
        (SMALL, ((), (), ())),
    ):
        _check_reset(check, cfg, dead_mask(cfg, dead))
    for cfg in (SMALL, TIED):
        _check_reset(check, cfg, dead_mask(cfg, DEAD), in_groups=True)
    check.holds(True, "right where the optimizer holds its parameters in two groups", "")
    weights = random_weights(check, SMALL)
    autoencoder = make_autoencoder(check, SMALL, weights)
    optimizer = check.create(autoencoder, None, target="coursekit.checking.fixtures.adam")
    with explained(
        {
            "": "Before the optimizer's first step it has no state yet, and there is nothing to reset, but your code "
            "raised an error."
        }
    ):
        check.call(optimizer, autoencoder, dead_mask(SMALL, DEAD))
    made = {
        name: sorted(state) for name, state in _adam_state(check, optimizer, autoencoder).items() if state
    }
    check.holds(
        not made,
        "nothing happens before the optimizer's first step",
        "Before the optimizer's first step it has no state, and your code made one. Adam then takes its own state for "
        "complete, and the first `step()` fails. Reset only what is there.",
        [f"made for `{name}`: {keys}" for name, keys in made.items()],
    )


def _adam_state(check: Check, optimizer: Handle, autoencoder: Handle) -> dict[str, dict[str, Tensor]]:
    return check.learner.call("coursekit.checking.fixtures.adam_state", optimizer, autoencoder)


def _beside_the_state(check: Check, optimizer: Handle, autoencoder: Handle) -> dict[str, Tensor]:
    return check.learner.call("coursekit.checking.fixtures.beside_the_state", optimizer, autoencoder)


def _check_beside(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> None:
    """Gradients and learning rates are as they were."""
    if not torch.equal(before["lr"], after["lr"]):
        raise Mistake("The optimizer has another learning rate now. Only what it remembers is to be reset.")
    for name in before:
        if name not in after or not torch.equal(before[name], after[name]):
            raise Mistake(
                f"The gradient of `{name}` (`.grad`) was changed. It is that of one step; what Adam remembers stands "
                "in `optimizer.state[parameter]`, and only that is to be reset."
            )


def _per_latent(name: str, mask: Tensor) -> Tensor:
    """The mask of the latents, with the axes of this parameter."""
    return {"W_enc": mask.unsqueeze(1), "W_dec": mask.unsqueeze(2), "b_enc": mask}[name]


def _check_reset(check: Check, cfg: AutoEncoderConfig, resampled: Tensor, in_groups: bool = False) -> None:
    weights = random_weights(check, cfg)
    autoencoder = make_autoencoder(check, cfg, weights)
    seed = int(torch.randint(2**31, (), generator=check.generator))
    optimizer = check.create(
        autoencoder, seed, target="coursekit.checking.fixtures.adam", in_groups=in_groups
    )
    before = _adam_state(check, optimizer, autoencoder)
    beside = _beside_the_state(check, optimizer, autoencoder)
    in_another_order = {
        "": "Where the optimizer holds its parameters in two groups your code raised an error. "
        "Look them up by the parameter itself: `optimizer.state[autoencoder.W_enc]`."
    }
    errors = in_another_order if in_groups else GRADIENT
    if cfg.tied_weights:
        errors = {**errors, **WITHOUT_W_DEC, **({} if in_groups else TIED_CLASH)}
    with explained(errors):
        check.call(optimizer, autoencoder, resampled)
    after = _adam_state(check, optimizer, autoencoder)
    changed = changed_weights(check, autoencoder, cfg, weights)
    if changed:
        raise Mistake(
            f"`{changed[0]}` itself was changed. Only what the optimizer remembers is reset, not the weights."
        )
    _check_beside(beside, _beside_the_state(check, optimizer, autoencoder))
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
        if in_groups:
            raise Mistake(
                "Where the optimizer holds its parameters in two groups nothing is reset. Look "
                "them up by the parameter itself: `optimizer.state[autoencoder.W_enc]`."
            )
        raise Mistake(
            ("With tied weights the optimizer's" if cfg.tied_weights else "The optimizer's")
            + " state is as it was. Was it changed in a copy? `state[mask]` makes one unless it stands on "
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
            where = " where the optimizer holds its parameters in two groups" if in_groups else ""
            raise Mistake(
                f"The state of `{name}` was kept{where}. The resampled latents' part of it has to be reset too."
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
