"""Exercise 7.6: a transcoder, which rebuilds what an MLP writes from what the MLP reads."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from part_utils.variants.topk import topk

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

MLP_IN, MLP_OUT = "blocks.0.mlp.hook_in", "blocks.0.mlp.hook_out"


class TranscoderOutput(NamedTuple):
    """What `Transcoder.forward` returns."""

    loss: Float[Tensor, ""]
    """Squared error of the reconstruction, mean over inputs and dimensions."""
    acts: Float[Tensor, "batch n_hidden"]
    """The latents of every input."""
    y_reconstructed: Float[Tensor, "batch n_output"]
    """What the transcoder says the MLP writes."""


class Transcoder(nn.Module):
    """A sparse stand-in for an MLP (Dunefsky, Chlenski & Nanda 2024), with a linear way around it where asked for.

        acts            = ReLU(x W_enc + b_enc) where it is among the k largest, 0 elsewhere
        y_reconstructed = acts W_dec + b_dec (+ x W_skip)
        loss            = mean (y - y_reconstructed)^2

    x is what the MLP reads, y is what it writes. The way around, `W_skip`, is that of Paulo, Shabalin & Belrose 2025
    ("Transcoders beat sparse autoencoders for interpretability"): what of the MLP is linear needs no latents.
    """

    W_enc: Float[Tensor, "n_input n_hidden"]
    W_dec: Float[Tensor, "n_hidden n_output"]
    b_enc: Float[Tensor, "n_hidden"]
    b_dec: Float[Tensor, "n_output"]
    W_skip: Float[Tensor, "n_input n_output"] | None

    def __init__(self, n_input: int, n_output: int, n_hidden: int, k: int, skip: bool = False) -> None:
        """Make the parameters.

        Args:
            n_input: size of what the MLP reads.
            n_output: size of what the MLP writes.
            n_hidden: number of latents.
            k: how many latents fire on each input at most.
            skip: whether there is a `W_skip`; it starts at zero.

        Raises:
            ValueError: k is not between 1 and the number of latents.
        """
        if not 1 <= k <= n_hidden:
            raise ValueError(f"k is {k}, but must be between 1 and the {n_hidden} latents.")
        super().__init__()
        self.k = k
        self.W_enc = nn.Parameter(torch.randn(n_input, n_hidden) / n_input**0.5)
        self.W_dec = nn.Parameter(torch.randn(n_hidden, n_output) / n_output**0.5)
        self.b_enc = nn.Parameter(torch.zeros(n_hidden))
        self.b_dec = nn.Parameter(torch.zeros(n_output))
        self.W_skip = nn.Parameter(torch.zeros(n_input, n_output)) if skip else None

    def encode(self, x: Float[Tensor, "batch n_input"]) -> Float[Tensor, "batch n_hidden"]:
        """Return the latents: the k largest pre-activations of every input where they are positive, 0 elsewhere.

        Args:
            x: what the MLP reads, one row for each token.
        """
        return topk(x @ self.W_enc + self.b_enc, self.k)

    def forward(
        self, x: Float[Tensor, "batch n_input"], y: Float[Tensor, "batch n_output"]
    ) -> TranscoderOutput:
        """Encode what the MLP reads, decode to what it writes, and measure the loss.

        Args:
            x: what the MLP reads, one row for each token.
            y: what the MLP writes, in the same order.

        Returns:
            `TranscoderOutput(loss, acts, y_reconstructed)`. `loss` is one number, the squared error of
            `y_reconstructed`, mean over inputs and dimensions. Where `self.W_skip` is None there is no way around.
        """
        acts = self.encode(x)
        y_reconstructed = acts @ self.W_dec + self.b_dec
        if self.W_skip is not None:
            y_reconstructed = y_reconstructed + x @ self.W_skip
        return TranscoderOutput((y - y_reconstructed).pow(2).mean(), acts, y_reconstructed)


@torch.no_grad()
def mlp_in_and_out(
    tokens: Int[Tensor, "batch seq"], model: "TransformerBridge"
) -> tuple[Float[Tensor, "tokens d_model"], Float[Tensor, "tokens d_model"]]:
    """Return what the MLP of a one-layer model reads and what it writes, at every token of every row."""
    _, cache = model.run_with_cache(tokens, names_filter=lambda name: name in (MLP_IN, MLP_OUT))
    return cache[MLP_IN].flatten(0, 1), cache[MLP_OUT].flatten(0, 1)


class TranscoderEvaluation(NamedTuple):
    """What `evaluate_transcoder` returns."""

    fvu: float
    """The fraction of variance of the MLP's output that is unexplained."""
    l0: float
    """Latents that fire, mean over tokens."""
    dead: float
    """Share of the latents that fire on no token."""
    loss_clean: float
    """Of the language model as it is, in nats per token."""
    loss_transcoder: float
    """With the transcoder in the MLP's place."""
    loss_mean_ablated: float
    """With the MLP's mean output in its place."""

    @property
    def recovered(self) -> float:
        """CE recovered; 0 is mean ablation."""
        return (self.loss_mean_ablated - self.loss_transcoder) / (self.loss_mean_ablated - self.loss_clean)


@torch.no_grad()
def evaluate_transcoder(
    tokens: Int[Tensor, "rows seq"],
    model: "TransformerBridge",
    transcoder: Transcoder,
    batch_rows: int = 32,
) -> TranscoderEvaluation:
    """Measure a transcoder on a text, with sums in float64."""
    n_output, n_hidden = transcoder.b_dec.numel(), transcoder.b_enc.numel()
    total = torch.zeros(n_output, dtype=torch.float64)
    losses = torch.zeros(3, dtype=torch.float64)
    squares = error = 0.0
    fired = torch.zeros(n_hidden, dtype=torch.float64)
    for rows in tokens.split(batch_rows):
        x, y = mlp_in_and_out(rows, model)
        output = transcoder(x, y)
        total += y.double().sum(dim=0)
        squares += y.double().pow(2).sum().item()
        error += (y - output.y_reconstructed).double().pow(2).sum().item()
        fired += (output.acts > 0).double().sum(dim=0)
    n = tokens.numel()
    mean = (total / n).float()
    for rows in tokens.split(batch_rows):
        y_reconstructed = transcoder(*mlp_in_and_out(rows, model)).y_reconstructed.view(*rows.shape, -1)
        for index, replacement in enumerate((None, y_reconstructed, mean.expand_as(y_reconstructed))):

            def put(value: Tensor, hook: object, replacement: Tensor | None = replacement) -> Tensor:
                return value if replacement is None else replacement

            loss = model.run_with_hooks(rows, return_type="loss", fwd_hooks=[(MLP_OUT, put)])
            losses[index] += loss.double() * len(rows)
    losses /= len(tokens)
    variance = squares - total.pow(2).sum().item() / n
    return TranscoderEvaluation(
        error / variance, fired.sum().item() / n, (fired == 0).double().mean().item(), *losses.tolist()
    )


def save_transcoder(transcoder: Transcoder, path: Path) -> None:
    """Write the weights in float16."""
    from safetensors.torch import save

    from part_utils.files import write_atomically

    tensors = {
        name: value.detach().half().contiguous().cpu() for name, value in transcoder.state_dict().items()
    }
    write_atomically(path, save(tensors, {"k": str(transcoder.k)}))


def load_transcoder(path: Path | None = None) -> Transcoder:
    """Return the bundled transcoder of the bundled model's MLP, or one that `save_transcoder` wrote.

    Raises:
        ValueError: the file is damaged, or is no transcoder.
    """
    from part_utils.bundled_files import bundled_file
    from part_utils.formats.ours import metadata_of
    from part_utils.formats.reading import read_safetensors

    path = path or bundled_file("transcoder.safetensors")
    weights, k = read_safetensors(path), metadata_of(path).get("k", "")
    if not {"W_enc", "W_dec", "b_enc", "b_dec"} <= set(weights) or not k.isdecimal():
        raise ValueError(f"{path} holds no transcoder; give a file that `course train-transcoder` wrote.")
    (n_input, n_hidden), n_output = weights["W_enc"].shape, weights["W_dec"].shape[1]
    with torch.random.fork_rng(devices=[]):
        transcoder = Transcoder(n_input, n_output, n_hidden, int(k), "W_skip" in weights)
    transcoder.load_state_dict({name: value.float() for name, value in weights.items()})
    return transcoder.eval()
