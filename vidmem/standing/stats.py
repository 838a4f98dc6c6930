"""Counts of standing questions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StandingStats:
    """Counts of the standing questions of a session.

    Deliveries are counted for each receiver.

    Attributes:
        asked: How often all questions were asked.
        unanswered: How often that failed.
        events: Sightings told.
        resumed: Events that an earlier run could not deliver.
        delivered: Deliveries that a receiver has confirmed.
        retried: Further attempts.
        failed: Deliveries given up.
        dropped: Deliveries given up because too many waited.
        waiting: Deliveries to come; after the end, those that the next session of this name makes.
    """

    asked: int = 0
    unanswered: int = 0
    events: int = 0
    resumed: int = 0
    delivered: int = 0
    retried: int = 0
    failed: int = 0
    dropped: int = 0
    waiting: int = 0

    @property
    def lost(self) -> int:
        """Deliveries that are not made and never will be."""
        return self.failed + self.dropped
