"""Memory that nothing uses any more, given back to the system."""

import ctypes
import sys


def give_back() -> None:
    """Give freed memory back to the system, where the C library (glibc, on Linux) keeps it and has a call for that.

    It keeps what is freed below something that is still in use, as it is after many tensors of some megabytes: 40 to
    100 MB after each reading of SmolLM2.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
