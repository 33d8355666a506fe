"""Exercise 4.8: `ablate_feature`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake
from coursekit.checking.phrases import explained, unit_rows
from part_utils.activations import MLP_HOOK

if TYPE_CHECKING:
    pass
from coursekit.exercises.chapter_04.scene import (
    FORWARD,
    HOOK_CALL,
    NEEDS,
    Scene,
    make_scene,
    rebuilt_value,
    wrong_encoders,
)


@exercise(
    id="4.8",
    reference="interpretation.ablate_feature",
    needs=NEEDS,
    difficulty=3,
    importance=4,
    minutes=20,
    points=4,
)
def ablate_feature(check: Check) -> None:
    for n_instances, instance in ((2, 1), (3, 2), (2, None)):
        scene = make_scene(
            check,
            lambda scene, instance=instance or 0: bool(_telling_features(scene, instance)),  # type: ignore[misc]
            n_instances=n_instances,
            thresholds=n_instances == 3,
        )
        feature = _telling_features(scene, instance or 0)[0]
        args = () if instance is None else (instance,)
        with explained({**FORWARD, **HOOK_CALL}):
            found = check.call(scene.tokens, scene.model, scene.autoencoder, feature, *args)
        with explained({"": "After your function has ended the model does not run any more."}):
            _unharmed_decoder(scene, feature, instance or 0)
        check.equal(
            found,
            _ablated(scene, feature, instance or 0),
            "batch seq d_vocab",
            "the change of the logits when only this latent is taken away",
            _ablation_mistakes(scene, feature, instance or 0),
            rtol=1e-3,
            atol=1e-4,
        )
        scene.unharmed()


def _unharmed_decoder(scene: Scene, feature: int, instance: int) -> None:
    """The special case of a changed autoencoder that this exercise invites."""
    now = scene.check.learner.get(scene.autoencoder, "W_dec")
    if isinstance(now, Tensor) and not torch.equal(now, scene.before["W_dec"]):
        row = now[instance, feature]
        if bool((row == 0).all()):
            raise Mistake(
                "The latent's decoder row was set to zero *for good*: the autoencoder has lost the latent when your "
                "function has ended. Leave its parameters alone, and subtract what the latent contributes in the hook."
            )


def _latent_on(scene: Scene, value: Tensor, feature: int, instance: int) -> Tensor:
    return wrong_encoders(scene.weights)[""](value.flatten(0, 1))[:, instance, feature].view(value.shape[:2])


def _telling_features(scene: Scene, instance: int) -> list[int]:
    """The latents that fire on many tokens but not on all, and matter, however one encodes them.

    So do the latents of their numbers of the other instances.
    """
    encoders = [encode for phrase, encode in wrong_encoders(scene.weights).items() if "ReLU" not in phrase]
    fires = torch.stack([encode(scene.h) > 0 for encode in encoders]).unflatten(1, scene.tokens.shape).float()
    rates, last = fires.mean((1, 2)), fires[:, :, -1].mean(1)
    telling = ((rates > 0.1) & (rates < 0.95) & (last > 0)).all(dim=(0, 1))
    # Neither the first latents, which have an instance's number, nor one that has no neuron of its number.
    telling[:4], telling[scene.h.shape[-1] :] = False, False
    return [
        feature
        for feature in telling.nonzero().flatten().tolist()
        if _ablated(scene, feature, instance).abs().max() > 0.1
    ]


def _ablated(scene: Scene, feature: int, instance: int) -> Tensor:
    direction = unit_rows(scene.weights["W_dec"])[instance, feature]
    without = scene.logits(
        lambda value: value - _latent_on(scene, value, feature, instance)[..., None] * direction
    )
    return without - scene.logits()


def _ablation_mistakes(scene: Scene, feature: int, instance: int) -> dict[str, Alternative]:
    weights = scene.weights
    W_dec, unit = weights["W_dec"], unit_rows(weights["W_dec"])
    clean = scene.logits()

    def changed(replace: Callable[[Tensor], Tensor], hook: str = MLP_HOOK) -> Callable[[], Tensor]:
        return lambda: scene.logits(replace, hook) - clean

    def minus(direction: Tensor, latent: Callable[[Tensor], Tensor] | None = None) -> Callable[[], Tensor]:
        find = latent or (lambda value: _latent_on(scene, value, feature, instance))
        return changed(lambda value: value - find(value)[..., None] * direction)

    def rebuilt_without(value: Tensor) -> Tensor:
        return (
            rebuilt_value(scene, value)[:, :, instance]
            - _latent_on(scene, value, feature, instance)[..., None] * unit[instance, feature]
        )

    def wrongly_encoded(phrase: str) -> Callable[[Tensor], Tensor]:
        encode = wrong_encoders(weights)[phrase]
        return lambda value: encode(value.flatten(0, 1))[:, instance, feature].view(value.shape[:2])

    def latent_of(whose: int, number: int) -> Callable[[Tensor], Tensor]:
        return lambda value: _latent_on(scene, value, number, whose)

    def contribution(value: Tensor) -> Tensor:
        return _latent_on(scene, value, feature, instance)[..., None] * unit[instance, feature]

    direction = unit[instance, feature]
    expected = _ablated(scene, feature, instance)
    ablated = expected + clean
    mistakes: dict[str, Alternative] = {
        "nothing is ablated: does the hook return its result?": torch.zeros_like(expected),
        "half of the latent's contribution is taken away": changed(
            lambda value: value - contribution(value) / 2
        ),
        "the latent's contribution is taken away twice": changed(
            lambda value: value - 2 * contribution(value)
        ),
        "the latent gets its *mean* activation, not zero": minus(
            direction,
            lambda value: (
                _latent_on(scene, value, feature, instance)
                - _latent_on(scene, value, feature, instance).mean()
            ),
        ),
        "the latent gets the mean of its activations in each text, not zero": minus(
            direction,
            lambda value: (
                _latent_on(scene, value, feature, instance)
                - _latent_on(scene, value, feature, instance).mean(1, keepdim=True)
            ),
        ),
        "the square of the latent's activation is taken away": minus(
            direction, lambda value: _latent_on(scene, value, feature, instance).square()
        ),
        "the latent is taken away on every position but the first": changed(
            lambda value: torch.cat([value[:, :1], (value - contribution(value))[:, 1:]], 1)
        ),
        "the latent is taken away in the first text only": changed(
            lambda value: torch.cat([(value - contribution(value))[:1], value[1:]])
        ),
        "the latent is cut down to an activation of 1 at most, not to 0": minus(
            direction, lambda value: (_latent_on(scene, value, feature, instance) - 1).relu()
        ),
        "the latents with this number of *all* instances are taken away": changed(
            lambda value: (
                value
                - sum(
                    _latent_on(scene, value, feature, other)[..., None] * unit[other, feature]
                    for other in range(len(unit))
                )
            )
        ),
        "the autoencoder's *error* is lost: its reconstruction takes the activations' place": changed(
            rebuilt_without
        ),
        "the error of the autoencoder is lost, and `b_dec` too": changed(
            lambda value: rebuilt_without(value) - weights["b_dec"][instance]
        ),
        "the reconstruction takes the activations' place, with the latent in it": changed(
            lambda value: rebuilt_value(scene, value)[:, :, instance]
        ),
        "the reconstruction without the latent is compared with the whole *reconstruction*, so that the latent works "
        "on activations without the error": lambda: (
            scene.logits(rebuilt_without)
            - scene.logits(lambda value: rebuilt_value(scene, value)[:, :, instance])
        ),
        "the sign is turned round: these are the clean logits minus the ablated ones": -expected,
        "the ablated logits are returned, with nothing to compare them with": ablated,
        "the clean logits are returned": clean,
        "the latent is *added* once more, not taken away": changed(lambda value: value + contribution(value)),
        "only what the latent contributes is *kept*: everything else is taken away": changed(contribution),
        "the decoder row is used as it is stored, not at unit length": minus(W_dec[instance, feature]),
        "the latent's *encoder* direction is subtracted, not its decoder row": minus(
            weights["W_enc"][instance, :, feature]
        ),
        "the latent's encoder direction at unit length is subtracted, not its decoder row": minus(
            unit_rows(weights["W_enc"][instance, :, feature])
        ),
        "the direction is subtracted once on every token, however strongly the latent fires": minus(
            direction, lambda value: torch.ones(value.shape[:2])
        ),
        "the direction is subtracted once where the latent fires, however strongly": minus(
            direction, lambda value: (_latent_on(scene, value, feature, instance) > 0).float()
        ),
        "the latent's *mean* activation is subtracted everywhere": minus(
            direction,
            lambda value: _latent_on(scene, value, feature, instance).mean().expand(value.shape[:2]),
        ),
        "the part of the activations along the latent's direction is removed (a projection), not what the latent "
        "contributes": minus(direction, lambda value: value @ direction),
        "all latents are set to zero": changed(
            lambda value: value - rebuilt_value(scene, value)[:, :, instance] + weights["b_dec"][instance]
        ),
        "the whole reconstruction is subtracted": changed(
            lambda value: value - rebuilt_value(scene, value)[:, :, instance]
        ),
        "`b_dec` is subtracted as well": changed(
            lambda value: value - contribution(value) - weights["b_dec"][instance]
        ),
        "the latent is taken away on the last position only": changed(
            lambda value: torch.cat([value[:, :-1], (value - contribution(value))[:, -1:]], 1)
        ),
        "the latent is taken away on the first position only": changed(
            lambda value: torch.cat([(value - contribution(value))[:, :1], value[:, 1:]], 1)
        ),
        "the activations are put back in the wrong order: `batch` and `seq` were mixed up": changed(
            lambda value: (
                value
                - _latent_on(scene, value, feature, instance)
                .reshape(value.shape[1], value.shape[0])
                .mT[..., None]
                * direction
            )
        ),
        "the neuron of the same number is set to zero, not the latent": changed(
            lambda value: value * (torch.arange(value.shape[-1]) != feature)
        ),
        "the change in *probabilities* is returned, not in logits": lambda: (
            ablated.softmax(-1) - clean.softmax(-1)
        ),
        "the change in *log-probabilities* is returned, not in logits": lambda: (
            ablated.log_softmax(-1) - clean.log_softmax(-1)
        ),
        "the absolute change is returned": expected.abs,
        "the mean over texts and positions is returned": lambda: expected.mean((0, 1)),
        "only the last position's logits are returned": lambda: expected[:, -1],
        "the latent's direct effect through `W_out` and `W_U` is returned, without the LayerNorm": lambda: (
            -contribution(scene.cache[MLP_HOOK])
            @ scene.own_model.blocks[0].mlp.W_out.detach()
            @ scene.own_model.W_U.detach()
        ),
        "it is done before the activation function (`hook_pre`)": changed(
            lambda value: value - contribution(value), "blocks.0.mlp.hook_pre"
        ),
    }
    for phrase in list(wrong_encoders(weights))[1:]:
        mistakes[phrase] = minus(direction, wrongly_encoded(phrase))
    for other in range(scene.own.cfg.n_instances):
        if other != instance:
            theirs = latent_of(other, feature)
            mistakes[f"the latent of instance {other} is taken away, not that of instance {instance}"] = (
                minus(unit[other, feature], theirs)
            )
            mistakes[
                f"the activation is that of instance {other}, and the direction that of instance {instance}"
            ] = minus(direction, theirs)
            mistakes[
                f"the direction is that of instance {other}, and the activation that of instance {instance}"
            ] = minus(unit[other, feature])
    for other in (feature - 1, (feature + 1) % unit.shape[1], 0):
        mistakes[f"another latent is taken away (number {other}, not {feature})"] = minus(
            unit[instance, other], latent_of(instance, other)
        )
    return mistakes
