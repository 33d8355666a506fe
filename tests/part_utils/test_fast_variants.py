"""The quick steps of the variants compute what `forward` and autograd do, whatever share of the latents fires."""

from collections.abc import Callable

import pytest
import torch

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.fast import variants as quick
from part_utils.frontier import TrainingOfOnePoint, train_on_batches
from part_utils.variants import (
    BatchTopKAutoEncoder,
    GatedAutoEncoder,
    JumpReLUAutoEncoder,
    MatryoshkaAutoEncoder,
    TopKAutoEncoder,
)

CFG = AutoEncoderConfig(n_instances=1, n_input_ae=7, n_hidden_ae=41, l1_coeff=0.3)
KINDS: dict[str, Callable[[], AutoEncoder]] = {
    "batch_topk": lambda: BatchTopKAutoEncoder(CFG, 2.5),
    "matryoshka": lambda: MatryoshkaAutoEncoder(CFG, 2.5, (3, 10, 11, 41)),
    "jumprelu": lambda: JumpReLUAutoEncoder(CFG, bandwidth=0.7),
    "gated": lambda: GatedAutoEncoder(CFG),
}
# What is added to the biases so that a few latents fire, none, or all; and whether pairs may be many.
FIRING = {"few": -3.0, "some": 0.0, "none": -1e3, "all": 1e3}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed, and cut even small batches into several pieces."""
    torch.manual_seed(0)
    monkeypatch.setattr(quick, "CHUNK", 16)
    monkeypatch.setattr(quick, "SAMPLE", 8)


def with_random_weights(kind: str, bias: float) -> AutoEncoder:
    autoencoder = KINDS[kind]()
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.normal_(std=0.8)
        autoencoder.b_enc += bias
    return autoencoder


def gradients(autoencoder: AutoEncoder) -> dict[str, torch.Tensor]:
    return {name: parameter.grad.clone() for name, parameter in autoencoder.named_parameters()}


def assert_same_step(autoencoder: AutoEncoder, h: torch.Tensor) -> None:
    """Compare loss, gradients and buffers after a quick step with those after a plain one."""
    start = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    loss = quick.loss_function(autoencoder)(h)
    assert not loss.requires_grad
    found, buffers = gradients(autoencoder), dict(autoencoder.named_buffers())
    buffers = {name: value.clone() for name, value in buffers.items()}
    autoencoder.load_state_dict(start)
    autoencoder.zero_grad()
    expected = autoencoder(h[:, None]).loss
    expected.backward()
    torch.testing.assert_close(loss, expected.detach(), atol=1e-5, rtol=1e-5)
    for name, gradient in gradients(autoencoder).items():
        scale = gradient.abs().max().clamp_min(1)
        torch.testing.assert_close(found[name] / scale, gradient / scale, atol=1e-5, rtol=1e-5, msg=name)
    torch.testing.assert_close(buffers, dict(autoencoder.named_buffers()))


@pytest.mark.parametrize("firing", FIRING)
@pytest.mark.parametrize("kind", KINDS)
def test_a_quick_step_is_a_plain_one(kind: str, firing: str) -> None:
    assert_same_step(with_random_weights(kind, FIRING[firing]), torch.randn(53, 7))


@pytest.mark.parametrize("firing", FIRING)
@pytest.mark.parametrize("kind", ["jumprelu", "gated"])
def test_pairs_and_matrices_give_the_same(kind: str, firing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for few in (-1.0, 1.0):  # all in matrices, all in pairs
        monkeypatch.setattr(quick, "FEW", few)
        assert_same_step(with_random_weights(kind, FIRING[firing]), torch.randn(53, 7))


@pytest.mark.parametrize("kind", ["batch_topk", "matryoshka"])
def test_the_largest_are_found_though_the_sample_shows_others(kind: str) -> None:
    h = torch.randn(64, 7)
    h[::8] *= 100  # the sample: nothing else comes near to it
    assert_same_step(with_random_weights(kind, -0.5), h)
    h[::8] = 0
    assert_same_step(with_random_weights(kind, -0.5), h)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_any_length_and_no_length(kind: str) -> None:
    autoencoder = with_random_weights(kind, 0.0)
    with torch.no_grad():
        autoencoder.W_dec[0] *= torch.logspace(-2, 2, 41)[:, None]
        autoencoder.W_dec[0, 5] = 0
    h = torch.randn(53, 7)
    loss = quick.loss_function(autoencoder)(h)
    torch.testing.assert_close(loss, autoencoder(h[:, None]).loss.detach())
    assert all(gradient.isfinite().all() for gradient in gradients(autoencoder).values())


def test_only_what_computes_the_same_takes_the_short_cut() -> None:
    class Renamed(GatedAutoEncoder):
        """Computes the same."""

    class Other(MatryoshkaAutoEncoder):
        def forward(self, h: torch.Tensor):  # type: ignore[no-untyped-def]
            return super().forward(2 * h)

    frozen = GatedAutoEncoder(CFG)
    frozen.W_dec.requires_grad_(False)
    two = GatedAutoEncoder(AutoEncoderConfig(2, 7, 41))
    tied = GatedAutoEncoder(AutoEncoderConfig(1, 7, 41, tied_weights=True))
    trained = MatryoshkaAutoEncoder(CFG, 2, (3, 41)).eval()
    assert quick.has_quick_step(Renamed(CFG), GatedAutoEncoder)
    assert not quick.has_quick_step(MatryoshkaAutoEncoder(CFG, 2, (3, 41)), BatchTopKAutoEncoder)
    assert not quick.has_quick_step(Other(CFG, 2, (3, 41)), MatryoshkaAutoEncoder)
    for autoencoder in (frozen, two, tied):
        assert not quick.has_quick_step(autoencoder, GatedAutoEncoder)
    assert not quick.has_quick_step(trained, MatryoshkaAutoEncoder)
    for autoencoder in (AutoEncoder(CFG), TopKAutoEncoder(CFG, 3), tied, Other(CFG, 2, (3, 41))):
        assert quick.loss_function(autoencoder)(torch.randn(5, 7)).requires_grad


@pytest.mark.parametrize("kind", ["Matryoshka", "JumpReLU", "gated"])
def test_a_training_ends_where_the_plain_one_does(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = torch.randn(21, 64, 16).pow(3)
    training = TrainingOfOnePoint(width=48, steps=20, batch_size=64)
    setting = {"Matryoshka": 2.0, "JumpReLU": 2.0, "gated": 0.2}[kind]
    found = train_on_batches(kind, setting, iter(batches), training)
    plain = lambda autoencoder: lambda h: autoencoder(h[:, None]).loss  # noqa: E731
    monkeypatch.setattr("part_utils.frontier.loss_function", plain)
    expected = train_on_batches(kind, setting, iter(batches), training)
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, atol=1e-3, rtol=1e-3, msg=name)
