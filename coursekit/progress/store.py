"""Which exercises are solved, for display only: one small file, which may be deleted at any time.

It stands in `.course/` of the course folder. Where that cannot be written, or there is no course folder (as in
Colab), it stands in the user's own data folder, in a file of this folder's own: no two copies of the course see each
other's progress. No check depends on it, and no check fails because of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from coursekit.catalogue import CHAPTERS, Chapter, Exercise, all_exercises
from coursekit.checking.results import CheckResult
from coursekit.folders import course_folder, data_folder

LOCK_SECONDS = 2.0

Entries = dict[str, dict[str, str]]
"""By exercise id: `status` and `when` of the last attempt, and `solved`, the time of the first success."""


def progress_files(start: Path | None = None) -> list[Path]:
    """List where progress may stand, the best place first. The variable COURSE_PROGRESS names one file, or is "off"."""
    chosen = os.environ.get("COURSE_PROGRESS")
    if chosen is not None:
        return [] if chosen in ("", "off") else [Path(chosen)]
    folder = course_folder(start)
    home = (
        data_folder()
        / "superposition-course"
        / f"progress-{_fingerprint(folder or start or Path.cwd())}.json"
    )
    return [folder / ".course" / "progress.json", home] if folder else [home]


def _fingerprint(folder: Path) -> str:
    """What tells a folder from every other, and from one that stood under the same name before it."""
    folder = folder.resolve()
    if folder.is_file():
        folder = folder.parent
    # The number of the folder on its disk changes when the folder is deleted and made anew.
    number = folder.stat().st_ino if folder.exists() else 0
    return hashlib.sha256(f"{folder}\n{number}".encode(errors="surrogateescape")).hexdigest()[:16]


def load_progress(start: Path | None = None) -> Entries:
    """Return what is known of each exercise. A file that is missing, damaged or cannot be read counts as empty."""
    entries: Entries = {}
    for path in reversed(progress_files(start)):
        for key, entry in _read(path).items():
            entries[key] = _merged(entries.get(key), entry)
    return entries


def record(results: Iterable[CheckResult], start: Path | None = None) -> None:
    """Remember the outcome of checks. An exercise that was not attempted leaves what is known of it as it is."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    news: Entries = {}
    for result in results:
        if result.status != "not_attempted":
            news[result.id] = {"status": result.status, "when": now} | (
                {"solved": now} if result.passed else {}
            )
    if news:
        _change(
            lambda known: {**known, **{key: _merged(known.get(key), new) for key, new in news.items()}}, start
        )


def forget(exercise_id: str, start: Path | None = None) -> None:
    """Take an exercise for unsolved again."""
    for path in progress_files(start):
        if exercise_id in _read(path):
            with contextlib.suppress(Exception):
                _change_file(path, lambda known: {key: e for key, e in known.items() if key != exercise_id})


def remember(result: CheckResult) -> None:
    """Record a check that ran in a notebook: silently, and without ever failing.

    Solved notebooks, which the course brings along, and a grader's runs are not the learner's progress.
    """
    with contextlib.suppress(Exception):
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        if shell is None or os.environ.get("COURSE_STATIC") or os.environ.get("NBGRADER_EXECUTION"):
            return
        if is_learners(Path.cwd()):
            record([result])


def is_learners(path: Path) -> bool:
    """Tell whether a notebook, or its folder, is not one of the solved ones in `solutions/`."""
    folder = course_folder(path)
    return folder is None or path.resolve().relative_to(folder).parts[:1] != ("solutions",)


@dataclass(frozen=True)
class ChapterProgress:
    """How far a chapter is: its exercises, those solved, and the next one."""

    chapter: Chapter
    solved: frozenset[str]

    @property
    def points(self) -> int:
        return sum(e.points for e in self.chapter.exercises if e.id in self.solved)

    @property
    def max_points(self) -> int:
        return sum(e.points for e in self.chapter.exercises)

    @property
    def next(self) -> Exercise | None:
        """The first exercise after the last one solved that is not solved, or else the first that is not."""
        open_ones = [e for e in self.chapter.exercises if e.id not in self.solved]
        order = [e.id for e in self.chapter.exercises]
        last = max((order.index(key) for key in self.solved), default=-1)
        return next((e for e in open_ones if order.index(e.id) > last), open_ones[0] if open_ones else None)


def progress_of(of: Chapter, entries: Mapping[str, Mapping[str, str]]) -> ChapterProgress:
    """Return a chapter's progress out of what was recorded."""
    return ChapterProgress(of, frozenset(e.id for e in of.exercises if entries.get(e.id, {}).get("solved")))


def next_exercise(entries: Mapping[str, Mapping[str, str]]) -> Exercise | None:
    """Return what comes next in the chapter that was worked on last; None when everything is solved."""
    known = {e.id: e for e in all_exercises()}
    last = max(
        (key for key in entries if key in known), key=lambda key: entries[key].get("when", ""), default=None
    )
    begin = CHAPTERS.index(known[last].chapter) if last else 0
    for candidate in (*CHAPTERS[begin:], *CHAPTERS[:begin]):
        if found := progress_of(candidate, entries).next:
            return found
    return None


def _merged(old: Mapping[str, str] | None, new: Mapping[str, str]) -> dict[str, str]:
    """The later attempt's outcome, and the earlier of the two successes."""
    if old is None:
        return dict(new)
    first, second = sorted((old, new), key=lambda entry: entry.get("when", ""))
    times = [entry["solved"] for entry in (old, new) if entry.get("solved")]
    return {**first, **second} | ({"solved": min(times)} if times else {})


def _change(how: Callable[[Entries], Entries], start: Path | None) -> None:
    for path in progress_files(start):
        try:
            _change_file(path, how)
            return
        except (OSError, RuntimeError):
            # A folder that cannot be written, one without locks, or a lock that somebody holds for good.
            continue


def _change_file(path: Path, how: Callable[[Entries], Entries]) -> None:
    from filelock import FileLock

    from part_utils.files import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    # Two kernels at once: each reads what the other wrote before it adds its own.
    with FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):
        known = how(_read(path))
        write_atomically(
            path, json.dumps({"version": 1, "exercises": known}, indent=1, sort_keys=True) + "\n"
        )


def _read(path: Path) -> Entries:
    try:
        exercises = json.loads(path.read_text(encoding="utf-8"))["exercises"]
        return {
            key: {k: v for k, v in entry.items() if isinstance(v, str)}
            for key, entry in exercises.items()
            if isinstance(entry, dict)
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
