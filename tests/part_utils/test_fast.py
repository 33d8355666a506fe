"""The quick twins that no other file of tests compares with their originals, and when a short cut may be taken."""

import pytest
import torch
import torch.nn.functional as F

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.fast import overrides
from part_utils.fast.embedding_bag import per_sample_weight_gradients
from part_utils.toy_model import NeuronModel, ToyModel, ToyModelConfig


@pytest.mark.parametrize("sizes", [(2, 3, 1), (4, 0, 2, 5)])
def test_gradients_of_weights_are_those_of_autograd(sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    table, bags = torch.randn(7, 5), torch.tensor(sizes)
    indices = torch.randint(7, (int(bags.sum()),))
    offsets = bags.cumsum(0) - bags
    weights = torch.randn(len(indices), requires_grad=True)
    grad_output = torch.randn(len(sizes), 5)
    out = F.embedding_bag(indices, table, offsets, mode="sum", per_sample_weights=weights)
    (expected,) = torch.autograd.grad(out, weights, grad_output)
    bag_of = torch.arange(len(sizes)).repeat_interleave(bags)
    found = per_sample_weight_gradients(grad_output, table, indices, offsets, bag_of)
    torch.testing.assert_close(found, expected)


def test_a_short_cut_is_for_what_the_original_computes() -> None:
    class Renamed(ToyModel):
        """Computes the same."""

    class Other(ToyModel):
        def calculate_loss(self, out: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
            return 2 * super().calculate_loss(out, batch)

    cfg = ToyModelConfig(2, 5, 2)
    assert ToyModel(cfg).is_plain()
    assert Renamed(cfg).is_plain()
    assert not Other(cfg).is_plain()
    assert not NeuronModel(cfg).is_plain()
    assert not ToyModel(ToyModelConfig(2, 5, 2, n_correlated_pairs=1)).is_plain()

    class Mine(AutoEncoder):
        def normalize_decoder(self) -> None: ...

    autoencoder = Mine(AutoEncoderConfig(1, 2, 3))
    assert overrides(autoencoder, AutoEncoder, "forward", "normalize_decoder")
    assert not overrides(autoencoder, AutoEncoder, "forward")
