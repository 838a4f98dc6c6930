"""Ask shards in parallel, and keep count of which were asked, which were pruned, and which were down."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..errors import StoreError, VidmemError
from ..store import Store
from ..store.proof import Proof
from ..store.scan import stay_alone
from .opened import OpenShard, OpenShards
from .state import FleetState, Part
from .threads import Threads

T = TypeVar("T")
U = TypeVar("U")

PATIENCE_SECONDS = 30.0
"""A shard that takes longer counts as down, from when a thread begins with it."""
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
        """patience_s: How long a shard may take, from when a thread begins with it."""
        self.shards, self.patience_s = shards, patience_s
        self.pool = Threads(count := workers(), "shard")
        self._threads = count
        self._late: dict[int, Future[Any]] = {}
        self._turn = threading.Lock()

    def each(
        self, asked: Asked, parts: Iterable[Part], work: Callable[[Part, OpenShard], T], *, search: bool = True
    ) -> list[tuple[Part, T]]:
        """Do `work` on each shard, in their order, without those that are down, which `asked` takes note of.

        A shard may take `patience_s` once a thread begins with it. The time before that does not count: it says nothing
        of the shard. When all threads wait for shards that do not answer, those whose turn has not come are down, too.

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
        tasks: list[_Task[T]] = []
        alone = len(wanted) > 1
        for part in wanted:
            if self._is_late(part):
                asked.down[part.number] = "it still does not answer to an earlier question"
            else:
                task: _Task[T] = _Task(part)
                tasks.append(task)
                task.future = self.pool.submit(self._one, task, work, alone)
        self._wait(asked, tasks)
        out = []
        for task in tasks:
            number = task.part.number
            if number in asked.down:
                continue
            try:
                out.append((task.part, task.future.result()))
            except (VidmemError, OSError) as error:
                if not _of_shard(error):
                    raise
                asked.down[number] = " ".join(str(error).split())
        return out

    def _wait(self, asked: Asked, tasks: Sequence[_Task[T]]) -> None:
        """Wait until each task is done or its shard is down, which `asked` takes note of."""
        todo = list(tasks)
        while todo:
            now = time.monotonic()
            begun = [task.begun for task in todo if task.begun is not None]
            _, slow = wait([task.future for task in todo], max(0.0, min(begun, default=now) + self.patience_s - now))
            todo, now = [task for task in todo if task.future in slow and not task.future.done()], time.monotonic()
            late = [task for task in todo if task.begun is not None and now - task.begun >= self.patience_s]
            for task in late:
                asked.down[task.part.number] = f"it did not answer within {self.patience_s:g} s"
                with self._turn:
                    self._late[task.part.number] = task.future
            todo = [task for task in todo if task.part.number not in asked.down]
            if todo and self._stuck():
                for task in todo:
                    if task.future.cancel():
                        asked.down[task.part.number] = "its turn did not come: others do not answer"
                todo = [task for task in todo if task.part.number not in asked.down]

    def _is_late(self, part: Part) -> bool:
        """True while a thread still waits for the shard, for a question that has given it up."""
        with self._turn:
            late = self._late.get(part.number)
            if late is not None and late.done():
                del self._late[part.number]
                late = None
            return late is not None

    def _stuck(self) -> bool:
        """True if all threads wait for shards that were given up."""
        with self._turn:
            return sum(not future.done() for future in self._late.values()) >= self._threads

    def one(self, asked: Asked | None, part: Part, work: Callable[[OpenShard], T], missing: T) -> T:
        """Do `work` on one shard in this thread; when it is down, note that and return `missing`.

        asked: What the question has asked so far. None when nothing was asked, as for a picture: then it raises.

        Raises:
            StoreError: the shard is down, and nothing was asked; or it has answered, and went down since.
        """
        return self._noted(asked, part, lambda: self.shards.use(part.row), work, missing)

    def read(self, asked: Asked | None, part: Part, work: Callable[[Store], T], missing: T) -> T:
        """As `one`, with the memory of the shard in place of its vectors."""
        return self._noted(asked, part, lambda: self.shards.reading(part.row), work, missing)

    def _noted(
        self,
        asked: Asked | None,
        part: Part,
        opening: Callable[[], AbstractContextManager[U]],
        work: Callable[[U], T],
        missing: T,
    ) -> T:
        known = asked is not None and part.number not in asked.searched
        if asked is not None and known and part.number in asked.down:
            return missing
        try:
            with opening() as opened:
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

    def _one(self, task: _Task[T], work: Callable[[Part, OpenShard], T], alone: bool) -> T:
        task.begun = time.monotonic()
        stay_alone(alone)
        with self.shards.use(task.part.row) as opened:
            return work(task.part, opened)

    def close(self) -> None:
        """Wait for what is under way, but not for shards that do not answer, and close the shards."""
        self.pool.shutdown(wait=not self._late, cancel_futures=True)
        self.shards.close()


class _Task(Generic[T]):
    """A shard that is to be asked. begun: when a thread began, on the monotonic clock; None before."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.begun: float | None = None
        self.future: Future[T] = Future()


def _of_shard(error: BaseException) -> bool:
    """True for an error that is about a shard, not about the question."""
    from ..errors import UsageError

    return not isinstance(error, UsageError)
