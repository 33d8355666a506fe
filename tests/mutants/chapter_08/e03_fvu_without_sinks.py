"""Answers to exercise 8.3: `fvu_without_sinks`."""

import torch

from tests.mutants import equivalent, mutant, variant


@mutant("8.3", says="sinks count everywhere")
def everything(h, h_hat, keep):
    return (h - h_hat).pow(2).sum() / (h - h.mean((0, 1))).pow(2).sum()


@mutant("8.3", says="sinks count in the mean")
def mean_over_all(h, h_hat, keep):
    return (h - h_hat)[keep].pow(2).sum() / (h[keep] - h.mean((0, 1))).pow(2).sum()


@mutant("8.3", says="sinks count in the variance")
def variance_of_another_set(h, h_hat, keep):
    around = h - h[keep].mean(0)
    return (h - h_hat)[keep].pow(2).sum() / around.pow(2).sum()


@mutant("8.3", says="sinks count in the error")
def error_over_all(h, h_hat, keep):
    return (h - h_hat).pow(2).sum() / (h[keep] - h[keep].mean(0)).pow(2).sum()


@mutant("8.3", says="1 minus what was asked for")
def explained(h, h_hat, keep):
    return 1 - (h - h_hat)[keep].pow(2).sum() / (h[keep] - h[keep].mean(0)).pow(2).sum()


@mutant("8.3", says="`keep` is inverted")
def only_sinks(h, h_hat, keep):
    return (h - h_hat)[~keep].pow(2).sum() / (h[~keep] - h[~keep].mean(0)).pow(2).sum()


@mutant("8.3", says="not squared norms")
def norms(h, h_hat, keep):
    return (h - h_hat)[keep].norm(dim=-1).sum() / (h[keep] - h[keep].mean(0)).norm(dim=-1).sum()


@mutant("8.3", says="for each position")
def mean_of_ratios(h, h_hat, keep):
    error, around = (h - h_hat)[keep], h[keep] - h[keep].mean(0)
    return (error.pow(2).sum(-1) / around.pow(2).sum(-1)).mean()


@mutant("8.3", says="for each dimension")
def mean_over_dimensions(h, h_hat, keep):
    error, around = (h - h_hat)[keep], h[keep] - h[keep].mean(0)
    return (error.pow(2).sum(0) / around.pow(2).sum(0)).mean()


@mutant("8.3", says="without its mean")
def squared_length(h, h_hat, keep):
    return (h - h_hat)[keep].pow(2).sum() / h[keep].pow(2).sum()


@mutant("8.3", says="one mean over all numbers")
def one_mean(h, h_hat, keep):
    return (h - h_hat)[keep].pow(2).sum() / (h[keep] - h[keep].mean()).pow(2).sum()


@mutant("8.3", says="set to zero and still count")
def zeroed(h, h_hat, keep):
    h, h_hat = h * keep[..., None], h_hat * keep[..., None]
    return (h - h_hat).pow(2).sum() / (h - h.mean((0, 1))).pow(2).sum()


@mutant("8.3", says="variance of the reconstruction")
def variance_of_h_hat(h, h_hat, keep):
    return (h - h_hat)[keep].pow(2).sum() / (h_hat[keep] - h_hat[keep].mean(0)).pow(2).sum()


@variant("8.3")
def as_a_number(h, h_hat, keep):
    x, y = h[keep].double(), h_hat[keep].double()
    return float((x - y).square().sum() / (x - x.mean(0)).square().sum())


@variant("8.3")
def with_weights(h, h_hat, keep):
    w = keep[..., None].double()
    mean = (h * w).sum((0, 1)) / w.sum()
    return ((h - h_hat).pow(2) * w).sum() / ((h - mean).pow(2) * w).sum()


@variant("8.3")
def by_variance(h, h_hat, keep):
    return (h - h_hat)[keep].pow(2).mean() / h[keep].var(dim=0, correction=0).mean()


@variant("8.3")
def position_by_position(h, h_hat, keep):
    rows = [
        (a, b) for a, b, yes in zip(h.flatten(0, 1), h_hat.flatten(0, 1), keep.flatten(), strict=True) if yes
    ]
    mean = torch.stack([a for a, _ in rows]).mean(0)
    return sum((a - b) @ (a - b) for a, b in rows) / sum((a - mean) @ (a - mean) for a, _ in rows)


def _parts(h, h_hat, keep):
    a, b = h[keep].double(), h_hat[keep].double()
    return (a - b).pow(2).sum(), (a - a.mean(0)).pow(2).sum()


@mutant("8.3", says="sinks count everywhere")
def sinks_counted(h, h_hat, keep):
    return ((h - h_hat).pow(2).sum() / (h - h.mean((0, 1))).pow(2).sum()).float()


@mutant("8.3", says="only the sinks count: `keep` is inverted")
def only_sinks_again(h, h_hat, keep):
    error, variance = _parts(h, h_hat, ~keep)
    return (error / variance).float()


@mutant("8.3", says="sinks count in the mean and sinks count in the variance")
def variance_over_all(h, h_hat, keep):
    error, _ = _parts(h, h_hat, keep)
    return (error / (h - h.mean((0, 1))).pow(2).sum()).float()


@mutant("8.3", says="sinks count in the mean")
def mean_over_all_again(h, h_hat, keep):
    error, _ = _parts(h, h_hat, keep)
    return (error / (h[keep] - h.mean((0, 1))).pow(2).sum()).float()


@mutant("8.3", says="sinks count in the error")
def error_over_all_again(h, h_hat, keep):
    return ((h - h_hat).pow(2).sum() / _parts(h, h_hat, keep)[1]).float()


@mutant("8.3", says="sinks count in the variance")
def variance_over_all_around_the_kept(h, h_hat, keep):
    return (_parts(h, h_hat, keep)[0] / (h - h[keep].mean(0)).pow(2).sum()).float()


@mutant("8.3", says="sinks count as zeros in the mean")
def zeros_in_the_mean(h, h_hat, keep):
    m = keep[..., None].to(h)
    mean = (h * m).mean((0, 1))
    return (((h - h_hat) * m).pow(2).sum() / ((h - mean) * m).pow(2).sum()).float()


@mutant("8.3", says="sinks are set to zero and still count")
def others_as_zeros(h, h_hat, keep):
    a, b = h * keep[..., None], h_hat * keep[..., None]
    return ((a - b).pow(2).sum() / (a - a.mean((0, 1))).pow(2).sum()).float()


@mutant("8.3", says="one ratio is taken for each position, and the ratios are")
def ratio_of_each_position(h, h_hat, keep):
    a, b = h[keep], h_hat[keep]
    return ((a - b).pow(2).sum(-1) / (a - a.mean(0)).pow(2).sum(-1)).mean()


@mutant("8.3", says="one ratio is taken for each dimension, and the ratios are")
def ratio_of_each_dimension(h, h_hat, keep):
    a, b = h[keep], h_hat[keep]
    return ((a - b).pow(2).sum(0) / (a - a.mean(0)).pow(2).sum(0)).mean()


@mutant("8.3", says="one ratio is taken for each text, and the ratios are")
def ratio_of_each_text(h, h_hat, keep):
    ratios = [
        e / v
        for e, v in (
            _parts(h[i : i + 1], h_hat[i : i + 1], keep[i : i + 1])
            for i in range(len(h))
            if keep[i].sum() > 1
        )
    ]
    return torch.stack(ratios).mean().float()


@mutant("8.3", says="each text's own mean is subtracted, not that of all")
def mean_of_each_text(h, h_hat, keep):
    variance = sum(
        _parts(h[i : i + 1], h_hat[i : i + 1], keep[i : i + 1])[1] for i in range(len(h)) if keep[i].any()
    )
    return (_parts(h, h_hat, keep)[0] / variance).float()


@mutant("8.3", says="one mean over all numbers is subtracted, not one for each")
def scalar_mean(h, h_hat, keep):
    a = h[keep]
    return ((a - h_hat[keep]).pow(2).sum() / (a - a.mean()).pow(2).sum()).float()


@mutant("8.3", says="each position's own mean over the dimensions is subtracted")
def mean_of_each_position(h, h_hat, keep):
    a = h[keep]
    return ((a - h_hat[keep]).pow(2).sum() / (a - a.mean(-1, keepdim=True)).pow(2).sum()).float()


@mutant("8.3", says="the squared length of h itself is divided by, without its")
def not_centered(h, h_hat, keep):
    return ((h[keep] - h_hat[keep]).pow(2).sum() / h[keep].pow(2).sum()).float()


@mutant("8.3", says="the explained variance is returned, which is 1 minus what")
def explained_again(h, h_hat, keep):
    error, variance = _parts(h, h_hat, keep)
    return (1 - error / variance).float()


@mutant("8.3", says="norms are added up, not squared norms")
def lengths(h, h_hat, keep):
    a, b = h[keep], h_hat[keep]
    return (a - b).norm(dim=-1).sum() / (a - a.mean(0)).norm(dim=-1).sum()


@mutant("8.3", says="a square root is taken once more")
def root(h, h_hat, keep):
    error, variance = _parts(h, h_hat, keep)
    return (error / variance).sqrt().float()


@mutant("8.3", says="absolute errors are added up, not squared ones")
def absolute(h, h_hat, keep):
    a, b = h[keep], h_hat[keep]
    return (a - b).abs().sum() / (a - a.mean(0)).abs().sum()


@mutant("8.3", says="only the squared error is returned, divided by nothing")
def error_only(h, h_hat, keep):
    return _parts(h, h_hat, keep)[0].float()


@mutant("8.3", says="the error is a mean over positions, and the variance a sum")
def mean_over_sum(h, h_hat, keep):
    error, variance = _parts(h, h_hat, keep)
    return (error / keep.sum() / variance).float()


@mutant("8.3", says="the variance of the reconstruction is divided by")
def variance_of_the_rebuilt(h, h_hat, keep):
    b = h_hat[keep]
    return ((h[keep] - b).pow(2).sum() / (b - b.mean(0)).pow(2).sum()).float()


@mutant("8.3", says="one variance of all numbers is divided by, around one mean")
def unbiased(h, h_hat, keep):
    a = h[keep]
    return ((a - h_hat[keep]).pow(2).mean() / a.var()).float()


@mutant("8.3", says="the mean of the *reconstructions* is subtracted")
def around_the_mean_of_the_rebuilt(h, h_hat, keep):
    a, b = h[keep], h_hat[keep]
    return ((a - b).pow(2).sum() / (a - b.mean(0)).pow(2).sum()).float()


@mutant("8.3", says="it is 1 minus the squared correlation")
def correlation(h, h_hat, keep):
    a, b = h[keep] - h[keep].mean(0), h_hat[keep] - h_hat[keep].mean(0)
    return 1 - (a * b).sum() ** 2 / (a.pow(2).sum() * b.pow(2).sum())


@mutant("8.3", says="the mean error is subtracted from the error")
def error_centered(h, h_hat, keep):
    e = h[keep] - h_hat[keep]
    return ((e - e.mean(0)).pow(2).sum() / _parts(h, h_hat, keep)[1]).float()


@mutant("8.3", says="`keep` of the first text is used for every text")
def keep_of_the_first_text(h, h_hat, keep):
    error, variance = _parts(h, h_hat, keep[:1].expand_as(keep))
    return (error / variance).float()


@mutant("8.3", says="the first position of every text is left out, not what")
def without_first_position(h, h_hat, keep):
    keep = torch.ones_like(keep)
    keep[:, 0] = False
    error, variance = _parts(h, h_hat, keep)
    return (error / variance).float()


@mutant("8.3", says="only the first positions of a text count")
def ten_positions(h, h_hat, keep):
    error, variance = _parts(h[:, :10], h_hat[:, :10], keep[:, :10])
    return (error / variance).float()


@mutant("8.3", says="Your function changes `h` itself (in place). Whoever")
def h_changed(h, h_hat, keep):
    mean = h[keep].mean(0)
    error = (h[keep] - h_hat[keep]).pow(2).sum()
    h -= mean
    return (error / h[keep].pow(2).sum()).float()


@variant("8.3")
def weights(h, h_hat, keep):
    m = keep[..., None].double()
    mean = (h.double() * m).sum((0, 1)) / m.sum()
    return (((h.double() - h_hat) ** 2 * m).sum() / ((h.double() - mean) ** 2 * m).sum()).to(h.dtype)


@variant("8.3")
def with_var(h, h_hat, keep):
    a = h[keep]
    return torch.nn.functional.mse_loss(h_hat[keep], a) / a.var(dim=0, unbiased=False).mean()


@variant("8.3")
def position_by_position_again(h, h_hat, keep):
    places = keep.nonzero().tolist()
    mean = sum(h[i, j].double() for i, j in places) / len(places)
    error = sum((h[i, j] - h_hat[i, j]).double().square().sum() for i, j in places)
    return error / sum((h[i, j] - mean).square().sum() for i, j in places)


equivalent(
    "8.3",
    "Sums of so few numbers are as good in float32.",
    "h[keep].double() -> h[keep]",
    "h_hat[keep].double() -> h_hat[keep]",
    "((kept - rebuilt).pow(2).sum() / (kept - kept.mean(dim=0)).pow(2).sum()).float() -> "
    "(kept - rebuilt).pow(2).sum() / (kept - kept.mean(dim=0)).pow(2).sum()",
)
equivalent(
    "8.3",
    "The sign is lost in the square.",
    "kept - rebuilt -> rebuilt - kept",
    "kept - kept.mean(dim=0) -> kept.mean(dim=0) - kept",
)
