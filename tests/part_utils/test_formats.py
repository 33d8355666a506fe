"""One door for the files of every package: what they compute is computed here, and what is damaged is refused."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from coursekit.commands.cli import app
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.bundled_files import DATA
from part_utils.formats.ours import save_autoencoder
from part_utils.formats.recognize import FOLDERS, WRITERS, load, recognize, save
from part_utils.language_models import load_autoencoder
from part_utils.variants import (
    BatchTopKAutoEncoder,
    GatedAutoEncoder,
    JumpReLUAutoEncoder,
    MatryoshkaAutoEncoder,
    TopKAutoEncoder,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
CASES = sorted(path.parent for path in GOLDEN.rglob("outputs.safetensors"))
ARCHITECTURES = ("relu", "tied", "topk", "jumprelu", "gated", "batch_topk", "matryoshka")


def identity(case: object) -> str:
    return f"{case.parent.name}-{case.name}" if isinstance(case, Path) else str(case)


def made(architecture: str, seed: int = 0) -> AutoEncoder:
    """An autoencoder with two instances in which nothing is zero, square or the same twice."""
    torch.manual_seed(seed)
    cfg = AutoEncoderConfig(2, 11, 23, l1_coeff=0.25, tied_weights=architecture == "tied")
    makers = {
        "topk": lambda: TopKAutoEncoder(cfg, 5),
        "jumprelu": lambda: JumpReLUAutoEncoder(cfg),
        "gated": lambda: GatedAutoEncoder(cfg),
        "batch_topk": lambda: BatchTopKAutoEncoder(cfg, 5),
        "matryoshka": lambda: MatryoshkaAutoEncoder(cfg, 5, (7, 23)),
    }
    autoencoder = makers.get(architecture, lambda: AutoEncoder(cfg))().eval()
    with torch.no_grad():
        for parameter in autoencoder.parameters():
            parameter.normal_(std=0.4)
        for buffer in autoencoder.buffers():
            buffer.uniform_(0.2, 1.5)
        autoencoder.normalize_decoder()
    return autoencoder


@pytest.mark.parametrize("case", CASES, ids=identity)
def test_what_the_package_computes_is_computed_here(case: Path) -> None:
    golden = load_file(case / "outputs.safetensors")
    autoencoder = load_autoencoder(case)
    output = autoencoder(golden["inputs"][:, None])
    torch.testing.assert_close(output.h_reconstructed[:, 0], golden["reconstruction"], atol=1e-5, rtol=0)
    torch.testing.assert_close(autoencoder.W_dec.norm(dim=-1), torch.ones(1, autoencoder.cfg.n_hidden_ae))
    fires = output.acts[:, 0] > 0
    assert torch.equal(fires, golden["latents"] > 0)
    # Latents are as many times larger as their decoder rows were long: one factor for each latent.
    factors = output.acts[:, 0].amax(dim=0) / golden["latents"].amax(dim=0).clamp_min(1e-9)
    torch.testing.assert_close(output.acts[:, 0], golden["latents"] * factors, atol=1e-5, rtol=0)


def test_every_package_is_among_the_golden_files() -> None:
    assert {case.parent.name for case in CASES} == set(FOLDERS)


@pytest.mark.parametrize("format", ["ours", *WRITERS])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_there_and_back(tmp_path: Path, architecture: str, format: str) -> None:
    autoencoder, h = made(architecture), torch.randn(31, 2, 11)
    path = tmp_path / ("mine.safetensors" if format == "ours" else "mine")
    if format == "sparsify" and architecture != "topk":
        with pytest.raises(ValueError, match="TopK autoencoders only"):
            save(autoencoder, format, path, 1)
        return
    save(autoencoder, format, path, 1)
    back = load_autoencoder(path)
    # A BatchTopK autoencoder, Matryoshka or not, is a JumpReLU one from the end of its training on.
    trained = {"batch_topk": JumpReLUAutoEncoder, "matryoshka": JumpReLUAutoEncoder}
    assert type(back) is trained.get(architecture, type(autoencoder))
    expected, output = autoencoder(h), back(h if format == "ours" else h[:, 1:])
    for name in ("acts", "h_reconstructed"):
        whole = getattr(expected, name)
        wanted = whole if format == "ours" else whole[:, 1:]
        torch.testing.assert_close(getattr(output, name), wanted, atol=1e-5, rtol=1e-5)
    if format == "ours":
        assert back.cfg == autoencoder.cfg
        written = (
            autoencoder.named_parameters() if architecture in trained else autoencoder.state_dict().items()
        )
        assert all(torch.equal(back.state_dict()[name], value) for name, value in written)
        back.W_enc.sum().backward()  # it can be trained on
        alone = load_autoencoder(path, run=2)
        torch.testing.assert_close(alone(h[:, 1:]).acts, expected.acts[:, 1:], atol=1e-5, rtol=1e-5)


def test_a_file_stands_for_its_folder_and_names_still_work(tmp_path: Path) -> None:
    for case, file in (
        ("sae_lens/topk", "sae_weights.safetensors"),
        ("sae_lens/topk", "cfg.json"),
        ("sparsify/num_latents", "sae.safetensors"),
        ("dictionary_learning/AutoEncoder", "ae.pt"),
        ("dictionary_learning/AutoEncoder", "config.json"),
    ):
        assert recognize(GOLDEN / case / file) == case.split("/")[0]
        assert torch.equal(
            load_autoencoder(str(GOLDEN / case / file)).W_enc, load_autoencoder(GOLDEN / case).W_enc
        )
    assert torch.equal(
        load_autoencoder(DATA / "autoencoders.safetensors").W_dec, load_autoencoder("bundled").W_dec
    )
    shutil.copytree(GOLDEN / "sae_lens" / "topk", tmp_path / "both")
    shutil.copy(GOLDEN / "sparsify" / "num_latents" / "sae.safetensors", tmp_path / "both")
    with pytest.raises(ValueError, match="sae_lens, sparsify"):
        load_autoencoder(tmp_path / "both")


def test_half_precision_is_read(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "sae_lens" / "standard", tmp_path / "x")
    weights = load_file(tmp_path / "x" / "sae_weights.safetensors")
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        save_file(
            {name: w.to(dtype) for name, w in weights.items()}, tmp_path / "x" / "sae_weights.safetensors"
        )
        assert load_autoencoder(tmp_path / "x").W_enc.dtype == torch.float32


@pytest.mark.parametrize(
    ("case", "changes", "complaint"),
    [
        ("sae_lens/standard", {"architecture": "transcoder"}, "architecture = 'transcoder'"),
        ("sae_lens/standard", {"architecture": ["standard"]}, "architecture"),
        ("sae_lens/standard", {"normalize_activations": "layer_norm"}, "normalize_activations"),
        ("sae_lens/standard", {"normalize_activations": "expected_average_only_in"}, "normalize_activations"),
        ("sae_lens/old_standard", {"normalize_activations": True}, "normalize_activations"),
        ("sae_lens/old_standard", {"activation_fn_str": "tanh-relu"}, "activation function 'tanh-relu'"),
        ("sae_lens/old_standard", {"activation_fn_str": "topk"}, "k = None"),
        ("sae_lens/old_topk", {"activation_fn_kwargs": {"k": 4, "signed": True}}, "signed"),
        ("sae_lens/old_topk", {"activation_fn": "relu"}, "two activation functions"),
        ("sae_lens/old_without_architecture", {"activation_fn_kwargs": {"k": 4}}, "no activation function"),
        ("sae_lens/topk", {"k": 30}, "between 1 and the 29 latents"),
        ("sae_lens/topk", {"k": True}, "k = True"),
        ("sae_lens/topk", {"k": 4.0}, "k = 4.0"),
        ("sae_lens/topk", {"d_in": 29, "d_sae": 13}, "d_in = 29"),
        ("sae_lens/topk", {"metadata": [1]}, "metadata"),
        ("sae_lens/topk", {"metadata": {"sae_lens_version": "new"}}, "no version"),
        ("sae_lens/standard", {"apply_b_dec_to_inpuu": False}, "'apply_b_dec_to_input'"),
        ("sae_lens/standard", {"apply_b_dec_to_input": "false"}, "apply_b_dec_to_input"),
        ("sparsify/num_latents", {"transcode": True}, "transcoder"),
        ("sparsify/num_latents", {"skip_connection": True}, "around its latents"),
        ("sparsify/num_latents", {"activation": "groupmax"}, "groupmax"),
        ("sparsify/num_latents", {"signed": True}, "never negative"),
        ("sparsify/expansion_factor", {"expansion_factor": 4}, "do not belong together"),
        ("dictionary_learning/AutoEncoderTopK", {"trainer": {"dict_class": "IdentityDict"}}, "IdentityDict"),
        (
            "dictionary_learning/AutoEncoderTopK",
            {"trainer": {"dict_class": "AutoEncoderTopK", "k": 5}},
            "k = 5",
        ),
        ("dictionary_learning/AutoEncoderTopK", {"trainer": {"dict_class": "AutoEncoder"}}, "it also holds"),
        ("dictionary_learning/AutoEncoder", {"trainer": None}, "trainer"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, case: str, changes: dict, complaint: str) -> None:
    shutil.copytree(GOLDEN / case, tmp_path / "x")
    path = tmp_path / "x" / ("config.json" if "dictionary" in case else "cfg.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=complaint):
        load_autoencoder(tmp_path / "x")


@pytest.mark.parametrize("case", CASES, ids=identity)
def test_other_weights_are_refused(tmp_path: Path, case: Path) -> None:
    """Each weight transposed, missing, of another size or type, not finite, or called like another one."""
    package = FOLDERS[case.parent.name]
    shutil.copytree(case, tmp_path / "x")
    path = tmp_path / "x" / package.WEIGHTS
    torch_file = package.WEIGHTS.endswith(".pt")
    weights = torch.load(path, weights_only=True) if torch_file else load_file(path)

    def refused(changed: dict[str, torch.Tensor]) -> None:
        if torch_file:
            torch.save(changed, path)
        else:
            save_file({name: tensor.contiguous() for name, tensor in changed.items()}, path)
        with pytest.raises(
            ValueError, match=r"; fetch|damaged|weights|scaling_factor|transposed|beside it|axes"
        ):
            load_autoencoder(tmp_path / "x")

    for name, tensor in weights.items():
        if name in ("group_sizes", "threshold", "k", "topk_threshold"):
            continue
        refused({other: w for other, w in weights.items() if other != name})
        refused(weights | {name: tensor[..., :-1]})
        refused(weights | {name: tensor.int()})
        refused(weights | {name: tensor.to(torch.complex64)})
        refused(weights | {name: tensor.mT if tensor.ndim == 2 else tensor[None]})
        for value in (torch.nan, torch.inf):
            broken = tensor.clone(memory_format=torch.contiguous_format)
            broken.view(-1)[1] = value
            refused(weights | {name: broken})
    refused(weights | {"another": torch.ones(3)})
    refused(weights | {"scaling_factor": torch.full((29,), 2.0)})
    refused({})


def test_factors_of_one_change_nothing(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "sae_lens" / "old_standard", tmp_path / "x")
    path = tmp_path / "x" / "sae_weights.safetensors"
    save_file(load_file(path) | {"scaling_factor": torch.ones(29)}, path)
    assert torch.equal(
        load_autoencoder(tmp_path / "x").W_enc, load_autoencoder(GOLDEN / "sae_lens/old_standard").W_enc
    )


JUNK = {
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 42\n",
    "a list": b"[1, 2]",
    "an empty object": b"{}",
    "nothing": b"",
    "null": b"null",
    "a deep list": b"[" * 100_000,
    "no text": b"\xff\xfe\x00\x01",
    "a large header": b"\xff\xff\xff\xff\xff\xff\xff\x7f{}",
}


@pytest.mark.parametrize("junk", JUNK)
def test_junk_is_refused(tmp_path: Path, junk: str) -> None:
    for case in ("sae_lens/topk", "sparsify/num_latents", "dictionary_learning/GatedAutoEncoder"):
        package = FOLDERS[case.split("/")[0]]
        for file in (package.CONFIG, package.WEIGHTS):
            folder = tmp_path / case / file.replace(".", "_")
            shutil.copytree(GOLDEN / case, folder)
            (folder / file).write_bytes(JUNK[junk])
            with pytest.raises(ValueError, match=r"fetch it again|has no|holds no"):
                load_autoencoder(folder)
    for name in ("x.safetensors", "x.pt", "x"):
        (tmp_path / name).write_bytes(JUNK[junk])
        with pytest.raises(ValueError, match=r"fetch it again|known format"):
            load_autoencoder(tmp_path / name)


def test_what_is_no_autoencoder_is_refused_with_what_can_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"There is no autoencoder 'gpt-7'.*sae_weights\.safetensors.*ae\.pt"
    ):
        load_autoencoder("gpt-7")
    with pytest.raises(ValueError, match=r"holds nothing.*sparsify"):
        load_autoencoder(tmp_path)
    with pytest.raises(ValueError, match=r"There is no .*absent"):
        load_autoencoder(tmp_path / "absent")
    for name in ("", "\0", "x" * 5000, "~"):
        with pytest.raises(ValueError, match=r"choose .bundled.|null|known format"):
            load_autoencoder(name)
    with pytest.raises(ValueError, match=r"no instance 1"):
        load_autoencoder(GOLDEN / "sae_lens" / "topk", run=2)
    for name in ("language_model.safetensors", "tokens_held_out.safetensors", "manifest.json", ""):
        with pytest.raises(ValueError, match=r"Give a folder|should hold|has format"):
            load_autoencoder(DATA / name)


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "it ran",))

    shutil.copytree(GOLDEN / "dictionary_learning" / "AutoEncoder", tmp_path / "x")
    torch.save({"encoder.weight": Evil()}, tmp_path / "x" / "ae.pt")
    with pytest.raises(ValueError, match="more than weights"):
        load_autoencoder(tmp_path / "x")
    assert not (tmp_path / "it ran").exists()


FILES = [
    (case, file)
    for case in ("sae_lens/topk", "sae_lens/old_topk", "sae_lens/gated", "sparsify/num_latents")
    for file in (FOLDERS[case.split("/")[0]].CONFIG, FOLDERS[case.split("/")[0]].WEIGHTS)
] + [
    (case, file)
    for case in ("dictionary_learning/AutoEncoderTopK", "dictionary_learning/MatryoshkaBatchTopKSAE")
    for file in ("config.json", "ae.pt")
]
DAMAGE = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 0.999)),
    st.tuples(st.just("flip"), st.floats(0, 0.999), st.integers(0, 7)),
    # The header and the tables at the end are where the structure is.
    st.tuples(st.just("flip early"), st.floats(0, 0.999), st.integers(0, 7)),
    st.tuples(st.just("flip late"), st.floats(0, 0.999), st.integers(0, 7)),
    st.tuples(st.just("overwrite"), st.floats(0, 0.999), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("append"), st.binary(min_size=1, max_size=40)),
)


def damaged(content: bytes, damage: tuple) -> bytes:
    kind, *how = damage
    if kind == "append":
        return content + how[0]
    place = int(how[0] * len(content))
    if kind == "cut":
        return content[:place]
    if kind == "overwrite":
        return content[:place] + how[1] + content[place + len(how[1]) :]
    if kind == "flip early":
        place = int(how[0] * min(len(content), 600))
    if kind == "flip late":
        place = len(content) - 1 - int(how[0] * min(len(content), 900))
    changed = bytearray(content)
    changed[place] ^= 1 << how[1]
    return bytes(changed)


def weight_bytes_changed(before: bytes, after: bytes) -> bool:
    """Whether a safetensors file has its header and its length as they were: only weights differ."""
    end = 8 + int.from_bytes(before[:8], "little")
    return len(before) == len(after) and before[:end] == after[:end]


@pytest.mark.parametrize(("case", "file"), FILES, ids=identity)
def test_a_damaged_file_is_refused_or_still_the_same(case: str, file: str) -> None:
    golden = load_file(GOLDEN / case / "outputs.safetensors")

    @settings(derandomize=True, max_examples=60, deadline=None, database=None)
    @given(DAMAGE)
    def draw(damage: tuple) -> None:
        content = (GOLDEN / case / file).read_bytes()
        changed = damaged(content, damage)
        with tempfile.TemporaryDirectory() as folder:
            for path in (GOLDEN / case).iterdir():
                (Path(folder) / path.name).write_bytes(changed if path.name == file else path.read_bytes())
            try:
                autoencoder = load_autoencoder(folder)
            except ValueError:
                return
        if file.endswith(".safetensors") and weight_bytes_changed(content, changed):
            return  # there is no checksum
        if file.endswith(".json") and settings_differ(content, changed):
            return  # neither is there one for a number that is possible
        output = autoencoder(golden["inputs"][:, None])
        torch.testing.assert_close(output.h_reconstructed[:, 0], golden["reconstruction"], atol=1e-5, rtol=0)

    draw()


def settings_differ(before: bytes, after: bytes) -> bool:
    """Whether k is another number now; nothing else that changes what is computed may pass."""

    def k_of(value: dict) -> object:
        return value.get("k", (value.get("activation_fn_kwargs") or {}).get("k"))

    return k_of(json.loads(before)) != k_of(json.loads(after))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_our_own_file_notices_every_change(architecture: str) -> None:
    autoencoder = made(architecture)
    with tempfile.TemporaryDirectory() as folder:
        save_autoencoder(autoencoder, Path(folder) / "x.safetensors")
        content = (Path(folder) / "x.safetensors").read_bytes()

    @settings(derandomize=True, max_examples=60, deadline=None, database=None)
    @given(DAMAGE)
    def draw(damage: tuple) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.safetensors"
            path.write_bytes(damaged(content, damage))
            try:
                back = load(path)
            except ValueError:
                return
        assert back.cfg == autoencoder.cfg
        assert getattr(back, "k", None) == getattr(autoencoder, "k", None)
        written = (
            autoencoder.named_parameters() if architecture in trained else autoencoder.state_dict().items()
        )
        assert all(torch.equal(back.state_dict()[name], value) for name, value in written)

    draw()


def test_a_sealed_file_with_impossible_settings_is_refused(tmp_path: Path) -> None:
    from part_utils.formats.ours import FORMAT, _digest

    tensors = {name: tensor.detach() for name, tensor in made("topk").state_dict().items()}
    for text in (
        "",
        "[]",
        "{}",
        '{"architecture": "relu"}',
        '{"architecture": "topk", "k": "5", "n_instances": 2, "n_input_ae": 11, "n_hidden_ae": 23}',
        '{"architecture": "topk", "k": 5, "n_instances": 2, "n_input_ae": 11, "n_hidden_ae": 10000000000}',
        '{"architecture": "relu", "n_instances": 2, "n_input_ae": 11, "n_hidden_ae": 23}',
    ):
        metadata = {"format": FORMAT, "settings": text, "sha256": _digest(text, tensors)}
        save_file(tensors, tmp_path / "x.safetensors", metadata)
        with pytest.raises(ValueError, match="settings"):
            load_autoencoder(tmp_path / "x.safetensors")
    save_file(tensors, tmp_path / "x.safetensors", {"format": "superposition-course autoencoder 2"})
    with pytest.raises(ValueError, match="newer release"):
        load_autoencoder(tmp_path / "x.safetensors")


@pytest.mark.parametrize("architecture", ["relu", "topk", "jumprelu", "gated"])
def test_eight_bits_keep_nearly_everything(tmp_path: Path, architecture: str) -> None:
    autoencoder, h = made(architecture), torch.randn(200, 2, 11)
    save_autoencoder(autoencoder, tmp_path / "small.safetensors", eight_bits=True)
    save_autoencoder(autoencoder, tmp_path / "large.safetensors")
    small = load_autoencoder(tmp_path / "small.safetensors")
    assert type(small) is type(autoencoder)
    for matrix, axis in (("W_enc", 1), ("W_dec", 2)):
        rounded, exact = getattr(small, matrix), getattr(autoencoder, matrix)
        assert not torch.equal(rounded, exact)
        torch.testing.assert_close(rounded.norm(dim=axis), exact.norm(dim=axis))
        assert ((rounded - exact).norm(dim=axis) < 0.02 * exact.norm(dim=axis)).all()
    assert torch.equal(small.b_enc, autoencoder.b_enc)
    error = (small(h).h_reconstructed - autoencoder(h).h_reconstructed).norm()
    assert error < 0.1 * autoencoder(h).h_reconstructed.norm()


def test_eight_bits_with_factors_of_another_shape_are_refused(tmp_path: Path) -> None:
    from part_utils.formats.ours import FORMAT, _digest, metadata_of

    save_autoencoder(made("relu"), tmp_path / "x.safetensors", eight_bits=True)
    settings = metadata_of(tmp_path / "x.safetensors")["settings"]
    tensors = load_file(tmp_path / "x.safetensors")
    for scale in (torch.ones(5), torch.ones(2, 3, 23), torch.ones(4, 1, 23)):
        tensors["W_enc.scale"] = scale
        metadata = {"format": FORMAT, "settings": settings, "sha256": _digest(settings, tensors)}
        save_file(tensors, tmp_path / "x.safetensors", metadata)
        with pytest.raises(ValueError, match=r"W_enc.scale in .* does not fit W_enc"):
            load_autoencoder(tmp_path / "x.safetensors")


def course(*arguments: object) -> str:
    """Run a command of `course`; what it says, with its exit code in front."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return f"{result.exit_code} {result.output}"


@pytest.mark.parametrize("format", WRITERS)
def test_the_commands_carry_an_autoencoder_out_and_in(tmp_path: Path, format: str) -> None:
    topk, h = made("topk"), torch.randn(31, 2, 11)
    save_autoencoder(topk, tmp_path / "mine.safetensors")
    out, back = tmp_path / "out", tmp_path / "back.safetensors"
    said = course("export-sae", tmp_path / "mine.safetensors", out, "--format", format, "--instance", 1)
    assert said.startswith("0 ")
    assert FOLDERS[format].WEIGHTS in said
    said = course("import-sae", out, back)
    assert said.startswith("0 ")
    assert f"TopKAutoEncoder from {format}, 11 inputs, 23 latents" in said.replace("\n", "")
    torch.testing.assert_close(
        load_autoencoder(back)(h[:, 1:]).h_reconstructed, topk(h).h_reconstructed[:, 1:], atol=1e-5, rtol=0
    )
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for line in (
        ("export-sae", tmp_path / "mine.safetensors", out, "--format", format),
        ("export-sae", tmp_path / "mine.safetensors", back),
        ("export-sae", tmp_path / "mine.safetensors", tmp_path / "new", "--instance", 2),
        ("export-sae", "nothing", tmp_path / "new"),
        ("import-sae", out, back),
        ("import-sae", out, tmp_path / "new.pt"),
        ("import-sae", tmp_path, tmp_path / "new.safetensors"),
    ):
        said = course(*line)
        assert said.startswith("2 "), line
        assert "Traceback" not in said
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
