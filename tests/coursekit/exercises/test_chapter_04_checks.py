"""Chapter 4: cells that hold two functions, and what its checks need on the learner's side."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from coursekit import get_exercise
from coursekit.checking import fixtures
from coursekit.in_notebook import check
from coursekit.notebooks.learners_code import read_notebook_code
from coursekit.notebooks.stubs import stub_source
from coursekit.work.check import check_in_notebook
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig

BOTH = stub_source(get_exercise("4.6"))
SOLVED = """
def reconstruction_hook(value, hook, autoencoder, instance=0):
    h = inputs_for_all_instances(value, autoencoder)
    return autoencoder(h).h_reconstructed[:, instance].reshape(value.shape)
"""
ZEROS = """
def zero_ablation_hook(value, hook):
    return value * 0
"""
WRONG_ZEROS = """
def zero_ablation_hook(value, hook):
    return value
"""


def notebook_with(path: Path, **sources: str) -> Path:
    """A notebook of chapter 4 with these cells, given as `exercise_4_6`."""
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": name.replace("_", "-"),
            "metadata": {},
            "source": source,
            "outputs": [],
            "execution_count": None,
        }
        for name, source in sources.items()
    ]
    first = "from part_utils.evaluation import SubstitutionLoss, inputs_for_all_instances"
    cells.insert(0, {**cells[0], "id": "first", "source": first})
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


@pytest.mark.parametrize(
    ("source", "status", "words"),
    [
        (SOLVED + ZEROS, "passed", ""),
        (BOTH, "not_attempted", "4.6"),
        (SOLVED + BOTH[BOTH.index("def zero_ablation_hook") :], "not_attempted", "4.6"),
        (SOLVED, "not_attempted", "`zero_ablation_hook` is not defined"),
        (SOLVED + WRONG_ZEROS, "failed", "`zero_ablation_hook`: Your result is what comes out when"),
        (ZEROS, "not_attempted", "no `reconstruction_hook`"),
    ],
    ids=["both", "stub", "second is a stub", "second deleted", "second wrong", "first deleted"],
)
def test_both_functions_of_a_cell_count(tmp_path: Path, source: str, status: str, words: str) -> None:
    path = notebook_with(tmp_path / "04.ipynb", exercise_4_6=source)
    result = check_in_notebook(read_notebook_code(path), get_exercise("4.6"))
    assert result.status == status, result.text()
    assert words in result.message


def test_a_wrong_second_function_does_no_harm_to_a_later_exercise(tmp_path: Path) -> None:
    later = """
def get_substitution_loss(tokens, model, autoencoder, instance=0):
    def run(*hooks):
        named = [("blocks.0.mlp.hook_post", hook) for hook in hooks]
        return model.run_with_hooks(tokens, return_type="loss", fwd_hooks=named)

    mean = get_activations(tokens, model).mean((0, 1))
    clean, zero = run(), run(zero_ablation_hook)
    rebuilt = run(lambda value, hook: reconstruction_hook(value, hook, autoencoder, instance))
    average = run(lambda value, hook: mean.expand_as(value))
    return SubstitutionLoss(clean, rebuilt, zero, average, (zero - rebuilt) / (zero - clean))
"""
    path = notebook_with(tmp_path / "04.ipynb", exercise_4_6=SOLVED + WRONG_ZEROS, exercise_4_7=later)
    result = check_in_notebook(read_notebook_code(path), get_exercise("4.7"))
    assert result.passed, result.text()


def test_check_with_an_answer_takes_the_other_function_from_the_notebook() -> None:
    def zero_ablation_hook(value: torch.Tensor, hook: object) -> torch.Tensor:
        return value

    mine = get_exercise("4.6").load_reference()
    assert "`zero_ablation_hook`" in check("4.6", mine).message


def test_models_and_autoencoders_follow_their_seed() -> None:
    first, again, other = (fixtures.language_model(seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embed.weight"], other["embed.weight"])
    assert all((value != 0).all() for value in first.values())
    made, same = fixtures.autoencoder(3), fixtures.autoencoder(3)
    assert torch.equal(made.W_enc, same.W_enc)
    assert (made.W_dec.norm(dim=-1) - 1).abs().max() > 0.1
    assert fixtures.language_model(1, n_layers=2).cfg.n_layers == 2


def test_the_recorder_sees_training_only_and_leaves_nothing_behind() -> None:
    hooks = torch.nn.modules.module._global_forward_pre_hooks
    before = len(hooks)
    recorder = fixtures.TrainingRecorder()
    autoencoder = AutoEncoder(AutoEncoderConfig(2, 5, 7))
    h = torch.randn(3, 2, 5)
    with torch.no_grad():
        autoencoder(h)
    autoencoder(h).loss.backward()
    autoencoder(h)  # Once more in the same step is no step.
    autoencoder(h + 1)
    record = recorder.stop()
    autoencoder(h + 2)
    assert record["sizes"] == [3, 3]
    assert record["gradients"][0] is None
    assert autoencoder.W_enc.grad is not None
    assert torch.equal(record["gradients"][1], autoencoder.W_enc.grad)
    assert recorder.stop()["sizes"] == [3, 3]
    assert len(hooks) == before


def test_a_recorder_that_nobody_stops_stops_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixtures.TrainingRecorder, "MOST_CALLS", 4)
    hooks = torch.nn.modules.module._global_forward_pre_hooks
    before = len(hooks)
    recorder = fixtures.TrainingRecorder()
    autoencoder = AutoEncoder(AutoEncoderConfig(1, 5, 7))
    for _ in range(6):
        autoencoder(torch.randn(3, 1, 5))
    assert len(hooks) == before
    assert len(recorder.stop()["sizes"]) == 4
