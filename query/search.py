"""What counts as found: tracks that are probably what was asked for, or that pass the calibrated tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Calibration
from ..encoders.probability import FLOOR, LOOSE
from ..records import Float32
from ..store import VectorCache
from .probable import curve_of, probabilities, probable, share
from .scores import Hits, Rows, scored


def find(
    cache: VectorCache,
    calibration: Calibration,
    text: Float32 | None,
    visual: Float32 | None,
    contrast: Float32 | None = None,
    threshold: float | None = None,
    least_probability: float | None = None,
    may: NDArray[np.bool_] | None = None,
) -> Hits:
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
    curve = curve_of(calibration, text is not None, visual is not None)
    if curve is not None or least_probability is not None:
        return probable(cache, calibration, text, visual, contrast, least_probability, may)
    if text is not None and visual is not None:
        hits = scored(cache, text, visual, calibration.product_threshold, may)
        return _meant(cache, calibration, hits, contrast, calibration.contrast_probability_product)
    if text is not None:
        hits = scored(cache, text, None, calibration.text_threshold, may)
        return _meant(cache, calibration, hits, contrast, calibration.contrast_probability)
    return scored(cache, None, visual, calibration.visual_threshold, may)


def find_each(
    cache: VectorCache,
    calibration: Calibration,
    texts: Float32,
    contrasts: Sequence[Float32],
    least_probability: float | None = None,
    may: NDArray[np.bool_] | None = None,
) -> list[Hits]:
    """`find` for each of many text vectors `(n, Dt)` with its contrast phrases; where no probability is fitted, in one
    pass over the tracks."""
    if curve_of(calibration, True, False) is not None or least_probability is not None:
        return [
            probable(cache, calibration, text, None, contrast, least_probability, may)
            for text, contrast in zip(texts, contrasts, strict=True)
        ]
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


def loose(calibration: Calibration) -> Calibration:
    """The tests that a track must pass to be considered at all where probabilities are fitted or decide."""
    return Calibration(
        LOOSE * calibration.text_threshold,
        0,
        LOOSE * calibration.visual_threshold,
        LOOSE * calibration.product_threshold,
        temperature=calibration.temperature,
    )
