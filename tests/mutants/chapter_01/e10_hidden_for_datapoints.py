"""Answers to exercise 1.10: `hidden_for_datapoints`."""

import einops
import torch
import torch.nn.functional as F

from tests.mutants import mutant, variant
from tests.mutants.chapter_01.shared import hidden_of


@mutant("1.10", says="whole forward pass")
def forward_pass(model, datapoints):
    return model(datapoints)


@mutant("1.10", says="ReLU is applied")
def hidden_after_relu(model, datapoints):
    return torch.relu(hidden_of(model, datapoints))


@mutant("1.10", says="matrix of instance 0")
def hidden_of_first_instance(model, datapoints):
    return datapoints @ model.W[0].T


@mutant("1.10", says="`b_final` is added")
def bias_before_projection(model, datapoints):
    return hidden_of(model, datapoints + model.b_final)


@mutant("1.10", says="`b_final` is subtracted")
def bias_subtracted_first(model, datapoints):
    return hidden_of(model, datapoints - model.b_final)


@mutant("1.10", says="`instances batch hidden`")
def hidden_with_instances_first(model, datapoints):
    return torch.bmm(datapoints.transpose(0, 1), model.W.mT)


@mutant("1.10", says="scaled to length one")
def hidden_normalized(model, datapoints):
    return F.normalize(hidden_of(model, datapoints), dim=-1)


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
