"""Exercise 5.5: `decompose_activation`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, agree
from coursekit.checking.door import Handle
from coursekit.checking.phrases import explained, unit_rows
from coursekit.exercises.chapter_05.parts import check_defaults, fields, make_autoencoder, whole_numbers
from part_utils.autoencoder import AutoEncoder


@exercise(
    id="5.5",
    reference="interpretation.decompose_activation",
    difficulty=3,
    importance=4,
    minutes=12,
    points=3,
)
def decompose_activation(check: Check) -> None:
    handle, autoencoder = make_autoencoder(check)
    for instance in (1, 0):
        h = check.normal(13) + 0.5
        acts = autoencoder(h.expand(1, 2, -1)).acts[0].detach()
        if not 2 <= int((acts[instance] > 0).sum()) <= 17:
            h = (
                2 * (autoencoder.W_dec.detach()[instance, :3].sum(dim=0))
                + autoencoder.b_dec.detach()[instance]
            )
        _check_decomposition(check, handle, autoencoder, h, instance)
    check.holds(True, "right in both instances", "")
    check.leaves_inputs(check.normal(13), handle, 1)
    check_defaults(check, (check.normal(13), handle), (0,), "`instance` is 0")
    _check_other_sizes(check)
    silent = torch.full((2, 19), -50.0)
    check.learner.set(handle, b_enc=silent)
    with torch.no_grad():
        autoencoder.b_enc.copy_(silent)
    with explained(
        {
            "": "On a token on which no latent fires your code raises an error. Then there are no contributions."
        }
    ):
        _check_decomposition(check, handle, autoencoder, check.normal(13), 1)
    check.holds(True, "right where no latent fires", "")
    silent[1, 7] = 50.0
    check.learner.set(handle, b_enc=silent)
    with torch.no_grad():
        autoencoder.b_enc.copy_(silent)
    with explained(
        {
            "": "On a token on which a single latent fires your code raises an error. Is an axis of size 1 lost "
            "(`squeeze`)?"
        }
    ):
        _check_decomposition(check, handle, autoencoder, check.normal(13), 1)
    check.holds(True, "right where a single latent fires", "")


_SIZES = (
    "Two sizes do not go together. `b_dec[instance]` and a latent's direction, its *row* of the decoder, have a number "
    "for each neuron; `b_enc[instance]` and a *column* of the decoder have one for each latent."
)
_CLASHES = {
    "The inputs have shape": "The autoencoder wants `batch n_instances n_input_ae`, the same `h` for each of its "
    "instances: "
    "`h.expand(1, autoencoder.cfg.n_instances, -1)` is a batch of one.",
    "must match the size": _SIZES,
    "shapes cannot be multiplied": _SIZES,
    "inconsistent tensor size": _SIZES,
}


def _check_other_sizes(check: Check) -> None:
    """One and three instances, many latents that fire, some of them hardly; and thresholds above which they do."""
    for instances, inputs, latents, instance, thresholds in (
        (3, 7, 67, 2, False),
        (1, 5, 41, 0, False),
        (2, 6, 43, 1, True),
    ):
        handle, autoencoder = make_autoencoder(
            check, thresholds, n_instances=instances, n_input_ae=inputs, n_hidden_ae=latents
        )
        h = check.normal(inputs)
        with torch.no_grad():
            h = h + autoencoder.b_dec[instance]
            before = torch.einsum("i,il->l", h - autoencoder.b_dec[instance], autoencoder.W_enc[instance])
            wanted = torch.rand(latents, generator=check.generator) * 2 + 0.1
            wanted[:5] = torch.tensor([0.004, 0.002, 0.008, 0.0005, 0.0001])
            wanted[-4:] = -1
            bias = autoencoder.b_enc.detach().clone()
            bias[instance] = wanted[check.permutation(latents)] - before
            autoencoder.b_enc.copy_(bias)
        check.learner.set(handle, b_enc=bias)
        _check_decomposition(check, handle, autoencoder, h, instance)
    check.holds(
        True,
        "right for one and three instances, where many latents fire, some of them hardly, and with thresholds",
        "",
    )


def _check_decomposition(
    check: Check, handle: Handle, autoencoder: AutoEncoder, h: Tensor, instance: int
) -> None:
    names = "features, contributions, bias, error"
    with explained(_CLASHES):
        found = check.call(h, handle, instance)
    features, contributions, bias, error = fields(check, found, names)
    W_dec, b_dec = autoencoder.W_dec.detach(), autoencoder.b_dec.detach()
    rows = unit_rows(W_dec)
    output = autoencoder(h.expand(1, len(W_dec), -1))
    both = output.acts[0].detach()
    acts, other = both[instance], (instance + 1) % len(both)
    expected = acts.argsort(descending=True)[: int((acts > 0).sum())]
    with torch.no_grad():
        twice = autoencoder.encode((h - b_dec).unsqueeze(0))[0, instance]
        by_hand = torch.einsum("i,il->l", h - b_dec[instance], autoencoder.W_enc[instance])
    ideas = {
        "the latents that a ReLU lets through, computed by hand; but these latents fire above *thresholds* "
        "of their own, as those of the notebook's do: `autoencoder(…).acts` gives them, whatever the kind": (
            by_hand + autoencoder.b_enc.detach()[instance]
        ),
        "the latents that fire in the other instance": both[other],
        "the latents that fire when `b_dec` is subtracted before the autoencoder, which does so itself": twice,
    }
    features = _check_active(features, acts, ideas, expected)
    check.holds(True, "lists the latents that fire, the most active first", "")
    directions = rows[instance, features]
    right = acts[features, None] * directions
    W_enc = autoencoder.W_enc.detach()
    check.equal(
        contributions, right, "n_active d_mlp", "each contributes its activation times its direction",
        {
            "the decoder's rows are not brought to unit length": acts[features, None] * W_dec[instance, features],
            "the encoder's columns are used; what a latent writes is its row of the decoder": acts[features, None]
            * W_enc[instance].mT[features],
            "the encoder's columns at unit length are used; what a latent writes is its row of the decoder": acts[
                features, None
            ]
            * unit_rows(W_enc[instance].mT[features]),
            "the activations are in the order of the latents' numbers, unlike `features` and the directions": acts[
                features.sort().values, None
            ]
            * directions,
            "the parts of `h` along the directions are returned (a projection); what a latent contributes is its "
            "*activation* times its direction": [
                (directions @ of)[:, None] * directions for of in (h - b_dec[instance], h)
            ],
            "the activations are squared": acts[features, None].square() * directions,
            "the activations are left out: these are the directions": directions,
            "the decoder's rows are returned, without the activations": W_dec[instance, features],
            "the directions are those of the other instance": acts[features, None] * rows[other, features],
            "the activations are those of the other instance": both[other][features, None] * directions,
            "the contributions are left in the order of the latents' numbers, unlike `features`": right[
                features.argsort()
            ],
            "the directions are in the order of the latents' numbers, unlike the activations": acts[features, None]
            * rows[instance, features.sort().values],
            "the contributions are summed over the latents; each of them is asked for": right.sum(dim=0),
            "each contribution is one number (the activation) instead of a vector": acts[features],
            "the contributions of all latents are returned, with those that are silent": acts[:, None] * rows[instance],
            "the bias is added to every contribution": right + b_dec[instance],
            "the error is spread over the contributions; it is returned apart": right
            + (h - right.sum(dim=0) - b_dec[instance]) / max(len(features), 1),
        },
        what="`contributions`",
    )  # fmt: skip
    check.equal(
        bias, b_dec[instance], "d_mlp", "",
        {
            "the bias is the other instance's": b_dec[other],
            "the bias is lost": torch.zeros_like(h),
            "bias and error are exchanged": h - right.sum(dim=0) - b_dec[instance],
            "the error is in the bias: it is all that the contributions leave of `h`": h - right.sum(dim=0),
            "the bias of both instances is returned": b_dec,
            "the bias is the encoder's; it is `b_dec` that is always added": autoencoder.b_enc.detach()[instance],
            "the sign of the bias is turned round": -b_dec[instance],
        },
        what="`bias`",
    )  # fmt: skip
    rest = h - right.sum(dim=0) - b_dec[instance]
    rebuilt = output.h_reconstructed[0].detach()
    check.equal(
        error, rest, "d_mlp", "contributions, bias and error add up to the activations",
        {
            "the parts do not add up: the error has the wrong sign; it is `h` minus the reconstruction": -rest,
            "the parts do not add up: the error is that of the other instance": h - rebuilt[other],
            "the parts do not add up: the bias is missing in the error's computation": h - right.sum(dim=0),
            "the parts do not add up: the bias is counted twice": rest - b_dec[instance],
            "the parts do not add up: the error is computed with decoder rows that are not at unit length": h
            - acts @ W_dec[instance]
            - b_dec[instance],
            "the reconstruction is returned instead of the error": rebuilt[instance],
            "the error is one number (the mean of its squares) instead of a vector": rest.square().mean(),
            "the error is one number (the sum of its squares) instead of a vector": rest.square().sum(),
            "the error is one number (its length) instead of a vector": rest.norm(),
            "the parts do not add up: the error's entries are squared": rest.square(),
            "the parts do not add up: the absolute error is returned": rest.abs(),
            "the error is lost": torch.zeros_like(h),
            "the parts do not add up: only the most active latent is taken from "
            "`h`": h - right[:1].sum(dim=0) - b_dec[instance],
            "the errors of both instances are returned": h - rebuilt,
        },
        what="`error`",
    )  # fmt: skip


def _say_what_is_missing(found: int, firing: Tensor) -> NoReturn:
    """The list ends too early: after a certain number of latents, or where they become too weak."""
    if found and found % 10 == 0:
        raise Mistake(f"`features` ends after {found} latents, but {len(firing)} fire on this token.")
    if found == len(firing) - 1 and found:
        raise Mistake(
            "`features` leaves out the last latent that fires.",
            [f"its activation is {firing[-1]:.4g}: whatever is above 0 fires"],
        )
    raise Mistake(
        f"`features` leaves out the weakest {len(firing) - found} of the {len(firing)} latents that fire. Whatever is "
        "above 0 fires, however weakly.",
        [f"the strongest of those left out has the activation {firing[found]:.4g}"],
    )


def _check_active(features: Any, acts: Tensor, ideas: Mapping[str, Tensor], expected: Tensor) -> Tensor:
    """The numbers of the latents that fire, in order."""
    count = len(expected)
    if isinstance(features, Tensor) and features.dtype == torch.bool:
        raise Mistake(
            "`features` is a mask; expected the numbers of the latents that fire, the most active first."
        )
    if (
        isinstance(features, Tensor)
        and (features.is_floating_point() or features.is_complex())
        and features.numel()
    ):
        said = " (these are their activations)" if agree(features, acts[expected]) else ""
        raise Mistake(
            f"`features` should hold the numbers of the latents{said}, but holds {features.dtype} values."
        )
    if isinstance(features, Tensor) and features.ndim == 2 and features.shape[-1] == 1:
        raise Mistake(
            "`features` has an axis of size 1 at the end, as `nonzero()` leaves it; expected one axis."
        )
    if isinstance(features, list):
        features = torch.tensor(features, dtype=torch.long)
    if isinstance(features, Tensor) and features.ndim == 1 and len(features) == len(acts) != count:
        raise Mistake(
            f"`features` lists all {len(acts)} latents, also those that are silent. Only {count} fire on this token."
        )
    if isinstance(features, Tensor) and features.ndim == 1 and not features.is_floating_point():
        listed = features.sort().values
        for phrase, others in ideas.items():
            firing = (others > 0).nonzero().flatten()
            if not torch.equal(listed, expected.sort().values) and torch.equal(listed, firing):
                raise Mistake(f"`features` lists {phrase}.")
        if len(features) < count and agree(acts[features], acts[expected[: len(features)]]):
            _say_what_is_missing(len(features), acts[expected])
        if len(features) > count and torch.equal(features[:count], expected):
            raise Mistake(
                "`features` goes on after the last latent that fires, with latents that are silent."
            )
    if isinstance(features, Tensor) and count == 0 and features.numel() == 0:
        return features.long().reshape(0)
    found = whole_numbers(features, (count,), "n_active", "`features`")
    if not torch.equal(found.sort().values, expected.sort().values):
        raise Mistake(
            "`features` does not list the latents that fire.",
            [f"expected {expected.tolist()}, got {found.tolist()}"],
        )
    if agree(acts[found], acts[expected]):
        return found
    if torch.equal(found, expected.flip(0)):
        raise Mistake("`features` has the most active latent at the end; expected it first.")
    if torch.equal(found, expected.sort().values):
        raise Mistake("`features` is in the order of the latents' numbers; expected the most active first.")
    raise Mistake("`features` lists the right latents, but not the most active first.")
