"""Chapter 0: shapes and einsum."""

from __future__ import annotations

import torch

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check


@exercise(
    id="0.1",
    reference="tensors.project_features",
    title="Project features into the hidden space",
    statement="""
`features` holds a batch of feature vectors for each of several models ("instances"), `W` one matrix for each
instance. Multiply every feature vector by the matrix of *its own* instance:

$$h_{b,i} = W_i \\, x_{b,i}$$

Write it as one `einsum` that names all four axes, or in any other way that gives the same numbers.
""",
    hints=(
        "Ask of each axis: does it appear in the result? `features` does not, so it is the one that is summed over.",
        "`instances` appears in both inputs *and* in the result. That is what keeps the models apart: each is "
        "multiplied with its own matrix, and nothing is summed over them.",
        'The pattern starts `"batch instances features, instances hidden features -> …"`.',
    ),
    difficulty=1,
    importance=5,
    minutes=5,
    points=1,
)
def project_features(check: Check) -> None:
    for batch, instances, hidden, features in ((7, 3, 2, 5), (1, 5, 11, 3)):
        x, W = check.normal(batch, instances, features), check.normal(instances, hidden, features)
        check.equal(
            check.call(x, W),
            torch.einsum("bif,ihf->bih", x, W),
            "batch instances hidden",
            "right for several instances, and for a batch of one",
            {
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


@exercise(
    id="0.2",
    reference="tensors.reconstruct",
    title="Reconstruct from a decoder",
    statement="""
Now the other direction. Each of `n_hidden_ae` latents has a direction in the input space, and the reconstruction
is the sum of these directions, each weighted with its latent's activation:

$$\\hat h_{b,i} = \\sum_{j} z_{b,i,j} \\; W_{\\text{dec}}[i, j, :]$$

Latent $j$'s direction is a **row** of `W_dec[i]`.
""",
    hints=(
        "Which axis do the activations and the decoder share, apart from `instances`? It is summed over.",
        "`acts` is `batch n_instances n_hidden_ae`, `W_dec` is `n_instances n_hidden_ae n_input_ae`; the result has "
        "`n_input_ae` where `acts` has `n_hidden_ae`.",
        "With `einsum` no transpose is needed: you name the axes, and it finds which ones match.",
    ),
    difficulty=1,
    importance=5,
    minutes=5,
    points=1,
)
def reconstruct(check: Check) -> None:
    for batch, instances, latents, inputs in ((7, 3, 5, 2), (1, 2, 3, 11)):
        acts, W_dec = (
            check.sparse(batch, instances, latents, probability=0.7),
            check.normal(instances, latents, inputs),
        )
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
                    "bil,ilx->bix", (acts > 0).float(), W_dec
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


@exercise(
    id="0.3",
    reference="tensors.decoder_as_matrix",
    title="The matrix in the paper",
    statement="""
Papers write the reconstruction as $\\hat h = M z$, with a column vector $z$ and one *column* of $M$ for each latent.
Return that $M$ for one instance, so that `M @ z` is the reconstruction.
""",
    hints=(
        "`M @ z` needs `M` to have as many columns as `z` has entries: one for each latent. What shape is that?",
        "`W_dec[instance]` has one *row* for each latent. You need the same numbers with rows and columns exchanged.",
    ),
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
