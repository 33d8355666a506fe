"""Probes, thresholds, the error's predictable part, detection and the frozen decoder."""

import pytest
import torch

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.dark_matter import error_r2
from part_utils.detection import detection_score
from part_utils.probes import (
    best_latent_for,
    best_thresholds,
    difference_of_means,
    logistic_probe,
    probe_f1,
)
from part_utils.random_dictionaries import freeze_decoder


def f1_of(labels: torch.Tensor, said: torch.Tensor) -> float:
    hits = sum(a and b for a, b in zip(labels.tolist(), said.tolist(), strict=True))
    precision = hits / max(said.sum().item(), 1)
    recall = hits / max(labels.sum().item(), 1)
    return 2 * precision * recall / max(precision + recall, 1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_that_of_trying_all(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(40, 3, generator=generator).mul(2).round() / 2
    labels = torch.rand(40, generator=generator) < 0.3
    found = best_thresholds(scores, labels)
    for column in range(3):
        each = {t: f1_of(labels, scores[:, column] >= t) for t in scores[:, column].unique().tolist()}
        assert found.f1[column] == pytest.approx(max(each.values()))
        assert each[found.thresholds[column].item()] == pytest.approx(max(each.values()))


def test_f1_is_that_of_the_threshold_of_the_other_text() -> None:
    scores, labels = torch.tensor([0.1, 0.4, 0.6, 0.9]), torch.tensor([False, False, True, True])
    assert probe_f1(scores, labels, torch.tensor([0.5, 0.7, 0.65]), torch.tensor([True, True, False])) == 0.5
    assert probe_f1(scores, labels, torch.tensor([0.5]), torch.tensor([False])) == 0


def test_a_latent_of_the_topic_is_found_among_others() -> None:
    torch.manual_seed(0)
    labels = torch.rand(300) < 0.2
    acts = (torch.randn(300, 17) - 1).relu()
    acts[:, 5] = torch.where(labels, 0.01, 0.0)
    acts[:, 8] = 100.0
    acts[:, 9] = 0.0
    assert best_latent_for(acts, labels) == 5


def test_the_probe_finds_the_direction_that_the_labels_were_made_with() -> None:
    torch.manual_seed(0)
    h = torch.randn(400, 7) * torch.tensor([1, 5, 0.1, 1, 1, 2, 1]) + 3
    labels = h[:, 0] - 20 * h[:, 2] > 3 - 60
    direction, bias = logistic_probe(h, labels)
    assert ((h @ direction + bias > 0) == labels).float().mean() > 0.99
    assert direction[2] / direction[0] == pytest.approx(-20, rel=0.2)
    assert difference_of_means(h, labels) @ direction > 0


@pytest.mark.parametrize("seed", range(3))
def test_r2_is_that_of_the_library_and_on_held_out_text(seed: int) -> None:
    torch.manual_seed(seed)
    h, held = torch.randn(200, 5) + 2, torch.randn(70, 5) + 1
    A, c = torch.randn(5, 3), torch.randn(3)
    error, error_held = h @ A + c + torch.randn(200, 3), held @ A + c + torch.randn(70, 3)
    found = error_r2(h, error, held, error_held)
    with_one = torch.cat([h, torch.ones(200, 1)], 1)
    solution = torch.linalg.pinv(with_one) @ error
    predicted = torch.cat([held, torch.ones(70, 1)], 1) @ solution
    # All dimensions together, so that one with more variance counts more.
    left = ((error_held - predicted) ** 2).sum(dim=0)
    variance = error_held.var(dim=0, unbiased=False) * len(held)
    expected = ((1 - left / variance) * variance).sum() / variance.sum()
    assert found == pytest.approx(expected.item(), abs=1e-4)


def test_detection_is_balanced_over_contexts() -> None:
    firing = [(["a", "x"], "p"), (["x", "a", "a"], "p")]
    silent = [(["b"], "p"), (["a", "c"], "p"), (["c"], "p"), (["c", "c"], "p")]
    assert detection_score(lambda words, label: words[-1] == "a", firing, silent) == (1 + 0.75) / 2
    assert detection_score(lambda words, label: len(words) == 3, firing, silent) == (0.5 + 1) / 2
    assert detection_score(lambda words, label: True, firing, silent) == 0.5


def test_a_frozen_decoder_stays_and_the_rest_learns() -> None:
    torch.manual_seed(0)
    autoencoder = AutoEncoder(AutoEncoderConfig(2, 7, 13, 0.01))
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=0.1)
    h = torch.randn(50, 2, 7)
    autoencoder(h).loss.backward()
    optimizer.step()
    before = autoencoder.W_dec.detach().clone()
    freeze_decoder(autoencoder)
    frozen, W_enc = autoencoder.W_dec.clone(), autoencoder.W_enc.detach().clone()
    torch.testing.assert_close(frozen.norm(dim=-1), torch.ones(2, 13))
    assert (frozen * before).sum(dim=-1).abs().mean() < 0.6
    for _ in range(3):
        autoencoder(h).loss.backward()
        optimizer.step()
    assert torch.equal(autoencoder.W_dec, frozen)
    assert not torch.equal(autoencoder.W_enc, W_enc)
