"""Answers to exercise 8.7: `claim_card`."""

from dataclasses import replace

import torch

from part_utils.claim_card import COPY, ENOUGH, MARGIN, ClaimCard
from part_utils.hypotheses import Feature, score_hypothesis
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


def _card(rule, feature, direction, effect, **changes):
    score = score_hypothesis(rule, feature)
    found = score_hypothesis(rule, replace(feature, held_out=feature.found_on)).f1
    squares = direction.double() ** 2
    share = float(squares.max() / squares.sum())
    share = changes.get("share", share)
    found = changes.get("found", found)
    score = changes.get("score", score)
    copy = share > COPY
    fires = score.f1 >= ENOUGH and score.f1 > score.baseline_f1 and score.f1 <= found + MARGIN and not copy
    writes = bool(effect.after > effect.before) and bool((effect.after > effect.by_chance).all()) and not copy
    return ClaimCard(score, found, share, changes.get("fires", fires), changes.get("writes", writes))


def _found(rule, feature):
    return score_hypothesis(rule, replace(feature, held_out=feature.found_on)).f1


@mutant("8.7", says="the rule is scored on the text that it was made from")
def scored_on_found(rule, feature, direction, effect):
    return _card(
        rule,
        feature,
        direction,
        effect,
        score=score_hypothesis(rule, replace(feature, held_out=feature.found_on)),
    )


@mutant("8.7", says="`f1_found_on` is wrong: it is the F1 on the *held-out*")
def found_on_held_out(rule, feature, direction, effect):
    return _card(rule, feature, direction, effect, found=score_hypothesis(rule, feature).f1)


@mutant("8.7", says="`f1_found_on` is wrong: its threshold is a share of the")
def texts_swapped(rule, feature, direction, effect):
    swapped = replace(feature, held_out=feature.found_on, found_on=feature.held_out)
    return _card(rule, feature, direction, effect, found=score_hypothesis(rule, swapped).f1)


@mutant("8.7", says="the rule is scored on the text that it was made from")
def both_swapped(rule, feature, direction, effect):
    own = score_hypothesis(rule, replace(feature, held_out=feature.found_on))
    return _card(rule, feature, direction, effect, score=own, found=score_hypothesis(rule, feature).f1)


@mutant("8.7", says="`score` is wrong: every activation above 0 counts as")
def threshold_0(rule, feature, direction, effect):
    return _card(rule, feature, direction, effect, score=score_hypothesis(rule, feature, 0.0))


@mutant("8.7", says="`f1_found_on` is wrong: every activation above 0 counts")
def threshold_0_found(rule, feature, direction, effect):
    found = score_hypothesis(rule, replace(feature, held_out=feature.found_on), 0.0).f1
    return _card(rule, feature, direction, effect, found=found)


@mutant("8.7", says="`largest_share` is wrong: *absolute* entries are")
def absolute_shares_again(rule, feature, direction, effect):
    return _card(rule, feature, direction, effect, share=float(direction.abs().max() / direction.abs().sum()))


@mutant("8.7", says="`largest_share` is wrong: the direction is not brought to")
def taken_as_unit(rule, feature, direction, effect):
    return _card(rule, feature, direction, effect, share=float(direction.pow(2).max()))


@mutant("8.7", says="`largest_share` is wrong: its entries are not squared.")
def cosine_with_neuron(rule, feature, direction, effect):
    return _card(rule, feature, direction, effect, share=float(direction.abs().max() / direction.norm()))


@mutant("8.7", says="`largest_share` is wrong: a negative entry cannot be the")
def positive_entries(rule, feature, direction, effect):
    return _card(rule, feature, direction, effect, share=float(direction.max() ** 2 / direction.pow(2).sum()))


@mutant("8.7", says="`largest_share` is wrong: it is the share of the first")
def first_neuron(rule, feature, direction, effect):
    return _card(rule, feature, direction, effect, share=float(direction[0] ** 2 / direction.pow(2).sum()))


@mutant("8.7", says="`largest_share` is wrong: it is the number of the neuron,")
def number_of_the_neuron(rule, feature, direction, effect):
    return _card(rule, feature, direction, effect)._replace(largest_share=float(direction.abs().argmax()))


@mutant("8.7", says="`largest_share` is wrong: it is divided by the length,")
def over_length(rule, feature, direction, effect):
    return _card(rule, feature, direction, effect, share=float(direction.pow(2).max() / direction.norm()))


@mutant("8.7", says="it is not asked whether the F1 is at least 0.5")
def enough_not_asked(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    f = c.score.f1
    return c._replace(
        fires=f > c.score.baseline_f1 and f <= c.f1_found_on + MARGIN and c.largest_share <= COPY
    )


@mutant("8.7", says="it is not asked whether the F1 is above that of always")
def baseline_not_asked(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    f = c.score.f1
    return c._replace(fires=f >= ENOUGH and f <= c.f1_found_on + MARGIN and c.largest_share <= COPY)


@mutant("8.7", says="it is not asked whether the rule is better on held-out")
def margin_not_asked(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    f = c.score.f1
    return c._replace(fires=f >= ENOUGH and f > c.score.baseline_f1 and c.largest_share <= COPY)


@mutant("8.7", says="`MARGIN` is asked for the other way round: F1 where the")
def margin_reversed(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    f = c.score.f1
    fires = (
        f >= ENOUGH and f > c.score.baseline_f1 and c.f1_found_on <= f + MARGIN and c.largest_share <= COPY
    )
    return c._replace(fires=fires)


@mutant("8.7", says="the F1 on held-out text may not be the larger one at all:")
def no_margin(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    f = c.score.f1
    fires = f >= ENOUGH and f > c.score.baseline_f1 and f <= c.f1_found_on and c.largest_share <= COPY
    return c._replace(fires=fires)


@mutant("8.7", says="both F1 may not differ by more than `MARGIN`, in either")
def margin_on_both_sides(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    f = c.score.f1
    fires = (
        f >= ENOUGH
        and f > c.score.baseline_f1
        and abs(f - c.f1_found_on) <= MARGIN
        and c.largest_share <= COPY
    )
    return c._replace(fires=fires)


@mutant("8.7", says="it is not asked whether the latent is a copy. `fires` is")
def copy_may_fire(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    f = c.score.f1
    return c._replace(fires=f >= ENOUGH and f > c.score.baseline_f1 and f <= c.f1_found_on + MARGIN)


@mutant("8.7", says="it is not asked whether the latent is a copy. `writes` is")
def copy_may_write(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    return c._replace(
        writes=bool(effect.after > effect.before) and bool((effect.after > effect.by_chance).all())
    )


@mutant("8.7", says="`fires` is False, though everything that it asks for")
def only_copies(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    f, copy = c.score.f1, c.largest_share >= COPY
    fires = f >= ENOUGH and f > c.score.baseline_f1 and f <= c.f1_found_on + MARGIN and copy
    return c._replace(fires=fires, writes=bool((effect.after > effect.by_chance).all()) and copy)


@mutant("8.7", says="the precision is asked for")
def by_precision(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    f = c.score.precision
    fires = (
        f >= ENOUGH and f > c.score.baseline_f1 and f <= c.f1_found_on + MARGIN and c.largest_share <= COPY
    )
    return c._replace(fires=fires)


@mutant("8.7", says="the F1 where the rule was made is compared with `ENOUGH`")
def found_decides(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    fires = c.f1_found_on >= ENOUGH and c.score.f1 > c.score.baseline_f1 and c.largest_share <= COPY
    return c._replace(fires=fires and c.score.f1 <= c.f1_found_on + MARGIN)


@mutant("8.7", says="always saying yes")
def baseline_of_found(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    f, base = c.score.f1, score_hypothesis(rule, replace(feature, held_out=feature.found_on)).baseline_f1
    return c._replace(
        fires=f >= ENOUGH and f > base and f <= c.f1_found_on + MARGIN and c.largest_share <= COPY
    )


@mutant("8.7", says="it is not compared with the random directions. `writes`")
def only_against_before(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    return c._replace(writes=bool(effect.after > effect.before) and c.largest_share <= COPY)


@mutant("8.7", says="it is not asked whether the words become likelier.")
def only_against_random(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    return c._replace(writes=bool((effect.after > effect.by_chance).all()) and c.largest_share <= COPY)


@mutant("8.7", says="it is compared with the mean of the random directions.")
def against_mean_of_random(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    above = effect.after > effect.before and effect.after > effect.by_chance.mean()
    return c._replace(writes=bool(above) and c.largest_share <= COPY)


@mutant("8.7", says="it is compared with the median of the random directions")
def against_median_of_random(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    above = effect.after > effect.before and effect.after > effect.by_chance.median()
    return c._replace(writes=bool(above) and c.largest_share <= COPY)


@mutant("8.7", says="being above one of the random directions is enough.")
def above_any_of_random(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    above = effect.after > effect.before and (effect.after > effect.by_chance).any()
    return c._replace(writes=bool(above) and c.largest_share <= COPY)


@mutant("8.7", says="it is compared with the first random direction. `writes`")
def above_first_random(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    above = effect.after > effect.before and effect.after > effect.by_chance[0]
    return c._replace(writes=bool(above) and c.largest_share <= COPY)


@mutant("8.7", says="as likely as with a random direction is enough. `writes`")
def above_95_percent(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    above = effect.after > effect.before and effect.after > effect.by_chance.quantile(0.9)
    return c._replace(writes=bool(above) and c.largest_share <= COPY)


@mutant("8.7", says="the *change* is compared with the probabilities of random")
def change_against_probability(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    change = effect.after - effect.before
    return c._replace(writes=bool(change > effect.by_chance.max()) and c.largest_share <= COPY)


@mutant("8.7", says="as likely as with a random direction is enough. `writes`")
def as_likely_is_enough(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    above = effect.after >= effect.before and (effect.after >= effect.by_chance).all()
    return c._replace(writes=bool(above) and c.largest_share <= COPY)


@mutant("8.7", says="words that become less likely count as well. `writes` is")
def less_likely_counts(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    change, others = (effect.after - effect.before).abs(), (effect.by_chance - effect.before).abs()
    return c._replace(writes=bool((change > others).all()) and c.largest_share <= COPY)


@mutant("8.7", says="it is only claimed together with `fires`. `writes` is")
def writes_only_if_fires(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    return c._replace(writes=c.writes and c.fires)


@mutant("8.7", says="it is only claimed together with `writes`. `fires` is")
def fires_only_if_writes(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    return c._replace(fires=c.writes and c.fires)


@mutant("8.7", says="the F1 has to be above 0.5, not at least that. `fires` is")
def more_than_enough(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    return c._replace(fires=c.fires and c.score.f1 > ENOUGH)


@mutant("8.7", says="an F1 as good as that of always saying yes is enough")
def as_good_as_always(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    f = c.score.f1
    fires = (
        f >= ENOUGH and f >= c.score.baseline_f1 and f <= c.f1_found_on + MARGIN and c.largest_share <= COPY
    )
    return c._replace(fires=fires)


@mutant("8.7", says="`f1_found_on` is wrong: it is `largest_share`: two fields")
def other_order(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    return ClaimCard(c.score, c.largest_share, c.f1_found_on, c.fires, c.writes)


@mutant("8.7", says="`fires` and `writes` have changed places. `fires` is")
def claims_swapped(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    return c._replace(fires=c.writes, writes=c.fires)


@mutant("8.7", says="`score` should be what `score_hypothesis` returns, with")
def f1_for_score(rule, feature, direction, effect):
    c = _card(rule, feature, direction, effect)
    return c._replace(score=c.score.f1)


@mutant("8.7", says="it is always True. `fires` is True, and claims too much:")
def everything_claimed(rule, feature, direction, effect):
    return _card(rule, feature, direction, effect, fires=True, writes=True)


@mutant("8.7", says="it is always False. `fires` is False, though everything")
def nothing_claimed(rule, feature, direction, effect):
    return _card(rule, feature, direction, effect, fires=False, writes=False)


@mutant("8.7", says="Your function changes `direction` itself (in place).")
def direction_changed(rule, feature, direction, effect):
    direction /= direction.norm()
    return _card(rule, feature, direction, effect)


@variant("8.7")
def sums_of_texts(rule, feature, direction, effect):
    score = score_hypothesis(rule, feature)
    own = Feature(feature.feature_idx, feature.instance, feature.found_on, feature.found_on)
    found = score_hypothesis(rule, own).f1
    unit = torch.nn.functional.normalize(direction, dim=0)
    share = unit.square().max().item()
    is_copy = share > COPY
    fires = all([score.f1 >= ENOUGH, score.f1 > score.baseline_f1, score.f1 - found <= MARGIN, not is_copy])
    writes = not is_copy and all(float(effect.after) > float(x) for x in [effect.before, *effect.by_chance])
    return ClaimCard(score=score, f1_found_on=found, largest_share=share, fires=fires, writes=writes)


@variant("8.7")
def early_return(rule, feature, direction, effect):
    score, found = (
        score_hypothesis(rule, replace(feature, held_out=text))
        for text in (feature.held_out, feature.found_on)
    )
    shares = direction.double().pow(2)
    shares = shares / shares.sum()
    largest = float(shares.topk(1).values)
    if largest > COPY:
        return ClaimCard(score, found.f1, largest, False, False)
    fires = not (score.f1 < ENOUGH or score.f1 <= score.baseline_f1 or score.f1 > found.f1 + MARGIN)
    return ClaimCard(
        score, found.f1, largest, fires, bool(effect.after > max(effect.before, effect.by_chance.max()))
    )


@variant("8.7")
def as_tensors(rule, feature, direction, effect):
    card = _card(rule, feature, direction, effect)
    above = (effect.after > torch.cat([effect.before.view(1), effect.by_chance])).all()
    return card._replace(writes=(above & (card.largest_share <= COPY)).item())


equivalent(
    "8.7",
    "No F1 is exactly `MARGIN` above the other.",
    "score.f1 <= f1_found_on + MARGIN -> score.f1 < f1_found_on + MARGIN",
)


@mutant("8.7", says="a lead of `MARGIN` over chance is asked for")
def margin_over_chance(rule, feature, direction, effect):
    card = _card(rule, feature, direction, effect)
    lead = effect.after > torch.cat([effect.before[None], effect.by_chance]).max() + MARGIN
    return card._replace(writes=bool(lead) and card.writes)


@mutant("8.7", says="that makes the words less likely refutes nothing, however much")
def sizes_of_changes(rule, feature, direction, effect):
    score, on_found = scores(rule, feature)
    share = share_of(direction)
    rise, by_chance = effect.after - effect.before, (effect.by_chance - effect.before).abs().max()
    writes = share <= 0.5 and bool(rise > 0) and bool(rise > by_chance)
    return ClaimCard(score, on_found.f1, share, told(score, on_found.f1, share), writes)
