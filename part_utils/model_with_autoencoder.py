"""A language model and one sparse autoencoder on what it computes at one place, handed around as one thing."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from part_utils.activations import MLP_HOOK, block_of, read_place, sink_limit
from part_utils.autoencoder import AutoEncoder
from part_utils.evaluation import encode

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

RESIDUAL = ("hook_in", "hook_resid_pre", "hook_resid_mid", "hook_out", "hook_resid_post")
"""What the hooks at the residual stream are called in a block."""
NEURONS = "mlp.hook_post"
LAST = (NEURONS, "hook_mlp_out", "hook_out", "hook_resid_post")
"""Places in a block behind which the block computes nothing more but what the MLP writes."""
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class ModelWithAutoencoder:
    """A language model, with one instance of an autoencoder on one of its places.

    Raises:
        ValueError: the autoencoder has no such instance, or nobody says where in a model of several blocks it belongs.
    """

    model: "TransformerBridge"
    autoencoder: AutoEncoder
    instance: int = 0
    """Which of the autoencoder's instances: 0 is encoder-A, 1 is encoder-B."""
    hook: str = ""
    """The place that the autoencoder was trained on: if left out, the one that it was loaded with (`autoencoder.hook`),
    or else the MLP of a model of one block."""

    def __post_init__(self) -> None:
        n_instances = self.autoencoder.cfg.n_instances
        if not 0 <= self.instance < n_instances:
            raise ValueError(f"There is no instance {self.instance}: choose one from 0 to {n_instances - 1}.")
        hook = self.hook or self.autoencoder.hook
        if not hook and self.model.cfg.n_layers > 1:
            raise ValueError(
                f"The model has {self.model.cfg.n_layers} blocks, and it is not known where the autoencoder was "
                "trained; say it, such as hook='blocks.3.mlp.hook_post'."
            )
        object.__setattr__(self, "hook", hook or MLP_HOOK)
        cfg, n_input_ae = self.model.cfg, self.autoencoder.cfg.n_input_ae
        size = cfg.d_model if self.on_residual else cfg.d_mlp if self.kind == NEURONS else None
        if size not in (None, n_input_ae):
            raise ValueError(
                f"The autoencoder takes vectors of {n_input_ae} numbers, but {self.hook!r} of this model has {size}: "
                "it belongs to another place (hook=…) or another model."
            )

    @property
    def n_latents(self) -> int:
        """How many latents there are."""
        return self.autoencoder.cfg.n_hidden_ae

    @property
    def directions(self) -> Float[Tensor, "n_hidden_ae n_input_ae"]:
        """Every latent's direction: its row of the decoder, at unit length."""
        return self.autoencoder.normalize_and_return_W_dec()[self.instance]

    @property
    def block(self) -> int:
        """The number of the block that the place is in."""
        return block_of(self.hook)

    @property
    def residual_hook(self) -> str:
        """The hook at which that block leaves the residual stream."""
        return f"blocks.{self.block}.hook_out"

    @property
    def kind(self) -> str:
        """What the place is called inside of its block, such as `"mlp.hook_post"` or `"hook_resid_pre"`."""
        return self.hook.removeprefix(f"blocks.{self.block}.")

    @property
    def on_residual(self) -> bool:
        """Whether the place is the residual stream itself, so that entries of a direction are no neurons."""
        return self.kind in RESIDUAL

    @property
    def last_block(self) -> bool:
        """Whether no block comes behind, so that only the final norm stands between the place and the logits."""
        return self.block == self.model.cfg.n_layers - 1 and self.kind in LAST

    def written(self, directions: Float[Tensor, "*latents n_input_ae"]) -> Float[Tensor, "*latents d_model"]:
        """Return what directions add to the residual stream: neurons through `W_out`, anything else as it is."""
        return directions @ self.model.blocks[self.block].mlp.W_out if self.kind == NEURONS else directions

    @torch.no_grad()
    def read(
        self, tokens: Int[Tensor, "batch seq"]
    ) -> tuple[Float[Tensor, "batch seq size"], Bool[Tensor, "batch seq"]]:
        """Return the activations at the place, and which positions count: in a model of several blocks no sinks do."""
        h, norms = read_place(self.model, tokens, self.hook)
        keep = norms <= (sink_limit(norms) if self.model.cfg.n_layers > 1 else float("inf"))
        return h.float(), keep

    def acts_on(
        self, tokens: Int[Tensor, "batch seq"], latents: Int[Tensor, "n"] | list[int] | None = None
    ) -> Float[Tensor, "batch seq n"]:
        """Return the activations of some latents, or of all, on a few rows of text; at sinks they are 0."""
        h, keep = self.read(tokens)
        return self.encode(h, latents).unflatten(0, tokens.shape) * keep[..., None]

    def encode(
        self, h: Float[Tensor, "batch seq d_mlp"], latents: Int[Tensor, "n"] | list[int] | None = None
    ) -> Float[Tensor, "tokens n"]:
        """Return the activations of some latents, or of all, on the MLP's activations."""
        return encode(h, self.autoencoder, self.instance, latents)


def also_in_parts(function: Callable[P, R], instance_last: bool = False) -> Callable[P, R]:
    """Let a function that takes a `subject` be called as notebooks of the first release call it.

    There `model` and `autoencoder` stand where the subject does. `instance` comes behind what must be given, or last.
    """
    parameters = inspect.signature(function).parameters
    needed = [name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty]
    optional = [name for name in parameters if name not in needed]
    optional.insert(len(optional) if instance_last else 0, "instance")
    at = needed.index("subject")
    names = [*needed[:at], "model", "autoencoder", *needed[at + 1 :], *optional]

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> R:
        given = dict(zip(names, args, strict=False)) | kwargs
        if isinstance(given.get("autoencoder"), AutoEncoder):
            parts = given.pop("model"), given.pop("autoencoder"), given.pop("instance", 0)
            args, kwargs = (), {**given, "subject": ModelWithAutoencoder(*parts)}
        return function(*args, **kwargs)

    return called
