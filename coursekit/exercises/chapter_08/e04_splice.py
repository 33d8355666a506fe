"""Exercise 8.4: `splice`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Alternative, Check, Mistake
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_04.scene import (
    FORWARD,
    HOOK_CALL,
    WEIGHTS,
    random_number,
    wrong_decoders,
    wrong_encoders,
    wrong_reconstructions,
)
from coursekit.exercises.chapter_08.places import FIXTURES, random_mask

SIZE, LATENTS = 13, 19


@exercise(
    id="8.4",
    reference="deep_models.splice",
    difficulty=3,
    importance=5,
    minutes=20,
    points=3,
)
def splice(check: Check) -> None:
    for batch, seq in ((5, 3), (2, 7)):
        seed = random_number(check)
        own = fixtures.autoencoder(seed)
        autoencoder = check.create(seed, target=f"{FIXTURES}.autoencoder")
        weights = {name: getattr(own, name).detach() for name in WEIGHTS}
        value = check.normal(batch, seq, SIZE)
        keep = random_mask(check, batch, seq)
        factors = check.uniform(LATENTS, low=-0.5, high=1.5)
        factors[check.permutation(LATENTS)[:4]] = 0
        for instance in (0, 1):
            for chosen, with_error in ((None, False), (factors, False), (None, True), (factors, True)):
                _check_one(check, autoencoder, weights, value, keep, chosen, with_error, instance)


def _check_one(
    check: Check,
    autoencoder: Any,
    weights: dict[str, Tensor],
    value: Tensor,
    keep: Tensor,
    factors: Tensor | None,
    with_error: bool,
    instance: int,
) -> None:
    options: dict[str, Any] = {"autoencoder": autoencoder, "keep": keep, "instance": instance}
    if factors is not None:
        options["factors"] = factors
    if with_error:
        options["with_error"] = True
    kept = check.create(value, target="torch.clone")
    with explained({**HOOK_CALL, **FORWARD}):
        found = check.call(kept, hook=None, **options)
    said = f"{'without' if factors is None else 'with'} factors, {'with' if with_error else 'without'} the error term"
    check.equal(
        found,
        _put(value, keep, _new(weights, value, factors, with_error, instance)),
        "batch seq size",
        said,
        _wrong(weights, value, keep, factors, with_error, instance),
        what=f"the result {said}",
    )
    if not torch.equal(check.learner.get(kept, "data"), value):
        raise Mistake(
            "What your hook returns is right, but it changes `value` in place. This is the memory of the model's own "
            "activations: whoever has cached them finds something else there. Compute with new tensors."
        )
    check.holds(True, "the model's own activations are not spoiled", "")


def _put(value: Tensor, keep: Tensor, new: Tensor) -> Tensor:
    return torch.where(keep[..., None], new, value)


def _new(
    weights: dict[str, Tensor],
    value: Tensor,
    factors: Tensor | None,
    with_error: float,
    instance: int,
    changed_only: bool = False,
) -> Tensor:
    """What takes the activations' place, wherever it does; `with_error` is how often the error term is in it."""
    flat = value.flatten(0, 1)
    decode = wrong_decoders(weights)[""]
    acts = wrong_encoders(weights)[""](flat)
    changed = acts if factors is None else acts * factors
    rebuilt = decode(changed)[:, instance]
    error = flat - decode(changed if changed_only else acts)[:, instance]
    return (rebuilt + float(with_error) * error).view(value.shape)


def _wrong(
    weights: dict[str, Tensor],
    value: Tensor,
    keep: Tensor,
    factors: Tensor | None,
    with_error: bool,
    instance: int,
) -> dict[str, Alternative]:
    right = _new(weights, value, factors, with_error, instance)

    def put(new: Tensor) -> Tensor:
        return _put(value, keep, new)

    flat = value.flatten(0, 1)
    mistakes: dict[str, Alternative] = {
        "sinks are replaced as well: `keep` is not used": right,
        "`keep` is inverted: only the sinks are replaced": _put(value, ~keep, right),
        "sinks are set to zero instead of being left as they are": right * keep[..., None],
        "the sinks are left out of the result": right[keep],
        "instance 0 is always used, whatever `instance` says": put(
            _new(weights, value, factors, with_error, 0)
        ),
        "the activations are left as they are everywhere": value,
        "the *error* is returned, not the reconstruction": put(value - right),
        "the reconstruction is added to the activations": put(value + right),
    }
    if with_error:
        mistakes |= {
            "the error term is left out": put(_new(weights, value, factors, 0, instance)),
            "the error term is added twice": put(_new(weights, value, factors, 2, instance)),
            "the error term has the wrong sign": put(_new(weights, value, factors, -1, instance)),
            "the error is that of the *changed* reconstruction, which takes the change back": put(
                _new(weights, value, factors, 1, instance, changed_only=True)
            ),
        }
    else:
        mistakes["the error term is added although `with_error` is False"] = put(
            _new(weights, value, factors, 1, instance)
        )
    if factors is not None:
        mistakes |= {
            "`factors` is not used": put(_new(weights, value, None, with_error, instance)),
            "latents are kept or removed, not multiplied: a factor other than 0 counts as 1": put(
                _new(weights, value, (factors != 0).float(), with_error, instance)
            ),
            "`factors` is added to the latents, not multiplied with them": lambda: put(
                (
                    wrong_decoders(weights)[""](wrong_encoders(weights)[""](flat) + factors)[:, instance]
                    + float(with_error) * (flat - wrong_reconstructions(weights)[""](flat)[:, instance])
                ).view(value.shape)
            ),
        }
    elif not with_error:
        for phrase, rebuild in list(wrong_reconstructions(weights).items())[1:]:
            mistakes[phrase] = lambda rebuild=rebuild: put(rebuild(flat)[:, instance].view(value.shape))  # type: ignore[misc]
    return mistakes
