"""Measures of an autoencoder on a language model, against their definitions."""

import pytest
import torch
import torch.nn.functional as F
from transformer_lens.model_bridge import TransformerBridge

from part_utils.activations import MLP_HOOK, get_activations
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.evaluation import (
    encode,
    evaluate,
    get_feature_probability,
    get_reconstruction_loss,
    get_substitution_loss,
    log_frequency_histogram,
    rare_direction_similarity,
    reconstruction_hook,
    zero_ablation_hook,
)
from part_utils.variants import JumpReLUAutoEncoder
from tests.small_language_model import small_autoencoder


@pytest.fixture
def autoencoder() -> AutoEncoder:
    return small_autoencoder(-0.2)


def test_feature_probability(
    model: TransformerBridge, tokens: torch.Tensor, autoencoder: AutoEncoder
) -> None:
    h = get_activations(tokens, model).flatten(0, 1)
    expected = (autoencoder(h[:, None].expand(-1, 2, -1)).acts > 0).float().mean(dim=0)
    torch.testing.assert_close(get_feature_probability(tokens, model, autoencoder, batch_rows=5), expected)


class DoubledJumpReLU(JumpReLUAutoEncoder):
    """A learner's own kind of latents, made of another kind."""

    def activation(self, pre_acts: torch.Tensor) -> torch.Tensor:
        return 2 * super().activation(pre_acts)


@pytest.mark.parametrize("kind", [JumpReLUAutoEncoder, DoubledJumpReLU])
@pytest.mark.parametrize("latents", [None, [4, 0, 4], torch.tensor([7])])
def test_some_latents_with_thresholds(
    kind: type[JumpReLUAutoEncoder], latents: list[int] | torch.Tensor | None
) -> None:
    generator = torch.Generator().manual_seed(3)
    autoencoder = kind(AutoEncoderConfig(2, 5, 11))
    for parameter in autoencoder.parameters():  # Some thresholds are below zero: no latent may be.
        parameter.data = torch.randn(parameter.shape, generator=generator)
    h = torch.randn(6, 7, 5, generator=generator)
    for instance in range(2):
        acts = autoencoder(h.flatten(0, 1)[:, None].expand(-1, 2, -1)).acts[:, instance]
        assert (acts > 0).any()
        expected = acts if latents is None else acts[:, latents]
        torch.testing.assert_close(encode(h, autoencoder, instance, latents), expected)


def test_histogram_keeps_dead_latents_apart() -> None:
    rates = torch.tensor([0.0, 1e-4, 1e-3, 0.0, 0.9e-2, 1e-2, 0.0])
    counts, edges, n_dead = log_frequency_histogram(rates, n_bins=2)
    assert n_dead == 3
    assert counts.tolist() == [1, 3]
    torch.testing.assert_close(edges, torch.tensor([-4.0, -3.0, -2.0]))
    assert log_frequency_histogram(torch.zeros(5)).counts.sum() == 0


def test_rare_directions() -> None:
    W_dec = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0], [-1.0, 0.0]])
    similarity = rare_direction_similarity(W_dec, torch.tensor([1e-5, 0.0, 0.1, 0.2]))
    torch.testing.assert_close(similarity.rare, torch.tensor([0.5, 0.5]).sqrt())
    torch.testing.assert_close(similarity.all, torch.tensor([0.5**0.5, 0.5**0.5, 1.0, -(0.5**0.5)]))
    with pytest.raises(ValueError, match="No latent fires less often"):
        rare_direction_similarity(W_dec, torch.ones(4))


def test_reconstruction_loss(
    model: TransformerBridge, tokens: torch.Tensor, autoencoder: AutoEncoder
) -> None:
    h = get_activations(tokens, model).flatten(0, 1)
    result = get_reconstruction_loss(tokens, model, autoencoder)
    torch.testing.assert_close(result.mean_squared_activation, h.pow(2).mean())
    rebuilt = autoencoder(h[:, None].expand(-1, 2, -1)).h_reconstructed
    for i in range(2):
        torch.testing.assert_close(result.loss[i], F.mse_loss(rebuilt[:, i], h))
        torch.testing.assert_close(
            result.cosine_similarity[i], F.cosine_similarity(rebuilt[:, i], h, dim=-1).mean()
        )


@pytest.mark.parametrize("instance", [0, 1])
def test_hooks(autoencoder: AutoEncoder, instance: int) -> None:
    value = torch.randn(5, 3, 14)
    before = value.clone()
    replaced = reconstruction_hook(value, None, autoencoder, instance)
    rebuilt = autoencoder(value.flatten(0, 1)[:, None].expand(-1, 2, -1)).h_reconstructed[:, instance]
    torch.testing.assert_close(replaced, rebuilt.view(5, 3, 14))
    assert torch.equal(zero_ablation_hook(value, None), torch.zeros(5, 3, 14))
    assert torch.equal(value, before)


def test_substitution_loss(model: TransformerBridge, tokens: torch.Tensor, autoencoder: AutoEncoder) -> None:
    result = get_substitution_loss(tokens, model, autoencoder, instance=1)
    logits = model(tokens, return_type="logits")
    clean = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(result.clean, clean)
    torch.testing.assert_close(
        result.recovered,
        (result.zero_ablated - result.reconstructed) / (result.zero_ablated - result.clean),
    )
    mean = get_activations(tokens, model).mean(dim=(0, 1))
    hook = (MLP_HOOK, lambda value, hook: mean.expand_as(value))
    expected = model.run_with_hooks(tokens, return_type="loss", fwd_hooks=[hook])
    torch.testing.assert_close(result.mean_ablated, expected)


def test_evaluate_is_the_same_in_parts(
    model: TransformerBridge,
    tokens: torch.Tensor,
    autoencoder: AutoEncoder,
) -> None:
    result = evaluate(tokens, model, autoencoder, batch_rows=5)
    h = get_activations(tokens, model).flatten(0, 1)
    output = autoencoder(h[:, None].expand(-1, 2, -1))
    variance = (h - h.mean(dim=0)).pow(2).sum()
    for i in range(2):
        fvu = (h - output.h_reconstructed[:, i]).pow(2).sum() / variance
        assert result.fvu[i] == pytest.approx(fvu.item(), rel=1e-5)
        assert result.l0[i] == pytest.approx((output.acts[:, i] > 0).float().sum(dim=1).mean().item())
        assert result.dead[i] == pytest.approx((output.acts[:, i] == 0).all(dim=0).float().mean().item())
        single = get_substitution_loss(tokens, model, autoencoder, instance=i)
        assert result.loss_clean == pytest.approx(single.clean.item(), rel=1e-5)
        assert result.loss_mean_ablated == pytest.approx(single.mean_ablated.item(), rel=1e-5)
        assert result.recovered[i] == pytest.approx(single.recovered.item(), rel=1e-3)
    torch.testing.assert_close(
        result.firing_rates, get_feature_probability(tokens, model, autoencoder), atol=1e-6, rtol=0
    )
    assert max(result.decoder_norm_error) < 1e-5
