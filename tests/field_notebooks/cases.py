"""Notebooks in the state in which people really leave them, and what `course check` has to say about each.

Every case is a function that returns the notebook as JSON; its decorator holds the right result of each exercise.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from coursekit import get_exercise
from coursekit.notebooks.source import solution_source, without_markers
from coursekit.notebooks.stubs import stub_cells

P, N, F, E = "passed", "not_attempted", "failed", "error"
IMPORTS = """import einops
import torch
from jaxtyping import Float
from torch import Tensor

from coursekit import check"""
ONE = """def project_features(features, W):
    return torch.einsum("bif,ihf->bih", features, W)"""
WRONG = """def project_features(features, W):
    return torch.einsum("bif,hf->bih", features, W[0])"""

# A solution of 0.3 that builds on the learner's own 0.2.
THIRD = """def decoder_as_matrix(W_dec, instance):
    eye = torch.eye(W_dec.shape[1])[:, None]
    return reconstruct(eye, W_dec[instance][None])[:, 0].T"""


@dataclass(frozen=True)
class Case:
    """`expected` maps an exercise's id to its right status; `files` lie beside the notebook; `needs` is an
    exercise that the catalogue must have."""

    name: str
    build: Callable[[], Any]
    expected: dict[str, str]
    files: dict[str, str]
    needs: str


CASES: list[Case] = []


def case(*statuses: str, files: dict[str, str] | None = None, needs: str = "0.1", **more: str) -> Callable:
    """The statuses of 0.1, 0.2 and 0.3, in this order, or of exercises given as `e1_1="passed"`."""

    def register(build: Callable[[], Any]) -> Callable[[], Any]:
        expected = dict(zip(("0.1", "0.2", "0.3"), statuses, strict=False))
        expected |= {key[1:].replace("_", "."): status for key, status in more.items()}
        CASES.append(Case(build.__name__, build, expected, files or {}, needs))
        return build

    return register


# What notebooks are made of


def code(source: str, **metadata: Any) -> dict:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": metadata,
        "outputs": [],
        "source": source,
    }


def text(source: str, **metadata: Any) -> dict:
    return {"cell_type": "markdown", "metadata": metadata, "source": source}


def notebook(cells: list[dict], minor: int = 5, **metadata: Any) -> dict:
    cells = copy.deepcopy(cells)
    if minor >= 5:
        for number, cell in enumerate(cells):
            cell.setdefault("id", f"cell-{number}")
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": minor}


def exercise(number: str, source: str | None = None) -> list[dict]:
    """The four cells of an exercise, with another source in the learner's."""
    cells = json.loads(json.dumps(stub_cells(get_exercise(number))))
    if source is not None:
        cells[1]["source"] = source
    return cells


def solution(number: str) -> str:
    return without_markers(solution_source(get_exercise(number)))


def solved(number: str) -> list[dict]:
    return exercise(number, solution(number))


def chapter(one: list[dict] | str | None = None) -> list[dict]:
    """Chapter 0 with 0.2 solved, 0.3 untouched, and 0.1 as given."""
    first = one if isinstance(one, list) else exercise("0.1", one)
    return [code(IMPORTS), *first, *solved("0.2"), *exercise("0.3")]


def every_source_as_lines(content: dict) -> dict:
    for cell in content["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
    return content


# Untouched, solved, wrong


@case(N, P, N)
def untouched_first_exercise() -> dict:
    return notebook(chapter())


@case(P, P, N)
def solved_in_place() -> dict:
    return every_source_as_lines(notebook(chapter(ONE)))


@case(F, P, N)
def wrong_answer() -> dict:
    return notebook(chapter(WRONG))


@case(P, P, P)
def everything_solved() -> dict:
    return notebook([code(IMPORTS), *solved("0.1"), *solved("0.2"), *solved("0.3")])


# Cells moved, copied, deleted


@case(P, P, N)
def cells_in_reverse_order() -> dict:
    return notebook(chapter(ONE)[::-1])


@case(P, P, N)
def solution_below_its_check() -> dict:
    statement, cell, check, hints = exercise("0.1", ONE)
    return notebook(chapter([statement, check, hints, cell]))


@case(P, P, N)
def stub_copied_below_the_solution() -> dict:
    statement, cell, check, hints = exercise("0.1", ONE)
    return notebook(chapter([statement, cell, exercise("0.1")[1], check, hints]))


@case(P, P, N)
def solution_copied_below_the_stub() -> dict:
    statement, cell, check, hints = exercise("0.1")
    return notebook(chapter([statement, cell, exercise("0.1", ONE)[1], check, hints]))


@case(P, P, N)
def wrong_attempt_kept_above() -> dict:
    statement, cell, check, hints = exercise("0.1", ONE)
    return notebook(chapter([statement, code(WRONG), cell, check, hints]))


@case(F, P, N)
def right_attempt_overwritten_below() -> dict:
    statement, cell, check, hints = exercise("0.1", ONE)
    return notebook(chapter([statement, cell, code(WRONG), check, hints]))


@case(P, P, N)
def solved_in_a_new_cell_at_the_end() -> dict:
    return notebook([*chapter(), code("# my own version\n" + ONE)])


@case(N, P, N)
def exercise_cell_deleted() -> dict:
    statement, _, check, hints = exercise("0.1")
    return notebook(chapter([statement, check, hints]))


@case(N, P, N)
def whole_exercise_deleted() -> dict:
    return notebook([code(IMPORTS), *solved("0.2"), *exercise("0.3")])


@case(N, P, N)
def check_cells_only_by_call() -> dict:
    return notebook([code(IMPORTS), code('check("0.1")'), code(solution("0.2")), code('check("0.2")')])


@case(N, P, N)
def cell_turned_into_markdown() -> dict:
    statement, cell, check, hints = exercise("0.1", ONE)
    cell = {key: value for key, value in cell.items() if key not in ("outputs", "execution_count")}
    return notebook(chapter([statement, {**cell, "cell_type": "markdown"}, check, hints]))


@case(N, P, N)
def everything_commented_out() -> dict:
    return notebook(chapter("\n".join(f"# {line}" for line in ONE.splitlines())))


@case(P, P, N)
def example_of_a_wrong_answer_in_the_text() -> dict:
    example = code(
        'def wrong_on_purpose(features, W):\n    return features\n\ncheck("0.1", wrong_on_purpose)'
    )
    return notebook([code(IMPORTS), code('check("0.1")'), example, *chapter(ONE)[1:]])


# Names, helpers, imports


@case(P, P, N)
def function_renamed() -> dict:
    return notebook(chapter(ONE.replace("project_features", "my_project_features")))


@case(P, P, N)
def function_renamed_without_any_metadata() -> dict:
    cells = [code(IMPORTS), code(ONE.replace("project_features", "project")), code('check("0.1")')]
    return notebook([*cells, code(solution("0.2")), code('check("0.2")')], minor=4)


@case(P, P, N)
def function_renamed_beside_a_helper() -> dict:
    helper = "def contract(x, W):\n    return torch.einsum('bif,ihf->bih', x, W)\n\n"
    return notebook(chapter(f"{helper}def mine(features, W):\n    return contract(features, W)"))


@case(P, P, N)
def helper_in_a_cell_above() -> dict:
    helper = code("PATTERN = 'bif,ihf->bih'\n\ndef contract(x, W):\n    return torch.einsum(PATTERN, x, W)")
    return notebook(
        chapter([helper, *exercise("0.1", "def project_features(x, W):\n    return contract(x, W)")])
    )


@case(P, P, N)
def helper_in_a_cell_below() -> dict:
    helper = code("def contract(x, W):\n    return torch.einsum('bif,ihf->bih', x, W)")
    return notebook([*chapter("def project_features(x, W):\n    return contract(x, W)"), helper])


@case(P, P, N)
def helper_replaced_further_down() -> dict:
    helper = "def contract(x, W):\n    return torch.einsum('bif,ihf->bih', x, W)"
    later = code("def contract(x, W):\n    return 'another helper of the same name, for another plot'")
    return notebook([*chapter(f"{helper}\n\ndef project_features(x, W):\n    return contract(x, W)"), later])


@case(
    P,
    P,
    N,
    files={
        "my_helpers.py": "import torch\n\ndef contract(x, W):\n    return torch.einsum('bif,ihf->bih', x, W)\n"
    },
)
def helper_in_a_file_beside_the_notebook() -> dict:
    source = "def project_features(x, W):\n    import my_helpers\n    return my_helpers.contract(x, W)"
    return notebook(chapter(source))


@case(P, P, N, files={"my_work.py": f"import torch\n\n{ONE}\n"})
def solution_imported_from_a_file() -> dict:
    return notebook(chapter("from my_work import project_features"))


@case(P, P, N)
def imports_removed() -> dict:
    return notebook(chapter(solution("0.1"))[1:])


@case(P, P, N)
def import_in_the_last_cell() -> dict:
    source = "def project_features(x, W):\n    return oe.einsum(x, W, 'b i f, i h f -> b i h')"
    return notebook([*chapter(source), code("import einops as oe")])


@case(P, P, N)
def annotation_whose_import_is_gone() -> dict:
    source = ONE.replace("(features, W)", "(features: Optional[NDArray], W: 'Anything') -> Sequence[Tensor]")
    return notebook(chapter(source))


@case(P, P, N)
def star_imports() -> dict:
    source = (
        "from math import *\nfrom torch import *\n\ndef project_features(x, W):\n    assert comb(4, 2) == 6\n"
    )
    return notebook(chapter(source + "    return einsum('bif,ihf->bih', x, W)"))


@case(P, P, N)
def import_with_a_fallback() -> dict:
    source = "try:\n    import opt_einsum_of_mine as oe\nexcept ImportError:\n    oe = torch\n\n"
    return notebook(chapter(source + ONE.replace("torch.einsum", "oe.einsum")))


@case(P, P, N)
def import_of_a_package_that_is_missing() -> dict:
    return notebook([code("import no_such_package_here\nimport wandb_of_mine as wandb"), *chapter(ONE)])


@case(E, P, N)
def solution_uses_a_package_that_is_missing() -> dict:
    return notebook(
        chapter("import no_such_package_here as nope\n\n" + ONE.replace("torch.einsum", "nope.einsum"))
    )


@case(P, P, N)
def global_constants() -> dict:
    constants = code(
        "AXES = {}\nAXES['in'] = 'bif,ihf'\nAXES.update(out='bih')\nSCALE, *_ = (2.0, 3)\nSCALE *= 0.5"
    )
    source = (
        "def project_features(x, W):\n    return SCALE * torch.einsum(AXES['in'] + '->' + AXES['out'], x, W)"
    )
    return notebook(chapter([constants, *exercise("0.1", source)]))


@case(P, P, N)
def constant_changed_further_down() -> dict:
    source = (
        "SCALE = 1.0\n\ndef project_features(x, W):\n    return SCALE * torch.einsum('bif,ihf->bih', x, W)"
    )
    return notebook([*chapter(source), code("SCALE = 7.0"), code("for SCALE in range(3):\n    print(SCALE)")])


@case(P, P, N)
def the_alias_of_torch_reused_as_a_loop_variable() -> dict:
    source = "def project_features(x, W):\n    return t.einsum('bif,ihf->bih', x, W)"
    loops = code("squares = [t for t in range(3)]\nfor t in range(10**12):\n    squares.append(t)")
    return notebook([code("import torch as t"), *chapter(source), loops])


@case(P, P, N)
def decorated_afterwards() -> dict:
    helper = (
        "import functools\n\ndef loudly(f):\n    @functools.wraps(f)\n    def g(*a):\n        return f(*a)\n"
    )
    return notebook(chapter(f"{helper}    return g\n\n{ONE}\n\nproject_features = loudly(project_features)"))


@case(F, P, N)
def decorated_afterwards_so_that_it_is_wrong() -> dict:
    return notebook(
        chapter(f"{ONE}\n\nproject_features = (lambda f: lambda x, W: -f(x, W))(project_features)")
    )


@case(P, P, N)
def decorated_above() -> dict:
    source = "import functools\n\n@functools.lru_cache(maxsize=None)\ndef pattern():\n    return 'bif,ihf->bih'\n\n"
    return notebook(chapter(source + "@torch.enable_grad()\n" + ONE.replace('"bif,ihf->bih"', "pattern()")))


@case(P, P, N)
def lambda_in_place_of_the_function() -> dict:
    source = "project_features = lambda x, W: torch.einsum('bif,ihf->bih', x, W)  # noqa: E731"
    return notebook([*chapter(), code(source)])


@case(P, P, N)
def another_name_assigned() -> dict:
    return notebook(
        chapter(ONE.replace("project_features", "attempt_3") + "\n\nproject_features = attempt_3")
    )


@case(P, P, N)
def defined_in_a_branch() -> dict:
    inside = "\n".join(f"    {line}" for line in ONE.splitlines())
    return notebook(chapter(f"FAST = True\nif FAST:\n{inside}\nelse:\n    project_features = None"))


@case(P, N, P)
def uses_an_exercise_that_was_skipped() -> dict:
    return notebook([code(IMPORTS), *solved("0.1"), *exercise("0.2"), *exercise("0.3", THIRD)])


@case(P, F, P)
def uses_an_exercise_that_is_wrong() -> dict:
    second = "def reconstruct(acts, W_dec):\n    return torch.einsum('bil,ilx->bx', acts, W_dec)"
    return notebook([code(IMPORTS), *solved("0.1"), *exercise("0.2", second), *exercise("0.3", THIRD)])


@case(P, P, P)
def uses_an_exercise_that_was_extended() -> dict:
    second = "def reconstruct(acts, W_dec, transpose=False):\n    out = torch.einsum('bil,ilx->bix', acts, W_dec)\n"
    second += "    return out.mT if transpose else out"
    third = THIRD.replace("[None])[:, 0].T", "[None], transpose=True)[:, :, 0].T")
    return notebook([code(IMPORTS), *solved("0.1"), *exercise("0.2", second), *exercise("0.3", third)])


# Lines that are not Python, cells that fail


@case(P, P, N)
def magics_and_shell_lines() -> dict:
    top = "%matplotlib inline\n%load_ext autoreload\n%autoreload 2\n!pip install -q einops\nfiles = !ls\n"
    return notebook(
        [code(top), *chapter("%config Application.verbose_crash = True\n" + ONE + "\n\nproject_features?")]
    )


@case(P, P, N)
def a_magic_and_display_in_the_solution() -> dict:
    source = (
        "def project_features(x, W):\n    %time y = 3\n    display(x)\n    !nvidia-smi\n    print(x.shape)\n"
    )
    return notebook(chapter(source + "    return torch.einsum('bif,ihf->bih', x, W)"))


@case(P, P, N)
def cell_magics() -> dict:
    other = [
        code("%%bash\nfor f in *; do echo $f; done"),
        code("%%html\n<b>not Python</b>"),
        code("%%writefile x.py\ny = 1"),
    ]
    return notebook([*other, *chapter(f"%%time\n{ONE}")])


@case(P, P, N)
def pip_without_a_sign_in_front() -> dict:
    return notebook([*chapter(f"pip install einops\n{ONE}")])


@case(P, P, N)
def a_cell_that_raises() -> dict:
    cells = [
        code("1 / 0"),
        code("raise RuntimeError('stop here')"),
        code("assert False"),
        code("undefined_name"),
    ]
    return notebook([*cells, *chapter(ONE), code("import sys; sys.exit(1)"), code("exit()")])


@case(P, P, N)
def an_endless_loop_in_another_cell() -> dict:
    return notebook([code("while True:\n    pass"), *chapter(ONE), code("while True:\n    step = 1")])


@case(P, P, N)
def a_training_run_under_the_solution() -> dict:
    return notebook(
        chapter(f"{ONE}\n\nfor step in range(10**12):\n    project_features(torch.ones(1, 1, 1), W)")
    )


@case(E, P, N)
def an_endless_loop_in_the_solution() -> dict:
    return notebook(chapter("def project_features(features, W):\n    while True:\n        pass"))


@case(E, P, N)
def a_syntax_error_in_the_solution() -> dict:
    return notebook(chapter(ONE.replace("W):", "W)")))


@case(E, P, N)
def a_syntax_error_with_a_spare_stub() -> dict:
    statement, cell, check, hints = exercise("0.1", ONE.replace("W):", "W)"))
    return notebook(chapter([statement, cell, code(exercise("0.1")[1]["source"]), check, hints]))


@case(P, P, N)
def syntax_errors_elsewhere() -> dict:
    cells = [
        code("for i in range(3)\n    print(i)"),
        code("return 3"),
        code("x = = 2"),
        code("print 'hello'"),
    ]
    return notebook([*cells, *chapter(ONE), code("\tif True:\n  mixed = 1")])


@case(E, P, N)
def name_error_in_the_solution() -> dict:
    return notebook(chapter(ONE.removesuffix("W)") + "weights)"))


@case(E, P, N)
def asks_for_input() -> dict:
    return notebook(chapter(f"{ONE[: ONE.index('return')]}name = input('Your name?')\n    return features"))


@case(N, P, N)
def stub_kept_under_the_docstring() -> dict:
    return notebook(chapter(exercise("0.1")[1]["source"] + f"\n\n# {ONE.splitlines()[1].strip()}"))


@case(P, P, N)
def stub_kept_below_the_return() -> dict:
    return notebook(chapter(ONE + '\n    raise NotImplementedError("Exercise 0.1 is still to be solved.")'))


@case(P, P, N)
def top_level_await() -> dict:
    source = "import asyncio\n\nasync def fetch():\n    await asyncio.sleep(0)\n    return 1.0\n\n"
    source += "SCALE = await fetch()\n\n"
    return notebook(chapter(source + ONE.replace("torch.einsum", "SCALE * torch.einsum")))


@case(P, P, N)
def future_import() -> dict:
    source = "def project_features(features: NotThere | None, W: list[NotThere]) -> NotThere:\n"
    first = code("from __future__ import annotations")
    return notebook([first, *chapter(source + ONE.partition("\n")[2])])


@case(P, P, N)
def prints_warns_and_seeds() -> dict:
    source = "import warnings\nwarnings.warn('careful')\nprint('loading')\ntorch.manual_seed(1)\nNOISE = print('x')\n"
    return notebook(chapter(source + ONE.replace("    return", "    print(NOISE)\n    return")))


# What editors add and leave out


@case(P, P, N)
def no_metadata_at_all() -> dict:
    cells = [{"cell_type": cell["cell_type"], "source": cell["source"]} for cell in chapter(ONE)]
    return {"cells": cells, "nbformat": 4}


@case(P, P, N)
def metadata_that_is_null() -> dict:
    content = notebook(chapter(ONE))
    for cell in content["cells"]:
        cell["metadata"] = None
    return {**content, "metadata": None}


def without_ids(minor: int) -> dict:
    content = notebook(chapter(ONE), minor=minor)
    for cell in content["cells"]:
        cell.pop("id", None)
    return content


for _minor in range(6):

    def _of_this_format(minor: int = _minor) -> dict:
        return without_ids(minor)

    _of_this_format.__name__ = f"format_4_{_minor}_without_ids"
    case(P, P, N)(_of_this_format)


@case(P, P, N)
def ids_in_an_old_format() -> dict:
    return notebook(chapter(ONE)) | {"nbformat_minor": 2}


@case(P, P, N)
def colab() -> dict:
    cells = []
    for number, cell in enumerate(chapter(f"#@title My solution {{ run: 'auto' }}\n{ONE}")):
        cell = {key: value for key, value in cell.items() if key != "id"}
        cell["metadata"] = {
            **cell["metadata"],
            "id": f"aB{number}_x-Yz",
            "colab": {"base_uri": "https://localhost:8080/", "height": 35},
            "outputId": "d1f2",
            "cellView": "form",
            "executionInfo": {"status": "ok", "elapsed": 3, "user": {"displayName": "", "userId": ""}},
        }
        cells.append(cell)
    content = notebook(cells, minor=0, accelerator="GPU", colab={"provenance": [], "toc_visible": True})
    return every_source_as_lines(content)


@case(P, P, N)
def vs_code() -> dict:
    cells = chapter(ONE)
    for number, cell in enumerate(cells):
        cell["id"] = f"{number:08x}"
        cell["metadata"] = {**cell["metadata"], "vscode": {"languageId": "python"}}
    shell = code("echo hello && ls -l", vscode={"languageId": "shellscript"})
    return notebook([shell, *cells], language_info={"name": "python", "version": "3.11.7"}, orig_nbformat=4)


@case(P, P, N)
def ids_twice() -> dict:
    content = notebook(chapter(ONE))
    for cell in content["cells"]:
        cell["id"] = "same"
    return content


@case(P, P, N)
def windows_line_ends() -> dict:
    content = notebook(chapter(ONE))
    for cell in content["cells"]:
        cell["source"] = cell["source"].replace("\n", "\r\n")
    return content


@case(P, P, N)
def tabs() -> dict:
    return notebook(chapter(ONE.replace("    ", "\t")))


@case(E, P, N)
def tabs_and_spaces_mixed() -> dict:
    return notebook(chapter(ONE.replace("    return", "\tx = 1\n        return")))


@case(P, P, N)
def indented_as_a_whole() -> dict:
    return notebook(chapter("\n".join(f"    {line}" for line in ONE.splitlines())))


@case(P, P, N)
def outputs_of_every_kind() -> dict:
    cells = chapter(ONE)
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            cell["execution_count"] = 40 - number
            cell["outputs"] = [
                {"output_type": "stream", "name": "stderr", "text": ["100%|###|\n"]},
                {"output_type": "error", "ename": "E", "evalue": "", "traceback": ["\u001b[31mred"]},
                {"output_type": "display_data", "data": {"image/png": "iVBORw0K"}, "metadata": {}},
                {"output_type": "something new"},
            ]
    return notebook(cells, widgets={"application/vnd.jupyter.widget-state+json": {"state": {}}})


@case(P, P, N)
def empty_and_odd_cells() -> dict:
    odd = [
        code(""),
        code("   \n\n"),
        code("#"),
        text(""),
        {"cell_type": "raw", "source": "x"},
        code("'''only text'''"),
    ]
    return notebook([*odd, *chapter(ONE), *odd])


# Classes: exercises of chapter 1

FORWARD = """class ToyModelForward(ToyModel):
    def forward(self, features):
        hidden = t.einsum("bif,ihf->bih", features, self.W)
        return t.relu(t.einsum("bih,ihf->bif", hidden, self.W) + self.b_final)"""


def class_notebook(*cells: dict) -> dict:
    return notebook(
        [code(IMPORTS), code("import torch as t\nfrom part_utils.toy_model import ToyModel"), *cells]
    )


@case(needs="1.1", e1_1=P)
def a_class() -> dict:
    return class_notebook(*exercise("1.1", FORWARD))


@case(needs="1.1", e1_1=P)
def a_class_whose_imports_are_gone() -> dict:
    return notebook(exercise("1.1", FORWARD))


@case(needs="1.1", e1_1=P)
def a_method_assigned_afterwards() -> dict:
    method = FORWARD.partition("\n")[2].replace("\n    ", "\n").removeprefix("    ")
    method = method.replace("def forward", "def my_forward")
    return class_notebook(*exercise("1.1"), code(f"{method}\n\nToyModelForward.forward = my_forward"))


@case(needs="1.1", e1_1=P)
def a_class_attribute_assigned_afterwards() -> dict:
    source = FORWARD.replace("self.b_final", "self.b_final * self.scale")
    return class_notebook(*exercise("1.1", f"{source}\n\nToyModelForward.scale = 1.0"))


@case(needs="1.1", e1_1=P)
def a_model_trained_in_the_cell() -> dict:
    run = "\n\nmodel = ToyModelForward(ToyModelConfig(n_instances=8))\nmodel.optimize(steps=10**9)"
    return class_notebook(*exercise("1.1", FORWARD + run))


@case(P)
def what_an_answer_needs_has_another_value_further_up() -> Any:
    """`weight` is made with the `factor` above it, not with the one that stood there earlier or comes later."""
    answer = ONE.replace('bih", features', 'bih", weight * features')
    below = code("factor = torch.ones(())\nweight = factor.reshape(())\nfactor = None")
    return notebook([code("factor = 'three'"), *chapter(answer), below])
