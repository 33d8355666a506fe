"""Answers to exercise 6.6: `matryoshka_loss`."""

import torch

from tests.mutants import equivalent, mutant, variant


def _error(acts, W_dec, b_dec, h, start, end):
    rebuilt = torch.einsum("bil,ilx->bix", acts[..., start:end], W_dec[:, start:end]) + b_dec
    return (h - rebuilt).pow(2).mean(-1)


@mutant("6.6", says="starts at latent 0")
def slices(acts, W_dec, b_dec, h, prefixes):
    starts = [0, *prefixes[:-1]]
    return sum(_error(acts, W_dec, b_dec, h, s, e) for s, e in zip(starts, prefixes, strict=True))


@mutant("6.6", says="left out of the shorter prefixes")
def bias_in_the_last_only(acts, W_dec, b_dec, h, prefixes):
    last = prefixes[-1]
    return sum(_error(acts, W_dec, b_dec if m == last else 0, h, 0, m) for m in prefixes)


@mutant("6.6", says="left out of all prefixes")
def no_bias(acts, W_dec, b_dec, h, prefixes):
    return sum(_error(acts, W_dec, 0, h, 0, m) for m in prefixes)


@mutant("6.6", says="mean over the prefixes")
def mean_over_prefixes(acts, W_dec, b_dec, h, prefixes):
    return sum(_error(acts, W_dec, b_dec, h, 0, m) for m in prefixes) / len(prefixes)


@mutant("6.6", says="whole dictionary, is missing")
def last_missing(acts, W_dec, b_dec, h, prefixes):
    return sum((_error(acts, W_dec, b_dec, h, 0, m) for m in prefixes[:-1]), torch.zeros(h.shape[:2]))


@mutant("6.6", says="only the whole dictionary")
def whole_only(acts, W_dec, b_dec, h, prefixes):
    return _error(acts, W_dec, b_dec, h, 0, prefixes[-1])


@mutant("6.6", says="one latent too few")
def one_too_few(acts, W_dec, b_dec, h, prefixes):
    return sum(_error(acts, W_dec, b_dec, h, 0, m - 1) for m in prefixes)


@mutant("6.6", says="summed over the input's dimensions")
def summed(acts, W_dec, b_dec, h, prefixes):
    return sum(_error(acts, W_dec, b_dec, h, 0, m) for m in prefixes) * h.shape[-1]


@mutant("6.6", says="sum over the prefixes is missing")
def kept_apart(acts, W_dec, b_dec, h, prefixes):
    return torch.stack([_error(acts, W_dec, b_dec, h, 0, m) for m in prefixes])


@mutant("6.6", says="normalized here")
def normalized(acts, W_dec, b_dec, h, prefixes):
    unit = W_dec / W_dec.norm(dim=-1, keepdim=True)
    return sum(_error(acts, unit, b_dec, h, 0, m) for m in prefixes)


@mutant("6.6", says="cut off")
def latents_detached(acts, W_dec, b_dec, h, prefixes):
    return sum(_error(acts.detach(), W_dec, b_dec, h, 0, m) for m in prefixes)


@variant("6.6")
def cumulative(acts, W_dec, b_dec, h, prefixes):
    each = acts.unsqueeze(-1) * W_dec
    rebuilt = each.cumsum(dim=2) + b_dec.unsqueeze(1)
    errors = (h.unsqueeze(2) - rebuilt).pow(2).mean(dim=-1)
    return errors[:, :, [m - 1 for m in prefixes]].sum(dim=-1)


@variant("6.6")
def growing(acts, W_dec, b_dec, h, prefixes):
    left, total, start = h - b_dec, 0, 0
    for m in prefixes:
        left = left - torch.einsum("bil,ilx->bix", acts[..., start:m], W_dec[:, start:m])
        total, start = total + left.square().mean(dim=-1), m
    return total


equivalent(
    "6.6",
    "a square has no sign.",
    "h - rebuilt -> rebuilt - h",
)
