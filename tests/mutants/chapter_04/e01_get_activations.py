"""Answers to exercise 4.1: `get_activations`."""

import einops
import numpy as np
import torch
from torch.nn import functional as F

from part_utils.activations import (
    MLP_HOOK,
)
from tests.mutants import equivalent, mutant, variant
from tests.mutants.chapter_04.shared import HOOK_OUT, HOOK_PRE, cached


@mutant("4.1", says="*before* the activation function")
def before_the_gelu(tokens, model):
    return cached(tokens, model, HOOK_PRE)


@mutant("4.1", says="*output of the MLP*")
def output_of_the_mlp(tokens, model):
    return cached(tokens, model, HOOK_OUT)


@mutant("4.1", says="ReLU takes the place of the GELU")
def relu_for_gelu(tokens, model):
    return cached(tokens, model, HOOK_PRE).relu()


@mutant("4.1", says="applied twice")
def gelu_twice(tokens, model):
    return F.gelu(cached(tokens, model))


@mutant("4.1", says="flattened already: that is the second")
def flattened_already(tokens, model):
    return cached(tokens, model).flatten(0, 1)


@mutant("4.1", says="only the last position")
def last_position(tokens, model):
    return cached(tokens, model)[:, -1]


@mutant("4.1", says="the whole cache")
def whole_cache(tokens, model):
    return model.run_with_cache(tokens, names_filter=MLP_HOOK)[1]


@mutant("4.1", says="several things")
def predictions_and_cache(tokens, model):
    return model.run_with_cache(tokens, names_filter=MLP_HOOK)


@mutant("4.1", says="predictions (logits)")
def predictions(tokens, model):
    return model(tokens)


@mutant("4.1", says="is None")
def no_return(tokens, model):
    cached(tokens, model)


@mutant("4.1", says="`batch` is averaged over")
def averaged_over_texts(tokens, model):
    return cached(tokens, model).mean(0)


@mutant("4.1", says="`seq batch d_mlp`")
def seq_first(tokens, model):
    return cached(tokens, model).transpose(0, 1)


@mutant("4.1", says="nothing under this name")
def wrong_name(tokens, model):
    return model.run_with_cache(tokens, names_filter=MLP_HOOK)[1]["mlp_post"]


@mutant("4.1", says="a hook is still on the model")
def hook_left_on(tokens, model):
    kept = []
    model.add_hook(MLP_HOOK, lambda value, hook: kept.append(value) or None)
    model(tokens)
    return kept[0]


@mutant("4.1", function="flatten_activations", says="the order is wrong")
def positions_first(acts):
    return einops.rearrange(acts, "batch seq d_mlp -> (seq batch) d_mlp")


@mutant("4.1", function="flatten_activations", says="as if `d_mlp` came first")
def cut_anywhere(acts):
    return acts.permute(2, 0, 1).reshape(-1, acts.shape[-1])


@mutant("4.1", function="flatten_activations", says="have changed places before the flattening")
def neurons_before_positions(acts):
    return acts.mT.reshape(-1, acts.shape[-1])


@mutant("4.1", function="flatten_activations", says="position and neuron are on one axis")
def joins_the_last_two(acts):
    return acts.flatten(1)


@mutant("4.1", function="flatten_activations", says="everything is on one axis")
def one_axis(acts):
    return acts.flatten()


@mutant("4.1", function="flatten_activations", says="nothing is flattened")
def not_flattened(acts):
    return acts


@mutant("4.1", function="flatten_activations", says="axis of the neurons comes first")
def neurons_first(acts):
    return acts.flatten(0, 1).mT


@variant("4.1")
def whole_cache_looked_up(tokens, model):
    _, cache = model.run_with_cache(tokens)
    return cache["blocks.0.mlp.hook_post"]


@variant("4.1")
def own_hook(tokens, model):
    kept = {}

    def keep(value, hook):
        kept["acts"] = value.detach().clone()

    model.run_with_hooks(tokens, fwd_hooks=[(MLP_HOOK, keep)])
    return kept["acts"]


@variant("4.1")
def gelu_by_hand(tokens, model):
    return F.gelu(cached(tokens, model, HOOK_PRE))


@variant("4.1")
def text_by_text(tokens, model):
    return torch.cat([cached(row[None], model) for row in tokens])


@variant("4.1")
def added_and_removed_hook(tokens, model):
    kept = []
    model.add_hook(MLP_HOOK, lambda value, hook: kept.append(value))
    with torch.no_grad():
        model(tokens)
    model.reset_hooks()
    return kept[0].double()


@variant("4.1", function="flatten_activations")
def reshaped(acts):
    return acts.reshape(-1, acts.shape[-1])


@variant("4.1", function="flatten_activations")
def concatenated(acts):
    return torch.cat(list(acts))


@variant("4.1", function="flatten_activations")
def with_numpy(acts):
    return torch.from_numpy(acts.numpy().reshape(-1, acts.shape[2]).astype(np.float64))


@mutant("4.1", says="an axis of size 1 is lost")
def squeezed(tokens, model):
    return cached(tokens, model).squeeze()


@mutant("4.1", says="first text is run without the others")
def first_row_only(tokens, model):
    return cached(tokens[:1], model)


@mutant("4.1", says="the axis `d_mlp` is reversed")
def neurons_backwards(tokens, model):
    return cached(tokens, model).flip(-1)


@mutant("4.1", function="flatten_activations", says="`flatten_activations`:")
def flat_and_squeezed(acts):
    return acts.flatten(0, 1).squeeze()


@mutant("4.1", function="flatten_activations", says="`flatten_activations`:")
def seven_positions_a_text(acts):
    return acts.transpose(0, 1).flatten(0, 1)[: len(acts) * 3]


@mutant("4.1", says="only the first 10 texts are run")
def ten_texts_at_most(tokens, model):
    return cached(tokens[:10], model)


@mutant("4.1", says="the first position of every text is left out")
def without_the_first_position(tokens, model):
    return cached(tokens, model)[:, 1:]


@mutant("4.1", says="at most. Is it rounded, computed in half precision, or is a")
def rounded_to_half_precision(tokens, model):
    return cached(tokens, model).half().float()


@mutant("4.1", says="negative values are set to")
def negative_values_cut_off(tokens, model):
    return cached(tokens, model).relu()


@mutant("4.1", says="the axis `batch` is reversed")
def texts_in_reverse(tokens, model):
    return cached(tokens.flip(0), model)


@mutant("4.1", function="flatten_activations", says="`flatten_activations`: Your result has the wrong shape:")
def first_two_texts_only(acts):
    return torch.cat([acts[0], acts[min(1, len(acts) - 1)]])


@mutant("4.1", function="flatten_activations", says="the mean over the positions is taken")
def mean_over_positions(acts):
    return acts.mean(1)


@mutant("4.1", function="flatten_activations", says="`seq` is reversed in `acts`")
def positions_in_reverse(acts):
    return acts.flip(1).flatten(0, 1)


@mutant("4.1", function="flatten_activations", says="of `acts` along `batch` is used for all")
def first_text_again_and_again(acts):
    return acts[:1].expand_as(acts).flatten(0, 1)


@variant("4.1", function="flatten_activations")
def texts_one_below_the_other(acts):
    return torch.cat(list(acts.unbind(0)), dim=0)


equivalent(
    "4.1",
    "The whole cache holds the same activations; it needs more memory while the function runs.",
    "model.run_with_cache(names_filter=MLP_HOOK) -> model.run_with_cache()",
)


@mutant("4.1", says="the last position of every text is left out")
def last_position_left_out(tokens, model):
    return cached(tokens, model)[:, :-1]


@mutant("4.1", says="the rows are as long as a text", function="flatten_activations")
def rows_as_long_as_a_text(acts):
    return acts.reshape(-1, acts.shape[1])


@mutant("4.1", says="It was called with `acts` [batch 5", function="flatten_activations")
def another_model_hard_coded(acts):
    return acts.reshape(-1, 512)
