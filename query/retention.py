"""What to forget: from ages, sources and things to parts of sources. It is told first and done when it is wanted."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..store import Loss, Part, SourceRow, Store
from ..timecode import Moment

if TYPE_CHECKING:
    from .query import Query


@dataclass(frozen=True, slots=True)
class Forgetting:
    """One source and what it loses. whole: all of it, its row as well. part: what goes otherwise."""

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
    """What would go, source by source; sources that lose nothing are left out.

    before: what was seen earlier than that. A source whose recording time is not known counts as recorded when it was
    added: nothing in it is younger. sources: names, only these; all when empty. tracks: ids by source, only these.

    Raises UsageError for nothing to go by, a name that is not there, both `before` and `tracks`, video time without a
    source, and for a part of a source that is not indexed to its end, which could not be gone on with.
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
    """Do what `plan` told. Raises StoreError as `Store.remove_parts` and `Store.remove_source`."""
    if parts := [step.part for step in steps if not step.whole]:
        store.remove_parts(parts)
    for step in steps:
        if step.whole:
            store.remove_source(step.source.id)


def removals(store: Store, names: Sequence[str]) -> list[tuple[SourceRow, str | None]]:
    """The sources of these names, or those that the photos of these names are of, with their paths there. Raises
    UsageError for a name that is not there."""
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
    """Forget what `removals` found. Raises UsageError for a photo of a source that is not indexed to its end, before
    anything is removed, and StoreError as `Store.remove_source`."""
    from ..indexer.pictures import forget_photo

    for row, path in wanted:
        if path is not None and row.state == "open":
            raise UsageError(f"a photo is not forgotten before its folder is indexed to its end; index it: {row.uri}")
    for row in {row.id: row for row, path in wanted if path is None}.values():
        store.remove_source(row.id)
    whole = {row.id for row, path in wanted if path is None}
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
    """Ids of all tracks of a thing, by source: of what is found for a phrase, or of the track with this number, and of
    all that look like it. Raises UsageError for no such track, and for a phrase that cannot be read as it is said."""
    import numpy as np

    from .reid import seen_again, things
    from .search import find

    cache = query.cache()
    if isinstance(thing, int):
        row = cache.rows_of(np.array([max(-1, min(thing, 1 << 62))], np.int64))
        if row[0] < 0:
            raise UsageError(f"there is no track {thing}; an answer's `tracks` are their numbers, in JSON too")
        alike = seen_again(cache, row, query.calibration.same_thing)
        groups = things(query.store, cache, alike, query.calibration.same_thing)
        rows = next(alike[group] for group in groups if row[0] in alike[group])
    else:
        reading = query.reading(thing)
        if reading.read_as != thing:  # what is forgotten is gone: nothing may be taken for something else
            raise UsageError(f"{reading.note}; to forget that, name it so: {reading.read_as!r}")
        vector = query.text_encoder.encode_text([thing])[0]
        hits = find(cache, query.calibration, vector, None, query.text_encoder.contrast(vector))
        rows = seen_again(cache, hits.rows, query.calibration.same_thing)
    out: dict[int, list[int]] = {}
    columns = cache.columns
    for source, track in zip(columns.source_ids[rows].tolist(), columns.ids[rows].tolist(), strict=True):
        out.setdefault(source, []).append(track)
    return out
