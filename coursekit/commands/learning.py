"""The commands of a learner: start, check, progress, reset, restore, page, slides, update, doctor.

Everything heavy is imported inside the commands, so that each starts fast.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from coursekit.catalogue import chapter, get_exercise
from coursekit.commands.grading import examine_grading
from coursekit.commands.options import LARGEST_SEED
from coursekit.commands.output import complaints, console, sentences_for_errors
from coursekit.errors import CourseError

app = typer.Typer(help="Work through the course.", no_args_is_help=True)


@app.command("start")
@sentences_for_errors
def start_command(
    folder: Annotated[
        Path,
        typer.Argument(help="Where your notebooks are to be; by default a new folder, superposition-course."),
    ] = Path("superposition-course"),
    open_lab: Annotated[bool, typer.Option("--open/--no-open", help="Open JupyterLab in the end.")] = True,
) -> None:
    """Put the notebooks into a folder (never over what is there), look at the machine, and open JupyterLab."""
    from coursekit.work.start import fill, open_jupyterlab

    first = fill(folder, lambda line: console.print(escape(line), highlight=False, soft_wrap=True))
    doctor_command()
    if open_lab:
        open_jupyterlab(folder, first)
    else:
        console.print(f"Open {escape(str(first))} in JupyterLab or VS Code.", highlight=False, soft_wrap=True)


@app.command("check")
@sentences_for_errors
def check_command(
    notebook: Annotated[Path, typer.Argument(help="The notebook to check, solved or not.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the inputs that the checks draw.")
    ] = 0,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and check again on each save. Takes a folder as well.")
    ] = False,
) -> None:
    """Check every exercise of a notebook. The exit code is 0 only if all of them pass."""
    from coursekit.progress.table import record_check
    from coursekit.work.check import check_notebook, print_results

    def once(path: Path) -> bool:
        results = check_notebook(path, seed)
        record_check(path, results)
        print_results(path, results, as_json, console)
        return all(result.passed for result in results)

    if not watch:
        raise typer.Exit(0 if once(notebook) else 1)
    _watch(notebook, once)


def _watch(path: Path, once: Callable[[Path], bool]) -> None:
    from coursekit.work.watch import saves

    if not path.exists():
        raise CourseError(f"There is no {path}. Give a notebook or a folder with notebooks.")
    hint = "[dim]Save the notebook to check again; Ctrl-C ends.[/]"
    console.print(f"Watching {escape(str(path))}. {hint}", highlight=False, soft_wrap=True)
    try:
        for saved in saves(path):
            if console.is_terminal:
                console.clear()
            try:
                once(saved)
            except CourseError as error:
                console.print(escape(str(error)), style="red", highlight=False, soft_wrap=True)
            console.print(hint, highlight=False)
    except KeyboardInterrupt:
        if console.is_terminal:
            # A second Ctrl-C while Python shuts down would end in a traceback.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        console.print("Stopped watching.")


@app.command("doctor")
@sentences_for_errors
def doctor_command(
    grading: Annotated[bool, typer.Option("--grading", help="Look at what grading a class needs.")] = False,
) -> None:
    """Look whether this machine can run the course, and say what to do where it cannot."""
    from coursekit.work.doctor import examine

    ill = 0
    for finding in examine_grading() if grading else examine():
        sign = "[green]✓[/]" if finding.well else "[red]✗[/]"
        console.print(f"{sign} {finding.what}: {escape(finding.detail)}", highlight=False, soft_wrap=True)
        if not finding.well:
            ill += 1
            console.print(f"  {escape(finding.advice)}", highlight=False, soft_wrap=True)
    if ill:
        raise typer.Exit(1)
    console.print("Everything is ready.", highlight=False)


@app.command("progress")
@sentences_for_errors
def progress_command(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.")
    ] = False,
) -> None:
    """Show what is solved, the points and what comes next."""
    from coursekit.progress.table import print_progress

    print_progress(as_json, console)


@app.command("reset")
@sentences_for_errors
def reset_command(
    exercise: Annotated[str, typer.Argument(help="The exercise, such as 2.3.")],
    notebook: Annotated[
        Path | None, typer.Option(help="The notebook; by default the exercise's chapter in chapters/.")
    ] = None,
) -> None:
    """Put an exercise's cell back as it was shipped. Your code is kept in a dated backup."""
    from coursekit.work.reset import reset

    console.print(escape(reset(get_exercise(exercise), notebook)), highlight=False, soft_wrap=True)


@app.command("restore")
@sentences_for_errors
def restore_command(
    name: Annotated[
        str | None,
        typer.Argument(help='A backup, by the beginning of its name, or "last". Without: list them.'),
    ] = None,
) -> None:
    """List the backups, or bring one back. What is there now is kept in another backup."""
    from coursekit.work.reset import describe_backups, restore

    if name is not None:
        console.print(escape(restore(name)), highlight=False, soft_wrap=True)
        return
    for line in describe_backups():
        console.print(escape(line), highlight=False, soft_wrap=True)


@app.command("page")
@sentences_for_errors
def page_command(
    notebook: Annotated[Path, typer.Argument(help="The notebook, with the outputs that are saved in it.")],
    output: Annotated[
        Path | None, typer.Option(help="The page; by default the notebook's name with .html, here.")
    ] = None,
) -> None:
    """Write a notebook as one HTML page that needs no network: to keep, to send, to publish."""
    from coursekit.work.page import write_page

    page = write_page(notebook, output)
    size = page.stat().st_size / 1e6
    console.print(f"{escape(str(page))}: {size:.1f} MB", highlight=False, soft_wrap=True)


@app.command("slides")
@sentences_for_errors
def slides_command(
    number: Annotated[str, typer.Argument(help="The chapter's number, such as 02.")],
    output: Annotated[
        Path | None, typer.Option(help="The file; by default NN_name_slides.html, here.")
    ] = None,
) -> None:
    """Make slides of a chapter: one HTML file with its figures and speaker's notes, which needs no network."""
    from coursekit.work.slides import write_slides

    target, count = write_slides(chapter(number), output)
    size = target.stat().st_size / 1e6
    console.print(
        f"{escape(str(target))}: {count} slides, {size:.1f} MB. Arrow keys move, N shows notes, F fills the screen.",
        highlight=False,
        soft_wrap=True,
    )


@app.command("demo")
@sentences_for_errors
def demo_command(
    number: Annotated[
        str | None, typer.Argument(help="The chapter's number, such as 05. Without: a list of all.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to serve; any free port if 0.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser.")] = True,
) -> None:
    """Show a chapter's interactive pieces in front of a room: large, without code, with a kernel, without a network."""
    import contextlib
    import webbrowser

    from coursekit.work.demo import served

    with served(chapter(number) if number is not None else None, port) as (address, process):
        console.print(f"{address}\nCtrl-C ends.", highlight=False, soft_wrap=True, markup=False)
        if open_browser:
            webbrowser.open(address)
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()


@app.command("update")
@sentences_for_errors
def update_command(
    release: Annotated[
        str | None,
        typer.Argument(help="A newer release: folder, .zip or .tar.gz. By default what the git remote has."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing; say what would happen.")
    ] = False,
) -> None:
    """Bring a newer release into this copy. What you wrote is carried over. Exit code 1 if there were conflicts."""
    from coursekit.folders import course_folder
    from coursekit.work.update import update

    root = course_folder()
    if root is None:
        raise CourseError("There is no course here. Run this in the folder that holds chapters/.")
    conflicts = update(
        root, release, dry_run, lambda line: console.print(escape(line), highlight=False, soft_wrap=True)
    )
    for conflict in conflicts:
        complaints.print(escape(conflict), style="yellow", highlight=False, soft_wrap=True)
    if conflicts:
        raise typer.Exit(1)
