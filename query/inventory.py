"""What is in a memory: its things, how long each was in view, when last, and what each is probably called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from ..records import Float32, Sighting
from ..store import Columns, Proof, SourceRow, Spans, Store, Vectors, Within
from ..store.vectors import Rows
from ..timecode import NS
from .chronology import doubt, in_time
from .filters import Filtered, by_time
from .instances import Members, group
from .naming import Guess, Naming
from .reid import numbers, positions
from .scores import Hits
from .sightings import sightings_of

_BLOCK = 1024
"""Rows whose vectors are looked up at a time."""


class Span(NamedTuple):
    """A stretch of time in one source, both ends inclusive, in ns on the clock of the source."""

    source_id: int
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class KnownThing:
    """One thing in a memory.

    name: what it is most probably called. named: False if the name is only a guess. probability: of the name, None if
    the encoder is not calibrated. guesses: the most probable names with their probabilities; the first is `name`.
    seen_ns: how long it was in view, gaps within a sighting included. frames: in how many sampled frames, or in how
    many single pictures, it was in view. sightings: how often it was in view. tracks: ids of all of its tracks. last:
    its newest sighting. best: the sighting that fits its name best. spans: when it was in view, newest first.
    """

    name: str
    named: bool
    probability: float | None
    guesses: tuple[tuple[str, float | None], ...]
    seen_ns: int
    frames: int
    sightings: int
    tracks: tuple[int, ...]
    last: Sighting
    best: Sighting
    spans: tuple[Span, ...] = ()

    @property
    def seen_s(self) -> float:
        """How long it was in view, in seconds."""
        return self.seen_ns / NS

    @property
    def title(self) -> str:
        """The name, or a question mark and the guess in brackets."""
        return self.name if self.named else f"? ({self.name})"


@dataclass(frozen=True, slots=True)
class Inventory(Sequence[KnownThing]):
    """The things of a memory: a sequence. total: how many there are, whatever number was asked for. notes: for
    people, one line each. proof: as in `Answer`."""

    things: tuple[KnownThing, ...]
    total: int = 0
    notes: tuple[str, ...] = ()
    proof: Proof | None = None

    def __len__(self) -> int:
        return len(self.things)

    @overload
    def __getitem__(self, index: int) -> KnownThing: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[KnownThing, ...]: ...
    def __getitem__(self, index: int | slice) -> KnownThing | tuple[KnownThing, ...]:
        return self.things[index]


@dataclass(frozen=True, slots=True, eq=False)
class Stock:
    """All things of one state of a memory, of which `page` gives a part. Threads may take turns with it.

    cache: the vectors of that state. sources: by id. naming: gives things their names. found: all tracks. totals: of
    the things. members: the tracks of each thing, as positions in `found`. longest, newest: the numbers of the things,
    the one longest in view or seen last first. doubt: why the second order may be wrong, or None. judged: the names
    that were looked up so far. proof: as in `Answer`.
    """

    cache: Vectors
    sources: dict[int, SourceRow]
    naming: Naming
    found: Filtered
    totals: _Totals | None
    members: Sequence[Members]
    longest: Sequence[int]
    newest: Sequence[int]
    doubt: str | None
    judged: dict[int, Guess]
    proof: Proof | None = None

    def judge(self, thing: int) -> Guess:
        """The name of a thing."""
        if thing not in self.judged:
            part = self.members[thing]
            token = _mean_token(self.cache, self.found.columns.frames[part], self.found.hits.rows[part])
            self.judged[thing] = self.naming.of(token)
        return self.judged[thing]

    def length_ns(self, thing: int) -> int:
        """How long a thing was in view."""
        return 0 if self.totals is None else int(self.totals.length_ns[thing])

    def tracks(self, thing: int) -> tuple[int, ...]:
        """The sorted ids of the tracks of a thing."""
        return _track_ids(self.found, self.members[thing])


def inventory(
    store: Store,
    cache: Vectors,
    naming: Naming,
    *,
    min_cosine: float,
    spans: Spans | None = None,
    newest: bool = False,
    min_probability: float | None = None,
    top: int | None = None,
) -> Inventory:
    """The things of a memory, the one longest in view first.

    Args:
        store: The memory.
        cache: Its vectors.
        naming: Gives things their names.
        min_cosine: As in `reid.things`.
        spans: The sources and times to look at; None for all.
        newest: Put the thing that was seen last first.
        min_probability: Only things whose name has at least this probability.
        top: At most this many things; None for all.
    """
    of = stock(store, cache, naming, min_cosine=min_cosine, spans=spans)
    things = of.newest if newest else of.longest
    if min_probability is not None:
        things = [thing for thing in things if (of.judge(thing).probability or 0.0) >= min_probability]
    return page(store, of, things, newest=newest, top=top)


def stock(store: Store, cache: Vectors, naming: Naming, *, min_cosine: float, spans: Spans | None = None) -> Stock:
    """All things of a memory. Arguments as in `inventory`."""
    found = _all_tracks(store, cache, spans)
    rows, columns = found.hits.rows, found.columns
    sources = {row.id: row for row in store.sources()}
    if not len(rows):
        return Stock(cache, sources, naming, found, None, (), (), (), None, {}, store.proof())
    number = numbers(store, columns, cache.reconstruct("visual", rows), min_cosine)
    order, zeros = in_time(store, sources, columns)
    totals = _totals(store, columns, number, order, zeros)
    longest, newest = np.lexsort((-totals.frames, -totals.length_ns)).tolist(), totals.by_newest.tolist()
    weak = doubt(store, sources, [columns])
    proof = store.proof()
    return Stock(cache, sources, naming, found, totals, positions(number), longest, newest, weak, {}, proof)


def page(
    store: Store, of: Stock, things: Sequence[int], *, newest: bool = False, offset: int = 0, top: int | None = None
) -> Inventory:
    """Some of the things of a stock.

    Args:
        store: The memory.
        of: Its things.
        things: The numbers of those that are wanted, in order.
        newest: They are in the order of time.
        offset: Leave out this many.
        top: At most this many; None for all the rest.
    """
    if of.totals is None:
        return Inventory((), proof=of.proof)
    end = None if top is None else offset + top
    kept = [(thing, of.judge(thing)) for thing in things[offset:end]]
    known = _known_things(store, of.cache, of.sources, of.found, of.totals, of.members, kept, of.naming)
    proof, now = of.proof, store.proof()
    if proof is not None and now is not None:
        proof = proof.also(now)
    return Inventory(tuple(known), len(things), (of.doubt,) if newest and of.doubt else (), proof)


def _all_tracks(store: Store, cache: Vectors, spans: Spans | None) -> Filtered:
    """All tracks within the spans, with a score of 0."""
    rows = cache.rows_within(None if spans is None else Within(spans))
    hits = Hits(rows, np.zeros(len(rows), np.float32))
    return Filtered.whole(cache, hits) if spans is None else by_time(store, cache, hits, spans)


@dataclass(frozen=True, slots=True, eq=False)
class _Totals:
    """Of each thing, by number `(n,)`.

    length_ns, frames: in view. count: of sightings. sightings: the tracks of each sighting as positions in the hits,
    newest first. by_newest: the numbers of the things, the one seen last first.
    """

    length_ns: NDArray[np.int64]
    frames: NDArray[np.float64]
    count: NDArray[np.int64]
    sightings: list[list[Members]]
    by_newest: NDArray[np.intp]


def _totals(
    store: Store,
    columns: Columns,
    number: NDArray[np.intp],
    order: NDArray[np.int64],
    zeros: NDArray[np.int64] | None,
) -> _Totals:
    """The totals of sightings as `instances.group` makes them, of each thing and each shot by itself.

    Args:
        store: The memory.
        columns: Of all tracks `(n,)`, with the times that count.
        number: The thing of each track `(n,)`.
        order: As in `group`.
        zeros: As in `group`.
    """
    n = int(number.max()) + 1
    start, end = columns.start_ns, columns.end_ns
    keys = np.stack([number, columns.source_ids, _shots(store, columns)])
    separate = np.unique(keys, axis=1, return_inverse=True)[1].reshape(-1)
    groups = group(replace(columns, source_ids=np.asarray(separate, np.int64)), order, zero_ns=zeros)
    sizes = np.array([len(g) for g in groups])
    flat, first = np.concatenate(groups), np.cumsum(sizes) - sizes
    thing = number[flat[first]]
    length = np.maximum.reduceat(end[flat], first) - np.minimum.reduceat(start[flat], first)
    # A thing that is found twice has two tracks in one frame, which must not count twice.
    lengths = np.add.reduceat(end[flat] - start[flat], first)
    frames = np.add.reduceat(columns.frames[flat], first) * np.minimum(1, length / np.maximum(lengths, 1))
    frames = np.where(lengths > 0, frames, np.maximum.reduceat(columns.frames[flat], first))
    sightings: list[list[Members]] = [[] for _ in range(n)]
    for i, members in zip(thing.tolist(), groups, strict=True):
        sightings[i].append(members)
    return _Totals(
        np.bincount(thing, weights=length, minlength=n).astype(np.int64),
        np.bincount(thing, weights=frames, minlength=n).astype(np.float64),
        np.bincount(thing, minlength=n),
        sightings,
        np.array(list(dict.fromkeys(thing.tolist())), np.intp),
    )


def _shots(store: Store, columns: Columns) -> NDArray[np.int64]:
    """For each track `(n,)` the number of cuts in its source before its start."""
    source, start = columns.source_ids, columns.start_ns
    shot = np.zeros(len(columns), np.int64)
    for one in np.unique(source).tolist():
        own = source == one
        shot[own] = np.searchsorted(np.array(store.cuts(one), np.int64), start[own], side="right")
    return shot


def _mean_token(cache: Vectors, frames: NDArray[np.int64], rows: Rows) -> Float32:
    """The mean of the text tokens of tracks, by their frames: it is shorter where they name different things."""
    total = np.zeros(cache.dim("text"), np.float32)
    weight = frames / max(int(frames.sum()), 1)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        total += weight[part].astype(np.float32) @ cache.reconstruct("text", rows[part])
    return total


def _known_things(
    store: Store,
    cache: Vectors,
    sources: dict[int, SourceRow],
    found: Filtered,
    totals: _Totals,
    members: Sequence[Members],
    kept: Sequence[tuple[int, Guess]],
    naming: Naming,
) -> list[KnownThing]:
    """The things that were asked for, with their newest sighting and the one that fits the name best.

    Args:
        store: The memory.
        cache: Its vectors.
        sources: Its sources by id.
        found: All tracks.
        totals: Of all things.
        members: The tracks of each thing, as positions in `found`.
        kept: The numbers of the things to give, with their names.
        naming: What the names are from.
    """
    if not kept:
        return []
    rows, score = found.hits.rows, found.hits.score.copy()
    probability, shown = np.full(len(rows), np.nan, np.float32), []
    for i, guess in kept:
        for start in range(0, len(members[i]), _BLOCK):
            part = members[i][start : start + _BLOCK]
            score[part] = cache.reconstruct("text", rows[part]) @ naming.vectors[guess.row]
        if guess.probability is not None:
            probability[members[i]] = guess.probability
        best = int(members[i][int(score[members[i]].argmax())])
        shown += [totals.sightings[i][0], next(part for part in totals.sightings[i] if best in part)]
    hits = Hits(rows, score, score, None, probability if kept[0][1].probability is not None else None)
    scored = Filtered(hits, found.columns, found.evidence)
    by_tracks = {s.tracks: s for s in sightings_of(store, sources, cache, scored, shown, naming.calibration, None)}
    pictures = {row.uri for row in sources.values() if row.kind.single_pictures}
    out = []
    for (i, guess), newest, fittest in zip(kept, shown[::2], shown[1::2], strict=True):
        last, best_one = (by_tracks.get(_track_ids(found, part)) for part in (newest, fittest))
        if last is None or best_one is None:
            continue  # removed by another process meanwhile
        count = int(totals.count[i])
        out.append(
            KnownThing(
                name=guess.name,
                named=guess.named,
                probability=guess.probability,
                guesses=guess.guesses,
                seen_ns=int(totals.length_ns[i]),
                frames=count if last.source in pictures else max(1, round(float(totals.frames[i]))),
                sightings=count,
                tracks=_track_ids(found, members[i]),
                last=last,
                best=best_one,
                spans=tuple(_span(found, part) for part in totals.sightings[i]),
            )
        )
    return out


def _span(found: Filtered, part: Members) -> Span:
    """The stretch of time of the tracks of one sighting."""
    columns = found.columns
    start, end = int(columns.start_ns[part].min()), int(columns.end_ns[part].max())
    return Span(int(columns.source_ids[part[0]]), start, end)


def _track_ids(found: Filtered, part: Members) -> tuple[int, ...]:
    """The sorted ids of the tracks at these positions."""
    return tuple(np.sort(found.columns.ids[part]).tolist())
