"""Chapter 2: a sparse autoencoder on the toy model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake, agree, compare, shape_text, variations
from coursekit.checking.door import Handle, LearnerError
from part_utils.autoencoder import AutoEncoderConfig

AUTOENCODER = "part_utils.autoencoder.AutoEncoder"
PARAMETERS = "coursekit.checking.fixtures.Parameters"
AXES = {
    "W_enc": "n_instances n_input_ae n_hidden_ae",
    "W_dec": "n_instances n_hidden_ae n_input_ae",
    "b_enc": "n_instances n_hidden_ae",
    "b_dec": "n_instances n_input_ae",
}
# Forward's results, in order.
FIELDS = {
    "l1_loss": "batch n_instances",
    "l2_loss": "batch n_instances",
    "loss": "",
    "acts": "batch n_instances n_hidden_ae",
    "h_reconstructed": "batch n_instances n_input_ae",
}
SMALL = AutoEncoderConfig(n_instances=3, n_input_ae=5, n_hidden_ae=7, l1_coeff=0.3)
WIDE = AutoEncoderConfig(n_instances=2, n_input_ae=11, n_hidden_ae=3, l1_coeff=0.7)
TIED = AutoEncoderConfig(n_instances=3, n_input_ae=2, n_hidden_ae=7, l1_coeff=0.2, tied_weights=True)


# What chapters 2 and 3 share


def shapes_of(cfg: AutoEncoderConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter that an autoencoder of these sizes has."""
    instances, inputs, latents = cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae
    shapes: dict[str, tuple[int, ...]] = {
        "W_enc": (instances, inputs, latents),
        "W_dec": (instances, latents, inputs),
        "b_enc": (instances, latents),
        "b_dec": (instances, inputs),
    }
    if cfg.tied_weights:
        del shapes["W_dec"]
    return shapes


def random_weights(check: Check, cfg: AutoEncoderConfig) -> dict[str, Tensor]:
    """Weights with biases that are not zero and directions of very different lengths."""
    weights = {name: check.normal(*shape) for name, shape in shapes_of(cfg).items()}
    weights["W_enc"] *= check.uniform(cfg.n_instances, 1, cfg.n_hidden_ae, low=0.3, high=1.5)
    if "W_dec" in weights:
        weights["W_dec"] *= check.uniform(cfg.n_instances, cfg.n_hidden_ae, 1, low=0.3, high=3.0)
    return weights


def make_autoencoder(
    check: Check, cfg: AutoEncoderConfig, weights: Mapping[str, Tensor], target: str | None = AUTOENCODER
) -> Handle:
    """An autoencoder with these weights: the reference's, or of the learner's class if target is None."""
    autoencoder = check.create(cfg, target=target)
    check.learner.set(autoencoder, **weights)
    return autoencoder


def read_weights(check: Check, autoencoder: Handle, cfg: AutoEncoderConfig) -> dict[str, Tensor]:
    """The autoencoder's parameters as they are now."""
    return {name: check.tensor(check.learner.get(autoencoder, name), f"`{name}`") for name in shapes_of(cfg)}


def changed_weights(
    check: Check, autoencoder: Handle, cfg: AutoEncoderConfig, before: Mapping[str, Tensor]
) -> list[str]:
    """The names of the parameters that are not what they were before."""
    after = read_weights(check, autoencoder, cfg)
    return [name for name in before if not torch.equal(after[name], before[name])]


def unit_rows(W: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    """Divided by the length along an axis; zero stays zero."""
    return W / W.norm(dim=dim, keepdim=True).clamp_min(1e-8)


def decoder_of(weights: Mapping[str, Tensor]) -> Tensor:
    """The decoder as it is stored: W_dec, or the encoder's transpose when the weights are tied."""
    return weights.get("W_dec", weights["W_enc"].mT)


@contextmanager
def explained(explanations: Mapping[str, str]) -> Iterator[None]:
    """Say in the course's words what an exception of the learner's code means.

    Maps a piece of the exception's text ("" for any) to the sentence that is shown above it.
    """
    try:
        yield
    except LearnerError as error:
        for said, sentence in explanations.items():
            if said in str(error):
                raise Mistake(sentence, str(error).splitlines()) from None
        raise


# Exercise 2.1


@exercise(
    id="2.1",
    reference="autoencoder.AutoEncoder.__init__",
    base="nn.Module",
    title="The parameters of an autoencoder",
    statement="""
A sparse autoencoder reads a hidden vector $h$ and looks for the features in it. It computes

$$z = \\mathrm{ReLU}\\big((h - b_{dec})\\, W_{enc} + b_{enc}\\big), \\qquad \\hat h = z\\, W_{dec} + b_{dec}$$

with more latents $z$ than there are dimensions in $h$. Make its parameters, one set for each instance:

| parameter | shape |
|---|---|
| `W_enc` | `n_instances n_input_ae n_hidden_ae` |
| `W_dec` | `n_instances n_hidden_ae n_input_ae`, only if `cfg.tied_weights` is False |
| `b_enc` | `n_instances n_hidden_ae` |
| `b_dec` | `n_instances n_input_ae` |

Both matrices start at random, each instance on its own: the scale is up to you. Both biases start at zero. Keep `cfg`
as `self.cfg`, because the other methods ask it. With tied weights the decoder is the encoder's transpose, so a `W_dec`
of its own would be a parameter that nothing trains.
""",
    hints=(
        "A module has to be set up before it can hold parameters: `super().__init__()` comes first.",
        "`nn.Parameter(tensor)` makes a tensor that an optimizer will find. `torch.randn` and `torch.zeros` take the "
        "shape, and `device=device`.",
        "If all instances start from the same matrix, they all learn the same. Draw a matrix with the axis "
        "`n_instances` in it, and do not expand one.",
        "Four assignments: `self.W_enc = nn.Parameter(torch.randn(n_instances, n_input_ae, n_hidden_ae, …))`, the two "
        "biases with `torch.zeros`, and `self.W_dec` inside `if not cfg.tied_weights:`.",
    ),
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
        trainable = check.learner.call((check.create(made, target=PARAMETERS), "trainable"))
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
            "`nn.Parameter(...)`."
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
    columns = value if name == "W_dec" else value.mT
    if bool((columns == columns[:, :1]).all()):
        raise Mistake(f"`{name}` is the same for every latent, so that all of them would learn the same.")
    if bool((value >= 0).all()) or bool((value <= 0).all()):
        raise Mistake(
            f"Every number in `{name}` has the same sign, so the directions all point the same way. Draw numbers "
            "that can be negative, for instance with `torch.randn`."
        )
    length = columns.double().norm(dim=-1).mean().item()
    check.holds(
        1e-3 < length < 1e3,
        f"`{name}` is a trained parameter of the right shape, random and different in every instance",
        f"The directions in `{name}` start with a mean length of {length:.3g}, which is too "
        f"{'short' if length < 1 else 'long'} to train from. Aim for about 1.",
    )


# Exercise 2.2

LENGTHS: dict[str, Callable[[Tensor], Tensor]] = {
    "": unit_rows,
    "it is not normalized": lambda W: W,
    "its *columns* are normalized (`dim=1`) instead of its rows": lambda W: unit_rows(W, -2),
    "each instance's whole matrix is brought to length 1, not each of its rows": lambda W: unit_rows(
        W, (1, 2)
    ),
    "everything is divided by one length, over all instances": lambda W: W / W.norm(),
    "the length is taken over the instances (`dim=0`)": lambda W: unit_rows(W, 0),
    "each row is divided by its *squared* length": lambda W: (
        W / W.pow(2).sum(-1, keepdim=True).clamp_min(1e-16)
    ),
    "each row is divided by the square root of its length": lambda W: (
        W / W.norm(dim=-1, keepdim=True).clamp_min(1e-8).sqrt()
    ),
    "each row is divided by the sum of its absolute values (the L1 norm)": lambda W: (
        W / W.abs().sum(-1, keepdim=True).clamp_min(1e-8)
    ),
    "each row is divided by its largest value": lambda W: W / W.abs().amax(-1, keepdim=True).clamp_min(1e-8),
    "each row is multiplied by its length": lambda W: W * W.norm(dim=-1, keepdim=True),
    "each row is divided by the sum of its values": lambda W: W / W.sum(-1, keepdim=True),
    "a softmax is taken": lambda W: torch.softmax(W, -1),
    "rows that are shorter than 1 are left as they are": lambda W: (
        W / W.norm(dim=-1, keepdim=True).clamp_min(1.0)
    ),
    "0.1 is added to the length, which is too much (1e-8 is enough)": lambda W: (
        W / (W.norm(dim=-1, keepdim=True) + 0.1)
    ),
    "0.01 is added to the length, which is too much (1e-8 is enough)": lambda W: (
        W / (W.norm(dim=-1, keepdim=True) + 0.01)
    ),
    "0.001 is added to the length, which is too much (1e-8 is enough)": lambda W: (
        W / (W.norm(dim=-1, keepdim=True) + 0.001)
    ),
    "the mean is subtracted too (that is LayerNorm)": lambda W: unit_rows(W - W.mean(-1, keepdim=True)),
    "all rows are divided by the *mean* length of the rows": lambda W: (
        W / W.norm(dim=-1, keepdim=True).mean(dim=1, keepdim=True)
    ),
}


@exercise(
    id="2.2",
    reference="autoencoder.AutoEncoder.normalize_decoder",
    methods=("normalize_and_return_W_dec", "normalize_decoder"),
    title="A decoder of unit length, in two ways",
    statement="""
A latent could become small, and its penalty with it, while its decoder row grows. So every row of the decoder is used
at unit length:

$$\\frac{W_{dec}[i, j, :]}{\\lVert W_{dec}[i, j, :] \\rVert}$$

There are two ways to see to it, and you write both.

- `normalize_and_return_W_dec` **parametrizes**: it returns the normalized decoder and leaves the parameters as they
  are. Gradients flow through it, the division included. With tied weights it returns the encoder's transpose,
  normalized in the same way.
- `normalize_decoder` **projects**: it changes `self.W_dec` in place, outside of any gradient. With tied weights there
  is nothing to do.

A row of zeros has no direction. It stays zero in both, and must not become NaN.
""",
    hints=(
        "A row is one latent's direction. Which axis has the entries of that direction, and so which axis is the "
        "length taken over?",
        "`W.norm(dim=-1, keepdim=True)` keeps the axis, so that the division fits. To divide zero by zero safely, "
        "keep the length from falling below a tiny number: `.clamp_min(1e-8)`.",
        "For the tied case start from `self.W_enc.mT`, which exchanges the last two axes.",
        "In `normalize_decoder` the optimizer holds the parameter itself, so do not put a new one in its place: "
        "`self.W_dec /= …` or `self.W_dec.copy_(…)` changes its values.",
    ),
    difficulty=2,
    importance=4,
    minutes=15,
    points=3,
)
def normalize_decoder(check: Check) -> None:
    for cfg in (SMALL, TIED, WIDE):
        _check_returned_decoder(check, cfg)
    for cfg in (SMALL, WIDE):
        _check_decoder_gradient(check, cfg)
    _check_decoder_gradient(check, TIED)
    for cfg in (SMALL, WIDE):
        _check_projected_decoder(check, cfg)
    _check_rows_of_zeros(check)
    weights = random_weights(check, TIED)
    tied = make_autoencoder(check, TIED, weights, target=None)
    with explained(
        {
            "W_dec": "With tied weights there is no `W_dec`, and `normalize_decoder` must leave everything as it is. "
            "Yours raised an error.",
        }
    ):
        check.method(tied, "normalize_decoder")
    check.holds(
        not changed_weights(check, tied, TIED, weights),
        "`normalize_decoder` does nothing when the weights are tied",
        "With tied weights `normalize_decoder` changed the encoder. There is no `W_dec` then, and nothing to project.",
    )


def _decoder_mistakes(weights: Mapping[str, Tensor], tied: bool) -> dict[str, Alternative]:
    """What the known mistakes make of a decoder."""
    stored = decoder_of(weights)
    W_enc = weights["W_enc"]
    sources = {"": lambda: stored}
    if tied:
        sources["the encoder is reshaped instead of transposed"] = lambda: W_enc.reshape(stored.shape)
    else:
        sources["the encoder's transpose is used although the weights are not tied"] = lambda: W_enc.mT
    sources["instance 0 is used for every instance"] = lambda: stored[:1].expand_as(stored)
    mistakes = variations(lambda source, length: length(source()), sources, LENGTHS)
    if tied:
        mistakes["the encoder is returned as it is stored, not transposed"] = W_enc
        mistakes["the encoder is returned untransposed"] = unit_rows(W_enc)
        mistakes["the encoder is normalized but not transposed"] = unit_rows(W_enc, -2)
    else:
        mistakes["the decoder is transposed"] = unit_rows(stored).mT
    return mistakes


def _check_returned_decoder(check: Check, cfg: AutoEncoderConfig) -> None:
    weights = random_weights(check, cfg)
    autoencoder = make_autoencoder(check, cfg, weights, target=None)
    with explained(
        {
            "no attribute 'W_dec'": "With tied weights there is no `W_dec`: the decoder is the transpose of `W_enc`. "
            "`normalize_and_return_W_dec` raised an error."
        }
        if cfg.tied_weights
        else {}
    ):
        returned = check.method(autoencoder, "normalize_and_return_W_dec")
    check.equal(
        returned,
        unit_rows(decoder_of(weights)),
        AXES["W_dec"],
        "with tied weights it is the encoder's transpose, normalized"
        if cfg.tied_weights
        else "`normalize_and_return_W_dec` returns rows of unit length",
        _decoder_mistakes(weights, cfg.tied_weights),
        what="the tied decoder (`normalize_and_return_W_dec`)"
        if cfg.tied_weights
        else "the decoder that `normalize_and_return_W_dec` returns",
    )
    changed = changed_weights(check, autoencoder, cfg, weights)
    check.holds(
        not changed,
        "`normalize_and_return_W_dec` changes no parameter",
        f"`normalize_and_return_W_dec` changed {' and '.join(f'`{name}`' for name in changed)}. It shall compute the "
        "normalized decoder and leave the parameters as they are; `normalize_decoder` is the one that changes them.",
    )


def _check_decoder_gradient(check: Check, cfg: AutoEncoderConfig) -> None:
    name = "W_enc" if cfg.tied_weights else "W_dec"
    weights = random_weights(check, cfg)
    autoencoder = make_autoencoder(check, cfg, weights, target=None)
    cotangent = check.normal(*unit_rows(decoder_of(weights)).shape)
    _, [gradient] = check.learner.gradients(
        (autoencoder, "normalize_and_return_W_dec"), wrt=[name], cotangent=cotangent
    )
    if gradient is None:
        raise Mistake(
            f"No gradient flows from `normalize_and_return_W_dec` back to `{name}`: the result is detached "
            "(`torch.no_grad()`, `.detach()`, `.data`, or a new `nn.Parameter`), so the decoder would never be trained."
        )
    source = weights[name].clone().requires_grad_()
    stored = source.mT if cfg.tied_weights else source
    length = stored.norm(dim=-1, keepdim=True)
    [expected] = torch.autograd.grad((stored / length * cotangent).sum(), [source], retain_graph=True)
    [constant] = torch.autograd.grad((stored / length.detach() * cotangent).sum(), [source])
    if not agree(gradient, expected, 1e-3) and agree(gradient, constant, 1e-3):
        raise Mistake(
            "The values are right, but the gradient is that of a division by a constant: the length is detached "
            "(or computed under `torch.no_grad()`). Gradients flow through the length too.",
            compare(gradient, expected, AXES[name]),
        )
    if not agree(gradient, expected, 1e-3):
        raise Mistake(
            f"The values are right, but the gradient that reaches `{name}` is not. Is part of the computation "
            "detached, or was the parameter itself overwritten (`.data`)?",
            compare(gradient, expected, AXES[name]),
        )
    check.holds(
        True,
        "gradients flow through `normalize_and_return_W_dec`, its division included",
        "",
    )


def _check_projected_decoder(check: Check, cfg: AutoEncoderConfig) -> None:
    weights = random_weights(check, cfg)
    autoencoder = make_autoencoder(check, cfg, weights, target=None)
    optimizer = check.create(autoencoder, target=PARAMETERS)
    with explained(
        {
            "cannot assign": "`self.W_dec` is a parameter, and a plain tensor cannot take its place. Change its values "
            "in place.",
            "leaf Variable": "`W_dec` takes gradients, so it can be changed in place only under `torch.no_grad()`.",
        }
    ):
        check.method(autoencoder, "normalize_decoder")
    replaced = check.learner.call((optimizer, "replaced"))
    trainable = check.learner.call((optimizer, "trainable"))
    if "W_dec" in replaced:
        raise Mistake(
            "After `normalize_decoder` there is a new `W_dec`. The optimizer still holds the old one and would go on "
            "training that: change the values in place."
        )
    if "W_dec" not in trainable:
        raise Mistake("After `normalize_decoder` `W_dec` takes no gradients any more.")
    after = read_weights(check, autoencoder, cfg)
    if torch.equal(after["W_dec"], weights["W_dec"]):
        raise Mistake(
            "`normalize_decoder` did not change `W_dec`. Was a new tensor computed and then not written back into "
            "the parameter?"
        )
    check.equal(
        after["W_dec"],
        unit_rows(weights["W_dec"]),
        AXES["W_dec"],
        "`normalize_decoder` brings the rows of `W_dec` to unit length in place",
        _decoder_mistakes(weights, tied=False),
        what="`W_dec` after `normalize_decoder`",
    )
    others = [name for name in weights if name != "W_dec" and not torch.equal(after[name], weights[name])]
    check.holds(
        not others,
        "`normalize_decoder` leaves the other parameters alone",
        f"`normalize_decoder` changed {' and '.join(f'`{name}`' for name in others)} too. Only `W_dec` is projected.",
    )


def _check_rows_of_zeros(check: Check) -> None:
    weights = random_weights(check, SMALL)
    weights["W_dec"][1, 2] = 0.0
    autoencoder = make_autoencoder(check, SMALL, weights, target=None)
    for what, compute in (
        (
            "`normalize_and_return_W_dec`",
            lambda: check.method(autoencoder, "normalize_and_return_W_dec"),
        ),
        (
            "`normalize_decoder`",
            lambda: (
                check.method(autoencoder, "normalize_decoder"),
                check.learner.get(autoencoder, "W_dec"),
            )[1],
        ),
    ):
        row = check.tensor(compute())[1, 2]
        if not torch.isfinite(row).all():
            raise Mistake(
                f"A row of zeros becomes NaN or infinite in {what}: its length is 0. Keep the length away from zero "
                "before you divide."
            )
        check.holds(
            bool((row == 0).all()),
            "a row of zeros stays a row of zeros",
            f"A row of zeros does not stay zero in {what}.",
            [f"got {[round(number, 4) for number in row.tolist()]}"],
        )


# Exercise 2.3

ENCODER = {
    "": lambda W: W,
    "the encoder of instance 0 is used for every instance": lambda W: W[:1].expand_as(W),
    "the encoders of all instances are added up": lambda W: W.sum(0).expand_as(W),
    "the encoder's columns are normalized (only the decoder is)": lambda W: unit_rows(W, 1),
}
CENTERED: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda b_dec: -b_dec,
    "`b_dec` is not subtracted before encoding": torch.zeros_like,
    "`b_dec` is added before encoding instead of subtracted": lambda b_dec: b_dec,
    "the `b_dec` of instance 0 is subtracted in every instance": lambda b_dec: -b_dec[:1].expand_as(b_dec),
}
ENCODER_BIAS = {
    "": "added",
    "`b_enc` is left out": "omitted",
    "`b_enc` is subtracted instead of added": "subtracted",
    "`b_enc` is added after the ReLU instead of before it": "after",
    "the `b_enc` of instance 0 is used for every instance": "first",
}
ACTIVATION = {
    "": torch.relu,
    "the ReLU is missing": lambda x: x,
    "the absolute value is taken instead of a ReLU": torch.abs,
    "a sigmoid is applied instead of a ReLU": torch.sigmoid,
    "a GELU is applied instead of a ReLU": torch.nn.functional.gelu,
    "a leaky ReLU is applied instead of a ReLU": torch.nn.functional.leaky_relu,
}
DECODER_BIAS: dict[str, Callable[[Tensor], Tensor]] = {
    "": lambda b_dec: b_dec,
    "`b_dec` is not added after decoding": torch.zeros_like,
    "`b_dec` is subtracted after decoding instead of added": lambda b_dec: -b_dec,
    "the `b_dec` of instance 0 is added in every instance": lambda b_dec: b_dec[:1].expand_as(b_dec),
    "`b_dec` is added twice": lambda b_dec: 2 * b_dec,
}


@exercise(
    id="2.3",
    reference="autoencoder.AutoEncoder.forward",
    title="The forward pass and the loss",
    statement="""
Encode, decode, and measure. With the decoder at unit length ($\\bar W_{dec}$, from
`self.normalize_and_return_W_dec()`):

$$z = \\mathrm{ReLU}\\big((h - b_{dec})\\, W_{enc} + b_{enc}\\big), \\qquad \\hat h = z\\, \\bar W_{dec} + b_{dec}$$

For each input and instance, the reconstruction error is a **mean** over its dimensions and the penalty is a **sum**
over the latents:

$$L_2 = \\frac{1}{n_{input}} \\sum_k (h_k - \\hat h_k)^2, \\qquad L_1 = \\sum_j |z_j|$$

The loss is $L_2 + \\texttt{l1\\_coeff} \\cdot L_1$, the mean over the batch and the sum over the instances. The sum
keeps the instances apart: each is trained as if it were alone, however many there are.

Return `AutoEncoderOutput(l1_loss, l2_loss, loss, acts, h_reconstructed)`, or a tuple in this order.
""",
    hints=(
        "Take the five results from back to front: `acts` first, then `h_reconstructed`, then the two losses for "
        "each input and instance, and `loss` last.",
        "`b_dec` appears twice. It is the point where the decoder starts, so it is subtracted before encoding and "
        "added again after decoding.",
        "`acts`: the pattern is `batch n_instances n_input_ae, n_instances n_input_ae n_hidden_ae -> batch n_instances "
        "n_hidden_ae`; then `+ self.b_enc`, then the ReLU.",
        "`l1_loss` and `l2_loss` reduce only the last axis (`dim=-1`) and have the shape `batch n_instances`. `loss` "
        "is a scalar: `.mean(dim=0).sum()` of the weighted sum of both.",
    ),
    difficulty=3,
    importance=5,
    minutes=20,
    points=4,
)
def autoencoder_forward(check: Check) -> None:
    for cfg, batch in ((SMALL, 11), (WIDE, 1), (TIED, 5)):
        weights = random_weights(check, cfg)
        autoencoder = make_autoencoder(check, cfg, weights, target=None)
        h = check.normal(batch, cfg.n_instances, cfg.n_input_ae)
        with explained(
            {
                "no attribute 'W_dec'": "With tied weights there is no `W_dec`: `normalize_and_return_W_dec` works."
            }
            if cfg.tied_weights
            else {}
        ):
            returned = check.method(autoencoder, "forward", h)
        output = _forward_output(returned, h, weights)
        suffix = "" if cfg is SMALL else " with tied weights" if cfg.tied_weights else " for a batch of one"
        _check_acts(check, output["acts"], h, weights, suffix)
        _check_reconstruction(check, output["h_reconstructed"], h, weights, suffix)
        _check_losses(check, output, h, weights, cfg, suffix)
        changed = changed_weights(check, autoencoder, cfg, weights)
        check.holds(
            not changed,
            "`forward` changes no parameter",
            f"`forward` changed {' and '.join(f'`{name}`' for name in changed)}. Use "
            "`self.normalize_and_return_W_dec()`, which leaves the parameters as they are.",
        )
    for cfg in (SMALL, TIED):
        _check_forward_gradient(check, cfg)


def _forward_output(returned: Any, h: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Forward's results by name."""
    names = ", ".join(FIELDS)
    if not isinstance(returned, tuple | list):
        if isinstance(returned, Tensor) or returned is None:
            kind = "None" if returned is None else "one tensor"
        else:
            kind = returned.type_name if isinstance(returned, Handle) else type(returned).__name__
        raise Mistake(f"`forward` returns {kind}; expected a tuple of five: ({names}).")
    if len(returned) < len(FIELDS):
        raise Mistake(f"`forward` returns {len(returned)} values; expected five: ({names}).")
    shapes = [h.shape[:2], h.shape[:2], h.shape[:0], (*h.shape[:2], weights["b_enc"].shape[1]), h.shape]
    found = [tuple(value.shape) for value in returned[:5] if isinstance(value, Tensor)]
    if sorted(found) == sorted(map(tuple, shapes)) and found != [tuple(shape) for shape in shapes]:
        raise Mistake(f"`forward` returns the five results in another order; the order is ({names}).")
    return dict(zip(FIELDS, returned, strict=False))


def _encoded(h: Tensor, weights: Mapping[str, Tensor], encoder, centered, bias, activation) -> Tensor:  # type: ignore[no-untyped-def]
    before = torch.einsum("bix,ixl->bil", h + centered(weights["b_dec"]), encoder(weights["W_enc"]))
    b_enc = weights["b_enc"]
    shift = {"added": b_enc, "subtracted": -b_enc, "first": b_enc[:1].expand_as(b_enc)}.get(bias, 0 * b_enc)
    return activation(before + shift) + (b_enc if bias == "after" else 0)


def _right_acts(h: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    return _encoded(h, weights, ENCODER[""], CENTERED[""], "added", torch.relu)


def _right_reconstruction(h: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    decoder = unit_rows(decoder_of(weights))
    return torch.einsum("bil,ilx->bix", _right_acts(h, weights), decoder) + weights["b_dec"]


def _check_acts(check: Check, acts: Any, h: Tensor, weights: Mapping[str, Tensor], suffix: str) -> None:
    def encoded(*choice: Any) -> Tensor:
        return _encoded(h, weights, *choice)

    expected = _right_acts(h, weights)
    encoders = {**ENCODER}
    if "W_dec" in weights:
        encoders["the decoder's transpose is used for encoding"] = lambda W: unit_rows(weights["W_dec"]).mT
    mistakes = variations(encoded, encoders, CENTERED, ENCODER_BIAS, ACTIVATION)
    mistakes |= {
        "the reconstruction is returned in their place: the order is l1_loss, l2_loss, loss, acts, h_reconstructed": (
            _right_reconstruction(h, weights)
        ),
        "the axes are left in the order `n_instances batch n_hidden_ae`": expected.transpose(0, 1),
        "`b_dec` is subtracted from the activations": expected - weights["b_dec"]
        if expected.shape[-1] == h.shape[-1]
        else None,
    }
    check.equal(acts, expected, FIELDS["acts"], f"`acts` are right{suffix}", mistakes, what="`acts`")


def _check_reconstruction(
    check: Check, reconstructed: Any, h: Tensor, weights: Mapping[str, Tensor], suffix: str
) -> None:
    acts, stored, b_dec = _right_acts(h, weights), decoder_of(weights), weights["b_dec"]

    def decoded(matrix: Callable[[Tensor], Tensor], bias: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.einsum("bil,ilx->bix", acts, matrix(stored)) + bias(b_dec)

    decoders: dict[str, Callable[[Tensor], Tensor]] = {
        "": unit_rows,
        "the decoder is not normalized": lambda W: W,
        "the decoder of instance 0 is used for every instance": lambda W: unit_rows(W)[:1].expand_as(W),
        "the decoders of all instances are added up": lambda W: unit_rows(W).sum(0).expand_as(W),
        "the decoder's *columns* are normalized instead of its rows": lambda W: unit_rows(W, 1),
    }
    if "W_dec" in weights:
        decoders["the encoder's transpose is used for decoding although the weights are not tied"] = (
            lambda W: weights["W_enc"].mT
        )
        decoders[
            "the encoder's transpose, normalized, is used for decoding although the weights are not tied"
        ] = lambda W: unit_rows(weights["W_enc"].mT)
    mistakes = variations(decoded, decoders, DECODER_BIAS)
    expected = decoded(unit_rows, DECODER_BIAS[""])
    mistakes |= {
        "a ReLU is applied to the reconstruction, which may be negative": torch.relu(expected),
        "the latents are returned in its place": acts,
        "the axes are left in the order `n_instances batch n_input_ae`": expected.transpose(0, 1),
        "it is the error `h - h_reconstructed` that is returned": h - expected,
    }
    check.equal(
        reconstructed,
        expected,
        FIELDS["h_reconstructed"],
        f"`h_reconstructed` is right{suffix}",
        mistakes,
        what="`h_reconstructed`",
    )


def _check_losses(
    check: Check,
    output: Mapping[str, Any],
    h: Tensor,
    weights: Mapping[str, Tensor],
    cfg: AutoEncoderConfig,
    suffix: str,
) -> None:
    acts, error = _right_acts(h, weights), h - _right_reconstruction(h, weights)
    l1, l2 = acts.sum(-1), error.pow(2).mean(-1)
    check.equal(
        output["l1_loss"],
        l1,
        FIELDS["l1_loss"],
        f"`l1_loss` is a sum over the latents{suffix}",
        {
            "the *mean* over the latents is taken instead of the sum": acts.mean(-1),
            "the latents are squared": acts.pow(2).sum(-1),
            "the latents are squared and averaged": acts.pow(2).mean(-1),
            "their length (the L2 norm) is taken": acts.norm(dim=-1),
            "it is already multiplied with `l1_coeff`, which belongs into `loss` only": cfg.l1_coeff * l1,
            "`l1_loss` and `l2_loss` are exchanged": l2,
            "it counts the latents that fire instead of adding them up": (acts > 0).double().sum(-1),
            "the largest latent is taken": acts.amax(-1),
            "the mean over the batch is taken already": l1.mean(0),
            "the sum over the batch is taken already": l1.sum(0),
            "the instances are added up already": l1.sum(1),
            "the sum is taken over the instances instead of the latents": acts.sum(1),
            "the sum is taken over the batch instead of the latents": acts.sum(0),
            "the absolute values are not summed over the latents": acts,
            "it is one number already; it has one for each input and instance": l1.mean(0).sum(),
            "one mean over everything is taken": acts.mean(),
            "one sum over everything is taken": acts.sum(),
        },
        what="`l1_loss`",
    )
    centered = error + weights["b_dec"]
    check.equal(
        output["l2_loss"],
        l2,
        FIELDS["l2_loss"],
        f"`l2_loss` is a mean over the input's dimensions{suffix}",
        {
            "the *sum* over the input's dimensions is taken instead of the mean": error.pow(2).sum(-1),
            "the error is not squared": error.mean(-1),
            "the absolute error is taken instead of the squared one": error.abs().mean(-1),
            "the root of the mean squared error is taken": l2.sqrt(),
            "the length of the error is taken, not its mean square": error.norm(dim=-1),
            "it is halved": l2 / 2,
            "the mean over the batch is taken already": l2.mean(0),
            "the sum over the batch is taken already": l2.sum(0),
            "the mean over the input's dimensions is taken and the instances are added up": l2.sum(1),
            "the mean is taken over the instances instead of the input's dimensions": error.pow(2).mean(1),
            "the mean is taken over the batch instead of the input's dimensions": error.pow(2).mean(0),
            "the mean over the input's dimensions is not taken": error.pow(2),
            "it is one number already; it has one for each input and instance": l2.mean(0).sum(),
            "one mean over everything is taken": error.pow(2).mean(),
            "one sum over everything is taken": error.pow(2).sum(),
            "the reconstruction is compared without its `b_dec`": centered.pow(2).mean(-1),
            "the reconstruction is compared with `h - b_dec`": (error - weights["b_dec"]).pow(2).mean(-1),
            "the squared error is divided by the number of latents": error.pow(2).sum(-1) / acts.shape[-1],
            "the *squared input* is measured instead of the error": h.pow(2).mean(-1),
        },
        what="`l2_loss`",
    )
    _check_loss(check, output["loss"], l1, l2, cfg.l1_coeff, suffix)


def _check_loss(check: Check, loss: Any, l1: Tensor, l2: Tensor, l1_coeff: float, suffix: str) -> None:
    def total(terms: Callable[[], Tensor], over_batch: str, over_instances: str) -> Tensor:
        value = getattr(terms(), over_batch)(dim=0) if over_batch else terms()
        return getattr(value, over_instances)(dim=-1) if over_instances else value

    terms = {
        "": lambda: l2 + l1_coeff * l1,
        "`l1_coeff` is ignored": lambda: l2 + l1,
        "the L1 term is missing": lambda: l2,
        "the L2 term is missing": lambda: l1_coeff * l1,
        "`l1_coeff` is multiplied with the L2 term instead of the L1 term": lambda: l1_coeff * l2 + l1,
        "`l1_coeff` is multiplied with both terms": lambda: l1_coeff * (l1 + l2),
        "`l1_coeff` is a fixed 0.5 instead of `self.cfg.l1_coeff`": lambda: l2 + 0.5 * l1,
        "`l1_coeff` is multiplied twice": lambda: l2 + l1_coeff**2 * l1,
        "the L1 term is subtracted": lambda: l2 - l1_coeff * l1,
        "the L1 term is divided by `l1_coeff`": lambda: l2 + l1 / l1_coeff,
        "the weights are `1 - l1_coeff` and `l1_coeff`": lambda: (1 - l1_coeff) * l2 + l1_coeff * l1,
    }
    over_batch = {
        "": "mean",
        "the batch is summed over instead of averaged": "sum",
        "the batch axis is kept: the mean over it is missing": "",
    }
    over_instances = {
        "": "sum",
        "the *mean* over the instances is taken instead of the sum": "mean",
        "the instances are kept apart: the sum over them is missing": "",
    }
    check.equal(
        loss,
        total(terms[""], "mean", "sum"),
        "",
        f"`loss` is right{suffix}",
        variations(total, terms, over_batch, over_instances)
        | {
            "the L2 term is averaged over the instances, and only the L1 term is summed": (
                l2.mean() + l1_coeff * l1.mean(0).sum()
            ),
            "the L1 term is averaged over the instances, and only the L2 term is summed": (
                l2.mean(0).sum() + l1_coeff * l1.mean()
            ),
            "the L2 term is summed over the batch, and only the L1 term is averaged": (
                l2.sum() + l1_coeff * l1.mean(0).sum()
            ),
            "the L1 term is summed over the batch, and only the L2 term is averaged": (
                l2.mean(0).sum() + l1_coeff * l1.sum()
            ),
        },
        what="`loss`",
    )


def _check_forward_gradient(check: Check, cfg: AutoEncoderConfig) -> None:
    """The loss can be trained: all parameters get the right gradients from it."""
    values = random_weights(check, cfg)
    autoencoder = make_autoencoder(check, cfg, values, target=None)
    h = check.normal(11, cfg.n_instances, cfg.n_input_ae)
    names = list(values)

    def gradients(cut: str) -> list[Tensor | None]:
        """The gradients when one piece is detached."""
        weights = {name: value.clone().requires_grad_() for name, value in values.items()}

        def piece(name: str, value: Tensor) -> Tensor:
            return value.detach() if name == cut else value

        acts = torch.relu(
            torch.einsum("bix,ixl->bil", h - piece("first b_dec", weights["b_dec"]), weights["W_enc"])
            + weights["b_enc"]
        )
        stored = decoder_of(weights)
        decoder = stored / piece("length", stored.norm(dim=-1, keepdim=True))
        rebuilt = torch.einsum("bil,ilx->bix", piece("acts", acts), piece("decoder", decoder))
        rebuilt = piece("rebuilt", rebuilt + piece("last b_dec", weights["b_dec"]))
        l2 = (h - rebuilt).pow(2).mean(-1)
        loss = (l2 + cfg.l1_coeff * piece("l1", acts.sum(-1))).mean(0).sum()
        return list(torch.autograd.grad(loss, list(weights.values()), allow_unused=True))

    _, found = check.learner.gradients((autoencoder, "forward"), h, wrt=names, field=2)
    if all(gradient is None for gradient in found):
        raise Mistake(
            "`loss` is cut off from the parameters (`.detach()`, `.item()` or `torch.no_grad()`), so nothing can be "
            "trained with it."
        )

    def same(left: list[Tensor | None], right: list[Tensor | None]) -> bool:
        pairs = zip(left, right, strict=True)
        return all(
            agree(torch.zeros(()) if a is None else a, torch.zeros(()) if b is None else b, 1e-3)
            if (a is None) == (b is None)
            else False
            for a, b in pairs
        )

    expected = gradients("")
    if same(found, expected):
        tied = ", with tied weights too" if cfg.tied_weights else ""
        check.holds(True, f"the gradients of `loss` reach every parameter{tied}", "")
        return
    pieces = {
        "acts": "`acts` are detached before they are decoded",
        "l1": "the L1 term (`acts` or `l1_loss` in it) is detached, so nothing makes the latents sparse",
        "rebuilt": "the L2 term (`h_reconstructed` or `l2_loss`) is detached, so nothing improves the reconstruction",
        "decoder": "the normalized decoder is detached, so it is never trained",
        "length": "the length of the decoder's rows is detached when they are normalized",
        "first b_dec": "`b_dec` is detached where it is subtracted",
        "last b_dec": "`b_dec` is detached where it is added",
    }
    for cut, phrase in pieces.items():
        if same(found, gradients(cut)):
            raise Mistake(f"The values are right, but the gradients are not: {phrase}.")
    for name, gradient, wanted in zip(names, found, expected, strict=True):
        assert wanted is not None
        if gradient is None:
            raise Mistake(
                f"No gradient of `loss` reaches `{name}`: somewhere on the way it is detached or not used."
            )
        if not agree(gradient, wanted, 1e-3):
            raise Mistake(
                f"The values are right, but the gradient of `loss` with respect to `{name}` is not. Is part of the "
                "computation detached?",
                compare(gradient, wanted, AXES[name]),
            )


# Exercise 2.4


@exercise(
    id="2.4",
    reference="autoencoder.cheat_on_l1",
    title="How to cheat on the L1 penalty",
    statement="""
Why all the fuss about unit length? Because without it there is a loophole. For any factor $a > 0$

$$\\mathrm{ReLU}(x / a) = \\mathrm{ReLU}(x) / a,$$

so every latent can be made $a$ times smaller, and the penalty with it, while a longer decoder makes up for it. The
reconstruction stays exactly the same, and nothing has become sparser.

Find the weights that do it for a given autoencoder. They are used without normalizing, and with the original `b_dec`.
Return `(W_enc, b_enc, W_dec)` and leave the autoencoder as it is.
""",
    hints=(
        "What stands inside the ReLU is a sum of two terms. Which parameters have to shrink so that *all* of it "
        "becomes `factor` times smaller?",
        "Start from the decoder that the autoencoder really uses, `normalize_and_return_W_dec()`: it works for tied "
        "weights too.",
        "Divide `W_enc` and `b_enc` by `factor`, and multiply the decoder with it.",
    ),
    difficulty=2,
    importance=4,
    minutes=10,
    points=2,
)
def cheat_on_l1(check: Check) -> None:
    for cfg, factor in ((SMALL, 10.0), (WIDE, 0.25), (TIED, 3)):
        weights = random_weights(check, cfg)
        autoencoder = make_autoencoder(check, cfg, weights)
        with explained(
            {
                "no attribute 'W_dec'": "With tied weights there is no `W_dec`: use "
                "`autoencoder.normalize_and_return_W_dec()`, which works for both."
            }
            if cfg.tied_weights
            else {}
        ):
            returned = check.call(autoencoder, factor)
        if not isinstance(returned, tuple | list) or len(returned) < 3:
            raise Mistake("Return three tensors: `(W_enc, b_enc, W_dec)`.")
        changed = changed_weights(check, autoencoder, cfg, weights)
        if changed:
            raise Mistake(
                f"The autoencoder itself was changed ({', '.join(f'`{name}`' for name in changed)}). Compute new "
                "tensors and leave its parameters alone."
            )
        W_enc, b_enc, W_dec = (
            check.tensor(value, f"`{name}`")
            for name, value in zip(("W_enc", "b_enc", "W_dec"), returned, strict=False)
        )
        _check_cheat(check, cfg, factor, weights, W_enc.float(), b_enc.float(), W_dec.float())


def _check_cheat(
    check: Check,
    cfg: AutoEncoderConfig,
    factor: float,
    weights: Mapping[str, Tensor],
    W_enc: Tensor,
    b_enc: Tensor,
    W_dec: Tensor,
) -> None:
    stored = decoder_of(weights)
    for name, tensor, shape in (
        ("W_enc", W_enc, weights["W_enc"].shape),
        ("b_enc", b_enc, weights["b_enc"].shape),
        ("W_dec", W_dec, stored.shape),
    ):
        if tensor.shape != shape:
            raise Mistake(
                f"`{name}` has the wrong shape: expected {shape_text(torch.empty(shape), AXES[name])}, got "
                f"{shape_text(tensor)}. The order is `(W_enc, b_enc, W_dec)`."
            )
    details = [f"factor {factor}" + (", tied weights" if cfg.tied_weights else "")]
    if agree(W_enc, weights["W_enc"] * factor) and not agree(W_enc, weights["W_enc"] / factor):
        raise Mistake("The encoder was made larger and the decoder smaller: the L1 penalty grows.", details)
    if agree(W_enc, weights["W_enc"] / factor) and agree(b_enc, weights["b_enc"]):
        raise Mistake(
            "`b_enc` was forgotten: it is as large as before, although everything else inside the ReLU is `factor` "
            "times smaller. The latents change, and the reconstruction with them.",
            details,
        )
    if agree(b_enc, weights["b_enc"] * factor) and agree(W_enc, weights["W_enc"] / factor):
        raise Mistake("`b_enc` was multiplied with `factor`; inside the ReLU everything is divided.", details)
    if agree(W_enc, weights["W_enc"]):
        raise Mistake("`W_enc` is unchanged, so the latents do not become smaller.", details)
    if agree(W_enc, weights["W_enc"] / factor) and agree(b_enc, weights["b_enc"] / factor):
        for phrase, wrong in {
            "is not made longer in return, so the reconstruction shrinks": unit_rows(stored),
            "is as it is stored, without normalizing and without `factor`": stored,
            "was scaled from the stored `W_dec`, but the autoencoder uses it at unit length": stored * factor,
            "was divided by `factor`; it has to grow": unit_rows(stored) / factor,
            "was multiplied with the square of `factor`": unit_rows(stored) * factor**2,
        }.items():
            if agree(W_dec, wrong) and not agree(wrong, unit_rows(stored) * factor):
                raise Mistake(f"The encoder is right, but the decoder {phrase}.", details)
    h = check.normal(31, cfg.n_instances, cfg.n_input_ae)
    before = _right_acts(h, weights)
    centered = h - weights["b_dec"]
    acts = torch.relu(torch.einsum("bix,ixl->bil", centered, W_enc) + b_enc)
    check.equal(
        acts,
        before / factor,
        FIELDS["acts"],
        "every latent is `factor` times smaller, and the L1 with it",
        {
            "they are `factor` times *larger*": before * factor,
            "they are divided by the square of `factor`": before / factor**2,
            "they are divided by the root of `factor`": before / factor**0.5,
            "`factor` is subtracted": torch.relu(
                torch.einsum("bix,ixl->bil", centered, weights["W_enc"]) + weights["b_enc"] - factor
            ),
        },
        what="the latents with your weights",
    )
    check.equal(
        torch.einsum("bil,ilx->bix", acts, W_dec) + weights["b_dec"],
        _right_reconstruction(h, weights),
        FIELDS["h_reconstructed"],
        "the reconstruction is the same, with untied and with tied weights",
        what="the reconstruction with your weights",
    )


# Exercise 2.5


@exercise(
    id="2.5",
    reference="autoencoder.match_features",
    title="Were the features found?",
    statement="""
We know the true directions: the columns of the toy model's `W`. The autoencoder has found them if for each feature
there is a latent whose decoder row points the same way. But which latent belongs to which feature?

Pair features and latents **one to one** so that the sum of the cosine similarities

$$\\sum_f \\cos\\big(W_{toy}[:, f],\\; W_{dec}[\\pi(f), :]\\big)$$

is as large as possible, where $\\pi$ gives each feature a latent of its own. Do this in every instance by itself.
Return each feature's cosine similarity with its own latent; a feature that has none, because there are fewer latents
than features, gets 0.

Why one to one? A latent that lies between two features is similar to both. Counted twice, it would look as if both were
found.
""",
    hints=(
        "First make the table of all cosine similarities, `n_instances n_features n_hidden_ae`. For that both kinds of "
        "directions need unit length: the columns of `W_toy` along `dim=1`, the rows of `W_dec` along `dim=2`.",
        "Taking the best latent of every feature (`.max(dim=-1)`) may take the same one twice. Taking the best pairs "
        "one after the other may end in a smaller sum.",
        "This is the assignment problem. `scipy.optimize.linear_sum_assignment(table, maximize=True)` solves it for "
        "one instance, and returns row and column indices.",
    ),
    difficulty=3,
    importance=4,
    minutes=15,
    points=3,
)
def match_features(check: Check) -> None:
    for features, hidden, latents in ((5, 3, 7), (5, 2, 5)):
        for conflict in (False, True):
            W_toy, W_dec = _features_and_latents(check, features, hidden, latents, conflict)
            claim = (
                "one to one, where two features are nearest to the same latent"
                if conflict
                else "right where each feature has a nearest latent of its own"
            )
            _check_matches(check, W_toy, W_dec, claim)
    W_toy, W_dec = _features_and_latents(check, 5, 3, 3, conflict=True)
    with explained(
        {"": "With fewer latents than features your code raised an error; a feature without a latent is 0."}
    ):
        _check_matches(check, W_toy, W_dec, "features without a latent get 0")


def _check_matches(check: Check, W_toy: Tensor, W_dec: Tensor, claim: str) -> None:
    check.equal(
        check.call(W_toy, W_dec),
        _matched(_cosines(W_toy, W_dec)),
        "n_instances n_features",
        claim,
        _match_mistakes(W_toy, W_dec),
    )


def _cosines(W_toy: Tensor, W_dec: Tensor) -> Tensor:
    return torch.einsum("ihf,ilh->ifl", unit_rows(W_toy, 1), unit_rows(W_dec))


def _assignments(features: int, latents: int) -> Tensor:
    """All ways to give each feature a latent of its own, or latents + f for none: `ways features`."""
    if latents >= features:
        return torch.tensor(list(itertools.permutations(range(latents), features)))
    ways = []
    for lucky in itertools.permutations(range(features), latents):
        way = list(range(latents, latents + features))
        for latent, feature in enumerate(lucky):
            way[feature] = latent
        ways.append(way)
    return torch.tensor(ways)


def _values(table: Tensor, ways: Tensor) -> Tensor:
    """What each assignment gives each feature: `n_instances ways features`."""
    padded = torch.cat([table, table.new_zeros(*table.shape[:2], table.shape[1])], dim=-1)
    return padded[:, torch.arange(table.shape[1]), ways]


def _matched(objective: Tensor, table: Tensor | None = None) -> Tensor:
    """The entries of the table (the objective itself if None) at the assignment with the largest objective."""
    ways = _assignments(*objective.shape[1:])
    best = _values(objective, ways).sum(-1).argmax(dim=-1)
    chosen = _values(objective if table is None else table, ways)
    return chosen[torch.arange(len(objective)), best]


def _greedy(table: Tensor) -> Tensor:
    """Always the best pair that is left."""
    result = torch.zeros_like(table[:, :, 0])
    for instance, left in enumerate(table.clone()):
        for _ in range(min(left.shape)):
            feature, latent = divmod(int(left.argmax()), left.shape[1])
            result[instance, feature] = table[instance, feature, latent]
            left[feature, :], left[:, latent] = -torch.inf, -torch.inf
    return result


def _one_after_the_other(table: Tensor) -> Tensor:
    """Each feature, in order, takes the best latent that is left."""
    result = torch.zeros_like(table[:, :, 0])
    for instance, left in enumerate(table.clone()):
        for feature in range(min(left.shape)):
            latent = int(left[feature].argmax())
            result[instance, feature] = table[instance, feature, latent]
            left[:, latent] = -torch.inf
    return result


def _match_mistakes(W_toy: Tensor, W_dec: Tensor) -> dict[str, Alternative]:
    cosines = _cosines(W_toy, W_dec)
    dots = torch.einsum("ihf,ilh->ifl", W_toy, W_dec)
    with_dec = torch.einsum("ihf,ilh->ifl", W_toy, unit_rows(W_dec))
    with_toy = torch.einsum("ihf,ilh->ifl", unit_rows(W_toy, 1), W_dec)
    first = _cosines(W_toy, W_dec[:1].expand_as(W_dec))
    wrong_axis = torch.einsum("ihf,ilh->ifl", unit_rows(W_toy, 2), unit_rows(W_dec, 1))
    wrong_toy_axis = torch.einsum("ihf,ilh->ifl", unit_rows(W_toy, 2), unit_rows(W_dec))
    wrong_dec_axis = torch.einsum("ihf,ilh->ifl", unit_rows(W_toy, 1), unit_rows(W_dec, 1))
    features, latents = cosines.shape[1:]
    mistakes: dict[str, Alternative] = {
        "each feature takes its best latent, even if another feature has it already (not one to one)": cosines.amax(
            -1
        ),
        "the pairs are chosen greedily, the best pair first; another choice has a larger sum": _greedy(
            cosines
        ),
        "the features choose in order, each the best latent that is left; another choice has a larger sum": (
            _one_after_the_other(cosines)
        ),
        "the sum is made as *small* as possible (`linear_sum_assignment` minimizes by default)": lambda: (
            _matched(-cosines, cosines)
        ),
        "opposite directions count as similar (the absolute value is taken)": lambda: _matched(cosines.abs()),
        "the pairs are chosen by absolute value, where opposite directions count as similar": lambda: (
            _matched(cosines.abs(), cosines)
        ),
        "the pairs are chosen by dot products without unit length": lambda: _matched(dots, cosines),
        "the directions are not brought to unit length": lambda: _matched(dots),
        "the rows of `W_dec` are not brought to unit length": lambda: _matched(with_toy),
        "the columns of `W_toy` are not brought to unit length": lambda: _matched(with_dec),
        "the lengths are taken along the wrong axes": lambda: _matched(wrong_axis),
        "the lengths of `W_toy` are taken along the wrong axis": lambda: _matched(wrong_toy_axis),
        "the lengths of `W_dec` are taken along the wrong axis": lambda: _matched(wrong_dec_axis),
        "the similarities with all latents are added up": cosines.sum(-1),
        "the mean similarity with all latents is returned": cosines.mean(-1),
        "the whole table is returned": cosines,
        "1 is returned for a feature that was found and 0 for others": lambda: (
            _matched(cosines) > 0.95
        ).float(),
        "the pairs and similarities of instance 0's decoder are used for every instance": lambda: _matched(
            first
        ),
        "instance 0's pairs are used for every instance": lambda: _matched(
            cosines[:1].expand_as(cosines), cosines
        ),
        "the instances are averaged before the pairs are chosen": lambda: _matched(
            cosines.mean(0, keepdim=True).expand_as(cosines), cosines
        ),
        "each *latent's* best feature is returned": cosines.amax(1),
        "the squared similarities are returned": lambda: _matched(cosines, cosines.square()),
        "not the similarity but its sum is returned": lambda: _matched(cosines).sum(-1),
        "the mean over the features is returned": lambda: _matched(cosines).mean(-1),
        "the similarities are in order of size, not in order of the features": lambda: (
            _matched(cosines).sort(dim=-1, descending=True).values
        ),
        "the directions are not unit length and each feature takes its best latent (not one to one)": dots.amax(
            -1
        ),
    }
    if latents >= features:
        diagonal = cosines[:, torch.arange(features), torch.arange(features)]
        mistakes["feature and latent of the same number are paired"] = diagonal
    else:
        padded = torch.cat([cosines, cosines.new_full((*cosines.shape[:2], features - latents), -1.0)], -1)
        mistakes["a feature without a latent gets -1 instead of 0"] = lambda: _matched(padded)
    return mistakes


def _features_and_latents(
    check: Check, features: int, hidden: int, latents: int, conflict: bool
) -> tuple[Tensor, Tensor]:
    """Directions of two instances or more, of any length, whose best assignment is clearly the best.

    With `conflict` two features are nearest to the same latent, and taking the best pair first is not best.
    Without, each feature has a nearest latent of its own (possible where there are enough latents).
    """
    ways = _assignments(features, latents)
    pairs: list[tuple[Tensor, Tensor]] = []
    while len(pairs) < 3:
        # Many candidates at once.
        W_toy, W_dec = check.normal(60, hidden, features), check.normal(60, latents, hidden)
        W_toy *= check.uniform(60, 1, features, low=0.3, high=2.0)
        W_dec *= check.uniform(60, latents, 1, low=0.3, high=2.0)
        if not conflict:
            # Every feature has its latent, somewhere, and slightly off.
            order = torch.argsort(check.uniform(60, latents), dim=-1)[:, :features]
            near = unit_rows(W_toy.mT) + 0.1 * check.normal(60, features, hidden)
            rows = torch.arange(60).unsqueeze(-1)
            W_dec[rows, order] = near * W_dec[rows, order].norm(dim=-1, keepdim=True)
        table = _cosines(W_toy, W_dec)
        sums = _values(table, ways).sum(-1)
        best = sums.topk(2).values
        clear = best[:, 0] - best[:, 1] > 0.02
        nearest = table.argmax(-1)
        shared = torch.tensor([len(set(row.tolist())) < features for row in nearest])
        greedy_is_worse = best[:, 0] - _greedy(table).sum(-1) > 0.02
        good = clear & (shared & greedy_is_worse if conflict else ~shared)
        pairs += [(W_toy[i], W_dec[i]) for i in good.nonzero().flatten().tolist()]
    return torch.stack([pair[0] for pair in pairs[:3]]), torch.stack([pair[1] for pair in pairs[:3]])


# Exercise 2.6


@exercise(
    id="2.6",
    reference="autoencoder.encoder_decoder_similarity",
    title="Does the encoder point where the decoder points?",
    statement="""
With untied weights each latent has two directions: the one that its encoder *reads* and the one that its decoder
*writes*. Are they the same? Return the cosine similarity of the two, one number for each latent:

$$\\cos\\big(W_{enc}[i, :, j],\\; W_{dec}[i, j, :]\\big)$$

We will see that they differ, and which of them is the feature's true direction. A direction of zeros has the
similarity 0, not NaN.
""",
    hints=(
        "A latent is a *column* of `W_enc[i]` and a *row* of `W_dec[i]`. So the length of the one is taken along "
        "`dim=1` and of the other along `dim=2`.",
        "`normalize_and_return_W_dec()` has the decoder's rows at unit length already, and works with tied weights.",
        "Both `n_instances` and `n_hidden_ae` stay, and only `n_input_ae` is summed over: the pattern ends in "
        "`-> n_instances n_hidden_ae`.",
    ),
    difficulty=2,
    importance=3,
    minutes=10,
    points=2,
)
def encoder_decoder_similarity(check: Check) -> None:
    square = AutoEncoderConfig(n_instances=2, n_input_ae=5, n_hidden_ae=5)
    for cfg in (SMALL, WIDE, square):
        weights = random_weights(check, cfg)
        _check_similarity(
            check, cfg, weights, f"right for {cfg.n_hidden_ae} latents and {cfg.n_input_ae} inputs"
        )
    with explained(
        {
            "no attribute 'W_dec'": "With tied weights there is no `W_dec`: use "
            "`autoencoder.normalize_and_return_W_dec()`, which works for both."
        }
    ):
        _check_similarity(
            check, TIED, random_weights(check, TIED), "1 for every latent when the weights are tied"
        )
    weights = random_weights(check, SMALL)
    weights["W_enc"][1, :, 2] = 0.0
    weights["W_dec"][2, 3] = 0.0
    found = check.tensor(check.call(make_autoencoder(check, SMALL, weights)))
    if not torch.isfinite(found).all():
        raise Mistake(
            "A latent whose encoder column or decoder row is zero gets NaN. It has no direction: its similarity is 0. "
            "Keep the length away from zero before you divide."
        )
    _check_similarity(check, SMALL, weights, "0 where a direction has no length")


def _check_similarity(
    check: Check, cfg: AutoEncoderConfig, weights: Mapping[str, Tensor], claim: str
) -> None:
    autoencoder = make_autoencoder(check, cfg, weights)
    W_enc, stored = weights["W_enc"], decoder_of(weights)
    reads, writes = unit_rows(W_enc, 1), unit_rows(stored)

    def similarity(encoder: Tensor, decoder: Tensor) -> Tensor:
        return torch.einsum("ixl,ilx->il", encoder, decoder)

    encoders: dict[str, Tensor] = {
        "": reads,
        "the encoder is not brought to unit length": W_enc,
        "the encoder's length is taken along the wrong axis (over the latents)": unit_rows(W_enc, 2),
        "the encoder's length is taken over its whole matrix": unit_rows(W_enc, (1, 2)),
        "the encoder of instance 0 is used for every instance": reads[:1].expand_as(reads),
    }
    decoders: dict[str, Tensor] = {
        "": writes,
        "the decoder is not brought to unit length": stored,
        "the decoder's length is taken along the wrong axis (over the latents)": unit_rows(stored, 1),
        "the decoder's length is taken over its whole matrix": unit_rows(stored, (1, 2)),
        "the decoder of instance 0 is used for every instance": writes[:1].expand_as(writes),
    }
    mistakes = variations(similarity, encoders, decoders)
    expected = similarity(reads, writes)
    pairs = torch.einsum("ixl,imx->ilm", reads, writes)
    mistakes |= {
        "the similarity is taken for each *input dimension*, along the latents (the wrong axis)": torch.einsum(
            "ixl,ilx->ix", unit_rows(W_enc, 2), unit_rows(stored, 1)
        ),
        "the similarity is taken along the latents (the wrong axis), for each input dimension": torch.einsum(
            "ixl,ilx->ix", unit_rows(W_enc, 2), unit_rows(writes, 1)
        ),
        "it is summed over the latents instead of the input dimensions": torch.einsum(
            "ixl,ilx->ix", reads, writes
        ),
        "every latent's encoder is compared with every latent's decoder": pairs,
        "every latent's decoder is compared with every latent's encoder": pairs.mT,
        "the absolute value is taken: opposite directions are not the same direction": expected.abs(),
        "the similarity is squared": expected.square(),
        "the *angle* is returned instead of its cosine": torch.acos(expected.clamp(-1, 1)),
        "the axes are left in the order `n_hidden_ae n_instances`": expected.mT,
        "the mean over the latents is returned": expected.mean(-1),
        "the mean over the instances is returned": expected.mean(0),
        "the instances are added up": expected.sum(0),
    }
    if W_enc.shape == stored.shape:
        rows = unit_rows(W_enc)
        mistakes["the *rows* of the encoder are compared with the rows of the decoder"] = (rows * writes).sum(
            -1
        )
        columns = unit_rows(stored, 1)
        mistakes["the columns of the encoder are compared with the *columns* of the decoder"] = (
            reads * columns
        ).sum(1)
        mistakes["the rows of the encoder are compared with the columns of the decoder"] = torch.einsum(
            "ixl,ilx->ix", rows, columns
        )
    else:
        mistakes["the encoder is reshaped instead of transposed"] = (
            unit_rows(W_enc.reshape(stored.shape)) * writes
        ).sum(-1)
        mistakes["the decoder is reshaped instead of transposed"] = (
            reads * unit_rows(stored.reshape(W_enc.shape), 1)
        ).sum(1)
    check.equal(check.call(autoencoder), expected, "n_instances n_hidden_ae", claim, mistakes)
    changed = changed_weights(check, autoencoder, cfg, weights)
    if changed:
        raise Mistake(
            f"The autoencoder itself was changed ({', '.join(f'`{name}`' for name in changed)}). Compute new tensors "
            "and leave its parameters alone."
        )
