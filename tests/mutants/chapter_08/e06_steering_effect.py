"""Answers to exercise 8.6: `steering_effect`."""

import torch

from part_utils.deep_models import SteeringEffect
from tests.mutants import equivalent, mutant, variant


def counted(words, prompt):
    new = words[~torch.isin(words, prompt)].unique()
    if len(new) == 0:
        raise ValueError("every word is in the prompt")
    return new


def mass(logits, words):
    return logits.softmax(-1)[..., words].sum(-1)


@mutant("8.6", says="only the first random direction")
def one_direction(logits, steered, random, words, prompt):
    new = counted(words, prompt)
    return mass(logits, new), mass(steered, new), mass(random[:1], new)


@mutant("8.6", says="*logits* are added up")
def raw_logits(logits, steered, random, words, prompt):
    new = counted(words, prompt)
    return tuple(x[..., new].sum(-1) for x in (logits, steered, random))


@mutant("8.6", says="mean of the *logits*")
def mean_logits(logits, steered, random, words, prompt):
    new = counted(words, prompt)
    return tuple(x[..., new].mean(-1) for x in (logits, steered, random))


@mutant("8.6", says="in the prompt count")
def with_the_prompts_words(logits, steered, random, words, prompt):
    counted(words, prompt)
    return tuple(mass(x, words.unique()) for x in (logits, steered, random))


@mutant("8.6", says="counts twice")
def twice(logits, steered, random, words, prompt):
    counted(words, prompt)
    new = words[~torch.isin(words, prompt)]
    return tuple(mass(x, new) for x in (logits, steered, random))


@mutant("8.6", says="averaged over the words")
def averaged(logits, steered, random, words, prompt):
    new = counted(words, prompt)
    return tuple(mass(x, new) / len(new) for x in (logits, steered, random))


@mutant("8.6", says="change is returned")
def changes(logits, steered, random, words, prompt):
    new = counted(words, prompt)
    return mass(logits, new), mass(steered, new) - mass(logits, new), mass(random, new) - mass(logits, new)


@mutant("8.6", says="changed places")
def exchanged(logits, steered, random, words, prompt):
    new = counted(words, prompt)
    return mass(steered, new), mass(logits, new), mass(random, new)


@mutant("8.6", says="their spread is lost")
def mean_of_the_random(logits, steered, random, words, prompt):
    new = counted(words, prompt)
    return mass(logits, new), mass(steered, new), mass(random, new).mean()


@mutant("8.6", says="Raise a ValueError")
def nothing_left(logits, steered, random, words, prompt):
    new = words[~torch.isin(words, prompt)].unique()
    return tuple(mass(x, new) for x in (logits, steered, random))


@mutant("8.6", says="over the random directions")
def softmax_over_the_first_axis(logits, steered, random, words, prompt):
    new = counted(words, prompt)
    return tuple(x.softmax(0)[..., new].sum(-1) for x in (logits, steered, random))


@mutant("8.6", says="2 things; expected 3")
def two_things(logits, steered, random, words, prompt):
    new = counted(words, prompt)
    return mass(logits, new), mass(steered, new)


@mutant("8.6", says="most probable word")
def strongest_word(logits, steered, random, words, prompt):
    new = counted(words, prompt)
    return tuple(x.softmax(-1)[..., new].amax(-1) for x in (logits, steered, random))


@mutant("8.6", says="words of the list alone")
def softmax_of_the_list(logits, steered, random, words, prompt):
    places = torch.isin(words.unique(), counted(words, prompt))
    return tuple(x[..., words.unique()].softmax(-1)[..., places].sum(-1) for x in (logits, steered, random))


@variant("8.6")
def numbers_and_a_list(logits, steered, random, words, prompt):
    new = sorted(set(words.tolist()) - set(prompt.tolist()))
    if not new:
        raise ValueError("every word is in the prompt")
    return {
        "before": float(mass(logits, new)),
        "after": float(mass(steered, new)),
        "by_chance": torch.tensor([float(mass(one, new)) for one in random]),
    }


@variant("8.6")
def a_loop_over_words(logits, steered, random, words, prompt):
    new = {int(word) for word in words if word not in prompt}
    if len(new) == 0:
        raise ValueError("nothing is left")

    def of(row):
        shares = torch.exp(row - torch.logsumexp(row, 0))
        return sum((shares[word] for word in new), torch.zeros(()))

    return [of(logits), of(steered), torch.stack([of(row) for row in random])]


@variant("8.6")
def by_hand(logits, steered, random, words, prompt):
    wanted = torch.zeros_like(logits)
    wanted[words] = 1
    wanted[prompt] = 0
    if not wanted.any():
        raise ValueError("no word is left")
    every = torch.cat([logits[None], steered[None], random]).double()
    shares = (every.exp() * wanted).sum(1) / every.exp().sum(1)
    return shares[0], shares[1], shares[2:]


def _new(words, prompt):
    new = words[~torch.isin(words, prompt)].unique()
    if not len(new):
        raise ValueError("every word is in the prompt")
    return new


def _effect(logits, steered, random, new, mass=mass):
    return SteeringEffect(mass(logits, new), mass(steered, new), mass(random, new))


@mutant("8.6", says="*logits* are added up, not probabilities: take a softmax")
def raw_logits_again(logits, steered, random, words, prompt):
    return _effect(logits, steered, random, _new(words, prompt), lambda x, new: x[..., new].sum(-1))


@mutant("8.6", says="log probabilities are added up")
def log_probabilities(logits, steered, random, words, prompt):
    return _effect(
        logits, steered, random, _new(words, prompt), lambda x, new: x.log_softmax(-1)[..., new].sum(-1)
    )


@mutant("8.6", says="its logarithm is taken")
def log_of_the_sum(logits, steered, random, words, prompt):
    return _effect(logits, steered, random, _new(words, prompt), lambda x, new: mass(x, new).log())


@mutant("8.6", says="probabilities are averaged over the words, not added up")
def mean_of_words(logits, steered, random, words, prompt):
    return _effect(
        logits, steered, random, _new(words, prompt), lambda x, new: x.softmax(-1)[..., new].mean(-1)
    )


@mutant("8.6", says="only the most probable word counts")
def largest_word(logits, steered, random, words, prompt):
    return _effect(
        logits, steered, random, _new(words, prompt), lambda x, new: x.softmax(-1)[..., new].amax(-1)
    )


@mutant("8.6", says="the softmax goes over the words that are counted alone,")
def softmax_over_words(logits, steered, random, words, prompt):
    return _effect(
        logits, steered, random, _new(words, prompt), lambda x, new: x[..., new].softmax(-1).sum(-1)
    )


@mutant("8.6", says="a word that is in the list twice counts twice")
def words_twice(logits, steered, random, words, prompt):
    _new(words, prompt)
    return _effect(logits, steered, random, words[~torch.isin(words, prompt)])


@mutant("8.6", says="words that are in the prompt count, which a model repeats")
def words_of_the_prompt(logits, steered, random, words, prompt):
    _new(words, prompt)
    return _effect(logits, steered, random, words.unique())


@mutant("8.6", says="words that stand at the prompt's beginning or between")
def last_of_the_prompt(logits, steered, random, words, prompt):
    _new(words, prompt)
    return _effect(logits, steered, random, words[~torch.isin(words, prompt[-1:])].unique())


@mutant("8.6", says="only the prompt's first token is left out")
def first_of_the_prompt(logits, steered, random, words, prompt):
    _new(words, prompt)
    return _effect(logits, steered, random, words[~torch.isin(words, prompt[:1])].unique())


@mutant("8.6", says="only words that are in the prompt count")
def only_words_of_the_prompt(logits, steered, random, words, prompt):
    _new(words, prompt)
    return _effect(logits, steered, random, words[torch.isin(words, prompt)].unique())


@mutant("8.6", says="When every word is in the prompt already, nothing is left")
def zero_when_none_is_left(logits, steered, random, words, prompt):
    return _effect(logits, steered, random, words[~torch.isin(words, prompt)].unique())


@mutant("8.6", says="When every word is in the prompt already, your code")
def asserts(logits, steered, random, words, prompt):
    new = words[~torch.isin(words, prompt)].unique()
    assert len(new), "every word is in the prompt"
    return _effect(logits, steered, random, new)


@mutant("8.6", says="When every word is in the prompt already, your code")
def index_error(logits, steered, random, words, prompt):
    new = words[~torch.isin(words, prompt)].unique()
    new[0]
    return _effect(logits, steered, random, new)


@mutant("8.6", says="Your function raises a ValueError although some words are")
def refuses_any(logits, steered, random, words, prompt):
    if torch.isin(words, prompt).any():
        raise ValueError("a word is in the prompt")
    return _effect(logits, steered, random, words.unique())


@mutant("8.6", says="the random directions are averaged: their spread is lost")
def mean_of_chance(logits, steered, random, words, prompt):
    effect = _effect(logits, steered, random, _new(words, prompt))
    return effect._replace(by_chance=effect.by_chance.mean())


@mutant("8.6", says="only the largest of the random directions is returned")
def largest_chance(logits, steered, random, words, prompt):
    effect = _effect(logits, steered, random, _new(words, prompt))
    return effect._replace(by_chance=effect.by_chance.max())


@mutant("8.6", says="index 0 of `random` along `n` is used for all")
def first_chance(logits, steered, random, words, prompt):
    effect = _effect(logits, steered, random, _new(words, prompt))
    return effect._replace(by_chance=effect.by_chance[:1].expand_as(effect.by_chance))


@mutant("8.6", says="the random logits are averaged before the softmax")
def mean_of_random_logits(logits, steered, random, words, prompt):
    effect = _effect(logits, steered, random, _new(words, prompt))
    return effect._replace(by_chance=mass(random.mean(0), _new(words, prompt)).expand(len(random)))


@mutant("8.6", says="the softmax goes over the random directions, not over the")
def softmax_over_directions(logits, steered, random, words, prompt):
    new = _new(words, prompt)
    return _effect(logits, steered, random, new)._replace(by_chance=random.softmax(0)[:, new].sum(-1))


@mutant("8.6", says="the softmax goes over all random directions at once")
def softmax_over_everything(logits, steered, random, words, prompt):
    new = _new(words, prompt)
    by_chance = random.flatten().softmax(0).view_as(random)[:, new].sum(-1)
    return _effect(logits, steered, random, new)._replace(by_chance=by_chance)


@mutant("8.6", says="before and after have changed places")
def swapped(logits, steered, random, words, prompt):
    before, after, by_chance = _effect(logits, steered, random, _new(words, prompt))
    return SteeringEffect(after, before, by_chance)


@mutant("8.6", says="the change is returned, not the probability with steering")
def change(logits, steered, random, words, prompt):
    before, after, by_chance = _effect(logits, steered, random, _new(words, prompt))
    return SteeringEffect(before, after - before, by_chance - before)


@mutant("8.6", says="the ratio to the probability without steering is returned")
def ratio(logits, steered, random, words, prompt):
    before, after, by_chance = _effect(logits, steered, random, _new(words, prompt))
    return SteeringEffect(before, after / before, by_chance / before)


@mutant("8.6", says="the prompt's tokens are left out of the softmax as well")
def prompt_out_of_vocabulary(logits, steered, random, words, prompt):
    new = _new(words, prompt)

    def without_prompt(x, new):
        return mass(x.index_fill(-1, prompt, -torch.inf), new)

    return _effect(logits, steered, random, new, without_prompt)


@mutant("8.6", says="a sigmoid is taken, not a softmax")
def sigmoid(logits, steered, random, words, prompt):
    return _effect(logits, steered, random, _new(words, prompt), lambda x, new: x.sigmoid()[..., new].sum(-1))


@variant("8.6")
def naive_softmax(logits, steered, random, words, prompt):
    return _effect(
        logits,
        steered,
        random,
        _new(words, prompt),
        lambda x, new: x.exp()[..., new].sum(-1) / x.exp().sum(-1),
    )


@mutant("8.6", says="words are treated as independent: 1 minus the product of")
def independent(logits, steered, random, words, prompt):
    return _effect(
        logits,
        steered,
        random,
        _new(words, prompt),
        lambda x, new: 1 - (1 - x.softmax(-1)[..., new]).prod(-1),
    )


@mutant("8.6", says="the share of words that are likely is counted, not their")
def count_of_words(logits, steered, random, words, prompt):
    return _effect(
        logits,
        steered,
        random,
        _new(words, prompt),
        lambda x, new: (x[..., new] > x.mean(-1, keepdim=True)).float().mean(-1),
    )


@mutant("8.6", says="only some of the words count")
def few_words(logits, steered, random, words, prompt):
    return _effect(logits, steered, random, _new(words, prompt)[:3])


@mutant("8.6", says="an axis of size 1 is lost (`squeeze` removes all of")
def squeezed(logits, steered, random, words, prompt):
    effect = _effect(logits, steered, random, _new(words, prompt))
    return effect._replace(by_chance=effect.by_chance.squeeze())


@mutant("8.6", says="each word's own probability is returned, not their sum")
def for_each_word(logits, steered, random, words, prompt):
    new = _new(words, prompt)
    return _effect(logits, steered, random, new, lambda x, new: x.softmax(-1)[..., new])


@mutant("8.6", says="the softmax is taken of the *difference* from the logits")
def softmax_of_difference(logits, steered, random, words, prompt):
    new = _new(words, prompt)
    return SteeringEffect(mass(logits, new), mass(steered - logits, new), mass(random - logits, new))


@mutant("8.6", says="Your function changes `logits` itself (in place). Whoever")
def logits_changed(logits, steered, random, words, prompt):
    for x in (logits, steered, random):
        x -= x.amax(-1, keepdim=True)
    return _effect(logits, steered, random, _new(words, prompt))


@mutant("8.6", says="Your code raised IndexError: index 3 is out of bounds for")
def five_directions(logits, steered, random, words, prompt):
    new = _new(words, prompt)
    return SteeringEffect(
        mass(logits, new), mass(steered, new), torch.stack([mass(random[i], new) for i in range(5)])
    )


@variant("8.6")
def with_sets(logits, steered, random, words, prompt):
    left = sorted(set(words.tolist()) - set(prompt.tolist()))
    if left == []:
        raise ValueError("nothing left")

    def probability(x):
        return sum(torch.exp(x[w] - torch.logsumexp(x, dim=0)) for w in left)

    return SteeringEffect(
        probability(logits), probability(steered), torch.stack([probability(x) for x in random])
    )


@variant("8.6")
def with_a_mask(logits, steered, random, words, prompt):
    mask = torch.zeros(len(logits), dtype=torch.bool)
    mask[words] = True
    mask[prompt] = False
    if not mask.any():
        raise ValueError("every word is in the prompt")
    p = torch.cat([logits[None], steered[None], random]).double().softmax(1) @ mask.double()
    return SteeringEffect(before=p[0].float(), after=p[1].float(), by_chance=p[2:].float())


@variant("8.6")
def logsumexp(logits, steered, random, words, prompt):
    new = _new(words, prompt)
    return SteeringEffect(
        *((x[..., new].logsumexp(-1) - x.logsumexp(-1)).exp() for x in (logits, steered, random))
    )


equivalent(
    "8.6",
    "What is stacked has two axes, of which 1 is the last.",
    "dim=-1: -1 -> 1",
    "dim=-1: -1 -> 1 (2)",
)


@mutant("8.6", says="the prompt's first token is passed over")
def first_token_passed_over(logits, steered, random, words, prompt):
    return _effect(logits, steered, random, _new(words, prompt[1:]))


@mutant("8.6", says="the prompt's last token is passed over")
def last_token_passed_over(logits, steered, random, words, prompt):
    return _effect(logits, steered, random, _new(words, prompt[:-1]))


@mutant("8.6", says="the softmax goes over the runs")
def softmax_over_the_runs(logits, steered, random, words, prompt):
    new = _new(words, prompt)
    before, after, *by_chance = torch.stack([logits, steered, *random]).softmax(0)[:, new].sum(-1)
    return SteeringEffect(before, after, torch.stack(by_chance))


@mutant("8.6", says="the softmax goes over all random directions at once")
def random_directions_together(logits, steered, random, words, prompt):
    new = _new(words, prompt)
    together = random.flatten().softmax(0).view_as(random) * len(random)
    return SteeringEffect(mass(logits, new), mass(steered, new), together[:, new].sum(-1))
