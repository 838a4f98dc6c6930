"""Which sources a path stands for when it holds several: the topics of a log, the episodes of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from ..address import Address, check_clock, split
from ..errors import MediaError, UsageError
from .discover import Found
from .lerobot import Dataset, episode_part, is_dataset
from .logs import is_log, open_log
from .logs.base import Topic

_FEW = 20


def parts(path: str, topics: Sequence[str] = (), clock: str = "log") -> list[str]:
    """Addresses of the sources in `path`: itself for a video, one per topic with pictures for a log, one per episode
    and camera for a dataset.

    topics: names of topics or cameras, or patterns such as '/cam/*'. Without any there must be only one. clock: log or
    header, whose times count.

    Raises:
        UsageError: no such clock, several topics and none named, none of that name, or topics asked of a video.
        MediaError: the log cannot be read, or has no pictures.
    """
    check_clock(clock)
    address = split(path)
    if is_log(address.path):
        if address.part:
            if topics:
                raise UsageError(f"the topic stands in the name already; leave `topics` out: {path}")
            return [str(address)]
        return [str(Address(address.path, name, clock)) for name in _topics(address.path, topics)]
    if is_dataset(address.path):
        if clock != "log":
            raise UsageError(f"`clock` is for logs; a dataset has one clock: {path}")
        if address.part and topics:
            raise UsageError(f"the camera stands in the name already; leave `topics` out: {path}")
        return [path] if address.part else _episodes(address.path, topics)
    if topics:
        raise UsageError(f"`topics` is for logs and datasets; leave it out: {path}")
    return [path]


def check_topics(found: Sequence[Found], topics: Sequence[str], pose: str | None) -> None:
    """Raises UsageError for topics, or a topic of poses, where there are photos alone."""
    if (topics or pose is not None) and not any(isinstance(one, str) for one in found):
        raise UsageError("photos have no topics and no poses; leave `topics` and `pose` out")


def _episodes(path: str, wanted: Sequence[str]) -> list[str]:
    dataset = Dataset(path)
    cameras = choose(dataset.cameras, wanted, ", ".join(dataset.cameras), path)
    return [str(Address(path, episode_part(n, camera))) for n in dataset.episodes for camera in cameras]


def _topics(path: str, wanted: Sequence[str]) -> list[str]:
    reader = open_log(path)
    try:
        topics = reader.topics()
    finally:
        reader.close()
    there = [topic for topic in topics if topic.pictures]
    if not there:
        others = ", ".join(f"{t.name} ({t.schema}, {t.encoding})" for t in topics[:_FEW]) or "none at all"
        raise MediaError(f"no topic of the log has pictures that are known here; there are {others}: {path}")
    return choose([topic.name for topic in there], wanted, ", ".join(map(_told, there[:_FEW])), path)


def _told(topic: Topic) -> str:
    count = "" if topic.messages is None else f", {topic.messages} messages"
    return f"{topic.name} ({topic.schema}{count})"


def choose(names: Sequence[str], wanted: Sequence[str], told: str, path: str) -> list[str]:
    """Those of `names` that `wanted` means, or the only one. told: the choice, for people. Raises UsageError."""
    if not wanted:
        if len(names) == 1:
            return list(names)
        raise UsageError(
            f"there are {len(names)} to choose from; name them as `topics`, or '*' for all: {told}: {path}"
        )
    chosen: dict[str, None] = {}
    for pattern in wanted:
        found = [name for name in names if name == pattern] or [n for n in names if fnmatchcase(n, pattern)]
        if not found:
            raise UsageError(f"nothing with pictures is called {pattern!r}; there are {told}: {path}")
        chosen.update(dict.fromkeys(found))
    return list(chosen)
