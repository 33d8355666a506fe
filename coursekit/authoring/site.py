"""The site: `course site` makes web pages of the executed notebooks, the manual and the library's docstrings.

It writes what Sphinx reads (`docs/conf.py` has the settings) into a scratch folder, with the links of the repository's
files turned into links between pages, and calls Sphinx. Nothing of a notebook is executed.
"""

from __future__ import annotations

import ast
import html
import io
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from coursekit import folders
from coursekit.authoring.build import colab
from coursekit.authoring.site_chapters import chapter_page
from coursekit.authoring.tables import duration
from coursekit.catalogue import CHAPTERS
from coursekit.errors import CourseError
from coursekit.folders import learner_path, repository, solved_path

# Texts of the repository that are pages of the site, by the name of the page.
TEXTS = {
    "six_weeks": "docs/six_weeks.md",
    "instructors": "docs/instructors.md",
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "data_card": "part_utils/data/DATA.md",
}
# Hand on what notebooks of the first release import.
OLD_NAMES = ("part_utils.course", "part_utils.exercises", "part_utils.sparse_coding_loss")
# Of how many latents the site's dashboard shows the panels, and on how many rows of the text.
DASHBOARD_LATENTS, DASHBOARD_ROWS = range(24), 400
# The same for SmolLM2, which takes minutes: some latents that answer to something.
DEEP_LATENTS = {"smollm2-residual": (3066, 3236, 466, 3348, 2992, 1854, 5658, 2500)}
DEEP_ROWS = 160
# The prompts whose graphs the site shows, by the name of the page.
GRAPH_PROMPTS = {
    "import": "import numpy as",
    "capital": "The city is the capital of",
    "novel": "She had always thought that",
}

_TARGET = re.compile(r"(\]\(\s*<?|\b(?:href|src)=\")([^)\s\">]+)")
_CODE = re.compile(r"^(```|~~~).*?^\1[ \t]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def build_site(output: Path, say: Callable[[str], None], dashboards: bool = True) -> list[str]:
    """Write the whole site.

    Args:
        output: the folder; what an earlier call wrote there is replaced.
        say: receives a line about each step.
        dashboards: make the dashboards and the graphs of prompts too, which runs the bundled model.

    Returns:
        What Sphinx remarked on docstrings, a line each.

    Raises:
        CourseError: Sphinx is missing, the folder holds something else, or a page lacks something it shows or links to.
    """
    try:
        from sphinx.application import Sphinx
    except ImportError:
        raise CourseError(
            "Sphinx is not installed. Run `pip install -e '.[site]'` and this command again."
        ) from None
    _require_replaceable(output)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        extra = Path(scratch) / "extra"
        say("writing the sources …")
        Sources(source, extra, dashboards).write()
        if dashboards:
            say("making the dashboards and graphs …")
            write_dashboards(extra / "dashboards")
            write_graphs(extra / "graphs")
        say("Sphinx makes the pages …")
        built, warnings = Path(scratch) / "html", io.StringIO()
        app = Sphinx(
            str(source),
            str(folders.ROOT / "docs"),
            str(built),
            str(Path(scratch) / "doctrees"),
            "html",
            confoverrides={
                "html_static_path": [str(source / "static")],
                "html_extra_path": [str(extra)],
            },
            status=None,
            warning=warnings,
            parallel=os.cpu_count() or 1,
        )
        app.build()
        # Sphinx colors its warnings even where nobody sees it.
        written = re.sub(r"\x1b\[[0-9;]*m", "", warnings.getvalue()).replace(f"{source}/", "")
        remarks = [line for line in written.splitlines() if line.strip()]
        problems = [line for line in remarks if "docstring of" not in line]
        if problems:
            raise CourseError("The site is not whole:\n" + "\n".join(problems))
        for unneeded in (".buildinfo", "objects.inv"):
            (built / unneeded).unlink(missing_ok=True)
        # GitHub's pages would leave out folders that begin with an underscore.
        (built / ".nojekyll").touch()
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(built, output)
    return remarks


def _require_replaceable(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise CourseError(f"{output} is a file. Name a folder for the site with --output.")
    if output.is_dir() and any(output.iterdir()) and not (output / "searchindex.js").exists():
        raise CourseError(f"{output} holds something else than this site. Name another folder with --output.")


@dataclass
class Sources:
    """What Sphinx reads.

    Attributes:
        folder: what the pages are made of.
        extra: what stands on the site as it is.
        dashboards: whether there are pages for the dashboards and for the graphs.
        pages: for each file of the repository that is a page, its name.
    """

    folder: Path
    extra: Path
    dashboards: bool = True
    pages: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for chapter in CHAPTERS:
            for path in (learner_path(chapter), solved_path(chapter)):
                self.pages[_in_repository(path)] = f"chapters/{chapter.slug}"
        self.pages |= {path: name for name, path in TEXTS.items()} | {"README.md": "index"}

    def write(self) -> None:
        """Write every page and what the pages show."""
        modules = library()
        for chapter in CHAPTERS:
            self._put(f"chapters/{chapter.slug}.ipynb", chapter_page(chapter, self.linked))
            self._copy(learner_path(chapter), self.extra / "notebooks" / f"{chapter.slug}.ipynb")
        for name, path in TEXTS.items():
            text = (folders.ROOT / path).read_text(encoding="utf-8")
            self._put(f"{name}.md", self.linked(text, path, name))
        text = (folders.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
        self._put("where_things_are.md", "# Where things are\n\n" + self._ideas(text, modules))
        if self.dashboards:
            self._put("dashboard.md", _dashboard_page())
            self._put("graph.md", _graph_page())
        for module in modules:
            self._put(f"reference/{module}.md", _MODULE_PAGE.format(module))
        self._put("reference/index.md", _reference_page(modules))
        self._put("index.md", self.linked(landing_page(), "docs/index.md", "index") + self._contents())
        static = self.folder / "static"
        shutil.copytree(folders.ROOT / "docs" / "static", static)
        from plotly.offline import get_plotlyjs

        (static / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")

    def linked(self, text: str, path: str, page: str) -> str:
        """Return a text with its links as the page needs them.

        Args:
            text: Markdown.
            path: where it stands in the repository; its links are relative to that.
            page: the name of the page. A link to a file that is a page leads there, a picture is copied, and another
                file's link leads to the repository.
        """
        start = (folders.ROOT / path).parent
        up = "../" * page.count("/")

        def link(match: re.Match[str]) -> str:
            opening, target = match.groups()
            file, _, fragment = target.partition("#")
            if not file:
                return opening + target.lower()
            if re.match(r"[a-z][a-z0-9+.-]*:|//", target, re.I):
                return match[0]
            place = Path(os.path.normpath(start / unquote(file)))
            if not place.exists():
                return match[0]
            name = _in_repository(place)
            anchor = f"#{fragment.lower()}" if fragment else ""
            if name in self.pages:
                # Sphinx finds its way from a name in Markdown, not from one in HTML.
                html_name = f"{up}{self.pages[name]}.html"
                source = f"/{self.pages[name]}{'.ipynb' if name.endswith('.ipynb') else '.md'}"
                return opening + (html_name if "=" in opening else source) + anchor
            if place.suffix in (".svg", ".png", ".gif"):
                self._copy(place, self.folder / "images" / place.name)
                return f"{opening}{up}images/{place.name}"
            kind = "tree" if place.is_dir() else "blob"
            return f"{opening}{repository()}/{kind}/main/{name}"

        pieces, end = [], 0
        for code in _CODE.finditer(text):
            pieces += [_TARGET.sub(link, text[end : code.start()]), code[0]]
            end = code.end()
        return "".join([*pieces, _TARGET.sub(link, text[end:])])

    def _ideas(self, contributing: str, modules: dict[str, str]) -> str:
        """The table of ideas and files, each file as a link: to the reference, or to the repository."""
        table = re.search(r"^## Where things are\n+(.*?)(?=^## )", contributing, re.M | re.S)
        if table is None:
            raise CourseError("CONTRIBUTING.md has no section `Where things are`. The site shows its table.")

        def link(match: re.Match[str]) -> str:
            module = match[1].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            target = (
                f"/reference/{module}.md" if module in modules else f"{repository()}/blob/main/{match[1]}"
            )
            return f"[`{match[1]}`]({target})"

        return re.sub(r"`([\w/.]+)`(?= \|$)", link, table[1], flags=re.M)

    def _contents(self) -> str:
        """The pages in the order of the list at the side."""
        parts = {
            "Course": [f"chapters/{chapter.slug}" for chapter in CHAPTERS]
            + ["dashboard", "graph"] * self.dashboards,
            "Teaching": ["six_weeks", "instructors"],
            "Library": [
                "reference/index",
                "where_things_are",
                "The bundled models <data_card>",
                "contributing",
                "changelog",
            ],
        }
        return "".join(
            f"\n```{{toctree}}\n:hidden:\n:caption: {part}\n\n" + "\n".join(pages) + "\n```\n"
            for part, pages in parts.items()
        )

    def _put(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _copy(self, path: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def landing_page() -> str:
    """Return `docs/index.md` with the chapters from the catalogue and the commands from the README."""
    text = (folders.ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    readme = (folders.ROOT / "README.md").read_text(encoding="utf-8")
    start = readme.partition("\n## Start\n")[2]
    commands = re.findall(r"^```bash\n.*?^```$", start, re.M | re.S)
    parts = {
        "CHAPTERS": _cards(),
        "MAKE": commands[0],
        "PIP": commands[1],
        "COLAB": '<p class="buttons">'
        + " ".join(
            f'<a class="button" href="{colab(chapter)}">Chapter {int(chapter.number)}</a>'
            for chapter in CHAPTERS
        )
        + "</p>",
    }
    return re.sub(r"^(CHAPTERS|MAKE|PIP|COLAB)$", lambda match: parts[match[1]], text, flags=re.M)


def _cards() -> str:
    cards = "\n".join(
        f'<li><a href="chapters/{chapter.slug}.html"><b>{int(chapter.number)}</b> {html.escape(chapter.title)}</a>'
        f"<span>{len(chapter.exercises)} exercises, {duration(chapter.minutes)}</span></li>"
        for chapter in CHAPTERS
    )
    return f'<ul class="cards">\n{cards}\n</ul>'


_MODULE_PAGE = """# {0}

```{{eval-rst}}
.. automodule:: {0}
   :ignore-module-all:
```
"""
_DASHBOARD_PAGE = """# What latents respond to

For each latent: the texts on which it fires, from the strongest to the weakest, its histogram, its effect on the
logits, its neurons, and the most similar latents in the other autoencoder. Search it, sort it, walk through it with the
arrow keys.
`course dashboard --latents 0:64` makes such a page of the latents that you choose.

Two models have such pages: the one in the box, which has one layer, and SmolLM2, which has thirty blocks. Those of
SmolLM2 are here if the site was built beside the model, after `course download smollm2`.

{0}
"""
_GRAPH_PAGE = """# What a token is made of

The graph of a prompt: how much each word, each latent of the transcoder and each part of the model adds to the logit of
the next token. The parts add up exactly ([chapter 7](/chapters/07_can_it_be_trusted.ipynb) builds it). Point at a node
or an edge to read what it is, click it to follow it. `course demo 07` draws it for a prompt of your own.

{0}
"""


def _framed(folder: str, pages: dict[str, str]) -> str:
    """Buttons to pages of their own, and the first of them in a frame."""
    names = list(pages)
    buttons = "\n".join(
        f'<a class="button" href="{folder}/{name}.html">{html.escape(title)}</a>'
        for name, title in pages.items()
    )
    return (
        f'<p class="buttons">{buttons}</p>\n\n<iframe class="dashboard" src="{folder}/{names[0]}.html" '
        f'title="{html.escape(pages[names[0]])}"></iframe>'
    )


def _dashboard_page() -> str:
    return _DASHBOARD_PAGE.format(_framed("dashboards", {each.file: each.title for each in dashboards()}))


def _graph_page() -> str:
    return _GRAPH_PAGE.format(
        _framed("graphs", {name: f'After "{prompt}"' for name, prompt in GRAPH_PROMPTS.items()})
    )


@dataclass(frozen=True)
class DashboardOf:
    """A dashboard of the site: of which latents, and on which text."""

    model: str
    autoencoder: str
    instance: int
    n_instances: int

    @property
    def file(self) -> str:
        return f"{self.autoencoder}-{'AB'[self.instance]}" if self.n_instances > 1 else self.autoencoder

    @property
    def title(self) -> str:
        from part_utils.language_models import PLACES

        name = "One layer" if self.model == "bundled" else f"SmolLM2, {PLACES[self.autoencoder]}"
        return f"{name}, encoder-{'AB'[self.instance]}" if self.n_instances > 1 else name


def dashboards() -> list[DashboardOf]:
    """Return the dashboards that the site has: of every autoencoder in the box whose model is on this machine."""
    from part_utils.language_models import BUNDLED_AUTOENCODERS, load_autoencoder
    from part_utils.smollm2 import smollm2_folder

    found = []
    for name in BUNDLED_AUTOENCODERS:
        model = name.partition("-")[0]
        if model == "smollm2":
            try:
                smollm2_folder(progress=False)
            except FileNotFoundError:
                continue
        n_instances = load_autoencoder(name).cfg.n_instances
        found += [DashboardOf(model, name, instance, n_instances) for instance in range(n_instances)]
    return found


def write_dashboards(folder: Path) -> None:
    """Write a dashboard of each autoencoder's first latents on evenly spaced rows of the text."""
    from part_utils.dashboard import make_dashboard
    from part_utils.language_models import load_language_model

    folder.mkdir(parents=True)
    for model_name, group in itertools.groupby(dashboards(), key=lambda each: each.model):
        model, small = load_language_model(model_name), model_name == "bundled"
        for each in group:
            make_dashboard(
                DASHBOARD_LATENTS if small else DEEP_LATENTS.get(each.autoencoder, range(8)),
                model=model,
                autoencoder=each.autoencoder,
                instance=each.instance,
                split="held_out" if small else "written",
                max_rows=DASHBOARD_ROWS if small else DEEP_ROWS,
                output=folder / f"{each.file}.html",
                progress=False,
            )


def write_graphs(folder: Path) -> None:
    """Write the graphs of some prompts, a page each."""
    from part_utils.graph_page import save_graph
    from part_utils.language_models import load_language_model, load_tokens
    from part_utils.transcoder import load_transcoder
    from part_utils.widgets.circuits import graph_of

    folder.mkdir(parents=True)
    model, transcoder = load_language_model(), load_transcoder()
    text = load_tokens("train", model).tokens[:100]
    for name, prompt in GRAPH_PROMPTS.items():
        save_graph(graph_of(prompt, model, transcoder, text=text), folder / f"{name}.html")


def library() -> dict[str, str]:
    """Return the public modules of `part_utils` and the first sentence of each, without importing them."""
    found = {}
    for path in sorted((folders.ROOT / "part_utils").rglob("*.py")):
        name = ".".join(path.relative_to(folders.ROOT).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        about = ast.get_docstring(tree)
        if about and not name.startswith(OLD_NAMES) and "._" not in name:
            found[name] = about.split("\n\n")[0].replace("\n", " ")
    return found


def _reference_page(modules: dict[str, str]) -> str:
    rows = "\n".join(f"| [`{name}`]({name}.md) | {about} |" for name, about in modules.items())
    names = "\n".join(modules)
    return (
        "# The library `part_utils`\n\nShapes stand in the annotations: a "
        '`Float[Tensor, "batch n_instances n_input_ae"]` is a tensor of floating-point numbers with these three axes.'
        f"\n\n| Module | What it is for |\n|---|---|\n{rows}\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    )


def _in_repository(path: Path) -> str:
    return path.relative_to(folders.ROOT).as_posix()
