"""What chapter 6 says of the frontier, on the points that are in the box."""

import pytest
import torch

from part_utils.frontier import at_equal_l0, load_frontier


def read_at(wanted: float, name: str) -> dict[str, float]:
    """One measure of every kind at an L0."""
    _, points = load_frontier()
    return {
        kind: at_equal_l0(
            torch.tensor([point.l0 for point in points if point.kind == kind]),
            torch.tensor([getattr(point, name) for point in points if point.kind == kind]),
            wanted,
        ).item()
        for kind in dict.fromkeys(point.kind for point in points)
    }


def test_with_eight_latents_three_kinds_rebuild_better_than_eight_neurons() -> None:
    fvu, recovered = read_at(8, "fvu"), read_at(8, "recovered")
    for kind in ("TopK", "BatchTopK", "Matryoshka"):
        assert fvu[kind] < fvu["neurons"] - 0.02
    for kind in ("JumpReLU", "gated"):
        assert fvu[kind] == pytest.approx(fvu["neurons"], abs=0.01)
        assert recovered[kind] < recovered["neurons"] - 0.03
    assert recovered["TopK"] > recovered["neurons"] + 0.05
    assert max(value for kind, value in recovered.items() if kind != "TopK") < recovered["neurons"] + 0.01
    assert fvu["ReLU + L1"] > 1.5 * max(value for kind, value in fvu.items() if kind != "ReLU + L1")


def test_with_sixteen_the_neurons_have_the_lowest_error_and_topk_the_lowest_loss() -> None:
    fvu, recovered = read_at(16, "fvu"), read_at(16, "recovered")
    assert min(fvu, key=lambda kind: fvu[kind]) == "neurons"
    assert max(recovered, key=lambda kind: recovered[kind]) == "TopK"


def test_all_were_trained_alike_and_the_seeds_agree_where_the_text_compares() -> None:
    budget, points = load_frontier()
    assert budget.encoder_scale == 0.1
    near = [point for point in points if 6 < point.l0 < 20 and point.kind != "ReLU + L1" and point.dead < 0.9]
    assert len(near) > 12
    assert max(point.fvu_spread for point in near) < 0.01
