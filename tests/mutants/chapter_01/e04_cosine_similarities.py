"""Answers to exercise 1.4: `cosine_similarities`."""

import einops
import torch
import torch.nn.functional as F

from tests.mutants import equivalent, mutant, variant


@mutant("1.4", says="it is `W^T W`")
def unnormalized(W):
    return W.mT @ W


@mutant("1.4", says="hidden dimensions are compared")
def hidden_by_hidden(W):
    directions = W / W.norm(dim=1, keepdim=True)
    return directions @ directions.mT


@mutant("1.4", says="hidden dimensions are compared")
def rows_compared(W):
    directions = W / W.norm(dim=2, keepdim=True)
    return directions @ directions.mT


@mutant("1.4", says="gives NaN")
def nan_for_zero_feature(W):
    directions = W / W.norm(dim=1, keepdim=True)
    return directions.mT @ directions


@mutant("1.4", says="*rows* of `W`")
def norm_over_features(W):
    directions = F.normalize(W, dim=2)
    return directions.mT @ directions


@mutant("1.4", says="*rows* of `W`")
def default_axis_of_normalize_last(W):
    directions = F.normalize(W, dim=-1)
    return torch.einsum("ihf,ihg->ifg", directions, directions)


@mutant("1.4", says="one norm of all of `W`")
def one_norm_for_all(W):
    W = W / W.norm()
    return W.mT @ W


@mutant("1.4", says="*squared* length")
def divided_by_squared_length(W):
    W = W / (W**2).sum(dim=1, keepdim=True)
    return W.mT @ W


@mutant("1.4", says="only one of the two columns")
def one_side_only(W):
    return (W / W.norm(dim=1, keepdim=True)).mT @ W


@mutant("1.4", says="absolute value")
def absolute_cosine(W):
    directions = F.normalize(W, dim=1)
    return (directions.mT @ directions).abs()


@mutant("1.4", says="instance 0")
def first_instance_only(W):
    directions = F.normalize(W[0], dim=0)
    return (directions.T @ directions).expand(len(W), -1, -1)


@mutant("1.4", says="0.01 is added to the lengths")
def large_epsilon(W):
    directions = W / (W.norm(dim=1, keepdim=True) + 1e-2)
    return directions.mT @ directions


@mutant("1.4", says="diagonal is set to 0")
def diagonal_removed(W):
    directions = F.normalize(W, dim=1)
    return directions.mT @ directions * (1 - torch.eye(W.shape[-1]))


@variant("1.4")
def with_normalize(W):
    directions = F.normalize(W, dim=1)
    return directions.mT @ directions


@variant("1.4")
def epsilon_added(W):
    directions = W / (W.norm(dim=1, keepdim=True) + 1e-6)
    return einops.einsum(directions, directions, "i h f, i h g -> i f g")


@variant("1.4")
def with_cosine_similarity(W):
    return F.cosine_similarity(W.unsqueeze(-1), W.unsqueeze(-2), dim=1)


@variant("1.4")
def nan_replaced(W):
    gram = W.mT @ W
    lengths = gram.diagonal(dim1=1, dim2=2).sqrt()
    return torch.nan_to_num(gram / lengths[:, :, None] / lengths[:, None, :])


@variant("1.4")
def in_double_precision_and_loops(W):
    out = torch.zeros(len(W), W.shape[2], W.shape[2], dtype=torch.float64)
    for i in range(len(W)):
        for f in range(W.shape[2]):
            for g in range(W.shape[2]):
                a, b = W[i, :, f].double(), W[i, :, g].double()
                out[i, f, g] = a @ b / max(a.norm() * b.norm(), torch.tensor(1e-12))
    return out


@variant("1.4")
def divided_in_place(W):
    W = W.clone()
    W /= torch.sqrt(torch.sum(W**2, dim=1, keepdim=True)).clamp(min=1e-10)
    return torch.bmm(W.transpose(1, 2), W)


@variant("1.4")
def masked_where_a_column_is_zero(W):
    lengths = torch.linalg.norm(W.double(), dim=1)
    table = torch.einsum("ihf,ihg->ifg", W.double(), W.double())
    products = lengths.unsqueeze(-1) * lengths.unsqueeze(-2)
    return torch.where(products > 0, table / products, torch.zeros_like(table)).float()


@mutant("1.4", says="too large, and changes short columns")
def clamp_that_changes_short_columns(W):
    unit = W / W.norm(dim=1, keepdim=True).clamp(min=1e-2)
    return torch.einsum("ihf,ihg->ifg", unit, unit)


equivalent(
    "1.4",
    "any number below 1e-6 keeps the length from being 0",
    "min=1e-08: 1e-08 -> 2e-08",
    "min=1e-08: 1e-08 -> 5e-09",
)
equivalent(
    "1.4",
    "the table is symmetric",
    "einops.einsum(directions, directions, 'instances hidden feature_1, instances hidden feature_2 -> "
    "instances feature_1 feature_2'): 'instances hidden feature_1, instances hidden feature_2 -> "
    "instances feature_1 feature_2' -> 'instances hidden feature_1, instances hidden feature_2 -> "
    "instances feature_2 feature_1'",
)


@mutant("1.4", says="the correlation of the columns is taken")
def correlation_coefficients(W):
    return torch.stack([torch.corrcoef(w.T) for w in W]).nan_to_num()


@mutant("1.4", says="the diagonal is 1 for a column of zeros too")
def ones_on_the_diagonal(W):
    directions = F.normalize(W, dim=1)
    similarity = directions.mT @ directions
    index = torch.arange(W.shape[-1])
    similarity[:, index, index] = 1
    return similarity


@mutant("1.4", says="what keeps the length from being 0 is too large, and changes short")
def lengths_clamped_at_a_hundredth(W):
    directions = W / W.norm(dim=1, keepdim=True).clamp(min=1e-2)
    return directions.mT @ directions


@mutant("1.4", says="only one of the two columns is scaled to length one")
def only_one_of_the_two_normalized(W):
    return F.normalize(W, dim=1).mT @ W


@mutant("1.4", says="the norm is taken over the instances")
def normalized_across_instances(W):
    directions = F.normalize(W, dim=0)
    return directions.mT @ directions


@mutant("1.4", says="the columns are divided by the sum of their absolute values")
def sum_of_absolute_values_for_length(W):
    directions = F.normalize(W, p=1, dim=1)
    return directions.mT @ directions


@mutant("1.4", says="only one half of the matrix is filled, above or below the diagonal")
def upper_half(W):
    directions = F.normalize(W, dim=1)
    return (directions.mT @ directions).triu()


@mutant("1.4", says="NaN is replaced by 1 instead of 0")
def undefined_as_one(W):
    directions = W / W.norm(dim=1, keepdim=True)
    return (directions.mT @ directions).nan_to_num(nan=1.0)


@mutant("1.4", says="the angle is taken of a cosine")
def angles(W):
    directions = F.normalize(W, dim=1)
    return (directions.mT @ directions).clamp(-1, 1).arccos()


@mutant("1.4", says="the similarity is squared")
def squared_cosine(W):
    directions = F.normalize(W, dim=1)
    return (directions.mT @ directions).square()


@mutant("1.4", says="an axis of size 1 is lost")
def squeezed_result(W):
    directions = F.normalize(W, dim=1)
    return (directions.mT @ directions).squeeze()


@variant("1.4")
def torchs_own(W):
    return F.cosine_similarity(W[:, :, :, None], W[:, :, None, :], dim=1)


@variant("1.4")
def gram_over_lengths(W):
    gram = W.mT @ W
    length = gram.diagonal(dim1=1, dim2=2).sqrt()
    return (gram / (length[:, :, None] * length[:, None, :])).nan_to_num()


@mutant("1.4", says="Your result is 0 for `features` 4, and right everywhere else")
def loop_one_short(W):
    n = W.shape[-1]
    d = F.normalize(W, dim=1)
    c = torch.zeros(len(W), n, n)
    for f in range(n - 1):
        c[:, f] = torch.einsum("ih,ihg->ig", d[:, :, f], d)
    return c


@mutant("1.4", says="it is subtracted from 1")
def distance(W):
    d = F.normalize(W, dim=1)
    return 1 - d.mT @ d


@mutant("1.4", says="1 is added, and the sum is halved")
def half_shift(W):
    d = F.normalize(W, dim=1)
    return (1 + d.mT @ d) / 2


@mutant("1.4", says="Your result is right for `instances` 0, and wrong for `instances` 1, 2")
def first_and_own(W):
    d = F.normalize(W, dim=1)
    return torch.einsum("hf,ihg->ifg", d[0], d)


@mutant("1.4", says="negative values are set to 0")
def relu_cos(W):
    d = F.normalize(W, dim=1)
    return (d.mT @ d).relu()


@variant("1.4")
def cosine_by_law(W):
    W = W.double()
    n = W.norm(dim=1)
    d = torch.cdist(W.mT, W.mT)
    c = (n[:, :, None] ** 2 + n[:, None] ** 2 - d**2) / (2 * n[:, :, None] * n[:, None]).clamp(min=1e-30)
    return torch.where((n[:, :, None] > 0) & (n[:, None] > 0), c, 0.0).float()


@variant("1.4")
def double_division(W):
    n = torch.linalg.vector_norm(W, dim=1)
    g = torch.einsum("ihf,ihg->ifg", W, W)
    s = torch.where(n > 0, 1 / n.clamp(min=1e-20), 0)
    return s[:, :, None] * g * s[:, None]


@mutant("1.4", says="only columns longer than 1 are brought to length one")
def only_long_columns(W):
    n = W / W.norm(dim=1, keepdim=True).clamp(min=1)
    return n.mT @ n


@mutant("1.4", says="is too large, and changes short columns")
def thousandth_at_least(W):
    n = W / W.norm(dim=1, keepdim=True).clamp(min=1e-3)
    return n.mT @ n


@mutant("1.4", says="divided by their largest entry")
def largest_entry(W):
    n = W / W.abs().amax(1, keepdim=True).clamp(min=1e-8)
    return n.mT @ n


@mutant("1.4", says="the length of the same feature twice")
def same_length_twice(W):
    return (W.mT @ W) / W.norm(dim=1).clamp(min=1e-8)[:, :, None] ** 2


@mutant("1.4", says="compared with those of all instances")
def across_instances(W):
    n = F.normalize(W, dim=1)
    return torch.einsum("ihf,jhg->ifg", n, n)


@mutant("1.4", says="divided by its own largest value")
def divided_by_the_maximum(W):
    C = W.mT @ W
    return C / C.abs().amax((1, 2), keepdim=True).clamp(min=1e-8)


@mutant("1.4", says="shorter than 0.5 counts as ignored")
def short_ones_ignored(W):
    n = F.normalize(W, dim=1) * (W.norm(dim=1, keepdim=True) > 0.5)
    return n.mT @ n


@mutant("1.4", says="compared with itself only")
def each_with_itself(W):
    return F.cosine_similarity(W, W, dim=1)


@mutant("1.4", says="itself (in place)")
def normalized_in_place(W):
    W /= W.norm(dim=1, keepdim=True).clamp(min=1e-8)
    return W.mT @ W
