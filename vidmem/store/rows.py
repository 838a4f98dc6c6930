"""Rows of the database as plain frozen records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..address import Address
from ..errors import StoreError
from ..limits import MAX_NS
from ..records import RECORDED_BY, SourceKind, Track
from ..timecode import NS
from . import validate
from .fp16 import unpack_vector

SourceState = Literal["open", "done", "partial"]
STATES: tuple[SourceState, ...] = ("open", "done", "partial")

HARMLESS_SETTINGS = frozenset({"batch", "checkpoint_frames", "still"})
"""Settings that change how fast a memory is made, but not what is in it, or by less than its noise."""


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What made a memory.

    Attributes:
        encoder: The name of the encoder.
        weights: sha256 of the weights that its tokens come from.
        visual_dim: Length of its visual vectors.
        text_dim: Length of its text vectors.
        config: `IndexConfig.as_dict()`.
        regions: sha256 of the weights that find regions; empty when they are the same weights.
    """

    encoder: str
    weights: str
    visual_dim: int
    text_dim: int
    config: Mapping[str, object]
    regions: str = ""

    def differences(self, other: ModelRecord) -> dict[str, tuple[object, object]]:
        """Return the fields that differ, each with the value here and in `other`; settings as "merge.token_threshold".

        A switch or a number that only one of them has is off or 0 in the other, which is of another version.
        """
        mine, theirs = dict(_flat(self)), dict(_flat(other))
        pairs = {n: (_of(mine, n, theirs), _of(theirs, n, mine)) for n in dict.fromkeys([*mine, *theirs])}
        return {n: (a, b) for n, (a, b) in pairs.items() if a != b}


def _of(settings: Mapping[str, object], name: str, others: Mapping[str, object]) -> object:
    there = others.get(name)
    return settings.get(name, type(there)(0) if isinstance(there, bool | int | float) else None)


def _flat(record: ModelRecord) -> Iterator[tuple[str, object]]:
    yield from [("encoder", record.encoder), ("weights", record.weights)]
    yield from [("visual_dim", record.visual_dim), ("text_dim", record.text_dim), ("regions", record.regions)]
    yield from _flat_settings("", record.config)


def _flat_settings(prefix: str, settings: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat_settings(f"{prefix}{name}.", value)
        elif prefix or name not in HARMLESS_SETTINGS:
            yield prefix + name, json.loads(json.dumps(value))  # as it would come back from the memory


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One source in a memory, and how far it was indexed. Fields that are not listed are those of `SourceInfo`.

    Attributes:
        state: "open" (begun, to be resumed), "done", or "partial" (finished, with damage).
        frames: Frames sampled so far.
        damaged: Packets or frames skipped so far.
        next_t_ns: Where to resume, in ns on the source's clock; None before the first checkpoint.
        tracker_state: State of the tracker, empty before the first checkpoint. Not read in lists, nor
            where a source is found by its name: there it is empty.
        added_at: In ns since the epoch.
        finished_at: In ns since the epoch; None while it is open.
        stale: Its tracks have no tokens of the memory's encoder: it was missing when the memory was re-embedded.
        recorded_by: As in `SourceInfo`; empty for a folder of single pictures, which have times of their own.
        stamp: Digest of the sizes and times of its files; empty if unknown.
        content: Digest of all bytes of its files; empty if unknown.
    """

    id: int
    uri: str
    kind: SourceKind
    width: int
    height: int
    duration_ns: int
    start_ns: int | None
    fingerprint: str
    state: SourceState
    frames: int
    damaged: int
    next_t_ns: int | None
    tracker_state: bytes
    added_at: int
    finished_at: int | None
    stale: bool = False
    recorded_by: str = ""
    stamp: str = ""
    content: str = ""

    @property
    def address(self) -> Address:
        """The address that `uri` writes out."""
        return self.kind.address(self.uri)


@dataclass(frozen=True, slots=True, eq=False)
class TrackRow(Track):
    """A track as stored. visual and text have unit length (or are 0) and were rounded to fp16.

    `id` is unique in the memory and never used again. `views` is empty here; see `Store.views`.
    """

    id: int = field(kw_only=True)
    source_id: int = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What a memory holds and what it costs.

    Attributes:
        frames: Frames that were sampled.
        damaged: Packets, frames and files that were skipped.
        regions: Regions of all frames.
        region_bytes: Bytes of their compressed blobs.
        database_bytes: Bytes of memory.sqlite with its log.
        cache_bytes: Bytes of files that can be rebuilt.
        duration_ns: Length of all sources together, where it is known, in ns.
        pictures: Single pictures.
    """

    sources: int
    frames: int
    damaged: int
    tracks: int
    regions: int
    region_bytes: int
    database_bytes: int
    cache_bytes: int
    duration_ns: int
    pictures: int = 0

    @property
    def bytes_per_hour(self) -> float | None:
        """Bytes on disk per hour of video, cache included.

        None when no duration is known, or when single pictures take a part of the bytes.
        """
        if not self.duration_ns or self.pictures:
            return None
        return (self.database_bytes + self.cache_bytes) / (self.duration_ns / NS / 3600)


SOURCE_COLUMNS = (
    "id, uri, kind, width, height, duration_ns, start_ns, fingerprint, state, frames, damaged, next_t_ns, "
    "tracker_state, added_at, finished_at, stale, recorded_by, stamp, content"  # the order of SourceRow's fields
)
_STORED_KINDS = frozenset(SourceKind) - {SourceKind.PICTURE}
_ANY = object  # a damaged recording time counts as unknown, which is no reason to refuse the memory
_SOURCE_KINDS = (
    int,
    str,
    str,
    int,
    int,
    int,
    _ANY,
    str,
    str,
    int,
    int,
    int | None,
    bytes,
    int,
    int | None,
    int,
    _ANY,
    str,
    str,
)


def source_row(row: tuple[Any, ...]) -> SourceRow:
    """Make a record of one row of SOURCE_COLUMNS. Raises StoreError when it is damaged."""
    found = SourceRow(*validate.typed(row, _SOURCE_KINDS, "sources"))
    validate.path("sources", found.uri)
    validate.ensure(found.kind in _STORED_KINDS, "a kind of source that is not known in sources")
    validate.ensure(found.state in STATES, "an unknown state in sources")
    validate.size("sources", found.width, found.height)
    validate.times("sources", found.duration_ns, found.next_t_ns, found.added_at, found.finished_at)
    validate.counts("sources", found.frames, found.damaged)
    validate.ensure(found.duration_ns >= 0, "a length below 0 in sources")
    start_ns, by = sane_time(found.start_ns, found.recorded_by)
    return replace(found, kind=SourceKind(found.kind), start_ns=start_ns, recorded_by=by, stale=bool(found.stale))


def model_record(row: tuple[Any, ...]) -> ModelRecord:
    """Make a record of encoder, weights, visual_dim, text_dim, config, regions. Raises StoreError when damaged."""
    encoder, weights, visual_dim, text_dim, config, regions = validate.typed(
        row, (str, str, int, int, str, str), "model"
    )
    validate.ensure(
        max(visual_dim, text_dim) <= validate.MAX_DIM and min(visual_dim, text_dim) >= 0,
        "vectors of a length out of range in model",
    )
    return ModelRecord(encoder, weights, visual_dim, text_dim, validate.parsed(config, "its settings"), regions)


def sane_time(ns: object, by: object) -> tuple[int | None, str]:
    """Return a recording time and how it is known; unknown where the memory holds something that is not a time."""
    known = by if by in RECORDED_BY else ""
    if not isinstance(ns, int) or abs(ns) >= MAX_NS:
        return None, "given" if ns is None and known == "given" else ""
    return ns, str(known)


def checked_share(value: float) -> float:
    """Return `value`, which must lie in [0, 1]. Raises StoreError when it does not, or is NaN."""
    if not 0 <= value <= 1:  # false for NaN
        raise StoreError(f"a confidence of {value} is not between 0 and 1; check the encoder, then index again")
    return float(value)


TRACK_COLUMNS = (
    "id, source_id, ordinal, start_ns, end_ns, frames, visual, text, best_ns, x0, y0, x1, y1, confidence, "
    "text_confidence"  # as `track_row` reads
)


_TRACK_KINDS = (*[int] * 6, bytes, bytes, int, *[float] * 6)


def track_row(row: tuple[Any, ...]) -> TrackRow:
    """Make a record of one row of TRACK_COLUMNS. Raises StoreError when it is damaged."""
    validate.typed(row, _TRACK_KINDS, "tracks")
    id_, source_id, ordinal, start, end, frames, visual, text, best_ns, *box, confidence, text_confidence = row
    validate.times("tracks", start, end, best_ns)
    validate.counts("tracks", frames)
    validate.ensure(0 <= ordinal < validate.MAX_ORDINALS, "a number out of range in tracks")
    validate.box("tracks", *box)
    validate.shares("tracks", confidence, text_confidence)
    return TrackRow(
        ordinal=ordinal,
        start_ns=start,
        end_ns=end,
        frames=frames,
        visual=unpack_vector(visual),
        text=unpack_vector(text),
        best_ns=best_ns,
        best_box=(box[0], box[1], box[2], box[3]),
        confidence=confidence,
        text_confidence=text_confidence,
        id=id_,
        source_id=source_id,
    )
