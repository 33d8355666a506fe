"""Turn a wrong shape into one clear sentence, from the jaxtyping annotations that are there anyway."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import torch

_Function = TypeVar("_Function", bound=Callable[..., Any])


def check_shapes(function: _Function) -> _Function:
    """Check the tensors that a function is called with against its annotations.

    An argument annotated like `Float[Tensor, "instances hidden features"]` is checked at every call. It must
    be a tensor of the annotated kind of dtype with one axis per name, and an axis name that occurs twice must
    stand for the same size. Only plain names are read, which is all that this package uses.

    Raises:
        TypeError: an argument is not a tensor, or has the wrong dtype (integers where floats are wanted).
        ValueError: an argument has the wrong number of axes, or two axes of one name differ in size.
    """
    signature = inspect.signature(function)
    annotated = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if hasattr(parameter.annotation, "dim_str")
    }

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        sizes: dict[str, tuple[int, str]] = {}
        arguments = signature.bind(*args, **kwargs).arguments
        for name, annotation in annotated.items():
            if name in arguments:
                _check_one(function.__name__, name, arguments[name], annotation, sizes)
        return function(*args, **kwargs)

    return checked  # type: ignore[return-value]


def _check_one(
    function: str, name: str, value: Any, annotation: Any, sizes: dict[str, tuple[int, str]]
) -> None:
    axes = annotation.dim_str.split()
    expected = f"[{' '.join(axes)}]"
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{function}: {name} must be a tensor {expected}, got {type(value).__name__}.")
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in annotation.dtypes:
        kind = annotation.__name__.split("[")[0].lower()
        raise TypeError(f"{function}: {name} must be a {kind} tensor {expected}, got dtype {dtype}.")
    if value.ndim != len(axes):
        raise ValueError(
            f"{function}: {name} must have {len(axes)} axes {expected}, "
            f"got {value.ndim} (shape {list(value.shape)})."
        )
    for axis, size in zip(axes, value.shape, strict=True):
        known, owner = sizes.setdefault(axis, (size, name))
        if known != size:
            raise ValueError(
                f"{function}: the axis '{axis}' has size {size} in {name} {list(value.shape)}, "
                f"but {known} in {owner}."
            )
