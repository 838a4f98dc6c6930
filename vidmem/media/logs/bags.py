"""rosbag2 folders (sqlite3 and mcap) and ROS 1 bags, through `rosbags`."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import MediaError
from ...limits import MAX_NS
from ..base import Damage
from .bag_packing import bound, check_bag
from .base import Gap, LogReader, Message, Topic, is_bag_folder, kind_of, missing_library, one_line

_CDR, _ROS1 = "cdr", "ros1"


class BagReader(LogReader):
    """One bag. path: a rosbag2 folder, a file in one, or a ROS 1 .bag.

    Bags without message definitions (rosbag2 before Iron) are read with those of ROS 2 Humble. The formats have no
    checksums: if a file can no longer be read, the pass ends there and counts as damaged.

    Raises:
        MediaError: rosbags is not installed, or it is not a bag, or it has no index.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._place = _place(path)
        with self._opened() as bag:
            try:
                self.start_ns, self.end_ns = int(bag.start_time), max(int(bag.start_time), int(bag.end_time) - 1)
            except (TypeError, ValueError, OverflowError) as error:  # YAML holds anything
                raise MediaError(
                    f"the bag's times are damaged ({one_line(error)}); repair it with `{_remedy(self._place)}`: {path}"
                ) from None
            self._encoding = _CDR if bag.is2 else _ROS1
            self._topics = [
                Topic(
                    name,
                    " and ".join(types),
                    self._encoding,
                    frozenset(k for t in types if (k := kind_of(t))),
                    int(info.msgcount),
                )
                for name, info in sorted(bag.topics.items())
                if (types := list(dict.fromkeys(c.msgtype for c in info.connections)))
            ]
            if not bag.message_count:
                raise MediaError(f"the bag has no messages: {path}")
            if not 0 <= self.start_ns <= self.end_ns < MAX_NS:
                raise MediaError(f"the bag has impossible times; reindex it with `{_remedy(self._place)}`: {path}")

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """Open an AnyReader for one pass: passes may run in several threads."""
        try:
            from rosbags.highlevel import AnyReader
            from rosbags.typesys import Stores, get_typestore
        except ImportError as error:
            raise missing_library(error.name or "rosbags", self.path) from None
        check_bag(self._place)
        try:
            bag = AnyReader([self._place], default_typestore=get_typestore(Stores.ROS2_HUMBLE))
            bag.open()
            bound(bag)
        except Exception as error:  # the library raises what YAML, SQLite and its own parsers do
            raise MediaError(
                f"the bag cannot be opened ({one_line(error)}); repair it with `{_remedy(self._place)}`: {self.path}"
            ) from None
        try:
            yield bag
        finally:
            bag.close()

    def topics(self) -> list[Topic]:
        """See `LogReader.topics`."""
        return self._topics

    def messages(self, topics: Collection[str], start_ns: int, damage: Damage) -> Iterator[Message | Gap]:
        """See `LogReader.messages`. The library reads one message, or one chunk of a ROS 1 bag, at a time."""
        self.check_open()
        with self._opened() as bag:
            connections = [c for c in bag.connections if c.topic in topics]
            if not connections:
                return
            found = iter(bag.messages(connections, start=start_ns))
            while True:
                try:
                    connection, log_ns, data = next(found)
                except StopIteration:
                    return
                except Exception as error:  # as in _opened
                    damage.packets += 1
                    damage.note(f"the bag cannot be read any further ({one_line(error)})")
                    return
                self.check_open()
                kind = connection.msgtype
                types = bag.typestore  # kept: messages may be decoded after the bag is closed
                read = types.deserialize_cdr if bag.is2 else types.deserialize_ros1
                decode: Callable[[], Any] = partial(read, data, kind)
                yield Message(connection.topic, kind, kind_of(kind), int(log_ns), None, len(data), decode)


def _place(path: str) -> Path:
    if path.lower().endswith(".bag") or is_bag_folder(path):
        return Path(path)
    folder = os.path.dirname(path)
    if is_bag_folder(folder):
        return Path(folder)
    raise MediaError(
        f"a rosbag2 is a folder with a metadata.yaml, which is missing; make it with `ros2 bag reindex`: {path}"
    )


def _remedy(place: Path) -> str:
    return "rosbag reindex" if place.suffix == ".bag" else "ros2 bag reindex"
