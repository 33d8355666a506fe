"""What may know what: dependencies between the packages' modules point one way, and nowhere in a circle.

Imports inside functions count. Those under `if TYPE_CHECKING` do not: nothing is loaded by them.
"""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("part_utils", "pretraining", "coursekit")
# From the bottom up. A module may import from its own layer and from those above it in this list.
LAYERS = (
    ("part_utils",),
    ("pretraining",),
    ("coursekit.errors", "coursekit.material", "coursekit.prose"),
    ("coursekit.catalogue",),
    ("coursekit.folders",),
    ("coursekit.checking",),
    ("coursekit.exercises",),
    ("coursekit.notebooks", "coursekit.progress"),
    ("coursekit.in_notebook",),
    ("coursekit",),
    ("coursekit.work", "coursekit.authoring"),
    ("coursekit.grading",),
    ("coursekit.commands",),
)
# Hand on to where things are now what older releases and what was made with them ask for under an old name.
OLD_NAMES = ("part_utils.exercises", "part_utils.course", "part_utils.sparse_coding_loss")


def modules():
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


MODULES = modules()


class Imports(ast.NodeVisitor):
    """Collects the modules of our own that a module imports."""

    def __init__(self):
        self.found = set()

    def visit_If(self, node):
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.generic_visit(node)

    def visit_Import(self, node):
        self.found |= {alias.name for alias in node.names if alias.name in MODULES}

    def visit_ImportFrom(self, node):
        assert node.level == 0, "write imports with the whole name"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            if inner in MODULES:
                self.found.add(inner)
            elif node.module in MODULES:
                self.found.add(node.module)


def imports_of(name):
    visitor = Imports()
    visitor.visit(ast.parse(MODULES[name].read_text(encoding="utf-8")))
    return visitor.found - {name}


GRAPH = {name: imports_of(name) for name in MODULES}


def layer_of(name):
    """The place in LAYERS of the longest name that the module's begins with."""
    fitting = [
        (len(prefix), number)
        for number, layer in enumerate(LAYERS)
        for prefix in layer
        if name == prefix or (name.startswith(f"{prefix}.") and prefix != "coursekit")
    ]
    return max(fitting)[1] if fitting else None


def circles(graph):
    """Groups of modules that import one another, directly or on a detour (Tarjan's components)."""
    index, low, stack, found = {}, {}, [], []

    def visit(name):
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(component) > 1:
                found.append(sorted(component))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def test_every_module_has_a_place_in_the_order():
    assert [name for name in MODULES if layer_of(name) is None] == []


def test_no_import_points_against_the_order():
    wrong = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in sorted(others)
        if not name.startswith(OLD_NAMES) and layer_of(other) > layer_of(name)
    ]
    assert wrong == []


def test_no_circle():
    assert circles({name: others for name, others in GRAPH.items() if not name.startswith(OLD_NAMES)}) == []


def test_nothing_but_its_own_commands_imports_pretraining():
    importing = {
        name for name, others in GRAPH.items() if any(o.partition(".")[0] == "pretraining" for o in others)
    }
    allowed = {"coursekit.commands.pretraining"}
    assert {name for name in importing if not name.startswith("pretraining")} <= allowed


def test_old_names_are_used_by_nothing_here():
    assert [name for name, others in GRAPH.items() if any(o.startswith(OLD_NAMES) for o in others)] == []


class PrivateTorch(ast.NodeVisitor):
    """Collects what is not public of torch, wherever it is taken from by name: `torch._C`, `torch.ops.aten`."""

    def __init__(self):
        self.found = []

    def visit_Attribute(self, node):
        parts = ast.unparse(node).split(".")
        if parts[0] == "torch" and (parts[1] == "ops" or any(re.match("_[^_]", part) for part in parts[1:])):
            self.found.append(".".join(parts))
        else:
            self.generic_visit(node)

    def visit_ImportFrom(self, node):
        names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        if names[0] == "torch" and (names[1] == "ops" or any(name.startswith("_") for name in names)):
            self.found.append(ast.unparse(node))

    def visit_Import(self, node):
        for alias in node.names:
            if alias.name.startswith(("torch.ops", "torch._")) or re.match(r"torch\..*\._", alias.name):
                self.found.append(alias.name)


def private_torch(source):
    visitor = PrivateTorch()
    visitor.visit(ast.parse(source))
    return visitor.found


def test_private_functions_of_torch_are_called_in_one_folder():
    # The door asks torch whether a value is a plain tensor, with every override by a learner's class switched off.
    allowed = {"coursekit.checking.door": ["torch._C.DisableTorchFunctionSubclass"]}
    found = {
        name: names
        for name, path in MODULES.items()
        if not name.startswith("part_utils.fast")
        and (names := private_torch(path.read_text(encoding="utf-8")))
    }
    assert found == allowed


@pytest.mark.parametrize(
    "source",
    [
        "torch._foreach_add_(a, b)",
        "torch.ops.aten.relu(x)",
        "torch.nn.functional._something(x)",
        "from torch import _C",
        "from torch.ops import aten",
        "import torch._inductor",
        "f = torch._fused_adamw_",
    ],
)
def test_private_functions_are_found(source):
    assert private_torch(source)
    assert not private_torch("torch.nn.functional.relu(torch.__version__, x._mine)")


def test_no_class_is_asked_for_by_identity():
    """A short cut asks what a class overrides (`part_utils.fast.overrides`); only what is saved has to be known."""
    pattern = re.compile(r"\btype\(\w+\) is (not )?[A-Za-z]")
    allowed = {"part_utils.formats.weights"}
    found = {
        name
        for name, path in MODULES.items()
        if name.startswith(("part_utils", "pretraining")) and pattern.search(path.read_text(encoding="utf-8"))
    }
    assert found <= allowed


def test_all_exercises_are_known_without_the_heavy_libraries():
    """A check card, `course progress` and a grading worker read the catalogue before they do anything."""
    heavy = {
        "scipy",
        "transformers",
        "transformer_lens",
        "plotly",
        "nbgrader",
        "nbformat",
        "pandas",
        "dask",
        "rich",
    }
    code = f"import sys, coursekit; coursekit.all_exercises(); print({heavy} & set(sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert output.stdout == "set()\n"


@pytest.mark.parametrize(
    ("graph", "wanted"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"]]),
        ({"a": {"b", "c"}, "b": {"a"}, "c": {"d"}, "d": {"c"}}, [["c", "d"], ["a", "b"]]),
    ],
)
def test_circles_are_found(graph, wanted):
    assert circles(graph) == wanted


def test_the_version_stands_in_one_place():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assigned = re.compile(r"^_*version_*\s*(:.*)?=\s*[\"'\d]", re.MULTILINE | re.IGNORECASE)
    assert [name for name, path in MODULES.items() if assigned.search(path.read_text(encoding="utf-8"))] == []
    # A citation is a file of its own, which cannot read another one.
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


ASKING = re.compile(r"_?(is|has|can|find|needs|wants)(_|$)")
WRITING = {
    "write_atomically",
    "write_text",
    "write_bytes",
    "mkdir",
    "unlink",
    "rename",
    "rmtree",
    "touch",
    "setattr",
}


def test_no_function_whose_name_asks_changes_anything():
    wrong = []
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and ASKING.match(node.name):
                inside = list(ast.walk(node))
                called = {
                    getattr(n.func, "attr", getattr(n.func, "id", ""))
                    for n in inside
                    if isinstance(n, ast.Call)
                }
                if called & WRITING or any(isinstance(n, ast.Nonlocal | ast.Global) for n in inside):
                    wrong.append(f"{name}.{node.name}")
    assert wrong == []


def test_a_model_with_its_autoencoder_travels_as_one_thing():
    """Functions take a `ModelWithAutoencoder`; those that a learner writes have the arguments of their exercise."""
    written_by_learners = {
        "ablate_feature",
        "feature_logit_effect",
        "get_substitution_loss",
        "highest_activating_tokens",
    }
    # The first loads what is named; the model of the second is a toy model.
    others = {"make_dashboard", "plot_encoder_tilt"}
    found = {
        node.name
        for name, path in MODULES.items()
        if name.startswith(("part_utils", "pretraining"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and {"model", "autoencoder", "instance"}
        <= {arg.arg for arg in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]}
    }
    assert found == written_by_learners | others
