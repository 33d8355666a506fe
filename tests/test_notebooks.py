"""Every notebook runs from top to bottom: the solved one and the untouched one, silently on stderr."""

import nbformat
import pytest
from nbclient import NotebookClient

from coursekit import CHAPTERS
from coursekit.folders import learner_path, solved_path

pytestmark = pytest.mark.slow


@pytest.fixture
def static(monkeypatch):
    """What the build sets, but without pictures: those need a browser."""
    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    monkeypatch.setenv("COURSE_STATIC", "1")
    monkeypatch.setenv("TQDM_DISABLE", "1")


@pytest.mark.parametrize("which", [solved_path, learner_path], ids=["solved", "untouched"])
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.slug)
def test_runs_from_top_to_bottom(chapter, which, static, tmp_path):
    notebook = nbformat.read(which(chapter), as_version=4)
    # Stops at the first cell that raises, and names it.
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    on_stderr = [output.text for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    assert on_stderr == []
    scores = {
        cell.metadata.nbgrader.grade_id: float(cell.outputs[-1].data["text/plain"])
        for cell in cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    }
    points = {f"check_{e.id.replace('.', '_')}": float(e.points) for e in chapter.exercises}
    assert scores == (points if which is solved_path else dict.fromkeys(points, 0.0))
