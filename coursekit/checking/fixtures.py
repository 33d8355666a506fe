"""What checks need on the learner's side of the door: it looks at objects that stay there, or makes them.

A check reaches these by their dotted names, with handles. Tensors and plain values come back.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
from part_utils.circuits import FrozenPrompt
from part_utils.transcoder import Transcoder
from part_utils.variants.jumprelu import JumpReLUAutoEncoder

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from part_utils.deep_models import SteeringEffect
    from part_utils.hypotheses import Feature

MOMENTS = ("exp_avg", "exp_avg_sq")
# Sizes that differ from one another, so that no axis can be taken for another one; d_head is 5.
LANGUAGE_MODEL = {
    "n_layers": 1,
    "d_model": 10,
    "n_heads": 2,
    "d_head": 5,
    "d_mlp": 13,
    "d_vocab": 17,
    "n_ctx": 11,
    "act_fn": "gelu",
    "normalization_type": "LN",
}


class Parameters:
    """Holds the parameter objects of a module, as an optimizer does, and moves them.

    Whether an optimizer would reach a module's values a check sees by them, and not by what is said here.
    """

    def __init__(self, module: Any) -> None:
        self._held = dict(module.named_parameters()) if isinstance(module, nn.Module) else {}

    def holds(self, name: str) -> bool:
        """Say whether there is a parameter of this name that takes gradients: for `meta`, where there are no values."""
        return name in self._held and bool(self._held[name].requires_grad)

    @torch.no_grad()
    def step(self, **steps: Tensor) -> None:
        """Add a step to every parameter that is held and takes gradients, by the name that it had."""
        for name, step in steps.items():
            parameter = self._held.get(name)
            if parameter is not None and parameter.requires_grad and parameter.shape == step.shape:
                # In place this would fail where several numbers lie in the same memory, about which checks say more.
                parameter.data = (parameter.data + step).to(parameter.dtype)


def adam(module: nn.Module, seed: int | None, in_groups: bool = False) -> torch.optim.Adam:
    """Return an optimizer for the module: after some steps, with random moments, or before the first (seed None).

    Args:
        module: whose parameters it holds.
        seed: where the moments come from.
        in_groups: hold the parameters in two groups, and let them have gradients.
    """
    # Made as unpickling would make it: the constructor loads torch's compiler, which takes seconds.
    optimizer = torch.optim.Adam.__new__(torch.optim.Adam)
    settings = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    parameters = list(module.parameters())
    held = [parameters[:1], parameters[1:]] if in_groups else [parameters]
    groups = [{"params": group, **settings} for group in held]
    optimizer.__setstate__({"defaults": settings, "state": defaultdict(dict), "param_groups": groups})
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        for parameter in module.parameters():
            optimizer.state[parameter] = {
                "step": torch.tensor(100.0),
                "exp_avg": torch.randn(parameter.shape, generator=generator),
                "exp_avg_sq": torch.rand(parameter.shape, generator=generator) + 0.1,
            }
            if in_groups:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
    return optimizer


def beside_the_state(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """Return the gradients of a module's parameters, by name, and the optimizer's learning rates as `lr`."""
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    rates = torch.tensor([group["lr"] for group in optimizer.param_groups])
    return {name: gradient for name, gradient in gradients.items() if gradient is not None} | {"lr": rates}


def adam_state(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Return what the optimizer remembers of every parameter, by the parameter's name."""
    return {
        name: {key: torch.as_tensor(value) for key, value in optimizer.state.get(parameter, {}).items()}
        for name, parameter in module.named_parameters()
    }


def language_model(seed: int, sink: bool | int = False, **sizes: int) -> TransformerBridge:
    """Return a tiny language model with random weights, in which no bias is zero.

    The same seed gives the same model on both sides of the door.

    Args:
        seed: where the weights come from.
        sink: at token 0 the residual stream is many times as long as elsewhere.
        sizes: what shall be otherwise than in `LANGUAGE_MODEL`, such as `n_layers=2`.
    """
    from transformer_lens.model_bridge import TransformerBridge

    with torch.random.fork_rng(devices=[]):
        model = TransformerBridge.boot_native({**LANGUAGE_MODEL, **sizes})  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, old in model.state_dict().items():
        drawn = torch.randn(old.shape, generator=generator)
        if "ln" in name:
            weights[name] = 1 + 0.3 * drawn if name.endswith("weight") else 0.3 * drawn
        elif name.endswith("bias"):
            weights[name] = 0.5 * drawn
        elif name in ("embed.weight", "pos_embed.weight"):
            weights[name] = drawn
        else:
            # What the MLP says shall matter, and predictions shall differ.
            strength = 2.0 if name.endswith(("mlp.out.weight", "unembed.weight")) else 1.0
            weights[name] = strength * drawn / old.shape[1] ** 0.5
    if sink:
        weights["embed.weight"][0] *= 100
    model.load_state_dict(weights, strict=True)
    return model.eval()


@torch.no_grad()
def likely_text(model: TransformerBridge, rows: int, seq: int, generator: torch.Generator) -> Tensor:
    """Draw rows of tokens that the model itself writes, so that it predicts them better with its MLP than without."""
    d_vocab = model.cfg.d_vocab
    tokens = torch.randint(d_vocab, (rows, 1), generator=generator)
    while tokens.shape[1] < seq:
        shares = model(tokens)[:, -1].softmax(dim=-1)
        tokens = torch.cat([tokens, torch.multinomial(shares, 1, generator=generator)], dim=1)
    return tokens


@torch.no_grad()
def autoencoder(
    seed: int,
    n_instances: int = 2,
    n_input_ae: int = 13,
    n_hidden_ae: int = 19,
    thresholds: bool | int = False,
) -> AutoEncoder:
    """Return an autoencoder with random weights for the activations of `language_model`, and no bias that is zero.

    Its decoder rows have different lengths, as those of a published autoencoder have. Some latents fire on nearly
    every token, others on hardly any. The same seed gives the same weights on both sides of the door. With
    `thresholds` a latent fires above a threshold of its own, as those of the bundled autoencoders do.
    """
    cfg = AutoEncoderConfig(n_instances, n_input_ae, n_hidden_ae)
    with torch.random.fork_rng(devices=[]):
        made = JumpReLUAutoEncoder(cfg) if thresholds else AutoEncoder(cfg)
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def lengths(*shape: int) -> Tensor:
        return 0.4 + 1.6 * torch.rand(*shape, generator=generator)

    made.W_enc.copy_(normal(*made.W_enc.shape) * lengths(n_instances, 1, n_hidden_ae) / n_input_ae**0.5)
    made.W_dec.copy_(normal(*made.W_dec.shape) * lengths(n_instances, n_hidden_ae, 1) / n_input_ae**0.5)
    made.b_enc.copy_(0.5 * normal(*made.b_enc.shape) - 0.3)
    made.b_dec.copy_(0.3 + 0.3 * normal(*made.b_dec.shape))
    if isinstance(made, JumpReLUAutoEncoder):
        made.threshold.copy_(0.1 + 0.4 * torch.rand(*made.threshold.shape, generator=generator))
    return made


def transcoder(seed: int, n_model: int = 11, n_hidden: int = 13, k: int = 4, skip: bool = True) -> Transcoder:
    """Return a transcoder with random weights and no bias that is zero, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        made = Transcoder(n_model, n_model, n_hidden, k, skip)
    generator = torch.Generator().manual_seed(seed)
    for parameter in made.parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator)
    return made.requires_grad_(False)


def frozen_prompt(
    seed: int, seq: int = 7, n_heads: int = 3, d_head: int = 5, d_model: int = 11, d_vocab: int = 17
) -> FrozenPrompt:
    """Return a prompt in a random one-layer model in which no bias is zero, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def layer_norm(x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        centered = x - x.mean(dim=-1, keepdim=True)
        scale = (centered.pow(2).mean(dim=-1) + 1e-5).sqrt()
        return centered / scale[:, None] * w + b, scale

    tokens = torch.randint(d_vocab, (seq,), generator=generator)
    # Lengths differ, so that the positions' scales do.
    embed = (normal(seq, d_model) + 0.5) * (0.5 + 2 * torch.rand(seq, 1, generator=generator))
    pos_embed, v = normal(seq, d_model), normal(seq, n_heads, d_head)
    future = torch.full((seq, seq), float("-inf")).triu(1)
    pattern = (normal(n_heads, seq, seq) + future).softmax(dim=-1)
    W_O, b_V, b_O = 0.5 * normal(n_heads, d_head, d_model), 0.7 * normal(n_heads, d_head), normal(d_model)
    ln2_w, ln2_b, ln_final_w, ln_final_b = (normal(d_model) + 0.5 for _ in range(4))
    W_U, b_U = normal(d_model, d_vocab), normal(d_vocab)
    moved = torch.einsum("hqk,khd,hdm->qm", pattern, v, W_O) + b_O
    residual = embed + pos_embed + moved
    mlp_in, ln2_scale = layer_norm(residual, ln2_w, ln2_b)
    mlp_out = torch.relu(mlp_in @ normal(d_model, 23)) @ normal(23, d_model) / 5 + normal(d_model)
    last, ln_final_scale = layer_norm(residual + mlp_out, ln_final_w, ln_final_b)
    return FrozenPrompt(
        tokens, embed, pos_embed, pattern, v, W_O, b_V, b_O, ln2_w, ln2_b, ln2_scale, mlp_in, mlp_out,
        ln_final_w, ln_final_b, ln_final_scale, W_U, b_U, last @ W_U + b_U,
    )  # fmt: skip


@torch.no_grad()
def train_a_little(module: AutoEncoder, h: Tensor, steps: int, keep_moments: bool) -> None:
    """Train an autoencoder for some steps of Adam; with `keep_moments` its optimizer has moments of every parameter."""
    optimizer = adam(module, 0 if keep_moments else None)
    for _ in range(steps):
        with torch.enable_grad():
            optimizer.zero_grad()
            module(h).loss.backward()
        optimizer.step()
        module.normalize_decoder()


@torch.no_grad()
def step_without_clearing(module: nn.Module) -> None:
    """Make a step of Adam with whatever gradients the parameters still have."""
    adam(module, None).step()


def hooks_left(model: TransformerBridge) -> int:
    """Return how many hooks are on a model."""
    return sum(len(point.fwd_hooks) for point in model.hook_dict.values())


class TrainingRecorder:
    """Notes what autoencoders are called with while they are trained, until it is told to stop.

    It stops by itself when it has seen so much that nobody will ask any more: a check that was broken off.
    """

    MOST_CALLS = 1_000

    def __init__(self) -> None:
        self._inputs: list[Tensor] = []
        self._drift: list[float] = []
        self._weights: list[dict[str, Tensor]] = []
        self._gradients: list[Tensor | None] = []
        self._last: Tensor | None = None
        self._moves: list[float] = []
        self._model: AutoEncoder | None = None
        self._hook = nn.modules.module.register_module_forward_pre_hook(self._note)

    def _note(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not (isinstance(module, AutoEncoder) and torch.is_grad_enabled() and args):
            return
        if not isinstance(getattr(module, "W_dec", None), Tensor):
            return
        if len(self._inputs) >= self.MOST_CALLS or args[0].ndim != 3:
            self._hook.remove()
            return
        weights = {name: value.detach().clone() for name, value in module.named_parameters()}
        if self._inputs and _same(weights, self._weights[-1]) and torch.equal(args[0], self._inputs[-1]):
            # Called once more in the same step.
            return
        self._inputs.append(args[0].detach().clone())
        self._note_move(module)
        self._drift.append((module.W_dec.detach().norm(dim=-1) - 1).abs().max().item())
        gradient = module.W_enc.grad
        self._weights.append(weights)
        self._gradients.append(None if gradient is None else gradient.detach().clone())

    def _note_move(self, module: AutoEncoder) -> None:
        """How far the encoder's weights have moved since the last call."""
        now = module.W_enc.detach()
        if self._last is not None and self._last.shape == now.shape:
            self._moves.append((now - self._last).abs().max().item())
        self._last, self._model = now.clone(), module

    def stop(self) -> dict[str, Any]:
        """Return what was seen: `inputs` of all calls one after another, their `sizes`, the `weights` that each met.

        And `moves`, of every step: the largest change of a weight of the encoder.
        """
        self._hook.remove()
        if self._model is not None:
            self._note_move(self._model)
            self._model = None
        return {
            "sizes": [len(batch) for batch in self._inputs],
            "instances": self._inputs[0].shape[1] if self._inputs else 0,
            "inputs": torch.cat(self._inputs) if self._inputs else torch.zeros(0),
            "drift": self._drift,
            "moves": [move for move in self._moves if move > 0],
            # One tensor for each name: a jail lets few of them through.
            "weights": {
                name: torch.stack([weights[name] for weights in self._weights])
                for name in (self._weights[0] if self._weights else ())
            },
            "gradients": self._gradients[:3],
        }


def _same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


class PartsSeen:
    """Notes how much goes through a module at once, and what stays in memory of the parts that are done.

    Args:
        module: an autoencoder, or a language model, of which the MLP is watched.
        memory: whether `kept` will be asked; otherwise nothing is measured for it.
    """

    EARLY, LATE = 2, 5
    """At these calls the memory is measured: of the second one a few things may stay for good."""

    def __init__(self, module: nn.Module, memory: bool = False) -> None:
        self._memory = memory
        self._most = self._calls = self._inputs = self._early = self._grown = 0
        watched: Any = getattr(module, "blocks", None)
        watched = module if watched is None else watched[0].mlp
        watched.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.ndim > 1]
        if not inputs:
            return
        self._most = max([self._most, *(len(x) for x in inputs)])
        self._calls += self._memory
        if self.EARLY <= self._calls < self.LATE:
            self._inputs += inputs[0].shape[:-1].numel()
        if self._calls == self.EARLY:
            self._early = _numbers_in_memory(1)
        elif self._calls == self.LATE:
            self._grown = _numbers_in_memory(1) - self._early
            if self._grown > self._inputs:
                # All of that may be waiting to be thrown away. To look for it takes a while.
                self._grown = _numbers_in_memory(2) - self._early

    def most(self) -> int:
        """Return the largest number of rows, of the first axis, that went in at once."""
        return self._most

    def kept(self) -> float:
        """Return how many numbers stayed in memory for each token that was done; 0 of a text in few parts."""
        return self._grown / self._inputs if self._calls >= self.LATE else 0.0


def _numbers_in_memory(generation: int) -> int:
    """How many numbers all tensors hold that somebody still has, each memory counted once.

    What nobody has any more is thrown away first: what is new, or with `generation` 2 all of it.
    """
    gc.collect(generation)
    sizes = {}
    for thing in gc.get_objects():
        if (
            type(thing) in (Tensor, nn.Parameter)
            and thing.layout is torch.strided
            and thing.device.type != "meta"
        ):
            storage = thing.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes() // thing.element_size()
    return sum(sizes.values())


def endless_column(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return what every latent of `endless_autoencoder` has: its column of the encoder and its bias, and `b_dec`."""
    small = autoencoder(seed)
    return small.W_enc[:, :, 0].detach(), small.b_enc[:, 0].detach(), small.b_dec.detach()


def endless_autoencoder(seed: int) -> AutoEncoder:
    """Return an autoencoder with more latents than any memory holds.

    All of them are the same one, so that the weights need no room; what all latents do on a text needs it.
    """
    made = autoencoder(seed)
    count = 2**45
    column, bias, _ = endless_column(seed)
    weights = {
        "W_enc": column[:, :, None].expand(-1, -1, count),
        "b_enc": bias[:, None].expand(-1, count),
        "W_dec": made.W_dec[:, :1].detach().expand(-1, count, -1),
    }
    for name, value in weights.items():
        setattr(made, name, nn.Parameter(value, requires_grad=False))
    made.cfg = replace(made.cfg, n_hidden_ae=count)
    return made


class PlantedRule:
    """A rule for a latent that a check makes up: about the words at the end of the context, its length, or the label.

    Args:
        about: `"last"` (the current word), `"previous"` (the one before), `"length"` (how many words there are so
            far), `"label"`, `"first"` (the row's first word), `"nothing"` (the label, where there is no word yet),
            `"always"` or `"never"`.
        wanted: the rule says yes where that is one of these.
    """

    def __init__(self, about: str, wanted: list[Any]) -> None:
        self.about, self.wanted = about, wanted

    def __call__(self, context: list[str], label: str) -> bool:
        """Whether the latent fires on the last word of the context, says the rule."""
        if not isinstance(context, list | tuple) or not isinstance(label, str):
            raise TypeError(
                f"a rule gets a list of words first and the label second, and got a {type(context).__name__} and a "
                f"{type(label).__name__}"
            )
        seen: dict[str, Any] = {
            "last": context[-1] if context else None,
            "previous": context[-2] if len(context) > 1 else None,
            "first": context[0] if context else None,
            "length": len(context),
            "label": label,
            "nothing": None if context else label,
        }
        return self.about == "always" or (self.about != "never" and seen[self.about] in self.wanted)


def activations_of(feature: Feature) -> Tensor:
    """Return the activations of a feature on both of its texts, on one axis."""
    return torch.cat([feature.found_on.acts.flatten(), feature.held_out.acts.flatten()])


def made_up_feature(
    words: list[str], labels: list[str], found_on: tuple[Tensor, ...], held_out: tuple[Tensor, ...]
) -> Feature:
    """Return a latent whose texts a check makes up.

    Args:
        words: the vocabulary.
        labels: the names of the labels.
        found_on: tokens, labels (as numbers) and activations of the text to study, all of one shape.
        held_out: the same of the other text.
    """
    from part_utils.hypotheses import ActivatedText, Feature

    def text(tokens: Tensor, label: Tensor, acts: Tensor) -> ActivatedText:
        return ActivatedText(
            [[words[i] for i in row] for row in tokens.tolist()],
            [[labels[i] for i in row] for row in label.tolist()],
            acts,
        )

    return Feature(3, 0, text(*found_on), text(*held_out))


def made_up_effect(before: float, after: float, by_chance: Tensor) -> SteeringEffect:
    """Return what steering has done to some words, as a check makes it up."""
    from part_utils.deep_models import SteeringEffect

    return SteeringEffect(torch.tensor(before), torch.tensor(after), by_chance)


def apply_rule(
    detective: Any, case: str, tokens: Tensor, labels: Tensor, words: list[str], label_names: list[str]
) -> tuple[Tensor, str]:
    """Return what one rule of a detective says about every token of a text, and of what type its first answer is.

    Args:
        detective: the learner's `FeatureDetective`.
        case: the method's name.
        tokens: rows of text.
        labels: each token's label, as a number.
        words: the vocabulary.
        label_names: the names of the labels.
    """
    rule = getattr(detective, case)
    said, kind = torch.zeros(tokens.shape, dtype=torch.bool), ""
    for row, (line, line_labels) in enumerate(zip(tokens.tolist(), labels.tolist(), strict=True)):
        text = [words[token] for token in line]
        for place, label in enumerate(line_labels):
            answer = rule(text[: place + 1], label_names[label])
            said[row, place] = bool(answer)
            kind = kind or type(answer).__name__
    return said, kind


class BlocksSeen:
    """Notes which blocks of a language model are computed, and how many rows go through one at once."""

    def __init__(self, model: TransformerBridge) -> None:
        self._most: dict[int, int] = {}
        for number, block in enumerate(model.blocks):
            block.mlp.register_forward_pre_hook(partial(self._note, number), with_kwargs=True)

    def _note(self, number: int, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rows = [
            value.shape[0]
            for value in (*args, *kwargs.values())
            if isinstance(value, Tensor) and value.ndim > 1
        ]
        self._most[number] = max([self._most.get(number, 0), *rows])

    def computed(self) -> list[int]:
        """Return the numbers of the blocks whose MLP has run."""
        return sorted(self._most)

    def most(self) -> int:
        """Return the largest number of rows so far."""
        return max(self._most.values(), default=0)
