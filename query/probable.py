"""How probable each track is what was asked for, and the exact search for those that are probable enough.

By words the share of the phrase among others tells, by a picture the cosine, by both the two together: a picture that
is sure needs no name that the encoder knows, and a name helps where pictures are much alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Calibration
from ..encoders.probability import FLOOR, Curve, Mode, lifted
from ..errors import UsageError
from ..geometry import unit
from ..records import Float32
from ..store import VectorCache
from .scores import Hits, hits_of, joined, nearest, scored

WEAK = 0.4
"""What is less probable than this share of the floor is not looked at again, whatever it looks like."""
ANCHORS = 256
"""So many of the tracks that are probably meant, the likeliest ones, are what others are held against."""

_BLOCK = 4096
_ROUNDING = 1e-4


def curve_of(calibration: Calibration, text: bool, visual: bool) -> Curve | None:
    """The curve for questions with these parts; None where nobody fitted one."""
    mode: Mode = "product" if text and visual else "text" if text else "visual"
    curve: Curve | None = getattr(calibration.probability, mode, None)
    return curve


def probable(
    cache: VectorCache,
    calibration: Calibration,
    text: Float32 | None,
    visual: Float32 | None,
    contrast: Float32 | None,
    least: float | None,
    may: NDArray[np.bool_] | None,
) -> Hits:
    """All tracks that are what was asked for with a probability of at least `least` (FLOOR when None), by themselves or
    since they look like one that is (`probability.lifted`). may: as in `search.find`.

    Raises UsageError where no curve is fitted for such questions.
    """
    curve = curve_of(calibration, text is not None, visual is not None)
    if curve is None:
        raise UsageError(
            "no probability is known, for such questions are not calibrated with this encoder; `vidmem calibrate FILE` "
            "does it for words, or give `threshold`"
        )
    floor = FLOOR if least is None else least
    best = _best(cache, curve, text, visual, may)

    def reaching(least: float) -> Hits:
        return _candidates(cache, calibration, curve, text, visual, contrast, least, best, may)

    def judged(hits: Hits) -> Hits:
        return replace(hits, likely=_likely(cache, calibration, curve, hits, contrast, best))

    sure = judged(reaching(floor))
    sure = sure.take(_likely_of(sure) >= np.float32(floor))
    if not len(sure) or floor <= 0:
        return sure
    anchors = sure.take(np.argsort(-_likely_of(sure), kind="stable")[:ANCHORS])
    weak = reaching(WEAK * floor)
    weak = weak.take(~np.isin(weak.rows, sure.rows))
    alike = np.zeros(len(weak), np.bool_)
    for part, cosine in _likeness(cache, weak, anchors):
        alike[part] = cosine.max(axis=1) > calibration.same_thing
    weak = judged(weak.take(alike))  # looks come first: shares are dear
    weak = weak.take(_likely_of(weak) >= np.float32(WEAK * floor))
    return joined(sure, _lifted(cache, calibration, weak, anchors, floor))


def probabilities(
    cache: VectorCache,
    calibration: Calibration,
    hits: Hits,
    contrast: Float32 | None,
    best: NDArray[np.floating] | float | None = None,
) -> Float32 | None:
    """The probability `(n,)` that each hit is the thing asked for, by itself; None where no curve is fitted for such
    questions. contrast: of the phrase, None for a picture alone. best: see `Curve.at`, by default of these hits."""
    curve = curve_of(calibration, hits.text is not None, hits.visual is not None)
    if curve is None:
        return None
    return _likely(cache, calibration, curve, hits, contrast, deciding(hits).max(initial=0) if best is None else best)


def deciding(hits: Hits) -> Float32:
    """The score `(n,)` that a curve reads: the cosine to the picture where one was given, else that to the words."""
    return hits.score if hits.visual is None else hits.visual


def share(cache: VectorCache, hits: Hits, contrast: Float32, temperature: float) -> Float32:
    """Softmax share `(n,)` of the phrase among itself and the contrast phrases, at each hit's text token."""
    assert hits.text is not None
    out = np.empty(len(hits), np.float32)
    for start in range(0, len(hits), _BLOCK):  # bounded memory whatever the number of hits
        part = slice(start, start + _BLOCK)
        against = cache.reconstruct("text", hits.rows[part]) @ contrast.T
        own = hits.text[part]
        out[part] = 1 / (1 + np.exp(np.minimum((against - own[:, None]) / temperature, 80)).sum(1))
    return out


def _best(
    cache: VectorCache, curve: Curve, text: Float32 | None, visual: Float32 | None, may: NDArray[np.bool_] | None
) -> float:
    """The best deciding score of all that may answer; of no account where the curve does not ask for it."""
    if curve.best <= 0:
        return 0.0
    rows = None if may is None else np.flatnonzero(may)
    return float(nearest(cache, text if visual is None else None, visual, 1, rows).score.max(initial=0))


def _candidates(
    cache: VectorCache,
    calibration: Calibration,
    curve: Curve,
    text: Float32 | None,
    visual: Float32 | None,
    contrast: Float32 | None,
    least: float,
    best: float,
    may: NDArray[np.bool_] | None,
) -> Hits:
    """All tracks that can reach `least`, and few others.

    For a token v and n contrast phrases of mean m, Jensen's inequality bounds the sum in `share` from below by
    n exp((m - text) v / T). By words alone, a share of s therefore needs (text - m) v >= T (log n + logit s), which is
    one range search; with a picture, what the search for that gives is thinned out by the same bound.
    """
    least_score = max(curve.least_score(least, best), -1.0)
    if text is None or contrast is None or not len(contrast):
        return (
            scored(cache, text, visual, least_score, may)
            if text is None or visual is None
            else _with_text(cache, text, scored(cache, None, visual, least_score, may))
        )
    direction = unit(text) - contrast.mean(0)
    length = float(np.linalg.norm(direction))
    if visual is None:
        share = min(curve.least_share(least), 1 - 1e-6)  # float32 may round a share just below 1 up to it
        bound = -1.0
        if share > 0:
            bound = calibration.temperature * (np.log(len(contrast)) + np.log(share / (1 - share))) - _ROUNDING
        if length < 1e-6 or bound <= 0:
            return scored(cache, text, None, least_score, may)
        rows, _ = cache.range_search("text", (direction / length).astype(np.float32), bound / length)
        rows = rows if may is None else rows[may[rows]]
        hits = hits_of(rows, cache.scores("text", text, rows), None)
        return hits.take(hits.score >= np.float32(least_score))
    hits = scored(cache, None, visual, least_score, may)
    if length >= 1e-6:
        told = length * cache.scores("text", (direction / length).astype(np.float32), hits.rows)
        logit = np.clip(told / calibration.temperature - np.log(len(contrast)) + 0.05, -60, 60)
        most = curve.at(hits.score, 1 / (1 + np.exp(-logit)), best)
        hits = hits.take(most >= np.float32(least))
    return _with_text(cache, text, hits)


def _with_text(cache: VectorCache, text: Float32, hits: Hits) -> Hits:
    return hits_of(hits.rows, cache.scores("text", text, hits.rows), hits.score)


def _lifted(cache: VectorCache, calibration: Calibration, weak: Hits, anchors: Hits, floor: float) -> Hits:
    """What reaches the floor since it looks like what is sure: another view of a thing that is probably meant."""
    likely = _likely_of(weak).copy()
    for part, cosine in _likeness(cache, weak, anchors):
        likely[part] = lifted(likely[part], cosine, _likely_of(anchors), calibration.same_thing)
    return replace(weak, likely=likely).take(likely >= np.float32(floor))


def _likeness(cache: VectorCache, hits: Hits, anchors: Hits) -> Iterator[tuple[slice, Float32]]:
    """Cosines of the looks of hits to those of anchors `(m, a)`, in parts, so that memory is bounded."""
    looks = cache.reconstruct("visual", anchors.rows)
    for start in range(0, len(hits), _BLOCK):
        part = slice(start, start + _BLOCK)
        yield part, cache.reconstruct("visual", hits.rows[part]) @ looks.T


def _likely_of(hits: Hits) -> Float32:
    assert hits.likely is not None
    return hits.likely


def _likely(
    cache: VectorCache,
    calibration: Calibration,
    curve: Curve,
    hits: Hits,
    contrast: Float32 | None,
    best: NDArray[np.floating] | float,
) -> Float32:
    if hits.text is None:
        return curve.at(deciding(hits), None, best)
    held = np.ones(len(hits)) if contrast is None else share(cache, hits, contrast, calibration.temperature)
    return curve.at(deciding(hits), held, best)
