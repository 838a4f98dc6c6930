"""Decoding ahead of the encoder: a bounded queue, filled by one thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")

JOIN_SECONDS = 5.0
"""How long the end waits for the thread, which is a daemon: a source may block in its read."""


def decode_ahead(items: Iterable[T], depth: int, *, patience_s: float = JOIN_SECONDS) -> Generator[T, None, None]:
    """Yield `items` in order while a thread produces up to `depth` of them ahead.

    An exception of the producer is raised here, after the items before it. If this generator is closed or dropped, the
    thread stops after its current item, and closes `items` if that is a generator. patience_s: how long that is waited
    for.

    Raises:
        ValueError: depth is less than 1.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    return _consume(items, depth, patience_s)


def _consume(items: Iterable[T], depth: int, patience_s: float) -> Generator[T, None, None]:
    queue: deque[T] = deque()
    failure: list[BaseException] = []
    changed = threading.Condition()
    done = stop = False

    def produce() -> None:
        nonlocal done
        iterator = iter(items)
        try:
            for item in iterator:
                with changed:
                    changed.wait_for(lambda: stop or len(queue) < depth)
                    if stop:
                        break
                    queue.append(item)
                    changed.notify_all()
        except BaseException as error:
            failure.append(error)
        finally:
            try:
                if close := getattr(iterator, "close", None):
                    close()
            except BaseException as error:
                failure.append(error)
            with changed:
                done = True
                changed.notify_all()

    thread = threading.Thread(target=produce, name="vidmem-decode", daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: done or queue)
                if not queue:
                    break
                item = queue.popleft()
                changed.notify_all()
            yield item
        if failure:
            raise failure[0]
    finally:
        with changed:
            stop = True
            changed.notify_all()
        thread.join(patience_s)
