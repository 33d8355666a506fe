"""Bringing dead latents back: how to see them, two ways to resample them, and the optimizer's memory of them.

After Bricken et al. 2023, "Towards Monosemanticity", appendix "Neuron Resampling".
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from part_utils.shapes import check_shapes

if TYPE_CHECKING:
    from part_utils.autoencoder import AutoEncoder


@check_shapes
def dead_neurons(
    frac_active_in_window: Float[Tensor, "window n_instances n_hidden_ae"],
) -> Bool[Tensor, "n_instances n_hidden_ae"]:
    """Find the latents that did not fire once in a whole window of training steps.

    Args:
        frac_active_in_window: for every step of the window, the share of the batch on which each latent
            fired (was above zero), shape `window n_instances n_hidden_ae`.

    Returns:
        True for the dead latents, shape `n_instances n_hidden_ae`.
    """
    return (frac_active_in_window == 0).all(dim=0)


@check_shapes
def dead_share(
    frac_active: Float[Tensor, "steps n_instances n_hidden_ae"], window: int
) -> Float[Tensor, " windows"]:
    """Follow the share of dead latents through a training run.

    Args:
        frac_active: for each step the share of the batch on which each latent fired.
        window: over how many steps in a row a latent must be silent to count as dead, at most `steps`.

    Returns:
        For each window of `window` steps in a row, from the first full one to the last, the share of all latents
        (of all instances) that are dead in it: `steps - window + 1` numbers.
    """
    dead = [
        dead_neurons(frac_active[first : first + window]) for first in range(len(frac_active) - window + 1)
    ]
    return torch.stack([mask.float().mean() for mask in dead])


@check_shapes
@torch.no_grad()
def resample_simple(
    autoencoder: "AutoEncoder",
    frac_active_in_window: Float[Tensor, "window n_instances n_hidden_ae"],
    neuron_resample_scale: float = 0.2,
) -> Bool[Tensor, "n_instances n_hidden_ae"]:
    """Give every dead latent a new direction, drawn at random, in place.

    Each dead latent gets a direction of its own, a unit vector, and every direction is equally likely.
    The latent's decoder row becomes this vector, its encoder column becomes the vector times
    `neuron_resample_scale`, and its encoder bias becomes 0. Latents that are alive are not touched.
    With tied weights there is only the encoder to change.

    Args:
        autoencoder: the autoencoder to change.
        frac_active_in_window: firing rates, shape `window n_instances n_hidden_ae` (see `dead_neurons`).
        neuron_resample_scale: length of the new encoder columns; short, so that they disturb little.

    Returns:
        True for the latents that were replaced, shape `n_instances n_hidden_ae`.
    """
    dead = dead_neurons(frac_active_in_window)
    directions = torch.randn_like(autoencoder.W_enc.mT)[dead]
    directions /= directions.norm(dim=-1, keepdim=True)

    autoencoder.W_enc.mT[dead] = neuron_resample_scale * directions
    autoencoder.b_enc[dead] = 0.0
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead] = directions
    return dead


@check_shapes
@torch.no_grad()
def resample_advanced(
    autoencoder: "AutoEncoder",
    frac_active_in_window: Float[Tensor, "window n_instances n_hidden_ae"],
    h: Float[Tensor, "batch n_instances n_input_ae"],
    neuron_resample_scale: float = 0.2,
) -> Bool[Tensor, "n_instances n_hidden_ae"]:
    """Point every dead latent at an input that the autoencoder rebuilds badly, in place.

    For every dead latent draw one row of `h - b_dec`, from the latent's own instance, with probability
    proportional to the square of that row's `l2_loss`, and bring it to unit length. The latent's decoder
    row becomes this vector; its encoder column becomes the vector times `neuron_resample_scale` times the
    mean length of the encoder columns that are alive in the same instance (times 1 where none is alive);
    its encoder bias becomes 0. Latents that are alive are not touched, nor is an instance that rebuilds
    every input without error. An input that equals `b_dec` has no direction, and must not make any weight NaN. With
    tied weights there is only the encoder to change.

    Args:
        autoencoder: the autoencoder to change.
        frac_active_in_window: firing rates, shape `window n_instances n_hidden_ae` (see `dead_neurons`).
        h: inputs, shape `batch n_instances n_input_ae`.
        neuron_resample_scale: length of the new encoder columns, in units of the mean alive one.

    Returns:
        True for the latents that were replaced, shape `n_instances n_hidden_ae`.
    """
    dead = dead_neurons(frac_active_in_window)
    l2_loss = autoencoder(h).l2_loss
    dead &= (l2_loss > 0).any(dim=0).unsqueeze(-1)

    for instance in dead.any(dim=-1).nonzero().flatten().tolist():
        replaced = dead[instance]
        rows = torch.multinomial(l2_loss[:, instance].double().pow(2), int(replaced.sum()), replacement=True)
        directions = h[rows, instance] - autoencoder.b_dec[instance]
        directions /= directions.norm(dim=-1, keepdim=True).clamp_min(1e-8)
        W_enc_alive = autoencoder.W_enc[instance][:, ~replaced]
        length = W_enc_alive.norm(dim=0).mean() if W_enc_alive.numel() else 1.0

        autoencoder.W_enc[instance].mT[replaced] = neuron_resample_scale * length * directions
        autoencoder.b_enc[instance, replaced] = 0.0
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec[instance, replaced] = directions
    return dead


@check_shapes
@torch.no_grad()
def reset_adam_state(
    optimizer: torch.optim.Optimizer,
    autoencoder: "AutoEncoder",
    resampled: Bool[Tensor, "n_instances n_hidden_ae"],
) -> None:
    """Make Adam forget the gradients of the latents that were replaced, in place.

    Adam keeps two running means for every weight in `optimizer.state[parameter]`: `"exp_avg"`, of the
    gradient, and `"exp_avg_sq"`, of its square. Set both to 0 for the encoder columns, encoder biases and
    decoder rows of the resampled latents. Everything else keeps its state, and so does `b_dec`, which
    belongs to no single latent.

    Args:
        optimizer: the Adam optimizer that trains the autoencoder; before its first step there is no
            state, and nothing to reset.
        autoencoder: whose parameters the optimizer holds.
        resampled: True for the latents that were replaced, shape `n_instances n_hidden_ae`.
    """
    masks = {autoencoder.W_enc: resampled.unsqueeze(1), autoencoder.b_enc: resampled}
    if not autoencoder.cfg.tied_weights:
        masks[autoencoder.W_dec] = resampled.unsqueeze(2)
    for parameter, mask in masks.items():
        for name in ("exp_avg", "exp_avg_sq"):
            if name in optimizer.state[parameter]:
                optimizer.state[parameter][name].masked_fill_(mask, 0.0)
