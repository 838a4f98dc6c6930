"""Greedy answers to held-out questions, and how good they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidmem.errors import UsageError
from vidmem.export.textanswer import read_answer
from vidmem.export.textlayout import Layout, decode_layout
from vidmem.export.textmask import CLOSE, OPEN, TextMask

from . import tokens
from .data import Item, answer_text, asked, see
from .model import Writer, places
from .scenes import SIDE
from .vision import Vision

TOGETHER = 128
"""Answers that are written at the same time."""

Allow = Callable[[int, str], Sequence[int]]
"""Which tokens may follow the text of the answer with that number; for constrained decoding."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the model wrote.

    Attributes:
        text: Whole, with tags.
        tokens: How many it is.
        strict: Whether the strict decoder reads it.
        mask: `(64, 64)` bool, as the tolerant decoder reads it.
    """

    text: str
    tokens: int
    strict: bool
    mask: NDArray[np.bool_]


@torch.inference_mode()
def write(model: Writer, features: Tensor, question: Tensor, limit: int, allow: Allow | None = None) -> list[list[int]]:
    """The most probable next token, again and again, for each question; at most `limit` tokens each.

    Args:
        model: In eval mode.
        features: `(n, WIDTH, 16, 16)`.
        question: `(n, LONGEST)` tokens.
        limit: Tokens of an answer, so that one without an end ends.
        allow: Only the tokens that it gives for the text so far may follow.

    Returns:
        The tokens of each answer, from the opening tag to the closing one.
    """
    n = len(features)
    cache = model.start(features, question)
    written = torch.full((n, 1), tokens.OPEN_ID)
    done = torch.zeros(n, dtype=torch.bool)
    for _ in range(limit - 1):
        row, column = places(written, model.grid)
        logits = model.step(written[:, -1], row[:, -1], column[:, -1], cache)
        if allow is not None:
            for number in range(n):
                shut = torch.ones(logits.shape[1], dtype=torch.bool)
                shut[list(allow(number, tokens.decode(written[number].tolist())))] = False
                logits[number, shut & ~done[number]] = -torch.inf
        written = torch.cat([written, torch.where(done, tokens.PAD_ID, logits.argmax(1))[:, None]], 1)
        done |= written[:, -1] == tokens.CLOSE_ID
        if bool(done.all()):
            break
    return [[token for token in row if token != tokens.PAD_ID] for row in written.tolist()]


def limit_of(grid: int) -> int:
    """The most tokens of an answer; the longest right one, cell by cell, has two for each cell."""
    return 2 * grid * grid + 16


def read(written: Sequence[int], noun: str, grid: int, layout: Layout) -> Answer:
    """The mask in an answer: strictly if it can be read so, else with repairs. Cells of other labels do not count."""
    text = tokens.decode(written)
    mask = _strict(text, grid, layout)
    strict = mask is not None
    if mask is None:
        mask = read_answer(text, (grid, grid), [noun]).mask
    wanted = [number for number, label in enumerate(mask.labels) if label.name == noun]
    return Answer(text, len(written), strict, np.asarray(np.isin(mask.pixels(SIDE, SIDE), wanted)))


def _strict(text: str, grid: int, layout: Layout) -> TextMask | None:
    if not (text.startswith(OPEN) and text.endswith(CLOSE)):
        return None
    try:
        return decode_layout(text[len(OPEN) : -len(CLOSE)], layout, (grid, grid))
    except UsageError:
        return None


def answers(
    model: Writer, vision: Vision, items: Sequence[Item], grid: int, layout: Layout, allow: Allow | None = None
) -> list[Answer]:
    """The answers to questions, in their order."""
    model.eval()
    out: list[Answer] = []
    for first in range(0, len(items), TOGETHER):
        part = items[first : first + TOGETHER]
        features = see(vision, [item.scene for item in part])
        written = write(model, features, asked([item.question for item in part]), limit_of(grid), allow)
        out += [read(w, item.question.noun, grid, layout) for w, item in zip(written, part, strict=True)]
    return out


def right_answers(items: Sequence[Item], grid: int, layout: Layout) -> list[Answer]:
    """What a model without a fault would write: the ceiling of the grid."""
    texts = [tokens.encode(answer_text(item, grid, layout)) for item in items]
    return [read(text, item.question.noun, grid, layout) for text, item in zip(texts, items, strict=True)]


def empty_answers(items: Sequence[Item]) -> list[Answer]:
    """Empty masks: the baseline that is never wrong about what is not there."""
    return [Answer("", 0, True, np.zeros((SIDE, SIDE), np.bool_)) for _ in items]


def scores(items: Sequence[Item], given: Sequence[Answer]) -> dict[str, float]:
    """How good answers are.

    Returns:
        `ciou`: pixels in both over pixels in either, of all questions about what is there; `ciou_all`: of all
        questions; `giou`: the mean over all questions, 1 for a right empty mask and 0 for a wrong one; `miou`: the
        mean over what is there; `absent`: the share of empty masks among questions about what is not there; `missed`:
        among the others; `strict`: the share of texts that the strict decoder reads; `tokens`: per answer.
    """
    truth = np.stack([item.question.mask(item.scene) for item in items])
    found = np.stack([answer.mask for answer in given])
    both, either = (truth & found).sum((1, 2)), (truth | found).sum((1, 2))
    each = np.where(either == 0, 1.0, both / np.maximum(either, 1))
    there: NDArray[np.bool_] = np.array([not item.question.absent for item in items])
    empty = np.asarray(~found.any((1, 2)))
    return {
        "ciou": float(both[there].sum() / max(1, either[there].sum())),
        "ciou_all": float(both.sum() / max(1, either.sum())),
        "giou": float(each.mean()),
        "miou": _mean(each[there]),
        "absent": _mean(empty[np.logical_not(there)]),
        "missed": _mean(empty[there]),
        "strict": float(np.mean([answer.strict for answer in given])),
        "tokens": float(np.mean([answer.tokens for answer in given])),
    }


def _mean(values: NDArray[np.generic]) -> float:
    return float(values.mean()) if values.size else float("nan")


def by_kind(items: Sequence[Item], given: Sequence[Answer]) -> dict[str, dict[str, float]]:
    """The scores of each kind of question."""
    kinds = dict.fromkeys(item.question.kind for item in items)
    out = {}
    for kind in kinds:
        chosen = [n for n, item in enumerate(items) if item.question.kind == kind]
        out[kind] = scores([items[n] for n in chosen], [given[n] for n in chosen])
    return out


def speed(
    model: Writer, vision: Vision, items: Sequence[Item], grid: int, allow: Allow | None = None
) -> tuple[float, float]:
    """Seconds per answer, written one at a time, and tokens per second; the picture's features are ready."""
    model.eval()
    features = see(vision, [item.scene for item in items])
    questions = asked([item.question for item in items])
    begun, count = time.perf_counter(), 0
    for number in range(len(items)):
        one = slice(number, number + 1)
        count += len(write(model, features[one], questions[one], limit_of(grid), allow)[0])
    seconds = time.perf_counter() - begun
    return seconds / len(items), count / seconds
