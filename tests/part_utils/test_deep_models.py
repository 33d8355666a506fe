"""One place in a model of many blocks: read, rebuilt, steered."""

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.deep_models import (
    block_of,
    collect,
    fvu_without_sinks,
    massive_activations,
    splice,
    steer,
    steering_effect,
)
from tests.small_language_model import CFG

PLACE = "blocks.1.hook_out"


@pytest.fixture(scope="module")
def model() -> TransformerBridge:
    return TransformerBridge.boot_native({**CFG, "n_layers": 4})


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(31, (7, 5), generator=torch.Generator().manual_seed(1))


def with_sinks() -> torch.Tensor:
    residual = torch.randn(3, 5, 11, generator=torch.Generator().manual_seed(2))
    residual[0, 0] *= 50
    residual[2, 3] *= 9
    return residual


def test_sinks_are_found_by_their_length_wherever_they_stand() -> None:
    found = massive_activations(with_sinks())
    assert found.nonzero().tolist() == [[0, 0], [2, 3]]
    assert massive_activations(with_sinks(), factor=20.0).nonzero().tolist() == [[0, 0]]
    assert massive_activations(with_sinks().bfloat16()).nonzero().tolist() == [[0, 0], [2, 3]]


@pytest.mark.parametrize(
    "hook", [PLACE, "blocks.2.mlp.hook_post", "blocks.3.hook_out", "blocks.0.hook_resid_post"]
)
def test_collects_what_the_whole_model_computes_and_no_more(model, tokens, hook: str) -> None:  # type: ignore[no-untyped-def]
    _, cache = model.run_with_cache(tokens)
    keep = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(3)) < 0.7
    ran = []
    handles = [
        block.register_forward_pre_hook(lambda module, _, number=number: ran.append(number))
        for number, block in enumerate(model.blocks)
        if number > block_of(hook) + 1  # a stop is noticed where the next block begins
    ]
    torch.testing.assert_close(collect(model, tokens, hook, keep, batch_rows=3), cache[hook][keep])
    torch.testing.assert_close(collect(model, tokens, hook), cache[hook].flatten(0, 1))
    assert ran == []
    for handle in handles:
        handle.remove()


def test_unknown_places_are_named(model, tokens) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"no hook 'blocks.1.hook_nothing'"):
        collect(model, tokens, "blocks.1.hook_nothing")
    for name in ("embed.hook_out", "blocks", "blocks.x.hook_out"):
        with pytest.raises(ValueError, match="is in no block"):
            block_of(name)


def test_fvu_counts_what_is_kept() -> None:
    h = with_sinks()
    keep = ~massive_activations(h)
    noise = 0.5 * torch.randn(h.shape, generator=torch.Generator().manual_seed(4))
    rows, rebuilt = h[keep], (h + noise)[keep]
    expected = (rows - rebuilt).pow(2).sum() / (rows - rows.mean(dim=0)).pow(2).sum()
    assert fvu_without_sinks(h, h + noise, keep) == pytest.approx(expected.item(), rel=1e-5)
    assert fvu_without_sinks(h, torch.where(keep[..., None], h, 0), keep) == 0
    # What the sinks would have said.
    assert fvu_without_sinks(h, h + noise, torch.ones_like(keep)) < expected / 5


def random_autoencoder(size: int) -> AutoEncoder:
    autoencoder = AutoEncoder(AutoEncoderConfig(2, size, 17))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return autoencoder


def test_spliced_where_it_is_asked_for() -> None:
    h = with_sinks()
    before, keep, autoencoder = h.clone(), ~massive_activations(h), random_autoencoder(11)
    expected = autoencoder(h.flatten(0, 1)[:, None].expand(-1, 2, -1)).h_reconstructed[:, 1].view(h.shape)
    new = splice(h, None, autoencoder, keep, instance=1)
    torch.testing.assert_close(new[keep], expected[keep])
    assert torch.equal(new[~keep], before[~keep])
    torch.testing.assert_close(splice(h, None, autoencoder, keep, with_error=True), before)
    factors = torch.ones(17)
    factors[4] = 0.0
    acts = autoencoder.encode(h.flatten(0, 1)[:, None].expand(-1, 2, -1))[:, 0, 4].view(3, 5, 1)
    without = h - acts * autoencoder.normalize_and_return_W_dec()[0, 4]
    new = splice(h, None, autoencoder, keep, factors, with_error=True)
    torch.testing.assert_close(new[keep], without[keep], atol=1e-3, rtol=1e-4)
    assert torch.equal(h, before)


def test_steering_adds_the_same_everywhere_but_at_sinks(model, tokens) -> None:  # type: ignore[no-untyped-def]
    h = with_sinks()
    before, direction = h.clone(), torch.arange(1.0, 12.0)
    new = steer(direction, 0.5, 8.0)(h, None)
    added = (new - h)[~massive_activations(h)]
    torch.testing.assert_close(added, (4 * direction / direction.norm()).expand_as(added))
    assert torch.equal(new[massive_activations(h)], h[massive_activations(h)])
    assert torch.equal(h, before)
    only = torch.zeros(3, 5, dtype=torch.bool)
    only[1, 2] = True
    assert ((steer(direction, -1.0, 2.0, only)(h, None) - h).norm(dim=-1) > 0).equal(only)
    logits = model.run_with_hooks(tokens, fwd_hooks=[(PLACE, steer(torch.ones(10), 3.0, 1.0))])
    assert not torch.allclose(logits, model(tokens))


def test_effect_of_steering_on_words() -> None:
    logits, steered, *random = torch.randn(6, 20, generator=torch.Generator().manual_seed(6))
    words, prompt = torch.tensor([3, 8, 8, 11]), torch.tensor([0, 11, 5])
    effect = steering_effect(logits, steered, torch.stack(random), words, prompt)
    assert effect.before == pytest.approx(logits.softmax(0)[[3, 8]].sum().item())
    assert effect.after == pytest.approx(steered.softmax(0)[[3, 8]].sum().item())
    assert effect.by_chance.tolist() == pytest.approx([one.softmax(0)[[3, 8]].sum().item() for one in random])
    with pytest.raises(ValueError, match="Every word is in the prompt"):
        steering_effect(logits, steered, torch.stack(random), prompt[:2], prompt)
