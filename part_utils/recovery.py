"""How well does an autoencoder find the features of a toy model? One function for each comparison.

Every function trains on all instances of a toy model and on several seeds at once: a seed is simply one more
copy of every instance, with its own start and its own inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.hidden_states import hidden_states
from part_utils.matching import living_rows, match_features
from part_utils.toy_model import ToyModel, ToyModelConfig
from part_utils.training import TrainingLog, linear_lr

# What recovers five features in two dimensions, found by experiment (see `benchmarks/resampling.py`). A large
# learning rate that fades out makes superfluous latents die early, and resampling gives them a new place.
L1_COEFF = 0.25
RECIPE: dict[str, Any] = {
    "steps": 5_000,
    "lr": 5e-2,
    "lr_schedule": linear_lr,
    "resample_method": "advanced",
    "resample_window": 100,
    "resample_until": 0.8,
    "neuron_resample_scale": 1.0,
}
# A feature counts as recovered when its latent's cosine similarity is above this.
RECOVERED = 0.95
# ... and when the latent fires on a larger share of the inputs than this: a tenth of what the rarest feature gives.
LEAST_RATE = 1e-3


@dataclass(frozen=True)
class Recovery:
    """What one setting reached, over all instances and seeds."""

    setting: str | float
    """What was varied."""
    recovered: float
    """Share of the toy features with a latent of their own that fires on more than `LEAST_RATE` of the inputs and
    whose decoder row is at a cosine similarity above `RECOVERED`."""
    per_seed: tuple[float, ...]
    """The same for each seed."""
    mean_cosine: float
    """Mean similarity of the features with the rows of their own, living latents; 0 for a feature without one."""
    l0: float
    """Latents that fire, mean over inputs that are not empty."""
    l1: float
    """L1 loss on fresh inputs, mean over inputs and instances."""
    l2: float
    """L2 loss on fresh inputs, mean over inputs and instances."""
    loss: float
    """`l2 + l1_coeff * l1`."""
    dead: float
    """Share of the latents that are dead at the end of training."""
    resampled: float
    """How many latents were resampled in each autoencoder."""


def model_with_directions(
    degrees: Sequence[float], feature_probability: float, n_instances: int = 1
) -> ToyModel:
    """Return a toy model in two dimensions whose features have these directions and length 1; not trained."""
    model = ToyModel(ToyModelConfig(n_instances, len(degrees)), feature_probability)
    angle = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float))
    with torch.no_grad():
        model.W.copy_(torch.stack([angle.cos(), angle.sin()]))
    return model


def repeat_model(model: ToyModel, times: int) -> ToyModel:
    """Return a toy model with every instance `times` times: all of them, then all of them again, and so on."""
    cfg = ToyModelConfig(model.cfg.n_instances * times, model.cfg.n_features, model.cfg.n_hidden)
    copy = ToyModel(cfg, model.feature_probability.repeat(times, 1), model.importance.repeat(times, 1))
    with torch.no_grad():
        copy.W.copy_(model.W.repeat(times, 1, 1))
        copy.b_final.copy_(model.b_final.repeat(times, 1))
    return copy


def train_and_measure(
    model: ToyModel,
    setting: str | float = "",
    *,
    seeds: int = 5,
    seed: int = 0,
    n_hidden_ae: int | None = None,
    l1_coeff: float = L1_COEFF,
    tied_weights: bool = False,
    kind: type[AutoEncoder] = AutoEncoder,
    progress: bool = True,
    **optimize: Any,
) -> tuple[Recovery, AutoEncoder, TrainingLog]:
    """Train autoencoders on a toy model, with `RECIPE` unless told otherwise, and measure what they found.

    Args:
        model: the toy model.
        setting: what to call the result.
        seeds: how many autoencoders for each instance of the toy model.
        seed: where starts and inputs come from.
        n_hidden_ae: latents; as many as the toy model has features when left out.
        l1_coeff: weight of the sparsity penalty.
        tied_weights: whether the decoder is the encoder's transpose.
        kind: the class of the autoencoder.
        progress: show a progress bar.
        optimize: further arguments of `AutoEncoder.optimize`, instead of those in `RECIPE`.

    Returns:
        The result, the autoencoders, instance i of seed s at `s * n_instances + i`, and their training log.
    """
    copies = repeat_model(model, seeds)
    cfg = AutoEncoderConfig(
        copies.cfg.n_instances,
        model.cfg.n_hidden,
        n_hidden_ae or model.cfg.n_features,
        l1_coeff,
        tied_weights,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        autoencoder = kind(cfg)
        log = autoencoder.optimize(copies, seed=seed, progress=progress, **(RECIPE | optimize))
        with torch.no_grad():
            h = hidden_states(copies, copies.generate_batch(5_000))
            out = autoencoder(h)
            firing_rate = firing_rates(autoencoder, copies)
    W_dec = autoencoder.normalize_and_return_W_dec()
    matched = match_features(copies.W, living_rows(W_dec, firing_rate, LEAST_RATE))
    per_seed = (matched > RECOVERED).float().view(seeds, -1).mean(dim=1)
    empty = (h == 0).all(dim=-1)
    result = Recovery(
        setting,
        recovered=per_seed.mean().item(),
        per_seed=tuple(per_seed.tolist()),
        mean_cosine=matched.mean().item(),
        l0=(out.acts > 0).sum(dim=-1)[~empty].float().mean().item(),
        l1=out.l1_loss.mean().item(),
        l2=out.l2_loss.mean().item(),
        loss=out.loss.item() / cfg.n_instances,
        dead=log["dead"][-1],
        resampled=log["n_resampled"][-1].sum(dim=-1).float().mean().item(),
    )
    return result, autoencoder, log


@torch.no_grad()
def firing_rates(
    autoencoder: AutoEncoder, model: ToyModel, n_inputs: int = 20_000
) -> Float[Tensor, "n_instances n_hidden_ae"]:
    """Measure on fresh inputs of a toy model how often each latent fires.

    Args:
        autoencoder: with as many instances as the toy model.
        model: where the inputs come from, drawn from the global random generator.
        n_inputs: how many; enough that a rate of 1 in 1,000 is no accident.

    Returns:
        The share of the inputs on which each latent is above zero.
    """
    fired = torch.zeros(autoencoder.b_enc.shape, device=autoencoder.b_enc.device)
    for first in range(0, n_inputs, 5_000):
        h = hidden_states(model, model.generate_batch(min(5_000, n_inputs - first)))
        fired += (autoencoder(h).acts > 0).sum(dim=0)
    return fired / n_inputs


RESAMPLING: dict[str, dict[str, Any]] = {
    "none": {"resample_method": None},
    "simple": {"resample_method": "simple"},
    "advanced": {"resample_method": "advanced"},
    "advanced + Adam reset": {"resample_method": "advanced", "reset_adam": True},
}


def compare_resampling(model: ToyModel, **settings: Any) -> list[Recovery]:
    """No resampling, simple, advanced, and advanced with a reset of Adam's state."""
    return [train_and_measure(model, name, **(settings | how))[0] for name, how in RESAMPLING.items()]


def compare_tied_weights(model: ToyModel, **settings: Any) -> list[Recovery]:
    """Compare a decoder of its own with the encoder's transpose."""
    return [
        train_and_measure(model, name, tied_weights=tied, **settings)[0]
        for name, tied in (("untied", False), ("tied", True))
    ]


def sweep_l1_coeff(
    model: ToyModel, values: Sequence[float] = (0.01, 0.03, 0.1, 0.25, 0.5, 0.8), **settings: Any
) -> list[Recovery]:
    """From a penalty that hardly matters to one that silences everything."""
    settings = {"seeds": 2, "steps": 3_000} | settings
    return [train_and_measure(model, value, l1_coeff=value, **settings)[0] for value in values]


def sweep_latents(
    model: ToyModel, values: Sequence[int] = (3, 4, 5, 6, 8, 12), **settings: Any
) -> list[Recovery]:
    """Fewer latents than features, as many, and more."""
    settings = {"seeds": 2, "steps": 3_000} | settings
    return [train_and_measure(model, value, n_hidden_ae=value, **settings)[0] for value in values]


class RawDecoder(AutoEncoder):
    """An autoencoder whose forward pass uses the decoder as it is; something else must hold its length."""

    def normalize_and_return_W_dec(self) -> Float[Tensor, "n_instances n_hidden_ae n_input_ae"]:
        return self.W_dec


class FreeDecoder(RawDecoder):
    """An autoencoder whose decoder rows may have any length: the loophole is open."""

    def normalize_decoder(self) -> None:
        pass


def compare_unit_norm(
    model: ToyModel, **settings: Any
) -> tuple[list[Recovery], dict[str, TrainingLog], dict[str, list[float]]]:
    """Unit norm in the forward pass, unit norm by projection after each step, and no unit norm at all.

    Returns:
        The results, the training logs, and the mean length of the decoder rows at each recorded step.
    """
    settings = {"seeds": 3, "steps": 2_000} | settings
    kinds: dict[str, tuple[type[AutoEncoder], bool]] = {
        "parametrization": (AutoEncoder, False),
        "projection": (RawDecoder, True),
        "nothing": (FreeDecoder, False),
    }
    results, logs, lengths = [], {}, {}
    for name, (kind, project) in kinds.items():
        result, _, log = train_and_measure(model, name, kind=kind, project_decoder=project, **settings)
        results.append(result)
        logs[name] = log
        lengths[name] = [W_dec.norm(dim=-1).mean().item() for W_dec in log["W_dec"]]
    return results, logs, lengths
