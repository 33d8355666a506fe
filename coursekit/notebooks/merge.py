"""Brings a learner's work into the newer text of a chapter, cell by cell.

The newer notebook is the frame. Each cell that the course shipped carries its name and a digest of its text, so
that one sees without the older release whether the learner has changed it. Nothing that a learner wrote is ever
left out; where both sides changed a cell, both stand in the result.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coursekit.notebooks.names import cell_name, described, exercise_of
from coursekit.notebooks.reading import digest_of, joined
from coursekit.notebooks.statements import as_python, is_stub, parameters

RawCell = dict[str, Any]


@dataclass
class Merged:
    """The result: the notebook's JSON, what was carried over, and a sentence for each conflict."""

    notebook: dict[str, Any]
    carried: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


def merge(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Merged:
    """Put what the learner wrote in `mine` into the release's notebook `theirs`. Neither is changed."""
    frame: dict[str, list[RawCell]] = {"": []}
    shipped: dict[str, RawCell] = {}
    for number, cell in enumerate(theirs["cells"]):
        name = cell_name(cell) or f"unnamed {number}"
        shipped[name] = cell
        frame[name] = [copy.deepcopy(cell)]
    by_text, by_function = {}, {}
    if not any(cell_name(cell) for cell in mine["cells"]):
        # An editor has dropped everything but the text, which is then all that there is to go by.
        by_text = {digest_of(source_of(cell)): name for name, cell in shipped.items()}
        exercises = {name: cell for name, cell in shipped.items() if exercise_of(name, "exercise")}
        by_function = {f: name for name, cell in exercises.items() for f in _functions(cell)}
    cells_of_mine = [copy.deepcopy(cell) for cell in mine["cells"]]
    names = [_identified(cell, by_text, by_function) for cell in cells_of_mine]
    above: dict[str, list[RawCell]] = {name: [] for name in frame}
    placed: set[str] = set()
    merged = Merged({})
    notes: list[tuple[str, RawCell]] = []
    anchor = ""
    for cell, name in zip(cells_of_mine, names, strict=True):
        if not name:
            frame[anchor].append(_own(cell))
        elif name not in shipped:
            # The release has left this cell out, or has another text for it under another name.
            if is_changed(cell):
                kept = _own(cell)
                frame[anchor].append(kept)
                notes.append(
                    (
                        f"{described(name)}: you changed it, and the new release has changed or removed it",
                        kept,
                    )
                )
        else:
            copies = [c for c, other in zip(cells_of_mine, names, strict=True) if other == name]
            chosen = _chosen(copies, shipped[name])
            if cell is chosen:
                anchor = name
                placed.add(name)
                _place(name, cell, shipped[name], frame[name], merged.carried, notes)
            elif is_changed(cell) and source_of(cell) != source_of(chosen):
                (frame[name] if name in placed else above[name]).append(_own(cell))
    cells = [cell for name, group in frame.items() for cell in (*above[name], *group)]
    _repair_ids(cells)
    notebook = {
        **theirs,
        "cells": cells,
        "metadata": {**theirs.get("metadata", {}), **(mine.get("metadata") or {})},
    }
    merged.notebook = notebook
    for sentence, kept in notes:
        number = next(n for n, cell in enumerate(cells, 1) if cell is kept)
        merged.conflicts.append(f"{sentence}; yours is cell {number}")
    return merged


def is_changed(cell: RawCell) -> bool:
    """Tell whether the learner has changed this cell that the course shipped. In doubt, yes."""
    source, facts = source_of(cell), (cell.get("metadata") or {}).get("course")
    digest = facts.get("digest") if isinstance(facts, dict) else None
    if isinstance(digest, str):
        return digest_of(source) != digest
    name = cell_name(cell)
    if exercise_of(name, "exercise"):
        return not _is_pure_stub(source)
    if checked := exercise_of(name, "check"):
        return source.strip() != f'check("{checked}")'
    return True


def is_untouched(notebook: Mapping[str, Any]) -> bool:
    """Tell whether the learner has neither changed nor added nor run anything."""
    return all(
        cell_name(cell)
        and not is_changed(cell)
        and not cell.get("outputs")
        and cell.get("execution_count") is None
        for cell in notebook["cells"]
    )


def source_of(cell: Mapping[str, Any]) -> str:
    """Return a cell's text."""
    return joined(cell.get("source", ""))


def _chosen(copies: list[RawCell], new: RawCell) -> RawCell:
    """Of several copies of a cell the one that counts: the last that defines what it should, or that was changed."""
    changed = [cell for cell in copies if is_changed(cell)]
    wanted = set(_functions(new))
    defining = [cell for cell in changed if wanted & set(_functions(cell))]
    return (defining or changed or copies)[-1]


def _place(
    name: str,
    cell: RawCell,
    new: RawCell,
    group: list[RawCell],
    carried: list[str],
    notes: list[tuple[str, RawCell]],
) -> None:
    """Put the learner's version of a shipped cell where the new one stands, or beside it."""
    if digest_of(source_of(cell)) == digest_of(source_of(new)):
        group[0] = _in_frame(cell, new)
        return
    if not is_changed(cell):
        return
    exercise_id = exercise_of(name, "exercise")
    if exercise_id:
        carried.append(exercise_id)
    base = ((cell.get("metadata") or {}).get("course") or {}).get("digest")
    unchanged_by_release = base is not None and base == digest_of(source_of(new))
    mine = _in_frame(cell, new)
    if unchanged_by_release or (exercise_id and _same_signature(cell, new)):
        group[0] = mine
        return
    if exercise_id:
        # The learner's cell keeps the name, by which it is graded; the new stub above it is there to be read.
        sentence = (
            f"**After an update:** the cell of exercise {exercise_id} is different in the new release. The new one "
            "comes first, and yours below it. Move your code, then delete the cell that is left over."
        )
        note = {"cell_type": "markdown", "metadata": {}, "source": sentence}
        group[:1] = [note, _own(copy.deepcopy(new)), mine]
        notes.append((f"exercise {exercise_id}: its cell is different in the new release", mine))
    else:
        kept = _own(cell)
        group.insert(1, kept)
        notes.append((f"{described(name)}: you changed it, and so did the new release", kept))


def _in_frame(cell: RawCell, new: RawCell) -> RawCell:
    """The learner's text and outputs in the new cell: its type, its name and its place in grading."""
    metadata = {**(cell.get("metadata") or {}), **new.get("metadata", {})}
    result = {**copy.deepcopy(new), "metadata": metadata, "source": cell.get("source", "")}
    if new.get("cell_type") == "code" and cell.get("cell_type") == "code":
        result["outputs"] = cell.get("outputs") or []
        result["execution_count"] = cell.get("execution_count")
    if "attachments" in cell:
        result["attachments"] = cell["attachments"]
    return result


def _own(cell: RawCell) -> RawCell:
    """A cell of the learner's: without a name, so that nothing takes it for one that the course shipped."""
    metadata = {
        key: value
        for key, value in (cell.get("metadata") or {}).items()
        if key not in ("nbgrader", "course", "deletable", "editable")
    }
    cell = {**cell, "metadata": metadata}
    if cell_name(cell):
        cell.pop("id")
    return cell


def _identified(cell: RawCell, by_text: Mapping[str, str], by_function: Mapping[str, str]) -> str:
    """A shipped cell's name, "" for one of the learner's own."""
    if name := cell_name(cell):
        return name
    digest = digest_of(source_of(cell))
    if name := by_text.get(digest, ""):
        cell["metadata"] = {**(cell.get("metadata") or {}), "course": {"cell": name, "digest": digest}}
        return name
    if cell.get("cell_type") == "code":
        name = next((by_function[f] for f in _functions(cell) if f in by_function), "")
        if name:
            cell["metadata"] = {**(cell.get("metadata") or {}), "course": {"cell": name}}
        return name
    return ""


def _functions(cell: RawCell) -> list[str]:
    return re.findall(r"^(?:def|class)\s+(\w+)", source_of(cell), re.MULTILINE)


def _same_signature(cell: RawCell, new: RawCell) -> bool:
    """Code written for the one cell fits the other: the same names and parameters, whatever the docstrings say."""
    mine, theirs = _top_level(source_of(cell)), _top_level(source_of(new))
    if mine is None or theirs is None:
        return False
    return all(name in mine and mine[name] == signature for name, signature in theirs.items())


def _top_level(source: str) -> dict[str, tuple] | None:
    try:
        body = ast.parse(as_python(source)).body
    except (SyntaxError, ValueError):
        return None
    return {
        node.name: (
            type(node).__name__,
            parameters(node),
            [ast.unparse(b) for b in getattr(node, "bases", [])],
        )
        for node in body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def _is_pure_stub(source: str) -> bool:
    try:
        body = ast.parse(as_python(source)).body
    except (SyntaxError, ValueError):
        return False
    return len(body) == 1 and is_stub(body[0])


def _repair_ids(cells: list[RawCell]) -> None:
    """Each cell has an id, and no two the same."""
    named = {cell.get("id") for cell in cells if cell_name(cell)}
    used: set[str] = set()
    for number, cell in enumerate(cells):
        identity = cell.get("id")
        if cell_name(cell) and identity not in used:
            used.add(str(identity))
            continue
        if not isinstance(identity, str) or identity in used or identity in named:
            digest = digest_of(source_of(cell))
            identity = next(
                i for i in (f"own-{digest}-{k}" for k in range(number, 10**6)) if i not in used | named
            )
            cell["id"] = identity
        used.add(identity)
