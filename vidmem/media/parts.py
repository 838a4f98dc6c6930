"""The sources in a file or folder that holds several: the topics of a log, the episodes of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from ..address import Address, check_clock
from ..errors import MediaError, UsageError
from ..picture_reading import reading
from .discover import Found, Photos
from .lerobot import episode_part, is_dataset
from .lerobot import opened as opened_dataset
from .logs import is_log, open_log
from .logs.base import Topic

_MAX_LISTED = 20
_MAX_PARTS = 500_000
"""Maximum number of sources in a dataset."""


def parts(source: Address, topics: Sequence[str] = (), clock: str = "log") -> list[Address]:
    """List the sources in a file or folder: itself for a video, one for each topic of a log that has pictures, one for
    each episode and camera of a dataset.

    Args:
        source: The file or folder, or one part of it.
        topics: Names of topics or cameras, or patterns such as '/cam/*'. Without any there must be only one.
        clock: log or header, see `CLOCKS`.

    Raises:
        UsageError: no such clock, several topics and none is named, no topic of that name, or topics of a video.
        MediaError: the log cannot be read, or has no pictures.
    """
    check_clock(clock)
    with reading(source, "the source", "check the file"):
        return _parts(source, topics, clock)


def _parts(source: Address, topics: Sequence[str], clock: str) -> list[Address]:
    if is_log(source.path):
        if source.part:
            if topics:
                raise UsageError(f"the name has a topic already; leave `topics` out: {source}")
            return [source]
        return [Address(source.path, name, clock) for name in _topics(source.path, topics)]
    if is_dataset(source.path):
        if clock != "log":
            raise UsageError(f"`clock` is for logs; a dataset has one clock: {source}")
        if source.part and topics:
            raise UsageError(f"the name has a camera already; leave `topics` out: {source}")
        return [source] if source.part else _episodes(source.path, topics)
    if topics:
        raise UsageError(f"`topics` is for logs and datasets; leave it out: {source}")
    return [source]


def check_topics(found: Sequence[Found], topics: Sequence[str], pose: str | None) -> None:
    """Raise UsageError for topics, or a topic of poses, if everything found is photos."""
    if (topics or pose is not None) and all(isinstance(item, Photos) for item in found):
        raise UsageError("photos have no topics and no poses; leave `topics` and `pose` out")


def _episodes(path: str, wanted: Sequence[str]) -> list[Address]:
    dataset = opened_dataset(path)
    cameras = _choose(dataset.cameras, wanted, ", ".join(dataset.cameras), path)
    if len(dataset.episodes) * len(cameras) > _MAX_PARTS:
        raise MediaError(f"the dataset has more than {_MAX_PARTS:,} episodes times cameras; name an episode: {path}")
    return [Address(path, episode_part(n, camera)) for n in dataset.episodes for camera in cameras]


def _topics(path: str, wanted: Sequence[str]) -> list[str]:
    with open_log(path) as reader:
        topics = reader.topics()
    readable = [topic for topic in topics if topic.pictures]
    if not readable:
        others = ", ".join(f"{t.name} ({t.schema}, {t.encoding})" for t in topics[:_MAX_LISTED]) or "none at all"
        raise MediaError(f"no topic of the log has pictures of a known schema; there are {others}: {path}")
    listing = ", ".join(map(_described, readable[:_MAX_LISTED]))
    return _choose([topic.name for topic in readable], wanted, listing, path)


def _described(topic: Topic) -> str:
    count = "" if topic.messages is None else f", {topic.messages} messages"
    return f"{topic.name} ({topic.schema}{count})"


def _choose(names: Sequence[str], wanted: Sequence[str], listing: str, path: str) -> list[str]:
    """Those of `names` that match `wanted`, or the only one. listing: the names, for people. Raises UsageError."""
    if not wanted:
        if len(names) == 1:
            return list(names)
        raise UsageError(
            f"there are {len(names)} to choose from; name them as `topics`, or '*' for all: {listing}: {path}"
        )
    chosen: dict[str, None] = {}
    for pattern in wanted:
        found = [name for name in names if name == pattern] or [n for n in names if fnmatchcase(n, pattern)]
        if not found:
            raise UsageError(f"nothing with pictures is called {pattern!r}; there are {listing}: {path}")
        chosen.update(dict.fromkeys(found))
    return list(chosen)
