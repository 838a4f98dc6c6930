"""What `vidmem ls`, `vidmem info` and `vidmem rm` share. They need no encoder, so they work on every memory."""

from __future__ import annotations

from ..config import default_address
from ..fleet import opening
from ..store import Store

STATES = {"open": "interrupted", "done": "done", "partial": "done, damaged"}
"""States of a source, for people."""
OWN_DATES = "each its own"
"""When the photos of a folder were taken."""


def open_store(memory: str | None, *, write: bool = False) -> Store:
    """Open the memory without its encoder."""

    return opening.open_store(memory or default_address(), write=write)
