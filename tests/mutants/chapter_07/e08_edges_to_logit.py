"""Answers to exercise 7.8: `edges_to_logit`."""

import torch

from part_utils.circuits import residual_edges
from tests.mutants import equivalent, mutant, variant


def _edges(cache, transcoder, position, token, *, w=None, scale=None, center=True, column=None, change=""):
    column = cache.W_U[:, token] if column is None else column
    w = cache.ln_final_w if w is None else w
    read = w * column / (cache.ln_final_scale if scale is None else scale)[position]
    read = read - read.mean() if center else read
    x, y = cache.mlp_in[position], cache.mlp_out[position]
    acts = transcoder.encode(x[None])[0]
    around = torch.zeros_like(y) if transcoder.W_skip is None else x @ transcoder.W_skip
    rebuilt = acts @ transcoder.W_dec + transcoder.b_dec + around
    before = residual_edges(cache, read, position)
    bias = before.bias + cache.b_U[token] + cache.ln_final_b @ column
    if change != "no b_dec":
        bias = bias + transcoder.b_dec @ read
    error = {"none": 0 * y, "turned": rebuilt - y, "with skip": y - rebuilt + around}.get(change, y - rebuilt)
    latents = acts * ((transcoder.W_enc.T if change == "encoder" else transcoder.W_dec) @ read)
    if change == "ones":
        latents = (acts > 0) * (transcoder.W_dec @ read)
    skip = 0 * around @ read if change == "with skip" else around @ read
    return latents, skip, before.token, before.position, before.heads, bias, error @ read


@mutant("7.8", says="weights are left out")
def no_weights(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token, w=torch.ones_like(cache.ln_final_w))


@mutant("7.8", says="the error is left out")
def no_error(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token, change="none")


@mutant("7.8", says="wrong sign")
def error_turned(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token, change="turned")


@mutant("7.8", says="mean over the vocabulary")
def over_the_vocabulary(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token, column=cache.W_U[:, token] - cache.W_U.mean(dim=1))


@mutant("7.8", says="scale of the LayerNorm before the MLP")
def other_scale(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token, scale=cache.ln2_scale)


@mutant("7.8", says="subtraction of the mean is left out")
def not_centered(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token, center=False)


@mutant("7.8", says="`b_dec` is lost")
def no_b_dec(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token, change="no b_dec")


@mutant("7.8", says="*encoder*")
def encoder_rows(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token, change="encoder")


@mutant("7.8", says="activations are left out")
def without_activations(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token, change="ones")


@mutant("7.8", says="counted as error")
def skip_is_error(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token, change="with skip")


@mutant("7.8", says="expected 7")
def only_six(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token)[:-1]


@variant("7.8")
def a_list(cache, transcoder, position, token):
    return list(_edges(cache, transcoder, position, token))


@variant("7.8")
def error_as_the_rest(cache, transcoder, position, token):
    *parts, _ = _edges(cache, transcoder, position, token)
    return (*parts, cache.logits[position, token] - sum(part.sum() for part in parts))


equivalent(
    "7.8",
    "a dot product is the same from both sides.",
    "x @ transcoder.W_skip @ read -> read @ (x @ transcoder.W_skip)",
    "transcoder.b_dec @ read -> read @ transcoder.b_dec",
    "cache.ln_final_b @ cache.W_U[:, token] -> cache.W_U[:, token] @ cache.ln_final_b",
    "(y - output.y_reconstructed[0]) @ read -> read @ (y - output.y_reconstructed[0])",
)


equivalent(
    "7.8",
    "the transcoder is given one row.",
    "output.acts[0]: 0 -> -1",
    "output.y_reconstructed[0]: 0 -> -1",
)
