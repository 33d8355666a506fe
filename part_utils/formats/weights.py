"""One autoencoder as other packages keep it, and the way from there to our classes and back."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.tensors import SMALLEST_NORM
from part_utils.variants import (
    BatchTopKAutoEncoder,
    GatedAutoEncoder,
    JumpReLUAutoEncoder,
    MatryoshkaAutoEncoder,
    TopKAutoEncoder,
)

Architecture = Literal["relu", "topk", "jumprelu", "gated"]
CLASSES: dict[Architecture, type[AutoEncoder]] = {
    "relu": AutoEncoder,
    "topk": TopKAutoEncoder,
    "jumprelu": JumpReLUAutoEncoder,
    "gated": GatedAutoEncoder,
}


@dataclass
class Weights:
    """The weights of one autoencoder, whose decoder rows may be of any length. All are float32.

    pre             = (h - b_dec) W_enc + b_enc
    h_reconstructed = acts W_dec + b_dec

    How `acts` come from `pre` is said by the class of `CLASSES[architecture]`.
    """

    architecture: Architecture
    W_enc: Float[Tensor, "d_in d_sae"]
    b_enc: Float[Tensor, "d_sae"]
    W_dec: Float[Tensor, "d_sae d_in"]
    b_dec: Float[Tensor, "d_in"]
    k: int | None = None
    """Of "topk": how many latents fire."""
    threshold: Float[Tensor, "d_sae"] | None = None
    """Of "jumprelu": above what each latent fires."""
    r_mag: Float[Tensor, "d_sae"] | None = None
    """Of "gated": logarithm of how much larger the magnitude is than the gate's pre-activation."""
    b_mag: Float[Tensor, "d_sae"] | None = None
    """Of "gated": bias of the magnitude."""
    hook: str | None = None
    """The place that it was trained on, where the settings name one as TransformerLens does."""

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights that there are, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def check_sizes(weights: Weights, where: Path) -> None:
    """Raise a ValueError unless the weights fit together and, for TopK, k is possible.

    An encoder with as many latents as inputs that was transposed by accident fits, and cannot be noticed.
    """
    if weights.W_enc.ndim != 2:
        raise ValueError(
            f"W_enc in {where} has {weights.W_enc.ndim} axes, but must have two; fetch it again."
        )
    d_in, d_sae = weights.W_enc.shape
    wanted = {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    for name, tensor in weights.tensors().items():
        shape = wanted.get(name, (d_sae,))
        if tensor.shape != shape:
            raise ValueError(
                f"{name} in {where} has the shape {tuple(tensor.shape)}, but {shape} fits to an encoder from "
                f"{d_in} inputs to {d_sae} latents: a matrix is transposed, or the file is damaged."
            )
    if d_in == 0 or d_sae == 0:
        raise ValueError(f"The autoencoder in {where} has {d_in} inputs and {d_sae} latents, but needs both.")
    if weights.k is not None and not 1 <= weights.k <= d_sae:
        raise ValueError(f"k in {where} is {weights.k}, but must be between 1 and the {d_sae} latents.")


def without_subtraction(weights: Weights) -> Weights:
    """Return the weights that do `pre = (h - b_dec) W_enc + b_enc` where these do `pre = h W_enc + b_enc`."""
    return _shifted(weights, 1)


def with_subtraction_undone(weights: Weights) -> Weights:
    """Return the weights that do `pre = h W_enc + b_enc` where these do `pre = (h - b_dec) W_enc + b_enc`."""
    return _shifted(weights, -1)


def _shifted(weights: Weights, sign: int) -> Weights:
    shift = sign * (weights.b_dec.double() @ weights.W_enc.double())
    changed: dict[str, Tensor] = {"b_enc": (weights.b_enc + shift).float()}
    if weights.r_mag is not None and weights.b_mag is not None:
        changed["b_mag"] = (weights.b_mag + torch.exp(weights.r_mag.double()) * shift).float()
    return Weights(**{**vars(weights), **changed})


def fold_decoder_norm(weights: Weights) -> Weights:
    """Return the weights with decoder rows of unit length; latents are as much larger as the rows were long.

    A row of zeros stays one, and its latent as large as it is. Which latents TopK chooses changes.
    """
    lengths = weights.W_dec.norm(dim=-1)
    empty = lengths < SMALLEST_NORM
    lengths = torch.where(empty, 1, lengths)
    changed = {
        "W_enc": weights.W_enc * lengths,
        "W_dec": (weights.W_dec / lengths[:, None]).masked_fill(empty[:, None], 0),
    }
    for name in ("b_enc", "b_mag", "threshold"):
        if (value := getattr(weights, name)) is not None:
            changed[name] = value * lengths
    return Weights(**{**vars(weights), **changed})


@torch.no_grad()
def to_autoencoder(weights: Weights, where: Path) -> AutoEncoder:
    """Make an autoencoder with one instance that reconstructs as these weights do.

    Raises:
        ValueError: the weights do not fit together, or are too large to be brought to decoder rows of unit length.
    """
    check_sizes(weights, where)
    unit = fold_decoder_norm(weights)
    for name, tensor in unit.tensors().items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} in {where} is too large for decoder rows of unit length in float32.")
    cfg = AutoEncoderConfig(1, *weights.W_enc.shape)
    autoencoder: AutoEncoder
    if weights.k is None:
        autoencoder = CLASSES[weights.architecture](cfg)
        _switch_off_empty_rows(unit)
    else:
        autoencoder = topk = TopKAutoEncoder(cfg, weights.k)
        lengths = weights.W_dec.norm(dim=-1)
        # The latents that had the largest pre-activations are to fire, not those with long decoder rows.
        topk.rank_scale[0] = torch.where(lengths < SMALLEST_NORM, 1, lengths.reciprocal())
    for name, tensor in unit.tensors().items():
        getattr(autoencoder, name)[0] = tensor
    autoencoder.hook = weights.hook
    return autoencoder


def _switch_off_empty_rows(weights: Weights) -> None:
    """Give rows of zeros a direction, as every row of an AutoEncoder has one, and a latent that never fires.

    Not for TopK, where a latent that adds nothing may still take the place of another one.
    """
    empty = weights.W_dec.norm(dim=-1) == 0
    weights.W_dec[empty, 0] = 1
    weights.W_enc[:, empty] = 0
    weights.b_enc[empty] = 0
    if weights.b_mag is not None:
        weights.b_mag[empty] = 0


@torch.no_grad()
def from_autoencoder(autoencoder: AutoEncoder, instance: int) -> Weights:
    """Take one instance of an autoencoder, as it is when it is used (see `in_use`).

    Tied weights are taken as the decoder that they make.

    Raises:
        TypeError: the autoencoder is of a class of its own, which may compute anything.
        ValueError: there is no such instance.
    """
    hook = autoencoder.hook
    autoencoder = in_use(autoencoder)
    architecture = architecture_of(autoencoder)
    n_instances = autoencoder.cfg.n_instances
    if not 0 <= instance < n_instances:
        raise ValueError(f"There is no instance {instance}: choose one from 0 to {n_instances - 1}.")

    def taken(tensor: Tensor) -> Tensor:
        return tensor[instance].detach().float().cpu().clone(memory_format=torch.contiguous_format)

    weights = Weights(
        architecture,
        taken(autoencoder.W_enc),
        taken(autoencoder.b_enc),
        taken(autoencoder.normalize_and_return_W_dec()),
        taken(autoencoder.b_dec),
        hook=hook,
    )
    if isinstance(autoencoder, JumpReLUAutoEncoder):
        weights.threshold = taken(autoencoder.threshold)
    if isinstance(autoencoder, GatedAutoEncoder):
        weights.r_mag, weights.b_mag = taken(autoencoder.r_mag), taken(autoencoder.b_mag)
    if isinstance(autoencoder, TopKAutoEncoder):
        weights.k = autoencoder.k
        scale = taken(autoencoder.rank_scale)
        # Back to pre-activations that are as large as those that are compared.
        weights.W_enc, weights.b_enc = weights.W_enc * scale, weights.b_enc * scale
        weights.W_dec = weights.W_dec / scale[:, None]
    return weights


def in_use(autoencoder: AutoEncoder) -> AutoEncoder:
    """Return the autoencoder that a trained one is: a JumpReLU one for BatchTopK (Matryoshka or not), else itself."""
    if type(autoencoder) in (BatchTopKAutoEncoder, MatryoshkaAutoEncoder):
        assert isinstance(autoencoder, BatchTopKAutoEncoder)
        return autoencoder.as_jumprelu()
    return autoencoder


def architecture_of(autoencoder: AutoEncoder) -> Architecture:
    """Return the name of an autoencoder's architecture.

    Raises:
        TypeError: it is of another class, which may compute anything.
    """
    # A class derived from one of these may do anything in its forward, so it has to be the very class.
    for architecture, known in CLASSES.items():
        if type(autoencoder) is known:
            return architecture
    savable = (*CLASSES.values(), BatchTopKAutoEncoder, MatryoshkaAutoEncoder)
    names = ", ".join(known.__name__ for known in savable)
    raise TypeError(f"A {type(autoencoder).__name__} cannot be saved: only {names} can.")
