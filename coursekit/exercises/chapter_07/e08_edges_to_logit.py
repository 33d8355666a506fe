"""Exercise 7.8: `edges_to_logit`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check
from coursekit.exercises.chapter_07.scene import (
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
    id="7.8",
    reference="circuits.edges_to_logit",
    difficulty=4,
    importance=5,
    minutes=25,
    points=4,
)
def edges_to_logit(check: Check) -> None:
    for handle, cache, positions in prompts(check):
        for skip in (False, True):
            model = len(cache.b_O)
            other, transcoder = make_transcoder(check, n_model=model, n_hidden=2 * model + 1, skip=skip)
            for position, token in zip(positions, (5, 11), strict=True):
                wrong = _wrong(cache, transcoder, position, token)
                right = _edges(cache, transcoder, position, token)
                claim = "the sources of a logit add up to it"
                claim += ", with a way around the latents" if skip else ""
                check_edges(check, check.call(handle, other, position, token), right, wrong, claim)


def _edges(
    cache: FrozenPrompt, transcoder: Transcoder, position: int, token: int, read: str = "", change: str = ""
) -> Edges:
    column = cache.W_U[:, token]
    if change == "mean over the vocabulary":
        column = column - cache.W_U.mean(dim=1)
    w, scale = cache.ln_final_w, cache.ln_final_scale
    if change == "ln2 scale":
        scale = cache.ln2_scale
    if change == "ln2 weights":
        w = cache.ln2_w
    direction = layer_norm_reads(w, column, scale, position)[read]
    where = {"position 0": 0, "last position": -1}.get(change, position)
    x, y = cache.mlp_in[where], cache.mlp_out[where]
    pre = x @ transcoder.W_enc + transcoder.b_enc
    acts = torch.zeros_like(pre)
    chosen = pre.topk(transcoder.k)
    acts[chosen.indices] = chosen.values.relu()
    used = {"all latents": pre.relu(), "pre-activations": pre, "ones": (acts > 0).float()}.get(change, acts)
    rows = transcoder.W_enc.T if change == "encoder" else transcoder.W_dec
    around = x @ transcoder.W_skip if transcoder.W_skip is not None else torch.zeros_like(y)
    rebuilt = acts @ transcoder.W_dec + transcoder.b_dec + around
    missed = {
        "error without b_dec": y - rebuilt + transcoder.b_dec,
        "error without skip": y - rebuilt + around,
        "error turned": rebuilt - y,
        "no error": 0 * y,
        "error is all": y,
        "skip in error": y - rebuilt + around,
        "error of x": x - rebuilt,
    }.get(change, y - rebuilt)
    before = residual_edges(cache, direction, position)
    constants = {
        "b_dec": transcoder.b_dec @ direction,
        "ln_final_b": cache.ln_final_b @ column,
        "b_U": cache.b_U[token],
    }
    kept = [value for name, value in constants.items() if change != f"no {name}"]
    bias = before["bias"] + sum(kept, torch.zeros(()))
    if change == "ln_final_b scaled":
        bias = bias - constants["ln_final_b"] + cache.ln_final_b @ direction
    if change == "no constants of attention":
        bias = sum(kept, torch.zeros(()))
    skip = {"skip in error": 0 * around}.get(change, around) @ direction
    return {
        "latents": used * (rows @ direction),
        "skip": skip,
        "token": before["token"],
        "position": before["position"],
        "heads": before["heads"],
        "bias": bias,
        "error": missed @ direction,
    }


_CHANGES = {
    "mean over the vocabulary": "the mean over the vocabulary is subtracted: that is the logit minus the mean logit",
    "ln2 scale": "the scale of the LayerNorm before the MLP is used, not that of the last one",
    "ln2 weights": "the weights of the LayerNorm before the MLP are used, not those of the last one",
    "position 0": "the transcoder reads position 0",
    "last position": "the transcoder reads the last position, not `position`",
    "all latents": "all positive pre-activations fire; only the k largest do",
    "pre-activations": "the pre-activations are used, those of silent latents too",
    "ones": "the activations are left out: every latent that fires counts 1",
    "encoder": "the latents write with the *encoder*; what they write is their row of the decoder",
    "error without b_dec": "`b_dec` is forgotten in what the transcoder rebuilds, so it is in the error",
    "error without skip": "the way around is forgotten in what the transcoder rebuilds, so it is in the error",
    "error turned": "the error has the wrong sign: it is what the MLP writes minus what the transcoder rebuilds",
    "no error": "the error is left out",
    "error is all": "all that the MLP writes is called the error",
    "skip in error": "the way around is counted as error",
    "error of x": "the error is taken from what the MLP *reads*",
    "no b_dec": "`b_dec` is lost in `bias`",
    "no ln_final_b": "`ln_final_b` is lost in `bias`",
    "no b_U": "`b_U` is lost in `bias`",
    "ln_final_b scaled": "`ln_final_b` goes through the LayerNorm; it is added behind it",
    "no constants of attention": "`b_O` and `b_V` are lost in `bias`",
}


def _wrong(
    cache: FrozenPrompt, transcoder: Transcoder, position: int, token: int
) -> dict[str, Callable[[], Edges]]:
    def make(**change: str) -> Callable[[], Edges]:
        return lambda: _edges(cache, transcoder, position, token, **change)

    reads = layer_norm_reads(cache.ln_final_w, cache.W_U[:, token], cache.ln_final_scale, position)
    wrong = {phrase: make(read=phrase) for phrase in reads if phrase}
    wrong |= {phrase: make(change=change) for change, phrase in _CHANGES.items()}
    wrong["it is the logit of token 0"] = lambda: _edges(cache, transcoder, position, 0)
    wrong["it is the logit at the last position"] = lambda: _edges(
        cache, transcoder, len(cache.tokens) - 1, token
    )
    return wrong
