"""Answers to exercise 8.7: `claim_card`."""

from dataclasses import replace

import torch

from part_utils.claim_card import ClaimCard
from part_utils.hypotheses import score_hypothesis
from tests.mutants import equivalent, mutant, variant


def scores(rule, feature):
    """On the held-out text, and on the one that the rule was made from."""
    return score_hypothesis(rule, feature), score_hypothesis(
        rule, replace(feature, held_out=feature.found_on)
    )


def share_of(direction):
    return float(direction.pow(2).max() / direction.pow(2).sum())


def told(score, f1_found_on, share):
    enough = score.f1 >= 0.5 and score.f1 > score.baseline_f1
    return enough and score.f1 <= f1_found_on + 0.15 and share <= 0.5


def written(effect, share):
    return bool(effect.after > max(effect.before, effect.by_chance.max())) and share <= 0.5


@mutant("8.7", says="scored on the text that it was made from")
def scored_on_the_wrong_text(rule, feature, direction, effect):
    _, score = scores(rule, feature)
    share = share_of(direction)
    return ClaimCard(score, score.f1, share, told(score, score.f1, share), written(effect, share))


@mutant("8.7", says="claims too much: the rule is good on the text that it was made from alone")
def judged_on_the_wrong_text(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    fires = on_found.f1 >= 0.5 and score.f1 <= on_found.f1 + 0.15 and share <= 0.5
    return ClaimCard(score, on_found.f1, share, fires, written(effect, share))


@mutant("8.7", says="it names what it has seen there")
def held_out_words_pass(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    fires = score.f1 >= 0.5 and score.f1 > score.baseline_f1 and share <= 0.5
    return ClaimCard(score, on_found.f1, share, fires, written(effect, share))


@mutant("8.7", says="the latent is its copy")
def copies_pass(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    return ClaimCard(score, on_found.f1, share, told(score, on_found.f1, 0), written(effect, 0))


@mutant("8.7", says="`writes` is True, and claims too much: one neuron")
def copies_write(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    return ClaimCard(score, on_found.f1, share, told(score, on_found.f1, share), written(effect, 0))


@mutant("8.7", says="*absolute* entries")
def absolute_shares(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = float(direction.abs().max() / direction.abs().sum())
    return ClaimCard(score, on_found.f1, share, told(score, on_found.f1, share), written(effect, share))


@mutant("8.7", says="not brought to unit length")
def squares_as_they_are(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = float(direction.pow(2).max())
    return ClaimCard(score, on_found.f1, share, told(score, on_found.f1, share), written(effect, share))


@mutant("8.7", says="a negative entry cannot be the largest")
def largest_positive(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = float(direction.max() ** 2 / direction.pow(2).sum())
    return ClaimCard(score, on_found.f1, share, told(score, on_found.f1, share), written(effect, share))


@mutant("8.7", says="is above that of always saying yes, but below 0.5")
def any_rule_above_the_baseline(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    fires = score.f1 > score.baseline_f1 and score.f1 <= on_found.f1 + 0.15 and share <= 0.5
    return ClaimCard(score, on_found.f1, share, fires, written(effect, share))


@mutant("8.7", says="that of the rule that always says yes")
def without_the_baseline(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    fires = score.f1 >= 0.5 and score.f1 <= on_found.f1 + 0.15 and share <= 0.5
    return ClaimCard(score, on_found.f1, share, fires, written(effect, share))


@mutant("8.7", says="one of the random directions does more")
def above_the_mean_of_chance(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    writes = bool(effect.after > effect.by_chance.mean() and effect.after > effect.before) and share <= 0.5
    return ClaimCard(score, on_found.f1, share, told(score, on_found.f1, share), writes)


@mutant("8.7", says="become *less* likely")
def above_chance_alone(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    writes = bool(effect.after > effect.by_chance.max()) and share <= 0.5
    return ClaimCard(score, on_found.f1, share, told(score, on_found.f1, share), writes)


@mutant("8.7", says="one of the random directions does more")
def without_chance(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    writes = bool(effect.after > effect.before) and share <= 0.5
    return ClaimCard(score, on_found.f1, share, told(score, on_found.f1, share), writes)


@mutant("8.7", says="though everything that it asks for holds")
def twice_as_much_as_chance(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    writes = written(effect, share) and bool(effect.after > 2 * effect.by_chance.max())
    return ClaimCard(score, on_found.f1, share, told(score, on_found.f1, share), writes)


@mutant("8.7", says="it is the F1 on the *held-out* text")
def held_out_twice(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    return ClaimCard(score, score.f1, share, told(score, on_found.f1, share), written(effect, share))


@mutant("8.7", says="threshold is a share of the largest activation in the held-out text")
def texts_exchanged(rule, feature, direction, effect):
    score, _ = scores(rule, feature)
    swapped = replace(feature, found_on=feature.held_out, held_out=feature.found_on)
    on_found = score_hypothesis(rule, swapped)
    share = share_of(direction)
    return ClaimCard(score, on_found.f1, share, told(score, on_found.f1, share), written(effect, share))


@mutant("8.7", says="is one number")
def only_the_f1(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    return score.f1, on_found.f1, share, told(score, on_found.f1, share), written(effect, share)


@mutant("8.7", says="expected 5")
def without_the_claims(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    return score, on_found.f1, share_of(direction)


@mutant("8.7", says="should be True or False")
def a_number_for_the_claim(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    return ClaimCard(score, on_found.f1, share, score.f1 - score.baseline_f1, written(effect, share))


@mutant("8.7", says="should be True or False")
def compared_one_by_one(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    writes = effect.after > effect.by_chance
    return ClaimCard(score, on_found.f1, share, told(score, on_found.f1, share), writes)


@mutant("8.7", says="returns nothing")
def no_return(rule, feature, direction, effect):
    scores(rule, feature)


@mutant("8.7", says="cannot be changed")
def changes_the_feature(rule, feature, direction, effect):
    score = score_hypothesis(rule, feature)
    feature.held_out = feature.found_on
    return ClaimCard(score, score_hypothesis(rule, feature).f1, share_of(direction), True, True)


@variant("8.7")
def tensors_in_a_dictionary(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = (direction / direction.norm()).square().amax()
    return {
        "score": tuple(score),
        "f1_found_on": torch.tensor(on_found.f1),
        "largest_share": share,
        "fires": torch.tensor(told(score, on_found.f1, float(share))),
        "writes": (effect.by_chance < effect.after).all() & (effect.after > effect.before) & (share <= 0.5),
    }


@variant("8.7")
def by_hand(rule, feature, direction, effect):
    level = 0.25 * feature.found_on.acts.max()

    def f1(text):
        fires = text.acts > level
        said = torch.tensor(
            [
                [rule(words[: i + 1], label) for i, label in enumerate(labels)]
                for words, labels in zip(text.words, text.labels, strict=True)
            ]
        )
        hits, claimed, true = int((fires & said).sum()), int(said.sum()), int(fires.sum())
        always = 2 * true / (fires.numel() + true)
        return hits / max(claimed, 1), hits / max(true, 1), 2 * hits / max(claimed + true, 1), always

    held_out, found_on = f1(feature.held_out), f1(feature.found_on)
    share = max(direction.square().tolist()) / sum(direction.square().tolist())
    fires = int(0.5 <= held_out[2] > held_out[3] and held_out[2] - found_on[2] <= 0.15 and share <= 0.5)
    best = max([effect.before.item(), *effect.by_chance.tolist()])
    return [held_out, found_on[2], share, fires, int(effect.after.item() > best and share <= 0.5)]


@mutant("8.7", says="everything that it asks for holds")
def no_luck_allowed(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    fires = told(score, on_found.f1, share) and score.f1 <= on_found.f1
    return ClaimCard(score, on_found.f1, share, fires, written(effect, share))


equivalent(
    "8.7",
    "No score and no share is exactly at its limit.",
    "score.f1 >= ENOUGH -> score.f1 > ENOUGH",
    "largest_share > COPY -> largest_share >= COPY",
    "score.f1 <= f1_found_on + MARGIN -> score.f1 < f1_found_on + MARGIN",
)
