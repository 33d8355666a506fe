"""Chapter 1: toy models of superposition."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise, get_exercise
from coursekit.checking.claims import Check, Mistake, agree, variations
from coursekit.checking.door import Handle, LearnerError
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
}


# Exercise 1.1


@exercise(
    id="1.1",
    reference="toy_model.ToyModel.forward",
    title="The forward pass of the toy model",
    statement="""
The toy model squeezes `features` through a hidden layer that is too small for them, and reads them out again with
the same matrix:

$$\\hat x = \\mathrm{ReLU}(W^T W x + b)$$

The hidden layer has no bias and no activation function: whatever superposition we find there is not forced by
them. The ReLU at the end is what makes it pay: it can silence the small wrong signals that features with similar
directions cause in one another. Write `forward`; each instance uses its own `self.W` and `self.b_final`.
""",
    hints=(
        "Do it in two steps: first the hidden layer, as in exercise 0.1, then back from the hidden layer to the "
        "features.",
        "Both steps use `self.W`, with its axes `instances hidden features`. The first sums over `features`, the "
        "second over `hidden`. `instances` is never summed over.",
        "The second pattern is `batch instances hidden, instances hidden features -> batch instances features`. "
        "`self.b_final` has the axes `instances features`, so it can be added as it is, before the ReLU.",
    ),
    difficulty=2,
    importance=5,
    minutes=10,
    points=2,
)
def toy_model_forward(check: Check) -> None:
    for batch, instances, hidden, features in ((7, 3, 2, 5), (1, 2, 3, 11)):
        cfg = ToyModelConfig(instances, features, hidden)
        W, b = 0.8 * check.normal(instances, hidden, features), check.normal(instances, features)
        model = _model(check, cfg, W=W, b_final=b)
        for x in (check.uniform(batch, instances, features), check.sparse(batch, instances, features)):
            _check_output(check, model, x, W, W.mT, b, hidden_relu=False)
    _check_output_gradients(check, hidden_relu=False)


def _check_output(
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
    """The output of a toy model, with or without a ReLU on the hidden layer, in the given cases."""
    _, instances, features = x.shape
    hidden_size = W_in.shape[1]

    def output(weights, bias, last, middle) -> Tensor:  # type: ignore[no-untyped-def]
        h = torch.einsum("bif,ihf->bih", x, weights(W_in))
        out = torch.einsum("bih,ifh->bif", h.relu() if middle else h, weights(W_out))
        shift = {"added": b, "subtracted": -b, "first": b[:1].expand_as(b)}.get(bias, torch.zeros_like(b))
        return last(out + shift) + (b if bias == "after" else 0)

    middle = {
        "": hidden_relu,
        (
            "the ReLU on the hidden layer is missing"
            if hidden_relu
            else "a ReLU is applied to the hidden layer, which has none in this model"
        ): not hidden_relu,
    }
    expected = output(WEIGHTS[""], "added", torch.relu, hidden_relu)
    h = torch.einsum("bif,ihf->bih", x, W_in)
    mistakes = known or {}
    mistakes |= variations(output, WEIGHTS, BIAS, LAST_ACTIVATION, middle)
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
    check.equal(check.method(model, "forward", x), expected, AXES, claim, mistakes, what=what)


def _check_output_gradients(check: Check, hidden_relu: bool) -> None:
    """Gradients reach the input and all parameters of a model with one matrix W."""
    x, W, b = check.uniform(7, 3, 5), check.normal(3, 2, 5), check.normal(3, 5)
    model = _model(check, ToyModelConfig(n_instances=3, n_features=5, n_hidden=2), W=W, b_final=b)
    cotangent = check.normal(7, 3, 5)
    of_W, of_b, of_x = _output_gradients(cotangent, x, W, W.mT, b, hidden_relu, tied=True)
    check.gradient(
        (model, "forward"),
        x,
        wrt={"W": of_W, "b_final": of_b, 0: of_x},
        axes="",
        claim="it can be trained: gradients reach `W`, `b_final` and the input",
        cotangent=cotangent,
    )


def _output_gradients(
    cotangent: Tensor, x: Tensor, W_in: Tensor, W_out: Tensor, b: Tensor, hidden_relu: bool, tied: bool
) -> list[Tensor]:
    """Gradients of the output, weighted with the cotangent, with respect to the matrices, the bias and x.

    Sets the cotangent to 0, in place, where rounding could decide on which side of a ReLU's corner a value is.
    """
    x, W_in, b = (tensor.clone().requires_grad_() for tensor in (x, W_in, b))
    W_out = W_in.mT if tied else W_out.clone().requires_grad_()
    h = torch.einsum("bif,ihf->bih", x, W_in)
    out = torch.einsum("bih,ifh->bif", h.relu() if hidden_relu else h, W_out) + b
    cotangent[(out.abs() < 1e-3) | (h.abs() < 1e-3).any(dim=2, keepdim=True)] = 0
    sources = [W_in, b, x] if tied else [W_in, W_out, b, x]
    return list(torch.autograd.grad((out.relu() * cotangent).sum(), sources))


# Exercise 1.2


@exercise(
    id="1.2",
    reference="toy_model.ToyModel.generate_batch",
    title="Draw sparse features",
    statement="""
Training data for the toy model is made up on the spot. Each feature of each instance is present with a probability
of its own, $p_{i,f}$ = `self.feature_probability[i, f]`; a present feature has a value drawn evenly from
$[0, 1)$, an absent one is 0:

$$x_{b,i,f} = \\begin{cases} u \\sim \\mathrm{Uniform}(0, 1) & \\text{with probability } p_{i,f} \\\\ 0 &
\\text{otherwise} \\end{cases}$$

All of these decisions and values are independent of one another: between elements of the batch, between instances
and between features.
""",
    hints=(
        "Two random questions are asked of every feature: is it there, and if so, how large is it? The answer to one "
        "must not tell anything about the other.",
        "`torch.rand(shape)` is smaller than `p` with probability `p`. Draw a full tensor of the shape "
        "`(batch_size, n_instances, n_features)` for each of the two questions.",
        "Compare one draw with `self.feature_probability`, which broadcasts over the batch, and use "
        "`torch.where(present, values, 0.0)` with the other.",
    ),
    difficulty=2,
    importance=4,
    minutes=10,
    points=2,
)
def toy_model_generate_batch(check: Check) -> None:
    instances, features = 3, 5
    cfg = ToyModelConfig(instances, features)
    # All probabilities differ, so that none can stand in for another.
    p = torch.linspace(0.1, 0.8, instances * features)[check.permutation(instances * features)]
    p = p.reshape(instances, features)
    model = _model(check, cfg, p)
    full = _model(check, cfg, torch.ones(instances, features))

    x = _drawn(check, model, "generate_batch", (DRAWS, instances, features), DRAWS)
    present = x != 0
    _check_values_are_plausible(check, x)
    _check_batch_is_not_repeated(check, x)
    check.shares(
        present,
        p,
        "instances features",
        "each feature of each instance is present as often as its probability says",
        _wrong_shares(p),
    )
    _check_independence(check, present, "presence", "features come and go independently of one another")
    _check_values_are_even(check, x, p)
    everything = _drawn(check, full, "generate_batch", (DRAWS // 5, instances, features), DRAWS // 5)
    _check_repeated_values(check, everything)
    _check_independence(check, everything, "value", "their values are independent of one another")
    _check_extreme(check, everything, 1)
    nothing = _model(check, cfg, torch.zeros(instances, features))
    _check_extreme(check, _drawn(check, nothing, "generate_batch", (101, instances, features), 101), 0)
    _check_second_batch(check, x, _drawn(check, model, "generate_batch", (DRAWS, instances, features), DRAWS))


# Exercise 1.3


@exercise(
    id="1.3",
    reference="toy_model.ToyModel.calculate_loss",
    title="The loss, weighted by importance",
    statement="""
The error in each feature is squared and weighted with the feature's importance $I_{i,f}$. The mean is taken over
the batch and over the features; the instances are *summed*:

$$L = \\sum_i \\frac{1}{B F} \\sum_{b, f} I_{i,f} \\, (x_{b,i,f} - \\hat x_{b,i,f})^2$$

Each instance is a model of its own. In a sum its gradient is the same however many others are trained beside it;
in a mean every model would take smaller steps, only because it has neighbors.
""",
    hints=(
        "Start with a tensor of weighted squared errors, which still has all three axes. What happens to each of them?",
        "`self.importance` has the axes `instances features`, so it broadcasts over the batch. It multiplies the error "
        "*after* squaring.",
        "Reduce in two steps: the mean over `batch` and `features` leaves one loss for each instance; then sum these.",
    ),
    difficulty=2,
    importance=4,
    minutes=10,
    points=2,
)
def toy_model_calculate_loss(check: Check) -> None:
    for batch, instances, features in ((7, 3, 5), (11, 2, 3)):
        importance = check.uniform(instances, features, low=0.2, high=2.0)
        model = _model(check, ToyModelConfig(instances, features), importance=importance)
        out, x = check.uniform(batch, instances, features), check.sparse(batch, instances, features)
        check.equal(
            check.method(model, "calculate_loss", out, x),
            _loss(out, x, importance),
            "",
            f"right for {instances} instances and {features} features of different importance",
            _wrong_losses(out, x, importance),
            rtol=2e-5,
            atol=1e-6,
            what="the loss",
        )
        expected = 2 * importance * (out - x) / (batch * features)
        check.gradient(
            (model, "calculate_loss"),
            out,
            x,
            wrt={0: expected},
            axes=AXES,
            claim="it can be trained: the gradient of the loss is right",
            detached="The loss has no gradient: it is cut off from the model's output (`.detach()`, `.data`, `.item()` "
            "or `torch.no_grad()`), so nothing would be trained.",
        )


def _loss(out: Tensor, target: Tensor, importance: Tensor) -> Tensor:
    return (importance * (out - target) ** 2).mean(dim=(0, 2)).sum()


def _wrong_losses(out: Tensor, target: Tensor, importance: Tensor) -> dict:
    """What comes out of the known mistakes in a loss, alone and together."""
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
        },
        {
            "": lambda a, b: (a - b) ** 2,
            "the error is not squared": lambda a, b: a - b,
            "the error is not squared (and its sign is turned round)": lambda a, b: b - a,
            "the absolute error is taken instead of the squared one": lambda a, b: (a - b).abs(),
            "the squares are subtracted, instead of squaring the difference": lambda a, b: a**2 - b**2,
            "the error is halved": lambda a, b: (a - b) ** 2 / 2,
        },
        {"": batch, "the batch is summed over instead of averaged": 1},
        {"": features, "the features are summed over instead of averaged": 1},
        {"": 1, "the instances are averaged instead of summed": instances},
    )
    weighted = importance * (out - target) ** 2
    wrong |= {
        "the losses of the instances are not added up at the end": weighted.mean(dim=(0, 2)),
        "nothing is reduced": weighted,
        "the batch is not reduced": weighted.mean(dim=2).sum(dim=1),
        "the root of the loss is taken": weighted.mean(dim=(0, 2)).sum().sqrt(),
        "it is divided by the sum of the importances": (
            weighted.mean(dim=(0, 2)) / importance.mean(dim=1)
        ).sum(),
    }
    return wrong


# Exercise 1.4


@exercise(
    id="1.4",
    reference="toy_model.cosine_similarities",
    title="Cosine similarities of features",
    statement="""
How much do two features share? Feature $f$ has the direction $W_{:,f}$, a column of its instance's matrix. The
cosine of the angle between two of them does not depend on how long they are:

$$C_{f,g} = \\frac{W_{:,f} \\cdot W_{:,g}}{|W_{:,f}| \\, |W_{:,g}|}$$

It is $W^T W$ of the columns after they are scaled to length one. A feature that the model ignores has a column of
zeros and no direction; its similarities are 0, and must not become NaN.
""",
    hints=(
        "Make every column one long first. A column is what you get when you fix the instance and the feature: which "
        "axis do you take the norm over?",
        "`W.norm(dim=1, keepdim=True)` has the shape `instances 1 features`, so that `W` can be divided by it.",
        "Keep the length from being 0, for example with `.clamp(min=1e-8)`. Then one `einsum` multiplies the columns "
        "with themselves; the two feature axes need different names, as in `feature_1` and `feature_2`.",
    ),
    difficulty=2,
    importance=4,
    minutes=10,
    points=1,
)
def cosine_similarities(check: Check) -> None:
    for instances, hidden, features in ((3, 2, 5), (2, 7, 3), (2, 3, 3)):
        W = _columns(check, instances, hidden, features)
        check.equal(
            check.call(W),
            _gram(W / W.norm(dim=1, keepdim=True)),
            "instances features features",
            f"right for {instances} instances, {hidden} hidden dimensions and {features} features",
            _wrong_similarities(W),
        )
    W = _columns(check, 2, 3, 5)
    W[0, :, 1] = 0
    W[1, :, 4] = 0
    similarities = check.tensor(check.call(W))
    check.holds(
        not torch.isnan(similarities).any(),
        "a feature of length zero gives no NaN",
        "A feature whose column is zero gives NaN (0 divided by 0). Its similarities should be 0.",
    )
    check.equal(
        similarities,
        _gram(torch.nn.functional.normalize(W, dim=1)),
        "instances features features",
        "and its similarities are 0",
    )


def _gram(W: Tensor) -> Tensor:
    return torch.einsum("ihf,ihg->ifg", W, W)


def _wrong_similarities(W: Tensor) -> dict:
    lengths = W.norm(dim=1, keepdim=True)
    unit = W / lengths
    wrong = {
        "the columns are not scaled to length one: it is `W^T W`": _gram(W),
        "the *rows* of `W` are scaled to length one: the norm is taken over features": _gram(
            W / W.norm(dim=2, keepdim=True)
        ),
        "hidden dimensions are compared instead of features": torch.einsum("ihf,igf->ihg", unit, unit),
        "hidden dimensions are compared instead of features (with rows of length one)": torch.einsum(
            "ihf,igf->ihg", W / W.norm(dim=2, keepdim=True), W / W.norm(dim=2, keepdim=True)
        ),
        "hidden dimensions are compared instead of features, and nothing is scaled": torch.einsum(
            "ihf,igf->ihg", W, W
        ),
        "each instance is divided by the norm of its whole matrix": _gram(
            W / W.norm(dim=(1, 2), keepdim=True)
        ),
        "everything is divided by one norm of all of `W`": _gram(W / W.norm()),
        "the columns are divided by their *squared* length": _gram(W / lengths**2),
        "only one of the two columns is scaled to length one": torch.einsum("ihf,ihg->ifg", unit, W),
        "only one of the two columns is scaled to length one ": torch.einsum("ihf,ihg->ifg", W, unit),
        "the absolute value is taken: opposite directions have -1": _gram(unit).abs(),
        "the similarity is squared": _gram(unit) ** 2,
        "the instances are added up instead of kept apart": _gram(unit).sum(0),
        "instance 0 is used for every instance": _gram(unit[:1]).expand(len(W), -1, -1),
        "the norm is taken over the instances": _gram(W / W.norm(dim=0)),
        "the diagonal is set to 0": _gram(unit) - torch.diag_embed(torch.ones(W.shape[0], W.shape[2])),
        "the columns are divided by the sum of their absolute values": _gram(
            W / W.abs().sum(1, keepdim=True)
        ),
    }
    for epsilon in (0.1, 0.01, 1e-3, 1e-4):
        wrong[f"a number as large as {epsilon:g} is added to the lengths"] = _gram(W / (lengths + epsilon))
    return wrong


# Exercises 1.5 and 1.6


@exercise(
    id="1.5",
    reference="toy_model.ToyModel.generate_correlated_features",
    title="Features that come in pairs",
    statement="""
Real features often come together. Draw pairs of features that are always present together or absent together. Both
still have values of their own, and the pair is present with the probability $p_i$ of its instance,
`self.feature_probability[:, :1]`.

A pair stands side by side in the result: features 0 and 1, features 2 and 3, and so on. Different pairs are
independent of each other.
""",
    hints=(
        "Decide the presence once for each *pair*, but draw a value for each *feature*.",
        "So the draw for presence has the shape `(batch_size, n_instances, n_correlated_pairs)` and the one for values "
        "has twice as many entries along the last axis.",
        '`einops.repeat(present, "batch instances pairs -> batch instances (pairs 2)")` puts the two features of a '
        "pair side by side. `(2 pairs)` would put all first ones before all second ones.",
    ),
    difficulty=3,
    importance=3,
    minutes=10,
    points=2,
)
def generate_correlated_features(check: Check) -> None:
    pairs = 3
    p = torch.tensor([0.15, 0.35, 0.6])[check.permutation(3)]
    cfg = ToyModelConfig(n_instances=3, n_features=11, n_correlated_pairs=pairs)
    x, everything, again = _drawn_pairs(check, cfg, "generate_correlated_features", p, pairs)
    present = x != 0
    _check_values_are_plausible(check, x)
    _check_batch_is_not_repeated(check, x)
    first, second = present[..., 0::2], present[..., 1::2]
    if _rarely(first != second) is False:
        if _rarely(present[..., :pairs] != present[..., pairs:]):
            raise Mistake(
                f"The pairs are laid out as halves: feature 0 is paired with feature {pairs} instead of feature 1."
            )
        if _rarely(first & second):
            raise Mistake(
                "The two features of a pair are never present together; here they always should be."
            )
        raise Mistake(
            "The two features of a pair are not always present together: each has a draw of its own for its presence.",
            [
                f"features 0 and 1: {_share(first[..., 0] != second[..., 0])} of the time only one of them is present"
            ],
        )
    check.holds(True, "the features of a pair, side by side, are always present together", "")
    spread = p[:, None].expand(-1, 2 * pairs)
    either = {"the pair is present where either feature is drawn (p + p - p²)": 2 * spread - spread**2}
    _check_pair_shares(check, present, spread, either)
    _check_independence(check, first, "presence", "different pairs are independent of each other", pairs=True)
    _check_values_are_even(check, x, spread)
    _check_repeated_values(check, everything)
    left, right = everything[..., 0::2], everything[..., 1::2]
    check.holds(
        not _rarely(left != right),
        "the two features of a pair have different values",
        "The two features of a pair share one value. Only their presence is shared; each has a value of its own.",
    )
    _check_independence(check, everything, "value", "all values are independent of one another")
    _check_second_batch(check, x, again)


@exercise(
    id="1.6",
    reference="toy_model.ToyModel.generate_anticorrelated_features",
    title="Features that exclude each other",
    statement="""
Now pairs of features that are never present together, as in "the text is English" and "the text is French".
Both may be absent. Each *single* feature is present with the probability $p_i$ of its instance,
`self.feature_probability[:, :1]`, so one of the two is present with probability $2 p_i$:

$$P(\\text{first}) = P(\\text{second}) = p_i, \\qquad P(\\text{both}) = 0$$

For $p_i > \\tfrac12$ that is impossible. Then raise a `ValueError` that says so, instead of quietly drawing
something else.
""",
    hints=(
        "One random number for each pair is enough to decide between three cases: the first feature, the second, none. "
        "Draw a line from 0 to 1 and mark the three stretches. How long is each?",
        "The first feature has a stretch of length `p`, the second has another one of length `p`, and they must not "
        "overlap. What is left, `1 - 2p`, is for neither.",
        "With `draw = torch.rand(batch_size, n_instances, n_anticorrelated_pairs)`: the first is present where "
        "`draw < p`, the second where `draw > 1 - p`. Stack the two along a new last axis and flatten it into "
        "`(pairs two)`. Values are drawn as before.",
    ),
    difficulty=3,
    importance=3,
    minutes=15,
    points=2,
)
def generate_anticorrelated_features(check: Check) -> None:
    pairs = 3
    # A half is just possible: then one of the two is always present.
    p = torch.tensor([0.12, 0.3, 0.5])[check.permutation(3)]
    cfg = ToyModelConfig(n_instances=3, n_features=11, n_anticorrelated_pairs=pairs)
    x, _, again = _drawn_pairs(check, cfg, "generate_anticorrelated_features", p, pairs)
    present = x != 0
    _check_values_are_plausible(check, x)
    _check_batch_is_not_repeated(check, x)
    first, second = present[..., 0::2], present[..., 1::2]
    if (first & second).any():
        if not (present[..., :pairs] & present[..., pairs:]).any():
            raise Mistake(
                f"The pairs are laid out as halves: feature 0 excludes feature {pairs} instead of feature 1."
            )
        if _rarely(first != second):
            raise Mistake(
                "The two features of a pair are always present together; here they never should be."
            )
        raise Mistake(
            "Both features of a pair are sometimes present. They should never be: decide about both with one draw.",
            [f"features 0 and 1: both present {_share((first & second)[..., 0])} of the time"],
        )
    check.holds(True, "the two features of a pair, side by side, are never present together", "")
    spread = p[:, None].expand(-1, 2 * pairs)
    first_in_pair = torch.arange(2 * pairs) % 2 == 0
    mistakes = {
        "p is the probability of the pair, so that each of its features gets half of it": spread / 2,
        "the features are drawn independently and cases with both are thrown away": spread * (1 - spread),
        "the second feature gets a chance only where the first is absent": torch.where(
            first_in_pair, spread, spread * (1 - spread)
        ),
        "one of the two is always present": torch.where(first_in_pair, spread, 1 - spread),
        "one of the two is always present, and a coin decides which": torch.full_like(spread, 0.5),
        "the second feature of a pair is always absent": torch.where(first_in_pair, spread, 0.0),
        "the first feature of a pair is always absent": torch.where(first_in_pair, 0.0, spread),
    }
    _check_pair_shares(check, present, spread, mistakes)
    _check_independence(check, first, "presence", "different pairs are independent of each other", pairs=True)
    _check_values_are_even(check, x, spread)
    _check_second_batch(check, x, again)
    # Only one instance asks for the impossible.
    impossible = _model(check, cfg, torch.tensor([[0.2], [0.7], [0.1]]))
    wanted = "expected a ValueError that says that the probability may be 0.5 at most"
    try:
        check.method(impossible, "generate_anticorrelated_features", 101, pairs)
    except LearnerError as error:
        check.holds(
            error.kind in ("ValueError", "AssertionError"),
            "a probability above 0.5 raises an error",
            f"With a probability of 0.7 your code raises a {error.kind}; {wanted}.",
        )
        check.holds(
            error.said != "",
            "which says what is wrong",
            f"With a probability of 0.7 your code raises a {error.kind} without a message; {wanted}.",
        )
    else:
        raise Mistake(
            f"With a probability of 0.7 in one instance your code draws something all the same; {wanted}.",
            ["two features that are never together cannot each be there more than half of the time"],
        )


def _drawn_pairs(
    check: Check, cfg: ToyModelConfig, method: str, p: Tensor, pairs: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Features in pairs: two batches with the probabilities p, and between them one with the highest possible."""
    shape = (DRAWS, cfg.n_instances, 2 * pairs)
    model = _model(check, cfg, p[:, None])
    x = _drawn(check, model, method, shape, DRAWS, pairs)
    highest = 1.0 if cfg.n_correlated_pairs else 0.5
    full = _model(check, cfg, torch.full((cfg.n_instances, 1), highest))
    everything = _drawn(check, full, method, (DRAWS // 5, *shape[1:]), DRAWS // 5, pairs)
    return x, everything, _drawn(check, model, method, shape, DRAWS, pairs)


def _check_pair_shares(check: Check, present: Tensor, spread: Tensor, mistakes: dict[str, Tensor]) -> None:
    check.shares(
        present,
        spread,
        "instances features",
        "each single feature is present as often as its instance's probability says",
        mistakes | _wrong_shares(spread),
    )


# Exercises 1.7 and 1.8


@exercise(
    id="1.7",
    reference="toy_model.NeuronModel",
    methods=("forward",),
    title="A hidden layer of neurons",
    statement="""
So far the hidden layer was linear: rotate it, and nothing changes, so no direction in it is special. A ReLU on the
hidden layer changes that. It acts on each hidden dimension separately, and that makes the dimensions neurons: a
*privileged basis*.

$$\\hat x = \\mathrm{ReLU}(W^T \\, \\mathrm{ReLU}(W x) + b)$$

Write its `forward`. Everything else is inherited from `ToyModel`.
""",
    hints=(
        "It is your `forward` of exercise 1.1 with one thing added. Where?",
        "Apply the ReLU to the hidden layer, with its axes `batch instances hidden`, before it goes back through `W`. "
        "The ReLU at the end and the bias stay.",
    ),
    difficulty=1,
    importance=3,
    minutes=5,
    points=1,
)
def neuron_model(check: Check) -> None:
    for batch, instances, hidden, features in ((7, 3, 2, 5), (1, 2, 3, 11)):
        cfg = ToyModelConfig(instances, features, hidden)
        W, b = 0.8 * check.normal(instances, hidden, features), check.normal(instances, features)
        model = _model(check, cfg, W=W, b_final=b)
        for x in (check.uniform(batch, instances, features), check.sparse(batch, instances, features)):
            _check_output(check, model, x, W, W.mT, b, hidden_relu=True)
    _check_output_gradients(check, hidden_relu=True)


@exercise(
    id="1.8",
    reference="toy_model.NeuronComputationModel",
    methods=("forward", "generate_batch", "calculate_loss"),
    title="Computing in superposition",
    statement="""
Can a model *compute* with more features than it has neurons? This one learns the absolute value of each feature:

$$h = \\mathrm{ReLU}(W_1 x), \\qquad \\hat y = \\mathrm{ReLU}(W_2 h + b), \\qquad y = |x|$$

Three methods differ from those of the toy model:

* `forward` uses two separate matrices, `self.W1` and `self.W2`; they are made for you;
* `generate_batch` draws the values of present features evenly from $[-1, 1]$;
* `calculate_loss(out, batch)` compares the output with the absolute value of the input.
""",
    hints=(
        "`forward` is that of exercise 1.7, with `W1` on the way in and `W2` on the way out. The axes of `W2` are "
        "`instances features hidden`.",
        "For `generate_batch`, take a batch of the toy model (`super().generate_batch(batch_size)`) and turn round "
        "the sign of each value with probability one half. Or draw as in exercise 1.2, with "
        "`2 * torch.rand(shape) - 1` for the values.",
        "For `calculate_loss`, the toy model's loss will do, if it is handed the right target: "
        "`super().calculate_loss(out, …)`.",
    ),
    difficulty=3,
    importance=3,
    minutes=15,
    points=2,
)
def neuron_computation_model(check: Check) -> None:
    for batch, instances, hidden, features in ((7, 3, 2, 5), (1, 2, 3, 11)):
        cfg = ToyModelConfig(instances, features, hidden)
        W1, W2 = check.normal(instances, hidden, features), check.normal(instances, features, hidden)
        b = check.normal(instances, features)
        model = _model(check, cfg, W1=W1, W2=W2, b_final=b)
        for x in (
            check.uniform(batch, instances, features, low=-1),
            2 * check.sparse(batch, instances, features) - 1,
        ):
            _check_computation(check, model, x, W1, W2, b)
    _check_computation_gradients(check)
    _check_signed_batch(check)
    _check_loss_of_absolute_values(check)


def _check_computation(check: Check, model: Handle, x: Tensor, W1: Tensor, W2: Tensor, b: Tensor) -> None:
    instances, hidden, features = W1.shape

    def with_matrices(first: Tensor, second: Tensor) -> Tensor:
        h = torch.relu(torch.einsum("bif,ihf->bih", x, first))
        return torch.relu(torch.einsum("bih,ifh->bif", h, second) + b)

    untied = {
        "`W1` is used on the way out as well (tied weights); the way out is `W2`": with_matrices(W1, W1.mT),
        "`W2` is used on the way in as well (tied weights); the way in is `W1`": with_matrices(W2.mT, W2),
        "`W1` and `W2` are exchanged": with_matrices(W2.mT, W1.mT),
        "`W2` is reshaped, as if its axes were `instances hidden features`": with_matrices(
            W1, W2.reshape(instances, hidden, features).mT
        ),
    }
    _check_output(check, model, x, W1, W2, b, hidden_relu=True, known=untied, what="the result of `forward`")


def _check_computation_gradients(check: Check) -> None:
    x, W1, W2, b = (
        check.uniform(7, 3, 5, low=-1),
        check.normal(3, 2, 5),
        check.normal(3, 5, 2),
        check.normal(3, 5),
    )
    cotangent = check.normal(7, 3, 5)
    model = _model(check, ToyModelConfig(3, 5, 2), W1=W1, W2=W2, b_final=b)
    gradients = _output_gradients(cotangent, x, W1, W2, b, hidden_relu=True, tied=False)
    check.gradient(
        (model, "forward"),
        x,
        wrt=dict(zip(("W1", "W2", "b_final"), gradients[:3], strict=True)),
        axes="",
        claim="`forward` can be trained: gradients reach `W1`, `W2` and `b_final`",
        cotangent=cotangent,
    )


def _check_signed_batch(check: Check) -> None:
    instances, features = 3, 5
    cfg = ToyModelConfig(instances, features)
    p = torch.linspace(0.1, 0.8, instances * features)[check.permutation(instances * features)]
    p = p.reshape(instances, features)
    model = _model(check, cfg, p)
    x = _drawn(check, model, "generate_batch", (DRAWS, instances, features), DRAWS)
    present = x != 0
    if _share_of(x == -1) > 0.01 and not (x == 1).any():
        raise Mistake(
            "An absent feature is -1 instead of 0: stretch the values before you set absent ones to 0."
        )
    _check_values_are_plausible(check, x, lowest=-1)
    _check_batch_is_not_repeated(check, x)
    check.shares(
        present,
        p,
        "instances features",
        "`generate_batch`: each feature is present as often as its probability says",
        {"present features that would be negative are set to 0": p / 2} | _wrong_shares(p),
    )
    _check_independence(check, present, "presence", "`generate_batch`: features come and go independently")
    full = _model(check, cfg, torch.ones(instances, features))
    everything = _drawn(check, full, "generate_batch", (DRAWS // 5, instances, features), DRAWS // 5)
    _check_independence(
        check, everything > 0, "sign", "`generate_batch`: every feature has a sign of its own"
    )
    _check_values_are_even(check, x, p, lowest=-1)
    _check_repeated_values(check, everything)
    _check_independence(check, everything.abs(), "value", "`generate_batch`: and a value of its own")
    _check_second_batch(check, x, _drawn(check, model, "generate_batch", (DRAWS, instances, features), DRAWS))


def _check_loss_of_absolute_values(check: Check) -> None:
    for batch, instances, features in ((7, 3, 5), (11, 2, 3)):
        importance = check.uniform(instances, features, low=0.2, high=2.0)
        model = _model(check, ToyModelConfig(instances, features), importance=importance)
        # A trained model's output is never negative, but the loss must not rely on it.
        out, x = check.normal(batch, instances, features), check.uniform(batch, instances, features, low=-1)
        wrong = {
            "the output is compared with the input itself instead of its absolute value": _loss(
                out, x, importance
            ),
            "the absolute value is taken of the output too": _loss(out.abs(), x.abs(), importance),
            "the absolute value is taken of the output instead of the input": _loss(out.abs(), x, importance),
            "the input is squared instead of its absolute value taken": _loss(out, x**2, importance),
            "the input goes through a ReLU instead of the absolute value": _loss(out, x.relu(), importance),
            "the absolute value is taken of the error, and then squared": _loss(out, x, importance),
        }
        wrong |= _wrong_losses(out, x.abs(), importance)
        check.equal(
            check.method(model, "calculate_loss", out, x),
            _loss(out, x.abs(), importance),
            "",
            "`calculate_loss`: compares with the absolute value of the input, weighted by importance",
            wrong,
            rtol=2e-5,
            atol=1e-6,
            what="the loss",
        )
        check.gradient(
            (model, "calculate_loss"),
            out,
            x,
            wrt={0: 2 * importance * (out - x.abs()) / (batch * features)},
            axes=AXES,
            claim="`calculate_loss` can be trained: its gradient is right",
            detached="The loss has no gradient: it is cut off from the model's output (`.detach()`, `.data`, `.item()` "
            "or `torch.no_grad()`), so nothing would be trained.",
        )


# Exercise 1.9


@exercise(
    id="1.9",
    reference="toy_model.compute_dimensionality",
    title="The dimensionality of a feature",
    statement="""
How much of a hidden dimension does a feature have to itself? With $\\hat W_f = W_{:,f} / |W_{:,f}|$ for the direction
of feature $f$:

$$D_f = \\frac{|W_{:,f}|^2}{\\sum_g (\\hat W_f \\cdot W_{:,g})^2}$$

The denominator counts all features that have a part along the direction of $f$, including $f$ itself. A feature
that is alone there has $D = 1$; two features in opposite directions share a dimension and have $\\tfrac12$ each; a
pentagon in a plane gives $\\tfrac25$. A feature that is not represented has 0, not NaN.
""",
    hints=(
        "Numerator and denominator both come from columns of `W`. Compute the lengths of the columns first; their axes "
        "are `instances features`.",
        "In the denominator only $f$ is scaled to length one, $g$ is not. The overlaps form a square: `instances f g`. "
        "Which of the two is summed over?",
        '`overlaps = einsum(directions, W, "instances hidden f, instances hidden g -> instances f g")`, then square, '
        "then sum over `g`. Keep both divisions from 0 / 0, for example with `.clamp(min=1e-8)`.",
    ),
    difficulty=3,
    importance=3,
    minutes=15,
    points=2,
)
def compute_dimensionality(check: Check) -> None:
    for instances, hidden, features in ((3, 2, 5), (2, 7, 3), (2, 3, 3)):
        W = _columns(check, instances, hidden, features)
        check.equal(
            check.call(W),
            _dimensionality(W),
            "instances features",
            f"right for {instances} instances, {hidden} hidden dimensions and {features} features",
            _wrong_dimensionalities(W),
        )
    angles = 2 * torch.pi * torch.arange(5) / 5
    check.equal(
        check.call(torch.stack([angles.cos(), angles.sin()])[None] * torch.tensor([1.0, 0.7])[:, None, None]),
        torch.full((2, 5), 0.4),
        "instances features",
        "2/5 for each feature of a pentagon, however large it is",
    )
    W = _columns(check, 2, 3, 5)
    W[0, :, 1] = 0
    W[1, :, 4] = 0
    result = check.tensor(check.call(W))
    check.holds(
        not torch.isnan(result).any(),
        "a feature that is not represented gives no NaN",
        "A feature whose column is zero gives NaN (0 divided by 0). Its dimensionality should be 0.",
    )
    check.equal(result, _dimensionality(W), "instances features", "and its dimensionality is 0")


def _dimensionality(W: Tensor) -> Tensor:
    unit = torch.nn.functional.normalize(W, dim=1)
    return W.norm(dim=1) ** 2 / torch.einsum("ihf,ihg->ifg", unit, W).pow(2).sum(2).clamp(min=1e-12)


def _wrong_dimensionalities(W: Tensor) -> dict:
    lengths = W.norm(dim=1)
    unit = W / lengths[:, None]
    overlaps = torch.einsum("ihf,ihg->ifg", unit, W)
    own, gram, cosines = torch.diag_embed(lengths), _gram(W), _gram(unit)
    rows = W.norm(dim=2, keepdim=True)
    turned = torch.einsum("ihf,igf->ihg", W / rows, W)
    wrong = variations(
        lambda top, bottom: top / bottom,
        {
            "": lengths**2,
            "the length in the numerator is not squared": lengths,
            "the length in the numerator is squared twice": lengths**4,
            "the numerator is 1 instead of the squared length": torch.ones_like(lengths),
            "the numerator uses the sum of the absolute values for the length": W.abs().sum(1) ** 2,
        },
        {
            "": (overlaps**2).sum(2),
            "the overlaps in the denominator are not squared": overlaps.sum(2),
            "the overlaps in the denominator are squared twice": (overlaps**4).sum(2),
            "the overlaps are summed before they are squared": overlaps.sum(2) ** 2,
            "the absolute overlaps are summed instead of the squared ones": overlaps.abs().sum(2),
            "the denominator sums over $f$ instead of $g$: the axes of the overlaps are swapped": (
                overlaps**2
            ).sum(1),
            "the direction of $f$ is not scaled to length one in the denominator": (gram**2).sum(2),
            "both directions are scaled to length one in the denominator; only $f$ is": (cosines**2).sum(2),
            "the feature itself is left out of the sum in the denominator": ((overlaps - own) ** 2).sum(2),
            "the denominator is averaged over $g$ instead of summed": (overlaps**2).mean(2),
            "the root of the denominator is taken": (overlaps**2).sum(2).sqrt(),
        },
    )
    wrong |= {
        "the axes of `hidden` and `features` are swapped": W.norm(dim=2) ** 2 / turned.pow(2).sum(2),
        "the fraction is upside down": (overlaps**2).sum(2) / lengths**2,
        "instance 0 is used for every instance": _dimensionality(W[:1]).expand(len(W), -1),
        "the dimensionalities are summed up": _dimensionality(W).sum(1),
        "the dimensionalities are summed up ": _dimensionality(W).sum(1, keepdim=True),
    }
    return wrong


# Exercise 1.10


@exercise(
    id="1.10",
    reference="toy_model.hidden_for_datapoints",
    title="Bonus: where does a model put its datapoints?",
    statement="""
A model that sees only a handful of datapoints, again and again, can do without features: it gives each *datapoint* a
direction of its own. To see it, look at the hidden vectors of the training data instead of the columns of $W$:

$$h_{b,i} = W_i \\, x_{b,i}$$

`model` is a trained toy model, with `model.W` and `model.b_final`. Nothing is read out again here.
""",
    hints=(
        "It is the first half of the forward pass, with the model's own `W`. Which exercise of chapter 0 was that?",
        "Neither the bias nor the ReLU has a part in it: both belong to the way out. Sum over `features`; `batch`, "
        "`instances` and `hidden` stay.",
    ),
    difficulty=1,
    importance=2,
    minutes=5,
    points=1,
)
def hidden_for_datapoints(check: Check) -> None:
    for batch, instances, hidden, features in ((7, 3, 2, 5), (1, 2, 3, 11)):
        cfg = ToyModelConfig(instances, features, hidden)
        W, b = check.normal(instances, hidden, features), check.normal(instances, features)
        model = check.create(cfg, target="part_utils.toy_model.ToyModel")
        check.learner.set(model, W=W, b_final=b)
        x = check.sparse(batch, instances, features, probability=0.7)
        expected = torch.einsum("bif,ihf->bih", x, W)
        out = torch.einsum("bih,ihf->bif", expected, W)
        check.equal(
            check.call(model, x),
            expected,
            "batch instances hidden",
            "the hidden vector of every datapoint, in every instance"
            if batch > 1
            else "also for a single datapoint",
            {
                "the whole forward pass is returned: the vectors go back to the features": (out + b).relu(),
                "the vectors go back to the features": out,
                "a ReLU is applied: the hidden layer of this model has none": expected.relu(),
                "`b_final` is added to the datapoints first": torch.einsum("bif,ihf->bih", x + b, W),
                "`b_final` is subtracted from the datapoints first": torch.einsum("bif,ihf->bih", x - b, W),
                "the matrix of instance 0 is used for every instance": torch.einsum("bif,hf->bih", x, W[0]),
                "the datapoints of instance 0 are used for every instance": torch.einsum(
                    "bf,ihf->bih", x[:, 0], W
                ),
                "the instances are mixed: every vector meets the sum of all matrices": torch.einsum(
                    "bif,jhf->bih", x, W
                ),
                "`W` is reshaped instead of transposed": torch.einsum(
                    "bif,ifh->bih", x, W.reshape(instances, features, hidden)
                ),
                "the hidden vectors are scaled to length one": torch.nn.functional.normalize(expected, dim=2),
                "the columns of `W` are scaled to length one": torch.einsum(
                    "bif,ihf->bih", x, W / W.norm(dim=1, keepdim=True)
                ),
            },
            what="the result",
        )


# What several exercises need


def _columns(check: Check, instances: int, hidden: int, features: int) -> Tensor:
    """Random weights without a column so short that a tiny number added to its length would show."""
    directions = torch.nn.functional.normalize(check.normal(instances, hidden, features), dim=1)
    return directions * check.uniform(instances, 1, features, low=0.3, high=2.0)


def _model(
    check: Check,
    cfg: ToyModelConfig,
    feature_probability: Tensor | None = None,
    importance: Tensor | None = None,
    **parameters: Tensor,
) -> Handle:
    """A model of the learner's class, with these values for its parameters."""
    model = check.create(cfg, feature_probability=feature_probability, importance=importance)
    check.learner.set(model, **parameters)
    return model


def _drawn(check: Check, model: Handle, method: str, shape: tuple[int, int, int], *args: int) -> Tensor:
    """Features drawn by the learner's sampler: a tensor of the right shape without NaN."""
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
            _example(check, model, method, x.shape, args)[:16].flatten(1),
            "batch instances·features",
            ("a right one", "yours"),
        )
    )
    return x.double()


def _example(check: Check, model: Handle, method: str, shape: torch.Size, args: tuple[int, ...]) -> Tensor:
    """What the reference draws for the same probabilities."""
    cfg = ToyModelConfig(n_instances=shape[1], n_features=shape[2])
    probability = check.learner.get(model, "feature_probability")
    reference = get_exercise(check.exercise_id).load_reference()(cfg, feature_probability=probability)
    return getattr(reference, method)(*args)


def _check_values_are_plausible(check: Check, x: Tensor, lowest: int = 0) -> None:
    check.holds(bool((x != 0).any()), "", "Every feature is 0: none is ever present.")
    values = x[x != 0]
    if lowest == -1 and (values > 0).all():
        raise Mistake(
            "No value is negative: present features should lie evenly between -1 and 1.", _range(values)
        )
    check.holds(
        not (values.abs() == 1).all(),
        "",
        f"Every present feature is exactly {'1' if lowest == 0 else '1 or -1'}: it needs a random value, not only a "
        "yes or no.",
    )
    check.holds(bool((values >= lowest).all()), "", f"Some values lie below {lowest}.", _range(values))
    check.holds(bool((values <= 1).all()), "", "Some values lie above 1.", _range(values))


def _check_batch_is_not_repeated(check: Check, x: Tensor) -> None:
    if (x == x[:1]).all():
        raise Mistake("Every element of the batch is the same: the draw needs an axis for the batch.")
    present = x != 0
    if _rarely(present != present[:1]) and _share_of(present) not in (0.0, 1.0):
        raise Mistake(
            "The same features are present in every element of the batch: the draw for presence needs an axis for the "
            "batch."
        )


def _check_repeated_values(check: Check, everything: Tensor) -> None:
    """With every feature present, equal values can only mean that one draw is used for several features."""
    for axis, name in enumerate(("elements of the batch", "instances", "features")):
        if _rarely(everything != everything.select(axis, 0).unsqueeze(axis)):
            raise Mistake(f"The values are shared between {name}: all have the same one. Draw one for each.")


def _check_independence(check: Check, x: Tensor, what: str, claim: str, pairs: bool = False) -> None:
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


def _check_values_are_even(check: Check, x: Tensor, p: Tensor, lowest: int = 0) -> None:
    """The values of each feature, where it is present, are even between `lowest` and 1."""
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


def _check_extreme(check: Check, x: Tensor, probability: int) -> None:
    """With probability 0 or 1. A handful of exceptions is chance: random numbers that are exactly 0."""
    share = _share_of(x != 0)
    check.holds(
        abs(share - probability) < 0.005,
        "right for probabilities of 0 and 1",
        f"With a probability of {probability} a feature should {'always' if probability else 'never'} be present.",
        [f"it is present {100 * share:.1f} % of the time"],
    )


def _check_second_batch(check: Check, first: Tensor, second: Tensor) -> None:
    check.holds(
        not torch.equal(first, second),
        "a new batch is drawn at each call",
        "Two calls return the very same batch. Is a seed set inside your function?",
    )


def _wrong_shares(p: Tensor) -> dict[str, Tensor]:
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


def _rarely(condition: Tensor) -> bool:
    """False of all but a handful: a random value may be exactly 0, and look like an absent feature."""
    return int(condition.sum()) <= 4


def _share_of(condition: Tensor) -> float:
    return condition.double().mean().item()


def _share(condition: Tensor) -> str:
    return f"{100 * _share_of(condition):.0f} %"


def _range(values: Tensor) -> list[str]:
    return [f"your values range from {values.min():.3g} to {values.max():.3g}"]
