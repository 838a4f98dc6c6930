"""Answers to questions: where, timeline, things, sightings, haystack, names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...encoders.vocabulary import read
from ...errors import UsageError
from ...query import arguments
from ...query.documents import (
    HaystackDocument,
    SightingDocument,
    ThingsDocument,
    TimelineDocument,
    WhereDocument,
    haystack_document,
    sighting_document,
    things_document,
    timeline_document,
    where_document,
)
from ...query.gallery import Choice
from ...query.haystack import split_question
from ...query.source_documents import NameDocument, NamesDocument, names_document
from ..faults import NotFoundError
from .parameters import source_id

if TYPE_CHECKING:
    from ...query.query import Query
    from ..service import Service
    from .route import Given

MAX_NAMES = 200
MAX_SIGHTINGS = 1000
"""The most sightings of one answer of /where."""
MAX_TRACKS = 20_000
"""The most tracks of one answer of /timeline: some 10 MB of JSON."""


@dataclass(frozen=True, slots=True)
class SightingsDocument:
    """All sightings of the given tracks as one thing, newest first."""

    sightings: list[SightingDocument]


def where(service: Service, given: Given) -> WhereDocument:
    """The document of `vidmem where`."""
    answer = service.memory.where(**_asked(service, given), top=given["top"] or MAX_SIGHTINGS)
    if given["top"] is None and len(answer) == MAX_SIGHTINGS:
        note = f"these are the newest {MAX_SIGHTINGS:,} sightings; ask with `before` for older ones"
        answer = replace(answer, notes=(*answer.notes, note))
    if given["picture"] is not None:
        answer = replace(answer, query=answer.query | {"image": given["picture"]})
    return where_document(answer)


def timeline(service: Service, given: Given) -> TimelineDocument:
    """The document of `vidmem timeline`."""
    found = service.memory.timeline(**_asked(service, given), alike=given["alike"], most=MAX_TRACKS)
    return timeline_document(found)


def things(service: Service, given: Given) -> ThingsDocument:
    """The document of `vidmem things`, from the thing number `offset` on."""
    names = [service.source(one).uri for one in given["source"]]
    keys = ("after", "before", "newest", "min_probability", "top", "offset")
    return things_document(service.memory.things(*names, **{key: given[key] for key in keys}, choice=choice(given)))


def choice(given: Given) -> Choice:
    """Which of all things are asked for."""
    return Choice(given["name"], given["called"], given["named"], given["track"])


def sightings(service: Service, given: Given) -> SightingsDocument:
    """All sightings of some tracks."""
    found = service.memory.query.sightings(given["tracks"])
    return SightingsDocument([sighting_document(s) for s in found])


def haystack(service: Service, given: Given) -> HaystackDocument:
    """The document of `vidmem haystack`."""
    question, anchor, target = given["question"], given["anchor"], given["target"]
    if (question is not None) == (anchor is not None or target is not None):
        raise UsageError("give a `question`, or `anchor` and `target`")
    if question is not None:
        anchor, target = split_question(question)
    if anchor is None or target is None:
        raise UsageError("`anchor` and `target` go together: what identifies the picture, and what to look for in it")
    read(service.memory.text_encoder, [anchor, target])
    return haystack_document(service.memory.haystack(anchor, target, rule=given["rule"]), anchor, target)


def names(service: Service, given: Given) -> NamesDocument:
    """The names that the encoder knows and that contain a text, those that begin with it first."""
    query: Query = service.memory.query
    encoder = query.text_encoder
    found = names_document(query.spec, None if encoder.info.open_vocabulary else encoder.names(), given["prefix"])
    wanted = " ".join(given["prefix"].lower().split())

    def rank(name: NameDocument) -> tuple[int, str]:
        return (0 if name.name.startswith(wanted) else 1 if f" {wanted}" in name.name else 2), name.name

    return replace(found, names=sorted(found.names, key=rank)[: given["limit"]])


def _asked(service: Service, given: Given) -> dict[str, Any]:
    """The arguments of `Memory.where` and `Memory.timeline`."""
    image, crop = given["picture"], given["crop"]
    keys = ("text", "threshold", "min_probability", "after", "before", "near", "within", "apart")
    return {
        **{key: given[key] for key in keys},
        "sources": [service.source(one).uri for one in given["source"]],
        "image": None if image is None else _picture(service, image),
        "crop": None if crop is None else _crop(service, crop),
    }


def _crop(service: Service, text: str) -> Any:
    source, t_ns, box = arguments.crop(text)
    return service.source(source_id(source)).uri, t_ns, box


def _picture(service: Service, name: str) -> Any:
    from ...query.picture import picture_from

    held = service.given.get(name)
    if held is None:
        raise NotFoundError("the picture is not here any more; send it to /pictures again")
    return picture_from(held.data, "the picture that was sent")
