"""Answers to exercise 4.9: `train_on_activations`."""

import itertools
import math

import torch

from part_utils.activations import (
    ActivationBuffer,
    get_activations,
    train_on_activations,
)
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.training import TrainingLog, linear_lr, train
from tests.mutants import equivalent, mutant, variant


def _trained(
    tokens,
    model,
    factor=4,
    n_instances=1,
    l1_coeff=1e-3,
    steps=1000,
    batch_size=1024,
    lr=1e-3,
    seed=0,
    progress=True,
    *,
    batches=None,
    before=lambda autoencoder: None,
    after=lambda autoencoder: autoencoder.normalize_decoder(),
    spread=lambda batch, n: batch[:, None].expand(-1, n, -1),
    seeded=True,
    zero_grad=True,
    backward=lambda output: output.loss.backward(),
    optimizer=torch.optim.Adam,
    size=lambda factor, d_mlp: factor * d_mlp,
    finish=lambda autoencoder: None,
    parameters=lambda autoencoder: autoencoder.parameters(),
    schedule=lambda step, steps: 1 - step / steps,
):
    """A loop that is right as it is; a wrong answer gives one piece of its own."""
    if batches is None:
        feed = iter(ActivationBuffer(tokens, model, batch_size, seed=seed if seeded else 0))
    else:
        acts = get_activations(tokens, model).flatten(0, 1)
        feed = batches(acts, batch_size, torch.Generator().manual_seed(seed))
    if seeded:
        torch.manual_seed(seed)
    d_mlp = get_activations(tokens[:1], model).shape[-1]
    autoencoder = AutoEncoder(AutoEncoderConfig(n_instances, d_mlp, size(factor, d_mlp), l1_coeff))
    adam = optimizer(parameters(autoencoder), lr=lr)
    losses = []
    for step, batch in enumerate(itertools.islice(feed, steps)):
        adam.param_groups[0]["lr"] = lr * schedule(step, steps)
        before(autoencoder)
        if zero_grad:
            adam.zero_grad()
        output = autoencoder(spread(batch, n_instances))
        backward(output)
        adam.step()
        after(autoencoder)
        losses.append(output.loss.item())
    finish(autoencoder)
    return autoencoder, losses


def _in_order(acts, batch_size, generator):
    while True:
        for start in range(0, len(acts) - batch_size + 1, batch_size):
            yield acts[start : start + batch_size]


def _rows_shuffled_only(acts, batch_size, generator):
    rows = acts.unflatten(0, (-1, 7))
    while True:
        shuffled = rows[torch.randperm(len(rows), generator=generator)].flatten(0, 1)
        yield from (part for part in shuffled.split(batch_size) if len(part) == batch_size)


def _batches_shuffled_only(acts, batch_size, generator):
    while True:
        parts = [part for part in acts.split(batch_size) if len(part) == batch_size]
        for number in torch.randperm(len(parts), generator=generator).tolist():
            yield parts[number]


def _last_part_filled_from_before(acts, batch_size, generator):
    while True:
        acts = acts[torch.randperm(len(acts), generator=generator)]
        for start in range(0, len(acts), batch_size):
            start = min(start, len(acts) - batch_size)
            yield acts[start : start + batch_size]


def _stuck_at_the_last_part(acts, batch_size, generator):
    shuffled = acts[torch.randperm(len(acts), generator=generator)]
    start = 0
    while True:
        yield shuffled[start : start + batch_size]
        if start + 2 * batch_size <= len(shuffled):
            start += batch_size


def _with_replacement(acts, batch_size, generator):
    while True:
        yield acts[torch.randint(len(acts), (batch_size,), generator=generator)]


def _one_batch(acts, batch_size, generator):
    return itertools.repeat(acts[torch.randperm(len(acts), generator=generator)[:batch_size]])


def _first_texts_only(acts, batch_size, generator):
    part = acts[: len(acts) // 2]
    while True:
        shuffled = part[torch.randperm(len(part), generator=generator)]
        yield from (piece for piece in shuffled.split(batch_size) if len(piece) == batch_size)


def _shuffled(acts, batch_size, generator):
    while True:
        shuffled = acts[torch.randperm(len(acts), generator=generator)]
        yield from (piece for piece in shuffled.split(batch_size) if len(piece) == batch_size)


@mutant("4.9", says="not shuffled")
def unshuffled(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_in_order)


@mutant("4.9", says="not shuffled")
def rows_shuffled_only(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_rows_shuffled_only)


@mutant("4.9", says="not shuffled")
def batches_shuffled_only(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_batches_shuffled_only)


@mutant("4.9", says="the very activations of the batch before")
def last_part_reused(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_last_part_filled_from_before)


@mutant("4.9", says="same batch is used")
def stuck_at_the_end(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_stuck_at_the_last_part)


@mutant("4.9", says="with replacement")
def drawn_with_replacement(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_with_replacement)


@mutant("4.9", says="same batch is used for every step")
def one_batch_forever(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_one_batch)


@mutant("4.9", says="never used")
def half_of_the_text(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_first_texts_only)


@mutant("4.9", says="do not keep unit length")
def never_normalized(*args, **kwargs):
    return _trained(*args, **kwargs, after=lambda autoencoder: None)


@mutant("4.9", says="normalized *before* each step")
def normalized_before_the_step(*args, **kwargs):
    return _trained(
        *args,
        **kwargs,
        before=lambda autoencoder: autoencoder.normalize_decoder(),
        after=lambda autoencoder: None,
    )


@mutant("4.9", says="drift away from it during the training")
def normalized_at_the_end(*args, **kwargs):
    return _trained(
        *args,
        **kwargs,
        after=lambda autoencoder: None,
        finish=lambda autoencoder: autoencoder.normalize_decoder(),
    )


@mutant("4.9", says="do not keep unit length")
def normalized_copy(*args, **kwargs):
    return _trained(*args, **kwargs, after=lambda autoencoder: autoencoder.normalize_and_return_W_dec())


@mutant("4.9", says="gradients of all batches add up")
def gradients_add_up(*args, **kwargs):
    return _trained(*args, **kwargs, zero_grad=False)


@mutant("4.9", says="encoder does not change")
def no_step(*args, **kwargs):
    class Idle(torch.optim.Adam):
        def step(self, closure=None):
            return None

    return _trained(*args, **kwargs, optimizer=Idle)


@mutant("4.9", says="learning rate `lr`")
def learning_rate_ignored(*args, **kwargs):
    return _trained(*args, **{**kwargs, "lr": 1e-4})


@mutant("4.9", says="learning rate `lr`")
def gradient_descent(*args, **kwargs):
    return _trained(*args, **kwargs, optimizer=torch.optim.SGD)


@mutant("4.9", says="`factor` times as many")
def four_times_always(*args, **kwargs):
    return _trained(*args, **kwargs, size=lambda factor, d_mlp: 4 * d_mlp)


@mutant("4.9", says="`factor` times as many")
def factor_as_number(*args, **kwargs):
    return _trained(*args, **kwargs, size=lambda factor, d_mlp: factor)


@mutant("4.9", says="`l1_coeff` is 0.5")
def penalty_ignored(*args, **kwargs):
    return _trained(*args, **{**kwargs, "l1_coeff": 0.5})


@mutant("4.9", says="squared error alone")
def squared_error_only(*args, **kwargs):
    return _trained(*args, **kwargs, backward=lambda output: output.l2_loss.mean(0).sum().backward())


@mutant("4.9", says="`n_instances` is 2")
def one_instance(*args, **kwargs):
    return _trained(*args, **{**kwargs, "n_instances": 1})


@mutant("4.9", says="different inputs")
def instances_on_other_batches(*args, **kwargs):
    return _trained(
        *args, **kwargs, spread=lambda batch, n: torch.stack([batch.roll(i, 0) for i in range(n)], 1)
    )


@mutant("4.9", says="not trained on the activations")
def scaled_activations(*args, **kwargs):
    return _trained(*args, **kwargs, spread=lambda batch, n: (batch / batch.std())[:, None].repeat(1, n, 1))


@mutant("4.9", says="same seed give different")
def not_seeded(*args, **kwargs):
    return _trained(*args, **kwargs, seeded=False)


@mutant("4.9", says="`seed` is not used")
def always_the_same_seed(*args, **kwargs):
    return _trained(*args, **{**kwargs, "seed": 0})


@mutant("4.9", says="makes 40 steps")
def half_of_the_steps(*args, **kwargs):
    return _trained(*args, **{**kwargs, "steps": kwargs["steps"] // 2})


@mutant("4.9", says="`batch_size` is 11")
def twice_as_large_batches(*args, **kwargs):
    return _trained(*args, **{**kwargs, "batch_size": 2 * kwargs["batch_size"]})


@mutant("4.9", says="alone; expected a pair")
def autoencoder_alone(*args, **kwargs):
    return train_on_activations(*args, **kwargs)[0]


@mutant("4.9", says="log first")
def log_first(*args, **kwargs):
    return train_on_activations(*args, **kwargs)[::-1]


@variant("4.9")
def own_loop(*args, **kwargs):
    return _trained(*args, **kwargs)


@variant("4.9")
def own_shuffling(*args, **kwargs):
    return _trained(*args, **kwargs, batches=_shuffled)


@variant("4.9")
def with_a_data_loader(*args, **kwargs):
    def batches(acts, batch_size, generator):
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(acts), batch_size, shuffle=True, generator=generator
        )
        while True:
            for (batch,) in loader:
                yield batch

    return _trained(*args, **kwargs, batches=batches)


@variant("4.9")
def decoder_divided_by_hand(*args, **kwargs):
    @torch.no_grad()
    def normalize(autoencoder):
        autoencoder.W_dec.div_(autoencoder.W_dec.norm(dim=-1, keepdim=True))

    return _trained(*args, **kwargs, after=normalize)


@variant("4.9")
def with_the_training_loop(
    tokens,
    model,
    factor=4,
    n_instances=1,
    l1_coeff=1e-3,
    steps=1000,
    batch_size=1024,
    lr=1e-3,
    seed=0,
    progress=True,
):
    torch.manual_seed(seed)
    d_mlp = model.cfg.d_mlp
    autoencoder = AutoEncoder(AutoEncoderConfig(n_instances, d_mlp, d_mlp * factor, l1_coeff))
    buffer = iter(ActivationBuffer(tokens, model, batch_size, buffer_rows=12, seed=seed + 1))

    def compute_loss():
        return autoencoder(next(buffer).unsqueeze(1).repeat(1, n_instances, 1)).loss

    log = train(
        compute_loss,
        autoencoder.parameters(),
        steps,
        lr=lr,
        lr_schedule=linear_lr,
        after_step=lambda step, optimizer: autoencoder.normalize_decoder(),
        progress=progress,
    )
    assert isinstance(log, TrainingLog)
    return [autoencoder, log]


@mutant("4.9", says="`n_instances` is 1")
def always_two_instances(*args, **kwargs):
    return _trained(*args, **{**kwargs, "n_instances": 2})


@mutant("4.9", says="log that you return is None")
def no_log(*args, **kwargs):
    return _trained(*args, **kwargs)[0], None


@mutant("4.9", says="log that you return is empty")
def empty_log(*args, **kwargs):
    return _trained(*args, **kwargs)[0], []


@mutant("4.9", says="`b_enc` is not trained")
def biases_left_out(*args, **kwargs):
    return _trained(*args, **kwargs, parameters=lambda autoencoder: [autoencoder.W_enc, autoencoder.W_dec])


@mutant("4.9", says="`W_dec` is not trained")
def decoder_left_out(*args, **kwargs):
    return _trained(
        *args,
        **kwargs,
        parameters=lambda autoencoder: [autoencoder.W_enc, autoencoder.b_enc, autoencoder.b_dec],
    )


@mutant("4.9", says="The learning rate does not fall to zero in the course of the")
def rate_stays_the_same(*args, **kwargs):
    return _trained(*args, **kwargs, schedule=lambda step, steps: 1.0)


@mutant("4.9", says="The learning rate does not fall to zero in the course of the")
def rate_falls_to_a_half(*args, **kwargs):
    return _trained(*args, **kwargs, schedule=lambda step, steps: 1 - step / (2 * steps))


@mutant("4.9", says="The steps are not those of Adam with the learning rate `lr`")
def rate_rises(*args, **kwargs):
    return _trained(*args, **kwargs, schedule=lambda step, steps: (step + 1) / steps)


@mutant("4.9", says="The learning rate does not fall to zero in the course of the")
def rate_falls_over_a_thousand_steps(*args, **kwargs):
    return _trained(*args, **kwargs, schedule=lambda step, steps: 1 - step / 1000)


@mutant("4.9", says="The learning rate falls too early: in the second half of the")
def rate_falls_twice_as_fast(*args, **kwargs):
    return _trained(*args, **kwargs, schedule=lambda step, steps: max(1 - 2 * step / steps, 0))


@mutant("4.9", says="do not keep unit length in instance 1")
def first_instance_alone_normalized(*args, **kwargs):
    @torch.no_grad()
    def normalize(autoencoder):
        autoencoder.W_dec[0].div_(autoencoder.W_dec[0].norm(dim=-1, keepdim=True))

    return _trained(*args, **kwargs, after=normalize)


@mutant("4.9", says="The decoder rows do not keep unit length. Call")
def normalized_along_the_neurons_axis(*args, **kwargs):
    @torch.no_grad()
    def normalize(autoencoder):
        autoencoder.W_dec.div_(autoencoder.W_dec.norm(dim=1, keepdim=True))

    return _trained(*args, **kwargs, after=normalize)


@mutant("4.9", says="is not trained: its encoder does not change")
def first_instance_alone_trained(*args, **kwargs):
    return _trained(*args, **kwargs, backward=lambda output: output.l2_loss[:, 0].mean().backward())


@mutant("4.9", says="All instances start with the same weights, and so stay one and")
def instances_start_alike(*args, **kwargs):
    @torch.no_grad()
    def alike(autoencoder):
        if not hasattr(autoencoder, "made_alike"):
            autoencoder.made_alike = True
            for parameter in autoencoder.parameters():
                parameter.copy_(parameter[:1].expand_as(parameter))

    return _trained(*args, **kwargs, before=alike)


@mutant("4.9", says="Your function makes")
def one_step_too_many(*args, **kwargs):
    return _trained(*args, **{**kwargs, "steps": kwargs["steps"] + 1})


@mutant("4.9", says="The first step does not go down the gradient of the")
def decaying_weights(*args, **kwargs):
    return _trained(
        *args, **kwargs, optimizer=lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, weight_decay=1)
    )


@mutant("4.9", says="The log that you return is empty. Note the loss in it at every")
def log_of_zeros_only(*args, **kwargs):
    return train_on_activations(*args, **kwargs)[0], {}


@variant("4.9")
def scheduler_of_torch(
    tokens,
    model,
    factor=4,
    n_instances=1,
    l1_coeff=1e-3,
    steps=1000,
    batch_size=1024,
    lr=1e-3,
    seed=0,
    progress=True,
):
    torch.manual_seed(seed)
    d_mlp = model.cfg.d_mlp
    autoencoder = AutoEncoder(AutoEncoderConfig(n_instances, d_mlp, d_mlp * factor, l1_coeff))
    adam = torch.optim.Adam(autoencoder.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, total_iters=steps)
    log = []
    for batch in itertools.islice(ActivationBuffer(tokens, model, batch_size, seed=seed), steps):
        loss = autoencoder(batch[:, None].expand(-1, n_instances, -1)).loss
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        autoencoder.normalize_decoder()
        log.append(loss.item())
    return autoencoder, log


equivalent(
    "4.9",
    "the steps of the training draw nothing themselves",
    "train(seed=seed) -> train()",
    "seed=seed: seed -> factor (2)",
    "seed=seed: seed -> n_instances (2)",
    "seed=seed: seed -> l1_coeff (2)",
    "seed=seed: seed -> steps (2)",
    "seed=seed: seed -> batch_size (2)",
    "seed=seed: seed -> lr (2)",
    "seed=seed: seed -> progress (2)",
)

equivalent(
    "4.9",
    "nobody asks how random numbers go on after the training",
    "with torch.random.fork_rng(devices=[]): -> torch.manual_seed(seed); "
    "d_mlp = get_activations(tokens[:1], model).shape[-1]; "
    "cfg = AutoEncoderConfig(n_instances, d_mlp, factor * d_mlp, l1_coeff); "
    "autoencoder = AutoEncoder(cfg).to(tokens.device)",
    "torch.random.fork_rng(devices=[]) -> torch.random.fork_rng()",
)

equivalent(
    "4.9",
    "only the number of neurons is read from these activations",
    ":1: 1 -> 2",
)

equivalent(
    "4.9",
    "a progress bar may be shown or not: what is printed is the learner's business",
    "train(progress=progress) -> train()",
    "progress=progress: progress -> model",
    "progress=progress: progress -> factor",
    "progress=progress: progress -> n_instances",
    "progress=progress: progress -> l1_coeff",
    "progress=progress: progress -> steps",
    "progress=progress: progress -> batch_size",
    "progress=progress: progress -> lr",
    "progress=progress: progress -> seed",
)


@mutant("4.9", says="trained in the first step only")
def new_parameter_each_step(*args, **options):
    def replaced(autoencoder):
        autoencoder.W_dec = torch.nn.Parameter(autoencoder.normalize_and_return_W_dec().detach())

    return _trained(*args, **options, after=replaced)


@mutant("4.9", says="it is one step ahead")
def rate_one_step_ahead(*args, **options):
    return _trained(*args, **options, schedule=lambda step, steps: 1 - (step + 1) / steps)


@mutant("4.9", says="it is divided by `steps - 1`")
def rate_zero_in_the_last_step(*args, **options):
    return _trained(*args, **options, schedule=lambda step, steps: 1 - step / max(steps - 1, 1))


@mutant("4.9", says="it falls along a cosine")
def rate_along_a_cosine(*args, **options):
    return _trained(*args, **options, schedule=lambda step, steps: (1 + math.cos(math.pi * step / steps)) / 2)


@mutant("4.9", says="that is weight decay")
def weights_decay(*args, **options):
    return _trained(*args, **options, optimizer=torch.optim.AdamW)


@mutant("4.9", says="there is no momentum")
def without_momentum(*args, **options):
    return _trained(
        *args,
        **options,
        optimizer=lambda parameters, lr: torch.optim.Adam(parameters, lr, betas=(0.0, 0.999)),
    )


class _AdamMadeAnew(torch.optim.Adam):
    """What it remembers is thrown away before every step."""

    def step(self, closure=None):
        self.state.clear()
        return super().step(closure)


@mutant("4.9", says="the optimizer is made anew in every step")
def optimizer_made_anew(*args, **options):
    return _trained(*args, **options, optimizer=_AdamMadeAnew)


@mutant("4.9", says="the buffer does not")
def buffer_without_the_seed(tokens, model, *args, batch_size=1024, seed=0, **options):
    feed = lambda acts, size, generator: iter(ActivationBuffer(tokens, model, size))  # noqa: E731
    return _trained(tokens, model, *args, batch_size=batch_size, seed=seed, **options, batches=feed)


@mutant("4.9", says="its weights are tied")
def tied_weights(tokens, model, factor=4, n_instances=1, l1_coeff=1e-3, **options):
    d_mlp = get_activations(tokens[:1], model).shape[-1]
    autoencoder = AutoEncoder(
        AutoEncoderConfig(n_instances, d_mlp, factor * d_mlp, l1_coeff, tied_weights=True)
    )
    h = get_activations(tokens[:1], model).flatten(0, 1)[:, None].expand(-1, n_instances, -1)
    loss = autoencoder(h).loss
    loss.backward()
    return autoencoder, [loss.item()]


@mutant("4.9", says="hand it over")
def batch_size_of_the_buffer(tokens, model, *args, batch_size=1024, **options):
    feed = lambda acts, size, generator: iter(ActivationBuffer(tokens, model))  # noqa: E731
    return _trained(tokens, model, *args, batch_size=batch_size, **options, batches=feed)


@mutant("4.9", says="Instance 1 is not trained")
def second_call_for_one_instance(*args, **options):
    return _trained(*args, **options, backward=lambda output: output.l2_loss.mean(dim=0)[0].backward())


@variant("4.9")
def fused_and_in_groups(*args, **options):
    return _trained(
        *args,
        **options,
        optimizer=lambda parameters, lr: torch.optim.AdamW(parameters, lr, weight_decay=0.0, fused=True),
    )


@mutant("4.9", says="begin with the same weights")
def weights_without_the_seed(tokens, model, *args, seed=0, **options):
    feed = lambda acts, size, generator: iter(ActivationBuffer(tokens, model, size, seed=seed))  # noqa: E731
    return _trained(tokens, model, *args, seed=0, **options, batches=feed)


@mutant("4.9", says="Two batches in a row meet the same weights")
def two_batches_for_each_step(
    tokens, model, factor=4, n_instances=1, l1_coeff=1e-3, steps=1000, batch_size=1024, lr=1e-3, seed=0, progress=True
):  # fmt: skip
    feed = iter(ActivationBuffer(tokens, model, batch_size, seed=seed))
    torch.manual_seed(seed)
    d_mlp = get_activations(tokens[:1], model).shape[-1]
    autoencoder = AutoEncoder(AutoEncoderConfig(n_instances, d_mlp, factor * d_mlp, l1_coeff))
    adam = torch.optim.Adam(autoencoder.parameters(), lr=lr)
    losses = []
    for step in range(steps):
        adam.param_groups[0]["lr"] = lr * (1 - step / steps)
        adam.zero_grad()
        for batch in (next(feed), next(feed)):
            loss = autoencoder(batch[:, None].expand(-1, n_instances, -1)).loss / 2
            loss.backward()
        adam.step()
        autoencoder.normalize_decoder()
        losses.append(loss.item())
    return autoencoder, losses
