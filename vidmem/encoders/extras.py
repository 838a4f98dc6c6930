"""Libraries that come with an extra, and what is said when one is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ..errors import ModelError

LIBRARIES = ("torch", "torchvision", "transformers", "open_clip", "timm", "tokenizers")
"""None of them is a dependency of vidmem itself."""


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """For the time in which `what` (for people, such as "`clip`") may import what comes with `extra`. Raises ModelError
    with the remedy in place of the ImportError of one of LIBRARIES. Serves as a decorator too."""
    try:
        yield
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        if library not in LIBRARIES:
            raise
        raise ModelError(
            f"{what} needs {library}, which cannot be imported here; pip install 'vidmem[{extra}]'"
        ) from None


def require(extra: str, what: str) -> None:
    """Raises ModelError as `needing` when PyTorch, which all extras of encoders bring, is not installed. Imports
    nothing."""
    with needing(extra, what):
        if find_spec("torch") is None:
            raise ModuleNotFoundError(name="torch")
