"""Answers to exercise 1.10: `feature_states`."""

import torch
import torch.nn.functional as F

from tests.mutants import equivalent, mutant, variant


def _others(W):
    overlaps = (F.normalize(W, dim=1).mT @ W) ** 2
    return overlaps.sum(dim=2) - W.norm(dim=1) ** 2


def _states(lengths, others):
    return torch.where(lengths < 0.5, 0, torch.where(others > 0.25, 1, 2))


@mutant("1.10", says="only the length is looked at")
def norm_alone(W):
    return torch.where(W.norm(dim=1) < 0.5, 0, 2)


@mutant("1.10", says="only the length is looked at")
def norm_alone_all_shared(W):
    return (W.norm(dim=1) >= 0.5).long()


@mutant("1.10", says="counted among the others")
def with_itself(W):
    return _states(W.norm(dim=1), ((F.normalize(W, dim=1).mT @ W) ** 2).sum(dim=2))


@mutant("1.10", says="not asked whether the feature is represented")
def length_ignored(W):
    return torch.where(_others(W) > 0.25, 1, 2)


@mutant("1.10", says="both directions are scaled")
def cosines_squared(W):
    unit = F.normalize(W, dim=1)
    squared = (unit.mT @ unit) ** 2
    return _states(W.norm(dim=1), squared.sum(dim=2) - squared.diagonal(dim1=1, dim2=2))


@mutant("1.10", says="direction of $f$ is not scaled")
def gram_squared(W):
    gram = W.mT @ W
    gram = gram - torch.diag_embed(gram.diagonal(dim1=1, dim2=2))
    return _states(W.norm(dim=1), (gram**2).sum(dim=2))


@mutant("1.10", says="axes of the overlaps are swapped")
def summed_over_the_wrong_axis(W):
    overlaps = (F.normalize(W, dim=1).mT @ W) ** 2
    return _states(W.norm(dim=1), overlaps.sum(dim=1) - W.norm(dim=1) ** 2)


@mutant("1.10", says="not squared")
def overlaps_not_squared(W):
    overlaps = F.normalize(W, dim=1).mT @ W
    return _states(W.norm(dim=1), overlaps.sum(dim=2) - W.norm(dim=1))


@mutant("1.10", says="are exchanged")
def other_numbers(W):
    return torch.tensor([0, 2, 1])[_states(W.norm(dim=1), _others(W))]


@mutant("1.10", says="squared length is compared")
def squared_length(W):
    return _states(W.norm(dim=1) ** 2, _others(W))


@mutant("1.10", says="axes of `hidden` and `features` are swapped")
def axes_swapped(W):
    return _states(W.norm(dim=2), _others(W.mT))


@mutant("1.10", says="1 is subtracted")
def one_for_itself(W):
    return _states(W.norm(dim=1), _others(W) + W.norm(dim=1) ** 2 - 1)


@mutant("1.10", says="largest overlap")
def largest_only(W):
    overlaps = (F.normalize(W, dim=1).mT @ W) ** 2
    overlaps = overlaps - torch.diag_embed(overlaps.diagonal(dim1=1, dim2=2))
    return _states(W.norm(dim=1), overlaps.amax(dim=2))


@variant("1.10")
def feature_by_feature(W):
    return by_feature_as_floats(W).long()


@mutant("1.10", says="The states are whole numbers")
def by_feature_as_floats(W):
    states = torch.zeros(len(W), W.shape[2])
    for i, matrix in enumerate(W):
        for f in range(matrix.shape[1]):
            length = matrix[:, f].norm()
            if length < 0.5:
                continue
            others = [g for g in range(matrix.shape[1]) if g != f]
            shared = ((matrix[:, f] / length) @ matrix[:, others]).pow(2).sum()
            states[i, f] = 1 if shared > 0.25 else 2
    return states


@variant("1.10")
def masked_diagonal(W):
    lengths = W.norm(dim=1)
    overlaps = torch.einsum("ihf,ihg->ifg", W / lengths[:, None].clamp(min=1e-6), W) ** 2
    overlaps = overlaps.masked_fill(torch.eye(W.shape[2], dtype=torch.bool), 0)
    represented = (lengths >= 0.5).int()
    return represented * (2 - (overlaps.sum(2) > 0.25).int())


@variant("1.10")
def through_the_dimensionality(W):
    lengths = W.norm(dim=1)
    total = ((F.normalize(W, dim=1).mT @ W) ** 2).sum(dim=2)
    return _states(lengths, total * (1 - lengths**2 / total.clamp(min=1e-9)))


equivalent(
    "1.10",
    "a column of zeros is not represented, whatever becomes of its direction; every other one is longer than the bound",
    "norms.unsqueeze(1).clamp(min=1e-08) -> norms.unsqueeze(1)",
    "min=1e-08: 1e-08 -> 2e-08",
    "min=1e-08: 1e-08 -> 5e-09",
    "min=1e-08: 1e-08 -> 0.01",
    "min=1e-08: 1e-08 -> 0.0",
)


@mutant("1.10", says="the others that are not represented are left out of the sum")
def represented_others_only(W):
    length = W.norm(dim=1)
    overlap = (F.normalize(W, dim=1).mT @ W).square() * (1 - torch.eye(W.shape[-1]))
    others = (overlap * (length >= 0.5)[:, None, :]).sum(dim=-1)
    return torch.where(length < 0.5, 0, torch.where(others > 0.25, 1, 2))


@mutant("1.10", says="the largest overlap is taken instead of the sum")
def largest_overlap_only(W):
    overlap = (F.normalize(W, dim=1).mT @ W).square() * (1 - torch.eye(W.shape[-1]))
    return torch.where(W.norm(dim=1) < 0.5, 0, torch.where(overlap.amax(dim=-1) > 0.25, 1, 2))


@mutant("1.10", says="the numbers for superposition")
def one_and_two_exchanged(W):
    overlap = (F.normalize(W, dim=1).mT @ W).square() * (1 - torch.eye(W.shape[-1]))
    return torch.where(W.norm(dim=1) < 0.5, 0, torch.where(overlap.sum(dim=-1) > 0.25, 2, 1))


@mutant("1.10", says="both directions are scaled to length one")
def share_of_cosines(W):
    directions = F.normalize(W, dim=1)
    overlap = (directions.mT @ directions).square() * (1 - torch.eye(W.shape[-1]))
    return torch.where(W.norm(dim=1) < 0.5, 0, torch.where(overlap.sum(dim=-1) > 0.25, 1, 2))


@mutant("1.10", says="a sum of exactly 0.25 counts as superposition")
def a_quarter_is_superposition(W):
    overlap = (F.normalize(W, dim=1).mT @ W).square() * (1 - torch.eye(W.shape[-1]))
    return torch.where(W.norm(dim=1) < 0.5, 0, torch.where(overlap.sum(dim=-1) >= 0.25, 1, 2))


@mutant("1.10", says="a length of exactly 0.5 counts as not represented")
def at_most_a_half_is_left_out(W):
    overlap = (F.normalize(W, dim=1).mT @ W).square() * (1 - torch.eye(W.shape[-1]))
    return torch.where(W.norm(dim=1) <= 0.5, 0, torch.where(overlap.sum(dim=-1) > 0.25, 1, 2))


@mutant("1.10", says="the root of the sum is taken")
def root_of_the_sum(W):
    overlap = (F.normalize(W, dim=1).mT @ W).square() * (1 - torch.eye(W.shape[-1]))
    return torch.where(W.norm(dim=1) < 0.5, 0, torch.where(overlap.sum(dim=-1).sqrt() > 0.25, 1, 2))


@mutant("1.10", says="an axis of size 1 is lost")
def squeezed_result(W):
    overlap = (F.normalize(W, dim=1).mT @ W).square() * (1 - torch.eye(W.shape[-1]))
    return torch.where(W.norm(dim=1) < 0.5, 0, torch.where(overlap.sum(dim=-1) > 0.25, 1, 2)).squeeze()


@mutant("1.10", says="a feature that is too short, but overlapped by others, is called")
def superposition_written_last(W):
    overlap = (F.normalize(W, dim=1).mT @ W).square() * (1 - torch.eye(W.shape[-1]))
    states = torch.full((W.shape[0], W.shape[2]), 2)
    states[W.norm(dim=1) < 0.5] = 0
    states[overlap.sum(dim=-1) > 0.25] = 1
    return states


@variant("1.10")
def represented_plus_alone(W):
    overlap = (F.normalize(W, dim=1).mT @ W).square()
    others = overlap.sum(dim=-1) - W.square().sum(dim=1)
    represented = W.norm(dim=1) >= 0.5
    return represented.int() + (represented & (others <= 0.25)).int()


@mutant("1.10", says="The states are whole numbers")
def a_tenth_too_large(W):
    o = (F.normalize(W, dim=1).mT @ W).square()
    others = o.sum(-1) - W.square().sum(1)
    return torch.where(W.norm(dim=1) < 0.5, 0.0, torch.where(others > 0.25, 1.0, 2.0)) + 0.1


@mutant("1.10", says="the sum is compared with 0.5 instead of 0.25")
def threshold_half_for_share(W):
    o = (F.normalize(W, dim=1).mT @ W).square()
    others = o.sum(-1) - W.square().sum(1)
    return torch.where(W.norm(dim=1) < 0.5, 0, torch.where(others > 0.5, 1, 2))


@mutant("1.10", says="the length is compared with 0.25 instead of 0.5")
def threshold_quarter_for_length(W):
    o = (F.normalize(W, dim=1).mT @ W).square()
    others = o.sum(-1) - W.square().sum(1)
    return torch.where(W.norm(dim=1) < 0.25, 0, torch.where(others > 0.25, 1, 2))


@mutant("1.10", says="a dimensionality below 3/4")
def dimensionality_half(W):
    d = F.normalize(W, dim=1)
    D = (W.square().sum(1) / (d.mT @ W).square().sum(-1)).nan_to_num()
    return torch.where(W.norm(dim=1) < 0.5, 0, torch.where(D < 0.75, 1, 2))


@variant("1.10")
def with_loops(W):
    out = torch.zeros(W.shape[0], W.shape[2], dtype=torch.int64)
    for i in range(W.shape[0]):
        for f in range(W.shape[2]):
            w = W[i, :, f]
            if w.norm() >= 0.5:
                s = sum(float(w / w.norm() @ W[i, :, g]) ** 2 for g in range(W.shape[2]) if g != f)
                out[i, f] = 1 if s > 0.25 else 2
    return out


@variant("1.10")
def int8_states(W):
    G = W.mT @ W
    n2 = G.diagonal(dim1=1, dim2=2)
    s = (G**2).sum(-1) / n2.clamp(min=1e-12) - n2
    return (n2 >= 0.25).to(torch.int8) * (2 - (s > 0.25).to(torch.int8))


@variant("1.10")
def bool_arithmetic(W):
    n = W.norm(dim=1)
    c = F.cosine_similarity(W[:, :, :, None], W[:, :, None], dim=1)
    o = (c * n[:, None]).square()
    o = o.masked_fill(torch.eye(W.shape[-1], dtype=torch.bool), 0).sum(-1)
    s = torch.full(n.shape, 2)
    s[o > 0.25] = 1
    s[n < 0.5] = 0
    return s


@mutant("1.10", says="summed before they are squared")
def square_of_the_sum(W):
    plain = (F.normalize(W, dim=1).mT @ W).sum(-1) - W.norm(dim=1)
    return torch.where(W.norm(dim=1) < 0.5, 0, torch.where(plain**2 > 0.25, 1, 2))


@mutant("1.10", says="overlaps below 0 are left out of the sum")
def negative_overlaps_are_free(W):
    others = (F.normalize(W, dim=1).mT @ W).relu().square().sum(-1) - W.square().sum(1)
    return torch.where(W.norm(dim=1) < 0.5, 0, torch.where(others > 0.25, 1, 2))


@mutant("1.10", says="half of the mean length")
def half_of_the_mean_length(W):
    n = W.norm(dim=1)
    others = (F.normalize(W, dim=1).mT @ W).square().sum(-1) - n**2
    return torch.where(n < n.mean(-1, keepdim=True) / 2, 0, torch.where(others > 0.25, 1, 2))


@mutant("1.10", says="only the feature before it is looked at")
def only_the_one_before(W):
    squared = (F.normalize(W, dim=1).mT @ W).square()
    others = torch.stack([squared[:, f, f - 1] for f in range(W.shape[2])], -1)
    return torch.where(W.norm(dim=1) < 0.5, 0, torch.where(others > 0.25, 1, 2))


@mutant("1.10", says="itself (in place)")
def normalized_in_place(W):
    lengths, others = W.norm(dim=1), _others(W)
    W /= lengths[:, None].clamp(min=1e-8)
    return _states(lengths, others)


@mutant("1.10", says="$|W_f|$ is subtracted for the feature itself")
def length_subtracted(W):
    lengths = W.norm(dim=1)
    return _states(lengths, _others(W) + lengths**2 - lengths)


@mutant("1.10", says="a dimensionality below 0.8")
def small_dimensionality(W):
    lengths = W.norm(dim=1)
    share = lengths**2 / (_others(W) + lengths**2).clamp(min=1e-12)
    return torch.where(lengths < 0.5, 0, torch.where(share < 0.8, 1, 2))


@mutant("1.10", says="is called own dimension; it is not represented")
def own_dimension_decided_last(W):
    states = (W.norm(dim=1) >= 0.5).long()
    states[_others(W) <= 0.25] = 2
    return states


@mutant("1.10", says="the answers to two questions are added up")
def sum_of_two_answers(W):
    return (W.norm(dim=1) >= 0.5).long() + (_others(W) <= 0.25).long()
