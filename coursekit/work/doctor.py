"""Looks whether this machine can run the course: `course doctor`. Every failure says what to do."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

# Looked at where they are installed: not everybody needs them.
EXTRAS = ("nbgrader", "jupyterlab")
MODULES = {
    "torch": "torch",
    "einops": "einops",
    "jaxtyping": "jaxtyping",
    "transformer_lens": "transformer-lens",
    "plotly": "plotly",
    "ipywidgets": "ipywidgets",
    "nbgrader": "nbgrader",
    "jupyterlab": "jupyterlab",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `advice` says what to do where it is not well."""

    what: str
    well: bool
    detail: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """Look at one thing after the other."""
    yield _python()
    yield from _packages()
    yield from _imports()
    yield _write_access()
    yield _training()


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(
        "Python",
        sys.version_info >= (3, 11),
        version,
        "Install Python 3.11 or newer, and the course with it.",
    )


def _packages() -> Iterator[Finding]:
    for line in importlib.metadata.requires("superposition-course") or []:
        requirement = Requirement(line)
        if requirement.marker is not None:
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        well = bool(version) and requirement.specifier.contains(version, prereleases=True)
        if not well:
            wanted = f"{requirement.name}{requirement.specifier}"
            yield Finding(requirement.name, False, version or "missing", f'Run `pip install "{wanted}"`.')


def _imports() -> Iterator[Finding]:
    for module, package in MODULES.items():
        if module in EXTRAS and importlib.util.find_spec(module) is None:
            continue
        try:
            importlib.import_module(module)
        except Exception as error:
            reason = re.sub(r"\s+", " ", str(error))[:120]
            yield Finding(
                module,
                False,
                f"import fails: {reason}",
                f"Run `pip install --force-reinstall {package}`; in a checkout, `make clean` and `make course`.",
            )
        else:
            yield Finding(module, True, importlib.metadata.version(package))


def _write_access() -> Finding:
    folder = Path.cwd()
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Finding(
            "Write access",
            False,
            f"{folder}: {error.strerror}",
            "Move the course to a folder that you may write to.",
        )
    return Finding("Write access", True, str(folder))


def _training() -> Finding:
    """Train a toy model for a moment and see its loss fall."""
    from part_utils.toy_model import ToyModel, ToyModelConfig

    try:
        model = ToyModel(ToyModelConfig(n_instances=2), feature_probability=0.1)
        log = model.optimize(steps=300, batch_size=256, lr=1e-2, seed=0, progress=False)
    except Exception as error:
        return Finding(
            "Training",
            False,
            f"{type(error).__name__}: {error}",
            "Run `pip install --force-reinstall torch`; in a checkout, `make clean` and `make course`.",
        )
    first, last = log["loss"][0], log["loss"][-1]
    return Finding(
        "Training",
        last < first,
        f"loss {first:.3f} to {last:.3f}",
        "Run `pip install --force-reinstall torch`; in a checkout, `make clean` and `make course`.",
    )
