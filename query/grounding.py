"""Things in one picture: where a phrase is, and which of some labels each pixel has.

After TextRegion, sections 3.2 and 4 and appendix A.4 (arXiv 2505.23769): a region is chosen when it is more like the
phrase than like a contrast phrase. Beyond the paper, it must also pass the encoder's calibrated test, as a track must
for `where`, so that nothing is found that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..encoders.base import Calibration, TextEncoder
from ..encoders.vocabulary import read
from ..geometry import stretching
from ..records import Box, Float32, RegionTokens
from .parse import UNLABELLED, Labels, best_class

MIN_PART = 0.25
"""Parts of a mask smaller than this share of a patch are edges of the stretching, not things."""
HELD = 0.5
"""A region holds the cells in which its mask is more than this share of its peak, as its box has them."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Pointed:
    """One thing. score: cosine of its region to the phrase. mask: `(H, W)`. box: around the mask, in pixels."""

    score: float
    mask: Bools
    box: Box


@dataclass(frozen=True, slots=True, eq=False)
class Phrases:
    """Phrases as unit vectors `(C, Dt)`, and the contrast phrases of each as unit vectors."""

    vectors: Float32
    contrasts: Sequence[Float32]


def read_phrases(encoder: TextEncoder, phrases: Sequence[str], guess: bool = False) -> Phrases:
    """The vectors of phrases for a single picture. guess: as in `reading.read`.

    Raises:
        UsageError: the encoder cannot read a phrase.
    """
    texts = [reading.read_as for reading in read(encoder, phrases, guess=guess)]
    vectors = encoder.encode_text(texts)
    return Phrases(vectors, [encoder.contrast_for(*pair) for pair in zip(texts, vectors, strict=True)])


def passing(found: RegionTokens, phrases: Phrases, calibration: Calibration, threshold: float | None = None) -> Bools:
    """Which regions count as which phrase: `(M, C)`.

    Args:
        found: The regions.
        phrases: What was asked for.
        calibration: Of the encoder.
        threshold: Minimum cosine; overrides the calibrated tests.
    """
    own = cosines(found, phrases.vectors)
    if threshold is not None:
        return np.asarray(own >= threshold)
    out = own >= calibration.text_threshold
    for c, contrast in enumerate(phrases.contrasts):
        gap = cosines(found, contrast) - own[:, c : c + 1]
        share = 1 / (1 + np.exp(gap / calibration.temperature).sum(axis=1))
        out[:, c] &= share >= calibration.contrast_probability
    return np.asarray(out)


def best_thing(
    found: RegionTokens, phrases: Phrases, passed: Bools, size: tuple[int, int], *, whole: bool = False
) -> list[Pointed]:
    """The largest connected part of the best region that passed; a list of one thing or none.

    Args:
        found: The regions.
        phrases: One phrase.
        passed: Which regions count as it, `(M, 1)`.
        size: (H, W) of the picture.
        whole: Take all of the mask, as TextRegion's code does, not only the part above half its peak.
    """
    scores = np.where(passed[:, 0], cosines(found, phrases.vectors)[:, 0], -np.inf)
    if not len(scores) or not passed[:, 0].any():
        return []
    best = int(scores.argmax())
    part = largest_part(_pixels(found.masks[best], size) > (0 if whole else HELD))
    box = mask_box(part)
    return [] if box is None else [Pointed(float(scores[best]), part, box)]


def all_things(found: RegionTokens, phrases: Phrases, passed: Bools, size: tuple[int, int]) -> list[Pointed]:
    """The connected parts of the regions that passed, best first. size: (H, W) of the picture."""
    scores = cosines(found, phrases.vectors)[:, 0]
    heights = np.full(size, -np.inf, np.float32)
    for row in np.flatnonzero(passed[:, 0]):
        held = _pixels(found.masks[row], size) > HELD
        heights[held] = np.maximum(heights[held], scores[row])
    mask = heights > -np.inf
    min_pixels = max(MIN_PART * size[0] * size[1] / max(found.masks.shape[1] * found.masks.shape[2], 1), 1)
    out = []
    for part in large_parts(mask, min_pixels):
        box = mask_box(part)
        if box is not None:
            out.append(Pointed(float(heights[part].max()), part, box))
    return sorted(out, key=lambda thing: -thing.score)


def labelled(found: RegionTokens, phrases: Phrases, passed: Bools, size: tuple[int, int]) -> Labels:
    """The label of each pixel, `(H, W)` int32: that of the most similar region that passed and holds it; UNLABELLED
    where there is none. size: (H, W) of the picture."""
    scores = cosines(found, phrases.vectors)
    labels, best = np.full(size, UNLABELLED, np.int32), np.full(size, -np.inf, np.float32)
    for row in np.flatnonzero(passed.any(axis=1)):
        own = np.where(passed[row], scores[row], -np.inf)
        label = int(own.argmax())
        better = (_pixels(found.masks[row], size) > HELD) & (own[label] > best)
        labels[better], best[better] = label, own[label]
    return labels


def labelled_closed(found: RegionTokens, phrases: Phrases, size: tuple[int, int]) -> Labels:
    """As `labelled`, by the paper's rule: every pixel of a region has one of the labels, that of the highest
    sum_r cosine_r M_r (Eq. 4, whose softmax does not change which is highest)."""
    if not len(found):
        return np.full(size, UNLABELLED, np.int32)
    soft = np.clip(found.masks, 0, 1)
    # Stretching is linear, so the sum may be taken before it.
    labels = best_class(np.einsum("rc,rhw->chw", cosines(found, phrases.vectors), soft), *size)
    labels[_pixels(soft.max(axis=0), size) <= 0] = UNLABELLED
    return labels


def cosines(found: RegionTokens, vectors: Float32) -> Float32:
    """The scores `(M, n)` of the regions with unit vectors `(n, Dt)`: the cosine, times the length of a token that is
    shorter than 1, which is how sure it is (see `ViewTokens`)."""
    lengths = np.maximum(np.linalg.norm(found.text, axis=1, keepdims=True), 1)
    return np.asarray(found.text / lengths @ vectors.T, np.float32)


def held_cells(masks: Float32) -> Bools:
    """The cells that each of the masks `(M, h, w)` holds."""
    peak = masks.max(axis=(1, 2), keepdims=True, initial=0)
    return np.asarray((masks > HELD * peak) & (peak > 0))


def _pixels(mask: Float32, size: tuple[int, int]) -> NDArray[np.float32]:
    """A mask `(h, w)` in the size of the picture, 1 where it is highest."""
    scaled = mask / max(float(mask.max(initial=0)), 1e-12)
    if scaled.shape == size:
        return np.asarray(scaled, np.float32)
    return np.asarray(stretching(mask.shape[0], size[0]) @ scaled @ stretching(mask.shape[1], size[1]).T, np.float32)


def mask_box(mask: Bools) -> Box | None:
    """The box x0, y0, x1, y1 around a mask, x1 and y1 exclusive; None if the mask is empty."""
    y, x = np.nonzero(mask)
    if not len(x):
        return None
    return float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)


def largest_part(mask: Bools) -> Bools:
    """The largest connected part of a mask `(H, W)`, of equals the upper one; corners connect."""
    labels = parts(mask)
    return np.asarray(mask & (labels == np.bincount(labels[mask], minlength=1).argmax()))


def large_parts(mask: Bools, min_pixels: float) -> Iterator[Bools]:
    """The connected parts of a mask `(H, W)` that have at least `min_pixels` pixels (> 0), in reading order."""
    labels = parts(mask)
    for number in np.flatnonzero(np.bincount(labels[mask]) >= min_pixels):
        yield labels == number


def parts(mask: Bools) -> NDArray[np.int64]:
    """The number of the connected part of each pixel of a mask `(H, W)`: 0, 1, ... in reading order, -1 outside.

    Corners connect. It works on runs, the stretches of a row that are inside: they are few, so that joining them one by
    one is fast. (Hand-written, since no library that vidmem depends on has it.)
    """
    h, w = mask.shape
    padded = np.zeros((h, w + 2), np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]  # exclusive
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    # A run touches the runs of the next row that begin at most one past its end and end at least at its start. Runs are
    # sorted, so these are a slice. On `line` rows are more than a row's width apart, so that they do not mix.
    line = rows * (w + 2)
    first = np.searchsorted(line + ends, line + w + 2 + starts, side="left")
    last = np.searchsorted(line + starts, line + w + 2 + ends, side="right")
    for i in range(len(rows)):
        for j in range(first[i], last[i]):
            if rows[j] == rows[i] + 1:
                a, b = root(i), root(j)
                parent[max(a, b)] = min(a, b)
    roots = np.array([root(i) for i in range(len(rows))], np.int64)
    numbers = np.unique(roots, return_inverse=True)[1] if len(roots) else roots
    out = np.full((h, w), -1, np.int64)
    out[mask] = np.repeat(numbers, ends - starts)
    return out
