"""The quick twins of the variants' training steps, from the latents that fire alone.

A step has five products: encode, decode, and the gradients of the decoder, of the latents and of the encoder.
Only the encoding needs every latent. Where one latent in twenty fires or fewer, the others are weighted sums
of a few rows of the weights or of the inputs, over the pairs of an input and a latent that fires on it.

The readable originals are `forward` of `BatchTopKAutoEncoder`, `MatryoshkaAutoEncoder`, `JumpReLUAutoEncoder` and
`GatedAutoEncoder`, and autograd.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.autoencoder import AutoEncoder
from part_utils.fast import overrides
from part_utils.fast.embedding_bag import offsets, per_sample_weight_gradients, weighted_sums
from part_utils.tensors import SMALLEST_NORM
from part_utils.variants.batch_topk import BatchTopKAutoEncoder
from part_utils.variants.gated import GatedAutoEncoder
from part_utils.variants.jumprelu import JumpReLUAutoEncoder, near_threshold
from part_utils.variants.matryoshka import MatryoshkaAutoEncoder

CHUNK = 256
"""Inputs that are encoded at a time, so that what is computed for them stays in a processor's cache."""
FEW = 1 / 20
"""The share of all pairs up to which summing over them is quicker than matrix products."""
SAMPLE = 64
"""One input in so many shows beforehand how large the largest pre-activations of a batch are."""


class TooManyPairs(Exception):
    """More latents fire than summing over pairs is good for."""


class Pairs(NamedTuple):
    """Inputs and latents that belong together, ordered by input and then by latent."""

    inputs: Int[Tensor, "pairs"]
    latents: Int[Tensor, "pairs"]
    pre_acts: Float[Tensor, "pairs"]

    def of(self, which: Tensor) -> "Pairs":
        """Return some of the pairs: where `which` is True, or those that it numbers."""
        return Pairs(*(tensor[which] for tensor in self))


class Weights:
    """The parameters of an autoencoder of one instance, without the axis of the instances."""

    def __init__(self, autoencoder: AutoEncoder) -> None:
        self.autoencoder = autoencoder
        self.W_enc: Float[Tensor, "n_input_ae n_hidden_ae"] = autoencoder.W_enc[0]
        self.b_enc: Float[Tensor, " n_hidden_ae"] = autoencoder.b_enc[0]
        self.b_dec: Float[Tensor, " n_input_ae"] = autoencoder.b_dec[0]
        self.length = autoencoder.W_dec[0].norm(dim=-1, keepdim=True).clamp_min(SMALLEST_NORM)
        self.directions: Float[Tensor, "n_hidden_ae n_input_ae"] = autoencoder.W_dec[0] / self.length

    def by_latent(self, values: Float[Tensor, "pairs"], pairs: Pairs) -> Float[Tensor, "n_hidden_ae"]:
        """Add up one number of every pair, for each latent."""
        return torch.zeros_like(self.b_enc).index_add_(0, pairs.latents, values)

    def fill_gradients(
        self,
        pairs: Pairs,
        acts: Float[Tensor, "pairs"],
        centered: Float[Tensor, "batch n_input_ae"],
        grad_projected: Float[Tensor, "pairs"],
        grad_decoded: Float[Tensor, "sums n_input_ae"],
        sums: Int[Tensor, "pairs"],
        grad_b_dec: Float[Tensor, "n_input_ae"],
        **others: Float[Tensor, "n_hidden_ae"],
    ) -> None:
        """Set the gradients of all parameters.

        Args:
            pairs: the latents that fire.
            acts: how strongly each of them does.
            centered: the inputs less `b_dec`.
            grad_projected: of `centered @ W_enc` at the pairs.
            grad_decoded: of the sums that the decoder makes.
            sums: which of these sums each pair belongs to.
            grad_b_dec: what reaches `b_dec` through the decoder.
            others: of the parameters that have one number for each latent.
        """
        order = pairs.latents.to(torch.int32).sort(stable=True).indices
        starts = offsets(pairs.latents, len(self.b_enc))
        grad_W_enc = weighted_sums(centered, pairs.inputs[order], starts, grad_projected[order])
        grad_directions = weighted_sums(grad_decoded, sums[order], starts, acts[order])
        along = (grad_directions * self.directions).sum(dim=-1, keepdim=True)
        found = {
            "W_enc": grad_W_enc.mT.contiguous(),
            "W_dec": (grad_directions - along * self.directions) / self.length,
            "b_dec": grad_b_dec - self.W_enc @ self.by_latent(grad_projected, pairs),
            **others,
        }
        for name, gradient in found.items():
            getattr(self.autoencoder, name).grad = gradient[None]


def pairs_above(
    weights: Weights,
    centered: Float[Tensor, "batch n_input_ae"],
    floor: Float[Tensor, "*n_hidden_ae"],
    share: float = 1.0,
) -> Pairs:
    """Return the pairs whose pre-activation is larger than `floor`.

    Raises:
        TooManyPairs: of a chunk more than this share of all pairs are.
    """
    found = []
    for start in range(0, len(centered), CHUNK):
        pre_acts = torch.addmm(weights.b_enc, centered[start : start + CHUNK], weights.W_enc)
        places = (pre_acts > floor).view(-1).nonzero().squeeze(1)
        if len(places) > share * pre_acts.numel():
            raise TooManyPairs
        inputs = places // len(weights.b_enc)
        latents = places - inputs * len(weights.b_enc)
        found.append((inputs + start, latents, pre_acts.view(-1)[places]))
    return Pairs(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def largest_pairs(weights: Weights, centered: Float[Tensor, "batch n_input_ae"], wanted: int) -> Pairs:
    """Return the pairs with the largest pre-activations of the whole batch, so many of them, but none below 0."""
    # Sorting all pre-activations takes longer than all the rest. A few inputs say from where on to look: at the value
    # that twice as many as wanted reach.
    sample = torch.addmm(weights.b_enc, centered[::SAMPLE], weights.W_enc).view(-1)
    rank = min(len(sample), max(1, round(2 * wanted * len(sample) / (len(centered) * len(weights.b_enc)))))
    floor = sample.topk(rank, sorted=False).values.min().clamp_min(0)
    pairs = pairs_above(weights, centered, floor)
    if len(pairs.inputs) < wanted and floor > 0:
        pairs = pairs_above(weights, centered, torch.zeros_like(floor))
    if len(pairs.inputs) <= wanted:
        return pairs
    return pairs.of(pairs.pre_acts.topk(wanted, sorted=False).indices.sort().values)


@torch.no_grad()
def batch_topk_step(autoencoder: BatchTopKAutoEncoder, h: Float[Tensor, "batch n_input_ae"]) -> Tensor:
    """Fill the gradients of a BatchTopK or Matryoshka autoencoder and return the loss.

    The latents between one prefix and the next are a group. A prefix rebuilds the input from its own group and those
    before it; so the rebuilt inputs are cumulative sums over the groups, and the gradient of a group is the sum of
    those of the prefixes that have it.
    """
    weights = Weights(autoencoder)
    batch, size = h.shape
    prefixes = getattr(autoencoder, "prefixes", (autoencoder.cfg.n_hidden_ae,))
    centered = h - weights.b_dec
    pairs = largest_pairs(weights, centered, round(autoencoder.k * batch))
    acts = pairs.pre_acts
    autoencoder.follow_threshold(acts.min()[None] if len(acts) else h.new_zeros(1))

    group = torch.bucketize(pairs.latents, torch.tensor(prefixes, device=h.device), right=True)
    sums = pairs.inputs * len(prefixes) + group
    starts = offsets(sums, batch * len(prefixes))
    groups = weighted_sums(weights.directions, pairs.latents, starts, acts).view(batch, len(prefixes), size)
    error = groups.cumsum(dim=1) - centered[:, None]

    slope = error * (2 / (batch * size))
    grad_groups = slope.flip(1).cumsum(dim=1).flip(1).view(-1, size)
    grad_acts = per_sample_weight_gradients(grad_groups, weights.directions, pairs.latents, starts, sums)
    grad_acts += autoencoder.cfg.l1_coeff / batch
    grad_b_dec, grad_b_enc = slope.sum(dim=(0, 1)), weights.by_latent(grad_acts, pairs)
    weights.fill_gradients(pairs, acts, centered, grad_acts, grad_groups, sums, grad_b_dec, b_enc=grad_b_enc)
    return error.pow(2).sum() / (batch * size) + autoencoder.cfg.l1_coeff * acts.sum() / batch


@torch.no_grad()
def jumprelu_step(autoencoder: JumpReLUAutoEncoder, h: Float[Tensor, "batch n_input_ae"]) -> Tensor:
    """Fill the gradients of a JumpReLU autoencoder and return the loss.

    Raises:
        TooManyPairs: too many latents fire or are near to it.
    """
    weights = Weights(autoencoder)
    batch = len(h)
    penalty = autoencoder.cfg.l1_coeff / batch
    threshold, bandwidth = autoencoder.threshold[0], autoencoder.bandwidth
    centered = h - weights.b_dec
    # A little more than half of the bandwidth, so that rounding loses no pair.
    reached = pairs_above(weights, centered, threshold - 0.501 * bandwidth, FEW)
    l0 = (reached.pre_acts > threshold[reached.latents]).sum()
    near = near_threshold(reached.pre_acts, threshold[reached.latents], bandwidth)
    grad_threshold = -penalty * weights.by_latent(near, reached)

    pairs = reached.of((reached.pre_acts > threshold[reached.latents]) & (reached.pre_acts > 0))
    acts = pairs.pre_acts
    starts = offsets(pairs.inputs, batch)
    error = weighted_sums(weights.directions, pairs.latents, starts, acts) - centered
    slope = error * (2 / error.numel())
    grad_acts = per_sample_weight_gradients(slope, weights.directions, pairs.latents, starts, pairs.inputs)
    near = near_threshold(acts, threshold[pairs.latents], bandwidth)
    grad_threshold -= threshold * weights.by_latent(near * grad_acts, pairs)
    grad_b_enc = weights.by_latent(grad_acts, pairs)
    weights.fill_gradients(
        pairs,
        acts,
        centered,
        grad_acts,
        slope,
        pairs.inputs,
        slope.sum(dim=0),
        b_enc=grad_b_enc,
        threshold=grad_threshold,
    )
    return error.pow(2).mean() + penalty * l0


@torch.no_grad()
def gated_step(autoencoder: GatedAutoEncoder, h: Float[Tensor, "batch n_input_ae"]) -> Tensor:
    """Fill the gradients of a gated autoencoder and return the loss.

    Raises:
        TooManyPairs: too many gates are open.
    """
    weights = Weights(autoencoder)
    batch = len(h)
    penalty = autoencoder.cfg.l1_coeff / batch
    r_mag, b_mag = autoencoder.r_mag[0], autoencoder.b_mag[0]
    centered = h - weights.b_dec
    pairs = pairs_above(weights, centered, h.new_zeros(()), FEW)
    gate = pairs.pre_acts
    projected = gate - weights.b_enc[pairs.latents]
    stretched = r_mag.exp()[pairs.latents] * projected
    acts = torch.relu(stretched + b_mag[pairs.latents])

    def slope_and_gradient(values: Float[Tensor, "pairs"]) -> tuple[Tensor, Tensor]:
        """Return the gradients of what these values add up to, and of the values."""
        slope = (weighted_sums(weights.directions, pairs.latents, starts, values) - centered) * (
            2 / h.numel()
        )
        return slope, per_sample_weight_gradients(
            slope, weights.directions, pairs.latents, starts, pairs.inputs
        )

    starts = offsets(pairs.inputs, batch)
    slope, grad_magnitude = slope_and_gradient(acts)
    slope_by_gates_alone, grad_gate = slope_and_gradient(gate)
    grad_magnitude *= acts > 0
    grad_gate += penalty
    weights.fill_gradients(
        pairs,
        acts,
        centered,
        grad_magnitude * r_mag.exp()[pairs.latents] + grad_gate,
        slope,
        pairs.inputs,
        slope.sum(dim=0),
        b_enc=weights.by_latent(grad_gate, pairs),
        b_mag=weights.by_latent(grad_magnitude, pairs),
        r_mag=weights.by_latent(grad_magnitude * stretched, pairs),
    )
    # A slope is the error times 2 / h.numel().
    squared = slope.pow(2).sum() + slope_by_gates_alone.pow(2).sum()
    return squared * (h.numel() / 4) + penalty * gate.sum()


def step_in_pieces(autoencoder: AutoEncoder, h: Float[Tensor, "batch n_input_ae"]) -> Tensor:
    """Fill the gradients with `forward` and autograd, some inputs at a time, and return the loss.

    For autoencoders in which what fires on an input does not depend on the others. Pieces stay in the cache.
    """
    autoencoder.zero_grad()
    total = h.new_zeros(())
    for piece in h.split(CHUNK):
        loss = autoencoder(piece[:, None]).loss * (len(piece) / len(h))
        loss.backward()
        total += loss.detach()
    return total


STEPS: dict[type[AutoEncoder], Callable[..., Tensor]] = {
    BatchTopKAutoEncoder: batch_topk_step,
    MatryoshkaAutoEncoder: batch_topk_step,
    JumpReLUAutoEncoder: jumprelu_step,
    GatedAutoEncoder: gated_step,
}


def has_quick_step(autoencoder: AutoEncoder, kind: type[AutoEncoder]) -> bool:
    """Tell whether the quick step of a class computes what this autoencoder's `forward` and autograd would."""
    own = ("forward", "encode", "decode", "activation", "normalize_and_return_W_dec")
    return (
        isinstance(autoencoder, kind)
        and not overrides(autoencoder, kind, *own)
        and autoencoder.training
        and autoencoder.cfg.n_instances == 1
        and not autoencoder.cfg.tied_weights
        and all(p.requires_grad and p.device.type == "cpu" for p in autoencoder.parameters())
    )


def loss_function(autoencoder: AutoEncoder) -> Callable[[Float[Tensor, "batch n_input_ae"]], Tensor]:
    """Return a function from inputs to their loss, for `part_utils.training.train`.

    For an autoencoder that has a quick step, it fills the gradients of all parameters and returns a loss without a
    gradient. For any other one it returns the loss of `forward`, which has one.

    Args:
        autoencoder: what is trained, of one instance.
    """
    quick_steps = [step for kind, step in STEPS.items() if has_quick_step(autoencoder, kind)]
    if not quick_steps:
        return lambda h: autoencoder(h[:, None]).loss

    def compute_loss(h: Float[Tensor, "batch n_input_ae"]) -> Tensor:
        try:
            return quick_steps[0](autoencoder, h)
        except TooManyPairs:
            return step_in_pieces(autoencoder, h)

    return compute_loss
