"""Threads for the work of requests: few of them, a bounded queue, and a fair turn for every client.

Nothing here takes a lock: the books are kept by the event loop's thread, and only the calls run in others.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from .faults import BusyError

QUESTION_THREADS, PICTURE_THREADS = 3, 2
WAITING = 64
"""Calls that wait for a thread of a pool. One client may hold half of the places."""
RETRY_S = 1

_P = ParamSpec("_P")
_T = TypeVar("_T")


_POOL: ContextVar[Pool | None] = ContextVar("_POOL", default=None)
"""The pool in whose thread this runs."""


def check_open() -> None:
    """Raise BusyError if this runs in a pool that was closed. Work of many seconds calls it now and then: the process
    ends only after its threads."""
    pool = _POOL.get()
    if pool is not None and pool.closed:
        raise BusyError("the server ends", RETRY_S)


@dataclass(slots=True, eq=False)
class _Call:
    client: str
    function: Callable[[], Any]
    result: asyncio.Future[Any]


class Pool:
    """A few threads. Use it from one event loop at a time.

    Attributes:
        threads: Calls that run at once.
        waiting: Calls that may wait.
        closed: It starts nothing more.
    """

    def __init__(self, name: str, threads: int, waiting: int = WAITING) -> None:
        self.threads, self.waiting = threads, waiting
        self.closed = False
        self._name = name
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"vidmem-{name}")
        self._queues: OrderedDict[str, deque[_Call]] = OrderedDict()
        self._running = 0

    @property
    def queued(self) -> int:
        """Calls that wait."""
        return sum(map(len, self._queues.values()))

    async def run(self, client: str, function: Callable[_P, _T], /, *args: _P.args, **options: _P.kwargs) -> _T:
        """Call `function` in a thread and return what it returns.

        Clients take turns: a client with one call waits for at most one call of each other client. If the caller is
        cancelled, a call that waits is dropped; one that runs ends by itself and its result is thrown away.

        Raises:
            BusyError: too many calls wait, in all or of this client.
        """
        if self.queued >= self.waiting or len(self._queues.get(client, ())) >= max(1, self.waiting // 2):
            raise BusyError(f"too many {self._name} wait for an answer; try again", RETRY_S)
        context = contextvars.copy_context()
        context.run(_POOL.set, self)
        work = functools.partial(context.run, functools.partial(function, *args, **options))
        call = _Call(client, work, asyncio.get_running_loop().create_future())
        self._queues.setdefault(client, deque()).append(call)
        self._start()
        try:
            answer: _T = await call.result
            return answer
        finally:
            self._drop(call)

    def close(self) -> None:
        """Start nothing more. Calls that run end by themselves, or where they call `check_open`."""
        self.closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._running < self.threads and self._queues:
            client, queue = self._queues.popitem(last=False)
            call = queue.popleft()
            if queue:
                self._queues[client] = queue  # at the end: the other clients come first
            self._running += 1
            running = asyncio.get_running_loop().run_in_executor(self._executor, call.function)
            running.add_done_callback(functools.partial(self._done, call))

    def _done(self, call: _Call, ran: asyncio.Future[Any]) -> None:
        self._running -= 1
        error = None if ran.cancelled() else ran.exception()
        if not call.result.done():
            if ran.cancelled():
                call.result.cancel()
            elif error is not None:
                call.result.set_exception(error)
            else:
                call.result.set_result(ran.result())
        self._start()

    def _drop(self, call: _Call) -> None:
        """Take a call out of its queue if it still waits."""
        queue = self._queues.get(call.client)
        if queue is not None and call in queue:
            queue.remove(call)
            if not queue:
                del self._queues[call.client]


class Pools:
    """The pools of a server: questions, which read the memory, pictures, which decode video, lists of all things, and
    clips.

    The first list after a change takes seconds in a large memory, and a clip may take a minute, so that each has a
    thread of its own.
    """

    def __init__(self, questions: int = QUESTION_THREADS, pictures: int = PICTURE_THREADS) -> None:
        self.questions = Pool("questions", questions)
        self.pictures = Pool("pictures", pictures)
        self.lists = Pool("lists", 1)
        self.clips = Pool("clips", 1)

    def close(self) -> None:
        """Close them."""
        for pool in (self.questions, self.pictures, self.lists, self.clips):
            pool.close()
