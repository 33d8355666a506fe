"""Every hostile or broken submission gets its points and no more, and does no harm.

The kinds: 1 honest, 2 untouched, 3 one mistake, 4 syntax error, 5 input transformer, 6 AST transformer, 7 always equal,
8 lying tensor, 9 patched judges, 10 looks for expected values, 11 searches the disk, 12 ships files, 13 leaves,
14 raises BaseException, 15 ignores signals, 16 endless cell, 17 allocates, 18 leaks, 19 forks, 20 threads, 21 floods
output, 22 fills the disk, 23 network, 24 damages neighbors, 25 forges frames, 26 pickles, 27 hard-codes, 28 cells taken
apart, 29 no notebook, 30 judged by policy, 37 the seed, 38 files and calls by other ways, 40 other cells.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import hostile
import pytest
import torch

from coursekit import chapter
from coursekit.checking import claims as checking
from coursekit.checking import running
from coursekit.grading.classroom import grade_class, results_of
from coursekit.grading.grade import Graded, Settings, grade_submission
from coursekit.grading.jail import Jail
from coursekit.grading.job import Limits
from coursekit.grading.machine import LAYERS, available_layers, tier_of

NEIGHBORS = ("aaron", "mia", "zoe")
LIMITS = Limits(cell_seconds=20, time_factor=0.25, memory=1 << 30)
CASES = hostile.cases("/nowhere")
# What takes a job's whole time in any tier, and what is no notebook before there is a job.
NOT_IN_REDUCED = (15, 16, 29)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        tier_of(available_layers()) != "full",
        reason="this machine cannot jail at tier full: course doctor --grading",
    ),
]


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its content and mode."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = f"{path.lstat().st_mode:o} {content}"
    return found


def judges() -> list[int]:
    """What a learner would replace to be judged more kindly."""
    own = [checking.agree, checking.Check.equal, running.run_check]
    return [
        id(judge)
        for judge in (*own, torch.allclose, torch.equal, torch.Tensor.__eq__, torch.testing.assert_close)
    ]


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What no job may read or change."""
    folder = tmp_path_factory.mktemp("secret")
    (folder / "gradebook.db").write_bytes(b"scores")
    (folder / "key.pem").write_text("key")
    other = folder / "submitted" / "zoe" / "00_start_here.ipynb"
    other.parent.mkdir(parents=True)
    other.write_text("answers")
    return folder


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory, secret: Path) -> dict[str, Graded]:
    """All submissions and three honest neighbors, graded as one batch by two workers."""
    submitted = tmp_path_factory.mktemp("submitted")
    course = tmp_path_factory.mktemp("course")
    for case in hostile.cases(str(secret)):
        folder = submitted / case.name / hostile.SLUG
        folder.mkdir(parents=True)
        notebook = folder / f"{hostile.SLUG}.ipynb"
        notebook.write_bytes(case.content)
        if case.content == b"LARGE":
            os.truncate(notebook, 200_000_000)
        for name, content in case.beside.items():
            (folder / name).write_text(content)
    for name in NEIGHBORS:
        folder = submitted / name / hostile.SLUG
        folder.mkdir(parents=True)
        (folder / f"{hostile.SLUG}.ipynb").write_bytes(hostile.dumped(hostile.notebook()))
    for name, make in (("fifo", os.mkfifo), ("link", lambda path: os.symlink(secret / "gradebook.db", path))):
        folder = submitted / f"file-{name}" / hostile.SLUG
        folder.mkdir(parents=True)
        make(folder / f"{hostile.SLUG}.ipynb")
    os.environ["COURSE_TEST_SECRET"] = "secret"
    before = fingerprint(secret), fingerprint(submitted), judges()
    try:
        grade_class(submitted, chapter("00"), course, workers=2, course_seed=5, limits=LIMITS)
        assert before == (fingerprint(secret), fingerprint(submitted), judges())
    finally:
        del os.environ["COURSE_TEST_SECRET"]
    for folder in hostile.UNWRITABLE:
        assert not Path(folder, hostile.MARK).exists()
    return {one.student: one for one in results_of(course, chapter("00"))}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.name}")
def test_right_points_and_no_false_ones(case: hostile.Case, graded: dict[str, Graded]) -> None:
    from coursekit.grading.submissions import safe_name

    result = graded[safe_name(case.name)]
    said = [f"{r.id} {r.status}: {r.message}" for r in result.results]
    assert tuple(r.points for r in result.results) == case.points, said
    for text in case.says:
        assert text in result.results[0].message, said
    if not result.problem:
        assert result.tier == "full"
    for one in result.results:
        text = one.message + one.printed + "".join(one.details)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", text)
        assert len(one.printed) <= 2000
        assert "<script" not in one.html()


def test_a_link_and_a_pipe_are_not_read(graded: dict[str, Graded]) -> None:
    for name in ("file-fifo", "file-link"):
        assert graded[name].points == 0
        assert "could not be read" in graded[name].problem


def test_neighbors_are_unchanged_bit_for_bit(graded: dict[str, Graded], tmp_path: Path) -> None:
    for name in NEIGHBORS:
        folder = tmp_path / "submitted" / name / hostile.SLUG
        folder.mkdir(parents=True)
        (folder / f"{hostile.SLUG}.ipynb").write_bytes(hostile.dumped(hostile.notebook()))
    grade_class(tmp_path / "submitted", chapter("00"), tmp_path / "course", course_seed=5, limits=LIMITS)
    alone = {one.student: one for one in results_of(tmp_path / "course", chapter("00"))}
    for name in NEIGHBORS:
        assert alone[name].results == graded[name].results
        assert alone[name].seeds == graded[name].seeds
        assert alone[name].points == 3


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.kind not in NOT_IN_REDUCED],
    ids=lambda case: f"{case.kind}-{case.name}",
)
def test_reduced_tier_confines_too(case: hostile.Case, secret: Path, jail_without_namespaces: Jail) -> None:
    content = case.content.replace(b"/nowhere/", f"{secret}/".encode())
    before = fingerprint(secret)
    settings = Settings("00", 5, "reduced", LIMITS)
    result = grade_submission(jail_without_namespaces, "anna", content, "", settings)
    assert result.tier == "reduced"
    assert tuple(r.points for r in result.results) == case.points, [r.message for r in result.results]
    assert fingerprint(secret) == before
    assert not any(Path(folder, hostile.MARK).exists() for folder in hostile.UNWRITABLE)


@pytest.fixture(scope="module")
def jail_without_namespaces() -> Iterator[Jail]:
    with Jail("reduced", LIMITS, [layer for layer in LAYERS if layer != "namespaces"]) as jail:
        yield jail


def test_all_kinds_are_there() -> None:
    assert {case.kind for case in CASES} == {*range(1, 31), 37, 38, 40}
    assert len(CASES) >= 180
