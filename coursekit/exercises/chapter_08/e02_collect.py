"""Exercise 8.2: `collect`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Check, Mistake, Mistakes
from coursekit.checking.door import Handle, LearnerError
from coursekit.checking.evidence import same
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_08.places import FIXTURES, NEEDS, random_mask
from part_utils.activations import block_of
from part_utils.deep_models import massive_activations

BLOCKS = 3


@exercise(
    id="8.2",
    reference="deep_models.collect",
    needs=NEEDS,
    difficulty=3,
    importance=4,
    minutes=20,
    points=3,
)
def collect(check: Check) -> None:
    for rows, seq, hook, batch_rows in (
        (7, 5, "blocks.1.hook_out", 3),
        (5, 11, "blocks.2.mlp.hook_post", 2),
        (3, 7, "blocks.0.hook_out", 16),
    ):
        seed = int(torch.randint(2**31, (), generator=check.generator))
        # Without a mask everything is wanted, sinks too.
        masked = batch_rows < rows
        kind = {"n_layers": BLOCKS, "sink": not masked}
        own = fixtures.language_model(seed, **kind)
        tokens = torch.randint(own.cfg.d_vocab, (rows, seq), generator=check.generator)
        tokens[:, 0] = 0
        with torch.no_grad():
            _, cache = own.run_with_cache(tokens)
        given = [random_mask(check, rows, seq)] if masked else []
        if given:
            # Some rows are not wanted at all.
            given[0][batch_rows : 2 * batch_rows] = False
        keep = given[0] if given else torch.ones(rows, seq, dtype=torch.bool)
        model = check.create(seed, **kind, target=f"{FIXTURES}.language_model")
        seen = check.create(model, target=f"{FIXTURES}.BlocksSeen")
        with explained(
            {"KeyError": "The cache holds nothing under this name; ask for the hook that is passed."}
        ):
            found = _called(check, seen, block_of(hook), model, tokens, hook, *given, batch_rows=batch_rows)
        if isinstance(found, Handle) and "Cache" in found.type_name:
            raise Mistake(
                "Your function returns the whole cache. Look the activations up in it, by the hook's name."
            )
        check.equal(
            found,
            cache[hook][keep],
            "kept size",
            f"the activations at `{hook}`{' where `keep` is True' if given else ', all of them without `keep`'}",
            _wrong(dict(cache.items()), hook, keep, batch_rows, _ReadAlone(own, tokens)),
        )
        _check_cost(check, seen, block_of(hook), rows, batch_rows)
        check.holds(
            check.learner.call(f"{FIXTURES}.hooks_left", model) == 0,
            "no hook is left on the model",
            "After your function has ended a hook is still on the model, and runs whenever the model does.",
        )
    _check_refusals(check, model, tokens)
    _check_many_blocks(check)
    _check_memory(check)


def _called(check: Check, seen: Handle, block: int, *args: Any, **kwargs: Any) -> Any:
    try:
        return check.call(*args, **kwargs)
    except LearnerError as error:
        computed = check.method(seen, "computed")
        if "KeyError" in str(error) and block not in computed:
            raise Mistake(
                f"The cache holds nothing under this name, because block {block} has not run. `stop_at_layer` names "
                "the first block that is *not* computed.",
                str(error).splitlines(),
            ) from None
        raise


def _check_refusals(check: Check, model: Handle, tokens: Tensor) -> None:
    """A hook that the model does not have is refused with an error."""
    for hook, why in (
        (f"blocks.{BLOCKS + 4}.hook_out", f"the model has {BLOCKS} blocks"),
        ("blocks.1.hook_nonsense", "no block has such a hook"),
    ):
        # TransformerLens raises errors of its own, which do as well.
        with contextlib.suppress(LearnerError):
            check.call(model, tokens, hook)
            raise Mistake(
                f"For the hook {hook!r} ({why}) your function returns something; the docstring asks for a ValueError. "
                "`check_hook(model, hook)` raises it."
            )
    check.holds(True, "a hook that is not there is refused", "")


def _check_many_blocks(check: Check) -> None:
    """A block's number may have two digits."""
    seed = int(torch.randint(2**31, (), generator=check.generator))
    sizes = {"n_layers": 11, "d_model": 4, "d_mlp": 3, "n_heads": 1, "d_head": 4}
    model = check.create(seed, **sizes, target=f"{FIXTURES}.language_model")
    tokens = torch.randint(5, (2, 3), generator=check.generator)
    hook = "blocks.10.hook_out"
    expected = check.learner.call("part_utils.deep_models.collect", model, tokens, hook)
    said = "A block's number may have two digits, as in `blocks.10.hook_out`: `block_of(hook)` reads it."
    try:
        found = check.call(model, tokens, hook)
    except LearnerError as error:
        raise Mistake(said, str(error).splitlines()) from None
    check.holds(same(found, expected), "blocks with two digits", said)


def _check_memory(check: Check) -> None:
    """Of the rows that are done the caches are gone. To leave positions out only at the end costs little."""
    seed = int(torch.randint(2**31, (), generator=check.generator))
    model = check.create(seed, n_layers=BLOCKS, target=f"{FIXTURES}.language_model")
    watch = check.create(model, memory=True, target=f"{FIXTURES}.PartsSeen")
    own = fixtures.language_model(seed)
    tokens = torch.randint(own.cfg.d_vocab, (24, 11), generator=check.generator)
    check.call(model, tokens, "blocks.1.hook_out", random_mask(check, 24, 11), batch_rows=3)
    check.holds(
        check.method(watch, "kept") < 2.5 * own.cfg.d_model,
        "of the rows that are done no caches stay in memory",
        "The activations are right, but whole caches stay in memory until the end. Take what is wanted out of each as "
        "soon as it is there, and ask for one hook only (`names_filter`).",
    )


def _check_cost(check: Check, seen: Handle, last: int, rows: int, batch_rows: int) -> None:
    computed, most = check.method(seen, "computed"), check.method(seen, "most")
    later = [block for block in computed if block > last]
    if later:
        raise Mistake(
            f"The activations are right, but block {later[0]} is computed too, which is behind the place that was "
            f"asked for (block {last}). `stop_at_layer` ends a run early; it names the first block "
            "that is *not* computed."
        )
    check.holds(most > 0, "later blocks are not computed", "Your function does not run the model.")
    check.holds(
        most <= batch_rows,
        "a few rows at a time",
        f"The activations are right, but {most} of {rows} rows go through the model at once where `batch_rows` is "
        f"{batch_rows}. On a long text that takes more memory than there is.",
    )


class _ReadAlone:
    """What comes out when only the wanted tokens of a text go through the model."""

    def __init__(self, model: Any, tokens: Tensor) -> None:
        self.model, self.tokens = model, tokens

    @torch.no_grad()
    def __call__(self, hook: str, keep: Tensor) -> Tensor:
        texts = [row[wanted] for row, wanted in zip(self.tokens, keep, strict=True) if wanted.any()]
        return torch.cat([self.model.run_with_cache(text[None])[1][hook][0] for text in texts])


def _wrong(
    cache: dict[str, Tensor],
    hook: str,
    keep: Tensor,
    batch_rows: int,
    read_alone: Callable[[str, Tensor], Tensor],
) -> Mistakes:
    acts, block = cache[hook], hook.split(".")[1]
    if bool(keep.all()):
        sinks = massive_activations(cache[f"blocks.{block}.hook_out"])
        return {
            "the axes of texts and positions are left": acts,
            "sinks are left out; but without `keep` *every* position is wanted": acts[~sinks],
        }
    return {
        "`keep` is not used: sinks are in it too": acts.flatten(0, 1),
        "`keep` is not used, and the axes of texts and positions are left": acts,
        "`keep` is inverted: what was to be left out is returned": acts[~keep],
        "positions are left out by setting them to zero, not by taking them away": (
            acts * keep[..., None]
        ).flatten(0, 1),
        "the order is lost: first position 0 of all texts, then position 1 (transpose less)": acts.transpose(
            0, 1
        )[keep.mT],
        "the order is lost in each piece: first position 0 of its texts, then position 1 (transpose less)": lambda: (
            torch.cat(
                [
                    a.transpose(0, 1)[k.mT]
                    for a, k in zip(acts.split(batch_rows), keep.split(batch_rows), strict=True)
                ]
            )
        ),
        "what goes *into* the block is returned, not what the hook holds": cache[f"blocks.{block}.hook_in"][
            keep
        ],
        "what leaves the block is returned, not what the hook holds": lambda: (
            cache[f"blocks.{block}.hook_out"][keep] if not hook.endswith("hook_out") else None
        ),
        "`keep` of the first rows is used for all rows": lambda: acts[
            keep[:batch_rows].repeat(len(keep), 1)[: len(keep)]
        ],
        "the pieces of the text are in reverse order": lambda: torch.cat(
            [
                a[k]
                for a, k in reversed(list(zip(acts.split(batch_rows), keep.split(batch_rows), strict=True)))
            ]
        ),
        "the first position of every text is left out as well": lambda: acts[:, 1:][keep[:, 1:]],
        "only the wanted tokens go through the model, which then does not see those between": lambda: (
            read_alone(hook, keep)
        ),
        "a mean is taken over each text": lambda: torch.stack(
            [a[k].mean(dim=0) for a, k in zip(acts, keep, strict=True)]
        ),
        "the first rows of all are returned, as many as are wanted": acts.flatten(0, 1)[: int(keep.sum())],
        "the last rows are lost": lambda: acts[: len(acts) - len(acts) % 2][
            keep[: len(acts) - len(acts) % 2]
        ],
        "only the first piece of the text is returned": [acts[:n][keep[:n]] for n in (3, 2)],
        "only the last piece of the text is returned": acts[-1:][keep[-1:]],
    }
