"""Answers to exercise 6.5: `GatedAutoEncoder.forward`."""

import torch

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
