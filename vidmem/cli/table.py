"""Tables for people in a given width.

Paths are shortened in the middle and text is wrapped between words. Where that is still too wide, each row becomes a
block of lines. No word is broken; a word that is longer than a line loses its middle. (Rich breaks words and paths, and
takes 60 ms to import.)
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

GAP = "  "
MIN_NAME = 16
"""Columns below which a file name is not shortened."""
MAX_HEIGHT = 4
"""Lines of a row; taller rows are easier to read as a block."""

MAX_PATH = 4096
"""Characters of a path (Linux allows no more); longer texts are not shortened as one."""
MAX_FOLDERS = 256
"""Folders of a path; the time to shorten it grows with their square."""

Columns = Sequence[Sequence[str]]

_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?%?( [kMG]?B)?|\d+(:\d\d)+(\.\d+)?")
_PATH = re.compile(r"(~|[A-Za-z]:)?[/\\].")


def layout(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the lines of a table.

    Args:
        rows: Cells, the header first. Below a header of empty cells, each row is a name and a value.
        width: Columns of the terminal; None for no limit.
    """
    if not any(rows[0]):
        room = _room([name for name, _ in rows[1:]], width)
        return _facts([(n, _short_cells([v], room or cells(v), MIN_NAME)[0], is_path(v)) for n, v in rows[1:]], room)
    columns: Columns = list(zip(*rows, strict=True))
    right = [_numbers(column[1:]) for column in columns]
    fitted = (columns, _widths(columns)) if width is None else _fitted(columns, width)
    if fitted is None or _height(*fitted) > MAX_HEIGHT:
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
    """Columns that the text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def wrapped(text: str, width: int) -> list[str]:
    """Split the text between words into lines of at most `width` columns; at least one line."""
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
    """Return True for an absolute path. Texts that are longer than any path, or have too many folders, are none."""
    if len(text) > MAX_PATH or _PATH.match(text) is None:
        return False
    return text.count("/") + text.count("\\") <= MAX_FOLDERS


def shortened(paths: Sequence[str], width: int, min_width: int = MIN_NAME) -> list[str]:
    """Shorten paths to at most `width` columns, all in the same way.

    Whole if they fit; otherwise with folders left out in the middle; otherwise the shortest end of each that is unique,
    with its middle left out if it is long, but not below `min_width` columns. Different paths stay different: where
    that is not possible in this width they are wider.
    """
    if all(cells(path) <= width for path in paths):
        return list(paths)
    known = list(dict.fromkeys(paths))
    middle = {path: next((form for form in _middles(path) if cells(form) <= width), None) for path in known}
    if None not in middle.values() and len(set(middle.values())) == len(known):
        return [str(middle[path]) for path in paths]
    counts = Counter(end for path in known for end in _ends(path))
    whole = {path: next((end for end in _ends(path) if counts[end] == 1), path) for path in known}
    whole = {path: min(end, path, key=cells) for path, end in whole.items()}  # "…/" is longer than "/"
    short = {path: _squeezed(end, max(width, min_width)) for path, end in whole.items()}
    uses = Counter(short.values())
    return [short[path] if uses[short[path]] == 1 else whole[path] for path in paths]


def _parts(path: str) -> list[str]:
    """Split a path into its folders, each with its separator, and the file name. A # and the topic or episode after it
    stay with the file name."""
    place, mark, part = path.partition("#")
    *folders, name = [piece for piece in re.split(r"(?<=[/\\])", place) if piece]
    return [*folders, name + mark + part]


def _ends(path: str) -> list[str]:
    """The ends of a path, the shortest first: the file name, the file name with its folder, and so on."""
    parts = _parts(path)
    return [parts[-1], *(f"…{os.sep}{''.join(parts[-n:])}" for n in range(2, len(parts)))]


def _middles(path: str) -> Iterator[str]:
    """The path, then shorter forms with folders left out in the middle: /home/…/kitchen/walk.mp4."""
    parts = _parts(path)
    yield path
    for n in range(len(parts) - 3, 0, -1):
        yield f"{''.join(parts[:2])}…{os.sep}{''.join(parts[-n:])}"


def _squeezed(name: str, width: int) -> str:
    """Shorten a word by leaving out its middle."""
    if cells(name) <= width:
        return name
    head, tail = name[: (width + 1) // 2], name[len(name) - (width - 1) // 2 :]
    while cells(head) + cells(tail) + 1 > width:  # wide characters
        head, tail = (head[:-1], tail) if cells(head) >= cells(tail) else (head, tail[1:])
    return f"{head}…{tail}"


def _fitted(columns: Columns, width: int) -> tuple[Columns, list[int]] | None:
    """Return the columns with shortened paths, and their widths; None where they cannot fit.

    Text is wrapped before file names are shortened.
    """
    room = width - len(GAP) * (len(columns) - 1)
    if sum(_widths(columns)) <= room:
        return columns, _widths(columns)
    paths = [i for i, column in enumerate(columns) if any(map(is_path, column[1:]))]
    text = sum(limit for i, limit in enumerate(_widths(columns)) if i not in paths)
    shorter = list(columns)
    for min_name in (max(map(cells, chain(*columns))), MIN_NAME):
        for i in paths:
            share = max((room - text) // len(paths), 0)
            shorter[i] = (columns[i][0], *_short_cells(columns[i][1:], share, min_name))
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
    """Number of lines of the tallest row."""
    return max(len(wrapped(cell, limit)) for column, limit in zip(columns, limits, strict=True) for cell in column)


def _widths(columns: Columns) -> list[int]:
    return [max(map(cells, column)) for column in columns]


def _short_cells(column: Sequence[str], width: int, min_width: int) -> list[str]:
    """Shorten the paths in a column; other cells stay."""
    short = iter(shortened([cell for cell in column if is_path(cell)], width, min_width))
    return [next(short) if is_path(cell) else cell for cell in column]


def _longest(text: str) -> int:
    """Columns of the longest word."""
    return max(map(cells, text.split()), default=0)


def _blocks(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Write each row as lines of a name and a value, with an empty line between rows."""
    room = _room(rows[0], width)
    columns: Columns = list(zip(*rows[1:], strict=True))
    if room is not None:
        columns = [_short_cells(column, room, MIN_NAME) for column in columns]
    lines: list[str] = []
    for before, row in zip(rows[1:], zip(*columns, strict=True), strict=True):
        lines += [""] if lines else []
        lines += _facts(list(zip(rows[0], row, map(is_path, before), strict=True)), room)
    return lines


def _facts(facts: Sequence[tuple[str, str, bool]], room: int | None) -> list[str]:
    """Write names with values beside them.

    Args:
        facts: Name, value, and whether the value is a path, which is already short enough.
        room: Columns for the values; None for no limit.
    """
    head = max(cells(name) for name, *_ in facts)
    lines = []
    for name, value, path in facts:
        value_lines = [value]
        if room is not None and not path:
            value_lines = wrapped(" ".join(_squeezed(word, room) for word in value.split(" ")), room)
        lines += [
            f"{_padded(name if i == 0 else '', head, False)}{GAP}{line}".rstrip() for i, line in enumerate(value_lines)
        ]
    return lines


def _room(names: Sequence[str], width: int | None) -> int | None:
    """Columns that are left beside the names."""
    return None if width is None else max(width - max(map(cells, names)) - len(GAP), MIN_NAME)


def _numbers(column: Sequence[str]) -> bool:
    """Return True for a column of numbers, which are right-aligned."""
    values = [cell for cell in column if cell not in ("", "-")]
    return bool(values) and all(_NUMBER.fullmatch(cell) for cell in values)


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - cells(text))
    return space + text if right else text + space
