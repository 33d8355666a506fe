"""Answers to exercise 4.7: `get_substitution_loss`."""

import functools
import math

import torch
from torch.nn import functional as F

from part_utils.activations import (
    MLP_HOOK,
    get_activations,
)
from part_utils.evaluation import (
    SubstitutionLoss,
    get_substitution_loss,
    reconstruction_hook,
    zero_ablation_hook,
)
from tests.mutants import mutant, variant
from tests.mutants.chapter_04.shared import HOOK_OUT, HOOK_PRE


def _substituted(tokens, model, autoencoder, instance=0, mean=None, **changed):
    """Right as it is; a wrong answer changes a field, or the mean."""

    def loss(replace=None, name=MLP_HOOK):
        hooks = [(name, lambda value, hook: replace(value))] if replace else []
        return model.run_with_hooks(tokens, return_type="loss", fwd_hooks=hooks).detach()

    right = get_substitution_loss(tokens, model, autoencoder, instance)
    if mean is not None:
        return right._replace(mean_ablated=loss(lambda value: mean(value).expand_as(value)))
    return right._replace(**{name: change(right, loss) for name, change in changed.items()})


def _consistent(right):
    recovered = (right.zero_ablated - right.reconstructed) / (right.zero_ablated - right.clean)
    return right._replace(recovered=recovered)


@mutant("4.7", says="upside down")
def upside_down(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, recovered=lambda r, _: 1 / r.recovered)


@mutant("4.7", says="what is *lost*")
def share_lost(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, recovered=lambda r, _: 1 - r.recovered)


@mutant("4.7", says="*mean* ablation; here zero")
def mean_as_baseline(tokens, model, autoencoder, instance=0):
    return _substituted(
        tokens,
        model,
        autoencoder,
        instance,
        recovered=lambda r, _: (r.mean_ablated - r.reconstructed) / (r.mean_ablated - r.clean),
    )


@mutant("4.7", says="belongs into `mean_ablated`")
def mean_for_zero(tokens, model, autoencoder, instance=0):
    right = _substituted(tokens, model, autoencoder, instance, zero_ablated=lambda r, _: r.mean_ablated)
    return _consistent(right)


@mutant("4.7", says="ratio of the reconstructed to the clean")
def ratio_of_losses(tokens, model, autoencoder, instance=0):
    return _substituted(
        tokens, model, autoencoder, instance, recovered=lambda r, _: r.reconstructed / r.clean
    )


@mutant("4.7", says="percentage")
def percentage(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, recovered=lambda r, _: 100 * r.recovered)


@mutant("4.7", says="kept between 0 and 1")
def clamped(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, recovered=lambda r, _: r.recovered.clamp(0, 1))


@mutant("4.7", says="over the texts only")
def mean_over_texts_only(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, mean=lambda value: value.mean(0, keepdim=True))


@mutant("4.7", says="over the positions only")
def mean_over_positions_only(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, mean=lambda value: value.mean(1, keepdim=True))


@mutant("4.7", says="over all *neurons* too")
def mean_over_neurons_too(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, mean=lambda value: value.mean())


@mutant("4.7", says="on other tokens than the others: on the first half")
def clean_on_half(tokens, model, autoencoder, instance=0):
    half = tokens[: len(tokens) // 2]
    right = _substituted(
        tokens, model, autoencoder, instance, clean=lambda r, _: model(half, return_type="loss").detach()
    )
    return _consistent(right)


@mutant("4.7", says="on other tokens than the others: the last text is missing")
def reconstructed_on_fewer(tokens, model, autoencoder, instance=0):
    fewer = get_substitution_loss(tokens[:-1], model, autoencoder, instance).reconstructed
    return _consistent(_substituted(tokens, model, autoencoder, instance, reconstructed=lambda *_: fewer))


@mutant("4.7", says="is used, not instance")
def first_instance_always(tokens, model, autoencoder, instance=0):
    return get_substitution_loss(tokens, model, autoencoder, 0)


@mutant("4.7", says="*added up*, not averaged")
def losses_added_up(tokens, model, autoencoder, instance=0):
    right = get_substitution_loss(tokens, model, autoencoder, instance)
    count = tokens[:, 1:].numel()
    return (*(loss * count for loss in right[:4]), right.recovered)


@mutant("4.7", says="*current* token")
def not_shifted(tokens, model, autoencoder, instance=0):
    right = get_substitution_loss(tokens, model, autoencoder, instance)
    clean = F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).detach()
    return _consistent(right._replace(clean=clean))


@mutant("4.7", says="takes its bias away too")
def mlp_output_zeroed(tokens, model, autoencoder, instance=0):
    return _consistent(
        _substituted(
            tokens,
            model,
            autoencoder,
            instance,
            zero_ablated=lambda r, loss: loss(torch.zeros_like, HOOK_OUT),
        )
    )


@mutant("4.7", says="*before* the activation function")
def replaced_before_the_gelu(tokens, model, autoencoder, instance=0):
    def hook(value):
        return reconstruction_hook(value, None, autoencoder, instance)

    return _consistent(
        _substituted(tokens, model, autoencoder, instance, reconstructed=lambda r, loss: loss(hook, HOOK_PRE))
    )


@mutant("4.7", says="in bits")
def in_bits(tokens, model, autoencoder, instance=0):
    right = get_substitution_loss(tokens, model, autoencoder, instance)
    return (*(loss / math.log(2) for loss in right[:4]), right.recovered)


@mutant("4.7", says="a hook is still on the model")
def hook_stays(tokens, model, autoencoder, instance=0):
    right = get_substitution_loss(tokens, model, autoencoder, instance)
    model.add_hook(MLP_HOOK, zero_ablation_hook)
    return right


@mutant("4.7", says="returns 4 things")
def losses_only(tokens, model, autoencoder, instance=0):
    return tuple(get_substitution_loss(tokens, model, autoencoder, instance))[:4]


@mutant("4.7", says="belongs into `reconstructed`")
def wrong_fields(tokens, model, autoencoder, instance=0):
    right = get_substitution_loss(tokens, model, autoencoder, instance)
    return right._replace(clean=right.reconstructed, reconstructed=right.clean)


@variant("4.7")
def partial_hooks(tokens, model, autoencoder, instance=0):
    def run(hook):
        return model.run_with_hooks(tokens, return_type="loss", fwd_hooks=[(MLP_HOOK, hook)]).item()

    mean = get_activations(tokens, model).flatten(0, 1).mean(0)
    clean = model(tokens, return_type="loss").item()
    rebuilt = run(functools.partial(reconstruction_hook, autoencoder=autoencoder, instance=instance))
    zero = run(zero_ablation_hook)
    average = run(lambda value, hook: mean.broadcast_to(value.shape))
    return clean, rebuilt, zero, average, 1 - (rebuilt - clean) / (zero - clean)


@variant("4.7")
def own_cross_entropy(tokens, model, autoencoder, instance=0):
    acts = get_activations(tokens, model)

    def run(replacement):
        def hook(value, hook):
            value[:] = replacement

        with torch.no_grad():
            logits = model.run_with_hooks(tokens, return_type="logits", fwd_hooks=[(MLP_HOOK, hook)]).double()
        said = logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])
        return -said.mean()

    rebuilt = reconstruction_hook(acts, None, autoencoder, instance)
    losses = [run(x) for x in (acts, rebuilt, torch.zeros_like(acts), acts.mean((0, 1), keepdim=True))]
    return [*losses, (losses[2] - losses[1]) / (losses[2] - losses[0])]


@variant("4.7")
def added_hooks(tokens, model, autoencoder, instance=0):
    def run(*hooks):
        for hook in hooks:
            model.add_hook(MLP_HOOK, hook)
        loss = model(tokens, return_type="loss").detach()
        model.reset_hooks()
        return loss

    mean = get_activations(tokens, model).mean(1).mean(0)
    clean, zero = run(), run(lambda value, hook: value * 0)
    rebuilt = run(lambda value, hook: reconstruction_hook(value, hook, autoencoder, instance))
    average = run(lambda value, hook: mean.expand(*value.shape))
    return clean, rebuilt, zero, average, (zero - rebuilt) / (zero - clean)


@variant("4.7")
def as_a_dictionary(tokens, model, autoencoder, instance=0):
    return get_substitution_loss(tokens, model, autoencoder, instance)._asdict()


def _five(tokens, model, autoencoder, instance=0, **changed):
    return get_substitution_loss(tokens, model, autoencoder, instance)._replace(**changed)


@mutant("4.7", says="it is a percentage")
def in_percent(tokens, model, autoencoder, instance=0):
    right = _five(tokens, model, autoencoder, instance)
    return right._replace(recovered=100 * right.recovered)


@mutant("4.7", says="it is one minus the share: what is *lost*")
def share_that_is_lost(tokens, model, autoencoder, instance=0):
    right = _five(tokens, model, autoencoder, instance)
    return right._replace(recovered=1 - right.recovered)


@mutant("4.7", says="it is kept between")
def share_between_nought_and_one(tokens, model, autoencoder, instance=0):
    right = _five(tokens, model, autoencoder, instance)
    return right._replace(recovered=right.recovered.clamp(0, 1))


@mutant("4.7", says="it is the ratio of the clean to the reconstructed loss")
def clean_divided_by_reconstructed(tokens, model, autoencoder, instance=0):
    right = _five(tokens, model, autoencoder, instance)
    return right._replace(recovered=right.clean / right.reconstructed)


@mutant("4.7", says="it is a perplexity, the exponential of the loss")
def perplexities(tokens, model, autoencoder, instance=0):
    right = _five(tokens, model, autoencoder, instance)
    return SubstitutionLoss(*(value.exp() for value in right[:4]), right.recovered)


@mutant("4.7", says="`clean` has the right shape but the wrong values")
def ten_texts_only(tokens, model, autoencoder, instance=0):
    return _five(tokens[:10], model, autoencoder, instance)


@mutant("4.7", says="is used, not instance")
def two_instances_at_most(tokens, model, autoencoder, instance=0):
    return _five(tokens, model, autoencoder, min(instance, 1))


def _mean_ablated(tokens, model, mean_of):
    return model.run_with_hooks(
        tokens,
        return_type="loss",
        fwd_hooks=[(MLP_HOOK, lambda value, hook: mean_of(value).expand_as(value))],
    )


@mutant("4.7", says="the mean is taken over the positions only, for each text on")
def mean_of_each_text(tokens, model, autoencoder, instance=0):
    loss = _mean_ablated(tokens, model, lambda value: value.mean(1, keepdim=True))
    return _five(tokens, model, autoencoder, instance, mean_ablated=loss)


@mutant("4.7", says="the mean is taken over the texts only, for each position on")
def mean_of_each_position(tokens, model, autoencoder, instance=0):
    loss = _mean_ablated(tokens, model, lambda value: value.mean(0, keepdim=True))
    return _five(tokens, model, autoencoder, instance, mean_ablated=loss)


@mutant("4.7", says="one mean is taken over all *neurons* too: each neuron has a")
def one_mean_for_all_neurons(tokens, model, autoencoder, instance=0):
    loss = _mean_ablated(tokens, model, lambda value: value.mean())
    return _five(tokens, model, autoencoder, instance, mean_ablated=loss)


@mutant("4.7", says="the mean is that of the first text")
def mean_of_the_first_text(tokens, model, autoencoder, instance=0):
    loss = _mean_ablated(tokens, model, lambda value: value[0].mean(0))
    return _five(tokens, model, autoencoder, instance, mean_ablated=loss)


@mutant("4.7", says="the median is used, not the mean")
def median_for_the_mean(tokens, model, autoencoder, instance=0):
    loss = _mean_ablated(tokens, model, lambda value: value.flatten(0, 1).median(0).values)
    return _five(tokens, model, autoencoder, instance, mean_ablated=loss)


@mutant("4.7", says="the output of the MLP is replaced (`hook_out`), which takes")
def whole_mlp_at_zero(tokens, model, autoencoder, instance=0):
    loss = model.run_with_hooks(
        tokens,
        return_type="loss",
        fwd_hooks=[("blocks.0.mlp.hook_out", lambda value, hook: torch.zeros_like(value))],
    )
    right = _five(tokens, model, autoencoder, instance, zero_ablated=loss)
    return right._replace(recovered=(loss - right.reconstructed) / (loss - right.clean))


@mutant("4.7", says="After your function has ended a hook is still on the model,")
def hooks_left_behind(tokens, model, autoencoder, instance=0):
    right = _five(tokens, model, autoencoder, instance)
    model.add_hook(MLP_HOOK, lambda value, hook: torch.zeros_like(value))
    return right


@mutant("4.7", says="`clean` has the right shape but the wrong values")
def median_loss(tokens, model, autoencoder, instance=0):
    loss = model(tokens, return_type="loss", loss_per_token=True)
    return _five(tokens, model, autoencoder, instance, clean=loss.median())


@variant("4.7")
def python_numbers(tokens, model, autoencoder, instance=0):
    return SubstitutionLoss(*(float(value) for value in _five(tokens, model, autoencoder, instance)))


@mutant("4.7", says="the mean leaves out the first position")
def mean_without_the_first_position(tokens, model, autoencoder, instance=0):
    return _substituted(tokens, model, autoencoder, instance, mean=lambda value: value[:, 1:].mean((0, 1)))


@mutant("4.7", says="0.01 is added to the denominator")
def guarded_against_zero(tokens, model, autoencoder, instance=0):
    return _substituted(
        tokens,
        model,
        autoencoder,
        instance,
        recovered=lambda right, loss: (
            (right.zero_ablated - right.reconstructed) / (right.zero_ablated - right.clean + 1e-2)
        ),
    )


@mutant("4.7", says="fire above *thresholds* of their own")
def encoded_by_hand(tokens, model, autoencoder, instance=0):
    W_enc, b_enc, b_dec = (getattr(autoencoder, name)[instance] for name in ("W_enc", "b_enc", "b_dec"))
    W_dec = autoencoder.normalize_and_return_W_dec()[instance]
    rebuilt = _substituted(
        tokens,
        model,
        autoencoder,
        instance,
        reconstructed=lambda r, loss: loss(
            lambda value: ((value - b_dec) @ W_enc + b_enc).relu() @ W_dec + b_dec
        ),
    )
    return _consistent(rebuilt)


@mutant("4.7", says="loses as a share of the clean loss")
def share_of_the_clean_loss(tokens, model, autoencoder, instance=0):
    right = _five(tokens, model, autoencoder, instance)
    return right._replace(recovered=1 - (right.reconstructed - right.clean) / right.clean)


@mutant("4.7", says="loses as a share of the zero-ablated loss")
def share_of_the_ablated_loss(tokens, model, autoencoder, instance=0):
    right = _five(tokens, model, autoencoder, instance)
    return right._replace(recovered=1 - (right.reconstructed - right.clean) / right.zero_ablated)
