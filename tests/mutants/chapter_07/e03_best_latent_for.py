"""Answers to exercise 7.3: `best_latent_for`."""

import torch

from tests.mutants import equivalent, mutant, variant


def _f1(fires, labels):
    hits = (fires & labels[:, None]).sum(0)
    return 2 * hits / (fires.sum(0) + labels.sum())


@mutant("7.3", says="largest mean activation on the topic's tokens")
def strongest(acts, labels):
    return int(acts[labels].mean(0).argmax())


@mutant("7.3", says="difference of mean activations")
def largest_difference(acts, labels):
    return int((acts[labels].mean(0) - acts[~labels].mean(0)).argmax())


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


equivalent(
    "7.3",
    "a factor for all latents does not change which one is the largest.",
    "2 * hits -> hits",
    "2 * hits: 2 -> 3",
    "2 * hits: 2 -> 1",
)
