"""The quick twins of the variants' training steps, from the latents that fire alone.

A step has five products: encode, decode, and the gradients of the decoder, of the latents and of the encoder.
Only the encoding needs every latent. Where one latent in twelve fires or fewer, the others are weighted sums
of a few rows of the weights or of the inputs, over the pairs of an input and a latent that fires on it. Where
more fire, the products are matrix products, for so few inputs at a time that a processor's cache holds them.

The readable originals are `forward` of `BatchTopKAutoEncoder`, `MatryoshkaAutoEncoder`, `JumpReLUAutoEncoder` and
`GatedAutoEncoder`, and autograd.
"""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.autoencoder import AutoEncoder
from part_utils.fast import overrides
from part_utils.fast.embedding_bag import FiringPairs
from part_utils.tensors import SMALLEST_NORM
from part_utils.variants.batch_topk import BatchTopKAutoEncoder
from part_utils.variants.gated import GatedAutoEncoder
from part_utils.variants.jumprelu import JumpReLUAutoEncoder
from part_utils.variants.matryoshka import MatryoshkaAutoEncoder

CHUNK = 128
"""Inputs that are encoded at a time, so that what is computed for them stays in a processor's cache."""
FEW = 1 / 12
"""The share of all pairs up to which summing over them is quicker than matrix products."""
SAMPLE = 64
"""One input in so many shows beforehand how large the largest pre-activations of a batch are."""


class TooManyPairs(Exception):
    """More latents fire than summing over pairs is good for."""


def positive(values: Tensor) -> Tensor:
    """Return 1 where a value is above 0, and 0 elsewhere. Multiplying by booleans takes six times as long."""
    return torch.relu(values).sign_()


class Weights:
    """The parameters of an autoencoder of one instance, without the axis of the instances."""

    def __init__(self, autoencoder: AutoEncoder) -> None:
        self.autoencoder = autoencoder
        self.W_enc: Float[Tensor, "n_input_ae n_hidden_ae"] = autoencoder.W_enc[0]
        self.b_enc: Float[Tensor, " n_hidden_ae"] = autoencoder.b_enc[0]
        self.b_dec: Float[Tensor, " n_input_ae"] = autoencoder.b_dec[0]
        self.length = autoencoder.W_dec[0].norm(dim=-1, keepdim=True).clamp_min(SMALLEST_NORM)
        self.directions: Float[Tensor, "n_hidden_ae n_input_ae"] = autoencoder.W_dec[0] / self.length
        self.found: dict[str, Tensor] = {}

    def encode(self, centered: Float[Tensor, "batch n_input_ae"]) -> Float[Tensor, "batch n_hidden_ae"]:
        """Return the pre-activations."""
        return torch.addmm(self.b_enc, centered, self.W_enc)

    def add_gradients(
        self, part: "Pairs | AllPairs", acts: Tensor, slope: Tensor, grad_projected: Tensor, **others: Tensor
    ) -> None:
        """Add the gradients of all parameters that come from a part of the batch.

        Args:
            part: the pairs of inputs and latents that it is about.
            acts: how strongly the latent of each pair fires.
            slope: the gradient of what the decoder returns.
            grad_projected: of `centered @ W_enc` at the pairs.
            others: of the parameters that have one number for each latent.
        """
        parts = {
            "W_enc": part.rows_by_latent(part.centered, grad_projected),
            "W_dec": part.rows_by_latent(slope, acts),
            "b_dec": slope.sum(dim=0) - self.W_enc @ part.by_latent(grad_projected),
            **others,
        }
        for name, gradient in parts.items():
            if name in self.found:
                self.found[name] += gradient
            else:
                self.found[name] = gradient

    def fill_gradients(self) -> None:
        """Set `grad` of all parameters to what was added up."""
        along = (self.found["W_dec"] * self.directions).sum(dim=-1, keepdim=True)
        self.found["W_dec"] = (self.found["W_dec"] - along * self.directions) / self.length
        self.found["W_enc"] = self.found["W_enc"].mT.contiguous()
        for name, gradient in self.found.items():
            getattr(self.autoencoder, name).grad = gradient[None]


class Pairs(FiringPairs):
    """Inputs and latents that belong together. What fires is among them."""

    def __init__(
        self,
        weights: Weights,
        centered: Float[Tensor, "batch n_input_ae"],
        inputs: Int[Tensor, "pairs"],
        latents: Int[Tensor, "pairs"],
        pre_acts: Float[Tensor, "pairs"],
    ) -> None:
        super().__init__(weights.directions, inputs, latents, len(centered))
        self.weights, self.centered, self.pre_acts = weights, centered, pre_acts

    def of(self, which: Tensor) -> "Pairs":
        """Return some of the pairs: where `which` is True, or those that it numbers."""
        some = (tensor[which] for tensor in (self.inputs, self.latents, self.pre_acts))
        return Pairs(self.weights, self.centered, *some)

    def each(self, parameter: Float[Tensor, "n_hidden_ae"]) -> Float[Tensor, "pairs"]:
        """Return a parameter of every latent, for each pair."""
        return parameter[self.latents]


class AllPairs:
    """Some inputs with all latents; does the same as `Pairs`. What is said of each pair is a matrix."""

    def __init__(self, weights: Weights, centered: Float[Tensor, "batch n_input_ae"]) -> None:
        self.weights, self.centered, self.pre_acts = weights, centered, weights.encode(centered)

    def each(self, parameter: Float[Tensor, "n_hidden_ae"]) -> Float[Tensor, "n_hidden_ae"]:
        """Return the parameter, which stretches over the inputs by itself."""
        return parameter

    def decode(self, values: Float[Tensor, "batch n_hidden_ae"]) -> Float[Tensor, "batch n_input_ae"]:
        """As in `Pairs`."""
        return values @ self.weights.directions

    def grad_values(self, slope: Float[Tensor, "batch n_input_ae"]) -> Float[Tensor, "batch n_hidden_ae"]:
        """As in `Pairs`."""
        return slope @ self.weights.directions.mT

    def by_latent(self, values: Float[Tensor, "batch n_hidden_ae"]) -> Float[Tensor, "n_hidden_ae"]:
        """As in `Pairs`."""
        return values.sum(dim=0)

    def rows_by_latent(
        self, rows: Float[Tensor, "batch n_input_ae"], values: Float[Tensor, "batch n_hidden_ae"]
    ) -> Float[Tensor, "n_hidden_ae n_input_ae"]:
        """As in `Pairs`."""
        return values.mT @ rows


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
        pre_acts = weights.encode(centered[start : start + CHUNK])
        places = (pre_acts > floor).view(-1).nonzero().squeeze(1)
        if len(places) > share * pre_acts.numel():
            raise TooManyPairs
        inputs = places // len(weights.b_enc)
        latents = places - inputs * len(weights.b_enc)
        found.append((inputs + start, latents, pre_acts.view(-1)[places]))
    return Pairs(weights, centered, *(torch.cat(parts) for parts in zip(*found, strict=True)))


def parts_of_batch(
    weights: Weights, centered: Float[Tensor, "batch n_input_ae"], floor: Float[Tensor, "*n_hidden_ae"]
) -> Iterator[Pairs | AllPairs]:
    """Yield the pairs above `floor` in one piece if they are few, otherwise all pairs of some inputs at a time."""
    try:
        yield pairs_above(weights, centered, floor, FEW)
    except TooManyPairs:
        for some in centered.split(CHUNK):
            yield AllPairs(weights, some)


def largest_pairs(weights: Weights, centered: Float[Tensor, "batch n_input_ae"], wanted: int) -> Pairs:
    """Return the pairs with the largest pre-activations of the whole batch, so many of them, but none below 0."""
    # Sorting all pre-activations takes longer than all the rest. A few inputs say from where on to look: at the value
    # that twice as many as wanted reach.
    sample = weights.encode(centered[::SAMPLE]).view(-1)
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
    n_groups, penalty = len(prefixes), autoencoder.cfg.l1_coeff / batch
    centered = h - weights.b_dec
    pairs = largest_pairs(weights, centered, round(autoencoder.k * batch))
    acts = pairs.pre_acts
    autoencoder.follow_threshold(acts.min()[None] if len(acts) else h.new_zeros(1))

    # Each input once for each group, one after the other: what fires there belongs to that copy.
    group = torch.bucketize(pairs.latents, torch.tensor(prefixes), right=True)
    copies = centered.repeat_interleave(n_groups, dim=0)
    pairs = Pairs(weights, copies, pairs.inputs * n_groups + group, pairs.latents, acts)
    groups = pairs.decode(acts).view(batch, n_groups, size)
    error = groups.cumsum(dim=1) - centered[:, None]

    slope = error * (2 / h.numel())
    slope_of_groups = slope.flip(1).cumsum(dim=1).flip(1)
    grad_acts = pairs.grad_values(slope_of_groups.view(-1, size)) + penalty
    weights.add_gradients(
        pairs, acts, slope_of_groups.view(-1, size), grad_acts, b_enc=pairs.by_latent(grad_acts)
    )
    # b_dec is in every prefix once, not in every group.
    weights.found["b_dec"] += slope.sum(dim=(0, 1)) - slope_of_groups.sum(dim=(0, 1))
    weights.fill_gradients()
    return error.pow(2).sum() / h.numel() + penalty * acts.sum()


@torch.no_grad()
def jumprelu_step(autoencoder: JumpReLUAutoEncoder, h: Float[Tensor, "batch n_input_ae"]) -> Tensor:
    """Fill the gradients of a JumpReLU autoencoder and return the loss."""
    weights = Weights(autoencoder)
    penalty, bandwidth = autoencoder.cfg.l1_coeff / len(h), autoencoder.bandwidth
    # A little more than half of the bandwidth, so that rounding loses no pair.
    floor = autoencoder.threshold[0] - 0.501 * bandwidth
    loss = h.new_zeros(())
    for part in parts_of_batch(weights, h - weights.b_dec, floor):
        threshold = part.each(autoencoder.threshold[0])
        above = positive(part.pre_acts - threshold)
        acts = torch.relu(part.pre_acts * above)
        error = part.decode(acts) - part.centered
        slope = error * (2 / h.numel())
        grad_values = part.grad_values(slope)
        grad_acts = grad_values * acts.sign()
        near = positive(bandwidth / 2 - (part.pre_acts - threshold).abs()) / bandwidth
        # What the jump adds is that of a positive latent; the count has no such condition.
        grad_jump = threshold * grad_values * positive(part.pre_acts)
        weights.add_gradients(
            part,
            acts,
            slope,
            grad_acts,
            b_enc=part.by_latent(grad_acts),
            threshold=-part.by_latent(near * (grad_jump + penalty)),
        )
        loss += error.pow(2).sum() / h.numel() + penalty * above.sum()
    weights.fill_gradients()
    return loss


@torch.no_grad()
def gated_step(autoencoder: GatedAutoEncoder, h: Float[Tensor, "batch n_input_ae"]) -> Tensor:
    """Fill the gradients of a gated autoencoder and return the loss."""
    weights = Weights(autoencoder)
    penalty = autoencoder.cfg.l1_coeff / len(h)
    loss = h.new_zeros(())
    for part in parts_of_batch(weights, h - weights.b_dec, h.new_zeros(())):
        stretch = part.each(autoencoder.r_mag[0].exp())
        gate = torch.relu(part.pre_acts)
        is_open = gate.sign()
        stretched = (part.pre_acts - part.each(weights.b_enc)) * stretch
        acts = torch.relu(stretched + part.each(autoencoder.b_mag[0])) * is_open
        error = part.decode(acts) - part.centered
        error_by_gates_alone = part.decode(gate) - part.centered
        slope = error * (2 / h.numel())
        grad_magnitude = part.grad_values(slope) * acts.sign()
        grad_gate = (part.grad_values(error_by_gates_alone * (2 / h.numel())) + penalty) * is_open
        weights.add_gradients(
            part,
            acts,
            slope,
            grad_magnitude * stretch + grad_gate,
            b_enc=part.by_latent(grad_gate),
            b_mag=part.by_latent(grad_magnitude),
            r_mag=part.by_latent(grad_magnitude * stretched),
        )
        loss += (error.pow(2).sum() + error_by_gates_alone.pow(2).sum()) / h.numel() + penalty * gate.sum()
    weights.fill_gradients()
    return loss


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
    for kind, step in STEPS.items():
        if has_quick_step(autoencoder, kind):
            return lambda h: step(autoencoder, h)
    return lambda h: autoencoder(h[:, None]).loss
