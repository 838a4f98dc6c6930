"""What the header of a picture file says it will cost, before Pillow reads it.

Most formats are safe to open: Pillow reads a few bytes and allocates nothing. The others are looked at here first:
WebP, whose decoder makes its canvas when it is opened; JPEG, of which a few kilobytes can hold thousands of scans over
the whole picture; TIFF, whose tables of numbers become Python objects.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from io import BytesIO
from typing import IO

MAX_SCANS = 100
"""Maximum number of scans of a JPEG. Encoders write at most 20 or so."""
MAX_SCANNED = 2_000_000_000
"""Maximum of scans times pixels of a JPEG: about half a minute of decoding."""
MAX_EXIF = 1 << 20
"""Maximum size of EXIF data in bytes. Of one segment of a JPEG, to which EXIF keeps, it is 65,533."""
MAX_NUMBERS = 1 << 20
"""Maximum of numbers in the tables of a TIFF: one for each strip or tile, of which 100 megapixels have 25,000."""
_MAX_TAGS = 4096
_MAX_SEGMENTS = 10_000
_PART = 1 << 20

_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SOS, _EOI, _APP1, _APP2 = 0xDA, 0xD9, 0xE1, 0xE2
_EXIF_MARK = b"Exif\0\0"
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])", re.DOTALL)
"""A marker within coded data: there, FF 00 stands for FF, and D0 to D7 are for restarts."""

MAX_TAG_BYTES = 16 << 20
"""Maximum of the bytes in all tags of a table, or twice its file: tags may all point to the same bytes."""
_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""TIFF's types, and their bytes."""
_NUMBERS = _UNITS.keys() - {1, 2, 6, 7}  # the others are bytes and text, which stay bytes in Pillow
_POINTERS = frozenset({4, 13, 16, 18})
_TABLES = frozenset({0x8769, 0x8825, 0xA005})
"""Tags that point to another table: EXIF, GPS, interoperability."""


class HeaderError(Exception):
    """A picture that costs too much; the message is the cause."""


@dataclass(frozen=True, slots=True)
class JpegHeader:
    """A JPEG's size in pixels, its channels, and the number of scans that together make the whole picture."""

    width: int
    height: int
    channels: int
    scans: int


def webp_canvas(head: bytes) -> tuple[int, int] | None:
    """Width and height from the first 30 bytes of a WebP file; None for other files (RFC 9649)."""
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def jpeg_header(file: IO[bytes]) -> JpegHeader | None:
    """Read a JPEG's segments up to its first scan, and count its scans if there is more than one.

    Returns:
        None for other files, and those without a scan.

    Raises:
        HeaderError: too much EXIF data, or too many scans.
    """
    file.seek(0)
    if file.read(2) != b"\xff\xd8":
        return None
    width = height = channels = kind = 0
    exif = b""
    for _ in range(_MAX_SEGMENTS):
        marker = _next_marker(file)
        if marker is None or marker == _EOI:
            return None
        if marker in _STANDALONE or marker == 0xD8:
            continue
        length = int.from_bytes(file.read(2), "big") - 2
        if length < 0:
            return None
        place = file.tell()
        if marker in _FRAMES:
            head = file.read(6)
            if len(head) < 6:
                return None
            _, height, width, channels = struct.unpack(">BHHB", head)
            kind = marker
        elif marker == _APP1:
            part = file.read(length)
            if part.startswith(_EXIF_MARK):
                exif += part[len(_EXIF_MARK) if exif else 0 :]  # as Pillow joins them
            if len(exif) > MAX_EXIF:
                raise HeaderError(f"its EXIF data are larger than {MAX_EXIF >> 20} MB")
        elif marker == _APP2 and file.read(4) == b"MPF\0":  # of several pictures
            check_tags(BytesIO(file.read(max(0, length - 4))))
        elif marker == _SOS:
            check_tags(BytesIO(exif.removeprefix(_EXIF_MARK)))
            first = file.read(1)
            whole = bool(first) and first[0] == channels and kind not in _PROGRESSIVE
            scans = 1 if whole else 1 + _more_scans(file, place + length)
            if scans > MAX_SCANS or (scans > 1 and scans * width * height > MAX_SCANNED):
                raise HeaderError(f"it is made of {scans} scans, which would take minutes to decode")
            return JpegHeader(width, height, channels, scans)
        file.seek(place + length)
    raise HeaderError("it has too many segments")


def _next_marker(file: IO[bytes]) -> int | None:
    """The kind of the next marker, past bytes that belong to none."""
    before = b""
    while byte := file.read(1):
        if before == b"\xff" and byte not in (b"\xff", b"\x00"):
            return byte[0]
        before = byte
    return None


def _more_scans(file: IO[bytes], place: int) -> int:
    """Count the scans from `place` to the end of the picture, or one more than MAX_SCANS."""
    found, kept = 0, b""
    file.seek(place)
    while part := file.read(_PART):
        data = kept + part
        for match in _MARKER.finditer(data):
            if match[1][0] == _EOI:
                return found
            found += match[1][0] == _SOS
            if found >= MAX_SCANS:
                return found
        kept = b"\xff" if data.endswith(b"\xff") else b""
    return found


def count_scans(file: IO[bytes]) -> int:
    """Count what looks like the beginning of a scan of a JPEG in all of a file."""
    found, before = 0, b""
    file.seek(0)
    while part := file.read(_PART):
        found += (before + part).count(b"\xff\xda")
        before = part[-1:]
    return found


def check_tags(file: IO[bytes]) -> None:
    """Check the tables of a TIFF file, or of EXIF data, which have the same form (TIFF 6.0, section 2; BigTIFF).

    Raises:
        HeaderError: they hold more numbers, or more bytes, than any picture needs.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(16).ljust(16, b"\0")
    if head[:2] not in (b"II", b"MM"):
        return
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack(f"{order}H", head[2:4])[0] == 43
    count, entry = struct.Struct(f"{order}{'Q' if big else 'H'}"), struct.Struct(f"{order}HH{'QQ' if big else 'LL'}")
    waiting = [struct.unpack(f"{order}Q", head[8:])[0] if big else struct.unpack(f"{order}L", head[4:8])[0]]
    seen: set[int] = set()
    numbers = held_bytes = 0
    while waiting:
        place = waiting.pop()
        if place in seen or place >= 1 << 62:
            continue
        seen.add(place)
        file.seek(place)
        length = file.read(count.size)
        if len(length) < count.size:
            continue
        (tags,) = count.unpack(length)
        if tags > _MAX_TAGS:
            raise HeaderError(f"a table in it has {tags:,} tags")
        data = file.read(tags * entry.size)
        for tag, kind, values, held in entry.iter_unpack(data[: len(data) // entry.size * entry.size]):
            numbers += values if kind in _NUMBERS else 0
            if numbers > MAX_NUMBERS:
                raise HeaderError(f"its tables hold more than {MAX_NUMBERS:,} numbers")
            held_bytes += min(values * _UNITS.get(kind, 0), size)
            if held_bytes > max(MAX_TAG_BYTES, 2 * size):
                raise HeaderError("its tags hold the same bytes again and again")
            if tag in _TABLES and kind in _POINTERS and values == 1:
                waiting.append(held)
