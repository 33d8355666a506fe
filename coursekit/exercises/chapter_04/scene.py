"""What the checks of chapter 4 share: a tiny language model with an autoencoder on its MLP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from coursekit.checking import fixtures
from coursekit.checking.claims import Check, Mistake, agree
from coursekit.checking.door import Handle
from coursekit.checking.phrases import unit_rows
from part_utils.activations import MLP_HOOK
from part_utils.autoencoder import AutoEncoder

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


FIXTURES = "coursekit.checking.fixtures"


NEEDS = ("transformer_lens.model_bridge",)


ROWS, SEQ = 23, 7


WEIGHTS = ("W_enc", "W_dec", "b_enc", "b_dec")


PLAIN_RELU = (
    "the latents are computed by hand, with a ReLU; but these latents fire above *thresholds* of their own, "
    "as those of the notebook's do. `autoencoder(…).acts` gives them, whatever the kind"
)


FORWARD = {
    "no attribute 'size'": "Something that is no tensor was used as one. `autoencoder(h)` returns five things: take "
    "`.acts` or `.h_reconstructed` of it.",
    "tuple indices must be integers": "`autoencoder(h)` returns five things: take `.acts` or `.h_reconstructed` of it.",
    "The inputs have shape": "The autoencoder's input has an axis for the instances, `tokens n_instances d_mlp`, "
    "and needs the activations for each of them: `inputs_for_all_instances(…, autoencoder)`, or "
    "`expand(-1, n_instances, -1)`.",
    "'AutoEncoderOutput'": "`autoencoder(h)` returns five things: take `.acts` or `.h_reconstructed` of it.",
}


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
        return {name: self.check.learner.get(self.autoencoder, name) for name in self.weights}

    @property
    def weights(self) -> dict[str, Tensor]:
        return weights_of(self.own)

    @property
    def h(self) -> Tensor:
        """The activations after the activation function: `tokens d_mlp`."""
        return self.cache[MLP_HOOK].flatten(0, 1)

    @torch.no_grad()
    def logits(self, replace: Callable[[Tensor], Tensor] | None = None, hook: str = MLP_HOOK) -> Tensor:
        """Return the model's predictions, with other activations in a hook's place."""
        hooks: list[Any] = [(hook, lambda value, hook: replace(value))] if replace else []
        return self.own_model.run_with_hooks(self.tokens, return_type="logits", fwd_hooks=hooks)

    @torch.no_grad()
    def change(self, **weights: Tensor) -> None:
        """Give the autoencoder other weights, on both sides, before the learner's code sees it."""
        self.check.learner.set(self.autoencoder, **weights)
        for name, value in weights.items():
            getattr(self.own, name).copy_(value)
            self.before[name] = self.check.learner.get(self.autoencoder, name)

    def unharmed(self) -> None:
        """Check that the learner's code has left the model and the autoencoder as they were."""
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


def random_number(check: Check) -> int:
    return int(torch.randint(2**31, (), generator=check.generator))


def make_scene(
    check: Check,
    suits: Callable[[Scene], bool] = lambda scene: True,
    likely: bool = False,
    n_instances: int = 2,
    rows: int = ROWS,
    seq: int = SEQ,
    thresholds: bool = False,
) -> Scene:
    """Return a scene that suits an exercise, and in which no latent is so near to firing that rounding could decide.

    With `likely` the text is the model's own, so that the model does worse without its MLP. With `thresholds` the
    latents fire above thresholds of their own, as those of the autoencoders do that the notebook loads.
    """
    kind = {"n_instances": n_instances, "thresholds": thresholds}
    while True:
        seed = random_number(check)
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
            ae_seed = random_number(check)
            own = fixtures.autoencoder(ae_seed, **kind)
            scene = Scene(check, Handle(-1, ""), own_model, tokens, own_cache, Handle(-1, ""), own)
            if clearly_on_or_off(scene.h, scene.weights) and suits(scene):
                break
        else:
            continue
        scene.model = check.create(seed, target=f"{FIXTURES}.language_model")
        scene.autoencoder = check.create(ae_seed, **kind, target=f"{FIXTURES}.autoencoder")
        if not all(agree(value, scene.weights[name]) for name, value in scene.before.items()):
            raise Mistake("The autoencoder of this check was changed before your function was called.")
        return scene


def weights_of(autoencoder: AutoEncoder) -> dict[str, Tensor]:
    """Return the weights under their names, thresholds among them where there are some."""
    return {
        name: getattr(autoencoder, name).detach()
        for name in (*WEIGHTS, "threshold")
        if hasattr(autoencoder, name)
    }


def clearly_on_or_off(h: Tensor, weights: Mapping[str, Tensor]) -> bool:
    """Say whether no latent is so near to 0 or its threshold that rounding could decide whether it fires."""
    before = before_relu(h, **encoder_weights(weights))
    near = torch.minimum(before.abs(), (before - weights.get("threshold", 0)).abs())
    return bool((near > 2e-5).all())


def encoder_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: weights[name] for name in ("W_enc", "b_enc", "b_dec")}


def before_relu(h: Tensor, W_enc: Tensor, b_enc: Tensor, b_dec: Tensor) -> Tensor:
    return torch.einsum("til,ilk->tik", h[:, None] - b_dec, W_enc) + b_enc


def wrong_encoders(weights: Mapping[str, Tensor]) -> dict[str, Callable[[Tensor], Tensor]]:
    """From activations to latents, right and wrong."""
    W_enc, b_enc, b_dec = (weights[name] for name in ("W_enc", "b_enc", "b_dec"))
    none = torch.zeros(())

    def fire(before: Tensor) -> Tensor:
        return before.relu() * (before > weights.get("threshold", 0))

    encoders: dict[str, Callable[[Tensor], Tensor]] = {
        "": lambda h: fire(before_relu(h, W_enc, b_enc, b_dec)),
        "`b_dec` is not subtracted before the encoder": lambda h: fire(before_relu(h, W_enc, b_enc, none)),
        "`b_enc` is left out": lambda h: fire(before_relu(h, W_enc, none, b_dec)),
        "both biases of the encoder are left out": lambda h: fire(before_relu(h, W_enc, none, none)),
        "instance 0 is used for every instance": lambda h: fire(before_relu(h, W_enc, b_enc, b_dec))[
            :, :1
        ].expand(-1, len(b_dec), -1),
        "the ReLU is left out": lambda h: before_relu(h, W_enc, b_enc, b_dec),
        "the latents come from the decoder (its transpose), not the encoder": lambda h: fire(
            before_relu(h, unit_rows(weights["W_dec"]).mT, b_enc, b_dec)
        ),
    }
    if "threshold" in weights:
        encoders[PLAIN_RELU] = lambda h: before_relu(h, W_enc, b_enc, b_dec).relu()
    return encoders


def wrong_decoders(weights: Mapping[str, Tensor]) -> dict[str, Callable[[Tensor], Tensor]]:
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


def wrong_reconstructions(weights: Mapping[str, Tensor]) -> dict[str, Callable[[Tensor], Tensor]]:
    """From activations to reconstructions: right, and with one mistake."""
    encoders, decoders = wrong_encoders(weights), wrong_decoders(weights)
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


def wrong_inputs(scene: Scene) -> dict[str, Tensor]:
    """Return what goes into the autoencoder: `tokens d_mlp`, right and wrong."""
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
        "only the first ten texts are used": cache[MLP_HOOK][:10].flatten(0, 1),
        "the last text is left out": cache[MLP_HOOK][:-1].flatten(0, 1),
    }


def parts_of(check: Check, found: Any, names: Sequence[str]) -> list[Any]:
    """Return the fields of what a function returned: a named tuple, a plain one, a list or a dictionary."""
    listed = ", ".join(f"`{name}`" for name in names)
    if isinstance(found, dict) and set(names) <= set(found):
        return [found[name] for name in names]
    if isinstance(found, tuple | list):
        if len(found) == len(names):
            return list(found)
        raise Mistake(f"Your function returns {len(found)} things; expected {len(names)}: {listed}.")
    if found is None:
        raise Mistake("Your function returns nothing. Does it end with a `return`?")
    kind = "one tensor" if isinstance(found, Tensor) else f"a {type_name(found)}"
    raise Mistake(f"Your function returns {kind}; expected {len(names)} things: {listed}.")


def type_name(value: Any) -> str:
    return value.type_name if isinstance(value, Handle) else type(value).__name__


def scalar(value: Any) -> Any:
    """Return a Python number as a tensor: for a single number both are fine. So is an axis of size 1."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return torch.tensor(value, dtype=torch.float64)
    if isinstance(value, Tensor) and value.shape == (1,):
        return value[0]
    return value


@contextmanager
def concerning(sentence: str) -> Iterator[None]:
    """Put a sentence in front of the mistakes inside."""
    try:
        yield
    except Mistake as mistake:
        mistake.message = f"{sentence} {mistake.message}"
        raise


HOOK_CALL = {
    "unexpected keyword argument 'hook'": "TransformerLens calls a hook function with `hook=` by name: the second "
    "parameter has to be called `hook`.",
}


def rebuilt_value(scene: Scene, value: Tensor) -> Tensor:
    """`batch seq n_instances d_mlp`."""
    return wrong_reconstructions(scene.weights)[""](value.flatten(0, 1)).unflatten(0, value.shape[:2])
