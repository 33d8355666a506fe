"""Answers to exercise 6.7: `absorption`."""

import torch

from tests.mutants import equivalent, mutant, variant


def _absorption(acts, features, similarity, matches, parent, children, *, change=""):
    counts = (features[..., parent] > 0) & (features[..., list(children)] > 0).any(-1)
    if change == "parent absent":
        counts = (features[..., list(children)] > 0).any(-1)
    if change == "alone":
        counts = features[..., parent] > 0
    result = torch.zeros(acts.shape[1])
    for i in range(acts.shape[1]):
        own = parent if change == "index" else int(matches[i, parent])
        strength = (acts[:, i] > 0).float() if change == "cosine" else acts[:, i]
        along = strength if change == "no cosine" else strength * similarity[i, parent]
        others = along.sum(-1) - along[:, own]
        explained = others >= features[:, i, parent] / 2
        if change == "unexplained":
            explained = torch.ones_like(explained)
        silent = acts[:, i, own] > 0 if change == "fires" else acts[:, i, own] == 0
        good = counts[:, i] & silent & explained
        below = counts[:, i] & silent if change == "of silent" else counts[:, i]
        if below.any() or change == "nan":
            result[i] = good.sum() / below.sum()
    return result


@mutant("6.7", says="without the parent are counted")
def parent_absent(*args):
    return _absorption(*args, change="parent absent")


@mutant("6.7", says="without a child are counted")
def child_absent(*args):
    return _absorption(*args, change="alone")


@mutant("6.7", says="`matches` says which")
def latent_by_number(*args):
    return _absorption(*args, change="index")


@mutant("6.7", says="cosines alone")
def cosine_alone(*args):
    return _absorption(*args, change="cosine")


@mutant("6.7", says="activations alone")
def no_cosine(*args):
    return _absorption(*args, change="no cosine")


@mutant("6.7", says="every silent parent")
def unexplained(*args):
    return _absorption(*args, change="unexplained")


@mutant("6.7", says="has to be silent")
def fires(*args):
    return _absorption(*args, change="fires")


@mutant("6.7", says="inputs on which the parent's latent is silent")
def share_of_silent(*args):
    return _absorption(*args, change="of silent")


@mutant("6.7", says="NaN")
def not_a_number(*args):
    return _absorption(*args, change="nan")


@variant("6.7")
def loop(*args):
    return _absorption(*args)


@variant("6.7")
def silenced_first(acts, features, similarity, matches, parent, children):
    here = torch.arange(acts.shape[1])
    own = matches[:, parent]
    others = acts.clone()
    others[:, here, own] = 0
    along = torch.einsum("bil,il->bi", others, similarity[:, parent])
    child = torch.zeros(features.shape[:2], dtype=torch.bool)
    for c in children:
        child |= features[:, :, c] > 0
    counts = child & (features[:, :, parent] > 0)
    good = counts & (acts[:, here, own] <= 0) & (2 * along >= features[:, :, parent])
    return torch.nan_to_num(good.sum(0) / counts.sum(0))


equivalent(
    "6.7",
    "both have as many inputs.",
    "len(acts): acts -> features",
)
