"""What a learner has after `pip install` of the wheel, tried with nothing but the wheel: run by run.sh.

The one argument is the checkout, whose code must not be what is tried; the solved chapter 0 is read from there.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

os.environ |= {"COURSE_STATIC": "1", "TQDM_DISABLE": "1", "PLOTLY_RENDERER": "json"}

import click
import typer.main
from IPython.core.interactiveshell import InteractiveShell
from typer.testing import CliRunner

import coursekit
import part_utils
from coursekit.commands.cli import app

CHECKOUT = Path(sys.argv[1]).resolve()
runner = CliRunner()


def run(*arguments: str, expect: int = 0) -> str:
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == expect, (arguments, result.exit_code, result.output, result.exception)
    return result.output


def no_checkout() -> None:
    for module in (coursekit, part_utils):
        assert not Path(module.__file__ or "").resolve().is_relative_to(CHECKOUT), module.__file__
    for package in ("nbgrader", "jupyterlab", "jupytext"):
        assert importlib.util.find_spec(package) is None, f"{package} is no part of a learner's installation"


def every_command_has_help() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    for name in group.commands:  # type: ignore[attr-defined]
        assert "Usage" in run(name, "--help")


def every_data_file_is_whole() -> None:
    from part_utils import bundled_files

    manifest = json.loads((bundled_files.DATA / "manifest.json").read_text(encoding="utf-8"))
    for name in manifest["sha256"]:
        bundled_files.bundled_file(name)


def a_learners_round() -> None:
    run("start", "my course", "--no-open")
    os.chdir("my course")
    first = "chapters/00_start_here/00_start_here.ipynb"
    run("check", first, expect=1)
    notebook = json.loads(Path(first).read_text(encoding="utf-8"))
    [cell] = [cell for cell in notebook["cells"] if cell["id"] == "exercise-0-1"]
    shipped = cell["source"]
    cell["source"] = (
        'import torch\n\ndef project_features(features, W):\n    return torch.einsum("bif,ihf->bih", features, W)\n'
    )
    Path(first).write_text(json.dumps(notebook), encoding="utf-8")
    run("check", first, expect=1)
    assert '"0.1"' in run("progress", "--json")
    run("update")
    run("page", first, "--output", "page.html")
    run("reset", "0.1")
    notebook = json.loads(Path(first).read_text(encoding="utf-8"))
    [cell] = [cell for cell in notebook["cells"] if cell["id"] == "exercise-0-1"]
    assert "".join(cell["source"]) == "".join(shipped)


def chapters_run() -> None:
    material = Path(coursekit.__file__ or "").parent / "material"
    start_here = "00_start_here/00_start_here.ipynb"
    for path in (material / "chapters" / start_here, CHECKOUT / "solutions" / start_here):
        execute(path, lambda source: True)


def cells_that_need_the_packages_files() -> None:
    from part_utils.dashboard import make_dashboard
    from part_utils.language_models import load_autoencoder, load_language_model
    from part_utils.model_with_autoencoder import ModelWithAutoencoder
    from part_utils.texts import first_rows, load_tokens
    from part_utils.widgets.feature_browser import feature_browser

    page = make_dashboard([3, 5], max_rows=200, progress=False)
    assert "<script" in page.html()
    text = first_rows(load_tokens("held_out"), 100)
    encoder_a = ModelWithAutoencoder(load_language_model(), load_autoencoder())
    assert feature_browser(text, encoder_a, start=" Mrs") is not None


def execute(path: Path, wanted) -> None:  # type: ignore[no-untyped-def]
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and wanted("".join(cell["source"])):
            shell.run_cell("".join(cell["source"])).raise_error()


if __name__ == "__main__":
    for part in (
        no_checkout,
        every_command_has_help,
        every_data_file_is_whole,
        a_learners_round,
        chapters_run,
        cells_that_need_the_packages_files,
    ):
        print(part.__name__.replace("_", " "), flush=True)
        part()
