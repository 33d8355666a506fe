"""Answers to exercise 6.7: `absorption`."""

import numpy as np
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


def _counts(features, parent, children):
    return (features[..., parent] > 0) & (features[..., list(children)] > 0).any(-1)


def _own(acts, matches, parent):
    return acts.gather(-1, matches[:, parent].expand(len(acts), -1)[..., None])[..., 0]


def _along(acts, similarity, parent):
    return (acts * similarity[:, parent]).sum(-1)


def _share(absorbed, counts):
    return (absorbed & counts).sum(0) / counts.sum(0).clamp_min(1)


@mutant("6.7", says="an input counts only if *all* children are present; one")
def all_children_needed(acts, features, similarity, matches, parent, children):
    counts = (features[..., parent] > 0) & (features[..., list(children)] > 0).all(-1)
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return _share(absorbed, counts)


@mutant("6.7", says="only the first child is looked at")
def first_child_only(acts, features, similarity, matches, parent, children):
    counts = _counts(features, parent, list(children)[:1])
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return _share(absorbed, counts)


@mutant("6.7", says="inputs with the parent *or* a child are counted")
def parent_or_child(acts, features, similarity, matches, parent, children):
    counts = (features[..., parent] > 0) | (features[..., list(children)] > 0).any(-1)
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return _share(absorbed, counts)


@mutant("6.7", says="the mean over the children's shares is taken")
def mean_over_the_children(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    shares = [_share(absorbed, _counts(features, parent, [c])) for c in children]
    return torch.stack(shares).mean(0)


@mutant("6.7", says="it is not asked whether the parent's latent is silent")
def silence_not_asked(acts, features, similarity, matches, parent, children):
    return _share(
        _along(acts, similarity, parent) >= features[..., parent] / 2, _counts(features, parent, children)
    )


@mutant("6.7", says="instance 0's match is used for every instance")
def match_of_instance_0(acts, features, similarity, matches, parent, children):
    absorbed = (acts[..., matches[0, parent]] == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="the latent that is most similar to the parent is taken")
def most_similar_latent(acts, features, similarity, matches, parent, children):
    best = similarity[:, parent].argmax(-1)
    own = acts.gather(-1, best.expand(len(acts), -1)[..., None])[..., 0]
    absorbed = (own == 0) & (_along(acts, similarity, parent) >= features[..., parent] / 2)
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="the child's own latent has to be silent; it is the")
def match_of_the_child(acts, features, similarity, matches, parent, children):
    own = _own(acts, matches, children[0])
    absorbed = (own == 0) & (_along(acts, similarity, parent) >= features[..., parent] / 2)
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="only the one latent that adds most is looked at; all")
def strongest_other_alone(acts, features, similarity, matches, parent, children):
    along = (acts * similarity[:, parent]).amax(-1)
    absorbed = (_own(acts, matches, parent) == 0) & (along >= features[..., parent] / 2)
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="latents that point away from the parent are left out of")
def positive_contributions_only(acts, features, similarity, matches, parent, children):
    along = (acts * similarity[:, parent]).relu().sum(-1)
    absorbed = (_own(acts, matches, parent) == 0) & (along >= features[..., parent] / 2)
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="absolute cosines are taken: what points away from the")
def absolute_cosines(acts, features, similarity, matches, parent, children):
    along = (acts * similarity[:, parent].abs()).sum(-1)
    absorbed = (_own(acts, matches, parent) == 0) & (along >= features[..., parent] / 2)
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="`similarity` is squared")
def squared_cosines(acts, features, similarity, matches, parent, children):
    along = (acts * similarity[:, parent].pow(2)).sum(-1)
    absorbed = (_own(acts, matches, parent) == 0) & (along >= features[..., parent] / 2)
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="only the children's own latents are added up; all others")
def childrens_latents_only(acts, features, similarity, matches, parent, children):
    rows = matches[:, list(children)]
    along = sum(
        acts.gather(-1, rows[:, j].expand(len(acts), -1)[..., None])[..., 0]
        * similarity[:, parent].gather(-1, rows[:, j : j + 1])[:, 0]
        for j in range(rows.shape[1])
    )
    absorbed = (_own(acts, matches, parent) == 0) & (along >= features[..., parent] / 2)
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="the direction of the child is looked at, not that of the")
def similarity_with_the_child(acts, features, similarity, matches, parent, children):
    along = (acts * similarity[:, children[0]]).sum(-1)
    absorbed = (_own(acts, matches, parent) == 0) & (along >= features[..., parent] / 2)
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="instance 0's cosines are used for every instance")
def similarity_of_instance_0(acts, features, similarity, matches, parent, children):
    along = (acts * similarity[0, parent]).sum(-1)
    absorbed = (_own(acts, matches, parent) == 0) & (along >= features[..., parent] / 2)
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="exactly half of the parent's strength is not enough")
def more_than_half(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) > features[..., parent] / 2
    )
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="the others are compared with 0.5, not with half of the")
def a_half_of_one(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (_along(acts, similarity, parent) >= 0.5)
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="the other latents have to add the whole strength; half of")
def all_of_the_strength(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent]
    )
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="a quarter of the parent's strength is enough; half of it")
def a_quarter_of_the_strength(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 4
    )
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="any share of the parent's strength is enough; half of it")
def anything_along(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (_along(acts, similarity, parent) > 0)
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="the others are compared with half of the children's")
def half_of_the_childs_strength(acts, features, similarity, matches, parent, children):
    along = _along(acts, similarity, parent)
    absorbed = (_own(acts, matches, parent) == 0) & (along >= features[..., list(children)].sum(-1) / 2)
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="inputs count as absorbed on which the others add *less*")
def less_than_half(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) < features[..., parent] / 2
    )
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="the parent's latent counts as silent although it fires a")
def nearly_silent(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) < 0.1) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="the parent's latent counts as silent below half of the")
def silent_below_half(acts, features, similarity, matches, parent, children):
    others = _along(acts, similarity, parent)
    absorbed = (_own(acts, matches, parent) < features[..., parent] / 2) & (
        others >= features[..., parent] / 2
    )
    return _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="the share is taken of all inputs")
def share_of_the_batch(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return (absorbed & _counts(features, parent, children)).float().mean(0)


@mutant("6.7", says="absorbed inputs are also counted where the parent and a")
def not_masked_above(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return absorbed.sum(0) / _counts(features, parent, children).sum(0).clamp_min(1)


@mutant("6.7", says="an instance in which no input counts has 1; it should")
def one_where_none_counts(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    counts = _counts(features, parent, children)
    return ((absorbed & counts).sum(0) / counts.sum(0)).nan_to_num(1.0)


@mutant("6.7", says="absorbed inputs are counted; a share is asked for")
def number_of_inputs(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return (absorbed & _counts(features, parent, children)).sum(0)


@mutant("6.7", says="it is the share that is *not* absorbed that is returned")
def one_minus_share(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return 1 - _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="it is a percentage; a share is asked for")
def percent(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return 100 * _share(absorbed, _counts(features, parent, children))


@mutant("6.7", says="all instances are counted together; each has a share of")
def all_instances_together(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    counts = _counts(features, parent, children)
    return ((absorbed & counts).sum() / counts.sum().clamp_min(1)).expand(acts.shape[1])


@mutant("6.7", says="the mean over the instances is taken")
def mean_of_the_instances(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return _share(absorbed, _counts(features, parent, children)).mean()


@mutant("6.7", says="it is said of every input whether it is absorbed; the")
def for_each_input(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return (absorbed & _counts(features, parent, children)).float()


@mutant("6.7", says="feature 0 is taken for the parent, whatever `parent` is")
def parent_is_zero(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, 0) == 0) & (_along(acts, similarity, 0) >= features[..., 0] / 2)
    return _share(absorbed, _counts(features, 0, children))


@mutant("6.7", says="feature 1 is taken for the child, whatever `children` says")
def child_is_one(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return _share(absorbed, _counts(features, parent, [1]))


@mutant("6.7", says="a feature counts as present above 0.5 only; above 0 is")
def present_above_a_half(acts, features, similarity, matches, parent, children):
    counts = (features[..., parent] > 0.5) & (features[..., list(children)] > 0.5).any(-1)
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return _share(absorbed, counts)


@mutant("6.7", says="an axis of size 1 is lost (`squeeze` removes all of")
def squeezed(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return _share(absorbed, _counts(features, parent, children)).squeeze()


@mutant("6.7", says="only the first 2 of `n_instances` are looked at")
def two_instances(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    out = _share(absorbed, _counts(features, parent, children))
    out[2:] = 0
    return out


@mutant("6.7", says="only the first 10 of `batch` are looked at")
def first_ten(acts, features, similarity, matches, parent, children):
    absorbed = (_own(acts, matches, parent) == 0) & (
        _along(acts, similarity, parent) >= features[..., parent] / 2
    )
    return _share(absorbed[:10], _counts(features, parent, children)[:10])


@mutant("6.7", says="the share of the strength that is made up for is")
def childs_strength_as_share(acts, features, similarity, matches, parent, children):
    counts = _counts(features, parent, children)
    ratio = _along(acts, similarity, parent) / features[..., parent].clamp_min(1e-8)
    return torch.where(counts & (_own(acts, matches, parent) == 0), ratio, 0).sum(0) / counts.sum(
        0
    ).clamp_min(1)


@variant("6.7")
def by_loops(acts, features, similarity, matches, parent, children):
    out = []
    for i in range(acts.shape[1]):
        n = hit = 0
        for b in range(acts.shape[0]):
            if features[b, i, parent] > 0 and any(features[b, i, c] > 0 for c in children):
                n += 1
                own = int(matches[i, parent])
                others = sum(
                    float(acts[b, i, j]) * float(similarity[i, parent, j])
                    for j in range(acts.shape[2])
                    if j != own
                )
                hit += bool(acts[b, i, own] == 0 and others >= float(features[b, i, parent]) / 2 - 1e-7)
        out.append(hit / n if n else 0.0)
    return torch.tensor(out)


@variant("6.7")
def own_cleared_first(acts, features, similarity, matches, parent, children):
    index = matches[:, parent].view(1, -1, 1).expand(acts.shape[0], -1, 1)
    others = torch.einsum("bih,ih->bi", acts.scatter(-1, index, 0), similarity[:, parent])
    silent = torch.take_along_dim(acts, index, dim=-1).squeeze(-1) <= 0
    there = (features[..., parent] > 0) & (features[..., list(children)].amax(-1) > 0)
    absorbed = there & silent & (2 * others >= features[..., parent])
    return torch.where(there.any(0), absorbed.sum(0).float() / there.sum(0), torch.zeros(()))


@variant("6.7")
def by_numpy(acts, features, similarity, matches, parent, children):
    a, f, s, m = acts.numpy(), features.numpy(), similarity.numpy(), matches.numpy()
    instances = np.arange(a.shape[1])
    own = a[:, instances, m[:, parent]]
    others = (a * s[:, parent]).sum(-1) - own * s[instances, parent, m[:, parent]]
    there = (f[..., parent] > 0) & np.any(np.stack([f[..., c] > 0 for c in children]), axis=0)
    hit = there & (own == 0) & (others >= 0.5 * f[..., parent])
    return torch.tensor(hit.sum(0) / np.maximum(there.sum(0), 1), dtype=acts.dtype)


@variant("6.7")
def in_double_by_one_hot(acts, features, similarity, matches, parent, children):
    own = torch.nn.functional.one_hot(matches[:, parent].long(), acts.shape[-1]).double()
    a = acts.double()
    silent = ~torch.einsum("bih,ih->bi", (a != 0).double(), own).bool()
    along = torch.einsum("bih,ih,ih->bi", a, similarity[:, parent].double(), 1 - own)
    there = features[..., parent].gt(0) & sum(features[..., c].gt(0).int() for c in children).bool()
    hit = (silent & there & along.ge(features[..., parent].double() / 2 - 1e-9)).double().sum(0)
    return (hit / there.double().sum(0)).nan_to_num(0).float()


equivalent(
    "6.7",
    "both have as many inputs.",
    "len(acts): acts -> features",
)


@mutant("6.7", says="half of all features' strengths")
def half_of_all_features(acts, features, similarity, matches, parent, children):
    counts = (features[..., parent] > 0) & (features[..., list(children)] > 0).any(-1)
    own = acts.gather(-1, matches[:, parent].expand(len(acts), -1)[..., None])[..., 0]
    along = (acts * similarity[:, parent]).sum(-1)
    absorbed = counts & (own == 0) & (along >= features.sum(-1) / 2)
    return absorbed.sum(0) / counts.sum(0).clamp_min(1)


@mutant("6.7", says="changes `acts` itself")
def own_latent_set_to_zero(acts, features, similarity, matches, parent, children):
    counts = (features[..., parent] > 0) & (features[..., list(children)] > 0).any(-1)
    instances = torch.arange(acts.shape[1])
    silent = acts[:, instances, matches[:, parent]] == 0
    acts[:, instances, matches[:, parent]] = 0
    along = (acts * similarity[:, parent]).sum(-1)
    absorbed = counts & silent & (along >= features[..., parent] / 2)
    return absorbed.sum(0) / counts.sum(0).clamp_min(1)
