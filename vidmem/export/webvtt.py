"""Sightings in one video as WebVTT (https://www.w3.org/TR/webvtt1), a cue each. Players show chapters or subtitles."""

from __future__ import annotations

from collections.abc import Sequence

from ..address import printable
from ..records import Sighting
from ..render.captions import confidence_text, date_text
from ..timecode import NS

MIN_NS = NS // 1000
"""The resolution of WebVTT, in ns. A cue must end after it begins; shorter sightings are shown for a second."""


def chapters(sightings: Sequence[Sighting], title: str) -> str:
    """The text of a WebVTT file, the earliest sighting first. title: what was searched for."""
    cues = []
    for number, sighting in enumerate(sorted(sightings, key=lambda s: (s.start_ns, s.end_ns)), 1):
        end = sighting.end_ns if sighting.end_ns - sighting.start_ns >= MIN_NS else sighting.start_ns + NS
        text = ", ".join(
            part for part in (_escaped(title) or "seen", confidence_text(sighting), date_text(sighting)) if part
        )
        cues.append(f"{number}\n{stamp(sighting.start_ns)} --> {stamp(end)}\n{text}\n")
    return "WEBVTT\n\n" + "\n".join(cues)


def stamp(t_ns: int) -> str:
    """hh:mm:ss.mmm, with at least two digits of hours."""
    ms = max(t_ns, 0) // 1_000_000
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def _escaped(text: str) -> str:
    """Text on one line that players do not read as markup, a comment or times."""
    return printable(text[:200]).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
