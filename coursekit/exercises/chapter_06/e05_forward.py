"""Exercise 6.5: `GatedAutoEncoder.forward`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, agree, compare, variations
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
    for cfg, batch, suffix in ((SMALL, 13, ""), (WIDE, 5, ", in other sizes"), (SMALL, 1, ", for one input")):
        weights = random_weights(check, cfg)
        for name in LATENTS:
            weights[name] = check.normal(cfg.n_instances, cfg.n_hidden_ae) * 0.7
        autoencoder = check.create(cfg)
        check.learner.set(autoencoder, **weights)
        h = check.normal(batch, cfg.n_instances, cfg.n_input_ae)
        _check_values(check, check.method(autoencoder, "forward", h), h, weights, cfg, suffix)
    _check_gradients(check, SMALL)


def _parts(h: Tensor, weights: Mapping[str, Tensor], cut: str = "") -> dict[str, Tensor]:
    """Every part of the loss; `cut` says what is wrongly detached, or not detached, on the way."""
    W_dec = unit_rows(weights["W_dec"])
    projected = torch.einsum("bix,ixl->bil", h - weights["b_dec"], weights["W_enc"])
    gate = (projected + weights["b_enc"]).relu()
    for_magnitude = projected.detach() if cut == "magnitude" else projected
    magnitude = (weights["r_mag"].exp() * for_magnitude + weights["b_mag"]).relu()
    acts = torch.where(gate > 0, magnitude, 0)
    rebuilt = torch.einsum("bil,ilx->bix", acts, W_dec) + weights["b_dec"]
    frozen = W_dec if cut in ("frozen", "W_dec") else W_dec.detach()
    frozen_b = weights["b_dec"] if cut in ("frozen", "b_dec") else weights["b_dec"].detach()
    for_decoding = gate.detach() if cut == "gate" else gate
    by_gates = torch.einsum("bil,ilx->bix", for_decoding, frozen) + frozen_b
    return {"gate": gate, "magnitude": magnitude, "acts": acts, "rebuilt": rebuilt, "by_gates": by_gates}


def _acts(h: Tensor, weights: Mapping[str, Tensor], choice: Mapping[str, str]) -> Tensor:
    centered = {"": h - weights["b_dec"], "kept": h, "added": h + weights["b_dec"]}[choice["centered"]]
    projected = torch.einsum("bix,ixl->bil", centered, weights["W_enc"])
    gate = projected + (
        0 if choice["gate"] == "no bias" else weights["b_mag" if choice["gate"] == "swapped" else "b_enc"]
    )
    scale = {
        "": weights["r_mag"].exp(),
        "plain": weights["r_mag"],
        "one": torch.ones(()),
        "plus": 1 + weights["r_mag"],
    }[choice["scale"]]
    with_bias = projected + weights["b_enc"] if choice["bias"] == "on top" else projected
    bias = {
        "": weights["b_mag"],
        "on top": weights["b_mag"],
        "none": torch.zeros(()),
        "b_enc": weights["b_enc"],
    }[choice["bias"]]
    before = scale * with_bias.relu() if choice["relu"] == "twice" else scale * with_bias
    magnitude = before + bias
    if choice["bias"] == "scaled":
        magnitude = scale * (projected + weights["b_mag"])
    magnitude = magnitude if choice["relu"] == "none" else magnitude.relu()
    if choice["closed"] == "product":
        return magnitude * gate.relu()
    if choice["closed"] == "ignored":
        return magnitude
    return torch.where(gate > 0, magnitude, 0)


def _check_values(
    check: Check, returned: Any, h: Tensor, weights: Mapping[str, Tensor], cfg: AutoEncoderConfig, suffix: str
) -> None:
    names = ", ".join(FIELDS)
    if not isinstance(returned, tuple | list) or len(returned) < len(FIELDS):
        kind = f"{len(returned)} values" if isinstance(returned, tuple | list) else "no tuple"
        raise Mistake(f"`forward` returns {kind}; expected five: ({names}).")
    output = dict(zip(FIELDS, returned, strict=False))
    parts = _parts(h, weights)
    right = {"centered": "", "gate": "", "scale": "", "bias": "", "relu": "", "closed": ""}

    def acts(*changes: str) -> Tensor:
        return _acts(h, weights, dict(zip(right, changes, strict=True)))

    mistakes = variations(
        acts,
        {
            "": "",
            "`b_dec` is not subtracted before encoding": "kept",
            "`b_dec` is added before encoding": "added",
        },
        {
            "": "",
            "the gate has no bias (`b_enc`)": "no bias",
            "the gate has the bias of the magnitude (`b_mag`)": "swapped",
        },
        {
            "": "",
            "`r_mag` is not exponentiated": "plain",
            "`r_mag` is not used": "one",
            "1 + `r_mag` is used in place of its exponential": "plus",
        },
        {
            "": "",
            "the gate's bias `b_enc` is in the magnitude as well": "on top",
            "the magnitude has no bias (`b_mag`)": "none",
            "the magnitude has the bias of the gate (`b_enc`)": "b_enc",
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
        },
    )
    mistakes |= {"the positive part of the gate is returned in their place": parts["gate"]}
    check.equal(
        output["acts"], parts["acts"], FIELDS["acts"], f"`acts` are right{suffix}", mistakes, what="`acts`"
    )
    stored, b_dec = weights["W_dec"], weights["b_dec"]
    check.equal(
        output["h_reconstructed"],
        parts["rebuilt"],
        FIELDS["h_reconstructed"],
        f"`h_reconstructed` is right{suffix}",
        {
            "the decoder is not normalized": torch.einsum("bil,ilx->bix", parts["acts"], stored) + b_dec,
            "`b_dec` is not added": parts["rebuilt"] - b_dec,
            "the reconstruction by the gates alone is returned": parts["by_gates"],
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
        {
            "the penalty is on the magnitudes (`acts`); only the gate pays": parts["acts"].sum(-1),
            "the mean over the latents is taken": parts["gate"].mean(-1),
            "open gates are counted, not added up": (parts["gate"] > 0).float().sum(-1),
            "`l1_coeff` is multiplied into it": cfg.l1_coeff * l1,
        },
        what="`l1_loss`",
    )
    check.equal(
        output["l2_loss"],
        l2,
        FIELDS["l2_loss"],
        f"`l2_loss` is right{suffix}",
        {
            "the auxiliary loss is in it: it belongs to `loss` only": l2 + auxiliary,
            "the auxiliary loss is returned in its place": auxiliary,
            "the sum over the input's dimensions is taken": l2 * h.shape[-1],
        },
        what="`l2_loss`",
    )
    gates_without = (h - parts["by_gates"] + b_dec).pow(2).mean(-1)
    by_acts = 2 * l2

    def total(*terms: Tensor) -> Tensor:
        return sum(terms, torch.zeros(())).mean(0).sum()

    penalty = cfg.l1_coeff * l1
    check.equal(
        output["loss"],
        total(l2, penalty, auxiliary),
        "",
        f"`loss` is right{suffix}",
        {
            "the auxiliary loss is missing: the gate has no other gradient than the penalty's": total(
                l2, penalty
            ),
            "the L1 term is missing": total(l2, auxiliary),
            "the L2 term of the reconstruction is missing": total(penalty, auxiliary),
            "`l1_coeff` is ignored": total(l2, l1, auxiliary),
            "`l1_coeff` is also multiplied with the auxiliary loss": total(
                l2, penalty, cfg.l1_coeff * auxiliary
            ),
            "the penalty in it is on the magnitudes": total(
                l2, cfg.l1_coeff * parts["acts"].sum(-1), auxiliary
            ),
            "the auxiliary loss decodes `acts`, not the positive part of the gate": total(by_acts, penalty),
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
        },
        what="`loss`",
    )


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
        "b_dec": "`b_dec` is not frozen where the auxiliary loss adds it",
        "gate": "the gate is detached in the auxiliary loss, which is what shall train it",
        "magnitude": "the projection is detached in the magnitude",
        "l1": "the penalty is detached",
        "auxiliary": "the auxiliary loss is detached",
        "l2": "the error of the reconstruction is detached",
    }
    explained: Callable[[str], bool] = lambda cut: same(gradients(cut))  # noqa: E731
    for cut, phrase in pieces.items():
        if explained(cut):
            raise Mistake(f"The values are right, but the gradients are not: {phrase}.")
    for name, gradient, wanted in zip(names, found, expected, strict=True):
        assert wanted is not None
        if gradient is None or not agree(gradient, wanted, 1e-3):
            raise Mistake(
                f"The values are right, but the gradient of `loss` with respect to `{name}` is not. Is something "
                "detached that should not be, or the other way round?",
                [] if gradient is None else compare(gradient, wanted, AXES.get(name, AXES["b_enc"])),
            )
