"""Finds the submissions of a chapter, in a folder or in a zip from a learning platform, and reads them as bytes.

Nothing is ever unpacked to a path that an archive names, and no link is followed.
"""

from __future__ import annotations

import collections
import hashlib
import lzma
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from coursekit.catalogue import CHAPTERS, Chapter
from coursekit.errors import CourseError
from coursekit.grading.wire import plain_text

LARGEST_NOTEBOOK = 20_000_000
MOST_ENTRIES = 50_000
DEEPEST = 12
# In bytes: file systems take 255 for a name, and temporary files and `.json` need some of them.
LARGEST_NAME = 80

# Canvas: lastfirst_LATE_userid_fileid_name.ipynb. The name's own part has no underscore.
_CANVAS = re.compile(r"([^_]+?)(?:_LATE)?_(\d{1,20})_\d+_(.*)", re.DOTALL | re.IGNORECASE)
# Moodle: a folder "First Last_id_assignsubmission_file". Its end is Moodle's, whatever the learner's name is.
_MOODLE_FOLDER = re.compile(r"(.+)_(\d{1,20})_assignsubmission_(?:file|onlinetext)_?", re.DOTALL)
# Moodle without folders: what follows is the learner's file name, and cannot be a part of this.
_MOODLE_FILE = re.compile(r"(.+?)_(\d{1,20})_assignsubmission_(?:file|onlinetext)_(.*)", re.DOTALL)
# What a download may be wrapped in.
_WRAPPERS = ("submitted", "submissions")
# What learners hand in instead of a notebook, where no platform says that a file is a submission.
_PACKED = (".zip", ".7z", ".rar", ".gz", ".tgz", ".tar")
_NO_SUBMISSION = {"thumbs.db", "desktop.ini", "timestamp.txt"}


@dataclass(frozen=True)
class Submission:
    """One learner's notebook: where it lies, not yet read.

    Attributes:
        student: who handed it in, made safe for file names.
        path: its file, or its name in the archive; empty if there is none.
        archive: the zip that holds it.
        problem: why it cannot be graded; empty if that is not yet known.
        note: what an instructor should know though it is graded; empty if nothing.
    """

    student: str
    path: str
    archive: str = ""
    problem: str = ""
    note: str = ""

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
            zlib.error,
            lzma.LZMAError,
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

    Understands nbgrader's `STUDENT/CHAPTER/CHAPTER.ipynb`, a flat folder with one notebook a learner, Moodle's and
    Canvas' downloads, and a zip of any of these. Whose it is says the first part of a path alone: the platform writes
    that, and what is below it the learner. Whoever handed in something is found, if need be with a problem.
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
    wrapper = _wrapper(entries, place, chapter)
    groups: dict[_Owner, list[_HandedIn]] = {}
    for entry in dict.fromkeys(entries):
        parts = entry.parts[wrapper:]
        owner, inner = _owner(parts, chapter)
        if inner.name.lower() not in _NO_SUBMISSION:
            groups.setdefault(owner, []).append(_HandedIn(entry, inner))
    choices = {owner: _choose(files, chapter) for owner, files in groups.items()}
    has_notebooks = any(choice is not None and choice[0] for choice in choices.values())
    chosen = [
        (owner, choice)
        for owner, choice in choices.items()
        # A folder or a packed file of which no platform says that it is a submission is one among others.
        if choice is not None and (owner.is_sure or (has_notebooks and (choice[0] or owner.may_hand_in)))
    ]
    if not chosen:
        raise CourseError(
            f"{place} holds no notebooks of chapter {chapter.number}. "
            f"Expected STUDENT/{chapter.slug}/{chapter.slug}.ipynb, or one notebook a learner."
        )
    names = _names([owner for owner, _ in chosen], is_folded=bool(archive))
    found = []
    for owner, (path, problem, note) in chosen:
        where = "" if path is None else str(path) if archive else str(place / path)
        found.append(Submission(names[owner], where, archive, problem, note))
    return sorted(found, key=lambda submission: submission.student)


@dataclass(frozen=True)
class _Owner:
    """A learner as the first part of a path says it: a name, and the platform's own number where there is one.

    `is_sure` where a platform's form shows that this is a learner. `may_hand_in` where it is a folder or a packed file,
    which beside other learners' is one too.
    """

    name: str
    number: str = ""
    is_sure: bool = True
    may_hand_in: bool = True


@dataclass(frozen=True)
class _HandedIn:
    """A file of a learner's: where it is, and its path below what names the learner."""

    entry: PurePosixPath
    inner: PurePosixPath


def _owner(parts: tuple[str, ...], chapter: Chapter) -> tuple[_Owner, PurePosixPath]:
    """Whose the file is, and its path below the part of the path that says so."""
    first = unicodedata.normalize("NFC", parts[0])
    if len(parts) > 1:
        inner = PurePosixPath(*parts[1:])
        if match := _MOODLE_FOLDER.fullmatch(first):
            return _Owner(match[1], match[2]), inner
        return _Owner(first, is_sure=False), inner
    for form in (_CANVAS, _MOODLE_FILE):
        if match := form.fullmatch(first):
            return _Owner(match[1], match[2]), PurePosixPath(match[3] or "_")
    name = PurePosixPath(first)
    stem = name.stem.removesuffix(f"_{chapter.slug}").removeprefix(f"{chapter.slug}_")
    is_packed = name.suffix.lower() in _PACKED
    return _Owner(stem, is_sure=False, may_hand_in=is_packed), PurePosixPath(f"{chapter.slug}{name.suffix}")


def _wrapper(entries: list[PurePosixPath], place: Path, chapter: Chapter) -> int:
    """1 if everything lies in one folder that stands for the whole download, else 0."""
    tops = {entry.parts[0] for entry in entries}
    if len(tops) != 1 or any(len(entry.parts) == 1 for entry in entries):
        return 0
    below = {entry.parts[1] for entry in entries}
    (top,) = tops
    if top in _WRAPPERS:
        return 1
    is_the_zips = top == place.stem and len(below) > 1 and chapter.slug not in below
    is_the_chapters = top == chapter.slug and f"{chapter.slug}.ipynb" not in below
    return int(is_the_zips or is_the_chapters)


def safe_name(text: str, longest: int = LARGEST_NAME) -> str:
    """Return a learner's name as a file name: letters, marks and digits of any script, and `. _ @ + -`.

    `longest` in bytes; of a longer name the beginning and a digest of the whole are kept.
    """
    text = unicodedata.normalize("NFC", text)
    kept = [
        letter if unicodedata.category(letter)[0] in "LMN" or letter in "._@+-" else " " for letter in text
    ]
    safe = "-".join("".join(kept).split()).strip(".-_")
    if len(safe.encode()) <= longest:
        return safe
    digest = _digest(text)
    start = safe.encode()[: longest - len(digest) - 1].decode(errors="ignore").rstrip(".-_")
    return f"{start}-{digest}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:8]


def _names(owners: list[_Owner], is_folded: bool) -> dict[_Owner, str]:
    """A file name for each learner, never one for two: where two come out the same, a digest tells them apart.

    In an archive (`is_folded`) letters of another case make no other name: some file systems do not tell them apart.
    """
    names: dict[_Owner, str] = {}
    for owner in owners:
        # The number has to stay whole: it is the way back to the platform.
        room = LARGEST_NAME - len(owner.number) - bool(owner.number)
        name = safe_name(owner.name, room)
        if owner.number:
            name = f"{name}_{owner.number}" if name else owner.number
        names[owner] = name or f"learner-{_digest(owner.name)}"

    def key(name: str) -> str:
        return name.casefold() if is_folded else name

    taken = collections.Counter(map(key, names.values()))
    used: set[str] = set()
    for owner in sorted(owners, key=lambda owner: (names[owner] != owner.name, owner.name, owner.number)):
        name, number = names[owner], f"_{owner.number}" if owner.number else ""
        if taken[key(name)] > 1 and key(name) in used:
            name = f"{name.removesuffix(number)}-{_digest(owner.name)}{number}"
        while key(name) in used:
            name = f"{name.removesuffix(number)}-2{number}"
        used.add(key(name))
        names[owner] = name
    return names


_Choice = tuple[PurePosixPath | None, str, str]


def _choose(files: list[_HandedIn], chapter: Chapter) -> _Choice | None:
    """Which of a learner's files is graded, why none, and what to remark; None if nothing is of this chapter."""
    others = {one.slug for one in CHAPTERS} - {chapter.slug}
    elsewhere = [
        file for file in files if set(file.inner.parts[:-1]) & others or _slug_of(file.inner) in others
    ]
    here = [file for file in files if file not in elsewhere]
    in_folder = [file for file in here if chapter.slug in file.inner.parts[:-1]]
    notebooks = [file for file in in_folder or here if _is_notebook(file.inner)]
    notebooks = notebooks or [file for file in here if _is_notebook(file.inner)]
    if not notebooks:
        if not here:
            return None
        names = ", ".join(sorted(plain_text(file.inner.name, 60) for file in here)[:5])
        return None, f"Handed in was {names}, and no notebook. Hand in {chapter.slug}.ipynb itself.", ""
    named = [file for file in notebooks if _slug_of(file.inner) == chapter.slug]
    candidates = sorted(named or notebooks, key=lambda file: (_version(file.inner), str(file.entry)))
    names = ", ".join(plain_text(file.inner.name, 60) for file in sorted(notebooks, key=str)[:5])
    newest = [file for file in candidates if _version(file.inner) == _version(candidates[-1].inner)]
    if len(newest) > 1:
        several = f"There are {len(newest)} notebooks ({names})"
        wanted = f"{chapter.slug}.ipynb"
        asked = f"hand in only one {wanted}" if named else f"hand in one, named {wanted}"
        return newest[-1].entry, f"{several}; {asked}.", ""
    note = ""
    if len(notebooks) > 1:
        note = f"Of {len(notebooks)} notebooks ({names}) {plain_text(newest[0].inner.name, 60)} counts."
    return newest[0].entry, "", note


# What a platform or a browser adds to the name of a file that is handed in or downloaded again: "-2", " (2)".
_AGAIN = re.compile(r"(.*?)(?:-(\d{1,4})| ?\((\d{1,4})\))?", re.DOTALL)


def _slug_of(path: PurePosixPath) -> str:
    match = _AGAIN.fullmatch(path.stem)
    return match[1] if match else path.stem


def _version(path: PurePosixPath) -> int:
    match = _AGAIN.fullmatch(path.stem)
    return int((match and (match[2] or match[3])) or 0)


def _is_notebook(path: PurePosixPath) -> bool:
    return path.suffix.lower() == ".ipynb"


def _is_hidden(parts: tuple[str, ...], is_first: bool) -> bool:
    """Return whether an editor or a system left it there. A platform's folder is not, however a name begins."""
    if is_first and any(form.fullmatch(parts[0]) for form in (_MOODLE_FOLDER, _MOODLE_FILE, _CANVAS)):
        parts = parts[1:]
    return any(part.startswith((".", "__MACOSX")) for part in parts)


def _in_folder(place: Path) -> Iterator[PurePosixPath]:
    def walk(folder: Path, parts: tuple[str, ...]) -> Iterator[PurePosixPath]:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                here = (*parts, entry.name)
                if _is_hidden(here[-1:], is_first=not parts):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if len(here) < DEEPEST:
                        yield from walk(Path(entry.path), here)
                else:
                    yield PurePosixPath(*here)

    yield from walk(place, ())


def _in_archive(place: Path) -> Iterator[PurePosixPath]:
    try:
        with zipfile.ZipFile(place) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        raise CourseError(f"{place} is a damaged zip. Download it again.") from None
    if len(entries) > MOST_ENTRIES:
        raise CourseError(f"{place} holds {len(entries):,} files. Expected at most {MOST_ENTRIES:,}.")
    for entry in entries:
        path = PurePosixPath(entry.filename)
        strange = path.is_absolute() or ".." in path.parts or "\\" in entry.filename or "\0" in entry.filename
        hidden = _is_hidden(path.parts, is_first=True)
        link = stat.S_ISLNK(entry.external_attr >> 16)
        if path.parts and not (strange or hidden or link or entry.is_dir()):
            yield path
