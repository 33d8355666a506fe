"""An editor's view of the course: `course lint` finds what a learner would stumble over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from coursekit.catalogue import CHAPTERS, Chapter, Exercise
from coursekit.errors import CourseError
from coursekit.folders import learner_path, solved_path, source_path
from coursekit.notebooks.names import cell_name, exercise_of, exercises_with
from coursekit.notebooks.reading import joined, read_notebook
from coursekit.prose import Prose, parse
from coursekit.work.check import check_notebook

LEAST_HINTS = 2

_DIRECTIVE = re.compile(r"^(?:`{3,}|:{3,})\{exercise\}[ \t]*(\S+)", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_CALL = re.compile(r"^\s*check\(\s*[\"'](\d+\.\d+)[\"']\s*[,)]", re.MULTILINE)
_CODE = re.compile(r"^(```|~~~).*?^\1[ \t]*$|`[^`\n]+`|\$\$.*?\$\$|\$[^$\n]+\$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(
    r"\]\(\s*<?([^)>\s]+)|\b(?:href|src)\s*=\s*[\"']([^\"']+)[\"']|^\s*\[[^\]]+\]:\s+(\S+)", re.MULTILINE
)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$|\b(?:id|name)\s*=\s*[\"']([^\"']+)[\"']", re.MULTILINE)


def lint(root: Path, chapters: Sequence[Chapter] = CHAPTERS, run: bool = True) -> Iterator[str]:
    """Yield every problem, a sentence each.

    Args:
        root: the checkout.
        chapters: which ones to look at.
        run: check the untouched and the solved notebooks, which takes a while.
    """
    yield from catalogue_problems(chapters)
    for chapter in chapters:
        yield from text_problems(root, chapter)
        yield from chapter_problems(root, chapter)
        if run:
            yield from result_problems(root, chapter)
    for folder in ("chapters", "solutions"):
        for path in sorted((root / folder).glob("*/*.ipynb")):
            if path.parent.name not in {chapter.slug for chapter in CHAPTERS}:
                yield f"{_short(path, root)}: the catalogue has no such chapter"
            else:
                yield from link_problems(path, root)
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/**/*.md", "part_utils/**/*.md", "coursekit/**/*.md"):
        for path in sorted(root.glob(pattern)):
            yield from link_problems(path, root)


def catalogue_problems(chapters: Iterable[Chapter]) -> Iterator[str]:
    """Yield what exercises lack."""
    seen: set[str] = set()
    for chapter in chapters:
        if not chapter.exercises:
            yield f"chapter {chapter.number}: it has no exercises"
        for exercise in chapter.exercises:
            for problem in exercise_problems(exercise):
                yield f"exercise {exercise.id}: {problem}"
            if exercise.id in seen:
                yield f"exercise {exercise.id}: there are two of this id"
            if exercise.id.partition(".")[0].zfill(2) != chapter.number:
                yield f"exercise {exercise.id}: it stands in chapter {chapter.number}"
            seen.add(exercise.id)


def text_problems(root: Path, chapter: Chapter) -> Iterator[str]:
    """Yield what the words of a chapter's exercises lack, as its text stands now."""
    path = source_path(chapter, root)
    try:
        words = parse(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        yield f"{_short(path, root)}: {error}"
        return
    yield from prose_problems(chapter, words)


def prose_problems(chapter: Chapter, words: Mapping[str, Prose]) -> Iterator[str]:
    """Yield what the words of a chapter's exercises lack, and which of them belong to no exercise."""
    ids = [exercise.id for exercise in chapter.exercises]
    for exercise_id in ids:
        if exercise_id not in words:
            yield f"exercise {exercise_id}: its words are missing; write {{exercise}} {exercise_id} in the text"
    for exercise_id, prose in words.items():
        hints = [hint for hint in prose.hints if hint]
        if exercise_id not in ids:
            yield f"exercise {exercise_id}: it has words in the chapter's text, but no check in the catalogue"
        for part in ("title", "statement"):
            if not getattr(prose, part):
                yield f"exercise {exercise_id}: it has no {part}"
        if len(hints) < LEAST_HINTS:
            yield f"exercise {exercise_id}: it has {len(hints)} hints; at least {LEAST_HINTS} are needed"
        if len(set(hints)) < len(hints):
            yield f"exercise {exercise_id}: a hint stands twice"
        if any(len(_FENCE.findall(part)) % 2 for part in (prose.statement, *hints)):
            yield (
                f"exercise {exercise_id}: a fence is open at the end of its statement or of a hint; write "
                ":::{exercise} if a block of code stands in it"
            )


def exercise_problems(exercise: Exercise) -> Iterator[str]:
    """Yield what one exercise lacks."""
    if not callable(exercise.check):
        yield "it has no check"
    for fact in ("points", "minutes"):
        if not getattr(exercise, fact) > 0:
            yield f"it has no {fact}"
    for fact in ("difficulty", "importance"):
        if getattr(exercise, fact) not in range(1, 6):
            yield f"its {fact} is {getattr(exercise, fact)}; expected 1 to 5"
    try:
        reference = exercise.load_reference()
        if exercise.class_name:
            getattr(reference, exercise.name.partition(".")[2])
        for name in exercise.also:
            exercise.load_reference(name)
    except (AttributeError, ImportError) as error:
        yield f"it has no reference: {error}"


def chapter_problems(root: Path, chapter: Chapter) -> Iterator[str]:
    """Yield where text or notebooks lack an exercise, the solved one full marks, or the other one has an output."""
    wanted = [exercise.id for exercise in chapter.exercises]
    source = source_path(chapter, root)
    if not source.exists():
        yield f"{_short(source, root)} does not exist"
    else:
        yield from _compared(
            _short(source, root), _DIRECTIVE.findall(source.read_text(encoding="utf-8")), wanted
        )
    for path in (learner_path(chapter, root), solved_path(chapter, root)):
        try:
            notebook = read_notebook(path)
        except CourseError as error:
            yield str(error)
            continue
        place = _short(path, root)
        yield from _compared(place, exercises_with(notebook.cells, "exercise"), wanted)
        yield from _compared(f"{place}, check cells", exercises_with(notebook.cells, "check"), wanted)
        known = {exercise.id: exercise for exercise in chapter.exercises}
        for number, cell in enumerate(notebook.cells, 1):
            facts = cell.metadata.get("nbgrader", {})
            exercise = known.get(exercise_of(cell_name(cell), "check"))
            if exercise and facts.get("grade") and facts.get("points") != exercise.points:
                yield f"{place}: cell {number} gives {facts.get('points')} points; the catalogue {exercise.points}"
            if cell.cell_type != "code":
                continue
            for called in _CALL.findall(cell.source):
                if called not in known:
                    yield f"{place}: cell {number} checks {called}, which is no exercise of this chapter"
            if path == solved_path(chapter, root) and exercise and facts.get("grade"):
                shown = [joined(output.get("data", {}).get("text/plain", "")) for output in cell.outputs]
                if repr(float(exercise.points)) not in shown:
                    yield f"{place}: the saved output of check {exercise.id} is not full marks; build it again"
            if path == learner_path(chapter, root) and (cell.outputs or cell.execution_count is not None):
                yield f"{place}: cell {number} has an output"


def result_problems(root: Path, chapter: Chapter) -> Iterator[str]:
    """Yield what the untouched notebook passes, and what the solved one does not."""
    for path, wanted in (
        (learner_path(chapter, root), "not_attempted"),
        (solved_path(chapter, root), "passed"),
    ):
        if not path.exists():
            continue
        try:
            results = check_notebook(path)
        except CourseError as error:
            yield str(error)
            continue
        for result in results:
            if result.status != wanted:
                state = "untouched" if wanted == "not_attempted" else "solved"
                message = f" ({result.message.splitlines()[0]})" if result.message else ""
                yield f"{_short(path, root)}: the {state} exercise {result.id} is {result.status}{message}"


def link_problems(path: Path, root: Path) -> Iterator[str]:
    """Yield links and images of a notebook's text or of a Markdown file that lead nowhere. Nothing is fetched."""
    place = _short(path, root)
    attachments: set[str] = set()
    if path.suffix == ".ipynb":
        try:
            for cell in read_notebook(path).cells:
                attachments |= set(cell.get("attachments") or {})
        except CourseError:
            return
    for text in _texts(path):
        for groups in _LINK.findall(_CODE.sub(" ", text)):
            target = next(filter(None, groups))
            problem = _dead(target, path, attachments)
            if problem:
                yield f"{place}: the link {target} {problem}"


def _dead(target: str, path: Path, attachments: set[str]) -> str:
    """Why a link leads nowhere, "" if it does not."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "is no address"
    if parts.scheme in ("http", "https"):
        return "" if re.fullmatch(r"[\w.-]+\.\w{2,}(:\d+)?", parts.netloc) else "has no host"
    if parts.scheme == "attachment":
        return "" if unquote(parts.path) in attachments else "is no attachment of the notebook"
    if parts.scheme in ("mailto", "data"):
        return ""
    if parts.scheme:
        return f"begins with {parts.scheme}:, which no browser follows"
    if parts.path.startswith("/"):
        return "is an absolute path"
    file = path.parent / unquote(parts.path) if parts.path else path
    if not file.exists():
        return "leads to a file that does not exist"
    if (
        parts.fragment
        and file.suffix in (".md", ".ipynb")
        and _plain(unquote(parts.fragment)) not in _anchors(file)
    ):
        return "leads to a heading that does not exist"
    return ""


@cache
def _anchors(path: Path) -> set[str]:
    headings = (heading or anchor for text in _texts(path) for heading, anchor in _HEADING.findall(text))
    return {_plain(re.sub(r"\[([^\]]*)\]\([^)]*\)|<[^>]+>", r"\1", heading)) for heading in headings}


def _plain(heading: str) -> str:
    """A heading as an anchor: GitHub and Jupyter differ in case and punctuation, which do not count here."""
    return re.sub(r"[^\w-]", "", heading.strip().lower().replace(" ", "-"))


def _texts(path: Path) -> list[str]:
    if path.suffix == ".ipynb":
        return [cell.source for cell in read_notebook(path).cells if cell.cell_type == "markdown"]
    return [path.read_text(encoding="utf-8")]


def _compared(place: str, standing: Sequence[str], wanted: Sequence[str]) -> Iterator[str]:
    for number in wanted:
        if number not in standing:
            yield f"{place}: exercise {number} is missing"
    for number in dict.fromkeys(standing):
        if number not in wanted:
            yield f"{place}: exercise {number} is not in the catalogue of this chapter"
        elif standing.count(number) > 1:
            yield f"{place}: exercise {number} stands there {standing.count(number)} times"
    if sorted(standing) == sorted(wanted) and list(standing) != list(wanted):
        yield f"{place}: the exercises stand in another order than in the catalogue"


def _short(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
