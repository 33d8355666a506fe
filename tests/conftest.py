"""What holds for all tests, whichever folder of them pytest is started on."""

import os

import pytest
import torch

# What the tests solve is nobody's progress.
os.environ["COURSE_PROGRESS"] = "off"
# The tensors here are small, and several threads only get into each other's way; so too in what tests start.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Say it to torch, which was imported before."""
    torch.set_num_threads(1)
