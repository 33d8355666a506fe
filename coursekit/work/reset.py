"""Putting an exercise's cell back as it was shipped, and bringing old code back: `course reset`, `course restore`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from coursekit.catalogue import Exercise, get_exercise
from coursekit.errors import CourseError
from coursekit.folders import course_folder
from coursekit.notebooks.learners_code import NotebookCode, parse_cells
from coursekit.notebooks.names import Kind, cell_name, name_of
from coursekit.notebooks.reading import digest_of, joined, read_notebook
from coursekit.notebooks.stubs import stub_cells, stub_source
from coursekit.progress.store import forget
from coursekit.work import backups
from part_utils.files import write_atomically


def reset(exercise: Exercise, notebook: Path | None = None) -> str:
    """Put the exercise's stub back into its notebook, after a backup.

    Args:
        exercise: which one.
        notebook: where; by default its chapter in the course folder around the current one.

    Returns:
        What was done, in a sentence or two.
    """
    path = notebook or _notebook_of(exercise)
    raw = read_raw(path)
    stub = stub_source(exercise)
    code = parse_cells(path, read_notebook(path))
    cells = _cells_of(raw, exercise, code)
    attempts = [cell for cell in cells if digest_of(joined(cell.get("source", ""))) != digest_of(stub)]
    elsewhere = _other_definitions(
        code, exercise, [n for n, cell in enumerate(raw["cells"]) if any(cell is c for c in cells)]
    )
    if cells and not attempts:
        return f"The cell of exercise {exercise.id} is as it was shipped.{elsewhere}"
    root = root_of(path)
    backup = backups.keep(
        root, "reset", [path], exercise.id, [joined(cell.get("source", "")) for cell in attempts]
    )
    put(raw, exercise, attempts, stub)
    write_raw(path, raw)
    forget(exercise.id, path.parent)
    return (
        f"Exercise {exercise.id} in {path} is as it was shipped. If the notebook is open, reload it. "
        f"`course restore {backup.name}` brings your code back.{elsewhere}"
    )


def restore(name: str, start: Path | None = None) -> str:
    """Bring back what a backup holds: an exercise's code, or all files of an update. What is there is kept first."""
    root = course_folder(start) or start or Path.cwd()
    backup = backups.find_backup(root, name)
    paths = [root / path for path in backup.files]
    present = [path for path in paths if path.exists()]
    if backup.exercise and backup.code and present:
        exercise = get_exercise(backup.exercise)
        path = paths[0]
        raw = read_raw(path)
        cells = _cells_of(raw, exercise, parse_cells(path, read_notebook(path)))
        now = [joined(cell.get("source", "")) for cell in cells]
        kept = backups.keep(root, "restore", [path], exercise.id, now[:1])
        put(raw, exercise, cells[:1], backup.code[-1])
        write_raw(path, raw)
        done = f"The code of exercise {exercise.id} is back in {path}."
    else:
        kept = backups.keep(root, "restore", present)
        for path, relative in zip(paths, backup.files, strict=True):
            write_atomically(path, backups.content(root, backup, relative))
        done = f"{len(paths)} files are as they were on {backup.when}."
    return f"{done} What was there before is in the backup {kept.name}. If a notebook is open, reload it."


def describe_backups(start: Path | None = None) -> list[str]:
    """Return a line for each backup, the latest last."""
    root = course_folder(start) or start or Path.cwd()
    known = backups.all_backups(root)
    if not known:
        return [f"There are no backups in {backups.folder_of(root)}."]
    lines = []
    for backup in known:
        what = (
            f"exercise {backup.exercise} in {backup.files[0]}"
            if backup.exercise
            else f"{len(backup.files)} files"
        )
        lines.append(f"{backup.name}  before `course {backup.what}` on {backup.when}: {what}")
    return [*lines, "`course restore NAME` brings one back, `course restore last` the latest."]


def put(raw: dict[str, Any], exercise: Exercise, cells: list[dict[str, Any]], source: str) -> None:
    """Write `source` into an exercise's cells; where it has none, make one in its place."""
    if not cells:
        cells = [stub_cells(exercise)[1]]
        if (raw.get("nbformat_minor") or 0) < 5:
            cells[0].pop("id")
        raw["cells"].insert(_place_for(raw, exercise), cells[0])
    for cell in cells:
        as_lines = isinstance(cell.get("source"), list)
        cell["source"] = source.splitlines(keepends=True) if as_lines else source
        cell.update(cell_type="code", outputs=[], execution_count=None)
        cell.pop("attachments", None)


def root_of(path: Path) -> Path:
    """Return the course folder that a notebook belongs to; its own folder where there is none."""
    return course_folder(path.parent) or path.parent.resolve()


def read_raw(path: Path) -> dict[str, Any]:
    """Return a notebook's JSON as it stands in the file. Raises CourseError where it is not a notebook."""
    read_notebook(path)
    return json.loads(path.read_bytes().decode("utf-8-sig"))


def write_raw(path: Path, raw: dict[str, Any]) -> None:
    """Write a notebook as Jupyter does, in one step."""
    try:
        write_atomically(path, serialized(raw))
    except OSError as error:
        raise CourseError(f"{path} could not be written ({error}) and is as it was.") from None


def serialized(raw: dict[str, Any]) -> str:
    """Return a notebook's text as Jupyter writes it."""
    return json.dumps(raw, indent=1, ensure_ascii=False) + "\n"


def _notebook_of(exercise: Exercise) -> Path:
    root = course_folder()
    slug = exercise.chapter.slug
    path = (root or Path.cwd()) / "chapters" / slug / f"{slug}.ipynb"
    if not path.exists():
        raise CourseError(f"There is no {path}. Give the notebook with --notebook PATH.")
    return path


def _cells_of(raw: dict[str, Any], exercise: Exercise, code: NotebookCode) -> list[dict[str, Any]]:
    """The cells that are the exercise's, copies of it included."""
    named = [cell for cell in raw["cells"] if cell_name(cell) == name_of("exercise", exercise.id)]
    if named:
        return named
    numbers = [s.cell for s in code.statements if exercise.cell_name in s.defines]
    fallback = code.cell_of(exercise)
    chosen = numbers[-1] if numbers else fallback
    return [] if chosen is None else [raw["cells"][chosen]]


def _other_definitions(code: NotebookCode, exercise: Exercise, cells: list[int]) -> str:
    numbers = sorted(
        {s.cell + 1 for s in code.statements if exercise.cell_name in s.defines and s.cell not in cells}
    )
    if not numbers:
        return ""
    return (
        f" `{exercise.cell_name}` is defined in cell {', '.join(map(str, numbers))} of the notebook too, which was "
        "left as it is."
    )


def _place_for(raw: dict[str, Any], exercise: Exercise) -> int:
    names = [cell_name(cell) for cell in raw["cells"]]
    beside: tuple[tuple[Kind, int], ...] = (("check", 0), ("statement", 1), ("hints", 0))
    for kind, offset in beside:
        if (name := name_of(kind, exercise.id)) in names:
            return names.index(name) + offset
    for number, cell in enumerate(raw["cells"]):
        if cell.get("cell_type") == "code" and f'check("{exercise.id}")' in joined(cell.get("source", "")):
            return number
    return len(names)
