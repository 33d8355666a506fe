"""Answers to exercise 1.5: `ToyModel.generate_correlated_features`."""

import einops
import numpy as np
import torch

from tests.mutants import equivalent, mutant, variant
from tests.mutants.chapter_01.shared import pairs_shape


def _side_by_side(tensor):
    return einops.repeat(tensor, "b i pairs -> b i (pairs 2)")


@mutant("1.5", says="share one value")
def values_shared_in_pairs(self, batch_size, n_correlated_pairs):
    shape = pairs_shape(self, batch_size, n_correlated_pairs)
    present = torch.rand(shape) < self.feature_probability[:, :1]
    return _side_by_side(torch.where(present, torch.rand(shape), 0.0))


@mutant("1.5", says="laid out as halves")
def laid_out_as_halves(self, batch_size, n_correlated_pairs):
    present = torch.rand(pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[:, :1]
    present = torch.cat([present, present], dim=-1)
    return present * torch.rand(present.shape)


@mutant("1.5", says="laid out as halves")
def laid_out_as_halves_by_repeat(self, batch_size, n_correlated_pairs):
    present = torch.rand(pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[:, :1]
    present = einops.repeat(present, "b i pairs -> b i (2 pairs)")
    return present * torch.rand(present.shape)


@mutant("1.5", says="draw of its own for its presence")
def drawn_independently(self, batch_size, n_correlated_pairs):
    shape = pairs_shape(self, batch_size, 2 * n_correlated_pairs)
    return torch.where(torch.rand(shape) < self.feature_probability[:, :1], torch.rand(shape), 0.0)


@mutant("1.5", says="halved")
def marginal_halved(self, batch_size, n_correlated_pairs):
    present = (
        torch.rand(pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[:, :1] / 2
    )
    present = _side_by_side(present)
    return present * torch.rand(present.shape)


@mutant("1.5", says="p times p")
def marginal_squared(self, batch_size, n_correlated_pairs):
    p = self.feature_probability[:, :1]
    present = torch.rand(pairs_shape(self, batch_size, n_correlated_pairs)) < p * p
    present = _side_by_side(present)
    return present * torch.rand(present.shape)


@mutant("1.5", says="either feature is drawn")
def present_if_either_is(self, batch_size, n_correlated_pairs):
    shape = (*pairs_shape(self, batch_size, n_correlated_pairs), 2)
    present = (torch.rand(shape) < self.feature_probability[:, :1, None]).any(dim=-1)
    present = _side_by_side(present)
    return present * torch.rand(present.shape)


@mutant("1.5", says="instance 0")
def probability_of_instance_0(self, batch_size, n_correlated_pairs):
    present = torch.rand(pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[0, 0]
    present = _side_by_side(present)
    return present * torch.rand(present.shape)


@mutant("1.5", says="Different pairs are not independent")
def pairs_linked(self, batch_size, n_correlated_pairs):
    present = torch.rand(pairs_shape(self, batch_size, 1)) < self.feature_probability[:, :1]
    present = present.expand(-1, -1, 2 * n_correlated_pairs)
    return present * torch.rand(present.shape)


@mutant("1.5", says="Different instances are not independent")
def instances_linked(self, batch_size, n_correlated_pairs):
    present = torch.rand(batch_size, 1, n_correlated_pairs) < self.feature_probability[:, :1]
    present = _side_by_side(present)
    return present * torch.rand(present.shape)


@mutant("1.5", says="exactly 1")
def pairs_of_ones(self, batch_size, n_correlated_pairs):
    present = torch.rand(pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[:, :1]
    return _side_by_side(present.float())


@mutant("1.5", says="one draw decides both")
def pairs_with_one_draw(self, batch_size, n_correlated_pairs):
    draw = torch.rand(pairs_shape(self, batch_size, n_correlated_pairs))
    return _side_by_side(draw * (draw < self.feature_probability[:, :1]))


@mutant("1.5", says="only one feature for each pair")
def one_feature_per_pair(self, batch_size, n_correlated_pairs):
    shape = pairs_shape(self, batch_size, n_correlated_pairs)
    return torch.rand(shape) * (torch.rand(shape) < self.feature_probability[:, :1])


@mutant("1.5", says="axis of their own")
def pairs_not_flattened(self, batch_size, n_correlated_pairs):
    present = torch.rand(pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[:, :1]
    present = present.unsqueeze(-1).expand(-1, -1, -1, 2)
    return present * torch.rand(present.shape)


@mutant("1.5", says="never present together")
def anticorrelated_by_mistake(self, batch_size, n_correlated_pairs):
    draw = torch.rand(pairs_shape(self, batch_size, n_correlated_pairs))
    p = self.feature_probability[:, :1] / 2
    present = torch.stack([draw < p, draw > 1 - p], dim=-1).flatten(-2)
    return present * torch.rand(present.shape)


@variant("1.5")
def repeat_interleave(self, batch_size, n_correlated_pairs):
    present = (
        torch.rand(pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[:, 0, None]
    )
    present = present.repeat_interleave(2, dim=-1)
    return torch.rand(present.shape) * present


@variant("1.5")
def stacked_pairs(self, batch_size, n_correlated_pairs):
    shape = pairs_shape(self, batch_size, n_correlated_pairs)
    present = torch.bernoulli(self.feature_probability[:, :1].expand(shape[1:]).expand(shape))
    return torch.stack([present * torch.rand(shape), present * torch.rand(shape)], dim=-1).reshape(
        batch_size, -1, 6
    )


@variant("1.5")
def filled_with_strides(self, batch_size, n_correlated_pairs):
    features = torch.zeros(pairs_shape(self, batch_size, 2 * n_correlated_pairs), dtype=torch.float64)
    shape = pairs_shape(self, batch_size, n_correlated_pairs)
    present = torch.rand(shape) < self.feature_probability[:, :1]
    features[..., 0::2] = present * torch.rand(shape)
    features[..., 1::2] = present * torch.rand(shape)
    return features


@variant("1.5")
def kronecker_product(self, batch_size, n_correlated_pairs):
    pairs = torch.distributions.Bernoulli(self.feature_probability[:, 0]).sample(
        (batch_size, n_correlated_pairs)
    )
    present = torch.kron(pairs.mT.contiguous(), torch.ones(1, 1, 2))
    return present * torch.rand_like(present)


@variant("1.5")
def zeros_filled_in_afterwards(self, batch_size, n_correlated_pairs):
    features = torch.rand(*pairs_shape(self, batch_size, n_correlated_pairs), 2)
    absent = torch.rand(features.shape[:-1]) >= self.feature_probability[:, :1]
    features.masked_fill_(absent.unsqueeze(-1), 0.0)
    return features.view(batch_size, self.cfg.n_instances, 2 * n_correlated_pairs)


@mutant("1.5", says="Rows of the batch share their presence")
def presence_of_half_a_batch_twice(self, batch_size, n_correlated_pairs):
    shape = pairs_shape(self, -(-batch_size // 2), n_correlated_pairs)
    present = torch.rand(shape).repeat(2, 1, 1)[:batch_size] < self.feature_probability[:, :1]
    present = present.repeat_interleave(2, dim=-1)
    return torch.where(present, torch.rand(present.shape), 0.0)


@mutant("1.5", says="Values are used more than once")
def values_shared_by_instances(self, batch_size, n_correlated_pairs):
    shape = pairs_shape(self, batch_size, n_correlated_pairs)
    present = (torch.rand(shape) < self.feature_probability[:, :1]).repeat_interleave(2, dim=-1)
    values = torch.rand(batch_size, 1, present.shape[-1]).expand(present.shape).clone()
    values[: batch_size // 2, 0] = torch.rand(batch_size // 2, present.shape[-1])
    return torch.where(present, values, 0.0)


equivalent(
    "1.5",
    "the check runs on the CPU, and the statement says nothing of devices",
    "torch.rand(device=self.b_final.device) -> torch.rand()",
    "torch.rand(device=present.device) -> torch.rand()",
)
equivalent(
    "1.5",
    "a random number that is exactly the probability comes once in 2^24 draws",
    "torch.rand(shape, device=self.b_final.device) < self.feature_probability[:, :1] -> "
    "torch.rand(shape, device=self.b_final.device) <= self.feature_probability[:, :1]",
)


@mutant("1.5", says="Features are present as often as when the probability is applied")
def both_must_agree(self, batch_size, n_correlated_pairs):
    p = self.feature_probability[:, :1]
    shape = (batch_size, self.cfg.n_instances, n_correlated_pairs)
    present = (torch.rand(shape) < p) & (torch.rand(shape) < p)
    values = torch.rand(*shape[:2], 2 * n_correlated_pairs)
    return values * present.repeat_interleave(2, dim=-1)


@mutant("1.5", says="Features are present as often as when the pair is present where")
def one_of_them_is_enough(self, batch_size, n_correlated_pairs):
    p = self.feature_probability[:, :1]
    shape = (batch_size, self.cfg.n_instances, n_correlated_pairs)
    present = (torch.rand(shape) < p) | (torch.rand(shape) < p)
    values = torch.rand(*shape[:2], 2 * n_correlated_pairs)
    return values * present.repeat_interleave(2, dim=-1)


@mutant("1.5", says="Different features are not independent in their value")
def values_add_up_to_one(self, batch_size, n_correlated_pairs):
    shape = (batch_size, self.cfg.n_instances, n_correlated_pairs)
    present = torch.rand(shape) < self.feature_probability[:, :1]
    u = torch.rand(shape)
    return (torch.stack([u, 1 - u], dim=-1) * present[..., None]).flatten(2)


@mutant("1.5", says="Different pairs are not independent in their presence")
def all_pairs_at_once(self, batch_size, n_correlated_pairs):
    present = torch.rand(batch_size, self.cfg.n_instances, 1) < self.feature_probability[:, :1]
    return torch.rand(batch_size, self.cfg.n_instances, 2 * n_correlated_pairs) * present


@mutant("1.5", says="Different instances are not independent in their presence")
def same_for_all_instances(self, batch_size, n_correlated_pairs):
    u = torch.rand(batch_size, 1, n_correlated_pairs)
    present = (u < self.feature_probability[:, :1]).repeat_interleave(2, dim=-1)
    return torch.rand(present.shape) * present


@mutant("1.5", says="Rows of the batch share their presence")
def half_a_batch_repeated(self, batch_size, n_correlated_pairs):
    half = (batch_size + 1) // 2
    present = torch.rand(half, self.cfg.n_instances, n_correlated_pairs) < self.feature_probability[:, :1]
    x = torch.rand(half, self.cfg.n_instances, 2 * n_correlated_pairs) * present.repeat_interleave(2, dim=-1)
    return torch.cat([x, x])[:batch_size]


@mutant("1.5", says="Rows of the batch share their presence")
def shared_by_two_rows(self, batch_size, n_correlated_pairs):
    half = (batch_size + 1) // 2
    present = torch.rand(half, self.cfg.n_instances, n_correlated_pairs) < self.feature_probability[:, :1]
    present = present.repeat_interleave(2, dim=0)[:batch_size].repeat_interleave(2, dim=-1)
    return torch.rand(present.shape) * present


@mutant("1.5", says="The values are shared between features")
def one_value_for_a_row(self, batch_size, n_correlated_pairs):
    shape = (batch_size, self.cfg.n_instances, n_correlated_pairs)
    present = (torch.rand(shape) < self.feature_probability[:, :1]).repeat_interleave(2, dim=-1)
    return torch.rand(batch_size, self.cfg.n_instances, 1) * present


@variant("1.5")
def stacked_and_flattened(self, batch_size, n_correlated_pairs):
    shape = (batch_size, self.cfg.n_instances, n_correlated_pairs)
    present = torch.bernoulli(self.feature_probability[:, :1].expand(shape))
    return torch.stack([torch.rand(shape) * present, torch.rand(shape) * present], dim=-1).flatten(-2)


@mutant("1.5", says="Present values do not lie evenly between 0 and 1")
def second_scaled(self, batch_size, n_correlated_pairs):
    s = (batch_size, self.cfg.n_instances, n_correlated_pairs)
    m = torch.rand(s) < self.feature_probability[:, :1]
    a = torch.rand(s)
    return torch.stack([a, a * torch.rand(s)], -1).mul(m[..., None]).flatten(2)


@mutant("1.5", says="The two features of a pair are not always present together")
def neighbors_chained(self, batch_size, n_correlated_pairs):
    s = (batch_size, self.cfg.n_instances, 2 * n_correlated_pairs)
    m = torch.rand(s) < self.feature_probability[:, :1]
    m[..., 1:] = m[..., :-1].clone()
    return torch.rand(s) * m


@mutant("1.5", says="The pairs are laid out as halves")
def interleaved_wrong(self, batch_size, n_correlated_pairs):
    s = (batch_size, self.cfg.n_instances, n_correlated_pairs)
    m = torch.rand(s) < self.feature_probability[:, :1]
    m = m.repeat(1, 1, 2)
    return torch.rand(m.shape) * m


@variant("1.5")
def numpy_pairs(self, batch_size, n_correlated_pairs):
    rng = np.random.default_rng()
    n = self.cfg.n_instances
    p = self.feature_probability[:, :1].numpy()
    present = rng.random((batch_size, n, n_correlated_pairs)) < p
    values = rng.random((batch_size, n, n_correlated_pairs, 2))
    return torch.from_numpy((values * present[..., None]).reshape(batch_size, n, -1)).float()


@variant("1.5")
def pair_by_pair(self, batch_size, n_correlated_pairs):
    columns = []
    for _ in range(n_correlated_pairs):
        m = torch.rand(batch_size, self.cfg.n_instances) < self.feature_probability[:, 0]
        columns += [torch.rand(m.shape) * m, torch.rand(m.shape) * m]
    return torch.stack(columns, dim=-1)


@mutant("1.5", says="is not read from `self.cfg`")
def as_many_pairs_as_the_model_has(self, batch_size, n_correlated_pairs):
    shape = pairs_shape(self, batch_size, self.cfg.n_correlated_pairs)
    present = (torch.rand(shape) < self.feature_probability[:, :1]).repeat_interleave(2, -1)
    return present * torch.rand(present.shape)


@mutant("1.5", says="is not read from `self.cfg`")
def as_many_features_as_the_model_has(self, batch_size, n_correlated_pairs):
    shape = pairs_shape(self, batch_size, self.cfg.n_features // 2)
    present = (torch.rand(shape) < self.feature_probability[:, :1]).repeat_interleave(2, -1)
    return present * torch.rand(present.shape)
