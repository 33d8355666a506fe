"""Chapter 4: a sparse autoencoder on a language model's MLP."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from coursekit.catalogue import exercise
from coursekit.checking import fixtures
from coursekit.checking.claims import Alternative, Check, Mistake, agree, compare, shape_text, variations
from coursekit.checking.door import Handle, LearnerError
from coursekit.checking.pictures import side_by_side
from coursekit.exercises.chapter_02 import explained, unit_rows
from part_utils.activations import MLP_HOOK, train_on_activations
from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

FIXTURES = "coursekit.checking.fixtures"
NEEDS = ("transformer_lens.model_bridge",)
ROWS, SEQ = 23, 7
WEIGHTS = ("W_enc", "W_dec", "b_enc", "b_dec")
FORWARD = {
    "no attribute 'size'": "Something that is no tensor was used as one. `autoencoder(h)` returns five things: take "
    "`.acts` or `.h_reconstructed` of it.",
    "tuple indices must be integers": "`autoencoder(h)` returns five things: take `.acts` or `.h_reconstructed` of it.",
    "'AutoEncoderOutput'": "`autoencoder(h)` returns five things: take `.acts` or `.h_reconstructed` of it.",
}


# What the exercises share: a tiny model, a text and an autoencoder, on both sides of the door


@dataclass
class Scene:
    """A language model, a text and an autoencoder: handles for the learner's code, and the checker's own copies."""

    check: Check
    model: Handle
    own_model: TransformerBridge
    tokens: Tensor
    cache: dict[str, Tensor]
    autoencoder: Handle
    own: AutoEncoder

    @cached_property
    def before(self) -> dict[str, Tensor]:
        """The autoencoder's weights on the learner's side, which may be rounded in another way than the checker's."""
        return {name: self.check.learner.get(self.autoencoder, name) for name in WEIGHTS}

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: getattr(self.own, name).detach() for name in WEIGHTS}

    @property
    def h(self) -> Tensor:
        """The activations after the activation function: `tokens d_mlp`."""
        return self.cache[MLP_HOOK].flatten(0, 1)

    @torch.no_grad()
    def logits(self, replace: Callable[[Tensor], Tensor] | None = None, hook: str = MLP_HOOK) -> Tensor:
        """The model's predictions, with other activations in a hook's place."""
        hooks: list[Any] = [(hook, lambda value, hook: replace(value))] if replace else []
        return self.own_model.run_with_hooks(self.tokens, return_type="logits", fwd_hooks=hooks)

    def unharmed(self) -> None:
        """The learner's code has left the model and the autoencoder as they were."""
        for name, before in self.before.items():
            now = self.check.learner.get(self.autoencoder, name)
            if not isinstance(now, Tensor) or not torch.equal(now, before):
                raise Mistake(
                    f"`{name}` of the autoencoder was changed, and stays changed after your function has ended. "
                    "Compute what you need with new tensors."
                )
        self.check.holds(
            self.check.learner.call(f"{FIXTURES}.hooks_left", self.model) == 0,
            "",
            "After your function has ended a hook is still on the model, and changes whatever is computed next. "
            "`run_with_hooks` takes its hooks away by itself; after `add_hook` call `model.reset_hooks()`.",
        )
        logits = self.check.learner.call((self.model, "forward"), self.tokens)
        self.check.holds(
            isinstance(logits, Tensor) and agree(logits, self.logits()),
            "model and autoencoder are left as they were",
            "After your function has ended the model computes something else than before.",
        )


def _number(check: Check) -> int:
    return int(torch.randint(2**31, (), generator=check.generator))


def _scene(
    check: Check,
    suits: Callable[[Scene], bool] = lambda scene: True,
    likely: bool = False,
    n_instances: int = 2,
    rows: int = ROWS,
    seq: int = SEQ,
) -> Scene:
    """A scene that suits an exercise, and in which no latent is so near to firing that rounding could decide.

    With `likely` the text is the model's own, so that the model does worse without its MLP.
    """
    while True:
        seed = _number(check)
        own_model = fixtures.language_model(seed)
        if likely:
            tokens = fixtures.likely_text(own_model, rows, seq, check.generator)
        else:
            tokens = torch.randint(own_model.cfg.d_vocab, (rows, seq), generator=check.generator)
        with torch.no_grad():
            _, cache = own_model.run_with_cache(tokens)
        wanted = [name for name, value in cache.items() if value.ndim == 3]
        own_cache = {name: cache[name].detach().clone() for name in wanted}
        # An autoencoder takes no time to make, compared with a model.
        for _ in range(20):
            ae_seed = _number(check)
            own = fixtures.autoencoder(ae_seed, n_instances=n_instances)
            scene = Scene(check, Handle(-1, ""), own_model, tokens, own_cache, Handle(-1, ""), own)
            if bool((_before_relu(scene.h, **_encoder(scene.weights)).abs() > 2e-5).all()) and suits(scene):
                break
        else:
            continue
        scene.model = check.create(seed, target=f"{FIXTURES}.language_model")
        scene.autoencoder = check.create(ae_seed, n_instances=n_instances, target=f"{FIXTURES}.autoencoder")
        if not all(agree(value, scene.weights[name]) for name, value in scene.before.items()):
            raise Mistake("The autoencoder of this check was changed before your function was called.")
        return scene


def _encoder(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weights[name] for name in ("W_enc", "b_enc", "b_dec")}


def _before_relu(h: Tensor, W_enc: Tensor, b_enc: Tensor, b_dec: Tensor) -> Tensor:
    return torch.einsum("til,ilk->tik", h[:, None] - b_dec, W_enc) + b_enc


def _encoders(weights: Mapping[str, Tensor]) -> dict[str, Callable[[Tensor], Tensor]]:
    """From activations to latents, right and wrong."""
    W_enc, b_enc, b_dec = (weights[name] for name in ("W_enc", "b_enc", "b_dec"))
    none = torch.zeros(())
    return {
        "": lambda h: _before_relu(h, W_enc, b_enc, b_dec).relu(),
        "`b_dec` is not subtracted before the encoder": lambda h: _before_relu(h, W_enc, b_enc, none).relu(),
        "`b_enc` is left out": lambda h: _before_relu(h, W_enc, none, b_dec).relu(),
        "both biases of the encoder are left out": lambda h: _before_relu(h, W_enc, none, none).relu(),
        "instance 0 is used for every instance": lambda h: (
            _before_relu(h, W_enc, b_enc, b_dec)[:, :1].relu().expand(-1, len(b_dec), -1)
        ),
        "the ReLU is left out": lambda h: _before_relu(h, W_enc, b_enc, b_dec),
        "the latents come from the decoder (its transpose), not the encoder": lambda h: _before_relu(
            h, unit_rows(weights["W_dec"]).mT, b_enc, b_dec
        ).relu(),
    }


def _decoders(weights: Mapping[str, Tensor]) -> dict[str, Callable[[Tensor], Tensor]]:
    """From latents to reconstructions, right and wrong."""
    W_dec, b_dec = weights["W_dec"], weights["b_dec"]

    def decode(acts: Tensor, W: Tensor, bias: Tensor) -> Tensor:
        return torch.einsum("tik,ikl->til", acts, W) + bias

    unit = unit_rows(W_dec)
    return {
        "": lambda acts: decode(acts, unit, b_dec),
        "`b_dec` is not added to the reconstruction": lambda acts: decode(acts, unit, torch.zeros(())),
        "the decoder's rows are used as they are stored, not at unit length": lambda acts: decode(
            acts, W_dec, b_dec
        ),
        "the decoder of instance 0 is used for every instance": lambda acts: decode(
            acts, unit[:1].expand_as(unit), b_dec[:1]
        ),
    }


def _reconstructions(weights: Mapping[str, Tensor]) -> dict[str, Callable[[Tensor], Tensor]]:
    """From activations to reconstructions: right, and with one mistake."""
    encoders, decoders = _encoders(weights), _decoders(weights)
    result: dict[str, Callable[[Tensor], Tensor]] = {"": lambda h: decoders[""](encoders[""](h))}
    for phrase, encode in list(encoders.items())[1:]:
        result[phrase] = lambda h, encode=encode: decoders[""](encode(h))  # type: ignore[misc]
    for phrase, decode in list(decoders.items())[1:]:
        result[phrase] = lambda h, decode=decode: decode(encoders[""](h))  # type: ignore[misc]
    result["`b_dec` is lost: neither subtracted before the encoder nor added after the decoder"] = lambda h: (
        decoders["`b_dec` is not added to the reconstruction"](
            encoders["`b_dec` is not subtracted before the encoder"](h)
        )
    )
    result["instance 0's reconstruction is used for every instance"] = lambda h: decoders[""](
        encoders[""](h)
    )[:, :1].expand(-1, len(weights["b_dec"]), -1)
    return result


def _inputs(scene: Scene) -> dict[str, Tensor]:
    """What goes into the autoencoder: `tokens d_mlp`, right and wrong."""
    cache = scene.cache
    return {
        "": scene.h,
        "the activations *before* the activation function (`hook_pre`) are used": cache[
            "blocks.0.mlp.hook_pre"
        ].flatten(0, 1),
        "a ReLU is put on the activations": scene.h.relu(),
        "the first position of every text is left out": cache[MLP_HOOK][:, 1:].flatten(0, 1),
        "only the last position of every text is used": cache[MLP_HOOK][:, -1],
        "only the first text is used": cache[MLP_HOOK][0],
        "the last text is left out": cache[MLP_HOOK][:-1].flatten(0, 1),
    }


def _parts(check: Check, found: Any, names: Sequence[str]) -> list[Any]:
    """The fields of what a function returned: a named tuple, a plain one, a list or a dictionary."""
    listed = ", ".join(f"`{name}`" for name in names)
    if isinstance(found, dict) and set(names) <= set(found):
        return [found[name] for name in names]
    if isinstance(found, tuple | list):
        if len(found) == len(names):
            return list(found)
        raise Mistake(f"Your function returns {len(found)} things; expected {len(names)}: {listed}.")
    if found is None:
        raise Mistake("Your function returns nothing. Does it end with a `return`?")
    kind = "one tensor" if isinstance(found, Tensor) else f"a {_type_name(found)}"
    raise Mistake(f"Your function returns {kind}; expected {len(names)} things: {listed}.")


def _type_name(value: Any) -> str:
    return value.type_name if isinstance(value, Handle) else type(value).__name__


def _scalar(value: Any) -> Any:
    """A Python number as a tensor: for a single number both are fine. So is an axis of size 1."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return torch.tensor(value, dtype=torch.float64)
    if isinstance(value, Tensor) and value.shape == (1,):
        return value[0]
    return value


@contextmanager
def _whose(sentence: str) -> Iterator[None]:
    """Put a sentence in front of the mistakes inside."""
    try:
        yield
    except Mistake as mistake:
        mistake.message = f"{sentence} {mistake.message}"
        raise


# Exercise 4.1


@exercise(
    id="4.1",
    reference="activations.get_activations",
    also=("flatten_activations",),
    needs=NEEDS,
    title="The activations of the MLP",
    statement="""
So far the hidden vectors came from a toy model. Now they come from a language model: the autoencoder will read what
the neurons of its MLP say, *after* their activation function (a GELU), at every position of a text. Write two
functions:

- `get_activations` runs the model on `tokens` and returns these activations, `batch seq d_mlp`. TransformerLens has a
  hook at this place, `blocks.0.mlp.hook_post` (its name is in `MLP_HOOK`).
- `flatten_activations` puts all positions on one axis, `(batch seq) d_mlp`, because to the autoencoder each position is
  an input of its own. First come all positions of text 0, then all of text 1: later we shall look up which token a row
  belongs to.
""",
    hints=(
        "`model.run_with_cache(tokens)` returns the predictions and a cache of everything that was computed on the "
        "way. The cache is looked up by a hook's name, like a dictionary.",
        "Give `run_with_cache` the argument `names_filter=MLP_HOOK`, and it keeps only what you need. A text of many "
        "tokens would not fit into memory otherwise.",
        "To flatten, join the first two axes and leave the last one alone: einops' `rearrange` with `(batch seq)`, or "
        "`reshape`, or `flatten(0, 1)`. If you are tempted to transpose first, the order of the rows is lost.",
    ),
    difficulty=1,
    importance=5,
    minutes=10,
    points=2,
)
def get_activations(check: Check) -> None:
    for rows, seq in ((ROWS, SEQ), (3, 11)):
        scene = _scene(check, rows=rows, seq=seq)
        expected = scene.cache[MLP_HOOK]
        pre = scene.cache["blocks.0.mlp.hook_pre"]
        mistakes: dict[str, Alternative] = {
            "the activations *before* the activation function are returned (`hook_pre`, not `hook_post`)": pre,
            "the *output of the MLP* is returned (`hook_out`, after `W_out`), not its neurons": scene.cache[
                "blocks.0.mlp.hook_out"
            ],
            "a ReLU takes the place of the GELU": pre.relu(),
            "the activation function is applied twice": F.gelu(expected),
            "the positions are flattened already: that is the second function's work": expected.flatten(0, 1),
            "the positions are flattened already, and in the wrong order": expected.transpose(0, 1).flatten(
                0, 1
            ),
            "only the last position of every text is returned": expected[:, -1],
            "the first position of every text is left out": expected[:, 1:],
            "the first text is run without the others": expected[:1],
            "the input of the MLP is returned, not its neurons": scene.cache["blocks.0.ln2.hook_out"],
            "what the MLP reads is returned (`hook_resid_mid`), not its neurons": scene.cache[
                "blocks.0.hook_resid_mid"
            ],
            "what leaves the whole block is returned, not the MLP's neurons": scene.cache[
                "blocks.0.hook_out"
            ],
            "the predictions (logits) are returned": scene.logits(),
        }
        with explained(
            {
                "KeyError": "The cache holds nothing under this name. The hook is called `blocks.0.mlp.hook_post`, and "
                "`MLP_HOOK` holds the name.",
            }
        ):
            found = check.call(scene.tokens, scene.model)
        if isinstance(found, Handle) and "Cache" in found.type_name:
            raise Mistake(
                "Your function returns the whole cache. Look the activations up in it, by the hook's name."
            )
        if isinstance(found, tuple) and found:
            raise Mistake(
                "Your function returns several things. `run_with_cache` returns the predictions and the cache; return "
                "what the cache holds under the hook's name."
            )
        check.equal(
            found, expected, "batch seq d_mlp", "the neurons after the GELU, at every position", mistakes
        )
        scene.unharmed()
    for shape in ((5, 3, 7), (2, 11, 13)):
        acts = check.normal(*shape)
        flat = acts.reshape(-1, shape[-1])
        _check_flattened(check, acts, flat)
    # A view of other strides, as a cache may hold.
    acts = check.normal(3, 5, 7).transpose(0, 1)
    _check_flattened(check, acts, acts.reshape(-1, 7))


def _check_flattened(check: Check, acts: Tensor, flat: Tensor) -> None:
    batch, _, d_mlp = acts.shape
    other = acts.transpose(0, 1).reshape(-1, d_mlp)
    with _whose("`flatten_activations`:"):
        check.equal(
            check.call_also("flatten_activations", acts),
            flat,
            "tokens d_mlp",
            "flattened text by text, position by position",
            {
                "the order is wrong: all texts' first positions come first, then all second ones": other,
                "the axes are mixed: rows are cut from the numbers as if `d_mlp` came first": acts.permute(
                    2, 0, 1
                ).reshape(-1, d_mlp),
                "the axes are mixed: `seq` and `d_mlp` have changed places before the flattening": acts.transpose(
                    1, 2
                ).reshape(-1, d_mlp),
                "position and neuron are on one axis": acts.reshape(batch, -1),
                "`seq` and `d_mlp` are joined, in the place of `batch` and `seq`": acts.reshape(batch, -1).mT,
                "everything is on one axis: the neurons have to keep theirs": acts.flatten(),
                "nothing is flattened": acts,
                "the axis of the neurons comes first": flat.mT,
            },
        )


# Exercise 4.2


@exercise(
    id="4.2",
    reference="evaluation.get_feature_probability",
    needs=NEEDS,
    title="How often does each latent fire?",
    statement="""
A latent that fires on every token says nothing about any of them, and one that never fires says nothing at all. So the
first thing to measure is each latent's **firing rate**: the share of all tokens, over every text and position, on which
its activation is above zero. Return it for each instance and latent, `n_instances n_hidden_ae`.

How *strongly* a latent fires does not count here. The latents of all tokens at once may not fit into memory, so go
through the text `batch_rows` rows at a time.
""",
    hints=(
        "From tokens to latents: `get_activations(rows, model)`, then `inputs_for_all_instances(acts, autoencoder)`, "
        "which flattens and adds the axis of the instances, then `autoencoder(h).acts`.",
        "`acts > 0` is True where a latent fires. Its sum over the tokens counts how often.",
        "Add up the counts of all parts, and divide by the number of all tokens once, at the end: the last part may "
        "have fewer rows than the others, so the mean of the parts' means is something else.",
    ),
    difficulty=2,
    importance=5,
    minutes=15,
    points=3,
)
def get_feature_probability(check: Check) -> None:
    for n_instances, batch_rows in ((2, 5), (3, None)):
        scene = _scene(check, n_instances=n_instances)
        options = {} if batch_rows is None else {"batch_rows": batch_rows}
        chunk = (batch_rows or 16) * SEQ
        with explained(FORWARD):
            found = check.call(scene.tokens, scene.model, scene.autoencoder, **options)
        check.equal(
            found,
            (_encoders(scene.weights)[""](scene.h) > 0).double().mean(0),
            "n_instances n_hidden_ae",
            "the share of all tokens on which each latent fires, for every instance",
            variations(
                lambda h, encode, summary: summary(encode(h)),
                _inputs(scene),
                _encoders(scene.weights),
                _summaries_of_latents(chunk),
            ),
        )
        scene.unharmed()


def _summaries_of_latents(chunk: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """From the latents of all tokens to a number for each, right and wrong; `chunk` tokens are seen at a time."""

    def rates(acts: Tensor) -> Tensor:
        return (acts > 0).double().mean(0)

    def texts(acts: Tensor) -> Tensor:
        return (acts > 0).double().unflatten(0, (-1, SEQ)).amax(1).mean(0)

    def mean_of_means(acts: Tensor) -> Tensor:
        return torch.stack([rates(part) for part in acts.split(chunk)]).mean(0)

    def whole_parts(acts: Tensor) -> Tensor:
        return rates(acts[: len(acts) // chunk * chunk]) if len(acts) > chunk else rates(acts)

    return {
        "": rates,
        "the *mean activation* is taken, not the share of tokens": lambda acts: acts.double().mean(0),
        "the mean activation over the tokens on which the latent fires is taken": lambda acts: (
            acts.double().sum(0) / (acts > 0).sum(0).clamp_min(1)
        ),
        "tokens on which the activation is exactly 0 count as well (`>=` for `>`)": lambda acts: (
            (acts >= 0).double().mean(0)
        ),
        "the tokens on which the latent is *silent* are counted": lambda acts: (acts <= 0).double().mean(0),
        "the mean over the latents is taken too: one number for each instance": lambda acts: rates(acts).mean(
            -1
        ),
        "it is counted how many latents fire at once (L0), not how often each one does": lambda acts: rates(
            acts
        ).sum(-1),
        "only instance 0 is returned": lambda acts: rates(acts)[0],
        "the instances are averaged": lambda acts: rates(acts).mean(0),
        "the mean over latents is taken at every token": lambda acts: (acts > 0).double().mean(-1),
        "the tokens are counted, but not divided by how many there are": lambda acts: (
            (acts > 0).double().sum(0)
        ),
        "the count is divided by the number of rows, not of tokens": lambda acts: rates(acts) * SEQ,
        "tokens are counted twice": lambda acts: 2 * rates(acts),
        "the parts' means are averaged, although the last part is smaller": mean_of_means,
        "the means of the parts are added up": lambda acts: (
            mean_of_means(acts) * math.ceil(len(acts) / chunk)
        ),
        "only the last part of the rows counts: the counts are overwritten and not added up": lambda acts: (
            rates(acts.split(chunk)[-1])
        ),
        "only the last part of the rows is counted, and divided by the number of all tokens": lambda acts: (
            (acts.split(chunk)[-1] > 0).double().sum(0) / len(acts)
        ),
        "only the first part of the rows is counted": lambda acts: rates(acts[:chunk]),
        "the last, smaller part of the rows is left out": whole_parts,
        "the last, smaller part of the rows is left out of the count but not of the number of tokens": lambda acts: (
            whole_parts(acts) * (len(acts) // chunk * chunk) / len(acts)
        ),
        "a *text* counts, once, if the latent fires anywhere in it": texts,
        "the rates are divided by their sum": lambda acts: rates(acts) / rates(acts).sum(-1, keepdim=True),
        "it says whether the latent fires at all": lambda acts: (acts > 0).any(0).double(),
        "the largest activation is taken": lambda acts: acts.amax(0),
        "each token is kept on its own": lambda acts: (acts > 0).double(),
        "the activations themselves are returned": lambda acts: acts,
    }


# Exercise 4.3


@exercise(
    id="4.3",
    reference="evaluation.log_frequency_histogram",
    title="A histogram of firing rates",
    statement="""
Firing rates differ by orders of magnitude: one latent fires on half of all tokens, another one on three in a million.
So we look at them on a logarithmic scale. Put the rates' $\\log_{10}$ into `n_bins` bins of equal width, from the
smallest to the largest, and count **latents**: a bar of height 5 at $-3$ says that five latents fire on about every
thousandth token. It is a frequency of frequencies, and no token is counted any more.

Return `(counts, edges, n_dead)`. A latent that never fires has no logarithm: it is in no bin, and `n_dead` says how
many there are.
""",
    hints=(
        "Set the zeros apart before you take the logarithm, not after: `feature_probability[feature_probability > 0]`.",
        "`torch.histogram(values, n_bins)` returns the counts and the `n_bins + 1` edges. It wants floating-point "
        "numbers on the CPU.",
        "All counts and `n_dead` together must give the number of latents. And what if all latents are dead? Then "
        "there is no smallest rate: return counts of zero, with whatever edges you like.",
    ),
    difficulty=2,
    importance=3,
    minutes=10,
    points=2,
)
def log_frequency_histogram(check: Check) -> None:
    for latents, n_bins, dead in ((101, 13, 7), (67, 50, 19)):
        rates = _rates_apart_from_edges(check, latents, n_bins, dead)
        _check_histogram(
            check, rates, n_bins, check.call(rates, n_bins), "latents, counted by the power of ten"
        )
    rates = _rates_apart_from_edges(check, 83, 50, 5)
    _check_histogram(check, rates, 50, check.call(rates), "50 bins where nothing else is said")
    rates = _rates_apart_from_edges(check, 41, 11, 0)
    _check_histogram(check, rates, 11, check.call(rates, 11), "right where no latent is dead")
    with explained(
        {
            "": "If no latent fires your code raises an error. Then there is no smallest and no largest rate: return "
            "counts of zero, and all latents in `n_dead`."
        }
    ):
        counts, _, n_dead = _parts(check, check.call(torch.zeros(17), 5), ("counts", "edges", "n_dead"))
    with _whose("If no latent fires:"):
        check.equal(counts, torch.zeros(5), "bins", "nothing in any bin where all latents are dead")
        check.equal(_scalar(n_dead), torch.tensor(17.0), "", "", what="`n_dead`")


def _rates_apart_from_edges(check: Check, latents: int, n_bins: int, dead: int) -> Tensor:
    """Firing rates of two groups of latents, of which none lies where rounding could put it into the next bin."""
    while True:
        logs = torch.where(
            check.uniform(latents) < 0.4,
            -4.3 + 0.5 * check.normal(latents),
            -1.6 + 0.3 * check.normal(latents),
        ).clamp(-6.5, -0.1)
        rates = 10**logs
        rates[check.permutation(latents)[:dead]] = 0.0
        exact = rates[rates > 0].double().log10()
        places = (exact - exact.min()) / (exact.max() - exact.min()) * n_bins
        inner = places[(places > 0.01) & (places < n_bins - 0.01)]
        if len(inner) >= len(exact) - 2 and bool(((inner - inner.round()).abs() > 1e-3).all()):
            return rates


def _check_histogram(check: Check, rates: Tensor, n_bins: int, found: Any, claim: str) -> None:
    counts, edges, n_dead = _parts(check, found, ("counts", "edges", "n_dead"))
    alive, dead = rates[rates > 0].double(), int((rates == 0).sum())
    logs = alive.log10()
    low, high = logs.min().item(), logs.max().item()

    def histogram(values: Tensor, weight: Tensor | None = None, bins: int = n_bins) -> Tensor:
        counted = torch.histogram(values.double(), bins, weight=None if weight is None else weight.double())
        return counted.hist

    expected = histogram(logs)
    counts = check.tensor(counts, "`counts`")
    check.show(lambda: side_by_side(counts, expected, "bins"))
    found_edges = check.tensor(edges, "`edges`").double()
    width = max(high - low, 1e-9)
    names = {
        "natural logarithms": math.log(10),
        "logarithms to the base 2": math.log2(10),
    }
    for name, factor in names.items():
        # Where the zeros are in a bin as well, only the upper end is in its place.
        if abs(found_edges[-1].item() - high * factor) < 0.02 * width:
            raise Mistake(
                f"The edges are {name} (from {found_edges[0]:.2f} to {found_edges[-1]:.2f}); expected log10, from "
                f"{low:.2f} to {high:.2f}. At $-3$ there should stand what fires on every thousandth token."
            )
    if dead:
        smallest = -1e9 if not torch.isfinite(found_edges).all() else found_edges.min().item()
        total = counts.double().sum().item()
        if smallest < low - 1.5 or not math.isfinite(total) or abs(total - len(rates)) < 1e-6 < dead:
            raise Mistake(
                f"The latents that never fire are in a bin: your bins begin at {_short(smallest)}, but the smallest "
                f"rate above zero has the logarithm {low:.2f}. Set the zeros apart before you take the logarithm."
            )
    check.equal(
        counts,
        expected,
        "bins",
        claim,
        {
            "no logarithm is taken: the bins are of equal width on the plain scale": histogram(alive),
            "each latent counts with its firing rate: these are *tokens*, and each latent should count once": histogram(
                logs, alive
            ),
            "the counts are shares of all latents": expected / len(rates),
            "the counts are shares of the latents that fire": expected / len(alive),
            "the counts are a density (divided by their sum and by the width of a bin)": expected
            / expected.sum()
            / ((high - low) / n_bins),
            "the counts are added up from left to right": expected.cumsum(0),
            "the largest rate is in no bin: the last one has to contain its upper edge": torch.cat(
                [expected[:-1], expected[-1:] - 1]
            ),
            "the smallest rate is in no bin: the first one has to contain its lower edge": torch.cat(
                [expected[:1] - 1, expected[1:]]
            ),
            "the bins run from the largest rate to the smallest": expected.flip(0),
            "`n_bins` is not used, but always 50": histogram(logs, bins=50),
            "there are `n_bins` edges and one bin too few": histogram(logs, bins=n_bins - 1),
            "there is one bin too many": histogram(logs, bins=n_bins + 1),
            "the dead latents are counted in the first bin": torch.cat([expected[:1] + dead, expected[1:]]),
            "the latents' logarithms themselves are returned": logs,
            "the bins reach from the power of ten below the smallest rate to 1, not from the smallest to the largest": (
                torch.histogram(logs, n_bins, range=(math.floor(low), 0.0)).hist
            ),
            "the bins reach from the smallest rate to 1, not to the largest": torch.histogram(
                logs, n_bins, range=(low, 0.0)
            ).hist,
        },
        what="`counts`",
    )
    if found_edges.shape != (n_bins + 1,):
        raise Mistake(
            f"`edges` has the shape {shape_text(found_edges)}; {n_bins} bins have {n_bins + 1} edges, the last one "
            "included."
        )
    if torch.allclose(found_edges, 10 ** torch.linspace(low, high, n_bins + 1).double(), rtol=0.05):
        raise Mistake("The edges are rates; expected their logarithm to the base 10.")
    check.holds(
        torch.allclose(
            found_edges,
            torch.linspace(low, high, n_bins + 1).double(),
            atol=0.02 * width / n_bins + 1e-3,
            rtol=0,
        ),
        "the edges are powers of ten, from the smallest rate to the largest",
        f"The edges reach from {_short(found_edges[0].item())} to {_short(found_edges[-1].item())}; expected bins of "
        f"equal width from {low:.2f} to {high:.2f}, the logarithms of the smallest and the largest rate.",
    )
    n_dead = check.tensor(_scalar(n_dead), "`n_dead`")
    check.equal(
        n_dead,
        torch.tensor(float(dead)),
        "",
        "latents that never fire are kept apart",
        {
            "the latents that *do* fire are counted": torch.tensor(float(len(alive))),
            "the share of the dead latents is taken, not their number": torch.tensor(dead / len(rates)),
            "all latents are counted": torch.tensor(float(len(rates))),
        },
        what="`n_dead`",
    )


def _short(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) and abs(value) < 1e8 else "minus infinity"


# Exercise 4.4


@exercise(
    id="4.4",
    reference="evaluation.rare_direction_similarity",
    title="Do the rare latents point the same way?",
    statement="""
Many latents fire so rarely that it is hard to say what they are for. In the first autoencoders on a language model a
whole cluster of them turned out to share *one* direction of the encoder, and so to be of no use. What about the
decoder? Here is how to find out.

Take the decoder rows of the rare latents (firing rate below `rare_below`), each at unit length, and average them: that
is the **mean direction** of the rare ones. Then take the cosine similarity of each latent's decoder row with it. Return
the similarities of the rare latents and those of all latents: two histograms that the text will draw. If no latent is
rare there is no mean direction: raise a `ValueError` that says so.
""",
    hints=(
        "`rare = feature_probability < rare_below` is a mask of latents, and picks rows: `W_dec[rare]`. A dead latent "
        "is rare too.",
        "A long row would count more than a short one in the mean. So divide each row by its length first, along the "
        "last axis (`F.normalize`).",
        "The mean of unit vectors is shorter than 1, unless they all agree. Its length must not enter the cosine "
        "either: `F.cosine_similarity(rows, mean_direction, dim=-1)` takes care of both lengths.",
    ),
    difficulty=2,
    importance=3,
    minutes=10,
    points=2,
)
def rare_direction_similarity(check: Check) -> None:
    for latents, inputs, threshold in ((29, 7, 2**-7), (11, 13, None)):
        limit = 1e-4 if threshold is None else threshold
        W_dec, rates, rare = _rare_and_others(check, latents, inputs, limit)
        args = () if threshold is None else (threshold,)
        names = ("rare", "all")
        found = [
            check.tensor(part, f"`{name}`")
            for name, part in zip(names, _parts(check, check.call(W_dec, rates, *args), names), strict=True)
        ]
        _check_similarities(check, W_dec, rates, rare, found, limit)
    W_dec, rates, _ = _rare_and_others(check, 17, 5, 1e-4)
    try:
        found_anyway = check.call(W_dec, rates.clamp_min(0.1))
    except LearnerError:
        found_anyway = None
    else:
        raise Mistake(
            "Where no latent is rare there is no mean direction, but your function returns "
            f"{'NaN' if _has_nan(found_anyway) else 'a result'}. Raise a `ValueError` that says so."
        )
    check.holds(found_anyway is None, "an error that says so where no latent is rare", "")


def _has_nan(value: Any) -> bool:
    parts = value if isinstance(value, tuple | list) else [value]
    return any(
        isinstance(part, Tensor) and part.is_floating_point() and bool(part.isnan().any()) for part in parts
    )


def _rare_and_others(check: Check, latents: int, inputs: int, limit: float) -> tuple[Tensor, Tensor, Tensor]:
    """A decoder of rows of any length in which the rare latents agree a little, firing rates, and the rare ones' mask.

    One latent is dead, and two fire hardly ever. If the limit is a power of two, so that rounding does not matter, one
    latent fires exactly as often as it says, and is not rare.
    """
    rare = torch.zeros(latents, dtype=torch.bool)
    rare[check.permutation(latents)[: latents // 3 + 2]] = True
    common = check.normal(1, inputs)
    W_dec = check.normal(latents, inputs) + rare[:, None] * 0.8 * common
    W_dec *= check.uniform(latents, 1, low=0.2, high=4.0)
    rates = torch.where(
        rare,
        limit * check.uniform(latents, low=0.05, high=0.9),
        limit + check.uniform(latents, low=0.01, high=0.9),
    )
    rates[rare.nonzero()[1]] = 0.0
    rates[rare.nonzero()[2:4]] = 2e-5
    if math.frexp(limit)[0] == 0.5:
        rates[(~rare).nonzero()[0]] = limit
    return W_dec, rates, rare


def _check_similarities(
    check: Check, W_dec: Tensor, rates: Tensor, rare: Tensor, found: list[Tensor], limit: float
) -> None:
    unit = unit_rows(W_dec)

    def similarity(
        rows: Tensor, chosen: Tensor, average: Callable[[Tensor], Tensor], compared: Callable[..., Tensor]
    ) -> Tensor:
        return compared(average(rows[chosen]))

    all_latents = torch.ones_like(rare)
    rows = {
        "": unit,
        "the rows are averaged as they are: a long row counts more in the mean direction": W_dec,
        "the rows are normalized along the wrong axis (over the latents)": unit_rows(W_dec, 0),
    }
    chosen = {
        "": rare,
        "the mean direction is that of *all* latents": all_latents,
        "the mean direction is that of the latents that are *not* rare": ~rare,
        "a latent that fires exactly as often as the limit counts as rare (`<=` for `<`)": rates <= limit,
        "dead latents are not counted as rare": rare & (rates > 0),
        "the limit is not `rare_below`, but always 1e-4": rates < 1e-4,
        "only dead latents count as rare": rates == 0,
    }
    if limit == 1e-4:
        del chosen["the limit is not `rare_below`, but always 1e-4"]
    chosen = {phrase: mask for phrase, mask in chosen.items() if mask.any()}
    averages: dict[str, Callable[[Tensor], Tensor]] = {
        "": lambda part: part.mean(0),
        "the median is taken for the mean": lambda part: part.median(0).values,
        "the first rare latent is taken for the mean direction": lambda part: part[0],
        "the absolute values are averaged": lambda part: part.abs().mean(0),
    }
    compared: dict[str, Callable[..., Tensor]] = {
        "": lambda mean: unit @ unit_rows(mean),
        "the mean direction is not brought to unit length before the dot product": lambda mean: unit @ mean,
        "the decoder's rows are not brought to unit length before the dot product": lambda mean: (
            W_dec @ unit_rows(mean)
        ),
        "nothing is divided by its length: these are dot products": lambda mean: W_dec @ mean,
        "opposite directions count as similar (the absolute value is taken)": lambda mean: (
            unit @ unit_rows(mean)
        ).abs(),
        "the similarity is squared": lambda mean: (unit @ unit_rows(mean)).square(),
        "the *angle* is returned instead of its cosine": lambda mean: torch.acos(
            (unit @ unit_rows(mean)).clamp(-1, 1)
        ),
        "one minus the similarity is returned": lambda mean: 1 - unit @ unit_rows(mean),
    }
    mistakes = variations(similarity, rows, chosen, averages, compared)
    pairs = unit @ unit[rare].mT
    mistakes["each row is compared with every rare row"] = pairs
    expected = unit @ unit_rows(unit[rare].mean(0))
    names = ("`rare`", "`all`")
    if agree(found[0], expected) and agree(found[1], expected[rare]):
        raise Mistake(
            "The two results are in the wrong order: first those of the rare latents, then those of all."
        )
    for name, part, mask in zip(names, found, (rare, all_latents), strict=True):
        masked: dict[str, Alternative] = {
            "the similarities of *all* latents are returned for the rare ones": expected,
            "the others are set to 0 and not left out": torch.where(rare, expected, 0.0),
            "the similarities of the latents that are *not* rare are returned": expected[~rare],
            "only the similarities of the rare latents are returned": expected[rare],
            "the order of the latents is lost (sorted by size)": expected[mask].sort().values,
            "the order of the latents is lost (sorted, the largest first)": expected[mask]
            .sort(descending=True)
            .values,
        }
        for phrase, wrong in mistakes.items():
            masked[phrase] = lambda wrong=wrong, mask=mask: _masked(wrong, mask)  # type: ignore[misc]
            masked[f"{phrase}, for all latents"] = wrong
        check.equal(
            part,
            expected[mask],
            "n_rare" if name == "`rare`" else "n_hidden_ae",
            "the cosine with the mean direction of the rare rows, each at unit length",
            masked,
            what=name,
        )


def _masked(wrong: Alternative, mask: Tensor) -> Tensor | None:
    value = wrong() if callable(wrong) else wrong
    return None if value is None else value[mask]


# Exercise 4.5


@exercise(
    id="4.5",
    reference="evaluation.get_reconstruction_loss",
    needs=NEEDS,
    title="How good is the reconstruction?",
    statement="""
Three numbers say how much of the activations an autoencoder keeps:

- `loss`: the squared error of the reconstruction, mean over tokens *and* neurons, one number for each instance.
- `mean_squared_activation`: the mean square of the activations themselves. This is the loss of an autoencoder that
  always answers zero: without it nobody could say whether a loss of 0.016 is small.
- `cosine_similarity`: the cosine between the activation vector and its reconstruction, mean over tokens, for each
  instance. It asks for the direction only, and a reconstruction that is too short everywhere does not lower it.

Return `ReconstructionLoss(loss, mean_squared_activation, cosine_similarity)`.
""",
    hints=(
        "`inputs_for_all_instances(get_activations(tokens, model), autoencoder)` are the inputs, "
        "`tokens n_instances d_mlp`, and `autoencoder(h).h_reconstructed` has the same shape.",
        "For the loss the axis of the instances stays, and the mean goes over the two others: `dim=(0, 2)`. It is a "
        "*mean*, with no sum and no square root in it.",
        "The cosine is taken along the neurons (`F.cosine_similarity(…, dim=-1)`), for every token on its own, and "
        "averaged over the tokens afterwards.",
    ),
    difficulty=2,
    importance=4,
    minutes=10,
    points=3,
)
def get_reconstruction_loss(check: Check) -> None:
    names = ("loss", "mean_squared_activation", "cosine_similarity")
    for n_instances in (2, 3):
        scene = _scene(check, n_instances=n_instances)
        with explained(FORWARD):
            found = check.call(scene.tokens, scene.model, scene.autoencoder)
        loss, mean_square, cosine = _parts(check, found, names)
        rebuilds = _reconstructions(scene.weights)
        inputs = _inputs(scene)
        rebuilt = rebuilds[""](scene.h)
        losses, cosines = _loss_summaries(), _cosine_summaries()

        def summarized(
            h: Tensor, rebuild: Callable[[Tensor], Tensor], summary: Callable[..., Tensor]
        ) -> Tensor:
            return summary(h[:, None].expand(-1, n_instances, -1), rebuild(h))  # noqa: B023

        expected = losses[""](scene.h[:, None], rebuilt)
        mistakes = variations(summarized, inputs, rebuilds, losses)
        mean_of_squares = scene.h.square().mean()
        check.equal(
            loss, expected, "n_instances", "mean squared error, for each instance", mistakes, what="`loss`"
        )
        check.equal(
            _scalar(mean_square),
            mean_of_squares,
            "",
            "the mean squared activation to compare it with",
            {
                "the mean square is that of the *reconstructions*": rebuilt.square().mean(),
                "there is one number for each instance; the activations are the same for all": mean_of_squares.expand(
                    n_instances
                ),
                "the instances are added up": n_instances * mean_of_squares,
                "the square is summed over the neurons": scene.h.square().sum(-1).mean(),
                "the square is summed over everything": scene.h.square().sum(),
                "a square root is taken": mean_of_squares.sqrt(),
                "the mean activation is subtracted first: that is the variance": (scene.h - scene.h.mean(0))
                .square()
                .mean(),
                "the variance is taken": scene.h.var(),
                "the variance over everything is taken ": scene.h.var(correction=0),
                "the mean is squared, not the activations": scene.h.mean().square(),
                "the length of the activation vectors is taken": scene.h.norm(dim=-1).mean(),
                "the mean absolute activation is taken": scene.h.abs().mean(),
                "the activations *before* the activation function are used": inputs[
                    "the activations *before* the activation function (`hook_pre`) are used"
                ]
                .square()
                .mean(),
                "the squared error is taken, not the squared activation": expected.mean(),
            },
            what="`mean_squared_activation`",
        )
        check.equal(
            cosine,
            cosines[""](scene.h[:, None], rebuilt),
            "n_instances",
            "the mean cosine between activation and reconstruction",
            variations(summarized, inputs, rebuilds, cosines),
            what="`cosine_similarity`",
        )
        scene.unharmed()


def _loss_summaries() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    def squares(h: Tensor, rebuilt: Tensor) -> Tensor:
        return (h - rebuilt).square()

    return {
        "": lambda h, r: squares(h, r).mean((0, 2)),
        "the squared error is *summed* over the neurons": lambda h, r: squares(h, r).sum(-1).mean(0),
        "the squared error is *summed* over the tokens": lambda h, r: squares(h, r).sum(0).mean(-1),
        "the squared error is *summed* over everything but the instances": lambda h, r: squares(h, r).sum(
            (0, 2)
        ),
        "the instances are averaged": lambda h, r: squares(h, r).mean(),
        "the instances are added up": lambda h, r: squares(h, r).mean((0, 2)).sum(),
        "the mean over the neurons is missing": lambda h, r: squares(h, r).mean(0),
        "the mean over the tokens is missing": lambda h, r: squares(h, r).mean(-1),
        "a square root is taken at the end": lambda h, r: squares(h, r).mean((0, 2)).sqrt(),
        "the *length* of the error (the L2 norm) is averaged, not its mean square": lambda h, r: (
            squares(h, r).sum(-1).sqrt().mean(0)
        ),
        "the length of the error is taken over everything": lambda h, r: squares(h, r).sum((0, 2)).sqrt(),
        "the absolute error is taken, not the squared one": lambda h, r: (h - r).abs().mean((0, 2)),
        "the error is averaged before it is squared": lambda h, r: (h - r).mean((0, 2)).square(),
        "the error is halved": lambda h, r: squares(h, r).mean((0, 2)) / 2,
        "the error is divided by the mean squared activation": lambda h, r: (
            squares(h, r).mean((0, 2)) / h.square().mean()
        ),
        "the error is divided by the variance of the activations (that is the FVU)": lambda h, r: (
            squares(h, r).mean((0, 2)) / (h - h.mean(0)).square().mean((0, 2))
        ),
        "the activations are squared, not the error": lambda h, r: h.square().mean((0, 2)).expand(r.shape[1]),
        "the L1 penalty is added": lambda h, r: squares(h, r).mean((0, 2)) + 0.5 * r.abs().sum(-1).mean(0),
    }


def _cosine_summaries() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    def cosine(h: Tensor, r: Tensor, dim: int = -1) -> Tensor:
        return F.cosine_similarity(h.expand_as(r), r, dim=dim)

    return {
        "": lambda h, r: cosine(h, r).mean(0),
        "the cosine is taken along the *tokens*, for every neuron": lambda h, r: cosine(h, r, 0).mean(-1),
        "one cosine is taken over tokens and neurons together": lambda h, r: cosine(
            h.expand_as(r).transpose(0, 1).flatten(1), r.transpose(0, 1).flatten(1)
        ),
        "the mean over the tokens is missing": lambda h, r: cosine(h, r),
        "the instances are averaged": lambda h, r: cosine(h, r).mean(),
        "the cosines are summed over the tokens": lambda h, r: cosine(h, r).sum(0),
        "these are dot products, not divided by the lengths": lambda h, r: (h * r).sum(-1).mean(0),
        "the dot products are averaged, and only then divided by the mean lengths": lambda h, r: (
            (h * r).sum(-1).mean(0) / (h.norm(dim=-1).mean(0) * r.norm(dim=-1).mean(0))
        ),
        "the cosine of the mean vectors is taken": lambda h, r: cosine(h.mean(0), r.mean(0)),
        "the activation is compared with the *error*": lambda h, r: cosine(h, h - r).mean(0),
        "the mean activation is subtracted first": lambda h, r: cosine(h - h.mean(0), r - r.mean(0)).mean(0),
        "one minus the cosine (a distance) is returned": lambda h, r: 1 - cosine(h, r).mean(0),
        "the absolute value is taken": lambda h, r: cosine(h, r).abs().mean(0),
        "the cosine is squared": lambda h, r: cosine(h, r).square().mean(0),
    }


# Exercise 4.6

HOOK_CALL = {
    "unexpected keyword argument 'hook'": "TransformerLens calls a hook function with `hook=` by name: the second "
    "parameter has to be called `hook`.",
}


@exercise(
    id="4.6",
    reference="evaluation.reconstruction_hook",
    also=("zero_ablation_hook",),
    needs=NEEDS,
    title="Put something else in the activations' place",
    statement="""
A small squared error does not yet mean that nothing important was lost. So we let the language model go on with the
reconstruction in the place of its own activations, and see how much worse its predictions get. A **hook function** does
that: TransformerLens calls it with the activations (`value`, shape `batch seq d_mlp`) at the right moment, and goes on
with what it returns. Write two:

- `reconstruction_hook` returns what one instance of the autoencoder makes of `value`, in the shape that `value` has.
- `zero_ablation_hook` returns zeros: the model has to do without its MLP's neurons. The autoencoder should be better
  than nothing, and this is nothing.

`value` lies in the same memory as the model's own activations, so compute with new tensors, and do not write your
intermediate results into it.
""",
    hints=(
        "The autoencoder takes `tokens n_instances d_mlp`: `inputs_for_all_instances(value, autoencoder)` makes that.",
        "Of `h_reconstructed` take one instance: it is on the axis in the middle, `[:, instance]`.",
        "The tokens have to be spread over texts and positions again, in the order in which they were joined. "
        "`reshape(value.shape)` does that; for the zeros there is `torch.zeros_like`.",
    ),
    difficulty=2,
    importance=4,
    minutes=15,
    points=3,
)
def reconstruction_hook(check: Check) -> None:
    for n_instances, batch, seq in ((2, 5, 3), (3, 2, 11)):
        scene = _scene(check, n_instances=n_instances)
        # As hooks are called: the activations of some texts, on which the latents differ.
        value = (
            scene.cache[MLP_HOOK]
            .flatten(0, 1)[check.permutation(ROWS * SEQ)[: batch * seq]]
            .view(batch, seq, -1)
        )
        for instance in range(n_instances):
            _check_reconstructed(check, scene, value, instance)
        options = {"value": value, "autoencoder": scene.autoencoder}
        default, _ = _hooked(check, options, "reconstruction_hook")
        check.holds(
            isinstance(default, Tensor) and agree(default, _rebuilt(scene, value)[:, :, 0]),
            "instance 0 where nothing else is said",
            "Without the argument `instance` your hook should take instance 0; it returns something else.",
        )
        scene.unharmed()
    value = check.normal(5, 3, 7)
    with _whose("`zero_ablation_hook`:"):
        found, after = _hooked(check, {"value": value}, "zero_ablation_hook")
        check.equal(
            found,
            torch.zeros(5, 3, 7),
            "batch seq d_mlp",
            "zeros in the place of the activations",
            {
                "the activations are left as they are": value,
                "each neuron's *mean* takes its place (that is mean ablation)": value.mean((0, 1)).expand_as(
                    value
                ),
                "the mean over everything takes its place": value.mean().expand_as(value),
                "it holds ones": torch.ones_like(value),
                "one number takes the place of the whole tensor": torch.zeros(()),
                "only the last position is set to zero": torch.cat([value[:, :-1], 0 * value[:, -1:]], 1),
                "only the negative activations are set to zero (a ReLU)": value.relu(),
                "the sign is turned round": -value,
            },
        )
        _check_not_spoiled(check, value, after, torch.zeros(5, 3, 7))


def _rebuilt(scene: Scene, value: Tensor) -> Tensor:
    """`batch seq n_instances d_mlp`."""
    return _reconstructions(scene.weights)[""](value.flatten(0, 1)).unflatten(0, value.shape[:2])


def _hooked(check: Check, options: dict[str, Any], name: str) -> tuple[Any, Tensor]:
    """What a model would go on with: what the hook returns or, if that is nothing, the activations that it changed.

    And the activations afterwards.
    """
    value = options["value"]
    kept = check.create(value, target="torch.clone")
    others = {key: item for key, item in options.items() if key != "value"}
    call = (
        check.call
        if name == "reconstruction_hook"
        else lambda *args, **kw: check.call_also(name, *args, **kw)
    )
    with explained({**HOOK_CALL, **FORWARD}):
        found = call(kept, hook=None, **others)
    after = check.learner.get(kept, "data")
    if found is None:
        if torch.equal(after, value):
            raise Mistake(
                "Your hook returns nothing and has not changed `value` either, so the model would go on with its own "
                "activations. End it with a `return`."
            )
        found = after
    return found, after


def _check_not_spoiled(check: Check, before: Tensor, after: Any, expected: Tensor) -> None:
    if not isinstance(after, Tensor) or after.shape != before.shape:
        raise Mistake("Your hook changes the shape of `value` in place. Leave `value` as it is.")
    if not torch.equal(after, before) and not agree(after, expected):
        raise Mistake(
            "What your hook returns is right, but it writes an intermediate result into `value` (an operation in "
            "place, such as `-=` or `.sub_`). This is the memory of the model's own activations: whoever has cached "
            "them finds something else there. Compute with new tensors.",
            compare(after, before, "batch seq d_mlp"),
        )
    check.holds(True, "the model's own activations are not spoiled", "")


def _check_reconstructed(check: Check, scene: Scene, value: Tensor, instance: int) -> None:
    found, after = _hooked(
        check, {"value": value, "autoencoder": scene.autoencoder, "instance": instance}, "reconstruction_hook"
    )
    batch, seq, d_mlp = value.shape
    flat = value.flatten(0, 1)
    rebuilds = _reconstructions(scene.weights)
    right = rebuilds[""](flat)
    one = right[:, instance]
    expected = one.view(value.shape)
    mistakes: dict[str, Alternative] = {
        "the reconstruction is left flat, `(batch seq) d_mlp`: it needs the shape of `value`": one,
        "the axis of the instances is left": right.view(batch, seq, *right.shape[1:]),
        "the axis of the instances is left, and the tokens are left flat": right,
        "an axis of size 1 is left where the instances were": expected.unsqueeze(2),
        "the tokens are put back in the wrong order (position by position, not text by text)": one.view(
            seq, batch, d_mlp
        ).transpose(0, 1),
        "the texts and positions have changed places": one.view(seq, batch, d_mlp),
        "the instances are averaged": right.mean(1).view(value.shape),
        "the instances are added up": right.sum(1).view(value.shape),
        "the *error* is returned, not the reconstruction": value - expected,
        "the reconstruction is added to the activations": value + expected,
        "the activations are left as they are": value,
        "zeros are returned": torch.zeros_like(value),
        "the *latents* are returned, not the reconstruction": _encoders(scene.weights)[""](flat)[
            :, instance
        ].view(batch, seq, -1),
    }
    for other in range(scene.own.cfg.n_instances):
        if other != instance:
            whose = (
                "instance 0 is always used, whatever `instance` says"
                if other == 0
                else f"instance {other} is used"
            )
            mistakes[f"the wrong instance is used: {whose}, and not instance {instance}"] = right[
                :, other
            ].view(value.shape)
    for phrase, rebuild in list(rebuilds.items())[1:]:
        mistakes[phrase] = lambda rebuild=rebuild: rebuild(flat)[:, instance].view(value.shape)  # type: ignore[misc]
    check.equal(
        found, expected, "batch seq d_mlp", "the reconstruction of the right instance, in place", mistakes
    )
    _check_not_spoiled(check, value, after, expected)


# Exercise 4.7

LOSSES = ("clean", "reconstructed", "zero_ablated", "mean_ablated")


@exercise(
    id="4.7",
    reference="evaluation.get_substitution_loss",
    needs=NEEDS,
    title="What does the model lose?",
    statement="""
Now let the language model itself be the judge. Measure its loss (mean cross-entropy of the next token) on the same
tokens four times: as it is (`clean`), with one instance's reconstructions in its activations' place (`reconstructed`),
with zeros (`zero_ablated`), and with each neuron's mean over *all* of the tokens (`mean_ablated`). The last two say how
bad it would be to know nothing. One number then sums it up, the share of the loss that the autoencoder recovers:

$$\\text{recovered} = \\frac{\\text{zero ablated} - \\text{reconstructed}}{\\text{zero ablated} - \\text{clean}}$$

It is 1 for a perfect reconstruction and 0 for one that is as bad as zeros. Compared with mean ablation the same
autoencoder gets another number, so whoever reports one has to say which. Return
`SubstitutionLoss(clean, reconstructed, zero_ablated, mean_ablated, recovered)`.
""",
    hints=(
        '`model(tokens, return_type="loss")` is the clean loss. `model.run_with_hooks` takes the same arguments, and '
        "`fwd_hooks`, a list of pairs of a hook's name and a hook function.",
        "A hook function gets only `value` and `hook`. A small `lambda value, hook: …` that calls "
        "`reconstruction_hook` hands over the autoencoder and the instance; `functools.partial` does so too.",
        "The mean has to be known before the model runs with it: take it from `get_activations(tokens, model)`, over "
        "texts and positions (`dim=(0, 1)`), so that one number for each neuron is left. Its hook expands it to the "
        "shape of `value`.",
    ),
    difficulty=3,
    importance=5,
    minutes=20,
    points=4,
)
def get_substitution_loss(check: Check) -> None:
    for n_instances, instance in ((2, 1), (3, 2), (2, None)):
        scene = _scene(check, _telling, likely=True, n_instances=n_instances)
        args = () if instance is None else (instance,)
        with explained({**FORWARD, **HOOK_CALL}):
            found = check.call(scene.tokens, scene.model, scene.autoencoder, *args)
        parts = [_scalar(part) for part in _parts(check, found, (*LOSSES, "recovered"))]
        _check_losses(check, scene, parts, instance or 0)
        scene.unharmed()


def _telling(scene: Scene) -> bool:
    """The losses differ enough that none can be taken for another one."""
    losses = _losses(scene, 0)
    values = sorted(value.item() for value in losses.values())
    gaps = [right - left for left, right in itertools.pairwise(values)]
    return min(gaps) > 0.01 and losses["zero_ablated"].item() - losses["clean"].item() > 0.2


def _loss_of(logits: Tensor, tokens: Tensor) -> Tensor:
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).double(), tokens[:, 1:].flatten())


def _losses(scene: Scene, instance: int) -> dict[str, Tensor]:
    mean = scene.h.mean(0)
    replacements: dict[str, Callable[[Tensor], Tensor] | None] = {
        "clean": None,
        "reconstructed": lambda value: _rebuilt(scene, value)[:, :, instance],
        "zero_ablated": torch.zeros_like,
        "mean_ablated": lambda value: mean.expand_as(value),
    }
    return {name: _loss_of(scene.logits(replace), scene.tokens) for name, replace in replacements.items()}


def _check_losses(check: Check, scene: Scene, parts: list[Any], instance: int) -> None:
    right = _losses(scene, instance)
    tokens = scene.tokens
    names = {
        "clean": "the model as it is",
        "reconstructed": "with reconstructions",
        "zero_ablated": "with zeros",
        "mean_ablated": "with the mean over all tokens",
    }
    drawn = torch.stack([right[name] for name in LOSSES])
    found = [part for part in parts if isinstance(part, Tensor) and part.ndim == 0]
    if len(found) == len(parts):
        check.show(lambda: side_by_side(torch.stack([part.double() for part in found[:4]]), drawn, "losses"))
    for name, part in zip(LOSSES, parts, strict=False):
        part = check.tensor(part, f"`{name}`")
        others = {
            f"it is the loss that belongs into `{other}`": value
            for other, value in right.items()
            if other != name
        }
        check.equal(
            part,
            right[name],
            "",
            f"the loss of {names[name]}" if name == "clean" else f"the loss {names[name]}",
            {**_loss_mistakes(scene, name, instance, right[name], tokens), **others},
            # Losses of different mistakes lie close to one another.
            rtol=2e-5,
            what=f"`{name}`",
        )
    clean, reconstructed, zero, mean = (right[name] for name in LOSSES)
    recovered = (zero - reconstructed) / (zero - clean)
    check.equal(
        parts[4],
        recovered,
        "",
        "the share of the loss that is recovered, against zero ablation",
        {
            "it is one minus the share: what is *lost*": 1 - recovered,
            "the ratio is upside down": 1 / recovered,
            "the baseline is *mean* ablation; here zero ablation was asked for": (mean - reconstructed)
            / (mean - clean),
            "it is one minus the share, with mean ablation as the baseline": (reconstructed - clean)
            / (mean - clean),
            "it is a percentage": 100 * recovered,
            "the sign is turned round": -recovered,
            "it is the ratio of the reconstructed to the clean loss": reconstructed / clean,
            "it is the ratio of the clean to the reconstructed loss": clean / reconstructed,
            "it is the ratio of the reconstructed to the zero-ablated loss": reconstructed / zero,
            "it is what the reconstruction gains over zeros, not divided by what there is to gain": zero
            - reconstructed,
            "it is what the reconstruction loses, not divided": reconstructed - clean,
            "the gain is divided by the zero-ablated loss": (zero - reconstructed) / zero,
            "the gain is divided by the clean loss": (zero - reconstructed) / clean,
            "the gain is divided by the gain that mean ablation leaves": (zero - reconstructed)
            / (mean - clean),
            "it is kept between 0 and 1; a reconstruction may be worse than zeros": recovered.clamp(0, 1),
            "it is kept above 0; a reconstruction may be worse than zeros": recovered.clamp_min(0),
            "the two ablations are compared, without the reconstruction": (zero - mean) / (zero - clean),
        },
        what="`recovered`",
    )


def _loss_mistakes(
    scene: Scene, name: str, instance: int, right: Tensor, tokens: Tensor
) -> dict[str, Alternative]:
    """What may have gone wrong in one of the losses."""
    weights = scene.weights
    replacements: dict[str, Callable[[Tensor], Tensor] | None] = {"": None}
    if name == "reconstructed":
        replacements = {"": lambda value: _rebuilt(scene, value)[:, :, instance]}
        for other in range(scene.own.cfg.n_instances):
            if other != instance:
                replacements[f"instance {other} is used, not instance {instance}"] = (
                    lambda value, other=other: (  # type: ignore[misc]
                        _rebuilt(scene, value)[:, :, other]
                    )
                )
        for phrase, rebuild in list(_reconstructions(weights).items())[1:]:
            replacements[phrase] = lambda value, rebuild=rebuild: rebuild(value.flatten(0, 1))[
                :, instance
            ].view(  # type: ignore[misc]
                value.shape
            )
        replacements["the mean of the instances' reconstructions is used"] = lambda value: _rebuilt(
            scene, value
        ).mean(2)
        replacements["the error takes the activations' place, not the reconstruction"] = lambda value: (
            value - _rebuilt(scene, value)[:, :, instance]
        )
        replacements["the reconstructions are put back in the wrong order"] = lambda value: (
            _rebuilt(scene, value)[:, :, instance].reshape(value.shape[1], value.shape[0], -1).transpose(0, 1)
        )
    if name == "zero_ablated":
        replacements = {"": torch.zeros_like, "the activations become ones": torch.ones_like}
    if name == "mean_ablated":
        replacements = {
            "": lambda value: scene.h.mean(0).expand_as(value),
            "the mean is taken over the texts only, for each position on its own": lambda value: value.mean(
                0, keepdim=True
            ).expand_as(value),
            "the mean is taken over the positions only, for each text on its own": lambda value: value.mean(
                1, keepdim=True
            ).expand_as(value),
            "one mean is taken over all *neurons* too: each neuron has a mean of its own": lambda value: (
                value.mean().expand_as(value)
            ),
            "the mean is taken over the neurons, at each position": lambda value: value.mean(
                -1, keepdim=True
            ).expand_as(value),
            "the mean of the *reconstructions* is used": lambda value: (
                _rebuilt(scene, value)[:, :, instance].mean((0, 1)).expand_as(value)
            ),
            "the mean is *subtracted*, and does not take the activations' place": lambda value: (
                value - value.mean((0, 1))
            ),
            "the mean is that of the first text": lambda value: value[:1].mean((0, 1)).expand_as(value),
            "the mean is that of the activations before the activation function": lambda value: (
                scene.cache["blocks.0.mlp.hook_pre"].mean((0, 1)).expand_as(value)
            ),
            "`b_dec` is used as the mean": lambda value: weights["b_dec"][instance].expand_as(value),
            "the median is used, not the mean": lambda value: scene.h.median(0).values.expand_as(value),
        }
    mistakes: dict[str, Alternative] = {}
    for phrase, replace in replacements.items():
        if phrase:
            mistakes[phrase] = lambda replace=replace: _loss_of(scene.logits(replace), tokens)  # type: ignore[misc]
    main = replacements[""]
    if main is not None:
        mistakes["the output of the MLP is replaced (`hook_out`), which takes its bias away too"] = lambda: (
            _loss_of(scene.logits(lambda value: torch.zeros_like(value), "blocks.0.mlp.hook_out"), tokens)
        )
        mistakes["the activations *before* the activation function are replaced (`hook_pre`)"] = lambda: (
            _loss_of(scene.logits(main, "blocks.0.mlp.hook_pre"), tokens)
        )
        mistakes["the first position keeps its own activations"] = lambda: _loss_of(
            scene.logits(lambda value: torch.cat([value[:, :1], main(value)[:, 1:]], 1)), tokens
        )
        mistakes["only the last position's activations are replaced"] = lambda: _loss_of(
            scene.logits(lambda value: torch.cat([value[:, :-1], main(value)[:, -1:]], 1)), tokens
        )
    logits = scene.logits(main).double()
    half = len(tokens) // 2

    def summed() -> Tensor:
        return right * tokens[:, 1:].numel()

    mistakes |= {
        "each token's loss is *added up*, not averaged": summed,
        "the loss is added up over the positions and averaged over the texts": lambda: (
            right * (tokens.shape[1] - 1)
        ),
        "the loss is in bits, not in nats": lambda: right / math.log(2),
        "it is a perplexity, the exponential of the loss": right.exp,
        "the sign is turned round (this is the log-probability)": lambda: -right,
        "each prediction is compared with the *current* token, not with the next one": lambda: (
            F.cross_entropy(logits.flatten(0, 1), tokens.flatten())
        ),
        "the prediction is compared with the token *before*": lambda: F.cross_entropy(
            logits[:, 1:].flatten(0, 1), tokens[:, :-1].flatten()
        ),
        "it is measured on other tokens than the others: on the first half of the texts": lambda: _loss_of(
            logits[:half], tokens[:half]
        ),
        "it is measured on other tokens than the others: on the second half of the texts": lambda: _loss_of(
            logits[half:], tokens[half:]
        ),
        "it is measured on other tokens than the others: on the first text only": lambda: _loss_of(
            logits[:1], tokens[:1]
        ),
        "it is measured on other tokens than the others: the last text is missing": lambda: _loss_of(
            logits[:-1], tokens[:-1]
        ),
        "only the last prediction of every text is looked at": lambda: F.cross_entropy(
            logits[:, -2], tokens[:, -1]
        ),
        "there is one loss for each token, with no mean": lambda: F.cross_entropy(
            logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
        ).view(len(tokens), -1),
        "there is one loss for each text, with no mean over the texts": lambda: (
            F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
            .view(len(tokens), -1)
            .mean(-1)
        ),
    }
    return mistakes


# Exercise 4.8


@exercise(
    id="4.8",
    reference="interpretation.ablate_feature",
    needs=NEEDS,
    title="Take one latent away",
    statement="""
What would the model say if one latent did not exist? Run it twice: as it is, and with this one latent at zero. Return
the logits of the second run **minus** those of the first, `batch seq d_vocab`: a negative number says that without the
latent this token is less likely to come next.

Mind what else would change. If the reconstruction took the activations' place, the autoencoder's error would be gone
from them too, and its effect would be mixed up with that of the latent. So keep the error: the activations lose only
what this latent contributes, its activation times its direction (its decoder row, at unit length). The autoencoder
itself stays as it is.
""",
    hints=(
        "With the error kept, the new activations are `reconstruction without the latent + (h - reconstruction)`. Most "
        "of this cancels. What is left to do to `h`?",
        "On each token the latent contributes `acts[…, feature_idx]` times its row of `normalize_and_return_W_dec()`. "
        "On tokens where it does not fire, nothing changes.",
        "Write a hook function that gets the latent's activation from `inputs_for_all_instances(value, autoencoder)`, "
        "of the right instance, gives it the shape `batch seq` again, and subtracts activation times direction from "
        "`value`. Then compare `run_with_hooks` with the plain model.",
    ),
    difficulty=3,
    importance=4,
    minutes=20,
    points=4,
)
def ablate_feature(check: Check) -> None:
    for n_instances, instance in ((2, 1), (3, 2), (2, None)):
        scene = _scene(
            check,
            lambda scene, instance=instance or 0: bool(_telling_features(scene, instance)),  # type: ignore[misc]
            n_instances=n_instances,
        )
        feature = _telling_features(scene, instance or 0)[0]
        args = () if instance is None else (instance,)
        with explained({**FORWARD, **HOOK_CALL}):
            found = check.call(scene.tokens, scene.model, scene.autoencoder, feature, *args)
        with explained({"": "After your function has ended the model does not run any more."}):
            _unharmed_decoder(scene, feature, instance or 0)
        check.equal(
            found,
            _ablated(scene, feature, instance or 0),
            "batch seq d_vocab",
            "the change of the logits when only this latent is taken away",
            _ablation_mistakes(scene, feature, instance or 0),
            rtol=1e-3,
            atol=1e-4,
        )
        scene.unharmed()


def _unharmed_decoder(scene: Scene, feature: int, instance: int) -> None:
    """The special case of a changed autoencoder that this exercise invites."""
    now = scene.check.learner.get(scene.autoencoder, "W_dec")
    if isinstance(now, Tensor) and not torch.equal(now, scene.before["W_dec"]):
        row = now[instance, feature]
        if bool((row == 0).all()):
            raise Mistake(
                "The latent's decoder row was set to zero *for good*: the autoencoder has lost the latent when your "
                "function has ended. Leave its parameters alone, and subtract what the latent contributes in the hook."
            )


def _latent_on(scene: Scene, value: Tensor, feature: int, instance: int) -> Tensor:
    return _encoders(scene.weights)[""](value.flatten(0, 1))[:, instance, feature].view(value.shape[:2])


def _telling_features(scene: Scene, instance: int) -> list[int]:
    """The latents that fire on many tokens but not on all, and matter, however one encodes them.

    So do the latents of their numbers of the other instances.
    """
    encoders = [encode for phrase, encode in _encoders(scene.weights).items() if "ReLU" not in phrase]
    fires = torch.stack([encode(scene.h) > 0 for encode in encoders]).unflatten(1, scene.tokens.shape).float()
    rates, last = fires.mean((1, 2)), fires[:, :, -1].mean(1)
    telling = ((rates > 0.1) & (rates < 0.95) & (last > 0)).all(dim=(0, 1))
    # Neither the first latents, which have an instance's number, nor one that has no neuron of its number.
    telling[:4], telling[scene.h.shape[-1] :] = False, False
    return [
        feature
        for feature in telling.nonzero().flatten().tolist()
        if _ablated(scene, feature, instance).abs().max() > 0.1
    ]


def _ablated(scene: Scene, feature: int, instance: int) -> Tensor:
    direction = unit_rows(scene.weights["W_dec"])[instance, feature]
    without = scene.logits(
        lambda value: value - _latent_on(scene, value, feature, instance)[..., None] * direction
    )
    return without - scene.logits()


def _ablation_mistakes(scene: Scene, feature: int, instance: int) -> dict[str, Alternative]:
    weights = scene.weights
    W_dec, unit = weights["W_dec"], unit_rows(weights["W_dec"])
    clean = scene.logits()

    def changed(replace: Callable[[Tensor], Tensor], hook: str = MLP_HOOK) -> Callable[[], Tensor]:
        return lambda: scene.logits(replace, hook) - clean

    def minus(direction: Tensor, latent: Callable[[Tensor], Tensor] | None = None) -> Callable[[], Tensor]:
        find = latent or (lambda value: _latent_on(scene, value, feature, instance))
        return changed(lambda value: value - find(value)[..., None] * direction)

    def rebuilt_without(value: Tensor) -> Tensor:
        return (
            _rebuilt(scene, value)[:, :, instance]
            - _latent_on(scene, value, feature, instance)[..., None] * unit[instance, feature]
        )

    def wrongly_encoded(phrase: str) -> Callable[[Tensor], Tensor]:
        encode = _encoders(weights)[phrase]
        return lambda value: encode(value.flatten(0, 1))[:, instance, feature].view(value.shape[:2])

    def latent_of(whose: int, number: int) -> Callable[[Tensor], Tensor]:
        return lambda value: _latent_on(scene, value, number, whose)

    def contribution(value: Tensor) -> Tensor:
        return _latent_on(scene, value, feature, instance)[..., None] * unit[instance, feature]

    direction = unit[instance, feature]
    expected = _ablated(scene, feature, instance)
    ablated = expected + clean
    mistakes: dict[str, Alternative] = {
        "nothing is ablated: does the hook return its result?": torch.zeros_like(expected),
        "the autoencoder's *error* is lost: its reconstruction takes the activations' place": changed(
            rebuilt_without
        ),
        "the error of the autoencoder is lost, and `b_dec` too": changed(
            lambda value: rebuilt_without(value) - weights["b_dec"][instance]
        ),
        "the reconstruction takes the activations' place, with the latent in it": changed(
            lambda value: _rebuilt(scene, value)[:, :, instance]
        ),
        "the reconstruction without the latent is compared with the whole *reconstruction*, so that the latent works "
        "on activations without the error": lambda: (
            scene.logits(rebuilt_without) - scene.logits(lambda value: _rebuilt(scene, value)[:, :, instance])
        ),
        "the sign is turned round: these are the clean logits minus the ablated ones": -expected,
        "the ablated logits are returned, with nothing to compare them with": ablated,
        "the clean logits are returned": clean,
        "the latent is *added* once more, not taken away": changed(lambda value: value + contribution(value)),
        "only what the latent contributes is *kept*: everything else is taken away": changed(contribution),
        "the decoder row is used as it is stored, not at unit length": minus(W_dec[instance, feature]),
        "the latent's *encoder* direction is subtracted, not its decoder row": minus(
            weights["W_enc"][instance, :, feature]
        ),
        "the latent's encoder direction at unit length is subtracted, not its decoder row": minus(
            unit_rows(weights["W_enc"][instance, :, feature])
        ),
        "the direction is subtracted once on every token, however strongly the latent fires": minus(
            direction, lambda value: torch.ones(value.shape[:2])
        ),
        "the direction is subtracted once where the latent fires, however strongly": minus(
            direction, lambda value: (_latent_on(scene, value, feature, instance) > 0).float()
        ),
        "the latent's *mean* activation is subtracted everywhere": minus(
            direction,
            lambda value: _latent_on(scene, value, feature, instance).mean().expand(value.shape[:2]),
        ),
        "the part of the activations along the latent's direction is removed (a projection), not what the latent "
        "contributes": minus(direction, lambda value: value @ direction),
        "all latents are set to zero": changed(
            lambda value: value - _rebuilt(scene, value)[:, :, instance] + weights["b_dec"][instance]
        ),
        "the whole reconstruction is subtracted": changed(
            lambda value: value - _rebuilt(scene, value)[:, :, instance]
        ),
        "`b_dec` is subtracted as well": changed(
            lambda value: value - contribution(value) - weights["b_dec"][instance]
        ),
        "the latent is taken away on the last position only": changed(
            lambda value: torch.cat([value[:, :-1], (value - contribution(value))[:, -1:]], 1)
        ),
        "the latent is taken away on the first position only": changed(
            lambda value: torch.cat([(value - contribution(value))[:, :1], value[:, 1:]], 1)
        ),
        "the activations are put back in the wrong order: `batch` and `seq` were mixed up": changed(
            lambda value: (
                value
                - _latent_on(scene, value, feature, instance)
                .reshape(value.shape[1], value.shape[0])
                .mT[..., None]
                * direction
            )
        ),
        "the neuron of the same number is set to zero, not the latent": changed(
            lambda value: value * (torch.arange(value.shape[-1]) != feature)
        ),
        "the change in *probabilities* is returned, not in logits": lambda: (
            ablated.softmax(-1) - clean.softmax(-1)
        ),
        "the change in *log-probabilities* is returned, not in logits": lambda: (
            ablated.log_softmax(-1) - clean.log_softmax(-1)
        ),
        "the absolute change is returned": expected.abs,
        "the mean over texts and positions is returned": lambda: expected.mean((0, 1)),
        "only the last position's logits are returned": lambda: expected[:, -1],
        "the latent's direct effect through `W_out` and `W_U` is returned, without the LayerNorm": lambda: (
            -contribution(scene.cache[MLP_HOOK])
            @ scene.own_model.blocks[0].mlp.W_out.detach()
            @ scene.own_model.W_U.detach()
        ),
        "it is done before the activation function (`hook_pre`)": changed(
            lambda value: value - contribution(value), "blocks.0.mlp.hook_pre"
        ),
    }
    for phrase in list(_encoders(weights))[1:]:
        mistakes[phrase] = minus(direction, wrongly_encoded(phrase))
    for other in range(scene.own.cfg.n_instances):
        if other != instance:
            theirs = latent_of(other, feature)
            mistakes[f"the latent of instance {other} is taken away, not that of instance {instance}"] = (
                minus(unit[other, feature], theirs)
            )
            mistakes[
                f"the activation is that of instance {other}, and the direction that of instance {instance}"
            ] = minus(direction, theirs)
            mistakes[
                f"the direction is that of instance {other}, and the activation that of instance {instance}"
            ] = minus(unit[other, feature])
    for other in (feature - 1, (feature + 1) % unit.shape[1], 0):
        mistakes[f"another latent is taken away (number {other}, not {feature})"] = minus(
            unit[instance, other], latent_of(instance, other)
        )
    return mistakes


# Exercise 4.9

TRAINING_SIZES = {"d_vocab": 53}
TRAINING_ROWS, TRAINING_SEQ, BATCH, STEPS = 41, 7, 11, 80
LR, L1 = 1e-2, 0.4


@exercise(
    id="4.9",
    reference="activations.train_on_activations",
    needs=NEEDS,
    title="Train your own",
    statement="""
Everything so far was measured on somebody else's autoencoder. Now train one of your own, with `factor` latents for each
neuron of the MLP. What is new is where the batches come from. The activations of neighboring tokens are alike, so a
batch of one text would show the autoencoder the same thing a thousand times. Therefore batches are mixed from many
texts, and no activation comes twice before all the others had their turn: that is what `ActivationBuffer` is for.

Make the buffer and the autoencoder, take `steps` steps of Adam on its `loss`, and bring the decoder rows back to unit
length after *every* step, in the parameter itself. The same `seed` shall give the same autoencoder. Return the
autoencoder and a log of the training.
""",
    hints=(
        "`iter(ActivationBuffer(tokens, model, batch_size, seed=seed))` never ends, and `next(…)` takes the next batch "
        "from it, `batch d_mlp`. How many neurons the MLP has you see on the last axis of `get_activations(tokens[:1], "
        "model)`.",
        "The autoencoder's input has an axis for the instances, and all of them see the same batch: "
        "`batch[:, None].expand(-1, n_instances, -1)`. `torch.manual_seed(seed)` before you make the autoencoder.",
        "`train(compute_loss, autoencoder.parameters(), steps, lr=lr, …)` is the training loop of chapters 1 and 2. "
        "Its `after_step=` takes a function of `(step, optimizer)`: the place for `autoencoder.normalize_decoder()`. A "
        "loop of your own is just as good.",
        "`compute_loss` is a function without arguments that takes the next batch and returns `autoencoder(h).loss`.",
    ),
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
        options = {"n_instances": 2, "l1_coeff": L1, "steps": STEPS, "batch_size": BATCH, "lr": LR, "seed": 3}
        options |= {"factor": 3, "progress": False}
        with explained(
            {
                "leaf Variable": "The decoder can be normalized in place only under `torch.no_grad()`; "
                "`autoencoder.normalize_decoder()` does that.",
                "does not require grad": "The loss has no gradient: was it computed under `torch.no_grad()`?",
            }
        ):
            found = check.call(tokens, model, **options)
        record = check.method(calls, "stop")
    finally:
        check.method(calls, "stop")
    autoencoder = _trained(check, found)
    _check_sizes(check, autoencoder, acts.shape[-1])
    _check_fed(check, record, acts)
    _check_steps(check, record)
    _check_decoder(check, autoencoder, record)
    _check_learned(check, autoencoder, own_model, tokens, acts, options)
    check.holds(
        check.learner.call(f"{FIXTURES}.hooks_left", model) == 0,
        "",
        "After the training a hook is still on the model. After `add_hook` call `model.reset_hooks()`.",
    )
    short = {**options, "steps": 3}
    weights = []
    for seed in (5, 5, 6):
        trained = _trained(check, check.call(tokens, model, **{**short, "seed": seed}))
        weights.append(check.tensor(check.learner.get(trained, "W_enc"), "`W_enc`"))
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


def _training_scene(check: Check) -> tuple[Handle, TransformerBridge, Tensor, Tensor]:
    """A text in which no two positions have the same activations, so that each can be recognized."""
    while True:
        seed = _number(check)
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
        f"Your function returns a {_type_name(found)}{alone}; expected a pair, the autoencoder and the log of its "
        "training."
    )


def _check_sizes(check: Check, autoencoder: Handle, d_mlp: int) -> None:
    W_enc = check.learner.get(autoencoder, "W_enc")
    if not isinstance(W_enc, Tensor):
        raise Mistake(
            f"The first thing that you return is a {autoencoder.type_name}, and not an autoencoder."
        )
    wanted = torch.empty(2, d_mlp, 3 * d_mlp)
    if W_enc.shape != wanted.shape:
        instances, inputs, latents = W_enc.shape if W_enc.ndim == 3 else (0, 0, 0)
        axes = "n_instances n_input_ae n_hidden_ae"
        details = [f"`W_enc`: expected {shape_text(wanted, axes)}, got {shape_text(W_enc)}"]
        if (instances, inputs) == (2, d_mlp):
            raise Mistake(
                f"The autoencoder has {latents} latents; expected `factor` times as many as neurons, 3 · {d_mlp}.",
                details,
            )
        if inputs == d_mlp:
            raise Mistake(f"The autoencoder has {instances} instances; `n_instances` is 2.", details)
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


def _check_steps(check: Check, record: dict[str, Any]) -> None:
    """Adam's first step moves every weight by the learning rate, and each step has the gradient of its own batch."""
    before, between = record["weights"][0], record["weights"][1]
    moved = (between["W_enc"] - before["W_enc"]).abs().max().item()
    if moved == 0:
        raise Mistake(
            "The encoder does not change. Are `loss.backward()` and `optimizer.step()` called in every step?"
        )
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
    if off > 1e-4:
        # Normalizing once a step lets a row grow by one step only.
        if off < 3 * LR * math.sqrt(W_dec.shape[-1]) and drift.max() < 3 * LR * math.sqrt(W_dec.shape[-1]):
            raise Mistake(
                "The decoder rows are normalized *before* each step and not after it, so that the trained decoder is "
                "one step away from unit length.",
                details,
            )
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
