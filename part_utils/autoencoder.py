"""A sparse autoencoder, and what can be asked of it on a toy model whose true features are known."""

import sys
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import einops
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from part_utils.fast import overrides
from part_utils.fast.present_features import present_hidden_states
from part_utils.fast.sparse_coding_loss import SparseCodingLoss
from part_utils.hidden_states import all_hidden_states
from part_utils.resampling import dead_neurons, resample_advanced, resample_simple, reset_adam_state
from part_utils.tensors import SMALLEST_NORM
from part_utils.toy_model import ToyModel
from part_utils.training import Schedule, TrainingLog, constant_lr, train


@dataclass(frozen=True)
class AutoEncoderConfig:
    """The sizes of an autoencoder and how it is trained."""

    n_instances: int
    """How many independent autoencoders are trained side by side."""
    n_input_ae: int
    """Size of one input: the toy model's hidden dimension, or the width of an MLP."""
    n_hidden_ae: int
    """How many latents each autoencoder has."""
    l1_coeff: float = 0.5
    """Weight of the sparsity penalty in the loss."""
    tied_weights: bool = False
    """Whether the decoder is the encoder's transpose (True) or has weights of its own (False)."""

    def __post_init__(self) -> None:
        for name in ("n_instances", "n_input_ae", "n_hidden_ae"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} is {value!r}, but must be a whole number; pass an int.")
            if value < 1:
                raise ValueError(f"{name} is {value}, but there must be at least one; pass 1 or more.")
        if self.l1_coeff < 0:
            raise ValueError(
                f"l1_coeff is {self.l1_coeff}, but a negative penalty rewards dense latents; pass 0 or more."
            )


class AutoEncoderOutput(NamedTuple):
    """What `AutoEncoder.forward` returns. It unpacks like a tuple, and its fields have names."""

    l1_loss: Float[Tensor, "batch n_instances"]
    """Sum of the latents of every input."""
    l2_loss: Float[Tensor, "batch n_instances"]
    """Squared reconstruction error of every input, mean over the input's dimensions."""
    loss: Float[Tensor, ""]
    """`l2_loss + l1_coeff * l1_loss`, mean over the batch, sum over the instances."""
    acts: Float[Tensor, "batch n_instances n_hidden_ae"]
    """The latents: how strongly each of them fires."""
    h_reconstructed: Float[Tensor, "batch n_instances n_input_ae"]
    """The input, rebuilt from the latents."""


class AutoEncoder(nn.Module):
    """Sparse autoencoders, one per instance, after Bricken et al. 2023 ("Towards Monosemanticity").

        acts            = ReLU((h - b_dec) W_enc + b_enc)
        h_reconstructed = acts W_dec + b_dec
        loss            = mean (h - h_reconstructed)^2 + l1_coeff * sum |acts|

    Every row of `W_dec` is used at unit length, so that a latent cannot lower its L1 penalty by becoming
    small while its decoder row becomes long. With tied weights the decoder is the transpose of `W_enc`,
    at unit length, and there is no `W_dec`.
    """

    W_enc: Float[Tensor, "n_instances n_input_ae n_hidden_ae"]
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"]
    b_enc: Float[Tensor, "n_instances n_hidden_ae"]
    b_dec: Float[Tensor, "n_instances n_input_ae"]

    def __init__(self, cfg: AutoEncoderConfig, device: torch.device | str | None = None) -> None:
        """Make the parameters: `W_enc`, `b_enc`, `b_dec` and, unless the weights are tied, `W_dec`.

        The weights start as random directions, different in every instance. The biases start at zero.

        Args:
            cfg: the sizes; `cfg.tied_weights` says whether there is a `W_dec`.
            device: where the parameters are made.
        """
        super().__init__()
        self.cfg = cfg
        W_enc = torch.randn(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae, device=device)
        self.W_enc = nn.Parameter(W_enc / cfg.n_input_ae**0.5)
        if not cfg.tied_weights:
            W_dec = torch.randn(cfg.n_instances, cfg.n_hidden_ae, cfg.n_input_ae, device=device)
            self.W_dec = nn.Parameter(W_dec / W_dec.norm(dim=-1, keepdim=True))
        self.b_enc = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae, device=device))
        self.b_dec = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_input_ae, device=device))

    def normalize_and_return_W_dec(self) -> Float[Tensor, "n_instances n_hidden_ae n_input_ae"]:
        """Return the decoder with every latent's row at unit length.

        Shape `n_instances n_hidden_ae n_input_ae`. Gradients flow through the division, the parameters
        are not changed, and a row of zeros stays a row of zeros. With tied weights the decoder is the
        encoder with its last two axes swapped.
        """
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W_dec / W_dec.norm(dim=-1, keepdim=True).clamp_min(SMALLEST_NORM)

    @torch.no_grad()
    def normalize_decoder(self) -> None:
        """Rescale every row of `W_dec` to unit length, in place.

        Outside the gradient. A row of zeros stays as it is; so does everything when the weights are tied,
        since there is no `W_dec` then.
        """
        if not self.cfg.tied_weights:
            self.W_dec /= self.W_dec.norm(dim=-1, keepdim=True).clamp_min(SMALLEST_NORM)

    def forward(self, h: Float[Tensor, "batch n_instances n_input_ae"]) -> AutoEncoderOutput:
        """Encode the inputs, decode them again, and measure the loss.

        Args:
            h: the inputs, shape `batch n_instances n_input_ae`.

        Returns:
            `AutoEncoderOutput(l1_loss, l2_loss, loss, acts, h_reconstructed)`:
            `l1_loss` (`batch n_instances`) sums the absolute latents, `l2_loss` (`batch n_instances`) is
            the mean squared error over the input's dimensions, `loss` is one number: `l2_loss` plus
            `cfg.l1_coeff` times `l1_loss`, mean over the batch and sum over the instances.
        """
        check_inputs(h, self.cfg)
        acts = torch.relu(
            einops.einsum(
                h - self.b_dec,
                self.W_enc,
                "batch n_instances n_input_ae, n_instances n_input_ae n_hidden_ae"
                " -> batch n_instances n_hidden_ae",
            )
            + self.b_enc
        )
        h_reconstructed = (
            einops.einsum(
                acts,
                self.normalize_and_return_W_dec(),
                "batch n_instances n_hidden_ae, n_instances n_hidden_ae n_input_ae"
                " -> batch n_instances n_input_ae",
            )
            + self.b_dec
        )
        l1_loss = acts.abs().sum(dim=-1)
        l2_loss = (h - h_reconstructed).pow(2).mean(dim=-1)
        loss = (l2_loss + self.cfg.l1_coeff * l1_loss).mean(dim=0).sum()
        return AutoEncoderOutput(l1_loss, l2_loss, loss, acts, h_reconstructed)

    def optimize(
        self,
        model: ToyModel,
        batch_size: int = 1024,
        steps: int = 10_000,
        lr: float = 1e-3,
        lr_schedule: Schedule = constant_lr,
        resample_method: Literal["simple", "advanced"] | None = None,
        resample_window: int = 500,
        resample_every: int | None = None,
        resample_until: float = 0.75,
        neuron_resample_scale: float = 0.2,
        reset_adam: bool = False,
        project_decoder: bool = False,
        seed: int | None = 0,
        progress: bool = True,
        max_records: int = 200,
    ) -> TrainingLog:
        """Train every instance on the hidden states of the same instance of a toy model, which stays fixed.

        An AutoEncoder on a plain ToyModel without pairs takes a short cut: it draws only the inputs that are
        not empty (`draw_present_features`), and its gradient is written out (`SparseCodingLoss`). A class
        derived from either, with methods of its own, is trained with exactly these.

        Args:
            model: the toy model, with the same `n_instances` and `n_hidden == n_input_ae`.
            batch_size: inputs in each batch, for each instance.
            steps: number of steps.
            lr: learning rate.
            lr_schedule: `(step, steps) -> factor` for the learning rate.
            resample_method: what happens to dead latents: nothing (None), `resample_simple` or
                `resample_advanced`.
            resample_window: a latent is dead when it did not fire in this many steps.
            resample_every: steps from one resampling to the next; the window when left out.
            resample_until: the share of the run after which nothing is resampled any more, so that the last
                newcomers have time to find their place.
            neuron_resample_scale: length of the new encoder columns (see `resample_simple` and
                `resample_advanced`, which measure it differently).
            reset_adam: also make Adam forget the resampled latents.
            project_decoder: put the decoder back to unit length after every step. Not needed here, because
                `forward` normalizes it; for an autoencoder whose `forward` does not.
            seed: where everything random comes from.
            progress: show a progress bar with L1, L2, L0 and the share of dead latents.
            max_records: the most steps that the log keeps.

        Returns:
            The log of the run. Beside "loss" and "lr" it has, for each recorded step, "l1", "l2", "l0" (the
            mean number of latents that fire, mean over the instances) and "dead" (the share of latents that
            did not fire in the window), and the tensors "frac_active" (mean over the steps since the record
            before) and "n_resampled" (how often so far), of shape `n_instances n_hidden_ae`, and "W_enc",
            "W_dec" (unit length), "b_enc" and "b_dec".

        Raises:
            ValueError: model and autoencoder do not fit together, or a setting is out of range.
        """
        check_optimize(self.cfg, model, batch_size, resample_method, resample_window, resample_every)
        resample_every = resample_window if resample_every is None else resample_every
        shape = (self.cfg.n_instances, self.cfg.n_hidden_ae)
        window = self.b_enc.new_zeros((resample_window, *shape))
        n_resampled = torch.zeros(shape, dtype=torch.int, device=window.device)
        now: dict[str, Any] = {"fired": torch.zeros_like(window[0]), "since": 0}

        plain = not overrides(self, AutoEncoder, "forward", "normalize_and_return_W_dec")
        if plain and model.is_plain():
            batches = present_hidden_states(model, batch_size)
        else:
            batches = all_hidden_states(model, batch_size)

        def compute_loss() -> Tensor:
            h, weight = next(batches)
            if plain:
                W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
                loss, l1, l2, frac_active = SparseCodingLoss.apply(
                    self.W_enc, W_dec, self.b_enc, self.b_dec, h, weight, self.cfg.l1_coeff
                )
            else:
                out = self(h.permute(2, 0, 1))
                loss, l1, l2 = out.loss, out.l1_loss.mean(dim=0).sum(), out.l2_loss.mean(dim=0).sum()
                frac_active = (out.acts > 0).float().mean(dim=0)
            now.update(l1=l1, l2=l2, frac_active=frac_active)
            return loss

        def after_step(step: int, optimizer: torch.optim.Optimizer) -> None:
            if project_decoder:
                self.normalize_decoder()
            window[step % len(window)] = now["frac_active"]
            now["fired"] += now["frac_active"]
            now["since"] += 1
            done = step + 1
            due = done % resample_every == 0 and len(window) <= done <= resample_until * steps
            if resample_method is not None and due:
                if resample_method == "simple":
                    resampled = resample_simple(self, window, neuron_resample_scale)
                else:
                    h, _ = next(fresh_inputs)
                    resampled = resample_advanced(self, window, h.permute(2, 0, 1), neuron_resample_scale)
                if reset_adam:
                    reset_adam_state(optimizer, self, resampled)
                n_resampled.add_(resampled)
            bar.update()

        fresh_inputs = all_hidden_states(model, batch_size)

        def record() -> dict[str, Any]:
            values = {
                "l1": now["l1"].item() / self.cfg.n_instances,
                "l2": now["l2"].item() / self.cfg.n_instances,
                "l0": now["frac_active"].sum(dim=-1).mean().item(),
                "dead": dead_neurons(window).float().mean().item(),
            }
            bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()}, refresh=False)
            frac_active = now["fired"] / now["since"]
            now.update(fired=torch.zeros_like(frac_active), since=0)
            weights = {"W_enc": self.W_enc, "b_enc": self.b_enc, "b_dec": self.b_dec}
            return {
                **values,
                "frac_active": frac_active,
                "n_resampled": n_resampled.clone(),
                "W_dec": self.normalize_and_return_W_dec().detach().clone(),
                **{name: weight.detach().clone() for name, weight in weights.items()},
            }

        # Where it shows, TQDM_DISABLE can still turn it off, as the build of the notebooks does.
        hidden = {} if progress else {"disable": True}
        bar = tqdm(total=steps, file=sys.stdout, leave=False, mininterval=0.5, **hidden)
        try:
            return train(
                compute_loss,
                self.parameters(),
                steps,
                lr=lr,
                lr_schedule=lr_schedule,
                after_step=after_step,
                record=record,
                max_records=max_records,
                seed=seed,
                progress=False,
                threads=1,
            )
        finally:
            bar.close()
            self.normalize_decoder()


def check_inputs(h: Tensor, cfg: AutoEncoderConfig) -> None:
    """Raise a ValueError unless `h` has the shape `batch n_instances n_input_ae` that `cfg` asks for."""
    if h.ndim != 3 or h.shape[1:] != (cfg.n_instances, cfg.n_input_ae):
        raise ValueError(
            f"The inputs have shape {tuple(h.shape)}, but it must be (batch, n_instances, n_input_ae)"
            f" = (batch, {cfg.n_instances}, {cfg.n_input_ae}); reshape the inputs or change the config."
        )


def check_optimize(
    cfg: AutoEncoderConfig,
    model: ToyModel,
    batch_size: int,
    resample_method: str | None,
    resample_window: int,
    resample_every: int | None,
) -> None:
    """Raise a ValueError when an autoencoder cannot be trained with these settings."""
    if not hasattr(model, "W"):
        raise ValueError(
            f"A {type(model).__name__} has no W to make hidden states with; pass a ToyModel or a NeuronModel."
        )
    if (model.cfg.n_instances, model.cfg.n_hidden) != (cfg.n_instances, cfg.n_input_ae):
        raise ValueError(
            f"The toy model has {model.cfg.n_instances} instances with a hidden size of {model.cfg.n_hidden},"
            f" but the autoencoder {cfg.n_instances} with n_input_ae={cfg.n_input_ae}; make them equal."
        )
    if resample_method not in (None, "simple", "advanced"):
        raise ValueError(f"resample_method is {resample_method!r}; pass None, 'simple' or 'advanced'.")
    for name, value in (
        ("batch_size", batch_size),
        ("resample_window", resample_window),
        ("resample_every", resample_every),
    ):
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}, but there must be at least one; pass 1 or more.")


@torch.no_grad()
def cheat_on_l1(
    autoencoder: AutoEncoder, factor: float
) -> tuple[
    Float[Tensor, "n_instances n_input_ae n_hidden_ae"],
    Float[Tensor, "n_instances n_hidden_ae"],
    Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
]:
    """Find weights that rebuild every input as `autoencoder` does, at an L1 that is `factor` times smaller.

    The cheat is only possible if nothing holds the decoder at unit length: that is why we normalize it.
    The autoencoder itself is not changed.

    Args:
        autoencoder: a tied or untied autoencoder; its decoder is `normalize_and_return_W_dec()`.
        factor: how many times smaller every latent shall be, a number above 0.

    Returns:
        `(W_enc, b_enc, W_dec)` of the cheating autoencoder, with the shapes of the original ones.
        It uses `W_dec` as it is, without normalizing, and the original `b_dec`.
    """
    return (
        autoencoder.W_enc / factor,
        autoencoder.b_enc / factor,
        autoencoder.normalize_and_return_W_dec() * factor,
    )


@torch.no_grad()
def l1_and_l2(
    h: Float[Tensor, "batch n_instances n_input_ae"],
    W_enc: Float[Tensor, "n_instances n_input_ae n_hidden_ae"],
    b_enc: Float[Tensor, "n_instances n_hidden_ae"],
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
    b_dec: Float[Tensor, "n_instances n_input_ae"],
) -> tuple[Float[Tensor, " n_instances"], Float[Tensor, " n_instances"]]:
    """Measure L1 and L2 of an autoencoder that uses its decoder as it is, at whatever length its rows have.

    Args:
        h: the inputs.
        W_enc, b_enc, W_dec, b_dec: the weights; `W_dec` is not normalized.

    Returns:
        `(l1, l2)`, each with one number for every instance: the latents, summed over the latents, and the squared
        error of the reconstruction, mean over the input's dimensions; both mean over the batch.
    """
    acts = torch.relu(
        einops.einsum(
            h - b_dec, W_enc, "batch n_instances n_input_ae, n_instances n_input_ae n_hidden_ae"
            " -> batch n_instances n_hidden_ae",
        )
        + b_enc
    )  # fmt: skip
    h_reconstructed = b_dec + einops.einsum(
        acts, W_dec, "batch n_instances n_hidden_ae, n_instances n_hidden_ae n_input_ae"
        " -> batch n_instances n_input_ae",
    )  # fmt: skip
    return acts.sum(dim=-1).mean(dim=0), (h - h_reconstructed).pow(2).mean(dim=-1).mean(dim=0)


@torch.no_grad()
def match_features(
    W_toy: Float[Tensor, "n_instances n_hidden n_features"],
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
) -> Float[Tensor, "n_instances n_features"]:
    """Say how well each feature of a toy model was found by an autoencoder.

    Pair the features with decoder rows one to one, so that no row serves two features and the sum of
    the cosine similarities is as large as possible (the assignment problem). Every instance is paired
    on its own.

    Args:
        W_toy: the toy model's weights; the direction of feature f is `W_toy[instance, :, f]`.
        W_dec: the decoder; the direction of latent j is `W_dec[instance, j, :]`. Any length, not only unit.

    Returns:
        The cosine similarity of every feature with its own latent, shape `n_instances n_features`.
        It is 0 for a feature without a latent (there are fewer latents than features).
    """
    from scipy.optimize import linear_sum_assignment

    similarity = feature_latent_similarity(W_toy, W_dec)
    matched = torch.zeros_like(similarity[:, :, 0])
    for instance, table in enumerate(similarity):
        features, latents = map(torch.as_tensor, linear_sum_assignment(table.cpu(), maximize=True))
        matched[instance, features] = table[features, latents]
    return matched


def feature_latent_similarity(
    W_toy: Float[Tensor, "n_instances n_hidden n_features"],
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
) -> Float[Tensor, "n_instances n_features n_hidden_ae"]:
    """Return the cosine similarity of every feature with every decoder row; 0 where one has no length."""
    if W_toy.ndim != 3 or W_dec.ndim != 3 or W_toy.shape[:2] != (W_dec.shape[0], W_dec.shape[2]):
        raise ValueError(
            f"W_toy has shape {tuple(W_toy.shape)} and W_dec {tuple(W_dec.shape)}, but their instances and"
            " hidden sizes must agree; pass W_toy as (n_instances, n_hidden, n_features) and W_dec as"
            " (n_instances, n_latents, n_hidden)."
        )
    features = W_toy / W_toy.norm(dim=1, keepdim=True).clamp_min(SMALLEST_NORM)
    latents = W_dec / W_dec.norm(dim=2, keepdim=True).clamp_min(SMALLEST_NORM)
    return einops.einsum(
        features,
        latents,
        "n_instances n_hidden n_features, n_instances n_latents n_hidden -> n_instances n_features n_latents",
    )


def living_rows(
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
    firing_rate: Float[Tensor, "n_instances n_hidden_ae"],
    least_rate: float = 1e-3,
) -> Float[Tensor, "n_instances n_hidden_ae n_input_ae"]:
    """Return the decoder with zeros in the rows of latents that hardly ever fire.

    A latent that never fires can still have a decoder row that points along a feature, left over from
    the start or from a time when it fired. It finds nothing. A row of zeros has no direction, so
    `match_features` gives a feature that is paired with it a 0.

    Args:
        W_dec: the decoder.
        firing_rate: the share of the inputs on which each latent fires.
        least_rate: a latent counts when it fires on a larger share of the inputs than this.
    """
    return W_dec * (firing_rate > least_rate).unsqueeze(-1)


def share_recovered(
    W_toy: Float[Tensor, "n_instances n_hidden n_features"],
    W_dec: Float[Tensor, "n_instances n_hidden_ae n_input_ae"],
    firing_rate: Float[Tensor, "n_instances n_hidden_ae"],
    threshold: float = 0.95,
    least_rate: float = 1e-3,
) -> float:
    """Return the share of all toy features that have a living latent of their own above `threshold`.

    Args:
        W_toy: the toy model's weights.
        W_dec: the decoder.
        firing_rate: the share of the inputs on which each latent fires (see `living_rows`).
        threshold: the cosine similarity from which a feature counts as found.
        least_rate: a latent counts when it fires on a larger share of the inputs than this.
    """
    matched = match_features(W_toy, living_rows(W_dec, firing_rate, least_rate))
    return (matched > threshold).float().mean().item()


@torch.no_grad()
def encoder_decoder_similarity(autoencoder: AutoEncoder) -> Float[Tensor, "n_instances n_hidden_ae"]:
    """Return the cosine similarity between every latent's encoder direction and its decoder direction.

    The encoder direction of a latent is what its pre-activation takes the dot product with; the decoder
    direction is what it adds to the reconstruction.

    Returns:
        One number per latent, shape `n_instances n_hidden_ae`; 0 where a direction has no length.
    """
    W_enc = autoencoder.W_enc / autoencoder.W_enc.norm(dim=1, keepdim=True).clamp_min(SMALLEST_NORM)
    return einops.einsum(
        W_enc,
        autoencoder.normalize_and_return_W_dec(),
        "n_instances n_input_ae n_hidden_ae, n_instances n_hidden_ae n_input_ae -> n_instances n_hidden_ae",
    )
