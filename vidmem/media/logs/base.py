"""The base class of log readers: topics, and messages in time order. Nothing here imports a robotics library."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from ...errors import MediaError
from ...limits import open_regular
from ...timecode import LONGEST_NS, NS
from ..base import Damage, Reader


class MessageKind(Enum):
    """What a message holds."""

    STILL = "compressed picture"
    RAW = "raw picture"
    VIDEO = "video"
    POSE = "pose"
    TRANSFORMS = "transforms"

    @property
    def is_picture(self) -> bool:
        """True for still, raw and video pictures."""
        return self in (MessageKind.STILL, MessageKind.RAW, MessageKind.VIDEO)


_KINDS = {
    ("sensor_msgs", "CompressedImage"): MessageKind.STILL,
    ("sensor_msgs", "Image"): MessageKind.RAW,
    ("foxglove", "CompressedImage"): MessageKind.STILL,
    ("foxglove", "RawImage"): MessageKind.RAW,
    ("foxglove", "CompressedVideo"): MessageKind.VIDEO,
    ("foxglove", "PoseInFrame"): MessageKind.POSE,
    ("foxglove", "FrameTransform"): MessageKind.TRANSFORMS,
    ("foxglove", "FrameTransforms"): MessageKind.TRANSFORMS,
    ("geometry_msgs", "PoseStamped"): MessageKind.POSE,
    ("geometry_msgs", "PoseWithCovarianceStamped"): MessageKind.POSE,
    ("nav_msgs", "Odometry"): MessageKind.POSE,
    ("tf2_msgs", "TFMessage"): MessageKind.TRANSFORMS,
    ("tf", "tfMessage"): MessageKind.TRANSFORMS,
}


def kind_of(schema: str) -> MessageKind | None:
    """What messages of a schema hold; None for other schemas.

    ROS 1 writes sensor_msgs/Image, ROS 2 sensor_msgs/msg/Image, Foxglove foxglove.RawImage or, in ROS,
    foxglove_msgs/msg/RawImage.
    """
    words = re.split(r"[/.]", schema)
    if len(words) < 2:
        return None
    return _KINDS.get((words[0].removesuffix("_msgs") if words[0] == "foxglove_msgs" else words[0], words[-1]))


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of a log.

    schema, encoding: the log's names; joined by " and " if publishers differ. kinds: of its messages. messages: how
    many, None if the log does not say.
    """

    name: str
    schema: str
    encoding: str
    kinds: frozenset[MessageKind]
    messages: int | None = None

    @property
    def pictures(self) -> bool:
        """Return True if messages of a known schema hold pictures."""
        return any(kind.is_picture for kind in self.kinds)


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A message of a log.

    kind: None for unknown schemas. log_ns: when it was recorded, in ns since the epoch. sequence: the log's number,
    None without one. size: in bytes. decode: returns an object with its fields as attributes; may raise anything.
    """

    topic: str
    schema: str
    kind: MessageKind | None
    log_ns: int
    sequence: int | None
    size: int
    decode: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Gap:
    """In place of messages that are lost: what depends on earlier messages cannot go on."""


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
    def messages(self, topics: Collection[str], start_ns: int, damage: Damage) -> Iterator[Message | Gap]:
        """Yield the messages of these topics with log_ns >= start_ns, by log time; count damage in `damage`.

        Raises:
            MediaError: the log cannot be read any more.
        """


def is_bag_folder(path: str) -> bool:
    """Return True if the folder is a rosbag2."""
    try:
        with open_regular(os.path.join(path, "metadata.yaml")) as file:
            return b"rosbag2_bagfile_information" in file.read(1 << 16)
    except OSError:
        return False


def content_of(value: Any) -> bytes:
    """The bytes in `data` of a message. Raises TypeError if there are none: of a number, bytes() makes so many."""
    data = value.data
    if isinstance(data, int | float | str) or data is None:
        raise TypeError(f"its data are {type(data).__name__}, not bytes")
    return bytes(data)


def one_line(error: Exception) -> str:
    """The message of an error on one line, at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def missing_library(module: str, path: str) -> MediaError:
    """The error for a library of the extra `robotics` that is not installed."""
    return MediaError(f"{module} is not installed; run pip install 'vidmem[robotics]': {path}")


def seconds_nanoseconds(stamp: Any) -> int | None:
    """ns of a time as ROS 1 (secs, nsecs), ROS 2 (sec, nanosec), protobuf (seconds, nanos) or JSON (sec, nsec) write
    it; None for another object, and for a time of centuries."""
    for seconds, rest in (("sec", "nanosec"), ("seconds", "nanos"), ("sec", "nsec"), ("secs", "nsecs")):
        if hasattr(stamp, seconds) and hasattr(stamp, rest):
            whole, part = whole_number(getattr(stamp, seconds)), whole_number(getattr(stamp, rest))
            if whole is None or part is None:
                return None
            return whole_number(whole * NS + part)
    return None


def whole_number(value: Any) -> int | None:
    """A number of a message as a whole number; None if it is none, or needs more than 63 bits."""
    try:
        found = int(value)
    except (TypeError, ValueError, OverflowError):  # JSON holds anything
        return None
    return found if abs(found) <= LONGEST_NS else None


def stamp_ns(value: Any) -> int | None:
    """The sender's stamp in a message: `header.stamp` in ROS, `timestamp` in Foxglove; None without one."""
    header = getattr(value, "header", None)
    stamp = getattr(header, "stamp", None) if header is not None else getattr(value, "timestamp", None)
    if isinstance(stamp, str):  # protobuf's JSON form
        return _iso_ns(stamp)
    return None if stamp is None else seconds_nanoseconds(stamp)


def _iso_ns(text: str) -> int | None:
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", text)
    if match is None:
        return None
    try:
        whole = int(datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00")).timestamp())
    except (ValueError, OverflowError):  # February 30
        return None
    return whole * 1_000_000_000 + int((match[2] or "0").ljust(9, "0"))
