"""Whatever bytes a job writes, grading ends with a result for that exercise: nothing raises, stalls or grows.

The whole way from the job's bytes to the gradebook, without processes: a job is a file that holds what it says.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from safetensors.torch import save

from coursekit import chapter
from coursekit.errors import CourseError
from coursekit.grading import wire
from coursekit.grading.grade import Graded, Settings, grade_submission
from coursekit.grading.gradebook import Gradebook
from coursekit.grading.jailed_learner import JailedLearner
from coursekit.grading.job import Job, Limits
from coursekit.grading.machine import LAYERS

ZERO = chapter("00")
CONFINED = {"confined": list(LAYERS)}
LOADED = {"id": 0, "value": "", "printed": ""}


def frame(message: Any, blob: bytes = b"") -> bytes:
    text = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack("<II", len(text), len(blob)) + text + blob


class SaidJail:
    """A jail whose jobs say what a test gives them, whatever they are asked."""

    layers = LAYERS
    limits = Limits()

    def __init__(self, said: bytes, report: dict[str, Any] | None = None) -> None:
        self.said, self.report = said, report or {"exit": 0, "killed": ""}

    @contextlib.contextmanager
    def job(
        self, notebook: bytes, name: str, exercise_id: str, seconds: float, own: bool = False
    ) -> Iterator[JailedLearner]:
        with tempfile.TemporaryFile() as file, open(os.devnull, "wb") as nowhere:
            file.write(self.said)
            file.flush()
            file.seek(0)
            job = Job(wire.Channel(file.fileno(), nowhere.fileno(), wire.LARGEST_ANSWER), lambda: None)
            job.report = self.report
            try:
                yield JailedLearner(job, notebook, {}, seconds, self.limits)
            finally:
                job.over()


def graded_from(said: bytes, report: dict[str, Any] | None = None) -> Graded:
    jail: Any = SaidJail(said, report)
    return grade_submission(jail, "mallory", b"{}", "", Settings("00", 5))


def header(facts: Any, data: bytes = b"") -> bytes:
    text = json.dumps(facts).encode()
    return struct.pack("<Q", len(text)) + text + data


ONE = save({"0": torch.zeros(2, 3)})
EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
DIGITS = b"9" * 4300
HOSTILE = {
    "loading-of-4300-digits": frame(b'{"id":0,"loading":' + DIGITS + b"}"),
    "loading-of-4299-digits": frame(b'{"id":0,"loading":' + DIGITS[1:] + b"}"),
    "loading-negative": frame({"id": 0, "loading": -7}),
    "loading-true": frame({"id": 0, "loading": True}),
    "loading-text": frame({"id": 0, "loading": "1"}),
    "loading-for-ever": frame({"id": 0, "loading": 1}) * 5_000,
    "id-of-4299-digits": frame(b'{"id":' + DIGITS[1:] + b',"value":""}'),
    "id-false": frame({"id": False, "value": ""}),
    "id-list": frame({"id": [0], "value": ""}),
    "value-is-a-number": frame({"id": 0, "value": 7}),
    "value-is-a-list": frame({"id": 0, "value": {"list": [1]}}),
    "problem-is-a-tensor": frame({"id": 0, "value": {"tensor": 0}}, ONE),
    "printed-is-an-object": frame({"id": 0, "value": "", "printed": {"a": 1}}),
    "text-is-a-number": frame({"id": 0, "raised": "error", "text": 7}),
    "raised-is-a-list": frame({"id": 0, "raised": ["error"], "text": "x"}),
    "confined-again": frame(CONFINED),
    "unconfined-later": frame({"unconfined": "x"}),
    "deep-list": frame(b"[" * 100_000),
    "deep-object": frame(b'{"a":' * 100_000),
    "many-lists": frame(b'{"id":0,"value":{"list":[' + b"[]," * 300_000 + b"0]}}"),
    "no-text": frame(b""),
    "long-lengths": struct.pack("<II", (1 << 32) - 1, (1 << 32) - 1),
    "half-a-frame": frame(LOADED)[:-3],
    "half-a-header": b"\1\2\3",
    "nothing": b"",
}
ANSWERS: dict[str, tuple[Any, bytes]] = {
    "thousands-of-references": ({"list": [{"tensor": 0}] * 19_990}, ONE),
    "two-references": ({"list": [{"tensor": 0}] * 2}, ONE),
    "tensor-of-4299-digits": (b'{"tensor":' + DIGITS[1:] + b"}", ONE),
    "tensor-true": ({"tensor": True}, ONE),
    "handle-of-4299-digits": (b'{"handle":[' + DIGITS[1:] + b',"x"]}', b""),
    "handle-true": ({"handle": [True, "x"]}, b""),
    "tensor-left-over": (1, ONE),
    "million-empty-tensors": ({"tensor": 0}, header({str(n): EMPTY for n in range(300_000)})),
    "thousand-empty-tensors": ({"tensor": 0}, header({str(n): EMPTY for n in range(1_000)})),
    "empty-and-huge": ({"tensor": 0}, header({"0": {**EMPTY, "shape": [0, 1 << 62]}})),
    "shape-of-4299-digits": (
        {"tensor": 0},
        header({"0": EMPTY}).replace(b'"shape": [0]', b'"shape": [' + b"9" * 12 + b"]"),
    ),
    "shape-negative": ({"tensor": 0}, header({"0": {**EMPTY, "shape": [-1]}})),
    "shape-is-text": ({"tensor": 0}, header({"0": {**EMPTY, "shape": "0"}})),
    "shape-of-floats": ({"tensor": 0}, header({"0": {**EMPTY, "shape": [0.0]}})),
    "many-axes": ({"tensor": 0}, header({"0": {**EMPTY, "shape": [0] * 5_000}})),
    "facts-are-a-list": ({"tensor": 0}, header({"0": [1]})),
    "header-is-a-list": ({"tensor": 0}, header([1])),
    "metadata": ({"tensor": 0}, header({"__metadata__": {"a": "b" * 1000}, "0": EMPTY})),
    "offsets-overlap": (
        {"list": [{"tensor": 0}, {"tensor": 1}]},
        header({str(n): {**EMPTY, "shape": [1], "data_offsets": [0, 4]} for n in range(2)}, b"\0" * 4),
    ),
    "offsets-of-4299-digits": (
        {"tensor": 0},
        header({"0": EMPTY}).replace(b"[0, 0]", b"[0, " + DIGITS[1:] + b"]"),
    ),
    "header-longer-than-blob": ({"tensor": 0}, struct.pack("<Q", 1 << 62) + b"{}"),
    "uint8-of-20-megabytes": ({"tensor": 0}, save({"0": torch.zeros(20 << 20, dtype=torch.uint8)})),
    "infinity": (b'{"list":[1e999,-1e999,NaN]}', b""),
    "text-of-a-megabyte": ("x" * 1_000_000, b""),
    "half-a-character": (b'"\\ud83d"', b""),
    "keys-that-are-lists": ({"dict": [[{"list": []}, 1]]}, b""),
    "configuration": ({"configuration": ["ToyModelConfig", {"dict": []}]}, b""),
    "kind-unknown": ({"object": "os.system"}, b""),
}


def answered(value: Any, blob: bytes) -> bytes:
    """A job that loads and then answers the first call with this."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return frame(CONFINED) + frame(LOADED) + frame(b'{"id":1,"value":' + text + b"}", blob)


CASES = {name: frame(CONFINED) + said for name, said in HOSTILE.items()} | {
    name: answered(*answer) for name, answer in ANSWERS.items()
}


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_message_costs_its_own_exercise_only(name: str) -> None:
    tracemalloc.start()
    try:
        started = time.process_time()
        graded = graded_from(CASES[name])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert graded.points == 0
    assert all(result.message for result in graded.results)
    # Each is read three times, once for each exercise. Without limits some took minutes and gigabytes.
    assert most < 400 << 20
    assert time.process_time() - started < 60


def test_the_sum_of_all_answers_is_read_before_it_is_believed() -> None:
    """What a job says about its end comes from outside, but a cell's number from inside: neither breaks a sentence."""
    said = frame(CONFINED) + frame({"id": 0, "loading": 10**6})
    for report in (
        {"exit": -9, "killed": ""},
        {"exit": -9, "killed": "", "seconds": 1e9},
        {"killed": "time"},
    ):
        graded = graded_from(said, report)
        assert "Cell 1000001" in graded.results[0].message


@pytest.mark.parametrize("limit", [1, 7])
def test_more_than_a_job_may_say_is_never_read(limit: int) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(struct.pack("<II", 2, wire.LARGEST_ANSWER + limit) + b"{}")
        file.flush()
        file.seek(0)
        with pytest.raises(wire.Malformed):
            wire.Channel(file.fileno(), 1, wire.LARGEST_ANSWER).receive()
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 8


# The fuzzer

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from([10**4000, "x" * 5000, "\x1b[2J", "<script>", "=1+1", "~~~~"])
)
KEYS = st.sampled_from((
    "id", "value", "raised", "text", "printed", "loading", "borrowed", "confined", "unconfined", "list", "tuple",
    "dict", "tensor", "handle", "configuration", "x",
))  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
BLOBS = st.one_of(
    st.just(b""),
    st.binary(max_size=40),
    st.sampled_from([ONE, save({"0": torch.full((7, 3, 2), torch.nan)}), ONE[:-1], header({"0": EMPTY})]),
    st.builds(header, JSON),
)
MESSAGES = st.one_of(
    JSON,
    st.fixed_dictionaries({"id": st.integers(0, 3) | SCALARS, "value": JSON}, optional={"printed": JSON}),
    st.fixed_dictionaries({"id": st.just(0), "loading": st.integers(-2, 50) | SCALARS}),
    st.fixed_dictionaries({"id": st.integers(0, 3), "raised": JSON, "text": JSON}),
    st.sampled_from([CONFINED, LOADED]),
)
FRAMES = st.one_of(st.builds(frame, MESSAGES, BLOBS), st.builds(frame, st.binary(max_size=60), BLOBS))
SAID = st.tuples(
    st.booleans(), st.booleans(), st.lists(FRAMES, min_size=7, max_size=7), st.binary(max_size=9)
)


@pytest.mark.slow
def test_no_message_leaves_its_submission(tmp_path: Path) -> None:
    """3,000 submissions of 7 messages each, from the job's bytes to the gradebook and back."""
    count, slowest = 0, 0.0
    with Gradebook(tmp_path) as book:
        book.add_chapter(ZERO)

        @seed(20_240_229)
        @settings(max_examples=3_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(SAID)
        def fuzz(said: tuple[bool, bool, list[bytes], bytes]) -> None:
            nonlocal count, slowest
            is_confined, is_loaded, frames, rest = said
            start = (frame(CONFINED) if is_confined else b"") + (frame(LOADED) if is_loaded else b"")
            started = time.process_time()
            try:
                graded = graded_from(start + b"".join(frames) + rest)
            except CourseError:
                # A job that could not be locked up says so before it runs a line of anybody's.
                assert not is_confined
                return
            slowest = max(slowest, time.process_time() - started)
            count += len(frames)
            assert graded.points == 0
            assert Graded.from_json(graded.to_json()) == graded
            if count % 140 == 0:
                book.save(graded)
                assert book.marks_of(ZERO, "mallory").score == 0

        fuzz()
    assert count >= 20_000
    assert slowest < 20
