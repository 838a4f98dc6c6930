"""What a grid of text can hold: masks are written as text, read back, and scored against themselves.

No model that answers in such text can score more on these masks, so this is the upper bound of a grid (Text4Seg trains
16, 24 and 32 cells a side, its Fig. 6). Beside it stand the lengths of the text in three layouts (section 3.2).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..export.textlayout import LAYOUTS, Layout, decode_layout, encode_layout
from ..export.textmask import BACKGROUND, Grid, TextMask, from_classes, from_masks
from .masks import Mask, Overlaps, ciou, confusion, giou, miou, overlaps, precision

Count = Callable[[str], int]
"""Counts the tokens of a text."""


class TextCost(NamedTuple):
    """Means over masks. tokens: None without a tokenizer. encode_ms, decode_ms: to write and to read one text."""

    characters: float
    runs: float
    tokens: float | None
    encode_ms: float
    decode_ms: float


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that a grid can score.

    Attributes:
        grid: Rows and columns.
        masks: How many were scored.
        lost: How many have no cell on the grid, since they are smaller than one.
        ciou: Cumulative IoU. For pictures with several labels: over all labels of all pictures.
        giou: Mean IoU.
        precision: Share with an IoU of at least .5.
        miou: Mean IoU of the classes of a label list, over all labelled pixels; None for referring masks.
        cost: Of the text, for each layout.
    """

    grid: Grid
    masks: int
    lost: int
    ciou: float
    giou: float
    precision: float
    miou: float | None
    cost: dict[Layout, TextCost]


def referring_bound(
    samples: Iterable[tuple[str, Mask]], grid: Grid, *, layouts: Sequence[Layout] = LAYOUTS, tokens: Count | None = None
) -> Bound:
    """The bound for one thing per text.

    Args:
        samples: Phrases and their masks `(H, W)` bool, in pixels.
        grid: Rows and columns.
        layouts: Ways of writing whose cost is measured.
        tokens: Counts the tokens of a text.

    Raises:
        UsageError: There is no sample, or the grid is empty or too large.
    """
    meter = _Meter(grid, layouts, tokens)
    pairs = []
    for phrase, mask in samples:
        text_mask = meter(from_masks(mask[None], [phrase], grid))
        pairs.append(overlaps([(text_mask.pixels(*mask.shape) >= 0, mask)]))
    return meter.bound(_joined(pairs), None)


def semantic_bound(
    pictures: Iterable[NDArray[np.integer]],
    names: Sequence[str],
    grid: Grid,
    *,
    layouts: Sequence[Layout] = LAYOUTS,
    tokens: Count | None = None,
) -> Bound:
    """The bound for all labels of a picture in one text.

    Args:
        pictures: Label pictures `(H, W)` with indices into `names`; other values are background.
        names: Of all classes.
        grid: Rows and columns.
        layouts: Ways of writing whose cost is measured.
        tokens: Counts the tokens of a text.

    Raises:
        UsageError: There is no picture with a label, two classes have the same name, or the grid is empty or too
            large.
    """
    if len(set(names)) < len(names):
        raise UsageError("two classes have the same name; each needs a name of its own")
    meter = _Meter(grid, layouts, tokens)
    matrix = np.zeros((len(names), len(names) + 1), np.int64)
    pairs = []
    for picture in pictures:
        wanted = np.where((picture >= 0) & (picture < len(names)), picture, BACKGROUND)
        present = np.unique(wanted[wanted != BACKGROUND]).tolist()
        if not present:
            continue
        text_mask = meter(from_classes(wanted, {index: names[index] for index in present}, grid))
        number = {name: index for index, name in enumerate(names)}
        table = np.array([*(number[label.name] for label in text_mask.labels), BACKGROUND])
        predicted = table[text_mask.pixels(*wanted.shape)]  # index BACKGROUND is -1, the last
        matrix += confusion(predicted, wanted, len(names), ignore=None)
        pairs.append(overlaps((predicted == index, wanted == index) for index in present))
    return meter.bound(_joined(pairs), miou(matrix))


class _Meter:
    """Writes and reads masks in every layout and adds up what it costs."""

    def __init__(self, grid: Grid, layouts: Sequence[Layout], tokens: Count | None) -> None:
        self._grid, self._tokens = grid, tokens
        self._rows: dict[Layout, list[tuple[int, int, int, float, float]]] = {layout: [] for layout in layouts}

    def __call__(self, mask: TextMask) -> TextMask:
        """Measure one mask and return it: its text gives it back unchanged."""
        for layout, rows in self._rows.items():
            start = time.perf_counter()
            text = encode_layout(mask, layout)
            middle = time.perf_counter()
            back = decode_layout(text, layout, self._grid)
            end = time.perf_counter()
            assert back == mask, "the strict form loses nothing"
            tokens = self._tokens(text) if self._tokens else 0
            rows.append((len(text), text.count("|") + text.count("\n"), tokens, middle - start, end - middle))
        return mask

    def bound(self, counted: Overlaps, mean_iou: float | None) -> Bound:
        if not len(counted):
            raise UsageError("there is no mask to measure with")
        cost = {}
        for layout, rows in self._rows.items():
            characters, runs, tokens, encode_s, decode_s = np.array(rows).mean(axis=0).tolist()
            cost[layout] = TextCost(
                characters, runs, tokens if self._tokens else None, encode_s * 1000, decode_s * 1000
            )
        return Bound(
            grid=self._grid,
            masks=len(counted),
            lost=int((counted.predicted == 0).sum()),
            ciou=ciou(counted),
            giou=giou(counted),
            precision=precision(counted),
            miou=mean_iou,
            cost=cost,
        )


def _joined(parts: Sequence[Overlaps]) -> Overlaps:
    empty = [np.zeros(0, np.int64)]
    return Overlaps(
        np.concatenate([p.both for p in parts] or empty),
        np.concatenate([p.predicted for p in parts] or empty),
        np.concatenate([p.wanted for p in parts] or empty),
    )
