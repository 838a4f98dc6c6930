"""The columns of the Lance table, and tracks as Arrow rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engines.tracks import Exported, Part
from ..store import ModelRecord

if TYPE_CHECKING:
    from ..query.naming import Naming

FORMAT = 1
"""Of the table. A table of another format is refused."""


def schema(record: ModelRecord) -> Any:
    """The Arrow schema of a table for vectors of this encoder; its metadata says which one made them.

    Columns:
        track: The id of the track in its memory, or in the fleet. `shard` and `track` together are unique.
        shard: The id of the memory, or the sha256 of the shard of a fleet.
        generation: Of the tracks of the shard when they were written.
        clock_ns: What was added to the clocks of the shard to get `start_time` and `end_time`; 0 but in a fleet.
        source, kind, picture: The path or address, its kind, and for a single picture its file.
        start_ns, end_ns, best_ns: When it is in view and when it is seen best, in ns on the clock of the source.
        start_time, end_time: The same by the wall clock; null where that is not known.
        frames: In how many frames it is.
        x0, y0, x1, y1: Its box at `best_ns`, in pixels of the source or the picture.
        visual, text: The vectors as they are stored, fp16 of unit length up to rounding.
        confidence, text_confidence: How sure it is that there is a thing, and how sure the text vector is. The score of
            a text is the cosine times `text_confidence`.
        name, name_probability: What the thing is called; null if it was not asked for or is only a guess.
        thumbnail: A JPEG of the box at `best_ns`; null without.
    """
    import pyarrow as pa

    about = {
        "vidmem": str(FORMAT),
        "encoder": record.encoder,
        "weights": record.weights,
        "visual_dim": str(record.visual_dim),
        "text_dim": str(record.text_dim),
    }
    wall = pa.timestamp("ns", "UTC")
    fields = [
        pa.field("track", pa.int64(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("generation", pa.int64(), nullable=False),
        pa.field("clock_ns", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("picture", pa.string()),
        pa.field("start_ns", pa.int64(), nullable=False),
        pa.field("end_ns", pa.int64(), nullable=False),
        pa.field("best_ns", pa.int64(), nullable=False),
        pa.field("start_time", wall),
        pa.field("end_time", wall),
        pa.field("frames", pa.int64(), nullable=False),
        *(pa.field(name, pa.float32(), nullable=False) for name in ("x0", "y0", "x1", "y1")),
        pa.field("visual", pa.list_(pa.float16(), record.visual_dim), nullable=False),
        pa.field("text", pa.list_(pa.float16(), record.text_dim), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("text_confidence", pa.float32(), nullable=False),
        pa.field("name", pa.string()),
        pa.field("name_probability", pa.float32()),
        pa.field("thumbnail", pa.binary()),
    ]
    return pa.schema(fields, metadata=about)


def record_batch(
    columns: Any, part: Part, rows: Sequence[Exported], naming: Naming | None, thumbnails: Sequence[bytes | None]
) -> Any:
    """Tracks as one Arrow record batch.

    Args:
        columns: The schema.
        part: Where they are from.
        rows: The tracks.
        naming: What gives names; None for none.
        thumbnails: A JPEG for each track, or None.
    """
    import pyarrow as pa

    tracks = [row.track for row in rows]
    names = [_name(naming, row) for row in rows]
    values: dict[str, Any] = {
        "track": [part.first + track.id for track in tracks],
        "shard": [part.shard] * len(rows),
        "generation": [part.generation] * len(rows),
        "clock_ns": [part.clock_ns] * len(rows),
        "source": [row.source.uri for row in rows],
        "kind": [str(row.source.kind) for row in rows],
        "picture": [row.picture for row in rows],
        "start_ns": [track.start_ns for track in tracks],
        "end_ns": [track.end_ns for track in tracks],
        "best_ns": [track.best_ns for track in tracks],
        "start_time": [row.start_wall_ns for row in rows],
        "end_time": [row.end_wall_ns for row in rows],
        "frames": [track.frames for track in tracks],
        **{name: [track.best_box[i] for track in tracks] for i, name in enumerate(("x0", "y0", "x1", "y1"))},
        "visual": np.array([track.visual for track in tracks], np.float16),
        "text": np.array([track.text for track in tracks], np.float16),
        "confidence": [track.confidence for track in tracks],
        "text_confidence": [track.text_confidence for track in tracks],
        "name": [name for name, _ in names],
        "name_probability": [probability for _, probability in names],
        "thumbnail": list(thumbnails),
    }
    arrays = [_array(values[field.name], field.type) for field in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


def _array(values: Any, kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind.value_type), kind.list_size)
    return pa.array(values, kind)


def _name(naming: Naming | None, row: Exported) -> tuple[str | None, float | None]:
    if naming is None:
        return None, None
    guess = naming.of(row.track.text * np.float32(row.track.text_confidence))
    return (guess.name, guess.probability) if guess.named else (None, None)
