"""Exercise 1.4: `cosine_similarities`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check
from coursekit.exercises.chapter_01.toy_models import gram_matrix, random_columns


@exercise(
    id="1.4",
    reference="toy_geometry.cosine_similarities",
    difficulty=2,
    importance=4,
    minutes=10,
    points=1,
)
def cosine_similarities(check: Check) -> None:
    for instances, hidden, features in ((3, 2, 5), (2, 7, 3), (2, 3, 3), (1, 3, 5), (3, 2, 1)):
        W = random_columns(check, instances, hidden, features)
        check.equal(
            check.call(W),
            gram_matrix(W / W.norm(dim=1, keepdim=True)),
            "instances features features",
            f"right for {instances} instances, {hidden} hidden dimensions and {features} features",
            _wrong_similarities(W),
        )
    W = random_columns(check, 2, 3, 5)
    short = 5e-4 * W
    check.equal(
        check.call(short),
        gram_matrix(W / W.norm(dim=1, keepdim=True)),
        "instances features features",
        "right for columns that are short",
        {
            "what keeps the length from being 0 is too large, and changes short columns": [
                gram_matrix(short / short.norm(dim=1, keepdim=True).clamp(min=smallest))
                for smallest in (1.0, 0.1, 1e-2, 1e-3)
            ]
        },
        rtol=2e-2,
        atol=1e-2,
    )
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
        gram_matrix(_unit(W)),
        "instances features features",
        "and its similarities are 0",
        {
            "the diagonal is 1 for a column of zeros too": _with_diagonal(W, 1.0),
            "NaN is replaced by 1 instead of 0": torch.where(_empty(W), 1.0, gram_matrix(_unit(W))),
        },
    )
    check.leaves_inputs(W)


def _unit(W: Tensor) -> Tensor:
    return torch.nn.functional.normalize(W, dim=1)


def _empty(W: Tensor) -> Tensor:
    """Where one of the two features has no length."""
    zero = W.norm(dim=1) == 0
    return zero[:, :, None] | zero[:, None, :]


def _with_diagonal(W: Tensor, value: float) -> Tensor:
    similarities = gram_matrix(_unit(W)).clone()
    similarities.diagonal(dim1=1, dim2=2).fill_(value)
    return similarities


def _wrong_similarities(W: Tensor) -> dict:
    lengths = W.norm(dim=1, keepdim=True)
    unit = W / lengths
    wrong = {
        "the columns are not scaled to length one: it is `W^T W`": gram_matrix(W),
        "the *rows* of `W` are scaled to length one: the norm is taken over features": gram_matrix(
            W / W.norm(dim=2, keepdim=True)
        ),
        "hidden dimensions are compared instead of features": torch.einsum("ihf,igf->ihg", unit, unit),
        "hidden dimensions are compared instead of features (with rows of length one)": torch.einsum(
            "ihf,igf->ihg", W / W.norm(dim=2, keepdim=True), W / W.norm(dim=2, keepdim=True)
        ),
        "hidden dimensions are compared instead of features, and nothing is scaled": torch.einsum(
            "ihf,igf->ihg", W, W
        ),
        "each instance is divided by the norm of its whole matrix": gram_matrix(
            W / W.norm(dim=(1, 2), keepdim=True)
        ),
        "everything is divided by one norm of all of `W`": gram_matrix(W / W.norm()),
        "the columns are divided by their *squared* length": gram_matrix(W / lengths**2),
        "only one of the two columns is scaled to length one": [
            torch.einsum("ihf,ihg->ifg", unit, W),
            torch.einsum("ihf,ihg->ifg", W, unit),
        ],
        "the absolute value is taken: opposite directions have -1": gram_matrix(unit).abs(),
        "the similarity is squared": gram_matrix(unit) ** 2,
        "the instances are added up instead of kept apart": gram_matrix(unit).sum(0),
        "instance 0 is used for every instance": gram_matrix(unit[:1]).expand(len(W), -1, -1),
        "the norm is taken over the instances": gram_matrix(W / W.norm(dim=0)),
        "only one half of the matrix is filled, above or below the diagonal": [
            gram_matrix(unit).triu(),
            gram_matrix(unit).tril(),
            gram_matrix(unit).triu(1),
            gram_matrix(unit).tril(-1),
        ],
        "only columns longer than 1 are brought to length one": gram_matrix(W / lengths.clamp(min=1)),
        "the columns are divided by their largest entry": gram_matrix(W / W.abs().amax(1, keepdim=True)),
        "`W^T W` is divided by its own largest value": gram_matrix(W)
        / gram_matrix(W).abs().amax((1, 2), True),
        "the dot product is divided by the length of the same feature twice": [
            gram_matrix(W) / lengths.mT**2,
            gram_matrix(W) / lengths**2,
        ],
        "the dot product is divided by the sum of the two lengths, not by their product": [
            gram_matrix(W) / (lengths + lengths.mT),
            2 * gram_matrix(W) / (lengths + lengths.mT),
        ],
        "the features of every instance are compared with those of all instances": torch.einsum(
            "ihf,jhg->ifg", unit, unit
        ),
        "a feature whose column is shorter than 0.5 counts as ignored; only a column of zeros is": gram_matrix(
            unit * (lengths >= 0.5)
        ),
        "each feature is compared with itself only; all pairs are wanted": (unit * unit).sum(1),
        "the correlation of the columns is taken: their mean is subtracted first": gram_matrix(
            torch.nn.functional.normalize(W - W.mean(1, keepdim=True), dim=1)
        ),
        "the diagonal is set to 0": gram_matrix(unit) - torch.diag_embed(torch.ones(W.shape[0], W.shape[2])),
        "the columns are divided by the sum of their absolute values": gram_matrix(
            W / W.abs().sum(1, keepdim=True)
        ),
    }
    for epsilon in (0.1, 0.01, 1e-3, 1e-4):
        wrong[f"a number as large as {epsilon:g} is added to the lengths"] = gram_matrix(
            W / (lengths + epsilon)
        )
    return wrong
