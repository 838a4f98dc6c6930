"""The list of what a fleet indexes: lines of paths, CSV with a header, or JSON lines.

    /data/walk.mp4                      one path, folder or pattern a line; # begins a remark
    path,recorded,topics                or CSV, of which only `path` is needed
    {"path": "run.mcap", "topics": ["/cam/*"], "recorded": "2026-01-31T08:30"}

Relative paths are relative to the list. Mistakes are told with the number of their line. Whether a file exists is seen
by the workers, which may be on other machines.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from ..address import without_secrets
from ..errors import MediaError, UsageError
from ..indexer.dating import parse_choice
from ..limits import open_regular
from ..media.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES, suffix

FIELDS = ("path", "recorded", "topics", "clock")
SUFFIXES = (".txt", ".csv", ".jsonl", ".ndjson", ".json", ".lst", ".manifest")
"""Names of lists. A file of another suffix that vidmem indexes is an input itself."""
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_LINE_END = re.compile(r"\r\n|\n|\r")
"""Where a line ends. Names of files, and texts in JSON, may hold what `str.splitlines` takes for the end of one."""
_MAX_BYTES = 1 << 28
_MAX_TOLD = 10
_URL = re.compile(r"^([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list.

    Attributes:
        path: A file, a folder or a pattern; absolute.
        line: Its number from 1; 0 if it was named itself.
        recorded: What gives the time of recording, as in `Memory.index`; None for the default.
        topics: Topics of a log to index, or patterns; none for all.
        clock: Which times count in a log.
    """

    path: str
    line: int = 0
    recorded: str | None = None
    topics: tuple[str, ...] = ()
    clock: str = "log"

    @property
    def where(self) -> str:
        """For messages: the line, or nothing."""
        return f"line {self.line}: " if self.line else ""


def entries(inputs: Sequence[str | os.PathLike[str]]) -> list[Entry]:
    """The entries of lists, and of files, folders and patterns that are named themselves.

    Raises:
        UsageError: A line is wrong, or there is nothing at all.
        MediaError: A list cannot be read.
    """
    found: list[Entry] = []
    for given in inputs:
        text = os.fspath(given)
        found += read_list(text) if _is_list(text) else [Entry(_absolute(text, os.getcwd()))]
    if not found:
        raise UsageError(f"nothing to index in the list; write a path on each line: {', '.join(map(str, inputs))}")
    return found


def _is_list(text: str) -> bool:
    return (
        os.path.isfile(text)
        and suffix(text) not in VIDEO_SUFFIXES | IMAGE_SUFFIXES
        and (text.lower().endswith(SUFFIXES))
    )


def read_list(path: str) -> list[Entry]:
    """The entries of one list.

    Raises:
        UsageError: Lines are wrong; all of them are named, up to a limit.
        MediaError: The list cannot be read.
    """
    try:
        with open_regular(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise MediaError(f"the list cannot be read ({error.strerror}); check it: {path}") from None
    if len(data) > _MAX_BYTES:
        raise UsageError(f"the list is larger than {_MAX_BYTES >> 20} MiB; split it: {path}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UsageError(f"line {line} of the list is not UTF-8; save it as UTF-8: {path}") from None
    folder, out, mistakes = os.path.dirname(os.path.abspath(path)), [], []
    for line, made in _rows(text, path):
        try:
            out.append(_entry(made() if callable(made) else made, line, folder))
        except (UsageError, ValueError) as error:
            mistakes.append(f"line {line}: {error}")
    if mistakes:
        more = f"; and {len(mistakes) - _MAX_TOLD} more" if len(mistakes) > _MAX_TOLD else ""
        raise UsageError(f"the list has mistakes, correct them: {'; '.join(mistakes[:_MAX_TOLD])}{more}: {path}")
    return out


def _rows(text: str, path: str) -> Iterator[tuple[int, Any]]:
    """Number of each line that says something, with the fields in it or a function that reads them."""
    name = path.lower()
    if name.endswith(".csv"):
        yield from _csv_rows(text)
        return
    for number, line in enumerate(_LINE_END.split(text), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if stripped.startswith("{") or name.endswith(_JSON_SUFFIXES):
            yield number, lambda stripped=stripped: _json(stripped)
        else:
            yield number, {"path": stripped}


def _csv_rows(text: str) -> Iterator[tuple[int, Any]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    before = 0
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:  # a quote that never ends, or a cell of more than 128 kB
            yield before + 1, _raising(f"not CSV ({error})")
            return
        if row is None:
            return
        line, before = before + 1, reader.line_num
        if not any(cell.strip() for cell in row) or row[0].lstrip().startswith("#"):
            continue
        if header is None:
            header = [cell.strip().lower() for cell in row]
            if header.count("path") != 1:
                yield line, _raising("the header of a CSV list needs one column `path`")
                return
            continue
        if len(row) > len(header):
            yield line, _raising(f"{len(row)} cells under a header of {len(header)}")
            continue
        yield line, {name: cell.strip() for name, cell in zip(header, row, strict=False) if cell.strip()}


def _raising(message: str) -> Any:
    def fail() -> None:
        raise ValueError(message)

    return fail


def _json(text: str) -> Mapping[str, Any]:
    try:
        made = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg} at column {error.colno})") from None
    except RecursionError:
        raise ValueError("not JSON of a list (nested too deep)") from None
    if not isinstance(made, dict):
        raise ValueError('no JSON object; write one on each line, such as {"path": "walk.mp4"}')
    return made


def _entry(fields: Mapping[str, Any], line: int, folder: str) -> Entry:
    unknown = [name for name in fields if name not in FIELDS]
    if unknown:
        raise ValueError(f"no field {str(unknown[0])[:40]!r}; there are {', '.join(FIELDS)}")
    path = fields.get("path")
    if not isinstance(path, str) or not path.strip():
        raise ValueError("no path")
    recorded, clock, topics = fields.get("recorded"), fields.get("clock", "log"), fields.get("topics", ())
    if recorded is not None:
        if not isinstance(recorded, str):
            raise ValueError("`recorded` is not a text")
        parse_choice(recorded)
    if clock not in ("log", "header"):
        raise ValueError(f"no clock {str(clock)[:40]!r}; there are log, header")
    if isinstance(topics, str):
        topics = topics.split()
    if not isinstance(topics, list | tuple) or not all(isinstance(topic, str) and topic for topic in topics):
        raise ValueError("`topics` is not a list of texts")
    return Entry(_absolute(path, folder), line, recorded, tuple(topics), clock)


def _absolute(path: str, folder: str) -> str:
    if (url := _URL.match(path)) is not None:
        if url[1].lower() != "file":
            raise UsageError(
                "only files that all workers can open are read; mount the store, or download it: "
                f"{without_secrets(path, whole=True)}"
            )
        parts = urlsplit(path)
        if parts.netloc not in ("", "localhost"):
            raise UsageError(f"the address of a file on another machine cannot be opened; mount it: {path}")
        path = unquote(parts.path)
    return os.path.abspath(os.path.join(folder, os.path.expanduser(path)))
