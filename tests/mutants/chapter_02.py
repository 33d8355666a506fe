"""Answers to the exercises of chapter 2: a sparse autoencoder on the toy model."""

import copy
import itertools
from collections import namedtuple

import einops
import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn import functional as F

from part_utils.autoencoder import AutoEncoder, AutoEncoderOutput
from tests.mutants import mutant, variant

# 2.1 AutoEncoder.__init__(self, cfg, device)


@mutant("2.1", says="There is a `W_dec` although the weights are tied")
class DecoderAlsoWhenTied(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        self.W_enc = nn.Parameter(torch.randn(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae))
        self.W_dec = nn.Parameter(torch.randn(cfg.n_instances, cfg.n_hidden_ae, cfg.n_input_ae))
        self.b_enc = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae))
        self.b_dec = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_input_ae))


class _Right(nn.Module):
    """A right answer, from which a wrong one changes what it makes."""

    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        self.W_enc = nn.Parameter(torch.randn(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae))
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(torch.randn(cfg.n_instances, cfg.n_hidden_ae, cfg.n_input_ae))
        self.b_enc = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae))
        self.b_dec = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_input_ae))


variant("2.1")(_Right)


@mutant("2.1", says="although `cfg.tied_weights` is False")
class TiedUpsideDown(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        if cfg.tied_weights:
            self.W_dec = nn.Parameter(torch.randn(cfg.n_instances, cfg.n_hidden_ae, cfg.n_input_ae))
        else:
            del self.W_dec


@mutant("2.1", says="`b_enc` starts at random numbers")
class RandomEncoderBias(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        self.b_enc = nn.Parameter(torch.randn(cfg.n_instances, cfg.n_hidden_ae))


@mutant("2.1", says="`b_dec` starts at random numbers")
class RandomDecoderBias(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        self.b_dec = nn.Parameter(0.01 * torch.randn(cfg.n_instances, cfg.n_input_ae))


@mutant("2.1", says="`b_enc` starts at one and the same number")
class BiasOfOnes(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        self.b_enc = nn.Parameter(torch.ones(cfg.n_instances, cfg.n_hidden_ae))


@mutant("2.1", says="`W_enc` is transposed")
class EncoderTransposed(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        self.W_enc = nn.Parameter(torch.randn(cfg.n_instances, cfg.n_hidden_ae, cfg.n_input_ae))


@mutant("2.1", says="`W_dec` is transposed")
class DecoderTransposed(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(torch.randn(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae))


@mutant("2.1", says="the same in every instance")
class InstancesEqual(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        one = torch.randn(cfg.n_input_ae, cfg.n_hidden_ae)
        self.W_enc = nn.Parameter(one.repeat(cfg.n_instances, 1, 1))


@mutant("2.1", says="`W_dec` is the same in every instance")
class DecodersEqual(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(
                torch.randn(cfg.n_hidden_ae, cfg.n_input_ae).repeat(cfg.n_instances, 1, 1)
            )


@mutant("2.1", says="missing the axis of the instances")
class NoInstances(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        self.W_enc = nn.Parameter(torch.randn(cfg.n_input_ae, cfg.n_hidden_ae))


@mutant("2.1", says="missing the axis of the instances")
class OneBiasForAll(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        self.b_enc = nn.Parameter(torch.zeros(cfg.n_hidden_ae))


@mutant("2.1", says="one number for each latent")
class BiasesExchanged(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        self.b_enc = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_input_ae))
        self.b_dec = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae))


@mutant("2.1", says="nn.Parameter")
class PlainTensors(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        del self.b_dec
        self.b_dec = torch.zeros(cfg.n_instances, cfg.n_input_ae)


@mutant("2.1", says="nn.Parameter")
class WeightsAsBuffers(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        self.register_buffer("W_enc", torch.randn(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae))
        self.register_buffer("W_dec", torch.randn(cfg.n_instances, cfg.n_hidden_ae, cfg.n_input_ae))
        self.b_enc = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae))
        self.b_dec = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_input_ae))


@mutant("2.1", says="starts at zero")
class WeightsOfZeros(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        self.W_enc = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae))


@mutant("2.1", says="same sign")
class OneQuadrant(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        self.W_enc = nn.Parameter(torch.rand(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae))


@mutant("2.1", says="same memory")
class DecoderIsAView(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(self.W_enc.detach().mT)


@mutant("2.1", says="super().__init__()")
class ModuleNotSetUp(nn.Module):
    def __init__(self, cfg, device=None):
        self.cfg = cfg
        self.W_enc = nn.Parameter(torch.randn(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae))


@mutant("2.1", says="no `self.cfg`")
class ConfigurationForgotten(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        del self.cfg


@mutant("2.1", says="no `b_dec`")
class NoDecoderBias(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        del self.b_dec


@mutant("2.1", says="same for every latent")
class LatentsEqual(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        one = torch.randn(cfg.n_instances, cfg.n_input_ae, 1)
        self.W_enc = nn.Parameter(one.repeat(1, 1, cfg.n_hidden_ae))


@mutant("2.1", says="takes gradients")
class FrozenEncoder(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg)
        self.W_enc.requires_grad_(False)


@variant("2.1")
class XavierAndUnitDecoder(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        shape = (cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae)
        self.W_enc = nn.Parameter(nn.init.xavier_normal_(torch.empty(shape, device=device)))
        if not cfg.tied_weights:
            decoder = torch.randn(shape[0], shape[2], shape[1], device=device)
            self.W_dec = nn.Parameter(F.normalize(decoder, dim=-1))
        self.b_enc = nn.Parameter(torch.zeros(shape[0], shape[2], device=device))
        self.b_dec = nn.Parameter(torch.zeros(shape[0], shape[1], device=device))


@variant("2.1")
class DecoderStartsAsTheTranspose(nn.Module):
    def __init__(self, cfg, device=None):
        nn.Module.__init__(self)
        self.cfg, self.extra = cfg, "kept for later"
        generator = torch.Generator().manual_seed(3)
        W = torch.rand(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae, generator=generator) - 0.5
        self.register_parameter("b_dec", nn.Parameter(W.new_zeros(cfg.n_instances, cfg.n_input_ae)))
        self.register_parameter("b_enc", nn.Parameter(W.new_zeros(cfg.n_instances, cfg.n_hidden_ae)))
        self.register_parameter("W_enc", nn.Parameter(W))
        self.register_parameter("W_dec", None if cfg.tied_weights else nn.Parameter(W.mT.clone()))


@variant("2.1")
class DoublePrecision(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        n, i, h = cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae
        self.W_enc = nn.Parameter(torch.stack([0.01 * torch.randn(i, h).double() for _ in range(n)]))
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(torch.from_numpy(np.random.normal(size=(n, h, i))))
        self.b_enc = nn.Parameter(torch.zeros(n, h, dtype=torch.float64))
        self.b_dec = nn.Parameter(torch.zeros(n, i, dtype=torch.float64))


@variant("2.1")
class NamesInALoop(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        shapes = {
            "W_enc": (cfg.n_input_ae, cfg.n_hidden_ae),
            "b_enc": (cfg.n_hidden_ae,),
            "b_dec": (cfg.n_input_ae,),
        }
        if not cfg.tied_weights:
            shapes["W_dec"] = (cfg.n_hidden_ae, cfg.n_input_ae)
        for name, shape in shapes.items():
            value = torch.empty(size=(cfg.n_instances, *shape), device=device)
            start = nn.init.zeros_ if name.startswith("b") else nn.init.kaiming_uniform_
            setattr(self, name, nn.Parameter(start(value), requires_grad=True))


@variant("2.1")
class TruncatedAndNoneWhenTied(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        n, x, z = cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae
        self.cfg = cfg
        self.b_enc, self.b_dec = (nn.Parameter(torch.zeros((n, size), device=device)) for size in (z, x))
        self.W_enc = nn.Parameter(torch.randn((n, z, x), device=device).mul_(x**-0.5).mT)
        self.W_dec = None
        if cfg.tied_weights is False:
            self.W_dec = nn.Parameter(nn.init.trunc_normal_(torch.empty((n, z, x), device=device), std=0.5))


# 2.2 normalize_and_return_W_dec(self) and normalize_decoder(self)


class _Both(AutoEncoder):
    """A right answer, from which a wrong one changes a method."""

    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.transpose(1, 2) if self.cfg.tied_weights else self.W_dec
        return F.normalize(W_dec, dim=-1)

    @torch.no_grad()
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec.copy_(F.normalize(self.W_dec, dim=-1))


variant("2.2")(_Both)


@mutant("2.2", says="*columns* are normalized")
class ReturnedColumns(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.transpose(1, 2) if self.cfg.tied_weights else self.W_dec
        return W_dec / (W_dec.norm(dim=1, keepdim=True) + 1e-8)


@mutant("2.2", says="whole matrix")
class ReturnedWholeMatrix(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W_dec / (W_dec.norm(dim=(1, 2), keepdim=True) + 1e-8)


@mutant("2.2", says="over all instances")
class ReturnedOverEverything(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W_dec / (W_dec.norm() + 1e-8)


@mutant("2.2", says="the result is detached")
class ReturnedWithoutGradient(_Both):
    @torch.no_grad()
    def normalize_and_return_W_dec(self):
        return super().normalize_and_return_W_dec()


@mutant("2.2", says="the result is detached")
class ReturnedFromData(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.data.mT if self.cfg.tied_weights else self.W_dec.data
        return F.normalize(W_dec, dim=-1)


@mutant("2.2", says="the result is detached")
class ReturnedAsNewParameter(_Both):
    def normalize_and_return_W_dec(self):
        return nn.Parameter(super().normalize_and_return_W_dec())


@mutant("2.2", says="the length is detached")
class LengthDetached(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        with torch.no_grad():
            length = W_dec.norm(dim=-1, keepdim=True) + 1e-8
        return W_dec / length


@mutant("2.2", says="changed `W_dec`")
class ReturnChangesTheParameter(_Both):
    def normalize_and_return_W_dec(self):
        self.normalize_decoder()
        return super().normalize_and_return_W_dec()


@mutant("2.2", says="NaN")
class ReturnedNaNOnZeroRows(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W_dec / W_dec.norm(dim=-1, keepdim=True)


@mutant("2.2", says="it is not normalized")
class ReturnedAsStored(_Both):
    def normalize_and_return_W_dec(self):
        return self.W_enc.mT if self.cfg.tied_weights else self.W_dec


@mutant("2.2", says="*squared* length")
class SquaredLength(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W_dec / (W_dec.pow(2).sum(dim=-1, keepdim=True) + 1e-8)


@mutant("2.2", says="L1 norm")
class AbsoluteSum(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W_dec / (W_dec.abs().sum(dim=-1, keepdim=True) + 1e-8)


@mutant("2.2", says="which is too much")
class LargeEpsilon(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W_dec / (W_dec.norm(dim=-1, keepdim=True) + 0.01)


@mutant("2.2", says="end with a `return`")
class NothingReturned(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        W_dec = F.normalize(W_dec, dim=-1)


@mutant("2.2", says="does not stay zero")
class OnesForZeroRows(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return torch.nan_to_num(W_dec / W_dec.norm(dim=-1, keepdim=True), nan=1.0)


@mutant("2.2", says="With tied weights there is no `W_dec`")
class TiedForgotten(_Both):
    def normalize_and_return_W_dec(self):
        return F.normalize(self.W_dec, dim=-1)


@mutant("2.2", says="untransposed")
class TiedNotTransposed(_Both):
    def normalize_and_return_W_dec(self):
        return F.normalize(self.W_enc if self.cfg.tied_weights else self.W_dec, dim=-1)


@mutant("2.2", says="reshaped instead of transposed")
class TiedReshaped(_Both):
    def normalize_and_return_W_dec(self):
        if self.cfg.tied_weights:
            n, i, h = self.W_enc.shape
            return F.normalize(self.W_enc.reshape(n, h, i), dim=-1)
        return F.normalize(self.W_dec, dim=-1)


@mutant("2.2", says="it is not normalized")
class TiedNotNormalized(_Both):
    def normalize_and_return_W_dec(self):
        return self.W_enc.mT if self.cfg.tied_weights else F.normalize(self.W_dec, dim=-1)


@mutant("2.2", says="`W_dec` after `normalize_decoder` is what comes out when its *columns*")
class ProjectedColumns(_Both):
    @torch.no_grad()
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec /= self.W_dec.norm(dim=1, keepdim=True) + 1e-8


@mutant("2.2", says="whole matrix")
class ProjectedWholeMatrix(_Both):
    @torch.no_grad()
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            for instance in range(self.cfg.n_instances):
                self.W_dec[instance] /= self.W_dec[instance].norm()


@mutant("2.2", says="NaN")
class ProjectedNaNOnZeroRows(_Both):
    @torch.no_grad()
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec /= self.W_dec.norm(dim=-1, keepdim=True)


@mutant("2.2", says="there is a new `W_dec`")
class ProjectedIntoNewParameter(_Both):
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec = nn.Parameter(F.normalize(self.W_dec.detach(), dim=-1))


@mutant("2.2", says="did not change `W_dec`")
class ProjectedNowhere(_Both):
    @torch.no_grad()
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            W_dec = self.W_dec
            W_dec = W_dec / (W_dec.norm(dim=-1, keepdim=True) + 1e-8)


@mutant("2.2", says="Change its values in place")
class ProjectedIntoPlainTensor(_Both):
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec = F.normalize(self.W_dec, dim=-1)


@mutant("2.2", says="torch.no_grad()")
class ProjectedInsideTheGradient(_Both):
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec /= self.W_dec.norm(dim=-1, keepdim=True) + 1e-8


@mutant("2.2", says="`normalize_decoder` must leave everything as it is")
class ProjectedWithoutW_dec(_Both):
    @torch.no_grad()
    def normalize_decoder(self):
        self.W_dec.copy_(F.normalize(self.W_dec, dim=-1))


@mutant("2.2", says="changed the encoder")
class ProjectedEncoderWhenTied(_Both):
    @torch.no_grad()
    def normalize_decoder(self):
        if self.cfg.tied_weights:
            self.W_enc.copy_(F.normalize(self.W_enc, dim=1))
        else:
            self.W_dec.copy_(F.normalize(self.W_dec, dim=-1))


@mutant("2.2", says="changed `W_enc` too")
class ProjectedBoth(_Both):
    @torch.no_grad()
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_enc.copy_(F.normalize(self.W_enc, dim=1))
            self.W_dec.copy_(F.normalize(self.W_dec, dim=-1))


@variant("2.2")
class DataAndReturnValue(AutoEncoder):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_dec if hasattr(self, "W_dec") else einops.rearrange(self.W_enc, "n i h -> n h i")
        return W_dec / (W_dec.pow(2).sum(-1, keepdim=True) + 1e-16).sqrt()

    def normalize_decoder(self):
        if self.cfg.tied_weights:
            return None
        self.W_dec.data = self.W_dec.data / (self.W_dec.data.norm(dim=2, keepdim=True) + 1e-7)
        return self.W_dec


@variant("2.2")
class LoopsAndDoubles(AutoEncoder):
    def normalize_and_return_W_dec(self):
        stored = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        matrices = []
        for matrix in stored.double():
            length = torch.linalg.vector_norm(matrix, dim=1)
            matrices.append(matrix / torch.where(length == 0, torch.ones_like(length), length)[:, None])
        return torch.stack(matrices).contiguous()

    @torch.no_grad()
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            for matrix in self.W_dec:
                for row in matrix:
                    if row.norm() > 0:
                        row /= row.norm()


@variant("2.2")
class OneCallsTheOther(AutoEncoder):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.permute(0, 2, 1) if self.cfg.tied_weights else self.W_dec
        lengths = torch.sqrt(torch.einsum("nlx,nlx->nl", W_dec, W_dec).clamp(min=1e-16))
        return torch.einsum("nlx,nl->nlx", W_dec, 1 / lengths)

    def normalize_decoder(self):
        if self.cfg.tied_weights:
            return
        with torch.no_grad():
            self.W_dec[:] = self.normalize_and_return_W_dec()


@variant("2.2")
class DividedInPlace(AutoEncoder):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return torch.div(W_dec, torch.maximum(W_dec.norm(p=2, dim=-1, keepdim=True), torch.tensor(1e-9)))

    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            stored = self.W_dec.detach()
            stored.div_(stored.norm(dim=-1, keepdim=True).clamp_(min=1e-9))
        return self


# 2.3 AutoEncoder.forward(self, h)


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


# 2.4 cheat_on_l1(autoencoder, factor)


@mutant("2.4", says="`b_enc` was forgotten")
def bias_forgotten(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return autoencoder.W_enc / factor, autoencoder.b_enc, W_dec * factor


@mutant("2.4", says="the L1 penalty grows")
def the_other_way_round(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return autoencoder.W_enc * factor, autoencoder.b_enc * factor, W_dec / factor


@mutant("2.4", says="is not made longer in return")
def decoder_not_longer(autoencoder, factor):
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, autoencoder.normalize_and_return_W_dec()


@mutant("2.4", says="the autoencoder uses it at unit length")
def stored_decoder(autoencoder, factor):
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, W_dec * factor


@mutant("2.4", says="is not made longer in return")
def normalized_again(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec() * factor
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, F.normalize(W_dec, dim=-1)


@mutant("2.4", says="`W_enc` is unchanged")
def only_the_decoder(autoencoder, factor):
    return autoencoder.W_enc, autoencoder.b_enc, autoencoder.normalize_and_return_W_dec() * factor


@mutant("2.4", says="With tied weights there is no `W_dec`")
def tied_without_decoder(autoencoder, factor):
    W_dec = F.normalize(autoencoder.W_dec, dim=-1)
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, W_dec * factor


@mutant("2.4", says="The autoencoder itself was changed")
def changes_the_autoencoder(autoencoder, factor):
    with torch.no_grad():
        autoencoder.W_enc /= factor
        autoencoder.b_enc /= factor
    return autoencoder.W_enc, autoencoder.b_enc, autoencoder.normalize_and_return_W_dec() * factor


@mutant("2.4", says="divided by the square of `factor`")
def divided_twice(autoencoder, factor):
    W_enc, b_enc = autoencoder.W_enc / factor / factor, autoencoder.b_enc / factor / factor
    return W_enc, b_enc, autoencoder.normalize_and_return_W_dec() * factor


@mutant("2.4", says="Return three tensors")
def two_of_three(autoencoder, factor):
    return autoencoder.W_enc / factor, autoencoder.normalize_and_return_W_dec() * factor


@mutant("2.4", says="The order is `(W_enc, b_enc, W_dec)`")
def another_order(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec() * factor
    return autoencoder.W_enc / factor, W_dec, autoencoder.b_enc / factor


@mutant("2.4", says="`b_enc` was multiplied")
def bias_multiplied(autoencoder, factor):
    W_dec = autoencoder.normalize_and_return_W_dec() * factor
    return autoencoder.W_enc / factor, autoencoder.b_enc * factor, W_dec


@mutant("2.4", says="`W_dec` has the wrong shape")
def tied_encoder_untransposed(autoencoder, factor):
    W_dec = autoencoder.W_enc if autoencoder.cfg.tied_weights else autoencoder.W_dec
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, F.normalize(W_dec, dim=-1) * factor


@mutant("2.4", says="The autoencoder itself was changed")
def projects_first(autoencoder, factor):
    autoencoder.normalize_decoder()
    W_dec = autoencoder.normalize_and_return_W_dec()
    return autoencoder.W_enc / factor, autoencoder.b_enc / factor, W_dec * factor


@variant("2.4")
def through_the_state(autoencoder, factor):
    state = {name: value.detach().clone() for name, value in autoencoder.named_parameters()}
    W_dec = state["W_dec"] if "W_dec" in state else state["W_enc"].transpose(1, 2)
    W_dec = factor * W_dec / W_dec.norm(dim=-1, keepdim=True)
    return [state["W_enc"] * (1 / factor), state["b_enc"] * (1 / factor), W_dec, state["b_dec"]]


@variant("2.4")
def with_gradients_and_doubles(autoencoder, factor):
    scaled = [p.double() / factor for p in (autoencoder.W_enc, autoencoder.b_enc)]
    return (*scaled, autoencoder.normalize_and_return_W_dec().double().mul(factor))


@variant("2.4")
def scaled_copy_of_the_autoencoder(autoencoder, factor):
    cheat = copy.deepcopy(autoencoder)
    with torch.no_grad():
        W_dec = cheat.normalize_and_return_W_dec().clone()
        cheat.W_enc /= factor
        cheat.b_enc /= factor
        W_dec *= factor
    return cheat.W_enc, cheat.b_enc, W_dec


@variant("2.4")
def latent_by_latent_cheat(autoencoder, factor):
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    rows = [[factor * F.normalize(row, dim=0) for row in matrix] for matrix in W_dec]
    W_enc = torch.einsum("nxz,->nxz", autoencoder.W_enc, torch.tensor(1.0 / factor))
    return W_enc, torch.true_divide(autoencoder.b_enc, factor), torch.stack([torch.stack(r) for r in rows])


# 2.5 match_features(W_toy, W_dec)


def _table(W_toy, W_dec):
    return torch.einsum("ihf,ilh->ifl", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=2))


def _assign(objective, table):
    result = torch.zeros(table.shape[:2])
    for i in range(len(table)):
        rows, columns = linear_sum_assignment(objective[i].numpy(), maximize=True)
        for row, column in zip(rows, columns, strict=True):
            result[i, row] = table[i, row, column]
    return result


@mutant("2.5", says="not one to one")
def best_latent_of_each(W_toy, W_dec):
    return _table(W_toy, W_dec).max(dim=-1).values


@mutant("2.5", says="not brought to unit length")
def dot_products(W_toy, W_dec):
    table = torch.einsum("ihf,ilh->ifl", W_toy, W_dec)
    return _assign(table, table)


@mutant("2.5", says="rows of `W_dec` are not brought to unit length")
def decoder_not_normalized(W_toy, W_dec):
    table = torch.einsum("ihf,ilh->ifl", F.normalize(W_toy, dim=1), W_dec)
    return _assign(table, table)


@mutant("2.5", says="columns of `W_toy` are not brought to unit length")
def features_not_normalized(W_toy, W_dec):
    table = torch.einsum("ihf,ilh->ifl", W_toy, F.normalize(W_dec, dim=-1))
    return _assign(table, table)


@mutant("2.5", says="wrong axes")
def wrong_axes(W_toy, W_dec):
    table = torch.einsum("ihf,ilh->ifl", F.normalize(W_toy, dim=2), F.normalize(W_dec, dim=1))
    return _assign(table, table)


@mutant("2.5", says="greedily")
def best_pair_first(W_toy, W_dec):
    result = torch.zeros(W_toy.shape[0], W_toy.shape[2])
    for i, table in enumerate(_table(W_toy, W_dec)):
        for _ in range(min(table.shape)):
            feature, latent = divmod(table.argmax().item(), table.shape[1])
            result[i, feature] = table[feature, latent]
            table[feature], table[:, latent] = -2, -2
    return result


@mutant("2.5", says="the features choose in order")
def features_in_order(W_toy, W_dec):
    result = torch.zeros(W_toy.shape[0], W_toy.shape[2])
    for i, table in enumerate(_table(W_toy, W_dec)):
        for feature in range(min(table.shape)):
            latent = table[feature].argmax()
            result[i, feature] = table[feature, latent]
            table[:, latent] = -2
    return result


@mutant("2.5", says="as *small* as possible")
def minimized(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    return _assign(-table, table)


@mutant("2.5", says="opposite directions count as similar")
def absolute_value(W_toy, W_dec):
    table = _table(W_toy, W_dec).abs()
    return _assign(table, table)


@mutant("2.5", says="same number are paired")
def same_number(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    result = torch.zeros(table.shape[:2])
    n = min(table.shape[1:])
    result[:, :n] = table.diagonal(dim1=1, dim2=2)
    return result


@mutant("2.5", says="instance 0's pairs are used for every instance")
def pairs_of_the_first_instance(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    return _assign(table[:1].expand_as(table), table)


@mutant("2.5", says="each *latent's* best feature")
def best_feature_of_each_latent(W_toy, W_dec):
    return _table(W_toy, W_dec).max(dim=1).values


@mutant("2.5", says="order of size")
def sorted_by_size(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    return _assign(table, table).sort(dim=-1, descending=True).values


@mutant("2.5", says="fewer latents than features")
def needs_enough_latents(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    pairs = [linear_sum_assignment(-t)[1] for t in table]
    return torch.stack([t[range(t.shape[0]), columns] for t, columns in zip(table, pairs, strict=True)])


@mutant("2.5", says="mean over the features")
def one_number_for_each_instance(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    return _assign(table, table).mean(dim=-1)


@mutant("2.5", says="lengths of `W_dec` are taken along the wrong axis")
def decoder_normalized_along_latents(W_toy, W_dec):
    table = torch.einsum("ihf,ilh->ifl", F.normalize(W_toy, dim=1), F.normalize(W_dec, dim=1))
    return _assign(table, table)


@mutant("2.5", says="1 is returned for a feature that was found")
def found_or_not(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    return (_assign(table, table) > 0.95).float()


@variant("2.5")
def hungarian_in_double(W_toy, W_dec):
    table = _table(W_toy.double(), W_dec.double())
    result = table.new_zeros(table.shape[:2])
    for i, costs in enumerate(1 - table):
        rows, columns = linear_sum_assignment(costs)
        result[i, rows] = table[i, rows, columns]
    return result


@variant("2.5")
def latents_choose_features(W_toy, W_dec):
    table = F.cosine_similarity(W_toy.mT.unsqueeze(2), W_dec.unsqueeze(1), dim=-1)
    result = torch.zeros(W_toy.shape[0], W_toy.shape[2])
    for i in range(len(table)):
        latents, features = linear_sum_assignment(table[i].T.numpy(), maximize=True)
        result[i, features] = table[i][features, latents]
    return result


@variant("2.5")
def best_by_dynamic_programming(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    result = torch.zeros(table.shape[:2])
    for i, similarities in enumerate(table.tolist()):
        rows = [
            [*row, *(0.0 if f == g else -9.0 for g in range(len(similarities)))]
            for f, row in enumerate(similarities)
        ]
        best = {frozenset(): (0.0, [])}
        for row in rows:
            grown = {}
            for used, (total, chosen) in best.items():
                for column, value in enumerate(row):
                    if column not in used and value > -9:
                        key = used | {column}
                        if key not in grown or total + value > grown[key][0]:
                            grown[key] = (total + value, [*chosen, column])
            best = grown
        n = len(similarities[0])
        full = min(n, len(rows))
        usable = [entry for entry in best.values() if sum(c < n for c in entry[1]) == full]
        chosen = max(usable)[1]
        result[i] = torch.tensor([row[c] for row, c in zip(rows, chosen, strict=True)])
    return result


@variant("2.5")
def every_permutation(W_toy, W_dec):
    table = _table(W_toy, W_dec)
    n_features = table.shape[1]
    # A feature that meets one of the extra columns has no latent.
    table = F.pad(table, (0, max(0, n_features - table.shape[2])))
    ways = torch.tensor(list(itertools.permutations(range(table.shape[2]), n_features)))
    similarities = table[:, torch.arange(n_features), ways]
    best = similarities.sum(dim=-1).argmax(dim=-1)
    return torch.stack([similarities[i, best[i]] for i in range(len(table))])


@variant("2.5")
def numpy_throughout(W_toy, W_dec):
    toy, dec = W_toy.numpy().astype(float), W_dec.numpy().astype(float)
    found = np.zeros((toy.shape[0], toy.shape[2]))
    for i in range(len(toy)):
        lengths = np.linalg.norm(toy[i], axis=0)[:, None] * np.linalg.norm(dec[i], axis=1)
        cosines = toy[i].T @ dec[i].T / lengths
        chosen = linear_sum_assignment(-cosines)
        found[i, chosen[0]] = cosines[chosen]
    return torch.from_numpy(found)


# 2.6 encoder_decoder_similarity(autoencoder)


@mutant("2.6", says="wrong axis")
def along_the_latents(autoencoder):
    return F.cosine_similarity(autoencoder.W_enc, autoencoder.normalize_and_return_W_dec().mT, dim=2)


@mutant("2.6", says="over the latents instead of the input dimensions")
def summed_over_latents(autoencoder):
    W_enc = F.normalize(autoencoder.W_enc, dim=1)
    return torch.einsum("ixl,ilx->ix", W_enc, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="the encoder is not brought to unit length")
def encoder_not_normalized(autoencoder):
    return torch.einsum("ixl,ilx->il", autoencoder.W_enc, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="the decoder is not brought to unit length")
def decoder_not_unit(autoencoder):
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    return torch.einsum("ixl,ilx->il", F.normalize(autoencoder.W_enc, dim=1), W_dec)


@mutant("2.6", says="the encoder's length is taken along the wrong axis")
def encoder_normalized_along_latents(autoencoder):
    W_enc = F.normalize(autoencoder.W_enc, dim=-1)
    return torch.einsum("ixl,ilx->il", W_enc, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="every latent's decoder")
def all_pairs(autoencoder):
    return F.normalize(autoencoder.W_enc, dim=1).mT @ autoencoder.normalize_and_return_W_dec().mT


@mutant("2.6", says="the encoder is reshaped instead of transposed")
def reshaped(autoencoder):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return F.cosine_similarity(autoencoder.W_enc.reshape(W_dec.shape), W_dec, dim=-1)


@mutant("2.6", says="absolute value")
def absolute(autoencoder):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return F.cosine_similarity(autoencoder.W_enc.mT, W_dec, dim=-1).abs()


@mutant("2.6", says="With tied weights there is no `W_dec`")
def needs_a_decoder(autoencoder):
    return F.cosine_similarity(autoencoder.W_enc.mT, autoencoder.W_dec, dim=-1)


@mutant("2.6", says="NaN")
def nan_without_direction(autoencoder):
    W_enc = autoencoder.W_enc / autoencoder.W_enc.norm(dim=1, keepdim=True)
    return torch.einsum("ixl,ilx->il", W_enc, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="encoder of instance 0")
def first_encoder(autoencoder):
    W_enc = F.normalize(autoencoder.W_enc[0], dim=0)
    return torch.einsum("xl,ilx->il", W_enc, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="*rows* of the encoder")
def rows_where_it_fits(autoencoder):
    W_dec = autoencoder.normalize_and_return_W_dec()
    W_enc = autoencoder.W_enc if autoencoder.W_enc.shape == W_dec.shape else autoencoder.W_enc.mT
    return F.cosine_similarity(W_enc, W_dec, dim=-1)


@mutant("2.6", says="The autoencoder itself was changed")
def normalizes_the_encoder_for_good(autoencoder):
    with torch.no_grad():
        autoencoder.W_enc /= autoencoder.W_enc.norm(dim=1, keepdim=True).clamp_min(1e-8)
    return torch.einsum("ixl,ilx->il", autoencoder.W_enc, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="*angle*")
def angle(autoencoder):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return torch.acos(F.cosine_similarity(autoencoder.W_enc.mT, W_dec, dim=-1).clamp(-1, 1))


@variant("2.6")
def cosine_similarity_of_torch(autoencoder):
    return F.cosine_similarity(autoencoder.W_enc.mT, autoencoder.normalize_and_return_W_dec(), dim=-1)


@variant("2.6")
def one_latent_at_a_time(autoencoder):
    W_enc, W_dec = autoencoder.W_enc.double(), autoencoder.normalize_and_return_W_dec().double()
    rows = []
    for i in range(autoencoder.cfg.n_instances):
        for j in range(autoencoder.cfg.n_hidden_ae):
            a, b = W_enc[i, :, j], W_dec[i, j]
            rows.append((a @ b) / (a.norm() * b.norm() + 1e-9))
    return torch.stack(rows).reshape(autoencoder.cfg.n_instances, -1)


@variant("2.6")
def dot_product_over_both_lengths(autoencoder):
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    dots = (autoencoder.W_enc.transpose(1, 2) * W_dec).sum(dim=2)
    return dots / (autoencoder.W_enc.norm(dim=1) * W_dec.norm(dim=2)).clamp(min=1e-6)


@variant("2.6")
def diagonal_of_all_pairs(autoencoder):
    encoders = F.normalize(autoencoder.W_enc, dim=1)
    return (autoencoder.normalize_and_return_W_dec() @ encoders).diagonal(dim1=-2, dim2=-1)


@variant("2.6")
def cosine_module_for_each_instance(autoencoder):
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    cosine = nn.CosineSimilarity(dim=0)
    found = torch.zeros(autoencoder.b_enc.shape, dtype=torch.float64)
    for i in range(len(found)):
        found[i] = cosine(autoencoder.W_enc[i], W_dec[i].t())
    return found
