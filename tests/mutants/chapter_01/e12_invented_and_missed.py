"""Answers to exercise 1.12: `invented_and_missed`."""

import torch
from torch.nn import functional as F

from tests.mutants import equivalent, mutant, variant


def _parts(out, batch, absent):
    squared = (out - batch) ** 2
    return (squared * absent).sum(2).mean(0), (squared * ~absent).sum(2).mean(0)


@mutant("1.12", says="exchanged")
def missed_first(out, batch):
    return _parts(out, batch, batch != 0)


@mutant("1.12", says="`out` is 0 instead of `batch`")
def mask_from_the_output(out, batch):
    return _parts(out, batch, out == 0)


@mutant("1.12", says="mean over features")
def mean_over_features(out, batch):
    squared, absent = (out - batch) ** 2, batch == 0
    return (squared * absent).mean(dim=(0, 2)), (squared * ~absent).mean(dim=(0, 2))


@mutant("1.12", says="how many entries were counted")
def mean_of_those_counted(out, batch):
    squared, absent = (out - batch) ** 2, batch == 0
    return (
        (squared * absent).sum((0, 2)) / absent.sum((0, 2)),
        (squared * ~absent).sum((0, 2)) / (~absent).sum((0, 2)),
    )


@mutant("1.12", says="input is squared")
def what_was_there(out, batch):
    return torch.where(batch == 0, out**2, 0).sum(2).mean(0), (batch**2).sum(2).mean(0)


@mutant("1.12", says="absolute error")
def absolute_error(out, batch):
    error, absent = (out - batch).abs(), batch == 0
    return (error * absent).sum(2).mean(0), (error * ~absent).sum(2).mean(0)


@mutant("1.12", says="sum over the batch")
def summed_over_the_batch(out, batch):
    squared, absent = (out - batch) ** 2, batch == 0
    return (squared * absent).sum((0, 2)), (squared * ~absent).sum((0, 2))


@mutant("1.12", says="instances are averaged")
def one_number(out, batch):
    invented, missed = _parts(out, batch, batch == 0)
    return invented.mean(), missed.mean()


@mutant("1.12", says="mask is missing")
def everything_is_missed(out, batch):
    invented, missed = _parts(out, batch, batch == 0)
    return invented, invented + missed


@mutant("1.12", says="nothing at all is present")
def empty_inputs_only(out, batch):
    empty = (batch == 0).all(dim=2, keepdim=True).expand_as(batch)
    return _parts(out, batch, empty)


@mutant("1.12", says="Return two tensors")
def the_loss(out, batch):
    return ((out - batch) ** 2).sum(2).mean(0)


@variant("1.12")
def total_minus_one_part(out, batch):
    total = ((out - batch) ** 2).sum(2).mean(0)
    invented = torch.einsum("bif,bif->i", out**2, (batch == 0).float()) / len(out)
    return invented, total - invented


@variant("1.12")
def input_by_input(out, batch):
    parts = torch.zeros(2, out.shape[1])
    for answer, x in zip(out, batch, strict=True):
        for instance in range(out.shape[1]):
            for feature in range(out.shape[2]):
                which = int(x[instance, feature] > 0)
                parts[which, instance] += (answer[instance, feature] - x[instance, feature]) ** 2 / len(out)
    return parts[0], parts[1]


@variant("1.12")
def in_double_precision(out, batch):
    invented, missed = _parts(out.double(), batch.double(), batch == 0)
    return [invented, missed]


equivalent("1.12", "the error is squared", "out - batch -> batch - out")


@mutant("1.12", says="a feature whose value is small but not 0 counts as absent")
def present_from_a_hundredth_on(out, batch):
    error, present = (out - batch) ** 2, batch.abs() > 1e-2
    return (error * ~present).sum(dim=-1).mean(dim=0), (error * present).sum(dim=-1).mean(dim=0)


@mutant("1.12", says="it is divided by how many entries were counted instead of by the batch")
def mean_over_those_that_are_absent(out, batch):
    error, present = (out - batch) ** 2, batch != 0
    return (
        (error * ~present).sum(dim=(0, 2)) / (~present).sum(dim=(0, 2)),
        (error * present).sum(dim=(0, 2)) / present.sum(dim=(0, 2)),
    )


@mutant("1.12", says="the mask asks where `out` is not 0")
def by_what_came_out(out, batch):
    error, present = (out - batch) ** 2, out != 0
    return (error * present).sum(dim=-1).mean(dim=0), (error * ~present).sum(dim=-1).mean(dim=0)


@mutant("1.12", says="the mean over the axis `instances` is used for all of it")
def one_number_for_all_instances(out, batch):
    error, absent = (out - batch) ** 2, batch == 0
    invented = (error * absent).sum(dim=(1, 2)).mean() / batch.shape[1]
    missed = (error * ~absent).sum(dim=(1, 2)).mean() / batch.shape[1]
    return invented.expand(batch.shape[1]), missed.expand(batch.shape[1])


@mutant("1.12", says="an axis of size 1 is lost")
def squeezed_results(out, batch):
    error, absent = (out - batch) ** 2, batch == 0
    return (error * absent).sum(dim=-1).mean(dim=0).squeeze(), (error * ~absent).sum(dim=-1).mean(
        dim=0
    ).squeeze()


@mutant("1.12", says="the mask asks where `out` is too large, and where it is too small")
def too_much_and_too_little(out, batch):
    error = (out - batch) ** 2
    return (error * (out > batch)).sum(dim=-1).mean(dim=0), (error * (out < batch)).sum(dim=-1).mean(dim=0)


@variant("1.12")
def what_is_left_was_missed(out, batch):
    error = (out - batch).square()
    invented = error.masked_fill(batch != 0, 0).sum(dim=2).mean(dim=0)
    return invented, error.sum(dim=2).mean(dim=0) - invented


@mutant("1.12", says="the two parts are exchanged")
def swapped(out, batch):
    e, p = ((out - batch) ** 2, batch != 0)
    return ((e * p).sum(-1).mean(0), (e * ~p).sum(-1).mean(0))


@mutant("1.12", says="Return two tensors")
def stacked(out, batch):
    e, p = ((out - batch) ** 2, batch != 0)
    return torch.stack([(e * ~p).sum(-1).mean(0), (e * p).sum(-1).mean(0)]).T


@mutant("1.12", says="it is divided by the whole loss")
def shares(out, batch):
    e, p = ((out - batch) ** 2, batch != 0)
    a, b = ((e * ~p).sum(-1).mean(0), (e * p).sum(-1).mean(0))
    return (a / (a + b), b / (a + b))


@variant("1.12")
def with_einsum(out, batch):
    e = (out - batch).square()
    a = (batch == 0).to(e.dtype)
    return (torch.einsum("bif,bif->i", e, a) / len(out), torch.einsum("bif,bif->i", e, 1 - a) / len(out))


@variant("1.12")
def as_a_list(out, batch):
    e = F.mse_loss(out, batch, reduction="none")
    m = batch > 0
    return [
        torch.stack([(e[:, i] * ~m[:, i]).sum(1).mean() for i in range(e.shape[1])]),
        torch.stack([(e[:, i] * m[:, i]).sum(1).mean() for i in range(e.shape[1])]),
    ]


@mutant("1.12", says="how many of its features were counted")
def mean_of_each_input(out, batch):
    squared, absent = (out - batch) ** 2, batch == 0
    return tuple(((squared * m).sum(2) / m.sum(2).clamp(min=1)).mean(0) for m in (absent, ~absent))


@mutant("1.12", says="what is below 0.1 counts as absent")
def a_tenth_is_absent(out, batch):
    return _parts(out, batch, batch < 0.1)


@mutant("1.12", says="only if no input of the batch has it")
def absent_from_the_whole_batch(out, batch):
    return _parts(out, batch, (batch == 0).all(0).expand_as(batch))


@mutant("1.12", says="the mask of instance 0 is used")
def mask_of_instance_0(out, batch):
    return _parts(out, batch, (batch[:, :1] == 0).expand_as(batch))


@mutant("1.12", says="added up before they are squared")
def square_of_the_sum(out, batch):
    error, absent = out - batch, batch == 0
    return tuple((error * m).sum(2).square().mean(0) for m in (absent, ~absent))


@mutant("1.12", says="only features where `out` is 0 are counted")
def missed_where_silent(out, batch):
    invented, _ = _parts(out, batch, batch == 0)
    return invented, (batch**2 * (out == 0)).sum(2).mean(0)


@mutant("1.12", says="only what is too large counts")
def invented_above_zero(out, batch):
    _, missed = _parts(out, batch, batch == 0)
    return (out.relu() ** 2 * (batch == 0)).sum(2).mean(0), missed


@mutant("1.12", says="where `batch` or `out` is 0")
def absent_from_either(out, batch):
    return _parts(out, batch, (batch == 0) | (out == 0))


@mutant("1.12", says="itself (in place)")
def error_in_place(out, batch):
    out -= batch
    squared, absent = out**2, batch == 0
    return (squared * absent).sum(2).mean(0), (squared * ~absent).sum(2).mean(0)
