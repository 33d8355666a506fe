"""Answers to exercise 6.5: `GatedAutoEncoder.forward`."""

import einops
import torch
from torch.nn import functional as F

from part_utils.autoencoder import AutoEncoderOutput
from tests.mutants import equivalent, mutant, variant


def _forward(
    self,
    h,
    *,
    scale=None,
    bias=None,
    gate_bias=None,
    freeze=True,
    l1_of="gate",
    relu=True,
    auxiliary=True,
    twice=False,
):
    W_dec = self.normalize_and_return_W_dec()
    projected = torch.einsum("bix,ixl->bil", h - self.b_dec, self.W_enc)
    gate = (projected + (self.b_enc if gate_bias is None else gate_bias)).relu()
    size = self.r_mag.exp() if scale is None else scale
    inner = (size * projected).relu() if twice else size * projected
    magnitude = inner + (self.b_mag if bias is None else bias)
    acts = (magnitude.relu() if relu else magnitude) * (gate > 0)
    rebuilt = torch.einsum("bil,ilx->bix", acts, W_dec) + self.b_dec
    frozen, b_dec = (W_dec.detach(), self.b_dec.detach()) if freeze else (W_dec, self.b_dec)
    by_gates = torch.einsum("bil,ilx->bix", gate, frozen) + b_dec
    l1 = (gate if l1_of == "gate" else acts).sum(-1)
    l2 = (h - rebuilt).pow(2).mean(-1)
    extra = (h - by_gates).pow(2).mean(-1) if auxiliary else 0
    return l1, l2, (l2 + self.cfg.l1_coeff * l1 + extra).mean(0).sum(), acts, rebuilt


@mutant("6.5", says="not frozen")
def decoder_not_frozen(self, h):
    return _forward(self, h, freeze=False)


@mutant("6.5", says="penalty is on the magnitudes")
def penalty_on_magnitudes(self, h):
    return _forward(self, h, l1_of="acts")


@mutant("6.5", says="two ReLUs")
def relu_twice(self, h):
    return _forward(self, h, twice=True)


@mutant("6.5", says="not exponentiated")
def plain_r_mag(self, h):
    return _forward(self, h, scale=self.r_mag)


@mutant("6.5", says="auxiliary loss is missing")
def no_auxiliary(self, h):
    return _forward(self, h, auxiliary=False)


@mutant("6.5", says="bias of the magnitude (`b_mag`)")
def biases_swapped(self, h):
    return _forward(self, h, gate_bias=self.b_mag)


@mutant("6.5", says="ReLU of the magnitude is missing")
def no_relu(self, h):
    return _forward(self, h, relu=False)


@mutant("6.5", says="no bias (`b_mag`)")
def no_bias(self, h):
    return _forward(self, h, bias=0.0)


@mutant("6.5", says="4 values")
def four_values(self, h):
    return _forward(self, h)[1:]


@mutant("6.5", says="`b_dec` is not subtracted")
def two_full_encoders(self, h):
    return _forward(self, h + self.b_dec)


@mutant("6.5", says="cut off")
def detached(self, h):
    return [value.detach() for value in _forward(self, h)]


@variant("6.5")
def in_one_go(self, h):
    return _forward(self, h)


@variant("6.5")
def through_encode_and_decode(self, h):
    pre = torch.einsum("bix,ixl->bil", h - self.b_dec, self.W_enc) + self.b_enc
    acts = self.encode(h)
    rebuilt = self.decode(acts)
    frozen = self.normalize_and_return_W_dec().detach()
    gates = torch.clamp(pre, min=0)
    auxiliary = (h - torch.einsum("bil,ilx->bix", gates, frozen) - self.b_dec.detach()).square().mean(-1)
    l1, l2 = gates.abs().sum(-1), (rebuilt - h).square().mean(-1)
    return [l1, l2, (auxiliary + l2 + self.cfg.l1_coeff * l1).sum(1).mean(), acts, rebuilt]


def _changed(
    self,
    h,
    *,
    projected=None,
    gate=None,
    magnitude=None,
    acts=None,
    rebuilt=None,
    W=None,
    b=None,
    l1=None,
    l2=None,
    aux=None,
    loss=None,
):
    """A right forward; each step can be put in place, as a function of what stands before it."""
    p = projected() if projected else torch.einsum("bid,idh->bih", h - self.b_dec, self.W_enc)
    g = gate(p) if gate else (p + self.b_enc).relu()
    m = magnitude(p, g) if magnitude else (self.r_mag.exp() * p + self.b_mag).relu()
    a = acts(g, m) if acts else torch.where(g > 0, m, 0)
    r = rebuilt(a, g) if rebuilt else self.decode(a)
    W_dec = W() if W else self.normalize_and_return_W_dec().detach()
    b_dec = b() if b else self.b_dec.detach()
    by_gates = torch.einsum("bih,ihd->bid", g, W_dec) + b_dec
    l1_loss = l1(g, a, p) if l1 else g.sum(-1)
    l2_loss = l2(r) if l2 else (h - r).pow(2).mean(-1)
    aux_loss = aux(by_gates, g) if aux else (h - by_gates).pow(2).mean(-1)
    total = (
        loss(l1_loss, l2_loss, aux_loss)
        if loss
        else (l2_loss + self.cfg.l1_coeff * l1_loss + aux_loss).mean(0).sum()
    )
    return AutoEncoderOutput(l1_loss, l2_loss, total, a, r)


@mutant("6.5", says="The values are right, but the gradients are not: `W_dec`")
def decoder_not_frozen_otherwise(self, h):
    return _changed(self, h, W=lambda: self.normalize_and_return_W_dec())


@mutant("6.5", says="The values are right, but the gradients are not: `b_dec`")
def b_dec_not_frozen(self, h):
    return _changed(self, h, b=lambda: self.b_dec)


@mutant("6.5", says="The values are right, but the gradients are not: the gate")
def auxiliary_detached(self, h):
    return _changed(self, h, aux=lambda by, g: (h - by.detach()).pow(2).mean(-1))


@mutant("6.5", says="the auxiliary loss counts twice")
def auxiliary_twice(self, h):
    return _changed(self, h, loss=lambda l1, l2, x: (l2 + self.cfg.l1_coeff * l1 + 2 * x).mean(0).sum())


@mutant("6.5", says="`l1_coeff` is also multiplied with the auxiliary loss")
def auxiliary_times_l1_coeff(self, h):
    return _changed(self, h, loss=lambda l1, l2, x: (l2 + self.cfg.l1_coeff * (l1 + x)).mean(0).sum())


@mutant("6.5", says="the auxiliary loss is subtracted")
def auxiliary_subtracted(self, h):
    return _changed(self, h, loss=lambda l1, l2, x: (l2 + self.cfg.l1_coeff * l1 - x).mean(0).sum())


@mutant("6.5", says="the auxiliary loss is summed over the input's dimensions")
def auxiliary_summed_over_dimensions(self, h):
    return _changed(self, h, aux=lambda by, g: (h - by).pow(2).sum(-1))


@mutant("6.5", says="the auxiliary loss compares the gates' reconstruction")
def auxiliary_against_the_reconstruction(self, h):
    box = {}

    def rebuilt(a, g):
        box["r"] = self.decode(a)
        return box["r"]

    return _changed(self, h, rebuilt=rebuilt, aux=lambda by, g: (box["r"] - by).pow(2).mean(-1))


@mutant("6.5", says="the auxiliary reconstruction has no `b_dec`")
def auxiliary_without_b_dec(self, h):
    return _changed(self, h, b=lambda: 0)


@mutant("6.5", says="the decoder is not normalized in the auxiliary loss")
def auxiliary_with_the_raw_decoder(self, h):
    return _changed(self, h, W=lambda: (self.W_enc.mT if self.cfg.tied_weights else self.W_dec).detach())


@mutant("6.5", says="the auxiliary loss decodes `acts`, not the positive part")
def auxiliary_of_the_magnitudes(self, h):
    def aux(by, g):
        p = torch.einsum("bid,idh->bih", h - self.b_dec, self.W_enc)
        a = torch.where(g > 0, (self.r_mag.exp() * p + self.b_mag).relu(), 0)
        by = torch.einsum("bih,ihd->bid", a, self.normalize_and_return_W_dec().detach()) + self.b_dec.detach()
        return (h - by).pow(2).mean(-1)

    return _changed(self, h, aux=aux)


@mutant("6.5", says="the auxiliary loss decodes 1 for an open gate, not the")
def auxiliary_of_open_or_shut(self, h):
    def aux(by, g):
        W = self.normalize_and_return_W_dec().detach()
        by = torch.einsum("bih,ihd->bid", (g > 0).to(h.dtype), W) + self.b_dec.detach()
        return (h - by).pow(2).mean(-1)

    return _changed(self, h, aux=aux)


@mutant("6.5", says="The values are right, but the gradients are not: the")
def encoder_frozen_in_the_auxiliary(self, h):
    def aux(by, g):
        p = torch.einsum("bid,idh->bih", h - self.b_dec, self.W_enc).detach()
        W = self.normalize_and_return_W_dec().detach()
        by = torch.einsum("bih,ihd->bid", (p + self.b_enc).relu(), W) + self.b_dec.detach()
        return (h - by).pow(2).mean(-1)

    return _changed(self, h, aux=aux)


@mutant("6.5", says="The values are right, but the gradients are not: `b_dec`")
def b_dec_of_the_encoder_frozen(self, h):
    return _changed(
        self, h, projected=lambda: torch.einsum("bid,idh->bih", h - self.b_dec.detach(), self.W_enc)
    )


@mutant("6.5", says="The values are right, but the gradients are not: `W_dec`")
def decoder_frozen_everywhere(self, h):
    def rebuilt(a, g):
        return torch.einsum("bih,ihd->bid", a, self.normalize_and_return_W_dec().detach()) + self.b_dec

    return _changed(self, h, rebuilt=rebuilt)


@mutant("6.5", says="open gates are counted, not added up")
def penalty_on_open_gates(self, h):
    return _changed(self, h, l1=lambda g, a, p: (g > 0).to(h.dtype).sum(-1))


@mutant("6.5", says="the ReLU of the gate is missing in it")
def penalty_without_relu(self, h):
    return _changed(self, h, l1=lambda g, a, p: (p + self.b_enc).sum(-1))


@mutant("6.5", says="absolute values are taken in it; the gate is what is")
def penalty_of_absolute_values(self, h):
    return _changed(self, h, l1=lambda g, a, p: (p + self.b_enc).abs().sum(-1))


@mutant("6.5", says="the gate's bias `b_enc` is missing in it")
def penalty_without_b_enc(self, h):
    return _changed(self, h, l1=lambda g, a, p: p.relu().sum(-1))


@mutant("6.5", says="the mean over the latents is taken")
def penalty_as_a_mean(self, h):
    return _changed(self, h, l1=lambda g, a, p: g.mean(-1))


@mutant("6.5", says="`l1_coeff` is multiplied into it")
def penalty_weighted_already(self, h):
    return _changed(self, h, l1=lambda g, a, p: self.cfg.l1_coeff * g.sum(-1))


@mutant("6.5", says="The values are right, but the gradients are not: the")
def penalty_detached(self, h):
    return _changed(self, h, l1=lambda g, a, p: g.sum(-1).detach())


@mutant("6.5", says="`l1_coeff` is ignored")
def l1_coeff_forgotten(self, h):
    return _changed(self, h, loss=lambda l1, l2, x: (l2 + l1 + x).mean(0).sum())


@mutant("6.5", says="1 + `r_mag` is used in place of its exponential")
def one_plus_r_mag(self, h):
    return _changed(self, h, magnitude=lambda p, g: ((1 + self.r_mag) * p + self.b_mag).relu())


@mutant("6.5", says="`r_mag` is not used")
def scale_missing(self, h):
    return _changed(self, h, magnitude=lambda p, g: (p + self.b_mag).relu())


@mutant("6.5", says="the exponential of -`r_mag` is used: it divides")
def divided_by_the_scale(self, h):
    return _changed(self, h, magnitude=lambda p, g: ((-self.r_mag).exp() * p + self.b_mag).relu())


@mutant("6.5", says="the exponential is taken of `r_mag * projected`, not of")
def exponential_of_everything(self, h):
    return _changed(self, h, magnitude=lambda p, g: ((self.r_mag * p).exp() + self.b_mag).relu())


@mutant("6.5", says="the gate's bias `b_enc` is in the magnitude as well")
def magnitude_from_the_gate(self, h):
    return _changed(self, h, magnitude=lambda p, g: (self.r_mag.exp() * g + self.b_mag).relu())


@mutant("6.5", says="the magnitude has the bias of the gate (`b_enc`)")
def b_enc_for_b_mag(self, h):
    return _changed(self, h, magnitude=lambda p, g: (self.r_mag.exp() * p + self.b_enc).relu())


@mutant("6.5", says="`b_mag` is scaled by the exponential as well: it is added")
def b_mag_scaled_too(self, h):
    return _changed(self, h, magnitude=lambda p, g: (self.r_mag.exp() * (p + self.b_mag)).relu())


@mutant("6.5", says="`r_mag` of instance 0 is used for every instance")
def r_mag_of_instance_0(self, h):
    return _changed(self, h, magnitude=lambda p, g: (self.r_mag[:1].exp() * p + self.b_mag).relu())


@mutant("6.5", says="the magnitude is multiplied with the gate's value: the")
def gate_multiplied(self, h):
    return _changed(self, h, acts=lambda g, m: g * m)


@mutant("6.5", says="the gate is ignored")
def gate_ignored(self, h):
    return _changed(self, h, acts=lambda g, m: m)


@mutant("6.5", says="the positive part of the gate is returned in their place")
def gates_returned_as_latents(self, h):
    return _changed(self, h, acts=lambda g, m: g)


@mutant("6.5", says="the gate opens at 0.5, not at 0")
def gate_open_at_half(self, h):
    return _changed(self, h, acts=lambda g, m: torch.where(g > 0.5, m, 0))


@mutant("6.5", says="the gate has no bias (`b_enc`)")
def gate_b_enc_missing(self, h):
    return _changed(self, h, gate=lambda p: p.relu())


@mutant("6.5", says="The values are right, but the gradients are not: the gate")
def straight_through_gate(self, h):
    return _changed(self, h, acts=lambda g, m: torch.where(g > 0, m, 0) * (1 + g - g.detach()))


@mutant("6.5", says="`b_dec` is not added")
def b_dec_not_added(self, h):
    return _changed(self, h, rebuilt=lambda a, g: self.decode(a) - self.b_dec)


@mutant("6.5", says="`W_enc` of instance 0 is used for every instance")
def encoder_of_instance_0(self, h):
    return _changed(self, h, projected=lambda: torch.einsum("bid,dh->bih", h - self.b_dec, self.W_enc[0]))


@mutant("6.5", says="the reconstruction by the gates alone is returned")
def rebuilt_by_the_gates(self, h):
    return _changed(self, h, rebuilt=lambda a, g: self.decode(g))


@mutant("6.5", says="the decoder is not normalized")
def rebuilt_with_the_raw_decoder(self, h):
    def rebuilt(a, g):
        W = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return torch.einsum("bih,ihd->bid", a, W) + self.b_dec

    return _changed(self, h, rebuilt=rebuilt)


@mutant("6.5", says="the sum over the input's dimensions is taken")
def squared_error_summed(self, h):
    return _changed(self, h, l2=lambda r: (h - r).pow(2).sum(-1))


@mutant("6.5", says="absolute errors are taken, not squared ones")
def absolute_error(self, h):
    return _changed(self, h, l2=lambda r: (h - r).abs().mean(-1))


@mutant("6.5", says="the mean over the instances is taken instead of the sum")
def mean_over_the_instances(self, h):
    return _changed(self, h, loss=lambda l1, l2, x: (l2 + self.cfg.l1_coeff * l1 + x).mean())


@mutant("6.5", says="the batch is summed over instead of averaged")
def summed_over_the_batch(self, h):
    return _changed(self, h, loss=lambda l1, l2, x: (l2 + self.cfg.l1_coeff * l1 + x).sum())


@mutant("6.5", says="the instances are kept apart")
def loss_for_each_instance(self, h):
    return _changed(self, h, loss=lambda l1, l2, x: (l2 + self.cfg.l1_coeff * l1 + x).mean(0))


@mutant("6.5", says="the mean over the batch is taken already")
def losses_averaged_over_the_batch(self, h):
    out = _changed(self, h)
    return AutoEncoderOutput(out.l1_loss.mean(0), out.l2_loss.mean(0), *out[2:])


@mutant("6.5", says="`l1_loss` and `l2_loss` have changed places")
def l1_and_l2_changed_places(self, h):
    out = _changed(self, h)
    return AutoEncoderOutput(out.l2_loss, out.l1_loss, *out[2:])


@mutant("6.5", says="the auxiliary loss is in it: it belongs to `loss` only")
def auxiliary_in_l2_loss(self, h):
    box = {}

    def loss(l1, l2, x):
        box["l2"] = l2 + x
        return (l2 + self.cfg.l1_coeff * l1 + x).mean(0).sum()

    out = _changed(self, h, loss=loss)
    return out._replace(l2_loss=box["l2"])


@mutant("6.5", says="The values are right, but the gradients are not: the")
def reconstruction_detached_in_l2(self, h):
    return _changed(self, h, l2=lambda r: (h - r.detach()).pow(2).mean(-1))


@mutant("6.5", says="`forward` returns 3 values; expected five: (l1_loss")
def three_returned(self, h):
    return tuple(_changed(self, h))[2:]


@mutant("6.5", says="the magnitude reads along the decoder's rows; it has the")
def own_encoder_for_the_magnitude(self, h):
    def magnitude(p, g):
        q = torch.einsum("bid,ihd->bih", h - self.b_dec, self.normalize_and_return_W_dec())
        return (self.r_mag.exp() * q + self.b_mag).relu()

    return _changed(self, h, magnitude=magnitude)


@mutant("6.5", says="The values are right, but the gradients are not: `b_dec`")
def b_dec_frozen_in_gates_path(self, h):
    def aux(by, g):
        p = torch.einsum("bid,idh->bih", h - self.b_dec.detach(), self.W_enc)
        W = self.normalize_and_return_W_dec().detach()
        by = torch.einsum("bih,ihd->bid", (p + self.b_enc).relu(), W) + self.b_dec.detach()
        return (h - by).pow(2).mean(-1)

    return _changed(self, h, aux=aux)


@variant("6.5")
def from_parts(self, h):
    return _changed(self, h)


@variant("6.5")
def by_matmul_and_masks(self, h):
    x = (h - self.b_dec).transpose(0, 1)
    p = (x @ self.W_enc).transpose(0, 1)
    pi = p + self.b_enc
    acts = F.relu(torch.exp(self.r_mag) * p + self.b_mag) * (pi > 0)
    W = self.normalize_and_return_W_dec()
    rec = (acts.transpose(0, 1) @ W).transpose(0, 1) + self.b_dec
    gates = F.relu(pi)
    aux = (gates.transpose(0, 1) @ W.detach()).transpose(0, 1) + self.b_dec.detach()
    l1, l2 = gates.sum(2), ((rec - h) ** 2).mean(2)
    loss = (l2.mean(0) + self.cfg.l1_coeff * l1.mean(0) + ((aux - h) ** 2).mean(2).mean(0)).sum()
    return AutoEncoderOutput(l1, l2, loss, acts, rec)


@variant("6.5")
def by_its_own_activation(self, h):
    p = einops.einsum(h - self.b_dec, self.W_enc, "b i d, i d h -> b i h")
    pre = p + self.b_enc
    acts = self.activation(pre)
    rec = self.decode(acts)
    gates = pre.clamp(min=0)
    with torch.no_grad():
        W, b = self.normalize_and_return_W_dec().clone(), self.b_dec.clone()
    aux = F.mse_loss(einops.einsum(gates, W, "b i h, i h d -> b i d") + b, h, reduction="none").mean(-1)
    l1, l2 = gates.sum(-1), F.mse_loss(rec, h, reduction="none").mean(-1)
    loss = einops.reduce(l2 + self.cfg.l1_coeff * l1 + aux, "b i -> i", "mean").sum()
    return AutoEncoderOutput(l1, l2, loss, acts, rec)


@variant("6.5")
def instance_by_instance(self, h):
    W_dec = self.normalize_and_return_W_dec()
    parts = []
    for i in range(h.shape[1]):
        x = h[:, i]
        p = (x - self.b_dec[i]) @ self.W_enc[i]
        gate = (p + self.b_enc[i]).relu()
        acts = (gate > 0) * (self.r_mag[i].exp() * p + self.b_mag[i]).relu()
        rec = acts @ W_dec[i] + self.b_dec[i]
        aux = (x - gate @ W_dec[i].detach() - self.b_dec[i].detach()).square().mean(-1)
        parts.append((gate.sum(-1), (x - rec).square().mean(-1), aux, acts, rec))
    l1, l2, aux, acts, rec = (torch.stack(part, dim=1) for part in zip(*parts, strict=True))
    return AutoEncoderOutput(l1, l2, (l2 + self.cfg.l1_coeff * l1 + aux).sum(1).mean(), acts, rec)


equivalent(
    "6.5",
    "a square has no sign.",
    "h - h_reconstructed -> h_reconstructed - h",
    "h - by_gates_alone -> by_gates_alone - h",
)


equivalent(
    "6.5",
    "the mean over inputs and the sum over instances of a mean over everything are the same.",
    "(h - by_gates_alone).pow(2).mean(dim=-1) -> (h - by_gates_alone).pow(2).mean()",
)


@mutant("6.5", says="decodes the gate without its ReLU")
def auxiliary_without_relu(self, h):
    l1, l2, _, acts, rebuilt = _forward(self, h)
    gate = torch.einsum("bix,ixl->bil", h - self.b_dec, self.W_enc) + self.b_enc
    frozen = self.normalize_and_return_W_dec().detach()
    by_gates = torch.einsum("bil,ilx->bix", gate, frozen) + self.b_dec.detach()
    extra = (h - by_gates).pow(2).mean(-1)
    return l1, l2, (l2 + self.cfg.l1_coeff * l1 + extra).mean(0).sum(), acts, rebuilt


@mutant("6.5", says="`forward` changes `W_dec` itself")
def stored_decoder_normalized(self, h):
    self.normalize_decoder()
    return _forward(self, h)


@mutant("6.5", says="`requires_grad_(False)` was called on the parameter itself")
def frozen_for_good(self, h):
    self.W_dec.requires_grad_(False)
    self.b_dec.requires_grad_(False)
    return _forward(self, h)
