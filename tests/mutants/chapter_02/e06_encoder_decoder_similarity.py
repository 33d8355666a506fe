"""Answers to exercise 2.6: `encoder_decoder_similarity`."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tests.mutants import mutant, variant


@mutant("2.6", says="wrong axis")
def along_the_latents(autoencoder):
    return F.cosine_similarity(autoencoder.W_enc, autoencoder.normalize_and_return_W_dec().mT, dim=2)


@mutant("2.6", says="over the latents instead of the input dimensions")
def summed_over_latents(autoencoder):
    W_enc = F.normalize(autoencoder.W_enc, dim=1)
    return torch.einsum("ixl,ilx->ix", W_enc, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="the encoder is not brought to unit length")
def encoder_not_normalized(autoencoder):
    return torch.einsum("ixl,ilx->il", autoencoder.W_enc, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="the decoder is not brought to unit length")
def decoder_not_unit(autoencoder):
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    return torch.einsum("ixl,ilx->il", F.normalize(autoencoder.W_enc, dim=1), W_dec)


@mutant("2.6", says="the encoder's length is taken along the wrong axis")
def encoder_normalized_along_latents(autoencoder):
    W_enc = F.normalize(autoencoder.W_enc, dim=-1)
    return torch.einsum("ixl,ilx->il", W_enc, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="every latent's decoder")
def all_pairs(autoencoder):
    return F.normalize(autoencoder.W_enc, dim=1).mT @ autoencoder.normalize_and_return_W_dec().mT


@mutant("2.6", says="the encoder is reshaped instead of transposed")
def reshaped(autoencoder):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return F.cosine_similarity(autoencoder.W_enc.reshape(W_dec.shape), W_dec, dim=-1)


@mutant("2.6", says="absolute value")
def absolute(autoencoder):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return F.cosine_similarity(autoencoder.W_enc.mT, W_dec, dim=-1).abs()


@mutant("2.6", says="With tied weights there is no `W_dec`")
def needs_a_decoder(autoencoder):
    return F.cosine_similarity(autoencoder.W_enc.mT, autoencoder.W_dec, dim=-1)


@mutant("2.6", says="NaN")
def nan_without_direction(autoencoder):
    W_enc = autoencoder.W_enc / autoencoder.W_enc.norm(dim=1, keepdim=True)
    return torch.einsum("ixl,ilx->il", W_enc, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="encoder of instance 0")
def first_encoder(autoencoder):
    W_enc = F.normalize(autoencoder.W_enc[0], dim=0)
    return torch.einsum("xl,ilx->il", W_enc, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="*rows* of the encoder")
def rows_where_it_fits(autoencoder):
    W_dec = autoencoder.normalize_and_return_W_dec()
    W_enc = autoencoder.W_enc if autoencoder.W_enc.shape == W_dec.shape else autoencoder.W_enc.mT
    return F.cosine_similarity(W_enc, W_dec, dim=-1)


@mutant("2.6", says="The autoencoder itself was changed")
def normalizes_the_encoder_for_good(autoencoder):
    with torch.no_grad():
        autoencoder.W_enc /= autoencoder.W_enc.norm(dim=1, keepdim=True).clamp_min(1e-8)
    return torch.einsum("ixl,ilx->il", autoencoder.W_enc, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="*angle*")
def angle(autoencoder):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return torch.acos(F.cosine_similarity(autoencoder.W_enc.mT, W_dec, dim=-1).clamp(-1, 1))


@variant("2.6")
def cosine_similarity_of_torch(autoencoder):
    return F.cosine_similarity(autoencoder.W_enc.mT, autoencoder.normalize_and_return_W_dec(), dim=-1)


@variant("2.6")
def one_latent_at_a_time(autoencoder):
    W_enc, W_dec = autoencoder.W_enc.double(), autoencoder.normalize_and_return_W_dec().double()
    rows = []
    for i in range(autoencoder.cfg.n_instances):
        for j in range(autoencoder.cfg.n_hidden_ae):
            a, b = W_enc[i, :, j], W_dec[i, j]
            rows.append((a @ b) / (a.norm() * b.norm() + 1e-9))
    return torch.stack(rows).reshape(autoencoder.cfg.n_instances, -1)


@variant("2.6")
def dot_product_over_both_lengths(autoencoder):
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    dots = (autoencoder.W_enc.transpose(1, 2) * W_dec).sum(dim=2)
    return dots / (autoencoder.W_enc.norm(dim=1) * W_dec.norm(dim=2)).clamp(min=1e-6)


@variant("2.6")
def diagonal_of_all_pairs(autoencoder):
    encoders = F.normalize(autoencoder.W_enc, dim=1)
    return (autoencoder.normalize_and_return_W_dec() @ encoders).diagonal(dim1=-2, dim2=-1)


@variant("2.6")
def cosine_module_for_each_instance(autoencoder):
    W_dec = autoencoder.W_enc.mT if autoencoder.cfg.tied_weights else autoencoder.W_dec
    cosine = nn.CosineSimilarity(dim=0)
    found = torch.zeros(autoencoder.b_enc.shape, dtype=torch.float64)
    for i in range(len(found)):
        found[i] = cosine(autoencoder.W_enc[i], W_dec[i].t())
    return found


@mutant("2.6", says="`squeeze`")
def every_short_axis_is_dropped(autoencoder):
    return F.cosine_similarity(
        autoencoder.W_enc.mT, autoencoder.normalize_and_return_W_dec(), dim=-1
    ).squeeze()


@mutant("2.6", says="`squeeze`")
def the_axis_of_one_instance_is_dropped(autoencoder):
    found = F.cosine_similarity(autoencoder.W_enc.mT, autoencoder.normalize_and_return_W_dec(), dim=-1)
    return found[0] if len(found) == 1 else found


@mutant("2.6", says="it is 1 for every latent")
def ones_for_tied(autoencoder):
    W_dec = autoencoder.normalize_and_return_W_dec()
    if autoencoder.cfg.tied_weights:
        return torch.ones(W_dec.shape[:2])
    return F.cosine_similarity(autoencoder.W_enc.mT, W_dec, dim=-1)


@mutant("2.6", says="it is 1 for every latent, which holds only for tied weights")
def ones_always(autoencoder):
    return torch.ones(autoencoder.b_enc.shape)


@mutant("2.6", says="the absolute value is taken")
def absolute_value(autoencoder):
    return F.cosine_similarity(autoencoder.W_enc.mT, autoencoder.normalize_and_return_W_dec(), dim=-1).abs()


@mutant("2.6", says="the mean of every direction is subtracted first")
def centered_first(autoencoder):
    encoder, decoder = autoencoder.W_enc.mT, autoencoder.normalize_and_return_W_dec()
    encoder, decoder = (w - w.mean(dim=-1, keepdim=True) for w in (encoder, decoder))
    return F.cosine_similarity(encoder, decoder, dim=-1)


@mutant("2.6", says="With directions of a length of about 0.01 the similarities are not")
def short_encoders_clamped(autoencoder):
    encoder, decoder = autoencoder.W_enc.mT, autoencoder.normalize_and_return_W_dec()
    return F.cosine_similarity(encoder, decoder, dim=-1, eps=1e-2)


@mutant("2.6", says="A latent whose encoder column or decoder row is zero gets NaN. It has")
def zero_directions_are_nan(autoencoder):
    encoder, decoder = autoencoder.W_enc.mT, autoencoder.normalize_and_return_W_dec()
    return (encoder * decoder).sum(dim=-1) / (encoder.norm(dim=-1) * decoder.norm(dim=-1))


@mutant("2.6", says="the encoder is compared with the decoder row that fits it best, not")
def best_decoder_row(autoencoder):
    encoder = F.normalize(autoencoder.W_enc.mT, dim=-1)
    return (encoder @ autoencoder.normalize_and_return_W_dec().mT).amax(dim=-1)


@mutant("2.6", says="along `n_hidden_ae` each place gets the `W_dec` of the one before it")
def neighbor_latent(autoencoder):
    decoder = autoencoder.normalize_and_return_W_dec().roll(1, dims=1)
    return F.cosine_similarity(autoencoder.W_enc.mT, decoder, dim=-1)


@mutant("2.6", says="the distance of the two unit vectors is returned")
def euclid(a):
    return (F.normalize(a.W_enc, dim=1).mT - a.normalize_and_return_W_dec()).norm(dim=-1)


@mutant("2.6", says="only the first 3 of `n_input_ae` are looked at")
def half_of_inputs(a):
    k = a.cfg.n_input_ae // 2 + 1
    return F.cosine_similarity(a.W_enc.mT[..., :k], a.normalize_and_return_W_dec()[..., :k], dim=-1)


@mutant("2.6", says="it is 1 for a direction without length too")
def zero_is_one(a):
    c = F.cosine_similarity(a.W_enc.mT, a.normalize_and_return_W_dec(), dim=-1)
    return torch.where(c == 0, 1.0, c)


@variant("2.6")
def np_cos(a):
    e = a.W_enc.detach().numpy().transpose(0, 2, 1)
    d = a.normalize_and_return_W_dec().detach().numpy()
    n = np.linalg.norm(e, axis=-1) * np.linalg.norm(d, axis=-1)
    return torch.tensor(np.divide((e * d).sum(-1), n, out=np.zeros_like(n), where=n > 0))


def _similarity(autoencoder):
    reads = F.normalize(autoencoder.W_enc, dim=1)
    return torch.einsum("ixl,ilx->il", reads, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="in degrees")
@torch.no_grad()
def angle_in_degrees(autoencoder):
    return _similarity(autoencoder).clamp(-1, 1).acos().rad2deg()


@mutant("2.6", says="the mean over the input dimensions")
@torch.no_grad()
def mean_over_inputs(autoencoder):
    return _similarity(autoencoder) / autoencoder.cfg.n_input_ae


@mutant("2.6", says="kept from being below 1")
@torch.no_grad()
def length_of_one_at_least(autoencoder):
    reads = autoencoder.W_enc / autoencoder.W_enc.norm(dim=1, keepdim=True).clamp(min=1)
    return torch.einsum("ixl,ilx->il", reads, autoencoder.normalize_and_return_W_dec())


@mutant("2.6", says="`b_dec` is subtracted from the decoder's rows")
@torch.no_grad()
def decoder_without_b_dec(autoencoder):
    writes = autoencoder.normalize_and_return_W_dec() - autoencoder.b_dec[:, None]
    return F.cosine_similarity(autoencoder.W_enc.mT, writes, dim=-1)


@mutant("2.6", says="a latent counts only where `b_enc` is above 0")
@torch.no_grad()
def only_open_latents(autoencoder):
    return _similarity(autoencoder) * (autoencoder.b_enc > 0)


@mutant("2.6", says="the encoder that fits it best")
def best_encoder(autoencoder):
    W_enc = F.normalize(autoencoder.W_enc, dim=1)
    return (autoencoder.normalize_and_return_W_dec() @ W_enc).amax(-1)


@mutant("2.6", says="the encoder is reshaped instead of transposed")
def normalized_then_reshaped(autoencoder):
    W_dec = autoencoder.normalize_and_return_W_dec()
    return (F.normalize(autoencoder.W_enc, dim=1).reshape(W_dec.shape) * W_dec).sum(-1)


@mutant("2.6", says="`b_dec` is subtracted from the encoder's columns")
def encoder_centered(autoencoder):
    W_enc = F.normalize(autoencoder.W_enc - autoencoder.b_dec[..., None], dim=1)
    return torch.einsum("ixl,ilx->il", W_enc, autoencoder.normalize_and_return_W_dec())
