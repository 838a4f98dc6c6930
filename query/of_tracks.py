"""All sightings of one thing, from the ids of its tracks, as `things` and `timeline` give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..encoders.base import Calibration
from ..geometry import unit
from ..records import Sighting
from ..store import Store, Vectors
from .chronology import in_time
from .filters import Filtered
from .instances import Instances
from .scores import Hits
from .sightings import sightings_of


def sightings_of_tracks(
    store: Store, cache: Vectors, calibration: Calibration, tracks: Sequence[int]
) -> list[Sighting]:
    """The sightings of these tracks as one thing, newest first, split at gaps and cuts.

    The score is the cosine to the mean of their visual tokens. There is no probability, for nothing was asked.

    Args:
        store: The memory.
        cache: Its vectors.
        calibration: Of the encoder.
        tracks: Ids; those that are not in the memory are left out.
    """
    rows = np.unique(cache.rows_of(np.array(tracks, np.int64)))
    rows = rows[rows >= 0]
    if not len(rows):
        return []
    tokens = cache.reconstruct("visual", rows)
    score = (tokens @ unit(tokens.mean(0)[None])[0]).astype(np.float32)
    found = Filtered.whole(cache, Hits(rows, score, None, score))
    sources = {row.id: row for row in store.sources()}
    order, zeros = in_time(store, sources, found.columns)
    groups = Instances(store, cache, found, order, zeros, calibration.same_thing).of(np.arange(len(rows)))
    return [replace(s, probability=None) for s in sightings_of(store, sources, cache, found, groups, calibration, None)]
