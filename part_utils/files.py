"""Writing files so that nothing is ever lost: a reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

# Seconds to wait before the next try; nothing on systems where an open file can be replaced.
RENAME_WAITS = (0.05, 0.1, 0.2, 0.4) if os.name == "nt" else ()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file's content in one step: written to a temporary file beside it, then renamed over it."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        os.chmod(temporary, mode)
        _rename(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _rename(temporary: str, path: Path) -> None:
    """Put the new file in the old one's place. On Windows an editor or a virus scanner may hold it for a moment."""
    for wait in RENAME_WAITS:
        try:
            os.replace(temporary, path)
        except PermissionError:
            time.sleep(wait)
        else:
            return
    os.replace(temporary, path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
