"""What the rules in this folder ask of a context."""

from part_utils.hypotheses import line_so_far

__all__ = ["before", "is_break", "line_before", "line_so_far", "tail", "word", "words"]


def before(context: list[str], places: int = 1) -> str:
    """Return the token some places before the last one."""
    return context[-1 - places] if len(context) > places else ""


def word(context: list[str], places: int = 0) -> str:
    """Return the last token, or one some places before it, in lower case and without the space in front."""
    return before(context, places).strip().lower()


def words(text: str) -> tuple[str, ...]:
    """Return a list of words that is written as one text."""
    return tuple(text.split())


def tail(context: list[str], places: int = 8) -> str:
    """Return the text of the last few tokens."""
    return "".join(context[-places:])


def line_before(context: list[str]) -> str:
    """Return the line above the one that a context ends in."""
    lines = "".join(context).split("\n")
    return lines[-2] if len(lines) > 1 else ""


def is_break(token: str) -> bool:
    """Tell whether a token is a line break, with the indentation that follows."""
    return "\n" in token and not token.strip()
