"""What checks are written with: comparisons, the naming of mistakes, distributions."""

import ast
import math

import pytest
import torch

from coursekit import catalogue, get_exercise, reference_learner, run_check
from coursekit.checking.claims import Check, Mistake, agree, compare, shape_text, variations
from coursekit.checking.door import DirectLearner, Handle
from coursekit.folders import ROOT


@pytest.fixture
def check():
    return Check(DirectLearner({}, {}), "0.1", torch.Generator().manual_seed(0))


def message(caught):
    return caught.value.message


def test_a_check_needs_no_text_of_its_chapter(monkeypatch, tmp_path):
    monkeypatch.setattr(catalogue, "chapter_text", lambda slug: tmp_path / f"{slug}.md")
    result = run_check(get_exercise("2.3"), reference_learner())
    assert result.passed
    assert result.title == "AutoEncoder.forward"
    assert "2.3" in result.html()


def test_a_phrase_may_stand_for_several_outcomes(check):
    known = {"the sign is wrong": [lambda: -torch.ones(2), torch.full((2,), -2.0)]}
    for actual in (-torch.ones(2), torch.full((2,), -2.0)):
        with pytest.raises(Mistake, match=r"when the sign is wrong\.$"):
            check.equal(actual, torch.ones(2), "rows", "", known)


def test_no_phrase_ends_in_a_blank():
    """A key that has to differ from another by a blank is two outcomes of one phrase: write a list."""
    wrong = [
        f"{path.name}: {key.value}"
        for path in (ROOT / "coursekit/exercises").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and str(key.value) != str(key.value).strip()
    ]
    assert wrong == []


class TestEqual:
    expected = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

    def test_remembers_a_claim_once(self, check):
        for _ in range(2):
            check.equal(self.expected + 1e-7, self.expected, "rows columns", "it is right")
        assert check.claims == ["it is right"]

    @pytest.mark.parametrize(
        "actual",
        [
            expected.double(),
            expected.T.contiguous().T,
            expected.clone().requires_grad_(),
            torch.nn.Parameter(expected),
            expected * (1 + 1e-6),
        ],
        ids=["float64", "not contiguous", "with gradient", "parameter", "rounding"],
    )
    def test_accepts(self, check, actual):
        check.equal(actual, self.expected, "rows columns", "")

    @pytest.mark.parametrize(
        ("actual", "says"),
        [
            (None, "is None. Does your function end with a `return`?"),
            (3.5, "leave off `.item()`"),
            ("text", "of type str"),
            ([1, 2], "of type list"),
            (Handle(0, "numpy.ndarray"), "of type numpy.ndarray"),
            (expected > 2, "torch.bool"),
            (expected.to(torch.complex64), "complex64"),
            (expected[:, :2], "wrong shape: expected [rows 2, columns 3], got [2, 2]"),
            (expected * float("nan"), "NaN"),
            (torch.full_like(expected, float("inf")), "infinite"),
            (expected + torch.tensor([[0.5, -1.0, 2.0], [-3.0, 0.7, 5.0]]), "the wrong values"),
            (expected + torch.arange(3), "is right for `columns` 0, and wrong for `columns` 1, 2"),
            (expected * torch.tensor([1.0, 0.0, 1.0]), "is 0 for `columns` 1, and right everywhere else"),
            (expected + torch.tensor([0.01, 0.02, -0.03]), "nearly right: it is off by 0.03 at most"),
            (expected + 1, "everywhere 1 too large"),
            (expected.roll(1, 1), "along `columns` each place has what belongs to the one before it"),
            (expected.flip(0), "the axis `rows` is reversed"),
            (
                expected.T.reshape(2, 3),
                "axes in the order `columns rows` are brought into shape by `reshape`",
            ),
            (expected.clamp(max=1), "values above 1 are cut down to 1"),
            (0 * expected, "is 0 everywhere"),
            (2 * expected, "(the size of the axis `rows`)"),
            (3 * expected, "everywhere 3 times"),
            (-expected, "sign is turned round"),
            (expected.T, "left in the order `columns rows`"),
            (expected.sum(0), "axis `rows` is summed over"),
            (
                expected.mean(1, keepdim=True),
                "axis `columns` is averaged over, and an axis of size 1 is left",
            ),
            (expected[0], "only index 0 of the axis `rows`"),
            (expected[:1].expand(2, 3), "index 0 of the axis `rows` is used for all of it"),
            (expected[None], "an axis of size 1 is added in front"),
        ],
    )
    def test_says_what_is_wrong(self, check, actual, says):
        with pytest.raises(Mistake) as caught:
            check.equal(actual, self.expected, "rows columns", "never")
        assert says in message(caught)
        assert check.claims == []

    def test_lost_axis_of_size_one(self, check):
        with pytest.raises(Mistake) as caught:
            check.equal(torch.ones(3), torch.ones(1, 3) * 1.0, "batch features", "")
        assert "axis of size 1 is lost" in message(caught)

    @pytest.mark.parametrize(
        ("misread", "says"),
        [
            (
                lambda x, W: (x, W.roll(1, 0)),
                "along `instances` each place gets the `W` of the one before it",
            ),
            (lambda x, W: (x, W[-1:].expand_as(W)), "the last of `W` along `instances` is used for all"),
            (lambda x, W: (x - x.mean(0), W), "the mean of `features` over `batch` is subtracted first"),
            (
                lambda x, W: (x, W.reshape(3, 5, 2).mT),
                "the axes `hidden` and `features` of `W` are exchanged with `reshape`",
            ),
        ],
    )
    def test_says_which_input_was_misread(self, misread, says):
        reference = get_exercise("0.1").load_reference()
        learner = DirectLearner({"f": lambda x, W: reference(*misread(x, W))}, {"0.1": "f"})
        check = Check(
            learner, "0.1", torch.Generator().manual_seed(0), reference=get_exercise("0.1").load_reference
        )
        x, W = check.normal(7, 3, 5), check.normal(3, 2, 5)
        with pytest.raises(Mistake) as caught:
            check.equal(check.call(x, W), reference(x, W), "batch instances hidden", "")
        assert says in message(caught)

    @pytest.mark.parametrize(
        ("misread", "says"),
        [
            (lambda acts, strength, there: (acts, strength, ~there), "`present` is turned round"),
            (
                lambda acts, strength, there: (acts, strength, torch.ones_like(there)),
                "`present` is not asked: everything counts",
            ),
            (
                lambda acts, strength, there: (acts, strength, there[:, :1].expand_as(there)),
                "index 0 of `present` along `n_instances` is used for all",
            ),
            (
                lambda acts, strength, there: (acts[:10], strength[:10], there[:10]),
                "only the first 10 of `batch` are looked at",
            ),
        ],
    )
    def test_says_how_a_mask_was_misread_and_that_inputs_were_left_out(self, misread, says):
        exercise = get_exercise("6.1")
        reference = exercise.load_reference()
        learner = DirectLearner({"f": lambda *args: reference(*misread(*args))}, {"6.1": "f"})
        check = Check(learner, "6.1", torch.Generator().manual_seed(0), reference=exercise.load_reference)
        acts, strength, there = check.normal(23, 3, 5), check.uniform(23, 3, 5), check.normal(23, 3, 5) > 0
        with pytest.raises(Mistake) as caught:
            check.equal(
                check.call(acts, strength, there),
                reference(acts, strength, there),
                "n_instances n_features",
                "",
            )
        assert says in message(caught)

    @pytest.mark.parametrize(
        ("misread", "says"),
        [
            (lambda l1, n: (l1, n**2), "`n_input_ae` is squared"),
            (lambda l1, n: (l1, n - 1), "`n_input_ae` is one too small"),
            (lambda l1, n: (l1**0.5, n), "the root of `l1_coeff` is taken"),
        ],
    )
    def test_says_how_a_number_was_misread(self, misread, says):
        exercise = get_exercise("6.1")
        reference = exercise.load_reference("predicted_shortfall")
        learner = DirectLearner({"f": lambda *args: reference(*misread(*args))}, {"6.1 f": "f"})
        check = Check(
            learner,
            "6.1",
            torch.Generator().manual_seed(0),
            reference=lambda _: exercise.load_reference("predicted_shortfall"),
        )
        with pytest.raises(Mistake) as caught:
            check.equal(torch.tensor(check.call_also("f", 0.3, 7)), torch.tensor(reference(0.3, 7)), "", "")
        assert says in message(caught)

    def test_known_mistakes_are_worked_out_only_when_something_is_wrong(self, check):
        def known():
            return {"all is doubled": 2 * self.expected}

        check.equal(self.expected, self.expected, "rows columns", "", lambda: pytest.fail("asked"))
        with pytest.raises(Mistake, match="all is doubled"):
            check.equal(2 * self.expected, self.expected, "rows columns", "", known)

    def test_inputs_are_not_asked_when_something_else_is_compared(self):
        learner = DirectLearner({"f": lambda x, W: x[..., 0]}, {"0.1": "f"})
        check = Check(
            learner, "0.1", torch.Generator().manual_seed(0), reference=get_exercise("0.1").load_reference
        )
        x, W = check.normal(7, 3, 5), check.normal(3, 2, 5)
        with pytest.raises(Mistake, match="the right shape but the wrong values"):
            check.equal(check.call(x, W), x[..., 1] ** 3, "batch instances", "")

    def test_broadcasting_does_not_pass(self, check):
        with pytest.raises(Mistake):
            check.equal(torch.ones(1), torch.ones(2, 3), "rows columns", "")

    def test_names_a_known_mistake_and_shows_where(self, check):
        wrong = self.expected.clone()
        wrong[1, 2] = 0
        with pytest.raises(Mistake) as caught:
            check.equal(
                wrong, self.expected, "rows columns", "", {"the last one is forgotten": lambda: wrong.clone()}
            )
        assert message(caught) == "Your result is what comes out when the last one is forgotten."
        assert "1 of 6 values differ, most at (rows 1, columns 2):" in caught.value.details
        assert "along rows: 0 right; 1 wrong" in caught.value.details

    def test_mistake_that_makes_no_difference_here_is_not_named(self, check):
        with pytest.raises(Mistake) as caught:
            check.equal(
                self.expected + 1, self.expected, "rows columns", "", {"nothing is wrong": self.expected}
            )
        assert "nothing is wrong" not in message(caught)
        check.equal(self.expected, self.expected, "rows columns", "", {"nothing is wrong": self.expected})

    def test_scalars(self, check):
        with pytest.raises(Mistake) as caught:
            check.equal(torch.tensor(1.0), torch.tensor(2.0), "", "", what="the loss")
        assert message(caught) == "The loss is 1/2 of what it should be."
        assert caught.value.details == ("expected 2, got 1",)
        with pytest.raises(Mistake, match=r"The loss is 3 times what it should be\."):
            check.equal(torch.tensor(6.0), torch.tensor(2.0), "", "", what="the loss")
        with pytest.raises(Mistake, match="the right shape but the wrong values"):
            check.equal(torch.tensor(1.7), torch.tensor(2.0), "", "", what="the loss")


def test_agree_scales_with_the_largest_value():
    assert agree(torch.tensor([1e6, 1e-3]), torch.tensor([1e6, 0.0]))
    assert not agree(torch.tensor([1.0, 1e-3]), torch.tensor([1.0, 0.0]))
    assert not agree(torch.tensor([float("nan")]), torch.tensor([1.0]))
    assert not agree(torch.zeros(2), torch.zeros(2, 1))


def test_compare_without_axis_names_counts_axes():
    lines = compare(torch.zeros(2, 2), torch.tensor([[0.0, 0.0], [0.0, 1.0]]), "")
    assert "1 of 4 values differ, most at (axis 0 1, axis 1 1):" in lines


def test_shape_text():
    assert shape_text(torch.zeros(2, 3), "batch features") == "[batch 2, features 3]"
    assert shape_text(torch.zeros(2, 3)) == "[2, 3]"
    assert shape_text(torch.tensor(1.0)) == "a scalar"


def test_variations_put_the_simplest_explanation_first():
    found = variations(
        lambda a, b: torch.tensor(a + b), {"": 1, "a is doubled": 2}, {"": 10, "b is doubled": 20}
    )
    assert list(found) == ["b is doubled", "a is doubled", "a is doubled and b is doubled"]
    assert [int(result()) for result in found.values()] == [21, 12, 22]


class TestDistributions:
    """With many seeds: right samples pass, wrong ones do not."""

    def test_shares(self, check):
        p = torch.tensor([[0.1, 0.5, 0.9], [0.2, 0.3, 1.0]])
        for _ in range(20):
            check.shares(check.uniform(5000, 2, 3) < p, p, "instances features", "right shares")
        with pytest.raises(Mistake) as caught:
            check.shares(
                check.uniform(5000, 2, 3) > p, p, "instances features", "", {"it is inverted": 1 - p}
            )
        assert message(caught) == "Features are present as often as when it is inverted."
        with pytest.raises(Mistake) as caught:
            check.shares(
                check.uniform(5000, 2, 3) < 0.7, p, "instances features", "", {"it is inverted": 1 - p}
            )
        assert message(caught).startswith("Features are not present as often as their probability says")
        assert message(caught).endswith("together 1.40 times as often.")
        assert check.claims == ["right shares"]

    def test_uniform(self, check):
        for _ in range(50):
            check.uniform_on_unit_interval(check.uniform(3000), "", "no")
            check.uniform_on_unit_interval(check.uniform(3000, low=-1), "", "no", low=-1)
        for wrong in (
            check.uniform(3000) ** 2,
            check.uniform(3000, high=0.8),
            check.normal(3000),
            torch.ones(3000),
        ):
            with pytest.raises(Mistake):
                check.uniform_on_unit_interval(wrong, "", "not even")

    def test_uniform_needs_values(self, check):
        with pytest.raises(Mistake):
            check.uniform_on_unit_interval(torch.zeros(0), "", "no values")


def test_false_alarms_are_rarer_than_one_in_a_hundred_million():
    # Two-sided tail of seven standard deviations, and the bound of Dvoretzky, Kiefer, Wolfowitz and Massart.
    assert math.erfc(7 / math.sqrt(2)) < 1e-11
    assert 2 * math.exp(-2 * 3.5**2) < 1e-10


def test_inputs_are_what_they_say(check):
    assert check.normal(7, 3).shape == (7, 3)
    values = check.uniform(1000, low=-1, high=2)
    assert -1 <= values.min() < -0.9
    assert 1.9 < values.max() <= 2
    assert 0.2 < (check.sparse(1000) != 0).double().mean() < 0.4
    assert sorted(check.permutation(5).tolist()) == [0, 1, 2, 3, 4]


class TestGradient:
    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            (lambda x: x, "with respect to `pre_acts` is not: it is what comes out when all get one."),
            (lambda x: x.relu() * 3, "with respect to `pre_acts` is everywhere 3 times what it should be"),
            (lambda x: x.relu() + 0.5 * x - 0.5 * x.relu(), "but not 0 where it should be"),
            (lambda x: x.detach().relu() + 0 * x, "with respect to `pre_acts` is 0 everywhere"),
        ],
    )
    def test_says_how_it_is_wrong(self, wrong, says):
        learner = DirectLearner({"f": lambda x, k: wrong(x)}, {"6.2": "f"})
        check = Check(
            learner, "6.2", torch.Generator().manual_seed(0), reference=get_exercise("6.2").load_reference
        )
        x = check.normal(7, 3, 5)
        with pytest.raises(Mistake) as caught:
            check.gradient(
                "6.2", x, 3, wrt={0: (x > 0).float()}, axes="a b c", claim="",
                mistakes=lambda: {"all get one": torch.ones(7, 3, 5)},
            )  # fmt: skip
        assert says in message(caught)

    def test_tensors_may_have_axes_of_their_own(self):
        learner = DirectLearner({"f": lambda x, W: torch.einsum("bi,i->b", x, W)}, {"0.1": "f"})
        check = Check(learner, "0.1", torch.Generator().manual_seed(0))
        x, W = check.normal(7, 3), check.normal(3)
        check.gradient(
            "0.1",
            x,
            W,
            wrt={0: W.expand(7, 3), 1: x.sum(0)},
            axes={0: "batch features", 1: "features"},
            claim="ok",
        )
        assert check.claims == ["ok"]
