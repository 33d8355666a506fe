"""Exercise 5.1: `highest_activating_tokens`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Check, Mistake, agree
from coursekit.checking.door import Handle
from coursekit.checking.phrases import explained
from coursekit.checking.pictures import highlighted
from coursekit.exercises.chapter_05.parts import (
    BRIDGE,
    FIXTURES,
    check_defaults,
    fields,
    language_model,
    make_autoencoder,
    random_seed,
    whole_numbers,
)
from part_utils.autoencoder import AutoEncoder

# One word for every token of the tiny language model, for pictures.
WORDS = (
    "the", "cat", "sat", "on", "a", "mat", "and", "saw", "two",
    "dogs", "run", "by", "while", "it", "was", "very", "old",
)  # fmt: skip


@exercise(
    id="5.1",
    reference="interpretation.highest_activating_tokens",
    difficulty=3,
    importance=5,
    minutes=20,
    points=4,
    needs=(BRIDGE,),
)
def highest_activating_tokens(check: Check) -> None:
    model_handle, model = language_model(check)
    autoencoder_handle, autoencoder = make_autoencoder(check, n_instances=3)
    # 13 rows that begin with different tokens: no two positions have the same past, and so the same activation.
    rows, seq = 13, 7
    tokens = torch.randint(17, (rows, seq), generator=check.generator)
    tokens[:, 0] = check.permutation(17)[:rows]
    instance = 2
    all_acts = _all_acts(tokens, model, autoencoder)[:, :, instance]
    often = ((all_acts > 0).float().mean(dim=(0, 1)) - 0.5).abs().argsort().tolist()
    # One that is not silent by any known mistake, so that no two of them look alike.
    latent = next((one for one in often if _tells_mistakes_apart(tokens, model, autoencoder, one)), often[0])
    # The best row is in the last batch of 5, which is not full, and the second best in the first.
    order = all_acts[:, :, latent].amax(dim=1).argsort(descending=True)
    tokens = tokens[torch.cat([order[1:2], order[2:], order[:1]])]

    def call(text: Tensor, k: int, batch_rows: int, latent: int = latent, instance: int = instance) -> Any:
        return check.call(text, model_handle, autoencoder_handle, latent, instance, k, batch_rows)

    wrong = _wrong_latents(tokens, model, autoencoder, latent, instance)
    acts = wrong.pop("")
    _check_highest(
        check,
        call(tokens, 17, 5),
        tokens,
        acts,
        wrong,
        17,
        5,
        "finds the tokens with the highest activations",
    )
    _check_highest(
        check, call(tokens, 6, 100), tokens, acts, wrong, 6, 100, "right when one batch holds all rows"
    )
    with explained({"k": _TOO_FEW, "out of range": _TOO_FEW}):
        found = call(tokens[:5], 1000, 3)
    _check_highest(
        check, found, tokens[:5], acts[:5], {phrase: other[:5] for phrase, other in wrong.items()}, 1000, 3,
        "returns all tokens where there are fewer than k",
    )  # fmt: skip
    other = _wrong_latents(tokens, model, autoencoder, latent, 0)
    _check_highest(
        check, call(tokens, 4, 4, latent, 0), tokens, other.pop(""), other, 4, 4, "right in several instances"
    )
    alone = {phrase: one[:3] for phrase, one in wrong.items()}
    _check_highest(
        check, call(tokens[:3], 1, 2), tokens[:3], acts[:3], alone, 1, 2, "right for a single token"
    )
    check_defaults(
        check,
        (tokens, model_handle, autoencoder_handle, latent),
        (0, 10, 32),
        "`instance` is 0, `k` is 10 and `batch_rows` is 32",
    )
    _check_memory(check, model_handle, model, tokens)


_TOO_FEW = "Where the text has fewer than `k` tokens your code raised an error. Return all of them then."


def _all_acts(tokens: Tensor, model: Any, autoencoder: AutoEncoder) -> Tensor:
    h = _mlp(tokens, model).flatten(0, 1)
    acts = autoencoder(h[:, None].expand(-1, autoencoder.cfg.n_instances, -1)).acts
    return acts.detach().unflatten(0, tokens.shape)


def _mlp(tokens: Tensor, model: Any) -> Tensor:
    from part_utils.activations import get_activations

    return get_activations(tokens, model)


def _wrong_latents(
    tokens: Tensor, model: Any, autoencoder: AutoEncoder, latent: int, instance: int
) -> dict[str, Tensor]:
    """The latent's activations on a text, under "", and what known mistakes take for them."""
    h = _mlp(tokens, model)
    W_enc, b_enc, b_dec = (x.detach() for x in (autoencoder.W_enc, autoencoder.b_enc, autoencoder.b_dec))
    other, third = ((instance + shift) % autoencoder.cfg.n_instances for shift in (1, 2))
    centered = h - b_dec[instance]
    column, bias = W_enc[instance, :, latent], b_enc[instance, latent]
    decoder = autoencoder.W_dec.detach()[instance, latent]
    before = centered @ column + bias
    return {
        "": torch.relu(before),
        "`b_dec` is not subtracted from the activations": torch.relu(h @ column + bias),
        "`b_dec` is added to the activations instead of subtracted": torch.relu(
            (h + b_dec[instance]) @ column + bias
        ),
        "the encoder's bias `b_enc` is left out": torch.relu(centered @ column),
        "both biases are left out": torch.relu(h @ column),
        "`b_enc` is subtracted": torch.relu(centered @ column - bias),
        "the ReLU is left out": before,
        "the absolute value takes the place of the ReLU": before.abs(),
        "`b_enc` counts twice": torch.relu(before + bias),
        "the encoder's column is brought to unit length": torch.relu(
            centered @ column / column.norm() + bias
        ),
        "it is multiplied by the length of the decoder's row": torch.relu(before) * decoder.norm(),
        "the *neuron* of this number is looked at, not the latent": h[..., latent % h.shape[-1]],
        "only the strongest token of each text counts": torch.relu(before)
        * (before == before.amax(dim=1, keepdim=True)),
        "the ReLU comes before the encoder's bias": torch.relu(centered @ column) + bias,
        "the ReLU and the encoder's bias are left out": centered @ column,
        "the decoder's row is used in place of the encoder's column": torch.relu(centered @ decoder + bias),
        "the decoder's row at unit length is used in place of the encoder's column": torch.relu(
            centered @ decoder / decoder.norm() + bias
        ),
        "the other instance is used": torch.relu(
            (h - b_dec[other]) @ W_enc[other, :, latent] + b_enc[other, latent]
        ),
        "another instance is used": torch.relu(
            (h - b_dec[third]) @ W_enc[third, :, latent] + b_enc[third, latent]
        ),
        "`W_enc` is the other instance's": torch.relu(centered @ W_enc[other, :, latent] + bias),
        "`b_enc` is the other instance's": torch.relu(centered @ column + b_enc[other, latent]),
        "`b_dec` is the other instance's": torch.relu((h - b_dec[other]) @ column + bias),
    }


def _tells_mistakes_apart(tokens: Tensor, model: Any, autoencoder: AutoEncoder, latent: int) -> bool:
    return all(
        bool((acts > 0).any())
        for instance in (0, 2)
        for acts in _wrong_latents(tokens, model, autoencoder, latent, instance).values()
    )


def _check_highest(
    check: Check,
    found: Any,
    tokens: Tensor,
    acts: Tensor,
    wrong: Mapping[str, Tensor],
    k: int,
    batch_rows: int,
    claim: str,
) -> None:
    """The returned positions and values are the highest ones; which of several equal ones does not matter."""
    indices, values = fields(check, found, "indices, values")
    rows, seq = acts.shape
    count = min(k, acts.numel())
    expected, places = acts.flatten().topk(count)
    right = torch.stack([places // seq, places % seq], dim=-1)
    check.show(lambda: _tokens_shown(tokens, indices, values, right, expected))
    if isinstance(indices, Tensor) and isinstance(values, Tensor) and not values.is_floating_point():
        raise Mistake("The indices and the values are exchanged: the indices come first.")
    _check_values(check, values, acts, wrong, expected, count, batch_rows, k)
    if isinstance(indices, Tensor) and indices.ndim == 1 and len(indices) == count:
        flat = (
            " (they are places in the flattened text)"
            if agree(acts.flatten()[indices.long() % acts.numel()], expected)
            else ""
        )
        raise Mistake(
            f"The indices have one number for each token{flat}; expected a row and a position, `k 2`."
        )
    if isinstance(indices, Tensor) and indices.shape == (2, count) and count != 2:
        raise Mistake("The indices have the shape `2 k`; expected one line for each token, `k 2`.")
    indices = whole_numbers(indices, (count, 2), "k 2", "`indices`")

    def fits(pairs: Tensor) -> bool:
        row, position = pairs.unbind(dim=-1)
        inside = (row >= 0) & (row < rows) & (position >= 0) & (position < seq)
        return bool(inside.all()) and agree(acts[row, position], expected)

    if fits(indices):
        if len(indices.unique(dim=0)) < count:
            raise Mistake("Some tokens are returned more than once.")
        check.holds(True, claim, "")
        return
    row, position = right.unbind(dim=-1)
    start = row // batch_rows * batch_rows
    height, inside = (rows - start).clamp(max=batch_rows), (row - start) * seq + position
    for phrase, pairs in {
        "each is (seq, batch); expected (batch, seq)": right.flip(-1),
        "the rows count from the beginning of each batch: add its `start`": torch.stack(
            [row % batch_rows, position], dim=-1
        ),
        "the number of the batch is taken for the row": torch.stack([row // batch_rows, position], dim=-1),
        "the flat places are taken apart with the number of rows instead of `seq` (seq first)": torch.stack(
            [places // rows, places % rows], dim=-1
        ),
        "the places in a part are taken apart with the number of its rows instead of `seq`": torch.stack(
            [start + inside // height, inside % height], dim=-1
        ),
        "the places in a part are taken apart with `batch_rows` instead of `seq`": torch.stack(
            [start + inside // batch_rows, inside % batch_rows], dim=-1
        ),
        "the flat places are taken apart as if `seq` came first": torch.stack(
            [places % rows, places // rows], dim=-1
        ),
    }.items():
        # Equal activations may come in any order, so compare as sets where there are such.
        if torch.equal(indices, pairs) and not fits(pairs):
            raise Mistake(f"The values are right, but the indices are not: {phrase}.")
    mine = (indices % batch_rows)[:, 0]
    if (
        not torch.equal(indices[:, 0], row)
        and torch.equal(mine, row % batch_rows)
        and torch.equal(indices[:, 1], position)
    ):
        raise Mistake(
            "The values are right, but the indices are not: the rows count from the beginning of each batch: add its "
            "`start`."
        )
    inside = (indices >= 0).all() and (indices[:, 0] < rows).all() and (indices[:, 1] < seq).all()
    if inside and agree(acts[indices[:, 0], indices[:, 1]].sort(descending=True).values, expected):
        raise Mistake(
            "The tokens are the right ones, but their indices are in another order than their values."
        )
    wrong_at = [
        number
        for number, (r, p) in enumerate(indices.tolist())
        if not (0 <= r < rows and 0 <= p < seq) or not agree(acts[r, p], expected[number])
    ]
    raise Mistake(
        "The values are right, but the indices do not lead to the tokens that have them.",
        [
            f"{len(wrong_at)} of {count} are wrong; number {n} should be {right[n].tolist()}, and "
            f"is {indices[n].tolist()}"
            for n in wrong_at[:1]
        ],
    )


def _check_values(
    check: Check,
    values: Any,
    acts: Tensor,
    wrong: Mapping[str, Tensor],
    expected: Tensor,
    count: int,
    batch_rows: int,
    k: int,
) -> None:
    rows = len(acts)
    full = rows // batch_rows * batch_rows
    last = (rows - 1) // batch_rows * batch_rows
    per_batch = torch.cat(
        [part.flatten().topk(min(count, part.numel())).values for part in acts.split(batch_rows)]
    )
    mistakes: dict[str, Any] = {
        "the lowest activations are returned instead of the highest": acts.flatten()
        .topk(count, largest=False)
        .values,
        "the highest activation comes last": expected.flip(0),
        "only the last batch of rows is looked at": _top(acts[last:], count),
        "only the first batch of rows is looked at": _top(acts[:batch_rows], count),
        "the last batch of rows, which is smaller, is left out": _top(acts[:full], count),
        "each batch of rows gives `k` tokens, and they are not compared with one another": per_batch,
        "each row gives only its best token": _top(acts.amax(dim=1), count),
        "the first position of every row is left out": _top(acts[:, 1:], count),
        "the activations are left in the order of the text": acts.flatten()[
            acts.flatten().topk(count).indices.sort().values
        ],
    }
    silent = expected[expected > 0]
    if len(silent) < len(expected):
        mistakes[
            "tokens on which the latent is silent are left out, although there are fewer than `k` others"
        ] = silent
    if isinstance(values, Tensor) and values.ndim == 1 and len(values) != count:
        _about_the_number(len(values), count, k, acts.numel())
    mistakes |= {phrase: _top(other, count) for phrase, other in wrong.items()}
    check.equal(values, expected, "k", "", mistakes, what="`values`")


def _about_the_number(found: int, count: int, k: int, tokens: int) -> None:
    """Another number of tokens than was asked for, where that alone says why."""
    if found == k > count:
        raise Mistake(
            f"The text has {tokens} tokens, fewer than `k`, which is {k}, and you return {k}: something fills "
            f"the list up. "
            "Return the tokens that there are (begin with no values at all, and not with `k` zeros)."
        )
    if found == 10 != k:
        raise Mistake(f"You return 10 tokens, and `k` is {k} here: is 10 written into your code?")


def _top(acts: Tensor, count: int) -> Tensor:
    return acts.flatten().topk(min(count, acts.numel())).values


def _tokens_shown(tokens: Tensor, indices: Tensor, values: Tensor, right: Tensor, expected: Tensor) -> str:
    """The text with the tokens that were found, and those that should be, the stronger the higher their activation."""

    def lines(places: Tensor, numbers: Tensor) -> list[list[tuple[str, float]]]:
        strength = {
            (int(place[0]), int(place[1])): float(number)
            for place, number in zip(places.tolist(), numbers.tolist(), strict=False)
        }
        return [
            [(f"{WORDS[token]} ", strength.get((row, position), 0.0)) for position, token in enumerate(line)]
            for row, line in enumerate(tokens.tolist())
        ]

    return highlighted(lines(indices, values), lines(right, expected))


def _check_memory(check: Check, model: Handle, own_model: Any, tokens: Tensor) -> None:
    """Neither all latents at once nor all rows at once."""
    seed = random_seed(check)
    endless = check.create(seed, target=f"{FIXTURES}.endless_autoencoder")
    latent = 1_000_003
    expected = _top(_endless_acts(seed, own_model, tokens), 3)
    with explained(
        {
            "": "With an autoencoder of very many latents your code fails: it computes all of them. "
            "Use only this latent's "
            "column of `W_enc[instance]`, not `autoencoder(h)` or a product with all of `W_enc`."
        }
    ):
        found = check.call(tokens, model, endless, latent, 1, 3, 5)
    _, values = fields(check, found, "indices, values")
    check.equal(values, expected, "k", "computes one latent, whatever their number", what="`values`")
    watch = check.create(model, memory=True, target=f"{FIXTURES}.PartsSeen")
    many = tokens.repeat(20, 1)
    found = check.call(many, model, check.create(seed, target=f"{FIXTURES}.autoencoder"), 2, 0, 3, 8)
    fields(check, found, "indices, values")
    most = int(check.method(watch, "most"))
    check.holds(
        most <= 8,
        "a long text goes through the model a few rows at a time",
        f"All {len(many)} rows went through the model at once, with `batch_rows` 8. The memory must not grow with the "
        "text: take a few rows at a time."
        if most >= len(many)
        else f"{most} of {len(many)} rows went through the model at once, with `batch_rows` 8.",
    )
    kept, neurons = check.method(watch, "kept"), own_model.cfg.d_mlp
    check.holds(
        kept < neurons / 2,
        "of the rows that are done no neurons' activations are kept",
        f"Of the rows that are done about {kept:.0f} numbers for each token stay in memory: the activations of "
        f"{neurons} neurons, or a view of them (a slice shares their memory). Keep this latent's activations, or the "
        "`k` best of them, and let the rest go.",
    )


def _endless_acts(seed: int, model: Any, tokens: Tensor) -> Tensor:
    """What the one column of the endless autoencoder gives."""
    h = _mlp(tokens, model)
    W_enc, b_enc, b_dec = fixtures.endless_column(seed)
    return torch.relu((h - b_dec[1]) @ W_enc[1] + b_enc[1])
