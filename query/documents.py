"""The answers to questions as JSON: one set of documents for the command line, the HTTP API, and agents.

Each document is a frozen dataclass, which a JSON schema can be made from. Functions make them of what `Memory` gives,
and `public` makes plain data of them. What a memory holds is in source_documents.py.

Nanoseconds are strings, for JSON's numbers cannot hold them. Boxes are `[x0, y0, x1, y1]` in pixels of the upright
picture. A wall clock is ISO 8601.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..address import without_secrets
from ..errors import UsageError
from ..timecode import LONGEST_NS, iso

if TYPE_CHECKING:
    from ..records import LogPoint, Pose, Sighting
    from ..store import Proof
    from .answers import Answer, Thing
    from .haystack import HaystackAnswer, Region
    from .inventory import Inventory, KnownThing

Row = dict[str, Any]
"""A document as plain data."""
MAX_TRACKS = 10_000
"""The most tracks in the id of a sighting that is read."""


@dataclass(frozen=True, slots=True)
class PoseDocument:
    """Where the camera or the robot was: metres and a unit quaternion in the coordinate frame `frame`."""

    topic: str
    frame: str
    x: float
    y: float
    z: float
    qx: float
    qy: float
    qz: float
    qw: float


@dataclass(frozen=True, slots=True)
class LogPointDocument:
    """A moment in the terms of a log or a dataset; see `records.LogPoint`."""

    topic: str
    clock: str
    time_ns: str
    log_ns: str
    stamp_ns: str | None
    sequence: int | None
    pose: PoseDocument | None


@dataclass(frozen=True, slots=True)
class SightingDocument:
    """A stretch of time in which a thing was in view, or a photo that shows it.

    A photo (`picture` is its file) has a date and no time in a video: `start_s` to `end_ns` and `frame_s` are null.
    `frame_ns` is where the evidence is on the clock of its source; for a photo it names the photo. `source_id` names
    the source in this memory, and `id` the sighting; both are valid until the source is removed.
    """

    source: str
    start_s: float | None
    end_s: float | None
    start_ns: str | None
    end_ns: str | None
    recorded: str | None
    recorded_by: str | None
    score: float
    text_score: float | None
    visual_score: float | None
    probability: float | None
    frame_s: float | None
    box: list[float]
    confidence: float
    tracks: list[int]
    seen: LogPointDocument | None
    last: LogPointDocument | None
    picture: str | None
    frame_ns: str
    source_id: int
    id: str


@dataclass(frozen=True, slots=True)
class DownDocument:
    """A shard that could not be asked. shard: its number. tracks: how many may be missed, of these sources."""

    shard: int
    reason: str
    tracks: int
    sources: list[str]
    start: str | None
    end: str | None


@dataclass(frozen=True, slots=True)
class ShardsDocument:
    """Which shards of a fleet an answer rests on.

    `asked` were searched. `pruned` were not, since it is proved that nothing in them can answer. What is in those that
    are `down` may be missed.
    """

    asked: int
    pruned: int
    down: list[DownDocument]


@dataclass(frozen=True, slots=True)
class WhereDocument:
    """When and where a thing was last seen.

    `sightings` are the newest, as many as were asked for. Without any, `near_misses` has the best candidates. `total`
    counts the stretches of time in which the thing was found. `likelier` is an older sighting that is much more
    probably meant. `query` is the question as it was understood, and `notes` are lines for people. `exact` is false if
    shards of a fleet were down, or an engine searched: then what was not found may still have been seen. `shards` is
    null for one memory.
    """

    found: bool
    query: dict[str, Any]
    sightings: list[SightingDocument]
    near_misses: list[SightingDocument]
    likelier: SightingDocument | None
    total: int
    notes: list[str]
    exact: bool = True
    shards: ShardsDocument | None = None


@dataclass(frozen=True, slots=True)
class InstanceDocument:
    """One thing and its sightings, newest first. thing: its number, from 1. seen: how many sightings there are."""

    thing: int
    seen: int
    tracks: list[int]
    sightings: list[SightingDocument]


@dataclass(frozen=True, slots=True)
class TimelineDocument:
    """All sightings of what was asked for, thing by thing, the thing seen last first.

    `exact` and `shards` as in the answer of where.
    """

    found: bool
    things: list[InstanceDocument]
    exact: bool = True
    shards: ShardsDocument | None = None


@dataclass(frozen=True, slots=True)
class GuessDocument:
    """A name that a thing may have, with its probability; null if the encoder is not calibrated."""

    name: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class ThingDocument:
    """One thing in the memory.

    `named` is false where `name` is only a guess. `seen_s` is how long it was in view, `frames` in how many sampled
    frames or photos, `sightings` how often. `last` is its newest sighting, `best` the one that fits the name best.
    """

    name: str
    named: bool
    probability: float | None
    guesses: list[GuessDocument]
    seen_s: float
    frames: int
    sightings: int
    tracks: list[int]
    last: SightingDocument
    best: SightingDocument


@dataclass(frozen=True, slots=True)
class ThingsDocument:
    """The things in the memory. total: how many there are, whatever number was asked for. notes: lines for people.

    `exact` and `shards` as in the answer of where.
    """

    found: bool
    total: int
    things: list[ThingDocument]
    notes: list[str]
    exact: bool = True
    shards: ShardsDocument | None = None


@dataclass(frozen=True, slots=True)
class PhotoDocument:
    """A photo that is nearest to what was asked for. source_id, frame_ns: its place in the memory."""

    image: str | None
    score: float
    box: list[float]
    source_id: int
    frame_ns: str


@dataclass(frozen=True, slots=True)
class HaystackDocument:
    """The answer to a question about one photo of many.

    `image` is the photo, `paths` are all files that hold it. `target_box` is the region most like the target, even if
    the answer is no. `pictures` is the number of photos that have the anchor. `source_id` and `frame_ns` are the place
    of the photo in the memory. `near_misses` are the nearest photos when none has the anchor. `exact` and `shards` are
    those of the answer of where.
    """

    answer: Literal["yes", "no", "not found"]
    image: str | None
    paths: list[str]
    width: int | None
    height: int | None
    recorded: str | None
    recorded_by: str | None
    anchor: str
    anchor_score: float | None
    anchor_box: list[float] | None
    target: str
    target_score: float | None
    target_box: list[float] | None
    pictures: int
    source_id: int | None
    frame_ns: str | None
    near_misses: list[PhotoDocument]
    exact: bool = True
    shards: ShardsDocument | None = None


def plain(value: Any) -> Any:
    """A document as dicts, lists and simple values."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def public(value: Any) -> Any:
    """As `plain`, with addresses as `without_secrets` shows them: what leaves the process."""
    if isinstance(value, str):
        return without_secrets(value)
    if is_dataclass(value):
        return {field.name: public(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: public(inner) for key, inner in value.items()}
    return [public(inner) for inner in value] if isinstance(value, list | tuple) else value


def where_document(answer: Answer, shown: Sequence[Sighting] | None = None) -> WhereDocument:
    """The document of an answer of `where`. shown: the sightings to give; None for all of the answer's."""
    return WhereDocument(
        found=answer.found,
        query=answer.query,
        sightings=[sighting_document(s) for s in (answer.sightings if shown is None else shown)],
        near_misses=[sighting_document(s) for s in answer.near_misses],
        likelier=None if answer.likelier is None else sighting_document(answer.likelier),
        total=answer.total,
        notes=list(answer.notes),
        **proved(answer.proof),
    )


def proved(proof: Proof | None) -> Row:
    """`exact` and `shards` of a document. proof: of its answer; None for that of one memory."""
    if proof is None:
        return {"exact": True, "shards": None}
    down = [
        DownDocument(one.shard, one.reason, one.tracks, list(one.sources), iso(one.start_ns), iso(one.end_ns))
        for one in proof.down
    ]
    of_fleet = bool(proof.asked or proof.pruned or down)
    shards = ShardsDocument(proof.asked, proof.pruned, down) if of_fleet else None
    return {"exact": proof.exact, "shards": shards}


def timeline_document(things: Sequence[Thing]) -> TimelineDocument:
    """The document of what `timeline` gives."""
    found = [
        InstanceDocument(
            number, len(thing.sightings), list(thing.tracks), [sighting_document(s) for s in thing.sightings]
        )
        for number, thing in enumerate(things, 1)
    ]
    return TimelineDocument(bool(things), found, **proved(getattr(things, "proof", None)))


def things_document(inventory: Inventory) -> ThingsDocument:
    """The document of what `things` gives."""
    things = [thing_document(thing) for thing in inventory]
    return ThingsDocument(bool(things), inventory.total, things, list(inventory.notes), **proved(inventory.proof))


def thing_document(thing: KnownThing) -> ThingDocument:
    """The document of one of the things that `things` gives."""
    return ThingDocument(
        name=thing.name,
        named=thing.named,
        probability=_rounded(thing.probability),
        guesses=[GuessDocument(name, _rounded(p)) for name, p in thing.guesses],
        seen_s=thing.seen_s,
        frames=thing.frames,
        sightings=thing.sightings,
        tracks=list(thing.tracks),
        last=sighting_document(thing.last),
        best=sighting_document(thing.best),
    )


def haystack_document(answer: HaystackAnswer, anchor: str, target: str) -> HaystackDocument:
    """The document of what `haystack` gives for this anchor and target."""
    found, inside = answer.anchor, answer.target
    return HaystackDocument(
        answer=answer.verdict,
        image=found.paths[0] if found and found.paths else None,
        paths=list(found.paths) if found else [],
        width=found.width if found else None,
        height=found.height if found else None,
        recorded=iso(found.recorded_ns) if found else None,
        recorded_by=found.recorded_by or None if found else None,
        anchor=anchor,
        anchor_score=None if found is None else round(found.score, 6),
        anchor_box=None if found is None else box_row(found.box),
        target=target,
        target_score=None if inside is None else round(inside.score, 6),
        target_box=None if inside is None else box_row(inside.box),
        pictures=answer.pictures,
        source_id=found.source_id if found else None,
        frame_ns=str(found.t_ns) if found else None,
        near_misses=[_photo(region) for region in answer.near_misses],
        **proved(answer.proof),
    )


def _photo(region: Region) -> PhotoDocument:
    image = region.paths[0] if region.paths else None
    return PhotoDocument(image, round(region.score, 6), box_row(region.box), region.source_id, str(region.t_ns))


def sighting_document(s: Sighting) -> SightingDocument:
    """The document of a sighting."""
    in_video = s.picture is None
    return SightingDocument(
        source=s.source,
        start_s=s.start_s if in_video else None,
        end_s=s.end_s if in_video else None,
        start_ns=str(s.start_ns) if in_video else None,
        end_ns=str(s.end_ns) if in_video else None,
        recorded=iso(s.recorded_ns),
        recorded_by=s.recorded_by or None,
        score=round(s.score, 6),
        text_score=_rounded(s.text_score),
        visual_score=_rounded(s.visual_score),
        probability=_rounded(s.probability),
        frame_s=s.frame_s if in_video else None,
        box=box_row(s.box),
        confidence=round(s.confidence, 6),
        tracks=list(s.tracks),
        seen=_log_point(s.seen),
        last=_log_point(s.last),
        picture=s.picture,
        frame_ns=str(s.frame_ns),
        source_id=s.source_id,
        id=sighting_id(s),
    )


def sighting_row(s: Sighting) -> Row:
    """A sighting as plain data."""
    row: Row = plain(sighting_document(s))
    return row


COLUMNS = tuple(field.name for field in fields(SightingDocument))
"""The names in the row of a sighting, in order."""


def box_row(box: Sequence[float]) -> list[float]:
    """A box as JSON has it, to a hundredth of a pixel."""
    return [round(v, 2) for v in box]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _log_point(point: LogPoint | None) -> LogPointDocument | None:
    if point is None:
        return None
    return LogPointDocument(
        topic=point.topic,
        clock=point.clock,
        time_ns=str(point.time_ns),
        log_ns=str(point.log_ns),
        stamp_ns=None if point.stamp_ns is None else str(point.stamp_ns),
        sequence=point.sequence,
        pose=None if point.pose is None else _pose(point.pose),
    )


def _pose(pose: Pose) -> PoseDocument:
    return PoseDocument(pose.topic, pose.frame, pose.x, pose.y, pose.z, pose.qx, pose.qy, pose.qz, pose.qw)


@dataclass(frozen=True, slots=True)
class SightingPlace:
    """What the id of a sighting says: its source, its evidence, its tracks, and its span in ns."""

    source_id: int
    frame_ns: int
    tracks: tuple[int, ...]
    start_ns: int
    end_ns: int


def sighting_id(s: Sighting) -> str:
    """A text that names a sighting in this memory: no path is in it. `read_sighting_id` reads it."""
    return f"{s.source_id}-{s.frame_ns}-{'.'.join(map(str, s.tracks))}-{s.start_ns}-{s.end_ns}"


_NUMBER = r"-?\d{1,19}"
_ID = re.compile(rf"(\d{{1,19}})-({_NUMBER})-((?:\d{{1,19}}(?:\.\d{{1,19}})*)?)-({_NUMBER})-({_NUMBER})", re.ASCII)


def read_sighting_id(text: str) -> SightingPlace:
    """Read what `sighting_id` wrote. Raises UsageError for another text."""
    match = _ID.fullmatch(text)
    tracks = tuple(map(int, match[3].split("."))) if match and match[3] else ()
    if match is not None and len(tracks) <= MAX_TRACKS:
        source, frame, start, end = (int(match[i]) for i in (1, 2, 4, 5))
        if max(source, abs(frame), abs(start), abs(end), *tracks) <= LONGEST_NS and start <= end:
            return SightingPlace(source, frame, tracks, start, end)
    raise UsageError(f"this is not the id of a sighting; take one from an answer; got {text[:60]!r}")
