"""Time `AutoEncoder.optimize` against the plain loop of a textbook, with equal sizes, in one run.

    python benchmarks/train_toy_sae.py [--rounds 3] [--steps 2000]

Both train the same autoencoders from the same start on hidden states of the same toy model, in turns. The plain
loop runs once on one thread and once on all of them; the quicker one counts. On a busy machine look at the time
that the processor spent (one thread), not at the clock. At the end all of them are measured on the same held-out
inputs: their losses must agree within 2 %.
"""

import argparse
import sys
import time

import torch
from torch import Tensor, nn
from tqdm import tqdm

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.hidden_states import hidden_states
from part_utils.toy_model import ToyModel, ToyModelConfig

BATCH_SIZE, LR, L1_COEFF = 1024, 3e-3, 0.25


class TextbookAutoEncoder(nn.Module):
    """What one writes down first: einsum, one line per equation."""

    def __init__(self, n_instances: int, n_input: int, n_hidden: int) -> None:
        super().__init__()
        self.W_enc = nn.Parameter(torch.empty(n_instances, n_input, n_hidden))
        self.W_dec = nn.Parameter(torch.empty(n_instances, n_hidden, n_input))
        self.b_enc = nn.Parameter(torch.zeros(n_instances, n_hidden))
        self.b_dec = nn.Parameter(torch.zeros(n_instances, n_input))

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        acts = torch.relu(torch.einsum("bni,nij->bnj", h - self.b_dec, self.W_enc) + self.b_enc)
        W_dec = self.W_dec / (self.W_dec.norm(dim=2, keepdim=True) + 1e-8)
        h_reconstructed = torch.einsum("bnj,nji->bni", acts, W_dec) + self.b_dec
        l2_loss = (h_reconstructed - h).pow(2).mean(-1)
        l1_loss = acts.abs().sum(-1)
        return (l2_loss + L1_COEFF * l1_loss).mean(0).sum(), acts

    def optimize(self, model: ToyModel, steps: int) -> None:
        optimizer = torch.optim.Adam(self.parameters(), lr=LR)
        frac_active_list = []
        bar = tqdm(range(steps), file=sys.stdout, leave=False)
        for step in bar:
            shape = (BATCH_SIZE, model.cfg.n_instances, model.cfg.n_features)
            present = torch.rand(shape) < model.feature_probability
            features = torch.where(present, torch.rand(shape), 0.0)
            h = torch.einsum("bnf,nhf->bnh", features, model.W.detach())
            loss, acts = self(h)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            frac_active_list.append((acts > 0).float().mean(0))
            if step % 100 == 0:
                bar.set_postfix(loss=loss.item(), dead=(frac_active_list[-1] == 0).float().mean().item())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--instances", type=int, default=80, help="16 x 5 seeds, as in chapter 3")
    parser.add_argument("--one-thread", action="store_true", help="leave out the plain loop on all threads")
    args = parser.parse_args()

    n, all_threads = args.instances, torch.get_num_threads()
    torch.manual_seed(0)
    probability = torch.linspace(0.01, 0.05, n).unsqueeze(1)
    model = ToyModel(ToyModelConfig(n), feature_probability=probability)
    model.optimize(steps=3000, lr=3e-3, progress=False)
    with torch.no_grad():
        h = hidden_states(model, model.generate_batch(200_000))

    autoencoder = AutoEncoder(AutoEncoderConfig(n, 2, 5, l1_coeff=L1_COEFF))
    start = {name: value.clone() for name, value in autoencoder.state_dict().items()}
    textbook = TextbookAutoEncoder(n, 2, 5)
    evaluator = AutoEncoder(autoencoder.cfg)

    def run_textbook(threads: int) -> None:
        torch.set_num_threads(threads)
        textbook.optimize(model, args.steps)
        torch.set_num_threads(all_threads)

    runs = {
        "textbook loop, 1 thread": (textbook, lambda: run_textbook(1)),
        f"textbook loop, {all_threads} threads": (textbook, lambda: run_textbook(all_threads)),
        "AutoEncoder.optimize": (
            autoencoder,
            lambda: autoencoder.optimize(model, batch_size=BATCH_SIZE, steps=args.steps, lr=LR),
        ),
    }
    if args.one_thread:
        del runs[f"textbook loop, {all_threads} threads"]
    times: dict[str, list[float]] = {name: [] for name in runs}
    cpu_times: dict[str, list[float]] = {name: [] for name in runs}
    losses: dict[str, float] = {}
    for _ in range(args.rounds):
        for name, (network, run) in runs.items():
            network.load_state_dict(start)
            began, cpu_began = time.perf_counter(), time.thread_time()
            run()
            times[name].append(1e3 / args.steps * (time.perf_counter() - began))
            cpu_times[name].append(1e3 / args.steps * (time.thread_time() - cpu_began))
            evaluator.load_state_dict(network.state_dict())
            with torch.no_grad():
                losses[name] = evaluator(h).loss.item()

    one_thread, *_, ours = runs
    print(f"{n} instances, 5 features in 2 dimensions, 5 latents, batch {BATCH_SIZE}, {args.steps} steps")
    print(f"{'ms per step':28}{'min':>9}{'median':>9}{'max':>9}{'cpu min':>9}{'final loss':>12}")
    for name in runs:
        ms = sorted(times[name])
        cpu = f"{min(cpu_times[name]):9.3f}" if name in (one_thread, ours) else " " * 9
        print(f"{name:28}{ms[0]:9.3f}{ms[len(ms) // 2]:9.3f}{ms[-1]:9.3f}{cpu}{losses[name]:12.4f}")
    *plain, _ = runs
    for which, choose in (("medians", lambda ms: sorted(ms)[len(ms) // 2]), ("minima", min)):
        speedup = min(choose(times[name]) for name in plain) / choose(times[ours])
        print(f"speedup over the quicker plain loop, {which}: {speedup:.1f}x")
    print(f"speedup in processor time, one thread: {min(cpu_times[one_thread]) / min(cpu_times[ours]):.1f}x")
    spread = max(abs(losses[name] / losses[ours] - 1) for name in plain)
    print(f"largest difference of the final losses: {100 * spread:.2f} %")


if __name__ == "__main__":
    main()
