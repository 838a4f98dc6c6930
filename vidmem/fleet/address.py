"""The address of a fleet, such as fleet:house.catalogue."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..address import shown, without_secrets
from ..errors import StoreError, UsageError

PREFIX = "fleet:"
"""An address that begins so is that of the catalogue of a fleet."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_fleet(address: str | os.PathLike[str] | None) -> bool:
    """Return True for the address of a fleet, such as fleet:house.catalogue."""
    return address is not None and os.fspath(address).startswith(PREFIX)


def folder_of(address: str | os.PathLike[str]) -> Path:
    """Return the folder of a memory.

    Raises:
        UsageError: It is an address such as postgresql://HOST/NAME. It may hold a password, which is not shown.
    """
    text = os.fspath(address)
    if _URL.match(text) and not os.path.exists(text):
        raise UsageError(
            "a memory is a folder, and this is an address; a fleet is asked as fleet:CATALOGUE: "
            f"{shown(without_secrets(text, whole=True))}"
        )
    return Path(text)


def refusal(name: str) -> StoreError:
    """Return the error for writing to a fleet."""
    return StoreError(
        "a fleet takes questions and no changes; change the memory of a shard and seal it again: "
        f"{shown(without_secrets(name, whole=True))}"
    )
