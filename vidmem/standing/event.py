"""The event: what a standing question tells when a thing comes into view."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from ..query.documents import SightingDocument, public, sighting_document
from ..records import Sighting
from ..text_files import parse_json
from ..timecode import iso


@dataclass(frozen=True, slots=True)
class StandingEvent:
    """A thing that was asked for has come into view.

    Attributes:
        id: The same for the same sighting, whenever and however often it is told. Drop what you have seen.
        question: The name, or the file name of the picture, that was asked for.
        time: When the thing came into view, ISO 8601 with milliseconds and the local offset; None for a session whose
            clock does not count from 1970.
        time_ns: The same in ns since the epoch, as text, for JSON's numbers cannot hold it.
        source: The name of the session.
        probability: That the sighting shows what the question names, when it was told; None if the encoder is not
            calibrated.
        sighting: The sighting as `vidmem where --json` prints it.
        crop: The thing at its best so far, a JPEG in base64; None if its frame is gone, as after a restart.
    """

    id: str
    question: str
    time: str | None
    time_ns: str
    source: str
    probability: float | None
    sighting: SightingDocument
    crop: str | None = None

    def to_json(self, *, crop: bool = True) -> str:
        """One line of JSON. crop: with the picture."""
        row = public(self)
        return json.dumps(row if crop else row | {"crop": None})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        row = parse_json(text)
        kinds: dict[str, Any] = {
            "id": str,
            "question": str,
            "time": str | None,
            "time_ns": str,
            "source": str,
            "probability": float | int | None,
            "sighting": dict,
            "crop": None.__class__,
        }
        if not isinstance(row, dict) or set(row) != {f.name for f in fields(cls)}:
            raise ValueError("not an event")
        if not all(isinstance(row[name], kind) for name, kind in kinds.items()):
            raise ValueError("a value of another type in an event")
        if set(row["sighting"]) != {f.name for f in fields(SightingDocument)}:
            raise ValueError("not a sighting")
        return cls(**row | {"sighting": SightingDocument(**row["sighting"])})


def event_of(question: str, sighting: Sighting, start_ns: int | None, event_id: str) -> StandingEvent:
    """The event of a sighting, without its picture.

    Args:
        question: What was asked for.
        sighting: What was found.
        start_ns: The zero of the source's clock in ns since the epoch.
        event_id: See `id_of`.
    """
    time_ns = sighting.start_ns + (start_ns or 0)
    probability = None if sighting.probability is None else round(sighting.probability, 6)
    document = sighting_document(sighting)
    return StandingEvent(event_id, question, iso(time_ns), str(time_ns), sighting.source, probability, document)


def id_of(memory: str, key: str, tracks: Sequence[int]) -> str:
    """The id of an event. Ids of tracks are never used again, so no other sighting of a memory has it.

    Args:
        memory: The id of the memory.
        key: The key of the question.
        tracks: The tracks of the sighting when it was told first.
    """
    return hashlib.sha256(f"{memory}\n{key}\n{min(tracks)}".encode()).hexdigest()[:32]
