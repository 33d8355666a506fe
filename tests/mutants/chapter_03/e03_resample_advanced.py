"""Answers to exercise 3.3: `resample_advanced`."""

import random

import numpy as np
import torch
from torch.distributions import Categorical
from torch.nn import functional as F

from tests.mutants import equivalent, mutant, variant
from tests.mutants.chapter_03.shared import advanced, dead_mask, mean_alive, simple

variant("3.3")(advanced)


@mutant("3.3", says="equally likely")
def uniform(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, weights=lambda l2, i: torch.ones(len(l2)))


@mutant("3.3", says="softmax of the loss")
def softmax(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2[:, i].softmax(0))


@mutant("3.3", says="softmax of the squared loss")
def softmax_of_squares(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, draw=lambda p, n: Categorical(logits=p).sample((n,)))


@mutant("3.3", says="largest loss")
def argmax(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, draw=lambda p, n: p.argmax().expand(n))


@mutant("3.3", says="fourth power")
def fourth_power(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2[:, i].pow(2).pow(2))


@mutant("3.3", says="not to its square")
def not_squared(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2[:, i])


@mutant("3.3", says="root of the loss")
def root(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2[:, i].sqrt())


@mutant("3.3", says="1 over the")
def well_rebuilt_inputs(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, weights=lambda l2, i: 1 / (l2[:, i] + 1e-9))


@mutant("3.3", says="losses of instance 0 are used")
def losses_of_the_first_instance(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2[:, 0] ** 2)


@mutant("3.3", says="averaged over the instances")
def losses_averaged(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2.mean(1) ** 2)


@mutant("3.3", says="includes the L1 term")
def total_loss(autoencoder, rates, h, scale=0.2):
    l1 = autoencoder(h).l1_loss.detach()
    coefficient = autoencoder.cfg.l1_coeff
    advanced(autoencoder, rates, h, scale, weights=lambda l2, i: (l2 + coefficient * l1)[:, i] ** 2)


@mutant("3.3", says="length of the input")
def longest_inputs(autoencoder, rates, h, scale=0.2):
    advanced(
        autoencoder, rates, h, scale, weights=lambda l2, i: (h[:, i] - autoencoder.b_dec[i]).norm(dim=-1) ** 2
    )


@mutant("3.3", says="One draw is used for all dead latents")
def one_draw_for_each_instance(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, draw=lambda p, n: torch.multinomial(p, 1).expand(n))


@mutant("3.3", says="The instances share their draws")
@torch.no_grad()
def one_draw_for_all_instances(autoencoder, rates, h, scale=0.2):
    p = autoencoder(h).l2_loss.mean(1) ** 2
    rows = torch.multinomial(p, rates.shape[2], replacement=True)
    advanced(autoencoder, rates, h, scale, draw=lambda p, n: rows[:n])


@mutant("3.3", says="drawn more than once")
def without_replacement(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, draw=lambda p, n: torch.multinomial(p, n))


@mutant("3.3", says="Draw anew each time")
def seeded_draws(autoencoder, rates, h, scale=0.2):
    generator = torch.Generator().manual_seed(1)
    advanced(
        autoencoder,
        rates,
        h,
        scale,
        draw=lambda p, n: torch.multinomial(p, n, replacement=True, generator=generator),
    )


@mutant("3.3", says="`b_dec` was not subtracted")
def b_dec_not_subtracted(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, rows=lambda a, h, i, chosen: h[chosen, i])


@mutant("3.3", says="`b_dec` was added")
def b_dec_added(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, rows=lambda a, h, i, chosen: h[chosen, i] + a.b_dec[i])


@mutant("3.3", says="`b_dec` of instance 0")
def b_dec_of_the_first_instance(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, rows=lambda a, h, i, chosen: h[chosen, i] - a.b_dec[0])


@mutant("3.3", says="rows of instance 0")
def inputs_of_the_first_instance(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, rows=lambda a, h, i, chosen: h[chosen, 0] - a.b_dec[0])


@mutant("3.3", says="rows of the *error*")
def errors_instead_of_inputs(autoencoder, rates, h, scale=0.2):
    error = (h - autoencoder(h).h_reconstructed).detach()
    advanced(autoencoder, rates, h, scale, rows=lambda a, h, i, chosen: error[chosen, i])


@mutant("3.3", says="sign is turned round")
def turned_round(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, rows=lambda a, h, i, chosen: a.b_dec[i] - h[chosen, i])


@mutant("3.3", says="as long as the inputs")
def rows_not_normalized(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, normalize=lambda v: v)


@mutant("3.3", says="wrong axis")
def normalized_along_latents(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, normalize=lambda v: F.normalize(v, dim=0))


@mutant("3.3", says="divided by one common length")
def one_length(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, normalize=lambda v: v / v.norm())


@mutant("3.3", says="`neuron_resample_scale` is missing")
def scale_missing(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, length=lambda a, i, dead, scale: mean_alive(a, i, dead))


@mutant("3.3", says="mean length of the living columns is missing")
def mean_missing(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, length=lambda a, i, dead, scale: scale)


@mutant("3.3", says="the scale is 0.2 whatever")
def fixed_scale(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, length=lambda a, i, dead, scale: 0.2 * mean_alive(a, i, dead))


@mutant("3.3", says="the dead ones included")
def mean_over_all_latents(autoencoder, rates, h, scale=0.2):
    advanced(
        autoencoder, rates, h, scale, length=lambda a, i, dead, scale: scale * a.W_enc[i].norm(dim=0).mean()
    )


@mutant("3.3", says="of all instances, not of their own")
def mean_over_all_instances(autoencoder, rates, h, scale=0.2):
    mean = autoencoder.W_enc.detach().mT[~dead_mask(rates)].norm(dim=-1).mean()
    advanced(autoencoder, rates, h, scale, length=lambda a, i, dead, scale: scale * mean)


@mutant("3.3", says="along the wrong axis")
def norm_along_latents(autoencoder, rates, h, scale=0.2):
    advanced(
        autoencoder,
        rates,
        h,
        scale,
        length=lambda a, i, dead, scale: scale * a.W_enc[i][:, ~dead[i]].norm(dim=1).mean(),
    )


@mutant("3.3", says="all living columns together")
def norm_of_the_matrix(autoencoder, rates, h, scale=0.2):
    advanced(
        autoencoder, rates, h, scale, length=lambda a, i, dead, scale: scale * a.W_enc[i][:, ~dead[i]].norm()
    )


@mutant("3.3", says="decoder's lengths")
def norm_of_the_decoder(autoencoder, rates, h, scale=0.2):
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    lengths = W_dec.detach().norm(dim=-1)
    advanced(
        autoencoder, rates, h, scale, length=lambda a, i, dead, scale: scale * lengths[i][~dead[i]].mean()
    )


@mutant("3.3", says="Where every latent of an instance is dead there are NaN values")
def nan_without_living_latents(autoencoder, rates, h, scale=0.2):
    advanced(
        autoencoder,
        rates,
        h,
        scale,
        length=lambda a, i, dead, scale: scale * a.W_enc[i][:, ~dead[i]].norm(dim=0).mean(),
    )


@mutant("3.3", says="every input without error")
@torch.no_grad()
def fails_without_loss(autoencoder, rates, h, scale=0.2):
    dead, l2 = dead_mask(rates), autoencoder(h).l2_loss
    for i in range(len(dead)):
        n = int(dead[i].sum())
        if n:
            p = l2[:, i] ** 2 / (l2[:, i] ** 2).sum()
            v = F.normalize(h[Categorical(probs=p).sample((n,)), i] - autoencoder.b_dec[i], dim=-1)
            if not autoencoder.cfg.tied_weights:
                autoencoder.W_dec[i, dead[i]] = v
            autoencoder.W_enc[i].T[dead[i]] = scale * mean_alive(autoencoder, i, dead) * v
            autoencoder.b_enc[i, dead[i]] = 0


@mutant("3.3", says="every input without error")
def nan_without_loss(autoencoder, rates, h, scale=0.2):
    advanced(
        autoencoder,
        rates,
        h,
        scale,
        weights=lambda l2, i: l2[:, i] ** 2 + 1e-30,
        normalize=lambda v: v / v.norm(dim=-1, keepdim=True),
    )


@mutant("3.3", says="encoder bias of the dead latents was kept")
def bias_kept_advanced(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, bias=False)


@mutant("3.3", says="upside down")
def living_latents_replaced(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, dead=~dead_mask(rates))


@mutant("3.3", says="*any* step")
def silent_in_a_step(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, dead=(rates == 0).any(0))


@mutant("3.3", says="with tied weights there is no `W_dec`")
@torch.no_grad()
def tied_weights_forgotten(autoencoder, rates, h, scale=0.2):
    if autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead_mask(rates)] = 0
    advanced(autoencoder, rates, h, scale)


@mutant("3.3", says="was a second one drawn")
@torch.no_grad()
def second_draw_for_the_encoder(autoencoder, rates, h, scale=0.2):
    W_dec = None if autoencoder.cfg.tied_weights else autoencoder.W_dec
    advanced(autoencoder, rates, h, scale)
    if W_dec is not None:
        keep = W_dec.clone()
        advanced(autoencoder, rates, h, scale)
        W_dec.copy_(keep)


@mutant("3.3", says="`W_dec` was changed for latents that are alive")
def whole_decoder_normalized(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale)
    autoencoder.normalize_decoder()


@mutant("3.3", says="different lengths within an instance")
@torch.no_grad()
def encoder_from_raw_rows(autoencoder, rates, h, scale=0.2):
    drawn = {}

    def keep(v):
        drawn["v"] = v
        return F.normalize(v, dim=-1)

    def length(a, i, dead, scale):
        return scale * mean_alive(a, i, dead) * drawn["v"].norm(dim=-1, keepdim=True)

    advanced(autoencoder, rates, h, scale, normalize=keep, length=length)


@mutant("3.3", says="averaged over the instances")
def squared_losses_added_up(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2.pow(2).sum(dim=1))


@mutant("3.3", says="sum over the instances instead of the sum over the batch")
def divided_along_the_wrong_axis(autoencoder, rates, h, scale=0.2):
    def weights(l2, i):
        return (l2 / l2.sum(dim=1, keepdim=True).clamp_min(1e-9))[:, i] ** 2

    advanced(autoencoder, rates, h, scale, weights=weights)


@mutant("3.3", says="computed once, before any latent is replaced")
@torch.no_grad()
def losses_change_on_the_way(autoencoder, rates, h, scale=0.2):
    dead = dead_mask(rates)
    lengths = [mean_alive(autoencoder, i, dead) for i in range(len(dead))]
    for i, j in dead.nonzero().tolist():
        p = autoencoder(h).l2_loss[:, i] ** 2
        if p.sum() > 0:
            v = F.normalize(h[torch.multinomial(p, 1).item(), i] - autoencoder.b_dec[i], dim=0)
            autoencoder.W_enc[i, :, j] = scale * lengths[i] * v
            autoencoder.b_enc[i, j] = 0
            if not autoencoder.cfg.tied_weights:
                autoencoder.W_dec[i, j] = v


@mutant("3.3", says="no rows of `h - b_dec`")
def random_directions(autoencoder, rates, h, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale)


@variant("3.3")
def summed_error_as_loss(autoencoder, rates, h, scale=0.2):
    with torch.no_grad():
        error = (h - autoencoder(h)[-1]).square().sum(-1)
    advanced(autoencoder, rates, h, scale, weights=lambda l2, i: error[:, i] * error[:, i])


@variant("3.3")
@torch.no_grad()
def categorical_normalized_then_indexed(autoencoder, rates, h, neuron_resample_scale=0.2):
    l2 = autoencoder.forward(h)[1]
    dead = rates.amax(0) == 0
    unit = F.normalize(h - autoencoder.b_dec, dim=-1)
    for i in range(autoencoder.cfg.n_instances):
        where = dead[i].nonzero().squeeze(-1)
        if len(where) == 0 or l2[:, i].max() < 1e-12:
            continue
        probabilities = l2[:, i].square() / l2[:, i].square().sum()
        v = unit[Categorical(probs=probabilities).sample(where.shape), i]
        lengths = autoencoder.W_enc[i].norm(dim=0)
        mean = lengths[~dead[i]].mean() if (~dead[i]).any() else torch.tensor(1.0)
        autoencoder.W_enc[i, :, where] = (v * mean * neuron_resample_scale).T
        autoencoder.b_enc[i, where] = 0.0
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec[i, where] = v
    return "resampled", dead.sum()


@variant("3.3")
@torch.no_grad()
def numpy_choice_latent_by_latent(autoencoder, rates, h, scale=0.2):
    l2 = autoencoder(h).l2_loss.double().numpy()
    dead = dead_mask(rates)
    lengths = autoencoder.W_enc.norm(dim=1).clone()
    for i, j in dead.nonzero().tolist():
        p = l2[:, i] ** 2
        if p.sum() == 0:
            continue
        v = h[np.random.choice(len(p), p=p / p.sum()), i] - autoencoder.b_dec[i]
        v = v / (v.norm() + 1e-9)
        alive = lengths[i][~dead[i]]
        autoencoder.W_enc[i, :, j] = v * scale * (alive.sum() / max(len(alive), 1) if len(alive) else 1)
        autoencoder.b_enc[i, j] = 0
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec[i, j] = v


@variant("3.3")
def all_instances_at_once(autoencoder, rates, h, scale=0.2):
    with torch.no_grad():
        dead = dead_mask(rates)
        p = autoencoder(h).l2_loss.double() ** 2
        usable = p.sum(0) > 0
        cumulative = (p / p.sum(0).clamp_min(1e-300)).cumsum(0)
        draws = torch.rand(dead.shape, dtype=torch.float64)
        rows = (draws.unsqueeze(0) > cumulative.unsqueeze(2)).sum(0).clamp(max=len(h) - 1)
        chosen = torch.stack([h[rows[i], i] for i in range(len(dead))]) - autoencoder.b_dec.unsqueeze(1)
        chosen = chosen / chosen.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        lengths = autoencoder.W_enc.norm(dim=1)
        alive = (~dead).sum(-1)
        mean = torch.where(alive > 0, (lengths * ~dead).sum(-1) / alive.clamp_min(1), torch.ones(()))
        dead = dead & usable[:, None]
        W_enc = torch.where(dead[:, None], (scale * mean[:, None, None] * chosen).mT, autoencoder.W_enc)
        autoencoder.W_enc.copy_(W_enc)
        autoencoder.b_enc.masked_fill_(dead, 0)
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec.copy_(torch.where(dead[..., None], chosen, autoencoder.W_dec))


@variant("3.3")
def logits_of_squared_losses(autoencoder, frac_active_in_window, h, neuron_resample_scale=0.2):
    dead = dead_mask(frac_active_in_window)
    logits = 2 * torch.log(autoencoder(h).l2_loss)
    for i in range(autoencoder.cfg.n_instances):
        where = torch.where(dead[i])[0]
        if len(where) == 0 or torch.isinf(logits[:, i]).all():
            continue
        rows = Categorical(logits=logits[:, i]).sample((len(where),))
        v = F.normalize(h[rows, i] - autoencoder.b_dec[i], dim=1)
        length = mean_alive(autoencoder, i, dead)
        autoencoder.W_enc.data[i].index_copy_(1, where, neuron_resample_scale * length * v.T)
        autoencoder.b_enc.data[i].index_fill_(0, where, 0.0)
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec.data[i].index_copy_(0, where, v)


@variant("3.3")
@torch.no_grad()
def choices_of_the_standard_library(autoencoder, rates, h, scale=0.2):
    out = autoencoder(h)
    dead = dead_mask(rates)
    for i in range(len(dead)):
        weights = ((h[:, i] - out.h_reconstructed[:, i]) ** 2).mean(dim=-1).square().tolist()
        lengths = [
            column.norm().item()
            for column, gone in zip(autoencoder.W_enc[i].T, dead[i], strict=True)
            if not gone
        ]
        length = sum(lengths) / len(lengths) if lengths else 1.0
        for j in range(dead.shape[1]):
            if dead[i, j] and sum(weights) > 0:
                (b,) = random.choices(range(len(h)), weights=weights)
                v = h[b, i].sub(autoencoder.b_dec[i])
                v.div_(v.norm() or 1.0)
                autoencoder.W_enc[i, :, j] = scale * length * v
                autoencoder.b_enc[i, j] = 0
                if not autoencoder.cfg.tied_weights:
                    autoencoder.W_dec[i, j] = v


@mutant("3.3", says="`return` or `break` ends the loop")
@torch.no_grad()
def returns_at_an_instance_without_dead(autoencoder, rates, h, scale=0.2):
    dead = dead_mask(rates)
    reached = (dead.any(-1).int().cumprod(0) == 1).unsqueeze(-1)
    advanced(autoencoder, rates, h, scale, dead=dead & reached)


@mutant("3.3", says="rebuilds every input without error has another")
@torch.no_grad()
def an_instance_without_loss_draws_evenly(autoencoder, rates, h, scale=0.2):
    advanced(
        autoencoder,
        rates,
        torch.where((autoencoder(h).l2_loss.sum(0) == 0)[:, None], h + torch.randn_like(h), h),
        scale,
    )


@mutant("3.3", says="an input equals `b_dec`")
def divides_by_the_length_as_it_is(autoencoder, rates, h, scale=0.2):
    advanced(autoencoder, rates, h, scale, normalize=lambda v: v / v.norm(dim=-1, keepdim=True))


def _replaced(a, rates, h, scale, weights=None, vector=None, length=None, draw=None, dead=None):
    """Right as it is; a wrong answer gives a weight, a vector, a length or a draw of its own."""
    dead = (rates == 0).all(dim=0) if dead is None else dead
    out = a(h)
    for i in range(len(dead)):
        n = int(dead[i].sum())
        l2 = out.l2_loss[:, i]
        p = l2**2 if weights is None else weights(l2, out, i)
        if n == 0 or l2.sum() == 0:
            continue
        chosen = torch.multinomial(p, n, replacement=True) if draw is None else draw(p, n)
        v = h[chosen, i] - a.b_dec[i] if vector is None else vector(out, i, chosen)
        v = F.normalize(v, dim=-1)
        alive = a.W_enc[i][:, ~dead[i]].norm(dim=0)
        mean = (alive.mean() if len(alive) else 1.0) if length is None else length(i, dead)
        a.W_enc[i].T[dead[i]] = scale * mean * v
        if not a.cfg.tied_weights:
            a.W_dec[i, dead[i]] = v
        a.b_enc[i, dead[i]] = 0


@mutant("3.3", says="The new directions are rows of the *error* `h - h_reconstructed`, not")
@torch.no_grad()
def towards_the_error(autoencoder, rates, h, scale=0.2):
    _replaced(autoencoder, rates, h, scale, vector=lambda out, i, c: h[c, i] - out.h_reconstructed[c, i])


@mutant("3.3", says="The inputs are drawn with the wrong probabilities")
@torch.no_grad()
def loss_of_all_instances(autoencoder, rates, h, scale=0.2):
    _replaced(autoencoder, rates, h, scale, weights=lambda l2, out, i: out.l2_loss.sum(dim=1) ** 2)


@mutant("3.3", says="The inputs are drawn with the wrong probabilities")
@torch.no_grad()
def whole_loss_with_the_penalty(autoencoder, rates, h, scale=0.2):
    _replaced(
        autoencoder,
        rates,
        h,
        scale,
        weights=lambda l2, out, i: (l2 + autoencoder.cfg.l1_coeff * out.l1_loss[:, i]) ** 2,
    )


@mutant("3.3", says="The new encoder columns have the wrong length")
@torch.no_grad()
def mean_of_all_encoder_columns(autoencoder, rates, h, scale=0.2):
    _replaced(autoencoder, rates, h, scale, length=lambda i, dead: autoencoder.W_enc[i].norm(dim=0).mean())


@mutant("3.3", says="The new encoder columns have the wrong length")
@torch.no_grad()
def mean_of_the_living_of_all_instances(autoencoder, rates, h, scale=0.2):
    def length(i, dead):
        alive = autoencoder.W_enc.norm(dim=1)[~dead]
        return alive.mean() if len(alive) and (~dead[i]).any() else 1.0

    lengths = [length(i, (rates == 0).all(dim=0)) for i in range(rates.shape[1])]
    _replaced(autoencoder, rates, h, scale, length=lambda i, dead: lengths[i])


@mutant("3.3", says="The new encoder columns have the wrong length")
@torch.no_grad()
def median_of_the_living(autoencoder, rates, h, scale=0.2):
    def length(i, dead):
        alive = autoencoder.W_enc[i].norm(dim=0)[~dead[i]]
        return alive.median() if len(alive) else 1.0

    _replaced(autoencoder, rates, h, scale, length=length)


@mutant("3.3", says="The new encoder columns have the wrong length")
@torch.no_grad()
def root_of_the_mean_square(autoencoder, rates, h, scale=0.2):
    def length(i, dead):
        alive = autoencoder.W_enc[i].norm(dim=0)[~dead[i]]
        return alive.square().mean().sqrt() if len(alive) else 1.0

    _replaced(autoencoder, rates, h, scale, length=length)


@mutant("3.3", says="Where every latent of an instance is dead the new encoder columns do")
@torch.no_grad()
def none_alive_is_the_mean_of_all(autoencoder, rates, h, scale=0.2):
    def length(i, dead):
        alive = autoencoder.W_enc[i].norm(dim=0)[~dead[i]]
        return alive.mean() if len(alive) else autoencoder.W_enc[i].norm(dim=0).mean()

    _replaced(autoencoder, rates, h, scale, length=length)


@mutant("3.3", says="The inputs are drawn with the wrong probabilities")
@torch.no_grad()
def forward_again_for_every_latent(autoencoder, rates, h, scale=0.2):
    dead = (rates == 0).all(dim=0)
    for i, j in dead.nonzero().tolist():
        p = autoencoder(h).l2_loss[:, i] ** 2
        if p.sum() == 0:
            continue
        v = F.normalize(h[torch.multinomial(p, 1)[0], i] - autoencoder.b_dec[i], dim=0)
        alive = autoencoder.W_enc[i].norm(dim=0)[~dead[i]]
        autoencoder.W_enc[i, :, j] = scale * (alive.mean() if len(alive) else 1.0) * v
        autoencoder.b_enc[i, j] = 0
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec[i, j] = v


@mutant("3.3", says="All inputs are drawn equally often, and none again before all others")
@torch.no_grad()
def no_input_twice(autoencoder, rates, h, scale=0.2):
    _replaced(
        autoencoder,
        rates,
        h,
        scale,
        draw=lambda p, n: torch.multinomial(p + 1e-12, min(n, len(p)), replacement=False).repeat(n)[:n],
    )


@mutant("3.3", says="Where one instance rebuilds every input without error all the others")
@torch.no_grad()
def stops_at_a_perfect_instance(autoencoder, rates, h, scale=0.2):
    if (autoencoder(h).l2_loss.sum(dim=0) == 0).any():
        return
    _replaced(autoencoder, rates, h, scale)


@mutant("3.3", says="The new directions are rows of instance 0 minus each instance's")
@torch.no_grad()
def input_of_the_first_instance(autoencoder, rates, h, scale=0.2):
    _replaced(autoencoder, rates, h, scale, vector=lambda out, i, c: h[c, 0] - autoencoder.b_dec[i])


@mutant("3.3", says="The new directions are rows of `h` minus the `b_dec` of instance 0")
@torch.no_grad()
def bias_of_the_first_instance(autoencoder, rates, h, scale=0.2):
    _replaced(autoencoder, rates, h, scale, vector=lambda out, i, c: h[c, i] - autoencoder.b_dec[0])


@mutant("3.3", says="The inputs are drawn with the wrong probabilities")
@torch.no_grad()
def half_of_the_inputs(autoencoder, rates, h, scale=0.2):
    _replaced(
        autoencoder, rates, h, scale, weights=lambda l2, out, i: l2**2 * (torch.arange(len(l2)) < len(l2) / 2)
    )


@mutant("3.3", says="only the last step of the window is looked at")
@torch.no_grad()
def dead_in_the_last_step(autoencoder, rates, h, scale=0.2):
    _replaced(autoencoder, rates, h, scale, dead=rates[-1] == 0)


@variant("3.3")
@torch.no_grad()
def gumbel_trick(autoencoder, rates, h, scale=0.2):
    def draw(p, n):
        gumbel = -torch.log(-torch.log(torch.rand(n, len(p)).clamp(1e-30, 1 - 1e-7)))
        return (p.log() + gumbel).argmax(dim=1)

    _replaced(autoencoder, rates, h, scale, draw=draw)


@variant("3.3")
@torch.no_grad()
def numpys_choice(autoencoder, rates, h, scale=0.2):
    def draw(p, n):
        q = p.double().numpy()
        return torch.from_numpy(np.random.choice(len(q), size=n, p=q / q.sum()))

    _replaced(autoencoder, rates, h, scale, draw=draw)


equivalent(
    "3.3",
    "there are two axes (or one, and a new one), so that 1 is the last",
    "(l2_loss > 0).any(dim=0).unsqueeze(-1): -1 -> 1",
    "dim=-1: -1 -> 1",
    "dim=-1: -1 -> 1 (2)",
)
equivalent(
    "3.3",
    "double precision is for losses whose squares are hardly above 0",
    "l2_loss[:, instance].double() -> l2_loss[:, instance]",
)
equivalent(
    "3.3",
    "any tiny number keeps the length from being 0",
    "directions.norm(dim=-1, keepdim=True).clamp_min(1e-08): 1e-08 -> 2e-08",
    "directions.norm(dim=-1, keepdim=True).clamp_min(1e-08): 1e-08 -> 5e-09",
)


def _drawn_by(a, r, h, s, p=lambda l2: l2**2, bias=True, vec=None, n_alive=None):
    """Right as it is; a wrong answer gives weights or a vector of its own."""
    dead = (r == 0).all(0)
    l2 = a(h).l2_loss
    for i in range(len(dead)):
        n = int(dead[i].sum())
        if n == 0 or l2[:, i].sum() == 0:
            continue
        c = torch.multinomial(p(l2[:, i]), n, replacement=True)
        v = F.normalize(h[c, i] - a.b_dec[i] if vec is None else vec(c, i), dim=-1)
        al = a.W_enc[i][:, ~dead[i]].norm(dim=0)
        m = al.mean() if len(al) else 1.0
        a.W_enc[i].T[dead[i]] = s * m * v
        if not a.cfg.tied_weights:
            a.W_dec[i, dead[i]] = v
        if bias:
            a.b_enc[i, dead[i]] = 0


@mutant("3.3", says="The inputs are drawn with the wrong probabilities")
@torch.no_grad()
def exp_weights(a, r, h, s=0.2):
    _drawn_by(a, r, h, s, p=lambda l: l.clamp(max=30).exp())


@mutant("3.3", says="The inputs are drawn with the wrong probabilities")
@torch.no_grad()
def rank_weights(a, r, h, s=0.2):
    _drawn_by(a, r, h, s, p=lambda l: l.argsort().argsort().float() + 1)


@mutant("3.3", says="The inputs are drawn with the wrong probabilities")
@torch.no_grad()
def above_mean_only(a, r, h, s=0.2):
    _drawn_by(a, r, h, s, p=lambda l: l**2 * (l >= l.mean()))


@mutant("3.3", says="The new directions are rows of `h + b_dec`")
@torch.no_grad()
def plus_b_dec(a, r, h, s=0.2):
    _drawn_by(a, r, h, s, vec=lambda c, i: h[c, i] + a.b_dec[i])


@mutant("3.3", says="The new directions are rows of `h` minus the mean of the batch, not")
@torch.no_grad()
def minus_mean_input(a, r, h, s=0.2):
    _drawn_by(a, r, h, s, vec=lambda c, i: h[c, i] - h[:, i].mean(0))


@mutant("3.3", says="The inputs are drawn with the wrong probabilities")
@torch.no_grad()
def next_input(a, r, h, s=0.2):
    _drawn_by(a, r, h, s, vec=lambda c, i: h[(c + 1) % len(h), i] - a.b_dec[i])


@mutant("3.3", says="The new directions are no rows of `h - b_dec`")
@torch.no_grad()
def mixed_inputs(a, r, h, s=0.2):
    _drawn_by(a, r, h, s, vec=lambda c, i: h[c, i] + h[c.flip(0), i] - 2 * a.b_dec[i])


@mutant("3.3", says="The new directions are rows of `b_dec - h`")
@torch.no_grad()
def opposite(a, r, h, s=0.2):
    _drawn_by(a, r, h, s, vec=lambda c, i: a.b_dec[i] - h[c, i])


@variant("3.3")
@torch.no_grad()
def searchsorted(a, r, h, s=0.2):
    dead = (r == 0).all(0)
    l2 = a(h).l2_loss.double() ** 2
    for i, j in dead.nonzero().tolist():
        if l2[:, i].sum() == 0:
            continue
        c = int(
            torch.searchsorted(
                l2[:, i].cumsum(0), torch.rand((), dtype=torch.float64) * l2[:, i].sum()
            ).clamp(max=len(h) - 1)
        )
        v = h[c, i] - a.b_dec[i]
        if v.norm() == 0:
            continue
        v = v / v.norm()
        al = a.W_enc[i].norm(dim=0)[~dead[i]]
        a.W_enc[i, :, j] = s * (al.mean() if len(al) else 1) * v
        a.b_enc[i, j] = 0
        if not a.cfg.tied_weights:
            a.W_dec[i, j] = v


@variant("3.3")
@torch.no_grad()
def categorical(a, r, h, s=0.2):
    dead = (r == 0).all(0)
    l2 = a(h).l2_loss
    for i in range(dead.shape[0]):
        js = dead[i].nonzero().flatten()
        if not len(js) or not l2[:, i].any():
            continue
        c = torch.distributions.Categorical(probs=l2[:, i] ** 2 / (l2[:, i] ** 2).sum()).sample((len(js),))
        v = F.normalize(h[c, i] - a.b_dec[i], dim=1)
        alive = a.W_enc[i, :, ~dead[i]]
        m = alive.norm(dim=0).mean() if alive.numel() else torch.tensor(1.0)
        a.W_enc[i, :, js] = (s * m * v).T
        a.b_enc[i, js] = 0
        if not a.cfg.tied_weights:
            a.W_dec[i, js] = v
