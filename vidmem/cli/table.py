"""Tables for people in a given width: paths are shortened in the middle, text is wrapped between words, and where even
that is too wide each row becomes a block of lines. No word is broken; one that is longer than a line loses its middle.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

GAP = "  "
LEAST_NAME = 16
"""A file name is not shortened below so many columns."""
TALLEST = 4
"""A row with more lines is easier to read as a block."""

Columns = Sequence[Sequence[str]]

_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?%?( [kMG]?B)?|\d+(:\d\d)+(\.\d+)?")
_PATH = re.compile(r"(~|[A-Za-z]:)?[/\\].")


def layout(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The lines of a table, the first row its header; width: columns of the terminal, None for any. Under a header of
    empty cells the rows are a name and a value each."""
    if not any(rows[0]):
        room = _room([name for name, _ in rows[1:]], width)
        return _facts([(n, _short_cells([v], room or cells(v), LEAST_NAME)[0], is_path(v)) for n, v in rows[1:]], room)
    columns: Columns = list(zip(*rows, strict=True))
    right = [_numbers(column[1:]) for column in columns]
    fitted = (columns, _widths(columns)) if width is None else _fitted(columns, width)
    if fitted is None or _height(*fitted) > TALLEST:
        return _blocks(rows, width)
    columns, limits = fitted
    lines = []
    for row in zip(*columns, strict=True):
        parts = [wrapped(cell, limit) for cell, limit in zip(row, limits, strict=True)]
        for i in range(max(map(len, parts))):
            shown = [part[i] if i < len(part) else "" for part in parts]
            aligned = [_padded(*place) for place in zip(shown, limits, right, strict=True)]
            lines.append(GAP.join(aligned).rstrip())
    return lines


def cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of at most `width` columns, cut between words alone; one line at least."""
    if cells(text) <= width:
        return [text]
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and cells(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def is_path(text: str) -> bool:
    """Whether it is an absolute path."""
    return _PATH.match(text) is not None


def shortened(paths: Sequence[str], width: int, least: int = LEAST_NAME) -> list[str]:
    """The paths in at most `width` columns, all in one way: whole if they fit, else with folders left out in the
    middle, else the end of each that no other has, a long one with its own middle left out, but not below `least`
    columns. Different paths stay different; where they cannot in this width they are wider."""
    if all(cells(path) <= width for path in paths):
        return list(paths)
    known = list(dict.fromkeys(paths))
    middle = {path: next((form for form in _middles(path) if cells(form) <= width), None) for path in known}
    if None not in middle.values() and len(set(middle.values())) == len(known):
        return [str(middle[path]) for path in paths]
    counts = Counter(end for path in known for end in _ends(path))
    whole = {path: next((end for end in _ends(path) if counts[end] == 1), path) for path in known}
    short = {path: _squeezed(end, max(width, least)) for path, end in whole.items()}
    taken = Counter(short.values())
    return [short[path] if taken[short[path]] == 1 else whole[path] for path in paths]


def _parts(path: str) -> list[str]:
    """Its folders, each with what divides it from the next, and the file name. What is behind a # is part of that: a
    topic or an episode says nothing without its file."""
    place, mark, part = path.partition("#")
    *folders, name = [piece for piece in re.split(r"(?<=[/\\])", place) if piece]
    return [*folders, name + mark + part]


def _ends(path: str) -> list[str]:
    """The file name; with its folder; and so on, the shortest first."""
    parts = _parts(path)
    return [parts[-1], *(f"…{os.sep}{''.join(parts[-n:])}" for n in range(2, len(parts)))]


def _middles(path: str) -> Iterator[str]:
    """All of it, then the first folder and ever fewer of the last ones: /home/…/kitchen/walk.mp4."""
    parts = _parts(path)
    yield path
    for n in range(len(parts) - 3, 0, -1):
        yield f"{''.join(parts[:2])}…{os.sep}{''.join(parts[-n:])}"


def _squeezed(name: str, width: int) -> str:
    """A word with its middle left out."""
    if cells(name) <= width:
        return name
    head, tail = name[: (width + 1) // 2], name[len(name) - (width - 1) // 2 :]
    while cells(head) + cells(tail) + 1 > width:  # wide letters
        head, tail = (head[:-1], tail) if cells(head) >= cells(tail) else (head, tail[1:])
    return f"{head}…{tail}"


def _fitted(columns: Columns, width: int) -> tuple[Columns, list[int]] | None:
    """The columns, with shorter paths, and the width of each; None where they cannot fit. File names stay whole as long
    as it helps to wrap text, and text as long as it helps to shorten them."""
    room = width - len(GAP) * (len(columns) - 1)
    if sum(_widths(columns)) <= room:
        return columns, _widths(columns)
    paths = [i for i, column in enumerate(columns) if any(map(is_path, column[1:]))]
    text = sum(limit for i, limit in enumerate(_widths(columns)) if i not in paths)
    shorter = list(columns)
    for least in (max(map(cells, chain(*columns))), LEAST_NAME):
        for i in paths:
            share = max((room - text) // len(paths), 0)
            shorter[i] = (columns[i][0], *_short_cells(columns[i][1:], share, least))
        limits = _widths(shorter)
        if sum(limits) <= room:
            return shorter, limits
        words = [limits[i] if i in paths else max(map(_longest, column)) for i, column in enumerate(shorter)]
        if sum(words) <= room:
            while sum(limits) > room:
                limits[max((i for i in range(len(limits)) if limits[i] > words[i]), key=lambda i: limits[i])] -= 1
            return shorter, limits
    return None


def _height(columns: Columns, limits: Sequence[int]) -> int:
    """Lines of the tallest row."""
    return max(len(wrapped(cell, limit)) for column, limit in zip(columns, limits, strict=True) for cell in column)


def _widths(columns: Columns) -> list[int]:
    return [max(map(cells, column)) for column in columns]


def _short_cells(column: Sequence[str], width: int, least: int) -> list[str]:
    """The paths of a column shortened; what is none stays."""
    short = iter(shortened([cell for cell in column if is_path(cell)], width, least))
    return [next(short) if is_path(cell) else cell for cell in column]


def _longest(text: str) -> int:
    return max(map(cells, text.split()), default=0)


def _blocks(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Each row as lines of a name and a value, with an empty line between rows."""
    room = _room(rows[0], width)
    columns: Columns = list(zip(*rows[1:], strict=True))
    if room is not None:
        columns = [_short_cells(column, room, LEAST_NAME) for column in columns]
    lines: list[str] = []
    for before, row in zip(rows[1:], zip(*columns, strict=True), strict=True):
        lines += [""] if lines else []
        lines += _facts(list(zip(rows[0], row, map(is_path, before), strict=True)), room)
    return lines


def _facts(facts: Sequence[tuple[str, str, bool]], room: int | None) -> list[str]:
    """Names, and the values beside them, each with whether it was a path and is short enough; room: for the values,
    None for any."""
    head = max(cells(name) for name, *_ in facts)
    lines = []
    for name, value, path in facts:
        told = [value]
        if room is not None and not path:
            told = wrapped(" ".join(_squeezed(word, room) for word in value.split(" ")), room)
        lines += [f"{_padded(name if i == 0 else '', head, False)}{GAP}{line}".rstrip() for i, line in enumerate(told)]
    return lines


def _room(names: Sequence[str], width: int | None) -> int | None:
    """Columns for what stands beside the names."""
    return None if width is None else max(width - max(map(cells, names)) - len(GAP), LEAST_NAME)


def _numbers(column: Sequence[str]) -> bool:
    """Whether a column is of numbers, which are aligned at their end."""
    told = [cell for cell in column if cell not in ("", "-")]
    return bool(told) and all(_NUMBER.fullmatch(cell) for cell in told)


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - cells(text))
    return space + text if right else text + space
