"""Running a benchmark item by item: what is done is skipped, what cannot be read is named."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import MediaError
from ..limits import open_regular
from ..text_files import cause_of
from .journal import Journal

Item = TypeVar("Item")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has.

    Attributes:
        results: The result of each item that is done, by its key, in the order of the items.
        skipped: Why, by its key, for each item that could not be read. The next run tries these again.
        changed: Keys of items that were done again, since a file of theirs has changed since an earlier run.
    """

    results: dict[str, Any]
    skipped: dict[str, str]
    changed: tuple[str, ...] = ()


def run_items(
    journal: Journal,
    items: Sequence[Item],
    key: Callable[[Item], str],
    work: Callable[[Item], Any],
    advance: Callable[[str, int], None] = lambda name, done: None,
    *,
    files: Callable[[Item], Iterable[Path]] | None = None,
) -> Outcome:
    """Work on all items that the journal does not have, or has with other files.

    Args:
        journal: Receives each result as soon as it is there.
        items: All items of the benchmark.
        key: The name of an item, which no other item has.
        work: Returns the result of an item as plain data.
        advance: Is told the key of each item and how many are done.
        files: The files of an item that the journal's settings do not cover, such as its picture and its truth. They
            are compared by their content.

    Raises:
        MediaError: Two items have the same name, or the journal cannot be written. One that `work` or `files` raises
            skips the item; everything else that they raise passes through.
    """
    keys = [key(item) for item in items]
    if len(set(keys)) != len(keys):
        twice = Counter(keys).most_common(1)[0][0]
        raise MediaError(f"the benchmark has two items of one name ({twice[:80]}); fetch its files again")
    skipped: dict[str, str] = {}
    changed = []
    for number, (name, item) in enumerate(zip(keys, items, strict=True)):
        advance(name, number)
        if name in journal.done and files is None:
            continue
        try:
            read = "" if files is None else _content(files(item))
            if name in journal.done and journal.read[name] == read:
                continue
            result = work(item)
        except MediaError as error:
            skipped[name] = str(error)
            continue
        if name in journal.done:
            changed.append(name)
        journal.add(name, result, read)
    advance("", len(keys))
    results = {name: journal.done[name] for name in keys if name in journal.done and name not in skipped}
    return Outcome(results, skipped, tuple(changed))


def _content(paths: Iterable[Path]) -> str:
    """A short hash of the contents of files in their order. One that cannot be read counts as one without content."""
    whole = hashlib.sha256()
    for path in paths:
        try:
            whole.update(_digest(path).digest())
        except (OSError, ValueError):  # reading it for the work says why
            whole.update(b"none")
    return whole.hexdigest()[:16]


def sha256(path: str | os.PathLike[str]) -> str:
    """The hash of a file of the benchmark, for the settings of a journal. Raises MediaError if it cannot be read."""
    try:
        return _digest(path).hexdigest()
    except (OSError, ValueError) as error:
        raise MediaError(f"the file cannot be read ({cause_of(error)}); check the path: {os.fspath(path)}") from None


def _digest(path: str | os.PathLike[str]) -> hashlib._Hash:
    whole = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
    return whole
