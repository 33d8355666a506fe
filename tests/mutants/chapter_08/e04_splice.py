"""Answers to exercise 8.4: `splice`."""

import torch

from tests.mutants import equivalent, mutant, variant


def parts(value, autoencoder, factors, instance):
    """Latents, changed latents, and a function that decodes."""
    inputs = value.flatten(0, 1)[:, None].expand(-1, autoencoder.cfg.n_instances, -1)
    acts = autoencoder.encode(inputs).detach()
    changed = acts if factors is None else acts * factors
    return acts, changed, lambda a: autoencoder.decode(a).detach()[:, instance].view(value.shape)


def new(value, autoencoder, factors, with_error, instance, times=1):
    acts, changed, decode = parts(value, autoencoder, factors, instance)
    return decode(changed) + times * with_error * (value - decode(acts))


@mutant("8.4", says="sinks are replaced as well")
def everywhere(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return new(value, autoencoder, factors, with_error, instance)


@mutant("8.4", says="`keep` is inverted")
def only_sinks(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return torch.where(keep[..., None], value, new(value, autoencoder, factors, with_error, instance))


@mutant("8.4", says="added twice")
def error_twice(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return torch.where(keep[..., None], new(value, autoencoder, factors, with_error, instance, 2), value)


@mutant("8.4", says="error term is left out")
def never_the_error(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return torch.where(keep[..., None], new(value, autoencoder, factors, False, instance), value)


@mutant("8.4", says="although `with_error` is False")
def always_the_error(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return torch.where(keep[..., None], new(value, autoencoder, factors, True, instance), value)


@mutant("8.4", says="takes the change back")
def error_of_the_change(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    _, changed, decode = parts(value, autoencoder, factors, instance)
    rebuilt = decode(changed)
    return torch.where(keep[..., None], rebuilt + with_error * (value - rebuilt), value)


@mutant("8.4", says="changes `value` in place")
def in_place(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    value[keep] = new(value, autoencoder, factors, with_error, instance)[keep]
    return value


@mutant("8.4", says="instance 0 is always used")
def first_instance(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return torch.where(keep[..., None], new(value, autoencoder, factors, with_error, 0), value)


@mutant("8.4", says="`factors` is not used")
def no_factors(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return torch.where(keep[..., None], new(value, autoencoder, None, with_error, instance), value)


@mutant("8.4", says="kept or removed")
def on_or_off(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    factors = None if factors is None else (factors != 0).float()
    return torch.where(keep[..., None], new(value, autoencoder, factors, with_error, instance), value)


@mutant("8.4", says="set to zero")
def sinks_zeroed(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return keep[..., None] * new(value, autoencoder, factors, with_error, instance)


@mutant("8.4", says="left out of the result")
def sinks_dropped(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return new(value, autoencoder, factors, with_error, instance)[keep]


@mutant("8.4", says="None")
def no_return(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    torch.where(keep[..., None], new(value, autoencoder, factors, with_error, instance), value)


@mutant("8.4", says="has to be called `hook`")
def parameter_renamed(value, point, autoencoder, keep, factors=None, with_error=False, instance=0):
    return torch.where(keep[..., None], new(value, autoencoder, factors, with_error, instance), value)


@mutant("8.4", says="`b_dec` is not added")
def without_b_dec(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    rebuilt = new(value, autoencoder, factors, with_error, instance)
    return torch.where(
        keep[..., None], rebuilt - (not with_error) * autoencoder.b_dec.detach()[instance], value
    )


@variant("8.4")
def with_forward(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    inputs = value.double().float().flatten(0, 1)[:, None].repeat(1, autoencoder.cfg.n_instances, 1)
    out = autoencoder(inputs)
    rebuilt = out.h_reconstructed[:, instance]
    if factors is not None:
        change = out.acts[:, instance] * (factors - 1)
        rebuilt = rebuilt + change @ autoencoder.normalize_and_return_W_dec()[instance]
    if with_error:
        rebuilt = rebuilt + inputs[:, instance] - out.h_reconstructed[:, instance]
    new = value.clone()
    new[keep] = rebuilt.detach().view_as(value)[keep]
    return new


@variant("8.4")
def difference_of_latents(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    acts, changed, decode = parts(value, autoencoder, factors, instance)
    result = value.clone()
    change = decode(changed) - decode(acts) if with_error else decode(changed) - value
    result[keep] += change[keep]
    return result


@variant("8.4")
def only_what_is_kept(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    result = value.clone()
    rows = value[keep][None]
    result[keep] = new(rows, autoencoder, factors, with_error, instance)[0]
    return result


@mutant("8.4", says="fire above *thresholds* of their own")
def by_formula(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    W_dec = autoencoder.normalize_and_return_W_dec()[instance]
    pre = (value - autoencoder.b_dec[instance]) @ autoencoder.W_enc[instance] + autoencoder.b_enc[instance]
    acts = pre.relu()
    scale = 1 if factors is None else factors
    rebuilt = (acts * scale) @ W_dec + autoencoder.b_dec[instance]
    error = value - (acts @ W_dec + autoencoder.b_dec[instance]) if with_error else 0
    wanted = keep.unsqueeze(-1).float()
    return (wanted * (rebuilt + error) + (1 - wanted) * value).detach().double()


def _splice(value, autoencoder, keep, factors=None, with_error=False, instance=0, change=""):
    inputs = value.float().flatten(0, 1)[:, None].expand(-1, autoencoder.cfg.n_instances, -1)
    acts = autoencoder.encode(inputs)
    plain = autoencoder.decode(acts)[:, instance]
    new = autoencoder.decode(acts if factors is None else acts * factors)[:, instance]
    if with_error:
        new = new + (inputs[:, instance] - plain)
    return torch.where(keep[..., None], new.view(value.shape).to(value.dtype), value)


def _acts(value, autoencoder):
    inputs = value.float().flatten(0, 1)[:, None].expand(-1, autoencoder.cfg.n_instances, -1)
    return autoencoder.encode(inputs)


@mutant("8.4", says="sinks are replaced as well: `keep` is not used")
@torch.no_grad()
def keep_not_used(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _splice(value, autoencoder, torch.ones_like(keep), factors, with_error, instance)


@mutant("8.4", says="`keep` is inverted: only the sinks are replaced")
@torch.no_grad()
def keep_inverted(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _splice(value, autoencoder, ~keep, factors, with_error, instance)


@mutant("8.4", says="sinks are set to zero instead of being left as they are")
@torch.no_grad()
def zeros_elsewhere(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _splice(value, autoencoder, keep, factors, with_error, instance) * keep[..., None]


@mutant("8.4", says="What your hook returns is right, but it changes `value`")
@torch.no_grad()
def in_place_again(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    value[keep] = _splice(value, autoencoder, keep, factors, with_error, instance)[keep]
    return value


@mutant("8.4", says="`factors` is not used")
@torch.no_grad()
def factors_not_used(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _splice(value, autoencoder, keep, None, with_error, instance)


@mutant("8.4", says="`factors` is added to the latents, not multiplied with")
@torch.no_grad()
def factors_added(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    acts = _acts(value, autoencoder)
    plain = autoencoder.decode(acts)[:, instance].view_as(value)
    new = autoencoder.decode(acts if factors is None else acts + factors)[:, instance].view_as(value)
    new = new + value - plain if with_error else new
    return torch.where(keep[..., None], new, value)


@mutant("8.4", says="latents are kept or removed, not multiplied: a factor")
@torch.no_grad()
def factors_as_a_mask(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    factors = None if factors is None else (factors != 0).float()
    return _splice(value, autoencoder, keep, factors, with_error, instance)


@mutant("8.4", says="`factors` is not used")
@torch.no_grad()
def all_zero_factors_are_none(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    factors = factors if factors is not None and factors.any() else None
    return _splice(value, autoencoder, keep, factors, with_error, instance)


@mutant("8.4", says="multiplied by the mean of the factors")
@torch.no_grad()
def factors_after_bias(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    acts = _acts(value, autoencoder)
    plain = autoencoder.decode(acts)[:, instance].view_as(value)
    new = plain if factors is None else plain * factors.mean()
    new = new + value - plain if with_error else new
    return torch.where(keep[..., None], new, value)


@mutant("8.4", says="the error is that of the *changed* reconstruction, which")
@torch.no_grad()
def error_of_the_changed(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    new = _splice(value, autoencoder, keep, factors, False, instance)
    return new + (value - new) if with_error else new


@mutant("8.4", says="the error term is left out")
@torch.no_grad()
def without_error(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _splice(value, autoencoder, keep, factors, False, instance)


@mutant("8.4", says="the error term is added although `with_error` is False")
@torch.no_grad()
def always_with_error(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _splice(value, autoencoder, keep, factors, True, instance)


@mutant("8.4", says="the error term is added twice")
@torch.no_grad()
def error_twice_again(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    new = _splice(value, autoencoder, keep, factors, with_error, instance)
    error = value - _splice(value, autoencoder, keep, None, False, instance)
    return new + error if with_error else new


@mutant("8.4", says="the error term has the wrong sign")
@torch.no_grad()
def error_subtracted(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    new = _splice(value, autoencoder, keep, factors, False, instance)
    error = value - _splice(value, autoencoder, keep, None, False, instance)
    return new - error if with_error else new


@mutant("8.4", says="`with_error` is turned round")
@torch.no_grad()
def error_where_not_asked(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _splice(value, autoencoder, keep, factors, not with_error, instance)


@mutant("8.4", says="instance 0 is always used, whatever `instance` says")
@torch.no_grad()
def always_instance_0(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _splice(value, autoencoder, keep, factors, with_error, 0)


@mutant("8.4", says="the last instance is always used, whatever `instance` says")
@torch.no_grad()
def always_the_last_instance(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _splice(value, autoencoder, keep, factors, with_error, -1)


@mutant("8.4", says="the mean over the instances is taken")
@torch.no_grad()
def mean_of_instances(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    all_of_them = [
        _splice(value, autoencoder, keep, factors, with_error, i) for i in range(autoencoder.cfg.n_instances)
    ]
    return torch.stack(all_of_them).mean(0)


@mutant("8.4", says="the error term is that of instance 0")
@torch.no_grad()
def error_of_instance_0(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    new = _splice(value, autoencoder, keep, factors, False, instance)
    error = value - _splice(value, autoencoder, keep, None, False, 0)
    return new + error if with_error else new


@mutant("8.4", says="needs the activations for each of them")
@torch.no_grad()
def two_instances(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    inputs = value.flatten(0, 1)[:, None].expand(-1, 2, -1)
    acts = autoencoder.encode(inputs)
    plain = autoencoder.decode(acts)[:, instance]
    new = autoencoder.decode(acts if factors is None else acts * factors)[:, instance]
    new = new + inputs[:, instance] - plain if with_error else new
    return torch.where(keep[..., None], new.view_as(value), value)


@mutant("8.4", says="`b_dec` is not added to the reconstruction")
@torch.no_grad()
def b_dec_left_out(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    new = _splice(value, autoencoder, keep, factors, with_error, instance)
    return torch.where(keep[..., None], new - (0 if with_error else autoencoder.b_dec[instance]), value)


@mutant("8.4", says="the decoder's rows are used as they are stored, not at")
@torch.no_grad()
def decoder_as_stored(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    acts = _acts(value, autoencoder)[:, instance]
    W = autoencoder.W_enc[instance].mT if autoencoder.cfg.tied_weights else autoencoder.W_dec[instance]
    plain = acts @ W + autoencoder.b_dec[instance]
    new = (acts if factors is None else acts * factors) @ W + autoencoder.b_dec[instance]
    new = new + value.flatten(0, 1) - plain if with_error else new
    return torch.where(keep[..., None], new.view_as(value), value)


@mutant("8.4", says="rows and positions are mixed up: `flatten` and `view`")
@torch.no_grad()
def axes_mixed(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    new = _splice(value.transpose(0, 1), autoencoder, torch.ones_like(keep).mT, factors, with_error, instance)
    return torch.where(keep[..., None], new.reshape(value.shape), value)


@mutant("8.4", says="an axis of size 1 is lost (`squeeze` removes all of")
@torch.no_grad()
def squeezed(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _splice(value, autoencoder, keep, factors, with_error, instance).squeeze()


@mutant("8.4", says="`keep` of the first text is used for every text")
@torch.no_grad()
def keep_of_the_first_text(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _splice(value, autoencoder, keep[:1].expand_as(keep), factors, with_error, instance)


@mutant("8.4", says="the sinks are left out of the result")
@torch.no_grad()
def kept_rows_only(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _splice(value, autoencoder, keep, factors, with_error, instance)[keep]


@mutant("8.4", says="wrong shape")
@torch.no_grad()
def latents_returned(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _acts(value, autoencoder)[:, instance].unflatten(0, value.shape[:2])


@mutant("8.4", says="Your hook changes `factors` in place. They are used again")
@torch.no_grad()
def factors_changed(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    new = _splice(value, autoencoder, keep, factors, with_error, instance)
    if factors is not None:
        factors.clamp_(0, 1)
    return new


@mutant("8.4", says="`factors` is used twice, so that it counts squared")
@torch.no_grad()
def factors_squared(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    return _splice(value, autoencoder, keep, None if factors is None else factors**2, with_error, instance)


@mutant("8.4", says="Your hook changes `W_dec` of the autoencoder, which is")
@torch.no_grad()
def decoder_scaled_for_good(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    new = _splice(value, autoencoder, keep, factors, with_error, instance)
    if factors is not None and not autoencoder.cfg.tied_weights:
        autoencoder.W_dec.data *= factors[:, None]
    return new


@mutant("8.4", says="the error term is added at the sinks as well")
@torch.no_grad()
def error_at_sinks(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    new = _splice(value, autoencoder, keep, factors, False, instance)
    plain = _splice(value, autoencoder, torch.ones_like(keep), None, False, instance)
    return new + (value - plain) if with_error else new


@variant("8.4")
@torch.no_grad()
def written_into_a_copy(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    new = value.clone()
    rows = value[keep].double().float().unsqueeze(1).repeat(1, autoencoder.cfg.n_instances, 1)
    acts = autoencoder.encode(rows)
    rebuilt = autoencoder.decode(acts)[:, instance]
    changed = rebuilt if factors is None else autoencoder.decode(acts * factors.view(1, 1, -1))[:, instance]
    if with_error:
        changed = value[keep] + (changed - rebuilt)
    new[keep] = changed.to(new.dtype)
    return new


@variant("8.4")
@torch.no_grad()
def through_forward(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    inputs = torch.stack([value.reshape(-1, value.shape[-1])] * autoencoder.cfg.n_instances, dim=1)
    out = autoencoder(inputs.float())
    W = autoencoder.normalize_and_return_W_dec()[instance]
    gone = 0 if factors is None else (out.acts[:, instance] * (1 - factors)) @ W
    start = inputs[:, instance] if with_error else out.h_reconstructed[:, instance]
    new = (start - gone).reshape(value.shape)
    m = keep.unsqueeze(-1).to(value.dtype)
    return (new * m + value * (1 - m)).to(value.dtype)


@variant("8.4")
@torch.no_grad()
def row_by_row(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    rows = []
    for row, wanted in zip(value, keep, strict=True):
        rows.append(_splice(row[None], autoencoder, wanted[None], factors, with_error, instance))
    return torch.cat(rows)


equivalent("8.4", "Only a model in bfloat16 has other activations.", "value.float() -> value")


@mutant("8.4", says="1 is added to the factors")
@torch.no_grad()
def one_added_to_factors(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    factors = None if factors is None else 1 + factors
    return _splice(value, autoencoder, keep, factors, with_error, instance)


@mutant("8.4", says="factors are cut down to lie between 0 and 1")
@torch.no_grad()
def factors_between_0_and_1(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    factors = None if factors is None else factors.clamp(0, 1)
    return _splice(value, autoencoder, keep, factors, with_error, instance)


@mutant("8.4", says="factors below 0 count as 0")
@torch.no_grad()
def no_negative_factors(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    factors = None if factors is None else factors.relu()
    return _splice(value, autoencoder, keep, factors, with_error, instance)
