"""Rerun recordings (.rrd): entities with pictures as topics, in bounded memory, through the SDK's chunk reader.

EncodedImage, Image and VideoStream are read. What is logged once (an image's format, a video's codec) applies to the
rows after it.
"""

from __future__ import annotations

import heapq
import struct
import warnings
from collections.abc import Callable, Collection, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

from ...errors import MediaError
from ...limits import MAX_NS, check_bytes, check_regular, over_budget
from ..base import Damage
from .base import Gap, LogReader, Message, MessageKind, Topic, missing_library, one_line

MAX_WAITING = 64 << 20
"""Maximum size in bytes of the messages that wait for an earlier one, if chunks of an entity overlap in time."""

_KINDS = {"EncodedImage": MessageKind.STILL, "Image": MessageKind.RAW, "VideoStream": MessageKind.VIDEO}
_DATA = {"EncodedImage": "blob", "Image": "buffer", "VideoStream": "sample"}
_FACT = {"EncodedImage": "media_type", "Image": "format", "VideoStream": "codec"}
_CODECS = {0x61766331: "h264", 0x68657631: "h265", 0x61763031: "av1", 0x76703038: "vp8", 0x76703039: "vp9"}
_PIXELS = {
    26: ("nv12", 1),
    27: ("yuyv", 2),
    128: ("bayer_rggb8", 1),
    129: ("bayer_bggr8", 1),
    130: ("bayer_gbrg8", 1),
    131: ("bayer_grbg8", 1),
}
"""Rerun's pixel format -> ROS's name of the encoding, bytes per pixel of a row."""
_MODELS = {1: ("mono", 1), 2: ("rgb", 3), 3: ("rgba", 4), 4: ("bgr", 3), 5: ("bgra", 4)}
_BITS = {6: 8, 8: 16}
_LOG_TIME = "log_time"
_FILE_HEAD = 12
"""Bytes before the first message: a mark, the version and the options."""
_END = 0
"""Kind of the last message."""
_MESSAGE_HEAD = struct.Struct("<QQ")
"""Kind and length of a message, which follows."""
_ROW_BYTES = 1000
"""Bytes that a row takes as a message, beside its content."""


class RrdReader(LogReader):
    """One recording. Topics are entities, such as /cam/front.

    Times are from the recording's own timeline of timestamps, else from one of durations (`wall` is then False), else
    the time of logging. A timeline of numbers, if there is one, gives the sequence numbers.

    Raises:
        MediaError: rerun-sdk is not installed, the file cannot be read, or it has no times, or not one
            recording.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        check_regular(path)
        _check_lengths(path)
        try:
            from rerun.chunk import RrdReader as Reader
        except ImportError as error:
            if error.name == "rerun.chunk":
                raise MediaError(
                    f"this rerun-sdk cannot read recordings; run pip install -U rerun-sdk: {path}"
                ) from None
            raise missing_library(error.name or "rerun-sdk", path) from None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore"
                )  # it warns about files without an index, but files are read in order anyway
                self._reader: Any = Reader(path)
                recordings = self._reader.recordings()
        except Exception as error:  # the SDK raises what its parser does
            raise self._unreadable(one_line(error)) from None
        if len(recordings) != 1:
            raise MediaError(f"the file has {len(recordings)} recordings; save one to a file: {path}")
        self._scan()

    def _scan(self) -> None:
        """Read all chunks once for topics and times. A break is not counted here; later passes count it."""
        counts: dict[tuple[str, str], int] = {}
        timelines: dict[str, tuple[int, int, int]] = {}  # name -> rank, first, last
        self._number: str | None = None
        self._facts: dict[
            tuple[str, str], Any
        ] = {}  # of static chunks, which may come after the rows that they apply to
        cause = ""
        try:
            for chunk in self._reader.stream():
                if not (kinds := _archetypes(chunk)):
                    continue
                if chunk.is_static:
                    list(self._in_chunk(chunk, self._facts))
                    continue
                batch = _batch(chunk)
                for kind in kinds:
                    key = (chunk.entity_path, kind)
                    counts[key] = counts.get(key, 0) + batch.num_rows
                for name in chunk.timeline_names:
                    rank, times = _timeline(batch, name)
                    if rank is None:
                        self._number = min(self._number or name, name)
                    elif times:
                        _, first, last = timelines.get(name, (rank, times[0], times[0]))
                        timelines[name] = rank, min(first, *times), max(last, *times)
        except Exception as error:
            cause = one_line(error)
        self._topics = [
            Topic(entity, f"rerun.{kind}", "rrd", frozenset({_KINDS[kind]}), count)
            for (entity, kind), count in sorted(counts.items())
        ]
        if not timelines and cause:
            raise self._unreadable(cause)
        if not timelines:
            raise MediaError(
                f"the recording has no pictures with times (EncodedImage, Image and VideoStream are read; "
                f"AssetVideo is not, index the video itself): {self.path}"
            )
        self._timeline = min(timelines, key=lambda name: (timelines[name][0], name))
        rank, self.start_ns, self.end_ns = timelines[self._timeline]
        if max(abs(self.start_ns), abs(self.end_ns)) >= MAX_NS // 2:
            raise MediaError(f"the recording has impossible times in {self._timeline}: {self.path}")
        self.wall = rank != 1

    def _unreadable(self, cause: str) -> MediaError:
        return MediaError(
            f"the recording cannot be read ({cause}); `rerun rrd filter -o OTHER.rrd` saves what comes before the "
            f"damage: {self.path}"
        )

    def topics(self) -> list[Topic]:
        """See `LogReader.topics`. Only entities with pictures are listed."""
        return self._topics

    def messages(self, topics: Collection[str], start_ns: int, damage: Damage) -> Iterator[Message | Gap]:
        """See `LogReader.messages`. Memory: at most MAX_WAITING bytes and a few chunks."""
        self.check_open()
        waiting: list[tuple[int, int, Message]] = []
        held = number = 0
        facts = dict(self._facts)
        chunks = iter(self._reader.stream().filter(content=list(topics)))
        while True:
            try:
                if (chunk := next(chunks, None)) is None:
                    break
                found = list(self._in_chunk(chunk, facts))
            except Exception as error:  # the SDK raises what its parser does
                damage.packets += 1
                damage.note(f"the recording cannot be read any further ({one_line(error)})")
                break
            for message in found:
                if message.log_ns >= start_ns:
                    heapq.heappush(waiting, (message.log_ns, number, message))
                    held, number = held + message.size, number + 1
            while held > MAX_WAITING:
                self.check_open()
                message = heapq.heappop(waiting)[2]
                held -= message.size
                yield message
        while waiting:
            self.check_open()
            yield heapq.heappop(waiting)[2]

    def _in_chunk(self, chunk: Any, facts: dict[tuple[str, str], Any]) -> Iterator[Message]:
        """Yield the rows with pictures. facts: by entity and archetype, the format or codec that applies; updated."""
        kinds = _archetypes(chunk)
        if not kinds:
            return
        batch = _batch(chunk)
        names = set(batch.schema.names)
        times = [] if chunk.is_static else _timeline(batch, self._timeline)[1]
        numbers = _timeline(batch, self._number)[1] if self._number in names else None
        for kind in kinds:
            data, fact = (
                batch.column(n) if (n := f"{kind}:{part[kind]}") in names else None for part in (_DATA, _FACT)
            )
            key = (chunk.entity_path, kind)
            for row in range(batch.num_rows):
                if fact is not None and (value := fact[row].as_py()):
                    facts[key] = value[0]
                if data is None or row >= len(times) or (content := _bytes(data[row])) is None:
                    continue
                decode: Callable[[], Any] = partial(_DECODERS[kind], content, facts.get(key))
                sequence = numbers[row] if numbers else None
                yield Message(
                    chunk.entity_path, f"rerun.{kind}", _KINDS[kind], times[row], sequence, len(content), decode
                )


def _check_lengths(path: str) -> None:
    """Check the length that each message claims: the SDK takes as much memory before it reads, or ends the process.

    Raises MediaError for a message that is larger than the memory budget, and if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            place = _FILE_HEAD if file.read(4) == b"RRF2" else size
            while place + _MESSAGE_HEAD.size <= size:
                file.seek(place)
                kind, length = _MESSAGE_HEAD.unpack(file.read(_MESSAGE_HEAD.size))
                check_bytes(length, f"the message at byte {place} of the recording", path)
                place += _MESSAGE_HEAD.size + length
                if kind == _END:
                    break
            file.seek(place)
            foot = file.read(_MESSAGE_HEAD.size)  # where the index is, and its length
            if len(foot) == _MESSAGE_HEAD.size and sum(_MESSAGE_HEAD.unpack(foot)) > size:
                raise MediaError(
                    f"the index at the end of the recording is damaged; `rerun rrd filter -o OTHER.rrd` writes it "
                    f"anew: {path}"
                )
    except OSError as error:
        raise MediaError(f"the recording cannot be read ({error.strerror}); check the disk: {path}") from None


def _archetypes(chunk: Any) -> list[str]:
    names = chunk.to_record_batch().schema.names
    return [kind for kind in _KINDS if any(name.startswith(f"{kind}:") for name in names)]


def _batch(chunk: Any) -> Any:
    """The rows of a chunk. Raises ValueError if they would take more than the memory budget as messages."""
    batch = chunk.to_record_batch()
    if (cause := over_budget(batch.num_rows * _ROW_BYTES, f"a chunk of {batch.num_rows:,} rows")) is not None:
        raise ValueError(cause)
    return batch


def _timeline(batch: Any, name: str | None) -> tuple[int | None, list[int]]:
    """The rank of a timeline as a clock, None for one of numbers, and its values, in ns or numbers."""
    import pyarrow

    if name is None or name not in batch.schema.names:
        return None, []
    column = batch.column(name)
    if pyarrow.types.is_timestamp(column.type):
        return (2 if name == _LOG_TIME else 0), column.cast(pyarrow.int64()).to_pylist()
    if pyarrow.types.is_duration(column.type):
        return 1, column.cast(pyarrow.int64()).to_pylist()
    return None, column.to_pylist()


def _bytes(cell: Any) -> bytes | None:
    """The bytes of a list of one list of uint8, without making a Python number of each."""
    outer = cell.values
    if outer is None or not len(outer):
        return None
    inner = outer[0].values
    return None if inner is None else bytes(inner.to_numpy(zero_copy_only=True))


def _encoded(content: bytes, fact: Any) -> Any:
    return SimpleNamespace(data=content, format=str(fact or ""))


def _video(content: bytes, fact: Any) -> Any:
    return SimpleNamespace(data=content, format=_CODECS.get(int(fact or 0), f"codec {fact}"))


def _image(content: bytes, fact: Any) -> Any:
    """Rerun never pads rows."""
    width, height = int(fact["width"]), int(fact["height"])
    if (pixels := fact.get("pixel_format")) is not None:
        encoding, size = _PIXELS.get(pixels, (f"pixel format {pixels}", 1))
    else:
        model, channels = _MODELS.get(fact.get("color_model"), (f"color model {fact.get('color_model')}", 1))
        bits = _BITS.get(fact.get("channel_datatype"), 0)
        encoding, size = f"{model}{bits or ' of another type'}", channels * max(bits, 8) // 8
    return SimpleNamespace(
        data=content, width=width, height=height, encoding=encoding, step=width * size, is_bigendian=0
    )


_DECODERS: dict[str, Callable[[bytes, Any], Any]] = {"EncodedImage": _encoded, "Image": _image, "VideoStream": _video}
