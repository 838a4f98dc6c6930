"""The one place where text and JSON from outside is read: files only, of a bounded size, with one kind of error.

A name may lead to a pipe that never ends, to /dev/zero, or to a file of gigabytes; a text of a few bytes may be
brackets in brackets, or a number of a million digits.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from .errors import MediaError, UsageError, VidmemError
from .limits import open_regular

MAX_TEXT = 64 << 20
"""Maximum size in bytes of lists, questions and settings that people write."""
MAX_DATA = 4 << 30
"""Maximum size in bytes of the annotations of a data set. Those of COCO's training pictures have 450 MB."""
_CHUNK = 1 << 18
_LONGEST_NAME = 200
"""Bytes of a name; file systems take 255, and endings are added."""

Path = str | os.PathLike[str]


def read_bytes(
    path: Path,
    what: str,
    *,
    remedy: str = "check the path",
    limit: int = MAX_TEXT,
    error: type[VidmemError] = MediaError,
) -> bytes:
    """Read a file.

    Args:
        path: Its path.
        what: What it is, with its article and verb, such as "the labels cannot"; for messages.
        remedy: What to do if it cannot be read.
        limit: Maximum size in bytes.
        error: The class of errors.

    Raises:
        VidmemError: of class `error`: it cannot be read, is larger than the limit, or is not a file but a folder, a
            pipe or a device.
    """
    try:
        with open_regular(path) as file:
            data = b"".join(_chunks(file, limit))
    except (OSError, ValueError, MemoryError) as fault:
        raise error(f"{what} be read ({cause_of(fault)}); {remedy}: {shown(path)}") from None
    if len(data) > limit:
        raise error(f"{what} be read (it is larger than {limit >> 20} MB); give a smaller file: {shown(path)}")
    return data


def _chunks(file: BinaryIO, limit: int) -> Iterator[bytes]:
    """The content up to a little more than `limit`. A buffer of that size is never made for a small file."""
    total = 0
    while total <= limit and (chunk := file.read(_CHUNK)):
        total += len(chunk)
        yield chunk


def read_text(
    path: Path,
    what: str,
    *,
    remedy: str = "check the path",
    limit: int = MAX_TEXT,
    error: type[VidmemError] = MediaError,
) -> str:
    """Read a file of UTF-8 text, with or without a byte order mark. Arguments and errors as in `read_bytes`."""
    data = read_bytes(path, what, remedy=remedy, limit=limit, error=error)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise error(f"{what} be read (not UTF-8 text); save it as such: {shown(path)}") from None


def read_json(
    path: Path,
    what: str,
    *,
    remedy: str = "fetch it again",
    limit: int = MAX_DATA,
    error: type[VidmemError] = MediaError,
) -> Any:
    """Read a file of JSON. Arguments and errors as in `read_bytes`, and one for a file that is not JSON."""
    data = read_bytes(path, what, remedy="check the path", limit=limit, error=error)
    try:
        return parse_json(data)
    except ValueError as fault:
        raise error(f"{what} be read (not JSON: {cause_of(fault)}); {remedy}: {shown(path)}") from None


def read_json_lines(
    path: Path, what: str, *, remedy: str = "fetch it again", error: type[VidmemError] = MediaError
) -> list[Any]:
    """Read a file with a JSON value on each line; empty lines are left out. Arguments and errors as in `read_json`."""
    data = read_bytes(path, what, limit=MAX_DATA, error=error)
    found = []
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            if line.strip():
                found.append(parse_json(line))
        except ValueError as fault:
            cause = f"line {number} is not JSON: {cause_of(fault)}"
            raise error(f"{what} be read ({cause}); {remedy}: {shown(path)}") from None
    return found


def parse_json(data: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError for other texts, and for those that are too deep or too large."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except MemoryError:
        raise ValueError("it does not fit into memory") from None


def is_plain_name(name: str) -> bool:
    """Return True if a text can be the name of a file in a folder, and is no way out of it."""
    odd = name in ("", ".", "..") or set(name) & {"/", "\\", "\0"}
    return not odd and len(name.encode("utf-8", "replace")) <= _LONGEST_NAME


def csv_cells(line: str, where: str) -> list[str]:
    """The cells of one line, separated by tabs if there is one, else by commas. Raises UsageError; where: for it."""
    try:
        return [
            cell.strip() for cell in next(csv.reader(io.StringIO(line), delimiter="\t" if "\t" in line else ","), [])
        ]
    except csv.Error as error:  # a cell of more than 131,072 characters, a line break in the middle
        raise UsageError(f"{where} cannot be read ({error})") from None


def cause_of(error: BaseException) -> str:
    """The message of an error on one line of at most 120 characters."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split())[:120] or type(error).__name__


def shown(path: Path) -> str:
    """A path as messages show it: short enough for a line."""
    text = os.fspath(path)
    return text if len(text) <= 1000 else f"{text[:1000]}..."
