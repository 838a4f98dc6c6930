"""Small tracks, frames and sources to fill memories with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidmem.config import IndexConfig
from vidmem.records import FrameRegions, SourceInfo, SourceKind, Track
from vidmem.store import Checkpoint, ModelRecord, SourceRow, Store, Within

DV, DT = 24, 16
MODEL = ModelRecord("tiny", "ab" * 32, DV, DT, IndexConfig().as_dict())


def info(name: str = "walk.mp4", fingerprint: str = "f1", folder: str = "/videos") -> SourceInfo:
    return SourceInfo(f"{folder}/{name}", SourceKind.VIDEO, 1280, 720, 60_000_000_000, fingerprint)


def track(ordinal: int, seed: int | None = None, **changes: Any) -> Track:
    rng = np.random.default_rng(ordinal if seed is None else seed)
    fields: dict[str, Any] = {
        "ordinal": ordinal,
        "start_ns": ordinal * 10,
        "end_ns": ordinal * 10 + 5,
        "frames": 3,
        "visual": rng.standard_normal(DV, dtype=np.float32),
        "text": rng.standard_normal(DT, dtype=np.float32),
        "best_ns": ordinal * 10 + 2,
        "best_box": (1.0, 2.0, 3.5, 4.25),
    }
    return Track(**{**fields, **changes})


def frame(t_ns: int, ordinals: list[int], seed: int = 0, grid: tuple[int, int] = (5, 7)) -> FrameRegions:
    rng = np.random.default_rng([seed, t_ns])
    m = len(ordinals)
    boxes = rng.integers(0, 700, (m, 4)).astype(np.float32)
    return FrameRegions(t_ns, np.array(ordinals, np.int64), boxes, rng.random((m, *grid)) < 0.3)


def add(
    store: Store, source_id: int, tracks: list[Track], frames: list[FrameRegions] | None = None, **more: Any
) -> None:
    values: dict[str, Any] = {"next_t_ns": 100, "frames_done": 2, "tracker_state": b"s", "state": "open"}
    store.checkpoint(source_id, Checkpoint(tracks=tracks, frames=frames or [], **{**values, **more}))


def source(size: tuple[int, int] = (160, 96), **changes: Any) -> SourceRow:
    """The row of a source that was just begun."""
    fields: dict[str, Any] = {
        "id": 1,
        "uri": "/videos/walk.mp4",
        "kind": SourceKind.VIDEO,
        "width": size[0],
        "height": size[1],
        "duration_ns": 60_000_000_000,
        "start_ns": None,
        "fingerprint": "f1",
        "state": "open",
        "frames": 0,
        "damaged": 0,
        "next_t_ns": None,
        "tracker_state": b"",
        "added_at": 0,
        "finished_at": None,
    }
    return SourceRow(**{**fields, **changes})


def only(may: Sequence[bool] | NDArray[np.bool_]) -> Within:
    """The rows for which `may` is true."""
    return Within(None, np.flatnonzero(~np.asarray(may, np.bool_)))
