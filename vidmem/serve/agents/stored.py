"""A sighting from its id, read again from the memory."""

from __future__ import annotations

from dataclasses import replace

from ...errors import UsageError
from ...query.chronology import dated
from ...query.documents import read_sighting_id
from ...records import Sighting
from ...render.trajectory import box_at, trajectory
from ...store import SourceRow, Store

STALE = "that sighting is no longer in the memory; ask again with `where` or `timeline`, and take its new id"


def sighting_of(store: Store, sighting_id: str) -> Sighting:
    """The sighting that an id names, without scores, which belong to the question that it answered.

    Raises:
        UsageError: It is not the id of a sighting, or the sighting is no longer in the memory.
    """
    place = read_sighting_id(sighting_id)
    row = _row(store, place.source_id)
    tracks = store.tracks(place.tracks)
    if not tracks or len(tracks) != len(set(place.tracks)) or any(track.source_id != row.id for track in tracks):
        raise UsageError(STALE)
    first, last = min(track.start_ns for track in tracks), max(track.end_ns for track in tracks)
    if not first <= place.start_ns <= place.frame_ns <= place.end_ns <= last:
        raise UsageError(STALE)
    best = next((track.best_box for track in tracks if track.best_ns == place.frame_ns), None)
    found = Sighting(
        source=row.uri,
        start_ns=place.start_ns,
        end_ns=place.end_ns,
        score=0.0,
        text_score=None,
        visual_score=None,
        frame_ns=place.frame_ns,
        box=best or (0.0, 0.0, 0.0, 0.0),
        tracks=place.tracks,
        picture=photo_file(store, row, place.frame_ns),
        source_id=row.id,
    )
    if best is None:  # a filter cut the sighting, so its evidence is another frame than the best one
        box = box_at(trajectory(store, found), place.frame_ns)
        if box is None:
            raise UsageError(STALE)
        found = replace(found, box=box)
    return dated(store, [row], [found])[0]


def photo_file(store: Store, row: SourceRow, t_ns: int) -> str | None:
    """The file of the photo at a time; None in videos, and for a photo without a file."""
    if not row.kind.single_pictures:
        return None
    return next(iter(store.picture_paths(row.id, [t_ns]).get(t_ns, ())), None)


def _row(store: Store, source_id: int) -> SourceRow:
    try:
        return store.source_by_id(source_id)
    except UsageError:
        raise UsageError(STALE) from None
