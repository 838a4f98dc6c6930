"""The order of samples in a training. It follows from the seed and the step alone, so a resumed training keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Order:
    """The samples of the steps first .. steps - 1, each as its position in the training and its number.

    All samples come in a new random order in each epoch. stream: orders of one seed with other streams are independent.
    """

    size: int
    batch: int
    first: int
    steps: int
    seed: int
    stream: int = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        turn, shuffled = -1, np.empty(0, np.int64)
        for step in range(self.first, self.steps):
            keys: list[tuple[int, int]] = []
            for position in range(step * self.batch, (step + 1) * self.batch):
                if position // self.size != turn:
                    turn = position // self.size
                    shuffled = np.random.default_rng([self.seed, 13, turn, self.stream]).permutation(self.size)
                keys.append((position, int(shuffled[position % self.size])))
            yield keys

    def __len__(self) -> int:
        return max(0, self.steps - self.first)
