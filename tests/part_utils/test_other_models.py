"""Any model with several blocks, and an autoencoder in SAELens's format: a small random GPT-2, nothing downloaded."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformer_lens.model_bridge import TransformerBridge
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from part_utils.activations import MLP_HOOK
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.baselines import compare_with_baselines
from part_utils.correlation import best_correlations
from part_utils.dashboard import make_dashboard
from part_utils.deep_models import collect, steer
from part_utils.evaluation import evaluate, get_feature_probability, get_substitution_loss
from part_utils.formats.ours import save_autoencoder
from part_utils.formats.sae_lens import save_sae_lens
from part_utils.hypotheses import record_feature
from part_utils.interpretation import (
    ablate_feature,
    feature_activations,
    feature_logit_effect,
    highest_activating_tokens,
    match_between_autoencoders,
    top_activations,
)
from part_utils.language_models import load_autoencoder, load_one_block_model
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.places import Place, compare_at, firing_at, latents_on, next_logits, way_onward, write_on
from part_utils.steering import continue_text, firing_latents, steered_next_token
from part_utils.texts import TokenizedText, first_rows, in_tokens_of, load_tokens
from part_utils.variants import JumpReLUAutoEncoder
from part_utils.widgets.feature_browser import feature_browser

D_MODEL, BLOCKS, LATENTS = 12, 3, 21
PLACES = (
    "blocks.1.hook_resid_pre",
    "blocks.1.hook_out",
    "blocks.1.mlp.hook_post",
    "blocks.2.hook_resid_post",
)


class Setting(NamedTuple):
    model: TransformerBridge
    text: TokenizedText


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(
        ["one two three, four: five"] * 9, vocab_size=300, special_tokens=["<|endoftext|>"]
    )
    folder = tmp_path_factory.mktemp("tokenizer")  # Without one TransformerLens would look for it on the hub.
    PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    ).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    sizes = {
        "n_embd": D_MODEL,
        "n_layer": BLOCKS,
        "n_head": 2,
        "n_positions": 32,
        "vocab_size": len(tokenizer),
    }
    torch.manual_seed(0)
    inside = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).eval()
    with torch.no_grad():
        inside.transformer.wte.weight *= 5
        inside.transformer.wte.weight[0] *= 100  # BOS is a sink.
    model = TransformerBridge.boot_transformers("gpt2", hf_model=inside, tokenizer=tokenizer)
    return Setting(model, first_rows(in_tokens_of(model, first_rows(load_tokens("held_out"), 2)), 12))


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, setting: Setting, tmp_path: Path) -> Place:
    """A place whose autoencoder comes from a file, which says where it belongs."""
    torch.manual_seed(1)
    size = D_MODEL * (4 if "mlp" in request.param else 1)
    made = JumpReLUAutoEncoder(AutoEncoderConfig(1, size, LATENTS), first_threshold=0.1)
    save_sae_lens(made, 0, tmp_path / "sae", model_name="gpt2", hook_name=request.param)
    return Place(ModelWithAutoencoder(setting.model, load_autoencoder(tmp_path / "sae")))


def test_what_chapter_8_asks_of_a_place(place: Place, setting: Setting) -> None:
    model, text = setting
    read = latents_on(place, text, batch_rows=5)
    assert torch.equal(read.keep, text.tokens != model.tokenizer.bos_token_id)
    h = collect(model, text.tokens, place.hook, read.keep)
    acts = place.subject.encode(h[:, None])
    torch.testing.assert_close(read.acts(list(range(LATENTS))), acts)
    assert (acts > 0).any()

    found = compare_at(place, text.tokens, {"same": lambda h: h, "rebuilt": place.rebuild}, h.mean(dim=0))
    assert found["same"].loss == pytest.approx(model(text.tokens, return_type="loss").item(), rel=1e-4)
    assert found["rebuilt"].loss != found["same"].loss
    some, W_dec = torch.tensor([2, 11, 4]), place.directions
    correlations = best_correlations(place.subject, place.subject, h, some, batch_size=50)
    expected = match_between_autoencoders(W_dec, W_dec, acts, acts).correlation[some]
    torch.testing.assert_close(correlations, expected, atol=1e-3, rtol=1e-3)

    latent, prompt = int(acts.amax(dim=0).argmax()), "one two three"
    keep = torch.ones(1, len(model.to_tokens(prompt)[0]), dtype=torch.bool)
    hook = steer(place.directions[latent], 1.0, 50.0, keep)
    before, after = next_logits(place, prompt, [None, hook])
    assert not torch.allclose(before, after)
    # It may be anywhere, also where the model has written already.
    written = write_on(place, prompt, lambda value, hook: value + place.directions[latent], n_tokens=3)
    assert isinstance(written, str)
    onward = way_onward(place, model.to_tokens(prompt), hook, place.directions[latent])
    assert onward.blocks == list(range(place.subject.block, BLOCKS))
    assert onward.length[0] == pytest.approx(1)
    if place.hook in ("blocks.1.hook_out", "blocks.2.hook_resid_post", "blocks.2.hook_out"):
        assert onward.cosine[0] == pytest.approx(1)
    firing = firing_at(place, prompt)
    assert firing.acts.shape == (len(firing.words), LATENTS)
    assert firing.acts[0].max() == 0


def test_what_chapter_5_asks_of_a_latent(place: Place, setting: Setting) -> None:
    text = setting.text
    subject, latent = place.subject, 4
    read = latents_on(place, text)
    torch.testing.assert_close(feature_activations(text.tokens, subject, latent), read.acts_of(latent))
    torch.testing.assert_close(top_activations(text.tokens, subject, k=1).values[:, 0], read.largest())
    feature = record_feature(latent, subject, found_on=text, held_out=text)
    torch.testing.assert_close(feature.held_out.acts, read.acts_of(latent))
    assert firing_latents("one two", subject).acts.shape[1] == LATENTS
    assert steered_next_token("one two", subject, latent, 30.0).moved > 0
    assert isinstance(continue_text("one two", subject, latent, 3.0, n_tokens=2), str)


def test_the_dashboard_and_the_browser(
    place: Place, setting: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    model, text = setting
    dashboard = make_dashboard(
        [4, 5], model=model, autoencoder=place.subject.autoencoder, text=text, progress=False
    )
    assert dashboard.statistics.hook == place.hook
    assert dashboard.statistics.exact == place.hook.startswith("blocks.2")
    read = latents_on(place, text)
    for latent, its in dashboard.statistics.latents.items():
        assert its.n_fired == int((read.acts_of(latent) > 0).sum())
    monkeypatch.setenv("COURSE_STATIC", "1")
    assert "latent 4" in feature_browser(text, place.subject, start="4").data


def test_what_reads_the_first_mlp_refuses_an_autoencoder_of_another_place(
    place: Place, setting: Setting
) -> None:
    model, tokens = setting.model, setting.text.tokens[:2]
    autoencoder = place.subject.autoencoder
    for call in (
        lambda: get_feature_probability(tokens, model, autoencoder),
        lambda: get_substitution_loss(tokens, model, autoencoder=autoencoder),
        lambda: evaluate(tokens, model, autoencoder),
        lambda: compare_with_baselines(tokens, model, autoencoder, None),
        lambda: ablate_feature(tokens, model, autoencoder, 4),
        lambda: highest_activating_tokens(tokens, model, autoencoder, 4),
        lambda: feature_logit_effect(model, autoencoder, 4),
    ):
        with pytest.raises(ValueError, match=f"trained on '{place.hook}'; chapter 8"):
            call()


def test_where_an_autoencoder_belongs_goes_through_our_own_file(place: Place, tmp_path: Path) -> None:
    save_autoencoder(place.subject.autoencoder, tmp_path / "mine.safetensors")
    assert load_autoencoder(tmp_path / "mine.safetensors").hook == place.hook
    save_sae_lens(place.subject.autoencoder, 0, tmp_path / "again")
    assert load_autoencoder(tmp_path / "again").hook == place.hook


def test_an_autoencoder_of_nowhere_needs_a_hook(setting: Setting) -> None:
    autoencoder = AutoEncoder(AutoEncoderConfig(1, 4 * D_MODEL, LATENTS))
    with pytest.raises(ValueError, match="has 3 blocks, and it is not known where"):
        ModelWithAutoencoder(setting.model, autoencoder)
    with pytest.raises(
        ValueError, match=r"takes vectors of 48 numbers, but 'blocks\.1\.hook_out' of this model has 12"
    ):
        ModelWithAutoencoder(setting.model, autoencoder, hook="blocks.1.hook_out")
    assert ModelWithAutoencoder(setting.model, autoencoder, hook=MLP_HOOK).block == 0


def test_chapters_4_and_5_take_a_model_of_one_block(
    monkeypatch: pytest.MonkeyPatch, setting: Setting
) -> None:
    monkeypatch.setattr("part_utils.language_models.load_language_model", lambda name: setting.model)
    with pytest.raises(
        ValueError, match="'smollm2' has 3 blocks, and this chapter is about a model of one block"
    ):
        load_one_block_model("smollm2")
    monkeypatch.undo()
    assert load_one_block_model().cfg.n_layers == 1
    assert load_autoencoder().hook == MLP_HOOK
    assert load_autoencoder("smollm2", run=1).hook == "blocks.11.mlp.hook_post"
