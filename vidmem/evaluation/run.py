"""Running a benchmark item by item: what is done is skipped, what cannot be read is named."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import MediaError
from .journal import Journal

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has.

    Attributes:
        results: The result of each item that is done, by its key, in the order of the items.
        skipped: Why, by its key, for each item that could not be read. The next run tries these again.
    """

    results: dict[str, Any]
    skipped: dict[str, str]


def run_items(
    journal: Journal,
    items: Sequence[Item],
    key: Callable[[Item], str],
    work: Callable[[Item], Any],
    advance: Callable[[str, int], None] = lambda name, done: None,
) -> Outcome:
    """Work on all items that the journal does not have.

    Args:
        journal: Receives each result as soon as it is there.
        items: All items of the benchmark.
        key: The name of an item, which no other item has.
        work: Returns the result of an item as plain data.
        advance: Is told the key of each item and how many are done.

    Raises:
        MediaError: Two items have the same name, or the journal cannot be written. One that `work` raises skips the
            item; everything else that it raises passes through.
    """
    keys = [key(item) for item in items]
    if len(set(keys)) != len(keys):
        twice = next(name for i, name in enumerate(keys) if name in keys[:i])
        raise MediaError(f"the benchmark has two items of one name ({twice[:80]}); fetch its files again")
    skipped: dict[str, str] = {}
    for number, (name, item) in enumerate(zip(keys, items, strict=True)):
        advance(name, number)
        if name in journal.done:
            continue
        try:
            result = work(item)
        except MediaError as error:
            skipped[name] = str(error)
            continue
        journal.add(name, result)
    advance("", len(keys))
    return Outcome({name: journal.done[name] for name in keys if name in journal.done}, skipped)


def sha256(path: str | os.PathLike[str]) -> str:
    """The hash of a file of the benchmark, for the settings of a journal. Raises MediaError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MediaError(f"the file cannot be read ({error.strerror}); check the path: {os.fspath(path)}") from None
