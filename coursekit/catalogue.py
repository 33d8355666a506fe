"""What the course knows of each exercise and chapter: the single place that names them.

An exercise stands in `exercises/chapter_NN/eMM_name.py`: a check function with the exercise's facts on top, as a
decorator. Its words stand in the chapter's text. Notebooks, the command line, pytest and grading read this catalogue.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from coursekit.material import chapter_text
from coursekit.prose import Prose, prose_in

if TYPE_CHECKING:
    from coursekit.checking.claims import Check

_SLUG = re.compile(r"e\d\d_")


class UnknownExercise(ValueError):
    """No exercise has this id; the message lists those that exist."""


@dataclass(frozen=True)
class Chapter:
    """A chapter: `slug` is the name of its folder and notebook, `reading_minutes` the time for text and plots."""

    number: str
    slug: str
    title: str
    reading_minutes: int

    @property
    def exercises(self) -> tuple[Exercise, ...]:
        return _exercises_of(self.number)

    @property
    def minutes(self) -> int:
        return self.reading_minutes + sum(exercise.minutes for exercise in self.exercises)


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        id: "1.2", chapter and number.
        reference: where the solution stands below `part_utils`, as `module.function` or `module.Class.method`; a module
            in a folder is `folder/module`.
        difficulty, importance: 1 to 5.
        check: raises `Mistake` when the learner's code is wrong.
        base: for a method, the class that the learner's class derives from; the reference's own class if None.
        methods: the methods that the learner writes: of a class, all if empty; for a method, itself and those that
            stand with it in one cell, itself alone if empty.
        also: for a function, other functions of its module that the learner writes in the same cell.
        needs: modules that take long to import and that its check uses. They load before the clock starts.
        seconds: time limit of the check.
    """

    id: str
    reference: str
    difficulty: int
    importance: int
    minutes: int
    points: int
    check: Callable[[Check], None]
    base: str | None = None
    methods: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    seconds: float = 20.0

    @property
    def slug(self) -> str:
        """The name of its file and of that of its wrong answers: `e03_forward`."""
        return self.check.__module__.rpartition(".")[2]

    @property
    def label(self) -> str:
        """What tests and tables call it: `2.3 e03_forward`."""
        return f"{self.id} {self.slug}"

    @property
    def prose(self) -> Prose:
        """Its words, from the chapter's text. Raises ValueError if it is not there."""
        if (words := self._words()) is None:
            raise ValueError(
                f"{chapter_text(self.chapter.slug)} has no exercise {self.id}. "
                f"Write :::{{exercise}} {self.id} and its title there."
            )
        return words

    def _words(self) -> Prose | None:
        path = chapter_text(self.chapter.slug)
        return prose_in(path).get(self.id) if path.is_file() else None

    @property
    def title(self) -> str:
        """A few words for headings; its name where the chapter's text is not at hand, as a check needs none."""
        return words.title if (words := self._words()) else self.name

    @property
    def name(self) -> str:
        """The field's name for it: `reconstruct`, or `ToyModel.forward`."""
        return self.reference.partition(".")[2]

    @property
    def module(self) -> str:
        """The module that the solution stands in, `part_utils.autoencoder`."""
        return f"part_utils.{self.reference.partition('.')[0].replace('/', '.')}"

    @property
    def cell_name(self) -> str:
        """What the learner's cell defines: `reconstruct`, or the class `ToyModelForward`."""
        class_name, _, method = self.name.partition(".")
        if not method:
            return self.name
        return class_name + "".join(word.capitalize() for word in method.strip("_").split("_"))

    @property
    def targets(self) -> dict[str, str]:
        """What a check may call, and the name that the cell gives it: "4.1", and "4.1 other" for another function."""
        return {self.id: self.cell_name} | {f"{self.id} {name}": name for name in self.also}

    @property
    def class_name(self) -> str | None:
        """For a method, the reference class it belongs to."""
        class_name, _, method = self.name.partition(".")
        return class_name if method else None

    @property
    def chapter(self) -> Chapter:
        return chapter(self.id.partition(".")[0].zfill(2))

    def load_reference(self, name: str = "") -> Any:
        """Return the object that solves the exercise, a function or a class, or another one (`also`) of its cell."""
        wanted = name if name in self.also else self.name.partition(".")[0]
        return getattr(importlib.import_module(self.module), wanted)


def exercise(**facts: Any) -> Callable[[Callable[[Check], None]], Exercise]:
    """Turn a check function into the exercise that it checks."""

    def decorate(check: Callable[[Check], None]) -> Exercise:
        return Exercise(check=check, **facts)

    return decorate


CHAPTERS = (
    Chapter("00", "00_start_here", "Start here: shapes and einsum", reading_minutes=20),
    Chapter("01", "01_toy_model", "Toy models of superposition", reading_minutes=60),
    Chapter("02", "02_sparse_autoencoder", "A sparse autoencoder on the toy model", reading_minutes=60),
    Chapter("03", "03_resampling", "Neuron resampling", reading_minutes=40),
    Chapter("04", "04_language_model", "A sparse autoencoder on a language model's MLP", reading_minutes=75),
    Chapter("05", "05_interpretation", "Interpreting features", reading_minutes=60),
    Chapter("06", "06_modern_autoencoders", "Modern autoencoders", reading_minutes=75),
    Chapter("07", "07_can_it_be_trusted", "Can it be trusted?", reading_minutes=70),
    Chapter("08", "08_real_model", "A real language model", reading_minutes=60),
)


def chapter(number: str) -> Chapter:
    """Return the chapter with this number ("01" or "1") or slug."""
    for candidate in CHAPTERS:
        if number in (candidate.number, candidate.number.lstrip("0") or "0", candidate.slug):
            return candidate
    known = ", ".join(candidate.number for candidate in CHAPTERS)
    raise UnknownExercise(f"There is no chapter {number!r}. The chapters are {known}.")


def all_exercises() -> tuple[Exercise, ...]:
    """Return every exercise, in the order in which a learner meets them."""
    return tuple(item for candidate in CHAPTERS for item in candidate.exercises)


def get_exercise(exercise_id: str) -> Exercise:
    """Return the exercise with this id. Raises UnknownExercise with the ids that exist."""
    if re.fullmatch(r"\d+\.\d+", str(exercise_id)):
        number = str(exercise_id).partition(".")[0].zfill(2)
        if any(candidate.number == number for candidate in CHAPTERS):
            for item in _exercises_of(number):
                if item.id == exercise_id:
                    return item
    known = ", ".join(item.id for item in all_exercises())
    raise UnknownExercise(f"There is no exercise {exercise_id!r}. The exercises are {known}.")


@cache
def _exercises_of(number: str) -> tuple[Exercise, ...]:
    package = importlib.import_module(f"coursekit.exercises.chapter_{number}")
    names = sorted(
        module.name for module in pkgutil.iter_modules(package.__path__) if _SLUG.match(module.name)
    )
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return tuple(
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, Exercise) and value.check.__module__ == module.__name__
    )
