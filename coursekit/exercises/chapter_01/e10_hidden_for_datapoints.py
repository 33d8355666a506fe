"""Exercise 1.10: `hidden_for_datapoints`."""

from __future__ import annotations

import torch

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check
from part_utils.toy_model import ToyModelConfig


@exercise(
    id="1.10",
    reference="toy_model.hidden_for_datapoints",
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
