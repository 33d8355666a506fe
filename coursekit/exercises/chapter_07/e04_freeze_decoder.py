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

NOTHING_LEARNS = "Nothing of the autoencoder takes a gradient any more: only `W_dec` should be frozen."
SAME = 0.9999


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
        for name in NAMES:
            check.holds(
                torch.equal(check.learner.get(handle, name), before[name]),
                "",
                f"`freeze_decoder` changes `{name}`, which should stay as it is.",
            )
        _check_rows(check, W_dec, before["W_dec"])
        with explained({"does not require grad": NOTHING_LEARNS}):
            check.learner.call(f"{FIXTURES}.train_a_little", handle, h, 3, moments)
        _check_training(check, handle, W_dec, before)
    _check_random(check)


def _check_rows(check: Check, W_dec: Tensor, before: Tensor) -> None:
    turned = " The last two axes are swapped." if W_dec.shape == before.mT.shape else ""
    check.holds(
        W_dec.shape == before.shape,
        "",
        f"`W_dec` has another shape than before: {list(W_dec.shape)} instead of {list(before.shape)}.{turned}",
    )
    _check_new(check, W_dec, before)
    _check_lengths(check, W_dec)
    n_instances, n_hidden = W_dec.shape[:2]
    # Every row with every one before it, of its own instance and of others.
    rows = W_dec.flatten(0, 1)
    instance = torch.arange(n_instances).repeat_interleave(n_hidden)
    same = ((rows @ rows.T).abs() > SAME).tril(-1)
    own = instance[:, None] == instance
    check.holds(
        not bool((same & own).any()), "", "Several latents have the same direction; draw one for each."
    )
    check.holds(
        not bool((same & ~own).any()), "", "Several instances have the same directions; draw others for each."
    )


def _check_new(check: Check, W_dec: Tensor, before: Tensor) -> None:
    """No row is one that the decoder had."""
    old = (before / before.norm(dim=-1, keepdim=True)).flatten(0, 1)
    new = W_dec / W_dec.norm(dim=-1, keepdim=True).clamp_min(1e-8)
    kept = ((new.flatten(0, 1) @ old.T).abs() > SAME).unflatten(0, W_dec.shape[:2])
    in_place = kept.flatten(0, 1).diagonal().view(W_dec.shape[:2])
    check.holds(
        not bool(in_place.all()),
        "",
        "After `freeze_decoder` the decoder is still frozen at the rows that it had, which may have been trained: draw "
        "new directions, and write them into the `W_dec` of the autoencoder that went in.",
    )
    check.holds(
        not bool(kept.any(dim=-1).all()),
        "",
        "The rows are those that the decoder had, in another order. They may have been trained; draw new directions.",
    )
    whole = in_place.all(dim=1).nonzero().flatten().tolist()
    check.holds(
        not whole,
        "",
        f"The decoder of instance {', '.join(map(str, whole))} still has the rows that it had; draw new ones for every "
        "instance.",
    )
    check.holds(
        not bool(in_place.any()),
        "",
        "Some latents still have the rows that they had, which may have been trained; draw new ones for all.",
    )
    check.holds(
        not bool(kept.any()),
        "new directions are drawn",
        "Some latents have the rows that others had. They may have been trained; draw new directions.",
    )


def _check_lengths(check: Check, W_dec: Tensor) -> None:
    lengths = W_dec.norm(dim=-1)

    def ones(norm: Tensor) -> bool:
        return bool(((norm - 1).abs() < 1e-4).all())

    why = ""
    if not bool(lengths.any()):
        why = " They are zero."
    elif ones(W_dec.norm(dim=-2)):
        why = " The *columns* are: a latent's direction lies along the last axis."
    elif ones(W_dec.norm()) or ones(W_dec.flatten(1).norm(dim=1)):
        why = " The matrix as a whole is: divide each row by its own length."
    elif 0.6 < lengths.mean() < 1.4:
        why = " They are so on average only: divide each row by its own length."
    check.holds(
        ones(lengths),
        "the rows are of unit length",
        f"The rows of the frozen decoder are not of unit length.{why}",
        [f"lengths from {lengths.min():.3f} to {lengths.max():.3f}"],
    )
    # Several latents on one axis have the same direction, but what is wrong is that there are axes.
    check.holds(
        not bool((W_dec.abs().amax(dim=-1) > SAME).all()),
        "",
        "Every row lies along one of the axes (one entry is 1, the others are 0). A random direction points anywhere.",
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
    """Directions are spread evenly, have nothing to do with the old ones, and are others at each call."""
    seed, rows = random_seed(check), []
    for _ in range(2):
        handle = check.create(
            seed, n_instances=2, n_input_ae=5, n_hidden_ae=1501, target=f"{FIXTURES}.autoencoder"
        )
        check.learner.call(f"{FIXTURES}.train_a_little", handle, check.normal(3, 2, 5), 1, False)
        old = check.learner.get(handle, "W_dec")
        check.call(handle)
        rows.append(check.learner.get(handle, "W_dec"))
    check.holds(
        not torch.equal(rows[0], rows[1]), "", "The directions are the same at every call; draw new ones."
    )
    # With a standard deviation of 0.008, as for the means below.
    cosine = (rows[1] * old).sum(dim=-1).mean()
    check.holds(
        bool(cosine.abs() < 0.07),
        "",
        "The new directions still resemble those that the latents had, which may have been trained. Draw them without "
        "the old ones.",
        [
            f"the mean cosine similarity of a latent's new direction with its old one is {cosine:.2f}, and should be 0"
        ],
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
    # 3 / 7 on a sphere, with a standard deviation of 0.003; numbers from a cube give 0.40 and corners 0.2.
    fourth = flat.pow(4).sum(dim=-1).mean()
    check.holds(
        bool((fourth - 3 / 7).abs() < 0.02),
        "",
        "The directions are not spread evenly: those along the axes and those between them are not equally likely, as "
        "when the entries are drawn evenly from an interval. Normal numbers, brought to unit length, point everywhere "
        "alike.",
        [f"the mean sum of fourth powers of a row's entries is {fourth:.3f}, and should be {3 / 7:.3f}"],
    )
    check.learner.call(f"{FIXTURES}.step_without_clearing", handle)
    check.holds(
        torch.allclose(check.learner.get(handle, "W_dec"), rows[1], atol=1e-5),
        "an old gradient does not move it",
        "`W_dec` still has a gradient of the training before (`.grad`), with which the next step of an optimizer moves "
        "it. Set `W_dec.grad` to None.",
    )
