"""The sparse autoencoder: shapes, losses, gradients, unit norm, matching, training."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from part_utils.autoencoder import (
    AutoEncoder,
    AutoEncoderConfig,
    AutoEncoderOutput,
    cheat_on_l1,
    encoder_decoder_similarity,
)
from part_utils.fast.present_features import draw_present_features
from part_utils.fast.sparse_coding_loss import SparseCodingLoss
from part_utils.hidden_states import hidden_states
from part_utils.matching import feature_latent_similarity, match_features, share_recovered
from part_utils.toy_model import NeuronComputationModel, NeuronModel, ToyModel, ToyModelConfig
from part_utils.training import linear_lr

# Prime and pairwise different, so that no axis can stand in for another.
BATCH, INSTANCES, INPUTS, LATENTS = 11, 3, 5, 7


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def random_autoencoder(tied: bool = False, **sizes: int) -> AutoEncoder:
    """An autoencoder whose biases are not zero and whose decoder rows are not of unit length."""
    sizes = {"n_instances": INSTANCES, "n_input_ae": INPUTS, "n_hidden_ae": LATENTS} | sizes
    autoencoder = AutoEncoder(AutoEncoderConfig(**sizes, l1_coeff=0.3, tied_weights=tied))
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return autoencoder


def pentagon(n_instances: int = 3, n_features: int = 5, probability: float = 0.05) -> ToyModel:
    """The toy model that training finds: features spread evenly over a circle."""
    model = ToyModel(ToyModelConfig(n_instances, n_features), feature_probability=probability)
    angle = torch.arange(n_features) * 2 * torch.pi / n_features + torch.rand(n_instances, 1)
    model.W.data = torch.stack([angle.cos(), angle.sin()], dim=1)
    return model


# Making one


@pytest.mark.parametrize("tied", [False, True])
def test_parameters(tied: bool) -> None:
    autoencoder = AutoEncoder(AutoEncoderConfig(INSTANCES, INPUTS, LATENTS, tied_weights=tied))
    shapes = {name: tuple(p.shape) for name, p in autoencoder.named_parameters()}
    expected = {
        "W_enc": (INSTANCES, INPUTS, LATENTS),
        "b_enc": (INSTANCES, LATENTS),
        "b_dec": (INSTANCES, INPUTS),
    }
    if not tied:
        expected["W_dec"] = (INSTANCES, LATENTS, INPUTS)
    assert shapes == expected
    assert not autoencoder.b_enc.any()
    assert not autoencoder.b_dec.any()
    assert not torch.equal(autoencoder.W_enc[0], autoencoder.W_enc[1])


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"n_instances": 0}, ValueError, "n_instances is 0"),
        ({"n_hidden_ae": 2.5}, TypeError, "whole number"),
        ({"n_input_ae": True}, TypeError, "whole number"),
        ({"l1_coeff": -1.0}, ValueError, "negative penalty"),
    ],
)
def test_config_says_what_is_wrong(kwargs: dict, error: type[Exception], words: str) -> None:
    sizes = {"n_instances": 1, "n_input_ae": 2, "n_hidden_ae": 3}
    with pytest.raises(error, match=words):
        AutoEncoderConfig(**(sizes | kwargs))


# The decoder's length


@pytest.mark.parametrize("tied", [False, True])
def test_decoder_rows_have_unit_length_and_a_gradient(tied: bool) -> None:
    autoencoder = random_autoencoder(tied)
    raw = autoencoder.W_enc.mT if tied else autoencoder.W_dec
    before = raw.detach().clone()
    W_dec = autoencoder.normalize_and_return_W_dec()
    assert W_dec.shape == (INSTANCES, LATENTS, INPUTS)
    torch.testing.assert_close(W_dec.norm(dim=-1), torch.ones(INSTANCES, LATENTS))
    torch.testing.assert_close(W_dec, before / before.norm(dim=-1, keepdim=True))
    torch.testing.assert_close(raw.detach(), before, rtol=0, atol=0)
    (W_dec * torch.randn_like(W_dec)).sum().backward()
    gradient = autoencoder.W_enc.grad.mT if tied else autoencoder.W_dec.grad
    assert gradient.any()
    # Only the direction matters, so no gradient points along a row.
    torch.testing.assert_close((gradient * before).sum(dim=-1), torch.zeros(INSTANCES, LATENTS))


def test_rows_of_zeros_give_no_nan() -> None:
    autoencoder = random_autoencoder()
    autoencoder.W_dec.data[1, 2] = 0.0
    W_dec = autoencoder.normalize_and_return_W_dec()
    assert not W_dec[1, 2].any()
    W_dec.pow(3).sum().backward()
    assert autoencoder.W_dec.grad.isfinite().all()
    autoencoder.normalize_decoder()
    assert autoencoder.W_dec.isfinite().all()
    assert encoder_decoder_similarity(autoencoder)[1, 2] == 0


def test_normalize_decoder_changes_the_parameter_in_place() -> None:
    autoencoder = random_autoencoder()
    parameter, expected = autoencoder.W_dec, autoencoder.normalize_and_return_W_dec().detach()
    autoencoder.normalize_decoder()
    assert autoencoder.W_dec is parameter
    torch.testing.assert_close(parameter.detach(), expected)
    tied = random_autoencoder(tied=True)
    before = tied.W_enc.detach().clone()
    tied.normalize_decoder()
    torch.testing.assert_close(tied.W_enc.detach(), before, rtol=0, atol=0)


# Forward


def by_hand(autoencoder: AutoEncoder, h: Tensor) -> AutoEncoderOutput:
    """The same, one number at a time."""
    b, n, d, m = len(h), *autoencoder.W_enc.shape
    W_dec = autoencoder.normalize_and_return_W_dec()
    acts, rebuilt = torch.zeros(b, n, m), torch.zeros(b, n, d)
    for row, instance in itertools.product(range(b), range(n)):
        x = h[row, instance] - autoencoder.b_dec[instance]
        for latent in range(m):
            pre = torch.dot(x, autoencoder.W_enc[instance, :, latent]) + autoencoder.b_enc[instance, latent]
            acts[row, instance, latent] = max(pre.item(), 0.0)
        rebuilt[row, instance] = acts[row, instance] @ W_dec[instance] + autoencoder.b_dec[instance]
    l1 = acts.sum(dim=-1)
    l2 = ((h - rebuilt) ** 2).sum(dim=-1) / d
    loss = (l2 + autoencoder.cfg.l1_coeff * l1).sum() / b
    return AutoEncoderOutput(l1, l2, loss, acts, rebuilt)


@pytest.mark.parametrize("tied", [False, True])
def test_forward_matches_the_definition(tied: bool) -> None:
    autoencoder = random_autoencoder(tied)
    h = torch.randn(BATCH, INSTANCES, INPUTS)
    out = autoencoder(h)
    assert isinstance(out, AutoEncoderOutput)
    for got, expected in zip(out, by_hand(autoencoder, h), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("tied", [False, True])
def test_every_parameter_gets_its_gradient(tied: bool) -> None:
    autoencoder = random_autoencoder(tied, n_instances=2, n_input_ae=3).double()
    h = torch.randn(5, 2, 3, dtype=torch.double)
    names = [name for name, _ in autoencoder.named_parameters()]

    def loss(*values: Tensor) -> Tensor:
        return torch.func.functional_call(autoencoder, dict(zip(names, values, strict=True)), (h,)).loss

    assert torch.autograd.gradcheck(loss, tuple(autoencoder.parameters()))


@pytest.mark.parametrize("shape", [(BATCH, INPUTS), (BATCH, INPUTS, INSTANCES), (BATCH, 1, INPUTS)])
def test_forward_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(batch, n_instances, n_input_ae\)"):
        random_autoencoder()(torch.zeros(shape))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_written_out_gradient_equals_autograd(tied: bool, weighted: bool) -> None:
    autoencoder = random_autoencoder(tied).double()
    h = torch.randn(BATCH, INSTANCES, INPUTS, dtype=torch.double)
    copies = torch.randint(1, 4, (BATCH,)) if weighted else torch.ones(BATCH, dtype=torch.int)
    out = autoencoder(h.repeat_interleave(copies, dim=0))
    parameters = list(autoencoder.parameters())
    expected = torch.autograd.grad(out.loss * 1.7, parameters)

    weight = (copies / copies.sum()).double().expand(INSTANCES, 1, BATCH)
    W_dec = autoencoder.W_enc.mT if tied else autoencoder.W_dec
    loss, l1, l2, frac_active = SparseCodingLoss.apply(
        autoencoder.W_enc, W_dec, autoencoder.b_enc, autoencoder.b_dec, h.permute(1, 2, 0), weight, 0.3
    )
    torch.testing.assert_close(loss, out.loss)
    torch.testing.assert_close(l1, out.l1_loss.mean(dim=0).sum())
    torch.testing.assert_close(l2, out.l2_loss.mean(dim=0).sum())
    torch.testing.assert_close(frac_active, (out.acts > 0).double().mean(dim=0))
    for got, wanted in zip(torch.autograd.grad(loss * 1.7, parameters), expected, strict=True):
        torch.testing.assert_close(got, wanted)


# The loophole


@pytest.mark.parametrize("tied", [False, True])
def test_cheating_lowers_l1_and_keeps_the_reconstruction(tied: bool) -> None:
    autoencoder = random_autoencoder(tied)
    before = [p.detach().clone() for p in autoencoder.parameters()]
    h = torch.randn(BATCH, INSTANCES, INPUTS)
    out = autoencoder(h)
    W_enc, b_enc, W_dec = cheat_on_l1(autoencoder, 100.0)
    acts = torch.relu(torch.einsum("bni,nij->bnj", h - autoencoder.b_dec, W_enc) + b_enc)
    rebuilt = torch.einsum("bnj,nji->bni", acts, W_dec) + autoencoder.b_dec
    torch.testing.assert_close(rebuilt, out.h_reconstructed)
    torch.testing.assert_close(100 * acts.sum(dim=-1), out.l1_loss)
    for parameter, old in zip(autoencoder.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


# Matching


def test_matching_is_one_to_one_and_blind_to_order_and_length() -> None:
    W_toy = torch.randn(INSTANCES, INPUTS, LATENTS)
    order = torch.randperm(LATENTS)
    W_dec = (W_toy.mT[:, order] * torch.rand(INSTANCES, LATENTS, 1)).contiguous()
    torch.testing.assert_close(match_features(W_toy, W_dec), torch.ones(INSTANCES, LATENTS))
    assert share_recovered(W_toy, W_dec, torch.ones(INSTANCES, LATENTS)) == 1.0
    W_dec[1, 0] = W_dec[1, 1]
    exact = match_features(W_toy, W_dec) > 0.999
    assert exact[[0, 2]].all()
    assert not exact[1].all()


def test_matching_equals_the_best_of_all_permutations() -> None:
    W_toy, W_dec = torch.randn(2, 3, 4), torch.randn(2, 4, 3)
    similarity = feature_latent_similarity(W_toy, W_dec)
    best = torch.stack(
        [
            max((table[range(4), order] for order in itertools.permutations(range(4))), key=torch.sum)
            for table in similarity
        ]
    )
    torch.testing.assert_close(match_features(W_toy, W_dec), best)


@pytest.mark.parametrize("n_latents", [2, 9])
def test_matching_with_fewer_or_more_latents(n_latents: int) -> None:
    W_toy, W_dec = torch.randn(INSTANCES, 3, 5), torch.randn(INSTANCES, n_latents, 3)
    matched = match_features(W_toy, W_dec)
    assert matched.shape == (INSTANCES, 5)
    assert (matched == 0).sum() == INSTANCES * max(5 - n_latents, 0)


def test_matching_refuses_weights_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="must agree"):
        match_features(torch.randn(2, 3, 4), torch.randn(2, 3, 4))


def test_encoder_decoder_similarity() -> None:
    autoencoder = random_autoencoder()
    expected = torch.cosine_similarity(autoencoder.W_enc.mT, autoencoder.W_dec, dim=-1)
    torch.testing.assert_close(encoder_decoder_similarity(autoencoder), expected.detach())
    tied = random_autoencoder(tied=True)
    torch.testing.assert_close(encoder_decoder_similarity(tied), torch.ones(INSTANCES, LATENTS))


# Inputs


def test_hidden_states_of_both_kinds_of_model() -> None:
    features = torch.rand(BATCH, INSTANCES, INPUTS)
    for kind in (ToyModel, NeuronModel):
        model = kind(ToyModelConfig(INSTANCES, INPUTS, 2))
        expected = torch.stack([features[:, i] @ model.W[i].T for i in range(INSTANCES)], dim=1)
        expected = torch.relu(expected) if kind is NeuronModel else expected
        torch.testing.assert_close(hidden_states(model, features), expected)


def test_rows_left_out_change_nothing() -> None:
    """Rows, their weights and their patterns are distributed as in the model's own batches."""
    probability = torch.tensor([[0.05, 0.3, 0.02], [0.5, 0.0, 1.0], [0.0, 0.0, 0.0]])
    model = ToyModel(ToyModelConfig(3, 3), feature_probability=probability)
    size = 100_000
    features, weight = draw_present_features(probability, size)
    torch.testing.assert_close(weight.sum(dim=-1), torch.ones(3, 1))
    assert (features >= 0).all()
    assert (features <= 1).all()
    whole = model.generate_batch(size)
    powers = 2 ** torch.arange(3).unsqueeze(-1)
    for i in range(3):
        pattern = ((features[i] > 0) * powers).sum(dim=0)
        share = torch.zeros(8).index_add(0, pattern, weight[i, 0])
        expected = torch.bincount(((whole[:, i].T > 0) * powers).sum(dim=0), minlength=8) / size
        torch.testing.assert_close(share, expected, rtol=0, atol=0.008)
        for moment in (1, 2):
            torch.testing.assert_close(
                (features[i] ** moment * weight[i]).sum(dim=-1),
                (whole[:, i] ** moment).mean(dim=0),
                rtol=0,
                atol=0.005,
            )


# Training


@pytest.mark.parametrize("tied", [False, True])
def test_training_lowers_the_loss_and_ends_at_unit_norm(tied: bool) -> None:
    model = pentagon()
    weights = model.W.detach().clone()
    autoencoder = AutoEncoder(AutoEncoderConfig(3, 2, 5, l1_coeff=0.2, tied_weights=tied))
    log = autoencoder.optimize(model, steps=300, lr=1e-2, progress=False)
    assert log.final_loss < 0.6 * log["loss"][0]
    assert torch.equal(model.W, weights)
    if not tied:
        torch.testing.assert_close(autoencoder.W_dec.norm(dim=-1), torch.ones(3, 5))


def test_training_takes_the_same_way_with_and_without_the_short_cut() -> None:
    class Mine(AutoEncoder):
        def forward(self, h: torch.Tensor) -> AutoEncoderOutput:
            return super().forward(h)

    class Model(ToyModel):
        def generate_batch(self, batch_size: int) -> torch.Tensor:
            return super().generate_batch(batch_size)

    model = pentagon(probability=0.3)
    mine = Model(model.cfg, feature_probability=0.3)
    mine.load_state_dict(model.state_dict())
    losses = []
    for kind, data in ((AutoEncoder, model), (AutoEncoder, mine), (Mine, model), (Mine, mine)):
        torch.manual_seed(3)
        autoencoder = kind(AutoEncoderConfig(3, 2, 5, l1_coeff=0.2))
        log = autoencoder.optimize(data, steps=400, lr=1e-2, lr_schedule=linear_lr, progress=False)
        losses.append(log.final_loss)
        assert log["frac_active"][-1].shape == (3, 5)
    torch.testing.assert_close(losses, [losses[0]] * 4, rtol=0.05, atol=0)


def test_training_is_reproducible_and_leaves_the_random_state_alone() -> None:
    model = pentagon()
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        autoencoder = AutoEncoder(AutoEncoderConfig(3, 2, 5))
        state = torch.get_rng_state()
        autoencoder.optimize(model, steps=60, progress=False, resample_method="simple", resample_window=20)
        assert torch.equal(torch.get_rng_state(), state)
        results.append(autoencoder.W_enc.detach().clone())
    assert torch.equal(*results)


def test_log_holds_what_plots_need_in_constant_memory() -> None:
    autoencoder = AutoEncoder(AutoEncoderConfig(3, 2, 5))
    log = autoencoder.optimize(
        pentagon(), steps=150, batch_size=64, progress=False, max_records=20, resample_method="simple",
        resample_window=10,
    )  # fmt: skip
    assert len(log.steps) <= 20
    assert log.steps[-1] == 149
    assert {"l1", "l2", "l0", "dead", "loss", "lr"} <= set(log.records[-1])
    torch.testing.assert_close(log["W_dec"][-1], autoencoder.W_dec.detach())
    torch.testing.assert_close(log["W_enc"][-1], autoencoder.W_enc.detach())
    counts = torch.stack(log["n_resampled"])
    assert (counts.diff(dim=0) >= 0).all()
    assert torch.stack(log["frac_active"]).shape[1:] == (3, 5)


def test_progress_goes_to_stdout_only(capsys: pytest.CaptureFixture) -> None:
    AutoEncoder(AutoEncoderConfig(3, 2, 5)).optimize(pentagon(), steps=20, batch_size=64)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "20" in captured.out


def test_projection_keeps_an_unnormalized_decoder_at_unit_length() -> None:
    class Raw(AutoEncoder):
        def normalize_and_return_W_dec(self) -> Tensor:
            return self.W_dec

    lengths: dict[bool, Tensor] = {}
    for project in (True, False):
        autoencoder = Raw(AutoEncoderConfig(3, 2, 5))
        log = autoencoder.optimize(pentagon(), steps=50, lr=1e-2, project_decoder=project, progress=False)
        lengths[project] = torch.stack(log["W_dec"]).norm(dim=-1)
    torch.testing.assert_close(lengths[True], torch.ones_like(lengths[True]))
    assert lengths[False].max() > 1.05


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"resample_method": "magic"}, "'simple' or 'advanced'"),
        ({"resample_window": 0}, "resample_window is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"model": ToyModel(ToyModelConfig(2))}, "2 instances"),
        ({"model": NeuronComputationModel(ToyModelConfig(3))}, "has no W"),
        ({"steps": 0}, "positive whole number"),
    ],
)
def test_training_says_what_is_wrong(kwargs: dict, words: str) -> None:
    autoencoder = AutoEncoder(AutoEncoderConfig(3, 2, 5))
    with pytest.raises(ValueError, match=words):
        autoencoder.optimize(**({"model": pentagon(), "steps": 3, "progress": False} | kwargs))


def test_an_autoencoder_is_a_module() -> None:
    autoencoder = random_autoencoder()
    other = random_autoencoder()
    other.load_state_dict(autoencoder.state_dict())
    assert isinstance(other, nn.Module)
    h = torch.randn(BATCH, INSTANCES, INPUTS)
    assert torch.equal(other(h).loss, autoencoder(h).loss)
