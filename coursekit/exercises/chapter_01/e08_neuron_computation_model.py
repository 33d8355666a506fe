"""Exercise 1.8: `NeuronComputationModel`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.door import Handle
from coursekit.exercises.chapter_01.independence import (
    check_no_value_twice,
    check_rows_are_independent,
    check_values_say_nothing_of_presence,
)
from coursekit.exercises.chapter_01.samples import (
    DRAWS,
    check_batch_is_not_repeated,
    check_batch_of_one,
    check_independence,
    check_repeated_values,
    check_second_batch,
    check_values_are_even,
    check_values_are_plausible,
    drawn_batch,
    share_of,
    wrong_shares,
)
from coursekit.exercises.chapter_01.toy_models import (
    AXES,
    check_loss,
    check_output,
    make_model,
    output_gradients,
    weighted_loss,
)
from part_utils.toy_model import ToyModelConfig


@exercise(
    id="1.8",
    reference="toy_model.NeuronComputationModel",
    methods=("forward", "generate_batch", "calculate_loss"),
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
        model = make_model(check, cfg, W1=W1, W2=W2, b_final=b)
        check.holds(
            check.learner.get(model, "W") is None,
            "",
            "There is a `W` besides `W1` and `W2`. This model has none: an optimizer would hold a parameter that "
            "nothing uses (`del self.W`).",
        )
        for x in (
            check.uniform(batch, instances, features, low=-1),
            check.sparse(batch, instances, features) * check.normal(batch, instances, features).sign(),
        ):
            _check_computation(check, model, x, W1, W2, b)
        W1, W2 = W1.flip(2), W2.flip(1)
        check.learner.set(model, W1=W1, W2=W2)
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
        "the answer itself is returned, the absolute value of the input, without the weights": x.abs(),
        "`W1` is used on the way out as well (tied weights); the way out is `W2`": with_matrices(W1, W1.mT),
        "`W2` is used on the way in as well (tied weights); the way in is `W1`": with_matrices(W2.mT, W2),
        "`W1` and `W2` are exchanged": with_matrices(W2.mT, W1.mT),
        "`W2` is reshaped, as if its axes were `instances hidden features`": with_matrices(
            W1, W2.reshape(instances, hidden, features).mT
        ),
    }
    check_output(check, model, x, W1, W2, b, hidden_relu=True, known=untied, what="the result of `forward`")


def _check_computation_gradients(check: Check) -> None:
    x, W1, W2, b = (
        check.uniform(7, 3, 5, low=-1),
        check.normal(3, 2, 5),
        check.normal(3, 5, 2),
        check.normal(3, 5),
    )
    cotangent = check.normal(7, 3, 5)
    model = make_model(check, ToyModelConfig(3, 5, 2), W1=W1, W2=W2, b_final=b)
    gradients = output_gradients(cotangent, x, W1, W2, b, hidden_relu=True, tied=False)
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
    model = make_model(check, cfg, p)
    x = drawn_batch(check, model, "generate_batch", (DRAWS, instances, features), DRAWS)
    present = x != 0
    if share_of(x == -1) > 0.01 and not (x == 1).any():
        raise Mistake(
            "An absent feature is -1 instead of 0: stretch the values before you set absent ones to 0."
        )
    if not (x > 0).any() and (x < 0).any():
        raise Mistake("No value is positive: present features should lie evenly between -1 and 1.")
    check_values_are_plausible(check, x, lowest=-1)
    check_batch_is_not_repeated(check, x)
    check.shares(
        present,
        p,
        "instances features",
        "`generate_batch`: each feature is present as often as its probability says",
        {"present features that would be negative are set to 0": p / 2} | wrong_shares(p),
    )
    check_independence(check, present, "presence", "`generate_batch`: features come and go independently")
    full = make_model(check, cfg, torch.ones(instances, features))
    everything = drawn_batch(check, full, "generate_batch", (DRAWS // 5, instances, features), DRAWS // 5)
    check_independence(check, everything > 0, "sign", "`generate_batch`: every feature has a sign of its own")
    check_rows_are_independent(check, present, "presence")
    check_rows_are_independent(check, everything > 0, "sign")
    check_values_are_even(check, x, p, lowest=-1)
    check_values_say_nothing_of_presence(check, x, lowest=-1)
    check_batch_of_one(check, full, "generate_batch", features)
    check_repeated_values(check, everything)
    check_no_value_twice(check, everything)
    check_independence(check, everything.abs(), "value", "`generate_batch`: and a value of its own")
    check_second_batch(
        check, x, drawn_batch(check, model, "generate_batch", (DRAWS, instances, features), DRAWS)
    )


def _check_loss_of_absolute_values(check: Check) -> None:
    for batch, instances, features in ((7, 3, 5), (11, 2, 3)):
        importance = check.uniform(instances, features, low=0.2, high=2.0)
        model = make_model(check, ToyModelConfig(instances, features), importance=importance)
        # A trained model's output is never negative, but the loss must not rely on it.
        out, x = check.normal(batch, instances, features), check.uniform(batch, instances, features, low=-1)
        wrong = {
            "the output is compared with the input itself instead of its absolute value": weighted_loss(
                out, x, importance
            ),
            "the absolute value is taken of the output too": weighted_loss(out.abs(), x.abs(), importance),
            "the absolute value is taken of the output instead of the input": weighted_loss(
                out.abs(), x, importance
            ),
            "the input is squared instead of its absolute value taken": weighted_loss(out, x**2, importance),
            "the input goes through a ReLU instead of the absolute value": weighted_loss(
                out, x.relu(), importance
            ),
            "the absolute value is taken of the error, and then squared": weighted_loss(out, x, importance),
            "the absolute value is taken of the output too, and the error is not squared": (
                (importance * (out.abs() - x.abs()).abs()).mean(dim=(0, 2)).sum()
            ),
        }
        check_loss(
            check,
            model,
            out,
            x,
            x.abs(),
            importance,
            "`calculate_loss`: compares with the absolute value of the input, weighted by importance",
            wrong,
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
    check.leaves_inputs(out, x, owner=model, also="calculate_loss")
    check.leaves_inputs(x, owner=model, also="forward")
