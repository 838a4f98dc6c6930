"""A Rerun recording (.rrd): the sampled pictures, the boxes of tracks on them, and what was seen when in words."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from ..errors import MediaError
from ..media import open_source
from ..media.base import Source
from ..media.logs.base import lacking
from ..store import SourceRow
from ..timecode import clock
from .annotate import Written
from .notes import Lookup, Notes

QUALITY = 85
TIMELINE = "time"


def write(notes: Notes, part: str, out: str) -> Written:
    """See `annotate`. Entities: `<topic>`, or `video`, with the pictures, `<topic>/things` with boxes, `sightings` with
    a line per named track. Times: since the epoch where the source knows it, else from its start."""
    try:
        import rerun as rr
    except ImportError as error:
        raise lacking(error.name or "rerun-sdk", notes.path) from None
    frames = boxes = damaged = 0
    told: list[str] = []
    stream = rr.RecordingStream("vidmem", send_properties=True)
    stream.save(part)
    try:
        for row in notes.rows:
            name = row.address.part.strip("/") or "video"
            try:
                with open_source(row.address) as source:
                    more = _pictures(rr, stream, notes, row, source, name)
                    damaged += source.damage.packets + source.damage.frames
                    told += source.damage.notes
            except MediaError as error:
                raise MediaError(f"the pictures are needed: {error}") from None
            frames, boxes = frames + more[0], boxes + more[1]
            _sightings(rr, stream, notes, row, name)
        stream.flush()
    finally:
        stream.disconnect()
    return Written(out, frames, boxes, damaged, tuple(told))


def _pictures(rr: Any, stream: Any, notes: Notes, row: SourceRow, source: Source, name: str) -> tuple[int, int]:
    lookup = Lookup(notes, row)
    model = notes.query.store.model()
    fps = float(str(model.config.get("fps", 0))) if model is not None else 0.0
    frames = boxes = 0
    for frame in source.frames(fps):
        things = lookup.at(frame.t_ns)
        _at(stream, row, frame.t_ns)
        out = io.BytesIO()
        Image.fromarray(frame.image).save(out, "JPEG", quality=QUALITY)
        stream.log(name, rr.EncodedImage(contents=out.getvalue(), media_type="image/jpeg"))
        corners = [thing.box for thing in things]
        if corners:
            stream.log(
                f"{name}/things",
                rr.Boxes2D(
                    array=corners,
                    array_format=rr.Box2DFormat.XYXY,
                    labels=[thing.text for thing in things],
                    class_ids=[thing.track % 65_536 for thing in things],
                ),
            )
        else:
            stream.log(f"{name}/things", rr.Clear(recursive=False))
        frames, boxes = frames + 1, boxes + len(things)
    return frames, boxes


def _sightings(rr: Any, stream: Any, notes: Notes, row: SourceRow, name: str) -> None:
    for track in notes.tracks(row).values():
        if not (label := notes.label(track)):
            continue
        _at(stream, row, track.start_ns)
        text = f"#{track.ordinal} {label} in {name}, {clock(track.start_ns)} to {clock(track.end_ns)}"
        stream.log("sightings", rr.TextLog(text, level="INFO"))


def _at(stream: Any, row: SourceRow, t_ns: int) -> None:
    import numpy as np

    if row.start_ns is None or not row.kind.own_clock:
        stream.set_time(TIMELINE, duration=np.timedelta64(t_ns, "ns"))
    else:
        stream.set_time(TIMELINE, timestamp=np.datetime64(row.start_ns + t_ns, "ns"))
