"""What a learner reads when sizes do not fit: the axes' names, not torch's letters."""

import einops
import pytest
import torch

from coursekit import get_exercise, run_check
from coursekit.checking.clashes import explained_clash
from coursekit.checking.door import DirectLearner
from coursekit.checking.running import cell_names
from part_utils.toy_model import ToyModel


def message_for(exercise_id, answer):
    exercise = get_exercise(exercise_id)
    return run_check(exercise, DirectLearner({exercise.cell_name: answer}, cell_names())).message


def test_a_product_without_the_instances_axis():
    message = message_for("0.1", lambda features, W: features @ W.mT)
    assert "7 is the size of `batch`, 3 is the size of `instances`: two different axes meet here." in message
    assert "`W` [instances 3, hidden 2, features 5]" in message


def test_einsum_letters_get_the_names_that_were_typed():
    def project_features(features, W):
        return einops.einsum(features, W, "batch inst feat, inst feat hid -> batch inst hid")

    assert "The subscript c is `feat`" in message_for("0.1", project_features)


def test_a_method_gets_the_names_too():
    class ToyModelForward(ToyModel):
        def forward(self, features):
            return features @ (self.W.mT @ self.W)

    assert "`features` [batch 7, instances 3, features 5]" in message_for("1.1", ToyModelForward)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "RuntimeError: mat1 and mat2 shapes cannot be multiplied (21x5 and 2x5)",
            "5 is the size of `features`",
        ),
        ("ValueError: 5 is not enough", ""),
        ("RuntimeError: The size of tensor a (11) must match the size of tensor b (13)", ""),
        ("KeyError: 'shape'", ""),
    ],
)
def test_only_sizes_that_have_a_name_are_explained(message, expected):
    assert expected in explained_clash(message, {5: ["features"], 2: ["hidden"], 3: ["instances"]})
    assert bool(expected) == bool(explained_clash(message, {5: ["features"], 2: ["hidden"]}))


def test_an_index_that_is_too_large_and_a_choice_of_too_many():
    message = "IndexError: index 5 is out of bounds for dimension 0 with size 5"
    assert explained_clash(message, {5: ["points"]}) == (
        "The last index of an axis `points` of size 5 is 4; 5 is asked for."
    )
    message = "RuntimeError: selected index k out of range\nin `topk`, line 2: `pre_acts.topk(k + 1)`"
    assert explained_clash(message, {}) == "`topk` is asked for more values than the axis has."


def test_an_argument_that_is_left_out_is_named():
    def hook(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
        return factors * value

    assert "Here `hook` and `factors` are None." in message_for("8.4", hook)


def test_another_function_of_the_cell_has_its_own_names():
    def residual_edges(cache, read, position):
        return cache.embed @ cache.pos_embed @ read

    exercise = get_exercise("7.7")
    answers = {"residual_edges": residual_edges, exercise.cell_name: exercise.load_reference()}
    message = run_check(exercise, DirectLearner(answers, cell_names())).message
    assert "It was called with `read` [d_model" in message


def test_the_learners_own_exception_stays_as_it_is():
    def raises(features, W):
        raise ValueError(torch.tensor(3))

    assert message_for("0.1", raises).startswith(
        "Your code raised ValueError: 3\n"
    ) or "tensor(3)" in message_for("0.1", raises)
