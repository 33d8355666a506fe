"""Finds the submissions of a chapter, in a folder or in a zip from a learning platform, and reads them as bytes.

Nothing is ever unpacked to a path that an archive names, and no link is followed.
"""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from coursekit.catalogue import Chapter
from coursekit.errors import CourseError
from coursekit.grading.wire import plain_text

LARGEST_NOTEBOOK = 20_000_000
MOST_ENTRIES = 50_000
LARGEST_NAME = 80

# Canvas: lastfirst_LATE_userid_fileid_name.ipynb. Moodle: a folder "First Last_id_assignsubmission_file".
_CANVAS = re.compile(r"^([^_]+?)(?:_LATE)?_(\d+)_\d+_.*$", re.DOTALL | re.IGNORECASE)
_MOODLE = re.compile(r"^(.+?)_(\d+)_assignsubmission_(?:file|onlinetext)_?.*$", re.DOTALL)


@dataclass(frozen=True)
class Submission:
    """One learner's notebook: where it lies, not yet read.

    Attributes:
        student: who handed it in, made safe for file names.
        path: its file, or its name in the archive.
        archive: the zip that holds it.
        problem: why it cannot be graded; empty if that is not yet known.
    """

    student: str
    path: str
    archive: str = ""
    problem: str = ""

    def read(self) -> tuple[bytes, str]:
        """Return the notebook's bytes, and why there are none."""
        if self.problem:
            return b"", self.problem
        try:
            data = self._bytes()
        except (
            OSError,
            zipfile.BadZipFile,
            RuntimeError,
            NotImplementedError,
            EOFError,
            ValueError,
        ) as error:
            return b"", f"The notebook could not be read: {type(error).__name__}."
        if len(data) > LARGEST_NOTEBOOK:
            return b"", (
                f"The notebook has more than {LARGEST_NOTEBOOK // 1_000_000} MB. Clear its outputs, hand it in again."
            )
        if not data.strip():
            return b"", "The notebook is an empty file."
        return data, ""

    def _bytes(self) -> bytes:
        if self.archive:
            # The size that an archive states may be a lie, so that no more than a bounded part is unpacked.
            with zipfile.ZipFile(self.archive) as archive, archive.open(self.path) as file:
                return file.read(LARGEST_NOTEBOOK + 1)
        place = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(place, "rb") as file:
            if not stat.S_ISREG(os.fstat(place).st_mode):
                raise OSError("not a plain file")
            return file.read(LARGEST_NOTEBOOK + 1)


def find_submissions(place: Path, chapter: Chapter) -> list[Submission]:
    """Return one submission a learner, sorted by learner. Raises CourseError where there is none.

    Understands nbgrader's `STUDENT/CHAPTER/CHAPTER.ipynb`, a flat folder with one notebook a learner, the folders of a
    Moodle download, and a zip of any of these.
    """
    if not place.exists():
        raise CourseError(
            f"There is no {place}. Give a folder of notebooks, or a zip from a learning platform."
        )
    if place.is_dir():
        entries = list(_in_folder(place))
        archive = ""
    elif zipfile.is_zipfile(place):
        entries = list(_in_archive(place))
        archive = str(place)
    else:
        raise CourseError(f"{place} is neither a folder nor a zip. Give a folder of notebooks or a zip.")
    groups: dict[str, list[PurePosixPath]] = {}
    for entry in entries:
        if student := _student(entry, chapter):
            groups.setdefault(student, []).append(entry)
    if not groups:
        raise CourseError(
            f"{place} holds no notebooks of chapter {chapter.number}. "
            f"Expected STUDENT/{chapter.slug}/{chapter.slug}.ipynb, or one notebook a learner."
        )
    found = []
    for student, paths in sorted(groups.items()):
        path, problem = _choose(paths, chapter)
        found.append(Submission(student, str(path) if archive else str(place / path), archive, problem))
    return found


def safe_name(text: str) -> str:
    """Return a learner's name as a file name: letters, digits and `. _ @ + -` only."""
    return re.sub(r"[^\w.@+-]+", "-", text).strip(".-_")[:LARGEST_NAME].rstrip(".-_")


def _student(path: PurePosixPath, chapter: Chapter) -> str:
    """Whose notebook it is; empty if it is none of this chapter's."""
    folders, name = path.parts[:-1], path.stem
    if chapter.slug in folders and folders.index(chapter.slug) > 0:
        return safe_name(folders[folders.index(chapter.slug) - 1])
    for part in (*folders, name):
        if match := _MOODLE.match(part):
            return safe_name(f"{match[1]}_{match[2]}")
    if match := _CANVAS.match(name):
        return safe_name(f"{match[1]}_{match[2]}")
    if not folders:
        return safe_name(name.removesuffix(f"_{chapter.slug}").removeprefix(f"{chapter.slug}_"))
    # Folders one a learner, without a folder for the chapter.
    return safe_name(folders[0]) if len(folders) == 1 else ""


def _choose(paths: list[PurePosixPath], chapter: Chapter) -> tuple[PurePosixPath, str]:
    named = [path for path in paths if path.stem == chapter.slug]
    candidates = sorted(named or paths)
    if len(candidates) == 1:
        return candidates[0], ""
    names = ", ".join(plain_text(path.name, 60) for path in candidates[:5])
    return candidates[
        -1
    ], f"There are {len(candidates)} notebooks ({names}); hand in one, named {chapter.slug}.ipynb."


def _in_folder(place: Path, depth: int = 4) -> Iterator[PurePosixPath]:
    def walk(folder: Path, parts: tuple[str, ...]) -> Iterator[PurePosixPath]:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                here = (*parts, entry.name)
                if entry.is_dir(follow_symlinks=False):
                    if len(here) < depth:
                        yield from walk(Path(entry.path), here)
                elif entry.name.endswith(".ipynb"):
                    yield PurePosixPath(*here)

    yield from walk(place, ())


def _in_archive(place: Path) -> Iterator[PurePosixPath]:
    with zipfile.ZipFile(place) as archive:
        entries = archive.infolist()
    if len(entries) > MOST_ENTRIES:
        raise CourseError(f"{place} holds {len(entries):,} files. Expected at most {MOST_ENTRIES:,}.")
    for entry in entries:
        path = PurePosixPath(entry.filename)
        strange = path.is_absolute() or ".." in path.parts or "\\" in entry.filename or "\0" in entry.filename
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        link = stat.S_ISLNK(entry.external_attr >> 16)
        if not (strange or hidden or link or entry.is_dir()) and path.suffix == ".ipynb":
            yield path
