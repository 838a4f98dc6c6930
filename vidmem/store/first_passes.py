"""The first passes over the two kinds of vectors of a memory: when they are made, kept up to date, and used.

There are codes in RAM (first_pass.py) and, before them, the vectors on a GPU (gpu_scan.py) where there is one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..records import Float32
from . import gpu_scan
from .first_codes import columns_for
from .first_pass import FirstPass, Rows, Stored, build, works
from .gpu_scan import GpuScan
from .scan import Found

_log = logging.getLogger(__name__)

FIRST_PASS_FROM = 100_000
"""Memories with at least so many tracks have first passes: below, a scan of all takes about a millisecond."""
PATIENCE = 6
"""Scans of all vectors before a first pass is taken into RAM: that costs as much as so many, and most commands ask
once."""
FEW_NEW = 0.005
"""Share of rows that may have no codes yet. They are scanned in full precision."""
FEW_UNSENT = 0.05
"""Share of rows that a GPU may lack. The processor scans them, which takes it a twentieth of a scan of all."""
MANY_ODD = 0.05
"""With more rows that the codes do not bound, they are learned anew."""
GROWTH = 2
"""When a memory has grown by this factor, they are learned anew."""

_NONE = np.empty(0, np.int64)
Halves = tuple[NDArray[np.float16], NDArray[np.float16]]


@dataclass(slots=True, eq=False)
class _Kind:
    """What is known of one kind of vectors.

    Attributes:
        fresh: Rows without a right code, ascending.
        scans: Searches before the codes were taken into RAM.
        gpu: The vectors on a GPU.
        unsent: Rows that are not there as they are now, ascending.
        asked: Searches since the last change.
    """

    stored: Stored | None = None
    ready: FirstPass | None = None
    fresh: Rows = field(default_factory=lambda: _NONE)
    scans: int = 0
    gpu: GpuScan | None = None
    unsent: Rows = field(default_factory=lambda: _NONE)
    asked: int = 0

    def changed(self, rows: Rows) -> _Kind:
        """What is known after a change of these rows."""
        fresh, unsent = np.union1d(self.fresh, rows), np.union1d(self.unsent, rows)
        return _Kind(self.stored, self.ready, fresh, self.scans, self.gpu, unsent)


class FirstPasses:
    """The first passes of a state of the vectors: none at first. Threads may share it.

    They answer for just those arrays: with others, as of a later state, `of` gives nothing.
    """

    def __init__(self, kinds: Sequence[Stored] = (), halves: Halves | None = None) -> None:
        self._turn = threading.Lock()
        self._kinds = tuple(_Kind(kind) for kind in kinds)
        self._halves = halves

    def __bool__(self) -> bool:
        return bool(self._kinds)

    @property
    def bytes(self) -> int:
        """Bytes of memory that they take once searches use them."""
        with self._turn:
            return sum(one.bytes for known in self._kinds if (one := known.ready or known.stored) is not None)

    def changed(self, rows: Rows, halves: Halves) -> FirstPasses:
        """Return those of the vectors after a change.

        Args:
            rows: Which of the old rows were replaced.
            halves: All vectors as they are now, visual and text; more rows than before are new ones.
        """
        new = FirstPasses(halves=halves)
        if self._halves is None:
            return new
        with self._turn:
            more = np.concatenate([rows, np.arange(len(self._halves[0]), len(halves[0]))]).astype(np.int64)
            new._kinds = tuple(kind.changed(more) for kind in self._kinds)
        return new

    def at_least(
        self, kind: int, half: NDArray[np.float16], query: Float32, least: float, gpu: int | None = None
    ) -> Found | None:
        """Find what `scan.at_least` finds, to the last bit. None where a scan of all is better.

        Args:
            kind: 0 for visual, 1 for text vectors.
            half: Those vectors `(n, D)`.
            query: `(D,)`.
            least: The limit.
            gpu: Number of the GPU that may search; None for none.
        """
        for way, others in self._ways(kind, half, gpu):
            if (found := way.at_least(half, query, least, others)) is not None:
                return found
        return None

    def nearest(
        self, kind: int, half: NDArray[np.float16], query: Float32, count: int, gpu: int | None = None
    ) -> tuple[Rows, float] | None:
        """Find rows with large inner products, `count` of them at least, ascending, and what no other row exceeds.

        Args:
            kind: As in `at_least`, and so the others.
            half: The vectors.
            query: The question.
            count: How many.
            gpu: The GPU.

        Returns:
            The rows and the bound; None where a scan of all is better.
        """
        for way, others in self._ways(kind, half, gpu):
            if (found := way.nearest(query, count, others)) is not None:
                return found
        return None

    def _ways(
        self, kind: int, half: NDArray[np.float16], gpu: int | None
    ) -> Iterator[tuple[GpuScan | FirstPass, Rows]]:
        """The ways to search these vectors, the fastest first, and the rows that each does not know."""
        if gpu is not None and (sent := self.on_gpu(kind, half, gpu)) is not None:
            yield sent
        if (coded := self.of(kind, half)) is not None:
            yield coded

    def _searchable(self, kind: int, half: NDArray[np.float16]) -> bool:
        """True if these are the vectors of this state, and many."""
        return (
            bool(self._kinds)
            and self._halves is not None
            and half is self._halves[kind]
            and (len(half) >= FIRST_PASS_FROM)
        )

    def on_gpu(self, kind: int, half: NDArray[np.float16], gpu: int) -> tuple[GpuScan, Rows] | None:
        """Return the vectors on a GPU and the rows that it does not know, None if they are not there.

        They are copied when a state has been searched more than `PATIENCE` times: not for a memory that is written to
        between questions, as by a live camera. What was copied serves later states too, until `FEW_UNSENT`.

        Args:
            kind: 0 for visual, 1 for text vectors.
            half: Those vectors.
            gpu: Its number.
        """
        if not self._searchable(kind, half):
            return None
        with self._turn:
            known = self._kinds[kind]
            known.asked += 1
            if known.gpu is not None and (not known.gpu.sound or len(known.unsent) > FEW_UNSENT * len(half)):
                known.gpu = None
            if known.gpu is None and known.asked == PATIENCE + 1:  # once: where it failed, it would again
                known.gpu, known.unsent = gpu_scan.upload(half, gpu), _NONE
            return None if known.gpu is None else (known.gpu, known.unsent)

    def of(self, kind: int, half: NDArray[np.float16]) -> tuple[FirstPass, Rows] | None:
        """Return the first pass of a kind (0 visual, 1 text) and the rows that it does not know, None to scan all.

        Args:
            kind: 0 for visual, 1 for text vectors.
            half: Those vectors.
        """
        if not self._searchable(kind, half):
            return None
        with self._turn:
            known = self._kinds[kind]
            if known.ready is None:
                known.scans += 1
                if known.stored is None or known.scans <= PATIENCE or not works(known.stored.codes.width):
                    return None
                known.ready, known.stored = FirstPass.of(known.stored), None
            _catch_up(known, half, FEW_NEW)
            return known.ready, known.fresh

    def up_to_date(self, halves: Halves) -> tuple[Stored, Stored] | None:
        """Return the first passes of these vectors, all rows with codes; None if there is nothing to encode.

        They are made or learned anew where that is due: a second for 50,000 rows, both kinds together.
        """
        made: list[Stored] = []
        with self._turn:
            for number, half in enumerate(halves):
                if not possible(half):
                    return None
                known = self._kinds[number] if self._kinds else _Kind()
                if known.ready is None and known.stored is not None:
                    known.ready, known.stored = FirstPass.of(known.stored), None
                if known.ready is not None and not _outgrown(known.ready, half):
                    _catch_up(known, half, 0)
                    made.append(known.ready.stored())
                elif (new := build(half)) is not None:
                    made.append(new)
            if len(made) < len(halves):
                return None
            self._kinds, self._halves = tuple(_Kind(kind) for kind in made), halves
            return made[0], made[1]


def possible(half: NDArray[np.float16]) -> bool:
    """Return True if vectors of this length can have a first pass with this FAISS."""
    return half.shape[1] > 0 and works(columns_for(half.shape[1]))


def _catch_up(known: _Kind, half: NDArray[np.float16], share: float) -> None:
    """Give codes to fresh rows if they are more than this share of all."""
    if known.ready is not None and len(known.fresh) > share * len(half):
        known.ready, known.fresh = known.ready.encoded(half, known.fresh), _NONE


def _outgrown(ready: FirstPass, half: NDArray[np.float16]) -> bool:
    return len(half) >= GROWTH * ready.trained or len(ready.odd) > MANY_ODD * len(half)
