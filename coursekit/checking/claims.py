"""What checks are written with: calls through the door, comparisons that name the mistake, distributions.

A check reads like a list of claims. Each claim that holds is remembered and shown in green; the first that
fails raises `Mistake`, whose message says which mistake it is if it is a known one.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from coursekit.checking.clashes import explained_clash, explained_none, names_of_sizes, shapes_that_went_in
from coursekit.checking.differences import (
    agree,
    compare,
    how_gradient_is_wrong,
    how_wrong,
    place_of_largest,
    place_text,
    shape_text,
)
from coursekit.checking.door import Handle, Learner, LearnerError, Target
from coursekit.checking.general_mistakes import (
    arguments_by_name,
    axis_names,
    mistakes_in_inputs,
    mistakes_in_result,
)
from coursekit.checking.pictures import side_by_side

MOST_EXPLANATIONS = 2
MOST_AT_ONCE = 2
Alternative = Tensor | Callable[[], Tensor | None] | None
Mistakes = Mapping[str, Alternative | Sequence[Alternative]]
Known = Mistakes | Callable[[], Mistakes] | None
"""Known mistakes, or a function that works them out: it is asked only when something is wrong."""


class Mistake(Exception):
    """A claim about the learner's code does not hold.

    Attributes:
        message: one or two sentences that name the mistake.
        details: lines with shapes, differences and the part that is right.
        picture: HTML that shows what was expected and what came out, if that can be drawn.
    """

    picture = ""

    def __init__(self, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)


@contextlib.contextmanager
def drawn(actual: Tensor, expected: Tensor, axes: str) -> Iterator[None]:
    """Give a mistake that is raised inside a picture of what was expected and what came out."""
    try:
        yield
    except Mistake as mistake:
        with contextlib.suppress(Exception):
            mistake.picture = mistake.picture or side_by_side(actual, expected, axes)
        raise


@dataclass
class Check:
    """One run of one exercise's check.

    Attributes:
        learner: the door to the learner's code.
        exercise_id: whose function `call` and `gradients` reach.
        generator: seeded source of the inputs.
        claims: what has been found to hold so far.
        reference: loads what solves the exercise (or another function of its cell, by name); its annotations name
            the axes of what goes in.
        last: what came back from the learner's code last, in words.
    """

    learner: Learner
    exercise_id: str
    generator: torch.Generator
    claims: list[str] = field(default_factory=list)
    reference: Callable[..., Any] | None = None
    last: str = ""
    _scene: Callable[[], str] | None = None
    _last_call: tuple[Target, tuple[Any, ...], dict[str, Any]] | None = None
    _last_result: Any = None
    _right_sizes: dict[tuple[str, int], set[int]] = field(default_factory=dict)

    # Pictures

    def show(self, picture: Callable[[], str]) -> None:
        """From here on a mistake that has no picture of its own shows this one, which is made only if it is needed."""
        self._scene = picture

    @contextlib.contextmanager
    def illustrated(self) -> Iterator[None]:
        """Give a mistake that is raised inside the last picture that was to be shown."""
        try:
            yield
        except Mistake as mistake:
            if self._scene is not None and not mistake.picture:
                with contextlib.suppress(Exception):
                    mistake.picture = self._scene()
            raise

    # Inputs

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers of this shape."""
        return torch.randn(*shape, generator=self.generator)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw numbers evenly from [low, high)."""
        return low + (high - low) * torch.rand(*shape, generator=self.generator)

    def sparse(self, *shape: int, probability: float = 0.3) -> Tensor:
        """Draw features as the toy model sees them: mostly zero, otherwise even in [0, 1)."""
        present = self.uniform(*shape) < probability
        return torch.where(present, self.uniform(*shape), torch.zeros(()))

    def permutation(self, count: int) -> Tensor:
        """Shuffle the numbers below `count`."""
        return torch.randperm(count, generator=self.generator)

    # The learner's code

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Call the exercise's function."""
        return self._call(self.exercise_id, "", args, kwargs)

    def call_also(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call another function of the exercise's cell."""
        return self._call(f"{self.exercise_id} {name}", "", args, kwargs)

    def method(self, owner: Handle, name: str, *args: Any) -> Any:
        """Call a method of an object on the learner's side."""
        return self._call((owner, name), name, args, {})

    def leaves_inputs(self, *args: Any, also: str = "", owner: Handle | None = None, **kwargs: Any) -> None:
        """Check that a function leaves the tensors that go in as they are.

        Args:
            args: what the function is called with.
            also: the name of another function of the exercise's cell, or of a method.
            owner: whose method it is.
            kwargs: what it is called with by name.
        """

        def held(value: Any) -> Any:
            return self.create(value, target="torch.clone") if isinstance(value, Tensor) else value

        positional, named = (
            [held(value) for value in args],
            {name: held(value) for name, value in kwargs.items()},
        )
        target: Target = f"{self.exercise_id} {also}" if also else self.exercise_id
        if owner is not None:
            target = (owner, also)
        self._call(target, also if owner is not None else "", tuple(positional), named)
        names: list[str] = []
        if self.reference is not None:
            function = self.reference(also) if also and owner is None else self.reference()
            if owner is not None:
                function = getattr(function, also)
            names = [name for name in inspect.signature(function).parameters if name != "self"]
        for name, value, handle in zip(
            [*names[: len(args)], *named],
            [*args, *kwargs.values()],
            [*positional, *named.values()],
            strict=True,
        ):
            if isinstance(value, Tensor):
                now = self.learner.call("torch.clone", handle)
                if not (isinstance(now, Tensor) and torch.equal(now, value)):
                    raise Mistake(
                        f"Your function changes `{name}` itself (in place). Whoever calls it still needs the numbers: "
                        "work on a copy."
                    )
        self._remember("what goes in stays as it was")

    def create(self, *args: Any, target: str | None = None, **kwargs: Any) -> Handle:
        """Make an object of the exercise's class, or of a reference class given by its dotted name."""
        return self.learner.create(target or self.exercise_id, *args, **kwargs)

    def _call(self, target: Target, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self._explaining(target, method, args, kwargs):
            result = self.learner.call(target, *args, **kwargs)
        self.last = described(result)
        self._last_call, self._last_result = (target, args, kwargs), result
        return result

    @property
    def _called(self) -> tuple[str, tuple[Any, ...], dict[str, Any]] | None:
        """The last call, if it was one of a function, not of a method of an object."""
        if self._last_call is None:
            return None
        target, args, kwargs = self._last_call
        return (target, args, kwargs) if isinstance(target, str) else None

    def _is_random(self, actual: Tensor) -> bool:
        """Whether the last call, made once more, gives another result: asked of that call's own result only."""
        with contextlib.suppress(Exception):
            if self._last_call is not None and self._last_result is actual:
                target, args, kwargs = self._last_call
                again = self.learner.call(target, *args, **kwargs)
                return isinstance(again, Tensor) and again.shape == actual.shape and not agree(again, actual)
        return False

    def _other_size(self, actual: Tensor, expected: Tensor, axes: str) -> str:
        """Say where another axis stands than should, or a size that fitted other inputs; "" if that cannot be told."""
        names = axis_names(axes, expected.ndim)
        sizes = dict(zip(expected.shape, names, strict=True))
        if len(axes.split()) == len(sizes) and sorted(actual.shape) == sorted(sizes):
            return f" By their sizes, your axes are `{' '.join(sizes[size] for size in actual.shape)}`."
        differ = [
            place
            for place, pair in enumerate(zip(actual.shape, expected.shape, strict=False))
            if len(set(pair)) > 1
        ]
        if actual.ndim != expected.ndim or len(differ) != 1:
            return ""
        name, size = names[differ[0]], actual.shape[differ[0]]
        few = size < expected.shape[differ[0]] and size < 4
        with contextlib.suppress(Exception):
            assert self._called is not None
            assert self.reference is not None
            target, args, kwargs = self._called
            function = self.reference(*target.split()[1:])
            others = names_of_sizes(function, args, kwargs).get(size)
            if others:
                listed = " and of ".join(f"`{other}`" for other in others)
                number = f", or is the {size} written into your code as a number?" if few else "."
                return f" Here {size} is the size of {listed}, not of `{name}`{number}"
        # One that is written down was right, or cut nothing off, for what came before.
        before = self._right_sizes.get((axes, differ[0]), ())
        if before and max(before) <= size < expected.shape[differ[0]]:
            return f" Is the {size} written into your code as a number? Sizes are read off what comes in (`.shape`)."
        return ""

    def _misread_inputs(self, expected: Tensor) -> Mistakes:
        """What comes out when an argument of the last call is misread, if that call gives what is expected."""
        if self._called is None or self.reference is None:
            return {}
        target, args, kwargs = self._called
        if any(isinstance(value, Handle) for value in (*args, *kwargs.values())):
            return {}
        name = target.partition(" ")[2]
        function = self.reference(name) if name else self.reference()
        with contextlib.suppress(Exception):
            inputs = arguments_by_name(function, args, kwargs)
            # Of several results that one which is looked at.
            place = _place_of(expected, _number_as_tensor(function(*args, **kwargs)))

            def compute(**values: Any) -> Any:
                result = _number_as_tensor(function(**values))
                return result if place is None else result[place]

            return mistakes_in_inputs(compute, inputs)
        return {}

    @contextlib.contextmanager
    def _explaining(
        self, target: Target, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Iterator[None]:
        """An exception of the learner's code takes along what went in, and what the sizes in it are."""
        try:
            yield
        except LearnerError as error:
            raise LearnerError(
                f"{error}{self._what_went_in(str(error), target, method, args, kwargs)}"
            ) from None

    def _what_went_in(
        self, message: str, target: Target, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> str:
        with contextlib.suppress(Exception):
            # An exercise's cell may hold several functions.
            also = target.split()[1:] if isinstance(target, str) else []
            function = self.reference(*also) if self.reference else None
            if method:
                function = getattr(function, method)
            if function is not None:
                shapes = shapes_that_went_in(function, args, kwargs)
                lines = [explained_clash(message, names_of_sizes(function, args, kwargs))]
                if "'NoneType'" in message:
                    lines.append(explained_none(function, args, kwargs))
                if shapes:
                    lines.append(
                        "It was called with " + ", ".join(f"`{n}` {s}" for n, s in shapes.items()) + "."
                    )
                return "".join(f"\n{line}" for line in lines if line)
        return ""

    # Claims

    def holds(self, condition: bool, claim: str, otherwise: str, details: Sequence[str] = ()) -> None:
        """Show the claim (if any) when the condition holds; raise the mistake when it does not."""
        if not condition:
            raise Mistake(otherwise, details)
        self._remember(claim)

    def equal(
        self,
        actual: Any,
        expected: Tensor,
        axes: str,
        claim: str,
        mistakes: Known = None,
        rtol: float = 1e-4,
        atol: float = 1e-5,
        what: str = "the result",
        misread: Mistakes | None = None,
    ) -> None:
        """Check that the learner's tensor agrees with the expected one.

        Args:
            actual: what the learner's code returned.
            expected: what is right.
            axes: names of the expected axes, as in einsum; "" for a scalar.
            claim: shown when it agrees.
            mistakes: known mistakes and the tensors that they lead to. A phrase that completes "Your result is
                what comes out when …" maps to a tensor, to a function that returns one (or None), or to a list of
                these. A function that returns all this is called only when the two do not agree.
            what: what to call the tensor in messages.
            misread: what misread inputs lead to (`mistakes_in_inputs`), asked when none of the mistakes fits. Those
                of a plain function's arguments are known without it.
        """
        tensor = self.tensor(actual, what)
        if tensor.shape == expected.shape and agree(tensor, expected, rtol, atol):
            for place, size in enumerate(expected.shape):
                self._right_sizes.setdefault((axes, place), set()).add(size)
            self._remember(claim)
            return
        with drawn(tensor, expected, axes):
            if 1 in expected.shape and tensor.shape == expected.squeeze().shape != expected.shape:
                raise Mistake(
                    f"{_capital(what)} is what comes out when an axis of size 1 is lost (`squeeze` removes all of "
                    f"them): expected {shape_text(expected, axes)}, got {shape_text(tensor)}."
                )
            known: Iterable[tuple[str, Any]]
            # Nothing but zeros, or but NaN, has many reasons.
            telling = bool(tensor[torch.isfinite(tensor)].any())
            general = (
                (misread or self._misread_inputs(expected)).items(),
                mistakes_in_result(expected, axes),
            )
            for known in (_worked_out(mistakes).items(), *(general if telling else ())):
                fitting = _fitting(known, tensor, expected, rtol, atol)
                if fitting:
                    break
            if fitting:
                raise Mistake(
                    f"{_capital(what)} is what comes out when {', or when '.join(fitting)}.",
                    compare(tensor, expected, axes),
                )
            if tensor.shape != expected.shape:
                raise Mistake(
                    f"{_capital(what)} has the wrong shape: expected {shape_text(expected, axes)}, "
                    f"got {shape_text(tensor)}.{self._other_size(tensor, expected, axes)}"
                )
            if not torch.isfinite(tensor).all():
                kind = "NaN" if torch.isnan(tensor).any() else "infinite"
                raise Mistake(f"{_capital(what)} contains {kind} values.", compare(tensor, expected, axes))
            if self._is_random(tensor):
                raise Mistake(
                    f"{_capital(what)} is another one each time, for the very same inputs: there is something random "
                    "in it, or something is kept from one call to the next.",
                    compare(tensor, expected, axes),
                )
            raise Mistake(
                f"{_capital(what)} {how_wrong(tensor, expected, axes, rtol, atol)}",
                compare(tensor, expected, axes),
            )

    def tensor(self, value: Any, what: str = "the result") -> Tensor:
        """Return the value, if it is a tensor of numbers; otherwise the mistake says what it is instead."""
        if isinstance(value, Tensor):
            if value.dtype == torch.bool or value.is_complex():
                raise Mistake(
                    f"{_capital(what)} holds {value.dtype} values; expected floating-point numbers."
                )
            return value
        if value is None:
            # What has a name of its own is one of several that came back.
            asked = (
                "Expected a torch.Tensor."
                if what.startswith("`")
                else "Does your function end with a `return`?"
            )
            raise Mistake(f"{_capital(what)} is None. {asked}")
        kind = value.type_name if isinstance(value, Handle) else type(value).__name__
        if isinstance(value, int | float):
            raise Mistake(
                f"{_capital(what)} is a Python {kind}; expected a torch.Tensor (leave off `.item()` or `float()`)."
            )
        raise Mistake(f"{_capital(what)} is of type {kind}; expected a torch.Tensor.")

    def gradient(
        self,
        target: Target,
        *args: Any,
        wrt: Mapping[int | str, Tensor],
        axes: str | Mapping[int | str, str],
        claim: str,
        cotangent: Tensor | None = None,
        field: int | None = None,
        mistakes: Known = None,
        detached: str = "Your result is cut off from what it was computed from (`.detach()`, `.data`, `.item()` "
        "or `torch.no_grad()`), so nothing can be trained with it.",
    ) -> None:
        """Check that gradients flow through the learner's code and are the right ones.

        `wrt` maps positions of arguments, or names of parameters, to the expected gradients, and `axes` those with
        different axes to their names. `mistakes` are known ones and the gradients that they lead to, as for `equal`.
        """
        with self._explaining(target, target[1] if isinstance(target, tuple) else "", args, {}):
            result, gradients = self.learner.gradients(
                target, *args, wrt=list(wrt), cotangent=cotangent, field=field
            )
        self.last = described(result)
        if all(gradient is None for gradient in gradients):
            raise Mistake(detached)
        for name, expected, gradient in zip(wrt, wrt.values(), gradients, strict=True):
            where = self._argument(target, name) if isinstance(name, int) else f"`{name}`"
            if gradient is None:
                raise Mistake(
                    f"No gradient reaches {where}: it is not used, or detached on the way (`.detach()`, `.data`)."
                )
            if not agree(gradient, expected, 1e-3, 1e-5):
                along = axes if isinstance(axes, str) else axes[name]
                fitting = _fitting(_worked_out(mistakes).items(), gradient, expected, 1e-3, 1e-5)
                how = (
                    f"is not: it is what comes out when {', or when '.join(fitting)}."
                    if fitting
                    else how_gradient_is_wrong(gradient, expected)
                )
                with drawn(gradient, expected, along):
                    raise Mistake(
                        f"The values are right, but the gradient with respect to {where} {how}",
                        compare(gradient, expected, along),
                    )
        self._remember(claim)

    def _argument(self, target: Target, place: int) -> str:
        """Return what an argument is called in the reference; its number, if that cannot be told."""
        with contextlib.suppress(Exception):
            assert self.reference is not None
            function = (
                self.reference(*target.split()[1:])
                if isinstance(target, str)
                else getattr(self.reference(), target[1])
            )
            names = [name for name in inspect.signature(function).parameters if name != "self"]
            return f"`{names[place]}`"
        return f"argument {place + 1}"

    def shares(
        self,
        present: Tensor,
        expected: Tensor,
        axes: str,
        claim: str,
        mistakes: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Check that each entry is present in the expected share of the batch (the first axis of `present`).

        `mistakes` maps a phrase that completes "Features are present as often as when …" to the shares that it
        leads to. Fails only beyond seven standard deviations, and a few elements more for values that are present
        and happen to be exactly 0: a correct sampler fails once in 10^11 runs or more rarely.
        """
        count = len(present)
        found = present.double().mean(dim=0)

        def distances(probability: Tensor) -> Tensor:
            """How far each share is off, in units of what chance allows."""
            probability = probability.double().expand_as(found)
            deviation = (probability * (1 - probability) / count).sqrt()
            return (found - probability).abs() / (7 * deviation + 5 / count)

        def fits(probability: Tensor) -> bool:
            return bool((distances(probability) <= 1).all())

        if fits(expected):
            self._remember(claim)
            return
        with drawn(found, expected.expand_as(found), axes):
            worst = place_of_largest((found - expected).abs())
            details = [
                f"at ({place_text(worst, axes)}): expected a share of about {expected[worst].item():.3f}, "
                f"got {found[worst].item():.3f} of {count:,}"
            ]
            fitting = {phrase: share for phrase, share in (mistakes or {}).items() if fits(share)}
            if fitting:
                # Averages can be near one another: the nearest is the one.
                best = min(fitting, key=lambda phrase: distances(fitting[phrase]).square().sum().item())
                raise Mistake(f"Features are present as often as when {best}.", details)
            factor = (found.sum() / expected.double().expand_as(found).sum()).item()
            often = f": together {factor:.2f} times as often" if 0.05 < abs(factor - 1) < 99 else ""
            raise Mistake(f"Features are not present as often as their probability says{often}.", details)

    def uniform_on_unit_interval(self, values: Tensor, claim: str, otherwise: str, low: float = 0.0) -> None:
        """Check that the values are spread evenly over [low, 1] (Kolmogorov-Smirnov distance)."""
        ordered = values.flatten().double().sort().values
        count = len(ordered)
        ideal = (ordered - low) / (1 - low)
        ranks = torch.arange(1, count + 1, dtype=torch.float64) / count
        distance = (ranks - ideal).abs().max().item() if count else math.inf
        # P(distance > 3.5 / sqrt(n)) < 2 exp(-2 * 3.5^2) = 5e-11.
        share = torch.histc(ordered, 10, low, 1.0) / max(count, 1)
        with drawn(share, torch.full_like(share, 0.1), "tenths of the range"):
            self.holds(
                distance <= 3.5 / math.sqrt(max(count, 1)) + 1 / max(count, 1),
                claim,
                otherwise,
                [f"range {ordered.min():.3g} to {ordered.max():.3g}, mean {ordered.mean():.3g}"]
                if count
                else [],
            )

    def _remember(self, claim: str) -> None:
        if claim and claim not in self.claims:
            self.claims.append(claim)


def variations(compute: Callable[..., Tensor], *choices: Mapping[str, Any]) -> dict[str, Alternative]:
    """Return the results of all combinations of known mistakes, for `Check.equal`: the fewer at once, the earlier.

    Args:
        compute: called with one value from each choice.
        choices: the first entry of each is what is right; the keys of the others are phrases that name a mistake.
            Three mistakes at once can explain nearly any number, so two are the most.
    """
    combinations = []
    for picks in itertools.product(*(enumerate(choice.items()) for choice in choices)):
        phrases = [phrase for number, (phrase, _) in picks if number > 0]
        values = [value for _, (_, value) in picks]
        if 1 <= len(phrases) <= MOST_AT_ONCE:
            combinations.append((phrases, values))
    combinations.sort(key=lambda combination: len(combination[0]))
    return {
        " and ".join(phrases): lambda values=values: compute(*values)  # type: ignore[misc]
        for phrases, values in combinations
    }


def described(value: Any) -> str:
    """Return what came back, in a few words: `a float32 tensor of shape [7, 3]`, `a tuple of 2`, `None`."""
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return f"a {kind} tensor of shape {list(value.shape)}" if value.ndim else f"a single {kind} number"
    if isinstance(value, tuple | list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Handle):
        return f"an object of type {value.type_name}"
    return "None" if value is None else f"a Python {type(value).__name__}"


def _worked_out(mistakes: Known) -> Mistakes:
    return (mistakes() if callable(mistakes) else mistakes) or {}


def _number_as_tensor(result: Any) -> Any:
    return torch.tensor(result) if isinstance(result, int | float) else result


def _place_of(expected: Tensor, results: Any) -> int | None:
    """Which of the results is the expected one; None if there is one only."""
    if isinstance(results, Tensor):
        if agree(results, expected):
            return None
        raise ValueError("The reference gives something else.")
    return [
        isinstance(result, Tensor) and result.shape == expected.shape and agree(result, expected)
        for result in results
    ].index(True)


def _fitting(
    mistakes: Iterable[tuple[str, Alternative | Sequence[Alternative]]],
    actual: Tensor,
    expected: Tensor,
    rtol: float,
    atol: float,
) -> list[str]:
    """The known mistakes that explain what came out: one, or two if both do on these inputs.

    A combination of mistakes counts only if nothing simpler explains it.
    """
    found: list[str] = []
    each = (
        (phrase, alternative)
        for phrase, outcome in mistakes
        for alternative in (outcome if isinstance(outcome, Sequence) else [outcome])
    )
    for phrase, alternative in each:
        if phrase in found or (found and phrase.count(" and ") > found[0].count(" and ")):
            continue
        wrong = None
        with contextlib.suppress(Exception):
            # What a mistake leads to may not exist for these sizes.
            wrong = alternative() if callable(alternative) else alternative
        if wrong is None or actual.shape != wrong.shape or not agree(actual, wrong, rtol, atol):
            continue
        # A mistake that makes no difference on these inputs cannot be the one.
        if wrong.shape != expected.shape or not agree(wrong, expected, rtol, atol):
            found.append(phrase)
        if len(found) == MOST_EXPLANATIONS:
            break
    return found


def _capital(text: str) -> str:
    text = "your result" if text == "the result" else text
    return text[:1].upper() + text[1:]
