"""Answers to exercise 8.2: `collect`."""

import re

import torch

from part_utils.deep_models import block_of, collect, massive_activations
from tests.mutants import equivalent, mutant, variant


def pieces(tokens, keep, batch_rows):
    keep = torch.ones_like(tokens).bool() if keep is None else keep
    return zip(tokens.split(batch_rows), keep.split(batch_rows), strict=True)


def read(model, rows, hook):
    _, cache = model.run_with_cache(rows, names_filter=[hook], stop_at_layer=int(hook.split(".")[1]) + 1)
    return cache[hook].detach()


@mutant("8.2", says="is computed too")
def the_whole_model(model, tokens, hook, keep=None, batch_rows=16):
    parts = []
    for rows, wanted in pieces(tokens, keep, batch_rows):
        _, cache = model.run_with_cache(rows, names_filter=[hook])
        parts.append(cache[hook][wanted].detach())
    return torch.cat(parts)


@mutant("8.2", says="is computed too")
def one_block_too_many(model, tokens, hook, keep=None, batch_rows=16):
    parts = []
    for rows, wanted in pieces(tokens, keep, batch_rows):
        stop = int(hook.split(".")[1]) + 2
        _, cache = model.run_with_cache(rows, names_filter=[hook], stop_at_layer=stop)
        parts.append(cache[hook][wanted].detach())
    return torch.cat(parts)


@mutant("8.2", says="nothing under this name")
def one_block_too_few(model, tokens, hook, keep=None, batch_rows=16):
    parts = []
    for rows, wanted in pieces(tokens, keep, batch_rows):
        _, cache = model.run_with_cache(rows, names_filter=[hook], stop_at_layer=int(hook.split(".")[1]))
        parts.append(cache[hook][wanted].detach())
    return torch.cat(parts)


@mutant("8.2", says="`keep` is not used")
def sinks_kept(model, tokens, hook, keep=None, batch_rows=16):
    return torch.cat([read(model, rows, hook).flatten(0, 1) for rows in tokens.split(batch_rows)])


@mutant("8.2", says="`keep` is inverted")
def only_the_sinks(model, tokens, hook, keep=None, batch_rows=16):
    return torch.cat([read(model, rows, hook)[~wanted] for rows, wanted in pieces(tokens, keep, batch_rows)])


@mutant("8.2", says="the order is lost")
def positions_first(model, tokens, hook, keep=None, batch_rows=16):
    acts = torch.cat([read(model, rows, hook) for rows in tokens.split(batch_rows)])
    return acts.transpose(0, 1)[keep.mT] if keep is not None else acts.flatten(0, 1)


@mutant("8.2", says="rows go through the model at once")
def all_rows_at_once(model, tokens, hook, keep=None, batch_rows=16):
    return read(model, tokens, hook)[keep]


@mutant("8.2", says="setting them to zero")
def zeros_for_sinks(model, tokens, hook, keep=None, batch_rows=16):
    acts = torch.cat([read(model, rows, hook) for rows in tokens.split(batch_rows)])
    return (acts * keep[..., None]).flatten(0, 1)


@mutant("8.2", says="goes *into* the block")
def what_goes_in(model, tokens, hook, keep=None, batch_rows=16):
    number = int(hook.split(".")[1])
    name = f"blocks.{number}.hook_in"
    parts = []
    for rows, wanted in pieces(tokens, keep, batch_rows):
        _, cache = model.run_with_cache(rows, names_filter=[name], stop_at_layer=number + 1)
        parts.append(cache[name][wanted].detach())
    return torch.cat(parts)


@mutant("8.2", says="the whole cache")
def the_cache(model, tokens, hook, keep=None, batch_rows=16):
    return model.run_with_cache(tokens, names_filter=[hook], stop_at_layer=int(hook.split(".")[1]) + 1)[1]


@mutant("8.2", says="None")
def no_return(model, tokens, hook, keep=None, batch_rows=16):
    read(model, tokens, hook)


@mutant("8.2", says="piece of the text")
def last_piece(model, tokens, hook, keep=None, batch_rows=1):
    for rows, wanted in pieces(tokens, keep, 1):
        acts = read(model, rows, hook)[wanted]
    return acts


@variant("8.2")
def with_a_hook_of_its_own(model, tokens, hook, keep=None, batch_rows=16):
    keep = torch.full(tokens.shape, True) if keep is None else keep
    found = []
    for start in range(0, len(tokens), batch_rows):
        rows = slice(start, start + batch_rows)

        def note(value, hook, rows=rows):
            found.append(value[keep[rows]].double().detach())

        last = int(hook.split(".")[1])
        model.run_with_hooks(tokens[rows], fwd_hooks=[(hook, note)], stop_at_layer=last + 1)
    return torch.cat(found)


@variant("8.2")
def row_by_row(model, tokens, hook, keep=None, batch_rows=16):
    return torch.cat([read(model, rows, hook)[wanted] for rows, wanted in pieces(tokens, keep, 1)])


@variant("8.2")
def own_exit(model, tokens, hook, keep=None, batch_rows=16):
    class Enough(Exception):
        pass

    parts = []

    def note(value, hook):
        parts.append(value.detach().clone())
        raise Enough

    for rows in tokens.split(batch_rows):
        try:
            model.run_with_hooks(rows, fwd_hooks=[(hook, note)])
        except Enough:
            pass
        finally:
            model.reset_hooks()
    acts = torch.cat(parts)
    return acts.flatten(0, 1) if keep is None else acts[keep]


@variant("8.2")
def a_list_of_vectors(model, tokens, hook, keep=None, batch_rows=16):
    found = []
    for rows, wanted in pieces(tokens, keep, batch_rows):
        places = zip(read(model, rows, hook).flatten(0, 1), wanted.flatten().tolist(), strict=True)
        found += [vector for vector, yes in places if yes]
    return torch.stack(found)


@mutant("8.2", says="'NoneType' object has no attribute 'split'")
def no_default(model, tokens, hook, keep=None, batch_rows=16):
    both = zip(tokens.split(batch_rows), keep.split(batch_rows), strict=True)
    return torch.cat([read(model, rows, hook)[wanted] for rows, wanted in both])


def _block(hook):
    return int(hook.split(".")[1])


def _read(model, rows, hook, stop=None):
    stop = _block(hook) + 1 if stop is None else stop
    return model.run_with_cache(rows, names_filter=[hook], stop_at_layer=stop)[1][hook]


def _refuse(model, hook):
    if not hook.startswith("blocks.") or hook not in model.hook_dict:
        raise ValueError(f"no hook {hook} in a block")


@mutant("8.2", says="The activations are right, but block 2 is computed too,")
@torch.no_grad()
def all_blocks(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        parts.append(model.run_with_cache(rows, names_filter=[hook])[1][hook][wanted])
    return torch.cat(parts)


@mutant("8.2", says="The activations are right, but block 2 is computed too,")
@torch.no_grad()
def one_block_too_many_again(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        parts.append(_read(model, rows, hook, min(_block(hook) + 2, model.cfg.n_layers))[wanted])
    return torch.cat(parts)


@mutant("8.2", says="because block 1 has not run")
@torch.no_grad()
def one_block_too_few_again(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        parts.append(_read(model, rows, hook, _block(hook))[wanted])
    return torch.cat(parts)


@mutant("8.2", says="A block's number may have two digits, as in")
@torch.no_grad()
def one_digit(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        parts.append(_read(model, rows, hook, int(hook[7]) + 1)[wanted])
    return torch.cat(parts)


@mutant("8.2", says="`keep` is not used: sinks are in it too")
@torch.no_grad()
def keep_not_used(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    return torch.cat([_read(model, rows, hook).flatten(0, 1) for rows in tokens.split(batch_rows)])


@mutant("8.2", says="`keep` is inverted: what was to be left out is returned")
@torch.no_grad()
def keep_inverted(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.zeros_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        parts.append(_read(model, rows, hook)[~wanted])
    return torch.cat(parts)


@mutant("8.2", says="`keep` of the first rows is used for all rows")
@torch.no_grad()
def keep_of_the_first_rows(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    return torch.cat([_read(model, rows, hook)[keep[: len(rows)]] for rows in tokens.split(batch_rows)])


@mutant("8.2", says="whole caches stay in memory until the end")
@torch.no_grad()
def caches_until_the_end(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    runs = [model.run_with_cache(rows, stop_at_layer=_block(hook) + 1) for rows in tokens.split(batch_rows)]
    pieces = zip(runs, keep.split(batch_rows), strict=True)
    return torch.cat([cache[hook][wanted] for (_, cache), wanted in pieces])


@mutant("8.2", says="The activations are right, but 7 of 7 rows go through the")
@torch.no_grad()
def all_texts_at_once(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    return _read(model, tokens, hook)[keep]


@mutant("8.2", says="The activations are right, but 7 of 7 rows go through the")
@torch.no_grad()
def sixteen_rows(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.split(16), keep.split(16), strict=False):
        parts.append(_read(model, rows, hook)[wanted])
    return torch.cat(parts)


@mutant("8.2", says="The activations are right, but 3 of 5 rows go through the")
@torch.no_grad()
def so_many_parts(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.chunk(batch_rows), keep.chunk(batch_rows), strict=False):
        parts.append(_read(model, rows, hook)[wanted])
    return torch.cat(parts)


@mutant("8.2", says="the last rows are lost")
@torch.no_grad()
def first_rows_only(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    return _read(model, tokens[:batch_rows], hook)[keep[:batch_rows]]


@mutant("8.2", says="the last rows are lost")
@torch.no_grad()
def rest_dropped(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for start in range(0, max(len(tokens) - batch_rows + 1, 1), batch_rows):
        part = slice(start, start + batch_rows)
        parts.append(_read(model, tokens[part], hook)[keep[part]])
    return torch.cat(parts)


@mutant("8.2", says="the order is lost: first position 0 of all texts, then")
@torch.no_grad()
def position_by_position(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    h = torch.cat([_read(model, rows, hook) for rows in tokens.split(batch_rows)])
    return h.transpose(0, 1)[keep.mT]


@mutant("8.2", says="the pieces of the text are in reverse order")
@torch.no_grad()
def batches_reversed(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        parts.insert(0, _read(model, rows, hook)[wanted])
    return torch.cat(parts)


@mutant("8.2", says="the axes of texts and positions are left")
@torch.no_grad()
def three_axes(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    h = torch.cat([_read(model, rows, hook) for rows in tokens.split(batch_rows)])
    return h if keep is None else h[keep]


@mutant("8.2", says="positions are left out by setting them to zero, not by")
@torch.no_grad()
def zeros_where_not_wanted(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    h = torch.cat([_read(model, rows, hook) for rows in tokens.split(batch_rows)])
    return (h * keep[..., None]).flatten(0, 1)


@variant("8.2")
@torch.no_grad()
def key_error(model, tokens, hook, keep=None, batch_rows=16):
    if hook not in model.hook_dict:
        raise KeyError(hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        parts.append(_read(model, rows, hook)[wanted])
    return torch.cat(parts)


@variant("8.2")
@torch.no_grad()
def nothing_refused(model, tokens, hook, keep=None, batch_rows=16):
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        stop = _block(hook) + 1 if hook.startswith("blocks.") else 1
        parts.append(_read(model, rows, hook, stop)[wanted])
    return torch.cat(parts)


@mutant("8.2", says="your function returns something")
@torch.no_grad()
def empty_for_no_hook(model, tokens, hook, keep=None, batch_rows=16):
    if hook not in model.hook_dict:
        return torch.zeros(0, model.cfg.d_model)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        parts.append(_read(model, rows, hook)[wanted])
    return torch.cat(parts)


@variant("8.2")
@torch.no_grad()
def embedding_taken(model, tokens, hook, keep=None, batch_rows=16):
    if hook not in model.hook_dict:
        raise ValueError(hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        stop = _block(hook) + 1 if hook.startswith("blocks.") else None
        parts.append(model.run_with_cache(rows, names_filter=[hook], stop_at_layer=stop)[1][hook][wanted])
    return torch.cat(parts)


@mutant("8.2", says="has the wrong shape")
@torch.no_grad()
def always_the_residual(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        parts.append(model(rows, stop_at_layer=_block(hook) + 1)[wanted])
    return torch.cat(parts)


@mutant("8.2", says="what goes *into* the block is returned, not what the hook")
@torch.no_grad()
def into_the_block(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    place = hook.replace("hook_out", "hook_in").replace("hook_post", "hook_pre")
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        parts.append(_read(model, rows, place)[wanted])
    return torch.cat(parts)


@mutant("8.2", says="the first position of every text is left out as well")
@torch.no_grad()
def sinks_left_out(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep.clone()
    keep[:, 0] = False
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        parts.append(_read(model, rows, hook)[wanted])
    return torch.cat(parts)


@mutant("8.2", says="only the wanted tokens go through the model, which then")
@torch.no_grad()
def only_wanted_tokens_run(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    return torch.cat(
        [
            _read(model, row[wanted][None], hook)[0]
            for row, wanted in zip(tokens, keep, strict=False)
            if wanted.any()
        ]
    )


@mutant("8.2", says="a mean is taken over each text")
@torch.no_grad()
def mean_of_each_text(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    return torch.stack(
        [_read(model, row[None], hook)[0][wanted].mean(0) for row, wanted in zip(tokens, keep, strict=False)]
    )


@mutant("8.2", says="the first rows of all are returned, as many as are wanted")
@torch.no_grad()
def flattened_columns(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    h = torch.cat([_read(model, rows, hook) for rows in tokens.split(batch_rows)])
    return h.flatten(0, 1)[: int(keep.sum())]


@mutant("8.2", says="Your result is of type list; expected a torch.Tensor.")
@torch.no_grad()
def list_of_parts(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    return [
        _read(model, r, hook)[w]
        for r, w in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False)
    ]


@mutant("8.2", says="After your function has ended a hook is still on the")
@torch.no_grad()
def hook_left(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    found, parts = [], []
    model.add_hook(hook, lambda value, hook: found.append(value))
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        model(rows, stop_at_layer=_block(hook) + 1)
        parts.append(found[-1][wanted])
    return torch.cat(parts)


@mutant("8.2", says="the last rows are lost")
@torch.no_grad()
def crashes_without_positions(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    parts = []
    for rows, wanted in zip(tokens.split(batch_rows), keep.split(batch_rows), strict=False):
        if not wanted.any():
            break
        parts.append(_read(model, rows, hook)[wanted])
    return torch.cat(parts)


@variant("8.2")
@torch.no_grad()
def one_row_at_a_time(model, tokens, hook, keep=None, batch_rows=16):
    if not re.fullmatch(r"blocks\.\d+\..+", hook) or hook not in model.hook_dict:
        raise ValueError("no such hook")
    rows = []
    for i, row in enumerate(tokens):
        h = _read(model, row[None], hook)[0]
        rows += [h[p] for p in range(len(row)) if keep is None or bool(keep[i, p])]
    return torch.stack(rows)


@variant("8.2")
@torch.no_grad()
def hook_that_stops(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    found = []

    def note(value, hook):
        found.append(value.detach().clone())

    for start in range(0, len(tokens), batch_rows):
        model.run_with_hooks(
            tokens[start : start + batch_rows], stop_at_layer=_block(hook) + 1, fwd_hooks=[(hook, note)]
        )
    h = torch.cat(found, dim=0)
    return h.reshape(-1, h.shape[-1]) if keep is None else h[keep]


@variant("8.2")
@torch.no_grad()
def exception_that_stops(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)

    class Enough(Exception):
        pass

    found = []

    def note(value, hook):
        found.append(value.flatten(0, 1).clone())
        raise Enough

    for rows in tokens.split(batch_rows):
        try:
            model.run_with_hooks(rows, fwd_hooks=[(hook, note)])
        except Enough:
            pass
        finally:
            model.reset_hooks()
    h = torch.cat(found)
    return h if keep is None else h[keep.flatten().nonzero()[:, 0]]


equivalent("8.2", "It only words an error.", "check_hook(model, hook) -> nothing")
equivalent(
    "8.2", "Both are split in the same way.", "zip(strict=True) -> zip()", "strict=True: True -> False"
)
equivalent(
    "8.2",
    "The whole cache holds the same activations; it needs more memory while the function runs.",
    "model.run_with_cache(names_filter=[hook]) -> model.run_with_cache()",
)


@mutant("8.2", says="the order is lost in each piece")
@torch.no_grad()
def positions_first_in_each_piece(model, tokens, hook, keep=None, batch_rows=16):
    _refuse(model, hook)
    keep = torch.ones_like(tokens, dtype=torch.bool) if keep is None else keep
    both = zip(tokens.split(batch_rows), keep.split(batch_rows), strict=True)
    return torch.cat([_read(model, rows, hook).transpose(0, 1)[wanted.mT] for rows, wanted in both])


@mutant("8.2", says="without `keep` *every* position is wanted")
def sinks_left_out_by_default(model, tokens, hook, keep=None, batch_rows=16):
    if keep is None and hook in model.hook_dict:
        residual = collect(model, tokens, f"blocks.{block_of(hook)}.hook_out", batch_rows=batch_rows)
        keep = ~massive_activations(residual.view(*tokens.shape, -1))
    return collect(model, tokens, hook, keep, batch_rows)
