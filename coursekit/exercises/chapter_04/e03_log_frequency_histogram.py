"""Exercise 4.3: `log_frequency_histogram`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, shape_text
from coursekit.checking.phrases import explained
from coursekit.checking.pictures import side_by_side

if TYPE_CHECKING:
    pass
from coursekit.exercises.chapter_04.scene import concerning, parts_of, scalar


@exercise(
    id="4.3",
    reference="evaluation.log_frequency_histogram",
    difficulty=2,
    importance=3,
    minutes=10,
    points=2,
)
def log_frequency_histogram(check: Check) -> None:
    for latents, n_bins, dead in ((101, 13, 7), (67, 50, 19)):
        rates = _rates_apart_from_edges(check, latents, n_bins, dead)
        _check_histogram(
            check, rates, n_bins, check.call(rates, n_bins), "latents, counted by the power of ten"
        )
    rates = _rates_apart_from_edges(check, 83, 50, 5, always=True)
    _check_histogram(check, rates, 50, check.call(rates), "50 bins where nothing else is said")
    check.leaves_inputs(rates, 7)
    rates = _rates_apart_from_edges(check, 41, 11, 0)
    _check_histogram(check, rates, 11, check.call(rates, 11), "right where no latent is dead")
    with explained(
        {
            "": "If no latent fires your code raises an error. Then there is no smallest and no largest rate: return "
            "counts of zero, and all latents in `n_dead`."
        }
    ):
        counts, _, n_dead = parts_of(check, check.call(torch.zeros(17), 5), ("counts", "edges", "n_dead"))
    with concerning("If no latent fires:"):
        check.equal(
            counts,
            torch.zeros(5),
            "bins",
            "nothing in any bin where all latents are dead",
            {
                "the dead latents are in a bin; they are in none": [17.0 * row for row in torch.eye(5)],
                "there is one bin, or none, whatever `n_bins` is": [torch.zeros(n) for n in (0, 1)],
                "there is a count for every edge, `n_bins + 1`": torch.zeros(6),
            },
            what="`counts`",
        )
        check.equal(scalar(n_dead), torch.tensor(17.0), "", "", what="`n_dead`")
    # Between the smallest rate and the largest there is no room then; where the bins lie is left open.
    rates = torch.zeros(11)
    # So rarely as no text here is long; it fires all the same.
    rates[check.permutation(11)[0]] = 1e-9
    with explained({"": "If a single latent fires your code raises an error."}):
        counts, _, n_dead = parts_of(check, check.call(rates, 5), ("counts", "edges", "n_dead"))
    with concerning("If a single latent fires:"):
        counts = check.tensor(counts, "`counts`").double()
        check.equal(
            counts.sum(),
            torch.tensor(1.0),
            "",
            "",
            {
                "a rate that is small but not zero counts as dead (it is 1e-9 here)": torch.tensor(0.0),
                "a latent on an edge is counted in the bins on both sides of it (here all edges are the same)": [
                    torch.tensor(5.0),
                    torch.tensor(2.0),
                ],
            },
            what="the sum of `counts`",
        )
        check.equal(scalar(n_dead), torch.tensor(10.0), "", "", what="`n_dead`")


def _rates_apart_from_edges(
    check: Check, latents: int, n_bins: int, dead: int, always: bool = False
) -> Tensor:
    """Firing rates of two groups of latents, of which none lies where rounding could put it into the next bin.

    Some latents have the same rate; with `always` one fires on every token.
    """
    while True:
        logs = torch.where(
            check.uniform(latents) < 0.4,
            -4.3 + 0.5 * check.normal(latents),
            -1.6 + 0.3 * check.normal(latents),
        ).clamp(-5.9, -0.1)
        rates = 10**logs
        rates[check.permutation(latents)[:dead]] = 0.0
        order = rates.argsort()[dead:]
        rates[order[10:14]] = rates[order[10]].item()
        if always:
            rates[order[-1]] = 1.0
        exact = rates[rates > 0].double().log10()
        places = (exact - exact.min()) / (exact.max() - exact.min()) * n_bins
        inner = places[(places > 0.01) & (places < n_bins - 0.01)]
        if len(inner) >= len(exact) - 2 and bool(((inner - inner.round()).abs() > 1e-3).all()):
            return rates


def _check_histogram(check: Check, rates: Tensor, n_bins: int, found: Any, claim: str) -> None:
    counts, edges, n_dead = parts_of(check, found, ("counts", "edges", "n_dead"))
    alive, dead = rates[rates > 0].double(), int((rates == 0).sum())
    logs = alive.log10()
    low, high = logs.min().item(), logs.max().item()

    def histogram(values: Tensor, weight: Tensor | None = None, bins: int = n_bins) -> Tensor:
        counted = torch.histogram(values.double(), bins, weight=None if weight is None else weight.double())
        return counted.hist

    expected = histogram(logs)
    counts = check.tensor(counts, "`counts`")
    check.show(lambda: side_by_side(counts, expected, "bins"))
    found_edges = check.tensor(edges, "`edges`").double()
    width = max(high - low, 1e-9)
    if found_edges.ndim != 1 or len(found_edges) < 2 or counts.ndim != 1:
        name, odd = ("counts", counts) if counts.ndim != 1 else ("edges", found_edges)
        raise Mistake(
            f"`{name}` has the shape {shape_text(odd)}; expected one axis, with {n_bins} counts and {n_bins + 1} edges."
        )
    names = {
        "natural logarithms": math.log(10),
        "logarithms to the base 2": math.log2(10),
    }
    for name, factor in names.items():
        # Where the zeros are in a bin as well, only the upper end is in its place.
        if high < -0.05 * width and abs(found_edges[-1].item() - high * factor) < 0.02 * width:
            raise Mistake(
                f"The edges are {name} (from {found_edges[0]:.2f} to {found_edges[-1]:.2f}); expected log10, from "
                f"{low:.2f} to {high:.2f}. At $-3$ there should stand what fires on every thousandth token."
            )
    if dead:
        smallest = -1e9 if not torch.isfinite(found_edges).all() else found_edges.min().item()
        total = counts.double().sum().item()
        # Bins that only begin too low hold no zeros: then less is counted.
        if not (math.isfinite(smallest) and math.isfinite(total)) or abs(total - len(rates)) < 1e-6:
            raise Mistake(
                f"The latents that never fire are in a bin: your bins begin at {_short(smallest)}, but the smallest "
                f"rate above zero has the logarithm {low:.2f}. Set the zeros apart before you take the logarithm."
            )
    check.equal(
        counts,
        expected,
        "bins",
        claim,
        {
            "no logarithm is taken: the bins are of equal width on the plain scale": histogram(alive),
            "each latent counts with its firing rate: these are *tokens*, and each latent should count once": histogram(
                logs, alive
            ),
            "the counts are shares of all latents": expected / len(rates),
            "the counts are shares of the latents that fire": expected / len(alive),
            "the counts are a density (divided by their sum and by the width of a bin)": expected
            / expected.sum()
            / ((high - low) / n_bins),
            "the counts are added up from left to right": expected.cumsum(0),
            "the largest rate is in no bin: the last one has to contain its upper edge": torch.cat(
                [expected[:-1], expected[-1:] - 1]
            ),
            "the smallest rate is in no bin: the first one has to contain its lower edge": torch.cat(
                [expected[:1] - 1, expected[1:]]
            ),
            "the bins run from the largest rate to the smallest": expected.flip(0),
            "`n_bins` is not used, but always 50": histogram(logs, bins=50),
            "there are `n_bins` edges and one bin too few": histogram(logs, bins=n_bins - 1),
            "there is one bin too many": histogram(logs, bins=n_bins + 1),
            "the dead latents are counted in the first bin": torch.cat([expected[:1] + dead, expected[1:]]),
            "the latents' logarithms themselves are returned": logs,
            "the bins reach from the smallest rate to 1, not to the largest": torch.histogram(
                logs, n_bins, range=(low, 0.0)
            ).hist,
            "the smallest rate and the largest are in no bin": torch.cat(
                [expected[:1] - 1, expected[1:-1], expected[-1:] - 1]
            ),
            **{
                f"{small:g} is added to the rates before the logarithm is taken": histogram(
                    (alive + small).log10()
                )
                for small in (1e-6, 1e-5, 1e-4, 1e-3)
            },
            "the logarithm is rounded": lambda: histogram(logs.round()),
            "only bins in which there is something are counted": expected[expected > 0],
            "the logarithm of the counts is taken": (expected + 1).log10(),
            "latents that fire on every token are left out": lambda: histogram(logs[logs < 0]),
            **{
                f"latents with a rate below {limit:g} are left out": lambda limit=limit: histogram(  # type: ignore[misc]
                    logs[alive > limit]
                )
                for limit in (1e-5, 1e-4, 1e-3, 1e-2)
            },
            "latents that have the same rate are counted once": histogram(logs.unique()),
            "the counts are divided by the largest one": expected / expected.max(),
            "the bins hold equally many latents each, and are not of equal width": lambda: (
                torch.histogram(logs, logs.quantile(torch.linspace(0, 1, n_bins + 1, dtype=logs.dtype))).hist
            ),
            _about_edges(found_edges, low, high): lambda: _between(found_edges, logs),
        },
        what="`counts`",
    )
    if found_edges.shape != (n_bins + 1,):
        raise Mistake(
            f"`edges` has the shape {shape_text(found_edges)}; {n_bins} bins have {n_bins + 1} edges, the last one "
            "included."
        )
    if torch.allclose(found_edges, 10 ** torch.linspace(low, high, n_bins + 1).double(), rtol=0.05):
        raise Mistake("The edges are rates; expected their logarithm to the base 10.")
    check.holds(
        torch.allclose(
            found_edges,
            torch.linspace(low, high, n_bins + 1).double(),
            atol=0.02 * width / n_bins + 1e-3,
            rtol=0,
        ),
        "the edges are powers of ten, from the smallest rate to the largest",
        f"The counts are right, but the edges are not: {_about_edges(found_edges, low, high)}. Expected bins of equal "
        f"width from {low:.2f} to {high:.2f}.",
    )
    n_dead = check.tensor(scalar(n_dead), "`n_dead`")
    check.equal(
        n_dead,
        torch.tensor(float(dead)),
        "",
        "latents that never fire are kept apart",
        {
            "the latents that *do* fire are counted": torch.tensor(float(len(alive))),
            "the share of the dead latents is taken, not their number": torch.tensor(dead / len(rates)),
            "all latents are counted": torch.tensor(float(len(rates))),
            "the latents that fire are added to all, and not taken away": torch.tensor(
                float(len(rates) + len(alive))
            ),
            "0 is returned, whatever is dead": torch.tensor(0.0),
        },
        what="`n_dead`",
    )


def _between(edges: Tensor, logs: Tensor) -> Tensor:
    """The counts between the learner's edges, of which the outer ones may be rounded."""
    edges = edges.clone()
    edges[0] -= 1e-6
    edges[-1] += 1e-6
    return torch.histogram(logs, edges).hist


def _about_edges(edges: Tensor, low: float, high: float) -> str:
    """What is wrong with the edges, if the counts are those between them."""
    ends = f"from {_short(edges[0].item())} to {_short(edges[-1].item())}"
    widths = edges.diff()
    if bool(torch.isfinite(edges).all()) and widths.max() > 1.05 * widths.min():
        return (
            f"the bins are not of equal width: the narrowest is {widths.min():.2g} wide, the widest "
            f"{widths.max():.2g}"
        )
    return (
        f"the bins reach {ends}, and not from {low:.2f} to {high:.2f}, the logarithms of the smallest "
        f"rate and the largest"
    )


def _short(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) and abs(value) < 1e8 else "minus infinity"
