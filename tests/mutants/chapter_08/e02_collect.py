"""Answers to exercise 8.2: `collect`."""

import torch

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


equivalent("8.2", "It only words an error.", "check_hook(model, hook) -> nothing")
equivalent(
    "8.2", "Both are split in the same way.", "zip(strict=True) -> zip()", "strict=True: True -> False"
)
equivalent(
    "8.2",
    "The whole cache holds the same activations; it needs more memory while the function runs.",
    "model.run_with_cache(names_filter=[hook]) -> model.run_with_cache()",
)
