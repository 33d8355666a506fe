"""Exercise 7.4: `freeze_decoder`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_05.parts import FIXTURES, make_autoencoder, random_seed

NAMES = ("W_enc", "b_enc", "b_dec")
EXPLANATIONS = {
    "leaf Variable": "`W_dec` takes gradients, so its values can be changed in place only under `torch.no_grad()`.",
    "cannot assign": "A parameter cannot be replaced by a plain tensor. Change its values in place.",
}


@exercise(
    id="7.4",
    reference="random_dictionaries.freeze_decoder",
    difficulty=2,
    importance=3,
    minutes=12,
    points=2,
)
def freeze_decoder(check: Check) -> None:
    for sizes, moments in (((2, 7, 19), False), ((3, 5, 11), True)):
        instances, inputs, latents = sizes
        handle, _ = make_autoencoder(check, n_instances=instances, n_input_ae=inputs, n_hidden_ae=latents)
        h = check.normal(31, instances, inputs)
        # As after some training, with gradients still there.
        check.learner.call(f"{FIXTURES}.train_a_little", handle, h, 1, False)
        before = {name: check.learner.get(handle, name) for name in (*NAMES, "W_dec")}
        with explained(EXPLANATIONS):
            check.call(handle)
        W_dec = check.learner.get(handle, "W_dec")
        if not isinstance(W_dec, Tensor):
            raise Mistake(
                "After `freeze_decoder` the autoencoder has no `W_dec` any more, and cannot decode."
            )
        _check_rows(check, W_dec, before["W_dec"])
        for name in NAMES:
            check.holds(
                torch.equal(check.learner.get(handle, name), before[name]),
                "",
                f"`freeze_decoder` changes `{name}`, which should stay as it is.",
            )
        check.learner.call(f"{FIXTURES}.train_a_little", handle, h, 3, moments)
        _check_training(check, handle, W_dec, before)
    _check_random(check)


def _check_rows(check: Check, W_dec: Tensor, before: Tensor) -> None:
    check.holds(
        W_dec.shape == before.shape,
        "",
        f"`W_dec` has another shape than before: {list(W_dec.shape)} instead of {list(before.shape)}.",
    )
    check.holds(
        not torch.allclose(W_dec, before, atol=1e-3)
        and not torch.allclose(W_dec, before / before.norm(dim=-1, keepdim=True), atol=1e-3),
        "",
        "The decoder is frozen at the rows that it had: these may have been trained. Draw new directions.",
    )
    lengths = W_dec.norm(dim=-1)
    check.holds(
        bool(((lengths - 1).abs() < 1e-4).all()),
        "the rows are of unit length",
        "The rows of the frozen decoder are not of unit length.",
        [f"lengths from {lengths.min():.3f} to {lengths.max():.3f}"],
    )
    cosines = torch.einsum("ilx,imx->ilm", W_dec, W_dec) - torch.eye(W_dec.shape[1])
    check.holds(
        bool((cosines.abs() < 0.9999).all()),
        "",
        "Several latents have the same direction; draw one for each.",
    )
    check.holds(
        not torch.allclose(W_dec[0], W_dec[1], atol=1e-3),
        "",
        "All instances have the same directions; draw others for each.",
    )


def _check_training(check: Check, handle: object, frozen: Tensor, before: dict[str, Tensor]) -> None:
    now = check.learner.get(handle, "W_dec")  # type: ignore[arg-type]
    if not torch.allclose(now, frozen, atol=1e-5):
        moved = (now - frozen).abs().max().item()
        raise Mistake(
            "The decoder still moves when the autoencoder is trained. An optimizer leaves a parameter alone that takes "
            "no gradient (`requires_grad_(False)`) and has none left over (`.grad`).",
            [f"after a few steps a weight has moved by {moved:.3g}"],
        )
    check.holds(True, "training does not move the decoder", "")
    for name in NAMES:
        check.holds(
            not torch.equal(check.learner.get(handle, name), before[name]),  # type: ignore[arg-type]
            "",
            f"`{name}` does not learn any more: only the decoder should be frozen.",
        )
    check.holds(True, "encoder and biases still learn", "")


def _check_random(check: Check) -> None:
    """Directions are spread evenly, and are others at each call."""
    seed, rows = random_seed(check), []
    for _ in range(2):
        handle = check.create(
            seed, n_instances=2, n_input_ae=5, n_hidden_ae=1501, target=f"{FIXTURES}.autoencoder"
        )
        check.call(handle)
        rows.append(check.learner.get(handle, "W_dec"))
    check.holds(
        not torch.equal(rows[0], rows[1]), "", "The directions are the same at every call; draw new ones."
    )
    flat = rows[0].flatten(0, 1)
    mean, spread = flat.mean(dim=0), flat.T @ flat / len(flat)
    # Standard deviations are about 0.008 and 0.006 for 3,002 rows in five dimensions.
    check.holds(
        bool((mean.abs() < 0.07).all()) and bool(((spread - torch.eye(5) / 5).abs() < 0.06).all()),
        "the directions are spread evenly",
        "The directions are not spread evenly: some are more likely than others (such as those with positive entries "
        "only). Normal numbers, brought to unit length, point everywhere alike.",
    )
