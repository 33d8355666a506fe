"""Answers to exercise 2.3: `AutoEncoder.forward`."""

from collections import namedtuple

import einops
import torch
from torch.nn import functional as F

from part_utils.autoencoder import AutoEncoder, AutoEncoderOutput
from tests.mutants import equivalent, mutant, variant


def _encode(self, h):
    return torch.relu(torch.einsum("bix,ixl->bil", h - self.b_dec, self.W_enc) + self.b_enc)


def _decode(self, acts):
    return torch.einsum("bil,ilx->bix", acts, self.normalize_and_return_W_dec()) + self.b_dec


def _output(self, h, acts, rebuilt):
    l1, l2 = acts.sum(-1), (h - rebuilt).pow(2).mean(-1)
    return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(0).sum(), acts, rebuilt


@mutant("2.3", says="`b_dec` is not subtracted before encoding")
def b_dec_not_subtracted(self, h):
    acts = torch.relu(torch.einsum("bix,ixl->bil", h, self.W_enc) + self.b_enc)
    return _output(self, h, acts, _decode(self, acts))


@mutant("2.3", says="`b_dec` is added before encoding")
def b_dec_added_before(self, h):
    acts = torch.relu(torch.einsum("bix,ixl->bil", h + self.b_dec, self.W_enc) + self.b_enc)
    return _output(self, h, acts, _decode(self, acts))


@mutant("2.3", says="`b_dec` is not added after decoding")
def b_dec_not_added(self, h):
    acts = _encode(self, h)
    return _output(self, h, acts, torch.einsum("bil,ilx->bix", acts, self.normalize_and_return_W_dec()))


@mutant("2.3", says="`b_enc` is left out")
def b_enc_missing(self, h):
    acts = torch.relu(torch.einsum("bix,ixl->bil", h - self.b_dec, self.W_enc))
    return _output(self, h, acts, _decode(self, acts))


@mutant("2.3", says="`b_enc` is left out")
def b_enc_and_b_dec_missing(self, h):
    acts = torch.relu(torch.einsum("bix,ixl->bil", h, self.W_enc))
    return _output(self, h, acts, _decode(self, acts))


@mutant("2.3", says="`b_enc` is added after the ReLU")
def b_enc_after_relu(self, h):
    acts = torch.relu(torch.einsum("bix,ixl->bil", h - self.b_dec, self.W_enc)) + self.b_enc
    return _output(self, h, acts, _decode(self, acts))


@mutant("2.3", says="ReLU is missing")
def no_relu(self, h):
    acts = torch.einsum("bix,ixl->bil", h - self.b_dec, self.W_enc) + self.b_enc
    return _output(self, h, acts, _decode(self, acts))


@mutant("2.3", says="encoder of instance 0")
def first_encoder_for_all(self, h):
    acts = torch.relu((h - self.b_dec) @ self.W_enc[0] + self.b_enc)
    return _output(self, h, acts, _decode(self, acts))


@mutant("2.3", says="encoders of all instances are added up")
def instances_mixed(self, h):
    acts = torch.relu(torch.einsum("bix,jxl->bil", h - self.b_dec, self.W_enc) + self.b_enc)
    return _output(self, h, acts, _decode(self, acts))


@mutant("2.3", says="decoder is not normalized")
def decoder_as_stored(self, h):
    acts = _encode(self, h)
    W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
    return _output(self, h, acts, torch.einsum("bil,ilx->bix", acts, W_dec) + self.b_dec)


@mutant("2.3", says="encoder's transpose")
def encoder_for_decoding(self, h):
    acts = _encode(self, h)
    return _output(self, h, acts, torch.einsum("bil,ixl->bix", acts, self.W_enc) + self.b_dec)


@mutant("2.3", says="a ReLU is applied to the reconstruction")
def relu_at_the_end(self, h):
    acts = _encode(self, h)
    return _output(self, h, acts, torch.relu(_decode(self, acts)))


@mutant("2.3", says="*sum* over the input's dimensions")
def l2_sum(self, h):
    acts = _encode(self, h)
    rebuilt = _decode(self, acts)
    l1, l2 = acts.sum(-1), (h - rebuilt).pow(2).sum(-1)
    return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(0).sum(), acts, rebuilt


@mutant("2.3", says="absolute error")
def l2_absolute(self, h):
    acts = _encode(self, h)
    rebuilt = _decode(self, acts)
    l1, l2 = acts.sum(-1), (h - rebuilt).abs().mean(-1)
    return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(0).sum(), acts, rebuilt


@mutant("2.3", says="length of the error")
def l2_length(self, h):
    acts = _encode(self, h)
    rebuilt = _decode(self, acts)
    l1, l2 = acts.sum(-1), (h - rebuilt).norm(dim=-1)
    return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(0).sum(), acts, rebuilt


@mutant("2.3", says="compared with `h - b_dec`")
def l2_against_centered(self, h):
    acts = _encode(self, h)
    rebuilt = _decode(self, acts)
    l1, l2 = acts.sum(-1), (h - self.b_dec - rebuilt).pow(2).mean(-1)
    return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(0).sum(), acts, rebuilt


@mutant("2.3", says="*mean* over the latents")
def l1_mean(self, h):
    acts = _encode(self, h)
    rebuilt = _decode(self, acts)
    l1, l2 = acts.mean(-1), (h - rebuilt).pow(2).mean(-1)
    return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(0).sum(), acts, rebuilt


@mutant("2.3", says="squared")
def l1_squared(self, h):
    acts = _encode(self, h)
    rebuilt = _decode(self, acts)
    l1, l2 = acts.pow(2).sum(-1), (h - rebuilt).pow(2).mean(-1)
    return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(0).sum(), acts, rebuilt


@mutant("2.3", says="already multiplied with `l1_coeff`")
def coefficient_inside_l1(self, h):
    acts = _encode(self, h)
    rebuilt = _decode(self, acts)
    l1, l2 = self.cfg.l1_coeff * acts.sum(-1), (h - rebuilt).pow(2).mean(-1)
    return l1, l2, (l2 + l1).mean(0).sum(), acts, rebuilt


@mutant("2.3", says="over the batch is taken already")
def losses_averaged_early(self, h):
    acts = _encode(self, h)
    rebuilt = _decode(self, acts)
    l1, l2 = acts.sum(-1).mean(0), (h - rebuilt).pow(2).mean(-1).mean(0)
    return l1, l2, (l2 + self.cfg.l1_coeff * l1).sum(), acts, rebuilt


@mutant("2.3", says="exchanged")
def losses_exchanged(self, h):
    acts = _encode(self, h)
    l1, l2, loss, acts, rebuilt = _output(self, h, acts, _decode(self, acts))
    return l2, l1, loss, acts, rebuilt


@mutant("2.3", says="`l1_coeff` is ignored")
def coefficient_ignored(self, h):
    acts = _encode(self, h)
    l1, l2, _, acts, rebuilt = _output(self, h, acts, _decode(self, acts))
    return l1, l2, (l2 + l1).mean(0).sum(), acts, rebuilt


@mutant("2.3", says="L1 term is missing")
def no_penalty(self, h):
    acts = _encode(self, h)
    l1, l2, _, acts, rebuilt = _output(self, h, acts, _decode(self, acts))
    return l1, l2, l2.mean(0).sum(), acts, rebuilt


@mutant("2.3", says="fixed 0.5")
def coefficient_fixed(self, h):
    acts = _encode(self, h)
    l1, l2, _, acts, rebuilt = _output(self, h, acts, _decode(self, acts))
    return l1, l2, (l2 + 0.5 * l1).mean(0).sum(), acts, rebuilt


@mutant("2.3", says="*mean* over the instances")
def mean_over_instances(self, h):
    acts = _encode(self, h)
    l1, l2, _, acts, rebuilt = _output(self, h, acts, _decode(self, acts))
    return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(), acts, rebuilt


@mutant("2.3", says="batch is summed over")
def sum_over_the_batch(self, h):
    acts = _encode(self, h)
    l1, l2, _, acts, rebuilt = _output(self, h, acts, _decode(self, acts))
    return l1, l2, (l2 + self.cfg.l1_coeff * l1).sum(), acts, rebuilt


@mutant("2.3", says="sum over them is missing")
def instances_kept_apart(self, h):
    acts = _encode(self, h)
    l1, l2, _, acts, rebuilt = _output(self, h, acts, _decode(self, acts))
    return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(0), acts, rebuilt


@mutant("2.3", says="cut off from the parameters")
def loss_detached(self, h):
    with torch.no_grad():
        acts = _encode(self, h)
        return _output(self, h, acts, _decode(self, acts))


@mutant("2.3", says="`acts` are detached before they are decoded")
def acts_detached(self, h):
    acts = _encode(self, h)
    return _output(self, h, acts, _decode(self, acts.detach()))


@mutant("2.3", says="the L1 term (`acts` or `l1_loss` in it) is detached")
def l1_detached(self, h):
    acts = _encode(self, h)
    l1, l2, _, acts, rebuilt = _output(self, h, acts, _decode(self, acts))
    return l1, l2, (l2 + self.cfg.l1_coeff * l1.detach()).mean(0).sum(), acts, rebuilt


@mutant("2.3", says="decoder is detached")
def decoder_detached(self, h):
    acts = _encode(self, h)
    W_dec = self.normalize_and_return_W_dec().detach()
    return _output(self, h, acts, torch.einsum("bil,ilx->bix", acts, W_dec) + self.b_dec)


@mutant("2.3", says="the L2 term (`h_reconstructed` or `l2_loss`) is detached")
def reconstruction_detached(self, h):
    acts = _encode(self, h)
    return _output(self, h, acts, _decode(self, acts).detach())


@mutant("2.3", says="`forward` changed `W_dec`")
def projects_while_encoding(self, h):
    self.normalize_decoder()
    acts = _encode(self, h)
    return _output(self, h, acts, _decode(self, acts))


@mutant("2.3", says="With tied weights there is no `W_dec`")
def tied_forgotten(self, h):
    acts = _encode(self, h)
    return _output(
        self, h, acts, torch.einsum("bil,ilx->bix", acts, F.normalize(self.W_dec, dim=-1)) + self.b_dec
    )


@mutant("2.3", says="expected a tuple of five")
def only_the_reconstruction(self, h):
    return _decode(self, _encode(self, h))


@mutant("2.3", says="returns 2 values")
def two_values(self, h):
    acts = _encode(self, h)
    return acts, _decode(self, acts)


@mutant("2.3", says="the order is")
def wrong_order(self, h):
    acts = _encode(self, h)
    l1, l2, loss, acts, rebuilt = _output(self, h, acts, _decode(self, acts))
    return l1, l2, loss, rebuilt, acts


@mutant("2.3", says="`b_dec` of instance 0 is added")
def first_b_dec_added(self, h):
    acts = _encode(self, h)
    rebuilt = torch.einsum("bil,ilx->bix", acts, self.normalize_and_return_W_dec()) + self.b_dec[0]
    return _output(self, h, acts, rebuilt)


@mutant("2.3", says="decoder's transpose is used for encoding")
def decoder_for_encoding(self, h):
    W_enc = self.W_enc if self.cfg.tied_weights else self.normalize_and_return_W_dec().mT
    acts = torch.relu(torch.einsum("bix,ixl->bil", h - self.b_dec, W_enc) + self.b_enc)
    return _output(self, h, acts, _decode(self, acts))


@mutant("2.3", says="the L2 term is averaged over the instances")
def two_reductions(self, h):
    acts = _encode(self, h)
    l1, l2, _, acts, rebuilt = _output(self, h, acts, _decode(self, acts))
    return l1, l2, l2.mean() + self.cfg.l1_coeff * l1.mean(0).sum(), acts, rebuilt


@mutant("2.3", says="leave off `.item()`")
def loss_as_a_number(self, h):
    acts = _encode(self, h)
    l1, l2, loss, acts, rebuilt = _output(self, h, acts, _decode(self, acts))
    return l1, l2, loss.item(), acts, rebuilt


@mutant("2.3", says="in another order")
def activations_first(self, h):
    acts = _encode(self, h)
    l1, l2, loss, acts, rebuilt = _output(self, h, acts, _decode(self, acts))
    return acts, rebuilt, l1, l2, loss


@mutant("2.3", says="`b_dec` is detached where it is subtracted")
def first_b_dec_detached(self, h):
    acts = torch.relu(torch.einsum("bix,ixl->bil", h - self.b_dec.detach(), self.W_enc) + self.b_enc)
    return _output(self, h, acts, _decode(self, acts))


@mutant("2.3", says="returns None")
def nothing_returned(self, h):
    acts = _encode(self, h)
    _output(self, h, acts, _decode(self, acts))


@variant("2.3")
def einops_and_named_tuple(self, h):
    acts = F.relu(
        einops.einsum(h - self.b_dec, self.W_enc, "batch n i, n i latent -> batch n latent") + self.b_enc
    )
    rebuilt = einops.einsum(acts, self.normalize_and_return_W_dec(), "b n l, n l i -> b n i") + self.b_dec
    l1 = einops.reduce(acts.abs(), "b n l -> b n", "sum")
    l2 = einops.reduce((h - rebuilt) ** 2, "b n i -> b n", "mean")
    loss = (self.cfg.l1_coeff * l1 + l2).sum(1).mean()
    return AutoEncoderOutput(l1, l2, loss, acts, rebuilt)


@variant("2.3")
def own_normalization_and_a_list(self, h):
    W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
    W_dec = F.normalize(W_dec, dim=-1)
    centered = (h - self.b_dec).transpose(0, 1)
    acts = torch.baddbmm(self.b_enc.unsqueeze(1), centered, self.W_enc).clamp(min=0)
    rebuilt = torch.baddbmm(self.b_dec.unsqueeze(1), acts, W_dec).transpose(0, 1)
    acts = acts.transpose(0, 1)
    l1, l2 = torch.linalg.vector_norm(acts, ord=1, dim=-1), F.mse_loss(rebuilt, h, reduction="none").mean(-1)
    return [l1, l2, l2.mean(0).sum() + self.cfg.l1_coeff * l1.mean(0).sum(), acts, rebuilt, "and more"]


@variant("2.3")
def loops_in_double(self, h):
    h = h.double()
    W_dec = self.normalize_and_return_W_dec().double()
    acts, rebuilt = [], []
    for i in range(self.cfg.n_instances):
        z = torch.relu((h[:, i] - self.b_dec[i].double()) @ self.W_enc[i].double() + self.b_enc[i].double())
        acts.append(z)
        rebuilt.append(z @ W_dec[i] + self.b_dec[i].double())
    acts, rebuilt = torch.stack(acts, dim=1), torch.stack(rebuilt, dim=1)
    return _output(self, h, acts, rebuilt)


@variant("2.3")
def bias_folded_in(self, h):
    shift = self.b_enc - torch.einsum("ix,ixl->il", self.b_dec, self.W_enc)
    before = torch.matmul(h.unsqueeze(2), self.W_enc).squeeze(2) + shift
    acts = before * (before > 0)
    return _output(self, h, acts, _decode(self, acts))


@variant("2.3")
def own_named_tuple_and_where(self, h):
    Result = namedtuple("Result", "l1_loss l2_loss loss acts h_reconstructed")
    before = (h - self.b_dec).unsqueeze(-2).matmul(self.W_enc).squeeze(-2) + self.b_enc
    acts = torch.where(before > 0, before, torch.zeros_like(before))
    rebuilt = acts.unsqueeze(-2).matmul(self.normalize_and_return_W_dec()).squeeze(-2).add(self.b_dec)
    l1 = torch.norm(acts, p=1, dim=2)
    l2 = torch.square(rebuilt - h).sum(dim=2) / self.cfg.n_input_ae
    loss = torch.zeros(())
    for i in range(self.cfg.n_instances):
        loss = loss + l2[:, i].mean() + self.cfg.l1_coeff * l1[:, i].mean()
    return Result(l1_loss=l1, l2_loss=l2, loss=loss, acts=acts, h_reconstructed=rebuilt)


@variant("2.3")
def plain_tuple_of_layers(self, h):
    W_dec = self.normalize_and_return_W_dec()
    acts, rebuilt = h.new_empty(*h.shape[:2], self.cfg.n_hidden_ae), torch.empty_like(h)
    for i in range(h.shape[1]):
        acts[:, i] = F.relu(F.linear(h[:, i] - self.b_dec[i], self.W_enc[i].T, self.b_enc[i]))
        rebuilt[:, i] = F.linear(acts[:, i].clone(), W_dec[i].T, self.b_dec[i])
    l1, l2 = acts.abs().sum(dim=-1), F.mse_loss(h, rebuilt, reduction="none").mean(dim=-1)
    loss = torch.add(l2, l1, alpha=self.cfg.l1_coeff).mean(dim=0).sum(dim=0)
    return l1, l2, loss, acts, rebuilt


class _Three(AutoEncoder):
    """A right answer with all three methods, of which a wrong one changes one."""

    encode = _encode
    decode = _decode

    def forward(self, h):
        acts = self.encode(h)
        return _output(self, h, acts, self.decode(acts))


variant("2.3")(_Three)


@variant("2.3")
class EncodeWithTheActivation(_Three):
    def encode(self, h):
        return self.activation(torch.einsum("bix,ixl->bil", h - self.b_dec, self.W_enc) + self.b_enc)


@variant("2.3")
class ForwardByItself(_Three):
    def forward(self, h):
        acts = _encode(self, h)
        return _output(self, h, acts, _decode(self, acts))


@variant("2.3")
class CallsWithNames(_Three):
    def encode(self, h):
        return F.relu(self.b_enc + ((h - self.b_dec).unsqueeze(-2) @ self.W_enc).squeeze(-2))

    def decode(self, acts):
        return (acts.unsqueeze(-2) @ self.normalize_and_return_W_dec()).squeeze(-2) + self.b_dec

    def forward(self, h):
        acts = self.encode(h=h)
        return _output(self, h, acts, self.decode(acts=acts))


@mutant("2.3", says="`encode` returns is what comes out when `b_dec` is not subtracted before encoding")
class EncodeWithoutCentering(_Three):
    def encode(self, h):
        return torch.relu(torch.einsum("bix,ixl->bil", h, self.W_enc) + self.b_enc)


@mutant("2.3", says="the ReLU is missing")
class EncodeReturnsThePreActivations(_Three):
    def encode(self, h):
        return torch.einsum("bix,ixl->bil", h - self.b_dec, self.W_enc) + self.b_enc

    def forward(self, h):
        acts = torch.relu(self.encode(h))
        return _output(self, h, acts, self.decode(acts))


@mutant("2.3", says="`b_dec` is not added after decoding")
class DecodeWithoutTheBias(_Three):
    def decode(self, acts):
        return torch.einsum("bil,ilx->bix", acts, self.normalize_and_return_W_dec())

    def forward(self, h):
        acts = self.encode(h)
        return _output(self, h, acts, self.decode(acts) + self.b_dec)


@mutant("2.3", says="decoder is not normalized")
class DecodeAsStored(_Three):
    def decode(self, acts):
        return (
            torch.einsum("bil,ilx->bix", acts, self.W_enc.mT if self.cfg.tied_weights else self.W_dec)
            + self.b_dec
        )


@mutant("2.3", says="decoder of instance 0 is used")
class DecodeWithTheFirst(_Three):
    def decode(self, acts):
        return acts @ self.normalize_and_return_W_dec()[0] + self.b_dec


@mutant("2.3", says="with tied weights there is no `W_dec`")
class DecodeForgetsTying(_Three):
    def decode(self, acts):
        return torch.einsum("bil,ilx->bix", acts, F.normalize(self.W_dec, dim=-1)) + self.b_dec


@mutant("2.3", says="the gradient that reaches its input is not")
class EncodeDetachedForOthers(_Three):
    def encode(self, h):
        return _encode(self, h.detach())


@mutant("2.3", says="`acts` are detached before they are decoded")
class DecodeDetaches(_Three):
    def decode(self, acts):
        return _decode(self, acts.detach())


@mutant("2.3", says="the values of `encode` are right, but the gradient")
class EncodeWithoutGradient(_Three):
    @torch.no_grad()
    def encode(self, h):
        return _encode(self, h)

    def forward(self, h):
        acts = _encode(self, h)
        return _output(self, h, acts, self.decode(acts))


@mutant("2.3", says="changed `W_dec`")
class DecodeProjects(_Three):
    def decode(self, acts):
        self.normalize_decoder()
        return _decode(self, acts)


@mutant("2.3", says="what `encode` returns")
class EncodeReturnsTheReconstruction(_Three):
    def encode(self, h):
        return _decode(self, _encode(self, h))


@mutant("2.3", says="`b_dec - h` is encoded")
class EncodeTheOtherWayRound(_Three):
    def encode(self, h):
        return torch.relu(torch.einsum("bix,ixl->bil", self.b_dec - h, self.W_enc) + self.b_enc)


@mutant("2.3", says="added to the input instead of compared with it")
def error_with_a_plus(self, h):
    acts = _encode(self, h)
    rebuilt = _decode(self, acts)
    l1, l2 = acts.sum(-1), (h + rebuilt).pow(2).mean(-1)
    return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(0).sum(), acts, rebuilt


@mutant("2.3", says="reconstruction is measured instead of the error")
def reconstruction_measured(self, h):
    acts = _encode(self, h)
    rebuilt = _decode(self, acts)
    l1, l2 = acts.sum(-1), rebuilt.pow(2).mean(-1)
    return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(0).sum(), acts, rebuilt


@mutant("2.3", says="`l1_coeff` is added instead of multiplied")
def coefficient_added(self, h):
    acts = _encode(self, h)
    l1, l2, _, acts, rebuilt = _output(self, h, acts, _decode(self, acts))
    return l1, l2, (l2 + self.cfg.l1_coeff).mean(0).sum(), acts, rebuilt


equivalent(
    "2.3", "it only helps somebody who passes inputs of another shape", "check_inputs(h, self.cfg) -> nothing"
)
equivalent("2.3", "the latents are never negative", "acts.abs() -> acts")
equivalent("2.3", "the error is squared", "h - h_reconstructed -> h_reconstructed - h")


@mutant("2.3", says="an axis of size 1 is lost")
class SqueezesTheLatents(_Three):
    def encode(self, h):
        return super().encode(h).squeeze()


@mutant("2.3", says="an axis of size 1 is lost")
class SqueezesTheLosses(_Three):
    def forward(self, h):
        l1, l2, loss, acts, rebuilt = super().forward(h)
        return l1.squeeze(), l2.squeeze(), loss, acts, rebuilt


@mutant("2.3", says="a leaky ReLU is applied instead of a ReLU")
class LeakyLatents(_Three):
    def encode(self, h):
        return F.leaky_relu(torch.einsum("bix,ixl->bil", h - self.b_dec, self.W_enc) + self.b_enc)


@mutant("2.3", says="values above 1 are cut down to 1")
class LatentsCutOffAtOne(_Three):
    def encode(self, h):
        return super().encode(h).clamp(max=1)


@mutant("2.3", says="`b_enc` counts twice")
class EncoderBiasTwice(_Three):
    def encode(self, h):
        return torch.relu(torch.einsum("bix,ixl->bil", h - self.b_dec, self.W_enc) + 2 * self.b_enc)


@mutant("2.3", says="`b_dec` is added twice")
class DecoderBiasTwice(_Three):
    def decode(self, acts):
        return super().decode(acts) + self.b_dec


@mutant("2.3", says="the last of `W_dec` along `n_instances` is used for all")
class DecoderOfTheLastInstance(_Three):
    def decode(self, acts):
        return torch.einsum("bil,lx->bix", acts, self.normalize_and_return_W_dec()[-1]) + self.b_dec


@mutant("2.3", says="What `encode` returns is 0 in some places where it should not be, and")
class SmallLatentsAreZero(_Three):
    def encode(self, h):
        acts = super().encode(h)
        return torch.where(acts > 0.1, acts, 0)


@mutant("2.3", says="it is halved")
class HalfTheError(_Three):
    def forward(self, h):
        l1, l2, _loss, acts, rebuilt = super().forward(h)
        l2 = l2 / 2
        return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(dim=0).sum(), acts, rebuilt


@mutant("2.3", says="the median over the batch is taken instead of the mean")
class MedianOverTheBatch(_Three):
    def forward(self, h):
        l1, l2, _loss, acts, rebuilt = super().forward(h)
        return l1, l2, (l2 + self.cfg.l1_coeff * l1).median(dim=0).values.sum(), acts, rebuilt


@mutant("2.3", says="it is taken before the ReLU, of what the latents are made from")
class PenaltyOnPreActivations(_Three):
    def forward(self, h):
        acts = self.encode(h)
        rebuilt = self.decode(acts)
        pre = torch.einsum("bix,ixl->bil", h - self.b_dec, self.W_enc) + self.b_enc
        l1, l2 = pre.abs().sum(dim=-1), (h - rebuilt).pow(2).mean(dim=-1)
        return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(dim=0).sum(), acts, rebuilt


@mutant("2.3", says="it counts the latents that fire instead of adding them up")
class CountsInsteadOfPenalty(_Three):
    def forward(self, h):
        l1, l2, _loss, acts, rebuilt = super().forward(h)
        l1 = (acts > 0).float().sum(dim=-1)
        return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(dim=0).sum(), acts, rebuilt


@mutant("2.3", says="`l1_coeff` is multiplied with both terms")
class CoefficientOnBoth(_Three):
    def forward(self, h):
        l1, l2, _loss, acts, rebuilt = super().forward(h)
        return l1, l2, (self.cfg.l1_coeff * (l2 + l1)).mean(dim=0).sum(), acts, rebuilt


@mutant("2.3", says="`l1_coeff` is multiplied with the L2 term instead of the L1 term")
class CoefficientOnTheError(_Three):
    def forward(self, h):
        l1, l2, _loss, acts, rebuilt = super().forward(h)
        return l1, l2, (self.cfg.l1_coeff * l2 + l1).mean(dim=0).sum(), acts, rebuilt


@mutant("2.3", says="the weights are `1 - l1_coeff` and `l1_coeff`")
class OneMinusTheCoefficient(_Three):
    def forward(self, h):
        l1, l2, _loss, acts, rebuilt = super().forward(h)
        c = self.cfg.l1_coeff
        return l1, l2, ((1 - c) * l2 + c * l1).mean(dim=0).sum(), acts, rebuilt


@mutant("2.3", says="the error is divided by the input's own size")
class ErrorRelativeToTheInput(_Three):
    def forward(self, h):
        l1, l2, _loss, acts, rebuilt = super().forward(h)
        l2 = l2 / h.pow(2).mean(dim=-1)
        return l1, l2, (l2 + self.cfg.l1_coeff * l1).mean(dim=0).sum(), acts, rebuilt


@mutant("2.3", says="only the loss of instance 0 counts")
class LossOfTheFirstInstance(_Three):
    def forward(self, h):
        l1, l2, _loss, acts, rebuilt = super().forward(h)
        return l1, l2, (l2 + self.cfg.l1_coeff * l1)[:, 0].mean(), acts, rebuilt


@mutant("2.3", says="No gradient of `loss` reaches `b_enc`")
class EncodesWithoutAGradientOfTheBias(_Three):
    def encode(self, h):
        return torch.relu(torch.einsum("bix,ixl->bil", h - self.b_dec, self.W_enc) + self.b_enc.detach())


@mutant("2.3", says="itself (in place)")
class ChangesTheInput(_Three):
    def encode(self, h):
        h -= self.b_dec
        return torch.relu(torch.einsum("bix,ixl->bil", h, self.W_enc) + self.b_enc)


@variant("2.3")
class InstanceByInstance(_Three):
    def encode(self, h):
        return torch.stack(
            [
                F.relu((x - b) @ W + c)
                for x, b, W, c in zip(h.unbind(1), self.b_dec, self.W_enc, self.b_enc, strict=False)
            ],
            dim=1,
        )

    def decode(self, acts):
        W_dec = self.normalize_and_return_W_dec()
        return torch.baddbmm(self.b_dec[:, None], acts.transpose(0, 1), W_dec).transpose(0, 1)


@variant("2.3")
class BiasFoldedIn(_Three):
    def encode(self, h):
        bias = self.b_enc - torch.einsum("ix,ixl->il", self.b_dec, self.W_enc)
        return self.activation((h[:, :, None] @ self.W_enc).squeeze(2) + bias)


@variant("2.3")
class MeasuresWithTorch(_Three):
    def forward(self, h):
        acts = self.encode(h)
        rebuilt = self.decode(acts)
        l2 = F.mse_loss(rebuilt, h, reduction="none").mean(-1)
        l1 = torch.linalg.vector_norm(acts, ord=1, dim=-1)
        loss = sum(l2[:, i].mean() + self.cfg.l1_coeff * l1[:, i].mean() for i in range(h.shape[1]))
        return AutoEncoderOutput(l1, l2, loss, acts, rebuilt)


@mutant("2.3", says="negative values of `acts` are set to 0")
class DecodeThroughARelu(_Three):
    def decode(self, acts):
        return _decode(self, acts.relu())


@mutant("2.3", says="the length of its decoder row as it is stored")
class PenaltyTimesLength(_Three):
    def forward(self, h):
        acts = self.encode(h)
        stored = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        right = AutoEncoderOutput(*_output(self, h, acts, self.decode(acts)))
        l1 = (acts * stored.norm(dim=-1)).sum(-1)
        return right._replace(l1_loss=l1, loss=(right.l2_loss + self.cfg.l1_coeff * l1).mean(0).sum())


@mutant("2.3", says="`l1_coeff` is a fixed 0.25")
class FixedCoefficient(_Three):
    def forward(self, h):
        acts = self.encode(h)
        right = AutoEncoderOutput(*_output(self, h, acts, self.decode(acts)))
        return right._replace(loss=(right.l2_loss + 0.25 * right.l1_loss).mean(0).sum())


@mutant("2.3", says="as if there were always 16 instances")
class SixteenInstances(_Three):
    def forward(self, h):
        acts = self.encode(h)
        right = AutoEncoderOutput(*_output(self, h, acts, self.decode(acts)))
        return right._replace(loss=16 * (right.l2_loss + self.cfg.l1_coeff * right.l1_loss).mean())


@mutant("2.3", says="itself (in place)")
class CenteredInPlace(_Three):
    def encode(self, h):
        h -= self.b_dec
        return super().encode(h + self.b_dec)


@mutant("2.3", says="itself (in place)")
class LatentsInPlace(_Three):
    def decode(self, acts):
        reconstruction = super().decode(acts)
        acts.clamp_(max=0.1)
        return reconstruction


@mutant("2.3", says="`b_enc` is added to the latents before they are decoded")
class BiasOfTheEncoderAgain(_Three):
    def decode(self, acts):
        return super().decode(acts + self.b_enc)


@mutant("2.3", says="the batch's mean is subtracted, not `b_dec`")
class EncodeAboutTheMean(_Three):
    def encode(self, h):
        return torch.relu(torch.einsum("bix,ixl->bil", h - h.mean(dim=0), self.W_enc) + self.b_enc)
