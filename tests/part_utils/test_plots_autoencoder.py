"""Figures and explorer of the autoencoder: right data, described in words, and nothing changed on the way."""

import copy
import json

import plotly.graph_objects as go
import pytest
import torch

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.hidden_states import hidden_states
from part_utils.plots.autoencoder import (
    animate_directions,
    frame_records,
    plot_directions_2d,
    plot_encoder_decoder_similarity,
    plot_encoder_tilt,
    plot_feature_similarity,
    plot_firing_rates,
    plot_norms_over_training,
    plot_recovery,
    plot_sweep,
    plot_training_curves,
    resampling_events,
    silent_latents,
)
from part_utils.recovery import Recovery, model_with_directions, train_and_measure
from part_utils.toy_model import ToyModel
from part_utils.training import TrainingLog
from part_utils.widgets.autoencoder import autoencoder_at, autoencoder_explorer

Trained = tuple[ToyModel, torch.Tensor, AutoEncoder, TrainingLog, Recovery]


@pytest.fixture(scope="module")
def trained() -> Trained:
    torch.manual_seed(0)
    model = model_with_directions([10, 82, 154, 226, 298], 0.05, n_instances=3)
    h = hidden_states(model, model.generate_batch(2_000)).detach()
    result, autoencoder, log = train_and_measure(model, 0.25, seeds=1, steps=600, progress=False)
    return model, h, autoencoder, log, result


def figures(trained: Trained) -> dict[str, go.Figure]:
    model, h, autoencoder, log, result = trained
    lengths = [1.0] * len(log.steps)
    return {
        "training curves": plot_training_curves(log, log, names=["a", "b"], title="t"),
        "firing rates": plot_firing_rates(log, (0, 2), until=300),
        "directions": plot_directions_2d(autoencoder, model=model, h=h),
        "tilt": plot_encoder_tilt(model, autoencoder, instance=1, latent=2),
        "similarity": plot_feature_similarity(model, autoencoder),
        "encoder and decoder": plot_encoder_decoder_similarity(
            autoencoder, firing_rates=log["frac_active"][-1]
        ),
        "sweep": plot_sweep([result, result], x_title="l1_coeff", log_x=True),
        "recovery": plot_recovery([result]),
        "norms": plot_norms_over_training({"a": log}, {"a": lengths}),
        "animation": animate_directions(log, model=model, h=h, instances=(0, 2), max_frames=12),
    }


def test_every_figure_is_described_light_and_leaves_its_inputs_alone(trained: Trained) -> None:
    model, h, autoencoder, log, _ = trained
    tensors = [*model.parameters(), *autoencoder.parameters(), h, *log["W_dec"], *log["frac_active"]]
    before = [tensor.detach().clone() for tensor in tensors]
    for name, figure in figures(trained).items():
        assert isinstance(figure, go.Figure), name
        assert len(figure.layout.meta["alt"]) > 40, name
        assert figure.layout.width <= 1000, name
        assert figure.layout.paper_bgcolor is None or "rgba(0,0,0,0)" in figure.layout.paper_bgcolor, name
        assert len(json.dumps(figure.to_plotly_json(), default=list)) < 400_000, name
    for tensor, old in zip(tensors, before, strict=True):
        assert torch.equal(tensor, old)


def test_events_are_where_the_counts_rise(trained: Trained) -> None:
    log = trained[3]
    events = resampling_events(log)
    assert sum(int(replaced.sum()) for _, replaced in events) > 0
    assert all(step in log.steps for step, _ in events)
    marks = [t for t in plot_firing_rates(log, (0, 1, 2)).data if t.mode == "markers"]
    assert sum(len(t.x) for t in marks) == sum(int(replaced.sum()) for _, replaced in events)


def test_directions_show_unit_decoder_rows(trained: Trained) -> None:
    model, _, autoencoder, _, _ = trained
    figure = plot_directions_2d(autoencoder, model=model, instances=[1], encoder=False)
    arrows = [t for t in figure.data if t.name and "decoder" in t.name and t.x[-1] is not None]
    ends = torch.tensor([[t.x[1], t.y[1]] for t in arrows])
    expected = autoencoder.normalize_and_return_W_dec()[1].detach()
    torch.testing.assert_close(ends, expected, rtol=0, atol=1e-3)


def test_silent_latents_are_pale_and_dotted(trained: Trained) -> None:
    model, h, autoencoder, _, _ = trained
    autoencoder = copy.deepcopy(autoencoder)
    with torch.no_grad():
        autoencoder.b_enc[1, 3] = -100
    assert silent_latents(autoencoder, h)[1, 3]
    fired = (autoencoder(h).acts > 0).any(dim=0)[1].tolist()
    figure = plot_directions_2d(autoencoder, model=model, h=h, instances=[1])
    for latent, its_fired in enumerate(fired):
        arrow = next(t for t in figure.data if (t.name or "").startswith(f"latent {latent}, decoder"))
        encoder = next(t for t in figure.data if (t.hovertext or "").startswith(f"latent {latent}, encoder"))
        assert (arrow.line.dash == "solid") == (arrow.opacity == encoder.opacity == 1) == its_fired
        assert ("never fires" in arrow.name) == (not its_fired)
    assert "never fires" in [t.name for t in figure.data if t.showlegend is not False]
    assert f"never fire, drawn pale: {fired.count(False)}." in figure.layout.meta["alt"]

    unknown = plot_directions_2d(autoencoder, model=model, instances=[1])
    assert {t.opacity for t in unknown.data if t.name and "decoder" in t.name} == {1}
    assert "never fire" not in unknown.to_json()


def test_cosines_of_one_are_in_the_bar_that_ends_at_one() -> None:
    autoencoder = AutoEncoder(AutoEncoderConfig(1, 2, 3))
    with torch.no_grad():
        autoencoder.W_dec.copy_(torch.tensor([[[0.6, 0.8], [0.6, 0.8], [1.0, 0.0]]]))
        autoencoder.W_enc.copy_(torch.tensor([[[0.6, -0.6, 0.0], [0.8, -0.8, 1.0]]]))
    (bars,) = plot_encoder_decoder_similarity(autoencoder).data
    ends = [(x - width / 2, x + width / 2) for x, width in zip(bars.x, bars.width, strict=True)]
    assert ends[0][0] == pytest.approx(-1)
    assert ends[-1][1] == pytest.approx(1)
    assert (bars.y[0], bars.y[20], bars.y[-1], sum(bars.y)) == (1, 1, 1, 3)


def test_tilt_shows_what_the_latent_answers(trained: Trained) -> None:
    model, _, autoencoder, _, _ = trained
    figure = plot_encoder_tilt(model, autoencoder, instance=1, latent=2)
    bars = next(t for t in figure.data if t.name == "trained encoder")
    inputs = model.W[1].detach().T.unsqueeze(1).repeat(1, 3, 1)
    expected = autoencoder(inputs).acts[:, 1, 2].detach()
    torch.testing.assert_close(torch.tensor(bars.y), expected, rtol=0, atol=1e-3)


def test_animation_has_a_frame_for_every_slider_step(trained: Trained) -> None:
    model, _, _, log, _ = trained
    figure = animate_directions(log, model=model, max_frames=15, until=400)
    names = [frame.name for frame in figure.frames]
    assert names == [step.label for step in figure.layout.sliders[0].steps]
    assert len(names) <= 15
    assert int(names[0]) == 0
    assert 350 < int(names[-1]) <= 400
    assert frame_records(log, 1_000) == list(range(len(log.steps)))
    for frame in figure.frames:
        assert len(frame.data) == len(frame.traces)
    # A page where nothing can be played shows the end; every latent has its color.
    assert figure.layout.sliders[0].active == len(figure.frames) - 1
    moving = [figure.data[number] for number in figure.frames[-1].traces]
    assert [(t.x, t.y) for t in moving] == [(t.x, t.y) for t in figure.frames[-1].data]
    colors = [t.line.color for t in moving[:5]]
    assert colors == [t.marker.color for t in moving[:5]]
    assert len(set(colors)) == 5


def test_rings_are_where_latents_were_resampled(trained: Trained) -> None:
    log = trained[3]
    frames = animate_directions(log, instances=[1], max_frames=1_000).frames
    n_latents = log["W_dec"][0].shape[1]
    fresh = {step: replaced[1].tolist() for step, replaced in resampling_events(log)}
    for frame in frames:
        rings = frame.data[-1]
        # As many places in each frame: after an empty list Plotly would leave the rings of the last frame.
        assert len(rings.x) == n_latents
        assert [x is not None for x in rings.x] == fresh.get(int(frame.name), [False] * n_latents)
    assert any(map(any, fresh.values()))


def test_explorer(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    model, h, autoencoder, log, _ = trained
    torch.testing.assert_close(autoencoder_at(log, -1)(h).h_reconstructed, autoencoder(h).h_reconstructed)
    monkeypatch.setenv("COURSE_STATIC", "1")
    figure = autoencoder_explorer(model, log)
    assert isinstance(figure, go.Figure)
    assert "step 599" in figure.layout.title.text
    monkeypatch.delenv("COURSE_STATIC")
    box = autoencoder_explorer(model, log, h)
    instance, step, _ = box.children
    instance.value = 2
    step.value = 0
    with pytest.raises(ValueError, match="the model that the autoencoder was trained on"):
        autoencoder_explorer(model_with_directions([0, 90], 0.1), log)


def test_plots_say_what_is_wrong(trained: Trained) -> None:
    log = trained[3]
    with pytest.raises(ValueError, match="at least one training log"):
        plot_training_curves()
    with pytest.raises(ValueError, match="no instance 7"):
        plot_firing_rates(log, [7])
    with pytest.raises(ValueError, match="one name each"):
        plot_training_curves(log, names=["a", "b"])
