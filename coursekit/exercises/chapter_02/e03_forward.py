"""Exercise 2.3: `AutoEncoder.forward`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, agree, compare, variations
from coursekit.checking.door import Handle
from coursekit.checking.general_mistakes import mistakes_in_inputs
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
from coursekit.exercises.chapter_02.losses import check_losses
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
    "a softplus is applied instead of a ReLU": torch.nn.functional.softplus,
    "a tanh is applied instead of a ReLU": torch.tanh,
}


DECODER_BIAS: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda b_dec: b_dec,
    "`b_dec` is not added after decoding": torch.zeros_like,
    "`b_dec` is subtracted after decoding instead of added": lambda b_dec: -b_dec,
    "the `b_dec` of instance 0 is added in every instance": lambda b_dec: b_dec[:1].expand_as(b_dec),
    "`b_dec` is added twice": lambda b_dec: 2 * b_dec,
}


NO_W_DEC = {
    "no attribute 'W_dec'": "With tied weights there is no `W_dec`: `normalize_and_return_W_dec` works."
}


@exercise(
    id="2.3",
    reference="autoencoder.AutoEncoder.forward",
    methods=("encode", "decode", "forward"),
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
        # What is decoded need not come from a ReLU: a decoder is linear.
        given = check.normal(batch, cfg.n_instances, cfg.n_hidden_ae)
        given = given.relu() if cfg is SMALL else given
        suffix = "" if cfg is SMALL else " with tied weights" if cfg.tied_weights else " for a batch of one"
        acts = check.method(autoencoder, "encode", h)
        _check_acts(check, acts, h, weights, suffix, "what `encode` returns")
        with explained(NO_W_DEC if cfg.tied_weights else {}):
            decoded = check.method(autoencoder, "decode", given)
        _check_reconstruction(check, decoded, given, h, weights, suffix, "what `decode` returns")
        # What is changed by one of these spoils what `forward` says of it.
        check.leaves_inputs(h, owner=autoencoder, also="encode")
        check.leaves_inputs(given, owner=autoencoder, also="decode")
        with explained(NO_W_DEC if cfg.tied_weights else {}):
            returned = check.method(autoencoder, "forward", h)
        output = _forward_output(returned, h, weights)
        _check_acts(check, output["acts"], h, weights, suffix, "`acts`")
        right = right_acts(h, weights)
        _check_reconstruction(
            check, output["h_reconstructed"], right, h, weights, suffix, "`h_reconstructed`"
        )
        check_losses(check, output, h, weights, cfg, suffix)
        changed = changed_weights(check, autoencoder, cfg, weights)
        check.holds(
            not changed,
            "`encode`, `decode` and `forward` change no parameter",
            f"`encode`, `decode` or `forward` changed {' and '.join(f'`{name}`' for name in changed)}. Use "
            "`self.normalize_and_return_W_dec()`, which leaves the parameters as they are.",
        )
        check.leaves_inputs(h, owner=autoencoder, also="forward")
    for cfg in (SMALL, TIED):
        _check_forward_gradient(check, cfg)
        _check_gradients_of_both_halves(check, cfg)


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


def _check_acts(
    check: Check, acts: Any, h: Tensor, weights: Mapping[str, Tensor], suffix: str, what: str
) -> None:
    def encoded(*choice: Any) -> Tensor:
        return encoded_by(h, weights, *choice)

    expected = right_acts(h, weights)
    encoders = {**ENCODER}
    if "W_dec" in weights:
        encoders["the decoder's transpose is used for encoding"] = lambda W: unit_rows(weights["W_dec"]).mT
    mistakes = variations(encoded, encoders, CENTERED, ENCODER_BIAS, ACTIVATION)
    mistakes |= {
        "`b_dec - h` is encoded instead of `h - b_dec`": torch.relu(
            torch.einsum("bix,ixl->bil", weights["b_dec"] - h, weights["W_enc"]) + weights["b_enc"]
        ),
        "the batch's mean is subtracted, not `b_dec`": torch.relu(
            torch.einsum("bix,ixl->bil", h - h.mean(dim=0), weights["W_enc"]) + weights["b_enc"]
        ),
        "the reconstruction is returned in their place: the order is l1_loss, l2_loss, loss, acts, h_reconstructed": (
            right_reconstruction(h, weights)
        ),
        "the axes are left in the order `n_instances batch n_hidden_ae`": expected.transpose(0, 1),
        "`b_dec` is subtracted from the activations": expected - weights["b_dec"]
        if expected.shape[-1] == h.shape[-1]
        else None,
    }
    names = ("W_enc", "b_enc", "b_dec")
    misread = mistakes_in_inputs(
        lambda h, **changed: right_acts(h, changed),
        {"h": (h, FIELDS["h_reconstructed"]), **{name: (weights[name], AXES[name]) for name in names}},
    )
    claim = f"{what} is right{suffix}"
    check.equal(acts, expected, FIELDS["acts"], claim, mistakes, what=what, misread=misread)


def _check_reconstruction(
    check: Check,
    reconstructed: Any,
    acts: Tensor,
    h: Tensor,
    weights: Mapping[str, Tensor],
    suffix: str,
    what: str,
) -> None:
    stored, b_dec = decoder_of(weights), weights["b_dec"]

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
        "`b_enc` is added to the latents before they are decoded": torch.einsum(
            "bil,ilx->bix", acts + weights["b_enc"], unit_rows(stored)
        )
        + b_dec,
        "the latents are returned in its place": acts,
        "the axes are left in the order `n_instances batch n_input_ae`": expected.transpose(0, 1),
        "it is the error `h - h_reconstructed` that is returned": h - expected,
    }
    misread = mistakes_in_inputs(
        lambda acts, W_dec, b_dec: torch.einsum("bil,ilx->bix", acts, unit_rows(W_dec)) + b_dec,
        {
            "acts": (acts, FIELDS["acts"]),
            "W_dec": (stored, AXES["W_dec"]),
            "b_dec": (b_dec, AXES["b_dec"]),
        },
    )
    check.equal(
        reconstructed,
        expected,
        FIELDS["h_reconstructed"],
        f"{what} is right{suffix}",
        mistakes,
        what=what,
        misread=misread,
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


def _check_gradients_of_both_halves(check: Check, cfg: AutoEncoderConfig) -> None:
    """`encode` and `decode` can be trained through by themselves, too, as when a penalty is put on the latents."""
    values = random_weights(check, cfg)
    h = check.normal(11, cfg.n_instances, cfg.n_input_ae)
    given = check.normal(11, cfg.n_instances, cfg.n_hidden_ae).relu()
    names = list(values)
    for half, argument in (("encode", h), ("decode", given)):
        autoencoder = make_autoencoder(check, cfg, values, target=None)
        weights = {name: value.clone().requires_grad_() for name, value in values.items()}
        argument_inside = argument.clone().requires_grad_()
        if half == "encode":
            expected = right_acts(argument_inside, weights)
        else:
            decoder = unit_rows(decoder_of(weights))
            expected = torch.einsum("bil,ilx->bix", argument_inside, decoder) + weights["b_dec"]
        cotangent = check.normal(*expected.shape)
        wanted = torch.autograd.grad(
            (expected * cotangent).sum(), [argument_inside, *weights.values()], allow_unused=True
        )
        _, found = check.learner.gradients(
            (autoencoder, half), argument, wrt=[0, *names], cotangent=cotangent
        )
        reached = dict(
            zip(["its input", *(f"`{name}`" for name in names)], zip(found, wanted, strict=True), strict=True)
        )
        for name, (gradient, right) in reached.items():
            if right is None:
                continue
            check.holds(
                gradient is not None and agree(gradient, right, 1e-3),
                f"the gradient of `{half}` reaches {name}",
                f"The values of `{half}` are right, but the gradient that reaches {name} is not: somewhere on the way "
                "it is detached.",
            )
