"""The journal of an evaluation: one line of JSON for each item that is done, so that a run that stops goes on.

    RUN/results.jsonl    the settings in the first line, then an item in each line

Each line begins with its own checksum (`crc32`, of the line without it), so that damage is found and named. An item
that was done again has several lines, of which the last counts.

Figures are computed from the journal alone. So a run that was interrupted has the same figures as one that was not.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import LockedError, MediaError, UsageError
from ..export.files import replacing, writing
from ..store.lock import take_lock

RESULTS = "results.jsonl"
LOCK = ".lock"


class Journal:
    """What a run has done so far. Close it, or use it in a `with` statement.

    Attributes:
        done: The result of each item that is done, by its key, in the order in which they were done.
        read: By the same keys, what stands for the content of the files that were read for the item; "" for none.
        path: The file.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        """Open the journal of a folder, or begin one.

        Args:
            folder: Of the run; made if it does not exist.
            settings: All that the results depend on, as plain data: the benchmark, hashes of its files, the encoder
                and its weights, every option that changes a result.

        Raises:
            UsageError: The folder holds a run with other settings; the message names the first that differs.
            LockedError: Another process is running in the folder.
            MediaError: The journal is damaged, or cannot be written.
        """
        self.path = Path(folder) / RESULTS
        self.done: dict[str, Any] = {}
        self.read: dict[str, str] = {}
        wanted = json.loads(_text(dict(settings)))
        with writing(str(folder), "the folder of the run"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = take_lock(self.path.parent / LOCK, wait=False)
        if lock is None:
            raise LockedError(f"another evaluation is running there; wait for it, or choose another folder: {folder}")
        self._lock: int | None = lock
        try:
            self._begin(wanted)
        except BaseException:
            self.close()
            raise

    def _begin(self, wanted: dict[str, Any]) -> None:
        if not self.path.exists():
            with replacing(str(self.path), "the journal") as part:
                Path(part).write_text(_line({"settings": wanted}), "utf-8")
            return
        with writing(str(self.path), "the journal"), open(self.path, "r+b") as file:
            lines = file.read().split(b"\n")
            torn = lines.pop()  # empty, or what a run that was killed left of its last line
            if torn:
                file.truncate(file.seek(-len(torn), os.SEEK_END))
        for number, line in enumerate(lines, 1):
            try:
                entry = _parsed(line)
                if number == 1:
                    _compare(entry["settings"], wanted, self.path.parent)
                else:
                    self._note(entry)
            except (ValueError, KeyError, TypeError, RecursionError):
                raise MediaError(
                    f"line {number} of the journal is damaged; remove the line, or choose another folder: {self.path}"
                ) from None
        if not lines:
            raise MediaError(f"the journal has no settings; remove it, or choose another folder: {self.path}")

    def _note(self, entry: Mapping[str, Any]) -> None:
        self.done[entry["key"]] = entry["result"]
        self.read[entry["key"]] = entry.get("read", "")

    def add(self, key: str, result: Any, read: str = "") -> None:
        """Note that an item is done. It is on the disk when this returns.

        Args:
            key: Names the item.
            result: Plain data; NumPy arrays and numbers become lists and numbers.
            read: See the attribute.

        Raises:
            MediaError: The journal cannot be written.
        """
        line = _line({"key": key, "result": result, **({"read": read} if read else {})})
        with writing(str(self.path), "the journal"), open(self.path, "ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self._note(_parsed(line.encode()[:-1]))  # as a later run will read it

    def close(self) -> None:
        """Let other processes run in the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _compare(found: Mapping[str, Any], wanted: Mapping[str, Any], folder: Path) -> None:
    for name in (*wanted, *found):
        if name not in found or name not in wanted or found[name] != wanted[name]:
            was, now = (json.dumps(each.get(name))[:60] for each in (found, wanted))
            raise UsageError(
                f"the run in this folder has another `{name}` ({was}, now {now}); choose another folder: {folder}"
            )


def _line(entry: Mapping[str, Any]) -> str:
    text = _text(entry)
    return f"{_head(text.encode())}{text[1:]}\n"


def _parsed(line: bytes) -> dict[str, Any]:
    """The entry of a line. Raises ValueError if the line is not as it was written."""
    head = len(_head(b""))
    text = b"{" + line[head:]
    if line[:head].decode("ascii", "replace") != _head(text):
        raise ValueError("its checksum is another")
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("it is no entry")
    return found


def _head(text: bytes) -> str:
    return f'{{"crc32":"{zlib.crc32(text):08x}",'


def _text(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, default=_plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} is no plain data")
