"""Times reading one place of SmolLM2 and its latents: ours, and plain transformers with sae-lens doing the same.

    python benchmarks/real_model.py --sae-lens PYTHON [--tokens N] [--rounds R]

Needs `course download smollm2`. PYTHON is the interpreter of an environment with `sae-lens>=6.54.12`; this script
itself runs in the course's environment. All read the same rows of 128 tokens of the bundled held-out text and encode
the residual stream after block 11 with the same TopK autoencoder (4,608 latents, k = 32, random weights: what they
are makes no difference to the time). Runs are interleaved, each in a process of its own, and loading is not timed.

- `ours`: `part_utils.deep_models.collect` and `TopKAutoEncoder.encode`, in the type that is faster here.
- `plain`: `LlamaForCausalLM` with `output_hidden_states=True` and sae-lens's `encode`, in float32, as both load.
- `plain_bf16`: the same with the language model in bfloat16.

Measured with 20,096 tokens on two cores, nothing else running, the median of three rounds: ours 5.4 s with a peak of
1.28 GB, plain 27.6 s (1.73 GB), plain in bfloat16 9.5 s (1.28 GB). So ours is 5.1 times as fast as what the packages do
by themselves, and 1.8 times as fast as they are in bfloat16; what is left is that later blocks are not computed.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

BLOCK, LATENTS, K, ROWS = 11, 4608, 32, 16


@torch.no_grad()
def ours(folder: Path) -> tuple[float, int]:
    from part_utils.deep_models import collect
    from part_utils.language_models import load_language_model
    from part_utils.variants import TopKAutoEncoder
    from pretraining.run import fastest_dtype

    model = load_language_model("smollm2", dtype=fastest_dtype("cpu"))
    from part_utils.language_models import load_autoencoder

    autoencoder = load_autoencoder(folder / "sae")
    assert isinstance(autoencoder, TopKAutoEncoder)
    fired = 0
    start = time.perf_counter()
    for rows in load_file(folder / "tokens.safetensors")["tokens"].split(ROWS):
        h = collect(model, rows, f"blocks.{BLOCK}.hook_out", batch_rows=ROWS).float()
        fired += int((autoencoder.encode(h[:, None]) > 0).sum())
    return time.perf_counter() - start, fired


@torch.no_grad()
def plain(folder: Path, dtype: torch.dtype) -> tuple[float, int]:
    from sae_lens import SAE
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained((folder / "model.txt").read_text(), dtype=dtype)
    sae = SAE.load_from_disk(folder / "sae")
    fired = 0
    start = time.perf_counter()
    for rows in load_file(folder / "tokens.safetensors")["tokens"].split(ROWS):
        hidden = model(rows, output_hidden_states=True).hidden_states[BLOCK + 1]
        fired += int((sae.encode(hidden.float()) > 0).sum())
    return time.perf_counter() - start, fired


def prepare(folder: Path, tokens: int) -> None:
    """Write what all of them read."""
    from part_utils.autoencoder import AutoEncoderConfig
    from part_utils.formats.recognize import save
    from part_utils.language_models import load_language_model, load_tokens
    from part_utils.smollm2 import smollm2_folder
    from part_utils.variants import TopKAutoEncoder

    torch.manual_seed(0)
    model = load_language_model("smollm2")
    rows = load_tokens("held_out", model).tokens[: -(-tokens // 128)]
    save_file({"tokens": rows.contiguous()}, folder / "tokens.safetensors")
    save(TopKAutoEncoder(AutoEncoderConfig(1, model.cfg.d_model, LATENTS), K), "sae_lens", folder / "sae", 0)
    (folder / "model.txt").write_text(str(smollm2_folder()))


def worker(name: str, folder: Path) -> None:
    seconds, fired = {
        "ours": lambda: ours(folder),
        "plain": lambda: plain(folder, torch.float32),
        "plain_bf16": lambda: plain(folder, torch.bfloat16),
    }[name]()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"seconds": seconds, "fired": fired, "peak": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sae-lens", help="interpreter of the environment that has sae-lens")
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, arguments.tokens)
        interpreters = {"ours": sys.executable}
        if arguments.sae_lens:
            interpreters |= {"plain": arguments.sae_lens, "plain_bf16": arguments.sae_lens}
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in interpreters}
        for _ in range(arguments.rounds):
            for name, python in interpreters.items():
                command = [python, __file__, "--worker", name, "--folder", str(folder)]
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                runs[name].append(json.loads(output.splitlines()[-1]))
        n = load_file(folder / "tokens.safetensors")["tokens"].numel()
    print(f"{n:,} tokens, {torch.get_num_threads()} threads, median of {arguments.rounds} rounds")
    medians = {name: sorted(run["seconds"] for run in found)[len(found) // 2] for name, found in runs.items()}
    for name, seconds in medians.items():
        peak, l0 = max(run["peak"] for run in runs[name]), runs[name][-1]["fired"] / n
        print(
            f"{name:12s} {seconds:6.1f} s  {n / seconds:6.0f} tokens/s  peak {peak:.2f} GB  L0 {l0:.2f}  "
            f"ours is {seconds / medians['ours']:.1f} times as fast"
        )


if __name__ == "__main__":
    main()
