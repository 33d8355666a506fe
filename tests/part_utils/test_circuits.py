"""The exact graph of a prompt: parts add up, on random models; pruning; an edge against the true model."""

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from coursekit.checking import fixtures
from part_utils import circuits
from part_utils.circuits import FrozenPrompt, edges_to_latent, edges_to_logit, freeze_prompt, prune
from part_utils.transcoder import Transcoder


def drawn(seed: int, skip: bool, n_hidden: int = 23) -> tuple[TransformerBridge, Transcoder, torch.Tensor]:
    torch.manual_seed(seed)
    model = fixtures.language_model(seed)
    transcoder = Transcoder(10, 10, n_hidden, k=5, skip=skip)
    with torch.no_grad():
        for parameter in transcoder.parameters():
            parameter.normal_(std=0.4)
    return model, transcoder, torch.randint(17, (9,))


@pytest.fixture(scope="module")
def pieces() -> tuple[FrozenPrompt, Transcoder, TransformerBridge]:
    model, transcoder, tokens = drawn(0, skip=True)
    return freeze_prompt(tokens, model), transcoder, model


@pytest.mark.parametrize("skip", [False, True])
@torch.no_grad()
def test_parts_add_up_on_random_prompts(skip: bool) -> None:
    generator = torch.Generator().manual_seed(int(skip))
    model, transcoder, _ = drawn(3 + skip, skip)
    for _ in range(50):
        cache = freeze_prompt(torch.randint(17, (9,), generator=generator), model)
        position, latent, token = (int(torch.randint(n, (), generator=generator)) for n in (9, 23, 17))
        pre = cache.mlp_in[position] @ transcoder.W_enc[:, latent] + transcoder.b_enc[latent]
        edges = edges_to_latent(cache, transcoder, latent, position)
        torch.testing.assert_close(edges.total(), pre, atol=1e-4, rtol=1e-4)
        logit_edges = edges_to_logit(cache, transcoder, position, token)
        torch.testing.assert_close(logit_edges.total(), cache.logits[position, token], atol=1e-4, rtol=1e-4)
        assert (logit_edges.skip != 0) == skip
        assert (edges.heads[:, position + 1 :] == 0).all()


@torch.no_grad()
def test_an_edge_is_what_changes_when_its_source_does(pieces: tuple) -> None:
    cache, transcoder, model = pieces
    edges = edges_to_latent(cache, transcoder, 4, 6)
    weights = model.state_dict()
    # Without the token's embedding at the position, and with attention and scale as they were.
    residual = cache.embed[6] + cache.pos_embed[6]
    z = torch.einsum("hqk,khd->qhd", cache.pattern, cache.v)
    attention = torch.einsum("hd,hdm->m", z[6], cache.W_O) + weights["blocks.0.attn.o.bias"]

    def pre(before: torch.Tensor) -> torch.Tensor:
        normalized = (before - before.mean()) / cache.ln2_scale[6] * cache.ln2_w + cache.ln2_b
        return normalized @ transcoder.W_enc[:, 4] + transcoder.b_enc[4]

    everything = pre(residual + attention)
    torch.testing.assert_close(everything - pre(cache.pos_embed[6] + attention), edges.token)
    for head, key in ((0, 2), (1, 6)):
        moved = cache.pattern[head, 6, key] * (cache.v[key, head] - cache.b_V[head]) @ cache.W_O[head]
        without = pre(residual + attention - moved)
        torch.testing.assert_close(everything - without, edges.heads[head, key], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_latents_that_are_silent_have_no_edge_and_the_error_is_what_is_missed(pieces: tuple) -> None:
    cache, transcoder, _ = pieces
    edges = edges_to_logit(cache, transcoder, 5, 11)
    acts = transcoder.encode(cache.mlp_in[5:6])[0]
    assert torch.equal(edges.latents != 0, acts > 0)
    perfect = FrozenPrompt(
        **{**vars(cache), "mlp_out": transcoder(cache.mlp_in, cache.mlp_out).y_reconstructed}
    )
    assert edges_to_logit(perfect, transcoder, 5, 11).error.abs() < 1e-5


@torch.no_grad()
def test_an_ablated_edge_is_the_edge_where_the_scale_stays(pieces: tuple) -> None:
    cache, transcoder, model = pieces
    acts = transcoder.encode(cache.mlp_in)[7]
    predicted = edges_to_logit(cache, transcoder, 7, 3).latents
    for latent in acts.nonzero().flatten().tolist():
        measured = circuits.test_edge(cache.tokens, model, transcoder, latent, 7, 3)
        written = acts[latent] * transcoder.W_dec[latent]
        residual = cache.embed[7] + cache.pos_embed[7] + _attention(cache)[7] + cache.mlp_out[7]
        scale = (residual - written - (residual - written).mean()).pow(2).mean().add(1e-5).sqrt()
        ratio = cache.ln_final_scale[7] / scale
        # The logit without the latent is what is left of it, at the new scale.
        read = cache.ln_final_w * cache.W_U[:, 3] / cache.ln_final_scale[7]
        read = read - read.mean()
        exact = residual @ read - ratio * (residual @ read - predicted[latent])
        torch.testing.assert_close(measured, exact, atol=1e-4, rtol=1e-4)


def _attention(cache: FrozenPrompt) -> torch.Tensor:
    z = torch.einsum("hqk,khd->qhd", cache.pattern, cache.v)
    return torch.einsum("qhd,hdm->qm", z, cache.W_O) + cache.b_O


@torch.no_grad()
def test_nothing_is_left_on_the_model_by_an_ablation(pieces: tuple) -> None:
    cache, transcoder, model = pieces
    circuits.test_edge(cache.tokens, model, transcoder, 1, 2, 3)
    torch.testing.assert_close(model(cache.tokens[None])[0], cache.logits)


@pytest.mark.parametrize("seed", range(5))
def test_pruning_keeps_the_fewest(seed: int) -> None:
    effects = torch.randn(13, generator=torch.Generator().manual_seed(seed))
    for share in (0.1, 0.5, 0.8, 0.99, 1.0):
        kept = prune(effects, share)
        sizes, total = effects.abs(), effects.abs().sum()
        assert sizes[kept].sum() >= share * total - 1e-5
        assert sizes[kept].min() >= sizes[~kept].max() if (~kept).any() else True
        assert sizes[kept].sum() - sizes[kept].min() < share * total


def test_a_prompt_is_one_row() -> None:
    with pytest.raises(ValueError, match="one row of tokens"):
        freeze_prompt(torch.zeros(2, 3, dtype=torch.long), None)  # type: ignore[arg-type]
