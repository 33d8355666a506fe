"""Exercise 0.1: `project_features`."""

from __future__ import annotations

import torch

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check


@exercise(
    id="0.1",
    reference="tensors.project_features",
    difficulty=1,
    importance=5,
    minutes=5,
    points=1,
)
def project_features(check: Check) -> None:
    for batch, instances, hidden, features in ((7, 3, 2, 5), (1, 5, 11, 3), (130, 9, 3, 12), (5, 1, 3, 4)):
        x, W = check.normal(batch, instances, features), check.normal(instances, hidden, features)
        swapped = x.reshape(instances, batch, features)
        check.equal(
            check.call(x, W),
            torch.einsum("bif,ihf->bih", x, W),
            "batch instances hidden",
            "right for several instances, and for a batch of one",
            {
                "batch and instances are exchanged with `reshape`, there and back; `transpose` moves axes": (
                    (swapped @ W.mT).reshape(batch, instances, hidden)
                ),
                "the matrix of instance 0 is used for every instance": torch.einsum("bif,hf->bih", x, W[0]),
                "the instances are added up instead of kept apart": torch.einsum("bif,ihf->bh", x, W),
                "the instances are mixed: every vector is multiplied by the sum of all matrices": torch.einsum(
                    "bif,jhf->bih", x, W
                ),
                "the instances are mixed: every vector is multiplied by the average of all matrices": torch.einsum(
                    "bif,hf->bih", x, W.mean(0)
                ),
                "the instances are mixed: the features of all instances are added up": torch.einsum(
                    "bjf,ihf->bih", x, W
                ),
                "`W` is read as if its axes were `instances features hidden` (a reshape is not a transpose)": (
                    torch.einsum("bif,ifh->bih", x, W.reshape(instances, features, hidden))
                ),
                "the products are formed, but nothing is summed over": torch.einsum("bif,ihf->bihf", x, W),
                "the average over the features is taken instead of the sum": torch.einsum(
                    "bif,ihf->bih", x, W
                )
                / features,
            },
        )
    x, W = check.normal(5, 2, 3), check.normal(2, 3, 3)
    check.equal(
        check.call(x, W),
        torch.einsum("bif,ihf->bih", x, W),
        "batch instances hidden",
        "right for a square matrix, where a transposed `W` would give no error",
        {
            "`W` is transposed: its *columns* are multiplied with the features": torch.einsum(
                "bih,ihf->bif", x, W
            )
        },
    )
    check.leaves_inputs(x, W)
