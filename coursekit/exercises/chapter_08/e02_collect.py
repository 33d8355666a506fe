"""Exercise 8.2: `collect`."""

from __future__ import annotations

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Check, Mistake, Mistakes
from coursekit.checking.door import Handle
from coursekit.checking.phrases import explained
from coursekit.exercises.chapter_08.places import FIXTURES, NEEDS, random_mask

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
        own = fixtures.language_model(seed, n_layers=BLOCKS)
        tokens = torch.randint(own.cfg.d_vocab, (rows, seq), generator=check.generator)
        with torch.no_grad():
            _, cache = own.run_with_cache(tokens)
        # Without a mask everything is wanted.
        given = [random_mask(check, rows, seq)] if batch_rows < rows else []
        keep = given[0] if given else torch.ones(rows, seq, dtype=torch.bool)
        model = check.create(seed, n_layers=BLOCKS, target=f"{FIXTURES}.language_model")
        seen = check.create(model, target=f"{FIXTURES}.BlocksSeen")
        with explained(
            {"KeyError": "The cache holds nothing under this name; ask for the hook that is passed."}
        ):
            found = check.call(model, tokens, hook, *given, batch_rows=batch_rows)
        if isinstance(found, Handle) and "Cache" in found.type_name:
            raise Mistake(
                "Your function returns the whole cache. Look the activations up in it, by the hook's name."
            )
        check.equal(
            found,
            cache[hook][keep],
            "kept size",
            f"the activations at `{hook}`{' where `keep` is True' if given else ', all of them without `keep`'}",
            _wrong(dict(cache.items()), hook, keep),
        )
        _check_cost(check, seen, int(hook.split(".")[1]), rows, batch_rows)
        check.holds(
            check.learner.call(f"{FIXTURES}.hooks_left", model) == 0,
            "no hook is left on the model",
            "After your function has ended a hook is still on the model, and runs whenever the model does.",
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


def _wrong(cache: dict[str, Tensor], hook: str, keep: Tensor) -> Mistakes:
    acts = cache[hook]
    if bool(keep.all()):
        return {"the axes of texts and positions are left": acts}
    block = hook.split(".")[1]
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
        "what goes *into* the block is returned, not what the hook holds": cache[f"blocks.{block}.hook_in"][
            keep
        ],
        "what leaves the block is returned, not what the hook holds": lambda: (
            cache[f"blocks.{block}.hook_out"][keep] if not hook.endswith("hook_out") else None
        ),
        "the last rows are lost": lambda: acts[: len(acts) - len(acts) % 2][
            keep[: len(acts) - len(acts) % 2]
        ],
        "only the first piece of the text is returned": [acts[:n][keep[:n]] for n in (3, 2)],
        "only the last piece of the text is returned": acts[-1:][keep[-1:]],
    }
