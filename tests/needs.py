"""What a test needs: a library, a program, a browser, a GPU. Without it the test skips, and in CI it fails."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from typing import Any, NoReturn

import pytest

EXTRAS = "VIDMEM_REQUIRE_EXTRAS"
"""When this variable is set, as in .ci/run, a library that is not there is a failure."""
GPU = "VIDMEM_REQUIRE_GPU"
"""When this variable is set, a GPU that is not there is a failure."""
BROWSER = "VIDMEM_REQUIRE_BROWSER"
"""When this variable is set, as in .ci/run, a Chromium that is not there is a failure."""
BROKER = "VIDMEM_REQUIRE_BROKER"
"""When this variable is set, as in .ci/run, a mosquitto that is not there is a failure."""

POSTGRES = "VIDMEM_REQUIRE_POSTGRES"
"""When this variable is set, as in .ci/run, a PostgreSQL that is not there is a failure."""


def needs(module: str) -> Any:
    """Import a library that comes with an extra and return it; the name may be dotted.

    For tests, fixtures and the top of a test file, in place of `pytest.importorskip`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        _missing(EXTRAS, f"{module} cannot be imported: {error}")


def needs_gpu() -> None:
    """For tests marked `gpu`: skip without a GPU that PyTorch can use."""
    if not needs("torch").cuda.is_available():
        _missing(GPU, "there is no GPU")


def needs_browser() -> str:
    """The path of a Chromium, for tests that drive one: VIDMEM_CHROMIUM, or the one on the PATH."""
    given = os.environ.get("VIDMEM_CHROMIUM")
    names = (given,) if given else ("chromium", "chromium-browser", "google-chrome")
    return _program(names, BROWSER, "there is no Chromium")


def needs_broker() -> str:
    """The path of mosquitto, for tests that speak MQTT to a real broker."""
    return _program(("mosquitto", "/usr/sbin/mosquitto"), BROKER, "there is no mosquitto")


def needs_postgres() -> Path:
    """The folder of PostgreSQL's programs, such as initdb, for tests of a catalogue in a real server."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next(iter(folders), None) or _missing(POSTGRES, "there is no PostgreSQL")


def _program(names: tuple[str, ...], variable: str, reason: str) -> str:
    found = next(filter(None, map(shutil.which, names)), None)
    return found if found is not None else _missing(variable, reason)


def _missing(variable: str, reason: str) -> NoReturn:
    if os.environ.get(variable):
        pytest.fail(f"{reason}; {variable} is set, so this does not skip", pytrace=False)
    pytest.skip(reason, allow_module_level=True)
