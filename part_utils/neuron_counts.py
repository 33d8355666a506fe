"""How much more an autoencoder says than as many neurons, in small language models that differ in their number."""

import json
from dataclasses import dataclass

from part_utils.bundled_files import DATA, bundled_file

NEURON_COUNTS = DATA / "neuron_counts.json"


@dataclass(frozen=True)
class NeuronCount:
    """One small language model, and one TopK autoencoder on its MLP, on held-out text."""

    n_neurons: int
    """How many neurons the MLP has."""
    seed: int
    """The autoencoder's seed; there is one model for each number of neurons."""
    k: int
    """How many latents fire, and how many neurons are kept."""
    loss: float
    """The model's own cross-entropy, in nats per token."""
    loss_mean_ablated: float
    """The same with every neuron at its mean."""
    recovered: float
    """Share of the cross-entropy that the autoencoder recovers; 0 is every neuron at its mean."""
    recovered_by_neurons: float
    """What the k neurons farthest from their mean recover."""
    copies_share: float
    """The share of what fires that are latents which copy a neuron."""


def load_neuron_counts() -> list[NeuronCount]:
    """Return the measurements that are in the box (`python -m pretraining.neuron_counts --ship` makes them)."""
    shipped = json.loads(bundled_file(NEURON_COUNTS.name).read_text(encoding="utf-8"))
    return [NeuronCount(**point) for point in shipped]
