"""Which tracks may answer a question: those of some sources, in view within some times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""Which of some tracks may answer, `(n,)`."""

Spans = Mapping[int, tuple[int, int] | NDArray[np.int64]]
"""By source id: the first and last ns (inclusive) to search. For single pictures: the sorted times of the pictures to
search. Sources that are missing are not searched."""

ALWAYS = (-(1 << 62), 1 << 62)
"""The span of a whole source."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What queries need of tracks: int64 arrays `(n,)`."""

    ids: NDArray[np.int64]
    source_ids: NDArray[np.int64]
    ordinals: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    frames: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: NDArray[np.intp] | Mask) -> Columns:
        """The columns of the tracks at these positions."""
        return Columns(*(values[index] for values in self._all()))

    def joined(self, other: Columns) -> Columns:
        """The columns of these tracks, then those of the other ones."""
        return Columns(*(np.concatenate(pair) for pair in zip(self._all(), other._all(), strict=True)))

    def _all(self) -> tuple[NDArray[np.int64], ...]:
        return self.ids, self.source_ids, self.ordinals, self.start_ns, self.end_ns, self.frames


def bounds(sources: NDArray[np.int64], spans: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and last ns to search for each of `sources` `(n,)`; first > last where there is nothing to search."""
    # Of a fleet there are tens of thousands of spans, and of what was found few sources.
    known = sorted(spans if len(sources) > len(spans) else spans.keys() & set(sources.tolist()))
    if not known:
        return np.ones(len(sources), np.int64), np.zeros(len(sources), np.int64)
    ends = [(int(span[0]), int(span[-1])) if len(span) else (1, 0) for span in (spans[i] for i in known)]
    table, ids = np.array([*ends, (1, 0)], np.int64), np.array(known, np.int64)
    place = np.minimum(np.searchsorted(ids, sources), len(known) - 1)
    place[ids[place] != sources] = len(known)
    return table[place, 0], table[place, 1]


def meeting(columns: Columns, spans: Spans) -> Mask:
    """Which tracks meet the spans with their first and last times. Single pictures must be among those to search."""
    low, high = bounds(columns.source_ids, spans)
    meets = (columns.start_ns <= high) & (columns.end_ns >= low) & (low <= high)
    for source in np.unique(columns.source_ids[meets]).tolist():
        if isinstance(times := spans[source], np.ndarray):
            own = np.flatnonzero(meets & (columns.source_ids == source))
            meets[own] = np.isin(columns.start_ns[own], times)
    return meets


@dataclass(frozen=True, slots=True, eq=False)
class Within:
    """Which tracks may answer: those that meet `spans` (None for all), without the rows `without`, sorted.

    It is not an array of all tracks: each memory makes such a mask of its own tracks when it is asked.
    """

    spans: Spans | None
    without: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _known: list[tuple[NDArray[np.int64], Mask]] = field(default_factory=list, repr=False)

    def excluding(self, rows: NDArray[np.int64]) -> Within:
        """These tracks without some rows."""
        return replace(self, without=np.union1d(self.without, rows))

    def mask(self, columns: Columns) -> Mask:
        """Which tracks of one memory may answer. columns: of all of its tracks, by row. It is kept for the next call.

        Do not write to it.
        """
        mask = next((known for ids, known in self._known if ids is columns.ids), None)
        if mask is None:
            mask = np.ones(len(columns), np.bool_) if self.spans is None else meeting(columns, self.spans)
            self._known.append((columns.ids, mask))
        if not len(self.without):
            return mask
        mask = mask.copy()
        mask[self.without] = False
        return mask
