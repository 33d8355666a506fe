"""Answers to exercise 1.1: `ToyModel.forward`."""

import einops
import torch
import torch.nn.functional as F
from torch import nn

from tests.mutants import mutant, variant
from tests.mutants.chapter_01.shared import back, hidden_of


@mutant("1.1", says="`b_final` is left out")
def bias_omitted(self, features):
    return torch.relu(back(self, hidden_of(self, features)))


@mutant("1.1", says="subtracted instead of added")
def bias_subtracted(self, features):
    return torch.relu(back(self, hidden_of(self, features)) - self.b_final)


@mutant("1.1", says="after the ReLU instead of before")
def bias_after_relu(self, features):
    return torch.relu(back(self, hidden_of(self, features))) + self.b_final


@mutant("1.1", says="ReLU at the end is missing")
def no_relu(self, features):
    return back(self, hidden_of(self, features)) + self.b_final


@mutant("1.1", says="applied to the hidden layer")
def relu_on_hidden_too(self, features):
    return torch.relu(back(self, torch.relu(hidden_of(self, features))) + self.b_final)


@mutant("1.1", says="applied to the hidden layer")
def relu_on_hidden_only(self, features):
    return back(self, F.relu(hidden_of(self, features))) + self.b_final


@mutant("1.1", says="instances are mixed")
def instances_mixed(self, features):
    hidden = torch.einsum("bif,jhf->bih", features, self.W)
    return torch.relu(torch.einsum("bih,jhf->bif", hidden, self.W) + self.b_final)


@mutant("1.1", says="matrix of instance 0")
def first_instance_for_all(self, features):
    return torch.relu(features @ self.W[0].T @ self.W[0] + self.b_final)


@mutant("1.1", says="bias of instance 0")
def bias_of_first_instance(self, features):
    return torch.relu(back(self, hidden_of(self, features)) + self.b_final[0])


@mutant("1.1", says="reshaped instead of transposed")
def reshaped_for_the_way_back(self, features):
    hidden = hidden_of(self, features)
    W_back = self.W.reshape(self.W.shape[0], self.W.shape[2], self.W.shape[1])
    return torch.relu(torch.einsum("bih,ifh->bif", hidden, W_back) + self.b_final)


@mutant("1.1", says="only the hidden layer is returned")
def hidden_returned(self, features):
    return hidden_of(self, features)


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
        return torch.relu(back(self, hidden_of(self, features)) + self.b_final)


@mutant("1.1", says="gradient with respect to `W`")
def hidden_detached(self, features):
    hidden = hidden_of(self, features).detach()
    return torch.relu(back(self, hidden) + self.b_final)


@mutant("1.1", says="sigmoid")
def sigmoid_instead_of_relu(self, features):
    return torch.sigmoid(back(self, hidden_of(self, features)) + self.b_final)


@mutant("1.1", says="axis of size 1 is lost")
def squeezed(self, features):
    return torch.relu(back(self, hidden_of(self, features)) + self.b_final).squeeze()


@mutant("1.1", says="`b_final` is left out and the ReLU at the end is missing")
def two_mistakes_at_once(self, features):
    return back(self, hidden_of(self, features))


@mutant("1.1", says="has no attribute 'b'")
def wrong_name_of_the_bias(self, features):
    return torch.relu(back(self, hidden_of(self, features)) + self.b)


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
    out = back(self, hidden_of(self, features)) + einops.repeat(self.b_final, "i f -> b i f", b=len(features))
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


@mutant("1.1", says="the values are cut down to lie between 0 and 1 at the end")
def clamped_to_one(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W)
    return torch.clamp(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final, 0, 1)


@mutant("1.1", says="a leaky ReLU is applied at the end instead of a ReLU")
def leaky(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W)
    return F.leaky_relu(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final)


@mutant("1.1", says="a softplus is applied at the end instead of a ReLU")
def softplus_for_relu(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W)
    return F.softplus(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final)


@mutant("1.1", says="only a feature's own direction counts")
def only_its_own_direction(self, features):
    return torch.relu(features * self.W.square().sum(dim=1) + self.b_final)


@mutant("1.1", says="`W` is brought to unit length along `hidden`")
def directions_of_unit_length(self, features):
    W = F.normalize(self.W, dim=1)
    hidden = torch.einsum("bif,ihf->bih", features, W)
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, W) + self.b_final)


@mutant("1.1", says="The values are right, but the gradient with respect to `W` is not")
def encoder_detached(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W.detach())
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final)


@mutant("1.1", says="the bias of instance 0 is used for every instance")
def bias_of_the_first_instance(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W)
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final[0])


@mutant("1.1", says="`b_final` is added to the input as well")
def bias_twice(self, features):
    hidden = torch.einsum("bif,ihf->bih", features + self.b_final, self.W)
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final)


@mutant("1.1", says="an axis of size 1 is lost")
def squeezed_result(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W)
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final).squeeze()


@mutant("1.1", says="the hidden layer is divided by the root of its size")
def divided_by_hidden(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W) / self.cfg.n_hidden**0.5
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final)


@mutant("1.1", says="No gradient reaches `b_final`")
def bias_detached(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W)
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final.data)


@variant("1.1")
def gram_matrix(self, features):
    gram = self.W.mT @ self.W
    return torch.baddbmm(self.b_final[:, None], features.transpose(0, 1), gram).transpose(0, 1).relu()


@variant("1.1")
def relu_by_hand(self, features):
    out = (
        torch.stack([x @ W.T @ W for x, W in zip(features.unbind(1), self.W, strict=False)], dim=1)
        + self.b_final
    )
    return (out + out.abs()) / 2


@mutant("1.1", says="an ELU is applied at the end instead of a ReLU")
def elu(self, features):
    h = torch.einsum("bif,ihf->bih", features, self.W)
    return F.elu(torch.einsum("bih,ihf->bif", h, self.W) + self.b_final)


@mutant("1.1", says="a SiLU is applied at the end instead of a ReLU")
def silu(self, features):
    h = torch.einsum("bif,ihf->bih", features, self.W)
    return F.silu(torch.einsum("bih,ihf->bif", h, self.W) + self.b_final)


@mutant("1.1", says="a tanh is applied at the end instead of a ReLU")
def tanh_end(self, features):
    h = torch.einsum("bif,ihf->bih", features, self.W)
    return torch.tanh(torch.einsum("bih,ihf->bif", h, self.W) + self.b_final)


@mutant("1.1", says="the input is added to the output")
def residual(self, features):
    h = torch.einsum("bif,ihf->bih", features, self.W)
    return torch.relu(features + torch.einsum("bih,ihf->bif", h, self.W) + self.b_final)


@mutant("1.1", says="`b_final` is multiplied instead of added")
def bias_multiplied(self, features):
    h = torch.einsum("bif,ihf->bih", features, self.W)
    return torch.relu(torch.einsum("bih,ihf->bif", h, self.W) * self.b_final)


@mutant("1.1", says="one mean of all of `b_final` is used")
def mean_bias(self, features):
    h = torch.einsum("bif,ihf->bih", features, self.W)
    return torch.relu(torch.einsum("bih,ihf->bif", h, self.W) + self.b_final.mean())


@mutant("1.1", says="Your code raised RuntimeError")
def direct_gram(self, features):
    return torch.relu(features @ (self.W.mT @ self.W) + self.b_final)


@mutant("1.1", says="the way back is the pseudo-inverse of the way in")
def pseudo_inverse_back(self, features):
    h = torch.einsum("bif,ihf->bih", features, self.W)
    return torch.relu(torch.einsum("bih,ifh->bif", h, torch.linalg.pinv(self.W)) + self.b_final)


@variant("1.1")
def with_linear(self, features):
    return torch.stack(
        [
            F.relu(F.linear(F.linear(features[:, i], self.W[i]), self.W[i].T, self.b_final[i]))
            for i in range(len(self.W))
        ],
        1,
    )


@variant("1.1")
def maximum_of_zero(self, features):
    h = (self.W * features[:, :, None, :]).sum(-1)
    return torch.maximum((h[..., None] * self.W).sum(2) + self.b_final, torch.zeros(1))


@mutant("1.1", says="subtracted from the input as well, as the bias of an autoencoder is")
def centered_as_in_an_autoencoder(self, features):
    return torch.relu(back(self, hidden_of(self, features - self.b_final)) + self.b_final)


@mutant("1.1", says="`b_final` is added to the input instead of the output")
def bias_at_the_input(self, features):
    return torch.relu(back(self, hidden_of(self, features + self.b_final)))


@mutant("1.1", says="through the bottleneck twice")
def twice_through(self, features):
    once = back(self, hidden_of(self, features))
    return torch.relu(back(self, hidden_of(self, once)) + self.b_final)


@mutant("1.1", says="hidden layers of all instances are added up")
def one_hidden_layer_for_all(self, features):
    hidden = hidden_of(self, features)
    return torch.relu(back(self, hidden.sum(1, keepdim=True).expand_as(hidden)) + self.b_final)


@mutant("1.1", says="another one each time")
def with_dropout(self, features):
    return torch.relu(back(self, F.dropout(hidden_of(self, features), 0.3)) + self.b_final)


@mutant("1.1", says="before `b_final` is added, and another one after it")
def two_relus(self, features):
    return torch.relu(torch.relu(back(self, hidden_of(self, features))) + self.b_final)


@mutant("1.1", says="kept only where the feature is present")
def masked_by_the_input(self, features):
    return torch.relu(back(self, hidden_of(self, features)) + self.b_final) * (features > 0)


@mutant("1.1", says="negative values of `features` are set to 0")
def input_through_a_relu(self, features):
    return torch.relu(back(self, hidden_of(self, features.relu())) + self.b_final)


@mutant("1.1", says="`W` is detached on the way in, or the hidden layer is")
def hidden_layer_detached(self, features):
    return torch.relu(back(self, hidden_of(self, features).detach()) + self.b_final)


@mutant("1.1", says="Your result")
def gram_kept_from_the_first_call(self, features):
    if not hasattr(self, "gram"):
        self.gram = self.W.mT @ self.W
    return torch.relu(torch.einsum("bif,ifg->big", features, self.gram) + self.b_final)


@mutant("1.1", says="itself (in place)")
def scaled_in_place(self, features):
    features *= 2
    return torch.relu(back(self, hidden_of(self, features)) / 2 + self.b_final)


@mutant("1.1", says="once more after it")
def bias_before_and_after(self, features):
    return torch.relu(back(self, hidden_of(self, features)) + self.b_final) + self.b_final


@mutant("1.1", says="once more after it")
def bias_and_relu_twice(self, features):
    out = torch.relu(back(self, hidden_of(self, features)) + self.b_final)
    return torch.relu(out + self.b_final)


@mutant("1.1", says="exchanged with `reshape`, there and back")
def batch_and_instances_reshaped(self, features):
    batch, instances, count = features.shape
    x = features.reshape(instances, batch, count)
    return torch.relu(x @ self.W.mT @ self.W + self.b_final[:, None]).reshape(batch, instances, count)
