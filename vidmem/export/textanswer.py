"""Reads masks that a language model wrote: always returns a mask, and a list of what was repaired.

Models stop in the middle, miscount rows, forget stars and spaces, and vary labels. A row that is too short is filled up
with its last label, and one that is too long is cut; so is the list of rows. (Text4Seg's decoder does that for the
whole sequence at once, which shifts every row below a miscounted one.)
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from .textmask import BACKGROUND, CLOSE, MAX_CELLS, OPEN, OTHERS, Grid, Label, TextMask, build, decode, encode, unescape

MAX_PROBLEMS = 20
"""Different problems that are listed; more would say nothing new."""
MAX_BLOCKS = 100
"""Masks of one answer, from its end, among which one without a mistake is looked for."""
NO_MASK = "there is no mask in the answer"
"""The problem with an answer in which nothing looks like a mask. It is read as an empty one."""
NOT_EXACT = "the text is not exactly in the form of a mask"
"""The problem with a text that `encode` does not write, where no other problem says more."""
MIN_SIMILARITY = 0.8
"""From this similarity on (difflib's ratio) an unknown label counts as a misspelling of a known one."""

Run = tuple[Label | None, int]

_FENCE = re.compile(r"^\s*```[^\n]*\n|```\s*$")
_TAG = re.compile(f"{OPEN}|{CLOSE}", re.IGNORECASE | re.ASCII)
_SPACE = " \t\r\n"
_MAX_DIGITS = 18
_INSTANCE = re.compile(r"(?P<name>.*\S)\s+#(?P<instance>[1-9]\d{0,8})", re.DOTALL)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A mask read from an answer.

    Attributes:
        mask: The mask.
        problems: What was repaired, in words. Empty only if `encode` writes the same text for the mask, up to white
            space around it. Words outside the tags are no problem.
    """

    mask: TextMask
    problems: tuple[str, ...]


class _Problems:
    def __init__(self) -> None:
        self.seen: dict[str, None] = {}

    def __call__(self, problem: str) -> None:
        if len(self.seen) < MAX_PROBLEMS:
            self.seen[problem] = None


def read_answer(text: str, grid: Grid = (16, 16), names: Sequence[str] | None = None) -> Reading:
    """Read the mask in an answer.

    Of several masks, the last one without a mistake is read, or else the last one.

    Args:
        text: The answer of a model.
        grid: Rows and columns of the mask.
        names: The labels in the question. Other labels in the answer are read as a misspelling of a similar one, or
            else as background. Without names, every label is kept as it is.

    Raises:
        UsageError: The grid is empty or too large.
    """
    h, w = grid
    if min(h, w) < 1 or h * w > MAX_CELLS:
        raise UsageError(f"a grid is 1 to {MAX_CELLS} cells, such as 16x16; got {h}x{w}")
    problem = _Problems()
    content = _content(text, grid, names, problem)
    strict = _decoded(content, grid)
    if strict is not None and _known(strict, names):
        if not _canonical(strict, content):
            problem(NOT_EXACT)
        return Reading(strict, tuple(problem.seen))
    rows = [row for line in content.split("\n") if (row := _runs(line, h * w + 1, names, problem))]
    if not rows:
        problem(NO_MASK)
        return Reading(TextMask(np.full(grid, BACKGROUND, np.int32), ()), tuple(problem.seen))
    lengths = [sum(count for _, count in row) for row in rows]
    flat = len(rows) == 1 or (sum(lengths) == h * w and set(lengths) != {w})
    if flat:  # run lengths over the whole picture, or lines broken in other places
        if h > 1 and len(rows) == 1:
            problem("the answer is one row; it is read as the whole picture")
        elif len(rows) != h:
            problem(f"{len(rows)} rows, want {h}")
        elif set(lengths) != {w}:
            problem("the rows have other lengths; they are read as one sequence")
        cells = _fitted([run for row in rows for run in row], h * w, "the picture", problem)
    else:
        if len(rows) != h:
            problem(f"{len(rows)} rows, want {h}")
        cells = [cell for row in rows[:h] for cell in _fitted(row, w, "a row", problem)]
        cells += cells[-1:] * (h * w - len(cells))
    if not problem.seen and (strict is None or not _canonical(strict, content)):
        problem(NOT_EXACT)
    order: dict[Label, int] = {}
    numbers = [BACKGROUND if cell is None else order.setdefault(cell, len(order)) for cell in cells]
    return Reading(build(np.array(numbers, np.int32).reshape(grid), list(order)), tuple(problem.seen))


def _content(text: str, grid: Grid, names: Sequence[str] | None, problem: _Problems) -> str:
    """The text between the tags, or all of it without tags; empty if it is only prose."""
    blocks: list[tuple[str, bool]] = []  # and whether it ends with a tag
    tags = list(_TAG.finditer(text))
    for i, tag in enumerate(tags):
        if tag[0].lower() == OPEN:
            end = tags[i + 1] if i + 1 < len(tags) else None
            closed = end is not None and end[0].lower() == CLOSE
            blocks.append((text[tag.end() : None if end is None else end.start()], closed))
    if not blocks:
        problem("the tags are missing")
        text = _FENCE.sub("", text[: tags[0].start()] if tags else text)
        return text if "*" in text or "|" in text else ""
    content, closed = _chosen(blocks, grid, names)
    if not closed:
        problem("the end tag is missing; the answer was cut short")
    if len(blocks) > 1:
        problem(f"the answer has {len(blocks)} masks; the last one without a mistake is read, or else the last one")
    if any(tag[0] not in (OPEN, CLOSE) for tag in tags):
        problem("the tags are not in small letters")
    return content


def _chosen(blocks: Sequence[tuple[str, bool]], grid: Grid, names: Sequence[str] | None) -> tuple[str, bool]:
    if len(blocks) > 1:
        for content, closed in blocks[:-MAX_BLOCKS:-1]:
            if (mask := _decoded(content, grid)) is not None and _known(mask, names):
                return content, closed
    return next(((content, closed) for content, closed in reversed(blocks) if content.strip()), blocks[-1])


def _decoded(text: str, grid: Grid) -> TextMask | None:
    """The mask of a text in the strict form, with any white space around it; None for other texts."""
    for form in (text, text.strip(_SPACE) + "\n"):
        try:
            return decode(form, grid)
        except UsageError:
            pass
    return None


def _known(mask: TextMask, names: Sequence[str] | None) -> bool:
    return names is None or all(label.name in names for label in mask.labels)


def _canonical(mask: TextMask, text: str) -> bool:
    """`encode` writes this text, up to white space around it."""
    return encode(mask).strip(_SPACE) == text.strip(_SPACE)


def _runs(line: str, max_count: int, names: Sequence[str] | None, problem: _Problems) -> list[Run]:
    """The runs of one line; counts are cut at `max_count`."""
    out: list[Run] = []
    pending = ""  # pieces without a count, while a known name with "|" in it may follow
    for piece in line.split("|"):
        whole = f"{pending}|{piece}" if pending else piece
        if not piece.strip() and not pending:
            if len(line.strip()) > 1:
                problem("an empty run")
            continue
        name, count = _split(whole.strip(), problem, counted=False)
        if names and count is None and any(n.startswith(whole.strip() + "|") for n in names):
            pending = whole.strip()
            continue
        if pending and name not in (names or ()):
            out.append((_label(pending, names, problem), 1))
            whole = piece
        pending = ""
        name, count = _split(whole.strip(), problem, counted=True)
        if not count:
            problem(f"{whole.strip()[:40]!r} is a run of no cells")
        else:
            out.append((_label(name, names, problem), min(count, max_count)))
    if pending:
        out.append((_label(pending, names, problem), 1))
    return out


def _split(item: str, problem: _Problems, counted: bool) -> tuple[str, int | None]:
    """Name and count. Without a count it is None, or 1 if `counted`: descriptors without run lengths have none."""
    # Parsed from the right, since a regular expression tries every way to share out a long run of spaces.
    name, star, digits = item.rpartition("*")
    if star and (digits := digits.strip()).isdecimal() and len(digits) <= _MAX_DIGITS:
        return name.rstrip(), int(digits)
    if not counted:
        return item, None
    start = len(item)
    while start and item[start - 1].isdecimal():
        start -= 1
    name = item[:start].rstrip()
    if name == item[:start] and name[-2:-1].isspace() and name[-1] in "x×:":
        name = name[:-1].rstrip()
    spaced = name != item[:start]
    if spaced and name and not name[-1].isdecimal() and 1 <= len(item) - start <= _MAX_DIGITS:
        problem(f"{item[:40]!r} lacks a star")
        return name, int(item[start:])
    if star:
        name = item.rsplit("*", 1)[0].rstrip()
        problem(f"{item[:40]!r} has no count, one cell is taken")
        return name, 1
    return item, 1


def _label(text: str, names: Sequence[str] | None, problem: _Problems) -> Label | None:
    instance = 0
    if match := _INSTANCE.fullmatch(text):
        text, instance = match["name"], int(match["instance"])
    if _plain(text) == OTHERS:
        return None
    try:
        name = unescape(text)
    except UsageError:
        problem(f"{text[:40]!r} has an escape that means nothing")
        name = text
    if names is None:
        return Label(name, instance)
    if name in names:
        return Label(name, instance)
    plain = {_plain(n): n for n in names}
    if (known := plain.get(_plain(name))) is None:
        close = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=MIN_SIMILARITY)
        if not close:
            problem(f"{name[:40]!r} was not asked for")
            return None
        known = plain[close[0]]
        problem(f"{name[:40]!r} is taken for {known[:40]!r}")
    return Label(known, instance)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _fitted(runs: Sequence[Run], length: int, what: str, problem: _Problems) -> list[Label | None]:
    cells: list[Label | None] = []
    for label, count in runs:
        cells += [label] * min(count, length + 1 - len(cells))
    if len(cells) > length:
        problem(f"{what} is too long and was cut")
    if len(cells) < length:
        problem(f"{what} is too short and was filled up with its last label")
        cells += cells[-1:] * (length - len(cells))
    return cells[:length]
