"""Formulas in LaTeX as MathML, which browsers draw themselves: no script, no font, no network."""

from __future__ import annotations

import html
import re

# Formulas are taken out before the text is read as Markdown, which would take _ and * in them for emphasis. Code, in
# which a dollar is a dollar, is matched first and left as it is.
_CODE_OR_FORMULA = re.compile(
    r"(?P<code>^(?P<fence>`{3,}|~{3,})[\s\S]*?^(?P=fence)|(?P<ticks>`+)(?!`)[\s\S]*?(?<!`)(?P=ticks)(?!`)|\\\$"
    r"|<(?P<tag>code|pre)\b[\s\S]*?</(?P=tag)>)"
    r"|\$\$(?P<block>[\s\S]+?)\$\$|\$(?![\s$])(?P<inline>(?:[^$\\\n]|\\.|\n(?!\s*\n))+?)(?<!\s)\$(?!\d)",
    re.M,
)
_MARK = "\ue000{}\ue001"


def formulas_aside(text: str) -> tuple[str, list[tuple[str, bool]]]:
    """Take the formulas out of Markdown: the text with marks in their place, and each formula, True for a block."""
    formulas: list[tuple[str, bool]] = []

    def aside(match: re.Match[str]) -> str:
        if match["code"] is not None:
            return match[0]
        block = match["block"] is not None
        formulas.append((match["block"] if block else match["inline"], block))
        return _MARK.format(len(formulas) - 1)

    return _CODE_OR_FORMULA.sub(aside, re.sub("[\ue000\ue001]", "", text)), formulas


def formulas_back(rendered: str, formulas: list[tuple[str, bool]]) -> str:
    """Put the formulas, as MathML, where their marks stand in what was made of the text."""

    def back(match: re.Match[str]) -> str:
        if match[1] is not None:
            return mathml(*formulas[int(match[1])])
        # Inside a tag, such as an image's description, a formula stays as it was written.
        return re.sub("\ue000(\\d+)\ue001", lambda m: html.escape(formulas[int(m[1])][0]), match[0])

    return re.sub("<[a-zA-Z/][^>]*>|\ue000(\\d+)\ue001", back, rendered)


def with_formulas(text: str) -> str:
    """Return plain text with formulas as one paragraph."""
    source, formulas = formulas_aside(text)
    return f"<p>{formulas_back(html.escape(source), formulas)}</p>"


def mathml(formula: str, block: bool) -> str:
    """Return a formula as MathML; one that cannot be read as it was written."""
    from latex2mathml.converter import convert

    try:
        return convert(formula.strip(), display="block" if block else "inline")
    except Exception:
        # The converter raises errors of many kinds for what is no LaTeX.
        return f"<code>{html.escape(formula)}</code>"
