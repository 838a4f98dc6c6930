"""Digests that identify the content of a source without reading all of it, and one that reads all.

A fingerprint does not depend on names of videos or on times, so that a file that was moved or copied is known again.
It samples 256 places, spread evenly over the file. A change of `c` bytes in a row in a file of `s` bytes is seen with a
probability of at least min(1, (c + 65,536) * 255 / s): surely from 1/255 of the file on, and in files of up to 16 MiB
always. What samples cannot see is left to `stamp` and `whole`.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, BinaryIO

from ..limits import open_regular

SAMPLES = 256
"""Places in a file that are read."""
BLOCK = 1 << 16
"""Bytes that are read at each."""
_PICTURE_BLOCK = 1 << 12
_EDGE = 1 << 20
_PART = 1 << 22


@dataclass(frozen=True, slots=True)
class Prints:
    """Fingerprints of a source: `now`, and `former`, by which memories made before vidmem sampled know it."""

    now: str
    former: str


def of_file(path: str) -> Prints:
    """sha256 in hex of the size and the samples; formerly of the size and the first and last MiB. Raises OSError."""
    with open_regular(path) as file:
        return of_opened(file)


def of_opened(file: BinaryIO) -> Prints:
    """`of_file` of an open file, which is left at any place."""
    size = os.fstat(file.fileno()).st_size
    now, former = hashlib.sha256(f"samples\n{size}\n".encode()), hashlib.sha256(f"{size}\n".encode())
    for place, length in _places(size, SAMPLES, BLOCK):
        file.seek(place)
        now.update(file.read(length))
    file.seek(0)
    former.update(file.read(_EDGE))
    if size > _EDGE:
        file.seek(max(_EDGE, size - _EDGE))
        former.update(file.read(_EDGE))
    return Prints(now.hexdigest(), former.hexdigest())


def of_files(paths: Iterable[str]) -> Prints:
    """sha256 in hex of the sorted (name, size, mtime in ns) of a folder's pictures, with 12 KiB of each since samples
    are taken. Raises OSError."""
    now, former = hashlib.sha256(b"samples\n"), hashlib.sha256()
    for path in sorted(paths):
        stat = os.stat(path)
        line = os.fsencode(os.path.basename(path)) + f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode()
        former.update(line)
        now.update(line + of_picture(path))
    return Prints(now.hexdigest(), former.hexdigest())


def of_picture(path: str) -> bytes:
    """sha256 of 12 KiB of a file: its beginning, middle and end; empty if it cannot be read.

    That is enough for a picture: it is compressed, so that nearly all of it changes with what it shows.
    """
    try:
        with open_regular(path) as file:
            return of_content(file)
    except OSError:
        return b""


def of_content(file: IO[bytes]) -> bytes:
    """`of_picture` of an open file."""
    digest = hashlib.sha256()
    for place, length in _places(file.seek(0, os.SEEK_END), 3, _PICTURE_BLOCK):
        file.seek(place)
        digest.update(file.read(length))
    return digest.digest()


def of_log(path: str) -> Prints:
    """`of_file`; for a folder sha256 in hex of the names and `of_file` of the files directly in it. Raises OSError."""
    if not os.path.isdir(path):
        return of_file(path)
    now, former = hashlib.sha256(), hashlib.sha256()
    for file in log_files(path):
        prints, name = of_file(file), os.fsencode(os.path.basename(file))
        now.update(name + f"\0{prints.now}\n".encode())
        former.update(name + f"\0{prints.former}\n".encode())
    return Prints(now.hexdigest(), former.hexdigest())


def log_files(path: str) -> list[str]:
    """The files of a log: itself, or those directly in a folder, by name."""
    if not os.path.isdir(path):
        return [path]
    return [file for name in sorted(os.listdir(path)) if os.path.isfile(file := os.path.join(path, name))]


def mixed(prints: Prints, *more: object) -> Prints:
    """The fingerprints of a part of a source, from those of the source and what names the part."""
    return Prints(*(hashlib.sha256(repr((text, *more)).encode()).hexdigest() for text in (prints.now, prints.former)))


def stamp(files: Sequence[str]) -> str:
    """sha256 in hex of the sizes and times of files: it changes whenever one is written. Raises OSError."""
    digest = hashlib.sha256()
    for file in files:
        stat = os.stat(file)
        digest.update(f"{stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def whole(files: Sequence[str]) -> str:
    """sha256 in hex of the digests of all that files hold. Raises OSError."""
    return hashlib.sha256(b"".join(map(of_all, files))).hexdigest()


def of_all(path: str) -> bytes:
    """sha256 of all that a file holds. Raises OSError."""
    stat = os.stat(path)
    # The topics of a log share the digest of its file. Nobody can set back the time of its last change of any kind.
    return _of_all(path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@functools.lru_cache(maxsize=64)
def _of_all(path: str, *_: int) -> bytes:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while part := file.read(_PART):
            digest.update(part)
    return digest.digest()


def _places(size: int, samples: int, block: int) -> Iterator[tuple[int, int]]:
    """Offset and length of what is read: all of a small file, else blocks from the first to the last byte."""
    if size <= samples * block:
        yield 0, size
        return
    for number in range(samples):
        yield number * (size - block) // (samples - 1), block
