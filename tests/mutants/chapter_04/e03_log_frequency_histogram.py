"""Answers to exercise 4.3: `log_frequency_histogram`."""

import functools
import itertools
import math

import numpy as np
import torch

from part_utils.evaluation import (
    LogFrequencyHistogram,
    log_frequency_histogram,
)
from tests.mutants import equivalent, mutant, variant


def _alive(rates):
    return rates[rates > 0]


def _histogram(values, n_bins, n_dead, **options):
    counts, edges = torch.histogram(values, n_bins, **options)
    return counts, edges, n_dead


def _dead(rates):
    return int((rates == 0).sum())


def _empty(rates, n_bins):
    return torch.zeros(n_bins), torch.linspace(-1, 0, n_bins + 1), len(rates)


def _handles_all_dead(function):
    """The case without living latents, done right, so that a mutant shows its one mistake."""

    @functools.wraps(function)
    def wrapped(rates, n_bins=50):
        return function(rates, n_bins) if (rates > 0).any() else _empty(rates, n_bins)

    return wrapped


@mutant("4.3", says="natural logarithms")
@_handles_all_dead
def natural_logarithm(rates, n_bins=50):
    return _histogram(_alive(rates).log(), n_bins, _dead(rates))


@mutant("4.3", says="base 2")
@_handles_all_dead
def logarithm_to_base_2(rates, n_bins=50):
    return _histogram(_alive(rates).log2(), n_bins, _dead(rates))


@mutant("4.3", says="Set the zeros apart")
@_handles_all_dead
def tiny_number_added(rates, n_bins=50):
    return _histogram((rates + 1e-10).log10(), n_bins, _dead(rates))


@mutant("4.3", says="Set the zeros apart")
@_handles_all_dead
def minus_infinity_in_a_bin(rates, n_bins=50):
    logs = rates.log10()
    low, high = logs[logs.isfinite()].min(), logs.max()
    places = ((logs - low) / (high - low) * n_bins).clamp(0, n_bins - 1).long()
    return torch.bincount(places, minlength=n_bins), torch.linspace(low, high, n_bins + 1), _dead(rates)


@mutant("4.3", says="these are *tokens*")
@_handles_all_dead
def tokens_counted(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), n_bins, _dead(rates), weight=_alive(rates))


@mutant("4.3", says="a density")
@_handles_all_dead
def density(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), n_bins, _dead(rates), density=True)


@mutant("4.3", says="no logarithm is taken")
@_handles_all_dead
def plain_scale(rates, n_bins=50):
    return _histogram(_alive(rates), n_bins, _dead(rates))


@mutant("4.3", says="always 50")
@_handles_all_dead
def always_50_bins(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), 50, _dead(rates))


@mutant("4.3", says="returns 2 things")
@_handles_all_dead
def without_dead(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), n_bins, _dead(rates))[:2]


@mutant("4.3", says="latents that *do* fire")
@_handles_all_dead
def alive_counted(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), n_bins, len(_alive(rates)))


@mutant("4.3", says="share of the dead")
@_handles_all_dead
def share_of_dead(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), n_bins, (rates == 0).float().mean())


@mutant("4.3", says="one bin too few")
@_handles_all_dead
def edges_for_bins(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), n_bins - 1, _dead(rates))


@mutant("4.3", says="largest rate is in no bin")
@_handles_all_dead
def half_open_bins(rates, n_bins=50):
    logs = _alive(rates).log10()
    low, high = logs.min(), logs.max()
    places = ((logs - low) / (high - low) * n_bins).floor().long()
    return (
        torch.bincount(places, minlength=n_bins)[:n_bins],
        torch.linspace(low, high, n_bins + 1),
        _dead(rates),
    )


@mutant("4.3", says="edges are rates")
@_handles_all_dead
def edges_as_rates(rates, n_bins=50):
    counts, edges, n_dead = _histogram(_alive(rates).log10(), n_bins, _dead(rates))
    return counts, 10**edges, n_dead


@mutant("4.3", says="edges, the last one included")
@_handles_all_dead
def lower_edges_only(rates, n_bins=50):
    counts, edges, n_dead = _histogram(_alive(rates).log10(), n_bins, _dead(rates))
    return counts, edges[:-1], n_dead


@mutant("4.3", says="no latent fires your code raises")
def all_dead_forgotten(rates, n_bins=50):
    logs = _alive(rates).log10()
    counts, edges = torch.histogram(logs, n_bins, range=(logs.min().item(), logs.max().item()))
    return counts, edges, _dead(rates)


@mutant("4.3", says="added up from left to right")
@_handles_all_dead
def cumulative(rates, n_bins=50):
    counts, edges, n_dead = _histogram(_alive(rates).log10(), n_bins, _dead(rates))
    return counts.cumsum(0), edges, n_dead


@mutant("4.3", says="reach from the smallest rate to 1")
@_handles_all_dead
def up_to_one(rates, n_bins=50):
    logs = _alive(rates).log10()
    return _histogram(logs, n_bins, _dead(rates), range=(logs.min().item(), 0.0))


@variant("4.3")
@_handles_all_dead
def numpys_histogram(rates, n_bins=50):
    counts, edges = np.histogram(np.log10(_alive(rates).numpy()), bins=n_bins)
    return torch.from_numpy(counts), torch.from_numpy(edges), _dead(rates)


@variant("4.3")
@_handles_all_dead
def histc(rates, n_bins=50):
    logs = torch.log(_alive(rates).double()) / math.log(10)
    edges = torch.linspace(logs.min().item(), logs.max().item(), n_bins + 1)
    return torch.histc(logs, n_bins), edges, (rates == 0).sum()


@variant("4.3")
@_handles_all_dead
def bucketized(rates, n_bins=50):
    logs = _alive(rates).log10()
    edges = torch.linspace(logs.min().item(), logs.max().item(), n_bins + 1)
    places = torch.bucketize(logs, edges[1:-1], right=True)
    return torch.bincount(places, minlength=n_bins), edges, len(rates) - len(logs)


@variant("4.3")
@_handles_all_dead
def rounded_edges(rates, n_bins=50):
    counts, edges, n_dead = _histogram(_alive(rates).log10(), n_bins, _dead(rates))
    return LogFrequencyHistogram(counts.int(), (edges * 1000).round() / 1000, n_dead)


@variant("4.3")
def plain_list_of_all(rates, n_bins=50):
    return list(log_frequency_histogram(rates.float(), n_bins))


@mutant("4.3", says="and not from")
@_handles_all_dead
def fixed_edges(rates, n_bins=50):
    return _histogram(_alive(rates).log10(), n_bins, _dead(rates), range=(-8.0, 0.0))


@mutant("4.3", says="and not from")
@_handles_all_dead
def edges_at_powers_of_ten(rates, n_bins=50):
    logs = _alive(rates).log10()
    return _histogram(logs, n_bins, _dead(rates), range=(math.floor(logs.min().item()), 0.0))


@mutant("4.3", says="equally many latents each")
@_handles_all_dead
def quantiles_as_edges(rates, n_bins=50):
    logs = _alive(rates).log10().double()
    edges = logs.quantile(torch.linspace(0, 1, n_bins + 1, dtype=torch.float64))
    return torch.histogram(logs, edges).hist, edges, _dead(rates)


@mutant("4.3", says="If a single latent fires")
@_handles_all_dead
def one_latent_is_too_few(rates, n_bins=50):
    if len(_alive(rates)) == 1:
        return torch.zeros(n_bins), torch.linspace(-1, 0, n_bins + 1), _dead(rates)
    return _histogram(_alive(rates).log10(), n_bins, _dead(rates))


@mutant("4.3", says="0 is returned, whatever is dead")
@_handles_all_dead
def dead_thrown_away_first(rates, n_bins=50):
    alive = _alive(rates)
    return _histogram(alive.log10(), n_bins, _dead(alive))


@mutant("4.3", says="divided by the largest one")
@_handles_all_dead
def highest_bar_is_one(rates, n_bins=50):
    counts, edges, n_dead = _histogram(_alive(rates).log10(), n_bins, _dead(rates))
    return counts / counts.max(), edges, n_dead


@mutant("4.3", says="expected one axis")
@_handles_all_dead
def counts_of_a_batch(rates, n_bins=50):
    counts, edges, n_dead = _histogram(_alive(rates).log10(), n_bins, _dead(rates))
    return counts[None], edges, n_dead


def _histogram_of(rates, n_bins):
    counts, edges = torch.histogram(rates.log10(), n_bins)
    return counts.long(), edges


@mutant("4.3", says="`counts` is")
def rates_below_a_thousandth_are_dead(feature_probability, n_bins=50):
    living = feature_probability > 1e-3
    if not living.any():
        return torch.zeros(n_bins, dtype=torch.long), torch.linspace(-1, 0, n_bins + 1), len(living)
    return *_histogram_of(feature_probability[living], n_bins), int((~living).sum())


@mutant("4.3", says="the counts are added up from left to right")
def counts_add_up_from_the_left(feature_probability, n_bins=50):
    counts, edges, n_dead = log_frequency_histogram(feature_probability, n_bins)
    return counts.cumsum(0), edges, n_dead


@mutant("4.3", says="the share of the dead latents is taken, not their number")
def share_of_the_dead(feature_probability, n_bins=50):
    counts, edges, n_dead = log_frequency_histogram(feature_probability, n_bins)
    return counts, edges, n_dead / len(feature_probability)


@mutant("4.3", says="the largest rate is in no bin: the last one has to contain its")
def largest_rate_in_no_bin(feature_probability, n_bins=50):
    counts, edges, n_dead = log_frequency_histogram(feature_probability, n_bins)
    counts[-1] -= int((feature_probability == feature_probability.max()).sum()) if counts[-1] > 0 else 0
    return counts, edges, n_dead


@mutant("4.3", says="each latent counts with its firing rate: these are *tokens*,")
def weighted_by_the_rate(feature_probability, n_bins=50):
    rates = feature_probability[feature_probability > 0]
    n_dead = len(feature_probability) - len(rates)
    if not len(rates):
        return torch.zeros(n_bins), torch.linspace(-1, 0, n_bins + 1), n_dead
    counts, edges = torch.histogram(rates.log10(), n_bins, weight=rates)
    return counts, edges, n_dead


@mutant("4.3", says="`counts` is")
def always_firing_left_out(feature_probability, n_bins=50):
    rates = feature_probability[(feature_probability > 0) & (feature_probability < 1)]
    n_dead = int((feature_probability == 0).sum())
    if not len(rates):
        return torch.zeros(n_bins, dtype=torch.long), torch.linspace(-1, 0, n_bins + 1), n_dead
    return *_histogram_of(rates, n_bins), n_dead


@mutant("4.3", says="latents that have the same rate are counted once")
def every_rate_once(feature_probability, n_bins=50):
    rates = feature_probability[feature_probability > 0].unique()
    n_dead = int((feature_probability == 0).sum())
    if not len(rates):
        return torch.zeros(n_bins, dtype=torch.long), torch.linspace(-1, 0, n_bins + 1), n_dead
    return *_histogram_of(rates, n_bins), n_dead


@mutant("4.3", says="the bins run from the largest rate to the smallest")
def sign_of_the_logarithm(feature_probability, n_bins=50):
    rates = feature_probability[feature_probability > 0]
    n_dead = len(feature_probability) - len(rates)
    if not len(rates):
        return torch.zeros(n_bins, dtype=torch.long), torch.linspace(-1, 0, n_bins + 1), n_dead
    return *_histogram_of(1 / rates, n_bins), n_dead


@variant("4.3")
def with_bucketize(feature_probability, n_bins=50):
    rates = feature_probability[feature_probability > 0].log10()
    n_dead = int((feature_probability <= 0).sum())
    if not len(rates):
        return torch.zeros(n_bins), torch.linspace(-4, 0, n_bins + 1), n_dead
    edges = np.histogram_bin_edges(rates.numpy(), n_bins)
    place = np.clip(np.searchsorted(edges, rates.numpy(), side="right") - 1, 0, n_bins - 1)
    return torch.tensor(np.bincount(place, minlength=n_bins)), torch.tensor(edges), n_dead


equivalent(
    "4.3",
    "Without a rate that is above zero `torch.histogram` counts nothing either, and where the edges lie is left open.",
    "if len(rates) == 0: -> nothing",
    "len(rates) == 0: 0 -> -1",
    "torch.linspace(-1 <-> 0)",
    "torch.linspace(0 <-> n_bins + 1)",
    "torch.linspace(-1, 0, n_bins + 1): -1 -> 1",
    "-1: 1 -> 2",
    "-1: 1 -> 0",
    "torch.linspace(-1, 0, n_bins + 1): 0 -> 1",
    "torch.linspace(-1, 0, n_bins + 1): 0 -> -1",
    "n_bins + 1 -> n_bins - 1",
    "n_bins + 1 -> n_bins",
    "n_bins + 1 -> 1",
    "n_bins + 1: 1 -> 2",
    "n_bins + 1: 1 -> 0",
)
equivalent(
    "4.3",
    "Counts may be of any type of number.",
    "torch.zeros(dtype=torch.long) -> torch.zeros()",
    "counts.long() -> counts",
)


@mutant("4.3", says="the bins are not of equal width")
@_handles_all_dead
def one_bin_wider(rates, n_bins=50):
    logs = _alive(rates).log10()
    edges = torch.linspace(float(logs.min()), float(logs.max()), n_bins + 1)
    edges[-2] -= 0.5 * (edges[-1] - edges[-2])
    return torch.histogram(logs, edges).hist, edges, _dead(rates)


@mutant("4.3", says="a latent on an edge is counted in the bins on both sides")
@_handles_all_dead
def counted_on_both_sides(rates, n_bins=50):
    logs = _alive(rates).log10()
    edges = torch.linspace(float(logs.min()), float(logs.max()), n_bins + 1)
    counts = [((logs >= low) & (logs <= high)).sum() for low, high in itertools.pairwise(edges)]
    return torch.stack(counts), edges, _dead(rates)


@mutant("4.3", says="a rate that is small but not zero counts as dead")
@_handles_all_dead
def dead_below_a_millionth(rates, n_bins=50):
    logs = rates[rates > 1e-6].log10()
    if not len(logs):
        return _empty(rates, n_bins)
    return _histogram(logs, n_bins, len(rates) - len(logs))


@mutant("4.3", says="the dead latents are in a bin")
def dead_in_the_first_bin(rates, n_bins=50):
    if (rates > 0).any():
        return log_frequency_histogram(rates, n_bins)
    counts = torch.zeros(n_bins)
    counts[0] = len(rates)
    return counts, torch.linspace(-1, 0, n_bins + 1), len(rates)
