"""The frontier: how much each kind of autoencoder loses at a given number of latents, and reading it at equal L0."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.activations import ActivationBuffer
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.bundled_files import DATA, bundled_file
from part_utils.fast.variants import loss_function
from part_utils.training import linear_lr, train
from part_utils.variants import (
    BatchTopKAutoEncoder,
    GatedAutoEncoder,
    JumpReLUAutoEncoder,
    MatryoshkaAutoEncoder,
    TopKAutoEncoder,
)

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

FRONTIER = DATA / "frontier.json"


@dataclass(frozen=True)
class FrontierPoint:
    """One kind of autoencoder at one setting, on held-out text: means over the seeds it was trained with."""

    kind: str
    """Its architecture, or what was done without one."""
    setting: float
    """k, the weight of the penalty, or where the thresholds of a JumpReLU autoencoder start."""
    l0: float
    """Latents that fire, mean over tokens."""
    fvu: float
    """The fraction of variance unexplained."""
    recovered: float
    """Share of the cross-entropy recovered; 0 is every neuron at its mean."""
    dead: float
    """Share of the latents that fired on no held-out token."""
    fvu_spread: float = 0.0
    """How far apart the FVU of the seeds lie."""


@dataclass(frozen=True)
class TrainingOfOnePoint:
    """The budget that every kind gets."""

    width: int = 1024
    steps: int = 300
    batch_size: int = 1024
    lr: float = 3e-3
    seed: int = 0
    encoder_scale: float = 0.1
    """How large the encoder starts, beside the decoder's transpose."""


def _nested(cfg: AutoEncoderConfig, k: float) -> AutoEncoder:
    return MatryoshkaAutoEncoder(cfg, k, [cfg.n_hidden_ae // part for part in (8, 4, 2, 1)])


KINDS: dict[str, Callable[[AutoEncoderConfig, float], AutoEncoder]] = {
    "ReLU + L1": lambda cfg, _: AutoEncoder(cfg),
    "TopK": lambda cfg, k: TopKAutoEncoder(cfg, int(k)),
    "BatchTopK": BatchTopKAutoEncoder,
    "JumpReLU": lambda cfg, start: JumpReLUAutoEncoder(cfg, first_threshold=start),
    "gated": lambda cfg, _: GatedAutoEncoder(cfg),
    "Matryoshka": _nested,
}
"""What each kind is made from: the sizes, and the setting (k, or where thresholds start) if it is no penalty."""
# The weight of the penalty of a JumpReLU autoencoder. In so few steps thresholds move little; where they start decides.
L0_COEFF = 0.006


def train_one_point(
    kind: str,
    setting: float,
    tokens: Int[Tensor, "rows seq"],
    model: "TransformerBridge",
    training: TrainingOfOnePoint | None = None,
) -> AutoEncoder:
    """Train one autoencoder on the MLP of a language model, with the budget that all kinds get.

    All start alike: `b_dec` is the mean activation and `W_enc` the decoder's transpose, made smaller. They are trained
    on activations of mean square 1, and give back what fits the model's own.

    Args:
        kind: one of `KINDS`.
        setting: see `FrontierPoint`.
        tokens: the text to train on.
        model: a one-layer language model.
        training: the budget.
    """
    training = training or TrainingOfOnePoint()
    return train_on_batches(
        kind,
        setting,
        iter(ActivationBuffer(tokens, model, training.batch_size, seed=training.seed)),
        training,
    )


def train_on_batches(
    kind: str, setting: float, batches: Iterator[Float[Tensor, "batch d_mlp"]], training: TrainingOfOnePoint
) -> AutoEncoder:
    """Train one autoencoder as `train_one_point` does, on batches from anywhere: one more than there are steps."""
    first = next(batches)
    l1_coeff = {"ReLU + L1": setting, "gated": setting, "JumpReLU": L0_COEFF}.get(kind, 0.0)
    cfg = AutoEncoderConfig(1, first.shape[1], training.width, l1_coeff)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        autoencoder = KINDS[kind](cfg, setting)
    return train_at_unit_scale(
        autoencoder,
        lambda: next(batches),
        first,
        training.steps,
        training.lr,
        training.seed,
        training.encoder_scale,
    )


def train_at_unit_scale(
    autoencoder: AutoEncoder,
    draw: Callable[[], Float[Tensor, "batch d"]],
    some: Float[Tensor, "tokens d"],
    steps: int,
    lr: float,
    seed: int = 0,
    encoder_scale: float = 1.0,
) -> AutoEncoder:
    """Train an autoencoder of one instance on activations of mean square 1, and return one that fits them as they are.

    `b_dec` starts at the mean, the encoder at the decoder's transpose. The learning rate falls to zero in a straight
    line.

    Args:
        autoencoder: is changed.
        draw: returns the next batch of activations.
        some: activations for the mean and for the mean square.
        steps: steps of Adam.
        lr: first learning rate.
        seed: where what the autoencoder itself draws comes from.
        encoder_scale: what the encoder is multiplied by at the start. Where half of many latents fire then, less than
            1 keeps what they add up to as large as the activations.
    """
    scale = some.pow(2).mean().sqrt()
    with torch.no_grad():
        autoencoder.b_dec[0] = some.mean(dim=0) / scale
        autoencoder.W_enc.copy_(encoder_scale * autoencoder.W_dec.mT)
    loss_of = loss_function(autoencoder)
    train(
        lambda: loss_of(draw() / scale),
        autoencoder.parameters(),
        steps,
        lr=lr,
        lr_schedule=linear_lr,
        after_step=lambda step, optimizer: autoencoder.normalize_decoder(),
        seed=seed,
        progress=False,
    )
    with torch.no_grad():
        for name in ("b_enc", "b_dec", "b_mag", "threshold"):
            if (value := getattr(autoencoder, name, None)) is not None:
                value.mul_(scale)
    return autoencoder.eval()


def load_frontier() -> tuple[TrainingOfOnePoint, list[FrontierPoint]]:
    """Return the budget and the points that are in the box (`course frontier` makes them)."""
    shipped: dict[str, Any] = json.loads(bundled_file(FRONTIER.name).read_text(encoding="utf-8"))
    return TrainingOfOnePoint(**shipped["training"]), [FrontierPoint(**point) for point in shipped["points"]]


def at_equal_l0(
    l0: Float[Tensor, " points"], value: Float[Tensor, " points"], wanted: float
) -> Float[Tensor, ""]:
    """Read a curve of measurements at one L0.

    Between two measured points the value lies on a straight line over the logarithm of L0.

    Args:
        l0: where it was measured: two points or more, all different and above 0, in any order.
        value: what was measured there, such as the FVU.
        wanted: the L0 to read at.

    Returns:
        The value at `wanted`, one number.

    Raises:
        ValueError: `wanted` is smaller than the smallest measured L0 or larger than the largest.
    """
    order = l0.argsort()
    l0, value = l0[order], value[order]
    if not l0[0] <= wanted <= l0[-1]:
        raise ValueError(
            f"L0 {wanted:g} was not measured: the points go from {l0[0]:g} to {l0[-1]:g}. Read inside of that."
        )
    left = int((l0[1:-1] < wanted).sum())
    share = (wanted / l0[left]).log() / (l0[left + 1] / l0[left]).log()
    return value[left] + share * (value[left + 1] - value[left])
