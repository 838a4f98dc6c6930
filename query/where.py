"""`where`: a text, a picture or both in; sightings out, newest first, or an honest "not found"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Calibration
from ..records import Float32, Sighting
from ..store import SourceRow, Store, TrackRow, VectorCache
from .logpoints import LogPoints
from .search import Hits, find, nearest
from .sightings import group

NEAR_MISSES = 3
_NEAREST_TRACKS = 12


@dataclass(frozen=True, slots=True)
class Answer(Sequence[Sighting]):
    """The sightings found, newest first: a sequence. near_misses: the best there is when nothing counts as found.

    query: what was asked, as plain data. total: how many sightings there are in all, whatever was asked for.
    """

    sightings: tuple[Sighting, ...]
    near_misses: tuple[Sighting, ...] = ()
    query: dict[str, object] = field(default_factory=dict)
    total: int = 0

    @property
    def found(self) -> bool:
        return bool(self.sightings)

    def __len__(self) -> int:
        return len(self.sightings)

    def __bool__(self) -> bool:
        return self.found

    def __iter__(self) -> Iterator[Sighting]:
        return iter(self.sightings)

    @overload
    def __getitem__(self, index: int) -> Sighting: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Sighting, ...]: ...
    def __getitem__(self, index: int | slice) -> Sighting | tuple[Sighting, ...]:
        return self.sightings[index]


def where(
    store: Store, cache: VectorCache, calibration: Calibration, *, text: Float32 | None = None,
    visual: Float32 | None = None, contrast: Float32 | None = None, threshold: float | None = None,
    most: int | None = 1, query: dict[str, object] | None = None,
) -> Answer:  # fmt: skip
    """Sightings of what the vectors stand for, the `most` newest (None: all). See `search.find` for the vectors."""
    sources = {row.id: row for row in store.sources()}
    hits = find(cache, calibration, text, visual, contrast, threshold)
    groups = group(
        cache.columns, hits, _source_order(cache, sources, hits), zero_ns=_zeros(cache, sources, hits)
    )  # fmt: skip
    if groups:
        wanted = groups if most is None else groups[:most]
        found = _sightings(store, sources, cache, hits, wanted)
        return Answer(tuple(found), (), query or {}, len(groups))
    near = nearest(cache, text, visual, _NEAREST_TRACKS)
    near_groups = group(cache.columns, near, _source_order(cache, sources, near))
    near_groups.sort(key=lambda members: -float(near.score[members].max()))
    return Answer((), tuple(_sightings(store, sources, cache, near, near_groups[:NEAR_MISSES])), query or {}, 0)


def _source_order(cache: VectorCache, sources: dict[int, SourceRow], hits: Hits) -> NDArray[np.int64]:
    """For every hit, the rank of its source in time: by wall clock where all sources know it, else as added."""
    rows = list(sources.values())
    clocked = all(row.start_ns is not None for row in rows)
    rows.sort(key=lambda row: (row.start_ns or 0, row.id) if clocked else (0, row.id))
    ids, places = np.unique(cache.columns.source_ids[hits.rows], return_inverse=True)
    rank = {row.id: i for i, row in enumerate(rows)}
    ranks = np.array([rank.get(int(i), -1) for i in ids], np.int64)
    return ranks[places] if len(ids) else np.empty(0, np.int64)


def _zeros(cache: VectorCache, sources: dict[int, SourceRow], hits: Hits) -> NDArray[np.int64] | None:
    """For every hit, where its source has its zero by the wall clock; None unless all sources know it."""
    if any(row.start_ns is None for row in sources.values()):
        return None
    ids, places = np.unique(cache.columns.source_ids[hits.rows], return_inverse=True)
    zeros = [(sources[int(i)].start_ns or 0) if int(i) in sources else 0 for i in ids]
    return np.array(zeros, np.int64)[places] if zeros else np.empty(0, np.int64)


def _sightings(
    store: Store, sources: dict[int, SourceRow], cache: VectorCache, hits: Hits, groups: Sequence[NDArray[np.intp]]
) -> list[Sighting]:
    columns = cache.columns
    best = [members[int(np.argmax(hits.score[members]))] for members in groups]
    evidence: dict[int, TrackRow] = {t.id: t for t in store.tracks([int(columns.ids[hits.rows[b]]) for b in best])}
    logs = LogPoints(store, sources)
    out = []
    for members, top in zip(groups, best, strict=True):
        rows = hits.rows[members]
        track = evidence.get(int(columns.ids[hits.rows[top]]))
        if track is None or track.source_id not in sources:
            continue  # removed by another process since the cache was read
        end_ns = int(columns.end_ns[rows].max())
        out.append(
            Sighting(
                source=sources[track.source_id].uri,
                start_ns=int(columns.start_ns[rows].min()),
                end_ns=end_ns,
                score=float(hits.score[top]),
                text_score=None if hits.text is None else float(hits.text[top]),
                visual_score=None if hits.visual is None else float(hits.visual[top]),
                frame_ns=track.best_ns,
                box=track.best_box,
                tracks=tuple(sorted(int(i) for i in columns.ids[rows])),
                seen=logs.at(track.source_id, track.best_ns),
                last=logs.at(track.source_id, end_ns),
            )
        )
    return out
