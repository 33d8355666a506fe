"""Answers to exercise 1.8: `NeuronComputationModel`."""

import einops
import torch
import torch.nn.functional as F
from torch import nn

from part_utils.toy_model import NeuronComputationModel, NeuronModel, ToyModel
from tests.mutants import equivalent, mutant, variant
from tests.mutants.chapter_01.shared import shape_of


class _Computation(NeuronComputationModel):
    """The right answer in a learner's words, as the base of wrong ones."""


@mutant("1.8", says="No value is negative")
class DataOfTheToyModel(_Computation):
    def generate_batch(self, batch_size):
        return ToyModel.generate_batch(self, batch_size)


@mutant("1.8", says="the input itself instead of its absolute value")
class LossWithoutAbsolute(_Computation):
    def calculate_loss(self, out, batch):
        return ToyModel.calculate_loss(self, out, batch)


@mutant("1.8", says="tied weights")
class TiedWeights(_Computation):
    def forward(self, features):
        hidden = torch.relu(torch.einsum("bif,ihf->bih", features, self.W1))
        return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W1) + self.b_final)


@mutant("1.8", says="reshaped")
class SecondMatrixReshaped(_Computation):
    def forward(self, features):
        hidden = torch.relu(torch.einsum("bif,ihf->bih", features, self.W1))
        return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W2.reshape(self.W1.shape)) + self.b_final)


@mutant("1.8", says="ReLU on the hidden layer is missing")
class NoInnerRelu(_Computation):
    def forward(self, features):
        hidden = torch.einsum("bif,ihf->bih", features, self.W1)
        return torch.relu(torch.einsum("bih,ifh->bif", hidden, self.W2) + self.b_final)


@mutant("1.8", says="ReLU at the end is missing")
class NoOuterRelu(_Computation):
    def forward(self, features):
        hidden = torch.relu(torch.einsum("bif,ihf->bih", features, self.W1))
        return torch.einsum("bih,ifh->bif", hidden, self.W2) + self.b_final


@mutant("1.8", says="`b_final` is left out")
class NoBias(_Computation):
    def forward(self, features):
        hidden = torch.relu(torch.einsum("bif,ihf->bih", features, self.W1))
        return torch.relu(torch.einsum("bih,ifh->bif", hidden, self.W2))


@mutant("1.8", says="has no attribute 'W'")
class OldMatrix(_Computation):
    def forward(self, features):
        return NeuronModel.forward(self, features)


@mutant("1.8", says="Different features are not independent in their sign")
class OneSignPerElement(_Computation):
    def generate_batch(self, batch_size):
        batch = ToyModel.generate_batch(self, batch_size)
        sign = torch.randint(0, 2, (batch_size, self.cfg.n_instances, 1)) * 2 - 1
        return sign * batch


@mutant("1.8", says="exactly 1 or -1")
class SignsOnly(_Computation):
    def generate_batch(self, batch_size):
        return torch.sign(super().generate_batch(batch_size))


@mutant("1.8", says="do not lie evenly between -1 and 1")
class ShiftedData(_Computation):
    def generate_batch(self, batch_size):
        batch = super().generate_batch(batch_size)
        return batch / 2


@mutant("1.8", says="absent feature is -1 instead of 0")
class ZeroesShifted(_Computation):
    def generate_batch(self, batch_size):
        return 2 * ToyModel.generate_batch(self, batch_size) - 1


@mutant("1.8", says="below -1")
class NormalData(_Computation):
    def generate_batch(self, batch_size):
        batch = torch.randn(batch_size, self.cfg.n_instances, self.cfg.n_features)
        return batch * (torch.rand(batch.shape) < self.feature_probability)


@mutant("1.8", says="present features that would be negative are set to 0")
class NegativeCutOff(_Computation):
    def generate_batch(self, batch_size):
        batch = super().generate_batch(batch_size)
        return torch.where(torch.rand_like(batch) < 0.999, batch.relu(), -batch.relu())


@mutant("1.8", says="importance is left out")
class LossWithoutImportance(_Computation):
    def calculate_loss(self, out, batch):
        return ((out - batch.abs()) ** 2).mean(dim=(0, 2)).sum()


@mutant("1.8", says="of the output too")
class AbsoluteOnBothSides(_Computation):
    def calculate_loss(self, out, batch):
        return ToyModel.calculate_loss(self, out.abs(), batch.abs())


@mutant("1.8", says="instances are averaged")
class LossAveragedOverInstances(_Computation):
    def calculate_loss(self, out, batch):
        return (self.importance * (out - batch.abs()) ** 2).mean()


@mutant("1.8", says="ReLU instead of the absolute value")
class LossWithRelu(_Computation):
    def calculate_loss(self, out, batch):
        return super().calculate_loss(out, batch.relu())


@mutant("1.8", says="no gradient")
class LossDetached(_Computation):
    def calculate_loss(self, out, batch):
        return super().calculate_loss(out.data, batch)


@variant("1.8")
class WrittenOut(NeuronComputationModel):
    def forward(self, features):
        hidden = F.relu(einops.einsum(features, self.W1, "b i f, i h f -> b i h"))
        return F.relu(einops.einsum(hidden, self.W2, "b i h, i f h -> b i f") + self.b_final)

    def generate_batch(self, batch_size):
        values = 2 * torch.rand(shape_of(self, batch_size)) - 1
        return values * (torch.rand(values.shape) < self.feature_probability)

    def calculate_loss(self, out, batch):
        return (self.importance * (out - torch.abs(batch)) ** 2).mean(dim=(0, 2)).sum()


@variant("1.8")
class SignsTurned(NeuronComputationModel):
    def forward(self, features):
        hidden = (self.W1 @ features.unsqueeze(-1)).relu()
        return ((self.W2 @ hidden).squeeze(-1) + self.b_final).relu()

    def generate_batch(self, batch_size):
        batch = ToyModel.generate_batch(self, batch_size)
        signs = torch.randint(0, 2, batch.shape) * 2 - 1
        return batch * signs

    def calculate_loss(self, out, batch):
        return ToyModel.calculate_loss(self, out, batch.clone().abs_())


@variant("1.8")
class EvenInDoublePrecision(NeuronComputationModel):
    def generate_batch(self, batch_size):
        batch = torch.empty(shape_of(self, batch_size), dtype=torch.float64).uniform_(-1, 1)
        batch[torch.rand(batch.shape) >= self.feature_probability] = 0
        return batch


@variant("1.8")
class LoopsAndDistributions(NeuronComputationModel):
    def forward(self, features):
        hidden = torch.baddbmm(torch.zeros(()), self.W1, features.permute(1, 2, 0)).clamp_min_(0)
        out = torch.baddbmm(self.b_final.unsqueeze(-1), self.W2, hidden)
        return F.relu(out, inplace=True).permute(2, 0, 1)

    def generate_batch(self, batch_size):
        present = torch.distributions.Bernoulli(self.feature_probability).sample((batch_size,)).bool()
        values = torch.distributions.Uniform(-1.0, 1.0).sample(present.shape)
        return values.masked_fill(~present, 0.0)

    def calculate_loss(self, out, batch):
        target = torch.where(batch < 0, -batch, batch).double()
        losses = [
            F.mse_loss(out[:, i].double(), target[:, i], reduction="none").mean(dim=0) @ importance
            for i, importance in enumerate(self.importance.double())
        ]
        return sum(losses) / out.shape[-1]


equivalent(
    "1.8",
    "a random number that is exactly a half comes once in 2^24 draws",
    "torch.rand_like(features) < 0.5 -> torch.rand_like(features) <= 0.5",
)
equivalent(
    "1.8",
    "each sign has a probability of one half",
    "torch.rand_like(features) < 0.5 -> torch.rand_like(features) > 0.5",
    "torch.where(features <-> -features)",
)
equivalent("1.8", "the difference is squared", "super().calculate_loss(out <-> batch.abs())")


@mutant("1.8", says="the output is compared with the input itself instead of its absolute")
class LossMadeAbsolute(NeuronComputationModel):
    def calculate_loss(self, out, batch):
        return ToyModel.calculate_loss(self, out, batch).abs()


@mutant("1.8", says="the input goes through a ReLU instead of the absolute value")
class NegativeInputsAreZero(NeuronComputationModel):
    def calculate_loss(self, out, batch):
        return ToyModel.calculate_loss(self, out, batch.relu())


@mutant("1.8", says="the input is squared instead of its absolute value taken")
class SquareForAbsolute(NeuronComputationModel):
    def calculate_loss(self, out, batch):
        return ToyModel.calculate_loss(self, out, batch.square())


@mutant("1.8", says="Present values do not lie evenly between -1 and 1")
class HalfAsWide(NeuronComputationModel):
    def generate_batch(self, batch_size):
        p = self.feature_probability
        return (torch.rand(batch_size, *p.shape) - 0.5) * (torch.rand(batch_size, *p.shape) < p)


@mutant("1.8", says="between -1 and 1")
class OneSignForTheBatch(NeuronComputationModel):
    def generate_batch(self, batch_size):
        sign = 1 if torch.rand(()) < 0.5 else -1
        return sign * ToyModel.generate_batch(self, batch_size)


@mutant("1.8", says="Different features and instances are not independent in their sign")
class SignOfTheRow(NeuronComputationModel):
    def generate_batch(self, batch_size):
        sign = torch.rand(batch_size, 1, 1).sub(0.5).sign()
        return sign * ToyModel.generate_batch(self, batch_size)


@mutant("1.8", says="An absent feature is -1 instead of 0")
class ShiftedAbsentOnes(NeuronComputationModel):
    def generate_batch(self, batch_size):
        return 2 * ToyModel.generate_batch(self, batch_size) - 1


@mutant("1.8", says="the bias of instance 0 is used for every instance")
class BiasOfTheFirstInstance(NeuronComputationModel):
    def forward(self, features):
        hidden = torch.einsum("bif,ihf->bih", features, self.W1).relu()
        return torch.relu(torch.einsum("bih,ifh->bif", hidden, self.W2) + self.b_final[0])


@mutant("1.8", says="the absolute value of `features` is taken")
class AbsoluteInForward(NeuronComputationModel):
    def forward(self, features):
        return NeuronComputationModel.forward(self, features.abs())


@mutant("1.8", says="There is a `W` besides `W1` and `W2`")
class KeepsW(NeuronComputationModel):
    def __init__(self, cfg, feature_probability=None, importance=None, device=None):
        super().__init__(cfg, feature_probability, importance, device)
        self.W = nn.Parameter(torch.randn_like(self.W1))


@variant("1.8")
class SignsDrawnSeparately(NeuronComputationModel):
    def forward(self, features):
        hidden = torch.relu(self.W1 @ features[..., None])
        return torch.relu((self.W2 @ hidden)[..., 0] + self.b_final)

    def generate_batch(self, batch_size):
        x = ToyModel.generate_batch(self, batch_size)
        return x * (1 - 2 * torch.bernoulli(torch.full_like(x, 0.5)))

    def calculate_loss(self, out, batch):
        return (
            (self.importance * (out - torch.where(batch < 0, -batch, batch)) ** 2)
            .mean(dim=2)
            .mean(dim=0)
            .sum()
        )


@mutant("1.8", says="both are squared before they are compared")
class LossSquaredTwice(NeuronComputationModel):
    def calculate_loss(self, out, batch):
        return (self.importance * (out**2 - batch**2) ** 2).mean((0, 2)).sum()


@mutant("1.8", says="Present values do not lie evenly between -1 and 1")
class NormalValues(NeuronComputationModel):
    def generate_batch(self, batch_size):
        p = self.feature_probability
        return torch.randn(batch_size, *p.shape).clamp(-1, 1) * (torch.rand(batch_size, *p.shape) < p)


@mutant("1.8", says="No gradient reaches `W2`")
class DetachW2(NeuronComputationModel):
    def forward(self, features):
        h = torch.einsum("bif,ihf->bih", features, self.W1).relu()
        return torch.relu(torch.einsum("bih,ifh->bif", h, self.W2.detach()) + self.b_final)


@variant("1.8")
class UniformAndMask(NeuronComputationModel):
    def generate_batch(self, batch_size):
        p = self.feature_probability
        return torch.empty(batch_size, *p.shape).uniform_(-1, 1) * torch.bernoulli(
            p.expand(batch_size, *p.shape)
        )

    def calculate_loss(self, out, batch):
        return ToyModel.calculate_loss(self, out, torch.sqrt(batch**2))


@mutant("1.8", says="No value is positive")
class OnlyNegative(_Computation):
    def generate_batch(self, batch_size):
        return -ToyModel.generate_batch(self, batch_size)


@mutant("1.8", says="the same sign in the whole batch")
class EachFeatureHasItsSign(_Computation):
    def generate_batch(self, batch_size):
        x = ToyModel.generate_batch(self, batch_size)
        return x * torch.randn(x.shape[1:]).sign()


@mutant("1.8", says="how large a value is decides about its sign")
class SignOfTheSize(_Computation):
    def generate_batch(self, batch_size):
        x = ToyModel.generate_batch(self, batch_size)
        return torch.where(x > 0.5, x, -x)


@mutant("1.8", says="between -0.5 and 0.5 only")
class HalfTheRange(_Computation):
    def generate_batch(self, batch_size):
        x = ToyModel.generate_batch(self, batch_size)
        return torch.where(x != 0, x - 0.5, 0)


@mutant("1.8", says="they are drawn twice, and present where either draw says so")
class DifferenceOfTwo(_Computation):
    def generate_batch(self, batch_size):
        return ToyModel.generate_batch(self, batch_size) - ToyModel.generate_batch(self, batch_size)


@mutant("1.8", says="Two calls share their signs")
class SignsAreKept(_Computation):
    def generate_batch(self, batch_size):
        x = ToyModel.generate_batch(self, batch_size)
        if getattr(self, "signs", torch.zeros(0)).shape != x.shape:
            self.signs = torch.randn_like(x).sign()
        return x * self.signs


@mutant("1.8", says="the answer itself is returned")
class ReturnsTheAnswer(_Computation):
    def forward(self, features):
        return features.abs() + 0 * super().forward(features)


@mutant("1.8", says="itself (in place)")
class TargetInPlace(_Computation):
    def calculate_loss(self, out, batch):
        return super().calculate_loss(out, batch.abs_())


@mutant("1.8", says="itself (in place)")
class InputInPlace(_Computation):
    def forward(self, features):
        features *= 2
        hidden = torch.relu(torch.einsum("bif,ihf->bih", features, self.W1))
        return torch.relu(torch.einsum("bih,ifh->bif", hidden, self.W2) / 2 + self.b_final)


@mutant("1.8", says="of the output too, and the error is not squared")
class AbsoluteEverywhere(_Computation):
    def calculate_loss(self, out, batch):
        return (self.importance * (out.abs() - batch.abs()).abs()).mean(dim=(0, 2)).sum()


@mutant("1.8", says="lie between -0.5 and 0.5, and half should")
class ManySmallValues(_Computation):
    def generate_batch(self, batch_size):
        features = ToyModel.generate_batch(self, batch_size)
        return features * torch.randn_like(features).clamp(-1, 1)


@mutant("1.8", says="they lie between -0.8 and 0.8 only")
class NeverLarge(_Computation):
    def generate_batch(self, batch_size):
        features = 0.8 * ToyModel.generate_batch(self, batch_size)
        return torch.where(torch.rand_like(features) < 0.5, features, -features)
