"""An autoencoder at one place of a model of many blocks: activations without sinks, resumed, trained, measured."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformer_lens.model_bridge import TransformerBridge
from typer.testing import CliRunner

from coursekit.commands import pretraining as commands
from part_utils import deep_models, language_models
from part_utils.deep_models import evaluate_place, read_place, splice
from part_utils.formats.ours import save_autoencoder
from part_utils.formats.recognize import load
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.texts import TokenizedText
from pretraining import deep_autoencoders, own_text, place_runs
from pretraining.deep_autoencoders import StreamedBatches, start_of, stored_activations, train_at
from pretraining.metrics import output_metric
from pretraining.own_text import HELD_OUT_ROWS, read_written, training_text, write_text
from pretraining.run import Processes
from pretraining.shipping import as_autoencoder
from pretraining.sparse_training import SparseTrainingConfig, Weights, first_weights
from tests.small_language_model import CFG

PLACE, NEURONS = "blocks.1.hook_out", "blocks.1.mlp.hook_post"


@pytest.fixture
def model() -> TransformerBridge:
    model = TransformerBridge.boot_native({**CFG, "n_layers": 3})
    with torch.no_grad():
        model.embed.weight[0] *= 300  # BOS is a sink
    return model


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    monkeypatch.setattr(deep_autoencoders, "PIECE_ROWS", 20)
    monkeypatch.setattr(deep_autoencoders, "USED", 0.8)
    tokens = torch.randint(1, 31, (70, 8), generator=torch.Generator().manual_seed(1))
    tokens[:, 0] = 0
    tokens[5, 4] = 0
    return tokens


TOPK = SparseTrainingConfig("topk", 150, batch_size=64, n_hidden_ae=40, k=3, lr=1e-2)


@pytest.mark.parametrize(("hook", "size"), [(PLACE, 10), (NEURONS, 14)])
def test_batches_are_activations_of_the_text_without_sinks(model, tokens, hook: str, size: int) -> None:  # type: ignore[no-untyped-def]
    read = partial(read_place, model, hook=hook)
    batches = StreamedBatches(read, tokens, TOPK, Processes("cpu"))
    _, cache = model.run_with_cache(tokens)
    wanted = {tuple(row) for row in cache[hook][tokens != 0].tolist()}
    assert batches.sample.shape == (70 * 7 - 1, size)
    for epoch in range(2):
        # Three pieces of 20 rows, with two batches of 64 in each: no activation twice in an epoch.
        seen = torch.cat([batches(step) for step in range(6 * epoch, 6 * epoch + 6)])
        assert seen.shape == (6 * 64, size)
        assert {tuple(row) for row in seen.tolist()} <= wanted
    assert torch.equal(batches(3), StreamedBatches(read, tokens, TOPK, Processes("cpu"))(3))


def test_what_cannot_be_trained_on_is_said(model, tokens) -> None:  # type: ignore[no-untyped-def]
    read = partial(read_place, model, hook=PLACE)
    with pytest.raises(ValueError, match="too few for one batch of 64"):
        StreamedBatches(read, tokens[:9], TOPK, Processes("cpu"))
    mostly_sinks = tokens.clone()
    mostly_sinks[20:, 1:4] = 0
    batches = StreamedBatches(read, mostly_sinks, TOPK, Processes("cpu"))
    for step in range(6):
        with pytest.raises(ValueError, match="of this text are sinks"):
            batches(step)


def test_trained_resumed_and_measured(model, tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    read = partial(read_place, model, hook=PLACE)
    trained = train_at(read, tokens, tmp_path / "a", TOPK, threshold_steps=60, progress=False)
    again = train_at(read, tokens, tmp_path / "a", TOPK, threshold_steps=60, progress=False)
    assert torch.equal(again.decoder, trained.decoder)
    for other_tokens, cfg in ((tokens, replace(TOPK, k=4)), (tokens[:50], TOPK)):
        with pytest.raises(ValueError, match="made with other settings or another text"):
            train_at(read, other_tokens, tmp_path / "a", cfg, threshold_steps=60, progress=False)

    reads = []

    def stops(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        reads.append(1)
        if len(reads) == 130:
            raise KeyboardInterrupt
        return read(rows)

    options = {"threshold_steps": 60, "checkpoint_every": 25, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        train_at(stops, tokens, tmp_path / "b", TOPK, **options)
    assert (tmp_path / "b" / "topk" / "checkpoint.pt").exists()
    with pytest.raises(ValueError, match="made with other settings"):
        train_at(read, tokens, tmp_path / "b", TOPK, described={"output_share": 0.5}, **options)
    resumed = train_at(read, tokens, tmp_path / "b", TOPK, **options)
    torch.testing.assert_close(resumed.decoder, trained.decoder)

    autoencoder = as_autoencoder([trained])
    found = evaluate_place(ModelWithAutoencoder(model, autoencoder, hook=PLACE), tokens, PLACE)
    # Sinks are 71 of the 560 positions.
    assert found.kept == pytest.approx(1 - 71 / 560)
    assert found.l0 == pytest.approx(3, rel=0.15)
    assert found.fvu < 0.5
    _, cache = model.run_with_cache(tokens)
    keep = tokens != 0
    h = cache[PLACE]
    rebuilt = splice(h, None, autoencoder, keep)
    assert found.fvu == pytest.approx(deep_models.fvu_without_sinks(h, rebuilt, keep).item(), rel=1e-4)
    loss = model.run_with_hooks(tokens, return_type="loss", fwd_hooks=[(PLACE, lambda value, hook: rebuilt)])
    assert found.loss_rebuilt == pytest.approx(loss.item(), rel=1e-4)
    assert found.loss_clean == pytest.approx(model(tokens, return_type="loss").item(), rel=1e-4)


def test_stored_activations_are_read_once(model, tokens, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    read = partial(read_place, model, hook=PLACE)
    path = tmp_path / "activations.bin"
    stored = stored_activations(read, tokens, path, Processes("cpu"), progress=False)
    _, cache = model.run_with_cache(tokens)
    torch.testing.assert_close(stored.float(), cache[PLACE][tokens != 0], atol=1e-2, rtol=1e-3)
    again = stored_activations(None, tokens, path, Processes("cpu"))  # type: ignore[arg-type]
    assert torch.equal(again, stored)
    with pytest.raises(ValueError, match="holds the activations of another text"):
        stored_activations(read, tokens[:40], path, Processes("cpu"))


def test_activations_that_do_not_fit_on_the_disk(
    model, tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 0, 9))
    read = partial(read_place, model, hook=PLACE)
    with pytest.raises(ValueError, match="fewer --max-rows, or leave --store out"):
        stored_activations(read, tokens, tmp_path / "activations.bin", Processes("cpu"))


def unexplained(weights: Weights, acts: torch.Tensor, W_out: torch.Tensor) -> tuple[float, float]:
    """Of the neurons, and of what they write."""
    autoencoder = as_autoencoder([weights])
    left = acts - autoencoder(acts[:, None]).h_reconstructed[:, 0].detach()
    centered = acts - acts.mean(0)
    found = [
        part.pow(2).sum() / whole.pow(2).sum()
        for part, whole in ((left, centered), (left @ W_out, centered @ W_out))
    ]
    return found[0].item(), found[1].item()


def test_an_error_of_what_the_mlp_writes(model, tokens, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    read = partial(read_place, model, hook=NEURONS)
    _, cache = model.run_with_cache(tokens)
    acts = cache[NEURONS][tokens != 0]
    W_out = model.blocks[1].mlp.W_out.detach() * torch.linspace(0, 3, 14)[:, None]
    trained = [
        train_at(
            read, tokens, tmp_path / str(share), TOPK, threshold_steps=60, progress=False,
            metric=partial(output_metric, W_out, share=share), store=tmp_path / "activations.bin",
        )
        for share in (0.0, 0.9)
    ]  # fmt: skip
    plain, output = (unexplained(weights, acts, W_out) for weights in trained)
    assert output[1] < 0.8 * plain[1]
    assert plain[0] < output[0]
    for weights in trained:
        torch.testing.assert_close(weights.decoder.norm(dim=1), torch.ones(40))


def test_a_metric_keeps_what_an_autoencoder_computes() -> None:
    torch.manual_seed(0)
    acts, W_out = torch.randn(50, 9) + 1, torch.randn(9, 4)
    metric = output_metric(W_out, acts, 0.6)
    weights = first_weights(acts, 20, seed=0)
    weights.threshold += 0.2
    weights.b_enc += 0.1 * torch.randn(20)
    there = metric.weights_for_coordinates(weights)
    torch.testing.assert_close(there.decoder.norm(dim=1), torch.ones(20))
    rebuilt = as_autoencoder([weights])(acts[:, None]).h_reconstructed[:, 0]
    rebuilt_there = as_autoencoder([there])((acts @ metric.there)[:, None]).h_reconstructed[:, 0]
    torch.testing.assert_close(rebuilt @ metric.there, rebuilt_there, atol=1e-4, rtol=1e-4)
    back = metric.weights_for_activations(there)
    for found, given in zip(back.tensors(), weights.tensors(), strict=True):
        torch.testing.assert_close(found, given, atol=1e-4, rtol=1e-4)
    # A difference is as long as its shares of both variances say, up to one factor.
    d, centered = torch.randn(30, 9), acts - acts.mean(0)
    wanted = (
        0.4 * d.pow(2).sum(1) / centered.pow(2).sum()
        + 0.6 * (d @ W_out).pow(2).sum(1) / (centered @ W_out).pow(2).sum()
    )
    ratio = (d @ metric.there).pow(2).sum(1) / wanted
    torch.testing.assert_close(ratio, ratio.mean().expand(30), atol=0, rtol=1e-3)


def test_a_training_goes_on_from_an_autoencoder_without_its_copies(tmp_path: Path) -> None:
    weights = first_weights(torch.zeros(5, 14), 40, seed=0)
    weights.decoder[3] = weights.encoder[3] = torch.eye(14)[6]
    autoencoder = as_autoencoder([weights])
    autoencoder.hook = NEURONS
    path = tmp_path / "autoencoder.safetensors"
    save_autoencoder(autoencoder, path)
    begun = start_of(str(path), 0, NEURONS, TOPK)
    assert begun is not None
    for found, given in zip(begun.tensors(), weights.tensors(), strict=True):
        torch.testing.assert_close(found, given)
    drawn = start_of(str(path), 0, NEURONS, TOPK, without=True)
    assert drawn is not None
    changed = (drawn.decoder - weights.decoder).norm(dim=1) > 1e-3
    assert changed[3]
    assert changed.sum() == (weights.decoder.abs().amax(dim=1) ** 2 > 0.5).sum()
    assert drawn.decoder[3].abs().max() ** 2 < 0.5
    for options, said in (
        ((str(path), 0, PLACE, TOPK), "is of blocks.1.mlp.hook_post, not of blocks.1.hook_out"),
        ((str(path), 1, NEURONS, TOPK), "instance 1 with 40 is asked for"),
        ((str(path), 0, NEURONS, replace(TOPK, n_hidden_ae=41)), "instance 0 with 41 is asked for"),
        ((None, 0, NEURONS, TOPK, True), "name it with --start"),
    ):
        with pytest.raises(ValueError, match=said):
            start_of(*options)


def test_the_command_trains_and_says_how_good_it_is(
    model, tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    text = TokenizedText(tokens, torch.zeros_like(tokens), ("some",))
    monkeypatch.setattr(language_models, "load_language_model", lambda name, device, dtype: model)
    monkeypatch.setattr(place_runs, "load_tokens", lambda split, model: text)
    monkeypatch.setattr(own_text, "load_tokens", lambda split, model: text)
    options = [
        "--corpus",
        str(tmp_path / "none"),
        "--run-dir",
        str(tmp_path),
        "--n-hidden-ae",
        "30",
        "--k",
        "2",
        "--batch-size",
        "64",
        "--topk-steps",
        "9",
        "--threshold-steps",
        "4",
    ]
    place = ["--model", "tiny", "--hook", PLACE]
    result = CliRunner().invoke(commands.app, ["train-sae", *place, *options, "--no-progress"])
    assert result.exit_code == 0, result.output
    assert "B on held-out text without sinks: FVU" in result.output
    assert load(tmp_path / "tiny" / PLACE / "autoencoder.safetensors").cfg.n_instances == 2
    neurons = tmp_path / "tiny" / NEURONS
    first = ["train-sae", "--model", "tiny", "--hook", NEURONS, *options, "--no-progress", "--store"]
    assert CliRunner().invoke(commands.app, first).exit_code == 0
    shutil.move(neurons / "autoencoder.safetensors", tmp_path / "first.safetensors")
    onward = ["--output-share", "0.8", "--start", str(tmp_path / "first.safetensors"), "--without-copies"]
    assert "made with other settings" in CliRunner().invoke(commands.app, [*first, *onward]).output
    for letter in "AB":
        shutil.rmtree(neurons / letter)
    result = CliRunner().invoke(commands.app, [*first, *onward])
    assert result.exit_code == 0, result.output
    assert load(neurons / "autoencoder.safetensors").hook == NEURONS
    result = CliRunner().invoke(commands.app, ["train-sae", *place, *options, "--output-share", "0.5"])
    assert "is for the neurons of an MLP" in result.output
    result = CliRunner().invoke(
        commands.app, ["train-sae", "--model", "tiny", "--hook", "blocks.9.hook_out", *options]
    )
    assert result.exit_code == 2
    assert "The model has no hook 'blocks.9.hook_out'" in result.output


def test_a_model_writes_text_that_is_not_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 31, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1}
    writer = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=1)).eval()
    options = {"length": 6, "piece_rows": 4, "progress": False}
    text = write_text(writer, 0, tmp_path, rows=10, **options)
    assert text.shape == (10, 6)
    assert (text[:, 0] == 0).all()
    assert len(text.unique(dim=0)) == 10
    monkeypatch.setattr(writer, "generate", None)  # All three pieces are there.
    assert torch.equal(write_text(writer, 0, tmp_path, rows=10, **options), text)
    with pytest.raises(ValueError, match="has the shape"):
        write_text(writer, 0, tmp_path, rows=10, **{**options, "length": 7})


def test_the_last_rows_of_what_was_written_are_held_out(
    model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="run `course write-text` with more --rows"):
        read_written(tmp_path)
    written = torch.arange(HELD_OUT_ROWS + 3)[:, None].expand(-1, 8).to(torch.uint16)
    save_file({"tokens": written.contiguous()}, tmp_path / "piece_00000.safetensors")
    bundled = torch.ones(5, 8, dtype=torch.long)
    monkeypatch.setattr(
        own_text, "load_tokens", lambda split, model: TokenizedText(bundled, bundled, ("some",))
    )
    found = training_text(model, tmp_path / "none", tmp_path)
    assert torch.equal(found, torch.cat([bundled, written[:3].long()]))
    assert torch.equal(training_text(model, tmp_path / "none", None), bundled)


def test_fewer_rows_of_the_corpus_leave_the_written_text_whole(
    model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    written = torch.arange(HELD_OUT_ROWS + 3)[:, None].expand(-1, 8).to(torch.uint16)
    save_file({"tokens": written.contiguous()}, tmp_path / "piece_00000.safetensors")
    bundled = torch.ones(5, 8, dtype=torch.long)
    monkeypatch.setattr(
        own_text, "load_tokens", lambda split, model: TokenizedText(bundled, bundled, ("some",))
    )
    found = training_text(model, tmp_path / "none", tmp_path, max_rows=2)
    assert torch.equal(found, torch.cat([bundled[:2], written[:3].long()]))
