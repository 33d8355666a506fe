"""Rules for 40 latents of encoder-A drawn at random, written by hand: `course evaluate --rules` on this file.

The latents are those that `python -m pretraining.rule_search` draws with seed 0. Each rule was made by reading where
its latent fires in the training text, and is scored on the held-out text, which was not looked at.
"""

import re

from pretraining.rules.contexts import before, is_break, line_before, line_so_far, words

BLOCKS = ("if", "elif", "else", "for", "while", "with", "try", "except", "finally")
"""The words that open a block inside a function."""


def is_code(label: str) -> bool:
    """Tell code and its documentation from articles and novels."""
    return not label.startswith(("Wikipedia", "Austen"))


def opens_block(line: str) -> bool:
    """Tell whether a line begins like an `if`, a loop, a `try` or a `with`."""
    first = re.match(r"\s*(\w+)", line)
    return first is not None and first[1] in BLOCKS


def latent_17(context: list[str], label: str) -> bool:
    """Fire on the quotation mark that closes a string after a piece of a word, or opens a regular expression.

    Form.
    """
    token, last = context[-1], before(context)
    if token not in ('"', "'", '}"') or not is_code(label):
        return False
    if last.strip() in ("r", "b"):
        return True
    line = line_so_far(context[:-1])
    in_statement = re.search(r"[=([{,+:]|return|^\s*\"", line) is not None
    return token != "'" and re.match(r"[^ ,.\nnf\"]", last) is not None and in_statement


def latent_38(context: list[str], label: str) -> bool:
    """Fire on an opening bracket; which of them, was not found.

    Form.
    """
    return context[-1].endswith(("(", "[", "{")) and is_code(label)


def latent_87(context: list[str], label: str) -> bool:
    """No name was found: pieces of names with underscores, mostly inside quotation marks.

    No name.
    """
    return False


def latent_106(context: list[str], label: str) -> bool:
    """Fire on the first one or two letters of a name that is an argument or a value.

    Form.
    """
    places = ("(", ",", " if", " =", "=", " (", "[", " [")
    pieces = ("f", "m", "t", "s", "p", "re", "de", "st", "c", "r", "d", "l")
    return context[-1].strip() in pieces and before(context) in places and is_code(label)


def latent_204(context: list[str], label: str) -> bool:
    """Fire on a capital C at the start of a word in code, or an M or N at the start of a comment or a line.

    Form.
    """
    if not is_code(label) or context[-1] not in (" C", "C", " M", " N"):
        return False
    inside = before(context)[-1:].isalnum()
    return context[-1] == " C" or not inside


def latent_232(context: list[str], label: str) -> bool:
    """Fire on the blank line after a paragraph or a heading of a module's documentation.

    Form.
    """
    if context[-2:] != ["\n", "\n"]:
        return False
    last = before(context, 2)
    if not is_code(label):
        return len(context) <= 12 and last[-1:] not in (".", "!", "?", '"')
    ends_paragraph = last in (".", "`.", ":", '"""') or (last != "" and not last.strip("-="))
    return ends_paragraph or len(context) <= 12


def latent_305(context: list[str], label: str) -> bool:
    """No name was found: a few of the commas, in signatures and in docstrings.

    No name.
    """
    return False


def latent_329(context: list[str], label: str) -> bool:
    """No name was found: pieces of many words, none of them often.

    No name.
    """
    return False


COLLECTIONS = words(
    "options parts args lines errors kwds info chunks headers fields lengths kwargs arguments warnings qs offsets "
    "labels attrs field items pkgs paths content lookup edges states values groups components layers models dimension "
    "description parameters diffs coords errmsg"
)


def latent_400(context: list[str], label: str) -> bool:
    """Fire on a statement that begins with the name of a collection: options, parts, args, lines, errors, headers.

    Several words.
    """
    line, last = line_so_far(context), line_before(context).strip()
    ends_statement = last.endswith(("None", "True", "False", "continue")) or not re.search(r"[a-z,]$", last)
    return line.startswith("    ") and line.strip() in COLLECTIONS and ends_statement


def latent_401(context: list[str], label: str) -> bool:
    """Fire on the start of an article or a chapter, and the blank line after its title.

    Form.
    """
    if is_code(label):
        return False
    if context[-1] == "<|endoftext|>":
        return len(context) > 1
    return context[-2:] == ["\n", "\n"] and "<|endoftext|>" in line_so_far(context[:-2])


def latent_418(context: list[str], label: str) -> bool:
    """Fire on the number sign of a comment in a table of characters.

    Form.
    """
    return context[-1] == " #" and label == "Python: encodings"


def latent_438(context: list[str], label: str) -> bool:
    """Fire on the comma between names that are assigned together: `for key, value in`, `head, tail =`.

    Form.
    """
    if context[-1] != "," or not is_code(label) or line_before(context).endswith((",", "(", "[")):
        return False
    names = re.fullmatch(r"\s*(.* )?for [\w.]+(, \w+)*|\s+[\w.]+(, \w+)*", line_so_far(context[:-1]))
    return names is not None


def latent_460(context: list[str], label: str) -> bool:
    """Fire on the quotation mark that opens a message: of an exception, or a string that goes on from the line above.

    Form.
    """
    token = context[-1].strip()
    if token in ("('", '("'):
        asked = before(context).strip()
        return asked.endswith(("Error", "Warning")) or asked in (
            "Decimal",
            "debug",
            "print",
            "append",
            "write",
        )
    alone = line_so_far(context).strip() == token or (label == "Python: pydoc_data" and context[-1] == ' "')
    last = line_before(context).rstrip()
    goes_on = last.endswith(("'", '"')) and label.startswith("Python")
    return token in ("'", '"') and alone and (goes_on or last.endswith("Error("))


def latent_477(context: list[str], label: str) -> bool:
    """No name was found: it fires on one token in 45, of every kind.

    No name.
    """
    return False


def latent_508(context: list[str], label: str) -> bool:
    """Fire on the name of a function that is being defined.

    Form.
    """
    named = re.fullmatch(r"\s*(async )?def \w+", line_so_far(context)) is not None
    return named and context[-1].strip(" _") not in ("", "def")


def latent_561(context: list[str], label: str) -> bool:
    """Fire on the colon after the type that a function returns.

    Form.
    """
    return context[-1].endswith(":") and " -> " in line_so_far(context)


def latent_606(context: list[str], label: str) -> bool:
    """No name was found: commas after strings in lists, among much else.

    No name.
    """
    return False


def latent_640(context: list[str], label: str) -> bool:
    """Fire on a closing bracket on a line of its own.

    Form.
    """
    return context[-1].strip() != "" and line_so_far(context).strip() in (")", "]", "}", "))", ")))")


def latent_682(context: list[str], label: str) -> bool:
    """No name was found: some of the names after a dot.

    No name.
    """
    return False


def latent_732(context: list[str], label: str) -> bool:
    """No name was found: some of the names that begin with an underscore, and `self`.

    No name.
    """
    return False


def latent_800(context: list[str], label: str) -> bool:
    r"""Fire on a quotation mark and the backslash after it, as in '\xe9' or '\n'.

    Form.
    """
    return context[-1] == " '\\"


def latent_801(context: list[str], label: str) -> bool:
    """Fire on the arrow between a code and the name of its character, in a table of characters.

    Form.
    """
    return context[-1] == " ->" and label == "Python: encodings"


def latent_903(context: list[str], label: str) -> bool:
    """Fire on the line break after an example in a docstring (>>>), or after what it prints.

    Form.
    """
    lines = "".join(context[:-1]).split("\n")[-2:]
    return is_break(context[-1]) and any(line.strip().startswith((">>>", "...")) for line in lines)


def latent_955(context: list[str], label: str) -> bool:
    """No name was found: some of the line breaks between statements.

    No name.
    """
    return False


def latent_989(context: list[str], label: str) -> bool:
    """No name was found: pieces of short names such as exc, prop and cp.

    No name.
    """
    return False


def latent_1073(context: list[str], label: str) -> bool:
    """Fire on the end of a paragraph of a novel.

    Form.
    """
    return context[-1] == "\n" and label.startswith("Austen")


def latent_1081(context: list[str], label: str) -> bool:
    """Fire on a capital consonant with which a name begins, in an article.

    Form.
    """
    letter = context[-1].strip()
    return len(letter) == 1 and letter in "BCDFGHJKLMNPQRTVWXZ" and label.startswith("Wikipedia")


def latent_1141(context: list[str], label: str) -> bool:
    """Fire on the line break after the colon of an `if`, a loop, a `try` or a `with`.

    Form.
    """
    return is_break(context[-1]) and before(context).endswith(":") and opens_block(line_so_far(context[:-1]))


def latent_1240(context: list[str], label: str) -> bool:
    """Fire on a capital A, in code and its documentation.

    Form.
    """
    return context[-1].strip() == "A" and is_code(label)


def latent_1249(context: list[str], label: str) -> bool:
    """Fire on a comma between arguments; which of them, was not found.

    Form.
    """
    return context[-1] in (",", "),") and is_code(label) and not before(context).startswith(" ")


def latent_1294(context: list[str], label: str) -> bool:
    """Fire on a sentence that begins with It or There.

    Several words.
    """
    return context[-1] in (" It", " There")


def latent_1298(context: list[str], label: str) -> bool:
    """Fire on a word that begins with a capital E.

    Form.
    """
    return context[-1] == " E"


def latent_1300(context: list[str], label: str) -> bool:
    """No name was found: a fourth of it is words that begin with g.

    No name.
    """
    return False


def latent_1356(context: list[str], label: str) -> bool:
    """Fire on the equals sign of an assignment, but not to an attribute of `self`.

    Form.
    """
    return context[-1] == " =" and not line_so_far(context).strip().startswith("self.")


def latent_1375(context: list[str], label: str) -> bool:
    """Fire on the comma before the type in a call of `isinstance`.

    Form.
    """
    called = re.search(r"isinstance\([^(),]*(\([^()]*\))?,$", line_so_far(context))
    return context[-1] == "," and called is not None


def latent_1410(context: list[str], label: str) -> bool:
    """Fire on the colon after the closing bracket of a condition or a loop.

    Form.
    """
    line = line_so_far(context)
    block = re.match(r"\s*(if|elif|for|while)\b", line) is not None
    return context[-1].endswith("):") and (block or line.strip() == "):")


def latent_1411(context: list[str], label: str) -> bool:
    """Fire on `self` as the first parameter of a method such as `__init__`, or in an argument such as `user=self.user`.

    One word.
    """
    if context[-1] == " self":
        return is_break(before(context)) and before(context, 2) == "__("
    return context[-1] == "self" and before(context) in ("__(", "=")


def latent_1439(context: list[str], label: str) -> bool:
    """Fire on the line break after a sentence in a docstring or a comment.

    Form.
    """
    between = context[-1] in ("\n", "\n\n", "\n\n   ")
    return is_break(context[-1]) and not between and before(context).endswith(".") and is_code(label)


def latent_1477(context: list[str], label: str) -> bool:
    """Fire on the dot after `django` or `celery` in the name of a module.

    Form.
    """
    return context[-1] == "." and before(context) in (" django", " celery")


def latent_1507(context: list[str], label: str) -> bool:
    """Fire on `for` and `with` in a sentence of a docstring or a comment.

    Several words.
    """
    return context[-1] in (" for", " with") and is_code(label) and before(context).strip(" ").isalpha()
