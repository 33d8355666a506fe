"""Answers to exercise 7.10: `test_edge`."""

import torch

from part_utils.transcoder import MLP_IN, MLP_OUT
from tests.mutants import equivalent, mutant, variant


def _runs(tokens, model, transcoder, latent, position, change):
    logits, cache = model.run_with_cache(tokens[None])
    x = cache[MLP_IN][0]
    written = transcoder.encode(x)[:, latent, None] * transcoder.W_dec[latent]

    def put(value, hook):
        return change(value.clone(), written, x)

    return logits[0], model.run_with_hooks(tokens[None], fwd_hooks=[(MLP_OUT, put)])[0]


def _minus(position):
    def change(value, written, x):
        value[0, position] -= written[position]
        return value

    return change


@mutant("7.10", says="sign is turned round")
@torch.no_grad()
def turned(tokens, model, transcoder, latent, position, token):
    clean, changed = _runs(tokens, model, transcoder, latent, position, _minus(position))
    return (changed - clean)[position, token]


@mutant("7.10", says="error is taken away too")
@torch.no_grad()
def error_lost(tokens, model, transcoder, latent, position, token):
    def change(value, written, x):
        value[0] = transcoder(x, value[0]).y_reconstructed - written
        return value

    clean, changed = _runs(tokens, model, transcoder, latent, position, change)
    return (clean - changed)[position, token]


@mutant("7.10", says="both runs have the transcoder")
@torch.no_grad()
def wrong_baseline(tokens, model, transcoder, latent, position, token):
    def rebuilt(value, written, x):
        value[0] = transcoder(x, value[0]).y_reconstructed
        return value

    def without(value, written, x):
        return rebuilt(value, written, x) - written[None]

    _, base = _runs(tokens, model, transcoder, latent, position, rebuilt)
    _, changed = _runs(tokens, model, transcoder, latent, position, without)
    return (base - changed)[position, token]


@mutant("7.10", says="nothing is ablated")
@torch.no_grad()
def hook_without_effect(tokens, model, transcoder, latent, position, token):
    clean, changed = _runs(tokens, model, transcoder, latent, position, lambda value, written, x: value)
    return (clean - changed)[position, token]


@mutant("7.10", says="however strongly the latent fires")
@torch.no_grad()
def direction_alone(tokens, model, transcoder, latent, position, token):
    def change(value, written, x):
        value[0, position] -= transcoder.W_dec[latent]
        return value

    clean, changed = _runs(tokens, model, transcoder, latent, position, change)
    return (clean - changed)[position, token]


@mutant("7.10", says="*encoder* column")
@torch.no_grad()
def encoder_column(tokens, model, transcoder, latent, position, token):
    def change(value, written, x):
        value[0, position] -= transcoder.encode(x)[position, latent] * transcoder.W_enc[:, latent]
        return value

    clean, changed = _runs(tokens, model, transcoder, latent, position, change)
    return (clean - changed)[position, token]


@mutant("7.10", says="nothing to compare it with")
@torch.no_grad()
def changed_alone(tokens, model, transcoder, latent, position, token):
    return _runs(tokens, model, transcoder, latent, position, _minus(position))[1][position, token]


@mutant("7.10", says="a hook is still on the model")
@torch.no_grad()
def hook_left(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    written = transcoder.encode(cache[MLP_IN][0])[:, latent, None] * transcoder.W_dec[latent]
    model.reset_hooks()
    result = everywhere(tokens, model, transcoder, latent, position, token)
    model.add_hook(MLP_OUT, lambda value, hook: value - 0 * written[None])
    return result


@variant("7.10")
@torch.no_grad()
def everywhere(tokens, model, transcoder, latent, position, token):
    def change(value, written, x):
        return value - written

    clean, changed = _runs(tokens, model, transcoder, latent, position, change)
    return (clean - changed)[position, token]


@variant("7.10")
@torch.no_grad()
def by_hand(tokens, model, transcoder, latent, position, token):
    logits, cache = model.run_with_cache(tokens[None])
    written = transcoder.encode(cache[MLP_IN][0])[position, latent] * transcoder.W_dec[latent]
    residual = cache["blocks.0.hook_resid_post"][0, position] - written
    return (logits[0, position] - model.unembed(model.ln_final(residual[None, None]))[0, 0])[token].item()


def _run(tokens, model, transcoder, latent, position, change=None, act=None, at=None):
    at = position if at is None else at
    clean, cache = model.run_with_cache(tokens[None])
    if act is None:
        act = transcoder.encode(cache[MLP_IN][0])[position, latent]

    def without(value, hook):
        value = value.clone()
        value[0, at] = value[0, at] - act * transcoder.W_dec[latent]
        return value

    return clean[0], model.run_with_hooks(tokens[None], fwd_hooks=[(MLP_OUT, change or without)])[0]


@mutant("7.10", says="the sign is turned round: it is what the logit *falls* by")
@torch.no_grad()
def sign(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens, model, transcoder, latent, position)
    return (changed - clean)[position, token]


@mutant("7.10", says="the absolute change is returned")
@torch.no_grad()
def absolute_fall(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens, model, transcoder, latent, position)
    return (clean - changed)[position, token].abs()


@mutant("7.10", says="the change of the log-probability is returned")
@torch.no_grad()
def log_probability(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens, model, transcoder, latent, position)
    return (clean.log_softmax(-1) - changed.log_softmax(-1))[position, token]


@mutant("7.10", says="the change of the probability is returned")
@torch.no_grad()
def probability(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens, model, transcoder, latent, position)
    return (clean.softmax(-1) - changed.softmax(-1))[position, token]


@mutant("7.10", says="the change is divided by the logit")
@torch.no_grad()
def relative_fall(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens, model, transcoder, latent, position)
    return ((clean - changed) / clean)[position, token]


@mutant("7.10", says="the logit without the latent is returned, with nothing to")
@torch.no_grad()
def changed_logit(tokens, model, transcoder, latent, position, token):
    return _run(tokens, model, transcoder, latent, position)[1][position, token]


@mutant("7.10", says="the reconstruction takes the place of what the MLP")
@torch.no_grad()
def replaced_by_transcoder(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    out = transcoder(cache[MLP_IN][0], cache[MLP_OUT][0])
    new = out.y_reconstructed - out.acts[:, latent : latent + 1] * transcoder.W_dec[latent]
    clean, changed = _run(tokens, model, transcoder, latent, position, lambda value, hook: new[None])
    return (clean - changed)[position, token]


@mutant("7.10", says="both runs have the transcoder in the MLP's place: the")
@torch.no_grad()
def replaced_in_both(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    out = transcoder(cache[MLP_IN][0], cache[MLP_OUT][0])
    full = out.y_reconstructed
    new = full.clone()
    new[position] -= out.acts[position, latent] * transcoder.W_dec[latent]
    before, after = (
        model.run_with_hooks(tokens[None], fwd_hooks=[(MLP_OUT, lambda value, hook, put=put: put[None])])
        for put in (full, new)
    )
    return (before - after)[0, position, token]


@mutant("7.10", says="everything that the MLP writes is taken away")
@torch.no_grad()
def whole_mlp(tokens, model, transcoder, latent, position, token):
    def without(value, hook):
        value = value.clone()
        value[0, position] = 0
        return value

    clean, changed = _run(tokens, model, transcoder, latent, position, without)
    return (clean - changed)[position, token]


@mutant("7.10", says="`position` is used for one of the two, where the latent")
@torch.no_grad()
def logit_of_the_last(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens, model, transcoder, latent, position)
    return (clean - changed)[-1, token]


@mutant("7.10", says="`position` is used for one of the two, where the latent")
@torch.no_grad()
def subtracted_at_the_last(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens, model, transcoder, latent, position, at=-1)
    return (clean - changed)[position, token]


@mutant("7.10", says="the last position is used for everything, not `position`")
@torch.no_grad()
def all_at_the_last(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens, model, transcoder, latent, len(tokens) - 1)
    return (clean - changed)[-1, token]


@mutant("7.10", says="the latent's activation is that of the last position")
@torch.no_grad()
def activation_of_the_last(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    act = transcoder.encode(cache[MLP_IN][0])[-1, latent]
    clean, changed = _run(tokens, model, transcoder, latent, position, act=act)
    return (clean - changed)[position, token]


@mutant("7.10", says="the direction is taken away, however strongly the latent")
@torch.no_grad()
def direction_alone_again(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens, model, transcoder, latent, position, act=1.0)
    return (clean - changed)[position, token]


@mutant("7.10", says="the latent's pre-activation is used, which is the same")
@torch.no_grad()
def pre_activation(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    act = cache[MLP_IN][0, position] @ transcoder.W_enc[:, latent] + transcoder.b_enc[latent]
    clean, changed = _run(tokens, model, transcoder, latent, position, act=act)
    return (clean - changed)[position, token]


@mutant("7.10", says="the latent is *added* once more")
@torch.no_grad()
def added(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    act = transcoder.encode(cache[MLP_IN][0])[position, latent]
    clean, changed = _run(tokens, model, transcoder, latent, position, act=-act)
    return (clean - changed)[position, token]


@mutant("7.10", says="the latents are those of what the MLP *writes*; they are")
@torch.no_grad()
def encodes_the_output(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    act = transcoder.encode(cache[MLP_OUT][0])[position, latent]
    clean, changed = _run(tokens, model, transcoder, latent, position, act=act)
    return (clean - changed)[position, token]


@mutant("7.10", says="the latent's *encoder* column is taken away, not its")
@torch.no_grad()
def encoder_column_again(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    act = transcoder.encode(cache[MLP_IN][0])[position, latent]

    def without(value, hook):
        value = value.clone()
        value[0, position] -= act * transcoder.W_enc[:, latent]
        return value

    clean, changed = _run(tokens, model, transcoder, latent, position, without)
    return (clean - changed)[position, token]


@mutant("7.10", says="the direction is brought to unit length")
@torch.no_grad()
def unit_row(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    act = transcoder.encode(cache[MLP_IN][0])[position, latent]
    clean, changed = _run(
        tokens, model, transcoder, latent, position, act=act / transcoder.W_dec[latent].norm()
    )
    return (clean - changed)[position, token]


@mutant("7.10", says="the edge itself is returned, with the last LayerNorm's")
@torch.no_grad()
def predicted(tokens, model, transcoder, latent, position, token):
    from part_utils.circuits import edges_to_logit, freeze_prompt

    return edges_to_logit(freeze_prompt(tokens, model), transcoder, position, token).latents[latent]


@mutant("7.10", says="After your function has ended a hook is still on the")
@torch.no_grad()
def hook_stays(tokens, model, transcoder, latent, position, token):
    clean, cache = model.run_with_cache(tokens[None])
    act = transcoder.encode(cache[MLP_IN][0])[position, latent]

    def without(value, hook):
        value = value.clone()
        value[0, position] -= act * transcoder.W_dec[latent]
        return value

    model.add_hook(MLP_OUT, without)
    return (clean - model(tokens[None]))[0, position, token]


@mutant("7.10", says="Your function changes `transcoder.W_dec` itself (in")
@torch.no_grad()
def row_stays_cleared(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens, model, transcoder, latent, position)
    transcoder.W_dec.data[latent] = 0
    return (clean - changed)[position, token]


@mutant("7.10", says="all *other* latents are taken away")
@torch.no_grad()
def others_taken_away(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    acts = transcoder.encode(cache[MLP_IN][0])[position].clone()
    acts[latent] = 0

    def without(value, hook):
        value = value.clone()
        value[0, position] -= acts @ transcoder.W_dec
        return value

    clean, changed = _run(tokens, model, transcoder, latent, position, without)
    return (clean - changed)[position, token]


@mutant("7.10", says="the latent is taken away twice")
@torch.no_grad()
def twice(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    act = transcoder.encode(cache[MLP_IN][0])[position, latent]
    clean, changed = _run(tokens, model, transcoder, latent, position, act=2 * act)
    return (clean - changed)[position, token]


@mutant("7.10", says="the latent is taken away from what the MLP *reads*; it is")
@torch.no_grad()
def from_the_input(tokens, model, transcoder, latent, position, token):
    clean, cache = model.run_with_cache(tokens[None])
    act = transcoder.encode(cache[MLP_IN][0])[position, latent]

    def without(value, hook):
        value = value.clone()
        value[0, position] -= act * transcoder.W_dec[latent]
        return value

    changed = model.run_with_hooks(tokens[None], fwd_hooks=[(MLP_IN, without)])
    return (clean - changed)[0, position, token]


@mutant("7.10", says="the fall of all logits is returned, not that of `token`")
@torch.no_grad()
def all_logits(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens, model, transcoder, latent, position)
    return (clean - changed)[position]


@mutant("7.10", says="the latent is taken away at position 0")
@torch.no_grad()
def first_position(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens, model, transcoder, latent, position, at=0)
    return (clean - changed)[position, token]


@mutant("7.10", says="the mean change of all logits is subtracted")
@torch.no_grad()
def centered(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens, model, transcoder, latent, position)
    fall = (clean - changed)[position]
    return fall[token] - fall.mean()


@mutant("7.10", says="nothing is ablated: does the hook return its result?")
@torch.no_grad()
def nothing_returned(tokens, model, transcoder, latent, position, token):
    def without(value, hook):
        value = value.clone()
        value[0, position] = 0

    clean, changed = _run(tokens, model, transcoder, latent, position, without)
    return (clean - changed)[position, token]


@variant("7.10")
@torch.no_grad()
def behind_the_block(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    acts = transcoder.encode(cache[MLP_IN])[0, position]

    def without(value, hook):
        step = torch.zeros_like(value)
        step[:, position] = acts[latent] * transcoder.W_dec[latent]
        return value - step

    rows = [model.run_with_hooks(tokens.unsqueeze(0), fwd_hooks=[("blocks.0.hook_out", hook)])
            for hook in (lambda value, hook: value, without)]  # fmt: skip
    return rows[0][0, position, token] - rows[1][0, position, token]


@variant("7.10")
@torch.no_grad()
def in_place_in_a_context(tokens, model, transcoder, latent, position, token):
    clean, cache = model.run_with_cache(tokens[None])
    out = transcoder(cache[MLP_IN][0], cache[MLP_OUT][0])
    fewer = out.acts.clone()
    fewer[position, latent] = 0
    step = (out.acts - fewer) @ transcoder.W_dec

    def without(value, hook):
        value -= step
        return value

    with model.hooks(fwd_hooks=[(MLP_OUT, without)]):
        changed = model(tokens[None])
    return clean[0, position, token] - changed[0, position, token]


@variant("7.10")
@torch.no_grad()
def two_rows_at_once(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    act = transcoder.encode(cache[MLP_IN][0])[position, latent]

    def without(value, hook):
        value = value.clone()
        value[1, position] -= act * transcoder.W_dec[latent]
        return value

    logits = model.run_with_hooks(tokens.expand(2, -1), fwd_hooks=[(MLP_OUT, without)])
    return logits[0, position, token] - logits[1, position, token]


equivalent(
    "7.10",
    "there is one prompt.",
    "cache['blocks.0.mlp.hook_in'][0]: 0 -> -1",
    "(0, position, token): 0 -> -1",
    "(0, position): 0 -> -1",
)


equivalent(
    "7.10", "what the hook returns is what goes on, changed in place or not.", "value.clone() -> value"
)


@mutant("7.10", says="its largest in the prompt")
@torch.no_grad()
def largest_activation(tokens, model, transcoder, latent, position, token):
    _, cache = model.run_with_cache(tokens[None])
    act = transcoder.encode(cache[MLP_IN][0])[:, latent].max()
    clean, changed = _run(tokens, model, transcoder, latent, position, act=act)
    return (clean - changed)[position, token]


@mutant("7.10", says="the token at `position` belongs to what the model reads")
@torch.no_grad()
def prompt_cut_before_the_token(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens[:position], model, transcoder, latent, position - 1)
    return (clean - changed)[position - 1, token]


@variant("7.10")
@torch.no_grad()
def prompt_up_to_the_position(tokens, model, transcoder, latent, position, token):
    clean, changed = _run(tokens[: position + 1], model, transcoder, latent, position)
    return (clean - changed)[-1, token]
