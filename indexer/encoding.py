"""Encode batches ahead of their turn, in threads of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ..records import RegionTokens

Batch = TypeVar("Batch")


def encoded_ahead(
    batches: Iterator[Batch], encode: Callable[[Batch], list[RegionTokens]], workers: int
) -> Generator[tuple[Batch, list[RegionTokens]]]:
    """Yield batches in order with their regions; `workers` are encoded at a time, while one waits.

    What `batches` raises is raised after the batches before it.
    """
    running: deque[tuple[Batch, Future[list[RegionTokens]]]] = deque()

    def oldest() -> tuple[Batch, list[RegionTokens]]:
        batch, regions = running.popleft()
        return batch, regions.result()

    pool = ThreadPoolExecutor(workers, "vidmem-encode")
    failure: Exception | None = None
    try:
        while True:
            try:
                if (batch := next(batches, None)) is None:
                    break
            except Exception as error:
                failure = error
                break
            running.append((batch, pool.submit(encode, batch)))
            if len(running) > workers:
                yield oldest()
        while running:
            yield oldest()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(cancel_futures=True)
