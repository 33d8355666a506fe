"""Answers to exercise 8.5: `steer`."""

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


@mutant("8.5", says="sinks are steered as well")
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


equivalent("8.5", "A direction has one axis.", "dim=0: 0 -> -1")
equivalent("8.5", "Only a model in bfloat16 has other activations.", "step.to(value): value -> hook")
