"""Decoding ahead of the encoder: a bounded queue, filled by one thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")

_JOIN_SECONDS = 5.0  # a live source may block in its read; the thread is a daemon and ends with it


def decode_ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Yield `items` in order while a thread produces up to `depth` of them ahead.

    An exception of the producer is raised here, after the items before it. If this generator is closed or dropped, the
    thread stops after its current item, and closes `items` if that is a generator.

    Raises:
        ValueError: depth is less than 1.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    return _consume(items, depth)


def _consume(items: Iterable[T], depth: int) -> Generator[T, None, None]:
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
        thread.join(_JOIN_SECONDS)
