"""Fixtures for tests of several encoders."""

from __future__ import annotations

from pathlib import Path

import pytest
from encoders import sam2_folder


@pytest.fixture(scope="session")
def sam2_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random SAM2 on disk. Do not write to it."""
    return sam2_folder.write(tmp_path_factory.mktemp("sam2") / "small")
