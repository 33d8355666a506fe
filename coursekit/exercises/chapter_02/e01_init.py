"""Exercise 2.1: `AutoEncoder.__init__`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, shape_text
from coursekit.checking.door import Handle, LearnerError
from coursekit.checking.phrases import explained, unit_rows
from coursekit.exercises.chapter_02.autoencoders import (
    AXES,
    SMALL,
    TIED,
    WIDE,
    held_parameters,
    moved,
    shapes_of,
)
from part_utils.autoencoder import AutoEncoderConfig


@exercise(
    id="2.1",
    reference="autoencoder.AutoEncoder.__init__",
    base="nn.Module",
    difficulty=2,
    importance=3,
    minutes=10,
    points=2,
)
def autoencoder_init(check: Check) -> None:
    for cfg in (SMALL, WIDE, TIED):
        with explained(
            {
                "before Module.__init__() call": "The module is not set up yet: call `super().__init__()` before the "
                "first parameter is made.",
            }
        ):
            made = check.create(cfg)
        if check.learner.get(made, "cfg") is None:
            raise Mistake(
                "There is no `self.cfg`. Keep the configuration: `forward` needs its `l1_coeff` and `tied_weights`."
            )
        # Another one, for it is changed by that.
        other = check.create(cfg)
        before = {name: check.learner.get(made, name) for name in shapes_of(cfg)}
        trainable = moved(check, held_parameters(check, other), other, cfg)
        for name, value in before.items():
            after = check.learner.get(made, name)
            if isinstance(value, Tensor) and isinstance(after, Tensor) and not torch.equal(value, after):
                raise Mistake(
                    f"Two autoencoders share `{name}`: training one changes the other. Make new parameters in "
                    "`__init__`, and keep none outside of it."
                )
        for name, shape in shapes_of(cfg).items():
            _check_parameter(check, made, name, shape, trainable, cfg.tied_weights)
        if cfg.tied_weights:
            check.holds(
                check.learner.get(made, "W_dec") is None,
                "with tied weights there is no `W_dec`",
                "There is a `W_dec` although the weights are tied. The decoder is the transpose of `W_enc` then, and "
                "a second matrix is wrong: `cfg.tied_weights` has to be asked.",
            )
        else:
            W_dec = check.learner.get(made, "W_dec")
            check.learner.set(made, W_enc=check.normal(*shapes_of(cfg)["W_enc"]))
            check.holds(
                torch.equal(W_dec, check.learner.get(made, "W_dec")),
                "encoder and decoder are separate when the weights are not tied",
                "`W_dec` changes when `W_enc` changes: both lie in the same memory. With untied weights the decoder "
                "needs numbers of its own.",
            )

    _check_seed(check)
    for cfg in (SMALL, TIED):
        _check_device(check, cfg)


def _check_seed(check: Check) -> None:
    drawn = []
    for _ in range(2):
        check.create(SMALL)
        drawn.append(check.learner.call("torch.rand", 3))
    check.holds(
        not torch.equal(*drawn),
        "other random numbers go on as they were",
        "`__init__` sets torch's seed (`torch.manual_seed`). Every autoencoder then starts the same, and whatever is "
        "drawn after it repeats itself. Draw the weights without setting a seed.",
    )


def _check_device(check: Check, cfg: AutoEncoderConfig) -> None:
    """All parameters are made where they were asked for: on `meta`, which every computer has."""
    try:
        made = check.create(cfg, device="meta")
    except LearnerError as error:
        # There are no values on `meta`, and who looks at them is not wrong.
        if "meta" in error.said or "device" in error.said:
            return
        raise
    here = [name for name in shapes_of(cfg) if isinstance(check.learner.get(made, name), Tensor)]
    check.holds(
        not here,
        "all parameters are made on the `device` that was asked for",
        f"Not made on the `device` that was asked for: {', '.join(f'`{name}`' for name in here)}. Hand the device on "
        "where a tensor is made: `torch.zeros(..., device=device)`.",
    )
    held = held_parameters(check, made)
    lost = [name for name in shapes_of(cfg) if not check.learner.call((held, "holds"), name)]
    check.holds(
        not lost,
        "and are parameters there",
        f"On another `device` {', '.join(f'`{name}`' for name in lost)} would not be trained: "
        "`nn.Parameter(...).to(device)` returns a plain tensor. Make the tensor on the device, then wrap it.",
    )


def _check_parameter(
    check: Check, made: Handle, name: str, shape: tuple[int, ...], trainable: list[str], tied: bool
) -> None:
    """One parameter is there, has its shape, is trained, and starts as it should."""
    value = check.learner.get(made, name)
    if value is None:
        if name == "W_dec":
            raise Mistake(
                "There is no `W_dec` although `cfg.tied_weights` is False: then the decoder has weights of its own."
            )
        raise Mistake(f"There is no `{name}`: `self.{name}` has to be made in `__init__`.")
    value = check.tensor(value, f"`{name}`")
    if value.shape != shape:
        expected = torch.empty(shape)
        if value.shape == (*shape[:-2], shape[-1], shape[-2]):
            problem = "is transposed: its last two axes are exchanged"
            if len(shape) == 2:
                problem = "is transposed: its two axes are exchanged"
        elif value.shape == shape[1:] or value.shape == (1, *shape[1:]):
            problem = "is missing the axis of the instances: each of them has parameters of its own"
        elif name == "b_enc" and value.shape[-1] != shape[-1]:
            problem = "has the wrong length: there is one number for each latent (`n_hidden_ae`)"
        elif name == "b_dec" and value.shape[-1] != shape[-1]:
            problem = "has the wrong length: there is one number for each input dimension (`n_input_ae`)"
        else:
            problem = "has the wrong shape"
        raise Mistake(
            f"`{name}` {problem}.",
            [f"expected {shape_text(expected, AXES[name])}, got {shape_text(value)}"],
        )
    if name not in trainable:
        raise Mistake(
            f"`{name}` is no parameter that takes gradients, so an optimizer would never change it. Wrap it in "
            "`nn.Parameter(...)`, which takes them as long as `requires_grad` is left as it is."
        )
    if name.startswith("b_"):
        if bool((value == 0).all()):
            check.holds(True, "the biases start at zero", "")
            return
        same = bool((value == value.flatten()[0]).all())
        raise Mistake(
            f"`{name}` starts at {'one and the same number' if same else 'random numbers'}; biases start at zero.",
            [f"its first values are {[round(number, 4) for number in value.flatten()[:4].tolist()]}"],
        )
    if not torch.isfinite(value).all():
        raise Mistake(f"`{name}` has values that are not finite. Was it left uninitialized (`torch.empty`)?")
    if bool((value == 0).all()):
        raise Mistake(
            f"`{name}` starts at zero, and from there no latent ever gets a gradient. Draw it at random."
        )
    if bool((value == value[:1]).all()):
        raise Mistake(
            f"`{name}` is the same in every instance, so that all of them would learn the same. Draw each "
            "instance's numbers on their own."
        )
    whole = torch.nn.functional.normalize(value.double().flatten(1), dim=1)
    if bool(((whole @ whole[0]).abs() > 0.9999).all()):
        raise Mistake(
            f"In `{name}` the instances differ only by a factor: all have the same directions. Draw each instance's "
            "numbers on their own."
        )
    columns = value if name == "W_dec" else value.mT
    if bool((columns == columns[:, :1]).all()):
        raise Mistake(f"`{name}` is the same for every latent, so that all of them would learn the same.")
    units = unit_rows(columns)
    if shape[-1] > 1 and shape[-2] > 1 and bool(((units @ units[:, :1].mT).abs() > 0.9999).all()):
        raise Mistake(
            f"All directions in `{name}` lie on one line: the numbers of a latent are copies of one another. Draw each "
            "number on its own."
        )
    if bool((value >= 0).all()) or bool((value <= 0).all()):
        raise Mistake(
            f"Every number in `{name}` has the same sign, so the directions all point the same way. Draw numbers "
            "that can be negative, for instance with `torch.randn`."
        )
    if columns.shape[-1] > 4 and bool(((columns >= 0).all(-1) | (columns <= 0).all(-1)).all()):
        raise Mistake(
            f"All numbers of a direction in `{name}` have the same sign, so that the directions do not go every way. "
            "Draw each number on its own, for instance with `torch.randn`."
        )
    length = columns.double().norm(dim=-1).mean().item()
    check.holds(
        1e-3 < length < 1e3,
        f"`{name}` is a trained parameter of the right shape, random and different in every instance",
        f"The directions in `{name}` start with a mean length of {length:.3g}, which is too "
        f"{'short' if length < 1 else 'long'} to train from. Aim for about 1.",
    )
