"""Open what an address names: the memory in a folder, or a fleet. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import os

from ..store import Store
from .address import folder_of, is_fleet, refusal


def open_store(address: str | os.PathLike[str], *, write: bool = False) -> Store:
    """Open the store at an address.

    Args:
        address: The folder of a memory, or the address of a fleet.
        write: Open it for writing.

    Raises:
        StoreError: A fleet is to be written, or as `Store.open` and `FleetStore.of`.
        UsageError, VersionError, ModelError: As these.
    """
    if not is_fleet(address):
        return Store.open(folder_of(address), write=write)
    if write:
        raise refusal(os.fspath(address))
    from .store import FleetStore

    return FleetStore.of(os.fspath(address))
