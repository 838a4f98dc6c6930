"""The probability that a track is what was asked for, and the exact search for the tracks that are probable enough.

By words the share of the phrase among its contrast phrases decides, by a picture the cosine, by both the two together:
a good picture needs no name that the encoder knows, and a name helps where pictures look much alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Calibration
from ..encoders.probability import MIN_PROBABILITY, Curve, Mode, lift
from ..errors import UsageError
from ..geometry import unit
from ..records import Float32
from ..store import Vectors, Within
from ..store.scan import in_parts
from ..store.vectors import Kind, Rows
from .scores import Hits, hits_of, joined, nearest

WEAK = 0.4
"""Tracks with less than this share of the required probability are not raised, whatever they look like."""
ANCHORS = 256
"""How many of the probable tracks, the most probable ones, others are compared with."""
_BLOCK = 4096
"""Rows that are looked up at a time, so that memory is bounded."""
_SPLIT = 0.7
"""With a picture, tracks of a larger share than this are searched by the words, the others by the picture."""
_GAIN = 0.05
"""By how much the least cosine to the picture must then rise, so that two searches are worth it."""
_ROUNDING = 1e-4
"""By how much a bound is loosened, so that rounding loses no track."""


def curve_of(calibration: Calibration, text: bool, visual: bool) -> Curve | None:
    """The curve for questions with a text, a picture or both; None if none was fitted."""
    mode: Mode = "product" if text and visual else "text" if text else "visual"
    curve: Curve | None = getattr(calibration.probability, mode, None)
    return curve


def probable(
    cache: Vectors,
    calibration: Calibration,
    text: Float32 | None,
    visual: Float32 | None,
    contrast: Float32 | None = None,
    min_probability: float | None = None,
    allowed: Within | None = None,
) -> Hits:
    """All tracks that are meant with at least `min_probability`, by themselves or because they look like one that is
    (see `encoders.probability.lift`).

    Args:
        cache: The vectors of the memory.
        calibration: Of the encoder; must have a curve for such questions.
        text: Unit text vector `(Dt,)`.
        visual: Unit visual token `(Dv,)`. One of the two may be None.
        contrast: Contrast phrases of the text `(c, Dt)`.
        min_probability: Minimum probability; None for `MIN_PROBABILITY`.
        allowed: Which tracks may answer; None for all.

    Raises:
        UsageError: no curve was fitted for such questions.
    """
    curve = curve_of(calibration, text is not None, visual is not None)
    if curve is None:
        raise UsageError(
            "no probability is known, for such questions are not calibrated with this encoder; `vidmem calibrate FILE` "
            "does it for words, or give `threshold`"
        )
    floor = MIN_PROBABILITY if min_probability is None else min_probability
    best = _best_score(cache, curve, text, visual, allowed)
    search = _Search(cache, calibration, curve, text, visual, contrast, best, allowed)
    search.scan(WEAK * floor)  # one pass over all tracks gives the candidates for both floors
    sure = search.with_probability(search.candidates(floor))
    sure = sure.take(_probability_of(sure) >= np.float32(floor))
    if not len(sure) or floor <= 0:
        return sure
    anchors = sure.take(np.argsort(-_probability_of(sure), kind="stable")[:ANCHORS])
    weak = search.candidates(WEAK * floor)
    weak = weak.take(~np.isin(weak.rows, sure.rows, assume_unique=True))
    similar = _alike(cache, weak, anchors, calibration.same_thing)
    weak = search.with_probability(weak.take(similar))  # looks come first: shares are expensive
    weak = weak.take(_probability_of(weak) >= np.float32(WEAK * floor))
    return joined(sure, _raised(cache, calibration, weak, anchors, floor))


def probabilities(
    cache: Vectors,
    calibration: Calibration,
    hits: Hits,
    contrast: Float32 | None,
    best: NDArray[np.floating] | float | None = None,
) -> Float32 | None:
    """The probability `(n,)` that each hit is the thing asked for, by itself; None if no curve was fitted.

    Args:
        cache: The vectors of the memory.
        calibration: Of the encoder.
        hits: With the factors that were asked for.
        contrast: Contrast phrases of the text `(c, Dt)`; None for a picture alone.
        best: The best deciding score, see `Curve.at`; by default that of these hits.
    """
    curve = curve_of(calibration, hits.text is not None, hits.visual is not None)
    if curve is None:
        return None
    best = deciding(hits).max(initial=0) if best is None else best
    return _on_curve(cache, calibration, curve, hits, contrast, best)


def deciding(hits: Hits) -> Float32:
    """The score `(n,)` that a curve takes: the cosine to the picture if one was given, else that to the words."""
    return hits.score if hits.visual is None else hits.visual


def share(cache: Vectors, hits: Hits, contrast: Float32, temperature: float) -> Float32:
    """Softmax share `(n,)` of the phrase among itself and its contrast phrases, at each hit's text token."""
    assert hits.text is not None
    out = np.empty(len(hits), np.float32)
    for start in range(0, len(hits), _BLOCK):
        part = slice(start, start + _BLOCK)
        against = cache.reconstruct("text", hits.rows[part]) @ contrast.T
        own = hits.text[part]
        out[part] = 1 / (1 + np.exp(np.minimum((against - own[:, None]) / temperature, 80)).sum(1))
    return out


def _best_score(
    cache: Vectors, curve: Curve, text: Float32 | None, visual: Float32 | None, allowed: Within | None
) -> float:
    """The best deciding score of all tracks that may answer; 0 where the curve does not use it."""
    if curve.best <= 0:
        return 0.0
    return float(nearest(cache, text if visual is None else None, visual, 1, allowed).score.max(initial=0))


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """A question with the curve that answers it. best: as in `Curve.at`; the rest as in `probable`.

    scans: what range searches found so far, by threshold, the vector and the rows found; see `_range_search`.
    covers: rows that hold all candidates for a floor, with their cosines to the picture; see `_cover`.
    """

    cache: Vectors
    calibration: Calibration
    curve: Curve
    text: Float32 | None
    visual: Float32 | None
    contrast: Float32 | None
    best: float
    allowed: Within | None
    scans: list[tuple[Kind, Float32, float, tuple[Rows, Float32]]] = field(default_factory=list)
    covers: list[tuple[float, tuple[Rows, Float32]]] = field(default_factory=list)

    def scan(self, floor: float) -> None:
        """Do the range searches that `candidates` needs for `floor`. They answer higher floors as well."""
        if self._cover(floor) is None:
            self._range_search(*self._scan_for(floor))

    def with_probability(self, hits: Hits) -> Hits:
        """The hits with the probability that each has by itself."""
        return replace(
            hits, probability=_on_curve(self.cache, self.calibration, self.curve, hits, self.contrast, self.best)
        )

    def candidates(self, floor: float) -> Hits:
        """All tracks that can reach the probability `floor`, and few others.

        For a token v and n contrast phrases of mean m, Jensen's inequality bounds the sum in `share` from below by
        n exp((m - text) v / T). By words alone, a share of s therefore needs (text - m) v >= T (log n + logit s),
        which is one range search. With a picture, the same bound thins out what the search for the picture gives.
        """
        kind, vector, threshold = self._scan_for(floor)
        rows, scores = self._cover(floor) or self._range_search(kind, vector, threshold)
        if self.text is None:
            return hits_of(rows, None, scores)
        if vector is self.text:
            return hits_of(rows, scores, None)
        if self.visual is None:
            hits = hits_of(rows, self.cache.scores("text", self.text, rows), None)
            return hits.take(hits.score >= np.float32(self._min_score(floor)))
        hits = hits_of(rows, None, scores)
        if self.contrast is not None and len(self.contrast):
            hits = self._thinned(self.text, self.contrast, hits, floor)
        return hits_of(hits.rows, self.cache.scores("text", self.text, hits.rows), hits.score)

    def _min_score(self, floor: float) -> float:
        return max(self.curve.min_score(floor, self.best), -1.0)

    def _scan_for(self, floor: float) -> tuple[Kind, Float32, float]:
        """The range search that finds all candidates: the kind of vectors, the vector, the threshold."""
        if self.visual is not None:
            return "visual", self.visual, self._min_score(floor)
        assert self.text is not None
        if self.contrast is not None and len(self.contrast):
            direction, length = _away_from(self.text, self.contrast)
            min_share = min(self.curve.min_share(floor), 1 - 1e-6)  # float32 may round a share just below 1 up to it
            bound = -1.0
            if min_share > 0:
                logit = np.log(min_share / (1 - min_share))
                bound = self.calibration.temperature * (np.log(len(self.contrast)) + logit) - _ROUNDING
            if length >= 1e-6 and bound > 0:
                return "text", (direction / length).astype(np.float32), bound / length
        return "text", self.text, self._min_score(floor)

    def _cover(self, floor: float) -> tuple[Rows, Float32] | None:
        """What the search for the picture finds for `floor`, without the tracks that cannot reach it; None where one
        search is as good.

        With the best of all shares, a picture that is hardly alike would do, and a search for that finds most tracks.
        A track either has a large share, so that a search by the words finds it (see `candidates`), or its picture must
        be more alike.
        """
        if self.visual is None or self.text is None or self.contrast is None or not len(self.contrast):
            return None
        for lower, (rows, scores) in self.covers:
            if lower <= floor:
                kept = scores >= np.float32(self._min_score(floor))
                return rows[kept], scores[kept]
        direction, length = _away_from(self.text, self.contrast)
        ahead = self.calibration.temperature * (np.log(len(self.contrast)) + np.log(_SPLIT / (1 - _SPLIT))) - _ROUNDING
        alike = self.curve.min_score(floor, self.best, _SPLIT + 1e-3)
        if length < 1e-6 or ahead <= 0 or alike < self._min_score(floor) + _GAIN:
            return None
        named = self._range_search("text", (direction / length).astype(np.float32), ahead / length)[0]
        rows = np.union1d(self._range_search("visual", self.visual, alike)[0], named)
        scores = self.cache.scores("visual", self.visual, rows)
        kept = scores >= np.float32(self._min_score(floor))
        self.covers.append((floor, (rows[kept], scores[kept])))
        return rows[kept], scores[kept]

    def _range_search(self, kind: Kind, vector: Float32, threshold: float) -> tuple[Rows, Float32]:
        """As that of the cache, without a scan where an earlier one had a lower threshold."""
        for known_kind, known, lower, found in self.scans:
            if known_kind == kind and lower <= threshold and np.array_equal(known, vector):
                return found if lower == threshold else self.cache.narrowed(kind, vector, found, threshold)
        found = self.cache.range_search(kind, vector, threshold, self.allowed)
        self.scans.append((kind, vector, threshold, found))
        return found

    def _thinned(self, text: Float32, contrast: Float32, hits: Hits, floor: float) -> Hits:
        """The hits of a search by picture without those that cannot reach the floor with any share within the
        bound."""
        direction, length = _away_from(text, contrast)
        if length < 1e-6:
            return hits
        ahead = length * self.cache.scores("text", (direction / length).astype(np.float32), hits.rows)
        logit = np.clip(ahead / self.calibration.temperature - np.log(len(contrast)) + 0.05, -60, 60)
        upper = self.curve.at(hits.score, 1 / (1 + np.exp(-logit)), self.best)
        return hits.take(upper >= np.float32(floor))


def _away_from(text: Float32, contrast: Float32) -> tuple[Float32, float]:
    """The direction from the mean of the contrast phrases to the text, and its length."""
    direction = unit(text) - contrast.mean(0)
    return direction, float(np.linalg.norm(direction))


def _raised(cache: Vectors, calibration: Calibration, weak: Hits, anchors: Hits, floor: float) -> Hits:
    """The weak hits that reach the floor because they look like a sure one: other views of a thing that is probably
    meant."""
    probability = _probability_of(weak).copy()
    for part, cosine in _similarity(cache, weak, anchors):
        probability[part] = lift(probability[part], cosine, _probability_of(anchors), calibration.same_thing)
    return replace(weak, probability=probability).take(probability >= np.float32(floor))


def _alike(cache: Vectors, hits: Hits, anchors: Hits, least: float) -> NDArray[np.bool_]:
    """Which hits `(m,)` have a visual cosine above `least` to one of the anchors."""
    out = np.zeros(len(hits), np.bool_)

    def fill(low: int, high: int) -> None:
        for part, cosine in _similarity(cache, hits, anchors, low, high):
            out[part] = cosine.max(axis=1) > least

    in_parts(len(hits), fill, 2 * _BLOCK)
    return out


def _similarity(
    cache: Vectors, hits: Hits, anchors: Hits, low: int = 0, high: int | None = None
) -> Iterator[tuple[slice, Float32]]:
    """Visual cosines of the hits from `low` to `high` to anchors `(m, a)`, in parts, so that memory is bounded."""
    anchor_vectors = cache.reconstruct("visual", anchors.rows)
    end = len(hits) if high is None else high
    for start in range(low, end, _BLOCK):
        part = slice(start, min(start + _BLOCK, end))
        yield part, cache.reconstruct("visual", hits.rows[part]) @ anchor_vectors.T


def _probability_of(hits: Hits) -> Float32:
    assert hits.probability is not None
    return hits.probability


def _on_curve(
    cache: Vectors,
    calibration: Calibration,
    curve: Curve,
    hits: Hits,
    contrast: Float32 | None,
    best: NDArray[np.floating] | float,
) -> Float32:
    """The probability `(n,)` of each hit by itself. best: see `Curve.at`."""
    if hits.text is None:
        return curve.at(deciding(hits), None, best)
    shares = np.ones(len(hits)) if contrast is None else share(cache, hits, contrast, calibration.temperature)
    return curve.at(deciding(hits), shares, best)
