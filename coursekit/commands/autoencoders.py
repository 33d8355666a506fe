"""The commands that carry autoencoders from and to other packages."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coursekit.commands.options import file_to_write
from coursekit.commands.output import sentences_for
from coursekit.errors import CourseError

app = typer.Typer(help="Carry autoencoders from and to other packages.", no_args_is_help=True)


class Format(StrEnum):
    """The packages whose files can be written."""

    sae_lens = "sae_lens"
    dictionary_learning = "dictionary_learning"
    sparsify = "sparsify"


@app.command("import-sae")
@sentences_for(CourseError, ValueError)
def import_command(
    source: Annotated[
        Path, typer.Argument(help="A folder that SAELens, dictionary_learning or sparsify wrote.")
    ],
    target: Annotated[
        Path, typer.Argument(callback=file_to_write, help="The new file, such as mine.safetensors.")
    ],
) -> None:
    """Bring another package's autoencoder into one file of ours, for load_autoencoder("mine.safetensors")."""
    if target.suffix != ".safetensors":
        raise CourseError(f"{target} needs a name that ends in .safetensors, which load_autoencoder knows.")
    if target.exists():
        raise CourseError(f"{target} is there already. Name another file, or move it away first.")
    from part_utils.formats.recognize import load, recognize, save

    format, autoencoder = recognize(source), load(source)
    save(autoencoder, "ours", target)
    cfg = autoencoder.cfg
    kind = type(autoencoder).__name__
    typer.echo(f"{target}: {kind} from {format}, {cfg.n_input_ae:,} inputs, {cfg.n_hidden_ae:,} latents")


@app.command("export-sae")
@sentences_for(CourseError, ValueError, ConnectionError)
def export_command(
    source: Annotated[str, typer.Argument(help="bundled, gelu-1l, or a file or folder of an autoencoder.")],
    target: Annotated[Path, typer.Argument(help="The new folder.")],
    format: Annotated[
        Format, typer.Option(help="Which package is to read it; sparsify reads TopK autoencoders only.")
    ] = Format.sae_lens,
    instance: Annotated[int, typer.Option(min=0, help="Which instance: 0 is encoder-A, 1 is encoder-B.")] = 0,
) -> None:
    """Write one instance of an autoencoder into a folder that another package loads."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CourseError(f"{target} is there already. Name another folder, or move it away first.")
    from part_utils.formats.recognize import save
    from part_utils.language_models import load_autoencoder

    save(load_autoencoder(source), format.value, target, instance)
    files = ", ".join(sorted(path.name for path in target.iterdir()))
    typer.echo(f"{target}: {files}")
