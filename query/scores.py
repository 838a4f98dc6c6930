"""Scores of tracks: the exact cosine to a text, to a picture, or the product of both.

With both, a track's score is the product of its two cosines (T-REN, "Where"). Both factors are at most 1, so a
product >= t needs each factor >= t: one range search finds all candidates, the other factor is checked on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import Float32
from ..store import Vectors, Within
from ..store.vectors import Kind, Rows, product


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Tracks with their scores.

    rows: of the cache, `(n,)`. score: `(n,)` float32. text, visual: the factors of the score, None for what was not
    asked for. probability: that each track is meant, None where it was not computed.
    """

    rows: Rows
    score: Float32
    text: Float32 | None = None
    visual: Float32 | None = None
    probability: Float32 | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ranking(self) -> Float32:
        """What hits are ranked by, `(n,)`: the probability, or the score where there is none."""
        return self.score if self.probability is None else self.probability

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Hits:
        """The hits at these positions."""
        text = None if self.text is None else self.text[index]
        visual = None if self.visual is None else self.visual[index]
        probability = None if self.probability is None else self.probability[index]
        return Hits(self.rows[index], self.score[index], text, visual, probability)


def joined(a: Hits, b: Hits) -> Hits:
    """The hits of both. No row may be in both."""
    pairs = ((a.text, b.text), (a.visual, b.visual), (a.probability, b.probability))
    parts = (None if x is None or y is None else np.concatenate([x, y]) for x, y in pairs)
    return Hits(np.concatenate([a.rows, b.rows]), np.concatenate([a.score, b.score]), *parts)


def scored(
    cache: Vectors,
    text: Float32 | None,
    visual: Float32 | None,
    min_score: float,
    allowed: Within | None = None,
) -> Hits:
    """All tracks with a score of at least `min_score`; with both vectors, each factor must reach it too.

    Args:
        cache: The vectors of the memory.
        text: Unit text vector `(Dt,)`.
        visual: Unit visual token `(Dv,)`. One of the two may be None.
        min_score: Minimum score.
        allowed: Which tracks may answer; None for all.
    """
    if text is None or visual is None:
        kind, vector = _only_vector(text, visual)
        return _single_factor(*cache.range_search(kind, vector, min_score, allowed), kind)
    rows, visual_scores = cache.range_search("visual", visual, min_score, allowed)
    text_scores = cache.scores("text", text, rows)
    hits = hits_of(rows, text_scores, visual_scores)
    return hits.take((hits.score >= min_score) & (text_scores >= min_score))


def nearest(
    cache: Vectors, text: Float32 | None, visual: Float32 | None, k: int, allowed: Within | None = None
) -> Hits:
    """The `k` tracks with the highest scores, best first, whatever their score.

    Args:
        cache: The vectors of the memory.
        text: Unit text vector `(Dt,)`.
        visual: Unit visual token `(Dv,)`. One of the two may be None.
        k: How many tracks.
        allowed: Which tracks may answer; None for all.
    """
    if text is None or visual is None:
        kind, vector = _only_vector(text, visual)
        return _single_factor(*cache.top(kind, vector, k, allowed), kind)
    rows, _ = cache.top_product(text, visual, k, allowed)
    return hits_of(rows, cache.scores("text", text, rows), cache.scores("visual", visual, rows))


def hits_of(rows: Rows, text: Float32 | None, visual: Float32 | None) -> Hits:
    """Hits from the cosines to a text and to a picture, `(n,)`; one of them may be None.

    The score is the one factor, or the `product` of both.
    """
    if text is None or visual is None:
        score = visual if text is None else text
        assert score is not None
        return Hits(rows, score, text, visual)
    return Hits(rows, product(text, visual), text, visual)


def _only_vector(text: Float32 | None, visual: Float32 | None) -> tuple[Kind, Float32]:
    """The one of the two vectors that is given, and its kind."""
    if text is not None:
        return "text", text
    assert visual is not None
    return "visual", visual


def _single_factor(rows: Rows, scores: Float32, kind: Kind) -> Hits:
    return Hits(rows, scores, scores if kind == "text" else None, scores if kind == "visual" else None)
