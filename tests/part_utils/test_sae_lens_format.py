"""Our autoencoders in the files of SAELens, and the other way round."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.formats.sae_lens import load_sae_lens, save_sae_lens
from part_utils.variants import TopKAutoEncoder

GOLDEN = Path(__file__).parents[1] / "golden" / "sae_lens"


class Strange(TopKAutoEncoder):
    """A class of somebody's own, which might compute anything."""


def random_autoencoder(tied: bool = False, seed: int = 0) -> AutoEncoder:
    torch.manual_seed(seed)
    autoencoder = AutoEncoder(AutoEncoderConfig(2, 11, 23, tied_weights=tied))
    with torch.no_grad():
        autoencoder.b_enc.normal_()
        autoencoder.b_dec.normal_()
    return autoencoder


@pytest.mark.parametrize("tied", [False, True])
def test_saving_and_loading_keeps_reconstruction(tmp_path: Path, tied: bool) -> None:
    autoencoder = random_autoencoder(tied)
    h = torch.randn(31, 2, 11)
    save_sae_lens(autoencoder, 1, tmp_path)
    loaded = load_sae_lens(tmp_path)
    torch.testing.assert_close(
        loaded(h[:, 1:]).h_reconstructed, autoencoder(h).h_reconstructed[:, 1:], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(loaded(h[:, 1:]).acts, autoencoder(h).acts[:, 1:], atol=1e-5, rtol=0)


def test_file_has_what_sae_lens_6_asks_for(tmp_path: Path) -> None:
    save_sae_lens(random_autoencoder(), 0, tmp_path)
    cfg = json.loads((tmp_path / "cfg.json").read_text())
    assert cfg["architecture"] == "standard"
    assert cfg["metadata"]["sae_lens_version"].startswith("6.")
    weights = load_file(tmp_path / "sae_weights.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == {
        "W_enc": (11, 23),
        "W_dec": (23, 11),
        "b_enc": (23,),
        "b_dec": (11,),
    }


def test_decoder_rows_of_zeros_change_nothing(tmp_path: Path) -> None:
    autoencoder = random_autoencoder()
    save_sae_lens(autoencoder, 0, tmp_path)
    from safetensors.torch import save_file

    weights = load_file(tmp_path / "sae_weights.safetensors")
    weights["W_dec"][3] = 0
    save_file(weights, tmp_path / "sae_weights.safetensors")
    loaded = load_sae_lens(tmp_path)
    torch.testing.assert_close(loaded.W_dec.norm(dim=-1), torch.ones(1, 23))
    h = torch.randn(7, 11)
    acts = torch.relu((h - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"])
    expected = acts @ weights["W_dec"] + weights["b_dec"]
    torch.testing.assert_close(loaded(h[:, None]).h_reconstructed[:, 0], expected, atol=1e-5, rtol=0)


def test_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no cfg\.json"):
        load_sae_lens(tmp_path)
    with pytest.raises(ValueError, match="no instance 2"):
        save_sae_lens(random_autoencoder(), 2, tmp_path)
    with pytest.raises(TypeError, match="A Strange cannot be saved"):
        save_sae_lens(Strange(AutoEncoderConfig(1, 3, 5), 2), 0, tmp_path)
    save_sae_lens(random_autoencoder(), 0, tmp_path)
    cfg = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps(cfg | {"architecture": "transcoder"}))
    with pytest.raises(ValueError, match="architecture = 'transcoder'"):
        load_sae_lens(tmp_path)


@pytest.mark.parametrize("case", ["subtract_b_dec", "keep_b_dec"])
def test_golden_files_written_by_sae_lens(case: str) -> None:
    loaded = load_sae_lens(GOLDEN / case)
    golden = load_file(GOLDEN / case / "outputs.safetensors")
    output = loaded(golden["inputs"][:, None])
    torch.testing.assert_close(output.h_reconstructed[:, 0], golden["reconstruction"], atol=1e-6, rtol=0)
    lengths = load_file(GOLDEN / case / "sae_weights.safetensors")["W_dec"].norm(dim=1)
    torch.testing.assert_close(output.acts[:, 0], golden["latents"] * lengths, atol=1e-6, rtol=1e-6)


def test_sae_lens_read_our_files() -> None:
    ours = load_sae_lens(GOLDEN / "written_by_us")
    golden = load_file(GOLDEN / "written_by_us" / "outputs.safetensors")
    output = ours(golden["inputs"][:, None])
    torch.testing.assert_close(output.h_reconstructed[:, 0], golden["reconstruction"], atol=1e-6, rtol=0)
    torch.testing.assert_close(output.acts[:, 0], golden["latents"], atol=1e-6, rtol=0)
