from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fakes
import pytest

from needs import needs
from vidmem.encoders import registry
from vidmem.memory import Memory

needs("mcp")

SCENE = [("red", 0, 3, 8), ("blue", 1, 6, 60), ("red", 8, 11, 112), ("green", 4, 12, 24)]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, colours: None) -> None:
    """Register the encoder `colours`, and ignore the developer's environment."""
    monkeypatch.setenv("VIDMEM_MEMORY", str(tmp_path / "memory"))
    monkeypatch.delenv("VIDMEM_DEBUG", raising=False)


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red from 0 to 3 s and from 8 to 11 s, blue from 1 to 6 s, green from 4 to 12 s."""
    return fakes.squares(tmp_path_factory.mktemp("videos") / "walk.mp4", SCENE, 12)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of squares: red with green, red with blue, yellow."""
    folder = tmp_path_factory.mktemp("pictures") / "photos"
    for name, colours in {"a": ("red", "green"), "b": ("cyan", "blue"), "c": ("yellow",)}.items():
        fakes.photo(folder / f"{name}.png", *colours)
    return folder


@pytest.fixture(scope="session")
def made(walk: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory of walk.mp4 and of the photos, to be copied or read."""
    folder = tmp_path_factory.mktemp("memories") / "walks"
    with registry.registered(fakes.SPEC), Memory.open(folder, encoder="colours") as m:
        m.index(walk, photos)
        m.cache()
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The same memory, for writing."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


@pytest.fixture
def memory(made: Path, clean: None) -> Iterator[Memory]:
    """The memory, open for reading."""
    with Memory.open(made, read_only=True) as m:
        yield m


@pytest.fixture
def server(memory: Memory) -> Any:
    """The MCP server of the memory, without tools that write."""
    from vidmem.serve.agents.desk import Desk
    from vidmem.serve.agents.server import build

    return build(Desk(memory))
