"""What the kinds of autoencoders do on toy worlds: shrinkage, absorption, the wrong L0, over many worlds each."""

from collections.abc import Callable

import pytest
import torch

from part_utils.absorption import RECIPE, Absorption, train_on_hierarchy
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.hidden_states import hidden_states
from part_utils.l0_sweep import sweep_l0, true_l0
from part_utils.shrinkage import predicted_shortfall, shrinkage_on
from part_utils.toy_hierarchy import ToyHierarchy
from part_utils.variants import (
    BatchTopKAutoEncoder,
    GatedAutoEncoder,
    JumpReLUAutoEncoder,
    MatryoshkaAutoEncoder,
)

Make = Callable[[AutoEncoderConfig], AutoEncoder]


def loners() -> ToyHierarchy:
    return ToyHierarchy(n_instances=8, n_children=0, n_loners=9, n_hidden=10, parent=0.15, weakest=0.5)


def given_back(make: Make, l1_coeff: float) -> tuple[torch.Tensor, float]:
    """The shrinkage of the features that were found, and their share."""
    world = loners()
    torch.manual_seed(0)
    autoencoder = make(AutoEncoderConfig(8, 10, 10, l1_coeff))
    autoencoder.optimize(world, **RECIPE)
    torch.manual_seed(1)
    kept, found = shrinkage_on(world, autoencoder)
    return kept[found], found.float().mean().item()


@pytest.mark.parametrize("l1_coeff", [0.01, 0.03])
def test_shrinkage_is_the_formula_and_what_b_dec_adds(l1_coeff: float) -> None:
    kept, found = given_back(AutoEncoder, l1_coeff)
    assert found > 0.9
    formula = predicted_shortfall(l1_coeff, 10)
    expected = torch.tensor(1 - formula / 0.75 / (1 - 0.15))
    torch.testing.assert_close(kept.median(), expected, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("make", "l1_coeff"),
    [
        (lambda cfg: BatchTopKAutoEncoder(cfg, 1.5), 0.0),
        (lambda cfg: JumpReLUAutoEncoder(cfg, first_threshold=0.3), 0.01),
        (GatedAutoEncoder, 0.05),
    ],
    ids=["batch_topk", "jumprelu", "gated"],
)
def test_the_cures_give_the_strength_back(make: Make, l1_coeff: float) -> None:
    kept, found = given_back(make, l1_coeff)
    assert found > 0.95
    torch.testing.assert_close(kept.mean(), torch.tensor(1.0), atol=0.02, rtol=0)


def test_a_count_that_costs_too_little_spreads_features_over_latents() -> None:
    world = loners()
    torch.manual_seed(0)
    autoencoder = JumpReLUAutoEncoder(AutoEncoderConfig(8, 10, 10, 0.002), first_threshold=0.3)
    autoencoder.optimize(world, **RECIPE)
    torch.manual_seed(1)
    _, found = shrinkage_on(world, autoencoder)
    acts = autoencoder(hidden_states(world, world.generate_batch(2000))).acts
    assert found.float().mean() < 0.9
    assert autoencoder.threshold.median() < 0.2
    assert (acts > 0).float().sum(dim=-1).mean() > 1.7


def absorbed(result: Absorption) -> int:
    return int((result.absorbed > 0.5).sum())


def trained(make: Make = AutoEncoder, **settings: float) -> Absorption:
    return train_on_hierarchy("", ToyHierarchy(), make, **settings)[0]


def test_l1_absorbs_and_rebuilds_well() -> None:
    result = trained(l1_coeff=0.03)
    assert absorbed(result) >= 11
    assert result.fvu.median() < 0.02
    assert result.recall_alone.mean() > 0.9
    assert result.recall_with_child.mean() < 0.3
    torch.testing.assert_close(
        result.child_row.median(dim=0).values, torch.full((2,), 0.5**0.5), atol=0.03, rtol=0
    )


def test_a_wider_dictionary_absorbs_as_well_and_tied_weights_do_not() -> None:
    assert absorbed(trained(l1_coeff=0.03, n_hidden_ae=8)) >= 13
    assert absorbed(trained(l1_coeff=0.03, tied_weights=True)) <= 6


@pytest.mark.slow
def test_matryoshka_absorbs_little_and_hedges() -> None:
    k = true_l0(ToyHierarchy())
    nested = trained(lambda cfg: MatryoshkaAutoEncoder(cfg, k, (1, 2, 4)))
    assert absorbed(nested) <= 6
    assert nested.parent_row[:, 1].median() > 0.3
    plain = trained(lambda cfg: BatchTopKAutoEncoder(cfg, k))
    assert plain.parent_row[:, 1].median().abs() < 0.05
    assert absorbed(plain) > absorbed(nested)


@pytest.mark.slow
def test_recovery_is_best_at_the_true_l0_and_the_fvu_does_not_say_so() -> None:
    world = ToyHierarchy(8, 3, 6, 12, parent=0.4, child=0.3, loner=0.15)
    half, right, double = sweep_l0(world, (0.5, 1, 2))
    assert right.recovered.mean() > half.recovered.mean() + 0.15
    assert right.recovered.mean() > double.recovered.mean() + 0.15
    assert double.fvu.mean() < 0.1
