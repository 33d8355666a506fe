"""What the checks of chapter 1 share: toy models with given weights, and samples that are drawn from them."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import get_exercise
from coursekit.checking.claims import Check, Mistake, agree, variations
from coursekit.checking.door import Handle
from coursekit.checking.general_mistakes import mistakes_in_inputs
from coursekit.checking.pictures import side_by_side
from part_utils.toy_model import ToyModelConfig

AXES = "batch instances features"


DRAWS = 10_000


# Which matrix each instance uses. The first entry of each choice is what is right.
WEIGHTS = {
    "": lambda W: W,
    "the matrix of instance 0 is used for every instance": lambda W: W[:1].expand_as(W),
    "the instances are mixed (each vector meets the sum of all matrices)": lambda W: W.sum(0).expand_as(W),
    "the matrices of all instances are averaged": lambda W: W.mean(0).expand_as(W),
    "the columns of the matrix are brought to unit length": lambda W: W / W.norm(dim=1, keepdim=True),
}


BIAS = {
    "": "added",
    "`b_final` is left out": "omitted",
    "`b_final` is subtracted instead of added": "subtracted",
    "`b_final` is added after the ReLU instead of before it": "after",
    "the bias of instance 0 is used for every instance": "first",
}


LAST_ACTIVATION = {
    "": torch.relu,
    "the ReLU at the end is missing": lambda x: x,
    "the absolute value is taken at the end instead of a ReLU": torch.abs,
    "a sigmoid is applied at the end instead of a ReLU": torch.sigmoid,
    "a GELU is applied at the end instead of a ReLU": torch.nn.functional.gelu,
    "a softplus is applied at the end instead of a ReLU": torch.nn.functional.softplus,
    "a leaky ReLU is applied at the end instead of a ReLU": torch.nn.functional.leaky_relu,
    "an ELU is applied at the end instead of a ReLU": torch.nn.functional.elu,
    "a SiLU is applied at the end instead of a ReLU": torch.nn.functional.silu,
    "a tanh is applied at the end instead of a ReLU": torch.tanh,
    "a ReLU6 is applied at the end, which cuts off what is above 6": torch.nn.functional.relu6,
    "the values are cut down to lie between 0 and 1 at the end; a ReLU has no upper limit": lambda x: x.clamp(
        0, 1
    ),
}


# What happens on a hidden layer that should have a ReLU.
HIDDEN = {
    "": torch.relu,
    "the ReLU on the hidden layer is missing": lambda h: h,
    "the absolute value is taken on the hidden layer instead of a ReLU": torch.abs,
    "a GELU is applied on the hidden layer instead of a ReLU": torch.nn.functional.gelu,
    "a sigmoid is applied on the hidden layer instead of a ReLU": torch.sigmoid,
    "a tanh is applied on the hidden layer instead of a ReLU": torch.tanh,
    "a softplus is applied on the hidden layer instead of a ReLU": torch.nn.functional.softplus,
    "a leaky ReLU is applied on the hidden layer instead of a ReLU": torch.nn.functional.leaky_relu,
    "an ELU is applied on the hidden layer instead of a ReLU": torch.nn.functional.elu,
    "a SiLU is applied on the hidden layer instead of a ReLU": torch.nn.functional.silu,
    "the hidden layer is squared after its ReLU": lambda h: h.relu() ** 2,
    "the ReLU on the hidden layer has the wrong sign: it keeps what is negative": lambda h: (-h).relu(),
    "a ReLU6 is applied on the hidden layer, which cuts off what is above 6": torch.nn.functional.relu6,
    "the hidden layer is cut down to lie between 0 and 1; a ReLU has no upper limit": lambda h: h.clamp(0, 1),
}


# What happens on a linear one.
LINEAR = {
    "": lambda h: h,
    "a ReLU is applied to the hidden layer, which has none in this model": torch.relu,
    "the hidden layer is divided by the root of its size": lambda h: h / h.shape[-1] ** 0.5,
    "the hidden layer is divided by its size": lambda h: h / h.shape[-1],
    "the hidden layer is brought to unit length": lambda h: h / h.norm(dim=-1, keepdim=True).clamp_min(1e-12),
}


def check_output(
    check: Check,
    model: Handle,
    x: Tensor,
    W_in: Tensor,
    W_out: Tensor,
    b: Tensor,
    hidden_relu: bool,
    known: dict | None = None,
    what: str = "the result",
) -> None:
    """Check the output of a toy model, with or without a ReLU on the hidden layer, in the given cases."""
    _, instances, features = x.shape
    hidden_size = W_in.shape[1]

    def output(weights, bias, last, middle) -> Tensor:  # type: ignore[no-untyped-def]
        h = torch.einsum("bif,ihf->bih", x, weights(W_in))
        out = torch.einsum("bih,ifh->bif", middle(h), weights(W_out))
        shift = {"added": b, "subtracted": -b, "first": b[:1].expand_as(b)}.get(bias, torch.zeros_like(b))
        return last(out + shift) + (b if bias == "after" else 0)

    middle = HIDDEN if hidden_relu else LINEAR
    expected = output(WEIGHTS[""], "added", torch.relu, middle[""])
    h = torch.einsum("bif,ihf->bih", x, W_in)

    def from_inputs(features: Tensor, W_in: Tensor, W_out: Tensor, b_final: Tensor) -> Tensor:
        hidden = torch.einsum("bif,ihf->bih", features, W_in)
        out = torch.einsum("bih,ifh->bif", hidden.relu() if hidden_relu else hidden, W_out)
        return (out + b_final).relu()

    mistakes = known or {}
    mistakes |= variations(output, WEIGHTS, BIAS, LAST_ACTIVATION, middle)
    mistakes |= {
        "`b_final` is added to the input as well": lambda: from_inputs(x + b, W_in, W_out, b),
        "the input is added to the output (a skip connection)": lambda: from_inputs(x, W_in, W_out, b + x),
        "`b_final` is multiplied instead of added": lambda: (
            output(WEIGHTS[""], "omitted", LAST_ACTIVATION["the ReLU at the end is missing"], middle[""]) * b
        ).relu(),
        "the way back is the pseudo-inverse of the way in": lambda: from_inputs(
            x, W_in, torch.linalg.pinv(W_in), b
        ),
        "only a feature's own direction counts: what it gets from other features is lost": lambda: torch.relu(
            x * (W_in * W_out.mT).sum(1) + b
        ),
        "the ReLU is applied to the matrix instead of the hidden layer": (
            lambda: torch.relu(
                torch.einsum("bih,ifh->bif", torch.einsum("bif,ihf->bih", x, W_in.relu()), W_out) + b
            )
        ),
    }
    inputs = {"features": (x, AXES), "b_final": (b, "instances features")}
    misread = mistakes_in_inputs(lambda **changed: from_inputs(W_in=W_in, W_out=W_out, **changed), inputs)
    if agree(W_out, W_in.mT):
        misread |= mistakes_in_inputs(
            lambda W: from_inputs(x, W, W.mT, b), {"W": (W_in, "instances hidden features")}
        )
    else:
        misread |= mistakes_in_inputs(
            lambda W1, W2: from_inputs(x, W1, W2, b),
            {"W1": (W_in, "instances hidden features"), "W2": (W_out, "instances features hidden")},
        )
    mistakes |= {
        "only the hidden layer is returned: the way back to the features is missing": h,
        "only the hidden layer is returned, after a ReLU: the way back to the features is missing": h.relu(),
        "the axes are left in the order `instances batch features`": expected.transpose(0, 1),
        "the axis of the instances is summed over": torch.einsum("bif,ihf,igh->bg", x, W_in, W_out),
    }
    if agree(W_out, W_in.mT):
        reshaped = W_in.reshape(instances, features, hidden_size)
        mistakes["`W` is reshaped instead of transposed for the way back"] = torch.relu(
            torch.einsum("bih,ifh->bif", h.relu() if hidden_relu else h, reshaped) + b
        )
    if len(x) == 1:
        claim = "right for a batch of one, and for other sizes"
    elif (x != 0).all():
        claim = "right where every feature is present, with a bias and two or more instances"
    else:
        claim = "right for sparse features"
    check.equal(
        check.method(model, "forward", x), expected, AXES, claim, mistakes, what=what, misread=misread
    )


def check_output_gradients(check: Check, hidden_relu: bool) -> None:
    """Check that gradients reach the input and all parameters of a model with one matrix W."""
    x, W, b = check.uniform(7, 3, 5), check.normal(3, 2, 5), check.normal(3, 5)
    model = make_model(check, ToyModelConfig(n_instances=3, n_features=5, n_hidden=2), W=W, b_final=b)
    cotangent = check.normal(7, 3, 5)
    of_W, of_b, of_x = output_gradients(cotangent, x, W, W.mT, b, hidden_relu, tied=True)
    check.gradient(
        (model, "forward"),
        x,
        wrt={"W": of_W, "b_final": of_b, 0: of_x},
        axes="",
        claim="it can be trained: gradients reach `W`, `b_final` and the input",
        cotangent=cotangent,
    )


def output_gradients(
    cotangent: Tensor, x: Tensor, W_in: Tensor, W_out: Tensor, b: Tensor, hidden_relu: bool, tied: bool
) -> list[Tensor]:
    """Return gradients of the output, weighted with the cotangent, with respect to the matrices, the bias and x.

    Sets the cotangent to 0, in place, where rounding could decide on which side of a ReLU's corner a value is.
    """
    x, W_in, b = (tensor.clone().requires_grad_() for tensor in (x, W_in, b))
    W_out = W_in.mT if tied else W_out.clone().requires_grad_()
    h = torch.einsum("bif,ihf->bih", x, W_in)
    out = torch.einsum("bih,ifh->bif", h.relu() if hidden_relu else h, W_out) + b
    cotangent[(out.abs() < 1e-3) | (h.abs() < 1e-3).any(dim=2, keepdim=True)] = 0
    sources = [W_in, b, x] if tied else [W_in, W_out, b, x]
    return list(torch.autograd.grad((out.relu() * cotangent).sum(), sources))


def weighted_loss(out: Tensor, target: Tensor, importance: Tensor) -> Tensor:
    return (importance * (out - target) ** 2).mean(dim=(0, 2)).sum()


def wrong_losses(out: Tensor, target: Tensor, importance: Tensor) -> dict:
    """Return what comes out of the known mistakes in a loss, alone and together."""
    batch, instances, features = out.shape

    def loss(weights, error, over_batch, over_features, over_instances) -> Tensor:  # type: ignore[no-untyped-def]
        return (weights * error(out, target)).sum() / over_batch / over_features / over_instances

    wrong = variations(
        loss,
        {
            "": importance,
            "the importance is left out": torch.ones_like(importance),
            "the importance is squared together with the error": importance**2,
            "the importances of instance 0 are used for every instance": importance[:1].expand_as(importance),
            "the importance of feature 0 is used for every feature": importance[:, :1].expand_as(importance),
            "the importance is averaged over features": importance.mean(1, keepdim=True).expand_as(
                importance
            ),
            "the importance is averaged over instances": importance.mean(0).expand_as(importance),
            "the error is divided by the importance": 1 / importance,
            "the root of the importance is taken": importance.sqrt(),
            "the importance is averaged over everything": importance.mean().expand_as(importance),
        },
        {
            "": lambda a, b: (a - b) ** 2,
            "the error is not squared": lambda a, b: a - b,
            "the error is not squared (and its sign is turned round)": lambda a, b: b - a,
            "the absolute error is taken instead of the squared one": lambda a, b: (a - b).abs(),
            "the squares are subtracted, instead of squaring the difference": lambda a, b: a**2 - b**2,
            "the error is halved": lambda a, b: (a - b) ** 2 / 2,
            "only features that are present in `batch` count": lambda a, b: (a - b) ** 2 * (b != 0),
            "only features that are absent from `batch` count": lambda a, b: (a - b) ** 2 * (b == 0),
            "both are squared before they are compared": lambda a, b: (a**2 - b**2) ** 2,
            "`smooth_l1_loss` is taken, which is no square for large errors": (
                lambda a, b: torch.nn.functional.smooth_l1_loss(a, b, reduction="none")
            ),
            "a Huber loss is taken, which is no square for large errors": (
                lambda a, b: 2 * torch.nn.functional.smooth_l1_loss(a, b, reduction="none")
            ),
        },
        {
            "": batch,
            "the batch is summed over instead of averaged": 1,
            "the sum over the batch is divided by one less than its size": batch - 1,
        },
        {"": features, "the features are summed over instead of averaged": 1},
        {"": 1, "the instances are averaged instead of summed": instances},
    )
    weighted = importance * (out - target) ** 2
    wrong |= {
        "the losses of the instances are not added up at the end": weighted.mean(dim=(0, 2)),
        "nothing is reduced": weighted,
        "the batch is not reduced": weighted.mean(dim=2).sum(dim=1),
        "the root of the loss is taken": weighted.mean(dim=(0, 2)).sum().sqrt(),
        "the root of each instance's loss is taken": weighted.mean(dim=(0, 2)).sqrt().sum(),
        "the importance is multiplied with `out`, not with the error": (
            ((importance * out - target) ** 2).mean(dim=(0, 2)).sum()
        ),
        "the importance is multiplied with `batch`, not with the error": (
            ((out - importance * target) ** 2).mean(dim=(0, 2)).sum()
        ),
        "the importance is added to the error instead of multiplied": (
            (importance + (out - target) ** 2).mean(dim=(0, 2)).sum()
        ),
        "only instance 0 counts": weighted[:, 0].mean(),
        "only the last instance counts": weighted[:, -1].mean(),
        "only the first input of the batch counts": weighted[0].mean(dim=1).sum(),
        "only the largest error of the features counts": weighted.amax(dim=2).mean(dim=0).sum(),
        "it is divided by the sum of the importances": (
            weighted.mean(dim=(0, 2)) / importance.mean(dim=1)
        ).sum(),
    }
    return wrong


def gram_matrix(W: Tensor) -> Tensor:
    return torch.einsum("ihf,ihg->ifg", W, W)


def drawn_pairs(
    check: Check, cfg: ToyModelConfig, method: str, p: Tensor, pairs: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw features in pairs: two batches with the probabilities p, and between them one with the highest possible."""
    shape = (DRAWS, cfg.n_instances, 2 * pairs)
    model = make_model(check, cfg, p[:, None])
    # A few first: axes that are mixed up would make a large batch far too large.
    drawn_batch(check, model, method, (7, *shape[1:]), 7, pairs)
    x = drawn_batch(check, model, method, shape, DRAWS, pairs)
    highest = 1.0 if cfg.n_correlated_pairs else 0.5
    full = make_model(check, cfg, torch.full((cfg.n_instances, 1), highest))
    everything = drawn_batch(check, full, method, (DRAWS // 5, *shape[1:]), DRAWS // 5, pairs)
    return x, everything, drawn_batch(check, model, method, shape, DRAWS, pairs)


def check_pair_shares(check: Check, present: Tensor, spread: Tensor, mistakes: dict[str, Tensor]) -> None:
    check.shares(
        present,
        spread,
        "instances features",
        "each single feature is present as often as its instance's probability says",
        mistakes | wrong_shares(spread),
    )


# What several exercises need


def random_columns(check: Check, instances: int, hidden: int, features: int) -> Tensor:
    """Random weights without a column so short that a tiny number added to its length would show."""
    directions = torch.nn.functional.normalize(check.normal(instances, hidden, features), dim=1)
    return directions * check.uniform(instances, 1, features, low=0.3, high=2.0)


def make_model(
    check: Check,
    cfg: ToyModelConfig,
    feature_probability: Tensor | None = None,
    importance: Tensor | None = None,
    **parameters: Tensor,
) -> Handle:
    """Return a model of the learner's class, with these values for its parameters."""
    model = check.create(cfg, feature_probability=feature_probability, importance=importance)
    check.learner.set(model, **parameters)
    return model


def drawn_batch(check: Check, model: Handle, method: str, shape: tuple[int, int, int], *args: int) -> Tensor:
    """Return features drawn by the learner's sampler: a tensor of the right shape without NaN."""
    x = check.tensor(check.method(model, method, *args))
    batch, instances, features = shape
    if x.shape != shape:
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
    if len(x) > 2 and ((x[1:] >= x[:-1]).all() or (x[1:] <= x[:-1]).all()):
        raise Mistake("The batch is sorted by value. Its elements should come as they are drawn.")
    present = x != 0
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
    below = all((x[:, i, f] <= p[i, f] + 1e-6).all() for i in range(instances) for f in range(features))
    values = [x[:, i, f][x[:, i, f] != 0] for i in range(instances) for f in range(features)]
    above = all((v >= 1 - q - 1e-6).all() for v, q in zip(values, p.flatten(), strict=True))
    if lowest == 0 and (below or above):
        reach = "above its probability p" if below else "below 1 - p"
        raise Mistake(
            f"No value of a feature is ever {reach}. Either one draw decides both whether a feature is present and how "
            "large it is, or the value is multiplied with the probability.",
            [f"present values should lie {spread}, whatever the probability"],
        )
    for v in values:
        check.uniform_on_unit_interval(
            v, f"present values lie {spread}", f"Present values do not lie {spread}.", low=lowest
        )


def check_second_batch(check: Check, first: Tensor, second: Tensor) -> None:
    check.holds(
        not torch.equal(first, second),
        "a new batch is drawn at each call",
        "Two calls return the very same batch. Is a seed set inside your function?",
    )


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
