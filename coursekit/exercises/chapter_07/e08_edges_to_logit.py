"""Exercise 7.8: `edges_to_logit`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check
from coursekit.checking.phrases import explained
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

NOT_CENTERED = "the LayerNorm's subtraction of the mean is left out"
NO_WAY = {
    "'NoneType'": "`transcoder.W_skip` is None where there is no way around; `skip` is 0 then.",
    "Boolean value of Tensor": "A matrix is neither true nor false; ask whether it is there "
    "(`transcoder.W_skip is not None`).",
}


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
            for position, token in zip(positions, (8, 11), strict=True):
                wrong = _wrong(cache, transcoder, position, token)
                right = _edges(cache, transcoder, position, token)
                claim = "the sources of a logit add up to it"
                claim += ", with a way around the latents" if skip else ""
                with explained(NO_WAY):
                    found = check.call(handle, other, position, token)
                check_unchanged(check, handle, cache, "cache")
                check_unchanged(check, other, transcoder, "transcoder")
                check_edges(check, found, right, wrong, claim)


def _edges(
    cache: FrozenPrompt, transcoder: Transcoder, position: int, token: int, read: str = "", change: str = ""
) -> Edges:
    """Compute the edges into a logit, with one mistake in the direction that is read, or elsewhere, if it is named."""
    column = cache.W_U[:, token]
    if change == "mean over the vocabulary":
        column = column - cache.W_U.mean(dim=1)
    if change == "row of W_U":
        column = cache.W_U[token % len(cache.W_U), : len(cache.W_U)]
    w, scale = cache.ln_final_w, cache.ln_final_scale
    if change == "ln2 scale":
        scale = cache.ln2_scale
    if change == "ln2 weights":
        w = cache.ln2_w
    reads = layer_norm_reads(w, column, scale, position)
    direction = reads[read]
    # What the MLP's parts are read with.
    behind = {
        "MLP not centered": reads[NOT_CENTERED],
        "MLP behind the LayerNorm": column,
    }.get(change, direction)
    before = residual_edges(
        cache, reads[NOT_CENTERED] if change == "residual not centered" else direction, position, change
    )
    bias = before["bias"]
    constants = {
        "b_dec": transcoder.b_dec @ behind,
        "ln_final_b": cache.ln_final_b @ column,
        "b_U": cache.b_U[token],
    }
    if change == "all of b_U":
        constants["b_U"] = cache.b_U.sum()
    if change == "b_dec in error":
        constants["b_dec"] = 0 * constants["b_dec"]
    if change == "ln_final_b scaled":
        constants["ln_final_b"] = cache.ln_final_b @ direction
    if change == "ln_final_b divided":
        constants["ln_final_b"] = constants["ln_final_b"] / scale[position]
    astray = [name for name in constants if change.endswith("in error") and name in change.split()]
    into_error = sum((constants.pop(name) for name in astray if name != "b_dec"), torch.zeros(()))
    bias = bias + sum((value * _times(name, change) for name, value in constants.items()), torch.zeros(()))
    if change == "no constants of attention":
        bias = bias - before["bias"]
    if change == "MLP in bias":
        bias = bias + cache.mlp_out[position] @ direction
    if change == "log-probability":
        bias = bias - cache.logits[position].logsumexp(dim=0)
    if change == "direct path of the predicted":
        before["token"] = cache.embed[token % len(cache.embed)] @ direction
    latents, skip, error = _mlp(cache, transcoder, position, behind, change)
    error = error + into_error
    if change == "constants in error":
        error = error + bias - before["bias"]
        bias = before["bias"]
    return {
        "latents": latents,
        "skip": skip,
        "token": before["token"],
        "position": before["position"],
        "heads": before["heads"],
        "bias": bias,
        "error": error,
    }


def _times(name: str, change: str) -> int:
    return {f"no {name}": 0, f"{name} twice": 2, f"{name} subtracted": -1}.get(change, 1)


def _mlp(
    cache: FrozenPrompt, transcoder: Transcoder, position: int, direction: Tensor, change: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what latents, the way around and the error write along a direction."""
    where = {"position 0": 0, "last position": -1}.get(change, position)
    x, y = cache.mlp_in[where], cache.mlp_out[where]
    acts = _acts(x, transcoder)
    around = x @ transcoder.W_skip if transcoder.W_skip is not None else torch.zeros_like(y)
    rebuilt = acts @ transcoder.W_dec + transcoder.b_dec + around
    missed = {
        "error without b_dec": y - rebuilt + transcoder.b_dec,
        "b_dec in error": y - rebuilt + transcoder.b_dec,
        "error without skip": y - rebuilt + around,
        "error turned": rebuilt - y,
        "no error": 0 * y,
        "error is all": y,
        "skip in error": y - rebuilt + around,
        "error of x": x - rebuilt,
        "error without latents": y - rebuilt + acts @ transcoder.W_dec,
    }.get(change, y - rebuilt)
    pre = x @ transcoder.W_enc + transcoder.b_enc
    used = {
        "all latents": pre.relu(),
        "pre-activations": pre,
        "ones": (acts > 0).float(),
        "all ones": torch.ones_like(acts),
        "latents of the last": _acts(cache.mlp_in[-1], transcoder),
        "latents of position 0": _acts(cache.mlp_in[0], transcoder),
        "latents of all positions": sum((_acts(row, transcoder) for row in cache.mlp_in), 0 * acts),
        "latents of y": _acts(y, transcoder),
    }.get(change, acts)
    rows = transcoder.W_enc.T if change == "encoder" else transcoder.W_dec
    if change == "unit rows":
        rows = rows / rows.norm(dim=-1, keepdim=True)
    latents = used * (rows @ direction)
    if change == "only what fires":
        latents = latents[acts > 0]
    if change == "latents in order":
        latents = latents[acts.topk(transcoder.k).indices]
    if change == "skip of y" and transcoder.W_skip is not None:
        around = y @ transcoder.W_skip
    if change in ("skip in error", "no skip"):
        around = 0 * around
    error = {
        "error as length": missed.norm(),
        "error as squares": missed.square().sum(),
        "error as loss": missed.square().mean(),
    }.get(change, missed @ direction)
    return latents, around @ direction, error


def _acts(x: Tensor, transcoder: Transcoder) -> Tensor:
    chosen = (x @ transcoder.W_enc + transcoder.b_enc).topk(transcoder.k)
    return torch.zeros_like(transcoder.b_enc).index_put((chosen.indices,), chosen.values.relu())


_CHANGES = {
    "mean over the vocabulary": "the mean over the vocabulary is subtracted: that is the logit minus the mean logit",
    "ln2 scale": "the scale of the LayerNorm before the MLP is used, not that of the last one",
    "ln2 weights": "the weights of the LayerNorm before the MLP are used, not those of the last one",
    "position 0": "the transcoder reads position 0",
    "all latents": "all positive pre-activations fire; only the k largest do",
    "pre-activations": "the pre-activations are used, those of silent latents too",
    "ones": "the activations are left out: every latent that fires counts 1",
    "all ones": "the activations are left out: every latent counts 1, whether it fires or not",
    "latents of the last": "the latents are those of the last position",
    "latents of position 0": "the latents are those of position 0",
    "latents of all positions": "the latents of all positions are added up",
    "latents of y": "the latents are those of what the MLP *writes*; they are those of what it reads",
    "only what fires": "only the latents that fire are returned; each latent has its place, and silent ones are 0",
    "latents in order": "only the k largest latents are returned; each latent has its place, and silent ones are 0",
    "unit rows": "the decoder's rows are brought to unit length",
    "MLP not centered": "the LayerNorm's subtraction of the mean is left out for what the MLP writes",
    "MLP behind the LayerNorm": "the LayerNorm is left out for what the MLP writes",
    "row of W_U": "a *row* of `W_U` is read, not the token's column",
    "residual not centered": "the LayerNorm's subtraction of the mean is left out for the sources before the MLP",
    "all of b_U": "`b_U` is summed over all tokens; it is that of `token`",
    "MLP in bias": "what the MLP writes is in `bias` too, and counts twice",
    "constants in error": "`b_dec`, `ln_final_b` and `b_U` are counted as error; they belong to `bias`",
    "encoder": "the latents write with the *encoder*; what they write is their row of the decoder",
    "error without b_dec": "`b_dec` is forgotten in what the transcoder rebuilds, so it is in the error",
    "error without skip": "the way around is forgotten in what the transcoder rebuilds, so it is in the error",
    "error turned": "the error has the wrong sign: it is what the MLP writes minus what the transcoder rebuilds",
    "no error": "the error is left out",
    "error is all": "all that the MLP writes is called the error",
    "skip in error": "the way around is counted as error",
    "error of x": "the error is taken from what the MLP *reads*",
    "error without latents": "the latents are forgotten in what the transcoder rebuilds, so they are in the error",
    "error as length": "the error's length is returned; asked for is what it adds to the logit",
    "error as squares": "the squared length of the error is returned; asked for is what it adds to the logit",
    "error as loss": "the transcoder's loss is returned as the error; asked for is what the error adds to the logit",
    "no skip": "what goes around the latents is left out",
    "skip of y": "what goes around the latents is computed from what the MLP *writes*",
    "ln_final_b and b_U in error": "`ln_final_b` and `b_U` are missing in `bias` and counted as error",
    "ln_final_b in error": "`ln_final_b` is missing in `bias` and counted as error",
    "b_U in error": "`b_U` is missing in `bias` and counted as error",
    "b_dec in error": "`b_dec` is counted as error; it belongs to `bias`",
    "b_dec twice": "`b_dec` is added twice",
    "ln_final_b twice": "`ln_final_b` is added twice",
    "b_U twice": "`b_U` is added twice",
    "b_U subtracted": "`b_U` is subtracted",
    "ln_final_b divided": "`ln_final_b` is divided by the LayerNorm's scale; it is added behind it",
    "log-probability": "the edges add up to the log-probability; asked for is the logit",
    "direct path of the predicted": "`token` is the embedding of the *predicted* token; it is that of the token at "
    "`position`",
    "no b_dec": "`b_dec` is lost in `bias`",
    "no ln_final_b": "`ln_final_b` is lost in `bias`",
    "no b_U": "`b_U` is lost in `bias`",
    "ln_final_b scaled": "`ln_final_b` goes through the LayerNorm; it is added behind it",
    "no constants of attention": "`b_O` and `b_V` are lost in `bias`",
} | RESIDUAL_MISTAKES


def _wrong(
    cache: FrozenPrompt, transcoder: Transcoder, position: int, token: int
) -> dict[str, Callable[[], Edges]]:
    def make(**change: str) -> Callable[[], Edges]:
        return lambda: _edges(cache, transcoder, position, token, **change)

    reads = layer_norm_reads(cache.ln_final_w, cache.W_U[:, token], cache.ln_final_scale, position)
    wrong = {phrase: make(read=phrase) for phrase in reads if phrase}
    wrong |= {phrase: make(change=change) for change, phrase in _CHANGES.items()}
    wrong["it is the logit of the token that the position holds"] = lambda: _edges(
        cache, transcoder, position, int(cache.tokens[position])
    )
    wrong["it is the logit of token 0"] = lambda: _edges(cache, transcoder, position, 0)
    wrong["it is the logit at the last position"] = lambda: _edges(
        cache, transcoder, len(cache.tokens) - 1, token
    )
    return wrong
