from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fakes
import pytest

from needs import needs
from vidmem.encoders import registry
from vidmem.memory import Memory

if TYPE_CHECKING:
    from starlette.testclient import TestClient

SCENE = [("red", 0, 3, 8), ("blue", 1, 6, 60), ("red", 8, 11, 112), ("green", 4, 12, 24)]
BASE_URL = "http://127.0.0.1:8077"


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
    """A folder of photos: one with red and blue, one with green, one with nothing."""
    folder = tmp_path_factory.mktemp("photos") / "album"
    folder.mkdir()
    fakes.photo(folder / "both.png", "red", "blue")
    fakes.photo(folder / "green.png", "green", size=(320, 192))
    fakes.photo(folder / "empty.png")
    return folder


@pytest.fixture(scope="session")
def indexed(walk: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory of walk.mp4 (source 1) and the photos (source 2), for reading."""
    folder = tmp_path_factory.mktemp("memories") / "walk"
    with registry.registered(fakes.SPEC), Memory.open(folder, encoder="colours") as m:
        m.index(walk)
        m.index(photos)
        m.cache()
    return folder


Serve = Callable[..., "TestClient"]


@pytest.fixture
def serving() -> Iterator[Serve]:
    """Opens a memory and gives a client of its application."""
    for library in ("starlette", "uvicorn", "pydantic", "httpx2"):
        needs(library)
    from starlette.testclient import TestClient

    from vidmem.serve.app import build
    from vidmem.serve.settings import Settings

    opened: list[Any] = []

    def start(folder: Path, **settings: Any) -> TestClient:
        memory = Memory.open(folder, read_only=True)
        client = TestClient(build(memory, Settings(**settings)), base_url=BASE_URL, raise_server_exceptions=True)
        client.__enter__()
        opened.append((client, memory))
        return client

    yield start
    for client, memory in opened:
        client.__exit__(None, None, None)
        memory.close()


@pytest.fixture
def client(serving: Serve, indexed: Path) -> TestClient:
    """A client of the application for `indexed`."""
    return serving(indexed)


@pytest.fixture(scope="session")
def shared_client(indexed: Path) -> Iterator[TestClient]:
    """A client of the application for `indexed`, for properties, which ask many times."""
    for library in ("starlette", "uvicorn", "pydantic", "httpx2"):
        needs(library)
    from starlette.testclient import TestClient

    from vidmem.serve.app import build

    with (
        registry.registered(fakes.SPEC),
        Memory.open(indexed, read_only=True) as memory,
        TestClient(build(memory), base_url=BASE_URL) as client,
    ):
        yield client
