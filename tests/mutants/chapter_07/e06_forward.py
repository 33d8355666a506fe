"""Answers to exercise 7.6: `Transcoder.forward`."""

import torch

from part_utils.transcoder import Transcoder, TranscoderOutput
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


def _btopk(pre, k):
    top = pre.topk(k, -1)
    return torch.zeros_like(pre).scatter(-1, top.indices, top.values.relu())


def _output(self, x, y, acts=None):
    acts = self.encode(x) if acts is None else acts
    new = acts @ self.W_dec + self.b_dec
    if self.W_skip is not None:
        new = new + x @ self.W_skip
    return TranscoderOutput((y - new).pow(2).mean(), acts, new)


@mutant("7.6", says="negative values among the k largest are kept")
class NegativeKept(Transcoder):
    def encode(self, x):
        top = (x @ self.W_enc + self.b_enc).topk(self.k, -1)
        return x.new_zeros(*x.shape[:-1], len(self.b_enc)).scatter(-1, top.indices, top.values)


@mutant("7.6", says="all positive pre-activations fire: k is not used")
class AllThatArePositive(Transcoder):
    def encode(self, x):
        return (x @ self.W_enc + self.b_enc).relu()


@mutant("7.6", says="up to 3 latents fire on an input, where k is 6")
class KOfThree(Transcoder):
    def encode(self, x):
        return _btopk(x @ self.W_enc + self.b_enc, 3)


@mutant("7.6", says="the k largest by absolute value are chosen")
class LargestByAbsoluteValue(Transcoder):
    def encode(self, x):
        pre = x @ self.W_enc + self.b_enc
        places = pre.abs().topk(self.k, -1).indices
        return torch.zeros_like(pre).scatter(-1, places, pre.gather(-1, places).relu())


@mutant("7.6", says="`b_enc` is left out")
class NoEncoderBias(Transcoder):
    def encode(self, x):
        return _btopk(x @ self.W_enc, self.k)


@mutant("7.6", says="`b_enc` is added twice")
class EncoderBiasTwice(Transcoder):
    def encode(self, x):
        return _btopk(x @ self.W_enc + 2 * self.b_enc, self.k)


@mutant("7.6", says="`b_enc` is added after the k largest are chosen")
class EncoderBiasAfterTheChoice(Transcoder):
    def encode(self, x):
        pre = x @ self.W_enc
        places = pre.topk(self.k, -1).indices
        return torch.zeros_like(pre).scatter(-1, places, (pre + self.b_enc).gather(-1, places).relu())


@mutant("7.6", says="`b_dec` is subtracted from the input, as an autoencoder")
class DecoderBiasSubtracted(Transcoder):
    def encode(self, x):
        b_dec = self.b_dec if self.b_dec.shape == x.shape[-1:] else self.b_dec.mean()
        return _btopk((x - b_dec) @ self.W_enc + self.b_enc, self.k)


@mutant("7.6", says="the k * batch largest of the whole batch are chosen")
class KOfTheBatch(Transcoder):
    def encode(self, x):
        pre = (x @ self.W_enc + self.b_enc).relu()
        return pre * (pre >= pre.flatten().topk(self.k * len(pre)).values[-1])


@mutant("7.6", says="the k largest along the batch are chosen, not along the")
class AlongTheBatch(Transcoder):
    def encode(self, x):
        pre = x @ self.W_enc + self.b_enc
        top = pre.topk(min(self.k, len(pre)), 0)
        return torch.zeros_like(pre).scatter(0, top.indices, top.values.relu())


@mutant("7.6", says="the latents are read with the decoder (its transpose),")
class DecoderEncodes(Transcoder):
    def encode(self, x):
        W = self.W_dec.mT if self.W_dec.shape[1] == x.shape[-1] else self.W_enc / self.W_enc.norm(dim=0)
        return _btopk(x @ W + self.b_enc, self.k)


@mutant("7.6", says="The values are right, but the gradients are not: the")
class EncoderDetached(Transcoder):
    def encode(self, x):
        return super().encode(x).detach()


@mutant("7.6", says="The values are right, but the gradients are not: latents")
class GradientForAll(Transcoder):
    def encode(self, x):
        pre = (x @ self.W_enc + self.b_enc).relu()
        return pre + (super().encode(x) - pre).detach()


@mutant("7.6", says="one latent too many fires")
class OneMore(Transcoder):
    def encode(self, x):
        pre = x @ self.W_enc + self.b_enc
        return _btopk(pre, min(self.k + 1, pre.shape[-1]))


@mutant("7.6", says="one latent too few fires")
class OneFewer(Transcoder):
    def encode(self, x):
        pre = x @ self.W_enc + self.b_enc
        return (pre * (pre > pre.topk(self.k, -1).values[..., -1:])).relu()


@mutant("7.6", says="a latent that fires is 1, however strongly it fires")
class OnesForLatents(Transcoder):
    def encode(self, x):
        return (super().encode(x) > 0).to(x.dtype)


@mutant("7.6", says="only the k largest values are returned, without their")
class LatentsInOrder(Transcoder):
    def encode(self, x):
        return (x @ self.W_enc + self.b_enc).topk(self.k, -1).values.relu()


@mutant("7.6", says="an axis of size 1 is lost (`squeeze` removes all of")
class Squeezes(Transcoder):
    def encode(self, x):
        return super().encode(x).squeeze()


@mutant("7.6", says="the k-th largest value is subtracted from those that fire")
class Shrunk(Transcoder):
    def encode(self, x):
        pre = x @ self.W_enc + self.b_enc
        return (pre - pre.topk(self.k, -1).values[..., -1:].clamp_min(0)).relu()


@mutant("7.6", says="the reconstruction is compared with `x`, what the MLP")
class LossAgainstX(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        if x.shape == y.shape:
            return out._replace(loss=(x - out.y_reconstructed).pow(2).mean())
        return out._replace(loss=(x.mean() - out.y_reconstructed).pow(2).mean())


@mutant("7.6", says="everything is summed")
class LossSummed(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        return out._replace(loss=(y - out.y_reconstructed).pow(2).sum())


@mutant("7.6", says="the sum over the dimensions is taken, not the mean")
class LossSummedOverDimensions(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        return out._replace(loss=(y - out.y_reconstructed).pow(2).sum(-1).mean())


@mutant("7.6", says="it has one number for each input")
class LossForEachInput(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        return out._replace(loss=(y - out.y_reconstructed).pow(2).mean(-1))


@mutant("7.6", says="the absolute error is taken, not the squared one")
class AbsoluteError(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        return out._replace(loss=(y - out.y_reconstructed).abs().mean())


@mutant("7.6", says="the root is taken")
class RootOfLoss(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        return out._replace(loss=out.loss.sqrt())


@mutant("7.6", says="`loss` is 1/2 of what it should be.")
class HalfLoss(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        return out._replace(loss=out.loss / 2)


@mutant("7.6", says="it is divided by the variance of `y`: that is the")
class Fvu(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        return out._replace(loss=out.loss / (y - y.mean(0)).pow(2).mean())


@mutant("7.6", says="`acts` are in it as well (an L1 penalty), which TopK does")
class Penalty(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        return out._replace(loss=out.loss + 0.01 * out.acts.abs().sum(-1).mean())


@mutant("7.6", says="`loss` is cut off from the parameters, so nothing can be")
class LossDetached(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        return out._replace(loss=out.loss.detach())


@mutant("7.6", says="`b_dec` is not added")
class NoDecoderBias(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        new = out.y_reconstructed - self.b_dec
        return TranscoderOutput((y - new).pow(2).mean(), out.acts, new)


@mutant("7.6", says="`b_dec` is added twice")
class DecoderBiasTwice(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        new = out.y_reconstructed + self.b_dec
        return TranscoderOutput((y - new).pow(2).mean(), out.acts, new)


@mutant("7.6", says="the way around (`W_skip`) is left out")
class NoWayAround(Transcoder):
    def forward(self, x, y):
        acts = self.encode(x)
        new = acts @ self.W_dec + self.b_dec
        return TranscoderOutput((y - new).pow(2).mean(), acts, new)


@mutant("7.6", says="`self.W_skip` is None where there is no way around: ask")
class AlwaysAround(Transcoder):
    def forward(self, x, y):
        acts = self.encode(x)
        new = acts @ self.W_dec + self.b_dec + x @ self.W_skip
        return TranscoderOutput((y - new).pow(2).mean(), acts, new)


@mutant("7.6", says="A matrix is neither true nor false, so `if self.W_skip:`")
class Ambiguous(Transcoder):
    def forward(self, x, y):
        acts = self.encode(x)
        new = acts @ self.W_dec + self.b_dec
        if self.W_skip:
            new = new + x @ self.W_skip
        return TranscoderOutput((y - new).pow(2).mean(), acts, new)


@mutant("7.6", says="the way around is left out in it")
class LossWithoutWayAround(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        return out._replace(loss=(y - out.acts @ self.W_dec - self.b_dec).pow(2).mean())


@mutant("7.6", says="the way around (`W_skip`) is left out")
class RebuiltWithoutWayAround(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        return out._replace(y_reconstructed=out.acts @ self.W_dec + self.b_dec)


@mutant("7.6", says="the way around reads `x` without its mean")
class WayAroundOfCentered(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        if self.W_skip is None:
            return out
        new = out.y_reconstructed - x.mean(0) @ self.W_skip
        return TranscoderOutput((y - new).pow(2).mean(), out.acts, new)


@mutant("7.6", says="the decoder's rows are brought to unit length; here they")
class DecoderNormalized(Transcoder):
    def forward(self, x, y):
        acts = self.encode(x)
        new = acts @ torch.nn.functional.normalize(self.W_dec, dim=-1) + self.b_dec
        if self.W_skip is not None:
            new = new + x @ self.W_skip
        return TranscoderOutput((y - new).pow(2).mean(), acts, new)


@mutant("7.6", says="the pre-activations are returned")
class PreActivationsDecoded(Transcoder):
    def forward(self, x, y):
        return _output(self, x, y, x @ self.W_enc + self.b_enc)


@mutant("7.6", says="The values are right, but the gradients are not: the")
class LatentsDetached(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y, self.encode(x).detach())
        return out._replace(acts=self.encode(x))


@mutant("7.6", says="The values are right, but the gradients are not: the way")
class WayAroundDetached(Transcoder):
    def forward(self, x, y):
        acts = self.encode(x)
        new = acts @ self.W_dec + self.b_dec
        if self.W_skip is not None:
            new = new + x @ self.W_skip.detach()
        return TranscoderOutput((y - new).pow(2).mean(), acts, new)


@mutant("7.6", says="The values are right, but the gradient of `loss` with")
class DecoderBiasDetached(Transcoder):
    def forward(self, x, y):
        acts = self.encode(x)
        new = acts @ self.W_dec + self.b_dec.data
        if self.W_skip is not None:
            new = new + x @ self.W_skip
        return TranscoderOutput((y - new).pow(2).mean(), acts, new)


@mutant("7.6", says="the latents are those of `y`, what the MLP writes, not of")
class EncodesY(Transcoder):
    def forward(self, x, y):
        return _output(self, x, y, self.encode(y if y.shape == x.shape else x.flip(0)))


@mutant("7.6", says="`y_reconstructed` stands in its place: the order is loss,")
class OtherOrder(Transcoder):
    def forward(self, x, y):
        loss, acts, new = _output(self, x, y)
        return TranscoderOutput(loss, new, acts)


@mutant("7.6", says="the error is returned, not what is rebuilt")
class ErrorReturned(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        return out._replace(y_reconstructed=y - out.y_reconstructed)


@mutant("7.6", says="negative values are set to 0")
class ReluOnOutput(Transcoder):
    def forward(self, x, y):
        out = _output(self, x, y)
        new = out.y_reconstructed.relu()
        return TranscoderOutput((y - new).pow(2).mean(), out.acts, new)


@mutant("7.6", says="Your function returns one tensor; expected 3 things:")
class OnlyLoss(Transcoder):
    def forward(self, x, y):
        return _output(self, x, y).loss


@variant("7.6")
class PlainTuple(Transcoder):
    def encode(self, x):
        pre = torch.einsum("...i,ih->...h", x, self.W_enc) + self.b_enc
        return torch.where(pre.argsort(-1, descending=True).argsort(-1) < self.k, pre.relu(), 0.0)

    def forward(self, x, y):
        new = self.b_dec + torch.einsum("...h,ho->...o", self.encode(x), self.W_dec)
        if self.W_skip is not None:
            new += torch.einsum("...i,io->...o", x, self.W_skip)
        return torch.nn.functional.mse_loss(new, y), self.encode(x), new


@variant("7.6")
class TokenByToken(Transcoder):
    def encode(self, x):
        rows = []
        for row in x:
            pre = (row @ self.W_enc + self.b_enc).clamp(min=0)
            keep = pre.topk(self.k).indices
            rows.append(torch.zeros_like(pre).index_put((keep,), pre[keep]))
        return torch.stack(rows)

    def forward(self, x, y):
        acts = self.encode(x)
        W = torch.cat([self.W_dec, self.b_dec[None]])
        inputs = torch.cat([acts, torch.ones_like(acts[:, :1])], 1)
        if self.W_skip is not None:
            W, inputs = torch.cat([W, self.W_skip]), torch.cat([inputs, x], 1)
        new = inputs @ W
        return TranscoderOutput(loss=((new - y) ** 2).sum() / y.numel(), acts=acts, y_reconstructed=new)


@variant("7.6")
class MaskedInPlace(Transcoder):
    def encode(self, x):
        pre = torch.addmm(self.b_enc, x, self.W_enc)
        mask = torch.zeros_like(pre)
        mask.scatter_(1, pre.topk(self.k, dim=1).indices, 1)
        return torch.relu(pre) * mask

    def forward(self, x, y):
        acts = self.encode(x)
        around = 0 if self.W_skip is None else x @ self.W_skip
        new = torch.nn.functional.linear(acts, self.W_dec.mT, self.b_dec) + around
        return TranscoderOutput((y - new).square().mean(dim=1).mean(), acts, new)


equivalent("7.6", "a square has no sign.", "y - y_reconstructed -> y_reconstructed - y")


@mutant("7.6", says="`b_enc` is added after the k largest are chosen")
class BiasAfterTheChoice(Transcoder):
    def encode(self, x):
        return (_btopk(x @ self.W_enc, self.k) + self.b_enc).relu()


@mutant("7.6", says="the input itself is added as well")
class InputAddedToo(Transcoder):
    def encode(self, x):
        return _btopk(x @ self.W_enc + self.b_enc, self.k)

    def forward(self, x, y):
        _, acts, new = _output(self, x, y)
        if self.W_skip is not None:
            new = new + x
        return TranscoderOutput((y - new).pow(2).mean(), acts, new)


@mutant("7.6", says="`b_enc` is added after the k largest are chosen")
class BEncToWhatFires(_Right):
    def encode(self, x):
        chosen = _topk(x @ self.W_enc, self.k)
        return torch.where(chosen > 0, (chosen + self.b_enc).relu(), 0)
