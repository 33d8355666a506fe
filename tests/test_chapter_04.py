"""What the text of chapter 4 says, on the bundled model, the held-out text and the seeds of its cells."""

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from part_utils import activations, baselines, evaluation, interpretation
from part_utils.activations import MLP_HOOK
from part_utils.autoencoder import AutoEncoder
from part_utils.language_models import load_autoencoder, load_language_model, load_latent_names
from part_utils.texts import load_tokens


@dataclass
class Scene:
    model: Any
    tokens: torch.Tensor
    h: torch.Tensor
    encoder_a: AutoEncoder
    rates: torch.Tensor
    acts: torch.Tensor
    """Of the first 24 rows."""


@pytest.fixture(scope="module")
def scene() -> Scene:
    model, encoder_a = load_language_model(), load_autoencoder(run=1)
    held_out = load_tokens("held_out").tokens
    tokens = held_out[torch.randperm(len(held_out), generator=torch.Generator().manual_seed(0))[:256]][:160]
    h = activations.flatten_activations(activations.get_activations(tokens, model))
    rates = evaluation.get_feature_probability(tokens, model, encoder_a)[0]
    with torch.no_grad():
        acts = encoder_a(h[: 24 * 128, None]).acts[:, 0]
    return Scene(model, tokens, h, encoder_a, rates, acts)


def test_most_activations_are_a_little_below_zero(scene: Scene) -> None:
    assert (scene.h < 0).float().mean() > 0.7
    assert -0.1701 < scene.h.min() < -0.16


def test_few_latents_fire_on_a_token(scene: Scene) -> None:
    assert 5 < (scene.acts > 0).sum(dim=1).float().mean() < 9


def test_the_histogram_has_a_hill_a_thin_tail_of_frequent_ones_and_a_long_one_of_rare_ones(
    scene: Scene,
) -> None:
    rare, frequent = scene.rates < 1e-4, scene.rates > 0.04
    assert -3.5 < scene.rates[~rare & ~frequent].log10().median() < -2.5
    assert 24 <= frequent.sum() < 60  # a few dozen
    assert 0.15 < rare.float().mean() < 0.35
    assert (~rare & ~frequent).float().mean() > 0.5
    assert 0.55 < scene.rates[frequent].sum() / scene.rates.sum() < 0.8  # two thirds of what fires


def test_equal_rates_do_not_mean_firing_together(scene: Scene) -> None:
    fired = scene.acts > 0
    rate = fired.float().mean(dim=0)
    order = rate.argsort()
    first, second = order[:-1], order[1:]
    both = (fired[:, first] & fired[:, second]).float().mean(dim=0)
    either = rate[first] + rate[second] - both
    hill = (rate[first] > 1e-3) & (rate[first] < 1e-2)
    frequent = rate[first] > 0.04
    assert (both / either)[hill].median() < 0.01
    assert (both / (rate[first] * rate[second]))[frequent].median() < 1.2


def test_most_frequent_latents_are_single_neurons(scene: Scene) -> None:
    largest = scene.encoder_a.normalize_and_return_W_dec()[0].pow(2).max(dim=-1)
    frequent = scene.rates > 0.04
    assert largest.values[frequent].median() > 0.7
    assert largest.values[~frequent].median() < 0.25
    assert len(largest.indices[frequent].unique()) > 0.7 * frequent.sum()
    h = scene.h[: len(scene.acts)]
    variance = (h - h.mean(dim=0)).pow(2).sum()
    W_dec, b_dec = scene.encoder_a.normalize_and_return_W_dec()[0], scene.encoder_a.b_dec[0]
    left = {}
    for name, group in (("all", frequent | True), ("frequent", frequent), ("others", ~frequent)):
        left[name] = ((h - (scene.acts * group) @ W_dec - b_dec).pow(2).sum() / variance).item()
    assert left["all"] < 0.08
    assert 0.25 < left["frequent"] < 0.4
    assert 0.7 < left["others"] < 0.9


def test_rare_latents_share_no_direction_and_lean_away_from_the_mean_input(scene: Scene) -> None:
    W_dec = scene.encoder_a.normalize_and_return_W_dec()[0].detach()
    W_enc = scene.encoder_a.W_enc[0].mT.detach()
    decoder = evaluation.rare_direction_similarity(W_dec, scene.rates)
    encoder = evaluation.rare_direction_similarity(W_enc, scene.rates)
    assert 1 / len(decoder.rare) ** 0.5 < decoder.rare.mean() < 0.2
    assert decoder.rare.max() < 0.7
    assert decoder.rare.mean() < encoder.rare.mean() < encoder.all.mean() + 0.1
    center = scene.h.mean(dim=0) - scene.encoder_a.b_dec[0].detach()
    lean = F.cosine_similarity(W_enc, center[None], dim=-1)
    rare, frequent = scene.rates < 1e-4, scene.rates > 0.04
    assert lean[~rare & ~frequent].mean() < -0.1
    assert lean[rare].mean() < -0.1
    assert lean[frequent].mean() > -0.05


def test_reconstruction_is_good_and_norms_differ(scene: Scene) -> None:
    both = load_autoencoder()
    quality = evaluation.get_reconstruction_loss(scene.tokens[:24], scene.model, both)
    assert (quality.loss / quality.mean_squared_activation < 0.145).all()  # 0.016 / 0.11, the published ones
    assert (quality.cosine_similarity > 0.93).all()
    assert abs(quality.loss[0] - quality.loss[1]) < 0.1 * quality.loss[0]
    with torch.no_grad():
        errors = scene.h[:2000] - scene.encoder_a(scene.h[:2000, None]).h_reconstructed[:, 0]
    lengths = errors.norm(dim=-1)
    assert lengths.mean() < lengths.pow(2).mean().sqrt()


def test_convex_in_the_reconstruction_not_in_the_parameters(scene: Scene) -> None:
    start, encoder_b = scene.encoder_a.state_dict(), load_autoencoder(run=2).state_dict()
    shuffle = torch.randperm(start["b_enc"].shape[1], generator=torch.Generator().manual_seed(0))
    shuffled = {
        name: value if name == "b_dec" else value[..., shuffle]
        for name, value in start.items()
        if name != "W_dec"
    }
    shuffled["W_dec"] = start["W_dec"][:, shuffle]
    h = scene.h[:500, None]
    mixture = copy.deepcopy(scene.encoder_a)

    def reconstruct_with(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        mixture.load_state_dict(parameters)
        with torch.no_grad():
            return mixture(h).h_reconstructed

    h_a, h_b = reconstruct_with(start), reconstruct_with(encoder_b)
    loss_a, loss_b = (h - h_a).pow(2).mean(), (h - h_b).pow(2).mean()
    assert (h - (h_a + h_b) / 2).pow(2).mean() < min(loss_a, loss_b)
    torch.testing.assert_close(reconstruct_with(shuffled), h_a, rtol=1e-3, atol=1e-4)
    for end in (shuffled, encoder_b):
        middle = reconstruct_with({name: (start[name] + end[name]) / 2 for name in start})
        assert (h - middle).pow(2).mean() > 4 * loss_a


def test_substitution(scene: Scene) -> None:
    losses = evaluation.get_substitution_loss(scene.tokens[:32], scene.model, scene.encoder_a)
    assert losses.clean < losses.reconstructed < losses.mean_ablated < losses.zero_ablated
    assert losses.recovered > 0.95
    from_mean = (losses.mean_ablated - losses.reconstructed) / (losses.mean_ablated - losses.clean)
    assert 0.9 < from_mean < losses.recovered


def test_as_many_neurons_recover_three_quarters_and_copies_are_almost_half_of_what_fires(
    scene: Scene,
) -> None:
    both, tokens = load_autoencoder(), scene.tokens[:48]
    measured = evaluation.evaluate(tokens, scene.model, both)
    for i, one in enumerate(baselines.compare_with_baselines(tokens, scene.model, both, measured)):
        assert one.k == 7
        assert 0.7 < one.neurons.recovered_from_mean < 0.8
        assert one.components.recovered_from_mean < 0.45
        assert measured.recovered_from_mean[i] > 0.93
        assert one.gain > 0.15
        assert 0.35 < one.copies_share < 0.5
        assert one.n_copies < 0.1 * both.cfg.n_hidden_ae


@torch.no_grad()
def test_ablation_with_the_error_kept_changes_only_where_the_latent_fires(scene: Scene) -> None:
    rate = (scene.acts > 0).float().mean(dim=0)
    latent = int((scene.acts.max(dim=0).values * ((rate < 0.01) & (rate > 5e-4))).argmax())
    batch, position = divmod(int(scene.acts[:, latent].argmax()), 128)
    row = scene.tokens[batch : batch + 1]
    acts = scene.acts.unflatten(0, (24, 128))[batch, :, latent]
    change = interpretation.ablate_feature(row, scene.model, scene.encoder_a, latent)[0].abs().amax(dim=-1)
    assert change[acts == 0].max() < 1e-3
    assert change.argmax() == position
    direction = scene.encoder_a.normalize_and_return_W_dec()[0, latent]

    def naive(value: torch.Tensor, hook: object) -> torch.Tensor:
        return evaluation.reconstruction_hook(value, hook, scene.encoder_a) - acts[None, :, None] * direction

    difference = scene.model.run_with_hooks(row, fwd_hooks=[(MLP_HOOK, naive)]) - scene.model(row)
    assert (difference[0].abs().amax(dim=-1) > 0.01).float().mean() > 0.9


def test_neighboring_tokens_are_alike(scene: Scene) -> None:
    h = scene.h
    shuffled = h[torch.randperm(len(h), generator=torch.Generator().manual_seed(0))]
    centered, strangers = (F.normalize(rows - h.mean(dim=0), dim=-1) for rows in (h, shuffled))
    assert (centered[:-1] * centered[1:]).sum(dim=-1).mean() > 0.15
    assert abs((centered * strangers).sum(dim=-1).mean()) < 0.06
    rows, mixed = (
        torch.stack([part.mean(dim=0) for part in ordered.split(1024)]) - h.mean(dim=0)
        for ordered in (h, shuffled)
    )
    assert rows.norm(dim=-1).mean() > 2 * mixed.norm(dim=-1).mean()


def test_names_are_numbers_of_latents(scene: Scene) -> None:
    assert all(0 <= latent < len(scene.rates) for latent in load_latent_names())


@pytest.mark.slow
def test_half_a_minute_makes_an_autoencoder(scene: Scene) -> None:
    own, log = activations.train_on_activations(
        load_tokens("train").tokens,
        scene.model,
        factor=4,
        l1_coeff=1e-3,
        steps=400,
        lr=5e-3,
        progress=False,
    )
    result = evaluation.evaluate(scene.tokens[:32], scene.model, own)
    bundled = evaluation.evaluate(scene.tokens[:32], scene.model, scene.encoder_a)
    assert log["loss"][-1] < 0.5 * log["loss"][0]
    assert result.fvu[0] < 0.2
    assert 0.6 < result.recovered[0] < bundled.recovered[0]
    assert result.l0[0] > 2 * bundled.l0[0]
