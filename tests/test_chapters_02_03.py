"""The checks of chapters 2 and 3 on the reference, the cells of their methods, and what stands behind the door."""

import pytest
import torch

from coursekit import Exercise, chapter, run_check
from coursekit.checking.door import DirectLearner
from coursekit.checking.fixtures import Parameters, adam, adam_state
from coursekit.notebooks.source import solution_source
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig

EXERCISES = [*chapter("02").exercises, *chapter("03").exercises]


def by_id(exercise_id: str) -> Exercise:
    return next(item for item in EXERCISES if item.id == exercise_id)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda item: item.id)
def test_the_solved_cell_passes_and_the_stub_does_not(exercise):
    import part_utils.autoencoder
    import part_utils.resampling

    solved = solution_source(exercise)
    lines, keep = [], True
    for line in solved.split("\n"):
        if line.strip() == "### BEGIN SOLUTION":
            lines.append(line.replace("### BEGIN SOLUTION", "raise NotImplementedError"))
            keep = False
        if keep:
            lines.append(line)
        keep = keep or line.strip() == "### END SOLUTION"
    for source, status in ((solved, "passed"), ("\n".join(lines), "not_attempted")):
        namespace = {**vars(part_utils.resampling), **vars(part_utils.autoencoder)}
        exec(source, namespace)
        door = DirectLearner(namespace, exercise.targets)
        for seed in (0, 11):
            result = run_check(exercise, door, seed)
            assert result.status == status, result.text()


def test_a_cell_can_hold_two_methods():
    source = solution_source(by_id("2.2"))
    assert source.startswith("class AutoEncoderNormalizeDecoder(AutoEncoder):")
    assert "def normalize_and_return_W_dec(self)" in source
    assert "def normalize_decoder(self)" in source
    assert source.count("### BEGIN SOLUTION") == source.count("### END SOLUTION") == 2


def test_the_constructor_stands_on_its_own():
    assert solution_source(by_id("2.1")).startswith("class AutoEncoderInit(nn.Module):")


def test_an_optimizer_moves_what_it_held_and_nothing_that_came_later():
    autoencoder = AutoEncoder(AutoEncoderConfig(2, 3, 5))
    held = Parameters(autoencoder)
    autoencoder.W_dec = torch.nn.Parameter(autoencoder.W_dec.detach().clone())
    autoencoder.b_enc.requires_grad_(False)
    before = {name: value.detach().clone() for name, value in autoencoder.named_parameters()}
    steps = {name: torch.ones_like(value) for name, value in before.items()}
    held.step(**steps, b_gone=torch.ones(3))
    moved = [name for name, value in autoencoder.named_parameters() if torch.equal(value, before[name] + 1)]
    assert moved == ["W_enc", "b_dec"]


def test_an_adam_with_moments_looks_like_one_after_some_steps():
    autoencoder = AutoEncoder(AutoEncoderConfig(2, 3, 5))
    assert all(state == {} for state in adam_state(adam(autoencoder, None), autoencoder).values())
    made = adam_state(adam(autoencoder, 3), autoencoder)
    real = torch.optim.Adam(autoencoder.parameters())
    autoencoder(torch.randn(7, 2, 3)).loss.backward()
    real.step()
    for name, state in adam_state(real, autoencoder).items():
        assert set(made[name]) == set(state)
        assert all(made[name][key].shape == value.shape for key, value in state.items())
        assert all((made[name][key] != 0).all() for key in state)
    optimizer, before = adam(autoencoder, 3), autoencoder.W_enc.detach().clone()
    optimizer.step()
    assert not torch.equal(autoencoder.W_enc, before)
