"""A file as the answer to a request: whole, or the one range of it that was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

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


class FileResponse(Response):
    """A file as an answer, or the one range of it that was asked for. The file is closed when the answer ends."""

    def __init__(self, body: FileBody, request: Request, tags: Sequence[str], headers: Mapping[str, str]) -> None:
        """Prepare.

        Args:
            body: The file.
            request: The request.
            tags: The tags that the client has.
            headers: Headers of all answers.
        """
        tag = f'"{body.tag}"'
        head = {**headers, "etag": tag, "accept-ranges": "bytes"}
        self._file, self._span = body.file, (0, 0)
        if body.tag in tags or "*" in tags:
            super().__init__(None, 304, head)
            return
        asked = request.headers.get("range")
        if request.headers.get("if-range", tag) != tag:  # the client has a part of another file
            asked = None
        try:
            span = one_range(asked, body.size)
        except RangeError:
            super().__init__(None, 416, {**head, "content-range": f"bytes */{body.size}"})
            return
        first, end = span or (0, body.size)
        head["content-length"] = str(end - first)
        if span is not None:
            head["content-range"] = f"bytes {first}-{end - 1}/{body.size}"
        if request.method != "HEAD":
            self._span = first, end
        super().__init__(None, 200 if span is None else 206, head, body.media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. A thread is held only while it reads, so a slow client keeps none."""
        place, end = self._span
        try:
            if place >= end:
                await super().__call__(scope, receive, send)
                return
            await anyio.to_thread.run_sync(self._file.seek, place)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while place < end:
                part = await anyio.to_thread.run_sync(self._file.read, min(CHUNK, end - place))
                place += len(part)
                # A file that was cut while it was read ends the answer short of its length, and so the connection.
                more = bool(part) and place < end
                await send({"type": "http.response.body", "body": part, "more_body": more})
                if not part:
                    return
        finally:
            self._file.close()
