"""Answers to exercise 4.8: `ablate_feature`."""

import torch

from part_utils.activations import (
    MLP_HOOK,
    get_activations,
)
from part_utils.evaluation import (
    inputs_for_all_instances,
    reconstruction_hook,
)
from part_utils.interpretation import ablate_feature
from tests.mutants import equivalent, mutant, variant


def _logits(tokens, model, change):
    hook = (MLP_HOOK, lambda value, hook: change(value))
    with torch.no_grad():
        return model.run_with_hooks(tokens, return_type="logits", fwd_hooks=[hook])


def _clean(tokens, model):
    with torch.no_grad():
        return model(tokens, return_type="logits")


def _latent(value, autoencoder, feature, instance):
    acts = autoencoder(inputs_for_all_instances(value, autoencoder)).acts
    return acts[:, instance, feature].reshape(value.shape[:2]).detach()


def _ablated(tokens, model, autoencoder, feature, instance, direction=None, acts=None):
    if direction is None:
        direction = autoencoder.normalize_and_return_W_dec()[instance, feature].detach()
    acts = acts or (lambda value: _latent(value, autoencoder, feature, instance))
    ablated = _logits(tokens, model, lambda value: value - acts(value)[..., None] * direction)
    return ablated - _clean(tokens, model)


def _rebuilt_without(value, autoencoder, feature, instance):
    acts = autoencoder(inputs_for_all_instances(value, autoencoder)).acts[:, instance].detach()
    acts[:, feature] = 0
    rebuilt = acts @ autoencoder.normalize_and_return_W_dec()[instance] + autoencoder.b_dec[instance]
    return rebuilt.reshape(value.shape)


@mutant("4.8", says="*error* is lost")
def error_dropped(tokens, model, autoencoder, feature_idx, instance=0):
    without = _logits(tokens, model, lambda v: _rebuilt_without(v, autoencoder, feature_idx, instance))
    return without - _clean(tokens, model)


@mutant("4.8", says="whole *reconstruction*")
def compared_with_reconstruction(tokens, model, autoencoder, feature_idx, instance=0):
    without = _logits(tokens, model, lambda v: _rebuilt_without(v, autoencoder, feature_idx, instance))
    return without - _logits(tokens, model, lambda v: reconstruction_hook(v, None, autoencoder, instance))


@mutant("4.8", says="set to zero *for good*")
def row_zeroed_for_good(tokens, model, autoencoder, feature_idx, instance=0):
    effect = ablate_feature(tokens, model, autoencoder, feature_idx, instance)
    with torch.no_grad():
        autoencoder.W_dec[instance, feature_idx] = 0.0
    return effect


@mutant("4.8", says="set to zero *for good*")
def row_zeroed_and_reconstructed(tokens, model, autoencoder, feature_idx, instance=0):
    autoencoder.W_dec.data[instance, feature_idx] = 0.0
    without = _logits(tokens, model, lambda v: reconstruction_hook(v, None, autoencoder, instance))
    return without - _clean(tokens, model)


@mutant("4.8", says="sign is turned round")
def clean_minus_ablated(tokens, model, autoencoder, feature_idx, instance=0):
    return -ablate_feature(tokens, model, autoencoder, feature_idx, instance)


@mutant("4.8", says="latent of instance 0 is taken away")
def instance_0_always(tokens, model, autoencoder, feature_idx, instance=0):
    return ablate_feature(tokens, model, autoencoder, feature_idx)


@mutant("4.8", says="direction is that of instance 0")
def direction_of_instance_0(tokens, model, autoencoder, feature_idx, instance=0):
    direction = autoencoder.normalize_and_return_W_dec()[0, feature_idx].detach()
    return _ablated(tokens, model, autoencoder, feature_idx, instance, direction)


@mutant("4.8", says="as it is stored")
def stored_row(tokens, model, autoencoder, feature_idx, instance=0):
    direction = autoencoder.W_dec[instance, feature_idx].detach()
    return _ablated(tokens, model, autoencoder, feature_idx, instance, direction)


@mutant("4.8", says="*encoder* direction")
def encoder_direction(tokens, model, autoencoder, feature_idx, instance=0):
    direction = autoencoder.W_enc[instance, :, feature_idx].detach()
    return _ablated(tokens, model, autoencoder, feature_idx, instance, direction)


@mutant("4.8", says="once on every token")
def direction_on_every_token(tokens, model, autoencoder, feature_idx, instance=0):
    return _ablated(
        tokens, model, autoencoder, feature_idx, instance, acts=lambda value: torch.ones(value.shape[:2])
    )


@mutant("4.8", says="nothing to compare them with")
def ablated_logits(tokens, model, autoencoder, feature_idx, instance=0):
    return ablate_feature(tokens, model, autoencoder, feature_idx, instance) + _clean(tokens, model)


@mutant("4.8", says="*log-probabilities*")
def change_of_log_probabilities(tokens, model, autoencoder, feature_idx, instance=0):
    clean = _clean(tokens, model)
    ablated = clean + ablate_feature(tokens, model, autoencoder, feature_idx, instance)
    return ablated.log_softmax(-1) - clean.log_softmax(-1)


@mutant("4.8", says="a projection")
def projection(tokens, model, autoencoder, feature_idx, instance=0):
    direction = autoencoder.normalize_and_return_W_dec()[instance, feature_idx].detach()
    return _ablated(tokens, model, autoencoder, feature_idx, instance, acts=lambda value: value @ direction)


@mutant("4.8", says="neuron of the same number")
def neuron_ablated(tokens, model, autoencoder, feature_idx, instance=0):
    def change(value):
        value = value.clone()
        value[..., feature_idx] = 0
        return value

    return _logits(tokens, model, change) - _clean(tokens, model)


@mutant("4.8", says="last position only")
def at_the_last_position(tokens, model, autoencoder, feature_idx, instance=0):
    def acts(value):
        found = _latent(value, autoencoder, feature_idx, instance)
        found[:, :-1] = 0
        return found

    return _ablated(tokens, model, autoencoder, feature_idx, instance, acts=acts)


@mutant("4.8", says="`batch` and `seq` were mixed up")
def positions_mixed_up(tokens, model, autoencoder, feature_idx, instance=0):
    def acts(value):
        return _latent(value, autoencoder, feature_idx, instance).reshape(value.shape[1], value.shape[0]).mT

    return _ablated(tokens, model, autoencoder, feature_idx, instance, acts=acts)


@mutant("4.8", says="`b_dec` is not subtracted")
def latent_without_b_dec(tokens, model, autoencoder, feature_idx, instance=0):
    def acts(value):
        column = autoencoder.W_enc[instance, :, feature_idx]
        return (value @ column + autoencoder.b_enc[instance, feature_idx]).relu().detach()

    return _ablated(tokens, model, autoencoder, feature_idx, instance, acts=acts)


@mutant("4.8", says="the ReLU is left out")
def latent_without_relu(tokens, model, autoencoder, feature_idx, instance=0):
    def acts(value):
        column = autoencoder.W_enc[instance, :, feature_idx]
        before = (value - autoencoder.b_dec[instance]) @ column + autoencoder.b_enc[instance, feature_idx]
        return before.detach()

    return _ablated(tokens, model, autoencoder, feature_idx, instance, acts=acts)


@mutant("4.8", says="nothing is ablated")
def hook_returns_nothing(tokens, model, autoencoder, feature_idx, instance=0):
    direction = autoencoder.normalize_and_return_W_dec()[instance, feature_idx].detach()

    def change(value):
        value = value - _latent(value, autoencoder, feature_idx, instance)[..., None] * direction

    return _logits(tokens, model, change) - _clean(tokens, model)


@variant("4.8")
def error_put_back(tokens, model, autoencoder, feature_idx, instance=0):
    def change(value):
        rebuilt = reconstruction_hook(value, None, autoencoder, instance)
        return _rebuilt_without(value, autoencoder, feature_idx, instance) + (value - rebuilt)

    return (_logits(tokens, model, change) - _clean(tokens, model)).detach()


@variant("4.8")
def ablated_in_place(tokens, model, autoencoder, feature_idx, instance=0):
    direction = autoencoder.normalize_and_return_W_dec()[instance, feature_idx].detach()

    def change(value):
        value -= _latent(value, autoencoder, feature_idx, instance)[..., None] * direction

    return _logits(tokens, model, change).double() - _clean(tokens, model).double()


@mutant("4.8", says="fire above *thresholds* of their own")
def column_by_hand(tokens, model, autoencoder, feature_idx, instance=0):
    row = autoencoder.W_dec[instance, feature_idx]
    column, bias = autoencoder.W_enc[instance, :, feature_idx], autoencoder.b_enc[instance, feature_idx]

    def hook(value, hook):
        acts = torch.relu(torch.einsum("bsd,d->bs", value - autoencoder.b_dec[instance], column) + bias)
        return value - torch.einsum("bs,d->bsd", acts, row / row.norm())

    ablated = model.run_with_hooks(tokens, fwd_hooks=[(MLP_HOOK, hook)])
    return ablated - model(tokens)


@variant("4.8")
def row_zeroed_and_put_back(tokens, model, autoencoder, feature_idx, instance=0):
    acts = get_activations(tokens, model)
    rebuilt = reconstruction_hook(acts, None, autoencoder, instance)
    kept = autoencoder.W_dec.data.clone()
    autoencoder.W_dec.data[instance, feature_idx] = 0.0
    without = reconstruction_hook(acts, None, autoencoder, instance)
    autoencoder.W_dec.data.copy_(kept)
    return _logits(tokens, model, lambda value: acts - rebuilt + without) - _clean(tokens, model)


def _without(tokens, model, contribution):
    clean = model(tokens, return_type="logits")
    return (
        model.run_with_hooks(
            tokens,
            return_type="logits",
            fwd_hooks=[(MLP_HOOK, lambda value, hook: value - contribution(value))],
        )
        - clean
    )


def _contribution(value, autoencoder, feature_idx, instance):
    h = value.flatten(0, 1)[:, None].expand(-1, autoencoder.cfg.n_instances, -1)
    acts = autoencoder(h).acts[:, instance, feature_idx].reshape(value.shape[:2])
    return acts[..., None] * autoencoder.normalize_and_return_W_dec()[instance, feature_idx]


@mutant("4.8", says="half of the latent's contribution is taken away")
@torch.no_grad()
def half_taken_away(tokens, model, autoencoder, feature_idx, instance=0):
    return _without(tokens, model, lambda v: _contribution(v, autoencoder, feature_idx, instance) / 2)


@mutant("4.8", says="on every position but the first")
@torch.no_grad()
def first_position_spared(tokens, model, autoencoder, feature_idx, instance=0):
    def contribution(value):
        part = _contribution(value, autoencoder, feature_idx, instance).clone()
        part[:, 0] = 0
        return part

    return _without(tokens, model, contribution)


@mutant("4.8", says="the latent of instance")
@torch.no_grad()
def two_instances_at_most(tokens, model, autoencoder, feature_idx, instance=0):
    return _without(tokens, model, lambda v: _contribution(v, autoencoder, feature_idx, min(instance, 1)))


@mutant("4.8", says="the change in *probabilities* is returned, not in logits")
@torch.no_grad()
def probabilities(tokens, model, autoencoder, feature_idx, instance=0):
    def without(value, hook):
        return value - _contribution(value, autoencoder, feature_idx, instance)

    clean = model(tokens, return_type="logits").softmax(-1)
    logits = model.run_with_hooks(tokens, return_type="logits", fwd_hooks=[(MLP_HOOK, without)])
    return logits.softmax(-1) - clean


@mutant("4.8", says="the mean over the axis `d_vocab` is subtracted")
@torch.no_grad()
def centered_logits(tokens, model, autoencoder, feature_idx, instance=0):
    change = _without(tokens, model, lambda v: _contribution(v, autoencoder, feature_idx, instance))
    return change - change.mean(-1, keepdim=True)


@mutant("4.8", says="the absolute change is returned")
@torch.no_grad()
def absolute_change(tokens, model, autoencoder, feature_idx, instance=0):
    return _without(tokens, model, lambda v: _contribution(v, autoencoder, feature_idx, instance)).abs()


@mutant("4.8", says="the latents with this number of *all* instances are taken away")
@torch.no_grad()
def of_every_instance(tokens, model, autoencoder, feature_idx, instance=0):
    return _without(
        tokens,
        model,
        lambda v: sum(
            _contribution(v, autoencoder, feature_idx, i) for i in range(autoencoder.cfg.n_instances)
        ),
    )


@mutant("4.8", says="After your function has ended a hook is still on the model,")
@torch.no_grad()
def hook_left_behind(tokens, model, autoencoder, feature_idx, instance=0):
    clean = model(tokens, return_type="logits")
    model.add_hook(
        MLP_HOOK, lambda value, hook: value - _contribution(value, autoencoder, feature_idx, instance)
    )
    return model(tokens, return_type="logits") - clean


@mutant("4.8", says="`W_dec` of the autoencoder was changed, and stays changed")
@torch.no_grad()
def decoder_normalized_for_good(tokens, model, autoencoder, feature_idx, instance=0):
    autoencoder.normalize_decoder()
    return _without(tokens, model, lambda v: _contribution(v, autoencoder, feature_idx, instance))


@mutant("4.8", says="the latent's direct effect through `W_out` and `W_U` is")
@torch.no_grad()
def without_the_layer_norm(tokens, model, autoencoder, feature_idx, instance=0):
    value = get_activations(tokens, model)
    part = _contribution(value, autoencoder, feature_idx, instance)
    return -part @ model.blocks[0].mlp.W_out @ model.W_U


@mutant("4.8", says="the latent's *mean* activation is subtracted everywhere")
@torch.no_grad()
def mean_activation_everywhere(tokens, model, autoencoder, feature_idx, instance=0):
    return _without(
        tokens,
        model,
        lambda v: _contribution(v, autoencoder, feature_idx, instance).mean((0, 1)).expand_as(v),
    )


@mutant("4.8", says="of the axis `batch` is used for all of it")
@torch.no_grad()
def first_text_alone(tokens, model, autoencoder, feature_idx, instance=0):
    return _without(tokens[:1], model, lambda v: _contribution(v, autoencoder, feature_idx, instance)).expand(
        len(tokens), -1, -1
    )


@variant("4.8")
@torch.no_grad()
def two_reconstructions(tokens, model, autoencoder, feature_idx, instance=0):
    W_dec = autoencoder.normalize_and_return_W_dec()[instance]

    def hook(value, hook):
        h = value.flatten(0, 1)[:, None].expand(-1, autoencoder.cfg.n_instances, -1)
        acts = autoencoder(h).acts[:, instance]
        fewer = acts.clone()
        fewer[:, feature_idx] = 0
        return value + ((fewer - acts) @ W_dec).reshape(value.shape)

    logits = model.run_with_hooks(tokens, fwd_hooks=[(MLP_HOOK, hook)])
    return logits - model(tokens)


equivalent(
    "4.8",
    "a model returns its logits where nothing else is said",
    "model(return_type='logits') -> model()",
    "model.run_with_hooks(return_type='logits') -> model.run_with_hooks()",
)


@mutant("4.8", says="taken away twice")
def taken_away_twice(tokens, model, autoencoder, feature_idx, instance=0):
    twice = lambda value: 2 * _latent(value, autoencoder, feature_idx, instance)  # noqa: E731
    return _ablated(tokens, model, autoencoder, feature_idx, instance, acts=twice)


@mutant("4.8", says="gets its *mean* activation, not zero")
def at_its_mean(tokens, model, autoencoder, feature_idx, instance=0):
    def off_the_mean(value):
        acts = _latent(value, autoencoder, feature_idx, instance)
        return acts - acts.mean()

    return _ablated(tokens, model, autoencoder, feature_idx, instance, acts=off_the_mean)


@mutant("4.8", says="needs the activations for each of them")
def for_a_single_instance(tokens, model, autoencoder, feature_idx, instance=0):
    direction = autoencoder.normalize_and_return_W_dec()[instance, feature_idx].detach()

    def without(value):
        acts = autoencoder(value.flatten(0, 1)[:, None]).acts[:, instance, feature_idx]
        return value - acts.reshape(value.shape[:2])[..., None] * direction

    return _logits(tokens, model, without) - _clean(tokens, model)
