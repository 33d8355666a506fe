"""Exercise 1.1: `ToyModel.forward`."""

from __future__ import annotations

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check
from coursekit.exercises.chapter_01.toy_models import (
    check_output,
    check_output_gradients,
    inputs,
    make_model,
)
from part_utils.toy_model import ToyModelConfig


@exercise(
    id="1.1",
    reference="toy_model.ToyModel.forward",
    difficulty=2,
    importance=5,
    minutes=10,
    points=2,
)
def toy_model_forward(check: Check) -> None:
    for batch, instances, hidden, features in ((7, 3, 2, 5), (1, 2, 3, 11)):
        cfg = ToyModelConfig(instances, features, hidden)
        W, b = 0.8 * check.normal(instances, hidden, features), check.normal(instances, features)
        model = make_model(check, cfg, W=W, b_final=b)
        for x in inputs(check, batch, instances, features):
            check_output(check, model, x, W, W.mT, b, hidden_relu=False)
        W = W.flip(2)
        check.learner.set(model, W=W)
        check_output(check, model, x, W, W.mT, b, hidden_relu=False)
    check_output_gradients(check, hidden_relu=False)
    check.leaves_inputs(x, owner=model, also="forward")
