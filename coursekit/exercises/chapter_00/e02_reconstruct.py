"""Exercise 0.2: `reconstruct`."""

from __future__ import annotations

import torch

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check


@exercise(
    id="0.2",
    reference="tensors.reconstruct",
    difficulty=1,
    importance=5,
    minutes=5,
    points=1,
)
def reconstruct(check: Check) -> None:
    for batch, instances, latents, inputs in ((7, 3, 5, 2), (130, 9, 12, 3), (1, 2, 3, 11), (5, 1, 4, 3)):
        acts = 2.5 * check.sparse(batch, instances, latents, probability=0.7)
        if batch != 7:
            # In most autoencoders no latent is below 0, but a decoder is linear.
            acts = acts * check.normal(batch, instances, latents).sign()
        W_dec = check.normal(instances, latents, inputs)
        expected = torch.einsum("bil,ilx->bix", acts, W_dec)
        check.equal(
            check.call(acts, W_dec),
            expected,
            "batch n_instances n_input_ae",
            "right for several instances, and for a batch of one",
            {
                "the decoder of instance 0 is used for every instance": torch.einsum(
                    "bil,lx->bix", acts, W_dec[0]
                ),
                "the instances are added up instead of kept apart": torch.einsum("bil,ilx->bx", acts, W_dec),
                "the instances are mixed: every instance uses the sum of all decoders": torch.einsum(
                    "bil,jlx->bix", acts, W_dec
                ),
                "the instances are mixed: the activations of all instances are added up": torch.einsum(
                    "bjl,ilx->bix", acts, W_dec
                ),
                "the decoder is reshaped as if its *columns* were the latents' directions": torch.einsum(
                    "bil,ixl->bix", acts, W_dec.reshape(instances, inputs, latents)
                ),
                "the directions are weighted with 1 instead of the activations": torch.einsum(
                    "bil,ilx->bix", (acts != 0).float(), W_dec
                ),
                "the directions of latents above 0 are weighted with 1 instead of the activations": torch.einsum(
                    "bil,ilx->bix", (acts > 0).float(), W_dec
                ),
                "batch and instances are exchanged with `reshape`, there and back; `transpose` moves axes": (
                    (acts.reshape(instances, batch, latents) @ W_dec).reshape(batch, instances, inputs)
                ),
                "the sum is divided by how many latents are active": expected
                / (acts != 0).sum(2, keepdim=True).clamp(min=1),
                "the activations go through the pseudo-inverse of the decoder, which is no decoder": torch.einsum(
                    "bil,ixl->bix", acts, torch.linalg.pinv(W_dec)
                ),
                "the activations are ignored: every direction counts once": W_dec.sum(1).expand_as(expected),
                "the sum is divided by the number of latents": expected / latents,
                "the directions are scaled to length one first": torch.einsum(
                    "bil,ilx->bix", acts, W_dec / W_dec.norm(dim=2, keepdim=True)
                ),
                "the products are formed, but nothing is summed over": acts[..., None] * W_dec,
            },
        )
    acts, W_dec = check.sparse(5, 2, 3, probability=0.7), check.normal(2, 3, 3)
    check.equal(
        check.call(acts, W_dec),
        torch.einsum("bil,ilx->bix", acts, W_dec),
        "batch n_instances n_input_ae",
        "right for a square decoder, where a transposed one would give no error",
        {
            "the decoder's *columns* are taken for the latents' directions (it is transposed)": torch.einsum(
                "bil,ixl->bix", acts, W_dec
            )
        },
    )
    check.leaves_inputs(acts, W_dec)
