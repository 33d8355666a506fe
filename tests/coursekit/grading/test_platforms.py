"""The manual's round with downloads as learning platforms make them: who handed in is graded, or told why not."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coursekit import chapter
from coursekit.commands.cli import app
from coursekit.grading.machine import available_layers, tier_of
from tests.browser import launched_browser

ROOT = Path(__file__).resolve().parents[3]
ZERO = chapter("00")
NOTEBOOK = f"{ZERO.slug}.ipynb"
TIER = tier_of(available_layers())
SOLVED = (ROOT / "solutions" / ZERO.slug / NOTEBOOK).read_bytes()
EMPTY = (ROOT / "chapters" / ZERO.slug / NOTEBOOK).read_bytes()
# In five scripts, with what they handed in and the points that it is worth.
CANVAS = {
    f"lovelaceada_123_9001_{NOTEBOOK}": SOLVED,
    f"kumarkiran_LATE_124_9002_{NOTEBOOK}": SOLVED,
    f"李小龍_125_9003_{NOTEBOOK}": EMPTY,
    f"محمد_126_9004_{NOTEBOOK}": EMPTY,
    f"محمد_126_9005_{ZERO.slug}-1.ipynb": SOLVED,
    "Ἀριστοτέλης_127_9006_work.zip": b"PK",
    "किरण_128_9007_photo.jpg": b"\xff\xd8",
}
CANVAS_POINTS = {"123": "3", "124": "3", "125": "0", "126": "3", "127": "0", "128": "0"}
MOODLE = {
    f"Ada Lovelace_201_assignsubmission_file_/{NOTEBOOK}": SOLVED,
    f"Łukasz Żak_202_assignsubmission_file_/course/{ZERO.slug}/{NOTEBOOK}": SOLVED,
    f"किरण_203_assignsubmission_file_/{NOTEBOOK}": SOLVED,
    f"करण_204_assignsubmission_file_/Ada Lovelace_201_assignsubmission_file_/{NOTEBOOK}": EMPTY,
    f"李小龍_205_assignsubmission_file_{NOTEBOOK}": SOLVED,
    "Ἀριστοτέλης_206_assignsubmission_file_/answer.pdf": b"%PDF",
}
MOODLE_POINTS = {"201": "3", "202": "3", "203": "3", "204": "0", "205": "3", "206": "0"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(tier_of(available_layers()) == "none", reason="this machine cannot jail"),
]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def download(path: Path, files: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(path)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("platform", ["canvas", "moodle"])
def test_everyone_who_handed_in_is_in_the_table_and_in_the_export(platform: str, tmp_path: Path) -> None:
    files, points = (CANVAS, CANVAS_POINTS) if platform == "canvas" else (MOODLE, MOODLE_POINTS)
    course = str(tmp_path / "class")
    archive = download(tmp_path / "submissions.zip", files)
    run("release", "00", "--course", course)
    run("grade", archive, "--chapter", "00", "--course", course, "--require", TIER)
    graded = tmp_path / "class" / "graded" / ZERO.slug
    assert len(rows_of(graded / "grades.csv")) == len(points)
    for number, score in points.items():
        (page,) = (tmp_path / "class" / "feedback").glob(f"*_{number}/{ZERO.slug}/*.html")
        if score == "0" and number not in ("125", "204"):
            assert "Hand in" in page.read_text(encoding="utf-8")
    run("export", "--chapter", "00", "--course", course, "--format", platform)
    table = rows_of(graded / f"{ZERO.slug}-{platform}.csv")
    if platform == "canvas":
        found = {row["ID"]: list(row.values())[-1] for row in table if row["ID"]}
    else:
        found = {row["Identifier"].removeprefix("Participant "): row["Grade"] for row in table}
    assert found == points


def test_what_a_learner_wrote_is_text_in_nbgraders_own_pages(tmp_path: Path) -> None:
    course = tmp_path / "class"
    book = json.loads(SOLVED)
    attack = (
        "</pre><img src=x onerror=alert(1)><script>alert(2)</script>[x](javascript:alert(3))"
        "$<b onmouseover=alert(4)>$"
    )
    for cell in book["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == "exercise_0_1":
            cell["source"] = f"def project_features(features, W):\n    raise ValueError({attack!r})"
    archive = download(tmp_path / "submissions.zip", {f"ada_1_2_{NOTEBOOK}": json.dumps(book).encode()})
    run("release", "00", "--course", str(course))
    run("grade", archive, "--chapter", "00", "--course", str(course), "--require", TIER)
    for page in (course / "feedback").rglob("*.html"):
        page.unlink()
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "nbgrader", "generate_feedback", ZERO.slug, "--force"]
    made = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True, timeout=120)
    (page,) = (course / "feedback").rglob("*.html")
    assert "onerror" in page.read_text(encoding="utf-8"), made.stderr
    with launched_browser() as browser:
        opened = browser.new_page()
        dialogs: list[str] = []
        opened.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        # nbgrader's page asks for scripts from elsewhere.
        opened.route("http*://**/*", lambda route: route.abort())
        opened.goto(page.as_uri(), wait_until="load")
        assert opened.locator("img[src=x], [onerror], [onmouseover], a[href^=javascript]").count() == 0
        assert dialogs == []
