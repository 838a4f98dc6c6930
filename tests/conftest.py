"""Having this file here lets every test import what lies in this folder, such as `needs` and `encoders.fake`."""

from __future__ import annotations

from collections.abc import Iterator

import fakes
import pytest
from encoders import fake
from hypothesis import settings

from needs import needs_gpu
from vidmem.encoders import registry

settings.register_profile("vidmem", deadline=None)  # a busy machine is no failure
settings.load_profile("vidmem")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share fixtures in one process of pytest-xdist: those of a file, and all of the page."""
    for item in items:
        in_browser = "browser" in item.path.parts
        item.add_marker(pytest.mark.xdist_group("browser" if in_browser else str(item.path)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        needs_gpu()


@pytest.fixture
def default_fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the fake encoder `fake` known, and the default of memories."""
    monkeypatch.setattr("vidmem.memory.DEFAULT", "fake")
    with registry.registered(fake.SPEC):
        yield


@pytest.fixture
def colours() -> Iterator[None]:
    """Make the fake encoder `colours` known."""
    with registry.registered(fakes.SPEC):
        yield
