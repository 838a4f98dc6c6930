"""What questions need of the vectors of a memory, or of many memories: a protocol, and what all that have it share."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..records import Float32
from .within import Columns, Within

Kind = Literal["visual", "text"]

Rows = NDArray[np.int64]
"""Numbers of tracks `(n,)`, from 0 in the order of their ids."""
Scored = tuple[Rows, Float32]
"""Rows `(n,)` and their scores `(n,)`."""


class Vectors(Protocol):
    """All tracks of one committed state, searchable by cosine. Threads may share it.

    A row is the number of a track in the order of ids. Where a method takes `within`, other tracks do not answer; None
    is for all tracks. Searches are exact for the stored fp16 vectors, and `scores` decides what is found.

    Queries raise ValueError when they have another length than the vectors, and UsageError when they are 0 or not
    finite.
    """

    def __len__(self) -> int: ...

    @property
    def state(self) -> tuple[str, int]:
        """The id of the memory and the generation of its tracks, as `Store.snapshot` gives them."""

    @property
    def approximate(self) -> str:
        """What searches and may miss tracks, such as "Milvus"; empty where searches are exact."""

    def refreshed(self) -> Vectors:
        """The vectors with what was written since; itself when nothing was."""

    def dim(self, kind: Kind) -> int:
        """Length of the vectors."""

    def columns_of(self, rows: Rows) -> Columns:
        """Ids, sources and times of tracks, in the order of `rows` `(n,)`."""

    def rows_of(self, ids: NDArray[np.int64]) -> Rows:
        """The rows of tracks by id, -1 for unknown ids. `(n,)` -> `(n,)`."""

    def rows_of_source(self, source_id: int) -> Rows:
        """The rows of all tracks of a source, ascending."""

    def rows_within(self, within: Within | None) -> Rows:
        """The rows of all tracks that may answer, ascending."""

    def range_search(self, kind: Kind, query: Float32, threshold: float, within: Within | None = None) -> Scored:
        """Every track with a score of at least `threshold` to `query` `(D,)`: rows, ascending, and scores."""

    def narrowed(self, kind: Kind, query: Float32, found: Scored, threshold: float) -> Scored:
        """What `range_search` finds, from what it `found` with a lower threshold."""

    def range_search_many(
        self, kind: Kind, queries: Float32, threshold: float, within: Within | None = None
    ) -> list[Scored]:
        """A `range_search` for each of `queries` `(n, D)`."""

    def top(self, kind: Kind, query: Float32, k: int, within: Within | None = None) -> Scored:
        """The `k` best tracks, or all when there are fewer: rows and scores, best first, the older id on ties."""

    def top_product(self, text: Float32, visual: Float32, k: int, within: Within | None = None) -> Scored:
        """As `top`, by the `product` of the cosines to a text and to a picture."""

    def scores(self, kind: Kind, query: Float32, rows: Rows) -> Float32:
        """The scores `(n,)` of the tracks in `rows`: cosines, those to a text times the confidence of the token."""

    def reconstruct(self, kind: Kind, rows: Rows) -> Float32:
        """The vectors of `rows`, `(n, D)` float32, whose inner product with a unit query is the score."""


def unit_query(kind: Kind, query: Float32, dim: int | None) -> Float32:
    """Return a query `(D,)` with unit length. dim: the length of the vectors; None if it does not matter.

    Raises:
        ValueError: it has another length.
        UsageError: it is 0 or not finite.
    """
    if dim is not None and np.shape(query) != (dim,):
        raise ValueError(f"a {kind} query has shape ({dim},), not {np.shape(query)}")
    wide = np.asarray(query, np.float64)
    norm = np.linalg.norm(wide)
    if not np.isfinite(norm) or norm == 0:
        raise UsageError(
            "what was asked for has no vector to compare with, as a thing whose video was missing "
            "when `vidmem reembed` ran; ask for something else"
        )
    out: Float32 = (wide / norm).astype(np.float32)
    return out


def sum_margin(dim: int) -> float:
    """The largest difference of two float32 sums of one cosine of vectors of length `dim`.

    What is nearer to a threshold is decided by one fixed sum. Each sum is off by at most about dim 2^-24 (Higham,
    Accuracy and Stability of Numerical Algorithms, section 3.1).
    """
    return 2e-6 + dim * 2.0**-23


def product(text: Float32, visual: Float32) -> Float32:
    """The score `(n,)` by a text and a picture, from the two cosines.

    The product of two negative factors counts as negative, since neither is a match.
    """
    out: Float32 = np.where((visual < 0) & (text < 0), -visual * text, visual * text)
    return out
