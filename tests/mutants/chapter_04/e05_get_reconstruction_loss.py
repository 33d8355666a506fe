"""Answers to exercise 4.5: `get_reconstruction_loss`."""

import numpy as np
import torch
from torch.nn import functional as F

from part_utils.activations import (
    flatten_activations,
    get_activations,
)
from part_utils.evaluation import (
    ReconstructionLoss,
    get_reconstruction_loss,
    inputs_for_all_instances,
)
from tests.mutants import equivalent, mutant, variant
from tests.mutants.chapter_04.shared import HOOK_PRE, cached


def _rebuilt(tokens, model, autoencoder):
    h = inputs_for_all_instances(get_activations(tokens, model), autoencoder)
    with torch.no_grad():
        return h, autoencoder(h).h_reconstructed


def _with(tokens, model, autoencoder, **changed):
    right = get_reconstruction_loss(tokens, model, autoencoder)
    return right._replace(**changed)


@mutant("4.5", says="*summed* over the neurons")
def summed_over_neurons(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, loss=(h - rebuilt).pow(2).sum(-1).mean(0))


@mutant("4.5", says="*summed* over everything")
def summed_over_everything(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, loss=(h - rebuilt).pow(2).sum((0, 2)))


@mutant("4.5", says="instances are averaged")
def loss_over_instances(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, loss=F.mse_loss(rebuilt, h))


@mutant("4.5", says="instance 0's reconstruction is used")
def instances_mixed(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, loss=(h - rebuilt[:, :1]).pow(2).mean((0, 2)))


@mutant("4.5", says="`b_dec` is not added")
def b_dec_not_added(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    loss = (h - rebuilt + autoencoder.b_dec.detach()).pow(2).mean((0, 2))
    return _with(tokens, model, autoencoder, loss=loss)


@mutant("4.5", says="`b_dec` is lost")
def b_dec_lost(tokens, model, autoencoder):
    h = inputs_for_all_instances(get_activations(tokens, model), autoencoder)
    acts = (torch.einsum("tid,idl->til", h, autoencoder.W_enc) + autoencoder.b_enc).relu()
    rebuilt = torch.einsum("til,ild->tid", acts, autoencoder.normalize_and_return_W_dec()).detach()
    return _with(tokens, model, autoencoder, loss=(h - rebuilt).pow(2).mean((0, 2)))


@mutant("4.5", says="as they are stored")
def stored_decoder(tokens, model, autoencoder):
    h = inputs_for_all_instances(get_activations(tokens, model), autoencoder)
    rebuilt = torch.einsum("til,ild->tid", autoencoder(h).acts, autoencoder.W_dec) + autoencoder.b_dec
    return _with(tokens, model, autoencoder, loss=(h - rebuilt).pow(2).mean((0, 2)))


@mutant("4.5", says="square root")
def root_at_the_end(tokens, model, autoencoder):
    right = get_reconstruction_loss(tokens, model, autoencoder)
    return right._replace(loss=right.loss.sqrt())


@mutant("4.5", says="(the L2 norm) is averaged")
def l2_norm(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, loss=(h - rebuilt).norm(dim=-1).mean(0))


@mutant("4.5", says="mean activation is subtracted first")
def variance_for_square(tokens, model, autoencoder):
    h, _ = _rebuilt(tokens, model, autoencoder)
    return _with(
        tokens, model, autoencoder, mean_squared_activation=(h[:, 0] - h[:, 0].mean(0)).pow(2).mean()
    )


@mutant("4.5", says="summed over the neurons")
def square_summed(tokens, model, autoencoder):
    h, _ = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, mean_squared_activation=h[:, 0].pow(2).sum(-1).mean())


@mutant("4.5", says="that of the *reconstructions*")
def square_of_reconstructions(tokens, model, autoencoder):
    _, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, mean_squared_activation=rebuilt.pow(2).mean())


@mutant("4.5", says="one number for each instance")
def square_for_each_instance(tokens, model, autoencoder):
    h, _ = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, mean_squared_activation=h.pow(2).mean((0, 2)))


@mutant("4.5", says="along the *tokens*")
def cosine_along_tokens(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(
        tokens, model, autoencoder, cosine_similarity=F.cosine_similarity(h, rebuilt, dim=0).mean(-1)
    )


@mutant("4.5", says="mean over the tokens is missing")
def cosine_of_each_token(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, cosine_similarity=F.cosine_similarity(h, rebuilt, dim=-1))


@mutant("4.5", says="not divided by the lengths")
def dot_products(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, cosine_similarity=(h * rebuilt).sum(-1).mean(0))


@mutant("4.5", says="returns one tensor")
def loss_alone(tokens, model, autoencoder):
    return get_reconstruction_loss(tokens, model, autoencoder).loss


@mutant("4.5", says="*before* the activation function")
def loss_before_the_gelu(tokens, model, autoencoder):
    h = inputs_for_all_instances(cached(tokens, model, HOOK_PRE).detach(), autoencoder)
    rebuilt = autoencoder(h).h_reconstructed.detach()
    return (
        (h - rebuilt).pow(2).mean((0, 2)),
        h.pow(2).mean(),
        F.cosine_similarity(h, rebuilt, dim=-1).mean(0),
    )


@variant("4.5")
def plain_tuple(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return (
        F.mse_loss(rebuilt, h, reduction="none").mean(-1).mean(0),
        h.pow(2).mean().item(),
        F.cosine_similarity(h, rebuilt, dim=2).mean(0),
    )


@variant("4.5")
def from_the_l2_loss(tokens, model, autoencoder):
    h = flatten_activations(get_activations(tokens, model))[:, None].repeat(1, autoencoder.cfg.n_instances, 1)
    output = autoencoder(h)
    unit = [x / x.norm(dim=-1, keepdim=True) for x in (h, output.h_reconstructed)]
    return output.l2_loss.mean(0), torch.mean(h**2), (unit[0] * unit[1]).sum(-1).mean(0)


@variant("4.5")
def instance_by_instance(tokens, model, autoencoder):
    h, rebuilt = (x.double() for x in _rebuilt(tokens, model, autoencoder))
    losses = torch.stack([F.mse_loss(rebuilt[:, i], h[:, i]) for i in range(h.shape[1])])
    cosines = torch.stack([F.cosine_similarity(rebuilt[:, i], h[:, i]).mean() for i in range(h.shape[1])])
    return [losses, h[:, 0].square().mean(), cosines]


@variant("4.5")
def losses_with_numpy(tokens, model, autoencoder):
    h, rebuilt = (x.numpy() for x in _rebuilt(tokens, model, autoencoder))
    lengths = np.linalg.norm(h, axis=-1) * np.linalg.norm(rebuilt, axis=-1)
    return (
        torch.from_numpy(((h - rebuilt) ** 2).mean(axis=(0, 2))),
        torch.tensor((h**2).mean()),
        torch.from_numpy(((h * rebuilt).sum(-1) / lengths).mean(0)),
    )


@mutant("4.5", says="an axis of size 1 is lost")
def squeezed(tokens, model, autoencoder):
    loss, square, cosine = get_reconstruction_loss(tokens, model, autoencoder)
    return loss.squeeze(), square, cosine.squeeze()


@mutant("4.5", says="instances and neurons of a token")
def cosine_over_flattened_instances(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    cosine = F.cosine_similarity(h.flatten(1), rebuilt.flatten(1), dim=-1).mean()
    return _with(tokens, model, autoencoder, cosine_similarity=cosine.expand(h.shape[1]))


@mutant("4.5", says="all have the same loss")
def loss_averaged_and_spread(tokens, model, autoencoder):
    loss = get_reconstruction_loss(tokens, model, autoencoder).loss
    return _with(tokens, model, autoencoder, loss=loss.mean().expand_as(loss))


@mutant("4.5", says="difference of the mean squares")
def difference_of_squares(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, loss=(h.pow(2) - rebuilt.pow(2)).mean((0, 2)))


@mutant("4.5", says="added, not subtracted")
def wrong_sign(tokens, model, autoencoder):
    h, rebuilt = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, loss=(h + rebuilt).pow(2).mean((0, 2)))


def _both(tokens, model, autoencoder):
    h = inputs_for_all_instances(get_activations(tokens, model), autoencoder)
    return h, autoencoder(h).h_reconstructed


def _three(h, rebuilt, **changed):
    right = {
        "loss": (h - rebuilt).pow(2).mean((0, 2)),
        "mean_squared_activation": h.pow(2).mean(),
        "cosine_similarity": F.cosine_similarity(h, rebuilt, dim=-1).mean(0),
    }
    return ReconstructionLoss(**right | changed)


@mutant("4.5", says="only the first ten texts are used")
def ten_texts_only(tokens, model, autoencoder):
    return _three(*_both(tokens[:10], model, autoencoder))


@mutant("4.5", says="the error is halved")
def half_of_the_squared_error(tokens, model, autoencoder):
    h, rebuilt = _both(tokens, model, autoencoder)
    return _three(h, rebuilt, loss=(h - rebuilt).pow(2).mean((0, 2)) / 2)


@mutant("4.5", says="the mean activation is subtracted first: that is the variance")
def variance_for_the_mean_square(tokens, model, autoencoder):
    h, rebuilt = _both(tokens, model, autoencoder)
    return _three(h, rebuilt, mean_squared_activation=(h - h.mean(0)).pow(2).mean())


@mutant("4.5", says="'s reconstruction is used for every instance")
def cosine_of_instance_0_for_all(tokens, model, autoencoder):
    h, rebuilt = _both(tokens, model, autoencoder)
    cosine = F.cosine_similarity(h, rebuilt, dim=-1).mean(0)
    return _three(h, rebuilt, cosine_similarity=cosine[:1].expand_as(cosine))


@mutant("4.5", says="the mean activation is subtracted first")
def cosine_of_centered_vectors(tokens, model, autoencoder):
    h, rebuilt = _both(tokens, model, autoencoder)
    cosine = F.cosine_similarity(h - h.mean(0), rebuilt - rebuilt.mean(0), dim=-1).mean(0)
    return _three(h, rebuilt, cosine_similarity=cosine)


@mutant("4.5", says="the median over the tokens is taken for the mean")
def median_cosine(tokens, model, autoencoder):
    h, rebuilt = _both(tokens, model, autoencoder)
    return _three(h, rebuilt, cosine_similarity=F.cosine_similarity(h, rebuilt, dim=-1).median(0).values)


@mutant("4.5", says="the cosine is taken along the *tokens*, for every neuron")
def cosine_over_the_tokens(tokens, model, autoencoder):
    h, rebuilt = _both(tokens, model, autoencoder)
    return _three(h, rebuilt, cosine_similarity=F.cosine_similarity(h, rebuilt, dim=0).mean(-1))


@mutant("4.5", says="the mean absolute activation is taken")
def mean_absolute_activation(tokens, model, autoencoder):
    h, rebuilt = _both(tokens, model, autoencoder)
    return _three(h, rebuilt, mean_squared_activation=h.abs().mean())


@mutant("4.5", says="the mean square is that of the *reconstructions*")
def mean_squared_reconstruction(tokens, model, autoencoder):
    h, rebuilt = _both(tokens, model, autoencoder)
    return _three(h, rebuilt, mean_squared_activation=rebuilt.pow(2).mean())


@mutant("4.5", says="the error is divided by the mean squared activation")
def shares_of_the_mean_square(tokens, model, autoencoder):
    h, rebuilt = _both(tokens, model, autoencoder)
    return _three(h, rebuilt, loss=(h - rebuilt).pow(2).mean((0, 2)) / h.pow(2).mean())


@mutant("4.5", says="the first position of every text is left out")
def without_the_first_position(tokens, model, autoencoder):
    h, rebuilt = _both(tokens, model, autoencoder)
    later = torch.arange(tokens.numel()) % tokens.shape[1] > 0
    return _three(h[later], rebuilt[later])


@mutant("4.5", says="one minus the cosine (a distance) is returned")
def cosine_distance(tokens, model, autoencoder):
    h, rebuilt = _both(tokens, model, autoencoder)
    return _three(h, rebuilt, cosine_similarity=1 - F.cosine_similarity(h, rebuilt, dim=-1).mean(0))


@variant("4.5")
def norms_by_hand(tokens, model, autoencoder):
    h, rebuilt = _both(tokens, model, autoencoder)
    dot = (h * rebuilt).sum(-1)
    lengths = h.norm(dim=-1) * rebuilt.norm(dim=-1)
    return _three(h, rebuilt, cosine_similarity=(dot / lengths.clamp_min(1e-8)).mean(0))


equivalent(
    "4.5",
    "A square and a cosine are the same either way round.",
    "h - h_reconstructed -> h_reconstructed - h",
    "F.cosine_similarity(h <-> h_reconstructed)",
)


@mutant("4.5", says="the variance is taken")
def variance_over_instances_too(tokens, model, autoencoder):
    h, _ = _rebuilt(tokens, model, autoencoder)
    return _with(tokens, model, autoencoder, mean_squared_activation=h.var())


@mutant("4.5", says="fire above *thresholds* of their own")
@torch.no_grad()
def encoded_by_hand(tokens, model, autoencoder):
    h = inputs_for_all_instances(get_activations(tokens, model), autoencoder)
    before = torch.einsum("tid,idl->til", h - autoencoder.b_dec, autoencoder.W_enc) + autoencoder.b_enc
    rebuilt = autoencoder.decode(before.relu())
    return (
        (h - rebuilt).pow(2).mean((0, 2)),
        h.pow(2).mean(),
        torch.cosine_similarity(h, rebuilt, dim=-1).mean(0),
    )
