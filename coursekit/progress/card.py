"""The card at the top of a chapter: what is solved in it, the points and what comes next."""

from __future__ import annotations

import html
import os
from dataclasses import dataclass
from typing import Any

from coursekit.catalogue import chapter
from coursekit.progress.store import ChapterProgress, load_progress, progress_of
from part_utils import palette


def chapter_card(number: str) -> ChapterCard:
    """Return a card that shows what is solved in a chapter, the points and what comes next.

    Args:
        number: the chapter's, such as "01".
    """
    of = chapter(number)
    if os.environ.get("COURSE_STATIC"):
        return ChapterCard(progress_of(of, {}), static=True)
    return ChapterCard(progress_of(of, load_progress()))


@dataclass(frozen=True)
class ChapterCard:
    """Shows itself in a notebook; as text elsewhere. `static` is for pages where nothing runs."""

    progress: ChapterProgress
    static: bool = False

    def _lines(self) -> tuple[str, str]:
        progress = self.progress
        count, solved = len(progress.chapter.exercises), len(progress.solved)
        if self.static:
            first = f"{count} exercises, {progress.max_points} points"
            return first, "Run this cell in your own copy to see what you have solved."
        first = f"{solved} of {count} exercises solved, {progress.points} of {progress.max_points} points"
        coming = progress.next
        if coming is None:
            return first, "Everything in this chapter is solved."
        return first, f"Next: {coming.id} · {coming.title} (about {coming.minutes} minutes)"

    def __repr__(self) -> str:
        signs = " ".join(
            f"{_sign(e.id in self.progress.solved)} {e.id}" for e in self.progress.chapter.exercises
        )
        return "\n".join([*self._lines(), signs])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": repr(self)}

    def html(self) -> str:
        """Return the card. Colors come from the page, so that it reads in light and in dark mode."""
        pills = []
        for exercise in self.progress.chapter.exercises:
            done = exercise.id in self.progress.solved
            color = palette.GREEN if done else palette.LIGHT_GRAY
            label = f"{exercise.title}: {'solved' if done else 'open'}"
            pills.append(
                f'<span title="{html.escape(label)}" style="border:1px solid {color};border-radius:1em;'
                f'padding:.05em .6em;margin:.15em .3em .15em 0;display:inline-block;white-space:nowrap">'
                f'<span style="color:{color}">{_sign(done)}</span> {exercise.id}</span>'
            )
        first, second = map(html.escape, self._lines())
        return (
            f'<div style="border-left:4px solid {palette.BLUE};padding:.4em .9em;margin:.2em 0;font-size:14px">'
            f"<div><b>Your progress</b> · {first}</div>"
            f'<div style="margin:.3em 0">{"".join(pills)}</div><div style="opacity:.85">{second}</div></div>'
        )


def _sign(done: bool) -> str:
    return "✓" if done else "○"
