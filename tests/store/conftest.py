"""Small memories to test on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vidmem.store import Store

from .making import MODEL


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "memory"


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with Store.open(folder, create=True) as store:
        store.set_model(MODEL)
        yield store
