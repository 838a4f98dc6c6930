"""The parameters of the API, from text to what `Memory` takes. Ranges are checked by query/arguments.py, as everywhere.

A text that is no number is passed on as it is, so that the message is that of query/arguments.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ...errors import UsageError
from ...query import arguments
from ...timecode import LONGEST_NS
from .route import Parameter

MAX_TRACKS = 2000
"""The most tracks of one request."""
MAX_NEAR = 8
"""The most things that one question may be near to; each costs as much as a question of its own."""
MAX_TOP = 1000
"""The most things of one answer."""
NUMBER: Mapping[str, object] = {"type": "number"}
WHOLE: Mapping[str, object] = {"type": "integer"}
FLAG: Mapping[str, object] = {"type": "string", "enum": ["0", "1", "true", "false"]}
_WHOLE = re.compile(r"-?\d{1,25}", re.ASCII)


def number(text: str) -> float | str:
    """A number, or the text if it is none."""
    try:
        return float(text)
    except ValueError:
        return text


def share(name: str) -> Callable[[str], float | None]:
    """Reads a `threshold` or a `min_probability`."""
    return lambda text: arguments.share(name, _as_is(number(text)))


def whole(name: str, min_value: int | None = None, max_value: int = LONGEST_NS) -> Callable[[str], int]:
    """Reads a whole number in a range."""

    def read(text: str) -> int:
        found = arguments.whole(name, int(text) if _WHOLE.fullmatch(text) else text, min_value)
        if found > max_value:
            raise UsageError(f"`{name}` is a whole number up to {max_value}; got {text[:40]}")
        return found

    return read


def flag(name: str) -> Callable[[str], bool]:
    """Reads 1, true, 0 or false."""

    def read(text: str) -> bool:
        if text.lower() not in ("0", "1", "true", "false"):
            raise UsageError(f"`{name}` is 1 or 0; got {arguments.got(text)}")
        return text.lower() in ("1", "true")

    return read


def top(text: str) -> int | None:
    """A number of results; None for "all"."""
    found = None if text == "all" else arguments.top(int(text) if _WHOLE.fullmatch(text) else _as_is(text))
    if found is not None and found > MAX_TOP:
        raise UsageError(f"`top` is a whole number up to {MAX_TOP}, or all; got {text[:40]}")
    return found


def _as_is(value: Any) -> Any:
    return value


def source_id(text: str) -> int:
    """The id of a source."""
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise UsageError(f"`source` is the id of a source, a number; got {arguments.got(text)}")
    return int(text)


def tracks(text: str) -> list[int]:
    """Ids of tracks with commas between them."""
    parts = text.split(",")
    if not all(re.fullmatch(r"\d{1,18}", part, re.ASCII) for part in parts):
        raise UsageError(f"`tracks` is ids of tracks, such as 1,2,3; got {arguments.got(text)}")
    if len(parts) > MAX_TRACKS:
        raise UsageError(f"`tracks` is up to {MAX_TRACKS} ids; got {len(parts)}")
    return list(dict.fromkeys(map(int, parts)))


SOURCE = Parameter("source", "The id of the source.", source_id, WHOLE, required=True, in_path=True)
SOURCES = Parameter("source", "Only in the source with this id. Repeatable.", source_id, WHOLE, repeat=True)
AFTER = Parameter(
    "after",
    "Only after this time: 12.5s or 1:02 in the video, a date, a date with a time, or an age such as 90min or 30d.",
    lambda text: arguments.moment(text, "after"),
)
BEFORE = Parameter("before", "Only before this time.", lambda text: arguments.moment(text, "before"))
MIN_PROBABILITY = Parameter("min_probability", "Minimum probability of an answer.", share("min_probability"), NUMBER)
TRACKS = Parameter(
    "tracks", "Ids of tracks, such as 1,2,3.", tracks, {"type": "string", "pattern": r"^\d+(,\d+)*$"}, required=True
)
TIMES = (SOURCES, AFTER, BEFORE)
WORDS_AND_PICTURES = (
    Parameter("text", "What to look for, in words.", lambda text: arguments.phrase("text", text)),
    Parameter("picture", "The name of a picture that was sent to /pictures."),
    Parameter("crop", "The thing in a box of an indexed video: SOURCE_ID@TIME:X,Y,W,H in pixels."),
)
FILTERS = (
    Parameter("threshold", "Minimum score of an answer; overrides the calibrated test.", share("threshold"), NUMBER),
    MIN_PROBABILITY,
    *TIMES,
    Parameter(
        "near",
        f"Only near this other thing. Up to {MAX_NEAR} times.",
        lambda text: arguments.phrase("near", text),
        repeat=True,
        most=MAX_NEAR,
    ),
    Parameter(
        "within",
        "For `near`: maximum time between the two sightings, such as 2s.",
        lambda text: (arguments.within_ns(text), text)[1],
        default="2s",
    ),
    Parameter(
        "apart",
        "For `near`: maximum gap between the boxes, in units of the longest side of the two.",
        lambda text: arguments.apart(_as_is(number(text))),
        NUMBER,
        default=1.0,
    ),
)
