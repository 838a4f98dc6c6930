"""Rerun recordings (.rrd): entities with pictures as topics, in bounded memory, through the SDK's reader of chunks.

Read are EncodedImage, Image and VideoStream. What is logged once for all rows (an image's format, a video's codec)
holds for the rows after it.
"""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Callable, Collection, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

from ...errors import MediaError
from ..base import Damage
from .base import Gap, Kind, LogReader, Message, Topic, lacking

MAX_WAITING = 64 << 20
"""Bytes of messages that wait for an earlier one, where chunks of an entity do not follow one another in time."""

_KINDS = {"EncodedImage": Kind.STILL, "Image": Kind.RAW, "VideoStream": Kind.VIDEO}
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
"""Rerun's pixel formats -> the encoding as ROS calls it, bytes per pixel of a row."""
_MODELS = {1: ("mono", 1), 2: ("rgb", 3), 3: ("rgba", 4), 4: ("bgr", 3), 5: ("bgra", 4)}
_BITS = {6: 8, 8: 16}
_LOG_TIME = "log_time"


class RrdReader(LogReader):
    """One recording; implements `LogReader`. Topics are entities, /cam/front.

    Times are those of a timeline of timestamps that the recording was made with, or else of durations (`wall` is false
    then), or else the time of logging. The numbers of a timeline that counts, if there is one, number the messages.

    Raises:
        MediaError: rerun-sdk is not installed, it is no such file, or holds several recordings or none, or no times.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            from rerun.chunk import RrdReader as Reader
        except ImportError as error:
            if error.name == "rerun.chunk":
                raise MediaError(
                    f"this rerun-sdk cannot read recordings; run pip install -U rerun-sdk: {path}"
                ) from None
            raise lacking(error.name or "rerun-sdk", path) from None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of files without an index: they are read from front to back anyway
                self._reader: Any = Reader(path)
                recordings = self._reader.recordings()
        except Exception as error:  # the SDK passes on what its parser raises
            raise self._unreadable(_told(error)) from None
        if len(recordings) != 1:
            raise MediaError(f"there are {len(recordings)} recordings in it; save one to a file: {path}")
        self._look()

    def _look(self) -> None:
        """One pass over all chunks: what there is, and when. Where it breaks off is counted by the passes after it."""
        counts: dict[tuple[str, str], int] = {}
        timelines: dict[str, tuple[int, int, int]] = {}  # name -> rank, first, last
        self._number: str | None = None
        self._facts: dict[tuple[str, str], Any] = {}  # of static chunks, which may stand behind those they are for
        cause = ""
        try:
            for chunk in self._reader.stream():
                if not (kinds := _archetypes(chunk)):
                    continue
                if chunk.is_static:
                    list(self._in_chunk(chunk, self._facts))
                    continue
                batch = chunk.to_record_batch()
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
            cause = _told(error)
        self._topics = [
            Topic(entity, f"rerun.{kind}", "rrd", frozenset({_KINDS[kind]}), count)
            for (entity, kind), count in sorted(counts.items())
        ]
        if not timelines and cause:
            raise self._unreadable(cause)
        if not timelines:
            raise MediaError(
                f"no pictures with times are in the recording (EncodedImage, Image and VideoStream are "
                f"read; AssetVideo is not, index the video itself): {self.path}"
            )
        self._timeline = min(timelines, key=lambda name: (timelines[name][0], name))
        rank, self.start_ns, self.end_ns = timelines[self._timeline]
        self.wall = rank != 1

    def _unreadable(self, cause: str) -> MediaError:
        return MediaError(
            f"the recording cannot be read ({cause}); `rerun rrd filter -o OTHER.rrd` saves what comes "
            f"before the damage: {self.path}"
        )

    def topics(self) -> list[Topic]:
        """See `LogReader.topics`. Only entities with pictures."""
        return self._topics

    def messages(self, topics: Collection[str], start_ns: int, met: Damage) -> Iterator[Message | Gap]:
        """See `LogReader.messages`. Up to MAX_WAITING bytes and a few chunks are in memory."""
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
            except Exception as error:  # see above
                met.packets += 1
                met.note(f"the recording cannot be read on ({_told(error)})")
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
        """Rows with pictures. facts: by entity and archetype, what the rows before said of those after them."""
        kinds = _archetypes(chunk)
        if not kinds:
            return
        batch = chunk.to_record_batch()
        names = set(batch.schema.names)
        times = [] if chunk.is_static else _timeline(batch, self._timeline)[1]
        numbers = _timeline(batch, self._number)[1] if self._number in names else None
        for kind in kinds:
            data, fact = (
                batch.column(n) if (n := f"{kind}:{part[kind]}") in names else None for part in (_DATA, _FACT)
            )
            key = (chunk.entity_path, kind)
            for row in range(batch.num_rows):
                if fact is not None and (said := fact[row].as_py()):
                    facts[key] = said[0]
                if data is None or row >= len(times) or (content := _bytes(data[row])) is None:
                    continue
                decode: Callable[[], Any] = partial(_DECODERS[kind], content, facts.get(key))
                sequence = numbers[row] if numbers else None
                yield Message(
                    chunk.entity_path, f"rerun.{kind}", _KINDS[kind], times[row], sequence, len(content), decode
                )


def _told(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _archetypes(chunk: Any) -> list[str]:
    names = chunk.to_record_batch().schema.names
    return [kind for kind in _KINDS if any(name.startswith(f"{kind}:") for name in names)]


def _timeline(batch: Any, name: str | None) -> tuple[int | None, list[int]]:
    """The rank of a timeline as a clock (None: it counts and tells no time), and its values, ns or numbers."""
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
    """A list of one list of uint8, without a Python number for each."""
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
    """Rows are never padded there."""
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
