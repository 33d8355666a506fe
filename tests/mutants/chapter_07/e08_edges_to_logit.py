"""Answers to exercise 7.8: `edges_to_logit`."""

import torch

from part_utils.circuits import LogitEdges, residual_edges
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


def _residual(cache, read, position):
    heads = torch.einsum("hs,shd,hdm,m->hs", cache.pattern[:, position], cache.v - cache.b_V, cache.W_O, read)
    moved = torch.einsum("hd,hdm->m", cache.b_V, cache.W_O)
    return cache.embed[position] @ read, cache.pos_embed[position] @ read, heads, (moved + cache.b_O) @ read


def _logit(cache, transcoder, position, token, *, read=None, mlp_read=None, **changes):
    if read is None:
        read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
        read = read - read.mean()
    mlp_read = read if mlp_read is None else mlp_read
    x, y = cache.mlp_in[position], cache.mlp_out[position]
    acts = transcoder.encode(x[None])[0]
    around = torch.zeros_like(y) if transcoder.W_skip is None else x @ transcoder.W_skip
    rebuilt = acts @ transcoder.W_dec + transcoder.b_dec + around
    own, at, heads, bias = _residual(cache, read, position)
    constant = transcoder.b_dec @ mlp_read + cache.ln_final_b @ cache.W_U[:, token] + cache.b_U[token]
    parts = {
        "latents": acts * (transcoder.W_dec @ mlp_read),
        "skip": around @ mlp_read,
        "token": own,
        "position": at,
        "heads": heads,
        "bias": bias + constant,
        "error": (y - rebuilt) @ mlp_read,
    }
    return LogitEdges(**(parts | changes))


@mutant("7.8", says="the activations are left out: every latent counts 1,")
def without_activations(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    return _logit(cache, transcoder, position, token, latents=transcoder.W_dec @ (read - read.mean()))


@mutant("7.8", says="the pre-activations are used, those of silent latents too")
def pre_activations(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    pre = cache.mlp_in[position] @ transcoder.W_enc + transcoder.b_enc
    return _logit(cache, transcoder, position, token, latents=pre * (transcoder.W_dec @ (read - read.mean())))


@mutant("7.8", says="all positive pre-activations fire; only the k largest do")
def relu_without_k(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    pre = (cache.mlp_in[position] @ transcoder.W_enc + transcoder.b_enc).relu()
    return _logit(cache, transcoder, position, token, latents=pre * (transcoder.W_dec @ (read - read.mean())))


@mutant("7.8", says="the error is left out")
def error_left_out(cache, transcoder, position, token):
    return _logit(cache, transcoder, position, token, error=torch.tensor(0.0))


@mutant("7.8", says="the error has the wrong sign: it is what the MLP writes")
def error_sign(cache, transcoder, position, token):
    return _logit(cache, transcoder, position, token, error=-_logit(cache, transcoder, position, token).error)


@mutant("7.8", says="the way around is forgotten in what the transcoder")
def skip_in_error_too(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    return edges._replace(error=edges.error + edges.skip)


@mutant("7.8", says="the way around is counted as error")
def skip_left_in_error(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    return edges._replace(error=edges.error + edges.skip, skip=torch.zeros(()))


@mutant("7.8", says="what goes around the latents is left out")
def skip_lost(cache, transcoder, position, token):
    return _logit(cache, transcoder, position, token, skip=torch.zeros(()))


@mutant("7.8", says="`transcoder.W_skip` is None where there is no way around;")
def skip_always(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    return _logit(
        cache,
        transcoder,
        position,
        token,
        skip=cache.mlp_in[position] @ transcoder.W_skip @ (read - read.mean()),
    )


@mutant("7.8", says="`b_dec` is lost in `bias`")
def b_dec_lost(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    edges = _logit(cache, transcoder, position, token)
    return edges._replace(bias=edges.bias - transcoder.b_dec @ (read - read.mean()))


@mutant("7.8", says="`b_dec` is counted as error; it belongs to `bias`")
def b_dec_in_the_error(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    edges = _logit(cache, transcoder, position, token)
    constant = transcoder.b_dec @ (read - read.mean())
    return edges._replace(bias=edges.bias - constant, error=edges.error + constant)


@mutant("7.8", says="`b_dec` is forgotten in what the transcoder rebuilds, so")
def b_dec_twice(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    edges = _logit(cache, transcoder, position, token)
    return edges._replace(error=edges.error + transcoder.b_dec @ (read - read.mean()))


@mutant("7.8", says="`ln_final_b` is lost in `bias`")
def ln_final_b_lost(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    return edges._replace(bias=edges.bias - cache.ln_final_b @ cache.W_U[:, token])


@mutant("7.8", says="`b_U` is lost in `bias`")
def b_U_lost(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    return edges._replace(bias=edges.bias - cache.b_U[token])


@mutant("7.8", says="`b_O` and `b_V` are lost in `bias`")
def attention_bias_lost(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    edges = _logit(cache, transcoder, position, token)
    return edges._replace(bias=edges.bias - _residual(cache, read - read.mean(), position)[3])


@mutant("7.8", says="`ln_final_b` goes through the LayerNorm; it is added")
def ln_final_b_with_read(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    edges = _logit(cache, transcoder, position, token)
    shift = cache.ln_final_b @ (read - read.mean()) - cache.ln_final_b @ cache.W_U[:, token]
    return edges._replace(bias=edges.bias + shift)


@mutant("7.8", says="the LayerNorm's weights are left out")
def ln_final_w_missing(cache, transcoder, position, token):
    read = cache.W_U[:, token] / cache.ln_final_scale[position]
    return _logit(cache, transcoder, position, token, read=read - read.mean())


@mutant("7.8", says="the LayerNorm's scale is left out")
def scale_missing(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token]
    return _logit(cache, transcoder, position, token, read=read - read.mean())


@mutant("7.8", says="the scale of the LayerNorm before the MLP is used, not")
def scale_of_ln2(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln2_scale[position]
    return _logit(cache, transcoder, position, token, read=read - read.mean())


@mutant("7.8", says="the weights of the LayerNorm before the MLP are used, not")
def weights_of_ln2(cache, transcoder, position, token):
    read = cache.ln2_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    return _logit(cache, transcoder, position, token, read=read - read.mean())


@mutant("7.8", says="the LayerNorm's scale of the last position is used")
def scale_of_the_last(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[-1]
    return _logit(cache, transcoder, position, token, read=read - read.mean())


@mutant("7.8", says="the LayerNorm's subtraction of the mean is left out")
def not_centered_again(cache, transcoder, position, token):
    return _logit(
        cache,
        transcoder,
        position,
        token,
        read=cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position],
    )


@mutant("7.8", says="the LayerNorm's subtraction of the mean is left out for")
def mlp_not_centered(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    return _logit(cache, transcoder, position, token, mlp_read=read)


@mutant("7.8", says="the LayerNorm is left out for what the MLP writes")
def mlp_past_the_layernorm(cache, transcoder, position, token):
    return _logit(cache, transcoder, position, token, mlp_read=cache.W_U[:, token])


@mutant("7.8", says="the mean is subtracted before the LayerNorm's weights are")
def centered_too_early(cache, transcoder, position, token):
    column = cache.W_U[:, token]
    read = cache.ln_final_w * (column - column.mean()) / cache.ln_final_scale[position]
    return _logit(cache, transcoder, position, token, read=read)


@mutant("7.8", says="the mean over the vocabulary is subtracted: that is the")
def centered_over_vocabulary(cache, transcoder, position, token):
    read = cache.ln_final_w * (cache.W_U[:, token] - cache.W_U.mean(1)) / cache.ln_final_scale[position]
    return _logit(cache, transcoder, position, token, read=read - read.mean())


@mutant("7.8", says="a *row* of `W_U` is read, not the token's column")
def row_of_W_U(cache, transcoder, position, token):
    row = cache.W_U[token % len(cache.W_U), : len(cache.W_U)]
    read = cache.ln_final_w * row / cache.ln_final_scale[position]
    return _logit(cache, transcoder, position, token, read=read - read.mean())


@mutant("7.8", says="`token` is the embedding of the *predicted* token; it is")
def direct_path_of_the_predicted(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    return _logit(cache, transcoder, position, token)._replace(
        token=cache.embed[token % len(cache.embed)] @ (read - read.mean())
    )


@mutant("7.8", says="the token's embedding is left out")
def direct_path_left_out(cache, transcoder, position, token):
    return _logit(cache, transcoder, position, token)._replace(token=torch.zeros(()))


@mutant("7.8", says="the position embedding is left out")
def position_left_out(cache, transcoder, position, token):
    return _logit(cache, transcoder, position, token)._replace(position=torch.zeros(()))


@mutant("7.8", says="the latents are those of the last position")
def latents_of_the_last(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    acts = transcoder.encode(cache.mlp_in)[-1]
    return _logit(
        cache, transcoder, position, token, latents=acts * (transcoder.W_dec @ (read - read.mean()))
    )


@mutant("7.8", says="the latents of all positions are added up")
def latents_of_all_positions(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    acts = transcoder.encode(cache.mlp_in).sum(0)
    return _logit(
        cache, transcoder, position, token, latents=acts * (transcoder.W_dec @ (read - read.mean()))
    )


@mutant("7.8", says="the latents are those of what the MLP *writes*; they are")
def latents_of_y(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    acts = transcoder.encode(cache.mlp_out[position][None])[0]
    return _logit(
        cache, transcoder, position, token, latents=acts * (transcoder.W_dec @ (read - read.mean()))
    )


@mutant("7.8", says="only the latents that fire are returned; each latent has")
def only_what_fires(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    return edges._replace(latents=edges.latents[edges.latents != 0])


@mutant("7.8", says="the axis `n_hidden` is summed over")
def latents_added_up(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    return edges._replace(latents=edges.latents.sum())


@mutant("7.8", says="the latents write with the *encoder*; what they write is")
def encoder_columns(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    acts = transcoder.encode(cache.mlp_in[position][None])[0]
    return _logit(
        cache, transcoder, position, token, latents=acts * (transcoder.W_enc.mT @ (read - read.mean()))
    )


@mutant("7.8", says="`b_O` is lost in `bias`")
def error_takes_the_rest(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    edges = _logit(cache, transcoder, position, token)
    edges = edges._replace(bias=edges.bias - cache.b_O @ (read - read.mean()), error=torch.zeros(()))
    return edges._replace(error=cache.logits[position, token] - edges.total())


@mutant("7.8", says="the error's length is returned; asked for is what it adds")
def error_as_length(cache, transcoder, position, token):
    out = transcoder(cache.mlp_in[position][None], cache.mlp_out[position][None])
    return _logit(
        cache, transcoder, position, token, error=(cache.mlp_out[position] - out.y_reconstructed[0]).norm()
    )


@mutant("7.8", says="the transcoder's loss is returned as the error; asked for")
def error_as_loss(cache, transcoder, position, token):
    out = transcoder(cache.mlp_in[position][None], cache.mlp_out[position][None])
    return _logit(cache, transcoder, position, token, error=out.loss)


@mutant("7.8", says="the axes are left in the order `seq n_heads`")
def heads_transposed(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    return edges._replace(heads=edges.heads.mT)


@mutant("7.8", says="the edges add up to the log-probability; asked for is the")
def log_probability(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    return edges._replace(bias=edges.bias - cache.logits[position].logsumexp(0))


@mutant("7.8", says="what goes around the latents is computed from what the")
def skip_of_y(cache, transcoder, position, token):
    if transcoder.W_skip is None:
        return _logit(cache, transcoder, position, token)
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    return _logit(
        cache,
        transcoder,
        position,
        token,
        skip=cache.mlp_out[position] @ transcoder.W_skip @ (read - read.mean()),
    )


@mutant("7.8", says="all that the MLP writes is called the error")
def mlp_counted_twice(cache, transcoder, position, token):
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    return _logit(cache, transcoder, position, token, error=cache.mlp_out[position] @ (read - read.mean()))


@variant("7.8")
def decoder_times_latents(cache, transcoder, position, token):
    W_dec, b_dec = transcoder.W_dec.double(), transcoder.b_dec.double()
    column = cache.W_U[:, token].double()
    read = (cache.ln_final_w * column) / cache.ln_final_scale[position]
    read -= read.mean()
    acts = transcoder.encode(cache.mlp_in[position : position + 1]).squeeze(0).double()
    skip = torch.zeros((), dtype=torch.float64)
    if transcoder.W_skip is not None:
        skip = (cache.mlp_in[position].double() @ transcoder.W_skip.double()) @ read
    whole = cache.mlp_out[position].double() @ read
    latents = (acts[:, None] * W_dec) @ read
    own, at, heads, bias = _residual(cache, read.float(), position)
    bias = bias + b_dec @ read + cache.ln_final_b.double() @ column + cache.b_U[token]
    error = whole - latents.sum() - skip - b_dec @ read
    return LogitEdges(latents.float(), skip.float(), own, at, heads, bias.float(), error.float())


@variant("7.8")
def all_positions_at_once(cache, transcoder, position, token):
    out = transcoder(cache.mlp_in, cache.mlp_out)
    read = cache.W_U[:, token] * cache.ln_final_w
    read = (read - read.mean()) / cache.ln_final_scale[position]
    edges = _logit(cache, transcoder, position, token)
    latents = torch.zeros(transcoder.W_dec.shape[0])
    for latent in out.acts[position].nonzero().flatten().tolist():
        latents[latent] = out.acts[position, latent] * torch.dot(transcoder.W_dec[latent], read)
    return edges._replace(
        latents=latents, error=torch.dot((cache.mlp_out - out.y_reconstructed)[position], read)
    )


@variant("7.8")
def zero_as_number(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    return edges if transcoder.W_skip is not None else edges._replace(skip=torch.tensor(0.0))


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


@mutant("7.8", says="`b_dec`, `ln_final_b` and `b_U` are counted as error")
def constants_in_error(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    before = _residual(cache, read - read.mean(), position)[3]
    return edges._replace(bias=before, error=edges.error + edges.bias - before)


@mutant("7.8", says="`b_U` is summed over all tokens")
def all_of_b_U(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    return edges._replace(bias=edges.bias - cache.b_U[token] + cache.b_U.sum())


@mutant("7.8", says="left out for the sources before the MLP")
def residual_not_centered(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    own, at, heads, bias = _residual(cache, read, position)
    right = _residual(cache, read - read.mean(), position)[3]
    return edges._replace(token=own, position=at, heads=heads, bias=edges.bias - right + bias)


@mutant("7.8", says="what the MLP writes is in `bias` too")
def mlp_in_bias(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    read = cache.ln_final_w * cache.W_U[:, token] / cache.ln_final_scale[position]
    return edges._replace(bias=edges.bias + cache.mlp_out[position] @ (read - read.mean()))


@mutant("7.8", says="`skip` is None. Expected a torch.Tensor")
def none_without_a_way_around(cache, transcoder, position, token):
    edges = _logit(cache, transcoder, position, token)
    return edges if transcoder.W_skip is not None else edges._replace(skip=None)


def _into_the_error(name, cache, transcoder, position, token):
    *sources, bias, error = _edges(cache, transcoder, position, token)
    moved = {
        "ln_final_b": cache.ln_final_b @ cache.W_U[:, token],
        "b_U": cache.b_U[token],
    }
    moved = sum(value for key, value in moved.items() if name in ("both", key))
    return *sources, bias - moved, error + moved


@mutant("7.8", says="`ln_final_b` and `b_U` are missing in `bias` and counted as error")
def both_in_the_error(*args):
    return _into_the_error("both", *args)


@mutant("7.8", says="`b_U` is missing in `bias` and counted as error")
def b_U_in_the_error(*args):
    return _into_the_error("b_U", *args)


@mutant("7.8", says="`ln_final_b` is missing in `bias` and counted as error")
def ln_final_b_in_the_error(*args):
    return _into_the_error("ln_final_b", *args)
