"""Masks as text, for language models that read and write them (the semantic descriptors of Text4Seg, ICLR 2025).

A picture is a small grid of cells; each cell has a label, or `others` when it is nothing in particular. Runs of a row
are written `label *count`, joined by "| ", rows by a line break and a space, with a line break at the end (row-wise
run lengths, section 3.2 of the paper).

Two forms. "legacy" is what the paper's code writes, to the byte: it cannot hold a "|", a "*" or a thing called
`others`. "strict" is the same text wherever that is safe, and escapes the rest, so that everything comes back:

    \\p |    \\a *    \\h #    \\l <    \\n line break    \\r carriage return    \\s space at an end    \\\\ \\
    \\e nothing: an empty label is \\e, and a thing called others is \\eothers

Several things of one name are told apart by a number: `cup #1`, `cup #2`. `decode` takes the strict form and refuses
everything else; `read_answer` makes the best of what a model wrote (textanswer.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..geometry import nearest

Form = Literal["strict", "legacy"]
Cells = NDArray[np.int32]

GRIDS = (16, 24, 32)
"""Cells a side that the paper measures (its Fig. 6); 16 is its choice."""
OTHERS = "others"
BACKGROUND = -1
MOST_CELLS = 1 << 20
"""A text that claims more cells than this is refused: counts are numbers that anybody can write."""

OPEN, CLOSE = "<seg>", "</seg>"

_ESCAPES = {"\\": "\\\\", "|": "\\p", "*": "\\a", "#": "\\h", "<": "\\l", "\n": "\\n", "\r": "\\r"}
_MEANING = {"\\": "\\", "p": "|", "a": "*", "h": "#", "l": "<", "n": "\n", "r": "\r", "s": " ", "e": ""}
_ITEM = re.compile(r"(?P<name>[^*#|\n]*?)(?: #(?P<instance>[1-9][0-9]{0,8}))? \*(?P<count>[1-9][0-9]{0,8})")
_UNSAFE = re.compile(r"[|*\n\r]")


class Label(NamedTuple):
    """What a cell shows. instance: 1, 2, ... tells things of one name apart; 0 where that does not matter."""

    name: str
    instance: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TextMask:
    """cells `(h, w)` int32: which of `labels` each cell shows, BACKGROUND for none. Labels are distinct, and in the
    order in which they first appear, row by row: equal masks have equal fields."""

    cells: Cells
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if self.cells.ndim != 2 or not self.cells.size:
            raise ValueError(f"cells are (h, w) and not empty, not {self.cells.shape}")
        if self.cells.min() < BACKGROUND or self.cells.max() >= len(self.labels):
            raise ValueError("a cell has a label that is not there")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TextMask):
            return NotImplemented
        return self.labels == other.labels and np.array_equal(self.cells, other.cells)

    __hash__ = None  # type: ignore[assignment]

    def mask(self, name: str, instance: int | None = None) -> NDArray[np.bool_]:
        """Which cells `(h, w)` show a thing of that name: that instance, or any of them."""
        wanted = [i for i, (n, k) in enumerate(self.labels) if n == name and instance in (None, k)]
        return np.isin(self.cells, wanted)

    def pixels(self, height: int, width: int) -> Cells:
        """The cells at the size of a picture, `(height, width)` int32, nearest as the paper's code has it: pixel y is
        of cell floor(y h / height)."""
        h, w = self.cells.shape
        rows, columns = np.arange(height) * h // height, np.arange(width) * w // width
        return np.asarray(self.cells[rows][:, columns], np.int32)


def build(cells: NDArray[np.integer], labels: Sequence[Label | str]) -> TextMask:
    """A mask of cells `(h, w)` that index `labels`; negative ones are background. Unused labels are dropped and equal
    ones made one."""
    given = [Label(label) if isinstance(label, str) else label for label in labels]
    for name, instance in given:
        if instance < 0:
            raise UsageError(f"instances are numbered from 1, 0 is for none; got {instance} for {name!r}")
    flat = np.asarray(cells, np.int64).ravel()
    if flat.size and flat.max() >= len(given):
        raise ValueError("a cell has a label that is not there")
    used, first = np.unique(flat[flat >= 0], return_index=True)
    order: dict[Label, int] = {}
    table = np.full(len(given) + 1, BACKGROUND, np.int32)  # the last entry is for the background
    for index in used[np.argsort(first)]:
        table[index] = order.setdefault(given[index], len(order))
    return TextMask(table[np.where(flat < 0, len(given), flat)].reshape(np.shape(cells)), tuple(order))


def shrink(picture: NDArray[np.generic], grid: tuple[int, int]) -> NDArray[np.generic]:
    """The values of a picture `(H, W)` on a grid (h, w): that of the pixel in the middle of each cell (nearest, as the
    paper's code resizes masks). Things smaller than a cell may fall between."""
    h, w = grid
    if min(h, w) < 1 or h * w > MOST_CELLS:
        raise UsageError(f"a grid is 1 to {MOST_CELLS} cells, such as 16x16; got {h}x{w}")
    if not picture.size:
        raise UsageError("the mask is empty; it has no pixels")
    return nearest(picture, h, w)


def from_mask(mask: NDArray[np.bool_], label: Label | str, grid: tuple[int, int] = (16, 16)) -> TextMask:
    """One thing: where `mask` `(H, W)` is true."""
    return build(np.where(shrink(np.asarray(mask, bool), grid), 0, BACKGROUND), [label])


def from_classes(
    classes: NDArray[np.integer],
    names: Mapping[int, Label | str] | Sequence[Label | str],
    grid: tuple[int, int] = (16, 16),
) -> TextMask:
    """A picture `(H, W)` of numbers with their names; numbers without a name are background."""
    given = dict(enumerate(names)) if not isinstance(names, Mapping) else dict(names)
    numbers = list(given)
    small = shrink(classes, grid)
    cells = np.full(grid, BACKGROUND, np.int32)
    for index, number in enumerate(numbers):
        cells[small == number] = index
    return build(cells, [given[number] for number in numbers])


def from_masks(masks: NDArray[np.bool_], labels: Sequence[Label | str], grid: tuple[int, int] = (16, 16)) -> TextMask:
    """Several things, masks `(n, H, W)`: where they overlap the smaller one is on top."""
    if len(masks) != len(labels):
        raise ValueError(f"{len(masks)} masks and {len(labels)} labels")
    cells = np.full(grid, BACKGROUND, np.int32)
    for index in np.argsort(-masks.sum(axis=(1, 2)), kind="stable"):
        cells[np.asarray(shrink(masks[index], grid), bool)] = index
    return build(cells, labels)


def numbered(names: Sequence[str]) -> list[Label]:
    """Names as labels, those that come more than once with the numbers 1, 2, ..."""
    count = {name: names.count(name) for name in set(names)}
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(Label(name, seen[name] if count[name] > 1 else 0))
    return out


def encode(mask: TextMask, form: Form = "strict") -> str:
    """The text of a mask.

    Raises UsageError for a label that the legacy form cannot hold.
    """
    words = [_written(label, form) for label in mask.labels]
    rows = []
    for row in mask.cells.tolist():
        runs = ((index, sum(1 for _ in run)) for index, run in groupby(row))
        rows.append("| ".join(f"{OTHERS if i == BACKGROUND else words[i]} *{n}" for i, n in runs))
    return "\n ".join(rows) + "\n"


def wrap(text: str) -> str:
    """The text between the tags that a model is taught to write."""
    return f"{OPEN}{text}{CLOSE}"


def decode(text: str, grid: tuple[int, int] | None = None) -> TextMask:
    """The mask of a text that `encode` wrote in the strict form. grid: (h, w) that it must have.

    Raises UsageError, with the row, for anything else.
    """
    if not text.endswith("\n"):
        raise UsageError("the text of a mask ends with a line break; this one was cut short, or is for read_answer")
    rows: list[list[int]] = []
    order: dict[Label, int] = {}
    cells = 0
    for number, line in enumerate(text[:-1].split("\n"), 1):
        if number > 1 and not line.startswith(" "):
            raise UsageError(f"row {number} of the mask does not begin with a space")
        row: list[int] = []
        for item in line[number > 1 :].split("| "):
            label, count = _item(item, number)
            if (cells := cells + count) > MOST_CELLS:
                raise UsageError(f"the mask claims more than {MOST_CELLS} cells in row {number}")
            row += [BACKGROUND if label is None else order.setdefault(label, len(order))] * count
        if rows and len(row) != len(rows[0]):
            raise UsageError(f"row {number} of the mask has {len(row)} cells, the first one {len(rows[0])}")
        rows.append(row)
    if grid is not None and (len(rows), len(rows[0])) != grid:
        raise UsageError(f"the mask has {len(rows)}x{len(rows[0])} cells, not {grid[0]}x{grid[1]}")
    return TextMask(np.array(rows, np.int32), tuple(order))


def _item(item: str, row: int) -> tuple[Label | None, int]:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise UsageError(f"{item[:40]!r} in row {row} of the mask is not `label *count`")
    count = int(match["count"])
    if match["name"] == OTHERS and match["instance"] is None:
        return None, count
    return Label(unescape(match["name"]), int(match["instance"] or 0)), count


def _written(label: Label, form: Form) -> str:
    suffix = f" #{label.instance}" if label.instance else ""
    if form == "strict":
        return escape(label.name) + suffix
    text = label.name + suffix
    if not text.strip() or text == OTHERS or _UNSAFE.search(text):
        raise UsageError(f"the legacy form cannot hold the label {label.name!r}; use the strict form")
    return text


def escape(name: str) -> str:
    """A name as the strict form writes it."""
    text = "".join(_ESCAPES.get(char, char) for char in name)
    core = text.strip(" ")
    if core and core != text:
        ahead = len(text) - len(text.lstrip(" "))
        text = "\\s" * ahead + core + "\\s" * (len(text) - ahead - len(core))
    elif not core:
        text = "\\s" * len(text) or "\\e"
    return f"\\e{text}" if text == OTHERS else text


def unescape(text: str) -> str:
    """The inverse of `escape`. Raises UsageError for an escape that there is not."""
    out: list[str] = []
    chars = iter(text)
    for char in chars:
        if char == "\\":
            code = next(chars, "")
            if code not in _MEANING or not code:
                raise UsageError(f"{text[:40]!r} holds \\{code}, which means nothing in a mask")
            char = _MEANING[code]
        out.append(char)
    return "".join(out)


def legacy_sequence(text: str) -> tuple[list[int], list[str]]:
    """The numbers of all cells in one row, and the labels they stand for, as the paper's code reads a text: numbers in
    the order of appearance but `others` first, where it occurs. A thing that fills the picture so has the number 0,
    which they take for background; that is why there is `decode`.

    Raises UsageError where theirs ends with an error.
    """
    words: list[str] = []
    for row in text.strip().split("\n "):
        for item in row.split("| "):
            parts = item.split(" *")
            if len(parts) != 2 or not parts[1].strip().isdecimal():
                raise UsageError(f"{item[:40]!r} is not `label *count`; read_answer takes such texts")
            if len(words) + int(parts[1]) > MOST_CELLS:
                raise UsageError(f"the mask claims more than {MOST_CELLS} cells")
            # They write each run out again before they cut the whole at "|", so one inside a label cuts it as well.
            words += [w.strip() for w in parts[0].split("|")] * int(parts[1])
    names = _distinct(words)
    if OTHERS in names:
        names = [OTHERS, *(name for name in names if name != OTHERS)]
    number = {name: i for i, name in enumerate(names)}
    return [number[word] for word in words], names


def _distinct(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))
