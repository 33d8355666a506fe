"""What the checks of chapter 1 share: toy models with given weights, what they compute, and their losses."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.checking.claims import Check, agree, variations
from coursekit.checking.door import Handle
from coursekit.checking.general_mistakes import mistakes_in_inputs
from part_utils.toy_model import ToyModelConfig

AXES = "batch instances features"


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
