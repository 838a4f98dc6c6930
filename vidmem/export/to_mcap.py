"""A copy of an MCAP log with foxglove.ImageAnnotations beside its pictures. One chunk is in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from ..errors import MediaError, UsageError
from ..media.base import Damage
from ..media.logs.base import lacking
from ..media.logs.mcap_table import MAX_BLOCK
from ..records import Mark
from ..store import SourceRow
from ..timecode import NS
from .annotate import Written
from .notes import Lookup, Note, Notes

SUFFIX = "/annotations"
"""Added to the topic of the pictures."""
_SCHEMA = "foxglove.ImageAnnotations"
_THICKNESS, _FONT_SIZE = 2.0, 12.0


@dataclass(slots=True)
class _Topic:
    """A topic that is annotated. times: log_ns -> t_ns and mark of its sampled frames. channel: id in the copy."""

    lookup: Lookup
    times: dict[int, tuple[int, Mark]]
    channel: int | None = None


@dataclass(slots=True)
class _Ids:
    """Schemas and channels of the original -> ids in the copy; None for those that are left out."""

    schemas: dict[int, int] = field(default_factory=dict)
    channels: dict[int, int | None] = field(default_factory=dict)
    topics: dict[int, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)


def write(notes: Notes, part: str, out: str) -> Written:
    """See `annotate`: every message, attachment and metadata record of the original, and the annotations. Earlier
    annotations by us are replaced. Damaged chunks are left out and counted."""
    if not notes.path.lower().endswith(".mcap"):
        raise UsageError(f"only MCAP logs are written as MCAP; choose .rrd: {notes.path}")
    try:
        from foxglove_schemas_protobuf.ImageAnnotations_pb2 import ImageAnnotations
        from mcap.writer import Writer
        from mcap_protobuf.schema import register_schema
    except ImportError as error:
        raise lacking(error.name or "mcap", notes.path) from None
    topics = {row.address.part: _topic(notes, row) for row in reversed(notes.rows)}
    met, frames, boxes = Damage(), 0, 0
    with open(notes.path, "rb") as file, open(part, "wb") as copy:
        writer: Any = Writer(copy)  # partly untyped
        started = False
        ids = _Ids()
        schema = 0
        for record in _records(file, met, notes.path):
            kind = type(record).__name__
            if kind == "Header":
                writer.start(record.profile, "vidmem")
                started, schema = True, register_schema(writer, ImageAnnotations)
            elif not started:
                continue
            elif kind == "Schema" and record.id not in ids.schemas:
                ids.schemas[record.id] = writer.register_schema(record.name, record.encoding, record.data)
                ids.names[record.id] = record.name
            elif kind == "Channel" and record.id not in ids.channels:
                ids.channels[record.id] = _channel(writer, record, ids, topics)
                ids.topics[record.id] = record.topic
            elif kind == "Attachment":
                writer.add_attachment(record.create_time, record.log_time, record.name, record.media_type, record.data)
            elif kind == "Metadata":
                writer.add_metadata(record.name, record.metadata)
            elif kind == "Message":
                channel = ids.channels.get(record.channel_id)
                if channel is None:
                    continue
                writer.add_message(channel, record.log_time, record.data, record.publish_time, record.sequence)
                topic = topics.get(ids.topics[record.channel_id])
                found = topic.times.pop(record.log_time, None) if topic is not None else None
                if topic is None or found is None:
                    continue
                if topic.channel is None:
                    name = ids.topics[record.channel_id] + SUFFIX
                    topic.channel = writer.register_channel(name, "protobuf", schema)
                t_ns, mark = found
                things = topic.lookup.at(t_ns)
                message = _message(things, mark.log_ns if mark.stamp_ns is None else mark.stamp_ns)
                writer.add_message(
                    topic.channel, record.log_time, message.SerializeToString(), record.publish_time, record.sequence
                )
                frames, boxes = frames + 1, boxes + len(things)
        if not started:
            raise MediaError(f"the log cannot be read ({'; '.join(met.notes)}): {notes.path}")
        writer.finish()
    return Written(out, frames, boxes, met.packets, tuple(met.notes))


def _topic(notes: Notes, row: SourceRow) -> _Topic:
    marks = notes.query.store.marks(row.id, -(1 << 62), 1 << 62)
    return _Topic(Lookup(notes, row), {mark.log_ns: (t_ns, mark) for t_ns, mark in marks})


def _channel(writer: Any, record: Any, ids: _Ids, topics: dict[str, _Topic]) -> int | None:
    ours = record.topic.endswith(SUFFIX) and record.topic[: -len(SUFFIX)] in topics
    if ours and ids.names.get(record.schema_id) == _SCHEMA:
        return None
    schema = ids.schemas.get(record.schema_id, 0)
    return int(writer.register_channel(record.topic, record.message_encoding, schema, record.metadata))


def _records(file: IO[bytes], met: Damage, path: str) -> Iterator[Any]:
    """The records of a log in the order of the file, those in chunks too; damage is counted in `met`."""
    from mcap.records import Chunk, DataEnd
    from mcap.stream_reader import StreamReader, breakup_chunk

    found = iter(StreamReader(file, emit_chunks=True, record_size_limit=MAX_BLOCK).records)
    while True:
        try:
            record = next(found)
        except StopIteration:
            return
        except Exception as error:  # whatever the bytes happen to mean
            met.packets += 1
            met.note(f"the log breaks off ({type(error).__name__}); copied as far as it goes")
            return
        if isinstance(record, DataEnd):
            return
        if not isinstance(record, Chunk):
            yield record
            continue
        try:
            inside = breakup_chunk(record, validate_crc=True)
        except Exception as error:  # each of the packers has errors of its own
            met.packets += 1
            met.note(f"a chunk is damaged and left out ({type(error).__name__})")
            continue
        yield from inside


def _message(things: list[Note], stamp_ns: int) -> Any:
    """foxglove.ImageAnnotations: for each thing its box, its number and its name. Pixels of the upright picture."""
    from foxglove_schemas_protobuf.ImageAnnotations_pb2 import ImageAnnotations
    from foxglove_schemas_protobuf.PointsAnnotation_pb2 import PointsAnnotation

    message = ImageAnnotations()
    if hasattr(message, "timestamp"):
        _set(message.timestamp, stamp_ns)
    for thing in things:
        colour = dict(zip("rgba", (*_colour(thing.track), 1.0), strict=True))
        x0, y0, x1, y1 = thing.box
        box = message.points.add(type=PointsAnnotation.LINE_LOOP, thickness=_THICKNESS, outline_color=colour)
        _set(box.timestamp, stamp_ns)
        for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1)):
            box.points.add(x=x, y=y)
        text = message.texts.add(text=thing.text, font_size=_FONT_SIZE, position={"x": x0, "y": y0}, text_color=colour)
        _set(text.timestamp, stamp_ns)
        text.background_color.a = 0.6
    return message


def _set(stamp: Any, ns: int) -> None:
    stamp.seconds, stamp.nanos = ns // NS, ns % NS


def _colour(track: int) -> tuple[float, float, float]:
    """A bright colour that neighbours in number do not share."""
    import colorsys

    return colorsys.hsv_to_rgb(track * 0.618034 % 1.0, 0.75, 1.0)
