"""The one door through which a check reaches a learner's code.

A check names an exercise and hands over tensors and plain values; it gets tensors and plain values
back, and a `Handle` for any other object. `DirectLearner` is the door in a notebook: a direct call.
A door that leads to another process can offer the same five methods, and no check would notice.
"""

from __future__ import annotations

import importlib
import linecache
import sysconfig
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

import part_utils

NO_MESSAGE = "no message"
MESSAGE_LIMIT = 1_000
LINE_LIMIT = 120
PACKAGE_DIRECTORIES = (
    str(Path(part_utils.__file__).resolve().parent),
    str(Path(__file__).resolve().parents[1]),
)
"""Where the course's own code is: what a learner's frames are told from, and what a jail may read."""
STANDARD_LIBRARY = sysconfig.get_path("stdlib")


class NotAttempted(Exception):
    """The exercise's stub still stands, or its cell was not run."""


class LearnerError(Exception):
    """The learner's code raised an exception; the message says which one, and on which line.

    The message is all that comes through the door: "ValueError: what was said", then a line about the place.
    """

    @property
    def kind(self) -> str:
        """Name of the exception's class."""
        return str(self).partition(":")[0]

    @property
    def said(self) -> str:
        """The exception's own message; empty if it had none."""
        said = str(self).partition(": ")[2].partition("\nin ")[0]
        return "" if said.partition("\n")[0] == NO_MESSAGE else said


@dataclass(frozen=True)
class Handle:
    """An object that stays on the learner's side of the door. `type_name` is all a check sees of it."""

    number: int
    type_name: str


Target = str | tuple[Handle, str]
"""What to call: an exercise's id ("4.6", or "4.6 other_function" for another function of its cell), the dotted name
of a reference function, or a handle and a method's name."""


class Learner(Protocol):
    """What a check may do with a learner's code."""

    def call(self, target: Target, *args: Any, **kwargs: Any) -> Any:
        """Call the target and return its result: detached tensors, plain values, handles."""

    def gradients(
        self,
        target: Target,
        *args: Any,
        wrt: Sequence[int | str],
        cotangent: Tensor | None = None,
        field: int | None = None,
    ) -> tuple[Any, list[Tensor | None]]:
        """Call the target and differentiate its result (or one field of it), weighted with the cotangent.

        `wrt` names positional arguments by number and a handle's parameters by name. A gradient is None
        where the result does not depend on the tensor, as far as autograd can tell.
        """

    def create(self, target: str, *args: Any, **kwargs: Any) -> Handle:
        """Make an object of a learner's class (exercise id) or of a reference class (dotted name)."""

    def get(self, handle: Handle, attribute: str) -> Any:
        """Read an attribute: None where it is absent."""

    def set(self, handle: Handle, **tensors: Tensor) -> None:
        """Copy values into an object's parameters and buffers."""


class DirectLearner:
    """The door in a notebook and for the reference: objects live in this process.

    `namespace` maps the names that exercises define to the learner's objects. `names` maps exercise ids to
    those names.
    """

    def __init__(self, namespace: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self._namespace = namespace
        self._names = names
        self._objects: dict[int, Any] = {}

    def call(self, target: Target, *args: Any, **kwargs: Any) -> Any:
        function = self._resolve(target)
        # A copy of every tensor goes in, so that code which works in place cannot spoil the comparison.
        result = guarded(
            function, *map(self._inward, args), **{k: self._inward(v) for k, v in kwargs.items()}
        )
        return self._outward(result)

    def gradients(
        self,
        target: Target,
        *args: Any,
        wrt: Sequence[int | str],
        cotangent: Tensor | None = None,
        field: int | None = None,
    ) -> tuple[Any, list[Tensor | None]]:
        function = self._resolve(target)
        inputs = [self._inward(arg) for arg in args]
        sources = []
        for name in wrt:
            if isinstance(name, int):
                inputs[name].requires_grad_(True)
                sources.append(inputs[name])
            else:
                assert isinstance(target, tuple)
                sources.append(self._tensor_of(target[0], name))
        with torch.enable_grad():
            # A leaf cannot be changed in place, which is a limit of autograd and no mistake of the learner's.
            passed = [x * 1 if isinstance(x, Tensor) and x.requires_grad else x for x in inputs]
            result = guarded(function, *passed)
            output = result if field is None else result[field]
            gradients: list[Tensor | None] = [None] * len(sources)
            wanted = [place for place, source in enumerate(sources) if source.requires_grad]
            if isinstance(output, Tensor) and output.requires_grad and wanted:
                total = output.sum() if cotangent is None else (output * cotangent.to(output.dtype)).sum()
                inputs = [sources[place] for place in wanted]
                found = guarded(torch.autograd.grad, total, inputs, allow_unused=True)
                for place, gradient in zip(wanted, found, strict=True):
                    gradients[place] = None if gradient is None else gradient.detach().clone()
        return self._outward(result), gradients

    def create(self, target: str, *args: Any, **kwargs: Any) -> Handle:
        constructor = self._resolve(target)
        made = guarded(
            constructor, *map(self._inward, args), **{k: self._inward(v) for k, v in kwargs.items()}
        )
        return self._handle(made)

    def get(self, handle: Handle, attribute: str) -> Any:
        return self._outward(getattr(self._objects[handle.number], attribute, None))

    def set(self, handle: Handle, **tensors: Tensor) -> None:
        with torch.no_grad():
            for name, value in tensors.items():
                own = self._tensor_of(handle, name)
                if own.shape != value.shape:
                    raise LearnerError(
                        f"ValueError: `{name}` of your {type(self._objects[handle.number]).__name__} should have the "
                        f"shape {list(value.shape)}, but has {list(own.shape)}."
                    )
                own.copy_(value)

    def _tensor_of(self, handle: Handle, name: str) -> Tensor:
        owner = self._objects[handle.number]
        tensor = getattr(owner, name, None)
        if not isinstance(tensor, Tensor):
            raise LearnerError(f"AttributeError: your {type(owner).__name__} has no tensor `{name}`.")
        return tensor

    def _resolve(self, target: Target) -> Callable[..., Any]:
        if isinstance(target, tuple):
            owner = self._objects[target[0].number]
            method = getattr(owner, target[1], None)
            if not callable(method):
                raise LearnerError(
                    f"AttributeError: your {type(owner).__name__} has no method `{target[1]}`."
                )
            return method
        if target in self._names:
            name, number = self._names[target], target.partition(" ")[0]
            if name not in self._namespace:
                raise NotAttempted(f"`{name}` is not defined yet. Run the cell of exercise {number} first.")
            if not callable(self._namespace[name]):
                raise NotAttempted(
                    f"`{name}` is no longer your function, but a {type(self._namespace[name]).__name__}: something "
                    f"else was stored under this name. Run the cell of exercise {number} again."
                )
            return self._namespace[name]
        module, _, attribute = target.rpartition(".")
        return getattr(importlib.import_module(module), attribute)

    def _inward(self, value: Any) -> Any:
        if isinstance(value, Handle):
            return self._objects[value.number]
        if isinstance(value, Tensor):
            return value.detach().clone()
        # So that code which takes items out of a list cannot spoil the comparison either.
        return list(value) if type(value) is list else value

    def _outward(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            # Plain data: a subclass has no say in how it is compared.
            with torch._C.DisableTorchFunctionSubclass():
                if value.device.type == "meta":
                    return self._handle(value, "Tensor on the device `meta`, which has no values")
                if value.layout is not torch.strided:
                    return self._handle(value, "sparse Tensor (`.to_dense()` makes it an ordinary one)")
                plain = value.detach().as_subclass(Tensor)
                return plain.resolve_conj().resolve_neg().cpu().clone()
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, tuple):
            return tuple(self._outward(item) for item in value)
        if isinstance(value, list):
            return [self._outward(item) for item in value]
        if isinstance(value, dict):
            return {key: self._outward(item) for key, item in value.items()}
        return self._handle(value)

    def _handle(self, value: Any, name: str = "") -> Handle:
        kind = type(value)
        module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
        handle = Handle(len(self._objects), name or f"{module}{kind.__qualname__}")
        self._objects[handle.number] = value
        return handle


def guarded(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a learner's function. Its exceptions become `NotAttempted` or a `LearnerError` that shows the line.

    KeyboardInterrupt, which stops a check, passes through.
    """
    try:
        return function(*args, **kwargs)
    except NotImplementedError as error:
        if _is_stub(error):
            raise NotAttempted(str(error) or "The exercise still raises NotImplementedError.") from None
        raise LearnerError(describe_exception(error)) from None
    except Exception as error:
        raise LearnerError(describe_exception(error)) from None


def describe_exception(error: BaseException) -> str:
    """Return one or two lines: the learner's line that failed and the error, without any library's frames."""
    said = str(error).strip() or NO_MESSAGE
    if len(said) > MESSAGE_LIMIT:
        said = f"{said[:MESSAGE_LIMIT]} …"
    if isinstance(error, NameError) and not isinstance(error, UnboundLocalError):
        said += " (run the cell that defines or imports it first)"
    text = f"{type(error).__name__}: {said}"
    if isinstance(error, SyntaxError):
        return text
    return "\n".join(line for line in (text, learners_line(error), _instead_of_self(error)) if line)


def learners_line(error: BaseException) -> str:
    """Say where in the learner's code an exception was raised, as "in `forward`, line 3: `…`"; "" if nowhere there."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_learners(frame.filename)]
    if not frames:
        return ""
    last = frames[-1]
    line = linecache.getline(last.filename, last.lineno or 0).strip()
    line = line if len(line) <= LINE_LIMIT else f"{line[:LINE_LIMIT]} …"
    return f"in `{last.name}`, line {last.lineno}: `{line}`" if line else f"in `{last.name}`"


def _instead_of_self(error: BaseException) -> str:
    """Say which model of the notebook a method of a model uses: its own weights stand in `self`."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if isinstance(frame.f_locals.get("self"), nn.Module) and _is_learners(code.co_filename):
            for name in code.co_names:
                if isinstance(frame.f_globals.get(name), nn.Module):
                    return (
                        f"`{code.co_name}` uses `{name}`, a variable of the notebook. The object whose method it is, "
                        "with its weights, is `self`."
                    )
    return ""


def _is_stub(error: NotImplementedError) -> bool:
    """Raised by a statement, as in a stub, and not by torch, which says with it that it cannot do something."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(last.filename, last.lineno or 0)
    return not line or "raise" in line


def _is_learners(filename: str) -> bool:
    if "site-packages" in filename or "dist-packages" in filename:
        return False
    if filename.startswith((*PACKAGE_DIRECTORIES, STANDARD_LIBRARY)):
        return False
    return (
        "ipykernel" in filename or filename.startswith(("<cell", "<ipython-input")) or Path(filename).exists()
    )


class Unloadable:
    """A door behind which the code did not even load: every use of it raises what loading raised."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error
