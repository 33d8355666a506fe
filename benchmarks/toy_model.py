"""How much faster is `ToyModel.optimize` than the loop one would write first?

The plain loop draws the values and the presence of the features separately, writes the model as two einsums,
and uses torch's Adam with its default settings. Both train the same model from the same initial weights, in
blocks of 1,000 (or 40) steps that take turns, so that a busy machine slows both down alike.

    python benchmarks/toy_model.py            # both sizes, about a minute
    python benchmarks/toy_model.py --rounds 3
"""

import copy
import statistics
import time
from collections.abc import Callable

import torch
import typer

from part_utils.toy_model import ToyModel, ToyModelConfig


def plain_loop(model: ToyModel, steps: int, batch_size: int = 1024, lr: float = 1e-3) -> None:
    """The textbook version."""
    W, b_final = model.W, model.b_final
    probability, importance = model.feature_probability, model.importance
    optimizer = torch.optim.Adam([W, b_final], lr=lr)
    for _ in range(steps):
        shape = (batch_size, *b_final.shape)
        batch = torch.where(torch.rand(shape) < probability, torch.rand(shape), torch.zeros(shape))
        hidden = torch.einsum("bif,ihf->bih", batch, W)
        out = torch.relu(torch.einsum("bih,ihf->bif", hidden, W) + b_final)
        loss = (importance * (out - batch) ** 2).mean(dim=(0, 2)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def fast_loop(model: ToyModel, steps: int) -> None:
    model.optimize(steps=steps, progress=False)


@torch.no_grad()
def held_out_loss(model: ToyModel) -> float:
    batches = [model.generate_batch(1000) for _ in range(20)]
    return statistics.fmean(model.calculate_loss(model(batch), batch).item() for batch in batches)


def milliseconds_per_step(loop: Callable[[ToyModel, int], None], model: ToyModel, steps: int) -> float:
    start = time.perf_counter()
    loop(model, steps)
    return (time.perf_counter() - start) / steps * 1e3


def main(rounds: int = 7, loss_steps: int = 2_000) -> None:
    """Print a table: milliseconds per step of both loops (medians over rounds) and their final losses on new data."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch 1024")
    print(
        f"{'size':>12} {'plain ms':>9} {'ours ms':>8} {'faster':>7} {'plain loss':>11} {'our loss':>9} {'ratio':>6}"
    )
    for sizes, block in (((8, 5, 2), 1_000), ((20, 100, 20), 40)):
        n_instances, n_features, n_hidden = sizes
        torch.manual_seed(0)
        importance = 0.9 ** torch.arange(n_features)
        probability = (50 ** -torch.linspace(0, 1, n_instances)).unsqueeze(1)
        start = ToyModel(ToyModelConfig(n_instances, n_features, n_hidden), probability, importance)
        plain, ours = copy.deepcopy(start), copy.deepcopy(start)
        for loop, model in ((plain_loop, plain), (fast_loop, ours)):
            loop(model, block)  # warm up
        times: dict[str, list[float]] = {"plain": [], "ours": []}
        for _ in range(rounds):
            times["plain"].append(milliseconds_per_step(plain_loop, plain, block))
            times["ours"].append(milliseconds_per_step(fast_loop, ours, block))
        steps = loss_steps if n_features == 5 else loss_steps // 4
        losses = []
        for loop in (plain_loop, fast_loop):
            model = copy.deepcopy(start)
            loop(model, steps)
            torch.manual_seed(1)
            losses.append(held_out_loss(model))
        plain_loss, our_loss = losses
        plain_ms, our_ms = statistics.median(times["plain"]), statistics.median(times["ours"])
        print(
            f"{'x'.join(map(str, sizes)):>12} {plain_ms:>9.2f} {our_ms:>8.2f} {plain_ms / our_ms:>6.1f}x "
            f"{plain_loss:>11.5f} {our_loss:>9.5f} {our_loss / plain_loss:>6.3f}"
        )


if __name__ == "__main__":
    typer.run(main)
