"""Dead latents, the two ways to resample them, Adam's state; and what each does to recovery."""

import pytest
import torch
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.resampling import dead_neurons, resample_advanced, resample_simple, reset_adam_state

WINDOW, INSTANCES, INPUTS, LATENTS, BATCH = 13, 3, 5, 7, 11
METHODS = {
    "simple": lambda ae, frac, h, scale: resample_simple(ae, frac, scale),
    "advanced": resample_advanced,
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def random_autoencoder(tied: bool = False, latents: int = LATENTS, inputs: int = INPUTS) -> AutoEncoder:
    """Biases that are not zero, decoder rows that are not of unit length."""
    autoencoder = AutoEncoder(AutoEncoderConfig(INSTANCES, inputs, latents, tied_weights=tied))
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return autoencoder


def window_with(dead: Tensor) -> Tensor:
    """Firing rates in which exactly these latents are dead; the others fire in one step only."""
    frac_active = torch.zeros(WINDOW, *dead.shape)
    frac_active[4] = 0.01
    return frac_active * ~dead


def some_dead() -> Tensor:
    dead = torch.zeros(INSTANCES, LATENTS, dtype=torch.bool)
    dead[0, [1, 4]] = True
    dead[2, [0, 5, 6]] = True
    return dead


def copies(autoencoder: AutoEncoder) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in autoencoder.named_parameters()}


def test_a_latent_is_dead_when_it_never_fired_in_the_window() -> None:
    dead = some_dead()
    frac_active = window_with(dead)
    assert torch.equal(dead_neurons(frac_active), dead)
    assert torch.equal(dead_neurons(frac_active.flip(0)), dead)
    assert not dead_neurons(torch.full_like(frac_active, 1e-9)).any()
    with pytest.raises(ValueError, match="window n_instances n_hidden_ae"):
        dead_neurons(frac_active[0])


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_only_dead_latents_change_and_they_change_wholly(method: str, tied: bool) -> None:
    autoencoder, dead = random_autoencoder(tied), some_dead()
    before = copies(autoencoder)
    h = torch.randn(BATCH, INSTANCES, INPUTS)
    replaced = METHODS[method](autoencoder, window_with(dead), h, 0.3)
    assert torch.equal(replaced, dead)
    after = copies(autoencoder)
    assert torch.equal(after["b_dec"], before["b_dec"])
    assert torch.equal(after["b_enc"][~dead], before["b_enc"][~dead])
    assert not after["b_enc"][dead].any()
    assert torch.equal(after["W_enc"].mT[~dead], before["W_enc"].mT[~dead])
    directions = autoencoder.normalize_and_return_W_dec().detach()[dead]
    if not tied:
        assert torch.equal(after["W_dec"][~dead], before["W_dec"][~dead])
        torch.testing.assert_close(after["W_dec"][dead], directions)
    # Encoder and decoder point the same way; no two latents share a direction.
    encoder = after["W_enc"].mT[dead]
    torch.testing.assert_close(encoder / encoder.norm(dim=-1, keepdim=True), directions)
    similarity = directions @ directions.T - 2 * torch.eye(len(directions))
    assert method == "advanced" or similarity.max() < 0.999


def test_simple_encoder_length_is_the_scale() -> None:
    autoencoder, dead = random_autoencoder(), some_dead()
    resample_simple(autoencoder, window_with(dead), 0.3)
    torch.testing.assert_close(autoencoder.W_enc.mT[dead].norm(dim=-1), torch.full((5,), 0.3))


def test_simple_directions_are_uniform_on_the_circle() -> None:
    n = 20_000
    autoencoder = random_autoencoder(latents=n, inputs=2)
    resample_simple(autoencoder, torch.zeros(1, INSTANCES, n))
    angle = torch.atan2(autoencoder.W_dec[..., 1], autoencoder.W_dec[..., 0])
    share = torch.histc(angle, bins=12, min=-torch.pi, max=torch.pi) / angle.numel()
    torch.testing.assert_close(share, torch.full((12,), 1 / 12), rtol=0, atol=0.004)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_dead_changes_nothing(method: str) -> None:
    autoencoder = random_autoencoder()
    before = copies(autoencoder)
    nobody = torch.zeros(INSTANCES, LATENTS, dtype=torch.bool)
    replaced = METHODS[method](autoencoder, window_with(nobody), torch.randn(BATCH, INSTANCES, INPUTS), 0.2)
    assert not replaced.any()
    for name, value in copies(autoencoder).items():
        assert torch.equal(value, before[name])


def test_advanced_draws_inputs_by_squared_loss() -> None:
    n = 30_000
    autoencoder = random_autoencoder(latents=n)
    with torch.no_grad():
        autoencoder.W_enc[:, :, 1:] = 0.0
        autoencoder.b_enc[:, 1:] = 0.0
        autoencoder.b_enc[:, 0] = 0.7
    h = torch.randn(BATCH, INSTANCES, INPUTS)
    l2_loss = autoencoder(h).l2_loss.detach()
    candidates = h - autoencoder.b_dec.detach()
    candidates = candidates / candidates.norm(dim=-1, keepdim=True)
    frac_active = torch.zeros(2, INSTANCES, n)
    frac_active[:, :, 0] = 1.0
    resample_advanced(autoencoder, frac_active, h)
    for instance in range(INSTANCES):
        similarity = autoencoder.W_dec[instance, 1:].detach() @ candidates[:, instance].T
        best = similarity.max(dim=-1)
        torch.testing.assert_close(best.values, torch.ones(n - 1))
        share = torch.bincount(best.indices, minlength=BATCH) / (n - 1)
        expected = l2_loss[:, instance] ** 2 / (l2_loss[:, instance] ** 2).sum()
        torch.testing.assert_close(share, expected, rtol=0, atol=0.01)


def test_advanced_encoder_length_is_relative_to_the_alive_ones() -> None:
    autoencoder, dead = random_autoencoder(), some_dead()
    dead[1] = True  # nobody alive here
    alive = [autoencoder.W_enc[i][:, ~dead[i]].norm(dim=0).mean().item() for i in (0, 2)]
    resample_advanced(autoencoder, window_with(dead), torch.randn(BATCH, INSTANCES, INPUTS), 0.3)
    lengths = autoencoder.W_enc.norm(dim=1)
    for instance, length in ((0, alive[0]), (1, 1.0), (2, alive[1])):
        got = lengths[instance, dead[instance]]
        torch.testing.assert_close(got, torch.full_like(got, 0.3 * length))
    assert autoencoder.W_dec.isfinite().all()


def test_advanced_leaves_a_perfect_instance_alone() -> None:
    autoencoder = random_autoencoder()
    h = torch.zeros(BATCH, INSTANCES, INPUTS)
    with torch.no_grad():
        autoencoder.b_dec[0] = 0.0
        autoencoder.b_enc[0] = -1.0
    h[:, 1:] = torch.randn(BATCH, 2, INPUTS)
    before = copies(autoencoder)
    replaced = resample_advanced(autoencoder, torch.zeros(1, INSTANCES, LATENTS), h)
    assert not replaced[0].any()
    assert replaced[1:].all()
    assert torch.equal(autoencoder.W_dec[0], before["W_dec"][0])


@pytest.mark.parametrize("tied", [False, True])
def test_adam_forgets_the_resampled_latents_only(tied: bool) -> None:
    autoencoder, dead = random_autoencoder(tied), some_dead()
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=1e-2)
    reset_adam_state(optimizer, autoencoder, dead)  # before the first step there is nothing to forget
    for _ in range(3):
        optimizer.zero_grad()
        autoencoder(torch.randn(BATCH, INSTANCES, INPUTS)).loss.backward()
        optimizer.step()
    names = ("exp_avg", "exp_avg_sq")
    before = {p: {name: optimizer.state[p][name].clone() for name in names} for p in autoencoder.parameters()}
    reset_adam_state(optimizer, autoencoder, dead)
    masks = {autoencoder.W_enc: dead.unsqueeze(1), autoencoder.b_enc: dead}
    if not tied:
        masks[autoencoder.W_dec] = dead.unsqueeze(2)
    for parameter, old in before.items():
        mask = masks.get(parameter, torch.zeros(1, dtype=torch.bool))
        for name in names:
            torch.testing.assert_close(
                optimizer.state[parameter][name], old[name].masked_fill(mask, 0.0), rtol=0, atol=0
            )
        assert optimizer.state[parameter]["step"] == 3
