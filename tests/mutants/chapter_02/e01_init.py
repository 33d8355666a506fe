"""Answers to exercise 2.1: `AutoEncoder.__init__`."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tests.mutants import equivalent, mutant, variant


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
        self.W_enc = nn.Parameter(
            torch.randn(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae, device=device)
        )
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(
                torch.randn(cfg.n_instances, cfg.n_hidden_ae, cfg.n_input_ae, device=device)
            )
        self.b_enc = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae, device=device))
        self.b_dec = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_input_ae, device=device))


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
        W = W.to(device or "cpu")
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
        self.to(device)


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


class _Plain(nn.Module):
    """Right; a wrong answer changes one piece."""

    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        n, x, z = cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae
        self.W_enc = nn.Parameter(torch.randn(n, x, z, device=device) / x**0.5)
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(F.normalize(torch.randn(n, z, x, device=device), dim=-1))
        self.b_enc = nn.Parameter(torch.zeros(n, z, device=device))
        self.b_dec = nn.Parameter(torch.zeros(n, x, device=device))


@mutant("2.1", says="sets torch's seed")
class SeedsTheGlobalGenerator(_Plain):
    def __init__(self, cfg, device=None):
        torch.manual_seed(0)
        super().__init__(cfg, device)


@mutant("2.1", says="sets torch's seed")
class SeedsAfterwards(_Plain):
    def __init__(self, cfg, device=None):
        super().__init__(cfg, device)
        torch.random.manual_seed(42)


@mutant("2.1", says="bias")
class BiasesOfOne(_Plain):
    def __init__(self, cfg, device=None):
        super().__init__(cfg, device)
        self.b_dec = nn.Parameter(torch.ones_like(self.b_dec))


@mutant("2.1", says="no `W_dec` although")
class TiedTheOtherWayRound(_Plain):
    def __init__(self, cfg, device=None):
        super().__init__(cfg, device)
        if not cfg.tied_weights:
            del self.W_dec


@mutant("2.1", says="`W_dec` changes when `W_enc` changes")
class DecoderSharesTheEncodersMemory(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        W = torch.randn(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae, device=device)
        self.W_enc = nn.Parameter(W)
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(W.mT)
        self.b_enc = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae, device=device))
        self.b_dec = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_input_ae, device=device))


@mutant("2.1", says="`__init__` sets torch's seed (`torch.manual_seed`). Every autoencoder")
class SeededInside(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        torch.manual_seed(42)
        self.cfg = cfg
        self.W_enc = nn.Parameter(
            torch.randn(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae, device=device)
        )
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(
                torch.randn(cfg.n_instances, cfg.n_hidden_ae, cfg.n_input_ae, device=device)
            )
        self.b_enc = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae, device=device))
        self.b_dec = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_input_ae, device=device))


@mutant("2.1", says="Not made on the `device` that was asked for")
class BiasesNotOnTheDevice(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        self.W_enc = nn.Parameter(
            torch.randn(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae, device=device)
        )
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(
                torch.randn(cfg.n_instances, cfg.n_hidden_ae, cfg.n_input_ae, device=device)
            )
        self.b_enc = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae))
        self.b_dec = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_input_ae))


@mutant("2.1", says="`W_enc` is the same in every instance, so that all of them would")
class OneInstanceRepeated(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        n = cfg.n_instances
        self.W_enc = nn.Parameter(
            torch.randn(1, cfg.n_input_ae, cfg.n_hidden_ae, device=device).repeat(n, 1, 1)
        )
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(torch.randn(n, cfg.n_hidden_ae, cfg.n_input_ae, device=device))
        self.b_enc = nn.Parameter(torch.zeros(n, cfg.n_hidden_ae, device=device))
        self.b_dec = nn.Parameter(torch.zeros(n, cfg.n_input_ae, device=device))


@mutant("2.1", says="`W_dec` is the same in every instance, so that all of them would")
class DecoderIsTheSameInAllInstances(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        n = cfg.n_instances
        self.W_enc = nn.Parameter(torch.randn(n, cfg.n_input_ae, cfg.n_hidden_ae, device=device))
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(
                torch.randn(cfg.n_hidden_ae, cfg.n_input_ae, device=device).expand(n, -1, -1).clone()
            )
        self.b_enc = nn.Parameter(torch.zeros(n, cfg.n_hidden_ae, device=device))
        self.b_dec = nn.Parameter(torch.zeros(n, cfg.n_input_ae, device=device))


@mutant("2.1", says="`W_enc` is no parameter that takes gradients, so an optimizer would")
class EncoderIsFrozen(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        self.W_enc = nn.Parameter(
            torch.randn(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae, device=device), requires_grad=False
        )
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(
                torch.randn(cfg.n_instances, cfg.n_hidden_ae, cfg.n_input_ae, device=device)
            )
        self.b_enc = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae, device=device))
        self.b_dec = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_input_ae, device=device))


@mutant("2.1", says="`W_enc` is the same in every instance, so that all of them would")
class IdentityMatrices(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        n = cfg.n_instances
        self.W_enc = nn.Parameter(torch.eye(cfg.n_input_ae, cfg.n_hidden_ae, device=device).repeat(n, 1, 1))
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(
                torch.eye(cfg.n_hidden_ae, cfg.n_input_ae, device=device).repeat(n, 1, 1)
            )
        self.b_enc = nn.Parameter(torch.zeros(n, cfg.n_hidden_ae, device=device))
        self.b_dec = nn.Parameter(torch.zeros(n, cfg.n_input_ae, device=device))


@variant("2.1")
class NoDecoderIsNone(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        shape = (cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae)
        self.W_enc = nn.Parameter(nn.init.trunc_normal_(torch.empty(shape, device=device), std=0.02))
        if cfg.tied_weights:
            self.register_parameter("W_dec", None)
        else:
            self.W_dec = nn.Parameter(nn.init.normal_(torch.empty(shape, device=device).mT.contiguous()))
        self.register_parameter("b_enc", nn.Parameter(torch.zeros(shape[0], shape[2], device=device)))
        self.register_parameter("b_dec", nn.Parameter(torch.zeros(shape[0], shape[1], device=device)))


equivalent(
    "2.1",
    "the scale and the distribution are up to the learner: numbers of both signs, drawn for each instance",
    "W_enc / cfg.n_input_ae ** 0.5 -> W_enc * cfg.n_input_ae ** 0.5",
    "W_enc / cfg.n_input_ae ** 0.5 -> W_enc",
    "W_enc / cfg.n_input_ae ** 0.5 -> cfg.n_input_ae ** 0.5 / W_enc",
    "cfg.n_input_ae ** 0.5 -> cfg.n_input_ae * 0.5",
    "cfg.n_input_ae ** 0.5 -> cfg.n_input_ae",
    "cfg.n_input_ae ** 0.5: 0.5 -> 1.0",
    "cfg.n_input_ae ** 0.5: 0.5 -> 0.25",
    "W_dec / W_dec.norm(dim=-1, keepdim=True) -> W_dec * W_dec.norm(dim=-1, keepdim=True)",
    "W_dec / W_dec.norm(dim=-1, keepdim=True) -> W_dec",
    "W_dec / W_dec.norm(dim=-1, keepdim=True) -> W_dec.norm(dim=-1, keepdim=True) / W_dec",
    "W_dec.norm(dim=-1) -> W_dec.norm()",
    "dim=-1: -1 -> 1",
    "-1: 1 -> 2",
    "-1: 1 -> 0",
)


@mutant("2.1", says="`b_enc` is no parameter that takes gradients, so an optimizer would")
class BiasesAreBuffers(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        n, i, h = (cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae)
        self.W_enc = nn.Parameter(torch.randn(n, i, h, device=device))
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(torch.randn(n, h, i, device=device))
        self.register_buffer("b_enc", torch.zeros(n, h, device=device))
        self.register_buffer("b_dec", torch.zeros(n, i, device=device))


@mutant("2.1", says="which is too short to train from")
class TinyScale(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        n, i, h = (cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae)
        self.W_enc = nn.Parameter(1e-06 * torch.randn(n, i, h, device=device))
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(torch.randn(n, h, i, device=device))
        self.b_enc = nn.Parameter(torch.zeros(n, h, device=device))
        self.b_dec = nn.Parameter(torch.zeros(n, i, device=device))


@mutant("2.1", says="`W_enc` is the same for every latent, so that all of them would learn")
class LatentsTheSame(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        n, i, h = (cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae)
        self.W_enc = nn.Parameter(torch.randn(n, i, 1, device=device).repeat(1, 1, h))
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(torch.randn(n, h, i, device=device))
        self.b_enc = nn.Parameter(torch.zeros(n, h, device=device))
        self.b_dec = nn.Parameter(torch.zeros(n, i, device=device))


@mutant("2.1", says="All directions in `W_enc` lie on one line")
class InputDimensionsTheSame(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        n, i, h = (cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae)
        self.W_enc = nn.Parameter(torch.randn(n, 1, h, device=device).repeat(1, i, 1))
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(torch.randn(n, h, i, device=device))
        self.b_enc = nn.Parameter(torch.zeros(n, h, device=device))
        self.b_dec = nn.Parameter(torch.zeros(n, i, device=device))


@variant("2.1")
class KaimingInit(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        self.W_enc = nn.Parameter(
            torch.empty(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae, device=device)
        )
        nn.init.kaiming_uniform_(self.W_enc)
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(
                torch.empty(cfg.n_instances, cfg.n_hidden_ae, cfg.n_input_ae, device=device)
            )
            nn.init.xavier_normal_(self.W_dec)
        self.b_enc = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_hidden_ae).to(device))
        self.b_dec = nn.Parameter(torch.zeros(cfg.n_instances, cfg.n_input_ae).to(device))


@variant("2.1")
class ToAtTheEnd(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        n, i, h = (cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae)
        shapes = {"W_enc": (n, i, h), "b_enc": (n, h), "b_dec": (n, i)} | (
            {} if cfg.tied_weights else {"W_dec": (n, h, i)}
        )
        for name, shape in shapes.items():
            value = torch.zeros(shape) if name[0] == "b" else F.normalize(torch.randn(shape), dim=-1)
            setattr(self, name, nn.Parameter(value))
        self.to(device)


@mutant("2.1", says="the instances differ only by a factor")
class InstancesDifferByAFactor(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg, device)
        factors = 1 + torch.arange(cfg.n_instances, device=device)[:, None, None]
        self.W_enc = nn.Parameter(self.W_enc.data[:1] * factors)


_MADE: dict = {}


@mutant("2.1", says="Two autoencoders share `W_enc`")
class MadeOnce(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg, device)
        self.W_enc = _MADE.setdefault((self.W_enc.shape, str(device)), self.W_enc)


@mutant("2.1", says="All numbers of a direction in `W_enc` have the same sign")
class OneSignForEachDirection(_Right):
    def __init__(self, cfg, device=None):
        super().__init__(cfg, device)
        signs = torch.randn(cfg.n_instances, 1, cfg.n_hidden_ae, device=device).sign()
        self.W_enc = nn.Parameter(self.W_enc.data.abs() * signs)


@mutant("2.1", says="On another `device`")
class MovedAfterWrapping(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        n, i, h = cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae
        self.W_enc = nn.Parameter(torch.randn(n, i, h)).to(device)
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(torch.randn(n, h, i)).to(device)
        self.b_enc = nn.Parameter(torch.zeros(n, h)).to(device)
        self.b_dec = nn.Parameter(torch.zeros(n, i)).to(device)


@mutant("2.1", says="as long as `requires_grad` is left as it is")
class FrozenBias(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        n, i, h = cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae
        self.W_enc = nn.Parameter(torch.randn(n, i, h, device=device))
        if not cfg.tied_weights:
            self.W_dec = nn.Parameter(torch.randn(n, h, i, device=device))
        self.b_enc = nn.Parameter(torch.zeros(n, h, device=device))
        self.b_dec = nn.Parameter(torch.zeros(n, i, device=device), requires_grad=False)
