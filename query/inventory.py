"""What is in a memory: its things, how long each was in view, when last, and what each is probably called.

A thing's name is what the text side would call it: the mean of its tracks' text tokens, by frames, is compared with
many names in one product of matrices, and the nearest few are judged as `where` judges a track by that name. Where even
the best is not what `where` would count as found, it is a guess and said to be one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import TextEncoder
from ..encoders.probability import FLOOR, Curve
from ..records import Float32, Sighting
from ..store import Columns, SourceRow, Store, VectorCache
from ..timecode import NS
from .chronology import doubt, in_time
from .describe import sightings_of
from .filters import Narrowed, Spans, by_time, may_answer
from .labels import BUILT_IN, load_labels
from .reid import numbers, parted
from .scores import Hits
from .sightings import group

GUESSES = 3
"""Names that are judged of each thing, the nearest."""
_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class KnownThing:
    """One thing in a memory.

    name: what it is most probably called; named: whether that counts as found, else it is a guess. probability: of the
    name, None where the encoder is not calibrated. guesses: the likeliest names with their probabilities, the first is
    `name`. seen_ns: how long it was in view, gaps of a sighting included; frames: in how many frames that were looked
    at, or in how many single pictures. sightings: how often. tracks: ids of all its tracks. last: its newest sighting;
    best: the one that shows best what it is.
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

    @property
    def seen_s(self) -> float:
        return self.seen_ns / NS

    @property
    def title(self) -> str:
        """The name, or a question mark and the guess in brackets."""
        return self.name if self.named else f"? ({self.name})"


@dataclass(frozen=True, slots=True)
class Inventory(Sequence[KnownThing]):
    """The things of a memory: a sequence. total: how many there are in all, whatever was asked for. notes: what was
    left out, in words."""

    things: tuple[KnownThing, ...]
    total: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.things)

    @overload
    def __getitem__(self, index: int) -> KnownThing: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[KnownThing, ...]: ...
    def __getitem__(self, index: int | slice) -> KnownThing | tuple[KnownThing, ...]:
        return self.things[index]


def names_for(encoder: TextEncoder, labels: str | None) -> tuple[str, ...]:
    """What things may be called: the names of a file or a built-in list (see `labels.load_labels`); by default those
    that the encoder knows, or, for one that reads any phrase, the things among the classes of COCO, ADE20K and VSPW."""
    if labels is not None:
        return load_labels(labels).names
    if hasattr(encoder, "names"):
        known: dict[str, str] = encoder.names()
        return tuple(name for name, meant in known.items() if not meant)
    lists = [load_labels(name) for name in ("coco", "ade20k", "vspw")]
    assert set(BUILT_IN) >= {"coco", "ade20k", "vspw"}
    return tuple(dict.fromkeys(n for one in lists for n, thing in zip(one.names, one.things, strict=True) if thing))


def inventory(
    store: Store,
    cache: VectorCache,
    encoder: TextEncoder,
    names: Sequence[str],
    vectors: Float32,
    *,
    curve: Curve | None,
    spans: Spans | None = None,
    newest: bool = False,
    least: float | None = None,
    top: int | None = None,
    like: float,
) -> Inventory:
    """The things of a memory, the longest in view first, or with `newest` the one seen last.

    names with their text vectors `(n, Dt)`. curve: from score and share to the probability of a name. spans: as in
    narrow.py. least: only things whose name has at least this probability. top: no more than so many. like: as in
    `things`.
    """
    found = _all(store, cache, spans)
    rows, columns = found.hits.rows, found.columns
    if not len(rows):
        return Inventory(())
    sources = {row.id: row for row in store.sources()}
    number = numbers(store, columns, rows, cache.reconstruct("visual", rows), like)
    order, zeros = in_time(store, cache, sources, found.hits)
    seen = _seen(store, columns, rows, number, order, zeros)
    ranked = seen.by_newest if newest else np.lexsort((-seen.frames, -seen.length_ns))
    naming = _Naming(encoder, names, vectors, curve)
    members = parted(number)
    kept: list[tuple[int, _Name]] = []
    judged: dict[int, _Name] = {}
    total = len(ranked)
    if least is not None:
        judged = {int(i): naming.of(_token(cache, columns, rows[members[i]])) for i in ranked}
        ranked = np.array([i for i in ranked if (judged[int(i)].probability or 0.0) >= least], np.intp)
        total = len(ranked)
    for i in ranked[:top].tolist():
        kept.append((i, judged.get(i) or naming.of(_token(cache, columns, rows[members[i]]))))
    weak = doubt(store, cache, sources, [found.hits]) if newest else None
    told = tuple(_told(store, cache, sources, found, seen, members, kept, naming))
    return Inventory(told, total, (weak,) if weak else ())


def _all(store: Store, cache: VectorCache, spans: Spans | None) -> Narrowed:
    """All tracks that may answer."""
    columns = cache.columns
    rows = np.arange(len(columns), dtype=np.int64) if spans is None else may_answer(columns, spans)
    hits = Hits(rows, np.zeros(len(rows), np.float32))
    return Narrowed(hits, columns) if spans is None else by_time(store, columns, hits, spans)


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Of each thing, by number: length_ns, frames, count (of sightings), `(n,)`; parts: positions in the hits of the
    tracks of each sighting, newest first; by_newest: the numbers, the thing seen last first."""

    length_ns: NDArray[np.int64]
    frames: NDArray[np.float64]
    count: NDArray[np.int64]
    parts: list[list[NDArray[np.intp]]]
    by_newest: NDArray[np.intp]


def _seen(
    store: Store,
    columns: Columns,
    rows: NDArray[np.int64],
    number: NDArray[np.intp],
    order: NDArray[np.int64],
    zeros: NDArray[np.int64] | None,
) -> _Seen:
    """Sightings as `sightings.group` makes them, of each thing and each shot by itself."""
    n = int(number.max()) + 1
    source, start, end = columns.source_ids[rows], columns.start_ns[rows], columns.end_ns[rows]
    shot = np.zeros(len(rows), np.int64)
    for one in np.unique(source).tolist():
        held = source == one
        shot[held] = np.searchsorted(np.array(store.cuts(one), np.int64), start[held], side="right")
    apart = np.unique(np.stack([number, source, shot]), axis=1, return_inverse=True)[1].reshape(-1)
    own = Columns(np.arange(len(rows)), apart, apart, start, end, columns.frames[rows])
    hits = Hits(np.arange(len(rows)), np.zeros(len(rows), np.float32))
    groups = group(own, hits, order, zero_ns=zeros)
    sizes = np.array([len(g) for g in groups])
    flat, first = np.concatenate(groups), np.cumsum(sizes) - sizes
    thing = number[flat[first]]
    length = np.maximum.reduceat(end[flat], first) - np.minimum.reduceat(start[flat], first)
    # A thing that is found twice has two tracks in one frame, which must not count twice.
    lengths = np.add.reduceat(end[flat] - start[flat], first)
    frames = np.add.reduceat(columns.frames[rows][flat], first) * np.minimum(1, length / np.maximum(lengths, 1))
    frames = np.where(lengths > 0, frames, np.maximum.reduceat(columns.frames[rows][flat], first))
    parts: list[list[NDArray[np.intp]]] = [[] for _ in range(n)]
    for i, members in zip(thing.tolist(), groups, strict=True):
        parts[i].append(members)
    return _Seen(
        np.bincount(thing, weights=length, minlength=n).astype(np.int64),
        np.bincount(thing, weights=frames, minlength=n).astype(np.float64),
        np.bincount(thing, minlength=n),
        parts,
        np.array(list(dict.fromkeys(thing.tolist())), np.intp),
    )


@dataclass(frozen=True, slots=True)
class _Name:
    """guesses: names with their probabilities, the best first. row: of the first one's vector. named: see
    KnownThing."""

    guesses: tuple[tuple[str, float | None], ...]
    row: int
    named: bool

    @property
    def probability(self) -> float | None:
        return self.guesses[0][1]


class _Naming:
    """What things are called."""

    def __init__(self, encoder: TextEncoder, names: Sequence[str], vectors: Float32, curve: Curve | None) -> None:
        self.names, self.vectors = names, vectors
        self._encoder, self._curve, self.calibration = encoder, curve, encoder.info.calibration
        self._against: dict[int, Float32] = {}

    def of(self, token: Float32) -> _Name:
        """token `(Dt,)`: its length is how sure it is."""
        scores = self.vectors @ token
        near = np.argpartition(-scores, min(GUESSES, len(scores) - 1))[:GUESSES]
        shares = np.array([self._share(int(i), float(scores[i]), token) for i in near])
        if self._curve is not None:
            # As the best answer to its own question: whether another thing is more of it does not make it less.
            likely = self._curve.at(scores[near], shares, None)
            order = np.lexsort((-scores[near], -likely))
            guesses = tuple((self.names[near[k]], float(likely[k])) for k in order)
            return _Name(guesses, int(near[order[0]]), bool(likely[order[0]] >= np.float32(FLOOR)))
        order = np.argsort(-scores[near], kind="stable")
        best = int(order[0])
        named = (
            scores[near[best]] >= self.calibration.text_threshold
            and shares[best] >= self.calibration.contrast_probability
        )
        return _Name(tuple((self.names[near[k]], None) for k in order), int(near[best]), bool(named))

    def _share(self, row: int, score: float, token: Float32) -> float:
        """As likely.share."""
        if row not in self._against:
            self._against[row] = self._encoder.contrast(self.vectors[row])
        gaps = (self._against[row] @ token - score) / self.calibration.temperature
        return float(1 / (1 + np.exp(np.minimum(gaps, 80)).sum()))


def _token(cache: VectorCache, columns: Columns, rows: NDArray[np.int64]) -> Float32:
    """The mean of the text tokens of tracks, by frames: where they name different things it is shorter."""
    total = np.zeros(cache.dim("text"), np.float32)
    weight = columns.frames[rows] / max(int(columns.frames[rows].sum()), 1)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        total += weight[part].astype(np.float32) @ cache.reconstruct("text", rows[part])
    return total


def _told(
    store: Store,
    cache: VectorCache,
    sources: dict[int, SourceRow],
    found: Narrowed,
    seen: _Seen,
    members: Sequence[NDArray[np.intp]],
    kept: Sequence[tuple[int, _Name]],
    naming: _Naming,
) -> list[KnownThing]:
    """The things that were asked for, with their newest sighting and the one that is most like the name."""
    if not kept:
        return []
    rows, score = found.hits.rows, found.hits.score.copy()
    likely, shown = np.full(len(rows), np.nan, np.float32), []
    for i, name in kept:
        for start in range(0, len(members[i]), _BLOCK):
            held = members[i][start : start + _BLOCK]
            score[held] = cache.reconstruct("text", rows[held]) @ naming.vectors[name.row]
        if name.probability is not None:
            likely[members[i]] = name.probability
        best = int(members[i][int(score[members[i]].argmax())])
        shown += [seen.parts[i][0], next(part for part in seen.parts[i] if best in part)]
    hits = Hits(rows, score, score, None, likely if kept[0][1].probability is not None else None)
    one = Narrowed(hits, found.columns, found.evidence)
    made = {s.tracks: s for s in sightings_of(store, sources, cache, one, shown, naming.calibration, None)}
    single = {row.uri for row in sources.values() if row.kind.single_pictures}
    out = []
    for (i, name), last, best_one in zip(kept, shown[::2], shown[1::2], strict=True):
        pair = [made.get(tuple(np.sort(found.columns.ids[rows[part]]).tolist())) for part in (last, best_one)]
        if pair[0] is None or pair[1] is None:
            continue  # removed by another process meanwhile
        count = int(seen.count[i])
        frames = count if pair[0].source in single else max(1, round(float(seen.frames[i])))
        ids = tuple(np.sort(found.columns.ids[rows[members[i]]]).tolist())
        out.append(
            KnownThing(
                name.guesses[0][0],
                name.named,
                name.probability,
                name.guesses,
                int(seen.length_ns[i]),
                frames,
                count,
                ids,
                pair[0],
                pair[1],
            )
        )
    return out
