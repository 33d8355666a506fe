"""The door to the learner's code: what passes through it, and what its errors say."""

import types

import pytest
import torch
from torch import nn

from coursekit.checking.door import DirectLearner, Handle, LearnerError, NotAttempted, describe_exception
from part_utils.toy_model import ToyModelConfig


def door(**namespace):
    return DirectLearner(namespace, {"1": "f", "2": "Model"})


class Model(nn.Module):
    def __init__(self, size=3):
        super().__init__()
        self.W = nn.Parameter(torch.ones(size))
        self.frozen = nn.Parameter(torch.ones(size), requires_grad=False)

    def forward(self, x):
        return self.W * x * self.frozen


other_model = Model(2)


class TestCall:
    def test_inputs_are_copies(self):
        def f(x):
            return x.mul_(0)

        x = torch.ones(3)
        assert torch.equal(door(f=f).call("1", x), torch.zeros(3))
        assert torch.equal(x, torch.ones(3))

    def test_a_list_is_a_copy_too(self):
        sizes = [1, 2, 3]
        assert DirectLearner({"f": list.pop}, {"0.1": "f"}).call("0.1", sizes) == 3
        assert sizes == [1, 2, 3]

    def test_results_are_copies_without_gradient(self):
        own = torch.ones(3, requires_grad=True)
        result = door(f=lambda: own).call("1")
        assert not result.requires_grad
        result.zero_()
        assert torch.equal(own, torch.ones(3))

    def test_containers_and_plain_values_pass(self):
        f = lambda: {"a": [torch.ones(1), 2], "b": ("text", None, True, 1.5)}  # noqa: E731
        result = door(f=f).call("1")
        assert torch.equal(result["a"][0], torch.ones(1))
        assert result["b"] == ("text", None, True, 1.5)

    def test_other_objects_become_handles(self):
        result = door(f=lambda: types.SimpleNamespace(a=1)).call("1")
        assert result == Handle(0, "types.SimpleNamespace")

    def test_disguised_values_become_handles(self):
        class Agreeable(float):
            def __eq__(self, other):
                return True

            __hash__ = None

        assert isinstance(door(f=lambda: Agreeable(1)).call("1"), Handle)

    def test_tensor_subclass_is_plain_data_outside(self):
        class Agreeable(torch.Tensor):
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None):
                return torch.tensor(True)

        result = door(f=lambda: torch.zeros(2).as_subclass(Agreeable)).call("1")
        assert type(result) is torch.Tensor
        assert torch.equal(result, torch.zeros(2))

    def test_configuration_passes_as_a_plain_value(self):
        assert door(f=lambda cfg: cfg.n_instances).call("1", ToyModelConfig(n_instances=7)) == 7

    def test_reference_by_dotted_name(self):
        result = door().call("part_utils.toy_model.cosine_similarities", torch.ones(1, 2, 2))
        assert torch.allclose(result, torch.ones(1, 2, 2))


class TestObjects:
    def test_create_set_get_call(self):
        learner = door(Model=Model)
        model = learner.create("2", size=5)
        learner.set(model, W=torch.arange(5.0))
        assert torch.equal(learner.get(model, "W"), torch.arange(5.0))
        assert learner.get(model, "nothing") is None
        assert torch.equal(learner.call((model, "forward"), torch.ones(5)), torch.arange(5.0))

    def test_handles_lead_back_to_their_objects(self):
        learner = door(Model=Model, f=lambda model: model.W.sum())
        assert learner.call("1", learner.create("2")).item() == 3

    @pytest.mark.parametrize(
        ("use", "says"),
        [
            (lambda door, model: door.set(model, V=torch.ones(3)), "your Model has no tensor `V`"),
            (lambda door, model: door.set(model, W=torch.ones(2)), "should have the shape [2], but has [3]"),
            (lambda door, model: door.call((model, "backward")), "your Model has no method `backward`"),
            (
                lambda door, model: door.gradients((model, "forward"), torch.ones(3), wrt=["V"]),
                "no tensor `V`",
            ),
        ],
    )
    def test_what_is_missing_is_named(self, use, says):
        learner = door(Model=Model)
        with pytest.raises(LearnerError) as caught:
            use(learner, learner.create("2"))
        assert says in str(caught.value)


class TestGradients:
    def test_of_arguments_and_parameters(self):
        learner = door(Model=Model)
        model = learner.create("2")
        cotangent = torch.tensor([1.0, 0.0, 2.0])
        value, (of_x, of_W) = learner.gradients(
            (model, "forward"), torch.full((3,), 5.0), wrt=[0, "W"], cotangent=cotangent
        )
        assert torch.equal(value, torch.full((3,), 5.0))
        assert torch.equal(of_x, cotangent)
        assert torch.equal(of_W, 5 * cotangent)

    def test_none_where_detached_unused_or_frozen(self):
        learner = door(Model=Model, f=lambda x, y: x.detach() * y)
        _, gradients = learner.gradients("1", torch.ones(2), torch.ones(2), wrt=[0, 1])
        assert gradients[0] is None
        assert torch.equal(gradients[1], torch.ones(2))
        model = learner.create("2")
        assert learner.gradients((model, "forward"), torch.ones(3), wrt=["frozen"])[1] == [None]

    def test_in_place_code_has_gradients_too(self):
        _, (gradient,) = door(f=lambda x: x.mul_(3)).gradients("1", torch.ones(2), wrt=[0])
        assert torch.equal(gradient, torch.full((2,), 3.0))

    def test_gradient_mode_need_not_be_on(self):
        with torch.no_grad():
            _, (gradient,) = door(f=lambda x: x * 2).gradients("1", torch.ones(2), wrt=[0])
        assert torch.equal(gradient, torch.full((2,), 2.0))

    def test_one_field_of_several(self):
        _, (gradient,) = door(f=lambda x: (x, x * 2)).gradients("1", torch.ones(2), wrt=[0], field=1)
        assert torch.equal(gradient, torch.full((2,), 2.0))

    def test_failing_backward_is_the_learners_error(self):
        def f(x):
            y = x.exp()
            y.data.add_(1)
            y.add_(1)
            return y

        with pytest.raises(LearnerError, match="inplace operation"):
            door(f=f).gradients("1", torch.ones(2), wrt=[0])


class TestNotAttempted:
    def test_cell_not_run(self):
        with pytest.raises(NotAttempted, match=r"`f` is not defined yet\. Run the cell of exercise 1 first"):
            door().call("1")

    def test_name_taken_by_something_else(self):
        with pytest.raises(NotAttempted, match="no longer your function, but a Tensor"):
            door(f=torch.ones(2)).call("1")

    def test_stub(self):
        def f():
            raise NotImplementedError("Exercise 1 is still to be solved.")

        with pytest.raises(NotAttempted, match="Exercise 1 is still to be solved"):
            door(f=f).call("1")

    def test_torchs_own_not_implemented_is_an_error(self):
        def f():
            return torch.empty(2, dtype=torch.long).normal_()

        with pytest.raises(LearnerError, match="not implemented for 'Long'"):
            door(f=f).call("1")


class TestErrors:
    def test_a_model_of_the_notebook_instead_of_self(self):
        class Mine(Model):
            def forward(self, x):
                return other_model.W * x

        learner = door(Model=Mine)
        model = learner.create("2")
        with pytest.raises(LearnerError) as caught:
            learner.call((model, "forward"), torch.ones(5))
        assert "`forward` uses `other_model`, a variable of the notebook" in str(caught.value)

    def say(self, f):
        with pytest.raises(LearnerError) as caught:
            door(f=f).call("1")
        return caught.value

    def test_shows_the_learners_line_and_no_library(self):
        def f():
            return torch.nn.functional.normalize("text")

        error = self.say(f)
        assert error.kind == "AttributeError"
        assert str(error).endswith('`return torch.nn.functional.normalize("text")`')
        assert "in `f`, line" in str(error)
        assert "site-packages" not in str(error)

    def test_shows_the_line_in_a_helper(self):
        def helper(x):
            return 1 / x

        assert "in `helper`" in str(self.say(lambda: helper(0)))

    def test_standard_library_is_no_learners_code(self):
        import random

        error = self.say(lambda: random.choice([]))
        assert "random.py" not in str(error)
        assert "in `<lambda>`" in str(error)

    def test_undefined_name_says_to_run_its_cell(self):
        def f():
            return einops_that_nobody_imported

        assert "run the cell that defines or imports it first" in str(self.say(f))

    def test_error_without_a_message(self):
        def f():
            raise ValueError

        error = self.say(f)
        assert (error.kind, error.said) == ("ValueError", "")
        assert str(error).startswith("ValueError: no message")

    def test_kind_and_words_of_an_error(self):
        def f():
            raise ValueError("p: must be 0.5 at most")

        error = self.say(f)
        assert (error.kind, error.said) == ("ValueError", "p: must be 0.5 at most")

    def test_long_messages_are_cut(self):
        def f():
            raise ValueError("x" * 10_000)

        assert len(str(self.say(f))) < 1_200

    def test_wrong_number_of_arguments(self):
        with pytest.raises(LearnerError, match="takes 0 positional arguments but 1 was given"):
            door(f=lambda: 1).call("1", torch.ones(1))

    def test_syntax_error_shows_no_line_of_the_checks(self):
        with pytest.raises(SyntaxError) as caught:
            compile("def f(:", "<cell>", "exec")
        said = describe_exception(caught.value)
        assert said.startswith("SyntaxError: ")
        assert "\n" not in said
