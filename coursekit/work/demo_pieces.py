"""What `course demo` shows: each piece is a function that runs in a kernel and returns a widget or a figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from coursekit.catalogue import chapter
from coursekit.errors import CourseError
from coursekit.folders import solved_path
from coursekit.notebooks.reading import read_notebook
from coursekit.work.page import PLOTLY

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from part_utils.model_with_autoencoder import ModelWithAutoencoder
    from part_utils.texts import TokenizedText


@dataclass(frozen=True)
class Piece:
    """One thing to show: `title` and `question` stand above it, the question is for the room."""

    chapter: str
    title: str
    question: str
    make: Callable[[], Any]


def pieces_of(number: str) -> tuple[Piece, ...]:
    """Return what there is to show of a chapter, in the order of the chapter; nothing, for some."""
    return tuple(piece for piece in PIECES if piece.chapter == number)


def show(number: str, place: int) -> Any:
    """Make the piece at a place, from 0, among those of a chapter."""
    return pieces_of(number)[place].make()


def saved_figure(number: str, call: str) -> go.Figure:
    """Return the figure that a cell of a solved notebook has saved.

    Args:
        number: the chapter's, such as "01".
        call: a piece of the cell's source.

    Raises:
        CourseError: there is no such cell, or it has no figure.
    """
    import plotly.graph_objects as go

    path = solved_path(chapter(number))
    for cell in read_notebook(path).cells:
        if cell.cell_type == "code" and call in cell.source:
            for output in cell.get("outputs", []):
                if PLOTLY in output.get("data", {}):
                    figure = output["data"][PLOTLY]
                    return go.Figure(
                        {key: figure[key] for key in ("data", "layout", "frames") if key in figure}
                    )
    raise CourseError(f"{path.name} has no figure of {call!r}. Run `course build {number}`.")


def toy_model() -> Any:
    from part_utils.widgets.toy_model import toy_model_explorer

    return toy_model_explorer()


def phase_diagram() -> Any:
    return saved_figure("01", "plot_phase_diagrams(measured")


def learning() -> Any:
    return saved_figure("01", "animate_learning(")


def autoencoder() -> Any:
    """Train a toy model and an autoencoder on it, with few instances: a class is waiting."""
    import torch

    from part_utils.autoencoder import AutoEncoder, AutoEncoderConfig
    from part_utils.toy_model import ToyModel, ToyModelConfig
    from part_utils.training import cosine_decay_lr
    from part_utils.widgets.autoencoder import autoencoder_explorer

    torch.manual_seed(0)
    probability = torch.linspace(0.01, 0.05, 4).unsqueeze(1)
    model = ToyModel(ToyModelConfig(n_instances=4), feature_probability=probability)
    model.optimize(steps=3_000, lr=5e-3, lr_schedule=cosine_decay_lr, progress=False)
    autoencoder = AutoEncoder(AutoEncoderConfig(4, 2, 5, l1_coeff=0.25))
    log = autoencoder.optimize(model, steps=2_000, lr=1e-2, lr_schedule=cosine_decay_lr, progress=False)
    return autoencoder_explorer(model, log)


def without_resampling() -> Any:
    return saved_figure("03", "Without resampling: rays without a latent")


def resampling() -> Any:
    return saved_figure("03", "animate_directions(")


@cache
def _text_and_encoder_a() -> tuple[TokenizedText, ModelWithAutoencoder]:
    from part_utils.language_models import load_autoencoder, load_language_model
    from part_utils.model_with_autoencoder import ModelWithAutoencoder
    from part_utils.texts import first_rows, load_tokens

    subject = ModelWithAutoencoder(load_language_model(), load_autoencoder())
    return first_rows(load_tokens("train", subject.model), 200), subject


def browser() -> Any:
    from part_utils.widgets.feature_browser import feature_browser

    return feature_browser(*_text_and_encoder_a(), start=".")


def steering() -> Any:
    from part_utils.language_models import load_latent_names
    from part_utils.widgets.steering import steering_explorer

    return steering_explorer(*_text_and_encoder_a(), load_latent_names())


def absorption() -> Any:
    from part_utils.widgets.absorption import absorption_explorer

    return absorption_explorer()


def frontier() -> Any:
    return saved_figure("06", "plot_frontier(points")


def graph() -> Any:
    from part_utils.language_models import load_language_model, load_tokens
    from part_utils.transcoder import load_transcoder
    from part_utils.widgets.circuits import graph_explorer

    model = load_language_model()
    text = load_tokens("train", model).tokens[:100]
    return graph_explorer("import numpy as", model, load_transcoder(), text=text)


PIECES = (
    Piece(
        "01",
        "A toy model",
        "Say what will happen before you move a slider: how many of the features does the model keep?",
        toy_model,
    ),
    Piece(
        "01",
        "How it learns",
        "Press play. In which order do the features come in, and which of them has to wait?",
        learning,
    ),
    Piece(
        "01",
        "The phase diagram",
        "Left as trained, right as calculated. Where does the second feature begin to share the dimension?",
        phase_diagram,
    ),
    Piece(
        "02",
        "An autoencoder while it is trained",
        "Move the step from the beginning to the end. Which arrows will find a ray, and which will never fire?",
        autoencoder,
    ),
    Piece(
        "03",
        "Without resampling",
        "Some rays have no arrow, and some arrows are pale. Will they ever come back?",
        without_resampling,
    ),
    Piece(
        "03",
        "With resampling",
        "Press play. A ring marks a latent that was just given a new direction. Where does it go?",
        resampling,
    ),
    Piece(
        "05",
        "What a latent responds to",
        "Write a sentence of your own, choose a latent that fires on it, and guess what it means before you scroll.",
        browser,
    ),
    Piece(
        "05",
        "Steering",
        "What will the model write when this latent is turned up? And when it is turned down?",
        steering,
    ),
    Piece(
        "06",
        "Absorption",
        "The more often the child is there, the more there is to save. When does its arrow leave its own axis?",
        absorption,
    ),
    Piece(
        "06",
        "The frontier",
        "The lower the line, the smaller the error at this sparsity. Which kind would you take?",
        frontier,
    ),
    Piece(
        "07",
        "Why this token",
        "Write a prompt. Point at a node or an edge to read what it is, click it to follow it.",
        graph,
    ),
)
