"""What an autoencoder says beyond as many neurons, with few and many: `python -m pretraining.neuron_counts`.

In chapter 1's toy model the same features have to share fewer dimensions, and superposition grows. Is it so in a
language model, where the number of features is not given? For each number of neurons one model is trained on the
bundled training text, all with the same steps, batches and seed, and on its MLP one TopK autoencoder for each seed.
Each is measured on held-out text beside as many neurons. About 8 minutes for each model on two cores. A run that was
stopped goes on where it was; `--ship` writes the measurements into the box.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from transformer_lens.model_bridge import TransformerBridge

from part_utils.baselines import compare_with_baselines
from part_utils.bundled_files import DATA
from part_utils.evaluation import evaluate
from part_utils.files import write_atomically
from part_utils.frontier import TrainingOfOnePoint, train_one_point
from part_utils.neuron_counts import NEURON_COUNTS, NeuronCount
from part_utils.one_layer_model import LanguageModelConfig, to_bridge
from part_utils.texts import bundled_tokenizer, load_tokens
from pretraining.autoencoders import load_trained_model
from pretraining.language_model import train_language_model
from pretraining.shipping import write_manifest

COUNTS = (32, 64, 128, 512)
SEEDS = range(3)
K = 8
HELD_OUT_ROWS = 256


def trained_model(n_neurons: int, steps: int, run_dir: Path) -> TransformerBridge:
    """Return the model with so many neurons, trained on the bundled text unless `run_dir` holds it already."""
    folder = run_dir / f"model_{n_neurons}"
    if not (folder / "summary.json").exists():
        corpus = run_dir / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for split in ("train", "validation"):
            shutil.copy(DATA / f"tokens_{split}.safetensors", corpus / f"{split}.safetensors")
        train_language_model(corpus, folder, cfg=LanguageModelConfig(d_mlp=n_neurons), steps=steps)
    return to_bridge(load_trained_model(folder), bundled_tokenizer())


def measure(model: TransformerBridge, seed: int, sae_steps: int) -> NeuronCount:
    """Train one autoencoder on a model's MLP, and measure it on held-out text beside as many neurons."""
    training = TrainingOfOnePoint(steps=sae_steps, seed=seed, encoder_scale=1.0)
    autoencoder = train_one_point("TopK", K, load_tokens("train").tokens, model, training)
    held_out = load_tokens("held_out").tokens[:HELD_OUT_ROWS]
    result = evaluate(held_out, model, autoencoder)
    (beside,) = compare_with_baselines(held_out, model, autoencoder, result)
    return NeuronCount(
        n_neurons=autoencoder.cfg.n_input_ae,
        seed=seed,
        k=K,
        loss=result.loss_clean,
        loss_mean_ablated=result.loss_mean_ablated,
        recovered=result.recovered_from_mean[0],
        recovered_by_neurons=beside.neurons.recovered_from_mean,
        copies_share=beside.copies_share,
    )


def run(run_dir: Path, steps: int, sae_steps: int) -> Iterator[NeuronCount]:
    """Yield every measurement, making those that `run_dir` does not hold yet."""
    for n_neurons in COUNTS:
        model = trained_model(n_neurons, steps, run_dir)
        for seed in SEEDS:
            path = run_dir / f"{n_neurons}_{seed}.json"
            if not path.exists():
                write_atomically(path, json.dumps(asdict(measure(model, seed, sae_steps))) + "\n")
            yield NeuronCount(**json.loads(path.read_text(encoding="utf-8")))


def main(
    run_dir: Annotated[
        Path, typer.Option(help="Models and measurements; a stopped run goes on from here.")
    ] = Path("runs/neuron_counts"),
    steps: Annotated[int, typer.Option(min=1, help="Steps of each model, of 4,096 tokens.")] = 1000,
    sae_steps: Annotated[int, typer.Option(min=1, help="Steps of each autoencoder, of 1,024 tokens.")] = 1000,
    ship: Annotated[bool, typer.Option("--ship", help="Write the measurements into the box.")] = False,
) -> None:
    """Train small language models that differ in their number of neurons, and an autoencoder on each."""
    found = []
    for one in run(run_dir, steps, sae_steps):
        found.append(one)
        typer.echo(
            f"{one.n_neurons:4d} neurons, seed {one.seed}: loss {one.loss:.3f} (mean-ablated "
            f"{one.loss_mean_ablated:.3f})   CE recovered {one.recovered:6.1%} against "
            f"{one.recovered_by_neurons:6.1%} by {one.k} neurons   copies {one.copies_share:.0%} of what fires"
        )
    if ship:
        write_atomically(NEURON_COUNTS, json.dumps([asdict(one) for one in found], indent=1) + "\n")
        write_manifest(DATA)


if __name__ == "__main__":
    typer.run(main)
