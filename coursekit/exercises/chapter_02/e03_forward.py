"""Exercise 2.3: `AutoEncoder.forward`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, agree, compare, variations
from coursekit.checking.door import Handle
from coursekit.checking.phrases import explained, unit_rows
from coursekit.exercises.chapter_02.autoencoders import (
    AXES,
    CENTERED,
    ENCODER,
    FIELDS,
    SMALL,
    TIED,
    WIDE,
    changed_weights,
    decoder_of,
    encoded_by,
    make_autoencoder,
    random_weights,
    right_acts,
    right_reconstruction,
)
from part_utils.autoencoder import AutoEncoderConfig

ENCODER_BIAS = {
    "": "added",
    "`b_enc` is left out": "omitted",
    "`b_enc` is subtracted instead of added": "subtracted",
    "`b_enc` is added after the ReLU instead of before it": "after",
    "the `b_enc` of instance 0 is used for every instance": "first",
}


ACTIVATION = {
    "": torch.relu,
    "the ReLU is missing": lambda x: x,
    "the absolute value is taken instead of a ReLU": torch.abs,
    "a sigmoid is applied instead of a ReLU": torch.sigmoid,
    "a GELU is applied instead of a ReLU": torch.nn.functional.gelu,
    "a leaky ReLU is applied instead of a ReLU": torch.nn.functional.leaky_relu,
}


DECODER_BIAS: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda b_dec: b_dec,
    "`b_dec` is not added after decoding": torch.zeros_like,
    "`b_dec` is subtracted after decoding instead of added": lambda b_dec: -b_dec,
    "the `b_dec` of instance 0 is added in every instance": lambda b_dec: b_dec[:1].expand_as(b_dec),
    "`b_dec` is added twice": lambda b_dec: 2 * b_dec,
}


@exercise(
    id="2.3",
    reference="autoencoder.AutoEncoder.forward",
    difficulty=3,
    importance=5,
    minutes=20,
    points=4,
)
def autoencoder_forward(check: Check) -> None:
    for cfg, batch in ((SMALL, 11), (WIDE, 1), (TIED, 5)):
        weights = random_weights(check, cfg)
        autoencoder = make_autoencoder(check, cfg, weights, target=None)
        h = check.normal(batch, cfg.n_instances, cfg.n_input_ae)
        with explained(
            {
                "no attribute 'W_dec'": "With tied weights there is no `W_dec`: `normalize_and_return_W_dec` works."
            }
            if cfg.tied_weights
            else {}
        ):
            returned = check.method(autoencoder, "forward", h)
        output = _forward_output(returned, h, weights)
        suffix = "" if cfg is SMALL else " with tied weights" if cfg.tied_weights else " for a batch of one"
        _check_acts(check, output["acts"], h, weights, suffix)
        _check_reconstruction(check, output["h_reconstructed"], h, weights, suffix)
        _check_losses(check, output, h, weights, cfg, suffix)
        changed = changed_weights(check, autoencoder, cfg, weights)
        check.holds(
            not changed,
            "`forward` changes no parameter",
            f"`forward` changed {' and '.join(f'`{name}`' for name in changed)}. Use "
            "`self.normalize_and_return_W_dec()`, which leaves the parameters as they are.",
        )
    for cfg in (SMALL, TIED):
        _check_forward_gradient(check, cfg)


def _forward_output(returned: Any, h: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Forward's results by name."""
    names = ", ".join(FIELDS)
    if not isinstance(returned, tuple | list):
        if isinstance(returned, Tensor) or returned is None:
            kind = "None" if returned is None else "one tensor"
        else:
            kind = returned.type_name if isinstance(returned, Handle) else type(returned).__name__
        raise Mistake(f"`forward` returns {kind}; expected a tuple of five: ({names}).")
    if len(returned) < len(FIELDS):
        raise Mistake(f"`forward` returns {len(returned)} values; expected five: ({names}).")
    shapes = [h.shape[:2], h.shape[:2], h.shape[:0], (*h.shape[:2], weights["b_enc"].shape[1]), h.shape]
    found = [tuple(value.shape) for value in returned[:5] if isinstance(value, Tensor)]
    if sorted(found) == sorted(map(tuple, shapes)) and found != [tuple(shape) for shape in shapes]:
        raise Mistake(f"`forward` returns the five results in another order; the order is ({names}).")
    return dict(zip(FIELDS, returned, strict=False))


def _check_acts(check: Check, acts: Any, h: Tensor, weights: Mapping[str, Tensor], suffix: str) -> None:
    def encoded(*choice: Any) -> Tensor:
        return encoded_by(h, weights, *choice)

    expected = right_acts(h, weights)
    encoders = {**ENCODER}
    if "W_dec" in weights:
        encoders["the decoder's transpose is used for encoding"] = lambda W: unit_rows(weights["W_dec"]).mT
    mistakes = variations(encoded, encoders, CENTERED, ENCODER_BIAS, ACTIVATION)
    mistakes |= {
        "the reconstruction is returned in their place: the order is l1_loss, l2_loss, loss, acts, h_reconstructed": (
            right_reconstruction(h, weights)
        ),
        "the axes are left in the order `n_instances batch n_hidden_ae`": expected.transpose(0, 1),
        "`b_dec` is subtracted from the activations": expected - weights["b_dec"]
        if expected.shape[-1] == h.shape[-1]
        else None,
    }
    check.equal(acts, expected, FIELDS["acts"], f"`acts` are right{suffix}", mistakes, what="`acts`")


def _check_reconstruction(
    check: Check, reconstructed: Any, h: Tensor, weights: Mapping[str, Tensor], suffix: str
) -> None:
    acts, stored, b_dec = right_acts(h, weights), decoder_of(weights), weights["b_dec"]

    def decoded(matrix: Callable[[Tensor], Tensor], bias: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.einsum("bil,ilx->bix", acts, matrix(stored)) + bias(b_dec)

    decoders: dict[str, Callable[[Tensor], Tensor]] = {
        "": unit_rows,
        "the decoder is not normalized": lambda W: W,
        "the decoder of instance 0 is used for every instance": lambda W: unit_rows(W)[:1].expand_as(W),
        "the decoders of all instances are added up": lambda W: unit_rows(W).sum(0).expand_as(W),
        "the decoder's *columns* are normalized instead of its rows": lambda W: unit_rows(W, 1),
    }
    if "W_dec" in weights:
        decoders["the encoder's transpose is used for decoding although the weights are not tied"] = (
            lambda W: weights["W_enc"].mT
        )
        decoders[
            "the encoder's transpose, normalized, is used for decoding although the weights are not tied"
        ] = lambda W: unit_rows(weights["W_enc"].mT)
    mistakes = variations(decoded, decoders, DECODER_BIAS)
    expected = decoded(unit_rows, DECODER_BIAS[""])
    mistakes |= {
        "a ReLU is applied to the reconstruction, which may be negative": torch.relu(expected),
        "the latents are returned in its place": acts,
        "the axes are left in the order `n_instances batch n_input_ae`": expected.transpose(0, 1),
        "it is the error `h - h_reconstructed` that is returned": h - expected,
    }
    check.equal(
        reconstructed,
        expected,
        FIELDS["h_reconstructed"],
        f"`h_reconstructed` is right{suffix}",
        mistakes,
        what="`h_reconstructed`",
    )


def _check_losses(
    check: Check,
    output: Mapping[str, Any],
    h: Tensor,
    weights: Mapping[str, Tensor],
    cfg: AutoEncoderConfig,
    suffix: str,
) -> None:
    acts, error = right_acts(h, weights), h - right_reconstruction(h, weights)
    l1, l2 = acts.sum(-1), error.pow(2).mean(-1)
    check.equal(
        output["l1_loss"],
        l1,
        FIELDS["l1_loss"],
        f"`l1_loss` is a sum over the latents{suffix}",
        {
            "the *mean* over the latents is taken instead of the sum": acts.mean(-1),
            "the latents are squared": acts.pow(2).sum(-1),
            "the latents are squared and averaged": acts.pow(2).mean(-1),
            "their length (the L2 norm) is taken": acts.norm(dim=-1),
            "it is already multiplied with `l1_coeff`, which belongs into `loss` only": cfg.l1_coeff * l1,
            "`l1_loss` and `l2_loss` are exchanged": l2,
            "it counts the latents that fire instead of adding them up": (acts > 0).double().sum(-1),
            "the largest latent is taken": acts.amax(-1),
            "the mean over the batch is taken already": l1.mean(0),
            "the sum over the batch is taken already": l1.sum(0),
            "the instances are added up already": l1.sum(1),
            "the sum is taken over the instances instead of the latents": acts.sum(1),
            "the sum is taken over the batch instead of the latents": acts.sum(0),
            "the absolute values are not summed over the latents": acts,
            "it is one number already; it has one for each input and instance": l1.mean(0).sum(),
            "one mean over everything is taken": acts.mean(),
            "one sum over everything is taken": acts.sum(),
        },
        what="`l1_loss`",
    )
    centered = error + weights["b_dec"]
    check.equal(
        output["l2_loss"],
        l2,
        FIELDS["l2_loss"],
        f"`l2_loss` is a mean over the input's dimensions{suffix}",
        {
            "the *sum* over the input's dimensions is taken instead of the mean": error.pow(2).sum(-1),
            "the error is not squared": error.mean(-1),
            "the absolute error is taken instead of the squared one": error.abs().mean(-1),
            "the root of the mean squared error is taken": l2.sqrt(),
            "the length of the error is taken, not its mean square": error.norm(dim=-1),
            "it is halved": l2 / 2,
            "the mean over the batch is taken already": l2.mean(0),
            "the sum over the batch is taken already": l2.sum(0),
            "the mean over the input's dimensions is taken and the instances are added up": l2.sum(1),
            "the mean is taken over the instances instead of the input's dimensions": error.pow(2).mean(1),
            "the mean is taken over the batch instead of the input's dimensions": error.pow(2).mean(0),
            "the mean over the input's dimensions is not taken": error.pow(2),
            "it is one number already; it has one for each input and instance": l2.mean(0).sum(),
            "one mean over everything is taken": error.pow(2).mean(),
            "one sum over everything is taken": error.pow(2).sum(),
            "the reconstruction is compared without its `b_dec`": centered.pow(2).mean(-1),
            "the reconstruction is compared with `h - b_dec`": (error - weights["b_dec"]).pow(2).mean(-1),
            "the squared error is divided by the number of latents": error.pow(2).sum(-1) / acts.shape[-1],
            "the *squared input* is measured instead of the error": h.pow(2).mean(-1),
        },
        what="`l2_loss`",
    )
    _check_loss(check, output["loss"], l1, l2, cfg.l1_coeff, suffix)


def _check_loss(check: Check, loss: Any, l1: Tensor, l2: Tensor, l1_coeff: float, suffix: str) -> None:
    def total(terms: Callable[[], Tensor], over_batch: str, over_instances: str) -> Tensor:
        value = getattr(terms(), over_batch)(dim=0) if over_batch else terms()
        return getattr(value, over_instances)(dim=-1) if over_instances else value

    terms = {
        "": lambda: l2 + l1_coeff * l1,
        "`l1_coeff` is ignored": lambda: l2 + l1,
        "the L1 term is missing": lambda: l2,
        "the L2 term is missing": lambda: l1_coeff * l1,
        "`l1_coeff` is multiplied with the L2 term instead of the L1 term": lambda: l1_coeff * l2 + l1,
        "`l1_coeff` is multiplied with both terms": lambda: l1_coeff * (l1 + l2),
        "`l1_coeff` is a fixed 0.5 instead of `self.cfg.l1_coeff`": lambda: l2 + 0.5 * l1,
        "`l1_coeff` is multiplied twice": lambda: l2 + l1_coeff**2 * l1,
        "the L1 term is subtracted": lambda: l2 - l1_coeff * l1,
        "the L1 term is divided by `l1_coeff`": lambda: l2 + l1 / l1_coeff,
        "the weights are `1 - l1_coeff` and `l1_coeff`": lambda: (1 - l1_coeff) * l2 + l1_coeff * l1,
    }
    over_batch = {
        "": "mean",
        "the batch is summed over instead of averaged": "sum",
        "the batch axis is kept: the mean over it is missing": "",
    }
    over_instances = {
        "": "sum",
        "the *mean* over the instances is taken instead of the sum": "mean",
        "the instances are kept apart: the sum over them is missing": "",
    }
    check.equal(
        loss,
        total(terms[""], "mean", "sum"),
        "",
        f"`loss` is right{suffix}",
        variations(total, terms, over_batch, over_instances)
        | {
            "the L2 term is averaged over the instances, and only the L1 term is summed": (
                l2.mean() + l1_coeff * l1.mean(0).sum()
            ),
            "the L1 term is averaged over the instances, and only the L2 term is summed": (
                l2.mean(0).sum() + l1_coeff * l1.mean()
            ),
            "the L2 term is summed over the batch, and only the L1 term is averaged": (
                l2.sum() + l1_coeff * l1.mean(0).sum()
            ),
            "the L1 term is summed over the batch, and only the L2 term is averaged": (
                l2.mean(0).sum() + l1_coeff * l1.sum()
            ),
        },
        what="`loss`",
    )


def _check_forward_gradient(check: Check, cfg: AutoEncoderConfig) -> None:
    """The loss can be trained: all parameters get the right gradients from it."""
    values = random_weights(check, cfg)
    autoencoder = make_autoencoder(check, cfg, values, target=None)
    h = check.normal(11, cfg.n_instances, cfg.n_input_ae)
    names = list(values)

    def gradients(cut: str) -> list[Tensor | None]:
        """The gradients when one piece is detached."""
        weights = {name: value.clone().requires_grad_() for name, value in values.items()}

        def piece(name: str, value: Tensor) -> Tensor:
            return value.detach() if name == cut else value

        acts = torch.relu(
            torch.einsum("bix,ixl->bil", h - piece("first b_dec", weights["b_dec"]), weights["W_enc"])
            + weights["b_enc"]
        )
        stored = decoder_of(weights)
        decoder = stored / piece("length", stored.norm(dim=-1, keepdim=True))
        rebuilt = torch.einsum("bil,ilx->bix", piece("acts", acts), piece("decoder", decoder))
        rebuilt = piece("rebuilt", rebuilt + piece("last b_dec", weights["b_dec"]))
        l2 = (h - rebuilt).pow(2).mean(-1)
        loss = (l2 + cfg.l1_coeff * piece("l1", acts.sum(-1))).mean(0).sum()
        return list(torch.autograd.grad(loss, list(weights.values()), allow_unused=True))

    _, found = check.learner.gradients((autoencoder, "forward"), h, wrt=names, field=2)
    if all(gradient is None for gradient in found):
        raise Mistake(
            "`loss` is cut off from the parameters (`.detach()`, `.item()` or `torch.no_grad()`), so nothing can be "
            "trained with it."
        )

    def same(left: list[Tensor | None], right: list[Tensor | None]) -> bool:
        pairs = zip(left, right, strict=True)
        return all(
            agree(torch.zeros(()) if a is None else a, torch.zeros(()) if b is None else b, 1e-3)
            if (a is None) == (b is None)
            else False
            for a, b in pairs
        )

    expected = gradients("")
    if same(found, expected):
        tied = ", with tied weights too" if cfg.tied_weights else ""
        check.holds(True, f"the gradients of `loss` reach every parameter{tied}", "")
        return
    pieces = {
        "acts": "`acts` are detached before they are decoded",
        "l1": "the L1 term (`acts` or `l1_loss` in it) is detached, so nothing makes the latents sparse",
        "rebuilt": "the L2 term (`h_reconstructed` or `l2_loss`) is detached, so nothing improves the reconstruction",
        "decoder": "the normalized decoder is detached, so it is never trained",
        "length": "the length of the decoder's rows is detached when they are normalized",
        "first b_dec": "`b_dec` is detached where it is subtracted",
        "last b_dec": "`b_dec` is detached where it is added",
    }
    for cut, phrase in pieces.items():
        if same(found, gradients(cut)):
            raise Mistake(f"The values are right, but the gradients are not: {phrase}.")
    for name, gradient, wanted in zip(names, found, expected, strict=True):
        assert wanted is not None
        if gradient is None:
            raise Mistake(
                f"No gradient of `loss` reaches `{name}`: somewhere on the way it is detached or not used."
            )
        if not agree(gradient, wanted, 1e-3):
            raise Mistake(
                f"The values are right, but the gradient of `loss` with respect to `{name}` is not. Is part of the "
                "computation detached?",
                compare(gradient, wanted, AXES[name]),
            )
