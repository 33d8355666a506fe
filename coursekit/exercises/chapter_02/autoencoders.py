"""What the checks of chapters 2 and 3 share: autoencoders with given weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from coursekit.checking.claims import Check
from coursekit.checking.door import Handle
from coursekit.checking.phrases import unit_rows
from part_utils.autoencoder import AutoEncoderConfig

AUTOENCODER = "part_utils.autoencoder.AutoEncoder"


PARAMETERS = "coursekit.checking.fixtures.Parameters"


AXES = {
    "W_enc": "n_instances n_input_ae n_hidden_ae",
    "W_dec": "n_instances n_hidden_ae n_input_ae",
    "b_enc": "n_instances n_hidden_ae",
    "b_dec": "n_instances n_input_ae",
}


# Forward's results, in order.
FIELDS = {
    "l1_loss": "batch n_instances",
    "l2_loss": "batch n_instances",
    "loss": "",
    "acts": "batch n_instances n_hidden_ae",
    "h_reconstructed": "batch n_instances n_input_ae",
}


SMALL = AutoEncoderConfig(n_instances=3, n_input_ae=5, n_hidden_ae=7, l1_coeff=0.3)


WIDE = AutoEncoderConfig(n_instances=2, n_input_ae=11, n_hidden_ae=3, l1_coeff=0.7)


TIED = AutoEncoderConfig(n_instances=3, n_input_ae=2, n_hidden_ae=7, l1_coeff=0.2, tied_weights=True)


def shapes_of(cfg: AutoEncoderConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter that an autoencoder of these sizes has."""
    instances, inputs, latents = cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (instances, inputs, latents),
        "W_dec": (instances, latents, inputs),
        "b_enc": (instances, latents),
        "b_dec": (instances, inputs),
    }
    if cfg.tied_weights:
        del shapes["W_dec"]
    return shapes


def random_weights(check: Check, cfg: AutoEncoderConfig) -> dict[str, Tensor]:
    """Return weights with biases that are not zero and directions of very different lengths."""
    weights = {name: check.normal(*shape) for name, shape in shapes_of(cfg).items()}
    weights["W_enc"] *= check.uniform(cfg.n_instances, 1, cfg.n_hidden_ae, low=0.3, high=1.5)
    if "W_dec" in weights:
        weights["W_dec"] *= check.uniform(cfg.n_instances, cfg.n_hidden_ae, 1, low=0.3, high=3.0)
    return weights


def make_autoencoder(
    check: Check, cfg: AutoEncoderConfig, weights: Mapping[str, Tensor], target: str | None = AUTOENCODER
) -> Handle:
    """Return an autoencoder with these weights: the reference's, or of the learner's class if target is None."""
    autoencoder = check.create(cfg, target=target)
    check.learner.set(autoencoder, **weights)
    return autoencoder


def read_weights(check: Check, autoencoder: Handle, cfg: AutoEncoderConfig) -> dict[str, Tensor]:
    """Return the autoencoder's parameters as they are now."""
    return {name: check.tensor(check.learner.get(autoencoder, name), f"`{name}`") for name in shapes_of(cfg)}


def changed_weights(
    check: Check, autoencoder: Handle, cfg: AutoEncoderConfig, before: Mapping[str, Tensor]
) -> list[str]:
    """Return the names of the parameters that are not what they were before."""
    after = read_weights(check, autoencoder, cfg)
    return [name for name in before if not torch.equal(after[name], before[name])]


def held_parameters(check: Check, autoencoder: Handle) -> Handle:
    """Return what an optimizer would hold of an autoencoder from now on, for `moved`."""
    return check.create(autoencoder, target=PARAMETERS)


def moved(check: Check, held: Handle, autoencoder: Handle, cfg: AutoEncoderConfig) -> list[str]:
    """Return the names of the parameters that an optimizer changes which holds these. They are changed by that.

    Values decide: those before, those after, and the step between them.
    """
    steps = {
        name: 1.0 + torch.arange(math.prod(shape)).reshape(shape) for name, shape in shapes_of(cfg).items()
    }
    before = {name: check.learner.get(autoencoder, name) for name in steps}
    check.learner.call((held, "step"), **steps)
    after = {name: check.learner.get(autoencoder, name) for name in steps}
    return [name for name, step in steps.items() if _is_a_step_on(before[name], after[name], step)]


def _is_a_step_on(before: Any, after: Any, step: Tensor) -> bool:
    if not (
        isinstance(before, Tensor) and isinstance(after, Tensor) and before.shape == after.shape == step.shape
    ):
        return False
    wanted = (before + step).to(before.dtype)
    # NaN is the business of others.
    same = (after == wanted) | (after.isnan() & wanted.isnan())
    return bool(same.all())


def decoder_of(weights: Mapping[str, Tensor]) -> Tensor:
    """Return the decoder as it is stored: W_dec, or the encoder's transpose when the weights are tied."""
    return weights.get("W_dec", weights["W_enc"].mT)


ENCODER = {
    "": lambda W: W,
    "the encoder of instance 0 is used for every instance": lambda W: W[:1].expand_as(W),
    "the encoders of all instances are added up": lambda W: W.sum(0).expand_as(W),
    "the encoder's columns are normalized (only the decoder is)": lambda W: unit_rows(W, 1),
}


CENTERED: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda b_dec: -b_dec,
    "`b_dec` is not subtracted before encoding": torch.zeros_like,
    "`b_dec` is added before encoding instead of subtracted": lambda b_dec: b_dec,
    "the `b_dec` of instance 0 is subtracted in every instance": lambda b_dec: -b_dec[:1].expand_as(b_dec),
}


def encoded_by(h: Tensor, weights: Mapping[str, Tensor], encoder, centered, bias, activation) -> Tensor:  # type: ignore[no-untyped-def]
    before = torch.einsum("bix,ixl->bil", h + centered(weights["b_dec"]), encoder(weights["W_enc"]))
    b_enc = weights["b_enc"]
    shift = {"added": b_enc, "subtracted": -b_enc, "first": b_enc[:1].expand_as(b_enc)}.get(bias, 0 * b_enc)
    return activation(before + shift) + (b_enc if bias == "after" else 0)


def right_acts(h: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    return encoded_by(h, weights, ENCODER[""], CENTERED[""], "added", torch.relu)


def right_reconstruction(h: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    decoder = unit_rows(decoder_of(weights))
    return torch.einsum("bil,ilx->bix", right_acts(h, weights), decoder) + weights["b_dec"]
