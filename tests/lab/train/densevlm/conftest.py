from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))  # dense_making.py


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of floats in one order, so that a training ends the same on every machine; small models are faster so."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
