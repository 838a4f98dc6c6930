"""What was recorded when: the order in time of what was found, and the dates of sightings.

The order is by the wall clock where everything that was found has one; else sources follow each other as they were
added. Single pictures have dates of their own; only those of what was found are looked up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..records import Sighting
from ..store import Columns, SourceRow, Store
from ..timecode import NS, is_wall_clock

GUESSED = frozenset({"mtime", "day"})
"""Values of `recorded_by` that are weak: files are copied, and a day has many hours."""
REMEDY = "set the dates with `vidmem recorded`"


def in_time(
    store: Store, sources: dict[int, SourceRow], columns: Columns
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """The rank in time of each hit's source among these `(n,)`, and the wall clock at the zero of each hit's source.

    The second is None unless it is known of all hits.
    """
    ids, places = np.unique(columns.source_ids, return_inverse=True)
    if not len(ids):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    rows = [sources.get(int(i)) for i in ids]  # None for a source that was removed meanwhile; its sightings are dropped
    zeros = _zeros(store, rows, places, columns)
    here = [row for row in rows if row is not None]  # a fleet has tens of thousands of sources: only these are ranked
    here.sort(key=lambda row: (0 if zeros is None else row.start_ns or 0, row.id))
    ranks = {row.id: rank for rank, row in enumerate(here)}
    return np.array([ranks.get(int(i), -1) for i in ids], np.int64)[places], zeros


def _zeros(
    store: Store,
    rows: Sequence[SourceRow | None],
    places: NDArray[np.intp],
    columns: Columns,
) -> NDArray[np.int64] | None:
    """The wall clock at the zero of each hit's source; None unless all have one and all clocks are of one world.

    Args:
        store: The memory.
        rows: The sources; None for a source that was removed.
        places: For each hit the index of its source in `rows`.
        columns: Of what was found.
    """
    if any(row is not None and not row.kind.single_pictures and row.start_ns is None for row in rows):
        return None
    zeros = np.array([0 if row is None else row.start_ns or 0 for row in rows], np.int64)[places]
    for number, row in enumerate(rows):
        if row is None or not row.kind.single_pictures:
            continue
        own = np.flatnonzero(places == number)
        times = columns.start_ns[own]
        known = store.pictures_recorded(row.id, np.unique(times).tolist())
        dates = [known.get(t_ns, (0, ""))[0] for t_ns in times.tolist()]
        if any(date is None for date in dates):
            return None
        zeros[own] = np.array(dates, np.int64) - times
    if len({_simulated(row) for row in rows if row is not None}) > 1:
        return None
    return zeros


def _simulated(row: SourceRow) -> bool:
    """Return True if the clock of the source counts from a start of its own, not from the epoch."""
    return row.start_ns is not None and not is_wall_clock(row.start_ns, row.recorded_by)


def dated(store: Store, sources: Iterable[SourceRow], sightings: Sequence[Sighting]) -> list[Sighting]:
    """The sightings with the time at which each was recorded, where it is known."""
    ids, uris = {s.source_id for s in sightings}, {s.source for s in sightings}
    near = [row for row in sources if row.id in ids or row.uri in uris]
    by_id = {row.id: row for row in near}
    by_uri = {row.uri: row for row in near}  # a sighting that was made by hand has no id of a source
    rows = [by_id.get(s.source_id) or by_uri.get(s.source) for s in sightings]
    pictures: dict[int, list[int]] = {}
    for s, row in zip(sightings, rows, strict=True):
        if row is not None and row.kind.single_pictures:
            pictures.setdefault(row.id, []).append(s.frame_ns)
    dates = {source: store.pictures_recorded(source, times) for source, times in pictures.items()}
    return [
        _dated(s, row, (None, "") if row is None else dates.get(row.id, {}).get(s.frame_ns, (None, "")))
        for s, row in zip(sightings, rows, strict=True)
    ]


def _dated(s: Sighting, row: SourceRow | None, picture_date: tuple[int | None, str]) -> Sighting:
    ns, recorded_by = picture_date
    if row is not None and not row.kind.single_pictures and row.start_ns is not None and not _simulated(row):
        ns, recorded_by = row.start_ns + s.frame_ns, row.recorded_by
    return s if ns is None else replace(s, recorded_ns=ns, recorded_by=recorded_by)


def unsure_order(store: Store, columns: Columns, zeros: NDArray[np.int64] | None) -> str | None:
    """A note when the newest of the hits may be older than one of another shard of a fleet, as clocks are not exact.

    zeros: the wall clock at the zero of each hit's source, as `in_time` gives it.
    """
    if zeros is None or len(columns) < 2:
        return None
    known, place = np.unique(columns.source_ids, return_inverse=True)
    error = np.array([store.clock_error(source) for source in known.tolist()], np.int64)[place]
    if not error.any():
        return None
    end = columns.end_ns + zeros
    newest = int(end.argmax())
    other = store.clock_group(int(columns.source_ids[newest]))
    apart = np.array([store.clock_group(source) != other for source in known.tolist()], np.bool_)[place]
    close = apart & (end[newest] - end <= error[newest] + error)
    if not close.any():
        return None
    seconds = (int(error[newest]) + int(error[close].max())) / NS
    return f"which was seen last is not sure: the clocks of their shards may be {seconds:g} s apart"


def doubt(store: Store, sources: dict[int, SourceRow], found: Iterable[Columns]) -> str | None:
    """A note when the order in time of the hits of a question is weak, because some recordings are dated worse than
    others; None when all are dated alike, or all hits of each question are of one recording.

    Args:
        store: The memory.
        sources: Its sources by id.
        found: The columns of the hits of each question.
    """
    recorded_by: dict[tuple[int, int], str | None] = {}
    for columns in found:
        own = _recorded_by(store, sources, columns)
        if len(own) > 1:
            recorded_by |= own
    return mixture(list(recorded_by.values()))


def _recorded_by(store: Store, sources: dict[int, SourceRow], columns: Columns) -> dict[tuple[int, int], str | None]:
    """How the date of each recording of the hits is known, by source id and time of a single picture (0 in videos);
    None without a date."""
    out: dict[tuple[int, int], str | None] = {}
    for row in (sources[i] for i in np.unique(columns.source_ids).tolist() if i in sources):
        if not row.kind.single_pictures:
            out[row.id, 0] = None if row.start_ns is None else row.recorded_by
            continue
        times = np.unique(columns.start_ns[columns.source_ids == row.id]).tolist()
        dates = store.pictures_recorded(row.id, times)
        out |= {(row.id, t_ns): None if ns is None else by for t_ns, (ns, by) in dates.items()}
    return out


def mixture(recorded_by: Collection[str | None]) -> str | None:
    """A note when the dates of recordings are known in ways of different quality; None when all are alike.

    recorded_by: of each recording, None without a date.
    """
    total = len(recorded_by)
    undated = sum(by is None for by in recorded_by)
    guessed = sum(by in GUESSED for by in recorded_by)
    if 0 < undated < total:
        has = "has" if undated == 1 else "have"
        return f"the order in time is that of indexing: {undated} of {total} recordings {has} no date; {REMEDY}"
    if 0 < guessed < total:
        causes = {"mtime": "the file time", "day": "the day"}
        cause = " or ".join(causes[by] for by in causes if by in recorded_by)
        are = "is" if guessed == 1 else "are"
        return f"the order in time is a guess: {guessed} of {total} recordings {are} dated only by {cause}; {REMEDY}"
    return None
