"""A language model with its autoencoder as one thing, and the calls of notebooks that hand them over one by one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from part_utils.autoencoder import AutoEncoder
from part_utils.interpretation import feature_activations, top_activations
from part_utils.model_with_autoencoder import ModelWithAutoencoder, also_in_parts
from tests.small_language_model import small_autoencoder, small_tokens


@pytest.fixture(scope="module")
def autoencoder() -> AutoEncoder:
    return small_autoencoder(-0.3)


@pytest.mark.parametrize("instance", [0, 1])
def test_latents_and_directions_are_those_of_the_instance(
    model: TransformerBridge, autoencoder: AutoEncoder, instance: int
) -> None:
    subject = ModelWithAutoencoder(model, autoencoder, instance)
    h = torch.randn(2, 3, autoencoder.cfg.n_input_ae, generator=torch.Generator().manual_seed(1))
    acts = autoencoder(h.flatten(0, 1)[:, None].expand(-1, 2, -1)).acts[:, instance]
    torch.testing.assert_close(subject.encode(h), acts)
    torch.testing.assert_close(subject.encode(h, [4, 2]), acts[:, [4, 2]])
    assert subject.n_latents == acts.shape[1]
    W_dec = autoencoder.normalize_and_return_W_dec()
    assert torch.equal(subject.directions, W_dec[instance])


@pytest.mark.parametrize("instance", [-1, 2])
def test_an_instance_that_is_not_there(
    model: TransformerBridge, autoencoder: AutoEncoder, instance: int
) -> None:
    with pytest.raises(ValueError, match=f"There is no instance {instance}: choose one from 0 to 1"):
        ModelWithAutoencoder(model, autoencoder, instance)


def test_a_call_in_parts_gives_the_same(model: TransformerBridge, autoencoder: AutoEncoder) -> None:
    tokens, encoder_b = small_tokens(), ModelWithAutoencoder(model, autoencoder, instance=1)
    expected = feature_activations(tokens, encoder_b, 4)
    for acts in (
        feature_activations(tokens, model, autoencoder, 4, 1),  # type: ignore[call-arg, arg-type]
        feature_activations(tokens, model, autoencoder, 4, 1, 5),  # type: ignore[call-arg, arg-type]
        feature_activations(tokens, model=model, autoencoder=autoencoder, feature_idx=4, instance=1),  # type: ignore[call-arg]
    ):
        torch.testing.assert_close(acts, expected)
    top = top_activations(tokens, model, autoencoder, k=3)  # type: ignore[arg-type, misc]
    assert torch.equal(
        top.values, top_activations(tokens, ModelWithAutoencoder(model, autoencoder), 3).values
    )


@pytest.mark.parametrize(
    ("instance_last", "args", "expected"),
    [
        (False, (), (0, 10, 0.5)),
        (False, (1,), (1, 10, 0.5)),
        (False, (1, 20), (1, 20, 0.5)),
        (True, (20,), (0, 20, 0.5)),
        (True, (20, 0.1, 1), (1, 20, 0.1)),
    ],
)
def test_the_order_of_arguments_in_parts(
    model: TransformerBridge,
    autoencoder: AutoEncoder,
    instance_last: bool,
    args: tuple[Any, ...],
    expected: tuple[Any, ...],
) -> None:
    def what_it_gets(
        sentence: str, subject: ModelWithAutoencoder, latent: int, n: int = 10, t: float = 0.5
    ) -> Any:
        assert (sentence, subject.model, subject.autoencoder, latent) == ("a", model, autoencoder, 3)
        return subject.instance, n, t

    function: Callable[..., Any] = also_in_parts(what_it_gets, instance_last=instance_last)
    assert function("a", model, autoencoder, 3, *args) == expected
    assert function("a", ModelWithAutoencoder(model, autoencoder, expected[0]), 3, *expected[1:]) == expected
