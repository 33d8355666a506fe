"""What the text of chapter 7 claims, on the bundled model and its transcoder."""

from typing import NamedTuple

import pytest
import torch

from part_utils import circuits
from part_utils.circuits import edges_to_latent, edges_to_logit, freeze_prompt
from part_utils.language_models import load_language_model, load_tokens
from part_utils.one_layer_model import from_bridge
from part_utils.probes import latent_f1
from part_utils.prompt_graph import center_logits, prompt_graph
from part_utils.random_dictionaries import shuffle_weights, train_on
from part_utils.readable import one_word_f1
from part_utils.transcoder import Transcoder, evaluate_transcoder, load_transcoder
from part_utils.widgets.circuits import graph_of

PROMPT = "import numpy as"


class Setting(NamedTuple):
    model: object
    transcoder: Transcoder
    held_out: torch.Tensor


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting(load_language_model(), load_transcoder(), load_tokens("held_out").tokens)


@torch.no_grad()
def test_sums_hold_for_a_hundred_prompts(setting: Setting) -> None:
    generator = torch.Generator().manual_seed(0)
    for row in torch.randperm(len(setting.held_out), generator=generator)[:100].tolist():
        cache = freeze_prompt(setting.held_out[row, :32], setting.model)
        position, latent, token = (int(torch.randint(n, (), generator=generator)) for n in (32, 1024, 4096))
        read = setting.transcoder.W_enc[:, latent]
        pre = cache.mlp_in[position] @ read + setting.transcoder.b_enc[latent]
        edges = edges_to_latent(cache, setting.transcoder, latent, position)
        torch.testing.assert_close(edges.total(), pre, atol=1e-4, rtol=0)
        into = edges_to_logit(cache, setting.transcoder, position, token)
        torch.testing.assert_close(into.total(), cache.logits[position, token], atol=1e-4, rtol=1e-5)


def test_few_edges_carry_the_prediction_of_the_running_prompt(setting: Setting) -> None:
    ids = setting.model.tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
    tokens = torch.tensor([setting.model.tokenizer.bos_token_id, *ids])
    graph = prompt_graph(tokens, setting.model, setting.transcoder, share=0.8)
    assert graph.prediction == " np"
    assert len(graph.kept_into("logit")) <= 15
    assert graph.probability > 0.5


@torch.no_grad()
def test_edges_are_nearly_what_ablation_finds(setting: Setting) -> None:
    predicted, measured = [], []
    for row in range(6):
        tokens = setting.held_out[row, :20]
        cache = freeze_prompt(tokens, setting.model)
        token = int(cache.logits[19].argmax())
        into = edges_to_logit(center_logits(cache), setting.transcoder, 19, token).latents
        for latent in into.abs().topk(3).indices.tolist():
            predicted.append(edges_to_logit(cache, setting.transcoder, 19, token).latents[latent].item())
            measured.append(
                circuits.test_edge(tokens, setting.model, setting.transcoder, latent, 19, token).item()
            )
    assert torch.corrcoef(torch.tensor([predicted, measured]))[0, 1] > 0.8


def test_the_transcoder_stands_in_for_the_mlp(setting: Setting) -> None:
    found = evaluate_transcoder(setting.held_out[:16], setting.model, setting.transcoder)
    assert found.l0 <= setting.transcoder.k
    assert found.fvu < 0.25
    assert found.recovered > 0.75


def test_a_prompt_must_fit(setting: Setting) -> None:
    with pytest.raises(ValueError, match="must have 1 to"):
        graph_of("", setting.model, setting.transcoder)


@pytest.mark.slow
@torch.no_grad()
def test_a_topic_needs_a_trained_model_and_a_word_does_not(setting: Setting) -> None:
    """The best latent for Wikipedia: trained or random decoder alike, shuffled weights as good as "always yes"."""
    texts = [load_tokens(split) for split in ("train", "held_out")]
    tokens = [text.tokens[:120] for text in texts]
    topic = [text.has_label("Wikipedia")[:120].flatten() for text in texts]
    always = 2 * topic[1].sum().item() / (topic[1].numel() + topic[1].sum().item())
    models = {"trained": from_bridge(setting.model), "shuffled": shuffle_weights(setting.model, 0)}
    topics, words = {}, {}
    for name, model, frozen in (
        ("trained", models["trained"], False),
        ("frozen", models["trained"], True),
        ("shuffled", models["shuffled"], False),
    ):
        h = [model.mlp_post(some).flatten(0, 1) for some in tokens]
        with torch.enable_grad():
            autoencoder = train_on(h[0], frozen)
        acts = [autoencoder.encode(some[:, None])[:, 0] for some in h]
        topics[name] = latent_f1(acts[0], topic[0], acts[1], topic[1])
        words[name] = one_word_f1(acts[0], tokens[0].flatten(), acts[1], tokens[1].flatten()).mean().item()
    assert min(topics["trained"], topics["frozen"]) > always + 0.3
    assert topics["shuffled"] < always + 0.1
    assert max(words.values()) - min(words.values()) < 0.08
    assert words["shuffled"] > words["trained"] - 0.03


def test_shuffled_weights_are_the_same_numbers(setting: Setting) -> None:
    before = {name: weight.clone() for name, weight in from_bridge(setting.model).named_parameters()}
    shuffled = shuffle_weights(setting.model, 1)
    for name, weight in shuffled.named_parameters():
        assert torch.equal(weight.flatten().sort().values, before[name].flatten().sort().values)
    moved = shuffled.head.weight != before["head.weight"]
    assert moved.float().mean() > 0.9
    assert torch.equal(from_bridge(setting.model).head.weight, before["head.weight"])
    again = shuffle_weights(setting.model, 1)
    assert torch.equal(again.head.weight, shuffled.head.weight)
    assert not torch.equal(shuffle_weights(setting.model, 2).head.weight, shuffled.head.weight)
