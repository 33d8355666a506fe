"""What the text of chapter 8 claims, on SmolLM2, where it is."""

from typing import NamedTuple

import pytest
import torch

from part_utils import smollm2
from part_utils.baselines import keep_components, keep_largest_neurons, neuron_copies
from part_utils.deep_models import (
    collect,
    fvu_without_sinks,
    massive_activations,
    splice,
    steer,
    steering_effect,
)
from part_utils.fvu import fvu
from part_utils.interpretation import match_between_autoencoders
from part_utils.language_models import load_autoencoder, load_language_model, load_tokens
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.places import Place, compare_at, latents_on, next_logits, random_directions, tokens_of
from part_utils.texts import TokenizedText, first_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not smollm2.cache_folder().exists(), reason="needs `course download smollm2`"),
]
RESIDUAL, NEURONS = "blocks.11.hook_out", "blocks.11.mlp.hook_post"


class Setting(NamedTuple):
    residual: Place
    neurons: Place
    held_out: TokenizedText


@pytest.fixture(scope="module")
def setting() -> Setting:
    model = load_language_model("smollm2")
    places = (
        Place(ModelWithAutoencoder(model, load_autoencoder(name), hook=hook))
        for name, hook in (("smollm2-residual", RESIDUAL), ("smollm2", NEURONS))
    )
    return Setting(*places, first_rows(load_tokens("held_out", model), 12))


@torch.no_grad()
def test_what_knows_nothing_looks_perfect_with_sinks_counted(setting: Setting) -> None:
    tokens = setting.held_out.tokens
    h = collect(setting.residual.model, tokens, RESIDUAL).view(*tokens.shape, -1)
    sinks = massive_activations(h)
    assert sinks[:, 0].all()
    assert sinks.float().mean() < 0.05
    knows_nothing = torch.where(sinks[..., None], h, h[~sinks].mean(dim=0))
    assert fvu_without_sinks(h, knows_nothing, torch.ones_like(sinks)) < 0.01
    assert fvu_without_sinks(h, knows_nothing, ~sinks) == pytest.approx(1, abs=1e-4)


@torch.no_grad()
def test_the_autoencoders_beat_as_many_neurons_and_components(setting: Setting) -> None:
    tokens = setting.held_out.tokens
    keep = latents_on(setting.residual, setting.held_out).keep
    for place in (setting.residual, setting.neurons):
        h = collect(place.model, tokens, place.hook, keep)
        mean = h.mean(dim=0)
        axes = torch.linalg.eigh(torch.cov(h.mT)).eigenvectors.mT.flip(0)
        k = int((place.subject.encode(h[:, None]) > 0).float().sum(dim=1).mean().ceil())
        assert k <= 48
        ways = {
            "autoencoder": place.rebuild,
            "neurons": lambda h, mean=mean, k=k: keep_largest_neurons(h, mean, k),
            "components": lambda h, mean=mean, k=k, axes=axes: keep_components(h, mean, axes[:k]),
        }
        found = compare_at(place, tokens[:4], ways, mean, batch_rows=2)
        for opponent in ("neurons", "components"):
            assert found["autoencoder"].fvu < 0.8 * found[opponent].fvu
            assert found["autoencoder"].recovered > found[opponent].recovered
        if place is setting.neurons:
            W_out = place.model.blocks[11].mlp.W_out
            assert fvu(h @ W_out, place.rebuild(h) @ W_out) < fvu(h, place.rebuild(h)) < 0.3


@torch.no_grad()
def test_six_of_ten_latents_that_copy_nothing_have_a_counterpart(setting: Setting) -> None:
    text = first_rows(load_tokens("train", setting.neurons.model), 48)
    keep = latents_on(setting.neurons, text).keep
    h = collect(setting.neurons.model, text.tokens, NEURONS, keep)
    pair = load_autoencoder("smollm2")
    acts_a, acts_b = pair.encode(h[:, None].expand(-1, 2, -1)).unbind(dim=1)
    wrong = torch.randperm(len(h), generator=torch.Generator().manual_seed(0))
    directions = pair.normalize_and_return_W_dec()
    copies = neuron_copies(pair)[0]
    firings = (acts_a > 0).sum(dim=0)
    assert firings[copies].sum() < 0.5 * firings.sum()
    group = (firings >= 10) & ~copies
    found, chance = (
        (match_between_autoencoders(*directions, acts_a, other).correlation[group] > 0.7).float().mean()
        for other in (acts_b, acts_b[wrong])
    )
    assert 0.5 < found < 0.7
    assert chance < 0.05


@torch.no_grad()
def test_ablation_is_small_where_steering_is_not(setting: Setting) -> None:
    place = setting.residual
    read = latents_on(place, setting.held_out)
    latent = int((read.rates() * (read.largest() > 0)).argsort(descending=True)[100])
    largest = read.largest()[latent].item()
    factors = torch.ones(place.subject.n_latents)
    factors[latent] = 0
    row = int(read.acts_of(latent).amax(dim=1).argmax())
    tokens, keep = setting.held_out.tokens[row : row + 1], read.keep[row : row + 1]

    def without(value: torch.Tensor, hook: object) -> torch.Tensor:
        return splice(value, hook, place.subject.autoencoder, keep, factors, with_error=True)

    def kl(hook: object) -> float:
        fires = read.acts_of(latent)[row] > 0
        changed = place.model.run_with_hooks(tokens, fwd_hooks=[(RESIDUAL, hook)])[0, fires].log_softmax(-1)
        clean = place.model(tokens)[0, fires].log_softmax(-1)
        return float((clean.exp() * (clean - changed)).sum(dim=-1).mean())

    assert kl(without) < kl(steer(place.directions[latent], 1.0, largest))


@torch.no_grad()
def test_a_latent_moves_words_that_random_directions_do_not(setting: Setting) -> None:
    place, prompt = setting.residual, "She sat down and began to talk about"
    words = [" God", " gods", " Jesus", " Christ", " divine", " holy", " Lord", " faith", " religion"]
    ids = torch.tensor([place.model.tokenizer(word)["input_ids"][-1] for word in words])
    hooks = [
        steer(one, 1.0, 30.0)
        for one in (place.directions[3066], *random_directions(place.model.cfg.d_model, 20))
    ]
    before, after, *by_chance = next_logits(place, prompt, [None, *hooks])
    effect = steering_effect(before, after, torch.stack(by_chance), ids, tokens_of(prompt, place.model)[0])
    assert effect.after > 2 * effect.before
    assert effect.after > effect.by_chance.max()
