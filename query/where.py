"""`where`: a text, a picture or both in; sightings out, newest first, or an honest "not found"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, overload

from .. import display
from ..encoders.base import Calibration
from ..errors import UsageError
from ..records import Float32, Sighting
from ..store import SourceRow, Store, VectorCache
from .chronology import doubt, in_time
from .describe import sightings_of
from .filters import APART, WITHIN_NS, Narrowed, Spans
from .instances import Instances, Members
from .reid import things
from .retrieve import Found, Question, closest, found, in_its_times, with_alike
from .search import find_each
from .serialize import COLUMNS, Row, sighting_row

if TYPE_CHECKING:
    from PIL import Image

NEAR_MISSES = 3
MUCH_LIKELIER = 0.2
"""An older sighting is told beside the newest when it is likelier by so much."""


class Album(Protocol):
    """Draws the picture of a sighting, from the memory that it came from."""

    def __call__(self, sighting: Sighting, title: str = "", *, others: Sequence[Sighting] = ()) -> Image.Image: ...


@dataclass(frozen=True, slots=True)
class Answer(Sequence[Sighting]):
    """The sightings found, newest first: a sequence. near_misses: the best there is when nothing counts as found.

    query: what was asked, as plain data. total: in how many stretches of time it was found, whatever number was asked
    for; what is in view side by side counts once. notes: what was left out, in words. likelier: an older sighting that
    is much likelier what was meant.
    """

    sightings: tuple[Sighting, ...]
    near_misses: tuple[Sighting, ...] = ()
    query: dict[str, object] = field(default_factory=dict, hash=False)
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
        return display.answer_text(self)

    def _repr_html_(self) -> str:
        return display.answer_html(self)

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


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing and its sightings, newest first. tracks: ids of them all."""

    sightings: tuple[Sighting, ...]
    tracks: tuple[int, ...]


def where(
    store: Store,
    cache: VectorCache,
    calibration: Calibration,
    *,
    text: Float32 | None = None,
    visual: Float32 | None = None,
    contrast: Float32 | None = None,
    threshold: float | None = None,
    most: int | None = 1,
    query: dict[str, object] | None = None,
    spans: Spans | None = None,
    near: Sequence[tuple[Float32, Float32 | None]] = (),
    within_ns: int = WITHIN_NS,
    apart: float = APART,
    notes: Sequence[str] = (),
    least: float | None = None,
) -> Answer:
    """Sightings of what the vectors stand for, the `most` newest (None: all). See `Question` for the rest."""
    asked = Question(text, visual, contrast, threshold, spans, tuple(near), within_ns, apart, least)
    what = found(store, cache, calibration, asked)
    sources = {row.id: row for row in store.sources()}
    answer = _answer(store, sources, cache, calibration, what.near, contrast, most)
    if not answer.total:
        answer = _missed(store, sources, cache, calibration, asked, what)
        if what.may is not None and not what.may.any():
            notes = [*notes, "nothing was looked at in the times and places asked for"]
    elif weak := doubt(store, cache, sources, [what.near.hits]):
        notes = [*notes, weak]
    return replace(answer, query=query or {}, notes=tuple(notes))


def each(
    store: Store,
    cache: VectorCache,
    calibration: Calibration,
    texts: Float32,
    contrasts: Sequence[Float32],
    *,
    most: int | None = 1,
    spans: Spans | None = None,
    least: float | None = None,
) -> list[Answer]:
    """`where` for each of many text vectors `(n, Dt)` with its contrast phrases; without near misses. Where neither
    times are asked for nor probabilities fitted, all are looked for in one pass over the tracks."""
    sources = {row.id: row for row in store.sources()}
    if spans is None:
        every = [Narrowed(hits, cache.columns) for hits in find_each(cache, calibration, texts, contrasts, least)]
    else:
        every = [
            in_its_times(store, cache, calibration, Question(text, contrast=contrast, spans=spans, least=least))[0]
            for text, contrast in zip(texts, contrasts, strict=True)
        ]
    weak = doubt(store, cache, sources, [one.hits for one in every])
    out = []
    for contrast, one in zip(contrasts, every, strict=True):
        answer = _answer(store, sources, cache, calibration, one, contrast, most)
        out.append(replace(answer, notes=(weak,)) if weak and answer else answer)
    return out


def _answer(
    store: Store,
    sources: dict[int, SourceRow],
    cache: VectorCache,
    calibration: Calibration,
    what: Narrowed,
    contrast: Float32 | None,
    most: int | None,
) -> Answer:
    """The sightings among what was found, each of one thing."""
    order, zeros = in_time(store, cache, sources, what.hits)
    instances = Instances(store, cache, what, order, zeros, calibration.same_thing)
    wanted, total = instances.newest(most)
    if not wanted:
        return Answer((), total=total)
    likelier = _likelier(instances, what, wanted[0])
    groups = wanted if likelier is None else [*wanted, likelier]
    told = sightings_of(store, sources, cache, what, groups, calibration, contrast)
    if likelier is None or len(told) < len(groups):  # or a source was removed meanwhile
        return Answer(tuple(told[: len(wanted)]), total=total)
    return Answer(tuple(told[:-1]), total=total, likelier=told[-1])


def _likelier(instances: Instances, what: Narrowed, newest: Members) -> Members | None:
    """The sighting that is likeliest meant, if it is older than the newest and much likelier."""
    likely = what.hits.likely
    if likely is None or likely.max() < likely[newest].max() + MUCH_LIKELIER:
        return None
    other = instances.holding(int(likely.argmax()))
    return other if instances.older(other, newest) else None


def _missed(
    store: Store,
    sources: dict[int, SourceRow],
    cache: VectorCache,
    calibration: Calibration,
    asked: Question,
    what: Found,
) -> Answer:
    """The near misses of a question for which nothing counts as found: the nearest that may answer, or what was found,
    but not near the other thing."""
    near_by = what.alone if len(what.alone.hits) else closest(store, cache, asked, what.may)
    order, zeros = in_time(store, cache, sources, near_by.hits)
    groups, _ = Instances(store, cache, near_by, order, zeros, calibration.same_thing).newest(None)
    groups.sort(key=lambda members: -float(near_by.hits.score[members].max()))
    return Answer(
        (), tuple(sightings_of(store, sources, cache, near_by, groups[:NEAR_MISSES], calibration, asked.contrast))
    )


def timeline(
    store: Store, cache: VectorCache, calibration: Calibration, asked: Question, *, alike: bool = False
) -> list[Thing]:
    """Everything that was found, thing by thing (see things.py), the one seen last first. alike: with the sightings of
    what looks like one of them, though the question alone did not find it."""
    sources, like = {row.id: row for row in store.sources()}, calibration.same_thing
    was = found(store, cache, calibration, asked)
    what = with_alike(store, cache, calibration, asked, was) if alike and len(was.near.hits) else was.near
    order, zeros = in_time(store, cache, sources, what.hits)
    instances = Instances(store, cache, what, order, zeros, like)
    out = []
    for members in things(store, cache, what.hits.rows, like, what.columns):
        groups = instances.of(members)
        sightings = tuple(sightings_of(store, sources, cache, what, groups, calibration, asked.contrast))
        if sightings:
            tracks = tuple(sorted(t for s in sightings for t in s.tracks))
            out.append((instances.newness(groups[0]), Thing(sightings, tracks)))
    return [thing for _, thing in sorted(out, key=lambda pair: pair[0], reverse=True)]
