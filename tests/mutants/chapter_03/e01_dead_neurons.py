"""Answers to exercise 3.1: `dead_neurons`."""

import numpy as np
import torch

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
def nearly_never(frac_active_in_window):
    return frac_active_in_window.mean(dim=0) < 1e-3


@mutant("3.1", says="small but not zero")
def close_to_zero(frac_active_in_window):
    return torch.isclose(frac_active_in_window, torch.zeros(()), atol=1e-4).all(dim=0)


@mutant("3.1", says="axis of the instances is lost")
def instances_lost(frac_active_in_window):
    return (frac_active_in_window == 0).all(dim=0).all(dim=0)


@mutant("3.1", says="axis of the window is kept")
def each_step_on_its_own(frac_active_in_window):
    return frac_active_in_window == 0


@mutant("3.1", says="expected torch.bool")
def numbers_for_a_mask(frac_active_in_window):
    return (frac_active_in_window == 0).all(dim=0).float()


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
