"""The command that fetches what is too large for the box."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from coursekit.commands.output import sentences_for

app = typer.Typer(help="Fetch what is too large for the box.", no_args_is_help=True)


class Model(StrEnum):
    """The models that can be fetched."""

    smollm2 = "smollm2"


@app.command("download")
@sentences_for(ValueError, ConnectionError)
def download_command(
    model: Annotated[Model, typer.Argument(help="What to fetch.")],
    progress: Annotated[bool, typer.Option(help="Show progress bars.")] = True,
) -> None:
    """Fetch a language model once, for load_language_model("smollm2"). Run it again if it was interrupted."""
    from part_utils.smollm2 import download_smollm2

    folder = download_smollm2(progress)
    size = sum(path.stat().st_size for path in folder.iterdir())
    typer.echo(f'{folder}: load_language_model("{model.value}") finds it there ({size / 1e6:.0f} MB).')
