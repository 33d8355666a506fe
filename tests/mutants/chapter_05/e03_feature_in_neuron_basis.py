"""Answers to exercise 5.3: `feature_in_neuron_basis`."""

import numpy as np
import torch
from torch.nn import functional as F

from part_utils.interpretation import feature_in_neuron_basis
from tests.mutants import equivalent, mutant, variant


def _count(share, part):
    held = share.sort(descending=True).values.double().cumsum(0)
    return int((held < part - 1e-6).sum()) + 1


@torch.no_grad()
def _shares(ae, f, i=0, vector=None, share=lambda v: v.pow(2) / v.pow(2).sum(), count=_count):
    share = share(ae.W_dec[i, f] if vector is None else vector)
    return share, count(share, 0.5), count(share, 0.9)


@mutant("5.3", says="without squaring")
def absolute_share(*args):
    return _shares(*args, share=lambda v: v.abs() / v.abs().sum())


@mutant("5.3", says="do not add up to 1")
def squares_of_any_length(*args):
    return _shares(*args, share=lambda v: v.pow(2), count=lambda s, p: _count(s / s.sum(), p))


@mutant("5.3", says="not the squares of its entries")
def direction_itself(*args):
    return _shares(*args, share=lambda v: v / v.norm(), count=lambda s, p: _count(s.pow(2), p))


@mutant("5.3", says="encoder's column is used")
def shares_of_the_encoder(ae, f, i=0):
    return _shares(ae, f, i, ae.W_enc[i, :, f])


@mutant("5.3", says="a column of the decoder is used")
def shares_of_a_column(ae, f, i=0):
    return _shares(ae, f, i, ae.W_dec[i, :, f])


@mutant("5.3", says="a column of the normalized decoder")
def shares_of_a_normalized_column(ae, f, i=0):
    return _shares(ae, f, i, ae.normalize_and_return_W_dec()[i, :, f], share=lambda v: v.pow(2))


@mutant("5.3", says="other instance")
def shares_in_the_other_instance(ae, f, i=0):
    return _shares(ae, f, 0)


@mutant("5.3", says="sorted")
def shares_sorted(ae, f, i=0):
    share, half, ninety = _shares(ae, f, i)
    return share.sort(descending=True).values, half, ninety


@mutant("5.3", says="one too few")
def one_too_few(*args):
    return _shares(*args, count=lambda s, p: _count(s, p) - 1)


@mutant("5.3", says="one neuron too many")
def one_too_many(*args):
    return _shares(*args, count=lambda s, p: _count(s, p) + 1)


@mutant("5.3", says="exactly 50 % does not count as enough")
def more_than_half(*args):
    return _shares(*args, count=lambda s, p: int((s.sort(descending=True).values.cumsum(0) <= p).sum()) + 1)


@mutant("5.3", says="50 % of the number of neurons")
def half_of_the_neurons(*args):
    return _shares(*args, count=lambda s, p: int(np.ceil(p * len(s))))


@mutant("5.3", says="not taken in the order")
def counted_unsorted(*args):
    return _shares(*args, count=lambda s, p: int((s.cumsum(0) < p - 1e-6).sum()) + 1)


@mutant("5.3", says="smallest shares first")
def counted_ascending(*args):
    return _shares(*args, count=lambda s, p: int((s.sort().values.cumsum(0) < p - 1e-6).sum()) + 1)


@mutant("5.3", says="on their own")
def neurons_with_half_alone(*args):
    return _shares(*args, count=lambda s, p: int((s >= p).sum()))


@mutant("5.3", says="absolute entries are added up")
def counted_by_absolute_entries(*args):
    return _shares(*args, count=lambda s, p: _count(s.sqrt() / s.sqrt().sum(), p))


@mutant("5.3", says="exchanged")
def counts_exchanged(*args):
    share, half, ninety = _shares(*args)
    return share, ninety, half


@variant("5.3")
def unit_row_squared(ae, f, i=0):
    share = ae.normalize_and_return_W_dec()[i, f] ** 2
    held = torch.sort(share, descending=True)[0].cumsum(0)
    return share, (held < 0.5 - 1e-6).sum() + 1, (held < 0.9 - 1e-6).sum() + 1


@variant("5.3")
@torch.no_grad()
def one_neuron_after_another(ae, f, i=0):
    row = ae.W_dec[i, f].double()
    share = (row * row / row.dot(row)).float()
    counts = []
    for part in (0.5, 0.9):
        held, count = 0.0, 0
        for one in sorted(share.double().tolist(), reverse=True):
            if held >= part - 1e-6:
                break
            held, count = held + one, count + 1
        counts.append(count)
    return share, *counts


@variant("5.3")
@torch.no_grad()
def searched_with_numpy(ae, f, i=0):
    share = F.normalize(ae.W_dec[i], dim=-1)[f].square()
    held = np.cumsum(np.sort(share.double().numpy())[::-1])
    return share, int(np.searchsorted(held, 0.5 - 1e-6)) + 1, int(np.searchsorted(held, 0.9 - 1e-6)) + 1


@variant("5.3")
@torch.no_grad()
def first_place_that_is_enough(ae, f, i=0):
    share = F.normalize(ae.W_dec, dim=-1).pow(2)[i, f]
    held = share.sort(descending=True).values.cumsum(-1)
    return [share, torch.argmax((held >= 0.499999).int()) + 1, torch.argmax((held >= 0.899999).int()) + 1]


def _share(autoencoder, feature_idx, instance):
    row = autoencoder.W_dec[instance, feature_idx].double()
    return (row.square() / row.square().sum()).float()


def _basis(share, half=0.5, ninety=0.9):
    return share, _count(share, half), _count(share, ninety)


@mutant("5.3", says="another instance is used")
@torch.no_grad()
def two_instances_at_most(autoencoder, feature_idx, instance=0):
    return _basis(_share(autoencoder, feature_idx, min(instance, 1)))


@mutant("5.3", says="the bound is a twentieth too high")
@torch.no_grad()
def ninety_five_percent(autoencoder, feature_idx, instance=0):
    return _basis(_share(autoencoder, feature_idx, instance), ninety=0.95)


@mutant("5.3", says="the share is divided by the largest one")
@torch.no_grad()
def share_of_the_largest(autoencoder, feature_idx, instance=0):
    share, half, ninety = _basis(_share(autoencoder, feature_idx, instance))
    return share / share.max(), half, ninety


@mutant("5.3", says="the neurons are counted that hold at least")
@torch.no_grad()
def neurons_above_the_share(autoencoder, feature_idx, instance=0):
    share = _share(autoencoder, feature_idx, instance)
    return share, int((share >= 0.5 * share.max()).sum()), int((share >= 0.1 * share.max()).sum())


@mutant("5.3", says="and should be")
@torch.no_grad()
def ten_neurons_at_most(autoencoder, feature_idx, instance=0):
    share, half, ninety = _basis(_share(autoencoder, feature_idx, instance))
    return share, min(half, 10), min(ninety, 10)


@mutant("5.3", says="and should be")
@torch.no_grad()
def numbers_as_shares(autoencoder, feature_idx, instance=0):
    share, half, ninety = _basis(_share(autoencoder, feature_idx, instance))
    return share, half / len(share), ninety / len(share)


@mutant("5.3", says="the sums that are still too small are counted, but not the")
@torch.no_grad()
def counted_from_zero(autoencoder, feature_idx, instance=0):
    share, half, ninety = _basis(_share(autoencoder, feature_idx, instance))
    return share, half - 1, ninety - 1


@mutant("5.3", says="for `d_mlp`")
@torch.no_grad()
def small_shares_dropped(autoencoder, feature_idx, instance=0):
    share = _share(autoencoder, feature_idx, instance)
    return _basis(torch.where(share > 1e-3, share, 0.0))


@mutant("5.3", says="the neurons are taken with the smallest shares first")
@torch.no_grad()
def ninety_from_the_smallest(autoencoder, feature_idx, instance=0):
    share, half, _ = _basis(_share(autoencoder, feature_idx, instance))
    return share, half, int((share.sort().values.cumsum(0) < 0.9).sum()) + 1


@variant("5.3")
@torch.no_grad()
def taken_one_by_one(autoencoder, feature_idx, instance=0):
    share = _share(autoencoder, feature_idx, instance)
    needed = []
    for part in (0.5, 0.9):
        held, number = 0.0, 0
        for one in sorted(share.tolist(), reverse=True):
            if held >= part - 1e-6:
                break
            held, number = held + one, number + 1
        needed.append(number)
    return share, *needed


equivalent(
    "5.3",
    "the direction is at unit length already",
    "direction.pow(2) / direction.pow(2).sum() -> direction.pow(2) * direction.pow(2).sum()",
    "direction.pow(2) / direction.pow(2).sum() -> direction.pow(2)",
)
equivalent(
    "5.3",
    "what keeps rounding from costing a neuron, in which a sum that is 1e-6 off counts either way",
    "share.sort(descending=True).values.double() -> share.sort(descending=True).values",
    "held < part - 1e-06 -> held <= part - 1e-06",
    "part - 1e-06 -> part",
    "part - 1e-06: 1e-06 -> 2e-06",
    "part - 1e-06: 1e-06 -> 5e-07",
    "part - 1e-06: 1e-06 -> 0.0",
)
equivalent("5.3", "there is one axis", "dim=0: 0 -> -1")


@mutant("5.3", says="0.01 too small (a tolerance is for rounding only")
def wide_tolerance(autoencoder, feature_idx, instance=0):
    share = feature_in_neuron_basis(autoencoder, feature_idx, instance).share
    held = share.sort(descending=True).values.cumsum(0)
    return share, *(int((held < part - 0.01).sum()) + 1 for part in (0.5, 0.9))


@mutant("5.3", says="only the neurons beyond those of `n_half`")
def ninety_beyond_half(autoencoder, feature_idx, instance=0):
    share, half, ninety = feature_in_neuron_basis(autoencoder, feature_idx, instance)
    return share, half, ninety - half


@mutant("5.3", says="divided by the row's length, not by its square")
def divided_by_the_length(autoencoder, feature_idx, instance=0):
    _, half, ninety = feature_in_neuron_basis(autoencoder, feature_idx, instance)
    row = autoencoder.W_dec[instance, feature_idx].detach()
    return row.square() / row.norm(), half, ninety


@mutant("5.3", says="keep their sign")
def shares_with_a_sign(autoencoder, feature_idx, instance=0):
    share, half, ninety = feature_in_neuron_basis(autoencoder, feature_idx, instance)
    return share * autoencoder.W_dec[instance, feature_idx].detach().sign(), half, ninety
