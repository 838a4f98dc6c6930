"""What to forget: from ages, sources and things to parts of sources. `plan` lists it, `carry_out` does it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from ..store import Loss, Part, SourceRow, Store
from ..timecode import Moment
from .reid import seen_again, things
from .search import find

if TYPE_CHECKING:
    from .query import Query
    from .view import View


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What one source loses. whole: everything, its row as well. part: what is removed otherwise. loss: how much."""

    source: SourceRow
    whole: bool
    part: Part
    loss: Loss


def plan(
    store: Store,
    *,
    before: Moment | None = None,
    sources: Sequence[str] = (),
    tracks: Mapping[int, Sequence[int]] | None = None,
) -> list[Forgetting]:
    """What would be removed, source by source; sources that lose nothing are left out.

    Args:
        store: The memory.
        before: Remove what was seen earlier than this. A source whose recording time is not known counts as recorded
            when it was added, since nothing in it is later.
        sources: Remove from these alone, by name; empty for all.
        tracks: Remove these alone: ids of tracks by source id.

    Raises:
        UsageError: nothing says what to remove, no such source, both `before` and `tracks`, video time without a
            source, or a part of a source that is not indexed to its end, as indexing could not be resumed.
    """
    if before is None and tracks is None and not sources:
        raise UsageError("say what to forget: `before`, `sources` or `thing`")
    if before is not None and tracks is not None:
        raise UsageError("`thing` is forgotten at all times; give it without `before`")
    if before is not None and not before.wall and not sources:
        raise UsageError(f"{before.text!r} is a time in a video; say in which with `sources`, or give an age or a date")
    rows = {row.id: row for row in map(store.source, sources)}.values() if sources else store.sources()
    out = []
    for row in rows:
        if tracks is not None:
            step = _part(store, row, Part(row.id, None, tuple(tracks.get(row.id, ()))))
        elif before is None:
            step = _whole(store, row)
        else:
            step = _before(store, row, before)
        if step is None:
            continue
        if not step.whole and row.state == "open":
            raise UsageError(
                f"a part cannot be forgotten before a source is indexed to its end; index it, or forget all of it: "
                f"{row.uri}"
            )
        out.append(step)
    return out


def carry_out(store: Store, steps: Sequence[Forgetting]) -> None:
    """Remove what `plan` listed. Raises StoreError as `Store.remove_parts` and `Store.remove_source`."""
    if parts := [step.part for step in steps if not step.whole]:
        store.remove_parts(parts)
    store.remove_source(*(step.source.id for step in steps if step.whole))


def removals(store: Store, names: Sequence[str]) -> list[tuple[SourceRow, str | None]]:
    """The sources with these names, or for names of photos their source and their path in it.

    Raises:
        UsageError: no such source or photo.
    """
    out: list[tuple[SourceRow, str | None]] = []
    for name in names:
        try:
            out.append((store.source(name), None))
        except UsageError:
            photo = store.photo(name)
            if photo is None:
                raise
            out.append(photo)
    return out


def remove(store: Store, wanted: Sequence[tuple[SourceRow, str | None]]) -> None:
    """Remove what `removals` found.

    Raises:
        UsageError: a photo of a source that is not indexed to its end; then nothing is removed.
        StoreError: as `Store.remove_source`.
    """
    from ..indexer.pictures import forget_photo  # imports media, which a question does not need

    for row, path in wanted:
        if path is not None and row.state == "open":
            raise UsageError(f"a photo is not forgotten before its folder is indexed to its end; index it: {row.uri}")
    whole = {row.id for row, path in wanted if path is None}
    store.remove_source(*sorted(whole))  # at once: the same command could not finish half of it
    for row, path in dict.fromkeys((row, path) for row, path in wanted if path is not None):
        if row.id not in whole and store.photo(os.path.join(row.uri, path)) is not None:
            forget_photo(store, row, path)


def _before(store: Store, row: SourceRow, before: Moment) -> Forgetting | None:
    cut = before.media_ns(row.start_ns)
    if cut is None:
        return _whole(store, row) if row.added_at < before.ns else None
    if cut <= 0:
        return None
    if cut > max(row.duration_ns, row.next_t_ns or 0):
        return _whole(store, row)
    return _part(store, row, Part(row.id, cut))


def _part(store: Store, row: SourceRow, part: Part) -> Forgetting | None:
    loss = store.preview_removal(part)
    return Forgetting(row, False, part, loss) if loss else None


def _whole(store: Store, row: SourceRow) -> Forgetting:
    part = Part(row.id, 1 << 62)
    return Forgetting(row, True, part, store.preview_removal(part))


def tracks_of(query: Query, thing: str | int) -> dict[int, list[int]]:
    """Ids of all tracks of a thing, by source id, and of all tracks that look like one of them.

    Args:
        query: The memory.
        thing: A phrase, or the id of a track.

    Raises:
        UsageError: no such track, or the encoder reads the phrase as another one.
    """
    with query.view() as now:
        return _tracks_of(query, now, thing)


def _tracks_of(query: Query, now: View, thing: str | int) -> dict[int, list[int]]:
    cache, min_cosine = now.cache, now.calibration.same_thing
    if isinstance(thing, int):
        row = cache.rows_of(np.array([max(-1, min(thing, 1 << 62))], np.int64))
        if row[0] < 0:
            raise UsageError(f"there is no track {thing}; an answer's `tracks` are their numbers, in JSON too")
        similar = seen_again(cache, row, min_cosine)
        groups = things(query.store, cache, similar, min_cosine)
        rows = next(similar[group] for group in groups if row[0] in similar[group])
    else:
        reading = query.reading(thing)
        if reading.read_as != thing:  # removal cannot be undone, so nothing is guessed
            raise UsageError(f"{reading.note}; to forget that, name it so: {reading.read_as!r}")
        vector = now.text.encode_text([thing])[0]
        hits = find(cache, now.calibration, vector, None, now.text.contrast(vector))
        rows = seen_again(cache, hits.rows, min_cosine)
    out: dict[int, list[int]] = {}
    columns = cache.columns_of(rows)
    for source, track in zip(columns.source_ids.tolist(), columns.ids.tolist(), strict=True):
        out.setdefault(source, []).append(track)
    return out
