"""Exercise 1.3: `ToyModel.calculate_loss`."""

from __future__ import annotations

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check
from coursekit.exercises.chapter_01.toy_models import AXES, check_loss, make_model
from part_utils.toy_model import ToyModelConfig


@exercise(
    id="1.3",
    reference="toy_model.ToyModel.calculate_loss",
    difficulty=2,
    importance=4,
    minutes=10,
    points=2,
)
def toy_model_calculate_loss(check: Check) -> None:
    for batch, instances, features in ((7, 3, 5), (11, 2, 3)):
        importance = check.uniform(instances, features, low=0.2, high=2.0)
        model = make_model(check, ToyModelConfig(instances, features), importance=importance)
        # Errors above 1 as well.
        out, x = 2.5 * check.uniform(batch, instances, features), check.sparse(batch, instances, features)
        check_loss(
            check,
            model,
            out,
            x,
            x,
            importance,
            f"right for {instances} instances and {features} features of different importance",
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
    check.leaves_inputs(out, x, owner=model, also="calculate_loss")
