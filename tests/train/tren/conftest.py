from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # making.py


@pytest.fixture
def backbone() -> object:
    from making import Squares

    return Squares()
