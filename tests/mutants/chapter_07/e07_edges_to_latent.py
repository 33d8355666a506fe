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


@mutant("7.7", says="left in the values", function="residual_edges")
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


equivalent(
    "7.7",
    "a dot product is the same from both sides.",
    "cache.ln2_b @ transcoder.W_enc[:, latent] -> transcoder.W_enc[:, latent] @ cache.ln2_b",
    "cache.embed[position] @ read -> read @ cache.embed[position]",
    "cache.pos_embed[position] @ read -> read @ cache.pos_embed[position]",
    "(moved_always + cache.b_O) @ read -> read @ (moved_always + cache.b_O)",
)
