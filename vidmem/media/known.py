"""Opening what a memory names, after a check that it is what was indexed.

A memory may come from a stranger and name any file of the person who asks it. So pictures are taken only from a file
that has the kind and the fingerprint that the memory says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import BinaryIO, Protocol

from ..address import Address
from ..errors import MediaError
from ..limits import open_regular
from ..records import SourceKind
from .base import Source
from .fingerprint import of_opened
from .opening import open_source

_PART = 1 << 20


class OtherFileError(MediaError):
    """The file at a path is not the one that was indexed."""


class Known(Protocol):
    """What a memory says of a source; see `SourceInfo` for the meaning."""

    @property
    def uri(self) -> str:
        """Its name."""

    @property
    def kind(self) -> SourceKind:
        """What it is."""

    @property
    def fingerprint(self) -> str:
        """What identifies its content, in the form of today or the former one."""

    @property
    def address(self) -> Address:
        """Where it is."""


def open_known(row: Known) -> Source:
    """Open a source of a memory.

    The fingerprint of a folder of pictures as a film depends on the times of its files, which a copy does not keep. So
    of such a folder only the kind is compared.

    Raises:
        OtherFileError: there is another file now.
        MediaError: it is gone, or cannot be read.
    """
    source = open_source(row.address)
    info = source.info
    same = row.kind is SourceKind.IMAGES or row.fingerprint in (info.fingerprint, info.former)
    if row.kind is not info.kind or not same:
        source.close()
        raise OtherFileError(f"the file is not the one that was indexed; run `vidmem index` on it again: {row.uri}")
    return source


def open_known_file(row: Known) -> BinaryIO:
    """Open the file of a video of a memory for its bytes; see `check_known_file`.

    Raises:
        MediaError: the source is no video file, or the file is gone or cannot be read.
    """
    if row.kind is not SourceKind.VIDEO:
        raise MediaError(f"the source is not a video file of its own; take frames or clips of it: {row.uri}")
    try:
        return open_regular(row.address.path)
    except FileNotFoundError:
        raise MediaError(f"the video is no longer there; put it back: {row.uri}") from None
    except (OSError, ValueError) as error:
        cause = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise MediaError(f"the video cannot be read ({cause}); check the file: {row.uri}") from None


def check_known_file(row: Known, file: BinaryIO) -> None:
    """Raise OtherFileError unless an open file is the one that was indexed."""
    prints = of_opened(file)
    if row.fingerprint not in (prints.now, prints.former):
        raise OtherFileError(f"the file is not the one that was indexed; run `vidmem index` on it again: {row.uri}")


def is_photo(path: str, digest: bytes) -> bool:
    """Return True if a file can be read and has this sha256."""
    found = hashlib.sha256()
    try:
        with open_regular(path) as file:
            while part := file.read(_PART):
                found.update(part)
    except (OSError, ValueError):
        return False
    return found.digest() == digest


def known_photo(paths: Iterable[str], digest: bytes) -> str | None:
    """The first of the files that is the photo with this sha256; None if none is."""
    return next((path for path in paths if is_photo(path, digest)), None)
