"""Exercise 7.3: `best_latent_for`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import Handle


@exercise(
    id="7.3",
    reference="probes.best_latent_for",
    difficulty=2,
    importance=3,
    minutes=10,
    points=2,
)
def best_latent_for(check: Check) -> None:
    for tokens, latents in ((61, 11), (83, 17), (37, 7), (101, 5), (53, 23), (47, 13)):
        for _ in range(200):
            acts, labels = _case(check, tokens, latents)
            best = _f1(acts > 0, labels).topk(2)
            right = int(best.indices[0])
            if best.values[0] - best.values[1] > 0.02 and right not in _wrong(acts, labels).values():
                break
        found = _whole(check.call(acts, labels))
        if found != right:
            if 0 <= found < latents and not (acts[:, found] > 0).any():
                raise Mistake(
                    f"Your function returns latent {found}, which never fires: 0 divided by 0 is NaN, and `argmax` "
                    "takes NaN for the largest number."
                )
            said = [phrase for phrase, number in _wrong(acts, labels).items() if number == found]
            raise Mistake(
                f"Your function returns the latent that {', or that '.join(said[:3])}."
                if said
                else "Your function returns another latent than the one whose firing has the largest F1.",
                [
                    f"expected latent {right} with F1 {best.values[0]:.3f}",
                    f"got latent {found}"
                    + (f" with F1 {_f1(acts > 0, labels)[found]:.3f}" if 0 <= found < latents else ""),
                ],
            )
    check.holds(True, "the latent whose firing has the largest F1, among weak, strong and dead ones", "")


def _case(check: Check, tokens: int, latents: int) -> tuple[Tensor, Tensor]:
    """Latents of very different strength and rate, one that follows the topic at low strength, and a dead one."""
    labels = check.uniform(tokens) < 0.3
    labels[0], labels[1] = True, False
    rates = check.uniform(latents, low=0.05, high=0.95)
    strength = check.uniform(latents, low=0.2, high=5)
    fires = check.uniform(tokens, latents) < rates
    good, precise, wide, loud, dead = check.permutation(latents)[:5].tolist()
    flips = check.uniform(tokens) < 0.12
    fires[:, good] = labels ^ flips
    strength[good] = 0.1
    fires[:, precise] = labels & (check.uniform(tokens) < 0.25)
    fires[:, wide] = labels | (check.uniform(tokens) < 0.8)
    strength[loud] = 40.0
    fires[:, dead] = False
    return fires * strength * check.uniform(tokens, latents, low=0.5, high=1.5), labels


def _f1(fires: Tensor, labels: Tensor) -> Tensor:
    hits = (fires & labels[:, None]).sum(0)
    return 2 * hits / (fires.sum(0) + labels.sum())


def _wrong(acts: Tensor, labels: Tensor) -> dict[str, int]:
    fires = acts > 0
    hits = (fires & labels[:, None]).sum(0).float()
    precision = torch.nan_to_num(hits / fires.sum(0))
    mean_in, mean_out = acts[labels].mean(0), acts[~labels].mean(0)
    inputs: dict[str, Tensor] = {
        "has the largest mean activation on the topic's tokens, however often it fires on others": mean_in,
        "has the largest mean activation": acts.mean(0),
        "has the largest difference of mean activations": mean_in - mean_out,
        "has the largest precision": precision,
        "fires on most of the topic's tokens (recall), however often it fires elsewhere": hits,
        "is right most often (accuracy)": (fires == labels[:, None]).float().mean(0),
        "has the largest F1 for the tokens *outside* of the topic": _f1(fires, ~labels),
        "has the *smallest* F1": -_f1(fires, labels),
        "fires least": -fires.float().mean(0),
    }
    # Accuracy and F1 often choose the same one, which is no mistake that can be told.
    right = int(_f1(fires, labels).argmax())
    return {phrase: int(v.argmax()) for phrase, v in inputs.items() if int(v.argmax()) != right}


def _whole(found: object) -> int:
    if isinstance(found, bool):
        raise Mistake("Your result is a truth value; expected the number of a latent.")
    if isinstance(found, int):
        return found
    if isinstance(found, Tensor) and found.numel() == 1 and not found.is_floating_point():
        return int(found)
    if found is None:
        raise Mistake("Your result is None. Does your function end with a `return`?")
    if isinstance(found, Tensor):
        raise Mistake(
            f"Your result is a tensor of shape {list(found.shape)} with {found.dtype} values; expected the number of "
            "one latent (`argmax` gives places, `max` gives values)."
        )
    kind = found.type_name if isinstance(found, Handle) else type(found).__name__
    raise Mistake(f"Your result is of type {kind}; expected the number of one latent.")
