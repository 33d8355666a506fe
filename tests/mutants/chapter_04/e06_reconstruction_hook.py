"""Answers to exercise 4.6: `reconstruction_hook`."""

import einops
import torch

from part_utils.evaluation import (
    inputs_for_all_instances,
)
from tests.mutants import mutant, variant


def _all_rebuilt(value, autoencoder):
    with torch.no_grad():
        return autoencoder(inputs_for_all_instances(value, autoencoder)).h_reconstructed


@mutant("4.6", says="instance 0 is always used")
def always_first_instance(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder)[:, 0].reshape(value.shape)


@mutant("4.6", says="wrong instance is used")
def always_last_instance(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder)[:, -1].reshape(value.shape)


@mutant("4.6", says="should take instance 0")
def last_by_default(value, hook, autoencoder, instance=-1):
    return _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)


@mutant("4.6", says="left flat")
def left_flat(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder)[:, instance]


@mutant("4.6", says="axis of the instances is left")
def instances_left(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder).unflatten(0, value.shape[:2])


@mutant("4.6", says="wrong order")
def wrong_order(value, hook, autoencoder, instance=0):
    rebuilt = _all_rebuilt(value, autoencoder)[:, instance]
    return einops.rearrange(rebuilt, "(seq batch) d_mlp -> batch seq d_mlp", batch=len(value))


@mutant("4.6", says="changed places")
def texts_for_positions(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder)[:, instance].view(value.shape[1], value.shape[0], -1)


@mutant("4.6", says="instances are averaged")
def mean_of_instances(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder).mean(1).reshape(value.shape)


@mutant("4.6", says="writes an intermediate result into `value`")
def centered_in_place(value, hook, autoencoder, instance=0):
    value -= autoencoder.b_dec[instance].detach()
    acts = (value @ autoencoder.W_enc[instance] + autoencoder.b_enc[instance]).relu()
    W_dec = autoencoder.normalize_and_return_W_dec()[instance]
    return (acts @ W_dec + autoencoder.b_dec[instance]).detach()


@mutant("4.6", says="writes an intermediate result into `value`")
def activations_cleared(value, hook, autoencoder, instance=0):
    rebuilt = _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)
    value.zero_()
    return rebuilt


@mutant("4.6", says="returns nothing and has not changed")
def hook_without_return(value, hook, autoencoder, instance=0):
    value = _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)


@mutant("4.6", says="*error* is returned")
def error_returned(value, hook, autoencoder, instance=0):
    return value - _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)


@mutant("4.6", says="*latents* are returned")
def latents_returned(value, hook, autoencoder, instance=0):
    acts = autoencoder(inputs_for_all_instances(value, autoencoder)).acts[:, instance]
    return acts.unflatten(0, value.shape[:2])


@mutant("4.6", says="`b_dec` is not added")
def rebuilt_without_b_dec(value, hook, autoencoder, instance=0):
    rebuilt = _all_rebuilt(value, autoencoder)[:, instance] - autoencoder.b_dec[instance]
    return rebuilt.reshape(value.shape)


@mutant("4.6", says="as they are stored")
def rebuilt_with_stored_decoder(value, hook, autoencoder, instance=0):
    acts = autoencoder(inputs_for_all_instances(value, autoencoder)).acts[:, instance]
    return (acts @ autoencoder.W_dec[instance] + autoencoder.b_dec[instance]).reshape(value.shape)


@mutant("4.6", says="has to be called `hook`")
def parameter_renamed(value, point, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)


@mutant("4.6", says="take `.acts` or `.h_reconstructed`")
def whole_output(value, hook, autoencoder, instance=0):
    return autoencoder(inputs_for_all_instances(value, autoencoder))[:, instance]


@mutant("4.6", function="zero_ablation_hook", says="*mean* takes its place")
def mean_for_zeros(value, hook):
    return value.mean((0, 1)).expand_as(value)


@mutant("4.6", function="zero_ablation_hook", says="left as they are")
def nothing_ablated(value, hook):
    return value


@mutant("4.6", function="zero_ablation_hook", says="returns nothing and has not changed")
def zeros_without_return(value, hook):
    value = torch.zeros_like(value)


@mutant("4.6", function="zero_ablation_hook", says="holds ones")
def ones(value, hook):
    return torch.ones_like(value)


@mutant("4.6", function="zero_ablation_hook", says="one number takes the place")
def one_zero(value, hook):
    return torch.tensor(0.0)


@mutant("4.6", function="zero_ablation_hook", says="only the last position")
def last_position_zero(value, hook):
    value = value.clone()
    value[:, -1] = 0.0
    return value


@variant("4.6")
def rebuilt_in_place(value, hook, autoencoder, instance=0):
    value.copy_(_all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape))


@variant("4.6")
def rebuilt_in_place_and_returned(value, hook, autoencoder, instance=0):
    value[:] = _all_rebuilt(value, autoencoder)[:, instance].view_as(value)
    return value


@mutant("4.6", says="fire above *thresholds* of their own")
def by_formula(value, hook, autoencoder, instance=0):
    W_dec = autoencoder.normalize_and_return_W_dec()[instance]
    before = (value - autoencoder.b_dec[instance]) @ autoencoder.W_enc[instance] + autoencoder.b_enc[instance]
    return before.relu() @ W_dec + autoencoder.b_dec[instance]


@variant("4.6")
def text_after_text(value, hook, autoencoder, instance=0):
    count = autoencoder.cfg.n_instances
    parts = [autoencoder(text[:, None].repeat(1, count, 1)).h_reconstructed[:, instance] for text in value]
    return torch.stack(parts).double()


@variant("4.6")
def rearranged_back(value, hook, autoencoder, instance=0):
    rebuilt = _all_rebuilt(value, autoencoder)
    rebuilt = einops.rearrange(rebuilt, "(batch seq) n d -> n batch seq d", batch=value.shape[0])
    return rebuilt[instance].contiguous()


@variant("4.6", function="zero_ablation_hook")
def times_zero(value, hook):
    return value * 0


@variant("4.6", function="zero_ablation_hook")
def zeros_in_place(value, hook):
    value[...] = 0


@variant("4.6", function="zero_ablation_hook")
def new_zeros(value, hook):
    return torch.zeros(*value.shape)


@mutant("4.6", function="zero_ablation_hook", says="`zero_ablation_hook`: Your hook returns one number")
def a_python_zero(value, hook):
    return 0


@variant("4.6", function="zero_ablation_hook")
def zeroed_in_place(value, hook):
    return value.zero_()


@mutant("4.6", function="zero_ablation_hook", says="`zero_ablation_hook`: Your result has the wrong shape:")
def zeros_of_one_text(value, hook):
    return torch.zeros_like(value[:1])


@mutant(
    "4.6",
    function="zero_ablation_hook",
    says="`zero_ablation_hook`: Your result is what comes out when the first position keeps",
)
def all_but_the_first_position(value, hook):
    value = value.clone()
    value[:, 1:] = 0
    return value


@mutant("4.6", function="zero_ablation_hook", says="only the negative activations are set to zero (a ReLU)")
def negatives_set_to_zero(value, hook):
    return value.relu()


@mutant("4.6", says="the wrong instance is used: instance")
def two_instances_at_most(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder)[:, min(instance, 1)].reshape(value.shape)


@mutant("4.6", says="negative values are set to")
def positive_part_of_the_reconstruction(value, hook, autoencoder, instance=0):
    return _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape).relu()


@mutant("4.6", says="the mean of the activations and their reconstruction is")
def half_and_half(value, hook, autoencoder, instance=0):
    return (value + _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)) / 2


@mutant("4.6", says="the first position keeps its own")
def first_position_kept(value, hook, autoencoder, instance=0):
    rebuilt = _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape).clone()
    rebuilt[:, 0] = value[:, 0]
    return rebuilt


@variant("4.6")
def reconstruction_copied_into_value(value, hook, autoencoder, instance=0):
    return value.copy_(_all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape))


@mutant("4.6", says="the reconstruction is added to the activations")
def added_to_value(value, hook, autoencoder, instance=0):
    return value + _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)


@variant("4.6", function="zero_ablation_hook")
def difference_with_itself(value, hook):
    return value - value


@variant("4.6")
def text_by_text(value, hook, autoencoder, instance=0):
    return torch.stack([_all_rebuilt(row[None], autoencoder)[:, instance] for row in value])


@mutant("4.6", says="only the first text is replaced")
def first_text_replaced(value, hook, autoencoder, instance=0):
    out = value.clone()
    out[0] = _all_rebuilt(value, autoencoder)[:, instance].reshape(value.shape)[0]
    return out


@mutant("4.6", function="zero_ablation_hook", says="only the positive activations are set to zero")
def positive_ones_zeroed(value, hook):
    return value.clamp(max=0)


@mutant("4.6", function="zero_ablation_hook", says="the axis of the texts is lost")
def zeros_of_the_first_text(value, hook):
    return torch.zeros_like(value[0])
