"""Training an autoencoder on the hidden states of a toy model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from part_utils.fast.present_features import present_hidden_states
from part_utils.fast.sparse_coding_loss import SparseCodingLoss
from part_utils.hidden_states import all_hidden_states
from part_utils.progress_bar import progress_bar
from part_utils.resampling import dead_neurons, resample_advanced, resample_simple, reset_adam_state
from part_utils.training import Schedule, TrainingLog, constant_lr, train

if TYPE_CHECKING:
    from part_utils.autoencoder import AutoEncoder
    from part_utils.toy_model import ToyModel


@dataclass(frozen=True)
class ToyTraining:
    """How an autoencoder is trained on a toy model."""

    batch_size: int = 1024
    """Inputs in each batch, for each instance."""
    steps: int = 10_000
    """Number of steps."""
    lr: float = 1e-3
    """Learning rate."""
    lr_schedule: Schedule = constant_lr
    """`(step, steps) -> factor` for the learning rate."""
    resample_method: Literal["simple", "advanced"] | None = None
    """What happens to dead latents: nothing (None), `resample_simple` or `resample_advanced`."""
    resample_window: int = 500
    """A latent is dead when it did not fire in this many steps."""
    resample_every: int | None = None
    """Steps from one resampling to the next; the window when left out."""
    resample_until: float = 0.75
    """The share of the run after which nothing is resampled any more, so that the last newcomers have time to find
    their place."""
    neuron_resample_scale: float = 0.2
    """Length of the new encoder columns (see `resample_simple` and `resample_advanced`, which measure it
    differently)."""
    reset_adam: bool = False
    """Also make Adam forget the resampled latents."""
    project_decoder: bool = False
    """Put the decoder back to unit length after every step. Not needed where `forward` normalizes it; for an
    autoencoder whose `forward` does not."""
    seed: int | None = 0
    """Where everything random comes from."""
    progress: bool = True
    """Show a progress bar with L1, L2, L0 and the share of dead latents."""
    max_records: int = 200
    """The most steps that the log keeps."""

    def __post_init__(self) -> None:
        if self.resample_method not in (None, "simple", "advanced"):
            raise ValueError(
                f"resample_method is {self.resample_method!r}; pass None, 'simple' or 'advanced'."
            )
        for name in ("batch_size", "resample_window", "resample_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, but there must be at least one; pass 1 or more.")


def train_on_toy_model(autoencoder: AutoEncoder, model: ToyModel, settings: ToyTraining) -> TrainingLog:
    """Train every instance on the hidden states of the same instance of a toy model, which stays fixed.

    An autoencoder and a toy model that are plain (`is_plain`) take a short cut: only inputs that are not empty are
    drawn (`draw_present_features`), and the gradient is written out (`SparseCodingLoss`). A class derived from
    either, with methods of its own, is trained with exactly these. During the training the autoencoder is in the mode
    `train()`, afterwards in the mode `eval()`, for the kinds that compute something else in each.

    Args:
        autoencoder: what is trained, in place.
        model: the toy model, with the same `n_instances` and `n_hidden == n_input_ae`.
        settings: how.

    Returns:
        The log of the run. Beside "loss" and "lr" it has, for each recorded step, "l1", "l2", "l0" (the
        mean number of latents that fire, mean over the instances) and "dead" (the share of latents that
        did not fire in the window), and the tensors "frac_active" (mean over the steps since the record
        before) and "n_resampled" (how often so far), of shape `n_instances n_hidden_ae`, and "W_enc",
        "W_dec" (unit length), "b_enc" and "b_dec".

    Raises:
        ValueError: model and autoencoder do not fit together, or a setting is out of range.
    """
    check_fit(autoencoder, model)
    autoencoder.train()
    resample_every = settings.resample_window if settings.resample_every is None else settings.resample_every
    shape = (autoencoder.cfg.n_instances, autoencoder.cfg.n_hidden_ae)
    window = autoencoder.b_enc.new_zeros((settings.resample_window, *shape))
    n_resampled = torch.zeros(shape, dtype=torch.int, device=window.device)
    now: dict[str, Any] = {"fired": torch.zeros_like(window[0]), "since": 0}

    plain = autoencoder.is_plain()
    if plain and model.is_plain():
        batches = present_hidden_states(model, settings.batch_size)
    else:
        batches = all_hidden_states(model, settings.batch_size)

    def compute_loss() -> Tensor:
        h, weight = next(batches)
        if plain:
            W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
            loss, l1, l2, frac_active = SparseCodingLoss.apply(
                autoencoder.W_enc,
                W_dec,
                autoencoder.b_enc,
                autoencoder.b_dec,
                h,
                weight,
                autoencoder.cfg.l1_coeff,
            )
        else:
            out = autoencoder(h.permute(2, 0, 1))
            loss, l1, l2 = out.loss, out.l1_loss.mean(dim=0).sum(), out.l2_loss.mean(dim=0).sum()
            frac_active = (out.acts > 0).float().mean(dim=0)
        now.update(l1=l1, l2=l2, frac_active=frac_active)
        return loss

    def after_step(step: int, optimizer: torch.optim.Optimizer) -> None:
        if settings.project_decoder:
            autoencoder.normalize_decoder()
        window[step % len(window)] = now["frac_active"]
        now["fired"] += now["frac_active"]
        now["since"] += 1
        done = step + 1
        due = done % resample_every == 0 and len(window) <= done <= settings.resample_until * settings.steps
        if settings.resample_method is not None and due:
            if settings.resample_method == "simple":
                resampled = resample_simple(autoencoder, window, settings.neuron_resample_scale)
            else:
                h, _ = next(fresh_inputs)
                resampled = resample_advanced(
                    autoencoder, window, h.permute(2, 0, 1), settings.neuron_resample_scale
                )
            autoencoder.restart(resampled)
            if settings.reset_adam:
                reset_adam_state(optimizer, autoencoder, resampled)
            n_resampled.add_(resampled)
        bar.update()

    fresh_inputs = all_hidden_states(model, settings.batch_size)

    def record() -> dict[str, Any]:
        values = {
            "l1": now["l1"].item() / autoencoder.cfg.n_instances,
            "l2": now["l2"].item() / autoencoder.cfg.n_instances,
            "l0": now["frac_active"].sum(dim=-1).mean().item(),
            "dead": dead_neurons(window).float().mean().item(),
        }
        bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()}, refresh=False)
        frac_active = now["fired"] / now["since"]
        now.update(fired=torch.zeros_like(frac_active), since=0)
        weights = {"W_enc": autoencoder.W_enc, "b_enc": autoencoder.b_enc, "b_dec": autoencoder.b_dec}
        return {
            **values,
            "frac_active": frac_active,
            "n_resampled": n_resampled.clone(),
            "W_dec": autoencoder.normalize_and_return_W_dec().detach().clone(),
            **{name: weight.detach().clone() for name, weight in weights.items()},
        }

    bar = progress_bar(settings.steps, show=settings.progress)
    try:
        return train(
            compute_loss,
            autoencoder.parameters(),
            settings.steps,
            lr=settings.lr,
            lr_schedule=settings.lr_schedule,
            after_step=after_step,
            record=record,
            max_records=settings.max_records,
            seed=settings.seed,
            progress=False,
            threads=1,
        )
    finally:
        bar.close()
        autoencoder.normalize_decoder()
        autoencoder.eval()


def check_fit(autoencoder: AutoEncoder, model: ToyModel) -> None:
    """Raise a ValueError unless the autoencoder can be trained on the hidden states of this toy model."""
    cfg = autoencoder.cfg
    if not hasattr(model, "W"):
        raise ValueError(
            f"A {type(model).__name__} has no W to make hidden states with; pass a ToyModel or a NeuronModel."
        )
    if (model.cfg.n_instances, model.cfg.n_hidden) != (cfg.n_instances, cfg.n_input_ae):
        raise ValueError(
            f"The toy model has {model.cfg.n_instances} instances with a hidden size of {model.cfg.n_hidden},"
            f" but the autoencoder {cfg.n_instances} with n_input_ae={cfg.n_input_ae}; make them equal."
        )
