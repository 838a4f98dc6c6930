from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # making.py


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of floats in one order, so that a training ends the same on every machine; and models this small are slower
    with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def backbone() -> object:
    from making import Squares

    return Squares()
