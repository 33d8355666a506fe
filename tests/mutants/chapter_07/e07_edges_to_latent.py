"""Answers to exercise 7.7: `residual_edges` and `edges_to_latent`."""

import torch

from part_utils.circuits import ResidualEdges, residual_edges
from tests.mutants import equivalent, mutant, variant


def _edges(cache, read, position, pattern=None, v=None, bias=None):
    pattern = cache.pattern[:, position] if pattern is None else pattern
    v = cache.v - cache.b_V if v is None else v
    heads = pattern * torch.einsum("khd,hdm,m->hk", v, cache.W_O, read)
    if bias is None:
        bias = cache.b_O + torch.einsum("hd,hdm->m", cache.b_V, cache.W_O)
    return cache.embed[position] @ read, cache.pos_embed[position] @ read, heads, bias @ read


def _latent(cache, transcoder, latent, position, *, read=None, constant=None):
    column = transcoder.W_enc[:, latent]
    if read is None:
        read = cache.ln2_w * column / cache.ln2_scale[position]
        read = read - read.mean()
    if constant is None:
        constant = cache.ln2_b @ column + transcoder.b_enc[latent]
    edges = residual_edges(cache, read, position)
    return edges._replace(bias=edges.bias + constant)


@mutant("7.7", says="pattern is transposed", function="residual_edges")
def transposed(cache, read, position):
    return _edges(cache, read, position, pattern=cache.pattern[:, :, position])


@mutant("7.7", says="`b_V` is lost", function="residual_edges")
def b_v_lost(cache, read, position):
    return _edges(cache, read, position, bias=cache.b_O)


@mutant("7.7", says="left in the values", function="residual_edges")
def b_v_in_the_heads(cache, read, position):
    return _edges(cache, read, position, v=cache.v, bias=cache.b_O)


@mutant("7.7", says="in `bias` too", function="residual_edges")
def b_v_twice(cache, read, position):
    return _edges(cache, read, position, v=cache.v)


@mutant("7.7", says="`b_O` is lost", function="residual_edges")
def b_o_lost(cache, read, position):
    return _edges(cache, read, position, bias=torch.einsum("hd,hdm->m", cache.b_V, cache.W_O))


@mutant("7.7", says="summed over", function="residual_edges")
def heads_together(cache, read, position):
    token, place, heads, bias = _edges(cache, read, position)
    return token, place, heads.sum(dim=0), bias


@mutant("7.7", says="expected 4", function="residual_edges")
def one_number(cache, read, position):
    token, place, heads, bias = _edges(cache, read, position)
    return token + place + heads.sum() + bias


@mutant("7.7", says="subtraction of the mean is left out")
def not_centered(cache, transcoder, latent, position):
    read = cache.ln2_w * transcoder.W_enc[:, latent] / cache.ln2_scale[position]
    return _latent(cache, transcoder, latent, position, read=read)


@mutant("7.7", says="scale of the last position")
def last_scale(cache, transcoder, latent, position):
    read = cache.ln2_w * transcoder.W_enc[:, latent] / cache.ln2_scale[-1]
    return _latent(cache, transcoder, latent, position, read=read - read.mean())


@mutant("7.7", says="weights are left out")
def no_weights(cache, transcoder, latent, position):
    read = transcoder.W_enc[:, latent] / cache.ln2_scale[position]
    return _latent(cache, transcoder, latent, position, read=read - read.mean())


@mutant("7.7", says="*decoder* row")
def decoder_row(cache, transcoder, latent, position):
    read = cache.ln2_w * transcoder.W_dec[latent] / cache.ln2_scale[position]
    constant = cache.ln2_b @ transcoder.W_dec[latent] + transcoder.b_enc[latent]
    return _latent(cache, transcoder, latent, position, read=read - read.mean(), constant=constant)


@mutant("7.7", says="`b_enc` is lost")
def no_b_enc(cache, transcoder, latent, position):
    constant = cache.ln2_b @ transcoder.W_enc[:, latent]
    return _latent(cache, transcoder, latent, position, constant=constant)


@mutant("7.7", says="`ln2_b` is lost")
def no_ln2_b(cache, transcoder, latent, position):
    return _latent(cache, transcoder, latent, position, constant=transcoder.b_enc[latent])


@mutant("7.7", says="multiplied with the LayerNorm's scale")
def multiplied(cache, transcoder, latent, position):
    read = cache.ln2_w * transcoder.W_enc[:, latent] * cache.ln2_scale[position]
    return _latent(cache, transcoder, latent, position, read=read - read.mean())


@variant("7.7", function="residual_edges")
def loops(cache, read, position):
    n_heads, seq = len(cache.W_O), len(cache.tokens)
    heads = torch.zeros(n_heads, seq)
    always = cache.b_O.clone()
    for head in range(n_heads):
        always += cache.b_V[head] @ cache.W_O[head]
        for key in range(position + 1):
            moved = (cache.v[key, head] - cache.b_V[head]) @ cache.W_O[head]
            heads[head, key] = cache.pattern[head, position, key] * (moved @ read)
    return cache.embed[position] @ read, cache.pos_embed[position] @ read, heads, always @ read


@variant("7.7")
def sources_centered(cache, transcoder, latent, position):
    column = transcoder.W_enc[:, latent]

    def behind(source):
        return (source - source.mean(-1, keepdim=True)) / cache.ln2_scale[position] * cache.ln2_w @ column

    moved = torch.einsum("khd,hdm->hkm", cache.v - cache.b_V, cache.W_O)
    moved = cache.pattern[:, position, :, None] * moved
    always = cache.b_O + torch.einsum("hd,hdm->m", cache.b_V, cache.W_O)
    constant = cache.ln2_b @ column + transcoder.b_enc[latent]
    return ResidualEdges(
        behind(cache.embed[position]),
        behind(cache.pos_embed[position]),
        behind(moved),
        behind(always) + constant,
    )


@variant("7.7")
def by_autograd(cache, transcoder, latent, position):
    with torch.enable_grad():
        residual = torch.zeros_like(cache.b_O, requires_grad=True)
        normalized = (residual - residual.mean()) / cache.ln2_scale[position] * cache.ln2_w
        (read,) = torch.autograd.grad(normalized @ transcoder.W_enc[:, latent].detach(), residual)
    return list(_latent(cache, transcoder, latent, position, read=read))


def _heads(cache, read, position, v=None, pattern=None):
    v = cache.v - cache.b_V if v is None else v
    pattern = cache.pattern[:, position] if pattern is None else pattern
    return torch.einsum("hs,shd,hdm,m->hs", pattern, v, cache.W_O, read)


def _residual(cache, read, position, **changes):
    moved = torch.einsum("hd,hdm->m", cache.b_V, cache.W_O)
    parts = {
        "token": cache.embed[position] @ read,
        "position": cache.pos_embed[position] @ read,
        "heads": _heads(cache, read, position),
        "bias": (moved + cache.b_O) @ read,
    }
    return ResidualEdges(**(parts | changes))


def _blatent(cache, transcoder, latent, position, read=None, constant=None):
    w = transcoder.W_enc[:, latent]
    if read is None:
        read = cache.ln2_w * w / cache.ln2_scale[position]
        read = read - read.mean()
    if constant is None:
        constant = cache.ln2_b @ w + transcoder.b_enc[latent]
    edges = _residual(cache, read, position)
    return edges._replace(bias=edges.bias + constant)


@mutant("7.7", says="the pattern is transposed: `pattern[head, query, key]`,", function="residual_edges")
def query_for_key(cache, read, position):
    return _residual(
        cache, read, position, heads=_heads(cache, read, position, pattern=cache.pattern[:, :, position])
    )


@mutant("7.7", says="`b_V` is left in the values: what a head moves whatever", function="residual_edges")
def b_V_in_the_heads(cache, read, position):
    heads = _heads(cache, read, position, cache.v)
    return _residual(cache, read, position, heads=heads, bias=cache.b_O @ read)


@mutant("7.7", says="`b_V` is in the values and in `bias` too", function="residual_edges")
def b_V_twice(cache, read, position):
    return _residual(cache, read, position, heads=_heads(cache, read, position, cache.v))


@mutant("7.7", says="`b_V` is lost: subtracted from the values, it has to come", function="residual_edges")
def b_V_lost(cache, read, position):
    return _residual(cache, read, position, bias=cache.b_O @ read)


@mutant("7.7", says="`b_O` is lost in `bias`", function="residual_edges")
def b_O_lost(cache, read, position):
    return _residual(cache, read, position, bias=torch.einsum("hd,hdm,m->", cache.b_V, cache.W_O, read))


@mutant("7.7", says="`b_O` is added for every head; it is added once", function="residual_edges")
def b_O_for_each_head(cache, read, position):
    bias = (torch.einsum("hd,hdm->hm", cache.b_V, cache.W_O) + cache.b_O).sum(0) @ read
    return _residual(cache, read, position, bias=bias)


@mutant("7.7", says="head 0's `W_O` is used for every head", function="residual_edges")
def one_W_O_for_all(cache, read, position):
    heads = torch.einsum(
        "hs,shd,dm,m->hs", cache.pattern[:, position], cache.v - cache.b_V, cache.W_O[0], read
    )
    return _residual(cache, read, position, heads=heads)


@mutant("7.7", says="the token's embedding is that of the position before", function="residual_edges")
def embedding_before(cache, read, position):
    return _residual(cache, read, position, token=cache.embed[position - 1] @ read)


@mutant("7.7", says="the last position is looked at, not `position`", function="residual_edges")
def always_last(cache, read, position):
    return _residual(cache, read, -1)


@mutant("7.7", says="the pattern of the last position is used, not that of", function="residual_edges")
def pattern_of_the_last(cache, read, position):
    return _residual(cache, read, position, heads=_heads(cache, read, -1))


@mutant("7.7", says="the axis `n_heads` is summed over", function="residual_edges")
def heads_added_up(cache, read, position):
    return _residual(cache, read, position, heads=_heads(cache, read, position).sum(0))


@mutant("7.7", says="the axis `seq` is summed over", function="residual_edges")
def tokens_added_up(cache, read, position):
    return _residual(cache, read, position, heads=_heads(cache, read, position).sum(1))


@mutant("7.7", says="the axes are left in the order `seq n_heads`", function="residual_edges")
def heads_transposed(cache, read, position):
    return _residual(cache, read, position, heads=_heads(cache, read, position).mT)


@mutant("7.7", says="the tokens behind `position` are left out of `heads`,", function="residual_edges")
def later_tokens_cut(cache, read, position):
    return _residual(cache, read, position, heads=_heads(cache, read, position)[:, : position + 1])


@mutant("7.7", says="the position embedding is added to `token`; it is a", function="residual_edges")
def token_with_position(cache, read, position):
    both = (cache.embed[position] + cache.pos_embed[position]) @ read
    return _residual(cache, read, position)._replace(token=both, position=torch.tensor(0.0))


@mutant("7.7", says="the position embedding is left out", function="residual_edges")
def position_lost(cache, read, position):
    return _residual(cache, read, position)._replace(position=torch.tensor(0.0))


@mutant("7.7", says="the position embedding is in `bias`; it is a source of", function="residual_edges")
def position_in_the_bias(cache, read, position):
    edges = _residual(cache, read, position)
    return edges._replace(bias=edges.bias + edges.position, position=torch.tensor(0.0))


@mutant("7.7", says="`token` and `position` have changed places", function="residual_edges")
def token_and_position_swapped(cache, read, position):
    edges = _residual(cache, read, position)
    return edges._replace(token=edges.position, position=edges.token)


@mutant("7.7", says="the mean over the tokens is taken, not the sum that is", function="residual_edges")
def without_pattern(cache, read, position):
    pattern = (cache.pattern[:, position] > 0).float()
    return _residual(
        cache, read, position, heads=_heads(cache, read, position, pattern=pattern / pattern.sum(1, True))
    )


@mutant("7.7", says="the value of the position itself is used for every token", function="residual_edges")
def own_value(cache, read, position):
    v = (cache.v - cache.b_V)[position].expand_as(cache.v)
    return _residual(cache, read, position, heads=_heads(cache, read, position, v))


@mutant("7.7", says="`heads` of `residual_edges` is everywhere 0.3333 times", function="residual_edges")
def mean_of_heads(cache, read, position):
    return _residual(cache, read, position, heads=_heads(cache, read, position) / cache.pattern.shape[0])


@mutant("7.7", says="the direction is brought to unit length", function="residual_edges")
def unit_read(cache, read, position):
    return _residual(cache, read / read.norm(), position)


@mutant("7.7", says="the mean of the direction is subtracted, which is not", function="residual_edges")
def centered_read(cache, read, position):
    return _residual(cache, read - read.mean(), position)


@mutant("7.7", says="only head 0's `b_V` is in `bias`", function="residual_edges")
def b_V_of_head_0(cache, read, position):
    return _residual(cache, read, position, bias=(cache.b_V[0] @ cache.W_O[0] + cache.b_O) @ read)


@mutant("7.7", says="what the heads move from the token itself is added to", function="residual_edges")
def own_token_in_token(cache, read, position):
    edges = _residual(cache, read, position)
    heads = edges.heads.clone()
    own = heads[:, position].sum()
    heads[:, position] = 0
    return edges._replace(token=edges.token + own, heads=heads)


@mutant("7.7", says="`b_V` is added for every token; since the pattern adds up", function="residual_edges")
def b_V_for_each_token(cache, read, position):
    moved = torch.einsum("hd,hdm->m", cache.b_V, cache.W_O) * len(cache.tokens)
    return _residual(cache, read, position, bias=(moved + cache.b_O) @ read)


@mutant("7.7", says="the absolute value is taken", function="residual_edges")
def absolute_heads(cache, read, position):
    return _residual(cache, read, position, heads=_heads(cache, read, position).abs())


@mutant("7.7", says="the pattern is transposed: `pattern[head, query, key]`,", function="residual_edges")
def bias_takes_the_rest(cache, read, position):
    right = _residual(cache, read, position)
    heads = _heads(cache, read, position, pattern=cache.pattern[:, :, position])
    return right._replace(heads=heads, bias=right.total() - right.token - right.position - heads.sum())


@mutant("7.7", says="the LayerNorm's subtraction of the mean is left out")
def not_centered_again(cache, transcoder, latent, position):
    read = cache.ln2_w * transcoder.W_enc[:, latent] / cache.ln2_scale[position]
    return _blatent(cache, transcoder, latent, position, read)


@mutant("7.7", says="the mean is subtracted before the LayerNorm's weights are")
def centered_too_early(cache, transcoder, latent, position):
    w = transcoder.W_enc[:, latent]
    return _blatent(
        cache, transcoder, latent, position, cache.ln2_w * (w - w.mean()) / cache.ln2_scale[position]
    )


@mutant("7.7", says="`b_enc` is lost in `bias`")
def b_enc_lost(cache, transcoder, latent, position):
    return _blatent(cache, transcoder, latent, position, constant=cache.ln2_b @ transcoder.W_enc[:, latent])


@mutant("7.7", says="`ln2_b` is lost in `bias`")
def ln2_b_lost(cache, transcoder, latent, position):
    return _blatent(cache, transcoder, latent, position, constant=transcoder.b_enc[latent])


@mutant("7.7", says="the LayerNorm's weights are left out")
def ln2_w_missing(cache, transcoder, latent, position):
    read = transcoder.W_enc[:, latent] / cache.ln2_scale[position]
    return _blatent(cache, transcoder, latent, position, read - read.mean())


@mutant("7.7", says="the LayerNorm's scale is left out")
def scale_missing(cache, transcoder, latent, position):
    read = cache.ln2_w * transcoder.W_enc[:, latent]
    return _blatent(cache, transcoder, latent, position, read - read.mean())


@mutant("7.7", says="the direction is multiplied with the LayerNorm's scale,")
def times_the_scale(cache, transcoder, latent, position):
    read = cache.ln2_w * transcoder.W_enc[:, latent] * cache.ln2_scale[position]
    return _blatent(cache, transcoder, latent, position, read - read.mean())


@mutant("7.7", says="the LayerNorm's scale of the last position is used")
def scale_of_the_last(cache, transcoder, latent, position):
    read = cache.ln2_w * transcoder.W_enc[:, latent] / cache.ln2_scale[-1]
    return _blatent(cache, transcoder, latent, position, read - read.mean())


@mutant("7.7", says="the LayerNorm's scale of position 0 is used")
def scale_of_the_first(cache, transcoder, latent, position):
    read = cache.ln2_w * transcoder.W_enc[:, latent] / cache.ln2_scale[0]
    return _blatent(cache, transcoder, latent, position, read - read.mean())


@mutant("7.7", says="the mean of the LayerNorm's scales over the positions is")
def mean_scale(cache, transcoder, latent, position):
    read = cache.ln2_w * transcoder.W_enc[:, latent] / cache.ln2_scale.mean()
    return _blatent(cache, transcoder, latent, position, read - read.mean())


@mutant("7.7", says="the last LayerNorm's scale is used, not that before the")
def scale_of_ln_final(cache, transcoder, latent, position):
    read = cache.ln2_w * transcoder.W_enc[:, latent] / cache.ln_final_scale[position]
    return _blatent(cache, transcoder, latent, position, read - read.mean())


@mutant("7.7", says="the last LayerNorm's weights are used, not those before")
def weights_of_ln_final(cache, transcoder, latent, position):
    read = cache.ln_final_w * transcoder.W_enc[:, latent] / cache.ln2_scale[position]
    return _blatent(cache, transcoder, latent, position, read - read.mean())


@mutant("7.7", says="the latent's *decoder* row is read, not its column of the")
def decoder_row_again(cache, transcoder, latent, position):
    w = transcoder.W_dec[latent]
    read = cache.ln2_w * w / cache.ln2_scale[position]
    return _blatent(
        cache, transcoder, latent, position, read - read.mean(), cache.ln2_b @ w + transcoder.b_enc[latent]
    )


@mutant("7.7", says="a *row* of `W_enc` is read, not the latent's column")
def row_of_the_encoder(cache, transcoder, latent, position):
    w = transcoder.W_enc[latent % len(transcoder.W_enc)][: len(cache.ln2_w)]
    read = cache.ln2_w * w / cache.ln2_scale[position]
    return _blatent(
        cache, transcoder, latent, position, read - read.mean(), cache.ln2_b @ w + transcoder.b_enc[latent]
    )


@mutant("7.7", says="`ln2_b` and `b_enc` are divided by the LayerNorm's scale;")
def constant_scaled(cache, transcoder, latent, position):
    constant = (cache.ln2_b @ transcoder.W_enc[:, latent] + transcoder.b_enc[latent]) / cache.ln2_scale[
        position
    ]
    return _blatent(cache, transcoder, latent, position, constant=constant)


@mutant("7.7", says="`ln2_b` is divided by the LayerNorm's scale; it is added")
def ln2_b_scaled(cache, transcoder, latent, position):
    constant = (
        cache.ln2_b @ transcoder.W_enc[:, latent] / cache.ln2_scale[position] + transcoder.b_enc[latent]
    )
    return _blatent(cache, transcoder, latent, position, constant=constant)


@mutant("7.7", says="`b_O` and `b_V` are lost in `bias`")
def bias_overwritten(cache, transcoder, latent, position):
    right = _blatent(cache, transcoder, latent, position)
    return right._replace(bias=cache.ln2_b @ transcoder.W_enc[:, latent] + transcoder.b_enc[latent])


@mutant("7.7", says="`ln2_b` and `b_enc` are added twice")
def constant_twice(cache, transcoder, latent, position):
    constant = 2 * (cache.ln2_b @ transcoder.W_enc[:, latent] + transcoder.b_enc[latent])
    return _blatent(cache, transcoder, latent, position, constant=constant)


@mutant("7.7", says="`b_dec` is subtracted from what the transcoder reads; it")
def b_dec_subtracted(cache, transcoder, latent, position):
    w = transcoder.W_enc[:, latent]
    constant = cache.ln2_b @ w + transcoder.b_enc[latent] - transcoder.b_dec @ w
    return _blatent(cache, transcoder, latent, position, constant=constant)


@mutant("7.7", says="the edges of a latent that does not fire are set to 0;")
def after_relu(cache, transcoder, latent, position):
    edges = _blatent(cache, transcoder, latent, position)
    fires = float(edges.total() > 0)
    return ResidualEdges(*(edge * fires for edge in edges))


@mutant("7.7", says="`b_enc` of latent 0 is used")
def b_enc_of_the_first(cache, transcoder, latent, position):
    constant = cache.ln2_b @ transcoder.W_enc[:, latent] + transcoder.b_enc[0]
    return _blatent(cache, transcoder, latent, position, constant=constant)


@mutant("7.7", says="`ln2_b` goes through the LayerNorm; it is added behind it")
def ln2_b_with_read(cache, transcoder, latent, position):
    read = cache.ln2_w * transcoder.W_enc[:, latent] / cache.ln2_scale[position]
    read = read - read.mean()
    return _blatent(cache, transcoder, latent, position, read, cache.ln2_b @ read + transcoder.b_enc[latent])


@mutant("7.7", says="Your function returns one tensor; expected 4 things:")
def pre_activation(cache, transcoder, latent, position):
    return _blatent(cache, transcoder, latent, position).total()


@mutant("7.7", says="the whole `b_enc` is added, not that of the latent")
def vector_of_b_enc(cache, transcoder, latent, position):
    return _blatent(
        cache,
        transcoder,
        latent,
        position,
        constant=cache.ln2_b @ transcoder.W_enc[:, latent] + transcoder.b_enc,
    )


@variant("7.7", function="residual_edges")
def loops_again(cache, read, position):
    n_heads, seq = cache.pattern.shape[0], len(cache.tokens)
    heads = torch.zeros(n_heads, seq)
    bias = cache.b_O @ read
    for head in range(n_heads):
        bias = bias + cache.b_V[head] @ cache.W_O[head] @ read
        for key in range(position + 1):
            value = (cache.v[key, head] - cache.b_V[head]) @ cache.W_O[head]
            heads[head, key] = cache.pattern[head, position, key] * (value @ read)
    return ResidualEdges(cache.embed[position] @ read, cache.pos_embed[position] @ read, heads, bias)


@variant("7.7", function="residual_edges")
def reads_first(cache, read, position):
    along = (cache.W_O.double() @ read.double()).float()
    per_value = (cache.v * along).sum(-1).mT
    always = (cache.b_V * along).sum(-1)
    heads = cache.pattern[:, position, :] * (per_value - always[:, None])
    bias = torch.dot(cache.b_O, read) + always.sum()
    return ResidualEdges(
        (cache.embed[position] * read).sum(), torch.inner(cache.pos_embed[position], read), heads, bias
    )


@variant("7.7")
def by_autograd_again(cache, transcoder, latent, position):
    w = transcoder.W_enc[:, latent].detach()

    def pre(r):
        return ((r - r.mean()) / cache.ln2_scale[position] * cache.ln2_w) @ w

    with torch.enable_grad():
        r = torch.zeros_like(cache.embed[position], requires_grad=True)
        (read,) = torch.autograd.grad(pre(r), r)
    return _blatent(cache, transcoder, latent, position, read)


@variant("7.7")
def centering_matrix(cache, transcoder, latent, position):
    d = len(cache.ln2_w)
    centering = torch.eye(d) - torch.full((d, d), 1 / d)
    read = centering @ torch.diag(cache.ln2_w) @ transcoder.W_enc[:, latent] / cache.ln2_scale[position]
    token, at, heads, bias = _residual(cache, read, position)
    bias = bias + transcoder.b_enc[latent] + (cache.ln2_b * transcoder.W_enc[:, latent]).sum()
    return ResidualEdges(token=token, position=at, heads=heads, bias=bias)


equivalent(
    "7.7",
    "a dot product is the same from both sides.",
    "cache.ln2_b @ transcoder.W_enc[:, latent] -> transcoder.W_enc[:, latent] @ cache.ln2_b",
    "cache.embed[position] @ read -> read @ cache.embed[position]",
    "cache.pos_embed[position] @ read -> read @ cache.pos_embed[position]",
    "(moved_always + cache.b_O) @ read -> read @ (moved_always + cache.b_O)",
)


@mutant("7.7", says="the position embedding is that of the last position", function="residual_edges")
def place_of_the_last(cache, read, position):
    return _residual(cache, read, position)._replace(position=cache.pos_embed[-1] @ read)


@mutant("7.7", says="the token's embedding is that of position 0", function="residual_edges")
def token_of_the_first(cache, read, position):
    return _residual(cache, read, position, token=cache.embed[0] @ read)


@mutant("7.7", says="the token's embedding is that of the last position", function="residual_edges")
def token_of_the_last(cache, read, position):
    return _residual(cache, read, position, token=cache.embed[-1] @ read)


@mutant("7.7", says="the direction is brought to unit length", function="residual_edges")
def unit_length_behind_the_heads(cache, read, position):
    heads = _heads(cache, read, position)
    return _residual(cache, read / read.norm(), position, heads=heads)


@mutant("7.7", says="`ln2_b` goes through the LayerNorm's weights and scale")
def ln2_b_through_weights_and_scale(cache, transcoder, latent, position):
    read = cache.ln2_w * transcoder.W_enc[:, latent] / cache.ln2_scale[position]
    constant = cache.ln2_b @ read + transcoder.b_enc[latent]
    return _blatent(cache, transcoder, latent, position, constant=constant)


@mutant("7.7", says="are added to `token`; they belong to `bias`")
def constants_in_token(cache, transcoder, latent, position):
    edges = _blatent(cache, transcoder, latent, position, constant=0)
    constant = cache.ln2_b @ transcoder.W_enc[:, latent] + transcoder.b_enc[latent]
    return edges._replace(token=edges.token + constant)
