"""Exact search for tracks by text, by picture, or by both, and what counts as found.

With both, a track's score is the product of its two cosines (T-REN, "Where"). Both factors are at most 1, so a
product >= t needs each factor >= t: one range search finds all candidates, the other factor is checked on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Calibration
from ..errors import UsageError
from ..geometry import unit
from ..probability import FLOOR, LOOSE, Curve, Mode
from ..records import Float32
from ..store import VectorCache
from ..store.vectors import Kind

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Tracks that passed: rows `(n,)` of the cache, score `(n,)` float32, the factors asked for (None else), and how
    likely each is meant, where that was asked."""

    rows: Rows
    score: Float32
    text: Float32 | None = None
    visual: Float32 | None = None
    likely: Float32 | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Hits:
        text = None if self.text is None else self.text[index]
        visual = None if self.visual is None else self.visual[index]
        likely = None if self.likely is None else self.likely[index]
        return Hits(self.rows[index], self.score[index], text, visual, likely)


def find(
    cache: VectorCache, calibration: Calibration, text: Float32 | None, visual: Float32 | None,
    contrast: Float32 | None = None, threshold: float | None = None, least_probability: float | None = None,
    may: NDArray[np.bool_] | None = None,
) -> Hits:  # fmt: skip
    """All tracks that count as found for a text vector `(Dt,)`, a visual token `(Dv,)` or both.

    Where probabilities are fitted for such questions, it is the tracks that are more likely meant than not
    (probability.FLOOR); else those that pass the calibrated tests. least_probability: in place of FLOOR; raises
    UsageError where none was fitted. threshold: the score alone decides, in place of both. may: which rows may answer
    `(n,)`, None for all; what may not has no part in anything.
    """
    if text is None and visual is None:
        raise ValueError("a text, a picture or both")
    if threshold is not None:
        return scored(cache, text, visual, threshold, may)
    curve = _curve(calibration, text is not None, visual is not None)
    if curve is not None or least_probability is not None:
        return _probable(cache, calibration, curve, text, visual, contrast, least_probability, may)
    if text is not None and visual is not None:
        hits = scored(cache, text, visual, calibration.product_threshold, may)
        return _meant(cache, calibration, hits, contrast, calibration.contrast_probability_product)
    if text is not None:
        hits = scored(cache, text, None, calibration.text_threshold, may)
        return _meant(cache, calibration, hits, contrast, calibration.contrast_probability)
    return scored(cache, None, visual, calibration.visual_threshold, may)


def scored(
    cache: VectorCache, text: Float32 | None, visual: Float32 | None, least: float, may: NDArray[np.bool_] | None = None
) -> Hits:
    """All tracks with a score of at least `least`: the cosine, or with both the product of the two, each of which must
    reach it too. may: as in `find`."""
    if text is None or visual is None:
        kind: Kind = "visual" if text is None else "text"
        vector = visual if text is None else text
        assert vector is not None
        rows, scores = cache.range_search(kind, vector, least)
        hits = Hits(rows, scores, None if text is None else scores, None if visual is None else scores)
        return hits if may is None else hits.take(may[rows])
    rows, seen = cache.range_search("visual", visual, least)
    if may is not None:
        rows, seen = rows[may[rows]], seen[may[rows]]
    hits = _hits(rows, cache.scores("text", text, rows), seen)
    assert hits.text is not None
    return hits.take((hits.score >= least) & (hits.text >= least))


def find_each(
    cache: VectorCache, calibration: Calibration, texts: Float32, contrasts: Sequence[Float32],
    least_probability: float | None = None, may: NDArray[np.bool_] | None = None,
) -> list[Hits]:  # fmt: skip
    """`find` for each of many text vectors `(n, Dt)` with its contrast phrases; where no probability is fitted, in one
    pass over the tracks."""
    curve = _curve(calibration, True, False)
    if curve is not None or least_probability is not None:
        return [_probable(cache, calibration, curve, text, None, contrast, least_probability, may)
                for text, contrast in zip(texts, contrasts, strict=True)]  # fmt: skip
    least, out = calibration.text_threshold, []
    for (rows, read), contrast in zip(cache.range_search_many("text", texts, least), contrasts, strict=True):
        hits = Hits(rows, read, read, None)
        hits = hits if may is None else hits.take(may[rows])
        out.append(_meant(cache, calibration, hits, contrast, calibration.contrast_probability))
    return out


def _meant(
    cache: VectorCache, calibration: Calibration, hits: Hits, contrast: Float32 | None, least_share: float
) -> Hits:
    """Those that the phrase, not a contrast phrase, is said of."""
    if contrast is None or least_share <= 0 or not len(hits):
        return hits
    return hits.take(share(cache, hits, contrast, calibration.temperature) >= least_share)


def among(
    cache: VectorCache, calibration: Calibration, rows: Rows, text: Float32, contrast: Float32 | None
) -> tuple[Hits, NDArray[np.bool_]]:
    """The tracks in `rows`, and which of them pass the tests of `find` by this text that are of a track alone."""
    read = cache.scores("text", text, rows)
    hits = Hits(rows, read, read, None)
    # Whether a thing is in a picture does not hang on how well another picture shows one: each is its own best.
    likely = probabilities(cache, calibration, hits, contrast, hits.score)
    if likely is not None:
        return hits, np.asarray(likely >= np.float32(FLOOR))
    found = read >= np.float32(calibration.text_threshold)
    if contrast is not None and calibration.contrast_probability > 0 and found.any():
        found[found] = (
            share(cache, hits.take(found), contrast, calibration.temperature) >= calibration.contrast_probability
        )
    return hits, found


def _curve(calibration: Calibration, text: bool, visual: bool) -> Curve | None:
    mode: Mode = "product" if text and visual else "text" if text else "visual"
    curve: Curve | None = getattr(calibration.probability, mode, None)
    return curve


def _probable(
    cache: VectorCache, calibration: Calibration, curve: Curve | None, text: Float32 | None, visual: Float32 | None,
    contrast: Float32 | None, least: float | None, may: NDArray[np.bool_] | None,
) -> Hits:  # fmt: skip
    if curve is None:
        raise _unfitted()
    floor = FLOOR if least is None else least
    # No track below this score, or below that share, can reach it, so the search is exact.
    least_score = max(curve.least_score(floor), -1.0)
    hits = _telling(cache, calibration, curve, text, visual, contrast, floor, may)
    if hits is None:
        hits = scored(cache, text, visual, least_score, may)
        return _as_probable(cache, calibration, curve, hits, contrast, floor)
    best = None
    if curve.best > 0:  # which the share may have left out
        rows = None if may is None else np.flatnonzero(may)
        best = float(nearest(cache, text, visual, 1, rows).score.max(initial=0))
    return _as_probable(cache, calibration, curve, hits.take(hits.score >= np.float32(least_score)), contrast, floor,
                        best)  # fmt: skip


def _telling(
    cache: VectorCache, calibration: Calibration, curve: Curve, text: Float32 | None, visual: Float32 | None,
    contrast: Float32 | None, least: float, may: NDArray[np.bool_] | None,
) -> Hits | None:  # fmt: skip
    """All tracks whose share can reach `least`, and few others; None where the share does not narrow it down.

    For a token v and n contrast phrases of mean m, Jensen's inequality bounds the sum in `share` from below by
    n exp((m - text) v / T): a share of s needs (text - m) v >= T (log n + logit s), which is one range search.
    """
    share = min(curve.least_share(least), 1 - 1e-6)  # float32 may round a share just below 1 up to it
    if text is None or contrast is None or not len(contrast) or share <= 0:
        return None
    direction = unit(text) - contrast.mean(0)
    length = float(np.linalg.norm(direction))
    bound = calibration.temperature * (np.log(len(contrast)) + np.log(share / (1 - share))) - 1e-4
    if length < 1e-6 or bound <= 0:
        return None
    rows, _ = cache.range_search("text", (direction / length).astype(np.float32), bound / length)
    rows = rows if may is None else rows[may[rows]]
    read = cache.scores("text", text, rows)
    return _hits(rows, read, None if visual is None else cache.scores("visual", visual, rows))


def _unfitted() -> UsageError:
    return UsageError(
        "no probability is known, for such questions are not calibrated with this encoder; `vidmem calibrate FILE` "
        "does it for words, or give `threshold`"
    )


def _as_probable(
    cache: VectorCache, calibration: Calibration, curve: Curve, hits: Hits, contrast: Float32 | None, least: float,
    best: float | None = None,
) -> Hits:  # fmt: skip
    """best: the best score of the question, by default of the hits."""
    best = float(hits.score.max(initial=0)) if best is None else best
    hits = replace(hits, likely=_likely(cache, calibration, curve, hits, contrast, best))
    assert hits.likely is not None
    return hits.take(hits.likely >= np.float32(least))


def loose(calibration: Calibration) -> Calibration:
    """The tests that a track must pass to be considered at all where probabilities are fitted or decide."""
    return Calibration(LOOSE * calibration.text_threshold, 0, LOOSE * calibration.visual_threshold,
                       LOOSE * calibration.product_threshold, temperature=calibration.temperature)  # fmt: skip


def probabilities(
    cache: VectorCache, calibration: Calibration, hits: Hits, contrast: Float32 | None,
    best: NDArray[Any] | float | None = None,
) -> Float32 | None:  # fmt: skip
    """The probability `(n,)` that each hit is the thing asked for; None where nothing was fitted for such questions.
    contrast: of the phrase, None for a picture alone. best: the best score of the question, by default of these."""
    curve = _curve(calibration, hits.text is not None, hits.visual is not None)
    if curve is None:
        return None
    return _likely(cache, calibration, curve, hits, contrast, hits.score.max(initial=0) if best is None else best)


def _likely(
    cache: VectorCache, calibration: Calibration, curve: Curve, hits: Hits, contrast: Float32 | None,
    best: NDArray[Any] | float,
) -> Float32:  # fmt: skip
    if hits.text is None:
        return curve.at(hits.score, None, best)
    if contrast is None:
        return curve.at(hits.score, np.ones(len(hits)), best)
    return curve.at(hits.score, share(cache, hits, contrast, calibration.temperature), best)


def share(cache: VectorCache, hits: Hits, contrast: Float32, temperature: float) -> Float32:
    """Softmax share `(n,)` of the phrase among itself and the contrast phrases, at each hit's text token."""
    assert hits.text is not None
    out = np.empty(len(hits), np.float32)
    for start in range(0, len(hits), 4096):  # bounded memory whatever the number of hits
        part = slice(start, start + 4096)
        against = cache.reconstruct("text", hits.rows[part]) @ contrast.T
        own = hits.text[part]
        out[part] = 1 / (1 + np.exp(np.minimum((against - own[:, None]) / temperature, 80)).sum(1))
    return out


def nearest(
    cache: VectorCache, text: Float32 | None, visual: Float32 | None, k: int, rows: Rows | None = None
) -> Hits:
    """The k best tracks whatever their score, best first: near misses for an answer of "not found". rows: of these
    alone, None for all."""
    if rows is None and (text is None or visual is None):
        vector, kind = (visual, "visual") if text is None else (text, "text")
        assert vector is not None
        near, scores = cache.top("visual" if kind == "visual" else "text", vector, k)
        return Hits(near, scores, scores if visual is None else None, scores if text is None else None)
    rows = np.arange(len(cache), dtype=np.int64) if rows is None else rows
    read = None if text is None else cache.scores("text", text, rows)
    seen = None if visual is None else cache.scores("visual", visual, rows)
    hits = _hits(rows, read, seen)
    return hits.take(np.argsort(-hits.score, kind="stable")[:k])


def _hits(rows: Rows, read: Float32 | None, seen: Float32 | None) -> Hits:
    """The score is the one factor asked for, or the product of both; of two negative ones it is negative, for neither
    is a match."""
    if read is None or seen is None:
        score = seen if read is None else read
        assert score is not None
        return Hits(rows, score, read, seen)
    return Hits(rows, np.where((seen < 0) & (read < 0), -seen * read, seen * read), read, seen)
