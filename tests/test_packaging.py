"""What is built from the checkout is whole, and works without it, on other systems and in other encodings."""

import ast
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import nbformat
import pytest

from coursekit import CHAPTERS
from coursekit.folders import ROOT, learner_path

PACKAGES = ("part_utils", "coursekit", "pretraining")
ENCODINGS = ("cp1252", "ascii", "cp949")
# What Windows does not have. A learner's code may name it only where it asks first whether it is there.
UNIX_ONLY = {"fcntl", "termios", "resource", "pwd", "grp", "pty", "tty"}
UNIX_CALLS = {
    "getuid",
    "geteuid",
    "fork",
    "setitimer",
    "mkfifo",
    "chown",
    "getpgid",
    "killpg",
    "setsid",
    "pidfd_open",
}
# The file that asks whether there is an alarm before it uses one.
ASKS = {"coursekit/checking/limits.py", "coursekit/work/start.py"}


def tracked():
    """The files that belong to the packages: what git knows, or where it is not there, what lies on the disk."""
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *PACKAGES], cwd=ROOT, capture_output=True, text=True
    )
    names = done.stdout.splitlines() if done.returncode == 0 else []
    return {name for name in names if (ROOT / name).is_file()} or {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The names of all files in the sdist, and in the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("dist")
    copy = folder / "source"
    sdist = _build(ROOT, folder, "build_sdist")
    with tarfile.open(sdist) as opened:
        opened.extractall(copy, filter="data")
        names = {name.partition("/")[2] for name in opened.getnames()}
    [source] = copy.iterdir()
    wheel = _build(source, folder, "build_wheel")
    with zipfile.ZipFile(wheel) as opened_wheel:
        return names, set(opened_wheel.namelist())


def _build(source: Path, folder: Path, what: str) -> Path:
    code = f"import setuptools.build_meta as b; print(b.{what}({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_no_file_of_the_packages_is_missing(built):
    sdist, wheel = built
    assert tracked() - sdist == set()
    assert tracked() - wheel == set()


@pytest.mark.slow
def test_the_chapters_are_in_the_wheel(built):
    _, wheel = built
    for chapter in CHAPTERS:
        assert f"coursekit/material/chapters/{chapter.slug}/{chapter.slug}.ipynb" in wheel
        assert f"coursekit/material/solutions/{chapter.slug}/{chapter.slug}.md" in wheel
    assert {
        name for name in wheel if name.startswith("coursekit/material/solutions") and name.endswith("ipynb")
    } == set()


@pytest.mark.slow
def test_a_checkout_with_the_line_ends_of_windows_works(tmp_path):
    clone = tmp_path / "clone"
    done = subprocess.run(
        ["git", "clone", "--quiet", "--depth", "1", "-c", "core.autocrlf=true", f"file://{ROOT}", clone],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip("this is not a git checkout")
    code = "from part_utils import language_models as m; m.load_language_model(); m.load_latent_names(); print('well')"
    environment = os.environ | {"PYTHONPATH": str(clone)}
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=clone, env=environment, capture_output=True, text=True
    )
    assert loaded.stdout == "well\n", loaded.stderr[-500:]


def test_files_whose_line_ends_were_changed_are_not_called_damaged(tmp_path, monkeypatch):
    from part_utils import bundled_files

    for name in ("manifest.json", "language_model.json"):
        text = (bundled_files.DATA / name).read_bytes()
        (tmp_path / name).write_bytes(text.replace(b"\n", b"\r\n"))
    monkeypatch.setattr(bundled_files, "DATA", tmp_path)
    assert bundled_files.bundled_file("language_model.json")
    (tmp_path / "language_model.json").write_bytes(b"{}\r\n")
    with pytest.raises(ValueError, match="damaged or altered"):
        bundled_files.bundled_file("language_model.json")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "command", [["check"], ["progress"], ["doctor"], ["--help"], ["restore"]], ids=" ".join
)
def test_a_console_that_cannot_show_a_character_gets_another(command, encoding, tmp_path):
    notebook = [str(learner_path(CHAPTERS[0]))] if command == ["check"] else []
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "COURSE_PROGRESS": "off"}
    done = subprocess.run(
        [sys.executable, "-m", "coursekit.commands.cli", *command, *notebook],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode(encoding)
    assert done.returncode == (1 if command == ["check"] else 0), done.stderr.decode(encoding)
    assert done.stdout.decode(encoding)


def learners_modules():
    skipped = ("grading", "authoring", "pretraining")
    for package in ("part_utils", "coursekit"):
        for path in (ROOT / package).rglob("*.py"):
            if not set(skipped) & set(path.relative_to(ROOT).parts) and path.stem not in skipped:
                yield path


def test_nothing_that_a_learner_runs_needs_unix():
    found = []
    for path in learners_modules():
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            names = set()
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names} & UNIX_ONLY
            elif isinstance(node, ast.ImportFrom):
                names = {node.module} & UNIX_ONLY
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("os", "signal"):
                asked = path.relative_to(ROOT).as_posix() in ASKS
                names = {node.attr} & (UNIX_CALLS | {"SIGALRM", "SIGKILL"}) if not asked else set()
            found += [f"{path.relative_to(ROOT)}: {name}" for name in names]
    assert found == []


@pytest.mark.parametrize("kind", ["chapters", "solutions"])
def test_a_notebook_says_that_it_is_python(kind):
    for path in (ROOT / kind).glob("*/*.ipynb"):
        assert nbformat.read(path, as_version=4).metadata.language_info.file_extension == ".py"
