"""Exercise 4.9: `train_on_activations`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Check, Mistake, agree, shape_text
from coursekit.checking.door import Handle
from coursekit.checking.phrases import explained, unit_rows
from coursekit.checking.pictures import side_by_side
from part_utils.activations import MLP_HOOK, train_on_activations
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
from coursekit.exercises.chapter_04.scene import FIXTURES, NEEDS, WEIGHTS, random_number, type_name
from coursekit.exercises.chapter_04.steps_of_adam import (
    StepsTaken,
    check_optimizer,
    check_rates,
    check_schedule,
    check_trained_all_along,
    what_was_recorded,
    why_nothing_moves,
)

TRAINING_SIZES = {"d_vocab": 53}


TRAINING_ROWS, TRAINING_SEQ, BATCH, STEPS = 41, 7, 11, 80


LR, L1 = 1e-2, 0.4


_NORMALIZED_BEFORE = (
    "The decoder rows are normalized *before* each step and not after it, so that the trained decoder is one step away "
    "from unit length."
)


@exercise(
    id="4.9",
    reference="activations.train_on_activations",
    needs=NEEDS,
    difficulty=4,
    importance=5,
    minutes=30,
    points=5,
    seconds=40.0,
)
def train_on_activations_check(check: Check) -> None:
    model, own_model, tokens, acts = _training_scene(check)
    calls = check.create(target=f"{FIXTURES}.TrainingRecorder")
    try:
        options = {"n_instances": 2, "l1_coeff": L1, "steps": STEPS, "batch_size": BATCH, "lr": LR, "seed": 4}
        options |= {"factor": 3, "progress": False}
        with explained(
            {
                "leaf Variable": "The decoder can be normalized in place only under `torch.no_grad()`; "
                "`autoencoder.normalize_decoder()` does that.",
                "does not require grad": "The loss has no gradient: was it computed under `torch.no_grad()`?",
                "needs at least two batches": f"`batch_size` is {BATCH} here, and `ActivationBuffer` got another one: "
                "hand it over.",
            }
        ):
            found = check.call(tokens, model, **options)
        record = what_was_recorded(check, calls)
    finally:
        check.method(calls, "stop")
    autoencoder = _trained(check, found)
    _check_sizes(check, autoencoder, acts.shape[-1])
    _check_fed(check, record, acts)
    last = {name: check.learner.get(autoencoder, name) for name in WEIGHTS}
    taken = StepsTaken([*record["weights"], last], record["inputs"].split(record["sizes"]), L1, STEPS)
    _check_steps(check, record, taken)
    _check_decoder(check, autoencoder, record)
    check_rates(taken, LR, STEPS)
    _check_learned(check, autoencoder, own_model, tokens, acts, options)
    check.holds(
        check.learner.call(f"{FIXTURES}.hooks_left", model) == 0,
        "",
        "After the training a hook is still on the model. After `add_hook` call `model.reset_hooks()`.",
    )
    _check_log(found[1])
    for n_instances in (1, 3):
        several = _trained(
            check, check.call(tokens, model, **{**options, "steps": 1, "n_instances": n_instances})
        )
        _check_sizes(check, several, acts.shape[-1], n_instances)
        # After many steps the learning rate is so small that the last one hardly shows.
        lengths = check.tensor(check.learner.get(several, "W_dec"), "`W_dec`").norm(dim=-1)
        if (lengths - 1).abs().max() > 1e-4:
            raise Mistake(
                _NORMALIZED_BEFORE,
                [f"after one step they are between {lengths.min():.4f} and {lengths.max():.4f} long"],
            )
    short = {**options, "steps": 3}
    weights, batches, starts = [], [], []
    for seed in (5, 5, 6):
        calls = check.create(target=f"{FIXTURES}.TrainingRecorder")
        try:
            trained = _trained(check, check.call(tokens, model, **{**short, "seed": seed}))
        finally:
            record = what_was_recorded(check, calls)
        batches.append(record["inputs"])
        starts.append(record["weights"][0]["W_enc"] if record["weights"] else torch.zeros(0))
        weights.append(check.tensor(check.learner.get(trained, "W_enc"), "`W_enc`"))
        # What torch draws next must not matter to whoever sets the seed.
        check.learner.call("torch.rand", 3)
    check.holds(
        agree(weights[0], weights[1]),
        "",
        "Two runs with the same seed give different autoencoders. Call `torch.manual_seed(seed)` before the "
        "autoencoder is made, and give the buffer the seed as well.",
    )
    check.holds(
        not agree(weights[0], weights[2]),
        "the same seed gives the same autoencoder, another one another",
        "Two runs with different seeds give the same autoencoder: `seed` is not used.",
    )
    check.holds(
        not torch.equal(batches[0], batches[2]),
        "",
        "Two runs with different seeds see the same batches: the autoencoder gets the seed, and the buffer does not "
        "(`ActivationBuffer(…, seed=seed)`).",
    )
    check.holds(
        not torch.equal(starts[0], starts[2]),
        "",
        "Two runs with different seeds begin with the same weights: the buffer gets the seed, and the autoencoder "
        "does not (`torch.manual_seed(seed)` before it is made).",
    )


def _training_scene(check: Check) -> tuple[Handle, TransformerBridge, Tensor, Tensor]:
    """A text in which no two positions have the same activations, so that each can be recognized."""
    while True:
        seed = random_number(check)
        own_model = fixtures.language_model(seed, **TRAINING_SIZES)
        tokens = torch.randint(53, (TRAINING_ROWS, TRAINING_SEQ), generator=check.generator)
        tokens[:, 0] = check.permutation(53)[:TRAINING_ROWS]
        with torch.no_grad():
            _, cache = own_model.run_with_cache(tokens)
        acts = cache[MLP_HOOK].flatten(0, 1).detach()
        if bool((_distances(acts, acts) + 10 * torch.eye(len(acts)) > 1e-2).all()):
            model = check.create(seed, target=f"{FIXTURES}.language_model", **TRAINING_SIZES)
            return model, own_model, tokens, acts


def _distances(left: Tensor, right: Tensor) -> Tensor:
    return torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist")


def _trained(check: Check, found: Any) -> Handle:
    if isinstance(found, tuple | list) and len(found) == 2:
        first, second = (isinstance(part, Handle) and "AutoEncoder" in part.type_name for part in found)
        if second and not first:
            raise Mistake("Your function returns the log first. The autoencoder comes first, then the log.")
        if isinstance(found[0], Handle):
            return found[0]
    if found is None:
        raise Mistake("Your function returns nothing. End it with `return autoencoder, log`.")
    alone = " alone" if isinstance(found, Handle) else ""
    raise Mistake(
        f"Your function returns a {type_name(found)}{alone}; expected a pair, the autoencoder and the log of its "
        "training."
    )


def _check_log(log: Any) -> None:
    """Any log will do in which something stands."""
    if log is None or (isinstance(log, tuple | list | dict | str) and not log):
        raise Mistake(
            f"The log that you return is {'None' if log is None else 'empty'}. Note the loss in it at every step, or "
            "return what `train` returns."
        )


def _check_sizes(check: Check, autoencoder: Handle, d_mlp: int, n_instances: int = 2) -> None:
    W_enc = check.learner.get(autoencoder, "W_enc")
    if isinstance(W_enc, Tensor) and check.learner.get(autoencoder, "W_dec") is None:
        raise Mistake(
            "The autoencoder has no `W_dec`: its weights are tied. Leave `tied_weights` as it is, so that it "
            "has a decoder whose rows can be brought to unit length."
        )
    if not isinstance(W_enc, Tensor):
        raise Mistake(
            f"The first thing that you return is a {autoencoder.type_name}, and not an autoencoder."
        )
    wanted = torch.empty(n_instances, d_mlp, 3 * d_mlp)
    if W_enc.shape != wanted.shape:
        instances, inputs, latents = W_enc.shape if W_enc.ndim == 3 else (0, 0, 0)
        axes = "n_instances n_input_ae n_hidden_ae"
        details = [f"`W_enc`: expected {shape_text(wanted, axes)}, got {shape_text(W_enc)}"]
        if (instances, inputs) == (n_instances, d_mlp):
            raise Mistake(
                f"The autoencoder has {latents} latents; expected `factor` times as many as neurons, 3 · {d_mlp}.",
                details,
            )
        if inputs == d_mlp:
            raise Mistake(
                f"The autoencoder has {instances} instances; `n_instances` is {n_instances}.", details
            )
        raise Mistake("The autoencoder has the wrong sizes.", details)
    cfg = check.learner.get(autoencoder, "cfg")
    l1_coeff = check.learner.get(cfg, "l1_coeff") if isinstance(cfg, Handle) else None
    check.holds(
        l1_coeff == L1,
        "`factor` latents for every neuron",
        f"The autoencoder's `l1_coeff` is {l1_coeff}; your function was called with {L1}.",
    )


def _check_fed(check: Check, record: dict[str, Any], acts: Tensor) -> None:
    """What went into the autoencoder: batches of activations, mixed, none before its turn."""
    sizes, inputs = record["sizes"], record["inputs"]
    if not sizes:
        raise Mistake(
            "The autoencoder was never called with a gradient. Call it as `autoencoder(h)`, outside of "
            "`torch.no_grad()`, and train on its `loss`."
        )
    if len(sizes) < STEPS:
        raise Mistake(f"Your function makes {len(sizes)} steps; `steps` was {STEPS}.")
    if record["instances"] != 2 or inputs.shape[-1] != acts.shape[-1]:
        raise Mistake("The autoencoder's input has the wrong shape; expected `batch n_instances d_mlp`.")
    first, second = inputs[:, 0], inputs[:, 1]
    distance, index = _distances(first, acts).min(dim=1)
    if (distance > 1e-3).any():
        raise Mistake(
            "The autoencoder is not trained on the activations of the MLP: what it is fed with is found nowhere among "
            "those of the text. Were they scaled, shifted or taken at another place?"
        )
    if not torch.equal(first, second):
        raise Mistake(
            "The instances are fed with different inputs. All of them see the same batch: expand it along the axis of "
            "the instances."
        )
    check.holds(True, "trained on the activations of the MLP, the same for every instance", "")
    if sizes[0] != BATCH or max(sizes) > BATCH:
        raise Mistake(f"A batch has {max(sizes)} activations; `batch_size` is {BATCH}.")
    batches = list(index.split(sizes))
    rows = [(batch // TRAINING_SEQ) for batch in batches]
    check.show(lambda: _places_picture(batches, len(acts)))
    repeated = [
        (torch.isin(after, before).double().mean().item() if len(after) else 0.0)
        for before, after in itertools.pairwise(batches)
    ]
    if sum(share > 0.9 for share in repeated) > len(batches) // 2:
        raise Mistake(
            "The same batch is used for every step. Take the next one inside the loop (or inside `compute_loss`), not "
            "before it."
        )
    full = [batch for batch in batches if len(batch) == BATCH]
    if len(full) < len(batches) - math.ceil(STEPS * BATCH / len(acts)) - 1:
        raise Mistake(f"Many batches have fewer than {BATCH} activations, which is `batch_size`.")
    # So many texts a batch would touch if it were drawn from all of them.
    ideal = TRAINING_ROWS * (1 - (1 - 1 / TRAINING_ROWS) ** BATCH)
    touched = sum(len(set(row.tolist())) for row in rows) / len(rows)
    if touched < 0.7 * ideal:
        raise Mistake(
            "The batches are not shuffled: they hold neighboring tokens of few texts, which have similar activations. "
            "Mix the positions of many texts, as `ActivationBuffer` does.",
            [f"a batch comes from {touched:.1f} texts on average; expected about {ideal:.1f}"],
        )
    overlaps = [place for place, share in enumerate(repeated) if share > 0.6]
    if overlaps:
        raise Mistake(
            "Sometimes a batch holds the very activations of the batch before: when too few are left, a part of them "
            "is used again. Leave the last, partial batch out, or fill it up with new activations.",
            [
                f"batch {overlaps[0] + 2} repeats {round(BATCH * repeated[overlaps[0]])} of batch {overlaps[0] + 1}"
            ],
        )
    start = torch.cat(batches[: len(acts) // 2 // BATCH])
    if len(start.unique()) < len(start):
        raise Mistake(
            "Some activations are used twice before others had their turn: are they drawn with replacement? Go through "
            "a shuffled order, as `ActivationBuffer` does.",
            [f"the first {len(start)} activations hold {len(start) - len(start.unique())} repetitions"],
        )
    counts = torch.bincount(index, minlength=len(acts))
    turns = len(index) / len(acts)
    if counts.max() > turns + 4:
        raise Mistake(
            "Some activations are used much more often than others: is a partial batch used again and again?",
            [f"one was used {int(counts.max())} times, where each has {turns:.1f} turns"],
        )
    if (counts == 0).double().mean() > 0.15:
        raise Mistake(
            "Large parts of the text are never used.",
            [f"{int((counts == 0).sum())} of {len(acts)} positions have no turn in {STEPS} steps"],
        )
    check.holds(True, "batches are mixed from many texts, and no activation comes before its turn", "")


def _places_picture(batches: list[Tensor], n_tokens: int) -> str:
    """Which positions of the text the first batches come from, beside a shuffled order."""
    count = min(26, len(batches))

    def map_of(parts: Sequence[Tensor]) -> Tensor:
        picture = torch.zeros(TRAINING_ROWS, count)
        for column, part in enumerate(parts[:count]):
            picture[part // TRAINING_SEQ, column] += 1
        return picture

    order = torch.randperm(n_tokens, generator=torch.Generator().manual_seed(0))
    return side_by_side(map_of(batches), map_of(order.split(BATCH)), "text batch", ("mixed batches", "yours"))


def _check_steps(check: Check, record: dict[str, Any], taken: StepsTaken) -> None:
    """Adam's first step moves every weight by the learning rate, and each step has the gradient of its own batch."""
    before, between = record["weights"][0], record["weights"][1]
    moved = (between["W_enc"] - before["W_enc"]).abs().max().item()
    if moved == 0:
        raise Mistake(why_nothing_moves(record["weights"]))
    # Rows that are only brought to unit length keep their direction.
    for name in ("W_dec", "b_enc", "b_dec"):
        first, second = (unit_rows(x[name]) if name == "W_dec" else x[name] for x in (before, between))
        if (second - first).abs().max() < 1e-3 * LR:
            raise Mistake(
                f"`{name}` is not trained: it does not change. Give the optimizer all of `autoencoder.parameters()`."
            )
    for instance, part in enumerate(between["W_enc"] - before["W_enc"]):
        if not part.any():
            raise Mistake(f"Instance {instance} is not trained: its encoder does not change.")
    if agree(before["W_enc"][0], before["W_enc"][1]):
        raise Mistake(
            "All instances start with the same weights, and so stay one and the same autoencoder. Let each have a "
            "random start of its own, as `AutoEncoder(cfg)` does."
        )
    check_trained_all_along(record["weights"], LR, STEPS)
    batch = record["inputs"].split(record["sizes"])[0]
    gradient, step = _gradient(before, batch), between["W_enc"] - before["W_enc"]
    strong = gradient.abs() > 0.01 * gradient.abs().max()
    even = (step[strong].abs().min() / moved).item()
    if not (0.3 * LR < moved < 3 * LR and even > 0.5):
        raise Mistake(
            "The steps are not those of Adam with the learning rate `lr`.",
            [
                f"the first step of Adam changes every weight by lr = {LR}; here by {even * moved:.2g} to {moved:.2g}"
            ],
        )
    if _downhill(step, gradient) < 0.95:
        alone = _gradient(before, batch, "l2_loss")
        if _downhill(step, alone) > 0.95:
            raise Mistake(
                "The autoencoder is trained on the squared error alone: the sparsity penalty is missing. Take the "
                "whole `loss` of its output."
            )
        raise Mistake(
            "The first step does not go down the gradient of the autoencoder's `loss` on the first batch."
        )
    gradient = record["gradients"][2]
    if gradient is not None and bool((gradient != 0).any()):
        sizes = record["sizes"]
        parts = record["inputs"].split(sizes)
        ours = [_gradient(record["weights"][place], parts[place]) for place in (0, 1)]
        if agree(gradient, ours[0] + ours[1], 1e-2, 1e-3) and not agree(gradient, ours[1], 1e-2, 1e-3):
            raise Mistake(
                "The gradients of all batches add up: call `optimizer.zero_grad()` in every step, before `backward()`."
            )
    check.holds(True, "steps of Adam, each with the gradient of its own batch", "")
    check_optimizer(check, taken)
    check_schedule(check, record["moves"], LR, STEPS)


def _gradient(weights: Mapping[str, Tensor], batch: Tensor, loss: str = "loss") -> Tensor:
    autoencoder = _made_of(weights)
    found = getattr(autoencoder(batch), loss)
    total = found.mean(0).sum() if found.ndim else found
    (gradient,) = torch.autograd.grad(total, [autoencoder.W_enc])
    return gradient


def _downhill(step: Tensor, gradient: Tensor) -> float:
    """Of the weights with a gradient that counts, the share that went down it."""
    strong = gradient.abs() > 0.01 * gradient.abs().max()
    return (step[strong].sign() == -gradient[strong].sign()).double().mean().item()


def _made_of(weights: Mapping[str, Tensor]) -> AutoEncoder:
    n_instances, inputs, latents = weights["W_enc"].shape
    autoencoder = AutoEncoder(AutoEncoderConfig(n_instances, inputs, latents, L1))
    autoencoder.load_state_dict({name: weights[name] for name in WEIGHTS})
    return autoencoder


def _check_decoder(check: Check, autoencoder: Handle, record: dict[str, Any]) -> None:
    W_dec = check.tensor(check.learner.get(autoencoder, "W_dec"), "`W_dec`")
    lengths = W_dec.double().norm(dim=-1)
    drift = torch.tensor(record["drift"][1:])
    off = (lengths - 1).abs().max().item()
    details = [f"at the end they are between {lengths.min():.4f} and {lengths.max():.4f} long"]
    check.show(lambda: side_by_side(lengths[0], torch.ones_like(lengths[0]), "n_hidden_ae"))
    of_instances = (lengths - 1).abs().amax(dim=1)
    if of_instances.min() < 1e-4 < of_instances.max():
        raise Mistake(
            f"The decoder rows do not keep unit length in instance {int(of_instances.argmax())}, elsewhere they do. "
            "`autoencoder.normalize_decoder()` sees to all of them.",
            details,
        )
    if off > 1e-4:
        # Normalizing once a step lets a row grow by one step only.
        if off < 3 * LR * math.sqrt(W_dec.shape[-1]) and drift.max() < 3 * LR * math.sqrt(W_dec.shape[-1]):
            raise Mistake(_NORMALIZED_BEFORE, details)
        raise Mistake(
            "The decoder rows do not keep unit length. Call `autoencoder.normalize_decoder()` after every step.",
            details,
        )
    check.holds(
        drift.max().item() < 1e-4,
        "the decoder rows have unit length after every step",
        "The decoder rows have unit length at the end, but drift away from it during the training. Normalize them "
        "after *every* step.",
        [f"during the training their length was off by up to {drift.max().item():.3f}"],
    )


def _check_learned(
    check: Check,
    autoencoder: Handle,
    own_model: TransformerBridge,
    tokens: Tensor,
    acts: Tensor,
    options: dict[str, Any],
) -> None:
    """As good as the reference, trained in the same way."""
    found = _made_of({name: check.learner.get(autoencoder, name) for name in WEIGHTS})
    reference, _ = train_on_activations(tokens, own_model, **options)
    inputs = acts[:, None].expand(-1, 2, -1)
    with torch.no_grad():
        loss, wanted = found(inputs).loss.item(), reference(inputs).loss.item()
        start = AutoEncoder(reference.cfg)(inputs).loss.item()
    check.holds(
        loss < wanted + 0.25 * max(start - wanted, 0.0),
        "the loss goes down as it should",
        "After the training the loss is larger than it should be.",
        [f"before {start:.3f}, after {loss:.3f}; expected about {wanted:.3f}"],
    )
