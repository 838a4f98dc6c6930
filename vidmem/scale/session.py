"""The folder of a cluster on this machine, and those that killed runs left behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import StoreError
from ..store.lock import take_lock

PREFIX = "vidmem-ray-"
_LOCK = "in-use"
"""A file that is locked as long as the process lives that made the folder."""


@contextmanager
def session_folder(below: Path | None = None) -> Iterator[str]:
    """Make a folder for Ray; delete it after the block, and before it those whose process is gone.

    The folder is a short one: the paths of sockets in it have at most 107 letters.

    below: where it lies; by default /tmp, or the folder for temporary files.
    """
    at = below or Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir())
    _sweep(at)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=at))
    lock = take_lock(folder / _LOCK, wait=True)
    try:
        yield str(folder)
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(at: Path) -> None:
    for folder in at.glob(f"{PREFIX}*"):
        if not (folder / _LOCK).is_file():  # not one of ours, or just being made
            continue
        try:
            lock = take_lock(folder / _LOCK, wait=False)
        except (OSError, StoreError):  # of another user
            continue
        if lock is not None:
            os.close(lock)
            shutil.rmtree(folder, ignore_errors=True)
