"""Whose a notebook is: the platform's own part of a path says it, and nothing that a learner can write."""

from __future__ import annotations

import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coursekit import chapter
from coursekit.grading.submissions import Submission, find_submissions, safe_name

ZERO = chapter("00")
SLUG = ZERO.slug
MOODLE = "Mallory M_666_assignsubmission_file_"


def zipped(place: Path, *names: str) -> Path:
    with zipfile.ZipFile(place, "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, f'{{"from": {number}}}')
    return place


def found(tmp_path: Path, *names: str) -> dict[str, Submission]:
    submissions = find_submissions(zipped(tmp_path / "download.zip", *names), ZERO)
    by_student = {submission.student: submission for submission in submissions}
    assert len(by_student) == len(submissions)
    return by_student


@pytest.mark.parametrize(
    "inner",
    [
        f"Emmy Noether_124/{SLUG}/{SLUG}.ipynb",
        f"Emmy Noether_124_assignsubmission_file_/{SLUG}.ipynb",
        f"lovelaceada_123_4567_{SLUG}.ipynb",
        f"submitted/ada/{SLUG}/{SLUG}.ipynb",
        "x_123_assignsubmission_file_.ipynb",
    ],
)
def test_no_learner_hands_in_for_another(inner: str, tmp_path: Path) -> None:
    honest = f"Ada Lovelace_123_assignsubmission_file_/{SLUG}.ipynb"
    submissions = found(tmp_path, honest, f"{MOODLE}/{inner}")
    assert set(submissions) == {"Ada-Lovelace_123", "Mallory-M_666"}
    assert submissions["Ada-Lovelace_123"].path == honest
    canvas = found(tmp_path, f"lovelaceada_123_1_{SLUG}.ipynb", f"m_666_2_{inner.replace('/', '_')}")
    assert set(canvas) == {"lovelaceada_123", "m_666"}


PIECES = st.one_of(
    st.sampled_from(
        (
            SLUG,
            "01_toy_model",
            "course",
            "submitted",
            "Emmy_124_assignsubmission_file_",
            "emmy_LATE_124_4567_x",
            f"{SLUG}.ipynb",
            "emmy_124_4567_x.ipynb",
            ".hidden",
            "__MACOSX",
            "a b",
            "क",
            "-",
            "_",
        )
    ),
    st.text(
        st.characters(exclude_characters="/\\\0", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20
    ).filter(lambda text: text.strip(".") == text),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(inner=st.lists(PIECES, min_size=1, max_size=5), end=st.sampled_from(["", ".ipynb", ".IPYNB", ".zip"]))
def test_nothing_below_the_platforms_part_changes_whose_it_is(
    inner: list[str], end: str, tmp_path: Path
) -> None:
    path = "/".join(inner) + end
    honest = f"Ada Lovelace_123_assignsubmission_file_/{SLUG}.ipynb"
    owners = set(found(tmp_path, honest, f"{MOODLE}/{path}"))
    assert owners <= {"Ada-Lovelace_123", "Mallory-M_666"}
    owners = set(found(tmp_path, f"ada/{SLUG}/{SLUG}.ipynb", f"mallory/{path}"))
    assert owners <= {"ada", "mallory"}
    flat = path.replace("/", "_")
    owners = set(found(tmp_path, f"ada_123_1_{SLUG}.ipynb", f"mallory_666_2_{flat}"))
    assert owners <= {"ada_123", "mallory_666"}


def test_folders_inside_a_submission_do_not_hide_it(tmp_path: Path) -> None:
    submissions = found(
        tmp_path,
        f"Ada Lovelace_123_assignsubmission_file_/{SLUG}/{SLUG}.ipynb",
        f"Emmy Noether_124_assignsubmission_file_/course/{SLUG}/{SLUG}.ipynb",
        f"Zoe Z_125_assignsubmission_file_/course/chapters/deep/down/{SLUG}/{SLUG}.ipynb",
        "Kim K_126_assignsubmission_file/work.ipynb",
    )
    assert set(submissions) == {"Ada-Lovelace_123", "Emmy-Noether_124", "Zoe-Z_125", "Kim-K_126"}
    assert not any(submission.problem for submission in submissions.values())


NAMES = [
    "किरण", "करण", "कीरण", "Ἀριστοτέλης", "محمد", "李小龍", "Åsa", "Łukasz", "O'Neil", "ONeil", "ada", "Ada", "ADA",
    "𝒜𝒷" * 40, "𝒜𝒷" * 40 + "x", "x" * 300, "x" * 301, "...", "???", "!!!",
]  # fmt: skip


def test_every_learner_is_one_learner_in_any_script(tmp_path: Path) -> None:
    submissions = found(tmp_path, *(f"{name}/{SLUG}/{SLUG}.ipynb" for name in NAMES if name != "..."))
    assert len(submissions) == len(NAMES) - 1
    assert len({name.casefold() for name in submissions}) == len(submissions)
    assert all(len(name.encode()) <= 100 for name in submissions)
    numbered = found(
        tmp_path, *(f"{name}_{n}_assignsubmission_file_/w.ipynb" for n, name in enumerate(NAMES, 10**9))
    )
    assert {name.rpartition("_")[2] for name in numbered} == {str(10**9 + n) for n in range(len(NAMES))}
    assert all(len(name.encode()) <= 100 for name in numbered)


def test_composed_and_decomposed_are_the_same_learner(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "Jörg Ångström") for form in ("NFC", "NFD")]
    assert safe_name(names[0]) == safe_name(names[1])
    submissions = found(tmp_path, *(f"{name}_7_assignsubmission_file_/{SLUG}.ipynb" for name in names))
    assert set(submissions) == {"Jörg-Ångström_7"}


def test_whoever_handed_in_something_is_told_why_it_does_not_count(tmp_path: Path) -> None:
    submissions = found(
        tmp_path,
        f"ada_1_2_{SLUG}.ipynb",
        "ben_LATE_3_4_work.zip",
        f"carl_5_6_{SLUG}.IPYNB",
        "dora_7_8_answer.pdf",
        f"emil_9_10_{SLUG}-1.ipynb",
        f"emil_9_11_{SLUG}.ipynb",
        "fritz_12_13_one.ipynb",
        "fritz_12_14_two.ipynb",
        f"gina_15_16_{SLUG}.ipynb",
        "gina_15_17_notes.ipynb",
    )
    assert set(submissions) == {"ada_1", "ben_3", "carl_5", "dora_7", "emil_9", "fritz_12", "gina_15"}
    assert "work.zip" in submissions["ben_3"].read()[1]
    assert "no notebook" in submissions["dora_7"].read()[1]
    assert submissions["carl_5"].read()[1] == ""
    # The later of two attempts counts, and the one that is called as asked.
    assert submissions["emil_9"].read() == (b'{"from": 4}', "")
    assert "counts" in submissions["emil_9"].note
    assert "hand in one" in submissions["fritz_12"].problem
    assert submissions["gina_15"].read() == (b'{"from": 8}', "")
    assert not submissions["ada_1"].note


def test_a_single_learners_folders_do_not_rename_them(tmp_path: Path) -> None:
    assert set(found(tmp_path, f"{MOODLE}/Emmy_124/{SLUG}/{SLUG}.ipynb")) == {"Mallory-M_666"}
    assert set(found(tmp_path, f"mallory/emmy/{SLUG}/{SLUG}.ipynb")) == {"mallory"}
    assert set(found(tmp_path, "submitted/ada/w.ipynb", "submitted/ben/w.ipynb")) == {"ada", "ben"}
    assert set(found(tmp_path, "download/ada.ipynb", "download/ben.ipynb")) == {"ada", "ben"}
