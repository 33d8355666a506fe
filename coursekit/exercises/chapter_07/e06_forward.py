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
EXPLANATIONS = {
    "'NoneType'": "`self.W_skip` is None where there is no way around: ask before it is used.",
    "Boolean value of Tensor": "A matrix is neither true nor false, so `if self.W_skip:` cannot be asked; ask whether "
    "it is there (`self.W_skip is not None`).",
}


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
    # Batch, input, output, latents, k, way around. Input and output are of one size first, as in a language model:
    # what is taken for the other then has another message than one of torch's.
    for sizes in (
        (17, 5, 5, 19, 6, True),
        (13, 5, 7, 11, 3, True),
        (5, 11, 3, 17, 4, False),
        (1, 7, 5, 3, 2, False),
    ):
        handle, weights = _make(check, sizes)
        x, y = check.normal(sizes[0], sizes[1]) + 0.3, check.normal(sizes[0], sizes[2])
        k = sizes[4]
        with explained(EXPLANATIONS):
            found = check.method(handle, "encode", x)
            check.equal(
                found, _acts(x, weights, k), "batch n_hidden", "`encode` is right",
                _wrong_acts(x, weights, k), what="the result of `encode`",
            )  # fmt: skip
            loss, acts, rebuilt = fields(check, check.method(handle, "forward", x, y), NAMES)
        _check_forward(check, (loss, acts, rebuilt), x, y, weights, k)
    _check_gradients(check)
    check.leaves_inputs(x, owner=handle, also="encode")
    check.leaves_inputs(x, y, owner=handle, also="forward")


def _make(check: Check, sizes: tuple[int, ...]) -> tuple[Handle, dict[str, Tensor]]:
    _, n_input, n_output, n_hidden, k, skip = sizes
    weights = {
        "W_enc": check.normal(n_input, n_hidden),
        "W_dec": check.normal(n_hidden, n_output) * check.uniform(n_hidden, 1, low=0.3, high=2),
        # So low once that fewer than k pre-activations are positive.
        "b_enc": check.normal(n_hidden) - (0 if skip else 4),
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


def _wrong_acts(
    x: Tensor, weights: Mapping[str, Tensor], k: int
) -> dict[str, Alternative | list[Alternative]]:
    pre = _pre(x, weights)
    W_enc, b_enc, b_dec = (weights[name] for name in ("W_enc", "b_enc", "b_dec"))
    right = _largest(pre, k).relu()

    def chosen_without_bias() -> Tensor:
        places = (x @ W_enc).topk(k, dim=-1).indices
        return torch.zeros_like(pre).scatter(-1, places, pre.gather(-1, places)).relu()

    def along_the_batch() -> Tensor:
        values, places = pre.topk(min(k, len(pre)), dim=0)
        return torch.zeros_like(pre).scatter(0, places, values).relu()

    return {
        "`b_dec` is subtracted from the input, as an autoencoder does: here it belongs to the *output*": lambda: (
            _largest((x - b_dec) @ W_enc + b_enc, k).relu()
        ),
        "`b_enc` is left out": _largest(x @ W_enc, k).relu(),
        "`b_enc` is subtracted": _largest(x @ W_enc - b_enc, k).relu(),
        "`b_enc` is added twice": _largest(pre + b_enc, k).relu(),
        "`b_enc` is added after the k largest are chosen": [
            _largest(x @ W_enc, k).relu() + b_enc,
            (_largest(x @ W_enc, k).relu() + b_enc).relu(),
            chosen_without_bias,
            lambda: torch.where(_largest(x @ W_enc, k) > 0, x @ W_enc + b_enc, 0).relu(),
        ],
        "the k largest along the batch are chosen, not along the latents": along_the_batch,
        "a latent that fires is 1, however strongly it fires": (right > 0).to(right),
        "the k-th largest value is subtracted from those that fire": lambda: (
            pre - pre.topk(k, dim=-1).values[:, -1:].clamp_min(0)
        ).relu(),
        "the mean of `x` over the batch is subtracted": lambda: _largest(
            _pre(x - x.mean(0), weights), k
        ).relu(),
        "negative values among the k largest are kept": _largest(pre, k),
        "all positive pre-activations fire: k is not used": pre.relu(),
        "the k largest of the whole batch are chosen": lambda: _largest(pre.flatten(), k).view_as(pre).relu(),
        "the k * batch largest of the whole batch are chosen": lambda: (
            _largest(pre.flatten(), k * len(pre)).view_as(pre).relu()
        ),
        "the k largest by absolute value are chosen": torch.where(_largest(pre.abs(), k) > 0, pre, 0).relu(),
        "the pre-activations are returned": pre,
        "only the k largest values are returned, without their places among the latents": lambda: pre.topk(
            k, dim=-1
        ).values.relu(),
        "one latent too many fires": lambda: _largest(pre, k + 1).relu(),
        "one latent too few fires": lambda: _largest(pre, k - 1).relu(),
        **{
            f"up to {n} latents fire on an input, where k is {k}": _largest(pre, n).relu()
            for n in range(1, pre.shape[1])
            if abs(n - k) > 1
        },
        "the latents are read with the decoder (its transpose), not the encoder": lambda: _largest(
            x @ weights["W_dec"].T + b_enc, k
        ).relu(),
    }


def _around(x: Tensor, W_skip: Tensor | None) -> Tensor:
    return torch.zeros(()) if W_skip is None else x @ W_skip


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
    around = _around(x, W_skip)
    expected = by_latents + b_dec + around
    where = "" if W_skip is None else ", with a way around"
    check.equal(
        acts, right, "batch n_hidden", "`acts` are what `encode` returns",
        {
            "`y_reconstructed` stands in its place: the order is loss, acts, y_reconstructed": expected,
            "the latents are those of `y`, what the MLP writes, not of `x`": lambda: _acts(y, weights, k),
            **_wrong_acts(x, weights, k),
        },
        what="`acts`",
    )  # fmt: skip
    unit = W_dec / W_dec.norm(dim=-1, keepdim=True)
    check.equal(
        rebuilt, expected, "batch n_output", f"`y_reconstructed` is right{where}",
        {
            "`b_dec` is not added": by_latents + around,
            "`b_dec` is subtracted": by_latents + around - b_dec,
            "`b_dec` is added twice": expected + b_dec,
            "the way around reads `x` without its mean": expected - _around(x.mean(0), W_skip),
            "the way around reads `x` without `b_dec`": lambda: expected - _around(b_dec, W_skip),
            "the way around is added twice": expected + around,
            "the way around is subtracted": expected - 2 * around,
            "the error is returned, not what is rebuilt": [y - expected, expected - y],
            "the way around (`W_skip`) is left out": by_latents + b_dec,
            "the way around goes along without the latents": around + b_dec,
            "the way around reads `y`, not `x`": lambda: by_latents + b_dec + y @ W_skip,  # type: ignore[operator]
            "`W_skip` is transposed": lambda: by_latents + b_dec + x @ W_skip.T,  # type: ignore[union-attr]
            "the input itself is added, not `x @ W_skip`": lambda: by_latents + b_dec + x,
            "the input itself is added as well": lambda: expected + x,
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
            "`acts` are in it as well (an L1 penalty), which TopK does not need": [
                squares.mean() + strength * size
                for size in (right.sum(dim=1).mean(), right.mean(), right.sum())
                for strength in (1, 0.1, 0.01, 1e-3, 1e-4)
            ],
            "it is divided by the mean square of `y`": squares.mean() / y.pow(2).mean(),
            "it is divided by the variance of `y`: that is the fraction of variance unexplained": [
                squares.mean() / (y - y.mean(0)).pow(2).mean(),
                squares.mean() / y.var(dim=0).mean(),
                squares.mean() / y.var(),
                squares.mean() / y.var(unbiased=False),
            ],
            "the error's mean is subtracted before it is squared": [
                (y - expected).var(),
                (y - expected).var(unbiased=False),
                (y - expected).var(dim=0, unbiased=False).mean(),
            ],
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
        if cut == "acts":
            acts = acts.detach()
        if cut == "losers":
            all_positive = _pre(x, weights).relu()
            acts = all_positive + (acts - all_positive).detach()
        if cut == "straight through":
            pre = _pre(x, weights)
            acts = pre + (acts - pre).detach()
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
    for cut, phrase in (
        ("acts", "the latents are detached"),
        ("skip", "the way around is detached"),
        ("losers", "latents that are not among the k largest get one too"),
        ("straight through", "latents that do not fire get one too"),
    ):
        if same(gradients(cut)):
            raise Mistake(f"The values are right, but the gradients are not: {phrase}.")
    for name, gradient, wanted in zip(names, filled, gradients(), strict=True):
        if not agree(gradient, wanted, 1e-3):
            how = "is not."
            if not bool(gradient.any()):
                how = "is zero: it is detached on the way (`.detach()`, `.data`)."
            raise Mistake(f"The values are right, but the gradient of `loss` with respect to `{name}` {how}")
