"""Brings a newer release of the course into a working copy: `course update`.

Notebooks first, each written in one step, then the other files. Everything that is about to change is in a backup
before the first of them is written, so an update that was stopped is finished by running it again.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from coursekit.errors import CourseError
from coursekit.material import is_installed, material
from coursekit.notebooks.merge import is_untouched, merge
from coursekit.work import backups
from coursekit.work.reset import read_raw, serialized
from part_utils.files import write_atomically

# Never copied from a release: its history, its own environment, what a learner's work made.
_LEFT_OUT = {".git", ".venv", ".course", "__pycache__", ".ipynb_checkpoints", ".mypy_cache", ".ruff_cache"}


@dataclass
class Plan:
    """What an update will write and take away, by path relative to the course folder, and what there is to tell."""

    notebooks: dict[str, bytes] = field(default_factory=dict)
    others: dict[str, bytes] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def update(root: Path, source: str | None, dry_run: bool, say: Callable[[str], None]) -> list[str]:
    """Bring a release into the working copy in `root`.

    Args:
        root: the course folder.
        source: a release: a folder, a .zip or a .tar.gz. By default, in a git checkout, what its remote has.
        dry_run: change nothing, only say what would happen.
        say: receives a line about each step.

    Returns:
        The conflicts, a sentence each.
    """
    with _release(root, source) as release:
        plan = make_plan(root, release)
        for line in plan.said:
            say(line)
        writes = plan.notebooks | plan.others
        if not (writes or plan.gone):
            say("Nothing to do: the course is up to date.")
        elif dry_run:
            say(
                f"Without --dry-run, {len(plan.notebooks)} notebooks and {len(plan.others)} other files are written."
            )
        else:
            touched = [root / path for path in (*writes, *plan.gone) if (root / path).exists()]
            backup = backups.keep(root, "update", touched)
            say(f"What is replaced is kept in {backups.folder_of(root) / backup.name}.")
            for path, content in writes.items():
                write_atomically(root / path, content)
                if (release / path).stat().st_mode & 0o100:
                    (root / path).chmod((root / path).stat().st_mode | 0o111)
            for path in plan.gone:
                (root / path).unlink(missing_ok=True)
            say(f"Wrote {len(plan.notebooks)} notebooks and {len(plan.others)} other files.")
            if "requirements.txt" in plan.others or "pyproject.toml" in plan.others:
                say("Run `make course` (or `pip install -e .`) once, for what the new release needs.")
            if source is None:
                _follow(root)
    return plan.conflicts


def make_plan(root: Path, release: Path) -> Plan:
    """Look at each file of the release and decide what becomes of it. Changes nothing."""
    plan = Plan()
    for path in sorted((release / "chapters").glob("*/*.ipynb")):
        _plan_notebook(plan, root, release, path.relative_to(release))
    # Beside notebooks alone, as after `course start`, there are only the pictures that they show.
    if not (root / "pyproject.toml").exists():
        for path in sorted((release / "images").glob("*.*")):
            relative = path.relative_to(release)
            if path.suffix != ".py" and not _same(path, root / relative):
                plan.others[relative.as_posix()] = path.read_bytes()
    if (root / "pyproject.toml").exists():
        for path in sorted(release.rglob("*")):
            relative = path.relative_to(release)
            if _LEFT_OUT & set(relative.parts) or path.is_symlink() or not path.is_file():
                continue
            if str(relative.as_posix()) in plan.notebooks or _is_chapter(relative):
                continue
            content, mine = path.read_bytes(), root / relative
            if not _same(path, mine):
                plan.others[relative.as_posix()] = content
        # An exercise is found by its file, so that one of an older release would count a second time.
        plan.gone = [
            path.relative_to(root).as_posix()
            for path in sorted((root / "coursekit" / "exercises").rglob("*.py"))
            if (release / "coursekit").is_dir() and not (release / path.relative_to(root)).exists()
        ]
        if plan.gone:
            plan.said.append(f"No longer in the course, and kept in the backup: {', '.join(plan.gone)}.")
        old, new = _version(root), _version(release)
        if plan.others and old != new:
            plan.said.insert(0, f"From release {old} to {new}.")
    return plan


def _plan_notebook(plan: Plan, root: Path, release: Path, relative: Path) -> None:
    name, new = relative.as_posix(), (release / relative).read_bytes()
    mine = root / relative
    if not mine.exists():
        older = sorted((root / "chapters").glob(f"{relative.parts[1][:3]}*/*.ipynb"))
        if not older:
            plan.notebooks[name] = new
            plan.said.append(f"{name}: new")
            return
        # The chapter was renamed: its work moves to the new name, and the old notebook stays where it is.
        mine = older[0]
        plan.said.append(
            f"{name}: takes over what you wrote in {mine.relative_to(root).as_posix()}, which stays"
        )
    if mine.read_bytes() == new:
        return
    theirs = read_raw(release / relative)
    try:
        ours = read_raw(mine)
    except CourseError as error:
        plan.notebooks[name] = new
        plan.conflicts.append(f"{name}: {error} It is replaced; the damaged file is in the backup.")
        return
    if is_untouched(ours):
        plan.notebooks[name] = new
        plan.said.append(f"{name}: replaced (you had not changed it)")
        return
    merged = merge(ours, theirs)
    content = serialized(merged.notebook).encode()
    plan.conflicts += [f"{name}: {sentence}." for sentence in merged.conflicts]
    if json.loads(content) == ours and mine == root / relative:
        return
    plan.notebooks[name] = content
    carried = (
        f"your code of {', '.join(merged.carried)} is carried over"
        if merged.carried
        else "your changes are kept"
    )
    plan.said.append(f"{name}: new text, {carried}")


def _same(path: Path, mine: Path) -> bool:
    return mine.exists() and mine.read_bytes() == path.read_bytes()


def _is_chapter(relative: Path) -> bool:
    return relative.parts[0] == "chapters" and relative.suffix == ".ipynb"


def _version(folder: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(
            tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
        )
    return "unknown"


@contextlib.contextmanager
def _release(root: Path, source: str | None) -> Iterator[Path]:
    """The folder of the newer release."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if source is None and is_installed() and not (root / ".git").exists():
            # `pip install --upgrade` has brought it.
            folder = material()
        elif source is None:
            _fetch(root, folder)
        else:
            given = Path(source)
            if given.is_dir():
                folder = given
            elif given.exists():
                _unpack(given, folder)
            else:
                raise CourseError(
                    f"There is no {source}. Give the folder, .zip or .tar.gz of a newer release."
                )
        for candidate in (folder, *sorted(entry for entry in folder.iterdir() if entry.is_dir())):
            if any((candidate / "chapters").glob("*/*.ipynb")):
                if candidate.resolve() == root.resolve():
                    raise CourseError(f"{source} is the course folder itself. Give a newer release.")
                yield candidate
                return
        raise CourseError(
            f"{source or 'The remote repository'} holds no chapters/, so it is no release of the course."
        )


def _unpack(archive: Path, folder: Path) -> None:
    try:
        if zipfile.is_zipfile(archive):
            # Python's zipfile leaves out what would lead outside of the folder.
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(folder)
        else:
            with tarfile.open(archive) as opened_tar:
                opened_tar.extractall(folder, filter="data")
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise CourseError(f"{archive} cannot be unpacked ({reason}). Download it again.") from None


def _fetch(root: Path, folder: Path) -> None:
    """What the checkout's remote has, without touching the checkout."""
    if not (root / ".git").exists() or shutil.which("git") is None:
        raise CourseError(
            "This copy is no git checkout, so there is nothing to fetch from. Download the newer release and run "
            "`course update PATH` with its folder, .zip or .tar.gz."
        )
    _git(root, "fetch", "--quiet", "origin", "HEAD")
    archive = folder / "release.tar"
    _git(root, "archive", "--format=tar", f"--output={archive}", "FETCH_HEAD")
    _unpack(archive, folder)
    archive.unlink()


def _follow(root: Path) -> None:
    """Let git know which release the files are now, so that it shows the learner's own changes and nothing else.

    Only where nobody committed anything of their own: then the files stay as they are, and the branch moves on.
    """
    with contextlib.suppress(CourseError):
        _git(root, "merge-base", "--is-ancestor", "HEAD", "FETCH_HEAD")
        _git(root, "reset", "--quiet", "--mixed", "FETCH_HEAD")


def _git(root: Path, *arguments: str) -> None:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise CourseError(f"git {arguments[0]} failed: {lines[-1]}")
