"""Answers to exercise 7.5: `error_r2`."""

import math

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


def _with_ones(h):
    return torch.cat([h, torch.ones(len(h), 1, dtype=h.dtype)], 1)


def _map(h, error):
    return torch.linalg.lstsq(_with_ones(h.double()), error.double()).solution


def _predict(solution, h):
    return _with_ones(h.double()) @ solution


def _br2(error, predicted):
    error = error.double()
    return float(1 - (error - predicted).pow(2).sum() / (error - error.mean(0)).pow(2).sum())


@mutant("7.5", says="the map is fitted on the held-out text itself")
def fitted_on_held_out_again(h, error, held, held_error):
    return _br2(held_error, _predict(_map(held, held_error), held))


@mutant("7.5", says="R² is measured on the text that the map was fitted on")
def measured_on_the_first_text(h, error, held, held_error):
    return _br2(error, _predict(_map(h, error), h))


@mutant("7.5", says="the map is fitted on both texts")
def fitted_on_both(h, error, held, held_error):
    return _br2(held_error, _predict(_map(torch.cat([h, held]), torch.cat([error, held_error])), held))


@mutant("7.5", says="the map has no intercept")
def without_intercept(h, error, held, held_error):
    return _br2(held_error, held.double() @ torch.linalg.lstsq(h.double(), error.double()).solution)


@mutant("7.5", says="the intercept is fitted, but left out of what the map")
def intercept_left_out_at_the_end(h, error, held, held_error):
    return _br2(held_error, held.double() @ _map(h, error)[:-1])


@mutant("7.5", says="the mean error in the denominator is that of the other")
def mean_of_the_first_text(h, error, held, held_error):
    left = (held_error - _predict(_map(h, error), held)).pow(2).sum()
    return float(1 - left / (held_error - error.mean(0)).pow(2).sum())


@mutant("7.5", says="the mean error is not subtracted in the denominator")
def not_centered(h, error, held, held_error):
    return float(1 - (held_error - _predict(_map(h, error), held)).pow(2).sum() / held_error.pow(2).sum())


@mutant("7.5", says="the mean error in the denominator is one number for all")
def one_mean(h, error, held, held_error):
    left = (held_error - _predict(_map(h, error), held)).pow(2).sum()
    return float(1 - left / (held_error - held_error.mean()).pow(2).sum())


@mutant("7.5", says="each dimension's R² is computed, and the mean of them")
def averaged_over_dimensions(h, error, held, held_error):
    left = (held_error - _predict(_map(h, error), held)).pow(2).sum(0)
    return float((1 - left / (held_error - held_error.mean(0)).pow(2).sum(0)).mean())


@mutant("7.5", says="each token's share is computed, and the mean of them taken")
def averaged_over_tokens(h, error, held, held_error):
    left = (held_error - _predict(_map(h, error), held)).pow(2).sum(1)
    return float((1 - left / (held_error - held_error.mean(0)).pow(2).sum(1)).mean())


@mutant("7.5", says="lengths are compared, not squared lengths")
def lengths_again(h, error, held, held_error):
    left = (held_error - _predict(_map(h, error), held)).norm(dim=1).sum()
    return float(1 - left / (held_error - held_error.mean(0)).norm(dim=1).sum())


@mutant("7.5", says="absolute errors are summed, not squared ones")
def absolute(h, error, held, held_error):
    left = (held_error - _predict(_map(h, error), held)).abs().sum()
    return float(1 - left / (held_error - held_error.mean(0)).abs().sum())


@mutant("7.5", says="the share that is *left* is returned")
def unexplained(h, error, held, held_error):
    return 1 - _br2(held_error, _predict(_map(h, error), held))


@mutant("7.5", says="a negative result is replaced by 0")
def never_negative_again(h, error, held, held_error):
    return max(0.0, _br2(held_error, _predict(_map(h, error), held)))


@mutant("7.5", says="the map is held small (ridge), so that it is not that of")
def strong_ridge(h, error, held, held_error):
    x = _with_ones(h)
    gram = x.mT @ x + len(h) * torch.eye(x.shape[1])
    return _br2(held_error, _with_ones(held) @ torch.linalg.solve(gram, x.mT @ error))


@mutant("7.5", says="the input is predicted from the error")
def input_from_error(h, error, held, held_error):
    return _br2(held, _predict(_map(error, h), held_error))


@mutant("7.5", says="a squared correlation is taken, which forgives a wrong")
def squared_correlation(h, error, held, held_error):
    predicted = _predict(_map(h, error), held)
    a, b = predicted - predicted.mean(0), (held_error - held_error.mean(0)).double()
    return float((a * b).sum() ** 2 / (a.pow(2).sum() * b.pow(2).sum()))


@mutant("7.5", says="the share is that of the *predicted* variance, whether or")
def variance_of_predicted(h, error, held, held_error):
    predicted = _predict(_map(h, error), held)
    total = (held_error - held_error.mean(0)).pow(2).sum()
    return float((predicted - predicted.mean(0)).pow(2).sum() / total)


@mutant("7.5", says="each text is centered with its own mean, so that the")
def each_text_centered(h, error, held, held_error):
    solution = torch.linalg.lstsq((h - h.mean(0)).double(), (error - error.mean(0)).double()).solution
    return _br2(held_error - held_error.mean(0), (held - held.mean(0)).double() @ solution)


@mutant("7.5", says="each text is centered with its own mean, so that the")
def residual_centered(h, error, held, held_error):
    left = held_error - _predict(_map(h, error), held)
    return float(1 - (left - left.mean(0)).pow(2).sum() / (held_error - held_error.mean(0)).pow(2).sum())


@mutant("7.5", says="only some tokens of the first text are used for the map")
def hundred_tokens(h, error, held, held_error):
    return _br2(held_error, _predict(_map(h[:100], error[:100]), held))


@mutant("7.5", says="only the first dimension of the error is looked at")
def ten_dimensions(h, error, held, held_error):
    return _br2(held_error[:, :1], _predict(_map(h, error[:, :1]), held))


@mutant("7.5", says="the root is taken")
def root(h, error, held, held_error):
    r2 = _br2(held_error, _predict(_map(h, error), held))
    return math.copysign(abs(r2) ** 0.5, r2)


@mutant("7.5", says="the numerator is a mean and the denominator a sum")
def mean_over_sum(h, error, held, held_error):
    left = (held_error - _predict(_map(h, error), held)).pow(2).sum(1).mean()
    return float(1 - left / (held_error - held_error.mean(0)).pow(2).sum())


@mutant("7.5", says="the denominator divides by one token less than the")
def unbiased(h, error, held, held_error):
    left = (held_error - _predict(_map(h, error), held)).pow(2).mean(0).sum()
    return float(1 - left / held_error.double().var(0).sum())


@mutant("7.5", says="only the mean error of the first text is predicted,")
def intercept_only(h, error, held, held_error):
    return _br2(held_error, error.double().mean(0).expand(len(held), -1))


@mutant("7.5", says="each dimension of the error is predicted from one")
def dimension_by_dimension(h, error, held, held_error):
    x, y = h - h.mean(0), error - error.mean(0)
    n = min(h.shape[1], error.shape[1])
    slope = (x[:, :n] * y[:, :n]).sum(0) / x[:, :n].pow(2).sum(0)
    predicted = error.mean(0).expand(len(held), -1).clone()
    predicted[:, :n] += slope * (held - h.mean(0))[:, :n]
    return _br2(held_error, predicted)


@mutant("7.5", says="Your function changes `h` itself (in place). Whoever")
def centers_in_place(h, error, held, held_error):
    mean, mean_error = h.mean(0), error.mean(0)
    h -= mean
    error -= mean_error
    solution = torch.linalg.lstsq(h.double(), error.double()).solution
    return _br2(held_error, (held - mean).double() @ solution + mean_error)


@variant("7.5")
def normal_equations(h, error, held, held_error):
    x = _with_ones(h.double())
    return _br2(held_error, _predict(torch.linalg.solve(x.mT @ x, x.mT @ error.double()), held))


@variant("7.5")
def centered_first(h, error, held, held_error):
    solution = torch.linalg.pinv((h - h.mean(0)).double()) @ (error - error.mean(0)).double()
    return _br2(held_error, (held - h.mean(0)).double() @ solution + error.mean(0))


@variant("7.5")
def numpy_lstsq(h, error, held, held_error):
    x = np.column_stack([np.ones(len(h)), h.numpy()])
    solution, *_ = np.linalg.lstsq(x, error.numpy(), rcond=None)
    left = held_error.numpy() - np.column_stack([np.ones(len(held)), held.numpy()]) @ solution
    total = held_error.numpy() - held_error.numpy().mean(0)
    return 1 - float((left**2).sum() / (total**2).sum())


@variant("7.5")
def one_dimension_after_the_other(h, error, held, held_error):
    left = total = 0.0
    for j in range(error.shape[1]):
        e = held_error[:, j].double()
        left += float((e - _predict(_map(h, error[:, j : j + 1]), held)[:, 0]).pow(2).sum())
        total += float((e - e.mean()).pow(2).sum())
    return 1 - left / total


equivalent("7.5", "both texts' inputs and errors have one row for each token.", "len(h): h -> error")


equivalent(
    "7.5",
    "a square has no sign.",
    "error_held_out - predicted -> predicted - error_held_out",
    "error_held_out - error_held_out.mean(dim=0) -> error_held_out.mean(dim=0) - error_held_out",
)
