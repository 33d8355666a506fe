"""Dead latents, the two ways to resample them, Adam's state; and what each does to recovery."""

import pytest
import torch
from torch import Tensor

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.recovery import (
    compare_resampling,
    compare_tied_weights,
    compare_unit_norm,
    model_with_directions,
    repeat_model,
    sweep_l1_coeff,
    sweep_latents,
    train_and_measure,
)
from part_utils.resampling import dead_neurons, resample_advanced, resample_simple, reset_adam_state
from part_utils.toy_model import ToyModel, ToyModelConfig
from part_utils.training import cosine_decay_lr

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


# The science: what resampling does to recovery


def trained_toy_model(n_instances: int, steps: int) -> ToyModel:
    """Five features in two dimensions at feature probabilities from 1 % to 5 %."""
    torch.manual_seed(0)
    probability = torch.linspace(0.01, 0.05, n_instances).unsqueeze(1)
    model = ToyModel(ToyModelConfig(n_instances), feature_probability=probability)
    model.optimize(steps=steps, lr=5e-3, lr_schedule=cosine_decay_lr, progress=False)
    return model


def test_resampling_helps_within_a_thousand_steps() -> None:
    model = model_with_directions([5, 77, 149, 221, 293], 0.05, n_instances=6)
    settings = {"seeds": 2, "steps": 1_000, "progress": False}
    without, _, _ = train_and_measure(model, resample_method=None, **settings)
    resampled, _, log = train_and_measure(model, **settings)
    assert without.recovered < 0.75
    assert resampled.recovered > without.recovered + 0.15
    assert resampled.dead <= without.dead
    # Nothing is resampled after `resample_until`.
    last = max(i for i, step in enumerate(log.steps) if step < 0.8 * 1_000)
    assert torch.equal(log["n_resampled"][last + 1], log["n_resampled"][-1])


@pytest.mark.slow
def test_share_of_features_recovered_by_each_method() -> None:
    """The table of chapter 3: 16 instances x 5 seeds, 5 features in 2 dimensions, p from 1 % to 5 %."""
    model = trained_toy_model(n_instances=16, steps=5_000)
    results = {result.setting: result for result in compare_resampling(model, progress=False)}
    recovered = {name: result.recovered for name, result in results.items()}
    assert recovered["none"] < 0.7
    assert recovered["simple"] > recovered["none"] + 0.25
    assert recovered["advanced"] >= recovered["simple"] - 0.01
    assert recovered["advanced + Adam reset"] > recovered["none"] + 0.25
    assert recovered["advanced"] >= 0.99
    assert results["none"].dead > 0.1
    assert results["advanced"].dead < 0.01
    assert results["advanced"].loss < results["none"].loss


@pytest.mark.slow
def test_what_can_be_compared_on_one_page() -> None:
    model = trained_toy_model(n_instances=8, steps=4_000)
    by_l1 = {result.setting: result for result in sweep_l1_coeff(model, (0.01, 0.25, 2.0), progress=False)}
    assert by_l1[0.25].recovered > 0.9
    assert by_l1[0.25].recovered > by_l1[0.01].recovered
    assert by_l1[2.0].l0 < by_l1[0.25].l0 < by_l1[0.01].l0
    assert by_l1[0.01].l2 < by_l1[0.25].l2 < by_l1[2.0].l2
    by_latents = {result.setting: result for result in sweep_latents(model, (3, 5, 8), progress=False)}
    assert by_latents[3].recovered <= 0.6
    assert by_latents[5].recovered > 0.9
    crowded = model_with_directions([0, 45, 150, 250], 0.05, n_instances=16)
    untied, tied = compare_tied_weights(crowded, seeds=1, l1_coeff=0.1, progress=False)
    assert untied.recovered > tied.recovered


def test_only_an_open_loophole_lets_the_decoder_grow() -> None:
    model = model_with_directions([5, 77, 149, 221, 293], 0.05, n_instances=4)
    results, logs, lengths = compare_unit_norm(model, steps=400, progress=False)
    by_name = {result.setting: result for result in results}
    assert lengths["nothing"][-1] > 1.5
    for name in ("parametrization", "projection"):
        assert lengths[name][-1] == pytest.approx(1.0, abs=1e-5)
        assert by_name["nothing"].l1 < 0.8 * by_name[name].l1
        assert logs[name].steps[-1] == 399


def test_repeated_models_are_the_same_model_side_by_side() -> None:
    model = model_with_directions([0, 100, 220], 0.3, n_instances=2)
    copies = repeat_model(model, 3)
    features = torch.rand(5, 2, 3)
    torch.testing.assert_close(copies(features.repeat(1, 3, 1)), model(features).repeat(1, 3, 1))
