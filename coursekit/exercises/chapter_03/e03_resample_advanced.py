"""Exercise 3.3: `resample_advanced`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking.claims import Check, Mistake, agree
from coursekit.checking.phrases import unit_rows
from coursekit.exercises.chapter_02.autoencoders import (
    decoder_of,
    random_weights,
)
from coursekit.exercises.chapter_03.dead_latents import (
    DEAD,
    SMALL,
    TIED,
    WITH_A_GAP,
    after_resampling,
    check_inputs_stay,
    check_none_dead,
    check_touched,
    check_unit_length,
    dead_mask,
    firing_rates,
)
from coursekit.exercises.chapter_03.edge_cases import (
    BATCH,
    check_a_late_input,
    check_inputs_without_direction,
    check_no_loss,
    check_none_alive,
    check_small_losses,
)
from part_utils.autoencoder import AutoEncoderConfig

ONE_INSTANCE = AutoEncoderConfig(n_instances=1, n_input_ae=5, n_hidden_ae=7)


@exercise(
    id="3.3",
    reference="resampling.resample_advanced",
    difficulty=4,
    importance=4,
    minutes=30,
    points=5,
    seconds=60,
)
def resample_advanced(check: Check) -> None:
    scale = 0.35
    errors = {
        "without replacement": "With more dead latents than inputs your code raised an error. Each dead latent draws "
        "on its own, so an input may be drawn more than once (`replacement=True`).",
        "selected index k out of range": "With more dead latents than inputs `topk` finds too few. Inputs are to be "
        "drawn at random, each dead latent on its own, with a probability proportional to the squared loss "
        "(`torch.multinomial`).",
    }
    for cfg, latents in ((SMALL, DEAD), (TIED, DEAD), (SMALL, WITH_A_GAP), (ONE_INSTANCE, ((1, 4),))):
        dead = dead_mask(cfg, latents)
        rates = firing_rates(check, dead)
        weights = random_weights(check, cfg)
        h = check.normal(BATCH, cfg.n_instances, cfg.n_input_ae) + check.normal(
            1, cfg.n_instances, cfg.n_input_ae
        )
        after = after_resampling(check, cfg, weights, rates, h, scale, errors=errors)
        check_touched(check, weights, after, dead, rates)
        _check_rows(check, h, weights, after, dead, scale)
        _check_advanced_encoder(check, weights, after, dead, scale)
    check_none_dead(check, check.normal(BATCH, SMALL.n_instances, SMALL.n_input_ae), scale)
    _check_drawn_by_loss(check, scale, errors)
    check_none_alive(check, scale, errors)
    check_no_loss(check, scale)
    check_small_losses(check, scale)
    check_inputs_without_direction(check, scale)
    check_a_late_input(check, scale)
    check_inputs_stay(check, check.normal(BATCH, SMALL.n_instances, SMALL.n_input_ae), scale)


def _forward(h: Tensor, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """l1_loss, l2_loss and the reconstruction of an autoencoder with these weights."""
    b_dec = weights["b_dec"]
    acts = torch.relu(torch.einsum("bix,ixl->bil", h - b_dec, weights["W_enc"]) + weights["b_enc"])
    rebuilt = torch.einsum("bil,ilx->bix", acts, unit_rows(decoder_of(weights))) + b_dec
    return acts.sum(-1), (h - rebuilt).pow(2).mean(-1), rebuilt


def _nearest(directions: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine with the nearest row, and its number, for directions of one instance."""
    return (unit_rows(directions) @ unit_rows(rows).mT).max(dim=-1)


def _check_rows(
    check: Check,
    h: Tensor,
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    dead: Tensor,
    scale: float,
) -> None:
    """The new directions are rows of h - b_dec of the latent's own instance, at unit length."""
    new = after["W_dec"] if "W_dec" in after else after["W_enc"].mT
    b_dec = before["b_dec"]
    rebuilt = _forward(h, before)[2]

    def found_in(rows: Callable[[int], Tensor]) -> bool:
        return all(
            bool((_nearest(new[i][mask], rows(i))[0] > 0.9999).all())
            for i, mask in enumerate(dead)
            if mask.any()
        )

    if not found_in(lambda i: h[:, i] - b_dec[i]):
        everything = torch.cat([h[:, i] - b_dec[i] for i in range(len(dead))])
        for phrase, rows in {
            "rows of `h`: `b_dec` was not subtracted": lambda i: h[:, i],
            "rows of `h + b_dec`: `b_dec` was added instead of subtracted": lambda i: h[:, i] + b_dec[i],
            "rows of `b_dec - h`: the sign is turned round": lambda i: b_dec[i] - h[:, i],
            "rows of `h` minus the `b_dec` of instance 0; each instance has its own": lambda i: (
                h[:, i] - b_dec[0]
            ),
            "rows of instance 0, whatever the latent's instance": lambda i: h[:, 0] - b_dec[0],
            "rows of instance 0 minus each instance's `b_dec`": lambda i: h[:, 0] - b_dec[i],
            "rows of instance 0, and `b_dec` was not subtracted": lambda i: h[:, 0],
            "rows of other instances": lambda i: everything,
            "rows of the *error* `h - h_reconstructed`, not of the input": lambda i: h[:, i] - rebuilt[:, i],
            "rows of the *reconstruction*, not of the input": lambda i: rebuilt[:, i] - b_dec[i],
            "rows of the reconstruction, and `b_dec` was not subtracted": lambda i: rebuilt[:, i],
            "rows of `h` minus the mean of the batch, not minus `b_dec`": lambda i: h[:, i] - h[:, i].mean(0),
            "a mean of the inputs, not single ones": lambda i: (h[:, i] - b_dec[i]).mean(0, keepdim=True),
        }.items():
            if found_in(rows):
                raise Mistake(f"The new directions are {phrase}.")
        check_unit_length(check, before, after, dead, scale)
        if "W_dec" in after and _encoder_points_at(after, dead, h - b_dec):
            raise Mistake("The encoder columns point at inputs, but the decoder rows do not.")
        raise Mistake(
            "The new directions are no rows of `h - b_dec`. Each dead latent takes one input of its own instance, "
            "minus `b_dec`, at unit length."
        )
    if "W_dec" in after:
        centered = h - b_dec
        as_they_are = torch.cat(
            [centered[:, i][_nearest(new[i][mask], centered[:, i])[1]] for i, mask in enumerate(dead)]
        )
        if agree(after["W_dec"][dead], as_they_are):
            raise Mistake("The new decoder rows are as long as the inputs; they shall have unit length.")
    check_unit_length(check, before, after, dead, scale)
    check.holds(
        True, "the new directions are inputs of the latent's own instance, minus `b_dec`, at unit length", ""
    )


def _encoder_points_at(after: Mapping[str, Tensor], dead: Tensor, rows: Tensor) -> bool:
    """Whether the encoder columns of the dead latents point at rows of their instance."""
    columns = after["W_enc"].mT
    return all(
        bool((_nearest(columns[i][mask], rows[:, i])[0] > 0.9999).all())
        for i, mask in enumerate(dead)
        if mask.any()
    )


def _check_advanced_encoder(
    check: Check, before: Mapping[str, Tensor], after: Mapping[str, Tensor], dead: Tensor, scale: float
) -> None:
    columns, W_enc = after["W_enc"].mT, before["W_enc"]
    if "W_dec" in after:
        cosines = (unit_rows(columns[dead]) * unit_rows(after["W_dec"][dead])).sum(-1)
        if (cosines < -0.999).all():
            raise Mistake("The new encoder columns point the opposite way of the decoder rows.")
        if not (cosines > 0.999).all():
            raise Mistake(
                "A new latent's encoder column does not point where its decoder row points. Both come from the *same* "
                "input: was a second one drawn?",
                [f"cosine similarities: {[round(value, 3) for value in cosines[:5].tolist()]}"],
            )
    lengths = columns[dead].double().norm(dim=-1)
    norms = W_enc.double().norm(dim=1)
    alive = ~dead
    mean_alive = torch.stack([norms[i][mask].mean() for i, mask in enumerate(alive)])

    def spread(per_instance: Tensor) -> Tensor:
        return per_instance.unsqueeze(-1).expand_as(norms)[dead]

    def each(compute: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """A number for each instance, from its encoder and its mask of living latents."""
        return torch.stack([compute(W.double(), mask) for W, mask in zip(W_enc, alive, strict=True)])

    expected = spread(scale * mean_alive)
    details = [
        f"expected lengths {[round(value, 4) for value in expected[:4].tolist()]}, "
        f"got {[round(value, 4) for value in lengths[:4].tolist()]}"
    ]

    def fits(candidate: Tensor) -> bool:
        return torch.allclose(lengths, candidate.expand_as(lengths), rtol=1e-3)

    if fits(expected):
        check.holds(True, "the new encoder columns have the scaled mean length of the living ones", "")
        return
    one = torch.ones((), dtype=torch.float64)
    for sentence, candidate in {
        "`neuron_resample_scale` is missing: they are as long as the mean of the living ones": spread(
            mean_alive
        ),
        "the mean length of the living columns is missing: they have the length `neuron_resample_scale`": scale
        * one,
        "both `neuron_resample_scale` and the mean length of the living columns are missing: they have length 1": one,
        "the scale is 0.2 whatever `neuron_resample_scale` is": spread(0.2 * mean_alive),
        "the mean is taken over all latents, the dead ones included": spread(scale * norms.mean(-1)),
        "the mean is taken over the *dead* latents": spread(
            scale * each(lambda W, mask: W[:, ~mask].norm(dim=0).sum() / (~mask).sum().clamp_min(1))
        ),
        "the mean is taken over the living latents of all instances, not of their own": scale
        * norms[alive].mean(),
        "the mean is taken over all latents of all instances": scale * norms.mean(),
        "the mean length of instance 0 is used for every instance": scale * mean_alive[0],
        "the lengths are taken along the wrong axis (over the latents, not over the input dimensions)": spread(
            scale * each(lambda W, mask: W[:, mask].norm(dim=1).mean())
        ),
        "the lengths are taken along the wrong axis, and over all latents": spread(
            scale * each(lambda W, mask: W.norm(dim=1).mean())
        ),
        "the length of all living columns together is taken instead of their mean": spread(
            scale * each(lambda W, mask: W[:, mask].norm())
        ),
        "the *sum* of the living columns' lengths is taken instead of their mean": spread(
            scale * each(lambda W, mask: W[:, mask].norm(dim=0).sum())
        ),
        "the mean of the *squared* lengths is taken": spread(
            scale * each(lambda W, mask: W[:, mask].square().sum(0).mean())
        ),
        "the length of the *mean column* is taken instead of the mean of the lengths": spread(
            scale * each(lambda W, mask: W[:, mask].mean(1).norm())
        ),
        "the root of the mean squared length is taken instead of the mean length": spread(
            scale * each(lambda W, mask: W[:, mask].square().sum(0).mean().sqrt())
        ),
        "the median of the lengths is taken instead of their mean": spread(
            scale * each(lambda W, mask: W[:, mask].norm(dim=0).median())
        ),
        "the largest length of the living columns is taken instead of their mean": spread(
            scale * each(lambda W, mask: W[:, mask].norm(dim=0).max())
        ),
        "the decoder's lengths are used instead of the encoder's": spread(
            scale
            * torch.stack(
                [
                    D.double().norm(dim=-1)[mask].mean()
                    for D, mask in zip(decoder_of(before), alive, strict=True)
                ]
            )
        ),
        "absolute values are added up for the length (the L1 norm)": spread(
            scale * each(lambda W, mask: W[:, mask].abs().sum(0).mean())
        ),
        "`neuron_resample_scale` is applied twice": spread(scale**2 * mean_alive),
        "the mean length is divided by `neuron_resample_scale`": spread(mean_alive / scale),
        "the scale is divided by the mean length": spread(scale / mean_alive),
    }.items():
        if fits(candidate):
            raise Mistake(f"The new encoder columns have the wrong length: {sentence}.", details)
    instance = torch.arange(len(dead))[:, None].expand_as(dead)[dead]
    within = torch.stack(
        [(lengths[instance == i] - lengths[instance == i].mean()).abs().max() for i in instance.unique()]
    )
    if within.max() > 0.01 and "W_dec" in after:
        raise Mistake(
            "The new encoder columns have different lengths within an instance. Bring the input to unit length before "
            "it is scaled.",
            details,
        )
    raise Mistake("The new encoder columns have the wrong length.", details)


def _check_drawn_by_loss(check: Check, scale: float, errors: Mapping[str, str]) -> None:
    """Inputs are drawn in proportion to the squared loss, by each dead latent of each instance for itself.

    Instances 0 and 2 are equal, and so are 1 and 3. Their losses on the seven inputs are made to measure.
    """
    alive, inputs, dead_count, calls = 3, 3, 301, 4
    cfg = AutoEncoderConfig(n_instances=4, n_input_ae=inputs, n_hidden_ae=alive + dead_count)
    weights, h = _measured_losses(check, cfg, alive)
    l1, l2, _ = _forward(h, weights)
    dead = torch.zeros(cfg.n_instances, cfg.n_hidden_ae, dtype=torch.bool)
    dead[:, alive:] = True
    rates = firing_rates(check, dead, window=3)
    drawn = []
    for _ in range(calls):
        after = after_resampling(check, cfg, weights, rates, h, scale, errors=errors)
        numbers = []
        for instance in range(cfg.n_instances):
            rows = h[:, instance] - weights["b_dec"][instance]
            cosine, number = _nearest(after["W_dec"][instance, alive:], rows)
            if not (cosine > 0.999).all():
                raise Mistake("With many dead latents some of the new directions are no rows of `h - b_dec`.")
            numbers.append(number)
        drawn.append(torch.stack(numbers))
    draws = torch.stack(drawn, dim=1)  # instance call latent

    if (draws == draws[:, :, :1]).all():
        best = l2.argmax(0)
        if (draws == best[:, None, None]).all():
            raise Mistake(
                "Always the input with the largest loss is taken. Draw it at random, with a probability proportional "
                "to the squared loss, or all dead latents get the same direction."
            )
        raise Mistake("One draw is used for all dead latents of an instance. Each of them draws on its own.")
    worst_first = l2.argsort(dim=0, descending=True).T
    if (draws[..., :BATCH] == worst_first[:, None]).all():
        raise Mistake(
            "The inputs are taken in the order of their loss, the worst first (`topk` or `sort`). Draw them at random, "
            "with a probability proportional to the squared loss."
        )
    if (draws == draws[:, :1]).all():
        raise Mistake("Every call draws the same inputs. Draw anew each time, without setting a seed.")
    counts = torch.stack([(draws == number).sum(-1) for number in range(BATCH)])
    if (counts.amax(0) - counts.amin(0) <= 1).all():
        raise Mistake(
            "All inputs are drawn equally often, and none again before all others were. Draw with replacement, and "
            "with a probability proportional to the squared loss."
        )
    if (draws[0] == draws[2]).all():
        raise Mistake("The instances share their draws. Each instance draws from its own losses, on its own.")
    uniform = torch.ones_like(l2)
    length = (h - weights["b_dec"]).norm(dim=-1)
    candidates = {
        "all inputs are equally likely (the loss is not used)": uniform,
        "it is proportional to the loss itself, not to its square": l2,
        "it is proportional to the root of the loss": l2.sqrt(),
        "it is proportional to the fourth power of the loss (squared twice)": l2**4,
        "it is proportional to the third power of the loss": l2**3,
        "a softmax of the loss is taken": torch.softmax(l2, 0),
        "a softmax of the squared loss is taken": torch.softmax(l2**2, 0),
        "a softmax of minus the loss is taken": torch.softmax(-l2, 0),
        "it is proportional to 1 over the loss, so that well rebuilt inputs are drawn": 1 / l2,
        "it is proportional to 1 over the squared loss, so that well rebuilt inputs are drawn": l2**-2,
        "the losses of instance 0 are used for every instance": (l2**2)[:, :1].expand_as(l2),
        "the loss is divided by its sum over the instances instead of the sum over the batch": (
            l2 / l2.sum(1, keepdim=True)
        )
        ** 2,
        "the losses of instance 0 are used for every instance, without squaring them": l2[:, :1].expand_as(
            l2
        ),
        "the loss is averaged over the instances": l2.mean(1, keepdim=True).expand_as(l2) ** 2,
        "the squared loss is averaged over the instances": (l2**2).mean(1, keepdim=True).expand_as(l2),
        "the loss includes the L1 term; the square of `l2_loss` alone is meant": (l2 + cfg.l1_coeff * l1)
        ** 2,
        "it is proportional to the squared L1 loss": l1**2,
        "it is proportional to the L1 loss": l1,
        "it is proportional to the squared length of the input, not to the loss": length**2,
        "it is proportional to the length of the input, not to the loss": length,
        "only the first half of the batch is drawn from": l2**2 * (torch.arange(BATCH) < BATCH / 2)[:, None],
        "only the last half of the batch is drawn from": l2**2 * (torch.arange(BATCH) >= BATCH / 2)[:, None],
        "only the worst half of the inputs is drawn from": torch.where(l2 >= l2.median(0).values, 1.0, 0.0),
    }
    _check_distribution(check, draws.flatten(1), l2**2, candidates)
    # Afterwards: losses that change from draw to draw make the instances agree as well.
    for first, second in ((0, 2), (1, 3)):
        _check_independent(check, draws[first].flatten(), draws[second].flatten(), l2[:, first])
    check.holds(True, "each dead latent draws an input on its own", "")


def _measured_losses(check: Check, cfg: AutoEncoderConfig, alive: int) -> tuple[dict[str, Tensor], Tensor]:
    """Weights and inputs with losses that differ by a factor of four; the dead latents never fire.

    The latents have no bias here, so an input (minus b_dec) that is s times longer has a loss that is s² times
    larger, and each input's loss can be chosen.
    """
    weights = random_weights(check, cfg)
    weights["b_enc"] = torch.zeros_like(weights["b_enc"])
    weights["b_enc"][:, alive:] = -1_000.0
    ascending = torch.linspace(0.5, 2.0, BATCH)
    goals = torch.stack([ascending, ascending.roll(3).flip(0)], dim=1).repeat(1, cfg.n_instances // 2)
    while True:
        fresh = random_weights(check, cfg)
        for name in ("W_enc", "W_dec", "b_dec"):
            # Two different instances, each of them twice.
            weights[name] = fresh[name][:2].repeat(cfg.n_instances // 2, 1, *(1,) * (fresh[name].ndim - 2))
        rows = unit_rows(check.normal(BATCH, 2, cfg.n_input_ae)).repeat(1, cfg.n_instances // 2, 1)
        loss = _forward(rows + weights["b_dec"], weights)[1]
        scaled = rows * (goals / loss.clamp_min(1e-9)).sqrt().unsqueeze(-1)
        cosines = torch.einsum("bix,cix->ibc", rows, rows).triu(diagonal=1)
        # No two inputs in nearly the same direction, and none of extreme length.
        if loss.min() > 0.02 and loss.max() < 2 and cosines.max() < 0.98:
            return weights, scaled + weights["b_dec"]


def _check_independent(check: Check, left: Tensor, right: Tensor, l2: Tensor) -> None:
    """Two instances with the same losses agree in their draws as often as chance would have it."""
    found = torch.bincount(torch.cat([left, right]), minlength=len(l2)).double()
    share = (found / found.sum()).square().sum().item()
    count = int((left == right).sum())
    deviation = math.sqrt(len(left) * share * (1 - share))
    check.holds(
        abs(count - len(left) * share) < 7 * deviation + 0.1 * len(left),
        "the instances draw independently",
        "The instances share their draws. Each instance draws from its own losses, on its own.",
    )


def _check_distribution(
    check: Check, draws: Tensor, expected: Tensor, candidates: Mapping[str, Tensor]
) -> None:
    """The inputs are drawn with the expected probabilities (chi-square over all inputs of both kinds of instance)."""
    counts = torch.stack([torch.bincount(row, minlength=BATCH) for row in draws], dim=1).double()
    counts = counts[:, :2] + counts[:, 2:]
    total = counts.sum(0)

    def improbable(weights: Tensor) -> tuple[float, float]:
        """The chance of counts like these or further off, and their distance from the expected ones."""
        p = (weights / weights.sum(0))[:, :2].double()
        distance = ((counts - p * total).square() / (p * total).clamp_min(1e-9)).sum()
        freedom = torch.tensor(2 * (BATCH - 1) / 2, dtype=torch.float64)
        return torch.special.gammaincc(freedom, distance / 2).item(), distance.item()

    if improbable(expected)[0] > 1e-11:
        check.holds(True, "the probability of an input is proportional to its squared `l2_loss`", "")
        return
    p = (expected / expected.sum(0))[:, 0]
    details = [
        f"expected shares {[round(value, 3) for value in p.tolist()]}",
        f"yours           {[round(value, 3) for value in (counts[:, 0] / total[0]).tolist()]}",
    ]
    fitting = {phrase: improbable(weights) for phrase, weights in candidates.items()}
    phrase = min(fitting, key=lambda phrase: fitting[phrase][1])
    # What is named has to fit well.
    if fitting[phrase][0] > 1e-6:
        raise Mistake(f"The inputs are drawn with the wrong probabilities: {phrase}.", details)
    raise Mistake(
        "The inputs are drawn with the wrong probabilities. They shall be proportional to the squared `l2_loss` of the "
        "latent's own instance, computed once, before any latent is replaced.",
        details,
    )
