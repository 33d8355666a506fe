"""The command line of the course, put together from the groups of commands beside this file."""

from __future__ import annotations

import typer

from coursekit.commands import authoring, autoencoders, dashboard, downloads, grading, learning, pretraining
from coursekit.commands.output import show_everywhere

app = typer.Typer(
    help="Work through the course, check exercises, build notebooks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _group in (learning, grading, authoring, pretraining, dashboard, autoencoders, downloads):
    app.add_typer(_group.app)


def main() -> None:
    """Run `course`."""
    show_everywhere()
    app()


if __name__ == "__main__":
    main()
