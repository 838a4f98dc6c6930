"""The first passes over the two kinds of vectors of a memory: when they are made, kept up to date, and used."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .first_codes import columns_for
from .first_pass import FirstPass, Rows, Stored, build, works

_log = logging.getLogger(__name__)

FIRST_PASS_FROM = 100_000
"""Memories with at least so many tracks have first passes: below, a scan of all takes about a millisecond."""
PATIENCE = 6
"""Scans of all vectors before a first pass is taken into RAM: that costs as much as so many, and most commands ask
once."""
FEW_NEW = 0.005
"""Share of rows that may have no codes yet. They are scanned in full precision."""
MANY_ODD = 0.05
"""With more rows that the codes do not bound, they are learned anew."""
GROWTH = 2
"""When a memory has grown by this factor, they are learned anew."""

_NONE = np.empty(0, np.int64)
Halves = tuple[NDArray[np.float16], NDArray[np.float16]]


@dataclass(slots=True, eq=False)
class _Kind:
    """What is known of one kind of vectors. fresh: rows without a right code, ascending."""

    stored: Stored | None = None
    ready: FirstPass | None = None
    fresh: Rows = field(default_factory=lambda: _NONE)
    scans: int = 0


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
            new._kinds = tuple(
                _Kind(kind.stored, kind.ready, np.union1d(kind.fresh, more), kind.scans) for kind in self._kinds
            )
        return new

    def of(self, kind: int, half: NDArray[np.float16]) -> tuple[FirstPass, Rows] | None:
        """Return the first pass of a kind (0 visual, 1 text) and the rows that it does not know, None to scan all.

        Args:
            kind: 0 for visual, 1 for text vectors.
            half: Those vectors.
        """
        if not self._kinds or self._halves is None or half is not self._halves[kind] or len(half) < FIRST_PASS_FROM:
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
