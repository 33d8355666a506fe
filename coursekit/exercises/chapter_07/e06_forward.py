"""Exercise 7.6: `Transcoder.forward`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Alternative, Check, Mistake, agree
from coursekit.checking.door import Handle
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_05.parts import fields

NAMES = "loss, acts, y_reconstructed"


@exercise(
    id="7.6",
    reference="transcoder.Transcoder.forward",
    methods=("encode", "forward"),
    difficulty=2,
    importance=5,
    minutes=15,
    points=3,
)
def transcoder_forward(check: Check) -> None:
    # Batch, input, output, latents, k, way around. Input and output are once of one size, as in a language model.
    for sizes in (
        (13, 5, 7, 11, 3, True),
        (5, 11, 3, 17, 4, False),
        (7, 5, 5, 19, 6, True),
        (1, 7, 5, 3, 2, False),
    ):
        handle, weights = _make(check, sizes)
        x, y = check.normal(sizes[0], sizes[1]) + 0.3, check.normal(sizes[0], sizes[2])
        k = sizes[4]
        with explained(
            {"'NoneType'": "`self.W_skip` is None where there is no way around: ask before it is used."}
        ):
            found = check.method(handle, "encode", x)
            check.equal(
                found, _acts(x, weights, k), "batch n_hidden", "`encode` is right",
                _wrong_acts(x, weights, k), what="the result of `encode`",
            )  # fmt: skip
            loss, acts, rebuilt = fields(check, check.method(handle, "forward", x, y), NAMES)
        _check_forward(check, (loss, acts, rebuilt), x, y, weights, k)
    _check_gradients(check)


def _make(check: Check, sizes: tuple[int, ...]) -> tuple[Handle, dict[str, Tensor]]:
    _, n_input, n_output, n_hidden, k, skip = sizes
    weights = {
        "W_enc": check.normal(n_input, n_hidden),
        "W_dec": check.normal(n_hidden, n_output) * check.uniform(n_hidden, 1, low=0.3, high=2),
        "b_enc": check.normal(n_hidden),
        "b_dec": check.normal(n_output) + 0.5,
    }
    if skip:
        weights["W_skip"] = check.normal(n_input, n_output)
    handle = check.create(n_input, n_output, n_hidden, k, bool(skip))
    check.learner.set(handle, **weights)
    return handle, weights


def _pre(x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    return x @ weights["W_enc"] + weights["b_enc"]


def _largest(pre: Tensor, k: int) -> Tensor:
    values, places = pre.topk(k, dim=-1)
    return torch.zeros_like(pre).scatter(-1, places, values)


def _acts(x: Tensor, weights: Mapping[str, Tensor], k: int) -> Tensor:
    return _largest(_pre(x, weights), k).relu()


def _wrong_acts(x: Tensor, weights: Mapping[str, Tensor], k: int) -> dict[str, Alternative]:
    pre = _pre(x, weights)
    W_enc, b_enc, b_dec = (weights[name] for name in ("W_enc", "b_enc", "b_dec"))
    return {
        "`b_dec` is subtracted from the input, as an autoencoder does: here it belongs to the *output*": lambda: (
            _largest((x - b_dec) @ W_enc + b_enc, k).relu()
        ),
        "`b_enc` is left out": _largest(x @ W_enc, k).relu(),
        "`b_enc` is subtracted": _largest(x @ W_enc - b_enc, k).relu(),
        "`b_enc` is added after the k largest are chosen": _largest(x @ W_enc, k).relu() + b_enc,
        "negative values among the k largest are kept": _largest(pre, k),
        "all positive pre-activations fire: k is not used": pre.relu(),
        "the k largest of the whole batch are chosen": lambda: _largest(pre.flatten(), k).view_as(pre).relu(),
        "the k * batch largest of the whole batch are chosen": lambda: (
            _largest(pre.flatten(), k * len(pre)).view_as(pre).relu()
        ),
        "the k largest by absolute value are chosen": torch.where(_largest(pre.abs(), k) > 0, pre, 0).relu(),
        "the pre-activations are returned": pre,
        "one latent too many fires": lambda: _largest(pre, k + 1).relu(),
        "one latent too few fires": lambda: _largest(pre, k - 1).relu(),
        "the latents are read with the decoder (its transpose), not the encoder": lambda: _largest(
            x @ weights["W_dec"].T + b_enc, k
        ).relu(),
    }


def _check_forward(
    check: Check,
    output: tuple[object, object, object],
    x: Tensor,
    y: Tensor,
    weights: Mapping[str, Tensor],
    k: int,
) -> None:
    loss, acts, rebuilt = output
    right = _acts(x, weights, k)
    W_dec, b_dec, W_skip = weights["W_dec"], weights["b_dec"], weights.get("W_skip")
    by_latents = right @ W_dec
    around = torch.zeros(()) if W_skip is None else x @ W_skip
    expected = by_latents + b_dec + around
    where = "" if W_skip is None else ", with a way around"
    check.equal(
        acts, right, "batch n_hidden", "`acts` are what `encode` returns", _wrong_acts(x, weights, k), what="`acts`"
    )  # fmt: skip
    unit = W_dec / W_dec.norm(dim=-1, keepdim=True)
    check.equal(
        rebuilt, expected, "batch n_output", f"`y_reconstructed` is right{where}",
        {
            "`b_dec` is not added": by_latents + around,
            "`b_dec` is subtracted": by_latents + around - b_dec,
            "the way around (`W_skip`) is left out": by_latents + b_dec,
            "the way around goes along without the latents": around + b_dec,
            "the way around reads `y`, not `x`": lambda: by_latents + b_dec + y @ W_skip,  # type: ignore[operator]
            "`W_skip` is transposed": lambda: by_latents + b_dec + x @ W_skip.T,  # type: ignore[union-attr]
            "the input itself is added, not `x @ W_skip`": lambda: by_latents + b_dec + x,
            "the decoder's rows are brought to unit length; here they are used as they are": right @ unit
            + b_dec
            + around,
            "the latents of `y` are decoded, not those of `x`": lambda: (
                _acts(y, weights, k) @ W_dec + b_dec + around
            ),
            "the pre-activations are decoded, not the latents": _pre(x, weights) @ W_dec + b_dec + around,
            "it is decoded back to `x` with the encoder's transpose": lambda: right @ weights["W_enc"].T + b_dec,
            "`y` itself is returned": y,
        },
        what="`y_reconstructed`",
    )  # fmt: skip
    squares = (y - expected).pow(2)
    check.equal(
        loss, squares.mean(), "", f"`loss` compares with what the MLP writes{where}",
        {
            "the reconstruction is compared with `x`, what the MLP reads, not with `y`": lambda: (
                (x - expected).pow(2).mean()
            ),
            "the sum over the dimensions is taken, not the mean": squares.sum(dim=1).mean(),
            "the sum over the batch is taken, not the mean": squares.mean(dim=1).sum(),
            "everything is summed": squares.sum(),
            "the root is taken": squares.mean().sqrt(),
            "the absolute error is taken, not the squared one": squares.sqrt().mean(),
            "it has one number for each input": squares.mean(dim=1),
            "`acts` are in it as well (an L1 penalty), which TopK does not need": squares.mean()
            + right.sum(dim=1).mean(),
            "it is divided by the mean square of `y`": squares.mean() / y.pow(2).mean(),
            "the way around is left out in it": (y - by_latents - b_dec).pow(2).mean(),
        },
        what="`loss`",
    )  # fmt: skip


def _check_gradients(check: Check) -> None:
    handle, values = _make(check, (11, 5, 7, 13, 4, True))
    x, y = check.normal(11, 5), check.normal(11, 7)
    names = list(values)

    def gradients(cut: str = "") -> list[Tensor]:
        weights = {name: value.clone().requires_grad_() for name, value in values.items()}
        acts = _acts(x, weights, 4)
        acts = acts.detach() if cut == "acts" else acts
        around = x @ weights["W_skip"]
        rebuilt = acts @ weights["W_dec"] + weights["b_dec"] + (around.detach() if cut == "skip" else around)
        found = torch.autograd.grad((y - rebuilt).pow(2).mean(), list(weights.values()), allow_unused=True)
        return [torch.zeros_like(v) if g is None else g for g, v in zip(found, values.values(), strict=True)]

    _, found = check.learner.gradients((handle, "forward"), x, y, wrt=names, field=0)
    if all(gradient is None for gradient in found):
        raise Mistake("`loss` is cut off from the parameters, so nothing can be trained with it.")
    filled = [torch.zeros_like(v) if g is None else g for g, v in zip(found, values.values(), strict=True)]

    def same(right: list[Tensor]) -> bool:
        return all(agree(a, b, 1e-3) for a, b in zip(filled, right, strict=True))

    if same(gradients()):
        check.holds(True, "the gradients of `loss` reach every parameter", "")
        return
    for cut, phrase in (("acts", "the latents are detached"), ("skip", "the way around is detached")):
        if same(gradients(cut)):
            raise Mistake(f"The values are right, but the gradients are not: {phrase}.")
    for name, gradient, wanted in zip(names, filled, gradients(), strict=True):
        if not agree(gradient, wanted, 1e-3):
            raise Mistake(
                f"The values are right, but the gradient of `loss` with respect to `{name}` is not."
            )
