"""What galleries need: the names of things, all photos by date, and one photo with the things in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...query.documents import SightingDocument, box_row, sighting_document
from ...records import SourceKind
from ...store import Picture
from ...timecode import iso
from ..faults import NotFoundError
from .questions import choice

if TYPE_CHECKING:
    from ...store import SourceRow
    from ..service import Service
    from .route import Given


@dataclass(frozen=True, slots=True)
class ThingNameDocument:
    """The things of one name; null for those without a sure name.

    things: how many there are. seen_s: how long they were in view together. best: the best sightings of the first few.
    """

    name: str | None
    things: int
    seen_s: float
    best: list[SightingDocument]


@dataclass(frozen=True, slots=True)
class ThingNamesDocument:
    """What the things in the memory are called. total: how many names there are."""

    total: int
    names: list[ThingNameDocument]


@dataclass(frozen=True, slots=True)
class PhotoEntry:
    """A photo. image: its file, null if no file holds it any more. paths: all files that hold it."""

    source_id: int
    frame_ns: str
    image: str | None
    paths: list[str]
    width: int
    height: int
    recorded: str | None
    recorded_by: str | None


@dataclass(frozen=True, slots=True)
class MonthDocument:
    """How many photos are of one month, such as 2026-03 in UTC; null for those without a date."""

    month: str | None
    photos: int


@dataclass(frozen=True, slots=True)
class PhotosDocument:
    """Photos, the newest first. total: how many there are. months: all of them by month, in the same order."""

    total: int
    months: list[MonthDocument]
    photos: list[PhotoEntry]


@dataclass(frozen=True, slots=True)
class PhotoThing:
    """A thing in a photo: its probable name, and its box in pixels of the photo."""

    name: str
    named: bool
    probability: float | None
    tracks: list[int]
    box: list[float]


@dataclass(frozen=True, slots=True)
class PhotoDetails(PhotoEntry):
    """A photo and the things in it, those with a sure name first, the most probable ones first."""

    things: list[PhotoThing]


def names(service: Service, given: Given) -> ThingNamesDocument:
    """The names of things."""
    sources = [service.source(one).uri for one in given["source"]]
    found = service.memory.query.thing_names(
        *sources, after=given["after"], before=given["before"], choice=choice(given)
    )
    shown = found[given["offset"] :][: given["top"]]
    return ThingNamesDocument(
        len(found),
        [ThingNameDocument(n.name, n.things, n.seen_s, [sighting_document(s) for s in n.best]) for n in shown],
    )


def photos(service: Service, given: Given) -> PhotosDocument:
    """A page of all photos."""
    store = service.memory.store
    wanted = set(given["source"])
    with store.snapshot():
        rows = [row for row in store.sources() if row.kind is SourceKind.PICTURES]
        every = [(row, one) for row in rows if not wanted or row.id in wanted for one in store.pictures(row.id)]
        every.sort(key=_newest)
        shown = every[given["offset"] :][: given["top"]]
        paths = _paths(service, shown)
    months: dict[str | None, int] = {}
    for _, one in every:
        month = (iso(one.recorded_ns) or "")[:7] or None
        months[month] = months.get(month, 0) + 1
    return PhotosDocument(
        total=len(every),
        months=[MonthDocument(month, count) for month, count in months.items()],
        photos=[PhotoEntry(*_entry(row, one, paths.get((row.id, one.t_ns), []))) for row, one in shown],
    )


def photo(service: Service, given: Given) -> PhotoDetails:
    """One photo."""
    store, row = service.memory.store, service.source(given["source"])
    with store.snapshot():
        one = store.picture(row.id, given["t_ns"]) if row.kind is SourceKind.PICTURES else None
        if one is None:
            raise NotFoundError(f"the source {row.id} has no photo {given['t_ns']}")
        paths = store.picture_paths(row.id, [one.t_ns]).get(one.t_ns, [])
    return PhotoDetails(*_entry(row, one, paths), _things(service, row, one))


def _newest(entry: tuple[SourceRow, Picture]) -> tuple[bool, int, int, int]:
    row, one = entry
    return one.recorded_ns is None, -(one.recorded_ns or 0), row.id, one.t_ns


def _paths(service: Service, shown: Iterable[tuple[SourceRow, Picture]]) -> dict[tuple[int, int], list[str]]:
    times: dict[int, list[int]] = {}
    for row, one in shown:
        times.setdefault(row.id, []).append(one.t_ns)
    held = {source: service.memory.store.picture_paths(source, of) for source, of in times.items()}
    return {(source, t_ns): paths for source, by_time in held.items() for t_ns, paths in by_time.items()}


def _entry(
    row: SourceRow, one: Picture, paths: list[str]
) -> tuple[int, str, str | None, list[str], int, int, str | None, str | None]:
    """The fields of a PhotoEntry."""
    image = paths[0] if paths else None
    recorded = iso(one.recorded_ns)
    return row.id, str(one.t_ns), image, paths, one.width, one.height, recorded, one.recorded_by or None


def _things(service: Service, row: SourceRow, one: Picture) -> list[PhotoThing]:
    return [
        PhotoThing(
            name=found.guess.name,
            named=found.guess.named,
            probability=None if found.guess.probability is None else round(found.guess.probability, 6),
            tracks=[found.track],
            box=box_row(found.box),
        )
        for found in service.memory.query.things_in(row, one.t_ns)
    ]
