"""The one progress bar: on standard output, gone when it is full."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(total: int | None = None, *, show: bool = True, **options: Any) -> tqdm:
    """Return a bar for `total` steps that are counted with `update`.

    It does not write to stderr, which nbgrader takes for an error.

    Args:
        total: how many steps there are; None if that is not known yet.
        show: False for a bar that counts and is not seen. Where True, TQDM_DISABLE can still turn it off, as the build
            of the notebooks does.
        options: what else `tqdm` takes, such as `desc` and `unit`.
    """
    hidden = {} if show else {"disable": True}
    return tqdm(total=total, file=sys.stdout, leave=False, mininterval=0.5, **options, **hidden)
