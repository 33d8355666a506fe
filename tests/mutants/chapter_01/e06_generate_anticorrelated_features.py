"""Answers to exercise 1.6: `ToyModel.generate_anticorrelated_features`."""

import einops
import torch
import torch.nn.functional as F

from tests.mutants import equivalent, mutant, variant
from tests.mutants.chapter_01.shared import pairs_shape


def _checked(self):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise ValueError("The probability must be 0.5 at most.")
    return p


def _with_values(first, second):
    present = torch.stack([first, second], dim=-1).flatten(-2)
    return torch.where(present, torch.rand(present.shape), 0.0)


@mutant("1.6", says="Both features of a pair are sometimes present")
def independent_features(self, batch_size, n_anticorrelated_pairs):
    shape = pairs_shape(self, batch_size, 2 * n_anticorrelated_pairs)
    return torch.where(torch.rand(shape) < _checked(self), torch.rand(shape), 0.0)


@mutant("1.6", says="half of it")
def marginal_of_the_pair(self, batch_size, n_anticorrelated_pairs):
    shape = pairs_shape(self, batch_size, n_anticorrelated_pairs)
    present = torch.rand(shape) < _checked(self)
    first = torch.rand(shape) < 0.5
    return _with_values(present & first, present & ~first)


@mutant("1.6", says="draws something all the same")
def silent_saturation(self, batch_size, n_anticorrelated_pairs):
    shape = pairs_shape(self, batch_size, n_anticorrelated_pairs)
    present = torch.rand(shape) < 2 * self.feature_probability[:, :1]
    first = torch.rand(shape) < 0.5
    return _with_values(present & first, present & ~first)


@mutant("1.6", says="draws something all the same")
def probability_clamped(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1].clamp(max=0.5)
    draw = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs))
    return _with_values(draw < p, draw > 1 - p)


@mutant("1.6", says="draws something all the same")
def error_only_if_all_are_too_large(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.5).all():
        raise ValueError("p must be 0.5 at most.")
    draw = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs))
    first = draw < p
    return _with_values(first, ~first & (draw > 1 - p))


@mutant("1.6", says="without a message")
def error_without_words(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise ValueError
    draw = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs))
    return _with_values(draw < p, draw > 1 - p)


@mutant("1.6", says="raises `RuntimeError`; expected a ValueError")
def accidental_error(self, batch_size, n_anticorrelated_pairs):
    shape = pairs_shape(self, batch_size, n_anticorrelated_pairs)
    p = self.feature_probability[:, :1].expand(shape[1:]).expand(shape)
    first = torch.bernoulli(p).bool()
    second = torch.bernoulli(p / (1 - p)).bool() & ~first
    return _with_values(first, second)


@mutant("1.6", says="exactly 0.5 your code raises")
def error_at_one_half(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p >= 0.5).any():
        raise ValueError("p must be smaller than 0.5, it is at least 0.5.")
    draw = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs))
    return _with_values(draw < p, draw > 1 - p)


@mutant("1.6", says="cases with both are thrown away")
def both_thrown_away(self, batch_size, n_anticorrelated_pairs):
    shape = pairs_shape(self, batch_size, n_anticorrelated_pairs)
    first, second = (torch.rand(shape) < _checked(self) for _ in range(2))
    return _with_values(first & ~second, second & ~first)


@mutant("1.6", says="only where the first is absent")
def second_only_without_first(self, batch_size, n_anticorrelated_pairs):
    shape = pairs_shape(self, batch_size, n_anticorrelated_pairs)
    first, second = (torch.rand(shape) < _checked(self) for _ in range(2))
    return _with_values(first, second & ~first)


@mutant("1.6", says="one of the two is always present")
def never_both_absent(self, batch_size, n_anticorrelated_pairs):
    first = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs)) < _checked(self)
    return _with_values(first, ~first)


@mutant("1.6", says="laid out as halves")
def excluded_halves(self, batch_size, n_anticorrelated_pairs):
    p = _checked(self)
    draw = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs))
    present = torch.cat([draw < p, draw > 1 - p], dim=-1)
    return torch.where(present, torch.rand(present.shape), 0.0)


@mutant("1.6", says="always present together")
def correlated_by_mistake(self, batch_size, n_anticorrelated_pairs):
    present = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs)) < _checked(self)
    return _with_values(present, present)


@mutant("1.6", says="Different pairs are not independent")
def excluding_pairs_linked(self, batch_size, n_anticorrelated_pairs):
    p = _checked(self)
    draw = torch.rand(pairs_shape(self, batch_size, 1)).expand(-1, -1, n_anticorrelated_pairs)
    return _with_values(draw < p, draw > 1 - p)


@mutant("1.6", says="one draw decides both")
def excluded_with_one_draw(self, batch_size, n_anticorrelated_pairs):
    p = _checked(self)
    draw = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs))
    return torch.stack([draw * (draw < p), (1 - draw) * (draw > 1 - p)], dim=-1).flatten(-2)


@variant("1.6")
def stretches_side_by_side(self, batch_size, n_anticorrelated_pairs):
    p = _checked(self)
    draw = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs))
    return _with_values(draw < p, (draw >= p) & (draw < 2 * p))


@variant("1.6")
def pair_then_coin(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if not (p <= 0.5).all():
        raise ValueError("two features that exclude each other cannot both have p > 0.5")
    shape = pairs_shape(self, batch_size, n_anticorrelated_pairs)
    present, heads = torch.rand(shape) < 2 * p, torch.rand(shape) < 0.5
    return _with_values(present & heads, present & ~heads)


@variant("1.6")
def conditional_probability(self, batch_size, n_anticorrelated_pairs):
    if self.feature_probability.max() > 0.5:
        raise ValueError(f"p = {self.feature_probability.max():.2f} is larger than 0.5")
    p = self.feature_probability[:, :1]
    shape = pairs_shape(self, batch_size, n_anticorrelated_pairs)
    first = torch.rand(shape) < p
    second = ~first & (torch.rand(shape) < p / (1 - p))
    features = torch.zeros(batch_size, shape[1], 2 * shape[2], dtype=torch.float64)
    features[:, :, ::2][first] = torch.rand(int(first.sum()), dtype=torch.float64)
    features[:, :, 1::2][second] = torch.rand(int(second.sum()), dtype=torch.float64)
    return features


@variant("1.6")
def three_sided_die(self, batch_size, n_anticorrelated_pairs):
    p = _checked(self)
    die = torch.distributions.Categorical(probs=torch.cat([p, p, 1 - 2 * p], dim=-1))
    faces = die.sample((batch_size, n_anticorrelated_pairs)).transpose(1, 2)
    present = F.one_hot(faces, num_classes=3)[..., :2].flatten(start_dim=-2)
    return present * torch.rand(present.shape)


@variant("1.6")
def scattered_to_one_of_two(self, batch_size, n_anticorrelated_pairs):
    p = _checked(self)
    shape = pairs_shape(self, batch_size, n_anticorrelated_pairs)
    values = torch.rand(shape) * torch.bernoulli((2 * p).expand(shape))
    features = torch.zeros(*shape, 2)
    features.scatter_(-1, torch.randint(2, (*shape, 1)), values.unsqueeze(-1))
    return einops.rearrange(features, "b i pairs two -> b i (pairs two)")


@mutant("1.6", says="Values are used more than once")
def one_value_for_a_row(self, batch_size, n_anticorrelated_pairs):
    if self.feature_probability.max() > 0.5:
        raise ValueError("two features that exclude each other cannot both have p > 0.5")
    draw = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs))
    p = self.feature_probability[:, :1]
    present = torch.stack([draw < p, draw > 1 - p], dim=-1).flatten(-2)
    return torch.where(present, torch.rand(batch_size, 1, 1), 0.0)


@mutant("1.6", says="Rows of the batch share their presence")
def half_a_batch_twice(self, batch_size, n_anticorrelated_pairs):
    if self.feature_probability.max() > 0.5:
        raise ValueError("two features that exclude each other cannot both have p > 0.5")
    draw = torch.rand(pairs_shape(self, -(-batch_size // 2), n_anticorrelated_pairs)).repeat(2, 1, 1)[
        :batch_size
    ]
    p = self.feature_probability[:, :1]
    present = torch.stack([draw < p, draw > 1 - p], dim=-1).flatten(-2)
    return torch.where(present, torch.rand(present.shape), 0.0)


@mutant("1.6", says="raises `AssertionError`; expected a ValueError")
def assert_instead_of_an_error(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    assert (p <= 0.5).all(), "two features that exclude each other cannot both have p > 0.5"
    draw = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs))
    present = torch.stack([draw < p, draw > 1 - p], dim=-1).flatten(-2)
    return torch.where(present, torch.rand(present.shape), 0.0)


equivalent(
    "1.6",
    "the check runs on the CPU, and the statement says nothing of devices",
    "torch.rand(device=p.device) -> torch.rand()",
    "torch.rand(device=p.device) -> torch.rand() (2)",
)
equivalent(
    "1.6",
    "a random number that is exactly the probability comes once in 2^24 draws",
    "draw < p -> draw <= p",
    "draw > 1 - p -> draw >= 1 - p",
)


@mutant("1.6", says="Features are present as often as when the second feature gets a")
def second_only_where_the_first_is_absent(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise ValueError("p must not be larger than 0.5.")
    shape = (batch_size, self.cfg.n_instances, n_anticorrelated_pairs)
    first = torch.rand(shape) < p
    second = ~first & (torch.rand(shape) < p)
    return torch.rand(*shape, 2).mul(torch.stack([first, second], dim=-1)).flatten(2)


@mutant("1.6", says="With a probability of exactly 0.5 your code raises a ValueError")
def one_half_is_refused(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p >= 0.5).any():
        raise ValueError("p must be smaller than 0.5.")
    u = torch.rand(batch_size, self.cfg.n_instances, n_anticorrelated_pairs)
    present = torch.stack([u < p, u > 1 - p], dim=-1)
    return (torch.rand(present.shape) * present).flatten(2)


@mutant("1.6", says="With a probability of 0.7 in one instance your code draws something")
def refused_if_all_are_too_large(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.5).all():
        raise ValueError("p must not be larger than 0.5.")
    u = torch.rand(batch_size, self.cfg.n_instances, n_anticorrelated_pairs)
    present = torch.stack([u < p, (u >= p) & (u < 2 * p)], dim=-1)
    return (torch.rand(present.shape) * present).flatten(2)


@mutant("1.6", says="With a probability of 0.7 in one instance your code draws something")
def refused_if_the_first_is_too_large(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if p[0] > 0.5:
        raise ValueError("p must not be larger than 0.5.")
    u = torch.rand(batch_size, self.cfg.n_instances, n_anticorrelated_pairs)
    present = torch.stack([u < p, (u >= p) & (u < 2 * p)], dim=-1)
    return (torch.rand(present.shape) * present).flatten(2)


@mutant("1.6", says="Different pairs are not independent in their presence")
def which_one_is_shared_by_the_pairs(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise ValueError("p must not be larger than 0.5.")
    shape = (batch_size, self.cfg.n_instances, n_anticorrelated_pairs)
    one = torch.rand(shape) < 2 * p
    which = torch.rand(batch_size, self.cfg.n_instances, 1) < 0.5
    return (torch.rand(*shape, 2) * torch.stack([one & which, one & ~which], dim=-1)).flatten(2)


@mutant("1.6", says="Different pairs and instances are not independent in their presence")
def which_one_alternates(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise ValueError("p must not be larger than 0.5.")
    shape = (batch_size, self.cfg.n_instances, n_anticorrelated_pairs)
    one = torch.rand(shape) < 2 * p
    which = (torch.arange(batch_size) % 2 == 0)[:, None, None]
    return (torch.rand(*shape, 2) * torch.stack([one & which, one & ~which], dim=-1)).flatten(2)


@mutant("1.6", says="With a probability of 0.7 your code raises `AssertionError`")
def asserts(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    assert (p <= 0.5).all(), "p must not be larger than 0.5"
    u = torch.rand(batch_size, self.cfg.n_instances, n_anticorrelated_pairs)
    present = torch.stack([u < p, (u >= p) & (u < 2 * p)], dim=-1)
    return (torch.rand(present.shape) * present).flatten(2)


@mutant("1.6", says="one draw decides both")
def value_of_the_deciding_draw(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise ValueError("p must not be larger than 0.5.")
    u = torch.rand(batch_size, self.cfg.n_instances, n_anticorrelated_pairs)
    return torch.stack([u * (u < p), u * (u > 1 - p)], dim=-1).flatten(2)


@mutant("1.6", says="Different instances are not independent in their presence")
def same_for_all_instances(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise ValueError("p must not be larger than 0.5.")
    u = torch.rand(batch_size, 1, n_anticorrelated_pairs)
    present = torch.stack([u < p, (u >= p) & (u < 2 * p)], dim=-1)
    return (torch.rand(present.shape) * present).flatten(2)


@variant("1.6")
def second_by_its_conditional_probability(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise ValueError("p must not be larger than 0.5.")
    shape = (batch_size, self.cfg.n_instances, n_anticorrelated_pairs)
    first = torch.rand(shape) < p
    second = ~first & (torch.rand(shape) < p / (1 - p))
    return (torch.rand(*shape, 2) * torch.stack([first, second], dim=-1)).flatten(2)


@variant("1.6")
def drawn_as_one_of_three(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, 0]
    if p.max() > 0.5:
        raise ValueError("Two features that exclude each other cannot both have p > 0.5.")
    weights = torch.stack([p, p, 1 - 2 * p], dim=1)
    kind = torch.multinomial(weights, batch_size * n_anticorrelated_pairs, replacement=True)
    kind = kind.reshape(len(p), batch_size, n_anticorrelated_pairs).transpose(0, 1)
    return (torch.rand(*kind.shape, 2) * F.one_hot(kind, 3)[..., :2]).flatten(2)


@mutant("1.6", says="With a probability of 0.7 in one instance your code draws something")
def warns(self, batch_size, n):
    p = self.feature_probability[:, :1].clamp(max=0.5)
    u = torch.rand(batch_size, self.cfg.n_instances, n)
    m = torch.stack([u < p, u > 1 - p], -1)
    return (torch.rand(m.shape) * m).flatten(2)


@mutant("1.6", says="Features are present as often as when p is the probability of the")
def coin_only(self, batch_size, n):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise ValueError("p > 0.5")
    c = torch.rand(batch_size, self.cfg.n_instances, n) < 0.5
    m = torch.rand(batch_size, self.cfg.n_instances, n) < p
    m = torch.stack([m & c, m & ~c], -1)
    return (torch.rand(m.shape) * m).flatten(2)


@mutant("1.6", says="With a probability of 0.7 your code raises `RuntimeError`")
def raises_runtime(self, batch_size, n):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise RuntimeError("p > 0.5")
    u = torch.rand(batch_size, self.cfg.n_instances, n)
    m = torch.stack([u < p, u > 1 - p], -1)
    return (torch.rand(m.shape) * m).flatten(2)


@variant("1.6")
def coin_and_double(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if bool((2 * p > 1).any()):
        raise ValueError(f"p = {p.max().item()} is above 1/2")
    shape = (batch_size, self.cfg.n_instances, n_anticorrelated_pairs)
    one = torch.bernoulli((2 * p).expand(shape))
    which = torch.randint(0, 2, shape)
    return (torch.stack([one * which, one * (1 - which)], -1) * torch.rand(*shape, 2)).flatten(2)


@variant("1.6")
def reuse_of_the_draw(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if p.max() > 0.5:
        raise ValueError("too large")
    u = torch.rand(batch_size, self.cfg.n_instances, n_anticorrelated_pairs, dtype=torch.float64)
    first = torch.where(u < p, u / p, 0)
    second = torch.where((u >= p) & (u < 2 * p), (u - p) / p, 0)
    return einops.rearrange(torch.stack([first, second], -1), "b i n two -> b i (n two)").float()


@mutant("1.6", says="With a probability of 0.52")
def refuses_only_far_above(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.6).any():
        raise ValueError("The probability must be 0.5 at most.")
    draw = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs))
    return _with_values(draw < p, draw > 1 - p)


@mutant("1.6", says="Only a probability above 0.5 is impossible")
def refuses_a_quarter(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (2 * p > 0.5).any():
        raise ValueError("The probability must be 0.5 at most.")
    draw = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs))
    return _with_values(draw < p, draw > 1 - p)


@mutant("1.6", says="of two that come together one is dropped")
def coin_decides_collisions(self, batch_size, n_anticorrelated_pairs):
    p, shape = _checked(self), pairs_shape(self, batch_size, n_anticorrelated_pairs)
    first, second, coin = torch.rand(shape) < p, torch.rand(shape) < p, torch.rand(shape) < 0.5
    return _with_values(first & (~second | coin), second & (~first | ~coin))


@mutant("1.6", says="tossed once for the whole batch")
def one_coin_for_the_batch(self, batch_size, n_anticorrelated_pairs):
    p, shape = _checked(self), pairs_shape(self, batch_size, n_anticorrelated_pairs)
    present, coin = torch.rand(shape) < 2 * p, torch.rand(shape[1:]) < 0.5
    return _with_values(present & coin, present & ~coin)


@mutant("1.6", says="the larger of two")
def the_larger_wins(self, batch_size, n_anticorrelated_pairs):
    p, shape = _checked(self), pairs_shape(self, batch_size, n_anticorrelated_pairs)
    values = torch.rand(*shape, 2)
    largest = values == values.amax(-1, keepdim=True)
    return (values * largest * (torch.rand(shape) < 2 * p)[..., None]).flatten(-2)


@mutant("1.6", says="is not read from `self.cfg`")
def as_many_pairs_as_the_model_has(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise ValueError("p may be 0.5 at most")
    draw = torch.rand(pairs_shape(self, batch_size, self.cfg.n_anticorrelated_pairs))
    present = torch.stack([draw < p, draw > 1 - p], dim=-1).flatten(2)
    return present * torch.rand(present.shape)


@mutant("1.6", says="one draw decides both")
def the_draw_is_the_value(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise ValueError("p may be 0.5 at most")
    draw = torch.rand(pairs_shape(self, batch_size, n_anticorrelated_pairs))
    return torch.stack([draw * (draw < p), draw * (draw > 1 - p)], dim=-1).flatten(2)
