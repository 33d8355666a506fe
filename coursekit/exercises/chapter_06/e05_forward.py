"""Exercise 6.5: `GatedAutoEncoder.forward`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes, agree, compare, variations
from coursekit.checking.door import Handle
from coursekit.checking.phrases import unit_rows
from coursekit.exercises.chapter_02.autoencoders import AXES, FIELDS, random_weights
from part_utils.autoencoder import AutoEncoderConfig

SMALL = AutoEncoderConfig(n_instances=3, n_input_ae=5, n_hidden_ae=7, l1_coeff=0.3)
WIDE = AutoEncoderConfig(n_instances=2, n_input_ae=11, n_hidden_ae=3, l1_coeff=0.7)
LATENTS = ("r_mag", "b_mag")


@exercise(
    id="6.5",
    reference="variants/gated.GatedAutoEncoder.forward",
    difficulty=4,
    importance=3,
    minutes=30,
    points=4,
)
def gated_forward(check: Check) -> None:
    for cfg, batch, suffix in (
        (SMALL, 13, ""),
        (WIDE, 131, ", in other sizes"),
        (SMALL, 1, ", for one input"),
    ):
        weights = random_weights(check, cfg)
        for name in LATENTS:
            weights[name] = check.normal(cfg.n_instances, cfg.n_hidden_ae) * 0.7
        autoencoder = check.create(cfg)
        check.learner.set(autoencoder, **weights)
        h = check.normal(batch, cfg.n_instances, cfg.n_input_ae)
        _check_values(check, check.method(autoencoder, "forward", h), h, weights, cfg, suffix)
        check.leaves_inputs(h, owner=autoencoder, also="forward")
        for name, value in weights.items():
            check.holds(
                torch.equal(check.learner.get(autoencoder, name), value),
                "",
                f"`forward` changes `{name}` itself. It only computes; an optimizer changes parameters.",
            )
    _check_gradients(check, SMALL)


def _parts(h: Tensor, weights: Mapping[str, Tensor], cut: str = "") -> dict[str, Tensor]:
    """Every part of the loss; `cut` says what is wrongly detached, or not detached, on the way."""

    def value(name: str, *cuts: str) -> Tensor:
        return weights[name].detach() if cut in cuts else weights[name]

    W_dec, b_dec = unit_rows(weights["W_dec"]), weights["b_dec"]
    projected = torch.einsum("bix,ixl->bil", h - value("b_dec", "encoder's b_dec"), weights["W_enc"])
    gate = (projected + weights["b_enc"]).relu()
    for_magnitude = projected.detach() if cut == "magnitude" else projected
    magnitude = (weights["r_mag"].exp() * for_magnitude + weights["b_mag"]).relu()
    acts = torch.where(gate > 0, magnitude, 0)
    if cut == "open":
        acts = acts * (1 + gate - gate.detach())
    for_rebuilding = acts.detach() if cut == "acts" else acts
    whole = W_dec.detach() if cut in ("all W_dec", "all") else W_dec
    rebuilt = torch.einsum("bil,ilx->bix", for_rebuilding, whole) + value("b_dec", "all b_dec", "all")
    frozen = W_dec if cut in ("frozen", "W_dec") else W_dec.detach()
    frozen_b = b_dec if cut in ("frozen", "b_dec") else b_dec.detach()
    for_decoding = gate.detach() if cut == "gate" else gate
    if cut in ("gate's W_enc", "gate's b_dec"):
        start = h - b_dec.detach()
        alone = (
            projected.detach()
            if cut == "gate's W_enc"
            else torch.einsum("bix,ixl->bil", start, weights["W_enc"])
        )
        for_decoding = (alone + weights["b_enc"]).relu()
    by_gates = torch.einsum("bil,ilx->bix", for_decoding, frozen) + frozen_b
    return {
        "projected": projected,
        "gate": gate,
        "magnitude": magnitude,
        "acts": acts,
        "rebuilt": rebuilt,
        "by_gates": by_gates,
    }


def _of_one_instance(
    h: Tensor, weights: Mapping[str, Tensor], part: str, names: Sequence[str]
) -> dict[str, Tensor]:
    """What a part is when a weight of instance 0 is used for every instance."""
    return {
        f"`{name}` of instance 0 is used for every instance": _parts(
            h, {**weights, name: weights[name][:1].expand_as(weights[name])}
        )[part]
        for name in names
    }


def _acts(h: Tensor, weights: Mapping[str, Tensor], choice: Mapping[str, str]) -> Tensor:
    b_dec = weights["b_dec"]
    centered = {"": h - b_dec, "kept": h, "added": h + b_dec, "turned": b_dec - h}[choice["centered"]]
    projected = torch.einsum("bix,ixl->bil", centered, weights["W_enc"])
    gate = projected + {
        "no bias": torch.zeros(()),
        "swapped": weights["b_mag"],
        "minus": -weights["b_enc"],
    }.get(choice["gate"], weights["b_enc"])
    scale = {
        "": weights["r_mag"].exp(),
        "plain": weights["r_mag"],
        "one": torch.ones(()),
        "plus": 1 + weights["r_mag"],
        "minus": (-weights["r_mag"]).exp(),
        "squared": weights["r_mag"].square(),
    }.get(choice["scale"], torch.ones(()))
    with_bias = projected + weights["b_enc"] if choice["bias"] == "on top" else projected
    bias = {
        "": weights["b_mag"],
        "on top": weights["b_mag"],
        "none": torch.zeros(()),
        "b_enc": weights["b_enc"],
        "minus": -weights["b_mag"],
    }.get(choice["bias"], weights["b_mag"])
    before = scale * with_bias.relu() if choice["relu"] == "twice" else scale * with_bias
    magnitude = before + bias
    if choice["scale"] == "around":
        magnitude = (weights["r_mag"] * projected).exp() + bias
    if choice["bias"] == "scaled":
        magnitude = scale * (projected + weights["b_mag"])
    magnitude = magnitude if choice["relu"] == "none" else magnitude.relu()
    if choice["closed"] == "product":
        return magnitude * gate.relu()
    if choice["closed"] == "ignored":
        return magnitude
    if choice["closed"] == "at a half":
        return torch.where(gate > 0.5, magnitude, 0)
    if choice["closed"] == "turned round":
        return torch.where(gate > 0, 0, magnitude)
    return torch.where(gate > 0, magnitude, 0)


def _wrong_acts(h: Tensor, weights: Mapping[str, Tensor], parts: Mapping[str, Tensor]) -> Mistakes:
    right = {"centered": "", "gate": "", "scale": "", "bias": "", "relu": "", "closed": ""}

    def acts(*changes: str) -> Tensor:
        return _acts(h, weights, dict(zip(right, changes, strict=True)))

    mistakes = variations(
        acts,
        {
            "": "",
            "`b_dec` is not subtracted before encoding": "kept",
            "`b_dec` is added before encoding": "added",
            "the input is subtracted from `b_dec`, not the other way round": "turned",
        },
        {
            "": "",
            "the gate has no bias (`b_enc`)": "no bias",
            "the gate has the bias of the magnitude (`b_mag`)": "swapped",
            "`b_enc` is subtracted in the gate": "minus",
        },
        {
            "": "",
            "`r_mag` is not exponentiated": "plain",
            "`r_mag` is not used": "one",
            "1 + `r_mag` is used in place of its exponential": "plus",
            "the exponential of -`r_mag` is used: it divides": "minus",
            "the square of `r_mag` is used in place of its exponential": "squared",
            "the exponential is taken of `r_mag * projected`, not of `r_mag` alone": "around",
        },
        {
            "": "",
            "the gate's bias `b_enc` is in the magnitude as well": "on top",
            "the magnitude has no bias (`b_mag`)": "none",
            "the magnitude has the bias of the gate (`b_enc`)": "b_enc",
            "`b_mag` is subtracted": "minus",
            "`b_mag` is scaled by the exponential as well: it is added after that": "scaled",
        },
        {
            "": "",
            "the magnitude path has two ReLUs: one before the bias is added": "twice",
            "the ReLU of the magnitude is missing": "none",
        },
        {
            "": "",
            "the magnitude is multiplied with the gate's value: the gate only opens or closes": "product",
            "the gate is ignored": "ignored",
            "the gate opens at 0.5, not at 0": "at a half",
            "an open gate silences, and a closed one lets through": "turned round",
        },
    )
    unit, gate = unit_rows(weights["W_dec"]), parts["gate"]
    by_decoder = torch.einsum("bix,ilx->bil", h - weights["b_dec"], unit)
    # Simple ones first: what they explain no two others need to explain.
    return {
        "the positive part of the gate is returned in their place": gate,
        "the magnitude reads along the decoder's rows; it has the directions of `W_enc`, as the gate": torch.where(
            gate > 0, (weights["r_mag"].exp() * by_decoder + weights["b_mag"]).relu(), 0
        ),
        **_of_one_instance(h, weights, "acts", ("W_enc", "b_dec", "b_enc", "r_mag", "b_mag")),
        **mistakes,
    }


def _check_values(
    check: Check, returned: Any, h: Tensor, weights: Mapping[str, Tensor], cfg: AutoEncoderConfig, suffix: str
) -> None:
    names = ", ".join(FIELDS)
    if not isinstance(returned, tuple | list) or len(returned) < len(FIELDS):
        kind = f"{len(returned)} values" if isinstance(returned, tuple | list) else "no tuple"
        raise Mistake(f"`forward` returns {kind}; expected five: ({names}).")
    output = dict(zip(FIELDS, returned, strict=False))
    parts = _parts(h, weights)
    check.equal(
        output["acts"],
        parts["acts"],
        FIELDS["acts"],
        f"`acts` are right{suffix}",
        partial(_wrong_acts, h, weights, parts),
        what="`acts`",
    )
    stored, b_dec = weights["W_dec"], weights["b_dec"]
    check.equal(
        output["h_reconstructed"],
        parts["rebuilt"],
        FIELDS["h_reconstructed"],
        f"`h_reconstructed` is right{suffix}",
        lambda: {
            "the decoder is not normalized": torch.einsum("bil,ilx->bix", parts["acts"], stored) + b_dec,
            "`b_dec` is not added": parts["rebuilt"] - b_dec,
            "the reconstruction by the gates alone is returned": parts["by_gates"],
            "`b_dec` is subtracted": parts["rebuilt"] - 2 * b_dec,
            **_of_one_instance(h, weights, "rebuilt", ("W_dec",)),
        },
        what="`h_reconstructed`",
    )
    l1, l2 = parts["gate"].sum(-1), (h - parts["rebuilt"]).pow(2).mean(-1)
    auxiliary = (h - parts["by_gates"]).pow(2).mean(-1)
    check.equal(
        output["l1_loss"],
        l1,
        FIELDS["l1_loss"],
        f"`l1_loss` is right{suffix}",
        lambda: {
            "the penalty is on the magnitudes (`acts`); only the gate pays": parts["acts"].sum(-1),
            "the mean over the latents is taken": parts["gate"].mean(-1),
            "open gates are counted, not added up": (parts["gate"] > 0).float().sum(-1),
            "`l1_coeff` is multiplied into it": cfg.l1_coeff * l1,
            "the ReLU of the gate is missing in it": (parts["projected"] + weights["b_enc"]).sum(-1),
            "absolute values are taken in it; the gate is what is positive": (
                (parts["projected"] + weights["b_enc"]).abs().sum(-1)
            ),
            "the gate's bias `b_enc` is missing in it": parts["projected"].relu().sum(-1),
            "the gate has the bias of the magnitude (`b_mag`) in it": (
                (parts["projected"] + weights["b_mag"]).relu().sum(-1)
            ),
            "`l1_loss` and `l2_loss` have changed places": l2,
            "it is squared": parts["gate"].square().sum(-1),
            "the mean over the batch is taken already": l1.mean(0),
        },
        what="`l1_loss`",
    )
    check.equal(
        output["l2_loss"],
        l2,
        FIELDS["l2_loss"],
        f"`l2_loss` is right{suffix}",
        lambda: {
            "the auxiliary loss is in it: it belongs to `loss` only": l2 + auxiliary,
            "the auxiliary loss is returned in its place": auxiliary,
            "the sum over the input's dimensions is taken": l2 * h.shape[-1],
            "absolute errors are taken, not squared ones": (h - parts["rebuilt"]).abs().mean(-1),
            "the root is taken": [l2.sqrt(), (h - parts["rebuilt"]).norm(dim=-1)],
            "the mean over the batch is taken already": l2.mean(0),
        },
        what="`l2_loss`",
    )
    check.equal(
        output["loss"],
        _total(l2, cfg.l1_coeff * l1, auxiliary),
        "",
        f"`loss` is right{suffix}",
        partial(_wrong_totals, h, weights, parts, cfg),
        what="`loss`",
    )


def _total(*terms: Tensor) -> Tensor:
    return sum(terms, torch.zeros(())).mean(0).sum()


def _wrong_totals(
    h: Tensor, weights: Mapping[str, Tensor], parts: Mapping[str, Tensor], cfg: AutoEncoderConfig
) -> Mistakes:
    gate, unit, b_dec, total = parts["gate"], unit_rows(weights["W_dec"]), weights["b_dec"], _total
    l1, l2 = gate.sum(-1), (h - parts["rebuilt"]).pow(2).mean(-1)
    auxiliary = (h - parts["by_gates"]).pow(2).mean(-1)
    penalty = cfg.l1_coeff * l1
    gates_without = (h - parts["by_gates"] + b_dec).pow(2).mean(-1)
    raw = torch.einsum("bil,ilx->bix", gate, weights["W_dec"]) + b_dec
    as_mask = torch.einsum("bil,ilx->bix", (gate > 0).float(), unit) + b_dec
    return {
        "the auxiliary loss is missing: the gate has no other gradient than the penalty's": total(
            l2, penalty
        ),
        "the L1 term is missing": total(l2, auxiliary),
        "the L2 term of the reconstruction is missing": total(penalty, auxiliary),
        "`l1_coeff` is ignored": total(l2, l1, auxiliary),
        "`l1_coeff` is also multiplied with the auxiliary loss": total(l2, penalty, cfg.l1_coeff * auxiliary),
        "the penalty in it is on the magnitudes": total(l2, cfg.l1_coeff * parts["acts"].sum(-1), auxiliary),
        "the auxiliary loss decodes `acts`, not the positive part of the gate": total(2 * l2, penalty),
        "the auxiliary loss counts twice": total(l2, penalty, 2 * auxiliary),
        "the auxiliary loss is subtracted": total(l2, penalty, -auxiliary),
        "the auxiliary loss compares the gates' reconstruction with `h_reconstructed`, not with `h`": total(
            l2, penalty, (parts["rebuilt"] - parts["by_gates"]).square().mean(-1)
        ),
        "the decoder is not normalized in the auxiliary loss": total(
            l2, penalty, (h - raw).square().mean(-1)
        ),
        "the auxiliary loss decodes 1 for an open gate, not the gate's positive part": total(
            l2, penalty, (h - as_mask).square().mean(-1)
        ),
        "the auxiliary loss decodes the gate without its ReLU; it is its positive part that counts": total(
            l2,
            penalty,
            (h - torch.einsum("bil,ilx->bix", parts["projected"] + weights["b_enc"], unit) - b_dec)
            .square()
            .mean(-1),
        ),
        "the auxiliary loss decodes with the encoder's transpose": total(
            l2, penalty, (h - torch.einsum("bil,ixl->bix", gate, weights["W_enc"]) - b_dec).square().mean(-1)
        ),
        "the auxiliary loss is an absolute error, not a squared one": total(
            l2, penalty, (h - parts["by_gates"]).abs().mean(-1)
        ),
        "the auxiliary loss is halved": total(l2, penalty, auxiliary / 2),
        "`l1_coeff` divides the penalty": total(l2, l1 / cfg.l1_coeff, auxiliary),
        "the penalty is subtracted": total(l2, -penalty, auxiliary),
        "the mean over the instances and the sum over the batch are taken, not the other way round": (
            (l2 + penalty + auxiliary).mean(1).sum()
        ),
        "the penalty counts twice": total(l2, 2 * penalty, auxiliary),
        "the L2 term counts twice": total(2 * l2, penalty, auxiliary),
        "the mean over the latents is taken in the penalty": total(l2, penalty / cfg.n_hidden_ae, auxiliary),
        "`l1_coeff` is squared": total(l2, cfg.l1_coeff * penalty, auxiliary),
        "the auxiliary reconstruction has no `b_dec`": total(l2, penalty, gates_without),
        "the auxiliary loss is summed over the input's dimensions": total(
            l2, penalty, auxiliary * h.shape[-1]
        ),
        "the mean over the instances is taken instead of the sum": total(l2, penalty, auxiliary)
        / cfg.n_instances,
        "the batch is summed over instead of averaged": total(l2, penalty, auxiliary) * len(h),
        "the batch axis is kept": (l2 + penalty + auxiliary).sum(-1),
        "the instances are kept apart": (l2 + penalty + auxiliary).mean(0),
        "it has one number for each input and instance": l2 + penalty + auxiliary,
    }


def _check_gradients(check: Check, cfg: AutoEncoderConfig) -> None:
    values = random_weights(check, cfg)
    for name in LATENTS:
        values[name] = check.normal(cfg.n_instances, cfg.n_hidden_ae) * 0.7
    autoencoder: Handle = check.create(cfg)
    check.learner.set(autoencoder, **values)
    h = check.normal(11, cfg.n_instances, cfg.n_input_ae)
    names = list(values)

    def gradients(cut: str) -> list[Tensor | None]:
        weights = {name: value.clone().requires_grad_() for name, value in values.items()}
        parts = _parts(h, weights, cut)
        l1 = parts["gate"].sum(-1)
        l2 = (h - parts["rebuilt"]).pow(2).mean(-1)
        auxiliary = (h - parts["by_gates"]).pow(2).mean(-1)
        penalty = cfg.l1_coeff * (l1.detach() if cut == "l1" else l1)
        if cut == "auxiliary":
            auxiliary = auxiliary.detach()
        if cut == "l2":
            l2 = l2.detach()
        loss = (l2 + penalty + auxiliary).mean(0).sum()
        return list(torch.autograd.grad(loss, list(weights.values()), allow_unused=True))

    _, found = check.learner.gradients((autoencoder, "forward"), h, wrt=names, field=2)
    if all(gradient is None for gradient in found):
        raise Mistake("`loss` is cut off from the parameters, so nothing can be trained with it.")

    def same(right: list[Tensor | None]) -> bool:
        return all(
            agree(torch.zeros(()) if a is None else a, torch.zeros(()) if b is None else b, 1e-3)
            if a is not None and b is not None
            else a is b
            for a, b in zip(found, right, strict=True)
        )

    expected = gradients("")
    if same(expected):
        check.holds(
            True, "the gradients of `loss` are right: the decoder is frozen in the auxiliary loss only", ""
        )
        return
    pieces: dict[str, str] = {
        "frozen": "the decoder is not frozen in the auxiliary loss (`W_dec` and `b_dec` need a `.detach()` there)",
        "W_dec": "`W_dec` is not frozen in the auxiliary loss",
        "encoder's b_dec": "`b_dec` is detached where it is subtracted from the input; it is frozen in the auxiliary "
        "loss's decoding only",
        "gate's b_dec": "`b_dec` is also detached where the gate of the auxiliary loss subtracts it; it is frozen in "
        "the decoding only",
        "gate's W_enc": "the projection is detached in the auxiliary loss: `W_enc` has to be trained by it",
        "all W_dec": "`W_dec` is frozen in the reconstruction as well; it is frozen in the auxiliary loss only",
        "all b_dec": "`b_dec` is frozen in the reconstruction as well; it is frozen in the auxiliary loss only",
        "all": "the decoder is frozen in the reconstruction as well; it is frozen in the auxiliary loss only",
        "acts": "`acts` are detached before they are decoded",
        "open": "the gate has a gradient through `acts`, where it only opens or closes",
        "b_dec": "`b_dec` is not frozen where the auxiliary loss adds it",
        "gate": "the gate is detached in the auxiliary loss, which is what shall train it",
        "magnitude": "the projection is detached in the magnitude",
        "l1": "the penalty is detached",
        "auxiliary": "the auxiliary loss is detached",
        "l2": "the error of the reconstruction is detached",
    }
    for cut, phrase in pieces.items():
        if same(gradients(cut)):
            raise Mistake(f"The values are right, but the gradients are not: {phrase}.")
    for name, gradient, wanted in zip(names, found, expected, strict=True):
        assert wanted is not None
        if gradient is None:
            raise Mistake(
                f"The values are right, but no gradient of `loss` reaches `{name}`: it is detached, or "
                "`requires_grad_(False)` was called on the parameter itself, which lasts."
            )
        if not agree(gradient, wanted, 1e-3):
            raise Mistake(
                f"The values are right, but the gradient of `loss` with respect to `{name}` is not. Is something "
                "detached that should not be, or the other way round?",
                compare(gradient, wanted, AXES.get(name, AXES["b_enc"])),
            )
