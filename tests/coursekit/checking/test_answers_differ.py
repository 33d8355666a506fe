"""No answer stands twice in an exercise's list: a second one tests nothing, and its message may tell another story."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "mutants").glob("chapter_*/e*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_answer_of_an_exercise_is_another_one(path):
    same = defaultdict(list)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            listed, *others = node.decorator_list
            kind = (
                ast.unparse(listed).partition("(")[0],
                *(
                    ast.unparse(keyword)
                    for keyword in getattr(listed, "keywords", [])
                    if keyword.arg == "function"
                ),
            )
            code = [ast.dump(each) for each in (node.args, *others, *node.body)]
            same[kind, tuple(code)].append(node.name)
    assert [names for names in same.values() if len(names) > 1] == []
