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


@variant("8.4")
def by_formula(value, hook, autoencoder, keep, factors=None, with_error=False, instance=0):
    W_dec = autoencoder.normalize_and_return_W_dec()[instance]
    pre = (value - autoencoder.b_dec[instance]) @ autoencoder.W_enc[instance] + autoencoder.b_enc[instance]
    acts = pre.relu()
    scale = 1 if factors is None else factors
    rebuilt = (acts * scale) @ W_dec + autoencoder.b_dec[instance]
    error = value - (acts @ W_dec + autoencoder.b_dec[instance]) if with_error else 0
    wanted = keep.unsqueeze(-1).float()
    return (wanted * (rebuilt + error) + (1 - wanted) * value).detach().double()


equivalent("8.4", "Only a model in bfloat16 has other activations.", "value.float() -> value")
