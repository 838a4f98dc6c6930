"""Greedy answers to held-out questions, and how good they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidmem.errors import UsageError
from vidmem.evaluation.masks import Overlaps, ciou, giou, no_target, overlaps
from vidmem.export.textanswer import read_answer
from vidmem.export.textlayout import Layout, decode_layout
from vidmem.export.textmask import CLOSE, OPEN, TextMask
from vidmem.vlm.constrained import MaskLogits
from vidmem.vlm.grammar import MaskGrammar
from vidmem.vlm.vocabulary import Vocabulary

from . import tokens
from .data import Item, answer_text, asked, see
from .model import Writer, places
from .scenes import SIDE
from .vision import Vision

TOGETHER = 128
"""Answers that are written at the same time."""

Choose = Callable[[Tensor, Tensor], Tensor]
"""Changes the logits `(n, tokens)` of what follows the answers `(n, t)` so far; for constrained decoding."""


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
def write(
    model: Writer, features: Tensor, question: Tensor, limit: int, choose: Choose | None = None
) -> list[list[int]]:
    """The most probable next token, again and again, for each question; at most `limit` tokens each.

    Args:
        model: In eval mode.
        features: `(n, WIDTH, 16, 16)`.
        question: `(n, LONGEST)` tokens.
        limit: Tokens of an answer, so that one without an end ends.
        choose: What may follow, such as `constrained`.

    Returns:
        The tokens of each answer, from the opening tag to the closing one.
    """
    n = len(features)
    memory = model.start(features, question)
    written = torch.full((n, 1), tokens.OPEN_ID)
    done = torch.zeros(n, dtype=torch.bool)
    for _ in range(limit - 1):
        row, column = places(written, model.grid)
        logits = model.step(written[:, -1], row[:, -1], column[:, -1], memory)
        if choose is not None:
            logits = choose(written, logits)
        written = torch.cat([written, torch.where(done, tokens.PAD_ID, logits.argmax(1))[:, None]], 1)
        done |= written[:, -1] == tokens.CLOSE_ID
        if bool(done.all()):
            break
    return [[token for token in row if token != tokens.PAD_ID] for row in written.tolist()]


def limit_of(grid: int) -> int:
    """The most tokens of an answer: a run has four, and no mask has more runs than cells."""
    return 4 * grid * grid + 4


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


def constrained(noun: str, grid: int) -> MaskLogits:
    """Allows nothing but masks of a grid with one label."""
    return MaskLogits(_vocabulary(), MaskGrammar((grid, grid), [noun]), 0, [tokens.PAD_ID])


@cache
def _vocabulary() -> Vocabulary:
    return Vocabulary([b"" if token == tokens.PAD else token.encode() for token in tokens.TOKENS])


def answers(
    model: Writer, vision: Vision, items: Sequence[Item], grid: int, layout: Layout, *, constrain: bool = False
) -> list[Answer]:
    """The answers to questions, in their order. constrain: write nothing but masks with the noun of the question."""
    model.eval()
    found: dict[int, Answer] = {}
    groups: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        groups.setdefault(item.question.noun if constrain else "", []).append(number)
    for noun, group in groups.items():
        for first in range(0, len(group), TOGETHER):
            numbers = group[first : first + TOGETHER]
            part = [items[n] for n in numbers]
            features = see(vision, [item.scene for item in part])
            choose = constrained(noun, grid) if constrain else None
            written = write(model, features, asked([item.question for item in part]), limit_of(grid), choose)
            for number, item, ids in zip(numbers, part, written, strict=True):
                found[number] = read(ids, item.question.noun, grid, layout)
    return [found[number] for number in range(len(items))]


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
    every = overlaps((answer.mask, item.question.mask(item.scene)) for item, answer in zip(items, given, strict=True))
    there = every.wanted > 0
    some = Overlaps(every.both[there], every.predicted[there], every.wanted[there])
    absent, present = no_target(every)
    return {
        "ciou": ciou(some),
        "ciou_all": ciou(every),
        "giou": giou(every),
        "miou": giou(some),
        "absent": absent,
        "missed": 1 - present,
        "strict": float(np.mean([answer.strict for answer in given])),
        "tokens": float(np.mean([answer.tokens for answer in given])),
    }


def by_kind(items: Sequence[Item], given: Sequence[Answer]) -> dict[str, dict[str, float]]:
    """The scores of each kind of question."""
    kinds = dict.fromkeys(item.question.kind for item in items)
    out = {}
    for kind in kinds:
        chosen = [n for n, item in enumerate(items) if item.question.kind == kind]
        out[kind] = scores([items[n] for n in chosen], [given[n] for n in chosen])
    return out


def speed(
    model: Writer, vision: Vision, items: Sequence[Item], grid: int, *, constrain: bool = False
) -> tuple[float, float]:
    """Seconds per answer, written one at a time, and tokens per second; the picture's features are ready."""
    model.eval()
    features = see(vision, [item.scene for item in items])
    questions = asked([item.question for item in items])
    ready = {item.question.noun: constrained(item.question.noun, grid) for item in items} if constrain else {}
    begun, count = time.perf_counter(), 0
    for number, item in enumerate(items):
        one = slice(number, number + 1)
        choose = ready.get(item.question.noun)
        count += len(write(model, features[one], questions[one], limit_of(grid), choose)[0])
    seconds = time.perf_counter() - begun
    return seconds / len(items), count / seconds


@torch.inference_mode()
def pace(model: Writer, vision: Vision, items: Sequence[Item], layout: Layout) -> float:
    """Seconds per answer in a layout, one at a time: the model is led through the right answers, token by token.

    This tells how long texts of that layout take, whether or not the model was taught to write them.
    """
    model.eval()
    features = see(vision, [item.scene for item in items])
    questions = asked([item.question for item in items])
    texts = [torch.tensor([tokens.encode(answer_text(item, model.grid, layout))]) for item in items]
    begun = time.perf_counter()
    for number, text in enumerate(texts):
        memory = model.start(features[number : number + 1], questions[number : number + 1])
        for length in range(1, text.shape[1]):
            row, column = places(text[:, :length], model.grid)
            model.step(text[:, length - 1], row[:, -1], column[:, -1], memory).argmax(1)
    return (time.perf_counter() - begun) / len(items)
