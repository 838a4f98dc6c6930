"""Three ways to lay out a mask as text, to compare their lengths (Text4Seg, section 3.2, Fig. 3 and 8).

`rows` is textmask.py: run lengths within a row, and a line break after each row (R-RLE, what the paper recommends).
`image` has run lengths over the whole picture, without rows (I-RLE): `others *10| cat *6| others *240`. `full` has the
label of every cell and no counts: `others| others| cat`. The two that have no rows need the grid to be read. All of
them end with a line break, so that a text that was cut short is noticed. Labels are written as in textmask.py.
"""

from __future__ import annotations

from itertools import groupby
from typing import Literal

import numpy as np

from ..errors import UsageError
from .textmask import (
    BACKGROUND,
    MAX_CELLS,
    OTHERS,
    Form,
    Grid,
    Label,
    TextMask,
    decode,
    encode,
    read_item,
    written,
)

Layout = Literal["rows", "image", "full"]
LAYOUTS: tuple[Layout, ...] = ("rows", "image", "full")


def encode_layout(mask: TextMask, layout: Layout = "rows", form: Form = "strict") -> str:
    """The text of a mask in one of three layouts.

    Raises UsageError for an unknown layout, or a label that the legacy form cannot hold.
    """
    if layout == "rows":
        return encode(mask, form)
    if layout == "image":
        return encode_image_rle(mask, form)
    if layout == "full":
        return encode_full(mask, form)
    raise UsageError(f"`layout` is one of {', '.join(LAYOUTS)}; got {layout!r}")


def decode_layout(text: str, layout: Layout, grid: Grid) -> TextMask:
    """The mask of a text of `encode_layout` in the strict form. Raises UsageError for any other text."""
    if layout == "rows":
        return decode(text, grid)
    if layout == "image":
        return decode_image_rle(text, grid)
    if layout == "full":
        return decode_full(text, grid)
    raise UsageError(f"`layout` is one of {', '.join(LAYOUTS)}; got {layout!r}")


def encode_image_rle(mask: TextMask, form: Form = "strict") -> str:
    """The text with run lengths over the whole picture, row after row (I-RLE).

    Raises UsageError for a label that the legacy form cannot hold.
    """
    words = _words(mask, form)
    runs = ((index, sum(1 for _ in run)) for index, run in groupby(mask.cells.ravel().tolist()))
    return "| ".join(f"{words[index]} *{count}" for index, count in runs) + "\n"


def encode_full(mask: TextMask, form: Form = "strict") -> str:
    """The text with the label of every cell, row after row (the paper's full-length semantic descriptors).

    Raises UsageError for a label that the legacy form cannot hold.
    """
    words = _words(mask, form)
    return "| ".join(words[index] for index in mask.cells.ravel().tolist()) + "\n"


def decode_image_rle(text: str, grid: Grid) -> TextMask:
    """The mask of a text of `encode_image_rle` in the strict form.

    Raises UsageError for any other text, and when the counts do not add up to the cells of the grid.
    """
    return _mask([read_item(item) for item in _items(text)], grid)


def decode_full(text: str, grid: Grid) -> TextMask:
    """The mask of a text of `encode_full` in the strict form.

    Raises UsageError for any other text, and when there are not as many labels as the grid has cells.
    """
    items = _items(text)
    known = {item: read_item(f"{item} *1") for item in set(items[: MAX_CELLS + 1])}
    return _mask([known[item] for item in items[: MAX_CELLS + 1]], grid)


def _words(mask: TextMask, form: Form) -> dict[int, str]:
    return {BACKGROUND: OTHERS, **{i: written(label, form) for i, label in enumerate(mask.labels)}}


def _items(text: str) -> list[str]:
    if not text.endswith("\n"):
        raise UsageError("the text of a mask ends with a line break; this one was cut short; read_answer can read it")
    return text[:-1].split("| ")


def _mask(runs: list[tuple[Label | None, int]], grid: Grid) -> TextMask:
    h, w = grid
    total = sum(count for _, count in runs)
    if total != h * w or total > MAX_CELLS:
        raise UsageError(f"the mask has {total} cells, and a grid of {h}x{w} has {h * w}")
    order: dict[Label, int] = {}
    numbers = [BACKGROUND if label is None else order.setdefault(label, len(order)) for label, _ in runs]
    cells = np.repeat(np.array(numbers, np.int32), [count for _, count in runs])
    return TextMask(cells.reshape(grid), tuple(order))
