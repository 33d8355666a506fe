import math

import pytest
import torch
from torch import nn

from part_utils.fast.adam import adam_step
from part_utils.training import TrainingLog, constant_lr, cosine_decay_lr, linear_lr, train


def parabola() -> tuple[nn.Parameter, nn.Parameter]:
    return nn.Parameter(torch.tensor([3.0, -2.0])), nn.Parameter(torch.tensor(1.0))


def test_schedules_start_full_and_end_low() -> None:
    for schedule in (linear_lr, cosine_decay_lr):
        factors = [schedule(step, 100) for step in range(100)]
        assert factors[0] == 1
        assert factors == sorted(factors, reverse=True)
        assert 0 < factors[-1] < 0.02
    assert {constant_lr(step, 100) for step in range(100)} == {1.0}
    assert math.isclose(cosine_decay_lr(50, 100), 0.5)


def test_train_finds_the_minimum_and_applies_the_schedule() -> None:
    x, y = parabola()
    log = train(
        lambda: x.pow(2).sum() + (y - 5) ** 2, [x, y], 300, lr=0.2, lr_schedule=linear_lr, progress=False
    )
    assert x.abs().max() < 1e-2
    assert abs(y.item() - 5) < 1e-2
    assert log["loss"][-1] < 1e-3
    assert log["lr"][0] == 0.2
    assert math.isclose(log["lr"][-1], 0.2 / 300)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_step_is_the_step_of_torch(weight_decay: float) -> None:
    pairs = [parabola(), parabola()]
    ours, theirs = (torch.optim.AdamW(p, lr=0.1, weight_decay=weight_decay, fused=True) for p in pairs)
    for step in range(6):
        for (x, y), optimizer in zip(pairs, (ours, theirs), strict=True):
            optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
            optimizer.zero_grad()
            (
                x.pow(4).sum() if step == 3 else x.pow(4).sum() + (y - 5) ** 2
            ).backward()  # once y has no gradient
        adam_step(ours)
        theirs.step()
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
        for name, value in theirs.state[other].items():
            torch.testing.assert_close(ours.state[one][name], value, rtol=0, atol=0)


def test_train_accepts_gradients_that_were_filled_in() -> None:
    x, _ = parabola()

    def compute_loss() -> torch.Tensor:
        x.grad = 2 * x.detach()
        return x.detach().pow(2).sum()

    train(compute_loss, [x], 300, lr=0.1, progress=False)
    assert x.abs().max() < 1e-2


def test_after_step_runs_after_the_step_and_record_is_kept() -> None:
    x, _ = parabola()

    def normalize(step: int, optimizer: torch.optim.Optimizer) -> None:
        assert optimizer.state[x]["step"] == step + 1
        with torch.no_grad():
            x.div_(x.norm())

    log = train(
        lambda: (x - 7).pow(2).sum(),
        [x],
        20,
        after_step=normalize,
        record=lambda: {"norm": x.norm().item()},
        progress=False,
    )
    assert log["norm"] == pytest.approx([1.0] * 20)


def test_seed_fixes_the_run_and_leaves_the_global_generator_alone() -> None:
    def run(seed: int | None) -> list[float]:
        x, _ = parabola()
        return train(lambda: (x - torch.randn(2)).pow(2).sum(), [x], 10, seed=seed, progress=False)["loss"]

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second, other = run(0), run(0), run(1)
    assert first == second != other
    assert torch.equal(torch.random.get_rng_state(), before)
    assert run(None) != run(None)
    assert not torch.equal(torch.random.get_rng_state(), before)


def test_threads_are_put_back_even_after_an_error() -> None:
    x, _ = parabola()
    before = torch.get_num_threads()

    def fail() -> torch.Tensor:
        assert torch.get_num_threads() == 1
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        train(fail, [x], 10, threads=1, progress=False)
    assert torch.get_num_threads() == before


def test_nothing_is_written_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    x, _ = parabola()
    train(lambda: x.pow(2).sum(), [x], 5, progress=True)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("steps", [1, 7, 8, 9, 1_000, 12_345])
def test_log_is_bounded_evenly_spaced_and_has_the_last_step(steps: int) -> None:
    log = TrainingLog(max_records=8)
    for step in range(steps):
        if log.wants(step) or step == steps - 1:
            log.add(step, loss=float(step))
    assert len(log.steps) <= 8
    assert log.steps[0] == 0
    assert log.steps[-1] == steps - 1
    assert log["loss"] == log.steps
    assert {b - a for a, b in zip(log.steps[:-2], log.steps[1:-1], strict=False)} <= {log.every}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"steps": 0}, "number of steps"),
        ({"lr": 0.0}, "learning rate must be positive"),
        ({"max_records": 1}, "at least 2 records"),
    ],
)
def test_bad_settings_are_refused(kwargs: dict, message: str) -> None:
    x, _ = parabola()
    with pytest.raises(ValueError, match=message):
        train(lambda: x.pow(2).sum(), [x], **({"steps": 3, "progress": False} | kwargs))


def test_a_detached_or_infinite_loss_is_refused() -> None:
    x, _ = parabola()
    with pytest.raises(ValueError, match="no gradient"):
        train(lambda: x.detach().pow(2).sum(), [x], 3, progress=False)
    with pytest.raises(ValueError, match=r"loss became inf at step 0.*smaller learning rate"):
        train(lambda: x.sum() / 0, [x], 3, progress=False)
