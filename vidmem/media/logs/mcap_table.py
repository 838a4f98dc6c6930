"""The table of contents of an MCAP file: from its summary or, if a crash left none, from a walk over its records.

Neither reads the messages: a 5 GB file costs at most one seek per chunk. This is our own reader, since the one of the
mcap library gives up a file with one damaged chunk.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

from ...errors import MediaError
from ...limits import budget, open_regular
from .base import missing_library

if TYPE_CHECKING:
    from mcap.records import Channel, Schema

MAGIC = b"\x89MCAP0\r\n"
MAX_BLOCK = 1 << 30
"""Maximum size in bytes of a chunk, packed or unpacked; the memory budget may set a smaller one."""
MAX_EXPANSION = 1000
"""Maximum of the bytes in all chunks, unpacked, for a byte of the file; above it, reading could take days."""

SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, DATA_END = 3, 4, 5, 6, 7, 15
_HEAD = struct.Struct("<BQ")
MESSAGE_HEAD = struct.Struct("<HIQQ")
"""channel id, sequence, log time, publish time; the data follows."""
_CHUNK_HEAD = struct.Struct("<QQQII")  # start, end, unpacked size, its CRC, length of the compression's name
_LOOSE_BYTES = 4 << 20  # messages outside of chunks are read together up to this size


@dataclass(slots=True)
class Block:
    """A chunk, or adjacent messages outside of chunks (loose).

    offset, length: of the records in the file, heads included. start_ns, end_ns: log times in it, both inclusive.
    channels: ids of the channels in it, None if unknown. cut: the file ends inside it.
    """

    offset: int
    length: int
    start_ns: int
    end_ns: int
    channels: frozenset[int] | None = None
    loose: bool = False
    cut: bool = False


@dataclass(slots=True)
class Table:
    """The table of contents.

    blocks: by start. counts: messages by channel id, empty if unknown. fault: why the file is incomplete, else None;
    `blocks` has all that can be read.
    """

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    fault: str | None = None


def read_table(path: str) -> Table:
    """Read the table of contents.

    Raises:
        MediaError: not an MCAP file, or it cannot be read.
    """
    try:
        with open_regular(path) as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise MediaError(f"not an MCAP file, its first bytes differ; check what it is: {path}")
            table = _from_summary(file, path) or _walked(file, path)
    except OSError as error:
        raise MediaError(f"the log cannot be read ({error.strerror}); check its rights and the disk: {path}") from None
    table.blocks.sort(key=lambda block: (block.start_ns, block.offset))
    return table


def _from_summary(file: IO[bytes], path: str) -> Table | None:
    """The table from the summary; None if there is no summary, or it is unreliable."""
    try:
        from mcap.reader import SeekingReader
    except ImportError:
        raise missing_library("mcap", path) from None
    try:
        file.seek(0)
        summary = SeekingReader(file).get_summary()
    except Exception:  # a damaged summary raises anything
        return None
    if summary is None or summary.statistics is None or summary.statistics.chunk_count != len(summary.chunk_indexes):
        return None
    stats = summary.statistics
    if not stats.chunk_count and stats.message_count:  # loose messages have no index
        return None
    if len(summary.channels) < stats.channel_count:
        return None
    indexes = {index.chunk_start_offset: index for index in summary.chunk_indexes}
    size = os.fstat(file.fileno()).st_size
    if sum(index.chunk_length for index in indexes.values()) > size or any(
        offset + index.chunk_length > size for offset, index in indexes.items()
    ):
        return None
    if sum(index.uncompressed_size for index in indexes.values()) > MAX_EXPANSION * size:
        raise MediaError(f"the log's chunks unpack to more than {MAX_EXPANSION} times its size: {path}")
    blocks = [
        Block(
            index.chunk_start_offset,
            index.chunk_length,
            min(index.message_start_time, index.message_end_time),
            max(index.message_start_time, index.message_end_time),
            frozenset(index.message_index_offsets) or None,
        )
        for index in indexes.values()
    ]
    return Table(dict(summary.schemas), dict(summary.channels), blocks, dict(stats.channel_message_counts))


def _walked(file: IO[bytes], path: str) -> Table:
    """The table from a walk over the records, to the end of the data or to where the file breaks off."""
    table = Table(fault="the log was not closed properly (no index at its end); it is read as far as it goes")
    size = os.fstat(file.fileno()).st_size
    offset = len(MAGIC)
    loose: Block | None = None
    unpacked = 0
    while offset + _HEAD.size <= size:
        file.seek(offset)
        opcode, length = _HEAD.unpack(file.read(_HEAD.size))
        end = offset + _HEAD.size + length
        cut = end > size
        if cut and opcode not in (CHUNK, MESSAGE):
            break
        if opcode == DATA_END:
            table.fault = None  # all messages are there; only the index is missing or damaged
            break
        if opcode == MESSAGE and length >= MESSAGE_HEAD.size and not cut:
            channel, _, log_ns, _ = MESSAGE_HEAD.unpack(file.read(MESSAGE_HEAD.size))
            loose = _joined(table, loose, offset, end, log_ns)
            table.counts[channel] = table.counts.get(channel, 0) + 1
        elif opcode == CHUNK:
            loose = None
            head = file.read(_CHUNK_HEAD.size)
            if len(head) == _CHUNK_HEAD.size:
                start_ns, end_ns, claimed, *_ = _CHUNK_HEAD.unpack(head)
                unpacked += claimed if claimed <= MAX_BLOCK else 0  # a larger one is never unpacked
                if unpacked > MAX_EXPANSION * size:
                    raise MediaError(f"the log's chunks unpack to more than {MAX_EXPANSION} times its size: {path}")
                first, last = min(start_ns, end_ns), max(start_ns, end_ns)
                table.blocks.append(Block(offset, min(end, size) - offset, first, last, cut=cut))
        elif opcode in (SCHEMA, CHANNEL) and length <= MAX_BLOCK:
            learn(table, opcode, file.read(length))
        elif opcode == MESSAGE_INDEX and table.blocks and length >= 2:
            (channel,) = struct.unpack("<H", file.read(2))
            table.blocks[-1].channels = (table.blocks[-1].channels or frozenset()) | {channel}
        if opcode not in (MESSAGE, MESSAGE_INDEX, SCHEMA, CHANNEL):
            loose = None
        if cut:
            break
        offset = end
    if any(not block.loose for block in table.blocks):
        table.counts.clear()  # those in chunks were not counted
        _learn_from_chunks(file, table)
    return table


def _joined(table: Table, loose: Block | None, offset: int, end: int, log_ns: int) -> Block:
    if loose is not None and loose.offset + loose.length == offset and end - loose.offset <= _LOOSE_BYTES:
        loose.length = end - loose.offset
        loose.start_ns, loose.end_ns = min(loose.start_ns, log_ns), max(loose.end_ns, log_ns)
        return loose
    block = Block(offset, end - offset, log_ns, log_ns, loose=True)
    table.blocks.append(block)
    return block


def learn(table: Table, opcode: int, body: bytes) -> None:
    """Add a schema or a channel; a damaged one is left out, with its messages."""
    from mcap.data_stream import ReadDataStream
    from mcap.records import Channel, Schema

    try:
        if opcode == SCHEMA:
            schema = Schema.read(ReadDataStream(BytesIO(body)))
            table.schemas.setdefault(schema.id, schema)
        else:
            channel = Channel.read(ReadDataStream(BytesIO(body)))
            table.channels.setdefault(channel.id, channel)
    except Exception:  # damaged bytes raise anything
        return


def _learn_from_chunks(file: IO[bytes], table: Table) -> None:
    """Unpack the chunks in which a new channel appears: it is written before its first message."""
    for block in table.blocks:
        if block.loose or (block.channels is not None and block.channels <= table.channels.keys()):
            continue
        try:
            for opcode, body in records(unpack(file, block)):
                if opcode in (SCHEMA, CHANNEL):
                    learn(table, opcode, bytes(body))
        except BlockError:
            continue  # counted when its messages are read


class BlockError(Exception):
    """A chunk cannot be unpacked; the message is the cause."""


def unpack(file: IO[bytes], block: Block) -> bytes:
    """The records in a block; if the file ends inside it, those before the break.

    Raises:
        BlockError: it is damaged, too large, or has an unknown compression.
    """
    largest = min(MAX_BLOCK, budget())
    if block.length > largest:
        raise BlockError(f"a chunk of {block.length >> 20} MiB is too large; write smaller ones")
    file.seek(block.offset)
    data = file.read(block.length)
    if block.loose:
        return data
    if len(data) < _HEAD.size + _CHUNK_HEAD.size or data[0] != CHUNK:
        raise BlockError("the index points to something that is not a chunk")
    _, _, size, crc, named = _CHUNK_HEAD.unpack_from(data, _HEAD.size)
    place = _HEAD.size + _CHUNK_HEAD.size
    name = data[place : place + named].decode("utf-8", "replace")
    packed = data[place + named + 8 :]
    if size > largest:
        raise BlockError(f"a chunk of {size >> 20} MiB is too large; write smaller ones")
    try:
        out = _decompressed(name, packed, size, block.cut)
    except BlockError:
        raise
    except Exception as error:  # each compression library has errors of its own
        raise BlockError(f"a chunk cannot be unpacked ({error})") from None
    if not block.cut and crc and zlib.crc32(out) != crc:
        raise BlockError("a chunk's checksum does not match its content")
    return out


def _decompressed(name: str, packed: bytes, size: int, cut: bool) -> bytes:
    if name == "":
        return packed
    if name == "lz4":
        import lz4.frame

        lz4_reader: Any = lz4.frame.LZ4FrameDecompressor()
        out: bytes = lz4_reader.decompress(packed, max_length=size)  # bounded, against decompression bombs
    elif name == "zstd":
        import zstandard

        out = zstandard.ZstdDecompressor().stream_reader(packed).read(size)
    else:
        raise BlockError(f"a chunk has the unknown compression {name[:20]!r}")
    if len(out) < size and not cut:
        raise BlockError("a chunk is shorter than it should be")
    return out


def records(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield (opcode, body) of each complete record in `data`."""
    view = memoryview(data)
    place = 0
    while place + _HEAD.size <= len(data):
        opcode, length = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        if place + length > len(data):
            return
        yield opcode, view[place : place + length]
        place += length
