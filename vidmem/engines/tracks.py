"""The tracks of a memory, or of one shard of a fleet, in batches of bounded size: what tables of other engines hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..store import SourceRow, Store, TrackRow
from ..timecode import is_wall_clock

BATCH = 2048
"""Tracks that are read at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One memory, or one shard of a fleet.

    Attributes:
        shard: What it is known by: the id of the memory, or the sha256 of the shard.
        generation: Of its tracks; it grows with every change.
        store: Reads it, within one snapshot.
        ids: The ids of its tracks in `store`, ascending, `(n,)`.
        first: What to add to an id of a track to get the id that questions give: 0 in a memory, and the number of the
            shard << 32 in a fleet.
        clock_ns: What to add to times of its clocks to get those of the fleet, in ns.
    """

    shard: str
    generation: int
    store: Store
    ids: NDArray[np.int64]
    first: int = 0
    clock_ns: int = 0


@dataclass(frozen=True, slots=True)
class Exported:
    """A track as other engines get it.

    Attributes:
        track: As it is stored.
        source: Of the track.
        start_wall_ns: When it came into view, in ns since the epoch; None if that is not known.
        end_wall_ns: When it was seen last, likewise.
        picture: The file of a single picture; None in videos.
    """

    track: TrackRow
    source: SourceRow
    start_wall_ns: int | None
    end_wall_ns: int | None
    picture: str | None


def batches(part: Part, size: int = BATCH) -> Iterator[list[Exported]]:
    """Read all tracks of a part by id, at most `size` at a time. Raises StoreError when it is damaged."""
    sources = {row.id: row for row in part.store.sources()}
    for start in range(0, len(part.ids), size):
        tracks = part.store.tracks(part.ids[start : start + size].tolist())
        yield _exported(part, sources, [track for track in tracks if track.source_id in sources])


def _exported(part: Part, sources: Mapping[int, SourceRow], tracks: list[TrackRow]) -> list[Exported]:
    times: dict[int, list[int]] = {}
    for track in tracks:
        if sources[track.source_id].kind.single_pictures:
            times.setdefault(track.source_id, []).append(track.start_ns)
    dates = {source: part.store.pictures_recorded(source, t) for source, t in times.items()}
    files = {source: part.store.picture_paths(source, t) for source, t in times.items()}
    out = []
    for track in tracks:
        row = sources[track.source_id]
        if row.kind.single_pictures:
            taken, _ = dates[row.id].get(track.start_ns, (None, ""))
            wall = None if taken is None else taken + part.clock_ns
            held = files[row.id].get(track.start_ns, ())
            out.append(Exported(track, row, wall, wall, next(iter(held), None)))
            continue
        zero = row.start_ns
        if zero is None or not is_wall_clock(zero, row.recorded_by):
            out.append(Exported(track, row, None, None, None))
            continue
        zero += part.clock_ns
        out.append(Exported(track, row, zero + track.start_ns, zero + track.end_ns, None))
    return out
