"""`where`: a text, a picture or both in; sightings out, newest first, or an honest "not found"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from .. import shown
from ..album import Album
from ..encoders.base import Calibration
from ..errors import UsageError
from ..records import Float32, Sighting
from ..store import PICTURES, SourceRow, Store, TrackRow, VectorCache
from .instances import Instances
from .likely import deciding, probabilities
from .logpoints import LogPoints
from .narrow import APART, WITHIN_NS, Narrowed, Spans, by_time, may_answer, near
from .order import dated, doubt, in_time
from .rows import COLUMNS, Row, sighting_row
from .scores import Hits, nearest
from .search import find, find_each
from .sightings import group
from .things import seen_again, things

NEAR_MISSES = 3
MUCH_LIKELIER = 0.2
"""An older sighting is told beside the newest when it is likelier by so much."""
_NEAREST_TRACKS = 12


@dataclass(frozen=True, slots=True)
class Answer(Sequence[Sighting]):
    """The sightings found, newest first: a sequence. near_misses: the best there is when nothing counts as found.

    query: what was asked, as plain data. total: how many sightings there are in all, whatever was asked for; stretches
    of time that nobody looked into count as one. notes: what was left out, in words. likelier: an older sighting that
    is much likelier what was meant.
    """

    sightings: tuple[Sighting, ...]
    near_misses: tuple[Sighting, ...] = ()
    query: dict[str, object] = field(default_factory=dict)
    total: int = 0
    notes: tuple[str, ...] = ()
    likelier: Sighting | None = None
    album: Album | None = field(default=None, compare=False)

    def to_dicts(self) -> list[Row]:
        """A dict for each sighting, as `vidmem where --json` prints them."""
        return [sighting_row(s) for s in self.sightings]

    def to_pandas(self) -> Any:
        """A pandas.DataFrame with a row for each sighting, the columns those of `to_dicts`. Raises UsageError without
        pandas."""
        try:
            import pandas
        except ImportError:
            raise UsageError("pandas is not installed; `pip install pandas`, or use to_dicts()") from None
        return pandas.DataFrame(self.to_dicts(), columns=list(COLUMNS))

    def __repr__(self) -> str:
        return shown.answer_text(self)

    def _repr_html_(self) -> str:
        return shown.answer_html(self)

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


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What is looked for: vectors as in `search.find`, and conditions as in narrow.py. near: one or more other things,
    each a text vector with its contrast phrases. least: least probability."""

    text: Float32 | None = None
    visual: Float32 | None = None
    contrast: Float32 | None = None
    threshold: float | None = None
    spans: Spans | None = None
    near: tuple[tuple[Float32, Float32 | None], ...] = ()
    within_ns: int = WITHIN_NS
    apart: float = APART
    least: float | None = None


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing and its sightings, newest first. tracks: ids of them all."""

    sightings: tuple[Sighting, ...]
    tracks: tuple[int, ...]


def where(
    store: Store, cache: VectorCache, calibration: Calibration, *, text: Float32 | None = None,
    visual: Float32 | None = None, contrast: Float32 | None = None, threshold: float | None = None,
    most: int | None = 1, query: dict[str, object] | None = None, spans: Spans | None = None,
    near: Sequence[tuple[Float32, Float32 | None]] = (), within_ns: int = WITHIN_NS, apart: float = APART,
    notes: Sequence[str] = (), least: float | None = None,
) -> Answer:  # fmt: skip
    """Sightings of what the vectors stand for, the `most` newest (None: all). See `Asked` for the rest."""
    asked = Asked(text, visual, contrast, threshold, spans, tuple(near), within_ns, apart, least)
    alone, found = _found(store, cache, calibration, asked)
    sources = {row.id: row for row in store.sources()}
    answer = _answer(store, sources, cache, calibration, asked, found, most)
    if not answer.total:
        answer = _missed(store, cache, calibration, asked, alone)
    elif weak := doubt(store, cache, sources, [found.hits]):
        notes = [*notes, weak]
    return replace(answer, query=query or {}, notes=tuple(notes))


def each(
    store: Store, cache: VectorCache, calibration: Calibration, texts: Float32, contrasts: Sequence[Float32], *,
    most: int | None = 1, spans: Spans | None = None, least: float | None = None,
) -> list[Answer]:  # fmt: skip
    """`where` for each of many text vectors `(n, Dt)` with its contrast phrases, in one pass over the tracks; without
    near misses, which would be a pass for each."""
    sources = {row.id: row for row in store.sources()}
    every = find_each(cache, calibration, texts, contrasts, least, _may(cache, spans))
    found = [_narrowed(store, cache, hits, spans) for hits in every]
    weak = doubt(store, cache, sources, [one.hits for one in found])
    out = []
    for text, contrast, one in zip(texts, contrasts, found, strict=True):
        asked = Asked(text, None, contrast, None, spans, least=least)
        answer = _answer(store, sources, cache, calibration, asked, one, most)
        out.append(replace(answer, notes=(weak,)) if weak and answer else answer)
    return out


def _answer(
    store: Store, sources: dict[int, SourceRow], cache: VectorCache, calibration: Calibration, asked: Asked,
    found: Narrowed, most: int | None,
) -> Answer:  # fmt: skip
    """The sightings among what was found, each of one thing."""
    order, zeros = in_time(store, cache, sources, found.hits)
    instances = Instances(store, cache, found, order, zeros, calibration.same_thing)
    wanted, total = instances.newest(most)
    sightings = sightings_of(store, sources, cache, found, wanted, calibration, asked.contrast) if wanted else []
    return Answer(tuple(sightings), total=total,
                  likelier=_likelier(store, sources, cache, found, sightings, calibration, asked.contrast))  # fmt: skip


def _likelier(
    store: Store, sources: dict[int, SourceRow], cache: VectorCache, found: Narrowed, told: Sequence[Sighting],
    calibration: Calibration, contrast: Float32 | None,
) -> Sighting | None:  # fmt: skip
    """What is much likelier meant than all that is told, and older."""
    if found.hits.likely is None or not told:
        return None
    best = int(found.hits.likely.argmax())
    if found.hits.likely[best] < max(s.probability or 0.0 for s in told) + MUCH_LIKELIER:
        return None
    one = sightings_of(store, sources, cache, found, [np.array([best], np.intp)], calibration, contrast)
    return one[0] if one else None  # removed by another process meanwhile


def _missed(
    store: Store, cache: VectorCache, calibration: Calibration, asked: Asked, alone: Narrowed
) -> Answer:
    """The near misses of a question for which nothing counts as found."""
    sources = {row.id: row for row in store.sources()}
    if not len(alone.hits):  # there are near misses by score; else what was seen, but not near the other thing
        may = None if asked.spans is None else may_answer(cache.columns, asked.spans)
        alone = _narrowed(store, cache, nearest(cache, asked.text, asked.visual, _NEAREST_TRACKS, may), asked.spans)
    near_groups = group(alone.columns, alone.hits, in_time(store, cache, sources, alone.hits)[0])
    near_groups.sort(key=lambda members: -float(alone.hits.score[members].max()))
    misses = sightings_of(store, sources, cache, alone, near_groups[:NEAR_MISSES], calibration, asked.contrast)
    return Answer((), tuple(misses))


def timeline(
    store: Store, cache: VectorCache, calibration: Calibration, asked: Asked, *, alike: bool = False
) -> list[Thing]:
    """Everything that was found, thing by thing (see things.py), the one seen last first. alike: with the sightings of
    what looks like one of them, though the question alone did not find it.

    Raises UsageError when there is too much to tell things apart.
    """
    sources, like = {row.id: row for row in store.sources()}, calibration.same_thing
    _, found = _found(store, cache, calibration, asked)
    if alike and len(found.hits):
        found = _narrowed(store, cache, _scored(cache, asked, seen_again(cache, found.hits.rows, like)), asked.spans)
    order, zeros = in_time(store, cache, sources, found.hits)
    out = []
    instances = Instances(store, cache, found, order, zeros, like)
    for members in things(store, cache, found.hits.rows, like):
        groups = instances.of(members)
        sightings = tuple(sightings_of(store, sources, cache, found, groups, calibration, asked.contrast))
        if sightings:
            tracks = tuple(sorted(t for s in sightings for t in s.tracks))
            out.append((instances.newness(groups[0]), Thing(sightings, tracks)))
    return [thing for _, thing in sorted(out, key=lambda pair: pair[0], reverse=True)]


def _found(
    store: Store, cache: VectorCache, calibration: Calibration, asked: Asked
) -> tuple[Narrowed, Narrowed]:
    """What was found in time, and what of that is near the other things as well."""
    may = _may(cache, asked.spans)
    while True:
        hits = find(cache, calibration, asked.text, asked.visual, asked.contrast, asked.threshold, asked.least, may)
        alone = _narrowed(store, cache, hits, asked.spans)
        if may is None or asked.spans is None:
            break
        # A track may be out of view at just the time asked for. Others are held against what was found, and against
        # the picture that is most alike: neither may be such a track.
        rows = hits.rows
        if asked.visual is not None:
            rows = np.union1d(rows, nearest(cache, None, asked.visual, 1, np.flatnonzero(may)).rows)
        there = by_time(store, cache.columns, Hits(rows, np.zeros(len(rows), np.float32)), asked.spans).hits.rows
        if len(there) == len(rows):
            break
        may[np.setdiff1d(rows, there)] = False
    others = [
        _narrowed(store, cache, find(cache, calibration, vector, None, contrast, may=may), asked.spans)
        for vector, contrast in asked.near
    ]
    return alone, near(store, alone, others, asked.within_ns, asked.apart)


def _may(cache: VectorCache, spans: Spans | None) -> NDArray[np.bool_] | None:
    """Which rows may answer; None for all."""
    if spans is None:
        return None
    may = np.zeros(len(cache), np.bool_)
    may[may_answer(cache.columns, spans)] = True
    return may


def _narrowed(store: Store, cache: VectorCache, hits: Hits, spans: Spans | None) -> Narrowed:
    return Narrowed(hits, cache.columns) if spans is None else by_time(store, cache.columns, hits, spans)


def _scored(cache: VectorCache, asked: Asked, rows: NDArray[np.int64]) -> Hits:
    text = None if asked.text is None else cache.scores("text", asked.text, rows)
    visual = None if asked.visual is None else cache.scores("visual", asked.visual, rows)
    score = text if visual is None else visual if text is None else text * visual
    assert score is not None
    return Hits(rows, score, text, visual)


def _file(store: Store, source: SourceRow, t_ns: int) -> str | None:
    """The file of a single picture; None in videos, and for one that is in no file any more."""
    if source.kind != PICTURES:
        return None
    return next(iter(store.picture_paths(source.id, [t_ns]).get(t_ns, ())), None)


def sightings_of(
    store: Store, sources: dict[int, SourceRow], cache: VectorCache, found: Narrowed,
    groups: Sequence[NDArray[np.intp]], calibration: Calibration, contrast: Float32 | None,
) -> list[Sighting]:  # fmt: skip
    hits, columns = found.hits, found.columns
    telling = hits.score if hits.likely is None else hits.likely
    best = [members[np.lexsort((hits.score[members], telling[members]))[-1]] for members in groups]
    shown = hits.take(np.array(best, np.intp))
    top = deciding(hits).max(initial=0)
    sure = probabilities(cache, calibration, shown, contrast, top) if shown.likely is None else shown.likely
    evidence: dict[int, TrackRow] = {t.id: t for t in store.tracks([int(columns.ids[hits.rows[b]]) for b in best])}
    logs = LogPoints(store, sources)
    out = []
    for i, (members, top) in enumerate(zip(groups, best, strict=True)):
        rows = hits.rows[members]
        track = evidence.get(int(columns.ids[hits.rows[top]]))
        if track is None or track.source_id not in sources:
            continue  # removed by another process since the cache was read
        end_ns = int(columns.end_ns[rows].max())
        frame_ns, box = found.evidence.get(int(hits.rows[top]), (track.best_ns, track.best_box))
        out.append(
            Sighting(
                source=sources[track.source_id].uri,
                start_ns=int(columns.start_ns[rows].min()),
                end_ns=end_ns,
                score=float(hits.score[top]),
                text_score=None if hits.text is None else float(hits.text[top]),
                visual_score=None if hits.visual is None else float(hits.visual[top]),
                frame_ns=frame_ns,
                box=box,
                tracks=tuple(sorted(int(i) for i in columns.ids[rows])),
                seen=logs.at(track.source_id, frame_ns),
                last=logs.at(track.source_id, end_ns),
                picture=_file(store, sources[track.source_id], frame_ns),
                probability=None if sure is None else float(sure[i]),
                confidence=track.confidence,
            )
        )
    return dated(store, sources.values(), out)
