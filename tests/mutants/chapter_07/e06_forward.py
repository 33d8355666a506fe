"""Answers to exercise 7.6: `Transcoder.forward`."""

import torch

from part_utils.transcoder import Transcoder
from tests.mutants import equivalent, mutant, variant


def _topk(pre, k):
    values, places = pre.topk(k, dim=-1)
    return torch.zeros_like(pre).scatter(-1, places, values.relu())


class _Right(Transcoder):
    def encode(self, x):
        return _topk(x @ self.W_enc + self.b_enc, self.k)

    def around(self, x):
        return 0 if self.W_skip is None else x @ self.W_skip

    def decode(self, x, acts):
        return acts @ self.W_dec + self.b_dec + self.around(x)

    def forward(self, x, y):
        acts = self.encode(x)
        rebuilt = self.decode(x, acts)
        return (y - rebuilt).pow(2).mean(), acts, rebuilt


@mutant("7.6", says="`b_dec` is subtracted from the input")
class BDecFromTheInput(_Right):
    def encode(self, x):
        centered = x - self.b_dec if len(self.b_dec) == x.shape[1] else x
        return _topk(centered @ self.W_enc + self.b_enc, self.k)


@mutant("7.6", says="way around (`W_skip`) is left out")
class NoSkip(_Right):
    def around(self, x):
        return 0


@mutant("7.6", says="with `x`, what the MLP reads")
class AgainstX(_Right):
    def forward(self, x, y):
        _, acts, rebuilt = super().forward(x, y)
        return ((x if x.shape == y.shape else y) - rebuilt).pow(2).mean(), acts, rebuilt


@mutant("7.6", says="`b_dec` is not added")
class NoBDec(_Right):
    def decode(self, x, acts):
        return acts @ self.W_dec + self.around(x)


@mutant("7.6", says="k is not used")
class JustReLU(_Right):
    def encode(self, x):
        return (x @ self.W_enc + self.b_enc).relu()


@mutant("7.6", says="negative values among the k largest")
class NoReLU(_Right):
    def encode(self, x):
        pre = x @ self.W_enc + self.b_enc
        values, places = pre.topk(self.k, dim=-1)
        return torch.zeros_like(pre).scatter(-1, places, values)


@mutant("7.6", says="`self.W_skip` is None")
class SkipAlways(_Right):
    def around(self, x):
        return x @ self.W_skip


@mutant("7.6", says="unit length")
class UnitRows(_Right):
    def decode(self, x, acts):
        return acts @ torch.nn.functional.normalize(self.W_dec, dim=-1) + self.b_dec + self.around(x)


@mutant("7.6", says="sum over the dimensions")
class Summed(_Right):
    def forward(self, x, y):
        _, acts, rebuilt = super().forward(x, y)
        return (y - rebuilt).pow(2).sum(-1).mean(), acts, rebuilt


@mutant("7.6", says="the latents are detached")
class Detached(_Right):
    def forward(self, x, y):
        acts = self.encode(x)
        rebuilt = self.decode(x, acts.detach())
        return (y - rebuilt).pow(2).mean(), acts, rebuilt


@mutant("7.6", says="expected 3")
class TwoThings(_Right):
    def forward(self, x, y):
        return super().forward(x, y)[1:]


@mutant("7.6", says="`b_enc` is left out")
class NoBEnc(_Right):
    def encode(self, x):
        return _topk(x @ self.W_enc, self.k)


@variant("7.6")
class InOneGo(_Right):
    pass


@variant("7.6")
class WithMask(Transcoder):
    def encode(self, x):
        pre = torch.einsum("bi,ih->bh", x, self.W_enc) + self.b_enc
        rank = pre.argsort(dim=-1, descending=True).argsort(dim=-1)
        return torch.where(rank < self.k, pre, 0).clamp_min(0)

    def forward(self, x, y):
        acts = self.encode(x)
        parts = [torch.einsum("bh,ho->bo", acts, self.W_dec), self.b_dec.expand_as(y)]
        if isinstance(self.W_skip, torch.Tensor):
            parts.append(torch.einsum("bi,io->bo", x, self.W_skip))
        rebuilt = sum(parts)
        return [torch.nn.functional.mse_loss(rebuilt, y), acts, rebuilt]


equivalent("7.6", "a square has no sign.", "y - y_reconstructed -> y_reconstructed - y")
