"""Exercises 7.2 and 7.3: finding a topic with a latent, a neuron, a difference of means or a trained probe.

All of them give every token a score, and a threshold on the score says whether the token belongs to the topic. Both
the score and the threshold are chosen on one text, and measured on another.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def difference_of_means(h: Float[Tensor, "tokens d"], labels: Bool[Tensor, "tokens"]) -> Float[Tensor, "d"]:
    """Return the direction from the mean of the tokens outside of a topic to the mean of those in it.

    Args:
        h: activations, one row for each token.
        labels: True for the tokens that belong to the topic; there is at least one of each kind.

    Returns:
        The mean of the rows in the topic minus the mean of the other rows, as it is (not at unit length).
    """
    return h[labels].mean(dim=0) - h[~labels].mean(dim=0)


def probe_f1(
    scores: Float[Tensor, "tokens"],
    labels: Bool[Tensor, "tokens"],
    scores_held_out: Float[Tensor, "tokens_held_out"],
    labels_held_out: Bool[Tensor, "tokens_held_out"],
) -> float:
    """Choose the threshold that is best on one text, and return the F1 that it has on the other.

    A token is said to belong to the topic if its score is at least the threshold, which is the one with the best F1 on
    `scores` and `labels`. F1 is 2 * hits / (tokens said to belong + tokens that belong), and 0 if that divides
    by zero.

    Args:
        scores: a number for each token of the text that one may learn from.
        labels: which of these tokens belong to the topic.
        scores_held_out: the same numbers for the tokens of another text.
        labels_held_out: which of those belong to the topic.
    """
    said = scores_held_out >= best_thresholds(scores[:, None], labels).thresholds
    hits = int((said & labels_held_out).sum())
    return 2 * hits / max(int(said.sum()) + int(labels_held_out.sum()), 1)


class BestThresholds(NamedTuple):
    """What `best_thresholds` returns, a number for each column of scores."""

    thresholds: Float[Tensor, "d"]
    """The smallest score that still counts as "belongs to the topic"."""
    f1: Float[Tensor, "d"]
    """The F1 with it, on the same tokens."""


def best_thresholds(scores: Float[Tensor, "tokens d"], labels: Bool[Tensor, "tokens"]) -> BestThresholds:
    """Find for every column of scores the threshold with the best F1."""
    ordered, order = scores.sort(dim=0, descending=True)
    hits = labels[order].cumsum(dim=0)
    claimed = torch.arange(1, len(scores) + 1)[:, None]
    f1 = 2 * hits / (claimed + labels.sum())
    # A threshold takes all tokens of one score or none.
    f1[:-1][ordered[:-1] == ordered[1:]] = 0
    best = f1.max(dim=0)
    return BestThresholds(ordered.gather(0, best.indices[None])[0], best.values)


def best_latent_for(acts: Float[Tensor, "tokens n_hidden_ae"], labels: Bool[Tensor, "tokens"]) -> int:
    """Find the latent whose firing tells best whether a token belongs to a topic.

    A latent says "yes" on the tokens on which it fires, that is, where its activation is above 0. The best one has the
    largest F1: 2 * hits / (tokens on which it fires + tokens that belong to the topic).

    Args:
        acts: the latents of every token.
        labels: True for the tokens that belong to the topic; there is at least one.

    Returns:
        The number of the latent.
    """
    fires = (acts > 0).to(acts.dtype)
    hits = labels.to(acts.dtype) @ fires
    return int((2 * hits / (fires.sum(dim=0) + labels.sum())).argmax())


def latent_f1(
    acts: Float[Tensor, "tokens n_hidden_ae"],
    labels: Bool[Tensor, "tokens"],
    acts_held_out: Float[Tensor, "tokens_held_out n_hidden_ae"],
    labels_held_out: Bool[Tensor, "tokens_held_out"],
) -> float:
    """Return the held-out F1 of the latent that fits a topic best; latent and threshold come from the first text."""
    best = best_latent_for(acts, labels)
    return probe_f1(acts[:, best], labels, acts_held_out[:, best], labels_held_out)


def logistic_probe(
    h: Float[Tensor, "tokens d"], labels: Bool[Tensor, "tokens"], l2: float = 1e-4, steps: int = 60
) -> tuple[Float[Tensor, "d"], Float[Tensor, ""]]:
    """Train a logistic regression, and return its direction and bias: the score of a token is `h @ direction + bias`.

    Args:
        h: activations, one row for each token.
        labels: True for the tokens that belong to the topic.
        l2: weight of the squared length of the direction, for activations of standard deviation 1.
        steps: steps of L-BFGS at most.
    """
    mean, std = h.mean(dim=0), h.std(dim=0).clamp_min(1e-6)
    x, y = (h - mean) / std, labels.to(h.dtype)
    weight = torch.zeros(h.shape[1], requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ weight + bias, y)
        loss = loss + l2 * weight.pow(2).sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    direction = (weight / std).detach()
    return direction, bias.detach() - mean @ direction


class TopicScores(NamedTuple):
    """F1 on held-out text of five ways to find a topic."""

    latent: float
    """The one latent whose firing fits best."""
    neuron: float
    """The one neuron that fits best, above a threshold or below one."""
    difference: float
    """The difference of means."""
    some_latents: float
    """A probe on the latents that fit best."""
    probe: float
    """A probe on all neurons."""


@torch.no_grad()
def compare_on_topic(
    h: Float[Tensor, "tokens d_mlp"],
    acts: Float[Tensor, "tokens n_hidden_ae"],
    labels: Bool[Tensor, "tokens"],
    h_held_out: Float[Tensor, "tokens_held_out d_mlp"],
    acts_held_out: Float[Tensor, "tokens_held_out n_hidden_ae"],
    labels_held_out: Bool[Tensor, "tokens_held_out"],
    n_latents: int = 16,
) -> TopicScores:
    """Find a topic in five ways; each is chosen on one text and measured on another.

    Args:
        h: activations of the text that may be learned from.
        acts: an autoencoder's latents on it.
        labels: which of its tokens belong to the topic.
        h_held_out, acts_held_out, labels_held_out: the same of the other text.
        n_latents: how many latents the probe on latents has.
    """
    fires = (acts > 0).float()
    fit = 2 * (labels.float() @ fires) / (fires.sum(dim=0) + labels.sum())
    some = fit.topk(n_latents).indices
    both = torch.cat([h, -h], dim=1)
    # A few columns at a time: sorting takes ten times the memory of what is sorted.
    neuron = int(torch.cat([best_thresholds(few, labels).f1 for few in both.split(64, dim=1)]).argmax())
    direction = difference_of_means(h, labels)

    def probed(x: Tensor, x_held_out: Tensor) -> float:
        weight, bias = logistic_probe(x, labels)
        return probe_f1(x @ weight + bias, labels, x_held_out @ weight + bias, labels_held_out)

    return TopicScores(
        latent_f1(acts, labels, acts_held_out, labels_held_out),
        probe_f1(
            both[:, neuron], labels, torch.cat([h_held_out, -h_held_out], dim=1)[:, neuron], labels_held_out
        ),
        probe_f1(h @ direction, labels, h_held_out @ direction, labels_held_out),
        probed(acts[:, some], acts_held_out[:, some]),
        probed(h, h_held_out),
    )
