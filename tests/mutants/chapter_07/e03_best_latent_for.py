"""Answers to exercise 7.3: `best_latent_for`."""

import numpy as np
import torch

from tests.mutants import equivalent, mutant, variant


def _f1(fires, labels):
    hits = (fires & labels[:, None]).sum(0)
    return 2 * hits / (fires.sum(0) + labels.sum())


@mutant("7.3", says="largest precision")
def precision(acts, labels):
    fires = acts > 0
    hits = (fires & labels[:, None]).sum(0)
    return int((hits / fires.sum(0)).nan_to_num().argmax())


@mutant("7.3", says="recall")
def recall(acts, labels):
    return int((acts > 0)[labels].sum(0).argmax())


@mutant("7.3", says="never fires")
def dead_one(acts, labels):
    return int(((acts > 0)[labels].sum(0) / (acts > 0).sum(0)).argmax())


@mutant("7.3", says="expected the number of one latent")
def all_scores(acts, labels):
    return _f1(acts > 0, labels)


@mutant("7.3", says="values; expected the number")
def score_for_number(acts, labels):
    return _f1(acts > 0, labels).max()


@variant("7.3")
def as_a_tensor(acts, labels):
    return _f1(acts > 0, labels).argmax()


@variant("7.3")
def one_by_one(acts, labels):
    best, chosen = -1.0, 0
    for latent in range(acts.shape[1]):
        fires = acts[:, latent] > 0
        hits = (fires & labels).sum().item()
        if hits == 0:
            continue
        p, r = hits / fires.sum().item(), hits / labels.sum().item()
        if 2 * p * r / (p + r) > best:
            best, chosen = 2 * p * r / (p + r), latent
    return chosen


@variant("7.3")
def nan_to_num(acts, labels):
    fires = (acts > 0).double()
    hits = (fires * labels[:, None]).sum(0)
    p, r = hits / fires.sum(0), hits / labels.sum()
    return int(torch.nan_to_num(2 * p * r / (p + r)).argmax())


def _f1s(acts, labels):
    fires = acts > 0
    hits = (fires & labels[:, None]).sum(0)
    return 2 * hits / (fires.sum(0) + labels.sum())


@mutant("7.3", says="has the largest difference of mean activations")
def difference_of_mean_activations(acts, labels):
    return int((acts[labels].mean(0) - acts[~labels].mean(0)).argmax())


@mutant("7.3", says="has the largest mean activation on the topic's tokens,")
def strongest_on_the_topic(acts, labels):
    return int(acts[labels].mean(0).argmax())


@mutant("7.3", says="has the largest F1 if strong activations count for more")
def weighted_f1(acts, labels):
    y = labels.to(acts)
    return int((2 * (y @ acts) / (acts.sum(0) + y.sum())).argmax())


@mutant("7.3", says="fires on most of the topic's tokens (recall), however")
def recall_only(acts, labels):
    return int((acts[labels] > 0).float().mean(0).argmax())


@mutant("7.3", says="has the largest precision")
def precision_only(acts, labels):
    fires = acts > 0
    return int(((fires & labels[:, None]).sum(0) / fires.sum(0).clamp_min(1)).argmax())


@mutant("7.3", says="is right most often (accuracy, or hits minus false alarms)")
def accuracy(acts, labels):
    return int(((acts > 0) == labels[:, None]).float().mean(0).argmax())


@mutant("7.3", says="Your function returns latent 1, which never fires there:")
def dead_wins(acts, labels):
    fires = acts > 0
    hits = (fires & labels[:, None]).sum(0)
    precision, recall = hits / fires.sum(0), hits / labels.sum()
    return int((2 * precision * recall / (precision + recall)).argmax())


@mutant("7.3", says="comes first: where an activation of 0 counts as firing,")
def at_least_zero(acts, labels):
    fires = acts >= 0
    hits = (fires & labels[:, None]).sum(0)
    return int((2 * hits / (fires.sum(0) + labels.sum())).argmax())


@mutant("7.3", says="has the largest F1 for the tokens *outside* of the topic")
def of_the_others(acts, labels):
    return int(_f1s(acts, ~labels).argmax())


@mutant("7.3", says="has the largest F1 if its silence counts as a yes")
def silent_on_the_topic(acts, labels):
    return int(_f1s((acts <= 0).float(), labels).argmax())


@mutant("7.3", says="has the largest F1 if its firing or its silence counts as")
def firing_or_silence(acts, labels):
    return int(torch.maximum(_f1s(acts, labels), _f1s((acts <= 0).float(), labels)).argmax())


@mutant("7.3", says="has the largest F1 with a threshold of its own, not 0")
def own_threshold(acts, labels):
    from part_utils.probes import best_thresholds

    return int(best_thresholds(acts, labels).f1.argmax())


@mutant("7.3", says="has the largest F1 above a threshold that is larger than 0")
def above_a_tenth(acts, labels):
    return int(_f1s(acts - 0.1, labels).argmax())


@mutant("7.3", says="has the largest F1 with a threshold of its own, not 0")
def above_own_mean(acts, labels):
    return int(_f1s(acts - acts.mean(0), labels).argmax())


@mutant("7.3", says="has the *smallest* F1")
def worst(acts, labels):
    return int(_f1s(acts, labels).argmin())


@mutant("7.3", says="has the number of the *token* on which most latents fire")
def number_of_a_token(acts, labels):
    return int((acts > 0).sum(1).argmax())


@mutant("7.3", says="stands one place behind the best: the first latent is")
def counted_from_one(acts, labels):
    return int(_f1s(acts, labels).argmax()) + 1


@mutant("7.3", says="Your result is of type float; expected the number of one")
def the_f1(acts, labels):
    return float(_f1s(acts, labels).max())


@mutant("7.3", says="has the largest F1 among the first ten")
def first_ten(acts, labels):
    return int(_f1s(acts[:, :10], labels).argmax())


@mutant("7.3", says="has the largest F1 on the first tokens alone")
def first_hundred_tokens(acts, labels):
    return int(_f1s(acts[:50], labels[:50]).argmax())


@mutant("7.3", says="fires on most of the topic's tokens (recall), however")
def most_hits(acts, labels):
    return int((acts[labels] > 0).sum(0).argmax())


@mutant("7.3", says="among the times that it fires and one more")
def hits_over_fires(acts, labels):
    fires = acts > 0
    return int((2 * (fires & labels[:, None]).sum(0) / (fires.sum(0) + 1)).argmax())


@mutant("7.3", says="has the largest share of hits minus share of false alarms")
def youden(acts, labels):
    fires = (acts > 0).float()
    return int((fires[labels].mean(0) - fires[~labels].mean(0)).argmax())


@mutant("7.3", says="is right most often (accuracy, or hits minus false alarms)")
def correlation(acts, labels):
    x = (acts > 0).double()
    x, y = x - x.mean(0), labels.double() - labels.double().mean()
    return int((y @ x / x.norm(dim=0).clamp_min(1e-9)).argmax())


@mutant("7.3", says="is right most often (accuracy, or hits minus false alarms)")
def hits_minus_false_alarms(acts, labels):
    fires = (acts > 0).float()
    return int((fires[labels].sum(0) - fires[~labels].sum(0)).argmax())


@mutant("7.3", says="Your function changes `acts` itself (in place). Whoever")
def acts_overwritten(acts, labels):
    acts[acts > 0] = 1
    return int(_f1s(acts, labels).argmax())


@mutant("7.3", says="Your result is of type list; expected the number of one")
def sorted_list(acts, labels):
    return _f1s(acts, labels).argsort(descending=True).tolist()


@variant("7.3")
def jaccard(acts, labels):
    fires = acts > 0
    y = labels[:, None]
    return int(((fires & y).sum(0) / (fires | y).sum(0)).argmax())


@variant("7.3")
def one_after_the_other(acts, labels):
    best, number = -1.0, -1
    for latent in range(acts.shape[1]):
        said = acts[:, latent] > 0
        f1 = 2 * int((said & labels).sum()) / (int(said.sum()) + int(labels.sum()))
        if f1 > best:
            best, number = f1, latent
    return number


@variant("7.3")
def harmonic_mean(acts, labels):
    fires = (acts > 0).double()
    y = labels.double()
    precision = (y @ fires / fires.sum(0)).nan_to_num()
    recall = y @ fires / y.sum()
    return (2 * precision * recall / (precision + recall)).nan_to_num().topk(1).indices.item()


@variant("7.3")
def numpy_counts(acts, labels):
    fires, y = acts.numpy() > 0, labels.numpy()
    return int(np.argmax(fires[y].sum(0) / (fires.sum(0) + y.sum())))


equivalent(
    "7.3",
    "a factor for all latents does not change which one is the largest.",
    "2 * hits -> hits",
    "2 * hits: 2 -> 3",
    "2 * hits: 2 -> 1",
)


@mutant("7.3", says="counts are kept in 8 bits")
def counts_in_bytes(acts, labels):
    fires = (acts > 0).byte()
    hits = (labels[:, None] * fires).sum(0, dtype=torch.uint8)
    said = fires.sum(0, dtype=torch.uint8)
    return int((2 * hits.float() / (said.float() + labels.sum())).argmax())


@mutant("7.3", says="with *all* tokens added")
def all_tokens_added(acts, labels):
    fires = (acts > 0).float()
    return int((2 * (labels.float() @ fires) / (fires.sum(0) + len(labels))).argmax())
