"""Writes a Rerun recording (.rrd): sampled pictures, boxes of tracks, and a log line for each labelled track."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from ..errors import MediaError
from ..media import open_known
from ..media.base import Source
from ..media.logs.base import missing_library
from ..store import SourceRow
from ..timecode import clock
from .annotations import AnnotateReport, AnnotationLookup, Annotations

QUALITY = 85
"""JPEG quality of the pictures."""
TIMELINE = "time"
CHUNK = 1 << 20
"""Bytes that are copied at a time."""


def write(annotations: Annotations, part: str, out: str) -> AnnotateReport:
    """Write the recording; see `annotate`.

    Entities: `<topic>` (or `video`) with the pictures, `<topic>/things` with boxes, `sightings` with a line for each
    labelled track. Times count from the epoch if the source has its own clock, else from its start.
    """
    try:
        import rerun as rr
    except ImportError as error:
        raise missing_library(error.name or "rerun-sdk", annotations.path) from None
    frames = boxes = damaged = 0
    notes: list[str] = []
    stream = rr.RecordingStream("vidmem", send_properties=True)
    with _saved(stream, part):
        for row in annotations.rows:
            name = row.address.part.strip("/") or "video"
            try:
                with open_known(row) as source:
                    more = _pictures(rr, stream, annotations, row, source, name)
                    damaged += source.damage.packets + source.damage.frames
                    notes += source.damage.notes
            except MediaError as error:
                raise MediaError(f"the pictures are needed: {error}") from None
            frames, boxes = frames + more[0], boxes + more[1]
            _sightings(rr, stream, annotations, row, name)
        stream.flush()
    return AnnotateReport(out, frames, boxes, damaged, tuple(notes))


@contextmanager
def _saved(stream: Any, part: str) -> Iterator[None]:
    """Write to `part` what is logged in the block, and close the stream.

    Where there are pipes, the library writes into one: its own writer waits for ever for a disk that is full.

    Raises:
        OSError: the file cannot be written.
    """
    if not os.path.isdir("/dev/fd"):
        stream.save(part)
        try:
            yield
        finally:
            stream.disconnect()
        return
    failure: list[OSError] = []
    with open(part, "wb") as file:
        reading, writing = os.pipe()

        def copy() -> None:
            with open(reading, "rb", buffering=0) as pipe:
                while data := pipe.read(CHUNK):
                    try:
                        if not failure:
                            file.write(data)
                    except OSError as error:  # read on, so that the library can end
                        failure.append(error)

        try:
            stream.save(f"/dev/fd/{writing}")
        finally:
            os.close(writing)
        copier = threading.Thread(target=copy, name="vidmem-rerun", daemon=True)
        copier.start()
        try:
            yield
        finally:
            stream.disconnect()
            copier.join()
        if failure:
            raise failure[0]


def _pictures(
    rr: Any, stream: Any, annotations: Annotations, row: SourceRow, source: Source, name: str
) -> tuple[int, int]:
    lookup = AnnotationLookup(annotations, row)
    model = annotations.query.store.model()
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


def _sightings(rr: Any, stream: Any, annotations: Annotations, row: SourceRow, name: str) -> None:
    for track in annotations.tracks(row).values():
        if not (label := annotations.label(track)):
            continue
        _at(stream, row, track.start_ns)
        text = f"#{track.ordinal} {label} in {name}, {clock(track.start_ns)} to {clock(track.end_ns)}"
        stream.log("sightings", rr.TextLog(text, level="INFO"))


def _at(stream: Any, row: SourceRow, t_ns: int) -> None:
    if row.start_ns is None or not row.kind.own_clock:
        stream.set_time(TIMELINE, duration=np.timedelta64(t_ns, "ns"))
    else:
        stream.set_time(TIMELINE, timestamp=np.datetime64(row.start_ns + t_ns, "ns"))
