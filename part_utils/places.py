"""A place in a language model of many blocks, with its autoencoder: read over a text, compared, steered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from part_utils.deep_models import check_hook, read_place, sink_limit
from part_utils.hypotheses import ActivatedText, Feature, Rule
from part_utils.memory import give_back
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.texts import TokenizedText, words_of
from part_utils.token_text import text_of, token_strings, words_in_context

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Place:
    """The place in a language model that an autoencoder was trained on: what can be done there.

    Raises:
        ValueError: the model has no such hook.
    """

    subject: ModelWithAutoencoder

    def __post_init__(self) -> None:
        check_hook(self.model, self.hook)

    @property
    def model(self) -> "TransformerBridge":
        """The language model."""
        return self.subject.model

    @property
    def hook(self) -> str:
        """The place's name, such as `"blocks.11.hook_out"`."""
        return self.subject.hook

    @property
    def directions(self) -> Float[Tensor, "n_hidden_ae size"]:
        """Every latent's direction, at unit length."""
        return self.subject.directions.detach()

    @torch.no_grad()
    def read(
        self, tokens: Int[Tensor, "batch seq"]
    ) -> tuple[Float[Tensor, "batch seq size"], Float[Tensor, "batch seq"]]:
        """Return the activations at the place, and the length of the residual stream; later blocks are not computed."""
        h, norms = read_place(self.model, tokens, self.hook)
        return h.float(), norms

    @torch.no_grad()
    def rebuild(self, h: Float[Tensor, "tokens size"]) -> Float[Tensor, "tokens size"]:
        """Return the autoencoder's reconstruction of activations."""
        autoencoder = self.subject.autoencoder
        inputs = h[:, None].expand(-1, autoencoder.cfg.n_instances, -1)
        return autoencoder.decode(autoencoder.encode(inputs))[:, self.subject.instance]


@dataclass(frozen=True)
class LatentsOnText:
    """Which latents fire where on a text. Only what fires is kept, so that a long text fits into memory.

    `latents`, `tokens` and `values` belong together, one entry for each latent that fires on a token.
    """

    text: TokenizedText
    keep: Bool[Tensor, "batch seq"]
    """False at the sinks, on which nothing is said to fire."""
    h: Float[Tensor, "kept size"]
    """The activations on every token that is no sink, of all rows or of the first ones, in float16 to save memory."""
    words: list[list[str]]
    labels: list[list[str]]
    latents: Int[Tensor, "n"]
    """Sorted."""
    tokens: Int[Tensor, "n"]
    """The token's place in the flattened text."""
    values: Float[Tensor, "n"]
    n_latents: int

    def acts_of(self, latent: int) -> Float[Tensor, "batch seq"]:
        """Return one latent's activations on the text."""
        first, last = torch.searchsorted(self.latents, self.latents.new_tensor([latent, latent + 1])).tolist()
        acts = torch.zeros(self.keep.numel())
        acts[self.tokens[first:last]] = self.values[first:last]
        return acts.view(self.keep.shape)

    def acts(self, latents: list[int]) -> Float[Tensor, "tokens n"]:
        """Return the activations of a few latents on every token that is no sink."""
        return torch.stack([self.acts_of(latent)[self.keep] for latent in latents], dim=1)

    def rates(self) -> Float[Tensor, "n_latents"]:
        """Return the share of tokens on which each latent fires."""
        return torch.bincount(self.latents, minlength=self.n_latents) / self.keep.sum()

    def largest(self) -> Float[Tensor, "n_latents"]:
        """Return the largest activation of each latent."""
        return torch.zeros(self.n_latents).scatter_reduce(0, self.latents.long(), self.values, "amax")

    def f1(self, wanted: Bool[Tensor, "batch seq"]) -> Float[Tensor, "n_latents"]:
        """Return for each latent how well its firing tells some tokens from the others."""
        hits = torch.bincount(self.latents[wanted.flatten()[self.tokens]], minlength=self.n_latents)
        fires = torch.bincount(self.latents, minlength=self.n_latents)
        return 2 * hits / (fires + wanted[self.keep].sum()).clamp_min(1)

    def said_by(self, rule: Rule) -> Bool[Tensor, "batch seq"]:
        """Return on which tokens a rule of exercise 5.7 says yes; never on a sink."""
        lines = zip(self.words, self.labels, strict=True)
        said = [
            [bool(rule(words[: i + 1], label)) for i, label in enumerate(labels)] for words, labels in lines
        ]
        return torch.tensor(said) & self.keep

    def activated(self, latent: int) -> ActivatedText:
        """Return the text with one latent's activations, for a rule to be scored on."""
        return ActivatedText(self.words, self.labels, self.acts_of(latent))


@torch.no_grad()
def latents_on(
    place: Place, text: TokenizedText, batch_rows: int = 4, h_rows: int | None = None
) -> LatentsOnText:
    """Read a text with a model and its autoencoder, a few rows at a time.

    The first rows decide how long the residual stream of a sink is (`sink_limit`).

    Args:
        place: where to read.
        text: the text.
        batch_rows: rows at a time.
        h_rows: of how many rows, from the first on, the activations themselves are kept; of all when left out.
    """
    keep: list[Tensor] = []
    # Small tensors that stay between large ones that go would keep the memory of those, so pieces are written out.
    types = {"h": torch.float16, "latents": torch.int32, "tokens": torch.int32, "values": torch.float32}
    written = {name: BytesIO() for name in types}
    limit, before, size = None, 0, 0
    for rows in text.tokens.split(batch_rows):
        h, norms = place.read(rows)
        limit = sink_limit(norms) if limit is None else limit
        keep.append(norms <= limit)
        acts = place.subject.encode(h)
        acts[~keep[-1].flatten()] = 0
        token, latent = acts.nonzero(as_tuple=True)
        with_h = slice(None if h_rows is None else max(h_rows - before // rows.shape[1], 0))
        pieces = {
            "h": h[with_h][keep[-1][with_h]],
            "latents": latent,
            "tokens": token + before,
            "values": acts[token, latent],
        }
        for name, piece in pieces.items():
            written[name].write(piece.to(types[name]).numpy().tobytes())
        before, size = before + rows.numel(), h.shape[-1]
        if len(keep) % 8 == 0:
            give_back()
    read = {name: _as_tensor(written.pop(name), dtype) for name, dtype in types.items()}
    order = read["latents"].argsort(stable=True)
    words, labels = words_of(text, place.model.tokenizer)
    give_back()
    return LatentsOnText(
        text=text,
        keep=torch.cat(keep),
        h=read["h"].view(-1, size),
        words=words,
        labels=labels,
        latents=read["latents"][order],
        tokens=read["tokens"][order],
        values=read["values"][order],
        n_latents=place.subject.n_latents,
    )


@torch.no_grad()
def differences_of_means(
    place: Place, read: LatentsOnText, wanted: Sequence[Bool[Tensor, "batch seq"]], batch_rows: int = 4
) -> Float[Tensor, "n size"]:
    """Return for several kinds of tokens the mean activation on these minus that on all others, without sinks.

    It is `difference_of_means` of exercise 7.2. The text is read again, so that its activations need no memory.

    Args:
        place: where to read.
        read: the text, with its sinks.
        wanted: True at the tokens of each kind, of which there is at least one.
        batch_rows: rows at a time.
    """
    inside = torch.stack([mask & read.keep for mask in wanted])
    sums = torch.zeros(len(wanted), place.directions.shape[1], dtype=torch.float64)
    total = torch.zeros_like(sums[0])
    pieces = (
        read.text.tokens.split(batch_rows),
        read.keep.split(batch_rows),
        inside.split(batch_rows, dim=1),
    )
    for rows, keep, masks in zip(*pieces, strict=True):
        h = place.read(rows)[0]
        total += h[keep].double().sum(dim=0)
        sums += torch.stack([h[mask].double().sum(dim=0) for mask in masks])
    n_inside = inside.sum(dim=(1, 2))[:, None]
    give_back()
    return (sums / n_inside - (total - sums) / (read.keep.sum() - n_inside)).float()


def _as_tensor(written: BytesIO, dtype: torch.dtype) -> Tensor:
    """Return what was written as a tensor with one axis, without a copy."""
    data = written.getbuffer()
    return torch.frombuffer(data, dtype=dtype) if len(data) else torch.zeros(0, dtype=dtype)


def feature_of(latent: int, found_on: LatentsOnText, held_out: LatentsOnText) -> Feature:
    """Return a latent with its activations on a text to study and on one to be tested on."""
    return Feature(latent, 0, found_on.activated(latent), held_out.activated(latent))


class Replaced(NamedTuple):
    """What `compare_at` returns for each way to replace the activations. Sinks count in nothing."""

    fvu: float
    loss: float
    """The language model's, in nats per token."""
    recovered: float
    """CE recovered: 1 is the model as it is, 0 the mean activation everywhere."""


@torch.no_grad()
def compare_at(
    place: Place,
    tokens: Int[Tensor, "rows seq"],
    ways: Mapping[str, Callable[[Float[Tensor, "tokens size"]], Float[Tensor, "tokens size"]]],
    mean: Float[Tensor, "size"],
    batch_rows: int = 4,
) -> dict[str, Replaced]:
    """Put something else in the place of activations, except at sinks, and measure what is lost.

    Args:
        place: where.
        tokens: held-out text.
        ways: a name and a function for each; it gets activations and returns others.
        mean: the mean activation, which recovers nothing.
        batch_rows: rows at a time.

    Returns:
        `Replaced` for each way, and under "as it is" and "mean" for the two that the others are measured by.
    """
    everything: dict[str, Callable[[Tensor], Tensor]] = {
        "as it is": lambda h: h,
        "mean": mean.expand_as,
        **ways,
    }
    errors, losses = (dict.fromkeys(everything, 0.0) for _ in range(2))
    variance, limit = 0.0, None
    give_back()  # What was read before this, to find the mean and the axes.
    for rows in tokens.split(batch_rows):
        h, norms = place.read(rows)
        limit = sink_limit(norms) if limit is None else limit
        keep = norms <= limit
        variance += (h[keep] - mean).double().pow(2).sum().item()
        for name, change in everything.items():
            new = h.clone()
            new[keep] = change(h[keep])
            errors[name] += (h - new).double().pow(2).sum().item()

            def put(value: Tensor, hook: Any, new: Tensor = new) -> Tensor:
                return new.to(value)

            loss = place.model.run_with_hooks(rows, return_type="loss", fwd_hooks=[(place.hook, put)])
            losses[name] += loss.double().item() * len(rows) / len(tokens)
    give_back()
    worth = losses["mean"] - losses["as it is"]
    return {
        name: Replaced(errors[name] / variance, losses[name], (losses["mean"] - losses[name]) / worth)
        for name in everything
    }


def tokens_of(prompt: str, model: "TransformerBridge") -> Int[Tensor, "1 seq"]:
    """Return a prompt's tokens, with BOS in front.

    Raises:
        ValueError: the prompt is empty.
    """
    if not prompt.strip():
        raise ValueError("The prompt is empty; write a few words.")
    return model.to_tokens(prompt, prepend_bos=True, truncate=False)


@torch.no_grad()
def next_logits(
    place: Place, prompt: str, hooks: Sequence[Callable[..., Tensor] | None] = (None,)
) -> Float[Tensor, "n d_vocab"]:
    """Return the predictions of the token after a prompt, once with each of several hook functions at the place.

    All of them are computed at once, as rows of a batch; None stands for the model as it is.
    """

    def each(value: Float[Tensor, "n seq size"], hook: Any) -> Float[Tensor, "n seq size"]:
        rows = zip(value.split(1), hooks, strict=True)
        return torch.cat([row if change is None else change(row, hook=hook) for row, change in rows])

    tokens = tokens_of(prompt, place.model).expand(len(hooks), -1)
    return place.model.run_with_hooks(tokens, return_type="logits", fwd_hooks=[(place.hook, each)])[
        :, -1
    ].float()


def write_on(
    place: Place,
    prompt: str,
    hook: Callable[..., Tensor] | None = None,
    n_tokens: int = 20,
    temperature: float = 0.7,
    seed: int = 0,
) -> str:
    """Let the model go on with a prompt, with a hook function at the place if one is given.

    The same seed without a hook gives the text to compare with.

    Returns:
        What the model wrote, without the prompt.
    """
    model = place.model
    tokens = tokens_of(prompt, model)
    hooks: list[Any] = [(place.hook, hook)] if hook else []
    with torch.random.fork_rng(devices=[]), model.hooks(fwd_hooks=hooks):
        torch.manual_seed(seed)
        written: Any = model.generate(
            tokens,
            max_new_tokens=n_tokens,
            do_sample=True,
            temperature=temperature,
            return_type="tokens",
            verbose=False,
        )
    return text_of(written[0, tokens.shape[1] :], model.tokenizer)


def random_directions(size: int, n: int, seed: int = 0) -> Float[Tensor, "n size"]:
    """Draw directions of unit length, evenly from all."""
    drawn = torch.randn(n, size, generator=torch.Generator().manual_seed(seed))
    return F.normalize(drawn, dim=-1)


class Firing(NamedTuple):
    """What `firing_at` returns."""

    words: list[str]
    """Each token as text, as `words_in_context` has it."""
    acts: Float[Tensor, "seq n_hidden_ae"]
    """The latents on each of them; 0 at sinks."""


@torch.no_grad()
def firing_at(place: Place, sentence: str) -> Firing:
    """Find out which latents fire on each token of a sentence."""
    tokens = tokens_of(sentence, place.model)
    h, norms = place.read(tokens)
    acts = place.subject.encode(h) * (norms <= sink_limit(norms)).flatten()[:, None]
    return Firing(words_in_context(tokens[0], place.model.tokenizer), acts)


class Onward(NamedTuple):
    """What `way_onward` returns, for the residual stream behind each block from that of the place on."""

    blocks: list[int]
    length: Float[Tensor, "blocks"]
    """How long the change is, in units of its length behind the first of them."""
    cosine: Float[Tensor, "blocks"]
    """How much of it still points along what the direction adds to the residual stream."""
    favored: list[list[str]]
    """The words that the change makes likelier if it is read with the last norm and `W_U` at once."""


@torch.no_grad()
def way_onward(
    place: Place, tokens: Int[Tensor, "batch seq"], hook: Callable[..., Tensor], direction: Tensor, k: int = 5
) -> Onward:
    """Change the residual stream at a place, and follow the change of the last position through the later blocks."""
    model = place.model
    blocks = list(range(place.subject.block, len(model.blocks)))
    names = [f"blocks.{number}.hook_out" for number in blocks]
    _, clean = model.run_with_cache(tokens, names_filter=names)
    with model.hooks(fwd_hooks=[(place.hook, hook)]):
        _, changed = model.run_with_cache(tokens, names_filter=names)
    # Where a hook of the cache and ours are at the same place, the cache may hold what stood there before.
    before = torch.stack([clean[name][:, -1].float() for name in names])
    after = torch.stack([changed[name][:, -1].float() for name in names])
    if place.subject.kind in ("hook_out", "hook_resid_post"):
        after[0] = hook(clean[names[0]], hook=None)[:, -1].float()
    change = after - before
    first = change[0].norm(dim=-1)
    length = (change.norm(dim=-1) / first).mean(dim=1)
    cosine = F.cosine_similarity(change, place.subject.written(direction).to(change), dim=-1).mean(dim=1)
    favored = []
    for old, new in zip(before, after, strict=True):
        logits = (model.unembed(model.ln_final(new)) - model.unembed(model.ln_final(old))).float().mean(dim=0)
        favored.append(token_strings(logits.topk(k).indices, model.tokenizer))
    return Onward(blocks, length, cosine, favored)
