"""The toy of `tests/support/toy_training.py`."""

import pytest
from toy_training import Toy


@pytest.fixture(scope="session")
def toy():
    """A tiny network, two toy tasks and helpers, as attributes."""
    return Toy
