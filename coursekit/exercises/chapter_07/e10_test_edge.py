"""Exercise 7.10: `test_edge`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Check, agree
from coursekit.checking.door import Handle
from coursekit.checking.evidence import Outcome, explanations
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_04.scene import HOOK_CALL, NEEDS
from coursekit.exercises.chapter_05.parts import FIXTURES, random_seed
from coursekit.exercises.chapter_07.scene import check_unchanged, make_transcoder
from part_utils.transcoder import MLP_IN, MLP_OUT

SEQ = 7
RTOL, ATOL = 1e-3, 1e-4
EMPTY_PROMPT = {
    "of 0 elements": "At position 0 your prompt is empty: the token at `position` belongs to what the model reads."
}


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
    outcomes, wrong = [], []
    # At the first and the last position what is done at these, whatever `position` is, makes no difference.
    for number, (skip, position) in enumerate(((True, 4), (False, 2), (True, SEQ - 1), (False, 0))):
        tokens = torch.randint(own.cfg.d_vocab, (SEQ,), generator=check.generator)
        handle, transcoder = make_transcoder(check, n_model=10, n_hidden=23, k=5, skip=skip)
        scene = _Scene(own, tokens, transcoder, position)
        latent = scene.strongest()
        fall = scene.fall(latent)
        # Once a logit that falls, once one that rises.
        token = int(fall.argmax() if number % 2 == 0 else fall.argmin())
        silent = scene.silent()
        for which, expected in ((latent, fall[token]), (silent, torch.zeros(()))):
            with explained({**HOOK_CALL, **EMPTY_PROMPT}):
                found = check.call(tokens, model, handle, which, position, token)
            value = check.tensor(torch.tensor(found) if isinstance(found, float) else found)
            if value.ndim > 0:
                all_of_them = {"the fall of all logits is returned, not that of `token`": scene.fall(which)}
                check.equal(value, expected, "", "", all_of_them)
            _check_no_hook(check, model)
            check_unchanged(check, handle, transcoder, "transcoder")
            outcomes.append(Outcome(_snapped(value, expected), expected))
            wrong.append(lambda scene=scene, which=which, token=token: scene.wrong(which, token))
    bad = next((outcome for outcome in outcomes if not outcome.right), None)
    if bad is not None:
        for outcome, make in zip(outcomes, wrong, strict=True):
            outcome.wrong = {
                phrase: [_snapped(value, outcome.expected) for value in values]
                for phrase, values in make().items()
            }
        fitting = explanations(outcomes)
        known = dict.fromkeys(fitting, bad.found)
        check.equal(bad.found, bad.expected, "", "", known, rtol=RTOL, atol=ATOL)
    check.holds(True, "the fall of the logit in the true model", "")
    check.holds(True, "a latent that does not fire has no effect", "")
    check.holds(True, "no hook is left on the model", "")


def _snapped(value: Tensor, right: Tensor) -> Tensor:
    return right if value.shape == right.shape and agree(value, right, RTOL, ATOL) else value


def _check_no_hook(check: Check, model: Handle) -> None:
    check.holds(
        check.learner.call(f"{FIXTURES}.hooks_left", model) == 0,
        "",
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
        """The latents that fire at the position, not those of small numbers."""
        acts = self.acts[self.position].clone()
        acts[:2] = 0
        return acts.nonzero().flatten().tolist()

    def silent(self) -> int:
        """A latent that does not fire at the position, and would on what the MLP writes, if there is one."""
        silent = self.acts[self.position] == 0
        return int((silent * (1 + self.transcoder.encode(self.y)[self.position])).argmax())

    def strongest(self) -> int:
        """The latent that matters most at the position."""
        return max(self.firing(), key=lambda latent: float(self.fall(latent).abs().max()))

    @torch.no_grad()
    def run(self, change: Callable[[Tensor], Tensor], place: str = MLP_OUT) -> Tensor:
        """Return the logits at the position with something else written by the MLP, or at another place."""
        hooks = [(place, lambda value, hook: change(value[0])[None])]
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

    @torch.no_grad()
    def wrong(self, latent: int, token: int) -> dict[str, list[Tensor]]:
        """Return what known mistakes lead to."""
        right = self.fall(latent)
        at, clean = self.position, self.clean[self.position]
        decoder, column = self.transcoder.W_dec, self.transcoder.W_enc[:, latent]
        acts = self.acts[:, latent, None]
        written = acts * decoder[latent]
        by_reconstruction = self.run(lambda value: self.rebuilt)
        without_in_it = self.run(lambda value: self.rebuilt - written)
        only_here = self.run(lambda value: self.minus(written)(self.rebuilt))
        written_by_mlp = self.transcoder.encode(self.y)
        others = self.acts.clone()
        others[:, latent] = 0
        w = self.model.ln_final.weight.detach()
        centered = self.residual[at] - self.residual[at].mean()
        scale = (centered.pow(2).mean() + 1e-5).sqrt()
        frozen = (written[at] - written[at].mean()) / scale * w @ self.model.W_U.detach()
        changed = clean - right
        last = self.model.run_with_hooks(
            self.tokens[None], fwd_hooks=[(MLP_OUT, lambda v, hook: self.minus(written, slice(None))(v[0])[None])]
        )[0, -1]  # fmt: skip

        def fall(change: Callable[[Tensor], Tensor], place: str = MLP_OUT) -> Tensor:
            return clean - self.run(change, place)

        outcomes: dict[str, list[Tensor]] = {
            "the sign is turned round: it is what the logit *falls* by": [-right],
            "the reconstruction takes the place of what the MLP writes, and the clean run is compared with it: the "
            "error is taken away too": [clean - without_in_it, clean - only_here],
            "both runs have the transcoder in the MLP's place: the true model has its own MLP": [
                by_reconstruction - without_in_it,
                by_reconstruction - only_here,
            ],
            "the logit without the latent is returned, with nothing to compare it with": [changed],
            "the clean logit is returned": [clean],
            "nothing is ablated: does the hook return its result?": [0 * right],
            "the latent is *added* once more": [fall(self.minus(-written))],
            "the latent is taken away twice": [fall(self.minus(2 * written))],
            "the edge itself is returned, with the last LayerNorm's scale frozen: run the model": [frozen],
            "the latent's pre-activation is used, which is the same only where it fires": [
                self.fall(latent, self.pre)
            ],
            "the direction is taken away, however strongly the latent fires": [
                self.fall(latent, torch.ones_like(self.pre))
            ],
            "the direction is brought to unit length": [fall(self.minus(written / decoder[latent].norm()))],
            "the latent's *encoder* column is taken away, not its decoder row": [
                fall(self.minus(acts * column))
            ],
            "all latents are taken away": [fall(self.minus(self.acts @ decoder))],
            "all *other* latents are taken away": [fall(self.minus(others @ decoder))],
            "everything that the MLP writes is taken away": [
                fall(lambda v: 0 * v),
                fall(lambda v: self.minus(v)(v)),
            ],
            "`position` is used for one of the two, where the latent is taken away and where the logit is read, and "
            "the last position for the other": [right if at == len(self.tokens) - 1 else 0 * right],
            "the latent is taken away at position 0": [right if at == 0 else 0 * right],
            "the last position is used for everything, not `position`": [self.clean[-1] - last],
            "the latent's activation is that of the last position": [
                fall(self.minus(written[-1:].expand_as(written)))
            ],
            "the latents see position 0": [fall(self.minus(written[:1].expand_as(written)))],
            "the latent's activations of all positions are added up": [
                fall(self.minus(written.sum(dim=0, keepdim=True).expand_as(written)))
            ],
            "the latent's activation is its largest in the prompt, not that at `position`": [
                fall(self.minus((acts.max() * decoder[latent]).expand_as(written)))
            ],
            "the mean of the latent's activations over the positions is taken": [
                fall(self.minus(written.mean(dim=0, keepdim=True).expand_as(written)))
            ],
            "the latents are those of what the MLP *writes*; they are those of what it reads": [
                self.fall(latent, written_by_mlp)
            ],
            "the latent is taken away from what the MLP *reads*; it is in what it writes": [
                fall(self.minus(written), MLP_IN)
            ],
            "the change of the log-probability is returned": [
                clean.log_softmax(-1) - changed.log_softmax(-1)
            ],
            "the change of the probability is returned": [clean.softmax(-1) - changed.softmax(-1)],
            "the change is divided by the logit": [right / clean, right / changed],
            "the mean change of all logits is subtracted": [right - right.mean()],
            "the absolute change is returned": [right.abs()],
            "the square of the change is returned": [right.square()],
            "only what the latent writes is *kept*": [fall(lambda v: written)],
            "another latent is taken away": [
                self.fall(latent - 1),
                self.fall((latent + 1) % decoder.shape[0]),
                self.fall(0),
            ],
        }
        return {phrase: [value[token] for value in values] for phrase, values in outcomes.items()}
