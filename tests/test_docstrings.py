"""Docstrings of public functions say what to do: "Return", "Draw", "Write"."""

import ast
import re

from coursekit import all_exercises
from coursekit.folders import ROOT

NO_VERBS = r"The|An?|What|Whether|Where|Which|How|Every|Each|All|Some|Several|One|Two|Everybody's"
# In the third person; what else ends in an s is a noun or an imperative, such as Pass.
VERBS = (
    r"Adds|Brings|Changes|Checks|Collects|Computes|Copies|Counts|Decodes|Draws|Encodes|Fetches|Finds|Gives|Keeps|Leaves|"
    r"Loads|Looks|Makes|Measures|Points|Puts|Reads|Replaces|Returns|Rewrites|Runs|Saves|Says|Sends|Sets|Shows|Starts|"
    r"Takes|Tells|Trains|Turns|Waits|Writes|Yields"
)
OTHER_MOOD = re.compile(rf"({NO_VERBS}|{VERBS})\s")


def public_functions(node, inside=""):
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public_functions(child, f"{child.name}.")
        if isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            kinds = [ast.unparse(decorator) for decorator in child.decorator_list]
            # A property is what it is called.
            if not any("property" in kind for kind in kinds):
                yield f"{inside}{child.name}", ast.get_docstring(child) or ""


def test_they_are_in_one_mood():
    # What a learner writes is worded for the learner.
    learners = {name for exercise in all_exercises() for name in (exercise.name, *exercise.targets.values())}
    others = []
    for package in ("part_utils", "coursekit", "pretraining"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for name, text in public_functions(ast.parse(path.read_text(encoding="utf-8"))):
                if not {name, name.partition(".")[0]} & learners and OTHER_MOOD.match(text):
                    others.append(f"{path.relative_to(ROOT)}: {name}: {text.partition(chr(10))[0]}")
    assert others == []
