"""Group synonyms into one class of the text contrast (appendix A.3, "group synonyms")."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidmem.errors import UsageError
from vidmem.records import Float32

ROWS = 4096
"""Names that are compared with all others at a time: their cosines are ROWS x C float32 in memory."""


def group_by_cosine(vectors: Float32, threshold: float) -> NDArray[np.int64]:
    """Return groups `(C,)` of text vectors `(C, D)`: connected components of the pairs whose cosine exceeds the
    threshold, numbered in order of first appearance."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    count = len(unit)
    labels = np.arange(count)
    for first in range(0, count, ROWS):
        rows, columns = np.nonzero(unit[first : first + ROWS] @ unit.T > threshold)
        pairs = (np.ones(len(rows), np.bool_), (labels[rows + first], labels[columns]))
        _, merged = connected_components(coo_array(pairs, shape=(count, count)), directed=False)
        labels = merged[labels]
    return _renumbered(labels)


def group_by_file(names: Sequence[str], path: Path) -> NDArray[np.int64]:
    """Return groups `(C,)` from a file with the names of one group on a line, separated by tabs. A name that is not in
    the file is a group of its own. Raises UsageError if the file cannot be read or has a name in two groups."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"the synonyms cannot be read ({error}); check the path: {path}") from None
    group: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        for name in filter(None, (part.strip() for part in line.split("\t"))):
            if group.setdefault(name, number) != number:
                raise UsageError(f"line {number}: {name!r} is in line {group[name]} too; keep it in one: {path}")
    return _renumbered(np.array([group.get(name, -1 - i) for i, name in enumerate(names)], np.int64))


def _renumbered(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[inverse], np.int64)
