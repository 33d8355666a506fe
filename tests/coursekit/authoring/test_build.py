"""The build: both notebooks from one source, the same every time."""

import nbformat
import pytest

from coursekit import CHAPTERS, all_exercises, chapter, folders, get_exercise
from coursekit.authoring import build
from coursekit.errors import CourseError
from coursekit.notebooks.cells import exercise_cells, hints_text
from coursekit.notebooks.source import solution_source, without_markers


@pytest.fixture
def small_course(tmp_path, monkeypatch):
    """A checkout of its own with a short chapter 0."""
    (tmp_path / "solutions" / "00_start_here").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text((folders.ROOT / "pyproject.toml").read_text())
    (tmp_path / "nbgrader_config.py").write_text((folders.ROOT / "nbgrader_config.py").read_text())
    (tmp_path / "README.md").write_text("before\n<!-- chapters: -->\nold\n<!-- end of chapters -->\nafter\n")
    source = tmp_path / "solutions" / "00_start_here" / "00_start_here.md"
    source.write_text(
        "---\nkernelspec:\n  display_name: Python 3\n  language: python\n  name: python3\n---\n\n"
        "Welcome.\n\n```{code-cell} ipython3\nimport einops\nfrom jaxtyping import Float\nfrom torch import Tensor\n\n"
        "from coursekit import check\n```\n\n"
        "```{exercise} 0.1\n```\n\n```{question} Why?\nBecause.\n```\n\n"
        "```{exercise} 0.2\n```\n\n```{exercise} 0.3\n```\n"
    )
    monkeypatch.setattr(folders, "ROOT", tmp_path)
    return tmp_path


def test_learners_notebook_is_a_release_of_the_solved_one(small_course):
    build.build([chapter("00")], execute=False, say=lambda line: None)
    notebook = nbformat.read(folders.learner_path(chapter("00")), as_version=4)
    nbformat.validate(notebook)
    cells = {cell.id: cell for cell in notebook.cells}
    stub = cells["exercise-0-2"]
    assert 'raise NotImplementedError("Exercise 0.2 is still to be solved.")' in stub.source
    assert "einops.einsum(" not in stub.source
    assert stub.metadata.nbgrader.solution
    check = cells["check-0-2"]
    assert check.source == 'check("0.2")'
    assert check.metadata.nbgrader.points == get_exercise("0.2").points
    assert check.metadata.nbgrader.checksum
    assert check.metadata.editable is False
    assert "<summary>Solution</summary>" in cells["hints-0-2"].source
    assert without_markers(solution_source(get_exercise("0.2"))) in cells["hints-0-2"].source
    assert any("<summary>Why?</summary>" in cell.source for cell in notebook.cells)
    assert not any(cell.get("outputs") for cell in notebook.cells)


def test_a_build_is_repeatable_and_notices_changes(small_course):
    build.build([chapter("00")], execute=False, say=lambda line: None)
    before = folders.learner_path(chapter("00")).read_text()
    build.build([chapter("00")], execute=False, say=lambda line: None)
    assert folders.learner_path(chapter("00")).read_text() == before
    # Not executed, and otherwise as it should be; the table names chapters that this course does not have yet.
    assert all("was not executed" in problem for problem in build.out_of_date([chapter("00")]))
    folders.learner_path(chapter("00")).write_text(before.replace("Welcome.", "Goodbye."))
    assert any("release step" in problem for problem in build.out_of_date([chapter("00")]))
    source = folders.source_path(chapter("00"))
    source.write_text(source.read_text().replace("Welcome.", "Hello."))
    assert any("differs from its source" in problem for problem in build.out_of_date([chapter("00")]))


def test_outputs_of_unchanged_cells_are_kept_without_execution(small_course):
    build.build([chapter("00")], execute=False, say=lambda line: None)
    path = folders.solved_path(chapter("00"))
    notebook = nbformat.read(path, as_version=4)
    code = next(cell for cell in notebook.cells if cell.id == "check-0-1")
    code.outputs, code.execution_count = [nbformat.v4.new_output("stream", text="kept")], 3
    nbformat.write(notebook, path)
    build.build([chapter("00")], execute=False, say=lambda line: None)
    again = nbformat.read(path, as_version=4)
    assert next(cell for cell in again.cells if cell.id == "check-0-1").outputs[0].text == "kept"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("```{exercise} 0.2\n```", ""), "the catalogue has"),
        (("```{exercise} 0.2\n```", "```{exercise} 9.9\n```"), "no exercise '9.9'"),
    ],
)
def test_a_source_that_does_not_fit_the_catalogue_is_refused(small_course, change, sentence):
    source = folders.source_path(chapter("00"))
    source.write_text(source.read_text().replace(*change))
    with pytest.raises(CourseError, match=sentence):
        build.compose(chapter("00"))


def test_the_readmes_table_comes_from_the_catalogue_and_the_one_address(small_course):
    readme = build.with_chapter_table((small_course / "README.md").read_text())
    assert readme.startswith("before\n")
    assert readme.endswith("after\n")
    assert "old" not in readme
    for item in CHAPTERS:
        assert item.title in readme
        assert build.badge(item) in readme


def test_the_address_of_the_repository_stands_in_one_place():
    address = folders.repository()
    tracked = [
        "Makefile",
        "CITATION.cff",
        "requirements.txt",
        "nbgrader_config.py",
        *(
            path
            for name in ("part_utils", "coursekit", "pretraining")
            for path in folders.ROOT.glob(f"{name}/**/*.py")
        ),
    ]
    assert [str(name) for name in tracked if address in (folders.ROOT / name).read_text()] == []


@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda exercise: exercise.id)
def test_every_exercise_has_a_complete_set_of_cells(exercise):
    statement, solution, check, _ = exercise_cells(exercise)
    assert exercise.title in statement.source
    assert solution.source.count("### BEGIN SOLUTION") == solution.source.count("### END SOLUTION") >= 1
    compile(solution.source, exercise.id, "exec")
    assert exercise.id in check.source
    assert hints_text(exercise).count("<details>") == len(exercise.prose.hints) >= 2
    assert "@check_shapes" not in solution.source


def test_a_warning_does_not_get_into_a_solved_notebook():
    cell = nbformat.v4.new_code_cell(
        "plot()",
        outputs=[nbformat.v4.new_output("stream", name="stderr", text="a\nno browser\n")],
        id="code-plot",
    )
    with pytest.raises(CourseError, match=r"00_start_here: the cell code-plot writes to .* \(no browser\)"):
        build._tidy_outputs(nbformat.v4.new_notebook(cells=[cell]), chapter("00"))


def test_a_picture_takes_less_room_and_looks_the_same():
    import base64
    import io

    from PIL import Image, ImageDraw

    from coursekit.authoring.build import _in_few_colors

    image = Image.new("RGBA", (400, 300), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((50, 50, 250, 250), fill="#0072B2", outline="#D55E00")
    png = io.BytesIO()
    image.save(png, "png", compress_level=0)
    small = base64.b64decode(_in_few_colors(base64.b64encode(png.getvalue()).decode()))
    assert len(small) < len(png.getvalue()) / 5
    again = Image.open(io.BytesIO(small)).convert("RGBA")
    assert again.size == image.size
    for place in ((0, 0), (150, 150)):
        assert max(abs(a - b) for a, b in zip(again.getpixel(place), image.getpixel(place), strict=True)) <= 8
