"""Exercise 4.5: `get_reconstruction_loss`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, variations
from coursekit.checking.phrases import explained

if TYPE_CHECKING:
    pass
from coursekit.exercises.chapter_04.scene import (
    FORWARD,
    NEEDS,
    SEQ,
    make_scene,
    parts_of,
    scalar,
    wrong_encoders,
    wrong_inputs,
    wrong_reconstructions,
)


@exercise(
    id="4.5",
    reference="evaluation.get_reconstruction_loss",
    needs=NEEDS,
    difficulty=2,
    importance=4,
    minutes=10,
    points=3,
)
def get_reconstruction_loss(check: Check) -> None:
    names = ("loss", "mean_squared_activation", "cosine_similarity")
    for n_instances in (2, 3, 1):
        scene = make_scene(check, n_instances=n_instances, thresholds=n_instances == 3)
        with explained(FORWARD):
            found = check.call(scene.tokens, scene.model, scene.autoencoder)
        loss, mean_square, cosine = parts_of(check, found, names)
        rebuilds = wrong_reconstructions(scene.weights)
        inputs = wrong_inputs(scene)
        rebuilt = rebuilds[""](scene.h)
        losses, cosines = _loss_summaries(), _cosine_summaries()

        def summarized(
            h: Tensor, rebuild: Callable[[Tensor], Tensor], summary: Callable[..., Tensor]
        ) -> Tensor:
            return summary(h[:, None].expand(-1, n_instances, -1), rebuild(h))  # noqa: B023

        expected = losses[""](scene.h[:, None], rebuilt)
        # With one instance, many mistakes look like an axis that is lost.
        several = n_instances > 1
        cosine_mistakes: dict[str, Alternative] = {}
        mistakes: dict[str, Alternative] = {}
        if several:
            mistakes = variations(summarized, inputs, rebuilds, losses)
            cosine_mistakes = variations(summarized, inputs, rebuilds, cosines)
            b_dec = scene.weights["b_dec"]
            h, centered = scene.h[:, None].expand_as(rebuilt), rebuilt - b_dec
            cosine_mistakes["`b_dec` is subtracted from both first"] = cosines[""](h - b_dec, centered)
            right_cosines = cosines[""](scene.h[:, None], rebuilt)
            mistakes["the cosine similarity stands in its place"] = right_cosines
            cosine_mistakes["the loss stands in its place"] = expected
            penalty = wrong_encoders(scene.weights)[""](scene.h).sum(-1).mean(0)
            mistakes["the L1 penalty is added (`l1_coeff` times `l1_loss`)"] = (
                expected + scene.own.cfg.l1_coeff * penalty
            )
            for n in (1, 2, 4, 8, 10, 16):
                first = slice(0, n * SEQ)
                said = (
                    f"only the first {n} texts are looked at" if n > 1 else "only the first text is looked at"
                )
                mistakes[said] = losses[""](scene.h[first, None], rebuilt[first])
                cosine_mistakes[said] = cosines[""](scene.h[first, None], rebuilt[first])
        mean_of_squares = scene.h.square().mean()
        check.equal(
            loss, expected, "n_instances", "mean squared error, for each instance", mistakes, what="`loss`"
        )
        check.equal(
            scalar(mean_square),
            mean_of_squares,
            "",
            "the mean squared activation to compare it with",
            {
                "the mean square is that of the *reconstructions*": rebuilt.square().mean(),
                "there is one number for each instance; the activations are the same for all": mean_of_squares.expand(
                    n_instances
                ),
                "the instances are added up": n_instances * mean_of_squares,
                "the square is summed over the neurons": scene.h.square().sum(-1).mean(),
                "the square is summed over everything": scene.h.square().sum(),
                "the square is summed over everything, and over the instances": n_instances
                * scene.h.square().sum(),
                "the activations are cubed": scene.h.pow(3).mean(),
                "the activations are not squared": scene.h.mean(),
                "the mean over the tokens is missing": scene.h.square().mean(-1),
                "the mean over the neurons is missing": scene.h.square().mean(0),
                "a square root is taken": mean_of_squares.sqrt(),
                "the mean activation is subtracted first: that is the variance": (scene.h - scene.h.mean(0))
                .square()
                .mean(),
                "the variance is taken": [
                    scene.h.var(),
                    scene.h.var(correction=0),
                    scene.h[:, None].expand_as(rebuilt).var(),
                    scene.h.var(dim=0).mean(),
                ],
                "the mean is squared, not the activations": scene.h.mean().square(),
                "the length of the activation vectors is taken": scene.h.norm(dim=-1).mean(),
                "the mean absolute activation is taken": scene.h.abs().mean(),
                "the activations *before* the activation function are used": inputs[
                    "the activations *before* the activation function (`hook_pre`) are used"
                ]
                .square()
                .mean(),
                "the squared error is taken, not the squared activation": expected.mean(),
                "`b_dec` is subtracted first": (scene.h[:, None] - scene.weights["b_dec"]).square().mean(),
                "the mean square is that of the *latents*": wrong_encoders(scene.weights)[""](scene.h)
                .square()
                .mean(),
                "the first position of every text is left out": scene.h.unflatten(0, (-1, SEQ))[:, 1:]
                .square()
                .mean(),
            },
            what="`mean_squared_activation`",
        )
        check.equal(
            cosine,
            cosines[""](scene.h[:, None], rebuilt),
            "n_instances",
            "the mean cosine between activation and reconstruction",
            cosine_mistakes,
            what="`cosine_similarity`",
        )
        scene.unharmed()


def _loss_summaries() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    def squares(h: Tensor, rebuilt: Tensor) -> Tensor:
        return (h - rebuilt).square()

    return {
        "": lambda h, r: squares(h, r).mean((0, 2)),
        "the squared error is *summed* over the neurons": lambda h, r: squares(h, r).sum(-1).mean(0),
        "the squared error is *summed* over the tokens": lambda h, r: squares(h, r).sum(0).mean(-1),
        "the squared error is *summed* over everything but the instances": lambda h, r: squares(h, r).sum(
            (0, 2)
        ),
        "the instances are averaged": lambda h, r: squares(h, r).mean(),
        "the instances are added up": lambda h, r: squares(h, r).mean((0, 2)).sum(),
        "the mean over the neurons is missing": lambda h, r: squares(h, r).mean(0),
        "the mean over the tokens is missing": lambda h, r: squares(h, r).mean(-1),
        "a square root is taken at the end": lambda h, r: squares(h, r).mean((0, 2)).sqrt(),
        "the *length* of the error (the L2 norm) is averaged, not its mean square": lambda h, r: (
            squares(h, r).sum(-1).sqrt().mean(0)
        ),
        "the length of the error is taken over everything": lambda h, r: squares(h, r).sum((0, 2)).sqrt(),
        "the absolute error is taken, not the squared one": lambda h, r: (h - r).abs().mean((0, 2)),
        "the error is averaged before it is squared": lambda h, r: (h - r).mean((0, 2)).square(),
        "the error is halved": lambda h, r: squares(h, r).mean((0, 2)) / 2,
        "the error is divided by the mean squared activation": lambda h, r: (
            squares(h, r).mean((0, 2)) / h.square().mean()
        ),
        "the error is divided by the variance of the activations (that is the FVU)": lambda h, r: (
            squares(h, r).mean((0, 2)) / (h - h.mean(0)).square().mean((0, 2))
        ),
        "the activations are squared, not the error": lambda h, r: h.square().mean((0, 2)).expand(r.shape[1]),
        "activation and reconstruction are added, not subtracted": lambda h, r: (h + r).square().mean((0, 2)),
        "the reconstruction is squared, not the error": lambda h, r: r.square().mean((0, 2)),
        "the error is averaged with its sign, and not squared": lambda h, r: (h - r).mean((0, 2)),
        "the error is averaged with its sign the other way round, and not squared": lambda h, r: (r - h).mean(
            (0, 2)
        ),
        "the error is cubed, not squared": lambda h, r: (h - r).pow(3).mean((0, 2)),
        "the error is squared twice": lambda h, r: (h - r).pow(4).mean((0, 2)),
        "it is the difference of the mean squares, not the mean square of the difference": lambda h, r: (
            h.square() - r.square()
        ).mean((0, 2)),
        "the median error is taken over the tokens": lambda h, r: squares(h, r).mean(-1).median(0).values,
        "the largest error of all neurons is taken": lambda h, r: squares(h, r).amax(-1).mean(0),
        "the instances are averaged, and all have the same loss": lambda h, r: (
            squares(h, r).mean().expand(r.shape[1])
        ),
        "the L1 penalty is added": lambda h, r: squares(h, r).mean((0, 2)) + 0.5 * r.abs().sum(-1).mean(0),
    }


def _cosine_summaries() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    def cosine(h: Tensor, r: Tensor, dim: int = -1) -> Tensor:
        return F.cosine_similarity(h.expand_as(r), r, dim=dim)

    return {
        "": lambda h, r: cosine(h, r).mean(0),
        "the cosine is taken along the *tokens*, for every neuron": lambda h, r: cosine(h, r, 0).mean(-1),
        "one cosine is taken over tokens and neurons together": lambda h, r: cosine(
            h.expand_as(r).transpose(0, 1).flatten(1), r.transpose(0, 1).flatten(1)
        ),
        "the mean over the tokens is missing": lambda h, r: cosine(h, r),
        "the instances are averaged": lambda h, r: cosine(h, r).mean(),
        "the cosines are summed over the tokens": lambda h, r: cosine(h, r).sum(0),
        "these are dot products, not divided by the lengths": lambda h, r: (h * r).sum(-1).mean(0),
        "the dot products are averaged, and only then divided by the mean lengths": lambda h, r: (
            (h * r).sum(-1).mean(0) / (h.norm(dim=-1).mean(0) * r.norm(dim=-1).mean(0))
        ),
        "the cosine of the mean vectors is taken": lambda h, r: cosine(h.mean(0), r.mean(0)),
        "the activation is compared with the *error*": lambda h, r: cosine(h, h - r).mean(0),
        "the mean activation is subtracted first": lambda h, r: cosine(h - h.mean(0), r - r.mean(0)).mean(0),
        "one minus the cosine (a distance) is returned": lambda h, r: 1 - cosine(h, r).mean(0),
        "the absolute value is taken": lambda h, r: cosine(h, r).abs().mean(0),
        "each vector's own mean over the neurons is subtracted (that is a correlation)": lambda h, r: cosine(
            h - h.mean(-1, keepdim=True), r - r.mean(-1, keepdim=True)
        ).mean(0),
        "the mean activation is subtracted from both first": lambda h, r: cosine(
            h - h.mean(0), r - h.mean(0)
        ).mean(0),
        "long activations count more (a mean that is weighted by their length)": lambda h, r: (
            (cosine(h, r) * h.norm(dim=-1)).sum(0) / h.norm(dim=-1).sum(0)
        ),
        "the median over the tokens is taken for the mean": lambda h, r: cosine(h, r).median(0).values,
        "one cosine is taken over the instances and neurons of a token together": lambda h, r: cosine(
            h.expand_as(r).flatten(1), r.flatten(1)
        ).mean(),
        "one cosine is taken over the instances and neurons of a token, for all of them": lambda h, r: (
            cosine(h.expand_as(r).flatten(1), r.flatten(1)).mean().expand(r.shape[1])
        ),
        "the instances are averaged, and all have the same cosine": lambda h, r: (
            cosine(h, r).mean().expand(r.shape[1])
        ),
        "the cosine is taken along the *instances*": lambda h, r: cosine(h, r, 1).mean(0),
        "the dot products are divided by the squared length of the activations": lambda h, r: (
            (h * r).sum(-1) / h.square().sum(-1)
        ).mean(0),
        "the dot products are divided by the squared length of the reconstructions": lambda h, r: (
            (h * r).sum(-1) / r.square().sum(-1)
        ).mean(0),
        "the *angle* is returned instead of its cosine": lambda h, r: (
            cosine(h, r).clamp(-1, 1).acos().mean(0)
        ),
        "the cosine is squared": lambda h, r: cosine(h, r).square().mean(0),
    }
