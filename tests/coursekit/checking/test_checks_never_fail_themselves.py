"""Whatever comes back from a learner's code, no check ends in an error of its own."""

import random
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from coursekit import all_exercises, run_check
from coursekit.checking.door import DirectLearner
from coursekit.checking.running import cell_names


def shaped_like(value, make):
    """The value with every tensor in it replaced."""
    if isinstance(value, Tensor):
        return make(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(shaped_like(item, make) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(shaped_like(item, make) for item in value)
    return value


def noise(tensor):
    return torch.randn(tensor.shape)


JUNK = {
    "other numbers": lambda value: shaped_like(value, noise),
    "NaN": lambda value: shaped_like(value, lambda x: torch.full(x.shape, float("nan"))),
    "one NaN": lambda value: shaped_like(value, with_one_nan),
    "infinite": lambda value: shaped_like(value, lambda x: torch.full(x.shape, -float("inf"))),
    "zeros": lambda value: shaped_like(value, torch.zeros_like),
    "huge": lambda value: shaped_like(value, lambda x: torch.full(x.shape, 1e30)),
    "percent": lambda value: shaped_like(value, lambda x: 100 * x + 1),
    "int8": lambda value: shaped_like(value, lambda x: (10 * noise(x)).to(torch.int8)),
    "bool": lambda value: shaped_like(value, lambda x: noise(x) > 0),
    "float64": lambda value: shaped_like(value, lambda x: noise(x).double()),
    "complex": lambda value: shaped_like(value, lambda x: torch.randn(x.shape, dtype=torch.complex64)),
    "half": lambda value: shaped_like(value, lambda x: noise(x).half()),
    "an axis more": lambda value: shaped_like(value, lambda x: noise(x)[None]),
    "an axis less": lambda value: shaped_like(
        value, lambda x: noise(x)[0] if x.ndim and len(x) else noise(x)
    ),
    "one row more": lambda value: shaped_like(value, lambda x: torch.randn(*(n + 1 for n in x.shape))),
    "one row less": lambda value: shaped_like(
        value, lambda x: torch.randn(*(max(0, n - 1) for n in x.shape))
    ),
    "empty": lambda value: shaped_like(value, lambda x: torch.zeros(0)),
    "flat": lambda value: shaped_like(value, lambda x: noise(x).flatten()),
    "axes reversed": lambda value: shaped_like(value, lambda x: noise(x).permute(*reversed(range(x.ndim)))),
    "averaged over the first axis": lambda value: shaped_like(
        value, lambda x: x.float().mean(0) if x.ndim else x
    ),
    "averaged over the last axis": lambda value: shaped_like(
        value, lambda x: x.float().mean(-1) if x.ndim else x
    ),
    "sparse": lambda value: shaped_like(value, lambda x: noise(x).to_sparse() if x.ndim else x),
    "lists": lambda value: shaped_like(value, lambda x: x.tolist()),
    "a number": lambda value: 3,
    "None": lambda value: None,
    "text": lambda value: "a result",
    "an empty tuple": lambda value: (),
    "nested": lambda value: ((value, [value]), {"result": value}),
    "the class": lambda value: type(value),
}


def with_one_nan(tensor):
    changed = tensor.clone().float()
    if changed.numel():
        changed.view(-1)[0] = float("nan")
    return changed


def spoiled(answer, junk, exercise):
    """The answer, whose results are junk; of a class, those of the methods that the exercise is about."""
    if not isinstance(answer, type):
        return lambda *args, **kwargs: junk(answer(*args, **kwargs))
    names = [exercise.name.rpartition(".")[2]] if exercise.class_name else [*exercise.methods]
    names = [
        name
        for name in names or vars(answer)
        if not name.startswith("__") and callable(getattr(answer, name))
    ]
    return type(
        answer.__name__, (answer,), {name: _spoiled_method(getattr(answer, name), junk) for name in names}
    )


def _spoiled_method(method, junk):
    return lambda self, *args, **kwargs: junk(method(self, *args, **kwargs))


def check_with(exercise, namespace):
    random.seed(0)
    torch.manual_seed(0)
    reference = {name: exercise.load_reference(name) for name in exercise.also}
    learner = DirectLearner({**reference, **namespace}, cell_names())
    return run_check(replace(exercise, seconds=60), learner)


@pytest.mark.slow
@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda e: f"{e.id} {e.name}")
def test_junk_is_refused_with_a_sentence(exercise):
    answer = exercise.load_reference()
    problems = []
    for kind, junk in JUNK.items():
        result = check_with(exercise, {exercise.cell_name: spoiled(answer, junk, exercise)})
        if "could not make sense" in result.message:
            problems.append(f"{kind}: {result.message}")
        if not (result.passed or result.message):
            problems.append(f"{kind}: {result.status} without a sentence")
    assert problems == []


@pytest.mark.slow
@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda e: f"{e.id} {e.name}")
def test_parameters_that_were_spoiled_are_refused_with_a_sentence(exercise):
    """A method or function that leaves NaN or noise in the objects that it was given."""
    answer = exercise.load_reference()
    problems = []
    for kind, value in (("NaN", float("nan")), ("zero", 0.0), ("infinite", float("inf")), ("noise", None)):

        def spoil(*args, value=value, **kwargs):
            result = answer(*args, **kwargs)
            with torch.no_grad():
                for module in (item for item in (*args, result) if isinstance(item, nn.Module)):
                    for parameter in module.parameters():
                        parameter.copy_(
                            torch.randn(parameter.shape) if value is None else torch.tensor(value)
                        )
            return result

        if isinstance(answer, type):
            continue
        result = check_with(exercise, {exercise.cell_name: spoil})
        if "could not make sense" in result.message:
            problems.append(f"{kind}: {result.message}")
    assert problems == []
