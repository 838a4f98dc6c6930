"""What every log reader gives: topics, and messages in time order. Nothing here imports a robotics library."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ...errors import MediaError
from ..base import Damage, Reader


class Kind(Enum):
    """What a message is to us."""

    STILL = "compressed picture"
    RAW = "raw picture"
    VIDEO = "video"
    POSE = "pose"
    TRANSFORMS = "transforms"


PICTURES = frozenset({Kind.STILL, Kind.RAW, Kind.VIDEO})

_KINDS = {
    ("sensor_msgs", "CompressedImage"): Kind.STILL,
    ("sensor_msgs", "Image"): Kind.RAW,
    ("foxglove", "CompressedImage"): Kind.STILL,
    ("foxglove", "RawImage"): Kind.RAW,
    ("foxglove", "CompressedVideo"): Kind.VIDEO,
    ("foxglove", "PoseInFrame"): Kind.POSE,
    ("foxglove", "FrameTransform"): Kind.TRANSFORMS,
    ("foxglove", "FrameTransforms"): Kind.TRANSFORMS,
    ("geometry_msgs", "PoseStamped"): Kind.POSE,
    ("geometry_msgs", "PoseWithCovarianceStamped"): Kind.POSE,
    ("nav_msgs", "Odometry"): Kind.POSE,
    ("tf2_msgs", "TFMessage"): Kind.TRANSFORMS,
    ("tf", "tfMessage"): Kind.TRANSFORMS,
}


def kind_of(schema: str) -> Kind | None:
    """What messages of the schema are: ROS 1 writes sensor_msgs/Image, ROS 2 sensor_msgs/msg/Image, Foxglove
    foxglove.RawImage or, in ROS, foxglove_msgs/msg/RawImage."""
    words = re.split(r"[/.]", schema)
    if len(words) < 2:
        return None
    return _KINDS.get((words[0].removesuffix("_msgs") if words[0] == "foxglove_msgs" else words[0], words[-1]))


@dataclass(frozen=True, slots=True)
class Topic:
    """schema, encoding: as the log names them; several, joined by " and ", where publishers disagree. kinds: of its
    messages. messages: how many, None when the log does not say."""

    name: str
    schema: str
    encoding: str
    kinds: frozenset[Kind]
    messages: int | None = None

    @property
    def pictures(self) -> bool:
        """Whether there are pictures in it that we may be able to read."""
        return bool(self.kinds & PICTURES)


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """kind: None for schemas that mean nothing to us. log_ns: when it was recorded, ns since the epoch. sequence: as
    the log numbers it, None where it does not. size: bytes. decode: its fields as attributes; may raise anything."""

    topic: str
    schema: str
    kind: Kind | None
    log_ns: int
    sequence: int | None
    size: int
    decode: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Gap:
    """Stands among messages for some that are lost: what builds on earlier ones cannot go on."""


class LogReader(Reader):
    """A log, opened once; each call of `messages` reads the file anew.

    start_ns, end_ns: log time of the first and of the last message of any topic, in ns since the epoch. wall: False if
    the log's clock counts from a start of its own instead.
    """

    start_ns: int
    end_ns: int
    wall: bool = True

    @abstractmethod
    def topics(self) -> list[Topic]:
        """All topics, by name."""

    @abstractmethod
    def messages(self, topics: Collection[str], start_ns: int, met: Damage) -> Iterator[Message | Gap]:
        """Yield the messages of these topics with log_ns >= start_ns, by log time; count damage in `met`.

        Raises:
            MediaError: the log cannot be read any more.
        """


def lacking(module: str, path: str) -> MediaError:
    """The error for a library of the extra `robotics` that is not there."""
    return MediaError(f"{module} is not installed; run pip install 'vidmem[robotics]': {path}")


def seconds_nanoseconds(stamp: Any) -> int | None:
    """ns of a time as ROS 1 (secs, nsecs), ROS 2 (sec, nanosec), protobuf (seconds, nanos) or JSON (sec, nsec) write
    it; None when it is none of them."""
    for seconds, rest in (("sec", "nanosec"), ("seconds", "nanos"), ("sec", "nsec"), ("secs", "nsecs")):
        if hasattr(stamp, seconds) and hasattr(stamp, rest):
            return int(getattr(stamp, seconds)) * 1_000_000_000 + int(getattr(stamp, rest))
    return None


def stamp_ns(value: Any) -> int | None:
    """The sender's stamp in a message: `header.stamp` in ROS, `timestamp` in Foxglove; None when it has none."""
    header = getattr(value, "header", None)
    stamp = getattr(header, "stamp", None) if header is not None else getattr(value, "timestamp", None)
    if isinstance(stamp, str):  # protobuf's JSON form
        return _iso_ns(stamp)
    return None if stamp is None else seconds_nanoseconds(stamp)


def _iso_ns(text: str) -> int | None:
    from datetime import datetime

    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", text)
    if match is None:
        return None
    whole = int(datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00")).timestamp())
    return whole * 1_000_000_000 + int((match[2] or "0").ljust(9, "0"))
