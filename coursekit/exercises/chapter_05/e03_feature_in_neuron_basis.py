"""Exercise 5.3: `feature_in_neuron_basis`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes
from coursekit.checking.door import Handle
from coursekit.checking.general_mistakes import mistakes_in_inputs
from coursekit.checking.phrases import unit_rows
from coursekit.exercises.chapter_05.parts import check_defaults, fields, make_autoencoder, number_of, pick


@exercise(
    id="5.3",
    reference="interpretation.feature_in_neuron_basis",
    difficulty=2,
    importance=3,
    minutes=10,
    points=2,
)
def feature_in_neuron_basis(check: Check) -> None:
    handle, autoencoder = make_autoencoder(check, n_instances=3)
    W_enc, W_dec = autoencoder.W_enc.detach(), autoencoder.W_dec.detach()
    counted: list[_Counted] = []
    for instance, latent in ((2, pick(check, 13)), (0, pick(check, 13))):
        rows = unit_rows(W_dec)
        direction, raw = rows[instance, latent], W_dec[instance, latent]
        column = W_enc[instance, :, latent]
        share = direction.square()
        mistakes: Mistakes = {
            "the absolute entries are made shares, without squaring them": direction.abs()
            / direction.abs().sum(),
            "the entries are squared, but the decoder's row is not at unit length: the shares do "
            "not add up to 1": raw.square(),
            "the direction is returned, not the squares of its entries": direction,
            "the decoder's row is returned, not the squares of its entries": raw,
            "the absolute entries of the direction are returned; its squares are the shares": direction.abs(),
            "the entries are made shares by dividing by their sum, without squaring them": raw / raw.sum(),
            "the encoder's column is used; a latent's direction is its row of the decoder": column.square()
            / column.square().sum(),
            "the encoder's column is used, without normalizing it": column.square(),
            "a column of the decoder is used (one neuron, all latents) instead of the latent's row": W_dec[
                instance, :, latent
            ].square()
            / W_dec[instance, :, latent].square().sum(),
            "a column of the normalized decoder is used (one neuron, all latents) instead of the latent's row": [
                rows[instance, :, latent].square(),
                rows[instance, :, latent].square() / rows[instance, :, latent].square().sum(),
            ],
            **{
                f"another instance is used ({other}, and not {instance})": rows[other, latent].square()
                for other in range(3)
                if other != instance
            },
            **{
                f"a neighboring latent is taken (one {where})": rows[instance, (latent + step) % 19].square()
                for step, where in ((1, "further"), (-1, "before"))
            },
            "each share is of the neuron's column, over the latents, and not of the latent's row": [
                (matrix[instance].square() / matrix[instance].square().sum(dim=0))[latent]
                for matrix in (rows, W_dec)
            ],
            "all instances are added": rows[:, latent].square().sum(dim=0),
            "the shares are sorted; share `i` belongs to neuron `i`": share.sort(descending=True).values,
            "the shares are sorted and added up; share `i` belongs to neuron `i`": share.sort(
                descending=True
            ).values.cumsum(dim=0),
            "the softmax of the entries is taken": direction.softmax(dim=0),
            "the shares are in percent": 100 * share,
            "the share is divided by the largest one": share / share.max(),
            "the squares are divided by the row's length, not by its square": raw.square() / raw.norm(),
            "the entries keep their sign; a share is never negative": direction * direction.abs(),
        }
        counted.append(_shares_and_counts(check, handle, latent, instance, direction, mistakes))
    check.holds(True, "the shares are those of the squared length", "")
    check_defaults(check, (handle, latent), (0,), "`instance` is 0")
    # Made up, so that the ways of counting differ.
    made_up = (
        (2.0, -2.0, 0.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -3.0, 0.0, 0.0, 0.0, 0.0),
        (0.3, 0.2, -0.3, 0.2, 5.0, 0.3, -0.2, 1.0, 0.3, 0.2, 0.1, 0.3, 2.5),
        # Two of them hold 49.95 %, and four 89.95 %.
        (0.5, -0.4995, 0.4472136, 0.0, 0.4472136, 0.3170173, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (1.0, -1.1, 0.9, 1.2, 1.0, -0.8, 1.1, 1.0, 0.9, 1.0, -1.05, 0.95, 1.0),
    )
    weights = W_dec.clone()
    for latent, row in enumerate(made_up):
        weights[0, latent] = torch.tensor(row)[check.permutation(13)]
    check.learner.set(handle, W_dec=weights)
    for latent in range(len(made_up)):
        direction = weights[0, latent] / weights[0, latent].norm()
        counted.append(_shares_and_counts(check, handle, latent, 0, direction, {}))
    _check_counts(counted)
    check.holds(True, "counts the neurons that hold half and 90 % of it", "")
    check.holds(True, "right for a latent that is one neuron, and for one that is spread over all", "")


_Counted = tuple[Tensor, list[float]]


def _shares_and_counts(
    check: Check,
    handle: Handle,
    latent: int,
    instance: int,
    direction: Tensor,
    mistakes: Mistakes,
) -> _Counted:
    """The shares are right. The counts are returned for later, since one direction does not show how they come out."""
    share = direction.double().square()
    found, *counts = fields(check, check.call(handle, latent, instance), "share, n_half, n_ninety")
    misread = mistakes_in_inputs(
        lambda direction: direction.square() / direction.square().sum(),
        {"direction": (direction.float(), "d_mlp")},
    )
    check.equal(found, share.float(), "d_mlp", "", mistakes, what="`share`", misread=misread)
    return share, [
        number_of(count, name) for count, name in zip(counts, ("`n_half`", "`n_ninety`"), strict=True)
    ]


def _sorted(shares: Tensor) -> Tensor:
    return shares.sort(descending=True).values


# How many neurons hold a part, with known mistakes; "%" stands for the part.
_WAYS_OF_COUNTING: dict[str, Callable[[Tensor, float], float]] = {
    "exactly % does not count as enough; it is *at least* %": lambda shares, part: (
        int((_sorted(shares).cumsum(dim=0) <= part + 1e-6).sum()) + 1
    ),
    "the sums that are still too small are counted, but not the neuron that makes it enough (one too few)": (
        lambda shares, part: _needed(_sorted(shares), part) - 1
    ),
    **{
        f"the sums may be {short:g} too small (a tolerance is for rounding only, about 1e-6)": (
            lambda shares, part, short=short: _needed(_sorted(shares), part - short)  # type: ignore[misc]
        )
        for short in (0.05, 0.01, 0.001)
    },
    "the bound is a twentieth too high": lambda shares, part: _needed(_sorted(shares), part + 0.05),
    "one neuron too many is counted": lambda shares, part: _needed(_sorted(shares), part) + 1,
    "the neurons are not taken in the order of their shares, the largest first": lambda shares, part: _needed(
        shares, part
    ),
    "the neurons are taken with the smallest shares first": lambda shares, part: _needed(
        shares.sort().values, part
    ),
    "the absolute entries are added up, not their squares": lambda shares, part: _needed(
        _sorted(shares.sqrt() / shares.sqrt().sum()), part
    ),
    "the length is taken, not its square (the square root of the sum)": lambda shares, part: _needed(
        _sorted(shares), part**2
    ),
    "it is % of the number of neurons": lambda shares, part: math.ceil(part * len(shares)),
    "it is % of the number of neurons, rounded down": lambda shares, part: int(part * len(shares)),
    "the neurons are counted that hold at least % on their own": lambda shares, part: int(
        (shares >= part).sum()
    ),
    "the neurons are counted that hold at least % of the largest share": lambda shares, part: int(
        (shares >= part * shares.max()).sum()
    ),
    "the absolute entries are added up as they are, not their squares": lambda shares, part: _needed(
        _sorted(shares.sqrt()), part
    ),
    "the neurons are counted that hold what is left of it": lambda shares, part: _needed(
        _sorted(shares), 1 - part
    ),
    "what the neurons hold is returned, and not how many they are": lambda shares, part: (
        _sorted(shares).cumsum(dim=0)[_needed(_sorted(shares), part) - 1].item()
    ),
    "the number is divided by that of all neurons": lambda shares, part: (
        _needed(_sorted(shares), part) / len(shares)
    ),
    **{
        f"it is never less than {least}": lambda shares, part, least=least: max(  # type: ignore[misc]
            least, _needed(_sorted(shares), part)
        )
        for least in (2, 3)
    },
    **{
        f"it is never more than {most}": lambda shares, part, most=most: min(  # type: ignore[misc]
            most, _needed(_sorted(shares), part)
        )
        for most in (5, 8, 10)
    },
    "all neurons but those are counted": lambda shares, part: len(shares) - _needed(_sorted(shares), part),
}


def _check_counts(counted: Sequence[_Counted]) -> None:
    """The learner's numbers for several directions are right, or are all what one mistake leads to."""
    right = [[_needed(_sorted(shares), part) for part in (0.5, 0.9)] for shares, _ in counted]
    found = [numbers for _, numbers in counted]
    if found == right:
        return
    if found == [numbers[::-1] for numbers in right]:
        raise Mistake("`n_half` and `n_ninety` are exchanged.")
    if [numbers[1] for numbers in found] == [ninety - half for half, ninety in right]:
        raise Mistake(
            "`n_ninety` counts only the neurons beyond those of `n_half`. Count from the largest share on for both."
        )
    for place, (name, part) in enumerate((("`n_half`", 0.5), ("`n_ninety`", 0.9))):
        wrong = [case for case, numbers in enumerate(found) if numbers[place] != right[case][place]]
        if not wrong:
            continue
        shares = counted[wrong[0]][0]
        said = f"{name} is {found[wrong[0]][place]:g}, and should be {right[wrong[0]][place]}"
        details = [f"the largest shares are {[round(share, 3) for share in _sorted(shares)[:6].tolist()]}"]
        for phrase, way in _WAYS_OF_COUNTING.items():
            if all(abs(numbers[place] - way(shares, part)) < 1e-4 for shares, numbers in counted):
                phrase = phrase.replace("%", f"{100 * part:.0f} %")
                raise Mistake(f"{said}. That is what comes out when {phrase}.", details)
        raise Mistake(f"{said}.", details)


def _needed(shares: Tensor, part: float) -> int:
    """How many of the shares, in this order, make this part."""
    return int((shares.cumsum(dim=0) < part - 1e-6).sum()) + 1
