"""Single pictures: listing a folder and all below it, and reading each file once."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..limits import budget, open_regular, over_budget
from .base import Shape
from .discover import walk
from .exif import from_exif
from .fingerprint import of_content
from .images import load
from .recorded import UNKNOWN, Recorded, recorded_at
from .suffixes import PHOTO_SUFFIXES, suffix


@dataclass(frozen=True, slots=True)
class Listed:
    """A file with a picture's suffix.

    path: absolute, or relative to the folder of its source. size: bytes. mtime_ns: ns since the epoch.
    """

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """The result of reading a file.

    digest: sha256 of the file, empty if it cannot be read at all. image: `(h, w, 3)` uint8 RGB in the wanted size; None
    if the digest was known, or the picture is damaged. width, height: pixels of the upright picture. cause: why there
    is no picture. recorded: when it was taken. sample: `fingerprint.of_content`, or the digest if it is damaged; None
    if it cannot be read at all.
    """

    file: Listed
    digest: bytes
    image: NDArray[np.uint8] | None = None
    width: int = 0
    height: int = 0
    cause: str | None = None
    recorded: Recorded = UNKNOWN
    sample: bytes | None = None


def list_pictures(folder: str) -> tuple[list[Listed], list[tuple[str, str]]]:
    """List the pictures in a folder and below it, by suffix, in natural order.

    Returns:
        The pictures with paths that begin with `folder`, and the folders that cannot be read, each with its cause.
    """
    refused: list[OSError] = []
    found = [
        listed(os.path.join(top, name))
        for top, names in walk(folder, refused)
        for name in names or ()
        if suffix(name) in PHOTO_SUFFIXES
    ]
    return found, [(os.fspath(error.filename), error.strerror or str(error)) for error in refused]


def listed(path: str) -> Listed:
    """The file at `path`. A broken link has size 0; reading it gives the cause."""
    try:
        stat = os.stat(path)
    except OSError:
        return Listed(path, 0, 0)
    return Listed(path, stat.st_size, stat.st_mtime_ns)


def read_pictures(folder: str, files: Sequence[Listed], shape: Shape, known: Collection[bytes]) -> Iterator[Read]:
    """Read every file once, in order.

    Args:
        folder: The folder that the paths of `files` are relative to.
        files: The files.
        shape: See `Source.frames`.
        known: Digests of pictures that are not needed again; a picture that was yielded is not needed again either.
    """
    seen = set(known)
    for file in files:
        read = _read(folder, file, shape, seen)
        if read.image is not None:
            seen.add(read.digest)
        yield read


def _read(folder: str, file: Listed, shape: Shape, seen: Collection[bytes]) -> Read:
    path = os.path.join(folder, file.path)
    try:
        if (cause := over_budget(file.size, "the file")) is not None:
            return Read(file, b"", cause=cause)
        with open_regular(path) as opened:
            data = opened.read(budget() + 1)  # it may have grown since it was listed
        if (cause := over_budget(len(data), "the file")) is not None:
            return Read(file, b"", cause=cause)
    except OSError as error:
        return Read(file, b"", cause=error.strerror or str(error))
    digest = hashlib.sha256(data).digest()
    sample = of_content(io.BytesIO(data))
    if digest in seen:
        return Read(file, digest, sample=sample)
    size = [0, 0]

    def wanted(width: int, height: int) -> tuple[int, int]:
        size[:] = width, height
        return shape(width, height)

    try:
        image = load(io.BytesIO(data), wanted, path)
    except MediaError as error:
        return Read(file, digest, sample=digest, cause=str(error).partition("; ")[0].partition(f": {path}")[0])
    recorded = recorded_at(path, 0, from_exif(io.BytesIO(data)))
    return Read(file, digest, image, size[0], size[1], recorded=recorded, sample=sample)
