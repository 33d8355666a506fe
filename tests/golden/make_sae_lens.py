"""Makes the golden files in `tests/golden/sae_lens`, with SAELens in an environment of its own:

    python -m venv /tmp/sae-lens && /tmp/sae-lens/bin/pip install "sae-lens>=6.54.12"
    python tests/golden/make_sae_lens.py ours         # with the course installed
    /tmp/sae-lens/bin/python tests/golden/make_sae_lens.py theirs

`ours` writes an autoencoder of the course in SAELens's format. `theirs` lets SAELens read that one, and
writes two standard autoencoders of SAELens; for all three it notes what SAELens computes on some inputs.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).parent / "sae_lens"


def ours() -> None:
    from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
    from part_utils.formats.sae_lens import save_sae_lens

    torch.manual_seed(0)
    autoencoder = AutoEncoder(AutoEncoderConfig(2, 13, 29))
    with torch.no_grad():
        autoencoder.b_enc.normal_(std=0.5)
        autoencoder.b_dec.normal_()
    save_sae_lens(autoencoder, 1, FOLDER / "written_by_us")


def theirs() -> None:
    from sae_lens import SAE, StandardSAE, StandardSAEConfig

    torch.manual_seed(1)
    for case, subtract in (("subtract_b_dec", True), ("keep_b_dec", False)):
        cfg = StandardSAEConfig(
            d_in=13, d_sae=29, apply_b_dec_to_input=subtract, dtype="float32", device="cpu"
        )
        sae = StandardSAE(cfg)
        with torch.no_grad():
            for parameter in sae.parameters():
                parameter.normal_(std=0.2)
        sae.save_model(FOLDER / case)
    for case in ("subtract_b_dec", "keep_b_dec", "written_by_us"):
        sae = SAE.load_from_disk(FOLDER / case)
        inputs = torch.randn(17, 13)
        with torch.no_grad():
            latents = sae.encode(inputs)
            outputs = {"inputs": inputs, "latents": latents, "reconstruction": sae.decode(latents)}
        save_file(outputs, FOLDER / case / "outputs.safetensors")


if __name__ == "__main__":
    {"ours": ours, "theirs": theirs}[sys.argv[1]]()
