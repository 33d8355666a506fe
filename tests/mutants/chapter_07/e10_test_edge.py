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


@mutant("7.10", says="scale frozen")
@torch.no_grad()
def the_edge_itself(tokens, model, transcoder, latent, position, token):
    from part_utils.circuits import edges_to_logit, freeze_prompt

    return edges_to_logit(freeze_prompt(tokens, model), transcoder, position, token).latents[latent]


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
