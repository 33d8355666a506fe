"""Sphinx's settings for the site. `make site` writes the sources and calls Sphinx with them."""

import re
import tomllib
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from coursekit.work.formulas import mathml

ROOT = Path(__file__).resolve().parents[1]
_FACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "Superposition and sparse autoencoders"
author = copyright = _FACTS["authors"][0]["name"]
release = _FACTS["version"]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.linkcode"]
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "strikethrough", "html_image"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
# A notebook's exercises are headings of the third level, wherever they stand. Two classes may have a field of one name.
suppress_warnings = ["myst.header", "myst.strikethrough", "ref.python"]

# Docstrings are written with single backticks.
default_role = "code"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False
maximum_signature_line_length = 88
add_module_names = False
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = "Superposition and sparse autoencoders"
html_baseurl = _FACTS["urls"]["Homepage"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": ""})]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_permalinks_icon = "#"
html_theme_options = {"navigation_with_keys": True}
# A block that does not say what it is is no Python: commands, folders, tables.
highlight_language = "none"
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Return the address of a module's source in the repository."""
    if domain != "py" or not info["module"]:
        return None
    path = ROOT.joinpath(*info["module"].split("."))
    file = path.with_suffix(".py") if path.with_suffix(".py").exists() else path / "__init__.py"
    return f"{_FACTS['urls']['Repository']}/blob/main/{file.relative_to(ROOT).as_posix()}"


_COLON = "\ue000"
_SECTION = re.compile(r"(Args|Returns|Raises|Yields|Attributes|Example|Examples|Note|Notes):\s*$")


def blocks_as_written(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make an indented paragraph of a docstring, such as a formula or a call, a block of code; keep a | as it is."""
    if what == "attribute":
        # napoleon would take what stands before a colon for a type.
        lines[:] = [line.replace(":", _COLON) for line in lines]
        return
    written: list[str] = []
    in_block = False
    for number, line in enumerate(lines):
        if _SECTION.match(line):
            written += lines[number:]
            break
        indented = line.startswith("    ")
        if indented and not in_block and (not written or not written[-1].strip()):
            written += ["::", ""]
            in_block = True
        elif line.strip() and not indented:
            in_block = False
        # A length |W_f| is no name to be replaced.
        written.append(line if indented else re.sub(r"(`[^`]*`)|\|", lambda m: m[1] or r"\|", line))
    lines[:] = written


def colons_back(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Put back what `blocks_as_written` has hidden from napoleon."""
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(mathml(node.astext(), False))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{mathml(node.astext(), True)}</div>')
    raise nodes.SkipNode


# The lines of a signature, which Sphinx writes as a list of definitions without terms.
_LINES = re.compile(r"<dl>\n((?:<dd>(?:(?!<d[ld]).)*?</dd>\n?)+)</dl>", re.S)


def for_those_who_listen(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Mend what a screen reader stumbles over in the pages that Sphinx writes."""
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')
    if "body" in context:
        context["body"] = _LINES.sub(_as_lines, context["body"])


def _as_lines(match: re.Match[str]) -> str:
    return match[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")


def setup(app: Sphinx) -> None:
    """Draw formulas as MathML, and read docstrings as they are written here."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    # Before napoleon, which turns sections into fields.
    app.connect("autodoc-process-docstring", blocks_as_written, priority=400)
    app.connect("autodoc-process-docstring", colons_back, priority=600)
    # After the theme, which makes the list.
    app.connect("html-page-context", for_those_who_listen, priority=900)


html_math_renderer = "mathml"
