"""What a memory holds as JSON: its sources, its size, the names it knows, lanes and boxes of one source.

See documents.py for the conventions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..store.files import seal_id
from ..timecode import NS, is_wall_clock, iso
from .documents import SightingDocument

if TYPE_CHECKING:
    from ..store import SourceRow, Store


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """A source in the memory, and how far it was indexed.

    `kind` is video, images, image, pictures, log, episode or live. `state` is open (interrupted), done, or partial
    (done, with damage). `stale` means that it has to be embedded again. `id` names it in this memory until it is
    removed.
    """

    source: str
    kind: str
    state: str
    duration_s: float
    duration_ns: str
    width: int
    height: int
    frames: int
    damaged: int
    indexed_to_ns: str | None
    start_ns: str | None
    recorded: str | None
    recorded_by: str | None
    added_ns: str
    stale: bool
    id: int


@dataclass(frozen=True, slots=True)
class SourceDetails(SourceDocument):
    """A source with what takes a look at its tracks and its file. at_hand: the file exists."""

    tracks: int
    fingerprint: str
    at_hand: bool


@dataclass(frozen=True, slots=True)
class MemoryDocument:
    """What a memory holds, its bytes on disk, and what made it; null where nothing was indexed yet.

    `sealed` is the id of a sealed memory, else null.
    """

    memory: str
    sealed: str | None
    sources: int
    duration_s: float
    duration_ns: str
    frames: int
    photos: int
    damaged: int
    tracks: int
    regions: int
    database_bytes: int
    cache_bytes: int
    bytes_per_hour: float | None
    encoder: str | None
    knows: str | None
    weights: str | None
    regions_weights: str | None
    settings: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class NameDocument:
    """A name that the encoder knows. another_name_for: the name that it is read as; null if it is its own."""

    name: str
    another_name_for: str | None


@dataclass(frozen=True, slots=True)
class NamesDocument:
    """The names that an encoder knows, or those that contain what was asked for."""

    encoder: str
    open_vocabulary: bool
    names: list[NameDocument]


@dataclass(frozen=True, slots=True)
class SpanDocument:
    """A stretch of time in which a thing was in view, both ends inclusive."""

    start_s: float
    end_s: float
    start_ns: str
    end_ns: str


@dataclass(frozen=True, slots=True)
class LaneDocument:
    """One thing in one source, with all stretches of time in which it was in view. best: a sighting of it."""

    name: str
    named: bool
    probability: float | None
    tracks: list[int]
    spans: list[SpanDocument]
    best: SightingDocument


@dataclass(frozen=True, slots=True)
class LanesDocument:
    """The things in one source, the one longest in view first. total: how many there are."""

    total: int
    things: list[LaneDocument]


@dataclass(frozen=True, slots=True)
class TrackBoxDocument:
    """Where one track is in one frame: `[x0, y0, x1, y1]` in pixels."""

    track: int
    box: list[float]


@dataclass(frozen=True, slots=True)
class FrameBoxesDocument:
    """The boxes of tracks in one sampled frame."""

    t_ns: str
    t_s: float
    boxes: list[TrackBoxDocument]


@dataclass(frozen=True, slots=True)
class BoxesDocument:
    """The boxes of tracks over time. width, height: of the picture in whose pixels they are.

    `next_ns` is where to ask on if there is more than one answer has, else null.
    """

    width: int
    height: int
    next_ns: str | None
    frames: list[FrameBoxesDocument]


def source_document(row: SourceRow) -> SourceDocument:
    """The document of a source, from its row alone."""
    return SourceDocument(**source_fields(row))


def source_details(store: Store, row: SourceRow) -> SourceDetails:
    """The document of a source with the number of its tracks, and whether its file exists."""
    tracks = store.shares().get(row.id, (0, 0))[0]
    return SourceDetails(**source_fields(row), tracks=tracks, fingerprint=row.fingerprint, at_hand=row.address.exists())


def source_fields(row: SourceRow) -> dict[str, Any]:
    """The fields of a SourceDocument."""
    dated = row.start_ns is not None and is_wall_clock(row.start_ns, row.recorded_by)
    return {
        "source": row.uri,
        "kind": row.kind.value,
        "state": row.state,
        "duration_s": row.duration_ns / NS,
        "duration_ns": str(row.duration_ns),
        "width": row.width,
        "height": row.height,
        "frames": row.frames,
        "damaged": row.damaged,
        "indexed_to_ns": None if row.next_t_ns is None else str(row.next_t_ns),
        "start_ns": None if row.start_ns is None else str(row.start_ns),
        "recorded": iso(row.start_ns) if dated else None,
        "recorded_by": row.recorded_by or None,
        "added_ns": str(row.added_at),
        "stale": row.stale,
        "id": row.id,
    }


def memory_document(store: Store, knows: str | None) -> MemoryDocument:
    """The document of a memory. knows: what its encoder knows, in words."""
    stats, model = store.stats(), store.model()
    return MemoryDocument(
        memory=str(store.folder),
        sealed=seal_id(store.folder),
        sources=stats.sources,
        duration_s=stats.duration_ns / NS,
        duration_ns=str(stats.duration_ns),
        frames=stats.frames,
        photos=stats.pictures,
        damaged=stats.damaged,
        tracks=stats.tracks,
        regions=stats.regions,
        database_bytes=stats.database_bytes,
        cache_bytes=stats.cache_bytes,
        bytes_per_hour=stats.bytes_per_hour,
        encoder=model.encoder if model else None,
        knows=knows if model else None,
        weights=model.weights if model else None,
        regions_weights=(model.regions or None) if model else None,
        settings=dict(model.config) if model else None,
    )


def names_document(encoder: str, known: Mapping[str, str] | None, part: str = "") -> NamesDocument:
    """The document of the names of an encoder that contain `part`. known: each with the name it stands for, or "".

    None for an encoder that takes any phrase.
    """
    wanted = " ".join(part.lower().split())
    found: Iterable[tuple[str, str]] = () if known is None else sorted(known.items())
    names = [NameDocument(name, other or None) for name, other in found if wanted in name]
    return NamesDocument(encoder, known is None, names)
