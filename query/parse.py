"""Naming every pixel of the frames of a video from its tracks: no picture is encoded again.

A track's text token is compared with every label once. Each frame is then put together from the masks of its regions.
T-REN's paper and its code spread the scores of regions over a frame in different ways (arXiv 2604.18573, section 4.3):
`hard_labels` gives a region the class that its track's token is most like, `soft_votes` lets all regions of a place
vote with all their scores. `dense_scores` is open-vocabulary segmentation without regions (section 4.2): each point by
its own tokens. These take masks as an encoder gives them; `Parse` does the same with masks as they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..geometry import nearest, stretching, unit
from ..records import Float32, FrameRegions
from ..store import SourceRow, Store
from .labels import LabelSet

UNLABELLED = -1
"""The label of a place that no region reaches, or whose region has no label."""

Labels = NDArray[np.int32]
"""Indices of labels, or UNLABELLED."""

Way = Literal["track", "vote"]
WAYS: tuple[Way, Way] = ("track", "vote")
"""track: each region has the label that its track is most like (T-REN's paper). vote: all regions of a place vote with
all their scores (its code)."""

FINE = 4
"""How many cells a patch is cut into along each side, since borders between regions run within patches. A memory holds
nothing finer than that."""


def class_scores(tokens: Float32, classes: Float32) -> Float32:
    """Cosines `(n, C)` of text tokens `(n, Dt)` and vectors of classes `(C, Dt)`, any norm; 0 for a zero token."""
    return unit(tokens) @ unit(classes).T


def soft_votes(masks: Float32, scores: Float32, elsewhere: Float32 | None = None) -> Float32:
    """The score of each class in each cell, `(C, h, w)`: sum(score x mask) / sum(mask) over the regions there.

    Args:
        masks: `(M, h, w)`, not negative.
        scores: `(M, C)`, of the regions' tracks for a whole video, of the regions themselves for one frame.
        elsewhere: `(C,)`, the scores of a cell that no mask touches; by default the mean of `scores`. In the authors'
            code it is the mean over all tracks of the video, also of those not in the frame.
    """
    m, h, w = masks.shape
    if elsewhere is None:
        elsewhere = scores.mean(axis=0) if m else np.zeros(scores.shape[1], np.float32)
    flat = masks.reshape(m, h * w)
    weight = flat.sum(axis=0)
    votes = np.where(weight > 0, scores.T @ flat / np.where(weight > 0, weight, 1), elsewhere[:, None])
    return votes.astype(np.float32).reshape(-1, h, w)


def decoupled(scores: Float32, things: NDArray[np.bool_], temperature: float) -> Float32:
    """`scores` `(n, C)` in which regions that are things are compared with things only, any other with all classes;
    after DenseVLM (arXiv 2412.06244, Eqs. 3 and 4, there for training).

    Args:
        scores: `(n, C)` cosines.
        things: `(C,)`, which classes are things.
        temperature: A region is a thing when the softmax at this temperature gives the things together more than half.
            It then scores every stuff as low as the class that it is least like.
    """
    if not things.any() or things.all() or not len(scores):
        return scores
    weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / np.float32(temperature))
    is_thing = weights[:, things].sum(axis=1) > weights[:, ~things].sum(axis=1)
    out = scores.copy()
    out[np.ix_(is_thing, ~things)] = scores[is_thing].min(axis=1, keepdims=True)
    return out


def dense_scores(tokens: Float32, classes: Float32, grid: tuple[int, int]) -> Float32:
    """The score of each class at each point of a grid (h, w), `(C, h, w)`: the cosine to the mean of the point's k text
    tokens. tokens: `(h * w, k, Dt)`, points row by row."""
    if len(tokens) != grid[0] * grid[1]:
        raise ValueError(f"{len(tokens)} points are not a grid of {grid[0]} x {grid[1]}")
    return np.ascontiguousarray(class_scores(tokens.mean(axis=1), classes).T).reshape(-1, *grid)


def best_class(votes: Float32, height: int, width: int) -> Labels:
    """The class with the best score at each pixel, `(height, width)` int32, of votes `(C, h, w)` stretched bilinearly;
    of equals the first.

    One class is handled at a time, so that memory is a few times the picture, however many classes there are.
    """
    if not len(votes):
        raise ValueError("no class to choose from")
    down, right = stretching(votes.shape[1], height), stretching(votes.shape[2], width).T
    best = down @ votes[0] @ right
    labels = np.zeros((height, width), np.int32)
    for index, scores in enumerate(votes[1:], 1):
        pixels = down @ scores @ right
        better = pixels > best
        labels[better] = index
        np.copyto(best, pixels, where=better)
    return labels


def hard_labels(masks: Float32, scores: Float32, height: int, width: int) -> Labels:
    """The paper's rule, `(height, width)` int32: every region has the class that its track is most like, and a pixel
    has that of the region whose mask, stretched bilinearly, is largest there (of equals the first).

    UNLABELLED where no mask reaches.

    Args:
        masks: `(M, h, w)`, not negative.
        scores: `(M, C)`, of the regions' tracks.
        height: In pixels.
        width: In pixels.
    """
    if not len(masks):
        return np.full((height, width), UNLABELLED, np.int32)
    # An empty region comes first and wins where all are zero.
    regions = best_class(np.concatenate([np.zeros_like(masks[:1]), masks]), height, width)
    classes = np.concatenate([[UNLABELLED], scores.argmax(axis=1)]).astype(np.int32)
    return np.asarray(classes[regions], dtype=np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One frame. labels `(h, w)` int32: of each cell, with FINE cells along a patch."""

    t_ns: int
    labels: Labels

    def at(self, height: int, width: int) -> Labels:
        """The labels in the size of a picture."""
        return np.asarray(nearest(self.labels, height, width), np.int32)

    def shares(self, count: int) -> Float32:
        """The share of the frame of each of `count` labels, `(count,)`."""
        held = self.labels[self.labels != UNLABELLED]
        return (np.bincount(held, minlength=count)[:count] / self.labels.size).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Parse:
    """A video to be labelled, frame by frame.

    ordinals `(n,)`: its tracks, ascending. scores `(n, C)`: of each track with each label. classes `(n,)`: the label of
    each track or UNLABELLED; None for the one that it is most like.
    """

    source: SourceRow
    labels: LabelSet
    way: Way
    ordinals: NDArray[np.int64]
    scores: Float32
    classes: Labels | None = None

    def frames(self, store: Store, start_ns: int = 0, end_ns: int = (1 << 63) - 1) -> Iterator[Scene]:
        """The frames from start_ns to end_ns (inclusive), in order. Raises StoreError when the memory is damaged."""
        elsewhere = self.scores.mean(axis=0) if len(self.scores) else None
        for frame in store.regions(self.source.id, start_ns, end_ns):
            yield Scene(frame.t_ns, self._labels(frame, elsewhere))

    def _labels(self, frame: FrameRegions, elsewhere: Float32 | None) -> Labels:
        h, w = frame.masks.shape[1:]
        size = (h * FINE, w * FINE)
        rows = np.searchsorted(self.ordinals, frame.tracks)
        known = rows < len(self.ordinals)
        known[known] = self.ordinals[rows[known]] == frame.tracks[known]
        masks, scores = frame.masks[known].astype(np.float32), self.scores[rows[known]]
        if self.way == "vote":
            if elsewhere is None:
                return np.full(size, UNLABELLED, np.int32)
            return best_class(soft_votes(masks, scores, elsewhere), *size)
        classes = scores.argmax(axis=1).astype(np.int32) if self.classes is None else self.classes[rows[known]]
        return _by_track(frame.masks[known], classes, size)


def _by_track(masks: NDArray[np.bool_], classes: Labels, size: tuple[int, int]) -> Labels:
    """As `hard_labels`, for masks as they are stored, 0 or 1. Where regions overlap the smallest is on top. Cells of no
    region compete as well, so that no region grows when it is stretched."""
    patches = np.full(masks.shape[1:], UNLABELLED, np.int32)
    for row in np.argsort(-masks.sum(axis=(1, 2)), kind="stable"):
        if classes[row] != UNLABELLED:  # without a label it hides nothing: a sleeve belongs to the person
            patches[masks[row]] = classes[row]
    there = np.unique(patches)
    one_hot = (patches == there[:, None, None]).astype(np.float32)
    return np.asarray(there[best_class(one_hot, *size)], np.int32)


def parse(
    store: Store,
    source: SourceRow,
    labels: LabelSet,
    vectors: Float32,
    *,
    way: Way = "track",
    temperature: float | None = None,
    named: Mapping[int, int] | None = None,
) -> Parse:
    """Prepare the labelling of a source.

    Args:
        store: The memory.
        source: The video.
        labels: What to name.
        vectors: Text vectors of the labels `(C, Dt)`.
        way: See WAYS.
        temperature: Of the softmax that separates things from stuff (see `decoupled`); None to compare every region
            with every label.
        named: The labels of the tracks that have one, by track id; None for the one that each is most like.

    Raises:
        UsageError: an unknown way.
    """
    if way not in WAYS:
        raise UsageError(f"there is no way {way!r} to label; there are {' and '.join(WAYS)}")
    tracks = store.source_tracks(source.id)
    scores = np.zeros((0, len(labels)), np.float32)
    if tracks:
        scores = class_scores(np.array([t.text for t in tracks], np.float32), vectors)
    if temperature is not None:
        scores = decoupled(scores, labels.things, temperature)
    classes = None if named is None else np.array([named.get(t.id, UNLABELLED) for t in tracks], np.int32)
    return Parse(source, labels, way, np.array([t.ordinal for t in tracks], np.int64), scores, classes)


@dataclass(frozen=True, slots=True, eq=False)
class Areas:
    """t_ns `(n,)` int64: the frames. shares `(n, C)`: the share of each frame of each label."""

    t_ns: NDArray[np.int64]
    shares: Float32


def areas(scenes: Sequence[tuple[int, Float32]], count: int) -> Areas:
    """The areas of `count` labels over time. scenes: time and shares of every frame."""
    times = np.array([t for t, _ in scenes], np.int64)
    shares = np.array([s for _, s in scenes], np.float32).reshape(-1, count)
    return Areas(times, shares)
