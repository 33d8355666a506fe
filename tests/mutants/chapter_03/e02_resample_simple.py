"""Answers to exercise 3.2: `resample_simple`."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tests.mutants import equivalent, mutant, variant
from tests.mutants.chapter_03.shared import dead_mask, simple


@mutant("3.2", says="One and the same vector")
def one_vector_for_all(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale, draw=lambda n, d: torch.randn(1, d).expand(n, d))


@mutant("3.2", says="All dead latents of an instance got the same vector")
def one_vector_for_each_instance(autoencoder, rates, scale=0.2):
    dead = dead_mask(rates)
    v = F.normalize(torch.randn(len(dead), 1, autoencoder.cfg.n_input_ae), dim=-1).expand(*dead.shape, -1)
    simple(autoencoder, dead, scale, draw=lambda n, d: v[dead])


@mutant("3.2", says="Some dead latents got the same vector")
def shared_between_instances(autoencoder, rates, scale=0.2):
    dead = dead_mask(rates)
    v = torch.randn(dead.shape[1], autoencoder.cfg.n_input_ae).expand(*dead.shape, -1)
    simple(autoencoder, dead, scale, draw=lambda n, d: v[dead])


@mutant("3.2", says="one quadrant only")
def one_quadrant(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale, draw=torch.rand)


@mutant("3.2", says="a square")
def from_a_cube(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale, draw=lambda *shape: torch.rand(*shape) * 2 - 1)


@mutant("3.2", says="favor one side")
def off_center(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale, draw=lambda *shape: torch.rand(*shape) - 0.2)


@mutant("3.2", says="do not have unit length")
def not_unit_length(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale, normalize=lambda v: v)


@mutant("3.2", says="normalized along the wrong axis")
def normalized_over_latents(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale, normalize=lambda v: F.normalize(v, dim=0))


@mutant("3.2", says="divided by one common length")
def one_length_for_all(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale, normalize=lambda v: v / v.norm())


@mutant("3.2", says="have the length `neuron_resample_scale`. Only the encoder")
def decoder_scaled_too(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale, decoder=lambda v: scale * v)


@mutant("3.2", says="does not point where its decoder row points")
def encoder_of_its_own(autoencoder, rates, scale=0.2):
    simple(
        autoencoder,
        dead_mask(rates),
        scale,
        encoder=lambda v, scale: scale * F.normalize(torch.randn_like(v), dim=-1),
    )


@mutant("3.2", says="`neuron_resample_scale` is not used")
def scale_forgotten(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale, encoder=lambda v, scale: v)


@mutant("3.2", says="0.2 whatever")
def scale_fixed(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale, encoder=lambda v, scale: 0.2 * v)


@mutant("3.2", says="opposite way")
def encoder_opposite(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale, encoder=lambda v, scale: -scale * v)


@mutant("3.2", says="encoder bias of the dead latents was kept")
def bias_kept(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale, bias=False)


@mutant("3.2", says="set to 0 for all latents")
def all_biases_reset(autoencoder, rates, scale=0.2):
    if dead_mask(rates).any():
        simple(autoencoder, dead_mask(rates), scale)
        autoencoder.b_enc.data[:] = 0


@mutant("3.2", says="They were brought to unit length")
def living_decoder_normalized(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale)
    autoencoder.normalize_decoder()


@mutant("3.2", says="`W_enc` was changed for latents that are alive")
def living_encoder_scaled(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale)
    if dead_mask(rates).any():
        autoencoder.W_enc.data *= 1.01


@mutant("3.2", says="upside down")
def living_replaced(autoencoder, rates, scale=0.2):
    simple(autoencoder, ~dead_mask(rates), scale)


@mutant("3.2", says="*any* step")
def silent_once(autoencoder, rates, scale=0.2):
    simple(autoencoder, (rates == 0).any(dim=0), scale)


@mutant("3.2", says="only the last step")
def silent_at_the_end(autoencoder, rates, scale=0.2):
    simple(autoencoder, rates[-1] == 0, scale)


@mutant("3.2", says="dead in every instance")
def dead_in_any_instance(autoencoder, rates, scale=0.2):
    dead = dead_mask(rates)
    simple(autoencoder, dead.any(dim=0).expand_as(dead), scale)


@mutant("3.2", says="Where no latent is dead")
def crashes_when_none_is_dead(autoencoder, rates, scale=0.2):
    dead = dead_mask(rates)
    v = torch.stack(
        [F.normalize(torch.randn(autoencoder.cfg.n_input_ae), dim=0) for _ in range(int(dead.sum()))]
    )
    simple(autoencoder, dead, scale, draw=lambda n, d: v)


@mutant("3.2", says="With tied weights there is no `W_dec`")
@torch.no_grad()
def decoder_also_when_tied(autoencoder, rates, scale=0.2):
    dead = dead_mask(rates)
    v = F.normalize(torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae), dim=-1)
    autoencoder.W_dec[dead] = v
    autoencoder.W_enc.mT[dead] = scale * v
    autoencoder.b_enc[dead] = 0.0


@mutant("3.2", says="torch.no_grad()")
def inside_the_gradient(autoencoder, rates, scale=0.2):
    autoencoder.b_enc[dead_mask(rates)] = 0.0


@mutant("3.2", says="`W_enc` is another parameter now")
@torch.no_grad()
def new_parameters(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale)
    autoencoder.W_enc = nn.Parameter(autoencoder.W_enc.clone())


@mutant("3.2", says="Nothing was changed")
def changes_copies(autoencoder, rates, scale=0.2):
    dead = dead_mask(rates)
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
    dead = dead_mask(rates)
    autoencoder.b_enc[dead] = 0.0
    if not autoencoder.cfg.tied_weights:
        v = torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae)
        autoencoder.W_dec[dead] = F.normalize(v, dim=-1)


@mutant("3.2", says="same decoder rows as before")
def decoder_forgotten(autoencoder, rates, scale=0.2):
    dead = dead_mask(rates)
    v = F.normalize(torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae), dim=-1)
    with torch.no_grad():
        autoencoder.W_enc.mT[dead] = scale * v
        autoencoder.b_enc[dead] = 0.0


@mutant("3.2", says="`b_dec` was changed")
@torch.no_grad()
def b_dec_reset(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale)
    autoencoder.b_dec.zero_()


@mutant("3.2", says="without setting a seed")
def seeded(autoencoder, rates, scale=0.2):
    generator = torch.Generator().manual_seed(0)
    simple(autoencoder, dead_mask(rates), scale, draw=lambda *shape: torch.randn(*shape, generator=generator))


@mutant("3.2", says="keep their old direction")
@torch.no_grad()
def old_direction(autoencoder, rates, scale=0.2):
    dead = dead_mask(rates)
    if autoencoder.cfg.n_input_ae == 2:
        v = F.normalize(autoencoder.W_dec[dead], dim=-1)
        simple(autoencoder, dead, scale, draw=lambda n, d: v)
    else:
        simple(autoencoder, dead, scale)


@mutant("3.2", says="favor the diagonals or the axes")
def only_along_axes(autoencoder, rates, scale=0.2):
    def draw(n, d):
        jitter = 0.05 * torch.randn(n, d)
        return F.one_hot(torch.randint(d, (n,)), d) * torch.randn(n, 1).sign() + jitter

    simple(autoencoder, dead_mask(rates), scale, draw=draw)


@mutant("3.2", says="have different lengths")
def encoder_from_the_raw_vector(autoencoder, rates, scale=0.2):
    dead = dead_mask(rates)
    raw = torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae)
    simple(autoencoder, dead, scale, draw=lambda n, d: raw, encoder=lambda v, scale: scale * raw)


@mutant("3.2", says="mean length of encoder columns as well")
def scaled_as_in_the_advanced_way(autoencoder, rates, scale=0.2):
    mean = autoencoder.W_enc.detach().norm(dim=1).mean()
    simple(autoencoder, dead_mask(rates), scale, encoder=lambda v, scale: scale * mean * v)


@mutant("3.2", says="dead latents got a new column")
def first_dead_latent_only(autoencoder, rates, scale=0.2):
    dead = dead_mask(rates)
    simple(autoencoder, dead & (dead.cumsum(-1) == 1), scale)


@mutant("3.2", says="is not 0")
def slightly_negative_bias(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), scale)
    autoencoder.b_enc.data[dead_mask(rates)] = -0.1


@variant("3.2")
@torch.no_grad()
def latent_by_latent(autoencoder, rates, neuron_resample_scale=0.2):
    replaced = []
    for instance, latent in dead_mask(rates).nonzero().tolist():
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
    dead = dead_mask(rates)
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
        dead = torch.nonzero(dead_mask(frac_active_in_window), as_tuple=True)
        v = F.normalize(torch.randn(len(dead[0]), autoencoder.cfg.n_input_ae, dtype=torch.float64), dim=1)
        v = v.to(autoencoder.W_enc.dtype)
        autoencoder.W_enc.transpose(1, 2).index_put_(dead, v * neuron_resample_scale)
        autoencoder.b_enc.index_put_(dead, torch.zeros(()))
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec.index_put_(dead, v)


@variant("3.2")
def old_weights_multiplied_away(autoencoder, rates, scale=0.2):
    n_inputs = autoencoder.cfg.n_input_ae
    dead = dead_mask(rates).float()
    normal = torch.distributions.MultivariateNormal(torch.zeros(n_inputs), torch.eye(n_inputs))
    v = F.normalize(normal.sample(dead.shape), dim=-1) * dead.unsqueeze(-1)
    autoencoder.W_enc.data.mul_(1 - dead.unsqueeze(1)).add_(scale * v.mT)
    autoencoder.b_enc.data.mul_(1 - dead)
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec.data.mul_(1 - dead.unsqueeze(2)).add_(v)
    return v, dead


@torch.no_grad()
def _instance_by_instance(autoencoder, rates, scale, stop):
    """Right, but for an end of the loop at the first instance for which stop(dead) holds."""
    for i, dead in enumerate(dead_mask(rates)):
        if stop(dead):
            return
        v = F.normalize(torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae), dim=-1)
        autoencoder.W_enc[i, :, dead] = scale * v.T
        autoencoder.b_enc[i, dead] = 0.0
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec[i, dead] = v


@mutant("3.2", says="`return` or `break` ends the loop")
def returns_at_an_instance_without_dead(autoencoder, rates, scale=0.2):
    _instance_by_instance(autoencoder, rates, scale, lambda dead: not dead.any())


@mutant("3.2", says="")
def returns_at_an_instance_with_one_dead(autoencoder, rates, scale=0.2):
    _instance_by_instance(autoencoder, rates, scale, lambda dead: dead.sum() == 1)


@variant("3.2")
def no_instance_ends_the_loop(autoencoder, rates, scale=0.2):
    _instance_by_instance(autoencoder, rates, scale, lambda dead: False)


@mutant("3.2", says="Every new direction lies along an axis")
@torch.no_grad()
def along_the_axes(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    dead = (frac_active_in_window == 0).all(dim=0)
    n, d = int(dead.sum()), autoencoder.cfg.n_input_ae
    v = F.one_hot(torch.randint(d, (n,)), d) * (2.0 * torch.randint(2, (n, 1)) - 1)
    autoencoder.W_enc.mT[dead] = neuron_resample_scale * v
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead] = v
    autoencoder.b_enc[dead] = 0


@mutant("3.2", says="dead latents got a new column of `W_enc`")
@torch.no_grad()
def first_dead_latent_of_each_instance(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    dead = (frac_active_in_window == 0).all(dim=0)
    dead = dead & (dead.cumsum(dim=1) == 1)
    v = F.normalize(torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae), dim=-1)
    autoencoder.W_enc.mT[dead] = neuron_resample_scale * v
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead] = v
    autoencoder.b_enc[dead] = 0


@mutant("3.2", says="`W_dec` was changed for latents that are alive")
@torch.no_grad()
def normalizes_the_whole_decoder(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    dead = (frac_active_in_window == 0).all(dim=0)
    v = torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae)
    autoencoder.W_enc.mT[dead] = neuron_resample_scale * F.normalize(v, dim=-1)
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead] = v
        autoencoder.normalize_decoder()
    autoencoder.b_enc[dead] = 0


@mutant("3.2", says="A new latent's encoder column does not point where its decoder row")
@torch.no_grad()
def encoder_draws_anew(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    dead = (frac_active_in_window == 0).all(dim=0)
    n, d = int(dead.sum()), autoencoder.cfg.n_input_ae
    autoencoder.W_enc.mT[dead] = neuron_resample_scale * F.normalize(torch.randn(n, d), dim=-1)
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead] = F.normalize(torch.randn(n, d), dim=-1)
    autoencoder.b_enc[dead] = 0


@mutant("3.2", says="Some dead latents got opposite vectors")
@torch.no_grad()
def pairs_of_opposites(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    dead = (frac_active_in_window == 0).all(dim=0)
    n, d = int(dead.sum()), autoencoder.cfg.n_input_ae
    v = F.normalize(torch.randn((n + 1) // 2, d), dim=-1)
    v = torch.cat([v, -v])[:n]
    autoencoder.W_enc.mT[dead] = neuron_resample_scale * v
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead] = v
    autoencoder.b_enc[dead] = 0


@mutant("3.2", says="The new encoder columns were scaled with a mean length of encoder")
@torch.no_grad()
def in_units_of_the_living(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    dead = (frac_active_in_window == 0).all(dim=0)
    v = F.normalize(torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae), dim=-1)
    mean = autoencoder.W_enc.norm(dim=1)[~dead].mean().nan_to_num(1.0)
    autoencoder.W_enc.mT[dead] = neuron_resample_scale * mean * v
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead] = v
    autoencoder.b_enc[dead] = 0


@mutant("3.2", says="The new encoder columns have the length 0.2 whatever")
@torch.no_grad()
def scale_is_always_a_fifth(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    dead = (frac_active_in_window == 0).all(dim=0)
    v = F.normalize(torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae), dim=-1)
    autoencoder.W_enc.mT[dead] = 0.2 * v
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead] = v
    autoencoder.b_enc[dead] = 0


@mutant("3.2", says="`b_enc` was set to 0 for all latents")
@torch.no_grad()
def all_of_the_bias(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    dead = (frac_active_in_window == 0).all(dim=0)
    v = F.normalize(torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae), dim=-1)
    autoencoder.W_enc.mT[dead] = neuron_resample_scale * v
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead] = v
    if dead.any():
        autoencoder.b_enc.zero_()


@mutant("3.2", says="The wrong latents were replaced")
@torch.no_grad()
def rare_ones_too(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    dead = frac_active_in_window.mean(dim=0) < 1e-2
    v = F.normalize(torch.randn(int(dead.sum()), autoencoder.cfg.n_input_ae), dim=-1)
    autoencoder.W_enc.mT[dead] = neuron_resample_scale * v
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead] = v
    autoencoder.b_enc[dead] = 0


@mutant("3.2", says="The instances after instance 1, in which nothing is to be replaced,")
@torch.no_grad()
def stops_at_an_instance_without_dead_ones(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    dead = (frac_active_in_window == 0).all(dim=0)
    for i in range(len(dead)):
        if not dead[i].any():
            break
        v = F.normalize(torch.randn(int(dead[i].sum()), autoencoder.cfg.n_input_ae), dim=-1)
        autoencoder.W_enc[i].T[dead[i]] = neuron_resample_scale * v
        if not autoencoder.cfg.tied_weights:
            autoencoder.W_dec[i, dead[i]] = v
        autoencoder.b_enc[i, dead[i]] = 0


@variant("3.2")
@torch.no_grad()
def everywhere_then_where(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    dead = frac_active_in_window.amax(dim=0) == 0
    v = torch.randn(*dead.shape, autoencoder.cfg.n_input_ae)
    v = v / v.norm(dim=-1, keepdim=True)
    autoencoder.W_enc.copy_(torch.where(dead[:, None], neuron_resample_scale * v.mT, autoencoder.W_enc))
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec.data = torch.where(dead[..., None], v, autoencoder.W_dec.data)
    autoencoder.b_enc.masked_fill_(dead, 0)


equivalent("3.2", "the new vectors have two axes, so that 1 is the last", "dim=-1: -1 -> 1")


def _put(a, dead, v, scale=0.2, bias=True):
    """Right with the right latents and vectors."""
    a.W_enc.mT[dead] = scale * v
    if not a.cfg.tied_weights:
        a.W_dec[dead] = v
    if bias:
        a.b_enc[dead] = 0


@mutant("3.2", says="In every new direction all numbers are equally large, and only their")
@torch.no_grad()
def signs_only(a, r, s=0.2):
    dead = (r == 0).all(0)
    _put(a, dead, F.normalize(torch.randn(int(dead.sum()), a.cfg.n_input_ae).sign(), dim=-1), s)


@mutant("3.2", says="got the same vector")
@torch.no_grad()
def copies_living(a, r, s=0.2):
    dead = (r == 0).all(0)
    W = a.W_enc.mT.clone()
    v = (
        torch.stack(
            [
                W[i, int((~dead[i]).nonzero()[0]) if (~dead[i]).any() else 0]
                for i in dead.nonzero()[:, 0].tolist()
            ]
        )
        if dead.any()
        else torch.zeros(0, a.cfg.n_input_ae)
    )
    _put(a, dead, F.normalize(v + 0.0001 * torch.randn(v.shape), dim=-1), s)


@mutant("3.2", says="The new directions favor the diagonals or the axes")
@torch.no_grad()
def squared_uniform(a, r, s=0.2):
    dead = (r == 0).all(0)
    v = torch.rand(int(dead.sum()), a.cfg.n_input_ae) * 2 - 1
    _put(a, dead, F.normalize(v**3, dim=-1), s)


@mutant("3.2", says="`b_dec` was changed")
@torch.no_grad()
def orthogonalized(a, r, s=0.2):
    dead = (r == 0).all(0)
    v = F.normalize(torch.randn(int(dead.sum()), a.cfg.n_input_ae), dim=-1)
    _put(a, dead, v, s)
    a.b_dec.zero_()


@mutant("3.2", says="The encoder bias of the new latents is not 0")
@torch.no_grad()
def bias_minus(a, r, s=0.2):
    dead = (r == 0).all(0)
    _put(a, dead, F.normalize(torch.randn(int(dead.sum()), a.cfg.n_input_ae), dim=-1), s)
    a.b_enc[dead] = -0.1


@mutant("3.2", says="The new encoder columns have different lengths")
@torch.no_grad()
def keeps_old_encoder_length(a, r, s=0.2):
    dead = (r == 0).all(0)
    old = a.W_enc.mT[dead].norm(dim=-1, keepdim=True)
    v = F.normalize(torch.randn(int(dead.sum()), a.cfg.n_input_ae), dim=-1)
    _put(a, dead, v, s)
    a.W_enc.mT[dead] = s * old * v


@variant("3.2")
@torch.no_grad()
def box_muller(a, r, s=0.2):
    dead = (r == 0).all(0)
    n, d = (int(dead.sum()), a.cfg.n_input_ae)
    g = torch.sqrt(-2 * torch.log(1 - torch.rand(n, d))) * torch.cos(2 * torch.pi * torch.rand(n, d))
    _put(a, dead, g / g.norm(dim=-1, keepdim=True), s)


@variant("3.2")
@torch.no_grad()
def normal_all_then_index(a, r, s=0.2):
    d = r.sum(0) == 0
    v = torch.randn_like(a.W_enc.mT)
    v /= v.norm(dim=2, keepdim=True)
    a.W_enc.data.mT[d] = s * v[d]
    if hasattr(a, "W_dec") and a.W_dec is not None:
        a.W_dec.data[d] = v[d]
    a.b_enc.data[d] = 0.0
    return d


@mutant("3.2", says="In three dimensions some directions are drawn more often")
@torch.no_grad()
def only_two_dimensions(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    dead = (frac_active_in_window == 0).all(dim=0)
    directions = torch.randn_like(autoencoder.W_enc.mT)[dead]
    directions[:, 2:] = 0
    directions /= directions.norm(dim=-1, keepdim=True)
    autoencoder.W_enc.mT[dead] = neuron_resample_scale * directions
    autoencoder.b_enc[dead] = 0.0
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead] = directions


@mutant("3.2", says="The new directions lie near the old ones")
@torch.no_grad()
def noise_on_the_old_direction(autoencoder, frac_active_in_window, neuron_resample_scale=0.2):
    dead = (frac_active_in_window == 0).all(dim=0)
    old = autoencoder.W_enc.mT[dead]
    directions = old + 0.3 * torch.randn_like(old)
    directions /= directions.norm(dim=-1, keepdim=True)
    autoencoder.W_enc.mT[dead] = neuron_resample_scale * directions
    autoencoder.b_enc[dead] = 0.0
    if not autoencoder.cfg.tied_weights:
        autoencoder.W_dec[dead] = directions


@mutant("3.2", says="is the mask of the dead latents empty")
@torch.no_grad()
def only_those_dead_in_every_instance(autoencoder, rates, scale=0.2):
    dead = dead_mask(rates)
    simple(autoencoder, dead.all(dim=0).expand_as(dead), scale)


@mutant("3.2", says="*added* to the old encoder columns")
@torch.no_grad()
def added_to_the_old(autoencoder, rates, scale=0.2):
    old = autoencoder.W_enc.clone()
    dead = dead_mask(rates)
    simple(autoencoder, dead, scale)
    autoencoder.W_enc.mT[dead] += old.mT[dead]


@mutant("3.2", says="With tied weights the new encoder columns have unit length")
@torch.no_grad()
def unit_length_if_tied(autoencoder, rates, scale=0.2):
    simple(autoencoder, dead_mask(rates), 1.0 if autoencoder.cfg.tied_weights else scale)
