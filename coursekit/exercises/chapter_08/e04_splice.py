"""Exercise 8.4: `splice`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Alternative, Check, Mistake
from coursekit.checking.evidence import Outcome, explanations, same
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_04.scene import (
    FORWARD,
    HOOK_CALL,
    clearly_on_or_off,
    random_number,
    weights_of,
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
    for batch, seq, instances in ((5, 3, 2), (1, 7, 3)):
        seed = random_number(check)
        kind = {"n_instances": instances, "thresholds": instances == 3}
        weights = weights_of(fixtures.autoencoder(seed, **kind))
        autoencoder = check.create(seed, **kind, target=f"{FIXTURES}.autoencoder")
        value = check.normal(batch, seq, SIZE)
        while not clearly_on_or_off(value.flatten(0, 1), weights):
            value = check.normal(batch, seq, SIZE)
        keep = random_mask(check, batch, seq)
        factors = check.uniform(LATENTS, low=-0.5, high=1.5)
        factors[check.permutation(LATENTS)[:4]] = 0
        for instance in range(instances):
            _check_all(check, autoencoder, weights, value, keep, factors, instance)
        _check_all(check, autoencoder, weights, value, keep, torch.zeros(LATENTS), 1)


_Case = tuple[Tensor | None, bool]


def _check_all(
    check: Check,
    autoencoder: Any,
    weights: dict[str, Tensor],
    value: Tensor,
    keep: Tensor,
    factors: Tensor,
    instance: int,
) -> None:
    """Without and with factors and error term: what explains all four results is the mistake."""
    cases: list[_Case] = [(None, False), (factors, False), (None, True), (factors, True)]
    founds = [_called(check, autoencoder, weights, value, keep, case, instance) for case in cases]
    rights = [_put(value, keep, _new(weights, value, *case, instance)) for case in cases]
    known = [_wrong(weights, value, keep, *case, instance) for case in cases]
    fitting = set(
        explanations([Outcome(*all_of_it) for all_of_it in zip(founds, rights, known, strict=True)])
    )
    for (chosen, with_error), found, right, mistakes in zip(cases, founds, rights, known, strict=True):
        said = f"{'with' if chosen is not None else 'without'} factors, "
        said += f"{'with' if with_error else 'without'} the error term"
        check.equal(
            found,
            right,
            "batch seq size",
            said,
            {p: v for p, v in mistakes.items() if p in fitting} or mistakes,
            what=f"the result {said}",
        )
    check.holds(True, "the model's own activations are not spoiled", "")


def _called(
    check: Check,
    autoencoder: Any,
    weights: dict[str, Tensor],
    value: Tensor,
    keep: Tensor,
    case: _Case,
    instance: int,
) -> Any:
    factors, with_error = case
    options: dict[str, Any] = {"autoencoder": autoencoder, "keep": keep, "instance": instance}
    held = None if factors is None else check.create(factors, target="torch.clone")
    if held is not None:
        options["factors"] = held
    if with_error:
        options["with_error"] = True
    kept = check.create(value, target="torch.clone")
    with explained({**HOOK_CALL, **FORWARD}):
        found = check.call(kept, hook=None, **options)
    right = _put(value, keep, _new(weights, value, factors, with_error, instance))
    if not torch.equal(check.learner.get(kept, "data"), value):
        what = "What your hook returns is right, but it" if same(found, right) else "Your hook"
        raise Mistake(
            f"{what} changes `value` in place. This is the memory of the model's own activations: whoever has cached "
            "them finds something else there. Compute with new tensors."
        )
    if held is not None and factors is not None and not torch.equal(check.learner.get(held, "data"), factors):
        raise Mistake("Your hook changes `factors` in place. They are used again at the next call.")
    for name, weight in weights.items():
        if not torch.equal(check.learner.get(autoencoder, name), weight):
            raise Mistake(
                f"Your hook changes `{name}` of the autoencoder, which is used again. Multiply the latents instead."
            )
    return found


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
        **(
            {"the activations are left as they are everywhere": value}
            if not with_error or factors is not None
            else {}
        ),
        "`with_error` is turned round": put(_new(weights, value, factors, not with_error, instance)),
        "the last instance is always used, whatever `instance` says": put(
            _new(weights, value, factors, with_error, -1)
        ),
        "the mean over the instances is taken": put(
            torch.stack(
                [_new(weights, value, factors, with_error, i) for i in range(len(weights["b_dec"]))]
            ).mean(0)
        ),
        "`keep` of the first text is used for every text": _put(value, keep[:1].expand_as(keep), right),
        "rows and positions are mixed up: `flatten` and `view` have to go over the axes in the same order": _put(
            value,
            keep,
            _new(weights, value.transpose(0, 1), factors, with_error, instance).reshape(value.shape),
        ),
        "the *error* is returned, not the reconstruction": put(value - right),
        "the reconstruction is added to the activations": put(value + right),
    }
    if with_error:
        mistakes |= {
            "the error term is left out": put(_new(weights, value, factors, 0, instance)),
            "the error term is that of instance 0": put(
                _new(weights, value, factors, 0, instance) + value - _new(weights, value, None, 0, 0)
            ),
            "the error term is added at the sinks as well": put(right)
            + torch.where(keep[..., None], 0, value - _new(weights, value, None, 0, instance)),
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
            "`factors` is used twice, so that it counts squared": put(
                _new(weights, value, factors.square(), with_error, instance)
            ),
            "the whole reconstruction is multiplied by the mean of the factors, not each latent by its own": put(
                factors.mean() * _new(weights, value, None, 0, instance)
                + with_error * (value - _new(weights, value, None, 0, instance))
            ),
            "1 is added to the factors": put(_new(weights, value, 1 + factors, with_error, instance)),
            "factors are cut down to lie between 0 and 1": put(
                _new(weights, value, factors.clamp(0, 1), with_error, instance)
            ),
            "factors below 0 count as 0": put(_new(weights, value, factors.relu(), with_error, instance)),
            "factors above 1 count as 1": put(
                _new(weights, value, factors.clamp(max=1), with_error, instance)
            ),
            "factors of 0 alone are taken for none": put(
                _new(weights, value, None if not factors.any() else factors, with_error, instance)
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
