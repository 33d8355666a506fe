"""Statistics of many latents that are gathered while the text streams by.

Nothing here grows with the number of tokens. What is kept does not depend on how the text is cut into batches.
"""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from part_utils.interpretation import StrongestTokens

# The number of bins of an activation histogram. At least half of them lie below the largest activation.
N_BINS = 64
SMALLEST_TOP = 2.0**-20


class Histograms:
    """One histogram of positive numbers for each latent, whose range grows with the largest number seen.

    Every histogram has bins of equal width from 0 to a power of two. Where a number lies above, pairs of bins
    are merged, until the range is wide enough: that is exact, since the limits of the wide bins are limits of
    the narrow ones.
    """

    def __init__(self, n: int) -> None:
        self.counts = torch.zeros(n, N_BINS, dtype=torch.long)
        self.top = torch.full((n,), SMALLEST_TOP)

    def bin(self, latent: Int[Tensor, "entries"], value: Float[Tensor, "entries"]) -> Int[Tensor, "entries"]:
        """Return the bin of each value, in the histogram of its latent."""
        return (value / self.top[latent] * N_BINS).long().clamp(max=N_BINS - 1)

    def add(
        self, latent: Int[Tensor, "entries"], value: Float[Tensor, "entries"], largest: Float[Tensor, "n"]
    ) -> None:
        """Count some values; `largest` is the largest value that each latent has had so far."""
        while (narrow := largest > self.top).any():
            pairs = rearrange(self.counts[narrow], "n (bins two) -> n bins two", two=2).sum(dim=-1)
            self.counts[narrow] = torch.cat([pairs, torch.zeros_like(pairs)], dim=1)
            self.top[narrow] *= 2
        place = latent * N_BINS + self.bin(latent, value)
        self.counts += torch.bincount(place, minlength=self.counts.numel()).view_as(self.counts)


class RunningStatistics:
    """Firing counts, histograms, shares by label, strongest contexts and random contexts of some latents."""

    def __init__(self, n: int, n_labels: int, n_top: int, per_bin: int) -> None:
        """Prepare for `n` latents.

        Args:
            n: number of latents.
            n_labels: number of labels of the text.
            n_top: how many of the strongest activations are kept, at most one from each row of text.
            per_bin: how many random tokens are kept from each bin of the histogram.
        """
        self.n_tokens, self.per_bin = 0, per_bin
        self.total = torch.zeros(n, dtype=torch.double)
        self.by_label = torch.zeros(n, n_labels, dtype=torch.double)
        self.label_tokens = torch.zeros(n_labels, dtype=torch.long)
        self.histograms = Histograms(n)
        self.strongest = StrongestTokens(n, n_top)
        self.sample_latent = torch.zeros(0, dtype=torch.long)
        self.sample_position = torch.zeros(0, dtype=torch.long)
        self.sample_value = torch.zeros(0)

    @property
    def n_fired(self) -> Int[Tensor, "n"]:
        return self.histograms.counts.sum(dim=1)

    def add(self, acts: Float[Tensor, "batch seq n"], labels: Int[Tensor, "batch seq"]) -> None:
        """Take in the next rows of text: the activations of the latents, and the label of every token."""
        batch, seq, n = acts.shape
        start = self.n_tokens
        self.n_tokens += batch * seq
        self.label_tokens += torch.bincount(labels.flatten(), minlength=len(self.label_tokens))

        # At most one token of each row: neighbors would show the same text again.
        values, place = acts.max(dim=1)
        position = start + torch.arange(batch)[:, None] * seq + place
        self.strongest.add(values.mT, position.mT)

        flat = rearrange(acts, "batch seq n -> (batch seq) n")
        token, latent = flat.nonzero(as_tuple=True)
        value = flat[token, latent]
        n_labels = len(self.label_tokens)
        by_label = torch.bincount(
            latent * n_labels + labels.flatten()[token], weights=value.double(), minlength=n * n_labels
        ).view(n, n_labels)
        self.by_label += by_label
        self.total += by_label.sum(dim=1)
        self.histograms.add(latent, value, self.strongest.values[:, 0])
        self._add_to_sample(latent, start + token, value)

    def _add_to_sample(
        self,
        latent: Int[Tensor, "entries"],
        position: Int[Tensor, "entries"],
        value: Float[Tensor, "entries"],
    ) -> None:
        """Keep, in every bin, the tokens whose scrambled positions are the smallest: a random choice."""
        latent = torch.cat([self.sample_latent, latent])
        position = torch.cat([self.sample_position, position])
        value = torch.cat([self.sample_value, value])
        group = latent * N_BINS + self.histograms.bin(latent, value)
        kept = first_of_each_group(group, scrambled(position), self.per_bin)
        self.sample_latent, self.sample_position, self.sample_value = (
            latent[kept],
            position[kept],
            value[kept],
        )

    def random_order(
        self, latent: int, exclude: Int[Tensor, "positions"]
    ) -> tuple[Int[Tensor, "entries"], Float[Tensor, "entries"], Int[Tensor, "entries"]]:
        """Return what was kept of a latent without some positions, in random order: positions, activations and bins.

        The first k in a range of bins are a random choice among all tokens whose activation lies in these bins, if k
        is not above `per_bin`.
        """
        mine = (self.sample_latent == latent).nonzero().flatten()
        mine = mine[~torch.isin(self.sample_position[mine], exclude)]
        mine = mine[scrambled(self.sample_position[mine]).argsort()]
        value = self.sample_value[mine]
        return self.sample_position[mine], value, self.histograms.bin(self.sample_latent[mine], value)


class RunningWords:
    """On which tokens some latents fire, and which tokens come next, weighted by the activation."""

    def __init__(self, n: int, d_vocab: int) -> None:
        self.n_seen = torch.zeros(d_vocab)
        self.on, self.after = torch.zeros(2, n, d_vocab)

    def add(self, acts: Float[Tensor, "batch seq n"], tokens: Int[Tensor, "batch seq"]) -> None:
        """Take in the next rows of text: the activations of the latents, and the tokens."""
        d_vocab = len(self.n_seen)
        self.n_seen += torch.bincount(tokens.flatten(), minlength=d_vocab)
        row, place, latent = acts.nonzero(as_tuple=True)
        value = acts[row, place, latent]
        self.on.view(-1).index_add_(0, latent * d_vocab + tokens[row, place], value)
        followed = place < tokens.shape[1] - 1
        following = tokens[row[followed], place[followed] + 1]
        self.after.view(-1).index_add_(0, latent[followed] * d_vocab + following, value[followed])

    def fires_on(self, k: int) -> list[list[tuple[int, float]]]:
        """For each latent: the tokens with the largest mean activation, over all times that each stands in the text."""
        return _largest(self.on / self.n_seen.clamp_min(1), k)

    def followers(self, k: int) -> list[list[tuple[int, float]]]:
        """For each latent: the most common next tokens, and the share of the activation before each of them."""
        return _largest(self.after / self.after.sum(dim=1, keepdim=True).clamp_min(1e-12), k)


def _largest(values: Float[Tensor, "n d_vocab"], k: int) -> list[list[tuple[int, float]]]:
    """Of each row the k largest entries that are above zero."""
    best = values.topk(min(k, values.shape[1]), dim=1)
    return [
        [(index, value) for index, value in zip(*row, strict=True) if value > 0]
        for row in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def scrambled(position: Int[Tensor, "entries"]) -> Int[Tensor, "entries"]:
    """Return a number below 2^32 that looks random but depends on the position alone (the mixing of MurmurHash3)."""
    mask = 2**32 - 1
    key = position & mask
    for factor, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13)):
        key = ((key ^ (key >> shift)) * (factor & 0x7FFFFFFF)) & mask
    return key ^ (key >> 16)


def first_of_each_group(
    group: Int[Tensor, "entries"], key: Int[Tensor, "entries"], k: int
) -> Int[Tensor, "kept"]:
    """Return the entries whose key is among the k smallest of their group."""
    order = (group * 2**32 + key).argsort()
    sorted_group = group[order]
    rank = torch.arange(len(order)) - torch.searchsorted(sorted_group, sorted_group)
    return order[rank < k]
