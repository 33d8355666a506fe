"""What answers to several exercises of chapter 3 are made with."""

import torch
from torch.nn import functional as F


def dead_mask(rates):
    return (rates == 0).all(dim=0)


@torch.no_grad()
def simple(
    autoencoder,
    dead,
    scale,
    draw=torch.randn,
    normalize=lambda v: F.normalize(v, dim=-1),
    encoder=lambda v, scale: scale * v,
    decoder=lambda v: v,
    bias=True,
):
    """Right as it is; a wrong answer gives one piece of its own."""
    v = normalize(draw(int(dead.sum()), autoencoder.cfg.n_input_ae))
    autoencoder.W_enc.mT[dead] = encoder(v, scale)
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead] = decoder(v)
    if bias:
        autoencoder.b_enc[dead] = 0.0


def mean_alive(autoencoder, i, dead):
    alive = autoencoder.W_enc[i][:, ~dead[i]]
    return alive.norm(dim=0).mean() if alive.shape[1] else 1.0


@torch.no_grad()
def advanced(
    autoencoder,
    rates,
    h,
    scale,
    weights=lambda l2, i: l2[:, i] ** 2,
    draw=lambda p, n: torch.multinomial(p, n, replacement=True),
    rows=lambda a, h, i, chosen: h[chosen, i] - a.b_dec[i],
    normalize=lambda v: F.normalize(v, dim=-1),
    length=lambda a, i, dead, scale: scale * mean_alive(a, i, dead),
    bias=True,
    dead=None,
):
    """Right as it is; a wrong answer gives one piece of its own."""
    dead = dead_mask(rates) if dead is None else dead
    l2 = autoencoder(h).l2_loss
    for i in range(len(dead)):
        n = int(dead[i].sum())
        p = weights(l2, i)
        if n == 0 or p.sum() == 0:
            continue
        v = normalize(rows(autoencoder, h, i, draw(p, n)))
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec[i, dead[i]] = v
        autoencoder.W_enc[i].T[dead[i]] = length(autoencoder, i, dead, scale) * v
        if bias:
            autoencoder.b_enc[i, dead[i]] = 0
