"""What is written beside a sighting: file name, date, time span, confidence. Plain text, without PIL."""

from __future__ import annotations

from ..query.inventory import KnownThing
from ..records import Sighting
from ..timecode import clock, counted, relative_date


def file_name(sighting: Sighting) -> str:
    """The file name of the video or photo."""
    return (sighting.picture or sighting.source).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def date_text(sighting: Sighting) -> str:
    """When it was recorded; empty if that is not known."""
    return relative_date(sighting.recorded_ns, sighting.recorded_by)


def span_text(sighting: Sighting) -> str:
    """From when to when in the video; empty for a photo."""
    if sighting.picture is not None:
        return ""
    start, end = clock(sighting.start_ns), clock(sighting.end_ns)
    return start if start == end else f"{start} to {end}"


def probability_text(probability: float | None) -> str:
    """`probability 0.83`, or that there is none."""
    return "not calibrated" if probability is None else f"probability {probability:.2f}"


def confidence_text(sighting: Sighting) -> str:
    """The probability of a sighting, or its score if there is none."""
    text = probability_text(sighting.probability)
    return text if sighting.probability is not None else f"score {sighting.score:.2f}, {text}"


def last_seen_text(thing: KnownThing) -> str:
    """When a thing was last in view; empty if nothing is known about that."""
    time = "" if thing.last.picture is not None else clock(thing.last.end_ns)
    parts = [part for part in (date_text(thing.last), time) if part]
    return f"last {', '.join(parts)}" if parts else ""


def seen_text(thing: KnownThing) -> str:
    """How long and how often a thing was seen."""
    if thing.last.picture is not None:
        return f"in {counted(thing.frames, 'photo')}"
    times = "once" if thing.sightings == 1 else f"{thing.sightings} times"
    return f"{thing.seen_s:.0f} s, {times}" if thing.seen_s >= 1 else times
