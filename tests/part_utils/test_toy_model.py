import itertools
import math

import pytest
import torch
from torch import Tensor

from part_utils.double_descent import sparse_datapoints, train_on_fixed_data
from part_utils.fast.toy_model import draw_features, loss_and_gradients
from part_utils.toy_geometry import compute_dimensionality, cosine_similarities, hidden_for_datapoints
from part_utils.toy_model import (
    NeuronComputationModel,
    NeuronModel,
    ToyModel,
    ToyModelConfig,
)
from part_utils.training import linear_lr


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make(
    cls: type[ToyModel] = ToyModel, n_instances: int = 3, n_features: int = 7, n_hidden: int = 2
) -> ToyModel:
    """A model in which nothing is zero or equal: random biases, probabilities and importances."""
    shape = (n_instances, n_features)
    model = cls(
        ToyModelConfig(n_instances, n_features, n_hidden), 0.1 + 0.8 * torch.rand(shape), torch.rand(shape)
    )
    with torch.no_grad():
        model.b_final.normal_()
    return model


def uniform_on_unit_interval(values: Tensor) -> bool:
    """The empirical distribution is within 5 standard errors of the uniform one (Kolmogorov-Smirnov)."""
    ordered = values.flatten().sort().values
    distance = (ordered - torch.linspace(0, 1, len(ordered))).abs().max().item()
    return len(ordered) > 1000 and distance < 2.5 / math.sqrt(len(ordered))


# The models


def test_forward_is_relu_of_WtWx_plus_b() -> None:
    model, x = make(), torch.randn(5, 3, 7)
    out = model(x)
    for b in range(5):
        for i in range(3):
            by_hand = torch.relu(model.W[i].T @ (model.W[i] @ x[b, i]) + model.b_final[i])
            torch.testing.assert_close(out[b, i], by_hand)


def test_neuron_model_has_a_relu_on_the_hidden_layer() -> None:
    model, x = make(NeuronModel), torch.randn(5, 3, 7)
    for i in range(3):
        by_hand = torch.relu(torch.relu(x[:, i] @ model.W[i].T) @ model.W[i] + model.b_final[i])
        torch.testing.assert_close(model(x)[:, i], by_hand)


def test_neuron_computation_model_computes_the_absolute_value_with_two_matrices() -> None:
    model = make(NeuronComputationModel)
    assert sorted(name for name, _ in model.named_parameters()) == ["W1", "W2", "b_final"]
    assert model.W1.shape == (3, 2, 7)
    assert model.W2.shape == (3, 7, 2)
    batch = model.generate_batch(4000)
    present = batch[batch != 0]
    assert uniform_on_unit_interval((present + 1) / 2)
    out = model(batch)
    by_hand = torch.relu(torch.relu(batch[:, 1] @ model.W1[1].T) @ model.W2[1].T + model.b_final[1])
    torch.testing.assert_close(out[:, 1], by_hand)
    error = (model.importance * (out - batch.abs()) ** 2).mean(dim=(0, 2)).sum()
    torch.testing.assert_close(model.calculate_loss(out, batch), error)


def test_loss_is_weighted_meaned_over_batch_and_features_and_summed_over_instances() -> None:
    model, x = make(), torch.rand(5, 3, 7)
    out = torch.rand(5, 3, 7, requires_grad=True)
    by_hand = sum(
        model.importance[i, f] * (out[b, i, f] - x[b, i, f]) ** 2 / (5 * 7)
        for b in range(5)
        for i in range(3)
        for f in range(7)
    )
    loss = model.calculate_loss(out, x)
    torch.testing.assert_close(loss, by_hand)
    assert loss.requires_grad


# The data


def test_generate_batch_has_independent_uniform_features_of_the_right_probability() -> None:
    model = make()
    batch = model.generate_batch(20_000)
    assert batch.shape == (20_000, 3, 7)
    present = (batch != 0).float()
    torch.testing.assert_close(present.mean(dim=0), model.feature_probability, atol=0.02, rtol=0)
    assert uniform_on_unit_interval(batch[batch != 0])
    for instance in range(3):
        correlation = torch.corrcoef(present[:, instance].T) - torch.eye(7)
        assert correlation.abs().max() < 0.04
    assert torch.corrcoef(present[:, :, 0].T).triu(1).abs().max() < 0.04


def test_one_draw_gives_the_same_distribution_as_two() -> None:
    model = make()
    batch = draw_features(model.feature_probability, 20_000).permute(2, 0, 1)
    torch.testing.assert_close((batch != 0).float().mean(dim=0), model.feature_probability, atol=0.02, rtol=0)
    for feature in range(7):
        values = batch[:, 1, feature]
        assert uniform_on_unit_interval(values[values != 0])
    ends = draw_features(torch.tensor([[0.0, 1.0]]), 5_000)[0]
    assert (ends[0] == 0).all()
    assert uniform_on_unit_interval(ends[1])


def test_correlated_features_come_in_pairs_with_values_of_their_own() -> None:
    model = ToyModel(ToyModelConfig(2, 10, 2), torch.tensor([[0.2], [0.7]]))
    batch = model.generate_correlated_features(20_000, 3)
    assert batch.shape == (20_000, 2, 6)
    first, second = batch[:, :, 0::2], batch[:, :, 1::2]
    assert torch.equal(first != 0, second != 0)
    torch.testing.assert_close(
        (first != 0).float().mean(dim=0), torch.tensor([[0.2], [0.7]]).expand(2, 3), atol=0.02, rtol=0
    )
    values = torch.stack([first[first != 0], second[second != 0]])
    assert torch.corrcoef(values)[0, 1].abs() < 0.03
    assert uniform_on_unit_interval(values)


def test_anticorrelated_features_are_never_together() -> None:
    p = torch.tensor([[0.2], [0.5]])
    model = ToyModel(ToyModelConfig(2, 10, 2), p)
    batch = model.generate_anticorrelated_features(20_000, 3)
    present = (batch != 0).float()
    assert not (present[:, :, 0::2] * present[:, :, 1::2]).any()
    torch.testing.assert_close(present.mean(dim=0), p.expand(2, 6), atol=0.02, rtol=0)
    assert uniform_on_unit_interval(batch[batch != 0])
    between_pairs = torch.corrcoef(present[:, 0, 0::2].T) - torch.eye(3)
    assert between_pairs.abs().max() < 0.04


def test_anticorrelated_features_with_p_above_one_half_are_refused() -> None:
    model = ToyModel(ToyModelConfig(1, 4, 2), 0.6)
    with pytest.raises(ValueError, match=r"never present together .* above 0.5, got 0.6"):
        model.generate_anticorrelated_features(10, 2)


def test_training_batch_lays_out_pairs_and_the_rest() -> None:
    model = ToyModel(ToyModelConfig(2, 7, 2, n_correlated_pairs=1, n_anticorrelated_pairs=2), 0.4)
    present = model.training_batch(5_000) != 0
    assert present.shape == (5_000, 2, 7)
    assert torch.equal(present[..., 0], present[..., 1])
    for a, b in ((2, 3), (4, 5)):
        assert not (present[..., a] & present[..., b]).any()
    assert (present.float().mean(dim=0) - 0.4).abs().max() < 0.04


# The measures


def test_cosine_similarities() -> None:
    W = torch.randn(2, 3, 5)
    W[1, :, 4] = 0
    cosines = cosine_similarities(W)
    assert cosines.shape == (2, 5, 5)
    by_hand = torch.nn.functional.cosine_similarity(W[0, :, 1], W[0, :, 3], dim=0)
    torch.testing.assert_close(cosines[0, 1, 3], by_hand)
    torch.testing.assert_close(cosines[0].diagonal(), torch.ones(5))
    assert (cosines[1, 4] == 0).all()


def test_dimensionality_of_known_arrangements() -> None:
    angle = torch.arange(5) * 2 * math.pi / 5
    pentagon = torch.stack([angle.cos(), angle.sin()])
    pair = torch.tensor([[1.0, -1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0, 0.0]])
    dimensionality = compute_dimensionality(torch.stack([pentagon, pair]))
    torch.testing.assert_close(dimensionality[0], torch.full((5,), 2 / 5))
    torch.testing.assert_close(dimensionality[1], torch.tensor([0.5, 0.5, 1.0, 0.0, 0.0]))


def test_dimensionality_does_not_depend_on_scale_and_has_a_finite_gradient() -> None:
    W = torch.randn(2, 3, 5)
    W[0, :, 2] = 0
    torch.testing.assert_close(compute_dimensionality(W), compute_dimensionality(10 * W))
    W.requires_grad_()
    compute_dimensionality(W).sum().backward()
    assert torch.isfinite(W.grad).all()


def test_hidden_for_datapoints_is_the_first_half_of_forward() -> None:
    model, x = make(), torch.rand(5, 3, 7)
    torch.testing.assert_close(hidden_for_datapoints(model, x)[:, 2], x[:, 2] @ model.W[2].T)


# Training


def test_written_out_gradient_is_the_one_of_autograd() -> None:
    model, batch = make().double(), torch.rand(11, 3, 7).double()
    loss = model.calculate_loss(model(batch), batch)
    loss.backward()
    assert model.W.grad.abs().min() > 0
    with torch.no_grad():
        W_grad, b_grad = torch.full_like(model.W, 9), torch.full_like(model.b_final, 9)
        x = batch.permute(1, 2, 0).contiguous()
        same_loss = loss_and_gradients(x, model.W, model.b_final, model.importance, W_grad, b_grad)
    torch.testing.assert_close(same_loss, loss)
    torch.testing.assert_close(W_grad, model.W.grad)
    torch.testing.assert_close(b_grad, model.b_final.grad)


def test_optimize_is_reproducible_and_leaves_random_state_and_threads_alone() -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()

    def run(seed: int) -> Tensor:
        torch.random.set_rng_state(state)
        model = ToyModel(ToyModelConfig(6, 300, 5), 0.1)  # large enough to be cut into pieces
        before = torch.random.get_rng_state()
        model.optimize(steps=5, seed=seed, progress=False)
        assert torch.equal(torch.random.get_rng_state(), before)
        return model.W.detach()

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))
    assert torch.get_num_threads() == threads


def test_short_cut_and_plain_definition_train_to_the_same_loss() -> None:
    class SameModel(ToyModel):
        """A class with a forward of its own is trained as it is defined, without the short cut."""

        def forward(self, features: Tensor) -> Tensor:
            return super().forward(features)

    finals = []
    for cls in (ToyModel, SameModel):
        torch.manual_seed(0)
        model = cls(ToyModelConfig(3, 5, 2), torch.tensor([[1.0], [0.05], [0.02]]), 0.9 ** torch.arange(5))
        model.optimize(batch_size=256, steps=400, lr=1e-2, progress=False)
        batch = model.generate_batch(50_000)
        finals.append(model.calculate_loss(model(batch), batch).item())
    assert finals[1] == pytest.approx(finals[0], rel=0.02)


def test_a_derived_class_is_trained_with_its_own_methods() -> None:
    called = set()

    class Mine(ToyModel):
        def forward(self, features: Tensor) -> Tensor:
            called.add("forward")
            return super().forward(features)

        def generate_batch(self, batch_size: int) -> Tensor:
            called.add("generate_batch")
            return super().generate_batch(batch_size)

        def calculate_loss(self, out: Tensor, batch: Tensor) -> Tensor:
            called.add("calculate_loss")
            return super().calculate_loss(out, batch)

    Mine(ToyModelConfig(2)).optimize(steps=2, progress=False)
    assert called == {"forward", "generate_batch", "calculate_loss"}


def test_weights_are_recorded_for_animations_in_bounded_memory() -> None:
    model = ToyModel(ToyModelConfig(2))
    log = model.optimize(batch_size=8, steps=333, progress=False, record_weights=True)
    assert 25 <= len(log["W"]) <= 50
    assert torch.equal(log["W"][-1], model.W)
    assert not torch.equal(log["W"][0], log["W"][-1])


# Input that is not right


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ToyModelConfig(0), "n_instances must be at least 1"),
        (lambda: ToyModelConfig(1, n_features=3, n_correlated_pairs=2), "2 pairs need 4 features"),
        (lambda: ToyModel(ToyModelConfig(2), 1.5), r"between 0 and 1, got 1\.5"),
        (lambda: ToyModel(ToyModelConfig(2), -0.1), r"between 0 and 1, got -0\.1"),
        (lambda: ToyModel(ToyModelConfig(2), float("nan")), "between 0 and 1, got nan"),
        (
            lambda: ToyModel(ToyModelConfig(3), torch.rand(3)),
            r"shape \[3\].*does not broadcast.*\[n_instances, 1\]",
        ),
        (lambda: ToyModel(ToyModelConfig(2), importance=-1.0), "importance must be zero or positive"),
        (
            lambda: ToyModel(ToyModelConfig(1, 4, 2, 1), torch.rand(4)),
            "pairs all features of an instance need",
        ),
        (lambda: ToyModel(ToyModelConfig(2)).optimize(batch_size=0), "batch_size must be at least 1"),
        (lambda: ToyModel(ToyModelConfig(2))(torch.rand(3, 5)), r"features must have 3 axes"),
        (lambda: compute_dimensionality(torch.rand(2, 5)), r"W must have 3 axes"),
        (lambda: sparse_datapoints(5, 10, 0.0), "above 0 and at most 1"),
        (lambda: train_on_fixed_data(0), "n_datapoints must be at least 1"),
    ],
)
def test_wrong_values_are_refused_in_one_sentence(build, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build()
    assert "\n" not in str(caught.value)


# What the papers claim, on seeded runs


def norms(model: ToyModel) -> Tensor:
    return model.W.detach().norm(dim=1)


def test_five_features_form_a_pentagon_when_sparse_and_a_right_angle_when_dense() -> None:
    K = 8
    probability = torch.tensor([1.0, 0.02]).repeat_interleave(K).unsqueeze(1)
    model = ToyModel(ToyModelConfig(2 * K, 5, 2), probability, 0.9 ** torch.arange(5))
    model.optimize(batch_size=512, steps=1500, lr=1e-2, progress=False)
    dense, sparse = norms(model)[:K], norms(model)[K:]
    assert ((dense > 0.5).sum(dim=-1) == 2).sum() >= K - 1
    cosines = cosine_similarities(model.W.detach())
    right_angles = [cosines[i][tuple(dense[i].topk(2).indices)].abs() < 0.1 for i in range(K)]
    assert sum(right_angles) >= K - 1
    # Most of the dense models keep the two most important features.
    assert sum(set(row.topk(2).indices.tolist()) == {0, 1} for row in dense) > K / 2
    assert ((sparse > 0.9).all(dim=-1)).sum() >= K - 1
    angles = torch.atan2(model.W[K:, 1], model.W[K:, 0]).detach().sort(dim=-1).values
    gaps = torch.cat([angles.diff(dim=-1), 2 * math.pi + angles[:, :1] - angles[:, -1:]], dim=-1)
    pentagons = ((gaps.rad2deg() - 72).abs() < 10).all(dim=-1)
    assert pentagons.sum() >= K - 1


def test_sparser_features_are_represented_in_greater_number() -> None:
    probability = torch.tensor([[1.0], [0.3], [0.1], [0.03]])
    model = ToyModel(ToyModelConfig(4, 50, 10), probability, 100 ** -torch.linspace(0, 1, 50))
    model.optimize(batch_size=512, steps=700, lr=1e-2, lr_schedule=linear_lr, progress=False)
    represented = (norms(model) > 0.5).sum(dim=-1).tolist()
    assert represented[0] <= 12
    assert all(fewer < more for fewer, more in itertools.pairwise(represented))
    assert represented[-1] >= 25


def test_correlated_pairs_are_orthogonal_and_anticorrelated_ones_antipodal() -> None:
    K = 8
    correlated = ToyModel(ToyModelConfig(K, 4, 2, n_correlated_pairs=2), 0.15)
    correlated.optimize(batch_size=128, steps=800, lr=3e-2, lr_schedule=linear_lr, progress=False)
    cosines = cosine_similarities(correlated.W.detach())
    within = torch.stack([cosines[:, 0, 1], cosines[:, 2, 3]])
    assert (within.abs() < 0.15).all(dim=0).sum() >= 0.75 * K
    anticorrelated = ToyModel(ToyModelConfig(K, 4, 2, n_anticorrelated_pairs=2), 0.4)
    anticorrelated.optimize(batch_size=128, steps=800, lr=3e-2, lr_schedule=linear_lr, progress=False)
    cosines = cosine_similarities(anticorrelated.W.detach())
    opposite = (torch.stack([cosines[:, 0, 1], cosines[:, 2, 3]]) < -0.9).all(dim=0)
    assert opposite.sum() >= 0.6 * K  # of the three ways to form two pairs, one; chance would be a third


def test_dimensionalities_sit_at_the_fractions_of_the_polytopes() -> None:
    for n_features, n_hidden, probability, fraction in ((5, 2, 0.05, 2 / 5), (8, 3, 0.05, 3 / 8)):
        model = ToyModel(ToyModelConfig(6, n_features, n_hidden), probability)
        model.optimize(batch_size=512, steps=1000, lr=2e-2, lr_schedule=linear_lr, progress=False)
        shares = compute_dimensionality(model.W.detach())
        assert ((shares - fraction).abs() < 0.03).all(dim=-1).sum() >= 5


def test_many_features_fall_into_antipodal_pairs() -> None:
    model = ToyModel(ToyModelConfig(2, 100, 20), torch.tensor([[0.4], [0.36]]))
    model.optimize(batch_size=512, steps=1500, lr=1e-2, lr_schedule=linear_lr, progress=False)
    shares = compute_dimensionality(model.W.detach())
    in_pairs, absent = ((shares - 0.5).abs() < 0.03).sum(dim=-1), (shares < 0.03).sum(dim=-1)
    assert (in_pairs >= 30).all()
    assert (in_pairs + absent >= 80).all()


def test_neurons_compute_absolute_values() -> None:
    model = NeuronComputationModel(ToyModelConfig(2, 4, 16), 0.2)
    log = model.optimize(batch_size=256, steps=1000, lr=1e-2, lr_schedule=linear_lr, progress=False)
    assert log.final_loss < 0.05 * log["loss"][0]


def test_neurons_stand_for_one_feature_each_when_dense_and_for_several_when_sparse() -> None:
    K = 4
    probability = torch.tensor([0.5, 0.05]).repeat_interleave(K).unsqueeze(1)
    model = NeuronModel(ToyModelConfig(2 * K, 10, 5), probability, 0.75 ** torch.arange(10))
    model.optimize(batch_size=256, steps=1500, lr=2e-2, lr_schedule=linear_lr, progress=False)
    W = model.W.detach()
    of_one_feature = W.abs().amax(dim=2) ** 2 / W.pow(2).sum(dim=2) > 0.9
    assert of_one_feature[:K].float().mean() > 0.8
    assert of_one_feature[K:].float().mean() < 0.2


@pytest.mark.slow
def test_the_loss_on_new_data_rises_before_it_falls() -> None:
    few, *middle, many = (train_on_fixed_data(size, progress=False) for size in (5, 50, 150, 1000))
    assert few.train_loss < 0.05
    assert max(run.test_loss for run in middle) > 1.1 * few.test_loss
    assert many.test_loss < 0.98
    assert abs(many.test_loss - many.train_loss) < 0.05


def test_datapoints_are_sparse_and_have_length_one() -> None:
    datapoints = sparse_datapoints(500, 50, 0.05)
    assert datapoints.shape == (500, 1, 50)
    torch.testing.assert_close(datapoints.norm(dim=-1), torch.ones(500, 1))
    assert (datapoints != 0).float().mean() < 0.1


@pytest.mark.slow
def test_few_datapoints_are_memorized() -> None:
    run = train_on_fixed_data(6, progress=False)
    hidden = hidden_for_datapoints(run.model, run.datapoints)[:, 0].detach()
    shares = compute_dimensionality(hidden.T.unsqueeze(0))
    torch.testing.assert_close(shares, torch.full((1, 6), 2 / 6), atol=0.05, rtol=0)
