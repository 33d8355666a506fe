"""Answers to exercise 1.3: `ToyModel.calculate_loss`."""

import einops
import torch
import torch.nn.functional as F

from tests.mutants import equivalent, mutant, variant


@mutant("1.3", says="instances are averaged instead of summed")
def mean_over_instances(self, out, batch):
    return (self.importance * (out - batch) ** 2).mean()


@mutant("1.3", says="features are summed over")
def sum_over_features(self, out, batch):
    return (self.importance * (out - batch) ** 2).sum(dim=(1, 2)).mean()


@mutant("1.3", says="batch is summed over")
def sum_over_batch(self, out, batch):
    return (self.importance * (out - batch) ** 2).mean(dim=2).sum()


@mutant("1.3", says="batch is summed over instead of averaged and the features are summed over")
def sum_of_everything(self, out, batch):
    return (self.importance * (out - batch) ** 2).sum()


@mutant("1.3", says="importance is left out")
def importance_ignored(self, out, batch):
    return einops.reduce((out - batch) ** 2, "b i f -> i", "mean").sum()


@mutant("1.3", says="importance is squared")
def importance_squared(self, out, batch):
    return einops.reduce((self.importance * (out - batch)) ** 2, "b i f -> i", "mean").sum()


@mutant("1.3", says="importances of instance 0")
def importance_of_first_instance(self, out, batch):
    return einops.reduce(self.importance[0] * (out - batch) ** 2, "b i f -> i", "mean").sum()


@mutant("1.3", says="importance of feature 0")
def importance_of_first_feature(self, out, batch):
    per_instance = ((out - batch) ** 2).mean(dim=(0, 2))
    return (self.importance[:, 0] * per_instance).sum()


@mutant("1.3", says="averaged over features")
def importance_on_the_instances(self, out, batch):
    per_instance = ((out - batch) ** 2).mean(dim=(0, 2))
    return (self.importance.mean(dim=1) * per_instance).sum()


@mutant("1.3", says="no gradient")
def loss_detached(self, out, batch):
    return einops.reduce(self.importance * (out.detach() - batch) ** 2, "b i f -> i", "mean").sum()


@mutant("1.3", says="leave off `.item()`")
def loss_as_number(self, out, batch):
    return einops.reduce(self.importance * (out - batch) ** 2, "b i f -> i", "mean").sum().item()


@mutant("1.3", says="not squared")
def error_not_squared(self, out, batch):
    return einops.reduce(self.importance * (out - batch), "b i f -> i", "mean").sum()


@mutant("1.3", says="absolute error")
def absolute_error(self, out, batch):
    return (self.importance * (out - batch).abs()).mean(dim=(0, 2)).sum()


@mutant("1.3", says="not added up")
def one_loss_per_instance(self, out, batch):
    return (self.importance * (out - batch) ** 2).mean(dim=(0, 2))


@mutant("1.3", says="nothing is reduced")
def loss_not_reduced(self, out, batch):
    return self.importance * (out - batch) ** 2


@mutant("1.3", says="root of the loss")
def rooted(self, out, batch):
    return (self.importance * (out - batch) ** 2).mean(dim=(0, 2)).sum().sqrt()


@mutant("1.3", says="sum of the importances")
def weighted_average(self, out, batch):
    weighted = (self.importance * (out - batch) ** 2).sum(2) / self.importance.sum(1)
    return weighted.mean(0).sum()


@mutant("1.3", says="importance is left out and the instances are averaged")
def plain_mse(self, out, batch):
    return F.mse_loss(out, batch)


@variant("1.3")
def explicit_sums(self, out, batch):
    b, _, f = out.shape
    return ((out - batch).pow(2) * self.importance).sum() / (b * f)


@variant("1.3")
def mean_times_instances(self, out, batch):
    return self.cfg.n_instances * torch.mean(self.importance * (batch - out).square())


@variant("1.3")
def loop_over_instance_losses(self, out, batch):
    loss = torch.zeros((), dtype=torch.float64)
    for i in range(self.cfg.n_instances):
        loss = loss + (self.importance[i] * F.mse_loss(out[:, i], batch[:, i], reduction="none")).mean()
    return loss


@variant("1.3")
def einsum_of_errors(self, out, batch):
    error = out - batch
    return torch.einsum("if,bif,bif->i", self.importance, error, error).sum() / error[:, 0].numel()


@variant("1.3")
def root_of_importance_inside(self, out, batch):
    root = self.importance.sqrt()
    return F.mse_loss(root * out, root * batch, reduction="sum") / (out.shape[0] * out.shape[2])


@variant("1.3")
def one_mean_after_the_other(self, out, batch):
    per_feature = torch.mean(torch.pow(batch - out, 2), dim=0)
    return torch.sum(torch.mean(self.importance * per_feature, dim=-1))


equivalent("1.3", "the difference is squared", "out - batch -> batch - out")


@mutant("1.3", says="it is divided by the sum of the importances")
def divided_by_the_sum_of_importance(self, out, batch):
    weighted = (self.importance * (out - batch) ** 2).sum(dim=-1) / self.importance.sum(dim=-1)
    return weighted.mean(dim=0).sum()


@mutant("1.3", says="the importance is averaged over everything")
def importance_after_the_mean(self, out, batch):
    return F.mse_loss(out, batch) * self.importance.mean() * out.shape[1]


@mutant("1.3", says="the root of each instance's loss is taken")
def root_mean_square(self, out, batch):
    return (self.importance * (out - batch) ** 2).mean(dim=(0, 2)).sqrt().sum()


@mutant("1.3", says="the error is halved")
def half_of_it(self, out, batch):
    return 0.5 * (self.importance * (out - batch) ** 2).mean(dim=(0, 2)).sum()


@mutant("1.3", says="the importances of instance 0 are used for every instance")
def importance_of_the_first_instance(self, out, batch):
    return (self.importance[0] * (out - batch) ** 2).mean(dim=(0, 2)).sum()


@mutant("1.3", says="only features that are present in `batch` count")
def present_features_only(self, out, batch):
    return (self.importance * (out - batch) ** 2 * (batch != 0)).mean(dim=(0, 2)).sum()


@mutant("1.3", says="the root of the importance is taken")
def root_of_the_importance(self, out, batch):
    return (self.importance.sqrt() * (out - batch) ** 2).mean(dim=(0, 2)).sum()


@mutant("1.3", says="the sum over the batch is divided by one less than its size")
def one_less_than_the_batch(self, out, batch):
    error = (self.importance * (out - batch) ** 2).sum(dim=0) / (len(batch) - 1)
    return error.mean(dim=1).sum()


@mutant("1.3", says="only the largest error of the features counts")
def largest_error_of_the_features(self, out, batch):
    return (self.importance * (out - batch) ** 2).amax(dim=2).mean(dim=0).sum()


@variant("1.3")
def instance_by_instance(self, out, batch):
    losses = [
        F.mse_loss(w.sqrt() * x, w.sqrt() * y)
        for w, x, y in zip(self.importance, out.unbind(1), batch.unbind(1), strict=False)
    ]
    return sum(losses)


@variant("1.3")
def one_einsum(self, out, batch):
    d = out - batch
    return torch.einsum("bif,bif,if->", d, d, self.importance) / (d.shape[0] * d.shape[2])


@mutant("1.3", says="The loss is 2 times what it should be")
def times_batch(self, out, batch):
    return (self.importance * (out - batch) ** 2).mean((0, 2)).sum() * 2


@mutant("1.3", says="the importance is multiplied with `out`, not with the error")
def importance_on_out(self, out, batch):
    return ((self.importance * out - batch) ** 2).mean((0, 2)).sum()


@mutant("1.3", says="the importance is added to the error instead of multiplied")
def importance_plus(self, out, batch):
    return (self.importance + (out - batch) ** 2).mean((0, 2)).sum()


@mutant("1.3", says="`smooth_l1_loss` is taken, which is no square for large errors")
def smooth_l1(self, out, batch):
    return (self.importance * F.smooth_l1_loss(out, batch, reduction="none")).mean((0, 2)).sum()


@mutant("1.3", says="only instance 0 counts")
def first_instance_loss(self, out, batch):
    return (self.importance * (out - batch) ** 2)[:, 0].mean()


@mutant("1.3", says="an axis of size 1 is added in front")
def keepdim_one(self, out, batch):
    return (self.importance * (out - batch) ** 2).mean((0, 2)).sum(dim=0, keepdim=True)


@variant("1.3")
def vector_dot(self, out, batch):
    w = self.importance.flatten()
    d = (out - batch).flatten(1)
    return (d.square() @ w).sum() / (out.shape[0] * out.shape[2])


@variant("1.3")
def mse_times(self, out, batch):
    return out.shape[1] * F.mse_loss(out * self.importance.sqrt(), batch * self.importance.sqrt())


@mutant("1.3", says="the model is run once more")
def runs_the_model(self, out, batch):
    return (self.importance * (self(batch) - batch) ** 2).mean((0, 2)).sum()


@mutant("1.3", says="something else is added to it")
def with_weight_decay(self, out, batch):
    return (self.importance * (out - batch) ** 2).mean((0, 2)).sum() + 1e-3 * self.W.pow(2).sum()


@mutant("1.3", says="the variance of the error is taken")
def variance_of_the_error(self, out, batch):
    return (self.importance * (out - batch).var(0, unbiased=False)).mean(-1).sum()


@mutant("1.3", says="averaged over the batch before they are squared")
def square_of_the_mean(self, out, batch):
    return (self.importance * (out - batch).mean(0) ** 2).mean(-1).sum()


@mutant("1.3", says="`features` is reversed in `importance`")
def importance_reversed(self, out, batch):
    return (self.importance.flip(1) * (out - batch) ** 2).mean((0, 2)).sum()


@mutant("1.3", says="a relative error")
def relative_error(self, out, batch):
    return (self.importance * (out - batch) ** 2).mean((0, 2)).sum() / batch.pow(2).mean()


@mutant("1.3", says="only errors where `out` is too large count")
def only_too_large(self, out, batch):
    return (self.importance * (out - batch).relu() ** 2).mean((0, 2)).sum()


@mutant("1.3", says="added up before they are squared")
def sum_then_square(self, out, batch):
    return (self.importance * (out - batch)).sum(-1).pow(2).mean(0).sum()


@mutant("1.3", says="a batch size of 1024")
def fixed_batch_size(self, out, batch):
    return (self.importance * (out - batch) ** 2).sum() / (1024 * self.cfg.n_features)


@mutant("1.3", says="itself (in place)")
def error_in_place(self, out, batch):
    out -= batch
    return (self.importance * out**2).mean((0, 2)).sum()


@mutant("1.3", says="averaged before they are weighted")
def mean_error_times_importance(self, out, batch):
    return (F.mse_loss(out, batch) * self.importance).sum()


@mutant("1.3", says="averaged before they are weighted")
def mean_error_of_an_instance_times_importance(self, out, batch):
    return ((out - batch).square().mean((0, 2)) @ self.importance).sum()


@mutant("1.3", says="divided by 5 features, whatever their number")
def five_features(self, out, batch):
    return (self.importance * (out - batch) ** 2).sum() / (len(out) * 5)
