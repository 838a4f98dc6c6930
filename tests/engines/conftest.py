from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import fakes
import pytest

from vidmem.encoders import registry
from vidmem.memory import Memory

SCENE = [("red", 0, 3, 8), ("blue", 1, 6, 60), ("red", 8, 11, 112), ("green", 4, 12, 24)]


@pytest.fixture(autouse=True)
def known(colours: None) -> None:
    """Register the encoder `colours`."""


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of coloured squares that knows when it was recorded by its name."""
    return fakes.squares(tmp_path_factory.mktemp("videos") / "2026-01-31_08-30-00.mp4", SCENE, 12)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos, each of one square."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    for colour in ("red", "cyan"):
        image = Image.new("RGB", (fakes.WIDTH, fakes.HEIGHT), fakes.GROUND)
        image.paste(fakes.COLOURS[colour], (40, 20, 100, 70))
        image.save(folder / f"{colour}.png")
    return folder


@pytest.fixture(scope="session")
def indexed(walk: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory of the video and the photos, for reading."""
    folder = tmp_path_factory.mktemp("memories") / "walk"
    with registry.registered(fakes.SPEC), Memory.open(folder, encoder="colours") as m:
        m.index(walk, recorded="name")
        m.index(photos)
        m.cache()
    return folder


@pytest.fixture
def copy(indexed: Path, tmp_path: Path) -> Path:
    """The same memory, for writing."""
    return Path(shutil.copytree(indexed, tmp_path / "copy"))


@pytest.fixture
def memory(indexed: Path) -> Iterator[Memory]:
    """The memory, open for reading."""
    with Memory.open(indexed, read_only=True) as m:
        yield m
