"""Pictures: those that clients send, frames, crops, clips, and the bytes of videos."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from ...errors import UsageError
from ...query import arguments
from ...render.cutting import check_has_pictures, clamped, clip_bytes, crop_jpeg, frame_jpeg, shot_at
from ...store import SourceRow
from ..caches import given_of
from ..faults import TooLargeError
from ..pools import check_open
from ..service import state
from .files import FileBody
from .route import Blob

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...render.cutting import Shot
    from ..service import Service
    from .route import Given

MAX_PICTURE = 20 << 20
"""The largest picture that is taken, in bytes."""
JPEG, MP4 = "image/jpeg", "video/mp4"


@dataclass(frozen=True, slots=True)
class PictureDocument:
    """A picture that was sent. picture: its name, for `picture` of /where. width, height: upright, in pixels."""

    picture: str
    width: int
    height: int


def send(service: Service, given: Given) -> PictureDocument:
    """Take a picture, read as those that are indexed."""
    from ...query.picture import picture_from

    data: bytes = given["body"]
    if len(data) > MAX_PICTURE:
        raise TooLargeError(f"a picture may have {MAX_PICTURE >> 20} MB; scale it down first")
    if not data:
        raise UsageError("the body is empty; send the bytes of a picture")
    image = picture_from(data, "the picture that was sent")
    held = given_of(data, *image.size)
    service.given.put(held.name, held)
    return PictureDocument(held.name, held.width, held.height)


def frame(service: Service, given: Given) -> Blob:
    """A picture of a source, with a box around a thing."""
    box, width = given["box"], clamped(given["width"])
    return _jpeg(service, given, ("frame", box, width), lambda shot: frame_jpeg(shot, width, box))


def crop(service: Service, given: Given) -> Blob:
    """What is in a box of a picture of a source, with a margin."""
    box, width = given["box"], clamped(given["width"])
    return _jpeg(service, given, ("crop", box, width), lambda shot: crop_jpeg(shot, width, box))


def _jpeg(service: Service, given: Given, what: tuple[object, ...], draw: Callable[[Shot], bytes]) -> Blob:
    row, t_ns = service.source(given["source"]), given["t_ns"]
    check_has_pictures(row)
    return Blob(
        _tag(row, t_ns, _files(service, row, t_ns), *what), JPEG, lambda: draw(shot_at(service.memory.store, row, t_ns))
    )


def _files(service: Service, row: SourceRow, t_ns: int) -> object:
    """What a picture is read from: another value after its file has changed, is gone, or was forgotten."""
    if not row.kind.single_pictures:
        return state(row.address.path)
    store = service.memory.store
    held = store.picture(row.id, t_ns)
    paths = store.picture_paths(row.id, [t_ns]).get(t_ns, ())
    return held and held.digest, [(path, state(path)) for path in paths]


def clip(service: Service, given: Given) -> Blob:
    """A clip of a source, with the box of some tracks."""
    row = service.source(given["source"])
    start, end = _span(given["span"])
    tracks = given["tracks"] or []
    check_has_pictures(row)
    tag = _tag(row, "clip", start, end, tracks, state(row.address.path))
    return Blob(tag, MP4, lambda: clip_bytes(service.memory.store, row, start, end, tracks, check_open))


def _span(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not (dash and first.isascii() and last.isascii() and first.isdecimal() and last.isdecimal()):
        raise UsageError(f"a clip is START-END.mp4 in ns, such as 0-5000000000.mp4; got {arguments.got(text)}")
    return arguments.whole("start", int(first[:20]), 0), arguments.whole("end", int(last[:20]), 0)


def _tag(row: SourceRow, *what: object) -> str:
    """A name for bytes that are made of this source."""
    return hashlib.sha256(repr((row.id, row.added_at, row.fingerprint, *what)).encode()).hexdigest()[:32]


def video(service: Service, given: Given) -> FileBody:
    """The bytes of a video file, if it is still the one that was indexed."""
    row = service.source(given["source"])
    found = service.playable(row, look=True)
    file: BinaryIO = service.open_video(row)
    stat = os.fstat(file.fileno())
    media_type = (found.media_type if found else "") or "application/octet-stream"
    return FileBody(file, stat.st_size, _tag(row, "video", stat.st_size, stat.st_mtime_ns), media_type)
