"""Exercise 7.7: `residual_edges` and `edges_to_latent`."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check
from coursekit.exercises.chapter_07.scene import (
    RESIDUAL_MISTAKES,
    Edges,
    check_edges,
    layer_norm_reads,
    make_transcoder,
    prompts,
    residual_edges,
)
from part_utils.circuits import FrozenPrompt
from part_utils.transcoder import Transcoder


@exercise(
    id="7.7",
    reference="circuits.edges_to_latent",
    also=("residual_edges",),
    difficulty=4,
    importance=5,
    minutes=30,
    points=5,
)
def edges_to_latent(check: Check) -> None:
    for handle, cache, positions in prompts(check):
        for position in positions:
            read = check.normal(len(cache.b_O))
            right = residual_edges(cache, read, position)
            wrong: dict[str, Callable[[], Edges]] = {
                phrase: lambda change=change, cache=cache, read=read, position=position: residual_edges(
                    cache, read, position, change
                )  # type: ignore[misc]
                for change, phrase in RESIDUAL_MISTAKES.items()
            }
            check_edges(
                check,
                check.call_also("residual_edges", handle, read, position),
                right,
                wrong,
                "`residual_edges` finds what each source adds along a direction",
                " of `residual_edges`",
            )
        for skip in (False, True):
            model = len(cache.b_O)
            other, transcoder = make_transcoder(check, n_model=model, n_hidden=2 * model + 1, skip=skip)
            for latent, position in ((model // 2, positions[0]), (model + 3, positions[1])):
                _check_latent(
                    check,
                    check.call(handle, other, latent, position),
                    cache,
                    transcoder,
                    latent,
                    position,
                )


def latent_edges(
    cache: FrozenPrompt,
    transcoder: Transcoder,
    latent: int,
    position: int,
    read: str = "",
    bias: str = "",
    change: str = "",
    target: Tensor | None = None,
    w: Tensor | None = None,
    scale: Tensor | None = None,
) -> Edges:
    """Compute the edges into a latent, with one mistake if it is named, or with other tensors in place of the right."""
    column = transcoder.W_enc[:, latent] if target is None else target
    w, scale = cache.ln2_w if w is None else w, cache.ln2_scale if scale is None else scale
    reads = layer_norm_reads(w, column, scale, position)
    edges = residual_edges(cache, reads[read], position, change)
    constant = {
        "ln2_b": transcoder.b_enc[latent],
        "b_enc": cache.ln2_b @ column,
        "both": 0 * transcoder.b_enc[latent],
        "ln2_b scaled": cache.ln2_b @ reads[""] + transcoder.b_enc[latent],
        "b_enc of 0": cache.ln2_b @ column + transcoder.b_enc[0],
        "b_dec": cache.ln2_b @ column + transcoder.b_enc[latent] - transcoder.b_dec @ column,
    }.get(bias, cache.ln2_b @ column + transcoder.b_enc[latent])
    edges["bias"] = edges["bias"] + constant
    return edges


def _check_latent(
    check: Check, found: object, cache: FrozenPrompt, transcoder: Transcoder, latent: int, position: int
) -> None:
    def make(**change: object) -> Callable[[], Edges]:
        return lambda: latent_edges(cache, transcoder, latent, position, **change)  # type: ignore[arg-type]

    column = transcoder.W_enc[:, latent]
    wrong: dict[str, Callable[[], Edges]] = {
        phrase: make(read=phrase)
        for phrase in layer_norm_reads(cache.ln2_w, column, cache.ln2_scale, position)
        if phrase
    }
    wrong |= {
        "the last LayerNorm's scale is used, not that before the MLP": make(scale=cache.ln_final_scale),
        "the last LayerNorm's weights are used, not those before the MLP": make(w=cache.ln_final_w),
        "the latent's *decoder* row is read, not its column of the encoder": make(
            target=transcoder.W_dec[latent]
        ),
        "another latent is read (the one before)": make(target=transcoder.W_enc[:, latent - 1]),
        "latent 0 is read": make(target=transcoder.W_enc[:, 0]),
        "`ln2_b` is lost in `bias`": make(bias="ln2_b"),
        "`b_enc` is lost in `bias`": make(bias="b_enc"),
        "`ln2_b` and `b_enc` are lost in `bias`": make(bias="both"),
        "`ln2_b` goes through the LayerNorm; it is added behind it": make(bias="ln2_b scaled"),
        "`b_enc` of latent 0 is used": make(bias="b_enc of 0"),
        "`b_dec` is subtracted from what the transcoder reads; it belongs to its output": make(bias="b_dec"),
    }
    wrong |= {phrase: make(change=change) for change, phrase in RESIDUAL_MISTAKES.items()}
    right = latent_edges(cache, transcoder, latent, position)
    check_edges(check, found, right, wrong, "the sources of a latent, which add up to its pre-activation")
    total = right["token"] + right["position"] + right["heads"].sum() + right["bias"]
    pre = cache.mlp_in[position] @ column + transcoder.b_enc[latent]
    assert (total - pre).abs() < 1e-3 * (1 + pre.abs())
