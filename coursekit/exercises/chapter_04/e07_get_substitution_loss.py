"""Exercise 4.7: `get_substitution_loss`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check
from coursekit.checking.phrases import explained
from coursekit.checking.pictures import side_by_side

if TYPE_CHECKING:
    pass
from coursekit.exercises.chapter_04.scene import (
    FORWARD,
    HOOK_CALL,
    NEEDS,
    Scene,
    make_scene,
    parts_of,
    rebuilt_value,
    scalar,
    wrong_reconstructions,
)

LOSSES = ("clean", "reconstructed", "zero_ablated", "mean_ablated")


@exercise(
    id="4.7",
    reference="evaluation.get_substitution_loss",
    needs=NEEDS,
    difficulty=3,
    importance=5,
    minutes=20,
    points=4,
)
def get_substitution_loss(check: Check) -> None:
    for n_instances, instance in ((2, 1), (3, 2), (2, None)):
        scene = make_scene(check, _telling, likely=True, n_instances=n_instances, thresholds=n_instances == 3)
        args = () if instance is None else (instance,)
        with explained({**FORWARD, **HOOK_CALL}):
            found = check.call(scene.tokens, scene.model, scene.autoencoder, *args)
        parts = [scalar(part) for part in parts_of(check, found, (*LOSSES, "recovered"))]
        _check_losses(check, scene, parts, instance or 0)
        scene.unharmed()


def _telling(scene: Scene) -> bool:
    """The losses differ enough that none can be taken for another one."""
    losses = _losses(scene, 0)
    values = sorted(value.item() for value in losses.values())
    gaps = [right - left for left, right in itertools.pairwise(values)]
    return min(gaps) > 0.01 and losses["zero_ablated"].item() - losses["clean"].item() > 0.2


def _loss_of(logits: Tensor, tokens: Tensor) -> Tensor:
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).double(), tokens[:, 1:].flatten())


def _losses(scene: Scene, instance: int) -> dict[str, Tensor]:
    mean = scene.h.mean(0)
    replacements: dict[str, Callable[[Tensor], Tensor] | None] = {
        "clean": None,
        "reconstructed": lambda value: rebuilt_value(scene, value)[:, :, instance],
        "zero_ablated": torch.zeros_like,
        "mean_ablated": lambda value: mean.expand_as(value),
    }
    return {name: _loss_of(scene.logits(replace), scene.tokens) for name, replace in replacements.items()}


def _check_losses(check: Check, scene: Scene, parts: list[Any], instance: int) -> None:
    right = _losses(scene, instance)
    tokens = scene.tokens
    names = {
        "clean": "the model as it is",
        "reconstructed": "with reconstructions",
        "zero_ablated": "with zeros",
        "mean_ablated": "with the mean over all tokens",
    }
    drawn = torch.stack([right[name] for name in LOSSES])
    found = [part for part in parts if isinstance(part, Tensor) and part.ndim == 0]
    if len(found) == len(parts):
        check.show(lambda: side_by_side(torch.stack([part.double() for part in found[:4]]), drawn, "losses"))
    for name, part in zip(LOSSES, parts, strict=False):
        part = check.tensor(part, f"`{name}`")
        others = {
            f"it is the loss that belongs into `{other}`": value
            for other, value in right.items()
            if other != name
        }
        check.equal(
            part,
            right[name],
            "",
            f"the loss of {names[name]}" if name == "clean" else f"the loss {names[name]}",
            {**_loss_mistakes(scene, name, instance, right[name], tokens), **others},
            # Losses of different mistakes lie close to one another.
            rtol=2e-5,
            what=f"`{name}`",
        )
    clean, reconstructed, zero, mean = (right[name] for name in LOSSES)
    recovered = (zero - reconstructed) / (zero - clean)
    check.equal(
        parts[4],
        recovered,
        "",
        "the share of the loss that is recovered, against zero ablation",
        {
            "it is one minus the share: what is *lost*": 1 - recovered,
            "the ratio is upside down": 1 / recovered,
            "the baseline is *mean* ablation; here zero ablation was asked for": (mean - reconstructed)
            / (mean - clean),
            "it is one minus the share, with mean ablation as the baseline": (reconstructed - clean)
            / (mean - clean),
            "it is a percentage": 100 * recovered,
            "the sign is turned round": -recovered,
            "it is the ratio of the reconstructed to the clean loss": reconstructed / clean,
            "it is the ratio of the clean to the reconstructed loss": clean / reconstructed,
            "it is the ratio of the reconstructed to the zero-ablated loss": reconstructed / zero,
            "it is what the reconstruction gains over zeros, not divided by what there is to gain": zero
            - reconstructed,
            "it is what the reconstruction loses, not divided": reconstructed - clean,
            "the gain is divided by the zero-ablated loss": (zero - reconstructed) / zero,
            "the gain is divided by the clean loss": (zero - reconstructed) / clean,
            "the gain is divided by the gain that mean ablation leaves": (zero - reconstructed)
            / (mean - clean),
            "it is kept between 0 and 1, or above 0; a reconstruction may be worse than zeros": recovered.clamp_min(
                0
            ),
            "it is kept below 1": recovered.clamp_max(1),
            "it is one minus what the reconstruction loses as a share of the clean loss": 2
            - reconstructed / clean,
            "it is one minus what the reconstruction loses as a share of the zero-ablated loss": 1
            - (reconstructed - clean) / zero,
            **{
                f"{small:g} is added to the denominator, which is not small beside it": (zero - reconstructed)
                / (zero - clean + small)
                for small in (1e-4, 1e-3, 1e-2, 0.1, 1.0)
            },
            **{f"it is rounded to {digits} digits": recovered.round(decimals=digits) for digits in (2, 3, 4)},
            "the difference of mean and zero ablation is what is to gain": (zero - reconstructed)
            / (zero - mean),
            "the two ablations are compared, without the reconstruction": (zero - mean) / (zero - clean),
        },
        what="`recovered`",
    )


def _loss_mistakes(
    scene: Scene, name: str, instance: int, right: Tensor, tokens: Tensor
) -> dict[str, Alternative]:
    """What may have gone wrong in one of the losses."""
    weights = scene.weights
    replacements: dict[str, Callable[[Tensor], Tensor] | None] = {"": None}
    if name == "reconstructed":
        replacements = {"": lambda value: rebuilt_value(scene, value)[:, :, instance]}
        for other in range(scene.own.cfg.n_instances):
            if other != instance:
                replacements[f"instance {other} is used, not instance {instance}"] = (
                    lambda value, other=other: (  # type: ignore[misc]
                        rebuilt_value(scene, value)[:, :, other]
                    )
                )
        for phrase, rebuild in list(wrong_reconstructions(weights).items())[1:]:
            replacements[phrase] = lambda value, rebuild=rebuild: rebuild(value.flatten(0, 1))[
                :, instance
            ].view(  # type: ignore[misc]
                value.shape
            )
        replacements["the mean of the instances' reconstructions is used"] = lambda value: rebuilt_value(
            scene, value
        ).mean(2)
        replacements["the error takes the activations' place, not the reconstruction"] = lambda value: (
            value - rebuilt_value(scene, value)[:, :, instance]
        )
        replacements["the reconstructions are put back in the wrong order"] = lambda value: (
            rebuilt_value(scene, value)[:, :, instance]
            .reshape(value.shape[1], value.shape[0], -1)
            .transpose(0, 1)
        )
    if name == "zero_ablated":
        replacements = {"": torch.zeros_like, "the activations become ones": torch.ones_like}
    if name == "mean_ablated":
        replacements = {
            "": lambda value: scene.h.mean(0).expand_as(value),
            "the mean is taken over the texts only, for each position on its own": lambda value: value.mean(
                0, keepdim=True
            ).expand_as(value),
            "the mean is taken over the positions only, for each text on its own": lambda value: value.mean(
                1, keepdim=True
            ).expand_as(value),
            "one mean is taken over all *neurons* too: each neuron has a mean of its own": lambda value: (
                value.mean().expand_as(value)
            ),
            "the mean is taken over the neurons, at each position": lambda value: value.mean(
                -1, keepdim=True
            ).expand_as(value),
            "the mean of the *reconstructions* is used": lambda value: (
                rebuilt_value(scene, value)[:, :, instance].mean((0, 1)).expand_as(value)
            ),
            "the mean is *subtracted*, and does not take the activations' place": lambda value: (
                value - value.mean((0, 1))
            ),
            "the mean is that of the first text": lambda value: value[:1].mean((0, 1)).expand_as(value),
            "the mean is that of the activations before the activation function": lambda value: (
                scene.cache["blocks.0.mlp.hook_pre"].mean((0, 1)).expand_as(value)
            ),
            "`b_dec` is used as the mean": lambda value: weights["b_dec"][instance].expand_as(value),
            "the mean leaves out the first position": lambda value: (
                value[:, 1:].mean((0, 1)).expand_as(value)
            ),
            "the mean leaves out the last position": lambda value: (
                value[:, :-1].mean((0, 1)).expand_as(value)
            ),
            "the sum is used, not the mean": lambda value: value.sum((0, 1)).expand_as(value),
            "the mean is taken of the absolute activations": lambda value: (
                value.abs().mean((0, 1)).expand_as(value)
            ),
            "the mean over the tokens on which a neuron is positive is used": lambda value: (
                value.relu().sum((0, 1)) / (value > 0).sum((0, 1)).clamp_min(1)
            ).expand_as(value),
            "the median is used, not the mean": lambda value: scene.h.median(0).values.expand_as(value),
        }
    mistakes: dict[str, Alternative] = {}
    for phrase, replace in replacements.items():
        if phrase:
            mistakes[phrase] = lambda replace=replace: _loss_of(scene.logits(replace), tokens)  # type: ignore[misc]
    main = replacements[""]
    if main is not None:
        mistakes["the output of the MLP is replaced (`hook_out`), which takes its bias away too"] = lambda: (
            _loss_of(scene.logits(lambda value: torch.zeros_like(value), "blocks.0.mlp.hook_out"), tokens)
        )
        mistakes["the activations *before* the activation function are replaced (`hook_pre`)"] = lambda: (
            _loss_of(scene.logits(main, "blocks.0.mlp.hook_pre"), tokens)
        )
        mistakes["the first position keeps its own activations"] = lambda: _loss_of(
            scene.logits(lambda value: torch.cat([value[:, :1], main(value)[:, 1:]], 1)), tokens
        )
        mistakes["only the last position's activations are replaced"] = lambda: _loss_of(
            scene.logits(lambda value: torch.cat([value[:, :-1], main(value)[:, -1:]], 1)), tokens
        )
    logits = scene.logits(main).double()
    half = len(tokens) // 2

    def summed() -> Tensor:
        return right * tokens[:, 1:].numel()

    mistakes |= {
        "each token's loss is *added up*, not averaged": summed,
        "the loss is added up over the positions and averaged over the texts": lambda: (
            right * (tokens.shape[1] - 1)
        ),
        "the loss is in bits, not in nats": lambda: right / math.log(2),
        "it is a perplexity, the exponential of the loss": right.exp,
        "the sign is turned round (this is the log-probability)": lambda: -right,
        "each prediction is compared with the *current* token, not with the next one": lambda: (
            F.cross_entropy(logits.flatten(0, 1), tokens.flatten())
        ),
        "the prediction is compared with the token *before*": lambda: F.cross_entropy(
            logits[:, 1:].flatten(0, 1), tokens[:, :-1].flatten()
        ),
        "it is measured on other tokens than the others: on the first half of the texts": lambda: _loss_of(
            logits[:half], tokens[:half]
        ),
        "it is measured on other tokens than the others: on the second half of the texts": lambda: _loss_of(
            logits[half:], tokens[half:]
        ),
        "it is measured on other tokens than the others: on the first text only": lambda: _loss_of(
            logits[:1], tokens[:1]
        ),
        "it is measured on other tokens than the others: the last text is missing": lambda: _loss_of(
            logits[:-1], tokens[:-1]
        ),
        "only the last prediction of every text is looked at": lambda: F.cross_entropy(
            logits[:, -2], tokens[:, -1]
        ),
        "there is one loss for each token, with no mean": lambda: F.cross_entropy(
            logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
        ).view(len(tokens), -1),
        "there is one loss for each text, with no mean over the texts": lambda: (
            F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
            .view(len(tokens), -1)
            .mean(-1)
        ),
    }
    return mistakes
