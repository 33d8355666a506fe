"""Exercises 4.1 and 4.9: activations of a language model's MLP, and an autoencoder trained on them.

And `read_place`: any other place, of a model of any depth.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.shapes import check_shapes
from part_utils.training import TrainingLog, linear_lr, train

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

MLP_HOOK = "blocks.0.mlp.hook_post"
FACTOR = 3.0
"""How many times as long as the median a sink is, at least. In SmolLM2 nothing is between 2 and 4."""
P = ParamSpec("P")
R = TypeVar("R")


def block_of(hook: str) -> int:
    """Return the number of the block that a hook is in.

    Raises:
        ValueError: it is in none.
    """
    first, _, rest = hook.partition(".")
    number = rest.partition(".")[0]
    if first != "blocks" or not number.isdecimal():
        raise ValueError(f"{hook!r} is in no block; name a hook such as 'blocks.3.hook_out'.")
    return int(number)


def check_hook(model: "TransformerBridge", hook: str) -> None:
    """Raise a ValueError if a model has no such hook in a block."""
    block_of(hook)
    if hook not in model.hook_dict:
        raise ValueError(f"The model has no hook {hook!r}; `model.hook_dict` lists those that it has.")


def sink_limit(norms: Float[Tensor, "..."]) -> float:
    """Return how long the residual stream may be at most where there is no sink: `FACTOR` times the median norm."""
    return FACTOR * norms.float().median().item()


@torch.no_grad()
def read_place(
    model: "TransformerBridge", tokens: Int[Tensor, "batch seq"], hook: str
) -> tuple[Float[Tensor, "batch seq size"], Float[Tensor, "batch seq"]]:
    """Return the activations at a place, and how long the residual stream is behind its block."""
    residual = f"blocks.{block_of(hook)}.hook_out"
    _, cache = model.run_with_cache(tokens, names_filter=[hook, residual], stop_at_layer=block_of(hook) + 1)
    return cache[hook], cache[residual].float().norm(dim=-1)


def reads_first_mlp(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function that reads `MLP_HOOK` refuse an `autoencoder` that is known to be of another place.

    The other place may be as wide, and then nothing else would tell.
    """
    names = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        autoencoder = (dict(zip(names, args, strict=False)) | kwargs).get("autoencoder")
        hook = getattr(autoencoder, "hook", None)
        if hook not in (None, MLP_HOOK):
            raise ValueError(
                f"`{function.__name__}` reads {MLP_HOOK!r}, but this autoencoder was trained on {hook!r}; chapter 8 "
                "has what reads that place (`part_utils.deep_models`, `part_utils.places`)."
            )
        return function(*args, **kwargs)

    return checked


@torch.no_grad()
@check_shapes
def get_activations(
    tokens: Int[Tensor, "batch seq"], model: "TransformerBridge"
) -> Float[Tensor, "batch seq d_mlp"]:
    """Run a one-layer model and return what its MLP computes after the activation function.

    Args:
        tokens: one row for each text.
        model: a one-layer model; the hook that holds these activations is called `blocks.0.mlp.hook_post`.

    Returns:
        The activations of every neuron at every position.
    """
    _, cache = model.run_with_cache(tokens, names_filter=MLP_HOOK)
    return cache[MLP_HOOK]


@check_shapes
def flatten_activations(acts: Float[Tensor, "batch seq d_mlp"]) -> Float[Tensor, "tokens d_mlp"]:
    """Line up the activations of all positions: first all of text 0, then all of text 1, and so on."""
    return rearrange(acts, "batch seq d_mlp -> (batch seq) d_mlp")


class ActivationBuffer:
    """Batches of a model's activations from many texts, in random order.

    Neighboring tokens have similar activations, so a batch must not be made of a few texts. The buffer
    holds the activations of `buffer_rows` rows of tokens, shuffles them, and hands out one half. Then it
    fills up with new rows and shuffles again. No activation is handed out twice before every row was used
    once (an epoch). Rows come in a new random order in every epoch.

    Iterate over it: `for batch in buffer` never ends. The random numbers are the buffer's own.
    """

    def __init__(
        self,
        tokens: Int[Tensor, "rows seq"],
        model: "TransformerBridge",
        batch_size: int = 1024,
        buffer_rows: int = 256,
        seed: int = 0,
        get_rows: Callable[[Int[Tensor, "batch seq"]], Float[Tensor, "batch seq d_mlp"]] | None = None,
    ) -> None:
        """Prepare the buffer; activations are computed when they are asked for.

        Args:
            tokens: the text.
            model: where the activations come from.
            batch_size: how many activations each batch has.
            buffer_rows: how many rows of tokens the buffer holds.
            seed: where the order comes from.
            get_rows: computes the activations of some rows; `get_activations` when left out.

        Raises:
            ValueError: the buffer is smaller than two batches, or a size is not positive.
        """
        if batch_size < 1 or buffer_rows < 1:
            raise ValueError(
                f"batch_size is {batch_size} and buffer_rows {buffer_rows}, but both must be 1 or more."
            )
        held = min(buffer_rows, len(tokens)) * tokens.shape[1]
        if held < 2 * batch_size:
            raise ValueError(
                f"The buffer holds {held} activations, but needs at least two batches ({2 * batch_size}): "
                "choose more buffer_rows, more tokens or a smaller batch_size."
            )
        self.tokens, self.batch_size = tokens, batch_size
        self.buffer_rows = min(buffer_rows, len(tokens))
        self.generator = torch.Generator().manual_seed(seed)
        self.get_rows = get_rows or (lambda rows: get_activations(rows, model))

    def _rows(self) -> Iterator[Float[Tensor, "seq d_mlp"]]:
        """The activations of one row after another, forever."""
        while True:
            order = torch.randperm(len(self.tokens), generator=self.generator)
            for chunk in self.tokens[order].split(32):
                yield from self.get_rows(chunk)

    def __iter__(self) -> Iterator[Float[Tensor, "batch_size d_mlp"]]:
        rows = self._rows()
        seq = self.tokens.shape[1]
        half = max(self.buffer_rows * seq // 2 // self.batch_size, 1)
        pool = torch.stack([next(rows) for _ in range(self.buffer_rows)]).flatten(0, 1)
        while True:
            pool = pool[torch.randperm(len(pool), generator=self.generator).to(pool.device)]
            yield from pool[: half * self.batch_size].split(self.batch_size)
            pool = pool[half * self.batch_size :]
            missing = (self.buffer_rows * seq - len(pool)) // seq
            pool = torch.cat([pool, *(next(rows) for _ in range(missing))])


def train_on_activations(
    tokens: Int[Tensor, "rows seq"],
    model: "TransformerBridge",
    factor: int = 4,
    n_instances: int = 1,
    l1_coeff: float = 1e-3,
    steps: int = 1000,
    batch_size: int = 1024,
    lr: float = 1e-3,
    seed: int = 0,
    progress: bool = True,
) -> tuple[AutoEncoder, TrainingLog]:
    """Train an autoencoder of your own on the MLP of a language model.

    It has `factor` times as many latents as the MLP has neurons. It is trained on shuffled batches from an
    `ActivationBuffer`, and its decoder rows have unit norm at the end.

    Args:
        tokens: the text to train on.
        model: a one-layer language model.
        factor: latents per neuron.
        n_instances: autoencoders trained side by side on the same batches.
        l1_coeff: weight of the sparsity penalty.
        steps: number of steps of Adam.
        batch_size: activations per step.
        lr: learning rate, which falls to zero in a straight line.
        seed: where everything random comes from.
        progress: show a progress bar.

    Returns:
        The autoencoder and the log of its training.
    """
    buffer = iter(ActivationBuffer(tokens, model, batch_size, seed=seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        d_mlp = get_activations(tokens[:1], model).shape[-1]
        cfg = AutoEncoderConfig(n_instances, d_mlp, factor * d_mlp, l1_coeff)
        autoencoder = AutoEncoder(cfg).to(tokens.device)

    def compute_loss() -> Tensor:
        batch = next(buffer)
        return autoencoder(batch[:, None].expand(-1, n_instances, -1)).loss

    log = train(
        compute_loss,
        autoencoder.parameters(),
        steps,
        lr=lr,
        lr_schedule=linear_lr,
        after_step=lambda step, optimizer: autoencoder.normalize_decoder(),
        seed=seed,
        progress=progress,
    )
    return autoencoder, log
