"""What several chapters' checks say and use: an exception in the course's words, directions at unit length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor

from coursekit.checking.claims import Mistake
from coursekit.checking.door import LearnerError


def unit_rows(W: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    """Divided by the length along an axis; zero stays zero."""
    return W / W.norm(dim=dim, keepdim=True).clamp_min(1e-8)


@contextmanager
def explained(explanations: Mapping[str, str]) -> Iterator[None]:
    """Say in the course's words what an exception of the learner's code means.

    Maps a piece of the exception's text ("" for any) to the sentence that is shown above it.
    """
    try:
        yield
    except LearnerError as error:
        for said, sentence in explanations.items():
            if said in str(error):
                raise Mistake(sentence, str(error).splitlines()) from None
        raise
