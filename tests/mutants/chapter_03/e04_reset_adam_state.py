"""Answers to exercise 3.4: `reset_adam_state`."""

import torch

from tests.mutants import mutant, variant


def _masks(autoencoder, resampled):
    masks = {"W_enc": resampled[:, None, :], "b_enc": resampled}
    if not autoencoder.cfg.tied_weights:
        masks["W_dec"] = resampled[:, :, None]
    return masks


def _reset(optimizer, autoencoder, masks, moments=("exp_avg", "exp_avg_sq"), value=0.0):
    """Right with the right masks and moments."""
    for name, mask in masks.items():
        state = optimizer.state.get(getattr(autoencoder, name), {})
        for moment in moments:
            if moment in state:
                state[moment].masked_fill_(mask, value)


@mutant("3.4", says="thrown away as a whole")
def state_thrown_away(optimizer, autoencoder, resampled):
    if resampled.any():
        optimizer.state.clear()


@mutant("3.4", says="whole state was cleared")
def everything_zeroed(optimizer, autoencoder, resampled):
    for state in optimizer.state.values():
        state["exp_avg"].zero_()
        state["exp_avg_sq"].zero_()


@mutant("3.4", says="whole state of `W_enc` was cleared")
def whole_parameters_zeroed(optimizer, autoencoder, resampled):
    everything = {name: mask | True for name, mask in _masks(autoencoder, resampled).items()}
    if resampled.any():
        _reset(optimizer, autoencoder, everything)


@mutant("3.4", says="The second moment")
def second_moment_kept(optimizer, autoencoder, resampled):
    _reset(optimizer, autoencoder, _masks(autoencoder, resampled), moments=("exp_avg",))


@mutant("3.4", says="The first moment")
def first_moment_kept(optimizer, autoencoder, resampled):
    _reset(optimizer, autoencoder, _masks(autoencoder, resampled), moments=("exp_avg_sq",))


@mutant("3.4", says="state of `b_enc` was kept")
def bias_state_kept(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    del masks["b_enc"]
    _reset(optimizer, autoencoder, masks)


@mutant("3.4", says="state of `W_dec` was kept")
def decoder_state_kept(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    masks.pop("W_dec", None)
    _reset(optimizer, autoencoder, masks)


@mutant("3.4", says="state of `W_enc` was kept")
def encoder_state_kept(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    if not autoencoder.cfg.tied_weights:
        del masks["W_enc"]
    _reset(optimizer, autoencoder, masks)


@mutant("3.4", says="state of `b_dec` was changed")
def b_dec_cleared(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    if resampled.any():
        masks["b_dec"] = torch.ones_like(autoencoder.b_dec, dtype=torch.bool)
    _reset(optimizer, autoencoder, masks)


@mutant("3.4", says="the *rows* were reset")
def rows_of_the_encoder(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    if autoencoder.W_enc.shape[1] == autoencoder.W_enc.shape[2]:
        masks["W_enc"] = resampled[:, :, None]
    _reset(optimizer, autoencoder, masks)


@mutant("3.4", says="upside down")
def living_reset_where(optimizer, autoencoder, resampled):
    if resampled.any():
        _reset(optimizer, autoencoder, _masks(autoencoder, ~resampled))


@mutant("3.4", says="reset in every instance")
def instances_mixed(optimizer, autoencoder, resampled):
    _reset(optimizer, autoencoder, _masks(autoencoder, resampled.any(0).expand_as(resampled)))


@mutant("3.4", says="`step` of")
def step_reset_where(optimizer, autoencoder, resampled):
    _reset(optimizer, autoencoder, _masks(autoencoder, resampled))
    for state in optimizer.state.values():
        state["step"] = torch.tensor(0.0)


@mutant("3.4", says="Was it changed in a copy")
def changes_a_copy(optimizer, autoencoder, resampled):
    for name, mask in _masks(autoencoder, resampled).items():
        state = optimizer.state.get(getattr(autoencoder, name), {})
        for moment in ("exp_avg", "exp_avg_sq"):
            if moment in state:
                state[moment][mask.expand_as(state[moment])].zero_()


@mutant("3.4", says="Before the optimizer's first step")
def needs_a_state(optimizer, autoencoder, resampled):
    for name, mask in _masks(autoencoder, resampled).items():
        for moment in ("exp_avg", "exp_avg_sq"):
            optimizer.state[getattr(autoencoder, name)][moment].masked_fill_(mask, 0.0)


@mutant("3.4", says="With tied weights there is no `W_dec`")
def needs_a_decoder(optimizer, autoencoder, resampled):
    _reset(optimizer, autoencoder, {"W_dec": resampled[:, :, None], **_masks(autoencoder, resampled)})


@mutant("3.4", says="`W_enc` itself was changed")
def weights_reset_where(optimizer, autoencoder, resampled):
    autoencoder.W_enc.data.masked_fill_(resampled[:, None], 0.0)


@mutant("3.4", says="was set to 1")
def set_to_one(optimizer, autoencoder, resampled):
    _reset(optimizer, autoencoder, _masks(autoencoder, resampled), value=1.0)


@mutant("3.4", says="the *columns* were reset")
def columns_of_the_decoder(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    if autoencoder.W_enc.shape[1] == autoencoder.W_enc.shape[2]:
        masks["W_dec"] = resampled[:, None, :]
    _reset(optimizer, autoencoder, masks)


@mutant("3.4", says="is not 0 everywhere")
def first_input_only(optimizer, autoencoder, resampled):
    masks = _masks(autoencoder, resampled)
    first = torch.arange(autoencoder.cfg.n_input_ae) == 0
    masks["W_enc"] = masks["W_enc"] & first[:, None]
    _reset(optimizer, autoencoder, masks)


@variant("3.4")
def new_tensors(optimizer, autoencoder, resampled):
    keep = ~resampled
    shapes = {"W_enc": keep.unsqueeze(1), "b_enc": keep, "W_dec": keep.unsqueeze(-1)}
    for name, parameter in autoencoder.named_parameters():
        if name in shapes and optimizer.state[parameter]:
            for moment in ("exp_avg", "exp_avg_sq"):
                optimizer.state[parameter][moment] = optimizer.state[parameter][moment] * shapes[name]
    return optimizer


@variant("3.4")
def latent_by_latent_reset_where(optimizer, autoencoder, resampled):
    parameters = list(autoencoder.parameters())
    for instance, latent in zip(*torch.where(resampled), strict=True):
        for parameter in parameters:
            for moment, tensor in optimizer.state[parameter].items():
                if moment.startswith("exp_avg"):
                    if parameter is autoencoder.W_enc:
                        tensor[instance, :, latent] = 0
                    elif parameter is autoencoder.b_enc or parameter is getattr(autoencoder, "W_dec", None):
                        tensor[instance, latent] = 0


@variant("3.4")
def transposed_view(optimizer, autoencoder, resampled):
    for name in ("W_enc", "W_dec", "b_enc"):
        state = optimizer.state.get(getattr(autoencoder, name, None))
        if state:
            for moment in ("exp_avg", "exp_avg_sq"):
                tensor = state[moment].transpose(1, 2) if name == "W_enc" else state[moment]
                tensor[resampled] = 0.0


@variant("3.4")
def through_the_state_dict(optimizer, autoencoder, resampled):
    saved = optimizer.state_dict()
    names = [name for name, _ in autoencoder.named_parameters()]
    masks = _masks(autoencoder, resampled)
    for number, state in saved["state"].items():
        if names[number] in masks:
            for moment in ("exp_avg", "exp_avg_sq"):
                state[moment] = torch.where(masks[names[number]], 0.0, state[moment])
    optimizer.load_state_dict(saved)


@variant("3.4")
def multiplied_by_the_mask(optimizer, autoencoder, resampled):
    keep = torch.logical_not(resampled).double()
    for parameter, factor in {
        autoencoder.W_enc: keep[:, None],
        autoencoder.b_enc: keep,
        getattr(autoencoder, "W_dec", None): keep[..., None],
    }.items():
        if parameter is not None and len(optimizer.state[parameter]) > 0:
            optimizer.state[parameter]["exp_avg"] *= factor
            optimizer.state[parameter]["exp_avg_sq"].mul_(factor)
    return None


@mutant("3.4", says="your code made one")
def makes_the_state_before_the_first_step(optimizer, autoencoder, resampled):
    for parameter, mask in (
        (getattr(autoencoder, name), mask)
        for name, mask in (("W_enc", resampled[:, None]), ("b_enc", resampled))
    ):
        state = optimizer.state[parameter]
        for moment in ("exp_avg", "exp_avg_sq"):
            state[moment] = state.get(moment, torch.zeros_like(parameter)).masked_fill(mask, 0.0)
    if not autoencoder.cfg.tied_weights and optimizer.state[autoencoder.W_dec]:
        for moment in ("exp_avg", "exp_avg_sq"):
            optimizer.state[autoencoder.W_dec][moment][resampled] = 0.0


@mutant("3.4", says="")
def returns_at_an_instance_without_resampled(optimizer, autoencoder, resampled):
    for i, mask in enumerate(resampled):
        if not mask.any():
            return
        for moment in ("exp_avg", "exp_avg_sq"):
            if optimizer.state[autoencoder.W_enc]:
                optimizer.state[autoencoder.W_enc][moment][i][:, mask] = 0.0
                optimizer.state[autoencoder.b_enc][moment][i][mask] = 0.0
                if not autoencoder.cfg.tied_weights:
                    optimizer.state[autoencoder.W_dec][moment][i][mask] = 0.0


def _reset_where(optimizer, a, resampled, moments=("exp_avg", "exp_avg_sq")):
    """Right with the right latents."""
    masks = {a.W_enc: resampled[:, None, :].expand(a.W_enc.shape), a.b_enc: resampled}
    if not a.cfg.tied_weights:
        masks[a.W_dec] = resampled[:, :, None].expand(a.W_dec.shape)
    for parameter, mask in masks.items():
        state = optimizer.state.get(parameter, {})
        for moment in moments:
            if moment in state:
                state[moment][mask] = 0


@mutant("3.4", says="`exp_avg` of `W_enc`")
@torch.no_grad()
def resampled_in_any_instance(optimizer, autoencoder, resampled):
    _reset_where(optimizer, autoencoder, resampled.any(dim=0, keepdim=True).expand(resampled.shape))


@mutant("3.4", says="`exp_avg` of `W_enc`")
@torch.no_grad()
def mask_of_the_first_instance(optimizer, autoencoder, resampled):
    _reset_where(optimizer, autoencoder, resampled[:1].expand(resampled.shape))


@mutant("3.4", says="`exp_avg` of `W_enc`")
@torch.no_grad()
def the_others_are_cleared(optimizer, autoencoder, resampled):
    _reset_where(optimizer, autoencoder, ~resampled)


@mutant("3.4", says="The state of `W_dec` was kept")
@torch.no_grad()
def decoder_forgotten(optimizer, autoencoder, resampled):
    for parameter, mask in (
        (autoencoder.W_enc, resampled[:, None].expand(autoencoder.W_enc.shape)),
        (autoencoder.b_enc, resampled),
    ):
        for moment in ("exp_avg", "exp_avg_sq"):
            if parameter in optimizer.state:
                optimizer.state[parameter][moment][mask] = 0


@mutant("3.4", says="`exp_avg` of `W_enc` is not 0 everywhere for the resampled latents")
@torch.no_grad()
def a_tenth_is_kept(optimizer, autoencoder, resampled):
    keep = torch.where(resampled, 0.1, 1.0)
    masks = {autoencoder.W_enc: keep[:, None], autoencoder.b_enc: keep}
    if not autoencoder.cfg.tied_weights:
        masks[autoencoder.W_dec] = keep[..., None]
    for parameter, mask in masks.items():
        for moment in ("exp_avg", "exp_avg_sq"):
            if parameter in optimizer.state:
                optimizer.state[parameter][moment] *= mask


@mutant("3.4", says="`exp_avg` of `W_enc`")
@torch.no_grad()
def instance_with_a_resampled_latent(optimizer, autoencoder, resampled):
    _reset_where(optimizer, autoencoder, resampled.any(dim=1, keepdim=True).expand(resampled.shape))


@mutant("3.4", says="`W_enc` itself was changed")
@torch.no_grad()
def weights_set_to_zero(optimizer, autoencoder, resampled):
    _reset_where(optimizer, autoencoder, resampled)
    autoencoder.b_enc[resampled] = 0
    autoencoder.W_enc.mT[resampled] = 0


@mutant("3.4", says="`.grad` holds the gradient of one step, and there may be none")
@torch.no_grad()
def gradients_set_to_zero(optimizer, autoencoder, resampled):
    autoencoder.b_enc.grad[resampled] = 0
    autoencoder.W_enc.grad.mT[resampled] = 0


@mutant("3.4", says="`exp_avg` of `W_enc` was changed for latents that were not resampled")
@torch.no_grad()
def one_more_latent(optimizer, autoencoder, resampled):
    _reset_where(optimizer, autoencoder, resampled | resampled.roll(1, dims=1))


@variant("3.4")
@torch.no_grad()
def multiplied_with_a_mask(optimizer, autoencoder, resampled):
    alive = (~resampled).float()
    for name, parameter in autoencoder.named_parameters():
        if name == "b_dec" or parameter not in optimizer.state:
            continue
        mask = {"W_enc": alive[:, None, :], "W_dec": alive[:, :, None], "b_enc": alive}[name]
        for moment in ("exp_avg", "exp_avg_sq"):
            optimizer.state[parameter][moment].mul_(mask)


def _reset_named(
    o,
    a,
    res,
    names=("W_enc", "b_enc", "W_dec"),
    ms=("exp_avg", "exp_avg_sq"),
    f=lambda t, m: t.masked_fill_(m, 0),
):
    """Right as it is; a wrong answer resets less, or to something else."""
    for n in names:
        p = getattr(a, n, None)
        if p is None or p not in o.state:
            continue
        m = {"W_enc": res[:, None], "b_enc": res, "W_dec": res[..., None]}[n]
        for k in ms:
            f(o.state[p][k], m.expand(p.shape))


@mutant("3.4", says="`exp_avg` of `W_enc` is not 0 everywhere for the resampled latents")
@torch.no_grad()
def halves(o, a, res):
    _reset_named(o, a, res, f=lambda t, m: t.mul_(torch.where(m, 0.5, 1.0)))


@mutant("3.4", says="`exp_avg_sq` of `W_enc` was set to 1 for the resampled latents, not")
@torch.no_grad()
def sq_to_one(o, a, res):
    _reset_named(o, a, res, ms=("exp_avg",))
    _reset_named(o, a, res, ms=("exp_avg_sq",), f=lambda t, m: t.masked_fill_(m, 1))


@mutant("3.4", says="`exp_avg` of `W_enc` is not 0 everywhere for the resampled latents")
@torch.no_grad()
def nearly_zero(o, a, res):
    _reset_named(o, a, res, f=lambda t, m: t.copy_(torch.where(m, 0.001 * torch.randn(t.shape), t)))


@mutant("3.4", says="The state of `b_enc` was kept")
@torch.no_grad()
def no_bias(o, a, res):
    _reset_named(o, a, res, names=("W_enc", "W_dec"))


@mutant("3.4", says="The first moment, `exp_avg`, was kept")
@torch.no_grad()
def only_sq(o, a, res):
    _reset_named(o, a, res, ms=("exp_avg_sq",))


@variant("3.4")
@torch.no_grad()
def param_groups(o, a, res):
    for g in o.param_groups:
        for p in g["params"]:
            s = o.state.get(p)
            if not s:
                continue
            for k in ("exp_avg", "exp_avg_sq"):
                if p is a.W_enc:
                    s[k].transpose(1, 2)[res] = 0
                elif p is a.b_enc or p is getattr(a, "W_dec", None):
                    s[k][res] = 0


@mutant("3.4", says="holds its parameters in two groups")
@torch.no_grad()
def first_group_only(optimizer, autoencoder, resampled):
    masks = {id(autoencoder.W_enc): resampled[:, None], id(autoencoder.b_enc): resampled}
    if not autoencoder.cfg.tied_weights:
        masks[id(autoencoder.W_dec)] = resampled[..., None]
    for parameter in optimizer.param_groups[0]["params"]:
        for moment in ("exp_avg", "exp_avg_sq"):
            if id(parameter) in masks and moment in optimizer.state[parameter]:
                optimizer.state[parameter][moment].masked_fill_(masks[id(parameter)], 0)


@mutant("3.4", says="a parameter's place in a list is another one")
def by_number(optimizer, autoencoder, resampled):
    masks = (resampled.unsqueeze(1), resampled.unsqueeze(2), resampled)
    for parameter, mask in zip(list(autoencoder.parameters()), masks, strict=False):
        for name in ("exp_avg", "exp_avg_sq"):
            if name in optimizer.state.get(parameter, {}):
                optimizer.state[parameter][name].masked_fill_(mask, 0.0)


@mutant("3.4", says="With tied weights the optimizer's state is as it was")
def not_if_tied(optimizer, autoencoder, resampled):
    if not autoencoder.cfg.tied_weights:
        _reset(optimizer, autoencoder, _masks(autoencoder, resampled))
