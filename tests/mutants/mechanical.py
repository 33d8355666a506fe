"""Wrong answers that nobody thought of: the reference's own source, changed in one place at a time.

Each change is one that a tired person could make: an operator, an axis, a constant, a term that is missing, two
arguments the wrong way round, a `detach` that is not there. What a check accepts all the same is a *survivor*: either
the check has a hole, or the change makes no difference that the exercise's statement speaks of. The second kind is
listed with its reason beside the exercise's other answers (`equivalent`); a test asks that there be no others.
"""

from __future__ import annotations

import ast
import copy
import importlib
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from coursekit import CheckResult, Exercise, get_exercise, run_check
from coursekit.checking.door import DirectLearner
from coursekit.checking.running import cell_names
from coursekit.notebooks.source import solution_source

SECONDS = 20.0

OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.FloorDiv,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
}
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
}
# A call by this name becomes a call by the other.
CALLS = {
    "sum": "mean", "mean": "sum", "max": "min", "min": "max", "any": "all", "all": "any", "amax": "amin",
    "argmax": "argmin", "argmin": "argmax", "rand": "randn", "randn": "rand", "zeros": "ones", "ones": "zeros",
    "zeros_like": "ones_like", "log10": "log", "add_": "sub_", "sub_": "add_", "relu": "abs", "floor": "ceil",
    "ceil": "floor", "mul_": "div_",
}  # fmt: skip
# x.name(...) becomes x.
DROPPED = (
    "relu", "abs", "sqrt", "log10", "square", "detach", "clone", "clamp", "clamp_min", "float", "double", "long",
    "transpose", "norm", "flatten", "squeeze", "unsqueeze", "expand", "sum", "mean", "cumsum", "bool", "exp",
)  # fmt: skip
# Their arguments can be exchanged.
SYMMETRIC = ("min", "max", "torch.minimum", "torch.maximum")
TWINS = (("W_enc", "W_dec"), ("b_enc", "b_dec"), ("W_in", "W_out"))


@dataclass(frozen=True)
class MechanicalMutant:
    """The reference with one change. `change` names it, the same in every run: "before -> after"."""

    exercise_id: str
    change: str
    source: str

    def caught(self, seed: int = 0) -> bool:
        """Whether the check rejects it."""
        return self.check(seed).status in ("failed", "error")

    def check(self, seed: int = 0) -> CheckResult:
        """What the exercise's check finds."""
        exercise = get_exercise(self.exercise_id)
        module = importlib.import_module(exercise.load_reference().__module__)
        namespace: dict[str, Any] = dict(vars(module))
        namespace |= {name: exercise.load_reference(name) for name in exercise.also}
        try:
            exec(compile(self.source, f"<mutant of {exercise.id}>", "exec"), namespace)
        except Exception as error:  # it does not even define the function
            return _stopped(exercise, f"{type(error).__name__}: {error}")
        return run_check(replace(exercise, seconds=SECONDS), DirectLearner(namespace, cell_names()), seed)


def mechanical_mutants(exercise: Exercise) -> list[MechanicalMutant]:
    """Every change of one place in the body of the exercise's solution."""
    tree = ast.parse(solution_source(exercise))
    seen = {ast.unparse(tree)}
    count: Counter[str] = Counter()
    found = []
    for change, mutated in _mutations(tree):
        source = ast.unparse(ast.fix_missing_locations(mutated))
        if source not in seen:
            seen.add(source)
            count[change] += 1
            number = f" ({count[change]})" if count[change] > 1 else ""
            found.append(MechanicalMutant(exercise.id, change + number, source))
    return found


def _mutations(tree: ast.Module) -> Iterator[tuple[str, ast.Module]]:
    """What is changed, and the changed tree, for each place in the bodies of the functions."""
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        names = [argument.arg for argument in function.args.args if argument.arg != "self"]
        first = 1 if ast.get_docstring(function) is not None else 0
        for place, statement in enumerate(function.body[first:], first):
            for replacement in _replacements(statement, names):
                yield _described(statement, replacement), _with(tree, function, "body", place, replacement)
            yield from _inside(tree, statement, names)


def _inside(tree: ast.Module, node: ast.AST, names: list[str]) -> Iterator[tuple[str, ast.Module]]:
    if isinstance(node, ast.Raise | ast.FunctionDef | ast.Assert):
        # What an exception says is free, and a function inside is visited by itself.
        return
    if isinstance(node, ast.Call):
        yield from _other_arguments(tree, node)
    for name, value in ast.iter_fields(node):
        if name == "annotation":
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST):
                for replacement in _replacements(child, names):
                    where = (
                        f"{_text(node)}: " if isinstance(child, ast.Constant | ast.UnaryOp | ast.Name) else ""
                    )
                    yield where + _described(child, replacement), _with(tree, node, name, index, replacement)
                yield from _inside(tree, child, names)


def _described(node: ast.AST, new: ast.AST | list[ast.stmt]) -> str:
    after = "; ".join(map(_text, new)) or "nothing" if isinstance(new, list) else _text(new)
    return f"{_text(node)} -> {after}"


def _with(
    tree: ast.Module, owner: ast.AST, field: str, index: int | None, new: ast.AST | list[ast.stmt]
) -> ast.Module:
    """A copy of the tree in which one child of `owner` is another one."""
    mutated, target = _copied(tree, owner)
    if index is None:
        setattr(target, field, new)
    elif isinstance(new, list):
        getattr(target, field)[index : index + 1] = new or [ast.Pass()]
    else:
        getattr(target, field)[index] = new
    return mutated


def _copied(tree: ast.Module, node: ast.AST) -> tuple[ast.Module, Any]:
    """A copy of the tree, and the node in it."""
    number = next(place for place, item in enumerate(ast.walk(tree)) if item is node)
    mutated = copy.deepcopy(tree)
    return mutated, next(itertools.islice(ast.walk(mutated), number, None))


def _text(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node)))
    return re.sub(r"\s+", " ", text.partition("\n")[0]).strip()


def _other_arguments(tree: ast.Module, call: ast.Call) -> Iterator[tuple[str, ast.Module]]:
    """Two arguments of a call the wrong way round, or one keyword left out."""
    function = _text(call.func)
    if len(call.args) > 1 and function not in SYMMETRIC:
        for place in range(len(call.args) - 1):
            mutated, target = _copied(tree, call)
            target.args[place : place + 2] = reversed(target.args[place : place + 2])
            yield f"{function}({_text(call.args[place])} <-> {_text(call.args[place + 1])})", mutated
    for place, keyword in enumerate(call.keywords):
        if keyword.arg is not None:
            mutated, target = _copied(tree, call)
            del target.keywords[place]
            yield f"{function}({_text(keyword)}) -> {function}()", mutated


def _replacements(node: ast.AST, names: list[str]) -> Iterator[ast.AST | list[ast.stmt]]:
    """What may stand in this node's place by mistake."""
    match node:
        case ast.BinOp(left, operator, right):
            for other in OPERATORS.get(type(operator), ()):
                yield ast.BinOp(left, other(), right)
            yield left
            if not isinstance(operator, ast.Pow):
                yield right
            if isinstance(operator, ast.MatMult | ast.Sub | ast.Div):
                yield ast.BinOp(right, operator, left)
        case ast.Compare(left, [operator], [right]):
            for other_comparison in COMPARISONS.get(type(operator), ()):
                yield ast.Compare(left, [other_comparison()], [right])
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.And() if isinstance(operator, ast.Or) else ast.Or(), values)
            yield from values
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.Constant(value):
            yield from map(ast.Constant, _other_constants(value))
        case ast.Name(name, ast.Load()) if name in names:
            yield from (ast.Name(other, ast.Load()) for other in names if other != name)
        case ast.Attribute(value, name, context):
            for twins in TWINS:
                if name in twins:
                    yield ast.Attribute(value, twins[1 - twins.index(name)], context)
            if name in ("mT", "T"):
                yield value
        case ast.Call(ast.Attribute(value, name), arguments, keywords):
            if name in CALLS:
                yield ast.Call(ast.Attribute(value, CALLS[name], ast.Load()), arguments, keywords)
            module = isinstance(value, ast.Name) and value.id in (
                "torch",
                "t",
                "einops",
                "F",
                "np",
                "nn",
                "math",
            )
            if name in DROPPED:
                if not module:
                    yield value
                elif arguments:
                    yield arguments[0]
        case ast.IfExp(test, body, orelse):
            yield body
            yield orelse
        case ast.If(test, body, orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)
            yield body
            yield orelse
        case ast.With(_, body):
            yield body
        case ast.Continue():
            yield [ast.Break()]
        case ast.AugAssign(target, operator, value):
            for other in OPERATORS.get(type(operator), ()):
                yield [ast.AugAssign(target, other(), value)]
            yield [ast.Assign([_stored(target)], value)]
            yield []
        case ast.Expr() | ast.Delete():
            yield []
        case ast.For(target, iterable, body, orelse):
            yield [ast.For(target, iterable, [*body, ast.Break()], orelse)]
            items = ast.Call(ast.Name("list", ast.Load()), [iterable], [])
            for part in (ast.Slice(ast.Constant(1)), ast.Slice(None, ast.Constant(-1))):
                yield [ast.For(target, ast.Subscript(items, part, ast.Load()), body, orelse)]
        case ast.Assign([ast.Subscript() | ast.Attribute()], _):
            yield []
        case _:
            return


def _stored(target: ast.expr) -> ast.expr:
    other = copy.deepcopy(target)
    if isinstance(other, ast.Name | ast.Attribute | ast.Subscript):
        other.ctx = ast.Store()
    return other


def _other_constants(value: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value - 1)
    elif isinstance(value, float):
        yield value * 2
        yield value / 2
        if value < 1e-3:
            yield 1e-2
            yield 0.0
    elif isinstance(value, str):
        yield from _other_patterns(value)


def _other_patterns(pattern: str) -> Iterator[str]:
    """An einsum or einops pattern with two axes exchanged, or one left out on the right of the arrow."""
    if "->" not in pattern:
        return
    left, right = pattern.split("->")
    sides = [*left.split(","), right]
    # In einops all axes of the one input may be renamed at will; in einsum each input counts.
    for place, side in enumerate(sides):
        axes = side.split()
        if "(" in side:
            if place == len(sides) - 1 and len(axes) > 1:
                inner = re.search(r"\(([^()]+)\)", side)
                if inner:
                    turned = " ".join(reversed(inner.group(1).split()))
                    yield _pattern(sides, place, side.replace(inner.group(1), turned))
            continue
        for first in range(len(axes) - 1):
            swapped = [*axes]
            swapped[first], swapped[first + 1] = swapped[first + 1], swapped[first]
            yield _pattern(sides, place, " ".join(swapped))
        if place == len(sides) - 1:
            for gone in range(len(axes)):
                yield _pattern(sides, place, " ".join(axes[:gone] + axes[gone + 1 :]))


def _pattern(sides: list[str], place: int, new: str) -> str:
    changed = [side.strip() for side in sides]
    changed[place] = new.strip()
    return f"{', '.join(changed[:-1])} -> {changed[-1]}"


def _stopped(exercise: Exercise, message: str) -> CheckResult:
    return CheckResult(exercise.id, exercise.name, exercise.title, "error", 0, exercise.points, message)
