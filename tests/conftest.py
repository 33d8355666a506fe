"""Options for the tests, known whichever folder of tests pytest is started on."""

import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--notebook",
        metavar="PATH",
        help="check the exercises of this notebook in tests/exercises, instead of the reference implementations",
    )


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """The tensors here are small, and several threads only get into each other's way."""
    torch.set_num_threads(1)
