"""Exercise 7.10: `test_edge`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Alternative, Check
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_04.scene import HOOK_CALL, NEEDS
from coursekit.exercises.chapter_05.parts import FIXTURES, random_seed
from coursekit.exercises.chapter_07.scene import make_transcoder
from part_utils.transcoder import MLP_IN, MLP_OUT

SEQ = 7


@exercise(
    id="7.10",
    reference="circuits.test_edge",
    needs=NEEDS,
    difficulty=3,
    importance=4,
    minutes=20,
    points=3,
)
def test_edge(check: Check) -> None:
    seed = random_seed(check)
    model = check.create(seed, target=f"{FIXTURES}.language_model")
    own = fixtures.language_model(seed)
    for skip, position in ((True, 4), (False, 2), (True, SEQ - 1)):
        tokens = torch.randint(own.cfg.d_vocab, (SEQ,), generator=check.generator)
        handle, transcoder = make_transcoder(check, n_model=10, n_hidden=23, k=5, skip=skip)
        scene = _Scene(own, tokens, transcoder, position)
        latent = scene.firing()[0]
        logits = scene.fall(latent)
        token = int(logits.abs().argmax())
        with explained(HOOK_CALL):
            found = check.call(tokens, model, handle, latent, position, token)
        found = torch.tensor(found) if isinstance(found, float) else found
        check.equal(
            found, logits[token], "", "the fall of the logit in the true model",
            scene.wrong(latent, token), rtol=1e-3, atol=1e-4,
        )  # fmt: skip
        silent = int((scene.acts[position] == 0).nonzero()[0])
        nothing = check.call(tokens, model, handle, silent, position, token)
        check.equal(
            torch.tensor(nothing) if isinstance(nothing, float) else nothing, torch.zeros(()), "",
            "a latent that does not fire has no effect",
            {
                "a latent that does not fire is taken away as strongly as its pre-activation says": scene.fall(
                    silent, scene.pre
                )[token],
                "the direction is taken away, however strongly the latent fires": scene.fall(
                    silent, torch.ones_like(scene.pre)
                )[token],
            },
            atol=1e-4,
        )  # fmt: skip
    check.holds(
        check.learner.call(f"{FIXTURES}.hooks_left", model) == 0,
        "no hook is left on the model",
        "After your function has ended a hook is still on the model. `run_with_hooks` takes its hooks away by itself; "
        "after `add_hook` call `model.reset_hooks()`.",
    )


class _Scene:
    """One prompt in a small model, with what a transcoder says of it."""

    @torch.no_grad()
    def __init__(self, model, tokens: Tensor, transcoder, position: int) -> None:  # type: ignore[no-untyped-def]
        self.model, self.tokens, self.transcoder, self.position = model, tokens, transcoder, position
        logits, cache = model.run_with_cache(tokens[None])
        self.clean = logits[0]
        self.x, self.y = cache[MLP_IN][0], cache[MLP_OUT][0]
        self.residual = cache["blocks.0.hook_resid_post"][0]
        self.pre = self.x @ transcoder.W_enc + transcoder.b_enc
        self.acts = transcoder.encode(self.x)
        self.rebuilt = transcoder(self.x, self.y).y_reconstructed

    def firing(self) -> list[int]:
        """The latents that fire at the position, the one that matters most first; not those of small numbers."""
        acts = self.acts[self.position].clone()
        acts[:2] = 0
        return sorted(
            acts.nonzero().flatten().tolist(), key=lambda latent: -float(self.fall(latent).abs().max())
        )

    @torch.no_grad()
    def run(self, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the logits at the position with something else written by the MLP."""
        hooks = [(MLP_OUT, lambda value, hook: change(value[0])[None])]
        return self.model.run_with_hooks(self.tokens[None], fwd_hooks=hooks)[0, self.position]

    def minus(self, written: Tensor, where: slice | int | None = None) -> Callable[[Tensor], Tensor]:
        """Subtract what is written at the position, or elsewhere."""
        where = self.position if where is None else where

        def change(value: Tensor) -> Tensor:
            value = value.clone()
            value[where] -= written[where]
            return value

        return change

    def fall(self, latent: int, acts: Tensor | None = None, where: slice | int | None = None) -> Tensor:
        """By how much each logit at the position falls without what the latent writes."""
        acts = self.acts if acts is None else acts
        written = acts[:, latent, None] * self.transcoder.W_dec[latent]
        return self.clean[self.position] - self.run(self.minus(written, where))

    def wrong(self, latent: int, token: int) -> dict[str, Alternative]:
        right = self.fall(latent)
        clean = self.clean[self.position]
        decoder = self.transcoder.W_dec
        written = self.acts[:, latent, None] * decoder[latent]
        by_reconstruction = self.run(lambda value: self.rebuilt)
        without_in_it = self.run(lambda value: self.rebuilt - written)
        column = self.transcoder.W_enc[:, latent]
        at = self.position
        w, scale = self.model.ln_final.weight.detach(), None
        centered = self.residual[at] - self.residual[at].mean()
        scale = (centered.pow(2).mean() + 1e-5).sqrt()
        frozen = (written[at] - written[at].mean()) / scale * w @ self.model.W_U.detach()
        last = self.model.run_with_hooks(
            self.tokens[None], fwd_hooks=[(MLP_OUT, lambda v, hook: self.minus(written, slice(None))(v[0])[None])]
        )[0, -1]  # fmt: skip
        other = [number for number in self.firing() if number != latent][:1]
        return {
            "the sign is turned round: it is what the logit *falls* by": -right[token],
            "the reconstruction takes the place of what the MLP writes, and the clean run is compared with it: the "
            "error is taken away too": (clean - without_in_it)[token],
            "both runs have the transcoder in the MLP's place: the true model has its own MLP": (
                by_reconstruction - without_in_it
            )[token],
            "the logit without the latent is returned, with nothing to compare it with": (clean - right)[token],
            "the clean logit is returned": clean[token],
            "nothing is ablated: does the hook return its result?": torch.zeros(()),
            "the latent is *added* once more": (clean - self.run(lambda v: self.minus(-written)(v)))[token],
            "the edge itself is returned, with the last LayerNorm's scale frozen: run the model": frozen[token],
            "the latent's pre-activation is used, which is the same only where it fires": self.fall(
                latent, self.pre
            )[token]
            if not torch.allclose(self.pre[at, latent], self.acts[at, latent])
            else None,
            "the direction is taken away, however strongly the latent fires": self.fall(
                latent, torch.ones_like(self.pre)
            )[token],
            "the direction is brought to unit length": (
                clean - self.run(self.minus(written / decoder[latent].norm()))
            )[token],
            "the latent's *encoder* column is taken away, not its decoder row": (
                clean - self.run(self.minus(self.acts[:, latent, None] * column))
            )[token],
            "all latents are taken away": (clean - self.run(self.minus(self.acts @ decoder)))[token],
            "everything that the MLP writes is taken away": (clean - self.run(lambda v: 0 * v))[token],
            "the last position's logit is read": (self.clean[-1] - last)[token],
            "the change of the log-probability is returned": (
                clean.log_softmax(-1) - (clean - right).log_softmax(-1)
            )[token],
            "the change of the probability is returned": (clean.softmax(-1) - (clean - right).softmax(-1))[token],
            "the absolute change is returned": right[token].abs(),
            "only what the latent writes is *kept*": (clean - self.run(lambda v: written))[token],
            "the latents see position 0": (
                clean - self.run(self.minus(written[:1].expand_as(written)))
            )[token],
            "another latent is taken away": self.fall(other[0])[token] if other else None,
        }  # fmt: skip
