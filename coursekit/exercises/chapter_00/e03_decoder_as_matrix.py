"""Exercise 0.3: `decoder_as_matrix`."""

from __future__ import annotations

import torch

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check


@exercise(
    id="0.3",
    reference="tensors.decoder_as_matrix",
    difficulty=1,
    importance=4,
    minutes=5,
    points=1,
)
def decoder_as_matrix(check: Check) -> None:
    for latents, inputs in ((5, 2), (3, 7), (3, 3)):
        W_dec = check.normal(2, latents, inputs)
        for instance in (0, 1):
            own = W_dec[instance]
            mistakes = {
                "the decoder is returned as it is stored, with one row for each latent": own,
                "the numbers are reshaped instead of transposed": own.reshape(inputs, latents),
                "instance 0 is returned whichever was asked for": W_dec[0].T,
                "the last instance is returned whichever was asked for": W_dec[1].T,
                "the matrices of all instances are returned instead of one": W_dec.mT,
                "the matrices of all instances are returned instead of one, as they are stored": W_dec,
                "the wrong axis is indexed: it is one latent of every instance": W_dec[:, instance].T,
                "the wrong axis is indexed: it is one latent of every instance, as it is stored": W_dec[
                    :, instance
                ],
                "the wrong axis is indexed: it is one input of every instance": W_dec[..., instance].T,
                "the wrong axis is indexed: it is one input of every instance, as it is stored": W_dec[
                    ..., instance
                ],
                "the matrix is inverted instead of transposed": torch.linalg.pinv(own),
                "the directions are scaled to length one": (own / own.norm(dim=1, keepdim=True)).T,
            }
            claim = "`M @ z` is the reconstruction"
            if latents == inputs:
                claim = "also for a square decoder, where a transposed one would give no error"
            check.equal(
                check.call(W_dec, instance),
                own.T,
                "n_input_ae n_hidden_ae",
                claim,
                mistakes,
                what="the matrix",
            )
