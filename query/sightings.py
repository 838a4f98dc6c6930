"""From tracks to sightings: spans with their evidence, in the terms of videos, logs and photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..encoders.base import Calibration
from ..records import Float32, LogPoint, Sighting, SourceKind, Trail
from ..store import SourceRow, Store, Vectors
from .chronology import dated
from .filters import Filtered
from .instances import Members
from .probable import deciding, probabilities


def sightings_of(
    store: Store,
    sources: dict[int, SourceRow],
    cache: Vectors,
    found: Filtered,
    groups: Sequence[Members],
    calibration: Calibration,
    contrast: Float32 | None,
) -> list[Sighting]:
    """A sighting for each of the groups; those whose source was removed meanwhile are left out.

    The evidence is the most probable track of the group, of equals the one with the best score.

    Args:
        store: The memory.
        sources: Its sources by id.
        cache: Its vectors.
        found: What was found.
        groups: The sightings to make.
        calibration: Of the encoder.
        contrast: Contrast phrases of the text that was asked for `(c, Dt)`, if any.
    """
    hits, columns = found.hits, found.columns
    best = [members[np.lexsort((hits.score[members], hits.ranking[members]))[-1]] for members in groups]
    shown = hits.take(np.array(best, np.intp))
    probability = shown.probability
    if probability is None:
        probability = probabilities(cache, calibration, shown, contrast, deciding(hits).max(initial=0))
    evidence = {track.id: track for track in store.tracks([int(columns.ids[b]) for b in best])}
    logs = LogPoints(store, sources)
    out = []
    for i, (members, top) in enumerate(zip(groups, best, strict=True)):
        track = evidence.get(int(columns.ids[top]))
        if track is None or track.source_id not in sources:
            continue  # removed by another process since the cache was read
        end_ns = int(columns.end_ns[members].max())
        frame_ns, box = found.evidence.get(int(hits.rows[top]), (track.best_ns, track.best_box))
        out.append(
            Sighting(
                source=sources[track.source_id].uri,
                start_ns=int(columns.start_ns[members].min()),
                end_ns=end_ns,
                score=float(hits.score[top]),
                text_score=None if hits.text is None else float(hits.text[top]),
                visual_score=None if hits.visual is None else float(hits.visual[top]),
                frame_ns=frame_ns,
                box=box,
                tracks=tuple(sorted(int(i) for i in columns.ids[members])),
                seen=logs.at(track.source_id, frame_ns),
                last=logs.at(track.source_id, end_ns),
                picture=_picture_file(store, sources[track.source_id], frame_ns),
                probability=None if probability is None else float(probability[i]),
                confidence=track.confidence,
                source_id=track.source_id,
            )
        )
    return dated(store, sources.values(), out)


def _picture_file(store: Store, source: SourceRow, t_ns: int) -> str | None:
    """The file of a single picture; None in videos, and for a picture whose files are gone."""
    if not source.kind.single_pictures:
        return None
    return next(iter(store.picture_paths(source.id, [t_ns]).get(t_ns, ())), None)


class LogPoints:
    """Moments of logs in their own terms: time since the epoch, topic, number, pose. Read from the memory alone."""

    def __init__(self, store: Store, sources: Mapping[int, SourceRow]) -> None:
        self._store, self._sources = store, sources
        self._trails: dict[int, Trail | None] = {}
        """The poses of each source, which are read once."""

    def at(self, source_id: int, t_ns: int) -> LogPoint | None:
        """The sampled frame of the source at t_ns; None for sources that are neither logs nor datasets.

        Raises:
            StoreError: the memory is damaged.
        """
        source = self._sources[source_id]
        if not source.kind.is_part:
            return None
        marks = self._store.marks(source_id, t_ns, t_ns)
        if not marks:
            return None
        mark = marks[0][1]
        if source_id not in self._trails:
            self._trails[source_id] = self._store.trail(source_id)
        trail = self._trails[source_id]
        address = source.address
        return LogPoint(
            topic=address.part,
            clock=address.clock if source.kind is SourceKind.LOG else "episode",
            time_ns=(source.start_ns or 0) + t_ns,
            log_ns=mark.log_ns,
            stamp_ns=mark.stamp_ns,
            sequence=mark.sequence,
            pose=None if trail is None else trail.at(t_ns),
        )
