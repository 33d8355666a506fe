"""Times three trainers of sparse autoencoders on the same activations: ours, SAELens's, dictionary-learning's.

    python benchmarks/train_sae.py --sae-lens PYTHON --dictionary-learning PYTHON [--tokens N] [--rounds R]

PYTHON is the interpreter of an environment that has the package (`pip install "sae-lens>=6.54.12"`,
`pip install dictionary-learning`); a trainer whose interpreter is not given is left out. This script itself
runs in the course's environment.

All train one autoencoder, TopK if nothing else is asked for, with the same sizes, k, batch and tokens, in the
same order, so L0 is the same for all. Each trainer keeps its own learning rate, schedule and initialization:
the ones that its authors chose (ours: the defaults of `course train-sae`). Runs are interleaved, each in a
process of its own, and only the training loop is timed. One evaluator computes FVU and L0 of all on
activations that nobody trained on.

At the end stands the share of the machine's measured matrix product rate that ours reaches, counting the
dense products of encoder and decoder, forward and backward, that a dense trainer would do
("dense-equivalent"), and counting only the products that it really does.

With `--architecture` another kind than TopK is compared, with SAELens alone. Ours trains TopK and BatchTopK as
`course train-sae` does (`pretraining/sparse_training.py`), the other kinds as `course frontier` does
(`part_utils/fast/variants.py`). For these both trainers have the same learning rate, falling to zero, and those with a
penalty get the weight at which about eight latents fire in the end (see `SETTINGS`).

Measured for the present model (64 neurons, 1536 latents) with `--tokens 614400 --rounds 1`, which is 300 steps, on two
threads of a machine that did nothing else. Thousands of tokens a second, ours and SAELens's, how many times as many
(in brackets by processor time), and FVU and L0 of both:

    TopK         74.7 and 33.5  2.2 (2.9)  FVU 0.097 at L0 8.0 and 0.369 at  8.0
    BatchTopK   124.0 and 18.1  6.9 (7.2)  FVU 0.367 at L0 7.1 and 0.570 at 22.4
    Matryoshka   82.0 and 14.3  5.7 (5.7)  FVU 0.095 at L0 6.4 and 0.117 at  7.0
    JumpReLU     84.2 and 27.1  3.1 (3.4)  FVU 0.069 at L0 11.3 and 0.086 at  9.1
    gated        93.0 and 22.5  4.1 (4.8)  FVU 0.128 at L0 8.9 and 0.218 at 10.9

dictionary-learning's TopK: 36.2, FVU 0.138 at L0 8. Two fifths of a step of our TopK are `torch.topk` itself, for which
nothing quicker was found; counted by the error that is reached it is further ahead (0.360 after 64 steps). JumpReLU's
row is from another day. With so few neurons hardly any time goes into matrix products: 6 % of the measured rate,
dense-equivalent. A training with a penalty begins with half of all latents firing, too many to be summed over, so a
longer one gains more.

Measured on an earlier bundled model, which had 512 neurons, on two threads (`OMP_NUM_THREADS=2`, `--tokens 163840
--rounds 2`, 80 steps, a machine that did nothing else, ours in bfloat16): ours 23,555 tokens/s, FVU 0.348; SAELens
6.54.12 4,552 tokens/s (5.2 times slower), FVU 0.545; dictionary-learning 0.1.0 4,754 tokens/s (5.0 times), FVU
0.437; L0 48 for all. Ours: 24 % of the measured 414 GFLOP/s in the one product that is really dense, 119 %
dense-equivalent.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

D_IN_FILE, BATCH = "activations.safetensors", 2048


Seconds = tuple[float, float]
"""By the clock, and of processor time with all threads, which other programs disturb less."""


def now() -> Seconds:
    return time.perf_counter(), time.process_time()


def since(start: Seconds) -> Seconds:
    clock, busy = now()
    return clock - start[0], busy - start[1]


class Batches:
    """The same batches for everybody: consecutive slices of shuffled activations, again from each start."""

    def __init__(self, acts: torch.Tensor, steps: int) -> None:
        self.acts, self.steps = acts, steps

    def __iter__(self) -> Iterator[torch.Tensor]:
        per_epoch = len(self.acts) // BATCH
        for step in range(self.steps):
            start = step % per_epoch * BATCH
            yield self.acts[start : start + BATCH].float()


ARCHITECTURES = ("topk", "batchtopk", "matryoshka", "jumprelu", "gated")
"""What can be compared. The first three are told how many latents fire, the last two bargain with a penalty."""
SETTINGS: dict[str, dict[str, dict[str, float]]] = {
    "ours": {
        "matryoshka": {"encoder_scale": 0.3},
        "jumprelu": {"penalty": 0.006, "encoder_scale": 0.1, "threshold": 0.3, "bandwidth": 0.1},
        "gated": {"penalty": 0.1, "encoder_scale": 0.1},
    },
    "sae_lens": {
        "matryoshka": {},
        "jumprelu": {
            "l0_coefficient": 0.3,
            "decoder_init_norm": 1.0,
            "jumprelu_init_threshold": 1.0,
            "jumprelu_bandwidth": 0.1,
        },
        "gated": {"l1_coefficient": 12.0},
    },
}
"""Penalties at which about eight latents fire in the end, and for each trainer the best start of those that were tried.
SAELens sums the squared error over an input's dimensions where ours takes the mean."""
LR = 3e-3
"""The first learning rate of both for the kinds in `SETTINGS`; it falls to zero."""


def prefixes(d_sae: int) -> list[int]:
    """The nested dictionaries of a Matryoshka autoencoder."""
    return [d_sae // part for part in (8, 4, 2, 1)]


def train_ours(
    acts: torch.Tensor, d_sae: int, k: int, steps: int, folder: Path, architecture: str
) -> tuple[Seconds, dict[str, Any]]:
    from part_utils.autoencoder import AutoEncoderConfig
    from part_utils.formats.weights import from_autoencoder
    from part_utils.frontier import train_at_unit_scale
    from part_utils.variants import GatedAutoEncoder, JumpReLUAutoEncoder, MatryoshkaAutoEncoder
    from pretraining.run import Processes, fastest_dtype
    from pretraining.sparse_training import SparseTrainingConfig, StoredBatches, train_stage

    dtype, weights = fastest_dtype("cpu"), None
    start = now()
    if architecture not in ("topk", "batchtopk"):
        settings = SETTINGS["ours"][architecture]
        cfg = AutoEncoderConfig(1, acts.shape[1], d_sae, settings.get("penalty", 0.0))
        if architecture == "matryoshka":
            autoencoder = MatryoshkaAutoEncoder(cfg, k, prefixes(d_sae))
        elif architecture == "jumprelu":
            autoencoder = JumpReLUAutoEncoder(
                cfg, bandwidth=settings["bandwidth"], first_threshold=settings["threshold"]
            )
        else:
            autoencoder = GatedAutoEncoder(cfg)
        batches = iter(Batches(acts, steps))
        some = acts[: 8 * BATCH].float()
        train_at_unit_scale(
            autoencoder, lambda: next(batches), some, steps, LR, encoder_scale=settings["encoder_scale"]
        )
        return since(start), from_autoencoder(autoencoder, 0).tensors()
    # A BatchTopK autoencoder spends the second half of its steps on the threshold.
    for stage in ("topk",) if architecture == "topk" else ("topk", "threshold"):
        parts = 1 if architecture == "topk" else 2
        cfg = SparseTrainingConfig(stage, steps // parts, batch_size=BATCH, n_hidden_ae=d_sae, k=k, lr=2e-3)
        batches = StoredBatches(acts, cfg, Processes("cpu"))
        weights = train_stage(
            batches, cfg, folder / stage, start=weights, dtype=dtype, checkpoint_every=10**9, progress=False
        )
    seconds = since(start)
    result = {
        "W_enc": weights.encoder.mT.contiguous(),
        "b_enc": weights.b_enc,
        "W_dec": weights.decoder,
        "b_dec": weights.b_dec,
    }
    return seconds, result | ({"threshold": weights.threshold} if architecture == "batchtopk" else {})


def train_sae_lens(
    acts: torch.Tensor, d_sae: int, k: int, steps: int, folder: Path, architecture: str
) -> tuple[Seconds, dict[str, Any]]:
    import sae_lens
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    kind, settings = {
        "topk": ("TopK", {"k": k}),
        "batchtopk": ("BatchTopK", {"k": k}),
        "matryoshka": (
            "MatryoshkaBatchTopK",
            {"k": k, "matryoshka_widths": prefixes(d_sae)},
        ),
        "jumprelu": ("JumpReLU", {}),
        "gated": ("Gated", {}),
    }[architecture]
    sae = getattr(sae_lens, f"{kind}TrainingSAE")(
        getattr(sae_lens, f"{kind}TrainingSAEConfig")(
            d_in=acts.shape[1],
            d_sae=d_sae,
            device="cpu",
            normalize_activations="expected_average_only_in",
            **settings,
            **SETTINGS["sae_lens"].get(architecture, {}),
        )
    )
    lr = {"lr": LR, "lr_decay_steps": steps} if architecture in SETTINGS["sae_lens"] else {}
    cfg = SAETrainerConfig(
        total_training_samples=steps * BATCH,
        train_batch_size_samples=BATCH,
        lr_end=3e-5,
        **lr,
        n_batches_for_norm_estimate=10,
    )
    trainer = SAETrainer(cfg, sae, data_provider=iter(Batches(acts, steps + 10)))
    start = now()
    sae = trainer.fit()
    seconds = since(start)
    if architecture != "topk":
        sae.save_inference_model(folder / "trained")
        result = load_file(folder / "trained" / "sae_weights.safetensors")
        if "b_gate" in result:
            result["b_enc"] = result.pop("b_gate")
        return seconds, result | {"apply_b_dec_to_input": torch.tensor(bool(sae.cfg.apply_b_dec_to_input))}
    # The decoder's norm counts in the choice of the k largest latents, so it is moved to the encoder.
    norms = sae.W_dec.norm(dim=1)
    result = {
        "W_enc": sae.W_enc * norms,
        "b_enc": sae.b_enc * norms,
        "W_dec": sae.W_dec / norms[:, None],
        "b_dec": sae.b_dec,
        "apply_b_dec_to_input": torch.tensor(bool(sae.cfg.apply_b_dec_to_input)),
    }
    return seconds, result


def train_dictionary_learning(
    acts: torch.Tensor, d_sae: int, k: int, steps: int, folder: Path, architecture: str
) -> tuple[Seconds, dict[str, Any]]:
    from dictionary_learning.trainers.top_k import TopKTrainer
    from dictionary_learning.training import trainSAE

    config = {
        "trainer": TopKTrainer,
        "steps": steps,
        "activation_dim": acts.shape[1],
        "dict_size": d_sae,
        "k": k,
        "layer": 0,
        "lm_name": "bundled",
        "warmup_steps": min(1000, steps // 10),
        "device": "cpu",
        "seed": 0,
    }
    start = now()
    with tempfile.TemporaryDirectory() as saved:
        trainSAE(
            data=Batches(acts, steps + 1),
            trainer_configs=[config],
            steps=steps,
            save_dir=saved,
            normalize_activations=True,
            device="cpu",
        )
        seconds = since(start)
        state = torch.load(Path(saved) / "trainer_0" / "ae.pt", weights_only=True)
    result = {
        "W_enc": state["encoder.weight"].mT.contiguous(),
        "b_enc": state["encoder.bias"],
        "W_dec": state["decoder.weight"].mT.contiguous(),
        "b_dec": state["b_dec"],
    }
    return seconds, result


TRAINERS = {"ours": train_ours, "sae_lens": train_sae_lens, "dictionary_learning": train_dictionary_learning}


@torch.no_grad()
def evaluate(weights: dict[str, torch.Tensor], acts: torch.Tensor, k: int) -> tuple[float, float]:
    """FVU and L0, the same way for every trainer's weights."""
    error, fired = 0.0, 0
    subtract = bool(weights.get("apply_b_dec_to_input", torch.tensor(True)))
    for x in acts.float().split(4096):
        pre = (x - weights["b_dec"] if subtract else x) @ weights["W_enc"] + weights["b_enc"]
        if "threshold" in weights:
            codes = torch.where(pre > weights["threshold"], pre.relu(), 0)
        elif "r_mag" in weights:
            magnitude = (pre - weights["b_enc"]) * weights["r_mag"].exp() + weights["b_mag"]
            codes = torch.where(pre > 0, magnitude.relu(), 0)
        else:
            values, latents = pre.topk(k, dim=1)
            codes = torch.zeros_like(pre).scatter_(1, latents, values.relu())
        error += (codes @ weights["W_dec"] + weights["b_dec"] - x).double().pow(2).sum().item()
        fired += int((codes > 0).sum())
    variance = (acts.double() - acts.double().mean(dim=0)).pow(2).sum().item()
    return error / variance, fired / len(acts)


def collect(tokens: int, folder: Path) -> None:
    """Shuffled activations of the bundled model: training ones from `train`, test ones from `held_out`."""
    from part_utils.activations import flatten_activations, get_activations
    from part_utils.language_models import load_language_model
    from part_utils.texts import load_tokens

    model = load_language_model()
    result = {}
    for split, wanted in (("train", tokens), ("held_out", 40_000)):
        rows = load_tokens(split).tokens
        rows = rows[: -(-wanted // rows.shape[1])]
        acts = torch.cat(
            [flatten_activations(get_activations(part, model)).half() for part in rows.split(64)]
        )
        result[split] = acts[torch.randperm(len(acts), generator=torch.Generator().manual_seed(0))]
    save_file(result, folder / D_IN_FILE)


def worker(arguments: argparse.Namespace) -> None:
    """One run of one trainer: prints seconds, FVU and L0 as JSON."""
    torch.manual_seed(0)
    stored = load_file(arguments.folder / D_IN_FILE)
    with tempfile.TemporaryDirectory() as scratch:
        seconds, weights = TRAINERS[arguments.worker](
            stored["train"],
            arguments.latents,
            arguments.k,
            arguments.tokens // BATCH,
            Path(scratch),
            arguments.architecture,
        )
    weights = {name: value.detach() for name, value in weights.items()}
    fvu, l0 = evaluate(weights, stored["held_out"], arguments.k)
    clock, busy = seconds
    print(json.dumps({"seconds": clock, "busy": busy, "fvu": fvu, "l0": l0}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sae-lens", help="interpreter of the environment that has sae-lens")
    parser.add_argument(
        "--dictionary-learning", help="interpreter of the environment that has dictionary-learning"
    )
    parser.add_argument("--tokens", type=int, default=200 * BATCH)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--latents", type=int, default=1536)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument(
        "--folder", type=Path, help="where the activations are kept; a temporary folder if left out"
    )
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="topk")
    parser.add_argument("--worker", choices=TRAINERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments)
        return
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / D_IN_FILE).exists():
        collect(arguments.tokens, folder)
    if arguments.dictionary_learning and arguments.architecture != "topk":
        parser.error("dictionary-learning is compared in --architecture topk only; leave it out.")
    interpreters = {
        "ours": sys.executable,
        "sae_lens": arguments.sae_lens,
        "dictionary_learning": arguments.dictionary_learning,
    }
    results: dict[str, list[dict[str, float]]] = {name: [] for name, python in interpreters.items() if python}
    sizes = [
        "--tokens",
        arguments.tokens,
        "--latents",
        arguments.latents,
        "--k",
        arguments.k,
        "--architecture",
        arguments.architecture,
        "--folder",
        folder,
    ]
    for _ in range(arguments.rounds):
        for name in results:
            command = [interpreters[name], __file__, "--worker", name, *map(str, sizes)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            results[name].append(json.loads(output.splitlines()[-1]))
    print(
        f"{arguments.architecture}: {arguments.tokens:,} tokens, batch {BATCH}, {arguments.latents} latents, "
        f"k = {arguments.k}, median of {arguments.rounds} rounds"
    )
    seconds, busy = (
        {name: statistics.median(run[key] for run in runs) for name, runs in results.items()}
        for key in ("seconds", "busy")
    )
    rates = {name: arguments.tokens / taken for name, taken in seconds.items()}
    for name, runs in results.items():
        times = rates["ours"] / rates[name]
        by_busy = busy[name] / busy["ours"]
        fvu, l0 = runs[-1]["fvu"], runs[-1]["l0"]
        print(
            f"{name:20s} {rates[name]:8.0f} tokens/s ({busy[name]:.1f} s of processor time)  "
            f"FVU {fvu:.4f}  L0 {l0:.1f}  ours is {times:.1f} times as fast ({by_busy:.1f} by processor time)"
        )
    if arguments.architecture != "topk":
        return
    from pretraining.run import fastest_dtype, matmul_rate

    dtype = fastest_dtype("cpu")
    rate = matmul_rate(dtype, "cpu", seconds=2)
    d_in = load_file(folder / D_IN_FILE)["train"].shape[1]
    dense = rates["ours"] * 2 * d_in * arguments.latents
    print(f"matrix products in {dtype}: {rate / 1e9:.0f} GFLOP/s on this machine")
    print(
        f"share of that rate: {5 * dense / rate:.0%} dense-equivalent (5 products), "
        f"{dense / rate:.0%} in the product that is really dense"
    )


if __name__ == "__main__":
    main()
