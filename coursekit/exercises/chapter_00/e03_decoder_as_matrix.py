"""Exercise 0.3: `decoder_as_matrix`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, Mistakes


@exercise(
    id="0.3",
    reference="tensors.decoder_as_matrix",
    difficulty=1,
    importance=4,
    minutes=5,
    points=1,
)
def decoder_as_matrix(check: Check) -> None:
    _check_which_instance(check)
    for instances, latents, inputs in ((2, 5, 2), (2, 3, 7), (2, 3, 3), (3, 1, 5), (1, 5, 1)):
        W_dec = check.normal(instances, latents, inputs)
        for instance in range(instances):
            claim = "`M @ z` is the reconstruction"
            if latents == inputs:
                claim = "also for a square decoder, where a transposed one would give no error"
            check.equal(
                check.call(W_dec, instance),
                W_dec[instance].T,
                "n_input_ae n_hidden_ae",
                claim,
                _mistakes(W_dec, instance),
                what="the matrix",
            )
    check.leaves_inputs(check.normal(2, 5, 3), 1)


def _mistakes(W_dec: Tensor, instance: int) -> Mistakes:
    own = W_dec[instance]
    return {
        "the decoder is returned as it is stored, with one row for each latent": own,
        "the numbers are reshaped instead of transposed": own.reshape(own.T.shape),
        "the matrices of all instances are returned instead of one": W_dec.mT,
        "the matrices of all instances are returned instead of one, as they are stored": W_dec,
        "the wrong axis is indexed: it is one latent of every instance": lambda: W_dec[:, instance].T,
        "the wrong axis is indexed: it is one latent of every instance, as it is stored": lambda: W_dec[
            :, instance
        ],
        "the wrong axis is indexed: it is one input of every instance": lambda: W_dec[..., instance].T,
        "the wrong axis is indexed: it is one input of every instance, as it is stored": lambda: W_dec[
            ..., instance
        ],
        "the matrix is inverted instead of transposed": lambda: torch.linalg.pinv(own),
        "the directions are scaled to length one": (own / own.norm(dim=1, keepdim=True)).T,
        "the matrix is turned by 90 degrees instead of transposed": [
            torch.rot90(own),
            torch.rot90(own, -1),
        ],
    }


def _check_which_instance(check: Check) -> None:
    """Of four instances the one that was asked for is returned, and not always the same or a neighbor."""
    count = 4
    W_dec = check.normal(count, 5, 7)
    given = []
    for asked in range(count):
        matrix = check.call(W_dec, asked)
        same = [isinstance(matrix, Tensor) and torch.equal(matrix, W.T) for W in W_dec]
        given.append(same.index(True) if any(same) else None)
    if given == list(range(count)) or None in given:
        # What is no instance's matrix is compared below.
        return
    if len(set(given)) == 1:
        which = {0: "instance 0", count - 1: "the last instance"}.get(given[0] or 0, f"instance {given[0]}")
        raise Mistake(f"The matrix of {which} is returned whichever was asked for.")
    asked, got = next((asked, got) for asked, got in enumerate(given) if asked != got)
    raise Mistake(
        f"For instance {asked} the matrix of instance {got} is returned. Instances are counted from 0, and `instance` "
        "is the index of the one that is asked for."
    )
