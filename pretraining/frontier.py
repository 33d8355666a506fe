"""How well each kind of autoencoder rebuilds the bundled model's MLP, at each number of latents that fire.

`course frontier` trains every kind at several settings, each with the same width, tokens, batches, learning rate and
start, with two seeds, and measures all of them on held-out text, beside two ways to do without an autoencoder: the k
neurons farthest from their mean, and the k principal components of a token that are largest. A run that was stopped
goes on where it was. With `--ship` it writes the points to `part_utils/data/frontier.json`, from which chapter 6 draws
its picture.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor

from part_utils.activations import flatten_activations, get_activations
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.bundled_files import DATA
from part_utils.evaluation import evaluate
from part_utils.files import write_atomically
from part_utils.frontier import FRONTIER, FrontierPoint, TrainingOfOnePoint, train_one_point
from part_utils.language_models import load_language_model
from part_utils.texts import load_tokens
from pretraining.shipping import write_manifest

L0S = (4, 8, 16, 32)
L1_COEFFS = (0.015, 0.025, 0.04, 0.06, 0.1)
GATE_COEFFS = (0.025, 0.04, 0.07, 0.1, 0.18)
THRESHOLDS = (0.03, 0.15, 0.3, 0.5, 0.8)
SEEDS = (0, 1)
SETTINGS: dict[str, tuple[float, ...]] = {
    "TopK": L0S,
    "BatchTopK": L0S,
    "Matryoshka": L0S,
    "ReLU + L1": L1_COEFFS,
    "gated": GATE_COEFFS,
    "JumpReLU": THRESHOLDS,
}


class WithoutAutoEncoder(AutoEncoder):
    """Keeps the k coordinates of an activation, in a given basis, that are farthest from their mean.

    It is no dictionary: there are as many directions as dimensions. It only takes an autoencoder's place in `evaluate`.
    """

    def __init__(self, mean: Float[Tensor, "d"], basis: Float[Tensor, "n d"], k: int) -> None:
        super().__init__(AutoEncoderConfig(1, len(mean), len(basis)))
        self.k = k
        with torch.no_grad():
            self.b_dec[0] = mean
            self.W_enc[0] = basis.T
            self.W_dec[0] = basis

    def activation(self, pre_acts: Tensor) -> Tensor:
        """Return the k coordinates of largest size, of either sign."""
        largest = pre_acts.abs().topk(self.k, dim=-1).indices
        return torch.zeros_like(pre_acts).scatter(-1, largest, pre_acts.gather(-1, largest))


def bases(acts: Float[Tensor, "tokens d"]) -> dict[str, Float[Tensor, "n d"]]:
    """Return the neurons themselves and the principal components, as rows."""
    _, _, components = torch.linalg.svd(acts - acts.mean(dim=0), full_matrices=False)
    return {"neurons": torch.eye(acts.shape[1]), "principal components": components}


def measure(autoencoder: AutoEncoder, kind: str, setting: float, model, tokens) -> FrontierPoint:  # type: ignore[no-untyped-def]
    """Evaluate one autoencoder on held-out text."""
    result = evaluate(tokens, model, autoencoder.eval())
    return FrontierPoint(
        kind, setting, result.l0[0], result.fvu[0], result.recovered_from_mean[0], result.dead[0]
    )


def mean_of(found: list[FrontierPoint]) -> FrontierPoint:
    """Return the mean of what the seeds of one setting gave, with how far apart they lie."""
    fvu = [point.fvu for point in found]
    means = {
        name: fmean(getattr(point, name) for point in found) for name in ("l0", "fvu", "recovered", "dead")
    }
    return FrontierPoint(found[0].kind, found[0].setting, **means, fvu_spread=max(fvu) - min(fvu))


def points(training: TrainingOfOnePoint, rows: int) -> Iterator[tuple[str, Callable[[], FrontierPoint]]]:
    """Yield each point's name and what computes it."""
    model = load_language_model()
    tokens, held_out = load_tokens("train").tokens, load_tokens("held_out").tokens[:rows]
    for kind, settings in SETTINGS.items():
        for setting in settings:

            def point(kind: str = kind, setting: float = setting) -> FrontierPoint:
                budgets = [replace(training, seed=seed) for seed in SEEDS]
                trained = [train_one_point(kind, setting, tokens, model, budget) for budget in budgets]
                return mean_of([measure(each, kind, setting, model, held_out) for each in trained])

            yield f"{kind} {setting}", point
    sample = flatten_activations(get_activations(tokens[:256], model))
    for name, basis in bases(sample).items():
        for k in L0S:
            stand_in = WithoutAutoEncoder(sample.mean(dim=0), basis, k)

            def kept(stand_in: AutoEncoder = stand_in, name: str = name, k: int = k) -> FrontierPoint:
                # Components of either sign count, which `acts > 0` would not.
                return FrontierPoint(
                    **{**asdict(measure(stand_in, name, k, model, held_out)), "l0": float(k), "dead": 0.0}
                )

            yield f"{name} {k}", kept


def run(training: TrainingOfOnePoint, run_dir: Path, rows: int) -> Iterator[FrontierPoint]:
    """Yield every point, computing those that `run_dir` does not hold yet.

    Args:
        training: the budget of each autoencoder.
        run_dir: where each point is kept; one for each budget.
        rows: held-out rows to measure on.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    for name, compute in points(training, rows):
        path = run_dir / f"{name.replace(' ', '_')}.json"
        if not path.exists():
            write_atomically(path, json.dumps(asdict(compute())) + "\n")
        yield FrontierPoint(**json.loads(path.read_text(encoding="utf-8")))


def ship(training: TrainingOfOnePoint, found: list[FrontierPoint]) -> None:
    """Write the points into the box, and their checksum into its manifest."""
    contents = {"training": asdict(training), "points": [asdict(point) for point in found]}
    write_atomically(FRONTIER, json.dumps(contents, indent=1) + "\n")
    write_manifest(DATA)
