"""Where the command `course` began before it moved: an environment that an older release made still starts here."""

import sys
from pathlib import Path

# Such an environment knows `part_utils` alone, until `make course` runs again.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from coursekit.commands.cli import app

__all__ = ["app"]
