"""Ask shards in parallel, and keep count of which were asked, which were pruned, and which were down."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..errors import StoreError, VidmemError
from ..store.proof import Proof
from .opened import OpenShard, OpenShards
from .state import FleetState, Part

T = TypeVar("T")

PATIENCE_SECONDS = 30.0
"""A shard that takes longer, from when its turn comes, counts as down."""
MAX_WORKERS = 8


def workers() -> int:
    """How many shards are asked at a time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_WORKERS, 2 * cores)  # reading a shard waits as often as it reckons


@dataclass(slots=True)
class Asked:
    """What one question has asked of shards so far, by their numbers.

    searched: the shards that a search went to. down: those that failed, with the reason. told: the proof was asked for,
    so that what is down is said in the answer.
    """

    state: FleetState
    searched: set[int] = field(default_factory=set)
    down: dict[int, str] = field(default_factory=dict)
    told: bool = False

    def check(self) -> None:
        """Raise StoreError if a shard was down: for what has no place to say so."""
        if self.down:
            number, reason = min(self.down.items())
            more = f", and {len(self.down) - 1} more are down" if len(self.down) > 1 else ""
            raise StoreError(f"shard {number} of the fleet cannot be read{more}: {reason}")

    def proof(self) -> Proof:
        """What the answer rests on."""
        missed = tuple(self.state.by_number[n].down(reason) for n, reason in sorted(self.down.items()))
        asked = len(self.searched - self.down.keys())
        return Proof(asked, len(self.state.parts) - asked - len(missed), missed)


class Desk:
    """The threads that ask shards. Threads may share it."""

    def __init__(self, shards: OpenShards, patience_s: float = PATIENCE_SECONDS) -> None:
        """patience_s: How long a shard may take from when its turn comes."""
        self.shards, self.patience_s = shards, patience_s
        self.pool = ThreadPoolExecutor(workers(), "shard")
        self._late: dict[int, Future[Any]] = {}
        self._turn = threading.Lock()

    def each(
        self, asked: Asked, parts: Iterable[Part], work: Callable[[Part, OpenShard], T], *, search: bool = True
    ) -> list[tuple[Part, T]]:
        """Do `work` on each shard, in their order, without those that are down, which `asked` takes note of.

        Args:
            asked: What the question has asked so far. What was down stays down for it.
            parts: The shards.
            work: What to do with each.
            search: It is a search, so that the shard counts as asked.

        Raises:
            UsageError, ValueError: What `work` raises for the question.
        """
        wanted = [part for part in parts if part.number not in asked.down]
        if search:
            asked.searched.update(part.number for part in wanted)
        futures: list[tuple[Part, Future[T]]] = []
        begun = [time.monotonic()]
        for part in wanted:
            with self._turn:
                late = self._late.get(part.number)
                if late is not None and late.done():
                    del self._late[part.number]
                    late = None
            if late is not None:
                asked.down[part.number] = "it still does not answer to an earlier question"
            else:
                futures.append((part, self.pool.submit(self._one, part, work, begun)))
        slow = {future for _, future in futures}
        # As long as turns come, those that wait for theirs are not late: many shards take their time together.
        while slow and (left := begun[-1] + self.patience_s - time.monotonic()) > 0:
            slow = wait(slow, left).not_done
        out = []
        for part, future in futures:
            if future.cancel():
                asked.down[part.number] = f"those before it did not answer within {self.patience_s:g} s"
            elif not future.done():
                asked.down[part.number] = f"it did not answer within {self.patience_s:g} s"
                with self._turn:
                    self._late[part.number] = future
            else:
                try:
                    out.append((part, future.result()))
                except (VidmemError, OSError) as error:
                    if not _of_shard(error):
                        raise
                    asked.down[part.number] = " ".join(str(error).split())
        return out

    def one(self, asked: Asked | None, part: Part, work: Callable[[OpenShard], T], missing: T) -> T:
        """Do `work` on one shard in this thread; when it is down, note that and return `missing`.

        asked: What the question has asked so far. None when nothing was asked, as for a picture: then it raises.

        Raises:
            StoreError: the shard is down, and nothing was asked; or it has answered, and went down since.
        """
        known = asked is not None and part.number not in asked.searched
        if asked is not None and known and part.number in asked.down:
            return missing
        try:
            with self.shards.use(part.row) as opened:
                return work(opened)
        except (VidmemError, OSError) as error:
            if not _of_shard(error):
                raise
            reason = " ".join(str(error).split())
            if asked is not None and known:
                asked.down[part.number] = reason
                return missing
            when = "went down while it answered; ask again" if asked else "of the fleet cannot be read"
            raise StoreError(f"shard {part.number} {when}: {reason}") from None

    def must(self, part: Part, work: Callable[[OpenShard], T]) -> T:
        """Do `work` on a shard that has answered before, in this thread. Raises StoreError if it went down since."""
        try:
            with self.shards.use(part.row) as opened:
                return work(opened)
        except (VidmemError, OSError) as error:
            if not _of_shard(error):
                raise
            reason = " ".join(str(error).split())
            raise StoreError(f"shard {part.number} went down while it answered; ask again: {reason}") from None

    def _one(self, part: Part, work: Callable[[Part, OpenShard], T], begun: list[float]) -> T:
        begun.append(time.monotonic())
        with self.shards.use(part.row) as opened:
            return work(part, opened)

    def close(self) -> None:
        """Wait for what is under way, and close the shards."""
        self.pool.shutdown(wait=not self._late, cancel_futures=True)
        self.shards.close()


def _of_shard(error: BaseException) -> bool:
    """True for an error that is about a shard, not about the question."""
    from ..errors import UsageError

    return not isinstance(error, UsageError)
