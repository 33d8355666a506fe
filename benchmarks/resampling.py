"""What resampling does to the share of toy features that an autoencoder recovers: the table of chapter 3.

    python benchmarks/resampling.py [--instances 16] [--seeds 5] [--steps 5000]

A toy model of 5 features in 2 dimensions is trained at feature probabilities from 1 % to 5 %, one per instance, and
then autoencoders with 5 latents on its hidden states, without resampling and with each way of resampling, in four
regimes. A feature is recovered when a latent of its own (one to one, by the Hungarian method) fires on more than one
input in 1,000 and has a decoder row with a cosine similarity above 0.95 with it.

    python benchmarks/resampling.py --larger

does it once, at the recipe, for 60 features in 20 dimensions (p = 2 %, 3 instances), as at the end of chapter 3.
"""

import argparse
import time
from typing import Any

import torch

from part_utils.recovery import RESAMPLING, train_and_measure
from part_utils.toy_geometry import cosine_similarities
from part_utils.toy_model import ToyModel, ToyModelConfig
from part_utils.training import constant_lr, cosine_decay_lr

REGIMES: dict[str, dict[str, Any]] = {
    "small learning rate (1e-3, constant; window 500, scale 0.2)": {
        "lr": 1e-3,
        "lr_schedule": constant_lr,
        "resample_window": 500,
        "neuron_resample_scale": 0.2,
    },
    "medium learning rate (1e-2, fading out; window 100, scale 0.2)": {
        "lr": 1e-2,
        "neuron_resample_scale": 0.2,
    },
    "recipe, but a single resampling, at step 1000": {"resample_every": 1_000, "resample_until": 0.3},
    "recipe (5e-2, fading out; window 100, scale 1)": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--regime", default="", help="only the regimes whose name contains this")
    parser.add_argument("--larger", action="store_true", help="60 features in 20 dimensions")
    args = parser.parse_args()
    columns = ("recovered", "worst seed", "mean cos", "dead", "resampled", "L0", "L2", "loss", "seconds")
    heading = f"{'':24}" + "".join(f"{name:>11}" for name in columns)
    if args.larger:
        torch.manual_seed(0)
        larger = ToyModel(ToyModelConfig(3, n_features=60, n_hidden=20), feature_probability=0.02)
        larger.optimize(steps=2_000, batch_size=512, lr=5e-3, lr_schedule=cosine_decay_lr, progress=False)
        print(f"60 features in 20 dimensions, 3 instances x {args.seeds} seeds, 3,000 steps\n{heading}")
        compare(larger, args.seeds, {"steps": 3_000, "batch_size": 512, "l1_coeff": 0.02})
        return

    torch.manual_seed(0)
    probability = torch.linspace(0.01, 0.05, args.instances).unsqueeze(1)
    model = ToyModel(ToyModelConfig(args.instances), feature_probability=probability)
    model.optimize(steps=5_000, lr=5e-3, lr_schedule=cosine_decay_lr, progress=False)
    norms = model.W.norm(dim=1)
    nearest = (cosine_similarities(model.W) - 2 * torch.eye(5)).max().item()
    print(
        f"Toy model: {args.instances} instances, p from 1 % to 5 %; shortest feature {norms.min():.2f}, longest"
        f" {norms.max():.2f}, closest two features at a cosine of {nearest:.2f}"
    )
    print(f"Autoencoders: {args.instances} x {args.seeds} seeds, 5 latents, {args.steps} steps")
    for regime, settings in REGIMES.items():
        if args.regime not in regime:
            continue
        print(f"\n{regime}\n{heading}")
        compare(model, args.seeds, {"steps": args.steps} | settings)


def compare(model: ToyModel, seeds: int, settings: dict[str, Any]) -> None:
    """Print a line for each way of resampling."""
    for name, how in RESAMPLING.items():
        began = time.perf_counter()
        result, _, _ = train_and_measure(model, name, seeds=seeds, progress=False, **(settings | how))
        values = (
            f"{100 * result.recovered:.1f} %",
            f"{100 * min(result.per_seed):.1f} %",
            f"{result.mean_cosine:.3f}",
            f"{100 * result.dead:.1f} %",
            f"{result.resampled:.1f}",
            f"{result.l0:.2f}",
            f"{result.l2:.4f}",
            f"{result.loss:.4f}",
            f"{time.perf_counter() - began:.0f}",
        )
        print(f"{name:24}" + "".join(f"{value:>11}" for value in values), flush=True)


if __name__ == "__main__":
    main()
