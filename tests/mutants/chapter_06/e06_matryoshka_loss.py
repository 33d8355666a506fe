"""Answers to exercise 6.6: `matryoshka_loss`."""

import torch
from torch.nn import functional as F

from tests.mutants import equivalent, mutant, variant


def _error(acts, W_dec, b_dec, h, start, end):
    rebuilt = torch.einsum("bil,ilx->bix", acts[..., start:end], W_dec[:, start:end]) + b_dec
    return (h - rebuilt).pow(2).mean(-1)


@mutant("6.6", says="starts at latent 0")
def slices(acts, W_dec, b_dec, h, prefixes):
    starts = [0, *prefixes[:-1]]
    return sum(_error(acts, W_dec, b_dec, h, s, e) for s, e in zip(starts, prefixes, strict=True))


@mutant("6.6", says="left out of the shorter ones")
def bias_in_the_last_only(acts, W_dec, b_dec, h, prefixes):
    last = prefixes[-1]
    return sum(_error(acts, W_dec, b_dec if m == last else 0, h, 0, m) for m in prefixes)


@mutant("6.6", says="left out of all prefixes")
def no_bias(acts, W_dec, b_dec, h, prefixes):
    return sum(_error(acts, W_dec, 0, h, 0, m) for m in prefixes)


@mutant("6.6", says="mean over the prefixes")
def mean_over_prefixes(acts, W_dec, b_dec, h, prefixes):
    return sum(_error(acts, W_dec, b_dec, h, 0, m) for m in prefixes) / len(prefixes)


@mutant("6.6", says="last prefix is missing")
def last_missing(acts, W_dec, b_dec, h, prefixes):
    return sum((_error(acts, W_dec, b_dec, h, 0, m) for m in prefixes[:-1]), torch.zeros(h.shape[:2]))


@mutant("6.6", says="only the last prefix counts")
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


@mutant("6.6", says="No gradient reaches `acts`")
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


def _rebuilt_by(acts, W_dec, b_dec, m):
    return torch.einsum("bih,ihd->bid", acts[..., :m], W_dec[:, :m]) + b_dec


def _error_of(acts, W_dec, b_dec, h, m):
    return (h - _rebuilt_by(acts, W_dec, b_dec, m)).pow(2).mean(-1)


def _all_of(acts, W_dec, b_dec, h, prefixes):
    return sum(_error_of(acts, W_dec, b_dec, h, m) for m in prefixes)


@mutant("6.6", says="each prefix has to explain what the one before it left")
def residual_passed_on(acts, W_dec, b_dec, h, prefixes):
    out, left = 0, h
    for m in prefixes:
        left = left - _rebuilt_by(acts, W_dec, b_dec, m)
        out = out + left.pow(2).mean(-1)
    return out


@mutant("6.6", says="`b_dec` is added in the first prefix only, and left out")
def b_dec_only_with_the_first(acts, W_dec, b_dec, h, prefixes):
    return sum(_error_of(acts, W_dec, 0 * b_dec if j else b_dec, h, m) for j, m in enumerate(prefixes))


@mutant("6.6", says="`b_dec` is added once more for every prefix: twice in the")
def b_dec_once_more_for_each_prefix(acts, W_dec, b_dec, h, prefixes):
    return sum(_error_of(acts, W_dec, (j + 1) * b_dec, h, m) for j, m in enumerate(prefixes))


@mutant("6.6", says="the sign of `b_dec` is turned round")
def b_dec_subtracted(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec, -b_dec, h, prefixes)


@mutant("6.6", says="the first prefix is missing")
def first_prefix_missing(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec, b_dec, h, prefixes[1:]) + 0 * h.sum(-1)


@mutant("6.6", says="the largest error of a prefix is taken instead of the sum")
def largest_error_of_a_prefix(acts, W_dec, b_dec, h, prefixes):
    return torch.stack([_error_of(acts, W_dec, b_dec, h, m) for m in prefixes]).amax(0)


@mutant("6.6", says="the whole dictionary is added to the prefixes; it counts")
def all_latents_always_added(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec, b_dec, h, sorted({*prefixes, acts.shape[-1]}))


@mutant("6.6", says="every prefix has all latents")
def all_latents_in_every_prefix(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec, b_dec, h, [acts.shape[-1]] * len(prefixes))


@mutant("6.6", says="the *last* latents of the dictionary are taken, not the")
def last_latents(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts.flip(-1), W_dec.flip(1), b_dec, h, prefixes)


@mutant("6.6", says="the strongest latents of every input are taken, not the")
def strongest_latents(acts, W_dec, b_dec, h, prefixes):
    out = 0
    for m in prefixes:
        values, places = acts.topk(m, dim=-1)
        kept = torch.zeros_like(acts).scatter(-1, places, values)
        out = out + _error_of(kept, W_dec, b_dec, h, acts.shape[-1])
    return out


@mutant("6.6", says="a prefix has one latent too many")
def one_latent_too_many(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec, b_dec, h, [m + 1 for m in prefixes])


@mutant("6.6", says="absolute errors are taken, not squared ones")
def absolute_errors(acts, W_dec, b_dec, h, prefixes):
    return sum((h - _rebuilt_by(acts, W_dec, b_dec, m)).abs().mean(-1) for m in prefixes)


@mutant("6.6", says="the length of the error is taken (a root), not the mean")
def lengths_of_errors(acts, W_dec, b_dec, h, prefixes):
    return sum((h - _rebuilt_by(acts, W_dec, b_dec, m)).norm(dim=-1) for m in prefixes)


@mutant("6.6", says="the reconstructions of the prefixes are added up before")
def error_of_the_summed_reconstructions(acts, W_dec, b_dec, h, prefixes):
    return (h - sum(_rebuilt_by(acts, W_dec, b_dec, m) for m in prefixes)).pow(2).mean(-1)


@mutant("6.6", says="the reconstructions of the prefixes are averaged before")
def error_of_the_mean_reconstruction(acts, W_dec, b_dec, h, prefixes):
    return (h - sum(_rebuilt_by(acts, W_dec, b_dec, m) for m in prefixes) / len(prefixes)).pow(2).mean(-1)


@mutant("6.6", says="the errors are weighted with the sizes of the prefixes")
def weighted_by_size(acts, W_dec, b_dec, h, prefixes):
    return sum(_error_of(acts, W_dec, b_dec, h, m) / m for m in prefixes)


@mutant("6.6", says="the sizes are a quarter, a half and all of the")
def halves_whatever_the_prefixes(acts, W_dec, b_dec, h, prefixes):
    n = acts.shape[-1]
    return _all_of(acts, W_dec, b_dec, h, (n // 4, n // 2, n))


@mutant("6.6", says="the mean over the batch is taken; every input has a")
def averaged_over_the_batch(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec, b_dec, h, prefixes).mean(0)


@mutant("6.6", says="it is one number; every input and instance has its own")
def one_number(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec, b_dec, h, prefixes).mean(0).sum()


@mutant("6.6", says="index 0 of `W_dec` along `n_instances` is used for all")
def decoder_of_instance_0(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec[:1].expand_as(W_dec), b_dec, h, prefixes)


@mutant("6.6", says="index 0 of `b_dec` along `n_instances` is used for all")
def b_dec_of_instance_0(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec, b_dec[:1].expand_as(b_dec), h, prefixes)


@mutant("6.6", says="the latents are detached in the shorter prefixes")
def short_ones_detached(acts, W_dec, b_dec, h, prefixes):
    n = acts.shape[-1]
    return sum(_error_of(acts if m == n else acts.detach(), W_dec, b_dec, h, m) for m in prefixes)


@mutant("6.6", says="the decoder is detached in the shorter prefixes")
def decoder_detached_in_short_ones(acts, W_dec, b_dec, h, prefixes):
    n = acts.shape[-1]
    return sum(_error_of(acts, W_dec if m == n else W_dec.detach(), b_dec, h, m) for m in prefixes)


@mutant("6.6", says="No gradient reaches `W_dec`: it is not used, or detached")
def decoder_detached(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec.detach(), b_dec, h, prefixes)


@mutant("6.6", says="No gradient reaches `b_dec`: it is not used, or detached")
def b_dec_detached(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec, b_dec.detach(), h, prefixes)


@mutant("6.6", says="Your result is cut off from what it was computed from")
def everything_detached(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec, b_dec, h, prefixes).detach()


@mutant("6.6", says="what a shorter prefix rebuilds is detached in the longer")
def earlier_part_frozen(acts, W_dec, b_dec, h, prefixes):
    out, rebuilt, start = 0, b_dec, 0
    for m in sorted(prefixes):
        rebuilt = rebuilt.detach() + torch.einsum("bih,ihd->bid", acts[..., start:m], W_dec[:, start:m])
        out, start = out + (h - rebuilt).pow(2).mean(-1), m
    return out


@mutant("6.6", says="Your code raised RuntimeError: one of the variables")
def rest_zeroed_in_place(acts, W_dec, b_dec, h, prefixes):
    out = 0
    for m in sorted(prefixes, reverse=True):
        with torch.no_grad():
            acts[..., m:] = 0
        out = out + _error_of(acts, W_dec, b_dec, h, m)
    return out


@mutant("6.6", says="The values are right, but the gradient with respect to")
def bias_taken_off_in_place(acts, W_dec, b_dec, h, prefixes):
    with torch.no_grad():
        h -= b_dec
    return _all_of(acts, W_dec, 0 * b_dec, h, prefixes)


@mutant("6.6", says="an axis of size 1 is lost (`squeeze` removes all of")
def squeezed(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec, b_dec, h, prefixes).squeeze()


@mutant("6.6", says="the mean over the axis `n_instances` is used for all of it")
def mean_over_instances(acts, W_dec, b_dec, h, prefixes):
    out = _all_of(acts, W_dec, b_dec, h, prefixes)
    return out.mean(1, keepdim=True).expand_as(out)


@mutant("6.6", says="only the first 10 of `batch` are looked at")
def first_ten_only(acts, W_dec, b_dec, h, prefixes):
    out = torch.zeros(h.shape[:2], dtype=h.dtype)
    out[:10] = _all_of(acts[:10], W_dec, b_dec, h[:10], prefixes)
    return out


@mutant("6.6", says="only the first 2 of `n_instances` are looked at")
def two_instances(acts, W_dec, b_dec, h, prefixes):
    out = torch.zeros(h.shape[:2], dtype=h.dtype)
    out[:, :2] = _all_of(acts[:, :2], W_dec[:2], b_dec[:2], h[:, :2], prefixes)
    return out


@mutant("6.6", says="Your result is everywhere 0.5 times what it should be")
def half_of_the_error(acts, W_dec, b_dec, h, prefixes):
    return _all_of(acts, W_dec, b_dec, h, prefixes) / 2


@variant("6.6")
def masks_in_one_einsum(acts, W_dec, b_dec, h, prefixes):
    n = acts.shape[-1]
    masks = torch.stack([(torch.arange(n) < m).to(acts.dtype) for m in prefixes])
    rebuilt = torch.einsum("ph,bih,ihd->pbid", masks, acts, W_dec) + b_dec
    return ((rebuilt - h) ** 2).mean(-1).sum(0)


@variant("6.6")
def cumulative_sums(acts, W_dec, b_dec, h, prefixes):
    parts = torch.cumsum(acts.unsqueeze(-1) * W_dec, dim=2)
    parts = torch.cat([torch.zeros_like(parts[:, :, :1]), parts], dim=2)
    rebuilt = parts[:, :, list(prefixes)] + b_dec.unsqueeze(1)
    return (h.unsqueeze(2) - rebuilt).square().mean(-1).sum(-1)


@variant("6.6")
def loops_over_instances(acts, W_dec, b_dec, h, prefixes):
    columns = []
    for i in range(h.shape[1]):
        column = 0
        for m in prefixes:
            left = h[:, i] - b_dec[i] - acts[:, i, :m] @ W_dec[i, :m]
            column = column + (left * left).sum(-1) / left.shape[-1]
        columns.append(column)
    return torch.stack(columns, dim=1)


@variant("6.6")
def expanded_squares_in_double(acts, W_dec, b_dec, h, prefixes):
    h64, a64, W64 = (h - b_dec).double(), acts.double(), W_dec.double()
    out = torch.zeros(h.shape[:2], dtype=torch.float64)
    for m in prefixes:
        r = torch.matmul(a64[..., None, :m], W64[:, :m]).squeeze(-2)
        out = out + (h64.square() - 2 * h64 * r + r.square()).mean(-1)
    return out.to(h.dtype)


@variant("6.6")
def in_place_sum(acts, W_dec, b_dec, h, prefixes):
    out = torch.zeros_like(h[..., 0])
    for m in prefixes:
        kept = acts * (torch.arange(acts.shape[-1]) < m)
        out += F.mse_loss(torch.einsum("bih,ihd->bid", kept, W_dec) + b_dec, h, reduction="none").mean(-1)
    return out


equivalent(
    "6.6",
    "a square has no sign.",
    "h - rebuilt -> rebuilt - h",
)


@mutant("6.6", says="the latents from `m` on are taken")
def latents_behind_the_prefix(acts, W_dec, b_dec, h, prefixes):
    return sum(_error(acts, W_dec, b_dec, h, m, None) for m in prefixes)


@mutant("6.6", says="takes the place of the last prefix")
def whole_dictionary_as_the_last(acts, W_dec, b_dec, h, prefixes):
    sizes = [*list(prefixes)[:-1], acts.shape[-1]]
    return sum(_error(acts, W_dec, b_dec, h, 0, m) for m in sizes)


@mutant("6.6", says="only the first, the middle and the last prefix count")
def three_prefixes_by_hand(acts, W_dec, b_dec, h, prefixes):
    sizes = (prefixes[0], prefixes[len(prefixes) // 2], prefixes[-1])
    return sum(_error(acts, W_dec, b_dec, h, 0, m) for m in sizes)


@mutant("6.6", says="added up before they are squared")
def square_of_the_sum(acts, W_dec, b_dec, h, prefixes):
    total = 0
    for m in prefixes:
        total = total + (h - b_dec - torch.einsum("bil,ilx->bix", acts[..., :m], W_dec[:, :m]))
    return total.pow(2).mean(-1)


@mutant("6.6", says="changes `h` itself")
def input_used_up(acts, W_dec, b_dec, h, prefixes):
    h -= b_dec
    return sum(_error(acts, W_dec, torch.zeros_like(b_dec), h, 0, m) for m in prefixes)
