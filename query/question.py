"""The records of a question: what is looked for, as vectors, and the filters on it."""

from __future__ import annotations

from dataclasses import dataclass

from ..records import Float32
from ..store import Spans
from .filters import MAX_GAP, WITHIN_NS


@dataclass(frozen=True, slots=True, eq=False)
class Phrase:
    """A phrase as vectors: the text itself `(Dt,)` and its contrast phrases `(c, Dt)`."""

    text: Float32
    contrast: Float32 | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is looked for, and where.

    text: unit text vector `(Dt,)`, with its contrast phrases `(c, Dt)`. visual: unit visual token `(Dv,)`. With text
    and visual the score is the product of both; one of them is needed.
    threshold: minimum score, in place of the calibrated tests. min_probability: minimum probability, in place of
    `encoders.probability.MIN_PROBABILITY`.
    spans: the sources and times to search, None for all. near: other things that must be near, within `within_ns` and
    with a gap between the boxes of at most `max_gap` longest sides.
    """

    text: Float32 | None = None
    visual: Float32 | None = None
    contrast: Float32 | None = None
    threshold: float | None = None
    min_probability: float | None = None
    spans: Spans | None = None
    near: tuple[Phrase, ...] = ()
    within_ns: int = WITHIN_NS
    max_gap: float = MAX_GAP
