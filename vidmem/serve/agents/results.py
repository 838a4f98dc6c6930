"""The structured results of the tools: the documents of the command line, with what agents need besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ...errors import UnknownWordError
from ...query.documents import (
    HaystackDocument,
    ThingsDocument,
    TimelineDocument,
    WhereDocument,
    public,
)
from ...query.source_documents import SourceDocument
from ..job_documents import JobDocument

MAX_TRACKS = 100
"""Ids of tracks that a thing lists. A thing seen for hours has thousands, which no model needs."""


@dataclass(frozen=True, slots=True)
class UnknownDocument:
    """A word that the encoder does not know, and known names that are spelled or meant alike; ask for one of those."""

    word: str
    near: list[str]


@dataclass(frozen=True, slots=True)
class WhereResult(WhereDocument):
    """When and where a thing was last seen. If `found` is false, see `near_misses` and `unknown`."""

    unknown: UnknownDocument | None = None


@dataclass(frozen=True, slots=True)
class TimelineResult(TimelineDocument):
    """All sightings, thing by thing, the thing seen last first.

    `total` counts the things and `seen` the sightings of each, however many are given.
    """

    total: int = 0
    notes: Sequence[str] = ()
    unknown: UnknownDocument | None = None


@dataclass(frozen=True, slots=True)
class HaystackResult(HaystackDocument):
    """The answer to a question about one photo of many."""

    notes: Sequence[str] = ()
    unknown: UnknownDocument | None = None


@dataclass(frozen=True, slots=True)
class SourcesResult:
    """What is in the memory.

    `memory` is the name of its folder. `total` counts all sources. `encoder` made the memory: it takes any phrase, or
    knows a fixed list of names. `calibrated` is true if answers have probabilities.
    """

    memory: str
    encoder: str
    knows: str
    any_phrase: bool
    calibrated: bool
    total: int
    sources: list[SourceDocument]


@dataclass(frozen=True, slots=True)
class LookMoment:
    """A moment that is shown. box: x0, y0, x1, y1 in pixels of the original. frame: a resource with the whole frame."""

    t_s: float | None
    t_ns: str
    box: list[float] | None
    frame: str


@dataclass(frozen=True, slots=True)
class LookResult:
    """What the picture shows. `shown` is false if there is none, and `reason` says why; the rest holds all the same.

    `width` and `height` are those of the original picture, in whose pixels boxes are. `picture` is the file of a photo.
    """

    shown: bool
    reason: str | None
    view: str
    source_id: int
    source: str
    picture: str | None
    recorded: str | None
    width: int
    height: int
    moments: list[LookMoment]


@dataclass(frozen=True, slots=True)
class AnnotateResult:
    """What was written. file: from the opened folder down. frames: annotated pictures. boxes: in all of them."""

    file: str
    source_id: int
    frames: int
    boxes: int
    bytes: int
    notes: list[str]


@dataclass(frozen=True, slots=True)
class ForgetStep:
    """What one source loses: all of it (`whole`), what is before `before_s`, or the tracks of a thing.

    `tracks` go, `shortened` tracks lose a part, and `frames` are sampled frames that go.
    """

    source_id: int
    source: str
    whole: bool
    before_s: float | None
    tracks: int
    shortened: int
    frames: int


@dataclass(frozen=True, slots=True)
class ForgetResult:
    """What would be forgotten, or, if `forgotten` is true, what was. job: what did it, with the error if it failed."""

    forgotten: bool
    steps: list[ForgetStep]
    job: JobDocument | None


def structured(result: object) -> dict[str, Any]:
    """The result as JSON."""
    out: dict[str, Any] = public(result)
    return out


def unknown(error: UnknownWordError) -> UnknownDocument:
    """The document of a word that is not known."""
    return UnknownDocument(error.word, list(error.near))


def where_result(document: WhereDocument) -> WhereResult:
    """The result of an answer."""
    return WhereResult(**_values(document))


def timeline_result(document: TimelineDocument, things: int, sightings: int, notes: Sequence[str]) -> TimelineResult:
    """The result of a timeline. things, sightings: how many are given, and how many of each."""
    shown = [
        replace(thing, tracks=thing.tracks[:MAX_TRACKS], sightings=thing.sightings[:sightings])
        for thing in document.things[:things]
    ]
    return TimelineResult(
        document.found, shown, document.exact, document.shards, total=len(document.things), notes=list(notes)
    )


def haystack_result(document: HaystackDocument, notes: Sequence[str]) -> HaystackResult:
    """The result of a question about one photo."""
    return HaystackResult(**_values(document), notes=list(notes))


def nothing_found(anchor: str, target: str) -> HaystackResult:
    """The result when a phrase cannot be read."""
    return HaystackResult(
        answer="not found",
        image=None,
        paths=[],
        width=None,
        height=None,
        recorded=None,
        recorded_by=None,
        anchor=anchor,
        anchor_score=None,
        anchor_box=None,
        target=target,
        target_score=None,
        target_box=None,
        pictures=0,
        source_id=None,
        frame_ns=None,
        near_misses=[],
    )


def things_result(document: ThingsDocument) -> ThingsDocument:
    """The things, each with its first tracks."""
    things = [replace(thing, tracks=thing.tracks[:MAX_TRACKS]) for thing in document.things]
    return replace(document, found=bool(things), things=things)


def _values(document: WhereDocument | HaystackDocument) -> dict[str, Any]:
    return {field.name: getattr(document, field.name) for field in fields(document)}
