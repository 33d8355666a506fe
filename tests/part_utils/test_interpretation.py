"""What one latent responds to, does, and is made of: against plain computations on small random models."""

import pytest
import torch
import torch.nn.functional as F
from transformer_lens.model_bridge import TransformerBridge

from part_utils.activations import MLP_HOOK, get_activations
from part_utils.autoencoder import AutoEncoder
from part_utils.interpretation import (
    ablate_feature,
    decompose_activation,
    feature_activations,
    feature_in_neuron_basis,
    feature_logit_effect,
    highest_activating_tokens,
    match_between_autoencoders,
    neuron_in_feature_basis,
)
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from tests.small_language_model import CFG, small_autoencoder


@pytest.fixture(scope="module", params=[1, 2], ids=["one layer", "two layers"])
def model(request: pytest.FixtureRequest) -> TransformerBridge:
    return TransformerBridge.boot_native({**CFG, "n_layers": request.param})


@pytest.fixture
def autoencoder() -> AutoEncoder:
    autoencoder = small_autoencoder(0.1)
    with torch.no_grad():
        autoencoder.W_dec.mul_(torch.rand(2, 23, 1) + 0.5)
    return autoencoder


def all_acts(model: TransformerBridge, tokens: torch.Tensor, autoencoder: AutoEncoder) -> torch.Tensor:
    h = get_activations(tokens, model).flatten(0, 1)
    return autoencoder(h[:, None].expand(-1, 2, -1)).acts.unflatten(0, tokens.shape).detach()


@pytest.mark.parametrize("instance", [0, 1])
def test_highest_activating_tokens(
    model: TransformerBridge, tokens: torch.Tensor, autoencoder: AutoEncoder, instance: int
) -> None:
    acts = all_acts(model, tokens, autoencoder)[:, :, instance, 5]
    values, places = acts.flatten().topk(9)
    expected = torch.stack([places // acts.shape[1], places % acts.shape[1]], dim=-1)
    for batch_rows in (1, 7, 100):
        found = highest_activating_tokens(tokens, model, autoencoder, 5, instance, 9, batch_rows)
        torch.testing.assert_close(found.values, values)
        assert torch.equal(found.indices[found.values > 0], expected[values > 0])
    everything = highest_activating_tokens(tokens[:2], model, autoencoder, 5, k=1000)
    assert len(everything.values) == tokens[:2].numel()


def test_feature_activations(
    model: TransformerBridge, tokens: torch.Tensor, autoencoder: AutoEncoder
) -> None:
    expected = all_acts(model, tokens, autoencoder)[:, :, 1]
    encoder_b = ModelWithAutoencoder(model, autoencoder, instance=1, hook=MLP_HOOK)
    torch.testing.assert_close(feature_activations(tokens, encoder_b, 4, batch_rows=5), expected[..., 4])
    torch.testing.assert_close(feature_activations(tokens, encoder_b, [4, 11]), expected[..., [4, 11]])


def test_ablation_takes_away_one_latent_and_nothing_else(
    model: TransformerBridge, tokens: torch.Tensor, autoencoder: AutoEncoder
) -> None:
    acts = all_acts(model, tokens, autoencoder)[:, :, 1, 5]
    before = autoencoder.W_dec.detach().clone()
    change = ablate_feature(tokens, model, autoencoder, 5, instance=1)
    assert torch.equal(autoencoder.W_dec, before)
    direction = F.normalize(autoencoder.W_dec[1, 5], dim=-1)
    hook = (MLP_HOOK, lambda value, hook: value - acts[..., None] * direction)
    expected = model.run_with_hooks(tokens, return_type="logits", fwd_hooks=[hook]) - model(tokens)
    torch.testing.assert_close(change, expected)
    silent = (acts == 0).cumprod(dim=1).bool()  # until the latent fires for the first time
    assert silent.any()
    assert change[silent].abs().max() < 1e-5
    assert change[acts > 0].abs().amax(dim=-1).min() > 0


def test_logit_effect(model: TransformerBridge, autoencoder: AutoEncoder) -> None:
    found = feature_logit_effect(model, autoencoder, 5, instance=1, k=3)
    direction = F.normalize(autoencoder.W_dec[1, 5], dim=-1)
    torch.testing.assert_close(found.effect, direction @ model.blocks[0].mlp.W_out @ model.W_U)
    order = found.effect.argsort(descending=True)
    assert torch.equal(found.top, order[:3])
    assert torch.equal(found.bottom, order.flip(0)[:3])


def test_neuron_basis(autoencoder: AutoEncoder) -> None:
    found = feature_in_neuron_basis(autoencoder, 5, instance=1)
    assert found.share.sum().item() == pytest.approx(1)
    for count, part in ((found.n_half, 0.5), (found.n_ninety, 0.9)):
        held = found.share.sort(descending=True).values.cumsum(dim=0)
        assert held[count - 1] >= part - 1e-5
        assert count == 1 or held[count - 2] < part
    with torch.no_grad():
        autoencoder.W_dec[0, 0] = torch.tensor([1.0] * 10 + [0.0] * 4)
        autoencoder.W_dec[0, 1] = torch.tensor([0.0] * 13 + [-2.0])
    assert feature_in_neuron_basis(autoencoder, 0)[1:] == (5, 9)
    assert feature_in_neuron_basis(autoencoder, 1)[1:] == (1, 1)


def test_neuron_parts_add_up(
    model: TransformerBridge, tokens: torch.Tensor, autoencoder: AutoEncoder
) -> None:
    output = autoencoder(get_activations(tokens, model).flatten(0, 1)[:, None].expand(-1, 2, -1))
    contributions, bias = neuron_in_feature_basis(output.acts[:, 1], autoencoder, 6, instance=1)
    torch.testing.assert_close(contributions.sum(dim=1) + bias, output.h_reconstructed[:, 1, 6])


def test_decomposition_adds_up(
    model: TransformerBridge, tokens: torch.Tensor, autoencoder: AutoEncoder
) -> None:
    h = get_activations(tokens, model)[3, 4]
    parts = decompose_activation(h, autoencoder, instance=1)
    acts = all_acts(model, tokens, autoencoder)[3, 4, 1]
    assert len(parts.features) == (acts > 0).sum()
    assert acts[parts.features].diff().max() <= 0
    torch.testing.assert_close(parts.contributions.sum(dim=0) + parts.bias + parts.error, h)
    torch.testing.assert_close(parts.contributions.norm(dim=-1), acts[parts.features])
    assert torch.equal(parts.bias, autoencoder.b_dec[1])


def test_matches_undo_a_permutation() -> None:
    generator = torch.Generator().manual_seed(0)
    W_dec, acts = torch.randn(11, 7, generator=generator), torch.rand(50, 11, generator=generator).relu()
    order = torch.randperm(11, generator=generator)
    acts[:, 2] = 0
    found = match_between_autoencoders(W_dec, 3 * W_dec[order], acts, 2 * acts[:, order] + 1)
    expected = order.argsort()
    assert torch.equal(found.by_cosine, expected)
    torch.testing.assert_close(found.cosine, torch.ones(11))
    alive = torch.arange(11) != 2
    assert torch.equal(found.by_correlation[alive], expected[alive])
    torch.testing.assert_close(found.correlation[alive], torch.ones(10))
    assert found.correlation[2] == 0


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7, 1.3, 3.1])
def test_latents_that_never_change_correlate_with_nothing_however_their_mean_is_rounded(value):
    acts = torch.full((53, 1), value)
    found = match_between_autoencoders(torch.ones(1, 3), torch.ones(1, 3), acts, 2 * acts)
    assert found.correlation.tolist() == [0.0]
