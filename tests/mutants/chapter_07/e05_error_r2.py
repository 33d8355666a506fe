"""Answers to exercise 7.5: `error_r2`."""

import numpy as np
import torch

from tests.mutants import equivalent, mutant, variant


def _one(h):
    return torch.cat([torch.ones(len(h), 1), h], dim=1)


def _fit(h, error, on):
    return _one(on) @ torch.linalg.lstsq(_one(h), error).solution


def _r2(y, predicted, mean):
    return (1 - (y - predicted).pow(2).sum() / (y - mean).pow(2).sum()).item()


@mutant("7.5", says="fitted on the held-out text itself")
def fitted_on_held_out(h, error, h_held_out, error_held_out):
    return _r2(error_held_out, _fit(h_held_out, error_held_out, h_held_out), error_held_out.mean(0))


@mutant("7.5", says="text that the map was fitted on")
def measured_on_the_same(h, error, h_held_out, error_held_out):
    return _r2(error, _fit(h, error, h), error.mean(0))


@mutant("7.5", says="no intercept")
def no_intercept(h, error, h_held_out, error_held_out):
    predicted = h_held_out @ torch.linalg.lstsq(h, error).solution
    return _r2(error_held_out, predicted, error_held_out.mean(0))


@mutant("7.5", says="not subtracted in the denominator")
def no_mean(h, error, h_held_out, error_held_out):
    return _r2(error_held_out, _fit(h, error, h_held_out), 0)


@mutant("7.5", says="mean of them taken")
def averaged(h, error, h_held_out, error_held_out):
    left = (error_held_out - _fit(h, error, h_held_out)).pow(2).sum(0)
    variance = (error_held_out - error_held_out.mean(0)).pow(2).sum(0)
    return (1 - left / variance).mean().item()


@mutant("7.5", says="lengths are compared, not squared lengths")
def lengths(h, error, h_held_out, error_held_out):
    left = (error_held_out - _fit(h, error, h_held_out)).norm(dim=1).sum()
    return (1 - left / (error_held_out - error_held_out.mean(0)).norm(dim=1).sum()).item()


@mutant("7.5", says="share that is *left*")
def what_is_left(h, error, h_held_out, error_held_out):
    return 1 - closed_form(h, error, h_held_out, error_held_out)


@mutant("7.5", says="negative")
def never_negative(h, error, h_held_out, error_held_out):
    return max(0.0, closed_form(h, error, h_held_out, error_held_out))


@variant("7.5")
def closed_form(h, error, h_held_out, error_held_out):
    x = _one(h).double()
    A = torch.linalg.solve(x.T @ x, x.T @ error.double())
    return _r2(error_held_out.double(), _one(h_held_out).double() @ A, error_held_out.double().mean(0))


@variant("7.5")
def centered_on_the_first_text(h, error, h_held_out, error_held_out):
    A = torch.linalg.lstsq(h - h.mean(0), error - error.mean(0)).solution
    return _r2(error_held_out, (h_held_out - h.mean(0)) @ A + error.mean(0), error_held_out.mean(0))


@variant("7.5")
def a_small_ridge(h, error, h_held_out, error_held_out):
    x = _one(h)
    A = torch.linalg.solve(x.T @ x + 1e-4 * torch.eye(x.shape[1]), x.T @ error)
    return torch.tensor(_r2(error_held_out, _one(h_held_out) @ A, error_held_out.mean(0)))


@variant("7.5")
def in_numpy(h, error, h_held_out, error_held_out):
    A = np.linalg.lstsq(_one(h).numpy(), error.numpy(), rcond=None)[0]
    y = error_held_out.numpy()
    left = ((y - _one(h_held_out).numpy() @ A) ** 2).sum()
    return float(1 - left / (y.var(axis=0) * len(y)).sum())


equivalent("7.5", "both texts' inputs and errors have one row for each token.", "len(h): h -> error")


equivalent(
    "7.5",
    "a square has no sign.",
    "error_held_out - predicted -> predicted - error_held_out",
    "error_held_out - error_held_out.mean(dim=0) -> error_held_out.mean(dim=0) - error_held_out",
)
