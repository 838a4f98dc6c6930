"""Reading masks that a language model wrote: never an error, always a mask, and a list of what had to be mended.

Answers of models stop in the middle, miscount rows, forget stars and spaces, and vary labels. A row that is too short
is filled up with its last label and one that is too long is cut; so are the rows of the picture (Text4Seg's decoder
does that for the whole sequence at once, which shifts every row below a miscounted one).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from .textmask import BACKGROUND, CLOSE, MOST_CELLS, OPEN, OTHERS, Label, TextMask, build, decode, unescape

MOST_PROBLEMS = 20
"""Different problems that are told; the rest would say nothing new."""
ALIKE = 0.8
"""From this similarity on (difflib's ratio) a label that was not asked for counts as a misspelling of one that was."""

Run = tuple[Label | None, int]

_FENCE = re.compile(r"^\s*```[^\n]*\n|```\s*$")
_COUNTED = re.compile(r"(?P<name>.*?)\s*\*\s*(?P<count>\d{1,18})\s*", re.DOTALL)
_LAST_STAR = re.compile(r"(?P<name>.*\S)\s*\*\s*(?P<count>\d{1,18})\s*", re.DOTALL)
_NO_STAR = re.compile(r"(?P<name>.*\D)\s+[x×:]?\s*(?P<count>\d{1,18})\s*", re.DOTALL)
_INSTANCE = re.compile(r"(?P<name>.*\S)\s+#(?P<instance>[1-9]\d{0,8})", re.DOTALL)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """mask: what could be made of an answer. problems: what was mended, in words; empty when nothing was."""

    mask: TextMask
    problems: tuple[str, ...]


class _Notes:
    def __init__(self) -> None:
        self.told: dict[str, None] = {}

    def __call__(self, problem: str) -> None:
        if len(self.told) < MOST_PROBLEMS:
            self.told[problem] = None


def read_answer(text: str, grid: tuple[int, int] = (16, 16), names: Sequence[str] | None = None) -> Reading:
    """The mask in an answer, on a grid (h, w).

    names: the labels that were asked for. Others in the answer are taken for misspellings of one of them when they are
    alike, and else for background. Without it every label counts as it stands.
    """
    h, w = grid
    if min(h, w) < 1 or h * w > MOST_CELLS:
        raise UsageError(f"a grid is 1 to {MOST_CELLS} cells, such as 16x16; got {h}x{w}")
    note = _Notes()
    content = _content(text, note)
    if (whole := _exact(content, grid, names)) is not None:
        return Reading(whole, tuple(note.told))
    rows = [row for line in content.split("\n") if (row := _runs(line, h * w + 1, names, note))]
    if not rows:
        note("there is no mask in the answer")
        return Reading(TextMask(np.full(grid, BACKGROUND, np.int32), ()), tuple(note.told))
    lengths = [sum(count for _, count in row) for row in rows]
    flat = len(rows) == 1 or (sum(lengths) == h * w and set(lengths) != {w})
    if flat:  # run lengths over the whole picture, or rows broken elsewhere
        if h > 1 and len(rows) == 1:
            note("the answer is one row; it is read as the whole picture")
        cells = _fitted([run for row in rows for run in row], h * w, "the picture", note)
    else:
        if len(rows) != h:
            note(f"{len(rows)} rows, want {h}")
        cells = [cell for row in rows[:h] for cell in _fitted(row, w, "a row", note)]
        cells += cells[-1:] * (h * w - len(cells))
    order: dict[Label, int] = {}
    numbers = [BACKGROUND if cell is None else order.setdefault(cell, len(order)) for cell in cells]
    return Reading(build(np.array(numbers, np.int32).reshape(grid), list(order)), tuple(note.told))


def _content(text: str, note: _Notes) -> str:
    """What stands between the tags, or all of it; nothing where it is but prose."""
    low = text.lower()
    start = low.find(OPEN)
    if start >= 0:
        end = low.find(CLOSE, start)
        if end < 0:
            note("the end tag is missing; the answer was cut short")
        text = text[start + len(OPEN) : end if end >= 0 else None]
    else:
        if (end := low.find(CLOSE)) >= 0:
            text = text[:end]
        note("the tags are missing")
        text = _FENCE.sub("", text)
        if "*" not in text and "|" not in text:
            return ""
    return text


def _exact(text: str, grid: tuple[int, int], names: Sequence[str] | None) -> TextMask | None:
    """What needs no mending, so that every mask comes back as it was."""
    try:
        mask = decode(text, grid)
    except UsageError:
        return None
    return mask if names is None or all(label.name in names for label in mask.labels) else None


def _runs(line: str, most: int, names: Sequence[str] | None, note: _Notes) -> list[Run]:
    """The runs of one line, no count above `most`."""
    out: list[Run] = []
    pending = ""  # pieces without a count, when a known name has "|" in it
    for piece in line.split("|"):
        whole = f"{pending}|{piece}" if pending else piece
        if not piece.strip() and not pending:
            if len(line.strip()) > 1:
                note("an empty run")
            continue
        name, count = _split(whole.strip(), note, counted=False)
        if names and count is None and any(n.startswith(whole.strip() + "|") for n in names):
            pending = whole.strip()
            continue
        if pending and name not in (names or ()):
            out.append((_label(pending, names, note), 1))
            whole = piece
        pending = ""
        name, count = _split(whole.strip(), note, counted=True)
        if count:
            out.append((_label(name, names, note), min(count, most)))
    if pending:
        out.append((_label(pending, names, note), 1))
    return out


def _split(item: str, note: _Notes, counted: bool) -> tuple[str, int | None]:
    """Name and count; without a count None, or 1 when `counted`: descriptors that are not run lengths have none."""
    if match := _COUNTED.fullmatch(item):
        if "*" in match["name"] and (last := _LAST_STAR.fullmatch(item)):
            match = last
        return match["name"], int(match["count"])
    if not counted:
        return item, None
    if match := _NO_STAR.fullmatch(item):
        note(f"{item[:40]!r} lacks a star")
        return match["name"].rstrip(), int(match["count"])
    if "*" in item:
        name = item.rsplit("*", 1)[0].rstrip()
        note(f"{item[:40]!r} has no count, one cell is taken")
        return name, 1
    return item, 1


def _label(text: str, names: Sequence[str] | None, note: _Notes) -> Label | None:
    instance = 0
    if match := _INSTANCE.fullmatch(text):
        text, instance = match["name"], int(match["instance"])
    if _plain(text) == OTHERS:
        return None
    try:
        name = unescape(text)
    except UsageError:
        name = text
    if names is None:
        return Label(name, instance)
    if name in names:
        return Label(name, instance)
    plain = {_plain(n): n for n in names}
    if (known := plain.get(_plain(name))) is None:
        close = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=ALIKE)
        if not close:
            note(f"{name[:40]!r} was not asked for")
            return None
        known = plain[close[0]]
        note(f"{name[:40]!r} is taken for {known[:40]!r}")
    return Label(known, instance)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _fitted(runs: Sequence[Run], length: int, what: str, note: _Notes) -> list[Label | None]:
    cells: list[Label | None] = []
    for label, count in runs:
        cells += [label] * min(count, length + 1 - len(cells))
    if len(cells) > length:
        note(f"{what} is too long and was cut")
    if len(cells) < length:
        note(f"{what} is too short and was filled up with its last label")
        cells += cells[-1:] * (length - len(cells))
    return cells[:length]
