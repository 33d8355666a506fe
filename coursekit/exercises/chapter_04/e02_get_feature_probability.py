"""Exercise 4.2: `get_feature_probability`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, variations
from coursekit.checking.phrases import explained
from part_utils.activations import MLP_HOOK

if TYPE_CHECKING:
    pass
from coursekit.exercises.chapter_04.scene import (
    FIXTURES,
    FORWARD,
    NEEDS,
    ROWS,
    SEQ,
    Scene,
    make_scene,
    wrong_encoders,
    wrong_inputs,
)


@exercise(
    id="4.2",
    reference="evaluation.get_feature_probability",
    needs=NEEDS,
    difficulty=2,
    importance=5,
    minutes=15,
    points=3,
)
def get_feature_probability(check: Check) -> None:
    for n_instances, batch_rows in ((2, 5), (3, None), (1, 7)):
        # So many tokens with one instance that no count fits into 8 bits.
        many = n_instances == 1
        scene = make_scene(
            check,
            _fires_often if many else _hardly_fires,
            n_instances=n_instances,
            rows=3 * ROWS if many else ROWS,
            thresholds=n_instances == 3,
        )
        _silence(scene, latent=4)
        watch = check.create(scene.autoencoder, memory=many, target=f"{FIXTURES}.PartsSeen")
        options = {} if batch_rows is None else {"batch_rows": batch_rows}
        chunk = (batch_rows or 16) * SEQ
        with explained(FORWARD):
            found = check.call(scene.tokens, scene.model, scene.autoencoder, **options)
        check.equal(
            found,
            (wrong_encoders(scene.weights)[""](scene.h) > 0).double().mean(0),
            "n_instances n_hidden_ae",
            "the share of all tokens on which each latent fires, for every instance",
            # With one instance, many mistakes look like an axis that is lost.
            _on_pieces(scene, batch_rows or 16)
            | variations(
                lambda h, encode, summary: summary(encode(h)),
                wrong_inputs(scene),
                wrong_encoders(scene.weights),
                _summaries_of_latents(chunk),
            )
            if n_instances > 1
            else {
                "the counts do not fit into their 8 bits: choose a type with more": (
                    (wrong_encoders(scene.weights)[""](scene.h) > 0).sum(0) % 256 / scene.tokens.numel()
                ),
            },
        )
        never = isinstance(found, Tensor) and bool((found[:, 4] == 0).all())
        check.holds(
            never,
            "a latent that never fires has a rate of 0",
            "A latent that never fires has a rate of exactly 0, and yours is a little above it: nothing is to "
            "be added to "
            "the rates, and no smallest one to be set. By the 0 a dead latent is known later on.",
        )
        scene.unharmed()
        if many:
            again = check.call(scene.tokens, scene.model, scene.autoencoder, **options)
            check.holds(
                isinstance(again, Tensor) and torch.equal(again, found),
                "a second call finds the same",
                "A second call on the same text returns something else. Begin each call with counts of zero.",
            )
        if batch_rows is not None:
            most = int(check.method(watch, "most"))
            check.holds(
                most <= batch_rows * SEQ,
                "the latents of a few rows at a time",
                f"The latents of {most} tokens are computed at once, of {scene.tokens.numel()} in all; with "
                f"`batch_rows` {batch_rows} it should be {batch_rows * SEQ}, so that those of a long text need not fit "
                "into memory.",
            )
        if many:
            latents, neurons = scene.own.cfg.n_hidden_ae, scene.h.shape[-1]
            kept = check.method(watch, "kept")
            check.holds(
                kept < (neurons + latents) / 2,
                "of the rows that are done only counts are kept",
                f"Of the rows that are done about {kept:.0f} numbers for each token stay in memory: all of their "
                f"{latents} latents, or which of them fire. Add to the counts as you go, so that a long text fits.",
            )


def _silence(scene: Scene, latent: int) -> None:
    """One latent never fires, in any instance."""
    bias = scene.own.b_enc.detach().clone()
    bias[:, latent] = -100.0
    scene.change(b_enc=bias)


def _on_pieces(scene: Scene, size: int) -> dict[str, Alternative]:
    """The rates where texts are cut into pieces, which the model reads without what stood before them."""

    def rates(pieces: Iterable[Tensor]) -> Tensor:
        with torch.no_grad():
            h = torch.cat([scene.own_model.run_with_cache(x)[1][MLP_HOOK].flatten(0, 1) for x in pieces])
        return (wrong_encoders(scene.weights)[""](h) > 0).double().mean(0)

    return {
        "the *positions* are split into parts, not the rows, so that the model misses the beginning of the texts": (
            lambda: rates(scene.tokens.split(size, dim=1))
        ),
        "each token goes through the model alone, as a text of its own": lambda: rates(
            [scene.tokens.reshape(-1, 1)]
        ),
        "the texts are put together in one and cut anew, into rows that are `batch_rows` long": lambda: rates(
            scene.tokens.flatten()[: scene.tokens.numel() // size * size].reshape(-1, size).split(16)
        ),
    }


def _fires_often(scene: Scene) -> bool:
    """A latent fires on more than 256 tokens."""
    return bool(((wrong_encoders(scene.weights)[""](scene.h) > 0).sum(0) > 256).any())


def _hardly_fires(scene: Scene) -> bool:
    """On some token a latent is so little above zero that a threshold of a thousandth shows, unless it has its own."""
    if "threshold" in scene.weights:
        return True
    acts = wrong_encoders(scene.weights)[""](scene.h)
    return bool(((acts > 0) & (acts < 1e-3)).any())


def _summaries_of_latents(chunk: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """From the latents of all tokens to a number for each, right and wrong; `chunk` tokens are seen at a time."""

    def rates(acts: Tensor) -> Tensor:
        return (acts > 0).double().mean(0)

    def texts(acts: Tensor) -> Tensor:
        return (acts > 0).double().unflatten(0, (-1, SEQ)).amax(1).mean(0)

    def mean_of_means(acts: Tensor) -> Tensor:
        return torch.stack([rates(part) for part in acts.split(chunk)]).mean(0)

    def whole_parts(acts: Tensor) -> Tensor:
        return rates(acts[: len(acts) // chunk * chunk]) if len(acts) > chunk else rates(acts)

    return {
        "": rates,
        "the *mean activation* is taken, not the share of tokens": lambda acts: acts.double().mean(0),
        "the mean activation over the tokens on which the latent fires is taken": lambda acts: (
            acts.double().sum(0) / (acts > 0).sum(0).clamp_min(1)
        ),
        "tokens on which the activation is exactly 0 count as well (`>=` for `>`)": lambda acts: (
            (acts >= 0).double().mean(0)
        ),
        "the tokens on which the latent is *silent* are counted": lambda acts: (acts <= 0).double().mean(0),
        "the mean over the latents is taken too: one number for each instance": lambda acts: rates(acts).mean(
            -1
        ),
        "it is counted how many latents fire at once (L0), not how often each one does": lambda acts: rates(
            acts
        ).sum(-1),
        "only instance 0 is returned": lambda acts: rates(acts)[0],
        "the instances are averaged": lambda acts: rates(acts).mean(0),
        "the mean over latents is taken at every token": lambda acts: (acts > 0).double().mean(-1),
        "the tokens are counted, but not divided by how many there are": lambda acts: (
            (acts > 0).double().sum(0)
        ),
        "the count is divided by the number of rows, not of tokens": lambda acts: rates(acts) * SEQ,
        "the count is divided by the number of positions in a row, not of all tokens": lambda acts: (
            rates(acts) * (len(acts) // SEQ)
        ),
        "the count is divided by the tokens of the last part only": lambda acts: (
            rates(acts) * len(acts) / len(acts.split(chunk)[-1])
        ),
        "the count is divided by the tokens of one part (`batch_rows` times the positions)": lambda acts: (
            rates(acts) * len(acts) / chunk
        ),
        "the count is divided by the number of parts times the tokens of a full one, although the last part is "
        "smaller": lambda acts: rates(acts) * len(acts) / (math.ceil(len(acts) / chunk) * chunk),
        "the shares are in percent": lambda acts: 100 * rates(acts),
        "the logarithm of the rates is returned": lambda acts: rates(acts).log10(),
        "the first position of every text is left out of the count, but not of the number of tokens": lambda acts: (
            (acts.unflatten(0, (-1, SEQ))[:, 1:] > 0).flatten(0, 1).double().sum(0) / len(acts)
        ),
        "a *text* counts, once, if the latent fires anywhere in it, and the count is divided by the number of "
        "tokens": lambda acts: texts(acts) / SEQ,
        "a latent has to be above 1 to count": lambda acts: (acts > 1).double().mean(0),
        "a latent has to be above 0.5 to count": lambda acts: (acts > 0.5).double().mean(0),
        "a latent has to be above 0.1 to count": lambda acts: (acts > 0.1).double().mean(0),
        "a latent has to be above 0.01 to count": lambda acts: (acts > 0.01).double().mean(0),
        "a latent has to be above 0.001 to count": lambda acts: (acts > 0.001).double().mean(0),
        "the first part of the rows is left out": lambda acts: (acts[chunk:] > 0).double().sum(0) / len(acts),
        "the first part of the rows is left out, and of the number of tokens too": lambda acts: rates(
            acts[chunk:]
        ),
        "all latents are counted together": lambda acts: (
            (acts > 0).double().sum((0, 1, 2)).expand(acts.shape[1:]) / len(acts)
        ),
        "the instances are averaged, and all have the same rates": lambda acts: (
            rates(acts).mean(0, keepdim=True).expand(acts.shape[1:])
        ),
        "the most active latent of each token is counted, and no other": lambda acts: (
            F.one_hot(acts.argmax(-1), acts.shape[-1]).double().mean(0)
        ),
        "tokens are counted twice": lambda acts: 2 * rates(acts),
        "the parts' means are averaged, although the last part is smaller": mean_of_means,
        "the means of the parts are added up": lambda acts: (
            mean_of_means(acts) * math.ceil(len(acts) / chunk)
        ),
        "only the last part of the rows counts: the counts are overwritten and not added up": lambda acts: (
            rates(acts.split(chunk)[-1])
        ),
        "only the last part of the rows is counted, and divided by the number of all tokens": lambda acts: (
            (acts.split(chunk)[-1] > 0).double().sum(0) / len(acts)
        ),
        "only the first part of the rows is counted": lambda acts: rates(acts[:chunk]),
        "only the first part of the rows is counted, and divided by the number of all tokens (does the function "
        "return inside the loop?)": lambda acts: (acts[:chunk] > 0).double().sum(0) / len(acts),
        "for every latent the tokens are counted on which any latent fires": lambda acts: (
            (acts > 0).any(-1, keepdim=True).expand_as(acts).double().mean(0)
        ),
        "the last, smaller part of the rows is left out": whole_parts,
        "the last, smaller part of the rows is left out of the count but not of the number of tokens": lambda acts: (
            whole_parts(acts) * (len(acts) // chunk * chunk) / len(acts)
        ),
        "a *text* counts, once, if the latent fires anywhere in it": texts,
        "the counts do not fit into 8 bits with a sign: choose a type with more": lambda acts: (
            (((acts > 0).sum(0) + 128) % 256 - 128) / len(acts)
        ),
        "the rates are divided by their sum": lambda acts: rates(acts) / rates(acts).sum(-1, keepdim=True),
        "it says whether the latent fires at all": lambda acts: (acts > 0).any(0).double(),
        "the largest activation is taken": lambda acts: acts.amax(0),
        "each token is kept on its own": lambda acts: (acts > 0).double(),
        "the activations themselves are returned": lambda acts: acts,
    }
