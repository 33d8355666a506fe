"""A job that rewrites the course's own code on its side gets no point by it, and computes as the notebook does."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator

import hostile
import pytest
import torch

from coursekit.catalogue import get_exercise
from coursekit.grading.grade import Settings, grade_exercise, grade_submission
from coursekit.grading.jail import Jail
from coursekit.grading.machine import LAYERS, available_layers, tier_of

SLUG = "02_sparse_autoencoder"
FIXTURES = "import coursekit.checking.fixtures as fixtures, torch.nn as nn, torch\n"
PLAIN = """
class AutoEncoderInit(nn.Module):
    def __init__(self, cfg, device=None):
        super().__init__()
        self.cfg = cfg
        self.W_enc = t.randn(cfg.n_instances, cfg.n_input_ae, cfg.n_hidden_ae, device=device)
        if not cfg.tied_weights:
            self.W_dec = t.randn(cfg.n_instances, cfg.n_hidden_ae, cfg.n_input_ae, device=device)
        self.b_enc = t.zeros(cfg.n_instances, cfg.n_hidden_ae, device=device)
        self.b_dec = t.zeros(cfg.n_instances, cfg.n_input_ae, device=device)
"""
REPLACING = """
class AutoEncoderNormalizeDecoder(AutoEncoder):
    def normalize_and_return_W_dec(self):
        W_dec = self.W_enc.mT if self.cfg.tied_weights else self.W_dec
        return W_dec / (W_dec.norm(dim=-1, keepdim=True) + 1e-8)

    def normalize_decoder(self):
        if not self.cfg.tied_weights:
            self.W_dec = nn.Parameter(self.normalize_and_return_W_dec().detach())
"""
NAMES = "['W_enc', 'W_dec', 'b_enc', 'b_dec']"
LIES = {
    "says-trainable": ("2.1", PLAIN, f"fixtures.Parameters.trainable = lambda self: {NAMES}"),
    "requires-grad": ("2.1", PLAIN, "torch.Tensor.requires_grad = property(lambda self: True)"),
    "is-a-parameter": ("2.1", PLAIN, "nn.Parameter = torch.Tensor"),
    "says-the-same": (
        "2.2",
        REPLACING,
        "fixtures.Parameters.replaced = lambda self: []\n"
        f"fixtures.Parameters.trainable = lambda self: {NAMES}",
    ),
    "no-step": ("2.1", PLAIN, "fixtures.Parameters.step = lambda self, **steps: None"),
    "step-of-ones": ("2.1", PLAIN, "torch.arange = lambda *a, **k: torch.ones(a[0])"),
    "patched-equal": ("2.2", REPLACING, "torch.equal = torch.allclose = lambda *a, **k: True"),
    "one-for-all": (
        "2.2",
        REPLACING,
        "import coursekit.exercises.chapter_02.autoencoders as shared\nshared.moved = lambda *a: " + NAMES,
    ),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        tier_of(available_layers()) != "full",
        reason="this machine cannot jail at tier full: course doctor --grading",
    ),
]


@pytest.fixture(scope="module", params=["full", "reduced"])
def jail(request: pytest.FixtureRequest) -> Iterator[Jail]:
    layers = LAYERS if request.param == "full" else LAYERS[1:]
    with Jail(request.param, None, layers) as made:
        yield made


def notebook_with(exercise_id: str, source: str, first: str) -> bytes:
    """The solved notebook of chapter 2 with another answer, below a cell that rewrites something."""
    path = hostile.ROOT / "solutions" / SLUG / f"{SLUG}.ipynb"
    book = copy.deepcopy(json.loads(path.read_text()))
    name = f"exercise_{exercise_id.replace('.', '_')}"
    (cell,) = (cell for cell in book["cells"] if hostile.grade_id(cell) == name)
    # In the cell itself, so that it runs wherever the answer does.
    cell["source"] = f"{FIXTURES}{first}\n{source or ''.join(cell['source'])}"
    return hostile.dumped(book)


@pytest.mark.parametrize("exercise_id", ["2.1", "2.2"])
def test_the_right_answer_gets_its_points(exercise_id: str, jail: Jail) -> None:
    exercise = get_exercise(exercise_id)
    result, _ = grade_exercise(jail, exercise, notebook_with(exercise_id, "", ""), f"{SLUG}.ipynb", 7)
    assert result.points == exercise.points, result.text()


@pytest.mark.parametrize("name", LIES)
def test_no_point_by_a_lie(name: str, jail: Jail) -> None:
    exercise_id, source, lie = LIES[name]
    notebook = notebook_with(exercise_id, source, lie)
    result, _ = grade_exercise(jail, get_exercise(exercise_id), notebook, f"{SLUG}.ipynb", 7)
    assert result.points == 0
    assert "still to be solved" not in result.message


def test_a_job_computes_with_the_same_instructions_as_the_notebook(jail: Jail) -> None:
    """Otherwise it is many times slower, and the last bits differ."""
    code = hostile.attack("raise ValueError(f'capability {t.backends.cpu.get_cpu_capability()}.')")
    notebook = hostile.dumped(hostile.notebook({"0.1": code}))
    graded = grade_submission(jail, "anna", notebook, "", Settings("00", 5, jail.tier))
    assert f"capability {torch.backends.cpu.get_cpu_capability()}." in graded.results[0].message
