"""What the texts of chapters 1 to 3 say of their experiments, on smaller runs."""

import pytest
import torch

from part_utils import recovery
from part_utils.double_descent import invented_and_missed, train_on_fixed_data
from part_utils.hidden_states import hidden_states
from part_utils.linear_model import LinearModel
from part_utils.matching import living_rows, match_features, share_recovered
from part_utils.phase_diagram import feature_states, measure_phases, sweep_settings, theoretical_phases
from part_utils.resampling import dead_neurons, dead_share
from part_utils.shrinkage import measure_shrinkage, predicted_shortfall
from part_utils.toy_geometry import compute_dimensionality, cosine_similarities
from part_utils.toy_model import ToyModel, ToyModelConfig
from part_utils.training import constant_lr, cosine_decay_lr


@pytest.fixture(scope="module")
def model() -> ToyModel:
    """The toy model of chapters 2 and 3, with half of its instances."""
    torch.manual_seed(0)
    model = ToyModel(
        ToyModelConfig(n_instances=8), feature_probability=torch.linspace(0.01, 0.05, 8)[:, None]
    )
    model.optimize(steps=3_000, lr=5e-3, lr_schedule=cosine_decay_lr, progress=False)
    return model


# Recovery


def test_a_latent_that_does_not_fire_recovers_nothing() -> None:
    W_toy = torch.eye(3).expand(2, 3, 3)
    W_dec, rates = W_toy.mT.clone(), torch.full((2, 3), 0.1)
    assert share_recovered(W_toy, W_dec, rates) == 1
    rates[0, 1], rates[1, 2] = 0.0, 1e-3  # never, and not more often than 1 in 1,000
    assert share_recovered(W_toy, W_dec, rates) == pytest.approx(4 / 6)
    assert match_features(W_toy, living_rows(W_dec, rates))[0].tolist() == [1, 0, 1]
    assert share_recovered(W_toy, W_dec, rates, least_rate=1e-4) == pytest.approx(5 / 6)


def test_a_dead_latent_leaves_its_feature_to_a_living_one() -> None:
    W_toy = torch.eye(2).expand(1, 2, 2)
    W_dec = torch.tensor([[[1.0, 0.0], [0.99, 0.1], [0.0, 1.0]]])
    matched = match_features(W_toy, living_rows(W_dec, torch.tensor([[0.0, 0.2, 0.2]])))
    assert 0.98 < matched[0, 0] < 1
    assert matched[0, 1] == 1


def test_firing_rates_are_those_of_fresh_inputs() -> None:
    model = recovery.model_with_directions([0, 90], feature_probability=0.2)
    _, autoencoder, _ = recovery.train_and_measure(model, seeds=1, l1_coeff=0.02, steps=500, progress=False)
    torch.manual_seed(0)
    rates = recovery.firing_rates(autoencoder, model, n_inputs=7_000)
    assert rates.shape == (1, 2)
    assert ((rates > 0.15) & (rates < 0.25)).all()


def test_without_resampling_latents_die_and_features_are_missing(model: ToyModel) -> None:
    settings = {"seeds": 2, "progress": False, "steps": 2_000}
    none, *_ = recovery.train_and_measure(model, "none", resample_method=None, **settings)
    simple, *_ = recovery.train_and_measure(model, "simple", resample_method="simple", **settings)
    assert none.dead > 0.15
    assert none.recovered < 0.75
    assert min(simple.per_seed) > max(none.per_seed) + 0.15
    assert simple.recovered > 0.9


@pytest.mark.slow
def test_small_steps_are_not_finished_after_5000(model: ToyModel) -> None:
    small = {
        "lr": 1e-3,
        "lr_schedule": constant_lr,
        "seeds": 2,
        "progress": False,
        "resample_method": "simple",
    }
    short, *_ = recovery.train_and_measure(model, "short", steps=5_000, **small)
    long, *_ = recovery.train_and_measure(model, "long", steps=20_000, **small)
    assert short.recovered < 0.85
    assert short.dead < 0.1
    assert long.recovered > 0.95
    assert min(long.per_seed) > max(short.per_seed) + 0.1


@pytest.mark.slow
def test_resampling_by_loss_pays_in_twenty_dimensions() -> None:
    torch.manual_seed(0)
    larger = ToyModel(ToyModelConfig(3, n_features=60, n_hidden=20), feature_probability=0.02)
    larger.optimize(steps=2_000, batch_size=512, lr=5e-3, lr_schedule=cosine_decay_lr, progress=False)
    settings = {"steps": 3_000, "batch_size": 512, "l1_coeff": 0.02, "seeds": 2, "progress": False}
    none, simple, advanced = (
        recovery.train_and_measure(larger, str(how), resample_method=how, **settings)[0]
        for how in (None, "simple", "advanced")
    )
    assert max(none.per_seed) < min(simple.per_seed)
    assert max(simple.per_seed) < min(advanced.per_seed)
    assert min(advanced.per_seed) > 0.98
    assert advanced.resampled < 0.7 * simple.resampled


def test_dead_share_is_that_of_each_window() -> None:
    torch.manual_seed(0)
    rates = torch.rand(9, 2, 5) * (torch.rand(9, 2, 5) < 0.3)
    shares = dead_share(rates, 4)
    assert shares.shape == (6,)
    assert shares[2] == dead_neurons(rates[2:6]).float().mean()
    assert dead_share(rates, 1).mean() > shares.mean() > dead_share(rates, 9).item()


# Shrinkage


def test_latents_fall_short_by_the_formula_at_right_angles() -> None:
    model = recovery.model_with_directions([0, 90], feature_probability=0.05, n_instances=4)
    for result in measure_shrinkage(model, (0.05, 0.2), steps=1_500):
        assert result.predicted == predicted_shortfall(result.l1_coeff, 2) == result.l1_coeff
        assert result.measured == pytest.approx(result.predicted, rel=0.15)
        # A feature is between 0 and 1 long: it is silent where it is shorter than the shortfall.
        assert result.silent == pytest.approx(result.predicted, abs=0.05)


def test_in_the_pentagon_latents_fall_short_by_more(model: ToyModel) -> None:
    (result,) = measure_shrinkage(model, (0.25,), steps=2_000)
    assert 0.25 < result.measured < 0.35
    assert 0.2 < result.silent < 0.4
    assert 0.45 < result.kept < 0.65


# Toy models


def test_a_feature_is_left_out_or_shares_or_is_alone() -> None:
    W = torch.tensor([[[1.0, 0.0, 0.1], [0.0, 1.0, 0.0]], [[1.0, -1.0, 0.0], [0.0, 0.0, 0.6]]])
    assert feature_states(W).tolist() == [[2, 2, 0], [1, 1, 2]]


def test_a_sweep_has_every_pair_once() -> None:
    p, importance = sweep_settings(torch.tensor([0.1, 0.2]), torch.tensor([3.0, 4.0, 5.0]), 3)
    assert p.shape == importance.shape == (6, 3)
    assert list(zip(p[:, 0].tolist(), importance[:, -1].tolist(), strict=True)) == [
        (pytest.approx(a), b) for a in (0.1, 0.2) for b in (3, 4, 5)
    ]
    assert (importance[:, :2] == 1).all()


def test_trained_and_calculated_phases_agree_away_from_the_borders() -> None:
    probabilities, importances = torch.tensor([1.0, 0.5, 0.05]), torch.tensor([0.1, 10.0])
    measured = measure_phases(probabilities, importances, starts=4, steps=800, progress=False)
    calculated = theoretical_phases(probabilities, importances)
    assert calculated.states.tolist() == [[0, 2], [0, 2], [1, 1]]
    assert torch.equal(measured.states, calculated.states)


@pytest.mark.slow
def test_the_whole_phase_diagram_agrees_with_the_formulas() -> None:
    probabilities, importances = torch.logspace(0, -2, 13), torch.logspace(-1, 1, 13)
    measured = measure_phases(probabilities, importances, progress=False)
    assert (measured.states == theoretical_phases(probabilities, importances).states).float().mean() > 0.93


def test_a_linear_model_keeps_as_many_features_as_dimensions_however_sparse() -> None:
    p = torch.tensor([1.0, 0.05])[:, None]
    losses = {}
    for kind in (LinearModel, ToyModel):
        torch.manual_seed(0)
        model = kind(ToyModelConfig(2), p, 0.9 ** torch.arange(5))
        model.optimize(steps=1_500, batch_size=512, lr=1e-2, lr_schedule=cosine_decay_lr, progress=False)
        kept = (model.W.norm(dim=1) > 0.5).sum(dim=1).tolist()
        assert kept == ([2, 2] if kind is LinearModel else [2, 5])
        with torch.no_grad():
            batch = model.generate_batch(20_000)
            losses[kind] = (model.importance * (model(batch) - batch) ** 2).mean(dim=(0, 2))
    assert losses[ToyModel][1] < 0.3 * losses[LinearModel][1]
    assert losses[ToyModel][0] == pytest.approx(losses[LinearModel][0].item(), rel=0.1)


def test_the_loss_drops_where_the_geometry_changes() -> None:
    torch.manual_seed(1)
    model = ToyModel(ToyModelConfig(1), feature_probability=0.02)
    with torch.no_grad():
        model.W *= 0.02
    log = model.optimize(steps=1_500, batch_size=4_096, lr=3e-3, seed=1, record_weights=True, progress=False)
    loss = dict(zip(log.steps, log["loss"], strict=True))
    gaps = {}
    for step, W in zip(log.steps, log["W"], strict=True):
        angles = torch.atan2(W[0, 1], W[0, 0]).rad2deg().sort().values
        gaps[step] = torch.cat([angles.diff(), angles[:1] + 360 - angles[-1:]])
    early, middle, late = 256, 640, log.steps[-1]
    assert loss[early] > 1.4 * loss[middle] > 1.4 * 1.4 * loss[late]
    assert (gaps[early] < 10).sum() == 2  # three features on one arm
    assert (gaps[middle] < 10).sum() == 1  # two of them
    assert (gaps[late] - 72).abs().max() < 4  # a pentagon


def test_dimensionalities_add_up_to_no_more_than_the_dimensions() -> None:
    torch.manual_seed(0)
    for hidden, features in ((2, 5), (3, 20), (7, 4)):
        sums = compute_dimensionality(torch.randn(50, hidden, features)).sum(dim=1)
        assert (sums <= min(hidden, features) + 1e-4).all()
        assert sums.min() < min(hidden, features) - 0.05  # and some spend less


def test_twice_the_features_need_not_overlap_more() -> None:
    torch.manual_seed(0)
    p = torch.tensor([1.0, 0.25, 0.02])
    many = ToyModel(ToyModelConfig(3, 100, 20), p[:, None], 0.97 ** torch.arange(100))
    many.optimize(steps=1_000, batch_size=256, lr=5e-3, lr_schedule=cosine_decay_lr, progress=False)
    kept, overlap = [], []
    for W, cosines in zip(many.W.detach(), cosine_similarities(many.W).detach(), strict=True):
        represented = W.norm(dim=0) > 0.5
        kept.append(int(represented.sum()))
        overlap.append(cosines[represented][:, represented].fill_diagonal_(0).abs().mean().item())
    assert kept[0] < 30 < kept[1] < kept[2]
    assert overlap[1] < 0.05
    assert overlap[0] < 0.06
    assert overlap[2] > 0.1


def test_the_bump_of_double_descent_is_invented() -> None:
    torch.manual_seed(0)
    few, bump, many = (train_on_fixed_data(size, steps=1_500, progress=False) for size in (15, 100, 1000))
    new_data = train_on_fixed_data(2_000, steps=1, seed=9, progress=False).datapoints
    parts = []
    for run in (few, bump, many):
        with torch.no_grad():
            out = run.model(new_data)
        invented, missed = invented_and_missed(out, new_data)
        assert (invented + missed).item() == pytest.approx(
            (out - new_data).pow(2).sum(-1).mean().item(), rel=1e-4
        )
        parts.append((invented.item(), missed.item()))
    assert parts[1][0] > 0.2
    assert parts[0][0] < 0.1
    assert parts[2][0] < 0.1
    assert all(0.85 < missed < 1.05 for _, missed in parts)


def test_hidden_states_of_the_model_lie_on_its_rays(model: ToyModel) -> None:
    features = torch.zeros(5, 8, 5)
    features[torch.arange(5), :, torch.arange(5)] = 0.7
    h = hidden_states(model, features).detach()
    torch.testing.assert_close(h, 0.7 * model.W.detach().permute(2, 0, 1))
