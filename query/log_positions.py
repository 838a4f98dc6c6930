"""Moments of logs in their own terms: time since the epoch, topic, number, pose; from the memory alone."""

from __future__ import annotations

from collections.abc import Mapping

from ..records import LogPoint, SourceKind, Trail
from ..store import SourceRow, Store


class LogPoints:
    """Looks moments up; the poses of a source are read once."""

    def __init__(self, store: Store, sources: Mapping[int, SourceRow]) -> None:
        self._store, self._sources = store, sources
        self._trails: dict[int, Trail | None] = {}

    def at(self, source_id: int, t_ns: int) -> LogPoint | None:
        """The sampled frame of the source at t_ns; None for sources that are neither logs nor datasets.

        Raises:
            StoreError: the memory is damaged.
        """
        source = self._sources[source_id]
        if not source.kind.is_part:
            return None
        found = self._store.marks(source_id, t_ns, t_ns)
        if not found:
            return None
        mark = found[0][1]
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
