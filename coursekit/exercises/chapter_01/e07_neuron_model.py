"""Exercise 1.7: `NeuronModel`."""

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


# Exercises 1.7 and 1.8
@exercise(
    id="1.7",
    reference="toy_model.NeuronModel",
    methods=("forward",),
    difficulty=1,
    importance=3,
    minutes=5,
    points=1,
)
def neuron_model(check: Check) -> None:
    for batch, instances, hidden, features in ((7, 3, 2, 5), (1, 2, 3, 11)):
        cfg = ToyModelConfig(instances, features, hidden)
        W, b = 0.8 * check.normal(instances, hidden, features), check.normal(instances, features)
        model = make_model(check, cfg, W=W, b_final=b)
        large = 40 * check.uniform(batch, instances, features)
        for x in (*inputs(check, batch, instances, features), large):
            check_output(check, model, x, W, W.mT, b, hidden_relu=True)
        W = W.flip(2)
        check.learner.set(model, W=W)
        check_output(check, model, x, W, W.mT, b, hidden_relu=True)
    check_output_gradients(check, hidden_relu=True)
    check.leaves_inputs(x, owner=model, also="forward")
