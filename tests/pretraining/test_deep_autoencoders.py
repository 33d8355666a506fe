"""An autoencoder at one place of a model of many blocks: activations without sinks, resumed, trained, measured."""

from pathlib import Path

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge
from typer.testing import CliRunner

from coursekit.commands import pretraining as commands
from part_utils import deep_models, language_models
from part_utils.deep_models import evaluate_place, splice
from part_utils.formats.recognize import load
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.texts import TokenizedText
from pretraining import deep_autoencoders
from pretraining.deep_autoencoders import collect_without_sinks, longest, train_at
from pretraining.run import Processes
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
    tokens = torch.randint(1, 31, (70, 8), generator=torch.Generator().manual_seed(1))
    tokens[:, 0] = 0
    tokens[5, 4] = 0
    return tokens


@pytest.mark.parametrize(("hook", "size"), [(PLACE, 10), (NEURONS, 14)])
def test_activations_come_in_order_and_without_sinks(
    model, tokens, tmp_path: Path, hook: str, size: int
) -> None:  # type: ignore[no-untyped-def]
    found = collect_without_sinks(model, tokens, hook, tmp_path, Processes("cpu"), progress=False)
    _, cache = model.run_with_cache(tokens)
    assert cache[PLACE][tokens == 0].norm(dim=-1).min() > longest(model, tokens, hook)
    torch.testing.assert_close(found.float(), cache[hook][tokens != 0], atol=2e-3, rtol=2e-3)
    assert found.shape == (70 * 7 - 1, size)
    assert {path.name for path in tmp_path.iterdir()} == {"activations.bin", "activations.json", "size.json"}


def test_a_stopped_collection_goes_on(model, tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    read, ran = deep_autoencoders.read_place, []

    def stopped(*args: object) -> object:
        ran.append(1)
        if len(ran) == 4:
            raise KeyboardInterrupt
        return read(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(deep_autoencoders, "read_place", stopped)
    with pytest.raises(KeyboardInterrupt):
        collect_without_sinks(model, tokens, PLACE, tmp_path / "a", Processes("cpu"), progress=False)
    assert len(list((tmp_path / "a").glob("piece_*"))) == 1
    found = collect_without_sinks(model, tokens, PLACE, tmp_path / "a", Processes("cpu"), progress=False)
    # The first 16 rows for the length, then two reads for each of the three pieces that were missing.
    assert len(ran) == 4 + 1 + 5
    whole = collect_without_sinks(model, tokens, PLACE, tmp_path / "b", Processes("cpu"), progress=False)
    assert torch.equal(found, whole)
    for other in ({"hook": NEURONS, "tokens": tokens}, {"hook": PLACE, "tokens": tokens[:50]}):
        with pytest.raises(ValueError, match="activations of another model, text or place"):
            collect_without_sinks(
                model, folder=tmp_path / "a", processes=Processes("cpu"), progress=False, **other
            )


def test_trained_resumed_and_measured(model, tokens, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    settings = {"n_hidden_ae": 40, "k": 3, "batch_size": 64, "steps": 150, "lr": 1e-2, "progress": False}
    trained = train_at(model, tokens, PLACE, tmp_path, **settings)
    stored = load(tmp_path / "autoencoder.safetensors")
    assert torch.equal(stored.W_enc, trained.W_enc)
    assert stored.k == 3
    again = train_at(model, tokens, PLACE, tmp_path, **settings)
    assert torch.equal(again.W_dec, trained.W_dec)
    with pytest.raises(ValueError, match="made with other settings"):
        train_at(model, tokens, PLACE, tmp_path, **{**settings, "k": 4})
    found = evaluate_place(ModelWithAutoencoder(model, trained), tokens, PLACE)
    # Sinks are 71 of the 560 positions.
    assert found.kept == pytest.approx(1 - 71 / 560)
    assert found.l0 == pytest.approx(3, abs=0.05)
    assert found.fvu < 0.5
    _, cache = model.run_with_cache(tokens)
    keep = tokens != 0
    h = cache[PLACE]
    rebuilt = splice(h, None, trained, keep)
    assert found.fvu == pytest.approx(deep_models.fvu_without_sinks(h, rebuilt, keep).item(), rel=1e-4)
    loss = model.run_with_hooks(tokens, return_type="loss", fwd_hooks=[(PLACE, lambda value, hook: rebuilt)])
    assert found.loss_rebuilt == pytest.approx(loss.item(), rel=1e-4)
    assert found.loss_clean == pytest.approx(model(tokens, return_type="loss").item(), rel=1e-4)


def test_the_command_trains_and_says_how_good_it_is(
    model, tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    text = TokenizedText(tokens, torch.zeros_like(tokens), ("some",))
    monkeypatch.setattr(language_models, "load_language_model", lambda name, device, dtype: model)
    monkeypatch.setattr(language_models, "load_tokens", lambda split, model: text)
    options = [
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
    ]
    place = ["--model", "tiny", "--hook", PLACE]
    result = CliRunner().invoke(commands.app, ["train-sae", *place, *options, "--no-progress"])
    assert result.exit_code == 0, result.output
    assert "held-out text without sinks: FVU" in result.output
    assert (tmp_path / "tiny" / PLACE / "autoencoder.safetensors").exists()
    result = CliRunner().invoke(
        commands.app, ["train-sae", "--model", "tiny", "--hook", "blocks.9.hook_out", *options]
    )
    assert result.exit_code == 2
    assert "The model has no hook 'blocks.9.hook_out'" in result.output
