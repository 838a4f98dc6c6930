"""Bring the cached arrays up to date with SQLite: rebuild them, or apply only what changed."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..records import Float32
from . import cache_file, first_file, first_passes, meta, reader
from .cache_file import COLUMNS, CacheData
from .first_passes import FirstPasses
from .fp16 import half_to_float
from .lock import take_lock
from .rows import ModelRecord
from .store import Store
from .validate import damaged

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

BLOCK = 1024
"""Rows that are widened to float32 at a time, so that they stay in the processor's cache."""

_KEEP_UNWRITTEN = 0.02
"""Share of rows that may be newer than the file before the file is written again.

Applying them takes milliseconds. Writing takes seconds on a large memory, and a robot asks after every checkpoint.
"""


def current(store: Store) -> CacheData:
    """Return the arrays of `store` as of now, from its cache file if that is sound; else rebuild and write them.

    In a snapshot they are those of its state, and the file is written after it. So is that of the first pass of a
    large memory, where it is missing.
    """
    with store.snapshot() as (memory, generation):
        old = _loaded(store, memory, generation)
        data, fresh = updated(store, old)
        anew = data is not old and fresh >= _KEEP_UNWRITTEN * len(data)
        if anew or _lacks_first_pass(data):
            store.later(lambda: _write(store, data))
    known = "" if data is not old else ", as the cache has them"
    _log.info("vectors of %d tracks%s", len(data), known)
    return data


def _loaded(store: Store, memory: str, generation: int) -> CacheData | None:
    model, (_, rows) = store.model(), store.extent()
    if model is None:
        return None
    try:
        data = cache_file.load(store.folder, memory, (model.visual_dim, model.text_dim), generation, rows)
    except (OSError, ValueError, StoreError) as error:
        _log.info("the vector cache is rebuilt (%s): %s", error, store.cache_folder)
        return None
    return _with_first_pass(store, data)


def _with_first_pass(store: Store, data: CacheData) -> CacheData:
    """The vectors with their first pass, if they are many and its file is sound."""
    if len(data) < first_passes.FIRST_PASS_FROM or data.crc is None:
        return data
    try:
        kinds = first_file.load(store.folder, data.crc, (data.visual, data.text))
    except (OSError, ValueError, StoreError) as error:
        _log.info("the first pass of a search is rebuilt (%s): %s", error, store.cache_folder)
        return data
    return replace(data, first=FirstPasses(kinds, (data.visual, data.text)))


def _lacks_first_pass(data: CacheData) -> bool:
    """True if searches among so many vectors need one, and there is none."""
    return (
        len(data) >= first_passes.FIRST_PASS_FROM
        and not data.first
        and all(first_passes.possible(half) for half in (data.visual, data.text))
    )


def updated(store: Store, old: CacheData | None) -> tuple[CacheData, int]:
    """Return `old` with what has changed since, and how many rows were read from SQLite for it.

    All rows are read when tracks were removed, or when it is not clear what changed. When nothing changed, `old` itself
    is returned.

    Raises:
        StoreError: the memory is damaged.
    """
    with store.snapshot() as (memory, _):
        return _updated(store, memory, old)


def refreshed(store: Store, old: CacheData) -> CacheData:
    """Return `old` with what has changed since, itself when nothing has; make a first pass once tracks are enough."""
    data, _ = updated(store, old)
    if data is not old and _lacks_first_pass(data):
        _write(store, data)
    return data


def _updated(store: Store, memory: str, old: CacheData | None) -> tuple[CacheData, int]:
    if old is not None and old.memory == memory:
        # Without tracks, `old` may be older than the encoder of the memory, and know no lengths.
        dims = (old.visual.shape[1], old.text.shape[1]) if len(old) else _dims(store.model())
        with store.track_changes(old.generation) as (generation, removed, chunks):
            if generation == old.generation:
                return old, 0
            if removed <= old.generation < generation:
                new = _stack(memory, generation, chunks, dims)
                merged = _merged(old, new) if len(old) else new
                if merged is not None:
                    return merged, len(new)
        _log.info("the vector cache is rebuilt (tracks were removed): %s", store.cache_folder)
    dims = _dims(store.model())
    with store.track_changes(-1) as (generation, _, chunks):
        data = _stack(memory, generation, chunks, dims)
    return data, len(data)


def stacked(conn: sqlite3.Connection) -> CacheData:
    """Return the arrays of all tracks, read from SQLite alone. Raises StoreError when the memory is damaged."""
    dims = _dims(reader.model(conn))
    return _stack(meta.memory_id(conn), meta.counter(conn, "generation"), reader.raw_tracks(conn, -1), dims)


def _dims(model: ModelRecord | None) -> tuple[int, int] | None:
    """The lengths of the visual and text vectors of a model."""
    return (model.visual_dim, model.text_dim) if model else None


def _stack(
    memory: str, generation: int, chunks: Iterable[list[tuple[Any, ...]]], dims: tuple[int, int] | None
) -> CacheData:
    columns: list[NDArray[np.int64]] = []
    halves: tuple[list[NDArray[np.float16]], list[NDArray[np.float16]]] = ([], [])
    confidences: list[Float32] = []
    for rows in chunks:
        numbers = np.array([row[:6] for row in rows])
        confidence = np.array([row[8] for row in rows])
        blobs_only = all(isinstance(blob, bytes) for row in rows for blob in row[6:8])
        if numbers.dtype != np.int64 or confidence.dtype != np.float64 or not blobs_only:
            raise damaged("a value of another type in tracks")
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise damaged("a share out of range in tracks")
        columns.append(numbers.T)
        dims = dims or (len(rows[0][6]) // 2, len(rows[0][7]) // 2)
        for kind in (0, 1):
            blobs = [row[6 + kind] for row in rows]
            if any(len(blob) != 2 * dims[kind] for blob in blobs):
                raise damaged("vectors of unequal length")
            halves[kind].append(np.frombuffer(b"".join(blobs), "<f2").reshape(len(rows), dims[kind]))
        confidences.append(confidence.astype(np.float32))
    if not columns:
        dv, dt = dims or (0, 0)
        return CacheData(
            memory,
            generation,
            np.empty((len(COLUMNS), 0), np.int64),
            np.empty((0, dv), np.float16),
            np.empty((0, dt), np.float16),
            np.empty((2, 0), np.float32),
        )
    visual = np.concatenate(halves[0])
    halves[0].clear()  # the parts are as large as the whole
    text = np.concatenate(halves[1])
    halves[1].clear()
    text, text_scale = _weighed(text, np.concatenate(confidences))
    scale = np.stack([_inverse_norms(visual), text_scale])
    data = CacheData(memory, generation, np.concatenate(columns, axis=1), visual, text, scale)
    if (what := cache_file.odd(data)) is not None:
        raise damaged(f"{what} in tracks")
    return data


def _merged(old: CacheData, new: CacheData) -> CacheData | None:
    """Replace rows of `old` by rows of `new` with the same id, and append the rest: ids only grow.

    Returns None when `old` does not fit, as when memory.sqlite was restored from a backup under its cache.
    """
    ids = old.columns[0]
    known = new.columns[0] <= ids[-1]
    at = np.searchsorted(ids, new.columns[0][known])
    if not np.array_equal(ids[at], new.columns[0][known]):
        return None
    columns = np.concatenate([old.columns, new.columns[:, ~known]], axis=1)
    scale = np.concatenate([old.scale, new.scale[:, ~known]], axis=1)
    visual = np.concatenate([old.visual, new.visual[~known]])
    text = np.concatenate([old.text, new.text[~known]])
    columns[:, at], scale[:, at] = new.columns[:, known], new.scale[:, known]
    visual[at], text[at] = new.visual[known], new.text[known]
    first = old.first.changed(at, (visual, text))
    return CacheData(new.memory, new.generation, columns, visual, text, scale, first)


def _weighed(half: NDArray[np.float16], confidence: Float32) -> tuple[NDArray[np.float16], Float32]:
    """Scale text vectors `(n, D)` by their confidence `(n,)`.

    Returns:
        The scaled vectors, and factors `(n,)` that turn a product with each into its cosine times its confidence,
        exactly. A scan of the vectors alone then ranks by that.
    """
    unsure = np.flatnonzero(confidence != 1)
    if len(unsure):
        half = half.copy()
        for start in range(0, len(unsure), BLOCK):
            rows = unsure[start : start + BLOCK]
            half[rows] = half_to_float(half[rows]) * confidence[rows, None]
    scale = _inverse_norms(half)
    return half, np.asarray(scale * confidence, np.float32)


def _inverse_norms(half: NDArray[np.float16]) -> Float32:
    norms = np.empty(len(half), np.float32)
    for start in range(0, len(half), BLOCK):
        wide = half_to_float(half[start : start + BLOCK])
        norms[start : start + BLOCK] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    inverse: Float32 = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
    return inverse


def _write(store: Store, data: CacheData) -> None:
    """Keep `data` for the next process, if this one may write and no other is writing; then its first pass.

    A first pass takes seconds to make, so that nothing is locked meanwhile.
    """
    # Where only the first pass is missing, it is still asked whether this process may write.
    saved = _saved(store, data, lambda: cache_file.save(store.folder, data) if data.crc is None else data.crc)
    if saved is None or len(data) < first_passes.FIRST_PASS_FROM:
        return
    kinds = data.first.up_to_date((data.visual, data.text))
    if kinds is not None:
        _saved(store, data, lambda: first_file.save(store.folder, kinds, saved))


def _saved(store: Store, data: CacheData, save: Callable[[], _T]) -> _T | None:
    """What `save` returns, None if nothing was written."""
    try:
        with store.exclusive():
            fd = take_lock(store.cache_lock, wait=False)
            if fd is None:
                return None
            try:
                with store.track_changes(data.generation) as (_, removed, _):
                    stale = removed > data.generation
                # What was removed since must not come back to disk.
                return None if stale else save()
            finally:
                os.close(fd)
    except (OSError, StoreError) as error:
        _log.info("the vector cache is kept in memory only (%s): %s", error, store.cache_folder)
        return None
