"""Exercise 2.2: `AutoEncoder.normalize_decoder`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake, agree, compare, variations
from coursekit.checking.phrases import explained, unit_rows
from coursekit.exercises.chapter_02.autoencoders import (
    AXES,
    SMALL,
    TIED,
    WIDE,
    changed_weights,
    decoder_of,
    held_parameters,
    make_autoencoder,
    moved,
    random_weights,
    read_weights,
)
from part_utils.autoencoder import AutoEncoderConfig

LENGTHS: dict[str, Callable[[Tensor], Tensor]] = {
    "": unit_rows,
    "it is not normalized": lambda W: W,
    "its *columns* are normalized (`dim=1`) instead of its rows": lambda W: unit_rows(W, -2),
    "each instance's whole matrix is brought to length 1, not each of its rows": lambda W: unit_rows(
        W, (1, 2)
    ),
    "everything is divided by one length, over all instances": lambda W: W / W.norm(),
    "the length is taken over the instances (`dim=0`)": lambda W: unit_rows(W, 0),
    "each row is divided by its *squared* length": lambda W: (
        W / W.pow(2).sum(-1, keepdim=True).clamp_min(1e-16)
    ),
    "each row is divided by the square root of its length": lambda W: (
        W / W.norm(dim=-1, keepdim=True).clamp_min(1e-8).sqrt()
    ),
    "each row is divided by the sum of its absolute values (the L1 norm)": lambda W: (
        W / W.abs().sum(-1, keepdim=True).clamp_min(1e-8)
    ),
    "each row is divided by its largest value": lambda W: W / W.abs().amax(-1, keepdim=True).clamp_min(1e-8),
    "each row is multiplied by its length": lambda W: W * W.norm(dim=-1, keepdim=True),
    "each row is divided by the sum of its values": lambda W: W / W.sum(-1, keepdim=True),
    "a softmax is taken": lambda W: torch.softmax(W, -1),
    "rows that are shorter than 1 are left as they are": lambda W: (
        W / W.norm(dim=-1, keepdim=True).clamp_min(1.0)
    ),
    "0.1 is added to the length, which is too much (1e-8 is enough)": lambda W: (
        W / (W.norm(dim=-1, keepdim=True) + 0.1)
    ),
    "0.01 is added to the length, which is too much (1e-8 is enough)": lambda W: (
        W / (W.norm(dim=-1, keepdim=True) + 0.01)
    ),
    "0.001 is added to the length, which is too much (1e-8 is enough)": lambda W: (
        W / (W.norm(dim=-1, keepdim=True) + 0.001)
    ),
    "the mean is subtracted too (that is LayerNorm)": lambda W: unit_rows(W - W.mean(-1, keepdim=True)),
    "LayerNorm is taken, which subtracts the mean and brings the mean *square* to 1": lambda W: (
        torch.nn.functional.layer_norm(W, W.shape[-1:])
    ),
    "the mean square of each row is brought to 1 (RMSNorm), not its length": lambda W: (
        unit_rows(W) * W.shape[-1] ** 0.5
    ),
    "the lengths of instance 0's rows are used for every instance": lambda W: (
        W / W[:1].norm(dim=-1, keepdim=True).clamp_min(1e-8)
    ),
    "all rows are divided by the *mean* length of the rows": lambda W: (
        W / W.norm(dim=-1, keepdim=True).mean(dim=1, keepdim=True)
    ),
}


@exercise(
    id="2.2",
    reference="autoencoder.AutoEncoder.normalize_decoder",
    methods=("normalize_and_return_W_dec", "normalize_decoder"),
    difficulty=2,
    importance=4,
    minutes=15,
    points=3,
)
def normalize_decoder(check: Check) -> None:
    for cfg in (SMALL, TIED, WIDE):
        _check_returned_decoder(check, cfg)
    for cfg in (SMALL, WIDE):
        _check_decoder_gradient(check, cfg)
    _check_decoder_gradient(check, TIED)
    for cfg in (SMALL, WIDE):
        _check_projected_decoder(check, cfg)
    _check_tiny_rows(check)
    _check_rows_of_zeros(check)
    _check_gradient_at_zero(check)
    weights = random_weights(check, TIED)
    tied = make_autoencoder(check, TIED, weights, target=None)
    with explained(
        {
            "W_dec": "With tied weights there is no `W_dec`, and `normalize_decoder` must leave everything as it is. "
            "Yours raised an error.",
        }
    ):
        check.method(tied, "normalize_decoder")
    check.holds(
        not changed_weights(check, tied, TIED, weights),
        "`normalize_decoder` does nothing when the weights are tied",
        "With tied weights `normalize_decoder` changed the encoder. There is no `W_dec` then, and nothing to project.",
    )


def _decoder_mistakes(weights: Mapping[str, Tensor], tied: bool) -> dict[str, Alternative]:
    """What the known mistakes make of a decoder."""
    stored = decoder_of(weights)
    W_enc = weights["W_enc"]
    sources = {"": lambda: stored}
    if tied:
        sources["the encoder is reshaped instead of transposed"] = lambda: W_enc.reshape(stored.shape)
    else:
        sources["the encoder's transpose is used although the weights are not tied"] = lambda: W_enc.mT
    sources["instance 0 is used for every instance"] = lambda: stored[:1].expand_as(stored)
    mistakes = variations(lambda source, length: length(source()), sources, LENGTHS)
    if tied:
        mistakes["the encoder is returned as it is stored, not transposed"] = W_enc
        mistakes["the encoder is returned untransposed"] = unit_rows(W_enc)
        mistakes["the encoder is normalized but not transposed"] = unit_rows(W_enc, -2)
    else:
        mistakes["the decoder is transposed"] = unit_rows(stored).mT
    return mistakes


def _check_returned_decoder(check: Check, cfg: AutoEncoderConfig) -> None:
    weights = _short_and_long(check, cfg)
    autoencoder = make_autoencoder(check, cfg, weights, target=None)
    with explained(
        {
            "no attribute 'W_dec'": "With tied weights there is no `W_dec`: the decoder is the transpose of `W_enc`. "
            "`normalize_and_return_W_dec` raised an error."
        }
        if cfg.tied_weights
        else {}
    ):
        returned = check.method(autoencoder, "normalize_and_return_W_dec")
    check.equal(
        returned,
        unit_rows(decoder_of(weights)),
        AXES["W_dec"],
        "with tied weights it is the encoder's transpose, normalized"
        if cfg.tied_weights
        else "`normalize_and_return_W_dec` returns rows of unit length",
        _decoder_mistakes(weights, cfg.tied_weights),
        what="the tied decoder (`normalize_and_return_W_dec`)"
        if cfg.tied_weights
        else "the decoder that `normalize_and_return_W_dec` returns",
    )
    changed = changed_weights(check, autoencoder, cfg, weights)
    other = random_weights(check, cfg)
    check.learner.set(autoencoder, **other)
    again = check.method(autoencoder, "normalize_and_return_W_dec")
    check.holds(
        changed != [] or not torch.equal(again, returned),
        "it is worked out anew at each call",
        "`normalize_and_return_W_dec` returns the same decoder when the weights have changed: something is kept from "
        "an earlier call.",
    )
    check.holds(
        not changed,
        "`normalize_and_return_W_dec` changes no parameter",
        f"`normalize_and_return_W_dec` changed {' and '.join(f'`{name}`' for name in changed)}. It shall compute the "
        "normalized decoder and leave the parameters as they are; `normalize_decoder` is the one that changes them.",
    )


def _check_decoder_gradient(check: Check, cfg: AutoEncoderConfig) -> None:
    name = "W_enc" if cfg.tied_weights else "W_dec"
    weights = random_weights(check, cfg)
    autoencoder = make_autoencoder(check, cfg, weights, target=None)
    cotangent = check.normal(*unit_rows(decoder_of(weights)).shape)
    _, [gradient] = check.learner.gradients(
        (autoencoder, "normalize_and_return_W_dec"), wrt=[name], cotangent=cotangent
    )
    if gradient is None:
        raise Mistake(
            f"No gradient flows from `normalize_and_return_W_dec` back to `{name}`: the result is detached "
            "(`torch.no_grad()`, `.detach()`, `.data`, or a new `nn.Parameter`), so the decoder would never be trained."
        )
    source = weights[name].clone().requires_grad_()
    stored = source.mT if cfg.tied_weights else source
    length = stored.norm(dim=-1, keepdim=True)
    [expected] = torch.autograd.grad((stored / length * cotangent).sum(), [source], retain_graph=True)
    [constant] = torch.autograd.grad((stored / length.detach() * cotangent).sum(), [source])
    if not agree(gradient, expected, 1e-3) and agree(gradient, constant, 1e-3):
        raise Mistake(
            "The values are right, but the gradient is that of a division by a constant: the length is detached "
            "(or computed under `torch.no_grad()`). Gradients flow through the length too.",
            compare(gradient, expected, AXES[name]),
        )
    if not agree(gradient, expected, 1e-3):
        raise Mistake(
            f"The values are right, but the gradient that reaches `{name}` is not. Is part of the computation "
            "detached, or was the parameter itself overwritten (`.data`)?",
            compare(gradient, expected, AXES[name]),
        )
    check.holds(
        True,
        "gradients flow through `normalize_and_return_W_dec`, its division included",
        "",
    )


def _short_and_long(check: Check, cfg: AutoEncoderConfig) -> dict[str, Tensor]:
    """Weights with decoder rows that are shorter than 1 and others that are longer, in every instance."""
    weights = random_weights(check, cfg)
    stored = decoder_of(weights)
    for latent, length in ((0, 0.4), (1, 2.5)):
        stored[:, latent] *= length / stored[:, latent].norm(dim=-1, keepdim=True)
    return weights


def _check_projected_decoder(check: Check, cfg: AutoEncoderConfig) -> None:
    weights = _short_and_long(check, cfg)
    autoencoder = make_autoencoder(check, cfg, weights, target=None)
    optimizer = held_parameters(check, autoencoder)
    with explained(
        {
            "cannot assign": "`self.W_dec` is a parameter, and a plain tensor cannot take its place. Change its values "
            "in place.",
            "leaf Variable": "`W_dec` takes gradients, so it can be changed in place only under `torch.no_grad()`.",
        }
    ):
        check.method(autoencoder, "normalize_decoder")
    after = read_weights(check, autoencoder, cfg)
    if "W_dec" not in moved(check, optimizer, autoencoder, cfg):
        if "W_dec" in moved(check, held_parameters(check, autoencoder), autoencoder, cfg):
            raise Mistake(
                "After `normalize_decoder` there is a new `W_dec`. The optimizer still holds the old one and would go "
                "on training that: change the values in place."
            )
        raise Mistake("After `normalize_decoder` `W_dec` takes no gradients any more.")
    if torch.equal(after["W_dec"], weights["W_dec"]):
        raise Mistake(
            "`normalize_decoder` did not change `W_dec`. Was a new tensor computed and then not written back into "
            "the parameter?"
        )
    check.equal(
        after["W_dec"],
        unit_rows(weights["W_dec"]),
        AXES["W_dec"],
        "`normalize_decoder` brings the rows of `W_dec` to unit length in place",
        _decoder_mistakes(weights, tied=False),
        what="`W_dec` after `normalize_decoder`",
    )
    others = [name for name in weights if name != "W_dec" and not torch.equal(after[name], weights[name])]
    check.holds(
        not others,
        "`normalize_decoder` leaves the other parameters alone",
        f"`normalize_decoder` changed {' and '.join(f'`{name}`' for name in others)} too. Only `W_dec` is projected.",
    )


def _check_tiny_rows(check: Check) -> None:
    """Rows shorter than any number that is needed to keep a division from 0 / 0 get unit length too."""
    for cfg in (SMALL, TIED):
        weights = random_weights(check, cfg)
        name = "W_enc" if cfg.tied_weights else "W_dec"
        expected = unit_rows(decoder_of(weights))
        weights[name] *= 3e-4
        autoencoder = make_autoencoder(check, cfg, weights, target=None)
        found = {"`normalize_and_return_W_dec`": check.method(autoencoder, "normalize_and_return_W_dec")}
        if not cfg.tied_weights:
            check.method(autoencoder, "normalize_decoder")
            found["`normalize_decoder`"] = check.learner.get(autoencoder, "W_dec")
        for what, rows in found.items():
            check.holds(
                agree(rows, expected, 1e-2, 1e-2),
                "however short the rows are",
                f"Rows that are shorter than 0.001 do not get unit length in {what}. What keeps the length away from 0 "
                "is too large; 1e-8 is enough.",
            )


def _check_rows_of_zeros(check: Check) -> None:
    weights = random_weights(check, SMALL)
    weights["W_dec"][1, 2] = 0.0
    autoencoder = make_autoencoder(check, SMALL, weights, target=None)
    for what, compute in (
        (
            "`normalize_and_return_W_dec`",
            lambda: check.method(autoencoder, "normalize_and_return_W_dec"),
        ),
        (
            "`normalize_decoder`",
            lambda: (
                check.method(autoencoder, "normalize_decoder"),
                check.learner.get(autoencoder, "W_dec"),
            )[1],
        ),
    ):
        row = check.tensor(compute())[1, 2]
        if not torch.isfinite(row).all():
            raise Mistake(
                f"A row of zeros becomes NaN or infinite in {what}: its length is 0. Keep the length away from zero "
                "before you divide."
            )
        check.holds(
            bool((row == 0).all()),
            "a row of zeros stays a row of zeros",
            f"A row of zeros does not stay zero in {what}.",
            [f"got {[round(number, 4) for number in row.tolist()]}"],
        )


def _check_gradient_at_zero(check: Check) -> None:
    """Where a row is zero the gradient is a number, and all other rows get theirs."""
    for cfg in (SMALL, TIED):
        name = "W_enc" if cfg.tied_weights else "W_dec"
        weights = random_weights(check, cfg)
        decoder_of(weights)[1, 2] = 0.0
        autoencoder = make_autoencoder(check, cfg, weights, target=None)
        cotangent = check.normal(*decoder_of(weights).shape)
        _, [gradient] = check.learner.gradients(
            (autoencoder, "normalize_and_return_W_dec"), wrt=[name], cotangent=cotangent
        )
        check.holds(
            gradient is not None and bool(torch.isfinite(gradient).all()),
            "the gradient of a row of zeros is a number",
            f"A row of zeros stays zero, but its gradient is NaN or infinite, and one step of Adam would make `{name}` "
            "NaN. A division by 0 spoils the gradient even where its result is not used (`torch.where`, "
            "`nan_to_num`): keep the length away from zero before you divide.",
        )
