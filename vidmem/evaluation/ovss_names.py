"""Names of the classes of data sets for semantic segmentation, in the order of their numbers."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ..errors import UsageError
from ..query.labels import BUILT_IN, MAX_LENGTH
from ..text_files import read_text
from .panoptic import plain_name

Names = tuple[tuple[str, ...], tuple[str, ...]]
"""Names as the data set has them, and the same as words."""


def built_in_names(name: str) -> Names:
    """The names of a list that comes with vidmem: a file in `names/`, or `ade20k`, `coco` or `vspw`."""
    if name in BUILT_IN:
        names = BUILT_IN[name].names
        return names, names
    text = (files("vidmem.evaluation") / "names" / f"{name}.txt").read_text("utf-8")
    return parse_names(text, name)


def read_names(path: str | Path, count: int) -> Names:
    """Names from a file, one a line in the order of the classes; after a tab the words for the encoder, if they differ.

    Args:
        path: The file.
        count: How many classes there are.

    Raises:
        MediaError: The file cannot be read.
        UsageError: There are more or fewer names, or a line is not a name.
    """
    text = read_text(path, "the names cannot")
    names, words = parse_names(text, str(path))
    if len(names) != count:
        raise UsageError(f"there are {count} classes and {len(names)} names; give one name a line: {path}")
    return names, words


def parse_names(text: str, where: str) -> Names:
    """As `read_names`, from the text of a file of any length. where: what messages call it."""
    names, words = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, *said = (part.strip() for part in line.split("\t"))
        if not name or len(said) > 1 or len(line) > 2 * MAX_LENGTH or "" in said:
            raise UsageError(f"line {number} is not a name, or a name, a tab and words: {where}")
        names.append(name)
        words.append(said[0] if said else plain_name(name))
    return tuple(names), tuple(words)
