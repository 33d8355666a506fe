"""What the checks of chapter 1 share: toy models with given weights, what they compute, and their losses."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.checking.claims import Check, Mistakes, agree, variations
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
    "the ReLU on the hidden layer has the wrong side: it keeps what is negative, with its sign": lambda h: (
        -(-h).relu()
    ),
    "it only counts which neurons fire (0 or 1), not how much": lambda h: (h > 0).to(h.dtype),
    "only the neuron that fires most is kept": lambda h: h.relu() * (h == h.amax(-1, keepdim=True)),
    "a softmax is taken over the hidden layer instead of a ReLU": lambda h: h.softmax(-1),
    "the hidden layer is brought to unit length after its ReLU": lambda h: (
        h.relu() / h.relu().norm(dim=-1, keepdim=True).clamp_min(1e-12)
    ),
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


def inputs(check: Check, batch: int, instances: int, features: int) -> tuple[Tensor, ...]:
    """Return inputs as a toy model meets them, and others of both signs, as in "Computing in superposition"."""
    shape = (batch, instances, features)
    return check.normal(*shape), check.uniform(*shape), check.sparse(*shape)


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

    def from_inputs(features, W_in, W_out, b_final, inside=middle[""]) -> Tensor:  # type: ignore[no-untyped-def]
        hidden = torch.einsum("bif,ihf->bih", features, W_in)
        return (torch.einsum("bih,ifh->bif", inside(hidden), W_out) + b_final).relu()

    mistakes = known or {}
    mistakes |= variations(output, WEIGHTS, BIAS, LAST_ACTIVATION, middle)
    mistakes |= {
        "`b_final` is added to the input as well": lambda: from_inputs(x + b, W_in, W_out, b),
        "`b_final` is added to the input instead of the output": lambda: from_inputs(
            x + b, W_in, W_out, 0 * b
        ),
        "`b_final` is subtracted from the input as well, as the bias of an autoencoder is": lambda: (
            from_inputs(x - b, W_in, W_out, b)
        ),
        "`b_final` is subtracted from the input": lambda: from_inputs(x - b, W_in, W_out, 0 * b),
        "`b_final` is added before the ReLU and once more after it": [
            lambda: expected + b,
            lambda: (expected + b).relu(),
        ],
        "batch and instances are exchanged with `reshape`, there and back; `transpose` moves axes": lambda: (
            from_inputs(x.reshape(instances, len(x), features).transpose(0, 1), W_in, W_out, b)
            .transpose(0, 1)
            .reshape(x.shape)
        ),
        "a ReLU is applied before `b_final` is added, and another one after it": lambda: (
            from_inputs(x, W_in, W_out, 0 * b) + b
        ).relu(),
        "the input goes through the bottleneck twice": lambda: from_inputs(
            torch.einsum("bif,ihf,igh->big", x, W_in, W_out), W_in, W_out, b
        ),
        "the hidden layers of all instances are added up": lambda: torch.relu(
            torch.einsum("bih,ifh->bif", middle[""](h).sum(1, keepdim=True).expand_as(h), W_out) + b
        ),
        "an output is kept only where the feature is present in the input": lambda: expected * (x > 0),
        "an output is set to 0 where the feature is absent from the input": lambda: expected * (x != 0),
        "the input is added to the output (a skip connection)": lambda: from_inputs(x, W_in, W_out, b + x),
        "`b_final` is multiplied instead of added": lambda: (
            output(WEIGHTS[""], "omitted", LAST_ACTIVATION["the ReLU at the end is missing"], middle[""]) * b
        ).relu(),
        "the matrix of instance 0 is used for every instance on the way out": lambda: from_inputs(
            x, W_in, W_out[:1].expand_as(W_out), b
        ),
        "the way back is the pseudo-inverse of the way in": lambda: from_inputs(
            x, W_in, torch.linalg.pinv(W_in), b
        ),
        "only a feature's own direction counts: what it gets from other features is lost": lambda: torch.relu(
            x * (W_in * W_out.mT).sum(1) + b
        ),
    }
    if hidden_relu:
        mistakes |= {
            "the ReLU is applied to the input instead of the hidden layer": lambda: from_inputs(
                x.relu(), W_in, W_out, b, lambda h: h
            ),
            "the ReLU is applied to the products with the matrix, before they are added up": lambda: (
                torch.relu(torch.einsum("bih,ifh->bif", (x[:, :, None] * W_in).relu().sum(-1), W_out) + b)
            ),
            "a ReLU is applied to the matrix on the way in": lambda: from_inputs(x, W_in.relu(), W_out, b),
            "the ReLU is applied to the matrix instead of the hidden layer": [
                lambda: from_inputs(x, W_in.relu(), W_out, b, lambda h: h),
                lambda: from_inputs(x, W_in.relu(), W_out.relu(), b, lambda h: h),
            ],
            "the hidden layer is normalized before its ReLU": lambda: from_inputs(
                x, W_in, W_out, b, lambda h: torch.layer_norm(h, h.shape[-1:]).relu()
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
    elif (x < 0).any():
        claim = "right for inputs of both signs"
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
    of_in, of_out, *_ = output_gradients(cotangent, x, W, W.mT, b, hidden_relu, tied=False)
    check.gradient(
        (model, "forward"),
        x,
        wrt={"W": of_W, "b_final": of_b, 0: of_x},
        axes="",
        claim="it can be trained: gradients reach `W`, `b_final` and the input",
        cotangent=cotangent,
        mistakes={
            "`W` is detached on the way in, or the hidden layer is": of_out.mT,
            "`W` is detached on the way out": of_in,
        },
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

    squared = (out - target) ** 2

    def loss(weights, error, over_batch, over_features, over_instances) -> Tensor:  # type: ignore[no-untyped-def]
        return (weights * error(out, target)).sum() / over_batch / over_features / over_instances

    wrong: dict = {
        "the squared errors are averaged before they are weighted with the importance": [
            (squared.mean() * importance).sum(),
            (squared.mean(dim=(0, 2))[:, None] * importance).sum(),
        ],
        "it is divided by 5 features, whatever their number": (importance * squared).sum() / batch / 5,
    }
    wrong |= variations(
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
        "the errors are averaged over the batch before they are squared": (
            (importance * (out - target).mean(dim=0) ** 2).mean(dim=1).sum()
        ),
        "the errors of a row are added up before they are squared": [
            error.sum(dim=2).pow(2).mean(dim=0).sum() / divisor
            for error in (importance * (out - target), out - target)
            for divisor in (1, features)
        ],
        "the variance of the error is taken: its mean over the batch is subtracted first": [
            (importance * (out - target).var(dim=0, unbiased=unbiased)).mean(dim=1).sum()
            for unbiased in (False, True)
        ],
        "only errors where `out` is too large count": (
            (importance * (out - target).relu() ** 2).mean(dim=(0, 2)).sum()
        ),
        "only errors where `out` is too small count": (
            (importance * (target - out).relu() ** 2).mean(dim=(0, 2)).sum()
        ),
        "it is divided by the mean square of the inputs: a relative error": (
            weighted.mean(dim=(0, 2)).sum() / target.square().mean()
        ),
        "it is divided by the variance of the inputs: a relative error": [
            weighted.mean(dim=(0, 2)).sum() / target.var(),
            weighted.sum() / target.var(),
        ],
        "it is divided by a batch size of 1024, whatever the batch": weighted.sum() / 1024 / features,
        "it is divided by the sum of the importances": (
            weighted.mean(dim=(0, 2)) / importance.mean(dim=1)
        ).sum(),
    }
    return wrong


def check_loss(
    check: Check,
    model: Handle,
    out: Tensor,
    x: Tensor,
    target: Tensor,
    importance: Tensor,
    claim: str,
    known: Mistakes | None = None,
) -> None:
    """Check the loss of an output, for a model whose output should have been `target` for the input x."""
    perfect = check.tensor(check.method(model, "calculate_loss", target, x), "the loss")
    loss = check.method(model, "calculate_loss", out, x)

    def mistakes() -> Mistakes:
        of_the_model = check.method(model, "forward", x)
        rest = {
            "`out` is not used: the model is run once more": lambda: weighted_loss(
                of_the_model, target, importance
            )
        }
        if perfect.numel() == 1:
            rest["something else is added to it: it is not 0 even for an output that is exactly right"] = (
                lambda: perfect.reshape(()) + weighted_loss(out, target, importance)
            )
        return {**(known or {}), **wrong_losses(out, target, importance), **rest}

    misread = mistakes_in_inputs(
        lambda **changed: weighted_loss(**{"target": target} | changed),
        {"out": (out, AXES), "importance": (importance, "instances features")},
    )
    # The loss is proportional to the importance: a factor is no mistake in that alone.
    for phrase in (
        "`importance` counts twice",
        "`importance` is halved",
        "the sign of `importance` is turned round",
    ):
        misread.pop(phrase)
    check.equal(
        loss,
        weighted_loss(out, target, importance),
        "",
        claim,
        mistakes,
        rtol=2e-5,
        atol=1e-6,
        what="the loss",
        misread=misread,
    )


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
