"""What the memory holds: the server's own state, sources, lanes of things, boxes of tracks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ... import __version__
from ...encoders import check_stranger, knows
from ...errors import ModelError
from ...query.documents import sighting_document
from ...query.source_documents import (
    BoxesDocument,
    FrameBoxesDocument,
    LaneDocument,
    LanesDocument,
    MemoryDocument,
    SourceDocument,
    SpanDocument,
    TrackBoxDocument,
    memory_document,
    source_fields,
)
from ...records import SourceKind
from ...store import SourceRow
from ...timecode import NS
from ..faults import NotFoundError

if TYPE_CHECKING:
    from ...query.inventory import KnownThing
    from ..service import Service
    from .route import Given

MAX_BOX_FRAMES = 3000
"""The most frames of one answer with boxes."""
MAX_BOXES_NS = 600 * NS
"""The longest span of one answer with boxes."""
_LOOK_S = 0.5
"""Seconds in which a list of sources looks into files that were not looked into before."""


@dataclass(frozen=True, slots=True)
class EncoderDocument:
    """The encoder of the memory. calibrated: answers have probabilities. any_phrase: it reads any phrase."""

    name: str
    calibrated: bool
    any_phrase: bool


@dataclass(frozen=True, slots=True)
class ServerDocument:
    """The state of the server. memory: the name of its folder. generation: another one after each change."""

    version: str
    memory: str
    allow_write: bool
    folders: list[str]
    encoder: EncoderDocument
    generation: int


@dataclass(frozen=True, slots=True)
class ServedSource(SourceDocument):
    """A source with its tracks and its file.

    `bytes` is what its regions and vectors take in the memory. `playable` says whether browsers play what
    /videos/{id} gives; null in a list where the file was not looked into yet. `unplayable` says why not. A time of the
    source in ns is 10^9 times `currentTime` of a video element plus `offset_ns`.
    """

    tracks: int
    bytes: int
    at_hand: bool
    playable: bool | None
    unplayable: str | None
    offset_ns: str


@dataclass(frozen=True, slots=True)
class SourcesDocument:
    """All sources, in the order in which they were added."""

    sources: list[ServedSource]


def server(service: Service, given: Given) -> ServerDocument:
    """What the page needs at its start."""
    memory = service.memory
    info, calibration = memory.text_encoder.info, memory.calibration
    with memory.store.snapshot() as (_, generation):
        pass
    return ServerDocument(
        version=__version__,
        memory=Path(memory.store.folder).resolve().name,
        allow_write=service.settings.allow_write,
        folders=list(service.settings.folders),
        encoder=EncoderDocument(info.name, calibration.probability is not None, info.open_vocabulary),
        generation=generation,
    )


def stats(service: Service, given: Given) -> MemoryDocument:
    """The document of `vidmem info`."""
    model = service.memory.store.model()
    return memory_document(service.memory.store, _knows(model.encoder) if model else None)


def _knows(encoder: str) -> str | None:
    try:
        check_stranger(encoder)
        return knows(encoder)[0]
    except ModelError:
        return None


def sources(service: Service, given: Given) -> SourcesDocument:
    """All sources."""
    store, until = service.memory.store, time.monotonic() + _LOOK_S
    with store.snapshot():
        rows, shares = store.sources(), store.shares()
    return SourcesDocument([_served(service, row, shares, look=time.monotonic() < until) for row in rows])


def source(service: Service, given: Given) -> ServedSource:
    """One source."""
    row = service.source(given["source"])
    return _served(service, row, service.memory.store.shares(), look=True)


def _served(service: Service, row: SourceRow, shares: dict[int, tuple[int, int]], *, look: bool) -> ServedSource:
    tracks, size = shares.get(row.id, (0, 0))
    found = service.playable(row, look=look)
    return ServedSource(
        **source_fields(row),
        tracks=tracks,
        bytes=size,
        at_hand=row.kind is not SourceKind.LIVE and row.address.exists(),
        playable=None if found is None else bool(found.media_type),
        unplayable=None if found is None else found.why or None,
        offset_ns=str(found.offset_ns if found else 0),
    )


def lanes(service: Service, given: Given) -> LanesDocument:
    """The things in one source."""
    row = service.source(given["source"])
    found = service.memory.things(row.uri, top=given["top"], offset=given["offset"])
    return LanesDocument(found.total, [_lane(thing) for thing in found])


def _lane(thing: KnownThing) -> LaneDocument:
    spans = [SpanDocument(s.start_ns / NS, s.end_ns / NS, str(s.start_ns), str(s.end_ns)) for s in thing.spans]
    return LaneDocument(
        name=thing.name,
        named=thing.named,
        probability=None if thing.probability is None else round(thing.probability, 6),
        tracks=list(thing.tracks),
        spans=spans[::-1],
        best=sighting_document(thing.best),
    )


def boxes(service: Service, given: Given) -> BoxesDocument:
    """The boxes of tracks of one source over a span of time."""
    store, row = service.memory.store, service.source(given["source"])
    start, end = given["start_ns"], row.duration_ns if given["end_ns"] is None else given["end_ns"]
    until = min(end, start + MAX_BOXES_NS)
    with store.snapshot():
        ids = _ordinals(service, row, given["tracks"])
        times, ordinals, found = store.boxes(row.id, start, until)
        photo = store.picture(row.id, start) if row.kind.single_pictures else None
    own = np.isin(ordinals, np.array(list(ids), np.int64))
    times, ordinals, found = times[own], ordinals[own], found[own]
    moments = np.unique(times)
    next_ns = None if until >= end else until + 1
    if len(moments) > MAX_BOX_FRAMES:
        next_ns = int(moments[MAX_BOX_FRAMES])
        moments = moments[:MAX_BOX_FRAMES]
    by_time: dict[int, list[TrackBoxDocument]] = {int(t): [] for t in moments}
    for t_ns, ordinal, box in zip(times.tolist(), ordinals.tolist(), found.tolist(), strict=True):
        if t_ns in by_time:
            by_time[t_ns].append(TrackBoxDocument(ids[ordinal], box))
    return BoxesDocument(
        width=row.width if photo is None else photo.width,
        height=row.height if photo is None else photo.height,
        next_ns=None if next_ns is None else str(next_ns),
        frames=[FrameBoxesDocument(str(t_ns), t_ns / NS, found) for t_ns, found in by_time.items()],
    )


def _ordinals(service: Service, row: SourceRow, tracks: Sequence[int]) -> dict[int, int]:
    """Ids of tracks by their ordinals. Raises NotFoundError for one that is not of the source."""
    found = {track.id: track.ordinal for track in service.memory.store.tracks(tracks) if track.source_id == row.id}
    if missing := [str(track) for track in tracks if track not in found]:
        raise NotFoundError(f"the source {row.id} has no track {', '.join(missing[:3])}")
    return {ordinal: track for track, ordinal in found.items()}
