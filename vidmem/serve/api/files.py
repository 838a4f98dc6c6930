"""A file as the answer to a request: whole, or the one range of it that was asked for."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

CHUNK = 256 << 10
"""Bytes that are read at once."""
MAX_RANGE = 64
"""Longest header Range that is read, in bytes: "bytes=" and two numbers of 20 digits fit."""
_RANGE = re.compile(r"bytes=(\d{0,20})-(\d{0,20})", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class FileBody:
    """An open file that is the body of an answer. size: bytes of it. tag: the same for the same bytes."""

    file: BinaryIO
    size: int
    tag: str
    media_type: str


class RangeError(ValueError):
    """The range that was asked for is not in the file."""


def one_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the byte after the last of the range that a header asks for; None for the whole file.

    One range is read, in time that does not depend on more than the first MAX_RANGE bytes of the header. Several
    ranges, another unit, and what is no range give the whole file, as RFC 9110, section 14.2, allows.

    Args:
        header: The header Range, or None.
        size: Bytes of the file.

    Raises:
        RangeError: no byte of the range is in the file.
    """
    if header is None or len(header) > MAX_RANGE:
        return None
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last bytes
        length = int(match[2])
        if not length or not size:
            raise RangeError
        return max(0, size - length), size
    first = int(match[1])
    last = int(match[2]) if match[2] else size - 1
    if match[2] and last < first:
        return None
    if first >= size:
        raise RangeError
    return first, min(last, size - 1) + 1


def file_response(body: FileBody, request: Request, tags: Sequence[str], headers: Mapping[str, str]) -> Response:
    """The answer with the file, or with the one range that was asked for. It closes the file."""
    tag = f'"{body.tag}"'
    head = {**headers, "etag": tag, "accept-ranges": "bytes"}
    if body.tag in tags or "*" in tags:
        body.file.close()
        return Response(None, 304, head)
    asked = request.headers.get("range")
    if request.headers.get("if-range", tag) != tag:  # another file than the client has a part of
        asked = None
    try:
        span = one_range(asked, body.size)
    except RangeError:
        body.file.close()
        return Response(None, 416, {**head, "content-range": f"bytes */{body.size}"})
    first, end = span or (0, body.size)
    head["content-length"] = str(end - first)
    if span is not None:
        head["content-range"] = f"bytes {first}-{end - 1}/{body.size}"
    status = 200 if span is None else 206
    if request.method == "HEAD":
        body.file.close()
        return Response(None, status, head, body.media_type)
    return StreamingResponse(_read(body.file, first, end), status, head, body.media_type)


async def _read(file: BinaryIO, first: int, end: int) -> AsyncIterator[bytes]:
    """Yield the bytes of a file from `first` to before `end`, and close it. A thread is held only while it reads."""
    try:
        await anyio.to_thread.run_sync(file.seek, first)
        while first < end:
            part = await anyio.to_thread.run_sync(file.read, min(CHUNK, end - first))
            if not part:
                break  # it was cut while it was read; the connection ends short of its length
            first += len(part)
            yield part
    finally:
        file.close()
