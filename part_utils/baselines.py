"""What an autoencoder has to beat: as many neurons of the MLP, as many principal components, and copies of neurons.

The neurons of an MLP are a sparse basis already. So a low FVU says little by itself: an autoencoder whose latents each
stand for one neuron has it, and has found nothing. Definitions:

- k neurons: on every token the k neurons farthest from their mean stay as they are, the others are at their mean.
- k principal components: the mean, plus the projection on the k directions in which the activations vary most.
- A latent copies a neuron if that neuron alone holds more than half of the squared length of the latent's decoder row.
- The gain over the neurons: CE recovered (mean ablation) minus the same of k neurons, k being the L0 rounded up.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from part_utils.activations import MLP_HOOK, flatten_activations, get_activations, reads_first_mlp
from part_utils.autoencoder import AutoEncoder
from part_utils.evaluation import Evaluation

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


def keep_largest_neurons(
    h: Float[Tensor, "batch d_mlp"], mean: Float[Tensor, "d_mlp"], k: int
) -> Float[Tensor, "batch d_mlp"]:
    """Keep on every token the k neurons that are farthest from their mean, and put all others at their mean.

    "Far" goes both ways, above the mean or below it. Of neurons that are equally far any may be kept, but no more than
    k. `h` itself is not changed.

    Args:
        h: activations, one row for each token.
        mean: the mean of every neuron.
        k: how many neurons of every token stay as they are.

    Returns:
        Activations of the same shape.
    """
    away = h - mean
    farthest = away.abs().topk(k, dim=-1).indices
    return mean + torch.zeros_like(h).scatter(-1, farthest, away.gather(-1, farthest))


def keep_components(
    acts: Float[Tensor, "*tokens d_mlp"],
    mean: Float[Tensor, "d_mlp"],
    directions: Float[Tensor, "k d_mlp"],
) -> Float[Tensor, "*tokens d_mlp"]:
    """Return the mean plus the projection of the activations on orthonormal directions."""
    return mean + (acts - mean) @ directions.mT @ directions


@torch.no_grad()
def neuron_copies(autoencoder: AutoEncoder) -> Bool[Tensor, "n_instances n_hidden_ae"]:
    """Find the latents that copy a neuron: one neuron holds more than half of the squared length of the row."""
    squares = autoencoder.normalize_and_return_W_dec().pow(2)
    return squares.amax(dim=-1) > 0.5 * squares.sum(dim=-1)


class Baseline(NamedTuple):
    """What k neurons or k principal components keep."""

    fvu: float
    """The fraction of variance unexplained."""
    loss: float
    """Of the language model with them in the activations' place, in nats per token."""
    recovered: float
    """CE recovered; 0 is zero ablation."""
    recovered_from_mean: float
    """CE recovered; 0 is mean ablation."""


class Comparison(NamedTuple):
    """One instance of an autoencoder beside what it has to beat."""

    k: int
    """Its L0, rounded up: how many neurons and principal components it is compared with."""
    neurons: Baseline
    components: Baseline
    gain: float
    """CE recovered from the mean, minus that of k neurons."""
    n_copies: int
    """How many latents copy a neuron and fire at all."""
    copies_share: float
    """Which share of all firing is theirs."""


@torch.no_grad()
def moments(
    tokens: Int[Tensor, "rows seq"], model: "TransformerBridge", batch_rows: int = 16
) -> tuple[Float[Tensor, "d_mlp"], Float[Tensor, "d_mlp d_mlp"]]:
    """Return the mean of the MLP's activations over a text, and their covariance, both summed up in float64."""
    d_mlp = len(model.blocks[0].mlp.W_out)
    total = torch.zeros(d_mlp, dtype=torch.float64, device=tokens.device)
    products = torch.zeros(d_mlp, d_mlp, dtype=torch.float64, device=tokens.device)
    for rows in tokens.split(batch_rows):
        acts = flatten_activations(get_activations(rows, model)).double()
        total += acts.sum(dim=0)
        products += acts.mT @ acts
    mean = total / tokens.numel()
    return mean, products / tokens.numel() - torch.outer(mean, mean)


@reads_first_mlp
@torch.no_grad()
def compare_with_baselines(
    tokens: Int[Tensor, "rows seq"],
    model: "TransformerBridge",
    autoencoder: AutoEncoder,
    evaluation: Evaluation,
    batch_rows: int = 16,
) -> list[Comparison]:
    """Measure for every instance what as many neurons and as many principal components keep, and its neuron copies.

    Mean and principal components are those of `tokens` themselves, which is in favor of the baselines.

    Args:
        tokens: the text that `evaluation` was made on.
        model: the language model.
        autoencoder: the autoencoder, with all its instances.
        evaluation: what `evaluate(tokens, model, autoencoder)` returned.
        batch_rows: rows at a time.
    """
    mean, covariance = moments(tokens, model, batch_rows)
    directions = torch.linalg.eigh(covariance).eigenvectors.mT.flip(0)
    mean, directions = mean.to(autoencoder.W_dec), directions.to(autoencoder.W_dec)
    # Above 8.0000001 there is no ninth latent, only rounding.
    sizes = [min(max(1, math.ceil(l0 - 1e-6)), len(mean)) for l0 in evaluation.l0]
    wanted = [(kind, k) for k in sorted(set(sizes)) for kind in ("neurons", "components")]
    errors, losses = torch.zeros(2, len(wanted), dtype=torch.float64)
    for rows in tokens.split(batch_rows):
        acts = get_activations(rows, model)
        for index, (kind, k) in enumerate(wanted):
            kept = (
                keep_largest_neurons(acts, mean, k)
                if kind == "neurons"
                else keep_components(acts, mean, directions[:k])
            )

            def put(value: Tensor, hook: Any, kept: Tensor = kept) -> Tensor:
                return kept

            loss = model.run_with_hooks(rows, return_type="loss", fwd_hooks=[(MLP_HOOK, put)])
            losses[index] += loss.double().item() * len(rows)
            errors[index] += (acts - kept).double().pow(2).sum().item()
    losses /= len(tokens)
    fvu = errors / (covariance.trace().item() * tokens.numel())
    clean = evaluation.loss_clean
    baselines = {
        key: Baseline(
            fvu=fvu[index].item(),
            loss=loss,
            recovered=(evaluation.loss_zero_ablated - loss) / (evaluation.loss_zero_ablated - clean),
            recovered_from_mean=(evaluation.loss_mean_ablated - loss)
            / (evaluation.loss_mean_ablated - clean),
        )
        for index, (key, loss) in enumerate(zip(wanted, losses.tolist(), strict=True))
    }
    copies, rates = neuron_copies(autoencoder), evaluation.firing_rates
    return [
        Comparison(
            k=k,
            neurons=baselines["neurons", k],
            components=baselines["components", k],
            gain=evaluation.recovered_from_mean[i] - baselines["neurons", k].recovered_from_mean,
            n_copies=int((copies[i] & (rates[i] > 0)).sum()),
            copies_share=(rates[i][copies[i]].sum() / rates[i].sum().clamp_min(1e-12)).item(),
        )
        for i, k in enumerate(sizes)
    ]
