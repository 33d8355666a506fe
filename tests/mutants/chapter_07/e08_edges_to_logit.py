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


@mutant("7.8", says="mean over the vocabulary")
def over_the_vocabulary(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token, column=cache.W_U[:, token] - cache.W_U.mean(dim=1))


@mutant("7.8", says="scale of the LayerNorm before the MLP")
def other_scale(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token, scale=cache.ln2_scale)


@mutant("7.8", says="subtraction of the mean is left out")
def not_centered(cache, transcoder, position, token):
    return _edges(cache, transcoder, position, token, center=False)


def _changed(name, change):
    def wrong(cache, transcoder, position, token):
        return _edges(cache, transcoder, position, token, change=change)

    wrong.__name__ = name
    return wrong


for _name, _change, _says in (
    ("no_error", "none", "the error is left out"),
    ("error_turned", "turned", "wrong sign"),
    ("no_b_dec", "no b_dec", "`b_dec` is lost"),
    ("encoder_rows", "encoder", "*encoder*"),
    ("without_activations", "ones", "activations are left out"),
    ("skip_is_error", "with skip", "counted as error"),
):
    mutant("7.8", says=_says)(_changed(_name, _change))


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
