"""A notebook as one HTML page that needs nothing but itself: `course page`.

Figures stay interactive (plotly.js is in the page once), formulas are MathML, which browsers draw themselves, pictures
are in the page. What the page may load is nothing at all: its own security policy forbids every request.
"""

from __future__ import annotations

import base64
import html
import json
import mimetypes
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template
from typing import Any

from coursekit.errors import CourseError
from coursekit.notebooks.reading import joined, read_notebook
from coursekit.work.formulas import formulas_aside, formulas_back, with_formulas
from part_utils.palette import page_colors

GENERATOR = "course page"
PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
_STATIC = Path(__file__).parent / "static"
NOTHING_OUTSIDE = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; media-src data: blob:; worker-src blob:; form-action 'none'; base-uri 'none'"
)


def write_page(notebook: Path, output: Path | None = None) -> Path:
    """Write a notebook, with the outputs that are saved in it, as one HTML page.

    Args:
        notebook: the notebook; it is only read.
        output: the page; by default the notebook's name with `.html`, in the current folder.

    Raises:
        CourseError: the notebook cannot be read, or a page cannot or must not be written there.
    """
    # Whether a page may be written there is known before the work begins.
    target = output or Path(f"{notebook.stem}.html")
    require_writable(target, notebook)
    text = page_html(notebook)
    write_text(target, text)
    return target


def write_text(target: Path, text: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        CourseError: it cannot be written there.
    """
    from part_utils.files import write_atomically

    try:
        write_atomically(target, text.encode(errors="replace"))
    except OSError as error:
        raise CourseError(
            f"{target} cannot be written ({error.strerror}). Name another file with --output."
        ) from None


def require_writable(target: Path, notebook: Path, generator: str = GENERATOR) -> None:
    """Raise CourseError where a page cannot be written, or would replace what this command has not written."""
    if target.is_dir():
        raise CourseError(f"{target} is a folder. Name a file for the page, such as {target / 'page.html'}.")
    if not target.parent.is_dir():
        raise CourseError(f"There is no folder {target.parent}. Make it, or name another file with --output.")
    if not target.exists():
        return
    if notebook.exists() and target.samefile(notebook):
        raise CourseError(
            f"{target} is the notebook itself. Name another file for the page, such as page.html."
        )
    try:
        with target.open("rb") as file:
            ours = generator.encode() in file.read(1000)
    except OSError:
        ours = False
    if not ours:
        raise CourseError(
            f"{target} is there and is not a page that this command wrote. Name another file with --output."
        )


def page_html(path: Path) -> str:
    """Return a notebook as one HTML page.

    Raises:
        CourseError: the notebook cannot be read.
    """
    notebook = read_notebook(path)
    writer = Writer(path.parent, widgets_of(notebook))
    body = "\n".join(writer.cell(cell) for cell in notebook.cells)
    script = ""
    if writer.figures:
        from plotly.offline import get_plotlyjs

        script = f"<script>{get_plotlyjs()}</script>\n<script>{static('page.js')}</script>"
    heading = re.search(
        r"^# +(.+)$", "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown"), re.M
    )
    title = re.sub(r"[*_`$]", "", heading[1]) if heading else path.stem
    return html_page(GENERATOR, title, static("page.css") + _code_style(), body, script)


def html_page(generator: str, title: str, style: str, body: str, after: str) -> str:
    """Return a whole page, which may load nothing.

    Args:
        generator: the command that makes it; only a page of the same command is written over.
        title: as text.
        style: CSS; the colors of pages are in front of it.
        body: what is in `main`.
        after: what comes after it, such as scripts.
    """
    return Template(static("page.html")).substitute(
        policy=NOTHING_OUTSIDE,
        generator=generator,
        title=html.escape(title),
        style=page_colors(":root") + style,
        body=body,
        after=after,
    )


def static(name: str) -> str:
    """Return a file of those that are put into pages."""
    return (_STATIC / name).read_text(encoding="utf-8")


class Writer:
    """Writes cells as HTML. `folder` is where a notebook's relative paths start, `widgets` their saved states."""

    def __init__(self, folder: Path, widgets: dict[str, Any]) -> None:
        self.folder = folder
        self.widgets = widgets
        self.attachments: dict[str, Any] = {}
        self.figures = 0

    def cell(self, cell: Any) -> str:
        """Return one cell with its outputs."""
        if cell.cell_type == "markdown":
            self.attachments = _dict(cell.get("attachments"))
            return f'<section class="text">{self.markdown(cell.source)}</section>'
        if cell.cell_type == "code":
            outputs = cell.get("outputs", [])
            shown = "".join(self.output(output) for output in outputs if isinstance(output, dict))
            code = _code(cell.source) if cell.source.strip() else ""
            return f'<section class="code">{code}<div class="outputs">{shown}</div></section>'
        return f'<section class="raw"><pre>{html.escape(cell.source)}</pre></section>'

    def output(self, output: dict[str, Any]) -> str:
        """Return one output of a cell."""
        kind = output.get("output_type")
        if kind == "stream":
            name = "stderr" if output.get("name") == "stderr" else "stdout"
            return f'<pre class="{name}">{_plain(output.get("text", ""))}</pre>'
        if kind == "error":
            lines = "\n".join(map(str, _list(output.get("traceback"))))
            return f'<pre class="stderr">{_plain(lines)}</pre>'
        data, metadata = _dict(output.get("data")), _dict(output.get("metadata"))
        for mime, write in self._kinds().items():
            if mime in data:
                shown = write(data[mime], _dict(metadata.get(mime)), data)
                if shown is not None:
                    return f'<div class="output">{shown}</div>'
        return ""

    def _kinds(self) -> dict[str, Callable[[Any, dict[str, Any], dict[str, Any]], str | None]]:
        """How each kind of output is written, the richest first; None leaves it to the next."""
        pictures = {
            mime: lambda value, about, data, mime=mime: _picture(
                mime, _text(value), str(about.get("alt", ""))
            )
            for mime in ("image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp")
        }
        return {
            PLOTLY: lambda value, about, data: self._figure(value, data),
            WIDGET: lambda value, about, data: self._widget(value),
            "text/html": lambda value, about, data: _text(value),
            **pictures,
            "text/markdown": lambda value, about, data: self.markdown(_text(value)),
            "text/latex": lambda value, about, data: with_formulas(_text(value)),
            "text/plain": lambda value, about, data: f"<pre>{_plain(value)}</pre>",
        }

    def _figure(self, figure: Any, data: dict[str, Any]) -> str | None:
        if not isinstance(figure, dict) or not isinstance(figure.get("data"), list):
            return None
        self.figures += 1
        layout = _dict(figure.get("layout"))
        alt = html.escape(str(_dict(layout.get("meta")).get("alt") or "A figure."))
        # "</script>" in a label would end the script in the middle of a string.
        content = json.dumps(figure).replace("<", "\\u003c")
        height = layout.get("height")
        size = f' style="min-height:{height:g}px"' if isinstance(height, int | float) else ""
        picture = _picture("image/png", _text(data["image/png"]), "") if "image/png" in data else ""
        return (
            f'<figure class="plotly" role="img" aria-label="{alt}"{size}><noscript>{picture or alt}</noscript>'
            f'<script type="application/json">{content}</script></figure>'
        )

    def _widget(self, view: Any) -> str:
        shown = "".join(self._saved(_dict(view).get("model_id"), set()))
        note = "Sliders, lists and buttons work in the notebook only."
        return f'{shown}<p class="note">{note}</p>'

    def _saved(self, model_id: Any, seen: set[str]) -> Iterator[str]:
        """What the notebook has saved of a widget: the outputs and the HTML in it."""
        reference = str(model_id).removeprefix("IPY_MODEL_")
        if reference in seen:
            return
        seen.add(reference)
        state = _dict(_dict(self.widgets.get(reference)).get("state"))
        for output in _list(state.get("outputs")):
            if isinstance(output, dict):
                yield self.output(output)
        if state.get("_model_name") == "HTMLModel":
            yield f"<div>{_text(state.get('value') or '')}</div>"
        for child in _list(state.get("children")):
            yield from self._saved(child, seen)

    def markdown(self, text: str) -> str:
        """Markdown with formulas as HTML."""
        from markdown_it import MarkdownIt

        source, formulas = formulas_aside(text)
        rendered = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(source)
        rendered = re.sub(r"<(h[1-6])>(.*?)</\1>", _with_anchor, rendered, flags=re.S)
        rendered = re.sub(r"<img\b[^>]*>", lambda match: self._image(match[0]), rendered)
        rendered = re.sub(r'<a\b([^>]*?)\bhref="([^"]*)"([^>]*)>(.*?)</a>', _link, rendered, flags=re.S)
        return formulas_back(rendered, formulas)

    def _image(self, tag: str) -> str:
        """An image of a text, from the file or the attachment, put into the page."""
        facts = dict(re.findall(r'(src|alt|width)="([^"]*)"', tag))
        alt, source = html.unescape(facts.get("alt", "")), html.unescape(facts.get("src", ""))
        mime, content = "", ""
        if source.startswith("data:"):
            return tag
        if source.startswith("attachment:"):
            bundle = _dict(self.attachments.get(source.removeprefix("attachment:")))
            mime, content = next(((kind, _text(value)) for kind, value in bundle.items()), ("", ""))
        elif not re.match(r"[a-z][a-z0-9+.-]*:|//", source, re.I):
            from urllib.parse import unquote

            try:
                data = (self.folder / unquote(source)).read_bytes()
                mime = mimetypes.guess_type(source)[0] or "application/octet-stream"
                content = base64.b64encode(data).decode()
            except (OSError, ValueError):
                content = ""
        if not content or not mime.startswith("image/"):
            return f"<span>{html.escape(alt)}</span>"
        width = f' width="{facts["width"]}"' if "width" in facts else ""
        return f'<img src="data:{mime};base64,{content}" alt="{html.escape(alt)}"{width}>'


def widgets_of(notebook: Any) -> dict[str, Any]:
    """Return the states of widgets that are saved in a notebook, by model."""
    return _dict(
        _dict(_dict(notebook.metadata.get("widgets")).get("application/vnd.jupyter.widget-state+json")).get(
            "state"
        )
    )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    """What a notebook holds as one string or as a list of lines."""
    if isinstance(value, str | list):
        return joined([str(part) for part in value] if isinstance(value, list) else value)
    return str(value)


def _plain(value: Any) -> str:
    """Printed text, without a terminal's colors; of a line that was written over, as by a progress bar, the last."""
    text = "".join(map(str, value)) if isinstance(value, list) else str(value)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")
    return html.escape(re.sub(r"^.*\r(?=[^\n])", "", text, flags=re.M))


def _picture(mime: str, content: str, alt: str) -> str:
    if mime == "image/svg+xml":
        content = base64.b64encode(content.encode()).decode()
    return f'<img src="data:{mime};base64,{html.escape("".join(content.split()))}" alt="{html.escape(alt)}">'


def _code(source: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return str(highlight(source, PythonLexer(stripnl=False), HtmlFormatter(cssclass="source")))


def _code_style() -> str:
    """Colors of code on a light and on a dark page."""
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="default").get_style_defs(".source")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".source")
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n.source .err {{ border: none; color: inherit }}"


def _with_anchor(match: re.Match[str]) -> str:
    """A heading with the address that Jupyter gives it, so that links within the text work."""
    tag, inside = match.groups()
    address = html.unescape(re.sub(r"<[^>]*>", "", inside)).replace(" ", "-")
    return f'<{tag} id="{html.escape(address)}">{inside}</{tag}>'


def _link(match: re.Match[str]) -> str:
    """A link; one to a file beside the notebook, which the page's reader does not have, becomes its text."""
    if re.match(r"https?:|mailto:|#", match[2], re.I):
        return match[0]
    return match[4]
