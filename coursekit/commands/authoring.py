"""The commands of an author: build, lint and site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from coursekit.catalogue import CHAPTERS, chapter
from coursekit.commands.output import complaints, console, sentences_for_errors

app = typer.Typer(help="Make the notebooks.", no_args_is_help=True)


@app.command("build")
@sentences_for_errors
def build_command(
    chapters: Annotated[
        list[str] | None, typer.Argument(help="Chapters to build, such as 01; all by default.")
    ] = None,
    check_only: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail if a notebook is out of date.")
    ] = False,
    execute: Annotated[
        bool, typer.Option(help="Run the solved notebooks. Without, the outputs of unchanged cells are kept.")
    ] = True,
) -> None:
    """Make the solved and the learner's notebooks from their source."""
    from coursekit.authoring.build import build, out_of_date

    chosen = [chapter(number) for number in chapters] if chapters else list(CHAPTERS)
    if not check_only:
        build(chosen, execute, lambda line: console.print(escape(line), highlight=False))
        return
    problems = out_of_date(chosen)
    for problem in problems:
        complaints.print(escape(problem), style="red", highlight=False, soft_wrap=True)
    if problems:
        complaints.print("Run `course build` and commit what it writes.", highlight=False)
        raise typer.Exit(1)
    console.print(f"{len(chosen)} chapters are up to date.", highlight=False)


@app.command("lint")
@sentences_for_errors
def lint_command(
    chapters: Annotated[
        list[str] | None, typer.Argument(help="Chapters, such as 01; all by default.")
    ] = None,
    run: Annotated[bool, typer.Option(help="Check the untouched and the solved notebooks too.")] = True,
) -> None:
    """Find what learners would stumble over: missing hints and points, dead links, outputs, wrong solutions."""
    from coursekit.authoring.lint import lint
    from coursekit.folders import ROOT

    chosen = [chapter(number) for number in chapters] if chapters else list(CHAPTERS)
    problems = list(lint(ROOT, chosen, run))
    for problem in problems:
        complaints.print(escape(problem), style="red", highlight=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)
    console.print(f"{len(chosen)} chapters: nothing to complain about.", highlight=False)


@app.command("site")
@sentences_for_errors
def site_command(
    output: Annotated[Path, typer.Option(help="The folder; an earlier site there is replaced.")] = Path(
        "site"
    ),
    dashboards: Annotated[
        bool, typer.Option(help="Make the dashboards too, with the bundled model on the bundled text.")
    ] = True,
) -> None:
    """Make the site of the executed notebooks, the manual and the library's docstrings. Nothing is executed."""
    from coursekit.authoring.site import build_site

    remarks = build_site(output, lambda line: console.print(escape(line), highlight=False), dashboards)
    for remark in remarks:
        complaints.print(escape(remark), style="yellow", highlight=False, soft_wrap=True)
    console.print(f"Open {escape(str(output / 'index.html'))}", highlight=False, soft_wrap=True)
