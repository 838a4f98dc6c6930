"""The address of a fleet, such as fleet:house.catalogue."""

from __future__ import annotations

import os

from ..errors import StoreError

PREFIX = "fleet:"
"""An address that begins so is that of the catalogue of a fleet."""


def is_fleet(address: str | os.PathLike[str] | None) -> bool:
    """Return True for the address of a fleet, such as fleet:house.catalogue."""
    return address is not None and os.fspath(address).startswith(PREFIX)


def refusal(name: str) -> StoreError:
    """Return the error for writing to a fleet."""
    return StoreError(f"a fleet takes questions and no changes; change the memory of a shard and seal it again: {name}")
