"""From tracks to what is told of them: sightings with their evidence, in the terms of videos, logs and photos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Calibration
from ..records import Float32, Sighting
from ..store import SourceRow, Store, TrackRow, VectorCache
from .chronology import dated
from .filters import Narrowed
from .log_positions import LogPoints
from .probable import deciding, probabilities


def sightings_of(
    store: Store,
    sources: dict[int, SourceRow],
    cache: VectorCache,
    found: Narrowed,
    groups: Sequence[NDArray[np.intp]],
    calibration: Calibration,
    contrast: Float32 | None,
) -> list[Sighting]:
    """A sighting for each of the groups, positions in the hits; those whose source was removed meanwhile are left out.

    The evidence is the likeliest track of the group, of equals the one with the best score.
    """
    hits, columns = found.hits, found.columns
    telling = hits.score if hits.likely is None else hits.likely
    best = [members[np.lexsort((hits.score[members], telling[members]))[-1]] for members in groups]
    shown = hits.take(np.array(best, np.intp))
    sure = shown.likely
    if sure is None:
        sure = probabilities(cache, calibration, shown, contrast, deciding(hits).max(initial=0))
    evidence: dict[int, TrackRow] = {t.id: t for t in store.tracks([int(columns.ids[hits.rows[b]]) for b in best])}
    logs = LogPoints(store, sources)
    out = []
    for i, (members, top) in enumerate(zip(groups, best, strict=True)):
        rows = hits.rows[members]
        track = evidence.get(int(columns.ids[hits.rows[top]]))
        if track is None or track.source_id not in sources:
            continue  # removed by another process since the cache was read
        end_ns = int(columns.end_ns[rows].max())
        frame_ns, box = found.evidence.get(int(hits.rows[top]), (track.best_ns, track.best_box))
        out.append(
            Sighting(
                source=sources[track.source_id].uri,
                start_ns=int(columns.start_ns[rows].min()),
                end_ns=end_ns,
                score=float(hits.score[top]),
                text_score=None if hits.text is None else float(hits.text[top]),
                visual_score=None if hits.visual is None else float(hits.visual[top]),
                frame_ns=frame_ns,
                box=box,
                tracks=tuple(sorted(int(i) for i in columns.ids[rows])),
                seen=logs.at(track.source_id, frame_ns),
                last=logs.at(track.source_id, end_ns),
                picture=_file(store, sources[track.source_id], frame_ns),
                probability=None if sure is None else float(sure[i]),
                confidence=track.confidence,
            )
        )
    return dated(store, sources.values(), out)


def _file(store: Store, source: SourceRow, t_ns: int) -> str | None:
    """The file of a single picture; None in videos, and for one that is in no file any more."""
    if not source.kind.single_pictures:
        return None
    return next(iter(store.picture_paths(source.id, [t_ns]).get(t_ns, ())), None)
