"""Libraries that come with an extra, and the error when one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ..errors import ModelError

LIBRARIES = (
    *("torch", "torchvision", "transformers", "open_clip", "timm", "tokenizers", "peft"),
    *("starlette", "uvicorn", "mcp", "pydantic", "anyio", "paho"),
    *("lance", "lancedb", "pymilvus", "milvus_lite"),
    *("sqlalchemy", "psycopg", "fsspec", "s3fs", "ray"),
)
"""Libraries that only extras bring."""


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Turn the ImportError of one of LIBRARIES into a ModelError that names the extra to install.

    A context manager, or a decorator. what: what needs the library, for people, such as "`clip`".
    """
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
    """Raise ModelError as `needing` if PyTorch, which all extras of encoders bring, is missing. Imports nothing."""
    with needing(extra, what):
        if find_spec("torch") is None:
            raise ModuleNotFoundError(name="torch")
