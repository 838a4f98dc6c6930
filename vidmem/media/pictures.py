"""Single pictures: which files there are in a folder and below it, and one after the other read once."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from .base import Shape
from .discover import walk
from .exif import taken
from .images import load
from .recorded import UNKNOWN, Recorded, of_file
from .suffixes import PHOTO_SUFFIXES, suffix

LARGEST = 1 << 30
"""Bytes of a file: pictures are read whole, for their hash."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file with a picture's suffix. path: absolute, or from the folder of its source on. size: bytes; mtime_ns: ns
    since the epoch."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What came of reading a file. digest: sha256 of it, empty when it could not be read at all. image: `(h, w, 3)`
    uint8 in the size that was wanted, None for a digest that was known and for what is damaged; cause: why it is.
    width, height: pixels of the upright picture. recorded: when it was taken."""

    file: Listed
    digest: bytes
    image: NDArray[np.uint8] | None = None
    width: int = 0
    height: int = 0
    cause: str | None = None
    recorded: Recorded = UNKNOWN


def list_pictures(folder: str) -> tuple[list[Listed], list[tuple[str, str]]]:
    """The pictures in the folder and below it, by suffix, in natural order, with absolute paths; and the folders that
    cannot be read, each with the cause."""
    refused: list[OSError] = []
    found = [
        listed(os.path.join(top, name))
        for top, names in walk(folder, refused)
        for name in names or ()
        if suffix(name) in PHOTO_SUFFIXES
    ]
    return found, [(os.fspath(error.filename), error.strerror or str(error)) for error in refused]


def listed(path: str) -> Listed:
    """The file at `path`; a link that leads nowhere has no size, reading it tells."""
    try:
        stat = os.stat(path)
    except OSError:
        return Listed(path, 0, 0)
    return Listed(path, stat.st_size, stat.st_mtime_ns)


def read_pictures(folder: str, files: Sequence[Listed], shape: Shape, known: Collection[bytes]) -> Iterator[Read]:
    """Every file, in order; each is read once. Their paths are from `folder` on. shape: as for `Source.frames`. known:
    digests that need no picture any more; what comes out with one is known from then on."""
    seen = set(known)
    for file in files:
        read = _read(folder, file, shape, seen)
        if read.image is not None:
            seen.add(read.digest)
        yield read


def _read(folder: str, file: Listed, shape: Shape, seen: Collection[bytes]) -> Read:
    path = os.path.join(folder, file.path)
    try:
        if file.size > LARGEST:
            return Read(file, b"", cause=f"{file.size} bytes are no picture")
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe would be waited for
            return Read(file, b"", cause="it is no regular file")
        with open(path, "rb") as opened:
            data = opened.read()
    except OSError as error:
        return Read(file, b"", cause=error.strerror or str(error))
    digest = hashlib.sha256(data).digest()
    if digest in seen:
        return Read(file, digest)
    size = [0, 0]

    def wanted(width: int, height: int) -> tuple[int, int]:
        size[:] = width, height
        return shape(width, height)

    try:
        image = load(io.BytesIO(data), wanted, path)
    except MediaError as error:
        return Read(file, digest, cause=str(error).partition("; ")[0].partition(f": {path}")[0])
    known = of_file(path, 0, taken(io.BytesIO(data)))
    return Read(file, digest, image, size[0], size[1], recorded=known)
