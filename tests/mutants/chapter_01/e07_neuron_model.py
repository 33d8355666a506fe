"""Answers to exercise 1.7: `NeuronModel`."""

import einops
import torch
import torch.nn.functional as F
from torch import nn

from part_utils.toy_model import NeuronModel, ToyModel
from tests.mutants import mutant, variant
from tests.mutants.chapter_01.shared import back, hidden_of


@mutant("1.7", says="ReLU on the hidden layer is missing")
def no_inner_relu(self, features):
    return torch.relu(back(self, hidden_of(self, features)) + self.b_final)


@mutant("1.7", says="`b_final` is left out")
def neurons_without_bias(self, features):
    return torch.relu(back(self, torch.relu(hidden_of(self, features))))


@mutant("1.7", says="ReLU at the end is missing")
def no_outer_relu(self, features):
    return back(self, torch.relu(hidden_of(self, features))) + self.b_final


@mutant("1.7", says="only the hidden layer is returned")
def neurons_returned(self, features):
    return torch.relu(hidden_of(self, features))


@mutant("1.7", says="ReLU at the end is missing and the ReLU on the hidden layer is missing")
def linear_model(self, features):
    return back(self, hidden_of(self, features)) + self.b_final


@mutant("1.7", says="after the ReLU")
def neuron_bias_after_relu(self, features):
    return torch.relu(back(self, torch.relu(hidden_of(self, features)))) + self.b_final


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
        return hidden_of(self, features).relu()

    def forward(self, features):
        return nn.ReLU()(back(self, self.neurons(features)) + self.b_final)


@variant("1.7")
def neurons_instance_by_instance(self, features):
    outs = []
    for i in range(self.cfg.n_instances):
        W = self.W[i].double()
        hidden = torch.clamp_min(features[:, i].double() @ W.T, 0)
        outs.append(torch.clamp_min(torch.addmm(self.b_final[i].double(), hidden, W), 0))
    return torch.stack(outs, dim=1)


@mutant("1.7", says="a ReLU6 is applied")
def relu6_for_relu(self, features):
    hidden = torch.nn.functional.relu6(torch.einsum("bif,ihf->bih", features, self.W))
    return torch.nn.functional.relu6(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final)


@mutant("1.7", says="a ReLU6 is applied on the hidden layer, which cuts off what is above 6")
def relu6_inside(self, features):
    hidden = F.relu6(torch.einsum("bif,ihf->bih", features, self.W))
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final)


@mutant("1.7", says="a GELU is applied on the hidden layer instead of a ReLU")
def gelu_inside(self, features):
    hidden = F.gelu(torch.einsum("bif,ihf->bih", features, self.W))
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final)


@mutant("1.7", says="the absolute value is taken on the hidden layer instead of a ReLU")
def absolute_value_inside(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W).abs()
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final)


@mutant("1.7", says="the ReLU is applied to the matrix instead of the hidden layer")
def relu_of_the_weights(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W.relu())
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final)


@mutant("1.7", says="applied to the input instead of the hidden layer")
def relu_of_the_features(self, features):
    return ToyModel.forward(self, torch.relu(features))


@mutant("1.7", says="the values are cut down to lie between 0 and 1 at the end")
def clamped_to_one(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W).relu()
    return (torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final).clamp(0, 1)


@mutant("1.7", says="The values are right, but the gradient with respect to `W` is not")
def hidden_detached(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W).relu().detach()
    return torch.relu(torch.einsum("bih,ihf->bif", hidden, self.W) + self.b_final)


@variant("1.7")
def clamp_and_matmul(self, features):
    hidden = (self.W @ features[..., None]).clamp(min=0)
    return ((self.W.mT @ hidden).squeeze(-1) + self.b_final).clamp(min=0)


@mutant("1.7", says="wrong")
def relu_twice_bias_in_hidden(self, features):
    h = (torch.einsum("bif,ihf->bih", features, self.W) + self.b_final.mean()).relu()
    return torch.relu(torch.einsum("bih,ihf->bif", h, self.W) + self.b_final)


@mutant("1.7", says="the hidden layer is squared after its ReLU")
def squared_relu(self, features):
    h = torch.einsum("bif,ihf->bih", features, self.W).relu() ** 2
    return torch.relu(torch.einsum("bih,ihf->bif", h, self.W) + self.b_final)


@mutant("1.7", says="the ReLU on the hidden layer has the wrong sign")
def negative_relu(self, features):
    h = (-torch.einsum("bif,ihf->bih", features, self.W)).relu()
    return torch.relu(torch.einsum("bih,ihf->bif", h, self.W) + self.b_final)


@mutant("1.7", says="an ELU is applied on the hidden layer instead of a ReLU")
def elu_inside(self, features):
    h = F.elu(torch.einsum("bif,ihf->bih", features, self.W))
    return torch.relu(torch.einsum("bih,ihf->bif", h, self.W) + self.b_final)


@variant("1.7")
def loops(self, features):
    out = []
    for i in range(features.shape[1]):
        h = torch.threshold(features[:, i] @ self.W[i].T, 0.0, 0.0)
        out.append(torch.threshold(h @ self.W[i] + self.b_final[i], 0.0, 0.0))
    return torch.stack(out, 1)


@mutant("1.7", says="applied to the products with the matrix")
def relu_of_the_products(self, features):
    return torch.relu(back(self, (features[:, :, None] * self.W).relu().sum(-1)) + self.b_final)


@mutant("1.7", says="keeps what is negative, with its sign")
def keeps_the_negative(self, features):
    return torch.relu(back(self, -torch.relu(-hidden_of(self, features))) + self.b_final)


@mutant("1.7", says="only counts which neurons fire")
def fires_or_not(self, features):
    return torch.relu(back(self, (hidden_of(self, features) > 0).float()) + self.b_final)


@mutant("1.7", says="only the neuron that fires most is kept")
def winner_takes_all(self, features):
    hidden = hidden_of(self, features).relu()
    return torch.relu(back(self, hidden * (hidden == hidden.amax(-1, keepdim=True))) + self.b_final)


@mutant("1.7", says="a softmax is taken over the hidden layer")
def softmax_neurons(self, features):
    return torch.relu(back(self, hidden_of(self, features).softmax(-1)) + self.b_final)


@mutant("1.7", says="itself (in place)")
def scaled_in_place(self, features):
    features *= 2
    return torch.relu(back(self, torch.relu(hidden_of(self, features))) / 2 + self.b_final)


@mutant("1.7", says="a ReLU is applied to the matrix on the way in")
def matrix_cut_on_the_way_in(self, features):
    hidden = torch.einsum("bif,ihf->bih", features, self.W.relu())
    return torch.relu(back(self, hidden.relu()) + self.b_final)
