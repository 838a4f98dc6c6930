"""Writes a Parquet table of tracks, one row each; for LeRobot datasets, logs and videos."""

from __future__ import annotations

from typing import Any

from ..errors import MediaError
from ..media.lerobot import parse_part
from ..media.logs.base import missing_library
from ..records import SourceKind
from ..store import SourceRow, Store, TrackRow
from ..timecode import NS
from .annotations import AnnotateReport, Annotations


def write(annotations: Annotations, part: str, out: str) -> AnnotateReport:
    """Write the table; see `annotate`.

    Columns: episode_index and camera (of a dataset, else null) or topic (of a log), track, label,
    score, start_timestamp and end_timestamp in seconds from the start, start_frame and end_frame (frame_index, or the
    message's number), start_ns and end_ns since the epoch (of a log), frames, best_timestamp and its box in pixels.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise missing_library("pyarrow", annotations.path) from None
    schema = pa.schema(
        [
            ("source", pa.string()),
            ("episode_index", pa.int64()),
            ("camera", pa.string()),
            ("topic", pa.string()),
            ("track", pa.int64()),
            ("label", pa.string()),
            ("score", pa.float32()),
            ("start_timestamp", pa.float64()),
            ("end_timestamp", pa.float64()),
            ("start_frame", pa.int64()),
            ("end_frame", pa.int64()),
            ("start_ns", pa.int64()),
            ("end_ns", pa.int64()),
            ("frames", pa.int64()),
            ("best_timestamp", pa.float64()),
            ("x0", pa.float32()),
            ("y0", pa.float32()),
            ("x1", pa.float32()),
            ("y1", pa.float32()),
        ]
    )
    boxes = frames = 0
    try:
        with pq.ParquetWriter(part, schema) as writer:
            for row in annotations.rows:
                rows = [_row(annotations, row, track) for track in annotations.tracks(row).values()]
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                boxes, frames = boxes + sum(r["frames"] for r in rows), frames + row.frames
    except pa.ArrowException as error:
        raise MediaError(f"the table cannot be written ({error}): {out}") from None
    return AnnotateReport(out, frames, boxes)


def _row(annotations: Annotations, source: SourceRow, track: TrackRow) -> dict[str, Any]:
    address = source.address
    episode, camera = parse_part(address) if source.kind is SourceKind.EPISODE else (None, None)
    store, zero = annotations.query.store, source.start_ns if source.kind.own_clock else None
    x0, y0, x1, y1 = track.best_box
    return {
        "source": source.uri,
        "episode_index": episode,
        "camera": camera,
        "topic": address.part if source.kind is SourceKind.LOG else None,
        "track": track.ordinal,
        "label": annotations.label(track) or None,
        "score": annotations.score(track),
        "start_timestamp": track.start_ns / NS,
        "end_timestamp": track.end_ns / NS,
        "start_frame": _number(store, source, track.start_ns),
        "end_frame": _number(store, source, track.end_ns),
        "start_ns": None if zero is None else zero + track.start_ns,
        "end_ns": None if zero is None else zero + track.end_ns,
        "frames": track.frames,
        "best_timestamp": track.best_ns / NS,
        "x0": x0,
        "y0": y0,
        "x1": x1,
        "y1": y1,
    }


def _number(store: Store, source: SourceRow, t_ns: int) -> int | None:
    found = store.marks(source.id, t_ns, t_ns)
    return found[0][1].sequence if found else None
