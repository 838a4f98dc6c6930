"""What a question gives: an `Answer` of sightings, the `Thing`s of a timeline, and sightings as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, overload

from .. import display
from ..errors import UsageError
from ..records import LogPoint, Sighting
from ..timecode import iso

if TYPE_CHECKING:
    from PIL import Image

Row = dict[str, Any]
"""A sighting as JSON has it."""


class Album(Protocol):
    """Draws the picture of a sighting, from the memory that it came from."""

    def __call__(self, sighting: Sighting, title: str = "", *, others: Sequence[Sighting] = ()) -> Image.Image: ...


@dataclass(frozen=True, slots=True)
class Answer(Sequence[Sighting]):
    """The sightings found, newest first: a sequence.

    near_misses: the best candidates when nothing counts as found. query: the question as plain data. total: in how many
    stretches of time it was found, whatever number was asked for; things in view at the same time count once. notes:
    one line each for people, such as what was left out. likelier: an older sighting that is much more probably meant
    than the newest.
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
        """A pandas.DataFrame with a row for each sighting and the columns of `to_dicts`.

        Raises:
            UsageError: pandas is not installed.
        """
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
        """True if there is a sighting."""
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
    """One thing and its sightings, newest first. tracks: the sorted ids of all of its tracks."""

    sightings: tuple[Sighting, ...]
    tracks: tuple[int, ...]


def sighting_row(s: Sighting) -> Row:
    """A sighting as `--json` prints it.

    Nanoseconds are strings, for JSON's numbers cannot hold them. A single picture has a date, and no time in a video.
    """
    in_video = s.picture is None
    return {
        "source": s.source,
        "start_s": s.start_s if in_video else None,
        "end_s": s.end_s if in_video else None,
        "start_ns": str(s.start_ns) if in_video else None,
        "end_ns": str(s.end_ns) if in_video else None,
        "recorded": iso(s.recorded_ns),
        "recorded_by": s.recorded_by or None,
        "score": round(s.score, 6),
        "text_score": None if s.text_score is None else round(s.text_score, 6),
        "visual_score": None if s.visual_score is None else round(s.visual_score, 6),
        "probability": None if s.probability is None else round(s.probability, 6),
        "frame_s": s.frame_s if in_video else None,
        "box": [round(v, 2) for v in s.box],
        "confidence": round(s.confidence, 6),
        "tracks": list(s.tracks),
        "seen": _log_point_row(s.seen),
        "last": _log_point_row(s.last),
        "picture": s.picture,
    }


def _log_point_row(point: LogPoint | None) -> Row | None:
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
