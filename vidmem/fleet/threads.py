"""Threads that may hang without keeping the process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Threads(Executor):
    """A fixed number of daemon threads.

    Python waits for the threads of a ThreadPoolExecutor before it ends. A shard on a network drive that does not answer
    would keep a command alive that has its answer.
    """

    def __init__(self, count: int, name: str) -> None:
        """Start no thread before it is needed.

        Args:
            count: The most threads.
            name: What their names begin with.
        """
        self._count, self._name = count, name
        self._todo: SimpleQueue[tuple[Future[Any], Callable[[], None]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._turn = threading.Lock()
        self._closed = False

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Let a thread call `fn`. Raises RuntimeError after `shutdown`."""
        future: Future[_T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._turn:
            if self._closed:
                raise RuntimeError("no more work is taken after `shutdown`")
            self._todo.put((future, work))
            if len(self._threads) < self._count:
                thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def _work(self) -> None:
        while (task := self._todo.get()) is not None:
            task[1]()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work. Twice is fine.

        Args:
            wait: Return when the threads have ended.
            cancel_futures: Cancel what no thread has begun.
        """
        with self._turn:
            self._closed = True
            if cancel_futures:
                with suppress(Empty):
                    while True:
                        if (task := self._todo.get_nowait()) is not None:
                            task[0].cancel()
            for _ in self._threads:
                self._todo.put(None)
        if wait:
            for thread in self._threads:
                thread.join()
