"""Answers to exercise 3.1: `dead_neurons`."""

import numpy as np
import torch
from torch.nn import functional as F

from tests.mutants import mutant, variant


@mutant("3.1", says="*any* step")
def silent_in_any_step(frac_active_in_window):
    return (frac_active_in_window == 0).any(dim=0)


@mutant("3.1", says="only the last step")
def last_step(frac_active_in_window):
    return frac_active_in_window[-1] == 0


@mutant("3.1", says="only the first step")
def first_step(frac_active_in_window):
    return frac_active_in_window[0] < 1e-12


@mutant("3.1", says="upside down")
def alive_instead(frac_active_in_window):
    return frac_active_in_window.sum(dim=0) > 0


@mutant("3.1", says="small but not zero")
def close_to_zero(frac_active_in_window):
    return torch.isclose(frac_active_in_window, torch.zeros(()), atol=1e-4).all(dim=0)


@mutant("3.1", says="axis of the instances is lost")
def instances_lost(frac_active_in_window):
    return (frac_active_in_window == 0).all(dim=0).all(dim=0)


@mutant("3.1", says="axis of the window is kept")
def each_step_on_its_own(frac_active_in_window):
    return frac_active_in_window == 0


@mutant("3.1", says="is so in every instance")
def dead_everywhere(frac_active_in_window):
    return (
        (frac_active_in_window == 0)
        .all(dim=(0), keepdim=True)
        .all(dim=1)
        .expand(frac_active_in_window.shape[1:])
    )


@mutant("3.1", says="wrong shape")
def indices(frac_active_in_window):
    return (frac_active_in_window == 0).all(dim=0).nonzero() > 0


@variant("3.1")
def largest_share(frac_active_in_window):
    return frac_active_in_window.max(dim=0).values == 0


@variant("3.1")
def sum_in_double(frac_active_in_window):
    return ~(frac_active_in_window.double().sum(dim=0) > 0)


@variant("3.1")
def step_by_step(frac_active_in_window):
    dead = torch.ones(frac_active_in_window.shape[1:], dtype=torch.bool)
    for step in frac_active_in_window:
        dead &= step <= 0
    return dead


@variant("3.1")
def counted_steps(frac_active_in_window):
    return torch.count_nonzero(frac_active_in_window, dim=0) == 0


@variant("3.1")
def numpy_transposed_back(frac_active_in_window):
    fired = np.any(frac_active_in_window.permute(2, 1, 0).numpy() > 0, axis=-1)
    return torch.from_numpy(np.logical_not(fired)).t()


# dead_share(frac_active, window)


def _dead(frac_active, window):
    starts = range(len(frac_active) - window + 1)
    return torch.stack([(frac_active[s : s + window] == 0).all(dim=0) for s in starts])


@mutant("3.1", function="dead_share", says="last window is missing")
def one_window_too_few(frac_active, window):
    return _dead(frac_active, window)[:-1].float().mean(dim=(1, 2))


@mutant("3.1", function="dead_share", says="do not overlap")
def disjoint_windows(frac_active, window):
    return _dead(frac_active, window)[::window].float().mean(dim=(1, 2))


@mutant("3.1", function="dead_share", says="each step is looked at on its own")
def no_window(frac_active, window):
    return (frac_active == 0).float().mean(dim=(1, 2))


@mutant("3.1", function="dead_share", says="silent since the first step")
def growing_window(frac_active, window):
    ends = range(window, len(frac_active) + 1)
    alive = torch.stack([(frac_active[:end] == 0).all(dim=0) for end in range(1, len(frac_active) + 1)])
    return alive.float().mean(dim=(1, 2)) if window else ends


@mutant("3.1", function="dead_share", says="share of the silent steps")
def silent_steps(frac_active, window):
    return (frac_active == 0).float().mean(dim=(1, 2)).unfold(0, window, 1).mean(dim=-1)


@mutant("3.1", function="dead_share", says="alive")
def living_share(frac_active, window):
    return (~_dead(frac_active, window)).float().mean(dim=(1, 2))


@mutant("3.1", function="dead_share", says="each instance has its own number")
def share_of_each_instance(frac_active, window):
    return _dead(frac_active, window).float().mean(dim=2)


@mutant("3.1", function="dead_share", says="are counted")
def count_of_the_dead(frac_active, window):
    return _dead(frac_active, window).flatten(1).sum(dim=1)


@variant("3.1", function="dead_share")
def unfolded(frac_active, window):
    return (frac_active.unfold(0, window, 1).amax(dim=-1) == 0).flatten(1).double().mean(dim=1)


@variant("3.1", function="dead_share")
def by_counting_back(frac_active, window):
    silent_for, shares = torch.zeros(frac_active.shape[1:]), []
    for step, rates in enumerate(frac_active):
        silent_for = torch.where(rates > 0, 0, silent_for + 1)
        if step >= window - 1:
            shares.append((silent_for >= window).sum().item() / silent_for.numel())
    return torch.tensor(shares)


@mutant("3.1", says="a share that is small but not zero counts as dead")
def mean_below_a_thousandth(frac_active_in_window):
    return frac_active_in_window.mean(dim=0) < 1e-3


@mutant("3.1", says="only the first and the last step of the window are looked at")
def first_and_last_step(frac_active_in_window):
    return (frac_active_in_window[0] == 0) & (frac_active_in_window[-1] == 0)


@mutant("3.1", says="a latent counts as dead that is silent in *any* step of the window")
def smallest_share_is_zero(frac_active_in_window):
    return frac_active_in_window.amin(dim=0) == 0


@mutant("3.1", says="The mask holds torch.float32 values (its values would be right);")
def zeros_and_ones(frac_active_in_window):
    return (frac_active_in_window == 0).all(dim=0).float()


@mutant("3.1", says="a latent counts as dead only if it is so in every instance")
def dead_in_all_instances(frac_active_in_window):
    dead = (frac_active_in_window == 0).all(dim=0)
    return dead.all(dim=0, keepdim=True).expand(dead.shape)


@mutant("3.1", says="a latent counts as dead when it is silent in most steps")
def most_steps(frac_active_in_window):
    return frac_active_in_window.median(dim=0).values == 0


@mutant("3.1", says="an axis of size 1 is lost")
def squeezed_result(frac_active_in_window):
    return (frac_active_in_window == 0).all(dim=0).squeeze()


@mutant("3.1", says="only the end of the window is looked at")
def last_ten_steps(frac_active_in_window):
    return (frac_active_in_window[-10:] == 0).all(dim=0)


@mutant("3.1", function="dead_share", says="only instance 0 is counted")
def first_instance_only(frac_active, window):
    return torch.stack(
        [
            (frac_active[t : t + window, 0] == 0).all(dim=0).float().mean()
            for t in range(len(frac_active) - window + 1)
        ]
    )


@mutant("3.1", function="dead_share", says="a latent counts as dead only if it is so in every instance")
def dead_in_all_instances_at_once(frac_active, window):
    windows = frac_active.unfold(0, window, 1)
    return (windows == 0).all(dim=-1).all(dim=1).float().mean(dim=1)


@mutant("3.1", function="dead_share", says="a window is one step too long")
def window_one_too_long(frac_active, window):
    n = len(frac_active) - window + 1
    return torch.stack([(frac_active[t : t + window + 1] == 0).all(dim=0).float().mean() for t in range(n)])


@mutant("3.1", function="dead_share", says="the first windows are shorter than")
def padded_to_all_steps(frac_active, window):
    n = len(frac_active)
    return torch.stack(
        [(frac_active[max(0, t - window + 1) : t + 1] == 0).all(dim=0).float().mean() for t in range(n)]
    )


@mutant("3.1", function="dead_share", says="only the last window is looked at")
def last_window_only(frac_active, window):
    return (frac_active[-window:] == 0).all(dim=0).float().mean()


@variant("3.1", function="dead_share")
def with_max_pooling(frac_active, window):
    series = frac_active.flatten(1).T[None]
    return (F.max_pool1d(series, window, stride=1)[0] == 0).float().mean(dim=0)


@variant("3.1")
def sum_is_zero(frac_active_in_window):
    return ~(frac_active_in_window.sum(dim=0) > 0)


@mutant("3.1", says="only the end of the window is looked at")
def zero_in_last_two(x):
    return (x[-2:] == 0).all(0)


@mutant("3.1", says="The mask holds torch.uint8 values (its values would be right);")
def ints(x):
    return (x == 0).all(0).to(torch.uint8)


@mutant("3.1", says="less often than the average one")
def below_mean(x):
    return x.mean(0) < x.mean()


@mutant("3.1", function="dead_share", says="a share that is small but not zero counts as dead")
def rarely_is_dead(frac_active, window):
    return torch.stack(
        [
            (frac_active[t : t + window].mean(0) < 0.01).float().mean()
            for t in range(len(frac_active) - window + 1)
        ]
    )


@mutant(
    "3.1", function="dead_share", says="a latent counts as dead that is silent in *any* step of the window"
)
def per_latent_any(frac_active, window):
    return torch.stack(
        [
            (frac_active[t : t + window] == 0).any(0).float().mean()
            for t in range(len(frac_active) - window + 1)
        ]
    )


@mutant("3.1", function="dead_share", says="the windows begin at step 1 instead of 0")
def starts_at_one(frac_active, window):
    return torch.stack(
        [
            (frac_active[t : t + window] == 0).all(0).float().mean()
            for t in range(1, len(frac_active) - window + 2)
        ]
    )


@variant("3.1")
def count_nonzero(x):
    return torch.count_nonzero(x, dim=0) == 0


@variant("3.1", function="dead_share")
def cumsum_counts(frac_active, window):
    c = torch.cat([torch.zeros(1, *frac_active.shape[1:]), (frac_active > 0).float().cumsum(0)])
    return (c[window:] == c[:-window]).float().mean((1, 2))


@mutant("3.1", says="changes `frac_active_in_window` itself")
def scaled_in_place(frac_active_in_window):
    return (frac_active_in_window.mul_(1e6) == 0).all(dim=0)


@mutant("3.1", says="a latent counts as dead whose share does not change")
def silent_means_unchanged(frac_active_in_window):
    return (frac_active_in_window.diff(dim=0) == 0).all(dim=0)


def _silent(frac_active, stretches):
    return torch.stack([(frac_active[start:end] == 0).all(0).float().mean() for start, end in stretches])


@mutant("3.1", says="the windows do not overlap", function="dead_share")
def windows_side_by_side_with_a_shorter_last(frac_active, window):
    return _silent(frac_active, [(i, i + window) for i in range(0, len(frac_active), window)])


@mutant("3.1", says="every window reaches to the last step", function="dead_share")
def windows_to_the_end(frac_active, window):
    return _silent(frac_active, [(i, len(frac_active)) for i in range(len(frac_active) - window + 1)])


@mutant("3.1", says="the first window is missing", function="dead_share")
def first_window_missing(frac_active, window):
    fired = (frac_active > 0).cumsum(dim=0)
    return (fired[window:] == fired[:-window]).float().mean(dim=(1, 2))


@mutant("3.1", says="the mean share of the inputs", function="dead_share")
def mean_rate_in_windows(frac_active, window):
    return frac_active.unfold(0, window, 1).mean(dim=(1, 2, 3))


@mutant("3.1", says="along the axis of the instances, and each step counts", function="dead_share")
def asked_along_the_instances(frac_active, window):
    return (frac_active.unfold(0, window, 1) == 0).all(dim=1).float().mean(dim=(1, 2))


@variant("3.1", function="dead_share")
def dead_share_by_pooling(frac_active, window):
    most = F.max_pool1d(frac_active.flatten(1).T[None], window, stride=1)[0]
    return (most == 0).float().mean(dim=0)


@variant("3.1", function="dead_share")
def dead_share_by_counting(frac_active, window):
    fired = torch.cat([torch.zeros_like(frac_active[:1]), (frac_active > 0).cumsum(dim=0)])
    return (fired[window:] == fired[:-window]).double().mean(dim=(1, 2))
