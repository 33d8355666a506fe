"""What the first cell of a notebook says after it has installed the course into a running session, as in Colab."""

from __future__ import annotations

import importlib.metadata
import sys

from packaging.version import InvalidVersion, Version


def advice() -> str:
    """Tell whether to restart the session, and what happens next."""
    changed = replaced()
    if not changed:
        return "The course is installed. Go on with the next cell."
    return (
        f"The course is installed, and with it another version of {', '.join(changed)}, which this session has loaded. "
        "Restart it now (Runtime > Restart session in Colab) and run the notebook from the top: this cell then does "
        "nothing, and nothing that you have written is lost."
    )


def replaced() -> list[str]:
    """Return the packages that this session has loaded in another version than the one that is installed now."""
    owners = importlib.metadata.packages_distributions()
    changed = []
    for name, module in sorted(sys.modules.items()):
        loaded = getattr(module, "__version__", None)
        if "." in name or not isinstance(loaded, str) or len(set(owners.get(name, ()))) != 1:
            continue
        package = owners[name][0]
        try:
            if Version(importlib.metadata.version(package)).release != Version(loaded).release:
                changed.append(package)
        except (importlib.metadata.PackageNotFoundError, InvalidVersion):
            continue
    return changed
