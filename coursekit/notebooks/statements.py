"""The Python in a notebook's cell, statement by statement: which names each defines, uses and changes."""

from __future__ import annotations
import __future__

import ast
import linecache
import re
import symtable
import warnings
from dataclasses import dataclass
from typing import Any

# Magics that run the rest of their cell as Python in the notebook's own namespace.
PYTHON_MAGICS = {
    "time",
    "capture",
    "prun",
    "memit",
    "mprun",
    "lprun",
    "debug",
    "snakeviz",
    "pyinstrument",
    "heat",
}
# What IPython takes for a command when it stands alone at the start of a line, without a % in front.
COMMANDS = {
    "pip",
    "conda",
    "mamba",
    "uv",
    "cd",
    "ls",
    "ll",
    "mkdir",
    "rmdir",
    "cp",
    "mv",
    "rm",
    "cat",
    "less",
    "man",
}
# Methods with which a list, set or dict is filled after it was made.
FILLING = {
    "append",
    "extend",
    "insert",
    "add",
    "update",
    "setdefault",
    "remove",
    "discard",
    "pop",
    "clear",
    "sort",
}

_CELL_MAGIC = re.compile(r"\A\s*%%(\w+)[^\n]*\n?")
_MAGIC_LINE = re.compile(r"^\s*[%!?]|=\s*[%!]|\?\s*$", re.MULTILINE)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(eq=False)
class Statement:
    """One top-level statement of a cell.

    Attributes:
        node: its syntax tree.
        cell: number of its cell.
        filename: the name under which tracebacks find its text.
        defines: names that it binds.
        uses: global names that it, or a function in it, looks up.
        changes: names of objects that it changes without binding them, as in `TABLE["a"] = 1`.
        flags: compiler flags of the `from __future__` imports above it.
    """

    node: ast.stmt
    cell: int
    filename: str
    defines: set[str]
    uses: set[str]
    changes: set[str]
    flags: int = 0

    @property
    def stars(self) -> bool:
        """It is a `from module import *`, so that nobody can know which names it binds."""
        return isinstance(self.node, ast.ImportFrom) and self.node.names[0].name == "*"

    @property
    def starts_afresh(self) -> bool:
        """After it, what its names were bound to before does not matter."""
        if isinstance(self.node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            return True
        return isinstance(self.node, ast.Assign | ast.AnnAssign) and not self.defines & self.uses


def statements_of(source: str, cell: int, filename: str, flags: int = 0) -> list[Statement]:
    """Return the statements of a cell's source. Raises SyntaxError where IPython would not run the cell.

    Magics and shell lines become calls of `get_ipython()`, which nothing here answers, so they never run.
    """
    text = as_python(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(text, filename)
        # IPython compiles a cell as a whole: what no parser but only the compiler minds stops it too.
        compiled = compile(text, filename, "exec", flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    flags |= compiled.co_flags & __future__.annotations.compiler_flag
    return [
        Statement(node, cell, filename, defined_names(node), used_names(node), changed_names(node), flags)
        for node in tree.body
    ]


def reading_work(source: str) -> int:
    """Return how much work a cell is to read: its length, as often as IPython goes through it, once a magic."""
    return (1 + len(_MAGIC_LINE.findall(source))) * (len(source) + 60 * source.count("\n") + 200)


def as_python(source: str) -> str:
    """Return a cell's text as Python: line ends are plain, magics and commands are calls, `%%time` is left off.

    Raises SyntaxError where IPython gives up.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    text = source.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    magic = _CELL_MAGIC.match(text)
    while magic and magic[1] in PYTHON_MAGICS:
        text = text[magic.end() :]
        magic = _CELL_MAGIC.match(text)
    if _parses(text):
        # Nothing for IPython to do, which takes its time, and a notebook may have thousands of cells.
        return f"{text}\n" if not text.endswith("\n") else text
    try:
        python = TransformerManager().transform_cell(text)
        if _parses(python):
            return python
        lines = [f"pass  # {line}" if _is_command(line) else line for line in text.split("\n")]
        return TransformerManager().transform_cell("\n".join(lines))
    except RuntimeError:
        raise SyntaxError("there are more magics in this cell than IPython can read") from None


def defined_names(node: ast.AST) -> set[str]:
    """Return the names that a statement binds at the top level, inside `if`, `try`, `for` and `with` too."""
    names: set[str] = set()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    if isinstance(node, _COMPREHENSIONS):
        # Its own variables stay inside; only what `:=` binds gets out.
        return {
            n.target.id
            for n in ast.walk(node)
            if isinstance(n, ast.NamedExpr) and isinstance(n.target, ast.Name)
        }
    if isinstance(node, ast.Lambda):
        return names
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return {node.id}
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        names.add(node.name)
    for child in ast.iter_child_nodes(node):
        names |= defined_names(child)
    return names


def used_names(node: ast.stmt) -> set[str]:
    """Return the global names that a statement looks up. A local variable of a function is not one."""

    def globals_of(table: symtable.SymbolTable) -> set[str]:
        top = table.get_type() == "module"
        names = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
        return names.union(*map(globals_of, table.get_children()))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = globals_of(symtable.symtable(ast.unparse(node), "statement", "exec"))
    if isinstance(node, ast.AugAssign):
        names |= defined_names(node)
    return names


def changed_names(node: ast.AST) -> set[str]:
    """Return names of objects that a statement changes: `Model.scale = 2`, `TABLE["a"] = 1`, `WORDS.append("the")`."""
    if isinstance(node, _SCOPES):
        return set()
    names = set()
    if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        names.add(_root(node))
    if isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Name) and function.id in ("setattr", "delattr") and node.args:
            names.add(_root(node.args[0]))
        if isinstance(function, ast.Attribute) and function.attr in FILLING:
            names.add(_root(function))
    for child in ast.iter_child_nodes(node):
        names |= changed_names(child)
    return names - {""}


def is_stub(node: ast.AST) -> bool:
    """Return some function in it does nothing but raise NotImplementedError."""
    for function in ast.walk(node):
        if isinstance(function, ast.FunctionDef):
            body = function.body[1:] if ast.get_docstring(function) is not None else function.body
            if (
                len(body) == 1
                and isinstance(body[0], ast.Raise)
                and "NotImplementedError" in ast.dump(body[0])
            ):
                return True
    return False


def parameters(node: ast.AST) -> list[str]:
    """Return the names of a function's parameters, in order; for a class those of its methods, after one another."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        args = node.args
        return [arg.arg for arg in [*args.posonlyargs, *args.args, *args.kwonlyargs]]
    if isinstance(node, ast.ClassDef):
        return [
            name
            for method in node.body
            for name in (getattr(method, "name", ""), *parameters(method))
            if name
        ]
    return []


def _root(node: Any) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_command(line: str) -> bool:
    """IPython runs it as a command: `pip install x`, but neither `pip = 3` nor `ls`, which is Python as well."""
    return line.partition(" ")[0] in COMMANDS and not _parses(line)


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True
