"""Answers to the exercises of chapter 3: neuron resampling."""

import random

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical
from torch.nn import functional as F

from tests.mutants import mutant, variant

# 3.1 dead_neurons(frac_active_in_window)


@mutant("3.1", says="*any* step")
def silent_in_any_step(frac_active_in_window):
    return (frac_active_in_window == 0).any(dim=0)


@mutant("3.1", says="only the last step")
def last_step(frac_active_in_window):
    return frac_active_in_window[-1] == 0


@mutant("3.1", says="only the first step")
def first_step(frac_active_in_window):
    return frac_active_in_window[0] < 1e-12


@mutant("3.1", says="upside down")
def alive_instead(frac_active_in_window):
    return frac_active_in_window.sum(dim=0) > 0


@mutant("3.1", says="small but not zero")
def nearly_never(frac_active_in_window):
    return frac_active_in_window.mean(dim=0) < 1e-3


@mutant("3.1", says="small but not zero")
def close_to_zero(frac_active_in_window):
    return torch.isclose(frac_active_in_window, torch.zeros(()), atol=1e-4).all(dim=0)


@mutant("3.1", says="axis of the instances is lost")
def instances_lost(frac_active_in_window):
    return (frac_active_in_window == 0).all(dim=0).all(dim=0)


@mutant("3.1", says="axis of the window is kept")
def each_step_on_its_own(frac_active_in_window):
    return frac_active_in_window == 0


@mutant("3.1", says="expected torch.bool")
def numbers_for_a_mask(frac_active_in_window):
    return (frac_active_in_window == 0).all(dim=0).float()


@mutant("3.1", says="is so in every instance")
def dead_everywhere(frac_active_in_window):
    return (
        (frac_active_in_window == 0)
        .all(dim=(0), keepdim=True)
        .all(dim=1)
        .expand(frac_active_in_window.shape[1:])
    )


@mutant("3.1", says="wrong shape")
def indices(frac_active_in_window):
    return (frac_active_in_window == 0).all(dim=0).nonzero() > 0


@variant("3.1")
def largest_share(frac_active_in_window):
    return frac_active_in_window.max(dim=0).values == 0


@variant("3.1")
def sum_in_double(frac_active_in_window):
    return ~(frac_active_in_window.double().sum(dim=0) > 0)


@variant("3.1")
def step_by_step(frac_active_in_window):
    dead = torch.ones(frac_active_in_window.shape[1:], dtype=torch.bool)
    for step in frac_active_in_window:
        dead &= step <= 0
    return dead


@variant("3.1")
def counted_steps(frac_active_in_window):
    return torch.count_nonzero(frac_active_in_window, dim=0) == 0


@variant("3.1")
def numpy_transposed_back(frac_active_in_window):
    fired = np.any(frac_active_in_window.permute(2, 1, 0).numpy() > 0, axis=-1)
    return torch.from_numpy(np.logical_not(fired)).t()


# 3.2 resample_simple(autoencoder, frac_active_in_window, neuron_resample_scale)


def _dead(rates):
    return (rates == 0).all(dim=0)


@torch.no_grad()
def _simple(
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


@mutant("3.2", says="One and the same vector")
def one_vector_for_all(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale, draw=lambda n, d: torch.randn(1, d).expand(n, d))


@mutant("3.2", says="All dead latents of an instance got the same vector")
def one_vector_for_each_instance(autoencoder, rates, scale=0.2):
    dead = _dead(rates)
    v = F.normalize(torch.randn(len(dead), 1, autoencoder.cfg.n_input_ae), dim=-1).expand(*dead.shape, -1)
    _simple(autoencoder, dead, scale, draw=lambda n, d: v[dead])


@mutant("3.2", says="Some dead latents got the same vector")
def shared_between_instances(autoencoder, rates, scale=0.2):
    dead = _dead(rates)
    v = torch.randn(dead.shape[1], autoencoder.cfg.n_input_ae).expand(*dead.shape, -1)
    _simple(autoencoder, dead, scale, draw=lambda n, d: v[dead])


@mutant("3.2", says="one quadrant only")
def one_quadrant(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale, draw=torch.rand)


@mutant("3.2", says="a square")
def from_a_cube(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale, draw=lambda *shape: torch.rand(*shape) * 2 - 1)


@mutant("3.2", says="favor one side")
def off_center(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale, draw=lambda *shape: torch.rand(*shape) - 0.2)


@mutant("3.2", says="do not have unit length")
def not_unit_length(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale, normalize=lambda v: v)


@mutant("3.2", says="normalized along the wrong axis")
def normalized_over_latents(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale, normalize=lambda v: F.normalize(v, dim=0))


@mutant("3.2", says="divided by one common length")
def one_length_for_all(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale, normalize=lambda v: v / v.norm())


@mutant("3.2", says="have the length `neuron_resample_scale`. Only the encoder")
def decoder_scaled_too(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale, decoder=lambda v: scale * v)


@mutant("3.2", says="does not point where its decoder row points")
def encoder_of_its_own(autoencoder, rates, scale=0.2):
    _simple(
        autoencoder,
        _dead(rates),
        scale,
        encoder=lambda v, scale: scale * F.normalize(torch.randn_like(v), dim=-1),
    )


@mutant("3.2", says="`neuron_resample_scale` is not used")
def scale_forgotten(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale, encoder=lambda v, scale: v)


@mutant("3.2", says="0.2 whatever")
def scale_fixed(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale, encoder=lambda v, scale: 0.2 * v)


@mutant("3.2", says="opposite way")
def encoder_opposite(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale, encoder=lambda v, scale: -scale * v)


@mutant("3.2", says="encoder bias of the dead latents was kept")
def bias_kept(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale, bias=False)


@mutant("3.2", says="set to 0 for all latents")
def all_biases_reset(autoencoder, rates, scale=0.2):
    if _dead(rates).any():
        _simple(autoencoder, _dead(rates), scale)
        autoencoder.b_enc.data[:] = 0


@mutant("3.2", says="They were brought to unit length")
def living_decoder_normalized(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale)
    autoencoder.normalize_decoder()


@mutant("3.2", says="`W_enc` was changed for latents that are alive")
def living_encoder_scaled(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale)
    if _dead(rates).any():
        autoencoder.W_enc.data *= 1.01


@mutant("3.2", says="upside down")
def living_replaced(autoencoder, rates, scale=0.2):
    _simple(autoencoder, ~_dead(rates), scale)


@mutant("3.2", says="*any* step")
def silent_once(autoencoder, rates, scale=0.2):
    _simple(autoencoder, (rates == 0).any(dim=0), scale)


@mutant("3.2", says="only the last step")
def silent_at_the_end(autoencoder, rates, scale=0.2):
    _simple(autoencoder, rates[-1] == 0, scale)


@mutant("3.2", says="dead in every instance")
def dead_in_any_instance(autoencoder, rates, scale=0.2):
    dead = _dead(rates)
    _simple(autoencoder, dead.any(dim=0).expand_as(dead), scale)


@mutant("3.2", says="Where no latent is dead")
def crashes_when_none_is_dead(autoencoder, rates, scale=0.2):
    dead = _dead(rates)
    v = torch.stack(
        [F.normalize(torch.randn(autoencoder.cfg.n_input_ae), dim=0) for _ in range(int(dead.sum()))]
    )
    _simple(autoencoder, dead, scale, draw=lambda n, d: v)


@mutant("3.2", says="With tied weights there is no `W_dec`")
@torch.no_grad()
def decoder_also_when_tied(autoencoder, rates, scale=0.2):
    dead = _dead(rates)
    v = F.normalize(torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae), dim=-1)
    autoencoder.W_dec[dead] = v
    autoencoder.W_enc.mT[dead] = scale * v
    autoencoder.b_enc[dead] = 0.0


@mutant("3.2", says="torch.no_grad()")
def inside_the_gradient(autoencoder, rates, scale=0.2):
    autoencoder.b_enc[_dead(rates)] = 0.0


@mutant("3.2", says="`W_enc` is another parameter now")
@torch.no_grad()
def new_parameters(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale)
    autoencoder.W_enc = nn.Parameter(autoencoder.W_enc.clone())


@mutant("3.2", says="Nothing was changed")
def changes_copies(autoencoder, rates, scale=0.2):
    dead = _dead(rates)
    v = F.normalize(torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae), dim=-1)
    for name in ("W_enc", "b_enc"):
        copy = getattr(autoencoder, name).detach().clone()
        if name == "W_enc":
            copy.mT[dead] = scale * v
        else:
            copy[dead] = 0


@mutant("3.2", says="same encoder columns as before")
@torch.no_grad()
def encoder_forgotten(autoencoder, rates, scale=0.2):
    dead = _dead(rates)
    autoencoder.b_enc[dead] = 0.0
    if not autoencoder.cfg.tied_weights:
        v = torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae)
        autoencoder.W_dec[dead] = F.normalize(v, dim=-1)


@mutant("3.2", says="same decoder rows as before")
def decoder_forgotten(autoencoder, rates, scale=0.2):
    dead = _dead(rates)
    v = F.normalize(torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae), dim=-1)
    with torch.no_grad():
        autoencoder.W_enc.mT[dead] = scale * v
        autoencoder.b_enc[dead] = 0.0


@mutant("3.2", says="`b_dec` was changed")
@torch.no_grad()
def b_dec_reset(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale)
    autoencoder.b_dec.zero_()


@mutant("3.2", says="without setting a seed")
def seeded(autoencoder, rates, scale=0.2):
    generator = torch.Generator().manual_seed(0)
    _simple(autoencoder, _dead(rates), scale, draw=lambda *shape: torch.randn(*shape, generator=generator))


@mutant("3.2", says="keep their old direction")
@torch.no_grad()
def old_direction(autoencoder, rates, scale=0.2):
    dead = _dead(rates)
    if autoencoder.cfg.n_input_ae == 2:
        v = F.normalize(autoencoder.W_dec[dead], dim=-1)
        _simple(autoencoder, dead, scale, draw=lambda n, d: v)
    else:
        _simple(autoencoder, dead, scale)


@mutant("3.2", says="favor the diagonals or the axes")
def only_along_axes(autoencoder, rates, scale=0.2):
    def draw(n, d):
        jitter = 0.05 * torch.randn(n, d)
        return F.one_hot(torch.randint(d, (n,)), d) * torch.randn(n, 1).sign() + jitter

    _simple(autoencoder, _dead(rates), scale, draw=draw)


@mutant("3.2", says="have different lengths")
def encoder_from_the_raw_vector(autoencoder, rates, scale=0.2):
    dead = _dead(rates)
    raw = torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae)
    _simple(autoencoder, dead, scale, draw=lambda n, d: raw, encoder=lambda v, scale: scale * raw)


@mutant("3.2", says="mean length of encoder columns as well")
def scaled_as_in_the_advanced_way(autoencoder, rates, scale=0.2):
    mean = autoencoder.W_enc.detach().norm(dim=1).mean()
    _simple(autoencoder, _dead(rates), scale, encoder=lambda v, scale: scale * mean * v)


@mutant("3.2", says="dead latents got a new column")
def first_dead_latent_only(autoencoder, rates, scale=0.2):
    dead = _dead(rates)
    _simple(autoencoder, dead & (dead.cumsum(-1) == 1), scale)


@mutant("3.2", says="is not 0")
def slightly_negative_bias(autoencoder, rates, scale=0.2):
    _simple(autoencoder, _dead(rates), scale)
    autoencoder.b_enc.data[_dead(rates)] = -0.1


@variant("3.2")
@torch.no_grad()
def latent_by_latent(autoencoder, rates, neuron_resample_scale=0.2):
    replaced = []
    for instance, latent in _dead(rates).nonzero().tolist():
        v = torch.randn(autoencoder.cfg.n_input_ae)
        v /= v.norm()
        autoencoder.W_enc[instance, :, latent] = v * neuron_resample_scale
        autoencoder.b_enc[instance, latent].zero_()
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec[instance, latent, :] = v
        replaced.append((instance, latent, v))
    return replaced


@variant("3.2")
def masks_and_data(autoencoder, rates, scale=0.2):
    dead = _dead(rates)
    v = torch.distributions.Normal(0.0, 1.0).sample((*dead.shape, autoencoder.cfg.n_input_ae))
    v = v / torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    autoencoder.W_enc.data = torch.where(dead[:, None, :], scale * v.mT, autoencoder.W_enc.data)
    autoencoder.b_enc.data = torch.where(dead, torch.zeros(()), autoencoder.b_enc.data)
    if "W_dec" in dict(autoencoder.named_parameters()):
        autoencoder.W_dec.data = torch.where(dead[..., None], v, autoencoder.W_dec.data)
    return {"dead": dead, "log": ["resampled", int(dead.sum())]}


@variant("3.2")
@torch.no_grad()
def numpy_instance_by_instance(autoencoder, rates, scale=0.2):
    for i in range(autoencoder.cfg.n_instances):
        where = torch.where((rates[:, i] == 0).all(0))[0]
        v = np.random.randn(len(where), autoencoder.cfg.n_input_ae)
        v = torch.from_numpy(v / np.linalg.norm(v, axis=1, keepdims=True)).float()
        autoencoder.W_enc[i, :, where] = (scale * v).T
        autoencoder.b_enc[i, where] = 0
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec[i].index_copy_(0, where, v)


@variant("3.2")
def index_put_without_gradients(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    with torch.no_grad():
        dead = torch.nonzero(_dead(frac_active_in_window), as_tuple=True)
        v = F.normalize(torch.randn(len(dead[0]), autoencoder.cfg.n_input_ae, dtype=torch.float64), dim=1)
        v = v.to(autoencoder.W_enc.dtype)
        autoencoder.W_enc.transpose(1, 2).index_put_(dead, v * neuron_resample_scale)
        autoencoder.b_enc.index_put_(dead, torch.zeros(()))
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec.index_put_(dead, v)


@variant("3.2")
def old_weights_multiplied_away(autoencoder, rates, scale=0.2):
    n_inputs = autoencoder.cfg.n_input_ae
    dead = _dead(rates).float()
    normal = torch.distributions.MultivariateNormal(torch.zeros(n_inputs), torch.eye(n_inputs))
    v = F.normalize(normal.sample(dead.shape), dim=-1) * dead.unsqueeze(-1)
    autoencoder.W_enc.data.mul_(1 - dead.unsqueeze(1)).add_(scale * v.mT)
    autoencoder.b_enc.data.mul_(1 - dead)
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec.data.mul_(1 - dead.unsqueeze(2)).add_(v)
    return v, dead


# 3.3 resample_advanced(autoencoder, frac_active_in_window, h, neuron_resample_scale)


def _mean_alive(autoencoder, i, dead):
    alive = autoencoder.W_enc[i][:, ~dead[i]]
    return alive.norm(dim=0).mean() if alive.shape[1] else 1.0


@torch.no_grad()
def _advanced(
    autoencoder,
    rates,
    h,
    scale,
    weights=lambda l2, i: l2[:, i] ** 2,
    draw=lambda p, n: torch.multinomial(p, n, replacement=True),
    rows=lambda a, h, i, chosen: h[chosen, i] - a.b_dec[i],
    normalize=lambda v: F.normalize(v, dim=-1),
    length=lambda a, i, dead, scale: scale * _mean_alive(a, i, dead),
    bias=True,
    dead=None,
):
    """Right as it is; a wrong answer gives one piece of its own."""
    dead = _dead(rates) if dead is None else dead
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


variant("3.3")(_advanced)


@mutant("3.3", says="equally likely")
def uniform(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, weights=lambda l2, i: torch.ones(len(l2)))


@mutant("3.3", says="softmax of the loss")
def softmax(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2[:, i].softmax(0))


@mutant("3.3", says="softmax of the squared loss")
def softmax_of_squares(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, draw=lambda p, n: Categorical(logits=p).sample((n,)))


@mutant("3.3", says="largest loss")
def argmax(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, draw=lambda p, n: p.argmax().expand(n))


@mutant("3.3", says="fourth power")
def fourth_power(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2[:, i].pow(2).pow(2))


@mutant("3.3", says="not to its square")
def not_squared(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2[:, i])


@mutant("3.3", says="root of the loss")
def root(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2[:, i].sqrt())


@mutant("3.3", says="1 over the")
def well_rebuilt_inputs(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, weights=lambda l2, i: 1 / (l2[:, i] + 1e-9))


@mutant("3.3", says="losses of instance 0 are used")
def losses_of_the_first_instance(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2[:, 0] ** 2)


@mutant("3.3", says="averaged over the instances")
def losses_averaged(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2.mean(1) ** 2)


@mutant("3.3", says="includes the L1 term")
def total_loss(autoencoder, rates, h, scale=0.2):
    l1 = autoencoder(h).l1_loss.detach()
    coefficient = autoencoder.cfg.l1_coeff
    _advanced(autoencoder, rates, h, scale, weights=lambda l2, i: (l2 + coefficient * l1)[:, i] ** 2)


@mutant("3.3", says="length of the input")
def longest_inputs(autoencoder, rates, h, scale=0.2):
    _advanced(
        autoencoder, rates, h, scale, weights=lambda l2, i: (h[:, i] - autoencoder.b_dec[i]).norm(dim=-1) ** 2
    )


@mutant("3.3", says="One draw is used for all dead latents")
def one_draw_for_each_instance(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, draw=lambda p, n: torch.multinomial(p, 1).expand(n))


@mutant("3.3", says="The instances share their draws")
@torch.no_grad()
def one_draw_for_all_instances(autoencoder, rates, h, scale=0.2):
    p = autoencoder(h).l2_loss.mean(1) ** 2
    rows = torch.multinomial(p, rates.shape[2], replacement=True)
    _advanced(autoencoder, rates, h, scale, draw=lambda p, n: rows[:n])


@mutant("3.3", says="drawn more than once")
def without_replacement(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, draw=lambda p, n: torch.multinomial(p, n))


@mutant("3.3", says="Draw anew each time")
def seeded_draws(autoencoder, rates, h, scale=0.2):
    generator = torch.Generator().manual_seed(1)
    _advanced(
        autoencoder,
        rates,
        h,
        scale,
        draw=lambda p, n: torch.multinomial(p, n, replacement=True, generator=generator),
    )


@mutant("3.3", says="`b_dec` was not subtracted")
def b_dec_not_subtracted(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, rows=lambda a, h, i, chosen: h[chosen, i])


@mutant("3.3", says="`b_dec` was added")
def b_dec_added(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, rows=lambda a, h, i, chosen: h[chosen, i] + a.b_dec[i])


@mutant("3.3", says="`b_dec` of instance 0")
def b_dec_of_the_first_instance(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, rows=lambda a, h, i, chosen: h[chosen, i] - a.b_dec[0])


@mutant("3.3", says="rows of instance 0")
def inputs_of_the_first_instance(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, rows=lambda a, h, i, chosen: h[chosen, 0] - a.b_dec[0])


@mutant("3.3", says="rows of the *error*")
def errors_instead_of_inputs(autoencoder, rates, h, scale=0.2):
    error = (h - autoencoder(h).h_reconstructed).detach()
    _advanced(autoencoder, rates, h, scale, rows=lambda a, h, i, chosen: error[chosen, i])


@mutant("3.3", says="sign is turned round")
def turned_round(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, rows=lambda a, h, i, chosen: a.b_dec[i] - h[chosen, i])


@mutant("3.3", says="as long as the inputs")
def rows_not_normalized(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, normalize=lambda v: v)


@mutant("3.3", says="wrong axis")
def normalized_along_latents(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, normalize=lambda v: F.normalize(v, dim=0))


@mutant("3.3", says="divided by one common length")
def one_length(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, normalize=lambda v: v / v.norm())


@mutant("3.3", says="`neuron_resample_scale` is missing")
def scale_missing(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, length=lambda a, i, dead, scale: _mean_alive(a, i, dead))


@mutant("3.3", says="mean length of the living columns is missing")
def mean_missing(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, length=lambda a, i, dead, scale: scale)


@mutant("3.3", says="the scale is 0.2 whatever")
def fixed_scale(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, length=lambda a, i, dead, scale: 0.2 * _mean_alive(a, i, dead))


@mutant("3.3", says="the dead ones included")
def mean_over_all_latents(autoencoder, rates, h, scale=0.2):
    _advanced(
        autoencoder, rates, h, scale, length=lambda a, i, dead, scale: scale * a.W_enc[i].norm(dim=0).mean()
    )


@mutant("3.3", says="of all instances, not of their own")
def mean_over_all_instances(autoencoder, rates, h, scale=0.2):
    mean = autoencoder.W_enc.detach().mT[~_dead(rates)].norm(dim=-1).mean()
    _advanced(autoencoder, rates, h, scale, length=lambda a, i, dead, scale: scale * mean)


@mutant("3.3", says="along the wrong axis")
def norm_along_latents(autoencoder, rates, h, scale=0.2):
    _advanced(
        autoencoder,
        rates,
        h,
        scale,
        length=lambda a, i, dead, scale: scale * a.W_enc[i][:, ~dead[i]].norm(dim=1).mean(),
    )


@mutant("3.3", says="all living columns together")
def norm_of_the_matrix(autoencoder, rates, h, scale=0.2):
    _advanced(
        autoencoder, rates, h, scale, length=lambda a, i, dead, scale: scale * a.W_enc[i][:, ~dead[i]].norm()
    )


@mutant("3.3", says="decoder's lengths")
def norm_of_the_decoder(autoencoder, rates, h, scale=0.2):
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    lengths = W_dec.detach().norm(dim=-1)
    _advanced(
        autoencoder, rates, h, scale, length=lambda a, i, dead, scale: scale * lengths[i][~dead[i]].mean()
    )


@mutant("3.3", says="Where every latent of an instance is dead there are NaN values")
def nan_without_living_latents(autoencoder, rates, h, scale=0.2):
    _advanced(
        autoencoder,
        rates,
        h,
        scale,
        length=lambda a, i, dead, scale: scale * a.W_enc[i][:, ~dead[i]].norm(dim=0).mean(),
    )


@mutant("3.3", says="every input without error")
@torch.no_grad()
def fails_without_loss(autoencoder, rates, h, scale=0.2):
    dead, l2 = _dead(rates), autoencoder(h).l2_loss
    for i in range(len(dead)):
        n = int(dead[i].sum())
        if n:
            p = l2[:, i] ** 2 / (l2[:, i] ** 2).sum()
            v = F.normalize(h[Categorical(probs=p).sample((n,)), i] - autoencoder.b_dec[i], dim=-1)
            if not autoencoder.cfg.tied_weights:
                autoencoder.W_dec[i, dead[i]] = v
            autoencoder.W_enc[i].T[dead[i]] = scale * _mean_alive(autoencoder, i, dead) * v
            autoencoder.b_enc[i, dead[i]] = 0


@mutant("3.3", says="every input without error")
def nan_without_loss(autoencoder, rates, h, scale=0.2):
    _advanced(
        autoencoder,
        rates,
        h,
        scale,
        weights=lambda l2, i: l2[:, i] ** 2 + 1e-30,
        normalize=lambda v: v / v.norm(dim=-1, keepdim=True),
    )


@mutant("3.3", says="encoder bias of the dead latents was kept")
def bias_kept_advanced(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, bias=False)


@mutant("3.3", says="upside down")
def living_latents_replaced(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, dead=~_dead(rates))


@mutant("3.3", says="*any* step")
def silent_in_a_step(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, dead=(rates == 0).any(0))


@mutant("3.3", says="with tied weights there is no `W_dec`")
@torch.no_grad()
def tied_weights_forgotten(autoencoder, rates, h, scale=0.2):
    if autoencoder.cfg.tied_weights:
        autoencoder.W_dec[_dead(rates)] = 0
    _advanced(autoencoder, rates, h, scale)


@mutant("3.3", says="was a second one drawn")
@torch.no_grad()
def second_draw_for_the_encoder(autoencoder, rates, h, scale=0.2):
    W_dec = None if autoencoder.cfg.tied_weights else autoencoder.W_dec
    _advanced(autoencoder, rates, h, scale)
    if W_dec is not None:
        keep = W_dec.clone()
        _advanced(autoencoder, rates, h, scale)
        W_dec.copy_(keep)


@mutant("3.3", says="`W_dec` was changed for latents that are alive")
def whole_decoder_normalized(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale)
    autoencoder.normalize_decoder()


@mutant("3.3", says="different lengths within an instance")
@torch.no_grad()
def encoder_from_raw_rows(autoencoder, rates, h, scale=0.2):
    drawn = {}

    def keep(v):
        drawn["v"] = v
        return F.normalize(v, dim=-1)

    def length(a, i, dead, scale):
        return scale * _mean_alive(a, i, dead) * drawn["v"].norm(dim=-1, keepdim=True)

    _advanced(autoencoder, rates, h, scale, normalize=keep, length=length)


@mutant("3.3", says="averaged over the instances")
def squared_losses_added_up(autoencoder, rates, h, scale=0.2):
    _advanced(autoencoder, rates, h, scale, weights=lambda l2, i: l2.pow(2).sum(dim=1))


@mutant("3.3", says="sum over the instances instead of the sum over the batch")
def divided_along_the_wrong_axis(autoencoder, rates, h, scale=0.2):
    def weights(l2, i):
        return (l2 / l2.sum(dim=1, keepdim=True).clamp_min(1e-9))[:, i] ** 2

    _advanced(autoencoder, rates, h, scale, weights=weights)


@mutant("3.3", says="computed once, before any latent is replaced")
@torch.no_grad()
def losses_change_on_the_way(autoencoder, rates, h, scale=0.2):
    dead = _dead(rates)
    lengths = [_mean_alive(autoencoder, i, dead) for i in range(len(dead))]
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
    _simple(autoencoder, _dead(rates), scale)


@variant("3.3")
def summed_error_as_loss(autoencoder, rates, h, scale=0.2):
    with torch.no_grad():
        error = (h - autoencoder(h)[-1]).square().sum(-1)
    _advanced(autoencoder, rates, h, scale, weights=lambda l2, i: error[:, i] * error[:, i])


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
    dead = _dead(rates)
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
        dead = _dead(rates)
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
    dead = _dead(frac_active_in_window)
    logits = 2 * torch.log(autoencoder(h).l2_loss)
    for i in range(autoencoder.cfg.n_instances):
        where = torch.where(dead[i])[0]
        if len(where) == 0 or torch.isinf(logits[:, i]).all():
            continue
        rows = Categorical(logits=logits[:, i]).sample((len(where),))
        v = F.normalize(h[rows, i] - autoencoder.b_dec[i], dim=1)
        length = _mean_alive(autoencoder, i, dead)
        autoencoder.W_enc.data[i].index_copy_(1, where, neuron_resample_scale * length * v.T)
        autoencoder.b_enc.data[i].index_fill_(0, where, 0.0)
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec.data[i].index_copy_(0, where, v)


@variant("3.3")
@torch.no_grad()
def choices_of_the_standard_library(autoencoder, rates, h, scale=0.2):
    out = autoencoder(h)
    dead = _dead(rates)
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
                v.div_(v.norm())
                autoencoder.W_enc[i, :, j] = scale * length * v
                autoencoder.b_enc[i, j] = 0
                if not autoencoder.cfg.tied_weights:
                    autoencoder.W_dec[i, j] = v


# 3.4 reset_adam_state(optimizer, autoencoder, resampled)


def _masks(autoencoder, resampled):
    masks = {"W_enc": resampled[:, None, :], "b_enc": resampled}
    if not autoencoder.cfg.tied_weights:
        masks["W_dec"] = resampled[:, :, None]
    return masks


def _reset(optimizer, autoencoder, masks, moments=("exp_avg", "exp_avg_sq"), value=0.0):
    """Right with the right masks and moments."""
    for name, mask in masks.items():
        state = optimizer.state.get(getattr(autoencoder, name), {})
        for moment in moments:
            if moment in state:
                state[moment].masked_fill_(mask, value)


@mutant("3.4", says="thrown away as a whole")
def state_thrown_away(optimizer, autoencoder, resampled):
    if resampled.any():
        optimizer.state.clear()


@mutant("3.4", says="whole state was cleared")
def everything_zeroed(optimizer, autoencoder, resampled):
    for state in optimizer.state.values():
        state["exp_avg"].zero_()
        state["exp_avg_sq"].zero_()


@mutant("3.4", says="whole state of `W_enc` was cleared")
def whole_parameters_zeroed(optimizer, autoencoder, resampled):
    everything = {name: mask | True for name, mask in _masks(autoencoder, resampled).items()}
    if resampled.any():
        _reset(optimizer, autoencoder, everything)


@mutant("3.4", says="The second moment")
def second_moment_kept(optimizer, autoencoder, resampled):
    _reset(optimizer, autoencoder, _masks(autoencoder, resampled), moments=("exp_avg",))


@mutant("3.4", says="The first moment")
def first_moment_kept(optimizer, autoencoder, resampled):
    _reset(optimizer, autoencoder, _masks(autoencoder, resampled), moments=("exp_avg_sq",))


@mutant("3.4", says="state of `b_enc` was kept")
def bias_state_kept(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    del masks["b_enc"]
    _reset(optimizer, autoencoder, masks)


@mutant("3.4", says="state of `W_dec` was kept")
def decoder_state_kept(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    masks.pop("W_dec", None)
    _reset(optimizer, autoencoder, masks)


@mutant("3.4", says="state of `W_enc` was kept")
def encoder_state_kept(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    if not autoencoder.cfg.tied_weights:
        del masks["W_enc"]
    _reset(optimizer, autoencoder, masks)


@mutant("3.4", says="state of `b_dec` was changed")
def b_dec_cleared(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    if resampled.any():
        masks["b_dec"] = torch.ones_like(autoencoder.b_dec, dtype=torch.bool)
    _reset(optimizer, autoencoder, masks)


@mutant("3.4", says="the *rows* were reset")
def rows_of_the_encoder(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    if autoencoder.W_enc.shape[1] == autoencoder.W_enc.shape[2]:
        masks["W_enc"] = resampled[:, :, None]
    _reset(optimizer, autoencoder, masks)


@mutant("3.4", says="upside down")
def living_reset(optimizer, autoencoder, resampled):
    if resampled.any():
        _reset(optimizer, autoencoder, _masks(autoencoder, ~resampled))


@mutant("3.4", says="reset in every instance")
def instances_mixed(optimizer, autoencoder, resampled):
    _reset(optimizer, autoencoder, _masks(autoencoder, resampled.any(0).expand_as(resampled)))


@mutant("3.4", says="`step` of")
def step_reset(optimizer, autoencoder, resampled):
    _reset(optimizer, autoencoder, _masks(autoencoder, resampled))
    for state in optimizer.state.values():
        state["step"] = torch.tensor(0.0)


@mutant("3.4", says="Was it changed in a copy")
def changes_a_copy(optimizer, autoencoder, resampled):
    for name, mask in _masks(autoencoder, resampled).items():
        state = optimizer.state.get(getattr(autoencoder, name), {})
        for moment in ("exp_avg", "exp_avg_sq"):
            if moment in state:
                state[moment][mask.expand_as(state[moment])].zero_()


@mutant("3.4", says="Before the optimizer's first step")
def needs_a_state(optimizer, autoencoder, resampled):
    for name, mask in _masks(autoencoder, resampled).items():
        for moment in ("exp_avg", "exp_avg_sq"):
            optimizer.state[getattr(autoencoder, name)][moment].masked_fill_(mask, 0.0)


@mutant("3.4", says="With tied weights there is no `W_dec`")
def needs_a_decoder(optimizer, autoencoder, resampled):
    _reset(optimizer, autoencoder, {"W_dec": resampled[:, :, None], **_masks(autoencoder, resampled)})


@mutant("3.4", says="`W_enc` itself was changed")
def weights_reset(optimizer, autoencoder, resampled):
    autoencoder.W_enc.data.masked_fill_(resampled[:, None], 0.0)


@mutant("3.4", says="was set to 1")
def set_to_one(optimizer, autoencoder, resampled):
    _reset(optimizer, autoencoder, _masks(autoencoder, resampled), value=1.0)


@mutant("3.4", says="the *columns* were reset")
def columns_of_the_decoder(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    if autoencoder.W_enc.shape[1] == autoencoder.W_enc.shape[2]:
        masks["W_dec"] = resampled[:, None, :]
    _reset(optimizer, autoencoder, masks)


@mutant("3.4", says="is not 0 everywhere")
def first_input_only(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    first = torch.arange(autoencoder.cfg.n_input_ae) == 0
    masks["W_enc"] = masks["W_enc"] & first[:, None]
    _reset(optimizer, autoencoder, masks)


@variant("3.4")
def new_tensors(optimizer, autoencoder, resampled):
    keep = ~resampled
    shapes = {"W_enc": keep.unsqueeze(1), "b_enc": keep, "W_dec": keep.unsqueeze(-1)}
    for name, parameter in autoencoder.named_parameters():
        if name in shapes and optimizer.state[parameter]:
            for moment in ("exp_avg", "exp_avg_sq"):
                optimizer.state[parameter][moment] = optimizer.state[parameter][moment] * shapes[name]
    return optimizer


@variant("3.4")
def latent_by_latent_reset(optimizer, autoencoder, resampled):
    parameters = list(autoencoder.parameters())
    for instance, latent in zip(*torch.where(resampled), strict=True):
        for parameter in parameters:
            for moment, tensor in optimizer.state[parameter].items():
                if moment.startswith("exp_avg"):
                    if parameter is autoencoder.W_enc:
                        tensor[instance, :, latent] = 0
                    elif parameter is autoencoder.b_enc or parameter is getattr(autoencoder, "W_dec", None):
                        tensor[instance, latent] = 0


@variant("3.4")
def transposed_view(optimizer, autoencoder, resampled):
    for name in ("W_enc", "W_dec", "b_enc"):
        state = optimizer.state.get(getattr(autoencoder, name, None))
        if state:
            for moment in ("exp_avg", "exp_avg_sq"):
                tensor = state[moment].transpose(1, 2) if name == "W_enc" else state[moment]
                tensor[resampled] = 0.0


@variant("3.4")
def through_the_state_dict(optimizer, autoencoder, resampled):
    saved = optimizer.state_dict()
    names = [name for name, _ in autoencoder.named_parameters()]
    masks = _masks(autoencoder, resampled)
    for number, state in saved["state"].items():
        if names[number] in masks:
            for moment in ("exp_avg", "exp_avg_sq"):
                state[moment] = torch.where(masks[names[number]], 0.0, state[moment])
    optimizer.load_state_dict(saved)


@variant("3.4")
def multiplied_by_the_mask(optimizer, autoencoder, resampled):
    keep = torch.logical_not(resampled).double()
    for parameter, factor in {
        autoencoder.W_enc: keep[:, None],
        autoencoder.b_enc: keep,
        getattr(autoencoder, "W_dec", None): keep[..., None],
    }.items():
        if parameter is not None and len(optimizer.state[parameter]) > 0:
            optimizer.state[parameter]["exp_avg"] *= factor
            optimizer.state[parameter]["exp_avg_sq"].mul_(factor)
    return None
