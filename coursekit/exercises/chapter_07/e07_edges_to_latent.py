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
    check_unchanged,
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
            found = check.call_also("residual_edges", handle, read, position)
            check_unchanged(check, handle, cache, "cache")
            check_edges(
                check,
                found,
                right,
                wrong,
                "`residual_edges` finds what each source adds along a direction",
                " of `residual_edges`",
            )
        for skip in (False, True):
            model = len(cache.b_O)
            other, transcoder = make_transcoder(check, n_model=model, n_hidden=2 * model + 1, skip=skip)
            for latent, position in ((model // 2, positions[0]), (model + 3, positions[1])):
                found = check.call(handle, other, latent, position)
                check_unchanged(check, handle, cache, "cache")
                check_unchanged(check, other, transcoder, "transcoder")
                _check_latent(check, found, cache, transcoder, latent, position)
    check.leaves_inputs(handle, read, position, also="residual_edges")


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
    b_enc, ln2_b = transcoder.b_enc[latent], cache.ln2_b @ column
    constant = {
        "ln2_b": b_enc,
        "b_enc": ln2_b,
        "both": 0 * b_enc,
        "ln2_b scaled": cache.ln2_b @ reads[""] + b_enc,
        "ln2_b scaled, not centered": cache.ln2_b @ (w * column / scale[position]) + b_enc,
        "ln2_b divided": ln2_b / scale[position] + b_enc,
        "both divided": (ln2_b + b_enc) / scale[position],
        "b_enc of 0": ln2_b + transcoder.b_enc[0],
        "b_dec": ln2_b + b_enc - transcoder.b_dec @ column,
        "b_enc twice": ln2_b + 2 * b_enc,
        "ln2_b twice": 2 * ln2_b + b_enc,
        "both twice": 2 * (ln2_b + b_enc),
        "b_enc subtracted": ln2_b - b_enc,
        "ln2_b weighted": cache.ln2_w * cache.ln2_b @ column + b_enc,
        "all of b_enc": ln2_b + transcoder.b_enc,
    }.get(bias, ln2_b + b_enc)
    place = "token" if bias == "in token" else "bias"
    edges[place] = edges[place] + constant
    if change == "fires":
        total = edges["token"] + edges["position"] + edges["heads"].sum() + edges["bias"]
        edges = {name: value * (total > 0) for name, value in edges.items()}
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
        "a *row* of `W_enc` is read, not the latent's column": make(
            target=transcoder.W_enc[latent % len(transcoder.W_enc)][: len(cache.ln2_w)]
        ),
        "the latent's column is brought to unit length": make(target=column / column.norm()),
        "latent 0 is read": make(target=transcoder.W_enc[:, 0]),
        "`ln2_b` is lost in `bias`": make(bias="ln2_b"),
        "`b_enc` is lost in `bias`": make(bias="b_enc"),
        "`ln2_b` and `b_enc` are lost in `bias`": make(bias="both"),
        "`ln2_b` goes through the LayerNorm; it is added behind it": make(bias="ln2_b scaled"),
        "`ln2_b` goes through the LayerNorm's weights and scale; it is added behind them": make(
            bias="ln2_b scaled, not centered"
        ),
        "`ln2_b` and `b_enc` are added to `token`; they belong to `bias`": make(bias="in token"),
        "`b_enc` of latent 0 is used": make(bias="b_enc of 0"),
        "`b_dec` is subtracted from what the transcoder reads; it belongs to its output": make(bias="b_dec"),
    }
    wrong |= {
        "`ln2_b` is divided by the LayerNorm's scale; it is added behind it": make(bias="ln2_b divided"),
        "`ln2_b` and `b_enc` are divided by the LayerNorm's scale; they are added behind it": make(
            bias="both divided"
        ),
        "`b_enc` is added twice": make(bias="b_enc twice"),
        "`ln2_b` is added twice": make(bias="ln2_b twice"),
        "`ln2_b` and `b_enc` are added twice": make(bias="both twice"),
        "`b_enc` is subtracted": make(bias="b_enc subtracted"),
        "`ln2_b` is multiplied with `ln2_w`; it is added behind the weights": make(bias="ln2_b weighted"),
        "the whole `b_enc` is added, not that of the latent": make(bias="all of b_enc"),
        "the edges of a latent that does not fire are set to 0; they add up to its *pre*-activation": make(
            change="fires"
        ),
    }
    wrong |= {phrase: make(change=change) for change, phrase in RESIDUAL_MISTAKES.items()}
    right = latent_edges(cache, transcoder, latent, position)
    check_edges(check, found, right, wrong, "the sources of a latent, which add up to its pre-activation")
    total = right["token"] + right["position"] + right["heads"].sum() + right["bias"]
    pre = cache.mlp_in[position] @ column + transcoder.b_enc[latent]
    assert (total - pre).abs() < 1e-3 * (1 + pre.abs())
