"""Copies an MCAP log and adds foxglove.ImageAnnotations for its pictures. Holds one chunk in memory at a time."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from ..errors import MediaError, UsageError
from ..media.base import Damage
from ..media.logs.base import missing_library
from ..media.logs.mcap_table import MAX_BLOCK
from ..records import Mark
from ..store import SourceRow
from ..timecode import NS
from .annotations import AnnotateReport, Annotation, AnnotationLookup, Annotations

SUFFIX = "/annotations"
"""Added to the topic of the pictures to name the topic of their annotations."""
_SCHEMA = "foxglove.ImageAnnotations"
_THICKNESS, _FONT_SIZE = 2.0, 12.0


@dataclass(slots=True)
class _Topic:
    """An annotated topic. times: log_ns -> t_ns and mark of each sampled frame. channel: id in the copy, once it is
    registered."""

    lookup: AnnotationLookup
    times: dict[int, tuple[int, Mark]]
    channel: int | None = None


@dataclass(slots=True)
class _Ids:
    """Schema and channel ids of the original -> ids in the copy, None for channels that are left out; topics and schema
    names by the ids of the original."""

    schemas: dict[int, int] = field(default_factory=dict)
    channels: dict[int, int | None] = field(default_factory=dict)
    topics: dict[int, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)


def write(annotations: Annotations, part: str, out: str) -> AnnotateReport:
    """Write every message, attachment and metadata record of the original, and the annotations; see `annotate`.

    Annotations that vidmem wrote earlier are replaced. Damaged chunks are left out and counted.
    """
    if not annotations.path.lower().endswith(".mcap"):
        raise UsageError(f"only MCAP logs can be written as MCAP; choose .rrd: {annotations.path}")
    try:
        from foxglove_schemas_protobuf.ImageAnnotations_pb2 import ImageAnnotations
        from mcap.writer import Writer
        from mcap_protobuf.schema import register_schema
    except ImportError as error:
        raise missing_library(error.name or "mcap", annotations.path) from None
    topics = {row.address.part: _topic(annotations, row) for row in reversed(annotations.rows)}
    damage, frames, boxes = Damage(), 0, 0
    with open(annotations.path, "rb") as file, open(part, "wb") as copy:
        writer: Any = Writer(copy)  # its methods are only partly typed
        started = False
        ids = _Ids()
        schema = 0
        for record in _records(file, damage, annotations.path):
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
                sampled = topic.times.pop(record.log_time, None) if topic is not None else None
                if topic is None or sampled is None:
                    continue
                if topic.channel is None:
                    name = ids.topics[record.channel_id] + SUFFIX
                    topic.channel = writer.register_channel(name, "protobuf", schema)
                t_ns, mark = sampled
                things = topic.lookup.at(t_ns)
                message = _message(things, mark.log_ns if mark.stamp_ns is None else mark.stamp_ns)
                writer.add_message(
                    topic.channel, record.log_time, message.SerializeToString(), record.publish_time, record.sequence
                )
                frames, boxes = frames + 1, boxes + len(things)
        if not started:
            raise MediaError(f"the log cannot be read ({'; '.join(damage.notes)}): {annotations.path}")
        writer.finish()
    return AnnotateReport(out, frames, boxes, damage.packets, tuple(damage.notes))


def _topic(annotations: Annotations, row: SourceRow) -> _Topic:
    marks = annotations.query.store.marks(row.id, -(1 << 62), 1 << 62)
    return _Topic(AnnotationLookup(annotations, row), {mark.log_ns: (t_ns, mark) for t_ns, mark in marks})


def _channel(writer: Any, record: Any, ids: _Ids, topics: dict[str, _Topic]) -> int | None:
    ours = record.topic.endswith(SUFFIX) and record.topic[: -len(SUFFIX)] in topics
    if ours and ids.names.get(record.schema_id) == _SCHEMA:
        return None
    schema = ids.schemas.get(record.schema_id, 0)
    return int(writer.register_channel(record.topic, record.message_encoding, schema, record.metadata))


def _records(file: IO[bytes], damage: Damage, path: str) -> Iterator[Any]:
    """All records of a log in file order, including those in chunks; damage is counted in `damage`."""
    from mcap.records import Chunk, DataEnd
    from mcap.stream_reader import StreamReader, breakup_chunk

    stream = iter(StreamReader(file, emit_chunks=True, record_size_limit=MAX_BLOCK).records)
    while True:
        try:
            record = next(stream)
        except StopIteration:
            return
        except Exception as error:  # damaged bytes can raise anything
            damage.packets += 1
            damage.note(f"the log breaks off ({type(error).__name__}); what comes before is copied")
            return
        if isinstance(record, DataEnd):
            return
        if not isinstance(record, Chunk):
            yield record
            continue
        try:
            inside = breakup_chunk(record, validate_crc=True)
        except Exception as error:  # each compression library has its own errors
            damage.packets += 1
            damage.note(f"a chunk is damaged and left out ({type(error).__name__})")
            continue
        yield from inside


def _message(things: list[Annotation], stamp_ns: int) -> Any:
    """foxglove.ImageAnnotations: for each thing its box, number and label, in pixels of the upright picture."""
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
    """A bright RGB colour in [0, 1]: hues a golden section apart, so that neighbouring numbers differ."""
    return colorsys.hsv_to_rgb(track * 0.618034 % 1.0, 0.75, 1.0)
