"""Figures of autoencoders on a language model: right data, described in words, and nothing changed on the way."""

import json

import plotly.graph_objects as go
import pytest
import torch

from part_utils.evaluation import SubstitutionLoss, log_frequency_histogram
from part_utils.neuron_counts import NeuronCount
from part_utils.plots.language_model import (
    LATENTS_PER_BAR,
    plot_direction_similarity,
    plot_effect_by_token,
    plot_log_frequency,
    plot_loss_along_lines,
    plot_neuron_counts,
    plot_prediction_change,
    plot_reconstruction,
    plot_small_example,
    plot_substitution_loss,
    token_label,
)


def small_example() -> torch.Tensor:
    fired = torch.zeros(10, 5, dtype=torch.bool)
    for latent, places in enumerate(([2], [7], [0, 1, 4, 8], [1, 3, 6, 9], [0, 5, 6, 8])):
        fired[places, latent] = True
    return fired


def firing_rates() -> torch.Tensor:
    rates = 10 ** -torch.linspace(0.5, 4.5, 211)
    rates[::10] = 0
    return rates[torch.randperm(211, generator=torch.Generator().manual_seed(0))]


def figures() -> dict[str, go.Figure]:
    generator = torch.Generator().manual_seed(0)
    cosines = torch.rand(31, generator=generator) * 2 - 1
    h = torch.randn(13, generator=generator)
    losses = SubstitutionLoss(*(torch.tensor(value) for value in (3.0, 3.1, 5.0, 4.0, 0.95)))
    line = [0.1, 0.5, 0.2]
    logits = torch.randn(2, 17, generator=generator)
    return {
        "small example": plot_small_example(small_example(), title="t"),
        "log frequency": plot_log_frequency(firing_rates(), names={3: "a <b>"}, groups={"rare": (0, 1e-3)}),
        "direction similarity": plot_direction_similarity(cosines[:7], cosines, title="t"),
        "reconstruction": plot_reconstruction(h, 0.9 * h),
        "lines": plot_loss_along_lines([0, 0.5, 1], {"a to b": line}, {"c to d": line, "c to e": line}),
        "substitution": plot_substitution_loss(losses),
        "prediction": plot_prediction_change(logits[0], logits[1], [f" w{i}\n" for i in range(17)]),
        "neuron counts": plot_neuron_counts(
            [NeuronCount(n, seed, 8, 3.0, 3.4, 0.9 + n / 1e4, 0.8, 0.5) for n in (32, 64) for seed in (0, 1)]
        ),
        "effect": plot_effect_by_token(["a", " <b>", "\n"], {"one": torch.rand(3), "two": torch.zeros(3)}),
    }


def test_every_figure_is_described_and_light() -> None:
    for name, figure in figures().items():
        assert isinstance(figure, go.Figure), name
        assert len(figure.layout.meta["alt"]) > 40, name
        assert figure.layout.width <= 1000, name
        assert len(json.dumps(figure.to_plotly_json(), default=list)) < 60_000, name


def test_nothing_is_changed() -> None:
    rates, fired = firing_rates(), small_example()
    before = rates.clone()
    plot_log_frequency(rates)
    plot_small_example(fired)
    plot_direction_similarity(rates[:5], rates)
    assert torch.equal(rates, before)
    assert torch.equal(fired, small_example())


def test_the_small_example_has_a_box_for_every_latent() -> None:
    figure = plot_small_example(small_example())
    boxes = [trace for trace in figure.data if trace.type == "bar"]
    assert [box.text[0] for box in boxes] == list("ABCDE")
    assert [(box.x[0], box.base[0]) for box in boxes] == [
        (-1.0, 0),
        (-1.0, 1),
        (-0.4, 0),
        (-0.4, 1),
        (-0.4, 2),
    ]
    with pytest.raises(ValueError, match="no logarithm"):
        plot_small_example(torch.zeros(3, 2, dtype=torch.bool))


def test_pointing_at_a_bar_lists_its_latents() -> None:
    rates = firing_rates()
    names = {int((rates > 0).nonzero()[0]): "the <one>"}
    bars = plot_log_frequency(rates, n_bins=11, names=names).data[0]
    counts, edges, n_dead = log_frequency_histogram(rates, 11)
    assert list(bars.y) == counts.tolist()
    assert sum(bars.y) + n_dead == len(rates)
    named = [text for text in bars.customdata if "the &lt;one&gt;" in text]
    assert len(named) == 1
    for index, text in enumerate(bars.customdata):
        assert text.startswith(f"<b>{counts[index]} latents</b>")
        listed = [
            int(line.split()[1].rstrip(":")) for line in text.split("<br>") if line.startswith("latent")
        ]
        assert len(listed) == min(int(counts[index]), LATENTS_PER_BAR)
        for latent in listed:
            assert edges[index] - 1e-5 <= rates[latent].log10() <= edges[index + 1] + 1e-5


def test_both_histograms_are_shares_of_their_own_group() -> None:
    cosines = torch.linspace(-0.99, 0.99, 100)
    figure = plot_direction_similarity(cosines[90:], cosines)
    for trace in figure.data:
        assert sum(trace.y) == pytest.approx(100, abs=0.5)


def test_recovered_is_written_for_both_baselines() -> None:
    texts = [note.text for note in figures()["substitution"].layout.annotations]
    assert texts == ["recovered: 90.0%", "recovered: 95.0%"]


def test_labels_of_tokens_can_be_seen_and_are_no_html() -> None:
    assert token_label(" a\n") == "·a⏎"
    assert token_label("<b>") == "&lt;b&gt;"
    assert token_label("") == "∅"


def test_all_latents_dead() -> None:
    figure = plot_log_frequency(torch.zeros(7))
    assert "7 latents never fire" in figure.layout.meta["alt"]
