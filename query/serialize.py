"""Sightings as plain data: one schema for Python, the command line and whoever else tells them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..records import LogPoint, Sighting
from ..timecode import iso

Row = dict[str, Any]


def sighting_row(s: Sighting) -> Row:
    """What `--json` prints of a sighting: ns as texts, for JSON's numbers do not hold them, and seconds. A single
    picture has a date, and no time in a video."""
    film = s.picture is None
    return {
        "source": s.source,
        "start_s": s.start_s if film else None,
        "end_s": s.end_s if film else None,
        "start_ns": str(s.start_ns) if film else None,
        "end_ns": str(s.end_ns) if film else None,
        "recorded": iso(s.recorded_ns),
        "recorded_by": s.recorded_by or None,
        "score": round(s.score, 6),
        "text_score": None if s.text_score is None else round(s.text_score, 6),
        "visual_score": None if s.visual_score is None else round(s.visual_score, 6),
        "probability": None if s.probability is None else round(s.probability, 6),
        "frame_s": s.frame_s if film else None,
        "box": [round(v, 2) for v in s.box],
        "confidence": round(s.confidence, 6),
        "tracks": list(s.tracks),
        "seen": _point(s.seen),
        "last": _point(s.last),
        "picture": s.picture,
    }


def _point(point: LogPoint | None) -> Row | None:
    if point is None:
        return None
    return {
        "topic": point.topic,
        "clock": point.clock,
        "time_ns": str(point.time_ns),
        "log_ns": str(point.log_ns),
        "stamp_ns": None if point.stamp_ns is None else str(point.stamp_ns),
        "sequence": point.sequence,
        "pose": None if point.pose is None else asdict(point.pose),
    }


COLUMNS = tuple(sighting_row(Sighting("", 0, 0, 0.0, None, None, 0, (0.0, 0.0, 0.0, 0.0))))
"""The names in a row, in order."""
