"""Open the memory that is served, and make it first where clients may fill it."""

from __future__ import annotations

import os
from typing import Any

from ..config import default_address
from ..fleet.address import folder_of, is_fleet, refusal
from ..memory import Memory
from ..store.files import DATABASE_NAME


def open_memory(path: str | os.PathLike[str] | None, *, allow_write: bool, **opening: Any) -> Memory:
    """Open a memory for questions.

    Args:
        path: Its folder, or the address of a fleet; by default `default_address()`.
        allow_write: Make an empty memory if there is none, so that clients can index into it.
        opening: More arguments of `Memory.open`.

    Raises:
        StoreError: There is no memory and `allow_write` is false, or as `Memory.open`.
    """
    address = default_address() if path is None else path
    if is_fleet(address):
        if allow_write:
            raise refusal(str(address))
        return Memory.open(address, read_only=True, **opening)
    folder = folder_of(address)
    # Only then, for making one takes the lock of the writer, which another process may hold.
    if allow_write and not os.path.lexists(folder / DATABASE_NAME):
        Memory.open(folder, **opening).close()
    return Memory.open(folder, read_only=True, **opening)
