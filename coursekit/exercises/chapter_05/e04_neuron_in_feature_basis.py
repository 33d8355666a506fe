"""Exercise 5.4: `neuron_in_feature_basis`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, agree
from coursekit.checking.general_mistakes import mistakes_in_inputs
from coursekit.checking.phrases import explained, unit_rows
from coursekit.exercises.chapter_05.parts import check_defaults, fields, make_autoencoder, number_of, pick

ROW = (
    "Two sizes do not go together. One neuron is a *column* of the decoder, `W_dec[instance, :, neuron]`, with a "
    "number for each latent; a row has one for each neuron."
)


@exercise(
    id="5.4",
    reference="interpretation.neuron_in_feature_basis",
    difficulty=2,
    importance=2,
    minutes=8,
    points=2,
)
def neuron_in_feature_basis(check: Check) -> None:
    handle, autoencoder = make_autoencoder(check, n_instances=3)
    W_enc, W_dec, b_enc, b_dec = (
        x.detach() for x in (autoencoder.W_enc, autoencoder.W_dec, autoencoder.b_enc, autoencoder.b_dec)
    )
    rows = unit_rows(W_dec)
    for instance, tokens in ((2, 17), (0, 5), (1, 1)):
        neuron = pick(check, 13)
        acts = 3 * check.sparse(tokens, 19, probability=0.5)
        # Weak activations count as well.
        acts[-1, :4] = torch.tensor([0.004, 0.008, 0.0006, 0.002])
        weights, bias = rows[instance, :, neuron], b_dec[instance, neuron]
        expected = acts * weights
        others = [other for other in range(3) if other != instance]
        with explained(dict.fromkeys(("broadcast", "must match"), ROW)):
            result = check.call(acts, handle, neuron, instance)
        found, found_bias = fields(check, result, "contributions, bias")
        mistakes = {
            "the decoder's rows are not brought to unit length": acts * W_dec[instance, :, neuron],
            "the encoder is used; what a latent writes is its row of the decoder": acts
            * W_enc[instance, neuron],
            "the encoder at unit length is used; what a latent writes is its row of the decoder": acts
            * unit_rows(W_enc.mT)[instance, :, neuron],
            "the neuron's column is brought to unit length instead of every latent's row": acts
            * W_dec[instance, :, neuron]
            / W_dec[instance, :, neuron].norm(),
            **{
                f"another instance is used ({other}, and not {instance})": acts * rows[other, :, neuron]
                for other in others
            },
            "activations below 0.01 are left out": expected * (acts > 0.01),
            "the contributions are summed over the latents; each of them is asked for": expected.sum(dim=1),
            "the contributions are summed over the latents and the bias is added": expected.sum(dim=1) + bias,
            "the contributions are averaged over the tokens; each token is asked for": expected.mean(dim=0),
            "the contributions are summed over the tokens; each token is asked for": expected.sum(dim=0),
            "only the first token is looked at": expected[0],
            "only the last token is looked at": expected[-1],
            "the activations are left out: these are the decoder's entries": weights,
            "the activations are left out: these are the decoder's entries, once for each token": weights.expand_as(
                acts
            ),
            "the bias is added to every contribution": expected + bias,
            "the bias is spread over the latents; it is returned apart": expected + bias / acts.shape[1],
            "the latents' axis counts for the neurons (`W_dec[instance, neuron]`)": expected.new_zeros(()),
            "a neighboring neuron is taken (one further)": acts * rows[instance, :, (neuron + 1) % 13],
            "a neighboring neuron is taken (one before)": acts * rows[instance, :, neuron - 1],
            "the absolute values are taken; a contribution can be negative": expected.abs(),
            "each is divided by the sum over the latents": expected / expected.sum(dim=1, keepdim=True),
            "each is divided by the sum of their absolute values": expected
            / expected.abs().sum(dim=1, keepdim=True).clamp_min(1e-12),
            "the contributions are taken away from the bias": bias - expected,
            "latents that never fire on these tokens are left out": expected[:, (acts > 0).any(dim=0)],
            "all neurons are returned": acts[:, :, None] * rows[instance],
            "all neurons are returned, after a sum over the latents": acts @ rows[instance],
        }
        check.equal(
            found, expected, "tokens n_hidden_ae", "a latent adds its activation times its direction's entry", mistakes,
            what="`contributions`",
            misread=mistakes_in_inputs(
                lambda acts, W_dec: acts * W_dec,
                {"acts": (acts, "tokens n_hidden_ae"), "W_dec": (weights, "n_hidden_ae")},
            ),
        )  # fmt: skip
        if (
            isinstance(found_bias, Tensor)
            and found_bias.numel() > 1
            and agree(found_bias, bias.expand_as(found_bias))
        ):
            found_bias = found_bias.flatten()[0]
        if isinstance(found_bias, Tensor) and agree(found_bias, b_dec[instance]):
            raise Mistake("`bias` is all of `b_dec[instance]`; one neuron has one entry of it.")
        if isinstance(found_bias, Tensor) and agree(found_bias, b_enc[instance]):
            raise Mistake("`bias` is the encoder's bias; the reconstruction has `b_dec`.")
        number = number_of(found_bias, "`bias`")
        for phrase, value in {
            "": bias,
            **{
                f"it is another instance's ({other}, and not {instance})": b_dec[other, neuron]
                for other in others
            },
            "it is the encoder's bias; the reconstruction has `b_dec`": b_enc[instance, neuron],
            "`b_dec` is averaged over the neurons": b_dec[instance].mean(),
            "`b_dec` is summed over the neurons": b_dec[instance].sum(),
            "its sign is turned round": -bias,
            "it is lost": torch.zeros(()),
            "it is counted once for each token": tokens * bias,
            "it is counted once for each latent": acts.shape[1] * bias,
            "it is counted twice": 2 * bias,
            "it is the next neuron's": b_dec[instance, (neuron + 1) % 13],
        }.items():
            if abs(number - float(value)) < 1e-5:
                if not phrase:
                    break
                raise Mistake(
                    f"`bias` is wrong: {phrase}. Without the right one the parts do not add up to the neuron's "
                    "reconstruction.",
                    [f"expected {float(bias):.5g}, got {number:.5g}"],
                )
        else:
            raise Mistake("`bias` is wrong.", [f"expected {float(bias):.5g}, got {number:.5g}"])
        check.leaves_inputs(acts, handle, neuron, instance)
        check_defaults(check, (acts, handle, neuron), (0,), "`instance` is 0")
        check.holds(True, "contributions and bias add up to the neuron's entry of the reconstruction", "")
