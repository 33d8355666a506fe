"""Exercise 5.6: `match_between_autoencoders`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, agree
from coursekit.checking.phrases import unit_rows
from coursekit.exercises.chapter_05.parts import fields, pick, whole_numbers


@exercise(
    id="5.6",
    reference="interpretation.match_between_autoencoders",
    difficulty=3,
    importance=4,
    minutes=15,
    points=3,
)
def match_between_autoencoders(check: Check) -> None:
    for n_a, n_b in ((7, 11), (13, 5)):
        _check_matches(check, *_two_autoencoders(check, n_a, n_b))
    check.holds(True, "right with more latents in A than in B, and with fewer", "")
    # Latents that are often silent, and rows without a direction.
    _check_matches(check, *_two_autoencoders(check, 7, 11, level=0.0))
    _check_zero_rows(check)
    _check_matches(check, *_two_opposites(check))
    _check_matches(check, check.normal(1, 5), check.normal(3, 5), check.uniform(17, 1), check.uniform(17, 3))
    check.holds(True, "right with a single latent in A", "")
    check.leaves_inputs(check.normal(2, 5), check.normal(3, 5), check.uniform(17, 2), check.uniform(17, 3))
    check.holds(True, "a negative correlation is kept where there is no better one", "")


def _check_zero_rows(check: Check) -> None:
    W_dec_a, W_dec_b, acts_a, acts_b = _two_autoencoders(check, 5, 7)
    W_dec_a[1], W_dec_b[2] = 0.0, 0.0
    _, cosine, *_ = fields(
        check, check.call(W_dec_a, W_dec_b, acts_a, acts_b), "by_cosine, cosine, by_correlation, correlation"
    )
    if isinstance(cosine, Tensor) and cosine.is_floating_point() and cosine.isnan().any():
        raise Mistake(
            "`cosine` is NaN where a decoder row is all zeros, in A or in B: it is divided by its length, 0. "
            "Such a row is "
            "similar to nothing: `F.normalize` leaves it at zero, and so does `.clamp_min(1e-8)` on the length."
        )
    _check_matches(check, W_dec_a, W_dec_b, acts_a, acts_b)


def _two_opposites(check: Check, width: int = 6, tokens: int = 31) -> tuple[Tensor, ...]:
    """Two latents of A; each of B's is silent where they fire, and none points where the first one does."""
    strength = check.uniform(tokens, 1)
    acts_a = strength * check.uniform(2, low=0.5, high=2.0) + 0.1 * check.uniform(tokens, 2)
    acts_b = 3.0 - strength * check.uniform(3, low=0.5, high=2.0) + 0.1 * check.uniform(tokens, 3)
    W_dec_a = check.normal(2, width)
    # All of B's point away from the first of A's.
    W_dec_b = 0.2 * check.normal(3, width) - check.uniform(3, 1, low=0.5, high=2.0) * W_dec_a[:1]
    return W_dec_a, W_dec_b, acts_a, acts_b


def _two_autoencoders(
    check: Check, n_a: int, n_b: int, width: int = 6, tokens: int = 53, level: float = 2.0
) -> tuple[Tensor, ...]:
    """Decoders and activations of two autoencoders that share some latents, in another order."""
    shared = min(n_a, n_b) - 2
    W_dec_a, W_dec_b = check.normal(n_a, width), check.normal(n_b, width)
    acts_a, acts_b = check.sparse(tokens, n_a, probability=0.6), check.sparse(tokens, n_b, probability=0.6)
    # Never the same number in both, so that a pairing by number is wrong everywhere.
    places = (torch.arange(shared) + 1 + pick(check, n_b - 1)) % n_b
    W_dec_b[places] = W_dec_a[:shared] + 0.2 * check.normal(shared, width)
    # The activations go along with others than the directions do.
    partners = (places + 1) % n_b
    acts_b[:, partners] = 0.7 * acts_a[:, :shared] + 0.15 * check.uniform(tokens, shared)
    # Decoder rows have any length; activations have levels and strengths of their own. Latent 0 of B is far longer.
    W_dec_a = unit_rows(W_dec_a) * check.uniform(n_a, 1, low=0.3, high=3.0)
    W_dec_b = unit_rows(W_dec_b) * check.uniform(n_b, 1, low=0.3, high=3.0)
    acts_a = acts_a * check.uniform(n_a, low=0.2, high=3.0) + check.uniform(n_a, high=level)
    acts_b = acts_b * check.uniform(n_b, low=0.2, high=3.0) + check.uniform(n_b, high=level)
    # Opposites of the last two of A are in B: a cosine of almost -1 is no match.
    free = [place for place in range(n_b) if place not in places.tolist()]
    W_dec_b[free[0]], W_dec_b[free[1]] = -2 * W_dec_a[-1], -0.5 * W_dec_a[-2]
    free = [place for place in range(n_b) if place not in partners.tolist()]
    acts_b[:, free[0]] = 3.1 - acts_a[:, -1]
    # Two latents of A that go with one of B.
    W_dec_a[shared - 1] = 1.5 * W_dec_a[0] + 0.1 * check.normal(width)
    acts_a[:, shared - 1] = 0.5 * acts_a[:, 0] + 0.05 * check.uniform(tokens)
    # One of A and one of B never fire, and one of A has always the same activation.
    acts_a[:, 2] = 0.0
    acts_a[:, 1] = 0.5
    acts_b[:, free[1]] = 0.0
    # The strength of a latent does not count, however small it is.
    acts_a[:, 0] = 1e-3 * acts_a[:, 0]
    return W_dec_a, W_dec_b, acts_a, acts_b


def _check_matches(check: Check, W_dec_a: Tensor, W_dec_b: Tensor, acts_a: Tensor, acts_b: Tensor) -> None:
    names = "by_cosine, cosine, by_correlation, correlation"
    found = check.call(W_dec_a, W_dec_b, acts_a, acts_b)
    by_cosine, cosine, by_correlation, correlation = fields(check, found, names)
    if (
        isinstance(by_cosine, Tensor)
        and isinstance(cosine, Tensor)
        and by_cosine.is_floating_point() > cosine.is_floating_point()
    ):
        raise Mistake(f"Indices and values are exchanged; expected {names}.")
    cosines = unit_rows(W_dec_a) @ unit_rows(W_dec_b).mT
    centered_a, centered_b = acts_a - acts_a.mean(dim=0), acts_b - acts_b.mean(dim=0)
    correlations = unit_rows(centered_a.mT) @ unit_rows(centered_b.mT).mT
    _check_match(
        check, by_cosine, cosine, cosines, "cosine",
        {
            "the activations are compared (the correlation); here it is the directions": correlations,
            "the activations are compared (the cosine); here it is the directions": unit_rows(acts_a.mT)
            @ unit_rows(acts_b.mT).mT,
            "negative cosines are set to 0": cosines.relu(),
            "the decoder rows are not brought to unit length": W_dec_a @ W_dec_b.mT,
            "only A's rows are brought to unit length": unit_rows(W_dec_a) @ W_dec_b.mT,
            "only B's rows are brought to unit length": W_dec_a @ unit_rows(W_dec_b).mT,
            "the columns of the decoders are brought to unit length instead of the "
            "rows": (W_dec_a / W_dec_a.norm(dim=0))
            @ (W_dec_b / W_dec_b.norm(dim=0)).mT,
            "the mean over all latents is taken away from the decoder rows": unit_rows(W_dec_a - W_dec_a.mean(dim=0))
            @ unit_rows(W_dec_b - W_dec_b.mean(dim=0)).mT,
            "means are taken away from the decoder rows before the cosine": unit_rows(
                W_dec_a - W_dec_a.mean(dim=1, keepdim=True)
            )
            @ unit_rows(W_dec_b - W_dec_b.mean(dim=1, keepdim=True)).mT,
        },
        "finds the most similar direction",
    )  # fmt: skip
    covariance = centered_a.mT @ centered_b / len(acts_a)
    if isinstance(correlation, Tensor) and correlation.isnan().any():
        dead = ", ".join(map(str, correlation.isnan().nonzero().flatten().tolist()[:6]))
        raise Mistake(
            f"`correlation` is NaN for latent {dead} of A: something is divided by a length of 0. A latent that never "
            "changes on these tokens, in A or in B, correlates with nothing: 0."
        )
    counts = len(acts_a)
    deviations = [acts.std(dim=0, correction=0) for acts in (acts_a, acts_b)]
    ranks_a, ranks_b = (x.argsort(dim=0).argsort(dim=0).float() for x in (acts_a, acts_b))
    _check_match(
        check, by_correlation, correlation, correlations, "correlation",
        {
            "negative correlations are set to 0": correlations.relu(),
            "the means are not taken away: this is the cosine of the "
            "activations": unit_rows(acts_a.mT) @ unit_rows(acts_b.mT).mT,
            "only A's means are taken away and the lengths are those "
            "before": unit_rows(centered_a.mT) @ unit_rows(acts_b.mT).mT,
            "only B's means are taken away": unit_rows(acts_a.mT) @ unit_rows(centered_b.mT).mT,
            "each token's mean over the latents is taken away instead of each latent's over the tokens": unit_rows(
                (acts_a - acts_a.mean(dim=1, keepdim=True)).mT
            )
            @ unit_rows((acts_b - acts_b.mean(dim=1, keepdim=True)).mT).mT,
            "nothing is divided by the standard deviations: this is the covariance": covariance,
            "nothing is divided by the standard deviations (covariance, with the count minus "
            "1)": covariance * counts / (counts - 1),
            "nothing is divided by the standard deviations, and the products are summed": covariance * counts,
            "the products are averaged over all tokens, but `std` divides by the count minus "
            "1": correlations * (counts - 1) / counts,
            "the activations are multiplied as they are": acts_a.mT @ acts_b,
            "the activations are multiplied as they are and averaged": acts_a.mT @ acts_b / counts,
            "the correlation is squared": correlations.square(),
            "the correlation is taken of which tokens it fires on, not of how strongly": _correlation(
                (acts_a > 0).float(), (acts_b > 0).float()
            ),
            **{
                f"only the first {n} tokens are looked at": _correlation(acts_a[:n], acts_b[:n])
                for n in (5, 10, 16, 20, 30, 32, 50)
                if n < len(acts_a)
            },
            **{
                f"{small:g} is added to the standard deviations, which is not small beside all of them": (
                    covariance / ((deviations[0] + small)[:, None] * (deviations[1] + small))
                )
                for small in (1e-4, 1e-3, 1e-2, 0.1, 1.0)
            },
            **{
                f"standard deviations below {small:g} are set to {small:g}, and some latents are as weak": (
                    covariance / (deviations[0].clamp_min(small)[:, None] * deviations[1].clamp_min(small))
                )
                for small in (1e-3, 1e-2, 0.1)
            },
            "one mean over all latents is taken away, instead of each latent's own": unit_rows(
                (acts_a - acts_a.mean()).mT
            )
            @ unit_rows((acts_b - acts_b.mean()).mT).mT,
            "each token is brought to unit length over the latents, instead of each latent over the tokens": unit_rows(
                centered_a
            ).mT
            @ unit_rows(centered_b),
            "it is divided by the variances, not by the standard deviations": covariance
            / (deviations[0].square().clamp_min(1e-8)[:, None] * deviations[1].square().clamp_min(1e-8)),
            "only A's activations are divided by their standard deviation": covariance
            / deviations[0].clamp_min(1e-8)[:, None],
            "only B's activations are divided by their standard deviation": covariance
            / deviations[1].clamp_min(1e-8),
            "only A's activations are brought to unit length": unit_rows(centered_a.mT) @ centered_b,
            "only B's activations are brought to unit length": centered_a.mT @ unit_rows(centered_b.mT).mT,
            **{
                f"{small:g} is added to the lengths, which is not small beside all of them": (
                    (centered_a / (centered_a.norm(dim=0) + small)).mT @ (centered_b / (centered_b.norm(dim=0) + small))
                )
                for small in (1e-3, 1e-2, 0.1, 1.0)
            },
            "only the tokens are looked at on which A's latent fires": torch.stack(
                [_correlation(acts_a[on][:, [i]], acts_b[on])[0] for i, on in enumerate((acts_a > 0).mT)]
            ),
            "only the tokens are looked at on which both latents fire": torch.stack(
                [
                    torch.cat([_correlation(acts_a[on][:, [i]], acts_b[on][:, [j]])[0] for j, on in enumerate(both.mT)])
                    for i, both in enumerate((acts_a > 0).mT[..., None] & (acts_b > 0))
                ]
            ),
            "the products are summed, and not averaged over the tokens": correlations * counts,
            "the products are summed, and not averaged over the tokens, with the count minus 1 in `std`": correlations
            * (counts - 1),
            "the directions are compared once more; what correlates are the activations": cosines,
            "the decoder rows are correlated; here it is the activations": _correlation(W_dec_a.mT, W_dec_b.mT),
            "the ranks of the activations are correlated (Spearman)": _correlation(ranks_a, ranks_b),
        },
        "finds the latent whose activations correlate best, and is 0 for those that never change",
        varies=_varies(acts_a)[:, None] & _varies(acts_b),
    )  # fmt: skip


def _varies(acts: Tensor) -> Tensor:
    return (acts != acts[:1]).any(dim=0)


def _correlation(left: Tensor, right: Tensor) -> Tensor:
    return unit_rows((left - left.mean(dim=0)).mT) @ unit_rows((right - right.mean(dim=0)).mT).mT


def _check_match(
    check: Check,
    by: Any,
    value: Any,
    scores: Tensor,
    name: str,
    wrong: Mapping[str, Tensor],
    claim: str,
    varies: Tensor | None = None,
) -> None:
    """The index and the score of the best latent of B for each of A, up to equal scores.

    Args:
        check: the check.
        by: the indices that were returned.
        value: the scores that were returned.
        scores: of every latent of A with every one of B.
        name: what the scores are.
        wrong: scores that known mistakes lead to.
        claim: what is shown if all is right.
        varies: for which pairs both latents change; a learner may set the others to 0 on their own.
    """
    n_a, n_b = scores.shape
    best = scores.max(dim=1).values
    here = torch.arange(n_a)
    if isinstance(by, Tensor) and by.shape == (n_b,) != (n_a,):
        raise Mistake(
            f"`by_{name}` has one entry for each latent of B, `n_latents_b`; expected one for each "
            f"of A: for every latent "
            "of A, the best of B."
        )
    by = whole_numbers(by, (n_a,), "n_latents_a", f"`by_{name}`")
    if ((by < 0) | (by >= n_b)).any():
        raise Mistake(f"`by_{name}` names latents that B does not have: they are from 0 to {n_b - 1}.")
    chosen = scores[here, by]

    mistakes: dict[str, Any] = {
        "the sign is dropped (`abs`): opposite directions are no match" if name == "cosine" else
        "the sign is dropped (`abs`): a latent that is silent when the other fires is no "
        "match": scores.abs().max(dim=1).values,
        "the least similar latent is taken instead of the most similar": scores.min(dim=1).values,
        "latents with the same number are paired; the order of the latents is arbitrary": scores[here, here % n_b],
        "the mean over all latents of B is returned": scores.mean(dim=1),
        "latents of A are compared with each other": None,
    }  # fmt: skip
    for phrase, matrix in wrong.items():
        mistakes[phrase] = [matrix.max(dim=1).values, matrix.abs().max(dim=1).values]
    mistakes["the best is returned of what was found with `by` numbers that are not the best"] = (
        chosen if not agree(chosen, best) else None
    )
    if agree(chosen, best):
        check.equal(value, best, "n_latents_a", claim, mistakes, what=f"`{name}`")
        return
    # The wrong latents: which idea leads to them?
    same = here.clamp_max(n_b - 1)
    ideas = {
        "latents with the same number are paired; the order of the latents is arbitrary, so search": same,
        "the least similar latent is taken instead of the most similar": scores.argmin(dim=1),
        "the sign is dropped (`abs`): "
        + (
            "opposite directions are no match"
            if name == "cosine"
            else "a latent that is silent when the other fires is no match"
        ): scores.abs().argmax(dim=1),
    }
    clear = best > 1e-6
    for phrase, indices in ideas.items():
        # It has to be this idea that leads to the wrong ones.
        theirs = scores[here, indices][clear]
        differs = not agree(theirs, best[clear])
        has_them = (
            isinstance(value, Tensor) and value.shape == (n_a,) and agree(value[clear].abs(), theirs.abs())
        )
        if differs and has_them and torch.equal(by[clear], indices[clear]):
            raise Mistake(f"`by_{name}` is what comes out when {phrase}.")
    for phrase, matrix in wrong.items():
        # A latent that never changes may be looked after on its own.
        if isinstance(value, Tensor) and value.shape == (n_a,):
            asked = clear if clear.any() else ~clear
            masked = () if varies is None else (torch.where(varies, matrix, 0.0),)
            for scored in (matrix, matrix.abs(), *masked):
                if agree(value[asked], scored.max(dim=1).values[asked]):
                    raise Mistake(f"`{name}` and `by_{name}` are what comes out when {phrase}.")
    # The latents alone say little: other ideas may lead to the same ones. So the scores have to be theirs.
    fitting = [
        phrase
        for phrase, matrix in wrong.items()
        if clear.any() and torch.equal(by[clear], matrix.argmax(dim=1)[clear])
    ]
    if fitting and isinstance(value, Tensor) and value.shape == (n_a,) and agree(value, chosen):
        raise Mistake(f"`by_{name}` is what comes out when {fitting[0]}.")
    if len(by.unique()) == min(n_a, n_b):
        raise Mistake(
            f"`by_{name}` uses each latent of B only once. Two latents of A may have the same "
            f"counterpart: take the best "
            "for each."
        )
    bad = (chosen < best - 1e-5).nonzero().flatten()
    n = int(bad[0])
    raise Mistake(
        f"`by_{name}` is wrong for {len(bad)} of {n_a} latents of A.",
        [
            f"for latent {n} of A expected {int(scores[n].argmax())} ({name} {best[n]:.3f}), got {int(by[n])} "
            f"({chosen[n]:.3f})"
        ],
    )
