"""Backups: what a command is about to change is kept first, dated, in `.course/backups/`.

A backup is a folder with the files as they were and a `backup.json` that says what they are. It is put together
under another name and renamed when it is complete, so that a listed backup is never half a one.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from coursekit.errors import CourseError
from part_utils.files import write_atomically


@dataclass(frozen=True)
class Backup:
    """One backup.

    Attributes:
        name: of its folder, such as "20261122-213000-reset-2.3".
        what: the command that made it: "reset", "update" or "restore".
        when: date and time, as people write it.
        files: paths of the files in it, relative to the course folder.
        exercise: the exercise whose cell was changed, if it was one.
        code: what stood in that cell.
    """

    name: str
    what: str
    when: str
    files: tuple[str, ...]
    exercise: str = ""
    code: tuple[str, ...] = ()


def folder_of(root: Path) -> Path:
    """Return where the backups of a course folder stand."""
    return root / ".course" / "backups"


def keep(
    root: Path, what: str, files: Iterable[Path], exercise: str = "", code: Iterable[str] = ()
) -> Backup:
    """Copy files of the course folder `root` into a new backup. Raises CourseError where that is not possible."""
    now = datetime.now()
    paths = [str(path.resolve().relative_to(root.resolve())) for path in files]
    parent = folder_of(root)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        stem = "-".join(filter(None, (f"{now:%Y%m%d-%H%M%S}", what, exercise)))
        name = next(n for n in (stem, *(f"{stem}-{k}" for k in range(2, 1000))) if not (parent / n).exists())
        backup = Backup(name, what, f"{now:%Y-%m-%d %H:%M:%S}", tuple(paths), exercise, tuple(code))
        unfinished = Path(tempfile.mkdtemp(dir=parent, prefix=".unfinished-"))
        try:
            for path in paths:
                write_atomically(unfinished / "files" / path, (root / path).read_bytes())
            write_atomically(unfinished / "backup.json", json.dumps(asdict(backup), indent=1) + "\n")
            os.rename(unfinished, parent / name)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except OSError as error:
        raise CourseError(f"No backup could be made in {parent} ({error}), so nothing was changed.") from None
    return backup


def all_backups(root: Path) -> list[Backup]:
    """Return every complete backup, the oldest first."""
    found = []
    for path in sorted(folder_of(root).glob("[!.]*/backup.json")):
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            found.append(Backup(**{**facts, "files": tuple(facts["files"]), "code": tuple(facts["code"])}))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return found


def find_backup(root: Path, name: str) -> Backup:
    """Return the backup with this name, or the beginning of one, or "last"."""
    known = all_backups(root)
    if not known:
        raise CourseError(f"There are no backups in {folder_of(root)}.")
    fitting = known[-1:] if name == "last" else [b for b in known if b.name == name]
    fitting = fitting or [b for b in known if b.name.startswith(name)]
    if len(fitting) != 1:
        state = "Several backups begin" if fitting else "No backup begins"
        raise CourseError(f"{state} with {name!r}. `course restore` without a name lists them.")
    return fitting[0]


def content(root: Path, backup: Backup, path: str) -> bytes:
    """Return a file of a backup, as it was. Raises CourseError where it is gone."""
    kept = folder_of(root) / backup.name / "files" / path
    try:
        return kept.read_bytes()
    except OSError as error:
        raise CourseError(f"{kept} cannot be read: {error.strerror}.") from None
