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
