"""Results in words: short lines that a model can read without the structured part. Each sighting has its id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from ...address import shown
from ...query.documents import HaystackDocument, SightingDocument, ThingsDocument
from ...timecode import NS, clock, counted
from .results import HaystackResult, LookResult, SourcesResult, TimelineResult, UnknownDocument, WhereResult

MAX_LINES = 20
"""Sightings, things or sources that are written out; the structured part has all that were asked for."""


def where_text(result: WhereResult, asked: str) -> str:
    """The answer to `where`. asked: what was looked for."""
    lines = []
    if result.unknown is not None:
        return unknown_text(result.unknown)
    if result.found:
        lines.append(f"Found: {asked}, {counted(result.total, 'sighting')}. Newest first:")
        lines += _sightings(result.sightings)
        if (older := result.likelier) is not None:
            lines.append(f"An older sighting is much likelier: {_sighting(older)}")
    else:
        lines.append(f"Not found: {asked}. This means not seen, or not recognized; it is no proof of absence.")
        if result.near_misses:
            lines.append("Nearest misses, which did not count as found:")
            lines += _sightings(result.near_misses)
    return _joined(lines, result.notes)


def timeline_text(result: TimelineResult, asked: str) -> str:
    """The answer to `timeline`."""
    if result.unknown is not None:
        return unknown_text(result.unknown)
    if not result.found:
        return _joined([f"Not found: {asked}. `where` gives the nearest misses."], result.notes)
    lines = [f"{asked}: {counted(result.total, 'thing')}, the one seen last first."]
    for thing in result.things:
        lines.append(f"Thing {thing.thing}, seen {'once' if thing.seen == 1 else f'{thing.seen} times'}, newest first:")
        lines += _sightings(thing.sightings, MAX_LINES // len(result.things) or 1)
    return _joined(lines, result.notes)


def things_text(result: ThingsDocument, offset: int) -> str:
    """The answer to `things`."""
    if not result.found:
        past = f"there are only {result.total} things" if result.total else "nothing was seen there"
        return _joined([f"Nothing: {past}."], result.notes)
    lines = [f"{counted(result.total, 'thing')}; number {offset + 1} to {offset + len(result.things)}:"]
    for number, thing in enumerate(result.things, offset + 1):
        name = thing.name if thing.named else f"unsure, perhaps {thing.name}"
        seen = f"in view {thing.seen_s:.0f} s, {counted(thing.sightings, 'sighting')}"
        if thing.last.picture is not None:
            seen = f"in {counted(thing.frames, 'photo')}"
        lines.append(f"{number}. {name}{_probability(thing.probability)}: {seen}; last {_sighting(thing.last)}")
    return _joined(lines, result.notes)


def haystack_text(result: HaystackResult) -> str:
    """The answer to `haystack`."""
    if result.unknown is not None:
        return unknown_text(result.unknown)
    if result.answer == "not found":
        near = "; ".join(
            f"{_photo(photo.image, photo.source_id, photo.frame_ns)}, score {photo.score:.2f}"
            for photo in result.near_misses
        )
        return _joined(
            [f"No photo with {result.anchor} was found." + (f" Nearest: {near}" if near else "")], result.notes
        )
    lines = [
        f"{'Yes' if result.answer == 'yes' else 'No'}: {_place(result)}"
        f" {'shows' if result.answer == 'yes' else 'does not seem to show'} {result.target}."
    ]
    if result.pictures > 1:
        lines.append(f"{result.pictures} photos have {result.anchor}; this one is most like it.")
    return _joined(lines, result.notes)


def sources_text(result: SourcesResult, offset: int) -> str:
    """The answer to `sources`."""
    phrases = "takes any phrase" if result.any_phrase else f"knows {result.knows}"
    lines = [f"Memory {result.memory}: {counted(result.total, 'source')}. Its encoder, {result.encoder}, {phrases}."]
    if not result.calibrated:
        lines.append("Answers have scores but no probabilities: the encoder is not calibrated.")
    for source in result.sources[:MAX_LINES]:
        length = f", {clock(int(source.duration_ns))} long" if int(source.duration_ns) else ""
        state = {"done": "", "partial": ", damaged in places"}.get(source.state, ", only partly indexed")
        recorded = f", {_recorded(source.recorded, source.recorded_by)}" if source.recorded else ""
        lines.append(f"{source.id}: {_name(source.source)} ({source.kind}{length}{recorded}{state})")
    more = result.total - offset - len(result.sources[:MAX_LINES])
    if more > 0:
        lines.append(f"and {more} more; ask with a larger `offset`")
    return "\n".join(lines)


def look_text(result: LookResult) -> str:
    """What the picture of `look` shows."""
    times = ", ".join(clock(int(moment.t_ns)) for moment in result.moments)
    place = f"source {result.source_id} ({_name(result.source)})"
    photo = bool(result.moments) and result.moments[0].t_s is None
    if not result.shown:
        return f"No picture of {place}{'' if photo else f' at {times}'}: {result.reason}"
    if photo:
        return f"The photo {_name(result.picture)} in {place}, {result.width} x {result.height} pixels."
    boxes = "" if all(moment.box is None for moment in result.moments) else ", the thing in a red box"
    what = {"close": "A close-up", "moments": counted(len(result.moments), "moment")}.get(result.view, "The frame")
    return f"{what} of {place} at {times}{boxes}. The original has {result.width} x {result.height} pixels."


def unknown_text(unknown: UnknownDocument) -> str:
    """What to say of a word that is not known."""
    near = f" Ask for one of these instead: {', '.join(unknown.near)}." if unknown.near else ""
    return f"Not found: the encoder does not know the word {unknown.word!r}.{near}"


def _sightings(sightings: Sequence[SightingDocument], limit: int = MAX_LINES) -> list[str]:
    lines = [f"- {_sighting(s)}" for s in sightings[:limit]]
    more = len(sightings) - limit
    return [*lines, f"- and {more} more in the structured result"] if more > 0 else lines


def _sighting(s: SightingDocument) -> str:
    """`0:12.0 to 0:20.5 in walk.mp4 (source 1), recorded ..., probability 0.93, id 1-...`."""
    if s.start_ns is None or s.end_ns is None:
        place = _name(s.picture)
    else:
        start, end = clock(int(s.start_ns)), clock(int(s.end_ns))
        place = f"{start if start == end else f'{start} to {end}'} in {_name(s.source)}"
    recorded = f", {_recorded(s.recorded, s.recorded_by)}" if s.recorded else ""
    confidence = _probability(s.probability) or f", score {s.score:.2f}"
    return f"{place} (source {s.source_id}){recorded}{confidence}, id {s.id}"


def _recorded(recorded: str, by: str | None) -> str:
    """`recorded 2026-01-31 18:02`, without the hour if only the day is known; the time of its file is a weak guess."""
    if by == "day":
        return f"recorded {recorded[:10]}"
    guess = " (file time)" if by == "mtime" else ""
    return f"recorded {recorded[:16].replace('T', ' ')}{guess}"


def _probability(probability: float | None) -> str:
    return "" if probability is None else f", probability {probability:.2f}"


def _place(result: HaystackDocument) -> str:
    return f"the photo with {result.anchor}, {_photo(result.image, result.source_id, result.frame_ns)},"


def _photo(path: str | None, source_id: int | None, frame_ns: str | None) -> str:
    """A photo with what `look` takes: its source, and its time, which is only a number there."""
    time = f", time {int(frame_ns) / NS:g}" if frame_ns is not None else ""
    return f"{_name(path)} (source {source_id}{time})"


def _name(path: str | None) -> str:
    return shown(PurePath(path).name or path) if path else "a file that is gone"


def _joined(lines: Sequence[str], notes: Sequence[str]) -> str:
    return "\n".join([*lines, *(f"Note: {note}" for note in notes)])
