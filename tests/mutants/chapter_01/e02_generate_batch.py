"""Answers to exercise 1.2: `ToyModel.generate_batch`."""

import numpy as np
import torch

from tests.mutants import equivalent, mutant, variant
from tests.mutants.chapter_01.shared import shape_of


@mutant("1.2", says="one draw decides both")
def one_draw_for_both(self, batch_size):
    draw = torch.rand(shape_of(self, batch_size))
    return torch.where(draw < self.feature_probability, draw, 0.0)


@mutant("1.2", says="one draw decides both")
def one_draw_from_above(self, batch_size):
    draw = torch.rand(shape_of(self, batch_size))
    return draw * (draw > 1 - self.feature_probability)


@mutant("1.2", says="multiplied with the probability")
def values_times_probability(self, batch_size):
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability
    return present * torch.rand(shape_of(self, batch_size)) * self.feature_probability


@mutant("1.2", says="exactly 1")
def values_of_one(self, batch_size):
    return (torch.rand(shape_of(self, batch_size)) < self.feature_probability).float()


@mutant("1.2", says="Different features are not independent in their presence")
def mask_shared_over_features(self, batch_size):
    present = torch.rand(batch_size, self.cfg.n_instances, 1) < self.feature_probability
    return present * torch.rand(shape_of(self, batch_size))


@mutant("1.2", says="Different instances are not independent in their presence")
def mask_shared_over_instances(self, batch_size):
    present = torch.rand(batch_size, 1, self.cfg.n_features) < self.feature_probability
    return present * torch.rand(shape_of(self, batch_size))


@mutant("1.2", says="same features are present in every element of the batch")
def mask_shared_over_batch(self, batch_size):
    present = torch.rand(self.cfg.n_instances, self.cfg.n_features) < self.feature_probability
    return present * torch.rand(shape_of(self, batch_size))


@mutant("1.2", says="Different features and instances are not independent")
def one_mask_per_element(self, batch_size):
    present = torch.rand(batch_size, 1, 1) < self.feature_probability
    return torch.where(present, torch.rand(shape_of(self, batch_size)), 0.0)


@mutant("1.2", says="averaged over instances and features")
def mean_probability(self, batch_size):
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability.mean()
    return present * torch.rand(shape_of(self, batch_size))


@mutant("1.2", says="probability of feature 0")
def probability_of_first_feature(self, batch_size):
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability[:, :1]
    return present * torch.rand(shape_of(self, batch_size))


@mutant("1.2", says="probabilities of instance 0")
def probability_of_first_instance(self, batch_size):
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability[0]
    return present * torch.rand(shape_of(self, batch_size))


@mutant("1.2", says="Every feature is 0")
def all_zeros(self, batch_size):
    return torch.zeros(shape_of(self, batch_size))


@mutant("1.2", says="inverted")
def probability_inverted(self, batch_size):
    present = torch.rand(shape_of(self, batch_size)) > self.feature_probability
    return present * torch.rand(shape_of(self, batch_size))


@mutant("1.2", says="probability is not used")
def always_present(self, batch_size):
    return torch.rand(shape_of(self, batch_size))


@mutant("1.2", says="applied twice")
def masked_twice(self, batch_size):
    values = torch.rand(shape_of(self, batch_size))
    for _ in range(2):
        values = values * torch.bernoulli(self.feature_probability.expand(shape_of(self, batch_size)))
    return values


@mutant("1.2", says="values are shared between features")
def values_shared_over_features(self, batch_size):
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability
    return present * torch.rand(batch_size, self.cfg.n_instances, 1)


@mutant("1.2", says="values are shared between instances")
def values_shared_over_instances(self, batch_size):
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability
    return present * torch.rand(batch_size, 1, self.cfg.n_features)


@mutant("1.2", says="the draw for values needs an axis for the batch")
def values_shared_over_batch(self, batch_size):
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability
    return present * torch.rand(self.cfg.n_instances, self.cfg.n_features)


@mutant("1.2", says="below 0")
def normal_values(self, batch_size):
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability
    return present * torch.randn(shape_of(self, batch_size))


@mutant("1.2", says="do not lie evenly")
def squared_values(self, batch_size):
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability
    return present * torch.rand(shape_of(self, batch_size)) ** 2


@mutant("1.2", says="very same batch")
def seeded_inside(self, batch_size):
    torch.manual_seed(0)
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability
    return torch.where(present, torch.rand(shape_of(self, batch_size)), 0.0)


@mutant("1.2", says="instances and features are exchanged")
def axes_exchanged(self, batch_size):
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability
    return (present * torch.rand(shape_of(self, batch_size))).transpose(1, 2)


@mutant("1.2", says="NaN")
def one_draw_divided_by_zero(self, batch_size):
    p = self.feature_probability
    draw = torch.rand(shape_of(self, batch_size))
    return torch.relu(1 - torch.where(p > 0, draw, torch.zeros(())) / p)


@variant("1.2")
def with_where(self, batch_size):
    values, draw = torch.rand((2, *shape_of(self, batch_size)))
    return torch.where(draw <= self.feature_probability, values, torch.zeros_like(values))


@variant("1.2")
def with_bernoulli(self, batch_size):
    values = torch.empty(shape_of(self, batch_size)).uniform_()
    return values * torch.bernoulli(self.feature_probability.unsqueeze(0).expand_as(values))


@variant("1.2")
def multiplied_in_place(self, batch_size):
    batch = torch.rand(shape_of(self, batch_size))
    batch *= torch.rand(shape_of(self, batch_size)) > 1 - self.feature_probability
    return batch


@variant("1.2")
def masked_by_index(self, batch_size):
    batch = torch.rand(shape_of(self, batch_size))
    batch[torch.rand_like(batch) >= self.feature_probability] = 0
    return batch


@variant("1.2")
def one_draw_rescaled(self, batch_size):
    p = self.feature_probability.clamp(min=1e-9)
    return torch.relu(1 - torch.rand(shape_of(self, batch_size)) / p)


@variant("1.2")
def instance_by_instance_with_numpy(self, batch_size):
    p = self.feature_probability.numpy()
    rng = np.random.default_rng(np.random.randint(2**31))
    size = (batch_size, self.cfg.n_features)
    parts = [rng.random(size) * (rng.random(size) < p[i]) for i in range(self.cfg.n_instances)]
    return torch.tensor(np.stack(parts, axis=1))


@variant("1.2")
def with_distributions(self, batch_size):
    present = torch.distributions.Bernoulli(probs=self.feature_probability).sample((batch_size,))
    values = torch.distributions.Uniform(low=0.0, high=1.0).sample(present.shape)
    return present * values


@variant("1.2")
def column_by_column(self, batch_size):
    batch = torch.zeros(self.cfg.n_instances, self.cfg.n_features, batch_size, dtype=torch.float64)
    for i in range(self.cfg.n_instances):
        for f in range(self.cfg.n_features):
            present = torch.rand(batch_size) < self.feature_probability[i, f]
            batch[i, f, present] = torch.rand(int(present.sum()), dtype=torch.float64)
    return batch.permute(2, 0, 1)


@mutant("1.2", says="Rows of the batch share their presence")
def half_a_batch_twice(self, batch_size):
    half = torch.rand(shape_of(self, -(-batch_size // 2)))
    present = torch.cat([half, half])[:batch_size] < self.feature_probability
    return torch.rand(shape_of(self, batch_size)) * present


@mutant("1.2", says="Rows of the batch share their presence")
def presence_shared_by_neighbors(self, batch_size):
    draw = torch.rand(shape_of(self, -(-batch_size // 2))).repeat_interleave(2, dim=0)[:batch_size]
    return torch.rand(shape_of(self, batch_size)) * (draw < self.feature_probability)


@mutant("1.2", says="Values are used more than once")
def values_of_half_a_batch_twice(self, batch_size):
    half = torch.rand(shape_of(self, -(-batch_size // 2)))
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability
    return torch.cat([half, half])[:batch_size] * present


@mutant("1.2", says="Values are used more than once")
def values_from_a_small_table(self, batch_size):
    table = (torch.randperm(1000) + 0.5) / 1000
    values = table[torch.randint(1000, shape_of(self, batch_size))]
    return values * (torch.rand(shape_of(self, batch_size)) < self.feature_probability)


equivalent(
    "1.2",
    "the check runs on the CPU, and the statement says nothing of devices",
    "torch.rand(device=self.b_final.device) -> torch.rand()",
    "torch.rand(device=self.b_final.device) -> torch.rand() (2)",
)
equivalent(
    "1.2",
    "a random number that is exactly the probability comes once in 2^24 draws",
    "torch.rand(shape, device=self.b_final.device) < self.feature_probability -> "
    "torch.rand(shape, device=self.b_final.device) <= self.feature_probability",
)


@mutant("1.2", says="Rows of the batch share their presence")
def half_a_batch_repeated(self, batch_size):
    p = self.feature_probability
    half = (batch_size + 1) // 2
    x = torch.rand(half, *p.shape) * (torch.rand(half, *p.shape) < p)
    return torch.cat([x, x])[:batch_size]


@mutant("1.2", says="Features are present as often as when the probability is averaged")
def mean_probability_of_the_instance(self, batch_size):
    p = self.feature_probability.mean(dim=1, keepdim=True)
    shape = (batch_size, *self.feature_probability.shape)
    return torch.rand(shape) * (torch.rand(shape) < p)


@mutant("1.2", says="Features are present as often as when all instances have the")
def probabilities_of_the_first_instance(self, batch_size):
    shape = (batch_size, *self.feature_probability.shape)
    return torch.rand(shape) * (torch.rand(shape) < self.feature_probability[0])


@mutant("1.2", says="Two calls return the very same batch")
def seeded(self, batch_size):
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size, *self.feature_probability.shape)
    present = torch.rand(shape, generator=generator) < self.feature_probability
    return torch.rand(shape, generator=generator) * present


@mutant("1.2", says="Some values lie above 1")
def scaled_like_dropout(self, batch_size):
    p = self.feature_probability
    shape = (batch_size, *p.shape)
    return torch.rand(shape) * (torch.rand(shape) < p) / p.clamp(min=1e-6)


@mutant("1.2", says="Each feature is present in exactly its share of the rows")
def exactly_the_share_of_every_column(self, batch_size):
    p = self.feature_probability
    shape = (batch_size, *p.shape)
    rank = torch.rand(shape).argsort(dim=0).argsort(dim=0)
    return torch.rand(shape) * (rank < (p * batch_size).round())


@mutant("1.2", says="Rows of the batch share their value")
def mirrored_values(self, batch_size):
    p = self.feature_probability
    u = torch.rand((batch_size + 1) // 2, *p.shape)
    values = torch.cat([u, 1 - u])[:batch_size]
    return values * (torch.rand(batch_size, *p.shape) < p)


@mutant("1.2", says="Present features have only 9 different values")
def tenths(self, batch_size):
    shape = (batch_size, *self.feature_probability.shape)
    return torch.randint(0, 10, shape) / 10 * (torch.rand(shape) < self.feature_probability)


@mutant("1.2", says="Present values do not lie evenly between 0 and 1")
def smaller_of_two(self, batch_size):
    shape = (batch_size, *self.feature_probability.shape)
    values = torch.minimum(torch.rand(shape), torch.rand(shape))
    return values * (torch.rand(shape) < self.feature_probability)


@variant("1.2")
def value_out_of_the_same_draw(self, batch_size):
    p = self.feature_probability
    u = torch.rand(batch_size, *p.shape, device=p.device)
    return torch.where(u < p, u / p, 0)


@variant("1.2")
def numpys_generator(self, batch_size):
    rng = np.random.default_rng()
    shape = (batch_size, *self.feature_probability.shape)
    present = rng.random(shape) < self.feature_probability.numpy()
    return torch.tensor(np.where(present, rng.random(shape), 0), dtype=torch.float32)


@variant("1.2")
def instance_by_instance(self, batch_size):
    return torch.stack(
        [
            torch.rand(batch_size, len(p)) * torch.bernoulli(p.expand(batch_size, -1))
            for p in self.feature_probability
        ],
        dim=1,
    )


@mutant("1.2", says="Very many features have the value 0.5")
def absent_is_one_half(self, batch_size):
    p = self.feature_probability
    x = torch.rand(batch_size, *p.shape)
    x[torch.rand(x.shape) > p] = 0.5
    return x


@mutant("1.2", says="Present values do not lie evenly between 0 and 1")
def values_squared(self, batch_size):
    p = self.feature_probability
    return torch.rand(batch_size, *p.shape) ** 2 * (torch.rand(batch_size, *p.shape) < p)


@mutant("1.2", says="Some values lie above 1")
def value_plus_mask(self, batch_size):
    p = self.feature_probability
    return torch.rand(batch_size, *p.shape) + (torch.rand(batch_size, *p.shape) < p)


@mutant("1.2", says="Features are present as often as when the probability is applied")
def probability_squared(self, batch_size):
    p = self.feature_probability
    return torch.rand(batch_size, *p.shape) * (torch.rand(batch_size, *p.shape) < p**2)


@mutant("1.2", says="No row has more than one feature")
def at_most_one_feature(self, batch_size):
    p = self.feature_probability
    x = torch.rand(batch_size, *p.shape) * (torch.rand(batch_size, *p.shape) < p)
    return torch.where(x == x.amax(-1, keepdim=True), x, 0)


@mutant("1.2", says="The batch is sorted by value")
def sorted_rows(self, batch_size):
    p = self.feature_probability
    x = torch.rand(batch_size, *p.shape) * (torch.rand(batch_size, *p.shape) < p)
    return x.sort(dim=0).values


@variant("1.2")
def torch_distributions(self, batch_size):
    p = self.feature_probability
    return torch.distributions.Bernoulli(p).sample((batch_size,)) * torch.distributions.Uniform(0, 1).sample(
        (batch_size, *p.shape)
    )


@variant("1.2")
def dropout_rescaled(self, batch_size):
    p = self.feature_probability
    values = torch.empty(batch_size, *p.shape).uniform_()
    mask = torch.bernoulli(p.unsqueeze(0).repeat(batch_size, 1, 1))
    return values.masked_fill(mask == 0, 0)


@variant("1.2")
def relu_of_one_draw(self, batch_size):
    p = self.feature_probability
    u = torch.rand(batch_size, *p.shape, dtype=torch.float64)
    return (1 - u / p).clamp(min=0).nan_to_num(0).float()


def _with_draws(self, batch_size, presence, values):
    return torch.where(presence < self.feature_probability, values, 0.0)


@mutant("1.2", says="the same random numbers are used for the values and for the presence")
def value_of_the_row_before(self, batch_size):
    draw = torch.rand(shape_of(self, batch_size))
    return _with_draws(self, batch_size, draw, draw.roll(1, 0))


@mutant("1.2", says="the same random numbers are used for the values and for the presence")
def value_of_the_feature_before(self, batch_size):
    draw = torch.rand(shape_of(self, batch_size))
    return _with_draws(self, batch_size, draw, draw.roll(1, 2))


@mutant("1.2", says="Present values do not lie evenly between 0 and 1")
def weighted_with_importance(self, batch_size):
    shape = shape_of(self, batch_size)
    return self.importance * _with_draws(self, batch_size, torch.rand(shape), torch.rand(shape))


@mutant("1.2", says="In a batch of one a feature is missing")
def first_row_is_empty(self, batch_size):
    shape = shape_of(self, batch_size)
    x = _with_draws(self, batch_size, torch.rand(shape), torch.rand(shape))
    x[0] = 0
    return x


@mutant("1.2", says="No row is empty")
def never_an_empty_row(self, batch_size):
    shape = shape_of(self, batch_size)
    present = torch.rand(shape) < self.feature_probability
    one = torch.nn.functional.one_hot(torch.randint(shape[2], shape[:2]), shape[2]).bool()
    return torch.where(present | (one & ~present.any(-1, keepdim=True)), torch.rand(shape), 0.0)


@mutant("1.2", says="exactly 2 features")
def two_features_in_each_row(self, batch_size):
    shape = shape_of(self, batch_size)
    return (torch.rand(shape).argsort(-1).argsort(-1) < 2) * torch.rand(shape)


@mutant("1.2", says="No row has more than one feature")
def one_feature_at_most(self, batch_size):
    shape = shape_of(self, batch_size)
    x = _with_draws(self, batch_size, torch.rand(shape), torch.rand(shape))
    return x * torch.nn.functional.one_hot(x.argmax(-1), shape[2])


@mutant("1.2", says="all come first")
def present_rows_first(self, batch_size):
    shape = shape_of(self, batch_size)
    place = torch.arange(batch_size)[:, None, None] / batch_size
    return _with_draws(self, batch_size, place.expand(shape), torch.rand(shape))


@mutant("1.2", says="Two calls share their presence")
def presence_is_kept(self, batch_size):
    shape = shape_of(self, batch_size)
    if getattr(self, "draw", torch.zeros(0)).shape != shape:
        self.draw = torch.rand(shape)
    return _with_draws(self, batch_size, self.draw, torch.rand(shape))


@mutant("1.2", says="they lie as a product of two draws")
def product_of_two(self, batch_size):
    shape = shape_of(self, batch_size)
    return _with_draws(self, batch_size, torch.rand(shape), torch.rand(shape) * torch.rand(shape))


@mutant("1.2", says="the draw for values needs an axis for the batch")
def one_value_for_the_batch(self, batch_size):
    shape = shape_of(self, batch_size)
    return _with_draws(self, batch_size, torch.rand(shape), torch.rand(shape[1:]).expand(shape))


@variant("1.2")
def draw_used_again(self, batch_size):
    draw = torch.rand(shape_of(self, batch_size))
    p = self.feature_probability.expand_as(draw)
    return torch.where(draw < p, draw / p, torch.zeros_like(draw))


@mutant("1.2", says="between 0.1 and 1 only")
def never_below_a_tenth(self, batch_size):
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability
    return present * (0.1 + 0.9 * torch.rand(present.shape))


@mutant("1.2", says="between 0 and 0.8 only")
def never_above_four_fifths(self, batch_size):
    present = torch.rand(shape_of(self, batch_size)) < self.feature_probability
    return present * 0.8 * torch.rand(present.shape)
