from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes
import pytest
from typer.testing import CliRunner

from vidmem.cli import app
from vidmem.encoders import registry
from vidmem.memory import Memory

TESTS = Path(fakes.__file__).parent
SCENE = [("red", 0, 3, 8), ("blue", 1, 6, 60), ("red", 8, 11, 112), ("green", 4, 12, 24)]

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, colours: None) -> None:
    """Register the encoder `colours`, use a memory of this test, and ignore the developer's environment."""
    monkeypatch.setenv("VIDMEM_MEMORY", str(tmp_path / "memory"))
    for name in ("VIDMEM_DEBUG", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run() -> Run:
    """Run the command line in this process; the result has exit_code, stdout and stderr."""

    def call(*args: object, input: str | None = None) -> Any:
        result = CliRunner().invoke(app, [str(a) for a in args], input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red from 0 to 3 s and from 8 to 11 s, blue from 1 to 6 s, green from 4 to 12 s."""
    return fakes.squares(tmp_path_factory.mktemp("videos") / "walk.mp4", SCENE, 12)


@pytest.fixture(scope="session")
def indexed(walk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory of walk.mp4, for reading."""
    folder = tmp_path_factory.mktemp("memories") / "walk"
    with registry.registered(fakes.SPEC), Memory.open(folder, encoder="colours") as m:
        m.index(walk)
        m.cache()
    return folder


@pytest.fixture
def copy(indexed: Path, tmp_path: Path) -> Path:
    """The same memory, for writing."""
    return Path(shutil.copytree(indexed, tmp_path / "copy"))


def process(*args: object, memory: Path | str, wait: bool = True, **more: Any) -> Any:
    """Run the command line in a new process that knows the encoder `colours`."""
    code = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r}); import fakes; fakes.register(); "
        "from vidmem.cli import main; main()"
    )
    command = [sys.executable, "-c", code, *map(str, args)]
    environment = {**os.environ, "VIDMEM_MEMORY": str(memory)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more}
    # A test run that a shell started in the background ignores SIGINT, and its children inherit that.
    started = subprocess.Popen(
        command, env=environment, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **streams
    )
    if not wait:
        return started
    out, err = started.communicate(timeout=60)
    return subprocess.CompletedProcess(command, started.returncode, out, err)
