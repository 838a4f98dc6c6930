"""A live session with standing questions."""

from __future__ import annotations

from ..config import IndexConfig
from ..encoders.base import Encoder
from ..indexer.live import Policy, Session
from ..store import Store
from .standing import Standing
from .stats import StandingStats


class StandingSession(Session):
    """A `Session` that asks standing questions after each checkpoint.

    Args:
        store: As in `Session`, like all others but the last.
        encoder: The encoder.
        config: The settings.
        name: Name of the source.
        depth: Images that may wait.
        interval_s: Longest time in s between checkpoints, and so between questions.
        drop: See `Policy`.
        keep_views: Keep the pictures of the views.
        standing: The questions; None for none.
    """

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        config: IndexConfig,
        name: str,
        *,
        depth: int = 8,
        interval_s: float = 2.0,
        drop: Policy = "oldest",
        keep_views: bool = False,
        standing: Standing | None = None,
    ) -> None:
        super().__init__(
            store,
            encoder,
            config,
            name,
            depth=depth,
            interval_s=interval_s,
            drop=drop,
            keep_views=keep_views,
            observer=standing,
        )
        self._standing = standing

    @property
    def standing_stats(self) -> StandingStats:
        """Counts of the standing questions; zeros without any."""
        return StandingStats() if self._standing is None else self._standing.stats

    def close(self) -> None:
        """Index what waits, write it, ask a last time, deliver for a bounded time, and end.

        Raises the error that ended the thread that encodes, if there was one.
        """
        try:
            super().close()
        finally:
            if self._standing is not None:
                self._standing.close()
