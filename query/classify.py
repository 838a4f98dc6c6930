"""Which of several labels a track has: the likeliest, and none where none is probably meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..encoders.base import Calibration
from ..records import Float32
from ..store import VectorCache
from .search import find_each


@dataclass(frozen=True, slots=True)
class Named:
    """label: its place in the list. score: the cosine. probability: that it is meant; None where nobody fitted one."""

    label: int
    score: float
    probability: float | None


def name_tracks(
    cache: VectorCache, calibration: Calibration, source_id: int, texts: Float32, contrasts: Sequence[Float32]
) -> dict[int, Named]:
    """For the tracks of a source, by id, which of the labels each has; tracks that none is found for are left out.

    texts `(n, Dt)`: vectors of the labels; contrasts: their contrast phrases. A label is found for what `where` finds
    in that source alone; of several the one with the highest probability counts, or where none is fitted with the
    highest score.
    """
    best = np.full(len(cache), -np.inf, np.float32)
    out: dict[int, Named] = {}
    ids = cache.columns.ids
    may = cache.columns.source_ids == source_id
    for label, hits in enumerate(find_each(cache, calibration, texts, contrasts, None, may)):
        value = hits.score if hits.likely is None else hits.likely
        for i in np.flatnonzero(value > best[hits.rows]).tolist():
            row = int(hits.rows[i])
            best[row] = value[i]
            sure = None if hits.likely is None else float(hits.likely[i])
            out[int(ids[row])] = Named(label, float(hits.score[i]), sure)
    return out
