"""Things in one picture: where a phrase is, and which of some labels each pixel has.

After TextRegion, sections 3.2 and 4 and appendix A.4 (arXiv 2505.23769): a region is chosen when it is more like the
phrase than like a contrast phrase. Beyond the paper, it must also pass the encoder's calibrated test, as a track must
for `where`, so that nothing is pointed out that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Calibration, TextEncoder
from ..encoders.vocabulary import read
from ..geometry import stretching
from ..records import Box, Float32, RegionTokens
from .parse import UNLABELLED, Labels, best_class
from .region_scores import HELD, Bools, cosines, mask_box, parts, referred

LEAST_PART = 0.25
"""Parts of a mask smaller than this share of a patch are edges of the stretching, not things."""


@dataclass(frozen=True, slots=True, eq=False)
class Pointed:
    """One thing. score: cosine of its region to the phrase. mask `(H, W)` bool; box around it, in pixels."""

    score: float
    mask: Bools
    box: Box


@dataclass(frozen=True, slots=True, eq=False)
class Phrases:
    """Phrases as unit vectors `(C, Dt)`, and for each the unit vectors that speak against it."""

    vectors: Float32
    against: Sequence[Float32]


def asked(encoder: TextEncoder, phrases: Sequence[str], guess: bool = False) -> Phrases:
    """guess: as in `reading.read`. Raises UsageError for a phrase that the encoder cannot read."""
    phrases = [one.read_as for one in read(encoder, phrases, guess=guess)]
    vectors = encoder.encode_text(phrases)
    return Phrases(vectors, [encoder.contrast_for(*pair) for pair in zip(phrases, vectors, strict=True)])


def passing(found: RegionTokens, what: Phrases, calibration: Calibration, threshold: float | None = None) -> Bools:
    """Which regions count as which phrase: `(M, C)`. threshold: least cosine, in place of the calibrated tests."""
    own = cosines(found, what.vectors)
    if threshold is not None:
        return np.asarray(own >= threshold)
    out = own >= calibration.text_threshold
    for c, against in enumerate(what.against):
        gap = cosines(found, against) - own[:, c : c + 1]
        share = 1 / (1 + np.exp(gap / calibration.temperature).sum(axis=1))
        out[:, c] &= share >= calibration.contrast_probability
    return np.asarray(out)


def one(
    found: RegionTokens, what: Phrases, passed: Bools, size: tuple[int, int], *, whole: bool = False
) -> list[Pointed]:
    """The thing that is meant: the best region that passed, its largest connected part; none or one of them. size: (H,
    W) of the picture. whole: all of its mask, as TextRegion's code has it, not the part that is above half its peak."""
    scores = np.where(passed[:, 0], cosines(found, what.vectors)[:, 0], -np.inf)
    if not len(scores) or not passed[:, 0].any():
        return []
    best = int(scores.argmax())
    held = _pixels(found.masks[best], size) > (0 if whole else HELD)
    picked = referred(scores[best : best + 1], held[None])
    return [] if picked is None else [Pointed(float(scores[best]), *picked[1:])]


def several(found: RegionTokens, what: Phrases, passed: Bools, size: tuple[int, int]) -> list[Pointed]:
    """All that is meant, best first: connected parts of the regions that passed. size: (H, W) of the picture."""
    scores = cosines(found, what.vectors)[:, 0]
    heights = np.full(size, -np.inf, np.float32)
    for row in np.flatnonzero(passed[:, 0]):
        held = _pixels(found.masks[row], size) > HELD
        heights[held] = np.maximum(heights[held], scores[row])
    mask = heights > -np.inf
    least = LEAST_PART * size[0] * size[1] / max(found.masks.shape[1] * found.masks.shape[2], 1)
    out = []
    labels = parts(mask)
    counts = np.bincount(labels[mask], minlength=1)
    for number in np.flatnonzero(counts >= max(least, 1)):
        part = labels == number
        box = mask_box(part)
        if box is not None:
            out.append(Pointed(float(heights[part].max()), part, box))
    return sorted(out, key=lambda p: -p.score)


def labelled(found: RegionTokens, what: Phrases, passed: Bools, size: tuple[int, int]) -> Labels:
    """The label of each pixel `(H, W)` int32: of the regions that passed and hold it, that of the most alike one;
    UNLABELLED where there is none."""
    scores = cosines(found, what.vectors)
    labels, best = np.full(size, UNLABELLED, np.int32), np.full(size, -np.inf, np.float32)
    for row in np.flatnonzero(passed.any(axis=1)):
        own = np.where(passed[row], scores[row], -np.inf)
        label = int(own.argmax())
        better = (_pixels(found.masks[row], size) > HELD) & (own[label] > best)
        labels[better], best[better] = label, own[label]
    return labels


def labelled_closed(found: RegionTokens, what: Phrases, size: tuple[int, int]) -> Labels:
    """As `labelled`, by the paper's rule: every pixel of a region has one of the labels, that of the highest
    sum_r cosine_r M_r (Eq. 4, whose softmax does not change which is highest)."""
    if not len(found):
        return np.full(size, UNLABELLED, np.int32)
    soft = np.clip(found.masks, 0, 1)
    # Stretching is linear: the sum may be taken before it.
    labels = best_class(np.einsum("rc,rhw->chw", cosines(found, what.vectors), soft), *size)
    labels[_pixels(soft.max(axis=0), size) <= 0] = UNLABELLED
    return labels


def _pixels(mask: Float32, size: tuple[int, int]) -> NDArray[np.float32]:
    """A mask `(h, w)` at the size of the picture, 1 where it is highest."""
    unit = mask / max(float(mask.max(initial=0)), 1e-12)
    if unit.shape == size:
        return np.asarray(unit, np.float32)
    return np.asarray(stretching(mask.shape[0], size[0]) @ unit @ stretching(mask.shape[1], size[1]).T, np.float32)
