"""Activations of a model's MLP, the shuffled buffer, and an autoencoder trained from it."""

import itertools

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from part_utils.activations import (
    ActivationBuffer,
    flatten_activations,
    get_activations,
    train_on_activations,
)


def test_activations_are_those_after_the_gelu(model: TransformerBridge, tokens: torch.Tensor) -> None:
    _, cache = model.run_with_cache(tokens)
    acts = get_activations(tokens, model)
    assert acts.shape == (24, 7, 14)
    assert not acts.requires_grad
    torch.testing.assert_close(acts, torch.nn.functional.gelu(cache["blocks.0.mlp.hook_pre"]))
    torch.testing.assert_close(flatten_activations(acts)[7 + 3], acts[1, 3])


def test_get_activations_wants_rows_of_whole_numbers(model: TransformerBridge, tokens: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="2 axes"):
        get_activations(tokens[0], model)
    with pytest.raises(TypeError, match="int"):
        get_activations(tokens.float(), model)


def coded_buffer(batch_size: int, buffer_rows: int, seed: int = 0) -> ActivationBuffer:
    """A buffer whose activations are the numbers of the token positions they came from."""
    tokens = torch.arange(24 * 7).view(24, 7)
    return ActivationBuffer(
        tokens, None, batch_size, buffer_rows, seed, get_rows=lambda rows: rows[..., None].float()
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(("batch_size", "buffer_rows"), [(5, 10), (3, 24), (8, 7)])
def test_every_activation_once_per_epoch(batch_size: int, buffer_rows: int) -> None:
    n_batches = max(24 - buffer_rows, 12) * 7 // batch_size
    seen = torch.cat(list(itertools.islice(coded_buffer(batch_size, buffer_rows), n_batches)))
    assert len(seen.unique()) == len(seen)
    long = torch.cat(list(itertools.islice(coded_buffer(batch_size, buffer_rows), 10 * 24 * 7 // batch_size)))
    assert (torch.bincount(long[:, 0].long(), minlength=24 * 7) >= 7).all()


def test_batches_have_one_size_and_are_mixed() -> None:
    batches = list(itertools.islice(coded_buffer(20, 20), 30))
    assert {len(batch) for batch in batches} == {20}
    rows_in_batch = torch.stack([(batch[:, 0] // 7).unique().numel() * torch.ones(()) for batch in batches])
    assert rows_in_batch.mean() > 8


def test_buffer_follows_its_seed_and_leaves_the_global_one_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = (
        torch.cat(list(itertools.islice(coded_buffer(4, 12, seed), 20))) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_buffer_says_when_it_is_too_small() -> None:
    with pytest.raises(ValueError, match="at least two batches"):
        coded_buffer(50, 10)
    with pytest.raises(ValueError, match="must be 1 or more"):
        coded_buffer(0, 10)


def test_training_on_activations(model: TransformerBridge, tokens: torch.Tensor) -> None:
    autoencoder, log = train_on_activations(
        tokens, model, factor=3, n_instances=2, steps=60, batch_size=32, progress=False
    )
    assert autoencoder.W_enc.shape == (2, 14, 42)
    torch.testing.assert_close(autoencoder.W_dec.norm(dim=-1), torch.ones(2, 42), atol=1e-5, rtol=0)
    assert log["loss"][-1] < log["loss"][0]
    again, _ = train_on_activations(
        tokens, model, factor=3, n_instances=2, steps=60, batch_size=32, progress=False
    )
    torch.testing.assert_close(again.W_enc, autoencoder.W_enc)
