"""Transcoders: what they compute, how they are measured, and their file."""

import pytest
import torch

from part_utils.transcoder import (
    MLP_OUT,
    Transcoder,
    evaluate_transcoder,
    load_transcoder,
    mlp_in_and_out,
    save_transcoder,
)
from tests.small_language_model import small_model, small_tokens


def drawn(skip: bool = True) -> Transcoder:
    torch.manual_seed(0)
    transcoder = Transcoder(10, 10, 23, k=4, skip=skip)
    with torch.no_grad():
        for parameter in transcoder.parameters():
            parameter.normal_(std=0.3)
    return transcoder


@torch.no_grad()
def test_measures_are_those_of_their_definitions() -> None:
    model, tokens, transcoder = small_model(), small_tokens(), drawn()
    measured = evaluate_transcoder(tokens, model, transcoder, batch_rows=5)
    x, y = mlp_in_and_out(tokens, model)
    rebuilt = transcoder(x, y).y_reconstructed
    fvu = (y - rebuilt).pow(2).sum() / (y - y.mean(dim=0)).pow(2).sum()
    assert measured.fvu == pytest.approx(fvu.item(), rel=1e-4)
    assert measured.l0 == pytest.approx((transcoder.encode(x) > 0).float().sum(dim=1).mean().item())
    assert measured.loss_clean == pytest.approx(model(tokens, return_type="loss").item(), rel=1e-5)
    replaced = model.run_with_hooks(
        tokens, return_type="loss", fwd_hooks=[(MLP_OUT, lambda value, hook: rebuilt.view_as(value))]
    )
    assert measured.loss_transcoder == pytest.approx(replaced.item(), rel=1e-5)


@torch.no_grad()
def test_a_perfect_transcoder_recovers_everything() -> None:
    model, tokens = small_model(), small_tokens()

    class Perfect(Transcoder):
        def forward(self, x, y):
            return super().forward(x, y)._replace(y_reconstructed=y)

    measured = evaluate_transcoder(tokens, model, Perfect(10, 10, 7, 2))
    assert measured.fvu == 0
    assert measured.recovered == pytest.approx(1)


@pytest.mark.parametrize("skip", [False, True])
def test_a_file_gives_back_what_was_saved(skip: bool, tmp_path) -> None:
    transcoder = drawn(skip)
    save_transcoder(transcoder, tmp_path / "t.safetensors")
    loaded = load_transcoder(tmp_path / "t.safetensors")
    assert loaded.k == 4
    assert (loaded.W_skip is not None) == skip
    for name, value in transcoder.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value.half().float())


def test_another_file_is_refused(tmp_path) -> None:
    from safetensors.torch import save_file

    save_file({"W_enc": torch.zeros(2, 3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="holds no transcoder"):
        load_transcoder(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="between 1 and the 3 latents"):
        Transcoder(2, 2, 3, k=4)
