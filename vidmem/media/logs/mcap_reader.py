"""MCAP files: messages by log time in bounded memory; damaged chunks are skipped and counted."""

from __future__ import annotations

import heapq
import json
from base64 import b64decode
from collections.abc import Callable, Collection, Iterator
from functools import partial
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

from ...errors import MediaError
from ...limits import open_regular
from ..base import Damage
from .base import Gap, LogReader, Message, Topic, kind_of, missing_library
from .mcap_table import MESSAGE, MESSAGE_HEAD, BlockError, read_table, records, unpack

if TYPE_CHECKING:
    from mcap.records import Channel

MAX_WAITING = 256 << 20
"""Maximum size in bytes of the messages that wait while chunks overlap in time; beyond it the oldest is yielded."""

_OWN_BYTES = 800
"""Bytes that a message takes beside its content: a chunk may hold millions of empty ones."""
_MAX_TIME = 1 << 62  # ns since the epoch, in the year 2116: a later time is damage


class McapReader(LogReader):
    """One MCAP file.

    fault: why the file is incomplete, else None; every pass over the messages counts it once.

    Raises:
        MediaError: mcap is not installed, it is not an MCAP file, or it has no messages.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._table = read_table(path)
        self.fault = self._table.fault
        blocks = [b for b in self._table.blocks if b.end_ns and b.end_ns < _MAX_TIME]  # an empty chunk has no times
        if not blocks or not self._table.channels:
            cause = self.fault or "nothing was recorded"
            raise MediaError(f"the log has no message that can be read ({cause.split(';')[0]}): {path}")
        self.start_ns = min(block.start_ns for block in blocks)
        self.end_ns = max(block.end_ns for block in blocks)
        self._blocks = blocks
        self._decoders: dict[int, Callable[[bytes], Any]] = {}

    def topics(self) -> list[Topic]:
        """See `LogReader.topics`."""
        by_name: dict[str, list[Channel]] = {}
        for channel in self._table.channels.values():
            by_name.setdefault(channel.topic, []).append(channel)
        return [self._topic(name, by_name[name]) for name in sorted(by_name)]

    def _topic(self, name: str, channels: list[Channel]) -> Topic:
        schemas = dict.fromkeys(self._schema(channel) for channel in channels)
        kinds = frozenset(kind for schema in schemas if (kind := kind_of(schema)))
        counts = self._table.counts
        messages = sum(counts.get(channel.id, 0) for channel in channels) if counts else None
        encodings = dict.fromkeys(channel.message_encoding for channel in channels)
        return Topic(name, " and ".join(schemas) or "no schema", " and ".join(encodings), kinds, messages)

    def _schema(self, channel: Channel) -> str:
        schema = self._table.schemas.get(channel.schema_id)
        return schema.name if schema is not None else ""

    def messages(self, topics: Collection[str], start_ns: int, damage: Damage) -> Iterator[Message | Gap]:
        """See `LogReader.messages`. Memory: at most MAX_WAITING bytes and a few chunks."""
        self.check_open()
        wanted = {c.id: c for c in self._table.channels.values() if c.topic in topics}
        waiting: list[tuple[int, int, Message | Gap]] = []
        held = number = 0
        try:
            with open_regular(self.path) as file:
                for block in self._blocks:
                    if block.end_ns < start_ns or not self._concerns(block.channels, wanted):
                        continue
                    while waiting and (waiting[0][0] < block.start_ns or held > MAX_WAITING):
                        _, _, item = heapq.heappop(waiting)
                        held -= item.size + _OWN_BYTES if isinstance(item, Message) else 0
                        self.check_open()
                        yield item
                    try:
                        data = unpack(file, block)
                    except BlockError as error:
                        damage.packets += 1
                        damage.note(str(error))
                        heapq.heappush(waiting, (block.start_ns, number, Gap()))
                        number += 1
                        continue
                    for message in self._in_block(data, wanted, start_ns):
                        heapq.heappush(waiting, (message.log_ns, number, message))
                        held, number = held + message.size + _OWN_BYTES, number + 1
                        while held > MAX_WAITING:
                            _, _, item = heapq.heappop(waiting)
                            held -= item.size + _OWN_BYTES if isinstance(item, Message) else 0
                            self.check_open()
                            yield item
        except OSError as error:
            raise MediaError(f"the log can no longer be read ({error.strerror}); check the disk: {self.path}") from None
        while waiting:
            self.check_open()
            yield heapq.heappop(waiting)[2]
        if self.fault is not None:  # at the end, so that a pass that was interrupted and resumed counts it once
            damage.packets += 1
            damage.note(self.fault)

    @staticmethod
    def _concerns(channels: frozenset[int] | None, wanted: dict[int, Channel]) -> bool:
        return channels is None or not channels.isdisjoint(wanted)

    def _in_block(self, data: bytes, wanted: dict[int, Channel], start_ns: int) -> Iterator[Message]:
        for opcode, body in records(data):
            if opcode != MESSAGE or len(body) < MESSAGE_HEAD.size:
                continue
            number, sequence, log_ns, _ = MESSAGE_HEAD.unpack_from(body)
            channel = wanted.get(number)
            if channel is None or not start_ns <= log_ns < _MAX_TIME:
                continue
            content = bytes(body[MESSAGE_HEAD.size :])
            schema = self._schema(channel)
            decode = partial(self._decode, channel, content)
            yield Message(channel.topic, schema, kind_of(schema), log_ns, sequence, len(content), decode)

    def _decode(self, channel: Channel, content: bytes) -> Any:
        decoder = self._decoders.get(channel.id)
        if decoder is None:
            decoder = self._decoders[channel.id] = self._decoder(channel)
        return decoder(content)

    def _decoder(self, channel: Channel) -> Callable[[bytes], Any]:
        """A decoder for the channel. Raises MediaError for an unknown encoding."""
        schema = self._table.schemas.get(channel.schema_id)
        if channel.message_encoding == "json":
            return from_json
        try:
            if channel.message_encoding == "cdr":
                from mcap_ros2.decoder import DecoderFactory as Ros2

                decoder = Ros2().decoder_for("cdr", schema)
            elif channel.message_encoding == "protobuf":
                from mcap_protobuf.decoder import DecoderFactory as Protobuf

                decoder = Protobuf().decoder_for("protobuf", schema)
            else:
                decoder = None
        except ImportError as error:
            raise missing_library(error.name or "a decoder", self.path) from None
        if decoder is None:
            schema_note = f" with a schema in {schema.encoding}" if schema is not None else " without a schema"
            raise MediaError(
                f"messages in {channel.message_encoding or 'no encoding'}{schema_note} cannot be read; "
                f"cdr with ros2msg, protobuf and json can: {self.path}"
            )
        return decoder

    def open_file(self) -> IO[bytes]:
        """Open the file itself."""
        return open(self.path, "rb")


def from_json(content: bytes) -> Any:
    """The fields of a JSON message as attributes; `data` is decoded from base64, as Foxglove writes bytes."""
    value = json.loads(content, object_hook=lambda fields: SimpleNamespace(**fields))
    if isinstance(getattr(value, "data", None), str):
        value.data = b64decode(value.data, validate=True)
    return value
