"""Exercise 5.2: `feature_logit_effect`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, agree
from coursekit.checking.general_mistakes import mistakes_in_inputs
from coursekit.checking.phrases import unit_rows
from coursekit.exercises.chapter_05.parts import (
    BRIDGE,
    check_defaults,
    fields,
    language_model,
    make_autoencoder,
    pick,
    whole_numbers,
)
from part_utils.autoencoder import AutoEncoder


def _direction(autoencoder: AutoEncoder, latent: int, instance: int) -> Tensor:
    return unit_rows(autoencoder.W_dec.detach())[instance, latent]


@exercise(
    id="5.2",
    reference="interpretation.feature_logit_effect",
    difficulty=2,
    importance=4,
    minutes=10,
    points=2,
    needs=(BRIDGE,),
)
def feature_logit_effect(check: Check) -> None:
    model_handle, model = language_model(check)
    autoencoder_handle, autoencoder = make_autoencoder(check, n_instances=3)
    W_out, W_U = model.blocks[0].mlp.W_out.detach(), model.W_U.detach()
    weight, bias = (x.detach() for x in (model.ln_final.weight, model.ln_final.bias))
    W_enc, W_dec = autoencoder.W_enc.detach(), autoencoder.W_dec.detach()
    # A latent whose number is also a neuron's, so that rows and columns can be mixed up.
    for instance, k, latent in ((2, 4, pick(check, 13)), (0, 3, pick(check, 13))):
        direction = _direction(autoencoder, latent, instance)
        column = W_enc[instance, :, latent]
        row = W_dec[instance, latent]
        others = [(instance + shift) % 3 for shift in (1, 2)]
        written = direction @ W_out
        expected = written @ W_U
        mean_row = unit_rows(W_dec)[instance].mean(dim=0)

        def layer_norm(x: Tensor, weight: Tensor = weight) -> Tensor:
            x = x - x.mean()
            return x / (x.square().mean() + 1e-5).sqrt() * weight

        mistakes = {
            "the encoder's column is used; what a latent writes is its row of the decoder": column
            @ W_out
            @ W_U,
            "the encoder's column at unit length is used; what a latent writes is its row of the decoder": column
            / column.norm()
            @ W_out
            @ W_U,
            "the decoder's row is not brought to unit length": row @ W_out @ W_U,
            "the latent is taken away (the sign is that of an ablation) instead of added": -expected,
            "the row is not brought to unit length and the sign is that of an ablation": -row @ W_out @ W_U,
            "the final LayerNorm is applied; it is left out here": layer_norm(written) @ W_U,
            "the final LayerNorm is applied, with its bias; it is left out here": (layer_norm(written) + bias)
            @ W_U,
            "the final LayerNorm's weights are multiplied in; it is left out here": (written * weight) @ W_U,
            "the final LayerNorm's centering and weights are multiplied in; it is left out here": (
                (written - written.mean()) * weight
            )
            @ W_U,
            "the final LayerNorm is applied without its weights; it is left out here": layer_norm(
                written, torch.ones_like(weight)
            )
            @ W_U,
            "the final LayerNorm's centering is applied; it is left out here": (written - written.mean())
            @ W_U,
            "what arrives is divided by its length before `W_U` (as a LayerNorm would); that is left out here": written
            / written.norm()
            @ W_U,
            **{
                f"another instance is used ({other}, and not {instance})": _direction(
                    autoencoder, latent, other
                )
                @ W_out
                @ W_U
                for other in others
            },
            "`b_dec` is added; a latent's own effect has no bias": (
                direction + autoencoder.b_dec.detach()[instance]
            )
            @ W_out
            @ W_U,
            "`W_dec` is read by its column instead of its row": unit_rows(W_dec)[instance][:13, latent]
            @ W_out
            @ W_U,
            "the rows of all latents are averaged": mean_row @ W_out @ W_U,
            "the MLP's output bias is added; a latent's own effect has no bias": (
                written + model.blocks[0].mlp.b_out.detach()
            )
            @ W_U,
            "the biases of the MLP's output and of the unembedding are added; a latent's own effect has no bias": (
                (written + model.blocks[0].mlp.b_out.detach()) @ W_U + model.b_U.detach()
            ),
            "the unembedding's bias is added; a latent's own effect has no bias": expected
            + model.b_U.detach(),
            **{
                f"a neighboring latent is taken (one {where})": _direction(
                    autoencoder, (latent + step) % W_dec.shape[1], instance
                )
                @ W_out
                @ W_U
                for step, where in ((1, "further"), (-1, "before"))
            },
            "the *neuron* of this number is followed, not the latent": W_out[latent] @ W_U,
            "the embedding `W_E` takes the place of the unembedding `W_U`": written @ model.W_E.detach().mT,
            "`W_in` takes the place of `W_out`": direction @ model.blocks[0].mlp.W_in.detach().mT @ W_U,
            "the direction goes through the activation function": torch.nn.functional.gelu(direction)
            @ W_out
            @ W_U,
            "the unembedding `W_U` is left out": written,
            "the effect is divided by its standard deviation": expected / expected.std(),
            "the effect is brought to unit length": expected / expected.norm(),
            "the effect is sorted": expected.sort(descending=True).values,
            "the softmax is taken; the effect on the logits is asked for": expected.softmax(dim=0),
            "the log-softmax is taken of a row that is not at unit length": (row @ W_out @ W_U).log_softmax(
                dim=0
            ),
            "the absolute values are taken; an effect can be negative": expected.abs(),
        }
        found = check.call(model_handle, autoencoder_handle, latent, instance, k)
        effect, top, bottom = fields(check, found, "effect, top, bottom")
        effect = check.tensor(effect, "`effect`").to(expected.dtype)
        if effect.shape == expected.shape:
            # Softmax does not see a constant that is added to all logits.
            effect, shown = effect - effect.mean(), expected - expected.mean()
            centered = {
                phrase: value - value.mean()
                for phrase, value in mistakes.items()
                # A log-softmax only takes a constant away: of this row it is the row's effect, which stands above.
                if not phrase.startswith("the log-softmax")
            }
        else:
            shown, centered = expected, mistakes
        check.equal(
            effect,
            shown,
            "d_vocab",
            "follows the decoder's row to the logits",
            centered,
            what="`effect`",
            misread=mistakes_in_inputs(
                _centered_effect,
                {
                    "direction": (direction, "d_mlp"),
                    "W_out": (W_out, "d_mlp d_model"),
                    "W_U": (W_U, "d_model d_vocab"),
                },
            ),
        )
        _check_extremes(expected, top, bottom, k)
        check.holds(True, "names the tokens with the largest and with the smallest effect", "")
    check_defaults(
        check, (model_handle, autoencoder_handle, latent), (0, 10), "`instance` is 0 and `k` is 10"
    )
    check.holds(True, "right in several instances", "")


def _centered_effect(direction: Tensor, W_out: Tensor, W_U: Tensor) -> Tensor:
    effect = direction @ W_out @ W_U
    return effect - effect.mean()


def _check_extremes(effect: Tensor, top: Any, bottom: Any, k: int) -> None:
    if isinstance(top, Tensor) and top.is_floating_point():
        raise Mistake("`top` holds the effects; expected the numbers of the tokens (`.indices` of `topk`).")
    if isinstance(bottom, Tensor) and bottom.is_floating_point():
        raise Mistake(
            "`bottom` holds the effects; expected the numbers of the tokens (`.indices` of `topk`)."
        )
    for name, tokens in (("top", top), ("bottom", bottom)):
        if isinstance(tokens, Tensor) and tokens.ndim == 1 and len(tokens) != k:
            raise Mistake(f"`{name}` has {len(tokens)} tokens, and `k` is {k} here.")
    top = whole_numbers(top, (k,), "k", "`top`")
    bottom = whole_numbers(bottom, (k,), "k", "`bottom`")
    order = effect.argsort(descending=True)
    highest, lowest = order[:k], order.flip(0)[:k]
    size = order[effect[order].abs().argsort(descending=True)]

    def same(tokens: Tensor, wanted: Tensor) -> bool:
        inside = (tokens >= 0) & (tokens < len(effect))
        return bool(inside.all()) and agree(effect[tokens], effect[wanted])

    if same(top, highest) and same(bottom, lowest):
        return
    if same(top, lowest) and same(bottom, highest):
        raise Mistake("`top` and `bottom` are exchanged: `top` has the tokens with the largest effect.")
    for name, tokens, wanted, opposite in (
        ("top", top, highest, lowest),
        ("bottom", bottom, lowest, highest),
    ):
        if same(tokens, wanted):
            continue
        if same(tokens.flip(0), wanted):
            raise Mistake(
                f"`{name}` has the right tokens in the wrong order: expected the most extreme first."
            )
        if same(tokens, size[:k]) or same(tokens, size.flip(0)[:k]):
            raise Mistake(f"`{name}` is sorted by the size of the effect, without its sign.")
        if same(tokens, opposite):
            raise Mistake(f"`{name}` has the tokens from the other end.")
        if same(tokens.sort().values, wanted.sort().values):
            raise Mistake(
                f"`{name}` has the right tokens in the wrong order: expected the most extreme first."
            )
        raise Mistake(
            f"`{name}` does not hold the `k` tokens with the {'largest' if name == 'top' else 'smallest'} effect.",
            [f"expected {wanted.tolist()}, got {tokens.tolist()}"],
        )
