"""The bounds of all shards of a fleet: fetched without the shards, and looked at together."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError, VidmemError
from ..records import Float32
from ..replacing import replacing
from ..store.files import BOUNDS_NAME
from ..store.vectors import Kind
from . import storage
from .bounds import Balls, Bounds, Float64, upper_each
from .rows import ShardRow
from .shards import Shards
from .threads import Threads

RETRY_SECONDS = 10.0
"""Bounds that were not to be had are fetched again after this."""
PATIENCE_SECONDS = 30.0
"""When none of the bounds that are fetched has come for so long, the rest are not waited for."""
FETCHED = 8
"""How many bounds are fetched at a time."""
FEW = 8
"""Where fewer than one shard in so many matters, they are looked at one by one."""
_END = ".bounds"


class KnownBounds:
    """The bounds of shards, by sha256, as far as they are known. Threads may share it."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._pool = Threads(FETCHED, "bounds")  # of its own: what hangs here must not keep shards from their turn
        self._known: dict[str, Bounds] = {}
        self._tried: dict[str, float] = {}
        self._turn = threading.Lock()

    def of(self, rows: Sequence[ShardRow]) -> list[Bounds | None]:
        """The bounds of these shards; None for those that are not to be had now, which are then never pruned."""
        with self._turn:
            now = time.monotonic()
            wanted = [
                row
                for row in rows
                if row.sha256 is not None
                and row.sha256 not in self._known
                and now - self._tried.get(row.sha256, -RETRY_SECONDS) >= RETRY_SECONDS
            ]
            fetched = [self._pool.submit(self._fetched, row) for row in wanted]
            _until_none_comes(fetched)
            now = time.monotonic()
            for row, future in zip(wanted, fetched, strict=True):
                assert row.sha256 is not None
                self._tried[row.sha256] = now
                found = future.result() if future.done() and not future.cancelled() else None
                if found is not None:
                    self._known[row.sha256] = found
            return [self._known.get(row.sha256 or "") for row in rows]

    def close(self) -> None:
        """Fetch no more, and wait for nothing."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _fetched(self, row: ShardRow) -> Bounds | None:
        try:
            found = Bounds.parse(self._bytes(row), row.uri)
        except (VidmemError, OSError):
            return None
        return found if found.tracks == row.n_tracks else None

    def _bytes(self, row: ShardRow) -> bytes:
        """The file of the bounds, whose checksum is that of the manifest of this very shard."""
        kept = None if storage.place(row.uri).is_local else self._shards.folder / f"{row.sha256}{_END}"
        if kept is not None:
            with suppress(OSError):
                digest, data = (whole := kept.read_bytes())[:32], whole[32:]
                if hashlib.sha256(data).digest() == digest:
                    return data
        sealed = storage.read_manifest(row.uri)
        if sealed.id != row.sha256 or BOUNDS_NAME not in sealed.files:
            raise StoreError(f"it is another shard, or has no bounds: {row.uri}")
        data = storage.read_file(row.uri, BOUNDS_NAME, sealed.files[BOUNDS_NAME])
        if kept is not None:
            with suppress(OSError):
                self._shards.folder.mkdir(parents=True, exist_ok=True)
                with replacing(kept) as part, open(part, "wb") as file:
                    file.write(hashlib.sha256(data).digest() + data)
        return data


def _until_none_comes(fetched: Sequence[Future[Bounds | None]]) -> None:
    """Wait for what is fetched, as long as some of it comes, and give up the rest."""
    todo = set(fetched)
    while todo:
        done, todo = wait(todo, PATIENCE_SECONDS, FIRST_COMPLETED)
        if not done:
            for future in todo:
                future.cancel()
            return


class BoundsTable:
    """The bounds of the shards of one state, one array for all, so that a question takes one product."""

    def __init__(self, bounds: Sequence[Bounds | None]) -> None:
        """bounds: of each shard; None where they are not known."""
        self.known = np.array([one is not None for one in bounds], np.bool_)
        self.first_ns = [None if one is None else one.first_ns for one in bounds]
        self._bounds = bounds
        self._stacked: dict[Kind, tuple[Balls, NDArray[np.intp], NDArray[np.intp]]] = {}

    def uppers(self, kind: Kind, unit: Float32, places: Sequence[int]) -> Float64:
        """What no score of each shard is above, `(shards,)`: inf where it is not known, -inf without tracks.

        places: Which shards matter, by their places; what it gives for the others is worth nothing.
        """
        out = np.where(self.known, -np.inf, np.inf)
        if len(places) * FEW < len(self.known):
            for place in places:
                if (one := self._bounds[place]) is not None:
                    out[place] = one.upper(kind, unit)
            return out
        if kind not in self._stacked:
            self._stacked[kind] = self._stack(kind)
        balls, shard, held = self._stacked[kind]
        if len(balls.centres):
            width = balls.middle.shape[1]
            along = (balls.directions @ unit).reshape(len(held), width)
            firsts = np.searchsorted(shard, np.arange(len(held)))
            out[held] = np.maximum.reduceat(upper_each(balls, unit, along, shard), firsts)
        return out

    def _stack(self, kind: Kind) -> tuple[Balls, NDArray[np.intp], NDArray[np.intp]]:
        """The balls of all shards; for each its number among the shards that have some; the places of these shards."""
        known = ((i, one.kinds[kind]) for i, one in enumerate(self._bounds) if one is not None and one.tracks)
        held = [(i, balls) for i, balls in known if len(balls.centres)]
        if not held:
            empty = np.empty((0, 0), np.float32)
            none = np.empty(0, np.float32)
            return Balls(empty, none, none, none, empty, empty, empty, none), np.empty(0, np.intp), np.empty(0, np.intp)
        width = max(len(balls.directions) for _, balls in held)

        def joined(name: str, pad: int | None = None) -> Float32:
            """The arrays of all shards, one after the other; axis `pad` filled up with 0 to the width."""
            arrays = [getattr(balls, name) for _, balls in held]
            if pad is not None:
                arrays = [
                    np.pad(a, [(0, width - a.shape[pad] if axis == pad else 0) for axis in range(2)]) for a in arrays
                ]
            return np.concatenate(arrays)

        flat: Mapping[str, Float32] = {
            name: joined(name) for name in ("centres", "radius", "longest", "shortest", "rest")
        }
        balls = Balls(directions=joined("directions", 0), middle=joined("middle", 1), half=joined("half", 1), **flat)
        shard = np.repeat(np.arange(len(held)), [len(one.centres) for _, one in held])
        return balls, shard, np.array([i for i, _ in held], np.intp)
