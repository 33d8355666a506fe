"""Models with few and many neurons: a run goes on where it was, and what is in the box says what is told."""

from pathlib import Path

import pytest

from part_utils.neuron_counts import load_neuron_counts
from pretraining import neuron_counts


@pytest.mark.slow
def test_a_run_measures_each_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(neuron_counts, "COUNTS", (12,))
    monkeypatch.setattr(neuron_counts, "SEEDS", range(2))
    monkeypatch.setattr(neuron_counts, "HELD_OUT_ROWS", 2)
    first = list(neuron_counts.run(tmp_path, steps=1, sae_steps=1))
    assert [(one.n_neurons, one.seed, one.k) for one in first] == [(12, 0, 8), (12, 1, 8)]
    assert first[0].loss == first[1].loss
    assert first[0].recovered != first[1].recovered
    monkeypatch.setattr(neuron_counts, "train_one_point", None)
    monkeypatch.setattr(neuron_counts, "train_language_model", None)
    assert list(neuron_counts.run(tmp_path, steps=1, sae_steps=1)) == first


def test_the_autoencoder_is_ahead_at_every_number_of_neurons_and_not_more_with_fewer() -> None:
    points = load_neuron_counts()
    counts = sorted({point.n_neurons for point in points})
    assert len(points) == 3 * len(counts)
    gains = {
        n: [point.recovered - point.recovered_by_neurons for point in points if point.n_neurons == n]
        for n in counts
    }
    assert min(min(some) for some in gains.values()) > 0.05
    means = [sum(some) / len(some) for some in gains.values()]
    assert means != sorted(means, reverse=True)
    assert max(means) - min(means) < 0.08


def test_more_neurons_do_more() -> None:
    points = {point.n_neurons: point for point in load_neuron_counts()}
    worth = [points[n].loss_mean_ablated - points[n].loss for n in sorted(points)]
    assert worth == sorted(worth)
    assert worth[-1] > 4 * worth[0]
