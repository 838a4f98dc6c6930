"""What was recorded when: the order in time of what was found, and the dates of sightings.

By the wall clock where all that was found has one, else sources follow each other as they were added. Single pictures
have dates of their own; only those of what was found are looked up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..records import Sighting
from ..store import SourceRow, Store, VectorCache
from ..timecode import epochal
from .scores import Hits

GUESSED = frozenset({"mtime", "day"})
"""Ways to know a time that say little: files are copied, and a day has many hours."""
REMEDY = "`vidmem recorded` mends it"


def in_time(
    store: Store, cache: VectorCache, sources: dict[int, SourceRow], hits: Hits
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """For every hit the rank of its source in time, and where its source has its zero by the wall clock: None unless
    that is known of all hits."""
    ids, places = np.unique(cache.columns.source_ids[hits.rows], return_inverse=True)
    if not len(ids):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    rows = [sources.get(int(i)) for i in ids]
    starts = [0 if row is None else row.start_ns for row in rows]  # one that was removed meanwhile is not told
    zeros: NDArray[np.int64] | None = None
    if all(
        start is not None or (row is not None and row.kind.single_pictures)
        for start, row in zip(starts, rows, strict=True)
    ):
        zeros = np.array([start or 0 for start in starts], np.int64)[places]
        zeros = _with_pictures(store, cache, rows, places, hits, zeros)
    if zeros is not None and len({_simulated(row) for row in rows if row is not None}) > 1:
        zeros = None  # the clock of a simulation beside one of the world
    known = {
        row.id: number
        for number, row in enumerate(
            sorted(sources.values(), key=lambda row: (0 if zeros is None else row.start_ns or 0, row.id))
        )
    }
    return np.array([known.get(int(i), -1) for i in ids], np.int64)[places], zeros


def _with_pictures(
    store: Store,
    cache: VectorCache,
    rows: Sequence[SourceRow | None],
    places: NDArray[np.intp],
    hits: Hits,
    zeros: NDArray[np.int64],
) -> NDArray[np.int64] | None:
    """The zeros with those of single pictures, each of which has one of its own; None when one of them has no date."""
    for number, row in enumerate(rows):
        if row is None or not row.kind.single_pictures:
            continue
        mine = np.flatnonzero(places == number)
        times = cache.columns.start_ns[hits.rows[mine]]
        known = store.pictures_recorded(row.id, np.unique(times).tolist())
        dates = [known.get(t_ns, (0, ""))[0] for t_ns in times.tolist()]
        if any(date is None for date in dates):
            return None
        zeros[mine] = np.array(dates, np.int64) - times
    return zeros


def _simulated(row: SourceRow) -> bool:
    """Whether its clock counts from a start of its own, and not from the epoch."""
    return row.start_ns is not None and not epochal(row.start_ns, row.recorded_by)


def dated(store: Store, sources: Iterable[SourceRow], sightings: Sequence[Sighting]) -> list[Sighting]:
    """The sightings with the time at which each was recorded, where it is known."""
    rows = {row.uri: row for row in sources}
    pictures: dict[str, list[int]] = {}
    for s in sightings:
        if s.source in rows and rows[s.source].kind.single_pictures:
            pictures.setdefault(s.source, []).append(s.frame_ns)
    dates = {uri: store.pictures_recorded(rows[uri].id, times) for uri, times in pictures.items()}
    return [_dated(s, rows.get(s.source), dates.get(s.source, {}).get(s.frame_ns, (None, ""))) for s in sightings]


def _dated(s: Sighting, row: SourceRow | None, picture: tuple[int | None, str]) -> Sighting:
    ns, by = picture
    if row is not None and not row.kind.single_pictures and row.start_ns is not None and not _simulated(row):
        ns, by = row.start_ns + s.frame_ns, row.recorded_by
    return s if ns is None else replace(s, recorded_ns=ns, recorded_by=by)


def doubt(store: Store, cache: VectorCache, sources: dict[int, SourceRow], found: Iterable[Hits]) -> str | None:
    """What is weak about the order in time of the hits of one or more questions, in words: some recordings are dated
    worse than others. None when all are dated alike, or all hits of each question are of one recording."""
    ways: dict[tuple[int, int], str | None] = {}
    for hits in found:
        ids = np.unique(cache.columns.source_ids[hits.rows]).tolist()
        here: dict[tuple[int, int], str | None] = {}
        for row in (sources[i] for i in ids if i in sources):
            if not row.kind.single_pictures:
                here[row.id, 0] = None if row.start_ns is None else row.recorded_by
                continue
            mine = cache.columns.source_ids[hits.rows] == row.id
            times = np.unique(cache.columns.start_ns[hits.rows[mine]]).tolist()
            dates = store.pictures_recorded(row.id, times)
            here |= {(row.id, t): None if ns is None else by for t, (ns, by) in dates.items()}
        if len(here) > 1:
            ways |= here
    return mixture(list(ways.values()))


def mixture(ways: Collection[str | None]) -> str | None:
    """What is weak about the order in time of recordings of which this is known: how, or None where no date is. None
    when they are all known alike."""
    unknown = sum(by is None for by in ways)
    guessed = sum(by in GUESSED for by in ways)
    if 0 < unknown < len(ways):
        has = "has" if unknown == 1 else "have"
        return f"the order in time is that of indexing: {unknown} of {len(ways)} recordings {has} no date; {REMEDY}"
    if 0 < guessed < len(ways):
        causes = {"mtime": "the time of the file", "day": "the day"}
        cause = " or ".join(causes[by] for by in causes if by in ways)
        know = "knows" if guessed == 1 else "know"
        return f"the order in time is a guess: {guessed} of {len(ways)} recordings {know} {cause} alone; {REMEDY}"
    return None
