"""One place of a small model of four blocks: read over a text, compared, steered, followed onward."""

from dataclasses import replace

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from coursekit.checking.fixtures import hooks_left
from part_utils.autoencoder import AutoEncoderConfig
from part_utils.deep_models import collect, massive_activations, splice, steer
from part_utils.language_models import load_language_model
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.places import (
    LatentsOnText,
    Place,
    compare_at,
    differences_of_means,
    feature_of,
    latents_on,
    next_logits,
    random_directions,
    way_onward,
    write_on,
)
from part_utils.probes import difference_of_means
from part_utils.texts import TokenizedText
from part_utils.variants import JumpReLUAutoEncoder, TopKAutoEncoder
from tests.small_language_model import CFG

HOOK = "blocks.1.hook_out"


@pytest.fixture(scope="module")
def place() -> Place:
    torch.manual_seed(0)
    model = TransformerBridge.boot_native({**CFG, "n_layers": 4})
    autoencoder = TopKAutoEncoder(AutoEncoderConfig(2, CFG["d_model"], 17), k=3)
    return Place(ModelWithAutoencoder(model.eval(), autoencoder, instance=1, hook=HOOK))


@pytest.fixture(scope="module")
def text() -> TokenizedText:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(CFG["d_vocab"], (7, 5), generator=generator)
    return TokenizedText(tokens, torch.randint(2, (7, 5), generator=generator), ("a novel", "a program"))


@pytest.fixture(scope="module")
def read(place: Place, text: TokenizedText) -> LatentsOnText:
    return latents_on(place, text, batch_rows=3)


def test_every_latent_is_where_it_fires(place: Place, text: TokenizedText, read: LatentsOnText) -> None:
    h = collect(place.model, text.tokens, HOOK)
    acts = place.subject.encode(h.view(7, 5, -1)) * read.keep.flatten()[:, None]
    for latent in range(17):
        torch.testing.assert_close(read.acts_of(latent).flatten(), acts[:, latent])
    torch.testing.assert_close(read.acts([4, 2]), acts[read.keep.flatten()][:, [4, 2]])
    torch.testing.assert_close(read.h.float(), h[read.keep.flatten()], atol=1e-2, rtol=1e-3)
    torch.testing.assert_close(read.largest(), acts.amax(dim=0))
    torch.testing.assert_close(read.rates(), (acts > 0).sum(0) / read.keep.sum())


def test_a_text_on_which_nothing_fires(place: Place, text: TokenizedText) -> None:
    silent = JumpReLUAutoEncoder(AutoEncoderConfig(1, CFG["d_model"], 17), first_threshold=1e9)
    read = latents_on(Place(ModelWithAutoencoder(place.model, silent, hook=HOOK)), text, h_rows=0)
    assert read.rates().sum() == read.largest().sum() == read.acts_of(4).sum() == len(read.h) == 0


def test_f1_of_every_latent_is_that_of_its_firing(read: LatentsOnText) -> None:
    wanted = read.text.labels == 1
    for latent, found in enumerate(read.f1(wanted).tolist()):
        fires, kept = read.acts_of(latent)[read.keep] > 0, wanted[read.keep]
        expected = 2 * int((fires & kept).sum()) / max(int(fires.sum() + kept.sum()), 1)
        assert found == pytest.approx(expected)


def test_means_over_some_tokens_and_over_all_others(place: Place, text: TokenizedText) -> None:
    read = latents_on(place, text, h_rows=4)
    read = replace(read, keep=read.keep & (text.tokens != text.tokens[2, 1]))
    h = collect(place.model, text.tokens, HOOK)
    torch.testing.assert_close(read.h.float(), h[: 4 * 5], atol=1e-2, rtol=1e-3)
    kinds = [text.labels == 1, text.tokens > 20]
    for kind, found in zip(kinds, differences_of_means(place, read, kinds, batch_rows=3), strict=True):
        kept, inside = h[read.keep.flatten()], kind[read.keep]
        torch.testing.assert_close(found, difference_of_means(kept, inside), atol=1e-5, rtol=1e-4)


def test_a_rule_says_nothing_about_sinks(read: LatentsOnText) -> None:
    assert torch.equal(read.said_by(lambda context, label: True), read.keep)
    said = read.said_by(lambda context, label: len(context) == 3 and label == "a novel")
    expected = torch.zeros(7, 5, dtype=torch.bool)
    expected[:, 2] = read.text.labels[:, 2] == 0
    assert torch.equal(said, expected & read.keep)
    assert torch.equal(feature_of(4, read, read).held_out.acts, read.acts_of(4))


def test_what_is_put_back_unchanged_loses_nothing(place: Place, text: TokenizedText) -> None:
    mean = collect(place.model, text.tokens, HOOK).mean(dim=0)
    found = compare_at(place, text.tokens, {"rebuilt": place.rebuild, "same": lambda h: h}, mean, 3)
    assert found["same"] == found["as it is"]
    assert found["as it is"].recovered == 1
    assert found["mean"].recovered == 0
    assert found["mean"].fvu == pytest.approx(1)
    keep = ~massive_activations(collect(place.model, text.tokens, HOOK).view(7, 5, -1))
    assert keep.all()  # nothing is a sink here

    def hook(value: torch.Tensor, hook: object) -> torch.Tensor:
        return splice(value, hook, place.subject.autoencoder, keep, instance=1)

    loss = place.model.run_with_hooks(text.tokens, return_type="loss", fwd_hooks=[(HOOK, hook)])
    assert found["rebuilt"].loss == pytest.approx(loss.item(), rel=1e-4)


def test_predictions_with_several_hooks_are_those_with_each() -> None:
    model = load_language_model()
    autoencoder = TopKAutoEncoder(AutoEncoderConfig(1, model.cfg.d_model, 17), k=3)
    place = Place(ModelWithAutoencoder(model, autoencoder, hook="blocks.0.hook_out"))
    hooks = [None, steer(place.directions[3], 2.0, 1.5), steer(-place.directions[5], 1.0, 4.0)]
    found = next_logits(place, "one two three", hooks)
    for hook, logits in zip(hooks, found, strict=True):
        torch.testing.assert_close(next_logits(place, "one two three", [hook])[0], logits)
    assert not torch.allclose(found[0], found[1])
    with pytest.raises(ValueError, match="prompt is empty"):
        next_logits(place, " ")
    written = [write_on(place, "one two", hook, n_tokens=4, seed=1) for hook in hooks]
    assert written[0] == write_on(place, "one two", n_tokens=4, seed=1)
    assert len({*written}) > 1
    assert hooks_left(model) == 0


def test_random_directions_have_unit_length_and_differ() -> None:
    drawn = random_directions(13, 4)
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(4))
    assert (drawn @ drawn.mT).fill_diagonal_(0).abs().max() < 0.999
    assert torch.equal(drawn, random_directions(13, 4))


def test_a_change_begins_as_the_direction_itself(place: Place, text: TokenizedText) -> None:
    direction = place.directions[3]
    onward = way_onward(place, text.tokens[:1], steer(direction, 1.0, 2.0), direction, k=3)
    assert onward.blocks == [1, 2, 3]
    assert onward.length[0] == pytest.approx(1)
    assert onward.cosine[0] == pytest.approx(1)
    assert [len(words) for words in onward.favored] == [3, 3, 3]
    clean = collect(place.model, text.tokens[:1], "blocks.3.hook_out")[-1]
    with place.model.hooks(fwd_hooks=[(HOOK, steer(direction, 1.0, 2.0))]):
        _, changed = place.model.run_with_cache(text.tokens[:1])
    assert onward.length[2] == pytest.approx(
        float((changed["blocks.3.hook_out"][0, -1] - clean).norm()) / 2, rel=1e-4
    )


def test_a_place_has_to_exist(place: Place) -> None:
    with pytest.raises(ValueError, match="no hook"):
        Place(replace(place.subject, hook="blocks.9.hook_out"))
