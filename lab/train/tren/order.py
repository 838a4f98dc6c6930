"""Which pictures a step takes from data sets with weights and kinds. All follows from the seed and the step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vidmem.errors import UsageError

from ..order import Order
from .config import TrainConfig
from .sample import Data, Kind, Pool, pools_of

Key = tuple[int, int] | tuple[int, int, Kind]
"""Position in the training and number of the sample, and the kind of batch that it is for, by default "both"."""
BLOCK = 4096
"""Positions whose data sets are drawn at a time."""


class Keys(Protocol):
    """The keys (`Key`) of each step, in order."""

    def __iter__(self) -> Iterator[list[Any]]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Weighted:
    """As Order, but each position first draws a data set by weight, then takes the next of its samples: each sample
    once in a turn of its data set."""

    pools: tuple[Pool, ...]
    batch: int
    first: int
    steps: int
    seed: int
    stream: int = 0

    def __iter__(self) -> Iterator[list[Key]]:
        weights = np.array([1.0 if pool.weight is None else pool.weight for pool in self.pools])
        done = np.zeros(len(self.pools), np.int64)
        start, end = self.first * self.batch, self.steps * self.batch
        shuffled: dict[int, tuple[int, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]] = {}
        keys: list[Key] = []
        for block in range(-(-end // BLOCK)):
            rng = np.random.default_rng([self.seed, 17, block, self.stream])
            drawn = rng.choice(len(self.pools), BLOCK, p=weights / weights.sum())
            if (block + 1) * BLOCK <= start:
                done += np.bincount(drawn, minlength=len(self.pools))
                continue
            for position, which in enumerate(drawn.tolist(), block * BLOCK):
                if position >= end:
                    return
                pool, turn = self.pools[which], int(done[which]) // self.pools[which].size
                if position >= start:
                    if shuffled.get(which, (-1, None))[0] != turn:
                        own = np.random.default_rng([self.seed, 13, turn, self.stream, which + 1])
                        shuffled[which] = turn, own.permutation(pool.size)
                    keys.append((position, pool.first + int(shuffled[which][1][int(done[which]) % pool.size])))
                    if len(keys) == self.batch:
                        yield keys
                        keys = []
                done[which] += 1

    def __len__(self) -> int:
        return max(0, self.steps - self.first)


@dataclass(frozen=True, slots=True)
class Selected:
    """An order over the samples of some of the data sets."""

    pools: tuple[Pool, ...]
    order: Order

    def __iter__(self) -> Iterator[list[Key]]:
        numbers = np.concatenate([np.arange(pool.first, pool.first + pool.size) for pool in self.pools])
        for keys in self.order:
            yield [(key[0], int(numbers[key[1]])) for key in keys]

    def __len__(self) -> int:
        return len(self.order)


@dataclass(frozen=True, slots=True)
class Apart:
    """Two orders side by side: each step takes the batch of the one, then that of the other."""

    regions: Keys
    texts: Keys

    def __iter__(self) -> Iterator[list[Key]]:
        for regions, texts in zip(self.regions, self.texts, strict=True):
            keys: list[Key] = [(key[0], key[1], "regions") for key in regions]
            keys += [(key[0], key[1], "texts") for key in texts]
            yield keys

    def __len__(self) -> int:
        return len(self.regions)


def order_of(data: Data, config: TrainConfig, first: int) -> Keys:
    """Return the keys of the steps first .. config.steps - 1. Raises UsageError where `batches` is apart and no data
    serves one of the two."""
    pools = pools_of(data)
    if config.batches == "joint":
        return _keys(pools, config, first, 0)
    regions = tuple(pool for pool in pools if pool.kind != "texts")
    texts = tuple(pool for pool in pools if pool.kind != "regions")
    if not regions or not texts:
        missing = "regions" if not regions else "texts: no data set has names"
        raise UsageError(f"no data is for batches of {missing}; add such data, or set `batches` to joint")
    return Apart(_keys(regions, config, first, 0), _keys(texts, config, first, 1))


def _keys(pools: Sequence[Pool], config: TrainConfig, first: int, stream: int) -> Keys:
    if any(pool.weight is not None for pool in pools):
        return Weighted(tuple(pools), config.batch, first, config.steps, config.seed, stream)
    size = sum(pool.size for pool in pools)
    order = Order(size, config.batch, first, config.steps, config.seed, stream)
    if pools[0].first == 0 and pools[-1].first + pools[-1].size == size:
        return order
    return Selected(tuple(pools), order)
