"""Training and held-out questions with their answers as text and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vidmem.export.textlayout import Layout, encode_layout
from vidmem.export.textmask import TextMask, from_classes, wrap

from . import tokens
from .model import POOL, SEEN
from .questions import ASKED, LONGEST, Pairs, Question, ask
from .scenes import Scene, draw
from .vision import GRID, Vision, pictures_of

TRAIN, DEV, TEST = 100_000_000, 200_000_000, 400_000_000
"""The first scene of each set."""
EACH = 4
"""Questions about one training scene."""
GROUP = 4
"""Batches that are drawn together and sorted by length, so that little is spent on padding."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A question about a scene."""

    scene: Scene
    question: Question

    def mask(self, grid: int) -> TextMask:
        """The mask of the right answer on a grid of that many cells a side."""
        pixels = self.question.mask(self.scene)
        return from_classes(pixels.astype(np.int64), {1: self.question.noun}, (grid, grid))


class Batch(NamedTuple):
    """Items as tensors.

    Attributes:
        features: `(n, WIDTH, 16, 16)`.
        question: `(n, LONGEST)` tokens.
        answer: `(n, t)` tokens, padded at the end.
        marks: `(n, 64, MARKS)` float32, 1 for the cells that are meant; see Writer.mark.
    """

    features: Tensor
    question: Tensor
    answer: Tensor
    marks: Tensor


def answer_text(item: Item, grid: int, layout: Layout) -> str:
    """The right answer, in tags."""
    return wrap(encode_layout(item.mask(grid), layout))


def batches(
    vision: Vision, grid: int, layout: Layout, size: int, seed: int, group: int, hard: float = 0.0
) -> list[Batch]:
    """The batches of one group of training: the same arguments give the same batches, and no two groups share scenes.

    Args:
        vision: Frozen.
        grid: Cells of an answer, both ways.
        layout: How answers are written.
        size: Questions in a batch, about.
        seed: Of the training.
        group: GROUP steps have one number, counted from 0.
        hard: The share of questions about places beside other things, half of them absent, before the usual mix.
    """
    rng = np.random.default_rng((21, seed, group))
    scenes = GROUP * size // EACH
    first = TRAIN + (seed * 1_000_000 + group) * scenes
    drawn = [draw(first + n) for n in range(scenes)]
    features = see(vision, drawn)
    items: list[tuple[int, Item]] = []
    for number, scene in enumerate(drawn):
        for _ in range(EACH):
            beside = bool(hard and rng.random() < hard)
            question = ask(scene, rng, kinds=("relation",), absent=0.5) if beside else ask(scene, rng)
            if question is not None:
                items.append((number, Item(scene, question)))
    written = [tokens.encode(answer_text(item, grid, layout)) for _, item in items]
    order = sorted(range(len(items)), key=lambda n: len(written[n]))
    parts = [order[len(order) * k // GROUP : len(order) * (k + 1) // GROUP] for k in range(GROUP)]
    return [
        Batch(
            features[[items[n][0] for n in part]],
            asked([items[n][1].question for n in part]),
            padded([written[n] for n in part]),
            marks_of([items[n][1] for n in part]),
        )
        for part in (parts[k] for k in rng.permutation(GROUP))
    ]


@torch.inference_mode()
def see(vision: Vision, scenes: list[Scene]) -> Tensor:
    """The frozen features of scenes."""
    features: Tensor = vision(pictures_of(scenes)).clone()
    return features


def asked(questions: list[Question]) -> Tensor:
    """The questions as tokens."""
    return torch.tensor([tokens.question(question.words, LONGEST) for question in questions])


def padded(written: list[list[int]]) -> Tensor:
    """Answers as one tensor, padded at the end."""
    longest = max(map(len, written))
    return torch.tensor([row + [tokens.PAD_ID] * (longest - len(row)) for row in written])


def marks_of(items: list[Item]) -> Tensor:
    """Which cells of the 16 x 16 and of the 8 x 8 grid are meant, for each picture token."""
    fine, coarse = (
        np.stack([item.mask(grid).cells >= 0 for item in items]).astype(np.float32) for grid in (GRID, SEEN)
    )
    cells = fine.reshape(-1, SEEN, POOL, SEEN, POOL).transpose(0, 1, 3, 2, 4).reshape(len(items), SEEN * SEEN, -1)
    return torch.from_numpy(np.concatenate([cells, coarse.reshape(len(items), SEEN * SEEN, 1)], 2))


def held_out(first: int, count: int, pairs: Pairs = ASKED) -> list[Item]:
    """Questions about scenes from `first` on, one for each scene that has one."""
    return list(_items(first, count, pairs))


def _items(first: int, count: int, pairs: Pairs) -> Iterator[Item]:
    found = number = 0
    while found < count:
        scene = draw(first + number)
        question = ask(scene, np.random.default_rng((22, first + number)), pairs)
        number += 1
        if question is not None:
            found += 1
            yield Item(scene, question)
