"""Calling the encoder: pictures of any size in batches, and batches ahead of their turn in threads of their own."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Encoder
from ..records import Frame, RegionTokens, SourceInfo

Batch = TypeVar("Batch")


def working_in_parallel(encoder: Encoder) -> AbstractContextManager[int]:
    """Entered, it gives the number of calls of `encode` that may run at a time (see `Encoder`)."""
    parallel: Callable[[], AbstractContextManager[int]] = getattr(encoder, "parallel", lambda: nullcontext(1))
    return parallel()


def encode_images(
    encoder: Encoder, images: Sequence[NDArray[np.uint8]], sizes: Sequence[tuple[int, int]]
) -> list[RegionTokens]:
    """Encode images that may differ in size: a batch is one array, so it is cut where the size changes.

    sizes: width and height of each original, in whose pixels boxes are given.
    """
    out: list[RegionTokens] = []
    pairs = zip(images, sizes, strict=True)
    for (_, (width, height)), same in itertools.groupby(pairs, lambda pair: (pair[0].shape, pair[1])):
        out += encoder.encode([image for image, _ in same], width, height)
    return out


def has_own_frames(encoder: Encoder) -> bool:
    """Return True for an encoder whose regions come from elsewhere than the image (see `Encoder`)."""
    return getattr(encoder, "encode_frames", None) is not None


def encode_frames(encoder: Encoder, frames: Sequence[Frame], info: SourceInfo) -> list[RegionTokens]:
    """Encode frames of one source."""
    own: Callable[[Sequence[Frame], SourceInfo], list[RegionTokens]] | None = getattr(encoder, "encode_frames", None)
    if own is not None:
        return own(frames, info)
    return encode_images(encoder, [frame.image for frame in frames], [(info.width, info.height)] * len(frames))


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
