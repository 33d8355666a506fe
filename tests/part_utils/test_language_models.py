"""The bundled model, autoencoders and text; the published ones from a hub cache that the tests write."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from coursekit.checking import fixtures
from part_utils import bundled_files
from part_utils.activations import MLP_HOOK
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.dashboard import make_dashboard
from part_utils.evaluation import evaluate
from part_utils.formats.recognize import save
from part_utils.hypotheses import latents_for_rules, record_feature
from part_utils.language_models import (
    load_autoencoder,
    load_language_model,
    load_latent_names,
)
from part_utils.model_with_autoencoder import ModelWithAutoencoder
from part_utils.published import GELU_1L, GELU_1L_AUTOENCODERS, bridge_state_dict, legacy_state_dict
from part_utils.texts import TokenizedText, in_tokens_of, load_tokens, load_written_text


@pytest.fixture(scope="module")
def bundled():  # type: ignore[no-untyped-def]
    return load_language_model()


def test_bundled_model_has_one_gelu_layer_and_its_tokenizer(bundled) -> None:  # type: ignore[no-untyped-def]
    cfg = json.loads((bundled_files.DATA / "language_model.json").read_text())
    assert bundled.cfg.n_layers == 1
    assert bundled.cfg.act_fn == "gelu"
    assert bundled.cfg.d_mlp == cfg["d_mlp"]
    text = "class Thing(models.Model):\n    name = 'naïve'\n"
    tokens = bundled.to_tokens(text, prepend_bos=False)
    assert bundled.to_string(tokens[0]) == text
    assert bundled.to_tokens(text)[0, 0] == bundled.tokenizer.bos_token_id
    assert bundled.tokenizer.vocab_size == bundled.cfg.d_vocab


def test_loading_leaves_the_random_numbers_alone_and_is_reproducible(bundled) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    again = load_language_model()
    assert torch.equal(torch.randn(3), expected)
    tokens = load_tokens("validation").tokens[:2]
    assert torch.equal(again(tokens), bundled(tokens))


@pytest.mark.parametrize("split", ["train", "validation", "held_out"])
def test_every_token_has_a_label_and_every_row_a_bos(split: str, bundled) -> None:  # type: ignore[no-untyped-def]
    text = load_tokens(split)
    assert text.tokens.shape == text.labels.shape
    assert text.tokens.shape[1] == bundled.cfg.n_ctx
    assert text.tokens.dtype == torch.long
    assert (text.tokens[:, 0] == bundled.tokenizer.bos_token_id).all()
    assert text.tokens.max() < bundled.cfg.d_vocab
    assert text.labels.max() < len(text.label_names)
    for kind in ("Wikipedia: History", "django", "Python"):
        assert text.has_label(kind).any()
    with pytest.raises(ValueError, match="No label starts with"):
        text.has_label("Latin")


def test_no_row_is_in_two_splits() -> None:
    rows = {
        split: {tuple(row.tolist()) for row in load_tokens(split).tokens}
        for split in ("train", "validation", "held_out")
    }
    assert not rows["train"] & rows["held_out"]
    assert not rows["validation"] & rows["held_out"]
    assert not rows["train"] & rows["validation"]


def test_bundled_autoencoders_reach_what_data_md_says(bundled) -> None:  # type: ignore[no-untyped-def]
    expected = json.loads((bundled_files.DATA / "metrics.json").read_text())
    tokens = load_tokens("held_out").tokens
    tokens = tokens[:: len(tokens) // 64]
    autoencoder = load_autoencoder()
    result = evaluate(tokens, bundled, autoencoder)
    assert autoencoder.W_dec.shape == (2, autoencoder.cfg.n_hidden_ae, bundled.cfg.d_mlp)
    assert max(result.decoder_norm_error) < 1e-5
    assert result.loss_clean == pytest.approx(expected["loss_clean"], abs=0.3)
    for i in range(2):
        assert result.fvu[i] == pytest.approx(expected["autoencoders"]["fvu"][i], abs=0.02)
        assert result.l0[i] == pytest.approx(expected["autoencoders"]["l0"][i], rel=0.1)
        assert result.recovered[i] == pytest.approx(expected["autoencoders"]["recovered"][i], abs=0.01)


def test_written_measures_are_good_enough_for_the_chapters() -> None:
    """The file that `course evaluate --metrics` wrote, for the whole held-out text."""
    metrics = json.loads((bundled_files.DATA / "metrics.json").read_text())
    assert metrics["split"] == "held_out"
    both = metrics["autoencoders"]
    for i in range(2):
        assert both["l0"][i] <= 12
        assert both["recovered_from_mean"][i] >= 0.94
        assert both["beside"][i]["gain"] >= 0.12
        assert both["beside"][i]["copies_share"] <= 0.5
        assert both["dead"][i] <= 0.05
        assert both["decoder_norm_error"][i] < 1e-5


def test_one_run_is_one_instance_of_both() -> None:
    both = load_autoencoder()
    for run in (1, 2):
        single = load_autoencoder(run=run)
        assert single.cfg.n_instances == 1
        assert torch.equal(single.W_enc[0], both.W_enc[run - 1])


def test_clear_errors_for_unknown_names() -> None:
    with pytest.raises(
        ValueError, match='choose "bundled", "smollm2" or "gelu-1l", or one on the Hugging Face hub'
    ):
        load_language_model("gpt-7")
    with pytest.raises(ValueError, match='choose "bundled", "smollm2"'):
        load_autoencoder("gpt-7")
    with pytest.raises(ValueError, match="There is no run 3"):
        load_autoencoder(run=3)
    with pytest.raises(ValueError, match="There is no split 'test'"):
        load_tokens("test")


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_damaged_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    shutil.copy(bundled_files.DATA / "manifest.json", tmp_path)
    content = bytearray((bundled_files.DATA / "tokens_validation.safetensors").read_bytes())
    if damage == "altered":
        content[-1] ^= 1
    if damage != "missing":
        (tmp_path / "tokens_validation.safetensors").write_bytes(
            content[: -9 if damage == "truncated" else None]
        )
    monkeypatch.setattr(bundled_files, "DATA", tmp_path)
    with pytest.raises(ValueError, match="is missing" if damage == "missing" else "damaged or altered"):
        load_tokens("validation")


def test_the_bundled_files_stay_within_their_budget() -> None:
    size = sum(path.stat().st_size for path in bundled_files.DATA.rglob("*") if path.is_file())
    assert size <= 80e6


HEADS, D_MODEL, D_HEAD, D_MLP, D_VOCAB, N_CTX = 3, 12, 4, 20, 17, 8


def legacy_weights() -> dict[str, torch.Tensor]:
    """A one-layer state dict in the layout of the published files."""
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embed.W_E": (D_VOCAB, D_MODEL),
        "pos_embed.W_pos": (N_CTX, D_MODEL),
        "unembed.W_U": (D_MODEL, D_VOCAB),
        "blocks.0.attn.W_O": (HEADS, D_HEAD, D_MODEL),
        "blocks.0.attn.b_O": (D_MODEL,),
        "blocks.0.mlp.W_in": (D_MODEL, D_MLP),
        "blocks.0.mlp.b_in": (D_MLP,),
        "blocks.0.mlp.W_out": (D_MLP, D_MODEL),
        "blocks.0.mlp.b_out": (D_MODEL,),
    }
    for letter in "QKV":
        shapes[f"blocks.0.attn.W_{letter}"] = (HEADS, D_MODEL, D_HEAD)
        shapes[f"blocks.0.attn.b_{letter}"] = (HEADS, D_HEAD)
    for norm in ("blocks.0.ln1", "blocks.0.ln2", "ln_final"):
        shapes[f"{norm}.w"] = shapes[f"{norm}.b"] = (D_MODEL,)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def cached(hub: Path, repository: str, write) -> None:  # type: ignore[no-untyped-def]
    """Makes the folders of a repository in a hub cache and lets `write` fill its only snapshot."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    write(snapshot)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def write_published_model(folder: Path, tokenizer_folder: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(D_VOCAB)}, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="w1").save_pretrained(tokenizer_folder)
    cfg = {
        "d_model": D_MODEL,
        "n_layers": 1,
        "d_mlp": D_MLP,
        "d_head": D_HEAD,
        "n_heads": HEADS,
        "n_ctx": N_CTX,
        "d_vocab": D_VOCAB,
        "act_fn": "gelu",
        "attn_only": False,
        "normalization": "LN",
        "tokenizer_name": str(tokenizer_folder),
    }
    (folder / "config.json").write_text(json.dumps(cfg))
    torch.save(legacy_weights(), folder / "model_final.pth")


def test_published_model_from_the_cache(hub: Path, tmp_path: Path) -> None:
    cached(hub, GELU_1L, lambda folder: write_published_model(folder, tmp_path / "tokenizer"))
    model = load_language_model("gelu-1l")
    tokens = torch.tensor([[1, 4, 7, 2, 16]])
    _, cache = model.run_with_cache(tokens)
    weights = legacy_weights()
    residual = weights["embed.W_E"][tokens] + weights["pos_embed.W_pos"][:5]
    normalized = torch.nn.functional.layer_norm(
        residual, (D_MODEL,), weights["blocks.0.ln1.w"], weights["blocks.0.ln1.b"]
    )
    q, k, v = (
        torch.einsum("bsm,hmd->bhsd", normalized, weights[f"blocks.0.attn.W_{letter}"])
        + weights[f"blocks.0.attn.b_{letter}"][:, None]
        for letter in "QKV"
    )
    z = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    residual = (
        residual
        + torch.einsum("bhsd,hdm->bsm", z, weights["blocks.0.attn.W_O"])
        + weights["blocks.0.attn.b_O"]
    )
    normalized = torch.nn.functional.layer_norm(
        residual, (D_MODEL,), weights["blocks.0.ln2.w"], weights["blocks.0.ln2.b"]
    )
    post = torch.nn.functional.gelu(normalized @ weights["blocks.0.mlp.W_in"] + weights["blocks.0.mlp.b_in"])
    torch.testing.assert_close(cache[MLP_HOOK], post, atol=1e-4, rtol=1e-4)


def test_legacy_state_dict_is_read_as_transformer_lens_reads_it() -> None:
    conversion = pytest.importorskip("transformer_lens.utilities.tl_checkpoint_conversion")
    legacy = pytest.importorskip("transformer_lens.config").TransformerBridgeConfig(
        d_model=D_MODEL, n_layers=1, d_mlp=D_MLP, d_head=D_HEAD, n_heads=HEADS, n_ctx=N_CTX, d_vocab=D_VOCAB,
        act_fn="gelu", normalization_type="LN", architecture="TransformerLensNative",
    )  # fmt: skip
    expected = conversion.convert_tl_checkpoint(legacy_weights(), legacy)
    ours = bridge_state_dict(legacy_weights(), D_VOCAB)
    for name, tensor in expected.items():
        torch.testing.assert_close(ours[name], tensor)


def test_published_autoencoders_from_the_cache(hub: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    runs = [
        {
            "W_enc": torch.randn(D_MLP, 33, generator=generator),
            "W_dec": 2 * torch.randn(33, D_MLP, generator=generator),
            "b_enc": torch.randn(33, generator=generator),
            "b_dec": torch.randn(D_MLP, generator=generator),
        }
        for _ in range(2)
    ]

    def write(folder: Path) -> None:
        for name, weights in zip(("25", "47"), runs, strict=True):
            torch.save(weights, folder / f"{name}.pt")
            (folder / f"{name}_cfg.json").write_text(json.dumps({"d_mlp": 2048, "dict_mult": 8}))

    cached(hub, GELU_1L_AUTOENCODERS, write)
    both = load_autoencoder("gelu-1l")
    torch.testing.assert_close(both.W_dec.norm(dim=-1), torch.ones(2, 33))
    h = torch.randn(7, D_MLP, generator=generator)
    output = both(h[:, None].expand(-1, 2, -1))
    for i, weights in enumerate(runs):
        acts = torch.relu((h - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"])
        expected = acts @ weights["W_dec"] + weights["b_dec"]
        torch.testing.assert_close(output.h_reconstructed[:, i], expected, atol=1e-4, rtol=1e-4)
        single = load_autoencoder("gelu-1l", run=i + 1)
        torch.testing.assert_close(single(h[:, None]).h_reconstructed[:, 0], expected, atol=1e-4, rtol=1e-4)


def test_without_a_network_the_error_says_what_to_use(hub: Path) -> None:
    with pytest.raises(ConnectionError, match=r"use load_language_model\(\), which needs none"):
        load_language_model("gelu-1l")
    with pytest.raises(ConnectionError, match=r"use load_autoencoder\(\), which needs none"):
        load_autoencoder("gelu-1l", run=2)


@pytest.mark.parametrize("name", ["gpt2", "EleutherAI/pythia-70m"])
def test_other_models_are_looked_for_on_the_hub(hub: Path, name: str) -> None:
    with pytest.raises(ConnectionError, match=rf'{name} could not .* use load_language_model\("smollm2"\)'):
        load_language_model(name)


def test_a_model_and_an_autoencoder_from_the_hub_by_name(hub: Path, tmp_path: Path) -> None:
    def write_model(folder: Path) -> None:
        vocabulary = Tokenizer(models.WordLevel({f"w{i}": i for i in range(D_VOCAB)}, unk_token="w0"))
        PreTrainedTokenizerFast(tokenizer_object=vocabulary, bos_token="w1").save_pretrained(folder)
        sizes = {
            "n_embd": D_MODEL,
            "n_head": HEADS,
            "n_layer": 2,
            "n_positions": N_CTX,
            "vocab_size": D_VOCAB,
        }
        GPT2LMHeadModel(GPT2Config(**sizes)).save_pretrained(folder)

    cached(hub, "some-lab/two-layers", write_model)
    model = load_language_model("some-lab/two-layers")
    assert model(torch.tensor([[1, 4, 7]])).shape == (1, 3, D_VOCAB)
    mine = AutoEncoder(AutoEncoderConfig(1, D_MODEL, 30))
    cached(
        hub,
        "some-lab/autoencoders",
        lambda folder: save(mine, "sae_lens", folder / "blocks.1.hook_resid_post", 0),
    )
    h = torch.randn(5, 1, D_MODEL, generator=torch.Generator().manual_seed(0))
    theirs = load_autoencoder("some-lab/autoencoders/blocks.1.hook_resid_post")
    torch.testing.assert_close(theirs(h).h_reconstructed, mine(h).h_reconstructed)
    with pytest.raises(ConnectionError, match="or use a file or folder that exists"):
        load_autoencoder("some-lab/nothing")
    with pytest.raises(ValueError, match="There is no autoencoder"):
        load_autoencoder("runs/mine.safetensors")


def test_the_models_weights_on_disk_are_half_precision() -> None:
    tensors = load_file(bundled_files.DATA / "language_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}


def test_text_for_another_tokenizer(bundled) -> None:  # type: ignore[no-untyped-def]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<bos>": 0, **{letter: index + 1 for index, letter in enumerate(letters)}}
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    other = fixtures.language_model(0, d_vocab=257, n_ctx=50)
    other.tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<bos>")
    text = load_tokens("held_out")
    row = next(row for row in range(1, 100) if text.tokens[row, 1:].eq(text.tokens[0, 0]).any())
    some = TokenizedText(*(t[row : row + 3] for t in (text.tokens, text.labels)), text.label_names)
    new = in_tokens_of(other, some)
    assert new.tokens.shape[1] == 50
    assert (new.tokens[:, 0] == 0).all()
    assert in_tokens_of(bundled, some) is some
    # The same text as before, with a BOS in front of each row and document; a part of a row is left over.
    letter_of = {index: letter for letter, index in vocabulary.items()} | {0: "<|endoftext|>"}
    written = "".join(letter_of[token] for token in new.tokens[:, 1:].flatten().tolist())
    original = "".join(bundled.tokenizer.convert_ids_to_tokens(some.tokens.flatten().tolist()))
    assert original.startswith(written)
    assert written.count("<|endoftext|>") >= 3
    assert len(original) - len(written) < 100
    assert new.labels[0, 1] == some.labels[0, 1]
    assert new.labels[-1, -1] == some.labels[-1, -1]


@pytest.fixture
def stand_in(hub: Path, tmp_path: Path, bundled) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """A hub cache with the bundled model and autoencoders in the published format, but with other token numbers.

    Returns the new number of each token.
    """
    new_number = torch.randperm(bundled.cfg.d_vocab, generator=torch.Generator().manual_seed(0))
    weights, autoencoder = legacy_state_dict(bundled), load_autoencoder()
    for name, axis in (("embed.W_E", 0), ("unembed.W_U", 1), ("unembed.b_U", 0)):
        weights[name] = weights[name].index_select(axis, new_number.argsort())
    described = json.loads(bundled.tokenizer.backend_tokenizer.to_str())
    described["model"]["vocab"] = {
        word: int(new_number[number]) for word, number in described["model"]["vocab"].items()
    }
    for token in described["added_tokens"]:
        token["id"] = int(new_number[token["id"]])
    bos = bundled.tokenizer.bos_token
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(described)), bos_token=bos
    )
    tokenizer.save_pretrained(tmp_path / "tokenizer")

    def write_model(folder: Path) -> None:
        names = ("d_model", "n_layers", "d_mlp", "d_head", "n_heads", "n_ctx", "d_vocab", "act_fn")
        cfg = {name: getattr(bundled.cfg, name) for name in names}
        cfg |= {"normalization": "LN", "tokenizer_name": str(tmp_path / "tokenizer")}
        (folder / "config.json").write_text(json.dumps(cfg))
        torch.save(weights, folder / "model_final.pth")

    def write_autoencoders(folder: Path) -> None:
        for instance, name in enumerate(("25", "47")):
            parts = ("W_enc", "W_dec", "b_enc", "b_dec")
            torch.save(
                {part: getattr(autoencoder, part)[instance].detach().clone() for part in parts},
                folder / f"{name}.pt",
            )

    cached(hub, GELU_1L, write_model)
    cached(hub, GELU_1L_AUTOENCODERS, write_autoencoders)
    return new_number


def test_another_name_is_all_that_changes(stand_in: torch.Tensor, bundled) -> None:  # type: ignore[no-untyped-def]
    """What chapters 4 and 5 do with `"gelu-1l"`: the same weights under that name give the same figures."""
    model, autoencoder = load_language_model("gelu-1l"), load_autoencoder("gelu-1l")
    text, as_stored = load_tokens("held_out", model), load_tokens("held_out")
    assert load_latent_names("gelu-1l") == {}
    # The published ones have no thresholds.
    weights = load_autoencoder().state_dict()
    relu = AutoEncoder(autoencoder.cfg)
    relu.load_state_dict({name: weight for name, weight in weights.items() if name != "threshold"})
    there, here = (
        evaluate(its_text.tokens[:96], *both)
        for its_text, *both in ((text, model, autoencoder), (as_stored, bundled, relu))
    )
    # Its rows begin anew where one of the stored rows did, so that there is less to predict from.
    assert here.loss_clean < there.loss_clean < 1.2 * here.loss_clean
    assert there.fvu == pytest.approx(here.fvu, rel=0.2)
    assert there.recovered == pytest.approx(here.recovered, abs=0.1)
    subject = ModelWithAutoencoder(model, autoencoder)
    ((latent, f1),) = latents_for_rules([lambda context, label: context[-1] == " self"], subject, rows=32)
    assert f1 > 0.3
    feature = record_feature(latent, subject, rows=8)
    assert feature.found_on.acts.shape == feature.held_out.acts.shape == (8, 128)
    page = make_dashboard([latent], model="gelu-1l", max_rows=12, progress=False).html()
    assert f"latent-{latent}" in page


def test_the_autoencoders_of_smollm2_are_in_the_box() -> None:
    residual, neurons = load_autoencoder("smollm2-residual"), load_autoencoder("smollm2")
    assert (residual.cfg.n_instances, residual.cfg.n_input_ae, residual.cfg.n_hidden_ae) == (1, 576, 6144)
    assert (neurons.cfg.n_instances, neurons.cfg.n_input_ae, neurons.cfg.n_hidden_ae) == (2, 1536, 3072)
    for autoencoder in (residual, neurons):
        lengths = autoencoder.W_dec.norm(dim=-1)
        torch.testing.assert_close(lengths, torch.ones_like(lengths))
    assert torch.equal(load_autoencoder("smollm2", run=2).W_enc[0], neurons.W_enc[1])


def test_the_text_that_smollm2_wrote_is_in_its_tokens() -> None:
    text = load_written_text()
    assert text.tokens.shape == text.labels.shape == (4096, 128)
    assert (text.tokens[:, 0] == 0).all()
    assert text.tokens.max() < 49_152
    assert len(text.tokens.unique(dim=0)) == 4096
    assert text.has_label("SmolLM2").all()
