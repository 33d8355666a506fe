"""Attempting is safe: what a check does to everything around it, which is nothing."""

import random
import sys
import threading
import warnings
from dataclasses import replace

import nbformat
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook, new_output
from nbgrader.utils import determine_grade

from coursekit import all_exercises, check, get_exercise, reference_learner, run_check
from coursekit.checking.door import DirectLearner
from coursekit.checking.limits import OutOfTime, Printed, time_limit, undisturbed
from coursekit.checking.running import cell_names
from coursekit.notebooks.cells import exercise_cells
from coursekit.notebooks.source import solution_source

PROJECT = get_exercise("0.1")


def right(features, W):
    return torch.einsum("bif,ihf->bih", features, W)


def attempt(answer, seconds=20.0, exercise=PROJECT, seed=0):
    learner = DirectLearner({exercise.cell_name: answer}, cell_names())
    return run_check(replace(exercise, seconds=seconds), learner, seed)


class TestTimeLimit:
    def endless(self, features, W):
        while True:
            pass

    def swallows_exceptions(self, features, W):
        while True:
            try:
                sum(range(1000))
            except Exception:
                continue

    def swallows_everything(self, features, W):
        while True:
            try:
                sum(range(1000))
            except:  # noqa: E722
                continue

    def endless_in_torch(self, features, W):
        while True:
            features = features + 1

    def swallows_everything_in_a_helper(self, features, W):
        def helper():
            total = 0
            for number in range(1000):
                total += number
            return total

        while True:
            try:
                helper()
                helper()
            except:  # noqa: E722
                pass

    def assert_stopped(self, result, name):
        assert result.status == "error"
        assert result.points == 0
        assert result.message.startswith(
            "Your code was stopped after 0.2 seconds. Is there a loop that never ends?"
        )
        assert f"in `{name}`, line" in result.message or "in `helper`, line" in result.message

    @pytest.mark.parametrize(
        "name",
        [
            "endless",
            "swallows_exceptions",
            "swallows_everything",
            "swallows_everything_in_a_helper",
            "endless_in_torch",
        ],
    )
    def test_endless_loop_is_stopped_with_a_sentence(self, name):
        trace = sys.gettrace()
        self.assert_stopped(attempt(getattr(self, name), seconds=0.2), name)
        assert sys.gettrace() is trace

    @pytest.mark.parametrize("name", ["endless", "swallows_exceptions", "endless_in_torch"])
    def test_in_another_thread_too(self, name):
        results = []
        thread = threading.Thread(target=lambda: results.append(attempt(getattr(self, name), seconds=0.2)))
        thread.start()
        thread.join()
        self.assert_stopped(results[0], name)

    def test_endless_printing_is_stopped_and_kept_short(self):
        def prints(features, W):
            while True:
                print("again")  # noqa: T201

        result = attempt(prints, seconds=0.2)
        assert "stopped after" in result.message
        assert len(result.printed) < 2_100
        assert result.printed.endswith("…")

    def test_nothing_rings_after_the_block(self):
        for _ in range(300):
            try:
                with time_limit(0.001):
                    sum(range(1000))
            except OutOfTime:
                pass
            sum(range(10_000))

    def test_watcher_of_another_thread_is_called_off(self):
        late = []

        def short_block():
            with time_limit(0.05):
                pass
            try:
                threading.Event().wait(0.2)
            except OutOfTime:
                late.append(True)

        thread = threading.Thread(target=short_block)
        thread.start()
        thread.join()
        assert not late

    def test_every_check_has_a_limit(self):
        assert all(0 < exercise.seconds <= 60 for exercise in all_exercises())


class TestNothingChanges:
    def vandal(self, features, W):
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
        torch.rand(3), np.random.rand(3), random.random()
        torch.set_default_dtype(torch.float16)
        torch.set_grad_enabled(False)
        torch.set_default_device("meta")
        warnings.simplefilter("error")
        features.zero_()
        W.zero_()
        return features

    def state(self):
        return (
            torch.get_rng_state().tolist(),
            np.random.get_state()[1].tolist(),
            random.getstate(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.get_default_device(),
            list(warnings.filters),
            sys.stdout,
            sys.stderr,
        )

    @pytest.mark.parametrize("ambient", ["usual", "unusual"])
    @pytest.mark.parametrize("answer", ["right", "vandal", "failing"])
    def test_global_state(self, answer, ambient):
        def failing(features, W):
            self.vandal(features, W)
            raise RuntimeError

        before = self.state()
        if ambient == "unusual":
            torch.set_default_dtype(torch.float64)
            torch.set_grad_enabled(False)
            torch.set_default_device("meta")
        try:
            during = self.state()
            result = attempt({"right": right, "vandal": self.vandal, "failing": failing}[answer])
            assert self.state() == during
        finally:
            torch.set_default_device("cpu")
            torch.set_grad_enabled(True)
            torch.set_default_dtype(torch.float32)
        assert self.state()[:3] == before[:3]
        assert result.passed == (answer == "right")

    def test_every_reference_passes_in_unusual_surroundings(self):
        torch.set_default_dtype(torch.float64)
        try:
            with torch.no_grad():
                results = [run_check(exercise, reference_learner()) for exercise in all_exercises()]
        finally:
            torch.set_default_dtype(torch.float32)
        assert [r.id for r in results if not r.passed] == []

    def test_learners_objects(self):
        from part_utils.toy_model import ToyModel, ToyModelConfig

        model = ToyModel(ToyModelConfig(n_instances=2))
        weights = model.W.detach().clone()

        class ToyModelForward(ToyModel):
            latest = model

            def forward(self, features):
                return ToyModel.forward(self, features)

        assert attempt(ToyModelForward, exercise=get_exercise("1.1")).passed
        assert torch.equal(model.W, weights)
        assert model.W.grad is None

    def test_undisturbed_seeds_everything(self):
        def draws():
            return torch.rand(1).item(), np.random.rand(), random.random()

        with undisturbed(5):
            first = draws()
        with undisturbed(5):
            second = draws()
        with undisturbed(6):
            third = draws()
        assert first == second
        assert first != third


class TestOutput:
    def test_is_captured_and_folded(self, capfd):
        def talks(features, W):
            print("looking at", tuple(W.shape))  # noqa: T201
            print("<b>trouble</b>", file=sys.stderr)  # noqa: T201
            warnings.warn("careful", stacklevel=1)
            return right(features, W)

        result = attempt(talks)
        assert capfd.readouterr() == ("", "")
        assert result.passed
        assert "looking at (3, 2, 5)" in result.printed
        assert "careful" not in result.printed
        card = result.html()
        assert "<summary>What your code printed</summary>" in card
        assert "&lt;b&gt;trouble" in card

    def test_progress_bars_are_captured(self, capfd):
        from tqdm import tqdm

        def shows_progress(features, W):
            return [right(features, W) for _ in tqdm(range(2))][-1]

        assert attempt(shows_progress).passed
        assert capfd.readouterr() == ("", "")

    def test_printed_keeps_the_beginning(self):
        printed = Printed(limit=5)
        for text in ("ab", "cd", "ef", "gh"):
            assert printed.write(text) == 2
        assert printed.text() == "abcde\n…"


class TestOutcomes:
    def test_passed(self):
        result = attempt(right)
        assert (result.status, result.points, result.max_points, result.message) == ("passed", 1, 1, "")
        assert result.claims

    def test_failed_keeps_what_was_right(self):
        def square_only(features, W):
            return right(features, W.mT if W.shape[1] == W.shape[2] else W)

        result = attempt(square_only)
        assert (result.status, result.points) == ("failed", 0)
        assert "transposed" in result.message
        assert result.claims

    def test_error_shows_the_learners_line(self):
        def adds(features, W):
            return features + W

        result = attempt(adds)
        assert result.status == "error"
        assert "RuntimeError: The size of tensor" in result.message
        assert ": `return features + W`\n" in result.message
        assert (
            "3 is the size of `instances`, 2 is the size of `hidden`: two different axes meet"
            in result.message
        )
        assert result.message.endswith("`W` [instances 3, hidden 2, features 5].")
        assert "site-packages" not in result.text()

    def test_not_attempted(self):
        def stub(features, W):
            raise NotImplementedError("Exercise 0.1 is still to be solved.")

        result = attempt(stub)
        assert (result.status, result.message) == ("not_attempted", "Exercise 0.1 is still to be solved.")

    def test_cell_not_run(self):
        result = run_check(PROJECT, DirectLearner({}, cell_names()))
        assert result.status == "not_attempted"
        assert result.message == "`project_features` is not defined yet. Run the cell of exercise 0.1 first."

    @pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, BaseException])
    def test_what_is_no_exception(self, kind):
        def leaves(features, W):
            raise kind("bye")

        result = attempt(leaves)
        assert result.status == "error"
        assert result.points == 0

    def test_interrupt_of_the_kernel_passes_through(self):
        def interrupted(features, W):
            torch.manual_seed(99)
            raise KeyboardInterrupt

        state = torch.get_rng_state()
        with pytest.raises(KeyboardInterrupt):
            attempt(interrupted)
        assert torch.equal(torch.get_rng_state(), state)

    def test_result_that_no_check_foresaw(self):
        def stumbles(check):
            check.call(torch.ones(2, 3, 5), torch.ones(3, 2, 5))
            raise KeyError("counts")

        result = run_check(
            replace(PROJECT, check=stumbles), DirectLearner({"project_features": right}, cell_names())
        )
        assert result.status == "error"
        assert "could not make sense of your result, a float32 tensor of shape [2, 3, 2]," in result.message
        assert "part_utils" not in result.text()

    def test_tensor_without_values(self):
        result = attempt(lambda features, W: torch.empty(7, 3, 2, device="meta"))
        assert result.status == "failed"
        assert "no values" in result.message

    def test_same_seed_same_result(self):
        def wrong(features, W):
            return right(features, W) + torch.rand(())

        assert attempt(wrong, seed=3) == attempt(wrong, seed=3)
        assert attempt(wrong, seed=3) != attempt(wrong, seed=4)


class TestIndependence:
    @pytest.mark.parametrize("exercise", all_exercises(), ids=lambda e: e.id)
    def test_passes_with_nothing_else_defined(self, exercise):
        functions = {name: exercise.load_reference(name) for name in exercise.also}
        learner = DirectLearner({exercise.cell_name: exercise.load_reference(), **functions}, cell_names())
        assert run_check(exercise, learner).passed

    def test_order_does_not_matter(self):
        exercises = [e for e in all_exercises() if e.id.startswith(("0", "1"))]
        learner = reference_learner()
        forward = {e.id: run_check(e, learner) for e in exercises}
        backward = {e.id: run_check(e, learner) for e in reversed(exercises)}
        assert forward == backward


def test_check_finds_the_callers_function():
    project_features = right  # noqa: F841
    assert check("0.1").passed


def test_check_of_a_given_answer():
    assert check("0.1", right).passed
    assert not check("0.1", lambda features, W: features).passed


def test_check_of_an_unknown_exercise():
    with pytest.raises(ValueError, match=r"There is no exercise '9\.9'\. The exercises are 0\.1, "):
        check("9.9")


# In a notebook

FIRST_CELL = """
from collections.abc import Sequence
import torch, einops
from jaxtyping import Float, Int
from torch import Tensor, nn
from coursekit import check
from part_utils.phase_diagram import SweepSettings
from part_utils.toy_model import ToyModel, ToyModelConfig, random_weights
"""


@pytest.fixture
def shell():
    """A real IPython shell, as a notebook's kernel has it."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.run_cell(FIRST_CELL).raise_error()
    yield shell
    shell.reset(new_session=False)
    InteractiveShell.clear_instance()


def nbgrader_score(shell, exercise):
    """What nbgrader makes of the check's cell, and the cell's result."""
    _, _, cell, _ = exercise_cells(exercise)
    done = shell.run_cell(cell.source, store_history=True)
    done.raise_error()
    data, metadata = shell.display_formatter.format(done.result)
    cell.outputs = [new_output("execute_result", data=data, metadata=metadata, execution_count=1)]
    return determine_grade(cell), done.result


CHAPTERS_0_AND_1 = [e for e in all_exercises() if e.id.startswith(("0", "1"))]


@pytest.mark.parametrize("exercise", CHAPTERS_0_AND_1, ids=lambda e: e.id)
def test_solution_earns_full_points_and_stub_none(shell, exercise, capsys):
    source = solution_source(exercise)
    assert nbgrader_score(shell, exercise)[0] == (0.0, exercise.points)
    shell.run_cell(source).raise_error()
    score, result = nbgrader_score(shell, exercise)
    assert score == (exercise.points, exercise.points), result.text()
    assert capsys.readouterr().err == ""


def test_mistake_and_error_earn_nothing(shell, capsys):
    for body, status in (("features.sum()", "failed"), ("features + W", "error"), ("1 / 0", "error")):
        shell.run_cell(f"def project_features(features, W):\n    return {body}").raise_error()
        score, result = nbgrader_score(shell, PROJECT)
        assert score == (0.0, 1.0)
        assert result.status == status
    assert "in `project_features`, line 2: `return 1 / 0`" in result.message
    assert capsys.readouterr().err == ""


def test_real_kernel(tmp_path):
    """All four outcomes in a kernel of their own: what is shown, and that nothing is on stderr."""
    cells = [new_code_cell(FIRST_CELL)]
    for body in (
        None,
        "return features",
        "return features + W",
        "print('hello'); return einops.einsum(features, W, 'b i f, i h f -> b i h')",
    ):
        if body is not None:
            cells.append(new_code_cell(f"def project_features(features, W):\n    {body}"))
        cells.append(exercise_cells(PROJECT)[2].copy())
        cells[-1].id = f"check-{len(cells)}"
    notebook = new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    checks = [cell for cell in notebook.cells if cell.metadata.get("nbgrader")]
    outputs = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.get("outputs", [])
    ]
    assert {output.output_type for output in outputs} == {"execute_result"}
    assert [determine_grade(cell) for cell in checks] == [(0.0, 1.0)] * 3 + [(1.0, 1.0)]
    for cell, verdict in zip(
        checks, ("not attempted yet", "not yet right", "stopped with an error", "correct"), strict=True
    ):
        (output,) = cell.outputs
        assert verdict in output.data["text/html"]
        assert set(output.data) == {"text/html", "text/plain"}
    assert "hello" in checks[-1].outputs[0].data["text/html"]
    nbformat.validate(notebook)


def test_an_earlier_exercise_fails_no_later_one(shell):
    """3.2 calls 3.1: it gets the reference where the learner's own is a stub, and the learner's where that helps."""
    shell.run_cell("from jaxtyping import Bool\nfrom part_utils.autoencoder import AutoEncoder").raise_error()
    stub = "def dead_neurons(frac_active_in_window):\n    raise NotImplementedError('Exercise 3.1')"
    shell.run_cell(stub).raise_error()
    own = shell.user_ns["dead_neurons"]
    solution = solution_source(get_exercise("3.2"))
    shell.run_cell(solution).raise_error()
    assert check("3.2").passed
    assert shell.user_ns["dead_neurons"] is own
    assert check("3.1").status == "not_attempted"

    # A solution that relies on an extension of one's own is right, too.
    extended = "def dead_neurons(window, at_most=0.0):\n    return (window <= at_most).all(dim=0)"
    shell.run_cell(extended).raise_error()
    shell.run_cell(
        solution.replace("dead_neurons(frac_active_in_window)", "dead_neurons(frac_active_in_window, 0)")
    )
    assert check("3.2").passed
