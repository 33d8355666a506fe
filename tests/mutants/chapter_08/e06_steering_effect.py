"""Answers to exercise 8.6: `steering_effect`."""

import torch

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


equivalent(
    "8.6",
    "What is stacked has two axes, of which 1 is the last.",
    "dim=-1: -1 -> 1",
    "dim=-1: -1 -> 1 (2)",
)
