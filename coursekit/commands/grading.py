"""`course grade`, `release`, `collect`, `export`, and what `course doctor --grading` says.

Everything heavy is imported inside the commands, so that the other commands stay fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from coursekit.catalogue import chapter
from coursekit.commands.options import file_to_write
from coursekit.commands.output import console, sentences_for_errors

if TYPE_CHECKING:
    from coursekit.work.doctor import Finding

app = typer.Typer(help="Grade a class.", no_args_is_help=True)

ChapterOption = Annotated[str, typer.Option("--chapter", help="The chapter's number, such as 02.")]
CourseOption = Annotated[Path, typer.Option("--course", help="The course's folder, where gradebook.db is.")]


@app.command("grade")
@sentences_for_errors
def grade_command(
    submissions: Annotated[Path, typer.Argument(help="nbgrader's submitted/, a flat folder, or a zip.")],
    number: ChapterOption,
    course: CourseOption = Path("."),
    workers: Annotated[int, typer.Option(help="How many processes on this machine.", min=1)] = 1,
    scheduler: Annotated[
        str, typer.Option(help="Address of a Dask scheduler, such as tcp://host:8786.")
    ] = "",
    require: Annotated[
        str, typer.Option(help="How well learners' code must be jailed: full, reduced or none.")
    ] = "full",
    seed: Annotated[
        int | None, typer.Option(help="Seed of all inputs; otherwise the course's own, drawn once and kept.")
    ] = None,
    time_factor: Annotated[
        float, typer.Option(help="Multiplies all time limits, for a slow machine.", min=0.01)
    ] = 1.0,
    again: Annotated[bool, typer.Option("--again", help="Grade what has not changed, too.")] = False,
) -> None:
    """Grade a chapter's submissions: scores to gradebook.db, a feedback page for each learner, grades.csv."""
    from coursekit.grading.classroom import grade_class
    from coursekit.grading.job import Limits
    from part_utils.progress_bar import progress_bar

    with progress_bar(unit=" submissions", desc="grading") as bar:
        report = grade_class(
            submissions,
            chapter(number),
            course,
            tier=require,
            workers=workers,
            scheduler=scheduler,
            course_seed=seed,
            limits=Limits(time_factor=time_factor),
            again=again,
            heard=lambda graded: bar.update(),
        )
    table = Table(title=f"Chapter {chapter(number).number}", title_justify="left")
    for column in ("Exercise", "Solved", "Attempted", "Most frequent mistake"):
        table.add_column(column, overflow="fold")
    for row in report.statistics:
        share = f"{row.solved} of {row.learners} ({row.solved / max(row.learners, 1):.0%})"
        mistake = f"{row.mistake} ({row.mistake_count}×)" if row.mistake else ""
        table.add_row(f"{row.exercise_id} {escape(row.title)}", share, str(row.attempted), escape(mistake))
    console.print(table)
    for student, remark in (*report.problems.items(), *report.notes.items()):
        console.print(f"{escape(student)}: {escape(remark)}", highlight=False, soft_wrap=True)
    if report.missing:
        names = escape(", ".join(report.missing))
        console.print(f"In the class list, and nothing handed in: {names}", highlight=False, soft_wrap=True)
    console.print(
        f"{report.graded_now} graded, {report.kept} unchanged since. Scores: {escape(str(report.grades))}",
        highlight=False,
        soft_wrap=True,
    )


@app.command("release")
@sentences_for_errors
def release_command(
    number: Annotated[str, typer.Argument(help="The chapter's number, such as 02.")],
    course: CourseOption = Path("."),
) -> None:
    """Put a chapter's notebook into release/ for the class, and the assignment into gradebook.db."""
    from coursekit.grading.classroom import release

    console.print(
        f"Give your class {escape(str(release(chapter(number), course)))}", highlight=False, soft_wrap=True
    )


@app.command("collect")
@sentences_for_errors
def collect_command(
    download: Annotated[
        Path, typer.Argument(help="A folder of notebooks, or a zip from a learning platform.")
    ],
    number: ChapterOption,
    course: CourseOption = Path("."),
) -> None:
    """Sort what learners handed in into nbgrader's submitted/STUDENT/CHAPTER/."""
    from coursekit.grading.classroom import collect

    copied, problems = collect(download, chapter(number), course)
    for student, problem in problems.items():
        console.print(f"{escape(student)}: {escape(problem)}", highlight=False, soft_wrap=True)
    folder = escape(str(course / "submitted"))
    console.print(
        f"{copied} submissions are in {folder}, {len(problems)} could not be read.", highlight=False
    )


@app.command("export")
@sentences_for_errors
def export_command(
    number: ChapterOption,
    form: Annotated[str, typer.Option("--format", help="canvas, moodle or csv.")] = "csv",
    course: CourseOption = Path("."),
    to: Annotated[
        Path | None,
        typer.Option(callback=file_to_write, help="The file to write; otherwise CHAPTER-FORMAT.csv."),
    ] = None,
    column: Annotated[
        str,
        typer.Option(
            help="canvas: the assignment's column in Canvas' own export, such as 'Homework 2 (4711)'."
        ),
    ] = "",
) -> None:
    """Write a chapter's scores, manual ones included, as a table for a learning platform."""
    from coursekit.grading.classroom import export

    this = chapter(number)
    target = to or course / "graded" / this.slug / f"{this.slug}-{form}.csv"
    exported = export(this, course, form, target, column)
    console.print(
        f"Wrote {escape(str(target))}: {exported.learners} learners.", highlight=False, soft_wrap=True
    )
    if exported.without_id:
        looked_up = {
            "canvas": "Canvas looks for a login, and then for a full name, that is the same",
            "moodle": "Moodle passes over them",
        }[form]
        console.print(
            f"Without an id: {escape(', '.join(exported.without_id))}. {looked_up}. "
            "A class list gives them one: see docs/instructors.md.",
            highlight=False,
            soft_wrap=True,
        )


def examine_grading() -> Iterator[Finding]:
    """Yield what this machine has to jail learners' code with: the findings of `course doctor --grading`."""
    from coursekit.errors import CourseError
    from coursekit.grading.jail import Jail
    from coursekit.grading.machine import ADVICE, LAYERS, available_layers, tier_of
    from coursekit.work.doctor import Finding

    found = available_layers()
    for layer in LAYERS:
        yield Finding(layer, layer in found, "works" if layer in found else "missing", ADVICE[layer])
    tier = tier_of(found)
    advice = (
        "Install what is missing, or grade with `--require` and the tier above, if you trust your learners."
    )
    yield Finding("Tier of the jail", tier == "full", tier, advice)
    try:
        with Jail("none") as jail:
            answer = jail.try_out()
        yield Finding("A job", True, answer)
    except CourseError as error:
        yield Finding("A job", False, str(error), "Report this with the output of `course doctor --grading`.")
