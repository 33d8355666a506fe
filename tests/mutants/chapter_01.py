"""Answers to the exercises of chapter 1: toy models of superposition."""

import einops
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from part_utils.toy_model import NeuronComputationModel, NeuronModel, ToyModel
from tests.mutants import mutant, variant

# 1.1 ToyModel.forward(self, features)


def _hidden(self, features):
    return torch.einsum("bif,ihf->bih", features, self.W)


def _back(self, hidden):
    return torch.einsum("bih,ihf->bif", hidden, self.W)


@mutant("1.1", says="`b_final` is left out")
def bias_omitted(self, features):
    return torch.relu(_back(self, _hidden(self, features)))


@mutant("1.1", says="subtracted instead of added")
def bias_subtracted(self, features):
    return torch.relu(_back(self, _hidden(self, features)) - self.b_final)


@mutant("1.1", says="after the ReLU instead of before")
def bias_after_relu(self, features):
    return torch.relu(_back(self, _hidden(self, features))) + self.b_final


@mutant("1.1", says="ReLU at the end is missing")
def no_relu(self, features):
    return _back(self, _hidden(self, features)) + self.b_final


@mutant("1.1", says="applied to the hidden layer")
def relu_on_hidden_too(self, features):
    return torch.relu(_back(self, torch.relu(_hidden(self, features))) + self.b_final)


@mutant("1.1", says="applied to the hidden layer")
def relu_on_hidden_only(self, features):
    return _back(self, F.relu(_hidden(self, features))) + self.b_final


@mutant("1.1", says="instances are mixed")
def instances_mixed(self, features):
    hidden = torch.einsum("bif,jhf->bih", features, self.W)
    return torch.relu(torch.einsum("bih,jhf->bif", hidden, self.W) + self.b_final)


@mutant("1.1", says="matrix of instance 0")
def first_instance_for_all(self, features):
    return torch.relu(features @ self.W[0].T @ self.W[0] + self.b_final)


@mutant("1.1", says="bias of instance 0")
def bias_of_first_instance(self, features):
    return torch.relu(_back(self, _hidden(self, features)) + self.b_final[0])


@mutant("1.1", says="reshaped instead of transposed")
def reshaped_for_the_way_back(self, features):
    hidden = _hidden(self, features)
    W_back = self.W.reshape(self.W.shape[0], self.W.shape[2], self.W.shape[1])
    return torch.relu(torch.einsum("bih,ifh->bif", hidden, W_back) + self.b_final)


@mutant("1.1", says="only the hidden layer is returned")
def hidden_returned(self, features):
    return _hidden(self, features)


@mutant("1.1", says="`instances batch features`")
def axes_of_bmm_left(self, features):
    hidden = torch.bmm(features.transpose(0, 1), self.W.mT)
    return torch.relu(torch.bmm(hidden, self.W) + self.b_final[:, None])


@mutant("1.1", says="No gradient reaches `W`")
def weights_without_gradient(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W.data)
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W.data) + self.b_final)


@mutant("1.1", says="cut off from what it was computed from")
def under_no_grad(self, features):
    with torch.no_grad():
        return torch.relu(_back(self, _hidden(self, features)) + self.b_final)


@mutant("1.1", says="gradient with respect to `W`")
def hidden_detached(self, features):
    hidden = _hidden(self, features).detach()
    return torch.relu(_back(self, hidden) + self.b_final)


@mutant("1.1", says="sigmoid")
def sigmoid_instead_of_relu(self, features):
    return torch.sigmoid(_back(self, _hidden(self, features)) + self.b_final)


@mutant("1.1", says="axis of size 1 is lost")
def squeezed(self, features):
    return torch.relu(_back(self, _hidden(self, features)) + self.b_final).squeeze()


@mutant("1.1", says="`b_final` is left out and the ReLU at the end is missing")
def two_mistakes_at_once(self, features):
    return _back(self, _hidden(self, features))


@mutant("1.1", says="has no attribute 'b'")
def wrong_name_of_the_bias(self, features):
    return torch.relu(_back(self, _hidden(self, features)) + self.b)


@variant("1.1")
def gram_first(self, features):
    return F.relu(einops.einsum(features, self.W.mT @ self.W, "b i f, i f g -> b i g") + self.b_final)


@variant("1.1")
def with_bmm(self, features):
    hidden = torch.bmm(features.transpose(0, 1), self.W.transpose(1, 2))
    return torch.baddbmm(self.b_final[:, None], hidden, self.W).clamp(min=0).transpose(0, 1)


@variant("1.1")
def loop_over_instances(self, features):
    outs = []
    for i in range(self.cfg.n_instances):
        hidden = features[:, i] @ self.W[i].T
        outs.append(nn.functional.relu(hidden @ self.W[i] + self.b_final[i]))
    return torch.stack(outs, dim=1)


@variant("1.1")
def in_place_and_double(self, features):
    features = features.double()
    out = torch.matmul(self.W.double().mT, torch.matmul(self.W.double(), features.unsqueeze(-1))).squeeze(-1)
    out += self.b_final
    return out.relu_()


@variant("1.1")
def maximum_with_zero(self, features):
    out = _back(self, _hidden(self, features)) + einops.repeat(self.b_final, "i f -> b i f", b=len(features))
    return torch.maximum(out, torch.zeros_like(out))


@variant("1.1")
def linear_layers_into_a_buffer(self, features):
    out = torch.empty_like(features)
    for i, (W, b) in enumerate(zip(self.W, self.b_final, strict=True)):
        out[:, i] = F.linear(F.linear(features[:, i], W), W.T, bias=b)
    return F.threshold(out, 0.0, 0.0)


@variant("1.1")
def row_vectors_and_clip(self, features):
    rows = features.unsqueeze(-2) @ self.W.transpose(-1, -2) @ self.W
    return torch.clip(torch.add(rows.squeeze(-2), self.b_final), min=0.0)


# 1.2 ToyModel.generate_batch(self, batch_size)


def _shape(self, batch_size):
    return batch_size, self.cfg.n_instances, self.cfg.n_features


@mutant("1.2", says="one draw decides both")
def one_draw_for_both(self, batch_size):
    draw = torch.rand(_shape(self, batch_size))
    return torch.where(draw < self.feature_probability, draw, 0.0)


@mutant("1.2", says="one draw decides both")
def one_draw_from_above(self, batch_size):
    draw = torch.rand(_shape(self, batch_size))
    return draw * (draw > 1 - self.feature_probability)


@mutant("1.2", says="multiplied with the probability")
def values_times_probability(self, batch_size):
    present = torch.rand(_shape(self, batch_size)) < self.feature_probability
    return present * torch.rand(_shape(self, batch_size)) * self.feature_probability


@mutant("1.2", says="exactly 1")
def values_of_one(self, batch_size):
    return (torch.rand(_shape(self, batch_size)) < self.feature_probability).float()


@mutant("1.2", says="Different features are not independent in their presence")
def mask_shared_over_features(self, batch_size):
    present = torch.rand(batch_size, self.cfg.n_instances, 1) < self.feature_probability
    return present * torch.rand(_shape(self, batch_size))


@mutant("1.2", says="Different instances are not independent in their presence")
def mask_shared_over_instances(self, batch_size):
    present = torch.rand(batch_size, 1, self.cfg.n_features) < self.feature_probability
    return present * torch.rand(_shape(self, batch_size))


@mutant("1.2", says="same features are present in every element of the batch")
def mask_shared_over_batch(self, batch_size):
    present = torch.rand(self.cfg.n_instances, self.cfg.n_features) < self.feature_probability
    return present * torch.rand(_shape(self, batch_size))


@mutant("1.2", says="Different features and instances are not independent")
def one_mask_per_element(self, batch_size):
    present = torch.rand(batch_size, 1, 1) < self.feature_probability
    return torch.where(present, torch.rand(_shape(self, batch_size)), 0.0)


@mutant("1.2", says="averaged over instances and features")
def mean_probability(self, batch_size):
    present = torch.rand(_shape(self, batch_size)) < self.feature_probability.mean()
    return present * torch.rand(_shape(self, batch_size))


@mutant("1.2", says="probability of feature 0")
def probability_of_first_feature(self, batch_size):
    present = torch.rand(_shape(self, batch_size)) < self.feature_probability[:, :1]
    return present * torch.rand(_shape(self, batch_size))


@mutant("1.2", says="probabilities of instance 0")
def probability_of_first_instance(self, batch_size):
    present = torch.rand(_shape(self, batch_size)) < self.feature_probability[0]
    return present * torch.rand(_shape(self, batch_size))


@mutant("1.2", says="Every feature is 0")
def all_zeros(self, batch_size):
    return torch.zeros(_shape(self, batch_size))


@mutant("1.2", says="inverted")
def probability_inverted(self, batch_size):
    present = torch.rand(_shape(self, batch_size)) > self.feature_probability
    return present * torch.rand(_shape(self, batch_size))


@mutant("1.2", says="probability is not used")
def always_present(self, batch_size):
    return torch.rand(_shape(self, batch_size))


@mutant("1.2", says="applied twice")
def masked_twice(self, batch_size):
    values = torch.rand(_shape(self, batch_size))
    for _ in range(2):
        values = values * torch.bernoulli(self.feature_probability.expand(_shape(self, batch_size)))
    return values


@mutant("1.2", says="values are shared between features")
def values_shared_over_features(self, batch_size):
    present = torch.rand(_shape(self, batch_size)) < self.feature_probability
    return present * torch.rand(batch_size, self.cfg.n_instances, 1)


@mutant("1.2", says="values are shared between instances")
def values_shared_over_instances(self, batch_size):
    present = torch.rand(_shape(self, batch_size)) < self.feature_probability
    return present * torch.rand(batch_size, 1, self.cfg.n_features)


@mutant("1.2", says="do not lie evenly between 0 and 1")
def values_shared_over_batch(self, batch_size):
    present = torch.rand(_shape(self, batch_size)) < self.feature_probability
    return present * torch.rand(self.cfg.n_instances, self.cfg.n_features)


@mutant("1.2", says="below 0")
def normal_values(self, batch_size):
    present = torch.rand(_shape(self, batch_size)) < self.feature_probability
    return present * torch.randn(_shape(self, batch_size))


@mutant("1.2", says="do not lie evenly")
def squared_values(self, batch_size):
    present = torch.rand(_shape(self, batch_size)) < self.feature_probability
    return present * torch.rand(_shape(self, batch_size)) ** 2


@mutant("1.2", says="very same batch")
def seeded_inside(self, batch_size):
    torch.manual_seed(0)
    present = torch.rand(_shape(self, batch_size)) < self.feature_probability
    return torch.where(present, torch.rand(_shape(self, batch_size)), 0.0)


@mutant("1.2", says="instances and features are exchanged")
def axes_exchanged(self, batch_size):
    present = torch.rand(_shape(self, batch_size)) < self.feature_probability
    return (present * torch.rand(_shape(self, batch_size))).transpose(1, 2)


@mutant("1.2", says="NaN")
def one_draw_divided_by_zero(self, batch_size):
    p = self.feature_probability
    draw = torch.rand(_shape(self, batch_size))
    return torch.relu(1 - torch.where(p > 0, draw, torch.zeros(())) / p)


@variant("1.2")
def with_where(self, batch_size):
    values, draw = torch.rand((2, *_shape(self, batch_size)))
    return torch.where(draw <= self.feature_probability, values, torch.zeros_like(values))


@variant("1.2")
def with_bernoulli(self, batch_size):
    values = torch.empty(_shape(self, batch_size)).uniform_()
    return values * torch.bernoulli(self.feature_probability.unsqueeze(0).expand_as(values))


@variant("1.2")
def multiplied_in_place(self, batch_size):
    batch = torch.rand(_shape(self, batch_size))
    batch *= torch.rand(_shape(self, batch_size)) > 1 - self.feature_probability
    return batch


@variant("1.2")
def masked_by_index(self, batch_size):
    batch = torch.rand(_shape(self, batch_size))
    batch[torch.rand_like(batch) >= self.feature_probability] = 0
    return batch


@variant("1.2")
def one_draw_rescaled(self, batch_size):
    p = self.feature_probability.clamp(min=1e-9)
    return torch.relu(1 - torch.rand(_shape(self, batch_size)) / p)


@variant("1.2")
def instance_by_instance_with_numpy(self, batch_size):
    p = self.feature_probability.numpy()
    rng = np.random.default_rng(np.random.randint(2**31))
    size = (batch_size, self.cfg.n_features)
    parts = [rng.random(size) * (rng.random(size) < p[i]) for i in range(self.cfg.n_instances)]
    return torch.tensor(np.stack(parts, axis=1))


@variant("1.2")
def with_distributions(self, batch_size):
    present = torch.distributions.Bernoulli(probs=self.feature_probability).sample((batch_size,))
    values = torch.distributions.Uniform(low=0.0, high=1.0).sample(present.shape)
    return present * values


@variant("1.2")
def column_by_column(self, batch_size):
    batch = torch.zeros(self.cfg.n_instances, self.cfg.n_features, batch_size, dtype=torch.float64)
    for i in range(self.cfg.n_instances):
        for f in range(self.cfg.n_features):
            present = torch.rand(batch_size) < self.feature_probability[i, f]
            batch[i, f, present] = torch.rand(int(present.sum()), dtype=torch.float64)
    return batch.permute(2, 0, 1)


# 1.3 ToyModel.calculate_loss(self, out, batch)


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


# 1.4 cosine_similarities(W)


@mutant("1.4", says="it is `W^T W`")
def unnormalized(W):
    return W.mT @ W


@mutant("1.4", says="hidden dimensions are compared")
def hidden_by_hidden(W):
    directions = W / W.norm(dim=1, keepdim=True)
    return directions @ directions.mT


@mutant("1.4", says="hidden dimensions are compared")
def rows_compared(W):
    directions = W / W.norm(dim=2, keepdim=True)
    return directions @ directions.mT


@mutant("1.4", says="gives NaN")
def nan_for_zero_feature(W):
    directions = W / W.norm(dim=1, keepdim=True)
    return directions.mT @ directions


@mutant("1.4", says="*rows* of `W`")
def norm_over_features(W):
    directions = F.normalize(W, dim=2)
    return directions.mT @ directions


@mutant("1.4", says="*rows* of `W`")
def default_axis_of_normalize_last(W):
    directions = F.normalize(W, dim=-1)
    return torch.einsum("ihf,ihg->ifg", directions, directions)


@mutant("1.4", says="one norm of all of `W`")
def one_norm_for_all(W):
    W = W / W.norm()
    return W.mT @ W


@mutant("1.4", says="*squared* length")
def divided_by_squared_length(W):
    W = W / (W**2).sum(dim=1, keepdim=True)
    return W.mT @ W


@mutant("1.4", says="only one of the two columns")
def one_side_only(W):
    return (W / W.norm(dim=1, keepdim=True)).mT @ W


@mutant("1.4", says="absolute value")
def absolute_cosine(W):
    directions = F.normalize(W, dim=1)
    return (directions.mT @ directions).abs()


@mutant("1.4", says="instance 0")
def first_instance_only(W):
    directions = F.normalize(W[0], dim=0)
    return (directions.T @ directions).expand(len(W), -1, -1)


@mutant("1.4", says="0.01 is added to the lengths")
def large_epsilon(W):
    directions = W / (W.norm(dim=1, keepdim=True) + 1e-2)
    return directions.mT @ directions


@mutant("1.4", says="diagonal is set to 0")
def diagonal_removed(W):
    directions = F.normalize(W, dim=1)
    return directions.mT @ directions * (1 - torch.eye(W.shape[-1]))


@variant("1.4")
def with_normalize(W):
    directions = F.normalize(W, dim=1)
    return directions.mT @ directions


@variant("1.4")
def epsilon_added(W):
    directions = W / (W.norm(dim=1, keepdim=True) + 1e-6)
    return einops.einsum(directions, directions, "i h f, i h g -> i f g")


@variant("1.4")
def with_cosine_similarity(W):
    return F.cosine_similarity(W.unsqueeze(-1), W.unsqueeze(-2), dim=1)


@variant("1.4")
def nan_replaced(W):
    gram = W.mT @ W
    lengths = gram.diagonal(dim1=1, dim2=2).sqrt()
    return torch.nan_to_num(gram / lengths[:, :, None] / lengths[:, None, :])


@variant("1.4")
def in_double_precision_and_loops(W):
    out = torch.zeros(len(W), W.shape[2], W.shape[2], dtype=torch.float64)
    for i in range(len(W)):
        for f in range(W.shape[2]):
            for g in range(W.shape[2]):
                a, b = W[i, :, f].double(), W[i, :, g].double()
                out[i, f, g] = a @ b / max(a.norm() * b.norm(), torch.tensor(1e-12))
    return out


@variant("1.4")
def divided_in_place(W):
    W /= torch.sqrt(torch.sum(W**2, dim=1, keepdim=True)).clamp(min=1e-10)
    return torch.bmm(W.transpose(1, 2), W)


@variant("1.4")
def masked_where_a_column_is_zero(W):
    lengths = torch.linalg.norm(W.double(), dim=1)
    table = torch.einsum("ihf,ihg->ifg", W.double(), W.double())
    products = lengths.unsqueeze(-1) * lengths.unsqueeze(-2)
    return torch.where(products > 0, table / products, torch.zeros_like(table)).float()


# 1.5 ToyModel.generate_correlated_features(self, batch_size, n_correlated_pairs)


def _pairs_shape(self, batch_size, pairs):
    return batch_size, self.cfg.n_instances, pairs


def _side_by_side(tensor):
    return einops.repeat(tensor, "b i pairs -> b i (pairs 2)")


@mutant("1.5", says="share one value")
def values_shared_in_pairs(self, batch_size, n_correlated_pairs):
    shape = _pairs_shape(self, batch_size, n_correlated_pairs)
    present = torch.rand(shape) < self.feature_probability[:, :1]
    return _side_by_side(torch.where(present, torch.rand(shape), 0.0))


@mutant("1.5", says="laid out as halves")
def laid_out_as_halves(self, batch_size, n_correlated_pairs):
    present = torch.rand(_pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[:, :1]
    present = torch.cat([present, present], dim=-1)
    return present * torch.rand(present.shape)


@mutant("1.5", says="laid out as halves")
def laid_out_as_halves_by_repeat(self, batch_size, n_correlated_pairs):
    present = torch.rand(_pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[:, :1]
    present = einops.repeat(present, "b i pairs -> b i (2 pairs)")
    return present * torch.rand(present.shape)


@mutant("1.5", says="draw of its own for its presence")
def drawn_independently(self, batch_size, n_correlated_pairs):
    shape = _pairs_shape(self, batch_size, 2 * n_correlated_pairs)
    return torch.where(torch.rand(shape) < self.feature_probability[:, :1], torch.rand(shape), 0.0)


@mutant("1.5", says="halved")
def marginal_halved(self, batch_size, n_correlated_pairs):
    present = (
        torch.rand(_pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[:, :1] / 2
    )
    present = _side_by_side(present)
    return present * torch.rand(present.shape)


@mutant("1.5", says="p times p")
def marginal_squared(self, batch_size, n_correlated_pairs):
    p = self.feature_probability[:, :1]
    present = torch.rand(_pairs_shape(self, batch_size, n_correlated_pairs)) < p * p
    present = _side_by_side(present)
    return present * torch.rand(present.shape)


@mutant("1.5", says="either feature is drawn")
def present_if_either_is(self, batch_size, n_correlated_pairs):
    shape = (*_pairs_shape(self, batch_size, n_correlated_pairs), 2)
    present = (torch.rand(shape) < self.feature_probability[:, :1, None]).any(dim=-1)
    present = _side_by_side(present)
    return present * torch.rand(present.shape)


@mutant("1.5", says="instance 0")
def probability_of_instance_0(self, batch_size, n_correlated_pairs):
    present = torch.rand(_pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[0, 0]
    present = _side_by_side(present)
    return present * torch.rand(present.shape)


@mutant("1.5", says="Different pairs are not independent")
def pairs_linked(self, batch_size, n_correlated_pairs):
    present = torch.rand(_pairs_shape(self, batch_size, 1)) < self.feature_probability[:, :1]
    present = present.expand(-1, -1, 2 * n_correlated_pairs)
    return present * torch.rand(present.shape)


@mutant("1.5", says="Different instances are not independent")
def instances_linked(self, batch_size, n_correlated_pairs):
    present = torch.rand(batch_size, 1, n_correlated_pairs) < self.feature_probability[:, :1]
    present = _side_by_side(present)
    return present * torch.rand(present.shape)


@mutant("1.5", says="exactly 1")
def pairs_of_ones(self, batch_size, n_correlated_pairs):
    present = torch.rand(_pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[:, :1]
    return _side_by_side(present.float())


@mutant("1.5", says="one draw decides both")
def pairs_with_one_draw(self, batch_size, n_correlated_pairs):
    draw = torch.rand(_pairs_shape(self, batch_size, n_correlated_pairs))
    return _side_by_side(draw * (draw < self.feature_probability[:, :1]))


@mutant("1.5", says="only one feature for each pair")
def one_feature_per_pair(self, batch_size, n_correlated_pairs):
    shape = _pairs_shape(self, batch_size, n_correlated_pairs)
    return torch.rand(shape) * (torch.rand(shape) < self.feature_probability[:, :1])


@mutant("1.5", says="axis of their own")
def pairs_not_flattened(self, batch_size, n_correlated_pairs):
    present = torch.rand(_pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[:, :1]
    present = present.unsqueeze(-1).expand(-1, -1, -1, 2)
    return present * torch.rand(present.shape)


@mutant("1.5", says="never present together")
def anticorrelated_by_mistake(self, batch_size, n_correlated_pairs):
    draw = torch.rand(_pairs_shape(self, batch_size, n_correlated_pairs))
    p = self.feature_probability[:, :1] / 2
    present = torch.stack([draw < p, draw > 1 - p], dim=-1).flatten(-2)
    return present * torch.rand(present.shape)


@variant("1.5")
def repeat_interleave(self, batch_size, n_correlated_pairs):
    present = (
        torch.rand(_pairs_shape(self, batch_size, n_correlated_pairs)) < self.feature_probability[:, 0, None]
    )
    present = present.repeat_interleave(2, dim=-1)
    return torch.rand(present.shape) * present


@variant("1.5")
def stacked_pairs(self, batch_size, n_correlated_pairs):
    shape = _pairs_shape(self, batch_size, n_correlated_pairs)
    present = torch.bernoulli(self.feature_probability[:, :1].expand(shape[1:]).expand(shape))
    return torch.stack([present * torch.rand(shape), present * torch.rand(shape)], dim=-1).reshape(
        batch_size, -1, 6
    )


@variant("1.5")
def filled_with_strides(self, batch_size, n_correlated_pairs):
    features = torch.zeros(_pairs_shape(self, batch_size, 2 * n_correlated_pairs), dtype=torch.float64)
    shape = _pairs_shape(self, batch_size, n_correlated_pairs)
    present = torch.rand(shape) < self.feature_probability[:, :1]
    features[..., 0::2] = present * torch.rand(shape)
    features[..., 1::2] = present * torch.rand(shape)
    return features


@variant("1.5")
def kronecker_product(self, batch_size, n_correlated_pairs):
    pairs = torch.distributions.Bernoulli(self.feature_probability[:, 0]).sample(
        (batch_size, n_correlated_pairs)
    )
    present = torch.kron(pairs.mT.contiguous(), torch.ones(1, 1, 2))
    return present * torch.rand_like(present)


@variant("1.5")
def zeros_filled_in_afterwards(self, batch_size, n_correlated_pairs):
    features = torch.rand(*_pairs_shape(self, batch_size, n_correlated_pairs), 2)
    absent = torch.rand(features.shape[:-1]) >= self.feature_probability[:, :1]
    features.masked_fill_(absent.unsqueeze(-1), 0.0)
    return features.view(batch_size, self.cfg.n_instances, 2 * n_correlated_pairs)


# 1.6 ToyModel.generate_anticorrelated_features(self, batch_size, n_anticorrelated_pairs)


def _checked(self):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise ValueError("The probability must be 0.5 at most.")
    return p


def _with_values(first, second):
    present = torch.stack([first, second], dim=-1).flatten(-2)
    return torch.where(present, torch.rand(present.shape), 0.0)


@mutant("1.6", says="Both features of a pair are sometimes present")
def independent_features(self, batch_size, n_anticorrelated_pairs):
    shape = _pairs_shape(self, batch_size, 2 * n_anticorrelated_pairs)
    return torch.where(torch.rand(shape) < _checked(self), torch.rand(shape), 0.0)


@mutant("1.6", says="half of it")
def marginal_of_the_pair(self, batch_size, n_anticorrelated_pairs):
    shape = _pairs_shape(self, batch_size, n_anticorrelated_pairs)
    present = torch.rand(shape) < _checked(self)
    first = torch.rand(shape) < 0.5
    return _with_values(present & first, present & ~first)


@mutant("1.6", says="draws something all the same")
def silent_saturation(self, batch_size, n_anticorrelated_pairs):
    shape = _pairs_shape(self, batch_size, n_anticorrelated_pairs)
    present = torch.rand(shape) < 2 * self.feature_probability[:, :1]
    first = torch.rand(shape) < 0.5
    return _with_values(present & first, present & ~first)


@mutant("1.6", says="draws something all the same")
def probability_clamped(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1].clamp(max=0.5)
    draw = torch.rand(_pairs_shape(self, batch_size, n_anticorrelated_pairs))
    return _with_values(draw < p, draw > 1 - p)


@mutant("1.6", says="draws something all the same")
def error_only_if_all_are_too_large(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.5).all():
        raise ValueError("p must be 0.5 at most.")
    draw = torch.rand(_pairs_shape(self, batch_size, n_anticorrelated_pairs))
    first = draw < p
    return _with_values(first, ~first & (draw > 1 - p))


@mutant("1.6", says="without a message")
def error_without_words(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p > 0.5).any():
        raise ValueError
    draw = torch.rand(_pairs_shape(self, batch_size, n_anticorrelated_pairs))
    return _with_values(draw < p, draw > 1 - p)


@mutant("1.6", says="raises a RuntimeError; expected a ValueError")
def accidental_error(self, batch_size, n_anticorrelated_pairs):
    shape = _pairs_shape(self, batch_size, n_anticorrelated_pairs)
    p = self.feature_probability[:, :1].expand(shape[1:]).expand(shape)
    first = torch.bernoulli(p).bool()
    second = torch.bernoulli(p / (1 - p)).bool() & ~first
    return _with_values(first, second)


@mutant("1.6", says="at least 0.5")
def error_at_one_half(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    if (p >= 0.5).any():
        raise ValueError("p must be smaller than 0.5, it is at least 0.5.")
    draw = torch.rand(_pairs_shape(self, batch_size, n_anticorrelated_pairs))
    return _with_values(draw < p, draw > 1 - p)


@mutant("1.6", says="cases with both are thrown away")
def both_thrown_away(self, batch_size, n_anticorrelated_pairs):
    shape = _pairs_shape(self, batch_size, n_anticorrelated_pairs)
    first, second = (torch.rand(shape) < _checked(self) for _ in range(2))
    return _with_values(first & ~second, second & ~first)


@mutant("1.6", says="only where the first is absent")
def second_only_without_first(self, batch_size, n_anticorrelated_pairs):
    shape = _pairs_shape(self, batch_size, n_anticorrelated_pairs)
    first, second = (torch.rand(shape) < _checked(self) for _ in range(2))
    return _with_values(first, second & ~first)


@mutant("1.6", says="one of the two is always present")
def never_both_absent(self, batch_size, n_anticorrelated_pairs):
    first = torch.rand(_pairs_shape(self, batch_size, n_anticorrelated_pairs)) < _checked(self)
    return _with_values(first, ~first)


@mutant("1.6", says="laid out as halves")
def excluded_halves(self, batch_size, n_anticorrelated_pairs):
    p = _checked(self)
    draw = torch.rand(_pairs_shape(self, batch_size, n_anticorrelated_pairs))
    present = torch.cat([draw < p, draw > 1 - p], dim=-1)
    return torch.where(present, torch.rand(present.shape), 0.0)


@mutant("1.6", says="always present together")
def correlated_by_mistake(self, batch_size, n_anticorrelated_pairs):
    present = torch.rand(_pairs_shape(self, batch_size, n_anticorrelated_pairs)) < _checked(self)
    return _with_values(present, present)


@mutant("1.6", says="Different pairs are not independent")
def excluding_pairs_linked(self, batch_size, n_anticorrelated_pairs):
    p = _checked(self)
    draw = torch.rand(_pairs_shape(self, batch_size, 1)).expand(-1, -1, n_anticorrelated_pairs)
    return _with_values(draw < p, draw > 1 - p)


@mutant("1.6", says="one draw decides both")
def excluded_with_one_draw(self, batch_size, n_anticorrelated_pairs):
    p = _checked(self)
    draw = torch.rand(_pairs_shape(self, batch_size, n_anticorrelated_pairs))
    return torch.stack([draw * (draw < p), (1 - draw) * (draw > 1 - p)], dim=-1).flatten(-2)


@variant("1.6")
def stretches_side_by_side(self, batch_size, n_anticorrelated_pairs):
    p = _checked(self)
    draw = torch.rand(_pairs_shape(self, batch_size, n_anticorrelated_pairs))
    return _with_values(draw < p, (draw >= p) & (draw < 2 * p))


@variant("1.6")
def pair_then_coin(self, batch_size, n_anticorrelated_pairs):
    p = self.feature_probability[:, :1]
    assert (p <= 0.5).all(), "two features that exclude each other cannot both have p > 0.5"
    shape = _pairs_shape(self, batch_size, n_anticorrelated_pairs)
    present, heads = torch.rand(shape) < 2 * p, torch.rand(shape) < 0.5
    return _with_values(present & heads, present & ~heads)


@variant("1.6")
def conditional_probability(self, batch_size, n_anticorrelated_pairs):
    if self.feature_probability.max() > 0.5:
        raise ValueError(f"p = {self.feature_probability.max():.2f} is larger than 0.5")
    p = self.feature_probability[:, :1]
    shape = _pairs_shape(self, batch_size, n_anticorrelated_pairs)
    first = torch.rand(shape) < p
    second = ~first & (torch.rand(shape) < p / (1 - p))
    features = torch.zeros(batch_size, shape[1], 2 * shape[2], dtype=torch.float64)
    features[:, :, ::2][first] = torch.rand(int(first.sum()), dtype=torch.float64)
    features[:, :, 1::2][second] = torch.rand(int(second.sum()), dtype=torch.float64)
    return features


@variant("1.6")
def three_sided_die(self, batch_size, n_anticorrelated_pairs):
    p = _checked(self)
    die = torch.distributions.Categorical(probs=torch.cat([p, p, 1 - 2 * p], dim=-1))
    faces = die.sample((batch_size, n_anticorrelated_pairs)).transpose(1, 2)
    present = F.one_hot(faces, num_classes=3)[..., :2].flatten(start_dim=-2)
    return present * torch.rand(present.shape)


@variant("1.6")
def scattered_to_one_of_two(self, batch_size, n_anticorrelated_pairs):
    p = _checked(self)
    shape = _pairs_shape(self, batch_size, n_anticorrelated_pairs)
    values = torch.rand(shape) * torch.bernoulli((2 * p).expand(shape))
    features = torch.zeros(*shape, 2)
    features.scatter_(-1, torch.randint(2, (*shape, 1)), values.unsqueeze(-1))
    return einops.rearrange(features, "b i pairs two -> b i (pairs two)")


# 1.7 NeuronModel.forward(self, features)


@mutant("1.7", says="ReLU on the hidden layer is missing")
def no_inner_relu(self, features):
    return torch.relu(_back(self, _hidden(self, features)) + self.b_final)


@mutant("1.7", says="`b_final` is left out")
def neurons_without_bias(self, features):
    return torch.relu(_back(self, torch.relu(_hidden(self, features))))


@mutant("1.7", says="ReLU at the end is missing")
def no_outer_relu(self, features):
    return _back(self, torch.relu(_hidden(self, features))) + self.b_final


@mutant("1.7", says="only the hidden layer is returned")
def neurons_returned(self, features):
    return torch.relu(_hidden(self, features))


@mutant("1.7", says="ReLU at the end is missing and the ReLU on the hidden layer is missing")
def linear_model(self, features):
    return _back(self, _hidden(self, features)) + self.b_final


@mutant("1.7", says="after the ReLU")
def neuron_bias_after_relu(self, features):
    return torch.relu(_back(self, torch.relu(_hidden(self, features)))) + self.b_final


@mutant("1.7", says="matrix of instance 0")
def neurons_of_first_instance(self, features):
    return torch.relu(torch.relu(features @ self.W[0].T) @ self.W[0] + self.b_final)


@mutant("1.7", says="No gradient reaches `W`")
def neurons_detached(self, features):
    hidden = torch.relu(torch.einsum("bif,ihf->bih", features, self.W.detach()))
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W.detach()) + self.b_final)


@mutant("1.7", says="ReLU on the hidden layer is missing")
class ForwardOfTheToyModel(NeuronModel):
    def forward(self, features):
        return ToyModel.forward(self, features)


@variant("1.7")
def neurons_step_by_step(self, features):
    hidden = F.relu(einops.einsum(features, self.W, "b i f, i h f -> b i h"))
    return F.relu(einops.einsum(hidden, self.W, "b i h, i h f -> b i f") + self.b_final)


@variant("1.7")
def neurons_with_matmul(self, features):
    hidden = (self.W @ features[..., None]).clamp(min=0)
    return ((self.W.mT @ hidden)[..., 0] + self.b_final).clamp(min=0)


@variant("1.7")
class WithHelper(ToyModel):
    def neurons(self, features):
        return _hidden(self, features).relu()

    def forward(self, features):
        return nn.ReLU()(_back(self, self.neurons(features)) + self.b_final)


@variant("1.7")
def neurons_instance_by_instance(self, features):
    outs = []
    for i in range(self.cfg.n_instances):
        W = self.W[i].double()
        hidden = torch.clamp_min(features[:, i].double() @ W.T, 0)
        outs.append(torch.clamp_min(torch.addmm(self.b_final[i].double(), hidden, W), 0))
    return torch.stack(outs, dim=1)


# 1.8 NeuronComputationModel: forward, generate_batch, calculate_loss


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
        values = 2 * torch.rand(_shape(self, batch_size)) - 1
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
        return ToyModel.calculate_loss(self, out, batch.abs_())


@variant("1.8")
class EvenInDoublePrecision(NeuronComputationModel):
    def generate_batch(self, batch_size):
        batch = torch.empty(_shape(self, batch_size), dtype=torch.float64).uniform_(-1, 1)
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


# 1.9 compute_dimensionality(W)


def _overlaps(W):
    return F.normalize(W, dim=1).mT @ W


@mutant("1.9", says="gives NaN")
def nan_for_dead_feature(W):
    lengths = W.norm(dim=1)
    overlaps = (W / lengths[:, None]).mT @ W
    return lengths**2 / (overlaps**2).sum(dim=2)


@mutant("1.9", says="overlaps in the denominator are squared twice")
def overlaps_squared_twice(W):
    return W.pow(2).sum(1) / (_overlaps(W).pow(2) ** 2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="numerator is squared twice")
def length_squared_twice(W):
    return W.pow(2).sum(1) ** 2 / _overlaps(W).pow(2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="swapped")
def overlap_axes_swapped(W):
    return W.norm(dim=1) ** 2 / _overlaps(W).pow(2).sum(1).clamp(min=1e-12)


@mutant("1.9", says="axes of `hidden` and `features` are swapped")
def hidden_and_features_swapped(W):
    W = W.mT
    return W.norm(dim=1) ** 2 / _overlaps(W).pow(2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="not squared")
def numerator_not_squared(W):
    return W.norm(dim=1) / _overlaps(W).pow(2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="overlaps in the denominator are not squared")
def denominator_not_squared(W):
    return W.norm(dim=1) ** 2 / _overlaps(W).sum(2)


@mutant("1.9", says="not scaled to length one")
def direction_not_normalized(W):
    return W.norm(dim=1) ** 2 / (W.mT @ W).pow(2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="both directions are scaled")
def both_normalized(W):
    directions = F.normalize(W, dim=1)
    return W.norm(dim=1) ** 2 / (directions.mT @ directions).pow(2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="left out of the sum")
def own_overlap_left_out(W):
    overlaps = _overlaps(W)
    overlaps = overlaps - torch.diag_embed(overlaps.diagonal(dim1=1, dim2=2))
    return W.norm(dim=1) ** 2 / overlaps.pow(2).sum(2).clamp(min=1e-12)


@mutant("1.9", says="upside down")
def upside_down(W):
    return _overlaps(W).pow(2).sum(2) / W.norm(dim=1).pow(2).clamp(min=1e-12)


@mutant("1.9", says="summed before they are squared")
def summed_then_squared(W):
    return W.norm(dim=1) ** 2 / (_overlaps(W).sum(2) ** 2).clamp(min=1e-12)


@mutant("1.9", says="instance 0")
def dimensionality_of_first_instance(W):
    return (W[:1].norm(dim=1) ** 2 / _overlaps(W[:1]).pow(2).sum(2).clamp(min=1e-12)).expand(len(W), -1)


@mutant("1.9", says="averaged over")
def overlaps_averaged(W):
    return W.norm(dim=1) ** 2 / _overlaps(W).pow(2).mean(2).clamp(min=1e-12)


@variant("1.9")
def from_the_gram_matrix(W):
    gram = W.mT @ W
    fourth = gram.diagonal(dim1=1, dim2=2) ** 2
    return fourth / ((gram**2).sum(dim=-1) + 1e-12)


@variant("1.9")
def with_nan_to_num(W):
    lengths = torch.linalg.vector_norm(W, dim=1)
    directions = W / lengths.unsqueeze(1)
    overlaps = einops.einsum(directions, W, "i h f, i h g -> i f g")
    return torch.nan_to_num(lengths**2 / einops.reduce(overlaps**2, "i f g -> i f", "sum"))


@variant("1.9")
def feature_by_feature(W):
    out = torch.zeros(W.shape[0], W.shape[2], dtype=torch.float64)
    for i in range(W.shape[0]):
        for f in range(W.shape[2]):
            length = W[i, :, f].norm()
            if length > 0:
                out[i, f] = length**2 / sum(
                    (W[i, :, f] / length @ W[i, :, g]) ** 2 for g in range(W.shape[2])
                )
    return out


@variant("1.9")
def from_cosines_and_lengths(W):
    squared = W.double().square().sum(dim=1)
    cosines = F.cosine_similarity(W.double().unsqueeze(-1), W.double().unsqueeze(-2), dim=1)
    crowd = torch.einsum("ifg,ig->if", cosines**2, squared)
    return torch.where(squared > 0, squared / crowd, 0.0)


@variant("1.9")
def nan_overwritten(W):
    directions = W / W.norm(dim=1, keepdim=True)
    result = W.pow(2).sum(1) / (directions.transpose(1, 2) @ W).pow(2).sum(-1)
    result[torch.isnan(result)] = 0
    return result


# 1.10 hidden_for_datapoints(model, datapoints)


@mutant("1.10", says="whole forward pass")
def forward_pass(model, datapoints):
    return model(datapoints)


@mutant("1.10", says="ReLU is applied")
def hidden_after_relu(model, datapoints):
    return torch.relu(_hidden(model, datapoints))


@mutant("1.10", says="matrix of instance 0")
def hidden_of_first_instance(model, datapoints):
    return datapoints @ model.W[0].T


@mutant("1.10", says="`b_final` is added")
def bias_before_projection(model, datapoints):
    return _hidden(model, datapoints + model.b_final)


@mutant("1.10", says="`b_final` is subtracted")
def bias_subtracted_first(model, datapoints):
    return _hidden(model, datapoints - model.b_final)


@mutant("1.10", says="`instances batch hidden`")
def hidden_with_instances_first(model, datapoints):
    return torch.bmm(datapoints.transpose(0, 1), model.W.mT)


@mutant("1.10", says="scaled to length one")
def hidden_normalized(model, datapoints):
    return F.normalize(_hidden(model, datapoints), dim=-1)


@mutant("1.10", says="axis `batch` is averaged over")
def mean_datapoint(model, datapoints):
    return torch.einsum("if,ihf->ih", datapoints.mean(0), model.W)


@variant("1.10")
def without_gradient(model, datapoints):
    with torch.no_grad():
        return (model.W @ datapoints[..., None]).squeeze(-1)


@variant("1.10")
def datapoint_by_datapoint(model, datapoints):
    return torch.stack([torch.einsum("if,ihf->ih", x, model.W) for x in datapoints])


@variant("1.10")
def hidden_in_double_precision(model, datapoints):
    return einops.einsum(model.W.double(), datapoints.double(), "i h f, b i f -> b i h").detach()


@variant("1.10")
def hidden_by_linear_layers(model, datapoints):
    hidden = torch.zeros(model.cfg.n_instances, len(datapoints), model.cfg.n_hidden)
    for i in range(model.cfg.n_instances):
        hidden[i] = F.linear(datapoints[:, i], weight=model.W[i])
    return hidden.transpose(0, 1)
