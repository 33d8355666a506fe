import pytest
import torch

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.toy_hierarchy import PARENT, ToyHierarchy
from part_utils.variants import (
    BatchTopKAutoEncoder,
    GatedAutoEncoder,
    JumpReLUAutoEncoder,
    MatryoshkaAutoEncoder,
    TopKAutoEncoder,
)
from part_utils.variants.batch_topk import above_threshold, batch_topk, threshold_for_inference
from part_utils.variants.jumprelu import jumprelu, l0_with_gradient
from part_utils.variants.matryoshka import matryoshka_loss
from part_utils.variants.topk import topk

CFG = AutoEncoderConfig(n_instances=3, n_input_ae=5, n_hidden_ae=7, l1_coeff=0.2)
KINDS = {
    "topk": lambda: TopKAutoEncoder(CFG, 2),
    "batch_topk": lambda: BatchTopKAutoEncoder(CFG, 1.5),
    "jumprelu": lambda: JumpReLUAutoEncoder(CFG),
    "gated": lambda: GatedAutoEncoder(CFG),
    "matryoshka": lambda: MatryoshkaAutoEncoder(CFG, 1.5, (2, 7)),
}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def with_random_weights(kind: str) -> AutoEncoder:
    autoencoder = KINDS[kind]()
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.normal_(std=0.5)
    return autoencoder


@pytest.mark.parametrize("kind", KINDS)
def test_forward_puts_encode_and_decode_together_and_trains_every_parameter(kind: str) -> None:
    autoencoder = with_random_weights(kind)
    h = torch.randn(11, 3, 5)
    out = autoencoder(h)
    torch.testing.assert_close(out.acts, autoencoder.encode(h))
    torch.testing.assert_close(out.h_reconstructed, autoencoder.decode(out.acts))
    torch.testing.assert_close(out.l2_loss, (h - out.h_reconstructed).pow(2).mean(dim=-1))
    out.loss.backward()
    for name, parameter in autoencoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("kind", KINDS)
def test_what_fires_on_an_input_does_not_depend_on_the_others_once_it_is_trained(kind: str) -> None:
    autoencoder = with_random_weights(kind)
    h = torch.randn(11, 3, 5)
    autoencoder(h)
    autoencoder.eval()
    together = autoencoder(h).acts
    torch.testing.assert_close(torch.cat([autoencoder(row[None]).acts for row in h]), together)


def test_topk_keeps_the_largest_and_never_more_than_k() -> None:
    pre_acts = torch.tensor([[[3.0, 1.0, 2.0, -1.0]], [[-3.0, -1.0, -2.0, -4.0]], [[1.0, 1.0, 1.0, 1.0]]])
    pre_acts.requires_grad_()
    acts = topk(pre_acts, 2)
    assert acts[0].tolist() == [[3.0, 0.0, 2.0, 0.0]]
    assert not acts[1].any()
    assert (acts[2] > 0).sum() == 2
    acts.sum().backward()
    assert torch.equal(pre_acts.grad > 0, acts > 0)


def test_batch_topk_fires_k_on_average_in_every_instance() -> None:
    pre_acts = torch.randn(40, 3, 9) * torch.tensor([1.0, 5.0, 0.1])[:, None]
    acts = batch_topk(pre_acts, 1.5)
    assert (acts > 0).sum(dim=(0, 2)).tolist() == [60, 60, 60]
    assert (acts > 0).sum(dim=-1).unique().numel() > 2
    threshold = threshold_for_inference(pre_acts, 1.5)
    torch.testing.assert_close(above_threshold(pre_acts, threshold), acts)
    assert threshold_for_inference(-pre_acts.abs(), 2).tolist() == [0, 0, 0]


def test_the_threshold_of_batch_topk_is_a_running_mean() -> None:
    autoencoder = BatchTopKAutoEncoder(CFG, 2.5)
    for _ in range(300):
        autoencoder(torch.randn(500, 3, 5))
    autoencoder.eval()
    fires = (autoencoder(torch.randn(5_000, 3, 5)).acts > 0).sum(dim=-1).float().mean(dim=0)
    torch.testing.assert_close(fires, torch.full((3,), 2.5), atol=0.1, rtol=0)


def test_straight_through_gradients_are_those_of_the_mean_over_many_inputs() -> None:
    threshold, bandwidth, step = torch.tensor([[0.3, 0.5, 0.8]]).double(), 0.05, 0.02
    pre_acts = torch.randn(2_000_000, 1, 3).double()

    def means(at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fires = (pre_acts > at).double()
        return (fires * pre_acts).mean(dim=0), fires.mean(dim=0)

    slopes = [
        (after - before) / (2 * step)
        for after, before in zip(means(threshold + step), means(threshold - step), strict=True)
    ]
    for function, slope in ((jumprelu, slopes[0]), (l0_with_gradient, slopes[1])):
        at = threshold.clone().requires_grad_()
        (function(pre_acts, at, bandwidth).sum() / len(pre_acts)).backward()
        torch.testing.assert_close(at.grad, slope, rtol=0.03, atol=0)


def test_the_count_has_no_gradient_for_what_it_counts() -> None:
    pre_acts = torch.randn(50, 2, 3, requires_grad=True)
    threshold = torch.rand(2, 3, requires_grad=True)
    count = l0_with_gradient(pre_acts, threshold, 0.5)
    assert torch.equal(count.detach(), (pre_acts > threshold).sum(dim=-1).float())
    assert torch.autograd.grad(count.sum(), pre_acts, allow_unused=True)[0] is None


def test_only_the_gate_pays_the_penalty_and_the_auxiliary_loss_leaves_the_decoder_alone() -> None:
    autoencoder = with_random_weights("gated")
    h = torch.randn(11, 3, 5)
    out = autoencoder(h)
    out.l2_loss.mean(dim=0).sum().backward(retain_graph=True)
    by_reconstruction = {
        name: p.grad.clone() for name, p in autoencoder.named_parameters() if p.grad is not None
    }
    autoencoder.zero_grad()
    out.loss.backward()
    for name in ("W_dec", "r_mag", "b_mag"):
        torch.testing.assert_close(getattr(autoencoder, name).grad, by_reconstruction[name])
    assert "b_enc" not in by_reconstruction


def test_matryoshka_adds_up_the_errors_of_the_prefixes() -> None:
    acts, W_dec, b_dec, h = (
        torch.rand(11, 3, 7),
        torch.randn(3, 7, 5),
        torch.randn(3, 5),
        torch.randn(11, 3, 5),
    )

    def error(m: int) -> torch.Tensor:
        rebuilt = torch.einsum("bil,ild->bid", acts[..., :m], W_dec[:, :m]) + b_dec
        return (h - rebuilt).pow(2).mean(dim=-1)

    torch.testing.assert_close(
        matryoshka_loss(acts, W_dec, b_dec, h, (2, 5, 7)), error(2) + error(5) + error(7)
    )


@pytest.mark.parametrize("prefixes", [(), (7, 2), (2, 2, 7), (0, 7), (2, 5)])
def test_prefixes_that_do_not_nest_are_refused(prefixes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must grow"):
        MatryoshkaAutoEncoder(CFG, 2, prefixes)


@pytest.mark.parametrize(
    ("make", "k"),
    [(TopKAutoEncoder, 8), (TopKAutoEncoder, 0), (BatchTopKAutoEncoder, 0), (BatchTopKAutoEncoder, 7.5)],
)
def test_an_impossible_k_is_refused(make: type, k: float) -> None:
    with pytest.raises(ValueError, match="k is"):
        make(CFG, k)


@pytest.mark.parametrize("kind", KINDS)
def test_resampled_latents_start_again_with_everything_that_they_have(kind: str) -> None:
    autoencoder, fresh = with_random_weights(kind), KINDS[kind]()
    before = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    latents = torch.rand(3, 7) < 0.5
    autoencoder.restart(latents)
    for name, value in autoencoder.state_dict().items():
        if name in ("r_mag", "b_mag") or (name == "threshold" and value.ndim == 2):
            torch.testing.assert_close(value[latents], fresh.state_dict()[name][latents])
            torch.testing.assert_close(value[~latents], before[name][~latents])
        else:
            assert torch.equal(value, before[name])


def test_no_child_without_its_parent() -> None:
    world = ToyHierarchy(n_instances=4, n_children=2, n_loners=3, parent=0.3, child=0.4, loner=0.15)
    present = world.generate_batch(40_000) > 0
    for child in world.child_features:
        assert not (present[..., child] & ~present[..., PARENT]).any()
    rates = present.float().mean(dim=(0, 1))
    torch.testing.assert_close(rates, torch.tensor([0.3, 0.12, 0.12, 0.15, 0.15, 0.15]), atol=0.01, rtol=0)
    torch.testing.assert_close(world.W.mT @ world.W, torch.eye(6).expand(4, 6, 6), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="n_hidden is 4"):
        ToyHierarchy(n_children=2, n_hidden=4)
