"""What the checks of chapter 1 share: samples that a toy model draws, and what must hold of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from coursekit.catalogue import get_exercise
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import Handle
from coursekit.checking.pictures import side_by_side
from coursekit.exercises.chapter_01.independence import check_batches_are_independent
from coursekit.exercises.chapter_01.toy_models import make_model
from part_utils.toy_model import ToyModelConfig

DRAWS = 10_000


def drawn_pairs(
    check: Check, cfg: ToyModelConfig, method: str, p: Tensor, pairs: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw features in pairs: two batches with the probabilities p, and between them one with the highest possible."""
    shape = (DRAWS, cfg.n_instances, 2 * pairs)
    model = make_model(check, cfg, p[:, None])
    # A few first: axes that are mixed up would make a large batch far too large.
    few = check.method(model, method, 7, pairs)
    of_the_model = {cfg.n_pairs, 2 * cfg.n_pairs, cfg.n_features, cfg.n_features // 2 * 2} - {
        2 * pairs,
        pairs,
    }
    if isinstance(few, Tensor) and few.shape[:2] == (7, cfg.n_instances) and few.shape[-1] in of_the_model:
        raise Mistake(
            f"Your result has {few.shape[-1]} features where {pairs} pairs were asked for: how many there are comes in "
            "as an argument, and is not read from `self.cfg`."
        )
    drawn_batch(check, model, method, (7, *shape[1:]), 7, pairs)
    x = drawn_batch(check, model, method, shape, DRAWS, pairs)
    full = _fullest(check, cfg)
    everything = drawn_batch(check, full, method, (DRAWS // 5, *shape[1:]), DRAWS // 5, pairs)
    return x, everything, drawn_batch(check, model, method, shape, DRAWS, pairs)


def _fullest(check: Check, cfg: ToyModelConfig) -> Handle:
    """A model with pairs in which as much is present as can be."""
    highest = 1.0 if cfg.n_correlated_pairs else 0.5
    return make_model(check, cfg, torch.full((cfg.n_instances, 1), highest))


def check_pairs_in_a_batch_of_one(check: Check, cfg: ToyModelConfig, method: str, pairs: int) -> None:
    check_batch_of_one(check, _fullest(check, cfg), method, 2 * pairs, pairs, pairs=True)


def check_pair_shares(check: Check, present: Tensor, spread: Tensor, mistakes: dict[str, Tensor]) -> None:
    check.shares(
        present,
        spread,
        "instances features",
        "each single feature is present as often as its instance's probability says",
        mistakes | wrong_shares(spread),
    )


def drawn_batch(check: Check, model: Handle, method: str, shape: tuple[int, int, int], *args: int) -> Tensor:
    """Return features drawn by the learner's sampler: a tensor of the right shape without NaN."""
    x = check.tensor(check.method(model, method, *args))
    batch, instances, features = shape
    if x.shape != shape:
        if (x.shape[1:], x.shape[0]) == (shape[1:], 1024):
            raise Mistake("The batch always has 1024 elements: `batch_size` is not used.")
        known = {
            (batch, features, instances): "The axes of instances and features are exchanged.",
            (instances, batch, features): "The axes of batch and instances are exchanged.",
            (
                batch,
                features,
            ): "The axis of the instances is missing: every instance gets features of its own.",
            (instances, features): "The axis of the batch is missing.",
            (batch, instances): "The axis of the features is missing.",
            (batch, instances, features // 2): "There is only one feature for each pair; a pair is two.",
            (
                batch,
                instances,
                features // 2,
                2,
            ): "The pairs have an axis of their own: flatten the last two axes.",
            (
                batch,
                instances,
                2,
                features // 2,
            ): "The pairs have an axis of their own: flatten the last two axes.",
        }
        says = known.get(tuple(x.shape), "Your result has the wrong shape.")
        raise Mistake(
            f"{says} Expected [batch {batch}, instances {instances}, features {features}], got {list(x.shape)}."
        )
    check.holds(
        bool(torch.isfinite(x).all()),
        "",
        "Some features are NaN or infinite. Is something divided by a probability of 0?",
    )
    check.show(
        lambda: side_by_side(
            x[:16].flatten(1),
            example_text(check, model, method, x.shape, args)[:16].flatten(1),
            "batch instances·features",
            ("a right one", "yours"),
        )
    )
    return x.double()


def example_text(
    check: Check, model: Handle, method: str, shape: torch.Size, args: tuple[int, ...]
) -> Tensor:
    """Return what the reference draws for the same probabilities."""
    cfg = ToyModelConfig(n_instances=shape[1], n_features=shape[2])
    probability = check.learner.get(model, "feature_probability")
    reference = get_exercise(check.exercise_id).load_reference()(cfg, feature_probability=probability)
    return getattr(reference, method)(*args)


def check_values_are_plausible(check: Check, x: Tensor, lowest: int = 0) -> None:
    check.holds(bool((x != 0).any()), "", "Every feature is 0: none is ever present.")
    values = x[x != 0]
    if lowest == -1 and (values > 0).all():
        raise Mistake(
            "No value is negative: present features should lie evenly between -1 and 1.", range_text(values)
        )
    check.holds(
        not (values.abs() == 1).all(),
        "",
        f"Every present feature is exactly {'1' if lowest == 0 else '1 or -1'}: it needs a random value, not only a "
        "yes or no.",
    )
    common = values.mode().values
    if 0.2 < share_of(values == common) < 0.999:
        raise Mistake(
            f"Very many features have the value {common:.3g}. Is an absent feature {common:.3g} instead of 0?"
        )
    # One value for all rows of a feature is another mistake.
    different, in_a_column = len(values.unique()), len(x[:, 0, 0].unique())
    check.holds(
        different > len(values) / 100 or in_a_column <= 2,
        "",
        f"Present features have only {different} different values. Draw real numbers, as `torch.rand` does.",
    )
    check.holds(bool((values >= lowest).all()), "", f"Some values lie below {lowest}.", range_text(values))
    check.holds(bool((values <= 1).all()), "", "Some values lie above 1.", range_text(values))


def check_batch_is_not_repeated(check: Check, x: Tensor) -> None:
    if (x == x[:1]).all():
        raise Mistake("Every element of the batch is the same: the draw needs an axis for the batch.")
    present = x != 0
    falling = not (present[1:] & ~present[:-1]).any()
    if len(x) > 2 and falling and not rarely(present != present[:1]):
        raise Mistake(
            "The rows in which a feature is present all come first. Whether it is present is decided anew for each row."
        )
    everywhere = torch.where(present, x, x.amax(0))
    if len(x) > 2 and (everywhere == x.amax(0)).all() and (x.amax(0) < 1).all():
        raise Mistake(
            "A feature has the same value in every element of the batch: the draw for values needs an axis for the "
            "batch."
        )
    if len(x) > 2 and ((x[1:] >= x[:-1]).all() or (x[1:] <= x[:-1]).all()):
        raise Mistake("The batch is sorted by value. Its elements should come as they are drawn.")
    if rarely(present != present[:1]) and share_of(present) not in (0.0, 1.0):
        raise Mistake(
            "The same features are present in every element of the batch: the draw for presence needs an axis for the "
            "batch."
        )


def check_repeated_values(check: Check, everything: Tensor) -> None:
    """With every feature present, equal values can only mean that one draw is used for several features."""
    for axis, name in enumerate(("elements of the batch", "instances", "features")):
        if rarely(everything != everything.select(axis, 0).unsqueeze(axis)):
            raise Mistake(f"The values are shared between {name}: all have the same one. Draw one for each.")


def check_independence(check: Check, x: Tensor, what: str, claim: str, pairs: bool = False) -> None:
    """No two of the features, of one instance or of two, are correlated. `x` has the axes batch instances features."""
    batch, instances, features = x.shape
    table = torch.corrcoef(x.double().reshape(batch, -1).T).nan_to_num().abs()
    table = table.reshape(instances, features, instances, features)
    same_instance = torch.eye(instances, dtype=torch.bool)[:, None, :, None]
    same_feature = torch.eye(features, dtype=torch.bool)[None, :, None, :]
    # 8.5 standard deviations.
    linked = table > 8.5 / batch**0.5
    between_features = bool((linked & same_instance & ~same_feature).any())
    between_instances = bool((linked & ~same_instance).any())
    thing = "pairs" if pairs else "features"
    where = " and ".join(
        name for name, found in ((thing, between_features), ("instances", between_instances)) if found
    )
    strongest = torch.where(same_instance & same_feature, 0.0, table).max().item()
    check.holds(
        not where,
        claim,
        f"Different {where} are not independent in their {what}: one draw is shared between them. Draw a number for "
        "each.",
        [f"correlation of up to {strongest:.2f}, expected 0"],
    )


def check_values_are_even(check: Check, x: Tensor, p: Tensor, lowest: int = 0) -> None:
    """Check that the values of each feature, where it is present, are even between `lowest` and 1."""
    instances, features = p.shape
    spread = f"evenly between {lowest} and 1"
    values = [x[:, i, f][x[:, i, f] != 0] for i in range(instances) for f in range(features)]
    below = [bool((v <= q + 1e-6).all()) for v, q in zip(values, p.flatten(), strict=True)]
    above = [bool((v >= 1 - q - 1e-6).all()) for v, q in zip(values, p.flatten(), strict=True)]
    if lowest == 0 and all(low or high for low, high in zip(below, above, strict=True)):
        reach = "above its probability p" if all(below) else "below 1 - p"
        if not (all(below) or all(above)):
            reach = "above its probability p, or none is below 1 - p"
        raise Mistake(
            f"No value of a feature is ever {reach}. Either one draw decides both whether a feature is present and how "
            "large it is, or the value is multiplied with the probability.",
            [f"present values should lie {spread}, whatever the probability"],
        )
    for v in values:
        try:
            check.uniform_on_unit_interval(
                v, f"present values lie {spread}", f"Present values do not lie {spread}.", low=lowest
            )
        except Mistake as mistake:
            mistake.message = (
                f"Present values do not lie {spread}{_how_values_lie(x, torch.cat(values), lowest)}."
            )
            raise


# Distribution functions of values that somebody may draw who wants them between 0 and 1.
CURVES: dict[str, Callable[[Tensor], Tensor]] = {
    "between a half and 1 only": lambda v: 2 * v - 1,
    "between 0 and a half only": lambda v: 2 * v,
    "as a product of two draws": lambda v: v * (1 - v.clamp_min(1e-12).log()),
    "as the square of a draw": lambda v: v.sqrt(),
    "as the root of a draw, or the larger of two": lambda v: v**2,
    "as the smaller of two draws": lambda v: 1 - (1 - v) ** 2,
    "as the mean of two draws": lambda v: torch.where(v < 0.5, 2 * v**2, 1 - 2 * (1 - v) ** 2),
}


def _how_values_lie(x: Tensor, values: Tensor, lowest: int) -> str:
    """Say how present values lie that should lie evenly: ": they lie as the square of a draw", or "" if unclear."""
    lengths = x.norm(dim=2)[(x != 0).any(dim=2)]
    if ((lengths - 1).abs() < 1e-4).all():
        return ": every row is brought to length 1"
    if lowest == -1:
        if ((x >= 0).all(0) | (x <= 0).all(0)).all():
            return ": a feature has the same sign in the whole batch"
        negative = share_of(values < 0)
        if not 0.45 < negative < 0.55:
            return f": {negative:.0%} of them are negative, and half should be"
        if values.abs().max() <= 0.5:
            return ": they lie between -0.5 and 0.5 only"
        small = values.abs() < 0.5
        if abs(share_of(values[small] > 0) - share_of(values[~small] > 0)) > 0.9:
            return ": how large a value is decides about its sign"
        values = values.abs()
    ordered = values.double().sort().values
    ranks = torch.arange(1, len(ordered) + 1) / max(len(ordered), 1)
    for phrase, curve in CURVES.items():
        if (curve(ordered).clamp(0, 1) - ranks).abs().max() < 0.02:
            return f": they lie {phrase}"
    low, high = round(ordered[0].item(), 2), round(ordered[-1].item(), 2)
    even = (((ordered - low) / (high - low)).clamp(0, 1) - ranks).abs().max() < 0.02
    if even and (low, high) != (0, 1) and (lowest == 0 or low == 0):
        return f": they lie between {low if lowest == 0 else -high:g} and {high:g} only"
    inner = share_of(values < 0.5)
    if abs(inner - 0.5) > 0.05:
        where = "lie below one half" if lowest == 0 else "lie between -0.5 and 0.5"
        return f": {inner:.0%} of them {where}, and half should"
    return ""


def check_counts_in_rows(present: Tensor, p: Tensor) -> None:
    """Raise a mistake if the rows have too much in common: none empty, none with two, or all with the same count."""
    counts = present.sum(dim=2)
    empty = (1 - p).prod(dim=1)
    for instance, (count, expected) in enumerate(zip(counts.T, empty, strict=True)):
        if share_of(present[:, instance]) in (0.0, 1.0) or present.shape[2] < 2:
            continue
        if (count == count[0]).all():
            raise Mistake(
                f"Each row of an instance has exactly {int(count[0])} features. How many there are is left to chance: "
                "each feature is present or not whatever the others are."
            )
        if (count <= 1).all():
            raise Mistake(
                "No row has more than one feature. Features come independently, so that some come together."
            )
        if (count > 0).all() and expected * len(present) > 40:
            raise Mistake("No row is empty. Where no feature happens to be present a row is all 0.")


def check_batch_of_one(
    check: Check, full: Handle, method: str, features: int, *args: int, pairs: bool = False
) -> None:
    """Check a single element, for a model whose features (or one of each pair) are always present."""
    for _ in range(3):
        instances = len(check.tensor(check.learner.get(full, "feature_probability")))
        x = drawn_batch(check, full, method, (1, instances, features), 1, *args)
        present = (x != 0).unflatten(-1, (-1, 2)).any(-1) if pairs else x != 0
        if present.all():
            break
    check.holds(
        bool(present.all()),
        "right for a batch of one",
        "In a batch of one a feature is missing that is always present. Is an element of the batch left empty?",
    )


def check_second_batch(check: Check, first: Tensor, second: Tensor) -> None:
    check.holds(
        not torch.equal(first, second),
        "a new batch is drawn at each call",
        "Two calls return the very same batch. Is a seed set inside your function, or a batch kept?",
    )
    check_batches_are_independent(check, first != 0, second != 0, "presence")
    check_batches_are_independent(check, first > 0, second > 0, "signs")
    check_batches_are_independent(check, first, second, "values")


def wrong_shares(p: Tensor) -> dict[str, Tensor]:
    ones = torch.ones_like(p)
    return {
        "the probability is inverted: a feature is present with 1 - p": 1 - p,
        "every feature is present: the probability is not used": ones,
        "a fixed probability of one half is used": ones / 2,
        "all features of an instance have the probability of feature 0": p[:, :1] * ones,
        "all instances have the probabilities of instance 0": p[:1] * ones,
        "all features have the probability of feature 0 in instance 0": p[0, 0] * ones,
        "the probability is averaged over features": p.mean(1, keepdim=True) * ones,
        "the probability is averaged over instances": p.mean(0) * ones,
        "the probability is averaged over instances and features": p.mean() * ones,
        "the probability is applied twice (p times p)": p**2,
        "the root of the probability is used": p.sqrt(),
        "the probability is halved": p / 2,
        "they are drawn twice, and present where either draw says so": 2 * p - p**2,
    }


def rarely(condition: Tensor) -> bool:
    """False of all but a handful: a random value may be exactly 0, and look like an absent feature."""
    return int(condition.sum()) <= 4


def share_of(condition: Tensor) -> float:
    return condition.double().mean().item()


def share_text(condition: Tensor) -> str:
    return f"{100 * share_of(condition):.0f} %"


def range_text(values: Tensor) -> list[str]:
    return [f"your values range from {values.min():.3g} to {values.max():.3g}"]
