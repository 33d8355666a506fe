"""Answers to exercise 2.2: `AutoEncoder.normalize_decoder`."""

import einops
import torch
from torch import nn
from torch.nn import functional as F

from part_utils.autoencoder import AutoEncoder
from tests.mutants import mutant, variant


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


def _returned(divide):
    """An answer whose returned decoder is divided in this way."""

    def normalize_and_return_W_dec(self):
        return divide(self.W_enc.mT if self.cfg.tied_weights else self.W_dec)

    return {"normalize_and_return_W_dec": normalize_and_return_W_dec}


def _where(W):
    length = W.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, W / length, torch.zeros_like(W))


def _nan_to_num(W):
    return torch.nan_to_num(W / W.norm(dim=-1, keepdim=True))


def _root(W):
    return W / W.pow(2).sum(-1, keepdim=True).sqrt().clamp_min(1e-8)


def _where_nan(W):
    unit = W / W.norm(dim=-1, keepdim=True)
    return torch.where(unit.isnan(), 0.0, unit)


WhereTheLengthIsPositive = mutant("2.2", says="its gradient is NaN")(
    type("WhereTheLengthIsPositive", (AutoEncoder,), _returned(_where))
)
NanToNum = mutant("2.2", says="its gradient is NaN")(type("NanToNum", (AutoEncoder,), _returned(_nan_to_num)))
RootOfZero = mutant("2.2", says="its gradient is NaN")(type("RootOfZero", (AutoEncoder,), _returned(_root)))
WhereNan = mutant("2.2", says="its gradient is NaN")(type("WhereNan", (AutoEncoder,), _returned(_where_nan)))


@mutant("2.2", says="After `normalize_decoder` there is a new `W_dec`")
class AnotherParameter(_Both):
    @torch.no_grad()
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec = nn.Parameter(F.normalize(self.W_dec, dim=-1))


@mutant("2.2", says="rows that are shorter than 1 are left as they are")
class OnlyLongRowsAreShortened(_Both):
    @torch.no_grad()
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec.div_(self.W_dec.norm(dim=-1, keepdim=True).clamp(min=1))


@mutant("2.2", says="rows that are shorter than 1 are left as they are")
class ReturnedOnlyLongRowsShortened(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W_dec / W_dec.norm(dim=-1, keepdim=True).clamp(min=1)


@mutant("2.2", says="its *columns* are normalized")
class TiedRowsOfTheEncoder(_Both):
    def normalize_and_return_W_dec(self):
        if self.cfg.tied_weights:
            return F.normalize(self.W_enc, dim=-1).mT
        return F.normalize(self.W_dec, dim=-1)


@mutant("2.2", says="With tied weights `normalize_decoder` changed the encoder")
class ProjectsTheEncoderToo(_Both):
    @torch.no_grad()
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec.copy_(F.normalize(self.W_dec, dim=-1))
        else:
            self.W_enc.copy_(F.normalize(self.W_enc, dim=1))


@mutant("2.2", says="0.001 is added to the length, which is too much")
class ReturnedAHundredthAdded(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W_dec / (W_dec.norm(dim=-1, keepdim=True) + 1e-3)


@mutant("2.2", says="A row of zeros stays zero, but its gradient is NaN or infinite, and")
class NaNSetToZeroAfterwards(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return (W_dec / W_dec.norm(dim=-1, keepdim=True)).nan_to_num()


@mutant("2.2", says="The values are right, but the gradient is that of a division by a")
class LengthWithoutAGradient(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W_dec / W_dec.norm(dim=-1, keepdim=True).detach().clamp(min=1e-8)


@mutant("2.2", says="`W_dec` after `normalize_decoder` is right for `n_instances` 0, and")
class ProjectsTheFirstInstance(_Both):
    @torch.no_grad()
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec[0] = F.normalize(self.W_dec[0], dim=-1)


@mutant("2.2", says="`normalize_and_return_W_dec` changed `W_dec`")
class ProjectsAndReturns(_Both):
    def normalize_and_return_W_dec(self):
        self.normalize_decoder()
        return F.normalize(self.W_enc.mT, dim=-1) if self.cfg.tied_weights else self.W_dec


@variant("2.2")
class RowByRow(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        rows = [r / r.norm() if r.any() else r * 1.0 for r in W_dec.flatten(0, 1)]
        return torch.stack(rows).reshape(W_dec.shape)

    @torch.no_grad()
    def normalize_decoder(self):
        if hasattr(self, "W_dec"):
            self.W_dec.data = self.W_dec.data / self.W_dec.data.norm(dim=2, keepdim=True).clamp_min(1e-12)


@mutant("2.2", says="`W_dec` after `normalize_decoder` is right for `n_hidden_ae` 0, 1,")
class OneRowOnly(_Both):
    @torch.no_grad()
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec[:, :2] = F.normalize(self.W_dec[:, :2], dim=-1)


@mutant("2.2", says="A row of zeros does not stay zero in `normalize_and_return_W_dec`")
class ZeroRowRandom(_Both):
    def normalize_and_return_W_dec(self):
        W = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        n = W.norm(dim=-1, keepdim=True)
        return torch.where(n > 0, W / n.clamp(min=1e-08), torch.ones_like(W))


@mutant("2.2", says="the absolute value is taken")
class AbsRows(_Both):
    def normalize_and_return_W_dec(self):
        return super().normalize_and_return_W_dec().abs()


@mutant("2.2", says="No gradient flows from `normalize_and_return_W_dec` back to `W_dec`")
class DataInReturned(_Both):
    def normalize_and_return_W_dec(self):
        return F.normalize((self.W_enc.mT if self.cfg.tied_weights else self.W_dec).data, dim=-1)


@mutant("2.2", says="`W_dec` takes gradients, so it can be changed in place only under")
class NoGradForgotten(_Both):
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec /= self.W_dec.norm(dim=-1, keepdim=True)


@mutant("2.2", says="The decoder that `normalize_and_return_W_dec` returns is everywhere 2")
class LengthTwo(_Both):
    def normalize_and_return_W_dec(self):
        return 2 * super().normalize_and_return_W_dec()


@variant("2.2")
class WithClampAndData(AutoEncoder):
    def normalize_and_return_W_dec(self):
        W = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W / W.norm(dim=-1, keepdim=True).clamp(min=1e-12)

    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec.data /= self.W_dec.data.norm(dim=-1, keepdim=True).clamp(min=1e-12)


@variant("2.2")
class SquaresAndRsqrt(AutoEncoder):
    def normalize_and_return_W_dec(self):
        W = einops.rearrange(self.W_enc, "n i h -> n h i") if self.cfg.tied_weights else self.W_dec
        return W * torch.rsqrt(W.square().sum(-1, keepdim=True) + 1e-20)

    @torch.no_grad()
    def normalize_decoder(self):
        if self.cfg.tied_weights:
            return
        for i in range(self.cfg.n_instances):
            self.W_dec[i] = self.normalize_and_return_W_dec()[i]


@mutant("2.2", says="Rows that are shorter than 0.001")
class ReturnedWithALargeClamp(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W_dec / W_dec.norm(dim=-1, keepdim=True).clamp_min(1e-3)


@mutant("2.2", says="Rows that are shorter than 0.001 do not get unit length in `normalize_decoder`")
class ProjectedWithALargeClamp(_Both):
    @torch.no_grad()
    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec /= self.W_dec.norm(dim=-1, keepdim=True).clamp_min(1e-3)


@mutant("2.2", says="something is kept from an earlier call")
class WorkedOutOnce(_Both):
    def normalize_and_return_W_dec(self):
        if not hasattr(self, "kept"):
            self.kept = super().normalize_and_return_W_dec()
        return self.kept


@mutant("2.2", says="LayerNorm is taken")
class LayerNormed(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return F.layer_norm(W_dec, W_dec.shape[-1:])


@mutant("2.2", says="(RMSNorm)")
class MeanSquareOfOne(_Both):
    def normalize_and_return_W_dec(self):
        return super().normalize_and_return_W_dec() * self.cfg.n_input_ae**0.5


@mutant("2.2", says="your axes are `n_hidden_ae n_input_ae n_instances`")
class AllAxesReversed(_Both):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.permute(2, 1, 0) if self.cfg.tied_weights else self.W_dec
        return W_dec / W_dec.norm(dim=-1, keepdim=True).clamp_min(1e-8)
