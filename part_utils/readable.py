"""How many latents can be read, and which ones best: a latent's direct effect beside what really came next.

A latent that fires before certain tokens and also raises their logits makes sense from both sides. Definitions:

- Followers of a latent: the tokens that most often stood right after a token on which it fires.
- Its effect can be read if the tokens that its direct effect on the logits favors most hold some of them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from part_utils.baselines import neuron_copies
from part_utils.interpretation import ablate_feature, feature_activations, feature_logit_effect
from part_utils.model_with_autoencoder import ModelWithAutoencoder


@torch.no_grad()
def times_fired(
    tokens: Int[Tensor, "rows seq"], subject: ModelWithAutoencoder, batch_rows: int = 16
) -> Int[Tensor, "n_hidden_ae"]:
    """Count on how many tokens each latent fires."""
    fired = torch.zeros(subject.n_latents, dtype=torch.long, device=tokens.device)
    for rows in tokens.split(batch_rows):
        fired += (subject.acts_on(rows) > 0).sum(dim=(0, 1))
    return fired


def random_latents(eligible: Bool[Tensor, "n_hidden_ae"], n: int, seed: int = 0) -> Int[Tensor, "n_drawn"]:
    """Draw up to n of the latents that are eligible, each at most once, in ascending order."""
    candidates = eligible.nonzero().flatten().cpu()
    order = torch.randperm(len(candidates), generator=torch.Generator().manual_seed(seed))
    return candidates[order[:n]].sort().values


def one_word_f1(
    acts: Float[Tensor, "tokens n_hidden_ae"],
    tokens: Int[Tensor, "tokens"],
    acts_held_out: Float[Tensor, "tokens_held_out n_hidden_ae"],
    tokens_held_out: Int[Tensor, "tokens_held_out"],
    min_fired: int = 20,
) -> Float[Tensor, "n_latents_that_fire"]:
    """Return how well a single word tells where each latent fires: the F1 of "it fires on this token and on no other".

    The word is the best one on the first text, and its F1 is that on the other.

    Args:
        acts: latents on the text that the words are chosen on.
        tokens: that text.
        acts_held_out, tokens_held_out: the same of the text that they are scored on.
        min_fired: latents that fire more seldom on the first text are left out.
    """
    size = int(torch.cat([tokens, tokens_held_out]).max()) + 1

    def f1(acts: Tensor, tokens: Tensor) -> Float[Tensor, "d_vocab n_hidden_ae"]:
        fires = (acts > 0).to(acts.dtype)
        hits = torch.zeros(size, acts.shape[1], dtype=acts.dtype).index_add_(0, tokens, fires)
        said = torch.bincount(tokens, minlength=size)[:, None]
        return 2 * hits / (fires.sum(dim=0) + said).clamp_min(1)

    words = f1(acts, tokens).argmax(dim=0)
    scores = f1(acts_held_out, tokens_held_out).gather(0, words[None])[0]
    return scores[(acts > 0).sum(dim=0) >= min_fired]


def common_followers(
    acts: Float[Tensor, "batch seq"], tokens: Int[Tensor, "batch seq"], n: int = 10
) -> Int[Tensor, "n_found"]:
    """Return the tokens that most often come right after a token on which the latent fires, the most common first.

    Of equally common ones the smaller number comes first. What follows the end of a row is not known.
    """
    after = tokens[:, 1:][acts[:, :-1] > 0]
    counts = torch.bincount(after, minlength=1)
    order = counts.sort(descending=True, stable=True).indices
    return order[: min(n, int((counts > 0).sum()))]


@torch.no_grad()
def logit_effects(subject: ModelWithAutoencoder, latents: Int[Tensor, "n"]) -> Float[Tensor, "n d_vocab"]:
    """Return the direct effects of some latents, one row for each."""
    model, autoencoder, instance = subject.model, subject.autoencoder, subject.instance
    effects = [
        feature_logit_effect(model, autoencoder, one, instance, k=1).effect for one in latents.tolist()
    ]
    return torch.stack(effects)


@dataclass(frozen=True)
class ReadLatent:
    """One latent, with what it favors beside what came next."""

    latent: int
    fired: int
    """On how many tokens it fires."""
    followers: list[int]
    """The tokens that most often came next, the most common first."""
    favored: list[int]
    """Those of them that are among the tokens which its direct effect favors most."""
    top: list[int]
    """The tokens which its direct effect favors most."""


@torch.no_grad()
def read_latents(
    tokens: Int[Tensor, "rows seq"],
    subject: ModelWithAutoencoder,
    latents: Int[Tensor, "n"],
    n_followers: int = 10,
    n_favored: int = 20,
) -> list[ReadLatent]:
    """Put the direct effect of some latents beside what really came next on a text.

    Args:
        tokens: text that nothing was trained on.
        subject: a one-layer language model with its autoencoder.
        latents: which of its latents.
        n_followers: how many of the most common next tokens count.
        n_favored: how many of the tokens that the direct effect favors most count.
    """
    effects = logit_effects(subject, latents)
    acts = feature_activations(tokens, subject, latents.tolist())
    read = []
    for index, latent in enumerate(latents.tolist()):
        followers = common_followers(acts[..., index], tokens, n_followers).tolist()
        top = effects[index].topk(min(n_favored, effects.shape[1])).indices.tolist()
        read.append(
            ReadLatent(
                latent=latent,
                fired=int((acts[..., index] > 0).sum()),
                followers=followers,
                favored=[token for token in followers if token in top],
                top=top,
            )
        )
    return read


@dataclass(frozen=True)
class Candidate:
    """A latent that could stand for all in a text about what latents mean."""

    read: ReadLatent
    largest_neuron: float
    """The largest share of its row's squared length that one neuron holds."""
    word_share: float
    """Which share of its firing is on one and the same token: near 1 for a latent about a word."""
    agreement: float
    """Correlation over the vocabulary of the direct effect with what an ablation does, both without their means."""


@torch.no_grad()
def candidates(
    tokens: Int[Tensor, "rows seq"],
    subject: ModelWithAutoencoder,
    min_fired: int = 30,
    min_favored: int = 3,
    min_agreement: float = 0.5,
    ablation_rows: int = 8,
    at_most: int | None = None,
    seed: int = 0,
) -> list[Candidate]:
    """Find the latents that copy no neuron, favor what follows, and whose ablation agrees with that.

    Args:
        tokens: text that nothing was trained on.
        subject: a one-layer language model with its autoencoder.
        min_fired: on how many tokens a latent must fire.
        min_favored: how many of the ten most common followers the twenty most favored tokens must hold.
        min_agreement: the smallest `Candidate.agreement`.
        ablation_rows: each latent is taken away on so many rows, those where it fires most strongly.
        at_most: look at a random choice of so many latents only.
        seed: where that choice comes from.

    Returns:
        Those that hold the most followers first; of equals, those that are the least about one word.
    """
    fired = times_fired(tokens, subject)
    eligible = (fired >= min_fired) & ~neuron_copies(subject.autoencoder)[subject.instance]
    latents = random_latents(eligible, at_most or len(fired), seed)
    squares = subject.directions.pow(2)
    shares = squares.amax(dim=1) / squares.sum(dim=1)
    found = []
    for part in latents.split(64):
        acts = feature_activations(tokens, subject, part.tolist())
        effects = logit_effects(subject, part)
        for index, read in enumerate(read_latents(tokens, subject, part)):
            if len(read.favored) < min_favored:
                continue
            mine = acts[..., index]
            rows = mine.amax(dim=1).topk(min(ablation_rows, len(mine))).indices
            change = -ablate_feature(
                tokens[rows], subject.model, subject.autoencoder, read.latent, subject.instance
            )
            firing = mine[rows] > 0
            measured = (change[firing] / mine[rows][firing][:, None]).mean(dim=0)
            agreement = torch.corrcoef(torch.stack([effects[index], measured]))[0, 1].item()
            if agreement < min_agreement:
                continue
            on = torch.bincount(tokens[mine > 0])
            word_share = (on.max() / on.sum()).item()
            found.append(Candidate(read, shares[read.latent].item(), word_share, agreement))
    return sorted(found, key=lambda one: (-len(one.read.favored), one.word_share))
