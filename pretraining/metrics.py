"""What an autoencoder's error is measured by in its training.

A squared error counts every neuron alike, the model does not: it reads what the MLP writes into the residual stream. A
metric gives coordinates in which a plain squared error is the one that is wanted, so that training needs no other loss.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.one_layer_model import OneLayerModel
from pretraining.sparse_training import Batches, Weights


class Metric:
    """Coordinates of activations in which distances are those of an inner product.

    Args:
        inner: the inner product; a difference d of two activations has the squared length d inner dᵀ, up to one factor
            for all. Directions that have none keep a millionth of the largest.
    """

    def __init__(self, inner: Float[Tensor, "size size"]) -> None:
        values, vectors = torch.linalg.eigh(inner.double())
        lengths = values.clamp_min(values.max() * 1e-6).sqrt()
        lengths = lengths / lengths.square().mean().sqrt()
        self.there: Float[Tensor, "size size"] = (vectors * lengths).float()
        """`h @ there` are the coordinates of h."""
        self.back: Float[Tensor, "size size"] = (vectors / lengths).mT.float()

    def weights_for_activations(self, weights: Weights) -> Weights:
        """Rewrite an autoencoder of these coordinates as one of the activations, with decoder rows of unit length."""
        there, back = self.there.to(weights.decoder.device), self.back.to(weights.decoder.device)
        return _with_unit_rows(
            weights, weights.encoder @ there.mT, weights.decoder @ back, weights.b_dec @ back
        )

    def weights_for_coordinates(self, weights: Weights) -> Weights:
        """Rewrite an autoencoder of the activations as one of these coordinates, with decoder rows of unit length."""
        there, back = self.there.to(weights.decoder.device), self.back.to(weights.decoder.device)
        return _with_unit_rows(
            weights, weights.encoder @ back.mT, weights.decoder @ there, weights.b_dec @ there
        )


def _with_unit_rows(weights: Weights, encoder: Tensor, decoder: Tensor, b_dec: Tensor) -> Weights:
    lengths = decoder.norm(dim=1)
    return Weights(
        encoder=encoder * lengths[:, None],
        decoder=decoder / lengths[:, None],
        b_enc=weights.b_enc * lengths,
        b_dec=b_dec,
        threshold=weights.threshold * lengths,
    )


def logit_metric(model: OneLayerModel) -> Metric:
    """Return the metric of what a one-layer model's neurons do to its logits.

    What an activation h adds to them is h W_out diag(w) W_U, w being the weights of the final LayerNorm and the mean
    over the vocabulary being taken off.
    """
    weights = {name: weight.double() for name, weight in model.state_dict().items()}
    W_out = weights["layers.0.mlp.fc_out.weight"]  # d_model d_mlp
    W_U = weights["head.weight"] * weights["ln_out.weight"]  # d_vocab d_model
    W_U = W_U - W_U.mean(dim=0)
    return Metric(W_out.mT @ (W_U.mT @ W_U) @ W_out)


def output_metric(
    W_out: Float[Tensor, "d_mlp d_model"], acts: Float[Tensor, "sample d_mlp"], share: float
) -> Metric:
    """Return the metric of an error that is in part that of the MLP's output.

    The squared length of an error is `share` times the variance that it leaves unexplained of the MLP's output h W_out,
    and 1 - `share` times the one of the neurons h.

    Args:
        W_out: what the neurons write into the residual stream.
        acts: activations of the neurons, for the two variances.
        share: from 0, where neurons alone count, to 1.
    """
    centered = (acts - acts.mean(dim=0)).double()
    W_out = W_out.double()
    neurons, output = centered.pow(2).sum(), (centered @ W_out).pow(2).sum()
    own = torch.eye(len(W_out), dtype=torch.float64, device=W_out.device)
    return Metric((1 - share) * own / neurons + share * (W_out @ W_out.mT) / output)


class BatchesInMetric:
    """Batches in the coordinates of a metric."""

    def __init__(self, batches: Batches, metric: Metric) -> None:
        self.batches, self.count = batches, batches.count
        self.there = metric.there
        self.sample = batches.sample.float() @ self.there.to(batches.sample.device)

    def __call__(self, step: int) -> Float[Tensor, "share size"]:
        batch = self.batches(step)
        return batch.float() @ self.there.to(batch.device)
