"""A sentence of your own: which latents fire on it, and what the model says when one is turned up.

Steering adds a multiple of a latent's decoder direction to the activations on every token (Turner et al. 2023;
Templeton et al. 2024). A sentence is short, so all of this takes well under a second.
"""

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.model_with_autoencoder import ModelWithAutoencoder, also_in_parts
from part_utils.token_text import text_of, token_string, words_in_context

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


class FiringLatents(NamedTuple):
    """What `firing_latents` returns."""

    tokens: Int[Tensor, "1 seq"]
    """The sentence's tokens, with BOS at the start."""
    words: list[str]
    """The same tokens as text (see `words_in_context`)."""
    acts: Float[Tensor, "seq n_hidden_ae"]
    """The activation of every latent on every token; on BOS all are set to 0."""
    shares: Float[Tensor, "seq n_hidden_ae"]
    """The same as shares of what counts as each latent's full strength; the activations, if none was named."""

    def strongest(self, k: int = 5) -> list[int]:
        """Return the latents that fire most strongly anywhere in the sentence, by their shares, the strongest first."""
        return self.shares.amax(dim=0).topk(k).indices.tolist()


@also_in_parts
@torch.no_grad()
def firing_latents(
    sentence: str,
    subject: ModelWithAutoencoder,
    largest: Float[Tensor, "n_hidden_ae"] | None = None,
) -> FiringLatents:
    """Find out which latents fire on each token of a sentence.

    Args:
        sentence: the text.
        subject: the language model with its autoencoder.
        largest: each latent's largest activation on some text, such as `top_activations(...).values[:, 0]`. Then
            latents are compared by how much of it they reach, since some are large always. One that is larger here
            than there reaches all of it.

    Raises:
        ValueError: the sentence is empty, or longer than the model's context.
    """
    model = subject.model
    tokens = _tokens_of(sentence, model)
    acts = subject.acts_on(tokens)[0]
    # The model has no text before BOS to go by, so what fires there says nothing about the sentence.
    acts[0] = 0
    words = words_in_context(tokens[0], model.tokenizer)
    if largest is None:
        return FiringLatents(tokens, words, acts, acts)
    return FiringLatents(
        tokens, words, acts, acts / largest.to(acts).maximum(acts.amax(dim=0)).clamp_min(1e-8)
    )


class NextToken(NamedTuple):
    """What `steered_next_token` returns: probabilities of the next token."""

    before: Float[Tensor, "d_vocab"]
    """By the model as it is."""
    after: Float[Tensor, "d_vocab"]
    """With the latent's direction added."""

    @property
    def moved(self) -> float:
        """Which share of the probability steering has moved from some tokens to others (total variation distance)."""
        return (self.after - self.before).clamp_min(0).sum().item()

    def table(self, model: "TransformerBridge", k: int = 6) -> str:
        """Return the most probable tokens without and with steering, side by side."""
        lines = [f"{'without':>18}  {'':6} {'with':>18}"]
        for i, j in zip(self.before.topk(k).indices, self.after.topk(k).indices, strict=True):
            left, right = (repr(token_string(int(token), model.tokenizer)) for token in (i, j))
            lines.append(f"{left:>18}  {self.before[i]:6.1%} {right:>18}  {self.after[j]:6.1%}")
        return "\n".join(lines)


@also_in_parts
@torch.no_grad()
def steered_next_token(
    sentence: str,
    subject: ModelWithAutoencoder,
    feature_idx: int,
    strength: float,
) -> NextToken:
    """Add a latent's direction to the activations on every token, and compare the predictions of the next token.

    Args:
        sentence: the text.
        subject: the language model with its autoencoder; neither is changed.
        feature_idx: the latent.
        strength: how much of its direction to add, in units of its activation; below 0 it is turned down.
    """
    model = subject.model
    tokens = _tokens_of(sentence, model)
    direction = strength * subject.directions[feature_idx]
    before = model(tokens, return_type="logits")[0, -1]
    after = _steered_logits(tokens, subject, direction)[0, -1]
    return NextToken(before.softmax(dim=-1), after.softmax(dim=-1))


@functools.partial(also_in_parts, instance_last=True)
@torch.no_grad()
def continue_text(
    sentence: str,
    subject: ModelWithAutoencoder,
    feature_idx: int,
    strength: float,
    n_tokens: int = 20,
    temperature: float = 0.7,
    seed: int = 0,
) -> str:
    """Let the model go on with a sentence while a latent's direction is added on every token.

    The same seed with `strength=0` gives the text without steering, to compare with.

    Args:
        sentence: the text to go on with.
        subject: the language model with its autoencoder; neither is changed.
        feature_idx: the latent.
        strength: how much of its direction to add, in units of its activation.
        n_tokens: how many tokens to write.
        temperature: 0 takes the most probable token; larger numbers draw more freely.
        seed: where the draws come from.

    Returns:
        What the model wrote, without the sentence.
    """
    model = subject.model
    tokens = _tokens_of(sentence, model)
    start = tokens.shape[1]
    direction = strength * subject.directions[feature_idx]
    generator = torch.Generator(device=tokens.device).manual_seed(seed)
    for _ in range(n_tokens):
        logits = _steered_logits(tokens[:, -model.cfg.n_ctx :], subject, direction)[0, -1]
        if temperature > 0:
            probabilities = (logits / temperature).softmax(dim=-1)
            token = torch.multinomial(probabilities, 1, generator=generator)
        else:
            token = logits.argmax()[None]
        tokens = torch.cat([tokens, token[None]], dim=1)
    return text_of(tokens[0, start:], model.tokenizer)


def _steered_logits(
    tokens: Int[Tensor, "1 seq"], subject: ModelWithAutoencoder, direction: Float[Tensor, "size"]
) -> Float[Tensor, "1 seq d_vocab"]:
    """The logits with `direction` added to the activations on every token, but at sinks."""
    keep = subject.read(tokens)[1] if subject.model.cfg.n_layers > 1 else torch.ones_like(tokens).bool()

    def add(value: Float[Tensor, "1 seq size"], hook: Any) -> Tensor:
        return torch.where(keep[..., None], value + direction.to(value), value)

    return subject.model.run_with_hooks(tokens, return_type="logits", fwd_hooks=[(subject.hook, add)])


def _tokens_of(sentence: str, model: "TransformerBridge") -> Int[Tensor, "1 seq"]:
    if not sentence.strip():
        raise ValueError("The sentence is empty; write a few words.")
    tokens = model.to_tokens(sentence, prepend_bos=True, truncate=False)
    if tokens.shape[1] > model.cfg.n_ctx:
        raise ValueError(
            f"The sentence has {tokens.shape[1]} tokens with BOS, but the model reads at most {model.cfg.n_ctx}; "
            "shorten it."
        )
    return tokens
