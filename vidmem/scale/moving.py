"""Pieces on their way between workers: beside the shards, in a folder or an object store."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..encoders.extras import needing
from ..errors import StoreError
from ..fleet.storage import Place, place

FOLDER = ".pieces"
"""Where they lie, below the shards."""


def pieces_place(to: str, shard_key: str) -> Place:
    """Where the pieces of a shard lie."""
    return place(to) / FOLDER / shard_key


def has_piece(at: Place, key: str) -> bool:
    """Return True if a piece of this key is there. Raises StoreError if the place cannot be reached."""
    if at.is_local:
        return (at.folder / key).is_file()
    try:
        return bool(_files(at).exists((at / key).path))
    except OSError as error:
        raise _unreachable(at, error) from None


def send_piece(path: Path, at: Place, key: str) -> None:
    """Move a file to where others find it. It appears when it is complete.

    Raises:
        StoreError: It cannot be written.
    """
    try:
        if not at.is_local:
            _files(at).put_file(str(path), (at / key).path)
            path.unlink()
            return
        at.folder.mkdir(parents=True, exist_ok=True)
        part = at.folder / f"{key}.{secrets.token_hex(4)}.tmp"
        try:
            shutil.move(path, part)
            os.replace(part, at.folder / key)
        finally:
            with suppress(FileNotFoundError):
                part.unlink()
    except OSError as error:
        raise _unreachable(at, error) from None


def fetch_piece(at: Place, key: str, folder: Path) -> Path | None:
    """The path of a piece on this machine, copied to `folder` if it is not; None if it is not there."""
    if at.is_local:
        path = at.folder / key
        return path if path.is_file() else None
    path = folder / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _files(at).get_file((at / key).path, str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreachable(at, error) from None
    return path


def remove_pieces(at: Place) -> None:
    """Delete all pieces of a shard. What cannot be deleted stays."""
    with suppress(OSError):
        if at.is_local:
            shutil.rmtree(at.folder, ignore_errors=True)
            at.folder.parent.rmdir()  # if it was the last
        else:
            _files(at).rm(at.path, recursive=True)


@needing("fleet", "an object store")
def _files(at: Place) -> Any:
    import fsspec

    return fsspec.filesystem(at.protocol)


def _unreachable(at: Place, error: OSError) -> StoreError:
    cause = error.strerror or type(error).__name__
    return StoreError(f"pieces of sources cannot be kept ({cause}); check the disk or the store: {at}")
