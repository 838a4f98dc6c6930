"""Masks as text, for language models that read and write them (the semantic descriptors of Text4Seg, ICLR 2025).

A picture is a small grid of cells; each cell has a label, or `others` for background. Runs of a row are written
`label *count`, joined by "| "; rows are joined by a line break and a space, and the text ends with a line break
(row-wise run lengths, section 3.2 of the paper). textlayout.py has the two other ways of writing that the paper
compares with it.

There are two forms. "legacy" is exactly what the paper's code writes; labels with "|" or "*" and a thing called
`others` cannot be written. "strict" is the same text for all other labels and escapes these, so that `decode` returns
every mask unchanged:

    \\p |    \\a *    \\h #    \\l <    \\n line break    \\r carriage return    \\s space at an end    \\\\ \\
    \\e nothing: an empty label is \\e, and a thing called others is \\eothers

Several things of one name have numbers: `cup #1`, `cup #2`. `decode` reads the strict form and refuses everything
else; `read_answer` (textanswer.py) also reads what a model wrote with mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..geometry import nearest

Form = Literal["strict", "legacy"]
Cells = NDArray[np.int32]

Grid = tuple[int, int]
"""Rows and columns. The paper measures 16, 24 and 32 a side (its Fig. 6) and takes 16."""

OTHERS = "others"
"""How background is written."""
BACKGROUND = -1
"""The value of a background cell."""
MAX_CELLS = 1 << 20
"""Texts with more cells are refused: a few letters can claim any count."""
OPEN, CLOSE = "<seg>", "</seg>"
"""Tags around a mask in an answer."""

_ESCAPES = {"\\": "\\\\", "|": "\\p", "*": "\\a", "#": "\\h", "<": "\\l", "\n": "\\n", "\r": "\\r"}
_MEANING = {"\\": "\\", "p": "|", "a": "*", "h": "#", "l": "<", "n": "\n", "r": "\r", "s": " ", "e": ""}
_ITEM = re.compile(r"(?P<name>[^*#|\n]*?)(?: #(?P<instance>[1-9][0-9]{0,8}))? \*(?P<count>[1-9][0-9]{0,8})")
_UNSAFE = re.compile(r"[|*\n\r]")


class Label(NamedTuple):
    """What a cell shows. instance: 1, 2, ... for several things of one name; 0 without a number."""

    name: str
    instance: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TextMask:
    """A mask of labelled cells. Equal masks have equal fields.

    Attributes:
        cells: `(h, w)` int32 indices into `labels`, BACKGROUND for none.
        labels: Distinct, in the order in which they first appear, row by row.
    """

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

    def mask(self, name: str, instance: int | None = None) -> NDArray[np.bool_]:
        """Which cells `(h, w)` show a thing of that name; `instance` chooses one of several."""
        indices = [i for i, (n, k) in enumerate(self.labels) if n == name and instance in (None, k)]
        return np.isin(self.cells, indices)

    def pixels(self, height: int, width: int) -> Cells:
        """The cells at the size of a picture, `(height, width)` int32; pixel y shows cell floor(y h / height).

        The paper's code rounds in the same way.
        """
        h, w = self.cells.shape
        rows, columns = np.arange(height) * h // height, np.arange(width) * w // width
        return np.asarray(self.cells[rows][:, columns], np.int32)


def build(cells: NDArray[np.integer], labels: Sequence[Label | str]) -> TextMask:
    """A mask from cells `(h, w)` that index `labels`; negative cells are background.

    Unused labels are dropped, and equal ones merged. Raises UsageError for a negative instance.
    """
    given = [Label(label) if isinstance(label, str) else label for label in labels]
    for name, instance in given:
        if instance < 0:
            raise UsageError(f"instances are numbered from 1, and 0 means no number; got {instance} for {name!r}")
    flat = np.asarray(cells, np.int64).ravel()
    if flat.size and flat.max() >= len(given):
        raise ValueError("a cell has a label that is not there")
    used, first = np.unique(flat[flat >= 0], return_index=True)
    order: dict[Label, int] = {}
    table = np.full(len(given) + 1, BACKGROUND, np.int32)  # the last entry is for the background
    for index in used[np.argsort(first)]:
        table[index] = order.setdefault(given[index], len(order))
    return TextMask(table[np.where(flat < 0, len(given), flat)].reshape(np.shape(cells)), tuple(order))


def shrink(picture: NDArray[np.generic], grid: Grid) -> NDArray[np.generic]:
    """The values of a picture `(H, W)` at the centres of the cells of a grid: `(h, w)`.

    This is nearest-neighbour resizing, as in the paper's code. Things smaller than a cell may get lost.
    """
    h, w = grid
    if min(h, w) < 1 or h * w > MAX_CELLS:
        raise UsageError(f"a grid is 1 to {MAX_CELLS} cells, such as 16x16; got {h}x{w}")
    if not picture.size:
        raise UsageError("the mask is empty; it has no pixels")
    return nearest(picture, h, w)


def from_classes(
    classes: NDArray[np.integer],
    names: Mapping[int, Label | str] | Sequence[Label | str],
    grid: Grid = (16, 16),
) -> TextMask:
    """A mask from a picture `(H, W)` of class numbers and their names; numbers without a name are background."""
    given = dict(enumerate(names)) if not isinstance(names, Mapping) else dict(names)
    numbers = list(given)
    small = shrink(classes, grid)
    cells = np.full(grid, BACKGROUND, np.int32)
    for index, number in enumerate(numbers):
        cells[small == number] = index
    return build(cells, [given[number] for number in numbers])


def from_masks(masks: NDArray[np.bool_], labels: Sequence[Label | str], grid: Grid = (16, 16)) -> TextMask:
    """A mask of several things, `(n, H, W)` bool. Where they overlap, the smaller one is on top."""
    if len(masks) != len(labels):
        raise ValueError(f"{len(masks)} masks and {len(labels)} labels")
    cells = np.full(grid, BACKGROUND, np.int32)
    for index in np.argsort(-masks.sum(axis=(1, 2)), kind="stable"):
        cells[np.asarray(shrink(masks[index], grid), bool)] = index
    return build(cells, labels)


def numbered(names: Sequence[str]) -> list[Label]:
    """Names as labels; names that occur more than once get the numbers 1, 2, ..."""
    count = {name: names.count(name) for name in set(names)}
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(Label(name, seen[name] if count[name] > 1 else 0))
    return out


def encode(mask: TextMask, form: Form = "strict") -> str:
    """The text of a mask. Raises UsageError for a label that the legacy form cannot hold."""
    words = [written(label, form) for label in mask.labels]
    rows = []
    for row in mask.cells.tolist():
        runs = ((index, sum(1 for _ in run)) for index, run in groupby(row))
        rows.append("| ".join(f"{OTHERS if i == BACKGROUND else words[i]} *{n}" for i, n in runs))
    return "\n ".join(rows) + "\n"


def wrap(text: str) -> str:
    """The text between the tags that models are trained to write."""
    return f"{OPEN}{text}{CLOSE}"


def decode(text: str, grid: Grid | None = None) -> TextMask:
    """The mask of a text in the strict form. grid: rows and columns that it must have.

    Raises UsageError for any other text; the message names the row.
    """
    if not text.endswith("\n"):
        raise UsageError("the text of a mask ends with a line break; this one was cut short; read_answer can read it")
    rows: list[list[int]] = []
    order: dict[Label, int] = {}
    cells = 0
    for number, line in enumerate(text[:-1].split("\n"), 1):
        if number > 1 and not line.startswith(" "):
            raise UsageError(f"row {number} of the mask does not begin with a space")
        row: list[int] = []
        for item in line[number > 1 :].split("| "):
            label, count = read_item(item, number)
            if (cells := cells + count) > MAX_CELLS:
                raise UsageError(f"the mask claims more than {MAX_CELLS} cells in row {number}")
            row += [BACKGROUND if label is None else order.setdefault(label, len(order))] * count
        if rows and len(row) != len(rows[0]):
            raise UsageError(f"row {number} of the mask has {len(row)} cells, the first one {len(rows[0])}")
        rows.append(row)
    if grid is not None and (len(rows), len(rows[0])) != grid:
        raise UsageError(f"the mask has {len(rows)}x{len(rows[0])} cells, not {grid[0]}x{grid[1]}")
    return TextMask(np.array(rows, np.int32), tuple(order))


def read_item(item: str, row: int = 1) -> tuple[Label | None, int]:
    """Label and count of a run `label *count` in the strict form; None is background.

    Raises UsageError for anything else; the message names the row.
    """
    match = _ITEM.fullmatch(item)
    if match is None:
        raise UsageError(f"{item[:40]!r} in row {row} of the mask is not `label *count`")
    count = int(match["count"])
    if match["name"] == OTHERS and match["instance"] is None:
        return None, count
    return Label(unescape(match["name"]), int(match["instance"] or 0)), count


def written(label: Label, form: Form = "strict") -> str:
    """A label with its number, as a form writes it. Raises UsageError for one that the legacy form cannot hold."""
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
    """The inverse of `escape`. Raises UsageError for an unknown escape."""
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
