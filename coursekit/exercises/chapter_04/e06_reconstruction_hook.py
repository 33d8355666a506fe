"""Exercise 4.6: `reconstruction_hook`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake, agree, compare
from coursekit.checking.phrases import explained
from part_utils.activations import MLP_HOOK

if TYPE_CHECKING:
    pass
from coursekit.exercises.chapter_04.scene import (
    FORWARD,
    HOOK_CALL,
    NEEDS,
    ROWS,
    SEQ,
    Scene,
    concerning,
    make_scene,
    rebuilt_value,
    wrong_encoders,
    wrong_reconstructions,
)


@exercise(
    id="4.6",
    reference="evaluation.reconstruction_hook",
    also=("zero_ablation_hook",),
    needs=NEEDS,
    difficulty=2,
    importance=4,
    minutes=15,
    points=3,
)
def reconstruction_hook(check: Check) -> None:
    for n_instances, batch, seq in ((2, 5, 3), (3, 2, 11)):
        scene = make_scene(check, n_instances=n_instances, thresholds=n_instances == 3)
        # As hooks are called: the activations of some texts, on which the latents differ.
        value = (
            scene.cache[MLP_HOOK]
            .flatten(0, 1)[check.permutation(ROWS * SEQ)[: batch * seq]]
            .view(batch, seq, -1)
        )
        for instance in range(n_instances):
            _check_reconstructed(check, scene, value, instance)
        # One text, one position, and other activations of the same shape.
        for other in (value[:1], value[:, :1], value.flip(0)):
            _check_reconstructed(check, scene, other, 0)
        options = {"value": value, "autoencoder": scene.autoencoder}
        default, _ = _hooked(check, options, "reconstruction_hook")
        check.holds(
            isinstance(default, Tensor) and agree(default, rebuilt_value(scene, value)[:, :, 0]),
            "instance 0 where nothing else is said",
            "Without the argument `instance` your hook should take instance 0; it returns something else.",
        )
        scene.unharmed()
    value = check.normal(5, 3, 7)
    with concerning("`zero_ablation_hook`:"):
        found, after = _hooked(check, {"value": value}, "zero_ablation_hook")
        check.equal(
            found,
            torch.zeros(5, 3, 7),
            "batch seq d_mlp",
            "zeros in the place of the activations",
            {
                "the activations are left as they are": value,
                "each neuron's *mean* takes its place (that is mean ablation)": value.mean((0, 1)).expand_as(
                    value
                ),
                "the mean over everything takes its place": value.mean().expand_as(value),
                "it holds ones": torch.ones_like(value),
                "one number takes the place of the whole tensor": torch.zeros(()),
                "only the last position is set to zero": torch.cat([value[:, :-1], 0 * value[:, -1:]], 1),
                "only the negative activations are set to zero (a ReLU)": value.relu(),
                "only the positive activations are set to zero": value.clamp(max=0),
                "the axis of the texts is lost": torch.zeros(3, 7),
                "the zeros are flat, `(batch seq) d_mlp`": torch.zeros(15, 7),
                "the first position keeps its activations": torch.cat([value[:, :1], 0 * value[:, 1:]], 1),
                "only the first text is set to zero": torch.cat([0 * value[:1], value[1:]]),
                "the sign is turned round": -value,
            },
        )
        _check_not_spoiled(check, value, after, torch.zeros(5, 3, 7))
        check.holds(
            isinstance(found, Tensor) and found.is_floating_point(),
            "",
            "the zeros are whole numbers; the activations are floating-point numbers (`torch.zeros_like(value)`).",
        )
        single, _ = _hooked(check, {"value": check.normal(1, 3, 7)}, "zero_ablation_hook")
        check.equal(single, torch.zeros(1, 3, 7), "batch seq d_mlp", "")


def _hooked(check: Check, options: dict[str, Any], name: str) -> tuple[Any, Tensor]:
    """What a model would go on with: what the hook returns or, if that is nothing, the activations that it changed.

    And the activations afterwards.
    """
    value = options["value"]
    kept = check.create(value, target="torch.clone")
    others = {key: item for key, item in options.items() if key != "value"}
    call = (
        check.call
        if name == "reconstruction_hook"
        else lambda *args, **kw: check.call_also(name, *args, **kw)
    )
    with explained({**HOOK_CALL, **FORWARD}):
        found = call(kept, hook=None, **others)
    after = check.learner.get(kept, "data")
    if found is None:
        if torch.equal(after, value):
            raise Mistake(
                "Your hook returns nothing and has not changed `value` either, so the model would go on with its own "
                "activations. End it with a `return`."
            )
        found = after
    if isinstance(found, int | float):
        raise Mistake(
            f"Your hook returns one number, {found}; it takes the place of the whole tensor. Return a tensor of the "
            "shape that `value` has."
        )
    return found, after


def _check_not_spoiled(check: Check, before: Tensor, after: Any, expected: Tensor) -> None:
    if not isinstance(after, Tensor) or after.shape != before.shape:
        raise Mistake("Your hook changes the shape of `value` in place. Leave `value` as it is.")
    if not torch.equal(after, before) and not agree(after, expected):
        raise Mistake(
            "What your hook returns is right, but it writes an intermediate result into `value` (an operation in "
            "place, such as `-=` or `.sub_`). This is the memory of the model's own activations: whoever has cached "
            "them finds something else there. Compute with new tensors.",
            compare(after, before, "batch seq d_mlp"),
        )
    check.holds(True, "the model's own activations are not spoiled", "")


def _check_reconstructed(check: Check, scene: Scene, value: Tensor, instance: int) -> None:
    found, after = _hooked(
        check, {"value": value, "autoencoder": scene.autoencoder, "instance": instance}, "reconstruction_hook"
    )
    batch, seq, d_mlp = value.shape
    flat = value.flatten(0, 1)
    rebuilds = wrong_reconstructions(scene.weights)
    right = rebuilds[""](flat)
    one = right[:, instance]
    expected = one.view(value.shape)
    mistakes: dict[str, Alternative] = {
        "the reconstruction is left flat, `(batch seq) d_mlp`: it needs the shape of `value`": one,
        "the axis of the instances is left": right.view(batch, seq, *right.shape[1:]),
        "the axis of the instances is left, and the tokens are left flat": right,
        "an axis of size 1 is left where the instances were": expected.unsqueeze(2),
        "the tokens are put back in the wrong order (position by position, not text by text)": one.view(
            seq, batch, d_mlp
        ).transpose(0, 1),
        "the texts and positions have changed places": one.view(seq, batch, d_mlp),
        "the instances are averaged": right.mean(1).view(value.shape),
        "the instances are added up": right.sum(1).view(value.shape),
        "the *error* is returned, not the reconstruction": value - expected,
        "the reconstruction is added to the activations": value + expected,
        "the mean of the activations and their reconstruction is returned": (value + expected) / 2,
        "the activations are left as they are": value,
        "zeros are returned": torch.zeros_like(value),
        "the first position keeps its own activations": torch.cat([value[:, :1], expected[:, 1:]], 1),
        "only the last position is replaced": torch.cat([value[:, :-1], expected[:, -1:]], 1),
        "only the first text is replaced": torch.cat([expected[:1], value[1:]]),
        "only the first text is returned": expected[:1],
        "the *latents* are returned, not the reconstruction": wrong_encoders(scene.weights)[""](flat)[
            :, instance
        ].view(batch, seq, -1),
    }
    for other in range(scene.own.cfg.n_instances):
        if other != instance:
            whose = (
                "instance 0 is always used, whatever `instance` says"
                if other == 0
                else f"instance {other} is used"
            )
            mistakes[f"the wrong instance is used: {whose}, and not instance {instance}"] = right[
                :, other
            ].view(value.shape)
    for phrase, rebuild in list(rebuilds.items())[1:]:
        mistakes[phrase] = lambda rebuild=rebuild: rebuild(flat)[:, instance].view(value.shape)  # type: ignore[misc]
    check.equal(
        found, expected, "batch seq d_mlp", "the reconstruction of the right instance, in place", mistakes
    )
    _check_not_spoiled(check, value, after, expected)
