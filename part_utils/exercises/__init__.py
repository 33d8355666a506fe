"""Where `check` was before it moved to `coursekit`: notebooks that were handed out before still ask here."""

from coursekit import chapter_card, check

__all__ = ["chapter_card", "check"]
