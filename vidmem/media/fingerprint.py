"""Digests that identify the content of a source without reading all of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

_EDGE = 1 << 20


def of_file(path: str) -> str:
    """sha256 in hex of the size and the first and last MiB: fast for any size, the same after moving or copying."""
    size = os.path.getsize(path)
    digest = hashlib.sha256(f"{size}\n".encode())
    with open(path, "rb") as file:
        digest.update(file.read(_EDGE))
        if size > _EDGE:
            file.seek(max(_EDGE, size - _EDGE))
            digest.update(file.read(_EDGE))
    return digest.hexdigest()


def of_files(paths: Iterable[str]) -> str:
    """sha256 in hex of the sorted (name, size, mtime in ns) of a folder's pictures."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        stat = os.stat(path)
        digest.update(os.fsencode(os.path.basename(path)) + f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def of_log(path: str) -> str:
    """`of_file`; for a folder the sha256 in hex of the names and `of_file` of the files directly in it."""
    if not os.path.isdir(path):
        return of_file(path)
    digest = hashlib.sha256()
    for name in sorted(os.listdir(path)):
        file = os.path.join(path, name)
        if os.path.isfile(file):
            digest.update(os.fsencode(name) + f"\0{of_file(file)}\n".encode())
    return digest.hexdigest()
