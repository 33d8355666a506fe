"""The one door through which a check reaches a learner's code.

A check names an exercise and hands over tensors and plain values; it gets tensors and plain values
back, and a `Handle` for any other object. `DirectLearner` is the door in a notebook: a direct call.
A door that leads to another process can offer the same five methods, and no check would notice.
"""

from __future__ import annotations

import importlib
import linecache
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

PACKAGE_DIRECTORY = str(Path(__file__).resolve().parent.parent)


class NotAttempted(Exception):
    """The exercise's stub still stands, or its cell was not run."""


class LearnerError(Exception):
    """The learner's code raised an exception; the message says which one and on which line.

    Attributes:
        kind: name of the exception's class, such as "ValueError".
        said: the exception's own message, possibly empty.
    """

    def __init__(self, message: str, kind: str = "", said: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.said = said


@dataclass(frozen=True)
class Handle:
    """An object that stays on the learner's side of the door. `type_name` is all a check sees of it."""

    number: int
    type_name: str


Target = str | tuple[Handle, str]
"""What to call: an exercise's id, the dotted name of a reference function, or a handle and a method's name."""


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
                owner = self._objects[target[0].number] if isinstance(target, tuple) else None
                sources.append(getattr(owner, name))
        with torch.enable_grad():
            # A leaf cannot be changed in place, which is a limit of autograd and no mistake of the learner's.
            passed = [x * 1 if isinstance(x, Tensor) and x.requires_grad else x for x in inputs]
            result = guarded(function, *passed)
        output = result if field is None else result[field]
        if not isinstance(output, Tensor) or not output.requires_grad:
            return self._outward(result), [None] * len(sources)
        total = output.sum() if cotangent is None else (output * cotangent.to(output.dtype)).sum()
        gradients = torch.autograd.grad(total, sources, allow_unused=True)
        return self._outward(result), [None if g is None else g.detach().clone() for g in gradients]

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
                getattr(self._objects[handle.number], name).copy_(value)

    def _resolve(self, target: Target) -> Callable[..., Any]:
        if isinstance(target, tuple):
            return getattr(self._objects[target[0].number], target[1])
        if target in self._names:
            name = self._names[target]
            if name not in self._namespace:
                raise NotAttempted(f"`{name}` is not defined yet. Run the cell of exercise {target} first.")
            return self._namespace[name]
        module, _, attribute = target.rpartition(".")
        return getattr(importlib.import_module(module), attribute)

    def _inward(self, value: Any) -> Any:
        if isinstance(value, Handle):
            return self._objects[value.number]
        if isinstance(value, Tensor):
            return value.detach().clone()
        return value

    def _outward(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().as_subclass(Tensor).clone()
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, tuple):
            return tuple(self._outward(item) for item in value)
        if isinstance(value, list):
            return [self._outward(item) for item in value]
        if isinstance(value, dict):
            return {key: self._outward(item) for key, item in value.items()}
        return self._handle(value)

    def _handle(self, value: Any) -> Handle:
        kind = type(value)
        module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
        handle = Handle(len(self._objects), f"{module}{kind.__qualname__}")
        self._objects[handle.number] = value
        return handle


def guarded(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a learner's function. Its exceptions become `NotAttempted` or a `LearnerError` that shows the line.

    KeyboardInterrupt, which stops a check, passes through.
    """
    try:
        return function(*args, **kwargs)
    except NotImplementedError as error:
        raise NotAttempted(str(error) or "The exercise still raises NotImplementedError.") from None
    except Exception as error:
        raise LearnerError(describe_exception(error), type(error).__name__, str(error)) from None


def describe_exception(error: BaseException) -> str:
    """One or two lines: the learner's line that failed and the error, without any library's frames."""
    said = str(error).strip() or "no message"
    text = f"{type(error).__name__}: {said}"
    if isinstance(error, SyntaxError):
        return text
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_learners(frame.filename)]
    if not frames:
        return text
    last = frames[-1]
    line = linecache.getline(last.filename, last.lineno or 0).strip()
    return f"{text}\nin {last.name}, line {last.lineno}: {line}" if line else f"{text}\nin {last.name}"


def _is_learners(filename: str) -> bool:
    library = (
        "site-packages" in filename or "dist-packages" in filename or filename.startswith(PACKAGE_DIRECTORY)
    )
    return not library and (
        "ipykernel" in filename or filename.startswith("<cell") or Path(filename).exists()
    )
