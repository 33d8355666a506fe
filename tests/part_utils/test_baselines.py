"""As many neurons, as many principal components and neuron copies, against their definitions."""

import math

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from part_utils.activations import MLP_HOOK, get_activations
from part_utils.autoencoder import AutoEncoder
from part_utils.baselines import (
    compare_with_baselines,
    keep_components,
    keep_largest_neurons,
    moments,
    neuron_copies,
)
from part_utils.evaluation import evaluate
from tests.small_language_model import small_autoencoder


@pytest.fixture
def autoencoder() -> AutoEncoder:
    return small_autoencoder(-0.4)


@pytest.mark.parametrize("seed", range(5))
def test_farthest_neurons_on_both_sides_of_the_mean(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    acts, mean = torch.randn(4, 3, 9, generator=generator), torch.randn(9, generator=generator)
    for k in (1, 4, 9):
        kept = keep_largest_neurons(acts, mean, k)
        for row, original in zip(kept.flatten(0, 1), acts.flatten(0, 1), strict=True):
            order = sorted(range(9), key=lambda i: -abs(float(original[i] - mean[i])))
            for place, neuron in enumerate(order):
                torch.testing.assert_close(row[neuron], original[neuron] if place < k else mean[neuron])


def test_components_are_what_a_singular_value_decomposition_keeps() -> None:
    torch.manual_seed(0)
    acts = torch.randn(50, 6) @ torch.randn(6, 6) + 3
    mean = acts.mean(dim=0)
    U, S, Vh = torch.linalg.svd(acts - mean, full_matrices=False)
    kept = keep_components(acts, mean, Vh[:2])
    torch.testing.assert_close(kept, mean + U[:, :2] * S[:2] @ Vh[:2], atol=1e-4, rtol=0)
    torch.testing.assert_close(keep_components(acts, mean, Vh), acts, atol=1e-4, rtol=0)


def test_moments_in_parts(model: TransformerBridge, tokens: torch.Tensor) -> None:
    acts = get_activations(tokens, model).flatten(0, 1).double()
    mean, covariance = moments(tokens, model, batch_rows=5)
    torch.testing.assert_close(mean, acts.mean(dim=0))
    torch.testing.assert_close(covariance, torch.cov(acts.mT, correction=0))


def test_a_copy_is_more_than_half_of_the_squared_length(autoencoder: AutoEncoder) -> None:
    with torch.no_grad():
        autoencoder.W_dec.fill_(1.0)
        autoencoder.W_dec[0, 3] = 0
        autoencoder.W_dec[0, 3, 5] = -7.0  # negative, and of another length
        autoencoder.W_dec[1, 4] = 0
        autoencoder.W_dec[1, 4, :2] = torch.tensor([1.0, 1.0])  # half each: no copy
        autoencoder.W_dec[1, 6] = 0
        autoencoder.W_dec[1, 6, :2] = torch.tensor([1.0, 1.1])
    assert neuron_copies(autoencoder).nonzero().tolist() == [[0, 3], [1, 6]]


def test_comparison(model: TransformerBridge, tokens: torch.Tensor, autoencoder: AutoEncoder) -> None:
    with torch.no_grad():
        autoencoder.W_dec[0, 2] = torch.eye(14)[3]
    found = evaluate(tokens, model, autoencoder)
    acts = get_activations(tokens, model)
    mean = acts.mean(dim=(0, 1))
    for i, comparison in enumerate(compare_with_baselines(tokens, model, autoencoder, found, batch_rows=5)):
        assert comparison.k == math.ceil(found.l0[i])
        V = torch.linalg.svd((acts - mean).flatten(0, 1), full_matrices=False).Vh[: comparison.k]
        expected = {
            "neurons": keep_largest_neurons(acts, mean, comparison.k),
            "components": keep_components(acts, mean, V),
        }
        for name, kept in expected.items():
            hook = (MLP_HOOK, lambda value, hook, kept=kept: kept)
            loss = model.run_with_hooks(tokens, return_type="loss", fwd_hooks=[hook]).item()
            baseline = getattr(comparison, name)
            assert baseline.loss == pytest.approx(loss, rel=1e-5)
            fvu = (acts - kept).pow(2).sum() / (acts - mean).pow(2).sum()
            assert baseline.fvu == pytest.approx(fvu.item(), rel=1e-3, abs=1e-6)
            whole = found.loss_mean_ablated - found.loss_clean
            assert baseline.recovered_from_mean * whole == pytest.approx(
                found.loss_mean_ablated - loss, rel=1e-3, abs=1e-5
            )
            whole = found.loss_zero_ablated - found.loss_clean
            assert baseline.recovered * whole == pytest.approx(
                found.loss_zero_ablated - loss, rel=1e-3, abs=1e-5
            )
        assert comparison.gain == pytest.approx(
            found.recovered_from_mean[i] - comparison.neurons.recovered_from_mean
        )
        copies = neuron_copies(autoencoder)[i]
        fires = autoencoder(acts.flatten(0, 1)[:, None].expand(-1, 2, -1)).acts[:, i] > 0
        assert comparison.n_copies == int((fires.any(dim=0) & copies).sum())
        assert comparison.copies_share == pytest.approx((fires[:, copies].sum() / fires.sum()).item())


def test_an_autoencoder_that_never_fires_is_compared_with_one_neuron(
    model: TransformerBridge, tokens: torch.Tensor, autoencoder: AutoEncoder
) -> None:
    with torch.no_grad():
        autoencoder.b_enc.fill_(-1e3)
    found = evaluate(tokens, model, autoencoder)
    for comparison in compare_with_baselines(tokens, model, autoencoder, found):
        assert (comparison.k, comparison.n_copies, comparison.copies_share) == (1, 0, 0)
