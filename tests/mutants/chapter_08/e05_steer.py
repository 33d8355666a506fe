"""Answers to exercise 8.5: `steer`."""

import functools
import math

import torch
from torch.nn import functional as F

from part_utils.deep_models import massive_activations
from tests.mutants import equivalent, mutant, variant


def hook_for(step, keep):
    """The right hook for a step, or for what it makes of the activations."""

    def add(value, hook):
        wanted = ~massive_activations(value) if keep is None else keep
        return torch.where(wanted[..., None], value + (step(value) if callable(step) else step), value)

    return add


@mutant("8.5", says="`keep` is not used")
def everywhere(direction, strength, largest, keep=None):
    return lambda value, hook: value + strength * largest * F.normalize(direction, dim=0)


@mutant("8.5", says="not brought to unit length")
def not_unit(direction, strength, largest, keep=None):
    return hook_for(strength * largest * direction, keep)


@mutant("8.5", says="own norm")
def scaled_by_the_norm(direction, strength, largest, keep=None):
    unit = F.normalize(direction, dim=0)
    return hook_for(lambda value: strength * largest * unit * value.norm(dim=-1, keepdim=True), keep)


@mutant("8.5", says="changes `value` in place")
def in_place(direction, strength, largest, keep=None):
    def add(value, hook):
        wanted = ~massive_activations(value) if keep is None else keep
        value[wanted] += strength * largest * F.normalize(direction, dim=0)
        return value

    return add


@mutant("8.5", says="`largest` is not used")
def without_largest(direction, strength, largest, keep=None):
    return hook_for(strength * F.normalize(direction, dim=0), keep)


@mutant("8.5", says="`strength` is not used")
def without_strength(direction, strength, largest, keep=None):
    return hook_for(largest * F.normalize(direction, dim=0), keep)


@mutant("8.5", says="subtracted")
def subtracted(direction, strength, largest, keep=None):
    return hook_for(-strength * largest * F.normalize(direction, dim=0), keep)


@mutant("8.5", says="`keep` is inverted")
def inverted(direction, strength, largest, keep=None):
    step = strength * largest * F.normalize(direction, dim=0)

    def add(value, hook):
        wanted = massive_activations(value) if keep is None else ~keep
        return torch.where(wanted[..., None], value + step, value)

    return add


@mutant("8.5", says="by their position")
def all_but_the_first(direction, strength, largest, keep=None):
    step = strength * largest * F.normalize(direction, dim=0)

    def add(value, hook):
        result = value.clone()
        if keep is None:
            result[:, 1:] += step
        else:
            result[keep] += step
        return result

    return add


@mutant("8.5", says="*squared* length")
def divided_by_the_square(direction, strength, largest, keep=None):
    return hook_for(strength * largest * direction / direction.pow(2).sum(), keep)


@mutant("8.5", says="expected a function")
def returns_the_step(direction, strength, largest, keep=None):
    return strength * largest * F.normalize(direction, dim=0)


@mutant("8.5", says="expected a function")
def no_return(direction, strength, largest, keep=None):
    hook_for(strength * largest * F.normalize(direction, dim=0), keep)


@mutant("8.5", says="has to be called `hook`")
def parameter_renamed(direction, strength, largest, keep=None):
    add = hook_for(strength * largest * F.normalize(direction, dim=0), keep)
    return lambda value, point: add(value, point)


@mutant("8.5", says="None")
def hook_without_return(direction, strength, largest, keep=None):
    def add(value, hook):
        value = value + strength * largest * F.normalize(direction, dim=0)

    return add


@mutant("8.5", says="old length")
def length_restored(direction, strength, largest, keep=None):
    unit = F.normalize(direction, dim=0)

    def add(value, hook):
        wanted = ~massive_activations(value) if keep is None else keep
        moved = value + strength * largest * unit
        moved = moved / moved.norm(dim=-1, keepdim=True) * value.norm(dim=-1, keepdim=True)
        return torch.where(wanted[..., None], moved, value)

    return add


@variant("8.5")
def position_by_position(direction, strength, largest, keep=None):
    step = (direction.double() / direction.double().square().sum().sqrt()) * strength * largest

    def add(value, hook=None, **more):
        norms = value.norm(dim=-1)
        new = value.double()
        for row in range(len(value)):
            for place in range(value.shape[1]):
                if keep[row, place] if keep is not None else norms[row, place] <= 3 * norms.median():
                    new[row, place] = new[row, place] + step
        return new

    return add


@variant("8.5")
def with_a_clone(direction, strength, largest, keep=None):
    def add(value, hook):
        result = value.clone()
        wanted = ~massive_activations(value) if keep is None else keep
        result[wanted] += strength * largest * direction / direction.norm()
        return result

    return add


@variant("8.5")
def with_a_product(direction, strength, largest, keep=None):
    class Steering:
        def __call__(self, value, hook=None):
            wanted = keep if keep is not None else ~massive_activations(value)
            return value + wanted[..., None] * (strength * largest / direction.norm()) * direction

    return Steering()


def _sinks(value, factor=3.0):
    norms = value.float().norm(dim=-1)
    return norms > factor * norms.median()


def _steer(direction, strength, largest, keep=None, step=None):
    step = strength * largest * direction / direction.norm() if step is None else step

    def add(value, hook):
        wanted = ~_sinks(value) if keep is None else keep
        return torch.where(wanted[..., None], value + step, value)

    return add


@mutant("8.5", says="the direction is not brought to unit length")
def not_unit_again(direction, strength, largest, keep=None):
    return _steer(direction, strength, largest, keep, strength * largest * direction)


@mutant("8.5", says="`strength` is not used")
def no_strength(direction, strength, largest, keep=None):
    return _steer(direction, 1.0, largest, keep)


@mutant("8.5", says="`largest` is not used: the step is in units of the")
def no_largest(direction, strength, largest, keep=None):
    return _steer(direction, strength, 1.0, keep)


@mutant("8.5", says="`strength` is divided by `largest`")
def over_largest(direction, strength, largest, keep=None):
    return _steer(direction, strength, 1 / largest, keep)


@mutant("8.5", says="a `strength` below 0 is taken without its sign, so that")
def absolute_strength(direction, strength, largest, keep=None):
    return _steer(direction, abs(strength), largest, keep)


@mutant("8.5", says="a `strength` below 0 counts as 0")
def never_down(direction, strength, largest, keep=None):
    return _steer(direction, max(strength, 0), largest, keep)


@mutant("8.5", says="the direction is subtracted")
def subtracted_again(direction, strength, largest, keep=None):
    return _steer(direction, -strength, largest, keep)


@mutant("8.5", says="the step is scaled by each position's own norm, and")
def times_the_norm(direction, strength, largest, keep=None):
    def add(value, hook):
        wanted = ~_sinks(value) if keep is None else keep
        step = strength * value.norm(dim=-1, keepdim=True) * direction / direction.norm()
        return torch.where(wanted[..., None], value + step, value)

    return add


@mutant("8.5", says="the direction takes the activations' place instead of")
def replaced(direction, strength, largest, keep=None):
    def put(value, hook):
        wanted = ~_sinks(value) if keep is None else keep
        step = (strength * largest * direction / direction.norm()).expand_as(value)
        return torch.where(wanted[..., None], step, value)

    return put


@mutant("8.5", says="`keep` is not used")
def keep_not_used(direction, strength, largest, keep=None):
    return _steer(direction, strength, largest, None)


@mutant("8.5", says="`keep` is not used")
def everywhere_again(direction, strength, largest, keep=None):
    return lambda value, hook: value + strength * largest * direction / direction.norm()


@mutant("8.5", says="sinks are steered as well")
def sinks_too(direction, strength, largest, keep=None):
    def add(value, hook):
        wanted = torch.ones(value.shape[:-1], dtype=torch.bool) if keep is None else keep
        return torch.where(
            wanted[..., None], value + strength * largest * direction / direction.norm(), value
        )

    return add


@mutant("8.5", says="`keep` is inverted: only the sinks are steered")
def keep_inverted(direction, strength, largest, keep=None):
    return _steer(direction, strength, largest, None if keep is None else ~keep)


@mutant("8.5", says="`keep` is inverted: only the sinks are steered")
def only_at_sinks(direction, strength, largest, keep=None):
    def add(value, hook):
        wanted = _sinks(value) if keep is None else keep
        return torch.where(
            wanted[..., None], value + strength * largest * direction / direction.norm(), value
        )

    return add


@mutant("8.5", says="sinks are left alone although `keep` is True there")
def sinks_spared_although_kept(direction, strength, largest, keep=None):
    def add(value, hook):
        wanted = ~_sinks(value) if keep is None else keep & ~_sinks(value)
        return torch.where(
            wanted[..., None], value + strength * largest * direction / direction.norm(), value
        )

    return add


@mutant("8.5", says="sinks are found by their position (the first of every")
def first_position_spared(direction, strength, largest, keep=None):
    def add(value, hook):
        wanted = torch.ones(value.shape[:-1], dtype=torch.bool)
        wanted[:, 0] = False
        wanted = wanted if keep is None else keep
        return torch.where(
            wanted[..., None], value + strength * largest * direction / direction.norm(), value
        )

    return add


@mutant("8.5", says="What your hook returns is right, but it changes `value`")
def in_place_again(direction, strength, largest, keep=None):
    def add(value, hook):
        wanted = ~_sinks(value) if keep is None else keep
        value[wanted] += strength * largest * direction / direction.norm()
        return value

    return add


@mutant("8.5", says="What your hook returns is None. Does your function end")
def returns_nothing(direction, strength, largest, keep=None):
    def add(value, hook):
        wanted = ~_sinks(value) if keep is None else keep
        torch.where(wanted[..., None], value + strength * largest * direction / direction.norm(), value)

    return add


@mutant("8.5", says="TransformerLens calls a hook function with `hook=` by")
def other_parameter_name(direction, strength, largest, keep=None):
    add = _steer(direction, strength, largest, keep)
    return lambda value, point: add(value, point)


@mutant("8.5", says="TransformerLens calls a hook function with `hook=` by")
def one_parameter(direction, strength, largest, keep=None):
    add = _steer(direction, strength, largest, keep)
    return lambda value: add(value, None)


@mutant("8.5", says="Your function changes `direction` itself (in place).")
def direction_changed(direction, strength, largest, keep=None):
    direction /= direction.norm()
    return _steer(direction, strength, largest, keep)


@mutant("8.5", says="the direction is divided by the sum of its absolute")
def l1_normalized(direction, strength, largest, keep=None):
    return _steer(direction, strength, largest, keep, strength * largest * direction / direction.abs().sum())


@mutant("8.5", says="the direction is divided by its largest entry, not by its")
def largest_entry_1(direction, strength, largest, keep=None):
    return _steer(direction, strength, largest, keep, strength * largest * direction / direction.abs().max())


@mutant("8.5", says="the direction is divided by its *squared* length")
def squared_length(direction, strength, largest, keep=None):
    return _steer(direction, strength, largest, keep, strength * largest * direction / direction.pow(2).sum())


@mutant("8.5", says="Called a second time with other activations your hook")
def sinks_of_the_first_call(direction, strength, largest, keep=None):
    noted = []

    def add(value, hook):
        if not noted:
            noted.append(~_sinks(value) if keep is None else keep)
        return torch.where(
            noted[0][..., None], value + strength * largest * direction / direction.norm(), value
        )

    return add


@mutant("8.5", says="Called a second time with other activations your hook")
def grows(direction, strength, largest, keep=None):
    step = strength * largest * direction / direction.norm()
    total = torch.zeros_like(step)

    def add(value, hook):
        total.add_(step)
        wanted = ~_sinks(value) if keep is None else keep
        return torch.where(wanted[..., None], value + total, value)

    return add


@mutant("8.5", says="activations are rescaled to their old length afterwards")
def old_length(direction, strength, largest, keep=None):
    add = _steer(direction, strength, largest, keep)

    def steer(value, hook):
        new = add(value, hook)
        return new / new.norm(dim=-1, keepdim=True) * value.norm(dim=-1, keepdim=True)

    return steer


@mutant("8.5", says="`keep` of the first text is used for every text")
def keep_of_the_first_text(direction, strength, largest, keep=None):
    return _steer(direction, strength, largest, None if keep is None else keep[:1])


@mutant("8.5", says="sinks are found by comparing with the *mean* norm")
def sinks_by_the_mean(direction, strength, largest, keep=None):
    def add(value, hook):
        norms = value.norm(dim=-1)
        wanted = norms <= 3 * norms.mean() if keep is None else keep
        return torch.where(
            wanted[..., None], value + strength * largest * direction / direction.norm(), value
        )

    return add


@mutant("8.5", says="sinks are found in each text by itself, not among all")
def sinks_of_each_text(direction, strength, largest, keep=None):
    def add(value, hook):
        norms = value.norm(dim=-1)
        wanted = norms <= 3 * norms.median(-1, keepdim=True).values if keep is None else keep
        return torch.where(
            wanted[..., None], value + strength * largest * direction / direction.norm(), value
        )

    return add


@mutant("8.5", says="sinks are found by comparing with the *mean* norm")
def sinks_after_the_step(direction, strength, largest, keep=None):
    def add(value, hook):
        new = value + strength * largest * direction / direction.norm()
        wanted = ~_sinks(new) if keep is None else keep
        return torch.where(wanted[..., None], new, value)

    return add


@mutant("8.5", says="a `keep` that is False everywhere is taken for none")
def empty_keep_is_none(direction, strength, largest, keep=None):
    return _steer(direction, strength, largest, keep if keep is not None and keep.any() else None)


@mutant("8.5", says="only the last position is steered")
def last_position_only(direction, strength, largest, keep=None):
    def add(value, hook):
        new = value.clone()
        wanted = (~_sinks(value) if keep is None else keep)[:, -1]
        new[:, -1] += wanted[:, None] * strength * largest * direction / direction.norm()
        return new

    return add


@mutant("8.5", says="Your function returns a Tensor; expected a function")
def not_a_function(direction, strength, largest, keep=None):
    return strength * largest * direction / direction.norm()


@mutant("8.5", says="the mean of the direction's entries is subtracted first")
def centered_direction(direction, strength, largest, keep=None):
    return _steer(direction - direction.mean(), strength, largest, keep)


@mutant("8.5", says="an axis of size 1 is lost (`squeeze` removes all of")
def squeezed(direction, strength, largest, keep=None):
    add = _steer(direction, strength, largest, keep)
    return lambda value, hook: add(value, hook).squeeze()


@mutant("8.5", says="activations are *set* to the strength along the")
def clamped_along(direction, strength, largest, keep=None):
    unit = direction / direction.norm()

    def put(value, hook):
        wanted = ~_sinks(value) if keep is None else keep
        along = (value @ unit)[..., None]
        return torch.where(wanted[..., None], value + (strength * largest - along) * unit, value)

    return put


@variant("8.5")
def with_a_class(direction, strength, largest, keep=None):
    class Hook:
        def __call__(self, value, hook=None):
            new = value.clone()
            rows = ~_sinks(value) if keep is None else keep
            new[rows] += (direction.double() / direction.double().norm() * strength * largest).to(value.dtype)
            return new

    return Hook()


@variant("8.5")
def mask_times_step(direction, strength, largest, keep=None):
    def add(value, hook, **more):
        unit = torch.nn.functional.normalize(direction[None])[0]
        mask = (~_sinks(value) if keep is None else keep).to(value.dtype)
        return value + torch.einsum("bs,d->bsd", mask, largest * unit) * strength

    return add


@variant("8.5")
def position_by_position_again(direction, strength, largest, keep=None):
    norm = math.sqrt(sum(float(x) ** 2 for x in direction))

    def add(value, hook):
        wanted = (~_sinks(value) if keep is None else keep).tolist()
        rows = [[v + direction * (strength * largest / norm) if w else v for v, w in zip(vs, ws, strict=False)]
                for vs, ws in zip(value, wanted, strict=False)]  # fmt: skip
        return torch.stack([torch.stack(row) for row in rows])

    return functools.partial(add)


equivalent("8.5", "A direction has one axis.", "dim=0: 0 -> -1")
equivalent("8.5", "Only a model in bfloat16 has other activations.", "step.to(value): value -> hook")
