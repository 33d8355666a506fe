"""The command `course dashboard`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from coursekit.commands.options import file_to_write
from coursekit.commands.output import sentences_for

app = typer.Typer(help="Look at the latents of an autoencoder.", no_args_is_help=True)


def parse_latents(text: str) -> Iterator[int]:
    """Yield the latents that a text such as `0:64` or `3,17,40:44` names, one after the other.

    Raises:
        ValueError: the text cannot be read.
    """
    for part in text.split(","):
        try:
            numbers = [int(number) for number in part.split(":")]
            named = range(*numbers) if len(numbers) in (2, 3) else range(int(part), int(part) + 1)
        except ValueError:
            raise ValueError(
                f"{part.strip()!r} names no latents: write numbers and ranges, such as 0:64 or 3,17,40:44."
            ) from None
        if not named:
            raise ValueError(
                f"{part.strip()!r} names no latents: a range begins with the first and ends before the last, such as "
                "40:44."
            )
        yield from named


@app.command("dashboard")
@sentences_for(ValueError, ConnectionError, FileNotFoundError)
def dashboard_command(
    latents: Annotated[
        str, typer.Option(help="Which latents: a range, or a list, such as 3,17,40:44.")
    ] = "0:64",
    instance: Annotated[int, typer.Option(help="Of which instance: 0 is encoder-A, 1 is encoder-B.")] = 0,
    split: Annotated[
        str, typer.Option(help="Which text: train, validation or held_out; or written, by SmolLM2.")
    ] = "held_out",
    max_rows: Annotated[
        int | None, typer.Option(help="Use only so many rows of the text, evenly spaced.")
    ] = None,
    output: Annotated[Path, typer.Option(callback=file_to_write, help="The page.")] = Path("dashboard.html"),
    model: Annotated[str, typer.Option(help="bundled, gelu-1l or smollm2.")] = "bundled",
    autoencoder: Annotated[
        str | None,
        typer.Option(
            help="Another one of the model, such as smollm2-residual; the one on its MLP, if left out."
        ),
    ] = None,
) -> None:
    """Write one HTML page that shows what latents respond to and do."""
    from part_utils.dashboard import make_dashboard

    dashboard = make_dashboard(
        parse_latents(latents),
        model=model,
        autoencoder=autoencoder,
        instance=instance,
        split=split,
        max_rows=max_rows,
        output=output,
    )
    size = output.stat().st_size / 1000
    n = len(dashboard.statistics.latents)
    typer.echo(f"{output}: {n} latent{'s' if n != 1 else ''}, {size:,.0f} kB, {size / n:.0f} kB for each")
